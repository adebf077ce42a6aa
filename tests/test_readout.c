/* Ridge regression on the features against numbers of NumPy in double precision (stored: they come
 * from the recipe in recipe()) and against each other; refusals, threads, kernels, lack of memory;
 * overlaps with single directions and principal angles. readout.py compares more with NumPy. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"

static const double tolerance = sizeof(tws_real) == sizeof(float) ? 1e-7 : 1e-9;

/* Numbers in [-1/2, 1/2) with 24 bits, the same in float and double. */
static void recipe(tws_real *features, size_t count, tws_real *labels, size_t samples) {
    uint32_t state = 12345;
    size_t i;
    for (i = 0; i < count + samples; i++) {
        state = state * 1664525u + 1013904223u;
        *(i < count ? features + i : labels + (i - count)) = (tws_real)((double)(state >> 8) / 16777216.0 - 0.5);
    }
}

typedef struct known {
    size_t n, N;
    double lambda, first, last, fit, train, loo;
} known;

static const known numbers[] = {
    {90, 37, 1e-3, -0.18134133924, 0.156288035705, -0.139388612489, 0.0443164356226, 0.133875995177},
    {90, 37, 1e-1, -0.0718070754565, -0.000222071300428, -0.0496718280703, 0.0559335426259, 0.0809610010398},
    {37, 90, 1e-3, -0.00906825053243, 0.00257808298517, -0.27469830964, 6.01558411554e-06, 0.0884268344228},
    {37, 90, 1e-1, 0.0084233798831, 0.0411619278069, -0.161435393422, 0.012903255991, 0.0819444364665},
};

static void test_known(void) {
    static tws_real features[90 * 90], labels[90];
    size_t k;
    for (k = 0; k < sizeof numbers / sizeof numbers[0]; k++) {
        const known *w = numbers + k;
        double a[90], both[2 * 90], output[90], lambdas[2], train[2], loo[2];
        size_t iterations = 0;
        lambdas[0] = w->lambda;
        lambdas[1] = 1.0;
        recipe(features, w->n * w->N, labels, w->n);
        CHECK(tws_ridge(NULL, features, w->n, w->N, w->N, labels, w->lambda, a, &iterations) == TWS_OK);
        CHECK_NEAR(a[0], w->first, tolerance);
        CHECK_NEAR(a[w->N - 1], w->last, tolerance);
        CHECK(iterations >= 1 && iterations < 20);
        CHECK(tws_ridge_path(NULL, features, w->n, w->N, w->N, labels, lambdas, 2, both, train, loo) == TWS_OK);
        CHECK_NEAR(both[0], w->first, 1e-10);
        CHECK_NEAR(both[w->N - 1], w->last, 1e-10);
        CHECK_NEAR(train[0], w->train, 1e-10);
        CHECK_NEAR(loo[0], w->loo, 1e-9);
        CHECK(train[1] > train[0]);
        CHECK(tws_readout_outputs(NULL, features, w->n, w->N, w->N, both, 1, output) == TWS_OK);
        CHECK_NEAR(output[1], w->fit, 1e-10);
    }
}

/* F as products, for tws_ridge_operator */
typedef struct product {
    const tws_real *features;
    size_t n, N;
    int calls, fail_at;
} product;

static tws_status multiply(void *user, int transposed, const double *x, double *y) {
    product *p = (product *)user;
    size_t i, j;
    if (p->calls++ == p->fail_at) return TWS_UNAVAILABLE;
    for (i = 0; i < (transposed ? p->N : p->n); i++) y[i] = 0.0;
    for (i = 0; i < p->n; i++)
        for (j = 0; j < p->N; j++) {
            const double f = (double)p->features[i * p->N + j];
            if (transposed) y[j] += f * x[i];
            else y[i] += f * x[j];
        }
    return TWS_OK;
}

static void test_operator(void) {
    static tws_real features[90 * 90], labels[90];
    size_t k, i;
    for (k = 0; k < 2; k++) {
        const size_t n = k ? 37 : 90, N = k ? 90 : 37;
        tws_context context = tws_default_context();
        double y[90], a[90], want[90];
        size_t iterations;
        product p = {features, 0, 0, 0, -1};
        p.n = n;
        p.N = N;
        recipe(features, n * N, labels, n);
        for (i = 0; i < n; i++) y[i] = (double)labels[i];
        CHECK(tws_ridge(NULL, features, n, N, N, labels, 1e-2, want, NULL) == TWS_OK);
        CHECK(tws_ridge_operator(&context, multiply, &p, n, N, y, 1e-2, 1e-12, 500, a, &iterations) == TWS_OK);
        for (i = 0; i < N; i++) CHECK_NEAR(a[i], want[i], 1e-7);
        CHECK(iterations > 3 && iterations <= 200);
        CHECK(tws_ridge_operator(&context, multiply, &p, n, N, y, 1e-6, 1e-12, 2, a, &iterations) == TWS_NOT_CONVERGED);
        CHECK(strstr(context.message, "2 iterations") != NULL && iterations == 2);
        p.calls = 0;
        p.fail_at = 3;
        CHECK(tws_ridge_operator(&context, multiply, &p, n, N, y, 1e-2, 1e-12, 500, a, NULL) == TWS_CALLBACK_FAILED);
        CHECK(strstr(context.message, "apply") != NULL);
        CHECK(tws_ridge_operator(&context, multiply, &p, n, N, y, 1e-2, 1.0, 500, a, NULL) == TWS_BAD_ARGUMENT);
        CHECK(strstr(context.message, "tolerance is 1,") != NULL);
    }
}

