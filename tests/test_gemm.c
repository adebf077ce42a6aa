/* The matrix product against a triple loop in double precision: every kernel of this machine, every
   edge of the register tile, the block sizes, transposes, leading dimensions, special alpha and
   beta, NaN where nothing may be read, guards where nothing may be written, thread counts, bad
   arguments, failing allocations. -DTEST_QUICK, for emulated machines: no products above 700. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "check.h"
#include "failing.h"
#include "spread.h"

#define GUARD ((tws_real)12345.25)

static uint32_t state = 1;

static tws_real random_real(void) {
    state = state * 1664525u + 1013904223u;
    return (tws_real)((double)(state >> 8) / 16777216.0 - 0.5);
}

static tws_real *make(size_t count) {
    tws_real *p = (tws_real *)malloc((count + 1) * sizeof(tws_real));
    if (p == NULL) exit(2);
    return p;
}

typedef struct problem {
    int ta, tb;
    size_t m, n, k, pad; /* pad: how much the leading dimensions exceed the rows */
    tws_real alpha, beta;
    int nan_c; /* beta == 0: C holds NaN before */
} problem;

/* Whether the packed product has the same bits; small ones are formed without packing. */
static int same_when_packed(tws_context *context, const problem *q, const tws_real *a, size_t lda,
                            const tws_real *b, size_t ldb, const tws_real *old, const tws_real *c,
                            size_t ldc) {
    tws_real *packed = (tws_real *)malloc((q->m * q->n + 1) * sizeof *packed);
    twsi_team team;
    twsi_pool pool;
    size_t i, j;
    int ok = packed != NULL && twsi_team_open(&team, context, 1) == TWS_OK;
    if (!ok) return 0;
    twsi_pool_open(&pool, context);
    memcpy(packed, old, q->m * q->n * sizeof *packed);
    if (twsi_gemm(&team, &pool, q->ta ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE,
                  q->tb ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE, q->m, q->n, q->k, q->alpha, a, lda, b,
                  ldb, q->beta, packed, q->n) != TWS_OK)
        ok = 0;
    for (i = 0; i < q->m; i++)
        for (j = 0; j < q->n; j++)
            if (memcmp(&packed[i * q->n + j], &c[i * ldc + j], sizeof *packed) != 0) ok = 0;
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    free(packed);
    return ok;
}


/* Runs one product and checks each entry and each guard; 1 when all is right. */
static int right(tws_context *context, const problem *q) {
    const size_t lda = (q->ta ? q->m : q->k) + q->pad, ldb = (q->tb ? q->k : q->n) + q->pad;
    const size_t ldc = q->n + q->pad, border = 8;
    const size_t a_rows = q->ta ? q->k : q->m, b_rows = q->tb ? q->n : q->k;
    const double epsilon = sizeof(tws_real) == 4 ? FLT_EPSILON : DBL_EPSILON;
    tws_real *a = make(a_rows * lda), *b = make(b_rows * ldb);
    tws_real *c = make(q->m * ldc + 2 * border), *old = make(q->m * q->n);
    size_t i, j, p;
    int ok = 1;
    for (i = 0; i < a_rows * lda; i++)
        a[i] = i % lda < lda - q->pad ? random_real() : (tws_real)NAN;
    for (i = 0; i < b_rows * ldb; i++)
        b[i] = i % ldb < ldb - q->pad ? random_real() : (tws_real)NAN;
    for (i = 0; i < q->m * ldc + 2 * border; i++) c[i] = GUARD;
    for (i = 0; i < q->m; i++) {
        for (j = 0; j < q->n; j++) {
            old[i * q->n + j] = random_real();
            c[border + i * ldc + j] = q->nan_c ? (tws_real)NAN : old[i * q->n + j];
        }
    }
    if (tws_gemm(context, q->ta ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE,
                 q->tb ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE, q->m, q->n, q->k, q->alpha, a, lda, b,
                 ldb, q->beta, c + border, ldc) != TWS_OK)
        ok = 0;
    if (!same_when_packed(context, q, a, lda, b, ldb, old, c + border, ldc)) ok = 0;
    for (i = 0; i < q->m; i++) {
        for (j = 0; j < q->n; j++) {
            double sum = 0, size = 0, previous = (double)q->beta * (double)old[i * q->n + j], error;
            for (p = 0; p < q->k; p++) {
                const double term = (double)(q->ta ? a[p * lda + i] : a[i * lda + p]) *
                                    (double)(q->tb ? b[j * ldb + p] : b[p * ldb + j]);
                sum += term;
                size += fabs(term);
            }
            error = fabs((double)c[border + i * ldc + j] - ((double)q->alpha * sum + previous));
            if (!(error <=
                  4 * epsilon *
                      ((double)(q->k + 1) * fabs((double)q->alpha) * size + fabs(previous))))
                ok = 0;
            c[border + i * ldc + j] = GUARD;
        }
    }
    for (i = 0; i < q->m * ldc + 2 * border; i++)
        if (c[i] != GUARD) ok = 0;
    if (!ok)
        fprintf(
            stderr,
            "%s, %u threads: wrong for ta %d tb %d m %lu n %lu k %lu pad %lu alpha %g beta %g\n",
            tws_kernel_name(context->kernel), context->threads, q->ta, q->tb, (unsigned long)q->m,
            (unsigned long)q->n, (unsigned long)q->k, (unsigned long)q->pad, (double)q->alpha,
            (double)q->beta);
    free(a);
    free(b);
    free(c);
    free(old);
    return ok;
}

