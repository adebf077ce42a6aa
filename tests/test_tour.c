/* A tour of the whole interface that takes some seconds, or half a minute on an emulated machine: each
   kernel against plain sums in double, the same bits for 1 to 16 threads, a call from a thread with
   a small stack; the random data against known hashes. It prints a hash of the random data and one
   of the results of each kernel, for a comparison of compilers; `test_tour rows` prints the lines of
   data/random.txt. -DTEST_TINY: smaller and fewer thread counts, for emulated machines. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "check.h"
#include "random_data.h"
#include "small_stack.h"
#include "spread.h"
#include <stdlib.h>

/* At these sizes run and sweep divide what they do with rows and samples among up to 16 workers, which is
   checked, and their products among four or six. The product and the singular values are smaller than what
   a second worker is started for; test_gemm.c and test_svd.c divide larger ones among 16. */
#ifdef TEST_TINY
enum { N = 96, D = 80, SAMPLES = 160, M = 200, TOP = 5, ROWS = 2, COLUMNS = 2, LAMBDAS = 3 };
enum { WORKERS = 10, SHARED_ROWS = 0 }; /* one for each 16 samples; a row of the sweep is too short */
#else
enum { N = 320, D = 280, SAMPLES = 480, M = 200, TOP = 5, ROWS = 2, COLUMNS = 2, LAMBDAS = 3 };
enum { WORKERS = SPREAD_MOST, SHARED_ROWS = ROWS };
#endif

/* All that one tour computes. Plain numbers without gaps: compared and hashed as they are. */
typedef struct tour {
    tws_real data[2 * M * D];
    tws_real product[M * M], value[N * D], slope[N * D], gradient[N * D], features[SAMPLES * N];
    double singular[TOP], right[TOP * D], all[D], loss;
    double coefficients[LAMBDAS * N], train[LAMBDAS], loo[LAMBDAS], refined[N];
    double measured[TWS_CASE_COUNT][TOP], alignment[TWS_CASE_COUNT][TOP], edge[TWS_CASE_COUNT];
    double swept[ROWS * COLUMNS][TOP];
} tour;

static tour first_tour, another_tour; /* too large for a stack */
static tws_real weights[N * D], readout[N], directions[D], inputs[SAMPLES * D], labels[SAMPLES];

static tws_config small_config(void) {
    tws_config config = tws_default_config();
    config.neurons = N;
    config.inputs = D;
    config.samples = SAMPLES;
    config.scale1 = config.scale2 = 2;
    config.noise = 0.25;
    config.top = TOP;
    return config;
}

static int keep_row(void *user, size_t row, const tws_spectrum *cells) {
    tour *t = (tour *)user;
    size_t column;
    for (column = 0; column < COLUMNS; column++)
        memcpy(t->swept[row * COLUMNS + column], cells[column].singular_values, sizeof t->swept[0]);
    return 0;
}

/* With the workers of spread.h: have so many jobs since the last question had a piece for each of them? */
static int shared(const tws_context *context, size_t jobs) {
    spread *s = (spread *)context->parallel_user;
    size_t full;
    if (context->parallel_for != spread_for) return 1;
    full = s->full;
    s->full = 0;
    return full >= jobs;
}

static void take(tws_context *context, tour *t) {
    static const double lambda[LAMBDAS] = {1e-3, 0.1, 10}, alpha[2] = {0.2, 0.45};
    const tws_config config = small_config();
    tws_activation erf_activation = tws_custom_activation(NULL, NULL, NULL);
    tws_svd_options options = tws_default_svd_options(TOP);
    static tws_result result;
    tws_network network;
    tws_batch batch;
    tws_sweep_plan plan;
    size_t i, iterations;
    memset(t, 0, sizeof *t);
    CHECK(tws_activation_named("erf", &erf_activation) == TWS_OK);
    CHECK(tws_random_matrix(context, 7, TWS_FOR_USER, 3, 2 * M, D, t->data, D) == TWS_OK);
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, M, M, D, (tws_real)0.5, t->data, D,
                   t->data + M * D, D, 0, t->product, M) == TWS_OK);
    CHECK(tws_activate(context, &erf_activation, t->data, t->value, t->slope, N * D) == TWS_OK);
    CHECK(tws_svd(context, &options, t->data, N, D, D, t->singular, NULL, t->right, NULL, NULL) ==
          TWS_OK);
    CHECK(tws_singular_values(context, t->data, N, D, D, t->all) == TWS_OK);
    CHECK(tws_make_weights(context, &config, 0, N, weights) == TWS_OK);
    CHECK(tws_make_readout(context, &config, 0, N, readout) == TWS_OK);
    CHECK(tws_make_directions(context, &config, directions) == TWS_OK);
    CHECK(tws_make_batch(context, &config, directions, 0, inputs, labels) == TWS_OK);
    memset(&network, 0, sizeof network);
    network.count = N;
    network.inputs = D;
    network.output_scale = tws_output_scale(&config);
    network.activation = config.activation;
    network.weights = weights;
    network.readout = readout;
    batch.samples = SAMPLES;
    batch.inputs = inputs;
    batch.labels = labels;
    CHECK(tws_gradient(context, &network, &batch, t->gradient, &t->loss) == TWS_OK);
    CHECK(tws_features(context, &network, &batch, t->features, N) == TWS_OK);
    CHECK(tws_ridge_path(context, t->features, SAMPLES, N, N, labels, lambda, LAMBDAS,
                         t->coefficients, t->train, t->loo) == TWS_OK);
    CHECK(tws_ridge(context, t->features, SAMPLES, N, N, labels, lambda[1], t->refined,
                    &iterations) == TWS_OK);
    CHECK(shared(context, 1));
    CHECK(tws_run(context, &config, TWS_ALL_CASES, &result) == TWS_OK);
    CHECK(shared(context, 2 + 3)); /* batches, steps */
    for (i = 0; i < TWS_CASE_COUNT; i++) {
        memcpy(t->measured[i], result.spectrum[i].singular_values, sizeof t->measured[i]);
        memcpy(t->alignment[i], result.spectrum[i].alignments, sizeof t->alignment[i]);
        t->edge[i] = result.spectrum[i].edge;
    }
    memset(&plan, 0, sizeof plan);
    plan.alpha1 = plan.alpha2 = alpha;
    plan.rows = ROWS;
    plan.columns = COLUMNS;
    plan.report = keep_row;
    plan.user = t;
    CHECK(tws_sweep(context, &config, &plan) == TWS_OK);
    CHECK(shared(context, 1 + 1 + SHARED_ROWS)); /* batch, first step, rows of the grid */
}

