/* Network and steps: the gradient against central differences of the loss, a slow reference for
 * everything, data of the configuration, any number of threads, refusals. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"
#include "ranks.h"
#include <stdlib.h>

enum { N = 37, D = 29, SAMPLES = 150 };

static const int is_double = sizeof(tws_real) == 8;
static tws_real W[N * D], A[N], X[SAMPLES * D], Y[SAMPLES], G[N * D], V[N * D];

static const char *const activation_names[] = {"tanh", "shifted-tanh", "erf", "sigmoid", "shifted-sigmoid",
                                               "softplus", "gelu", "silu", "relu", "sine", "cubic",
                                               "hermite:0.1,1,0.5,-0.2,0.05"};

static double cube(void *user, double x) { return *(double *)user * x * x * x; }
static double cube_slope(void *user, double x) { return *(double *)user * 3 * x * x; }

static tws_config small_config(void) {
    tws_config config = tws_default_config();
    config.neurons = N;
    config.inputs = D;
    config.samples = SAMPLES;
    config.noise = 0.3;
    return config;
}

static tws_network small_network(const tws_config *config) {
    return tws_network_from_config(config, W, A);
}

static tws_batch small_batch(void) {
    tws_batch batch;
    batch.samples = SAMPLES;
    batch.inputs = X;
    batch.labels = Y;
    return batch;
}

static void make(const tws_config *config, size_t number) {
    tws_real directions[TWS_MAX_DIRECTIONS * D];
    CHECK(tws_make_weights(NULL, config, 0, N, W) == TWS_OK);
    CHECK(tws_make_readout(NULL, config, 0, N, A) == TWS_OK);
    CHECK(tws_make_directions(NULL, config, directions) == TWS_OK);
    CHECK(tws_make_batch(NULL, config, directions, number, X, Y) == TWS_OK);
}

static double preactivation(const tws_real *w, const tws_real *x) {
    double sum = 0;
    int k;
    for (k = 0; k < D; k++) sum += (double)w[k] * (double)x[k];
    return sum;
}

static double slow_output(const tws_network *network, const tws_real *x) {
    double sum = 0;
    int i;
    for (i = 0; i < N; i++)
        sum += (double)A[i] * tws_activation_value(&network->activation, preactivation(W + i * D, x));
    return network->output_scale * sum;
}

/* The definition, term by term. */
static double slow_gradient(const tws_network *network, int i, int k) {
    double sum = 0;
    int j;
    for (j = 0; j < SAMPLES; j++)
        sum += ((double)Y[j] - slow_output(network, X + j * D)) *
               tws_activation_slope(&network->activation, preactivation(W + i * D, X + j * D)) * (double)X[j * D + k];
    return (double)A[i] * sum / SAMPLES;
}

static void against_definition(const tws_config *config) {
    const tws_network network = small_network(config);
    const tws_batch batch = small_batch();
    double output[SAMPLES], loss, want = 0, scale = 0;
    int i, j;
    CHECK(tws_forward(NULL, &network, &batch, output) == TWS_OK);
    for (j = 0; j < SAMPLES; j++) {
        const double f = slow_output(&network, X + j * D);
        CHECK_NEAR(output[j], f, (is_double ? 1e-13 : 2e-6) * (1 + fabs(f)));
        want += ((double)Y[j] - f) * ((double)Y[j] - f) / (2.0 * SAMPLES);
    }
    CHECK(tws_gradient(NULL, &network, &batch, G, &loss) == TWS_OK);
    CHECK_NEAR(loss, want, (is_double ? 1e-12 : 1e-5) * want);
    for (i = 0; i < N * D; i++) scale = fmax(scale, fabs((double)G[i]));
    for (i = 0; i < N; i += 5)
        for (j = 0; j < D; j += 4)
            CHECK_NEAR((double)G[i * D + j], slow_gradient(&network, i, j), (is_double ? 1e-12 : 3e-5) * scale);
}

static double loss_at(const tws_network *network, const tws_batch *batch, const tws_real *direction, double t) {
    static tws_real moved[N * D];
    tws_network other = *network;
    double loss = 0;
    int i;
    for (i = 0; i < N * D; i++) moved[i] = (tws_real)((double)W[i] + t * (double)direction[i]);
    other.weights = moved;
    CHECK(tws_loss(NULL, &other, batch, &loss) == TWS_OK);
    return loss;
}