/* Many blocks and panels, every number of threads: the same bits. */
static void test_threads(void) {
    enum { SAMPLES = 400, WIDTH = 310, LAMBDAS = 3 };
    static tws_real features[SAMPLES * WIDTH], labels[SAMPLES];
    static double a[2][WIDTH], both[2][LAMBDAS * WIDTH], train[2][LAMBDAS], loo[2][LAMBDAS];
    static const double lambdas[LAMBDAS] = {1e-4, 1e-2, 1.0};
    int run, wide;
    size_t c, i;
    recipe(features, SAMPLES * WIDTH, labels, SAMPLES);
    for (wide = 0; wide < 2; wide++) { /* more samples than features, and fewer */
        const size_t n = wide ? 200 : SAMPLES;
        for (run = 0; run < 2; run++) {
            tws_context context = tws_default_context();
            context.threads = run ? 3 : 1;
            CHECK(tws_ridge(&context, features, n, WIDTH, WIDTH, labels, 1e-2, a[run], NULL) == TWS_OK);
            CHECK(tws_ridge_path(&context, features, n, WIDTH, WIDTH, labels, lambdas, LAMBDAS, both[run], train[run],
                                 loo[run]) == TWS_OK);
        }
        CHECK(memcmp(a[0], a[1], sizeof a[0]) == 0);
        CHECK(memcmp(both[0], both[1], sizeof both[0]) == 0);
        CHECK(memcmp(train[0], train[1], sizeof train[0]) == 0 && memcmp(loo[0], loo[1], sizeof loo[0]) == 0);
        for (i = 0; i < WIDTH; i++) CHECK_NEAR(a[0][i], both[0][WIDTH + i], 1e-7);
    }
    for (c = 1; c < LAMBDAS; c++) CHECK(train[0][c] > train[0][c - 1]);
}

/* Several bands, panels and blocks, and parts of each at the end: the normal equations hold, after as
   few iterations as an exact factor takes, with the same bits for every number of threads. */
static void test_blocks(void) {
    enum { SAMPLES = 1250, WIDTH = 1100 };
    static tws_real features[SAMPLES * WIDTH], labels[SAMPLES];
    static double a[2][WIDTH], output[SAMPLES];
    const double lambda = 1e-2;
    tws_context context = tws_default_context();
    size_t n, i, j, iterations = 0;
    recipe(features, SAMPLES * WIDTH, labels, SAMPLES);
    for (n = SAMPLES; n >= 1030; n -= 220) { /* more samples than features, and fewer */
        double worst = 0.0;
        context.threads = 1;
        CHECK(tws_ridge(&context, features, n, WIDTH, WIDTH, labels, lambda, a[0], NULL) == TWS_OK);
        context.threads = 3;
        CHECK(tws_ridge(&context, features, n, WIDTH, WIDTH, labels, lambda, a[1], &iterations) == TWS_OK);
        CHECK(iterations >= 1 && iterations <= 4);
        CHECK(memcmp(a[0], a[1], sizeof a[0]) == 0);
        CHECK(tws_readout_outputs(&context, features, n, WIDTH, WIDTH, a[0], 1, output) == TWS_OK);
        for (j = 0; j < WIDTH; j++) {
            double sum = 0.0;
            for (i = 0; i < n; i++)
                sum += (double)features[i * WIDTH + j] * ((double)labels[i] - output[i]);
            worst = fmax(worst, fabs(sum - (double)n * lambda * a[0][j]));
        }
        CHECK_NEAR(worst, 0.0, 1e-7);
    }
    for (n = 0; n < 3; n++) { /* the first of two in the order of rows, whichever worker finds it */
        static const size_t bad[3] = {WIDTH * 40 + 7, WIDTH * 600, WIDTH * SAMPLES - 1};
        char place[60];
        features[bad[2 - n]] = (tws_real)(n == 1 ? INFINITY : NAN);
        CHECK(tws_ridge(&context, features, SAMPLES, WIDTH, WIDTH, labels, lambda, a[0], NULL) == TWS_NOT_FINITE);
        sprintf(place, "row %lu, column %lu is", (unsigned long)(bad[2 - n] / WIDTH),
                (unsigned long)(bad[2 - n] % WIDTH));
        CHECK(strstr(context.message, place) != NULL);
    }
}

