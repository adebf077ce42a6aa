/* float only */
/* tws_sweep: cells equal to tws_run, whatever else is asked for and however many threads work; rows
 * handed out one by one; errors. Also tws_make_samples, which spreads a batch over processes. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"
#include <stdlib.h>

enum { ROWS = 3, COLUMNS = 4 };

static const double alpha1[ROWS] = {0.0, 0.3, 0.45}, alpha2[COLUMNS] = {0.0, 0.25, 0.4, 0.48};

typedef struct taken {
    tws_spectrum cells[ROWS][COLUMNS];
    int reported[ROWS], reports;
    const size_t *order; /* rows to hand out */
    size_t orders, next;
    int stop_after;
} taken;

static int take(void *user, size_t row, const tws_spectrum *cells) {
    taken *t = (taken *)user;
    memcpy(t->cells[row], cells, sizeof t->cells[row]);
    t->reported[row]++;
    t->reports++;
    return t->reports == t->stop_after;
}

static int hand_out(void *user, size_t *row) {
    taken *t = (taken *)user;
    if (t->next == t->orders) return 0;
    *row = t->order[t->next++];
    return 1;
}

static tws_sweep_plan plan_for(taken *t) {
    tws_sweep_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.alpha1 = alpha1;
    plan.rows = ROWS;
    plan.alpha2 = alpha2;
    plan.columns = COLUMNS;
    plan.report = take;
    plan.user = t;
    return plan;
}

static tws_config small(size_t neurons, size_t inputs, tws_batches batches) {
    tws_config c = tws_default_config();
    c.neurons = neurons;
    c.inputs = inputs;
    c.samples = 2 * inputs;
    c.scale2 = 3;
    c.batches = batches;
    c.top = 6;
    tws_target_named("step4", &c.target);
    return c;
}

/* The same counts, and the same numbers but for the rounding of other sums. */
static void equals_run(tws_config c) {
    static taken t;
    static tws_result r;
    const tws_case which = c.batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
    const tws_sweep_plan plan = plan_for(&t);
    size_t i, j, k, outliers = 0;
    memset(&t, 0, sizeof t);
    CHECK(tws_sweep(NULL, &c, &plan) == TWS_OK);
    CHECK(t.reports == ROWS);
    for (i = 0; i < ROWS; i++)
        for (j = 0; j < COLUMNS; j++) {
            const tws_spectrum *cell = &t.cells[i][j], *m = &r.spectrum[which];
            c.alpha1 = alpha1[i];
            c.alpha2 = alpha2[j];
            CHECK(tws_run(NULL, &c, 1u << which, &r) == TWS_OK);
            CHECK(cell->outliers == m->outliers);
            CHECK(cell->top >= cell->outliers && cell->top <= c.top);
            CHECK_NEAR(cell->edge, m->edge, 1e-5 * m->edge);
            CHECK_NEAR(cell->row_edge, m->row_edge, 1e-5 * m->edge);
            CHECK_NEAR(cell->margin, m->margin, 1e-5 * m->edge);
            CHECK_NEAR(cell->captured, m->captured, 1e-4);
            for (k = 0; k < cell->outliers; k++) {
                CHECK_NEAR(cell->singular_values[k], m->singular_values[k], 1e-5 * m->singular_values[0]);
                CHECK_NEAR(cell->alignments[k], m->alignments[k], 1e-4);
                CHECK_NEAR(cell->readout_alignments[k], m->readout_alignments[k], 1e-4);
                CHECK(cell->residuals[k] <= 1e-6);
            }
            outliers += m->outliers;
        }
    CHECK(outliers > COLUMNS); /* or the comparison was of nothing */
}

/* A cell is the same bits alone, in another order, with other threads and hidden neighbours. */
static void independent(tws_config c) {
    static taken whole, other;
    static const size_t backwards[ROWS] = {2, 0, 1};
    unsigned char skip[ROWS * COLUMNS];
    tws_context context = tws_default_context();
    tws_sweep_plan plan = plan_for(&whole);
    const tws_spectrum nothing = {0};
    size_t i, j, at;
    unsigned threads;
    memset(&whole, 0, sizeof whole);
    context.threads = 1;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_OK);
    for (threads = 2; threads <= 5; threads += 3) {
        memset(&other, 0, sizeof other);
        plan = plan_for(&other);
        plan.next = hand_out;
        other.order = backwards;
        other.orders = ROWS;
        context.threads = threads;
        CHECK(tws_sweep(&context, &c, &plan) == TWS_OK);
        CHECK(memcmp(whole.cells, other.cells, sizeof whole.cells) == 0);
    }
    for (at = 0; at < ROWS * COLUMNS; at += 5) {
        memset(&other, 0, sizeof other);
        memset(skip, 1, sizeof skip);
        skip[at] = 0;
        plan = plan_for(&other);
        plan.skip = skip;
        CHECK(tws_sweep(&context, &c, &plan) == TWS_OK);
        for (i = 0; i < ROWS; i++)
            for (j = 0; j < COLUMNS; j++)
                CHECK(memcmp(&other.cells[i][j], i * COLUMNS + j == at ? &whole.cells[i][j] : &nothing,
                             sizeof nothing) == 0);
    }
}