/* d/dt loss(W + t V) = -s <G, V>, by a central difference extrapolated once (Richardson). */
static void against_differences(const tws_config *config) {
    const tws_network network = small_network(config);
    const tws_batch batch = small_batch();
    double slope = 0, difference, wide, size = 0;
    const double h = 2e-4;
    int i;
    if (network.output_scale <= 0) return;
    CHECK(tws_random_matrix(NULL, 77, TWS_FOR_USER, 0, 1, N * D, V, N * D) == TWS_OK);
    CHECK(tws_gradient(NULL, &network, &batch, G, NULL) == TWS_OK);
    for (i = 0; i < N * D; i++) size += (double)G[i] * (double)G[i];
    for (i = 0; i < N * D; i++) /* in part along G, lest they be orthogonal; rows of length about 1 */
        V[i] = (tws_real)(0.1 * (double)V[i] + (double)G[i] * sqrt(N / size));
    size = 0;
    for (i = 0; i < N * D; i++) {
        slope -= network.output_scale * (double)G[i] * (double)V[i];
        size += network.output_scale * network.output_scale * (double)G[i] * (double)G[i];
    }
    difference = (loss_at(&network, &batch, V, h) - loss_at(&network, &batch, V, -h)) / (2 * h);
    wide = (loss_at(&network, &batch, V, 2 * h) - loss_at(&network, &batch, V, -2 * h)) / (4 * h);
    CHECK_NEAR((4 * difference - wide) / 3, slope, 1e-6 * fmax(fabs(slope), sqrt(size)));
}

static void gradients(void) {
    const double scales[] = {TWS_MEAN_FIELD, 1.0, TWS_CORRELATION};
    static double factor = 0.25;
    size_t which, s, number;
    for (which = 0; which <= sizeof activation_names / sizeof *activation_names; which++) {
        for (s = 0; s < 3; s++) {
            for (number = 0; number < 2; number++) { /* the first and a fresh batch */
                tws_config config = small_config();
                if (which < sizeof activation_names / sizeof *activation_names) {
                    CHECK(tws_activation_named(activation_names[which], &config.activation) == TWS_OK);
                } else {
                    config.activation = tws_custom_activation(cube, cube_slope, &factor);
                }
                config.output_scale = scales[s];
                make(&config, number);
                against_definition(&config);
                /* a kink makes the difference itself inexact: relu is left to the definition */
                if (is_double && config.activation.kind != TWS_RELU) against_differences(&config);
            }
        }
    }
}

static void steps(void) {
    tws_config config = small_config();
    tws_network network;
    tws_batch batch = small_batch();
    static tws_real before[N * D];
    double loss, gradient_loss;
    int i;
    make(&config, 0);
    network = small_network(&config);
    memcpy(before, W, sizeof W);
    CHECK(tws_gradient(NULL, &network, &batch, G, &gradient_loss) == TWS_OK);
    CHECK(tws_step(NULL, &network, &batch, 2.5, W, &loss) == TWS_OK);
    CHECK_NEAR(loss, gradient_loss, 1e-12);
    for (i = 0; i < N * D; i++)
        CHECK_NEAR((double)W[i], (double)before[i] + 2.5 * (double)G[i], is_double ? 1e-14 : 3e-7);
    network.output_scale = 1; /* small steps down the gradient lower the loss, every time */
    for (i = 0; i < 5; i++) {
        CHECK(tws_step(NULL, &network, &batch, 0.05, W, &loss) == TWS_OK);
        CHECK(loss < gradient_loss || i == 0);
        gradient_loss = loss;
    }
}