/* A problem whose transposes, padding, alpha and beta cycle with the running number. */
static problem cycled(size_t m, size_t n, size_t k) {
    static const tws_real factor[4] = {1, 0, -1, (tws_real)0.5};
    static unsigned number = 0;
    problem q;
    number++;
    q.ta = (int)(number & 1);
    q.tb = (int)(number >> 1 & 1);
    q.m = m;
    q.n = n;
    q.k = k;
    q.pad = number % 5 == 0 ? 0 : number % 5 * 2 - 1;
    q.alpha = number % 11 == 0 ? 0 : factor[number % 3 == 0 ? 2 : number % 7 == 0 ? 3 : 0];
    q.beta = factor[(number >> 2) % 4];
    q.nan_c = q.beta == 0;
    return q;
}

/* Every height and width up to two tiles, for a few depths. */
static void test_tiles(tws_context *context, const twsi_kernels *kernels) {
    static const size_t depth[] = {0, 1, 2, 3, 7, 17};
    size_t m, n, k;
    int ok = 1;
    for (m = 0; m <= 2 * kernels->gemm_rows + 1; m++) {
        for (n = 0; n <= 2 * kernels->gemm_columns + 1; n++) {
            for (k = 0; k < sizeof depth / sizeof depth[0]; k++) {
                const problem q = cycled(m, n, depth[k]);
                ok &= right(context, &q);
            }
        }
    }
    CHECK(ok);
}

/* Depths through two cache blocks, each with all four transposes. */
static void test_depths(tws_context *context, const twsi_kernels *kernels) {
    const size_t block = kernels->gemm_depth;
    size_t k, i;
    int ok = 1;
    for (k = 0; k <= 2 * block + 1; k += k + 2 >= block && k <= block + 1 ? 1 : 13) {
        for (i = 0; i < 4; i++) {
            const problem q = cycled(kernels->gemm_rows + 1, kernels->gemm_columns - 1, k);
            ok &= right(context, &q);
        }
    }
    for (i = 0; i < 3; i++) {
        problem q = cycled(5, 9, block - 1 + i);
        ok &= right(context, &q);
        q = cycled(5, 9, 2 * block - 1 + i);
        ok &= right(context, &q);
    }
    CHECK(ok);
}

/* Heights and widths around the blocks of cache, task, packing and outer loop. */
static void test_blocks(tws_context *context, const twsi_kernels *kernels) {
    size_t size[6], s, i;
    int ok = 1;
    size[0] = TWSI_GEMM_TASK_ROWS;
    size[1] = kernels->gemm_block_columns;
    size[2] = 2 * kernels->gemm_block_columns;
    size[3] = TWSI_GEMM_PACK_GROUP;
    size[4] = TWSI_GEMM_PACKED_ROWS;
    size[5] = TWSI_GEMM_PACKED_COLUMNS;
    for (s = 0; s < 6; s++) {
        for (i = 0; i < 3; i++) {
            problem q = cycled(size[s] - 1 + i, 3, 5);
            ok &= right(context, &q);
            q = cycled(3, size[s] - 1 + i, 5);
            ok &= right(context, &q);
        }
    }
    CHECK(ok);
}

/* All transposes with all of alpha and beta, larger than one block of rows. */
static void test_factors(tws_context *context, const twsi_kernels *kernels) {
    static const tws_real factor[4] = {0, 1, -1, (tws_real)0.5};
    size_t i;
    int ok = 1;
    for (i = 0; i < 64; i++) {
        problem q = cycled(TWSI_GEMM_TASK_ROWS + 3, kernels->gemm_columns * 2 + 5, 19);
        q.ta = (int)(i & 1);
        q.tb = (int)(i >> 1 & 1);
        q.alpha = factor[i >> 2 & 3];
        q.beta = factor[i >> 4];
        q.nan_c = q.beta == 0;
        ok &= right(context, &q);
    }
    CHECK(ok);
}

#define N TWS_NO_TRANSPOSE
#define T TWS_TRANSPOSE

/* With lower, the entries on and below the diagonal are the bits of the whole product. */
static int same_below(twsi_team *team, twsi_pool *pool, tws_transpose ta, tws_transpose tb,
                      size_t m, size_t k) {
    const twsi_gemm_buffers buffers = twsi_gemm_prepare(team, pool, m, m, k);
    tws_real *a = make(m * k), *b = make(k * m), *all = make(m * m), *half = make(m * m);
    size_t i;
    int ok = pool->status == TWS_OK;
    for (i = 0; i < m * k; i++) a[i] = (tws_real)((double)(i * 7919 % 1009) / 1009 - 0.5);
    for (i = 0; i < m * k; i++) b[i] = (tws_real)((double)(i * 104729 % 997) / 997 - 0.5);
    for (i = 0; i < m * m; i++) all[i] = half[i] = (tws_real)(i % 13);
    if (ok) {
        twsi_gemm_part(team, &buffers, 0, ta, tb, m, m, k, 1, a, ta ? m : k, b, tb ? k : m, -1, all,
                       m);
        twsi_gemm_part(team, &buffers, 1, ta, tb, m, m, k, 1, a, ta ? m : k, b, tb ? k : m, -1,
                       half, m);
    }
    for (i = 0; i < m; i++) ok &= memcmp(all + i * m, half + i * m, (i + 1) * sizeof *all) == 0;
    if (m > 1000) { /* ... and most of those above are left out */
        size_t left = 0, j;
        for (i = 0; i < m; i++)
            for (j = i + 1; j < m; j++) left += half[i * m + j] == (tws_real)((i * m + j) % 13);
        ok &= (double)left > 0.9 * 0.5 * (double)(m * (m - 1));
    }
    free(a);
    free(b);
    free(all);
    free(half);
    return ok;
}

