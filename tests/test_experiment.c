/* float only */
/* The experiment is the paper's: spectra of W_1 and W_2 against an independent simulation (means of
 * 16 seeds in data/spectra.txt), a reused batch against a fresh one, outliers and edge, the same
 * numbers for any number of threads. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"
#include "ranks.h"
#include <stdlib.h>

enum { SEEDS = 16, VALUES = 40 };

#ifndef TEST_QUICK
typedef struct mean {
    double sum, square;
} mean;

static void add(mean *m, double value) {
    m->sum += value;
    m->square += value * value;
}

static double average(const mean *m, int count) { return m->sum / count; }

static double standard_error(const mean *m, int count) {
    const double a = average(m, count);
    return sqrt(fmax(0, m->square / count - a * a) / (count - 1));
}

/* The numbers on the rest of the line. */
static int read_values(const char *text, double *values) {
    int count = 0;
    char *end;
    while (count < VALUES) {
        values[count] = strtod(text, &end);
        if (end == text) break;
        text = end;
        count++;
    }
    return count;
}

static int read_case(const char *line, char *name, tws_config *config) {
    char activation[32], target[32], batches[16], init[16];
    unsigned long n, d, samples;
    *config = tws_default_config();
    if (sscanf(line, "case %15s %lu %lu %lu %lf %lf %lf %lf %31s %31s %lf %15s %15s", name, &n, &d, &samples,
               &config->alpha1, &config->alpha2, &config->scale1, &config->scale2, activation, target, &config->noise,
               batches, init) != 13)
        return 0;
    config->neurons = n;
    config->inputs = d;
    config->samples = samples;
    config->batches = strcmp(batches, "reuse") == 0 ? TWS_REUSE : TWS_FRESH;
    config->init = strcmp(init, "sphere") == 0 ? TWS_SPHERE : TWS_GAUSSIAN;
    config->top = 4;
    return tws_activation_named(activation, &config->activation) == TWS_OK &&
           tws_target_named(target, &config->target) == TWS_OK;
}

/* Both means have standard errors; 4 combined ones pass by chance once in some 10 000. */
static void near_mean(const char *name, const char *what, const mean *ours, double want, double want_error) {
    const double error = standard_error(ours, SEEDS), got = average(ours, SEEDS);
    const double bound = 4 * sqrt(error * error + want_error * want_error);
    if (!(fabs(got - want) <= bound))
        fprintf(stderr, "%s %s: mean %.5g, reference %.5g, allowed difference %.2g\n", name, what, got, want, bound);
    CHECK(fabs(got - want) <= bound);
}

typedef struct reference {
    char name[16];
    tws_config config;
    double theory[VALUES], one[VALUES], two[VALUES]; /* lines theory2, simulated1, simulated2 */
} reference;

static void compare_case(const reference *r) {
    static tws_result result;
    const int which = r->config.batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
    mean s[2] = {{0, 0}, {0, 0}}, align[2] = {{0, 0}, {0, 0}}, readout = {0, 0}, first = {0, 0}, edge = {0, 0}, count = {0, 0};
    tws_config config = r->config;
    int seed, k;
    for (seed = 1; seed <= SEEDS; seed++) {
        config.seed = (uint64_t)seed;
        CHECK(tws_run(NULL, &config, 1u << TWS_ONE_STEP | 1u << which, &result) == TWS_OK);
        for (k = 0; k < 2; k++) {
            add(&s[k], result.spectrum[which].singular_values[k]);
            add(&align[k], result.spectrum[which].alignments[k]);
        }
        add(&readout, result.spectrum[which].readout_alignments[0]);
        add(&first, result.spectrum[TWS_ONE_STEP].singular_values[0]);
        add(&edge, result.spectrum[which].row_edge);
        tws_count_outliers(&result.spectrum[which], r->theory[0]);
        add(&count, (double)result.spectrum[which].outliers);
    }
    near_mean(r->name, "s1", &s[0], r->two[1], r->two[7]);
    near_mean(r->name, "s2", &s[1], r->two[2], r->two[8]);
    near_mean(r->name, "alignment 1", &align[0], r->two[13], r->two[18]);
    near_mean(r->name, "alignment 2", &align[1], r->two[14], r->two[19]);
    near_mean(r->name, "s1 of W1", &first, r->one[0], r->one[2]);
    CHECK_NEAR(average(&readout, SEEDS), r->two[23], 0.003);
    if (getenv("TWOSTEP_SHOW") != NULL)
        printf("%s edge %.4f (theory %.4f) outliers %.2f (theory %g, second value %.3f)\n", r->name,
               average(&edge, SEEDS), r->theory[0], average(&count, SEEDS), r->theory[1], r->theory[3]);
    /* The edge from the rows and the theory's share no formula but the last. The rows do not show
       the unequal weights of the samples: where these matter (step3, step4) it lies lower. */
    if (average(&edge, SEEDS) < r->theory[0] - 0.02) CHECK_NEAR(average(&edge, SEEDS), r->theory[0], 0.13);
    else CHECK_NEAR(average(&edge, SEEDS), r->theory[0], 0.02);
    /* where the theory's last outlier is clear of the edge, the count is the theory's */
    if (r->theory[1] >= 1 && r->theory[1] <= 3 && r->theory[1 + (int)r->theory[1]] > 1.05 * r->theory[0])
        CHECK_NEAR(average(&count, SEEDS), r->theory[1], 0.5);
}