/* What the definition says, in double. */
static void by_definition(const tour *t) {
    const tws_config config = small_config();
    const double epsilon = sizeof(tws_real) == 4 ? FLT_EPSILON : DBL_EPSILON;
    static double residual[SAMPLES], pre[N * SAMPLES];
    double worst_product = 0, worst_value = 0, worst_gradient = 0, loss = 0;
    tws_activation erf_activation;
    size_t i, j, k;
    CHECK(tws_activation_named("erf", &erf_activation) == TWS_OK);
    for (i = 0; i < M; i++) {
        for (j = 0; j < M; j++) {
            double sum = 0;
            for (k = 0; k < D; k++) sum += (double)t->data[i * D + k] * (double)t->data[(M + j) * D + k];
            worst_product = fmax(worst_product, fabs(0.5 * sum - (double)t->product[i * M + j]));
        }
    }
    CHECK_NEAR(worst_product, 0, 40 * D * epsilon);
    for (i = 0; i < N * D; i++) {
        const double x = (double)t->data[i];
        worst_value = fmax(worst_value, fabs(erf(x) - (double)t->value[i]));
        worst_value = fmax(worst_value, fabs(TWSI_TWO_OVER_ROOT_PI * exp(-x * x) - (double)t->slope[i]));
    }
    CHECK_NEAR(worst_value, 0, 6 * epsilon);
    for (j = 0; j < SAMPLES; j++) {
        double output = 0;
        for (i = 0; i < N; i++) {
            double sum = 0;
            for (k = 0; k < D; k++) sum += (double)weights[i * D + k] * (double)inputs[j * D + k];
            pre[i * SAMPLES + j] = sum;
            output += (double)readout[i] * tanh(sum + 0.7);
        }
        residual[j] = (double)labels[j] - output * tws_output_scale(&config);
        loss += 0.5 * residual[j] * residual[j] / (double)SAMPLES;
    }
    CHECK_NEAR(t->loss, loss, 20 * epsilon);
    for (i = 0; i < N; i += 5) {
        for (k = 0; k < D; k++) {
            double sum = 0;
            for (j = 0; j < SAMPLES; j++) {
                const double s = tanh(pre[i * SAMPLES + j] + 0.7);
                sum += residual[j] * (1 - s * s) * (double)inputs[j * D + k];
            }
            sum *= (double)readout[i] / (double)SAMPLES;
            worst_gradient = fmax(worst_gradient, fabs(sum - (double)t->gradient[i * D + k]));
        }
    }
    CHECK_NEAR(worst_gradient, 0, 40 * epsilon);
}

/* What one way of computing says beside the other. */
static void two_ways(const tour *t) {
    size_t i, j, k;
    double worst = 0;
    for (k = 0; k < TOP; k++) CHECK_NEAR(t->singular[k], t->all[k], 1e-7 * t->all[0]);
    for (k = 0; k < TOP; k++) { /* |M v_k| = s_k */
        double square = 0;
        for (i = 0; i < N; i++) {
            double sum = 0;
            for (j = 0; j < D; j++) sum += (double)t->data[i * D + j] * t->right[k * D + j];
            square += sum * sum;
        }
        CHECK_NEAR(sqrt(square), t->singular[k], 1e-6 * t->all[0]);
    }
    for (j = 0; j < N; j++) worst = fmax(worst, fabs(t->refined[j] - t->coefficients[N + j]));
    CHECK_NEAR(worst, 0, 1e-8 * (1 + fabs(t->refined[0])));
    CHECK(t->train[0] < t->train[1] && t->train[1] < t->train[2] && t->loo[0] > t->train[0]);
    CHECK(t->measured[TWS_TWO_STEPS_REUSE][0] > t->edge[TWS_TWO_STEPS_REUSE]);
    CHECK(t->alignment[TWS_TWO_STEPS_REUSE][0] > 0.5);
    for (k = 0; k + 1 < TOP; k++)
        CHECK(t->measured[TWS_ONE_STEP][k] >= t->measured[TWS_ONE_STEP][k + 1]);
}