/* The closed form against leaving each sample out, n lambda kept. */
static void test_leave_one_out(void) {
    enum { N = 50 };
    static tws_real features[60 * N], labels[60], fewer[60 * N], rest[60];
    const double lambda = 0.02;
    size_t n, j;
    for (n = 40; n <= 60; n += 20) { /* fewer samples than features, and more */
        double a[N], output, loo, sum = 0.0;
        recipe(features, n * N, labels, n);
        for (j = 0; j < n; j++) {
            memcpy(fewer, features, j * N * sizeof(tws_real));
            memcpy(fewer + j * N, features + (j + 1) * N, (n - 1 - j) * N * sizeof(tws_real));
            memcpy(rest, labels, j * sizeof(tws_real));
            memcpy(rest + j, labels + j + 1, (n - 1 - j) * sizeof(tws_real));
            CHECK(tws_ridge(NULL, fewer, n - 1, N, N, rest, lambda * (double)n / (double)(n - 1), a, NULL) == TWS_OK);
            CHECK(tws_readout_outputs(NULL, features + j * N, 1, N, N, a, 1, &output) == TWS_OK);
            sum += (output - (double)labels[j]) * (output - (double)labels[j]);
        }
        CHECK(tws_ridge_path(NULL, features, n, N, N, labels, &lambda, 1, NULL, NULL, &loo) == TWS_OK);
        CHECK_NEAR(sum / (double)n, loo, 1e-7);
    }
}

static void scale(const double *from, double *to, size_t count, int exponent) {
    size_t i;
    for (i = 0; i < count; i++) to[i] = ldexp(from[i], exponent);
}

/* Powers of two in features, labels and lambda come out as powers of two, to the bit. */
static void test_units(void) {
    enum { SAMPLES = 40, WIDTH = 31, LAMBDAS = 3 };
    static const double lambdas[LAMBDAS] = {1e-3, 1e-1, 10.0};
    static const int powers[][2] = {{-100, 60}, {-41, -90}, {14, 3}, {18, 120}, {120, -100}, {0, 127}};
    static const size_t samples[3] = {40, 31, 25};
    static tws_real features[SAMPLES * WIDTH], other[SAMPLES * WIDTH], labels[SAMPLES], y[SAMPLES];
    static double kernel[SAMPLES * SAMPLES], scaled[SAMPLES * SAMPLES];
    size_t shape, k, i, j;
    for (shape = 0; shape < 3; shape++) {
        const size_t n = samples[shape];
        double a[2][WIDTH], both[2][LAMBDAS * WIDTH], alpha[2][LAMBDAS * SAMPLES], train[2][LAMBDAS], loo[2][LAMBDAS];
        double left[2][LAMBDAS];
        double inputs[SAMPLES], operated[2][WIDTH], want[LAMBDAS * SAMPLES], mu[LAMBDAS], lambda;
        product p = {other, 0, WIDTH, 0, -1};
        p.n = n;
        recipe(features, n * WIDTH, labels, n);
        for (i = 0; i < n; i++)
            for (j = 0; j < n; j++)
                kernel[i * n + j] = exp(-0.01 * ((double)i - (double)j) * ((double)i - (double)j));
        for (k = 0; k <= sizeof powers / sizeof powers[0]; k++) {
            const int run = k > 0, up = run ? powers[k - 1][0] : 0, high = run ? powers[k - 1][1] : 0;
            for (i = 0; i < n * WIDTH; i++) other[i] = (tws_real)ldexp((double)features[i], up);
            for (i = 0; i < n; i++) y[i] = (tws_real)ldexp((double)labels[i], high);
            for (i = 0; i < n; i++) inputs[i] = (double)y[i];
            scale(lambdas, mu, LAMBDAS, 2 * up);
            lambda = mu[1];
            CHECK(tws_ridge(NULL, other, n, WIDTH, WIDTH, y, lambda, a[run], NULL) == TWS_OK);
            CHECK(tws_ridge_path(NULL, other, n, WIDTH, WIDTH, y, mu, LAMBDAS, both[run], train[run], loo[run]) == TWS_OK);
            CHECK(tws_ridge_operator(NULL, multiply, &p, n, WIDTH, inputs, lambda, 1e-10, 500, operated[run], NULL) == TWS_OK);
            if (run) {
                scale(a[0], want, WIDTH, high - up);
                CHECK(memcmp(a[1], want, sizeof a[1]) == 0);
                scale(both[0], want, LAMBDAS * WIDTH, high - up);
                CHECK(memcmp(both[1], want, sizeof both[1]) == 0);
                scale(operated[0], want, WIDTH, high - up);
                CHECK(memcmp(operated[1], want, sizeof operated[1]) == 0);
                scale(train[0], want, LAMBDAS, 2 * high);
                CHECK(memcmp(train[1], want, sizeof train[1]) == 0);
                scale(loo[0], want, LAMBDAS, 2 * high);
                CHECK(memcmp(loo[1], want, sizeof loo[1]) == 0);
            }
            scale(kernel, scaled, n * n, 8 * up);
            scale(lambdas, mu, LAMBDAS, 8 * up);
            CHECK(tws_kernel_path(NULL, scaled, n, y, mu, LAMBDAS, alpha[run], NULL, left[run]) == TWS_OK);
            if (run) {
                scale(alpha[0], want, LAMBDAS * n, high - 8 * up);
                CHECK(memcmp(alpha[1], want, LAMBDAS * n * sizeof(double)) == 0);
                scale(left[0], want, LAMBDAS, 2 * high);
                CHECK(memcmp(left[1], want, sizeof left[1]) == 0);
            }
        }
    }
}

