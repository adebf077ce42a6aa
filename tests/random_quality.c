/* Are the random numbers random? Run by random_quality.sh.
 *
 *   random_quality list                   the sequences of words, those that must fail last
 *   random_quality words SEQUENCE         its words on standard output, without end, for dieharder
 *   random_quality battery SEQUENCE SIZE  eleven tests in the manner of SmallCrush (L'Ecuyer and
 *                                         Simard, TestU01, 2007); SIZE 1 takes about two seconds
 *   random_quality normals COUNT TAILS    law and independence of the normals; tails among TAILS
 *   random_quality normals-wide ...       the same spoiled: 0.2 % too wide
 *   random_quality normals-shared ...     the same spoiled: all rows share 4 % of their deviation
 *
 * A line `p = ...` stands for every test. A p-value below 1e-6 or above 1 - 1e-6 is a failure, as
 * the seeds are fixed it is one for ever. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include <stdio.h>
#include <stdlib.h>

static long passed, failed;

static void verdict(const char *what, double statistic, double p) {
    const int good = p >= 1e-6 && p <= 1 - 1e-6; /* false for NaN */
    good ? passed++ : failed++;
    printf("  %-44s %14.6g  p = %-12.6g%s\n", what, statistic, p, good ? "" : "  FAILED");
}

/* ---- sequences of words ---- */

#define NEIGHBOURS 256

typedef struct source {
    const char *name, *about;
    uint32_t (*next)(void);
} source;

static tws_random stream, many[NEIGHBOURS];
static uint64_t turn;

static uint32_t next_forward(void) { return tws_random_bits(&stream); }

static uint32_t reverse(uint32_t x) {
    x = (x >> 16) | (x << 16);
    x = ((x >> 8) & 0x00ff00ffu) | ((x & 0x00ff00ffu) << 8);
    x = ((x >> 4) & 0x0f0f0f0fu) | ((x & 0x0f0f0f0fu) << 4);
    x = ((x >> 2) & 0x33333333u) | ((x & 0x33333333u) << 2);
    return ((x >> 1) & 0x55555555u) | ((x & 0x55555555u) << 1);
}

static uint32_t next_reversed(void) { return reverse(tws_random_bits(&stream)); }

/* One word of each neighbour in turn; the stream (seed, purpose, row) is made when first used. */
static uint32_t next_neighbour(uint64_t seed, uint32_t purpose, uint64_t row) {
    const size_t k = (size_t)(turn % NEIGHBOURS);
    if (turn++ < NEIGHBOURS) many[k] = tws_random_stream(seed, purpose, row);
    return tws_random_bits(&many[k]);
}

static uint32_t next_rows(void) { return next_neighbour(1, TWS_FOR_INPUTS, turn); }
static uint32_t next_seeds(void) { return next_neighbour(1 + turn, TWS_FOR_INPUTS, 0); }
static uint32_t next_batches(void) { return next_neighbour(1, TWS_FOR_INPUTS + (uint32_t)turn * TWS_BATCH_STRIDE, 0); }

/* What short rows use: the first 64 words of row 0, of row 1, and so on. */
static uint32_t next_starts(void) {
    if (turn % 64 == 0) stream = tws_random_stream(1, TWS_FOR_WEIGHTS, turn / 64);
    turn++;
    return tws_random_bits(&stream);
}

/* Known to be bad: each must fail the battery. */
static uint32_t bad_state[4] = {1, 2, 3, 4};

static uint32_t next_bad_congruence(void) { return bad_state[0] = bad_state[0] * 69069u + 1u; }

static uint32_t next_bad_linear(void) { /* xorshift128 of Marsaglia 2003, nothing scrambled */
    const uint32_t t = bad_state[0] ^ (bad_state[0] << 11);
    bad_state[0] = bad_state[1];
    bad_state[1] = bad_state[2];
    bad_state[2] = bad_state[3];
    return bad_state[3] = bad_state[3] ^ (bad_state[3] >> 19) ^ t ^ (t >> 8);
}

static uint32_t next_bad_twins(void) { return next_neighbour(1, TWS_FOR_INPUTS, turn / 2); } /* each row twice */

static uint32_t next_bad_bias(void) { /* a bit that is 1 in 50.4 % of all words */
    const uint32_t word = tws_random_bits(&stream);
    return tws_random_bits(&stream) < (1u << 25) ? word | 0x80000000u : word;
}