/* The noise of a batch is its own: labels with noise less labels without, over two batches. */
static void noise_of_two_batches(const tws_config *config, const tws_real *directions) {
    static tws_real x[SAMPLES * D], loud[SAMPLES], quiet[SAMPLES];
    double noise[2][SAMPLES], product = 0;
    tws_config noisy = *config, clean = *config;
    size_t number, j;
    noisy.noise = 1;
    clean.noise = 0;
    for (number = 0; number < 2; number++) {
        CHECK(tws_make_batch(NULL, &noisy, directions, number, x, loud) == TWS_OK);
        CHECK(tws_make_batch(NULL, &clean, directions, number, x, quiet) == TWS_OK);
        for (j = 0; j < SAMPLES; j++) noise[number][j] = (double)loud[j] - (double)quiet[j];
    }
    for (j = 0; j < SAMPLES; j++) product += noise[0][j] * noise[1][j];
    CHECK_NEAR(product / sqrt((double)SAMPLES), 0, 4.5);
}

static void data(void) {
    tws_config config = small_config();
    tws_real directions[3 * D], part[5 * D], readout[5], other_x[SAMPLES * D], other_y[SAMPLES];
    double square = 0;
    int i, j;
    CHECK(tws_target_named("product3", &config.target) == TWS_OK);
    make(&config, 0);
    CHECK(tws_make_directions(NULL, &config, directions) == TWS_OK);
    for (i = 0; i < 3; i++)
        for (j = 0; j <= i; j++)
            CHECK_NEAR(twsi_dot(directions + i * D, directions + j * D, D), i == j, is_double ? 1e-14 : 2e-7);
    for (i = 0; i < N; i++) {
        CHECK_NEAR(twsi_dot(W + i * D, W + i * D, D), 1, is_double ? 1e-14 : 3e-7);
        square += (double)A[i] * (double)A[i];
    }
    CHECK_NEAR(square, 1, 5 * sqrt(2.0 / N));
    CHECK(tws_make_weights(NULL, &config, 30, 5, part) == TWS_OK); /* any rows alone */
    CHECK(memcmp(part, W + 30 * D, sizeof part) == 0);
    CHECK(tws_make_readout(NULL, &config, 30, 5, readout) == TWS_OK);
    CHECK(memcmp(readout, A + 30, sizeof readout) == 0);
    config.noise = 0;
    CHECK(tws_make_batch(NULL, &config, directions, 0, other_x, other_y) == TWS_OK);
    CHECK(memcmp(other_x, X, sizeof X) == 0);
    square = 0;
    for (j = 0; j < SAMPLES; j++) {
        double u[3];
        for (i = 0; i < 3; i++) u[i] = preactivation(directions + i * D, X + j * D);
        CHECK_NEAR((double)other_y[j], u[0] * u[1] * u[2], is_double ? 1e-13 : 1e-4);
        square += ((double)Y[j] - (double)other_y[j]) * ((double)Y[j] - (double)other_y[j]) / SAMPLES;
    }
    CHECK_NEAR(square, 0.09, 0.09 * 5 * sqrt(2.0 / SAMPLES)); /* noise 0.3 */
    noise_of_two_batches(&config, directions);
    CHECK(tws_make_batch(NULL, &config, directions, 1, other_x, other_y) == TWS_OK);
    CHECK(memcmp(other_x, X, sizeof X) != 0);
    square = 0;
    for (i = 0; i < SAMPLES * D; i++) square += (double)X[i] * (double)other_x[i];
    CHECK_NEAR(square / sqrt((double)SAMPLES * D), 0, 4.5);
    config.init = TWS_GAUSSIAN;
    CHECK(tws_make_weights(NULL, &config, 0, N, W) == TWS_OK);
    square = twsi_dot(W, W, N * D);
    CHECK_NEAR(square, N, 5 * N * sqrt(2.0 / (N * D)));
    CHECK(fabs(twsi_dot(W, W, D) - 1) > 1e-3); /* rows are not on the sphere */
}

