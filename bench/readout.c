/* Ridge regression beside the time that its operations take at the peak of the machine.
 *
 *   cc -std=c99 -O2 -I.. readout.c -o readout -lm
 *   ./readout [--threads T] [--kernel NAME] [NxSAMPLES ...]
 *
 * One lambda (tws_ridge): n N m + m^3 / 3 operations with m the smaller of N and n. A grid of 25
 * lambdas with leave-one-out errors (tws_ridge_path) beside 25 times one lambda. Medians of five. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "machine.h"

#include <stdlib.h>

#define GRID 25

#define RUNS 5

static void must(tws_status status, const tws_context *context) {
    if (status == TWS_OK) return;
    fprintf(stderr, "readout: %s\n", context->message);
    exit(1);
}

static void line(tws_context *context, size_t N, size_t n) {
    tws_real *features = (tws_real *)malloc(N * n * sizeof *features);
    tws_real *labels = (tws_real *)malloc(n * sizeof *labels);
    double *coefficients = (double *)malloc(N * GRID * sizeof *coefficients);
    double lambdas[GRID], train[GRID], loo[GRID], single[RUNS], grid[RUNS];
    const double m = (double)(N < n ? N : n);
    const double peak = measure_peak(context, tws_context_threads(context), 9);
    const double floor = (m * (double)N * (double)n + m * m * m / 3) / peak * 1e-9;
    size_t iterations = 0, i;
    double one, all;
    int run;
    if (features == NULL || labels == NULL || coefficients == NULL) exit(1);
    must(tws_random_matrix(context, 1, TWS_FOR_USER, 0, n, N, features, N), context);
    must(tws_random_matrix(context, 1, TWS_FOR_USER + 1, 0, 1, n, labels, n), context);
    for (i = 0; i < N * n; i++) /* the mean and the size of a shifted tanh */
        features[i] = (tws_real)((0.45 + 0.5 * (double)features[i]) / sqrt((double)N));
    for (i = 0; i < GRID; i++) lambdas[i] = pow(10.0, -6.0 + 0.25 * (double)i);
    for (run = 0; run < RUNS; run++) {
        const double start = twsi_seconds();
        must(tws_ridge(context, features, n, N, N, labels, 1e-3, coefficients, &iterations), context);
        single[run] = twsi_seconds() - start;
    }
    for (run = 0; run < RUNS; run++) {
        const double start = twsi_seconds();
        must(tws_ridge_path(context, features, n, N, N, labels, lambdas, GRID, coefficients, train, loo), context);
        grid[run] = twsi_seconds() - start;
    }
    one = median(single, RUNS);
    all = median(grid, RUNS);
    printf("%s, %u threads, peak %6.1f GFLOP/s, N = %5lu, n = %5lu   one lambda %6.3f s, %lu iterations, floor %6.3f s, ratio %5.2f   grid of %d %6.3f s, "
           "%4.1f x one lambda\n",
           tws_kernel_name(tws_context_kernel(context)), tws_context_threads(context), peak, (unsigned long)N, (unsigned long)n, one, (unsigned long)iterations, floor, one / floor,
           GRID, all, all / one);
    fflush(stdout);
    free(coefficients);
    free(labels);
    free(features);
}

int main(int count, char **arguments) {
    static const size_t usual[][2] = {{1024, 1024}, {2048, 2048}, {2048, 4096}, {4096, 4096}};
    tws_context context = tws_default_context();
    int i, sizes = 0;
    keep_memory();
    for (i = 1; i < count; i++) {
        unsigned long N = 0, n = 0;
        if (strcmp(arguments[i], "--threads") == 0 && i + 1 < count) {
            context.threads = (unsigned)atoi(arguments[++i]);
            continue;
        }
        if (strcmp(arguments[i], "--kernel") == 0 && i + 1 < count) {
            if (choose_kernel(&context, arguments[++i])) continue;
            printf("%s: skipped, this machine does not have it\n", arguments[i]);
            return 0;
        }
        if (sscanf(arguments[i], "%lux%lu", &N, &n) != 2 || N == 0 || n == 0) {
            fprintf(stderr, "readout: cannot read the size %s\n", arguments[i]);
            return 2;
        }
        line(&context, N, n);
        sizes++;
    }
    for (i = 0; sizes == 0 && i < 4; i++) line(&context, usual[i][0], usual[i][1]);
    return 0;
}
