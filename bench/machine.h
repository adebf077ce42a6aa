/* What the machine can do, measured here and now: the peak of fused multiply-adds and the bandwidth
 * of reading memory; and the clock, the median and the filled array that all benches share.
 * Include after twostep.h with TWOSTEP_IMPLEMENTATION: the threads and the clock are its own. */
#ifndef TWOSTEP_BENCH_MACHINE_H
#define TWOSTEP_BENCH_MACHINE_H

#include <stdlib.h>
#include <time.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

/* ---- clock, median, arrays ---- */

static int processor_time; /* 1: count the time of the processor: one thread on a busy machine */

static double bench_seconds(void) {
    return processor_time ? (double)clock() / CLOCKS_PER_SEC : twsi_seconds();
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

TWSI_UNUSED static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof values[0], by_value);
    return values[count / 2];
}

/* Freed memory stays with the process, as the buffers do that other libraries keep: fresh pages can
   cost a virtual machine ten times as long as their first use, and in no two minutes alike. */
TWSI_UNUSED static void keep_memory(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

static double larger(double a, double b) { return a > b ? a : b; }

static void *take(size_t bytes) {
    void *p = malloc(bytes);
    if (p == NULL) {
        fprintf(stderr, "bench: no memory for %lu bytes\n", (unsigned long)bytes);
        exit(1);
    }
    return p;
}

/* Numbers in [-1/2, 1/2). */
TWSI_UNUSED static tws_real *filled(size_t count, uint32_t state) {
    tws_real *p = (tws_real *)take(count * sizeof(tws_real));
    size_t i;
    for (i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (tws_real)((double)(state >> 8) / 16777216.0 - 0.5);
    }
    return p;
}

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

/* Takes a kernel by its name; 0 where this machine does not have it. A name of none ends the program. */
static TWSI_UNUSED int choose_kernel(tws_context *context, const char *name) {
    int kernel;
    for (kernel = 0; kernel < (int)TWS_KERNEL_COUNT; kernel++)
        if (strcmp(name, tws_kernel_name((tws_kernel)kernel)) == 0) {
            context->kernel = (tws_kernel)kernel;
            return tws_kernel_available(context->kernel);
        }
    fprintf(stderr, "no kernel has the name %s\n", name);
    exit(2);
}

/* Operations of one call of a peak loop, and the loop of a kernel; NULL: none is written. */
static peak_loop find_peak(tws_kernel kernel, double *operations) {
    double lanes = 0;
    peak_loop loop = NULL;
#ifdef TWSI_X86
    if (kernel == TWS_KERNEL_AVX512 || kernel == TWS_KERNEL_AMX) loop = peak_avx512, lanes = 64;
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

/* GFLOP/s, the best of some tries of a few milliseconds; 0: no loop is written for the kernel. */
static double measure_peak(tws_context *context, unsigned threads, int tries) {
    peak_job job;
    double operations, best = 0;
    twsi_team team;
    memset(&job, 0, sizeof job);
    job.loop = find_peak(tws_context_kernel(context), &operations);
    if (job.loop == NULL) return 0;
    if (twsi_team_open(&team, context, threads) == TWS_OK) {
        while (tries-- > 0) {
            double seconds = bench_seconds();
            twsi_run(&team, threads, peak_task, &job);
            seconds = bench_seconds() - seconds;
            best = larger(best, operations * threads / seconds);
        }
    }
    twsi_team_close(&team);
    return best * 1e-9;
}

/* ---- bandwidth: each thread sums its part of an array far larger than the caches ---- */

#define READ_COUNT ((size_t)64 << 20) /* 64 M floats: 256 MiB */

typedef struct read_job {
    const float *x;
    size_t part;
    double result[TWSI_MAX_THREADS];
} read_job;

#ifdef TWSI_X86
__attribute__((target("avx2"))) static double read_sum(const float *x, size_t count) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    float out[8];
    size_t i;
    for (i = 0; i + 32 <= count; i += 32) {
        a = _mm256_add_ps(a, _mm256_loadu_ps(x + i)), b = _mm256_add_ps(b, _mm256_loadu_ps(x + i + 8));
        c = _mm256_add_ps(c, _mm256_loadu_ps(x + i + 16));
        d = _mm256_add_ps(d, _mm256_loadu_ps(x + i + 24));
    }
    _mm256_storeu_ps(out, _mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    return (double)out[0];
}
#else
static double read_sum(const float *x, size_t count) {
    float s[32] = {0};
    size_t i, j;
    for (i = 0; i + 32 <= count; i += 32)
        for (j = 0; j < 32; j++) s[j] += x[i + j];
    for (j = 1; j < 32; j++) s[0] += s[j];
    return (double)s[0];
}
#endif

static void read_task(void *data, size_t index, size_t worker) {
    read_job *job = (read_job *)data;
    (void)worker;
    job->result[index] = read_sum(job->x + index * job->part, job->part);
}

/* GB/s, the best of some tries. */
TWSI_UNUSED static double measure_bandwidth(tws_context *context, unsigned threads, int tries) {
    read_job job;
    float *x = (float *)take(READ_COUNT * sizeof(float));
    double best = 0;
    twsi_team team;
    size_t i;
    for (i = 0; i < READ_COUNT; i++) x[i] = (float)(i & 7);
    memset(&job, 0, sizeof job);
    job.x = x;
    job.part = READ_COUNT / threads;
    if (twsi_team_open(&team, context, threads) == TWS_OK)
        while (tries-- > 0) {
            double seconds = bench_seconds();
            twsi_run(&team, threads, read_task, &job);
            seconds = bench_seconds() - seconds;
            best = larger(best, (double)(READ_COUNT * sizeof(float)) / seconds);
        }
    twsi_team_close(&team);
    free(x);
    return best * 1e-9;
}

#endif /* TWOSTEP_BENCH_MACHINE_H */