/* How many values are looked at does not change which of them stand out. */
static void count_without_top(void) {
    static tws_result few, many;
    tws_config c = small(200, 160, TWS_REUSE);
    size_t i, stand_out;
    for (i = 0; i < COLUMNS; i++) {
        c.alpha1 = 0.45;
        c.alpha2 = alpha2[i];
        c.top = 6;
        CHECK(tws_run(NULL, &c, 0, &few) == TWS_OK);
        c.top = TWS_MAX_TOP;
        CHECK(tws_run(NULL, &c, 0, &many) == TWS_OK);
        stand_out = many.spectrum[TWS_TWO_STEPS_REUSE].outliers;
        CHECK(few.spectrum[TWS_TWO_STEPS_REUSE].outliers == (stand_out < 6 ? stand_out : 6));
        CHECK(many.spectrum[TWS_INITIAL].outliers == 0);
    }
}

static void refusals(void) {
    static taken t;
    static const size_t wrong[1] = {ROWS};
    tws_context context = tws_default_context();
    tws_config c = small(40, 30, TWS_REUSE);
    tws_sweep_plan plan = plan_for(&t);
    double bad[2] = {0.1, 0.5};
    failing memory = {0, 0, 0};
    memset(&t, 0, sizeof t);
    CHECK(tws_sweep(&context, &c, NULL) == TWS_BAD_ARGUMENT && strstr(context.message, "plan") != NULL);
    plan.report = NULL;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT && strstr(context.message, "report") != NULL);
    plan = plan_for(&t);
    plan.alpha1 = NULL;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT && strstr(context.message, "alpha1") != NULL);
    plan = plan_for(&t);
    plan.columns = 0;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT && strstr(context.message, "columns is 0") != NULL);
    plan = plan_for(&t);
    plan.alpha2 = bad;
    plan.columns = 2;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT &&
          strstr(context.message, "alpha2[1] is 0.5") != NULL);
    bad[1] = -1e-9;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT);
    c.neurons = 1;
    plan = plan_for(&t);
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT && strstr(context.message, "neurons") != NULL);
    CHECK(t.reports == 0);
    c.neurons = 40;
    plan.next = hand_out;
    t.order = wrong;
    t.orders = 1;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_BAD_ARGUMENT && strstr(context.message, "row 3") != NULL);
    plan = plan_for(&t);
    t.stop_after = 2;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_CALLBACK_FAILED && t.reports == 2);
    t.stop_after = 0;
    /* memory: whatever call fails, nothing is lost and nothing hangs */
    context.allocator.allocate = failing_allocate;
    context.allocator.release = failing_release;
    context.allocator.user = &memory;
    c = small(130, 130, TWS_FRESH);
    plan.rows = 1; /* of all columns: take() copies so many */
    for (;; memory.fail_at++) {
        tws_status status;
        memory.calls = 0;
        status = tws_sweep(&context, &c, &plan);
        if (memory.calls <= memory.fail_at) {
            CHECK(status == TWS_OK);
            break;
        }
        if (!CHECK(status == TWS_OUT_OF_MEMORY && context.message[0] != '\0' && memory.out == 0)) break;
    }
    CHECK(memory.fail_at > 40);
}

/* An activation that overflows far from 0. */
static double wild_value(void *user, double x) { return (void)user, x * x * 1e30; }
static double wild_slope(void *user, double x) { return (void)user, 2e30 * x; }

static void overflow(void) {
    static taken t;
    tws_context context = tws_default_context();
    tws_config c = small(40, 30, TWS_REUSE);
    const tws_sweep_plan plan = plan_for(&t);
    memset(&t, 0, sizeof t);
    c.activation.kind = TWS_CUSTOM_ACTIVATION;
    c.activation.value = wild_value;
    c.activation.slope = wild_slope;
    c.scale1 = 1e6;
    CHECK(tws_sweep(&context, &c, &plan) == TWS_NOT_FINITE && context.message[0] != '\0');
}

