/* Activations and targets: every activation on every kernel against the scalar definition, slopes
   against differences, symmetries, NaN and infinity, tails, aliasing, threads, names; moments and
   values of the targets. Reference numbers come from the Python model of the theory. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include <locale.h>

#define LENGTH(array) (sizeof(array) / sizeof *(array))
#define EPS (sizeof(tws_real) == 4 ? (double)FLT_EPSILON : DBL_EPSILON)
#define TINY (sizeof(tws_real) == 4 ? (double)FLT_MIN : DBL_MIN)

enum { COUNT = 40000 };
static tws_real x[COUNT], value[COUNT], slope[COUNT], other[COUNT];

static const char *const activations[] = {
    "tanh", "shifted-tanh", "erf", "sigmoid", "shifted-sigmoid", "softplus", "gelu", "silu", "relu",
    "sine", "cubic", "hermite:0.1,1,-0.5,0.25", "hermite:0,1,0,0.2,0,-0.01,0,0,0.001",
    "hermite:1,0,0,0,0,0,0,0,-1", "hermite:2,-1"};

static tws_activation named(const char *name) {
    tws_activation activation;
    memset(&activation, 0, sizeof activation);
    CHECK(tws_activation_named(name, &activation) == TWS_OK);
    return activation;
}

static double infinity(void) {
    double big = 1e300;
    return big * big;
}

static int same_bits(const tws_real *a, const tws_real *b, size_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

/* sum of |c_k| h_k(|x|), h_k being He_k with every coefficient made positive */
static double hermite_size(const double *c, double z) {
    double last = 0.0, now = 1.0, sum = 0.0;
    int k;
    for (k = 0; k <= TWS_MAX_DEGREE; k++) {
        const double next = fabs(z) * now + k * last;
        sum += fabs(c[k]) * now;
        last = now;
        now = next;
    }
    return sum;
}

/* In double the definition's own rounding counts as well. */
static double allowed(const tws_activation *activation, double z, double want, int of_slope) {
    const double units = sizeof(tws_real) == 4 ? 4.0 : 8.0;
    double size = fabs(want) > 0.25 ? fabs(want) : 0.25;
    if (activation->kind == TWS_HERMITE) {
        double c[TWS_MAX_DEGREE + 1];
        twsi_hermite_slope(activation->hermite, c);
        size = hermite_size(of_slope ? c : activation->hermite, z);
    }
    return units * EPS * size + TINY;
}

/* The array x through one kernel, every element against the definition. */
static void against_definition(tws_context *context, const char *name, size_t count) {
    const tws_activation activation = named(name);
    size_t i, bad = 0;
    CHECK(tws_activate(context, &activation, x, value, slope, count) == TWS_OK);
    for (i = 0; i < count; i++) {
        const double z = (double)x[i];
        const double v = tws_activation_value(&activation, z), s = tws_activation_slope(&activation, z);
        const double to_v = fabs((double)value[i] - v), to_s = fabs((double)slope[i] - s);
        /* an infinity is right when the true size is beyond tws_real */
        const int right_v = to_v <= allowed(&activation, z, v, 0) || (double)value[i] == (double)(tws_real)v;
        const int right_s = to_s <= allowed(&activation, z, s, 1) || (double)slope[i] == (double)(tws_real)s;
        if (!(right_v && right_s) && bad++ < 3)
            fprintf(stderr, "%s %s at %.9g: value %.9g for %.9g, slope %.9g for %.9g\n",
                    tws_kernel_name(context->kernel), name, z, (double)value[i], v, (double)slope[i], s);
    }
    CHECK(bad == 0);
    /* each alone gives the bits of both together */
    CHECK(tws_activate(context, &activation, x, other, NULL, count) == TWS_OK);
    CHECK(same_bits(other, value, count));
    CHECK(tws_activate(context, &activation, x, NULL, other, count) == TWS_OK);
    CHECK(same_bits(other, slope, count));
}

static void fill_even(double low, double high) {
    size_t i;
    for (i = 0; i < COUNT; i++) x[i] = (tws_real)(low + (high - low) * (double)i / (COUNT - 1));
}

/* Both signs of sizes from the smallest to the largest number. */
static size_t fill_extremes(const tws_activation *activation) {
    const double top = activation->kind == TWS_HERMITE || activation->kind == TWS_CUBIC ? 4.0 : 37.0;
    size_t i;
    for (i = 0; i < 2000; i++) {
        const double size = exp(log(10.0) * (-37.0 + (37.0 + top) * (double)(i / 2) / 999.0));
        x[i] = (tws_real)(i % 2 == 0 ? size : -size);
    }
    return i;
}