/* lambda beyond all features: F'y / (n lambda). No features, and a coefficient above all numbers. */
static void test_far_lambda(void) {
    enum { WIDTH = 9 };
    static const double lambdas[3] = {1e20, 1e150, 1e300};
    static tws_real features[12 * WIDTH], labels[12];
    double a[WIDTH], path[3 * WIDTH], alpha[3 * 12], kernel[12 * 12], y[12], tiny = 1e-200, train, loo;
    tws_context context = tws_default_context();
    product p = {features, 12, WIDTH, 0, -1};
    size_t n, i, j, c;
    for (n = 7; n <= 12; n += 5) {
        recipe(features, n * WIDTH, labels, n);
        CHECK(tws_ridge_path(NULL, features, n, WIDTH, WIDTH, labels, lambdas, 3, path, NULL, NULL) == TWS_OK);
        for (i = 0; i < n * n; i++) kernel[i] = i % (n + 1) == 0 ? 2.0 : 1.0;
        CHECK(tws_kernel_path(NULL, kernel, n, labels, lambdas, 3, alpha, NULL, NULL) == TWS_OK);
        for (c = 0; c < 3; c++) {
            CHECK(tws_ridge(NULL, features, n, WIDTH, WIDTH, labels, lambdas[c], a, NULL) == TWS_OK);
            for (j = 0; j < WIDTH; j++) {
                double sum = 0.0;
                for (i = 0; i < n; i++) sum += (double)features[i * WIDTH + j] * (double)labels[i];
                CHECK_NEAR(a[j] * lambdas[c], sum / (double)n, 1e-9);
                CHECK_NEAR(path[c * WIDTH + j] * lambdas[c], sum / (double)n, 1e-9);
            }
            for (i = 0; i < n; i++) CHECK_NEAR(alpha[c * n + i] * lambdas[c], (double)labels[i] / (double)n, 1e-9);
        }
    }
    for (i = 0; i < 12; i++) y[i] = 1e300;
    for (i = 0; i < 12 * WIDTH; i++) features[i] *= (tws_real)1e-30;
    CHECK(tws_ridge_operator(&context, multiply, &p, 12, WIDTH, y, 1e-62, 1e-10, 500, a, NULL) == TWS_NOT_FINITE);
    CHECK(strncmp(context.message, "the coefficients at lambda = ", 29) == 0);
    memset(features, 0, sizeof features);
    CHECK(tws_ridge(&context, features, 12, WIDTH, WIDTH, labels, tiny, a, NULL) == TWS_OK);
    CHECK(tws_ridge_path(&context, features, 12, WIDTH, WIDTH, labels, &tiny, 1, path, &train, &loo) == TWS_OK);
    for (j = 0; j < WIDTH; j++) CHECK_NEAR(a[j], 0.0, 0.0);
    CHECK(train > 0.0);
    CHECK_NEAR(loo, train, 0.0);
    CHECK(tws_ridge(&context, features, 12, WIDTH, WIDTH, labels, 0.0, a, NULL) == TWS_BAD_ARGUMENT);
    for (n = 1; n <= 12; n += 6) /* with fewer samples too, and the least number of all */
        for (i = 0; i < 2; i++) {
            tiny = i ? 1e-309 : 4.9406564584124654e-324;
            CHECK(tws_ridge(&context, features, n, WIDTH, WIDTH, labels, tiny, a, NULL) == TWS_OK);
            CHECK(tws_ridge_path(&context, features, n, WIDTH, WIDTH, labels, &tiny, 1, path, &train, &loo) == TWS_OK);
            for (j = 0; j < WIDTH; j++) CHECK_NEAR(fabs(a[j]) + fabs(path[j]), 0.0, 0.0);
            CHECK_NEAR(loo, train, 0.0);
        }
}

/* The largest lambda that is allowed: three times it is rounded beyond the largest number. */
static void test_largest_lambda(void) {
    tws_real features[6] = {1, 2, 3, 4, 5, 7}, labels[3] = {1, 2, 2};
    const double lambda = DBL_MAX / 3.0;
    double a[2], path[2], y[3] = {1, 2, 2}, six[3];
    product p = {features, 3, 2, 0, -1};
    tws_context context = tws_default_context();
    size_t j;
    for (j = 0; j < 3; j++) labels[j] *= (tws_real)1e30;
    CHECK(tws_ridge(NULL, features, 3, 2, 2, labels, lambda, a, NULL) == TWS_OK);
    CHECK(tws_ridge_path(NULL, features, 3, 2, 2, labels, &lambda, 1, path, NULL, NULL) == TWS_OK);
    CHECK_NEAR(a[0] / (17e30 / 3.0 / lambda), 1.0, 1e-6);
    CHECK_NEAR(a[1] / (24e30 / 3.0 / lambda), 1.0, 1e-6);
    for (j = 0; j < 2; j++) CHECK_NEAR(path[j] / a[j], 1.0, 1e-6);
    CHECK(tws_ridge_operator(&context, multiply, &p, 3, 2, y, lambda, 1e-10, 9, a, NULL) == TWS_OK);
    CHECK_NEAR(a[0] / (5.6666666666666667 / lambda), 1.0, 1e-6); /* 1 1 + 3 2 + 5 2 = 17 */
    /* n lambda times the square of a right-hand side of 0.99 and more overflows */
    p.n = 2;
    p.N = 3;
    y[0] = y[1] = 0.99;
    CHECK(tws_ridge_operator(&context, multiply, &p, 2, 3, y, DBL_MAX / 2.0, 1e-10, 9, six, NULL) == TWS_NOT_FINITE);
    CHECK(strstr(context.message, "lambda = ") != NULL && strstr(context.message, "overflows") != NULL);
}

