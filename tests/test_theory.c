/* The theory room: quadrature and algebra against closed forms, the outlier solver against its
   closed form, predictions against tests/data/spectra.txt, exponents over a ladder of N, the
   surrogate against a small simulation, refusal of nonsense, threads, memory. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "check.h"
#include <stdlib.h>

/* ---- helpers ---- */

static tws_theory_input make(const char *activation, const char *target, double N, double d, double n,
                             double alpha1, double alpha2, double scale1, double scale2,
                             tws_batches batches) {
    tws_theory_input input;
    memset(&input, 0, sizeof input);
    CHECK(tws_activation_named(activation, &input.activation) == TWS_OK);
    CHECK(tws_target_named(target, &input.target) == TWS_OK);
    input.neurons = N, input.inputs = d, input.samples = n;
    input.alpha1 = alpha1, input.alpha2 = alpha2, input.scale1 = scale1, input.scale2 = scale2;
    input.batches = batches;
    input.output_scale = TWS_MEAN_FIELD;
    return input;
}

static tws_prediction predict(const tws_theory_input *input) {
    tws_prediction out;
    tws_context context = tws_default_context();
    memset(&out, 0, sizeof out);
    if (!CHECK(tws_predict(&context, input, NULL, &out) == TWS_OK)) puts(context.message);
    return out;
}

static int same_prediction(const tws_prediction *a, const tws_prediction *b) {
    return a->step == b->step && a->edge == b->edge && a->outliers == b->outliers &&
           a->captured == b->captured && a->kappa == b->kappa && a->spikes == b->spikes &&
           !memcmp(a->singular_values, b->singular_values, sizeof a->singular_values) &&
           !memcmp(a->alignments, b->alignments, sizeof a->alignments) &&
           !memcmp(a->strengths, b->strengths, sizeof a->strengths) &&
           !memcmp(a->readout_alignments, b->readout_alignments, sizeof a->readout_alignments);
}

/* ---- quadrature, algebra ---- */

static void test_quadrature(void) {
    static const double tail[][2] = {{0.5, 0}, {0.158655253931457, 1}, {0.0227501319481792, 2},
                                     {1.3498980316301e-3, 3}, {9.86587645037698e-10, 6},
                                     {1.27981254388584e-12, 7}};
    double x[48], w[48];
    size_t i, n, k;
    for (n = 1; n <= 40; n += 3) {
        double even = 0, odd = 0, sum = 0, legendre = 0, power;
        twsi_gauss_rule(1, n, x, w);
        for (i = 0; i < n; i++) {
            sum += w[i];
            odd += w[i] * x[i] * x[i] * x[i];
            even += w[i] * x[i] * x[i] * x[i] * x[i];
        }
        CHECK_NEAR(sum, 1, 1e-12);
        CHECK_NEAR(odd, 0, 1e-11);
        if (n >= 3) CHECK_NEAR(even, 3, 1e-11);
        twsi_gauss_rule(0, n, x, w);
        for (i = 0; i < n; i++) {
            power = 1;
            for (k = 0; k < 2 * n - 2; k++) power *= x[i];
            legendre += w[i] * power;
        }
        CHECK_NEAR(legendre * (double)(2 * n - 1), 1, 1e-10); /* mean of x^(2n-2) */
    }
    twsi_even_rule(29, x, w);
    for (i = 0, n = 0; i < 3; i++) {
        double sum = 0;
        for (k = 0; k < 29; k++) sum += w[k] * pow(x[k], 2 * (double)i);
        CHECK_NEAR(sum, i == 2 ? 3 : 1, 1e-8);
    }
    for (i = 0; i < sizeof tail / sizeof tail[0]; i++)
        CHECK_NEAR(twsi_normal_tail(tail[i][0]), tail[i][1], 1e-9);
    for (i = 0; i < 7; i++) CHECK(twsi_normal_atom(i, 7) == -twsi_normal_atom(6 - i, 7));
}

static void test_algebra(void) {
    enum { n = 9 };
    double a[n * n], copy[n * n], values[n], vectors[n * n], b[n], x[n];
    size_t i, j, k;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) /* graded over eleven decades */
            a[i * n + j] = copy[i * n + j] = pow(10, -0.7 * (double)(i + j)) *
                                             (i == j ? 2 : cos((double)(i * j + i + j)) / 4);
    twsi_eigen(n, a, values, vectors);
    for (k = 0; k < n; k++) {
        if (k > 0) CHECK(values[k] <= values[k - 1]);
        for (i = 0; i < n; i++) {
            double sum = -values[k] * vectors[i * n + k];
            for (j = 0; j < n; j++) sum += copy[i * n + j] * vectors[j * n + k];
            CHECK_NEAR(sum, 0, 1e-14);
        }
    }
    for (i = 0; i < n; i++) {
        for (j = 0; j < n; j++) a[i * n + j] = copy[i * n + j] = sin((double)(i * i + 3 * j + 1));
        a[i * n + (n - 1 - i)] = copy[i * n + (n - 1 - i)] += 3;
        x[i] = (double)i - 2;
    }
    for (i = 0; i < n; i++)
        for (b[i] = 0, j = 0; j < n; j++) b[i] += copy[i * n + j] * x[j];
    twsi_solve(n, a, b, 1);
    for (i = 0; i < n; i++) CHECK_NEAR(b[i], x[i], 1e-11);
}

/* The private pair of value and slope is the public one. */
static void test_pairs(void) {
    static const char *const name[] = {"tanh", "shifted-tanh", "erf", "sigmoid", "shifted-sigmoid",
                                       "softplus", "gelu", "silu", "relu", "sine", "cubic",
                                       "hermite:0.5,1,0,-2,0.25,0,0,0,0.01"};
    size_t i;
    for (i = 0; i < sizeof name / sizeof name[0]; i++) {
        tws_activation activation;
        double x, value, slope;
        CHECK(tws_activation_named(name[i], &activation) == TWS_OK);
        for (x = -40; x <= 40; x += 0.37) {
            double f = tws_activation_value(&activation, x), q = tws_activation_slope(&activation, x);
            twsi_pair(&activation, x, &value, &slope);
            CHECK_NEAR(value, f, 1e-12 * (1 + fabs(f)));
            CHECK_NEAR(slope, q, 1e-12 * (1 + fabs(q)));
        }
    }
}

static void test_hermite(void) {
    tws_activation activation;
    tws_context context = tws_default_context();
    double c[12];
    int k;
    tws_activation_named("cubic", &activation);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 12) == TWS_OK);
    for (k = 0; k < 12; k++)
        CHECK_NEAR(c[k], k == 1 ? 1.0 : k == 2 ? 0.5 : k == 3 ? 1.0 / 6 : 0, 1e-12);
    tws_activation_named("relu", &activation);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 12) == TWS_OK);
    CHECK_NEAR(c[0], 0.398942280401433, 1e-12);
    CHECK_NEAR(c[1], 0.5, 1e-12);
    CHECK_NEAR(c[2], 0.398942280401433 / 2, 1e-12);
    CHECK_NEAR(c[3], 0, 1e-12);
    CHECK_NEAR(c[4], -0.398942280401433 / 24, 1e-12);
    tws_activation_named("erf", &activation);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 12) == TWS_OK);
    CHECK_NEAR(c[1], 2 / sqrt(3 * 3.14159265358979), 1e-12);
    CHECK_NEAR(c[3], -4 / (3 * sqrt(3 * 3.14159265358979)) / 6, 1e-12); /* E sigma''' / 6 */
    for (k = 0; k < 12; k += 2) CHECK_NEAR(c[k], 0, 1e-13);
    tws_activation_named("hermite:1,-2,3,-4,5,-6,7,-8,9", &activation);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 12) == TWS_OK);
    for (k = 0; k < 12; k++)
        CHECK_NEAR(c[k], k > 8 ? 0 : k % 2 ? -(double)(k + 1) : (double)(k + 1), 1e-9);
    CHECK(tws_hermite_coefficients(&context, &activation, NULL, 1) == TWS_BAD_ARGUMENT);
    CHECK(tws_hermite_coefficients(&context, NULL, c, 1) == TWS_BAD_ARGUMENT);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 33) == TWS_BAD_ARGUMENT);
    CHECK(tws_hermite_coefficients(&context, &activation, c, 0) == TWS_OK);
}

/* ---- the outlier solver alone ---- */

/* W = L Y + theta a b^T, L = 1 - ell a a^T, on a plain bulk: row a of W has the square length
   x = (1 - ell)^2 + theta^2, on which all depends but the share of b in it. Known for ell = 0
   (Benaych-Georges and Nadakuditi 2012). */