static void check_accuracy(tws_context *context) {
    size_t k;
    for (k = 0; k < LENGTH(activations); k++) {
        const tws_activation activation = named(activations[k]);
        fill_even(-20.0, 20.0);
        against_definition(context, activations[k], COUNT);
        fill_even(-2.0, 2.0);
        against_definition(context, activations[k], COUNT);
        fill_even(-120.0, 100.0);
        against_definition(context, activations[k], COUNT);
        against_definition(context, activations[k], fill_extremes(&activation));
    }
    fill_even(-10400.0, 9600.0);
    against_definition(context, "sine", COUNT);
}

/* NaN stays NaN, also beside numbers; an infinity gives the limit. */
static void check_special(tws_context *context) {
    static const struct {
        const char *name;
        double low, low_slope, high, high_slope;
    } limits[] = {{"tanh", -1, 0, 1, 0},         {"shifted-tanh", -1, 0, 1, 0},
                  {"erf", -1, 0, 1, 0},          {"sigmoid", 0, 0, 1, 0},
                  {"shifted-sigmoid", 0, 0, 1, 0}, {"softplus", 0, 0, 2, 1},
                  {"gelu", 0, 0, 2, 1},          {"silu", 0, 0, 2, 1},
                  {"relu", 0, 0, 2, 1},          {"cubic", -2, 2, 2, 2},
                  {"hermite:0,0,0,1", -2, 2, 2, 2}, {"hermite:0,0,0,0,-1", -2, 2, -2, -2},
                  {"hermite:3,1,0,0,0,0,0,0,2", 2, -2, 2, 2}, {"hermite:3,1", -2, 1, 2, 1}};
    const double inf = infinity();
    size_t i, k;
    for (k = 0; k < LENGTH(limits); k++) {
        const tws_activation a = named(limits[k].name);
        double want[4];
        want[0] = limits[k].low, want[1] = limits[k].low_slope;
        want[2] = limits[k].high, want[3] = limits[k].high_slope;
        for (i = 0; i < 4; i++) want[i] = fabs(want[i]) == 2.0 ? want[i] * inf : want[i];
        for (i = 0; i < 40; i++) x[i] = (tws_real)(0.1 * (double)i);
        x[3] = (tws_real)-inf, x[11] = (tws_real)inf, x[17] = (tws_real)(inf - inf), x[39] = x[17];
        CHECK(tws_activate(context, &a, x, value, slope, 40) == TWS_OK);
        CHECK((double)value[3] == want[0] && (double)slope[3] == want[1]);
        CHECK((double)value[11] == want[2] && (double)slope[11] == want[3]);
        CHECK(tws_activation_value(&a, -inf) == want[0] && tws_activation_slope(&a, -inf) == want[1]);
        CHECK(tws_activation_value(&a, inf) == want[2] && tws_activation_slope(&a, inf) == want[3]);
        CHECK(value[17] != value[17] && value[39] != value[39]);
        CHECK(slope[17] != slope[17] && slope[39] != slope[39]);
        CHECK(tws_activation_value(&a, inf - inf) != tws_activation_value(&a, inf - inf));
        CHECK(tws_activation_slope(&a, inf - inf) != tws_activation_slope(&a, inf - inf));
        for (i = 0; i < 40; i++)
            if (i != 3 && i != 11 && i != 17 && i != 39)
                CHECK_NEAR((double)value[i], tws_activation_value(&a, (double)x[i]),
                           allowed(&a, (double)x[i], tws_activation_value(&a, (double)x[i]), 0));
    }
    x[0] = (tws_real)inf, x[1] = (tws_real)-inf, x[2] = (tws_real)(inf - inf), x[3] = 0;
    {
        const tws_activation a = named("sine");
        CHECK(tws_activate(context, &a, x, value, slope, 4) == TWS_OK);
        for (i = 0; i < 3; i++) CHECK(value[i] != value[i] && slope[i] != slope[i]);
        CHECK_NEAR((double)value[3], sin(0.5), 4 * EPS);
    }
    if (sizeof(tws_real) == sizeof(float)) { /* a coefficient that is no float is none */
        const tws_activation a = named("hermite:0,1,0,0,0,0,0,0,1e-60");
        x[2] = (tws_real)1e20;
        CHECK(tws_activate(context, &a, x, value, slope, 4) == TWS_OK);
        for (i = 0; i < 4; i++) CHECK(value[i] == x[i] && slope[i] == 1);
    }
}

/* No element depends on its place, the count or its neighbours; nothing is written outside; the
   results may replace x. */