static void test_lower(tws_context *context) {
    const size_t sizes[] = {1,   7,   8,   23,  24,  25,   47,
                            100, 191, 193, 265, 511, 1001, TWSI_GEMM_PACKED_ROWS + 30};
    size_t s;
    twsi_team team;
    twsi_pool pool;
    CHECK(twsi_team_open(&team, context, TWSI_MAX_THREADS) == TWS_OK);
    for (s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        twsi_pool_open(&pool, context);
        CHECK(same_below(&team, &pool, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, sizes[s], 5 + s));
        CHECK(same_below(&team, &pool, TWS_TRANSPOSE, TWS_NO_TRANSPOSE, sizes[s], 19));
        twsi_pool_close(&pool);
    }
    twsi_team_close(&team);
}

/* The same numbers from 1 to most levels: small whole numbers leave no rounding. */
static int strassen_exact(tws_context *context, int way, int most, size_t m, size_t n, size_t k) {
    const tws_transpose ta = way & 1 ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
    const tws_transpose tb = way & 2 ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
    const size_t lda = ta ? m : k, ldb = tb ? k : n, ldc = n + 1;
    tws_real *a = make(m * k), *b = make(k * n), *c = make(m * ldc), *d = make(m * n);
    int levels, ok;
    size_t i;
    for (i = 0; i < m * k; i++) a[i] = (tws_real)((int)(i * 7919 % 10007 % 5) - 2);
    for (i = 0; i < k * n; i++) b[i] = (tws_real)((int)(i * 104729 % 9973 % 5) - 2);
    ok = tws_gemm(context, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, d, n) == TWS_OK;
    for (levels = 1; levels <= most; levels++) {
        for (i = 0; i < m * ldc; i++) c[i] = (tws_real)NAN;
        ok &= tws_gemm_strassen(context, levels, ta, tb, m, n, k, a, lda, b, ldb, c, ldc) == TWS_OK;
        for (i = 0; i < m * n; i++) ok &= c[i / n * ldc + i % n] == d[i];
        for (i = 0; i < m; i++) ok &= c[i * ldc + n] != c[i * ldc + n];
    }
    free(a);
    free(b);
    free(c);
    free(d);
    return ok;
}

/* Of any numbers the error is a few roundings beside the norms, and the bits are those of one
   thread. */
static int strassen_near(tws_context *context, size_t m, size_t n, size_t k) {
    const double eps = sizeof(tws_real) == sizeof(float) ? FLT_EPSILON : DBL_EPSILON;
    const unsigned threads = context->threads;
    tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n), *d = make(m * n);
    double off = 0, all = 0;
    size_t i;
    int ok = tws_random_matrix(context, 1, TWS_FOR_USER, 0, m, k, a, k) == TWS_OK;
    ok &= tws_random_matrix(context, 2, TWS_FOR_USER, 0, k, n, b, n) == TWS_OK;
    ok &= tws_gemm(context, N, N, m, n, k, 1, a, k, b, n, 0, d, n) == TWS_OK;
    ok &= tws_gemm_strassen(context, 1, N, N, m, n, k, a, k, b, n, c, n) == TWS_OK;
    for (i = 0; i < m * n; i++) {
        off += ((double)c[i] - (double)d[i]) * ((double)c[i] - (double)d[i]);
        all += (double)d[i] * (double)d[i];
    }
    ok &= off > 0 && sqrt(off / all) < 40 * eps;
    context->threads = 1;
    ok &= tws_gemm_strassen(context, 1, N, N, m, n, k, a, k, b, n, d, n) == TWS_OK;
    ok &= memcmp(c, d, m * n * sizeof *c) == 0;
    context->threads = threads;
    free(a);
    free(b);
    free(c);
    free(d);
    return ok;
}

static void test_strassen(tws_context *context) {
    int way;
    for (way = 0; way < 4; way++) CHECK(strassen_exact(context, way, 1, 512, 513, 515));
    CHECK(strassen_exact(context, 1, 2, 300, 700, 600)); /* too low for a second level, or a first */
    CHECK(strassen_near(context, 514, 600, 521));
#ifndef TEST_QUICK
    if (tws_context_kernel(context) == TWS_KERNEL_PLAIN) return; /* slow */
    for (way = 0; way < 4; way++) CHECK(strassen_exact(context, way, 2, 1031, 1030, 1027));
    CHECK(strassen_exact(context, 3, 3, 2051, 2050, 2049));
#endif
}