/* apply fails or gives NaN at the end of all, when only the coefficients are missing. */
static tws_status last_is_bad(void *user, int transposed, const double *x, double *y) {
    product *p = (product *)user;
    const int last = p->calls == p->fail_at;
    const tws_status status = last ? TWS_OK : multiply(user, transposed, x, y);
    size_t i;
    for (i = 0; last && i < p->N; i++) y[i] = HUGE_VAL;
    p->calls += last;
    return status;
}

static void test_last_product(void) {
    tws_real features[6] = {1, 2, 3, 1, 5, 7};
    double a[3] = {7, 7, 7}, y[2] = {1, 2};
    tws_context context = tws_default_context();
    product p = {features, 2, 3, 0, -1};
    int calls;
    CHECK(tws_ridge_operator(&context, multiply, &p, 2, 3, y, 0.1, 1e-10, 50, a, NULL) == TWS_OK);
    calls = p.calls;
    p.calls = 0;
    p.fail_at = calls - 1;
    a[0] = a[1] = a[2] = 7;
    CHECK(tws_ridge_operator(&context, multiply, &p, 2, 3, y, 0.1, 1e-10, 50, a, NULL) == TWS_CALLBACK_FAILED);
    CHECK_NEAR(fabs(a[0] - 7) + fabs(a[1] - 7) + fabs(a[2] - 7), 0.0, 0.0); /* nobody has written it */
    p.calls = 0;
    CHECK(tws_ridge_operator(&context, last_is_bad, &p, 2, 3, y, 0.1, 1e-10, 50, a, NULL) == TWS_NOT_FINITE);
    CHECK(strstr(context.message, "the output of apply") != NULL);
}

/* One entry far above the others, wherever it stands, on every kernel. */
static void test_one_large(void) {
    enum { SAMPLES = 2, WIDTH = 70 };
    static tws_real features[SAMPLES * WIDTH], labels[SAMPLES];
    double a[WIDTH], fit[SAMPLES];
    int which;
    size_t j;
    for (which = 0; which < (int)TWS_KERNEL_COUNT; which++) {
        tws_context context = tws_default_context();
        context.kernel = (tws_kernel)which;
        if (!tws_kernel_available(context.kernel)) continue;
        for (j = 0; j < SAMPLES * WIDTH; j++) {
            recipe(features, SAMPLES * WIDTH, labels, SAMPLES);
            features[j] = (tws_real)(j % 2 ? 1e30 : -1e30);
            CHECK(tws_ridge(&context, features, SAMPLES, WIDTH, WIDTH, labels, 1e50, a, NULL) == TWS_OK);
            CHECK(tws_readout_outputs(&context, features, SAMPLES, WIDTH, WIDTH, a, 1, fit) == TWS_OK);
            CHECK_NEAR(fit[j / WIDTH], (double)labels[j / WIDTH], 1e-6);
        }
    }
}

/* Where a sample alone carries a coefficient there is no fit without it; elsewhere lambda may be 0. */
static void test_leverage(void) {
    tws_real features[6] = {1, 0, 0, 1, 0, 1}, labels[3] = {3, 4, 6};
    double a[2], train, loo, lambda = 0.0;
    tws_context context = tws_default_context();
    CHECK(tws_ridge_path(&context, features, 3, 2, 2, labels, &lambda, 1, a, &train, &loo) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "with lambda = 0 there is no leave-one-out error") != NULL);
    CHECK(tws_ridge_path(&context, features, 3, 2, 2, labels, &lambda, 1, a, &train, NULL) == TWS_OK);
    CHECK_NEAR(a[0], 3.0, 1e-12);
    CHECK_NEAR(a[1], 5.0, 1e-12);
    CHECK_NEAR(train, 2.0 / 3.0, 1e-12);
    CHECK(tws_ridge_path(&context, features, 2, 2, 2, labels, &lambda, 1, a, &train, &loo) == TWS_OK);
    CHECK_NEAR(a[1], 4.0, 1e-12);
    CHECK_NEAR(train, 0.0, 0.0);
    CHECK_NEAR(loo, 12.5, 1e-12); /* each sample's coefficient is 0 without it */
}

/* Two columns that differ in one sample alone, by less and less, among others: refused, whatever
   rounding makes of 1 - h; with a lambda that decides, the error of the fit without it. */
static void test_twins(void) {
    enum { SAMPLES = 160 };
    static const size_t widths[] = {2, 5, 20, 60, 120, 150};
    static tws_real features[SAMPLES * 150], labels[SAMPLES];
    size_t w, i;
    int k;
    for (w = 0; w < sizeof widths / sizeof widths[0]; w++)
        for (k = 2; k <= 20; k++) {
            const size_t width = widths[w], one = (size_t)k % width, two = (one + 1) % width;
            const double none = 0.0, some = 1e-3;
            tws_context context = tws_default_context();
            double loo;
            recipe(features, SAMPLES * width, labels, SAMPLES);
            for (i = 0; i < SAMPLES; i++) features[i * width + two] = features[i * width + one];
            features[5 * width + two] += (tws_real)ldexp(1.0, -k);
            CHECK(tws_ridge_path(&context, features, SAMPLES, width, width, labels, &none, 1, NULL, NULL, &loo) == TWS_BAD_ARGUMENT);
            CHECK(strstr(context.message, "leave-one-out") != NULL || (k > 14 && strstr(context.message, "not positive") != NULL));
            CHECK(tws_ridge_path(&context, features, SAMPLES, width, width, labels, &some, 1, NULL, NULL, &loo) == TWS_OK);
        }
}

