/* Matrix product beside the peak of fused multiply-adds, both measured here and now.
 *
 *   cc -std=c99 -O2 -I.. gemm.c -o gemm -lm
 *   ./gemm [--kernel NAME] [--threads T] [--runs R] [SIZE | MxNxK] ...
 *
 * Prints GFLOP/s as the median of R runs (default 5) for NN, NT and TN, and the ratio to the peak
 * of the same number of threads, which is measured before each size. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include <stdlib.h>

/* ---- peak: independent fused multiply-adds in registers ---- */

#define CHAINS 12 /* latency 4, two per cycle, and some to spare */
#define ROUNDS 2000000

typedef double (*peak_loop)(void); /* returns something of the result so that nothing is dropped */

#ifdef TWSI_X86
#define PEAK_LOOP(name, target_text, vector, set, fma)                                             \
    __attribute__((target(target_text))) static double name(void) {                                \
        vector v0 = set(1), v1 = set(2), v2 = set(3), v3 = set(4), v4 = set(5), v5 = set(6);       \
        vector v6 = set(7), v7 = set(8), v8 = set(9), v9 = set(10), v10 = set(11);                 \
        vector v11 = set(12); /* all different, or the compiler keeps one chain */                 \
        const vector x = set((tws_real)0.5), y = set((tws_real)0.25);                              \
        tws_real out[16];                                                                          \
        long i;                                                                                    \
        for (i = 0; i < ROUNDS; i++) {                                                             \
            v0 = fma(v0, x, y), v1 = fma(v1, x, y), v2 = fma(v2, x, y), v3 = fma(v3, x, y);        \
            v4 = fma(v4, x, y), v5 = fma(v5, x, y), v6 = fma(v6, x, y), v7 = fma(v7, x, y);        \
            v8 = fma(v8, x, y), v9 = fma(v9, x, y), v10 = fma(v10, x, y);                          \
            v11 = fma(v11, x, y);                                                                  \
        }                                                                                          \
        v0 = v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7 + v8 + v9 + v10 + v11;                          \
        memcpy(out, &v0, sizeof v0);                                                               \
        return (double)out[0];                                                                     \
    }
#define MUL_ADD(a, b, c) ((a) * (b) + (c))
#ifdef TWOSTEP_DOUBLE
PEAK_LOOP(peak_avx512, "avx512f", __m512d, _mm512_set1_pd, _mm512_fmadd_pd)
PEAK_LOOP(peak_avx2, "avx2,fma", __m256d, _mm256_set1_pd, _mm256_fmadd_pd)
PEAK_LOOP(peak_sse2, "sse2", __m128d, _mm_set1_pd, MUL_ADD)
#else
PEAK_LOOP(peak_avx512, "avx512f", __m512, _mm512_set1_ps, _mm512_fmadd_ps)
PEAK_LOOP(peak_avx2, "avx2,fma", __m256, _mm256_set1_ps, _mm256_fmadd_ps)
PEAK_LOOP(peak_sse2, "sse2", __m128, _mm_set1_ps, MUL_ADD)
#endif
#endif
#ifdef TWSI_NEON
static double peak_neon(void) {
#ifdef TWOSTEP_DOUBLE
    typedef float64x2_t vector;
#define NEON_FMA(v) v = vfmaq_f64(y, v, x)
    const vector x = vdupq_n_f64(0.5), y = vdupq_n_f64(0.25);
#else
    typedef float32x4_t vector;
#define NEON_FMA(v) v = vfmaq_f32(y, v, x)
    const vector x = vdupq_n_f32(0.5f), y = vdupq_n_f32(0.25f);
#endif
    vector v0 = x, v1 = v0 + x, v2 = v1 + x, v3 = v2 + x, v4 = v3 + x, v5 = v4 + x, v6 = v5 + x;
    vector v7 = v6 + x, v8 = v7 + x, v9 = v8 + x, v10 = v9 + x, v11 = v10 + x, v12 = v11 + x;
    vector v13 = v12 + x, v14 = v13 + x, v15 = v14 + x;
    tws_real out[4];
    long i;
    for (i = 0; i < ROUNDS * CHAINS / 16; i++) {
        NEON_FMA(v0), NEON_FMA(v1), NEON_FMA(v2), NEON_FMA(v3);
        NEON_FMA(v4), NEON_FMA(v5), NEON_FMA(v6), NEON_FMA(v7);
        NEON_FMA(v8), NEON_FMA(v9), NEON_FMA(v10), NEON_FMA(v11);
        NEON_FMA(v12), NEON_FMA(v13), NEON_FMA(v14), NEON_FMA(v15);
    }
    v0 = v0 + v1 + v2 + v3 + v4 + v5 + v6 + v7 + v8 + v9 + v10 + v11 + v12 + v13 + v14 + v15;
    memcpy(out, &v0, sizeof v0);
    return (double)out[0];
}
#endif

/* Operations of one call of a peak loop, and the loop of a kernel; NULL: none is written. */
static peak_loop find_peak(tws_kernel kernel, double *operations) {
    double lanes = 0;
    peak_loop loop = NULL;
#ifdef TWSI_X86
    if (kernel == TWS_KERNEL_AVX512) loop = peak_avx512, lanes = 64;
    if (kernel == TWS_KERNEL_AVX2) loop = peak_avx2, lanes = 32;
    if (kernel == TWS_KERNEL_SSE2) loop = peak_sse2, lanes = 16;
#endif
#ifdef TWSI_NEON
    if (kernel == TWS_KERNEL_NEON) loop = peak_neon, lanes = 16;
#endif
    *operations = 2.0 * CHAINS * ROUNDS * lanes / (double)sizeof(tws_real);
    return loop;
}

