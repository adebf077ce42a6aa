/* Times the leading singular triplets of a spiked n x n matrix: Gaussian noise with bulk edge 2 and
   four outliers.
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

static void make(tws_real *w, double *u, double *v, size_t n) {
    const double strength[4] = {6.0, 4.0, 3.0, 2.2};
    size_t i, j, k;
    for (i = 0; i < n * n; i++) w[i] = (tws_real)(normal() / sqrt((double)n));
    for (k = 0; k < 4; k++) {
        for (i = 0; i < n; i++) u[i] = normal() / sqrt((double)n);
        for (i = 0; i < n; i++) v[i] = normal() / sqrt((double)n);
        for (i = 0; i < n; i++)
            for (j = 0; j < n; j++) w[i * n + j] += (tws_real)(strength[k] * u[i] * v[j]);
    }
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
    double best = 1e30, pass;
    tws_status status = TWS_OK;
    int round, repeat;
    if (w == NULL || values == NULL || u == NULL || v == NULL || n < 4 || top == 0) return 1;
    context.threads = argc > 3 ? (unsigned)atoi(argv[3]) : 0;
    options.tolerance = argc > 4 ? atof(argv[4]) : 1e-5;
    options.stop_below = argc > 5 ? atof(argv[5]) : 0.0;
    make(w, u, v, n);
    for (round = 0; round < 5; round++) {
        const double start = twsi_seconds();
        double took;
        status = tws_svd(&context, &options, w, n, n, n, values, u, v, residuals, &result);
        took = twsi_seconds() - start;
        if (took < best) best = took;
    }
    pass = fused_pass(w, n, context.threads, 20);
    printf("n %lu, top %lu, %s, %u threads: %s\n", (unsigned long)n, (unsigned long)top,
           tws_kernel_name(tws_context_kernel(&context)), tws_context_threads(&context),
           tws_status_text(status));
    printf("%lu of %lu converged, %lu passes, %lu products, best of 5: %.4f s, %.3f ms per pass; "
           "fused pass alone %.3f ms\n",
           (unsigned long)result.converged, (unsigned long)result.wanted,
           (unsigned long)result.passes, (unsigned long)result.products, best,
           1e3 * best / (double)result.passes, 1e3 * pass);
    for (repeat = 0; (size_t)repeat < top; repeat++)
        printf("  s_%d = %.9f, residual %.2e\n", repeat + 1, values[repeat], residuals[repeat]);
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
