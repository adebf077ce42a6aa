/* Random numbers: known answers, the same bits on every kernel, the law of the normals. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include <stdlib.h>

#define COUNT 1000003

/* FNV-1a over the bytes of each number from the lowest to the highest, whatever the machine's order. */
static uint64_t hash_reals(const tws_real *x, size_t count) {
    uint64_t h = 1469598103934665603u;
    size_t i, byte;
    for (i = 0; i < count; i++) {
#ifdef TWOSTEP_DOUBLE
        uint64_t bits;
#else
        uint32_t bits;
#endif
        memcpy(&bits, &x[i], sizeof bits);
        for (byte = 0; byte < sizeof bits; byte++) h = (h ^ ((bits >> (8 * byte)) & 255u)) * 1099511628211u;
    }
    return h;
}

/* Vectors published with the generators: state (1, 2, 3, 4), and splitmix64 from 1234567. */
static void known_answers(void) {
    static const uint32_t want[10] = {641u,        1573767u,    3222811527u, 3517856514u, 836907274u,
                                      4247214768u, 3867114732u, 1355841295u, 495546011u,  621204420u};
    static const uint64_t mixed[3] = {6457827717110365317u, 3203168211198807973u, 9817491932198370423u};
    uint32_t state[4][TWS_RANDOM_LANES], words[TWS_RANDOM_LANES], i, lane;
    uint64_t counter = 1234567;
    for (i = 0; i < 4; i++)
        for (lane = 0; lane < TWS_RANDOM_LANES; lane++) state[i][lane] = i + 1;
    for (i = 0; i < 10; i++) {
        twsi_random_step(state, words);
        CHECK(words[0] == want[i] && words[TWS_RANDOM_LANES - 1] == want[i]);
    }
    for (i = 0; i < 3; i++) CHECK(twsi_splitmix64(&counter) == mixed[i]);
}

static void reach_of_the_tails(void) {
    const double sigma = sizeof(tws_real) == 4 ? 6.5 : 8.0;
    CHECK(sqrt((double)twsi_radius2_plain(0)) >= sigma);
}

/* Every normal beside sqrt(-2 ln u) (cos, sin)(angle) from the same words by libm. */
static void accuracy(void) {
    tws_random stream = tws_random_stream(3, TWS_FOR_USER, 9), twin = stream;
    double worst = 0;
    int block, lane, i;
    for (block = 0; block < 2000; block++) {
        tws_real got[2 * TWS_RANDOM_LANES];
        uint32_t w[4][TWS_RANDOM_LANES];
        tws_random_normals(NULL, &stream, got, 2 * TWS_RANDOM_LANES);
        for (i = 0; i < (sizeof(tws_real) == 4 ? 2 : 4); i++) twsi_random_step(twin.state, w[i]);
        for (lane = 0; lane < TWS_RANDOM_LANES; lane++) {
            double log_u, fraction, c, s, t, radius, high;
            uint32_t octant;
            if (sizeof(tws_real) == 4) {
                const double t31 = (double)(w[0][lane] >> 1) + 0.5;
                log_u = t31 > 1073741824.0 ? log1p(-(2147483648.0 - t31) / 2147483648.0) : log(t31 / 2147483648.0);
                octant = w[1][lane] >> 29;
                fraction = ((double)(w[1][lane] & 0x1fffffffu) + 0.5) / 536870912.0;
            } else {
                const uint64_t a = ((uint64_t)w[0][lane] << 32) | w[1][lane];
                const uint64_t b = ((uint64_t)w[2][lane] << 32) | w[3][lane];
                high = (double)(a >> 12) + 0.5;
                log_u = high > 2251799813685248.0 ? log1p(-((double)(~a >> 12) + 0.5) / 4503599627370496.0)
                                                  : log(high / 4503599627370496.0);
                octant = (uint32_t)(b >> 61);
                fraction = ((double)((b << 3) >> 12) + 0.5) / 4503599627370496.0;
            }
            radius = sqrt(-2.0 * log_u);
            c = cos(fraction * TWSI_PI / 4);
            s = sin(fraction * TWSI_PI / 4);
            if (octant & 1) t = c, c = s, s = t;
            if (octant & 4) c = -c;
            if (octant & 2) s = -s;
            if (fabs((double)got[lane] - radius * c) > worst * radius) worst = fabs((double)got[lane] - radius * c) / radius;
            if (fabs((double)got[lane + TWS_RANDOM_LANES] - radius * s) > worst * radius)
                worst = fabs((double)got[lane + TWS_RANDOM_LANES] - radius * s) / radius;
        }
    }
    CHECK(worst <= (sizeof(tws_real) == 4 ? 2.5e-7 : 5e-16));
}