static void check_tails(tws_context *context) {
    enum { ROOM = 80, MARK = 777 };
    tws_real alone_v[ROOM], alone_s[ROOM], v[ROOM], s[ROOM], in_place[ROOM];
    size_t k, i, count, from;
    for (k = 0; k < LENGTH(activations); k++) {
        const tws_activation a = named(activations[k]);
        int right = 1;
        for (i = 0; i < ROOM; i++) {
            x[i] = (tws_real)(0.37 * (double)i - 14.0);
            if (a.kind == TWS_SINE && i % 7 == 0) x[i] *= (tws_real)20000;
            right &= tws_activate(context, &a, x + i, alone_v + i, alone_s + i, 1) == TWS_OK;
        }
        for (count = 0; count <= 70; count++) {
            from = count % 5;
            for (i = 0; i < ROOM; i++) v[i] = s[i] = MARK;
            right &= tws_activate(context, &a, x + from, v + 2, s + 2, count) == TWS_OK;
            right &= same_bits(v + 2, alone_v + from, count) && same_bits(s + 2, alone_s + from, count);
            for (i = 0; i < ROOM; i++)
                if (i < 2 || i >= count + 2) right &= v[i] == MARK && s[i] == MARK;
            memcpy(in_place, x, sizeof in_place);
            right &= tws_activate(context, &a, in_place + from, in_place + from, s, count) == TWS_OK;
            right &= same_bits(in_place + from, alone_v + from, count) && same_bits(s, alone_s + from, count);
            right &= same_bits(in_place + from + count, x + from + count, ROOM - from - count);
            memcpy(in_place, x, sizeof in_place);
            right &= tws_activate(context, &a, in_place + from, v, in_place + from, count) == TWS_OK;
            right &= same_bits(in_place + from, alone_s + from, count) && same_bits(v, alone_v + from, count);
        }
        CHECK(right);
    }
}

static void check_symmetry(tws_context *context) {
    static const char *const odd[] = {"tanh", "erf"};
    static const char *const share[] = {"softplus", "gelu", "silu", "relu"};
    const tws_activation sigmoid = named("sigmoid");
    size_t i, k;
    int right;
    fill_even(-9.0, 9.0);
    for (i = 0; i < COUNT / 2; i++) x[COUNT - 1 - i] = -x[i];
    for (k = 0; k < LENGTH(odd); k++) {
        const tws_activation a = named(odd[k]);
        CHECK(tws_activate(context, &a, x, value, slope, COUNT) == TWS_OK);
        for (right = 1, i = 0; i < COUNT / 2; i++)
            right &= value[i] == -value[COUNT - 1 - i] && slope[i] == slope[COUNT - 1 - i];
        CHECK(right);
    }
    for (k = 0; k < LENGTH(share); k++) { /* f(x) - f(-x) = x */
        const tws_activation a = named(share[k]);
        CHECK(tws_activate(context, &a, x, value, NULL, COUNT) == TWS_OK);
        for (right = 1, i = 0; i < COUNT / 2; i++)
            right &= fabs((double)value[COUNT - 1 - i] - (double)value[i] + (double)x[i]) <= 20 * EPS;
        CHECK(right);
    }
    CHECK(tws_activate(context, &sigmoid, x, value, slope, COUNT) == TWS_OK);
    for (right = 1, i = 0; i < COUNT / 2; i++)
        right &= fabs((double)value[i] + (double)value[COUNT - 1 - i] - 1.0) <= 2 * EPS &&
                 slope[i] == slope[COUNT - 1 - i];
    CHECK(right);
    x[0] = (tws_real)-0.0;
    for (k = 0; k < LENGTH(odd); k++) {
        const tws_activation a = named(odd[k]);
        CHECK(tws_activate(context, &a, x, value, NULL, 1) == TWS_OK);
        CHECK(value[0] == 0 && 1.0 / (double)value[0] < 0.0);
    }
}