static void samples_of_a_batch(void) {
    enum { SAMPLES = 150, INPUTS = 21 };
    static tws_real x[SAMPLES * INPUTS], y[SAMPLES], part[SAMPLES * INPUTS], label[SAMPLES], b[INPUTS];
    static const size_t first[] = {0, 1, 31, 32, 64, 149, 150}, count[] = {150, 149, 2, 33, 86, 1, 0};
    tws_context context = tws_default_context();
    tws_config c = tws_default_config();
    size_t i;
    c.neurons = 30;
    c.inputs = INPUTS;
    c.samples = SAMPLES;
    c.noise = 0.5;
    CHECK(tws_make_directions(NULL, &c, b) == TWS_OK && tws_make_batch(NULL, &c, b, 1, x, y) == TWS_OK);
    for (i = 0; i < sizeof first / sizeof first[0]; i++) {
        memset(part, 0, sizeof part);
        memset(label, 0, sizeof label);
        CHECK(tws_make_samples(NULL, &c, b, 1, first[i], count[i], part, label) == TWS_OK);
        CHECK(memcmp(part, x + first[i] * INPUTS, count[i] * INPUTS * sizeof *x) == 0);
        CHECK(memcmp(label, y + first[i], count[i] * sizeof *y) == 0);
        CHECK(count[i] == SAMPLES || (part[count[i] * INPUTS] == 0 && label[count[i]] == 0));
    }
    CHECK(tws_make_samples(&context, &c, b, 1, 100, 51, part, label) == TWS_BAD_ARGUMENT &&
          strstr(context.message, "samples = 150") != NULL);
    CHECK(tws_make_samples(&context, &c, b, 1, (size_t)-1, 2, part, label) == TWS_BAD_ARGUMENT);
}

static void limit_orders(void) {
    tws_config c = tws_default_config();
    size_t i, j;
    for (i = 0; i < ROWS; i++)
        for (j = 0; j < COLUMNS; j++) {
            tws_theory_input input;
            c.alpha1 = alpha1[i];
            c.alpha2 = alpha2[j];
            input = tws_theory_from_config(&c);
            CHECK(tws_limit_orders(&input) == 1 + (size_t)floor(alpha2[j] / (0.5 - alpha1[i]) + 1e-9));
            input.output_scale = 1.0;
            CHECK(tws_limit_orders(&input) ==
                  (size_t)fmax(1.0, floor((alpha1[i] + alpha2[j]) / (0.5 - alpha1[i]) + 1e-9)));
        }
}

/* Counts for many second steps are those of single predictions, to the last bit. */
static void predicted_counts(void) {
    static const char *const target[] = {"linear", "step4", "product2"};
    double edges[COLUMNS], one_edge;
    size_t outliers[COLUMNS], one_count, i, k;
    tws_context context = tws_default_context();
    for (i = 0; i < 3; i++) {
        tws_config c = small(800, 700, i == 1 ? TWS_FRESH : TWS_REUSE);
        tws_theory_input input;
        tws_prediction p;
        tws_target_named(target[i], &c.target);
        c.alpha1 = alpha1[i];
        c.noise = i == 1 ? 0.2 : 0;
        input = tws_theory_from_config(&c);
        context.threads = (unsigned)i + 1;
        CHECK(tws_predict_counts(&context, &input, alpha2, COLUMNS, edges, outliers) == TWS_OK);
        for (k = 0; k < COLUMNS; k += i == 0 ? 1 : 2) {
            input.alpha2 = alpha2[k];
            CHECK(tws_predict(NULL, &input, NULL, &p) == TWS_OK);
            CHECK(!(p.edge < edges[k]) && !(p.edge > edges[k]) && p.outliers == outliers[k]);
            CHECK(tws_predict_counts(NULL, &input, alpha2 + k, 1, &one_edge, &one_count) == TWS_OK);
            CHECK(!(p.edge < one_edge) && !(p.edge > one_edge) && p.outliers == one_count);
        }
        CHECK(tws_predict_counts(&context, &input, alpha2, 0, edges, outliers) == TWS_OK);
        edges[0] = 0.5;
        CHECK(tws_predict_counts(&context, &input, edges, 1, edges, outliers) == TWS_BAD_ARGUMENT &&
              strstr(context.message, "alpha2") != NULL);
        CHECK(tws_predict_counts(&context, NULL, alpha2, 1, edges, outliers) == TWS_BAD_ARGUMENT);
    }
}

int main(void) {
    tws_config relu = small(180, 160, TWS_REUSE), plain = small(150, 200, TWS_FRESH);
    tws_activation_named("relu", &relu.activation);
    tws_target_named("product2", &relu.target);
    plain.output_scale = TWS_CORRELATION;
    plain.samples = 2500; /* more than one block of them */
    equals_run(small(200, 160, TWS_REUSE));
    equals_run(small(160, 200, TWS_FRESH));
    equals_run(relu);
    equals_run(plain);
    equals_run(small(60, 150, TWS_REUSE)); /* measured whole */
    independent(small(160, 140, TWS_REUSE));
    independent(small(50, 40, TWS_FRESH));
    count_without_top();
    refusals();
    overflow();
    samples_of_a_batch();
    limit_orders();
    predicted_counts();
    return check_report();
}