static int compare_reals(const void *a, const void *b) {
    const tws_real x = *(const tws_real *)a, y = *(const tws_real *)b;
    return (x > y) - (x < y);
}

static void law(tws_real *x) {
    double sum[9] = {0}, worst = 0, moment[9] = {1, 0, 1, 0, 3, 0, 15, 0, 105}, spread[9] = {0, 1, 2, 15, 96, 945, 10170, 135135, 2016000};
    size_t i, beyond[7] = {0};
    int k;
    CHECK(tws_random_matrix(NULL, 11, TWS_FOR_USER, 0, 1, COUNT, x, COUNT) == TWS_OK);
    for (i = 0; i < COUNT; i++) {
        double power = 1;
        for (k = 1; k <= 8; k++) sum[k] += (power *= (double)x[i]);
        for (k = 1; k <= 6; k++) beyond[k] += fabs((double)x[i]) > k;
    }
    for (k = 1; k <= 8; k++) CHECK_NEAR(sum[k] / COUNT, moment[k], 5 * sqrt(spread[k] / COUNT));
    for (k = 1; k <= 4; k++) {
        const double p = erfc(k / sqrt(2.0));
        CHECK_NEAR((double)beyond[k], p * COUNT, 5 * sqrt(p * COUNT));
    }
    qsort(x, COUNT, sizeof *x, compare_reals);
    for (i = 0; i < COUNT; i++) {
        const double cdf = 0.5 * erfc(-(double)x[i] / sqrt(2.0)), up = (double)(i + 1) / COUNT - cdf, down = cdf - (double)i / COUNT;
        if (up > worst) worst = up;
        if (down > worst) worst = down;
    }
    CHECK(worst * sqrt((double)COUNT) < 1.95); /* Kolmogorov and Smirnov: passed by chance in 0.1 % */
}

/* Neighbouring rows, seeds and purposes: products of normals average to zero. */
static void independence(void) {
    enum { LENGTH = 20000 };
    static tws_real a[LENGTH], b[LENGTH];
    int pair;
    for (pair = 0; pair < 6; pair++) {
        double sum = 0, squares = 0;
        int i;
        tws_random_matrix(NULL, 5, TWS_FOR_USER, 7, 1, LENGTH, a, LENGTH);
        tws_random_matrix(NULL, pair == 1 ? 6 : pair == 2 ? 4 : 5, pair == 3 ? TWS_FOR_USER + 1 : TWS_FOR_USER,
                          pair == 0 ? 8 : pair == 4 ? 6 : pair == 5 ? 23 : 7, 1, LENGTH, b, LENGTH);
        for (i = 0; i < LENGTH; i++) {
            sum += (double)a[i] * (double)b[i];
            squares += ((double)a[i] * (double)a[i] - 1) * ((double)b[i] * (double)b[i] - 1);
        }
        CHECK_NEAR(sum / sqrt((double)LENGTH), 0, 4.5);
        CHECK_NEAR(squares / (2 * sqrt((double)LENGTH)), 0, 4.5);
    }
}