static void test_one_spike(void) {
    static const double ratio[] = {0.5, 1, 2, 0.1};
    static const double theta[] = {0, 0.5, 0.99, 1.3, 2, 5, 100, 1e6, 1e12};
    static const double ell[] = {0, 0.5, 1, 2, -0.6, 3, -30, 1e10};
    double w[2] = {0.5, 0.5}, S0[2] = {1, 1}, K[2] = {0, 0}, one[1] = {1}, S[2], m[2];
    double U[2 * TWSI_POLY] = {0};
    size_t a, b, e, k;
    U[0] = U[TWSI_POLY] = U[TWSI_POLY + 1] = 1; /* 1 and A at A = -1 and 1; no more degrees */
    U[1] = -1;
    for (a = 0; a < 4; a++)
        for (b = 0; b < 9; b++)
            for (e = 0; e < 9; e++) { /* the last: without feedback */
                twsi_spectrum *spectrum = (twsi_spectrum *)calloc(1, sizeof *spectrum);
                const double c = ratio[a], t = theta[b], own = e < 8 ? 1 - ell[e] : 1;
                const double x = own * own + t * t, y = x - 1;
                double mean[2] = {0, 0}, form[2] = {0, 0}, right, left[2], t_high;
                size_t count;
                spectrum->atoms = 2, spectrum->r = 1, spectrum->p = 1, spectrum->sets = 1;
                spectrum->ratio = c, spectrum->rho = 0.5;
                spectrum->w = w, spectrum->S0 = S0, spectrum->K[0] = K, spectrum->U = U;
                spectrum->mean = mean, spectrum->form = form, spectrum->S = S, spectrum->m = m;
                spectrum->bin_value[0] = spectrum->bin_weight[0] = one, spectrum->bins[0] = 1;
                spectrum->feedback = e < 8;
                spectrum->size = e < 8 ? 1 + TWSI_POLY : 1;
                if (e < 8) {
                    for (k = 0; k < TWSI_POLY; k++) spectrum->L[k * TWSI_POLY + k] = 1;
                    spectrum->L[TWSI_POLY + 1] = own;
                    spectrum->q[1] = t;
                    spectrum->L[0] = 2; /* one more outlier, in the row of ones */
                    CHECK(twsi_count_crossings(spectrum, &t_high) == 1 + (size_t)(y > sqrt(c)));
                    spectrum->L[0] = 1;
                } else {
                    mean[0] = -t, mean[1] = t;
                    form[0] = form[1] = t * t;
                }
                count = twsi_count_crossings(spectrum, &t_high);
                CHECK_NEAR(spectrum->edge, 1 + sqrt(c), 1e-9);
                CHECK(count == (y > sqrt(c)));
                if (count == 1) {
                    const double s = twsi_outlier_vectors(spectrum, 0, twsi_crossing(spectrum, 0, t_high),
                                                          &right, left);
                    const double along = x / y * (1 - (c + y) / (y * x)); /* <v, row a>^2 / x */
                    CHECK_NEAR(s / sqrt(x * (c + y) / y), 1, 1e-9);
                    CHECK_NEAR(fabs(right), sqrt(along * t * t / x), 1e-5);
                    CHECK_NEAR(0.5 * fabs(left[1] - left[0]), sqrt(1 - c * x / (y * (y + c))), 1e-5);
                    CHECK_NEAR(left[1] + left[0], 0, 1e-9);
                }
                free(spectrum);
            }
}

/* ---- the table ---- */

static FILE *open_table(const char *argument) {
    static const char *const place[] = {"tests/data/spectra.txt", "data/spectra.txt",
                                        "../tests/data/spectra.txt", "../data/spectra.txt"};
    FILE *file = argument != NULL ? fopen(argument, "r") : NULL;
    char path[512];
    const char *slash = strrchr(__FILE__, '/');
    size_t i;
    if (file == NULL && slash != NULL) {
        snprintf(path, sizeof path, "%.*s/data/spectra.txt", (int)(slash - __FILE__), __FILE__);
        file = fopen(path, "r");
    }
    for (i = 0; i < 4 && file == NULL; i++) file = fopen(place[i], "r");
    return file;
}

/* Numbers after the first word of a line; how many. */
static size_t read_numbers(char *line, double *out, size_t most) {
    size_t count = 0;
    char *next = strchr(line, ' ');
    while (next != NULL && count < most) {
        char *end;
        out[count] = strtod(next, &end);
        if (end == next) break;
        count++;
        next = end;
    }
    return count;
}

typedef struct worst {
    double edge, outlier[3], alignment, strength;
} worst;

static void note(double *worst_so_far, double value) {
    if (!(value <= *worst_so_far)) *worst_so_far = value;
}

/* Against the line "theory2 ...". */
static void compare_theory(const tws_prediction *got, const double *v, int large, worst *w) {
    size_t k, count = (size_t)v[1];
    CHECK(got->outliers == count);
    CHECK_NEAR(got->edge / v[0], 1, 1e-3);
    note(&w->edge, fabs(got->edge / v[0] - 1));
    for (k = 0; k < count && k < 3; k++) {
        CHECK_NEAR(got->singular_values[k] / v[2 + k], 1, 1e-3);
        CHECK_NEAR(got->alignments[k], v[5 + k], 1e-3);
        note(&w->outlier[k], fabs(got->singular_values[k] / v[2 + k] - 1));
        note(&w->alignment, fabs(got->alignments[k] - v[5 + k]));
        if (!large) {
            CHECK_NEAR(got->readout_alignments[k], v[8 + k], 1e-3);
            CHECK_NEAR(got->readout_square_alignments[k], v[11 + k], 1e-3);
            note(&w->alignment, fabs(got->readout_alignments[k] - v[8 + k]));
        }
        if (large) {
            CHECK_NEAR(got->strengths[k] / v[8 + k], 1, 1e-3);
            note(&w->strength, fabs(got->strengths[k] / v[8 + k] - 1));
        }
    }
    if (!large) {
        CHECK_NEAR(got->captured, v[14], 1e-3);
        CHECK_NEAR(got->kappa, v[18], 2e-4);
    }
}

static void compare_one_step(const tws_prediction *got, const double *v) {
    CHECK(got->step == 1 && got->outliers == (size_t)v[1]);
    CHECK_NEAR(got->edge / v[0], 1, 1e-3);
    CHECK_NEAR(got->singular_values[0] / v[2], 1, 1e-3);
    CHECK_NEAR(got->alignments[0], v[3], 1e-3);
    CHECK_NEAR(got->readout_alignments[0], v[4], 1e-3);
}

static void compare_limit(const tws_theory_input *input, const double *v) {
    tws_limit limit;
    size_t k, outliers = 0;
    tws_context context = tws_default_context();
    if (!CHECK(tws_limit_theory(&context, input, &limit) == TWS_OK)) puts(context.message);
    CHECK((double)limit.orders == v[0]);
    for (k = 0; k < 4; k++) {
        double constant = limit.order[k].leading_strength / pow(input->neurons, limit.order[k].exponent);
        /* higher orders rest on high moments of the label, where the table is less converged */
        double tolerance = k < 2 ? 1e-3 : k == 2 ? 0.015 : 0.12;
        int relu = input->activation.kind == TWS_RELU && input->batches == TWS_REUSE;
        CHECK(limit.order[k].k == (int)k);
        CHECK_NEAR(limit.order[k].exponent, v[2 + k], 1e-9);
        if (!relu || k == 0) CHECK_NEAR(constant, v[6 + k], tolerance * v[6 + k] + 1e-9);
        if (k < limit.orders && constant > 0 &&
            (limit.order[k].exponent > 0 || constant > pow(input->neurons / input->inputs, 0.25)))
            outliers++;
    }
    /* the table forgets an order whose constant vanishes, and orders beyond the fourth */
    if (input->activation.kind != TWS_ERF) CHECK((double)outliers == v[1]);
}

/* Fair bars: 4 standard errors and what the theory promises. */
static void compare_simulated(const tws_prediction *got, const double *v) {
    double edge_gap = got->outliers < 6 ? got->edge - v[1 + got->outliers] : 0;
    CHECK_NEAR(got->singular_values[0], v[1], 4 * v[7] + 0.01 * v[1]);
    if (got->outliers > 1) CHECK_NEAR(got->singular_values[1], v[2], 4 * v[8] + 0.03 * v[2]);
    if (got->outliers < 3) CHECK_NEAR(got->captured, v[29], 4 * v[30] + 0.02 + 1.5 / sqrt(600.0));
    if (got->kappa <= 0.1) CHECK_NEAR(edge_gap, 0, 0.03);
}

