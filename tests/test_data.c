/* Random data are the same bits everywhere: hashes of W_0, a, B*, X and the noise of three seeds,
   on every kernel this machine has, for one thread and for three, beside those in data/random.txt.
   `test_data hash` prints a hash of them all, for a comparison of machines. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include <stdlib.h>

enum { NEURONS = 83, INPUTS = 61, SAMPLES = 101, DIRECTIONS = 3, PARTS = 6 };

static const char *const part_name[PARTS] = {"weights, sphere", "weights, gaussian", "readout",
                                             "directions",      "inputs",            "noise"};

typedef struct hashes {
    uint64_t seed, part[PARTS];
} hashes;

static const hashes expected[] = {
#ifdef TWOSTEP_DOUBLE
#define FLOAT_ROW(seed, w, g, a, b, x, e)
#define DOUBLE_ROW(seed, w, g, a, b, x, e) {seed, {w, g, a, b, x, e}},
#else
#define FLOAT_ROW(seed, w, g, a, b, x, e) {seed, {w, g, a, b, x, e}},
#define DOUBLE_ROW(seed, w, g, a, b, x, e)
#endif
#include "data/random.txt"
};

enum { SEEDS = sizeof expected / sizeof expected[0] };

/* FNV-1a over the bytes of each number from the lowest to the highest, whatever the machine's
   order. */
static uint64_t hash_reals(uint64_t hash, const tws_real *x, size_t count) {
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

static const uint64_t hash_start = 1469598103934665603u;

/* A target of nothing: the labels are the noise. */
static double nothing(void *user, const double *u) {
    (void)user;
    (void)u;
    return 0.0;
}

/* All data of one seed; the batch with number 1 is what a fresh second step sees. */
static void make(tws_context *context, uint64_t seed, uint64_t *hash) {
    static tws_real weights[NEURONS * INPUTS], readout[NEURONS], directions[DIRECTIONS * INPUTS];
    static tws_real inputs[SAMPLES * INPUTS], noise[SAMPLES];
    tws_config config = tws_default_config();
    size_t number, i;
    config.neurons = NEURONS;
    config.inputs = INPUTS;
    config.samples = SAMPLES;
    config.seed = seed;
    config.target = tws_custom_target(nothing, DIRECTIONS, NULL);
    config.noise = 1.0;
    for (i = 0; i < PARTS; i++) hash[i] = hash_start;
    CHECK(tws_make_weights(context, &config, 0, NEURONS, weights) == TWS_OK);
    hash[0] = hash_reals(hash[0], weights, NEURONS * INPUTS);
    config.init = TWS_GAUSSIAN;
    CHECK(tws_make_weights(context, &config, 0, NEURONS, weights) == TWS_OK);
    hash[1] = hash_reals(hash[1], weights, NEURONS * INPUTS);
    CHECK(tws_make_readout(context, &config, 0, NEURONS, readout) == TWS_OK);
    hash[2] = hash_reals(hash[2], readout, NEURONS);
    CHECK(tws_make_directions(context, &config, directions) == TWS_OK);
    hash[3] = hash_reals(hash[3], directions, DIRECTIONS * INPUTS);
    for (number = 0; number < 2; number++) {
        CHECK(tws_make_batch(context, &config, directions, number, inputs, noise) == TWS_OK);
        hash[4] = hash_reals(hash[4], inputs, SAMPLES * INPUTS);
        hash[5] = hash_reals(hash[5], noise, SAMPLES);
    }
}

static void print_number(uint64_t x) {
    printf("0x%08lx%08lx", (unsigned long)(x >> 32), (unsigned long)(x & 0xffffffffu));
}

/* The lines of data/random.txt for this type of real number. */
static void print_rows(void) {
    static const uint64_t seeds[3] = {1, 20260517, 0xfedcba9876543210u};
    uint64_t hash[PARTS];
    int s, part;
    for (s = 0; s < 3; s++) {
        make(NULL, seeds[s], hash);
        printf(sizeof(tws_real) == 8 ? "DOUBLE_ROW(" : "FLOAT_ROW(");
        print_number(seeds[s]);
        for (part = 0; part < PARTS; part++) {
            printf(part % 3 ? ", " : ",\n    ");
            print_number(hash[part]);
        }
        printf(")\n");
    }
}

/* One number for all data of the default kernel. */
static uint64_t hash_of_all(void) {
    uint64_t hash[PARTS], all = 0;
    int s, part;
    for (s = 0; s < SEEDS; s++) {
        make(NULL, expected[s].seed, hash);
        for (part = 0; part < PARTS; part++) all = (all ^ hash[part]) * 1099511628211u;
    }
    return all;
}

static void compare(tws_context *context) {
    uint64_t hash[PARTS];
    int s, part;
    for (s = 0; s < SEEDS; s++) {
        make(context, expected[s].seed, hash);
        for (part = 0; part < PARTS; part++)
            if (!CHECK(hash[part] == expected[s].part[part]))
                printf("    %s of seed %d on kernel %s\n", part_name[part], s,
                       tws_kernel_name(context->kernel));
    }
}

int main(int count, char **arguments) {
    int kernel;
    if (count > 1 && strcmp(arguments[1], "rows") == 0) {
        print_rows();
        return 0;
    }
    CHECK(SEEDS == 3);
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        tws_context context = tws_default_context();
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        context.threads = 1;
        compare(&context);
        context.threads = 3;
        compare(&context);
    }
    printf("hash of the data: ");
    print_number(hash_of_all());
    printf("\n");
    return check_report();
}