static void same_bits(void) {
    enum { ROWS = 67, COLUMNS = 131, LD = 140 };
    static tws_real want[ROWS * LD], got[ROWS * LD], row[COLUMNS];
    int kernel, threads, i;
    size_t k;
    memset(want, 1, sizeof want);
    CHECK(tws_random_matrix(NULL, 2, 9, 5, ROWS, COLUMNS, want, LD) == TWS_OK);
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        for (threads = 1; threads <= 7; threads += 2) {
            tws_context context = tws_default_context();
            context.kernel = (tws_kernel)kernel;
            context.threads = (unsigned)threads;
            memset(got, 1, sizeof got);
            CHECK(tws_random_matrix(&context, 2, 9, 5, ROWS, COLUMNS, got, LD) == TWS_OK);
            CHECK(memcmp(got, want, sizeof want) == 0);
        }
    }
    CHECK(tws_random_matrix(NULL, 2, 9, 5 + 44, 1, COLUMNS, row, COLUMNS) == TWS_OK); /* one row alone */
    CHECK(memcmp(row, want + 44 * LD, sizeof row) == 0);
    CHECK(memcmp(row, want + 43 * LD, sizeof row) != 0);
    for (k = 0; k < 140; k += 11) { /* a stream in two pieces is the stream in one */
        tws_random whole = tws_random_stream(1, 2, 3), parts = whole;
        tws_real one[200], two[200];
        tws_random_normals(NULL, &whole, one, 140);
        tws_random_normals(NULL, &parts, two, k);
        tws_random_normals(NULL, &parts, two + k, 140 - k);
        CHECK(memcmp(one, two, 140 * sizeof *one) == 0);
    }
    /* the numbers of version 1.0: a change here changes every published result */
    for (i = 0; i < ROWS; i++) memmove(got + i * COLUMNS, want + i * LD, COLUMNS * sizeof *got);
#ifdef TWOSTEP_DOUBLE
    CHECK(hash_reals(got, ROWS * COLUMNS) == 0xd454c5943c9894edu);
#else
    CHECK(hash_reals(got, ROWS * COLUMNS) == 0xb3f3d604e55fa2e7u);
#endif
}

static void integers(void) {
    tws_random stream = tws_random_stream(1, TWS_FOR_USER, 0);
    long counts[6] = {0};
    double sum = 0, least = 1, most = 0;
    int i;
    for (i = 0; i < 60000; i++) counts[tws_random_below(&stream, 6)]++;
    for (i = 0; i < 6; i++) CHECK_NEAR((double)counts[i], 10000, 460);
    for (i = 0; i < 60000; i++) {
        const double u = tws_random_uniform(&stream);
        sum += u;
        if (u < least) least = u;
        if (u > most) most = u;
    }
    CHECK(least > 0 && least < 1e-3 && most < 1 && most > 0.999);
    CHECK_NEAR(sum / 60000, 0.5, 0.006);
    CHECK(tws_random_below(&stream, 0) == 0 && tws_random_below(&stream, 1) == 0);
}

static void refusals(void) {
    tws_context context = tws_default_context();
    tws_real x[4];
    CHECK(tws_random_matrix(&context, 1, 1, 0, 2, 2, NULL, 2) == TWS_BAD_ARGUMENT);
    CHECK(strcmp(context.message, "out is NULL") == 0);
    CHECK(tws_random_matrix(&context, 1, 1, 0, 2, 2, x, 1) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "is 1, it must be at least 2") != NULL);
    CHECK(tws_random_matrix(&context, 1, 1, 0, SIZE_MAX / 2, 3, x, 8) == TWS_TOO_LARGE);
    CHECK(tws_random_matrix(&context, 1, 1, 0, 0, 3, NULL, 3) == TWS_OK);
    CHECK(tws_random_normals(&context, NULL, x, 4) == TWS_BAD_ARGUMENT);
    context.kernel = TWS_KERNEL_COUNT;
    CHECK(tws_random_matrix(&context, 1, 1, 0, 2, 2, x, 2) == TWS_UNAVAILABLE);
    context.kernel = TWS_KERNEL_AUTO;
    context.threads = 1000;
    CHECK(tws_random_matrix(&context, 1, 1, 0, 2, 2, x, 2) == TWS_BAD_ARGUMENT);
}

int main(void) {
    tws_real *x = (tws_real *)malloc(COUNT * sizeof *x);
    if (x == NULL) return 1;
    known_answers();
    reach_of_the_tails();
    accuracy();
    law(x);
    independence();
    same_bits();
    integers();
    refusals();
    free(x);
    return check_report();
}
