/* Matrix product beside the peak of fused multiply-adds and beside other libraries.
 *
 *   cc -O2 -I.. gemm.c -o gemm -lm -ldl
 *   ./gemm [--kernel NAME] [--threads T] [--runs R] [--no-peers] [--processor-time]
 *          [SET | SIZE | MxNxK] ...
 *
 * SET is square (1024, 2048, 4096), pipeline (the products of one step at N = d = 1024 and 4096) or
 * small (1 to 256, primes among them). Every shape is measured NN, NT and TN, pipeline shapes as the
 * pipeline calls them. --processor-time is for one thread on a busy machine. In each of R rounds (default 5) the peak and all libraries take turns; medians
 * are printed: GFLOP/s of ours, its ratio to the peak, and ours over each peer. */
#define _GNU_SOURCE /* dlopen, setenv, nanosleep, getrusage under -std=c99 */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "machine.h"
#include "peers/blas.h"

#include <sys/resource.h>
#include <time.h>

#define MAX_RUNS 99
#define PATIENCE 8 /* disturbed timings of a series after which none is taken again */
#define OURS 0 /* contender 0; peer i is contender i + 1 */
#define CONTENDERS (BLAS_PEERS + 1)

typedef struct shape {
    int ta, tb;
    size_t m, n, k;
} shape;

typedef struct series {
    tws_context context;
    unsigned threads;
    int runs, peers;
    double least; /* seconds that one timing lasts at least */
    /* over the lines so far: sums of logarithms, and the worst */
    int lines, disturbed;
    double log_peak, log_peer[CONTENDERS], log_best, worst_peak, worst_best;
} series;

typedef struct operands {
    tws_real *a, *b, *c, *expected;
} operands;

static void call(series *bench, const shape *s, int contender, const operands *o, tws_real *c) {
    if (contender != OURS) {
        blas_peers[contender - 1].multiply(s->ta, s->tb, s->m, s->n, s->k, (const float *)o->a,
                                           (const float *)o->b, (float *)c);
        return;
    }
    if (tws_gemm(&bench->context, s->ta ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE,
                 s->tb ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE, s->m, s->n, s->k, 1, o->a,
                 s->ta ? s->m : s->k, o->b, s->tb ? s->k : s->n, 0, c, s->n) != TWS_OK) {
        fprintf(stderr, "gemm: %s\n", bench->context.message);
        exit(1);
    }
}

static int takes_part(const series *bench, int contender) {
    return contender == OURS || (bench->peers && blas_peers[contender - 1].multiply != NULL);
}

/* A peer that computes something else is no peer. */
static void check(const shape *s, int contender, const operands *o) {
    const double bound = 1e-5 * sqrt((double)s->k) * 4 + 1e-6;
    size_t i;
    for (i = 0; i < s->m * s->n; i++)
        if (!(fabs((double)(o->c[i] - o->expected[i])) <= bound)) {
            fprintf(stderr, "gemm: %s differs at entry %lu of %lux%lux%lu\n",
                    blas_peers[contender - 1].name, (unsigned long)i, (unsigned long)s->m,
                    (unsigned long)s->n, (unsigned long)s->k);
            exit(1);
        }
}

static long switches(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nivcsw;
}

/* Seconds of a call. When other programs took the cores away, which the involuntary switches tell,
   the timing is taken again, five times at most; one that never came through is counted. After
   PATIENCE of these the machine is busy, and nothing is taken again. */
static double seconds_of(series *bench, const shape *s, int contender, const operands *o, long repeats) {
    double seconds = 0;
    int attempt;
    for (attempt = 0; attempt < (bench->disturbed < PATIENCE ? 6 : 1); attempt++) {
        const long before = switches();
        const double start = bench_seconds();
        long i;
        for (i = 0; i < repeats; i++) call(bench, s, contender, o, o->c);
        seconds = bench_seconds() - start;
        if (processor_time || (double)(switches() - before) <= 1 + 20 * seconds) return seconds / (double)repeats;
    }
    bench->disturbed++;
    return seconds / (double)repeats;
}

/* Threads of other libraries spin for some 30 ms after a call; nobody shall pay for another. */
static void calm(const series *bench) {
    struct timespec pause = {0, 40000000};
    if (bench->threads > 1 && bench->peers) nanosleep(&pause, NULL);
}

/* The first call of each contender warms up, is checked, and finds how many calls one timing takes. */
static long find_repeats(series *bench, const shape *s, int contender, const operands *o) {
    long repeats = 1;
    double seconds;
    call(bench, s, contender, o, contender == OURS ? o->expected : o->c);
    if (contender != OURS) check(s, contender, o);
    while (seconds = seconds_of(bench, s, contender, o, repeats), seconds * (double)repeats < bench->least / 4)
        repeats *= 4;
    seconds = bench->least / seconds;
    return seconds > 1 ? (long)(seconds + 1) : 1;
}