/* NaN and infinity stay in their row and column, whatever the padding of the tiles. */
static void test_not_finite(tws_context *context, const twsi_kernels *kernels) {
    const size_t m = kernels->gemm_rows + 1, n = kernels->gemm_columns + 1, k = 5;
    tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n);
    size_t i, j;
    int ok = 1;
    for (i = 0; i < m * k; i++) a[i] = 1;
    for (i = 0; i < k * n; i++) b[i] = 1;
    a[(m - 1) * k + 2] = (tws_real)NAN;
    b[3 * n + n - 1] = (tws_real)INFINITY;
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, m, n, k, 1, a, k, b, n, 0, c, n) ==
          TWS_OK);
    for (i = 0; i < m; i++)
        for (j = 0; j < n; j++)
            ok &= i == m - 1   ? c[i * n + j] != c[i * n + j]
                  : j == n - 1 ? c[i * n + j] > 1e30
                               : c[i * n + j] == (tws_real)k;
    CHECK(ok);
    /* alpha == 0 and k == 0 never read A and B */
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, m, n, k, 0, NULL, k, NULL, n, 0, c,
                   n) == TWS_OK);
    CHECK(c[0] == 0 && c[m * n - 1] == 0);
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, m, n, 0, 1, NULL, 0, NULL, n, 1, c,
                   n) == TWS_OK);
    CHECK(c[0] == 0 && c[m * n - 1] == 0);
    free(a);
    free(b);
    free(c);
}

/* The errors look like those of sums of floats, each rounded: none of the parts of a number is lost. */
static void test_rounding(tws_context *context) {
    enum { M = 65, K = 301 };
    tws_real *a = make(M * K), *b = make(M * K), *c = make(M * M);
    double errors = 0, sizes = 0;
    size_t i, j, p;
    for (i = 0; i < M * K; i++) a[i] = random_real(), b[i] = random_real();
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, M, M, K, 1, a, K, b, K, 0, c, M) == TWS_OK);
    for (i = 0; i < M; i++)
        for (j = 0; j < M; j++) {
            double want = 0, size = 0;
            for (p = 0; p < K; p++) {
                want += (double)a[i * K + p] * (double)b[j * K + p];
                size += fabs((double)a[i * K + p] * (double)b[j * K + p]);
            }
            errors += ((double)c[i * M + j] - want) * ((double)c[i * M + j] - want);
            sizes += size * size;
        }
    if (sizeof(tws_real) == sizeof(float)) CHECK_NEAR(sqrt(errors / sizes), 0, 0.4 * FLT_EPSILON);
    free(a);
    free(b);
    free(c);
}

/* Numbers that a kernel does not hold for, if there are such: from their block on, the product is
   that of the kernel which stands in. Depths are the same, so the bits can be compared. */