static void test_refusals(void) {
    tws_real features[12] = {1, 2, 3, 1, 2, 3, 2, 4, 6, 1, 1, 1}, labels[4] = {1, 2, 3, 4};
    double a[6], train[2], loo[2], lambdas[2] = {1.0, 0.0};
    tws_context context = tws_default_context();
    CHECK(tws_ridge(&context, features, 4, 3, 3, labels, 0.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "not positive definite") != NULL && strstr(context.message, "lambda = 0") != NULL);
    CHECK(tws_ridge_path(&context, features, 4, 3, 3, labels, lambdas, 2, a, train, loo) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "not positive definite") != NULL && strstr(context.message, "lambda = 0") != NULL);
    CHECK(tws_ridge_path(&context, features, 4, 3, 3, labels, lambdas, 1, a, train, loo) == TWS_OK);
    CHECK(tws_ridge(&context, features, 4, 3, 2, labels, 1.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge(&context, features, 0, 3, 3, labels, 1.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge(&context, features, 4, 3, 3, labels, -1.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "lambda is -1") != NULL);
    CHECK(tws_ridge(&context, features, 4, 3, 3, labels, NAN, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge(&context, NULL, 4, 3, 3, labels, 1.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge(&context, features, 4, 3, 3, NULL, 1.0, a, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge(&context, features, 4, 3, 3, labels, 1.0, NULL, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_ridge_path(&context, features, 4, 3, 3, labels, lambdas, 0, a, train, loo) == TWS_BAD_ARGUMENT);
    features[7] = (tws_real)NAN;
    CHECK(tws_ridge(&context, features, 4, 3, 3, labels, 1.0, a, NULL) == TWS_NOT_FINITE);
    CHECK(strstr(context.message, "row 2, column 1") != NULL);
}

/* Whatever allocation fails, the call says so and nothing is lost. */
static void test_memory(void) {
    static tws_real features[60 * 50], labels[60];
    double a[2 * 60], train[2], loo[2], lambdas[2] = {0.1, 1.0}, kernel[100] = {1}, large[2] = {1e39, 1e40};
    tws_activation activation;
    tws_activation_named("relu", &activation);
    int call;
    long at;
    recipe(features, 60 * 50, labels, 60);
    for (call = 0; call < 6; call++) {
        if (call == 3) /* far enough from 1 to be scaled in a copy */
            for (at = 0; at < 60 * 50; at++) features[at] *= (tws_real)1e20;
        for (at = 0; at < 100; at++) {
            failing memory = {0, 0, 0};
            tws_context context = tws_default_context();
            tws_status status;
            memory.fail_at = at;
            context.allocator.allocate = failing_allocate;
            context.allocator.release = failing_release;
            context.allocator.user = &memory;
            if (call == 0 || call == 3)
                status = tws_ridge(&context, features, 60, 50, 50, labels, call ? 1e39 : 0.1, a, NULL);
            else if (call == 1 || call == 4)
                status = tws_ridge_path(&context, features, call == 1 ? 40 : 60, 50, 50, labels, call == 1 ? lambdas : large,
                                        2, a, train, loo);
            else if (call == 2)
                status = tws_limit_kernel(&context, &activation, 50, features, 10, NULL, 0, kernel);
            else status = tws_kernel_path(&context, kernel, 10, labels, lambdas, 2, a, train, loo);
            CHECK(memory.out == 0);
            if (status == TWS_OK) break;
            CHECK(status == TWS_OUT_OF_MEMORY && context.message[0] != '\0');
        }
        CHECK(at > 3 && at < 100);
    }
}

/* Of one set of inputs: symmetric to the bit, on every kernel and beyond a block of rows, and what
   two equal sets give, but on the diagonal. */
static void test_symmetric_kernel(void) {
    enum { COUNT = 150, INPUTS = 45 };
    static tws_real x[COUNT * INPUTS], unused[1];
    static double kernel[COUNT * COUNT], across[COUNT * COUNT];
    tws_context context = tws_default_context();
    tws_activation activation;
    int which;
    tws_activation_named("tanh", &activation);
    recipe(x, COUNT * INPUTS, unused, 1);
    for (which = 0; which < (int)TWS_KERNEL_COUNT; which++) {
        size_t i, j, wrong = 0;
        context.kernel = (tws_kernel)which;
        if (!tws_kernel_available(context.kernel)) continue;
        CHECK(tws_limit_kernel(&context, &activation, INPUTS, x, COUNT, NULL, 0, kernel) == TWS_OK);
        CHECK(tws_limit_kernel(&context, &activation, INPUTS, x, COUNT, x, COUNT, across) == TWS_OK);
        for (i = 0; i < COUNT; i++)
            for (j = 0; j < COUNT; j++) {
                wrong += !(kernel[i * COUNT + j] - kernel[j * COUNT + i] == 0);
                wrong += i != j && !(fabs(kernel[i * COUNT + j] - across[i * COUNT + j]) <= 1e-6 * kernel[i * COUNT + i]);
            }
        CHECK(wrong == 0);
    }
}

/* ReLU: E relu(u) relu(v) = |x||x'|/(2 pi d) (sin t + (pi - t) cos t), the arc-cosine kernel. */
static void test_kernel(void) {
    enum { COUNT = 12, INPUTS = 40 };
    static tws_real x[COUNT * INPUTS], unused[1];
    static double kernel[COUNT * COUNT], across[COUNT * COUNT];
    tws_activation activation;
    size_t i, j, k;
    tws_activation_named("relu", &activation);
    recipe(x, COUNT * INPUTS, unused, 1);
    for (i = 0; i < COUNT * INPUTS; i++) x[i] *= (tws_real)3.4;
    CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, COUNT, NULL, 0, kernel) == TWS_OK);
    CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, COUNT, x + INPUTS, COUNT - 1, across) == TWS_OK);
    for (i = 0; i < COUNT; i++)
        for (j = 0; j < COUNT; j++) {
            double xx = 0.0, yy = 0.0, xy = 0.0, t;
            for (k = 0; k < INPUTS; k++) {
                xx += (double)x[i * INPUTS + k] * (double)x[i * INPUTS + k];
                yy += (double)x[j * INPUTS + k] * (double)x[j * INPUTS + k];
                xy += (double)x[i * INPUTS + k] * (double)x[j * INPUTS + k];
            }
            t = i == j ? 0.0 : acos(xy / sqrt(xx * yy));
            CHECK_NEAR(kernel[i * COUNT + j], sqrt(xx * yy) / (2.0 * TWSI_PI * INPUTS) * (sin(t) + (TWSI_PI - t) * cos(t)), 2e-5);
            if (j > 0 && j != i) CHECK_NEAR(across[i * (COUNT - 1) + j - 1], kernel[i * COUNT + j], 1e-6);
        }
    /* huge inputs of one length: at the angles 0 and pi/2 */
    memset(x, 0, sizeof x);
    x[0] = x[INPUTS + 1] = (tws_real)1e15;
    CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, 2, NULL, 0, kernel) == TWS_OK);
    CHECK_NEAR(kernel[0] / 1e30, 0.5 / INPUTS, 1e-6 / INPUTS);
    CHECK_NEAR(kernel[1] / 1e30, 0.5 / TWSI_PI / INPUTS, 1e-5 / INPUTS);
    /* tiny inputs: the mean of a square is not negative */
    for (i = 0; i < 2; i++)
        for (j = 0; j < 2; j++) x[i * INPUTS + j] = (tws_real)(i == j ? 1e-19 : 0.0);
    for (k = 0; k < 2; k++) {
        if (k == 1) CHECK(tws_activation_named("shifted-tanh", &activation) == TWS_OK);
        CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, 2, NULL, 0, kernel) == TWS_OK);
        CHECK(kernel[0] >= 0.0 && kernel[3] >= 0.0);
    }
}