/* Bits must not depend on threads; blocks must not change the meaning. */
static void threads_and_blocks(void) {
    enum { BIG = 200, WIDE = 130, MANY = 1500 };
    tws_config config = small_config();
    tws_network network;
    tws_batch batch;
    tws_real *w, *a, *x, *y, *g, *want, *b;
    double loss, first_loss = 0, difference = 0, size = 0;
    int kernel, threads, i;
    config.neurons = BIG;
    config.inputs = WIDE;
    config.samples = MANY;
    w = (tws_real *)malloc((BIG * WIDE * 3 + BIG + MANY * WIDE + MANY + WIDE) * sizeof *w);
    if (w == NULL) exit(1);
    g = w + BIG * WIDE;
    want = g + BIG * WIDE;
    a = want + BIG * WIDE;
    x = a + BIG;
    y = x + MANY * WIDE;
    b = y + MANY;
    CHECK(tws_make_weights(NULL, &config, 0, BIG, w) == TWS_OK && tws_make_readout(NULL, &config, 0, BIG, a) == TWS_OK);
    CHECK(tws_make_directions(NULL, &config, b) == TWS_OK && tws_make_batch(NULL, &config, b, 0, x, y) == TWS_OK);
    network.count = BIG;
    network.inputs = WIDE;
    network.output_scale = 1;
    network.activation = config.activation;
    network.weights = w;
    network.readout = a;
    batch.samples = MANY;
    batch.inputs = x;
    batch.labels = y;
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        const int counts[] = {1, 2, 3, 7};
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        for (threads = 0; threads < 4; threads++) {
            tws_context context = tws_default_context();
            context.kernel = (tws_kernel)kernel;
            context.threads = (unsigned)counts[threads];
            CHECK(tws_gradient(&context, &network, &batch, threads == 0 ? want : g, &loss) == TWS_OK);
            if (threads == 0) first_loss = loss;
            else CHECK(loss >= first_loss && loss <= first_loss && memcmp(g, want, BIG * WIDE * sizeof *g) == 0);
        }
        {
            tws_context context = tws_default_context();
            context.kernel = (tws_kernel)kernel;
            context.memory_budget = 1; /* the smallest blocks */
            CHECK(tws_gradient(&context, &network, &batch, g, &loss) == TWS_OK);
            for (i = 0; i < BIG * WIDE; i++) {
                difference += ((double)g[i] - (double)want[i]) * ((double)g[i] - (double)want[i]);
                size += (double)want[i] * (double)want[i];
            }
            CHECK(difference <= (is_double ? 1e-26 : 1e-11) * size);
            CHECK_NEAR(loss, first_loss, (is_double ? 1e-13 : 1e-6) * first_loss);
        }
    }
    free(w);
}

/* ---- several processes ---- */

#ifdef TWSI_PTHREADS
enum { SHARES = 3 };
static const size_t share_first[SHARES] = {0, 3, 24}, share_count[SHARES] = {3, 21, 13};

typedef struct share {
    tws_config config;
    size_t first, count, budget;
    tws_real weights[N * D], gradient[N * D], readout[N];
    double output[SAMPLES], loss, eta;
    int spoil; /* 0, or what is wrong on this rank */
    failing memory;
    tws_status forward, gradient_status, step;
} share;

static void use_share(rank *self, void *data) {
    share *mine = (share *)data;
    tws_network network = small_network(&mine->config);
    tws_batch batch = small_batch();
    self->context.memory_budget = mine->budget;
    if (mine->spoil == 3) {
        self->context.allocator.allocate = failing_allocate;
        self->context.allocator.release = failing_release;
        self->context.allocator.user = &mine->memory;
    }
    network.count = mine->count;
    network.weights = mine->weights;
    network.readout = mine->readout;
    if (mine->spoil == 2) batch.inputs = NULL;
    mine->forward = tws_forward(&self->context, &network, &batch, mine->output);
    mine->gradient_status = tws_gradient(&self->context, &network, &batch, mine->gradient, mine->spoil == 7 ? NULL : &mine->loss);
    mine->step = tws_step(&self->context, &network, &batch, mine->eta, mine->weights, NULL);
}

static void make_shares(share *shares, void **data, const tws_config *config) {
    int r;
    for (r = 0; r < SHARES; r++) {
        memset(&shares[r], 0, sizeof shares[r]);
        shares[r].config = *config;
        shares[r].first = share_first[r];
        shares[r].count = share_count[r];
        shares[r].budget = r == 1 ? 1 : 0; /* ranks need not agree on it */
        shares[r].eta = 2.5;
        memcpy(shares[r].weights, W + share_first[r] * D, share_count[r] * D * sizeof *W);
        memcpy(shares[r].readout, A + share_first[r], share_count[r] * sizeof *A);
        data[r] = &shares[r];
    }
}