/* Kernels agree in what is computed from the same bits. */
static void kernels_agree(const tour *a, const tour *b) {
    size_t c, k;
    CHECK(memcmp(a->data, b->data, sizeof a->data) == 0);
    for (c = 0; c < TWS_CASE_COUNT; c++)
        for (k = 0; k < TOP; k++) CHECK_NEAR(a->measured[c][k], b->measured[c][k], 2e-5 * a->measured[c][0]);
    for (c = 0; c < ROWS * COLUMNS; c++) CHECK_NEAR(a->swept[c][0], b->swept[c][0], 2e-5 * a->swept[c][0]);
    for (k = 0; k < LAMBDAS; k++) CHECK_NEAR(a->loo[k], b->loo[k], 1e-4 * a->loo[k]);
}

/* Theory needs no data: the first outlier of a larger network, and the count in the limit. */
static void theory(void) {
    tws_config config = tws_default_config();
    tws_theory_input input;
    tws_prediction one, two;
#ifndef TEST_TINY
    tws_limit limit;
#endif
    double c[4];
    config.alpha1 = 0.3;
    config.alpha2 = 0.4;
    input = tws_theory_from_config(&config);
    CHECK(tws_limit_orders(&input) == 3);
#ifndef TEST_TINY
    CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK && limit.orders == 3);
    CHECK_NEAR(limit.hermite[1], 0.5, 0.1);
#endif
    CHECK(tws_predict(NULL, &input, &one, &two) == TWS_OK);
    CHECK(two.outliers >= 1 && two.singular_values[0] > one.singular_values[0]);
    CHECK_NEAR(one.edge, 2, 0.2);
    CHECK(tws_hermite_coefficients(NULL, &config.activation, c, 4) == TWS_OK);
    CHECK_NEAR(c[1], 0.5, 0.1);
    CHECK_NEAR(tws_bulk_edge(1024, 1024), 2, 1e-15);
}

static void refusals(void) {
    tws_context context = tws_default_context();
    tws_config config = small_config();
    char message[80];
    config.alpha1 = 0.5;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT);
    CHECK(strstr(message, "alpha1 is 0.5") != NULL);
    CHECK(tws_run(&context, &config, 0, NULL) == TWS_BAD_ARGUMENT && context.message[0] != 0);
}

/* FNV-1a over 32-bit or 64-bit words as numbers, whatever the machine's byte order. */
static uint64_t hash_tour(const tour *t) {
    uint64_t hash = 1469598103934665603u;
    const tws_real *real = t->product;
    const double *wide = t->singular;
    const size_t reals = M * M + 3 * N * D + SAMPLES * N;
    size_t i;
    for (i = 0; i < reals; i++) {
        const double x = (double)real[i];
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    for (i = 0; i < TOP + TOP * D + D; i++) {
        uint64_t bits;
        memcpy(&bits, &wide[i], sizeof bits);
        hash = (hash ^ bits) * 1099511628211u;
    }
    return hash;
}

static void every_kernel(void) {
    int kernel;
    size_t i;
    for (kernel = (int)TWS_KERNEL_PLAIN; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        tws_context context = tws_default_context();
        tour *plain = &first_tour, *now = kernel == (int)TWS_KERNEL_PLAIN ? plain : &another_tour;
        static tour again;
        spread workers;
        uint64_t hash;
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        context.threads = 1;
        take(&context, now);
        by_definition(now);
        two_ways(now);
        kernels_agree(plain, now);
        for (i = 1; i < SPREAD_COUNTS; i++) {
            context.threads = spread_counts[i];
            take(&context, &again);
            CHECK(memcmp(now, &again, sizeof again) == 0);
        }
        spread_over(&context, &workers, WORKERS);
        take(&context, &again);
        CHECK(memcmp(now, &again, sizeof again) == 0);
        hash = hash_tour(now);
        printf("results on %s: %08lx%08lx\n", tws_kernel_name(context.kernel),
               (unsigned long)(hash >> 32), (unsigned long)(hash & 0xffffffffu));
    }
}

/* Thread bookkeeping and this function included; test_hostile.c calls everything from there. */
static void from_a_small_stack(void) {
    tws_context context = tws_default_context();
    context.threads = 2;
    take(&context, &another_tour);
    theory();
    refusals();
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "rows") == 0) {
        data_print_rows();
        return 0;
    }
    check_random_data();
    every_kernel();
    theory();
    refusals();
    small_stack(from_a_small_stack);
    return check_report();
}