static void test_instead(tws_context *context, const twsi_kernels *kernels) {
    enum { M = 65, WIDTH = 70 };
    static const struct { double a, b; int unsuited; } odd[] = {
        {INFINITY, 1, 1}, {1, NAN, 1}, {1e30, 1e30, 1}, {1e-32, 1, 1}, {1, -1e-39, 1}, {1e-20, 1e-20, 1},
        {-1e-25, 1, 0}, {1, 1e-20, 0}, {1e20, 1e-15, 0}, {-0.0, 0, 0}};
    const size_t depth = kernels->gemm_depth, k = 3 * depth;
    const tws_kernel kernel = context->kernel;
    const unsigned threads = context->threads;
    tws_real *a, *b, *c, *d;
    size_t i, j, p, which, block;
    if (kernels->gemm_instead == NULL) return;
    CHECK(kernels->gemm_instead->gemm_instead == NULL && kernels->gemm_instead->gemm_depth == depth);
    a = make(M * k), b = make(k * WIDTH), c = make(M * WIDTH), d = make(M * WIDTH);
    for (which = 0; which < sizeof odd / sizeof *odd; which++)
        for (block = 0; block < 3; block++) {
            size_t wrong = 0;
            int same;
            for (i = 0; i < M * k; i++) a[i] = (tws_real)(random_real() < 0 ? -0.7 : 0.3);
            for (i = 0; i < k * WIDTH; i++) b[i] = (tws_real)(random_real() < 0 ? -0.1 : 1.1);
            a[(M - 1) * k + block * depth + 3] = (tws_real)odd[which].a;
            b[(block * depth + depth - 1) * WIDTH + WIDTH - 2] = (tws_real)odd[which].b;
            CHECK(tws_gemm(context, N, N, M, WIDTH, k, 1, a, k, b, WIDTH, 0, c, WIDTH) == TWS_OK);
            context->threads = 4 - threads;
            CHECK(tws_gemm(context, N, N, M, WIDTH, k, 1, a, k, b, WIDTH, 0, d, WIDTH) == TWS_OK);
            CHECK(memcmp(c, d, M * WIDTH * sizeof *c) == 0);
            context->threads = threads;
            context->kernel = kernels->gemm_instead->kernel;
            CHECK(tws_gemm(context, N, N, M, WIDTH, k, 1, a, k, b, WIDTH, 0, d, WIDTH) == TWS_OK);
            context->kernel = kernel;
            same = memcmp(c, d, M * WIDTH * sizeof *c) == 0;
            CHECK(same == (odd[which].unsuited && block == 0)); /* else sums in another order */
            for (i = 0; i < M; i++)
                for (j = 0; j < WIDTH; j++) {
                    double want = 0, size = 0;
                    const double got = (double)c[i * WIDTH + j];
                    for (p = 0; p < k; p++) {
                        want += (double)a[i * k + p] * (double)b[p * WIDTH + j];
                        size += fabs((double)a[i * k + p] * (double)b[p * WIDTH + j]);
                    }
                    if (fabs(want) <= FLT_MAX) wrong += !(fabs(got - want) <= (double)k * FLT_EPSILON * size);
                    else wrong += want != want ? got == got : !(got - want != got - want && (got < 0) == (want < 0));
                }
            CHECK(wrong == 0);
        }
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Workers that are kept make no difference in the results, and the context is as before in the end. */
static void test_kept_workers(tws_context *context) {
    static const size_t sizes[][3] = {{64, 64, 64}, {97, 83, 131}, {200, 61, 211}, {31, 251, 300}, {256, 256, 256}, {300, 300, 700}};
    const unsigned threads = context->threads;
    size_t i, which;
    int way;
    unsigned t, have;
    for (which = 0; which < sizeof sizes / sizeof *sizes; which++) {
        const size_t m = sizes[which][0], n = sizes[which][1], k = sizes[which][2];
        tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n), *d = make(m * n);
        for (i = 0; i < m * k; i++) a[i] = random_real();
        for (i = 0; i < k * n; i++) b[i] = random_real();
        for (way = 0; way < 4; way++) {
            const tws_transpose ta = way & 1 ? TWS_TRANSPOSE : N, tb = way & 2 ? TWS_TRANSPOSE : N;
            const size_t lda = ta ? m : k, ldb = tb ? k : n;
            context->threads = 1;
            CHECK(tws_gemm(context, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, c, n) == TWS_OK);
            for (t = 1; t <= 5; t += 2) {
                context->threads = t;
                have = tws_context_threads(context); /* 1 where there are no threads */
                CHECK(have == t || have == 1);
                CHECK(tws_start_workers(context) == TWS_OK && context->threads == have);
                CHECK(tws_start_workers(context) == TWS_BAD_ARGUMENT && strstr(context->message, "parallel_for") != NULL);
                CHECK(tws_gemm(context, ta, tb, m, n, k, 1, a, lda, b, ldb, 0, d, n) == TWS_OK);
                CHECK(memcmp(c, d, m * n * sizeof *c) == 0);
                tws_stop_workers(context);
                CHECK(context->threads == t && context->parallel_for == NULL && context->parallel_user == NULL);
                tws_stop_workers(context);
            }
        }
        free(a);
        free(b);
        free(c);
        free(d);
    }
    context->threads = threads;
}

/* Copies of a context share its workers: each call is right, whoever has them; the number of workers
   is theirs, whatever threads says later. */
typedef struct user {
    tws_context context;
    const tws_real *a, *expected;
    long wrong;
} user;

enum { SHARED = 150, ROUNDS = 200 };

static void *use_workers(void *data) {
    user *u = (user *)data;
    tws_real *c = make(SHARED * SHARED);
    int i;
    for (i = 0; i < ROUNDS; i++) {
        memset(c, 255, SHARED * SHARED * sizeof *c);
        u->wrong += tws_gemm(&u->context, N, N, SHARED, SHARED, SHARED, 1, u->a, SHARED, u->a, SHARED, 0, c, SHARED) != TWS_OK;
        u->wrong += memcmp(c, u->expected, SHARED * SHARED * sizeof *c) != 0;
    }
    free(c);
    return NULL;
}

static void test_shared_workers(void) {
    tws_context context = tws_default_context();
    tws_real *a = make(SHARED * SHARED), *c = make(SHARED * SHARED);
    double values[2][SHARED];
    user users[2];
    unsigned have;
    size_t i;
    for (i = 0; i < SHARED * SHARED; i++) a[i] = random_real();
    CHECK(tws_gemm(&context, N, N, SHARED, SHARED, SHARED, 1, a, SHARED, a, SHARED, 0, c, SHARED) == TWS_OK);
    CHECK(tws_singular_values(&context, a, SHARED, SHARED, SHARED, values[0]) == TWS_OK);
    context.threads = 5;
    have = tws_context_threads(&context);
    CHECK(tws_start_workers(&context) == TWS_OK);
    for (i = 0; i < 2; i++) {
        users[i].context = context;
        users[i].a = a;
        users[i].expected = c;
        users[i].wrong = 0;
    }
#ifdef TWSI_PTHREADS
    {
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, use_workers, users) == 0);
        use_workers(users + 1);
        pthread_join(thread, NULL);
    }
#else
    use_workers(users);
#endif
    CHECK(users[0].wrong + users[1].wrong == 0);
    context.threads = 2;
    CHECK(tws_context_threads(&context) == have);
    CHECK(tws_singular_values(&context, a, SHARED, SHARED, SHARED, values[1]) == TWS_OK);
    CHECK(memcmp(values[0], values[1], sizeof values[0]) == 0);
    tws_stop_workers(&context);
    CHECK(context.threads == 5 && context.parallel_for == NULL);
    free(a);
    free(c);
}

