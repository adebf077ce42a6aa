/* Times the leading singular triplets of a spiked n x n matrix: Gaussian noise with bulk edge 2 and
   four outliers; then of several matrices that share two factors.
   cc -O2 -I.. -o svd svd.c -lm && ./svd [n] [top] [threads] [tolerance] [stop_below] [all] */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include <stdio.h>
#include <stdlib.h>

#include "pass.h"

static uint64_t state = 7;

static double uniform(void) {
    return ((double)(twsi_splitmix64(&state) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void) {
    return sqrt(-2.0 * log(uniform())) * cos(6.283185307179586 * uniform());
}

static void make(tws_real *w, double *u, double *v, size_t n, double spikes) {
    const double strength[4] = {6.0, 4.0, 3.0, 2.2};
    size_t i, j, k;
    state = 7;
    for (i = 0; i < n * n; i++) w[i] = (tws_real)(normal() / sqrt((double)n));
    for (k = 0; k < 4; k++) {
        for (i = 0; i < n; i++) u[i] = normal() / sqrt((double)n);
        for (i = 0; i < n; i++) v[i] = normal() / sqrt((double)n);
        for (i = 0; i < n; i++)
            for (j = 0; j < n; j++) w[i * n + j] += (tws_real)(spikes * strength[k] * u[i] * v[j]);
    }
}

/* Eleven matrices of n x n that share two factors: noise, and four spikes that grow. */
static void pencil(tws_context *context, const tws_svd_options *options, size_t n) {
    const size_t count = 11, top = options->top;
    tws_real *a = (tws_real *)malloc(3 * n * n * sizeof *a), *b = a + n * n, *sum = b + n * n;
    double *u = (double *)malloc(count * n * top * sizeof *u), *values, factors[11];
    double *v = (double *)malloc(count * n * top * sizeof *v);
    double alone = 1e30, together = 1e30;
    tws_svd_result result[11];
    tws_status status = TWS_OK;
    size_t i;
    int round;
    values = (double *)malloc(count * top * sizeof *values);
    if (a == NULL || u == NULL || v == NULL || values == NULL) exit(1);
    make(a, u, v, n, 0.0);
    make(b, u, v, n, 1.0);
    for (i = 0; i < n * n; i++) {
        sum[i] = b[i];
        b[i] -= a[i];
    }
    for (i = 0; i < count; i++) factors[i] = 0.1 * (double)i;
    for (round = 0; round < 9; round++) {
        const double start = twsi_seconds();
        double middle;
        status = tws_svd_pencil(context, options, a, n, b, n, n, n, factors, count, NULL, values, u,
                                v, NULL, result);
        middle = twsi_seconds();
        together = fmin(together, middle - start);
        tws_svd(context, options, sum, n, n, n, values, u, v, NULL, result);
        alone = fmin(alone, twsi_seconds() - middle);
    }
    printf("%lu x %lu, 11 matrices A + eta B, outliers alone: %.4f s, %.2f times one of them "
           "(%s)\n", (unsigned long)n, (unsigned long)n, together, together / alone,
           tws_status_text(status));
    free(a);
    free(u);
    free(v);
    free(values);
}

int main(int argc, char **argv) {
    const size_t n = argc > 1 ? (size_t)atol(argv[1]) : 4096;
    const size_t top = argc > 2 ? (size_t)atol(argv[2]) : 10;
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(top);
    tws_svd_result result;
    tws_real *w = (tws_real *)malloc(n * n * sizeof *w);
    double *values = (double *)malloc((n + top) * sizeof *values), *residuals = values + n;
    double *u = (double *)malloc(n * top * sizeof *u), *v = (double *)malloc(n * top * sizeof *v);
    tws_status status = TWS_OK;
    size_t k;
    int part, round;
    if (w == NULL || values == NULL || u == NULL || v == NULL || n < 4 || top == 0) return 1;
    context.threads = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    options.tolerance = argc > 4 ? atof(argv[4]) : 1e-5;
    make(w, u, v, n, 1.0);
    printf("n %lu, %s, %u threads\n", (unsigned long)n,
           tws_kernel_name(twsi_fastest_kernel(TWSI_AUTO_LAST_SMALL)), tws_context_threads(&context));
    for (part = 0; part < 2 && status == TWS_OK; part++) {
        double best = 1e30, pass = 1e30;
        options.stop_below = part == 0 ? 0.0 : argc > 5 ? atof(argv[5]) : 2.1;
        for (round = 0; round < 9; round++) {
            double start;
            pass = fmin(pass, fused_pass(w, n, context.threads, 40));
            start = twsi_seconds();
            status = tws_svd(&context, &options, w, n, n, n, values, u, v, residuals, &result);
            best = fmin(best, twsi_seconds() - start);
        }
        printf("%s: %lu of %lu converged, best of 9 %.4f s, %lu passes, %lu products; a fused pass "
               "%.3f ms, total / (passes x pass) %.2f\n",
               part == 0 ? "all of top" : "outliers alone", (unsigned long)result.converged,
               (unsigned long)result.wanted, best, (unsigned long)result.passes,
               (unsigned long)result.products, 1e3 * pass, best / pass / (double)result.passes);
        for (k = 0; k < result.wanted; k++)
            printf("  s_%lu = %.9f, residual %.2e\n", (unsigned long)k + 1, values[k],
                   residuals[k]);
    }
    pencil(&context, &options, n / 4);
    if (argc > 6) {
        const double start = twsi_seconds();
        status = tws_singular_values(&context, w, n, n, n, values);
        printf("all singular values: %.2f s, s_1 = %.9f, s_n = %.3e (%s)\n", twsi_seconds() - start,
               values[0], values[n - 1], tws_status_text(status));
    }
    free(w);
    free(values);
    free(u);
    free(v);
    return status != TWS_OK;
}