static void test_table(const char *argument) {
    FILE *file = open_table(argument);
    char line[1024], name[32], activation[32], target[32], batches[16], kind[32];
    double N, d, n, a1, a2, s1, s2, noise, v[64];
    tws_theory_input input;
    tws_prediction one, two;
    tws_context context = tws_default_context();
    worst cases = {0, {0, 0, 0}, 0, 0}, large = {0, {0, 0, 0}, 0, 0};
    int seen = 0;
    memset(&input, 0, sizeof input);
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    if (!CHECK(file != NULL)) return;
    while (fgets(line, sizeof line, file) != NULL) {
        int is_case = 0, ok = 0;
        if (line[0] == '#' || sscanf(line, "%31s", kind) != 1) continue;
        if (!strcmp(kind, "case")) {
            is_case = 1;
            ok = sscanf(line, "case %31s %lf %lf %lf %lf %lf %lf %lf %31s %31s %lf %15s", name, &N, &d, &n,
                        &a1, &a2, &s1, &s2, activation, target, &noise, batches) == 12;
        } else if (!strcmp(kind, "large")) {
            is_case = 1;
            ok = sscanf(line, "large %lf %lf %lf %lf %lf %lf %lf %31s %31s %lf %15s", &N, &d, &n, &a1,
                        &a2, &s1, &s2, activation, target, &noise, batches) == 11;
        }
        if (is_case) {
            CHECK(ok);
            input = make(activation, target, N, d, n, a1, a2, s1, s2,
                         strcmp(batches, "reuse") ? TWS_FRESH : TWS_REUSE);
            input.noise = noise;
            if (!CHECK(tws_predict(&context, &input, &one, &two) == TWS_OK)) puts(context.message);
            seen++;
            continue;
        }
        memset(v, 0, sizeof v);
        read_numbers(line, v, 64);
        if (!strcmp(kind, "theory2")) compare_theory(&two, v, 0, &cases);
        else if (!strcmp(kind, "largetheory")) compare_theory(&two, v, 1, &large);
        else if (!strcmp(kind, "theory1")) compare_one_step(&one, v);
        else if (!strcmp(kind, "limit")) compare_limit(&input, v);
        else if (!strcmp(kind, "simulated2")) compare_simulated(&two, v);
    }
    fclose(file);
    CHECK(seen == 25);
    printf("largest difference from the table: edge %.1e, outliers %.1e %.1e %.1e (relative), "
           "alignments %.1e; large N: edge %.1e, outliers %.1e %.1e %.1e, strengths %.1e\n",
           cases.edge, cases.outlier[0], cases.outlier[1], cases.outlier[2], cases.alignment, large.edge,
           large.outlier[0], large.outlier[1], large.outlier[2], large.strength);
}

/* ---- exponents ---- */

static void test_slopes(void) {
    static const struct {
        const char *activation, *target;
        double alpha1, alpha2, scale1, scale2, output;
        tws_batches batches;
        int skip; /* an order that vanishes, or -1 */
    } row[] = {
        {"shifted-tanh", "linear", 0.3, 0.4, 1, 1, TWS_MEAN_FIELD, TWS_FRESH, -1},
        {"shifted-tanh", "linear", 0.3, 0.4, 1, 1, TWS_MEAN_FIELD, TWS_REUSE, -1},
        {"shifted-tanh", "linear", 0.3, 0.45, 0.5, 2, TWS_MEAN_FIELD, TWS_REUSE, -1},
        {"softplus", "tanh", 0.3, 0.45, 1, 1, TWS_MEAN_FIELD, TWS_REUSE, -1},
        {"sine", "tanh", 0.35, 0.45, 0.5, 1, TWS_MEAN_FIELD, TWS_FRESH, -1},
        {"shifted-sigmoid", "sign", 0.3, 0.45, 1, 1, TWS_CORRELATION, TWS_REUSE, -1},
        {"gelu", "linear", 0.3, 0.45, 0.5, 2, TWS_MEAN_FIELD, TWS_FRESH, 2}, /* c_3 = 0 */
        {"shifted-tanh", "linear", 0.3, 0.4, 1, 1, 1, TWS_REUSE, -1},        /* plain output */
    };
    size_t i, k;
    for (i = 0; i < sizeof row / sizeof row[0]; i++) {
        double N, gap = 0.5 - row[i].alpha1, before[3] = {0, 0, 0};
        tws_theory_input input;
        tws_prediction got;
        tws_limit limit;
        for (N = 1e10; N <= 2e12; N *= 100) {
            input = make(row[i].activation, row[i].target, N, N, 2 * N, row[i].alpha1, row[i].alpha2,
                         row[i].scale1, row[i].scale2, row[i].batches);
            input.output_scale = row[i].output;
            got = predict(&input);
            for (k = 0; k < 3; k++) {
                double top = row[i].alpha2 + (row[i].output == 1 ? row[i].alpha1 : 0);
                if ((int)k == row[i].skip) continue;
                if (before[k] > 0)
                    CHECK_NEAR(log(got.strengths[k] / before[k]) / log(100.0), top - (double)k * gap, 0.01);
                before[k] = got.strengths[k];
            }
        }
        /* where the limit has been reached its constants are those of the finite theory */
        CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK);
        CHECK_NEAR(limit.order[1].leading_strength / got.strengths[1], 1, 0.02);
        if (row[i].skip != 2) CHECK_NEAR(limit.order[2].leading_strength / got.strengths[2], 1, 0.06);
        if (row[i].skip == 2) CHECK(limit.order[2].leading_strength == 0);
    }
}

/* Labels L times as large are steps L times as large; noise hides no order and no exponent. */
static void test_label_units(void) {
    static const char *const names[3][3] = {{"hermite:0,1", "hermite:0,1e-8", "hermite:0,1e4"},
                                            {"hermite:0,0,0,1", "hermite:0,0,0,1e-8", "hermite:0,0,0,1e4"},
                                            {"hermite:0,1,1", "hermite:0,1e-8,1e-8", "hermite:0,1e4,1e4"}};
    static const char *const activation[] = {"shifted-tanh", "relu", "cubic", "tanh"};
    const double L[3] = {1, 1e-8, 1e4};
#ifdef TEST_QUICK /* emulated machines */
    const size_t targets = 0;
#else
    const size_t targets = 2;
#endif
    size_t a, t, m, k;
    for (a = 0; a < 4; a++)
        for (t = 0; t < (a < targets ? 3u : 1u); t++) {
            tws_limit limit[3][2];
            for (m = 0; m < 3; m++) {
                const tws_theory_input input = make(activation[a], names[t][m], 1000, 1000, 2000, 0.4, 0.45, 1,
                                                    1, TWS_REUSE);
                CHECK(tws_limit_theory_both(NULL, &input, &limit[m][0], &limit[m][1]) == TWS_OK);
            }
            for (m = 0; m < 6; m++) {
                const tws_limit *one = &limit[0][m % 2], *other = &limit[m / 2][m % 2];
                CHECK(one->listed == other->listed && one->information_exponent == other->information_exponent);
                if (activation[a][0] != 'r') CHECK(one->outliers == other->outliers);
                for (k = 0; k < one->listed; k++) {
                    const double units = pow(L[m / 2], (double)k + 1), strength = other->order[k].leading_strength;
                    CHECK_NEAR(strength / units, one->order[k].leading_strength,
                               1e-6 * one->order[k].leading_strength);
                    CHECK(one->order[k].directions_reuse == other->order[k].directions_reuse);
                }
            }
        }
    {
        tws_theory_input input = make("shifted-tanh", "staircase", 1000, 1000, 2000, 0.4, 0.45, 1, 1, TWS_REUSE);
        tws_limit quiet, loud;
        CHECK(tws_limit_theory(NULL, &input, &quiet) == TWS_OK);
        input.noise = 1500;
        CHECK(tws_limit_theory(NULL, &input, &loud) == TWS_OK);
        CHECK(loud.information_exponent == 1 && quiet.information_exponent == 1);
        for (k = 0; k < quiet.listed; k++)
            CHECK(quiet.order[k].sees_target_reuse == loud.order[k].sees_target_reuse);
        input = make("shifted-tanh", "linear", 1000, 1000, 2000, 0.4, 0.45, 1, 1, TWS_REUSE);
        input.noise = 1e6;
        CHECK(tws_limit_theory(NULL, &input, &loud) == TWS_OK);
        CHECK(loud.information_exponent == 1 && loud.order[0].sees_target_reuse);
        input.alpha1 = 0.499996, input.alpha2 = 0.483332;
        CHECK(tws_limit_orders(&input) == 120834);
    }
}

/* The density at a value does not depend on which others are asked for, or on their order. */
static void test_density_alone(void) {
    const double values[2] = {0.4815011556599092, 3.2090821477055624};
    tws_theory_input input = make("erf", "tanh", 5000, 2500, 250, 0.38, 0.23, 1, 1, TWS_REUSE);
    double both[2], alone;
    CHECK(tws_predict_bulk(NULL, &input, values, 2, NULL, both) == TWS_OK);
    CHECK(tws_predict_bulk(NULL, &input, values + 1, 1, NULL, &alone) == TWS_OK);
    CHECK(both[1] == alone && alone > 0);
}

/* Steps so large that they turn the output round (1 - ell below -1): beside W_1 and W_2 as measured,
   the mean over seeds 1 to 8 of  twostep run --neurons 600 --inputs 600 --samples 1200 --alpha1 0.3
   --alpha2 0.45 --scale1 C --scale2 C  with that activation and target. */