/* Inputs of very different lengths, zero among them, and very short ones: sin(x + 1/2),
   whose kernel is exp(-(s^2 + t^2) / 2) (exp(s t cos) - cos(1) exp(-s t cos)) / 2, and relu, which is homogeneous. */
static void test_kernel_lengths(void) {
    enum { COUNT = 7, INPUTS = 3 };
    static const double lengths[COUNT] = {0, 1e-20, 0.05, 0.7, 1, 2.5, 6};
    static tws_real x[COUNT * INPUTS], directions[COUNT * INPUTS], unused[1];
    static double kernel[COUNT * COUNT];
    tws_activation activation;
    double s[COUNT], shortest;
    size_t i, j, k;
    recipe(directions, COUNT * INPUTS, unused, 1);
    for (i = 0; i < COUNT; i++) {
        double sum = 0.0;
        for (k = 0; k < INPUTS; k++) sum += (double)directions[i * INPUTS + k] * (double)directions[i * INPUTS + k];
        for (k = 0; k < INPUTS; k++)
            x[i * INPUTS + k] = (tws_real)((double)directions[i * INPUTS + k] * lengths[i] * sqrt(INPUTS / sum));
        for (sum = 0.0, k = 0; k < INPUTS; k++) sum += (double)x[i * INPUTS + k] * (double)x[i * INPUTS + k];
        s[i] = sqrt(sum / INPUTS);
    }
    CHECK(tws_activation_named("sine", &activation) == TWS_OK);
    CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, COUNT, x, COUNT, kernel) == TWS_OK); /* as NULL */
    for (i = 0; i < COUNT; i++)
        for (j = 0; j < COUNT; j++) {
            double inner = 0.0, want, size;
            for (k = 0; k < INPUTS; k++) inner += (double)x[i * INPUTS + k] * (double)x[j * INPUTS + k] / INPUTS;
            want = 0.5 * exp(-0.5 * (s[i] * s[i] + s[j] * s[j])) * (exp(inner) - cos(1.0) * exp(-inner));
            size = sqrt((1 - cos(1.0) * exp(-2 * s[i] * s[i])) * (1 - cos(1.0) * exp(-2 * s[j] * s[j]))) / 2;
            if (i == j || fabs(inner) <= 0.5 * s[i] * s[j]) CHECK_NEAR(kernel[i * COUNT + j], want, 1e-5 * size + 1e-16);
        }
    CHECK(tws_activation_named("relu", &activation) == TWS_OK);
    for (shortest = 1e-3; shortest > 1e-30; shortest *= 1e-5) {
        memset(x, 0, sizeof x);
        x[0] = x[INPUTS + 1] = x[2 * INPUTS] = x[2 * INPUTS + 1] = (tws_real)shortest;
        CHECK(tws_limit_kernel(NULL, &activation, INPUTS, x, 3, NULL, 0, kernel) == TWS_OK);
        CHECK_NEAR(kernel[0] / shortest / shortest, 0.5 / INPUTS, 1e-6);
        CHECK_NEAR(kernel[1] / shortest / shortest, 0.5 / TWSI_PI / INPUTS, 1e-6);
        CHECK_NEAR(kernel[2] / shortest / shortest, (0.5 + 0.375 * TWSI_PI) / TWSI_PI / INPUTS, 1e-5); /* at 45 degrees */
    }
}