/* The definition itself: values from the Python model, slopes by central differences, tails. */
static void check_definition(void) {
    static const double at[4] = {-2.5, -0.4, 0.3, 1.7};
    static const struct {
        const char *name;
        double value[4], slope[4];
    } want[] = {
        {"tanh",
         {-0.9866142981514303, -0.3799489622552249, 0.2913126124515909, 0.935409070603099},
         {0.026592226683160525, 0.8556387860811777, 0.9151369618266292, 0.1250098706334466}},
        {"shifted-tanh",
         {-0.9468060128462683, 0.29131261245159085, 0.7615941559557649, 0.9836748576936802},
         {0.10355837403815205, 0.9151369618266292, 0.41997434161402614, 0.032383774341317895}},
        {"erf",
         {-0.999593047982555, -0.42839235504666845, 0.3286267594591274, 0.9837904585907745},
         {0.00217828423035271, 0.9615412988393076, 1.031260909618963, 0.0627110404968684}},
        {"sigmoid",
         {0.07585818002124356, 0.401312339887548, 0.5744425168116589, 0.8455347349164652},
         {0.07010371654510816, 0.24026074574152914, 0.2444583116907459, 0.13060574696620808}},
        {"shifted-sigmoid",
         {0.18242552380635635, 0.6456563062257954, 0.7858349830425586, 0.9370266439430035},
         {0.14914645207033286, 0.22878424045665732, 0.16829836246906024, 0.05900771248391524}},
        {"softplus",
         {0.07888973429254964, 0.5130152523999525, 0.8543552444685272, 1.8677860293862658},
         {0.07585818002124356, 0.401312339887548, 0.5744425168116589, 0.8455347349164652}},
        {"gelu",
         {-0.015524163314440398, -0.13783130335587032, 0.18537342665668577, 1.6242387133104768},
         {-0.037611085908145186, 0.1972702022683465, 0.7323277668271098, 1.1153179687821648}},
        {"silu",
         {-0.1896454500531089, -0.1605249359550192, 0.17233275504349768, 1.437409049357991},
         {-0.09940111134152685, 0.30520804159093634, 0.6477800103188827, 1.067564504759019}},
        {"relu", {0.0, 0.0, 0.3, 1.7}, {0.0, 0.0, 1.0, 1.0}},
        {"sine",
         {-0.9092974268256816, 0.09983341664682814, 0.7173560908995229, 0.8084964038195902},
         {-0.4161468365471424, 0.9950041652780256, 0.6967067093471655, -0.5885011172553457}},
        {"cubic",
         {-1.2291666666666667, -0.6306666666666667, -0.3005, 2.613833333333333},
         {1.125, 0.18, 0.8450000000000001, 3.645}},
        {"hermite:0,1,0.5,0.16666666666666666",
         {-1.2291666666666667, -0.6306666666666667, -0.3005, 2.613833333333333},
         {1.125, 0.18, 0.8450000000000001, 3.645}}};
    size_t k;
    int i;
    for (k = 0; k < LENGTH(want); k++) {
        const tws_activation a = named(want[k].name);
        for (i = 0; i < 4; i++) {
            CHECK_NEAR(tws_activation_value(&a, at[i]), want[k].value[i], 2e-15);
            CHECK_NEAR(tws_activation_slope(&a, at[i]), want[k].slope[i], 2e-15);
        }
    }
    for (k = 0; k < LENGTH(activations); k++) {
        const tws_activation a = named(activations[k]);
        const double h = 1e-5;
        for (i = -60; i <= 60; i++) {
            const double z = 0.1 * i + 0.013;
            const double rise = tws_activation_value(&a, z + h) - tws_activation_value(&a, z - h);
            const double size = a.kind == TWS_HERMITE ? hermite_size(a.hermite, z) : 1.0 + fabs(z * z * z);
            CHECK_NEAR(tws_activation_slope(&a, z), rise / (2 * h), 1e-9 * size);
        }
        for (i = 1; i <= 300 && a.kind < TWS_CUBIC; i++) {
            const double huge = exp(i * log(10.0));
            const double up = tws_activation_value(&a, huge), down = tws_activation_value(&a, -huge);
            CHECK(up - up == 0.0 && down - down == 0.0);
            CHECK(fabs(tws_activation_slope(&a, huge)) <= 1.2 && fabs(tws_activation_slope(&a, -huge)) <= 1.2);
        }
    }
    { /* far tails keep their relative accuracy */
        const tws_activation t = named("tanh"), s = named("sigmoid"), p = named("softplus"), g = named("gelu");
        CHECK_NEAR(tws_activation_slope(&t, 200.0) / (4.0 * exp(-400.0)), 1.0, 1e-14);
        CHECK_NEAR(tws_activation_slope(&s, 300.0) / exp(-300.0), 1.0, 1e-14);
        CHECK_NEAR(tws_activation_value(&s, -300.0) / exp(-300.0), 1.0, 1e-14);
        CHECK_NEAR(tws_activation_value(&p, -300.0) / exp(-300.0), 1.0, 1e-14);
        CHECK_NEAR(tws_activation_value(&g, -10.0) / -7.619853024160525e-23, 1.0, 1e-13);
    }
}

static double cube(void *user, double z) { return *(double *)user * z * z * z; }
static double cube_slope(void *user, double z) { return *(double *)user * 3.0 * z * z; }
static double first_of(void *user, const double *u) { return u[0] + *(double *)user; }