static void test_strong_response(void) {
    static const struct {
        const char *activation, *target;
        double scale1, scale2, one, along, two;
    } row[] = {
        {"hermite:0,1", "linear", 10, 3, 83.852, 0.817, 230.633},
        {"hermite:0,1", "he2", 10, 10, 47.899, 0, 461.430}, /* the response alone */
    };
    size_t i, k;
    for (i = 0; i < sizeof row / sizeof row[0]; i++) {
        const tws_theory_input input = make(row[i].activation, row[i].target, 600, 600, 1200, 0.3, 0.45,
                                            row[i].scale1, row[i].scale2, TWS_REUSE);
        tws_prediction steps[2];
        CHECK(tws_predict(NULL, &input, steps, steps + 1) == TWS_OK);
        for (k = 0; k < 2; k++) {
            const double measured = k == 0 ? row[i].one : row[i].two;
            CHECK(steps[k].outliers == 1);
            CHECK_NEAR(steps[k].singular_values[0] / measured, 1, k == 0 ? 0.01 : 0.12);
            CHECK_NEAR(steps[k].readout_alignments[0], 1, 0.001);
        }
        CHECK_NEAR(steps[0].alignments[0], row[i].along, 0.005);
    }
}

/* What lies beyond a prediction's lists is 0, and no variance is negative. */
static void test_lists(void) {
    static const char *const activation[] = {"shifted-tanh", "relu", "hermite:0,1", "hermite:0,1e10,1"};
    static const char *const target[] = {"linear", "step4", "staircase"};
    size_t i, j, k;
    for (i = 0; i < 4; i++)
        for (j = 0; j < 3; j++) {
            tws_theory_input input = make(activation[i], target[j], 500, 400, 900, 0.3, 0.45, 1, 3,
                                          (i + j) % 2 ? TWS_FRESH : TWS_REUSE);
            tws_prediction steps[2];
            int step;
            CHECK(tws_predict(NULL, &input, steps, steps + 1) == TWS_OK);
            for (step = 0; step < 2; step++) {
                const tws_prediction *p = steps + step;
                CHECK(p->kappa >= 0 && p->outliers <= TWS_MAX_OUTLIERS && p->spikes <= TWS_MAX_OUTLIERS);
                for (k = 0; k < TWS_MAX_OUTLIERS; k++) {
                    CHECK(k + 1 >= p->spikes || p->strengths[k + 1] <= p->strengths[k]);
                    if (k >= p->spikes) CHECK_NEAR(p->strengths[k], 0, 0);
                    if (k >= p->outliers)
                        CHECK_NEAR(p->singular_values[k] + p->alignments[k] + p->right_norms[k] + p->left_norms[k], 0, 0);
                }
            }
        }
}

static void test_counts(void) {
    static const struct {
        const char *activation, *target;
        double alpha1, alpha2;
        tws_batches batches;
        double output;
        size_t orders, outliers;
    } row[] = {
        {"shifted-tanh", "linear", 0.3, 0.4, TWS_FRESH, -1, 3, 2}, /* constant below 1 at exponent 0 */
        {"shifted-tanh", "linear", 0.3, 0.41, TWS_FRESH, -1, 3, 3},
        {"shifted-tanh", "linear", 0.3, 0.39, TWS_FRESH, -1, 2, 2},
        {"shifted-tanh", "linear", 0.0, 0.0, TWS_FRESH, -1, 1, 1},
        {"shifted-tanh", "linear", 0.4, 0.3, TWS_FRESH, -1, 4, 4}, /* 0.3 / 0.1 rounds below 3 */
        {"tanh", "linear", 0.35, 0.45, TWS_FRESH, -1, 4, 2},       /* odd: orders 1 and 3 vanish */
        {"softplus", "tanh", 0.35, 0.4, TWS_FRESH, -1, 3, 2},      /* c_3 = 0 */
        {"softplus", "tanh", 0.35, 0.4, TWS_REUSE, -1, 3, 3},      /* comes back */
        {"shifted-tanh", "linear", 0.3, 0.4, TWS_FRESH, 1, 3, 3},  /* floor(0.7 / 0.2) */
    };
    size_t i;
    for (i = 0; i < sizeof row / sizeof row[0]; i++) {
        tws_limit limit;
        tws_theory_input input = make(row[i].activation, row[i].target, 1e6, 1e6, 2e6, row[i].alpha1,
                                      row[i].alpha2, 1, 1, row[i].batches);
        input.output_scale = row[i].output;
        if (i == 4) input.scale2 = 30; /* lift the constant at exponent 0 above 1 */
        CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK);
        CHECK(limit.orders == row[i].orders);
        if (!CHECK(limit.outliers == row[i].outliers))
            printf("row %d: %d outliers\n", (int)i, (int)limit.outliers);
    }
    { /* the finite theory reaches the count once the spikes have grown */
        tws_theory_input input = make("sine", "tanh", 1e12, 1e12, 2e12, 0.35, 0.45, 1, 2, TWS_FRESH);
        tws_limit limit;
        CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK);
        CHECK(predict(&input).outliers == limit.outliers && limit.outliers == 3);
    }
}

/* Which order sees which target under which batch mode. */
static void test_sees(void) {
    static const struct {
        const char *activation, *target;
        int exponent, fresh[3], reuse[3];
    } row[] = {
        {"shifted-tanh", "linear", 1, {1, 0, 1}, {1, 0, 1}},
        {"shifted-tanh", "he2", 2, {0, 0, 0}, {0, 0, 0}},
        {"shifted-tanh", "he3", 3, {0, 0, 0}, {0, 0, 1}},
        {"shifted-tanh", "he4", 4, {0, 0, 0}, {0, 0, 0}},
        {"softplus", "step4", 3, {0, 0, 0}, {0, 1, 1}},
        {"tanh", "step4", 3, {0, 0, 0}, {0, 0, 1}},
        {"relu", "he3", 3, {0, 0, 0}, {0, 1, 0}},
        {"shifted-tanh", "sign", 1, {1, 0, 1}, {1, 0, 1}},
        {"softplus", "staircase", 1, {1, 1, 0}, {1, 1, 1}},
        {"softplus", "product2", 2, {0, 0, 0}, {0, 0, 0}},
        {"softplus", "product3", 3, {0, 0, 0}, {0, 0, 0}},
    };
    size_t i, k;
    for (i = 0; i < sizeof row / sizeof row[0]; i++) {
        tws_limit limit;
        tws_theory_input input =
            make(row[i].activation, row[i].target, 1e4, 1e4, 2e4, 0.35, 0.45, 1, 1, TWS_REUSE);
        CHECK(tws_limit_theory(NULL, &input, &limit) == TWS_OK);
        if (!CHECK(limit.information_exponent == row[i].exponent))
            printf("%s: information exponent %d\n", row[i].target, limit.information_exponent);
        for (k = 0; k < 3; k++) {
            if (!CHECK(limit.order[k].sees_target_fresh == row[i].fresh[k] &&
                       limit.order[k].sees_target_reuse == row[i].reuse[k]))
                printf("%s %s order %d: %d %d\n", row[i].activation, row[i].target, (int)k,
                       limit.order[k].sees_target_fresh, limit.order[k].sees_target_reuse);
        }
    }
}

/* ---- equivalent ways to ask ---- */

static double custom_tanh(void *user, double x) { return (void)user, tanh(x + 0.7); }
static double custom_tanh_slope(void *user, double x) {
    double t = tanh(x + 0.7);
    return (void)user, 1 - t * t;
}
static double custom_linear(void *user, const double *u) { return (void)user, u[0]; }
static double custom_diagonal(void *user, const double *u) {
    return (void)user, (u[0] + u[1]) / sqrt(2.0);
}

