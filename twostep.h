/* twostep.h 1.0.0 - what a two-layer network learns in its first steps of gradient descent
 * SPDX-License-Identifier: MIT OR Unlicense
 *
 * @@USE
 *
 * One file, no dependency: C99 (or C++11) and libm. In exactly one source file write
 *
 *     #define TWOSTEP_IMPLEMENTATION
 *     #include "twostep.h"
 *
 * and in all others the #include alone; build with  cc -O2 file.c -lm  (C libraries older than
 * glibc 2.34 want -pthread as well). A whole experiment:
 *
 *     tws_config config = tws_default_config();
 *     static tws_result result;
 *     config.neurons = 2000;
 *     if (tws_run(NULL, &config, 0, &result) == TWS_OK)
 *         printf("%g\n", result.spectrum[TWS_TWO_STEPS_REUSE].singular_values[0]);
 *
 * The parts stand alone: matrix product (tws_gemm), random numbers (tws_random_matrix), leading
 * singular values (tws_svd), gradients and steps on data of your own (tws_gradient, tws_step).
 *
 * @@CONTENTS: every room has one banner with its token; a room calls only what stands above it
 *
 *   public
 *   @@OPTIONS          what may be defined before the include
 *   @@VERSION
 *   @@TYPES            real numbers, status codes, context
 *   @@API-RANDOM       reproducible random numbers
 *   @@API-FUNCTIONS    activations and targets
 *   @@API-GEMM         matrix product
 *   @@API-SVD          leading singular triplets, also of several matrices; all values
 *   @@API-NETWORK      configuration, network, batches
 *   @@API-STEPS        forward pass, loss, gradient, step
 *   @@API-SPECTRUM     what a weight matrix has learned
 *   @@API-THEORY       the spectrum before it is simulated
 *   @@API-READOUT      ridge regression on the features
 *   @@API-EXPERIMENT   the whole experiment in one call
 *
 *   implementation
 *   @@PLATFORM         memory, failure, threads, clock, CPU features
 *   @@LANES            the inner loops, once per instruction set:
 *   @@ACTIVATIONS        what their vector forms share
 *   @@PASS-GEMM          the register tile of the matrix product
 *   @@DISPATCH         from a kernel's name to its inner loops
 *   @@RANDOM           streams, bits, uniforms, normals
 *   @@FUNCTIONS        names, checks, targets
 *   @@GEMM             blocks and threads of the matrix product
 *   @@SVD              block Lanczos; all singular values
 *   @@NETWORK          initial weights, directions, batches
 *   @@STEPS            forward pass, loss, gradient, step
 *   @@SPECTRUM         alignments, the edge of the bulk, outliers
 *   @@THEORY           limit and finite-size prediction
 *   @@READOUT          Cholesky, tridiagonal form, conjugate gradients
 *   @@EXPERIMENT       data, two steps, spectra
 *
 * @@PROMISE
 *
 * The model, the names and the limit are those of Moniri and Hassani, "Feature Learning in
 * Linear-Width Two-Layer Networks: Two vs. One Step of Gradient Descent", arXiv 2605.17767 (the
 * paper). A student f_W(x) = s a' sigma(W x) with N neurons, d inputs and n samples, all of one
 * order of size, takes two gradient steps on its first layer:
 *
 *     W <- W + eta_t G,  G = (1/n) [(a r') o sigma'(W X')] X,  r = y - f_W(X),
 *     eta_t = C_t N^alpha_t
 *
 * Reproducible. All results are the same bits for any number of threads. Each function has a class;
 *   its comment says where a part of the results is of a later one.
 *   The same bits on every compiler, instruction set and platform whose arithmetic rounds each
 *   operation to its type, random data above all. (Compilers can be told not to round: by x87
 *   arithmetic, -funsafe-math-optimizations, clang's -ffp-contract=fast.)
 *     D0  tws_random_*, tws_make_*, tws_default_*, tws_custom_*, tws_activation_name*,
 *         tws_target_name*, tws_status_text, tws_version, tws_kernel_name, tws_check,
 *         tws_output_scale, tws_bulk_*, tws_network_from_config, tws_theory_from_config
 *   The same bits on the same kernel, whatever the number of threads.
 *     D1  tws_activate, tws_gemm*, tws_svd*, tws_singular_values, tws_forward, tws_loss,
 *         tws_gradient, tws_step, tws_measure, tws_count_outliers, tws_features, tws_ridge*,
 *         tws_kernel_path, tws_readout_outputs, tws_run*, tws_sweep
 *   Right within the stated error; the C library and its exp, tanh, pow enter, and so do kernels.
 *     D2  tws_activation_value, tws_activation_slope, tws_target_value, tws_step_size,
 *         tws_edge_scale, tws_hermite_coefficients, tws_limit_*, tws_predict*, tws_surrogate,
 *         tws_theory_warnings
 *   What the machine offers.
 *     --  tws_kernel_available, tws_context_kernel, tws_context_threads, tws_start_workers,
 *         tws_stop_workers
 * Errors. Whatever can fail returns a tws_status and leaves one sentence in context->message.
 *   Nothing prints, exits, reads the environment or keeps state between calls (but the system
 *   remembers that it was asked for tile registers: tws_gemm). What has no status cannot fail; its
 *   pointers must be valid.
 * Arrays. Row-major; sizes count elements. Outputs overlap neither inputs nor each other, except
 *   where a comment allows it, and hold nothing of use after an error, except where it says so.
 * Memory. All of it from the allocator of the context, released when the call returns, also after
 *   a failure. "Memory: none" is none of that kind; the stack of a call needs less than 64 KiB.
 * Threads. All cores by default. Two threads may call anything at once with contexts of their own.
 *   Worker threads live inside one call, or from tws_start_workers on. "Threads: context" means as
 *   many as context->threads says.
 * Not here: automatic differentiation, GPUs, file formats, deeper networks.
 */
#ifndef TWOSTEP_H_INCLUDED
#define TWOSTEP_H_INCLUDED

#include <stddef.h>
#include <stdint.h>

/* ==========================================================================
 * @@OPTIONS: what may be defined before the include
 * ========================================================================== */
/*
 *   name                     scope     effect
 *   TWOSTEP_IMPLEMENTATION   one file  emit the code there
 *   TWOSTEP_STATIC           one file  every function static to that file
 *   TWOSTEP_DOUBLE           all files tws_real is double instead of float
 *   TWOSTEP_NO_THREADS       one file  no pthreads, no Win32 threads: one thread or the hook
 *   TWOSTEP_NO_SIMD          one file  only the plain C99 kernel
 *   TWOSTEP_NO_AMX           one file  no tile registers (assemblers before binutils 2.36)
 *   TWOSTEP_MALLOC(bytes)    one file  default allocator; define both or neither
 *   TWOSTEP_FREE(pointer)    one file
 *   TWOSTEP_NO_HUGE_PAGES    one file  no madvise on large blocks (Linux)
 *   TWOSTEP_FILENAME         one file  how the file includes itself, if renamed ("twostep.h")
 */
#if defined(TWOSTEP_MALLOC) != defined(TWOSTEP_FREE)
#error "twostep.h: define TWOSTEP_MALLOC and TWOSTEP_FREE together or not at all"
#endif
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ > 0)
#error "twostep.h: -ffast-math and -ffinite-math-only break the NaN checks"
#endif

#if defined(__GNUC__) || defined(__clang__)
#define TWSI_UNUSED __attribute__((unused))
#define TWSI_FORMAT(string, first) __attribute__((format(printf, string, first)))
#else
#define TWSI_UNUSED
#define TWSI_FORMAT(string, first)
#endif

#ifdef TWOSTEP_STATIC
#define TWS_API static TWSI_UNUSED
#else
#define TWS_API extern
#endif

/* ==========================================================================
 * @@VERSION
 * ========================================================================== */
#define TWS_VERSION_MAJOR 1
#define TWS_VERSION_MINOR 0
#define TWS_VERSION_PATCH 0
#define TWS_VERSION (TWS_VERSION_MAJOR * 10000 + TWS_VERSION_MINOR * 100 + TWS_VERSION_PATCH)
#define TWS_VERSION_TEXT "1.0.0"

#ifdef __cplusplus
extern "C" {
#endif

/* ==========================================================================
 * @@TYPES: real numbers, status codes, context
 * ========================================================================== */

#ifdef TWOSTEP_DOUBLE
typedef double tws_real;
#else
typedef float tws_real;
#endif

/* Every function that can fail returns one of these; 0 is success. */
#define TWS_STATUS_LIST(X)                                                                   \
    X(TWS_OK, "success")                                                                     \
    X(TWS_BAD_ARGUMENT, "an argument is outside its allowed range")                          \
    X(TWS_TOO_LARGE, "a size in bytes does not fit in size_t")                               \
    X(TWS_OUT_OF_MEMORY, "the allocator returned no memory")                                 \
    X(TWS_NOT_FINITE, "an array contains NaN or infinity")                                   \
    X(TWS_NOT_CONVERGED, "the iteration stopped before every wanted value had converged")    \
    X(TWS_UNAVAILABLE, "this machine or this build lacks what was asked for")                \
    X(TWS_CALLBACK_FAILED, "a callback of the caller reported failure")

typedef enum tws_status {
#define TWSI_STATUS_NAME(name, text) name,
    TWS_STATUS_LIST(TWSI_STATUS_NAME)
#undef TWSI_STATUS_NAME
    TWS_STATUS_COUNT
} tws_status;

/* Sets of inner loops, chosen when the program runs. AUTO: the fastest that the machine has. */
typedef enum tws_kernel {
    TWS_KERNEL_AUTO,
    TWS_KERNEL_PLAIN,
    TWS_KERNEL_SSE2,
    TWS_KERNEL_AVX2,
    TWS_KERNEL_AVX512,
    TWS_KERNEL_NEON,
    TWS_KERNEL_WASM,
    TWS_KERNEL_AMX, /* products in tile registers: see tws_gemm */
    TWS_KERNEL_COUNT
} tws_kernel;

/* Memory hook. allocate returns NULL on failure; both must be callable from the calling thread
   only: the library never allocates on a worker thread. */
typedef struct tws_allocator {
    void *(*allocate)(void *user, size_t bytes);
    void (*release)(void *user, void *pointer);
    void *user;
} tws_allocator;

/* One piece of divided work. index < count names the piece. worker < threads names a slot that
   no other piece running at the same time has. */
typedef void (*tws_task)(void *data, size_t index, size_t worker);

/*
 * How a call runs. A plain structure: make one with tws_default_context(),
 * change what you like, pass its address. NULL in place of a context means the defaults.
 * One context must not be used by two threads at once (the message is written on failure);
 * two contexts may. A copy is a context of its own.
 */
typedef struct tws_context {
    unsigned threads;        /* workers; 0: one per core of the machine; at most 64 */
    tws_kernel kernel;       /* TWS_KERNEL_AUTO, or a kernel this machine has */
    tws_allocator allocator; /* allocate == NULL: TWOSTEP_MALLOC / TWOSTEP_FREE */
    size_t memory_budget;    /* bytes a step may use for its N x n block; 0: 256 MiB */

    /* Runs task(data, i, worker) for all i < count and returns when all have finished.
       NULL: the library's own threads. Set threads to the number of workers it uses. */
    void (*parallel_for)(void *user, size_t count, tws_task task, void *data);
    void *parallel_user;

    /* Sums values[0 .. count) over the processes that share a network, in place, the same result
       everywhere; returns 0 on success. NULL: one process holds all neurons. */
    int (*reduce)(void *user, double *values, size_t count);
    void *reduce_user;

    char message[240]; /* after a failure: one sentence that names parameter, value and range */
} tws_context;

/* Defaults: all cores, fastest kernel, malloc and free, one process. Cannot fail. */
TWS_API tws_context tws_default_context(void);

/* One clause in English for a status code; never NULL. */
TWS_API const char *tws_status_text(tws_status status);

/* Version of the compiled implementation, comparable with TWS_VERSION. */
TWS_API int tws_version(void);

/* "auto", "plain", "sse2", "avx2", "avx512", "neon", "wasm", "amx"; "?" for other values. */
TWS_API const char *tws_kernel_name(tws_kernel kernel);

/* 1 if this build and this machine can run the kernel (AUTO: always), else 0. */
TWS_API int tws_kernel_available(tws_kernel kernel);

/* The kernel that a call with this context uses (never AUTO). NULL: the defaults. Where the answer
   is TWS_KERNEL_AMX this process has asked the system for tile registers (see tws_gemm). */
TWS_API tws_kernel tws_context_kernel(const tws_context *context);

/* The number of workers that a call with this context uses, at least 1. NULL: the defaults. */
TWS_API unsigned tws_context_threads(const tws_context *context);

/*
 * Keeps workers for many calls with this context, so that none has to start its own: small products
 * then gain from a second thread from about 100^3 on, where otherwise it takes 64 million
 * operations. Starts tws_context_threads(context) - 1 threads, as far as the system gives them, and
 * becomes context->parallel_for; sets context->threads to the number of workers, which holds until
 * tws_stop_workers whatever threads says. After a call they look awake for more work for 0.4 ms,
 * then sleep. Copies of the context share them: a call that finds them at work for another runs on
 * its own thread. None may be used after tws_stop_workers on one of them.
 * Errors: TWS_BAD_ARGUMENT (context NULL, its parallel_for set, threads above 64),
 * TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE (kernel); the context is then unchanged but for its message.
 * Memory: 4 KiB from context->allocator until tws_stop_workers. Threads: as any call.
 * Determinism: results are the same with these workers and without.
 */
TWS_API tws_status tws_start_workers(tws_context *context);

/* Ends the threads and gives the context back as it was; does nothing where none were started.
   Cannot fail. */
TWS_API void tws_stop_workers(tws_context *context);

/* ==========================================================================
 * @@API-RANDOM: reproducible random numbers
 * ========================================================================== */

/* What a stream is for. Your own purposes are TWS_FOR_USER to TWS_FOR_USER + 127; those below are
   the library's, and those above too: batch b = 0, 1, ... of inputs and noise uses
   purpose + b * TWS_BATCH_STRIDE. */
enum {
    TWS_FOR_WEIGHTS = 1,
    TWS_FOR_READOUT = 2,
    TWS_FOR_DIRECTIONS = 3,
    TWS_FOR_INPUTS = 4,
    TWS_FOR_NOISE = 5,
    TWS_FOR_START = 6, /* start vectors of the singular value solver */
    TWS_FOR_USER = 128,
    TWS_BATCH_STRIDE = 256
};

#define TWS_RANDOM_LANES 16

/* One stream: sixteen interleaved xoshiro128++ generators (Blackman and Vigna 2021). Plain data:
   copy it to save a position. Bits, uniforms and normals drawn from it advance the same state. */
typedef struct tws_random {
    uint32_t state[4][TWS_RANDOM_LANES];
    uint32_t words[TWS_RANDOM_LANES]; /* drawn, not yet handed out */
    tws_real normals[2 * TWS_RANDOM_LANES];
    unsigned words_left, normals_left;
} tws_random;

/*
 * The stream with this key, seeded by splitmix64 from (seed, purpose, row). Any row of any random
 * matrix can so be made alone, on any machine. Cost: about 50 ns. Determinism: D0.
 */
TWS_API tws_random tws_random_stream(uint64_t seed, uint32_t purpose, uint64_t row);

/* The next 32 random bits, all equally good. Determinism: D0. */
TWS_API uint32_t tws_random_bits(tws_random *random);

/* Uniform on (0, 1), an odd multiple of 2^-53: never 0, never 1. Two words. Determinism: D0. */
TWS_API double tws_random_uniform(tws_random *random);

/* Uniform on 0 .. bound - 1 without bias (Lemire 2019); 0 for bound 0. Determinism: D0. */
TWS_API uint32_t tws_random_below(tws_random *random, uint32_t bound);

/*
 * out[i] ~ N(0, 1), independent, i < count, by the method of Box and Muller with logarithm, sine
 * and cosine of our own made of + - x / and square root.
 * Range: |out| < 6.67 in float (the tail beyond has probability 3e-11), 8.58 in double.
 * Two calls of 50 give the same numbers as one call of 100.
 * Errors: TWS_BAD_ARGUMENT (random or out NULL), TWS_UNAVAILABLE (kernel).
 * Memory: none. Threads: one stream per thread. Determinism: D0. Cost: about 0.4 ns each.
 */
TWS_API tws_status tws_random_normals(tws_context *context, tws_random *random, tws_real *out,
                                      size_t count);

/*
 * A matrix of independent N(0, 1): out is rows x columns with leading dimension ld >= columns; its
 * row i is the beginning of the stream (seed, purpose, first + i), so blocks of rows made apart
 * fit together. rows = 0 or columns = 0: nothing is written.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE (rows * ld), TWS_UNAVAILABLE.
 * Memory: none. Threads: context. Determinism: D0, for any number of threads.
 */
TWS_API tws_status tws_random_matrix(tws_context *context, uint64_t seed, uint32_t purpose,
                                     uint64_t first, size_t rows, size_t columns, tws_real *out,
                                     size_t ld);

/* ==========================================================================
 * @@API-FUNCTIONS: activations and targets
 * ========================================================================== */

typedef enum tws_activation_kind {
    TWS_TANH,
    TWS_SHIFTED_TANH,    /* tanh(x + 0.7) */
    TWS_ERF,
    TWS_SIGMOID,         /* 1 / (1 + exp(-x)) */
    TWS_SHIFTED_SIGMOID, /* sigmoid(x + 1) */
    TWS_SOFTPLUS,        /* log(1 + exp x) */
    TWS_GELU,            /* x Phi(x), Phi the normal distribution function */
    TWS_SILU,            /* x sigmoid(x) */
    TWS_RELU,            /* slope 0 at 0 */
    TWS_SINE,            /* sin(x + 0.5) */
    TWS_CUBIC,           /* He1 + He2 / 2 + He3 / 6 */
    TWS_HERMITE,         /* sum of hermite[k] He_k, k <= 8 */
    TWS_CUSTOM_ACTIVATION,
    TWS_ACTIVATION_COUNT
} tws_activation_kind;

#define TWS_MAX_DEGREE 8

/*
 * A student activation sigma with its slope sigma'. Plain data, copied freely; make one with
 * tws_activation_named or tws_custom_activation. He_k is the probabilists' Hermite polynomial,
 * monic: He_0 = 1, He_1 = x, He_{k+1} = x He_k - k He_{k-1}.
 */
typedef struct tws_activation {
    tws_activation_kind kind;
    double hermite[TWS_MAX_DEGREE + 1]; /* TWS_HERMITE: coefficients of He_0 to He_8, |c| <= 1e20 */
    double (*value)(void *user, double x); /* TWS_CUSTOM_ACTIVATION; called from several threads */
    double (*slope)(void *user, double x);
    void *user;
} tws_activation;

typedef enum tws_target_kind {
    /* one direction */
    TWS_LINEAR,         /* u */
    TWS_HE2,            /* He_2(u) / sqrt 2 */
    TWS_HE3,            /* He_3(u) / sqrt 6 */
    TWS_HE4,            /* He_4(u) / sqrt 24 */
    TWS_SIGN,           /* sign(0) = 0 */
    TWS_TARGET_TANH,    /* tanh 2u */
    TWS_SIN,            /* sqrt 2 sin 2.5u */
    TWS_TARGET_RELU,    /* max(u, 0) */
    TWS_SQUARE,         /* u^2 */
    TWS_WAVE,           /* sin 2u + cos 2u less its mean and linear part: - exp(-2) (1 + 2u) */
    TWS_STEP3,          /* odd staircase of three heights, E[uy] = 0, E y^2 = 1, jumps at 0, +-2 */
    TWS_STEP4, /* four heights, E y = E[uy] = E[y(u^2 - 1)] = 0, E y^2 = 1, jumps at 0, 1, 2 */
    TWS_TARGET_HERMITE, /* sum of hermite[k] He_k(u), k <= 8 */
    /* several */
    TWS_PRODUCT2,          /* u1 u2 */
    TWS_PRODUCT3,          /* u1 u2 u3 */
    TWS_SIGN_PRODUCT3,     /* sign(u1 u2 u3) */
    TWS_STAIRCASE,         /* (u1 + u1 u2) / sqrt 2 */
    TWS_HE4_SIGN_PRODUCT3, /* He_4(u1) / sqrt 24 + sign(u1 u2 u3) */
    TWS_CUSTOM_TARGET,
    TWS_TARGET_COUNT
} tws_target_kind;

#define TWS_MAX_DIRECTIONS 8

/* A target f*(u), u = B* x with p = directions entries. Plain data, copied freely; make one with
   tws_target_named or tws_custom_target. */
typedef struct tws_target {
    tws_target_kind kind;
    size_t directions;                  /* p, 1 to TWS_MAX_DIRECTIONS; fixed by a named kind */
    double hermite[TWS_MAX_DEGREE + 1]; /* TWS_TARGET_HERMITE: of He_0 to He_8, |c| <= 1e20 */
    double level[4]; /* heights, solved for when made. TWS_STEP4: on u < 0, [0, 1), [1, 2), u >= 2.
                        TWS_STEP3: sign(u) level[0] for |u| <= 2, sign(u) level[1] beyond */
    double (*function)(void *user, const double *u); /* TWS_CUSTOM_TARGET; from several threads */
    void *user;
} tws_target;

/*
 * Fills *activation from a name: tanh, shifted-tanh, erf, sigmoid, shifted-sigmoid, softplus, gelu,
 * silu, relu, sine, cubic, or hermite:c0,c1,... with 1 to 9 decimal numbers (1, -0.5, 2e-3; no
 * blanks, the point whatever the locale), each at most 1e20 in size, of which one beyond c0 must be
 * other than 0: a constant has no slope to learn by. Numbers of up to 15 digits, taken as a whole
 * number times a power of ten from 1e-22 to 1e22, are rounded correctly, others to within a few
 * units in the last place.
 * Errors: TWS_BAD_ARGUMENT for anything else and for NULL; *activation is then untouched.
 * Memory: none. Threads: safe. Determinism: D0.
 */
TWS_API tws_status tws_activation_named(const char *name, tws_activation *activation);

/*
 * An activation of the caller's own. value(user, x) and slope(user, x) give sigma and sigma' for
 * any x; they are called from several threads at once and must give the same result each time.
 * Nothing is checked here: a call that gets the activation refuses a NULL callback.
 */
TWS_API tws_activation tws_custom_activation(double (*value)(void *user, double x),
                                             double (*slope)(void *user, double x), void *user);

/* The name of a kind without coefficients ("hermite", "custom"); "?" for a bad kind. */
TWS_API const char *tws_activation_name(tws_activation_kind kind);

/*
 * sigma(x) and sigma'(x) in double precision, by the C library's functions in forms that do not
 * overflow: for finite x all but the polynomials are finite. Within a few units in the last place
 * of max(|f|, 1/4), and in the tails of themselves: slopes up to 1 + |x| units where sigma is
 * shifted, those of erf and slopes and values of gelu up to 1 + x^2. NaN gives NaN, an
 * infinity gives the limit where there is one (sine: NaN). Polynomials overflow to the infinity of
 * the right sign. activation must be valid (not NULL, callbacks set); a bad kind gives 0.
 * Memory: none. Threads: safe. Determinism: D2.
 */
TWS_API double tws_activation_value(const tws_activation *activation, double x);

/* sigma'(x); see tws_activation_value. */
TWS_API double tws_activation_slope(const tws_activation *activation, double x);

/*
 * value[i] = sigma(x[i]) and slope[i] = sigma'(x[i]) for i < count, at the speed of the kernel.
 * Shapes: x, value, slope hold count elements. value or slope may be NULL (not wanted); asking for
 * both at once shares most of the work.
 * Aliasing: value or slope may be x itself; they may not be each other, or overlap otherwise.
 * NaN and infinity as in tws_activation_value, element by element: no element sees another.
 * Accuracy, with eps = FLT_EPSILON or DBL_EPSILON: within 5 eps max(|f|, 1/4) of the exact value or
 * slope f for every x; hermite within 6 eps sum_k |c_k| h_k(|x|), where h_k is He_k with all its
 * coefficients made positive. Results smaller than the smallest normal number may be 0, and so do
 * such coefficients of hermite count.
 * Memory: none. Errors: TWS_BAD_ARGUMENT (a bad activation, x NULL with count > 0, value == slope),
 * TWS_UNAVAILABLE (context->kernel); the arrays are then untouched.
 * Threads: as context says; results do not depend on their number. Determinism: D1, but for custom
 * callbacks and for sine with |x| > 1e4, which the C library computes (D2).
 * Cost: one core with AVX-512 makes 2 to 4 G float elements a second, with AVX2 half of that.
 */
TWS_API tws_status tws_activate(tws_context *context, const tws_activation *activation,
                                const tws_real *x, tws_real *value, tws_real *slope, size_t count);

/*
 * Fills *target from a name: linear, he2, he3, he4, sign, tanh, sin, relu, square, wave, step3,
 * step4, product2, product3, sign-product3, staircase, he4-sign-product3, or hermite:c0,c1,... with
 * 1 to 9 numbers as in tws_activation_named, not all 0. Sets directions and, for the steps, level.
 * Errors: TWS_BAD_ARGUMENT for anything else and for NULL; *target is then untouched.
 * Memory: none. Threads: safe. Determinism: D0, but for the heights of the steps, which rest on the
 * C library's exp and erfc (D2).
 */
TWS_API tws_status tws_target_named(const char *name, tws_target *target);

/*
 * A target of the caller's own: function(user, u) gives f*(u) for u of directions entries, 1 to
 * TWS_MAX_DIRECTIONS. It is called from several threads at once and must give the same result each
 * time. Nothing is checked here: a call that gets the target refuses a bad one.
 */
TWS_API tws_target tws_custom_target(double (*function)(void *user, const double *u),
                                     size_t directions, void *user);

/* The name of a kind without coefficients ("hermite", "custom"); "?" for a bad kind. */
TWS_API const char *tws_target_name(tws_target_kind kind);

/*
 * f*(u); u has target->directions entries. NaN gives NaN, and so does what overflows inside sin and
 * wave (2.5 u, 2 u). target must be valid (not NULL, callback set, heights made); a bad kind
 * gives 0.
 * Memory: none. Threads: safe. Determinism: D2 where the C library computes (tanh, sin, wave, the
 * heights of the steps), D0 for the polynomials, sign, relu and the products.
 */
TWS_API double tws_target_value(const tws_target *target, const double *u);

/* ==========================================================================
 * @@API-GEMM: matrix product
 * ========================================================================== */

typedef enum tws_transpose { TWS_NO_TRANSPOSE, TWS_TRANSPOSE } tws_transpose;

/*
 * General matrix product, row-major.
 *
 * Formula   C = alpha op(A) op(B) + beta C, where op(M) is M or its transpose.
 * Shapes    a, b, c point to A, B, C; op(A): m x k, op(B): k x n, C: m x n. Element (i, j) of a
 *           stored matrix is matrix[i * ld + j], so lda >= k (TWS_NO_TRANSPOSE) or m
 *           (TWS_TRANSPOSE), ldb >= n or k, ldc >= n. Entries between the end of a row and ld are
 *           never touched.
 * Aliasing  C must not overlap A or B (not checked); A and B may overlap.
 * Empty     m == 0 or n == 0: nothing happens. alpha == 0 or k == 0: C = beta C, A and B are never
 *           read and may be NULL. beta == 0: C is written unread, so NaN there vanishes;
 *           everywhere else NaN and infinity follow the arithmetic.
 * Memory    packed copies of a block of A and a block of B, at most about 13 MiB (19 with
 *           TWS_KERNEL_AMX), from the allocator of the context.
 * Errors    TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE; C is untouched.
 * Threads   safe if the contexts differ; products below 64 million operations run on the calling
 *           thread, but see tws_start_workers.
 * Accuracy  |error| <= about k eps |alpha| sum_p |a_ip b_pj| + (1 + k / 128) eps |beta c_ij| on
 *           each entry.
 * Determinism  D1: an entry has the same bits for any number of threads, and depends on its row of
 *           op(A), its column of op(B), its old value, alpha, beta and the kernel alone, not on
 *           where it lies in C (with AMX, as long as all numbers suit it).
 * TWS_KERNEL_AMX (x86 with AMX, Linux, float) splits each number into three of 8 bits, which add up
 *           to it, and multiplies these in tile registers: all but the three smallest of the nine
 *           products. As exact as the other kernels, and faster than their peak. It does not hold
 *           for terms below 2e-31, or where sums could overflow: from the first block of A and B
 *           (some 2304 x 4128 x 512) that may have such on, the product is one of
 *           TWS_KERNEL_AVX512. AUTO takes it where m n k is 320^3 or more, m and n 64 or more, else
 *           AVX512; for the products of networks, ridge regressions and kernels always. Its first
 *           call asks the system for the registers, for the whole process: stacks for signals
 *           (sigaltstack) must then have 12 KiB, and where a smaller one is in place the call is
 *           TWS_UNAVAILABLE (AUTO then takes AVX512). All but products is as with AVX512.
 * Cost      2 m n k operations.
 */
TWS_API tws_status tws_gemm(tws_context *context, tws_transpose transpose_a,
                            tws_transpose transpose_b, size_t m, size_t n, size_t k,
                            tws_real alpha, const tws_real *a, size_t lda, const tws_real *b,
                            size_t ldb, tws_real beta, tws_real *c, size_t ldc);

#define TWS_MAX_STRASSEN 3 /* levels */

/*
 * Matrix product with fewer operations and larger errors: Strassen's, in Winograd's form.
 *
 * Formula   C = op(A) op(B). A level replaces a product by 7 of half the sizes and 15 sums.
 * Source    Winograd 1971; order of the sums: Boyer, Dumas, Pernet and Zhou, "Memory efficient
 *           scheduling of Strassen-Winograd's matrix multiplication algorithm", 2009, table 1.
 * Shapes    as in tws_gemm.
 *   levels  from 0 to TWS_MAX_STRASSEN. Fewer are used where a half would have less than 256 rows,
 *           columns or terms; 0 is tws_gemm.
 * Aliasing  as in tws_gemm.
 * Empty     m == 0 or n == 0: nothing happens. k == 0: C = 0, A and B may be NULL. NaN and infinity
 *           in A or B spread beyond their row or column of C, and so does overflow: entries of A
 *           and of B are added up, 4 to the power of levels of them.
 * Memory    with one level m max(k, n) / 4 + k n / 4 entries, with more a third beyond that, and
 *           panels as in tws_gemm.
 * Errors    TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE; C is untouched.
 * Threads   context.
 * Accuracy  bounded by the norms of A and B, not entry by entry: small entries of C beside large
 *           ones lose digits. For entries alike the error (rms) is about 2.7 times that of tws_gemm
 *           with each level (bench/RESULTS.md, strassen).
 * Determinism  D1: an entry has the same bits for any number of threads.
 * Cost      (7/8)^levels 2 m n k operations and the sums, which memory bounds (bench/RESULTS.md).
 */
TWS_API tws_status tws_gemm_strassen(tws_context *context, int levels, tws_transpose transpose_a,
                                     tws_transpose transpose_b, size_t m, size_t n, size_t k,
                                     const tws_real *a, size_t lda, const tws_real *b, size_t ldb,
                                     tws_real *c, size_t ldc);

/* ==========================================================================
 * @@API-SVD: leading singular triplets, and all singular values
 * ========================================================================== */

/* A matrix that exists only as its products. transposed == 0: y = M x, x has columns entries and
   y has rows; transposed != 0: y = M^T x, the other way round. x and y never overlap. Called from
   the calling thread only. Anything but TWS_OK stops the call with TWS_CALLBACK_FAILED. */
typedef tws_status (*tws_operator)(void *user, int transposed, const double *x, double *y);

/* What to find and when to stop. Make one with tws_default_svd_options. */
typedef struct tws_svd_options {
    size_t top;        /* how many values, 1 to min(rows, columns) */
    double tolerance;  /* residual relative to the largest value, 1e-12 to 0.1; default 1e-6 */
    size_t max_passes; /* passes over the matrix before giving up, at least 1 (two more for every 8
                          of top measure, one more where numbers overflow); default 10000 */
    size_t max_basis;  /* vectors kept, at least min(columns, top + 16); 0: chosen from top */
    double stop_below; /* > 0: only values above this are wanted; 0: all of top; default 0 */
    uint64_t seed;     /* of the random start vectors; default 1 */
} tws_svd_options;

/* What happened. */
typedef struct tws_svd_result {
    size_t wanted;    /* top, or with stop_below the values found above it, at most top */
    size_t converged; /* leading triplets whose measured residual is within the tolerance */
    size_t passes;    /* times that the matrix was read */
    size_t products;  /* vectors to which M^T M was applied in these passes */
} tws_svd_result;

/* The defaults named above with this top. Cannot fail. */
TWS_API tws_svd_options tws_default_svd_options(size_t top);

/*
 * The largest singular values s_1 >= s_2 >= ... of a matrix M with their vectors:
 * M v_k = s_k u_k, M^T u_k = s_k v_k.
 *
 *   options    NULL: the ten largest (or all, if there are fewer) with the default options
 *   matrix     rows x columns, row i at matrix + i ld, ld >= columns; read only
 *   values     top entries, decreasing
 *   left       top x rows, u_k in row k, or NULL
 *   right      top x columns, v_k in row k, or NULL
 *   residuals  top entries, max(|M v_k - s_k u_k|, |M^T u_k - s_k v_k|) / s_1, or a bound on it
 *              that is higher by at most a fifth of the tolerance; or NULL
 *   result     counts, or NULL; set also when values have not converged
 *
 * Vectors are orthonormal to about 1e-12, for repeated and zero values too. A value that occurs
 * several times is found as often as it occurs. With stop_below > 0 the call ends once every value
 * above it has converged and the rest of the spectrum is bounded below it (a value less than about
 * 1e-5 s_1 above it may be taken for one below); beyond result->wanted the values are estimates,
 * the vectors zero and the residuals 1.
 * Accuracy: with a tolerance of 1e-6 or more the space is built from products in tws_real. Values,
 * left vectors and residuals always come from a last product in double; where that shows that the
 * tolerance is missed, or that rounding may have mistaken the order of the last (values below 1e-2
 * s_1 with the default tolerance; top at most 62, or a quarter of what max_basis has beyond it),
 * the call goes on in double. The tolerance holds for the residuals: within it, and about 1e-8 s_1,
 * of each value lies one of the matrix. Of values closer than some tolerances to each other the
 * last may be passed over. Rounding leaves residuals of up to 1e-14 s_1 / s_k, which matters to
 * tolerances below 1e-7. Aliasing: the arrays must not overlap.
 * With context->reduce, matrix is this process's block of rows of a taller matrix (rows == 0 is
 * then allowed), left holds the local entries of u_k, everything else is the same in every
 * process; one reduction of 2 columns numbers per pass. A left vector of a zero value may then be
 * zero, where blocks of identical shape leave no way to tell the processes apart.
 * Memory: about 8 columns (max_basis + 4 top + 200) bytes, and 24 max_basis^2, and 16 rows
 * (top + 4), and 64 columns for every 128 rows, of which at most 64 parts are made.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE, TWS_NOT_FINITE
 * (NaN or infinity in the matrix, or a value above the largest double), TWS_CALLBACK_FAILED
 * (reduce), TWS_NOT_CONVERGED (max_passes reached, the tolerance less than rounding allows, or a
 * value repeated more than 62 times, less with a small max_basis, so that copies may be missing:
 * values, vectors and residuals hold the last estimates, result says how many are good). In the
 * other cases the outputs are not to be used.
 * Threads: safe if contexts differ. Determinism: D1. Cost: 16 rows columns flops per pass, which
 * takes as long as reading the matrix once.
 */
TWS_API tws_status tws_svd(tws_context *context, const tws_svd_options *options,
                           const tws_real *matrix, size_t rows, size_t columns, size_t ld,
                           double *values, double *left, double *right, double *residuals,
                           tws_svd_result *result);

/* The same for a matrix known by its products: otherwise as tws_svd. A pass applies the operator to
   two vectors, once each way; two passes for every 2 of top measure. TWS_NOT_FINITE when apply
   yields NaN or infinity; TWS_CALLBACK_FAILED when it fails. */
TWS_API tws_status tws_svd_operator(tws_context *context, const tws_svd_options *options,
                                    tws_operator apply, void *user, size_t rows, size_t columns,
                                    double *values, double *left, double *right,
                                    double *residuals, tws_svd_result *result);

/*
 * The same for count matrices that differ by one number, M_j = A + factors[j] B, which all go
 * through the same passes over A and B; rows of M_j exist only while they are at work. Factors are
 * rounded to tws_real first, and M_j is the matrix of the sums in tws_real, rounded once or twice.
 *
 *   options     NULL or as in tws_svd, for every j; passes are counted for each j by itself
 *   a, b        rows x columns, row i at a + i lda and b + i ldb; read only
 *   factors     count finite numbers
 *   stop_below  count levels in place of options->stop_below, or NULL
 *   values      count x top, those of M_j in row j
 *   left        count x top x rows, u_k of M_j at left + (j top + k) rows, or NULL
 *   right       count x top x columns, v_k of M_j at right + (j top + k) columns, or NULL
 *   residuals   count x top, relative to the largest value of M_j, or NULL
 *   results     count entries, or NULL
 *
 * The triplets of M_j are what tws_svd finds, and do not depend on the other factors. Everything
 * not said here (accuracy, reduce, errors, threads) is as in tws_svd; TWS_NOT_CONVERGED when one
 * of the matrices has not converged, and results says which.
 */
TWS_API tws_status tws_svd_pencil(tws_context *context, const tws_svd_options *options,
                                  const tws_real *a, size_t lda, const tws_real *b, size_t ldb,
                                  size_t rows, size_t columns, const double *factors, size_t count,
                                  const double *stop_below, double *values, double *left,
                                  double *right, double *residuals, tws_svd_result *results);

/*
 * All min(rows, columns) singular values, decreasing, zeros included, in double arithmetic. From
 * 128 rows and columns on, where tws_real is float: the Gram matrix of the smaller side (its
 * entries are sums of exact products), its tridiagonal form and implicit QL iteration; s_k to about
 * 1e-15 s_1^2 / s_k, at worst 1e-7 s_1: no more than rounding the entries to float has cost.
 * Else to about 1e-14 s_1: Householder bidiagonalisation (Golub and Kahan 1965), then QL iteration
 * on the symmetric tridiagonal form of the bidiagonal matrix, whose eigenvalues are +s_k and -s_k.
 * matrix is rows x columns, ld >= columns, only read; min(rows, columns) is 1 to 4096.
 * Aliasing: values must not overlap the matrix. context->reduce is not used.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE, TWS_NOT_FINITE (NaN
 * or infinity in the matrix, or a value above the largest double), TWS_NOT_CONVERGED.
 * Memory: 8 m^2 bytes by the Gram matrix, m the smaller side, and 4 rows columns more where
 * columns < rows; 8 rows columns bytes else. Threads: safe if contexts differ. Determinism: D1.
 * Cost: m rows columns + 4/3 m^3 flops by the Gram matrix, 4 m^2 (longer side - m / 3) else.
 */
TWS_API tws_status tws_singular_values(tws_context *context, const tws_real *matrix, size_t rows,
                                       size_t columns, size_t ld, double *values);

/* ==========================================================================
 * @@API-NETWORK: configuration, network, batches
 * ========================================================================== */

typedef enum tws_batches { TWS_FRESH, TWS_REUSE } tws_batches; /* what step two sees */
typedef enum tws_init { TWS_SPHERE, TWS_GAUSSIAN } tws_init;   /* rows of W_0 */

#define TWS_MEAN_FIELD (-1.0) /* output_scale: s = N^(-1/2) */
#define TWS_CORRELATION 0.0   /* output_scale: the residual is the label alone */
#define TWS_MAX_TOP 64

/* One experiment, plain data: start from tws_default_config(). eta_t = scale_t * N^alpha_t. */
typedef struct tws_config {
    size_t neurons, inputs, samples; /* N, d, n: 2 to 2^31 */
    double alpha1, alpha2;           /* 0 <= alpha < 1/2 */
    double scale1, scale2;           /* C_1, C_2: 1e-300 to 1e6 */
    tws_activation activation;       /* sigma */
    tws_target target;               /* f*, with p = target.directions <= inputs */
    double noise;                    /* standard deviation of the label noise, 0 to 1e6 */
    tws_batches batches;
    tws_init init;
    double output_scale; /* s, 0 to 1e6, or TWS_MEAN_FIELD */
    uint64_t seed;
    size_t top; /* singular values to measure: 1 to min(TWS_MAX_TOP, N, d) */
} tws_config;

/* N = d = 1024, n = 2048, alphas 0.3 and 0.4, scales 1, shifted-tanh, linear target, no noise,
   reused batch, sphere, mean field, seed 1, top 10. Cannot fail. */
TWS_API tws_config tws_default_config(void);

/* TWS_OK when the configuration can run. Errors: TWS_BAD_ARGUMENT and, in message (may be NULL),
   one sentence with the parameter, its value and the allowed range, cut to size bytes. */
TWS_API tws_status tws_check(const tws_config *config, char *message, size_t size);

/* s as a number: N^(-1/2) for TWS_MEAN_FIELD. */
TWS_API double tws_output_scale(const tws_config *config);

/* eta_t = scale_t * N^alpha_t for step 1 or 2; 0 for other steps. */
TWS_API double tws_step_size(const tws_config *config, int step);

/*
 * A two-layer network, or the block of its neurons that this process holds:
 * f_W(x) = s a' sigma(W x). The caller owns the arrays and fills the structure.
 */
typedef struct tws_network {
    size_t count;  /* neurons held here; all N of them without context->reduce */
    size_t inputs; /* d */
    double output_scale; /* s >= 0 */
    tws_activation activation;
    const tws_real *weights; /* count x inputs, row i is neuron i */
    const tws_real *readout; /* count */
} tws_network;

/* The network of a configuration with these weights (neurons x inputs) and this readout (neurons),
   which stay where they are. config must not be NULL. */
TWS_API tws_network tws_network_from_config(const tws_config *config, const tws_real *weights,
                                            const tws_real *readout);

/* n samples of any origin, owned by the caller. */
typedef struct tws_batch {
    size_t samples;         /* n */
    const tws_real *inputs; /* samples x network inputs, row major */
    const tws_real *labels; /* samples */
} tws_batch;

/*
 * Rows first .. first + count - 1 of W_0 (count x inputs): uniform on the unit sphere, or
 * N(0, I/d). count may be 0. Errors: those of tws_check; TWS_BAD_ARGUMENT when first + count >
 * neurons or weights is NULL; TWS_UNAVAILABLE. Memory: none. Threads: context. Determinism: D0.
 */
TWS_API tws_status tws_make_weights(tws_context *context, const tws_config *config, size_t first,
                                    size_t count, tws_real *weights);

/* readout[i - first] = a_i ~ N(0, 1/N) for neurons i from first to first + count - 1; otherwise as
   tws_make_weights. Determinism: D0. */
TWS_API tws_status tws_make_readout(tws_context *context, const tws_config *config, size_t first,
                                    size_t count, tws_real *readout);

/* directions = B* (p x inputs): orthonormal rows, uniformly distributed; otherwise as
   tws_make_weights. Determinism: D0. */
TWS_API tws_status tws_make_directions(tws_context *context, const tws_config *config,
                                       tws_real *directions);

/*
 * Batch number 0, 1, ... of the experiment: inputs (samples x inputs) of independent N(0, 1) and
 * labels y = f*(B* x) + noise N(0, 1) (samples) for the given directions (p x inputs).
 * Errors: those of tws_check; TWS_BAD_ARGUMENT for NULL or number >= 2^23; TWS_NOT_FINITE for NaN
 * or infinity in the directions or from the target; TWS_UNAVAILABLE. Aliasing: none. Memory: none.
 * Threads: context (the target of the caller is then called from several threads). Determinism: D0
 * for inputs and noise; labels are D2 where the target uses libm. Cost: 0.4 ns per normal number.
 */
TWS_API tws_status tws_make_batch(tws_context *context, const tws_config *config,
                                  const tws_real *directions, size_t number, tws_real *inputs,
                                  tws_real *labels);

/* Samples first .. first + count - 1 of that batch alone, the same bits: inputs (count x inputs)
   and labels (count). Otherwise as tws_make_batch. */
TWS_API tws_status tws_make_samples(tws_context *context, const tws_config *config,
                                    const tws_real *directions, size_t number, size_t first,
                                    size_t count, tws_real *inputs, tws_real *labels);

/* ==========================================================================
 * @@API-STEPS: forward pass, loss, gradient, step
 *
 * They stand alone: any weights, any readout, any batch, any number of steps. With context->reduce
 * every process passes its own neurons and the same batch; the outputs are summed over processes.
 * ========================================================================== */

/*
 * output[j] = f_W(x_j) = s sum_i a_i sigma(w_i . x_j), j < batch->samples. Labels may be NULL.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_NOT_FINITE (names the array, or
 * the sample whose pre-activations or output overflow), TWS_UNAVAILABLE, TWS_CALLBACK_FAILED
 * (reduce, or another process failed: with reduce all processes return together); output is then
 * undefined. Memory: one block of count x samples within context->memory_budget, with reduce
 * count x 512. Threads: context, same bits for any number. Determinism: D1. Cost: 2 count d n
 * operations.
 */
TWS_API tws_status tws_forward(tws_context *context, const tws_network *network,
                               const tws_batch *batch, double *output);

/* *loss = 1/(2n) sum_j (y_j - f_W(x_j))^2; otherwise as tws_forward. */
TWS_API tws_status tws_loss(tws_context *context, const tws_network *network,
                            const tws_batch *batch, double *loss);

/*
 * gradient = G = (1/n) [(a r') o sigma'(W X')] X with r = y - f_W(X), count x d: the negative
 * gradient of tws_loss over the output scale s (for s = 0 its limit: r = y). Source: paper,
 * equation of the update in section 2. loss may be NULL. gradient must not overlap any input.
 * Products (r_j / n) x_j, their sums and a_i times these are tws_real: what is below its range is
 * lost, what is above is TWS_NOT_FINITE.
 * Errors and memory as tws_forward, and a copy of the block's samples. Cost: 4 count d n.
 */
TWS_API tws_status tws_gradient(tws_context *context, const tws_network *network,
                                const tws_batch *batch, tws_real *gradient, double *loss);

/*
 * One step: weights <- weights + eta G, weights being the array that network->weights points to
 * (count x d). eta may be any finite number. On any error weights is untouched: a step that would
 * leave the range of numbers is TWS_NOT_FINITE. loss (before the step) may be NULL. Otherwise as
 * tws_gradient. Memory: count x d more, for G.
 */
TWS_API tws_status tws_step(tws_context *context, const tws_network *network,
                            const tws_batch *batch, double eta, tws_real *weights, double *loss);

/* ==========================================================================
 * @@API-SPECTRUM: what a weight matrix has learned
 * ========================================================================== */

#define TWS_MAX_OVERLAPS 16 /* vectors whose parts along single directions are kept */

/* The top of the spectrum of a weight matrix. Entries 0 .. top - 1 of the arrays are filled. */
typedef struct tws_spectrum {
    size_t top;
    double row_edge; /* of the bulk, from the measured variances of the rows */
    double edge;     /* the same, or a higher one given to tws_count_outliers */
    double margin;   /* a value counts as an outlier above edge + margin */
    size_t outliers; /* at most top */
    double captured; /* root of the sum of squared alignments over the outliers */
    double singular_values[TWS_MAX_TOP];     /* decreasing */
    double alignments[TWS_MAX_TOP];          /* |B* v_k|: the part of v_k in the target space */
    double readout_alignments[TWS_MAX_TOP];  /* |<u_k, a>| / |a| */
    double residuals[TWS_MAX_TOP];           /* max(|W v - s u|, |W' u - s v|) / s_1 */
    size_t passes;                           /* readings of the matrix */
    size_t directions;                       /* p */
    double overlaps[TWS_MAX_OVERLAPS][TWS_MAX_DIRECTIONS]; /* <v_k, b_l>; v_k has either sign */
    double principal[TWS_MAX_DIRECTIONS]; /* cosines of the principal angles between the target
                                             space and the span of the outliers' v_k, of the first
                                             TWS_MAX_OVERLAPS outliers, decreasing */
} tws_spectrum;

/*
 * Top singular values of weights (count x inputs, leading dimension inputs) with their alignments.
 * readout (count) or directions (p x inputs, orthonormal rows, p <= TWS_MAX_DIRECTIONS) may be
 * NULL: the alignments are then 0. seed starts the iteration. With context->reduce, weights and
 * readout are the rows of this process.
 *
 * The edge. A bulk whose rows have variances S_i / d ends at the square root of the least
 *     x(t) = 1/t + (N/d) mean_i S_i / (1 - S_i t),  0 < t < 1 / max S,
 * which is 1 + sqrt(N/d) for S = 1. S_i is measured: the squared length of row i without its part
 * in the outliers. So an edge that the steps have pushed outwards does not count as an outlier,
 * and no theory of the steps enters. The margin is three times the Tracy-Widom scale of the
 * largest value, of order N^(-2/3): chance passes it about once in a thousand matrices; and at
 * least what the rounding of the entries to tws_real leaves of s_1.
 *
 * Errors: TWS_BAD_ARGUMENT, TWS_NOT_FINITE, TWS_OUT_OF_MEMORY, TWS_CALLBACK_FAILED;
 * TWS_TOO_LARGE, TWS_UNAVAILABLE;
 * TWS_NOT_CONVERGED when some of the top values have a residual above 1e-6, with everything
 * filled. Memory: about (top + 60) x (count + inputs) numbers. Threads: context. Determinism: D1.
 * Cost: spectrum->passes readings of weights, 8 count inputs operations each.
 */
TWS_API tws_status tws_measure(tws_context *context, const tws_real *weights, size_t count,
                               size_t inputs, const tws_real *readout, const tws_real *directions,
                               size_t p, size_t top, uint64_t seed, tws_spectrum *spectrum);

/*
 * Counts again with a higher edge, updates edge, outliers, captured and principal; a lower edge
 * changes nothing but makes the counts consistent. The variances of the rows cannot show how
 * unequally the samples weigh in the noise of the steps, which pushes the edge a little further (by
 * up to 0.1 where few samples carry most of the step); the edge of tws_predict contains that, too.
 */
TWS_API void tws_count_outliers(tws_spectrum *spectrum, double edge);

/* 1 + sqrt(N/d): the edge of the bulk of W_0 (Marchenko and Pastur 1967). */
TWS_API double tws_bulk_edge(double neurons, double inputs);

/* The density of the singular values of W_0 at s as N, d grow (Marchenko and Pastur 1967):
   sqrt((s^2 - a^2)(b^2 - s^2)) / (pi s min(1, N/d)) between a = |1 - sqrt(N/d)| and
   the edge b, 0 elsewhere. Its integral over the min(N, d) values is 1; finite at 0 for N = d. */
TWS_API double tws_bulk_density(double neurons, double inputs, double s);

/* The scale of the fluctuations of the largest singular value of a bulk (Tracy and Widom;
   Johnstone 2001): (sqrt N + sqrt d)(N^-1/2 + d^-1/2)^(1/3) / (2 d (1 + sqrt(N/d))). */
TWS_API double tws_edge_scale(double neurons, double inputs);

/* ==========================================================================
 * @@API-THEORY: the spectrum of W_1 and W_2 before it is simulated
 * ========================================================================== */
/*
 * What is predicted: the singular values of W_1 and W_2 that leave the bulk, the edge of the bulk,
 * how much of the target each right vector holds, and how much of the readout each left vector
 * holds. From what: the configuration alone (tws_predict), or the data of one run without its W_0
 * (tws_surrogate). Nothing is fitted.
 * Where it is accurate: smooth activations with a bounded slope, or ReLU; labels with
 * E y^4 <= 3 (E y^2)^2; 1/2 <= N/d <= 2; 1/4 <= d/n <= 1; N >= 600; kappa <= 0.1. There the first
 * outlier is within 2 % of the mean over seeds (typically 0.5 %), the second within 5 % (1 %) when
 * it is 10 % above the edge, alignments within 0.03, the edge within 0.03.
 * Where it is not: heavy-tailed targets (second outlier off by up to 11 %, edge by 0.3), unbounded
 * slopes with large steps, outliers within a few per cent of the edge or of each other, an output
 * scale that does not shrink with N. tws_theory_warnings says which of these holds.
 * tests/test_theory.c measures it against tests/data/spectra.txt.
 */

#define TWS_MAX_OUTLIERS 16     /* outliers that a prediction lists */
#define TWS_MAX_ORDERS 8        /* orders that a limit lists */
#define TWS_HERMITE_LISTED 12   /* Hermite coefficients that a limit lists: c_0 to c_11 */
#define TWS_MAX_WARNINGS 12
#define TWS_LARGEST_SIZE 1e15   /* largest N, d, n of the theory */

/* What the theory is asked about. As tws_config, with sizes that need not fit in memory. */
typedef struct tws_theory_input {
    double neurons, inputs, samples; /* N, d, n: 2 to TWS_LARGEST_SIZE */
    double alpha1, alpha2;           /* 0 <= alpha < 1/2 */
    double scale1, scale2;           /* C_1, C_2, 1e-100 to 1e6; eta_t = C_t N^alpha_t */
    tws_activation activation;
    tws_target target;
    double noise;        /* standard deviation of the label noise, 0 to 1e6 */
    tws_batches batches; /* what step two sees */
    double output_scale; /* s, 0 to 1e6, or TWS_MEAN_FIELD; TWS_CORRELATION: the residual is the
                            label */
} tws_theory_input;

/* The spectrum after one step, at finite N. Entries beyond outliers (beyond spikes in strengths)
   are 0. */
typedef struct tws_prediction {
    int step;        /* 1 or 2 */
    double edge;     /* largest singular value of the bulk, N to infinity at this kappa */
    size_t outliers; /* singular values above the edge */
    double singular_values[TWS_MAX_OUTLIERS];           /* decreasing */
    double alignments[TWS_MAX_OUTLIERS];                /* |B* v_k| */
    double readout_alignments[TWS_MAX_OUTLIERS];        /* |<u_k, a / |a|>| */
    double readout_square_alignments[TWS_MAX_OUTLIERS]; /* the same with a_i^2 in place of a_i */
    double right_norms[TWS_MAX_OUTLIERS]; /* length of the part of v_k that the data determine */
    double left_norms[TWS_MAX_OUTLIERS];  /* the same of u_k; the rest of either is random */
    double captured;                      /* root of the sum of squared alignments */
    double overlaps[TWS_MAX_OUTLIERS][TWS_MAX_DIRECTIONS]; /* <v_k, b_l>; each v_k of either sign */
    double principal[TWS_MAX_DIRECTIONS]; /* cosines of the principal angles, as in tws_spectrum */
    double kappa;                         /* mean variance that the samples' noise adds to a row */
    size_t spikes;                        /* entries of strengths */
    double strengths[TWS_MAX_OUTLIERS];   /* theta_k: singular values of the mean of W_t - W_0 */
    double output;                        /* rms(f_W1) / rms(y): what step two's residual lost */
} tws_prediction;

/* One order of the limit: the spike with left vector a^(k+1). */
typedef struct tws_order {
    int k;
    double exponent;         /* its strength grows like N^exponent */
    double leading_strength; /* constant times N^exponent; 0 when the coefficient vanishes */
    int sees_target_fresh;   /* 1: its right vector has a part along B* on a fresh batch */
    int sees_target_reuse;   /* the same on a reused batch */
    unsigned directions_fresh; /* bit l: that part has a component along direction l */
    unsigned directions_reuse;
} tws_order;

typedef struct tws_limit {
    size_t outliers; /* orders that leave the bulk as N grows (N/d and d/n as given) */
    size_t orders;   /* the formula: 1 + floor(alpha2 / (1/2 - alpha1)) */
    size_t listed;   /* entries of order[]: at least 4, at most TWS_MAX_ORDERS */
    tws_order order[TWS_MAX_ORDERS];
    double hermite[TWS_HERMITE_LISTED];     /* c_k = E[sigma(z) He_k(z)] / k! of the activation */
    double target_mean;                     /* E y */
    double target_square;                   /* E y^2, noise included */
    double target_kurtosis;                 /* E y^4 / (E y^2)^2 */
    double target_first[TWS_MAX_DIRECTIONS];/* E[u y] */
    int information_exponent; /* least k with a nonzero order-k coefficient of the target (above
                                 1e-6 of its norm; 1e-3, from five directions on 0.05); 0: none up
                                 to 8 (one direction) or 4 (several) */
} tws_limit;

typedef struct tws_warnings {
    size_t count;
    char text[TWS_MAX_WARNINGS][200];
} tws_warnings;

/* The theory's input for a configuration. config must not be NULL. */
TWS_API tws_theory_input tws_theory_from_config(const tws_config *config);

/*
 * Coefficients c_k = E[sigma(z) He_k(z)] / k!, k < count, z ~ N(0,1), He_k monic (probabilists'),
 * by panels of Gauss-Legendre nodes on [-10, 10] with a cut at 0 and at +-1: 240 nodes, 1e-11 for
 * the named activations; what bends elsewhere or changes within 1/4 is less exact.
 * coefficients: count doubles, written. Empty: count 0 is allowed. Memory: none. Errors:
 * TWS_BAD_ARGUMENT for NULL, count above 32, an invalid activation, one that is not finite or not
 * square integrable, or of which nodes of 1/4 cannot tell. Threads: safe if contexts differ.
 * Determinism: D2. Cost: 1504 values of sigma and as many of its slope, most of them for the check.
 */
TWS_API tws_status tws_hermite_coefficients(tws_context *context, const tws_activation *activation,
                                            double *coefficients, size_t count);

/*
 * The paper's limit (arXiv 2605.17767): 1 + floor(alpha2 / g) orders with g = 1/2 - alpha1, of
 * which order k grows like N^(alpha2 - k g) (order 0: N^max(alpha1, alpha2)) with left vector
 * a^(k+1), and the constant in front: C_2 C_1^k times the part of A^(k+1) beyond A, ..., A^k, times
 * the part of v_k beyond v_0, ..., v_(k-1), v_k = X^T F_k / n, F_k the k-th Taylor coefficient in e
 * of y E sigma'(z + e [...]) (see @@THEORY). An order whose F_k vanishes does not count; one with
 * exponent 0 counts if its constant exceeds (N/d)^(1/4). With the plain output scale s = 1 the
 * residual of step two is of order N^alpha1, the exponents are alpha1 + alpha2 - k g, and the
 * formula is floor((alpha1 + alpha2) / g): the samples' noise grows too and hides the last order.
 * ReLU on a reused batch is not analytic in e: order 1 is the part odd in e; the part along |e| is
 * a further spike with left vector a |a| that outliers counts but order[] does not list, and later
 * orders carry no constant. sees_target: b_k = E[u F_k] is not zero (either part of ReLU's order
 * 1). "Vanishes" and "zero" are told from the rounding of derivatives: a constant below some
 * 1e-7 3^k (k + 1)!^(1/2), in units of the labels and step sizes, counts as 0.
 * limit: written on success only. NaN: never written. Memory: at most 10 MB. Errors:
 * TWS_BAD_ARGUMENT for NULL and for anything outside the ranges of tws_theory_input, or for an
 * activation or target that is not finite; TWS_OUT_OF_MEMORY. Threads: safe if contexts differ.
 * Determinism: bit-identical for any number of threads; D2 between compilers. Cost: 0.2 s for one
 * direction, up to 1 s for several.
 */
TWS_API tws_status tws_limit_theory(tws_context *context, const tws_theory_input *input,
                                    tws_limit *limit);

/*
 * As tws_limit_theory, for both batch modes at the price of one and with the same bits, whatever
 * input.batches says. fresh, reuse: written on success only; either may be NULL.
 */
TWS_API tws_status tws_limit_theory_both(tws_context *context, const tws_theory_input *input,
                                         tws_limit *fresh, tws_limit *reuse);

/* limit.orders alone, in no time: 1 + floor(alpha2 / (1/2 - alpha1)), or with a plain output scale
   (s sqrt(N) above 10) floor((alpha1 + alpha2) / (1/2 - alpha1)); at least 1, at most 1e9. The
   exponents must be in range. */
TWS_API size_t tws_limit_orders(const tws_theory_input *input);

/*
 * Outliers, edge and alignments of W_1 and W_2 at this N, with nothing expanded in the step size:
 * the resummed theory of @@THEORY, validity as above. step1, step2: written on success only; either
 * may be NULL. NaN: never written; a configuration so wild that a number overflows is refused.
 * Memory: 2 to 4 MB for one direction without noise, 6 to 16 MB with noise, at most 80 MB for
 * several. Errors: as tws_limit_theory. Threads: safe if contexts differ; uses the context's
 * workers. Determinism: bit-identical for any number of threads; D2 between compilers (libm).
 * Quadrature: 3 to 4 digits; 2 for four directions and more, 1 where the label oscillates there
 * (sin 2u) or is heavy-tailed (u^3). Cost, on one core: 0.1 s for one direction without noise, 0.2
 * to 1 s with noise or several directions.
 */
TWS_API tws_status tws_predict(tws_context *context, const tws_theory_input *input,
                               tws_prediction *step1, tws_prediction *step2);

/*
 * edge and outliers of tws_predict's step2, the same bits, for count exponents alpha2 in place of
 * input's: all that a phase diagram needs. The averages over the first step are shared, so that a
 * further exponent costs about 4 ms where tws_predict takes 50. edges, outliers: count each;
 * undefined on errors. Errors, threads, determinism: as tws_predict. Memory: that of tws_predict,
 * most of it once per worker.
 */
TWS_API tws_status tws_predict_counts(tws_context *context, const tws_theory_input *input,
                                      const double *alpha2, size_t count, double *edges,
                                      size_t *outliers);

/*
 * The predicted density of the bulk of W_1 and W_2: what a histogram of their singular values shows
 * below the edge of tws_predict, normalised like tws_bulk_density (its integral is 1, outliers
 * have no weight). From the same variances of the rows, by Silverstein's equation: t complex with
 * s^2 = 1/t + c E[S / (1 - S t)], density 2 s |Im t| / (pi min(1, c)), c = N/d.
 *   values    count numbers, in any order; below 0 or not finite: density 0
 *   density1, density2   count numbers each, after one and two steps, written on success only;
 *             either may be NULL
 * Empty: count 0. Errors, threads, determinism: as tws_predict. Memory: as tws_predict, and
 * 24 count bytes. Cost: that of tws_predict and about 0.3 ms per value and step on one core.
 */
TWS_API tws_status tws_predict_bulk(tws_context *context, const tws_theory_input *input,
                                    const double *values, size_t count, double *density1,
                                    double *density2);

/*
 * The same prediction with averages over the data of one run; W_0 enters nowhere. It says which
 * directions the outliers of W_2 have, so that they can be compared by angle with measured ones:
 * the cosine to expect is right_norms[k] and left_norms[k].
 *   X1, X2: n x d, row major; y1, y2: n; the same pointers for both batches when reused.
 *   readout: N entries a_i. directions: p x d, orthonormal rows B*.
 *   right: unit vectors, outlier k at right + k d, TWS_MAX_OUTLIERS x d doubles, or NULL.
 *   left: unit vectors, outlier k at left + k N, TWS_MAX_OUTLIERS x N doubles, or NULL; the sign of
 *   each pair makes <left_k, a> >= 0. A vector of which nothing is known (its norm in the
 *   prediction is 0) is 0. Rows beyond the outliers are untouched.
 * input gives N, d, n (exact integers), steps, activation, batches, output scale, and the number of
 * directions; its target function and noise are not used. Aliasing: outputs overlap no input.
 * Errors: TWS_BAD_ARGUMENT; TWS_NOT_FINITE for NaN, infinity or a number of 1e30 and more in the
 * data (names the array), outputs undefined.
 * Memory: about 2800 n + 500 d + 2700 N bytes. Threads, determinism: as tws_predict. Cost: about
 * 5000 values of sigma and sigma' per sample; 0.5 s at N = d = 800, n = 1600 on one core.
 */
TWS_API tws_status tws_surrogate(tws_context *context, const tws_theory_input *input,
                                 const tws_real *X1, const tws_real *y1, const tws_real *X2,
                                 const tws_real *y2, const tws_real *readout,
                                 const tws_real *directions, tws_prediction *step2, double *right,
                                 double *left);

/*
 * Which assumption of the theory fails here, a sentence each: an order that vanishes, a target that
 * cannot wake up, heavy labels, a large residual, a small N, and so on. limit and step2 come from
 * tws_limit_theory and tws_predict for the same input. Errors: TWS_BAD_ARGUMENT for NULL.
 * Memory: none. Threads: safe. Determinism: D2, as what it reads is.
 */
TWS_API tws_status tws_theory_warnings(tws_context *context, const tws_theory_input *input,
                                       const tws_limit *limit, const tws_prediction *step2,
                                       tws_warnings *warnings);

/* ==========================================================================
 * @@API-READOUT: what the features are worth: ridge regression on sigma(W x)
 *
 * The question of Ba et al. (2205.01445), Moniri et al. (2310.07891) and Cui et al. (2402.04980):
 * keep the first layer as the steps have left it, train the second layer on n new samples,
 *     a(lambda) = argmin (1/n) |y - F a|^2 + lambda |a|^2,   F = sigma(X W') / sqrt(N),
 * and ask for the error on samples that nothing has seen. The factor 1/sqrt(N) lets one lambda mean
 * the same at every width, up to the kernel E sigma(w x) sigma(w x') of infinitely many neurons
 * (with features that are not divided, as in Moniri et al., the penalty is N lambda). Errors are
 * means of squares, not halved, so that the noise floor is the variance of the noise.
 * ========================================================================== */

/*
 * features = sigma(X W') / sqrt(count): samples x count, leading dimension ld >= count, may not
 * overlap the inputs. The readout and the output scale of the network are not used, so readout and
 * labels may be NULL. Errors: as tws_forward, TWS_NOT_FINITE also where a feature overflows, and
 * TWS_BAD_ARGUMENT when context->reduce is set (all the neurons must be here).
 * Memory: panels of the product. Threads: context. Determinism: D1.
 * Cost: 2 count d n operations.
 */
TWS_API tws_status tws_features(tws_context *context, const tws_network *network,
                                const tws_batch *batch, tws_real *features, size_t ld);

/*
 * Ridge regression for one lambda: coefficients (width doubles) = a(lambda) as above.
 *   features   samples x width, leading dimension ld >= width; labels: samples
 *   lambda     at least 0, finite
 *   iterations of the refinement, or NULL
 * The smaller of the two Gram matrices (F'F + n lambda, or F F' + n lambda with a = F' alpha) is
 * made and factored in tws_real by a blocked Cholesky, which then preconditions conjugate gradients
 * whose products with F run in double, down to a residual of 1e-10: what is solved is the system in
 * double, and the factor only decides how fast (2 to 4 iterations; more when lambda is tiny, as
 * the factored matrix is then shifted until it has a factor).
 * Errors: TWS_BAD_ARGUMENT (NULL, sizes, lambda; or a system that is not positive definite to
 * rounding, which only n lambda below some 1e-15 of the trace can cause: the least squared singular
 * value of float features must then be about 1e-6 of the sum of all; tws_ridge_path is content with
 * 1e-14), TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_NOT_FINITE (also where a coefficient is above the
 * largest double; else numbers of any size are taken), TWS_UNAVAILABLE, TWS_NOT_CONVERGED (200
 * iterations were not enough; coefficients hold the last).
 * context->reduce is not used. Aliasing: coefficients overlap no input.
 * Memory: min(samples, width)^2 numbers, panels of the product, about 40 (samples + width) doubles,
 * and the features once more, scaled by a power of two, if the largest of them is below 2^-40 or
 * not below 2^16. Threads: context. Determinism: D1.
 * Cost: samples width m + m^3 / 3 operations, m the smaller of the two.
 */
TWS_API tws_status tws_ridge(tws_context *context, const tws_real *features, size_t samples,
                             size_t width, size_t ld, const tws_real *labels, double lambda,
                             double *coefficients, size_t *iterations);

/*
 * The same for count values of lambda at once, with the closed-form leave-one-out error.
 *   lambdas       count numbers, each at least 0 and finite, in any order
 *   coefficients  count x width, or NULL
 *   train         count: (1/n) |y - F a(lambda)|^2, or NULL
 *   loo           count: the mean over j of the squared error at sample j of the fit without sample
 *                 j, (r_j / (1 - h_jj))^2 with h = F (F'F + n lambda)^-1 F' (Allen 1974; n lambda
 *                 is kept when a sample is left out), or NULL
 * One Householder reduction of the smaller Gram matrix to tridiagonal form, all in double, serves
 * every lambda: each costs a few operations per entry of F. Errors as tws_ridge (a matrix that is
 * not positive definite names the lambda), TWS_BAD_ARGUMENT also for count 0 and, if loo is asked
 * for and samples > width, where it has no value or no digit (1 - h_jj of some sample is at most
 * 4e-15 times the condition number: without it features depend on each other), TWS_NOT_FINITE also
 * where an error is above the largest double.
 * Aliasing: outputs overlap no input. Memory: 8 m^2 bytes with m = min(samples, width), features
 * once more when samples > width and once more where tws_ridge scales them, 24 m count, and
 * 8 samples count when samples <= width. Threads: context. Determinism: D1.
 * Cost: samples width m + 4/3 m^3 + 2 samples m^2 operations in double.
 */
TWS_API tws_status tws_ridge_path(tws_context *context, const tws_real *features, size_t samples,
                                  size_t width, size_t ld, const tws_real *labels,
                                  const double *lambdas, size_t count, double *coefficients,
                                  double *train, double *loo);

/*
 * Kernel ridge regression alpha(lambda) = (K + n lambda)^-1 y for a symmetric kernel, samples x
 * samples, of which the upper triangle is read; otherwise as tws_ridge_path. coefficients: count x
 * samples, the alphas; the prediction at x is sum_j alpha_j k(x_j, x).
 */
TWS_API tws_status tws_kernel_path(tws_context *context, const double *kernel, size_t samples,
                                   const tws_real *labels, const double *lambdas, size_t count,
                                   double *coefficients, double *train, double *loo);

/*
 * Ridge regression by conjugate gradients where neither F nor a Gram matrix fits in memory: F is
 * known by its products (transposed == 0: width -> samples; else samples -> width), e.g. made
 * again row block by row block. labels: samples doubles. tolerance: of the residual of
 * (F'F + n lambda) a = F'y or, when samples < width, of its dual, relative to the right-hand side;
 * 1e-14 to 0.1. Errors: TWS_BAD_ARGUMENT, TWS_OUT_OF_MEMORY, TWS_TOO_LARGE, TWS_CALLBACK_FAILED
 * (apply did not return TWS_OK), TWS_NOT_FINITE (from apply, or coefficients above the largest
 * double), TWS_NOT_CONVERGED (most iterations made; coefficients hold the last). The entries of F
 * should lie within 1e-100 to 1e100, n lambda below 1e200: they are squared. Aliasing: none.
 * Memory: 6 vectors. Threads: those of apply. Determinism: D1 if apply is. Cost: two products per
 * iteration, about sqrt(condition number) log(1 / tolerance) of them.
 */
TWS_API tws_status tws_ridge_operator(tws_context *context, tws_operator apply, void *user,
                                      size_t samples, size_t width, const double *labels,
                                      double lambda, double tolerance, size_t most,
                                      double *coefficients, size_t *iterations);

/*
 * outputs (count x samples) = F a, in double, for count vectors a, the rows of coefficients
 * (count x width). features = F: samples x width, leading dimension ld >= width. NaN follows
 * the arithmetic.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_UNAVAILABLE. Aliasing: outputs overlap no input.
 * Memory: none. Threads: context. Determinism: D1. Cost: 2 samples width count operations.
 */
TWS_API tws_status tws_readout_outputs(tws_context *context, const tws_real *features,
                                       size_t samples, size_t width, size_t ld,
                                       const double *coefficients, size_t count, double *outputs);

/*
 * The kernel of infinitely many neurons before any step: kernel[i count2 + j] =
 * E sigma(w x_i) sigma(w x'_j), w ~ N(0, I/d), for two sets of inputs (count1 x d, count2 x d).
 * Source: Mehler's formula, sum over k < 32 of k! c_k(|x|/sqrt d) c_k(|x'|/sqrt d) cos^k, with
 * c_k(s) = E[sigma(s z) He_k(z)] / k!, from 240 values of sigma for each input. What the sum leaves
 * out is put on the diagonal of one set (second NULL or the same as first), so that kernel is
 * positive definite. Error: below 1e-5 of the root of the diagonals' product where |cos| <= 1/2,
 * for |x| <= 8 sqrt d; sphere and Gaussian W_0 differ by O(1/d).
 * second may be NULL: the same as first, count2 is then ignored and the kernel symmetric.
 * Errors: TWS_BAD_ARGUMENT, TWS_TOO_LARGE, TWS_OUT_OF_MEMORY, TWS_NOT_FINITE, TWS_UNAVAILABLE.
 * Aliasing: kernel overlaps no input. Memory: 272 (count1 + count2) bytes, 64 kB and 64 rows of
 * products. Threads: context. Determinism: D2 (libm).
 * Cost: 2 d count1 count2 + 64 count1 count2 operations, and 16000 for each input.
 */
TWS_API tws_status tws_limit_kernel(tws_context *context, const tws_activation *activation,
                                    size_t inputs, const tws_real *first, size_t count1,
                                    const tws_real *second, size_t count2, double *kernel);

/* ==========================================================================
 * @@API-EXPERIMENT: the whole experiment in one call
 * ========================================================================== */

/* Four weight matrices that share W_0, the readout and the first batch. */
typedef enum tws_case {
    TWS_INITIAL,
    TWS_ONE_STEP,
    TWS_TWO_STEPS_FRESH,
    TWS_TWO_STEPS_REUSE,
    TWS_CASE_COUNT
} tws_case;

typedef struct tws_result {
    int measured[TWS_CASE_COUNT];            /* 1 where the entries below are filled */
    tws_spectrum spectrum[TWS_CASE_COUNT];
    double loss[TWS_CASE_COUNT];             /* on the first loss_samples samples of batch 1 */
    size_t loss_samples;                     /* min(n, 512) */
    double eta1, eta2;
    double seconds_data, seconds_step1, seconds_step2, seconds_spectrum, seconds_total; /* wall */
    unsigned threads;
    tws_kernel kernel;
} tws_result;

/* Which cases an experiment measures: the bit of a case is 1 << case. */
#define TWS_ALL_CASES ((1u << TWS_CASE_COUNT) - 1u)

/*
 * Makes the data of config->seed, takes the steps and measures the spectra of the wanted cases (a
 * set of bits 1 << tws_case; 0: W_0, W_1 and the W_2 of config->batches).
 * result: about 14 KB, written also on TWS_NOT_CONVERGED (some singular values have a residual
 * above tolerance: see spectrum[].residuals); undefined on other errors.
 * Errors: those of tws_check, TWS_BAD_ARGUMENT (result NULL, cases out of range, context->reduce
 * set: the whole network is held here), TWS_OUT_OF_MEMORY, TWS_NOT_FINITE, TWS_NOT_CONVERGED,
 * TWS_UNAVAILABLE. Memory: W, G, the batches, one block within context->memory_budget; W once
 * more when both second steps are wanted. Threads: context; same bits for any number.
 * Determinism: D1. Cost: 8 N d n operations, 12 N d n with both second steps.
 */
TWS_API tws_status tws_run(tws_context *context, const tws_config *config, unsigned cases,
                           tws_result *result);

/* Is shown the weights (N x d) of one case and the readout (N), which it may read until it returns;
   called from the calling thread. Anything but TWS_OK ends the run. */
typedef tws_status (*tws_visit)(void *user, tws_case which, const tws_real *weights,
                                const tws_real *readout);

/*
 * tws_run that shows every case to visit(user, ...) right after it was measured: for what the
 * result does not hold, all singular values or W itself. visit may be NULL. Errors: as tws_run, and
 * TWS_CALLBACK_FAILED when visit fails; its time counts in seconds_total alone.
 */
TWS_API tws_status tws_run_visit(tws_context *context, const tws_config *config, unsigned cases,
                                 tws_visit visit, void *user, tws_result *result);

/* A grid of step exponents, and who hears of it. Plain data; the caller owns the arrays. */
typedef struct tws_sweep_plan {
    const double *alpha1; /* rows of them, each at least 0 and below 1/2 */
    size_t rows;
    const double *alpha2; /* columns of them, likewise */
    size_t columns;
    const unsigned char *skip; /* rows x columns, not 0 where a cell is not wanted; NULL: all are */

    /* Sets *row to the row to compute next and returns 1, or returns 0 when there is none left, so
       that rows can be handed out one by one. NULL: all rows in order. */
    int (*next)(void *user, size_t *row);

    /* Gets the finished cells of a row (columns of them, those not wanted are all 0); another value
       than 0 ends the sweep with TWS_CALLBACK_FAILED. Called by the calling thread. */
    int (*report)(void *user, size_t row, const tws_spectrum *cells);
    void *user;
} tws_sweep_plan;

/*
 * Phase diagram: the outliers of W_2 of config->batches for every (alpha1, alpha2) of the plan,
 * from one seed; config's own exponents are not used. Nothing is computed twice: W_0, the data and
 * G_0 serve all rows; as W_1 X' = W_0 X' + eta1 G_0 X', two products serve every pre-activation,
 * and a row costs one product (its G_1); all columns of a row, W_1 + eta2 G_1, share their passes.
 *
 * In each spectrum top counts the values that were looked for and found, the outliers among them:
 * nothing below the edge is computed. outliers and edge mean the same as in tws_measure and agree
 * with tws_run (values to about 1e-5). passes are those of the cell alone.
 * Each cell is the same bits whatever else the plan asks for, in whatever order.
 * Errors: those of tws_run; TWS_CALLBACK_FAILED from report. TWS_NOT_CONVERGED is returned at the
 * end, with all rows reported. Memory: W_0, G_0, W_1, G_1, the batch, two N x n products, one block
 * of samples, columns x top pairs of singular vectors. Threads: context; same bits for any number.
 * Determinism: D1. Cost: 6 N d n operations (10 N d n on a fresh batch), and 2 N d n for each row.
 */
TWS_API tws_status tws_sweep(tws_context *context, const tws_config *config,
                             const tws_sweep_plan *plan);

#ifdef __cplusplus
}
#endif
#endif /* TWOSTEP_H_INCLUDED */

/* The public part ends here. What follows is the implementation: C99 that is also C++11, rooms in
   bottom-up order, twsi_ names, memory only through twsi_take, work only through twsi_run, cut by
   problem size alone. */

#if defined(TWOSTEP_IMPLEMENTATION) && !defined(TWSI_PASS) && !defined(TWOSTEP_IMPLEMENTATION_DONE)
#define TWOSTEP_IMPLEMENTATION_DONE
#define TWSI_IMPLEMENTING

/* ==========================================================================
 * @@PLATFORM: memory, failure, threads, clock, CPU features
 * ========================================================================== */

#include <float.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#ifndef TWOSTEP_MALLOC
#include <stdlib.h>
#define TWOSTEP_MALLOC(bytes) malloc(bytes)
#define TWOSTEP_FREE(pointer) free(pointer)
#endif
#ifndef TWOSTEP_FILENAME
#define TWOSTEP_FILENAME "twostep.h"
#endif

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#define TWSI_WIN32 1
#elif defined(__unix__) || defined(__APPLE__) || defined(__wasi__)
#include <sys/time.h>
#include <unistd.h>
#define TWSI_UNIX 1
#endif
#if !defined(TWOSTEP_NO_THREADS) && defined(TWSI_UNIX) && !defined(__wasm__)
#include <pthread.h>
#include <sched.h>
#define TWSI_PTHREADS 1
#elif !defined(TWOSTEP_NO_THREADS) && defined(TWSI_WIN32)
#define TWSI_WIN32_THREADS 1
#endif

/* Which vector kernels this compiler can emit: vector types with conversions came with gcc 9.
   Real MSVC, tcc and pcc get the plain kernel. */
#if (defined(__clang__) || (defined(__GNUC__) && __GNUC__ >= 9)) && !defined(__TINYC__) && \
    !defined(__PCC__) && !defined(_MSC_VER) && !defined(TWOSTEP_NO_SIMD)
#if defined(__x86_64__) || (defined(__i386__) && defined(__SSE2__))
#include <immintrin.h>
#define TWSI_X86 1
#if defined(__has_feature)
#if __has_feature(memory_sanitizer)
#define TWSI_OPEN_STORES 1 /* none by instructions whose stores MemorySanitizer does not see */
#endif
#endif
/* Tile registers: the system must save them. */
#if defined(__x86_64__) && defined(__linux__) && !defined(TWOSTEP_DOUBLE) && \
    !defined(TWSI_OPEN_STORES) && !defined(TWOSTEP_NO_AMX) && \
    (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define TWSI_AMX 1
#endif
#elif defined(__aarch64__) && defined(__ARM_NEON) && defined(__ORDER_LITTLE_ENDIAN__) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#include <arm_neon.h>
#define TWSI_NEON 1
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define TWSI_WASM 1
#endif
#endif

#if defined(__cplusplus)
#define TWSI_RESTRICT
#else
#define TWSI_RESTRICT restrict
#endif
#define TWSI_FN static TWSI_UNUSED

#define TWSI_PI 3.14159265358979323846
/* Of tws_real; LEAST: what it holds with all its digits. */
#define TWSI_REAL_LEAST (sizeof(tws_real) == sizeof(float) ? (double)FLT_MIN : DBL_MIN)
#define TWSI_REAL_EPSILON (sizeof(tws_real) == sizeof(float) ? (double)FLT_EPSILON : DBL_EPSILON)
#define TWSI_REAL_MOST (sizeof(tws_real) == sizeof(float) ? (double)FLT_MAX : DBL_MAX)
#define TWSI_MAX_THREADS 64 /* seats live on the stack of the call */

/* Contraction of a * b + c into one rounding would change the random numbers from compiler to
   compiler. Each compiler has its own way to forbid it; clang must be asked first, as it also
   claims to be gcc. Where one rounding is wanted, kernels ask for it by name. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__TINYC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif

/* e with 2^(e - 1) <= x < 2^e for a finite x >= 0; 0 for 0. */
TWSI_FN int twsi_exponent(double x) {
    int exponent = 0;
    if (x > 0.0) frexp(x, &exponent);
    return exponent;
}

/* ---- sizes ---- */

/* a * b in *product, or 0 when it does not fit. Two halves always do, without a slow division. */
TWSI_FN int twsi_multiply(size_t a, size_t b, size_t *product) {
    const size_t half = SIZE_MAX >> (4 * sizeof(size_t));
    if ((a > half || b > half) && b != 0 && a > SIZE_MAX / b) return 0;
    *product = a * b;
    return 1;
}

/* Whether an array of rows x ld elements can exist: no object has more than SIZE_MAX / 2 bytes. The
   bytes of one of its rows or columns in double precision then fit in size_t, too. */
TWSI_FN int twsi_fits(size_t rows, size_t ld, size_t size) {
    size_t count;
    return twsi_multiply(rows, ld, &count) && count <= SIZE_MAX / 2 / size;
}

TWSI_FN size_t twsi_min(size_t a, size_t b) { return a < b ? a : b; }
TWSI_FN size_t twsi_max(size_t a, size_t b) { return a > b ? a : b; }
TWSI_FN size_t twsi_ceil_div(size_t a, size_t b) { return a / b + (a % b != 0); }

/* ---- failure ---- */

TWS_API const char *tws_status_text(tws_status status) {
    static const char *const text[] = {
#define TWSI_STATUS_TEXT(name, sentence) sentence,
        TWS_STATUS_LIST(TWSI_STATUS_TEXT)
#undef TWSI_STATUS_TEXT
    };
    const int known = (int)status >= 0 && (int)status < (int)TWS_STATUS_COUNT;
    return known ? text[status] : "unknown status code";
}

TWS_API int tws_version(void) { return TWS_VERSION; }

/* Records the sentence of a failure; context may be NULL. */
TWSI_FN TWSI_FORMAT(2, 3) void twsi_say(tws_context *context, const char *format, ...) {
    va_list arguments;
    if (context == NULL) return;
    va_start(arguments, format);
    vsnprintf(context->message, sizeof context->message, format, arguments);
    va_end(arguments);
}

/* return twsi_fail(context, status, format, ...): records the sentence, hands the status back. A
   macro: so every reader, static analysis too, sees at the call which status comes back. */
#define twsi_fail(context, status, ...) (twsi_say(context, __VA_ARGS__), (status))

/* ---- processes that share a network ---- */

TWSI_FN tws_status twsi_reduce(tws_context *context, double *values, size_t count,
                               const char *what) {
    if (context == NULL || context->reduce == NULL) return TWS_OK;
    if (context->reduce(context->reduce_user, values, count) == 0) return TWS_OK;
    return twsi_fail(context, TWS_CALLBACK_FAILED, "context.reduce failed on the %s", what);
}

/* One status for all processes: where one has failed, all stop, and none waits for it in the next
   sum. Every process must come here, with whatever status it has. */
TWSI_FN tws_status twsi_agree(tws_context *context, tws_status status) {
    double failed = status != TWS_OK ? 1.0 : 0.0;
    if (context == NULL || context->reduce == NULL) return status;
    if (context->reduce(context->reduce_user, &failed, 1) != 0 && status == TWS_OK)
        return twsi_fail(context, TWS_CALLBACK_FAILED, "context.reduce failed on the status");
    if (status == TWS_OK && failed > 0.5)
        return twsi_fail(context, TWS_CALLBACK_FAILED, "another process of the network failed");
    return status;
}

/* ---- memory ---- */

/* All the blocks that one call has taken, released together: no path can leak one. Blocks are
   aligned to a cache line by over-allocation, since C99 has no aligned malloc. */
typedef struct twsi_block {
    struct twsi_block *next;
} twsi_block;

typedef struct twsi_pool {
    tws_allocator allocator;
    twsi_block *blocks;
    tws_status status; /* the first failure, TWS_OK before */
} twsi_pool;

#define TWSI_ALIGNMENT 64

/* Blocks of the default allocator from this size on are asked to lie in pages of 2 MiB. The first
   touch of each page costs microseconds, up to 20 on virtual machines, so that with small pages it
   would take longer than the work on them. The label reaches the function under -std=c99, which
   hides its declaration; a refusal is harmless. */
#if defined(__linux__) && defined(__GNUC__) && !defined(__TINYC__) && \
    !defined(TWOSTEP_NO_HUGE_PAGES)
#define TWSI_HUGE_PAGE ((size_t)2 << 20)
#ifdef __cplusplus
#define TWSI_LIBC extern "C"
#else
#define TWSI_LIBC extern
#endif
TWSI_LIBC int twsi_madvise(void *start, size_t bytes, int advice) __asm__("madvise");
TWSI_FN void twsi_ask_huge_pages(void *start, size_t bytes) {
    (void)twsi_madvise(start, bytes, 14); /* MADV_HUGEPAGE */
}
#else
#define TWSI_HUGE_PAGE (SIZE_MAX / 4)
TWSI_FN void twsi_ask_huge_pages(void *start, size_t bytes) { (void)start, (void)bytes; }
#endif

TWSI_FN void *twsi_default_allocate(void *user, size_t bytes) {
    (void)user;
    return TWOSTEP_MALLOC(bytes);
}

TWSI_FN void twsi_default_release(void *user, void *pointer) {
    (void)user;
    TWOSTEP_FREE(pointer);
}

TWSI_FN tws_status twsi_check_allocator(tws_context *context) {
    if (context == NULL ||
        (context->allocator.allocate == NULL) == (context->allocator.release == NULL))
        return TWS_OK;
    return twsi_fail(context, TWS_BAD_ARGUMENT,
                     "context.allocator has one of allocate and release; set both or neither");
}

/* With half an allocator the default one serves, until a check refuses the call. */
TWSI_FN void twsi_pool_open(twsi_pool *pool, const tws_context *context) {
    pool->blocks = NULL;
    pool->status = TWS_OK;
    if (context != NULL && context->allocator.allocate != NULL &&
        context->allocator.release != NULL) {
        pool->allocator = context->allocator;
    } else {
        pool->allocator.allocate = twsi_default_allocate;
        pool->allocator.release = twsi_default_release;
        pool->allocator.user = NULL;
    }
}

/* count elements of size bytes each, aligned, not cleared. NULL on failure, with pool->status set;
   several takes may be checked at once by pool->status. A zero count gives a valid pointer. */
TWSI_FN void *twsi_take(twsi_pool *pool, size_t count, size_t size) {
    size_t bytes, alignment = TWSI_ALIGNMENT;
    twsi_block *block;
    unsigned char *start;
    if (pool->status != TWS_OK) return NULL;
    if (!twsi_multiply(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        pool->status = TWS_TOO_LARGE;
        return NULL;
    }
    if (bytes >= TWSI_HUGE_PAGE && pool->allocator.allocate == twsi_default_allocate) {
        alignment = TWSI_HUGE_PAGE;
        bytes = twsi_ceil_div(bytes, alignment) * alignment;
    }
    block = (twsi_block *)pool->allocator.allocate(pool->allocator.user,
                                                   bytes + sizeof(twsi_block) + alignment);
    if (block == NULL) {
        pool->status = TWS_OUT_OF_MEMORY;
        return NULL;
    }
    block->next = pool->blocks;
    pool->blocks = block;
    start = (unsigned char *)(block + 1);
    start += (alignment - (uintptr_t)start % alignment) % alignment;
    if (alignment != TWSI_ALIGNMENT) twsi_ask_huge_pages(start, bytes);
    return start;
}

TWSI_FN void twsi_pool_close(twsi_pool *pool) {
    while (pool->blocks != NULL) {
        twsi_block *next = pool->blocks->next;
        pool->allocator.release(pool->allocator.user, pool->blocks);
        pool->blocks = next;
    }
}

/* ---- clock ---- */

/* Seconds of wall time since an arbitrary moment. gettimeofday is what unistd systems declare even
   under -std=c99; 0 where there is no clock. */
TWSI_FN double twsi_seconds(void) {
#if defined(TWSI_WIN32)
    LARGE_INTEGER now, rate;
    QueryPerformanceFrequency(&rate);
    QueryPerformanceCounter(&now);
    return (double)now.QuadPart / (double)rate.QuadPart;
#elif defined(TWSI_UNIX)
    struct timeval now;
    gettimeofday(&now, NULL);
    return (double)now.tv_sec + 1e-6 * (double)now.tv_usec;
#else
    return 0.0;
#endif
}

/* ---- CPU features ---- */

TWS_API const char *tws_kernel_name(tws_kernel kernel) {
    static const char *const name[] = {"auto", "plain",  "sse2", "avx2",
                                       "avx512", "neon", "wasm", "amx"};
    return (int)kernel >= 0 && (int)kernel < (int)TWS_KERNEL_COUNT ? name[kernel] : "?";
}

#ifdef TWSI_AMX
#define TWSI_TILE_STATE 18 /* what Linux calls the contents of the tile registers */

/* arch_prctl of Linux, which no header of C declares; 0 is success. */
TWSI_FN long twsi_arch_prctl(long code, uintptr_t argument) {
    long result = 158;
    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(code), "S"(argument)
                     : "rcx", "r11", "memory");
    return result;
}

/* Does the system save tile registers, and has the processor instructions for bfloat16 in them? The
   system is asked first: on a virtual machine cpuid takes longer than a small product. */
TWSI_FN int twsi_has_tiles(void) {
    const long supported_code = 0x1021; /* ARCH_GET_XCOMP_SUPP */
    uint32_t a = 0, b = 0, c = 0, d = 0;
    uint64_t supported = 0;
    if (twsi_arch_prctl(supported_code, (uintptr_t)&supported) != 0 ||
        !(supported >> TWSI_TILE_STATE & 1))
        return 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (a < 7) return 0;
    a = 7;
    c = 0;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return (d >> 22 & 1) && (d >> 24 & 1);
}

/* The process must ask before it may touch the tile registers; asking again changes nothing. */
TWSI_FN int twsi_allow_tiles(void) {
    return twsi_arch_prctl(0x1023 /* ARCH_REQ_XCOMP_PERM */, TWSI_TILE_STATE) == 0;
}
#endif

#ifdef TWSI_X86
TWSI_FN int twsi_has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

TWS_API int tws_kernel_available(tws_kernel kernel) {
    switch (kernel) {
    case TWS_KERNEL_AUTO:
    case TWS_KERNEL_PLAIN: return 1;
#ifdef TWSI_X86
    case TWS_KERNEL_SSE2: return 1;
    case TWS_KERNEL_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case TWS_KERNEL_AVX512: return twsi_has_avx512();
#endif
#ifdef TWSI_AMX
    case TWS_KERNEL_AMX: return twsi_has_avx512() && twsi_has_tiles();
#endif
#ifdef TWSI_NEON
    case TWS_KERNEL_NEON: return 1;
#endif
#ifdef TWSI_WASM
    case TWS_KERNEL_WASM: return 1;
#endif
    default: return 0;
    }
}

/* The last kernel that AUTO may take. The tests set it, to run with each that a machine has. */
#ifndef TWSI_AUTO_LAST
#define TWSI_AUTO_LAST TWS_KERNEL_AMX
#endif
/* ... and the last where there are no large products: to ask for tile registers takes longer. */
#define TWSI_AUTO_LAST_SMALL \
    (TWSI_AUTO_LAST < TWS_KERNEL_WASM ? TWSI_AUTO_LAST : TWS_KERNEL_WASM)

TWSI_FN int twsi_kernel_ready(tws_kernel kernel) {
    if (!tws_kernel_available(kernel)) return 0;
#ifdef TWSI_AMX
    if (kernel == TWS_KERNEL_AMX) return twsi_allow_tiles();
#endif
    return 1;
}

/* What AUTO stands for, up to last. */
TWSI_FN tws_kernel twsi_fastest_kernel(tws_kernel last) {
    int kernel;
    for (kernel = (int)last; kernel > (int)TWS_KERNEL_PLAIN; kernel--)
        if (twsi_kernel_ready((tws_kernel)kernel)) break;
    return (tws_kernel)kernel;
}

TWS_API tws_kernel tws_context_kernel(const tws_context *context) {
    if (context != NULL && context->kernel != TWS_KERNEL_AUTO) return context->kernel;
    return twsi_fastest_kernel(TWSI_AUTO_LAST);
}

/* ---- threads ---- */

TWSI_FN unsigned twsi_core_count(void) {
    long cores = 1;
#if defined(TWSI_WIN32)
    SYSTEM_INFO info;
    GetSystemInfo(&info);
    cores = (long)info.dwNumberOfProcessors;
#elif defined(TWSI_UNIX)
    cores = sysconf(_SC_NPROCESSORS_ONLN);
#endif
    return cores < 1 ? 1u : cores > TWSI_MAX_THREADS ? TWSI_MAX_THREADS : (unsigned)cores;
}

TWS_API tws_context tws_default_context(void) {
    tws_context context;
    memset(&context, 0, sizeof context);
    return context;
}

#if defined(TWSI_PTHREADS)
typedef pthread_t twsi_thread;
typedef pthread_mutex_t twsi_mutex;
typedef pthread_cond_t twsi_signal;
#define TWSI_MUTEX_INIT(m) pthread_mutex_init(m, NULL)
#define TWSI_MUTEX_FREE(m) pthread_mutex_destroy(m)
#define TWSI_LOCK(m) pthread_mutex_lock(m)
#define TWSI_UNLOCK(m) pthread_mutex_unlock(m)
#define TWSI_SIGNAL_INIT(s) pthread_cond_init(s, NULL)
#define TWSI_SIGNAL_FREE(s) pthread_cond_destroy(s)
#define TWSI_WAIT(s, m) pthread_cond_wait(s, m)
#define TWSI_WAKE_ALL(s) pthread_cond_broadcast(s)
#define TWSI_YIELD() sched_yield()
#define TWSI_THREADS 1
#elif defined(TWSI_WIN32_THREADS)
typedef HANDLE twsi_thread;
typedef SRWLOCK twsi_mutex;
typedef CONDITION_VARIABLE twsi_signal;
#define TWSI_MUTEX_INIT(m) InitializeSRWLock(m)
#define TWSI_MUTEX_FREE(m) ((void)(m))
#define TWSI_LOCK(m) AcquireSRWLockExclusive(m)
#define TWSI_UNLOCK(m) ReleaseSRWLockExclusive(m)
#define TWSI_SIGNAL_INIT(s) InitializeConditionVariable(s)
#define TWSI_SIGNAL_FREE(s) ((void)(s))
#define TWSI_WAIT(s, m) SleepConditionVariableSRW(s, m, INFINITE, 0)
#define TWSI_WAKE_ALL(s) WakeAllConditionVariable(s)
#define TWSI_YIELD() SwitchToThread()
#define TWSI_THREADS 1
#endif

/*
 * The workers of one call, or of all from tws_start_workers on. They are started when the team is
 * opened, wait between jobs and end when it closes. Who waits first looks again and again for a
 * moment, and lets others run: to sleep and be woken takes longer than many a job. Pieces are
 * claimed one by one under a lock: they are cut by problem size alone and large beside the cost of
 * a claim, so results never depend on who takes which.
 */
struct twsi_kernels;
struct twsi_team;

#ifdef TWSI_THREADS
typedef struct twsi_seat {
    struct twsi_team *team;
    size_t worker;
    twsi_thread thread;
} twsi_seat;
#endif

typedef struct twsi_team {
    tws_context *context;              /* may be NULL */
    const struct twsi_kernels *kernels; /* inner loops that this call uses */
    unsigned workers;                  /* at least 1; a task's worker is below it */
#ifdef TWSI_THREADS
    unsigned started;
    int closing, busy;
    size_t round, next, count, running;
    tws_task task;
    void *data;
    twsi_mutex mutex;
    twsi_signal work, done;
    twsi_seat seats[TWSI_MAX_THREADS];
#endif
} twsi_team;

/* An empty team. The seats stay as they are: clearing them would take longer than a small job. */
TWSI_FN void twsi_team_clear(twsi_team *team) {
    memset(team, 0, offsetof(twsi_team, workers));
    team->workers = 1;
#ifdef TWSI_THREADS
    team->started = 0;
    team->closing = team->busy = 0;
    team->round = team->next = team->count = team->running = 0;
#endif
}

#ifdef TWSI_THREADS
/* A number that one thread writes with the mutex held and others read without it. */
#if defined(__GNUC__) && !defined(__TINYC__)
#define TWSI_POST(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELEASE)
#define TWSI_PEEK(place) __atomic_load_n(&(place), __ATOMIC_ACQUIRE)
#define TWSI_PATIENCE 4e-4 /* seconds before who waits sleeps: most serial parts are shorter */
#else
#define TWSI_POST(place, value) ((place) = (value))
#define TWSI_PEEK(place) (place)
#define TWSI_PATIENCE 0.0 /* never without the mutex */
#endif

/* Waits for another number at the place, first awake, then asleep. Called and returns with the
   mutex held; may return early. */
TWSI_FN void twsi_team_wait(twsi_team *team, const size_t *place, twsi_signal *signal) {
    const size_t old = *place;
    if (TWSI_PATIENCE > 0.0) {
        const double start = twsi_seconds();
        double waited = 0.0;
        TWSI_UNLOCK(&team->mutex);
        while (TWSI_PEEK(*place) == old && waited >= 0.0 && waited < TWSI_PATIENCE) {
            TWSI_YIELD();
            waited = twsi_seconds() - start;
        }
        TWSI_LOCK(&team->mutex);
    }
    if (*place == old) TWSI_WAIT(signal, &team->mutex);
}

/* Takes pieces until none is left; called and returns with the mutex held. */
TWSI_FN void twsi_team_work(twsi_team *team, size_t worker) {
    TWSI_POST(team->running, team->running + 1);
    while (team->next < team->count) {
        size_t index = team->next++;
        tws_task task = team->task;
        void *data = team->data;
        TWSI_UNLOCK(&team->mutex);
        task(data, index, worker);
        TWSI_LOCK(&team->mutex);
    }
    TWSI_POST(team->running, team->running - 1);
    if (team->running == 0) TWSI_WAKE_ALL(&team->done);
}

TWSI_FN void twsi_team_member(twsi_seat *seat) {
    twsi_team *team = seat->team;
    size_t seen = 0;
    TWSI_LOCK(&team->mutex);
    while (!team->closing) {
        if (team->round != seen) {
            seen = team->round;
            twsi_team_work(team, seat->worker);
        } else {
            twsi_team_wait(team, &team->round, &team->work);
        }
    }
    TWSI_UNLOCK(&team->mutex);
}

#if defined(TWSI_PTHREADS)
TWSI_FN void *twsi_thread_main(void *seat) {
    twsi_team_member((twsi_seat *)seat);
    return NULL;
}
TWSI_FN int twsi_thread_start(twsi_seat *seat) {
    return pthread_create(&seat->thread, NULL, twsi_thread_main, seat) == 0;
}
TWSI_FN void twsi_thread_join(twsi_seat *seat) { pthread_join(seat->thread, NULL); }
#else
TWSI_FN DWORD WINAPI twsi_thread_main(LPVOID seat) {
    twsi_team_member((twsi_seat *)seat);
    return 0;
}
TWSI_FN int twsi_thread_start(twsi_seat *seat) {
    seat->thread = CreateThread(NULL, 0, twsi_thread_main, seat, 0, NULL);
    return seat->thread != NULL;
}
TWSI_FN void twsi_thread_join(twsi_seat *seat) {
    WaitForSingleObject(seat->thread, INFINITE);
    CloseHandle(seat->thread);
}
#endif
#endif

/* Runs task for every index below count on the threads of the team itself, or alone where these are
   at work for another call: copies of a context share its kept workers. */
TWSI_FN void twsi_team_share(twsi_team *team, size_t count, tws_task task, void *data) {
    size_t index;
#ifdef TWSI_THREADS
    int mine = 0;
    if (team->started > 0 && count > 1) {
        TWSI_LOCK(&team->mutex);
        mine = !team->busy;
        team->busy = 1;
        if (!mine) TWSI_UNLOCK(&team->mutex);
    }
    if (mine) {
        team->task = task;
        team->data = data;
        team->count = count;
        team->next = 0;
        TWSI_POST(team->round, team->round + 1);
        TWSI_WAKE_ALL(&team->work);
        twsi_team_work(team, 0);
        while (team->running > 0) twsi_team_wait(team, &team->running, &team->done);
        team->count = 0; /* a member that wakes late finds nothing */
        team->next = 0;
        team->busy = 0;
        TWSI_UNLOCK(&team->mutex);
        return;
    }
#endif
    (void)team;
    for (index = 0; index < count; index++) task(data, index, 0);
}

/* A team for many calls: the parallel_for of tws_start_workers. */
typedef struct twsi_workers {
    twsi_team team;
    twsi_pool pool;   /* that this lies in */
    unsigned threads; /* of the context before */
} twsi_workers;

TWSI_FN void twsi_workers_run(void *user, size_t count, tws_task task, void *data) {
    twsi_team_share(&((twsi_workers *)user)->team, count, task, data);
}

TWS_API unsigned tws_context_threads(const tws_context *context) {
    unsigned threads = context != NULL ? context->threads : 0;
    if (context != NULL && context->parallel_for == twsi_workers_run)
        return ((const twsi_workers *)context->parallel_user)->team.workers;
#if !defined(TWSI_PTHREADS) && !defined(TWSI_WIN32_THREADS)
    if (context == NULL || context->parallel_for == NULL) return 1;
#endif
    if (threads == 0) threads = twsi_core_count();
    return threads > TWSI_MAX_THREADS ? TWSI_MAX_THREADS : threads;
}

/* The same on all workers, the caller's too; returns when the last has finished. */
TWSI_FN void twsi_run(twsi_team *team, size_t count, tws_task task, void *data) {
    if (team->workers > 1 && count > 1 && team->context != NULL &&
        team->context->parallel_for != NULL)
        team->context->parallel_for(team->context->parallel_user, count, task, data);
    else
        twsi_team_share(team, count, task, data);
}

/* The same unless serial is set: then in turn, on the calling thread. */
TWSI_FN void twsi_run_unless(int serial, twsi_team *team, size_t count, tws_task task,
                             void *data) {
    size_t index;
    if (serial)
        for (index = 0; index < count; index++) task(data, index, 0);
    else
        twsi_run(team, count, task, data);
}

/* ==========================================================================
 * @@LANES: the inner loops, once per instruction set
 *
 * The file includes itself once for each kernel; every pass sees only the room between the two
 * TWSI_PASS lines below, with its own vector type and target attribute, and leaves one table of
 * functions named after the kernel. The plain pass is C99 with vectors of one lane: read that one
 * first, the others are the same code with wider words.
 * ========================================================================== */

/* Sizes of the numbers met in packing, by their bits: 0, 0 before the first. */
typedef struct twsi_gemm_sizes {
    uint32_t above, most; /* the largest; 2^32 less the least that is not 0, or 0: none */
} twsi_gemm_sizes;

/* The inner loops of one kernel: what every room below calls. */
typedef struct twsi_kernels {
    tws_kernel kernel;
    void (*normals)(uint32_t (*state)[TWS_RANDOM_LANES], tws_real *out, size_t blocks);
    void (*activate)(const tws_activation *activation, const tws_real *x, tws_real *value,
                     tws_real *slope, size_t count);
    size_t gemm_rows, gemm_columns;       /* tile of C held in registers */
    size_t gemm_depth, gemm_block_columns; /* cache block of B: depth x columns */
    size_t gemm_pad;                      /* entries that packing may spill past a panel */
    size_t gemm_terms;  /* panels hold a multiple of so many; 1: B may be read where it lies too */
    size_t gemm_halves; /* of a tws_real that an entry of a panel takes */
    /* sizes: widened by what was met, where there is gemm_instead */
    void (*gemm_pack_a)(int across, size_t width, size_t count, size_t depth,
                        const tws_real *source, size_t ld, tws_real *panels, size_t panel_size,
                        twsi_gemm_sizes *sizes);
    void (*gemm_pack_b)(int across, size_t width, size_t count, size_t depth,
                        const tws_real *source, size_t ld, tws_real *panels, size_t panel_size,
                        twsi_gemm_sizes *sizes);
    /* next: the first of next_size entries that will be wanted after b */
    void (*gemm_block)(size_t m, size_t n, size_t depth, tws_real alpha, const tws_real *a,
                       size_t a_size, const tws_real *b, size_t b_size, size_t b_step,
                       const tws_real *next, size_t next_size, tws_real beta, tws_real *c,
                       size_t ldc);
    /* for numbers that gemm_block does not hold for; NULL: it holds for all */
    const struct twsi_kernels *gemm_instead;
    /* op(A) B without packing; NULL where the vectors have no masks */
    void (*gemm_small)(int across, size_t m, size_t n, size_t k, tws_real alpha, const tws_real *a,
                       size_t lda, const tws_real *b, size_t ldb, tws_real beta, tws_real *c,
                       size_t ldc);
    void (*svd_real)(const tws_real *a, size_t ld, size_t rows, size_t n, const double *x,
                     size_t ldx, size_t count, double factor, double *p, size_t ldp, double *q,
                     size_t ldq);
    void (*svd_double)(const double *a, size_t ld, size_t rows, size_t n, const double *x,
                       size_t ldx, size_t count, double factor, double *p, size_t ldp, double *q,
                       size_t ldq);
    void (*svd_pass)(const tws_real *a, size_t ld, size_t rows, size_t n, const tws_real *x,
                     size_t ldx, size_t count, tws_real factor, tws_real *q, size_t ldq);
    void (*row_sum)(tws_real *out, const tws_real *a, tws_real factor, const tws_real *b,
                    size_t count);
    void (*svd_gather)(double *y, size_t n, double f, const tws_real *x);
    void (*svd_rotate)(double *a, double *b, size_t n, double c, double s);
    void (*svd_add2)(double *y, size_t n, double f, const double *a, double g, const double *b);
    void (*axpy)(tws_real *sum, tws_real weight, const tws_real *x, size_t count);
    void (*scaled_copy)(tws_real *out, tws_real factor, const tws_real *x, size_t count);
    tws_real (*largest)(const tws_real *x, size_t count);
} twsi_kernels;

#define TWSI_NORMAL_BLOCK ((size_t)2 * TWS_RANDOM_LANES)

/* ---- random bits, shared by every pass ---- */

TWSI_FN uint32_t twsi_rotate(uint32_t x, int bits) { return (x << bits) | (x >> (32 - bits)); }

/* One step of all lanes of the stream: xoshiro128++. */
TWSI_FN void twsi_random_step(uint32_t (*state)[TWS_RANDOM_LANES], uint32_t *words) {
    size_t lane;
    for (lane = 0; lane < TWS_RANDOM_LANES; lane++) {
        const uint32_t s0 = state[0][lane], s1 = state[1][lane];
        uint32_t s2 = state[2][lane], s3 = state[3][lane];
        words[lane] = twsi_rotate(s0 + s3, 7) + s0;
        s2 ^= s0;
        s3 ^= s1;
        state[1][lane] = s1 ^ s2;
        state[0][lane] = s0 ^ s3;
        state[2][lane] = s2 ^ (s1 << 9);
        state[3][lane] = twsi_rotate(s3, 11);
    }
}

/* ==========================================================================
 * @@ACTIVATIONS: sigma and sigma' in double precision, and what their vector forms share
 *
 * The functions of one double below are the definition; libm does the work. Every bounded function
 * is written with e = exp(-|x|) <= 1, which cannot overflow, and every slope in a form without
 * cancellation: 1 - tanh^2 is 4 e / (1 + e)^2 with e = exp(-2|x|), so it keeps its relative
 * accuracy far out in the tails.
 *
 * The vector forms follow the same formulas with polynomials of their own, so that a kernel gives
 * the same bits wherever it runs:
 *   exp(t) = 2^k (1 + r + r^2 E(r)), k the integer nearest to t / ln 2, |r| <= ln 2 / 2,
 *   log(1 + e) = 2 s + s^3 L(s^2), s = e / (2 + e) <= 1/3,
 *   sin(r) = r + r^3 S(r^2), |r| <= pi / 2, after multiples of pi are taken off in three pieces,
 *   erf(x) = x R(x^2) for |x| < 1,
 *   erfc(a) = exp(-a^2) (1 - u) C(1 - 2 u), u = b / (1 + b), b = a / 3, for a >= 0.
 * Each polynomial minimises the largest relative error of the whole expression (Remez exchange in
 * 50 digits); the error of each is far below the rounding of tws_real. Coefficients stand from the
 * highest power down.
 * ========================================================================== */

#ifdef TWOSTEP_DOUBLE
#define TWSI_INT_SIGN INT64_MIN
#define TWSI_INT_ABS INT64_MAX
#define TWSI_MANTISSA 52
#define TWSI_SIGN_PLACE 63
#define TWSI_BIAS 1023
#define TWSI_ROUNDER 6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer */
#define TWSI_EXP_LOW (-708.3)           /* below, exp would be no normal number: taken as 0 */
#define TWSI_ERF_LOW 26.6               /* exp(-x^2) is 0 beyond */
#define TWSI_GELU_LOW 37.6              /* exp(-x^2/2) is 0 beyond */
#define TWSI_HALF_BITS 0x7ffffffff8000000 /* keeps 26 bits of a number: their square is exact */
#define TWSI_LN2_HIGH 0.69314718055966295651
#define TWSI_LN2_LOW 2.8235290563031577123e-13
#define TWSI_PI_1 3.1415926535846665502
#define TWSI_PI_2 5.1266883031679115782e-12
#define TWSI_PI_3 2.1125998133973998e-23
#define TWSI_EXP_POLY(FIRST, NEXT)                                                        \
    FIRST(2.08272533521968368e-9) NEXT(2.51115131333729942e-8)                            \
    NEXT(2.75575739966924626e-7) NEXT(2.75572370921157936e-6)                             \
    NEXT(2.48015869502238717e-5) NEXT(1.98412698931991712e-4)                             \
    NEXT(1.38888888890882348e-3) NEXT(8.33333333331884801e-3)                             \
    NEXT(4.16666666666662235e-2) NEXT(0.1666666666666668) NEXT(0.5)
#define TWSI_SIN_POLY(FIRST, NEXT)                                                        \
    FIRST(-7.98516894229667109e-18) NEXT(2.81024920859528163e-15)                         \
    NEXT(-7.64712962278016832e-13) NEXT(1.60590432614092058e-10)                          \
    NEXT(-2.5052108379545206e-8) NEXT(2.75573192239502595e-6)                             \
    NEXT(-1.98412698412697248e-4) NEXT(8.33333333333333316e-3)                            \
    NEXT(-0.166666666666666667)
#define TWSI_LOG_POLY(FIRST, NEXT)                                                        \
    FIRST(0.166639450116736953) NEXT(0.0853948256306522687) NEXT(0.120584033498302163)    \
    NEXT(0.133072917797546282) NEXT(0.153860538160566517) NEXT(0.181817690018884151)      \
    NEXT(0.222222232154898439) NEXT(0.285714285607664424) NEXT(0.400000000000480941)      \
    NEXT(0.666666666666666233)
#define TWSI_ERF_POLY(FIRST, NEXT)                                                        \
    FIRST(-4.22289409023881187e-12) NEXT(8.70379425061069686e-11)                         \
    NEXT(-1.21630450130342099e-9) NEXT(1.47921466098722657e-8)                            \
    NEXT(-1.63646145547528602e-7) NEXT(1.64620434208262378e-6)                            \
    NEXT(-1.49256474659564853e-5) NEXT(1.20553328993938826e-4)                            \
    NEXT(-8.54832702185421374e-4) NEXT(5.223977625422104e-3)                              \
    NEXT(-2.68661706451297354e-2) NEXT(0.112837916709551198)                              \
    NEXT(-0.376126389031837524) NEXT(1.12837916709551257)
#define TWSI_ERFC_POLY(FIRST, NEXT)                                                       \
    FIRST(-4.68148179068958191e-10) NEXT(1.99809446196256067e-9)                          \
    NEXT(6.33063329445633477e-10) NEXT(-1.58121802724383287e-8)                           \
    NEXT(1.35677927657665016e-8) NEXT(7.70310067591847672e-8)                             \
    NEXT(-1.34239930574391807e-7) NEXT(-3.32568584977420428e-7)                           \
    NEXT(9.20761318952489325e-7) NEXT(1.58294400011614321e-6)                             \
    NEXT(-5.82313450250056381e-6) NEXT(-1.01326899936933879e-5)                           \
    NEXT(3.58537369748370479e-5) NEXT(9.22592766030400577e-5)                             \
    NEXT(-1.82769883830281479e-4) NEXT(-1.0113539996980515e-3)                            \
    NEXT(-4.04138876867141718e-4) NEXT(8.94241154143742625e-3)                            \
    NEXT(3.98425870958118063e-2) NEXT(0.103489087300191283)                               \
    NEXT(0.19674278570136648) NEXT(0.294464817723294518) NEXT(0.358002302362779903)
#else
#define TWSI_INT_SIGN INT32_MIN
#define TWSI_INT_ABS INT32_MAX
#define TWSI_MANTISSA 23
#define TWSI_SIGN_PLACE 31
#define TWSI_BIAS 127
#define TWSI_ROUNDER 12582912.0 /* 1.5 * 2^23: adding it rounds to an integer */
#define TWSI_EXP_LOW (-87.3)    /* below, exp would be no normal number: taken as 0 */
#define TWSI_ERF_LOW 9.34       /* exp(-x^2) is 0 beyond */
#define TWSI_GELU_LOW 13.2      /* exp(-x^2/2) is 0 beyond */
#define TWSI_HALF_BITS 0x7ffff000 /* keeps 12 bits of a number: their square is exact */
#define TWSI_LN2_HIGH 0.693359375
#define TWSI_LN2_LOW (-2.1219444005469058e-4)
#define TWSI_PI_1 3.140625
#define TWSI_PI_2 9.6750259399414062e-4
#define TWSI_PI_3 1.5099579909783765e-7
#define TWSI_EXP_POLY(FIRST, NEXT)                                             \
    FIRST(1.977969513e-4) NEXT(1.394347294e-3) NEXT(8.333516073e-3)            \
    NEXT(4.166632068e-2) NEXT(0.166666658) NEXT(0.5000000055)
#define TWSI_SIN_POLY(FIRST, NEXT)                                             \
    FIRST(-2.39073593e-8) NEXT(2.752669987e-6) NEXT(-1.984090105e-4)           \
    NEXT(8.333331442e-3) NEXT(-0.1666666664)
#define TWSI_LOG_POLY(FIRST, NEXT)                                             \
    FIRST(0.239054058) NEXT(0.2153898118) NEXT(0.2860594539) NEXT(0.3999931025) \
    NEXT(0.666666701)
#define TWSI_ERF_POLY(FIRST, NEXT)                                             \
    FIRST(7.853849828e-5) NEXT(-8.010202699e-4) NEXT(5.188330483e-3)           \
    NEXT(-2.685381458e-2) NEXT(0.1128358525) NEXT(-0.3761262584)               \
    NEXT(1.128379166)
#define TWSI_ERFC_POLY(FIRST, NEXT)                                            \
    FIRST(1.088585759e-4) NEXT(-1.618593463e-4) NEXT(-1.026596934e-3)          \
    NEXT(-4.084046744e-4) NEXT(8.946449325e-3) NEXT(3.984295599e-2)            \
    NEXT(0.1034886946) NEXT(0.1967427701) NEXT(0.294464828) NEXT(0.3580023025)
#endif
#define TWSI_LOG2_E 1.4426950408889634074
#define TWSI_INVERSE_PI 0.31830988618379067154
#define TWSI_TWO_OVER_ROOT_PI 1.1283791670955125739
#define TWSI_ROOT_HALF 0.70710678118654752440
#define TWSI_NORMAL_PEAK 0.39894228040143267794 /* 1 / sqrt(2 pi) */
#define TWSI_SINE_BOUND 1e4      /* vectors take multiples of pi off up to here, libm beyond */
#define TWSI_HERMITE_BOUND 32.0  /* recurrence below, powers of x above */
#define TWSI_HERMITE_LARGEST 1e20 /* a coefficient's largest size: powers stay in float's range */
#define TWSI_ACTIVATE_CHUNK ((size_t)256)

TWSI_FN int twsi_is_finite(double x) { return x - x == 0.0; }

/* ---- Hermite sums ---- */

/* Coefficients of sigma' from those of sigma: He_k' = k He_{k-1}. */
TWSI_FN void twsi_hermite_slope(const double *c, double *slope) {
    int k;
    for (k = 0; k < TWS_MAX_DEGREE; k++) slope[k] = (k + 1) * c[k + 1];
    slope[TWS_MAX_DEGREE] = 0.0;
}

/* The same polynomial in powers of x, from He_{k+1} = x He_k - k He_{k-1}. */
TWSI_FN void twsi_hermite_powers(const double *c, double *power) {
    double last[TWS_MAX_DEGREE + 1] = {0.0}, now[TWS_MAX_DEGREE + 1] = {0.0};
    int j, k;
    now[0] = 1.0;
    for (j = 0; j <= TWS_MAX_DEGREE; j++) power[j] = 0.0;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        double next[TWS_MAX_DEGREE + 1];
        for (j = 0; j <= TWS_MAX_DEGREE; j++) {
            power[j] += c[k] * now[j];
            next[j] = (j > 0 ? now[j - 1] : 0.0) - k * last[j];
        }
        memcpy(last, now, sizeof last);
        memcpy(now, next, sizeof now);
    }
}

TWSI_FN int twsi_hermite_degree(const double *c) {
    int degree = TWS_MAX_DEGREE;
    while (degree > 0 && c[degree] == 0.0) degree--;
    return degree;
}

/* sum of c[k] He_k(x). Clenshaw's recurrence loses less than powers of x do between the zeros; far
   out the powers lose nothing, and overflow to the right infinity where the recurrence would give
   NaN. */
TWSI_FN double twsi_hermite_value(const double *c, double x) {
    int k = twsi_hermite_degree(c);
    double now = 0.0, last = 0.0;
    if (fabs(x) > TWSI_HERMITE_BOUND) {
        double power[TWS_MAX_DEGREE + 1];
        twsi_hermite_powers(c, power);
        now = power[k];
        for (k--; k >= 0; k--) now = now * x + power[k];
    } else {
        for (; k >= 0; k--) {
            const double next = c[k] + x * now - (k + 1) * last;
            last = now;
            now = next;
        }
    }
    return now;
}

/* ---- one double at a time ---- */

/* exp(-|x|) / (1 + exp(-|x|))^2, the slope of the logistic function. */
TWSI_FN double twsi_logistic_slope(double x) {
    const double e = exp(-fabs(x)), q = 1.0 / (1.0 + e);
    return e * q * q;
}

TWSI_FN double twsi_logistic(double x) {
    const double e = exp(-fabs(x)), q = 1.0 / (1.0 + e);
    return x < 0.0 ? e * q : q;
}

TWSI_FN double twsi_normal_density(double x) { return TWSI_NORMAL_PEAK * exp(-0.5 * x * x); }
TWSI_FN double twsi_normal_below(double x) { return 0.5 * erfc(-TWSI_ROOT_HALF * x); }

/* x as a factor of something that vanishes beyond: 0 * infinity would be NaN. */
TWSI_FN double twsi_clamp(double x, double bound) {
    return x < -bound ? -bound : x > bound ? bound : x;
}

/* sin(x + 1/2) and cos(x + 1/2); the sum is spared where rounding it would show. */
TWSI_FN double twsi_sine(double x) {
    return fabs(x) < 4.0 ? sin(x + 0.5) : sin(x) * cos(0.5) + cos(x) * sin(0.5);
}

TWSI_FN double twsi_sine_slope(double x) {
    return fabs(x) < 4.0 ? cos(x + 0.5) : cos(x) * cos(0.5) - sin(x) * sin(0.5);
}

TWS_API double tws_activation_value(const tws_activation *activation, double x) {
    switch (activation->kind) {
    case TWS_TANH: return tanh(x);
    case TWS_SHIFTED_TANH: return tanh(x + 0.7);
    case TWS_ERF: return erf(x);
    case TWS_SIGMOID: return twsi_logistic(x);
    case TWS_SHIFTED_SIGMOID: return twsi_logistic(x + 1.0);
    case TWS_SOFTPLUS: return (x < 0.0 ? 0.0 : x) + log1p(exp(-fabs(x)));
    case TWS_GELU: return (x < 0.0 ? twsi_clamp(x, 40.0) : x) * twsi_normal_below(x);
    case TWS_SILU: return (x < 0.0 ? twsi_clamp(x, 800.0) : x) * twsi_logistic(x);
    case TWS_RELU: return x < 0.0 ? 0.0 : x;
    case TWS_SINE: return twsi_sine(x);
    case TWS_CUBIC: return x * (x * (x / 6.0 + 0.5) + 0.5) - 0.5;
    case TWS_HERMITE: return twsi_hermite_value(activation->hermite, x);
    case TWS_CUSTOM_ACTIVATION: return activation->value(activation->user, x);
    default: return 0.0;
    }
}

TWS_API double tws_activation_slope(const tws_activation *activation, double x) {
    switch (activation->kind) {
    case TWS_TANH: return 4.0 * twsi_logistic_slope(2.0 * x);
    case TWS_SHIFTED_TANH: return 4.0 * twsi_logistic_slope(2.0 * (x + 0.7));
    case TWS_ERF: return TWSI_TWO_OVER_ROOT_PI * exp(-x * x);
    case TWS_SIGMOID: return twsi_logistic_slope(x);
    case TWS_SHIFTED_SIGMOID: return twsi_logistic_slope(x + 1.0);
    case TWS_SOFTPLUS: return twsi_logistic(x);
    case TWS_GELU: return twsi_normal_below(x) + twsi_clamp(x, 40.0) * twsi_normal_density(x);
    case TWS_SILU: return twsi_logistic(x) + twsi_clamp(x, 800.0) * twsi_logistic_slope(x);
    case TWS_RELU: return x > 0.0 ? 1.0 : x <= 0.0 ? 0.0 : x;
    case TWS_SINE: return twsi_sine_slope(x);
    case TWS_CUBIC: return 0.5 * (x + 1.0) * (x + 1.0);
    case TWS_HERMITE: {
        double slope[TWS_MAX_DEGREE + 1];
        twsi_hermite_slope(activation->hermite, slope);
        return twsi_hermite_value(slope, x);
    }
    case TWS_CUSTOM_ACTIVATION: return activation->slope(activation->user, x);
    default: return 0.0;
    }
}

/* ---- what the loops over arrays need to know ---- */

/* The numbers of one activation in tws_real. A shift is a pair whose sum is exact to twice the
   width, so that tanh(x + 0.7) keeps its accuracy where it crosses zero. */
typedef struct twsi_curve {
    const tws_activation *activation;
    tws_real shift[2];       /* sigma(x) is a plain function of x + shift */
    tws_real slope_shift[2]; /* sine: cos(x + 0.5) = sin(x + 0.5 + pi/2) */
    int degree;
    tws_real hermite[TWS_MAX_DEGREE + 1], power[TWS_MAX_DEGREE + 1];
    tws_real slope_hermite[TWS_MAX_DEGREE + 1], slope_power[TWS_MAX_DEGREE + 1];
} twsi_curve;

TWSI_FN void twsi_curve_shift(tws_real *pair, double shift) {
    pair[0] = (tws_real)shift;
    pair[1] = (tws_real)(shift - (double)pair[0]);
}

/* The same with few bits in the first number: a multiple of pi is taken off it without rounding. */
TWSI_FN void twsi_curve_phase(tws_real *pair, double shift) {
    pair[0] = (tws_real)(floor(shift * 1024.0) / 1024.0);
    pair[1] = (tws_real)(shift - (double)pair[0]);
}

/* What tws_real cannot hold is left out, or the degree would be that of a coefficient 0. */
TWSI_FN void twsi_curve_hermite(twsi_curve *curve) {
    double c[TWS_MAX_DEGREE + 1];
    double slope[TWS_MAX_DEGREE + 1], power[TWS_MAX_DEGREE + 1], slope_power[TWS_MAX_DEGREE + 1];
    int k;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        c[k] = curve->activation->hermite[k];
        if (fabs(c[k]) < TWSI_REAL_LEAST) c[k] = 0;
    }
    twsi_hermite_slope(c, slope);
    twsi_hermite_powers(c, power);
    twsi_hermite_powers(slope, slope_power);
    curve->degree = twsi_hermite_degree(c);
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        curve->hermite[k] = (tws_real)c[k];
        curve->power[k] = (tws_real)power[k];
        curve->slope_hermite[k] = (tws_real)slope[k];
        curve->slope_power[k] = (tws_real)slope_power[k];
    }
}

TWSI_FN void twsi_curve_open(twsi_curve *curve, const tws_activation *activation) {
    curve->activation = activation;
    /* minus zero, as x + 0 would turn -0 into 0 */
    curve->shift[0] = (tws_real)-0.0;
    curve->shift[1] = (tws_real)-0.0;
    curve->slope_shift[0] = (tws_real)-0.0;
    curve->slope_shift[1] = (tws_real)-0.0;
    curve->degree = 0;
    switch (activation->kind) {
    case TWS_SHIFTED_TANH: twsi_curve_shift(curve->shift, 0.7); break;
    case TWS_SHIFTED_SIGMOID: twsi_curve_shift(curve->shift, 1.0); break;
    case TWS_SINE:
        twsi_curve_phase(curve->shift, 0.5);
        twsi_curve_phase(curve->slope_shift, 0.5 + 0.5 * TWSI_PI);
        break;
    case TWS_HERMITE: twsi_curve_hermite(curve); break;
    default: break;
    }
}
/* ---- matrix product: constants of all kernels ---- */

/* Rows of A and columns of B packed at once: enough that few products are cut, and 13 MiB of
   panels at most (19 where numbers are split). The columns serve every block of rows. Multiples
   of every tile. */
#define TWSI_GEMM_PACKED_ROWS 2304
#define TWSI_GEMM_PACKED_COLUMNS 4128
/* Rows of one task, a multiple of every tile: short (0.3 ms), so that workers finish together. */
#define TWSI_GEMM_TASK_ROWS 288
/* ... and of one part where one side of the diagonal is wanted: of whole tiles, about so many. */
#define TWSI_GEMM_STAIR 24
/* Row tasks that go through all blocks of B together, before those below them begin: few, so that
   the pages of A and C in use stay within reach of the address translation. */
#define TWSI_GEMM_TASK_GROUP 4
/* Rows or columns that one packing task copies: long runs from each source row. */
#define TWSI_GEMM_PACK_GROUP 512
/* Entries of a block of B that is read where it lies: packing pays only beyond the L2 cache. */
#define TWSI_GEMM_IN_PLACE (128 * 1024 / sizeof(tws_real))
/* Terms up to which A is not packed: so much that both operands lie in the second-level cache. */
#define TWSI_GEMM_SMALL (256.0 * 256.0 * 256.0)
/* Operations below which the calling thread works alone: waking the others takes as long. */
#define TWSI_GEMM_ALONE 4e6

/* m n k, and m and n, from which on a product is worth asking for tile registers: that takes 24 us
   on a virtual machine, and tiles of 32 x 32 are then full. */
#define TWSI_GEMM_TILED (320.0 * 320.0 * 320.0)
#define TWSI_GEMM_TILED_SIDE 64

/* Columns of one tile of the products below: two vectors of 8 KiB and four rows of 4 KiB stay in
   the first cache. */
#define TWSI_SVD_TILE 1024
/* Numbers of one slab of rows, which stays in the second cache between M x and M^T (M x). */
#define TWSI_SVD_SLAB 65536
/* ... in the precision of the matrix, beside the slab after it, which is on its way. */
#define TWSI_SVD_HALF_SLAB 32768
/* ... and rows of it at most. */
#define TWSI_SVD_ROWS 64

#define TWSI_PASS_PLAIN 1
#define TWSI_PASS_SSE2 2
#define TWSI_PASS_AVX2 3
#define TWSI_PASS_AVX512 4
#define TWSI_PASS_NEON 5
#define TWSI_PASS_WASM 6

#endif /* TWOSTEP_IMPLEMENTATION, first part */

#ifdef TWSI_PASS
/* ---- the vector of this pass ----
   twsi_v: a vector of TWSI_LANES reals; twsi_vi: as many integers of the same width, signed;
   twsi_vu: the same bits unsigned. Comparisons give all-ones masks. Vectors of 16 bytes are written
   with the compiler's vector types; the only intrinsics are square root and fused multiply-add. */
#ifdef TWOSTEP_DOUBLE
#define TWSI_INT int64_t
#define TWSI_UINT uint64_t
#else
#define TWSI_INT int32_t
#define TWSI_UINT uint32_t
#endif

#if TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_LANE(name) twsi_##name##_plain
#define TWSI_KERNEL_ID TWS_KERNEL_PLAIN
#define TWSI_BYTES sizeof(tws_real)
#define TWSI_TARGET
#elif TWSI_PASS == TWSI_PASS_SSE2
#define TWSI_LANE(name) twsi_##name##_sse2
#define TWSI_KERNEL_ID TWS_KERNEL_SSE2
#define TWSI_BYTES 16
#define TWSI_TARGET
#elif TWSI_PASS == TWSI_PASS_AVX2
#define TWSI_LANE(name) twsi_##name##_avx2
#define TWSI_KERNEL_ID TWS_KERNEL_AVX2
#define TWSI_BYTES 32
#define TWSI_TARGET __attribute__((target("avx2,fma")))
#elif TWSI_PASS == TWSI_PASS_AVX512
#define TWSI_LANE(name) twsi_##name##_avx512
#define TWSI_KERNEL_ID TWS_KERNEL_AVX512
#define TWSI_BYTES 64
#define TWSI_TARGET __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#elif TWSI_PASS == TWSI_PASS_NEON
#define TWSI_LANE(name) twsi_##name##_neon
#define TWSI_KERNEL_ID TWS_KERNEL_NEON
#define TWSI_BYTES 16
#define TWSI_TARGET
#elif TWSI_PASS == TWSI_PASS_WASM
#define TWSI_LANE(name) twsi_##name##_wasm
#define TWSI_KERNEL_ID TWS_KERNEL_WASM
#define TWSI_BYTES 16
#define TWSI_TARGET
#endif
#define TWSI_LANES ((size_t)TWSI_BYTES / sizeof(tws_real))

/* A function of this pass, and one that must melt into its caller. */
#define TWSI_LANE_FN static TWSI_UNUSED TWSI_TARGET
#if TWSI_PASS == TWSI_PASS_PLAIN || !defined(__OPTIMIZE__)
#define TWSI_LANE_INLINE static TWSI_UNUSED TWSI_TARGET
#else
#define TWSI_LANE_INLINE static inline TWSI_UNUSED TWSI_TARGET __attribute__((always_inline))
#endif

#define twsi_v TWSI_LANE(v)
#define twsi_vi TWSI_LANE(vi)
#define twsi_vu TWSI_LANE(vu)

#if TWSI_PASS == TWSI_PASS_PLAIN
typedef tws_real twsi_v;
typedef TWSI_INT twsi_vi;
typedef TWSI_UINT twsi_vu;
TWSI_LANE_INLINE twsi_v TWSI_LANE(load)(const tws_real *p) { return *p; }
TWSI_LANE_INLINE void TWSI_LANE(store)(tws_real *p, twsi_v v) { *p = v; }
TWSI_LANE_INLINE twsi_v TWSI_LANE(set)(tws_real x) { return x; }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(seti)(TWSI_INT x) { return x; }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(bits)(twsi_v v) {
    twsi_vi i;
    memcpy(&i, &v, sizeof i);
    return i;
}
TWSI_LANE_INLINE twsi_v TWSI_LANE(from_bits)(twsi_vi i) {
    twsi_v v;
    memcpy(&v, &i, sizeof v);
    return v;
}
TWSI_LANE_INLINE twsi_v TWSI_LANE(to_real)(twsi_vi i) { return (twsi_v)i; }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(to_int)(twsi_v v) { return (twsi_vi)v; }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(less)(twsi_v a, twsi_v b) { return a < b ? -1 : 0; }
TWSI_LANE_INLINE twsi_v TWSI_LANE(select)(twsi_vi mask, twsi_v yes, twsi_v no) {
    return mask ? yes : no;
}
#ifdef TWOSTEP_DOUBLE
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return sqrt(a); }
#else
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return sqrtf(a); }
#endif
/* Two roundings: fma() in software would be slow where the CPU has none. */
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) { return a * b + c; }
#else
typedef tws_real twsi_v __attribute__((vector_size(TWSI_BYTES)));
typedef TWSI_INT twsi_vi __attribute__((vector_size(TWSI_BYTES)));
typedef TWSI_UINT twsi_vu __attribute__((vector_size(TWSI_BYTES)));
/* the same at any address, and free to alias anything */
typedef tws_real TWSI_LANE(loose)
    __attribute__((vector_size(TWSI_BYTES), aligned(sizeof(tws_real)), may_alias));
TWSI_LANE_INLINE twsi_v TWSI_LANE(load)(const tws_real *p) {
    return *(const TWSI_LANE(loose) *)(const void *)p;
}
TWSI_LANE_INLINE void TWSI_LANE(store)(tws_real *p, twsi_v v) {
    *(TWSI_LANE(loose) *)(void *)p = v;
}
TWSI_LANE_INLINE twsi_v TWSI_LANE(set)(tws_real x) {
#if TWSI_BYTES == 64 && !defined(TWOSTEP_DOUBLE)
    const twsi_v v = {x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#elif TWSI_BYTES == 64 || (TWSI_BYTES == 32 && !defined(TWOSTEP_DOUBLE))
    const twsi_v v = {x, x, x, x, x, x, x, x};
#elif TWSI_BYTES == 32 || !defined(TWOSTEP_DOUBLE)
    const twsi_v v = {x, x, x, x};
#else
    const twsi_v v = {x, x};
#endif
    return v;
}
TWSI_LANE_INLINE twsi_vi TWSI_LANE(seti)(TWSI_INT x) {
    const twsi_vi zero = {0};
    return zero + x;
}
TWSI_LANE_INLINE twsi_vi TWSI_LANE(bits)(twsi_v v) { return (twsi_vi)v; }
TWSI_LANE_INLINE twsi_v TWSI_LANE(from_bits)(twsi_vi i) { return (twsi_v)i; }
TWSI_LANE_INLINE twsi_v TWSI_LANE(to_real)(twsi_vi i) { return __builtin_convertvector(i, twsi_v); }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(to_int)(twsi_v v) { return __builtin_convertvector(v, twsi_vi); }
TWSI_LANE_INLINE twsi_vi TWSI_LANE(less)(twsi_v a, twsi_v b) { return (twsi_vi)(a < b); }
TWSI_LANE_INLINE twsi_v TWSI_LANE(select)(twsi_vi mask, twsi_v yes, twsi_v no) {
    return (twsi_v)((mask & (twsi_vi)yes) | (~mask & (twsi_vi)no));
}
#ifdef TWOSTEP_DOUBLE
#define TWSI_X86_OP(prefix, op) prefix##op##_pd
#else
#define TWSI_X86_OP(prefix, op) prefix##op##_ps
#endif
#if TWSI_PASS == TWSI_PASS_AVX512
/* the masked form, as g++ warns inside its own header about the other */
#ifdef TWOSTEP_DOUBLE
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return _mm512_maskz_sqrt_pd(0xff, a); }
#else
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return _mm512_maskz_sqrt_ps(0xffff, a); }
#endif
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) {
    return TWSI_X86_OP(_mm512_, fmadd)(a, b, c);
}
#elif TWSI_PASS == TWSI_PASS_AVX2
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return TWSI_X86_OP(_mm256_, sqrt)(a); }
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) {
    return TWSI_X86_OP(_mm256_, fmadd)(a, b, c);
}
#elif TWSI_PASS == TWSI_PASS_SSE2
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return TWSI_X86_OP(_mm_, sqrt)(a); }
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) { return a * b + c; }
#elif TWSI_PASS == TWSI_PASS_NEON && defined(TWOSTEP_DOUBLE)
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return (twsi_v)vsqrtq_f64((float64x2_t)a); }
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) {
    return (twsi_v)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
#elif TWSI_PASS == TWSI_PASS_NEON
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return (twsi_v)vsqrtq_f32((float32x4_t)a); }
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) {
    return (twsi_v)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
#elif TWSI_PASS == TWSI_PASS_WASM
#ifdef TWOSTEP_DOUBLE
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return (twsi_v)wasm_f64x2_sqrt((v128_t)a); }
#else
TWSI_LANE_INLINE twsi_v TWSI_LANE(sqrt)(twsi_v a) { return (twsi_v)wasm_f32x4_sqrt((v128_t)a); }
#endif
TWSI_LANE_INLINE twsi_v TWSI_LANE(fma)(twsi_v a, twsi_v b, twsi_v c) { return a * b + c; }
#endif
#undef TWSI_X86_OP
#endif

/* Short names for the operations of this pass. */
#define twsi_load TWSI_LANE(load)
#define twsi_store TWSI_LANE(store)
#define twsi_set TWSI_LANE(set)
#define twsi_seti TWSI_LANE(seti)
#define twsi_bits TWSI_LANE(bits)
#define twsi_from_bits TWSI_LANE(from_bits)
#define twsi_to_real TWSI_LANE(to_real)
#define twsi_to_int TWSI_LANE(to_int)
#define twsi_less TWSI_LANE(less)
#define twsi_select TWSI_LANE(select)
#define twsi_vsqrt TWSI_LANE(sqrt)
#define twsi_fma TWSI_LANE(fma)

/* ---- normals ----
   Box and Muller: from two words per lane, a radius sqrt(-2 ln u) and an angle, hence two normals.
   Only + - x and square root touch real numbers, each rounded once (contraction is off), so every
   kernel and every compiler gives the same bits. The polynomials are those of Moshier's Cephes. */

#ifndef TWOSTEP_DOUBLE

/* A step inside an expression, rounded to its type: where FLT_EVAL_METHOD is 1 (s390x under
   -std=c99) only casts and assignments round. */
#define TWSI_ROUND(step) ((twsi_v)(step))

/* -2 ln((t + 1/2) / 2^31) for 0 <= t < 2^31, accurate in relative terms at both ends: near t = 2^31
   the distance to 1 is taken from the integer, where the real number has lost it. */
TWSI_LANE_INLINE twsi_v TWSI_LANE(radius2)(twsi_vi t) {
    const twsi_v half = twsi_set(0.5f);
    const twsi_v x = twsi_to_real(t) + half;
    const twsi_v rest = twsi_to_real(twsi_seti(0x7fffffff) - t) + half;
    const twsi_vi bits = twsi_bits(x) - twsi_seti(0x3f3504f3); /* sqrt(1/2) */
    const twsi_vi exponent = bits >> 23;
    const twsi_vi mantissa = (bits & twsi_seti(0x7fffff)) + twsi_seti(0x3f3504f3);
    const twsi_vi near_one = twsi_less(rest, twsi_set(536870912.0f)); /* u > 3/4 */
    const twsi_v f = twsi_select(near_one, TWSI_ROUND(rest * twsi_set(-4.656612873077393e-10f)),
                                 TWSI_ROUND(twsi_from_bits(mantissa) - twsi_set(1.0f)));
    const twsi_v k = twsi_select(near_one, twsi_set(0.0f),
                                 twsi_to_real(exponent - twsi_seti(31)));
    const twsi_v f2 = f * f;
    twsi_v p = twsi_set(7.0376836292e-2f);
    p = TWSI_ROUND(p * f) + twsi_set(-1.1514610310e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(1.1676998740e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(-1.2420140846e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(1.4249322787e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(-1.6668057665e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(2.0000714765e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(-2.4999993993e-1f);
    p = TWSI_ROUND(p * f) + twsi_set(3.3333331174e-1f);
    p = TWSI_ROUND(TWSI_ROUND(p * f) * f2) + TWSI_ROUND(k * twsi_set(-2.12194440e-4f));
    p = TWSI_ROUND(p - TWSI_ROUND(half * f2)) + f;
    p = p + TWSI_ROUND(k * twsi_set(0.693359375f));
    return TWSI_ROUND(twsi_set(-2.0f) * p);
}

/* One vector of words a, b to two vectors of normals. Three bits of b choose the octant, the other
   29 the angle inside it. */
TWSI_LANE_INLINE void TWSI_LANE(box_muller)(twsi_vu a, twsi_vu b, tws_real *first,
                                            tws_real *second) {
    const twsi_v radius = twsi_vsqrt(TWSI_LANE(radius2)((twsi_vi)(a >> 1)));
    /* cppcheck-suppress shiftTooManyBitsSigned ; every compiler we know extends the sign */
    const twsi_vi swap = ((twsi_vi)(b << 2)) >> 31;
    const twsi_vu sign = (twsi_vu)twsi_seti(INT32_MIN);
    const twsi_v place =
        twsi_to_real((twsi_vi)(b & (twsi_vu)twsi_seti(0x1fffffff))) + twsi_set(0.5f);
    const twsi_v angle = place * twsi_set(1.4629180792671596e-9f); /* pi / 4 / 2^29 */
    const twsi_v z = angle * angle;
    twsi_v s = twsi_set(-1.9515295891e-4f), c = twsi_set(2.443315711809948e-5f), t;
    s = TWSI_ROUND(s * z) + twsi_set(8.3321608736e-3f);
    s = TWSI_ROUND(s * z) + twsi_set(-1.6666654611e-1f);
    s = TWSI_ROUND(TWSI_ROUND(s * z) * angle) + angle;
    c = TWSI_ROUND(c * z) + twsi_set(-1.388731625493765e-3f);
    c = TWSI_ROUND(c * z) + twsi_set(4.166664568298827e-2f);
    c = TWSI_ROUND(TWSI_ROUND(c * z) * z) - TWSI_ROUND(twsi_set(0.5f) * z);
    c = c + twsi_set(1.0f);
    t = twsi_select(swap, s, c);
    s = twsi_select(swap, c, s);
    c = twsi_from_bits(twsi_bits(t) ^ (twsi_vi)(b & sign));
    s = twsi_from_bits(twsi_bits(s) ^ (twsi_vi)((b << 1) & sign));
    twsi_store(first, radius * c);
    twsi_store(second, radius * s);
}

#define TWSI_ROTATE(x, bits) (((x) << (bits)) | ((x) >> (32 - (bits))))
#define TWSI_XOSHIRO(word)                                                                    \
    do {                                                                                      \
        const twsi_vu sum = s0 + s3, shifted = s1 << 9;                                       \
        word = TWSI_ROTATE(sum, 7) + s0;                                                      \
        s2 ^= s0;                                                                             \
        s3 ^= s1;                                                                             \
        s1 ^= s2;                                                                             \
        s0 ^= s3;                                                                             \
        s2 ^= shifted;                                                                        \
        s3 = TWSI_ROTATE(s3, 11);                                                             \
    } while (0)

/* blocks x 32 normals; each group of lanes keeps its state in registers from first to last. */
TWSI_LANE_FN void TWSI_LANE(normals)(uint32_t (*state)[TWS_RANDOM_LANES], tws_real *out,
                                     size_t blocks) {
    size_t lane, block;
    for (lane = 0; lane < TWS_RANDOM_LANES; lane += TWSI_LANES) {
        twsi_vu s0, s1, s2, s3, a, b;
        memcpy(&s0, &state[0][lane], sizeof s0);
        memcpy(&s1, &state[1][lane], sizeof s1);
        memcpy(&s2, &state[2][lane], sizeof s2);
        memcpy(&s3, &state[3][lane], sizeof s3);
        for (block = 0; block < blocks; block++) {
            tws_real *pair = out + block * TWSI_NORMAL_BLOCK + lane;
            TWSI_XOSHIRO(a);
            TWSI_XOSHIRO(b);
            TWSI_LANE(box_muller)(a, b, pair, pair + TWS_RANDOM_LANES);
        }
        memcpy(&state[0][lane], &s0, sizeof s0);
        memcpy(&state[1][lane], &s1, sizeof s1);
        memcpy(&state[2][lane], &s2, sizeof s2);
        memcpy(&state[3][lane], &s3, sizeof s3);
    }
}
#undef TWSI_ROUND
#undef TWSI_ROTATE
#undef TWSI_XOSHIRO

#else /* double: two words make one of 64 bits */

/* (t + 1/2) / 2^52 for the top 52 bits t of w, by writing t into the mantissa of a number from 1
   to 2. */
TWSI_LANE_INLINE twsi_v TWSI_LANE(fraction)(twsi_vu w) {
    const twsi_vi one = twsi_bits(twsi_set(1.0));
    return twsi_from_bits((twsi_vi)(w >> 12) | one) - twsi_set(1.0) +
           twsi_set(1.1102230246251565e-16);
}

/* -2 ln u with u = (t + 1/2) / 2^52, t the top 52 bits of w; see the float version. */
TWSI_LANE_INLINE twsi_v TWSI_LANE(radius2)(twsi_vu w) {
    const twsi_v u = TWSI_LANE(fraction)(w), rest = TWSI_LANE(fraction)(~w);
    const twsi_vi root = twsi_seti(0x3fe6a09e667f3bcdLL); /* sqrt(1/2) */
    const twsi_vi bits = twsi_bits(u) - root;
    const twsi_vi exponent = bits >> 52;
    const twsi_vi mantissa = (bits & twsi_seti(0xfffffffffffffLL)) + root;
    const twsi_vi near_one = twsi_less(rest, twsi_set(0.25));
    const twsi_v f = twsi_select(near_one, twsi_set(-1.0) * rest,
                                 twsi_from_bits(mantissa) - twsi_set(1.0));
    /* the exponent is at most 64 in size: add it to 3 * 2^51 to turn it into a real number */
    const twsi_v magic = twsi_set(6755399441055744.0);
    const twsi_v k = twsi_select(near_one, twsi_set(0.0),
                                 twsi_from_bits(twsi_bits(magic) + exponent) - magic);
    /* ln(1 + f) = 2 artanh(g), g = f / (2 + f), |g| <= 0.172: the series to g^21 */
    const twsi_v g = f / (twsi_set(2.0) + f), z = g * g;
    twsi_v p = twsi_set(1.0 / 21.0);
    p = p * z + twsi_set(1.0 / 19.0);
    p = p * z + twsi_set(1.0 / 17.0);
    p = p * z + twsi_set(1.0 / 15.0);
    p = p * z + twsi_set(1.0 / 13.0);
    p = p * z + twsi_set(1.0 / 11.0);
    p = p * z + twsi_set(1.0 / 9.0);
    p = p * z + twsi_set(1.0 / 7.0);
    p = p * z + twsi_set(1.0 / 5.0);
    p = p * z + twsi_set(1.0 / 3.0);
    p = p * z * g + g;
    return twsi_set(-2.0) * (twsi_set(2.0) * p + k * twsi_set(0.693147180559945309417));
}

TWSI_LANE_INLINE void TWSI_LANE(box_muller)(twsi_vu a, twsi_vu b, tws_real *first,
                                            tws_real *second) {
    const twsi_v radius = twsi_vsqrt(TWSI_LANE(radius2)(a));
    /* cppcheck-suppress shiftTooManyBitsSigned ; every compiler we know extends the sign */
    const twsi_vi swap = ((twsi_vi)(b << 2)) >> 63;
    const twsi_vu sign = (twsi_vu)twsi_seti(INT64_MIN);
    const twsi_v angle = TWSI_LANE(fraction)(b << 3) * twsi_set(0.785398163397448309616);
    const twsi_v z = angle * angle;
    twsi_v s = twsi_set(2.8114572543455206e-15), c = twsi_set(4.7794773323873853e-14), t;
    s = s * z + twsi_set(-7.6471637318198165e-13);
    s = s * z + twsi_set(1.6059043836821613e-10);
    s = s * z + twsi_set(-2.5052108385441719e-8);
    s = s * z + twsi_set(2.7557319223985893e-6);
    s = s * z + twsi_set(-1.9841269841269841e-4);
    s = s * z + twsi_set(8.3333333333333333e-3);
    s = s * z + twsi_set(-1.6666666666666667e-1);
    s = s * z * angle + angle;
    c = c * z + twsi_set(-1.1470745597729725e-11);
    c = c * z + twsi_set(2.0876756987868099e-9);
    c = c * z + twsi_set(-2.7557319223985891e-7);
    c = c * z + twsi_set(2.4801587301587302e-5);
    c = c * z + twsi_set(-1.3888888888888889e-3);
    c = c * z + twsi_set(4.1666666666666667e-2);
    c = c * z * z - twsi_set(0.5) * z + twsi_set(1.0);
    t = twsi_select(swap, s, c);
    s = twsi_select(swap, c, s);
    c = twsi_from_bits(twsi_bits(t) ^ (twsi_vi)(b & sign));
    s = twsi_from_bits(twsi_bits(s) ^ (twsi_vi)((b << 1) & sign));
    twsi_store(first, radius * c);
    twsi_store(second, radius * s);
}

TWSI_LANE_FN void TWSI_LANE(normals)(uint32_t (*state)[TWS_RANDOM_LANES], tws_real *out,
                                     size_t blocks) {
    uint32_t words[4][TWS_RANDOM_LANES];
    uint64_t a[TWS_RANDOM_LANES], b[TWS_RANDOM_LANES];
    size_t lane, block;
    for (block = 0; block < blocks; block++) {
        tws_real *pair = out + block * TWSI_NORMAL_BLOCK;
        for (lane = 0; lane < 4; lane++) twsi_random_step(state, words[lane]);
        for (lane = 0; lane < TWS_RANDOM_LANES; lane++) {
            a[lane] = ((uint64_t)words[0][lane] << 32) | words[1][lane];
            b[lane] = ((uint64_t)words[2][lane] << 32) | words[3][lane];
        }
        for (lane = 0; lane < TWS_RANDOM_LANES; lane += TWSI_LANES) {
            twsi_vu va, vb;
            memcpy(&va, &a[lane], sizeof va);
            memcpy(&vb, &b[lane], sizeof vb);
            TWSI_LANE(box_muller)(va, vb, pair + lane, pair + TWS_RANDOM_LANES + lane);
        }
    }
}
#endif

/* ---- activations over arrays ----
   A body takes one vector x and gives sigma and sigma'; the loop that wants one of them drops the
   other's work. What divides the two is only the last few operations. NaN in gives NaN out. */

/* What melts into its caller; without optimisation that would leave frames of many kilobytes. */
#if defined(__OPTIMIZE__) && defined(__GNUC__) && TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_MELT static inline TWSI_UNUSED __attribute__((always_inline))
#elif defined(__OPTIMIZE__) && defined(__GNUC__)
#define TWSI_MELT TWSI_LANE_INLINE
#else
#define TWSI_MELT TWSI_LANE_FN
#endif
#define TWSI_C(c) twsi_set((tws_real)(c))
#define TWSI_FIRST(c) p = TWSI_C(c);
#define TWSI_NEXT(c) p = TWSI_LANE(horner)(p, t, (tws_real)(c));

/* One step of a polynomial: p t + c */
TWSI_MELT twsi_v TWSI_LANE(horner)(twsi_v p, twsi_v t, tws_real c) {
    return twsi_fma(p, t, twsi_set(c));
}

TWSI_MELT twsi_v TWSI_LANE(magnitude)(twsi_v x) {
    return twsi_from_bits(twsi_bits(x) & twsi_seti(TWSI_INT_ABS));
}

/* y with the sign of x, for y >= 0 */
TWSI_MELT twsi_v TWSI_LANE(signed)(twsi_v y, twsi_v x) {
    return twsi_from_bits(twsi_bits(y) | (twsi_bits(x) & twsi_seti(TWSI_INT_SIGN)));
}

/* y, or 0 where the mask is set */
TWSI_MELT twsi_v TWSI_LANE(unless)(twsi_vi mask, twsi_v y) {
    return twsi_from_bits(twsi_bits(y) & ~mask);
}

/* y rounded to an integer, also as the integer *k; |y| < 2^20. NaN gives anything. */
#if TWSI_PASS == TWSI_PASS_PLAIN
TWSI_MELT twsi_v TWSI_LANE(nearest)(twsi_v y, twsi_vi *k) {
    const tws_real half = (tws_real)0.5;
    *k = y == y ? (twsi_vi)(y < 0 ? y - half : y + half) : 0;
    return (twsi_v)*k;
}
#else
TWSI_MELT twsi_v TWSI_LANE(nearest)(twsi_v y, twsi_vi *k) {
    const twsi_v rounder = TWSI_C(TWSI_ROUNDER), sum = y + rounder;
    *k = twsi_bits(sum) - twsi_bits(rounder);
    return sum - rounder;
}
#endif

/* 2^k for a normal number */
TWSI_MELT twsi_v TWSI_LANE(power2)(twsi_vi k) {
    return twsi_from_bits((twsi_vi)((twsi_vu)(k + twsi_seti(TWSI_BIAS)) << TWSI_MANTISSA));
}

/* exp(r) - 1 for |r| <= ln 2 / 2 */
TWSI_MELT twsi_v TWSI_LANE(small_expm1)(twsi_v t) {
    twsi_v p;
    TWSI_EXP_POLY(TWSI_FIRST, TWSI_NEXT)
    return twsi_fma(t * t, p, t);
}

/* exp(t) = scale (1 + rest) for t <= 0; scale is 0 where the result would be no normal number */
TWSI_MELT void TWSI_LANE(exp_parts)(twsi_v t, twsi_v *scale, twsi_v *rest) {
    const twsi_v low = TWSI_C(TWSI_EXP_LOW);
    const twsi_vi below = twsi_less(t, low);
    twsi_vi k;
    twsi_v n, r;
    t = twsi_select(below, low, t);
    n = TWSI_LANE(nearest)(t * TWSI_C(TWSI_LOG2_E), &k);
    r = twsi_fma(n, TWSI_C(-TWSI_LN2_HIGH), t);
    r = twsi_fma(n, TWSI_C(-TWSI_LN2_LOW), r);
    *rest = TWSI_LANE(small_expm1)(r);
    *scale = TWSI_LANE(unless)(below, TWSI_LANE(power2)(k));
}

/* exp(t) for t <= 0 */
TWSI_MELT twsi_v TWSI_LANE(exp)(twsi_v t) {
    twsi_v scale, rest;
    TWSI_LANE(exp_parts)(t, &scale, &rest);
    return twsi_fma(scale, rest, scale);
}

/* exp(-factor a^2) for 0 <= a <= low with factor 1 or 1/2. The square is split into an exact part
   and a small rest: rounding it would cost a^2 units in the last place of the result. */
TWSI_MELT twsi_v TWSI_LANE(gauss)(twsi_v a, twsi_v factor) {
    const twsi_v high = twsi_from_bits(twsi_bits(a) & twsi_seti(TWSI_HALF_BITS));
    const twsi_v rest = (a - high) * (a + high) * factor;
    twsi_vi k;
    twsi_v scale, r;
    const twsi_v n = TWSI_LANE(nearest)(a * a * factor * TWSI_C(-TWSI_LOG2_E), &k);
    r = twsi_fma(n, TWSI_C(-TWSI_LN2_HIGH), -(high * high * factor));
    r = twsi_fma(n, TWSI_C(-TWSI_LN2_LOW), r) - rest;
    scale = TWSI_LANE(power2)(k);
    return twsi_fma(scale, TWSI_LANE(small_expm1)(r), scale);
}

/* log(1 + e) for 0 <= e <= 1 */
TWSI_MELT twsi_v TWSI_LANE(log1p)(twsi_v e) {
    const twsi_v s = e / (TWSI_C(2.0) + e), t = s * s;
    twsi_v p;
    TWSI_LOG_POLY(TWSI_FIRST, TWSI_NEXT)
    return twsi_fma(s * t, p, s + s);
}

/* sin(x + shift[0] + shift[1]) for |x| <= TWSI_SINE_BOUND */
TWSI_MELT twsi_v TWSI_LANE(sin)(twsi_v x, const tws_real *shift) {
    const twsi_v high = twsi_set(shift[0]), low = twsi_set(shift[1]);
    twsi_vi k;
    const twsi_v n = TWSI_LANE(nearest)((x + high) * TWSI_C(TWSI_INVERSE_PI), &k);
    twsi_v r, t, p;
    /* no rounding before the last sum where r ends close to 0, so that zeros keep their accuracy */
    r = x + twsi_fma(n, TWSI_C(-TWSI_PI_1), high);
    r = twsi_fma(n, TWSI_C(-TWSI_PI_2), r) + twsi_fma(n, TWSI_C(-TWSI_PI_3), low);
    t = r * r;
    TWSI_SIN_POLY(TWSI_FIRST, TWSI_NEXT)
    r = twsi_fma(r * t, p, r);
    return twsi_from_bits(twsi_bits(r) ^ (twsi_vi)((twsi_vu)k << (TWSI_SIGN_PLACE)));
}

/* exp(a^2) erfc(a) from b = a / 3 >= 0 */
TWSI_MELT twsi_v TWSI_LANE(erfc_scaled)(twsi_v b) {
    /* u = 1 - t is small where b is: taken first, as the rounding of 1 + b would spoil t */
    const twsi_v one = TWSI_C(1.0), u = b / (one + b), t = twsi_fma(TWSI_C(-2.0), u, one);
    twsi_v p;
    TWSI_ERFC_POLY(TWSI_FIRST, TWSI_NEXT)
    return (one - u) * p;
}

TWSI_MELT twsi_v TWSI_LANE(shifted)(const twsi_curve *curve, twsi_v x) {
    return (x + twsi_set(curve->shift[0])) + twsi_set(curve->shift[1]);
}

/* tanh = (1 - e) / (1 + e), e = exp(-2|x|); 1 - e is built without subtracting from 1 */
TWSI_MELT void TWSI_LANE(tanh_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                           twsi_v *slope) {
    const twsi_v one = TWSI_C(1.0), z = TWSI_LANE(shifted)(curve, x);
    twsi_v scale, rest, less_one, e, q;
    TWSI_LANE(exp_parts)(TWSI_C(-2.0) * TWSI_LANE(magnitude)(z), &scale, &rest);
    less_one = twsi_fma(scale, rest, scale - one);
    e = twsi_fma(scale, rest, scale);
    q = one / (TWSI_C(2.0) + less_one);
    *value = TWSI_LANE(signed)(TWSI_LANE(magnitude)(less_one * q), z);
    *slope = TWSI_C(4.0) * e * q * q;
}

TWSI_MELT void TWSI_LANE(sigmoid_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                              twsi_v *slope) {
    const twsi_v one = TWSI_C(1.0), z = TWSI_LANE(shifted)(curve, x);
    const twsi_v e = TWSI_LANE(exp)(-TWSI_LANE(magnitude)(z)), q = one / (one + e);
    *value = twsi_select(twsi_less(z, TWSI_C(0.0)), e, one) * q;
    *slope = e * q * q;
}

TWSI_MELT void TWSI_LANE(softplus_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                               twsi_v *slope) {
    const twsi_v one = TWSI_C(1.0), e = TWSI_LANE(exp)(-TWSI_LANE(magnitude)(x));
    const twsi_vi negative = twsi_less(x, TWSI_C(0.0));
    (void)curve;
    *value = TWSI_LANE(unless)(negative, x) + TWSI_LANE(log1p)(e);
    *slope = twsi_select(negative, e, one) / (one + e);
}

TWSI_MELT void TWSI_LANE(silu_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                           twsi_v *slope) {
    const twsi_v one = TWSI_C(1.0), low = TWSI_C(TWSI_EXP_LOW), a = TWSI_LANE(magnitude)(x);
    const twsi_v e = TWSI_LANE(exp)(-a), q = one / (one + e);
    const twsi_vi negative = twsi_less(x, TWSI_C(0.0));
    const twsi_v logistic = twsi_select(negative, e, one) * q;
    /* e is 0 beyond the bound, and 0 * infinity would be NaN */
    const twsi_v bounded = TWSI_LANE(signed)(twsi_select(twsi_less(-low, a), -low, a), x);
    (void)curve;
    *value = twsi_select(negative, bounded, x) * logistic;
    *slope = twsi_fma(bounded, e * q * q, logistic);
}

/* x Phi(x), with Phi(-|x|) = exp(-x^2/2) erfcx(|x| / sqrt 2) / 2 */
TWSI_MELT void TWSI_LANE(gelu_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                           twsi_v *slope) {
    const twsi_v bound = TWSI_C(TWSI_GELU_LOW), half = TWSI_C(0.5), a = TWSI_LANE(magnitude)(x);
    const twsi_vi beyond = twsi_less(bound, a), negative = twsi_less(x, TWSI_C(0.0));
    const twsi_v inside = twsi_select(beyond, bound, a), bounded = TWSI_LANE(signed)(inside, x);
    const twsi_v e = TWSI_LANE(unless)(beyond, TWSI_LANE(gauss)(inside, half));
    const twsi_v tail = half * e * TWSI_LANE(erfc_scaled)(inside * TWSI_C(TWSI_ROOT_HALF / 3.0));
    const twsi_v below = twsi_select(negative, tail, TWSI_C(1.0) - tail);
    (void)curve;
    *value = twsi_select(negative, bounded, x) * below;
    *slope = twsi_fma(bounded, e * TWSI_C(TWSI_NORMAL_PEAK), below);
}

TWSI_MELT void TWSI_LANE(erf_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                          twsi_v *slope) {
    const twsi_v one = TWSI_C(1.0), bound = TWSI_C(TWSI_ERF_LOW), a = TWSI_LANE(magnitude)(x);
    const twsi_vi beyond = twsi_less(bound, a);
    const twsi_v inside = twsi_select(beyond, bound, a), t = inside * inside;
    const twsi_v e = TWSI_LANE(unless)(beyond, TWSI_LANE(gauss)(inside, one));
    twsi_v p, distant;
    (void)curve;
    TWSI_ERF_POLY(TWSI_FIRST, TWSI_NEXT)
    distant = one - e * TWSI_LANE(erfc_scaled)(inside * TWSI_C(1.0 / 3.0));
    *value = TWSI_LANE(signed)(twsi_select(twsi_less(a, one), a * p, distant), x);
    *slope = e * TWSI_C(TWSI_TWO_OVER_ROOT_PI);
}

TWSI_MELT void TWSI_LANE(relu_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                           twsi_v *slope) {
    const twsi_v zero = TWSI_C(0.0), one = TWSI_C(1.0);
    (void)curve;
    *value = TWSI_LANE(unless)(twsi_less(x, zero), x);
    /* neither comparison holds for NaN, which passes through */
    *slope = twsi_select(twsi_less(zero, x), one, TWSI_LANE(unless)(twsi_less(x, one), x));
}

TWSI_MELT void TWSI_LANE(sine_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                           twsi_v *slope) {
    /* what lies beyond is done again by libm; here they must only be harmless */
    const twsi_vi distant = twsi_less(TWSI_C(TWSI_SINE_BOUND), TWSI_LANE(magnitude)(x));
    const twsi_v inside = TWSI_LANE(unless)(distant, x);
    *value = TWSI_LANE(sin)(inside, curve->shift);
    *slope = TWSI_LANE(sin)(inside, curve->slope_shift);
}

/* He1 + He2 / 2 + He3 / 6 = -1/2 + x/2 + x^2/2 + x^3/6, with slope (x + 1)^2 / 2 */
TWSI_MELT void TWSI_LANE(cubic_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                            twsi_v *slope) {
    const twsi_v half = TWSI_C(0.5), z = x + TWSI_C(1.0);
    twsi_v p = twsi_fma(x, TWSI_C(1.0 / 6.0), half);
    (void)curve;
    p = twsi_fma(x, p, half);
    *value = twsi_fma(x, p, -half);
    *slope = half * z * z;
}

/* As twsi_hermite_value: Clenshaw's recurrence close to 0, powers of x beyond. */
TWSI_MELT twsi_v TWSI_LANE(hermite)(const tws_real *c, const tws_real *power, int degree,
                                           twsi_v x) {
    twsi_v now = TWSI_C(0.0), last = now, sum = twsi_set(power[degree]);
    int k;
    for (k = degree; k >= 0; k--) {
        const twsi_v next = twsi_fma(x, now, twsi_fma(TWSI_C(-(k + 1)), last, twsi_set(c[k])));
        last = now;
        now = next;
    }
    for (k = degree - 1; k >= 0; k--) sum = twsi_fma(sum, x, twsi_set(power[k]));
    return twsi_select(twsi_less(TWSI_C(TWSI_HERMITE_BOUND), TWSI_LANE(magnitude)(x)), sum, now);
}

TWSI_MELT void TWSI_LANE(hermite_body)(const twsi_curve *curve, twsi_v x, twsi_v *value,
                                              twsi_v *slope) {
    *value = TWSI_LANE(hermite)(curve->hermite, curve->power, curve->degree, x);
    *slope = TWSI_LANE(hermite)(curve->slope_hermite, curve->slope_power,
                                curve->degree > 0 ? curve->degree - 1 : 0, x);
}

/* The loop of one body over whole vectors. Either array of results may be x: a vector is read
   before any of its results is written. */
#define TWSI_ACTIVATION_LOOP(name)                                                          \
    TWSI_LANE_FN void TWSI_LANE(name##_loop)(const twsi_curve *curve, const tws_real *x,    \
                                             tws_real *value, tws_real *slope, size_t count) { \
        size_t i;                                                                           \
        twsi_v v, s;                                                                        \
        if (value != NULL && slope != NULL) {                                               \
            for (i = 0; i < count; i += TWSI_LANES) {                                       \
                TWSI_LANE(name##_body)(curve, twsi_load(x + i), &v, &s);                    \
                twsi_store(value + i, v);                                                   \
                twsi_store(slope + i, s);                                                   \
            }                                                                               \
        } else if (value != NULL) {                                                         \
            for (i = 0; i < count; i += TWSI_LANES) {                                       \
                TWSI_LANE(name##_body)(curve, twsi_load(x + i), &v, &s);                    \
                twsi_store(value + i, v);                                                   \
            }                                                                               \
        } else if (slope != NULL) {                                                         \
            for (i = 0; i < count; i += TWSI_LANES) {                                       \
                TWSI_LANE(name##_body)(curve, twsi_load(x + i), &v, &s);                    \
                twsi_store(slope + i, s);                                                   \
            }                                                                               \
        }                                                                                   \
    }
TWSI_ACTIVATION_LOOP(tanh)
TWSI_ACTIVATION_LOOP(sigmoid)
TWSI_ACTIVATION_LOOP(softplus)
TWSI_ACTIVATION_LOOP(silu)
TWSI_ACTIVATION_LOOP(gelu)
TWSI_ACTIVATION_LOOP(erf)
TWSI_ACTIVATION_LOOP(relu)
TWSI_ACTIVATION_LOOP(sine)
TWSI_ACTIVATION_LOOP(cubic)
TWSI_ACTIVATION_LOOP(hermite)
#undef TWSI_ACTIVATION_LOOP

/* Whole vectors of any activation that has a loop. */
TWSI_LANE_FN void TWSI_LANE(activate_whole)(const twsi_curve *curve, const tws_real *x,
                                            tws_real *value, tws_real *slope, size_t count) {
    switch (curve->activation->kind) {
    case TWS_TANH:
    case TWS_SHIFTED_TANH: TWSI_LANE(tanh_loop)(curve, x, value, slope, count); break;
    case TWS_ERF: TWSI_LANE(erf_loop)(curve, x, value, slope, count); break;
    case TWS_SIGMOID:
    case TWS_SHIFTED_SIGMOID: TWSI_LANE(sigmoid_loop)(curve, x, value, slope, count); break;
    case TWS_SOFTPLUS: TWSI_LANE(softplus_loop)(curve, x, value, slope, count); break;
    case TWS_GELU: TWSI_LANE(gelu_loop)(curve, x, value, slope, count); break;
    case TWS_SILU: TWSI_LANE(silu_loop)(curve, x, value, slope, count); break;
    case TWS_RELU: TWSI_LANE(relu_loop)(curve, x, value, slope, count); break;
    case TWS_SINE: TWSI_LANE(sine_loop)(curve, x, value, slope, count); break;
    case TWS_CUBIC: TWSI_LANE(cubic_loop)(curve, x, value, slope, count); break;
    case TWS_HERMITE: TWSI_LANE(hermite_loop)(curve, x, value, slope, count); break;
    default: break;
    }
}

/* Any count: the rest of the last vector goes through the same loop in a copy, so that an element's
   result depends on neither its place nor the count. */
TWSI_LANE_FN void TWSI_LANE(activate_near)(const twsi_curve *curve, const tws_real *x,
                                           tws_real *value, tws_real *slope, size_t count) {
    const size_t rest = count % TWSI_LANES, whole = count - rest;
    TWSI_LANE(activate_whole)(curve, x, value, slope, whole);
    if (rest > 0) {
        tws_real in[TWSI_LANES] = {0}, v[TWSI_LANES], s[TWSI_LANES];
        memcpy(in, x + whole, rest * sizeof *in);
        TWSI_LANE(activate_whole)(curve, in, value != NULL ? v : NULL, slope != NULL ? s : NULL,
                                  TWSI_LANES);
        if (value != NULL) memcpy(value + whole, v, rest * sizeof *v);
        if (slope != NULL) memcpy(slope + whole, s, rest * sizeof *s);
    }
}

/* One call of the scalar functions per element. */
TWSI_LANE_FN void TWSI_LANE(activate_scalar)(const tws_activation *activation, const tws_real *x,
                                             tws_real *value, tws_real *slope, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        const double z = (double)x[i];
        if (value != NULL) value[i] = (tws_real)tws_activation_value(activation, z);
        if (slope != NULL) slope[i] = (tws_real)tws_activation_slope(activation, z);
    }
}

/* 1 if some |x[i]| is above the reach of the sine's own reduction. */
TWSI_LANE_FN int TWSI_LANE(any_far)(const tws_real *x, size_t count) {
    const twsi_v bound = TWSI_C(TWSI_SINE_BOUND);
    twsi_vi distant = twsi_seti(0);
    tws_real flags[TWSI_LANES];
    size_t i = 0;
    int any = 0;
    for (; i + TWSI_LANES <= count; i += TWSI_LANES)
        distant |= twsi_less(bound, TWSI_LANE(magnitude)(twsi_load(x + i)));
    twsi_store(flags, twsi_select(distant, TWSI_C(1.0), TWSI_C(0.0)));
    for (; i < count; i++) any |= fabs((double)x[i]) > TWSI_SINE_BOUND;
    for (i = 0; i < TWSI_LANES; i++) any |= flags[i] != 0;
    return any;
}

/* The sine in chunks; a chunk with elements beyond the bound keeps a copy of x, which results may
   overwrite, and has those elements done again by libm. */
TWSI_LANE_FN void TWSI_LANE(activate_sine)(const twsi_curve *curve, const tws_real *x,
                                           tws_real *value, tws_real *slope, size_t count) {
    size_t i, j;
    for (i = 0; i < count; i += TWSI_ACTIVATE_CHUNK) {
        const size_t part = twsi_min(TWSI_ACTIVATE_CHUNK, count - i);
        tws_real *v = value != NULL ? value + i : NULL, *s = slope != NULL ? slope + i : NULL;
        tws_real copy[TWSI_ACTIVATE_CHUNK];
        const int distant = TWSI_LANE(any_far)(x + i, part);
        if (distant) memcpy(copy, x + i, part * sizeof *copy);
        TWSI_LANE(activate_near)(curve, x + i, v, s, part);
        for (j = 0; distant && j < part; j++)
            if (fabs((double)copy[j]) > TWSI_SINE_BOUND)
                TWSI_LANE(activate_scalar)(curve->activation, copy + j, v != NULL ? v + j : NULL,
                                           s != NULL ? s + j : NULL, 1);
    }
}

TWSI_LANE_FN void TWSI_LANE(activate)(const tws_activation *activation, const tws_real *x,
                                      tws_real *value, tws_real *slope, size_t count) {
    twsi_curve curve;
    if (activation->kind == TWS_CUSTOM_ACTIVATION) {
        TWSI_LANE(activate_scalar)(activation, x, value, slope, count);
        return;
    }
    twsi_curve_open(&curve, activation);
    if (activation->kind == TWS_SINE)
        TWSI_LANE(activate_sine)(&curve, x, value, slope, count);
    else
        TWSI_LANE(activate_near)(&curve, x, value, slope, count);
}

#undef TWSI_FIRST
#undef TWSI_NEXT
#undef TWSI_C
#undef TWSI_MELT
/* ==========================================================================
 * @@PASS-GEMM: packing and the register tile of the matrix product
 * ========================================================================== */

/* ROWS x VECTORS vectors of C stay in registers, beside VECTORS of B and one broadcast entry of A.
   A panel of A, ROWS x DEPTH entries, stays in the first-level cache while BLOCK_COLUMNS x DEPTH
   entries of B, which stay in the second-level cache, go by. */
#if TWSI_PASS == TWSI_PASS_AVX512
#define TWSI_GEMM_ROWS 8                              /* 24 + 3 + 1 of 32 registers */
#define TWSI_GEMM_VECTORS 3                           /* 11 loads for 24 products */
#define TWSI_GEMM_DEPTH (2048 / sizeof(tws_real))     /* panel of A 16 KiB: third of a 48 KiB L1 */
#define TWSI_GEMM_BLOCK_COLUMNS (4 * 48)              /* 384 KiB: pages collide in a 1 MiB L2 */
#elif TWSI_PASS == TWSI_PASS_AVX2
#define TWSI_GEMM_ROWS 6                              /* 12 + 2 + 1 of 16 registers */
#define TWSI_GEMM_VECTORS 2
#define TWSI_GEMM_DEPTH (2048 / sizeof(tws_real))     /* panel of A 12 KiB: half of a 32 KiB L1 */
#define TWSI_GEMM_BLOCK_COLUMNS (6 * 16)              /* 192 KiB: most of a 256 KiB L2 */
#elif TWSI_PASS == TWSI_PASS_NEON
#define TWSI_GEMM_ROWS 12                             /* 24 + 2 + 1 of 32 registers */
#define TWSI_GEMM_VECTORS 2
#define TWSI_GEMM_DEPTH (1536 / sizeof(tws_real))     /* panel of A 18 KiB: half of a 32 KiB L1 */
#define TWSI_GEMM_BLOCK_COLUMNS (24 * 8)              /* 288 KiB: half of a 512 KiB L2 */
#elif TWSI_PASS == TWSI_PASS_WASM
#define TWSI_GEMM_ROWS 4                              /* 8 + 2 + 2 of 15: engines keep one back */
#define TWSI_GEMM_VECTORS 2
#define TWSI_GEMM_DEPTH (2048 / sizeof(tws_real))     /* panel of A 8 KiB: quarter of a 32 KiB L1 */
#define TWSI_GEMM_BLOCK_COLUMNS (12 * 8)              /* 192 KiB: most of a 256 KiB L2 */
#elif TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_GEMM_ROWS 4                              /* 16 sums: what a compiler may keep */
#define TWSI_GEMM_DEPTH (1024 / sizeof(tws_real))     /* panels of 4 KiB: first-level cache */
#define TWSI_GEMM_BLOCK_COLUMNS 96                    /* 96 KiB: second-level cache */
#else
#define TWSI_GEMM_ROWS 6                              /* 12 + 2 + 2 of 16 registers */
#define TWSI_GEMM_VECTORS 2
#define TWSI_GEMM_DEPTH (2048 / sizeof(tws_real))     /* panel of A 12 KiB: half of a 32 KiB L1 */
#define TWSI_GEMM_BLOCK_COLUMNS (12 * 8)              /* 192 KiB: most of a 256 KiB L2 */
#endif

#if TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_GEMM_COLUMNS 4

/* Copies count vectors of depth entries into panels of width vectors, the last one filled up with
   zeros. Within a panel, entry p of all its vectors comes before entry p + 1 of any. The vectors
   are rows of the source (across) or columns of it. */
TWSI_LANE_FN void TWSI_LANE(gemm_pack)(int across, size_t width, size_t count, size_t depth,
                                       const tws_real *source, size_t ld, tws_real *panels,
                                       size_t panel_size, twsi_gemm_sizes *sizes) {
    size_t first, i, p;
    (void)sizes;
    for (first = 0; first < count; first += width) {
        tws_real *panel = panels + first / width * panel_size;
        for (p = 0; p < depth; p++) {
            for (i = 0; i < width; i++) {
                const size_t v = first + i;
                tws_real entry = 0;
                if (v < count) entry = across ? source[v * ld + p] : source[p * ld + v];
                panel[p * width + i] = entry;
            }
        }
    }
}

/* One tile: C = alpha A B + beta C with a panel of A and a panel of B. All ROWS x COLUMNS sums are
   formed, those of the padding too; rows x columns of them exist in C. */
TWSI_LANE_FN void TWSI_LANE(gemm_tile)(size_t rows, size_t columns, size_t depth, tws_real alpha,
                                       const tws_real *a, const tws_real *b, size_t b_step,
                                       tws_real beta, tws_real *c, size_t ldc) {
    tws_real sum[TWSI_GEMM_ROWS][TWSI_GEMM_COLUMNS];
    size_t i, j, p;
    for (i = 0; i < TWSI_GEMM_ROWS; i++)
        for (j = 0; j < TWSI_GEMM_COLUMNS; j++) sum[i][j] = 0;
    for (p = 0; p < depth; p++)
        for (i = 0; i < TWSI_GEMM_ROWS; i++)
            for (j = 0; j < TWSI_GEMM_COLUMNS; j++)
                sum[i][j] += a[p * TWSI_GEMM_ROWS + i] * b[p * b_step + j];
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++)
            c[i * ldc + j] = alpha * sum[i][j] + (beta == 0 ? 0 : beta * c[i * ldc + j]);
}

/* All tiles of a cache block: each panel of A meets every panel of B. */
TWSI_LANE_FN void TWSI_LANE(gemm_block)(size_t m, size_t n, size_t depth, tws_real alpha,
                                        const tws_real *a, size_t a_size, const tws_real *b,
                                        size_t b_size, size_t b_step, const tws_real *next,
                                        size_t next_size, tws_real beta, tws_real *c,
                                        size_t ldc) {
    size_t i, j;
    (void)next;
    (void)next_size;
    for (i = 0; i < m; i += TWSI_GEMM_ROWS)
        for (j = 0; j < n; j += TWSI_GEMM_COLUMNS)
            TWSI_LANE(gemm_tile)(twsi_min(m - i, TWSI_GEMM_ROWS),
                                 twsi_min(n - j, TWSI_GEMM_COLUMNS), depth, alpha,
                                 a + i / TWSI_GEMM_ROWS * a_size,
                                 b + j / TWSI_GEMM_COLUMNS * b_size, b_step, beta,
                                 c + i * ldc + j, ldc);
}

#else
#define TWSI_GEMM_COLUMNS (TWSI_GEMM_VECTORS * TWSI_LANES)
#define TWSI_GEMM_LINE (64 / sizeof(tws_real))  /* entries of a cache line */
#define TWSI_GEMM_QUAD (16 / sizeof(tws_real))  /* entries of 128 bits */

/* Without optimisation nothing melts, as each copy would take its own part of the frame. */
#ifdef __OPTIMIZE__
#define TWSI_GEMM_INLINE TWSI_LANE_INLINE
#else
#define TWSI_GEMM_INLINE TWSI_LANE_FN
#endif

/* The first count <= TWSI_LANES entries at p, zeros after them; nothing beyond is touched. */
#if TWSI_PASS == TWSI_PASS_AVX512 && defined(TWOSTEP_DOUBLE)
#define TWSI_GEMM_MASK(count) ((__mmask8)((1u << (count)) - 1u))
TWSI_GEMM_INLINE void TWSI_LANE(gemm_load_part)(twsi_v *v, const tws_real *p, size_t count) {
    *v = _mm512_maskz_loadu_pd(TWSI_GEMM_MASK(count), p);
}
TWSI_GEMM_INLINE void TWSI_LANE(gemm_store_part)(tws_real *p, const twsi_v *v, size_t count) {
    _mm512_mask_storeu_pd(p, TWSI_GEMM_MASK(count), *v);
}
#undef TWSI_GEMM_MASK
#elif TWSI_PASS == TWSI_PASS_AVX512
#define TWSI_GEMM_MASK(count) ((__mmask16)((1u << (count)) - 1u))
TWSI_GEMM_INLINE void TWSI_LANE(gemm_load_part)(twsi_v *v, const tws_real *p, size_t count) {
    *v = _mm512_maskz_loadu_ps(TWSI_GEMM_MASK(count), p);
}
TWSI_GEMM_INLINE void TWSI_LANE(gemm_store_part)(tws_real *p, const twsi_v *v, size_t count) {
    _mm512_mask_storeu_ps(p, TWSI_GEMM_MASK(count), *v);
}
#undef TWSI_GEMM_MASK
#elif TWSI_PASS == TWSI_PASS_AVX2 && !defined(TWSI_OPEN_STORES)
/* A mask is a window on as many ones as there are entries, and zeros behind them. */
#ifdef TWOSTEP_DOUBLE
static const int64_t TWSI_LANE(gemm_window)[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
#define TWSI_GEMM_MASKED(op) _mm256_##op##_pd
#else
static const int32_t TWSI_LANE(gemm_window)[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                   0,  0,  0,  0,  0,  0,  0,  0};
#define TWSI_GEMM_MASKED(op) _mm256_##op##_ps
#endif
#define TWSI_GEMM_MASK(count) \
    _mm256_loadu_si256(       \
        (const __m256i *)(const void *)(TWSI_LANE(gemm_window) + TWSI_LANES - (count)))
TWSI_GEMM_INLINE void TWSI_LANE(gemm_load_part)(twsi_v *v, const tws_real *p, size_t count) {
    *v = (twsi_v)TWSI_GEMM_MASKED(maskload)(p, TWSI_GEMM_MASK(count));
}
TWSI_GEMM_INLINE void TWSI_LANE(gemm_store_part)(tws_real *p, const twsi_v *v, size_t count) {
    TWSI_GEMM_MASKED(maskstore)(p, TWSI_GEMM_MASK(count), *v);
}
#undef TWSI_GEMM_MASK
#undef TWSI_GEMM_MASKED
#else
TWSI_GEMM_INLINE void TWSI_LANE(gemm_load_part)(twsi_v *v, const tws_real *p, size_t count) {
    tws_real part[TWSI_LANES];
    size_t i;
    for (i = 0; i < TWSI_LANES; i++) part[i] = i < count ? p[i] : 0;
    *v = twsi_load(part);
}
TWSI_GEMM_INLINE void TWSI_LANE(gemm_store_part)(tws_real *p, const twsi_v *v, size_t count) {
    tws_real part[TWSI_LANES];
    size_t i;
    twsi_store(part, *v);
    for (i = 0; i < TWSI_LANES; i++)
        if (i < count) p[i] = part[i];
}
#endif

/* ---- packing ---- */

/* gemm_put: one vector of entries goes to a panel or, where half is not 0, its second half to the
   panel that lies half entries further. */
#if TWSI_PASS == TWSI_PASS_AVX512 && !defined(TWOSTEP_DOUBLE)
TWSI_GEMM_INLINE void TWSI_LANE(gemm_put)(tws_real *panel, const twsi_v *v, size_t half) {
    if (half == 0) {
        twsi_store(panel, *v);
    } else {
        _mm256_storeu_ps(panel, _mm512_maskz_extractf32x8_ps((__mmask8)0xff, *v, 0));
        _mm256_storeu_ps(panel + half, _mm512_maskz_extractf32x8_ps((__mmask8)0xff, *v, 1));
    }
}
#else
TWSI_GEMM_INLINE void TWSI_LANE(gemm_put)(tws_real *panel, const twsi_v *v, size_t half) {
    (void)half;
    twsi_store(panel, *v);
}
#endif

/* gemm_turn: LANES rows of QUAD entries, a LINE apart, become QUAD vectors. A vector takes
   128 bits from every QUAD-th row; then entries change places within 128 bits only. */
#if TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_AVX2 || TWSI_PASS == TWSI_PASS_SSE2
#if TWSI_PASS == TWSI_PASS_AVX512
/* All lanes by mask: g++ warns of the undefined register that the plain forms start from. */
#ifdef TWOSTEP_DOUBLE
#define TWSI_ALL ((__mmask8)0xff)
#else
#define TWSI_ALL ((__mmask16)0xffff)
#endif
#define TWSI_WIDE(op, x, y) _mm512_maskz_##op(TWSI_ALL, x, y)
#define TWSI_SHUFFLE(x, y, order) _mm512_maskz_shuffle_ps(TWSI_ALL, x, y, order)
#elif TWSI_PASS == TWSI_PASS_AVX2
#define TWSI_WIDE(op, x, y) _mm256_##op(x, y)
#define TWSI_SHUFFLE(x, y, order) _mm256_shuffle_ps(x, y, order)
#else
#define TWSI_WIDE(op, x, y) _mm_##op(x, y)
#define TWSI_SHUFFLE(x, y, order) _mm_shuffle_ps(x, y, order)
#endif

/* 128 bits from every QUAD-th of LANES rows, in one vector. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_collect)(twsi_v *v, const tws_real *line) {
#ifdef TWOSTEP_DOUBLE
#define TWSI_QUARTER(i) _mm_loadu_pd(line + (i) * TWSI_GEMM_QUAD * TWSI_GEMM_LINE)
#if TWSI_PASS == TWSI_PASS_AVX512
    __m512d all = _mm512_castpd128_pd512(TWSI_QUARTER(0));
    all = _mm512_maskz_insertf64x2(TWSI_ALL, all, TWSI_QUARTER(1), 1);
    all = _mm512_maskz_insertf64x2(TWSI_ALL, all, TWSI_QUARTER(2), 2);
    all = _mm512_maskz_insertf64x2(TWSI_ALL, all, TWSI_QUARTER(3), 3);
    *v = (twsi_v)all;
#elif TWSI_PASS == TWSI_PASS_AVX2
    *v = (twsi_v)_mm256_insertf128_pd(_mm256_castpd128_pd256(TWSI_QUARTER(0)), TWSI_QUARTER(1), 1);
#else
    *v = (twsi_v)TWSI_QUARTER(0);
#endif
#else
#define TWSI_QUARTER(i) _mm_loadu_ps(line + (i) * TWSI_GEMM_QUAD * TWSI_GEMM_LINE)
#if TWSI_PASS == TWSI_PASS_AVX512
    __m512 all = _mm512_castps128_ps512(TWSI_QUARTER(0));
    all = _mm512_maskz_insertf32x4(TWSI_ALL, all, TWSI_QUARTER(1), 1);
    all = _mm512_maskz_insertf32x4(TWSI_ALL, all, TWSI_QUARTER(2), 2);
    all = _mm512_maskz_insertf32x4(TWSI_ALL, all, TWSI_QUARTER(3), 3);
    *v = (twsi_v)all;
#elif TWSI_PASS == TWSI_PASS_AVX2
    *v = (twsi_v)_mm256_insertf128_ps(_mm256_castps128_ps256(TWSI_QUARTER(0)), TWSI_QUARTER(1), 1);
#else
    *v = (twsi_v)TWSI_QUARTER(0);
#endif
#endif
#undef TWSI_QUARTER
}

TWSI_GEMM_INLINE void TWSI_LANE(gemm_turn)(const tws_real *lines, twsi_v *out) {
    twsi_v r0, r1;
#ifdef TWOSTEP_DOUBLE
    TWSI_LANE(gemm_collect)(&r0, lines);
    TWSI_LANE(gemm_collect)(&r1, lines + TWSI_GEMM_LINE);
    out[0] = TWSI_WIDE(unpacklo_pd, r0, r1);
    out[1] = TWSI_WIDE(unpackhi_pd, r0, r1);
#else
    twsi_v r2, r3, low01, low23, high01, high23;
    TWSI_LANE(gemm_collect)(&r0, lines);
    TWSI_LANE(gemm_collect)(&r1, lines + TWSI_GEMM_LINE);
    TWSI_LANE(gemm_collect)(&r2, lines + 2 * TWSI_GEMM_LINE);
    TWSI_LANE(gemm_collect)(&r3, lines + 3 * TWSI_GEMM_LINE);
    low01 = TWSI_WIDE(unpacklo_ps, r0, r1);
    low23 = TWSI_WIDE(unpacklo_ps, r2, r3);
    high01 = TWSI_WIDE(unpackhi_ps, r0, r1);
    high23 = TWSI_WIDE(unpackhi_ps, r2, r3);
    out[0] = TWSI_SHUFFLE(low01, low23, 0x44);
    out[1] = TWSI_SHUFFLE(low01, low23, 0xee);
    out[2] = TWSI_SHUFFLE(high01, high23, 0x44);
    out[3] = TWSI_SHUFFLE(high01, high23, 0xee);
#endif
}
#undef TWSI_WIDE
#undef TWSI_SHUFFLE
#undef TWSI_ALL
#else
TWSI_GEMM_INLINE void TWSI_LANE(gemm_turn)(const tws_real *lines, twsi_v *out) {
    tws_real turned[TWSI_LANES];
    size_t i, p;
    for (p = 0; p < TWSI_GEMM_QUAD; p++) {
        for (i = 0; i < TWSI_LANES; i++) turned[i] = lines[i * TWSI_GEMM_LINE + p];
        out[p] = twsi_load(turned);
    }
}
#endif

/* Lines that are on their way to the cache ahead of the one that is read. */
#define TWSI_GEMM_AHEAD 8

/* One cache line from each of rows <= TWSI_LANES rows, in a square of lines; zeros elsewhere. Rows
   a power of two apart share a cache set, so every line is read once and turned from here. The
   same lines from ahead on will be needed soon; in the first-level cache they would push each
   other out. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_fetch)(tws_real *lines, const tws_real *source, size_t ld,
                                            size_t rows, size_t columns, const tws_real *ahead) {
    size_t i, j;
    for (i = 0; i < TWSI_LANES; i++) {
        if (i < rows) __builtin_prefetch(ahead + i * ld, 0, 2);
        for (j = 0; j < TWSI_GEMM_LINE; j += TWSI_LANES) {
            twsi_v v = twsi_set(0);
            if (i < rows && j + TWSI_LANES <= columns)
                v = twsi_load(source + i * ld + j);
            else if (i < rows && j < columns)
                TWSI_LANE(gemm_load_part)(&v, source + i * ld + j, columns - j);
            twsi_store(lines + i * TWSI_GEMM_LINE + j, v);
        }
    }
}

/* columns <= LINE entries, from p on, of count <= LANES rows of the source, next to each other in a
   panel; the rows from after on come when these end. Each store writes whole vectors, past the
   width of the panel too; the next entries overwrite that. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_pack_rows)(size_t width, size_t count, size_t depth,
                                                const tws_real *source, size_t ld,
                                                const tws_real *after, tws_real *panel,
                                                size_t half, size_t p, size_t columns) {
    tws_real lines[TWSI_LANES * TWSI_GEMM_LINE];
    twsi_v turned[TWSI_GEMM_QUAD];
    const size_t next = p + TWSI_GEMM_AHEAD * TWSI_GEMM_LINE;
    size_t q, i;
    TWSI_LANE(gemm_fetch)(lines, source + p, ld, count, columns,
                          next < depth ? source + next : after + twsi_min(next - depth, p));
    for (q = 0; q < columns; q += TWSI_GEMM_QUAD) {
        TWSI_LANE(gemm_turn)(lines + q, turned);
        for (i = 0; i < TWSI_GEMM_QUAD; i++)
            if (q + i < columns)
                TWSI_LANE(gemm_put)(panel + (p + q + i) * width, &turned[i], half);
    }
}

/* The same for rows that do not exist. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_pack_zeros)(size_t width, size_t columns, tws_real *panel) {
    size_t q;
    for (q = 0; q < columns; q++) twsi_store(panel + q * width, twsi_set(0));
}

/* Panels whose vectors are rows of the source. Groups of rows are taken from the last to the first
   so that what a store spills is overwritten. Two panels of half a vector are filled at once. From
   the second step on all loads begin where a cache line does, if rows are whole lines apart. */
TWSI_LANE_FN void TWSI_LANE(gemm_pack_across)(size_t width, size_t count, size_t depth,
                                              const tws_real *source, size_t ld, tws_real *panels,
                                              size_t panel_size) {
    const size_t half = 2 * width == TWSI_LANES ? panel_size : 0;
    const size_t together = half != 0 ? TWSI_LANES : width;
    const size_t groups = (together + TWSI_LANES - 1) / TWSI_LANES;
    const size_t past = (uintptr_t)source / sizeof(tws_real) % TWSI_GEMM_LINE; /* a line's begin */
    size_t first, p, g, columns;
    for (first = 0; first < count; first += together) {
        const size_t here = twsi_min(count - first, together);
        /* the second panel is missing at the end */
        const size_t other = here > width ? half : 0;
        const size_t step = count - first >= 2 * together ? together * ld : 0;
        for (p = 0; p < depth; p += columns) {
            columns = twsi_min(depth - p, TWSI_GEMM_LINE - (p == 0 ? past : 0));
            for (g = groups; g-- > 0;) {
                const size_t row = g * TWSI_LANES;
                const tws_real *rows = source + (first + row) * ld;
                tws_real *panel = panels + first / width * panel_size + row;
                if (row < here)
                    TWSI_LANE(gemm_pack_rows)(width, twsi_min(here - row, TWSI_LANES), depth, rows,
                                              ld, rows + step, panel, other, p, columns);
                else
                    TWSI_LANE(gemm_pack_zeros)(width, columns, panel + p * width);
            }
        }
    }
}

/* Panels whose vectors are columns of the source. Eight source rows at a time go to one panel after
   the other, or to two of half a vector at once: so many lines stay in the first-level cache even
   where all rows share its sets. */
TWSI_LANE_FN void TWSI_LANE(gemm_pack_along)(size_t width, size_t count, size_t depth,
                                             const tws_real *source, size_t ld, tws_real *panels,
                                             size_t panel_size) {
    const size_t half = 2 * width == TWSI_LANES ? panel_size : 0;
    const size_t together = half != 0 ? TWSI_LANES : width;
    size_t start, first, p, i;
    for (start = 0; start < depth; start += 8) {
        const size_t end = twsi_min(depth, start + 8);
        for (first = 0; first < count; first += together) {
            tws_real *panel = panels + first / width * panel_size;
            const size_t here = twsi_min(count - first, together);
            const size_t other = here > width ? half : 0; /* the second panel may be missing */
            for (p = start; p < end; p++) {
                const tws_real *row = source + p * ld + first;
                for (i = 0; i < here && p + 8 < depth; i += TWSI_GEMM_LINE)
                    __builtin_prefetch(row + 8 * ld + i, 0, 3);
                for (i = 0; i < together; i += TWSI_LANES) {
                    twsi_v v = twsi_set(0);
                    if (i + TWSI_LANES <= here)
                        v = twsi_load(row + i);
                    else if (i < here)
                        TWSI_LANE(gemm_load_part)(&v, row + i, here - i);
                    TWSI_LANE(gemm_put)(panel + p * width + i, &v, other);
                }
            }
        }
    }
}

TWSI_LANE_FN void TWSI_LANE(gemm_pack)(int across, size_t width, size_t count, size_t depth,
                                       const tws_real *source, size_t ld, tws_real *panels,
                                       size_t panel_size, twsi_gemm_sizes *sizes) {
    (void)sizes;
    if (across)
        TWSI_LANE(gemm_pack_across)(width, count, depth, source, ld, panels, panel_size);
    else
        TWSI_LANE(gemm_pack_along)(width, count, depth, source, ld, panels, panel_size);
}

/* ---- the tile ---- */

/* Loops over registers must melt into straight code; -O2 of gcc does so on request only. Several
   STEPS over k at a time: what counts and points would take turns of the units that multiply. */
#if defined(__clang__) && defined(__OPTIMIZE__)
#define TWSI_GEMM_UNROLL _Pragma("clang loop unroll(full)")
#define TWSI_GEMM_STEPS _Pragma("clang loop unroll_count(4)")
#elif defined(__OPTIMIZE__)
#define TWSI_GEMM_UNROLL _Pragma("GCC unroll 16")
#define TWSI_GEMM_STEPS _Pragma("GCC unroll 4")
#else
#define TWSI_GEMM_UNROLL
#define TWSI_GEMM_STEPS
#endif

/* Entries of the next panel of A, and of the next block of B, that a tile fetches for each step
   over k. */
#define TWSI_GEMM_SHARE \
    ((TWSI_GEMM_ROWS * TWSI_GEMM_COLUMNS + TWSI_GEMM_BLOCK_COLUMNS - 1) / TWSI_GEMM_BLOCK_COLUMNS)
#define TWSI_GEMM_SHARE_B \
    ((TWSI_GEMM_ROWS * TWSI_GEMM_COLUMNS + TWSI_GEMM_TASK_ROWS - 1) / TWSI_GEMM_TASK_ROWS)
/* ... in one go for so many steps: then a line is fetched once, and few of them are under way. */
#define TWSI_GEMM_CHUNK 16

/* alpha sum + beta C for one vector, of which count entries exist; the same arithmetic at edges. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_update)(tws_real *c, const twsi_v *sum, tws_real alpha,
                                             tws_real beta, size_t count) {
    twsi_v v = twsi_set(alpha) * *sum;
    if (beta != 0) {
        if (count >= TWSI_LANES)
            v = twsi_load(c);
        else
            TWSI_LANE(gemm_load_part)(&v, c, count);
        v = twsi_fma(twsi_set(alpha), *sum, twsi_set(beta) * v);
    }
    if (count >= TWSI_LANES)
        twsi_store(c, v);
    else
        TWSI_LANE(gemm_store_part)(c, &v, count);
}

/* What chunk p of a tile's steps fetches: one row of C, entries of the next panel of A and of the
   next block of B. All of C at once would hold up B, which comes from the second-level cache. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_ahead)(size_t p, size_t rows, size_t columns,
                                            const tws_real *const *ahead, const tws_real *c,
                                            size_t ldc) {
    size_t i;
    for (i = 0; p < rows && i < columns; i += TWSI_GEMM_LINE)
        __builtin_prefetch(c + p * ldc + i, 1, 3);
    for (i = 0; i < TWSI_GEMM_SHARE * TWSI_GEMM_CHUNK; i += TWSI_GEMM_LINE)
        __builtin_prefetch(ahead[0] + p * TWSI_GEMM_SHARE * TWSI_GEMM_CHUNK + i, 0, 2);
    for (i = 0; i < TWSI_GEMM_SHARE_B * TWSI_GEMM_CHUNK; i += TWSI_GEMM_LINE)
        __builtin_prefetch(ahead[1] + p * TWSI_GEMM_SHARE_B * TWSI_GEMM_CHUNK + i, 0, 2);
}

/* One tile of height rows and width vectors: both are constants where this melts in. rows <= height
   of them exist in C, and columns entries of each. Rows of b are b_step apart. What lies ahead, of
   A and of B, is fetched bit by bit, as it comes from further away than b does. factors: alpha and
   beta, in memory since the loop wants every register. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_sums)(size_t height, size_t width, size_t rows,
                                           size_t columns, size_t depth,
                                           const tws_real *a, const tws_real *b, size_t b_step,
                                           const tws_real *const *ahead, const tws_real *factors,
                                           tws_real *c, size_t ldc) {
    twsi_v sum[TWSI_GEMM_ROWS][TWSI_GEMM_VECTORS], right[TWSI_GEMM_VECTORS];
    size_t i, v, p, step;
    TWSI_GEMM_UNROLL
    for (i = 0; i < height; i++) {
        TWSI_GEMM_UNROLL
        for (v = 0; v < width; v++) sum[i][v] = twsi_set(0);
    }
    for (p = 0; p < depth; p += TWSI_GEMM_CHUNK) {
        const size_t steps = twsi_min(depth - p, TWSI_GEMM_CHUNK);
        TWSI_LANE(gemm_ahead)(p / TWSI_GEMM_CHUNK, rows, columns, ahead, c, ldc);
        TWSI_GEMM_STEPS
        for (step = 0; step < steps; step++) {
            TWSI_GEMM_UNROLL
            for (v = 0; v < width; v++) right[v] = twsi_load(b + v * TWSI_LANES);
            TWSI_GEMM_UNROLL
            for (i = 0; i < height; i++) {
                const twsi_v left = twsi_set(a[i]);
                TWSI_GEMM_UNROLL
                for (v = 0; v < width; v++) sum[i][v] = twsi_fma(left, right[v], sum[i][v]);
            }
            a += TWSI_GEMM_ROWS;
            b += b_step;
        }
    }
    if (rows == height && columns == width * TWSI_LANES) {
        TWSI_GEMM_UNROLL
        for (i = 0; i < height; i++) {
            TWSI_GEMM_UNROLL
            for (v = 0; v < width; v++)
                TWSI_LANE(gemm_update)(c + i * ldc + v * TWSI_LANES, &sum[i][v], factors[0],
                                       factors[1], TWSI_LANES);
        }
        return;
    }
    TWSI_GEMM_UNROLL
    for (i = 0; i < height; i++) {
        TWSI_GEMM_UNROLL
        for (v = 0; v < width; v++)
            if (i < rows && v * TWSI_LANES < columns)
                TWSI_LANE(gemm_update)(c + i * ldc + v * TWSI_LANES, &sum[i][v], factors[0],
                                       factors[1], columns - v * TWSI_LANES);
    }
}

/* A low or narrow tile at the edge forms fewer sums, each of them the same way. */
#define TWSI_GEMM_IF(height, width)                                                               \
    if (rows <= (height) && columns <= (width)*TWSI_LANES) {                                      \
        TWSI_LANE(gemm_sums)(height, width, rows, columns, depth, a, b, b_step, ahead, factors,   \
                             c, ldc);                                                             \
        return;                                                                                   \
    }
TWSI_LANE_FN void TWSI_LANE(gemm_tile)(size_t rows, size_t columns, size_t depth,
                                       const tws_real *a, const tws_real *b, size_t b_step,
                                       const tws_real *const *ahead, const tws_real *factors,
                                       tws_real *c, size_t ldc) {
    TWSI_GEMM_IF(2, 1)
    TWSI_GEMM_IF(2, TWSI_GEMM_VECTORS)
    TWSI_GEMM_IF(TWSI_GEMM_ROWS / 2, TWSI_GEMM_VECTORS)
    TWSI_GEMM_IF(TWSI_GEMM_ROWS, 1)
#if TWSI_GEMM_VECTORS > 2
    TWSI_GEMM_IF(TWSI_GEMM_ROWS, 2)
#endif
    TWSI_GEMM_IF(TWSI_GEMM_ROWS, TWSI_GEMM_VECTORS)
}
#undef TWSI_GEMM_IF

/* All tiles of a cache block: each panel of A meets every panel of B, and meanwhile each tile
   fetches its share of the next panel of A and of the next block of B. */
TWSI_LANE_FN void TWSI_LANE(gemm_block)(size_t m, size_t n, size_t depth, tws_real alpha,
                                        const tws_real *a, size_t a_size, const tws_real *b,
                                        size_t b_size, size_t b_step, const tws_real *next,
                                        size_t next_size, tws_real beta, tws_real *c,
                                        size_t ldc) {
    const tws_real factors[2] = {alpha, beta};
    const size_t share = TWSI_GEMM_SHARE_B * depth; /* of next, for each tile */
    size_t i, j, fetched = 0;
    for (i = 0; i < m; i += TWSI_GEMM_ROWS) {
        const tws_real *panel = a + i / TWSI_GEMM_ROWS * a_size;
        const tws_real *below = i + TWSI_GEMM_ROWS < m ? panel + a_size : panel;
        for (j = 0; j < n; j += TWSI_GEMM_COLUMNS) {
            const size_t tile = j / TWSI_GEMM_COLUMNS;
            const tws_real *ahead[2];
            ahead[0] = below + tile * TWSI_GEMM_SHARE * depth;
            ahead[1] = fetched + share <= next_size ? next + fetched : panel;
            fetched += share;
            TWSI_LANE(gemm_tile)(twsi_min(m - i, TWSI_GEMM_ROWS),
                                 twsi_min(n - j, TWSI_GEMM_COLUMNS), depth, panel,
                                 b + tile * b_size, b_step, ahead, factors, c + i * ldc + j, ldc);
        }
    }
}
#endif

/* ---- small products ---- */

/* Where loads and stores can be masked, a product that fits the first-level cache is formed without
   packing. Each entry is the same sum in the same order as that of the tiles above. */
#if TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_AVX2
#define TWSI_GEMM_HAS_SMALL 1

/* A tile of A as it lies: entry (i, p) is row_step i + step p further. Rows that do not exist
   repeat the last one. */
TWSI_GEMM_INLINE void TWSI_LANE(gemm_small_sums)(size_t height, size_t width, size_t rows,
                                                 size_t columns, size_t depth, tws_real alpha,
                                                 const tws_real *a, size_t row_step, size_t step,
                                                 const tws_real *b, size_t ldb, tws_real beta,
                                                 tws_real *c, size_t ldc) {
    twsi_v sum[TWSI_GEMM_ROWS][TWSI_GEMM_VECTORS], right[TWSI_GEMM_VECTORS];
    const size_t last = columns - (width - 1) * TWSI_LANES; /* entries of the last vector */
    size_t at[TWSI_GEMM_ROWS], i, v, p;
    TWSI_GEMM_UNROLL
    for (i = 0; i < height; i++) {
        at[i] = twsi_min(i, rows - 1) * row_step;
        TWSI_GEMM_UNROLL
        for (v = 0; v < width; v++) sum[i][v] = twsi_set(0);
    }
    for (p = 0; p < depth; p++) {
        TWSI_GEMM_UNROLL
        for (v = 0; v + 1 < width; v++) right[v] = twsi_load(b + v * TWSI_LANES);
        TWSI_LANE(gemm_load_part)(&right[width - 1], b + (width - 1) * TWSI_LANES, last);
        TWSI_GEMM_UNROLL
        for (i = 0; i < height; i++) {
            const twsi_v left = twsi_set(a[at[i]]);
            TWSI_GEMM_UNROLL
            for (v = 0; v < width; v++) sum[i][v] = twsi_fma(left, right[v], sum[i][v]);
        }
        a += step;
        b += ldb;
    }
    TWSI_GEMM_UNROLL
    for (i = 0; i < height; i++) {
        TWSI_GEMM_UNROLL
        for (v = 0; v < width; v++)
            if (i < rows)
                TWSI_LANE(gemm_update)(c + i * ldc + v * TWSI_LANES, &sum[i][v], alpha, beta,
                                       columns - v * TWSI_LANES);
    }
}

/* C = alpha op(A) B + beta C for m, n, k of at least 1; across: op(A) is A. */
TWSI_LANE_FN void TWSI_LANE(gemm_small)(int across, size_t m, size_t n, size_t k, tws_real alpha,
                                        const tws_real *a, size_t lda, const tws_real *b,
                                        size_t ldb, tws_real beta, tws_real *c, size_t ldc) {
#define TWSI_GEMM_IF(height, width)                                                               \
    if (rows <= (height) && columns <= (width)*TWSI_LANES) {                                      \
        TWSI_LANE(gemm_small_sums)(height, width, rows, columns, k, alpha, a + i * row_step,      \
                                   row_step, across ? 1 : lda, b + j, ldb, beta, c + i * ldc + j, \
                                   ldc);                                                          \
        continue;                                                                                 \
    }
    const size_t row_step = across ? lda : 1;
    size_t i, j;
    for (i = 0; i < m; i += TWSI_GEMM_ROWS) {
        const size_t rows = twsi_min(m - i, TWSI_GEMM_ROWS);
        for (j = 0; j < n; j += TWSI_GEMM_COLUMNS) {
            const size_t columns = twsi_min(n - j, TWSI_GEMM_COLUMNS);
            TWSI_GEMM_IF(TWSI_GEMM_ROWS / 2, 1)
            TWSI_GEMM_IF(TWSI_GEMM_ROWS, 1)
            TWSI_GEMM_IF(TWSI_GEMM_ROWS, 2)
#if TWSI_GEMM_VECTORS > 2
            TWSI_GEMM_IF(TWSI_GEMM_ROWS, TWSI_GEMM_VECTORS)
#endif
        }
    }
#undef TWSI_GEMM_IF
}
#endif

/* ---- products in tile registers ----

   A tile register holds 16 lines of 64 bytes; one instruction adds to 16 x 16 floats the products
   of 16 x 32 numbers of 8 significant bits (bfloat16) with 32 x 16. A float is the sum of three
   such, x = x0 + x1 + x2 without an error, each 2^-8 of the one before. Of the nine products of
   two sums the six largest are formed, x0 y0, x0 y1, x1 y0, x1 y1, x0 y2, x2 y0: the others are
   2^-25 of the first. Each is exact, and they are added up as floats.
   A panel holds, for every 32 terms, the first, second and third parts of 32 rows of A (or columns
   of B) in two tiles each: a line of A has 32 terms of one row, a line of B two terms of each of
   16 columns, next to each other. */
#if defined(TWSI_AMX) && TWSI_PASS == TWSI_PASS_AVX512
#define TWSI_AMX_TILE 32           /* of C: four tile registers, beside two of A and two of B */
#define TWSI_AMX_TERMS 32          /* of one line */
#define TWSI_AMX_DEPTH 512         /* panels of 96 KiB: C is read and written rarely */
#define TWSI_AMX_BLOCK_COLUMNS 192 /* 576 KiB of B: part of a 2 MiB L2, as no machine has less */
#define TWSI_AMX_FN static TWSI_UNUSED \
        __attribute__((target("amx-tile,amx-bf16,avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define TWSI_AMX_REGISTER 256 /* numbers of 4 bytes in a tile register */
#define TWSI_AMX_LINE (6 * TWSI_AMX_REGISTER) /* ... and of 32 terms in a panel: three parts */

/* The parts of 16 numbers, in the high halves of words, largest first. Rounded to nearest, but not
   up to infinity; NaN and infinity stay what they are. */
TWSI_LANE_INLINE void twsi_amx_split(__m512i *part, __m512 x) {
    const __m512i rest = _mm512_set1_epi32(0x7fffffff), largest = _mm512_set1_epi32(0x7f7fffff);
    const __mmask16 all = 0xffff; /* masked forms: g++ warns inside its own header about others */
    size_t k;
    for (k = 0; k < 3; k++) {
        const __m512i bits = _mm512_castps_si512(x);
        const __m512i size = _mm512_and_si512(bits, rest);
        __m512i near = _mm512_add_epi32(size, _mm512_set1_epi32(0x8000));
        near = _mm512_maskz_min_epu32(all, near, largest);
        near = _mm512_maskz_max_epu32(all, near, size);
        near = _mm512_and_si512(near, _mm512_set1_epi32(0x7fff0000));
        part[k] = _mm512_or_si512(near, _mm512_xor_si512(bits, size));
        x = _mm512_sub_ps(x, _mm512_castsi512_ps(part[k]));
    }
}

/* Widens the sizes met, above and most, by 16 numbers. */
TWSI_LANE_INLINE void twsi_amx_meet(__m512i *met, __m512 x) {
    const __m512i size = _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
    const __mmask16 all = 0xffff;
    met[0] = _mm512_maskz_max_epu32(all, met[0], _mm512_sub_epi32(_mm512_setzero_si512(), size));
    met[1] = _mm512_maskz_max_epu32(all, met[1], size);
}

/* Words of two parts each, of the even terms in x and the odd ones in y. */
TWSI_LANE_INLINE void twsi_amx_pair(__m512i *word, size_t step, __m512 x, __m512 y) {
    __m512i even[3], odd[3];
    size_t k;
    twsi_amx_split(even, x);
    twsi_amx_split(odd, y);
    for (k = 0; k < 3; k++)
        word[k * step] = _mm512_or_si512(_mm512_maskz_srli_epi32(0xffff, even[k], 16), odd[k]);
}

/* Transposes 16 x 16 words: vectors i and i + step exchange what lies step apart. */
TWSI_LANE_INLINE void twsi_amx_turn(__m512i *word) {
    const __m512i place = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    int step, i;
    for (step = 1; step < 16; step *= 2) {
        const __m512i by = _mm512_set1_epi32(step);
        const __mmask16 odd = _mm512_test_epi32_mask(place, by);
        const __m512i low = _mm512_mask_add_epi32(place, odd, _mm512_sub_epi32(place, by),
                                                  _mm512_set1_epi32(16));
        const __m512i high = _mm512_mask_add_epi32(_mm512_add_epi32(place, by), odd, place,
                                                   _mm512_set1_epi32(16));
        for (i = 0; i < 16; i++) {
            const __m512i first = word[i], second = word[i + (i & step ? 0 : step)];
            if (i & step) continue;
            word[i] = _mm512_permutex2var_epi32(first, low, second);
            word[i + step] = _mm512_permutex2var_epi32(first, high, second);
        }
    }
}

#define TWSI_AMX_MASK(count) ((__mmask16)((1u << twsi_min(count, 16)) - 1u))

/* Three tiles of 16 vectors of the source, count of which exist, with 32 of the terms left, or all.
   as_rows: a vector fills a line, as in A; else a line holds two terms of each, as in B. */
TWSI_LANE_INLINE void twsi_amx_pack_tile(int as_rows, int across, size_t count, size_t terms,
                                         const tws_real *source, size_t ld, tws_real *tile,
                                         __m512i *met) {
    const __m512i even =
        _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    __m512i word[3][16];
    size_t i, k;
    for (i = 0; i < 16; i++) {
        __m512 x = _mm512_setzero_ps(), y = x;
        if (across && i < count) {
            const tws_real *row = source + i * ld;
            const __m512 near = _mm512_maskz_loadu_ps(TWSI_AMX_MASK(terms), row);
            const __m512 far = terms > 16
                                   ? _mm512_maskz_loadu_ps(TWSI_AMX_MASK(terms - 16), row + 16)
                                   : x;
            x = _mm512_permutex2var_ps(near, even, far);
            y = _mm512_permutex2var_ps(near, odd, far);
        } else if (!across) {
            if (2 * i + 33 < terms) { /* for the next 32: no unit sees that rows will follow */
                __builtin_prefetch(source + (2 * i + 32) * ld, 0, 3);
                __builtin_prefetch(source + (2 * i + 33) * ld, 0, 3);
            }
            if (2 * i < terms) x = _mm512_maskz_loadu_ps(TWSI_AMX_MASK(count), source + 2 * i * ld);
            if (2 * i + 1 < terms)
                y = _mm512_maskz_loadu_ps(TWSI_AMX_MASK(count), source + (2 * i + 1) * ld);
        }
        twsi_amx_meet(met, x);
        twsi_amx_meet(met, y);
        twsi_amx_pair(&word[0][i], 16, x, y);
    }
    for (k = 0; k < 3; k++) {
        if (as_rows != across) twsi_amx_turn(word[k]);
        for (i = 0; i < 16; i++)
            _mm512_storeu_si512(tile + 2 * k * TWSI_AMX_REGISTER + 16 * i, word[k][i]);
    }
}

/* Panels of TILE vectors. Where terms follow each other in memory, so do the tiles of a panel; else
   all panels take their part of 32 source rows in turn. */
TWSI_LANE_INLINE void twsi_amx_pack(int as_rows, int across, size_t count, size_t depth,
                                    const tws_real *source, size_t ld, tws_real *panels,
                                    size_t panel_size, twsi_gemm_sizes *sizes) {
    __m512i met[2];
    uint32_t lanes[2][16];
    size_t i;
    const size_t lines = (depth + TWSI_AMX_TERMS - 1) / TWSI_AMX_TERMS;
    const size_t halves = (count + TWSI_AMX_TILE - 1) / TWSI_AMX_TILE * 2;
    size_t task;
    met[0] = met[1] = _mm512_setzero_si512();
    for (task = 0; task < lines * halves; task++) {
        const size_t line = across ? task % lines : task / halves;
        const size_t half = across ? task / lines : task % halves;
        const size_t first = half * 16, p = line * TWSI_AMX_TERMS;
        const size_t here = first < count ? twsi_min(count - first, 16) : 0; /* 0: all zero */
        twsi_amx_pack_tile(as_rows, across, here, depth - p,
                           here == 0 ? source
                           : across  ? source + first * ld + p
                                     : source + p * ld + first,
                           ld,
                           panels + half / 2 * panel_size + line * TWSI_AMX_LINE +
                               half % 2 * TWSI_AMX_REGISTER,
                           met);
    }
    memcpy(lanes, met, sizeof lanes);
    for (i = 0; i < 16; i++) {
        sizes->above = (uint32_t)twsi_max(sizes->above, lanes[0][i]);
        sizes->most = (uint32_t)twsi_max(sizes->most, lanes[1][i]);
    }
}

#define TWSI_AMX_PACK(name, as_rows)                                                              \
    TWSI_LANE_FN void name(int across, size_t width, size_t count, size_t depth,                  \
                           const tws_real *source, size_t ld, tws_real *panels,                   \
                           size_t panel_size, twsi_gemm_sizes *sizes) {                           \
        (void)width;                                                                              \
        if (across)                                                                               \
            twsi_amx_pack(as_rows, 1, count, depth, source, ld, panels, panel_size, sizes);       \
        else                                                                                      \
            twsi_amx_pack(as_rows, 0, count, depth, source, ld, panels, panel_size, sizes);       \
    }
TWSI_AMX_PACK(twsi_amx_pack_a, 1)
TWSI_AMX_PACK(twsi_amx_pack_b, 0)

/* Instructions by name, in both dialects of assembly: the functions that compilers have for them
   hide what they read. */
#define TWSI_AMX_ZERO(t) __asm__ volatile("tilezero {%%|}tmm" #t : :)
#define TWSI_AMX_LOAD(t, from)                                                                    \
    __asm__ volatile("tileloadd {(%0,%1,1), %%tmm" #t "|tmm" #t ", [%0+%1*1]}"                    \
                     :                                                                            \
                     : "r"(from), "r"((size_t)64)                                                 \
                     : "memory")
#define TWSI_AMX_STORE(t, to)                                                                     \
    __asm__ volatile("tilestored {%%tmm" #t ", (%0,%1,1)|[%0+%1*1], tmm" #t "}"                   \
                     :                                                                            \
                     : "r"(to), "r"(TWSI_AMX_TILE * sizeof(tws_real))                             \
                     : "memory")
#define TWSI_AMX_ADD(c, a, b)                                                                     \
    __asm__ volatile("tdpbf16ps {%%tmm" #b ", %%tmm" #a ", %%tmm" #c "|tmm" #c ", tmm" #a ", tmm" \
                     #b "}"                                                                       \
                     :                                                                            \
                     :)

/* Parts i of A and j of B: two tiles each, and the four products. */
#define TWSI_AMX_LOAD_A(i)                                                                        \
    do {                                                                                          \
        TWSI_AMX_LOAD(4, a + 2 * (i) * TWSI_AMX_REGISTER);                                        \
        TWSI_AMX_LOAD(5, a + (2 * (i) + 1) * TWSI_AMX_REGISTER);                                  \
    } while (0)
#define TWSI_AMX_LOAD_B(j)                                                                        \
    do {                                                                                          \
        TWSI_AMX_LOAD(6, b + 2 * (j) * TWSI_AMX_REGISTER);                                        \
        TWSI_AMX_LOAD(7, b + (2 * (j) + 1) * TWSI_AMX_REGISTER);                                  \
    } while (0)
#define TWSI_AMX_MULTIPLY                                                                         \
    do {                                                                                          \
        TWSI_AMX_ADD(0, 4, 6);                                                                    \
        TWSI_AMX_ADD(1, 4, 7);                                                                    \
        TWSI_AMX_ADD(2, 5, 6);                                                                    \
        TWSI_AMX_ADD(3, 5, 7);                                                                    \
    } while (0)

/* The sums of a tile of C, rows x columns of which exist, before they go to C. */
typedef struct twsi_amx_tile {
    tws_real sum[TWSI_AMX_TILE * TWSI_AMX_TILE];
    tws_real *c;
    size_t rows, columns, ldc;
    tws_real alpha, beta;
} twsi_amx_tile;

/* Rows first up to end go to C. */
TWSI_LANE_INLINE void twsi_amx_update(const twsi_amx_tile *tile, size_t first, size_t end) {
    size_t i, j;
    for (i = first; i < twsi_min(end, tile->rows); i++)
        for (j = 0; j < tile->columns; j += TWSI_LANES) {
            const twsi_v v = twsi_load(tile->sum + i * TWSI_AMX_TILE + j);
            TWSI_LANE(gemm_update)(tile->c + i * tile->ldc + j, &v, tile->alpha, tile->beta,
                                   twsi_min(tile->columns - j, TWSI_LANES));
        }
}

/* The next tile of C, from lines x 32 terms. Each step changes one of the two parts, so that six
   products need eight loads of two tiles. Meanwhile the tile before goes to C, and the rows at c
   that this one will go to are fetched, bit by bit. */
TWSI_AMX_FN void twsi_amx_next(twsi_amx_tile *tile, size_t lines, const tws_real *a,
                               const tws_real *b, const tws_real *c, size_t rows) {
    size_t line, row = 0;
    TWSI_AMX_ZERO(0);
    TWSI_AMX_ZERO(1);
    TWSI_AMX_ZERO(2);
    TWSI_AMX_ZERO(3);
    for (line = 1; line <= lines; line++) {
        const size_t end = TWSI_AMX_TILE * line / lines;
        TWSI_AMX_LOAD_A(0);
        TWSI_AMX_LOAD_B(2);
        TWSI_AMX_MULTIPLY;
        TWSI_AMX_LOAD_B(1);
        TWSI_AMX_MULTIPLY;
        TWSI_AMX_LOAD_A(1);
        TWSI_AMX_MULTIPLY;
        TWSI_AMX_LOAD_B(0);
        TWSI_AMX_MULTIPLY;
        TWSI_AMX_LOAD_A(2);
        TWSI_AMX_MULTIPLY;
        TWSI_AMX_LOAD_A(0);
        TWSI_AMX_MULTIPLY;
        a += TWSI_AMX_LINE;
        b += TWSI_AMX_LINE;
        twsi_amx_update(tile, TWSI_AMX_TILE * (line - 1) / lines, end);
        for (; row < twsi_min(end, rows); row++) {
            __builtin_prefetch(c + row * tile->ldc, 1, 3);
            __builtin_prefetch(c + row * tile->ldc + 16, 1, 3);
            __builtin_prefetch(c + row * tile->ldc + 31, 1, 3);
        }
    }
    TWSI_AMX_STORE(0, tile->sum);
    TWSI_AMX_STORE(1, tile->sum + 16);
    TWSI_AMX_STORE(2, tile->sum + 16 * TWSI_AMX_TILE);
    TWSI_AMX_STORE(3, tile->sum + 16 * TWSI_AMX_TILE + 16);
}

/* As gemm_block, between the set-up of the tile registers and their release, some 50 cycles. */
TWSI_AMX_FN void twsi_amx_block(size_t m, size_t n, size_t depth, tws_real alpha,
                                const tws_real *a, size_t a_size, const tws_real *b, size_t b_size,
                                size_t b_step, const tws_real *next, size_t next_size,
                                tws_real beta, tws_real *c, size_t ldc) {
    /* palette 1; from byte 16 on, 8 times 64 bytes a line; from byte 48 on, 8 times 16 lines */
    static const unsigned char shape[64] = {1,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                            0,  0,  0,  64, 0,  64, 0,  64, 0,  64, 0,  64, 0,
                                            64, 0,  64, 0,  64, 0,  0,  0,  0,  0,  0,  0,  0,
                                            0,  0,  0,  0,  0,  0,  0,  0,  0,  16, 16, 16, 16,
                                            16, 16, 16, 16};
    const size_t lines = (depth + TWSI_AMX_TERMS - 1) / TWSI_AMX_TERMS;
    twsi_amx_tile tile;
    size_t i, j;
    (void)b_step;
    (void)next;
    (void)next_size;
    tile.rows = tile.columns = 0; /* nothing to go to C yet */
    tile.c = c;
    tile.ldc = ldc;
    tile.alpha = alpha;
    tile.beta = beta;
    __asm__ volatile("ldtilecfg %0" : : "m"(shape));
    for (i = 0; i < m; i += TWSI_AMX_TILE)
        for (j = 0; j < n; j += TWSI_AMX_TILE) {
            const size_t rows = twsi_min(m - i, TWSI_AMX_TILE);
            twsi_amx_next(&tile, lines, a + i / TWSI_AMX_TILE * a_size,
                          b + j / TWSI_AMX_TILE * b_size, c + i * ldc + j, rows);
            tile.c = c + i * ldc + j;
            tile.rows = rows;
            tile.columns = twsi_min(n - j, TWSI_AMX_TILE);
        }
    __asm__ volatile("tilerelease" : :);
    twsi_amx_update(&tile, 0, TWSI_AMX_TILE);
}
#endif

/* The block sizes under names that last until the table. */
enum {
    TWSI_LANE(gemm_row_count) = (int)TWSI_GEMM_ROWS,
    TWSI_LANE(gemm_column_count) = (int)TWSI_GEMM_COLUMNS,
    TWSI_LANE(gemm_depth) = (int)TWSI_GEMM_DEPTH,
    TWSI_LANE(gemm_block_columns) = (int)TWSI_GEMM_BLOCK_COLUMNS
};

#undef TWSI_GEMM_ROWS
#undef TWSI_GEMM_COLUMNS
#undef TWSI_GEMM_DEPTH
#undef TWSI_GEMM_BLOCK_COLUMNS
#undef TWSI_GEMM_VECTORS
#undef TWSI_GEMM_SHARE
#undef TWSI_GEMM_SHARE_B
#undef TWSI_GEMM_CHUNK
#undef TWSI_GEMM_UNROLL
#undef TWSI_GEMM_STEPS
#undef TWSI_GEMM_LINE
#undef TWSI_GEMM_AHEAD
#undef TWSI_GEMM_QUAD
#undef TWSI_GEMM_INLINE

/* ---- singular values: products of a few rows with a few vectors, all sums in double ---- */

/* Four vectors against four rows make 16 sums: that needs 32 registers. */
#define TWSI_SVD_QUAD (TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_NEON)

/* twsi_vd: a vector of doubles as wide as twsi_v; widen reads as many reals from memory. */
#define twsi_vd TWSI_LANE(svd_vd)
#define twsi_vd_widen TWSI_LANE(svd_widen)
#define twsi_vd_set TWSI_LANE(svd_set)
#define TWSI_SVD_LANES ((size_t)TWSI_SVD_BYTES / sizeof(double))
#if TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_SVD_BYTES sizeof(double)
typedef double twsi_vd;
#define twsi_vd_load(p) (*(p))
#define twsi_vd_store(p, v) (*(p) = (v))
TWSI_LANE_INLINE twsi_vd twsi_vd_widen(const tws_real *p) { return (double)*p; }
TWSI_LANE_INLINE twsi_vd twsi_vd_set(double x) { return x; }
#define twsi_vd_fma(a, b, c) ((a) * (b) + (c))
#else
#define TWSI_SVD_BYTES TWSI_BYTES
typedef double twsi_vd __attribute__((vector_size(TWSI_BYTES)));
typedef double TWSI_LANE(svd_loose)
    __attribute__((vector_size(TWSI_BYTES), aligned(sizeof(double)), may_alias));
#if TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_AVX2
typedef tws_real TWSI_LANE(svd_half)
    __attribute__((vector_size(TWSI_BYTES / 2), aligned(sizeof(tws_real)), may_alias));
#endif
/* Macros: at -O0 every nested inline function would add copies of its vectors to the frame. */
#define twsi_vd_load(p) ((twsi_vd) * (const TWSI_LANE(svd_loose) *)(const void *)(p))
#define twsi_vd_store(p, v) (*(TWSI_LANE(svd_loose) *)(void *)(p) = (v))
TWSI_LANE_INLINE twsi_vd twsi_vd_set(double x) {
#if TWSI_BYTES == 64
    const twsi_vd v = {x, x, x, x, x, x, x, x};
#elif TWSI_BYTES == 32
    const twsi_vd v = {x, x, x, x};
#else
    const twsi_vd v = {x, x};
#endif
    return v;
}
TWSI_LANE_INLINE twsi_vd twsi_vd_widen(const tws_real *p) {
#ifdef TWOSTEP_DOUBLE
    return twsi_vd_load(p);
#elif TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_AVX2
    return __builtin_convertvector(*(const TWSI_LANE(svd_half) *)(const void *)p, twsi_vd);
#elif TWSI_PASS == TWSI_PASS_SSE2
    return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)(const void *)p)));
#elif TWSI_PASS == TWSI_PASS_NEON
    return (twsi_vd)vcvt_f64_f32(vld1_f32(p));
#else
    return (twsi_vd)wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(p));
#endif
}
#if TWSI_PASS == TWSI_PASS_AVX512 || TWSI_PASS == TWSI_PASS_AVX2
/* A function, since without optimisation each intrinsic would leave four vectors in the frame. */
TWSI_LANE_INLINE twsi_vd TWSI_LANE(svd_fma)(twsi_vd a, twsi_vd b, twsi_vd c) {
#if TWSI_PASS == TWSI_PASS_AVX512
    return (twsi_vd)_mm512_fmadd_pd(a, b, c);
#else
    return (twsi_vd)_mm256_fmadd_pd(a, b, c);
#endif
}
#define twsi_vd_fma(a, b, c) TWSI_LANE(svd_fma)(a, b, c)
#elif TWSI_PASS == TWSI_PASS_NEON
#define twsi_vd_fma(a, b, c) \
    ((twsi_vd)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#else
#define twsi_vd_fma(a, b, c) ((a) * (b) + (c))
#endif
#endif

/* The matrix is of reals or of doubles; real is a constant where this is called. */
TWSI_LANE_INLINE twsi_vd TWSI_LANE(svd_get)(const void *row, size_t i, int real) {
    return real ? twsi_vd_widen((const tws_real *)row + i) : twsi_vd_load((const double *)row + i);
}
TWSI_LANE_INLINE double TWSI_LANE(svd_get1)(const void *row, size_t i, int real) {
    return real ? (double)((const tws_real *)row)[i] : ((const double *)row)[i];
}
TWSI_LANE_INLINE const void *TWSI_LANE(svd_row)(const void *a, size_t offset, int real) {
    return real ? (const void *)((const tws_real *)a + offset)
                : (const void *)((const double *)a + offset);
}

/* What is done for each of the vectors, 1, 2 or 4 of them; vectors is a constant. */
#define TWSI_SVD_EACH(DO)      \
    DO(0)                      \
    if (vectors > 1) { DO(1) } \
    if (vectors > 2) { DO(2) DO(3) }

/* sum[4 j + r] += row_r . x_j, for four rows. */
TWSI_LANE_INLINE void TWSI_LANE(svd_dot)(const void *const *row, int real, size_t n,
                                         const double *x, size_t ldx, int vectors, double *sum) {
    const void *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];
    double lane[16 * TWSI_SVD_LANES];
    const size_t whole = n - n % TWSI_SVD_LANES;
    size_t i, k, r;
#define TWSI_SVD_ZERO(j) \
    twsi_vd s0##j = twsi_vd_set(0), s1##j = s0##j, s2##j = s0##j, s3##j = s0##j;
    TWSI_SVD_ZERO(0) TWSI_SVD_ZERO(1) TWSI_SVD_ZERO(2) TWSI_SVD_ZERO(3)
    for (i = 0; i < whole; i += TWSI_SVD_LANES) {
        const twsi_vd m0 = TWSI_LANE(svd_get)(r0, i, real), m1 = TWSI_LANE(svd_get)(r1, i, real);
        const twsi_vd m2 = TWSI_LANE(svd_get)(r2, i, real), m3 = TWSI_LANE(svd_get)(r3, i, real);
        twsi_vd u;
#define TWSI_SVD_DOT(j)                \
    u = twsi_vd_load(x + j * ldx + i); \
    s0##j = twsi_vd_fma(m0, u, s0##j); \
    s1##j = twsi_vd_fma(m1, u, s1##j); \
    s2##j = twsi_vd_fma(m2, u, s2##j); \
    s3##j = twsi_vd_fma(m3, u, s3##j);
        TWSI_SVD_EACH(TWSI_SVD_DOT)
    }
#define TWSI_SVD_STORE(j)                                      \
    twsi_vd_store(lane + 4 * j * TWSI_SVD_LANES, s0##j);       \
    twsi_vd_store(lane + (4 * j + 1) * TWSI_SVD_LANES, s1##j); \
    twsi_vd_store(lane + (4 * j + 2) * TWSI_SVD_LANES, s2##j); \
    twsi_vd_store(lane + (4 * j + 3) * TWSI_SVD_LANES, s3##j);
    TWSI_SVD_EACH(TWSI_SVD_STORE)
    for (r = 0; r < 4 * (size_t)vectors; r++) {
        double total = 0.0;
        for (k = 0; k < TWSI_SVD_LANES; k++) total += lane[r * TWSI_SVD_LANES + k];
        sum[r] += total;
    }
    for (; i < n; i++)
        for (r = 0; r < 4 * (size_t)vectors; r++)
            sum[r] += TWSI_LANE(svd_get1)(row[r % 4], i, real) * x[r / 4 * ldx + i];
}

/* q_j += sum over r of f[4 j + r] row_r, for four rows. */
TWSI_LANE_INLINE void TWSI_LANE(svd_add)(const void *const *row, int real, size_t n,
                                         const double *f, double *q, size_t ldq, int vectors) {
    const void *r0 = row[0], *r1 = row[1], *r2 = row[2], *r3 = row[3];
    const size_t whole = n - n % TWSI_SVD_LANES;
    size_t i, r;
#define TWSI_SVD_SET(j)                                                                   \
    const twsi_vd f0##j = twsi_vd_set(f[4 * j]), f1##j = twsi_vd_set(f[4 * j + 1]);       \
    const twsi_vd f2##j = twsi_vd_set(f[4 * j + 2]), f3##j = twsi_vd_set(f[4 * j + 3]);
    TWSI_SVD_SET(0) TWSI_SVD_SET(1) TWSI_SVD_SET(2) TWSI_SVD_SET(3)
    for (i = 0; i < whole; i += TWSI_SVD_LANES) {
        const twsi_vd m0 = TWSI_LANE(svd_get)(r0, i, real), m1 = TWSI_LANE(svd_get)(r1, i, real);
        const twsi_vd m2 = TWSI_LANE(svd_get)(r2, i, real), m3 = TWSI_LANE(svd_get)(r3, i, real);
        twsi_vd u;
#define TWSI_SVD_ADD(j)                \
    u = twsi_vd_load(q + j * ldq + i); \
    u = twsi_vd_fma(m0, f0##j, u);     \
    u = twsi_vd_fma(m1, f1##j, u);     \
    u = twsi_vd_fma(m2, f2##j, u);     \
    u = twsi_vd_fma(m3, f3##j, u);     \
    twsi_vd_store(q + j * ldq + i, u);
        TWSI_SVD_EACH(TWSI_SVD_ADD)
    }
    for (; i < n; i++)
        for (r = 0; r < 4 * (size_t)vectors; r++)
            q[r / 4 * ldq + i] += f[r] * TWSI_LANE(svd_get1)(row[r % 4], i, real);
}

/* One function for each kind of matrix and number of vectors. */
#define TWSI_SVD_INSTANCE(kind, real, vectors)                                                   \
    TWSI_LANE_FN void TWSI_LANE(svd_dot_##kind##vectors)(const void *const *row, size_t n,        \
                                                         const double *x, size_t ldx,             \
                                                         double *sum) {                           \
        TWSI_LANE(svd_dot)(row, real, n, x, ldx, vectors, sum);                                   \
    }                                                                                             \
    TWSI_LANE_FN void TWSI_LANE(svd_add_##kind##vectors)(const void *const *row, size_t n,        \
                                                         const double *f, double *q, size_t ldq) { \
        TWSI_LANE(svd_add)(row, real, n, f, q, ldq, vectors);                                     \
    }
TWSI_SVD_INSTANCE(real, 1, 1)
TWSI_SVD_INSTANCE(real, 1, 2)
TWSI_SVD_INSTANCE(real, 1, 4)
TWSI_SVD_INSTANCE(double, 0, 1)
TWSI_SVD_INSTANCE(double, 0, 2)
TWSI_SVD_INSTANCE(double, 0, 4)
#undef TWSI_SVD_INSTANCE
#undef TWSI_SVD_ZERO
#undef TWSI_SVD_DOT
#undef TWSI_SVD_STORE
#undef TWSI_SVD_SET
#undef TWSI_SVD_ADD

/* One slab, 1, 2 or 4 vectors: p = A x, unless x is NULL, then q += factor A^T p, unless q is
   NULL; with reals p = factor A x, so that the matrix may be scaled. Rows go four by four; past
   the last row the last one stands in, with weight zero. */
TWSI_LANE_FN void TWSI_LANE(svd_slab)(const void *a, int real, size_t ld, size_t rows, size_t n,
                                      const double *x, size_t ldx, size_t vectors, double factor,
                                      double *p, size_t ldp, double *q, size_t ldq) {
    void (*const dots[2][5])(const void *const *, size_t, const double *, size_t, double *) = {
        {NULL, TWSI_LANE(svd_dot_double1), TWSI_LANE(svd_dot_double2), NULL,
         TWSI_LANE(svd_dot_double4)},
        {NULL, TWSI_LANE(svd_dot_real1), TWSI_LANE(svd_dot_real2), NULL,
         TWSI_LANE(svd_dot_real4)}};
    void (*const adds[2][5])(const void *const *, size_t, const double *, double *, size_t) = {
        {NULL, TWSI_LANE(svd_add_double1), TWSI_LANE(svd_add_double2), NULL,
         TWSI_LANE(svd_add_double4)},
        {NULL, TWSI_LANE(svd_add_real1), TWSI_LANE(svd_add_real2), NULL,
         TWSI_LANE(svd_add_real4)}};
    const void *row[4];
    double sum[16];
    size_t first, tile, i, j, r;
    if (x != NULL)
        for (i = 0; i < rows; i++)
            for (j = 0; j < vectors; j++) p[j * ldp + i] = 0.0;
    for (tile = 0; x != NULL && tile < n; tile += TWSI_SVD_TILE)
        for (i = 0; i < rows; i += 4) {
            const size_t live = twsi_min(4, rows - i);
            for (r = 0; r < 16; r++) sum[r] = 0.0;
            for (r = 0; r < 4; r++)
                row[r] = TWSI_LANE(svd_row)(a, (i + twsi_min(r, live - 1)) * ld + tile, real);
            dots[real][vectors](row, twsi_min(TWSI_SVD_TILE, n - tile), x + tile, ldx, sum);
            for (r = 0; r < live; r++)
                for (j = 0; j < vectors; j++) p[j * ldp + i + r] += sum[4 * j + r];
        }
    if (x != NULL && real && factor != 1.0)
        for (i = 0; i < rows; i++)
            for (j = 0; j < vectors; j++) p[j * ldp + i] *= factor;
    for (first = 0; q != NULL && first < n; first += TWSI_SVD_TILE)
        for (i = 0; i < rows; i += 4) {
            const size_t live = twsi_min(4, rows - i);
            for (r = 0; r < 16; r++) sum[r] = 0.0;
            for (r = 0; r < live; r++)
                for (j = 0; j < vectors; j++) sum[4 * j + r] = factor * p[j * ldp + i + r];
            for (r = 0; r < 4; r++)
                row[r] = TWSI_LANE(svd_row)(a, (i + twsi_min(r, live - 1)) * ld + first, real);
            adds[real][vectors](row, twsi_min(TWSI_SVD_TILE, n - first), sum, q + first, ldq);
        }
}

/* How many of the remaining vectors go together: four need 32 registers. */
TWSI_LANE_INLINE size_t TWSI_LANE(svd_together)(size_t count) {
    return TWSI_SVD_QUAD && count >= 4 ? 4 : count >= 2 ? 2 : 1;
}

/* The same for any number of rows and vectors: vector j is x + j ldx, p + j ldp, q + j ldq. */
TWSI_LANE_FN void TWSI_LANE(svd_rows)(const void *a, int real, size_t ld, size_t rows,
                                          size_t n, const double *x, size_t ldx, size_t count,
                                          double factor, double *p, size_t ldp, double *q,
                                          size_t ldq) {
    const size_t slab = twsi_max(4, twsi_min(64, TWSI_SVD_SLAB / twsi_max(1, n) / 4 * 4));
    size_t i, j;
    for (i = 0; i < rows; i += slab) {
        const void *b = TWSI_LANE(svd_row)(a, i * ld, real);
        const size_t h = twsi_min(slab, rows - i);
        for (j = 0; j < count; j += TWSI_LANE(svd_together)(count - j))
            TWSI_LANE(svd_slab)(b, real, ld, h, n, x != NULL ? x + j * ldx : NULL, ldx,
                                TWSI_LANE(svd_together)(count - j), factor, p + j * ldp + i, ldp,
                                q != NULL ? q + j * ldq : NULL, ldq);
    }
}

TWSI_LANE_FN void TWSI_LANE(svd_real)(const tws_real *a, size_t ld, size_t rows, size_t n,
                                      const double *x, size_t ldx, size_t count, double factor,
                                      double *p, size_t ldp, double *q, size_t ldq) {
    TWSI_LANE(svd_rows)(a, 1, ld, rows, n, x, ldx, count, factor, p, ldp, q, ldq);
}
TWSI_LANE_FN void TWSI_LANE(svd_double)(const double *a, size_t ld, size_t rows, size_t n,
                                        const double *x, size_t ldx, size_t count, double factor,
                                        double *p, size_t ldp, double *q, size_t ldq) {
    TWSI_LANE(svd_rows)(a, 0, ld, rows, n, x, ldx, count, factor, p, ldp, q, ldq);
}

/* (a, b) <- (c a + s b, c b - s a), entry by entry. */
TWSI_LANE_FN void TWSI_LANE(svd_rotate)(double *a, double *b, size_t n, double c, double s) {
    const twsi_vd vc = twsi_vd_set(c), vs = twsi_vd_set(s), ns = twsi_vd_set(-s);
    const size_t whole = n - n % TWSI_SVD_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_SVD_LANES) {
        const twsi_vd x = twsi_vd_load(a + i), y = twsi_vd_load(b + i);
        twsi_vd_store(a + i, twsi_vd_fma(vc, x, vs * y));
        twsi_vd_store(b + i, twsi_vd_fma(vc, y, ns * x));
    }
    for (; i < n; i++) {
        const double x = a[i], y = b[i];
        a[i] = c * x + s * y;
        b[i] = c * y - s * x;
    }
}

/* y += f a + g b */
TWSI_LANE_FN void TWSI_LANE(svd_add2)(double *y, size_t n, double f, const double *a, double g,
                                      const double *b) {
    const twsi_vd vf = twsi_vd_set(f), vg = twsi_vd_set(g);
    const size_t whole = n - n % TWSI_SVD_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_SVD_LANES) {
        const twsi_vd first = twsi_vd_fma(vf, twsi_vd_load(a + i), twsi_vd_load(y + i));
        twsi_vd_store(y + i, twsi_vd_fma(vg, twsi_vd_load(b + i), first));
    }
    for (; i < n; i++) y[i] += f * a[i] + g * b[i];
}

/* y += f x */
TWSI_LANE_FN void TWSI_LANE(svd_gather)(double *y, size_t n, double f, const tws_real *x) {
    const twsi_vd vf = twsi_vd_set(f);
    const size_t whole = n - n % TWSI_SVD_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_SVD_LANES)
        twsi_vd_store(y + i, twsi_vd_fma(vf, twsi_vd_widen(x + i), twsi_vd_load(y + i)));
    for (; i < n; i++) y[i] += f * (double)x[i];
}

#undef twsi_vd
#undef twsi_vd_load
#undef twsi_vd_store
#undef twsi_vd_widen
#undef twsi_vd_set
#undef twsi_vd_fma
#undef TWSI_SVD_LANES
#undef TWSI_SVD_BYTES

/* ---- singular values: q += M^T (M x) for a few vectors, in the precision of the matrix ---- */

TWSI_LANE_INLINE double TWSI_LANE(svd_lanes)(twsi_v v) {
    tws_real lane[TWSI_LANES];
    size_t width, k;
    twsi_store(lane, v);
    for (width = TWSI_LANES / 2; width > 0; width /= 2)
        for (k = 0; k < width; k++) lane[k] += lane[k + width];
    return (double)lane[0];
}

/* Rows at work together. Eight rows and two vectors leave sixteen sums, enough to hide how long one
   takes, and need 27 registers. */
#if TWSI_SVD_QUAD
#define TWSI_SVD_TALL 8
#define TWSI_SVD_TALL_EACH(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)
#else
#define TWSI_SVD_TALL 4
#define TWSI_SVD_TALL_EACH(DO) DO(0) DO(1) DO(2) DO(3)
#endif

/* A word of the next rows, on its way to the second cache while these rows are at work: every
   second row during M x, the others during M^T (M x), so that memory never waits. */
#if TWSI_PASS == TWSI_PASS_PLAIN
#define TWSI_SVD_FETCH(p) (void)(p)
#else
#define TWSI_SVD_FETCH(p) __builtin_prefetch(p, 0, 2)
#endif

/* Holds a vector of the matrix in its register: a compiler may else make its load a part of both
   products, and read the matrix twice. */
#if TWSI_PASS == TWSI_PASS_AVX512
#define TWSI_SVD_HOLD(v) __asm__("" : "+v"(v))
#elif TWSI_PASS == TWSI_PASS_AVX2 || TWSI_PASS == TWSI_PASS_SSE2
#define TWSI_SVD_HOLD(v) __asm__("" : "+x"(v))
#elif TWSI_PASS == TWSI_PASS_NEON
#define TWSI_SVD_HOLD(v) __asm__("" : "+w"(v))
#else
#define TWSI_SVD_HOLD(v) (void)(v)
#endif

/* sum[2 r + j] = row_r . x_j */
TWSI_LANE_INLINE void TWSI_LANE(svd_dots)(const tws_real *const *row, size_t n, const tws_real *x0,
                                          const tws_real *x1, int vectors, double *sum,
                                          size_t ahead) {
    const size_t whole = n - n % TWSI_LANES;
    size_t i, r;
#define TWSI_SVD_ZERO(r) twsi_v s##r = twsi_set(0), t##r = s##r;
    TWSI_SVD_TALL_EACH(TWSI_SVD_ZERO)
    for (i = 0; i < whole; i += TWSI_LANES) {
        const twsi_v u0 = twsi_load(x0 + i), u1 = twsi_load(x1 + i);
        twsi_v m;
#define TWSI_SVD_DOT(r)                                 \
    if (r % 2 == 0) TWSI_SVD_FETCH(row[r] + ahead + i); \
    m = twsi_load(row[r] + i);                          \
    TWSI_SVD_HOLD(m);                                   \
    s##r = twsi_fma(m, u0, s##r);                       \
    if (vectors == 2) t##r = twsi_fma(m, u1, t##r);
        TWSI_SVD_TALL_EACH(TWSI_SVD_DOT)
    }
#define TWSI_SVD_SUM(r)                         \
    sum[2 * r] = TWSI_LANE(svd_lanes)(s##r);    \
    sum[2 * r + 1] = vectors == 2 ? TWSI_LANE(svd_lanes)(t##r) : 0.0;
    TWSI_SVD_TALL_EACH(TWSI_SVD_SUM)
    for (; i < n; i++)
        for (r = 0; r < TWSI_SVD_TALL; r++) {
            sum[2 * r] += (double)(row[r][i] * x0[i]);
            sum[2 * r + 1] += (double)(row[r][i] * x1[i]);
        }
}

/* q_j += sum over r of f[2 r + j] row_r */
TWSI_LANE_INLINE void TWSI_LANE(svd_adds)(const tws_real *const *row, size_t n, const tws_real *f,
                                          int vectors, tws_real *q0, tws_real *q1, size_t ahead) {
    const size_t whole = n - n % TWSI_LANES;
    size_t i, r;
#define TWSI_SVD_SET(r) const twsi_v f##r = twsi_set(f[2 * r]), g##r = twsi_set(f[2 * r + 1]);
    TWSI_SVD_TALL_EACH(TWSI_SVD_SET)
    for (i = 0; i < whole; i += TWSI_LANES) {
        twsi_v u0 = twsi_load(q0 + i), u1 = twsi_load(q1 + i), m;
#define TWSI_SVD_ADD(r)                                 \
    if (r % 2 == 1) TWSI_SVD_FETCH(row[r] + ahead + i); \
    m = twsi_load(row[r] + i);                          \
    TWSI_SVD_HOLD(m);                                   \
    u0 = twsi_fma(m, f##r, u0);                         \
    if (vectors == 2) u1 = twsi_fma(m, g##r, u1);
        TWSI_SVD_TALL_EACH(TWSI_SVD_ADD)
        twsi_store(q0 + i, u0);
        if (vectors == 2) twsi_store(q1 + i, u1);
    }
    for (; i < n; i++)
        for (r = 0; r < TWSI_SVD_TALL; r++) {
            q0[i] += f[2 * r] * row[r][i];
            if (vectors == 2) q1[i] += f[2 * r + 1] * row[r][i];
        }
}

/* One slab of rows, one vector (x1 is x0, q1 is q0) or two. Past the last row the last one stands
   in, with weight zero. The slab that follows ahead numbers later is fetched. */
TWSI_LANE_INLINE void TWSI_LANE(svd_square)(const tws_real *a, size_t ld, size_t rows, size_t n,
                                            const tws_real *x0, const tws_real *x1, int vectors,
                                            tws_real factor, tws_real *q0, tws_real *q1,
                                            size_t ahead) {
    double sum[2 * (TWSI_SVD_ROWS + TWSI_SVD_TALL)];
    tws_real f[2 * TWSI_SVD_TALL];
    const tws_real *row[TWSI_SVD_TALL];
    size_t i, j, r;
    for (i = 0; i < rows; i += TWSI_SVD_TALL) {
        for (r = 0; r < TWSI_SVD_TALL; r++) row[r] = a + twsi_min(i + r, rows - 1) * ld;
        TWSI_LANE(svd_dots)(row, n, x0, x1, vectors, sum + 2 * i, ahead);
    }
    for (i = 0; i < rows; i += TWSI_SVD_TALL) {
        for (r = 0; r < TWSI_SVD_TALL; r++) row[r] = a + twsi_min(i + r, rows - 1) * ld;
        for (j = 0; j < 2 * TWSI_SVD_TALL; j++)
            f[j] = i + j / 2 < rows ? factor * (tws_real)sum[2 * i + j] : (tws_real)0;
        TWSI_LANE(svd_adds)(row, n, f, vectors, q0, q1, ahead);
    }
}

TWSI_LANE_FN void TWSI_LANE(svd_square1)(const tws_real *a, size_t ld, size_t rows, size_t n,
                                         const tws_real *x, tws_real factor, tws_real *q,
                                         size_t ahead) {
    TWSI_LANE(svd_square)(a, ld, rows, n, x, x, 1, factor, q, q, ahead);
}

TWSI_LANE_FN void TWSI_LANE(svd_square2)(const tws_real *a, size_t ld, size_t rows, size_t n,
                                         const tws_real *x, size_t ldx, tws_real factor,
                                         tws_real *q, size_t ldq, size_t ahead) {
    TWSI_LANE(svd_square)(a, ld, rows, n, x, x + ldx, 2, factor, q, q + ldq, ahead);
}

/* Any number of rows and vectors, slab by slab. */
TWSI_LANE_FN void TWSI_LANE(svd_pass)(const tws_real *a, size_t ld, size_t rows, size_t n,
                                      const tws_real *x, size_t ldx, size_t count, tws_real factor,
                                      tws_real *q, size_t ldq) {
    const size_t fitting = TWSI_SVD_HALF_SLAB / n / TWSI_SVD_TALL * TWSI_SVD_TALL;
    const size_t slab = twsi_max(TWSI_SVD_TALL, twsi_min(TWSI_SVD_ROWS, fitting));
    size_t i, j;
    for (i = 0; i < rows; i += slab) {
        const size_t h = twsi_min(slab, rows - i), ahead = i + 2 * slab <= rows ? slab * ld : 0;
        for (j = 0; j + 2 <= count; j += 2)
            TWSI_LANE(svd_square2)(a + i * ld, ld, h, n, x + j * ldx, ldx, factor, q + j * ldq, ldq,
                                   ahead);
        if (j < count)
            TWSI_LANE(svd_square1)(a + i * ld, ld, h, n, x + j * ldx, factor, q + j * ldq, ahead);
    }
}

#undef TWSI_SVD_EACH
#undef TWSI_SVD_FETCH
#undef TWSI_SVD_HOLD
#undef TWSI_SVD_TALL
#undef TWSI_SVD_TALL_EACH
#undef TWSI_SVD_QUAD
#undef TWSI_SVD_ZERO
#undef TWSI_SVD_DOT
#undef TWSI_SVD_SUM
#undef TWSI_SVD_SET
#undef TWSI_SVD_ADD

/* ---- sums of rows ---- */

/* out = a + factor b */
TWSI_LANE_FN void TWSI_LANE(row_sum)(tws_real *out, const tws_real *a, tws_real factor,
                                     const tws_real *b, size_t count) {
    const twsi_v f = twsi_set(factor);
    const size_t whole = count - count % TWSI_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_LANES)
        twsi_store(out + i, twsi_fma(f, twsi_load(b + i), twsi_load(a + i)));
    for (; i < count; i++) out[i] = a[i] + factor * b[i];
}

/* sum += weight x */
TWSI_LANE_FN void TWSI_LANE(axpy)(tws_real *sum, tws_real weight, const tws_real *x,
                                  size_t count) {
    const twsi_v w = twsi_set(weight);
    const size_t whole = count - count % TWSI_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_LANES)
        twsi_store(sum + i, twsi_fma(w, twsi_load(x + i), twsi_load(sum + i)));
    for (; i < count; i++) sum[i] += weight * x[i];
}

/* out = factor x */
TWSI_LANE_FN void TWSI_LANE(scaled_copy)(tws_real *out, tws_real factor, const tws_real *x,
                                         size_t count) {
    const twsi_v f = twsi_set(factor);
    const size_t whole = count - count % TWSI_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_LANES) twsi_store(out + i, f * twsi_load(x + i));
    for (; i < count; i++) out[i] = factor * x[i];
}

/* The largest |x|, or -1 if one is not finite: x - x is 0 for a finite number and NaN for any
   other, and bits of NaN survive every OR. */
TWSI_LANE_FN tws_real TWSI_LANE(largest)(const tws_real *x, size_t count) {
    twsi_v most = twsi_set(0);
    twsi_vi bad = twsi_seti(0);
    TWSI_INT lanes[TWSI_LANES], any = 0;
    tws_real sizes[TWSI_LANES], all = 0;
    const size_t whole = count - count % TWSI_LANES;
    size_t i;
    for (i = 0; i < whole; i += TWSI_LANES) {
        const twsi_v v = twsi_load(x + i), size = TWSI_LANE(magnitude)(v);
        bad |= twsi_bits(v - v);
        most = twsi_select(twsi_less(most, size), size, most);
    }
    memcpy(lanes, &bad, sizeof lanes);
    twsi_store(sizes, most);
    for (; i < count; i++) {
        const tws_real size = x[i] < 0 ? -x[i] : x[i];
        any |= !(x[i] - x[i] <= 0);
        all = size > all ? size : all;
    }
    for (i = 0; i < TWSI_LANES; i++) {
        any |= lanes[i];
        all = sizes[i] > all ? sizes[i] : all;
    }
    return any == 0 ? all : -1;
}

/* which file this is, to be asked after the passes */
#undef TWSI_PASS_VERSION
#define TWSI_PASS_VERSION TWS_VERSION

/* ---- the table of this pass ---- */
#ifdef TWSI_GEMM_HAS_SMALL
#define TWSI_GEMM_SMALL_OR_NULL TWSI_LANE(gemm_small)
#else
#define TWSI_GEMM_SMALL_OR_NULL NULL
#endif
#define TWSI_LANE_HEAD TWSI_LANE(normals), TWSI_LANE(activate)
#define TWSI_LANE_TAIL                                                                            \
    TWSI_LANE(svd_real), TWSI_LANE(svd_double), TWSI_LANE(svd_pass), TWSI_LANE(row_sum),          \
        TWSI_LANE(svd_gather), TWSI_LANE(svd_rotate), TWSI_LANE(svd_add2), TWSI_LANE(axpy),       \
        TWSI_LANE(scaled_copy), TWSI_LANE(largest)
static const twsi_kernels TWSI_LANE(kernels) = {
    TWSI_KERNEL_ID,
    TWSI_LANE_HEAD,
    TWSI_LANE(gemm_row_count),
    TWSI_LANE(gemm_column_count),
    TWSI_LANE(gemm_depth),
    TWSI_LANE(gemm_block_columns),
    TWSI_LANES,
    1,
    2,
    TWSI_LANE(gemm_pack),
    TWSI_LANE(gemm_pack),
    TWSI_LANE(gemm_block),
    NULL,
    TWSI_GEMM_SMALL_OR_NULL,
    TWSI_LANE_TAIL,
};
#if defined(TWSI_AMX) && TWSI_PASS == TWSI_PASS_AVX512
static const twsi_kernels twsi_kernels_amx = {
    TWS_KERNEL_AMX,
    TWSI_LANE_HEAD,
    TWSI_AMX_TILE,
    TWSI_AMX_TILE,
    TWSI_AMX_DEPTH,
    TWSI_AMX_BLOCK_COLUMNS,
    0,
    TWSI_AMX_TERMS,
    3,
    twsi_amx_pack_a,
    twsi_amx_pack_b,
    twsi_amx_block,
    &twsi_kernels_avx512,
    NULL,
    TWSI_LANE_TAIL,
};
#endif
#undef TWSI_LANE_HEAD
#undef TWSI_LANE_TAIL
#undef TWSI_GEMM_SMALL_OR_NULL
#undef TWSI_GEMM_HAS_SMALL

#undef twsi_v
#undef twsi_vi
#undef twsi_vu
#undef twsi_load
#undef twsi_store
#undef twsi_set
#undef twsi_seti
#undef twsi_bits
#undef twsi_from_bits
#undef twsi_to_real
#undef twsi_to_int
#undef twsi_less
#undef twsi_select
#undef twsi_vsqrt
#undef twsi_fma
#undef TWSI_LANE
#undef TWSI_LANE_FN
#undef TWSI_LANE_INLINE
#undef TWSI_LANES
#undef TWSI_BYTES
#undef TWSI_TARGET
#undef TWSI_KERNEL_ID
#undef TWSI_INT
#undef TWSI_UINT
#endif /* TWSI_PASS */

#if defined(TWSI_IMPLEMENTING) && !defined(TWSI_PASS)

#define TWSI_PASS TWSI_PASS_PLAIN
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#ifdef TWSI_X86
#define TWSI_PASS TWSI_PASS_SSE2
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#define TWSI_PASS TWSI_PASS_AVX2
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#define TWSI_PASS TWSI_PASS_AVX512
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#endif
#ifdef TWSI_NEON
#define TWSI_PASS TWSI_PASS_NEON
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#endif
#ifdef TWSI_WASM
#define TWSI_PASS TWSI_PASS_WASM
#include TWOSTEP_FILENAME
#undef TWSI_PASS
#endif

#if !defined(TWSI_PASS_VERSION) || TWSI_PASS_VERSION != TWS_VERSION
#error "twostep.h: TWOSTEP_FILENAME names another file; define it as this file's own name"
#endif

/* ==========================================================================
 * @@DISPATCH: from a kernel's name to its inner loops; a team opened with them
 * ========================================================================== */

TWSI_FN const twsi_kernels *twsi_find_kernels(tws_kernel kernel) {
    switch (kernel) {
#ifdef TWSI_X86
    case TWS_KERNEL_SSE2: return &twsi_kernels_sse2;
    case TWS_KERNEL_AVX2: return &twsi_kernels_avx2;
    case TWS_KERNEL_AVX512: return &twsi_kernels_avx512;
#endif
#ifdef TWSI_AMX
    case TWS_KERNEL_AMX: return &twsi_kernels_amx;
#endif
#ifdef TWSI_NEON
    case TWS_KERNEL_NEON: return &twsi_kernels_neon;
#endif
#ifdef TWSI_WASM
    case TWS_KERNEL_WASM: return &twsi_kernels_wasm;
#endif
    default: return &twsi_kernels_plain;
    }
}

/* Checks the context and starts the workers: at most wanted of them, as a small job is faster
   alone (workers that are there already are all called). AUTO goes up to the kernel last. A thread
   that cannot be started is done without. Close the team also after a failure. */
TWSI_FN tws_status twsi_team_start(twsi_team *team, tws_context *context, tws_kernel last,
                                   size_t wanted) {
    const int automatic = context == NULL || context->kernel == TWS_KERNEL_AUTO;
    const tws_kernel kernel = automatic ? twsi_fastest_kernel(last) : context->kernel;
    twsi_team_clear(team);
    team->context = context;
    if (!automatic && !tws_kernel_available(kernel))
        return twsi_fail(context, TWS_UNAVAILABLE,
                         "context.kernel is %d (%s), which this machine or build does not have",
                         (int)kernel, tws_kernel_name(kernel));
    if (!automatic && !twsi_kernel_ready(kernel))
        return twsi_fail(context, TWS_UNAVAILABLE,
                         "context.kernel is amx, and the system does not let this process have it");
    if (context != NULL && context->threads > TWSI_MAX_THREADS)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "context.threads is %u, allowed are 0 to %d",
                         context->threads, TWSI_MAX_THREADS);
    if (twsi_check_allocator(context) != TWS_OK) return TWS_BAD_ARGUMENT;
    team->kernels = twsi_find_kernels(kernel);
    team->workers = 1; /* enough for a small job, and to count the cores takes as long as many */
    if (wanted > 1) team->workers = tws_context_threads(context);
    if (context == NULL || context->parallel_for == NULL) /* theirs have any slot */
        team->workers = (unsigned)twsi_max(1, twsi_min(team->workers, wanted));
#ifdef TWSI_THREADS
    if (team->workers > 1 && (context == NULL || context->parallel_for == NULL)) {
        TWSI_MUTEX_INIT(&team->mutex);
        TWSI_SIGNAL_INIT(&team->work);
        TWSI_SIGNAL_INIT(&team->done);
        while (team->started + 1 < team->workers) {
            twsi_seat *seat = &team->seats[team->started];
            seat->team = team;
            seat->worker = team->started + 1;
            if (!twsi_thread_start(seat)) break;
            team->started++;
        }
        if (team->started == 0) {
            TWSI_SIGNAL_FREE(&team->done);
            TWSI_SIGNAL_FREE(&team->work);
            TWSI_MUTEX_FREE(&team->mutex);
        }
    }
#endif
    return TWS_OK;
}

TWSI_FN tws_status twsi_team_open(twsi_team *team, tws_context *context, size_t wanted) {
    return twsi_team_start(team, context, TWSI_AUTO_LAST_SMALL, wanted);
}

/* For large products. */
TWSI_FN tws_status twsi_team_open_tiles(twsi_team *team, tws_context *context, size_t wanted) {
    return twsi_team_start(team, context, TWSI_AUTO_LAST, wanted);
}

TWSI_FN void twsi_team_close(twsi_team *team) {
#ifdef TWSI_THREADS
    unsigned i;
    if (team->started == 0) return;
    TWSI_LOCK(&team->mutex);
    team->closing = 1;
    TWSI_POST(team->round, team->round + 1); /* for those who wait awake */
    TWSI_WAKE_ALL(&team->work);
    TWSI_UNLOCK(&team->mutex);
    for (i = 0; i < team->started; i++) twsi_thread_join(&team->seats[i]);
    TWSI_SIGNAL_FREE(&team->done);
    TWSI_SIGNAL_FREE(&team->work);
    TWSI_MUTEX_FREE(&team->mutex);
    team->started = 0;
#else
    (void)team;
#endif
}

/* ---- workers for many calls ---- */

TWS_API tws_status tws_start_workers(tws_context *context) {
    twsi_workers *workers;
    twsi_pool pool;
    tws_status status = TWS_OK;
    if (context == NULL) return TWS_BAD_ARGUMENT;
    if (context->parallel_for != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "context.parallel_for is set, and would be replaced: it must be NULL");
    twsi_pool_open(&pool, context);
    workers = (twsi_workers *)twsi_take(&pool, 1, sizeof *workers);
    if (workers == NULL)
        status = twsi_fail(context, pool.status, "no memory for %u workers (context.threads)",
                           tws_context_threads(context));
    if (status == TWS_OK) {
        status = twsi_team_start(&workers->team, context, TWS_KERNEL_PLAIN, TWSI_MAX_THREADS);
        if (status != TWS_OK) twsi_team_close(&workers->team);
    }
    if (status != TWS_OK) {
        twsi_pool_close(&pool);
        return status;
    }
    workers->pool = pool;
    workers->threads = context->threads;
    context->threads = workers->team.workers;
    context->parallel_for = twsi_workers_run;
    context->parallel_user = workers;
    return TWS_OK;
}

TWS_API void tws_stop_workers(tws_context *context) {
    twsi_workers *workers;
    twsi_pool pool;
    if (context == NULL || context->parallel_for != twsi_workers_run) return;
    workers = (twsi_workers *)context->parallel_user;
    context->threads = workers->threads;
    context->parallel_for = NULL;
    context->parallel_user = NULL;
    twsi_team_close(&workers->team);
    pool = workers->pool;
    twsi_pool_close(&pool);
}

/* ==========================================================================
 * @@RANDOM: streams, bits, uniforms, normals
 *
 * A stream is sixteen xoshiro128++ generators side by side, so that the widest vector and the
 * plainest C draw the same numbers. Its key (seed, purpose, row) is mixed by splitmix64 into a
 * counter of 64 bits, and splitmix64 from there fills the state. Among R rows some two share part
 * of their numbers with probability about R^2 2^-60: 2^-12 for 2^24 rows.
 * ========================================================================== */

/* The next output of splitmix64 (Steele, Lea and Flood 2014). */
TWSI_FN uint64_t twsi_splitmix64(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

TWSI_FN void twsi_random_seed(uint32_t (*state)[TWS_RANDOM_LANES], uint64_t seed,
                              uint32_t purpose, uint64_t row) {
    uint64_t key = seed;
    size_t lane;
    key = twsi_splitmix64(&key) ^ purpose;
    key = twsi_splitmix64(&key) ^ row;
    key = twsi_splitmix64(&key);
    for (lane = 0; lane < TWS_RANDOM_LANES; lane++) {
        const uint64_t low = twsi_splitmix64(&key), high = twsi_splitmix64(&key);
        state[0][lane] = (uint32_t)low;
        state[1][lane] = (uint32_t)(low >> 32);
        state[2][lane] = (uint32_t)high;
        state[3][lane] = (uint32_t)(high >> 32);
    }
}

TWS_API tws_random tws_random_stream(uint64_t seed, uint32_t purpose, uint64_t row) {
    tws_random random;
    memset(&random, 0, sizeof random);
    twsi_random_seed(random.state, seed, purpose, row);
    return random;
}

TWS_API uint32_t tws_random_bits(tws_random *random) {
    if (random->words_left == 0) {
        twsi_random_step(random->state, random->words);
        random->words_left = TWS_RANDOM_LANES;
    }
    return random->words[TWS_RANDOM_LANES - random->words_left--];
}

TWS_API double tws_random_uniform(tws_random *random) {
    const uint64_t high = tws_random_bits(random), low = tws_random_bits(random);
    return (double)((((high << 32) | low) >> 12) * 2 + 1) * (1.0 / 9007199254740992.0);
}

TWS_API uint32_t tws_random_below(tws_random *random, uint32_t bound) {
    uint64_t product = (uint64_t)tws_random_bits(random) * bound;
    if ((uint32_t)product < bound) {
        const uint32_t reject = (uint32_t)(0u - bound) % bound;
        while ((uint32_t)product < reject) product = (uint64_t)tws_random_bits(random) * bound;
    }
    return (uint32_t)(product >> 32);
}

/* count normals of a stream from its beginning or after whole blocks. */
TWSI_FN void twsi_normals(const twsi_kernels *kernels, uint32_t (*state)[TWS_RANDOM_LANES],
                          tws_real *out, size_t count) {
    const size_t blocks = count / TWSI_NORMAL_BLOCK, rest = count % TWSI_NORMAL_BLOCK;
    kernels->normals(state, out, blocks);
    if (rest > 0) {
        tws_real last[TWSI_NORMAL_BLOCK];
        kernels->normals(state, last, 1);
        memcpy(out + blocks * TWSI_NORMAL_BLOCK, last, rest * sizeof(tws_real));
    }
}

TWS_API tws_status tws_random_normals(tws_context *context, tws_random *random, tws_real *out,
                                      size_t count) {
    twsi_team team;
    tws_status status;
    if (random == NULL || (out == NULL && count > 0))
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         random == NULL ? "random" : "out");
    status = twsi_team_open(&team, context, 1);
    if (status == TWS_OK) {
        size_t blocks;
        for (; count > 0 && random->normals_left > 0; count--)
            *out++ = random->normals[TWSI_NORMAL_BLOCK - random->normals_left--];
        blocks = count / TWSI_NORMAL_BLOCK;
        team.kernels->normals(random->state, out, blocks);
        out += blocks * TWSI_NORMAL_BLOCK;
        count %= TWSI_NORMAL_BLOCK;
        if (count > 0) {
            team.kernels->normals(random->state, random->normals, 1);
            memcpy(out, random->normals, count * sizeof(tws_real));
            random->normals_left = (unsigned)(TWSI_NORMAL_BLOCK - count);
        }
    }
    twsi_team_close(&team);
    return status;
}

typedef struct twsi_matrix_job {
    const twsi_kernels *kernels;
    uint64_t seed, first;
    uint32_t purpose;
    size_t rows, columns, ld;
    tws_real *out;
} twsi_matrix_job;

/* Rows are handed out in groups, large beside the cost of claiming one. */
#define TWSI_ROW_GROUP 16

TWSI_FN void twsi_matrix_task(void *data, size_t index, size_t worker) {
    const twsi_matrix_job *job = (const twsi_matrix_job *)data;
    const size_t end = twsi_min(job->rows, (index + 1) * TWSI_ROW_GROUP);
    size_t row;
    (void)worker;
    for (row = index * TWSI_ROW_GROUP; row < end; row++) {
        uint32_t state[4][TWS_RANDOM_LANES];
        twsi_random_seed(state, job->seed, job->purpose, job->first + row);
        twsi_normals(job->kernels, state, job->out + row * job->ld, job->columns);
    }
}

TWSI_FN void twsi_random_matrix(twsi_team *team, uint64_t seed, uint32_t purpose, uint64_t first,
                                size_t rows, size_t columns, tws_real *out, size_t ld) {
    twsi_matrix_job job;
    job.kernels = team->kernels;
    job.seed = seed;
    job.purpose = purpose;
    job.first = first;
    job.rows = rows;
    job.columns = columns;
    job.out = out;
    job.ld = ld;
    twsi_run(team, twsi_ceil_div(rows, TWSI_ROW_GROUP), twsi_matrix_task, &job);
}

/* A sentence where a matrix argument is impossible; TWS_OK where it can be used. */
TWSI_FN tws_status twsi_check_matrix(tws_context *context, const char *name, const void *matrix,
                                     size_t rows, size_t columns, size_t ld) {
    if (rows == 0 || columns == 0) return TWS_OK;
    if (matrix == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL", name);
    if (ld < columns)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "the leading dimension of %s is %lu, it must be at least %lu", name,
                         (unsigned long)ld, (unsigned long)columns);
    if (!twsi_fits(rows, ld, sizeof(tws_real)))
        return twsi_fail(context, TWS_TOO_LARGE, "%s with %lu rows of %lu does not fit in memory",
                         name, (unsigned long)rows, (unsigned long)ld);
    return TWS_OK;
}

TWS_API tws_status tws_random_matrix(tws_context *context, uint64_t seed, uint32_t purpose,
                                     uint64_t first, size_t rows, size_t columns, tws_real *out,
                                     size_t ld) {
    twsi_team team;
    tws_status status = twsi_check_matrix(context, "out", out, rows, columns, ld);
    if (status != TWS_OK || rows == 0 || columns == 0) return status;
    status = twsi_team_open(&team, context, rows / TWSI_ROW_GROUP * columns / 16384 + 1);
    if (status == TWS_OK) twsi_random_matrix(&team, seed, purpose, first, rows, columns, out, ld);
    twsi_team_close(&team);
    return status;
}

/* ==========================================================================
 * @@FUNCTIONS: names, checks, targets, activations over arrays
 *
 * Names are compared letter by letter. Coefficients of hermite:c0,c1,... are read by a parser of
 * our own: the C library's would follow the locale's decimal point and take hexadecimal, infinity
 * and leading blanks.
 *
 * The steps' heights are solved for. step4 is constant on u < 0, [0, 1), [1, 2) and u >= 2. Its
 * means against 1, u and u^2 - 1 vanish: three linear equations in four heights, whose coefficients
 * are the integrals of phi, u phi and (u^2 - 1) phi over the pieces, that is the differences of
 * Phi, -phi and -u phi between their ends. The solution is the generalised cross product of the
 * three rows, scaled to unit variance with the last height positive. step3 is sign(u) times an
 * inner height for |u| <= 2 and an outer one beyond, with E[u y] = 0 and E y^2 = 1.
 * ========================================================================== */

/* ---- names ---- */

TWS_API const char *tws_activation_name(tws_activation_kind kind) {
    static const char *const name[] = {
        "tanh", "shifted-tanh", "erf",  "sigmoid", "shifted-sigmoid", "softplus", "gelu",
        "silu", "relu",         "sine", "cubic",   "hermite",         "custom"};
    return (int)kind >= 0 && (int)kind < (int)TWS_ACTIVATION_COUNT ? name[kind] : "?";
}

TWS_API const char *tws_target_name(tws_target_kind kind) {
    static const char *const name[] = {
        "linear",   "he2",      "he3",           "he4",       "sign",
        "tanh",     "sin",      "relu",          "square",    "wave",
        "step3",    "step4",    "hermite",       "product2",  "product3",
        "sign-product3", "staircase", "he4-sign-product3", "custom"};
    return (int)kind >= 0 && (int)kind < (int)TWS_TARGET_COUNT ? name[kind] : "?";
}

/* ---- numbers ---- */

TWSI_FN int twsi_is_digit(char c) { return c >= '0' && c <= '9'; }

/* mantissa 10^exponent. Up to 2^53 and 10^22 both are exact and one rounding remains; beyond, each
   further factor costs half a unit in the last place. */
TWSI_FN double twsi_scale10(uint64_t mantissa, int exponent) {
    double value = (double)mantissa;
    if (mantissa == 0) return 0.0;
    while (exponent != 0) {
        const int step = exponent > 22 ? 22 : exponent < -22 ? -22 : exponent;
        double power = 1.0;
        int k;
        for (k = step < 0 ? -step : step; k > 0; k--) power *= 10.0;
        value = step < 0 ? value / power : value * power;
        exponent -= step;
    }
    return value;
}

/* Digits into the mantissa while it has room; returns how many were left out. */
TWSI_FN int twsi_parse_digits(const char **text, uint64_t *mantissa, int *digits, int *kept) {
    int dropped = 0;
    for (*digits = 0, *kept = 0; twsi_is_digit(**text); (*text)++, (*digits)++) {
        if (*mantissa < UINT64_C(1000000000000000000)) {
            *mantissa = *mantissa * 10 + (uint64_t)(**text - '0');
            (*kept)++;
        } else {
            dropped++;
        }
        if (*digits > 400) return -1;
    }
    return dropped;
}

/* Reads [sign] digits [. digits] [e [sign] digits] with a digit somewhere before the e; moves *text
   behind it. 0 if there is no such number, or one of more than 400 digits. */
TWSI_FN int twsi_parse_number(const char **text, double *value) {
    const char *at = *text;
    const int negative = *at == '-';
    uint64_t mantissa = 0;
    int digits, kept, fraction = 0, exponent, e = 0;
    if (*at == '-' || *at == '+') at++;
    exponent = twsi_parse_digits(&at, &mantissa, &digits, &kept);
    if (exponent < 0) return 0;
    if (*at == '.') {
        at++;
        if (twsi_parse_digits(&at, &mantissa, &fraction, &kept) < 0) return 0;
        exponent -= kept;
    }
    if (digits + fraction == 0) return 0;
    if (*at == 'e' || *at == 'E') {
        const int down = at[1] == '-';
        at += at[1] == '-' || at[1] == '+' ? 2 : 1;
        if (!twsi_is_digit(*at)) return 0;
        for (; twsi_is_digit(*at); at++)
            if (e < 1000) e = e * 10 + (*at - '0');
        exponent += down ? -e : e;
    }
    *value = twsi_scale10(mantissa, exponent < -1000 ? -1000 : exponent > 1000 ? 1000 : exponent);
    if (negative) *value = -*value;
    *text = at;
    return 1;
}

/* "hermite:c0,c1,...": 1 if the text is one, else 0. */
TWSI_FN int twsi_parse_hermite(const char *name, double *c) {
    static const char prefix[] = "hermite:";
    int k;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return 0;
    name += sizeof prefix - 1;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) c[k] = 0.0;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        if (!twsi_parse_number(&name, &c[k])) return 0;
        if (*name == '\0') return 1;
        if (*name++ != ',') return 0;
    }
    return 0;
}

/* NULL, or what is wrong with the coefficients; lowest is the first degree of which one at least
   must be present. */
TWSI_FN const char *twsi_check_hermite(const double *c, int lowest) {
    int k, present = 0;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        if (!(fabs(c[k]) <= TWSI_HERMITE_LARGEST))
            return "has a Hermite coefficient that is not between -1e20 and 1e20";
        if (k >= lowest && c[k] != 0.0) present = 1;
    }
    if (present) return NULL;
    return lowest > 0 ? "has no Hermite coefficient of degree 1 to 8, so its slope vanishes"
                      : "has no Hermite coefficient other than 0";
}

/* ---- activations ---- */

/* NULL when fine, else a clause that says what is wrong with the activation. */
TWSI_FN const char *twsi_check_activation(const tws_activation *activation) {
    if (activation == NULL) return "is NULL";
    if ((int)activation->kind < 0 || (int)activation->kind >= (int)TWS_ACTIVATION_COUNT)
        return "has an unknown kind";
    if (activation->kind == TWS_HERMITE) return twsi_check_hermite(activation->hermite, 1);
    if (activation->kind == TWS_CUSTOM_ACTIVATION &&
        (activation->value == NULL || activation->slope == NULL))
        return "lacks a callback: value and slope must both be set";
    return NULL;
}

TWS_API tws_status tws_activation_named(const char *name, tws_activation *activation) {
    tws_activation made;
    int kind;
    memset(&made, 0, sizeof made);
    if (name == NULL || activation == NULL) return TWS_BAD_ARGUMENT;
    for (kind = 0; kind < (int)TWS_HERMITE; kind++)
        if (strcmp(name, tws_activation_name((tws_activation_kind)kind)) == 0) break;
    made.kind = (tws_activation_kind)kind;
    if (made.kind == TWS_HERMITE &&
        (!twsi_parse_hermite(name, made.hermite) || twsi_check_activation(&made) != NULL))
        return TWS_BAD_ARGUMENT;
    *activation = made;
    return TWS_OK;
}

TWS_API tws_activation tws_custom_activation(double (*value)(void *user, double x),
                                             double (*slope)(void *user, double x), void *user) {
    tws_activation made;
    memset(&made, 0, sizeof made);
    made.kind = TWS_CUSTOM_ACTIVATION;
    made.value = value;
    made.slope = slope;
    made.user = user;
    return made;
}

#define TWSI_ACTIVATE_PIECE ((size_t)1 << 16) /* elements: large beside the cost of a claim */

typedef struct twsi_activate_job {
    const twsi_kernels *kernels;
    const tws_activation *activation;
    const tws_real *x;
    tws_real *value, *slope;
    size_t count;
} twsi_activate_job;

TWSI_FN void twsi_activate_piece(void *data, size_t index, size_t worker) {
    const twsi_activate_job *job = (const twsi_activate_job *)data;
    const size_t first = index * TWSI_ACTIVATE_PIECE;
    (void)worker;
    job->kernels->activate(job->activation, job->x + first,
                           job->value != NULL ? job->value + first : NULL,
                           job->slope != NULL ? job->slope + first : NULL,
                           twsi_min(TWSI_ACTIVATE_PIECE, job->count - first));
}

TWS_API tws_status tws_activate(tws_context *context, const tws_activation *activation,
                                const tws_real *x, tws_real *value, tws_real *slope, size_t count) {
    const char *wrong = twsi_check_activation(activation);
    const size_t pieces = twsi_ceil_div(count, TWSI_ACTIVATE_PIECE);
    twsi_activate_job job;
    twsi_team team;
    tws_status status;
    if (wrong != NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "activation %s", wrong);
    if (x == NULL && count > 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "x is NULL, but count is not 0");
    if (value == slope && value != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "value and slope are the same array; they must be two, or one NULL");
    status = twsi_team_open(&team, context, pieces);
    if (status == TWS_OK && (value != NULL || slope != NULL)) {
        job.kernels = team.kernels;
        job.activation = activation;
        job.x = x;
        job.value = value;
        job.slope = slope;
        job.count = count;
        twsi_run(&team, pieces, twsi_activate_piece, &job);
    }
    twsi_team_close(&team);
    return status;
}

/* ---- targets ---- */

/* heights of step4: l with sum_j M_ij l_j = 0 for i = 0, 1, 2 */
TWSI_FN void twsi_step4_levels(double *level) {
    double m[3][4], mass[4], below = 0.0, density = 0.0, moment = 0.0, variance = 0.0;
    int j;
    for (j = 0; j < 4; j++) { /* the pieces end at 0, 1, 2 and infinity */
        const double end = (double)j;
        const double next_below = j < 3 ? twsi_normal_below(end) : 1.0;
        const double next_density = j < 3 ? twsi_normal_density(end) : 0.0;
        const double next_moment = j < 3 ? end * next_density : 0.0;
        mass[j] = j < 3 ? next_below - below : twsi_normal_below(-2.0);
        m[0][j] = mass[j];
        m[1][j] = density - next_density;
        m[2][j] = moment - next_moment;
        below = next_below;
        density = next_density;
        moment = next_moment;
    }
    for (j = 0; j < 4; j++) { /* cofactors: signed 3 x 3 determinants without column j */
        const int a = j > 0 ? 0 : 1, b = j > 1 ? 1 : 2, c = j > 2 ? 2 : 3;
        const double cofactor = m[0][a] * (m[1][b] * m[2][c] - m[1][c] * m[2][b]) -
                                m[0][b] * (m[1][a] * m[2][c] - m[1][c] * m[2][a]) +
                                m[0][c] * (m[1][a] * m[2][b] - m[1][b] * m[2][a]);
        level[j] = j % 2 == 0 ? cofactor : -cofactor;
        variance += mass[j] * cofactor * cofactor;
    }
    density = (level[3] < 0.0 ? -1.0 : 1.0) / sqrt(variance);
    for (j = 0; j < 4; j++) level[j] *= density;
}

/* heights of step3, inner and outer: the mean of |u| over |u| > 2 is e^-2 times that over all */
TWSI_FN void twsi_step3_levels(double *level) {
    const double share = exp(-2.0), ratio = share / (1.0 - share);
    const double outside = 2.0 * twsi_normal_below(-2.0);
    const double outer = 1.0 / sqrt(outside + ratio * ratio * (1.0 - outside));
    level[0] = -ratio * outer;
    level[1] = outer;
}

TWSI_FN size_t twsi_target_directions(tws_target_kind kind) {
    switch (kind) {
    case TWS_PRODUCT2:
    case TWS_STAIRCASE: return 2;
    case TWS_PRODUCT3:
    case TWS_SIGN_PRODUCT3:
    case TWS_HE4_SIGN_PRODUCT3: return 3;
    default: return 1;
    }
}

TWSI_FN int twsi_levels_set(const double *level, int count) {
    int i, present = 0;
    for (i = 0; i < count; i++) {
        if (!twsi_is_finite(level[i])) return 0;
        if (level[i] != 0.0) present = 1;
    }
    return present;
}

/* NULL when fine, else a clause that says what is wrong with the target. */
TWSI_FN const char *twsi_check_target(const tws_target *target) {
    if (target == NULL) return "is NULL";
    if ((int)target->kind < 0 || (int)target->kind >= (int)TWS_TARGET_COUNT)
        return "has an unknown kind";
    if (target->kind == TWS_CUSTOM_TARGET) {
        if (target->function == NULL) return "lacks its callback: function must be set";
        if (target->directions < 1 || target->directions > TWS_MAX_DIRECTIONS)
            return "has a number of directions that is not between 1 and 8";
    } else if (target->directions != twsi_target_directions(target->kind)) {
        return "has a number of directions that is not that of its kind";
    }
    if (target->kind == TWS_TARGET_HERMITE) return twsi_check_hermite(target->hermite, 0);
    if ((target->kind == TWS_STEP3 && !twsi_levels_set(target->level, 2)) ||
        (target->kind == TWS_STEP4 && !twsi_levels_set(target->level, 4)))
        return "lacks the heights of its steps: make it with tws_target_named";
    return NULL;
}

TWS_API tws_status tws_target_named(const char *name, tws_target *target) {
    tws_target made;
    int kind;
    memset(&made, 0, sizeof made);
    if (name == NULL || target == NULL) return TWS_BAD_ARGUMENT;
    for (kind = 0; kind < (int)TWS_CUSTOM_TARGET; kind++)
        if (kind != (int)TWS_TARGET_HERMITE &&
            strcmp(name, tws_target_name((tws_target_kind)kind)) == 0)
            break;
    if (kind == (int)TWS_CUSTOM_TARGET) {
        if (!twsi_parse_hermite(name, made.hermite)) return TWS_BAD_ARGUMENT;
        kind = (int)TWS_TARGET_HERMITE;
    }
    made.kind = (tws_target_kind)kind;
    made.directions = twsi_target_directions(made.kind);
    if (made.kind == TWS_STEP3) twsi_step3_levels(made.level);
    if (made.kind == TWS_STEP4) twsi_step4_levels(made.level);
    if (twsi_check_target(&made) != NULL) return TWS_BAD_ARGUMENT;
    *target = made;
    return TWS_OK;
}

TWS_API tws_target tws_custom_target(double (*function)(void *user, const double *u),
                                     size_t directions, void *user) {
    tws_target made;
    memset(&made, 0, sizeof made);
    made.kind = TWS_CUSTOM_TARGET;
    made.directions = directions;
    made.function = function;
    made.user = user;
    return made;
}

/* -1, 0 or 1; NaN stays NaN. */
TWSI_FN double twsi_sign(double x) { return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x == 0.0 ? 0.0 : x; }

TWSI_FN double twsi_step3(const double *level, double u) {
    return twsi_sign(u) * (fabs(u) > 2.0 ? level[1] : level[0]);
}

TWSI_FN double twsi_step4(const double *level, double u) {
    if (u != u) return u;
    return u < 0.0 ? level[0] : u < 1.0 ? level[1] : u < 2.0 ? level[2] : level[3];
}

/* sin 2u + cos 2u minus its mean e^-2 and its linear part 2 e^-2 u */
TWSI_FN double twsi_wave(double u) {
    return sin(2.0 * u) + cos(2.0 * u) - exp(-2.0) * (1.0 + 2.0 * u);
}

TWSI_FN double twsi_he4(double u) { return ((u * u - 6.0) * u * u + 3.0) / sqrt(24.0); }

TWS_API double tws_target_value(const tws_target *target, const double *u) {
    const double v = u[0];
    switch (target->kind) {
    case TWS_LINEAR: return v;
    case TWS_HE2: return (v * v - 1.0) * TWSI_ROOT_HALF;
    case TWS_HE3: return (v * v - 3.0) * v / sqrt(6.0);
    case TWS_HE4: return twsi_he4(v);
    case TWS_SIGN: return twsi_sign(v);
    case TWS_TARGET_TANH: return tanh(2.0 * v);
    case TWS_SIN: return sqrt(2.0) * sin(2.5 * v);
    case TWS_TARGET_RELU: return v < 0.0 ? 0.0 : v;
    case TWS_SQUARE: return v * v;
    case TWS_WAVE: return twsi_wave(v);
    case TWS_STEP3: return twsi_step3(target->level, v);
    case TWS_STEP4: return twsi_step4(target->level, v);
    case TWS_TARGET_HERMITE: return twsi_hermite_value(target->hermite, v);
    case TWS_PRODUCT2: return v * u[1];
    case TWS_PRODUCT3: return v * u[1] * u[2];
    case TWS_SIGN_PRODUCT3: return twsi_sign(v) * twsi_sign(u[1]) * twsi_sign(u[2]);
    case TWS_STAIRCASE: return (v + v * u[1]) * TWSI_ROOT_HALF;
    case TWS_HE4_SIGN_PRODUCT3:
        return twsi_he4(v) + twsi_sign(v) * twsi_sign(u[1]) * twsi_sign(u[2]);
    case TWS_CUSTOM_TARGET: return target->function(target->user, u);
    default: return 0.0;
    }
}

/* ==========================================================================
 * @@GEMM: matrix product, C = alpha op(A) op(B) + beta C
 *
 * k is cut into blocks of equal depth. For each of them A and B are copied ("packed") into panels:
 * a panel of A holds ROWS rows, a panel of B holds COLUMNS columns, both ordered by k, so that the
 * innermost loop reads memory from end to end whatever the transposes and leading dimensions were.
 * The tile kernel keeps ROWS x COLUMNS sums in registers while it walks through one panel of A and
 * one of B, then adds them to C. Blocks of A that fit the second-level cache meet one panel of B
 * after the other (the loop order of Goto and van de Geijn, "Anatomy of high-performance matrix
 * multiplication", 2008; the tile kernels follow Van Zee and van de Geijn's BLIS, 2015).
 *
 * Workers share the packed panels. One round packs them, the next computes tasks of BLOCK_ROWS x
 * TASK_COLUMNS entries of C. Every entry is summed by one task in the order of k, block by block,
 * so its bits depend on its row, its column, k and the kernel alone: edges go through the same
 * arithmetic, with zeros in place of what the matrices do not have. Where all operands stay in the
 * second-level cache the tile kernel reads A, and B unless it is transposed, as they lie.
 * ========================================================================== */

/* Where packed panels live; made once, used for many products. */
typedef struct twsi_gemm_buffers {
    tws_real *a, *b;
} twsi_gemm_buffers;

/* Operands, outer block and packed panels of one product, as the tasks see them. */
typedef struct twsi_gemm_job {
    const twsi_kernels *kernels;
    int a_across, b_across;
    tws_real alpha, beta;
    const tws_real *a, *b; /* of this block */
    tws_real *c;
    size_t lda, ldb, ldc;
    size_t m, n, depth; /* of this block */
    tws_real *a_panels, *b_panels;
    size_t a_size, b_size;     /* of one panel */
    size_t a_vectors, b_vectors; /* of one packing task */
    size_t a_tasks, row_tasks;
    size_t in_place; /* leading columns of B that are not packed */
    twsi_gemm_sizes a_met[TWSI_MAX_THREADS], b_met[TWSI_MAX_THREADS]; /* by worker */
    int alone;       /* too small for more than one worker */
    int lower;       /* entries of C above its diagonal are not wanted */
    size_t row, column; /* of C, where this block starts */
} twsi_gemm_job;

/* Numbers of a panel: the padding lets packing store whole vectors, a cache line apart. */
TWSI_FN size_t twsi_gemm_panel(const twsi_kernels *s, size_t width, size_t depth) {
    const size_t line = TWSI_ALIGNMENT / sizeof(tws_real);
    const size_t entries = width * twsi_ceil_div(depth, s->gemm_terms) * s->gemm_terms;
    return twsi_ceil_div(entries * s->gemm_halves / 2 + s->gemm_pad, line) * line;
}

/* Numbers in all panels of one side with so many vectors. */
TWSI_FN size_t twsi_gemm_panels(const twsi_kernels *s, size_t width, size_t vectors,
                                size_t depth) {
    return twsi_ceil_div(vectors, width) * twsi_gemm_panel(s, width, depth);
}

/* Takes memory for products of at most m x n x k; a failure is in pool->status. One block, since
   usual allocators keep one, but hand two back to the system, and fresh pages are slow. */
TWSI_FN twsi_gemm_buffers twsi_gemm_prepare(const twsi_team *team, twsi_pool *pool, size_t m,
                                            size_t n, size_t k) {
    const size_t rows = twsi_min(m, TWSI_GEMM_PACKED_ROWS);
    const size_t columns = twsi_min(n, TWSI_GEMM_PACKED_COLUMNS);
    const size_t depth = twsi_min(k, team->kernels->gemm_depth);
    size_t a_entries = 0, b_entries = 0;
    twsi_gemm_buffers buffers;
    const twsi_kernels *s;
    for (s = team->kernels; s != NULL; s = s->gemm_instead) {
        a_entries = twsi_max(a_entries, twsi_gemm_panels(s, s->gemm_rows, rows, depth));
        b_entries = twsi_max(b_entries, twsi_gemm_panels(s, s->gemm_columns, columns, depth));
    }
    buffers.a = (tws_real *)twsi_take(pool, a_entries + b_entries, sizeof(tws_real));
    buffers.b = buffers.a == NULL ? NULL : buffers.a + a_entries;
    return buffers;
}

/* Address of row i, column j of op(M) where M is stored across (rows of op(M) are rows of M). */
TWSI_FN const tws_real *twsi_gemm_at(const tws_real *matrix, size_t ld, int across, size_t vector,
                                     size_t p) {
    return across ? matrix + vector * ld + p : matrix + p * ld + vector;
}

TWSI_FN void twsi_gemm_pack_task(void *data, size_t index, size_t worker) {
    twsi_gemm_job *job = (twsi_gemm_job *)data;
    const twsi_kernels *s = job->kernels;
    if (index < job->a_tasks) {
        const size_t first = index * job->a_vectors;
        s->gemm_pack_a(job->a_across, s->gemm_rows, twsi_min(job->m - first, job->a_vectors),
                       job->depth, twsi_gemm_at(job->a, job->lda, job->a_across, first, 0),
                       job->lda, job->a_panels + first / s->gemm_rows * job->a_size, job->a_size,
                       job->a_met + worker);
    } else {
        const size_t first = job->in_place + (index - job->a_tasks) * job->b_vectors;
        s->gemm_pack_b(job->b_across, s->gemm_columns, twsi_min(job->n - first, job->b_vectors),
                       job->depth, twsi_gemm_at(job->b, job->ldb, job->b_across, first, 0),
                       job->ldb, job->b_panels + first / s->gemm_columns * job->b_size,
                       job->b_size, job->b_met + worker);
    }
}

/* The panels of the block of B after the columns up to end, or of the first one; returns how many
   numbers they are, 0 where it lies in place. */
TWSI_FN size_t twsi_gemm_next(const twsi_gemm_job *job, size_t end, const tws_real **next) {
    const twsi_kernels *s = job->kernels;
    const size_t first = end < job->n ? end : 0;
    const size_t count = twsi_min(job->n - first, s->gemm_block_columns);
    *next = job->b_panels + first / s->gemm_columns * job->b_size;
    return first < job->in_place ? 0 : twsi_ceil_div(count, s->gemm_columns) * job->b_size;
}

/* Rows from row, height of them, and columns from first, count of them: a panel of B that lies in
   place has the next one beside it. */
TWSI_FN void twsi_gemm_columns(const twsi_gemm_job *job, size_t row, size_t height, size_t first,
                               size_t count) {
    const twsi_kernels *s = job->kernels;
    const int in_place = first < job->in_place;
    const tws_real *next;
    const size_t next_size = twsi_gemm_next(job, first + count, &next);
    s->gemm_block(height, count, job->depth, job->alpha,
                  job->a_panels + row / s->gemm_rows * job->a_size, job->a_size,
                  in_place ? job->b + first
                           : job->b_panels + first / s->gemm_columns * job->b_size,
                  in_place ? s->gemm_columns : job->b_size, in_place ? job->ldb : s->gemm_columns,
                  next, next_size, job->beta, job->c + row * job->ldc + first, job->ldc);
}

/* The same up to column end, of which the leading ones may lie in place. */
TWSI_FN void twsi_gemm_rows(const twsi_gemm_job *job, size_t row, size_t height, size_t first,
                            size_t end) {
    const size_t packed = twsi_max(first, twsi_min(end, job->in_place));
    if (first < packed) twsi_gemm_columns(job, row, height, first, packed - first);
    if (packed < end) twsi_gemm_columns(job, row, height, packed, end - packed);
}

/* Where the diagonal of C cuts through, few rows at a time, each up to the tile that holds it. */
TWSI_FN void twsi_gemm_stairs(const twsi_gemm_job *job, size_t row, size_t height, size_t first,
                              size_t end) {
    const size_t tile = job->kernels->gemm_columns, rows = job->kernels->gemm_rows;
    const size_t stair = twsi_ceil_div(TWSI_GEMM_STAIR, rows) * rows;
    size_t i, h;
    for (i = row; i < row + height; i += h) {
        const size_t last = job->row + i + stair; /* of C, and where it ends here: */
        const size_t wanted = last > job->column ? twsi_ceil_div(last - job->column, tile) : 0;
        h = twsi_min(stair, row + height - i);
        twsi_gemm_rows(job, i, h, first, twsi_max(first, twsi_min(end, wanted * tile)));
    }
}

/* Tasks of one block of B follow each other within a group, so a worker finds it in its cache. With
   tile registers all of them are one group: they are through with a block so soon that reading it
   again costs more than the pages do. */
TWSI_FN void twsi_gemm_block_task(void *data, size_t index, size_t worker) {
    const twsi_gemm_job *job = (const twsi_gemm_job *)data;
    const size_t blocks = twsi_ceil_div(job->n, job->kernels->gemm_block_columns);
    const size_t most = job->kernels->gemm_terms == 1 ? TWSI_GEMM_TASK_GROUP : job->row_tasks;
    const size_t above = index / (most * blocks) * most;
    const size_t group = twsi_min(job->row_tasks - above, most);
    const size_t place = index - above * blocks; /* within the group */
    const size_t row = (above + place % group) * TWSI_GEMM_TASK_ROWS;
    const size_t first = place / group * job->kernels->gemm_block_columns;
    const size_t end = twsi_min(job->n, first + job->kernels->gemm_block_columns);
    const size_t height = twsi_min(job->m - row, TWSI_GEMM_TASK_ROWS);
    (void)worker;
    if (job->lower && job->column + end > job->row + row)
        twsi_gemm_stairs(job, row, height, first, end);
    else
        twsi_gemm_rows(job, row, height, first, end);
}

/* C = beta C for the products that have no terms. */
TWSI_FN void twsi_gemm_scale(size_t m, size_t n, tws_real beta, tws_real *c, size_t ldc) {
    size_t i, j;
    if (beta == 1) return;
    for (i = 0; i < m; i++)
        for (j = 0; j < n; j++) c[i * ldc + j] = beta == 0 ? 0 : beta * c[i * ldc + j];
}

/* Packs the block, B too where asked, for these kernels. */
TWSI_FN void twsi_gemm_pack(twsi_team *team, twsi_gemm_job *job, const twsi_kernels *s,
                            int with_b) {
    job->kernels = s;
    job->a_size = twsi_gemm_panel(s, s->gemm_rows, job->depth);
    job->b_size = twsi_gemm_panel(s, s->gemm_columns, job->depth);
    job->a_vectors = twsi_ceil_div(TWSI_GEMM_PACK_GROUP, s->gemm_rows) * s->gemm_rows;
    job->b_vectors = twsi_ceil_div(TWSI_GEMM_PACK_GROUP, s->gemm_columns) * s->gemm_columns;
    job->a_tasks = twsi_ceil_div(job->m, job->a_vectors);
    memset(job->a_met, 0, sizeof job->a_met);
    if (with_b) memset(job->b_met, 0, sizeof job->b_met);
    twsi_run_unless(job->alone, team,
                    job->a_tasks +
                        (with_b ? twsi_ceil_div(job->n - job->in_place, job->b_vectors) : 0),
                    twsi_gemm_pack_task, job);
}

/* The size that bits stand for; of a float, as only its kernels ask. */
TWSI_FN double twsi_gemm_size(uint32_t bits) {
    float size;
    memcpy(&size, &bits, sizeof size);
    return (double)size;
}

/* The least size that is not 0, and the largest, among those that the workers have met. */
TWSI_FN void twsi_gemm_extremes(const twsi_gemm_sizes *met, double *least, double *most) {
    uint32_t low = 0, high = 0;
    size_t i;
    for (i = 0; i < TWSI_MAX_THREADS; i++) {
        low = (uint32_t)twsi_max(low, met[i].above);
        high = (uint32_t)twsi_max(high, met[i].most);
    }
    *least = low == 0 ? 1.0 : twsi_gemm_size(UINT32_MAX - low + 1);
    *most = twsi_gemm_size(high);
}

/* Do the numbers of the packed block suit kernels that split them? Each part must be a normal
   number, as must the last digit of each product, 2^-24 of it, and no sum may overflow. */
TWSI_FN int twsi_gemm_suits(const twsi_gemm_job *job) {
    const double tiny = ldexp(1.0, -102);
    double a_least, a_most, b_least, b_most;
    twsi_gemm_extremes(job->a_met, &a_least, &a_most);
    twsi_gemm_extremes(job->b_met, &b_least, &b_most);
    return a_least >= tiny && b_least >= tiny && a_least * b_least >= tiny &&
           a_most * b_most * (double)job->depth <= 1e38;
}

/* The product with memory at hand: cannot fail. Sizes are at most those of twsi_gemm_prepare. With
   lower, tasks that lie above the diagonal of C are left out. C may be A where op is none, beta 0,
   and B has up to 128 rows and columns: rows of A are packed before the same rows of C are
   written, and no kernel cuts such a B. */
TWSI_FN void twsi_gemm_part(twsi_team *team, const twsi_gemm_buffers *buffers, int lower,
                            tws_transpose transpose_a, tws_transpose transpose_b, size_t m,
                            size_t n, size_t k, tws_real alpha, const tws_real *a, size_t lda,
                            const tws_real *b, size_t ldb, tws_real beta, tws_real *c,
                            size_t ldc) {
    const twsi_kernels *s = team->kernels;
    twsi_gemm_job job;
    size_t depth, i, j, p;
    if (m == 0 || n == 0) return;
    if (k == 0 || alpha == 0) {
        twsi_gemm_scale(m, n, beta, c, ldc);
        return;
    }
    depth = twsi_ceil_div(k, twsi_ceil_div(k, s->gemm_depth)); /* blocks of equal depth */
    job.a_across = transpose_a == TWS_NO_TRANSPOSE;
    job.b_across = transpose_b == TWS_TRANSPOSE;
    job.alone = 2.0 * (double)m * (double)n * (double)k < TWSI_GEMM_ALONE;
    job.lower = lower;
    job.alpha = alpha;
    job.lda = lda;
    job.ldb = ldb;
    job.ldc = ldc;
    job.a_panels = buffers->a;
    job.b_panels = buffers->b;
    for (j = 0; j < n; j += TWSI_GEMM_PACKED_COLUMNS) {
        job.n = twsi_min(n - j, TWSI_GEMM_PACKED_COLUMNS);
        for (p = 0; p < k; p += depth) {
            job.depth = twsi_min(k - p, depth);
            job.in_place = 0;
            if (s->gemm_terms == 1 && !job.b_across &&
                (m <= s->gemm_rows || job.n * job.depth <= TWSI_GEMM_IN_PLACE))
                job.in_place = job.n / s->gemm_columns * s->gemm_columns;
            job.beta = p == 0 ? beta : 1;
            job.b = twsi_gemm_at(b, ldb, job.b_across, j, p);
            for (i = 0; i < m; i += TWSI_GEMM_PACKED_ROWS) {
                job.m = twsi_min(m - i, TWSI_GEMM_PACKED_ROWS);
                job.a = twsi_gemm_at(a, lda, job.a_across, i, p);
                job.c = c + i * ldc + j;
                job.row = i;
                job.column = j;
                job.row_tasks = twsi_ceil_div(job.m, TWSI_GEMM_TASK_ROWS);
                twsi_gemm_pack(team, &job, s, i == 0); /* B serves every block of rows */
                if (s->gemm_instead != NULL && !twsi_gemm_suits(&job)) {
                    s = s->gemm_instead; /* from here on */
                    twsi_gemm_pack(team, &job, s, 1);
                }
                twsi_run_unless(job.alone, team,
                                twsi_ceil_div(job.n, s->gemm_block_columns) * job.row_tasks,
                                twsi_gemm_block_task, &job);
            }
        }
    }
}

/* All of the product. */
TWSI_FN void twsi_gemm_with(twsi_team *team, const twsi_gemm_buffers *buffers,
                            tws_transpose transpose_a, tws_transpose transpose_b, size_t m,
                            size_t n, size_t k, tws_real alpha, const tws_real *a, size_t lda,
                            const tws_real *b, size_t ldb, tws_real beta, tws_real *c,
                            size_t ldc) {
    twsi_gemm_part(team, buffers, 0, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta,
                   c, ldc);
}

/* One product on an open team, with panels from the pool. */
TWSI_FN tws_status twsi_gemm(twsi_team *team, twsi_pool *pool, tws_transpose transpose_a,
                             tws_transpose transpose_b, size_t m, size_t n, size_t k,
                             tws_real alpha, const tws_real *a, size_t lda, const tws_real *b,
                             size_t ldb, tws_real beta, tws_real *c, size_t ldc) {
    twsi_gemm_buffers buffers = {NULL, NULL};
    if (m > 0 && n > 0 && k > 0) buffers = twsi_gemm_prepare(team, pool, m, n, k);
    if (pool->status != TWS_OK)
        return twsi_fail(team->context, pool->status,
                         "no memory for the panels of a product of m = %lu, n = %lu, k = %lu",
                         (unsigned long)m, (unsigned long)n, (unsigned long)k);
    twsi_gemm_with(team, &buffers, transpose_a, transpose_b, m, n, k, alpha, a, lda, b, ldb, beta,
                   c, ldc);
    return TWS_OK;
}

/* Checks one matrix of rows x columns; needed: its entries will be read or written. */
TWSI_FN tws_status twsi_gemm_check(tws_context *context, const char *name, const char *ld_name,
                                   size_t rows, size_t columns, size_t ld, int needed,
                                   const tws_real *matrix) {
    if (ld < columns)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "%s is %lu, but each stored row has %lu columns: at least that many",
                         ld_name, (unsigned long)ld, (unsigned long)columns);
    if (!needed || rows == 0 || columns == 0) return TWS_OK;
    if (matrix == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL, but has %lu x %lu entries", name,
                         (unsigned long)rows, (unsigned long)columns);
    if (!twsi_fits(rows, ld, sizeof(tws_real)))
        return twsi_fail(context, TWS_TOO_LARGE,
                         "%s has %lu rows of %s = %lu: its bytes do not fit in size_t", name,
                         (unsigned long)rows, ld_name, (unsigned long)ld);
    return TWS_OK;
}

/* Rows a multiple of 4 KiB apart share their cache sets: more than a few push each other out. */
TWSI_FN int twsi_gemm_collides(size_t ld, size_t rows) {
    return rows > 32 && ld * sizeof(tws_real) % 4096 == 0;
}

/* Without packing all of k is one block: no deeper than the packed blocks, for the same sums. A
   matrix that would be read again and again from colliding rows is better packed. */
TWSI_FN int twsi_gemm_is_small(const twsi_kernels *kernels, int ta, int tb, size_t m, size_t n,
                               size_t k, size_t lda, size_t ldb) {
    return kernels->gemm_small != NULL && k <= kernels->gemm_depth &&
           (double)m * (double)n * (double)k <= TWSI_GEMM_SMALL &&
           !(ta && n > 96 && twsi_gemm_collides(lda, k)) &&
           !(!tb && m > 32 && twsi_gemm_collides(ldb, k));
}

#define TWSI_GEMM_SCRATCH (5120 / sizeof(tws_real)) /* on the stack: 26 terms of 48 columns */

/* A small product, cut into rows of C; A lies as it is. */
typedef struct twsi_gemm_strips {
    const twsi_kernels *kernels;
    int across;
    size_t m, n, k, rows; /* rows of one strip */
    size_t width, step;   /* of B: columns that lie together, and numbers from those to the next */
    tws_real alpha, beta;
    const tws_real *a, *b, *source; /* source: of panels that b then points to */
    tws_real *panels, *c;
    size_t lda, ldb, ld_source, ldc;
} twsi_gemm_strips;

/* One panel of a transposed B, so that its columns become rows. */
TWSI_FN void twsi_gemm_strip_pack_task(void *data, size_t index, size_t worker) {
    const twsi_gemm_strips *s = (const twsi_gemm_strips *)data;
    const size_t first = index * s->width;
    (void)worker;
    s->kernels->gemm_pack_b(1, s->width, twsi_min(s->n - first, s->width), s->k,
                            s->source + first * s->ld_source, s->ld_source,
                            s->panels + index * s->step, s->step, NULL);
}

TWSI_FN void twsi_gemm_strip_task(void *data, size_t index, size_t worker) {
    const twsi_gemm_strips *s = (const twsi_gemm_strips *)data;
    const size_t row = index * s->rows, rows = twsi_min(s->m - row, s->rows);
    size_t j;
    (void)worker;
    for (j = 0; j < s->n; j += s->width)
        s->kernels->gemm_small(s->across, rows, twsi_min(s->n - j, s->width), s->k, s->alpha,
                               twsi_gemm_at(s->a, s->lda, s->across, row, 0), s->lda,
                               s->b + j / s->width * s->step, s->ldb, s->beta,
                               s->c + row * s->ldc + j, s->ldc);
}

TWSI_FN tws_status twsi_gemm_small(twsi_team *team, twsi_pool *pool, int across, int packed,
                                   size_t m, size_t n, size_t k, tws_real alpha,
                                   const tws_real *a, size_t lda, const tws_real *b, size_t ldb,
                                   tws_real beta, tws_real *c, size_t ldc) {
    const twsi_kernels *kernels = team->kernels;
    tws_real scratch[TWSI_GEMM_SCRATCH];
    twsi_gemm_strips s;
    if (!packed && team->workers == 1) { /* one strip */
        kernels->gemm_small(across, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return TWS_OK;
    }
    s.kernels = kernels;
    s.across = across;
    s.m = m;
    s.n = n;
    s.k = k;
    s.rows = twsi_ceil_div(m, team->workers * kernels->gemm_rows) * kernels->gemm_rows;
    s.alpha = alpha;
    s.beta = beta;
    s.a = a;
    s.lda = lda;
    s.b = b;
    s.ldb = ldb;
    s.width = n;
    s.step = 0;
    s.c = c;
    s.ldc = ldc;
    if (packed) {
        const size_t size = twsi_gemm_panel(kernels, kernels->gemm_columns, k);
        const size_t entries = twsi_ceil_div(n, kernels->gemm_columns) * size;
        s.panels = entries > TWSI_GEMM_SCRATCH
                       ? (tws_real *)twsi_take(pool, entries, sizeof(tws_real))
                       : scratch;
        if (s.panels == NULL)
            return twsi_fail(team->context, pool->status, "no memory for the panels of a product");
        s.b = s.panels;
        s.source = b;
        s.ld_source = ldb;
        s.width = s.ldb = kernels->gemm_columns;
        s.step = size;
        twsi_run(team, twsi_ceil_div(n, s.width), twsi_gemm_strip_pack_task, &s);
    }
    twsi_run(team, twsi_ceil_div(m, s.rows), twsi_gemm_strip_task, &s);
    return TWS_OK;
}

/* Workers that a product of m x n x k is worth: to start a second one takes as long as 64 million
   operations, to call one that is there less than one million. */
TWSI_FN size_t twsi_gemm_workers(const tws_context *context, size_t m, size_t n, size_t k) {
    const int ready = context != NULL && context->parallel_for != NULL;
    const double operations = 2.0 * (double)m * (double)n * (double)k;
    const double workers = operations / (ready ? 8e5 : 67108864.0);
    return workers > TWSI_MAX_THREADS ? TWSI_MAX_THREADS : (size_t)workers;
}

/* What all products refuse. terms: A and B will be read. */
TWSI_FN tws_status twsi_gemm_refuse(tws_context *context, tws_transpose transpose_a,
                                    tws_transpose transpose_b, size_t m, size_t n, size_t k,
                                    int terms, const tws_real *a, size_t lda, const tws_real *b,
                                    size_t ldb, const tws_real *c, size_t ldc) {
    const int ta = transpose_a == TWS_TRANSPOSE, tb = transpose_b == TWS_TRANSPOSE;
    tws_status status;
    if (!ta && transpose_a != TWS_NO_TRANSPOSE)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "transpose_a is %d, allowed: TWS_NO_TRANSPOSE (0), TWS_TRANSPOSE (1)",
                         (int)transpose_a);
    if (!tb && transpose_b != TWS_NO_TRANSPOSE)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "transpose_b is %d, allowed: TWS_NO_TRANSPOSE (0), TWS_TRANSPOSE (1)",
                         (int)transpose_b);
    status = twsi_gemm_check(context, "a", "lda", ta ? k : m, ta ? m : k, lda, terms, a);
    if (status == TWS_OK)
        status = twsi_gemm_check(context, "b", "ldb", tb ? n : k, tb ? k : n, ldb, terms, b);
    if (status == TWS_OK) status = twsi_gemm_check(context, "c", "ldc", m, n, ldc, 1, c);
    return status;
}

/* A team for one product. */
TWSI_FN tws_status twsi_gemm_open(twsi_team *team, tws_context *context, size_t m, size_t n,
                                  size_t k) {
    const size_t workers = twsi_gemm_workers(context, m, n, k);
    return twsi_min(m, n) < TWSI_GEMM_TILED_SIDE ||
                   (double)m * (double)n * (double)k < TWSI_GEMM_TILED
               ? twsi_team_open(team, context, workers)
               : twsi_team_open_tiles(team, context, workers);
}

TWS_API tws_status tws_gemm(tws_context *context, tws_transpose transpose_a,
                            tws_transpose transpose_b, size_t m, size_t n, size_t k,
                            tws_real alpha, const tws_real *a, size_t lda, const tws_real *b,
                            size_t ldb, tws_real beta, tws_real *c, size_t ldc) {
    const int terms = m != 0 && n != 0 && k != 0 && alpha != 0;
    const int ta = transpose_a == TWS_TRANSPOSE, tb = transpose_b == TWS_TRANSPOSE;
    twsi_team team;
    twsi_pool pool;
    tws_status status = twsi_gemm_refuse(context, transpose_a, transpose_b, m, n, k, terms, a, lda,
                                         b, ldb, c, ldc);
    if (status != TWS_OK) return status;
    status = twsi_gemm_open(&team, context, m, n, terms ? k : 0);
    if (status == TWS_OK) {
        twsi_pool_open(&pool, context);
        if (terms && twsi_gemm_is_small(team.kernels, ta, tb, m, n, k, lda, ldb))
            status = twsi_gemm_small(&team, &pool, !ta, tb, m, n, k, alpha, a, lda, b, ldb, beta,
                                     c, ldc);
        else
            status = twsi_gemm(&team, &pool, transpose_a, transpose_b, m, n, terms ? k : 0, alpha,
                               a, lda, b, ldb, beta, c, ldc);
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
    return status;
}

/* ---- Strassen ---- */

#define TWSI_STRASSEN_LEAST 256 /* rows, columns and terms of a half */
#define TWSI_STRASSEN_ROWS 32   /* of one task of a sum */

/* op(M): across, where its rows are the stored rows. */
typedef struct twsi_operand {
    const tws_real *entries;
    size_t ld;
    int across;
} twsi_operand;

/* One level: halves of the sizes; memory for a sum of quadrants of A, or a product, and of B. */
typedef struct twsi_strassen {
    twsi_team *team;
    twsi_operand a, b;
    tws_real *c, *x, *y;
    size_t ldc, m, n, k;
    int step;
} twsi_strassen;

/* A product that a level asks for. */
typedef struct twsi_strassen_product {
    twsi_operand a, b;
    tws_real *c;
    size_t ldc;
} twsi_strassen_product;

typedef struct twsi_strassen_sum {
    const twsi_kernels *kernels;
    tws_real *out;
    const tws_real *a, *b;
    size_t ldo, lda, ldb, rows, columns;
    tws_real factor;
} twsi_strassen_sum;

TWSI_FN void twsi_strassen_sum_task(void *data, size_t index, size_t worker) {
    const twsi_strassen_sum *sum = (const twsi_strassen_sum *)data;
    const size_t first = index * TWSI_STRASSEN_ROWS;
    const size_t end = twsi_min(sum->rows, first + TWSI_STRASSEN_ROWS);
    size_t i;
    (void)worker;
    for (i = first; i < end; i++)
        sum->kernels->row_sum(sum->out + i * sum->ldo, sum->a + i * sum->lda, sum->factor,
                              sum->b + i * sum->ldb, sum->columns);
}

/* out = a + factor b, of so many stored rows and columns; out may be a or b. */
TWSI_FN void twsi_strassen_add(twsi_team *team, size_t rows, size_t columns, tws_real *out,
                               size_t ldo, const tws_real *a, size_t lda, tws_real factor,
                               const tws_real *b, size_t ldb) {
    twsi_strassen_sum sum;
    sum.kernels = team->kernels;
    sum.out = out;
    sum.a = a;
    sum.b = b;
    sum.ldo = ldo;
    sum.lda = lda;
    sum.ldb = ldb;
    sum.rows = rows;
    sum.columns = columns;
    sum.factor = factor;
    twsi_run(team, twsi_ceil_div(rows, TWSI_STRASSEN_ROWS), twsi_strassen_sum_task, &sum);
}

TWSI_FN twsi_operand twsi_strassen_quadrant(twsi_operand m, size_t rows, size_t columns, size_t i,
                                            size_t j) {
    m.entries += m.across ? i * rows * m.ld + j * columns : j * columns * m.ld + i * rows;
    return m;
}

TWSI_FN twsi_operand twsi_strassen_memory(const tws_real *x, int across, size_t rows,
                                          size_t columns) {
    twsi_operand m;
    m.entries = x;
    m.across = across;
    m.ld = across ? columns : rows;
    return m;
}

/* x = p + factor q, all rows x columns and stored the same way. */
TWSI_FN void twsi_strassen_operands(twsi_team *team, size_t rows, size_t columns, tws_real *x,
                                    twsi_operand p, tws_real factor, twsi_operand q) {
    const size_t width = p.across ? columns : rows;
    twsi_strassen_add(team, p.across ? rows : columns, width, x, width, p.entries, p.ld, factor,
                      q.entries, q.ld);
}

/* U2 = P1 + P6, U3 = U2 + P7, U4 = U2 + P5, U7 = U3 + P5, U5 = U4 + P3, row by row in the cache. */
TWSI_FN void twsi_strassen_join_task(void *data, size_t index, size_t worker) {
    const twsi_strassen *s = (const twsi_strassen *)data;
    const twsi_kernels *kernels = s->team->kernels;
    const size_t first = index * TWSI_STRASSEN_ROWS, n = s->n;
    const size_t end = twsi_min(s->m, first + TWSI_STRASSEN_ROWS);
    size_t i;
    (void)worker;
    for (i = first; i < end; i++) {
        tws_real *c11 = s->c + i * s->ldc, *c12 = c11 + n;
        tws_real *c21 = c11 + s->m * s->ldc, *c22 = c21 + n;
        kernels->row_sum(c12, s->x + i * n, 1, c12, n);
        kernels->row_sum(c21, c12, 1, c21, n);
        kernels->row_sum(c12, c12, 1, c22, n);
        kernels->row_sum(c22, c21, 1, c22, n);
        kernels->row_sum(c12, c12, 1, c11, n);
    }
}

/* The sums before the next product, and that product. */
TWSI_FN twsi_strassen_product twsi_strassen_next(twsi_strassen *s) {
    const size_t m = s->m, n = s->n, k = s->k;
    const twsi_operand a11 = s->a, a12 = twsi_strassen_quadrant(s->a, m, k, 0, 1);
    const twsi_operand a21 = twsi_strassen_quadrant(s->a, m, k, 1, 0);
    const twsi_operand a22 = twsi_strassen_quadrant(s->a, m, k, 1, 1);
    const twsi_operand b11 = s->b, b12 = twsi_strassen_quadrant(s->b, k, n, 0, 1);
    const twsi_operand b21 = twsi_strassen_quadrant(s->b, k, n, 1, 0);
    const twsi_operand b22 = twsi_strassen_quadrant(s->b, k, n, 1, 1);
    tws_real *c21 = s->c + m * s->ldc;
    twsi_strassen_product p;
    p.a = twsi_strassen_memory(s->x, s->a.across, m, k);
    p.b = twsi_strassen_memory(s->y, s->b.across, k, n);
    p.ldc = s->ldc;
    switch (s->step++) {
    case 0: /* P7 = (A11 - A21) (B22 - B12) */
        twsi_strassen_operands(s->team, m, k, s->x, a11, -1, a21);
        twsi_strassen_operands(s->team, k, n, s->y, b22, -1, b12);
        p.c = c21;
        break;
    case 1: /* P5 = S1 T1, S1 = A21 + A22, T1 = B12 - B11 */
        twsi_strassen_operands(s->team, m, k, s->x, a21, 1, a22);
        twsi_strassen_operands(s->team, k, n, s->y, b12, -1, b11);
        p.c = c21 + n;
        break;
    case 2: /* P6 = S2 T2, S2 = S1 - A11, T2 = B22 - T1 */
        twsi_strassen_operands(s->team, m, k, s->x, p.a, -1, a11);
        twsi_strassen_operands(s->team, k, n, s->y, b22, -1, p.b);
        p.c = s->c + n;
        break;
    case 3: /* P3 = (A12 - S2) B22 */
        twsi_strassen_operands(s->team, m, k, s->x, a12, -1, p.a);
        p.b = b22;
        p.c = s->c;
        break;
    case 4: /* P1 = A11 B11 */
        p.a = a11;
        p.b = b11;
        p.c = s->x;
        p.ldc = n;
        break;
    case 5: /* P4 = A22 (T2 - B21) */
        twsi_run(s->team, twsi_ceil_div(m, TWSI_STRASSEN_ROWS), twsi_strassen_join_task, s);
        twsi_strassen_operands(s->team, k, n, s->y, p.b, -1, b21);
        p.a = a22;
        p.c = s->c;
        break;
    default: /* U6 = U3 - P4, then P2 = A12 B21 */
        twsi_strassen_add(s->team, m, n, c21, s->ldc, c21, s->ldc, -1, s->c, s->ldc);
        p.a = a12;
        p.b = b21;
        p.c = s->c;
        break;
    }
    return p;
}

/* The level of a product: sizes of its halves, memory from where the pool has put it. */
TWSI_FN void twsi_strassen_enter(twsi_strassen *s, twsi_strassen_product p, size_t m, size_t n,
                                 size_t k) {
    s->a = p.a;
    s->b = p.b;
    s->c = p.c;
    s->ldc = p.ldc;
    s->m = m / 2;
    s->n = n / 2;
    s->k = k / 2;
    s->step = 0;
}

TWSI_FN void twsi_strassen_leaf(twsi_team *team, const twsi_gemm_buffers *buffers,
                                twsi_strassen_product p, size_t m, size_t n, size_t k,
                                tws_real beta) {
    twsi_gemm_with(team, buffers, p.a.across ? TWS_NO_TRANSPOSE : TWS_TRANSPOSE,
                   p.b.across ? TWS_NO_TRANSPOSE : TWS_TRANSPOSE, m, n, k, 1, p.a.entries, p.a.ld,
                   p.b.entries, p.b.ld, beta, p.c, p.ldc);
}

/* All levels, a walk through the tree of products; sizes are multiples of 2^levels. */
TWSI_FN void twsi_strassen_walk(twsi_strassen *level, int levels, const twsi_gemm_buffers *buffers,
                                twsi_strassen_product whole, size_t m, size_t n, size_t k) {
    int at = 0;
    twsi_strassen_enter(level, whole, m, n, k);
    while (at >= 0) {
        twsi_strassen *s = level + at;
        twsi_strassen_product p;
        if (s->step == 7) { /* U1 = P1 + P2 */
            twsi_strassen_add(s->team, s->m, s->n, s->c, s->ldc, s->c, s->ldc, 1, s->x, s->n);
            at--;
            continue;
        }
        p = twsi_strassen_next(s);
        if (at + 1 == levels)
            twsi_strassen_leaf(s->team, buffers, p, s->m, s->n, s->k, 0);
        else
            twsi_strassen_enter(level + ++at, p, s->m, s->n, s->k);
    }
}

/* What does not divide by 2^levels is left to plain products: the last terms, rows and columns. */
TWSI_FN void twsi_strassen_rest(twsi_team *team, const twsi_gemm_buffers *buffers,
                                twsi_strassen_product p, const size_t *done, size_t m, size_t n,
                                size_t k) {
    twsi_strassen_product q = p;
    if (done[2] < k) {
        q.a = twsi_strassen_quadrant(p.a, 0, done[2], 0, 1);
        q.b = twsi_strassen_quadrant(p.b, done[2], 0, 1, 0);
        twsi_strassen_leaf(team, buffers, q, done[0], done[1], k - done[2], 1);
    }
    q = p;
    q.b = twsi_strassen_quadrant(p.b, 0, done[1], 0, 1);
    q.c = p.c + done[1];
    if (done[1] < n) twsi_strassen_leaf(team, buffers, q, done[0], n - done[1], k, 0);
    q = p;
    q.a = twsi_strassen_quadrant(p.a, done[0], 0, 1, 0);
    q.c = p.c + done[0] * p.ldc;
    if (done[0] < m) twsi_strassen_leaf(team, buffers, q, m - done[0], n, k, 0);
}

TWSI_FN tws_status twsi_strassen_product_of(twsi_team *team, twsi_pool *pool, int levels,
                                            twsi_strassen_product p, size_t m, size_t n,
                                            size_t k) {
    const twsi_gemm_buffers buffers = twsi_gemm_prepare(team, pool, m, n, k);
    twsi_strassen level[TWS_MAX_STRASSEN];
    size_t done[3];
    int i;
    for (i = 0; i < levels; i++) {
        const size_t rows = m >> (i + 1), columns = n >> (i + 1), terms = k >> (i + 1);
        level[i].team = team;
        level[i].x = (tws_real *)twsi_take(pool, rows, twsi_max(columns, terms) * sizeof(tws_real));
        level[i].y = (tws_real *)twsi_take(pool, terms, columns * sizeof(tws_real));
    }
    if (pool->status != TWS_OK)
        return twsi_fail(team->context, pool->status,
                         "no memory for %d levels of a product of m = %lu, n = %lu, k = %lu",
                         levels, (unsigned long)m, (unsigned long)n, (unsigned long)k);
    done[0] = m >> levels << levels;
    done[1] = n >> levels << levels;
    done[2] = k >> levels << levels;
    twsi_strassen_walk(level, levels, &buffers, p, done[0], done[1], done[2]);
    twsi_strassen_rest(team, &buffers, p, done, m, n, k);
    return TWS_OK;
}

TWS_API tws_status tws_gemm_strassen(tws_context *context, int levels, tws_transpose transpose_a,
                                     tws_transpose transpose_b, size_t m, size_t n, size_t k,
                                     const tws_real *a, size_t lda, const tws_real *b, size_t ldb,
                                     tws_real *c, size_t ldc) {
    const size_t least = twsi_min(m, twsi_min(n, k));
    twsi_strassen_product p;
    twsi_team team;
    twsi_pool pool;
    tws_status status;
    if (levels < 0 || levels > TWS_MAX_STRASSEN)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "levels is %d, it must be from 0 to %d", levels,
                         TWS_MAX_STRASSEN);
    status = twsi_gemm_refuse(context, transpose_a, transpose_b, m, n, k, least > 0, a, lda, b, ldb,
                              c, ldc);
    if (status != TWS_OK) return status;
    while (levels > 0 && least >> levels < TWSI_STRASSEN_LEAST) levels--;
    if (levels == 0)
        return tws_gemm(context, transpose_a, transpose_b, m, n, k, 1, a, lda, b, ldb, 0, c, ldc);
    p.a.entries = a;
    p.a.ld = lda;
    p.a.across = transpose_a == TWS_NO_TRANSPOSE;
    p.b.entries = b;
    p.b.ld = ldb;
    p.b.across = transpose_b == TWS_NO_TRANSPOSE;
    p.c = c;
    p.ldc = ldc;
    status = twsi_gemm_open(&team, context, m, n, k);
    twsi_pool_open(&pool, context);
    if (status == TWS_OK) status = twsi_strassen_product_of(&team, &pool, levels, p, m, n, k);
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    return status;
}

/* ==========================================================================
 * @@SVD: leading singular triplets by block Lanczos; all singular values
 * ==========================================================================
 *
 * The Krylov space of A = M^T M grows by a block X of two vectors per pass: W = A X is computed
 * row block by row block, M^T (M x) while the rows are in cache, so M is read once. W is made
 * orthogonal to the whole basis V (block Gram-Schmidt, twice where it matters); the coefficients
 * are the new columns of T = V^T A V, and what is left of W, orthonormalised as Q B, is the next
 * block. An eigenvector y of T with eigenvalue t gives v = V y, s = sqrt t, and
 * |A v - t v| = |B (last block of y)| exactly: no product is needed to know the residual.
 * Products may run in the precision of the matrix first: rounding moves a residual to about 1e-7,
 * and what is found is measured in double at the end; where it falls short, the vectors found start
 * a space in double. There squaring M costs nothing that matters: s is right to 1e-8 s_1 at worst.
 * Where residuals measured are still too large, that space grows on for a smaller bound.
 * Matrices of a pencil advance in lock step, each with a space of its own. When the basis is
 * full, the best Ritz vectors and the pending block are kept (thick restart, Wu and Simon 2000);
 * T is then dense, and Gram-Schmidt fills it in by itself.
 *
 * Repeated values. From b random directions a Krylov space sees at most b copies of a value. So a
 * group of equal values is believed only when it is smaller than the number of random directions
 * that have had time to show: otherwise the block is widened with fresh ones. A block that runs
 * dry (invariant space, low rank, zero matrix) is refilled with random directions too.
 * Where fast products could not tell all wanted values from zero, the space in double counts its
 * directions anew, and of each group only the copies that it did not begin with.
 * At the end one more pass computes M v and M^T M v for the wanted vectors; u = M v / s, cleaned of
 * earlier u (random where nothing is left), and the residuals reported are measured, not estimated.
 *
 * All values of a float matrix that is not small: the eigenvalues of its Gram matrix in double, by
 * way of the tridiagonal form. Of others: Householder reflections from both sides leave a
 * bidiagonal matrix; the symmetric tridiagonal matrix with its entries beside a zero diagonal has
 * eigenvalues +s and -s.
 * Source: Golub and Van Loan, Matrix Computations, sections 5.4, 8.3, 8.6, 10.1 to 10.4.
 */

#define TWSI_SVD_GROUP 8     /* vectors that one reading of the matrix serves */
#define TWSI_SVD_WIDTH 2     /* block width at the start: its arithmetic hides behind the reading */
#define TWSI_SVD_WIDEST 64   /* ... and at most, for values repeated up to 63 times */
#define TWSI_SVD_CHUNKS 64   /* parts of a pass, at most */
#define TWSI_SVD_PART 128    /* rows per part: a partial sum costs little beside them, and */
                             /* so many numbers add up to 2 roundings in single precision */
#define TWSI_SVD_WHOLE 262144 /* numbers of a matrix too small to be divided */
#define TWSI_SVD_FAST 1e-6   /* smallest tolerance that products in single precision can reach */
#define TWSI_SVD_ROUNDING 2e-14 /* residual of M^T M that products in double reach for certain */
#define TWSI_SVD_SEGMENT 1024 /* columns that one task sums over the parts */
#define TWSI_SVD_PIECES 4     /* parts of the basis that a vector is cleaned of at once, at most */
#define TWSI_SVD_PIECE 65536  /* ... and numbers in one at least: less does not pay for the sum */
#define TWSI_SVD_MAX_FULL 4096

typedef struct twsi_svd {
    tws_context *context;
    twsi_team *team;
    twsi_pool *pool;
    tws_svd_options options;
    const tws_real *matrix; /* NULL: apply */
    size_t ld;
    const tws_real *other;  /* M = matrix + factor other, or NULL */
    size_t other_ld;
    tws_real factor;
    tws_real *slabs;        /* rows of that sum: workers x slab_rows x columns */
    size_t slab_rows;
    tws_operator apply;
    void *user;
    size_t rows, columns;
    double unit;     /* a power of two; inside, M stands for unit M: squares in range */
    double strict;   /* part of the tolerance that a Ritz pair may use */
    uint64_t random; /* state of the generator */
    size_t passes, products;
    size_t begun; /* passes when this space was begun */
    size_t limit; /* max_passes, or less while a space grows on */

    /* one product */
    size_t chunks, chunk_rows;
    int fast;        /* products in the precision of the matrix; certified in double at the end */
    double *partial; /* chunks x GROUP x columns */
    double *product; /* GROUP x rows */
    const double *x;
    double *p, *q;
    size_t count;
    tws_real *block; /* GROUP x columns: x in the precision of the matrix */
    tws_real *sums;  /* the same memory in the precision of the matrix: a pass has either */

    /* basis */
    size_t capacity, widest, width;
    size_t done;       /* basis vectors that A has been applied to: the size of T */
    size_t size;       /* done and the pending block */
    size_t previous;   /* where the block before the pending one starts; 0 after a restart */
    size_t last;       /* width of the last block that A was applied to */
    double norm;       /* lower bound of |A| */
    size_t directions; /* random directions that have had time to show */
    size_t fresh;      /* ... and that have not yet, added after fresh_pass passes */
    size_t fresh_pass;
    size_t young;      /* ... and that came later, the last after young_pass passes */
    size_t young_pass;
    size_t later;      /* ... and that wait for a restart to make room */
    size_t believed;   /* directions of the space before, should this one have no room for more */
    double *carried;   /* widest: values that this space started from, in no order */
    size_t carried_count;
    double *basis;     /* (capacity + widest) x columns */
    double *work;      /* widest x columns */
    double *h, *sum;   /* widest x capacity: coefficients */
    double *shares;    /* PIECES x GROUP x columns: what pieces of the basis take out */
    int nested;        /* its steps are tasks beside others: they may not call for the team */
    double *t;         /* capacity x capacity */
    double *b;         /* widest x widest */
    double *spare;     /* restart x columns */
    size_t restart;    /* vectors kept at a restart */
    size_t made;       /* triplets that the outputs hold */

    /* Ritz pairs, decreasing */
    double *small, *z;         /* capacity x capacity each */
    double *value, *error;     /* eigenvalues of T, residual norms in the scale of A */
    double *diagonal, *beside, *reflect; /* capacity each */
    size_t *order;

    /* when to look at them */
    size_t steps, check, since; /* steps taken; the next look; the last look */
    double distance;            /* from convergence, at the last look */
    int ended;
    int crowded;                /* ended as the block cannot be wider */
    tws_status status;          /* of the last step */
} twsi_svd;

TWS_API tws_svd_options tws_default_svd_options(size_t top) {
    tws_svd_options options;
    options.top = top;
    options.tolerance = 1e-6;
    options.max_passes = 10000;
    options.max_basis = 0;
    options.stop_below = 0.0;
    options.seed = 1;
    return options;
}

/* ---- small dense eigenproblem ---- */

/* The reflection I - beta v v^T that takes x (n >= 1 entries, replaced by v) to (alpha, 0, ..., 0).
   Returns beta, 0 if x is zero beyond its first entry already. Entries of 1e-140 beside numbers of
   order one count as zero: their squares have lost their digits, and 2 / rest may be infinite. */
TWSI_FN double twsi_reflection(double *x, size_t n, double *alpha) {
    double rest = 0.0, norm;
    size_t i;
    for (i = 1; i < n; i++) rest += x[i] * x[i];
    *alpha = x[0];
    if (!(rest > 1e-280)) return 0.0;
    norm = sqrt(x[0] * x[0] + rest);
    *alpha = x[0] > 0.0 ? -norm : norm;
    x[0] -= *alpha;
    return 2.0 / (x[0] * x[0] + rest);
}

/* Symmetric a (n x n, destroyed) to tridiagonal: diagonal d, beside it e (n - 1 entries).
   Row k of a keeps the vector of reflection k from entry k + 1 on, reflect[k] its beta. */
TWSI_FN void twsi_tridiagonalise(const twsi_kernels *kernels, double *a, size_t n, double *d,
                                 double *e, double *reflect, double *work) {
    size_t k, i;
    for (k = 0; k < n; k++) {
        const size_t m = n - k - 1;
        double *v = a + k * n + k + 1, *below = a + (k + 1) * n + k + 1, half = 0.0;
        d[k] = a[k * n + k];
        reflect[k] = 0.0;
        if (m == 0) break;
        reflect[k] = twsi_reflection(v, m, &e[k]);
        if (reflect[k] == 0.0) continue;
        kernels->svd_double(below, n, m, m, v, m, 1, 1.0, work, m, NULL, 0);
        for (i = 0; i < m; i++) {
            work[i] *= reflect[k];
            half += 0.5 * reflect[k] * work[i] * v[i];
        }
        for (i = 0; i < m; i++) work[i] -= half * v[i];
        for (i = 0; i < m; i++) kernels->svd_add2(below + i * n, m, -v[i], work, -work[i], v);
    }
}

/* z[i * count + j] = entry (n - count + j, i) of the product Q of the reflections: the start from
   which twsi_tridiagonal_values leaves the last count entries of every eigenvector. */
TWSI_FN void twsi_last_rows(const double *a, const double *reflect, size_t n, size_t count,
                            double *z, double *work) {
    size_t i, j, k;
    for (j = 0; j < count; j++) {
        for (i = 0; i < n; i++) work[i] = 0.0;
        work[n - count + j] = 1.0;
        for (k = 0; k + 1 < n; k++) {
            const double *v = a + k * n;
            double dot = 0.0;
            if (reflect[k] == 0.0) continue;
            for (i = k + 1; i < n; i++) dot += work[i] * v[i];
            dot *= reflect[k];
            for (i = k + 1; i < n; i++) work[i] -= dot * v[i];
        }
        for (i = 0; i < n; i++) z[i * count + j] = work[i];
    }
}

/* z = Q^T, n x n: the start that leaves whole eigenvectors in its rows. */
TWSI_FN void twsi_all_rows(const twsi_kernels *kernels, double *a, const double *reflect, size_t n,
                           double *z, double *work) {
    size_t i, j, k;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) z[i * n + j] = i == j ? 1.0 : 0.0;
    for (k = n; k-- > 0;) {
        const size_t m = n - k - 1;
        double *v = a + k * n + k + 1, *below = z + (k + 1) * n + k + 1;
        if (reflect[k] == 0.0) continue;
        for (i = 0; i < m; i++) work[i] = 0.0;
        kernels->svd_double(below, n, m, m, NULL, 0, 1, reflect[k], v, m, work, m);
        for (i = 0; i < m; i++) kernels->svd_add2(below + i * n, m, -v[i], work, 0.0, work);
    }
    for (i = 0; i < n; i++)
        for (j = 0; j < i; j++) {
            const double swap = z[i * n + j];
            z[i * n + j] = z[j * n + i];
            z[j * n + i] = swap;
        }
}

/* Eigenvalues of the tridiagonal matrix d, e (n entries each, both destroyed) into d, unsorted, by
   implicit QL; row i of z (n x count) becomes sum over k of (eigenvector i)_k (old row k). Entries
   of e below 1e-16 of the matrix are taken as zero. Returns 0 if a value will not settle. */
TWSI_FN int twsi_tridiagonal_values(const twsi_kernels *kernels, double *d, double *e, size_t n,
                                    double *z, size_t count) {
    double size = 0.0;
    size_t l, i, end;
    if (n == 0) return 1;
    e[n - 1] = 0.0;
    for (i = 0; i < n; i++) size = fmax(size, fabs(d[i]) + fabs(e[i]));
    for (l = 0; l < n; l++) {
        int rounds = 0;
        for (;;) {
            double shift, g, r, s = 1.0, c = 1.0, p = 0.0;
            for (end = l; end + 1 < n; end++)
                if (!(fabs(e[end]) > 1e-16 * size)) break;
            if (end == l) break;
            if (rounds++ == 100) return 0;
            shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
            r = sqrt(shift * shift + 1.0);
            g = d[end] - d[l] + e[l] / (shift + (shift < 0.0 ? -r : r));
            for (i = end; i-- > l;) {
                const double f = s * e[i], b = c * e[i];
                r = sqrt(f * f + g * g);
                e[i + 1] = r;
                if (r == 0.0) {
                    d[i + 1] -= p;
                    e[end] = 0.0;
                    break;
                }
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                if (count > 0)
                    kernels->svd_rotate(z + (i + 1) * count, z + i * count, count, c, s);
            }
            if (r == 0.0 && i + 1 > l) continue;
            d[l] -= p;
            e[l] = g;
            e[end] = 0.0;
        }
    }
    return 1;
}

/* order lists the n entries of key from the largest down (Shell's method). */
TWSI_FN void twsi_order_decreasing(const double *key, size_t *order, size_t n) {
    size_t gap, i, j;
    for (i = 0; i < n; i++) order[i] = i;
    for (gap = n / 2; gap > 0; gap /= 2)
        for (i = gap; i < n; i++) {
            const size_t moved = order[i];
            for (j = i; j >= gap && key[order[j - gap]] < key[moved]; j -= gap)
                order[j] = order[j - gap];
            order[j] = moved;
        }
}

/* ---- products with the matrix ---- */

/* Rows [first, first + count) of M, formed in the slab of this worker when M is a sum. */
TWSI_FN const tws_real *twsi_svd_slab(const twsi_svd *svd, size_t first, size_t count,
                                      size_t worker, size_t *ld) {
    const size_t n = svd->columns;
    tws_real *slab;
    size_t i;
    *ld = svd->ld;
    if (svd->other == NULL) return svd->matrix + first * svd->ld;
    slab = svd->slabs + worker * svd->slab_rows * n;
    for (i = 0; i < count; i++)
        svd->team->kernels->row_sum(slab + i * n, svd->matrix + (first + i) * svd->ld, svd->factor,
                                    svd->other + (first + i) * svd->other_ld, n);
    *ld = n;
    return slab;
}

/* One part of a pass in double: p = unit M x, partial = M^T p. */
TWSI_FN void twsi_svd_chunk(void *data, size_t index, size_t worker) {
    twsi_svd *svd = (twsi_svd *)data;
    const size_t n = svd->columns, end = twsi_min(svd->rows, (index + 1) * svd->chunk_rows);
    double *partial = svd->partial + index * TWSI_SVD_GROUP * n;
    size_t first, ld;
    memset(partial, 0, svd->count * n * sizeof *partial);
    for (first = index * svd->chunk_rows; first < end; first += svd->slab_rows) {
        const size_t count = twsi_min(svd->slab_rows, end - first);
        const tws_real *rows = twsi_svd_slab(svd, first, count, worker, &ld);
        svd->team->kernels->svd_real(rows, ld, count, n, svd->x, n, svd->count, svd->unit,
                                     svd->p + first, svd->rows, partial, n);
    }
}

TWSI_FN void twsi_svd_segment(void *data, size_t index, size_t worker) {
    twsi_svd *svd = (twsi_svd *)data;
    const size_t n = svd->columns, first = index * TWSI_SVD_SEGMENT;
    const size_t end = twsi_min(n, first + TWSI_SVD_SEGMENT);
    size_t c, i, j;
    (void)worker;
    for (j = 0; j < svd->count; j++) {
        double *q = svd->q + j * n;
        for (i = first; i < end; i++) q[i] = 0.0;
        for (c = 0; c < svd->chunks; c++)
            svd->team->kernels->svd_add2(q + first, end - first, 1.0,
                                        svd->partial + (c * TWSI_SVD_GROUP + j) * n + first, 0.0,
                                        q + first);
    }
}

/* Sums over the processes that share the matrix. */
TWSI_FN tws_status twsi_svd_reduce(twsi_svd *svd, double *values, size_t count) {
    return twsi_reduce(svd->context, values, count, "products of the matrix");
}

TWSI_FN int twsi_all_finite(const double *x, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!(fabs(x[i]) <= DBL_MAX)) return 0;
    return 1;
}

/* The operator in place of the matrix, for one vector: p = unit M x unless x is NULL, then
   q = unit M^T p. */
TWSI_FN tws_status twsi_svd_apply(twsi_svd *svd, const double *x, double *p, double *q) {
    tws_status status = TWS_OK;
    size_t i;
    if (x != NULL) status = svd->apply(svd->user, 0, x, p);
    for (i = 0; x != NULL && status == TWS_OK && i < svd->rows; i++) p[i] *= svd->unit;
    if (status == TWS_OK && !twsi_all_finite(p, svd->rows)) {
        for (i = 0; i < svd->columns; i++) q[i] = 0.0;
        q[0] = HUGE_VAL; /* seen by all processes after the reduction */
        return TWS_OK;
    }
    if (status == TWS_OK) status = svd->apply(svd->user, 1, p, q);
    if (status != TWS_OK)
        return twsi_fail(svd->context, TWS_CALLBACK_FAILED,
                         "apply (the operator of tws_svd_operator) returned status %d: %s",
                         (int)status, tws_status_text(status));
    for (i = 0; i < svd->columns; i++) q[i] *= svd->unit;
    return TWS_OK;
}

/* p = unit M x unless x is NULL, then q = unit M^T p, for count vectors of columns, rows
   and columns numbers. p == NULL: the products M x are not wanted. */
TWSI_FN tws_status twsi_svd_multiply(twsi_svd *svd, const double *x, size_t count, double *p,
                                     double *q) {
    const size_t n = svd->columns;
    tws_status status = TWS_OK, reduced;
    size_t j;
    for (j = 0; j < count; j += svd->count) {
        svd->count = svd->matrix != NULL ? twsi_min(TWSI_SVD_GROUP, count - j) : 1;
        svd->x = x != NULL ? x + j * n : NULL;
        svd->p = p != NULL ? p + j * svd->rows : svd->product;
        svd->q = q + j * n;
        svd->passes++;
        svd->products += svd->count;
        if (svd->apply != NULL) {
            if (status == TWS_OK) status = twsi_svd_apply(svd, svd->x, svd->p, svd->q);
            if (j % TWSI_SVD_WIDTH != 0) svd->passes--;
            continue;
        }
        twsi_run(svd->team, svd->chunks, twsi_svd_chunk, svd);
        twsi_run(svd->team, twsi_ceil_div(n, TWSI_SVD_SEGMENT), twsi_svd_segment, svd);
    }
    if (status != TWS_OK) /* the other processes must not wait for ever, nor go on */
        for (j = 0; j < count * n; j++) q[j] = HUGE_VAL;
    reduced = twsi_svd_reduce(svd, q, count * n);
    if (status != TWS_OK) return status;
    if (reduced != TWS_OK) return reduced;
    if (!twsi_all_finite(q, count * n))
        return twsi_fail(svd->context, TWS_NOT_FINITE, "%s contains NaN or infinity",
                         svd->matrix != NULL ? "matrix" : "the output of apply");
    return TWS_OK;
}

/* Problems that go through the same passes: those of one call of tws_svd_pencil, or one alone. */
typedef struct twsi_svd_round {
    twsi_svd *svd; /* count of them, of one shape; count == 0 in those that need nothing */
    size_t count, segments;
} twsi_svd_round;

/* One part of a pass in the precision of the matrix, for all problems while the rows are near. */
TWSI_FN void twsi_svd_fast_chunk(void *data, size_t index, size_t worker) {
    const twsi_svd_round *round = (const twsi_svd_round *)data;
    const twsi_svd *one = round->svd;
    const size_t n = one->columns, at = index * TWSI_SVD_GROUP * n;
    const size_t end = twsi_min(one->rows, (index + 1) * one->chunk_rows);
    size_t first, ld, j;
    for (j = 0; j < round->count; j++)
        memset(round->svd[j].sums + at, 0, round->svd[j].count * n * sizeof(tws_real));
    for (first = index * one->chunk_rows; first < end; first += one->slab_rows)
        for (j = 0; j < round->count; j++) {
            const twsi_svd *svd = round->svd + j;
            const size_t count = twsi_min(svd->slab_rows, end - first);
            const tws_real *rows;
            if (svd->count == 0) continue;
            rows = twsi_svd_slab(svd, first, count, worker, &ld);
            svd->team->kernels->svd_pass(rows, ld, count, n, svd->block, n, svd->count,
                                         (tws_real)svd->unit, svd->sums + at, n);
        }
}

/* Some columns of one problem: the sum over the parts, in double. */
TWSI_FN void twsi_svd_fast_segment(void *data, size_t index, size_t worker) {
    const twsi_svd_round *round = (const twsi_svd_round *)data;
    const twsi_svd *svd = round->svd + index / round->segments;
    const size_t n = svd->columns, first = index % round->segments * TWSI_SVD_SEGMENT;
    const size_t width = twsi_min(n - first, TWSI_SVD_SEGMENT);
    size_t c, j;
    (void)worker;
    for (j = 0; j < svd->count; j++) {
        double *q = svd->q + j * n + first;
        memset(q, 0, width * sizeof *q);
        for (c = 0; c < svd->chunks; c++)
            svd->team->kernels->svd_gather(q, width, svd->unit,
                                           svd->sums + (c * TWSI_SVD_GROUP + j) * n + first);
    }
}

/* work = M^T M (pending block), in the precision of the matrix, for all problems that go on. NaN
   or infinity may be an overflow of that precision: TWS_NOT_FINITE without a message. */
TWSI_FN tws_status twsi_svd_multiply_fast(twsi_svd_round *round) {
    const size_t n = round->svd->columns;
    tws_status status = TWS_OK;
    size_t at, i, j, busy = 1;
    for (at = 0; busy > 0; at += TWSI_SVD_GROUP) {
        for (j = busy = 0; j < round->count; j++) {
            twsi_svd *svd = round->svd + j;
            const size_t width = svd->size - svd->done;
            const double *x = svd->basis + (svd->done + at) * n;
            svd->count = svd->ended || at >= width ? 0 : twsi_min(TWSI_SVD_GROUP, width - at);
            svd->q = svd->work + at * n;
            for (i = 0; i < svd->count * n; i++) svd->block[i] = (tws_real)x[i];
            svd->passes += svd->count > 0;
            svd->products += svd->count;
            busy += svd->count;
        }
        if (busy == 0) break;
        twsi_run(round->svd->team, round->svd->chunks, twsi_svd_fast_chunk, round);
        twsi_run(round->svd->team, round->count * round->segments, twsi_svd_fast_segment, round);
    }
    for (j = 0; j < round->count && status == TWS_OK; j++) {
        twsi_svd *svd = round->svd + j;
        const size_t size = (svd->size - svd->done) * n;
        if (svd->ended) continue;
        status = twsi_svd_reduce(svd, svd->work, size);
        svd->status = twsi_all_finite(svd->work, size) ? TWS_OK : TWS_NOT_FINITE;
    }
    return status;
}

/* ---- basis ---- */

TWSI_FN double twsi_norm(const twsi_kernels *kernels, const double *x, size_t n) {
    double square = 0.0;
    if (n > 0) kernels->svd_double(x, n, 1, n, x, n, 1, 1.0, &square, 1, NULL, 0);
    return sqrt(square);
}

TWSI_FN void twsi_svd_fill(twsi_svd *svd, double *x, size_t n) {
    size_t i;
    for (i = 0; i < n; i++)
        x[i] = (double)(twsi_splitmix64(&svd->random) >> 11) / 4503599627370496.0 - 1.0;
}

TWSI_FN void twsi_scale_by(double *x, size_t n, double factor) {
    size_t i;
    for (i = 0; i < n; i++) x[i] *= factor;
}

/* Some vectors to be cleaned of their parts along basis vectors [first, end). */
typedef struct twsi_svd_cleaning {
    const twsi_svd *svd;
    size_t first, end;
    double *w, *h; /* count <= GROUP vectors; their coefficients */
    size_t count;
    size_t pieces, height; /* of so many basis vectors each */
} twsi_svd_cleaning;

TWSI_FN void twsi_svd_clean_piece(void *data, size_t index, size_t worker) {
    const twsi_svd_cleaning *job = (const twsi_svd_cleaning *)data;
    const twsi_svd *svd = job->svd;
    const size_t n = svd->columns, from = index * job->height;
    const size_t height = twsi_min(job->height, job->end - job->first - from);
    double *share = svd->shares + index * TWSI_SVD_GROUP * n;
    (void)worker;
    memset(share, 0, job->count * n * sizeof *share);
    svd->team->kernels->svd_double(svd->basis + (job->first + from) * n, n, height, n, job->w, n,
                                  job->count, -1.0, job->h + from, svd->capacity + svd->widest,
                                  share, n);
}

TWSI_FN void twsi_svd_clean_segment(void *data, size_t index, size_t worker) {
    const twsi_svd_cleaning *job = (const twsi_svd_cleaning *)data;
    const size_t n = job->svd->columns, first = index * TWSI_SVD_SEGMENT;
    const size_t width = twsi_min(n - first, TWSI_SVD_SEGMENT);
    size_t j, k;
    (void)worker;
    for (j = 0; j < job->count; j++) {
        const double *share = job->svd->shares + j * n + first;
        double *w = job->w + j * n + first;
        for (k = 0; k < job->pieces; k++)
            job->svd->team->kernels->svd_add2(w, width, 1.0, share + k * TWSI_SVD_GROUP * n, 0.0,
                                              w);
    }
}

/* Takes the parts out of up to GROUP vectors; h: their coefficients. How the basis is cut hangs on
   sizes alone, as the processes that share a matrix must agree to the last bit. */
TWSI_FN void twsi_svd_clean_group(const twsi_svd *svd, size_t first, size_t end, double *w,
                                  size_t count, double *h) {
    const size_t n = svd->columns, most = (end - first) * n / TWSI_SVD_PIECE;
    twsi_svd_cleaning job;
    if (most < 2) {
        svd->team->kernels->svd_double(svd->basis + first * n, n, end - first, n, w, n, count,
                                      -1.0, h, svd->capacity + svd->widest, w, n);
        return;
    }
    job.svd = svd;
    job.first = first;
    job.end = end;
    job.w = w;
    job.h = h;
    job.count = count;
    job.height = twsi_ceil_div(end - first, twsi_min(TWSI_SVD_PIECES, most));
    job.pieces = twsi_ceil_div(end - first, job.height);
    twsi_run_unless(svd->nested, svd->team, job.pieces, twsi_svd_clean_piece, &job);
    twsi_run_unless(svd->nested, svd->team, twsi_ceil_div(n, TWSI_SVD_SEGMENT),
                    twsi_svd_clean_segment, &job);
}

/* Takes the part along basis vectors [first, end) out of w and adds its coefficients to sum. */
TWSI_FN void twsi_svd_clean(twsi_svd *svd, size_t first, size_t end, double *w, size_t count,
                            double *sum) {
    const size_t n = svd->columns, ldh = svd->capacity + svd->widest;
    size_t i, j;
    if (end == first) return;
    for (j = 0; j < count; j += TWSI_SVD_GROUP)
        twsi_svd_clean_group(svd, first, end, w + j * n, twsi_min(TWSI_SVD_GROUP, count - j),
                             svd->h + j * ldh);
    for (j = 0; sum != NULL && j < count; j++)
        for (i = first; i < end; i++) sum[j * svd->capacity + i] += svd->h[j * ldh + i - first];
}

/* Makes basis vector at a random unit vector orthogonal to all before it (at < columns). */
TWSI_FN void twsi_svd_fresh(twsi_svd *svd, size_t at) {
    const size_t n = svd->columns;
    double *v = svd->basis + at * n, norm;
    int tries, good = 0;
    twsi_svd_fill(svd, v, n);
    for (tries = 0; tries < 20 && good < 2; tries++) {
        norm = twsi_norm(svd->team->kernels, v, n);
        if (!(norm > 0.0)) {
            twsi_svd_fill(svd, v, n);
            norm = twsi_norm(svd->team->kernels, v, n);
        }
        twsi_scale_by(v, n, 1.0 / norm);
        twsi_svd_clean(svd, 0, at, v, 1, NULL);
        good = twsi_norm(svd->team->kernels, v, n) > 0.5 ? good + 1 : 0;
    }
    twsi_scale_by(v, n, 1.0 / twsi_norm(svd->team->kernels, v, n));
}

/* Adds up to count random vectors to the pending block. */
TWSI_FN void twsi_svd_refill(twsi_svd *svd, size_t count) {
    for (; count > 0 && svd->size < svd->columns; count--) {
        twsi_svd_fresh(svd, svd->size++);
        if (svd->fresh > 0 && svd->fresh_pass < svd->passes) {
            svd->young++;
            svd->young_pass = svd->passes;
        } else {
            svd->fresh++;
            svd->fresh_pass = svd->passes;
        }
    }
}

/* Counts the fresh directions as tried; the young ones are the fresh ones now. */
TWSI_FN void twsi_svd_tried(twsi_svd *svd) {
    svd->directions += svd->fresh;
    svd->fresh = svd->young;
    svd->fresh_pass = svd->young_pass;
    svd->young = 0;
}

/* Would a product with so many vectors take more passes than there may be? */
TWSI_FN int twsi_svd_beyond(const twsi_svd *svd, size_t count) {
    const size_t group = svd->matrix != NULL ? TWSI_SVD_GROUP : TWSI_SVD_WIDTH;
    return svd->passes + twsi_ceil_div(count, group) > svd->limit;
}

/* W = Q B: the independent vectors of the block become the next pending block, at basis + done. */
TWSI_FN void twsi_svd_next_block(twsi_svd *svd, const double *before) {
    const size_t n = svd->columns, width = svd->last;
    const twsi_kernels *kernels = svd->team->kernels;
    size_t i, j;
    memset(svd->b, 0, svd->widest * svd->widest * sizeof *svd->b);
    for (j = 0; j < width && svd->size < n; j++) {
        double *w = svd->work + j * n, norm;
        const size_t rank = svd->size - svd->done;
        for (i = 0; i < 2; i++) {
            size_t k;
            if (rank == 0) break;
            kernels->svd_double(svd->basis + svd->done * n, n, rank, n, w, n, 1, -1.0, svd->h,
                                rank, w, n);
            for (k = 0; k < rank; k++) svd->b[k * svd->widest + j] += svd->h[k];
        }
        norm = twsi_norm(kernels, w, n);
        if (!(norm > 1e-14 * svd->norm)) continue;
        svd->b[rank * svd->widest + j] = norm;
        twsi_scale_by(w, n, 1.0 / norm);
        if (norm < 0.01 * before[j]) { /* rounding errors have grown beside what is left */
            twsi_svd_clean(svd, 0, svd->size, w, 1, NULL);
            twsi_scale_by(w, n, 1.0 / twsi_norm(kernels, w, n));
        }
        memcpy(svd->basis + svd->size++ * n, w, n * sizeof *w);
    }
}

/* Takes in work = A (pending block): extends T and makes the next block. */
TWSI_FN void twsi_svd_absorb(twsi_svd *svd) {
    const size_t n = svd->columns, start = svd->done, width = svd->size - start;
    const size_t capacity = svd->capacity;
    double before[TWSI_SVD_WIDEST];
    size_t i, j, rank;
    for (j = 0; j < width; j++) {
        before[j] = twsi_norm(svd->team->kernels, svd->work + j * n, n);
        svd->norm = fmax(svd->norm, before[j]);
    }
    memset(svd->sum, 0, width * capacity * sizeof *svd->sum);
    twsi_svd_clean(svd, svd->previous, svd->size, svd->work, width, svd->sum);
    twsi_svd_clean(svd, 0, svd->size, svd->work, width, svd->sum);
    for (j = 0; j < width; j++)
        for (i = 0; i < svd->size; i++) {
            double x = svd->sum[j * capacity + i];
            if (i >= start) x = 0.5 * (x + svd->sum[(i - start) * capacity + start + j]);
            svd->t[i * capacity + start + j] = svd->t[(start + j) * capacity + i] = x;
        }
    svd->previous = start;
    svd->done = svd->size;
    svd->last = width;
    twsi_svd_next_block(svd, before);
    rank = svd->size - svd->done;
    if (rank == 0) { /* an invariant space: every direction so far has shown all it has */
        twsi_svd_tried(svd);
        twsi_svd_tried(svd);
    }
    twsi_svd_refill(svd, width - rank);
}

/* ---- Ritz pairs ---- */

/* Eigenvalues of T with residuals; with vectors also the eigenvectors, sorted, in rows of small. */
TWSI_FN tws_status twsi_svd_ritz(twsi_svd *svd, int vectors) {
    const twsi_kernels *kernels = svd->team->kernels;
    const size_t n = svd->done, kept = vectors ? n : svd->last, skip = vectors ? n - svd->last : 0;
    size_t i, j, k;
    for (i = 0; i < n; i++)
        memcpy(svd->small + i * n, svd->t + i * svd->capacity, n * sizeof *svd->small);
    twsi_tridiagonalise(kernels, svd->small, n, svd->diagonal, svd->beside, svd->reflect, svd->h);
    if (vectors)
        twsi_all_rows(kernels, svd->small, svd->reflect, n, svd->z, svd->h);
    else
        twsi_last_rows(svd->small, svd->reflect, n, kept, svd->z, svd->h);
    if (!twsi_tridiagonal_values(kernels, svd->diagonal, svd->beside, n, svd->z, kept))
        return TWS_UNAVAILABLE; /* the QL iteration has not settled; twsi_svd_solve says so */
    twsi_order_decreasing(svd->diagonal, svd->order, n);
    for (i = 0; i < n; i++) {
        const double *y = svd->z + svd->order[i] * kept + skip;
        double square = 0.0;
        for (k = 0; k < svd->last; k++) {
            double x = 0.0;
            for (j = 0; j < svd->last; j++) x += svd->b[k * svd->widest + j] * y[j];
            square += x * x;
        }
        svd->value[i] = fmax(0.0, svd->diagonal[svd->order[i]]);
        svd->error[i] = sqrt(square);
        if (vectors)
            memcpy(svd->small + i * n, svd->z + svd->order[i] * n, n * sizeof *svd->small);
    }
    return TWS_OK;
}

/* out = count leading Ritz vectors, from the eigenvectors in small. */
TWSI_FN void twsi_svd_ritz_vectors(twsi_svd *svd, size_t count, double *out) {
    const size_t n = svd->columns;
    memset(out, 0, count * n * sizeof *out);
    svd->team->kernels->svd_double(svd->basis, n, svd->done, n, NULL, 0, count, 1.0, svd->small,
                                  svd->done, out, n);
}

/* Thick restart: the best Ritz vectors and the pending block become the basis. */
TWSI_FN tws_status twsi_svd_restart(twsi_svd *svd) {
    const size_t n = svd->columns, pending = svd->size - svd->done;
    const size_t keep = twsi_min(svd->restart, svd->done);
    tws_status status = twsi_svd_ritz(svd, 1);
    size_t i;
    if (status != TWS_OK) return status;
    twsi_svd_ritz_vectors(svd, keep, svd->spare);
    memcpy(svd->basis, svd->spare, keep * n * sizeof *svd->basis);
    memmove(svd->basis + keep * n, svd->basis + svd->done * n, pending * n * sizeof *svd->basis);
    memset(svd->t, 0, svd->capacity * svd->capacity * sizeof *svd->t);
    for (i = 0; i < keep; i++) svd->t[i * svd->capacity + i] = svd->value[i];
    svd->done = keep;
    svd->size = keep + pending;
    svd->previous = 0;
    return TWS_OK;
}

/* ---- when to stop ---- */

typedef enum twsi_svd_verdict {
    TWSI_SVD_GO_ON,
    TWSI_SVD_STOP,
    TWSI_SVD_WIDEN /* converged, but a value may have more copies than were seen */
} twsi_svd_verdict;

/* The largest residual of A allowed to Ritz pair i. |M^T u - s v| is this over s, so small values
   need more; below 1e-7 s_1, and at rounding level, the final cleaning of u does the rest. */
TWSI_FN double twsi_svd_allowed(const twsi_svd *svd, size_t i) {
    const double top = sqrt(svd->value[0]);
    const double s = fmax(sqrt(svd->value[i]), 1e-7 * top);
    return svd->strict * fmax(svd->options.tolerance * s, TWSI_SVD_ROUNDING * top) * top;
}

/* Squares of singular values from fast products are right to about this, relative to the largest:
   some sixteen units in the last place of a float. */
#define TWSI_SVD_FAST_SQUARE 1e-6
#define TWSI_SVD_FAST_NOISE 2e-7 /* ... and mostly to this */

/* How many values are wanted, among the Ritz values known now. */
TWSI_FN size_t twsi_svd_wanted(const twsi_svd *svd) {
    const double below = svd->options.stop_below * svd->unit;
    size_t i, most = svd->options.top;
    if (!(svd->options.stop_below > 0.0)) return most;
    for (i = 0; i < most && i < svd->done; i++)
        if (!(sqrt(svd->value[i]) > below)) break;
    return i;
}

/* How many of the values first to end - 1 did this space start from? */
TWSI_FN size_t twsi_svd_carried(const twsi_svd *svd, size_t first, size_t end, double margin) {
    const double most = sqrt(svd->value[first]) + margin;
    const double least = sqrt(svd->value[end - 1]) - margin;
    size_t i, count = 0;
    for (i = 0; i < svd->carried_count; i++)
        count += svd->carried[i] >= least && svd->carried[i] <= most;
    return twsi_min(count, end - first);
}

/* Can a copy of one of the first wanted values be missing and matter? Sets *level to the smallest
   value of such a group. Random directions show as many copies as they are, beside those that were
   there from the start. The group of the last wanted value does not matter when the count is fixed:
   another copy would have the value that is already there. */
TWSI_FN int twsi_svd_copies_missing(const twsi_svd *svd, size_t wanted, double *level) {
    const double margin = 8.0 * svd->options.tolerance * sqrt(svd->value[0]);
    const int counted = wanted == svd->options.top;
    size_t first, end;
    int missing = 0;
    for (first = 0; first < wanted; first = end) {
        for (end = first + 1; end < svd->done; end++)
            if (sqrt(svd->value[end - 1]) - sqrt(svd->value[end]) > margin) break;
        if (counted && end >= wanted) continue;
        if (end - first - twsi_svd_carried(svd, first, end, margin) < svd->directions) continue;
        *level = svd->value[end - 1];
        missing = 1;
    }
    return missing;
}

TWSI_FN twsi_svd_verdict twsi_svd_judge(twsi_svd *svd) {
    const size_t wanted = twsi_svd_wanted(svd);
    const double below = svd->options.stop_below * svd->unit;
    double level = 0.0;
    size_t i;
    if (svd->done == svd->columns) return TWSI_SVD_STOP;
    if (svd->done < wanted) return TWSI_SVD_GO_ON;
    for (i = 0; i < wanted; i++)
        if (!(svd->error[i] <= twsi_svd_allowed(svd, i))) return TWSI_SVD_GO_ON;
    if (wanted < svd->options.top) {
        /* the rest must lie below, and the space must have had time to look; where fast products
           cannot tell, twsi_svd_missed sees to it */
        if (svd->passes < svd->begun + 8 && (svd->directions == 0 || svd->begun > 0))
            return TWSI_SVD_GO_ON;
        if (sizeof(tws_real) < sizeof(double) && svd->fast &&
            TWSI_SVD_FAST_SQUARE * svd->value[0] >= below * below)
            return TWSI_SVD_STOP;
        for (i = wanted; i < svd->done; i++)
            if (!(svd->value[i] + svd->error[i] < below * below))
                return TWSI_SVD_GO_ON;
    }
    /* The directions count once they have been at work for a while and nothing unconverged
       reaches up to the group in question. */
    if (svd->directions == 0 && svd->made == 0) {
        /* the first block, which the convergence itself has tried */
        svd->directions = twsi_min(svd->width, svd->columns);
        svd->fresh -= svd->directions;
        if (svd->fresh == 0) twsi_svd_tried(svd);
    }
    if (!twsi_svd_copies_missing(svd, wanted, &level)) return TWSI_SVD_STOP;
    if (svd->fresh == 0) return TWSI_SVD_WIDEN;
    if (svd->passes < svd->fresh_pass + 6) return TWSI_SVD_GO_ON;
    /* ... or they were given more time than all before them took */
    if (svd->passes < svd->fresh_pass + 24 + 2 * (svd->fresh_pass - svd->begun))
        for (i = 0; i < svd->done; i++)
            if (svd->error[i] > twsi_svd_allowed(svd, i) &&
                svd->value[i] + 2.0 * svd->error[i] >= level)
                return TWSI_SVD_GO_ON;
    twsi_svd_tried(svd);
    if (!twsi_svd_copies_missing(svd, wanted, &level)) return TWSI_SVD_STOP;
    return svd->fresh > 0 ? TWSI_SVD_GO_ON : TWSI_SVD_WIDEN;
}

/* How many directions the block can be widened by. */
TWSI_FN size_t twsi_svd_more(const twsi_svd *svd) {
    const size_t width = svd->size - svd->done;
    return twsi_min(width, svd->widest - twsi_min(svd->widest, width));
}

/* How far the worst wanted pair is from its tolerance, as a logarithm; 0 when all are there. */
TWSI_FN double twsi_svd_distance(const twsi_svd *svd) {
    const size_t wanted = twsi_min(twsi_svd_wanted(svd), svd->done);
    double worst = 0.0;
    size_t i;
    for (i = 0; i < wanted; i++)
        if (svd->error[i] > twsi_svd_allowed(svd, i))
            worst = fmax(worst, log(svd->error[i] / twsi_svd_allowed(svd, i)));
    return worst;
}

/* The next look: most of the way to where the present rate of progress leads. */
TWSI_FN void twsi_svd_plan(twsi_svd *svd) {
    const double now = twsi_svd_distance(svd), ahead = 1.0 + (double)svd->steps / 2;
    double rate = 0.0;
    if (svd->since > 0 && svd->distance > now)
        rate = (svd->distance - now) / (double)(svd->steps - svd->since);
    svd->distance = now;
    svd->since = svd->steps;
    svd->check = svd->steps + twsi_max(1, svd->steps / 8);
    if (rate > 0.0) svd->check = svd->steps + (size_t)fmin(fmax(1.0, 0.7 * now / rate), ahead);
}

/* Looks at the Ritz pairs and decides whether to go on: sets ended, and status. */
TWSI_FN tws_status twsi_svd_look(twsi_svd *svd) {
    const int whole = svd->capacity == svd->columns;
    tws_status status = twsi_svd_ritz(svd, 0);
    twsi_svd_verdict verdict;
    if (status != TWS_OK) return status;
    verdict = twsi_svd_judge(svd);
    if (verdict == TWSI_SVD_WIDEN && !whole && twsi_svd_more(svd) == 0 && svd->believed > 0) {
        svd->directions = twsi_max(svd->directions, svd->believed);
        svd->believed = 0;
        verdict = twsi_svd_judge(svd);
    }
    svd->ended = verdict == TWSI_SVD_STOP;
    if (svd->ended) return TWS_OK;
    if (verdict == TWSI_SVD_WIDEN && !twsi_svd_beyond(svd, svd->size - svd->done)) {
        const size_t more = twsi_svd_more(svd), before = svd->size;
        svd->crowded = more == 0 && !whole;
        if (svd->crowded) return TWS_NOT_CONVERGED;
        twsi_svd_refill(svd, more);
        svd->later = whole ? 0 : more - (svd->size - before);
    }
    twsi_svd_plan(svd);
    return twsi_svd_beyond(svd, svd->size - svd->done) ? TWS_NOT_CONVERGED : TWS_OK;
}

/* After a product: everything up to the next one. Touches nothing but svd, and the team
   unless nested: what runs as a single piece leaves the workers free. */
TWSI_FN void twsi_svd_advance(twsi_svd *svd) {
    int full;
    twsi_svd_absorb(svd);
    svd->steps++;
    full = svd->size > svd->capacity || svd->done == svd->columns;
    if (twsi_svd_beyond(svd, svd->size - svd->done) || full ||
        (svd->steps >= svd->check && svd->done >= twsi_min(svd->options.top, svd->columns)))
        svd->status = twsi_svd_look(svd);
    if (svd->status == TWS_OK && !svd->ended && svd->size > svd->capacity) {
        svd->status = twsi_svd_restart(svd);
        twsi_svd_refill(svd, svd->later);
        svd->later = svd->since = 0;
    }
    if (svd->status != TWS_OK) svd->ended = 1;
}

TWSI_FN void twsi_svd_advance_one(void *data, size_t index, size_t worker) {
    twsi_svd *svd = ((twsi_svd_round *)data)->svd + index;
    (void)worker;
    if (svd->ended) return;
    if (svd->status == TWS_OK)
        twsi_svd_advance(svd);
    else
        svd->ended = 1;
}

/* Starts a space from the pending block basis[0 .. size) and more random directions. */
TWSI_FN void twsi_svd_begin(twsi_svd *svd, size_t size, size_t more) {
    svd->done = svd->previous = svd->last = svd->steps = svd->since = svd->later = 0;
    svd->begun = svd->passes;
    svd->check = 2;
    svd->size = size;
    svd->ended = 0;
    svd->status = TWS_OK;
    memset(svd->t, 0, svd->capacity * svd->capacity * sizeof *svd->t);
    twsi_svd_refill(svd, more);
}

/* Grows the spaces until the wanted values of each have converged; every status says how. */
TWSI_FN tws_status twsi_svd_iterate_fast(twsi_svd *svd, size_t count) {
    twsi_svd_round round;
    tws_status status = TWS_OK;
    size_t j, active = 1;
    round.svd = svd;
    round.count = count;
    round.segments = twsi_ceil_div(svd->columns, TWSI_SVD_SEGMENT);
    while (status == TWS_OK && active > 0) {
        status = twsi_svd_multiply_fast(&round);
        if (status == TWS_OK) twsi_run(svd->team, count, twsi_svd_advance_one, &round);
        for (j = active = 0; j < count; j++) active += !svd[j].ended;
    }
    return status;
}

/* The same for one, in double. TWS_NOT_CONVERGED is not recorded here: the caller still makes the
   outputs. */
TWSI_FN tws_status twsi_svd_iterate(twsi_svd *svd) {
    while (!svd->ended) {
        const size_t n = svd->columns;
        const tws_status status = twsi_svd_multiply(svd, svd->basis + svd->done * n,
                                                    svd->size - svd->done, NULL, svd->work);
        if (status != TWS_OK) return status;
        twsi_svd_advance(svd);
    }
    return TWS_OK;
}

/* ---- outputs ---- */

/* dot = u . w over all processes */
TWSI_FN tws_status twsi_svd_left_dot(twsi_svd *svd, const double *u, const double *w, double *dot) {
    *dot = 0.0;
    if (svd->rows > 0)
        svd->team->kernels->svd_double(u, svd->rows, 1, svd->rows, w, svd->rows, 1, 1.0, dot, 1,
                                      NULL, 0);
    return twsi_svd_reduce(svd, dot, 1);
}

/* Takes out of w the parts along the first count rows of left, twice, and returns its norm. */
TWSI_FN tws_status twsi_svd_left_clean(twsi_svd *svd, const double *left, size_t count, double *w,
                                       double *norm) {
    const size_t m = svd->rows;
    tws_status status = TWS_OK;
    int round;
    *norm = 0.0;
    for (round = 0; round < 2 && count > 0 && status == TWS_OK; round++) {
        svd->team->kernels->svd_double(left, m, count, m, w, m, 1, 1.0, svd->error, count, NULL, 0);
        if (m == 0) memset(svd->error, 0, count * sizeof *svd->error);
        status = twsi_svd_reduce(svd, svd->error, count);
        svd->team->kernels->svd_double(left, m, count, m, NULL, 0, 1, -1.0, svd->error, count, w,
                                       m);
    }
    if (status == TWS_OK) status = twsi_svd_left_dot(svd, w, w, norm);
    *norm = sqrt(*norm);
    return status;
}

/* Turns row k of left, which holds M v_k, into u_k and sets *s = u_k . M v_k. Where nothing is left
   after cleaning, u_k is a random direction orthogonal to the others, and *made is set. */
TWSI_FN tws_status twsi_svd_left_vector(twsi_svd *svd, double *left, size_t k, double top,
                                        double *s, int *made) {
    double *u = left + k * svd->rows, norm;
    int tries;
    tws_status status = twsi_svd_left_clean(svd, left, k, u, &norm);
    *s = norm;
    *made = 0;
    for (tries = 0; status == TWS_OK && tries < 4 && !(norm > 1e-13 * top); tries++) {
        double size;
        *s = 0.0;
        *made = 1;
        twsi_svd_fill(svd, u, svd->rows);
        status = twsi_svd_left_dot(svd, u, u, &size);
        if (status == TWS_OK) status = twsi_svd_left_clean(svd, left, k, u, &norm);
        if (!(norm > 1e-6 * sqrt(size))) norm = 0.0;
        if (norm > 0.0) break;
    }
    if (status != TWS_OK) return status;
    twsi_scale_by(u, svd->rows, norm > 0.0 ? 1.0 / norm : 0.0);
    if (k > 0 && norm > 0.0) { /* once more at unit size, for orthogonality to rounding */
        status = twsi_svd_left_clean(svd, left, k, u, &norm);
        twsi_scale_by(u, svd->rows, norm > 0.0 ? 1.0 / norm : 0.0);
    }
    return status;
}

typedef struct twsi_svd_output {
    double *values, *left, *right, *residuals;
    double *image; /* M v, top x rows, when left is turned into u */
    double *back;  /* M^T M v, then M^T u: top x columns */
    double *forth; /* |M v - s u|, top */
    double *bound; /* of |M^T (u - M v / s)|, top */
} twsi_svd_output;

TWSI_FN void twsi_swap(double *a, double *b, size_t n) {
    size_t i;
    for (i = 0; i < n; i++) {
        const double x = a[i];
        a[i] = b[i];
        b[i] = x;
    }
}

/* Cleaning may reorder values that differ by rounding: sorts the triplets. */
TWSI_FN void twsi_svd_sort(const twsi_svd *svd, const twsi_svd_output *out) {
    const size_t top = svd->made;
    size_t i, j, best;
    for (i = 0; i < top; i++) {
        for (best = i, j = i + 1; j < top; j++)
            if (out->values[j] > out->values[best]) best = j;
        if (best == i) continue;
        twsi_swap(out->values + i, out->values + best, 1);
        twsi_swap(out->residuals + i, out->residuals + best, 1);
        twsi_swap(out->left + i * svd->rows, out->left + best * svd->rows, svd->rows);
        twsi_swap(out->right + i * svd->columns, out->right + best * svd->columns, svd->columns);
    }
}

/* What the outputs hold beyond the triplets that are wanted; values by Rayleigh and Ritz. */
TWSI_FN void twsi_svd_estimates(const twsi_svd *svd, const twsi_svd_output *out) {
    const size_t top = svd->options.top;
    size_t k;
    for (k = svd->made; k < top; k++) {
        out->values[k] = k < svd->done ? sqrt(svd->value[k]) / svd->unit : 0.0;
        out->residuals[k] = 1.0;
        memset(out->left + k * svd->rows, 0, svd->rows * sizeof *out->left);
        memset(out->right + k * svd->columns, 0, svd->columns * sizeof *out->right);
    }
}

/* Values, vectors and measured residuals from the space. Once it has converged, M^T M v / s stands
   for M^T u where the difference has a bound that hardly counts; it is added to the residual. */
TWSI_FN tws_status twsi_svd_finish(twsi_svd *svd, const twsi_svd_output *out) {
    const size_t n = svd->columns, m = svd->rows;
    double largest = 0.0;
    size_t i, k, top, known, first, end = 0;
    uint64_t random;
    tws_status status = twsi_svd_ritz(svd, 1);
    if (status != TWS_OK) return status;
    largest = sqrt(svd->value[0]);
    svd->made = first = top = twsi_svd_wanted(svd);
    known = twsi_min(top, svd->done);
    twsi_svd_estimates(svd, out);
    if (top == 0) return TWS_OK;
    twsi_svd_ritz_vectors(svd, known, out->right);
    for (k = known; k < top; k++) { /* a space cut short: what is pending stands in, then chance */
        if (k >= svd->size) twsi_svd_fresh(svd, k);
        svd->size = twsi_max(svd->size, k + 1);
        memcpy(out->right + k * n, svd->basis + k * n, n * sizeof *out->right);
    }
    status = twsi_svd_multiply(svd, out->right, top, out->left, out->back);
    if (status != TWS_OK) return status;
    memcpy(out->image, out->left, top * m * sizeof *out->left);
    random = svd->random; /* processes draw for their rows, and must agree on the next columns */
    for (k = 0; k < top && status == TWS_OK; k++) {
        double *u = out->left + k * m, *image = out->image + k * m, miss = 0.0;
        int made;
        status = twsi_svd_left_vector(svd, out->left, k, largest, &out->values[k], &made);
        largest = fmax(largest, out->values[k]); /* squares of tiny entries may have vanished */
        for (i = 0; i < m; i++) image[i] -= out->values[k] * u[i];
        if (status == TWS_OK) status = twsi_svd_left_dot(svd, image, image, &miss);
        out->forth[k] = sqrt(miss);
        out->bound[k] = made || svd->status != TWS_OK || out->values[k] < 1e-3 * largest
                            ? HUGE_VAL
                            : out->forth[k] / out->values[k] * largest;
        if (!(out->bound[k] > 0.1 * svd->options.tolerance * largest)) continue;
        first = twsi_min(first, k);
        end = k + 1;
    }
    svd->random = random;
    if (status == TWS_OK && first < end)
        status = twsi_svd_multiply(svd, NULL, end - first, out->left + first * m,
                                   out->back + first * n);
    if (status != TWS_OK) return status;
    for (k = 0; k < top; k++) {
        double *back = out->back + k * n, miss;
        const int known_back = first <= k && k < end;
        if (!known_back) twsi_scale_by(back, n, 1.0 / out->values[k]);
        for (i = 0; i < n; i++) back[i] -= out->values[k] * out->right[k * n + i];
        miss = twsi_norm(svd->team->kernels, back, n) + (known_back ? 0.0 : out->bound[k]);
        out->residuals[k] = fmax(out->forth[k], miss);
    }
    twsi_svd_sort(svd, out);
    for (k = top; k-- > 0;)
        out->residuals[k] = out->values[0] > 0.0 ? out->residuals[k] / out->values[0] : 0.0;
    for (k = 0; k < top; k++) out->values[k] /= svd->unit;
    for (k = top; k < svd->options.top; k++) /* estimates, below what is measured */
        out->values[k] = fmin(out->values[k], out->values[k - 1]);
    return TWS_OK;
}

/* ---- set up ---- */

/* The unit that keeps squares in range, where entries are double: about 1 / (largest entry). The
   processes that share a matrix have only sums to agree on it, so roots are added. */
TWSI_FN tws_status twsi_svd_find_unit(twsi_svd *svd) {
    double largest = 0.0;
    tws_status status;
    svd->unit = 1.0;
    if (svd->matrix == NULL) {
        double *x = svd->work;
        size_t i;
        twsi_svd_fill(svd, x, svd->columns);
        if (svd->apply(svd->user, 0, x, svd->product) == TWS_OK) /* a failure shows in a pass */
            for (i = 0; i < svd->rows; i++) largest = fmax(largest, fabs(svd->product[i]));
    } else if (sizeof(tws_real) == sizeof(double)) {
        size_t i, j;
        for (i = 0; i < svd->rows; i++)
            for (j = 0; j < svd->columns; j++)
                largest = fmax(largest, fabs((double)svd->matrix[i * svd->ld + j]));
    } else {
        return TWS_OK;
    }
    if (!(largest <= DBL_MAX)) largest = 0.0; /* the first pass reports it */
    largest = sqrt(largest);
    status = twsi_svd_reduce(svd, &largest, 1);
    if (largest > 0.0 && largest <= DBL_MAX) {
        int exponent = twsi_exponent(largest);
        exponent = exponent > 500 ? 500 : exponent < -500 ? -500 : exponent;
        svd->unit = ldexp(1.0, -2 * exponent);
    }
    return status;
}

/* What this process can see alone. */
TWSI_FN tws_status twsi_svd_check(const twsi_svd *svd, const double *values) {
    const tws_svd_options *o = &svd->options;
    const size_t n = svd->columns;
    if (values == NULL)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT, "values is NULL; it takes top numbers");
    if (n == 0)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT, "columns is 0, must be at least 1");
    if (svd->rows == 0 && (svd->context == NULL || svd->context->reduce == NULL))
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT, "rows is 0, must be at least 1");
    if (svd->matrix != NULL && svd->ld < n)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "ld is %lu, must be at least columns = %lu",
                         (unsigned long)svd->ld, (unsigned long)n);
    if (!(o->tolerance >= 1e-12 && o->tolerance <= 0.1))
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "options.tolerance is %g, allowed are 1e-12 to 0.1", o->tolerance);
    if (o->max_passes == 0)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "options.max_passes is 0, must be positive");
    if (!(o->stop_below >= 0.0 && o->stop_below <= DBL_MAX))
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "options.stop_below is %g, must be finite and not negative",
                         o->stop_below);
    return TWS_OK;
}

/* What depends on the rows of all processes, the same everywhere. */
TWSI_FN tws_status twsi_svd_check_sizes(twsi_svd *svd) {
    const tws_svd_options *o = &svd->options;
    const size_t n = svd->columns;
    double total = (double)svd->rows;
    const tws_status status = twsi_svd_reduce(svd, &total, 1);
    if (status != TWS_OK) return status;
    if (o->top == 0 || o->top > n || (double)o->top > total)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "options.top is %lu, allowed are 1 to min(rows, columns) = %.0f",
                         (unsigned long)o->top, fmin(total, (double)n));
    if (o->max_basis != 0 && (o->max_basis < o->top || o->max_basis - o->top < 16) &&
        o->max_basis < n)
        return twsi_fail(svd->context, TWS_BAD_ARGUMENT,
                         "options.max_basis is %lu, must be 0 or at least min(columns, top + 16)",
                         (unsigned long)o->max_basis);
    return TWS_OK;
}

/* Sizes of the basis and of the block, and all memory. */
TWSI_FN tws_status twsi_svd_prepare(twsi_svd *svd, twsi_svd_output *out) {
    const size_t n = svd->columns, m = svd->rows, top = svd->options.top;
    twsi_pool *pool = svd->pool;
    size_t c;
    svd->width = TWSI_SVD_WIDTH;
    svd->fast = svd->matrix != NULL &&
                (svd->options.tolerance >= TWSI_SVD_FAST || sizeof(tws_real) == sizeof(double));
    c = svd->options.max_basis != 0 ? svd->options.max_basis : top > n / 3 ? n : 3 * top + 320;
    svd->capacity = c = twsi_min(c, n);
    /* a basis of the whole space is never restarted, so it needs no room beside the wanted ones */
    svd->widest = twsi_min(TWSI_SVD_WIDEST, c == n ? n : (c - top) / 4);
    svd->widest = twsi_max(svd->width, svd->widest);
    svd->restart = twsi_min(c, twsi_min(top + twsi_max(16, top / 2),
                                        twsi_max(top, c - twsi_min(c, 3 * svd->widest))));
    if (!twsi_fits(m, svd->matrix != NULL ? svd->ld : n, sizeof(tws_real)) ||
        !twsi_fits(c + svd->widest, n, sizeof(double)) ||
        !twsi_fits(top, twsi_max(m, n), sizeof(double)))
        return twsi_fail(svd->context, TWS_TOO_LARGE,
                         "a matrix of %lu x %lu does not fit in memory", (unsigned long)m,
                         (unsigned long)n);
    if (svd->matrix != NULL) {
        void *partial = twsi_take(pool, svd->chunks * TWSI_SVD_GROUP, n * sizeof(double));
        svd->partial = (double *)partial;
        svd->sums = (tws_real *)partial;
        svd->block = (tws_real *)twsi_take(pool, n, TWSI_SVD_GROUP * sizeof(tws_real));
    }
    svd->product = (double *)twsi_take(pool, m, TWSI_SVD_GROUP * sizeof(double));
    svd->basis = (double *)twsi_take(pool, c + svd->widest, n * sizeof(double));
    svd->work = (double *)twsi_take(pool, svd->widest, n * sizeof(double));
    svd->carried = (double *)twsi_take(pool, svd->widest, sizeof(double));
    svd->spare = (double *)twsi_take(pool, svd->restart, n * sizeof(double));
    svd->h = (double *)twsi_take(pool, svd->widest, (c + svd->widest) * sizeof(double));
    svd->sum = (double *)twsi_take(pool, svd->widest, c * sizeof(double));
    svd->shares = (double *)twsi_take(pool, TWSI_SVD_PIECES * TWSI_SVD_GROUP, n * sizeof(double));
    svd->b = (double *)twsi_take(pool, svd->widest, svd->widest * sizeof(double));
    svd->t = (double *)twsi_take(pool, c, c * sizeof(double));
    svd->small = (double *)twsi_take(pool, c, c * sizeof(double));
    svd->z = (double *)twsi_take(pool, c, twsi_max(c, svd->widest) * sizeof(double));
    svd->value = (double *)twsi_take(pool, c, sizeof(double));
    svd->error = (double *)twsi_take(pool, twsi_max(c, top), sizeof(double));
    svd->diagonal = (double *)twsi_take(pool, c, sizeof(double));
    svd->beside = (double *)twsi_take(pool, c, sizeof(double));
    svd->reflect = (double *)twsi_take(pool, c, sizeof(double));
    svd->order = (size_t *)twsi_take(pool, c, sizeof(size_t));
    if (out->left == NULL) out->left = (double *)twsi_take(pool, m, top * sizeof(double));
    if (out->right == NULL) out->right = (double *)twsi_take(pool, n, top * sizeof(double));
    if (out->residuals == NULL) out->residuals = (double *)twsi_take(pool, top, sizeof(double));
    out->image = (double *)twsi_take(pool, m, top * sizeof(double));
    out->back = (double *)twsi_take(pool, n, top * sizeof(double));
    out->forth = (double *)twsi_take(pool, top, sizeof(double));
    out->bound = (double *)twsi_take(pool, top, sizeof(double));
    if (pool->status != TWS_OK)
        return twsi_fail(svd->context, pool->status,
                         "no memory for a basis of %lu vectors of %lu columns (options.max_basis)",
                         (unsigned long)c, (unsigned long)n);
    return TWS_OK;
}

/* Parts of a pass, by the size of the matrix alone, and how many rows are formed at a time. */
TWSI_FN void twsi_svd_divide(twsi_svd *svd) {
    const size_t m = svd->rows, n = svd->columns;
    svd->chunks = m < TWSI_SVD_WHOLE / n ? 1 : twsi_min(TWSI_SVD_CHUNKS, m / TWSI_SVD_PART + 1);
    svd->chunk_rows = twsi_max(1, twsi_ceil_div(m, svd->chunks));
    svd->chunks = twsi_ceil_div(m, svd->chunk_rows);
    svd->slab_rows = svd->chunk_rows;
    if (svd->other != NULL) /* eights, so that no tile of a pass is half empty */
        svd->slab_rows = twsi_max(8, twsi_min(TWSI_SVD_ROWS, TWSI_SVD_SLAB / 4 / n / 8 * 8));
}

/* Is the residual of value k, above the level, above the tolerance? */
TWSI_FN int twsi_svd_short(const twsi_svd *svd, const twsi_svd_output *out, size_t k) {
    return !(out->residuals[k] <= svd->options.tolerance) &&
           !(out->values[k] <= svd->options.stop_below && svd->options.stop_below > 0.0);
}

/* Have the fast products left a residual above the tolerance, or a value in doubt that may lie
   above the level and was not counted? */
TWSI_FN int twsi_svd_missed(const twsi_svd *svd, const twsi_svd_output *out) {
    const double below = svd->options.stop_below * svd->unit;
    const size_t wanted = twsi_svd_wanted(svd);
    size_t k;
    for (k = 0; k < wanted; k++) {
        if (twsi_svd_short(svd, out, k)) return 1;
        if (below > 0.0 && !(out->values[k] > svd->options.stop_below))
            return 1; /* rounding had lifted it above the level, where it takes a place */
    }
    if (wanted == svd->options.top) return 0;
    if (!(svd->value[0] > 1e-24)) return 1; /* squares that vanish */
    return !((wanted < svd->done ? svd->value[wanted] : 0.0) +
                 TWSI_SVD_FAST_SQUARE * svd->value[0] <
             below * below);
}

/* Have fast products told the wanted values from those that are not, all of them from zero, and do
   the outputs hold them all? Then the copies of each have been looked for. */
TWSI_FN int twsi_svd_vetted(const twsi_svd *svd) {
    const double below = svd->options.stop_below * svd->unit;
    const double noise = TWSI_SVD_FAST_SQUARE * svd->value[0];
    if (svd->made == 0 || svd->made > svd->widest) return 0;
    return svd->value[svd->made - 1] > noise &&
           (svd->made == svd->options.top || below * below > noise);
}

/* How many vectors a space in double can start from: beside them go random directions, unless the
   whole space has room. */
TWSI_FN size_t twsi_svd_room(const twsi_svd *svd) {
    return svd->columns <= svd->widest ? svd->columns : svd->widest - svd->width;
}

/* May rounding in the fast products have put the last of top before a larger one? So it is where
   (s + margin s_1)^2 may have seemed less than s^2. Looked into only where a space in double starts
   from all that was found: then nothing is lost on the way. */
TWSI_FN int twsi_svd_doubtful(const twsi_svd *svd, const twsi_svd_output *out) {
    const double margin = 10.0 * svd->options.tolerance;
    const size_t top = svd->options.top;
    if (svd->made < top || top == svd->columns || top > twsi_svd_room(svd)) return 0;
    return margin * (2.0 * out->values[top - 1] + margin * out->values[0]) <
           TWSI_SVD_FAST_NOISE * out->values[0];
}

/* The largest residual above the tolerance, 0 if there is none. */
TWSI_FN double twsi_svd_worst(const twsi_svd *svd, const twsi_svd_output *out) {
    const size_t wanted = twsi_svd_wanted(svd);
    double worst = 0.0;
    size_t k;
    for (k = 0; k < wanted; k++)
        if (twsi_svd_short(svd, out, k)) worst = fmax(worst, out->residuals[k]);
    return worst;
}

/* Outputs from a space in double. A Ritz value knows nothing of what cleaning its u of larger ones
   does to a small one: where the residuals measured are too large, the same space grows on for a
   smaller bound, a while, and again if that has halved the worst. */
TWSI_FN tws_status twsi_svd_refine(twsi_svd *svd, const twsi_svd_output *out) {
    tws_status status = twsi_svd_finish(svd, out);
    double before = HUGE_VAL, worst = twsi_svd_worst(svd, out);
    while (status == TWS_OK && svd->status == TWS_OK && svd->done < svd->columns && worst > 0.0 &&
           worst < 0.5 * before) {
        if (twsi_svd_beyond(svd, svd->size - svd->done)) {
            svd->status = TWS_NOT_CONVERGED;
            break;
        }
        before = worst;
        if (svd->size > svd->capacity) status = twsi_svd_restart(svd);
        svd->strict *= 0.1;
        svd->check = svd->steps;
        svd->ended = 0;
        svd->limit = twsi_min(svd->limit, svd->passes + 8 + (svd->passes - svd->begun) / 2);
        if (status == TWS_OK) status = twsi_svd_iterate(svd);
        if (svd->status == TWS_NOT_CONVERGED && svd->limit < svd->options.max_passes)
            svd->status = TWS_OK, svd->crowded = 0; /* only the while is over */
        svd->limit = svd->options.max_passes;
        if (status == TWS_OK) status = twsi_svd_finish(svd, out);
        worst = twsi_svd_worst(svd, out);
    }
    return status;
}

/* A space in double from what fast products have found. Where they could not see all, copies of
   every value are looked for anew, with directions of their own. */
TWSI_FN void twsi_svd_begin_again(twsi_svd *svd, const twsi_svd_output *out) {
    const int vetted = twsi_svd_vetted(svd);
    const size_t good = twsi_min(svd->made, vetted ? svd->widest : twsi_svd_room(svd));
    size_t k;
    if (good > 0) memcpy(svd->basis, out->right, good * svd->columns * sizeof *svd->basis);
    if (!vetted) {
        svd->believed = svd->made > 0 && svd->value[0] > 1e-24 ? svd->directions : 0;
        svd->directions = svd->fresh = svd->young = 0;
        for (k = 0; k < good; k++)
            if (out->residuals[k] <= svd->options.tolerance)
                svd->carried[svd->carried_count++] = out->values[k] * svd->unit;
    }
    svd->fast = 0;
    twsi_svd_begin(svd, good, vetted ? svd->width - twsi_min(good, svd->width) : svd->width);
}

/* Outputs from a space that fast products have made. Where they were too coarse (residuals are
   measured in double), in doubt or out of range, goes on in double from what they found. */
TWSI_FN tws_status twsi_svd_settle(twsi_svd *svd, const twsi_svd_output *out) {
    const int coarse = sizeof(tws_real) < sizeof(double);
    const int finite = svd->status != TWS_NOT_FINITE;
    int good_enough = 0;
    tws_status status = TWS_OK;
    if (svd->status == TWS_UNAVAILABLE) return svd->status;
    if (svd->fast && finite && !coarse) return twsi_svd_refine(svd, out);
    if (svd->fast && finite) {
        status = twsi_svd_finish(svd, out);
        if (status != TWS_OK || svd->status != TWS_OK) return status;
        good_enough = !twsi_svd_missed(svd, out);
        if (good_enough && !twsi_svd_doubtful(svd, out)) return TWS_OK;
        if (twsi_svd_beyond(svd, twsi_min(svd->made + svd->width, svd->widest))) {
            if (!good_enough) svd->status = TWS_NOT_CONVERGED;
            return TWS_OK;
        }
    }
    if (svd->fast) twsi_svd_begin_again(svd, out);
    status = twsi_svd_iterate(svd);
    if (status == TWS_OK) status = twsi_svd_refine(svd, out);
    if (good_enough && svd->status == TWS_NOT_CONVERGED && !(twsi_svd_worst(svd, out) > 0.0))
        svd->status = TWS_OK; /* what fast products had found stands, the doubt too */
    return status;
}

/* Counts, and the sentence of a failure to converge. */
TWSI_FN tws_status twsi_svd_conclude(const twsi_svd *svd, const twsi_svd_output *out,
                                     tws_svd_result *result) {
    const double below = svd->options.stop_below;
    size_t k, wanted = twsi_svd_wanted(svd);
    while (wanted > 0 && below > 0.0 && !(out->values[wanted - 1] > below)) {
        wanted--; /* rounding had lifted it above the level, and it is measured below */
        memset(out->left + wanted * svd->rows, 0, svd->rows * sizeof *out->left);
        memset(out->right + wanted * svd->columns, 0, svd->columns * sizeof *out->right);
        out->residuals[wanted] = 1.0;
    }
    for (k = 0; k < svd->options.top; k++)
        if (!(out->residuals[k] <= svd->options.tolerance)) break;
    result->wanted = wanted;
    result->converged = k;
    result->passes = svd->passes;
    result->products = svd->products;
    if (svd->status == TWS_OK && k >= result->wanted) return TWS_OK;
    return twsi_fail(svd->context, TWS_NOT_CONVERGED,
                     svd->crowded
                         ? "%lu of %lu wanted singular values converged to options.tolerance = %g "
                           "in %lu passes: values repeat too often for options.max_basis and top"
                     : svd->status == TWS_OK
                         ? "%lu of %lu wanted singular values converged to options.tolerance = %g "
                           "in %lu passes: rounding allows no less"
                         : "%lu of %lu wanted singular values converged to options.tolerance = %g "
                           "in %lu passes (options.max_passes = %lu)",
                     (unsigned long)twsi_min(k, result->wanted), (unsigned long)result->wanted,
                     svd->options.tolerance, (unsigned long)svd->passes,
                     (unsigned long)svd->options.max_passes);
}

/* Solves count problems of one shape, prepared alike but for what their matrix is. */
TWSI_FN tws_status twsi_svd_solve(twsi_svd *svd, twsi_svd_output *out, size_t count,
                                  tws_svd_result *results) {
    tws_context *context = svd->context;
    tws_status status = TWS_OK, worst = TWS_OK;
    twsi_team team;
    size_t j;
    for (j = 0; j < count; j++) {
        svd[j].team = &team;
        twsi_svd_divide(svd + j);
        if (status == TWS_OK) status = twsi_svd_prepare(svd + j, out + j);
    }
    twsi_team_clear(&team);
    if (status == TWS_OK) status = twsi_team_open(&team, context, svd->chunks);
    if (status == TWS_OK && svd->other != NULL) {
        svd->slabs = (tws_real *)twsi_take(svd->pool, team.workers * svd->slab_rows,
                                           svd->columns * sizeof *svd->slabs);
        if (svd->pool->status != TWS_OK)
            status = twsi_fail(context, svd->pool->status, "no memory for rows of the sums");
    }
    status = twsi_agree(context, status);
    for (j = 0; j < count && status == TWS_OK; j++) {
        svd[j].slabs = svd->slabs;
        svd[j].nested = count > 1;
        status = twsi_svd_find_unit(svd + j);
        twsi_svd_begin(svd + j, 0, svd->width);
    }
    if (status == TWS_OK && svd->fast) status = twsi_svd_iterate_fast(svd, count);
    for (j = 0; j < count && status == TWS_OK; j++) {
        svd[j].nested = 0;
        status = twsi_svd_settle(svd + j, out + j);
        if (status == TWS_OK && twsi_svd_conclude(svd + j, out + j, results + j) != TWS_OK)
            worst = TWS_NOT_CONVERGED;
    }
    twsi_team_close(&team);
    if (status == TWS_UNAVAILABLE && team.kernels != NULL)
        return twsi_fail(context, TWS_NOT_CONVERGED, "a small eigenvalue problem did not settle");
    return status != TWS_OK ? status : worst;
}

/* What every problem starts from. */
TWSI_FN void twsi_svd_open(twsi_svd *svd, tws_context *context, twsi_pool *pool,
                           const tws_svd_options *options, size_t rows, size_t columns) {
    const int shared = context != NULL && context->reduce != NULL;
    memset(svd, 0, sizeof *svd);
    svd->context = context;
    svd->pool = pool;
    svd->options = options != NULL
                       ? *options
                       : tws_default_svd_options(
                             twsi_min(10, shared ? columns : twsi_min(rows, columns)));
    svd->rows = rows;
    svd->columns = columns;
    svd->random = svd->options.seed;
    svd->limit = svd->options.max_passes;
    svd->strict = 0.5;
}

/* On the way out with TWS_NOT_FINITE: names the entry, if it is in this array of this process. */
TWSI_FN int twsi_svd_blame(tws_context *context, const char *name, const tws_real *matrix,
                           size_t rows, size_t columns, size_t ld) {
    size_t i, j;
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++)
            if (!(fabs((double)matrix[i * ld + j]) <= DBL_MAX)) {
                twsi_say(context, "%s contains NaN or infinity in row %lu, column %lu", name,
                         (unsigned long)i, (unsigned long)j);
                return 1;
            }
    return 0;
}

/* Both public functions for one matrix: matrix or apply, the other is NULL. */
TWSI_FN tws_status twsi_svd_start(tws_context *context, const tws_svd_options *options,
                                  const tws_real *matrix, size_t ld, tws_operator apply,
                                  void *user, size_t rows, size_t columns, double *values,
                                  double *left, double *right, double *residuals,
                                  tws_svd_result *result, tws_status status) {
    twsi_pool pool;
    twsi_svd svd;
    twsi_svd_output out;
    tws_svd_result counts;
    twsi_svd_open(&svd, context, &pool, options, rows, columns);
    memset(&out, 0, sizeof out);
    memset(&counts, 0, sizeof counts);
    svd.matrix = matrix;
    svd.ld = ld;
    svd.apply = apply;
    svd.user = user;
    out.values = values;
    out.left = left;
    out.right = right;
    out.residuals = residuals;
    if (status == TWS_OK) status = twsi_svd_check(&svd, values);
    status = twsi_agree(context, status);
    if (status == TWS_OK) status = twsi_svd_check_sizes(&svd);
    if (status == TWS_OK) {
        twsi_pool_open(&pool, context);
        status = twsi_svd_solve(&svd, &out, 1, &counts);
        twsi_pool_close(&pool);
    }
    if (status == TWS_NOT_FINITE && matrix != NULL &&
        !twsi_svd_blame(context, "matrix", matrix, rows, columns, ld) && context != NULL &&
        context->reduce == NULL)
        twsi_say(context, "matrix has a singular value above the largest number");
    if (result != NULL) *result = counts;
    return status;
}

TWS_API tws_status tws_svd(tws_context *context, const tws_svd_options *options,
                           const tws_real *matrix, size_t rows, size_t columns, size_t ld,
                           double *values, double *left, double *right, double *residuals,
                           tws_svd_result *result) {
    const tws_status status =
        matrix != NULL ? TWS_OK
                       : twsi_fail(context, TWS_BAD_ARGUMENT,
                                   "matrix is NULL; it takes rows x columns numbers");
    return twsi_svd_start(context, options, matrix, ld, NULL, NULL, rows, columns, values, left,
                          right, residuals, result, status);
}

TWS_API tws_status tws_svd_operator(tws_context *context, const tws_svd_options *options,
                                    tws_operator apply, void *user, size_t rows, size_t columns,
                                    double *values, double *left, double *right,
                                    double *residuals, tws_svd_result *result) {
    const tws_status status = apply != NULL
                                  ? TWS_OK
                                  : twsi_fail(context, TWS_BAD_ARGUMENT,
                                              "apply is NULL; it must multiply by the matrix");
    return twsi_svd_start(context, options, NULL, 0, apply, user, rows, columns, values, left,
                          right, residuals, result, status);
}

/* ---- several matrices at once ---- */

TWSI_FN tws_status twsi_pencil_check(tws_context *context, const tws_real *a, size_t lda,
                                     const tws_real *b, size_t ldb, size_t rows, size_t columns,
                                     const double *factors, size_t count,
                                     const double *stop_below) {
    size_t j;
    if (a == NULL || b == NULL || factors == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         a == NULL ? "a" : b == NULL ? "b" : "factors");
    if (count == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "count is 0, must be at least 1");
    if (lda < columns || ldb < columns)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is %lu, must be at least columns = %lu",
                         lda < columns ? "lda" : "ldb",
                         (unsigned long)(lda < columns ? lda : ldb), (unsigned long)columns);
    if (!twsi_fits(rows, twsi_max(lda, ldb), sizeof(tws_real)) ||
        !twsi_fits(count, 1, sizeof(double)))
        return twsi_fail(context, TWS_TOO_LARGE, "a matrix of %lu x %lu does not fit in memory",
                         (unsigned long)rows, (unsigned long)columns);
    for (j = 0; j < count; j++) {
        if (!(fabs((double)(tws_real)factors[j]) <= DBL_MAX))
            return twsi_fail(context, TWS_BAD_ARGUMENT,
                             "factors[%lu] is %g, must be a finite number", (unsigned long)j,
                             factors[j]);
        if (stop_below != NULL && !(stop_below[j] >= 0.0 && stop_below[j] <= DBL_MAX))
            return twsi_fail(context, TWS_BAD_ARGUMENT,
                             "stop_below[%lu] is %g, must be finite and not negative",
                             (unsigned long)j, stop_below[j]);
    }
    return TWS_OK;
}

TWS_API tws_status tws_svd_pencil(tws_context *context, const tws_svd_options *options,
                                  const tws_real *a, size_t lda, const tws_real *b, size_t ldb,
                                  size_t rows, size_t columns, const double *factors, size_t count,
                                  const double *stop_below, double *values, double *left,
                                  double *right, double *residuals, tws_svd_result *results) {
    tws_status status =
        twsi_pencil_check(context, a, lda, b, ldb, rows, columns, factors, count, stop_below);
    tws_svd_result *counts = NULL;
    twsi_svd_output *out = NULL;
    twsi_svd *svd = NULL, first;
    twsi_pool pool;
    size_t j;
    int solved;
    twsi_pool_open(&pool, context);
    twsi_svd_open(&first, context, &pool, options, rows, columns);
    first.matrix = a;
    first.ld = lda;
    first.other = b;
    first.other_ld = ldb;
    if (status == TWS_OK) status = twsi_svd_check(&first, values);
    if (status == TWS_OK) {
        svd = (twsi_svd *)twsi_take(&pool, count, sizeof *svd);
        out = (twsi_svd_output *)twsi_take(&pool, count, sizeof *out);
        counts = (tws_svd_result *)twsi_take(&pool, count, sizeof *counts);
        if (pool.status != TWS_OK)
            status = twsi_fail(context, pool.status, "no memory for %lu problems (count)",
                               (unsigned long)count);
    }
    status = twsi_agree(context, status);
    if (status == TWS_OK) status = twsi_svd_check_sizes(&first);
    for (j = 0; status == TWS_OK && j < count; j++) {
        const size_t at = j * first.options.top;
        memset(out + j, 0, sizeof *out);
        memset(counts + j, 0, sizeof *counts);
        svd[j] = first;
        svd[j].factor = (tws_real)factors[j];
        if (stop_below != NULL) svd[j].options.stop_below = stop_below[j];
        out[j].values = values + at;
        if (left != NULL) out[j].left = left + at * rows;
        if (right != NULL) out[j].right = right + at * columns;
        if (residuals != NULL) out[j].residuals = residuals + at;
    }
    solved = status == TWS_OK;
    if (solved) status = twsi_svd_solve(svd, out, count, counts);
    if (status == TWS_NOT_FINITE && !twsi_svd_blame(context, "a", a, rows, columns, lda) &&
        !twsi_svd_blame(context, "b", b, rows, columns, ldb))
        twsi_say(context, "a + factors[j] b contains NaN or infinity for some j");
    for (j = 0; solved && results != NULL && j < count; j++) results[j] = counts[j];
    twsi_pool_close(&pool);
    return status;
}

/* ---- transpose ---- */

typedef struct twsi_turn_job {
    const tws_real *from;
    tws_real *to;
    size_t rows, columns, ld;
} twsi_turn_job;

#define TWSI_TURN 32

/* to (columns x rows) = the transpose of from, a band of columns at a time. */
TWSI_FN void twsi_turn_task(void *data, size_t index, size_t worker) {
    const twsi_turn_job *job = (const twsi_turn_job *)data;
    const size_t first = index * TWSI_TURN, end = twsi_min(job->columns, first + TWSI_TURN);
    size_t block, i, j;
    (void)worker;
    for (block = 0; block < job->rows; block += TWSI_TURN)
        for (j = first; j < end; j++)
            for (i = block; i < twsi_min(job->rows, block + TWSI_TURN); i++)
                job->to[j * job->rows + i] = job->from[i * job->ld + j];
}

TWSI_FN const tws_real *twsi_turned(twsi_team *team, twsi_pool *pool, const tws_real *from,
                                    size_t rows, size_t columns, size_t ld) {
    twsi_turn_job job;
    job.from = from;
    job.to = (tws_real *)twsi_take(pool, columns, rows * sizeof(tws_real));
    job.rows = rows;
    job.columns = columns;
    job.ld = ld;
    if (job.to != NULL) twsi_run(team, twsi_ceil_div(columns, TWSI_TURN), twsi_turn_task, &job);
    return job.to;
}

/* ---- G = R R' in double ---- */

#define TWSI_CROSS_ROWS 32 /* of G in one task */

typedef struct twsi_cross {
    const twsi_kernels *kernels;
    const tws_real *rows; /* count x depth */
    size_t count, depth, ld;
    double *out;  /* count x count: the upper triangle */
    double *copy; /* workers x CROSS_ROWS x depth */
} twsi_cross;

TWSI_FN void twsi_cross_task(void *data, size_t index, size_t worker) {
    const twsi_cross *job = (const twsi_cross *)data;
    const size_t m = job->count, first = index * TWSI_CROSS_ROWS;
    const size_t count = twsi_min(TWSI_CROSS_ROWS, m - first);
    double *copy = job->copy + worker * TWSI_CROSS_ROWS * job->depth;
    size_t i, p;
    for (i = 0; i < count; i++)
        for (p = 0; p < job->depth; p++)
            copy[i * job->depth + p] = (double)job->rows[(first + i) * job->ld + p];
    job->kernels->svd_real(job->rows + first * job->ld, job->ld, m - first, job->depth, copy,
                           job->depth, count, 1.0, job->out + first * m + first, m, NULL, 0);
}

TWSI_FN void twsi_cross_run(twsi_cross *job, twsi_team *team) {
    job->kernels = team->kernels;
    twsi_run(team, twsi_ceil_div(job->count, TWSI_CROSS_ROWS), twsi_cross_task, job);
}

/* ---- large symmetric matrix to tridiagonal form ---- */

#define TWSI_SYMMETRIC_PANEL 32  /* reflections that are applied together */
#define TWSI_SYMMETRIC_GROUP 8   /* rows of the upper triangle multiplied while in cache */
#define TWSI_SYMMETRIC_CHUNKS 16 /* parts of the trailing matrix */

/* G = Q T Q' (Golub and Van Loan, section 8.3; reflections in blocks of 32 as in Dongarra,
   Sorensen, Hammarling 1989). A step reads the upper triangle once. */
typedef struct twsi_symmetric {
    twsi_team *team;
    size_t size;       /* m */
    double *a;         /* m x m: upper triangle; row k turns into reflection k if corner */
    double *d, *e, *reflect;
    double *stack;     /* 2 PANEL x m: reflections of the panel, then their partners */
    double *partial;   /* CHUNKS x m */
    double *corner;    /* PANEL x PANEL per panel: the factors T of I - V T V', or NULL */
    size_t first, chunks, held;
    const double *x;   /* the vector in the product */
} twsi_symmetric;

/* Takes its memory; a failure is in pool->status. */
TWSI_FN void twsi_symmetric_memory(twsi_symmetric *g, twsi_pool *pool, twsi_team *team, size_t m,
                                   int corner) {
    g->team = team;
    g->size = m;
    g->a = (double *)twsi_take(pool, m, m * sizeof(double));
    g->d = (double *)twsi_take(pool, m, sizeof(double));
    g->e = (double *)twsi_take(pool, m, sizeof(double));
    g->reflect = (double *)twsi_take(pool, m, sizeof(double));
    g->stack = (double *)twsi_take(pool, m, 2 * TWSI_SYMMETRIC_PANEL * sizeof(double));
    g->partial = (double *)twsi_take(pool, m, TWSI_SYMMETRIC_CHUNKS * sizeof(double));
    g->corner = corner ? (double *)twsi_take(pool, m, TWSI_SYMMETRIC_PANEL * sizeof(double)) : NULL;
}

TWSI_FN double twsi_sum_products(const double *x, const double *y, size_t n) {
    double sum[4] = {0, 0, 0, 0};
    size_t i, k;
    for (i = 0; i + 4 <= n; i += 4)
        for (k = 0; k < 4; k++) sum[k] += x[i + k] * y[i + k];
    for (; i < n; i++) sum[0] += x[i] * y[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

/* Part of y = A x over the trailing rows from first on: groups index, index + chunks, ... */
TWSI_FN void twsi_symmetric_product(void *data, size_t index, size_t worker) {
    twsi_symmetric *g = (twsi_symmetric *)data;
    const twsi_kernels *kernels = g->team->kernels;
    const size_t m = g->size;
    double *y = g->partial + index * m, sum[TWSI_SYMMETRIC_GROUP], weight[TWSI_SYMMETRIC_GROUP];
    size_t row, i, j;
    (void)worker;
    memset(y + g->first, 0, (m - g->first) * sizeof *y);
    for (row = g->first + index * TWSI_SYMMETRIC_GROUP; row < m;
         row += g->chunks * TWSI_SYMMETRIC_GROUP) {
        const size_t count = twsi_min(TWSI_SYMMETRIC_GROUP, m - row), next = row + count;
        for (i = 0; i < count; i++) {
            const double *a = g->a + (row + i) * m + row;
            y[row + i] += a[i] * g->x[row + i];
            for (j = i + 1; j < count; j++) {
                y[row + i] += a[j] * g->x[row + j];
                y[row + j] += a[j] * g->x[row + i];
            }
        }
        if (next == m) break;
        kernels->svd_double(g->a + row * m + next, m, count, m - next, g->x + next, m, 1,
                            1.0, sum, count, NULL, 0);
        for (i = 0; i < count; i++) {
            y[row + i] += sum[i];
            weight[i] = g->x[row + i];
        }
        kernels->svd_double(g->a + row * m + next, m, count, m - next, NULL, 0, 1, 1.0, weight,
                            count, y + next, m);
    }
}

/* The panel's update of a group of rows: a_i -= sum over c of v_c[i] w_c + w_c[i] v_c. */
TWSI_FN void twsi_symmetric_update(void *data, size_t index, size_t worker) {
    twsi_symmetric *g = (twsi_symmetric *)data;
    const size_t m = g->size, row = g->first + index * TWSI_SYMMETRIC_GROUP;
    const size_t count = twsi_min(TWSI_SYMMETRIC_GROUP, m - row);
    double weight[TWSI_SYMMETRIC_GROUP * 2 * TWSI_SYMMETRIC_PANEL];
    size_t i, c;
    (void)worker;
    for (i = 0; i < count; i++)
        for (c = 0; c < TWSI_SYMMETRIC_PANEL; c++) {
            double *w = weight + i * 2 * TWSI_SYMMETRIC_PANEL;
            w[c] = g->stack[(TWSI_SYMMETRIC_PANEL + c) * m + row + i];
            w[TWSI_SYMMETRIC_PANEL + c] = g->stack[c * m + row + i];
        }
    g->team->kernels->svd_double(g->stack + row, m, 2 * TWSI_SYMMETRIC_PANEL, m - row, NULL, 0,
                                    count, -1.0, weight, 2 * TWSI_SYMMETRIC_PANEL,
                                    g->a + row * m + row, m);
}

/* y = A x - sum of the panel's pending updates, on entries from first on. */
TWSI_FN void twsi_symmetric_multiply(twsi_symmetric *g, const double *x, double *y) {
    const twsi_kernels *kernels = g->team->kernels;
    const size_t m = g->size, first = g->first, held = g->held;
    double along[2 * TWSI_SYMMETRIC_PANEL], swap[2 * TWSI_SYMMETRIC_PANEL];
    size_t c, i;
    g->x = x;
    g->chunks = twsi_max(1, twsi_min(TWSI_SYMMETRIC_CHUNKS, (m - first) * (m - first) / 32768));
    twsi_run(g->team, g->chunks, twsi_symmetric_product, g);
    for (i = first; i < m; i++) y[i] = 0.0;
    for (c = 0; c < g->chunks; c++)
        for (i = first; i < m; i++) y[i] += g->partial[c * m + i];
    if (held == 0) return;
    kernels->svd_double(g->stack + first, m, held, m - first, x + first, m, 1, 1.0, along, held,
                        NULL, 0);
    kernels->svd_double(g->stack + TWSI_SYMMETRIC_PANEL * m + first, m, held, m - first, x + first,
                        m, 1, 1.0, swap, held, NULL, 0);
    kernels->svd_double(g->stack + first, m, held, m - first, NULL, 0, 1, -1.0, swap, held,
                        y + first, m);
    kernels->svd_double(g->stack + TWSI_SYMMETRIC_PANEL * m + first, m, held, m - first, NULL, 0, 1,
                        -1.0, along, held, y + first, m);
}

/* Reflection k, number held of its panel. */
TWSI_FN void twsi_symmetric_reflect(twsi_symmetric *g, size_t k) {
    const twsi_kernels *kernels = g->team->kernels;
    const size_t m = g->size, held = g->held;
    double *row = g->a + k * m, *v = g->stack + held * m;
    double *w = g->stack + (TWSI_SYMMETRIC_PANEL + held) * m, half = 0.0, beta;
    size_t c, i;
    for (c = 0; c < held; c++) {
        const double *vc = g->stack + c * m, *wc = g->stack + (TWSI_SYMMETRIC_PANEL + c) * m;
        kernels->svd_add2(row + k, m - k, -vc[k], wc + k, -wc[k], vc + k);
    }
    g->d[k] = row[k];
    if (k + 1 == m) return;
    g->first = k + 1;
    beta = g->reflect[k] = twsi_reflection(row + k + 1, m - k - 1, &g->e[k]);
    if (beta == 0.0) return; /* v = w = 0, as the stack was cleared */
    memcpy(v + k + 1, row + k + 1, (m - k - 1) * sizeof *v);
    twsi_symmetric_multiply(g, v, w);
    for (i = k + 1; i < m; i++) {
        w[i] *= beta;
        half += 0.5 * beta * w[i] * v[i];
    }
    for (i = k + 1; i < m; i++) w[i] -= half * v[i];
}

/* What one panel needs to be applied at once, I - V T V': column j of T is -beta_j T V' v_j, with
   beta_j below. */
TWSI_FN void twsi_symmetric_corner(twsi_symmetric *g, size_t start, size_t count) {
    const size_t m = g->size;
    double *t = g->corner + start * TWSI_SYMMETRIC_PANEL;
    size_t i, j, k;
    memset(t, 0, TWSI_SYMMETRIC_PANEL * count * sizeof *t);
    for (j = 0; j < count; j++) {
        double dot[TWSI_SYMMETRIC_PANEL];
        k = start + j;
        t[j * TWSI_SYMMETRIC_PANEL + j] = k + 1 < m ? g->reflect[k] : 0.0;
        for (i = 0; i < j; i++)
            dot[i] = twsi_sum_products(g->stack + i * m + k, g->stack + j * m + k, m - k);
        for (i = 0; i < j; i++) {
            size_t c;
            for (c = i; c < j; c++)
                t[i * TWSI_SYMMETRIC_PANEL + j] -=
                    t[j * TWSI_SYMMETRIC_PANEL + j] * t[i * TWSI_SYMMETRIC_PANEL + c] * dot[c];
        }
        for (i = start; i <= k; i++) g->a[k * m + i] = 0.0;
        if (t[j * TWSI_SYMMETRIC_PANEL + j] == 0.0)
            for (i = k + 1; i < m; i++) g->a[k * m + i] = 0.0;
    }
}

/* The upper triangle of a to d and e; with a corner also what applies the reflections. */
TWSI_FN void twsi_symmetric_reduce(twsi_symmetric *g) {
    const size_t m = g->size;
    size_t start;
    for (start = 0; start < m; start += TWSI_SYMMETRIC_PANEL) {
        const size_t count = twsi_min(TWSI_SYMMETRIC_PANEL, m - start);
        memset(g->stack, 0, 2 * TWSI_SYMMETRIC_PANEL * m * sizeof *g->stack);
        for (g->held = 0; g->held < count; g->held++)
            twsi_symmetric_reflect(g, start + g->held);
        g->first = start + count;
        twsi_run(g->team, twsi_ceil_div(m - g->first, TWSI_SYMMETRIC_GROUP), twsi_symmetric_update,
                 g);
        if (g->corner != NULL) twsi_symmetric_corner(g, start, count);
    }
}

/* ---- all singular values ---- */

#define TWSI_BIDIAGONAL_CHUNKS 16 /* parts of the trailing matrix */
#define TWSI_BIDIAGONAL_SLAB 16   /* rows updated and multiplied while in cache */

/* One step works on the trailing matrix: rows [k, m), columns [first, n) of a. */
typedef struct twsi_bidiagonal {
    twsi_team *team;
    double *a; /* m x n, m >= n */
    size_t m, n, k, first, chunks;
    double *u, *y, *x, *w; /* pending update: a -= u y^T + x w^T, indexed as a is */
    double *v, *partial;   /* next reflection of the columns; chunks x n */
} twsi_bidiagonal;

TWSI_FN size_t twsi_bidiagonal_part(const twsi_bidiagonal *b, size_t index) {
    return b->k + (b->m - b->k) * index / b->chunks;
}

/* Applies the pending update to some rows and adds up a^T v over them. */
TWSI_FN void twsi_bidiagonal_columns(void *data, size_t index, size_t worker) {
    twsi_bidiagonal *b = (twsi_bidiagonal *)data;
    const size_t end = twsi_bidiagonal_part(b, index + 1), f = b->first, width = b->n - f;
    double *sum = b->partial + index * b->n + f;
    size_t i, slab;
    (void)worker;
    memset(sum, 0, width * sizeof *sum);
    for (slab = twsi_bidiagonal_part(b, index); slab < end; slab += TWSI_BIDIAGONAL_SLAB) {
        const size_t stop = twsi_min(end, slab + TWSI_BIDIAGONAL_SLAB);
        for (i = slab; i < stop && f > 0; i++)
            b->team->kernels->svd_add2(b->a + i * b->n + f, width, -b->u[i], b->y + f, -b->x[i],
                                      b->w + f);
        b->team->kernels->svd_double(b->a + slab * b->n + f, b->n, stop - slab, width, NULL, 0, 1,
                                    1.0, b->v + slab, b->m, sum, b->n);
    }
}

/* x = a w over some rows. */
TWSI_FN void twsi_bidiagonal_rows(void *data, size_t index, size_t worker) {
    twsi_bidiagonal *b = (twsi_bidiagonal *)data;
    const size_t i = twsi_bidiagonal_part(b, index), end = twsi_bidiagonal_part(b, index + 1);
    (void)worker;
    if (i < end)
        b->team->kernels->svd_double(b->a + i * b->n + b->first, b->n, end - i, b->n - b->first,
                                    b->w + b->first, b->n, 1, 1.0, b->x + i, b->m, NULL, 0);
}

/* a (m x n, destroyed) to bidiagonal: d on the diagonal, e above it. The update by reflection k is
   left pending and done in the sweep that needs the matrix next, so a step reads it twice and
   writes it once. */
TWSI_FN void twsi_bidiagonalise(twsi_bidiagonal *b, double *d, double *e) {
    const size_t m = b->m, n = b->n;
    size_t k, i, j, c;
    for (k = 0; k < n; k++) {
        double beta, gamma, dot = 0.0;
        double *row = b->a + k * n;
        b->k = k;
        /* column k with the pending update, and its reflection */
        for (i = k; i < m; i++) {
            b->v[i] = b->a[i * n + k];
            if (k > 0) b->v[i] -= b->u[i] * b->y[k] + b->x[i] * b->w[k];
        }
        beta = twsi_reflection(b->v + k, m - k, &d[k]);
        if (beta == 0.0) b->v[k] = 0.0;
        if (k + 1 == n) break;
        /* y = beta a^T v; the first step has nothing pending */
        b->first = k + 1;
        b->chunks = twsi_max(1, twsi_min(TWSI_BIDIAGONAL_CHUNKS, (m - k) * (n - k) / 16384));
        if (k == 0) {
            memset(b->u, 0, m * sizeof *b->u);
            memset(b->x, 0, m * sizeof *b->x);
            memset(b->y, 0, n * sizeof *b->y);
            memset(b->w, 0, n * sizeof *b->w);
        }
        twsi_run(b->team, b->chunks, twsi_bidiagonal_columns, b);
        for (j = k + 1; j < n; j++) {
            double sum = 0.0;
            for (c = 0; c < b->chunks; c++) sum += b->partial[c * n + j];
            b->y[j] = beta * sum;
        }
        /* row k after that reflection, and its own */
        for (j = k + 1; j < n; j++) b->w[j] = row[j] - b->v[k] * b->y[j];
        gamma = twsi_reflection(b->w + k + 1, n - k - 1, &e[k]);
        if (gamma == 0.0) memset(b->w + k + 1, 0, (n - k - 1) * sizeof *b->w);
        twsi_run(b->team, b->chunks, twsi_bidiagonal_rows, b);
        for (j = k + 1; j < n; j++) dot += b->y[j] * b->w[j];
        for (i = k; i < m; i++) {
            b->u[i] = b->v[i];
            b->x[i] = gamma * (b->x[i] - b->v[i] * dot);
        }
    }
}

/* values of the bidiagonal matrix d, e: the positive half of the 2n tridiagonal eigenvalues. */
TWSI_FN int twsi_bidiagonal_values(const twsi_kernels *kernels, const double *d, const double *e,
                                   size_t n, double *diagonal, double *beside, size_t *order,
                                   double *values) {
    size_t i;
    for (i = 0; i < n; i++) {
        diagonal[2 * i] = diagonal[2 * i + 1] = 0.0;
        beside[2 * i] = d[i];
        beside[2 * i + 1] = i + 1 < n ? e[i] : 0.0;
    }
    if (!twsi_tridiagonal_values(kernels, diagonal, beside, 2 * n, NULL, 0)) return 0;
    twsi_order_decreasing(diagonal, order, 2 * n);
    for (i = 0; i < n; i++) values[i] = fmax(0.0, diagonal[order[i]]);
    return 1;
}

/* Values of at least this many rows and columns come from the Gram matrix where entries are float:
   a quarter of the memory traffic and a fifth of the operations, for errors that the rounding of a
   float matrix has already made. */
#define TWSI_SVD_GRAM_LEAST 128

typedef struct twsi_all_values {
    twsi_team team;
    twsi_pool pool;
    const tws_real *matrix;
    size_t rows, columns, ld;
    int exponent; /* a power of two takes the entries to about 1, so that squares stay in range */
} twsi_all_values;

TWSI_FN tws_status twsi_values_memory(const twsi_all_values *all) {
    return twsi_fail(all->team.context, all->pool.status,
                     "no memory for the decomposition of a matrix of %lu x %lu",
                     (unsigned long)all->rows, (unsigned long)all->columns);
}

TWSI_FN tws_status twsi_values_unsettled(const twsi_all_values *all) {
    return twsi_fail(all->team.context, TWS_NOT_CONVERGED, "the QL iteration did not settle");
}

/* The exponent of the largest entry, once all are finite. */
TWSI_FN tws_status twsi_values_check(twsi_all_values *all) {
    double largest = 0.0;
    size_t i, j;
    for (i = 0; i < all->rows; i++) {
        const tws_real *row = all->matrix + i * all->ld;
        for (j = 0; j < all->columns; j++) {
            const double x = fabs((double)row[j]);
            if (!(x <= DBL_MAX))
                return twsi_fail(all->team.context, TWS_NOT_FINITE,
                                 "matrix contains NaN or infinity in row %lu, column %lu",
                                 (unsigned long)i, (unsigned long)j);
            largest = fmax(largest, x);
        }
    }
    all->exponent = twsi_exponent(largest);
    if (all->exponent < -1000) all->exponent = -1000;
    return TWS_OK;
}

TWSI_FN tws_status twsi_values_bidiagonal(twsi_all_values *all, double *values) {
    const size_t rows = all->rows, columns = all->columns;
    const size_t m = twsi_max(rows, columns), n = twsi_min(rows, columns);
    twsi_pool *pool = &all->pool;
    double *d, *e, *diagonal, *beside;
    twsi_bidiagonal b;
    size_t i, j, *order;
    memset(&b, 0, sizeof b);
    b.team = &all->team;
    b.m = m;
    b.n = n;
    b.a = (double *)twsi_take(pool, m, n * sizeof(double));
    b.u = (double *)twsi_take(pool, m, sizeof(double));
    b.x = (double *)twsi_take(pool, m, sizeof(double));
    b.v = (double *)twsi_take(pool, m, sizeof(double));
    b.y = (double *)twsi_take(pool, n, sizeof(double));
    b.w = (double *)twsi_take(pool, n, sizeof(double));
    b.partial = (double *)twsi_take(pool, n, TWSI_BIDIAGONAL_CHUNKS * sizeof(double));
    d = (double *)twsi_take(pool, n, sizeof(double));
    e = (double *)twsi_take(pool, n, sizeof(double));
    diagonal = (double *)twsi_take(pool, n, 2 * sizeof(double));
    beside = (double *)twsi_take(pool, n, 2 * sizeof(double));
    order = (size_t *)twsi_take(pool, n, 2 * sizeof(size_t));
    if (pool->status != TWS_OK) return twsi_values_memory(all);
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++)
            b.a[rows >= columns ? i * n + j : j * n + i] =
                (double)all->matrix[i * all->ld + j] * ldexp(1.0, -all->exponent);
    twsi_bidiagonalise(&b, d, e);
    if (!twsi_bidiagonal_values(all->team.kernels, d, e, n, diagonal, beside, order, values))
        return twsi_values_unsettled(all);
    for (i = 0; i < n; i++) values[i] = ldexp(values[i], all->exponent);
    if (!(values[0] <= DBL_MAX))
        return twsi_fail(all->team.context, TWS_NOT_FINITE,
                         "matrix has a singular value above the largest number");
    return TWS_OK;
}

/* Square roots of the eigenvalues of A A' or A'A, whichever is smaller. The fourth powers of the
   entries of a float matrix, which reflections form, stay within the range of double. */
TWSI_FN tws_status twsi_values_gram(twsi_all_values *all, double *values) {
    const size_t m = twsi_min(all->rows, all->columns), workers = all->team.workers;
    twsi_pool *pool = &all->pool;
    twsi_symmetric form;
    twsi_cross cross;
    size_t i, *order;
    cross.count = m;
    cross.depth = twsi_max(all->rows, all->columns);
    cross.rows = all->matrix;
    cross.ld = all->ld;
    if (all->rows > all->columns) {
        cross.rows = twsi_turned(&all->team, pool, all->matrix, all->rows, all->columns, all->ld);
        cross.ld = all->rows;
    }
    cross.copy = (double *)twsi_take(pool, workers * TWSI_CROSS_ROWS, cross.depth * sizeof(double));
    order = (size_t *)twsi_take(pool, m, sizeof(size_t));
    twsi_symmetric_memory(&form, pool, &all->team, m, 0);
    cross.out = form.a;
    if (pool->status != TWS_OK) return twsi_values_memory(all);
    twsi_cross_run(&cross, &all->team);
    twsi_symmetric_reduce(&form);
    if (!twsi_tridiagonal_values(all->team.kernels, form.d, form.e, m, NULL, 0))
        return twsi_values_unsettled(all);
    twsi_order_decreasing(form.d, order, m);
    for (i = 0; i < m; i++) values[i] = sqrt(fmax(0.0, form.d[order[i]]));
    return TWS_OK;
}

TWS_API tws_status tws_singular_values(tws_context *context, const tws_real *matrix, size_t rows,
                                       size_t columns, size_t ld, double *values) {
    twsi_all_values all;
    tws_status status;
    if (matrix == NULL || values == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         matrix == NULL ? "matrix" : "values");
    if (rows == 0 || columns == 0 || twsi_min(rows, columns) > TWSI_SVD_MAX_FULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "the matrix is %lu x %lu; min(rows, columns) may be 1 to %d",
                         (unsigned long)rows, (unsigned long)columns, TWSI_SVD_MAX_FULL);
    if (ld < columns)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "ld is %lu, must be at least columns = %lu",
                         (unsigned long)ld, (unsigned long)columns);
    if (!twsi_fits(rows, ld, sizeof(double)))
        return twsi_fail(context, TWS_TOO_LARGE, "a matrix of %lu x %lu does not fit in memory",
                         (unsigned long)rows, (unsigned long)columns);
    memset(&all, 0, sizeof all);
    all.matrix = matrix;
    all.rows = rows;
    all.columns = columns;
    all.ld = ld;
    twsi_pool_open(&all.pool, context);
    status = twsi_team_open(&all.team, context, twsi_max(1, rows * columns / 65536));
    if (status == TWS_OK) status = twsi_values_check(&all);
    if (status == TWS_OK && sizeof(tws_real) == sizeof(float) &&
        twsi_min(rows, columns) >= TWSI_SVD_GRAM_LEAST)
        status = twsi_values_gram(&all, values);
    else if (status == TWS_OK)
        status = twsi_values_bidiagonal(&all, values);
    twsi_team_close(&all.team);
    twsi_pool_close(&all.pool);
    return status;
}

/* ==========================================================================
 * @@NETWORK: configuration, initial weights, directions, batches
 *
 * The data of the experiment (Moniri and Hassani, arXiv 2605.17767, section 2): a student
 * f_W(x) = s a' sigma(W x), a teacher y = f*(B* x) + noise, Gaussian inputs. Each row of each
 * matrix comes from its own stream, so that any process can make any part. Sums that normalise
 * rows run in double in a fixed order: the data are the same bits everywhere.
 * ========================================================================== */

TWS_API tws_config tws_default_config(void) {
    tws_config config;
    memset(&config, 0, sizeof config);
    config.neurons = 1024;
    config.inputs = 1024;
    config.samples = 2048;
    config.alpha1 = 0.3;
    config.alpha2 = 0.4;
    config.scale1 = 1.0;
    config.scale2 = 1.0;
    config.activation.kind = TWS_SHIFTED_TANH;
    config.target.kind = TWS_LINEAR;
    config.target.directions = 1;
    config.batches = TWS_REUSE;
    config.init = TWS_SPHERE;
    config.output_scale = TWS_MEAN_FIELD;
    config.seed = 1;
    config.top = 10;
    return config;
}

/* One rule of tws_check: writes the sentence when value is outside [low, high]. */
TWSI_FN int twsi_out_of_range(const char *name, double value, double low, double high,
                              const char *allowed, char *message, size_t size) {
    if (value >= low && value <= high) return 0;
    if (message != NULL)
        snprintf(message, size, "%s is %.9g, it must be %s", name, value, allowed);
    return 1;
}

TWSI_FN int twsi_bad_sizes(const tws_config *c, char *message, size_t size) {
    const double most = 2147483648.0;
    const size_t smaller = twsi_min(c->neurons, c->inputs);
    const char *allowed = "a whole number from 2 to 2147483648";
    size_t elements;
    char range[64];
    if (twsi_out_of_range("neurons", (double)c->neurons, 2, most, allowed, message, size) ||
        twsi_out_of_range("inputs", (double)c->inputs, 2, most, allowed, message, size) ||
        twsi_out_of_range("samples", (double)c->samples, 2, most, allowed, message, size))
        return 1;
    if (!twsi_multiply(c->neurons, c->inputs, &elements) || elements > SIZE_MAX / 64 ||
        !twsi_multiply(c->samples, c->inputs, &elements) || elements > SIZE_MAX / 64 ||
        !twsi_multiply(c->neurons, c->samples, &elements) || elements > SIZE_MAX / 64) {
        if (message != NULL)
            snprintf(message, size,
                     "neurons %.9g, inputs %.9g and samples %.9g make matrices that this machine "
                     "cannot address; make them smaller",
                     (double)c->neurons, (double)c->inputs, (double)c->samples);
        return 1;
    }
    snprintf(range, sizeof range, "from 1 to min(%d, neurons, inputs) = %lu", TWS_MAX_TOP,
             (unsigned long)twsi_min(TWS_MAX_TOP, smaller));
    return twsi_out_of_range("top", (double)c->top, 1, (double)twsi_min(TWS_MAX_TOP, smaller),
                             range, message, size);
}

TWSI_FN int twsi_bad_functions(const tws_config *c, char *message, size_t size) {
    const char *what = "activation", *why = twsi_check_activation(&c->activation);
    if (why == NULL) {
        what = "target";
        why = twsi_check_target(&c->target);
    }
    if (why == NULL)
        return twsi_out_of_range("target directions", (double)c->target.directions, 1,
                                 (double)c->inputs, "from 1 to inputs", message, size);
    if (message != NULL) snprintf(message, size, "%s: %s", what, why);
    return 1;
}

#define TWSI_BELOW_HALF (0.5 - DBL_EPSILON / 4) /* the largest exponent of a step size */

TWS_API tws_status tws_check(const tws_config *config, char *message, size_t size) {
    const tws_config *c = config;
    const char *alpha = "at least 0 and below 0.5", *scale = "from 1e-300 to 1e6";
    if (size == 0) message = NULL;
    if (c == NULL) {
        if (message != NULL) snprintf(message, size, "config is NULL");
        return TWS_BAD_ARGUMENT;
    }
    if (twsi_bad_sizes(c, message, size) ||
        twsi_out_of_range("alpha1", c->alpha1, 0.0, TWSI_BELOW_HALF, alpha, message, size) ||
        twsi_out_of_range("alpha2", c->alpha2, 0.0, TWSI_BELOW_HALF, alpha, message, size) ||
        twsi_out_of_range("scale1", c->scale1, 1e-300, 1e6, scale, message, size) ||
        twsi_out_of_range("scale2", c->scale2, 1e-300, 1e6, scale, message, size) ||
        twsi_out_of_range("noise", c->noise, 0.0, 1e6, "from 0 to 1e6", message, size) ||
        twsi_out_of_range("batches", (double)c->batches, 0, 1, "TWS_FRESH or TWS_REUSE", message,
                          size) ||
        twsi_out_of_range("init", (double)c->init, 0, 1, "TWS_SPHERE or TWS_GAUSSIAN", message,
                          size))
        return TWS_BAD_ARGUMENT;
    if (!(c->output_scale <= TWS_MEAN_FIELD && c->output_scale >= TWS_MEAN_FIELD) &&
        twsi_out_of_range("output_scale", c->output_scale, 0.0, 1e6,
                          "from 0 to 1e6 or TWS_MEAN_FIELD", message, size))
        return TWS_BAD_ARGUMENT;
    return twsi_bad_functions(c, message, size) ? TWS_BAD_ARGUMENT : TWS_OK;
}

/* tws_check with the sentence in the context. */
TWSI_FN tws_status twsi_check_config(tws_context *context, const tws_config *config) {
    char message[200];
    const tws_status status = tws_check(config, message, sizeof message);
    return status == TWS_OK ? TWS_OK : twsi_fail(context, status, "%s", message);
}

TWS_API double tws_output_scale(const tws_config *config) {
    return config->output_scale < 0.0 ? 1.0 / sqrt((double)config->neurons) : config->output_scale;
}

TWS_API tws_network tws_network_from_config(const tws_config *config, const tws_real *weights,
                                            const tws_real *readout) {
    tws_network network;
    network.count = config->neurons;
    network.inputs = config->inputs;
    network.output_scale = tws_output_scale(config);
    network.activation = config->activation;
    network.weights = weights;
    network.readout = readout;
    return network;
}

TWS_API double tws_step_size(const tws_config *config, int step) {
    const double alpha = step == 1 ? config->alpha1 : config->alpha2;
    const double scale = step == 1 ? config->scale1 : step == 2 ? config->scale2 : 0.0;
    return scale * pow((double)config->neurons, alpha);
}

/* ---- sums in a fixed order ---- */

#define TWSI_SUM_LANES 8

/* Inner product in double: eight partial sums, added pairwise, whatever the machine. */
TWSI_FN double twsi_dot(const tws_real *x, const tws_real *y, size_t count) {
    double sum[TWSI_SUM_LANES] = {0, 0, 0, 0, 0, 0, 0, 0};
    size_t i, lane;
    for (i = 0; i + TWSI_SUM_LANES <= count; i += TWSI_SUM_LANES)
        for (lane = 0; lane < TWSI_SUM_LANES; lane++)
            sum[lane] += (double)x[i + lane] * (double)y[i + lane];
    for (lane = 0; i < count; i++, lane++) sum[lane] += (double)x[i] * (double)y[i];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

typedef struct twsi_squares_job {
    const tws_real *x;
    size_t rows, columns;
    int unit;
    double *square;
} twsi_squares_job;

TWSI_FN void twsi_squares_task(void *data, size_t index, size_t worker) {
    const twsi_squares_job *job = (const twsi_squares_job *)data;
    const size_t n = job->columns, end = twsi_min(job->rows, (index + 1) * TWSI_ROW_GROUP);
    size_t i, j;
    (void)worker;
    for (i = index * TWSI_ROW_GROUP; i < end; i++) {
        const tws_real *row = job->x + i * n;
        double sum = 0.0;
        for (j = 0; j < n && job->unit != 0; j++) {
            const double x = ldexp((double)row[j], -job->unit);
            sum += x * x;
        }
        job->square[i] = job->unit != 0 ? sum : twsi_dot(row, row, n);
    }
}

/* The squared lengths of all rows, in units of 2^(2 unit). */
TWSI_FN void twsi_squares(twsi_team *team, const tws_real *x, size_t rows, size_t columns,
                          int unit, double *square) {
    twsi_squares_job job;
    job.x = x;
    job.rows = rows;
    job.columns = columns;
    job.unit = unit;
    job.square = square;
    twsi_run(team, twsi_ceil_div(rows, TWSI_ROW_GROUP), twsi_squares_task, &job);
}

TWSI_FN void twsi_scale(tws_real *x, double factor, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) x[i] = (tws_real)((double)x[i] * factor);
}

/* ---- initial weights ---- */

typedef struct twsi_weights_job {
    size_t rows, columns;
    double factor; /* gaussian: every row times this; 0: to the unit sphere */
    tws_real *weights;
} twsi_weights_job;

TWSI_FN void twsi_weights_task(void *data, size_t index, size_t worker) {
    const twsi_weights_job *job = (const twsi_weights_job *)data;
    const size_t end = twsi_min(job->rows, (index + 1) * TWSI_ROW_GROUP);
    size_t i;
    (void)worker;
    for (i = index * TWSI_ROW_GROUP; i < end; i++) {
        tws_real *row = job->weights + i * job->columns;
        const double factor =
            job->factor > 0.0 ? job->factor : 1.0 / sqrt(twsi_dot(row, row, job->columns));
        twsi_scale(row, factor, job->columns);
    }
}

TWSI_FN void twsi_make_weights(twsi_team *team, const tws_config *config, size_t first,
                               size_t count, tws_real *weights) {
    twsi_weights_job job;
    job.rows = count;
    job.columns = config->inputs;
    job.factor = config->init == TWS_GAUSSIAN ? 1.0 / sqrt((double)config->inputs) : 0.0;
    job.weights = weights;
    twsi_random_matrix(team, config->seed, TWS_FOR_WEIGHTS, first, count, config->inputs, weights,
                       config->inputs);
    twsi_run(team, twsi_ceil_div(count, TWSI_ROW_GROUP), twsi_weights_task, &job);
}

TWSI_FN tws_status twsi_check_rows(tws_context *context, const tws_config *config, size_t first,
                                   size_t count) {
    const tws_status status = twsi_check_config(context, config);
    if (status != TWS_OK) return status;
    if (first > config->neurons || count > config->neurons - first)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "rows %lu and on, %lu of them, are asked for, neurons is %lu",
                         (unsigned long)first, (unsigned long)count,
                         (unsigned long)config->neurons);
    return TWS_OK;
}

TWS_API tws_status tws_make_weights(tws_context *context, const tws_config *config, size_t first,
                                    size_t count, tws_real *weights) {
    twsi_team team;
    tws_status status = twsi_check_rows(context, config, first, count);
    if (status != TWS_OK) return status;
    if (weights == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "weights is NULL");
    status = twsi_team_open(&team, context, twsi_ceil_div(count, TWSI_ROW_GROUP));
    if (status == TWS_OK) twsi_make_weights(&team, config, first, count, weights);
    twsi_team_close(&team);
    return status;
}

/* ---- readout and directions ---- */

TWSI_FN void twsi_make_readout(const twsi_team *team, const tws_config *config, size_t first,
                               size_t count, tws_real *readout) {
    const double factor = 1.0 / sqrt((double)config->neurons);
    uint32_t state[4][TWS_RANDOM_LANES];
    size_t i;
    for (i = 0; i < count; i++) {
        /* one stream per block of normals, so that any neuron's readout can be made alone */
        const size_t block = (first + i) / TWSI_NORMAL_BLOCK;
        const size_t place = (first + i) % TWSI_NORMAL_BLOCK;
        tws_real normals[TWSI_NORMAL_BLOCK];
        twsi_random_seed(state, config->seed, TWS_FOR_READOUT, block);
        team->kernels->normals(state, normals, 1);
        readout[i] = (tws_real)((double)normals[place] * factor);
    }
}

TWS_API tws_status tws_make_readout(tws_context *context, const tws_config *config, size_t first,
                                    size_t count, tws_real *readout) {
    twsi_team team;
    tws_status status = twsi_check_rows(context, config, first, count);
    if (status != TWS_OK) return status;
    if (readout == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "readout is NULL");
    status = twsi_team_open(&team, context, 1);
    if (status == TWS_OK) twsi_make_readout(&team, config, first, count, readout);
    twsi_team_close(&team);
    return status;
}

/* Gram and Schmidt, each row twice: once is not enough when rows are nearly parallel. */
TWSI_FN void twsi_orthonormalise(tws_real *rows, size_t count, size_t columns) {
    size_t i, j, k, pass;
    for (i = 0; i < count; i++) {
        tws_real *row = rows + i * columns;
        for (pass = 0; pass < 2; pass++) {
            for (j = 0; j < i; j++) {
                const tws_real *other = rows + j * columns;
                const double overlap = twsi_dot(row, other, columns);
                for (k = 0; k < columns; k++)
                    row[k] = (tws_real)((double)row[k] - overlap * (double)other[k]);
            }
            twsi_scale(row, 1.0 / sqrt(twsi_dot(row, row, columns)), columns);
        }
    }
}

TWSI_FN void twsi_make_directions(twsi_team *team, const tws_config *config,
                                  tws_real *directions) {
    twsi_random_matrix(team, config->seed, TWS_FOR_DIRECTIONS, 0, config->target.directions,
                       config->inputs, directions, config->inputs);
    twsi_orthonormalise(directions, config->target.directions, config->inputs);
}

TWS_API tws_status tws_make_directions(tws_context *context, const tws_config *config,
                                       tws_real *directions) {
    twsi_team team;
    tws_status status = twsi_check_config(context, config);
    if (status != TWS_OK) return status;
    if (directions == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "directions is NULL");
    status = twsi_team_open(&team, context, 1);
    if (status == TWS_OK) twsi_make_directions(&team, config, directions);
    twsi_team_close(&team);
    return status;
}

/* ---- batches ---- */

typedef struct twsi_labels_job {
    const twsi_kernels *kernels;
    const tws_config *config;
    const tws_real *directions, *inputs;
    uint32_t purpose;
    size_t first, samples; /* these samples of the batch */
    tws_real *labels;
} twsi_labels_job;

/* The labels of one block of normals' worth of samples; block b of the noise is stream b. */
TWSI_FN void twsi_labels_task(void *data, size_t index, size_t worker) {
    const twsi_labels_job *job = (const twsi_labels_job *)data;
    const tws_config *c = job->config;
    const size_t block = job->first / TWSI_NORMAL_BLOCK + index, origin = block * TWSI_NORMAL_BLOCK;
    const size_t start = twsi_max(job->first, origin);
    const size_t end = twsi_min(job->first + job->samples, origin + TWSI_NORMAL_BLOCK);
    uint32_t state[4][TWS_RANDOM_LANES];
    tws_real noise[TWSI_NORMAL_BLOCK];
    size_t j, l;
    (void)worker;
    twsi_random_seed(state, c->seed, job->purpose, block);
    job->kernels->normals(state, noise, 1);
    for (j = start; j < end; j++) {
        const tws_real *x = job->inputs + (j - job->first) * c->inputs;
        double u[TWS_MAX_DIRECTIONS] = {0};
        for (l = 0; l < c->target.directions; l++)
            u[l] = twsi_dot(x, job->directions + l * c->inputs, c->inputs);
        job->labels[j - job->first] = (tws_real)(tws_target_value(&c->target, u) +
                                                 c->noise * (double)noise[j - origin]);
    }
}

/* Index of the first number that is NaN or infinite, or count. */
TWSI_FN size_t twsi_find_not_finite(const tws_real *x, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!(x[i] - x[i] <= 0)) break;
    return i;
}

TWSI_FN tws_status twsi_make_samples(twsi_team *team, const tws_config *config,
                                     const tws_real *directions, size_t number, size_t first,
                                     size_t count, tws_real *inputs, tws_real *labels) {
    const uint32_t batch = (uint32_t)number * TWS_BATCH_STRIDE;
    const size_t blocks = count == 0 ? 0
                                     : (first + count - 1) / TWSI_NORMAL_BLOCK -
                                           first / TWSI_NORMAL_BLOCK + 1;
    twsi_labels_job job;
    size_t bad;
    job.kernels = team->kernels;
    job.config = config;
    job.directions = directions;
    job.inputs = inputs;
    job.purpose = TWS_FOR_NOISE + batch;
    job.first = first;
    job.samples = count;
    job.labels = labels;
    twsi_random_matrix(team, config->seed, TWS_FOR_INPUTS + batch, first, count, config->inputs,
                       inputs, config->inputs);
    twsi_run(team, blocks, twsi_labels_task, &job);
    bad = twsi_find_not_finite(labels, count);
    if (bad < count)
        return twsi_fail(team->context, TWS_NOT_FINITE,
                         "label %lu is not finite: the target must be finite everywhere",
                         (unsigned long)(first + bad));
    return TWS_OK;
}

TWS_API tws_status tws_make_samples(tws_context *context, const tws_config *config,
                                    const tws_real *directions, size_t number, size_t first,
                                    size_t count, tws_real *inputs, tws_real *labels) {
    twsi_team team;
    size_t bad;
    tws_status status = twsi_check_config(context, config);
    if (status != TWS_OK) return status;
    if (directions == NULL || inputs == NULL || labels == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         directions == NULL ? "directions" : inputs == NULL ? "inputs" : "labels");
    if (number >= (size_t)1 << 23)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "number is %lu, it must be below 8388608",
                         (unsigned long)number);
    bad = twsi_find_not_finite(directions, config->target.directions * config->inputs);
    if (bad < config->target.directions * config->inputs)
        return twsi_fail(context, TWS_NOT_FINITE,
                         "directions[%lu] is NaN or infinite, every entry must be finite",
                         (unsigned long)bad);
    if (first > config->samples || count > config->samples - first)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "first is %lu and count is %lu, their sum must be at most samples = %lu",
                         (unsigned long)first, (unsigned long)count,
                         (unsigned long)config->samples);
    status = twsi_team_open(&team, context, twsi_ceil_div(count, TWSI_ROW_GROUP));
    if (status == TWS_OK)
        status = twsi_make_samples(&team, config, directions, number, first, count, inputs, labels);
    twsi_team_close(&team);
    return status;
}

TWS_API tws_status tws_make_batch(tws_context *context, const tws_config *config,
                                  const tws_real *directions, size_t number, tws_real *inputs,
                                  tws_real *labels) {
    const size_t samples = config != NULL ? config->samples : 0;
    return tws_make_samples(context, config, directions, number, 0, samples, inputs, labels);
}

/* ==========================================================================
 * @@STEPS: forward pass, loss, gradient, step
 *
 * The samples are taken block by block, as many as the memory budget allows, so that the N x n
 * matrix of pre-activations never exists whole. For one block of b samples:
 *   H = W Xb'                        (N x b, matrix product)
 *   f = s a' sigma(H), H <- sigma'(H) (one sweep while a piece of H is in cache)
 *   r = y - f, Xr = diag(r / n) Xb   (b x d)
 *   G <- G + H Xr                    (N x d, matrix product)
 * and at the end row i of G is multiplied by a_i: the same G as (1/n) [(a r') o sigma'(H)] X, with
 * the two outer factors taken out of the product.
 * ========================================================================== */

#define TWSI_SWEEP_COLUMNS 128 /* one piece of the sweep: 32 rows of it stay in the first cache */
#define TWSI_SWEEP_ROWS 32     /* rows summed in tws_real before they are added in double */
#define TWSI_BLOCK_SAMPLES 2048 /* beyond this a longer block no longer speeds up the product */
#define TWSI_SHARED_SAMPLES 512  /* the block of processes that share a network */
#define TWSI_DEFAULT_BUDGET ((size_t)256 << 20)

typedef struct twsi_step {
    twsi_team *team;
    const tws_network *network;
    const tws_batch *batch;
    size_t block;    /* samples per block */
    tws_real *h;     /* count x block */
    tws_real *scaled; /* block x inputs */
    double *output;  /* block */
    twsi_gemm_buffers buffers;
    int with_slopes; /* wanted by the pass in work */
    /* the block in work */
    size_t start, samples;
} twsi_step;

/* ---- arguments ---- */

typedef struct twsi_finite_job {
    const twsi_kernels *kernels;
    const tws_real *x;
    size_t count;
    int *flags;
} twsi_finite_job;

#define TWSI_FINITE_CHUNK ((size_t)1 << 16)
#define TWSI_FINITE_TASKS 64

/* Task t looks at chunks t, t + 64, ... */
TWSI_FN void twsi_finite_task(void *data, size_t index, size_t worker) {
    const twsi_finite_job *job = (const twsi_finite_job *)data;
    size_t start;
    (void)worker;
    job->flags[index] = 1;
    for (start = index * TWSI_FINITE_CHUNK; start < job->count;
         start += TWSI_FINITE_TASKS * TWSI_FINITE_CHUNK)
        if (job->kernels->largest(job->x + start,
                                  twsi_min(TWSI_FINITE_CHUNK, job->count - start)) < 0)
            job->flags[index] = 0;
}

/* The first entry that is not finite; count: all are. */
TWSI_FN size_t twsi_first_not_finite(twsi_team *team, const tws_real *x, size_t count) {
    int flags[TWSI_FINITE_TASKS];
    const size_t tasks = twsi_min(TWSI_FINITE_TASKS, twsi_ceil_div(count, TWSI_FINITE_CHUNK));
    twsi_finite_job job;
    size_t t;
    job.kernels = team->kernels;
    job.x = x;
    job.count = count;
    job.flags = flags;
    twsi_run(team, tasks, twsi_finite_task, &job);
    for (t = 0; t < tasks; t++)
        if (!flags[t]) return twsi_find_not_finite(x, count);
    return count;
}

/* Of an input. */
TWSI_FN tws_status twsi_require_finite(twsi_team *team, const char *name, const tws_real *x,
                                       size_t count) {
    const size_t at = twsi_first_not_finite(team, x, count);
    if (at == count) return TWS_OK;
    return twsi_fail(team->context, TWS_NOT_FINITE,
                     "%s[%lu] is NaN or infinite, every entry must be finite", name,
                     (unsigned long)at);
}

/* Of a result of finite numbers. */
TWSI_FN tws_status twsi_require_in_range(twsi_team *team, const char *name, const tws_real *x,
                                         size_t count) {
    const size_t at = twsi_first_not_finite(team, x, count);
    if (at == count) return TWS_OK;
    return twsi_fail(team->context, TWS_NOT_FINITE,
                     "%s: entry %lu overflows, as inputs, labels, readout, the step or the slope "
                     "of the activation are too large", name, (unsigned long)at);
}

/* What a call reads of a network and a batch, each with what stands before it. */
typedef enum twsi_reads { TWSI_FEATURES, TWSI_OUTPUTS, TWSI_LABELS } twsi_reads;

TWSI_FN tws_status twsi_check_network(tws_context *context, const tws_network *network,
                                      const tws_batch *batch, twsi_reads reads) {
    const char *missing, *why;
    tws_status status;
    if (network == NULL || batch == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         network == NULL ? "network" : "batch");
    if (network->count == 0 || network->inputs == 0 || batch->samples == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "count is %lu, inputs is %lu, samples is %lu, each must be at least 1",
                         (unsigned long)network->count, (unsigned long)network->inputs,
                         (unsigned long)batch->samples);
    missing = network->weights == NULL                             ? "network.weights"
              : network->readout == NULL && reads >= TWSI_OUTPUTS ? "network.readout"
              : batch->inputs == NULL                              ? "batch.inputs"
              : batch->labels == NULL && reads >= TWSI_LABELS      ? "batch.labels"
                                                                   : NULL;
    if (missing != NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL", missing);
    if (reads >= TWSI_OUTPUTS &&
        !(network->output_scale >= 0.0 && network->output_scale <= DBL_MAX))
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "network.output_scale is %.9g, it must be finite and at least 0",
                         network->output_scale);
    why = twsi_check_activation(&network->activation);
    if (why != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "network.activation: %s", why);
    status = twsi_check_matrix(context, "network.weights", network->weights, network->count,
                               network->inputs, network->inputs);
    if (status != TWS_OK) return status;
    return twsi_check_matrix(context, "batch.inputs", batch->inputs, batch->samples,
                             network->inputs, network->inputs);
}

TWSI_FN tws_status twsi_check_numbers(twsi_team *team, const tws_network *network,
                                      const tws_batch *batch, twsi_reads reads) {
    tws_status status = twsi_require_finite(team, "network.weights", network->weights,
                                            network->count * network->inputs);
    if (status == TWS_OK && reads >= TWSI_OUTPUTS)
        status = twsi_require_finite(team, "network.readout", network->readout, network->count);
    if (status == TWS_OK)
        status = twsi_require_finite(team, "batch.inputs", batch->inputs,
                                     batch->samples * network->inputs);
    if (status == TWS_OK && reads >= TWSI_LABELS)
        status = twsi_require_finite(team, "batch.labels", batch->labels, batch->samples);
    return status;
}

/* ---- one block ---- */

/* Blocks of equal length, a whole number of sweep pieces, within the budget where it allows one.
   Processes that share a network may hold different numbers of neurons and must still sum the same
   samples: their blocks depend on the samples alone. */
TWSI_FN size_t twsi_block_samples(const tws_context *context, size_t count, size_t inputs,
                                  size_t samples) {
    const size_t budget = context != NULL && context->memory_budget > 0 ? context->memory_budget
                                                                        : TWSI_DEFAULT_BUDGET;
    const size_t pieces = budget / sizeof(tws_real) / (count + inputs) / TWSI_SWEEP_COLUMNS;
    const size_t whole = TWSI_BLOCK_SAMPLES / TWSI_SWEEP_COLUMNS;
    const int shared = context != NULL && context->reduce != NULL;
    const size_t most = shared ? TWSI_SHARED_SAMPLES
                               : TWSI_SWEEP_COLUMNS * twsi_max(1, twsi_min(whole, pieces));
    const size_t blocks = twsi_max(1, twsi_ceil_div(samples, most));
    const size_t even = twsi_ceil_div(samples, blocks);
    return twsi_min(samples, twsi_ceil_div(even, TWSI_SWEEP_COLUMNS) * TWSI_SWEEP_COLUMNS);
}

TWSI_FN tws_status twsi_step_prepare(twsi_step *step, twsi_team *team, twsi_pool *pool,
                                     const tws_network *network, const tws_batch *batch,
                                     int with_gradient) {
    step->team = team;
    step->network = network;
    step->batch = batch;
    step->block =
        twsi_block_samples(team->context, network->count, network->inputs, batch->samples);
    step->h = (tws_real *)twsi_take(pool, network->count, step->block * sizeof(tws_real));
    step->output = (double *)twsi_take(pool, step->block, sizeof(double));
    step->scaled = with_gradient ? (tws_real *)twsi_take(pool, step->block,
                                                         network->inputs * sizeof(tws_real))
                                 : NULL;
    step->buffers = twsi_gemm_prepare(team, pool, network->count,
                                      twsi_max(step->block, with_gradient ? network->inputs : 1),
                                      twsi_max(step->block, network->inputs));
    if (pool->status != TWS_OK)
        return twsi_fail(team->context, pool->status,
                         "no memory for a block of %lu samples; set context.memory_budget lower",
                         (unsigned long)step->block);
    return TWS_OK;
}

/* One piece of the columns of H: output += a' sigma(H), then H <- sigma'(H) where wanted. A
   pre-activation that overflows makes the outputs infinite: what the activation takes it to, 1 or
   0, would be a number like any other. */
TWSI_FN void twsi_sweep_task(void *data, size_t index, size_t worker) {
    const twsi_step *step = (const twsi_step *)data;
    const twsi_kernels *kernels = step->team->kernels;
    const tws_network *network = step->network;
    const size_t column = index * TWSI_SWEEP_COLUMNS;
    const size_t width = twsi_min(TWSI_SWEEP_COLUMNS, step->samples - column);
    const int with_values = network->output_scale > 0.0;
    tws_real value[TWSI_SWEEP_COLUMNS], sum[TWSI_SWEEP_COLUMNS];
    double *output = step->output + column;
    int finite = 1;
    size_t first, i, j;
    (void)worker;
    for (j = 0; j < width; j++) output[j] = 0.0;
    for (first = 0; first < network->count; first += TWSI_SWEEP_ROWS) {
        const size_t end = twsi_min(network->count, first + TWSI_SWEEP_ROWS);
        for (j = 0; j < width; j++) sum[j] = 0;
        for (i = first; i < end; i++) {
            tws_real *h = step->h + i * step->samples + column;
            finite &= kernels->largest(h, width) >= 0;
            kernels->activate(&network->activation, h, with_values ? value : NULL,
                              step->with_slopes ? h : NULL, width);
            if (with_values) kernels->axpy(sum, network->readout[i], value, width);
        }
        for (j = 0; j < width; j++) output[j] += (double)sum[j];
    }
    for (j = 0; j < width && !finite; j++) output[j] = HUGE_VAL;
}

/* Outputs from sums; a status that all processes share. */
TWSI_FN tws_status twsi_step_outputs(twsi_step *step) {
    tws_context *context = step->team->context;
    tws_status status = TWS_OK;
    size_t j;
    if (step->network->output_scale > 0.0)
        status = twsi_reduce(context, step->output, step->samples, "outputs of the network");
    for (j = 0; j < step->samples && status == TWS_OK; j++) {
        step->output[j] *= step->network->output_scale;
        if (!(step->output[j] - step->output[j] <= 0.0))
            status = twsi_fail(context, TWS_NOT_FINITE,
                               "the output for sample %lu, or a pre-activation next to it, is not "
                               "finite: network.weights, batch.inputs or network.readout are too "
                               "large for their products or for the activation",
                               (unsigned long)(step->start + j));
    }
    /* without outputs nothing was summed, and a process knows of its own neurons alone */
    return step->network->output_scale > 0.0 ? status : twsi_agree(context, status);
}

/* Pre-activations, outputs and slopes of samples start .. start + samples - 1. */
TWSI_FN tws_status twsi_step_block(twsi_step *step, size_t start, size_t samples) {
    const tws_network *network = step->network;
    step->start = start;
    step->samples = samples;
    twsi_gemm_with(step->team, &step->buffers, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, network->count,
                   samples, network->inputs, 1, network->weights, network->inputs,
                   step->batch->inputs + start * network->inputs, network->inputs, 0, step->h,
                   samples);
    twsi_run(step->team, twsi_ceil_div(samples, TWSI_SWEEP_COLUMNS), twsi_sweep_task, step);
    return twsi_step_outputs(step);
}

/* Adds to the loss of the block in work, and leaves the residuals in output. */
TWSI_FN double twsi_residuals(twsi_step *step) {
    double sum = 0.0;
    size_t j;
    for (j = 0; j < step->samples; j++) {
        const double residual = (double)step->batch->labels[step->start + j] - step->output[j];
        step->output[j] = residual;
        sum += residual * residual;
    }
    return sum / (2.0 * (double)step->batch->samples);
}

/* ---- gradient ---- */

TWSI_FN void twsi_scaled_task(void *data, size_t index, size_t worker) {
    const twsi_step *step = (const twsi_step *)data;
    const size_t inputs = step->network->inputs;
    const size_t end = twsi_min(step->samples, (index + 1) * TWSI_ROW_GROUP);
    size_t j;
    (void)worker;
    for (j = index * TWSI_ROW_GROUP; j < end; j++)
        step->team->kernels->scaled_copy(
            step->scaled + j * inputs,
            (tws_real)(step->output[j] / (double)step->batch->samples),
            step->batch->inputs + (step->start + j) * inputs, inputs);
}

typedef struct twsi_readout_rows_job {
    const twsi_kernels *kernels;
    const tws_real *readout, *weights;
    double eta;
    tws_real *gradient;
    size_t rows, columns;
} twsi_readout_rows_job;

/* row = factor row + weights for a factor that is no tws_real, or loses digits as one. */
TWSI_FN void twsi_wide_row(tws_real *row, double factor, const tws_real *weights, size_t count) {
    size_t j;
    for (j = 0; j < count; j++) {
        const double sum = factor * (double)row[j] + (weights != NULL ? (double)weights[j] : 0.0);
        row[j] = (tws_real)sum;
    }
}

/* g_i = eta a_i g_i + w_i, or without weights g_i = a_i g_i */
TWSI_FN void twsi_readout_rows_task(void *data, size_t index, size_t worker) {
    const twsi_readout_rows_job *job = (const twsi_readout_rows_job *)data;
    const size_t end = twsi_min(job->rows, (index + 1) * TWSI_ROW_GROUP);
    size_t i;
    (void)worker;
    for (i = index * TWSI_ROW_GROUP; i < end; i++) {
        tws_real *row = job->gradient + i * job->columns;
        const tws_real *w = job->weights != NULL ? job->weights + i * job->columns : NULL;
        const double factor = job->eta * (double)job->readout[i], size = fabs(factor);
        if (size > 0.0 && !(size >= TWSI_REAL_LEAST && size <= TWSI_REAL_MOST)) {
            twsi_wide_row(row, factor, w, job->columns);
            continue;
        }
        job->kernels->scaled_copy(row, (tws_real)factor, row, job->columns);
        if (w != NULL) job->kernels->axpy(row, 1, w, job->columns);
    }
}

/* The last sweep over a bare gradient: to G (weights NULL, eta 1) or to the weights after the step.
   What is not finite then comes from the slope of the activation or from an overflow. */
TWSI_FN tws_status twsi_readout_rows(twsi_team *team, const tws_network *network,
                                     const tws_real *weights, double eta, tws_real *gradient) {
    twsi_readout_rows_job job;
    job.kernels = team->kernels;
    job.readout = network->readout;
    job.weights = weights;
    job.eta = eta;
    job.gradient = gradient;
    job.rows = network->count;
    job.columns = network->inputs;
    twsi_run(team, twsi_ceil_div(job.rows, TWSI_ROW_GROUP), twsi_readout_rows_task, &job);
    return twsi_require_in_range(team, weights == NULL ? "gradient" : "the weights after the step",
                                 gradient, job.rows * job.columns);
}

TWSI_FN tws_status twsi_keep_loss(tws_context *context, double total, double *loss) {
    if (loss == NULL) return TWS_OK;
    if (!(total <= DBL_MAX))
        return twsi_fail(context, TWS_NOT_FINITE, "the loss overflows: labels or outputs are too "
                                                  "large for their squares");
    *loss = total;
    return TWS_OK;
}

/* All samples, with memory at hand: G without the factors a_i of its rows, the outputs, the loss;
   each unless NULL. */
TWSI_FN tws_status twsi_step_pass(twsi_step *step, tws_real *gradient, double *output,
                                  double *loss) {
    const size_t inputs = step->network->inputs, samples = step->batch->samples;
    double total = 0.0;
    size_t start;
    step->with_slopes = gradient != NULL;
    for (start = 0; start < samples; start += step->block) {
        const tws_status status =
            twsi_step_block(step, start, twsi_min(step->block, samples - start));
        if (status != TWS_OK) return status;
        if (output != NULL) memcpy(output + start, step->output, step->samples * sizeof(double));
        if (gradient == NULL && loss == NULL) continue;
        total += twsi_residuals(step);
        if (gradient == NULL) continue;
        twsi_run(step->team, twsi_ceil_div(step->samples, TWSI_ROW_GROUP), twsi_scaled_task, step);
        twsi_gemm_with(step->team, &step->buffers, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE,
                       step->network->count, inputs, step->samples, 1, step->h, step->samples,
                       step->scaled, inputs, start == 0 ? 0 : 1, gradient, inputs);
    }
    return twsi_keep_loss(step->team->context, total, loss);
}

/* What the weights are after the step, in fresh; the weights themselves stay. */
TWSI_FN tws_status twsi_fresh_weights(twsi_step *step, double eta, tws_real *fresh, double *loss) {
    tws_status status = twsi_step_pass(step, fresh, NULL, loss);
    if (status == TWS_OK)
        status = twsi_readout_rows(step->team, step->network, step->network->weights, eta, fresh);
    return twsi_agree(step->team->context, status);
}

/* Only the outputs; loss or output may be NULL. */
TWSI_FN tws_status twsi_outputs(twsi_team *team, const tws_network *network,
                                const tws_batch *batch, double *output, double *loss) {
    twsi_pool pool;
    twsi_step step;
    tws_status status;
    twsi_pool_open(&pool, team->context);
    status = twsi_agree(team->context,
                        twsi_step_prepare(&step, team, &pool, network, batch, 0));
    if (status == TWS_OK) status = twsi_step_pass(&step, NULL, output, loss);
    twsi_pool_close(&pool);
    return status;
}

/* ---- public ---- */

/* Below about a million operations the workers cost more than they bring. */
TWSI_FN size_t twsi_step_workers(const tws_network *network, const tws_batch *batch) {
    const double operations =
        (double)network->count * (double)network->inputs * (double)batch->samples;
    return operations < 1e6 ? 1 : TWSI_MAX_THREADS;
}

/* Everything that can be wrong before the first sum over processes, and the team. Close the team
   whatever comes back. ok: a check of the caller's own, with its sentence already recorded. */
TWSI_FN tws_status twsi_step_open(twsi_team *team, tws_context *context,
                                  const tws_network *network, const tws_batch *batch,
                                  twsi_reads reads, tws_status ok) {
    tws_status status = ok;
    twsi_team_clear(team);
    if (status == TWS_OK) status = twsi_check_network(context, network, batch, reads);
    if (status == TWS_OK)
        status = twsi_team_open_tiles(team, context, twsi_step_workers(network, batch));
    if (status == TWS_OK) status = twsi_check_numbers(team, network, batch, reads);
    return twsi_agree(context, status);
}

TWSI_FN tws_status twsi_require(tws_context *context, const char *name, const void *pointer) {
    return pointer != NULL ? TWS_OK : twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL", name);
}

TWS_API tws_status tws_forward(tws_context *context, const tws_network *network,
                               const tws_batch *batch, double *output) {
    twsi_team team;
    tws_status status = twsi_step_open(&team, context, network, batch, TWSI_OUTPUTS,
                                       twsi_require(context, "output", output));
    if (status == TWS_OK) status = twsi_outputs(&team, network, batch, output, NULL);
    twsi_team_close(&team);
    return status;
}

TWS_API tws_status tws_loss(tws_context *context, const tws_network *network,
                            const tws_batch *batch, double *loss) {
    twsi_team team;
    tws_status status = twsi_step_open(&team, context, network, batch, TWSI_LABELS,
                                       twsi_require(context, "loss", loss));
    if (status == TWS_OK) status = twsi_outputs(&team, network, batch, NULL, loss);
    twsi_team_close(&team);
    return status;
}

TWS_API tws_status tws_gradient(tws_context *context, const tws_network *network,
                                const tws_batch *batch, tws_real *gradient, double *loss) {
    twsi_team team;
    twsi_pool pool;
    twsi_step step;
    tws_status status = twsi_step_open(&team, context, network, batch, TWSI_LABELS,
                                       twsi_require(context, "gradient", gradient));
    twsi_pool_open(&pool, context);
    if (status == TWS_OK)
        status = twsi_agree(context, twsi_step_prepare(&step, &team, &pool, network, batch, 1));
    if (status == TWS_OK) { /* agreed on after both: only who asks for the loss sees it overflow */
        status = twsi_step_pass(&step, gradient, NULL, loss);
        if (status == TWS_OK) status = twsi_readout_rows(&team, network, NULL, 1.0, gradient);
        status = twsi_agree(context, status);
    }
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    return status;
}

TWSI_FN tws_status twsi_check_step(tws_context *context, const tws_network *network, double eta,
                                   const tws_real *weights) {
    if (network == NULL) return twsi_require(context, "network", network);
    if (weights == NULL || weights != network->weights)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "weights must be the array that network.weights points to");
    if (!(eta - eta <= 0.0))
        return twsi_fail(context, TWS_BAD_ARGUMENT, "eta is %.9g, it must be finite", eta);
    return TWS_OK;
}

TWS_API tws_status tws_step(tws_context *context, const tws_network *network,
                            const tws_batch *batch, double eta, tws_real *weights, double *loss) {
    twsi_team team;
    twsi_pool pool;
    twsi_step step;
    tws_real *fresh = NULL;
    tws_status status = twsi_step_open(&team, context, network, batch, TWSI_LABELS,
                                       twsi_check_step(context, network, eta, weights));
    twsi_pool_open(&pool, context);
    if (status == TWS_OK) {
        fresh = (tws_real *)twsi_take(&pool, network->count, network->inputs * sizeof(tws_real));
        status = fresh == NULL ? twsi_fail(context, pool.status, "no memory for the gradient")
                               : twsi_step_prepare(&step, &team, &pool, network, batch, 1);
        status = twsi_agree(context, status);
    }
    if (status == TWS_OK) status = twsi_fresh_weights(&step, eta, fresh, loss);
    if (status == TWS_OK)
        memcpy(weights, fresh, network->count * network->inputs * sizeof(tws_real));
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    return status;
}

/* ==========================================================================
 * @@SPECTRUM: alignments, the edge of the bulk, outliers
 *
 * Which singular values stand out? The rows of W_t are, to leading order, Gaussian with a variance
 * of their own each, on top of the spikes. The edge of such a bulk follows from the variances alone
 * (Silverstein and Choi 1995), and these are measured: |w_i|^2 minus what the outliers carry. Which
 * values are outliers must be known for that, so the count starts from none and rises until it
 * stands still.
 * ========================================================================== */

TWS_API double tws_bulk_edge(double neurons, double inputs) { return 1.0 + sqrt(neurons / inputs); }

TWS_API double tws_bulk_density(double neurons, double inputs, double s) {
    const double ratio = neurons / inputs, low = fabs(1.0 - sqrt(ratio)), high = 1.0 + sqrt(ratio);
    if (!(s >= low && s < high)) return 0.0;
    if (low <= 0.0) return sqrt(high * high - s * s) / TWSI_PI;
    return sqrt((s - low) * (s + low) * (high - s) * (high + s)) /
           (TWSI_PI * s * fmin(1.0, ratio));
}

TWS_API double tws_edge_scale(double neurons, double inputs) {
    const double left = sqrt(neurons), right = sqrt(inputs);
    return (left + right) * cbrt(1.0 / left + 1.0 / right) /
           (2.0 * inputs * tws_bulk_edge(neurons, inputs));
}

typedef struct twsi_rows_spectrum {
    tws_context *context;
    size_t count;         /* rows held here */
    double rows, inputs;  /* N, d */
    const double *square; /* squared length of each row */
    double *variance;     /* S_i */
} twsi_rows_spectrum;

/* x(t), infinite beyond the pole of any row. */
TWSI_FN tws_status twsi_edge_curve(const twsi_rows_spectrum *rows, double t, double *x) {
    double sums[2] = {0.0, 0.0};
    tws_status status;
    size_t i;
    for (i = 0; i < rows->count; i++) {
        const double rest = 1.0 - rows->variance[i] * t;
        if (rest > 0.0)
            sums[0] += rows->variance[i] / rest;
        else
            sums[1] += 1.0;
    }
    status = twsi_reduce(rows->context, sums, 2, "variances of the rows");
    *x = sums[1] > 0.5 ? HUGE_VAL : 1.0 / t + sums[0] / rows->inputs;
    return status;
}

/* The edge by golden section: x(t) falls, then rises, and is infinite beyond. */
TWSI_FN tws_status twsi_find_edge(const twsi_rows_spectrum *rows, double *edge) {
    const double golden = 0.6180339887498949;
    double mean = 0.0, low = 0.0, high, t1, t2, x1 = 0.0, x2 = 0.0;
    tws_status status;
    size_t i;
    int turn;
    for (i = 0; i < rows->count; i++) mean += rows->variance[i];
    status = twsi_reduce(rows->context, &mean, 1, "variances of the rows");
    mean /= rows->rows;
    *edge = 0.0;
    if (status != TWS_OK || !(mean > DBL_MIN)) return status;
    high = 1.0 / mean;
    t1 = high - golden * (high - low);
    t2 = low + golden * (high - low);
    status = twsi_edge_curve(rows, t1, &x1);
    if (status == TWS_OK) status = twsi_edge_curve(rows, t2, &x2);
    for (turn = 0; status == TWS_OK && turn < 48; turn++) {
        if (x1 <= x2) {
            high = t2;
            t2 = t1;
            x2 = x1;
            t1 = high - golden * (high - low);
            status = twsi_edge_curve(rows, t1, &x1);
        } else {
            low = t1;
            t1 = t2;
            x1 = x2;
            t2 = low + golden * (high - low);
            status = twsi_edge_curve(rows, t2, &x2);
        }
    }
    *edge = sqrt(x1 < x2 ? x1 : x2);
    return status;
}

/* S_i without the first removed triplets. */
TWSI_FN void twsi_row_variances(twsi_rows_spectrum *rows, const double *left,
                                const tws_spectrum *spectrum, size_t removed) {
    size_t i, k;
    for (i = 0; i < rows->count; i++) rows->variance[i] = rows->square[i];
    for (k = 0; k < removed; k++) {
        const double s2 = spectrum->singular_values[k] * spectrum->singular_values[k];
        const double *u = left + k * rows->count;
        for (i = 0; i < rows->count; i++) rows->variance[i] -= s2 * u[i] * u[i];
    }
    for (i = 0; i < rows->count; i++)
        if (!(rows->variance[i] > 0.0)) rows->variance[i] = 0.0;
}

/* Takes the sampling noise out of the measured variances: d squares give each a relative variance
   of 2/d, which would pass for a spread of the S_i and push the edge outwards. As that variance is
   itself known to sqrt(2/N) only, three times as much is taken out with it. */
TWSI_FN tws_status twsi_shrink_variances(twsi_rows_spectrum *rows) {
    double sums[2] = {0.0, 0.0}, mean, spread, noise, keep;
    tws_status status;
    size_t i;
    for (i = 0; i < rows->count; i++) {
        sums[0] += rows->variance[i];
        sums[1] += rows->variance[i] * rows->variance[i];
    }
    status = twsi_reduce(rows->context, sums, 2, "variances of the rows");
    mean = sums[0] / rows->rows;
    spread = sums[1] / rows->rows - mean * mean;
    noise = 2.0 / rows->inputs * (1.0 + 3.0 * sqrt(2.0 / rows->rows)) * (sums[1] / rows->rows);
    keep = spread > noise ? 1.0 - noise / spread : 0.0;
    for (i = 0; i < rows->count; i++)
        rows->variance[i] = mean + sqrt(keep) * (rows->variance[i] - mean);
    return status;
}

/* Cosines of the principal angles between the span of count orthonormal vectors, of which the p
   parts along the directions are given, and the span of the directions: the singular values of the
   count x p matrix of parts (Bjorck and Golub 1973), by one-sided Jacobi rotations. */
TWSI_FN void twsi_principal(double (*overlaps)[TWS_MAX_DIRECTIONS], size_t count, size_t p,
                            double *cosines) {
    double m[TWS_MAX_OVERLAPS][TWS_MAX_DIRECTIONS];
    size_t k, a, b, sweep;
    for (a = 0; a < TWS_MAX_DIRECTIONS; a++) cosines[a] = 0.0;
    count = twsi_min(count, TWS_MAX_OVERLAPS);
    for (k = 0; k < count; k++)
        for (a = 0; a < p; a++) m[k][a] = overlaps[k][a];
    for (sweep = 0; sweep < 30; sweep++)
        for (a = 0; a + 1 < p; a++)
            for (b = a + 1; b < p; b++) {
                double aa = 0.0, bb = 0.0, ab = 0.0, tau, t, c;
                for (k = 0; k < count; k++) {
                    aa += m[k][a] * m[k][a];
                    bb += m[k][b] * m[k][b];
                    ab += m[k][a] * m[k][b];
                }
                if (!(fabs(ab) > 1e-300)) continue;
                tau = (bb - aa) / (2.0 * ab);
                t = (tau < 0.0 ? -1.0 : 1.0) / (fabs(tau) + sqrt(1.0 + tau * tau));
                c = 1.0 / sqrt(1.0 + t * t);
                for (k = 0; k < count; k++) {
                    const double x = m[k][a], y = m[k][b];
                    m[k][a] = c * (x - t * y);
                    m[k][b] = c * (y + t * x);
                }
            }
    for (a = 0; a < p; a++) {
        double square = 0.0;
        for (k = 0; k < count; k++) square += m[k][a] * m[k][a];
        square = fmin(1.0, sqrt(square));
        for (b = a; b > 0 && cosines[b - 1] < square; b--) cosines[b] = cosines[b - 1];
        cosines[b] = square;
    }
}

TWS_API void tws_count_outliers(tws_spectrum *spectrum, double edge) {
    double captured = 0.0;
    size_t k = 0;
    if (edge > spectrum->edge) spectrum->edge = edge;
    while (k < spectrum->top && spectrum->singular_values[k] > spectrum->edge + spectrum->margin) {
        captured += spectrum->alignments[k] * spectrum->alignments[k];
        k++;
    }
    spectrum->outliers = k;
    spectrum->captured = sqrt(captured);
    twsi_principal(spectrum->overlaps, k, spectrum->directions, spectrum->principal);
}

/* Edge, margin and count, each from the others until the count stands still. It starts from no
   outlier and only rises, as the edge falls with each that is taken out; so it does not depend on
   how many values of the bulk are known. */
TWSI_FN tws_status twsi_settle_edge(twsi_rows_spectrum *rows, const double *left,
                                       tws_spectrum *spectrum) {
    size_t removed = 0, turn;
    for (turn = 0; turn <= spectrum->top; turn++) {
        tws_status status;
        twsi_row_variances(rows, left, spectrum, removed);
        status = twsi_shrink_variances(rows);
        if (status == TWS_OK) status = twsi_find_edge(rows, &spectrum->row_edge);
        spectrum->edge = spectrum->row_edge;
        if (status != TWS_OK) return status;
        spectrum->margin = fmax(3.0 * tws_edge_scale(rows->rows, rows->inputs) * spectrum->edge /
                                    tws_bulk_edge(rows->rows, rows->inputs),
                                TWSI_REAL_EPSILON * spectrum->singular_values[0]);
        tws_count_outliers(spectrum, 0.0);
        if (spectrum->outliers == removed) break;
        removed = spectrum->outliers;
    }
    return TWS_OK;
}

/* Inner product of a singular vector with a vector of the network. */
TWSI_FN double twsi_overlap(const double *vector, const tws_real *x, size_t count) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < count; i++) sum += vector[i] * (double)x[i];
    return sum;
}

/* |<u_k, a>| / |a| for every k; the sums run over all processes. */
TWSI_FN tws_status twsi_readout_alignments(tws_context *context, const double *left,
                                           const tws_real *readout, size_t count,
                                           tws_spectrum *spectrum) {
    double sums[1 + TWS_MAX_TOP] = {0};
    tws_status status;
    size_t k;
    sums[0] = twsi_dot(readout, readout, count);
    for (k = 0; k < spectrum->top; k++)
        sums[1 + k] = twsi_overlap(left + k * count, readout, count);
    status = twsi_reduce(context, sums, spectrum->top + 1, "overlaps with the readout");
    if (status == TWS_OK && !(sums[0] <= DBL_MAX))
        return twsi_fail(context, TWS_NOT_FINITE, "readout is so long that its squares overflow");
    if (status == TWS_OK && sums[0] > 0.0)
        for (k = 0; k < spectrum->top; k++)
            spectrum->readout_alignments[k] = fabs(sums[1 + k]) / sqrt(sums[0]);
    return status;
}

TWSI_FN void twsi_alignments(const double *right, const tws_real *directions, size_t p,
                             size_t inputs, tws_spectrum *spectrum) {
    size_t k, l;
    spectrum->directions = p;
    for (k = 0; k < spectrum->top; k++) {
        double sum = 0.0;
        for (l = 0; l < p; l++) {
            const double overlap =
                twsi_overlap(right + k * inputs, directions + l * inputs, inputs);
            sum += overlap * overlap;
            if (k < TWS_MAX_OVERLAPS) spectrum->overlaps[k][l] = overlap;
        }
        spectrum->alignments[k] = sqrt(sum);
    }
}

/* From the triplets to everything else. square: the squared lengths of the rows. */
TWSI_FN tws_status twsi_describe(tws_context *context, twsi_pool *pool, const double *square,
                                 size_t count, size_t inputs, const tws_real *readout,
                                 const tws_real *directions, size_t p, const double *left,
                                 const double *right, tws_spectrum *spectrum) {
    twsi_rows_spectrum rows;
    tws_status status = TWS_OK;
    rows.context = context;
    rows.count = count;
    rows.rows = (double)count;
    rows.inputs = (double)inputs;
    rows.square = square;
    rows.variance = (double *)twsi_take(pool, count, sizeof(double));
    if (pool->status != TWS_OK)
        status = twsi_fail(context, pool->status, "no memory for the variances of the rows");
    status = twsi_agree(context, status);
    if (status != TWS_OK) return status;
    status = twsi_reduce(context, &rows.rows, 1, "number of neurons");
    if (directions != NULL) twsi_alignments(right, directions, p, inputs, spectrum);
    if (status == TWS_OK) status = twsi_settle_edge(&rows, left, spectrum);
    if (status == TWS_OK && readout != NULL)
        status = twsi_readout_alignments(context, left, readout, count, spectrum);
    return status;
}

/* The small arrays that tell where a spectrum points; NULL is none. */
TWSI_FN tws_status twsi_check_pointers(tws_context *context, const char *name, const tws_real *x,
                                       size_t count) {
    size_t i;
    for (i = 0; x != NULL && i < count; i++)
        if (!(fabs((double)x[i]) <= DBL_MAX))
            return twsi_fail(context, TWS_NOT_FINITE, "%s[%lu] is %g, it must be finite", name,
                             (unsigned long)i, (double)x[i]);
    return TWS_OK;
}

TWSI_FN tws_status twsi_check_measure(tws_context *context, const tws_real *weights, size_t count,
                                      size_t inputs, const tws_real *readout,
                                      const tws_real *directions, size_t p, size_t top,
                                      const tws_spectrum *spectrum) {
    tws_status status;
    if (spectrum == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "spectrum is NULL");
    if (count == 0 || inputs == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "count is %lu and inputs is %lu, each must be at least 1",
                         (unsigned long)count, (unsigned long)inputs);
    if (top == 0 || top > TWS_MAX_TOP || top > inputs)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "top is %lu, it must be from 1 to min(%d, neurons, inputs)",
                         (unsigned long)top, TWS_MAX_TOP);
    if (directions != NULL && p > TWS_MAX_DIRECTIONS)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "p is %lu, it must be at most %d",
                         (unsigned long)p, TWS_MAX_DIRECTIONS);
    status = twsi_check_matrix(context, "weights", weights, count, inputs, inputs);
    if (status == TWS_OK) status = twsi_check_pointers(context, "readout", readout, count);
    if (status == TWS_OK && p > 0)
        status = twsi_check_pointers(context, "directions", directions, p * inputs);
    return status;
}

/* Takes the spectrum's sizes by a power of two. */
TWSI_FN void twsi_spectrum_scale(tws_spectrum *spectrum, int unit) {
    size_t k;
    for (k = 0; k < spectrum->top; k++)
        spectrum->singular_values[k] = ldexp(spectrum->singular_values[k], unit);
    spectrum->row_edge = ldexp(spectrum->row_edge, unit);
    spectrum->edge = ldexp(spectrum->edge, unit);
    spectrum->margin = ldexp(spectrum->margin, unit);
}

#define TWSI_MEASURE_RANGE 200 /* exponent of s_1 up to which double holds its fourth power */

/* From the triplets to the rest, in a unit where fourth powers of entries stay in range. */
TWSI_FN tws_status twsi_measure_rows(tws_context *context, twsi_pool *pool,
                                     const tws_real *weights, double *square, size_t count,
                                     size_t inputs, const tws_real *readout,
                                     const tws_real *directions, size_t p, const double *left,
                                     const double *right, tws_spectrum *spectrum) {
    twsi_team team;
    int unit = twsi_exponent(spectrum->singular_values[0]);
    tws_status status = twsi_team_open(&team, context, count / 64); /* fewer: not worth it */
    if (abs(unit) < TWSI_MEASURE_RANGE) unit = 0;
    if (status == TWS_OK) twsi_squares(&team, weights, count, inputs, unit, square);
    twsi_team_close(&team);
    if (status != TWS_OK) return status;
    twsi_spectrum_scale(spectrum, -unit);
    status = twsi_describe(context, pool, square, count, inputs, readout, directions, p, left,
                           right, spectrum);
    twsi_spectrum_scale(spectrum, unit);
    if (status == TWS_OK && directions != NULL &&
        !twsi_all_finite(spectrum->alignments, spectrum->top))
        return twsi_fail(context, TWS_NOT_FINITE,
                         "directions are too large, their rows must be orthonormal");
    return status;
}

TWS_API tws_status tws_measure(tws_context *context, const tws_real *weights, size_t count,
                               size_t inputs, const tws_real *readout, const tws_real *directions,
                               size_t p, size_t top, uint64_t seed, tws_spectrum *spectrum) {
    tws_status status =
        twsi_check_measure(context, weights, count, inputs, readout, directions, p, top, spectrum);
    tws_svd_options options;
    tws_svd_result result;
    double *left = NULL, *right = NULL, *square = NULL;
    twsi_pool pool;
    twsi_pool_open(&pool, context);
    if (status == TWS_OK) {
        left = (double *)twsi_take(&pool, top, count * sizeof(double));
        right = (double *)twsi_take(&pool, top, inputs * sizeof(double));
        square = (double *)twsi_take(&pool, count, sizeof(double));
        if (pool.status != TWS_OK)
            status = twsi_fail(context, pool.status, "no memory for the singular vectors");
    }
    status = twsi_agree(context, status);
    if (status == TWS_OK) {
        memset(spectrum, 0, sizeof *spectrum);
        spectrum->top = top;
        options = tws_default_svd_options(top);
        options.seed = seed;
        status = tws_svd(context, &options, weights, count, inputs, inputs,
                         spectrum->singular_values, left, right, spectrum->residuals, &result);
        spectrum->passes = result.passes;
        if (status == TWS_NOT_FINITE &&
            !twsi_svd_blame(context, "weights", weights, count, inputs, inputs))
            twsi_say(context, "weights of another process contain NaN or infinity");
    }
    if (status == TWS_OK || status == TWS_NOT_CONVERGED) {
        const tws_status described =
            twsi_measure_rows(context, &pool, weights, square, count, inputs, readout, directions,
                              p, left, right, spectrum);
        if (described != TWS_OK) status = described;
    }
    twsi_pool_close(&pool);
    return status;
}

/* ==========================================================================
 * @@THEORY: the spectrum before it is simulated
 *
 * Fix the output weight a_i = A / sqrt N of one neuron. With z = w_i . x_j and g standard normal,
 * its pre-activation on sample j after step one is
 *     h = z + e [ own_j sigma'(z) + c_1 s_j + 2 c_2 m z + tau g ],    e = eta_1 A / sqrt N:
 * own_j = (d/n) y_j is the sample's own part of the gradient (reused batch only), s_j the part of
 * the other samples along the spike, m = E y, tau their noise. So row i of W_2 is a Gaussian vector
 * whose mean A v(A) / sqrt N and variance S(A) are averages over z, g and the samples, at every A.
 * No power of e is expanded, which is what makes the numbers right at the N that one can have.
 *
 * Given the rows, W_2 is a matrix of independent Gaussian rows with means in a space of few
 * directions (the target's, and those of v(A)). Its bulk and outliers follow from one number t:
 *     s^2 = 1/t + c E[S / (1 - S t)]            (c = N/d; the least value over t is the edge)
 *     outlier: an eigenvalue of T(t) = t E[m (A^2 nu nu^T + c D)] passes 1,  m = 1 / (1 - S t),
 * nu(A) the coordinates of v(A), D(A) the excess of the rows' variance on those directions. Since
 * the network's output ties the rows together, they are multiplied from the left by 1 - ell on the
 * polynomials of A (twsi_feedback), which borders T (twsi_outlier_matrix).
 *
 * The model and the limit: Moniri and Hassani, arXiv 2605.17767, and 2310.07891. Outliers of
 * low-rank perturbations: Benaych-Georges and Nadakuditi 2012. Leave-one-out with the own part:
 * the Onsager term of Bayati and Montanari 2011. The rest is derived in the same manner.
 * ========================================================================== */

#define TWSI_HALF_NODES 14                   /* A-nodes on each side of 0: 4 digits with 10 */
#define TWSI_NODES (2 * TWSI_HALF_NODES)
#define TWSI_Z_NODES 48                      /* most nodes in z */
#define TWSI_G_NODES 12                      /* most nodes in g */
#define TWSI_WIDE_NODES 40                   /* nodes of a one-dimensional Gaussian average */
#define TWSI_LEG_NODES 20                    /* Legendre nodes per panel where ReLU is split */
#define TWSI_BASIS 24                        /* directions: 8 of the target, 8 means, 8 samples */
#define TWSI_PACKED (TWSI_BASIS * (TWSI_BASIS + 1) / 2)
#define TWSI_MEANS 8                         /* directions kept of span v(A) */
#define TWSI_PIVOTS 14                       /* rows that span the v(A) */
#define TWSI_POLY 6                          /* polynomials of A that carry the feedback */
#define TWSI_BORDERED (TWSI_BASIS + TWSI_POLY)
#define TWSI_BINS 160                        /* of the law of the samples' noise */
#define TWSI_EXACT_ATOMS 4000                /* up to this N every neuron is an atom */
#define TWSI_HEAVY 4                         /* heaviest samples in the surrogate's basis */
#define TWSI_SAMPLE_BLOCK 128                /* samples of one task */

/* ---- small dense algebra: row-major n x n, n at most TWSI_NODES ---- */

/* Eigenvalues (decreasing) and, as columns of vectors, eigenvectors of symmetric a, which is
   destroyed. Cyclic Jacobi: no case is hard, and small eigenvalues of graded matrices come out. */
TWSI_FN void twsi_eigen(size_t n, double *a, double *values, double *vectors) {
    size_t i, j, k, sweep;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) vectors[i * n + j] = i == j;
    for (sweep = 0; sweep < 40; sweep++) {
        int rotated = 0;
        for (i = 0; i + 1 < n; i++) {
            for (j = i + 1; j < n; j++) {
                double p = a[i * n + j], ai = a[i * n + i], aj = a[j * n + j], theta, t, c, s;
                if (fabs(p) <= 1e-17 * sqrt(fabs(ai) * fabs(aj)) || fabs(p) < 1e-300) continue;
                rotated = 1;
                theta = (aj - ai) / (2 * p);
                t = (theta < 0 ? -1.0 : 1.0) / (fabs(theta) + sqrt(1 + theta * theta));
                c = 1 / sqrt(1 + t * t);
                s = t * c;
                for (k = 0; k < n; k++) {
                    double x = a[k * n + i], y = a[k * n + j];
                    a[k * n + i] = c * x - s * y;
                    a[k * n + j] = s * x + c * y;
                }
                for (k = 0; k < n; k++) {
                    double x = a[i * n + k], y = a[j * n + k];
                    a[i * n + k] = c * x - s * y;
                    a[j * n + k] = s * x + c * y;
                }
                for (k = 0; k < n; k++) {
                    double x = vectors[k * n + i], y = vectors[k * n + j];
                    vectors[k * n + i] = c * x - s * y;
                    vectors[k * n + j] = s * x + c * y;
                }
                a[i * n + j] = a[j * n + i] = 0;
            }
        }
        if (!rotated) break;
    }
    for (i = 0; i < n; i++) values[i] = a[i * n + i];
    for (i = 0; i + 1 < n; i++) {
        size_t best = i;
        double swap;
        for (j = i + 1; j < n; j++)
            if (values[j] > values[best]) best = j;
        if (best == i) continue;
        swap = values[i], values[i] = values[best], values[best] = swap;
        for (k = 0; k < n; k++) {
            swap = vectors[k * n + i];
            vectors[k * n + i] = vectors[k * n + best];
            vectors[k * n + best] = swap;
        }
    }
}

/* Solves a x = b for columns right-hand sides (b is n x columns), both overwritten; pivots in the
   column. A singular a leaves huge values, never a division by zero. */
TWSI_FN void twsi_solve(size_t n, double *a, double *b, size_t columns) {
    size_t i, j, k;
    for (k = 0; k < n; k++) {
        size_t best = k;
        double pivot;
        for (i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k])) best = i;
        if (best != k) {
            for (j = 0; j < n; j++) {
                double swap = a[k * n + j];
                a[k * n + j] = a[best * n + j];
                a[best * n + j] = swap;
            }
            for (j = 0; j < columns; j++) {
                double swap = b[k * columns + j];
                b[k * columns + j] = b[best * columns + j];
                b[best * columns + j] = swap;
            }
        }
        pivot = a[k * n + k];
        if (fabs(pivot) < 1e-200) pivot = 1e-200;
        for (i = 0; i < n; i++) {
            double factor = a[i * n + k] / pivot;
            if (i == k || factor == 0) continue;
            for (j = k; j < n; j++) a[i * n + j] -= factor * a[k * n + j];
            for (j = 0; j < columns; j++) b[i * columns + j] -= factor * b[k * columns + j];
        }
        a[k * n + k] = pivot;
    }
    for (i = 0; i < n; i++)
        for (j = 0; j < columns; j++) b[i * columns + j] /= a[i * n + i];
}

/* Place of (i, j), j <= i, in a packed lower triangle. */
TWSI_FN size_t twsi_packed(size_t i, size_t j) { return i * (i + 1) / 2 + j; }

/* ---- quadrature ---- */

/* A Gauss rule of n nodes (at most TWSI_Z_NODES) from the recurrence of its orthonormal
   polynomials, x p_k = sqrt(b_(k+1)) p_(k+1) + a_k p_k + sqrt(b_k) p_(k-1); weights sum to 1. The
   nodes, the eigenvalues of the Jacobi matrix, lie in [low, high] and are found one by one from
   sign counts: no starting guess, no failure. Weights from the polynomials, which keeps tiny ones
   accurate. */
TWSI_FN void twsi_gauss_nodes(size_t n, const double *a, const double *b, double low, double high,
                              double *nodes, double *weights) {
    size_t i, k, step;
    for (i = 0; i < n; i++) {
        double left = low, right = high, x, sum = 1, p0 = 0, p1 = 1;
        for (step = 0; step < 80; step++) {
            double middle = 0.5 * (left + right), pivot = a[0] - middle;
            size_t below = 0;
            for (k = 0;;) {
                if (pivot < 0) below++;
                if (++k == n) break;
                if (fabs(pivot) < 1e-280) pivot = 1e-280;
                pivot = a[k] - middle - b[k] / pivot;
            }
            if (below > i) right = middle;
            else left = middle;
        }
        x = 0.5 * (left + right);
        for (k = 1; k < n; k++) {
            double next = ((x - a[k - 1]) * p1 - (k > 1 ? sqrt(b[k - 1]) * p0 : 0)) / sqrt(b[k]);
            p0 = p1;
            p1 = next;
            sum += p1 * p1;
        }
        nodes[i] = x;
        weights[i] = 1 / sum;
    }
}

/* Gauss rule of n nodes for N(0,1) (hermite) or for the mean over [-1, 1]. */
TWSI_FN void twsi_gauss_rule(int hermite, size_t n, double *nodes, double *weights) {
    double a[TWSI_Z_NODES], b[TWSI_Z_NODES], reach = hermite ? 2 * sqrt((double)n) : 1;
    size_t k;
    for (k = 0; k < n; k++) {
        double x = (double)k;
        a[k] = 0;
        b[k] = hermite ? x : x * x / (4 * x * x - 1);
    }
    twsi_gauss_nodes(n, a, b, -reach, reach, nodes, weights);
}

/* x >= 0 with P(z > x) = q, 0 < q <= 1/2. Newton on log P, which is nearly a parabola. */
TWSI_FN double twsi_normal_tail(double q) {
    double t = sqrt(-2 * log(q));
    double x = t - (2.515517 + t * (0.802853 + t * 0.010328)) /
                       (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
    int step;
    for (step = 0; step < 5; step++) {
        double p = twsi_normal_below(-x);
        x += p / twsi_normal_density(x) * log(p / q);
    }
    return x > 0 ? x : 0;
}

/* Equally spaced nodes for N(0,1) on [-7, 7]. For a function with poles at distance a from the axis
   the error is exp(-2 pi a / spacing), far below that of a Gauss-Hermite rule of as many nodes. */
TWSI_FN void twsi_even_rule(size_t n, double *nodes, double *weights) {
    double sum = 0;
    size_t i;
    for (i = 0; i < n; i++) {
        nodes[i] = 7 * (2 * (double)i / ((double)n - 1) - 1);
        sum += weights[i] = exp(-0.5 * nodes[i] * nodes[i]);
    }
    for (i = 0; i < n; i++) weights[i] /= sum;
}

/* Gauss rule for |z|, z ~ N(0,1), by Stieltjes' procedure on a fine grid (work: 4 TWSI_HALF_FINE):
   with its mirror image it is exact for polynomials and for what jumps or bends at 0. */
#define TWSI_HALF_FINE 160
TWSI_FN void twsi_half_rule(size_t n, double *nodes, double *weights, double *work) {
    double *x = work, *w = work + TWSI_HALF_FINE;
    double *p0 = work + 2 * TWSI_HALF_FINE, *p1 = work + 3 * TWSI_HALF_FINE;
    double a[TWSI_Z_NODES] = {0}, b[TWSI_Z_NODES] = {0}, leg[16], leg_weight[16], before = 1;
    size_t i, k;
    twsi_gauss_rule(0, 16, leg, leg_weight);
    for (i = 0; i < TWSI_HALF_FINE; i++) {
        const size_t panel = i / 16;
        x[i] = (double)panel + 0.5 + 0.5 * leg[i % 16];
        w[i] = 2 * leg_weight[i % 16] * twsi_normal_density(x[i]);
        p0[i] = 0;
        p1[i] = 1;
    }
    for (k = 0; k < n; k++) {
        double norm = 0, first = 0;
        for (i = 0; i < TWSI_HALF_FINE; i++) {
            norm += w[i] * p1[i] * p1[i];
            first += w[i] * x[i] * p1[i] * p1[i];
        }
        a[k] = first / norm;
        b[k] = k == 0 ? 0 : norm / before;
        before = norm;
        for (i = 0; i < TWSI_HALF_FINE; i++) {
            double next = (x[i] - a[k]) * p1[i] - b[k] * p0[i];
            p0[i] = p1[i];
            p1[i] = next;
        }
    }
    twsi_gauss_nodes(n, a, b, 0, 10, nodes, weights);
}

/* The quantile of the i-th of n equal masses, antisymmetric in i to the last bit. */
TWSI_FN double twsi_normal_atom(size_t i, size_t n) {
    size_t mirror = n - 1 - i;
    if (i == mirror) return 0;
    if (i < mirror) return -twsi_normal_tail(((double)i + 0.5) / (double)n);
    return twsi_normal_tail(((double)mirror + 0.5) / (double)n);
}

/* ---- the student's constants ---- */

typedef struct twsi_student {
    const tws_activation *activation;
    int kinked; /* ReLU: half-lines apart, closed forms in g */
    size_t z_count, g_count;
    double z[TWSI_Z_NODES], z_weight[TWSI_Z_NODES], z_value[TWSI_Z_NODES], z_slope[TWSI_Z_NODES];
    double g[TWSI_G_NODES], g_weight[TWSI_G_NODES];
    double wide[TWSI_WIDE_NODES], wide_weight[TWSI_WIDE_NODES];
    double leg[TWSI_LEG_NODES], leg_weight[TWSI_LEG_NODES];
    double c0, c1, c2, variance, covariance; /* Var sigma', Cov(sigma, sigma') */
} twsi_student;

/* E[f(z) p(z)]-like sums over [-10, 10] in twenty panels of 12 nodes, cut at every integer. */
#define TWSI_FINE_PANELS 20
#define TWSI_FINE_NODES 12

TWSI_FN double twsi_fine_node(const double *nodes, size_t panel, size_t i) {
    return (double)panel - 0.5 * TWSI_FINE_PANELS + 0.5 + 0.5 * nodes[i];
}

/* Fills c_k, k < count, and the fine sums; 0 if the activation is not finite. */
TWSI_FN int twsi_hermite_sums(const tws_activation *activation, double *c, size_t count,
                              double *slope_mean, double *slope_square, double *product) {
    double nodes[TWSI_FINE_NODES], weights[TWSI_FINE_NODES];
    size_t panel, i, k;
    int finite = 1;
    twsi_gauss_rule(0, TWSI_FINE_NODES, nodes, weights);
    for (k = 0; k < count; k++) c[k] = 0;
    *slope_mean = *slope_square = *product = 0;
    for (panel = 0; panel < TWSI_FINE_PANELS; panel++) {
        for (i = 0; i < TWSI_FINE_NODES; i++) {
            double z = twsi_fine_node(nodes, panel, i);
            double w = weights[i] * twsi_normal_density(z);
            double f = tws_activation_value(activation, z), q = tws_activation_slope(activation, z);
            double h0 = 0, h1 = 1; /* He_(k-1) / sqrt((k-1)!)..., kept as He_k / k! */
            if (!(fabs(f) < 1e100 && fabs(q) < 1e100)) finite = 0;
            for (k = 0; k < count; k++) {
                double next = (z * h1 - h0) / (double)(k + 1);
                c[k] += w * f * h1;
                h0 = h1;
                h1 = next;
            }
            *slope_mean += w * q;
            *slope_square += w * q * q;
            *product += w * f * q;
        }
    }
    return finite;
}

/* z_count Gauss-Hermite nodes (even = 0) or equally spaced ones, which a kinked custom activation
   gets in any case. */
TWSI_FN void twsi_student_open(twsi_student *student, const tws_activation *activation, int even,
                               size_t z_count, size_t g_count) {
    double c[3], mean, square, product;
    size_t i;
    student->activation = activation;
    student->kinked = activation->kind == TWS_RELU;
    student->z_count = activation->kind == TWS_CUSTOM_ACTIVATION ? TWSI_Z_NODES : z_count;
    even = even || activation->kind == TWS_CUSTOM_ACTIVATION;
    student->g_count = g_count;
    if (even) twsi_even_rule(student->z_count, student->z, student->z_weight);
    else twsi_gauss_rule(1, student->z_count, student->z, student->z_weight);
    twsi_gauss_rule(1, g_count, student->g, student->g_weight);
    twsi_even_rule(TWSI_WIDE_NODES, student->wide, student->wide_weight);
    twsi_gauss_rule(0, TWSI_LEG_NODES, student->leg, student->leg_weight);
    for (i = 0; i < student->z_count; i++) {
        student->z_value[i] = tws_activation_value(activation, student->z[i]);
        student->z_slope[i] = tws_activation_slope(activation, student->z[i]);
    }
    twsi_hermite_sums(activation, c, 3, &mean, &square, &product);
    student->c0 = c[0];
    student->c1 = mean;
    student->c2 = c[2];
    student->variance = square - mean * mean > 0 ? square - mean * mean : 0;
    student->covariance = product - c[0] * mean;
}

/* sigma(x) and sigma'(x) together: most of the time of a prediction is spent here, and where the
   two share a function one call does for both. */
TWSI_FN void twsi_pair(const tws_activation *activation, double x, double *value, double *slope) {
    double t;
    switch (activation->kind) {
    case TWS_TANH:
    case TWS_SHIFTED_TANH:
        /* tanh, right to rounding beside 1, which is enough in a sum, and three times as quick */
        t = 1 - 2 / (1 + exp(2 * (activation->kind == TWS_TANH ? x : x + 0.7)));
        *value = t;
        *slope = 1 - t * t;
        return;
    case TWS_SIGMOID:
    case TWS_SHIFTED_SIGMOID:
        t = 1 / (1 + exp(-(activation->kind == TWS_SIGMOID ? x : x + 1)));
        *value = t;
        *slope = t * (1 - t);
        return;
    case TWS_SOFTPLUS:
        t = exp(-fabs(x));
        *value = (x > 0 ? x : 0) + log1p(t);
        *slope = (x > 0 ? 1 : t) / (1 + t);
        return;
    case TWS_SILU:
        t = 1 / (1 + exp(-x));
        *value = x * t;
        *slope = t + x * t * (1 - t);
        return;
    case TWS_GELU:
        t = twsi_normal_below(x);
        *value = x * t;
        *slope = t + x * twsi_normal_density(x);
        return;
    case TWS_HERMITE: {
        double before = 0, now = 1, next, f = 0, q = 0; /* He_(k-1), He_k */
        int k;
        for (k = 0; k <= TWS_MAX_DEGREE; k++) {
            f += activation->hermite[k] * now;
            q += activation->hermite[k] * k * before;
            next = x * now - k * before;
            before = now;
            now = next;
        }
        *value = f;
        *slope = q;
        return;
    }
    default:
        *value = tws_activation_value(activation, x);
        *slope = tws_activation_slope(activation, x);
    }
}

/* ---- averages over z and g of one sample at one A ---- */

enum {
    TWSI_PSI, /* E sigma'(h) */
    TWSI_PZ,  /* E z sigma'(h) */
    TWSI_P2,  /* E sigma'(h)^2 */
    TWSI_PC,  /* E sigma'(z) sigma'(h) */
    TWSI_PH,  /* E sigma(h) */
    TWSI_FZ,  /* E z sigma(h) */
    TWSI_FC,  /* E sigma'(z) sigma(h) */
    TWSI_FH,  /* E sigma(h) sigma'(h) */
    TWSI_F0,  /* E sigma(z) sigma'(h) */
    TWSI_AVERAGES
};

/* h = z + e [own sigma'(z) + c_1 s + drift z + tau g]. */
typedef struct twsi_point {
    double e, own, s, drift, tau;
} twsi_point;

/* Without an own part h is Gaussian: averages in one dimension. PC, FC and F0 stay 0, as they are
   used on a reused batch alone. */
TWSI_FN void twsi_average_gaussian(const twsi_student *student, const twsi_point *at, double *out) {
    double linear = 1 + at->drift * at->e, noise = at->e * at->tau;
    double mean = at->e * student->c1 * at->s, width = sqrt(linear * linear + noise * noise);
    double curve = 0; /* E sigma''(h) by parts */
    size_t i;
    if (width < 1e-100) width = 1e-100;
    if (student->kinked) {
        double x = mean / width, below = twsi_normal_below(x), density = twsi_normal_density(x);
        out[TWSI_PSI] = out[TWSI_P2] = below;
        out[TWSI_PH] = out[TWSI_FH] = mean * below + width * density;
        curve = density / width;
    } else {
        for (i = 0; i < TWSI_WIDE_NODES; i++) {
            double w = student->wide_weight[i], f, q;
            twsi_pair(student->activation, mean + width * student->wide[i], &f, &q);
            out[TWSI_PSI] += w * q;
            out[TWSI_P2] += w * q * q;
            out[TWSI_PH] += w * f;
            out[TWSI_FH] += w * f * q;
            curve += w * q * student->wide[i] / width;
        }
    }
    out[TWSI_PZ] = linear * curve;
    out[TWSI_FZ] = linear * out[TWSI_PSI];
}

/* ReLU with an own part: sigma'(z) is 0 or 1 on a half-line, so h is linear in z there and the
   average over g is closed; three panels in z, the middle one around the place where h changes
   sign. */
TWSI_FN void twsi_average_relu(const twsi_student *student, const twsi_point *at, double *out) {
    double linear = 1 + at->drift * at->e, noise = fabs(at->e * at->tau);
    double steep = fabs(linear) < 1e-100 ? 1e-100 : linear;
    int side, panel;
    size_t i;
    if (noise < 1e-100) noise = 1e-100;
    for (side = 0; side < 2; side++) {
        double slope = side, cut[4], base = at->e * (at->own * slope + student->c1 * at->s);
        cut[0] = side ? 0 : -8;
        cut[3] = side ? 8 : 0;
        cut[1] = fmin(fmax(-base / steep - 5 * noise / fabs(steep), cut[0]), cut[3]);
        cut[2] = fmin(fmax(-base / steep + 5 * noise / fabs(steep), cut[0]), cut[3]);
        for (panel = 0; panel < 3; panel++) {
            double middle = 0.5 * (cut[panel] + cut[panel + 1]);
            double half = 0.5 * (cut[panel + 1] - cut[panel]);
            if (half <= 0) continue;
            for (i = 0; i < TWSI_LEG_NODES; i++) {
                double z = middle + half * student->leg[i], h = linear * z + base;
                double w = 2 * half * student->leg_weight[i] * twsi_normal_density(z);
                double below = twsi_normal_below(h / noise);
                double value = h * below + noise * twsi_normal_density(h / noise);
                out[TWSI_PSI] += w * below;
                out[TWSI_PZ] += w * z * below;
                out[TWSI_P2] += w * below;
                out[TWSI_PC] += w * slope * below;
                out[TWSI_PH] += w * value;
                out[TWSI_FZ] += w * z * value;
                out[TWSI_FC] += w * slope * value;
                out[TWSI_FH] += w * value;
                out[TWSI_F0] += w * slope * z * below;
            }
        }
    }
}

TWSI_FN void twsi_average_smooth(const twsi_student *student, const twsi_point *at, double *out) {
    double linear = 1 + at->drift * at->e, noise = at->e * at->tau;
    size_t i, k, g_count = noise == 0 ? 1 : student->g_count;
    for (i = 0; i < student->z_count; i++) {
        double z = student->z[i], slope = student->z_slope[i], w = student->z_weight[i];
        double base = linear * z + at->e * (at->own * slope + student->c1 * at->s);
        double q1 = 0, q2 = 0, f1 = 0, fq = 0;
        for (k = 0; k < g_count; k++) {
            double v = noise == 0 ? 1 : student->g_weight[k], f, q;
            double h = noise == 0 ? base : base + noise * student->g[k];
            twsi_pair(student->activation, h, &f, &q);
            q1 += v * q;
            q2 += v * q * q;
            f1 += v * f;
            fq += v * f * q;
        }
        out[TWSI_PSI] += w * q1;
        out[TWSI_PZ] += w * z * q1;
        out[TWSI_P2] += w * q2;
        out[TWSI_PC] += w * slope * q1;
        out[TWSI_PH] += w * f1;
        out[TWSI_FZ] += w * z * f1;
        out[TWSI_FC] += w * slope * f1;
        out[TWSI_FH] += w * fq;
        out[TWSI_F0] += w * student->z_value[i] * q1;
    }
}

TWSI_FN void twsi_average(const twsi_student *student, const twsi_point *at, int own, double *out) {
    size_t k;
    for (k = 0; k < TWSI_AVERAGES; k++) out[k] = 0;
    if (!own) twsi_average_gaussian(student, at, out);
    else if (student->kinked) twsi_average_relu(student, at, out);
    else twsi_average_smooth(student, at, out);
}

/* ---- the samples: quadrature nodes of the population, or the data of one run ---- */

typedef struct twsi_samples {
    size_t count, p;
    double *u;      /* p x count: coordinates on B* */
    double *xi;     /* the Gaussian in s */
    double *label1; /* y of batch one */
    double *label2; /* y of batch two, label1 on a reused batch and in the population */
    double *weight; /* sums to 1 */
    double *own, *s;
    double mean, square, fourth, first[TWS_MAX_DIRECTIONS]; /* E y, E y^2, E y^4, E[u y] */
    double spread;  /* sqrt(d/n E y^2): the scale of xi in s */
    double tau;
} twsi_samples;

TWSI_FN void twsi_samples_take(twsi_pool *pool, twsi_samples *samples, size_t p, size_t count) {
    samples->count = count;
    samples->p = p;
    samples->u = (double *)twsi_take(pool, p * count, sizeof(double));
    samples->xi = (double *)twsi_take(pool, count, sizeof(double));
    samples->label1 = (double *)twsi_take(pool, count, sizeof(double));
    samples->label2 = samples->label1;
    samples->weight = (double *)twsi_take(pool, count, sizeof(double));
    samples->own = (double *)twsi_take(pool, count, sizeof(double));
    samples->s = (double *)twsi_take(pool, count, sizeof(double));
}

/* A rule in one variable: the nodes of u, xi or the label noise. */
#define TWSI_AXIS 400
typedef struct twsi_axis {
    size_t count;
    double node[TWSI_AXIS], weight[TWSI_AXIS];
} twsi_axis;

/* Places where a built-in target of one direction jumps or bends. */
TWSI_FN size_t twsi_target_cuts(const tws_target *target, double *cuts) {
    switch (target->kind) {
    case TWS_SIGN:
    case TWS_TARGET_RELU: cuts[0] = 0; return 1;
    case TWS_STEP3: cuts[0] = -2, cuts[1] = 0, cuts[2] = 2; return 3;
    case TWS_STEP4: cuts[0] = 0, cuts[1] = 1, cuts[2] = 2; return 3;
    case TWS_CUSTOM_TARGET: cuts[0] = -1, cuts[1] = 0, cuts[2] = 1; return 3;
    default: return 0;
    }
}

/* u in one direction: panels of 8 Legendre nodes between the cuts on [-clip, clip]; what lies
   beyond sits at the ends. A sample of n shows nothing beyond its own quantile, and for labels with
   heavy tails that is what counts. */
TWSI_FN void twsi_axis_panels(twsi_axis *axis, const tws_target *target, double clip) {
    double cuts[8], nodes[8], weights[8], limit = clip < 8 ? clip : 8, sum = 0;
    size_t count = 1, i, j, k, extra;
    cuts[0] = -limit;
    extra = twsi_target_cuts(target, cuts + 1);
    for (i = 0; i < extra; i++)
        if (cuts[1 + i] > -limit && cuts[1 + i] < limit) cuts[count++] = cuts[1 + i];
    cuts[count] = limit;
    twsi_gauss_rule(0, 8, nodes, weights);
    axis->count = 0;
    for (i = 0; i < count; i++) {
        double width = cuts[i + 1] - cuts[i];
        double most = target->kind == TWS_CUSTOM_TARGET ? 0.5 : 1.5;
        size_t panels = (size_t)ceil(width / most);
        for (j = 0; j < panels; j++) {
            double half = 0.5 * width / (double)panels;
            double middle = cuts[i] + (2 * (double)j + 1) * half;
            for (k = 0; k < 8; k++) {
                double x = middle + half * nodes[k];
                axis->node[axis->count] = x;
                axis->weight[axis->count++] = 2 * half * weights[k] * twsi_normal_density(x);
            }
        }
    }
    for (i = 0; i < 2; i++) {
        axis->node[axis->count] = i ? limit : -limit;
        axis->weight[axis->count++] = twsi_normal_below(-limit);
    }
    for (i = 0; i < axis->count; i++) sum += axis->weight[i];
    for (i = 0; i < axis->count; i++) axis->weight[i] /= sum;
}

/* u in one of several directions: half-line rules on both sides of 0, where products of signs
   jump. */
TWSI_FN void twsi_axis_halves(twsi_axis *axis, size_t half, double clip, double *work) {
    double nodes[TWSI_Z_NODES], weights[TWSI_Z_NODES];
    size_t i;
    twsi_half_rule(half, nodes, weights, work);
    axis->count = 2 * half;
    for (i = 0; i < half; i++) {
        axis->node[i] = -fmin(nodes[half - 1 - i], clip);
        axis->node[half + i] = fmin(nodes[i], clip);
        axis->weight[i] = 0.5 * weights[half - 1 - i];
        axis->weight[half + i] = 0.5 * weights[i];
    }
}

TWSI_FN void twsi_axis_hermite(twsi_axis *axis, size_t count, double clip) {
    size_t i;
    axis->count = count;
    twsi_gauss_rule(1, count, axis->node, axis->weight);
    for (i = 0; i < count; i++) axis->node[i] = fmin(fmax(axis->node[i], -clip), clip);
}

/* Axes of the tensor grid: p of u (all alike), xi, the label noise. */
typedef struct twsi_grid {
    twsi_axis u, xi, noise;
    double least; /* smaller products of weights are dropped */
    size_t p;
    double work[4 * TWSI_HALF_FINE];
} twsi_grid;

/* fine: for the limit, whose high orders ask for high moments of the label. */
TWSI_FN void twsi_grid_open(twsi_grid *grid, const tws_theory_input *input, double clip, int fine) {
    size_t p = input->target.directions, half;
    int noisy = input->noise > 0;
    grid->p = p;
    half = p == 2 ? (fine ? 12 : 8) : p == 3 ? (noisy ? 5 : fine ? 7 : 6) : 4;
    if (p == 1) twsi_axis_panels(&grid->u, &input->target, clip);
    else twsi_axis_halves(&grid->u, half, clip, grid->work);
    if (p == 1) grid->least = fine ? 1e-16 : 1e-10;
    else grid->least = fine ? 1e-12 : p == 2 ? 1e-9 : p == 4 && noisy ? 1e-7 : 1e-8;
    twsi_axis_hermite(&grid->xi, p == 1 ? (noisy ? 10 : fine ? 16 : 12) : p == 2 ? 6 : 4, clip);
    twsi_axis_hermite(&grid->noise, !noisy ? 1 : p == 1 ? 6 : p == 2 ? 4 : 3, clip);
}

/* One function for counting (samples == NULL) and filling, so that the two cannot differ. Walks the
   tensor product with an odometer. */
TWSI_FN size_t twsi_grid_walk(const twsi_grid *grid, const tws_theory_input *input,
                              twsi_samples *samples, size_t capacity) {
    size_t digit[TWS_MAX_DIRECTIONS + 2], axes = grid->p + 2, found = 0, i;
    double u[TWS_MAX_DIRECTIONS];
    memset(digit, 0, sizeof digit);
    for (;;) {
        double weight = 1;
        for (i = 0; i < grid->p && weight > grid->least; i++) weight *= grid->u.weight[digit[i]];
        weight *= grid->xi.weight[digit[grid->p]] * grid->noise.weight[digit[grid->p + 1]];
        if (weight > grid->least) {
            if (samples != NULL && found < capacity) {
                for (i = 0; i < grid->p; i++) {
                    u[i] = grid->u.node[digit[i]];
                    samples->u[i * capacity + found] = u[i];
                }
                samples->xi[found] = grid->xi.node[digit[grid->p]];
                samples->weight[found] = weight;
                samples->label1[found] = tws_target_value(&input->target, u) +
                                         input->noise * grid->noise.node[digit[grid->p + 1]];
            }
            found++;
        }
        for (i = axes; i-- > 0;) {
            const twsi_axis *axis = i < grid->p ? &grid->u : &grid->xi;
            size_t size = i > grid->p ? grid->noise.count : axis->count;
            if (++digit[i] < size) break;
            digit[i] = 0;
        }
        if (i == (size_t)-1) break;
    }
    return found;
}

/* More than four directions: an additive lattice (Kronecker sequence of the generalised golden
   ratio), antithetic in all coordinates together. */
#define TWSI_LATTICE 8192
TWSI_FN void twsi_lattice(const tws_theory_input *input, twsi_samples *samples, double clip) {
    size_t p = samples->p, axes = p + 2, i, j, half = samples->count / 2;
    double root = 1.5, u[TWS_MAX_DIRECTIONS];
    for (i = 0; i < 60; i++) root = pow(1 + root, 1 / ((double)axes + 1));
    for (j = 0; j < half; j++) {
        double noise = 0;
        size_t place;
        for (place = j; place < 2 * half; place += half) {
            const double sign = place == j ? 1 : -1;
            double step = 1;
            for (i = 0; i < axes; i++) {
                double x, z;
                step /= root;
                x = 0.5 + ((double)j + 1) * step;
                x -= floor(x);
                x = fmin(fmax(x, 1e-12), 1 - 1e-12);
                z = x < 0.5 ? -twsi_normal_tail(x) : twsi_normal_tail(1 - x);
                z = sign * fmin(fmax(z, -clip), clip);
                if (i < p) samples->u[i * samples->count + place] = u[i] = z;
                else if (i == p) samples->xi[place] = z;
                else noise = z;
            }
            samples->weight[place] = 1;
            samples->label1[place] = tws_target_value(&input->target, u) + input->noise * noise;
        }
    }
}

/* Moments of the labels, weights to sum 1. 0 if a label is not finite. */
TWSI_FN int twsi_samples_moments(twsi_samples *samples) {
    double sum = 0;
    size_t j, k;
    int finite = 1;
    for (j = 0; j < samples->count; j++) sum += samples->weight[j];
    samples->mean = samples->square = samples->fourth = 0;
    for (k = 0; k < samples->p; k++) samples->first[k] = 0;
    for (j = 0; j < samples->count; j++) {
        double y = samples->label1[j], w = samples->weight[j] /= sum;
        if (!(fabs(y) < 1e50)) finite = 0;
        samples->mean += w * y;
        samples->square += w * y * y;
        samples->fourth += w * y * y * y * y;
        for (k = 0; k < samples->p; k++)
            samples->first[k] += w * y * samples->u[k * samples->count + j];
    }
    return finite;
}

/* Own part and the others' part of every sample. */
TWSI_FN void twsi_samples_fields(twsi_samples *samples, const twsi_student *student, double rho,
                                 int reuse) {
    size_t j, k;
    samples->spread = sqrt(rho * samples->square);
    samples->tau = samples->spread * sqrt(student->variance);
    for (j = 0; j < samples->count; j++) {
        double s = samples->spread * samples->xi[j];
        for (k = 0; k < samples->p; k++)
            s += samples->first[k] * samples->u[k * samples->count + j];
        samples->s[j] = s;
        samples->own[j] = reuse ? rho * samples->label1[j] : 0;
    }
}

/* ---- one prediction under way ---- */

typedef struct twsi_theory {
    tws_theory_input input;
    twsi_student student;
    twsi_samples samples;
    int reuse;
    double rho, ratio;                /* d/n, N/d */
    double eta1, eta2, eps1, eps2;    /* eps = eta / sqrt N */
    double output;                    /* s sqrt N: 1 in mean field */
    double sum_share;                 /* the last bins of the noise law merge: upper tail mass */
    size_t nodes;                     /* in A, half on each side of 0 */
    double reach;                     /* largest |A| */
    double rule[TWSI_HALF_NODES], interpolation[TWSI_HALF_NODES];
    double A[TWSI_NODES], weight[TWSI_NODES], output_weight[TWSI_NODES];
    double *average;                  /* nodes x TWSI_AVERAGES x samples */
    double *residual;                 /* r_1, per sample */
    double output_rms;
    /* rows, per A-node */
    double amplify[TWSI_NODES], linear[TWSI_NODES], variance[TWSI_NODES];
    double kappa[2][TWSI_NODES];
    size_t sets;                      /* of independent sample noise: 1 reused, 2 fresh */
    double bin_value[2][TWSI_BINS], bin_weight[2][TWSI_BINS];
    size_t bins[2];
    double ell[TWSI_POLY * TWSI_POLY]; /* feedback */
    /* the basis: p target directions, then principal directions of the v(A) */
    size_t r;
    double first_order[TWSI_NODES];   /* D_A: derivative of F_A in s */
    double nu[TWSI_NODES * TWSI_BASIS];
    double combination[TWSI_NODES * TWSI_MEANS];
    double remainder[TWSI_BASIS * TWSI_BASIS];
    double *coordinate[2];            /* r x samples, of batch one and two */
    double *excess;                   /* nodes x packed: D(A) */
    double strengths[TWS_MAX_OUTLIERS];
    size_t spikes;
    double matrix[TWSI_NODES * TWSI_NODES], vectors[TWSI_NODES * TWSI_NODES]; /* work */
    double pivots[TWSI_NODES * TWSI_PIVOTS], project[TWSI_NODES * TWSI_POLY]; /* work */
    tws_prediction step1, step2; /* handed out only if all goes well */
} twsi_theory;

TWSI_FN const double *twsi_of(const twsi_theory *theory, size_t node, size_t which) {
    return theory->average + (node * TWSI_AVERAGES + which) * theory->samples.count;
}

/* Nodes in A: Legendre on [-reach, 0] and [0, reach] under the normal density, so that what is odd
   or bends at 0 (ReLU) costs no accuracy. */
TWSI_FN void twsi_nodes_open(twsi_theory *theory, size_t half, double reach) {
    double weights[TWSI_HALF_NODES], sum = 0;
    size_t i, j;
    twsi_gauss_rule(0, half, theory->rule, weights);
    theory->nodes = 2 * half;
    theory->reach = reach;
    for (i = 0; i < half; i++) {
        double product = 1;
        for (j = 0; j < half; j++)
            if (j != i) product *= 2 * (theory->rule[i] - theory->rule[j]);
        theory->interpolation[i] = 1 / product;
        theory->A[i] = 0.5 * reach * (theory->rule[i] - 1);
        theory->A[half + i] = 0.5 * reach * (theory->rule[i] + 1);
        theory->weight[i] = weights[i] * twsi_normal_density(theory->A[i]);
        theory->weight[half + i] = weights[i] * twsi_normal_density(theory->A[half + i]);
    }
    for (i = 0; i < theory->nodes; i++) sum += theory->weight[i];
    for (i = 0; i < theory->nodes; i++) {
        theory->weight[i] /= sum;
        theory->output_weight[i] = theory->weight[i] * theory->A[i];
    }
}

/* Weights that take values at the half nodes of x's side to x (barycentric); returns the first
   node of that side. */
TWSI_FN size_t twsi_interpolate(const twsi_theory *theory, double x, double *weights) {
    size_t half = theory->nodes / 2, i;
    double clipped = fmin(fmax(x, -theory->reach), theory->reach), sum = 0;
    double y = clipped * 2 / theory->reach + (clipped < 0 ? 1 : -1);
    for (i = 0; i < half; i++) {
        double gap = y - theory->rule[i];
        if (fabs(gap) < 1e-14) gap = 1e-14;
        weights[i] = theory->interpolation[i] / gap;
        sum += weights[i];
    }
    for (i = 0; i < half; i++) weights[i] /= sum;
    return clipped < 0 ? 0 : half;
}

/* Task: the averages of one block of samples at one node. */
TWSI_FN void twsi_average_task(void *data, size_t index, size_t worker) {
    twsi_theory *theory = (twsi_theory *)data;
    const twsi_samples *samples = &theory->samples;
    size_t node = index % theory->nodes, first = index / theory->nodes * TWSI_SAMPLE_BLOCK;
    size_t last = twsi_min(first + TWSI_SAMPLE_BLOCK, samples->count), j, k;
    double *out = theory->average + node * TWSI_AVERAGES * samples->count;
    double one[TWSI_AVERAGES];
    twsi_point at;
    (void)worker;
    at.e = theory->eps1 * theory->A[node];
    at.drift = 2 * theory->student.c2 * samples->mean;
    at.tau = samples->tau;
    for (j = first; j < last; j++) {
        at.own = samples->own[j];
        at.s = samples->s[j];
        twsi_average(&theory->student, &at, theory->reuse, one);
        for (k = 0; k < TWSI_AVERAGES; k++) out[k * samples->count + j] = one[k];
    }
}

/* All averages, then the residual of step two, r_1 = y - f_1 with f_1 = s sqrt N E_A[A E sigma(h)].
   Without step two (eps2 = 0) nothing of it is needed. 0 if a number is not finite. */
TWSI_FN int twsi_averages(twsi_theory *theory, twsi_team *team) {
    const twsi_samples *samples = &theory->samples;
    size_t blocks = twsi_ceil_div(samples->count, TWSI_SAMPLE_BLOCK), i, j;
    double square = 0;
    int finite = 1;
    twsi_run(team, blocks * theory->nodes, twsi_average_task, theory);
    for (j = 0; j < samples->count; j++) {
        double f = 0;
        for (i = 0; i < theory->nodes; i++)
            f += theory->output_weight[i] * twsi_of(theory, i, TWSI_PH)[j];
        f *= theory->output;
        square += samples->weight[j] * f * f;
        theory->residual[j] = samples->label2[j] - f;
        if (!(fabs(theory->residual[j]) < 1e60)) finite = 0;
        for (i = 0; i < theory->nodes; i++)
            if (!(fabs(twsi_of(theory, i, TWSI_P2)[j]) < 1e60) ||
                !(fabs(twsi_of(theory, i, TWSI_FH)[j]) < 1e60))
                finite = 0;
    }
    theory->output_rms = samples->square > 0 ? sqrt(square / samples->square) : 0;
    return finite;
}

/* ---- rows: linear response, noise, feedback ---- */

/* Linear response and the two products of noise weights with it. */
TWSI_FN void twsi_rows(twsi_theory *theory) {
    const twsi_samples *samples = &theory->samples;
    const twsi_student *student = &theory->student;
    double response = 2 * student->c2 * theory->eps1 * samples->mean;
    size_t i, j;
    theory->sets = theory->reuse ? 1 : 2;
    for (i = 0; i < theory->nodes; i++) {
        const double *psi = twsi_of(theory, i, TWSI_PSI), *pz = twsi_of(theory, i, TWSI_PZ);
        const double *p2 = twsi_of(theory, i, TWSI_P2), *pc = twsi_of(theory, i, TWSI_PC);
        double A = theory->A[i], second = 0, own = 0, noise = 0, cross = 0, e1;
        for (j = 0; j < samples->count; j++) {
            double w = samples->weight[j], r = theory->residual[j];
            second += w * r * pz[j];
            noise += w * r * r * (p2[j] - psi[j] * psi[j]);
            cross += w * samples->label1[j] * r * (pc[j] - student->c1 * psi[j]);
        }
        second *= theory->eps2 / (1 + A * response);
        theory->amplify[i] = 1 + A * second; /* step two acts on the whole row of W_1 */
        theory->linear[i] = (1 + A * response) * theory->amplify[i];
        e1 = theory->eps1 * theory->amplify[i];
        own = e1 * e1 * samples->square * student->variance;
        noise *= theory->eps2 * theory->eps2;
        cross *= 2 * e1 * theory->eps2;
        /* one batch: the weights of both steps share z and add coherently; a linear activation has
           no such noise, but differences that rounding leaves, of either sign */
        if (theory->reuse) own += noise + cross;
        theory->kappa[0][i] = own < 0 ? 0 : theory->rho * own;
        theory->kappa[1][i] = theory->reuse || noise < 0 ? 0 : theory->rho * noise;
        theory->variance[i] = theory->linear[i] * theory->linear[i] +
                              (theory->kappa[0][i] + theory->kappa[1][i]) * A * A;
    }
}

/* Variance of the noise weight of sample j in one set at one node. */
TWSI_FN double twsi_sample_noise(const twsi_theory *theory, size_t set, size_t node, size_t j) {
    const twsi_student *student = &theory->student;
    double psi = twsi_of(theory, node, TWSI_PSI)[j], r = theory->residual[j];
    double e1 = theory->eps1 * theory->amplify[node], y = theory->samples.label1[j];
    double own = e1 * e1 * y * y * student->variance;
    double noise = theory->eps2 * theory->eps2 * r * r *
                   (twsi_of(theory, node, TWSI_P2)[j] - psi * psi);
    double cross = 2 * e1 * theory->eps2 * y * r *
                   (twsi_of(theory, node, TWSI_PC)[j] - student->c1 * psi);
    if (theory->reuse) return own + noise + cross;
    return set == 0 ? own : noise;
}

/* Weight of sample j's part along z in one set at one node. */
TWSI_FN double twsi_sample_slope(const twsi_theory *theory, size_t set, size_t node, size_t j) {
    double own = 2 * theory->student.c2 * theory->eps1 * theory->amplify[node] *
                 theory->samples.label1[j];
    double next = theory->eps2 * theory->residual[j] * twsi_of(theory, node, TWSI_PZ)[j];
    if (theory->reuse) return own + next;
    return set == 0 ? own : next;
}

/* The noise of sample j in one set, averaged over A with weight A^2. */
TWSI_FN void twsi_heaviness(const twsi_theory *theory, size_t set, double *out) {
    double sum = 0;
    size_t i, j;
    for (i = 0; i < theory->nodes; i++) sum += theory->weight[i] * theory->A[i] * theory->A[i];
    for (j = 0; j < theory->samples.count; j++) {
        out[j] = 0;
        for (i = 0; i < theory->nodes; i++)
            out[j] += theory->weight[i] * theory->A[i] * theory->A[i] / sum *
                      twsi_sample_noise(theory, set, i, j);
    }
}

/* Law of theta = v / E v in bins of log v. The heaviest samples, of mass sum_share together, count
   as much as the lightest of them: a sample of n does not show its tail. v is overwritten. */
TWSI_FN void twsi_noise_law(twsi_theory *theory, size_t set, double *v) {
    const double *w = theory->samples.weight;
    double low = 0, high = 0, mean = 0, floor_log, width;
    double *value = theory->bin_value[set], *mass = theory->bin_weight[set];
    size_t j, k, kept = 0;
    int step;
    for (j = 0; j < theory->samples.count; j++) high = fmax(high, v[j]);
    for (step = 0; step < 100 && theory->sum_share > 0; step++) {
        double middle = 0.5 * (low + high), above = 0;
        for (j = 0; j < theory->samples.count; j++)
            if (v[j] > middle) above += w[j];
        if (above >= theory->sum_share) low = middle;
        else high = middle;
    }
    for (j = 0; j < theory->samples.count; j++) {
        v[j] = fmax(fmin(v[j], high), 0);
        mean += w[j] * v[j];
    }
    theory->bins[set] = 1;
    value[0] = mass[0] = 1;
    if (!(mean > 1e-200)) return;
    high /= mean;
    floor_log = 1e300;
    for (j = 0; j < theory->samples.count; j++) {
        v[j] /= mean;
        floor_log = fmin(floor_log, log(fmax(v[j], fmax(high * 1e-6, 1e-12))));
    }
    width = fmax(log(high) - floor_log, 1e-12);
    for (k = 0; k < TWSI_BINS; k++) value[k] = mass[k] = 0;
    for (j = 0; j < theory->samples.count; j++) {
        double place = (log(fmax(v[j], fmax(high * 1e-6, 1e-12))) - floor_log) / width * TWSI_BINS;
        k = place < 0 ? 0 : place >= TWSI_BINS ? TWSI_BINS - 1 : (size_t)place;
        mass[k] += w[j];
        value[k] += w[j] * v[j];
    }
    for (k = 0; k < TWSI_BINS; k++) {
        if (mass[k] <= 0) continue;
        value[kept] = value[k] / mass[k];
        mass[kept++] = mass[k];
    }
    theory->bins[set] = kept;
}

/*
 * f_W sums over all rows, so the residual ties row i to row i': W = (1 - L)(Y + P) with Y the
 * independent rows and L = U ell U^T on polynomials of A. project is nodes x TWSI_POLY: what turns
 * a function on the nodes into coordinates on U. ell = ell_1 + ell_2 - ell_2 ell_1, one of each
 * step. p and q are work of TWSI_POLY x samples each.
 */
TWSI_FN void twsi_feedback(twsi_theory *theory, const double *project, double *p, double *q) {
    const twsi_samples *samples = &theory->samples;
    const twsi_student *student = &theory->student;
    double one[TWSI_POLY * TWSI_POLY], two[TWSI_POLY * TWSI_POLY], rho = theory->rho;
    double left[TWSI_POLY], right[TWSI_POLY];
    size_t n = samples->count, i, j, k, l;
    for (k = 0; k < TWSI_POLY * n; k++) p[k] = q[k] = 0;
    for (k = 0; k < TWSI_POLY; k++) left[k] = right[k] = 0;
    for (i = 0; i < theory->nodes; i++) {
        const double *psi = twsi_of(theory, i, TWSI_PSI), *pc = twsi_of(theory, i, TWSI_PC);
        const double *ph = twsi_of(theory, i, TWSI_PH), *fz = twsi_of(theory, i, TWSI_FZ);
        const double *fc = twsi_of(theory, i, TWSI_FC), *fh = twsi_of(theory, i, TWSI_FH);
        const double *f0 = twsi_of(theory, i, TWSI_F0);
        double A = theory->A[i], lin = theory->linear[i], scale = A / theory->variance[i];
        double e1 = theory->eps1 * theory->amplify[i];
        double echo = e1 * rho * samples->square * student->variance, shared = 0, first = 0;
        double start; /* lambda_0: covariance of the row with sigma at W_0 */
        for (j = 0; j < n && theory->reuse; j++) {
            double w = samples->weight[j] * theory->residual[j];
            shared += w * samples->label1[j] * (pc[j] - student->c1 * psi[j]);
            first += w * (f0[j] - psi[j] * student->c0);
        }
        echo += rho * theory->eps2 * shared;
        start = lin * student->c1 +
                A * rho * (e1 * samples->mean * student->covariance + theory->eps2 * first);
        for (k = 0; k < TWSI_POLY; k++) {
            left[k] += project[i * TWSI_POLY + k] * A;
            right[k] += project[i * TWSI_POLY + k] * scale * start;
        }
        for (j = 0; j < n; j++) {
            double self = e1 * samples->label1[j] * (fc[j] - student->c1 * ph[j]);
            double own = theory->reuse ? self : 0;
            double next = theory->eps2 * theory->residual[j] * (fh[j] - psi[j] * ph[j]);
            double reply = lin * fz[j] + A * rho * (own + next) +
                           A * A * theory->eps1 * echo * psi[j];
            for (k = 0; k < TWSI_POLY; k++) {
                p[k * n + j] += project[i * TWSI_POLY + k] * A * psi[j];
                q[k * n + j] += project[i * TWSI_POLY + k] * scale * reply;
            }
        }
    }
    for (k = 0; k < TWSI_POLY; k++) {
        for (l = 0; l < TWSI_POLY; l++) {
            double sum = 0;
            for (j = 0; j < n; j++) sum += samples->weight[j] * p[k * n + j] * q[l * n + j];
            two[k * TWSI_POLY + l] = theory->output * theory->eps2 * sum;
            one[k * TWSI_POLY + l] =
                theory->output * theory->eps1 * student->c1 * left[k] * right[l];
        }
    }
    for (k = 0; k < TWSI_POLY; k++) {
        for (l = 0; l < TWSI_POLY; l++) {
            double product = 0;
            for (i = 0; i < TWSI_POLY; i++)
                product += two[k * TWSI_POLY + i] * one[i * TWSI_POLY + l];
            theory->ell[k * TWSI_POLY + l] =
                one[k * TWSI_POLY + l] + two[k * TWSI_POLY + l] - product;
        }
    }
}

/* ---- means of the rows: inner products of the v(A), their basis ---- */

/* v(A) = X^T F / n beyond the target directions: what its self-consistent part holds of sample j.
   Reused: F + D y with eta_1 c_1 y in F. Fresh: eta_2 r_1 psi of the second batch. */
TWSI_FN double twsi_mean_part(const twsi_theory *theory, size_t node, size_t j) {
    double part = theory->eta2 * theory->residual[j] * twsi_of(theory, node, TWSI_PSI)[j];
    if (!theory->reuse) return part;
    return part + (theory->eta1 * theory->student.c1 + theory->first_order[node]) *
                      theory->samples.label1[j];
}

/* D_A by Stein's identity in xi, and the coordinates on B* into nu. */
TWSI_FN void twsi_mean_target(twsi_theory *theory) {
    const twsi_samples *samples = &theory->samples;
    double spread = samples->spread > 1e-150 ? samples->spread : 1e-150;
    double step_one = theory->eta1 * theory->student.c1;
    size_t i, j, k, n = samples->count;
    for (i = 0; i < theory->nodes; i++) {
        const double *psi = twsi_of(theory, i, TWSI_PSI);
        double derivative = 0, *nu = theory->nu + i * TWSI_BASIS;
        for (k = 0; k < samples->p; k++) nu[k] = step_one * samples->first[k];
        for (j = 0; j < n; j++) {
            double f = samples->weight[j] * theory->eta2 * theory->residual[j] * psi[j];
            derivative += f * samples->xi[j];
            for (k = 0; k < samples->p; k++) nu[k] += f * samples->u[k * n + j];
        }
        theory->first_order[i] = derivative / spread + (theory->reuse ? 0 : step_one);
    }
}

/* Rows whose Gram matrix is that of the v(A) beyond B*, rho (E[N_A N_B] + [fresh] E y^2 D_A D_B),
   each scaled by the law of A v(A): nodes x (samples + 1). */
TWSI_FN void twsi_mean_rows(const twsi_theory *theory, double *rows) {
    const twsi_samples *samples = &theory->samples;
    size_t n = samples->count, i, j;
    for (i = 0; i < theory->nodes; i++) {
        double scale = sqrt(theory->rho * theory->weight[i]) * fabs(theory->A[i]);
        double *row = rows + i * (n + 1);
        for (j = 0; j < n; j++)
            row[j] = scale * sqrt(samples->weight[j]) * twsi_mean_part(theory, i, j);
        row[n] = theory->reuse ? 0 : scale * sqrt(samples->square) * theory->first_order[i];
    }
}

/* Pivoted Gram-Schmidt of the rows, destroyed: R (nodes x TWSI_PIVOTS) with rows = R Q. Returns the
   number of columns. The eigenvalues of a Gram matrix would lose what is 1e8 times weaker than the
   first direction, and at N = 1e12 the third spike is. */
TWSI_FN size_t twsi_mean_pivots(size_t nodes, double *rows, size_t length, double *R) {
    int used[TWSI_NODES];
    double first = 0;
    size_t i, j, k;
    memset(used, 0, sizeof used);
    for (i = 0; i < nodes * TWSI_PIVOTS; i++) R[i] = 0;
    for (k = 0; k < TWSI_PIVOTS; k++) {
        double most = 0, *q;
        size_t best = 0;
        for (i = 0; i < nodes; i++) {
            double norm = 0;
            const double *row = rows + i * length;
            for (j = 0; j < length && !used[i]; j++) norm += row[j] * row[j];
            if (norm > most) most = norm, best = i;
        }
        if (k == 0) first = most;
        if (!(most > 1e-24 * first && most > 1e-14)) break;
        used[best] = 1;
        q = rows + best * length;
        R[best * TWSI_PIVOTS + k] = sqrt(most);
        for (j = 0; j < length; j++) q[j] /= sqrt(most);
        for (i = 0; i < nodes; i++) {
            double dot = 0, *row = rows + i * length;
            if (used[i]) continue;
            for (j = 0; j < length; j++) dot += q[j] * row[j];
            for (j = 0; j < length; j++) row[j] -= dot * q[j];
            R[i * TWSI_PIVOTS + k] = dot;
        }
    }
    return k;
}

/* Principal directions of the v(A) beyond B* from their scaled rows: combination[A, k] makes the
   k-th unit direction out of the v(A); appends its coordinates to nu; returns how many. */
TWSI_FN size_t twsi_mean_basis(twsi_theory *theory, double *rows, size_t length) {
    double *R = theory->pivots, values[TWSI_PIVOTS];
    size_t m = theory->nodes, offset = theory->samples.p, i, j, k;
    size_t pivots = twsi_mean_pivots(m, rows, length, R), kept = 0;
    for (j = 0; j < pivots; j++) {
        for (k = 0; k < pivots; k++) {
            double sum = 0;
            for (i = 0; i < m; i++) sum += R[i * TWSI_PIVOTS + j] * R[i * TWSI_PIVOTS + k];
            theory->matrix[j * pivots + k] = sum;
        }
    }
    twsi_eigen(pivots, theory->matrix, values, theory->vectors);
    for (k = 0; k < pivots && k < TWSI_MEANS; k++) {
        if (!(values[k] > 1e-22 * values[0] && values[k] > 1e-12)) break;
        for (i = 0; i < m; i++) {
            double scale = sqrt(theory->weight[i]) * fabs(theory->A[i]), sum = 0;
            for (j = 0; j < pivots; j++)
                sum += R[i * TWSI_PIVOTS + j] * theory->vectors[j * pivots + k];
            theory->combination[i * TWSI_MEANS + k] = sum * scale / values[k];
            theory->nu[i * TWSI_BASIS + offset + k] = sum / scale;
        }
        kept++;
    }
    return kept;
}

/* theta_k: singular values of the mean part, from E[A^2 nu nu^T]. */
TWSI_FN void twsi_strengths(twsi_theory *theory) {
    size_t r = theory->r, i, j, k;
    double values[TWSI_BASIS];
    for (j = 0; j < r * r; j++) theory->matrix[j] = 0;
    for (i = 0; i < theory->nodes; i++) {
        const double *nu = theory->nu + i * TWSI_BASIS;
        double w = theory->weight[i] * theory->A[i] * theory->A[i];
        for (j = 0; j < r; j++)
            for (k = 0; k < r; k++) theory->matrix[j * r + k] += w * nu[j] * nu[k];
    }
    twsi_eigen(r, theory->matrix, values, theory->vectors);
    theory->spikes = twsi_min(r, TWS_MAX_OUTLIERS);
    for (k = 0; k < TWS_MAX_OUTLIERS; k++) /* no value of another step stays behind */
        theory->strengths[k] = k < theory->spikes && values[k] > 0 ? sqrt(values[k]) : 0;
}

/* Coordinates of the samples on the basis (population): u, then own part plus a Gaussian in xi; and
   the covariance of what xi does not explain. */
TWSI_FN void twsi_coordinates(twsi_theory *theory) {
    const twsi_samples *samples = &theory->samples;
    size_t n = samples->count, p = samples->p, extra = theory->r - p, i, j, k, set;
    double along[TWSI_MEANS], spread = samples->spread > 1e-150 ? samples->spread : 1e-150;
    for (k = 0; k < extra; k++) {
        along[k] = 0;
        for (i = 0; i < theory->nodes; i++) {
            double overlap = 0, c = theory->combination[i * TWSI_MEANS + k];
            if (theory->reuse) {
                for (j = 0; j < n; j++) {
                    double y = samples->weight[j] * samples->label1[j];
                    overlap += y * twsi_mean_part(theory, i, j);
                }
                along[k] += c * theory->rho * overlap / spread;
            } else {
                along[k] += c * samples->spread * theory->first_order[i];
            }
        }
    }
    for (i = 0; i < theory->r * theory->r; i++) theory->remainder[i] = 0;
    for (i = 0; i < extra; i++)
        for (k = 0; k < extra; k++)
            theory->remainder[(p + i) * theory->r + p + k] = (i == k) - along[i] * along[k];
    for (set = 0; set < theory->sets; set++) {
        double *x = theory->coordinate[set];
        int own_label = set == 0 && !theory->reuse; /* batch one of two: only y beta_1 */
        for (j = 0; j < n; j++) {
            double part[TWSI_NODES];
            for (k = 0; k < p; k++) x[k * n + j] = samples->u[k * n + j];
            for (i = 0; i < theory->nodes; i++)
                part[i] = own_label ? theory->first_order[i] * samples->label1[j]
                                    : twsi_mean_part(theory, i, j);
            for (k = 0; k < extra; k++) {
                double sum = 0;
                for (i = 0; i < theory->nodes; i++)
                    sum += theory->combination[i * TWSI_MEANS + k] * part[i];
                x[(p + k) * n + j] = theory->rho * sum + along[k] * samples->xi[j];
            }
        }
    }
}

/* Task: D(A) = (lin + A Omega)^2 - lin^2 + A^2 V at one node, packed, where Omega and V are the
   excess of the samples' linear and noise weights on the basis over an isotropic sample. */
TWSI_FN void twsi_excess_task(void *data, size_t node, size_t worker) {
    twsi_theory *theory = (twsi_theory *)data;
    const twsi_samples *samples = &theory->samples;
    size_t r = theory->r, n = samples->count, i, j, k, set;
    double omega[TWSI_PACKED], noise[TWSI_PACKED], x[TWSI_BASIS], A = theory->A[node];
    double *out = theory->excess + node * TWSI_PACKED;
    (void)worker;
    for (i = 0; i < TWSI_PACKED; i++) omega[i] = noise[i] = 0;
    for (set = 0; set < theory->sets; set++) {
        double slope_mean = 0, noise_mean = 0;
        for (j = 0; j < n; j++) {
            double slope = samples->weight[j] * twsi_sample_slope(theory, set, node, j);
            double v = samples->weight[j] * twsi_sample_noise(theory, set, node, j);
            slope_mean += slope;
            noise_mean += v;
            for (i = 0; i < r; i++) x[i] = theory->coordinate[set][i * n + j];
            for (i = 0; i < r; i++) {
                double a = slope * x[i], b = v * x[i];
                double *oi = omega + i * (i + 1) / 2, *ni = noise + i * (i + 1) / 2;
                for (k = 0; k <= i; k++) {
                    oi[k] += a * x[k];
                    ni[k] += b * x[k];
                }
            }
        }
        for (i = 0; i < r; i++) {
            for (k = 0; k <= i; k++) {
                double rest = theory->remainder[i * r + k] - (i == k);
                omega[twsi_packed(i, k)] += slope_mean * rest;
                noise[twsi_packed(i, k)] += noise_mean * rest;
            }
        }
    }
    for (i = 0; i < r; i++) {
        for (k = 0; k <= i; k++) {
            double square = 0; /* (A Omega)^2 */
            for (j = 0; j < r; j++)
                square += omega[twsi_packed(twsi_max(i, j), twsi_min(i, j))] *
                          omega[twsi_packed(twsi_max(k, j), twsi_min(k, j))];
            out[twsi_packed(i, k)] = 2 * theory->linear[node] * A * omega[twsi_packed(i, k)] +
                                     A * A * square +
                                     A * A * theory->rho * noise[twsi_packed(i, k)];
        }
    }
}

/* ---- outliers of a matrix of independent Gaussian rows ---- */

typedef struct twsi_spectrum {
    size_t atoms, r, p, sets;
    double ratio, rho; /* N/d, d/n */
    int feedback;
    const double *w;        /* law of A: atoms */
    const double *S0;       /* lin^2 */
    const double *K[2];     /* kappa A^2 of each set */
    const double *mean;     /* atoms x r: A nu, with feedback less q^T U */
    const double *form;     /* atoms x r (r + 1) / 2: mean mean^T + c D */
    const double *U;        /* atoms x TWSI_POLY, orthonormal under w */
    const double *bin_value[2], *bin_weight[2];
    size_t bins[2];
    double L[TWSI_POLY * TWSI_POLY];  /* 1 - ell */
    double q[TWSI_POLY * TWSI_BASIS]; /* E[U A nu^T] */
    double *S, *m;                    /* at the last t; F and e too */
    double F[TWSI_POLY * TWSI_POLY];  /* 1 - E[m U U^T]^-1 */
    double e[TWSI_POLY * TWSI_BASIS]; /* E[m U mean^T] */
    size_t size;                      /* of T: r, with feedback r + TWSI_POLY */
    double T[TWSI_BORDERED * TWSI_BORDERED], matrix[TWSI_BORDERED * TWSI_BORDERED];
    double values[TWSI_BORDERED], vectors[TWSI_BORDERED * TWSI_BORDERED];
    double t_star, edge;
} twsi_spectrum;

/* s^2 at t, with S left in spectrum->S; DBL_MAX beyond the admissible range. Where the samples'
   noise spreads, heavy samples count more near the edge: mu_l = E[theta / (1 - rho theta g_l)],
   iterated from 1 upwards. */
TWSI_FN double twsi_bulk(twsi_spectrum *spectrum, double t) {
    double mu[2] = {1, 1}, next[2], g[2], sum = 0;
    const size_t sets = twsi_min(spectrum->sets, 2); /* batches */
    size_t i, k, l, turn;
    for (turn = 0;; turn++) {
        double largest = 0;
        int done = 1;
        if (turn == 400) return DBL_MAX;
        for (i = 0; i < spectrum->atoms; i++) {
            double S = spectrum->S0[i];
            for (l = 0; l < sets; l++) S += mu[l] * spectrum->K[l][i];
            spectrum->S[i] = S;
            if (S > largest) largest = S;
        }
        if (!(t * largest < 1)) return DBL_MAX;
        g[0] = g[1] = 0;
        for (i = 0; i < spectrum->atoms; i++) {
            double f = spectrum->w[i] / (1 - spectrum->S[i] * t);
            for (l = 0; l < sets; l++) g[l] += f * spectrum->K[l][i];
        }
        for (l = 0; l < sets; l++) {
            double x = spectrum->rho * spectrum->ratio * t * g[l];
            next[l] = 0;
            for (k = 0; k < spectrum->bins[l]; k++) {
                double theta = spectrum->bin_value[l][k];
                if (!(x * theta < 1)) return DBL_MAX;
                next[l] += spectrum->bin_weight[l][k] * theta / (1 - x * theta);
            }
        }
        for (l = 0; l < sets; l++) {
            if (!(fabs(next[l] - mu[l]) < 1e-10 * next[l])) done = 0;
            mu[l] = next[l];
        }
        if (done) break;
    }
    for (i = 0; i < spectrum->atoms; i++) {
        double S = spectrum->S0[i];
        for (l = 0; l < sets; l++) S += mu[l] * spectrum->K[l][i];
        spectrum->S[i] = S;
        if (!(t * S < 1)) return DBL_MAX;
        sum += spectrum->w[i] * S / (1 - S * t);
    }
    return 1 / t + spectrum->ratio * sum;
}

/* The edge: least s^2 over t, by golden section. */
TWSI_FN void twsi_edge(twsi_spectrum *spectrum) {
    double largest = 0, low, high, ratio = 0.61803398874989484820, fa, fb, a, b;
    size_t i, l;
    int step;
    for (i = 0; i < spectrum->atoms; i++) {
        double S = spectrum->S0[i];
        for (l = 0; l < spectrum->sets; l++) S += spectrum->K[l][i];
        largest = fmax(largest, S);
    }
    if (!(largest > 1e-300)) largest = 1e-300;
    low = 1e-9 / largest;
    high = (1 - 1e-12) / largest;
    a = high - ratio * (high - low);
    b = low + ratio * (high - low);
    fa = twsi_bulk(spectrum, a);
    fb = twsi_bulk(spectrum, b);
    for (step = 0; step < 60; step++) {
        if (fa <= fb) {
            high = b, b = a, fb = fa;
            a = high - ratio * (high - low);
            fa = twsi_bulk(spectrum, a);
        } else {
            low = a, a = b, fa = fb;
            b = low + ratio * (high - low);
            fb = twsi_bulk(spectrum, b);
        }
    }
    fa = twsi_bulk(spectrum, low);
    for (step = 0; step < 1000 && fa >= DBL_MAX; step++) fa = twsi_bulk(spectrum, low *= 0.99);
    spectrum->t_star = low;
    spectrum->edge = sqrt(fa);
}

/* ---- the density of the bulk ---- */

typedef struct twsi_complex {
    double re, im;
} twsi_complex;

TWSI_FN twsi_complex twsi_cartesian(double re, double im) {
    twsi_complex z;
    z.re = re;
    z.im = im;
    return z;
}

TWSI_FN twsi_complex twsi_times(twsi_complex a, twsi_complex b) {
    return twsi_cartesian(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re);
}

TWSI_FN twsi_complex twsi_over(twsi_complex a, twsi_complex b) {
    const double size = b.re * b.re + b.im * b.im;
    return twsi_cartesian((a.re * b.re + a.im * b.im) / size, (a.im * b.re - a.re * b.im) / size);
}

TWSI_FN double twsi_modulus(twsi_complex a) { return sqrt(a.re * a.re + a.im * a.im); }

#define TWSI_GROUPS 192 /* atoms of like A share a variance here: a density needs no more */

/* The law of the rows' variances, coarser than in twsi_spectrum, and the last solution. */
typedef struct twsi_density {
    const twsi_spectrum *spectrum;
    size_t groups;
    double w[TWSI_GROUPS], S0[TWSI_GROUPS], K[2][TWSI_GROUPS];
    twsi_complex mu[2]; /* see twsi_bulk; kept from one t to the next */
} twsi_density;

TWSI_FN void twsi_density_open(twsi_density *density, const twsi_spectrum *spectrum) {
    const size_t groups = twsi_min(spectrum->atoms, TWSI_GROUPS);
    size_t g, i, l;
    memset(density, 0, sizeof *density);
    density->spectrum = spectrum;
    density->groups = groups;
    density->mu[0] = density->mu[1] = twsi_cartesian(1, 0);
    for (g = 0; g < groups; g++) {
        for (i = spectrum->atoms * g / groups; i < spectrum->atoms * (g + 1) / groups; i++) {
            density->w[g] += spectrum->w[i];
            density->S0[g] += spectrum->w[i] * spectrum->S0[i];
            for (l = 0; l < spectrum->sets; l++)
                density->K[l][g] += spectrum->w[i] * spectrum->K[l][i];
        }
        if (!(density->w[g] > 0)) continue;
        density->S0[g] /= density->w[g];
        for (l = 0; l < spectrum->sets; l++) density->K[l][g] /= density->w[g];
    }
}

/* twsi_bulk at complex t. */
TWSI_FN twsi_complex twsi_complex_bulk(twsi_density *density, twsi_complex t) {
    const twsi_spectrum *spectrum = density->spectrum;
    const size_t sets = twsi_min(spectrum->sets, 2);
    twsi_complex sum = twsi_cartesian(0, 0), one = twsi_cartesian(1, 0), x;
    size_t i, k, l, turn;
    for (turn = 0; turn < 200; turn++) {
        twsi_complex g[2];
        int done = 1;
        g[0] = g[1] = sum = twsi_cartesian(0, 0);
        for (i = 0; i < density->groups; i++) {
            twsi_complex S = twsi_cartesian(density->S0[i], 0), f;
            for (l = 0; l < sets; l++) {
                S.re += density->mu[l].re * density->K[l][i];
                S.im += density->mu[l].im * density->K[l][i];
            }
            f = twsi_times(S, t);
            f = twsi_over(twsi_cartesian(density->w[i], 0), twsi_cartesian(1 - f.re, -f.im));
            for (l = 0; l < sets; l++) {
                g[l].re += f.re * density->K[l][i];
                g[l].im += f.im * density->K[l][i];
            }
            f = twsi_times(f, S);
            sum.re += f.re;
            sum.im += f.im;
        }
        for (l = 0; l < sets; l++) {
            twsi_complex next = twsi_cartesian(0, 0);
            x = twsi_times(t, g[l]);
            for (k = 0; k < spectrum->bins[l]; k++) {
                const double theta = spectrum->bin_value[l][k];
                const double scale = spectrum->rho * spectrum->ratio * theta;
                const twsi_complex part =
                    twsi_over(twsi_cartesian(spectrum->bin_weight[l][k] * theta, 0),
                              twsi_cartesian(1 - scale * x.re, -scale * x.im));
                next.re += part.re;
                next.im += part.im;
            }
            x = twsi_cartesian(next.re - density->mu[l].re, next.im - density->mu[l].im);
            if (!(twsi_modulus(x) < 1e-10 * twsi_modulus(next))) done = 0;
            density->mu[l] = next;
        }
        if (done) break;
    }
    x = twsi_over(one, t);
    return twsi_cartesian(x.re + spectrum->ratio * sum.re, x.im + spectrum->ratio * sum.im);
}

/* Newton's iteration from *t for twsi_bulk = z; 1 when it arrived. */
TWSI_FN int twsi_density_newton(twsi_density *density, twsi_complex z, twsi_complex *t) {
    int step;
    for (step = 0; step < 30; step++) {
        const double width = 1e-5 * twsi_modulus(*t);
        const twsi_complex x = twsi_complex_bulk(density, *t);
        const twsi_complex next = twsi_complex_bulk(density, twsi_cartesian(t->re + width, t->im));
        const twsi_complex miss = twsi_cartesian(x.re - z.re, x.im - z.im);
        const twsi_complex slope =
            twsi_cartesian((next.re - x.re) / width, (next.im - x.im) / width);
        twsi_complex move = twsi_over(miss, slope);
        if (twsi_modulus(miss) < 1e-8 * twsi_modulus(z)) return 1;
        if (!(twsi_modulus(move) < DBL_MAX)) return 0;
        if (twsi_modulus(move) > 0.5 * twsi_modulus(*t)) {
            const double shorter = 0.5 * twsi_modulus(*t) / twsi_modulus(move);
            move = twsi_cartesian(shorter * move.re, shorter * move.im);
        }
        *t = twsi_cartesian(t->re - move.re, t->im - move.im);
    }
    return 0;
}

/* The root that belongs to lambda, followed from far above the real axis, where t = 1/z. */
TWSI_FN int twsi_density_descend(twsi_density *density, double lambda, double top,
                                 twsi_complex *t) {
    double height = 16 * top;
    density->mu[0] = density->mu[1] = twsi_cartesian(1, 0);
    *t = twsi_over(twsi_cartesian(1, 0), twsi_cartesian(lambda, height));
    while (height > 1e-6 * lambda) {
        if (!twsi_density_newton(density, twsi_cartesian(lambda, height), t)) return 0;
        height *= 0.25;
    }
    return twsi_density_newton(density, twsi_cartesian(lambda, 0), t);
}

/* Density of the singular values at s < edge, followed from above: a root found for a neighbour may
   lead to another one. */
TWSI_FN double twsi_density_at(twsi_density *density, double s, double edge) {
    twsi_complex t;
    double value;
    if (!(s >= 0 && s < edge)) return 0;
    s = fmax(s, 1e-5 * edge);
    if (!twsi_density_descend(density, s * s, edge * edge, &t)) return 0;
    if (!(-t.im > 1e-6 * twsi_modulus(t))) return 0;
    value = -2 * s * t.im / (TWSI_PI * fmin(1, density->spectrum->ratio));
    return value < 1e100 ? value : 0;
}

typedef struct twsi_densities {
    twsi_density law;
    const double *values;
    double *out;
} twsi_densities;

TWSI_FN void twsi_density_task(void *data, size_t index, size_t worker) {
    const twsi_densities *job = (const twsi_densities *)data;
    twsi_density own = job->law;
    (void)worker;
    job->out[index] = twsi_density_at(&own, job->values[index], own.spectrum->edge);
}

/* job: where the work is described; too large for the stack. */
TWSI_FN void twsi_bulk_densities(twsi_team *team, const twsi_spectrum *spectrum,
                                 twsi_densities *job, const double *values, size_t count,
                                 double *out) {
    twsi_density_open(&job->law, spectrum);
    job->values = values;
    job->out = out;
    twsi_run(team, count, twsi_density_task, job);
}

/* F = (1 + E)^-1 E with E = E[(m - 1) U U^T], and e: where m is almost 1, F is not what rounding
   leaves of a difference. */
TWSI_FN void twsi_poly_moments(twsi_spectrum *spectrum, double t) {
    double system[TWSI_POLY * TWSI_POLY], *F = spectrum->F, *e = spectrum->e;
    size_t r = spectrum->r, i, k, l;
    for (k = 0; k < TWSI_POLY * TWSI_POLY; k++) F[k] = 0;
    for (k = 0; k < TWSI_POLY * r; k++) e[k] = 0;
    for (i = 0; i < spectrum->atoms; i++) {
        const double *u = spectrum->U + i * TWSI_POLY, *mean = spectrum->mean + i * r;
        const double w = spectrum->w[i] * spectrum->m[i], above = w * spectrum->S[i] * t;
        for (k = 0; k < TWSI_POLY; k++) {
            for (l = 0; l <= k; l++) F[k * TWSI_POLY + l] += above * u[k] * u[l];
            for (l = 0; l < r; l++) e[k * r + l] += w * u[k] * mean[l];
        }
    }
    for (k = 0; k < TWSI_POLY; k++)
        for (l = 0; l < k; l++) F[l * TWSI_POLY + k] = F[k * TWSI_POLY + l];
    for (k = 0; k < TWSI_POLY * TWSI_POLY; k++) system[k] = F[k] + (k % (TWSI_POLY + 1) == 0);
    twsi_solve(TWSI_POLY, system, F, TWSI_POLY);
}

/* out = a b, TWSI_POLY rows and columns of a, columns of b; or with a transposed. */
TWSI_FN void twsi_poly_times(const double *a, int transposed, const double *b, size_t columns,
                             double *out) {
    size_t i, k, l;
    for (k = 0; k < TWSI_POLY; k++) {
        for (l = 0; l < columns; l++) {
            double sum = 0;
            for (i = 0; i < TWSI_POLY; i++)
                sum += a[transposed ? i * TWSI_POLY + k : k * TWSI_POLY + i] * b[i * columns + l];
            out[k * columns + l] = sum;
        }
    }
}

/* What the feedback adds to T, and around it: see twsi_outlier_matrix. */
TWSI_FN void twsi_border(twsi_spectrum *spectrum, double t) {
    double Fe[TWSI_POLY * TWSI_BASIS], shifted[TWSI_POLY * TWSI_BASIS];
    double LF[TWSI_POLY * TWSI_POLY];
    const double *e = spectrum->e, root = sqrt(t);
    double *T = spectrum->T;
    size_t r = spectrum->r, size = spectrum->size, i, k, l;
    twsi_poly_moments(spectrum, t);
    twsi_poly_times(spectrum->F, 0, e, r, Fe);
    for (k = 0; k < TWSI_POLY * r; k++) Fe[k] = e[k] - Fe[k];
    for (k = 0; k < r; k++)
        for (l = 0; l < r; l++)
            for (i = 0; i < TWSI_POLY; i++)
                T[k * size + l] -= 0.5 * t * (e[i * r + k] * Fe[i * r + l] +
                                              e[i * r + l] * Fe[i * r + k]);
    twsi_poly_times(spectrum->L, 0, Fe, r, shifted);
    twsi_poly_times(spectrum->L, 0, spectrum->F, TWSI_POLY, LF);
    for (k = 0; k < TWSI_POLY; k++) {
        double *row = T + (r + k) * size;
        for (l = 0; l < r; l++)
            row[l] = T[l * size + r + k] = root * (spectrum->q[k * r + l] + shifted[k * r + l]);
        for (l = 0; l <= k; l++) {
            double sum = 0;
            for (i = 0; i < TWSI_POLY; i++)
                sum += LF[k * TWSI_POLY + i] * spectrum->L[l * TWSI_POLY + i];
            row[r + l] = T[(r + l) * size + r + k] = sum;
        }
    }
}

/*
 * T(t) into spectrum->T; returns s. As many eigenvalues of T exceed 1 as singular values exceed s.
 * Without feedback T = t E[m (A^2 nu nu^T + c D)]. With it the rows W = L Y + A nu^T / sqrt N, Y
 * without means, L = 1 - ell on the polynomials U and 1 elsewhere, have
 *     [ 1 - t c E[m D]       -sqrt(t) A nu^T     ]   for 1 - T, once all of the second row but U
 *     [ -sqrt(t) A nu     1 - L diag(S t) L^T    ]   is eliminated (Schur complement):
 *     T = [ t (E[m (mean mean^T + c D)] - e^T (1 - F) e)    (...)^T     ]
 *         [ sqrt(t) (q + L (1 - F) e)                        L F L^T    ].
 * Without U too T would be r x r, but with poles where L alone puts outliers.
 */
TWSI_FN double twsi_outlier_matrix(twsi_spectrum *spectrum, double t) {
    size_t r = spectrum->r, packed = r * (r + 1) / 2, i, k, l;
    double s = sqrt(twsi_bulk(spectrum, t)), sum[TWSI_PACKED];
    for (k = 0; k < packed; k++) sum[k] = 0;
    for (i = 0; i < spectrum->atoms; i++) {
        const double *form = spectrum->form + i * packed;
        double w;
        spectrum->m[i] = 1 / (1 - spectrum->S[i] * t);
        w = spectrum->w[i] * spectrum->m[i];
        for (k = 0; k < packed; k++) sum[k] += w * form[k];
    }
    for (k = 0; k < r; k++)
        for (l = 0; l < r; l++)
            spectrum->T[k * spectrum->size + l] =
                t * sum[twsi_packed(twsi_max(k, l), twsi_min(k, l))];
    if (spectrum->feedback) twsi_border(spectrum, t);
    return s;
}

/* The same, with its eigenvalues in spectrum->values. */
TWSI_FN double twsi_outlier_values(twsi_spectrum *spectrum, double t) {
    double s = twsi_outlier_matrix(spectrum, t);
    memcpy(spectrum->matrix, spectrum->T, spectrum->size * spectrum->size * sizeof(double));
    twsi_eigen(spectrum->size, spectrum->matrix, spectrum->values, spectrum->vectors);
    return s;
}

/* The t where the k-th eigenvalue passes 1, by bisection in log t; above 1 at t_high. */
TWSI_FN double twsi_crossing(twsi_spectrum *spectrum, size_t k, double t_high) {
    double low = log(1e-290), high = log(t_high);
    int step;
    for (step = 0; step < 60; step++) {
        double middle = 0.5 * (low + high);
        twsi_outlier_values(spectrum, exp(middle));
        if (spectrum->values[k] > 1) high = middle;
        else low = middle;
    }
    return exp(0.5 * (low + high));
}

TWSI_FN double twsi_quadratic(size_t n, const double *a, const double *w) {
    double sum = 0;
    size_t i, j;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) sum += w[i] * a[i * n + j] * w[j];
    return sum;
}

/* The left vector of an outlier as a function of A, from the eigenvector (w, z) of T at its s:
   m (mean w + U g / sqrt(t)) + U ell^T z / sqrt(t), g = (1 - F) (L^T z - sqrt(t) e w). */
TWSI_FN void twsi_outlier_left(const twsi_spectrum *spectrum, double t, const double *w,
                               double *left) {
    const double *z = w + spectrum->r, root = sqrt(t);
    double g[TWSI_POLY], Fg[TWSI_POLY], own[TWSI_POLY];
    size_t r = spectrum->r, i, a;
    if (spectrum->feedback) {
        twsi_poly_times(spectrum->L, 1, z, 1, g);
        for (a = 0; a < TWSI_POLY; a++) {
            own[a] = (z[a] - g[a]) / root;
            g[a] /= root;
            for (i = 0; i < r; i++) g[a] -= spectrum->e[a * r + i] * w[i];
        }
        twsi_poly_times(spectrum->F, 0, g, 1, Fg);
        for (a = 0; a < TWSI_POLY; a++) g[a] -= Fg[a];
    }
    for (i = 0; i < spectrum->atoms; i++) {
        const double *U = spectrum->U + i * TWSI_POLY;
        double sum = 0, outside = 0;
        for (a = 0; a < r; a++) sum += spectrum->mean[i * r + a] * w[a];
        for (a = 0; a < TWSI_POLY && spectrum->feedback; a++) {
            sum += U[a] * g[a];
            outside += U[a] * own[a];
        }
        left[i] = spectrum->m[i] * sum + outside;
    }
}

/* The outlier at t: returns s, coordinates of the right vector in right (r) and the left vector as
   a function of A in left (atoms). Both are what is not random: norms at most 1. */
TWSI_FN double twsi_outlier_vectors(twsi_spectrum *spectrum, size_t k, double t, double *right,
                                    double *left) {
    size_t size = spectrum->size, i;
    double w[TWSI_BORDERED], s, s_up, s_down, up, down, step, slope, scale;
    twsi_outlier_values(spectrum, t);
    for (i = 0; i < size; i++) w[i] = spectrum->vectors[i * size + k];
    step = 1e-5 * fmin(t, spectrum->t_star - t);
    s_up = twsi_outlier_matrix(spectrum, t + step);
    up = twsi_quadratic(size, spectrum->T, w);
    s_down = twsi_outlier_matrix(spectrum, t - step);
    down = twsi_quadratic(size, spectrum->T, w);
    s = twsi_outlier_matrix(spectrum, t);
    slope = (down - up) / (s_up - s_down);
    scale = slope > 1e-250 ? sqrt(2 * s * t / slope) : 0;
    twsi_outlier_left(spectrum, t, w, left);
    for (i = 0; i < spectrum->r; i++) right[i] = scale * w[i];
    for (i = 0; i < spectrum->atoms; i++) left[i] *= scale / s;
    return s;
}

/* ---- from the nodes to the atoms ---- */

typedef struct twsi_atoms {
    size_t count;
    double *A, *w, *S0, *K0, *K1, *mean, *form, *U, *S, *m, *left;
} twsi_atoms;

TWSI_FN void twsi_atoms_take(twsi_pool *pool, twsi_atoms *atoms, size_t count) {
    double **field[9];
    size_t i;
    field[0] = &atoms->A, field[1] = &atoms->w, field[2] = &atoms->S0, field[3] = &atoms->K0;
    field[4] = &atoms->K1, field[5] = &atoms->S, field[6] = &atoms->m, field[7] = &atoms->left;
    field[8] = NULL;
    atoms->count = count;
    for (i = 0; field[i] != NULL; i++)
        *field[i] = (double *)twsi_take(pool, count, sizeof(double));
    atoms->U = (double *)twsi_take(pool, count, TWSI_POLY * sizeof(double));
}

/* The law of A at finite N: its N quantiles, or beyond TWSI_EXACT_ATOMS panels of 8 nodes. */
TWSI_FN size_t twsi_atom_count(double neurons, double reach) {
    if (neurons <= TWSI_EXACT_ATOMS) return (size_t)neurons;
    return 8 * 2 * (size_t)ceil(reach / 0.25);
}

TWSI_FN void twsi_atoms_normal(twsi_atoms *atoms, double neurons, double reach) {
    double nodes[8], weights[8], sum = 0;
    size_t panels = atoms->count / 8, i, k;
    if (neurons <= TWSI_EXACT_ATOMS) {
        for (i = 0; i < atoms->count; i++) {
            atoms->A[i] = twsi_normal_atom(i, atoms->count);
            atoms->w[i] = 1 / (double)atoms->count;
        }
        return;
    }
    twsi_gauss_rule(0, 8, nodes, weights);
    for (i = 0; i < panels; i++) {
        double half = reach / (double)panels, middle = -reach + (2 * (double)i + 1) * half;
        for (k = 0; k < 8; k++) {
            double x = middle + half * nodes[k];
            atoms->A[8 * i + k] = x;
            sum += atoms->w[8 * i + k] = weights[k] * twsi_normal_density(x);
        }
    }
    for (i = 0; i < atoms->count; i++) atoms->w[i] /= sum;
}

/* Polynomials of degree below TWSI_POLY, orthonormal under the atoms: Gram-Schmidt, twice. */
TWSI_FN void twsi_atoms_polynomials(twsi_atoms *atoms) {
    size_t i, k, l;
    int pass;
    for (k = 0; k < TWSI_POLY; k++) {
        double norm = 0;
        for (i = 0; i < atoms->count; i++)
            atoms->U[i * TWSI_POLY + k] =
                k == 0 ? 1 : atoms->A[i] * atoms->U[i * TWSI_POLY + k - 1];
        for (pass = 0; pass < 2; pass++) {
            for (l = 0; l < k; l++) {
                double dot = 0;
                for (i = 0; i < atoms->count; i++)
                    dot += atoms->w[i] * atoms->U[i * TWSI_POLY + k] * atoms->U[i * TWSI_POLY + l];
                for (i = 0; i < atoms->count; i++)
                    atoms->U[i * TWSI_POLY + k] -= dot * atoms->U[i * TWSI_POLY + l];
            }
        }
        for (i = 0; i < atoms->count; i++)
            norm += atoms->w[i] * atoms->U[i * TWSI_POLY + k] * atoms->U[i * TWSI_POLY + k];
        /* fewer atoms than degrees: nothing is left, and the polynomial is dropped */
        norm = norm > 1e-12 ? 1 / sqrt(norm) : 0;
        for (i = 0; i < atoms->count; i++) atoms->U[i * TWSI_POLY + k] *= norm;
    }
}

/* project[node, k] = sum over atoms of w U_k(A) times the node's share in A. */
TWSI_FN void twsi_atoms_project(const twsi_theory *theory, const twsi_atoms *atoms,
                                double *project) {
    double share[TWSI_HALF_NODES];
    size_t i, j, k, first, half = theory->nodes / 2;
    for (i = 0; i < TWSI_NODES * TWSI_POLY; i++) project[i] = 0;
    for (i = 0; i < atoms->count; i++) {
        first = twsi_interpolate(theory, atoms->A[i], share);
        for (j = 0; j < half; j++)
            for (k = 0; k < TWSI_POLY; k++)
                project[(first + j) * TWSI_POLY + k] +=
                    share[j] * atoms->w[i] * atoms->U[i * TWSI_POLY + k];
    }
}

/* Row statistics at the atoms: mean A nu, form c D. */
TWSI_FN void twsi_atoms_rows(const twsi_theory *theory, twsi_atoms *atoms) {
    size_t r = theory->r, packed = r * (r + 1) / 2, half = theory->nodes / 2, i, j, k;
    double share[TWSI_HALF_NODES];
    for (i = 0; i < atoms->count; i++) {
        size_t first = twsi_interpolate(theory, atoms->A[i], share);
        double square = atoms->A[i] * atoms->A[i], lin = 0, k0 = 0, k1 = 0;
        double *mean = atoms->mean + i * r, *form = atoms->form + i * packed;
        for (k = 0; k < r; k++) mean[k] = 0;
        for (k = 0; k < packed; k++) form[k] = 0;
        for (j = 0; j < half; j++) {
            size_t node = first + j;
            const double *excess = theory->excess + node * TWSI_PACKED;
            double c = theory->ratio * share[j];
            lin += share[j] * theory->linear[node];
            k0 += share[j] * theory->kappa[0][node];
            k1 += share[j] * theory->kappa[1][node];
            for (k = 0; k < r; k++) mean[k] += share[j] * theory->nu[node * TWSI_BASIS + k];
            for (k = 0; k < packed; k++) form[k] += c * excess[k];
        }
        for (k = 0; k < r; k++) mean[k] *= atoms->A[i];
        atoms->S0[i] = lin * lin;
        atoms->K0[i] = fmax(k0, 0) * square;
        atoms->K1[i] = fmax(k1, 0) * square;
    }
}

/* q, and the means less their part on the polynomials, q^T U. */
TWSI_FN void twsi_part_means(twsi_spectrum *spectrum, twsi_atoms *atoms) {
    size_t r = spectrum->r, i, k, l;
    double *q = spectrum->q;
    for (i = 0; i < atoms->count; i++)
        for (k = 0; k < TWSI_POLY; k++)
            for (l = 0; l < r; l++)
                q[k * r + l] +=
                    atoms->w[i] * atoms->U[i * TWSI_POLY + k] * atoms->mean[i * r + l];
    for (i = 0; i < atoms->count; i++)
        for (k = 0; k < TWSI_POLY; k++)
            for (l = 0; l < r; l++)
                atoms->mean[i * r + l] -= atoms->U[i * TWSI_POLY + k] * q[k * r + l];
}

TWSI_FN void twsi_spectrum_open(twsi_spectrum *spectrum, const twsi_theory *theory,
                                twsi_atoms *atoms) {
    size_t r = theory->r, packed = r * (r + 1) / 2, i, k, l;
    memset(spectrum, 0, sizeof *spectrum);
    spectrum->atoms = atoms->count;
    spectrum->r = r;
    spectrum->p = theory->samples.p;
    spectrum->sets = theory->sets;
    spectrum->ratio = theory->ratio;
    spectrum->rho = theory->rho;
    spectrum->feedback = theory->output > 0;
    spectrum->size = spectrum->feedback ? r + TWSI_POLY : r;
    spectrum->w = atoms->w, spectrum->S0 = atoms->S0;
    spectrum->K[0] = atoms->K0, spectrum->K[1] = atoms->K1;
    spectrum->mean = atoms->mean, spectrum->form = atoms->form, spectrum->U = atoms->U;
    spectrum->S = atoms->S, spectrum->m = atoms->m;
    for (k = 0; k < 2; k++) {
        spectrum->bin_value[k] = theory->bin_value[k];
        spectrum->bin_weight[k] = theory->bin_weight[k];
        spectrum->bins[k] = theory->bins[k];
    }
    for (k = 0; k < TWSI_POLY; k++)
        for (l = 0; l < TWSI_POLY; l++)
            spectrum->L[k * TWSI_POLY + l] = (k == l) - theory->ell[k * TWSI_POLY + l];
    if (spectrum->feedback) twsi_part_means(spectrum, atoms);
    for (i = 0; i < atoms->count; i++)
        for (k = 0; k < r; k++)
            for (l = 0; l <= k; l++)
                atoms->form[i * packed + twsi_packed(k, l)] +=
                    atoms->mean[i * r + k] * atoms->mean[i * r + l];
}

/* |sum w left A^power| / sqrt(sum w A^(2 power)). */
TWSI_FN double twsi_readout_overlap(const twsi_atoms *atoms, int power) {
    double dot = 0, norm = 0;
    size_t i;
    for (i = 0; i < atoms->count; i++) {
        double a = power == 1 ? atoms->A[i] : atoms->A[i] * atoms->A[i];
        dot += atoms->w[i] * atoms->left[i] * a;
        norm += atoms->w[i] * a * a;
    }
    return norm > 0 ? fmin(fabs(dot) / sqrt(norm), 1) : 0;
}

/* Where the surrogate leaves its directions; NULL in the population. */
typedef struct twsi_directions {
    double *right, *left; /* either may be NULL */
    const double *basis;  /* r x d */
    size_t inputs;
} twsi_directions;

/* Unit vectors, or zeros where nothing is known of one. */
TWSI_FN void twsi_write_directions(const twsi_directions *out, const twsi_atoms *atoms, size_t k,
                                   size_t r, const double *right, double right_norm,
                                   double left_norm) {
    const double across = right_norm > 0 ? 1 / right_norm : 0;
    const double down = left_norm > 0 ? 1 / (left_norm * sqrt((double)atoms->count)) : 0;
    double sign = 0;
    size_t i, l;
    for (i = 0; i < atoms->count; i++) sign += atoms->A[i] * atoms->left[i];
    sign = sign < 0 ? -1 : 1;
    for (i = 0; i < out->inputs && out->right != NULL; i++) {
        double sum = 0;
        for (l = 0; l < r; l++) sum += right[l] * out->basis[l * out->inputs + i];
        out->right[k * out->inputs + i] = sign * across * sum;
    }
    for (i = 0; i < atoms->count && out->left != NULL; i++)
        out->left[k * atoms->count + i] = sign * down * atoms->left[i];
}

/* The edge, and the outliers beyond it; *t_high: where the search for them begins. */
TWSI_FN size_t twsi_count_crossings(twsi_spectrum *spectrum, double *t_high) {
    size_t count = 0;
    twsi_edge(spectrum);
    *t_high = spectrum->t_star * (1 - 1e-7);
    twsi_outlier_values(spectrum, *t_high);
    while (count < spectrum->size && count < TWS_MAX_OUTLIERS && spectrum->values[count] > 1)
        count++;
    return count;
}

/* Everything that follows once rows, basis and noise law are known. */
TWSI_FN void twsi_report(const twsi_theory *theory, twsi_spectrum *spectrum, twsi_atoms *atoms,
                         const twsi_directions *directions, tws_prediction *out) {
    double t_high, right[TWSI_BASIS] = {0};
    size_t i, k, count;
    out->kappa = 0;
    for (i = 0; i < theory->nodes; i++)
        out->kappa += theory->weight[i] * (theory->kappa[0][i] + theory->kappa[1][i]);
    out->spikes = theory->spikes;
    memcpy(out->strengths, theory->strengths, sizeof out->strengths);
    out->output = theory->output_rms;
    out->outliers = count = twsi_count_crossings(spectrum, &t_high);
    out->edge = spectrum->edge;
    for (k = 0; k < count; k++) {
        double t = twsi_crossing(spectrum, k, t_high), part = 0, whole = 0, left = 0;
        out->singular_values[k] = twsi_outlier_vectors(spectrum, k, t, right, atoms->left);
        for (i = 0; i < spectrum->r; i++) {
            whole += right[i] * right[i];
            if (i + 1 == spectrum->p) part = whole;
        }
        for (i = 0; i < spectrum->r && whole > 1; i++) right[i] /= sqrt(whole);
        if (whole > 1) part /= whole, whole = 1;
        for (i = 0; i < atoms->count; i++) left += atoms->w[i] * atoms->left[i] * atoms->left[i];
        out->alignments[k] = fmin(sqrt(part), 1);
        for (i = 0; i < spectrum->p; i++) out->overlaps[k][i] = right[i];
        out->right_norms[k] = fmin(sqrt(whole), 1);
        out->left_norms[k] = fmin(sqrt(left), 1);
        out->readout_alignments[k] = twsi_readout_overlap(atoms, 1);
        out->readout_square_alignments[k] = twsi_readout_overlap(atoms, 2);
        out->captured += out->alignments[k] * out->alignments[k];
        whole = sqrt(whole);
        left = sqrt(left);
        if (directions != NULL)
            twsi_write_directions(directions, atoms, k, spectrum->r, right, whole, left);
    }
    out->captured = sqrt(out->captured);
    twsi_principal(out->overlaps, count, spectrum->p, out->principal);
}

/* Last guard: a prediction with NaN or infinity in it is never handed out. */
TWSI_FN int twsi_prediction_finite(const tws_prediction *p) {
    double sum = fabs(p->edge) + fabs(p->captured) + fabs(p->kappa) + fabs(p->output);
    size_t k;
    for (k = 0; k < TWS_MAX_OUTLIERS; k++)
        sum += fabs(p->singular_values[k]) + fabs(p->alignments[k]) +
               fabs(p->readout_alignments[k]) + fabs(p->readout_square_alignments[k]) +
               fabs(p->right_norms[k]) + fabs(p->left_norms[k]) + fabs(p->strengths[k]);
    return sum < 1e150;
}

/* ---- checks ---- */

TWSI_FN tws_status twsi_theory_number(tws_context *context, const char *name, double value,
                                      double low, double high, const char *range) {
    if (value >= low && value <= high) return TWS_OK;
    return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is %g, allowed is %s", name, value, range);
}

/* What is integrated: sigma, sigma', or a target of one direction. */
typedef double (*twsi_integrand)(const void *of, double z);

TWSI_FN double twsi_value_at(const void *of, double z) {
    return tws_activation_value((const tws_activation *)of, z);
}

TWSI_FN double twsi_slope_at(const void *of, double z) {
    return tws_activation_slope((const tws_activation *)of, z);
}

/* A target of one direction; the rest is there for compilers that look into the others. */
TWSI_FN double twsi_target_at(const void *of, double z) {
    double u[TWS_MAX_DIRECTIONS] = {0};
    u[0] = z;
    return tws_target_value((const tws_target *)of, u);
}

/* E f(z)^2 on [-reach, reach] in equal panels of 8 Legendre nodes. */
TWSI_FN double twsi_second_moment(twsi_integrand integrand, const void *of, double reach,
                                  size_t panels) {
    double nodes[8], weights[8], sum = 0, half = reach / (double)panels;
    size_t i, k;
    twsi_gauss_rule(0, 8, nodes, weights);
    for (i = 0; i < panels; i++) {
        for (k = 0; k < 8; k++) {
            const double z = -reach + (2 * (double)i + 1 + nodes[k]) * half;
            const double f = integrand(of, z);
            sum += 2 * half * weights[k] * twsi_normal_density(z) * f * f;
        }
    }
    return sum;
}

/* Two rules that agree on every square integrable function worth the name, and differ by factors
   where a pole or a growth like exp(z^2) makes the integral infinite. */
TWSI_FN int twsi_integrable(twsi_integrand integrand, const void *of) {
    double short_rule = twsi_second_moment(integrand, of, 8, 31);
    double long_rule = twsi_second_moment(integrand, of, 11, 97);
    return long_rule < 1e100 && fabs(long_rule - short_rule) <= 0.2 * long_rule + 1e-200;
}

/* lowest: as in twsi_check_hermite */
TWSI_FN tws_status twsi_theory_hermite(tws_context *context, const char *name, const double *c,
                                       int lowest) {
    const char *wrong = twsi_check_hermite(c, lowest);
    int k;
    for (k = 0; k <= TWS_MAX_DEGREE; k++)
        if (!(fabs(c[k]) <= TWSI_HERMITE_LARGEST))
            return twsi_fail(context, TWS_BAD_ARGUMENT,
                             "%s.hermite[%d] is %g, allowed is -1e20 to 1e20", name, k, c[k]);
    return wrong == NULL ? TWS_OK : twsi_fail(context, TWS_BAD_ARGUMENT, "%s %s", name, wrong);
}

TWSI_FN tws_status twsi_theory_activation(tws_context *context, const tws_activation *activation) {
    tws_status status = TWS_OK;
    double c[1], a, b, e;
    if ((int)activation->kind < 0 || (int)activation->kind >= (int)TWS_ACTIVATION_COUNT)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "activation.kind is %d, allowed are 0 to %d",
                         (int)activation->kind, (int)TWS_ACTIVATION_COUNT - 1);
    if (activation->kind == TWS_CUSTOM_ACTIVATION &&
        (activation->value == NULL || activation->slope == NULL))
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "activation.value or activation.slope is NULL, a custom one needs both");
    if (activation->kind == TWS_HERMITE)
        status = twsi_theory_hermite(context, "activation", activation->hermite, 1);
    if (status != TWS_OK) return status;
    if (!twsi_hermite_sums(activation, c, 1, &a, &b, &e))
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "activation (%s) or its slope is not finite on [-10, 10], or above 1e100",
                         tws_activation_name(activation->kind));
    if (!twsi_integrable(twsi_value_at, activation) || !twsi_integrable(twsi_slope_at, activation))
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "activation (%s) or its slope is not square integrable under N(0,1), is "
                         "above 1e50, or changes too fast for panels of 1/4",
                         tws_activation_name(activation->kind));
    return TWS_OK;
}

TWSI_FN tws_status twsi_theory_target(tws_context *context, const tws_target *target) {
    tws_status status = TWS_OK;
    if ((int)target->kind < 0 || (int)target->kind >= (int)TWS_TARGET_COUNT)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "target.kind is %d, allowed are 0 to %d",
                         (int)target->kind, (int)TWS_TARGET_COUNT - 1);
    if (target->directions < 1 || target->directions > TWS_MAX_DIRECTIONS)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "target.directions is %lu, allowed are 1 to %d",
                         (unsigned long)target->directions, TWS_MAX_DIRECTIONS);
    if (target->kind >= TWS_PRODUCT2 && target->kind <= TWS_HE4_SIGN_PRODUCT3 &&
        target->directions < (target->kind == TWS_PRODUCT2 || target->kind == TWS_STAIRCASE ? 2u
                                                                                            : 3u))
        return twsi_fail(context, TWS_BAD_ARGUMENT, "target.directions is %lu, too few for %s",
                         (unsigned long)target->directions, tws_target_name(target->kind));
    if (target->kind == TWS_CUSTOM_TARGET && target->function == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "target.function is NULL, a custom target needs one");
    if (target->kind == TWS_TARGET_HERMITE)
        status = twsi_theory_hermite(context, "target", target->hermite, 0);
    if (status != TWS_OK) return status;
    if (target->directions == 1 && !twsi_integrable(twsi_target_at, target))
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "target (%s) is not finite or not square integrable under N(0,1), is "
                         "above 1e50, or changes too fast for panels of 1/4",
                         tws_target_name(target->kind));
    return TWS_OK;
}

/* Ranges of everything but the target's function. */
TWSI_FN tws_status twsi_theory_check(tws_context *context, const tws_theory_input *input) {
    static const char *const size = "2 to 1e15", *const alpha = "0 <= alpha < 1/2";
    tws_status status = TWS_OK;
    if (input == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "input is NULL");
#define TWSI_RANGE(name, low, high, range) \
    if (status == TWS_OK)                  \
    status = twsi_theory_number(context, #name, input->name, low, high, range)
    TWSI_RANGE(neurons, 2, TWS_LARGEST_SIZE, size);
    TWSI_RANGE(inputs, 2, TWS_LARGEST_SIZE, size);
    TWSI_RANGE(samples, 2, TWS_LARGEST_SIZE, size);
    TWSI_RANGE(alpha1, 0, TWSI_BELOW_HALF, alpha);
    TWSI_RANGE(alpha2, 0, TWSI_BELOW_HALF, alpha);
    TWSI_RANGE(scale1, 1e-100, 1e6, "1e-100 to 1e6");
    TWSI_RANGE(scale2, 1e-100, 1e6, "1e-100 to 1e6");
    TWSI_RANGE(noise, 0, 1e6, "0 to 1e6");
    if (status == TWS_OK && input->output_scale != TWS_MEAN_FIELD)
        TWSI_RANGE(output_scale, 0, 1e6, "0 to 1e6, or TWS_MEAN_FIELD");
#undef TWSI_RANGE
    if (status != TWS_OK) return status;
    if (input->batches != TWS_FRESH && input->batches != TWS_REUSE)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "batches is %d, allowed are TWS_FRESH and TWS_REUSE", (int)input->batches);
    status = twsi_theory_activation(context, &input->activation);
    if (status == TWS_OK) status = twsi_theory_target(context, &input->target);
    if (status == TWS_OK && (double)input->target.directions > input->inputs)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "target.directions is %lu, allowed is at most inputs = %g",
                         (unsigned long)input->target.directions, input->inputs);
    return status;
}

TWS_API tws_theory_input tws_theory_from_config(const tws_config *config) {
    tws_theory_input input;
    memset(&input, 0, sizeof input);
    input.neurons = (double)config->neurons;
    input.inputs = (double)config->inputs;
    input.samples = (double)config->samples;
    input.alpha1 = config->alpha1;
    input.alpha2 = config->alpha2;
    input.scale1 = config->scale1;
    input.scale2 = config->scale2;
    input.activation = config->activation;
    input.target = config->target;
    input.noise = config->noise;
    input.batches = config->batches;
    input.output_scale = config->output_scale;
    return input;
}

TWS_API tws_status tws_hermite_coefficients(tws_context *context, const tws_activation *activation,
                                            double *coefficients, size_t count) {
    double mean, square, product;
    tws_status status;
    if (activation == NULL || coefficients == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         activation == NULL ? "activation" : "coefficients");
    if (count > 32)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "count is %lu, allowed are 0 to 32",
                         (unsigned long)count);
    status = twsi_theory_activation(context, activation);
    if (status == TWS_OK)
        twsi_hermite_sums(activation, coefficients, count, &mean, &square, &product);
    return status;
}

/* ---- the population theory ---- */

/* Sizes and step sizes. */
TWSI_FN void twsi_theory_sizes(twsi_theory *theory, const tws_theory_input *input) {
    double root = sqrt(input->neurons);
    theory->input = *input;
    theory->reuse = input->batches == TWS_REUSE;
    theory->rho = input->inputs / input->samples;
    theory->ratio = input->neurons / input->inputs;
    theory->eta1 = input->scale1 * pow(input->neurons, input->alpha1);
    theory->eta2 = input->scale2 * pow(input->neurons, input->alpha2);
    theory->eps1 = theory->eta1 / root;
    theory->eps2 = theory->eta2 / root;
    theory->output = input->output_scale == TWS_MEAN_FIELD ? 1 : input->output_scale * root;
}

/* Takes and fills the samples of the population. clip: see twsi_axis_panels. */
TWSI_FN void twsi_population(twsi_pool *pool, const tws_theory_input *input,
                             twsi_samples *samples, double clip, int fine) {
    size_t p = input->target.directions, count;
    twsi_grid *grid;
    if (p > 4) {
        twsi_samples_take(pool, samples, p, TWSI_LATTICE);
        if (pool->status == TWS_OK) twsi_lattice(input, samples, clip);
        return;
    }
    grid = (twsi_grid *)twsi_take(pool, 1, sizeof *grid);
    if (grid == NULL) return;
    twsi_grid_open(grid, input, clip, fine);
    count = twsi_grid_walk(grid, input, NULL, 0);
    twsi_samples_take(pool, samples, p, count);
    if (pool->status == TWS_OK) twsi_grid_walk(grid, input, samples, count);
}

/* From averages to rows, basis and atoms: all that the spectrum depends on. */
TWSI_FN void twsi_population_rows(twsi_theory *theory, twsi_team *team, twsi_spectrum *spectrum,
                                  twsi_atoms *atoms, double *work) {
    size_t n = theory->samples.count, set;
    twsi_rows(theory);
    for (set = 0; set < theory->sets; set++) {
        twsi_heaviness(theory, set, work);
        twsi_noise_law(theory, set, work);
    }
    twsi_mean_target(theory);
    twsi_mean_rows(theory, work);
    theory->r = theory->samples.p + twsi_mean_basis(theory, work, n + 1);
    twsi_strengths(theory);
    twsi_coordinates(theory);
    twsi_run(team, theory->nodes, twsi_excess_task, theory);
    twsi_atoms_project(theory, atoms, theory->project);
    twsi_feedback(theory, theory->project, work, work + TWSI_POLY * n);
    twsi_atoms_rows(theory, atoms);
    twsi_spectrum_open(spectrum, theory, atoms);
}

TWSI_FN void twsi_population_report(twsi_theory *theory, twsi_team *team, twsi_spectrum *spectrum,
                                    twsi_atoms *atoms, double *work, tws_prediction *out) {
    twsi_population_rows(theory, team, spectrum, atoms, work);
    twsi_report(theory, spectrum, atoms, NULL, out);
}

/* ---- many second steps after one first step ---- */

/* What a worker needs to follow one second step on its own. */
typedef struct twsi_desk {
    twsi_theory *theory;
    twsi_spectrum *spectrum;
    twsi_atoms atoms;
    double *work;
} twsi_desk;

/* What tws_predict_counts asks for. The averages know the first step alone, so they serve all. */
typedef struct twsi_row_request {
    const double *alpha2;
    size_t count;
    double *edges;
    size_t *outliers;
    const twsi_theory *theory; /* with the averages */
    const twsi_atoms *atoms;
    twsi_desk *desks; /* one per worker */
    size_t workers;
} twsi_row_request;

/* The arrays that a second step writes to; the atoms have their count. */
TWSI_FN void twsi_theory_take(twsi_pool *pool, twsi_theory *theory, twsi_atoms *atoms,
                              double **work, size_t nodes, size_t basis) {
    const size_t n = theory->samples.count;
    theory->coordinate[0] = (double *)twsi_take(pool, basis * n, sizeof(double));
    theory->coordinate[1] = (double *)twsi_take(pool, basis * n, sizeof(double));
    theory->excess = (double *)twsi_take(pool, TWSI_NODES * TWSI_PACKED, sizeof(double));
    *work = (double *)twsi_take(pool, nodes * (n + 1), sizeof(double));
    atoms->mean = (double *)twsi_take(pool, atoms->count * basis, sizeof(double));
    atoms->form = (double *)twsi_take(pool, atoms->count * (basis * (basis + 1) / 2),
                                      sizeof(double));
}

TWSI_FN void twsi_desks_take(twsi_pool *pool, const twsi_theory *theory, size_t atoms,
                             size_t nodes, size_t basis, twsi_row_request *row) {
    size_t k;
    row->desks = (twsi_desk *)twsi_take(pool, row->workers, sizeof *row->desks);
    for (k = 0; k < row->workers && pool->status == TWS_OK; k++) {
        twsi_desk *desk = &row->desks[k];
        desk->theory = (twsi_theory *)twsi_take(pool, 1, sizeof *desk->theory);
        desk->spectrum = (twsi_spectrum *)twsi_take(pool, 1, sizeof *desk->spectrum);
        twsi_atoms_take(pool, &desk->atoms, atoms);
        if (pool->status != TWS_OK) return;
        desk->theory->samples = theory->samples;
        twsi_theory_take(pool, desk->theory, &desk->atoms, &desk->work, nodes, basis);
    }
}

/* Edge and outliers after one of the second steps. */
TWSI_FN void twsi_row_task(void *data, size_t index, size_t worker) {
    twsi_row_request *row = (twsi_row_request *)data;
    twsi_desk *desk = &row->desks[worker];
    twsi_theory *theory = desk->theory;
    double *const first = theory->coordinate[0], *const second = theory->coordinate[1];
    double *const excess = theory->excess;
    twsi_team alone;
    double t_high;
    twsi_team_clear(&alone);
    *theory = *row->theory;
    theory->coordinate[0] = first; /* its own memory stays */
    theory->coordinate[1] = second;
    theory->excess = excess;
    theory->input.alpha2 = row->alpha2[index];
    theory->eta2 = theory->input.scale2 * pow(theory->input.neurons, theory->input.alpha2);
    theory->eps2 = theory->eta2 / sqrt(theory->input.neurons);
    memcpy(desk->atoms.A, row->atoms->A, row->atoms->count * sizeof(double));
    memcpy(desk->atoms.w, row->atoms->w, row->atoms->count * sizeof(double));
    memcpy(desk->atoms.U, row->atoms->U, row->atoms->count * TWSI_POLY * sizeof(double));
    twsi_population_rows(theory, &alone, desk->spectrum, &desk->atoms, desk->work);
    row->outliers[index] = twsi_count_crossings(desk->spectrum, &t_high);
    row->edges[index] = desk->spectrum->edge;
}

TWSI_FN tws_status twsi_predict_row(twsi_theory *theory, twsi_team *team, const twsi_atoms *atoms,
                                    twsi_row_request *row) {
    size_t k;
    row->theory = theory;
    row->atoms = atoms;
    twsi_run(team, row->count, twsi_row_task, row);
    for (k = 0; k < row->count; k++)
        if (!(row->edges[k] <= DBL_MAX))
            return twsi_fail(team->context, TWS_BAD_ARGUMENT,
                             "scale1 %g and scale2 %g make the prediction overflow at alpha2 = "
                             "%.9g; allowed are steps whose spectrum is finite",
                             theory->input.scale1, theory->input.scale2, row->alpha2[k]);
    return TWS_OK;
}

/* What tws_predict_bulk asks for. */
typedef struct twsi_bulk_request {
    const double *values;
    size_t count;
    double *wanted[2]; /* where the caller wants it, or NULL; after one and two steps */
    double *density[2]; /* the same in memory of the call */
    twsi_densities *job;
} twsi_bulk_request;

/* tws_predict, with the bulk or a row of second steps when they are asked for. */
TWSI_FN tws_status twsi_predict(tws_context *context, const tws_theory_input *input,
                                tws_prediction *step1, tws_prediction *step2,
                                twsi_bulk_request *bulk, twsi_row_request *row) {
    tws_status status = twsi_theory_check(context, input);
    twsi_pool pool;
    twsi_team team;
    twsi_theory *theory;
    twsi_spectrum *spectrum;
    twsi_atoms atoms;
    tws_prediction *one = NULL, *two = NULL;
    double *work, clip, reach;
    size_t n, basis, nodes;
    if (status != TWS_OK) return status;
    twsi_pool_open(&pool, context);
    theory = (twsi_theory *)twsi_take(&pool, 1, sizeof *theory);
    spectrum = (twsi_spectrum *)twsi_take(&pool, 1, sizeof *spectrum);
    clip = twsi_normal_tail(0.5 / input->samples);
    reach = twsi_normal_tail(0.5 / input->neurons);
    basis = input->target.directions + TWSI_MEANS;
    nodes = input->target.directions == 1 ? TWSI_NODES : 20;
    if (pool.status == TWS_OK) {
        memset(theory, 0, sizeof *theory);
        one = &theory->step1;
        two = &theory->step2;
        one->step = 1;
        two->step = 2;
        twsi_theory_sizes(theory, input);
        twsi_population(&pool, input, &theory->samples, clip, 0);
    }
    if (pool.status == TWS_OK) {
        n = theory->samples.count;
        theory->average = (double *)twsi_take(&pool, nodes * TWSI_AVERAGES * n, sizeof(double));
        theory->residual = (double *)twsi_take(&pool, n, sizeof(double));
        twsi_atoms_take(&pool, &atoms, twsi_atom_count(input->neurons, reach));
        twsi_theory_take(&pool, theory, &atoms, &work, nodes, basis);
        if (row != NULL) twsi_desks_take(&pool, theory, atoms.count, nodes, basis, row);
        if (bulk != NULL) {
            bulk->density[0] = (double *)twsi_take(&pool, bulk->count + 1, 2 * sizeof(double));
            bulk->density[1] =
                bulk->density[0] == NULL ? NULL : bulk->density[0] + bulk->count;
            bulk->job = (twsi_densities *)twsi_take(&pool, 1, sizeof *bulk->job);
        }
    }
    if (pool.status != TWS_OK) {
        status = twsi_fail(context, pool.status, "tws_predict could not take its memory");
        twsi_pool_close(&pool);
        return status;
    }
    status = twsi_team_open(&team, context, TWSI_NODES);
    if (status == TWS_OK && !twsi_samples_moments(&theory->samples))
        status = twsi_fail(context, TWS_BAD_ARGUMENT, "target (%s) is not finite at some input",
                           tws_target_name(input->target.kind));
    if (status == TWS_OK) {
        size_t p = input->target.directions;
        double eta2 = theory->eta2, eps2 = theory->eps2;
        if (p == 1 && input->noise == 0)
            twsi_student_open(&theory->student, &input->activation, 0, 32, 8);
        else
            twsi_student_open(&theory->student, &input->activation, 1, p > 2 ? 23 : 29,
                              p > 2 ? 5 : 6);
        twsi_nodes_open(theory, nodes / 2, reach);
        theory->sum_share = 0.7 / input->samples;
        twsi_samples_fields(&theory->samples, &theory->student, theory->rho, theory->reuse);
        twsi_atoms_normal(&atoms, input->neurons, reach);
        twsi_atoms_polynomials(&atoms);
        if (!twsi_averages(theory, &team))
            status = twsi_fail(context, TWS_BAD_ARGUMENT,
                               "activation (%s) overflows at step size %g, allowed are activations "
                               "that stay finite after one step",
                               tws_activation_name(input->activation.kind), theory->eta1);
        if (status == TWS_OK && row != NULL) status = twsi_predict_row(theory, &team, &atoms, row);
        if (status == TWS_OK && step2 != NULL)
            twsi_population_report(theory, &team, spectrum, &atoms, work, two);
        if (status == TWS_OK && bulk != NULL && bulk->wanted[1] != NULL)
            twsi_bulk_densities(&team, spectrum, bulk->job, bulk->values, bulk->count,
                                bulk->density[1]);
        if (status == TWS_OK && step1 != NULL) {
            /* W_1 is W_2 with a second step of size 0 on the same batch */
            theory->eta2 = theory->eps2 = 0;
            theory->reuse = 1;
            twsi_population_report(theory, &team, spectrum, &atoms, work, one);
            if (bulk != NULL && bulk->wanted[0] != NULL)
                twsi_bulk_densities(&team, spectrum, bulk->job, bulk->values, bulk->count,
                                    bulk->density[0]);
            theory->eta2 = eta2;
            theory->eps2 = eps2;
        }
        if (status == TWS_OK && !(twsi_prediction_finite(one) && twsi_prediction_finite(two)))
            status = twsi_fail(context, TWS_BAD_ARGUMENT,
                               "scale1 %g and scale2 %g make the prediction overflow; allowed are "
                               "steps whose spectrum is finite",
                               input->scale1, input->scale2);
    }
    if (status == TWS_OK && step1 != NULL) *step1 = *one;
    if (status == TWS_OK && step2 != NULL) *step2 = *two;
    for (n = 0; n < 2 && status == TWS_OK && bulk != NULL; n++)
        if (bulk->wanted[n] != NULL)
            memcpy(bulk->wanted[n], bulk->density[n], bulk->count * sizeof(double));
    twsi_team_close(&team);
    twsi_pool_close(&pool);
    return status;
}

TWS_API tws_status tws_predict(tws_context *context, const tws_theory_input *input,
                               tws_prediction *step1, tws_prediction *step2) {
    return twsi_predict(context, input, step1, step2, NULL, NULL);
}

TWS_API tws_status tws_predict_bulk(tws_context *context, const tws_theory_input *input,
                                    const double *values, size_t count, double *density1,
                                    double *density2) {
    tws_prediction step1, step2;
    twsi_bulk_request bulk;
    if (values == NULL && count > 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "values is NULL and count is %lu",
                         (unsigned long)count);
    if (count > SIZE_MAX / 64)
        return twsi_fail(context, TWS_TOO_LARGE, "count is %lu, too many for the memory",
                         (unsigned long)count);
    memset(&bulk, 0, sizeof bulk);
    bulk.values = values;
    bulk.count = count;
    bulk.wanted[0] = density1;
    bulk.wanted[1] = density2;
    return twsi_predict(context, input, density1 != NULL ? &step1 : NULL,
                        density2 != NULL ? &step2 : NULL, &bulk, NULL);
}

TWS_API tws_status tws_predict_counts(tws_context *context, const tws_theory_input *input,
                                      const double *alpha2, size_t count, double *edges,
                                      size_t *outliers) {
    tws_theory_input checked;
    twsi_row_request row;
    tws_status status = TWS_OK;
    size_t k;
    memset(&row, 0, sizeof row);
    if (input == NULL || alpha2 == NULL || edges == NULL || outliers == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         input == NULL    ? "input"
                         : alpha2 == NULL ? "alpha2"
                         : edges == NULL  ? "edges"
                                          : "outliers");
    if (count > SIZE_MAX / sizeof(double))
        return twsi_fail(context, TWS_TOO_LARGE, "count is %lu, so many do not fit in memory",
                         (unsigned long)count);
    checked = *input;
    for (k = 0; k < count && status == TWS_OK; k++) {
        checked.alpha2 = alpha2[k];
        status = twsi_theory_check(context, &checked);
    }
    if (status != TWS_OK || count == 0) return status;
    row.alpha2 = alpha2;
    row.count = count;
    row.edges = edges;
    row.outliers = outliers;
    row.workers = tws_context_threads(context);
    return twsi_predict(context, &checked, NULL, NULL, NULL, &row);
}

/* ---- the limit ---- */

#define TWSI_SERIES 13 /* points in e from which Taylor coefficients are read */

typedef struct twsi_leading {
    const twsi_student *student;
    twsi_samples *samples;
    double rho, own_slope;  /* own_slope: E sigma'^2 */
    double unit, signal;    /* rms of the labels, which are divided by it; share without noise */
    int reuse, plain;       /* plain: the residual is -f_W1, the label has died */
    double point[TWSI_SERIES], inverse[TWSI_SERIES * TWSI_SERIES];
    double *series;         /* TWS_MAX_ORDERS x samples: F_k */
    double gram[TWS_MAX_ORDERS * TWS_MAX_ORDERS];
    double target[TWS_MAX_ORDERS * TWS_MAX_DIRECTIONS]; /* b_k */
    double own[TWS_MAX_ORDERS];                         /* D_k */
} twsi_leading;

/* The residual of step two in the limit, without its power of N: y, or with an output scale that
   does not shrink, minus the output after step one, linear in e. */
TWSI_FN double twsi_leading_residual(const twsi_leading *leading, size_t j) {
    const twsi_samples *samples = leading->samples;
    const twsi_student *student = leading->student;
    if (!leading->plain) return samples->label2[j];
    return -(samples->own[j] * leading->own_slope + student->c1 * student->c1 * samples->s[j] +
             4 * student->c2 * student->c2 * samples->mean);
}

/* ReLU with an own part: psi bends at e = 0. Order 1 is the part odd in e; the part along |e|,
   whose left vector is a |a|, takes the last place. */
#define TWSI_BEND (TWS_MAX_ORDERS - 1)
TWSI_FN void twsi_leading_relu(const twsi_leading *leading, twsi_point *at, double *out) {
    double up[TWSI_AVERAGES], down[TWSI_AVERAGES];
    size_t k;
    for (k = 0; k < TWS_MAX_ORDERS; k++) out[k] = 0;
    at->e = 1e-4;
    twsi_average(leading->student, at, 1, up);
    at->e = -1e-4;
    twsi_average(leading->student, at, 1, down);
    out[0] = leading->student->c1;
    out[1] = (up[TWSI_PSI] - down[TWSI_PSI]) / 2e-4;
    out[TWSI_BEND] = (up[TWSI_PSI] + down[TWSI_PSI] - 2 * out[0]) / 2e-4;
}

/* Task: F_k = r (d/de)^k psi / k! at e = 0 for one block of samples, from values at Chebyshev
   points of an interval that shrinks where the sample moves fast. */
TWSI_FN void twsi_leading_task(void *data, size_t block, size_t worker) {
    twsi_leading *leading = (twsi_leading *)data;
    const twsi_samples *samples = leading->samples;
    const twsi_student *student = leading->student;
    size_t n = samples->count, last = twsi_min((block + 1) * TWSI_SAMPLE_BLOCK, n), i, j, k;
    double one[TWSI_AVERAGES], psi[TWSI_SERIES], out[TWS_MAX_ORDERS];
    twsi_point at;
    (void)worker;
    at.drift = 2 * student->c2 * samples->mean;
    at.tau = samples->tau;
    for (j = block * TWSI_SAMPLE_BLOCK; j < last; j++) {
        double speed = fabs(samples->own[j]) * sqrt(leading->own_slope) +
                       fabs(student->c1 * samples->s[j]) + 3 * fabs(at.drift) + 3 * at.tau;
        double reach = 0.3 / (0.3 + speed), power = twsi_leading_residual(leading, j);
        at.own = samples->own[j];
        at.s = samples->s[j];
        if (leading->reuse && student->kinked) {
            twsi_leading_relu(leading, &at, out);
            reach = 1;
        } else {
            for (i = 0; i < TWSI_SERIES; i++) {
                at.e = reach * leading->point[i];
                twsi_average(student, &at, leading->reuse, one);
                psi[i] = one[TWSI_PSI];
            }
            for (k = 0; k < TWS_MAX_ORDERS; k++) {
                out[k] = 0;
                for (i = 0; i < TWSI_SERIES; i++)
                    out[k] += leading->inverse[k * TWSI_SERIES + i] * psi[i];
            }
        }
        for (k = 0; k < TWS_MAX_ORDERS; k++) {
            leading->series[k * n + j] = power * out[k];
            power /= reach;
        }
    }
}

/* Chebyshev points and the matrix from values to powers. */
TWSI_FN void twsi_leading_points(twsi_leading *leading, double *work) {
    size_t i, k;
    for (i = 0; i < TWSI_SERIES; i++) {
        double power = 1;
        leading->point[i] = cos(TWSI_PI * ((double)i + 0.5) / TWSI_SERIES);
        for (k = 0; k < TWSI_SERIES; k++) {
            work[i * TWSI_SERIES + k] = power;
            leading->inverse[i * TWSI_SERIES + k] = i == k;
            power *= leading->point[i];
        }
    }
    twsi_solve(TWSI_SERIES, work, leading->inverse, TWSI_SERIES);
}

/* b_k, D_k and the Gram matrix of the right vectors v_k. first, second: weights of step one and two
   in order 0, which both steps share. */
TWSI_FN void twsi_leading_gram(twsi_leading *leading, double first, double second) {
    const twsi_samples *samples = leading->samples;
    double spread = samples->spread > 1e-150 ? samples->spread : 1e-150;
    double step_one = first * leading->student->c1;
    size_t n = samples->count, p = samples->p, j, k, l;
    for (k = 0; k < TWS_MAX_ORDERS; k++) {
        double *b = leading->target + k * TWS_MAX_DIRECTIONS, scale = k == 0 ? second : 1;
        leading->own[k] = 0;
        for (l = 0; l < p; l++) b[l] = k == 0 ? step_one * samples->first[l] : 0;
        for (j = 0; j < n; j++) {
            double f = samples->weight[j] * scale * leading->series[k * n + j];
            leading->own[k] += f * samples->xi[j] / spread;
            for (l = 0; l < p; l++) b[l] += f * samples->u[l * n + j];
        }
    }
    memset(leading->gram, 0, sizeof leading->gram);
    for (j = 0; j < n; j++) {
        double part[TWS_MAX_ORDERS];
        for (k = 0; k < TWS_MAX_ORDERS; k++) {
            part[k] = leading->series[k * n + j] * (k == 0 ? second : 1);
            if (leading->reuse)
                part[k] += (leading->own[k] + (k == 0 ? step_one : 0)) * samples->label1[j];
        }
        for (k = 0; k < TWS_MAX_ORDERS; k++)
            for (l = 0; l <= k; l++)
                leading->gram[k * TWS_MAX_ORDERS + l] += samples->weight[j] * part[k] * part[l];
    }
    if (!leading->reuse) leading->own[0] += step_one;
    for (k = 0; k < TWS_MAX_ORDERS; k++) {
        for (l = 0; l <= k; l++) {
            double sum = leading->gram[k * TWS_MAX_ORDERS + l];
            if (!leading->reuse) sum += samples->square * leading->own[k] * leading->own[l];
            sum *= leading->rho;
            for (j = 0; j < p; j++)
                sum += leading->target[k * TWS_MAX_DIRECTIONS + j] *
                       leading->target[l * TWS_MAX_DIRECTIONS + j];
            leading->gram[k * TWS_MAX_ORDERS + l] = leading->gram[l * TWS_MAX_ORDERS + k] = sum;
        }
    }
}

/* Length of row k beyond the rows kept before it, by Cholesky in place; below least: 0, and the row
   is left out. */
TWSI_FN double twsi_beyond(double *gram, size_t stride, size_t k, double least) {
    size_t i, l;
    double rest = gram[k * stride + k];
    for (i = 0; i < k; i++) {
        double *row = gram + k * stride, sum = row[i];
        if (gram[i * stride + i] == 0) {
            row[i] = 0;
            continue;
        }
        for (l = 0; l < i; l++) sum -= row[l] * gram[i * stride + l];
        row[i] = sum / gram[i * stride + i];
        rest -= row[i] * row[i];
    }
    rest = rest > 0 ? sqrt(rest) : 0;
    if (!(rest > least)) rest = 0;
    gram[k * stride + k] = rest;
    return rest;
}

/* Lengths in L^2(N(0,1)) of A^(k+1) beyond A, ..., A^k: 1, sqrt 3, sqrt 6, ... */
TWSI_FN void twsi_power_lengths(double *lengths) {
    double gram[TWS_MAX_ORDERS * TWS_MAX_ORDERS], moment[2 * TWS_MAX_ORDERS + 1];
    size_t k, l;
    moment[0] = 1;
    moment[1] = 0;
    for (k = 2; k <= 2 * TWS_MAX_ORDERS; k++) moment[k] = (double)(k - 1) * moment[k - 2];
    for (k = 0; k < TWS_MAX_ORDERS; k++)
        for (l = 0; l < TWS_MAX_ORDERS; l++) gram[k * TWS_MAX_ORDERS + l] = moment[k + l + 2];
    for (k = 0; k < TWS_MAX_ORDERS; k++) lengths[k] = twsi_beyond(gram, TWS_MAX_ORDERS, k, 0);
}

/* Constants and the directions each order sees, a bit each, in one batch mode. ReLU on a reused
   batch leaves the constant of the spike along a |a| in the last place. */
TWSI_FN void twsi_leading_orders(twsi_leading *leading, twsi_team *team,
                                 const tws_theory_input *input, int reuse, double *constants,
                                 int *sees) {
    twsi_samples *samples = leading->samples;
    double lengths[TWS_MAX_ORDERS], scale = input->scale2, first, second;
    const double share = samples->p == 1 ? 1e-5 : samples->p <= 4 ? 1e-3 : 0.05;
    int bend = reuse && leading->student->kinked;
    size_t k, l;
    leading->reuse = reuse;
    twsi_samples_fields(samples, leading->student, leading->rho, reuse);
    twsi_run(team, twsi_ceil_div(samples->count, TWSI_SAMPLE_BLOCK), twsi_leading_task, leading);
    first = !leading->plain && input->alpha1 >= input->alpha2 ? input->scale1 : 0;
    second = leading->plain || input->alpha2 >= input->alpha1 ? input->scale2 : 0;
    if (leading->plain) {
        scale *= input->scale1 * input->output_scale;
        second = scale;
    }
    twsi_leading_gram(leading, first, second);
    twsi_power_lengths(lengths);
    if (bend) lengths[TWSI_BEND] = 0.67396; /* sqrt(3 - 8 / pi) */
    for (k = 0; k < TWS_MAX_ORDERS; k++) {
        double whole = leading->gram[k * TWS_MAX_ORDERS + k], seen = 0, beyond;
        double least = 1e-7 * pow(3, bend ? 1 : (double)k), steps = bend && k > 1 ? 1 : (double)k;
        /* noise adds to v_k and not to b_k */
        const double tolerance = fmax(share * pow(leading->signal, steps + 1), 1e-12);
        if (k == 0) least *= fmin(first + second, 1);
        whole = whole > 0 ? sqrt(whole) : 0;
        for (l = 0; l < samples->p; l++) {
            double b = leading->target[k * TWS_MAX_DIRECTIONS + l];
            seen += b * b;
        }
        beyond = twsi_beyond(leading->gram, TWS_MAX_ORDERS, k, fmax(least, 1e-6 * whole));
        sees[k] = 0;
        if (beyond > 0 && sqrt(seen) > tolerance * whole)
            for (l = 0; l < samples->p; l++) {
                const double b = fabs(leading->target[k * TWS_MAX_DIRECTIONS + l]);
                if (b * b * (double)samples->p > seen || b > tolerance * whole) sees[k] |= 1 << l;
            }
        constants[k] = beyond * lengths[k] * leading->unit *
                       (k == 0 ? 1 : scale * pow(input->scale1 * leading->unit, steps));
        if (beyond > 0) constants[k] = fmax(constants[k], DBL_MIN); /* it is there, if tiny */
    }
    if (bend) sees[1] |= sees[TWSI_BEND];
}

/* Divides the labels by their rms: F_k is of degree k + 1 in them, and thresholds are for labels of
   size 1. */
TWSI_FN void twsi_leading_unit(twsi_leading *leading, double noise) {
    twsi_samples *samples = leading->samples;
    size_t j;
    leading->unit = samples->square > 1e-200 ? sqrt(samples->square) : 1;
    leading->signal = sqrt(fmax(1 - noise * noise / (leading->unit * leading->unit), 0));
    for (j = 0; j < samples->count; j++) samples->label1[j] /= leading->unit;
    twsi_samples_moments(samples);
}

/* The least total degree with a nonzero Hermite coefficient of the label. */
TWSI_FN int twsi_information_exponent(const twsi_samples *samples, double noise) {
    size_t p = samples->p, digit[TWS_MAX_DIRECTIONS], i, j, total, most = p == 1 ? 8 : 4;
    double tolerance = p == 1 ? 1e-6 : p <= 4 ? 1e-3 : 0.05;
    double signal = fmax(samples->square - noise * noise, 0);
    double least = fmax(tolerance * sqrt(signal), 1e-12 * sqrt(samples->square));
    int best = 0;
    if (!(samples->square > 0)) return 0;
    memset(digit, 0, sizeof digit);
    for (;;) {
        double sum = 0, norm = 1;
        for (i = p; i-- > 0;) {
            if (++digit[i] <= most) break;
            digit[i] = 0;
        }
        if (i == (size_t)-1) break;
        for (i = 0, total = 0; i < p; i++) total += digit[i];
        if (total > most || (best != 0 && total >= (size_t)best)) continue;
        for (i = 0; i < p; i++)
            for (j = 2; j <= digit[i]; j++) norm *= (double)j;
        for (j = 0; j < samples->count; j++) {
            double value = samples->weight[j] * samples->label1[j];
            for (i = 0; i < p; i++) {
                double u = samples->u[i * samples->count + j], h0 = 0, h1 = 1;
                for (total = 0; total < digit[i]; total++) {
                    double next = u * h1 - (double)total * h0;
                    h0 = h1;
                    h1 = next;
                }
                value *= h1;
            }
            sum += value;
        }
        for (i = 0, total = 0; i < p; i++) total += digit[i];
        if (fabs(sum) > least * sqrt(norm)) best = (int)total;
    }
    return best;
}

/* floor(x / gap) that does not fall short of a whole number by the rounding of either: 0.4 / 0.2 is
   2, and gap is the difference of numbers of about 1/2. */
TWSI_FN double twsi_whole_gaps(double x, double gap) {
    return floor(x / gap * (1 + 1e-12 + DBL_EPSILON / gap) + 1e-12);
}

/* With an output scale that does not shrink like N^(-1/2) the output after step one grows. */
TWSI_FN int twsi_plain_output(const tws_theory_input *input) {
    return input->output_scale != TWS_MEAN_FIELD &&
           input->output_scale * sqrt(input->neurons) > 10;
}

TWS_API size_t tws_limit_orders(const tws_theory_input *input) {
    const double gap = 0.5 - input->alpha1;
    const double orders = twsi_plain_output(input)
                              ? twsi_whole_gaps(input->alpha1 + input->alpha2, gap)
                              : 1 + twsi_whole_gaps(input->alpha2, gap);
    return (size_t)fmin(fmax(orders, 1), 1e9);
}

/* The orders of one batch mode, whose constants these are. */
TWSI_FN void twsi_limit_fill(tws_limit *limit, const tws_theory_input *input, tws_batches batches,
                             double *constants, const int *fresh, const int *reuse) {
    double gap = 0.5 - input->alpha1, ratio = input->neurons / input->inputs;
    int plain = twsi_plain_output(input);
    size_t k;
    if (input->activation.kind == TWS_RELU && batches == TWS_REUSE) {
        /* the spike along a |a| grows like order 1 and is no order of the list */
        double exponent = (plain ? input->alpha1 + input->alpha2 : input->alpha2) - gap;
        double constant = constants[TWSI_BEND];
        constants[TWSI_BEND] = 0;
        if (exponent < 1e-12 && !(exponent > -1e-12 && constant > pow(ratio, 0.25))) constant = 0;
        if (constant > 0) limit->outliers++;
    }
    limit->orders = tws_limit_orders(input);
    limit->listed = twsi_min(twsi_max(limit->orders, 4), TWS_MAX_ORDERS);
    for (k = 0; k < limit->listed; k++) {
        tws_order *order = &limit->order[k];
        double top = plain ? input->alpha1 + input->alpha2 : input->alpha2;
        order->k = (int)k;
        order->exponent = k == 0 && !plain ? fmax(input->alpha1, input->alpha2)
                                           : top - (double)k * gap;
        if (fabs(order->exponent) < 1e-12) order->exponent = 0;
        order->leading_strength = constants[k] * pow(input->neurons, order->exponent);
        order->sees_target_fresh = fresh[k] != 0;
        order->sees_target_reuse = reuse[k] != 0;
        order->directions_fresh = (unsigned)fresh[k];
        order->directions_reuse = (unsigned)reuse[k];
        if (k < limit->orders && constants[k] > 0 &&
            (order->exponent > 0 || constants[k] > pow(ratio, 0.25)))
            limit->outliers++;
    }
    if (limit->orders > TWS_MAX_ORDERS) {
        /* orders beyond the list: as many as those of their parity at its end say */
        size_t more = limit->orders - TWS_MAX_ORDERS;
        if (constants[TWS_MAX_ORDERS - 2] > 0) limit->outliers += (more + 1) / 2;
        if (constants[TWS_MAX_ORDERS - 1] > 0) limit->outliers += more / 2;
    }
}

/* What both batch modes share. */
TWSI_FN void twsi_limit_moments(tws_limit *limit, const tws_theory_input *input,
                                const twsi_samples *samples) {
    double mean, square, product;
    size_t k;
    twsi_hermite_sums(&input->activation, limit->hermite, TWS_HERMITE_LISTED, &mean, &square,
                      &product);
    limit->target_mean = samples->mean;
    limit->target_square = samples->square;
    limit->target_kurtosis =
        samples->square > 0 ? samples->fourth / (samples->square * samples->square) : 0;
    for (k = 0; k < samples->p; k++) limit->target_first[k] = samples->first[k];
    limit->information_exponent = twsi_information_exponent(samples, input->noise);
}

TWSI_FN int twsi_limit_finite(const tws_limit *limit) {
    double sum = limit->target_square + limit->target_kurtosis;
    size_t k;
    for (k = 0; k < TWS_HERMITE_LISTED; k++) sum += fabs(limit->hermite[k]);
    for (k = 0; k < limit->listed; k++) sum += fabs(limit->order[k].leading_strength);
    return sum < 1e200;
}

TWS_API tws_status tws_limit_theory_both(tws_context *context, const tws_theory_input *input,
                                         tws_limit *fresh, tws_limit *reuse) {
    tws_status status = twsi_theory_check(context, input);
    twsi_pool pool;
    twsi_team team;
    twsi_student *student;
    twsi_leading *leading;
    twsi_samples samples;
    tws_limit out[2]; /* by batch mode */
    double constants[2][TWS_MAX_ORDERS] = {{0}, {0}}, *work;
    int sees[2][TWS_MAX_ORDERS] = {{0}, {0}}, mode;
    if (status != TWS_OK) return status;
    memset(out, 0, sizeof out);
    memset(&samples, 0, sizeof samples);
    twsi_pool_open(&pool, context);
    student = (twsi_student *)twsi_take(&pool, 1, sizeof *student);
    leading = (twsi_leading *)twsi_take(&pool, 1, sizeof *leading);
    work = (double *)twsi_take(&pool, TWSI_SERIES * TWSI_SERIES, sizeof(double));
    if (pool.status == TWS_OK) twsi_population(&pool, input, &samples, 8, 1);
    if (pool.status == TWS_OK) {
        memset(leading, 0, sizeof *leading);
        leading->series =
            (double *)twsi_take(&pool, TWS_MAX_ORDERS * samples.count, sizeof(double));
    }
    if (pool.status != TWS_OK) {
        status = twsi_fail(context, pool.status, "tws_limit_theory could not take its memory");
        twsi_pool_close(&pool);
        return status;
    }
    status = twsi_team_open(&team, context, TWSI_NODES);
    if (status == TWS_OK && !twsi_samples_moments(&samples))
        status = twsi_fail(context, TWS_BAD_ARGUMENT, "target (%s) is not finite at some input",
                           tws_target_name(input->target.kind));
    if (status == TWS_OK) {
        if (samples.p == 1 && input->noise == 0)
            twsi_student_open(student, &input->activation, 1, TWSI_Z_NODES, 10);
        else twsi_student_open(student, &input->activation, 1, samples.p == 1 ? 31 : 25, 6);
        leading->student = student;
        leading->samples = &samples;
        leading->rho = input->inputs / input->samples;
        leading->own_slope = student->variance + student->c1 * student->c1;
        leading->plain = twsi_plain_output(input);
        twsi_limit_moments(&out[0], input, &samples);
        out[1] = out[0];
        twsi_leading_unit(leading, input->noise);
        twsi_leading_points(leading, work);
        for (mode = 0; mode < 2; mode++)
            twsi_leading_orders(leading, &team, input, mode, constants[mode], sees[mode]);
        for (mode = 0; mode < 2; mode++)
            twsi_limit_fill(&out[mode], input, mode ? TWS_REUSE : TWS_FRESH, constants[mode],
                            sees[0], sees[1]);
        if ((fresh != NULL && !twsi_limit_finite(&out[0])) ||
            (reuse != NULL && !twsi_limit_finite(&out[1])))
            status = twsi_fail(context, TWS_BAD_ARGUMENT,
                               "activation (%s) or target (%s) is too large for its moments to be "
                               "finite",
                               tws_activation_name(input->activation.kind),
                               tws_target_name(input->target.kind));
    }
    twsi_team_close(&team);
    twsi_pool_close(&pool);
    if (status == TWS_OK && fresh != NULL) *fresh = out[0];
    if (status == TWS_OK && reuse != NULL) *reuse = out[1];
    return status;
}

TWS_API tws_status tws_limit_theory(tws_context *context, const tws_theory_input *input,
                                    tws_limit *limit) {
    if (input != NULL && limit == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "limit is NULL");
    return tws_limit_theory_both(context, input,
                                 input != NULL && input->batches == TWS_FRESH ? limit : NULL,
                                 input != NULL && input->batches == TWS_REUSE ? limit : NULL);
}

/* ---- the surrogate: averages over the data of one run ---- */

typedef struct twsi_surrogate {
    twsi_theory *theory;
    const tws_real *X1, *X2;
    size_t d;
    double *beta;   /* d: X1^T y1 / n */
    double *means;  /* nodes x d: v(A) */
    double *basis;  /* r x d */
    double *square; /* n: |x_j|^2 of batch two, over n */
    double *factor; /* nodes x n: eta_2 r_1 psi / n; later work of nodes x d */
} twsi_surrogate;

#define TWSI_COLUMN_BLOCK 64

/* Task: one block of columns of beta_1 = X1^T y1 / n. */
TWSI_FN void twsi_beta_task(void *data, size_t block, size_t worker) {
    twsi_surrogate *run = (twsi_surrogate *)data;
    const twsi_samples *samples = &run->theory->samples;
    size_t first = block * TWSI_COLUMN_BLOCK, i, j;
    size_t last = twsi_min(first + TWSI_COLUMN_BLOCK, run->d);
    (void)worker;
    for (i = first; i < last; i++) run->beta[i] = 0;
    for (j = 0; j < samples->count; j++) {
        double y = samples->label1[j] * samples->weight[j];
        const tws_real *x = run->X1 + j * run->d;
        for (i = first; i < last; i++) run->beta[i] += y * (double)x[i];
    }
}

/* Task: own part and the others' part of one block of samples of batch two. */
TWSI_FN void twsi_run_fields_task(void *data, size_t block, size_t worker) {
    twsi_surrogate *run = (twsi_surrogate *)data;
    twsi_samples *samples = &run->theory->samples;
    size_t last = twsi_min((block + 1) * TWSI_SAMPLE_BLOCK, samples->count), i, j;
    (void)worker;
    for (j = block * TWSI_SAMPLE_BLOCK; j < last; j++) {
        const tws_real *x = run->X2 + j * run->d;
        double square = 0, along = 0;
        for (i = 0; i < run->d; i++) {
            square += (double)x[i] * (double)x[i];
            along += (double)x[i] * run->beta[i];
        }
        samples->own[j] = run->theory->reuse ? square * samples->weight[j] * samples->label1[j] : 0;
        samples->s[j] = along - samples->own[j];
    }
}

/* Task: one block of columns of v(A) = eta_1 c_1 beta_1 + X2^T (eta_2 r_1 psi_A) / n, all nodes. */
TWSI_FN void twsi_run_means_task(void *data, size_t block, size_t worker) {
    twsi_surrogate *run = (twsi_surrogate *)data;
    const twsi_theory *theory = run->theory;
    double step_one = theory->eta1 * theory->student.c1;
    size_t n = theory->samples.count, first = block * TWSI_COLUMN_BLOCK, i, j, k;
    size_t last = twsi_min(first + TWSI_COLUMN_BLOCK, run->d);
    (void)worker;
    for (k = 0; k < theory->nodes; k++)
        for (i = first; i < last; i++) run->means[k * run->d + i] = step_one * run->beta[i];
    for (j = 0; j < n; j++) {
        const tws_real *x = run->X2 + j * run->d;
        for (k = 0; k < theory->nodes; k++) {
            double f = run->factor[k * n + j], *v = run->means + k * run->d;
            for (i = first; i < last; i++) v[i] += f * (double)x[i];
        }
    }
}

/* Task: coordinates on the basis of one block of samples, both batches. */
TWSI_FN void twsi_run_coordinates_task(void *data, size_t block, size_t worker) {
    twsi_surrogate *run = (twsi_surrogate *)data;
    twsi_theory *theory = run->theory;
    size_t n = theory->samples.count, last = twsi_min((block + 1) * TWSI_SAMPLE_BLOCK, n);
    size_t i, j, k, set;
    (void)worker;
    for (set = 0; set < theory->sets; set++) {
        const tws_real *X = theory->reuse || set == 1 ? run->X2 : run->X1;
        for (j = block * TWSI_SAMPLE_BLOCK; j < last; j++) {
            for (k = 0; k < theory->r; k++) {
                double sum = 0;
                for (i = 0; i < run->d; i++)
                    sum += (double)X[j * run->d + i] * run->basis[k * run->d + i];
                theory->coordinate[set][k * n + j] = sum;
            }
        }
    }
}

/* Makes row r of the basis orthonormal to those before it (twice is enough); 1 if it stays. */
TWSI_FN int twsi_basis_append(twsi_surrogate *run, size_t r) {
    double *v = run->basis + r * run->d, before = 0, after = 0;
    size_t i, k;
    int pass;
    for (i = 0; i < run->d; i++) before += v[i] * v[i];
    for (pass = 0; pass < 2; pass++) {
        for (k = 0; k < r; k++) {
            const double *e = run->basis + k * run->d;
            double dot = 0;
            for (i = 0; i < run->d; i++) dot += e[i] * v[i];
            for (i = 0; i < run->d; i++) v[i] -= dot * e[i];
        }
    }
    for (i = 0; i < run->d; i++) after += v[i] * v[i];
    if (!(after > 1e-16 * before && after > 1e-200)) return 0;
    for (i = 0; i < run->d; i++) v[i] /= sqrt(after);
    return 1;
}

/* The basis: B*, principal directions of the v(A) beyond it, the heaviest inputs of each set (each
   can have a spike of its own). rows is work of nodes x d, heavy of n. */
TWSI_FN void twsi_run_basis(twsi_surrogate *run, const tws_real *directions, double *rows,
                            double *heavy) {
    twsi_theory *theory = run->theory;
    size_t d = run->d, p = theory->samples.p, m = theory->nodes, r = 0, i, j, k, kept, set;
    for (k = 0; k < p; k++) {
        for (i = 0; i < d; i++) run->basis[r * d + i] = (double)directions[k * d + i];
        r += twsi_basis_append(run, r) ? 1 : 0;
    }
    for (j = 0; j < m; j++) {
        double scale = sqrt(theory->weight[j]) * fabs(theory->A[j]), *row = rows + j * d;
        for (i = 0; i < d; i++) row[i] = run->means[j * d + i];
        for (k = 0; k < r; k++)
            for (i = 0; i < d; i++)
                row[i] -= theory->nu[j * TWSI_BASIS + k] * run->basis[k * d + i];
        for (i = 0; i < d; i++) row[i] *= scale;
    }
    kept = twsi_mean_basis(theory, rows, d);
    for (k = 0; k < kept; k++) {
        double *v = run->basis + r * d;
        for (i = 0; i < d; i++) v[i] = 0;
        for (j = 0; j < m; j++) {
            double c = theory->combination[j * TWSI_MEANS + k];
            for (i = 0; i < d; i++) v[i] += c * run->means[j * d + i];
        }
        r += twsi_basis_append(run, r) ? 1 : 0;
    }
    for (set = 0; set < theory->sets; set++) {
        const tws_real *X = theory->reuse || set == 1 ? run->X2 : run->X1;
        twsi_heaviness(theory, set, heavy);
        for (k = 0; k < TWSI_HEAVY && k < theory->samples.count; k++) {
            size_t best = 0;
            for (j = 1; j < theory->samples.count; j++)
                if (heavy[j] > heavy[best]) best = j;
            heavy[best] = -1;
            for (i = 0; i < d; i++) run->basis[r * d + i] = (double)X[best * d + i];
            r += twsi_basis_append(run, r) ? 1 : 0;
        }
    }
    theory->r = r;
}

/* Coordinates of every v(A) on the first count rows of the basis. */
TWSI_FN void twsi_run_nu(twsi_surrogate *run, const double *basis, size_t count) {
    size_t i, j, k, d = run->d;
    for (j = 0; j < run->theory->nodes; j++) {
        for (k = 0; k < count; k++) {
            double sum = 0;
            for (i = 0; i < d; i++) sum += run->means[j * d + i] * basis[k * d + i];
            run->theory->nu[j * TWSI_BASIS + k] = sum;
        }
    }
}

/* The data of tws_surrogate, of which squares of sums must not overflow. */
TWSI_FN tws_status twsi_check_data(tws_context *context, const char *name, const tws_real *x,
                                   size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!(fabs((double)x[i]) < 1e30))
            return twsi_fail(context, TWS_NOT_FINITE,
                             "%s[%lu] is %g, it must be finite and below 1e30 in size", name,
                             (unsigned long)i, (double)x[i]);
    return TWS_OK;
}

TWSI_FN void twsi_load_doubles(const tws_real *from, double *to, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) to[i] = (double)from[i];
}

/* Weights that give E_A[A phi] with the actual readout: sum over i of A_i phi(A_i) / N. */
TWSI_FN void twsi_run_output(twsi_theory *theory, const twsi_atoms *atoms) {
    double share[TWSI_HALF_NODES];
    size_t i, j, first;
    for (i = 0; i < theory->nodes; i++) theory->output_weight[i] = 0;
    for (i = 0; i < atoms->count; i++) {
        first = twsi_interpolate(theory, atoms->A[i], share);
        for (j = 0; j < theory->nodes / 2; j++)
            theory->output_weight[first + j] += share[j] * atoms->A[i] * atoms->w[i];
    }
}

/* The whole computation once everything is taken and loaded. 0 if a number overflows. */
TWSI_FN int twsi_surrogate_run(twsi_surrogate *run, twsi_team *team, twsi_spectrum *spectrum,
                               twsi_atoms *atoms, const tws_real *directions, double *work,
                               const twsi_directions *out, tws_prediction *prediction) {
    twsi_theory *theory = run->theory;
    twsi_samples *samples = &theory->samples;
    size_t n = samples->count, columns = twsi_ceil_div(run->d, TWSI_COLUMN_BLOCK);
    size_t rows = twsi_ceil_div(n, TWSI_SAMPLE_BLOCK), p = samples->p, i, j, set;
    samples->spread = sqrt(theory->rho * samples->square);
    samples->tau = samples->spread * sqrt(theory->student.variance);
    twsi_run(team, columns, twsi_beta_task, run);
    twsi_run(team, rows, twsi_run_fields_task, run);
    twsi_run_output(theory, atoms);
    if (!twsi_averages(theory, team)) return 0;
    for (i = 0; i < theory->nodes; i++)
        for (j = 0; j < n; j++)
            run->factor[i * n + j] = theory->eta2 * theory->residual[j] *
                                     twsi_of(theory, i, TWSI_PSI)[j] * samples->weight[j];
    twsi_run(team, columns, twsi_run_means_task, run);
    twsi_rows(theory);
    for (i = 0; i < p * run->d; i++) run->basis[i] = (double)directions[i];
    twsi_run_nu(run, run->basis, p);
    twsi_run_basis(run, directions, run->factor, work);
    twsi_run_nu(run, run->basis, theory->r);
    twsi_strengths(theory);
    for (set = 0; set < theory->sets; set++) {
        twsi_heaviness(theory, set, work);
        twsi_noise_law(theory, set, work);
    }
    twsi_run(team, rows, twsi_run_coordinates_task, run);
    for (i = 0; i < theory->r * theory->r; i++) theory->remainder[i] = 0;
    twsi_run(team, theory->nodes, twsi_excess_task, theory);
    twsi_atoms_polynomials(atoms);
    twsi_atoms_project(theory, atoms, theory->project);
    twsi_feedback(theory, theory->project, work, work + TWSI_POLY * n);
    twsi_atoms_rows(theory, atoms);
    twsi_spectrum_open(spectrum, theory, atoms);
    twsi_report(theory, spectrum, atoms, out, prediction);
    return 1;
}

/* NULL pointers, sizes that are not whole or do not fit, numbers that are none. */
TWSI_FN tws_status twsi_surrogate_check(tws_context *context, const tws_theory_input *input,
                                        const tws_real *const *array, size_t arrays) {
    static const char *const name[] = {"X1", "y1", "X2", "y2", "readout", "directions"};
    tws_theory_input plain;
    tws_status status;
    size_t size[6], d, n, i;
    if (input == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "input is NULL");
    plain = *input;
    plain.target.kind = TWS_LINEAR; /* the labels are given; only the number of directions counts */
    plain.noise = 0;
    status = twsi_theory_check(context, &plain);
    for (i = 0; i < arrays && status == TWS_OK; i++)
        if (array[i] == NULL)
            status = twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL", name[i]);
    if (status == TWS_OK && (input->neurons != floor(input->neurons) ||
                             input->inputs != floor(input->inputs) ||
                             input->samples != floor(input->samples)))
        status = twsi_fail(context, TWS_BAD_ARGUMENT,
                           "neurons %g, inputs %g, samples %g: whole numbers are needed for data",
                           input->neurons, input->inputs, input->samples);
    if (status == TWS_OK && input->samples * input->inputs > (double)(SIZE_MAX / 16))
        status = twsi_fail(context, TWS_TOO_LARGE, "samples %g times inputs %g does not fit",
                           input->samples, input->inputs);
    if (status == TWS_OK && input->neurons > (double)(SIZE_MAX / 4096))
        status = twsi_fail(context, TWS_TOO_LARGE, "neurons %g do not fit", input->neurons);
    if (status == TWS_OK && (array[0] == array[2]) != (input->batches == TWS_REUSE))
        status = twsi_fail(context, TWS_BAD_ARGUMENT,
                           "X1 and X2 are %s array while batches is %s; reuse means the same array",
                           array[0] == array[2] ? "one" : "more than one",
                           input->batches == TWS_REUSE ? "TWS_REUSE" : "TWS_FRESH");
    if (status != TWS_OK) return status;
    d = (size_t)input->inputs, n = (size_t)input->samples;
    size[0] = size[2] = n * d, size[1] = size[3] = n;
    size[4] = (size_t)input->neurons, size[5] = input->target.directions * d;
    for (i = 0; i < arrays && status == TWS_OK; i++)
        status = twsi_check_data(context, name[i], array[i], size[i]);
    return status;
}

TWS_API tws_status tws_surrogate(tws_context *context, const tws_theory_input *input,
                                 const tws_real *X1, const tws_real *y1, const tws_real *X2,
                                 const tws_real *y2, const tws_real *readout,
                                 const tws_real *directions, tws_prediction *step2, double *right,
                                 double *left) {
    const tws_real *array[6];
    tws_status status;
    twsi_pool pool;
    twsi_team team;
    twsi_surrogate run;
    twsi_theory *theory;
    twsi_spectrum *spectrum;
    twsi_directions out;
    twsi_atoms atoms;
    double *work = NULL, reach = 0;
    size_t N, d, n, p, r, i;
    array[0] = X1, array[1] = y1, array[2] = X2, array[3] = y2, array[4] = readout;
    array[5] = directions;
    if (input != NULL && step2 == NULL) /* before the data are read */
        return twsi_fail(context, TWS_BAD_ARGUMENT, "step2 is NULL");
    status = twsi_surrogate_check(context, input, array, 6);
    if (status != TWS_OK) return status;
    N = (size_t)input->neurons, d = (size_t)input->inputs, n = (size_t)input->samples;
    p = input->target.directions;
    r = p + TWSI_MEANS + 2 * TWSI_HEAVY;
    twsi_pool_open(&pool, context);
    theory = (twsi_theory *)twsi_take(&pool, 1, sizeof *theory);
    spectrum = (twsi_spectrum *)twsi_take(&pool, 1, sizeof *spectrum);
    if (theory != NULL) memset(theory, 0, sizeof *theory);
    if (theory != NULL && spectrum != NULL) {
        twsi_samples_take(&pool, &theory->samples, p, n);
        theory->samples.label2 = (double *)twsi_take(&pool, n, sizeof(double));
        theory->average =
            (double *)twsi_take(&pool, TWSI_NODES * TWSI_AVERAGES * n, sizeof(double));
        theory->residual = (double *)twsi_take(&pool, n, sizeof(double));
        theory->coordinate[0] = (double *)twsi_take(&pool, r * n, sizeof(double));
        theory->coordinate[1] = (double *)twsi_take(&pool, r * n, sizeof(double));
        theory->excess = (double *)twsi_take(&pool, TWSI_NODES * TWSI_PACKED, sizeof(double));
        work = (double *)twsi_take(&pool, 2 * TWSI_POLY * n, sizeof(double));
        run.beta = (double *)twsi_take(&pool, d, sizeof(double));
        run.means = (double *)twsi_take(&pool, TWSI_NODES * d, sizeof(double));
        run.basis = (double *)twsi_take(&pool, (r + 1) * d, sizeof(double));
        run.factor = (double *)twsi_take(&pool, TWSI_NODES * twsi_max(n, d), sizeof(double));
        twsi_atoms_take(&pool, &atoms, N);
        atoms.mean = (double *)twsi_take(&pool, N, r * sizeof(double));
        atoms.form = (double *)twsi_take(&pool, N, r * (r + 1) / 2 * sizeof(double));
    }
    if (theory == NULL || spectrum == NULL || pool.status != TWS_OK) {
        status = twsi_fail(context, pool.status, "tws_surrogate could not take its memory");
        twsi_pool_close(&pool);
        return status;
    }
    twsi_load_doubles(y1, theory->samples.label1, n);
    twsi_load_doubles(y2, theory->samples.label2, n);
    twsi_load_doubles(readout, atoms.A, N);
    for (i = 0; i < N; i++) {
        atoms.A[i] *= sqrt((double)N);
        atoms.w[i] = 1 / (double)N;
        reach = fmax(reach, fabs(atoms.A[i]));
    }
    for (i = 0; i < n; i++) theory->samples.weight[i] = 1 / (double)n;
    for (i = 0; i < p * n; i++) theory->samples.u[i] = 0;
    if (!(reach > 1e-6)) {
        twsi_pool_close(&pool);
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "readout is zero or too small to step by: its largest entry is %g, times "
                         "sqrt(N) that must be above 1e-6",
                         reach / sqrt((double)N));
    }
    status = twsi_team_open(&team, context, TWSI_NODES);
    if (status == TWS_OK) {
        twsi_theory_sizes(theory, input);
        twsi_samples_moments(&theory->samples);
        twsi_student_open(&theory->student, &input->activation, 1, 29, 6);
        twsi_nodes_open(theory, TWSI_HALF_NODES, reach);
        theory->sum_share = ((double)TWSI_HEAVY + 0.5) / (double)n;
        theory->step2.step = 2;
        run.theory = theory;
        run.X1 = X1, run.X2 = X2, run.d = d;
        out.right = right, out.left = left, out.basis = run.basis, out.inputs = d;
        if (!twsi_surrogate_run(&run, &team, spectrum, &atoms, directions, work, &out,
                                &theory->step2) ||
            !twsi_prediction_finite(&theory->step2))
            status = twsi_fail(context, TWS_BAD_ARGUMENT,
                               "scale1 %g and scale2 %g make the prediction overflow; allowed are "
                               "steps whose spectrum is finite",
                               input->scale1, input->scale2);
    }
    if (status == TWS_OK) *step2 = theory->step2;
    twsi_team_close(&team);
    twsi_pool_close(&pool);
    return status;
}

/* ---- which assumption fails ---- */

TWSI_FN TWSI_FORMAT(2, 3) void twsi_warn(tws_warnings *warnings, const char *format, ...) {
    va_list arguments;
    if (warnings->count == TWS_MAX_WARNINGS) return;
    va_start(arguments, format);
    vsnprintf(warnings->text[warnings->count], sizeof warnings->text[0], format, arguments);
    va_end(arguments);
    warnings->count++;
}

/* Appends one order to a list such as " 2" or "s 2, 4", to stand behind "order". */
TWSI_FN void twsi_list_order(char *list, size_t size, int k) {
    const size_t used = strlen(list);
    if (used > 0 && list[0] == ' ') {
        memmove(list + 1, list, used + 1);
        list[0] = 's';
    }
    snprintf(list + strlen(list), size - strlen(list), "%s %d", used > 0 ? "," : "", k);
}

/* Has the label a linear part? */
TWSI_FN int twsi_sees_mean(const tws_limit *limit, size_t directions) {
    size_t l;
    for (l = 0; l < directions; l++)
        if (fabs(limit->target_first[l]) > 1e-6 * sqrt(limit->target_square)) return 1;
    return 0;
}

TWSI_FN void twsi_warn_orders(tws_warnings *warnings, const tws_theory_input *input,
                              const tws_limit *limit) {
    size_t k, last = twsi_min(limit->orders, limit->listed);
    char missing[64] = "", weak[64] = "";
    int sees = 0, other = 0;
    for (k = 0; k < last; k++) {
        const tws_order *order = &limit->order[k];
        int fresh = order->sees_target_fresh, reuse = order->sees_target_reuse;
        sees += input->batches == TWS_REUSE ? reuse : fresh;
        other += input->batches == TWS_REUSE ? fresh : reuse;
        /* derivatives of high order drown in rounding before they are zero: c_(k+1) tells */
        if (order->leading_strength == 0 && fabs(limit->hermite[k + 1]) < 1e-9)
            twsi_list_order(missing, sizeof missing, order->k);
        else if (order->leading_strength == 0)
            twsi_list_order(weak, sizeof weak, order->k);
    }
    if (input->activation.kind == TWS_RELU && input->batches == TWS_REUSE) {
        if (limit->orders > 1)
            twsi_warn(warnings, "ReLU on a reused batch is not analytic in the step: orders from 2 "
                                "on have no constant, and a further spike lies along a |a|");
    } else {
        if (missing[0] != 0)
            twsi_warn(warnings, "order%s of the limit vanish%s: a coefficient of the activation "
                                "is zero there, so there are fewer outliers than the formula's %lu",
                      missing, strchr(missing, ',') != NULL ? "" : "es",
                      (unsigned long)limit->orders);
        if (weak[0] != 0)
            twsi_warn(warnings, "order%s of the limit, too weak to be resolved, count%s as 0", weak,
                      strchr(weak, ',') != NULL ? "" : "s");
    }
    if (sees == 0 && other == 0)
        twsi_warn(warnings, "no order of the limit sees the target under either batch mode: it "
                            "cannot wake up by this route");
    else if (sees == 0)
        twsi_warn(warnings, "no order sees the target on a %s batch%s; on a %s batch one does",
                  input->batches == TWS_REUSE ? "reused" : "fresh",
                  twsi_sees_mean(limit, input->target.directions) ? "" : " (E[u y] = 0)",
                  input->batches == TWS_REUSE ? "fresh" : "reused");
}

TWSI_FN void twsi_warn_labels(tws_warnings *warnings, const tws_limit *limit) {
    if (!(limit->target_square > 0))
        twsi_warn(warnings, "the label is zero: no step moves the weights");
    else if (limit->target_kurtosis > 3.05)
        twsi_warn(warnings, "labels are heavy tailed (E y^4 = %.3g (E y^2)^2, above 3): second "
                            "outliers may be off by 11 %%, the edge by 0.3",
                  limit->target_kurtosis);
}

TWSI_FN void twsi_warn_sizes(tws_warnings *warnings, const tws_theory_input *input,
                             const tws_prediction *step2) {
    double ratio = input->neurons / input->inputs, rho = input->inputs / input->samples;
    double eps = input->scale1 * pow(input->neurons, input->alpha1 - 0.5);
    const tws_activation *activation = &input->activation;
    if (activation->kind == TWS_CUBIC || activation->kind == TWS_HERMITE)
        twsi_warn(warnings, "the activation's slope is unbounded: with large steps or labels "
                            "single rows run away and the theory breaks down");
    if (twsi_plain_output(input))
        twsi_warn(warnings, "the output scale %.3g does not shrink like N^(-1/2): the residual of "
                            "step two grows like N^alpha1 and the count is floor((alpha1 + alpha2) "
                            "/ (1/2 - alpha1))",
                  input->output_scale);
    else if (step2->output > 0.5)
        twsi_warn(warnings, "after step one the output is %.2g times the label: the residual of "
                            "step two is far from the label",
                  step2->output);
    if (input->neurons < 600)
        twsi_warn(warnings, "N = %.4g is small: below 600 corrections of order N^(-1/2) exceed the "
                            "stated accuracy",
                  input->neurons);
    if (step2->kappa > 0.1)
        twsi_warn(warnings, "the samples' noise in the rows, kappa = %.3g, exceeds 0.1: the edge "
                            "may be off by 0.2%s",
                  step2->kappa,
                  step2->kappa > 0.2 ? ", outliers beyond the first by a fifth" : "");
    if (eps > 2)
        twsi_warn(warnings, "step one is large, eta_1 / sqrt N = %.3g above 2", eps);
    if (ratio < 0.4999 || ratio > 2.0001)
        twsi_warn(warnings, "N/d = %.3g lies outside the tested range 0.5 to 2", ratio);
    if (rho < 0.2499 || rho > 1.0001)
        twsi_warn(warnings, "d/n = %.3g lies outside the tested range 0.25 to 1", rho);
}

TWSI_FN void twsi_warn_outliers(tws_warnings *warnings, const tws_limit *limit,
                                const tws_prediction *step2) {
    size_t k;
    for (k = 0; k + 1 < step2->outliers; k++) {
        if (step2->singular_values[k] < 1.1 * step2->singular_values[k + 1]) {
            twsi_warn(warnings, "outliers %lu and %lu lie within 10 %% of each other: their "
                                "vectors mix, compare the captured projection",
                      (unsigned long)k + 1, (unsigned long)k + 2);
            break;
        }
    }
    if (step2->outliers > 0 && step2->singular_values[step2->outliers - 1] < 1.05 * step2->edge)
        twsi_warn(warnings, "outlier %lu lies within 5 %% of the edge: its vectors fluctuate "
                            "and it may hide in the bulk",
                  (unsigned long)step2->outliers);
    if (step2->outliers < limit->outliers)
        twsi_warn(warnings, "N is too small for the limit's claim: %lu of %lu outliers have left "
                            "the bulk",
                  (unsigned long)step2->outliers, (unsigned long)limit->outliers);
}

TWS_API tws_status tws_theory_warnings(tws_context *context, const tws_theory_input *input,
                                       const tws_limit *limit, const tws_prediction *step2,
                                       tws_warnings *warnings) {
    if (input == NULL || limit == NULL || step2 == NULL || warnings == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                         input == NULL   ? "input"
                         : limit == NULL ? "limit"
                         : step2 == NULL ? "step2"
                                         : "warnings");
    memset(warnings, 0, sizeof *warnings);
    twsi_warn_orders(warnings, input, limit);
    twsi_warn_labels(warnings, limit);
    twsi_warn_sizes(warnings, input, step2);
    twsi_warn_outliers(warnings, limit, step2);
    return TWS_OK;
}

/* ==========================================================================
 * @@READOUT: ridge regression on the features
 *
 * One lambda: the smaller Gram matrix by symmetric blocks of the matrix product, Cholesky in blocks
 * (left-looking, so that nearly all work is products of great depth; the diagonal block is
 * inverted, so that the panel below it is a product too), then conjugate gradients preconditioned
 * by the factor. Products with F run in double there: rounding of the Gram matrix and of the
 * factor costs an iteration, not accuracy (Higham, Accuracy and Stability, chapter 12).
 *
 * Features and labels of any size: powers of two take both to about 1 and what comes out back.
 * That rounds nothing but what is nothing beside the largest feature.
 *
 * Many lambdas: G = Q T Q', T tridiagonal (as in @@SVD), then (G + mu)^-1 = Q (T + mu)^-1 Q' and
 * T + mu = L D L' costs nothing. With the rows f_j of F Q the diagonal of the hat matrix is
 * f_j (T + mu)^-1 f_j', one sweep along the row for all lambdas together. When samples are no
 * more than features G = F F', the rows are those of Q, alpha = (G + mu)^-1 y, and the error
 * without sample j is alpha_j / [(G + mu)^-1]_jj (the same, as 1 - h_jj = mu [(G + mu)^-1]_jj).
 * ========================================================================== */

/* ---- features ---- */

typedef struct twsi_features_job {
    const twsi_kernels *kernels;
    const tws_activation *activation;
    tws_real *features;
    size_t rows, columns, ld;
    tws_real factor;
} twsi_features_job;

TWSI_FN void twsi_features_task(void *data, size_t index, size_t worker) {
    const twsi_features_job *job = (const twsi_features_job *)data;
    const size_t end = twsi_min(job->rows, (index + 1) * TWSI_ROW_GROUP);
    size_t i;
    (void)worker;
    for (i = index * TWSI_ROW_GROUP; i < end; i++) {
        tws_real *row = job->features + i * job->ld;
        if (job->kernels->largest(row, job->columns) < 0) continue; /* seen by what comes next */
        job->kernels->activate(job->activation, row, row, NULL, job->columns);
        job->kernels->scaled_copy(row, job->factor, row, job->columns);
    }
}

/* Finite numbers can have products that are not. */
TWSI_FN tws_status twsi_features_finite(const twsi_features_job *job, tws_context *context) {
    size_t i;
    for (i = 0; i < job->rows; i++)
        if (job->kernels->largest(job->features + i * job->ld, job->columns) < 0)
            return twsi_fail(context, TWS_NOT_FINITE,
                             "the features of sample %lu, or their pre-activations, overflow: "
                             "network.weights or batch.inputs are too large%s",
                             (unsigned long)i,
                             job->activation->kind == TWS_CUSTOM_ACTIVATION
                                 ? ", or network.activation is not finite there"
                                 : "");
    return TWS_OK;
}

TWS_API tws_status tws_features(tws_context *context, const tws_network *network,
                                const tws_batch *batch, tws_real *features, size_t ld) {
    twsi_features_job job;
    twsi_team team;
    twsi_pool pool;
    tws_status status;
    if (context != NULL && context->reduce != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "context.reduce is set, tws_features wants all neurons in one process");
    status = twsi_require(context, "features", features);
    if (status == TWS_OK) status = twsi_check_network(context, network, batch, TWSI_FEATURES);
    if (status == TWS_OK)
        status = twsi_check_matrix(context, "features", features, batch->samples, network->count,
                                   ld);
    if (status != TWS_OK) return status;
    status = twsi_team_open_tiles(&team, context, twsi_step_workers(network, batch));
    twsi_pool_open(&pool, context);
    if (status == TWS_OK) status = twsi_check_numbers(&team, network, batch, TWSI_FEATURES);
    if (status == TWS_OK)
        status = twsi_gemm(&team, &pool, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, batch->samples,
                           network->count, network->inputs, 1, batch->inputs, network->inputs,
                           network->weights, network->inputs, 0, features, ld);
    if (status == TWS_OK) {
        job.kernels = team.kernels;
        job.activation = &network->activation;
        job.features = features;
        job.rows = batch->samples;
        job.columns = network->count;
        job.ld = ld;
        job.factor = (tws_real)(1.0 / sqrt((double)network->count));
        twsi_run(&team, twsi_ceil_div(job.rows, TWSI_ROW_GROUP), twsi_features_task, &job);
        status = twsi_features_finite(&job, context);
    }
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    return status;
}

/* ---- products with F in double ---- */

#define TWSI_RIDGE_CHUNKS 16 /* parts of the rows of F, each with its own sum */

typedef struct twsi_ridge_job {
    twsi_team *team;
    const tws_real *features;
    size_t rows, columns, ld, chunks, count;
    const double *x;
    double *p, *partial; /* rows; chunks x columns, or NULL: no transposed product */
    size_t ldp;
} twsi_ridge_job;

TWSI_FN size_t twsi_ridge_chunks(size_t rows, size_t columns) {
    const double work = (double)rows * (double)columns / 65536.0;
    return twsi_max(1, (size_t)fmin(work, fmin((double)rows, TWSI_RIDGE_CHUNKS)));
}

/* p = F x for some rows (p as given without x), and their part of F' p. */
TWSI_FN void twsi_ridge_task(void *data, size_t index, size_t worker) {
    const twsi_ridge_job *job = (const twsi_ridge_job *)data;
    const size_t first = job->rows * index / job->chunks;
    const size_t end = job->rows * (index + 1) / job->chunks;
    double *sum = job->partial != NULL ? job->partial + index * job->columns : NULL;
    (void)worker;
    if (sum != NULL) memset(sum, 0, job->columns * sizeof *sum);
    job->team->kernels->svd_real(job->features + first * job->ld, job->ld, end - first,
                                 job->columns, job->x, job->columns, job->count, 1.0,
                                 job->p + first, job->ldp, sum, job->columns);
}

TWSI_FN void twsi_ridge_times(twsi_ridge_job *job, const double *x, double *p) {
    double *partial = job->partial;
    job->x = x;
    job->p = p;
    job->partial = NULL;
    twsi_run(job->team, job->chunks, twsi_ridge_task, job);
    job->partial = partial;
}

/* q = F' p, with x also p = F x before. */
TWSI_FN void twsi_ridge_across(twsi_ridge_job *job, const double *x, double *p, double *q) {
    size_t c, j;
    job->x = x;
    job->p = p;
    twsi_run(job->team, job->chunks, twsi_ridge_task, job);
    for (j = 0; j < job->columns; j++) q[j] = 0.0;
    for (c = 0; c < job->chunks; c++)
        for (j = 0; j < job->columns; j++) q[j] += job->partial[c * job->columns + j];
}

TWSI_FN twsi_ridge_job twsi_ridge_matrix(twsi_team *team, const tws_real *features, size_t rows,
                                         size_t columns, size_t ld, double *partial) {
    twsi_ridge_job job;
    memset(&job, 0, sizeof job);
    job.team = team;
    job.features = features;
    job.rows = rows;
    job.columns = columns;
    job.ld = ld;
    job.chunks = twsi_ridge_chunks(rows, columns);
    job.count = 1;
    job.partial = partial;
    job.ldp = rows;
    return job;
}

TWS_API tws_status tws_readout_outputs(tws_context *context, const tws_real *features,
                                       size_t samples, size_t width, size_t ld,
                                       const double *coefficients, size_t count, double *outputs) {
    twsi_ridge_job job;
    twsi_team team;
    tws_status status = twsi_check_matrix(context, "features", features, samples, width, ld);
    if (status == TWS_OK) status = twsi_require(context, "coefficients", coefficients);
    if (status == TWS_OK) status = twsi_require(context, "outputs", outputs);
    if (status != TWS_OK) return status;
    if (samples == 0 || width == 0 || count == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "samples is %lu, width is %lu, count is %lu, each must be at least 1",
                         (unsigned long)samples, (unsigned long)width, (unsigned long)count);
    if (!twsi_fits(samples, count, sizeof(double)))
        return twsi_fail(context, TWS_TOO_LARGE, "%lu outputs for %lu coefficient vectors do not "
                         "fit in memory", (unsigned long)samples, (unsigned long)count);
    status = twsi_team_open(&team, context, twsi_ridge_chunks(samples, width));
    job = twsi_ridge_matrix(&team, features, samples, width, ld, NULL);
    job.count = count;
    if (status == TWS_OK) twsi_ridge_times(&job, coefficients, outputs);
    twsi_team_close(&team);
    return status;
}

/* ---- conjugate gradients ---- */

/* That of the largest |x|. */
TWSI_FN int twsi_exponent_of(const double *x, size_t count) {
    double largest = 0.0;
    size_t i;
    for (i = 0; i < count; i++) largest = fmax(largest, fabs(x[i]));
    return twsi_exponent(largest);
}

/* The system A x = b with A positive definite, known by its products, and an approximate inverse
   (NULL: none). Both return a status and see the data pointer. */
typedef struct twsi_gradients {
    tws_status (*multiply)(void *data, const double *x, double *y);
    void (*precondition)(void *data, const double *r, double *z);
    void *data;
    size_t size, most;
    double tolerance;
    double *residual, *direction, *image, *shaped; /* size each; shaped only with precondition */
    size_t iterations;
} twsi_gradients;

/* From x = 0, for a right-hand side of about 1. TWS_BAD_ARGUMENT: a direction without curvature, A
   is not positive definite; TWS_NOT_FINITE: with too much of it; TWS_NOT_CONVERGED: after the most
   iterations. Hestenes and Stiefel 1952. */
TWSI_FN tws_status twsi_conjugate_unit(twsi_gradients *g, double *x) {
    const double want =
        g->tolerance * sqrt(twsi_sum_products(g->residual, g->residual, g->size));
    const double *z = g->precondition != NULL ? g->shaped : g->residual;
    double now = 0.0;
    size_t i;
    for (i = 0; i < g->size; i++) x[i] = g->direction[i] = 0.0;
    for (g->iterations = 0; g->iterations < g->most; g->iterations++) {
        double before = now, curvature, step;
        tws_status status;
        if (!(sqrt(twsi_sum_products(g->residual, g->residual, g->size)) > want)) return TWS_OK;
        if (g->precondition != NULL) g->precondition(g->data, g->residual, g->shaped);
        now = twsi_sum_products(g->residual, z, g->size);
        step = before > 0.0 ? now / before : 0.0;
        for (i = 0; i < g->size; i++) g->direction[i] = z[i] + step * g->direction[i];
        status = g->multiply(g->data, g->direction, g->image);
        if (status != TWS_OK) return status;
        curvature = twsi_sum_products(g->direction, g->image, g->size);
        if (!(curvature <= DBL_MAX)) return TWS_NOT_FINITE;
        if (!(curvature > 0.0)) return TWS_BAD_ARGUMENT;
        step = now / curvature;
        for (i = 0; i < g->size; i++) {
            x[i] += step * g->direction[i];
            g->residual[i] -= step * g->image[i];
        }
    }
    return sqrt(twsi_sum_products(g->residual, g->residual, g->size)) > want ? TWS_NOT_CONVERGED
                                                                             : TWS_OK;
}

/* The same for any right-hand side: a power of two takes it to about 1, so that no square overflows
   or vanishes. */
TWSI_FN tws_status twsi_conjugate(twsi_gradients *g, const double *b, double *x) {
    const int unit = twsi_exponent_of(b, g->size);
    tws_status status;
    size_t i;
    for (i = 0; i < g->size; i++) g->residual[i] = ldexp(b[i], -unit);
    status = twsi_conjugate_unit(g, x);
    for (i = 0; i < g->size; i++) x[i] = ldexp(x[i], unit);
    return status;
}

/* ---- blocked Cholesky in tws_real ---- */

#define TWSI_CHOLESKY_BLOCK 128 /* columns factored in double, on one thread: see twsi_gemm_part */
#define TWSI_CHOLESKY_PANEL (2048 / sizeof(tws_real)) /* ... and subtracted together */

typedef struct twsi_factor {
    twsi_team *team;
    twsi_gemm_buffers buffers;
    tws_real *a; /* size x size: lower triangle and diagonal blocks in use */
    size_t size;
    double *block, *inverse; /* of the diagonal block */
    tws_real *small;         /* the inverse again */
    double least;            /* pivot so far */
    double *x;               /* the solution in work */
    size_t band, height;     /* ... and the rows of it that are next */
} twsi_factor;

/* The lower triangle, and a little above it, of F'F (across 0) or F F' (across 1). */
TWSI_FN void twsi_gram(twsi_factor *f, int across, const tws_real *features, size_t depth,
                       size_t ld) {
    const tws_transpose left = across ? TWS_NO_TRANSPOSE : TWS_TRANSPOSE;
    const tws_transpose right = across ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
    twsi_gemm_part(f->team, &f->buffers, 1, left, right, f->size, f->size, depth, 1, features, ld,
                   features, ld, 0, f->a, f->size);
}

/* block (width x width, row by row, the upper triangle in use) becomes U with U'U = block. Two rows
   are subtracted at a time. Returns 0 when a pivot is not positive. */
TWSI_FN int twsi_factor_block(twsi_factor *f, size_t width) {
    const twsi_kernels *kernels = f->team->kernels;
    size_t i, j, row;
    for (j = 0; j < width; j += 2) {
        double *u = f->block + j * width, *next = u + width;
        const size_t pair = twsi_min(2, width - j);
        for (row = j; row < j + pair; row++) {
            double *v = f->block + row * width;
            double scale;
            if (row > j) kernels->svd_add2(v + row, width - row, -u[row], u + row, 0.0, u + row);
            if (!(v[row] > 0.0 && v[row] <= DBL_MAX)) return 0;
            f->least = fmin(f->least, v[row]);
            scale = 1.0 / sqrt(v[row]);
            for (i = row; i < width; i++) v[i] *= scale;
        }
        for (i = j + pair; i < width; i++)
            kernels->svd_add2(f->block + i * width + i, width - i, -u[i], u + i, -next[i],
                              next + i);
    }
    return 1;
}

/* small = U'^-1, lower: row i is the unit row less u_ji times row j of the inverse for all j < i,
   over u_ii. Two rows at a time: what lies above the diagonal of the first is 0. */
TWSI_FN void twsi_factor_invert(twsi_factor *f, size_t width) {
    const double *u = f->block;
    double *x = f->inverse;
    size_t i, j;
    memset(x, 0, width * width * sizeof *x);
    for (i = 0; i < width; i++) {
        const double scale = 1.0 / u[i * width + i];
        double *row = x + i * width;
        for (j = 0; j + 1 < i; j += 2)
            f->team->kernels->svd_add2(row, j + 2, -u[j * width + i], x + j * width,
                                       -u[(j + 1) * width + i], x + (j + 1) * width);
        if (j < i)
            f->team->kernels->svd_add2(row, j + 1, -u[j * width + i], x + j * width, 0.0,
                                       x + j * width);
        for (j = 0; j < i; j++) row[j] *= scale;
        row[i] = scale;
    }
    for (i = 0; i < width * width; i++) f->small[i] = (tws_real)x[i];
}

/* Columns [start, start + width) of L, from columns of a that lack nothing more. Returns 0 when a
   pivot is not positive. */
TWSI_FN int twsi_factor_columns(twsi_factor *f, size_t start, size_t width) {
    const size_t m = f->size;
    tws_real *corner = f->a + start * m + start, *below = corner + width * m;
    size_t i, j;
    for (i = 0; i < width; i++)
        for (j = i; j < width; j++) f->block[i * width + j] = (double)corner[j * m + i];
    if (!twsi_factor_block(f, width)) return 0;
    for (i = 0; i < width; i++)
        for (j = 0; j <= i; j++) corner[i * m + j] = (tws_real)f->block[j * width + i];
    twsi_factor_invert(f, width);
    /* in place: see twsi_gemm_part */
    twsi_gemm_with(f->team, &f->buffers, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, m - start - width, width,
                   width, 1, below, m, f->small, width, 0, below, m);
    return 1;
}

/* Takes the products of columns [start, end) of L off columns [end, last) of a. */
TWSI_FN void twsi_factor_subtract(twsi_factor *f, size_t start, size_t end, size_t last) {
    const size_t m = f->size;
    const tws_real *rest = f->a + end * m + start;
    twsi_gemm_part(f->team, &f->buffers, 1, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, m - end, last - end,
                   end - start, -1, rest, m, rest, m, 1, f->a + end * m + end, m);
}

/* a = L L' in place (lower triangle). Each block of columns is taken off the rest of its panel, and
   each panel off all that follows, in products as deep as a block of the matrix product. Returns 0
   where the numbers at hand are not positive definite. */
TWSI_FN int twsi_cholesky(twsi_factor *f) {
    const size_t m = f->size;
    size_t panel, block, last, end;
    f->least = HUGE_VAL;
    for (panel = 0; panel < m; panel = last) {
        last = twsi_min(m, panel + TWSI_CHOLESKY_PANEL);
        for (block = panel; block < last; block = end) {
            end = twsi_min(last, block + TWSI_CHOLESKY_BLOCK);
            if (!twsi_factor_columns(f, block, end - block)) return 0;
            twsi_factor_subtract(f, block, end, last);
        }
        twsi_factor_subtract(f, panel, last, m);
    }
    return 1;
}

#define TWSI_SOLVE_BLOCK 64    /* rows of L whose triangle is solved entry by entry */
#define TWSI_SOLVE_BAND 512    /* ... and by one thread */
#define TWSI_SOLVE_COLUMNS 256 /* of one task, so that x stays in the first cache */

/* x[row, row + rows) -= B x[column, column + columns), B these entries of L, up to BLOCK rows. */
TWSI_FN void twsi_solve_forth(const twsi_factor *f, size_t row, size_t rows, size_t column,
                              size_t columns) {
    double part[TWSI_SOLVE_BLOCK];
    size_t i;
    f->team->kernels->svd_real(f->a + row * f->size + column, f->size, rows, columns,
                               f->x + column, columns, 1, 1.0, part, rows, NULL, 0);
    for (i = 0; i < rows; i++) f->x[row + i] -= part[i];
}

/* x[column, column + columns) -= B' x[row, row + rows). */
TWSI_FN void twsi_solve_back(const twsi_factor *f, size_t row, size_t rows, size_t column,
                             size_t columns) {
    f->team->kernels->svd_real(f->a + row * f->size + column, f->size, rows, columns, NULL, 0, 1,
                               -1.0, f->x + row, rows, f->x + column, columns);
}

/* Takes all columns before the band off some of its rows. */
TWSI_FN void twsi_solve_rows_task(void *data, size_t index, size_t worker) {
    const twsi_factor *f = (const twsi_factor *)data;
    const size_t first = index * TWSI_SOLVE_BLOCK;
    (void)worker;
    twsi_solve_forth(f, f->band + first, twsi_min(TWSI_SOLVE_BLOCK, f->height - first), 0,
                     f->band);
}

/* Takes the band off some of the columns before it. */
TWSI_FN void twsi_solve_columns_task(void *data, size_t index, size_t worker) {
    const twsi_factor *f = (const twsi_factor *)data;
    const size_t first = index * TWSI_SOLVE_COLUMNS;
    (void)worker;
    twsi_solve_back(f, f->band, f->height, first, twsi_min(TWSI_SOLVE_COLUMNS, f->band - first));
}

/* x_band = L_band^-1 x_band, the triangle of the band alone. */
TWSI_FN void twsi_solve_down(const twsi_factor *f) {
    const size_t end = f->band + f->height;
    size_t k, i, j, width;
    for (k = f->band; k < end; k += width) {
        width = twsi_min(TWSI_SOLVE_BLOCK, end - k);
        twsi_solve_forth(f, k, width, f->band, k - f->band);
        for (i = k; i < k + width; i++) {
            const tws_real *row = f->a + i * f->size;
            for (j = k; j < i; j++) f->x[i] -= (double)row[j] * f->x[j];
            f->x[i] /= (double)row[i];
        }
    }
}

/* x_band = L_band'^-1 x_band. */
TWSI_FN void twsi_solve_up(const twsi_factor *f) {
    size_t b, i, j;
    for (b = twsi_ceil_div(f->height, TWSI_SOLVE_BLOCK); b-- > 0;) {
        const size_t k = f->band + b * TWSI_SOLVE_BLOCK;
        const size_t width = twsi_min(TWSI_SOLVE_BLOCK, f->band + f->height - k);
        for (i = k + width; i-- > k;) {
            const tws_real *row = f->a + i * f->size;
            f->x[i] /= (double)row[i];
            for (j = k; j < i; j++) f->x[j] -= (double)row[j] * f->x[i];
        }
        twsi_solve_back(f, k, width, f->band, k - f->band);
    }
}

/* x = (L L')^-1 x in double with the rounded factor. */
TWSI_FN void twsi_factor_solve(twsi_factor *f, double *x) {
    const size_t m = f->size;
    size_t b;
    f->x = x;
    for (f->band = 0; f->band < m; f->band += TWSI_SOLVE_BAND) {
        f->height = twsi_min(TWSI_SOLVE_BAND, m - f->band);
        twsi_run(f->team, twsi_ceil_div(f->height, TWSI_SOLVE_BLOCK), twsi_solve_rows_task, f);
        twsi_solve_down(f);
    }
    for (b = twsi_ceil_div(m, TWSI_SOLVE_BAND); b-- > 0;) {
        f->band = b * TWSI_SOLVE_BAND;
        f->height = twsi_min(TWSI_SOLVE_BAND, m - f->band);
        twsi_solve_up(f);
        twsi_run(f->team, twsi_ceil_div(f->band, TWSI_SOLVE_COLUMNS), twsi_solve_columns_task, f);
    }
}

/* ---- the problem, in units that keep squares in range ---- */

/* Features whose largest is below 2^LOW or at least 2^HIGH are scaled by a power of two, in a copy.
   In between, neither the squares of float features, nor a sum of 2^32 of them plus n lambda, nor a
   factor of it leaves the range of float, and what is lost below it is nothing beside the rest. */
#define TWSI_RIDGE_LOW (-40)
#define TWSI_RIDGE_HIGH 16
/* n lambda counts as no more than 2^SHIFT: there the solution is F'y / (n lambda) to rounding. */
#define TWSI_RIDGE_SHIFT 120

/* Labels are solved for at 2^-label_unit of their size, n lambda at 2^-shift_unit, and what comes
   out is to be multiplied by 2^solution_unit. */
typedef struct twsi_problem {
    const tws_real *features;
    size_t samples, width, ld, count;
    const double *lambdas;
    double *labels, *shifts; /* samples; count: n lambda */
    int label_unit, shift_unit, solution_unit;
} twsi_problem;

/* Whatever tws_ridge and its sisters refuse before they look at a number. */
TWSI_FN tws_status twsi_check_ridge(tws_context *context, size_t samples, size_t width,
                                    const double *lambdas, size_t count) {
    size_t i;
    if (samples == 0 || width == 0 || count == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "samples is %lu, width is %lu, count is %lu, each must be at least 1",
                         (unsigned long)samples, (unsigned long)width, (unsigned long)count);
    for (i = 0; i < count; i++)
        if (!(lambdas[i] >= 0.0 && lambdas[i] <= DBL_MAX / (double)samples))
            return twsi_fail(context, TWS_BAD_ARGUMENT,
                             "lambda is %.9g, it must be from 0 to %.3g, the largest number over "
                             "the samples", lambdas[i], DBL_MAX / (double)samples);
    return TWS_OK;
}

typedef struct twsi_rows_job {
    const twsi_ridge_job *ridge;
    size_t bad[TWSI_RIDGE_CHUNKS]; /* the first such row of each part of F, or all rows: none */
    double largest[TWSI_RIDGE_CHUNKS]; /* before it */
} twsi_rows_job;

/* Looks for a row with a number that is not finite, and for the largest of the others. */
TWSI_FN void twsi_rows_task(void *data, size_t index, size_t worker) {
    twsi_rows_job *job = (twsi_rows_job *)data;
    const twsi_ridge_job *f = job->ridge;
    const size_t end = f->rows * (index + 1) / f->chunks;
    double largest = 0.0, size = 0.0;
    size_t row = f->rows * index / f->chunks;
    (void)worker;
    for (; row < end; row++) {
        size = (double)f->team->kernels->largest(f->features + row * f->ld, f->columns);
        if (size < 0.0) break;
        largest = fmax(largest, size);
    }
    job->bad[index] = row < end ? row : f->rows;
    job->largest[index] = largest;
}

TWSI_FN tws_status twsi_rows_finite(const twsi_ridge_job *ridge, double *largest) {
    twsi_rows_job job;
    size_t row = ridge->rows, chunk;
    job.ridge = ridge;
    twsi_run(ridge->team, ridge->chunks, twsi_rows_task, &job);
    *largest = 0.0;
    for (chunk = 0; chunk < ridge->chunks; chunk++) {
        row = twsi_min(row, job.bad[chunk]);
        *largest = fmax(*largest, job.largest[chunk]);
    }
    if (row == ridge->rows) return TWS_OK;
    return twsi_fail(ridge->team->context, TWS_NOT_FINITE,
                     "features row %lu, column %lu is NaN or infinite", (unsigned long)row,
                     (unsigned long)twsi_find_not_finite(ridge->features + row * ridge->ld,
                                                         ridge->columns));
}

/* n lambda; the largest lambda times n may be rounded beyond the largest number. */
TWSI_FN double twsi_shift(double lambda, size_t samples) {
    return fmin(lambda * (double)samples, DBL_MAX);
}

TWSI_FN twsi_problem twsi_problem_of(const tws_real *features, size_t samples, size_t width,
                                     size_t ld, const double *lambdas, size_t count) {
    twsi_problem problem;
    memset(&problem, 0, sizeof problem);
    problem.features = features;
    problem.samples = samples;
    problem.width = width;
    problem.ld = ld;
    problem.lambdas = lambdas;
    problem.count = count;
    return problem;
}

/* The features at 2^-unit of their size, on the pool. */
TWSI_FN void twsi_problem_rescale(twsi_problem *problem, twsi_pool *pool, int unit) {
    const tws_real *from = problem->features;
    tws_real *to = (tws_real *)twsi_take(pool, problem->samples,
                                         problem->width * sizeof(tws_real));
    size_t i, j;
    if (to == NULL) return;
    for (i = 0; i < problem->samples; i++)
        for (j = 0; j < problem->width; j++)
            to[i * problem->width + j] =
                (tws_real)ldexp((double)from[i * problem->ld + j], -unit);
    problem->features = to;
    problem->ld = problem->width;
}

/* Labels and shifts in their units; a failure stays in the pool. */
TWSI_FN void twsi_problem_fill(twsi_problem *problem, twsi_pool *pool, const tws_real *labels) {
    const double most = ldexp(1.0, TWSI_RIDGE_SHIFT);
    size_t i;
    problem->labels = (double *)twsi_take(pool, problem->samples, sizeof(double));
    problem->shifts = (double *)twsi_take(pool, problem->count, sizeof(double));
    if (pool->status != TWS_OK) return;
    for (i = 0; i < problem->samples; i++) problem->labels[i] = (double)labels[i];
    problem->label_unit = twsi_exponent_of(problem->labels, problem->samples);
    problem->solution_unit += problem->label_unit;
    for (i = 0; i < problem->samples; i++)
        problem->labels[i] = ldexp(problem->labels[i], -problem->label_unit);
    for (i = 0; i < problem->count; i++)
        problem->shifts[i] = fmin(most, ldexp(twsi_shift(problem->lambdas[i], problem->samples),
                                              -problem->shift_unit));
}

/* largest: of the features. */
TWSI_FN void twsi_problem_open(twsi_problem *problem, twsi_pool *pool, const tws_real *labels,
                               double largest) {
    int unit = twsi_exponent(largest);
    size_t i;
    if (unit > TWSI_RIDGE_LOW && unit <= TWSI_RIDGE_HIGH) unit = 0;
    if (unit != 0) twsi_problem_rescale(problem, pool, unit);
    problem->shift_unit = 2 * unit;
    problem->solution_unit = -unit;
    twsi_problem_fill(problem, pool, labels);
    /* without features the coefficients are 0 and no error depends on lambda > 0, however small */
    for (i = 0; i < problem->count && !(largest > 0.0) && pool->status == TWS_OK; i++)
        if (problem->shifts[i] > 0.0) problem->shifts[i] = 1.0;
}

TWSI_FN tws_status twsi_solution_overflows(tws_context *context, double lambda) {
    return twsi_fail(context, TWS_NOT_FINITE,
                     "the coefficients at lambda = %.9g overflow: labels are too large beside the "
                     "features", lambda);
}

/* A solution for one lambda, in the caller's units. */
TWSI_FN tws_status twsi_problem_restore(const twsi_problem *problem, tws_context *context,
                                        size_t which, double *x, size_t count) {
    const double shift = twsi_shift(problem->lambdas[which], problem->samples);
    double divisor = 1.0;
    int unit = problem->solution_unit, exponent;
    size_t i;
    if (ldexp(shift, -problem->shift_unit) > problem->shifts[which]) {
        divisor = frexp(shift, &exponent);
        unit += problem->shift_unit + TWSI_RIDGE_SHIFT - exponent;
    }
    for (i = 0; i < count; i++) x[i] = ldexp(x[i] / divisor, unit);
    if (twsi_all_finite(x, count)) return TWS_OK;
    return twsi_solution_overflows(context, problem->lambdas[which]);
}

/* ---- one lambda ---- */

typedef struct twsi_ridge {
    twsi_ridge_job job;
    twsi_factor factor;
    int dual;      /* samples < width */
    double shift;  /* n lambda */
    double *other; /* F' x (width) when dual, F x (samples) when not */
} twsi_ridge;

TWSI_FN tws_status twsi_ridge_multiply(void *data, const double *x, double *y) {
    twsi_ridge *ridge = (twsi_ridge *)data;
    const size_t m = ridge->factor.size;
    size_t i;
    if (ridge->dual) {
        /* the rows enter as weights: nothing is written to x */
        memcpy(y, x, m * sizeof *y);
        twsi_ridge_across(&ridge->job, NULL, y, ridge->other);
        twsi_ridge_times(&ridge->job, ridge->other, y);
    } else {
        twsi_ridge_across(&ridge->job, x, ridge->other, y);
    }
    for (i = 0; i < m; i++) y[i] += ridge->shift * x[i];
    return TWS_OK;
}

TWSI_FN void twsi_ridge_precondition(void *data, const double *r, double *z) {
    twsi_ridge *ridge = (twsi_ridge *)data;
    memcpy(z, r, ridge->factor.size * sizeof *z);
    twsi_factor_solve(&ridge->factor, z);
}

/* Factors the Gram matrix plus the shift, and if its rounded entries have no factor, plus more: at
   first what rounding of the largest eigenvalue may take away. Returns 0 if that never helps, or if
   the true shift is too small to carry the matrix where rounding leaves it no pivot. */
TWSI_FN int twsi_ridge_factor(twsi_ridge *ridge, size_t depth, size_t ld) {
    const double eps = TWSI_REAL_EPSILON;
    twsi_factor *f = &ridge->factor;
    const size_t m = f->size;
    double extra = 0.0, trace;
    int tries;
    size_t i;
    for (tries = 0; tries < 8; tries++) {
        twsi_gram(f, ridge->dual, ridge->job.features, depth, ld);
        for (trace = 0.0, i = 0; i < m; i++) trace += (double)f->a[i * m + i];
        if (!(trace >= 0.0 && trace <= DBL_MAX)) return 0;
        for (i = 0; i < m; i++)
            f->a[i * m + i] = (tws_real)((double)f->a[i * m + i] + ridge->shift + extra);
        if (twsi_cholesky(f))
            return ridge->shift > 4.0 * DBL_EPSILON * trace ||
                   (tries == 0 && f->least > 4.0 * eps * trace);
        extra = extra > 0.0 ? 8.0 * extra : eps * trace;
    }
    return 0;
}

TWSI_FN tws_status twsi_not_positive(tws_context *context, double lambda, size_t size) {
    return twsi_fail(context, TWS_BAD_ARGUMENT,
                     "with lambda = %.9g the %lu x %lu matrix of the features is not positive "
                     "definite to rounding: features depend on each other; make lambda larger",
                     lambda, (unsigned long)size, (unsigned long)size);
}

TWSI_FN tws_status twsi_ridge_memory(twsi_ridge *ridge, twsi_gradients *g, twsi_pool *pool,
                                     size_t samples, size_t width, double **right) {
    const size_t m = twsi_min(samples, width), most = twsi_max(samples, width);
    const size_t block = twsi_min(m, TWSI_CHOLESKY_BLOCK);
    twsi_factor *f = &ridge->factor;
    f->size = m;
    f->a = (tws_real *)twsi_take(pool, m, m * sizeof(tws_real));
    f->block = (double *)twsi_take(pool, block, block * sizeof(double));
    f->inverse = (double *)twsi_take(pool, block, block * sizeof(double));
    f->small = (tws_real *)twsi_take(pool, block, block * sizeof(tws_real));
    f->buffers = twsi_gemm_prepare(f->team, pool, m, m, most);
    ridge->other = (double *)twsi_take(pool, most, sizeof(double));
    ridge->job.partial = (double *)twsi_take(pool, width, ridge->job.chunks * sizeof(double));
    *right = (double *)twsi_take(pool, most, sizeof(double));
    g->residual = (double *)twsi_take(pool, m, sizeof(double));
    g->direction = (double *)twsi_take(pool, m, sizeof(double));
    g->image = (double *)twsi_take(pool, m, sizeof(double));
    g->shaped = (double *)twsi_take(pool, m, sizeof(double));
    if (pool->status == TWS_OK) return TWS_OK;
    return twsi_fail(f->team->context, pool->status,
                     "no memory for the %lu x %lu matrix of the features", (unsigned long)m,
                     (unsigned long)m);
}

TWSI_FN tws_status twsi_ridge_solve(twsi_team *team, twsi_pool *pool,
                                    const twsi_problem *problem, double *coefficients,
                                    size_t *iterations) {
    const size_t samples = problem->samples, width = problem->width;
    const double lambda = problem->lambdas[0];
    twsi_ridge ridge;
    twsi_gradients g;
    double *right, *alpha;
    tws_status status;
    memset(&ridge, 0, sizeof ridge);
    memset(&g, 0, sizeof g);
    ridge.job = twsi_ridge_matrix(team, problem->features, samples, width, problem->ld, NULL);
    ridge.factor.team = team;
    ridge.dual = samples < width;
    status = twsi_ridge_memory(&ridge, &g, pool, samples, width, &right);
    if (status != TWS_OK) return status;
    ridge.shift = problem->shifts[0];
    if (!twsi_ridge_factor(&ridge, ridge.dual ? width : samples, problem->ld))
        return twsi_not_positive(team->context, lambda, ridge.factor.size);
    if (ridge.dual) memcpy(right, problem->labels, samples * sizeof *right);
    else twsi_ridge_across(&ridge.job, NULL, problem->labels, right); /* F'y */
    g.multiply = twsi_ridge_multiply;
    g.precondition = twsi_ridge_precondition;
    g.data = &ridge;
    g.size = ridge.factor.size;
    g.most = 200;
    g.tolerance = 1e-10;
    alpha = coefficients; /* the longer array when dual */
    status = twsi_conjugate(&g, right, alpha);
    if (iterations != NULL) *iterations = g.iterations;
    if (ridge.dual) {
        memcpy(right, alpha, samples * sizeof *right);
        twsi_ridge_across(&ridge.job, NULL, right, coefficients);
    }
    if (status == TWS_BAD_ARGUMENT)
        return twsi_not_positive(team->context, lambda, ridge.factor.size);
    if (status == TWS_NOT_FINITE) return twsi_solution_overflows(team->context, lambda);
    if (twsi_problem_restore(problem, team->context, 0, coefficients, width) != TWS_OK)
        return TWS_NOT_FINITE;
    if (status == TWS_NOT_CONVERGED)
        return twsi_fail(team->context, status,
                         "200 iterations with lambda = %.9g left a residual above 1e-10 of the "
                         "right-hand side; make lambda larger",
                         lambda);
    return status;
}

/* Workers for a regression: below about a million operations the caller alone. */
TWSI_FN size_t twsi_ridge_workers(size_t samples, size_t width) {
    const double least = (double)twsi_min(samples, width);
    return least * (double)samples * (double)width < 1e6 ? 1 : TWSI_MAX_THREADS;
}

/* What one lambda and many have in common: checks, workers, the problem but for its units. */
TWSI_FN tws_status twsi_ridge_open(twsi_team *team, tws_context *context, twsi_problem *problem,
                                   const tws_real *labels, double *largest) {
    const size_t samples = problem->samples, width = problem->width, ld = problem->ld;
    tws_status status = twsi_require(context, "labels", labels);
    twsi_ridge_job job;
    twsi_team_clear(team);
    if (status == TWS_OK) status = twsi_require(context, "lambdas", problem->lambdas);
    if (status == TWS_OK)
        status = twsi_check_ridge(context, samples, width, problem->lambdas, problem->count);
    if (status == TWS_OK)
        status = twsi_check_matrix(context, "features", problem->features, samples, width, ld);
    if (status == TWS_OK)
        status = twsi_team_open_tiles(team, context, twsi_ridge_workers(samples, width));
    if (status == TWS_OK) {
        job = twsi_ridge_matrix(team, problem->features, samples, width, ld, NULL);
        status = twsi_rows_finite(&job, largest);
    }
    if (status == TWS_OK) status = twsi_require_finite(team, "labels", labels, samples);
    return status;
}

TWS_API tws_status tws_ridge(tws_context *context, const tws_real *features, size_t samples,
                             size_t width, size_t ld, const tws_real *labels, double lambda,
                             double *coefficients, size_t *iterations) {
    twsi_problem problem = twsi_problem_of(features, samples, width, ld, &lambda, 1);
    twsi_team team;
    twsi_pool pool;
    double largest;
    tws_status status = twsi_ridge_open(&team, context, &problem, labels, &largest);
    if (status == TWS_OK) status = twsi_require(context, "coefficients", coefficients);
    if (status == TWS_OK) {
        twsi_pool_open(&pool, context);
        twsi_problem_open(&problem, &pool, labels, largest);
        status = twsi_ridge_solve(&team, &pool, &problem, coefficients, iterations);
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
    return status;
}

/* ---- by products alone ---- */

typedef struct twsi_ridge_known {
    tws_operator apply;
    void *user;
    int dual;
    size_t samples, width;
    double shift, *other;
} twsi_ridge_known;

TWSI_FN tws_status twsi_known_multiply(void *data, const double *x, double *y) {
    const twsi_ridge_known *known = (const twsi_ridge_known *)data;
    const size_t m = known->dual ? known->samples : known->width;
    size_t i;
    if (known->apply(known->user, known->dual, x, known->other) != TWS_OK ||
        known->apply(known->user, !known->dual, known->other, y) != TWS_OK)
        return TWS_CALLBACK_FAILED;
    for (i = 0; i < m; i++) y[i] += known->shift * x[i];
    return twsi_all_finite(y, m) ? TWS_OK : TWS_NOT_FINITE;
}

TWSI_FN tws_status twsi_known_failed(tws_context *context, tws_status status, double lambda,
                                     size_t most) {
    if (status == TWS_CALLBACK_FAILED)
        return twsi_fail(context, status, "apply, the product with the features, failed");
    if (status == TWS_NOT_FINITE)
        return twsi_fail(context, status,
                         "the output of apply contains NaN or infinity, or what is made of it and "
                         "lambda = %.9g overflows", lambda);
    if (status == TWS_NOT_CONVERGED)
        return twsi_fail(context, status,
                         "%lu iterations with lambda = %.9g were not enough; allow more or make "
                         "lambda larger",
                         (unsigned long)most, lambda);
    return status;
}

TWS_API tws_status tws_ridge_operator(tws_context *context, tws_operator apply, void *user,
                                      size_t samples, size_t width, const double *labels,
                                      double lambda, double tolerance, size_t most,
                                      double *coefficients, size_t *iterations) {
    const size_t m = twsi_min(samples, width), longer = twsi_max(samples, width);
    twsi_ridge_known known;
    twsi_gradients g;
    twsi_pool pool;
    double *right, *solution;
    int unit = 0;
    size_t i;
    tws_status status = twsi_check_ridge(context, samples, width, &lambda, 1);
    if (status == TWS_OK && (apply == NULL || labels == NULL || coefficients == NULL))
        status = twsi_fail(context, TWS_BAD_ARGUMENT, "%s is NULL",
                           apply == NULL ? "apply" : labels == NULL ? "labels" : "coefficients");
    if (status == TWS_OK && !(tolerance >= 1e-14 && tolerance <= 0.1))
        status = twsi_fail(context, TWS_BAD_ARGUMENT,
                           "tolerance is %.9g, it must be from 1e-14 to 0.1", tolerance);
    if (status == TWS_OK) status = twsi_check_allocator(context); /* no team is opened here */
    if (status != TWS_OK) return status;
    memset(&g, 0, sizeof g);
    known.apply = apply;
    known.user = user;
    known.dual = samples < width;
    known.samples = samples;
    known.width = width;
    known.shift = twsi_shift(lambda, samples);
    twsi_pool_open(&pool, context);
    g.residual = (double *)twsi_take(&pool, m, sizeof(double));
    g.direction = (double *)twsi_take(&pool, m, sizeof(double));
    g.image = (double *)twsi_take(&pool, m, sizeof(double));
    known.other = (double *)twsi_take(&pool, longer, sizeof(double));
    right = (double *)twsi_take(&pool, m, sizeof(double));
    solution = (double *)twsi_take(&pool, m, sizeof(double));
    g.multiply = twsi_known_multiply;
    g.data = &known;
    g.size = m;
    g.most = most;
    g.tolerance = tolerance;
    if (pool.status != TWS_OK)
        status = twsi_fail(context, pool.status, "no memory for 6 vectors of %lu numbers",
                           (unsigned long)longer);
    if (status == TWS_OK && !twsi_all_finite(labels, samples)) {
        twsi_pool_close(&pool);
        return twsi_fail(context, TWS_NOT_FINITE, "labels contain NaN or infinity");
    }
    if (status == TWS_OK) {
        double *scaled = known.dual ? right : known.other;
        unit = twsi_exponent_of(labels, samples);
        for (i = 0; i < samples; i++) scaled[i] = ldexp(labels[i], -unit);
    }
    if (status == TWS_OK && !known.dual && apply(user, 1, known.other, right) != TWS_OK)
        status = TWS_CALLBACK_FAILED;
    if (status == TWS_OK && !twsi_all_finite(right, m)) status = TWS_NOT_FINITE;
    if (status == TWS_OK) status = twsi_conjugate(&g, right, solution);
    if (status == TWS_BAD_ARGUMENT) status = twsi_not_positive(context, lambda, m);
    if (status == TWS_OK || status == TWS_NOT_CONVERGED) {
        if (!known.dual) memcpy(coefficients, solution, width * sizeof *coefficients);
        else if (apply(user, 1, solution, coefficients) != TWS_OK) status = TWS_CALLBACK_FAILED;
        else if (!twsi_all_finite(coefficients, width)) status = TWS_NOT_FINITE;
    }
    if (iterations != NULL) *iterations = g.iterations;
    twsi_pool_close(&pool);
    if (status == TWS_OK || status == TWS_NOT_CONVERGED) {
        for (i = 0; i < width; i++) coefficients[i] = ldexp(coefficients[i], unit);
        if (!twsi_all_finite(coefficients, width)) return twsi_solution_overflows(context, lambda);
    }
    return twsi_known_failed(context, status, lambda, most);
}

/* ---- many lambdas: tridiagonal form ---- */

#define TWSI_PATH_ROWS TWSI_CROSS_ROWS /* of F Q in one task, where rows of G were made before */
#define TWSI_PATH_SLACK 16.0 /* least 1 - h_jj of which digits are left, in units of rounding */

typedef struct twsi_path {
    twsi_team *team;
    size_t size;         /* m */
    twsi_symmetric form; /* of G */
    size_t depth;        /* of the products that G was made of, 0 if it was given */
    /* solutions */
    size_t samples, count, tasks;
    int dual, label_unit;
    const tws_real *features;
    size_t features_ld;
    const double *labels, *shifts;       /* in the units of the problem; shifts: n lambda */
    double *slack;                       /* count: least 1 - h_jj that is believed */
    double *below, *pivot, *reduced;     /* m x count: L, 1/D, (T + mu)^-1 Q' g */
    double *sums;                        /* tasks x 2 count */
    double *alpha;                       /* samples x count, when dual */
    double *work;                        /* workers x ROWS x (m + PANEL) */
} twsi_path;

/* rows (count x m) times Q, or, forward == 0, each row times Q' : x -> Q x. */
TWSI_FN void twsi_path_rotate(const twsi_path *path, int forward, double *rows, size_t count,
                              double *small) {
    const twsi_kernels *kernels = path->team->kernels;
    const size_t m = path->size, panels = twsi_ceil_div(m, TWSI_SYMMETRIC_PANEL);
    size_t b, r, i, j, k;
    for (b = 0; b < panels; b++) {
        const size_t start = (forward ? b : panels - 1 - b) * TWSI_SYMMETRIC_PANEL;
        const size_t width = twsi_min(TWSI_SYMMETRIC_PANEL, m - start);
        const double *v = path->form.a + start * m + start;
        const double *t = path->form.corner + start * TWSI_SYMMETRIC_PANEL;
        kernels->svd_double(v, m, width, m - start, rows + start, m, count, 1.0, small, width, NULL,
                            0);
        for (r = 0; r < count; r++) {
            double *s = small + r * width; /* in place: T is upper triangular */
            for (k = 0; k < width; k++) {
                double sum = 0.0;
                j = forward ? width - 1 - k : k;
                if (forward) /* s T */
                    for (i = 0; i <= j; i++) sum += s[i] * t[i * TWSI_SYMMETRIC_PANEL + j];
                else /* T s */
                    for (i = j; i < width; i++) sum += t[j * TWSI_SYMMETRIC_PANEL + i] * s[i];
                s[j] = sum;
            }
        }
        kernels->svd_double(v, m, width, m - start, NULL, 0, count, -1.0, small, width,
                            rows + start, m);
    }
}

/* T + mu = L D L' and reduced = (T + mu)^-1 right for every lambda; count if all are positive
   definite, else the index of one that is not. */
TWSI_FN size_t twsi_path_shifts(twsi_path *path, const double *right) {
    const size_t m = path->size, n = path->count;
    double largest = 0.0;
    size_t i, c;
    for (i = 0; i < m; i++) {
        const double before = i > 0 ? fabs(path->form.e[i - 1]) : 0.0;
        const double after = i + 1 < m ? fabs(path->form.e[i]) : 0.0;
        largest = fmax(largest, fabs(path->form.d[i]) + before + after);
    }
    for (c = 0; c < n; c++) {
        double *x = path->reduced + c, last = 0.0, inverse = 0.0, entry = 0.0;
        for (i = 0; i < m; i++) {
            const double e = i > 0 ? path->form.e[i - 1] : 0.0;
            const double l = i > 0 ? e * last : 0.0;
            const double pivot = path->form.d[i] + path->shifts[c] - l * e;
            if (!(pivot > 4.0 * DBL_EPSILON * (largest + path->shifts[c]))) return c;
            last = 1.0 / pivot;
            path->below[i * n + c] = l;
            path->pivot[i * n + c] = last;
            x[i * n] = right[i] - (i > 0 ? l * x[(i - 1) * n] : 0.0);
        }
        for (i = m; i-- > 0;) { /* entry: of the diagonal of (T + mu)^-1, a sum without signs */
            const double below = i + 1 < m ? path->below[(i + 1) * n + c] : 0.0;
            x[i * n] *= path->pivot[i * n + c];
            if (i + 1 < m) x[i * n] -= below * x[(i + 1) * n];
            entry = path->pivot[i * n + c] + below * below * entry;
            inverse = fmax(inverse, entry);
        }
        path->slack[c] = DBL_EPSILON * (largest + path->shifts[c]) * inverse;
        if (!(4.0 * path->slack[c] < 1.0)) return c;
        path->slack[c] *= TWSI_PATH_SLACK;
    }
    return n;
}

/* One row f of F Q (of Q when dual) for all lambdas: fit = f reduced, hat = f (T + mu)^-1 f'. */
TWSI_FN void twsi_path_sweep(const twsi_path *path, const double *f, double *fit, double *hat,
                             double *z) {
    const size_t n = path->count;
    size_t i, c;
    for (c = 0; c < n; c++) fit[c] = hat[c] = z[c] = 0.0;
    for (i = 0; i < path->size; i++) {
        const double *l = path->below + i * n, *p = path->pivot + i * n, *x = path->reduced + i * n;
        const double entry = f[i];
        for (c = 0; c < n; c++) {
            z[c] = entry - l[c] * z[c];
            hat[c] += p[c] * z[c] * z[c];
            fit[c] += entry * x[c];
        }
    }
}

/* Errors at some samples. */
TWSI_FN void twsi_path_errors(void *data, size_t index, size_t worker) {
    twsi_path *path = (twsi_path *)data;
    const size_t m = path->size, n = path->count, first = index * TWSI_PATH_ROWS;
    const size_t count = twsi_min(TWSI_PATH_ROWS, path->samples - first);
    double *rows = path->work + worker * (TWSI_PATH_ROWS * (m + TWSI_SYMMETRIC_PANEL) + 3 * n);
    double *small = rows + TWSI_PATH_ROWS * m, *fit = small + TWSI_PATH_ROWS * TWSI_SYMMETRIC_PANEL;
    double *hat = fit + n, *z = hat + n, *train = path->sums + index * 2 * n, *loo = train + n;
    size_t i, j, c;
    for (i = 0; i < count; i++) {
        const tws_real *f = path->dual ? NULL : path->features + (first + i) * path->features_ld;
        for (j = 0; j < m; j++)
            rows[i * m + j] = f != NULL ? (double)f[j] : j == first + i ? 1.0 : 0.0;
    }
    twsi_path_rotate(path, 1, rows, count, small);
    for (c = 0; c < 2 * n; c++) train[c] = 0.0;
    for (i = 0; i < count; i++) {
        const double label = path->labels[first + i];
        twsi_path_sweep(path, rows + i * m, fit, hat, z);
        for (c = 0; c < n; c++) {
            const double residual = path->dual ? path->shifts[c] * fit[c] : label - fit[c];
            const double left = path->dual ? fit[c] / hat[c]
                                : 1.0 - hat[c] > path->slack[c] ? residual / (1.0 - hat[c])
                                                                : HUGE_VAL;
            train[c] += residual * residual;
            loo[c] += left * left;
            if (path->alpha != NULL) path->alpha[c * path->samples + first + i] = fit[c];
        }
    }
}

TWSI_FN tws_status twsi_path_memory(twsi_path *path, twsi_pool *pool, int coefficients) {
    const size_t m = path->size, n = path->count, workers = path->team->workers;
    const size_t extra = twsi_ceil_div(3 * n, TWSI_PATH_ROWS);
    const size_t width = twsi_max(path->depth, m + TWSI_SYMMETRIC_PANEL) + extra;
    path->tasks = twsi_ceil_div(path->samples, TWSI_PATH_ROWS);
    twsi_symmetric_memory(&path->form, pool, path->team, m, 1);
    path->slack = (double *)twsi_take(pool, n, sizeof(double));
    path->below = (double *)twsi_take(pool, m, n * sizeof(double));
    path->pivot = (double *)twsi_take(pool, m, n * sizeof(double));
    path->reduced = (double *)twsi_take(pool, m, n * sizeof(double));
    path->sums = (double *)twsi_take(pool, path->tasks, 2 * n * sizeof(double));
    path->work = (double *)twsi_take(pool, workers * TWSI_PATH_ROWS, width * sizeof(double));
    path->alpha = coefficients && path->dual
                      ? (double *)twsi_take(pool, path->samples, n * sizeof(double))
                      : NULL;
    if (pool->status == TWS_OK) return TWS_OK;
    return twsi_fail(path->team->context, pool->status,
                     "no memory for the %lu x %lu matrix of the features", (unsigned long)m,
                     (unsigned long)m);
}

/* The errors at lambda number c, from sums of squares. */
TWSI_FN tws_status twsi_path_means(const twsi_path *path, double lambda, size_t c, double *train,
                                   double *loo) {
    const double samples = (double)path->samples;
    double sum[2] = {0.0, 0.0};
    size_t t;
    for (t = 0; t < path->tasks; t++) {
        sum[0] += path->sums[t * 2 * path->count + c];
        sum[1] += path->sums[t * 2 * path->count + path->count + c];
    }
    if (loo != NULL && sum[1] > DBL_MAX)
        return twsi_fail(path->team->context, TWS_BAD_ARGUMENT,
                         "with lambda = %.9g there is no leave-one-out error: without one of the "
                         "samples features depend on each other to rounding; make lambda larger",
                         lambda);
    sum[0] = ldexp(sum[0] / samples, 2 * path->label_unit);
    sum[1] = ldexp(sum[1] / samples, 2 * path->label_unit);
    if (train != NULL) train[c] = sum[0];
    if (loo != NULL) loo[c] = sum[1];
    if ((train != NULL && !(sum[0] <= DBL_MAX)) || (loo != NULL && !(sum[1] <= DBL_MAX)))
        return twsi_fail(path->team->context, TWS_NOT_FINITE,
                         "the error at lambda = %.9g overflows: labels are too large for their "
                         "squares", lambda);
    return TWS_OK;
}

/* Everything after G stands in a: right = F'y or y (m numbers, destroyed). */
TWSI_FN tws_status twsi_path_solve(twsi_path *path, const double *lambdas, double *right,
                                   double *train, double *loo) {
    const size_t n = path->count;
    double small[TWSI_SYMMETRIC_PANEL];
    tws_status status = TWS_OK;
    size_t bad, c;
    twsi_symmetric_reduce(&path->form);
    twsi_path_rotate(path, 1, right, 1, small);
    bad = twsi_path_shifts(path, right);
    if (bad < n) return twsi_not_positive(path->team->context, lambdas[bad], path->size);
    twsi_run(path->team, path->tasks, twsi_path_errors, path);
    for (c = 0; c < n && status == TWS_OK; c++)
        status = twsi_path_means(path, lambdas[c], c, train, loo);
    return status;
}

/* The coefficient vectors: Q (T + mu)^-1 Q' F'y, or F' alpha. */
TWSI_FN void twsi_path_coefficients(const twsi_path *path, twsi_ridge_job *job,
                                    double *coefficients) {
    const size_t n = path->count, m = path->size;
    double small[TWSI_SYMMETRIC_PANEL];
    size_t c, i;
    for (c = 0; c < n; c++) {
        double *x = coefficients + c * job->columns;
        if (path->dual) {
            twsi_ridge_across(job, NULL, path->alpha + c * path->samples, x);
        } else {
            for (i = 0; i < m; i++) x[i] = path->reduced[i * n + c];
            twsi_path_rotate(path, 0, x, 1, small);
        }
    }
}

/* What a path knows of its problem. */
TWSI_FN void twsi_path_open(twsi_path *path, twsi_team *team, const twsi_problem *problem,
                            size_t size) {
    memset(path, 0, sizeof *path);
    path->team = team;
    path->size = size;
    path->samples = problem->samples;
    path->count = problem->count;
    path->dual = size == problem->samples;
    path->features = problem->features;
    path->features_ld = problem->ld;
    path->labels = problem->labels;
    path->shifts = problem->shifts;
    path->label_unit = problem->label_unit;
}

TWSI_FN tws_status twsi_path_run(twsi_team *team, twsi_pool *pool, const twsi_problem *problem,
                                 double *coefficients, double *train, double *loo) {
    const size_t samples = problem->samples, width = problem->width, ld = problem->ld;
    twsi_path path;
    twsi_cross cross;
    twsi_ridge_job job = twsi_ridge_matrix(team, problem->features, samples, width, ld, NULL);
    double *right;
    tws_status status;
    size_t c;
    twsi_path_open(&path, team, problem, twsi_min(samples, width));
    path.depth = twsi_max(samples, width);
    cross.count = path.size;
    cross.depth = path.depth;
    cross.ld = path.dual ? ld : samples;
    cross.rows = path.dual ? problem->features
                           : twsi_turned(team, pool, problem->features, samples, width, ld);
    job.partial = (double *)twsi_take(pool, width, job.chunks * sizeof(double));
    right = (double *)twsi_take(pool, path.size, sizeof(double));
    status = twsi_path_memory(&path, pool, coefficients != NULL);
    if (status != TWS_OK) return status;
    if (path.dual) memcpy(right, problem->labels, samples * sizeof *right);
    else twsi_ridge_across(&job, NULL, problem->labels, right);
    cross.out = path.form.a;
    cross.copy = path.work;
    twsi_cross_run(&cross, team);
    status = twsi_path_solve(&path, problem->lambdas, right, train, loo);
    if (status != TWS_OK || coefficients == NULL) return status;
    twsi_path_coefficients(&path, &job, coefficients);
    for (c = 0; c < path.count && status == TWS_OK; c++)
        status = twsi_problem_restore(problem, team->context, c, coefficients + c * width, width);
    return status;
}

TWS_API tws_status tws_ridge_path(tws_context *context, const tws_real *features, size_t samples,
                                  size_t width, size_t ld, const tws_real *labels,
                                  const double *lambdas, size_t count, double *coefficients,
                                  double *train, double *loo) {
    twsi_problem problem = twsi_problem_of(features, samples, width, ld, lambdas, count);
    twsi_team team;
    twsi_pool pool;
    double largest;
    tws_status status = twsi_ridge_open(&team, context, &problem, labels, &largest);
    if (status == TWS_OK) {
        twsi_pool_open(&pool, context);
        twsi_problem_open(&problem, &pool, labels, largest);
        status = twsi_path_run(&team, &pool, &problem, coefficients, train, loo);
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
    return status;
}

/* The unit of a kernel, from its upper triangle. */
TWSI_FN tws_status twsi_kernel_unit(const twsi_team *team, const double *kernel, size_t samples,
                                    int *unit) {
    double largest = 0.0;
    size_t i, j;
    for (i = 0; i < samples; i++)
        for (j = i; j < samples; j++) {
            const double size = fabs(kernel[i * samples + j]);
            if (!(size <= DBL_MAX))
                return twsi_fail(team->context, TWS_NOT_FINITE,
                                 "kernel contains NaN or infinity in row %lu", (unsigned long)i);
            largest = fmax(largest, size);
        }
    *unit = twsi_exponent(largest);
    return TWS_OK;
}

TWSI_FN tws_status twsi_kernel_run(twsi_team *team, twsi_pool *pool, const double *kernel,
                                   twsi_problem *problem, const tws_real *labels,
                                   double *coefficients, double *train, double *loo) {
    const size_t samples = problem->samples;
    twsi_path path;
    double *right;
    int unit;
    size_t i, j;
    tws_status status = twsi_kernel_unit(team, kernel, samples, &unit);
    if (status != TWS_OK) return status;
    problem->shift_unit = unit;
    problem->solution_unit = -unit;
    twsi_problem_fill(problem, pool, labels);
    right = (double *)twsi_take(pool, samples, sizeof(double));
    twsi_path_open(&path, team, problem, samples);
    status = twsi_path_memory(&path, pool, 0);
    if (status != TWS_OK) return status;
    memcpy(right, problem->labels, samples * sizeof *right);
    for (i = 0; i < samples; i++)
        for (j = i; j < samples; j++)
            path.form.a[i * samples + j] = ldexp(kernel[i * samples + j], -unit);
    path.alpha = coefficients;
    status = twsi_path_solve(&path, problem->lambdas, right, train, loo);
    for (i = 0; i < path.count && status == TWS_OK && coefficients != NULL; i++)
        status = twsi_problem_restore(problem, team->context, i, coefficients + i * samples,
                                      samples);
    return status;
}

TWS_API tws_status tws_kernel_path(tws_context *context, const double *kernel, size_t samples,
                                   const tws_real *labels, const double *lambdas, size_t count,
                                   double *coefficients, double *train, double *loo) {
    twsi_problem problem = twsi_problem_of(NULL, samples, samples, samples, lambdas, count);
    twsi_team team;
    twsi_pool pool;
    tws_status status = twsi_require(context, "kernel", kernel);
    memset(&team, 0, sizeof team);
    if (status == TWS_OK) status = twsi_require(context, "labels", labels);
    if (status == TWS_OK) status = twsi_require(context, "lambdas", lambdas);
    if (status == TWS_OK) status = twsi_check_ridge(context, samples, samples, lambdas, count);
    if (status == TWS_OK && !twsi_fits(samples, samples, sizeof(double)))
        status = twsi_fail(context, TWS_TOO_LARGE, "a kernel of %lu x %lu does not fit in memory",
                           (unsigned long)samples, (unsigned long)samples);
    if (status == TWS_OK)
        status = twsi_team_open(&team, context, twsi_ridge_workers(samples, samples));
    if (status == TWS_OK) status = twsi_require_finite(&team, "labels", labels, samples);
    if (status == TWS_OK) {
        twsi_pool_open(&pool, context);
        status = twsi_kernel_run(&team, &pool, kernel, &problem, labels, coefficients, train,
                                 loo);
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
    return status;
}

/* ---- the kernel of infinitely many neurons ---- */

#define TWSI_KERNEL_TERMS 32 /* of Mehler's sum */
#define TWSI_KERNEL_ROWS 64
#define TWSI_KERNEL_POINTS ((size_t)TWSI_FINE_PANELS * TWSI_FINE_NODES)
#define TWSI_KERNEL_SHORT 1e-25 /* |x||x'| whose products float may lose below its range */

typedef struct twsi_limit_kernel {
    twsi_team *team;
    const tws_activation *activation;
    size_t inputs, count1, count2, first;
    int same;
    const tws_real *rows1, *rows2;
    double *points;                          /* z, density, He_k(z) / sqrt(k!): 2 + TERMS each */
    double *norm1, *norm2, *terms1, *terms2; /* terms: TERMS + 1 per sample */
    tws_real *products;                      /* ROWS x count2; columns from start on */
    size_t start;
    double *kernel;
} twsi_limit_kernel;

/* The nodes under the normal density, and the polynomials there: the same for every sample. */
TWSI_FN void twsi_kernel_points(double *points) {
    double nodes[TWSI_FINE_NODES], weights[TWSI_FINE_NODES];
    size_t i, k;
    twsi_gauss_rule(0, TWSI_FINE_NODES, nodes, weights);
    for (i = 0; i < TWSI_KERNEL_POINTS; i++) {
        double *point = points + i * (2 + TWSI_KERNEL_TERMS);
        const double z = twsi_fine_node(nodes, i / TWSI_FINE_NODES, i % TWSI_FINE_NODES);
        double before = 0.0, now = 1.0;
        point[0] = z;
        point[1] = weights[i % TWSI_FINE_NODES] * twsi_normal_density(z);
        for (k = 0; k < TWSI_KERNEL_TERMS; k++) {
            const double next = (z * now - sqrt((double)k) * before) / sqrt((double)(k + 1));
            point[2 + k] = now;
            before = now;
            now = next;
        }
    }
}

/* terms[k] = E[sigma(s z) He_k(z)] / sqrt(k!), terms[TERMS] = E[sigma(s z)^2]. */
TWSI_FN void twsi_kernel_terms(const twsi_limit_kernel *job, double s, double *terms) {
    const double *point = job->points;
    size_t i, k;
    for (k = 0; k <= TWSI_KERNEL_TERMS; k++) terms[k] = 0.0;
    for (i = 0; i < TWSI_KERNEL_POINTS; i++, point += 2 + TWSI_KERNEL_TERMS) {
        const double f = tws_activation_value(job->activation, s * point[0]);
        for (k = 0; k < TWSI_KERNEL_TERMS; k++) terms[k] += point[1] * f * point[2 + k];
        terms[TWSI_KERNEL_TERMS] += point[1] * f * f;
    }
}

/* Length and terms of one sample, of the second set after the first. */
TWSI_FN void twsi_kernel_sample_task(void *data, size_t index, size_t worker) {
    const twsi_limit_kernel *job = (const twsi_limit_kernel *)data;
    const size_t second = index >= job->count1, i = index - (second ? job->count1 : 0);
    const tws_real *x = (second ? job->rows2 : job->rows1) + i * job->inputs;
    const double norm = sqrt(twsi_dot(x, x, job->inputs));
    (void)worker;
    (second ? job->norm2 : job->norm1)[i] = norm;
    if (!(norm <= DBL_MAX)) return; /* refused when all are known */
    twsi_kernel_terms(job, norm / sqrt((double)job->inputs),
                      (second ? job->terms2 : job->terms1) + i * (TWSI_KERNEL_TERMS + 1));
}

/* One row; of a symmetric kernel from the diagonal on, and the column too. */
TWSI_FN void twsi_kernel_task(void *data, size_t index, size_t worker) {
    const twsi_limit_kernel *job = (const twsi_limit_kernel *)data;
    const size_t stride = TWSI_KERNEL_TERMS + 1, i = job->first + index;
    const double *a = job->terms1 + i * stride;
    const tws_real *product = job->products + index * job->count2;
    double *row = job->kernel + i * job->count2;
    size_t j, k;
    (void)worker;
    for (j = job->same ? i : 0; j < job->count2; j++) {
        const double *b = job->terms2 + j * stride;
        const double size = job->norm1[i] * job->norm2[j];
        double dot = (double)product[j - job->start], cosine, sum = 0.0;
        if (!(fabs(dot) <= DBL_MAX) || size < TWSI_KERNEL_SHORT) /* out of range on the way */
            dot = twsi_dot(job->rows1 + i * job->inputs, job->rows2 + j * job->inputs, job->inputs);
        cosine = size > 0.0 ? dot / size : 0.0;
        cosine = cosine > 1.0 ? 1.0 : cosine < -1.0 ? -1.0 : cosine;
        for (k = TWSI_KERNEL_TERMS; k-- > 0;) sum = sum * cosine + a[k] * b[k];
        row[j] = sum;
        if (job->same) job->kernel[j * job->count2 + i] = sum;
    }
    if (job->same) row[i] = a[TWSI_KERNEL_TERMS];
}

TWSI_FN tws_status twsi_kernel_memory(twsi_limit_kernel *job, twsi_pool *pool) {
    const size_t terms = (TWSI_KERNEL_TERMS + 1) * sizeof(double);
    job->points = (double *)twsi_take(pool, TWSI_KERNEL_POINTS,
                                      (2 + TWSI_KERNEL_TERMS) * sizeof(double));
    job->norm1 = (double *)twsi_take(pool, job->count1, sizeof(double));
    job->terms1 = (double *)twsi_take(pool, job->count1, terms);
    job->norm2 = job->same ? job->norm1 : (double *)twsi_take(pool, job->count2, sizeof(double));
    job->terms2 = job->same ? job->terms1 : (double *)twsi_take(pool, job->count2, terms);
    job->products = (tws_real *)twsi_take(pool, twsi_min(TWSI_KERNEL_ROWS, job->count1),
                                          job->count2 * sizeof(tws_real));
    if (pool->status == TWS_OK) return TWS_OK;
    return twsi_fail(job->team->context, pool->status, "no memory for the terms of the kernel");
}

/* Workers: a thread for some 0.5 ms of work, in entries or in terms of single inputs. */
TWSI_FN size_t twsi_kernel_workers(size_t count1, size_t count2) {
    return twsi_max(1, twsi_max(count1 / 8 * count2 / 4096, count1 / 64 + count2 / 64));
}

TWSI_FN tws_status twsi_kernel_fill(twsi_limit_kernel *job, twsi_pool *pool) {
    const size_t rows = twsi_min(TWSI_KERNEL_ROWS, job->count1), d = job->inputs;
    twsi_gemm_buffers buffers = twsi_gemm_prepare(job->team, pool, rows, job->count2, d);
    tws_status status = twsi_kernel_memory(job, pool);
    if (status != TWS_OK) return status;
    twsi_kernel_points(job->points);
    twsi_run(job->team, job->count1 + (job->same ? 0 : job->count2), twsi_kernel_sample_task, job);
    if (!twsi_all_finite(job->norm1, job->count1) || !twsi_all_finite(job->norm2, job->count2))
        return twsi_fail(job->team->context, TWS_NOT_FINITE,
                         "%s holds an input so long that its squares overflow",
                         twsi_all_finite(job->norm1, job->count1) ? "second" : "first");
    for (job->first = 0; job->first < job->count1; job->first += rows) {
        const size_t now = twsi_min(rows, job->count1 - job->first);
        job->start = job->same ? job->first : 0;
        twsi_gemm_with(job->team, &buffers, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, now,
                       job->count2 - job->start, d, 1, job->rows1 + job->first * d, d,
                       job->rows2 + job->start * d, d, 0, job->products, job->count2);
        twsi_run(job->team, now, twsi_kernel_task, job);
        if (!twsi_all_finite(job->kernel + job->first * job->count2, now * job->count2))
            return twsi_fail(job->team->context, TWS_NOT_FINITE,
                             "the kernel overflows: the activation is too large at the lengths of "
                             "first and second");
    }
    return TWS_OK;
}

TWS_API tws_status tws_limit_kernel(tws_context *context, const tws_activation *activation,
                                    size_t inputs, const tws_real *first, size_t count1,
                                    const tws_real *second, size_t count2, double *kernel) {
    twsi_limit_kernel job;
    twsi_team team;
    twsi_pool pool;
    const char *why;
    tws_status status = twsi_require(context, "activation", activation);
    memset(&job, 0, sizeof job);
    memset(&team, 0, sizeof team);
    if (second == NULL) {
        second = first;
        count2 = count1;
    }
    job.same = second == first && count2 == count1;
    if (status == TWS_OK) status = twsi_require(context, "kernel", kernel);
    if (status != TWS_OK) return status;
    why = twsi_check_activation(activation);
    if (why != NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "activation: %s", why);
    if (inputs == 0 || count1 == 0 || count2 == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "inputs is %lu, count1 is %lu, count2 is %lu, each must be at least 1",
                         (unsigned long)inputs, (unsigned long)count1, (unsigned long)count2);
    status = twsi_check_matrix(context, "first", first, count1, inputs, inputs);
    if (status == TWS_OK)
        status = twsi_check_matrix(context, "second", second, count2, inputs, inputs);
    if (status == TWS_OK &&
        !twsi_fits(count1, count2, sizeof(double)))
        status = twsi_fail(context, TWS_TOO_LARGE, "a kernel of %lu x %lu does not fit in memory",
                           (unsigned long)count1, (unsigned long)count2);
    if (status == TWS_OK)
        status = twsi_team_open_tiles(&team, context, twsi_kernel_workers(count1, count2));
    if (status == TWS_OK) status = twsi_require_finite(&team, "first", first, count1 * inputs);
    if (status == TWS_OK) status = twsi_require_finite(&team, "second", second, count2 * inputs);
    if (status == TWS_OK) {
        job.team = &team;
        job.activation = activation;
        job.inputs = inputs;
        job.count1 = count1;
        job.count2 = count2;
        job.kernel = kernel;
        job.rows1 = first;
        job.rows2 = second;
        twsi_pool_open(&pool, context);
        status = twsi_kernel_fill(&job, &pool);
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
    return status;
}

/* ==========================================================================
 * @@EXPERIMENT: data, two steps, spectra
 * ========================================================================== */

#define TWSI_LOSS_SAMPLES 512

/* Everything that one run holds. */
typedef struct twsi_run_state {
    tws_context *context;
    const tws_config *config;
    tws_real *weights, *spare, *readout, *directions;
    tws_real *kept; /* W_1, when both second steps want it */
    tws_real *inputs1, *labels1, *inputs2, *labels2;
    tws_result *result;
    twsi_team team;
    tws_network network;
    twsi_step step; /* memory that all steps use */
    tws_visit visit; /* may be NULL */
    void *user;
} twsi_run_state;

TWSI_FN tws_status twsi_run_memory(twsi_run_state *run, twsi_pool *pool, int fresh, int both) {
    const tws_config *c = run->config;
    const size_t row = c->inputs * sizeof(tws_real);
    run->weights = (tws_real *)twsi_take(pool, c->neurons, row);
    run->spare = (tws_real *)twsi_take(pool, c->neurons, row);
    run->kept = both ? (tws_real *)twsi_take(pool, c->neurons, row) : NULL;
    run->readout = (tws_real *)twsi_take(pool, c->neurons, sizeof(tws_real));
    run->directions = (tws_real *)twsi_take(pool, c->target.directions, row);
    run->inputs1 = (tws_real *)twsi_take(pool, c->samples, row);
    run->labels1 = (tws_real *)twsi_take(pool, c->samples, sizeof(tws_real));
    run->inputs2 = fresh ? (tws_real *)twsi_take(pool, c->samples, row) : NULL;
    run->labels2 = fresh ? (tws_real *)twsi_take(pool, c->samples, sizeof(tws_real)) : NULL;
    if (pool->status == TWS_OK) return TWS_OK;
    return twsi_fail(run->context, pool->status,
                     "no memory for the weights and batches of neurons = %lu, inputs = %lu, "
                     "samples = %lu",
                     (unsigned long)c->neurons, (unsigned long)c->inputs,
                     (unsigned long)c->samples);
}

TWSI_FN tws_status twsi_run_data(twsi_run_state *run) {
    const tws_config *c = run->config;
    const double start = twsi_seconds();
    tws_status status = tws_make_weights(run->context, c, 0, c->neurons, run->weights);
    if (status == TWS_OK)
        status = tws_make_readout(run->context, c, 0, c->neurons, run->readout);
    if (status == TWS_OK) status = tws_make_directions(run->context, c, run->directions);
    if (status == TWS_OK)
        status = tws_make_batch(run->context, c, run->directions, 0, run->inputs1, run->labels1);
    if (status == TWS_OK && run->inputs2 != NULL)
        status = tws_make_batch(run->context, c, run->directions, 1, run->inputs2, run->labels2);
    run->result->seconds_data = twsi_seconds() - start;
    return status;
}

TWSI_FN tws_batch twsi_run_batch(const twsi_run_state *run, int fresh) {
    tws_batch batch;
    batch.samples = run->config->samples;
    batch.inputs = fresh ? run->inputs2 : run->inputs1;
    batch.labels = fresh ? run->labels2 : run->labels1;
    return batch;
}

/* Checks the network and takes the memory that all steps share: fresh pages are slow. */
TWSI_FN tws_status twsi_run_prepare(twsi_run_state *run, twsi_pool *pool) {
    const tws_batch batch = twsi_run_batch(run, 0);
    const tws_status status =
        twsi_step_open(&run->team, run->context, &run->network, &batch, TWSI_LABELS, TWS_OK);
    if (status != TWS_OK) return status;
    return twsi_step_prepare(&run->step, &run->team, pool, &run->network, &batch, 1);
}

/* One step; the old weights become spare memory. */
TWSI_FN tws_status twsi_run_step(twsi_run_state *run, int fresh, double eta, double *seconds) {
    const double start = twsi_seconds();
    const tws_batch batch = twsi_run_batch(run, fresh);
    tws_real *old = run->weights;
    tws_status status;
    run->step.batch = &batch;
    status = twsi_fresh_weights(&run->step, eta, run->spare, NULL);
    run->step.batch = NULL;
    if (status == TWS_OK) {
        run->network.weights = run->weights = run->spare;
        run->spare = old;
    }
    *seconds += twsi_seconds() - start;
    return status;
}

/* The loss of the present weights, in the memory of the steps where there are any. */
TWSI_FN tws_status twsi_run_loss(twsi_run_state *run, double *loss) {
    tws_batch batch = twsi_run_batch(run, 0);
    tws_status status;
    batch.samples = run->result->loss_samples;
    if (run->step.team == NULL) return tws_loss(run->context, &run->network, &batch, loss);
    run->step.batch = &batch;
    status = twsi_step_pass(&run->step, NULL, NULL, loss);
    run->step.batch = NULL;
    return status;
}

/* Spectrum and loss of the present weights. A value that has not converged ends nothing: it is
   remembered in *worst. */
TWSI_FN tws_status twsi_run_measure(twsi_run_state *run, tws_case which, tws_status *worst) {
    const tws_config *c = run->config;
    const double start = twsi_seconds();
    tws_result *result = run->result;
    tws_status status = tws_measure(run->context, run->weights, c->neurons, c->inputs, run->readout,
                                    run->directions, c->target.directions, c->top, c->seed,
                                    &result->spectrum[which]);
    if (status == TWS_NOT_CONVERGED) {
        *worst = status;
        status = TWS_OK;
    }
    if (status == TWS_OK) status = twsi_run_loss(run, &result->loss[which]);
    result->measured[which] = status == TWS_OK;
    result->seconds_spectrum += twsi_seconds() - start;
    if (status == TWS_OK && run->visit != NULL &&
        run->visit(run->user, which, run->weights, run->readout) != TWS_OK)
        status = twsi_fail(run->context, TWS_CALLBACK_FAILED, "visit failed on case %d",
                           (int)which);
    return status;
}

TWSI_FN tws_status twsi_run_all(twsi_run_state *run, twsi_pool *pool, unsigned cases,
                                tws_status *worst) {
    const tws_config *c = run->config;
    const size_t bytes = c->neurons * c->inputs * sizeof(tws_real);
    tws_result *result = run->result;
    tws_status status = twsi_run_data(run);
    run->network = tws_network_from_config(c, run->weights, run->readout);
    if (status == TWS_OK && cases > 1u << TWS_INITIAL) status = twsi_run_prepare(run, pool);
    if (status == TWS_OK && (cases >> TWS_INITIAL & 1))
        status = twsi_run_measure(run, TWS_INITIAL, worst);
    if (status == TWS_OK && cases > 1u << TWS_INITIAL)
        status = twsi_run_step(run, 0, result->eta1, &result->seconds_step1);
    if (status == TWS_OK && (cases >> TWS_ONE_STEP & 1))
        status = twsi_run_measure(run, TWS_ONE_STEP, worst);
    if (status == TWS_OK && run->kept != NULL) memcpy(run->kept, run->weights, bytes);
    if (status == TWS_OK && (cases >> TWS_TWO_STEPS_FRESH & 1)) {
        status = twsi_run_step(run, 1, result->eta2, &result->seconds_step2);
        if (status == TWS_OK) status = twsi_run_measure(run, TWS_TWO_STEPS_FRESH, worst);
    }
    if (status == TWS_OK && (cases >> TWS_TWO_STEPS_REUSE & 1)) {
        if (run->kept != NULL) memcpy(run->weights, run->kept, bytes);
        status = twsi_run_step(run, 0, result->eta2, &result->seconds_step2);
        if (status == TWS_OK) status = twsi_run_measure(run, TWS_TWO_STEPS_REUSE, worst);
    }
    return status;
}

TWS_API tws_status tws_run_visit(tws_context *context, const tws_config *config, unsigned cases,
                                 tws_visit visit, void *user, tws_result *result) {
    const double start = twsi_seconds();
    tws_status status = twsi_check_config(context, config), worst = TWS_OK;
    twsi_run_state run;
    twsi_pool pool;
    int fresh, reuse;
    if (status != TWS_OK) return status;
    if (result == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "result is NULL");
    if (context != NULL && context->reduce != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "context.reduce is set, tws_run holds all neurons in one process: it must "
                         "be NULL");
    if (cases > TWS_ALL_CASES)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "cases is %u, it must be at most %u", cases,
                         TWS_ALL_CASES);
    if (cases == 0)
        cases = 1u << TWS_INITIAL | 1u << TWS_ONE_STEP |
                1u << (config->batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE);
    fresh = (cases & 1u << TWS_TWO_STEPS_FRESH) != 0;
    reuse = (cases & 1u << TWS_TWO_STEPS_REUSE) != 0;
    memset(result, 0, sizeof *result);
    result->eta1 = tws_step_size(config, 1);
    result->eta2 = tws_step_size(config, 2);
    result->loss_samples = twsi_min(config->samples, TWSI_LOSS_SAMPLES);
    result->threads = tws_context_threads(context);
    result->kernel = tws_context_kernel(context);
    memset(&run, 0, sizeof run);
    run.context = context;
    run.config = config;
    run.result = result;
    run.visit = visit;
    run.user = user;
    twsi_pool_open(&pool, context);
    status = twsi_run_memory(&run, &pool, fresh, fresh && reuse);
    if (status == TWS_OK) status = twsi_run_all(&run, &pool, cases, &worst);
    twsi_team_close(&run.team);
    twsi_pool_close(&pool);
    result->seconds_total = twsi_seconds() - start;
    return status != TWS_OK ? status : worst;
}

TWS_API tws_status tws_run(tws_context *context, const tws_config *config, unsigned cases,
                           tws_result *result) {
    return tws_run_visit(context, config, cases, NULL, NULL, result);
}

/* ---- a grid of step exponents ----
 *
 * Every pre-activation of a row of the grid is X W_1' = X W_0' + eta1 X G_0': two products of the
 * seed, kept, and combined element by element. A row costs the product of its G_1, and its cells
 * W_1 + eta2 G_1 are searched for outliers together.
 * How far down to search is known only when the outliers are: the edge comes from the rows without
 * them. A first guess takes out of the rows what lies along W_2' a, W_2' a^2, W_2' a^3 and
 * W_2' (a |a|), where the outliers of the theory are, and if the edge that is then measured turns
 * out lower, the cell is searched again down to there. */

#define TWSI_PHASE_BLOCK 2048 /* samples whose slopes are held at once */
#define TWSI_PHASE_GUESS 4    /* directions of the first guess */
#define TWSI_PHASE_SMALL 128  /* smaller matrices are measured whole */

typedef struct twsi_phase {
    tws_context *context;
    const tws_config *config;
    const tws_sweep_plan *plan;
    twsi_team team;
    int fresh;
    double scale; /* s */
    tws_real *weights0, *gradient0, *readout, *directions;
    tws_real *inputs, *labels; /* of the batch of step two */
    tws_real *base, *shift;    /* N x n: W_0 X', G_0 X' */
    /* a row of the grid */
    double eta1;
    tws_real *weights1, *gradient1;
    tws_real *slopes, *scaled; /* N x block, block x d */
    double *output;            /* block */
    size_t block, start, samples;
    double *square;   /* 3 x N: |w_i|^2, w_i . g_i, |g_i|^2 */
    tws_real *powers; /* GUESS x N: a, a^2, a^3, a |a|, unit length */
    tws_real *back;   /* 2 GUESS x d: powers times W_1, powers times G_1 */
    tws_real *forth;  /* 2 x N x 2 GUESS: W_1 and G_1 times those */
    /* its cells */
    tws_spectrum *cells;
    double *level;
    size_t *pending;
    double *factors, *levels, *values, *left, *right, *residuals;
    tws_svd_result *found;
    double *row_square, *row_variance; /* N each */
    tws_real *small;                   /* N x d: W_2, where it is measured whole; else NULL */
} twsi_phase;

TWSI_FN double twsi_phase_eta(const tws_config *config, int step, double alpha) {
    tws_config c = *config;
    c.alpha1 = c.alpha2 = alpha;
    return tws_step_size(&c, step);
}

TWSI_FN tws_status twsi_phase_exponents(tws_context *context, const char *name,
                                        const double *alpha, size_t count) {
    size_t i;
    for (i = 0; i < count; i++)
        if (!(alpha[i] >= 0.0 && alpha[i] < 0.5))
            return twsi_fail(context, TWS_BAD_ARGUMENT,
                             "plan.%s[%lu] is %.9g, it must be at least 0 and below 0.5", name,
                             (unsigned long)i, alpha[i]);
    return TWS_OK;
}

TWSI_FN tws_status twsi_phase_check(tws_context *context, const tws_config *config,
                                    const tws_sweep_plan *plan) {
    tws_status status = twsi_check_config(context, config);
    if (status != TWS_OK) return status;
    if (context != NULL && context->reduce != NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "context.reduce is set, tws_sweep holds all neurons in one process: it "
                         "must be NULL");
    if (plan == NULL) return twsi_fail(context, TWS_BAD_ARGUMENT, "plan is NULL");
    if (plan->alpha1 == NULL || plan->alpha2 == NULL || plan->report == NULL)
        return twsi_fail(context, TWS_BAD_ARGUMENT, "plan.%s is NULL",
                         plan->alpha1 == NULL   ? "alpha1"
                         : plan->alpha2 == NULL ? "alpha2"
                                                : "report");
    if (plan->rows == 0 || plan->columns == 0)
        return twsi_fail(context, TWS_BAD_ARGUMENT,
                         "plan.rows is %lu and plan.columns is %lu, each must be at least 1",
                         (unsigned long)plan->rows, (unsigned long)plan->columns);
    if (!twsi_fits(plan->rows, plan->columns, sizeof(double)))
        return twsi_fail(context, TWS_TOO_LARGE,
                         "plan.rows is %lu and plan.columns is %lu, so many cells do not fit in "
                         "memory",
                         (unsigned long)plan->rows, (unsigned long)plan->columns);
    status = twsi_phase_exponents(context, "alpha1", plan->alpha1, plan->rows);
    return status != TWS_OK
               ? status
               : twsi_phase_exponents(context, "alpha2", plan->alpha2, plan->columns);
}

TWSI_FN tws_status twsi_phase_memory(twsi_phase *phase, twsi_pool *pool) {
    const tws_config *c = phase->config;
    const size_t real = sizeof(tws_real), row = c->inputs * real;
    const size_t columns = phase->plan->columns, top = c->top;
    phase->block = twsi_min(c->samples, TWSI_PHASE_BLOCK);
    phase->weights0 = (tws_real *)twsi_take(pool, c->neurons, row);
    phase->gradient0 = (tws_real *)twsi_take(pool, c->neurons, row);
    phase->weights1 = (tws_real *)twsi_take(pool, c->neurons, row);
    phase->gradient1 = (tws_real *)twsi_take(pool, c->neurons, row);
    phase->readout = (tws_real *)twsi_take(pool, c->neurons, real);
    phase->directions = (tws_real *)twsi_take(pool, c->target.directions, row);
    phase->inputs = (tws_real *)twsi_take(pool, c->samples, row);
    phase->labels = (tws_real *)twsi_take(pool, c->samples, real);
    phase->base = (tws_real *)twsi_take(pool, c->neurons, c->samples * real);
    phase->shift = (tws_real *)twsi_take(pool, c->neurons, c->samples * real);
    phase->slopes = (tws_real *)twsi_take(pool, c->neurons, phase->block * real);
    phase->scaled = (tws_real *)twsi_take(pool, phase->block, row);
    phase->output = (double *)twsi_take(pool, phase->block, sizeof(double));
    phase->square = (double *)twsi_take(pool, 3 * c->neurons, sizeof(double));
    phase->powers = (tws_real *)twsi_take(pool, TWSI_PHASE_GUESS * c->neurons, real);
    phase->back = (tws_real *)twsi_take(pool, 2 * TWSI_PHASE_GUESS, row);
    phase->forth = (tws_real *)twsi_take(pool, 4 * TWSI_PHASE_GUESS * c->neurons, real);
    phase->cells = (tws_spectrum *)twsi_take(pool, columns, sizeof(tws_spectrum));
    phase->level = (double *)twsi_take(pool, columns, sizeof(double));
    phase->pending = (size_t *)twsi_take(pool, columns, sizeof(size_t));
    phase->factors = (double *)twsi_take(pool, columns, sizeof(double));
    phase->levels = (double *)twsi_take(pool, columns, sizeof(double));
    phase->values = (double *)twsi_take(pool, columns, top * sizeof(double));
    phase->residuals = (double *)twsi_take(pool, columns, top * sizeof(double));
    phase->left = (double *)twsi_take(pool, columns * top, c->neurons * sizeof(double));
    phase->right = (double *)twsi_take(pool, columns * top, c->inputs * sizeof(double));
    phase->found = (tws_svd_result *)twsi_take(pool, columns, sizeof(tws_svd_result));
    phase->row_square = (double *)twsi_take(pool, c->neurons, sizeof(double));
    phase->row_variance = (double *)twsi_take(pool, c->neurons, sizeof(double));
    phase->small = twsi_min(c->neurons, c->inputs) < TWSI_PHASE_SMALL
                       ? (tws_real *)twsi_take(pool, c->neurons, row)
                       : NULL;
    if (pool->status == TWS_OK) return TWS_OK;
    return twsi_fail(phase->context, pool->status,
                     "no memory for a sweep with neurons = %lu, inputs = %lu, samples = %lu, "
                     "plan.columns = %lu: it keeps two matrices of neurons x samples, and top "
                     "vectors of each column",
                     (unsigned long)c->neurons, (unsigned long)c->inputs,
                     (unsigned long)c->samples, (unsigned long)columns);
}

/* a, a^2, a^3, a |a|, each of unit length. */
TWSI_FN void twsi_phase_powers(twsi_phase *phase) {
    const size_t n = phase->config->neurons;
    size_t i, k;
    for (k = 0; k < TWSI_PHASE_GUESS; k++) {
        tws_real *power = phase->powers + k * n;
        double norm = 0.0;
        for (i = 0; i < n; i++) {
            const double a = (double)phase->readout[i] * sqrt((double)n);
            const double x = k == 0 ? a : k == 1 ? a * a : k == 2 ? a * a * a : a * fabs(a);
            power[i] = (tws_real)x;
            norm += x * x;
        }
        twsi_scale(power, norm > 0.0 ? 1.0 / sqrt(norm) : 0.0, n);
    }
}

/* What all rows share: the data, G_0 and the two products with the batch of step two. */
TWSI_FN tws_status twsi_phase_data(twsi_phase *phase) {
    tws_context *context = phase->context;
    const tws_config *c = phase->config;
    tws_network network;
    tws_batch batch;
    tws_status status = tws_make_weights(context, c, 0, c->neurons, phase->weights0);
    if (status == TWS_OK) status = tws_make_readout(context, c, 0, c->neurons, phase->readout);
    if (status == TWS_OK) status = tws_make_directions(context, c, phase->directions);
    if (status == TWS_OK)
        status = tws_make_batch(context, c, phase->directions, 0, phase->inputs, phase->labels);
    network = tws_network_from_config(c, phase->weights0, phase->readout);
    phase->scale = network.output_scale;
    batch.samples = c->samples;
    batch.inputs = phase->inputs;
    batch.labels = phase->labels;
    if (status == TWS_OK)
        status = tws_gradient(context, &network, &batch, phase->gradient0, NULL);
    if (status == TWS_OK && phase->fresh)
        status = tws_make_batch(context, c, phase->directions, 1, phase->inputs, phase->labels);
    if (status == TWS_OK)
        status = tws_gemm(context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, c->neurons, c->samples,
                          c->inputs, 1, phase->weights0, c->inputs, phase->inputs, c->inputs, 0,
                          phase->base, c->samples);
    if (status == TWS_OK)
        status = tws_gemm(context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, c->neurons, c->samples,
                          c->inputs, 1, phase->gradient0, c->inputs, phase->inputs, c->inputs, 0,
                          phase->shift, c->samples);
    if (status == TWS_OK) twsi_phase_powers(phase);
    return status;
}

/* One piece of the columns of a block: pre-activations, output, slopes. */
TWSI_FN void twsi_phase_slopes_task(void *data, size_t index, size_t worker) {
    const twsi_phase *phase = (const twsi_phase *)data;
    const twsi_kernels *kernels = phase->team.kernels;
    const tws_config *c = phase->config;
    const size_t column = index * TWSI_SWEEP_COLUMNS;
    const size_t width = twsi_min(TWSI_SWEEP_COLUMNS, phase->samples - column);
    const tws_real eta = (tws_real)phase->eta1;
    tws_real value[TWSI_SWEEP_COLUMNS], sum[TWSI_SWEEP_COLUMNS];
    double *output = phase->output + column;
    int finite = 1;
    size_t first, i, j;
    (void)worker;
    for (j = 0; j < width; j++) output[j] = 0.0;
    for (first = 0; first < c->neurons; first += TWSI_SWEEP_ROWS) {
        const size_t end = twsi_min(c->neurons, first + TWSI_SWEEP_ROWS);
        for (j = 0; j < width; j++) sum[j] = 0;
        for (i = first; i < end; i++) {
            const size_t place = i * c->samples + phase->start + column;
            tws_real *h = phase->slopes + i * phase->samples + column;
            memcpy(h, phase->base + place, width * sizeof *h);
            kernels->axpy(h, eta, phase->shift + place, width);
            finite &= kernels->largest(h, width) >= 0;
            kernels->activate(&c->activation, h, phase->scale > 0.0 ? value : NULL, h, width);
            if (phase->scale > 0.0) kernels->axpy(sum, phase->readout[i], value, width);
        }
        for (j = 0; j < width; j++) output[j] += (double)sum[j];
    }
    for (j = 0; j < width && !finite; j++) output[j] = HUGE_VAL; /* as in twsi_sweep_task */
}

/* The samples of a block times their residual over n. */
TWSI_FN void twsi_phase_scaled_task(void *data, size_t index, size_t worker) {
    const twsi_phase *phase = (const twsi_phase *)data;
    const size_t inputs = phase->config->inputs, n = phase->config->samples;
    const size_t end = twsi_min(phase->samples, (index + 1) * TWSI_ROW_GROUP);
    size_t j;
    (void)worker;
    for (j = index * TWSI_ROW_GROUP; j < end; j++) {
        const size_t sample = phase->start + j;
        const double residual = (double)phase->labels[sample] - phase->scale * phase->output[j];
        phase->team.kernels->scaled_copy(phase->scaled + j * inputs,
                                         (tws_real)(residual / (double)n),
                                         phase->inputs + sample * inputs, inputs);
    }
}

/* Rows of W_1 and G_1, and their squared lengths. */
TWSI_FN void twsi_phase_rows_task(void *data, size_t index, size_t worker) {
    const twsi_phase *phase = (const twsi_phase *)data;
    const twsi_kernels *kernels = phase->team.kernels;
    const size_t rows = phase->config->neurons, d = phase->config->inputs;
    const size_t end = twsi_min(rows, (index + 1) * TWSI_ROW_GROUP);
    size_t i;
    (void)worker;
    for (i = index * TWSI_ROW_GROUP; i < end; i++) {
        tws_real *w = phase->weights1 + i * d, *g = phase->gradient1 + i * d;
        kernels->scaled_copy(g, phase->readout[i], g, d);
        memcpy(w, phase->weights0 + i * d, d * sizeof *w);
        kernels->axpy(w, (tws_real)phase->eta1, phase->gradient0 + i * d, d);
        phase->square[i] = twsi_dot(w, w, d);
        phase->square[rows + i] = twsi_dot(w, g, d);
        phase->square[2 * rows + i] = twsi_dot(g, g, d);
    }
}

/* powers times W_1 and G_1, and both matrices times what comes out. */
TWSI_FN tws_status twsi_phase_guesses(twsi_phase *phase) {
    const size_t q = TWSI_PHASE_GUESS, n = phase->config->neurons, d = phase->config->inputs;
    tws_status status = TWS_OK;
    int which;
    for (which = 0; which < 2 && status == TWS_OK; which++)
        status = tws_gemm(phase->context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, q, d, n, 1,
                          phase->powers, n, which ? phase->gradient1 : phase->weights1, d, 0,
                          phase->back + (size_t)which * q * d, d);
    for (which = 0; which < 2 && status == TWS_OK; which++)
        status = tws_gemm(phase->context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, n, 2 * q, d, 1,
                          which ? phase->gradient1 : phase->weights1, d, phase->back, d, 0,
                          phase->forth + (size_t)which * n * 2 * q, 2 * q);
    return status;
}

/* W_1 and G_1 of one row of the grid, and what its cells share. */
TWSI_FN tws_status twsi_phase_row(twsi_phase *phase, double alpha1) {
    const tws_config *c = phase->config;
    tws_status status = TWS_OK;
    size_t j;
    phase->eta1 = twsi_phase_eta(c, 1, alpha1);
    for (phase->start = 0; phase->start < c->samples; phase->start += phase->block) {
        phase->samples = twsi_min(phase->block, c->samples - phase->start);
        twsi_run(&phase->team, twsi_ceil_div(phase->samples, TWSI_SWEEP_COLUMNS),
                 twsi_phase_slopes_task, phase);
        for (j = 0; j < phase->samples; j++)
            if (!(phase->output[j] - phase->output[j] <= 0.0))
                return twsi_fail(phase->context, TWS_NOT_FINITE,
                                 "at alpha1 = %.9g the output for sample %lu, or a pre-activation "
                                 "next to it, is not finite: the weights are too large",
                                 alpha1, (unsigned long)(phase->start + j));
        twsi_run(&phase->team, twsi_ceil_div(phase->samples, TWSI_ROW_GROUP),
                 twsi_phase_scaled_task, phase);
        status = tws_gemm(phase->context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, c->neurons,
                          c->inputs, phase->samples, 1, phase->slopes, phase->samples,
                          phase->scaled, c->inputs, phase->start == 0 ? 0 : 1, phase->gradient1,
                          c->inputs);
        if (status != TWS_OK) return status;
    }
    twsi_run(&phase->team, twsi_ceil_div(c->neurons, TWSI_ROW_GROUP), twsi_phase_rows_task, phase);
    status = twsi_require_in_range(&phase->team, "the gradient of step two", phase->gradient1,
                                   c->neurons * c->inputs);
    if (status == TWS_OK)
        status = twsi_require_in_range(&phase->team, "the weights after step one",
                                       phase->weights1, c->neurons * c->inputs);
    return status == TWS_OK ? twsi_phase_guesses(phase) : status;
}

/* ---- one cell ---- */

/* Cholesky factor of the Gram matrix of W_2' p_k = back_k + eta back_(q + k), lower part of gram. A
   direction that adds nothing gets the diagonal 0. */
TWSI_FN void twsi_phase_gram(const twsi_phase *phase, double eta, double *gram) {
    const size_t q = TWSI_PHASE_GUESS, d = phase->config->inputs;
    const tws_real *back = phase->back;
    size_t i, j, k;
    for (i = 0; i < q; i++)
        for (j = 0; j <= i; j++) {
            double sum = 0.0;
            for (k = 0; k < d; k++)
                sum += ((double)back[i * d + k] + eta * (double)back[(q + i) * d + k]) *
                       ((double)back[j * d + k] + eta * (double)back[(q + j) * d + k]);
            gram[i * q + j] = sum;
        }
    for (j = 0; j < q; j++) {
        const double whole = gram[j * q + j];
        double rest = whole;
        for (k = 0; k < j; k++) rest -= gram[j * q + k] * gram[j * q + k];
        gram[j * q + j] = rest > 1e-6 * whole ? sqrt(rest) : 0.0;
        for (i = j + 1; i < q; i++) {
            double sum = gram[i * q + j];
            for (k = 0; k < j; k++) sum -= gram[i * q + k] * gram[j * q + k];
            gram[i * q + j] = gram[j * q + j] > 0.0 ? sum / gram[j * q + j] : 0.0;
        }
    }
}

/* Squared length of the part of row i of W_2 in the space of the guess. */
TWSI_FN double twsi_phase_guessed(const twsi_phase *phase, double eta, const double *gram,
                                  size_t i) {
    const size_t q = TWSI_PHASE_GUESS, n = phase->config->neurons;
    const tws_real *w = phase->forth + i * 2 * q, *g = phase->forth + (n + i) * 2 * q;
    double z[TWSI_PHASE_GUESS] = {0}, square = 0.0;
    size_t j, k;
    for (j = 0; j < q; j++) {
        double x = (double)w[j] + eta * ((double)w[q + j] + (double)g[j] + eta * (double)g[q + j]);
        for (k = 0; k < j; k++) x -= gram[j * q + k] * z[k];
        z[j] = gram[j * q + j] > 0.0 ? x / gram[j * q + j] : 0.0;
        square += z[j] * z[j];
    }
    return square;
}

/* Squared lengths of the rows of W_2. */
TWSI_FN void twsi_phase_squares(const twsi_phase *phase, double eta, double *square) {
    const size_t n = phase->config->neurons;
    const double *s = phase->square;
    size_t i;
    for (i = 0; i < n; i++)
        square[i] = fmax(0.0, s[i] + eta * (2.0 * s[n + i] + eta * s[2 * n + i]));
}

TWSI_FN double twsi_phase_margin(const tws_config *c, double edge) {
    const double rows = (double)c->neurons, inputs = (double)c->inputs;
    return 3.0 * tws_edge_scale(rows, inputs) * edge / tws_bulk_edge(rows, inputs);
}

/* First guess of edge + margin, a little low: where the search of this cell ends. */
TWSI_FN tws_status twsi_phase_level(twsi_phase *phase, double eta, double *level) {
    const tws_config *c = phase->config;
    double gram[TWSI_PHASE_GUESS * TWSI_PHASE_GUESS], edge;
    twsi_rows_spectrum rows;
    tws_status status;
    size_t i;
    twsi_phase_gram(phase, eta, gram);
    twsi_phase_squares(phase, eta, phase->row_square);
    rows.context = phase->context;
    rows.count = c->neurons;
    rows.rows = (double)c->neurons;
    rows.inputs = (double)c->inputs;
    rows.square = phase->row_square;
    rows.variance = phase->row_variance;
    for (i = 0; i < c->neurons; i++)
        phase->row_variance[i] =
            fmax(0.0, phase->row_square[i] - twsi_phase_guessed(phase, eta, gram, i));
    status = twsi_shrink_variances(&rows);
    if (status == TWS_OK) status = twsi_find_edge(&rows, &edge);
    if (status == TWS_OK) *level = edge + twsi_phase_margin(c, edge);
    return status;
}

/* From the triplets above the level to the cell's spectrum. 1 in *again, and a lower level, when
   the edge lies below the level, so that an outlier may hide between them. */
TWSI_FN tws_status twsi_phase_describe(twsi_phase *phase, size_t j, int *again) {
    const tws_config *c = phase->config;
    const size_t column = phase->pending[j], found = phase->found[j].wanted;
    tws_spectrum *cell = &phase->cells[column];
    const size_t passes = cell->passes + phase->found[j].passes;
    double lowest;
    twsi_pool pool;
    tws_status status;
    memset(cell, 0, sizeof *cell);
    cell->top = found;
    cell->passes = passes;
    memcpy(cell->singular_values, phase->values + j * c->top, found * sizeof(double));
    memcpy(cell->residuals, phase->residuals + j * c->top, found * sizeof(double));
    twsi_phase_squares(phase, phase->factors[j], phase->row_square);
    twsi_pool_open(&pool, phase->context);
    status = twsi_describe(phase->context, &pool, phase->row_square, c->neurons, c->inputs,
                           phase->readout, phase->directions, c->target.directions,
                           phase->left + j * c->top * c->neurons,
                           phase->right + j * c->top * c->inputs, cell);
    twsi_pool_close(&pool);
    lowest = cell->edge + cell->margin;
    *again = found < c->top && lowest < phase->level[column] * (1.0 - 1e-12);
    if (*again) phase->level[column] = lowest;
    return status;
}

/* The outliers of the pending cells, searched together. */
TWSI_FN tws_status twsi_phase_search(twsi_phase *phase, size_t pending, tws_status *worst) {
    const tws_config *c = phase->config;
    tws_svd_options options = tws_default_svd_options(c->top);
    tws_status status;
    size_t j;
    options.seed = c->seed;
    for (j = 0; j < pending; j++) {
        const size_t column = phase->pending[j];
        phase->factors[j] = twsi_phase_eta(c, 2, phase->plan->alpha2[column]);
        phase->levels[j] = phase->level[column];
    }
    status = tws_svd_pencil(phase->context, &options, phase->weights1, c->inputs,
                            phase->gradient1, c->inputs, c->neurons, c->inputs, phase->factors,
                            pending, phase->levels, phase->values, phase->left, phase->right,
                            phase->residuals, phase->found);
    if (status == TWS_NOT_CONVERGED) {
        *worst = status;
        status = TWS_OK;
    }
    return status;
}

/* All wanted cells of a row whose W_1 and G_1 are there. */
TWSI_FN tws_status twsi_phase_cells(twsi_phase *phase, size_t row, tws_status *worst) {
    const tws_sweep_plan *plan = phase->plan;
    size_t pending = 0, left, j;
    tws_status status = TWS_OK;
    memset(phase->cells, 0, plan->columns * sizeof *phase->cells);
    for (j = 0; j < plan->columns && status == TWS_OK; j++) {
        if (plan->skip != NULL && plan->skip[row * plan->columns + j]) continue;
        phase->pending[pending++] = j;
        status = twsi_phase_level(phase, twsi_phase_eta(phase->config, 2, plan->alpha2[j]),
                                  &phase->level[j]);
    }
    while (status == TWS_OK && pending > 0) {
        status = twsi_phase_search(phase, pending, worst);
        for (j = left = 0; j < pending && status == TWS_OK; j++) {
            int again;
            status = twsi_phase_describe(phase, j, &again);
            if (again) phase->pending[left++] = phase->pending[j];
        }
        pending = left;
    }
    return status;
}

/* The same for a small matrix, where all of the top values are as quick. */
TWSI_FN tws_status twsi_phase_small_cells(twsi_phase *phase, size_t row, tws_status *worst) {
    const tws_sweep_plan *plan = phase->plan;
    const tws_config *c = phase->config;
    tws_status status = TWS_OK;
    size_t i, j;
    memset(phase->cells, 0, plan->columns * sizeof *phase->cells);
    for (j = 0; j < plan->columns && status == TWS_OK; j++) {
        const tws_real eta = (tws_real)twsi_phase_eta(c, 2, plan->alpha2[j]);
        if (plan->skip != NULL && plan->skip[row * plan->columns + j]) continue;
        for (i = 0; i < c->neurons * c->inputs; i++)
            phase->small[i] = phase->weights1[i] + eta * phase->gradient1[i];
        status = tws_measure(phase->context, phase->small, c->neurons, c->inputs, phase->readout,
                             phase->directions, c->target.directions, c->top, c->seed,
                             &phase->cells[j]);
        if (status == TWS_NOT_CONVERGED) {
            *worst = status;
            status = TWS_OK;
        }
    }
    return status;
}

/* Rows until there are none left. */
TWSI_FN tws_status twsi_phase_rows(twsi_phase *phase, tws_status *worst) {
    const tws_sweep_plan *plan = phase->plan;
    size_t row, turn;
    for (turn = 0;; turn++) {
        tws_status status;
        row = turn;
        if (plan->next == NULL ? turn == plan->rows : !plan->next(plan->user, &row)) return TWS_OK;
        if (row >= plan->rows)
            return twsi_fail(phase->context, TWS_BAD_ARGUMENT,
                             "plan.next asked for row %lu, it must be below plan.rows = %lu",
                             (unsigned long)row, (unsigned long)plan->rows);
        status = twsi_phase_row(phase, plan->alpha1[row]);
        if (status == TWS_OK)
            status = phase->small != NULL ? twsi_phase_small_cells(phase, row, worst)
                                          : twsi_phase_cells(phase, row, worst);
        if (status != TWS_OK) return status;
        if (plan->report(plan->user, row, phase->cells) != 0)
            return twsi_fail(phase->context, TWS_CALLBACK_FAILED,
                             "plan.report ended the sweep after row %lu", (unsigned long)row);
    }
}

TWS_API tws_status tws_sweep(tws_context *context, const tws_config *config,
                             const tws_sweep_plan *plan) {
    tws_status status = twsi_phase_check(context, config, plan), worst = TWS_OK;
    twsi_phase phase;
    twsi_pool pool;
    if (status != TWS_OK) return status;
    memset(&phase, 0, sizeof phase);
    phase.context = context;
    phase.config = config;
    phase.plan = plan;
    phase.fresh = config->batches == TWS_FRESH;
    twsi_pool_open(&pool, context);
    status = twsi_phase_memory(&phase, &pool);
    if (status == TWS_OK)
        status = twsi_team_open_tiles(&phase.team, context,
                                (double)config->neurons * (double)config->samples < 1e5
                                    ? 1
                                    : TWSI_MAX_THREADS);
    if (status == TWS_OK) status = twsi_phase_data(&phase);
    if (status == TWS_OK) status = twsi_phase_rows(&phase, &worst);
    twsi_team_close(&phase.team);
    twsi_pool_close(&pool);
    return status != TWS_OK ? status : worst;
}

#if !defined(__clang__) && defined(__GNUC__) && !defined(__TINYC__)
#pragma GCC pop_options
#elif defined(__clang__)
#pragma STDC FP_CONTRACT DEFAULT
#endif
#undef TWSI_IMPLEMENTING
#endif /* TWOSTEP_IMPLEMENTATION */