static void references(void) {
    char path[1024] = __FILE__, line[2048], *slash = strrchr(path, '/');
    reference r;
    int cases = 0, parts = 0;
    FILE *file;
    strcpy(slash != NULL ? slash + 1 : path, "data/spectra.txt");
    file = fopen(path, "r");
    if (!CHECK(file != NULL)) return;
    memset(&r, 0, sizeof r);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "case ", 5) == 0) parts = CHECK(read_case(line, r.name, &r.config));
        else if (strncmp(line, "theory2 ", 8) == 0) parts += read_values(line + 8, r.theory) >= 16;
        else if (strncmp(line, "simulated2 ", 11) == 0) parts += read_values(line + 11, r.two) >= 31;
        else if (strncmp(line, "simulated1 ", 11) == 0) parts += read_values(line + 11, r.one) >= 5;
        if (parts == 4) {
            CHECK(r.two[0] >= SEEDS && r.two[0] <= SEEDS);
            compare_case(&r);
            cases++;
            parts = 0;
        }
    }
    fclose(file);
    CHECK(cases == 13);
}

/* The paper in one table: step4 has information exponent three. On a reused batch the second
   outlier sees it; on a fresh one nothing does. */
static void fresh_against_reused(void) {
    static tws_result result;
    tws_config config = tws_default_config();
    double first = 0, second = 0, fresh = 0;
    int seed;
    config.neurons = config.inputs = 1000;
    config.samples = 5000;
    config.alpha1 = config.alpha2 = 0.45;
    config.scale2 = 2;
    CHECK(tws_target_named("step4", &config.target) == TWS_OK);
    config.top = 4;
    for (seed = 1; seed <= 4; seed++) {
        const tws_spectrum *f = &result.spectrum[TWS_TWO_STEPS_FRESH], *r = &result.spectrum[TWS_TWO_STEPS_REUSE];
        config.seed = (uint64_t)seed;
        CHECK(tws_run(NULL, &config, TWS_ALL_CASES, &result) == TWS_OK);
        CHECK(result.measured[TWS_INITIAL] && result.measured[TWS_ONE_STEP] && result.measured[TWS_TWO_STEPS_FRESH] &&
              result.measured[TWS_TWO_STEPS_REUSE]);
        CHECK(result.spectrum[TWS_INITIAL].outliers == 0 && result.spectrum[TWS_ONE_STEP].outliers == 1);
        CHECK(r->outliers == 2);
        first += r->alignments[0] / 4;
        second += r->alignments[1] / 4;
        fresh += sqrt(f->alignments[0] * f->alignments[0] + f->alignments[1] * f->alignments[1]) / 4;
    }
    CHECK(first <= 0.1);
    CHECK(second >= 0.5);
    CHECK(fresh <= 0.1);
}

#endif /* TEST_QUICK */