static void test_equivalents(void) {
    tws_theory_input input = make("shifted-tanh", "linear", 1000, 1000, 2000, 0.3, 0.4, 1, 2, TWS_REUSE);
    tws_prediction want = predict(&input), got;
    tws_config config;
    size_t p;
    input.activation.kind = TWS_CUSTOM_ACTIVATION;
    input.activation.value = custom_tanh;
    input.activation.slope = custom_tanh_slope;
    got = predict(&input);
    CHECK_NEAR(got.singular_values[0] / want.singular_values[0], 1, 1e-3);
    CHECK_NEAR(got.singular_values[1] / want.singular_values[1], 1, 1e-3);
    /* a linear target in p directions is the linear target: other grids, same numbers */
    for (p = 1; p <= 5; p++) {
        double tolerance = p >= 4 ? 0.01 : 1e-3;
        input = make("shifted-tanh", "linear", 1000, 1000, 2000, 0.3, 0.4, 1, 2, TWS_REUSE);
        input.target.kind = TWS_CUSTOM_TARGET;
        input.target.directions = p;
        input.target.function = p == 2 ? custom_diagonal : custom_linear;
        got = predict(&input);
        CHECK_NEAR(got.singular_values[0] / want.singular_values[0], 1, tolerance);
        CHECK_NEAR(got.singular_values[1] / want.singular_values[1], 1, tolerance);
        CHECK_NEAR(got.alignments[0], want.alignments[0], tolerance);
        CHECK_NEAR(got.edge, want.edge, tolerance);
    }
    /* a little noise changes little; the output scale in numbers is the mean field */
    input = make("shifted-tanh", "linear", 1000, 1000, 2000, 0.3, 0.4, 1, 2, TWS_REUSE);
    input.noise = 1e-3;
    got = predict(&input);
    CHECK_NEAR(got.singular_values[1] / want.singular_values[1], 1, 1e-3);
    input.noise = 0;
    input.output_scale = 1 / sqrt(1000.0);
    got = predict(&input);
    CHECK_NEAR(got.singular_values[0] / want.singular_values[0], 1, 1e-12);
    input.output_scale = TWS_CORRELATION; /* no output to subtract: a larger first outlier */
    got = predict(&input);
    CHECK(got.output == 0 && got.singular_values[0] > 1.02 * want.singular_values[0]);
    /* the exact atoms and the panels beyond 4000 neurons join */
    input = make("shifted-tanh", "linear", 4000, 4000, 8000, 0.3, 0.4, 1, 2, TWS_REUSE);
    want = predict(&input);
    input.neurons = 4001;
    got = predict(&input);
    CHECK_NEAR(got.singular_values[0] / want.singular_values[0], 1, 1e-3);
    CHECK_NEAR(got.singular_values[1] / want.singular_values[1], 1, 5e-3);
    /* a configuration carries over */
    config = tws_default_config();
    input = tws_theory_from_config(&config);
    CHECK(input.neurons == (double)config.neurons && input.scale2 == config.scale2 &&
          input.batches == config.batches && input.alpha1 == config.alpha1 &&
          input.target.kind == config.target.kind && input.output_scale == config.output_scale);
}

/* ---- nonsense ---- */

static double bad_nan(void *user, double x) { return (void)user, x > 1 ? (double)NAN : x; }
static double bad_pole(void *user, double x) { return (void)user, 1 / x; }
static double bad_growth(void *user, double x) { return (void)user, exp(x * x); }
static double target_nan(void *user, const double *u) { return (void)user, sqrt(u[0]); }
static double target_pole(void *user, const double *u) { return (void)user, 1 / (u[0] - 0.3); }
static double target_growth(void *user, const double *u) { return (void)user, exp(u[0] * u[0]); }
static double target_zero(void *user, const double *u) { return (void)user, (void)u, 0.0; }

static void refuse(const tws_theory_input *input, const char *what) {
    tws_context context = tws_default_context();
    tws_prediction one, two, before;
    tws_limit limit;
    memset(&before, 7, sizeof before);
    one = two = before;
    context.message[0] = 0;
    CHECK(tws_predict(&context, input, &one, &two) == TWS_BAD_ARGUMENT);
    if (!CHECK(strstr(context.message, what) != NULL)) printf("%s: %s\n", what, context.message);
    CHECK(!memcmp(&one, &before, sizeof one) && !memcmp(&two, &before, sizeof two));
    CHECK(tws_limit_theory(&context, input, &limit) == TWS_BAD_ARGUMENT);
    CHECK(tws_predict(NULL, input, &one, &two) == TWS_BAD_ARGUMENT);
}