static void check_calls(void) {
    tws_context context = tws_default_context();
    double scale = 0.5;
    tws_activation a = tws_custom_activation(cube, cube_slope, &scale), bad = a;
    size_t i;
    int threads;
    fill_even(-3.0, 3.0);
    CHECK(tws_activate(NULL, &a, x, value, slope, COUNT) == TWS_OK);
    for (i = 0; i < COUNT; i += 997) {
        CHECK(value[i] == (tws_real)cube(&scale, (double)x[i]));
        CHECK(slope[i] == (tws_real)cube_slope(&scale, (double)x[i]));
    }
    CHECK(tws_activate(&context, &a, x, NULL, NULL, COUNT) == TWS_OK);
    CHECK(tws_activate(&context, &a, NULL, value, slope, 0) == TWS_OK);
    CHECK(tws_activate(&context, NULL, x, value, slope, 1) == TWS_BAD_ARGUMENT);
    CHECK(tws_activate(&context, &a, NULL, value, slope, 1) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "x is NULL") != NULL);
    CHECK(tws_activate(&context, &a, x, value, value, 1) == TWS_BAD_ARGUMENT);
    bad.slope = NULL;
    CHECK(tws_activate(&context, &bad, x, value, slope, 1) == TWS_BAD_ARGUMENT);
    CHECK(strstr(context.message, "callback") != NULL);
    bad = a, bad.kind = TWS_ACTIVATION_COUNT;
    CHECK(tws_activate(NULL, &bad, x, value, slope, 1) == TWS_BAD_ARGUMENT);
    CHECK(tws_activation_value(&bad, 1.0) == 0.0 && tws_activation_slope(&bad, 1.0) == 0.0);
    bad = named("hermite:0,1"), bad.hermite[5] = infinity();
    CHECK(tws_activate(&context, &bad, x, value, slope, 1) == TWS_BAD_ARGUMENT);
    bad.hermite[5] = infinity() - infinity();
    CHECK(tws_activate(&context, &bad, x, value, slope, 1) == TWS_BAD_ARGUMENT);
    for (threads = 1; threads <= 7; threads += threads < 3 ? 1 : 4) {
        static tws_real big[200001], big_v[2][200001], big_s[2][200001];
        const tws_activation t = named("gelu");
        const int slot = threads > 1;
        for (i = 0; i < LENGTH(big); i++) big[i] = (tws_real)(5.0 * sin((double)i));
        context.threads = (unsigned)threads;
        CHECK(tws_activate(&context, &t, big, big_v[slot], big_s[slot], LENGTH(big)) == TWS_OK);
        CHECK(threads == 1 || same_bits(big_v[0], big_v[1], LENGTH(big)));
        CHECK(threads == 1 || same_bits(big_s[0], big_s[1], LENGTH(big)));
    }
}

static const char *const bad_coefficients[] = {
    "hermite", "hermite:", "hermite:1,", "hermite:,1", "hermite:1,,2", "hermite: 1,2", "hermite:1, 2",
    "hermite:0,1 ", "hermite:0,x", "hermite:0,1x", "hermite:0,1e", "hermite:0,1e+", "hermite:0,.",
    "hermite:0,-", "hermite:0,+-1", "hermite:0,inf", "hermite:0,nan", "hermite:0,0x10", "hermite:0,1e21",
    "hermite:0,-1e400", "hermite:0,0", "hermite:0,1e-999", "hermite:0,1,2,3,4,5,6,7,8,9", "hermite:0;1",
    "hermite:0,1.2.3", "Hermite:0,1", "hermite:0,1\n"};

static void check_activation_names(void) {
    static const char *const bad[] = {"", "Tanh", "tanh ", " tanh", "tan", "tanhh", "he2", "custom", "?",
                                      "shifted_tanh", "relu6", "hermite:5", "hermite:0", "hermite:-1e3"};
    tws_activation a, kept;
    size_t k;
    int kind;
    for (kind = 0; kind < (int)TWS_HERMITE; kind++) {
        a = named(tws_activation_name((tws_activation_kind)kind));
        CHECK((int)a.kind == kind);
    }
    CHECK(strcmp(tws_activation_name(TWS_HERMITE), "hermite") == 0);
    CHECK(strcmp(tws_activation_name(TWS_CUSTOM_ACTIVATION), "custom") == 0);
    CHECK(strcmp(tws_activation_name(TWS_ACTIVATION_COUNT), "?") == 0);
    CHECK(strcmp(tws_activation_name((tws_activation_kind)-1), "?") == 0);
    memset(&a, 0x5a, sizeof a);
    kept = a;
    for (k = 0; k < LENGTH(bad); k++) CHECK(tws_activation_named(bad[k], &a) == TWS_BAD_ARGUMENT);
    for (k = 0; k < LENGTH(bad_coefficients); k++)
        if (!CHECK(tws_activation_named(bad_coefficients[k], &a) == TWS_BAD_ARGUMENT))
            fprintf(stderr, "accepted: %s\n", bad_coefficients[k]);
    CHECK(tws_activation_named(NULL, &a) == TWS_BAD_ARGUMENT);
    CHECK(tws_activation_named("tanh", NULL) == TWS_BAD_ARGUMENT);
    CHECK(memcmp(&a, &kept, sizeof a) == 0);
}