static const source sources[] = {
    {"forward", "one stream", next_forward},
    {"reversed", "one stream, each word from its last bit to its first", next_reversed},
    {"rows", "256 neighbouring rows, a word of each in turn", next_rows},
    {"seeds", "256 neighbouring seeds, a word of each in turn", next_seeds},
    {"batches", "256 neighbouring batches, a word of each in turn", next_batches},
    {"starts", "the first 64 words of row 0, 1, 2, ...", next_starts},
    {"bad-congruence", "must fail: a linear congruence", next_bad_congruence},
    {"bad-linear", "must fail: shifts and exclusive or alone", next_bad_linear},
    {"bad-twins", "must fail: every row twice", next_bad_twins},
    {"bad-bias", "must fail: one bit with a bias of 0.4 %", next_bad_bias},
};
#define SOURCES (sizeof sources / sizeof sources[0])

/* ---- probabilities ---- */

/* Q(a, x), the upper incomplete gamma function: a series below x = a + 1, a continued fraction
   above. */
static double upper_gamma(double a, double x) {
    double sum = 1, term = 1, b = x + 1 - a, c = 1e300, d = 1 / b, h = d, i;
    if (x <= 0) return 1;
    if (x < a + 1) {
        for (i = 1; term > sum * 1e-17; i++) sum += term *= x / (a + i);
        return 1 - sum * exp(a * log(x) - x - lgamma(a + 1));
    }
    for (i = 1; i < 100000; i++) {
        const double an = -i * (i - a);
        double step;
        b += 2;
        d = an * d + b;
        if (fabs(d) < 1e-300) d = 1e-300;
        c = b + an / c;
        if (fabs(c) < 1e-300) c = 1e-300;
        d = 1 / d;
        step = c * d;
        h *= step;
        if (fabs(step - 1) < 1e-15) break;
    }
    return h * exp(a * log(x) - x - lgamma(a));
}

/* Cells with fewer than ten expected are put together with their neighbours. */
static void chi_square(const char *what, const double *seen, const double *expected, size_t cells) {
    double chi2 = 0, n = 0, e = 0;
    size_t i, degrees = 0;
    for (i = 0; i < cells; i++) {
        double left = 0;
        size_t j;
        n += seen[i];
        e += expected[i];
        if (e < 10) continue;
        for (j = i + 1; j < cells && left < 10; j++) left += expected[j];
        if (left < 10)
            for (i++; i < cells; i++) n += seen[i], e += expected[i];
        chi2 += (n - e) * (n - e) / e;
        degrees++;
        n = e = 0;
    }
    verdict(what, chi2, upper_gamma(0.5 * (double)(degrees - 1), 0.5 * chi2));
}

static double normal_tail(double z) { return 0.5 * erfc(z / sqrt(2.0)); }

static double binomial(size_t n, size_t k) {
    return exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) - (double)n * log(2.0));
}

/* ---- the battery ---- */

static uint32_t (*draw)(void);