static void test_nonsense(void) {
    static const double bad_size[] = {0, 1, 1.999, -5, 1e16, (double)NAN, (double)INFINITY};
    static const double bad_alpha[] = {-0.1, 0.5, 0.7, (double)NAN, (double)INFINITY, -1e-300};
    static const double bad_scale[] = {0, -1, (double)NAN, (double)INFINITY, 1e7};
    tws_theory_input good = make("tanh", "linear", 1000, 1000, 2000, 0.3, 0.4, 1, 1, TWS_REUSE), input;
    tws_context context = tws_default_context();
    tws_prediction two;
    size_t i;
    for (i = 0; i < sizeof bad_size / sizeof bad_size[0]; i++) {
        input = good, input.neurons = bad_size[i], refuse(&input, "neurons");
        input = good, input.inputs = bad_size[i], refuse(&input, "inputs");
        input = good, input.samples = bad_size[i], refuse(&input, "samples");
    }
    for (i = 0; i < sizeof bad_alpha / sizeof bad_alpha[0]; i++) {
        input = good, input.alpha1 = bad_alpha[i], refuse(&input, "alpha1");
        input = good, input.alpha2 = bad_alpha[i], refuse(&input, "alpha2");
    }
    for (i = 0; i < sizeof bad_scale / sizeof bad_scale[0]; i++) {
        input = good, input.scale1 = bad_scale[i], refuse(&input, "scale1");
        input = good, input.scale2 = bad_scale[i], refuse(&input, "scale2");
    }
    for (i = 1; i < 5; i++) {
        input = good, input.noise = bad_scale[i], refuse(&input, "noise");
        input = good, input.output_scale = i == 1 ? -2 : bad_scale[i], refuse(&input, "output_scale");
    }
    input = good, input.batches = (tws_batches)9, refuse(&input, "batches");
    input = good, input.activation.kind = (tws_activation_kind)99, refuse(&input, "activation.kind");
    input = good, input.target.kind = (tws_target_kind)99, refuse(&input, "target.kind");
    input = good, input.target.directions = 0, refuse(&input, "directions");
    input = good, input.target.directions = 9, refuse(&input, "directions");
    input = good, input.target.kind = TWS_PRODUCT3, refuse(&input, "directions");
    input = good, input.activation.kind = TWS_CUSTOM_ACTIVATION, refuse(&input, "activation");
    input.activation.value = bad_nan, input.activation.slope = custom_tanh_slope;
    refuse(&input, "activation");
    input.activation.value = custom_tanh, input.activation.slope = bad_nan;
    refuse(&input, "activation");
    input.activation.value = bad_pole, input.activation.slope = custom_tanh_slope;
    refuse(&input, "integrable");
    input.activation.value = bad_growth, input.activation.slope = bad_growth;
    refuse(&input, "integrable");
    input = good, input.activation.kind = TWS_HERMITE, input.activation.hermite[3] = (double)NAN;
    refuse(&input, "hermite");
    input = good, input.target.kind = TWS_TARGET_HERMITE, input.target.hermite[0] = (double)INFINITY;
    refuse(&input, "hermite");
    input = good, input.target.kind = TWS_CUSTOM_TARGET, refuse(&input, "target");
    input.target.function = target_nan, refuse(&input, "target");
    input.target.function = target_pole, refuse(&input, "integrable");
    input.target.function = target_growth, refuse(&input, "integrable");
    input.target.directions = 2, input.target.function = target_nan, refuse(&input, "target");
    CHECK(tws_predict(&context, NULL, NULL, &two) == TWS_BAD_ARGUMENT);
    CHECK(tws_limit_theory(&context, &good, NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_predict(&context, &good, NULL, NULL) == TWS_OK);
    context.threads = 1000;
    CHECK(tws_predict(&context, &good, NULL, &two) == TWS_BAD_ARGUMENT);
    /* a label that is zero moves nothing, and that is no failure */
    input = good, input.target.kind = TWS_CUSTOM_TARGET, input.target.function = target_zero;
    two = predict(&input);
    CHECK(two.outliers == 0);
    CHECK_NEAR(two.edge, 2, 1e-9);
}

/* Wild but legal: an answer in finite numbers, in order, or a refusal. */
static uint64_t wild_state = 88172645463325252u;
static double wild(void) {
    wild_state ^= wild_state << 13;
    wild_state ^= wild_state >> 7;
    wild_state ^= wild_state << 17;
    return (double)(wild_state >> 11) / 9007199254740992.0;
}

static void test_wild(void) {
    static const char *const target[] = {"linear", "he2", "he3", "he4", "sign", "tanh",
                                         "sin", "relu", "square", "wave", "step3", "step4"};
    int round, refused = 0;
    for (round = 0; round < 40; round++) {
        tws_theory_input input = make("tanh", target[(int)(12 * wild())], 2, 2, 2, 0.4999999 * wild(),
                                      0.4999999 * wild(), pow(10, 8 * wild() - 4),
                                      pow(10, 8 * wild() - 4), wild() < 0.5 ? TWS_FRESH : TWS_REUSE);
        tws_context context = tws_default_context();
        tws_prediction one, two;
        tws_status status;
        size_t k;
        input.activation.kind = (tws_activation_kind)(12 * wild());
        input.activation.hermite[(int)(9 * wild())] = 1;
        input.neurons = fmax(2, pow(10, 12 * wild()));
        input.inputs = fmax(2, input.neurons * pow(10, 6 * wild() - 3));
        input.samples = fmax(2, input.inputs * pow(10, 6 * wild() - 3));
        input.output_scale = wild() < 0.5 ? TWS_MEAN_FIELD : wild() < 0.5 ? 0 : wild();
        status = tws_predict(&context, &input, &one, &two);
        CHECK(status == TWS_OK || (status == TWS_BAD_ARGUMENT && context.message[0] != 0));
        if (status != TWS_OK) {
            refused++;
            continue;
        }
        CHECK(one.edge > 0 && two.edge > 0 && two.edge < 1e100 && two.captured <= 4);
        for (k = 0; k < two.outliers; k++) {
            CHECK(two.singular_values[k] >= two.edge * (1 - 1e-6) && two.singular_values[k] < 1e100);
            CHECK(two.alignments[k] >= 0 && two.alignments[k] <= 1);
            CHECK(two.readout_alignments[k] >= 0 && two.readout_alignments[k] <= 1);
        }
    }
    CHECK(refused < 10);
}

/* ---- threads, memory ---- */

static void test_threads(void) {
    static const unsigned threads[] = {1, 2, 3, 7};
    tws_theory_input input = make("softplus", "staircase", 700, 700, 1400, 0.35, 0.45, 1, 1.5, TWS_REUSE);
    tws_prediction first, got;
    tws_limit limit, first_limit;
    size_t i, k;
    memset(&first, 0, sizeof first);
    memset(&first_limit, 0, sizeof first_limit);
    for (i = 0; i < 4; i++) {
        tws_context context = tws_default_context();
        context.threads = threads[i];
        CHECK(tws_predict(&context, &input, NULL, &got) == TWS_OK);
        CHECK(tws_limit_theory(&context, &input, &limit) == TWS_OK);
        if (i == 0) first = got, first_limit = limit;
        CHECK(same_prediction(&first, &got));
        for (k = 0; k < limit.listed; k++)
            CHECK(limit.order[k].leading_strength == first_limit.order[k].leading_strength);
    }
}

typedef struct meter {
    size_t now, peak, calls, fail_at;
} meter;

static void *metered_allocate(void *user, size_t bytes) {
    meter *m = (meter *)user;
    size_t *block;
    if (++m->calls == m->fail_at) return NULL;
    block = (size_t *)malloc(bytes + 64);
    if (block == NULL) return NULL;
    *block = bytes;
    m->now += bytes;
    if (m->now > m->peak) m->peak = m->now;
    return (char *)block + 64;
}

static void metered_release(void *user, void *pointer) {
    size_t *block = (size_t *)(void *)((char *)pointer - 64);
    ((meter *)user)->now -= *block;
    free(block);
}

static void test_memory(void) {
    tws_theory_input input = make("tanh", "linear", 1000, 1000, 2000, 0.3, 0.4, 1, 1, TWS_FRESH);
    tws_context context = tws_default_context();
    tws_prediction two;
    tws_limit limit;
    meter m;
    size_t fail;
    context.allocator.allocate = metered_allocate;
    context.allocator.release = metered_release;
    context.allocator.user = &m;
    memset(&m, 0, sizeof m);
    CHECK(tws_predict(&context, &input, NULL, &two) == TWS_OK);
    CHECK(m.now == 0);
    CHECK(m.peak < (size_t)4 << 20); /* one direction without noise: under 4 MiB */
    for (fail = 1; fail < 100; fail++) {
        tws_status status;
        memset(&m, 0, sizeof m);
        m.fail_at = fail;
        status = tws_predict(&context, &input, NULL, &two);
        CHECK(m.now == 0);
        if (status == TWS_OK) break;
        CHECK(status == TWS_OUT_OF_MEMORY);
    }
    CHECK(fail > 10 && fail < 100);
    for (fail = 1; fail < 100; fail++) {
        tws_status status;
        memset(&m, 0, sizeof m);
        m.fail_at = fail;
        status = tws_limit_theory(&context, &input, &limit);
        CHECK(m.now == 0);
        if (status == TWS_OK) break;
        CHECK(status == TWS_OUT_OF_MEMORY);
    }
    CHECK(fail > 5 && fail < 100);
}

/* ---- the surrogate against a small simulation ---- */

static double normal(void) {
    double u = wild(), v = wild();
    return sqrt(-2 * log(u + 1e-300)) * cos(6.28318530717958648 * v);
}

static tws_real *normals(size_t count, double scale) {
    tws_real *out = (tws_real *)malloc(count * sizeof(tws_real));
    size_t i;
    for (i = 0; i < count; i++) out[i] = (tws_real)(scale * normal());
    return out;
}

/* W += eta / n [(a r^T) o sigma'(W X^T)] X, slowly and in double. */
static void slow_step(double *W, const tws_real *X, const tws_real *y, const tws_real *a, size_t N,
                      size_t d, size_t n, double eta, const tws_activation *activation) {
    double *slope = (double *)malloc(N * n * sizeof(double)), *r = (double *)calloc(n, sizeof(double));
    size_t i, j, k;
    for (i = 0; i < N; i++) {
        for (j = 0; j < n; j++) {
            double h = 0;
            for (k = 0; k < d; k++) h += W[i * d + k] * (double)X[j * d + k];
            slope[i * n + j] = tws_activation_slope(activation, h);
            r[j] -= (double)a[i] * tws_activation_value(activation, h) / sqrt((double)N);
        }
    }
    for (i = 0; i < N; i++) {
        for (j = 0; j < n; j++) {
            double g = eta / (double)n * (double)a[i] * (r[j] + (double)y[j]) * slope[i * n + j];
            for (k = 0; k < d; k++) W[i * d + k] += g * (double)X[j * d + k];
        }
    }
    free(slope);
    free(r);
}

/* Top singular triplet of W - what was found before, by power iteration. */
static double top_triplet(double *W, size_t N, size_t d, double *u, double *v) {
    double s = 0;
    size_t i, k, turn;
    for (k = 0; k < d; k++) v[k] = normal();
    for (turn = 0; turn < 300; turn++) {
        double norm = 0;
        for (i = 0; i < N; i++)
            for (u[i] = 0, k = 0; k < d; k++) u[i] += W[i * d + k] * v[k];
        for (i = 0; i < N; i++) norm += u[i] * u[i];
        for (i = 0; i < N; i++) u[i] /= sqrt(norm);
        for (k = 0; k < d; k++) v[k] = 0;
        for (i = 0; i < N; i++)
            for (k = 0; k < d; k++) v[k] += W[i * d + k] * u[i];
        for (s = 0, k = 0; k < d; k++) s += v[k] * v[k];
        s = sqrt(s);
        for (k = 0; k < d; k++) v[k] /= s;
    }
    for (i = 0; i < N; i++)
        for (k = 0; k < d; k++) W[i * d + k] -= s * u[i] * v[k];
    return s;
}

static void test_surrogate_case(const char *activation, const char *target, tws_batches batches,
                                double scale1, double scale2, double second) {
    enum { N = 400, d = 360, n = 800 };
    tws_theory_input input = make(activation, target, N, d, n, 0.3, 0.4, scale1, scale2, batches);
    size_t p = input.target.directions, i, j, k;
    tws_real *X[2], *y[2], *a = normals(N, 1 / sqrt((double)N)), *B = (tws_real *)calloc(p * d, sizeof *B);
    double *W = (double *)malloc(N * d * sizeof(double));
    double *u = (double *)malloc(N * sizeof(double)), *v = (double *)malloc(d * sizeof(double));
    double *right = (double *)calloc(TWS_MAX_OUTLIERS * d, sizeof(double));
    double *left = (double *)calloc(TWS_MAX_OUTLIERS * N, sizeof(double));
    tws_prediction got;
    tws_context context = tws_default_context();
    int batch;
    for (k = 0; k < p; k++) B[k * d + 5 * k] = 1;
    for (batch = 0; batch < 2; batch++) {
        if (batch == 1 && batches == TWS_REUSE) {
            X[1] = X[0], y[1] = y[0];
            break;
        }
        X[batch] = normals((size_t)n * d, 1);
        y[batch] = (tws_real *)malloc(n * sizeof(tws_real));
        for (j = 0; j < n; j++) {
            double t[TWS_MAX_DIRECTIONS];
            for (k = 0; k < p; k++) t[k] = (double)X[batch][j * d + 5 * k];
            y[batch][j] = (tws_real)tws_target_value(&input.target, t);
        }
    }
    for (i = 0; i < N; i++) {
        double norm = 0;
        for (k = 0; k < d; k++) W[i * d + k] = normal(), norm += W[i * d + k] * W[i * d + k];
        for (k = 0; k < d; k++) W[i * d + k] /= sqrt(norm);
    }
    slow_step(W, X[0], y[0], a, N, d, n, scale1 * pow(N, 0.3), &input.activation);
    slow_step(W, X[1], y[1], a, N, d, n, scale2 * pow(N, 0.4), &input.activation);
    if (!CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, &got, right, left) == TWS_OK))
        puts(context.message);
    CHECK(got.outliers >= 1 && got.step == 2);
    for (k = 0; k < got.outliers && k < 2; k++) {
        double s = top_triplet(W, N, d, u, v), cosine = 0, other = 0, length = 0, sign = 0, seen = 0;
        int far = got.singular_values[k] > 1.1 * got.edge;
        for (i = 0; i < d; i++) cosine += v[i] * right[k * d + i], length += right[k * d + i] * right[k * d + i];
        for (i = 0; i < N; i++) other += u[i] * left[k * N + i], sign += left[k * N + i] * (double)a[i];
        for (j = 0; j < p; j++) seen += v[5 * j] * v[5 * j];
        printf("%s %s %s outlier %d: measured %.4f surrogate %.4f, cosine %.4f expected %.4f, left %.4f "
               "expected %.4f\n",
               activation, target, batches == TWS_REUSE ? "reuse" : "fresh", (int)k + 1, s,
               got.singular_values[k], fabs(cosine), got.right_norms[k], fabs(other), got.left_norms[k]);
        CHECK_NEAR(length, 1, 1e-9);
        CHECK(sign >= 0);
        if (!far) continue;
        CHECK_NEAR(s / got.singular_values[k], 1, k == 0 ? 0.006 : second);
        CHECK_NEAR(fabs(cosine), got.right_norms[k], k == 0 ? 0.01 : 0.05);
        CHECK_NEAR(fabs(other), got.left_norms[k], k == 0 ? 0.01 : 0.05);
        CHECK_NEAR(sqrt(seen), got.alignments[k], 0.05);
    }
    { /* the same for any number of threads; NaN refused; batches must fit the pointers */
        tws_prediction again;
        context.threads = 1;
        CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, &again, NULL, NULL) == TWS_OK);
        CHECK(same_prediction(&got, &again));
        context.threads = 3;
        CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, &again, NULL, NULL) == TWS_OK);
        CHECK(same_prediction(&got, &again));
        X[0][17] = (tws_real)NAN;
        CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, &again, NULL, NULL) ==
              TWS_NOT_FINITE);
        CHECK(tws_surrogate(&context, &input, NULL, y[0], X[1], y[1], a, B, &again, NULL, NULL) ==
              TWS_BAD_ARGUMENT);
        CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, NULL, NULL, NULL) ==
              TWS_BAD_ARGUMENT);
        input.batches = batches == TWS_REUSE ? TWS_FRESH : TWS_REUSE;
        CHECK(tws_surrogate(&context, &input, X[0], y[0], X[1], y[1], a, B, &again, NULL, NULL) ==
              TWS_BAD_ARGUMENT);
    }
    if (batches == TWS_FRESH) free(X[1]), free(y[1]);
    free(X[0]), free(y[0]), free(a), free(B), free(W), free(right), free(left);
    free(u), free(v);
}