/* Unequal shares give the gradient and the step of the whole. */
static void distributed(void) {
    static share shares[SHARES];
    void *data[SHARES];
    tws_config config = small_config();
    tws_network network;
    const tws_batch batch = small_batch();
    double output[SAMPLES], loss;
    ranks seen;
    size_t i;
    int r, spoil;
    config.output_scale = 1;
    make(&config, 0);
    network = small_network(&config);
    make_shares(shares, data, &config);
    CHECK(tws_forward(NULL, &network, &batch, output) == TWS_OK);
    CHECK(tws_gradient(NULL, &network, &batch, G, &loss) == TWS_OK);
    seen = ranks_run(SHARES, use_share, data);
    CHECK(seen.sums > 5 && seen.mismatched == 0 && seen.abandoned == 0);
    for (r = 0; r < SHARES; r++) {
        const share *s = &shares[r];
        CHECK(s->forward == TWS_OK && s->gradient_status == TWS_OK && s->step == TWS_OK);
        CHECK_NEAR(s->loss, loss, (is_double ? 1e-13 : 1e-6) * loss);
        for (i = 0; i < SAMPLES; i++) CHECK_NEAR(s->output[i], output[i], is_double ? 1e-13 : 2e-6);
        for (i = 0; i < s->count * D; i++) {
            const size_t k = s->first * D + i;
            CHECK_NEAR((double)s->gradient[i], (double)G[k], is_double ? 1e-14 : 2e-7);
            CHECK_NEAR((double)s->weights[i], (double)W[k] + 2.5 * (double)G[k], is_double ? 1e-14 : 6e-7);
        }
    }
    /* one rank has NaN, a missing array, no memory, or overflows alone, in the step or before the
       activation without outputs or with: all stop, none is left waiting, no weights change */
    for (spoil = 1; spoil <= 6; spoil++) {
        for (i = 0; i < (spoil == 3 ? 12u : 1u); i++) {
            config.output_scale = spoil == 4 || spoil == 5 ? 0 : 1;
            make_shares(shares, data, &config);
            shares[2].spoil = spoil;
            shares[2].memory.fail_at = (long)i;
            if (spoil == 1) shares[2].weights[5] = (tws_real)(HUGE_VAL - HUGE_VAL);
            if (spoil == 4) shares[2].readout[3] = (tws_real)(is_double ? 1e308 : 3e38), shares[2].eta = is_double ? 1e10 : 2.5e3;
            if (spoil == 5 || spoil == 6) shares[2].weights[5] = (tws_real)(is_double ? 1.7e308 : 3.3e38);
            seen = ranks_run(SHARES, use_share, data);
            CHECK(seen.mismatched == 0 && seen.abandoned == 0);
            CHECK(shares[2].memory.out == 0);
            CHECK((shares[0].step == TWS_OK) == (shares[2].step == TWS_OK));
            CHECK((shares[0].gradient_status == TWS_OK) == (shares[1].gradient_status == TWS_OK));
            if (spoil >= 5)
                for (r = 0; r < SHARES; r++) CHECK(shares[r].forward != TWS_OK && shares[r].gradient_status != TWS_OK);
            if (spoil != 3) { /* what is summed over processes all of them see */
                const tws_status others = spoil == 6 ? TWS_NOT_FINITE : TWS_CALLBACK_FAILED;
                CHECK(shares[0].step == others && shares[1].step == others);
            }
            if (shares[0].step != TWS_OK)
                CHECK(memcmp(shares[0].weights, W, share_count[0] * D * sizeof *W) == 0);
        }
    }
    if (is_double) { /* two ranks want a loss that overflows, one does not: all return */
        make_shares(shares, data, &config);
        shares[2].spoil = 7;
        static tws_real kept[SAMPLES];
        memcpy(kept, Y, sizeof kept);
        for (i = 0; i < SAMPLES; i++) Y[i] *= (tws_real)(is_double ? 1e200 : 1);
        seen = ranks_run(SHARES, use_share, data);
        memcpy(Y, kept, sizeof kept);
        CHECK(seen.mismatched == 0 && seen.abandoned == 0);
        for (r = 0; r < SHARES; r++)
            CHECK(shares[r].gradient_status == (r < 2 ? TWS_NOT_FINITE : TWS_CALLBACK_FAILED));
    }
}
#endif