/* AUTO is the fastest kernel for large products, and the one that stands in for it for small ones. */
static void test_automatic(void) {
    static const size_t sizes[][3] = {{320, 320, 320}, {319, 319, 319}, {63, 1000, 1000}, {64, 1000, 1000}, {1000, 63, 1000}};
    tws_context context = tws_default_context();
    const tws_kernel fastest = tws_context_kernel(&context);
    const twsi_kernels *kernels = twsi_find_kernels(fastest);
    const tws_kernel usual = (kernels->gemm_instead != NULL ? kernels->gemm_instead : kernels)->kernel;
    size_t i, which;
    for (which = 0; which < sizeof sizes / sizeof *sizes; which++) {
        const size_t m = sizes[which][0], n = sizes[which][1], k = sizes[which][2];
        tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n), *d = make(m * n);
        for (i = 0; i < m * k; i++) a[i] = random_real();
        for (i = 0; i < k * n; i++) b[i] = random_real();
        context.kernel = TWS_KERNEL_AUTO;
        CHECK(tws_gemm(&context, N, N, m, n, k, 1, a, k, b, n, 0, c, n) == TWS_OK);
        context.kernel = which == 0 || which == 3 ? fastest : usual;
        CHECK(tws_gemm(&context, N, N, m, n, k, 1, a, k, b, n, 0, d, n) == TWS_OK);
        CHECK(memcmp(c, d, m * n * sizeof *c) == 0);
        if (fastest != usual) { /* or the check above could not fail */
            context.kernel = which == 0 || which == 3 ? usual : fastest;
            CHECK(tws_gemm(&context, N, N, m, n, k, 1, a, k, b, n, 0, d, n) == TWS_OK);
            CHECK(memcmp(c, d, m * n * sizeof *c) != 0);
        }
        free(a);
        free(b);
        free(c);
        free(d);
    }
}

/* A product too big for the triple loop: C r against A (B r) for a random r. */
static void test_big(tws_context *context, size_t m, size_t n, size_t k) {
    tws_real *a = make(m * k), *b = make(n * k), *c = make(m * n);
    double *r = (double *)malloc(n * sizeof *r), *br = (double *)malloc(k * sizeof *br);
    const double epsilon = sizeof(tws_real) == 4 ? FLT_EPSILON : DBL_EPSILON;
    double worst = 0;
    size_t i, j, p;
    if (r == NULL || br == NULL) exit(2);
    for (i = 0; i < m * k; i++) a[i] = random_real();
    for (i = 0; i < n * k; i++) b[i] = random_real();
    for (j = 0; j < n; j++) r[j] = (double)random_real();
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, m, n, k, 1, a, k, b, k, 0, c, n) ==
          TWS_OK);
    for (p = 0; p < k; p++) br[p] = 0;
    for (j = 0; j < n; j++)
        for (p = 0; p < k; p++) br[p] += (double)b[j * k + p] * r[j];
    for (i = 0; i < m; i++) {
        double got = 0, want = 0, error;
        for (j = 0; j < n; j++) got += (double)c[i * n + j] * r[j];
        for (p = 0; p < k; p++) want += (double)a[i * k + p] * br[p];
        error = fabs(got - want);
        if (!(error <= worst)) worst = error;
    }
    CHECK_NEAR(worst, 0, 0.5 * epsilon * (double)k * sqrt((double)n));
    free(a);
    free(b);
    free(c);
    free(r);
    free(br);
}

/* The same bits for 1 to 16 threads, and for a C that is computed in parts. C has 4 x 4 tasks, so that 16
   workers have one each. */
static void test_same_bits(tws_context *context, const twsi_kernels *kernels) {
    const size_t m = 3 * TWSI_GEMM_TASK_ROWS + 5, n = 3 * kernels->gemm_block_columns + 37;
    const size_t k = kernels->gemm_depth + 9, cut_m = m / 2 + 1, cut_n = n / 3;
    tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n), *start = make(m * n),
             *first = make(m * n);
    tws_context other = *context;
    spread workers;
    twsi_team team;
    twsi_pool pool;
    size_t i;
    for (i = 0; i < m * k; i++) a[i] = random_real();
    for (i = 0; i < k * n; i++) b[i] = random_real();
    for (i = 0; i < m * n; i++) start[i] = random_real();
    for (i = 0; i < SPREAD_COUNTS; i++) {
        context->threads = spread_counts[i];
        memcpy(c, start, m * n * sizeof *c);
        /* as tws_gemm, but never too small for so many threads */
        CHECK(twsi_team_open(&team, context, spread_counts[i]) == TWS_OK);
        CHECK(team.workers == tws_context_threads(context)); /* 1 where there are no threads */
#ifdef TWSI_THREADS
        CHECK(team.started + 1 == spread_counts[i]);
#endif
        twsi_pool_open(&pool, context);
        CHECK(twsi_gemm(&team, &pool, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, m, n, k, (tws_real)0.7, a,
                        k, b, n, (tws_real)0.3, c, n) == TWS_OK);
        twsi_pool_close(&pool);
        twsi_team_close(&team);
        if (i == 0) memcpy(first, c, m * n * sizeof *c);
        CHECK(memcmp(first, c, m * n * sizeof *c) == 0);
        if (i == 0) continue;
        /* and with workers that are sure to have some of it each */
        spread_over(&other, &workers, spread_counts[i]);
        memcpy(c, start, m * n * sizeof *c);
        CHECK(tws_gemm(&other, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, m, n, k, (tws_real)0.7, a, k, b,
                       n, (tws_real)0.3, c, n) == TWS_OK);
        CHECK(memcmp(first, c, m * n * sizeof *c) == 0);
        CHECK(workers.busy == spread_counts[i] && workers.full >= twsi_ceil_div(k, kernels->gemm_depth));
    }
    memcpy(c, start, m * n * sizeof *c);
    for (i = 0; i < 4; i++) {
        const size_t row = i / 2 * cut_m, column = i % 2 * cut_n;
        CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, i < 2 ? cut_m : m - cut_m,
                       i % 2 ? n - cut_n : cut_n, k, (tws_real)0.7, a + row * k, k, b + column, n,
                       (tws_real)0.3, c + row * n + column, n) == TWS_OK);
    }
    CHECK(memcmp(first, c, m * n * sizeof *c) == 0);
    context->threads = 1;
    free(a);
    free(b);
    free(c);
    free(start);
    free(first);
}

