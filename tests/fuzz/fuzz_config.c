/* Configurations of any content: tws_check and the theory answer with a sentence or with numbers
   that make sense, and what passes the check can be run (at tiny sizes, which the target sets). */
#define TWOSTEP_NO_SIMD /* one kernel: a third of the time to compile */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "fuzz.h"

static size_t take_size(input *in) {
    const unsigned kind = take_byte(in);
    size_t any;
    if (kind < 200) return kind % 48;
    if (kind < 210) return SIZE_MAX - take_byte(in);
    if (kind < 220) return ((size_t)1 << 31) + take_byte(in) - 128;
    take_bytes(in, &any, sizeof any);
    return any;
}

static double cube(void *user, double x) { return (void)user, x * x * x; }
static double cube_slope(void *user, double x) { return (void)user, 3 * x * x; }
static double wild_value(void *user, double x) { return x > *(double *)user ? (double)NAN : exp(x * x); }
static double first(void *user, const double *u) { return (void)user, u[0]; }

static tws_activation take_activation(input *in) {
    static double limit = 3;
    tws_activation a;
    int i;
    memset(&a, 0, sizeof a);
    a.kind = (tws_activation_kind)(take_byte(in) % (TWS_ACTIVATION_COUNT + 3));
    if (a.kind == TWS_HERMITE)
        for (i = 0; i <= (int)(take_byte(in) % 9); i++) a.hermite[i] = take_number(in);
    if (a.kind == TWS_CUSTOM_ACTIVATION) {
        const unsigned which = take_byte(in);
        a.value = which & 1 ? cube : which & 2 ? wild_value : NULL;
        a.slope = which & 4 ? cube_slope : which & 8 ? wild_value : NULL;
        a.user = &limit;
    }
    return a;
}

static tws_target take_target(input *in) {
    tws_target t;
    int i;
    memset(&t, 0, sizeof t);
    t.kind = (tws_target_kind)(take_byte(in) % (TWS_TARGET_COUNT + 3));
    t.directions = 1;
    if ((int)t.kind < (int)TWS_TARGET_COUNT && take_byte(in) % 8 != 0) tws_target_named(tws_target_name(t.kind), &t);
    if (take_byte(in) % 8 == 0) t.directions = take_size(in);
    if (t.kind == TWS_TARGET_HERMITE)
        for (i = 0; i <= (int)(take_byte(in) % 9); i++) t.hermite[i] = take_number(in);
    if (t.kind == TWS_CUSTOM_TARGET) t.function = take_byte(in) & 1 ? first : NULL;
    return t;
}

static double take_near(input *in, double usual) { return take_byte(in) % 4 != 0 ? usual : take_number(in); }

static int is_finite(double x) { return x - x == 0; }

static void check_prediction(const tws_prediction *p) {
    size_t k;
    LAW(is_finite(p->edge) && p->edge > 0);
    LAW(p->outliers <= TWS_MAX_OUTLIERS && p->spikes <= TWS_MAX_OUTLIERS);
    LAW(is_finite(p->captured) && is_finite(p->kappa) && is_finite(p->output));
    for (k = 0; k < p->outliers; k++) {
        LAW(is_finite(p->singular_values[k]) && p->singular_values[k] >= p->edge * (1 - 1e-9));
        LAW(k == 0 || p->singular_values[k] <= p->singular_values[k - 1]);
        LAW(p->alignments[k] >= 0 && p->alignments[k] <= 1 + 1e-6);
        LAW(p->readout_alignments[k] >= 0 && p->readout_alignments[k] <= 1 + 1e-6);
    }
    for (k = 0; k < p->spikes; k++) LAW(is_finite(p->strengths[k]) && p->strengths[k] >= 0);
}