/* Factors eta a_i that are no tws_real: the row is taken in double. */
static void wide_factors(void) {
    static const struct {
        double eta, a, x, y, w, want;
    } row[] = {
        {1e39, 1, 1e-5, 1, 0, 1e34}, {1e39, 1, 0, 1, 2, 2}, {1e-50, 1, 1e30, 1, 0, 1e-20}, {1e-50, 1, 1e30, 1, 3, 3}, {1e42, 1e-4, 1e-5, 1, 0, 1e33},
    };
    size_t i;
    for (i = 0; i < sizeof row / sizeof row[0]; i++) {
        tws_config config = tws_default_config();
        tws_network network;
        tws_batch batch;
        tws_real w = (tws_real)row[i].w, a = (tws_real)row[i].a, x = (tws_real)row[i].x, y = (tws_real)row[i].y;
        tws_activation_named("tanh", &config.activation);
        config.output_scale = TWS_CORRELATION;
        network = tws_network_from_config(&config, &w, &a);
        network.count = network.inputs = 1;
        batch.samples = 1;
        batch.inputs = &x;
        batch.labels = &y;
        CHECK(tws_step(NULL, &network, &batch, row[i].eta, &w, NULL) == TWS_OK);
        CHECK_NEAR((double)w / row[i].want, 1, 1e-5);
    }
}

/* A pre-activation that overflows on the way is refused, whatever the activation would make of it, on
   every kernel, with outputs and without. */
static void lost_preactivations(void) {
    static const char *const names[] = {"tanh", "sigmoid", "relu", "sine"};
    static tws_real weights[3 * 2], inputs[200 * 2], labels[200], readout[3] = {1, 1, 1}, features[200 * 3], gradient[3 * 2];
    double output[200], loss;
    const double large = is_double ? 1e200 : 1e30;
    int which;
    size_t k, at, s;
    for (which = 0; which < (int)TWS_KERNEL_COUNT; which++) {
        tws_context context = tws_default_context();
        context.kernel = (tws_kernel)which;
        if (!tws_kernel_available(context.kernel)) continue;
        for (k = 0; k < 4; k++)
            for (at = 0; at < 200; at += 61) {
                tws_network network;
                tws_batch batch;
                memset(&network, 0, sizeof network);
                memset(&batch, 0, sizeof batch);
                memset(weights, 0, sizeof weights);
                memset(inputs, 0, sizeof inputs);
                weights[2] = (tws_real)large;
                weights[3] = (tws_real)(-2 * large);
                inputs[2 * at] = inputs[2 * at + 1] = (tws_real)large;
                network.count = 3;
                network.inputs = 2;
                network.weights = weights;
                network.readout = readout;
                CHECK(tws_activation_named(names[k], &network.activation) == TWS_OK);
                batch.samples = 200;
                batch.inputs = inputs;
                batch.labels = labels;
                for (s = 0; s < 2; s++) {
                    network.output_scale = (double)s;
                    CHECK(tws_forward(&context, &network, &batch, output) == TWS_NOT_FINITE);
                    CHECK(strstr(context.message, "pre-activation") != NULL);
                    CHECK(tws_loss(&context, &network, &batch, &loss) == TWS_NOT_FINITE);
                    CHECK(tws_gradient(&context, &network, &batch, gradient, NULL) == TWS_NOT_FINITE);
                    CHECK(strstr(context.message, "pre-activation") != NULL);
                }
                CHECK(tws_features(&context, &network, &batch, features, 3) == TWS_NOT_FINITE);
                CHECK(strstr(context.message, "pre-activations, overflow") != NULL);
                {
                    char place[40];
                    sprintf(place, "the features of sample %lu,", (unsigned long)at);
                    CHECK(strncmp(context.message, place, strlen(place)) == 0);
                }
            }
    }
}

static double not_a_number(void *user, double x) { return x * 0 + *(double *)user; }