static int compare_words(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* 4096 birthdays in a year of 2^32 days: the number of equal gaps between them is Poisson with
   mean 4096^3 / 2^34 = 4 (Marsaglia). */
static void birthdays(long size) {
    enum { M = 4096 };
    static uint32_t day[M];
    const double want = 4.0 * 500 * (double)size;
    double equal = 0;
    long run;
    size_t i;
    for (run = 0; run < 500 * size; run++) {
        uint32_t first;
        for (i = 0; i < M; i++) day[i] = draw();
        qsort(day, M, sizeof *day, compare_words);
        first = day[0];
        for (i = 0; i + 1 < M; i++) day[i] = day[i + 1] - day[i];
        day[M - 1] = first - day[M - 1]; /* over the turn of the year */
        qsort(day, M, sizeof *day, compare_words);
        for (i = 0; i + 1 < M; i++) equal += day[i] == day[i + 1];
    }
    verdict("birthday spacings", equal, normal_tail((equal - want) / sqrt(want)));
}

/* 2^21 balls into 2^26 boxes, named by the 13 upper or lower bits of two words. */
static void collisions(long size, int lower) {
    enum { BITS = 26 };
    static unsigned char box[1 << (BITS - 3)];
    const double boxes = 67108864.0, balls = 2097152.0, load = balls / boxes, full = exp(-load);
    const double want = balls - boxes * -expm1(balls * log1p(-1 / boxes));
    const double variance = boxes * full * (1 - (1 + load) * full);
    double hits = 0;
    long run, i;
    for (run = 0; run < 4 * size; run++) {
        memset(box, 0, sizeof box);
        for (i = 0; i < 2097152; i++) {
            const uint32_t a = draw(), b = draw();
            const uint32_t cell = lower ? (a & 8191u) << 13 | (b & 8191u) : a >> 19 << 13 | b >> 19;
            hits += box[cell >> 3] >> (cell & 7) & 1;
            box[cell >> 3] = (unsigned char)(box[cell >> 3] | 1u << (cell & 7));
        }
    }
    verdict(lower ? "collisions, lower bits" : "collisions, upper bits", hits,
            normal_tail((hits - want * (double)run) / sqrt(variance * (double)run)));
}

/* How long until a number below 1/8 comes again. */
static void gaps(long size) {
    enum { CELLS = 128 };
    double seen[CELLS] = {0}, expected[CELLS], n = 2e6 * (double)size;
    long run;
    size_t gap, i;
    for (run = 0; run < 2000000 * size; run++) {
        for (gap = 0; gap < CELLS - 1 && draw() >> 29 != 0; gap++) {}
        seen[gap]++;
    }
    for (i = 0; i < CELLS; i++) expected[i] = n * pow(7.0 / 8, (double)i) * (i + 1 < CELLS ? 1.0 / 8 : 1);
    chi_square("gaps", seen, expected, CELLS);
}

/* How many draws until each of eight faces has shown. */
static void coupons(long size) {
    enum { FACES = 8, CELLS = 128 };
    double seen[CELLS] = {0}, expected[CELLS], state[FACES + 1] = {1}, n = 5e5 * (double)size;
    long run;
    size_t i, k;
    for (run = 0; run < 500000 * size; run++) {
        unsigned have = 0;
        size_t draws = 0;
        for (; have != 255u && draws < CELLS - 1; draws++) have |= 1u << (draw() >> 13 & 7);
        seen[draws]++;
    }
    for (i = 0; i < CELLS; i++) {
        double next[FACES + 1] = {0};
        expected[i] = n * (i + 1 < CELLS ? state[FACES] : 1);
        for (k = 0; i + 1 < CELLS && k < FACES; k++) {
            next[k] += state[k] * (double)k / FACES;
            next[k + 1] += state[k] * (double)(FACES - k) / FACES;
        }
        if (i + 1 == CELLS - 1) { /* the last cell: all that takes longer */
            for (next[FACES] = 1, k = 0; k <= i; k++) next[FACES] -= expected[k] / n;
            if (next[FACES] < 0) next[FACES] = 0;
            expected[CELLS - 1] = n * next[FACES];
            break;
        }
        memcpy(state, next, sizeof state);
    }
    chi_square("coupons", seen, expected, CELLS);
}

/* The largest of eight uniforms, to the power eight, is uniform. */
static void maxima(long size) {
    enum { CELLS = 4096 };
    static double seen[CELLS], expected[CELLS];
    long run;
    int i;
    for (i = 0; i < CELLS; i++) seen[i] = 0, expected[i] = 1e6 * (double)size / CELLS;
    for (run = 0; run < 1000000 * size; run++) {
        double most = 0;
        for (i = 0; i < 8; i++) {
            const double u = (draw() + 0.5) / 4294967296.0;
            if (u > most) most = u;
        }
        seen[(int)(pow(most, 8) * CELLS)]++;
    }
    chi_square("maximum of eight", seen, expected, CELLS);
}

/* Pairs of six bits, the upper and the lower ones. */
static void pairs(long size, int lower) {
    enum { CELLS = 4096 };
    static double seen[CELLS], expected[CELLS];
    long run;
    int i;
    for (i = 0; i < CELLS; i++) seen[i] = 0, expected[i] = 4e6 * (double)size / CELLS;
    for (run = 0; run < 4000000 * size; run++) {
        const uint32_t a = draw(), b = draw();
        seen[lower ? (a & 63u) << 6 | (b & 63u) : a >> 26 << 6 | b >> 26]++;
    }
    chi_square(lower ? "pairs, lower bits" : "pairs, upper bits", seen, expected, CELLS);
}

/* Of 256 uniforms, how many are below 1/4: Binomial(256, 1/4). */
static void weights(long size) {
    enum { N = 256 };
    double seen[N + 1] = {0}, expected[N + 1], n = 1e5 * (double)size;
    long run;
    size_t i, count;
    for (run = 0; run < 100000 * size; run++) {
        for (count = i = 0; i < N; i++) count += draw() >> 30 == 0;
        seen[count]++;
    }
    for (i = 0; i <= N; i++)
        expected[i] = n * binomial(N, i) * exp((double)N * log(2.0) + (double)i * log(0.25) + (double)(N - i) * log(0.75));
    chi_square("weight distribution", seen, expected, N + 1);
}

/* Rank over GF(2) of 320 x 320 bits: full with probability 0.2888. */
static void ranks(long size) {
    enum { N = 320, WORDS = 10 };
    static uint32_t m[N][WORDS];
    static const double law[4] = {0.0052387863054258942, 0.1283502644231667, 0.5775761901732048, 0.2887880950866024};
    double seen[4] = {0}, expected[4], n = 1000 * (double)size;
    long run;
    size_t i, j, k, rank, column;
    for (run = 0; run < 1000 * size; run++) {
        for (i = 0; i < N; i++)
            for (j = 0; j < WORDS; j++) m[i][j] = draw();
        for (rank = column = 0; column < N; column++) {
            const uint32_t bit = 1u << column % 32;
            const size_t word = column / 32;
            for (i = rank; i < N && !(m[i][word] & bit); i++) {}
            if (i == N) continue;
            for (j = 0; j < WORDS; j++) {
                const uint32_t t = m[i][j];
                m[i][j] = m[rank][j];
                m[rank][j] = t;
            }
            for (k = i + 1; k < N; k++)
                if (m[k][word] & bit)
                    for (j = word; j < WORDS; j++) m[k][j] ^= m[rank][j];
            rank++;
        }
        seen[rank >= N - 3 ? rank - (N - 3) : 0]++;
    }
    for (i = 0; i < 4; i++) expected[i] = n * law[i];
    expected[0] += n * (1 - law[0] - law[1] - law[2] - law[3]);
    chi_square("rank of 320 x 320 bits", seen, expected, 4);
}

/* The shortest linear recurrence of 2000 bits is 1000 long, give or take a few (Berlekamp, Massey);
   bits of one position, every STRIDE-th word. */
static void complexity(long size, size_t position, size_t stride) {
    enum { N = 2000, WORDS = N / 32 + 2 };
    double seen[7] = {0}, expected[7], n = 100 * (double)size;
    char title[64];
    long run;
    size_t i, k;
    for (run = 0; run < 100 * size; run++) {
        static unsigned char s[N], c[N + 1], b[N + 1], t[N + 1];
        size_t length = 0, gap = 1;
        memset(c, 0, sizeof c);
        memset(b, 0, sizeof b);
        c[0] = b[0] = 1;
        for (i = 0; i < N; i++) {
            unsigned d = 0;
            s[i] = (unsigned char)(draw() >> position & 1);
            for (k = 1; k < stride; k++) draw();
            for (k = 0; k <= length; k++) d ^= c[k] & s[i - k];
            if (d == 0) {
                gap++;
                continue;
            }
            if (2 * length <= i) {
                memcpy(t, c, sizeof c);
                for (k = 0; k + gap <= N; k++) c[k + gap] ^= b[k];
                memcpy(b, t, sizeof b);
                length = i + 1 - length;
                gap = 1;
            } else {
                for (k = 0; k + gap <= N; k++) c[k + gap] ^= b[k];
                gap++;
            }
        }
        seen[length + 3 < N / 2 ? 0 : length > N / 2 + 3 ? 6 : length - (N / 2 - 3)]++;
    }
    /* P(L = N/2 + j) = 4^-j for j > 0, 4^j / 2 for j <= 0 (N even, large) */
    for (i = 0; i < 7; i++) {
        const int j = (int)i - 3;
        expected[i] = n * (j > 0 ? pow(2, -2 * j) : pow(2, 2 * j - 1));
    }
    expected[6] = n / 3 * pow(2, -4); /* sum of 4^-j from j = 3 */
    expected[0] = n * pow(2, -7) * 4 / 3;
    sprintf(title, "linear complexity of bit %lu, stride %lu", (unsigned long)position, (unsigned long)stride);
    chi_square(title, seen, expected, 7);
}

static unsigned ones(uint32_t x) {
    x -= x >> 1 & 0x55555555u;
    x = (x & 0x33333333u) + (x >> 2 & 0x33333333u);
    return ((x + (x >> 4)) & 0x0f0f0f0fu) * 0x01010101u >> 24;
}

/* Numbers of ones in words some way apart: 15 or fewer, 16, 17 or more. */
static void hamming(long size, size_t lag) {
    enum { LAST = 512 };
    static unsigned char kept[LAST];
    double seen[9] = {0}, expected[9], p[3] = {0}, n = 8e6 * (double)size;
    char title[48];
    long run;
    size_t i;
    for (i = 0; i <= 32; i++) p[i < 16 ? 0 : i == 16 ? 1 : 2] += binomial(32, i);
    for (i = 0; i < 9; i++) expected[i] = n * p[i / 3] * p[i % 3];
    for (run = -(long)lag; run < 8000000 * size; run++) {
        const unsigned count = ones(draw());
        const unsigned char level = (unsigned char)(count < 16 ? 0 : count == 16 ? 1 : 2);
        const size_t at = (size_t)(run + (long)lag);
        if (run >= 0) seen[kept[(at - lag) % LAST] * 3 + level]++;
        kept[at % LAST] = level;
    }
    sprintf(title, "ones in words %lu apart", (unsigned long)lag);
    chi_square(title, seen, expected, 9);
}

/* Where a walk of 1024 steps ends. */
static void walks(long size) {
    enum { N = 1024 };
    static double seen[N + 1], expected[N + 1];
    const double n = 2e5 * (double)size;
    long run;
    size_t i, up;
    for (i = 0; i <= N; i++) seen[i] = 0, expected[i] = n * binomial(N, i);
    for (run = 0; run < 200000 * size; run++) {
        for (up = i = 0; i < N / 32; i++) up += ones(draw());
        seen[up]++;
    }
    chi_square("end of a random walk", seen, expected, N + 1);
}

/* How often each of the 32 bits is one. */
static void bits(long size) {
    double seen[64], expected[64], chi2 = 0, n = 2e6 * (double)size;
    long run;
    size_t i;
    for (i = 0; i < 64; i++) seen[i] = 0, expected[i] = n / 2;
    for (run = 0; run < 2000000 * size; run++) {
        const uint32_t word = draw();
        for (i = 0; i < 32; i++) seen[2 * i + (word >> i & 1)]++;
    }
    for (i = 0; i < 64; i++) chi2 += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
    verdict("ones in each place", chi2, upper_gamma(16, 0.5 * chi2));
}

static void battery(long size) {
    birthdays(size);
    collisions(size, 0);
    collisions(size, 1);
    gaps(size);
    coupons(size);
    maxima(size);
    pairs(size, 0);
    pairs(size, 1);
    weights(size);
    ranks(size);
    complexity(size, 0, 1);
    complexity(size, 0, TWS_RANDOM_LANES);
    complexity(size, 31, TWS_RANDOM_LANES);
    hamming(size, 1);
    hamming(size, TWS_RANDOM_LANES);
    hamming(size, NEIGHBOURS);
    walks(size);
    bits(size);
}

/* ---- normals ---- */

static double widen = 1, share = 0;

static void make_normals(uint64_t seed, uint32_t purpose, uint64_t row, size_t rows, size_t columns, tws_real *x) {
    size_t i;
    if (tws_random_matrix(NULL, seed, purpose, row, rows, columns, x, columns) != TWS_OK) exit(2);
    if (widen > 1)
        for (i = 0; i < rows * columns; i++) x[i] *= (tws_real)widen;
    if (share > 0)
        for (i = 0; i < rows * columns; i++) x[i] += (tws_real)(share * sin((double)(i % columns) * 2.4));
}

static int compare_reals(const void *a, const void *b) {
    const tws_real x = *(const tws_real *)a, y = *(const tws_real *)b;
    return (x > y) - (x < y);
}

static double double_factorial(int n) { return n <= 1 ? 1 : n * double_factorial(n - 2); }

/* Mean of x^k, of which the variance is E x^2k - (E x^k)^2. */
static void moments(const tws_real *x, size_t count) {
    double sum[9] = {0};
    size_t i;
    int k;
    for (i = 0; i < count; i++) {
        double power = 1;
        for (k = 1; k <= 8; k++) sum[k] += power *= (double)x[i];
    }
    for (k = 1; k <= 8; k++) {
        const double mean = k % 2 ? 0 : double_factorial(k - 1);
        const double spread = sqrt((double_factorial(2 * k - 1) - mean * mean) / (double)count);
        char title[64];
        sprintf(title, "moment of order %d (true: %g)", k, mean);
        verdict(title, sum[k] / (double)count, normal_tail((sum[k] / (double)count - mean) / spread));
    }
}

/* Kolmogorov and Smirnov: P(sqrt n D > t) by the theta series. Anderson and Darling: the limit law
   by the formula of Marsaglia and Marsaglia (2004), good to 1e-5 or so. */
static void goodness(tws_real *x, size_t count) {
    const double n = (double)count;
    double worst = 0, sum = 0, t, p = 0, z, k;
    size_t i;
    qsort(x, count, sizeof *x, compare_reals);
    for (i = 0; i < count; i++) {
        const double below = normal_tail(-(double)x[i]), mirror = normal_tail((double)x[count - 1 - i]);
        const double up = ((double)i + 1) / n - below, down = below - (double)i / n;
        if (up > worst) worst = up;
        if (down > worst) worst = down;
        sum += (2 * (double)i + 1) * (log(below) + log(mirror));
    }
    t = worst * (sqrt(n) + 0.12 + 0.11 / sqrt(n));
    for (k = 1; k < 100; k++) p += (fmod(k, 2) > 0 ? 2 : -2) * exp(-2 * k * k * t * t);
    verdict("Kolmogorov-Smirnov, sqrt(n) D", t, p);
    z = -n - sum / n;
    p = z < 2 ? exp(-1.2337141 / z) / sqrt(z) *
                    (2.00012 + (.247105 - (.0649821 - (.0347962 - (.011672 - .00168691 * z) * z) * z) * z) * z)
              : exp(-exp(1.0776 - (2.30695 - (.43424 - (.082433 - (.008056 - .0003146 * z) * z) * z) * z) * z));
    verdict("Anderson-Darling", z, 1 - p);
}

/* How many lie beyond k standard deviations; a few at most: the exact Poisson tail on both sides. */
static void tails(double count) {
    enum { COLUMNS = 1 << 16, ROWS = 64 };
    static double beyond[7];
    static tws_real block[(size_t)COLUMNS * ROWS];
    const double total = ceil(count / ((double)COLUMNS * ROWS)) * COLUMNS * ROWS;
    double done, most = 0;
    uint64_t row = 0;
    size_t i;
    int k;
    for (done = 0; done < total; done += (double)COLUMNS * ROWS, row += ROWS) {
        make_normals(77, TWS_FOR_USER, row, ROWS, COLUMNS, block);
        for (i = 0; i < (size_t)COLUMNS * ROWS; i++) {
            const double size = fabs((double)block[i]);
            if (size < 3) continue;
            for (k = 3; k <= 6; k++) beyond[k] += size > k;
            if (size > most) most = size;
        }
    }
    for (k = 3; k <= 6; k++) {
        const double want = total * erfc(k / sqrt(2.0));
        char title[64];
        sprintf(title, "beyond %d sigma in %.3g (expected: %.6g)", k, total, want);
        /* P(Poisson >= seen) = 1 - Q(seen, want), in the middle of the step */
        verdict(title, beyond[k], 1 - 0.5 * (upper_gamma(beyond[k] + 1, want) + (beyond[k] > 0 ? upper_gamma(beyond[k], want) : 0)));
    }
    printf("  the largest of them: %.4f\n", most);
}

/* Products of a row with its neighbours, at lags up to four either way, of values and of squares:
   each sum is close to normal, so the sum of their squares is chi-square. */
static void correlations(size_t length, const char *what, int seed_step, int purpose_step, int row_step) {
    enum { PAIRS = 64, LAG = 4 };
    tws_real *a = (tws_real *)malloc(2 * length * sizeof *a), *b = a + length;
    double chi2 = 0, chi2_squares = 0, most = 0;
    char title[64];
    long terms = 0;
    int pair, lag;
    if (a == NULL) exit(2);
    for (pair = 0; pair < PAIRS; pair++) {
        const uint32_t purpose = TWS_FOR_USER + (uint32_t)(pair * purpose_step);
        const uint64_t seed = 9 + (uint64_t)(pair * seed_step), row = 1000 + (uint64_t)(pair * row_step);
        make_normals(seed, purpose, row, 1, length, a);
        make_normals(seed + (uint64_t)seed_step, purpose + (uint32_t)purpose_step, row + (uint64_t)row_step, 1, length, b);
        for (lag = -LAG; lag <= LAG; lag++, terms++) {
            double sum = 0, squares = 0;
            size_t i;
            for (i = LAG; i + LAG < length; i++) {
                const double x = (double)a[i], y = (double)b[(long)i + lag];
                sum += x * y;
                squares += (x * x - 1) * (y * y - 1);
            }
            sum /= sqrt((double)(length - 2 * LAG));
            squares /= 2 * sqrt((double)(length - 2 * LAG));
            chi2 += sum * sum;
            chi2_squares += squares * squares;
            if (fabs(sum) > most) most = fabs(sum);
        }
    }
    sprintf(title, "neighbouring %s, %d pairs x 9 lags", what, PAIRS);
    verdict(title, chi2, upper_gamma(0.5 * (double)terms, 0.5 * chi2));
    sprintf(title, "neighbouring %s, squares", what);
    verdict(title, chi2_squares, upper_gamma(0.5 * (double)terms, 0.5 * chi2_squares));
    sprintf(title, "neighbouring %s, largest", what);
    verdict(title, most, 1 - pow(1 - 2 * normal_tail(most), (double)terms));
    free(a);
}

static void normals(double count, double tail_count) {
    const size_t n = (size_t)count, rows = (n + 999) / 1000;
    tws_real *x = (tws_real *)malloc(rows * 1000 * sizeof *x);
    if (x == NULL) exit(2);
    make_normals(5, TWS_FOR_USER, 0, rows, 1000, x);
    moments(x, n);
    goodness(x, n);
    free(x);
    tails(tail_count);
    correlations(n / 10, "rows", 0, 0, 1);
    correlations(n / 10, "seeds", 1, 0, 0);
    correlations(n / 10, "purposes", 0, 1, 0);
    correlations(n / 10, "batches", 0, TWS_BATCH_STRIDE, 0);
}

static const source *source_named(const char *name) {
    size_t i;
    for (i = 0; i < SOURCES; i++)
        if (strcmp(sources[i].name, name) == 0) return &sources[i];
    fprintf(stderr, "random_quality: no sequence '%s', `random_quality list` names them\n", name);
    exit(2);
}

static void words(const source *from) {
    static uint32_t block[4096];
    size_t i;
    do
        for (i = 0; i < 4096; i++) block[i] = from->next();
    while (fwrite(block, sizeof block, 1, stdout) == 1);
}

int main(int count, char **arguments) {
    size_t i;
    stream = tws_random_stream(1, TWS_FOR_INPUTS, 0);
    if (count == 2 && strcmp(arguments[1], "list") == 0) {
        for (i = 0; i < SOURCES; i++) printf("%s\t%s\n", sources[i].name, sources[i].about);
        return 0;
    }
    if (count == 3 && strcmp(arguments[1], "words") == 0) {
        words(source_named(arguments[2]));
        return 0;
    }
    if (count == 4 && strcmp(arguments[1], "battery") == 0) {
        draw = source_named(arguments[2])->next;
        battery(atol(arguments[3]));
    } else if (count == 4 && strncmp(arguments[1], "normals", 7) == 0) {
        if (strcmp(arguments[1], "normals-wide") == 0) widen = 1.002;
        if (strcmp(arguments[1], "normals-shared") == 0) share = 0.04;
        normals(atof(arguments[2]), atof(arguments[3]));
    } else {
        fprintf(stderr, "usage: random_quality list | words SEQUENCE | battery SEQUENCE SIZE | normals COUNT TAILS\n");
        return 2;
    }
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed != 0;
}