/* A kernel beyond the largest double. */
static void test_kernel_overflow(void) {
    tws_real x[2] = {(tws_real)1e30, (tws_real)1e30};
    double kernel[1];
    tws_context context = tws_default_context();
    tws_activation activation;
    CHECK(tws_activation_named("hermite:0,0,1,0,0,0,0,0,1", &activation) == TWS_OK);
    CHECK(tws_limit_kernel(&context, &activation, 2, x, 1, NULL, 0, kernel) == TWS_NOT_FINITE);
    CHECK(strncmp(context.message, "the kernel overflows", 20) == 0);
}

/* Overlaps with each direction: two planted spikes that hold known parts of two directions. */
static void test_directions(void) {
    enum { N = 90, D = 80 };
    static tws_real weights[N * D], directions[2 * D];
    static tws_spectrum s;
    size_t i, j;
    for (i = 0; i < N; i++)
        for (j = 0; j < D; j++) {
            /* u_1 all equal, v_1 = 0.6 b_1 + 0.8 e_5; u_2 of signs in turn, v_2 = 0.8 b_2 + 0.6 e_6 */
            const double v1 = j == 0 ? 0.6 : j == 5 ? 0.8 : 0.0, v2 = j == 1 ? 0.8 : j == 6 ? 0.6 : 0.0;
            double w = (20.0 * v1 + (i % 2 ? 10.0 : -10.0) * v2) / sqrt((double)N);
            if (j >= 10 && i == j) w += 0.001;
            weights[i * D + j] = (tws_real)w;
        }
    directions[0] = directions[D + 1] = 1;
    CHECK(tws_measure(NULL, weights, N, D, NULL, directions, 2, 3, 1, &s) == TWS_OK);
    CHECK(s.outliers == 2 && s.directions == 2);
    CHECK_NEAR(fabs(s.overlaps[0][0]), 0.6, 1e-5);
    CHECK_NEAR(s.overlaps[0][1], 0.0, 1e-5);
    CHECK_NEAR(s.overlaps[1][0], 0.0, 1e-5);
    CHECK_NEAR(fabs(s.overlaps[1][1]), 0.8, 1e-5);
    CHECK_NEAR(s.principal[0], 0.8, 1e-5);
    CHECK_NEAR(s.principal[1], 0.6, 1e-5);
    tws_count_outliers(&s, 15.0); /* one left: one angle */
    CHECK(s.outliers == 1);
    CHECK_NEAR(s.principal[0], 0.6, 1e-5);
    CHECK_NEAR(s.principal[1], 0.0, 1e-5);
    /* the staircase climbs: on a fresh batch too, order 0 sees u_1 and order 1 sees u_2 */
    {
        tws_config config = tws_default_config();
        tws_theory_input input;
        tws_prediction one, two;
        tws_limit limit;
        tws_target_named("staircase", &config.target);
        input = tws_theory_from_config(&config);
        input.neurons = input.inputs = input.samples = 4000;
        CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK);
        CHECK(limit.order[0].directions_fresh == 1 && limit.order[0].directions_reuse == 1);
        CHECK(limit.order[1].directions_fresh == 2 && limit.order[1].directions_reuse == 2);
        CHECK(tws_predict(NULL, &input, &one, &two) == TWS_OK);
        CHECK(one.outliers == 1);
        CHECK_NEAR(fabs(one.overlaps[0][0]), one.alignments[0], 1e-5);
        CHECK_NEAR(one.overlaps[0][1], 0.0, 1e-5);
        CHECK_NEAR(one.principal[0], one.alignments[0], 1e-5);
    }
}

int main(void) {
    test_known();
    test_operator();
    test_threads();
    test_blocks();
    test_leave_one_out();
    test_units();
    test_far_lambda();
    test_largest_lambda();
    test_last_product();
    test_one_large();
    test_leverage();
    test_twins();
    test_refusals();
    test_memory();
    test_kernel();
    test_symmetric_kernel();
    test_kernel_lengths();
    test_kernel_overflow();
    test_directions();
    return check_report();
}