static int same_spectrum(const tws_spectrum *a, const tws_spectrum *b) {
    return memcmp(a->singular_values, b->singular_values, sizeof a->singular_values) == 0 &&
           memcmp(a->alignments, b->alignments, sizeof a->alignments) == 0 &&
           memcmp(a->readout_alignments, b->readout_alignments, sizeof a->readout_alignments) == 0 &&
           memcmp(a->residuals, b->residuals, sizeof a->residuals) == 0 && a->outliers == b->outliers &&
           memcmp(&a->edge, &b->edge, sizeof a->edge) == 0;
}

static void serial_for(void *user, size_t count, tws_task task, void *data) {
    size_t i = count;
    (*(long *)user)++;
    while (i-- > 0) task(data, i, i % 2); /* any order, any worker */
}

static void any_number_of_threads(void) {
    static tws_result want, got;
    tws_config config = tws_default_config();
    int kernel, t, which;
    config.neurons = 230;
    config.inputs = 170;
    config.samples = 700;
    config.scale1 = 3;
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        const unsigned counts[] = {1, 2, 3, 7, 0};
        long calls = 0;
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        for (t = 0; t < 5; t++) {
            tws_context context = tws_default_context();
            context.kernel = (tws_kernel)kernel;
            context.threads = counts[t];
            if (t == 4) {
                context.threads = 2;
                context.parallel_for = serial_for;
                context.parallel_user = &calls;
            }
            CHECK(tws_run(&context, &config, TWS_ALL_CASES, t == 0 ? &want : &got) == TWS_OK);
            for (which = 0; t > 0 && which < (int)TWS_CASE_COUNT; which++) {
                CHECK(same_spectrum(&want.spectrum[which], &got.spectrum[which]));
                CHECK(memcmp(&want.loss[which], &got.loss[which], sizeof want.loss[which]) == 0);
            }
        }
        CHECK(calls > 10);
    }
}

/* One case alone is the same as in company: fresh, reused, first step. */
static void cases_agree(void) {
    static tws_result all, one;
    tws_config config = tws_default_config();
    int which;
    config.neurons = 120;
    config.inputs = 200;
    config.samples = 300;
    CHECK(tws_run(NULL, &config, TWS_ALL_CASES, &all) == TWS_OK);
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        CHECK(tws_run(NULL, &config, 1u << which, &one) == TWS_OK);
        CHECK(one.measured[which] && same_spectrum(&all.spectrum[which], &one.spectrum[which]));
        CHECK(one.measured[(which + 1) % 4] == 0);
    }
    CHECK(!same_spectrum(&all.spectrum[TWS_TWO_STEPS_FRESH], &all.spectrum[TWS_TWO_STEPS_REUSE]));
    CHECK_NEAR(all.eta1, pow(120, 0.3), 1e-12);
    CHECK_NEAR(all.eta2, pow(120, 0.4), 1e-12);
}

