/* The product with fewer operations beside the plain one: rates in terms of 2 n^3 operations, so
 * that more than the peak is possible, and errors against sums in double.
 *
 *   cc -O2 -I.. -o strassen strassen.c -lm && ./strassen [--threads T] [--kernel NAME] [n ...]
 *
 * All levels take turns; medians of five. Entries of A and B are normal; the error is the root of
 * the mean square over 4096 entries of C, over that of the entries. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include <stdio.h>
#include <string.h>

#include "machine.h"

#define TURNS 5
#define LEVELS 3

/* Error over size, of entries spread over C. */
static double error(const tws_real *a, const tws_real *b, const tws_real *c, size_t n) {
    double off = 0, all = 0;
    size_t s, p;
    for (s = 0; s < 4096; s++) {
        const size_t i = s * 2654435761u % n, j = s * 40503u % n;
        double exact = 0;
        for (p = 0; p < n; p++) exact += (double)a[i * n + p] * (double)b[p * n + j];
        off += ((double)c[i * n + j] - exact) * ((double)c[i * n + j] - exact);
        all += exact * exact;
    }
    return sqrt(off / all);
}

static void must(tws_context *context, tws_status status) {
    if (status == TWS_OK) return;
    fprintf(stderr, "strassen: %s\n", context->message);
    exit(1);
}

static void line(tws_context *context, size_t n) {
    tws_real *a = (tws_real *)take(n * n * sizeof *a), *b = (tws_real *)take(n * n * sizeof *b);
    tws_real *c = (tws_real *)take(n * n * sizeof *c);
    double seconds[LEVELS][TURNS], peaks[TURNS], wrong[LEVELS], plain = 0;
    int turn, level;
    must(context, tws_random_matrix(context, 1, TWS_FOR_USER, 0, n, n, a, n));
    must(context, tws_random_matrix(context, 2, TWS_FOR_USER, 0, n, n, b, n));
    for (turn = 0; turn < TURNS; turn++) {
        peaks[turn] = measure_peak(context, tws_context_threads(context), 5);
        for (level = 0; level < LEVELS; level++) {
            const double start = bench_seconds();
            must(context, tws_gemm_strassen(context, level, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, n, n, n, a, n, b, n, c, n));
            seconds[level][turn] = bench_seconds() - start;
            if (turn == 0) wrong[level] = error(a, b, c, n);
        }
    }
    for (level = 0; level < LEVELS; level++) {
        const double peak = median(peaks, TURNS);
        const double rate = 2e-9 * (double)n * (double)n * (double)n / median(seconds[level], TURNS);
        if (level == 0) plain = rate;
        printf("%s, n = %5lu, %u threads, %d levels: %7.1f GFLOP/s, %.3f of the peak of %.1f, %.3f x plain, error %.2e, %.1f x plain\n",
               tws_kernel_name(context->kernel), (unsigned long)n, tws_context_threads(context), level, rate, rate / peak, peak, rate / plain, wrong[level],
               wrong[level] / wrong[0]);
    }
    fflush(stdout);
    free(a);
    free(b);
    free(c);
}

int main(int count, char **words) {
    tws_context context = tws_default_context();
    int i, sizes = 0;
    keep_memory();
    for (i = 1; i < count; i++) {
        if (strcmp(words[i], "--threads") == 0 && i + 1 < count) {
            context.threads = (unsigned)atoi(words[++i]);
        } else if (strcmp(words[i], "--kernel") == 0 && i + 1 < count) {
            if (!choose_kernel(&context, words[++i])) {
                printf("%s: skipped, this machine does not have it\n", words[i]);
                return 0;
            }
        } else {
            line(&context, (size_t)atol(words[i]));
            sizes++;
        }
    }
    if (sizes == 0) line(&context, 4096);
    return 0;
}