/* Nothing that is not finite leaves a call, and the weights stay. */
static void overflows(void) {
    static double nothing = 0;
    tws_config config = small_config();
    tws_network network;
    const tws_batch batch = small_batch();
    tws_context context = tws_default_context();
    static tws_real kept[N * D];
    make(&config, 0);
    memcpy(kept, W, sizeof W);
    network = small_network(&config);
    CHECK(tws_step(&context, &network, &batch, is_double ? 1e305 : 1e39, W, NULL) == TWS_OK); /* the gradient is small */
    memcpy(W, kept, sizeof W);
    CHECK(tws_step(&context, &network, &batch, is_double ? 1.7e308 : 1e42, W, NULL) == (is_double ? TWS_OK : TWS_NOT_FINITE));
    if (!is_double) CHECK(memcmp(kept, W, sizeof W) == 0 && strstr(context.message, "the weights after the step: entry ") != NULL);
    memcpy(W, kept, sizeof W);
    nothing = HUGE_VAL - HUGE_VAL;
    network.activation = tws_custom_activation(cube, not_a_number, &nothing); /* only the slope is wrong */
    network.output_scale = 0;
    CHECK(tws_step(&context, &network, &batch, 1, W, NULL) == TWS_NOT_FINITE && memcmp(kept, W, sizeof W) == 0);
    CHECK(tws_gradient(&context, &network, &batch, G, NULL) == TWS_NOT_FINITE && strncmp(context.message, "gradient: entry ", 16) == 0);
}