/* Both batch modes at once have the bits of each alone, whatever mode the input names. */
static void test_both(void) {
    static const char *const activation[] = {"shifted-tanh", "relu", "softplus"};
    static const char *const target[] = {"step4", "he3", "staircase"};
    size_t i;
    int named, mode;
    for (i = 0; i < 3; i++) {
        tws_theory_input input = make(activation[i], target[i], 1e4, 1e4, 3e4, 0.4, 0.45, 1, 2, TWS_FRESH);
        tws_limit alone[2], both[2], one;
        memset(alone, 0, sizeof alone);
        memset(&one, 0, sizeof one);
        CHECK(tws_limit_theory(NULL, &input, &alone[0]) == TWS_OK);
        input.batches = TWS_REUSE;
        CHECK(tws_limit_theory(NULL, &input, &alone[1]) == TWS_OK);
        CHECK(alone[0].order[1].leading_strength != alone[1].order[1].leading_strength);
        for (named = 0; named < 2; named++) {
            input.batches = named ? TWS_REUSE : TWS_FRESH;
            memset(both, 0, sizeof both);
            CHECK(tws_limit_theory_both(NULL, &input, &both[0], &both[1]) == TWS_OK);
            CHECK(memcmp(both, alone, sizeof both) == 0);
            for (mode = 0; mode < 2; mode++) {
                CHECK(tws_limit_theory_both(NULL, &input, mode ? NULL : &one, mode ? &one : NULL) == TWS_OK);
                CHECK(memcmp(&one, &alone[mode], sizeof one) == 0);
            }
        }
        CHECK(tws_limit_theory_both(NULL, &input, NULL, NULL) == TWS_OK);
        input.batches = (tws_batches)2;
        CHECK(tws_limit_theory_both(NULL, &input, &both[0], &both[1]) == TWS_BAD_ARGUMENT);
    }
}

/* ---- from few neurons to many ---- */

/* At one step size the part of the target that the first outlier holds is that of the limit of large N
   from a handful of neurons on: mean over 20 runs, within 4 standard errors and what N still costs. */
static void test_few_neurons(void) {
    static const size_t neurons[] = {8, 32, 128};
    static tws_result r;
    size_t i;
    int mode, step;
    for (i = 0; i < 3; i++)
        for (mode = 0; mode < 2; mode++) {
            tws_config c = tws_default_config();
            tws_theory_input input;
            tws_prediction p[2];
            double sum[2] = {0, 0}, square[2] = {0, 0};
            c.neurons = neurons[i], c.inputs = 256, c.samples = 2048, c.top = 1;
            c.alpha1 = c.alpha2 = 0, c.scale1 = 8, c.scale2 = 16;
            c.batches = mode ? TWS_REUSE : TWS_FRESH;
            input = tws_theory_from_config(&c);
            CHECK(tws_predict(NULL, &input, &p[0], &p[1]) == TWS_OK && p[0].outliers == 1 && p[1].outliers == 1);
            for (c.seed = 1; c.seed <= 20; c.seed++) {
                CHECK(tws_run(NULL, &c, 0, &r) == TWS_OK);
                for (step = 0; step < 2; step++) {
                    const int which = step == 0 ? TWS_ONE_STEP : mode ? TWS_TWO_STEPS_REUSE : TWS_TWO_STEPS_FRESH;
                    const double held = r.spectrum[which].alignments[0];
                    sum[step] += held / 20;
                    square[step] += held * held / 20;
                }
            }
            for (step = 0; step < 2; step++) {
                const double error = sqrt(fmax(0, square[step] - sum[step] * sum[step]) / 19);
                CHECK(error < 0.01);
                CHECK_NEAR(sum[step], p[step].alignments[0], 4 * error + 0.03 / (double)neurons[i]);
            }
        }
}

/* ---- warnings ---- */

static int warned(const tws_theory_input *input, const char *what) {
    tws_limit limit;
    tws_prediction two;
    tws_warnings warnings;
    size_t i;
    CHECK(tws_limit_theory(NULL, input, &limit) == TWS_OK);
    CHECK(tws_predict(NULL, input, NULL, &two) == TWS_OK);
    CHECK(tws_theory_warnings(NULL, input, &limit, &two, &warnings) == TWS_OK);
    CHECK(warnings.count <= TWS_MAX_WARNINGS);
    for (i = 0; i < warnings.count; i++) {
        CHECK(strlen(warnings.text[i]) > 20 && strlen(warnings.text[i]) < 199);
        if (strstr(warnings.text[i], what) != NULL) return 1;
    }
    return what[0] == 0 && warnings.count == 0;
}

/* ---- the density of the bulk ---- */

enum { BULK_POINTS = 300, BULK_SIZE = 320 };

/* Largest distance between the distribution of the sorted values and the integral of density, which
   is known in the middles of cells of the given width. */
static double distance(const double *density, double width, const double *sorted, size_t count) {
    double integral = 0, furthest = 0;
    size_t i, below = 0;
    for (i = 0; i < BULK_POINTS; i++) {
        integral += density[i] * width;
        while (below < count && sorted[below] <= width * (double)(i + 1)) below++;
        note(&furthest, integral - (double)below / (double)count);
    }
    return furthest;
}

typedef struct all_values {
    tws_context *context;
    size_t rows, columns;
    double sorted[TWS_CASE_COUNT][BULK_SIZE];
} all_values;

static tws_status take_values(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    all_values *all = (all_values *)user;
    const size_t count = all->rows < all->columns ? all->rows : all->columns;
    double falling[BULK_SIZE];
    size_t i;
    (void)readout;
    if (tws_singular_values(all->context, weights, all->rows, all->columns, all->columns, falling) != TWS_OK)
        return TWS_NOT_FINITE;
    for (i = 0; i < count; i++) all->sorted[which][i] = falling[count - 1 - i];
    return TWS_OK;
}