/* Panels made once serve many products of other sizes on one team. */
static void test_buffers(tws_context *context) {
    const size_t m = 150, n = 170, k = 700;
    tws_real *a = make(m * k), *b = make(k * n), *c = make(m * n), *d = make(m * n);
    twsi_team team;
    twsi_pool pool;
    twsi_gemm_buffers buffers;
    size_t i, t;
    for (i = 0; i < m * k; i++) a[i] = random_real();
    for (i = 0; i < k * n; i++) b[i] = random_real();
    context->threads = 3;
    CHECK(twsi_team_open(&team, context, 3) == TWS_OK);
    twsi_pool_open(&pool, context);
    buffers = twsi_gemm_prepare(&team, &pool, m, n, k);
    CHECK(pool.status == TWS_OK);
    for (t = 0; t < 40; t++) {
        const size_t mm = m - t * 3, nn = n - t * 4, kk = k - t * 17;
        twsi_gemm_with(&team, &buffers, TWS_TRANSPOSE, TWS_TRANSPOSE, mm, nn, kk, 1, a, m, b, k, 0,
                       c, n);
        CHECK(tws_gemm(context, TWS_TRANSPOSE, TWS_TRANSPOSE, mm, nn, kk, 1, a, m, b, k, 0, d, n) ==
              TWS_OK);
        for (i = 0; i < mm; i++) CHECK(memcmp(c + i * n, d + i * n, nn * sizeof *c) == 0);
    }
    twsi_pool_close(&pool);
    twsi_team_close(&team);
    context->threads = 1;
    free(a);
    free(b);
    free(c);
    free(d);
}

/* tws_gemm with these arguments fails with this status, and its message starts with the parameter
   and has the value. */
#define REFUSED(status, name, value, arguments)                                                    \
    do {                                                                                           \
        context.message[0] = 0;                                                                    \
        CHECK(tws_gemm arguments == (status));                                                     \
        CHECK(strstr(context.message, name) == context.message);                                   \
        CHECK(strstr(context.message, value) != NULL);                                             \
    } while (0)

