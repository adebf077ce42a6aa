/* A few flat functions of twostep.h for the Python benches, which call them through ctypes.
 *   cc -O2 -fPIC -shared -I../.. ours.c -o ours.so -lm */
#define TWOSTEP_IMPLEMENTATION
#define TWOSTEP_STATIC
#include "twostep.h"

#include "../machine.h"
#include "../pass.h"

double ours_peak(unsigned threads);
double ours_bandwidth(unsigned threads);
double ours_edge(size_t n);
int ours_normals(float *out, size_t count, uint64_t seed);
int ours_svd(const float *w, size_t n, size_t top, double tolerance, double stop_below,
             unsigned threads, double *values, double *left, double *right, size_t *counts);
double ours_pass(const float *w, size_t n, unsigned threads, int repeats);

double ours_peak(unsigned threads) { return measure_peak(NULL, threads, 9); }
double ours_bandwidth(unsigned threads) { return measure_bandwidth(NULL, threads, 9); }

/* Above this a value of an n x n matrix of unit rows is an outlier: as tws_measure counts. */
double ours_edge(size_t n) {
    return tws_bulk_edge((double)n, (double)n) + 3 * tws_edge_scale((double)n, (double)n);
}

/* On one thread. */
int ours_normals(float *out, size_t count, uint64_t seed) {
    tws_random random = tws_random_stream(seed, TWS_FOR_USER, 0);
    return (int)tws_random_normals(NULL, &random, out, count);
}

/* counts: wanted, converged, passes. */
int ours_svd(const float *w, size_t n, size_t top, double tolerance, double stop_below,
             unsigned threads, double *values, double *left, double *right, size_t *counts) {
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(top);
    tws_svd_result result;
    tws_status status;
    context.threads = threads;
    options.tolerance = tolerance;
    options.stop_below = stop_below;
    memset(&result, 0, sizeof result);
    status = tws_svd(&context, &options, w, n, n, n, values, left, right, NULL, &result);
    counts[0] = result.wanted;
    counts[1] = result.converged;
    counts[2] = result.passes;
    return (int)status;
}

/* Seconds of one fused pass. */
double ours_pass(const float *w, size_t n, unsigned threads, int repeats) {
    return fused_pass(w, n, threads, repeats);
}