typedef struct peak_job {
    peak_loop loop;
    double result[TWSI_MAX_THREADS];
} peak_job;

static void peak_task(void *data, size_t index, size_t worker) {
    peak_job *job = (peak_job *)data;
    (void)worker;
    job->result[index] = job->loop();
}

static double best_peak(tws_context *context, unsigned threads) {
    peak_job job;
    double operations, best = 0;
    int run;
    twsi_team team;
    memset(&job, 0, sizeof job);
    job.loop = find_peak(tws_context_kernel(context), &operations);
    if (job.loop == NULL) return 0;
    if (twsi_team_open(&team, context, threads) == TWS_OK) {
        for (run = 0; run < 9; run++) {
            double seconds = twsi_seconds();
            twsi_run(&team, threads, peak_task, &job);
            seconds = twsi_seconds() - seconds;
            if (operations * threads / seconds > best) best = operations * threads / seconds;
        }
    }
    twsi_team_close(&team);
    return best * 1e-9;
}

/* ---- products ---- */

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static tws_real *filled(size_t count) {
    tws_real *p = (tws_real *)malloc(count * sizeof(tws_real));
    uint32_t state = 1;
    size_t i;
    if (p == NULL) {
        fprintf(stderr, "gemm: no memory for %lu numbers\n", (unsigned long)count);
        exit(1);
    }
    for (i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (tws_real)((double)(state >> 8) / 16777216.0 - 0.5);
    }
    return p;
}

/* Median GFLOP/s. Short products are repeated within a run until it lasts 20 ms. */
static double speed(tws_context *context, int ta, int tb, size_t m, size_t n, size_t k, int runs) {
    tws_real *a = filled(m * k), *b = filled(k * n), *c = filled(m * n);
    const double operations = 2.0 * (double)m * (double)n * (double)k;
    double seconds[99];
    long repeats = 1, i;
    int run = -1; /* the first run warms up and finds the number of repeats */
    while (run < runs) {
        double start = twsi_seconds(), time;
        for (i = 0; i < repeats; i++)
            if (tws_gemm(context, ta ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE,
                         tb ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE, m, n, k, 1, a, ta ? m : k, b,
                         tb ? k : n, 0, c, n) != TWS_OK) {
                fprintf(stderr, "gemm: %s\n", context->message);
                exit(1);
            }
        time = twsi_seconds() - start;
        if (run < 0 && time < 0.02) {
            repeats *= 2;
            continue;
        }
        if (run >= 0) seconds[run] = time / (double)repeats;
        run++;
    }
    qsort(seconds, (size_t)runs, sizeof seconds[0], by_value);
    free(a);
    free(b);
    free(c);
    return operations / seconds[runs / 2] * 1e-9;
}

static void line(tws_context *context, size_t m, size_t n, size_t k, int runs) {
    const double peak = best_peak(context, tws_context_threads(context));
    const double nn = speed(context, 0, 0, m, n, k, runs), nt = speed(context, 0, 1, m, n, k, runs);
    const double tn = speed(context, 1, 0, m, n, k, runs);
    char shape[64];
    snprintf(shape, sizeof shape, "%lux%lux%lu", (unsigned long)m, (unsigned long)n,
             (unsigned long)k);
    printf("%-8s %2u %-18s %7.1f", tws_kernel_name(tws_context_kernel(context)),
           tws_context_threads(context), shape, peak);
    printf("   %7.1f %5.3f   %7.1f %5.3f   %7.1f %5.3f\n", nn, peak > 0 ? nn / peak : 0, nt,
           peak > 0 ? nt / peak : 0, tn, peak > 0 ? tn / peak : 0);
    fflush(stdout);
}

static tws_kernel kernel_named(const char *name) {
    int kernel;
    for (kernel = 0; kernel < (int)TWS_KERNEL_COUNT; kernel++)
        if (strcmp(name, tws_kernel_name((tws_kernel)kernel)) == 0) return (tws_kernel)kernel;
    fprintf(stderr, "gemm: no kernel has the name %s\n", name);
    exit(1);
}

int main(int count, char **argument) {
    tws_context context = tws_default_context();
    int i, runs = 5, sizes = 0;
    printf("kernel    T  m x n x k             peak        NN ratio        NT ratio        TN "
           "ratio   (GFLOP/s, %s)\n",
           sizeof(tws_real) == 4 ? "float" : "double");
    for (i = 1; i < count; i++) {
        unsigned long m = 0, n = 0, k = 0;
        int found;
        if (strcmp(argument[i], "--kernel") == 0 && i + 1 < count) {
            context.kernel = kernel_named(argument[++i]);
            continue;
        }
        if (strcmp(argument[i], "--threads") == 0 && i + 1 < count) {
            context.threads = (unsigned)atoi(argument[++i]);
            continue;
        }
        if (strcmp(argument[i], "--runs") == 0 && i + 1 < count) {
            runs = atoi(argument[++i]);
            runs = runs < 1 ? 1 : runs > 99 ? 99 : runs;
            continue;
        }
        found = sscanf(argument[i], "%lux%lux%lu", &m, &n, &k);
        if (found == 1) n = k = m;
        if ((found != 1 && found != 3) || m == 0 || n == 0 || k == 0) {
            fprintf(stderr, "gemm: cannot read the size %s\n", argument[i]);
            return 1;
        }
        line(&context, m, n, k, runs);
        sizes++;
    }
    if (sizes == 0) {
        static const size_t usual[] = {64, 256, 1024, 2048, 4096};
        for (i = 0; i < 5; i++) line(&context, usual[i], usual[i], usual[i], runs);
    }
    return 0;
}
