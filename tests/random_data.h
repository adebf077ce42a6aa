/* For test_tour.c. Random data are the same bits everywhere: hashes of W_0, a, B*, X and the noise of
   three seeds, on every kernel this machine has, beside those in data/random.txt. */
#ifndef RANDOM_DATA_H
#define RANDOM_DATA_H

enum { DATA_NEURONS = 83, DATA_INPUTS = 61, DATA_SAMPLES = 101, DATA_DIRECTIONS = 3, DATA_PARTS = 6 };

static const char *const data_part[DATA_PARTS] = {"weights, sphere", "weights, gaussian", "readout",
                                             "directions",      "inputs",            "noise"};

typedef struct data_hashes {
    uint64_t seed, part[DATA_PARTS];
} data_hashes;

static const data_hashes data_expected[] = {
#ifdef TWOSTEP_DOUBLE
#define FLOAT_ROW(seed, w, g, a, b, x, e)
#define DOUBLE_ROW(seed, w, g, a, b, x, e) {seed, {w, g, a, b, x, e}},
#else
#define FLOAT_ROW(seed, w, g, a, b, x, e) {seed, {w, g, a, b, x, e}},
#define DOUBLE_ROW(seed, w, g, a, b, x, e)
#endif
#include "data/random.txt"
};

enum { DATA_SEEDS = sizeof data_expected / sizeof data_expected[0] };

/* FNV-1a over the bytes of each number from the lowest to the highest, whatever the machine's
   order. */
static uint64_t data_hash_reals(uint64_t hash, const tws_real *x, size_t count) {
    size_t i, byte;
    for (i = 0; i < count; i++) {
#ifdef TWOSTEP_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, &x[i], sizeof bits);
        for (byte = 0; byte < sizeof bits; byte++)
            hash = (hash ^ ((bits >> (8 * byte)) & 255u)) * 1099511628211u;
    }
    return hash;
}

static const uint64_t data_hash_start = 1469598103934665603u;

/* A target of nothing: the labels are the noise. */
static double data_nothing(void *user, const double *u) {
    (void)user;
    (void)u;
    return 0.0;
}

/* All data of one seed; the batch with number 1 is what a fresh second step sees. */
static void data_make(tws_context *context, uint64_t seed, uint64_t *hash) {
    static tws_real weights[DATA_NEURONS * DATA_INPUTS], readout[DATA_NEURONS], directions[DATA_DIRECTIONS * DATA_INPUTS];
    static tws_real inputs[DATA_SAMPLES * DATA_INPUTS], noise[DATA_SAMPLES];
    tws_config config = tws_default_config();
    size_t number, i;
    config.neurons = DATA_NEURONS;
    config.inputs = DATA_INPUTS;
    config.samples = DATA_SAMPLES;
    config.seed = seed;
    config.target = tws_custom_target(data_nothing, DATA_DIRECTIONS, NULL);
    config.noise = 1.0;
    for (i = 0; i < DATA_PARTS; i++) hash[i] = data_hash_start;
    CHECK(tws_make_weights(context, &config, 0, DATA_NEURONS, weights) == TWS_OK);
    hash[0] = data_hash_reals(hash[0], weights, DATA_NEURONS * DATA_INPUTS);
    config.init = TWS_GAUSSIAN;
    CHECK(tws_make_weights(context, &config, 0, DATA_NEURONS, weights) == TWS_OK);
    hash[1] = data_hash_reals(hash[1], weights, DATA_NEURONS * DATA_INPUTS);
    CHECK(tws_make_readout(context, &config, 0, DATA_NEURONS, readout) == TWS_OK);
    hash[2] = data_hash_reals(hash[2], readout, DATA_NEURONS);
    CHECK(tws_make_directions(context, &config, directions) == TWS_OK);
    hash[3] = data_hash_reals(hash[3], directions, DATA_DIRECTIONS * DATA_INPUTS);
    for (number = 0; number < 2; number++) {
        CHECK(tws_make_batch(context, &config, directions, number, inputs, noise) == TWS_OK);
        hash[4] = data_hash_reals(hash[4], inputs, DATA_SAMPLES * DATA_INPUTS);
        hash[5] = data_hash_reals(hash[5], noise, DATA_SAMPLES);
    }
}

static void data_print(uint64_t x) {
    printf("0x%08lx%08lx", (unsigned long)(x >> 32), (unsigned long)(x & 0xffffffffu));
}

/* The lines of data/random.txt for this type of real number. */
static void data_print_rows(void) {
    static const uint64_t seeds[3] = {1, 20260517, 0xfedcba9876543210u};
    uint64_t hash[DATA_PARTS];
    int s, part;
    for (s = 0; s < 3; s++) {
        data_make(NULL, seeds[s], hash);
        printf(sizeof(tws_real) == 8 ? "DOUBLE_ROW(" : "FLOAT_ROW(");
        data_print(seeds[s]);
        for (part = 0; part < DATA_PARTS; part++) {
            printf(part % 3 ? ", " : ",\n    ");
            data_print(hash[part]);
        }
        printf(")\n");
    }
}

/* One number for all data of the default kernel. */
static uint64_t data_hash_of_all(void) {
    uint64_t hash[DATA_PARTS], all = 0;
    int s, part;
    for (s = 0; s < DATA_SEEDS; s++) {
        data_make(NULL, data_expected[s].seed, hash);
        for (part = 0; part < DATA_PARTS; part++) all = (all ^ hash[part]) * 1099511628211u;
    }
    return all;
}

static void data_compare(tws_context *context) {
    uint64_t hash[DATA_PARTS];
    int s, part;
    for (s = 0; s < DATA_SEEDS; s++) {
        data_make(context, data_expected[s].seed, hash);
        for (part = 0; part < DATA_PARTS; part++)
            if (!CHECK(hash[part] == data_expected[s].part[part]))
                printf("    %s of seed %d on kernel %s\n", data_part[part], s,
                       tws_kernel_name(context->kernel));
    }
}

/* Every kernel, with one thread and with three, and the line that tells the hash. */
static void check_random_data(void) {
    int kernel;
    CHECK(DATA_SEEDS == 3);
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        tws_context context = tws_default_context();
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        context.threads = 1;
        data_compare(&context);
        context.threads = 3;
        data_compare(&context);
    }
    printf("hash of the data: ");
    data_print(data_hash_of_all());
    printf("\n");
}

#endif