static void predict(tws_context *context, const tws_theory_input *theory) {
    static tws_limit limit;
    static tws_prediction one, two;
    static tws_warnings warnings;
    tws_status status = tws_limit_theory(context, theory, &limit);
    size_t i;
    LAW(status == TWS_OK || (status == TWS_BAD_ARGUMENT && context->message[0] != '\0'));
    if (status != TWS_OK) return;
    LAW(limit.listed <= TWS_MAX_ORDERS);
    for (i = 0; i < limit.listed; i++) LAW(is_finite(limit.order[i].exponent) && is_finite(limit.order[i].leading_strength));
    for (i = 0; i < TWS_HERMITE_LISTED; i++) LAW(is_finite(limit.hermite[i]));
    context->message[0] = '\0';
    status = tws_predict(context, theory, &one, &two);
    LAW(status == TWS_OK || (status == TWS_BAD_ARGUMENT && context->message[0] != '\0'));
    if (status != TWS_OK) return;
    check_prediction(&one);
    check_prediction(&two);
    LAW(tws_theory_warnings(context, theory, &limit, &two, &warnings) == TWS_OK);
    LAW(warnings.count <= TWS_MAX_WARNINGS);
    for (i = 0; i < warnings.count; i++) LAW(memchr(warnings.text[i], '\0', sizeof warnings.text[i]) != NULL);
}

static void run(tws_context *context, const tws_config *config) {
    static tws_result result;
    const tws_status status = tws_run(context, config, TWS_ALL_CASES, &result);
    int which;
    size_t k;
    LAW(status == TWS_OK || context->message[0] != '\0');
    LAW(status == TWS_OK || status == TWS_NOT_CONVERGED || status == TWS_NOT_FINITE);
    if (status == TWS_NOT_FINITE) return;
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        const tws_spectrum *s = &result.spectrum[which];
        LAW(result.measured[which] && s->top == config->top && is_finite(s->edge) && is_finite(result.loss[which]));
        for (k = 0; k < s->top; k++) {
            LAW(is_finite(s->singular_values[k]) && s->singular_values[k] >= 0);
            LAW(s->alignments[k] >= 0 && s->alignments[k] <= 1 + 1e-4);
            LAW(s->readout_alignments[k] >= 0 && s->readout_alignments[k] <= 1 + 1e-4);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    tws_context context = tws_default_context();
    tws_config c = tws_default_config();
    char message[240] = "", cut[8];
    tws_status status;
    const unsigned what = take_byte(&in);
    c.neurons = take_size(&in);
    c.inputs = take_size(&in);
    c.samples = take_size(&in);
    c.top = 1 + take_byte(&in) % 4;
    if (what & 1) c.top = take_size(&in);
    c.alpha1 = take_near(&in, 0.3);
    c.alpha2 = take_near(&in, 0.4);
    c.scale1 = take_near(&in, 1);
    c.scale2 = take_near(&in, 1);
    c.noise = take_near(&in, 0);
    c.output_scale = take_near(&in, TWS_MEAN_FIELD);
    c.activation = take_activation(&in);
    c.target = take_target(&in);
    c.batches = (tws_batches)(what >> 1 & 3);
    c.init = (tws_init)(what >> 3 & 3);
    c.seed = take_byte(&in);
    context.threads = 1;
    status = tws_check(&c, message, sizeof message);
    LAW(status == TWS_OK ? message[0] == '\0' : status == TWS_BAD_ARGUMENT && message[0] != '\0');
    LAW(tws_check(&c, cut, sizeof cut) == status && tws_check(&c, NULL, 0) == status);
    if (status == TWS_OK && c.neurons < 64 && c.inputs < 64 && c.samples < 64) run(&context, &c);
    /* the theory takes tenths of a second: one input in sixteen, or its configuration refused */
    if ((what >> 5) == 7 || status != TWS_OK) {
        tws_theory_input theory = tws_theory_from_config(&c);
        if (what >> 5 == 7) theory.neurons = take_near(&in, 1000);
        context.message[0] = '\0';
        predict(&context, &theory);
    }
    return 0;
}