static void bulk_against_run(size_t N, size_t d, size_t n, const char *target, double scale2, tws_batches batches,
                             double least_plain) {
    static all_values all;
    static tws_result result;
    double values[BULK_POINTS], density[2][BULK_POINTS], plain[BULK_POINTS], width, far, mass = 0;
    const size_t count = N < d ? N : d;
    const int last = batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
    tws_context context = tws_default_context();
    tws_config config = tws_default_config();
    tws_theory_input input;
    tws_prediction two;
    size_t i;
    config.neurons = N, config.inputs = d, config.samples = n;
    config.alpha1 = 0.4, config.alpha2 = 0.45, config.scale2 = scale2, config.batches = batches;
    CHECK(tws_target_named(target, &config.target) == TWS_OK);
    input = tws_theory_from_config(&config);
    all.context = &context, all.rows = N, all.columns = d;
    CHECK(tws_run_visit(&context, &config, 0, take_values, &all, &result) == TWS_OK);
    two = predict(&input);
    width = 1.05 * two.edge / BULK_POINTS;
    for (i = 0; i < BULK_POINTS; i++) {
        values[i] = width * ((double)i + 0.5);
        plain[i] = tws_bulk_density((double)N, (double)d, values[i]);
    }
    CHECK(tws_predict_bulk(&context, &input, values, BULK_POINTS, density[0], density[1]) == TWS_OK);
    for (i = 0; i < BULK_POINTS; i++) {
        CHECK(density[0][i] >= 0 && density[1][i] >= 0);
        CHECK(values[i] < two.edge || density[1][i] <= 0);
        mass += width * density[1][i];
    }
    CHECK_NEAR(mass, 1, 0.004);
    CHECK(density[1][(size_t)(0.985 / 1.05 * BULK_POINTS)] > 0); /* it ends at the predicted edge */
    CHECK(distance(plain, width, all.sorted[TWS_INITIAL], count) < 0.013);
    CHECK(distance(density[0], width, all.sorted[TWS_ONE_STEP], count) < 0.02);
    CHECK(distance(density[1], width, all.sorted[last], count) < 0.022);
    far = distance(plain, width, all.sorted[last], count);
    CHECK(far > least_plain);
}

static void test_bulk(void) {
    static const double shapes[][2] = {{500, 500}, {300, 900}, {900, 300}};
    double values[5] = {0.7, HUGE_VAL - HUGE_VAL, -0.5, 1e9, 0.7}, one[5] = {1, 1, 1, 1, 1}, two[5], again[5];
    tws_theory_input input = make("shifted-tanh", "linear", 500, 500, 1000, 0.3, 0.4, 1e-7, 1e-7, TWS_REUSE);
    tws_context context = tws_default_context();
    size_t k, i;
    for (k = 0; k < 3; k++) {
        const double edge = tws_bulk_edge(shapes[k][0], shapes[k][1]);
        double sum = 0, s[7], got[2][7];
        for (i = 0; i < 20000; i++) sum += tws_bulk_density(shapes[k][0], shapes[k][1], edge * ((double)i + 0.5) / 20000);
        CHECK_NEAR(sum * edge / 20000, 1, 1e-5);
        CHECK(tws_bulk_density(shapes[k][0], shapes[k][1], edge * 1.0001) <= 0);
        input.neurons = shapes[k][0], input.inputs = shapes[k][1];
        for (i = 0; i < 7; i++) s[i] = 0.31 + 0.37 * (double)i;
        CHECK(tws_predict_bulk(NULL, &input, s, 7, got[0], got[1]) == TWS_OK);
        for (i = 0; i < 7; i++) { /* no step at all leaves the bulk of W_0 */
            CHECK_NEAR(got[0][i], tws_bulk_density(shapes[k][0], shapes[k][1], s[i]), 1e-5);
            CHECK_NEAR(got[1][i], tws_bulk_density(shapes[k][0], shapes[k][1], s[i]), 1e-5);
        }
    }
    CHECK(tws_bulk_density(300, 900, 0.4) <= 0);
    CHECK_NEAR(tws_bulk_density(500, 500, 0), 0.63661977236758, 1e-12);
    input = make("shifted-tanh", "linear", 500, 500, 1000, 0.3, 0.4, 1, 1, TWS_REUSE);
    context.threads = 1;
    CHECK(tws_predict_bulk(&context, &input, values, 5, one, two) == TWS_OK);
    CHECK(one[0] > 0.5 && one[1] <= 0 && one[2] <= 0 && one[3] <= 0);
    CHECK_NEAR(one[4], one[0], 1e-7);
    context.threads = 3;
    CHECK(tws_predict_bulk(&context, &input, values, 5, NULL, again) == TWS_OK);
    CHECK(memcmp(two, again, sizeof two) == 0);
    CHECK(tws_predict_bulk(&context, &input, NULL, 0, one, two) == TWS_OK);
    CHECK(tws_predict_bulk(&context, &input, NULL, 1, one, two) == TWS_BAD_ARGUMENT);
    CHECK(tws_predict_bulk(&context, NULL, values, 5, one, two) == TWS_BAD_ARGUMENT);
    CHECK(tws_predict_bulk(&context, &input, values, (size_t)-1, one, two) == TWS_TOO_LARGE);
    bulk_against_run(320, 320, 640, "linear", 4, TWS_REUSE, 0.028);
    bulk_against_run(200, 320, 640, "he3", 3, TWS_FRESH, 0.06);
    bulk_against_run(320, 200, 400, "sign", 3, TWS_REUSE, 0.04);
}

static void test_warnings(void) {
    tws_theory_input input = make("shifted-tanh", "linear", 1e8, 1e8, 2e8, 0.3, 0.39, 1, 1, TWS_REUSE);
    tws_warnings warnings;
    CHECK(warned(&input, "")); /* all is well */
    input = make("tanh", "linear", 1500, 1500, 3000, 0.35, 0.45, 1, 1, TWS_REUSE);
    CHECK(warned(&input, "orders 1, 3 of the limit vanish"));
    CHECK(!warned(&input, "heavy tailed"));
    input = make("softplus", "step4", 1500, 1500, 3000, 0.35, 0.45, 1, 1, TWS_FRESH);
    CHECK(warned(&input, "on a reused batch one does"));
    CHECK(warned(&input, "heavy tailed"));
    input = make("softplus", "he2", 1500, 1500, 3000, 0.35, 0.45, 1, 1, TWS_REUSE);
    CHECK(warned(&input, "under either batch mode"));
    input = make("relu", "sign", 1500, 1500, 3000, 0.35, 0.45, 1, 1, TWS_REUSE);
    CHECK(warned(&input, "a |a|"));
    input = make("cubic", "sign", 300, 300, 600, 0.35, 0.45, 1, 1, TWS_FRESH);
    CHECK(warned(&input, "slope is unbounded"));
    CHECK(warned(&input, "is small"));
    input.output_scale = 1;
    CHECK(warned(&input, "does not shrink"));
    input = make("shifted-tanh", "linear", 1000, 1000, 10000, 0.3, 0.4, 1, 1, TWS_FRESH);
    CHECK(warned(&input, "outside the tested range "));
    input = make("erf", "sign", 1000, 1000, 1000, 0.45, 0.45, 2, 2, TWS_REUSE);
    CHECK(warned(&input, "kappa"));
    input = make("shifted-tanh", "staircase", 1200, 1200, 3600, 0, 0.48, 1, 3, TWS_REUSE);
    CHECK(warned(&input, "outliers beyond the first by a fifth"));
    input = make("shifted-tanh", "linear", 1000, 1000, 2000, 0.45, 0.45, 4, 2, TWS_REUSE);
    CHECK(warned(&input, "step one is large"));
    input = make("shifted-tanh", "step3", 1000, 1000, 4000, 0.4, 0.45, 2, 3, TWS_REUSE);
    CHECK(warned(&input, "of each other"));
    CHECK(warned(&input, "too small for the limit's claim"));
    input = make("shifted-sigmoid", "sign", 1000, 1000, 2000, 0.42, 0.45, 2, 4, TWS_FRESH);
    CHECK(warned(&input, "of the edge"));
    CHECK(tws_theory_warnings(NULL, NULL, NULL, NULL, &warnings) == TWS_BAD_ARGUMENT);
}

int main(int argc, char **argv) {
    test_quadrature();
    test_algebra();
    test_pairs();
    test_hermite();
    test_one_spike();
    test_table(argc > 1 ? argv[1] : NULL);
    test_slopes();
    test_strong_response();
    test_label_units();
    test_density_alone();
    test_lists();
    test_counts();
    test_sees();
    test_equivalents();
    test_both();
    test_few_neurons();
    test_nonsense();
    test_wild();
    test_threads();
    test_memory();
    test_surrogate_case("shifted-tanh", "linear", TWS_REUSE, 1, 2, 0.025);
    test_surrogate_case("shifted-tanh", "linear", TWS_FRESH, 1, 2, 0.025);
    test_surrogate_case("softplus", "staircase", TWS_REUSE, 1.5, 2, 0.07); /* heavy labels */
    test_bulk();
    test_warnings();
    return check_report();
}