static const char *letters(const shape *s) {
    return s->ta ? (s->tb ? "TT" : "TN") : s->tb ? "NT" : "NN";
}

static void print_line(series *bench, const shape *s, double peak, const double *speed) {
    char text[64];
    double best = 0;
    int i;
    snprintf(text, sizeof text, "%lux%lux%lu", (unsigned long)s->m, (unsigned long)s->n,
             (unsigned long)s->k);
    printf("%-6s %u %-15s %s %7.1f %8.2f %6.3f ", tws_kernel_name(bench->context.kernel),
           bench->threads, text, letters(s), peak, speed[OURS], peak > 0 ? speed[OURS] / peak : 0);
    for (i = 1; i < CONTENDERS; i++) {
        if (!takes_part(bench, i)) continue;
        printf(" %8.2f %5.2f", speed[i], speed[OURS] / speed[i]);
        bench->log_peer[i] += log(speed[OURS] / speed[i]);
        best = larger(best, speed[i]);
    }
    if (best > 0) {
        bench->log_best += log(speed[OURS] / best);
        printf("  %5.2f", speed[OURS] / best);
        if (bench->lines == 0 || speed[OURS] / best < bench->worst_best)
            bench->worst_best = speed[OURS] / best;
    }
    if (peak > 0) {
        bench->log_peak += log(speed[OURS] / peak);
        if (bench->lines == 0 || speed[OURS] / peak < bench->worst_peak)
            bench->worst_peak = speed[OURS] / peak;
    }
    bench->lines++;
    printf("\n");
    fflush(stdout);
}

static void measure(series *bench, const shape *s) {
    double peak[MAX_RUNS], seconds[CONTENDERS][MAX_RUNS], speed[CONTENDERS];
    long repeats[CONTENDERS];
    operands o;
    int run, i;
    o.a = filled(s->m * s->k, 1), o.b = filled(s->k * s->n, 2);
    o.c = filled(s->m * s->n, 3), o.expected = filled(s->m * s->n, 4);
    for (i = 0; i < CONTENDERS; i++) {
        if (!takes_part(bench, i)) continue;
        calm(bench);
        if (i != OURS) blas_peers[i - 1].set_threads((int)bench->threads);
        repeats[i] = find_repeats(bench, s, i, &o);
    }
    for (run = -1; run < bench->runs; run++) { /* the first one meets fresh memory: it does not count */
        calm(bench);
        if (run >= 0) peak[run] = measure_peak(&bench->context, bench->threads, 5);
        for (i = 0; i < CONTENDERS; i++) {
            double taken;
            if (!takes_part(bench, i)) continue;
            calm(bench);
            taken = seconds_of(bench, s, i, &o, repeats[i]);
            if (run >= 0) seconds[i][run] = taken;
        }
    }
    for (i = 0; i < CONTENDERS; i++)
        if (takes_part(bench, i))
            speed[i] = 2e-9 * (double)s->m * (double)s->n * (double)s->k / median(seconds[i], bench->runs);
    print_line(bench, s, median(peak, bench->runs), speed);
    free(o.a), free(o.b), free(o.c), free(o.expected);
}

static void measure_all_ways(series *bench, size_t m, size_t n, size_t k) {
    int way;
    for (way = 0; way < 3; way++) {
        shape s;
        s.ta = way == 2, s.tb = way == 1, s.m = m, s.n = n, s.k = k;
        measure(bench, &s);
    }
}

static void heading(series *bench, const char *title) {
    int i;
    printf("\n%s, %u thread%s\nkernel T m x n x k       op    peak     ours  /peak ", title,
           bench->threads, bench->threads > 1 ? "s" : "");
    for (i = 1; i < CONTENDERS; i++)
        if (takes_part(bench, i)) printf(" %8s ours/", blas_peers[i - 1].name);
    printf("  ours/best peer   (GFLOP/s)\n");
    bench->lines = bench->disturbed = 0;
    bench->log_peak = bench->log_best = 0;
    memset(bench->log_peer, 0, sizeof bench->log_peer);
}