static void check_numbers(void) {
    static const struct {
        const char *text;
        double c1;
    } good[] = {{"hermite:0,1", 1},           {"hermite:0,-0.1", -0.1},     {"hermite:0,+.5", 0.5},
                {"hermite:0,5.", 5},          {"hermite:0,1e-3", 1e-3},     {"hermite:0,2.5E+2", 250},
                {"hermite:0,0.3333333333333333", 0.3333333333333333},       {"hermite:0,1e20", 1e20},
                {"hermite:0,-1e20", -1e20},   {"hermite:0,123456789012345", 123456789012345.0},
                {"hermite:0,0000000000000000000000000007", 7},              {"hermite:0,1e-20", 1e-20},
                {"hermite:0,0.00000000000000000000000125", 1.25e-24},
                {"hermite:0,3.14159265358979323846264338327950288", 3.14159265358979323846},
                {"hermite:0,12345678901234567890123e-10", 1234567890123.4567890}};
    size_t k;
    int round;
    for (round = 0; round < 2; round++) { /* the second round under a decimal comma, where there is one */
        for (k = 0; k < LENGTH(good); k++) {
            const tws_activation a = named(good[k].text);
            CHECK(a.kind == TWS_HERMITE && a.hermite[0] == 0.0 && a.hermite[2] == 0.0);
            CHECK_NEAR(a.hermite[1] / good[k].c1, 1.0, k < 9 ? 0.0 : 1e-15);
        }
        if (setlocale(LC_ALL, "de_DE.UTF-8") == NULL && setlocale(LC_ALL, "fr_FR.UTF-8") == NULL) break;
    }
    setlocale(LC_ALL, "C");
    {
        const tws_activation a = named("hermite:1,2,3,4,5,6,7,8,9");
        for (k = 0; k <= TWS_MAX_DEGREE; k++) CHECK(a.hermite[k] == (double)(k + 1));
    }
}

static void check_target_names(void) {
    static const char *const bad[] = {"", "Linear", "he1", "he5", "step", "step5", "product4", "erf",
                                      "custom", "sign-product", "linear,", "staircase2", "hermite:0", "u1u2"};
    tws_target t, kept;
    double shift = 2.0, u[3] = {1.0, 2.0, 3.0};
    size_t k;
    int kind;
    for (kind = 0; kind < (int)TWS_CUSTOM_TARGET; kind++) {
        if (kind == (int)TWS_TARGET_HERMITE) continue;
        CHECK(tws_target_named(tws_target_name((tws_target_kind)kind), &t) == TWS_OK);
        CHECK((int)t.kind == kind && twsi_check_target(&t) == NULL);
    }
    CHECK(strcmp(tws_target_name(TWS_TARGET_HERMITE), "hermite") == 0);
    CHECK(strcmp(tws_target_name(TWS_CUSTOM_TARGET), "custom") == 0);
    CHECK(strcmp(tws_target_name(TWS_TARGET_COUNT), "?") == 0);
    CHECK(tws_target_named("hermite:5", &t) == TWS_OK && t.directions == 1);
    CHECK(tws_target_value(&t, u) == 5.0);
    CHECK(tws_target_named("hermite:0,0,1", &t) == TWS_OK && tws_target_value(&t, u + 1) == 3.0);
    memset(&t, 0x5a, sizeof t);
    kept = t;
    for (k = 0; k < LENGTH(bad); k++) CHECK(tws_target_named(bad[k], &t) == TWS_BAD_ARGUMENT);
    for (k = 0; k < LENGTH(bad_coefficients); k++)
        CHECK(tws_target_named(bad_coefficients[k], &t) == TWS_BAD_ARGUMENT);
    CHECK(tws_target_named(NULL, &t) == TWS_BAD_ARGUMENT && tws_target_named("he2", NULL) == TWS_BAD_ARGUMENT);
    CHECK(memcmp(&t, &kept, sizeof t) == 0);
    t = tws_custom_target(first_of, 3, &shift);
    CHECK(twsi_check_target(&t) == NULL && t.directions == 3 && tws_target_value(&t, u) == 3.0);
    t.directions = 0;
    CHECK(twsi_check_target(&t) != NULL);
    t.directions = TWS_MAX_DIRECTIONS + 1;
    CHECK(twsi_check_target(&t) != NULL);
    t = tws_custom_target(NULL, 1, NULL);
    CHECK(twsi_check_target(&t) != NULL && twsi_check_target(NULL) != NULL);
    CHECK(tws_target_named("step4", &t) == TWS_OK);
    t.directions = 2;
    CHECK(twsi_check_target(&t) != NULL);
    t.directions = 1, memset(t.level, 0, sizeof t.level);
    CHECK(twsi_check_target(&t) != NULL);
    t.kind = TWS_TARGET_COUNT;
    CHECK(twsi_check_target(&t) != NULL && tws_target_value(&t, u) == 0.0);
}