static void refusals(void) {
    tws_config config = small_config();
    tws_network network, bad;
    tws_batch batch = small_batch(), odd = batch;
    tws_context context = tws_default_context();
    double output[SAMPLES], loss;
    failing memory = {0, 0, 0};
    static tws_real kept[N * D];
    make(&config, 0);
    network = bad = small_network(&config);
    CHECK(tws_forward(&context, NULL, &batch, output) == TWS_BAD_ARGUMENT);
    CHECK(strcmp(context.message, "network is NULL") == 0);
    CHECK(tws_forward(&context, &network, &batch, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_loss(&context, &network, &batch, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_gradient(&context, &network, &batch, NULL, &loss) == TWS_BAD_ARGUMENT);
    bad.weights = NULL;
    CHECK(tws_gradient(&context, &bad, &batch, G, NULL) == TWS_BAD_ARGUMENT);
    CHECK(strcmp(context.message, "network.weights is NULL") == 0);
    bad = network;
    bad.output_scale = -3;
    CHECK(tws_gradient(&context, &bad, &batch, G, NULL) == TWS_BAD_ARGUMENT && strstr(context.message, "-3") != NULL);
    bad = network;
    bad.activation.kind = (tws_activation_kind)99;
    CHECK(tws_gradient(&context, &bad, &batch, G, NULL) == TWS_BAD_ARGUMENT);
    odd.samples = 0;
    CHECK(tws_gradient(&context, &network, &odd, G, NULL) == TWS_BAD_ARGUMENT);
    odd = batch;
    odd.labels = NULL;
    CHECK(tws_gradient(&context, &network, &odd, G, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_forward(&context, &network, &odd, output) == TWS_OK);
    CHECK(tws_step(&context, &network, &batch, 1, G, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_step(&context, &network, &batch, HUGE_VAL, W, NULL) == TWS_BAD_ARGUMENT);
    X[3 * D + 7] = (tws_real)HUGE_VAL;
    memcpy(kept, W, sizeof W);
    CHECK(tws_step(&context, &network, &batch, 1, W, NULL) == TWS_NOT_FINITE);
    CHECK(strstr(context.message, "batch.inputs[94]") != NULL && memcmp(kept, W, sizeof W) == 0);
    X[3 * D + 7] = (tws_real)(is_double ? 1e300 : 1e38); /* overflows in the products */
    CHECK(tws_activation_named("cubic", &network.activation) == TWS_OK);
    CHECK(tws_step(&context, &network, &batch, 1, W, NULL) == TWS_NOT_FINITE && memcmp(kept, W, sizeof W) == 0);
    make(&config, 0);
    context.allocator.allocate = failing_allocate;
    context.allocator.release = failing_release;
    context.allocator.user = &memory;
    for (memory.fail_at = 0; memory.fail_at < 30; memory.fail_at++) {
        tws_status status;
        memory.calls = 0;
        memcpy(kept, W, sizeof W);
        status = tws_step(&context, &network, &batch, 0.1, W, NULL);
        CHECK(memory.out == 0);
        if (memory.calls <= memory.fail_at) {
            CHECK(status == TWS_OK);
            break;
        }
        CHECK(status == TWS_OUT_OF_MEMORY && memcmp(kept, W, sizeof W) == 0);
    }
    CHECK(memory.fail_at > 3 && memory.fail_at < 30);
}

/* Every range of tws_check, a sentence each. */
static void configurations(void) {
    struct rule {
        const char *word;
        size_t offset;
        double low_bad, high_bad;
    };
    static const struct rule reals[] = {
        {"alpha1", offsetof(tws_config, alpha1), -0.1, 0.5}, {"alpha2", offsetof(tws_config, alpha2), -1e-9, 3},
        {"scale1", offsetof(tws_config, scale1), 0, 1e7},    {"scale2", offsetof(tws_config, scale2), -2, HUGE_VAL},
        {"noise", offsetof(tws_config, noise), -0.5, 1e9},   {"output_scale", offsetof(tws_config, output_scale), -0.5, 1e9}};
    static const struct rule sizes[] = {
        {"neurons", offsetof(tws_config, neurons), 1, 3e9}, {"inputs", offsetof(tws_config, inputs), 0, 3e9},
        {"samples", offsetof(tws_config, samples), 1, 3e9}, {"top", offsetof(tws_config, top), 0, 65}};
    char message[200];
    size_t r, side;
    tws_config config = tws_default_config();
    CHECK(tws_check(&config, message, sizeof message) == TWS_OK);
    CHECK(tws_check(NULL, message, sizeof message) == TWS_BAD_ARGUMENT);
    CHECK(tws_check(NULL, NULL, 0) == TWS_BAD_ARGUMENT);
    for (r = 0; r < sizeof reals / sizeof *reals; r++) {
        for (side = 0; side < 3; side++) {
            const double value = side == 0 ? reals[r].low_bad : side == 1 ? reals[r].high_bad : HUGE_VAL - HUGE_VAL;
            config = tws_default_config();
            memcpy((char *)&config + reals[r].offset, &value, sizeof value);
            CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT);
            CHECK(strncmp(message, reals[r].word, strlen(reals[r].word)) == 0 && strstr(message, "must be") != NULL);
        }
    }
    for (r = 0; r < sizeof sizes / sizeof *sizes; r++) {
        for (side = 0; side < 2; side++) {
            const double wanted = side == 0 ? sizes[r].low_bad : sizes[r].high_bad;
            const size_t value = (double)SIZE_MAX > wanted ? (size_t)wanted : SIZE_MAX;
            config = tws_default_config();
            memcpy((char *)&config + sizes[r].offset, &value, sizeof value);
            CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT);
            CHECK(strncmp(message, sizes[r].word, strlen(sizes[r].word)) == 0);
        }
    }
    config = tws_default_config();
    config.inputs = 5;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT && strstr(message, "top is 10") != NULL);
    config.batches = (tws_batches)2;
    config.top = 2;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT && strncmp(message, "batches", 7) == 0);
    config.batches = TWS_FRESH;
    config.init = (tws_init)-1;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT);
    config.init = TWS_SPHERE;
    CHECK(tws_check(&config, NULL, 0) == TWS_OK);
    config.target.kind = TWS_CUSTOM_TARGET;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT && strncmp(message, "target", 6) == 0);
    config.target = tws_default_config().target;
    config.activation.kind = TWS_CUSTOM_ACTIVATION;
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT && strncmp(message, "activation", 10) == 0);
    config = tws_default_config();
    config.neurons = 2;
    config.inputs = 2;
    config.samples = 2;
    config.top = 2;
    CHECK(tws_target_named("product3", &config.target) == TWS_OK);
    CHECK(tws_check(&config, message, sizeof message) == TWS_BAD_ARGUMENT); /* three directions in two inputs */
}

int main(void) {
    gradients();
    steps();
    data();
    threads_and_blocks();
#ifdef TWSI_PTHREADS
    distributed();
#endif
    overflows();
    wide_factors();
    lost_preactivations();
    refusals();
    configurations();
    return check_report();
}