static void summary(series *bench) {
    int i, peers = 0;
    if (bench->lines == 0) return;
    printf("geometric mean over %d lines: /peak %.3f (least %.3f)", bench->lines,
           exp(bench->log_peak / bench->lines), bench->worst_peak);
    for (i = 1; i < CONTENDERS; i++)
        if (takes_part(bench, i)) {
            printf(", ours/%s %.3f", blas_peers[i - 1].name, exp(bench->log_peer[i] / bench->lines));
            peers++;
        }
    if (peers > 0)
        printf(", ours/best %.3f (least %.3f)", exp(bench->log_best / bench->lines), bench->worst_best);
    printf("\n");
    if (bench->disturbed > 0)
        printf("%d timings were disturbed by other programs\n", bench->disturbed);
}

static void square(series *bench) {
    heading(bench, "Square");
    measure_all_ways(bench, 1024, 1024, 1024);
    measure_all_ways(bench, 2048, 2048, 2048);
    measure_all_ways(bench, 4096, 4096, 4096);
    summary(bench);
}

/* W X' for a block of samples, and slopes times residual-scaled samples. */
static void pipeline(series *bench) {
    static const shape shapes[] = {{0, 1, 1024, 2048, 1024}, {0, 0, 1024, 1024, 2048},
                                   {0, 1, 4096, 2048, 4096}, {0, 0, 4096, 4096, 2048}};
    int i;
    heading(bench, "The products of a step: W X' and H' X of a block of 2048 samples");
    for (i = 0; i < 4; i++) measure(bench, &shapes[i]);
    summary(bench);
}

static void small(series *bench) {
    static const size_t one[] = {1,  2,  3,  4,  5,  7,  8,  11, 13, 16,  17,  23,  29,  31,  32,  37,  43,  48,
                                 53, 61, 64, 67, 73, 79, 83, 89, 96, 101, 113, 127, 128, 149, 163, 181, 192,
                                 199, 211, 227, 241, 251, 256};
    static const size_t more[] = {64, 97, 128, 151, 199, 251, 256};
    const size_t *sizes = bench->threads > 1 ? more : one;
    const size_t count = bench->threads > 1 ? sizeof more / sizeof *more : sizeof one / sizeof *one;
    size_t i;
    heading(bench, "Small and odd");
    bench->least = 0.003;
    for (i = 0; i < count; i++) measure_all_ways(bench, sizes[i], sizes[i], sizes[i]);
    summary(bench);
}

/* One size of the command line; several in a row share a heading. */
static void custom(series *bench, const char *text) {
    unsigned long m = 0, n = 0, k = 0;
    const int found = sscanf(text, "%lux%lux%lu", &m, &n, &k);
    if (found == 1) n = k = m;
    if ((found != 1 && found != 3) || m == 0 || n == 0 || k == 0) {
        fprintf(stderr, "gemm: cannot read the size %s\n", text);
        exit(1);
    }
    if (bench->lines == 0) heading(bench, "Sizes");
    measure_all_ways(bench, m, n, k);
}

int main(int count, char **argument) {
    series bench;
    int i, opened = 0;
    keep_memory();
    memset(&bench, 0, sizeof bench);
    bench.context = tws_default_context();
    bench.threads = tws_context_threads(&bench.context);
    bench.runs = 5;
    bench.peers = sizeof(tws_real) == sizeof(float);
    for (i = 1; i < count; i++) {
        const char *word = argument[i];
        bench.least = 0.05;
        if (strcmp(word, "--kernel") == 0 && i + 1 < count) {
            if (!choose_kernel(&bench.context, argument[++i])) {
                printf("%s: skipped, this machine does not have it\n", argument[i]);
                return 0;
            }
        } else if (strcmp(word, "--threads") == 0 && i + 1 < count) {
            bench.threads = (unsigned)atoi(argument[++i]);
            bench.threads = bench.threads < 1 ? 1 : bench.threads;
            tws_stop_workers(&bench.context); /* the peers keep theirs too */
            bench.context.threads = bench.threads;
            if (bench.threads > 1 && tws_start_workers(&bench.context) != TWS_OK) return 1;
        } else if (strcmp(word, "--runs") == 0 && i + 1 < count) {
            bench.runs = atoi(argument[++i]);
            bench.runs = bench.runs < 1 ? 1 : bench.runs > MAX_RUNS ? MAX_RUNS : bench.runs;
        } else if (strcmp(word, "--no-peers") == 0) {
            bench.peers = 0;
        } else if (strcmp(word, "--processor-time") == 0) {
            processor_time = 1;
        } else {
            if (bench.peers && !opened++) open_blas_peers();
            if (strcmp(word, "square") == 0) square(&bench);
            else if (strcmp(word, "pipeline") == 0) pipeline(&bench);
            else if (strcmp(word, "small") == 0) small(&bench);
            else custom(&bench, word);
        }
    }
    if (count == 1) {
        open_blas_peers();
        square(&bench);
    }
    tws_stop_workers(&bench.context);
    return 0;
}