static void check_target_values(void) {
    static const double at[5][3] = {
        {-2.5, 0.7, -0.3}, {-0.4, -1.2, 0.9}, {0.3, 1.6, 2.2}, {1.3, -0.5, -0.8}, {2.6, 0.2, -1.7}};
    static const struct {
        const char *name;
        size_t directions;
        double value[5];
    } want[] = {
        {"linear", 1, {-2.5, -0.4, 0.3, 1.3, 2.6}},
        {"he2", 1,
         {3.7123106012293743, -0.5939696961966998, -0.6434671708797582,
          0.4879036790187179, 4.0729350596345135}},
        {"he3", 1,
         {-3.3170173600188875, 0.4637700579669485, -0.3564007575749524,
          -0.6952468386599588, 3.991035287574725}},
        {"he4", 1,
         {0.9313164126206875, 0.42163883439107774, 0.5037988028469302,
          -0.8744474257590715, 1.661080644239368}},
        {"sign", 1, {-1.0, -1.0, 1.0, 1.0, 1.0}},
        {"tanh", 1,
         {-0.9999092042625951, -0.664036770267849, 0.5370495669980352,
          0.9890274022010992, 0.9999391368861988}},
        {"sin", 1,
         {0.046922498030468676, -1.190019679058772, 0.9639827790641786,
          -0.15301102663526087, 0.3042256046913274}},
        {"relu", 1, {0.0, 0.0, 0.3, 1.3, 2.6}},
        {"square", 1, {6.25, 0.16000000000000003, 0.09, 1.6900000000000002, 6.760000000000001}},
        {"wave", 1,
         {1.7839275930728156, -0.04771643819967994, 1.1734416351261334,
          -0.828594401199289, -1.2540167404867746}},
        {"step3", 1,
         {-3.8101561225811316, 0.596356654814605, -0.596356654814605,
          -0.596356654814605, 3.8101561225811316}},
        {"step4", 1,
         {-0.11361849648824819, -0.11361849648824819, 0.6702524147380069,
          -1.9145168749056303, 3.8775492624650574}},
        {"product2", 2, {-1.75, 0.48, 0.48, -0.65, 0.52}},
        {"product3", 3, {0.525, 0.432, 1.056, 0.52, -0.884}},
        {"sign-product3", 3, {1.0, 1.0, 1.0, 1.0, -1.0}},
        {"staircase", 2,
         {-3.005203820042827, 0.05656854249492377, 0.551543289325507,
          0.4596194077712559, 2.206173157302028}},
        {"he4-sign-product3", 3,
         {1.9313164126206877, 1.4216388343910777, 1.5037988028469302,
          0.12555257424092847, 0.661080644239368}}};
    static const double edges[] = {-2.0, 0.0, 1.0, 2.0};
    tws_target t;
    size_t k;
    int i;
    for (k = 0; k < LENGTH(want); k++) {
        CHECK(tws_target_named(want[k].name, &t) == TWS_OK && t.directions == want[k].directions);
        for (i = 0; i < 5; i++) CHECK_NEAR(tws_target_value(&t, at[i]), want[k].value[i], 1e-13);
    }
    /* where the steps change */
    CHECK(tws_target_named("step4", &t) == TWS_OK);
    for (i = 0; i < 4; i++) CHECK(tws_target_value(&t, &edges[i]) == t.level[i]);
    CHECK_NEAR(t.level[0], -0.113618, 1e-6), CHECK_NEAR(t.level[1], 0.670252, 1e-6);
    CHECK_NEAR(t.level[2], -1.914517, 1e-6), CHECK_NEAR(t.level[3], 3.877549, 1e-6);
    CHECK(tws_target_named("step3", &t) == TWS_OK);
    CHECK_NEAR(t.level[0], -0.596357, 1e-6), CHECK_NEAR(t.level[1], 3.810156, 1e-6);
    CHECK(tws_target_value(&t, &edges[0]) == -t.level[0] && tws_target_value(&t, &edges[3]) == t.level[0]);
    CHECK(tws_target_value(&t, &edges[1]) == 0.0);
    CHECK(tws_target_named("sign", &t) == TWS_OK && tws_target_value(&t, &edges[1]) == 0.0);
    for (k = 0; k < LENGTH(want); k++) { /* NaN passes through */
        double u[3];
        u[0] = u[1] = u[2] = infinity() - infinity();
        CHECK(tws_target_named(want[k].name, &t) == TWS_OK);
        CHECK(tws_target_value(&t, u) != tws_target_value(&t, u));
    }
}