static void test_bad_arguments(void) {
    tws_context context = tws_default_context();
    tws_real m[16] = {0};
    const size_t huge = SIZE_MAX / 4;
    tws_transpose bad;
    const int number = 3;
    memcpy(&bad, &number, sizeof bad);
    REFUSED(TWS_BAD_ARGUMENT, "transpose_a", "3",
            (&context, bad, N, 2, 2, 2, 1, m, 2, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "transpose_b", "3",
            (&context, N, bad, 2, 2, 2, 1, m, 2, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "lda", "2", (&context, N, N, 2, 2, 3, 1, m, 2, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "lda", "3", (&context, T, N, 4, 2, 3, 1, m, 3, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "ldb", "1", (&context, N, N, 2, 2, 2, 1, m, 2, m, 1, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "ldb", "2", (&context, N, T, 2, 2, 3, 1, m, 3, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "ldc", "1", (&context, N, N, 2, 2, 2, 1, m, 2, m, 2, 0, m, 1));
    REFUSED(TWS_BAD_ARGUMENT, "a ", "NULL", (&context, N, N, 2, 2, 2, 1, NULL, 2, m, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "b ", "NULL", (&context, N, N, 2, 2, 2, 1, m, 2, NULL, 2, 0, m, 2));
    REFUSED(TWS_BAD_ARGUMENT, "c ", "NULL", (&context, N, N, 2, 2, 2, 1, m, 2, m, 2, 0, NULL, 2));
    REFUSED(TWS_TOO_LARGE, "a ", "lda", (&context, N, N, huge, 2, 8, 1, m, 8, m, 2, 0, m, 2));
    context.threads = TWSI_MAX_THREADS + 1;
    REFUSED(TWS_BAD_ARGUMENT, "context.threads", "65",
            (&context, N, N, 2, 2, 2, 1, m, 2, m, 2, 0, m, 2));
    CHECK(tws_gemm(NULL, N, N, 2, 2, 2, 1, m, 1, m, 2, 0, m, 2) == TWS_BAD_ARGUMENT);
    context.threads = 1;
    CHECK(tws_gemm_strassen(&context, TWS_MAX_STRASSEN + 1, N, N, 2, 2, 2, m, 2, m, 2, m, 2) ==
          TWS_BAD_ARGUMENT);
    CHECK(strcmp(context.message, "levels is 4, it must be from 0 to 3") == 0);
    CHECK(tws_gemm_strassen(&context, -1, N, N, 2, 2, 2, m, 2, m, 2, m, 2) == TWS_BAD_ARGUMENT);
    CHECK(tws_gemm_strassen(&context, 1, N, N, 2, 2, 3, m, 2, m, 2, m, 2) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "lda") == context.message);
    CHECK(tws_gemm(NULL, N, N, 0, 2, 2, 1, NULL, 2, NULL, 2, 0, NULL, 2) == TWS_OK);
    CHECK(tws_gemm(NULL, N, N, 2, 0, 2, 1, NULL, 2, NULL, 2, 0, NULL, 2) == TWS_OK);
}

/* Each allocation fails once; C is untouched then and nothing leaks. */
static void test_out_of_memory(void) {
    tws_context context = tws_default_context();
    enum { SIZE = 70 }; /* beyond what needs no memory */
    enum { BIG = 512 }; /* one level of Strassen */
    static tws_real a[SIZE * SIZE], c[SIZE * SIZE], wide[BIG * BIG], wider[BIG * BIG];
    size_t i, touched;
    failing f;
    int fail_at;
    tws_status status = TWS_OUT_OF_MEMORY;
    for (i = 0; i < SIZE * SIZE; i++) a[i] = 1, c[i] = 9;
    context.allocator.allocate = failing_allocate;
    context.allocator.release = failing_release;
    context.allocator.user = &f;
    for (fail_at = 0; fail_at < 10 && status != TWS_OK; fail_at++) {
        f.calls = 0;
        f.fail_at = fail_at;
        f.out = 0;
        status =
            tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, SIZE, SIZE, SIZE, 1, a, SIZE, a,
                     SIZE, 0, c, SIZE);
        CHECK(f.out == 0);
        if (status != TWS_OK) {
            CHECK(status == TWS_OUT_OF_MEMORY && strstr(context.message, "memory") != NULL);
            for (i = touched = 0; i < SIZE * SIZE; i++) touched += c[i] != 9;
            CHECK(touched == 0);
        }
    }
    CHECK(fail_at >= 2 && status == TWS_OK);
    for (i = touched = 0; i < SIZE * SIZE; i++) touched += c[i] == SIZE;
    CHECK(touched == SIZE * SIZE);
    for (i = 0; i < 3; i++) { /* where there is nothing to multiply there is nothing to take */
        f.calls = f.fail_at = f.out = 0;
        CHECK(tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, i == 0 ? 0 : SIZE, SIZE,
                       i == 1 ? 0 : SIZE, (tws_real)(i != 2), NULL, SIZE, NULL, SIZE, 1, c, SIZE) == TWS_OK);
        CHECK(f.calls == 0 && c[0] == SIZE && c[SIZE * SIZE - 1] == SIZE);
    }
    for (i = 0; i < BIG * BIG; i++) wide[i] = 1, wider[i] = 9;
    status = TWS_OUT_OF_MEMORY;
    for (fail_at = 0; fail_at < 10 && status != TWS_OK; fail_at++) {
        f.calls = 0;
        f.fail_at = fail_at;
        f.out = 0;
        status = tws_gemm_strassen(&context, 1, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, BIG, BIG, BIG,
                                   wide, BIG, wide, BIG, wider, BIG);
        CHECK(f.out == 0);
        for (i = touched = 0; i < BIG * BIG; i++)
            touched += wider[i] != (status == TWS_OK ? BIG : 9);
        CHECK(touched == 0);
    }
    CHECK(fail_at >= 4 && status == TWS_OK); /* the panels and the two sums */
}

int main(void) {
    tws_context context = tws_default_context();
    int kernel;
    for (kernel = (int)TWS_KERNEL_PLAIN; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        const twsi_kernels *kernels;
        context.kernel = (tws_kernel)kernel;
        if (!tws_kernel_available(context.kernel)) continue;
        kernels = twsi_find_kernels(context.kernel);
        context.threads = 1;
        test_tiles(&context, kernels);
        test_depths(&context, kernels);
        test_blocks(&context, kernels);
        test_factors(&context, kernels);
        test_not_finite(&context, kernels);
        test_same_bits(&context, kernels);
        test_rounding(&context);
        test_instead(&context, kernels);
        test_buffers(&context);
        context.threads = 3;
        test_factors(&context, kernels);
        test_lower(&context);
        test_instead(&context, kernels);
        test_big(&context, 700, 600, 1100);
    }
    context.kernel = TWS_KERNEL_AUTO;
    context.threads = 3;
    test_strassen(&context);
    test_kept_workers(&context);
    test_shared_workers();
    test_automatic();
    test_bad_arguments();
    test_out_of_memory();
    return check_report();
}