/* A matrix whose spectrum is known: a spike of a known direction on a bulk. */
static void known_spike(void) {
    enum { ROWS = 400, COLUMNS = 300 };
    tws_config config = tws_default_config();
    static tws_real w[ROWS * COLUMNS], a[ROWS], b[COLUMNS];
    const double theta = 3, c = (double)ROWS / COLUMNS;
    tws_spectrum spectrum;
    int i, j;
    config.neurons = ROWS;
    config.inputs = COLUMNS;
    config.init = TWS_GAUSSIAN;
    CHECK(tws_make_weights(NULL, &config, 0, ROWS, w) == TWS_OK && tws_make_readout(NULL, &config, 0, ROWS, a) == TWS_OK);
    CHECK(tws_make_directions(NULL, &config, b) == TWS_OK);
    CHECK(tws_measure(NULL, w, ROWS, COLUMNS, a, b, 1, 3, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.outliers == 0 && spectrum.captured <= 0);
    CHECK_NEAR(spectrum.edge, tws_bulk_edge(ROWS, COLUMNS), 0.012); /* the rows scatter by 0.004 */
    CHECK_NEAR(spectrum.margin, 3 * tws_edge_scale(ROWS, COLUMNS), 0.01 * spectrum.margin);
    {
        const double norm = sqrt(twsi_dot(a, a, ROWS));
        for (i = 0; i < ROWS; i++)
            for (j = 0; j < COLUMNS; j++)
                w[i * COLUMNS + j] += (tws_real)(theta * (double)a[i] / norm * (double)b[j]);
    }
    CHECK(tws_measure(NULL, w, ROWS, COLUMNS, a, b, 1, 3, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.outliers == 1);
    CHECK_NEAR(spectrum.edge, tws_bulk_edge(ROWS, COLUMNS), 0.02); /* the spike does not move the edge */
    /* Benaych-Georges and Nadakuditi 2012 */
    CHECK_NEAR(spectrum.singular_values[0], sqrt((1 + theta * theta) * (c + theta * theta)) / theta, 0.12);
    CHECK_NEAR(spectrum.alignments[0], sqrt(1 - (c + theta * theta) / (theta * theta * (theta * theta + 1))), 0.03);
    CHECK_NEAR(spectrum.readout_alignments[0], sqrt(1 - c * (1 + theta * theta) / (theta * theta * (theta * theta + c))), 0.03);
    CHECK_NEAR(spectrum.captured, spectrum.alignments[0], 1e-12);
    CHECK(tws_measure(NULL, w, ROWS, COLUMNS, NULL, NULL, 0, 3, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.alignments[0] <= 0 && spectrum.readout_alignments[0] <= 0);
}

/* The four matrices once more, step by step with the public parts. */
static void by_hand(void) {
    enum { N = 120, D = 100, SAMPLES = 250 };
    static tws_real w[N * D], w1[N * D], a[N], b[D], x[2][SAMPLES * D], y[2][SAMPLES];
    static tws_result result;
    tws_config config = tws_default_config();
    tws_network network;
    tws_batch batch;
    tws_spectrum spectrum;
    int second;
    config.neurons = N;
    config.inputs = D;
    config.samples = SAMPLES;
    config.scale1 = 2;
    config.scale2 = 3;
    CHECK(tws_run(NULL, &config, TWS_ALL_CASES, &result) == TWS_OK);
    CHECK(tws_make_weights(NULL, &config, 0, N, w) == TWS_OK && tws_make_readout(NULL, &config, 0, N, a) == TWS_OK);
    CHECK(tws_make_directions(NULL, &config, b) == TWS_OK);
    CHECK(tws_make_batch(NULL, &config, b, 0, x[0], y[0]) == TWS_OK && tws_make_batch(NULL, &config, b, 1, x[1], y[1]) == TWS_OK);
    network.count = N;
    network.inputs = D;
    network.output_scale = 1 / sqrt((double)N);
    network.activation = config.activation;
    network.weights = w;
    network.readout = a;
    batch.samples = SAMPLES;
    batch.inputs = x[0];
    batch.labels = y[0];
    CHECK(tws_step(NULL, &network, &batch, 2 * pow(N, 0.3), w, NULL) == TWS_OK);
    CHECK(tws_measure(NULL, w, N, D, a, b, 1, config.top, 1, &spectrum) == TWS_OK);
    CHECK(same_spectrum(&spectrum, &result.spectrum[TWS_ONE_STEP]));
    memcpy(w1, w, sizeof w);
    for (second = 0; second < 2; second++) {
        const tws_case which = second == 0 ? TWS_TWO_STEPS_REUSE : TWS_TWO_STEPS_FRESH;
        memcpy(w, w1, sizeof w);
        batch.inputs = x[second];
        batch.labels = y[second];
        CHECK(tws_step(NULL, &network, &batch, 3 * pow(N, 0.4), w, NULL) == TWS_OK);
        CHECK(tws_measure(NULL, w, N, D, a, b, 1, config.top, 1, &spectrum) == TWS_OK);
        CHECK(same_spectrum(&spectrum, &result.spectrum[which]));
    }
}

/* Three processes with unequal blocks of rows measure what one process measures. */
#ifdef TWSI_PTHREADS
enum { SHARED_N = 140, SHARED_D = 90, SHARED_TOP = 5 };

typedef struct block {
    const tws_real *weights, *readout, *directions;
    size_t count, top;
    tws_spectrum spectrum;
    tws_status status;
} block;

static void measure_block(rank *self, void *data) {
    block *mine = (block *)data;
    mine->status = tws_measure(&self->context, mine->weights, mine->count, SHARED_D, mine->readout, mine->directions, 1,
                               mine->top, 1, &mine->spectrum);
}

static void shared_rows(void) {
    static tws_real w[SHARED_N * SHARED_D], a[SHARED_N], b[SHARED_D];
    static block blocks[3];
    const size_t counts[3] = {4, 96, 40};
    void *data[3];
    tws_config config = tws_default_config();
    tws_spectrum want;
    ranks seen;
    size_t first = 0, k;
    int i, j, r;
    config.neurons = SHARED_N;
    config.inputs = SHARED_D;
    CHECK(tws_make_weights(NULL, &config, 0, SHARED_N, w) == TWS_OK && tws_make_readout(NULL, &config, 0, SHARED_N, a) == TWS_OK);
    CHECK(tws_make_directions(NULL, &config, b) == TWS_OK);
    for (i = 0; i < SHARED_N; i++)
        for (j = 0; j < SHARED_D; j++)
            w[i * SHARED_D + j] = (tws_real)((i % 3 ? 1.0 : 1.5) * (double)w[i * SHARED_D + j] + 3 * (double)a[i] * (double)b[j]);
    CHECK(tws_measure(NULL, w, SHARED_N, SHARED_D, a, b, 1, SHARED_TOP, 1, &want) == TWS_OK && want.outliers >= 1);
    for (r = 0; r < 3; r++) {
        blocks[r].weights = w + first * SHARED_D;
        blocks[r].readout = a + first;
        blocks[r].directions = b;
        blocks[r].count = counts[r];
        blocks[r].top = SHARED_TOP;
        first += counts[r];
        data[r] = &blocks[r];
    }
    seen = ranks_run(3, measure_block, data);
    CHECK(seen.sums > 10 && seen.mismatched == 0 && seen.abandoned == 0);
    for (r = 0; r < 3; r++) {
        const tws_spectrum *got = &blocks[r].spectrum;
        CHECK(blocks[r].status == TWS_OK && got->outliers == want.outliers);
        CHECK_NEAR(got->edge, want.edge, 1e-6);
        CHECK_NEAR(got->margin, want.margin, 1e-7);
        for (k = 0; k < SHARED_TOP; k++) {
            CHECK_NEAR(got->singular_values[k], want.singular_values[k], 2e-6);
            CHECK_NEAR(got->alignments[k], want.alignments[k], 1e-4);
            CHECK_NEAR(got->readout_alignments[k], want.readout_alignments[k], 1e-4);
        }
    }
    blocks[1].top = 0; /* misuse on one rank: all return */
    seen = ranks_run(3, measure_block, data);
    CHECK(seen.abandoned == 0 && blocks[1].status == TWS_BAD_ARGUMENT && blocks[0].status == TWS_CALLBACK_FAILED);
}

static int never_called(void *user, double *values, size_t count) {
    (void)values;
    (void)count;
    *(int *)user = 1;
    return 0;
}

/* tws_run holds all neurons: a reduce would count them once per process. */
static void run_refuses_to_share(void) {
    static tws_result result;
    tws_config config = tws_default_config();
    tws_context context = tws_default_context();
    int called = 0;
    context.reduce = never_called;
    context.reduce_user = &called;
    CHECK(tws_run(&context, &config, 0, &result) == TWS_BAD_ARGUMENT && called == 0);
    CHECK(strstr(context.message, "context.reduce is set") != NULL);
}
#endif

/* Rows of two lengths: the bulk ends far beyond 1 + sqrt(N/d), and nothing in it is an outlier. */
static void uneven_rows(void) {
    enum { ROWS = 400, COLUMNS = 300 };
    static tws_real w[ROWS * COLUMNS];
    tws_config config = tws_default_config();
    tws_spectrum spectrum;
    int i;
    config.neurons = ROWS;
    config.inputs = COLUMNS;
    CHECK(tws_make_weights(NULL, &config, 0, ROWS, w) == TWS_OK);
    for (i = 0; i < ROWS * COLUMNS / 2; i++) w[i] *= 2;
    CHECK(tws_measure(NULL, w, ROWS, COLUMNS, NULL, NULL, 0, 6, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.outliers == 0);
    CHECK_NEAR(spectrum.singular_values[0], spectrum.edge, sizeof(tws_real) == sizeof(float) ? 0.06 : 0.12); /* other numbers */
    CHECK(spectrum.edge > 3);
    tws_count_outliers(&spectrum, 0);
    CHECK(spectrum.edge > 3 && spectrum.edge <= spectrum.row_edge && spectrum.row_edge <= spectrum.edge);
    tws_count_outliers(&spectrum, 5);
    CHECK(spectrum.edge >= 5 && spectrum.row_edge < 4);
}

/* Sizes far from 1: the same counts and sizes times the power of two. What rounding adds to a matrix
   of rank one is no outlier. */
static void far_sizes(void) {
    enum { ROWS = 60, COLUMNS = 40 };
    static const int powers[] = {40, -40, 120, -100, 300, -300, 600, -600, 1000, -1000};
    static tws_real w[ROWS * COLUMNS], other[ROWS * COLUMNS];
    tws_config config = tws_default_config();
    tws_spectrum spectrum, far_off;
    size_t i, k;
    config.neurons = ROWS;
    config.inputs = COLUMNS;
    CHECK(tws_make_weights(NULL, &config, 0, ROWS, w) == TWS_OK);
    for (i = 0; i < ROWS * COLUMNS; i++) w[i] += (tws_real)(i % COLUMNS == i / COLUMNS % 3 ? 0.9 : 0);
    CHECK(tws_measure(NULL, w, ROWS, COLUMNS, NULL, NULL, 0, 6, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.outliers == 3 && spectrum.edge > 1);
    for (k = 0; k < sizeof powers / sizeof powers[0]; k++) {
        if (sizeof(tws_real) == sizeof(float) && (powers[k] > 120 || powers[k] < -100)) continue;
        for (i = 0; i < ROWS * COLUMNS; i++) other[i] = (tws_real)ldexp((double)w[i], powers[k]);
        CHECK(tws_measure(NULL, other, ROWS, COLUMNS, NULL, NULL, 0, 6, 1, &far_off) == TWS_OK);
        CHECK(far_off.outliers == spectrum.outliers);
        CHECK_NEAR(ldexp(far_off.edge, -powers[k]) / spectrum.edge, 1, 1e-6);
        CHECK_NEAR(ldexp(far_off.margin, -powers[k]) / spectrum.margin, 1, 1e-6);
        CHECK_NEAR(ldexp(far_off.singular_values[0], -powers[k]) / spectrum.singular_values[0], 1, 1e-6);
    }
    for (i = 0; i < 20 * 20; i++)
        w[i] = (tws_real)((1 + (double)(i / 20) / 7) * (1 + (double)(i % 20) / 3));
    CHECK(tws_measure(NULL, w, 20, 20, NULL, NULL, 0, 10, 1, &spectrum) == TWS_OK);
    CHECK(spectrum.outliers == 1);
}

static void refusals(void) {
    static tws_result result;
    tws_context context = tws_default_context();
    tws_config config = tws_default_config();
    failing memory = {0, 0, 0};
    tws_status status = TWS_OUT_OF_MEMORY;
    tws_spectrum spectrum;
    tws_real w[16] = {0};
    CHECK(tws_run(&context, NULL, 0, &result) == TWS_BAD_ARGUMENT);
    CHECK(tws_run(&context, &config, 0, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_run(&context, &config, 16, &result) == TWS_BAD_ARGUMENT && strstr(context.message, "16") != NULL);
    config.alpha1 = 0.5;
    CHECK(tws_run(&context, &config, 0, &result) == TWS_BAD_ARGUMENT);
    CHECK(strcmp(context.message, "alpha1 is 0.5, it must be at least 0 and below 0.5") == 0);
    CHECK(tws_measure(&context, NULL, 4, 4, NULL, NULL, 0, 1, 1, &spectrum) == TWS_BAD_ARGUMENT);
    CHECK(tws_measure(&context, w, 4, 4, NULL, NULL, 0, 0, 1, &spectrum) == TWS_BAD_ARGUMENT);
    CHECK(tws_measure(&context, w, 4, 4, NULL, NULL, 0, 5, 1, &spectrum) == TWS_BAD_ARGUMENT);
    CHECK(tws_measure(&context, w, 4, 4, NULL, w, 9, 1, 1, &spectrum) == TWS_BAD_ARGUMENT);
    CHECK(tws_measure(&context, w, 4, 4, NULL, NULL, 0, 1, 1, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_measure(&context, w, 4, 4, w, w, 1, 2, 1, &spectrum) == TWS_OK); /* zero: nothing learned */
    CHECK(spectrum.outliers == 0 && spectrum.edge <= 0 && spectrum.captured <= 0);
    w[5] = (tws_real)(HUGE_VAL - HUGE_VAL);
    CHECK(tws_measure(&context, w, 4, 4, NULL, NULL, 0, 1, 1, &spectrum) == TWS_NOT_FINITE);
    config = tws_default_config();
    config.neurons = config.inputs = 30;
    config.samples = 40;
    config.top = 3;
    context.allocator.allocate = failing_allocate;
    context.allocator.release = failing_release;
    context.allocator.user = &memory;
    for (memory.fail_at = 0; status != TWS_OK && memory.fail_at < 400; memory.fail_at++) {
        memory.calls = 0;
        status = tws_run(&context, &config, TWS_ALL_CASES, &result);
        CHECK(memory.out == 0);
        CHECK(status == TWS_OK || (status == TWS_OUT_OF_MEMORY && context.message[0] != '\0'));
    }
    CHECK(status == TWS_OK && memory.fail_at > 30);
}

/* ---- visits ---- */

typedef struct visitor {
    int calls, fail_at, order[TWS_CASE_COUNT + 1];
    double largest[TWS_CASE_COUNT];
    size_t rows, columns;
} visitor;

static tws_status look(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    visitor *v = (visitor *)user;
    double values[64];
    if (v->calls > (int)TWS_CASE_COUNT - 1) return TWS_BAD_ARGUMENT;
    v->order[v->calls++] = (int)which;
    if (v->calls == v->fail_at) return TWS_BAD_ARGUMENT;
    CHECK(readout != NULL && readout[0] * readout[0] > 0);
    CHECK(tws_singular_values(NULL, weights, v->rows, v->columns, v->columns, values) == TWS_OK);
    v->largest[which] = values[0];
    return TWS_OK;
}

static void visits(void) {
    static tws_result seen, plain;
    tws_context context = tws_default_context();
    tws_config config = tws_default_config();
    visitor v;
    int which;
    memset(&v, 0, sizeof v);
    config.neurons = v.rows = 60;
    config.inputs = v.columns = 50;
    config.samples = 90;
    config.top = 2;
    CHECK(tws_run_visit(&context, &config, TWS_ALL_CASES, look, &v, &seen) == TWS_OK);
    CHECK(tws_run(&context, &config, TWS_ALL_CASES, &plain) == TWS_OK);
    CHECK(v.calls == (int)TWS_CASE_COUNT);
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        CHECK(v.order[which] == which);
        CHECK_NEAR(v.largest[which], seen.spectrum[which].singular_values[0], 1e-5 * v.largest[which]);
        CHECK(seen.spectrum[which].singular_values[1] == plain.spectrum[which].singular_values[1]);
    }
    v.calls = 0;
    v.fail_at = 2;
    CHECK(tws_run_visit(&context, &config, TWS_ALL_CASES, look, &v, &seen) == TWS_CALLBACK_FAILED);
    CHECK(v.calls == 2 && strcmp(context.message, "visit failed on case 1") == 0);
}

int main(void) {
    known_spike();
    visits();
    uneven_rows();
    far_sizes();
#ifdef TWSI_PTHREADS
    shared_rows();
    run_refuses_to_share();
#endif
    by_hand();
    cases_agree();
    refusals();
    any_number_of_threads();
#ifndef TEST_QUICK
    fresh_against_reused();
    references();
#endif
    return check_report();
}