/* E y^power u^j under the normal law: six-point Gauss-Legendre on panels of a quarter, |u| < 12, so
   that no panel holds a jump. */
static void moments(const tws_target *target, double *m) {
    static const double node[3] = {0.2386191860831969, 0.6612093864662645, 0.9324695142031521};
    static const double weight[3] = {0.4679139345726910, 0.3607615730481386, 0.1713244923791704};
    int panel, i, side;
    for (i = 0; i < 4; i++) m[i] = 0.0;
    for (panel = -48; panel < 48; panel++)
        for (i = 0; i < 3; i++)
            for (side = -1; side <= 1; side += 2) {
                const double u = 0.25 * panel + 0.125 + 0.125 * side * node[i];
                const double mass = 0.125 * weight[i] * exp(-0.5 * u * u) / sqrt(2.0 * TWSI_PI);
                const double y = tws_target_value(target, &u);
                m[0] += mass * y;
                m[1] += mass * y * u;
                m[2] += mass * y * (u * u - 1.0);
                m[3] += mass * y * y;
            }
}

static void check_moments(void) {
    static const struct {
        const char *name;
        double mean, linear, quadratic, square; /* below -8: not known in closed form */
    } want[] = {{"linear", 0, 1, 0, 1},
                {"he2", 0, 0, 1.4142135623730951, 1},
                {"he3", 0, 0, 0, 1},
                {"he4", 0, 0, 0, 1},
                {"sign", 0, 0.7978845608028654, 0, 1},
                {"tanh", 0, -9, 0, -9},
                {"sin", 0, 0.1553405185482731, 0, 0.999996273346828},
                {"relu", 0.3989422804014327, 0.5, 0.3989422804014327, 0.5},
                {"square", 1, 0, 2, 3},
                {"wave", 0, 0, -0.5413411329464508, -9},
                {"step3", 0, 0, 0, 1},
                {"step4", 0, 0, 0, 1},
                {"hermite:0.5,-1,2", 0.5, -1, 4, 9.25}};
    size_t k;
    for (k = 0; k < LENGTH(want); k++) {
        tws_target t;
        double m[4];
        CHECK(tws_target_named(want[k].name, &t) == TWS_OK);
        moments(&t, m);
        CHECK_NEAR(m[0], want[k].mean, 1e-8);
        if (want[k].linear > -8.0) CHECK_NEAR(m[1], want[k].linear, 1e-8);
        CHECK_NEAR(m[2], want[k].quadratic, 1e-8);
        if (want[k].square > -8.0) CHECK_NEAR(m[3], want[k].square, 1e-8);
    }
}

/* Kernels that multiply and add in one rounding agree to the last bit, and so do those that use two. */
static void check_agreement(void) {
    static tws_real first_v[2][COUNT], first_s[2][COUNT];
    size_t k;
    fill_even(-15.0, 15.0);
    for (k = 0; k < LENGTH(activations); k++) {
        const tws_activation a = named(activations[k]);
        int kernel, seen[2] = {0, 0};
        for (kernel = (int)TWS_KERNEL_PLAIN; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
            const int fused = kernel == (int)TWS_KERNEL_AVX2 || kernel == (int)TWS_KERNEL_AVX512 ||
                              kernel == (int)TWS_KERNEL_NEON || kernel == (int)TWS_KERNEL_AMX;
            tws_context context = tws_default_context();
            if (!tws_kernel_available((tws_kernel)kernel)) continue;
            context.kernel = (tws_kernel)kernel;
            CHECK(tws_activate(&context, &a, x, value, slope, COUNT) == TWS_OK);
            if (!seen[fused]++) {
                memcpy(first_v[fused], value, sizeof value);
                memcpy(first_s[fused], slope, sizeof slope);
            }
            CHECK(same_bits(first_v[fused], value, COUNT) && same_bits(first_s[fused], slope, COUNT));
        }
    }
}

int main(void) {
    int kernel;
    for (kernel = (int)TWS_KERNEL_PLAIN; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        tws_context context = tws_default_context();
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        context.threads = 1;
        check_accuracy(&context);
        check_special(&context);
        check_tails(&context);
        check_symmetry(&context);
    }
    check_agreement();
    check_definition();
    check_calls();
    check_activation_names();
    check_numbers();
    check_target_names();
    check_target_values();
    check_moments();
    return check_report();
}
