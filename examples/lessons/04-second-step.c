/* Lesson 4: the second step and its outliers.
 *
 * After one step neuron i has moved by a_i b. In the second gradient sigma'(w_i x) therefore depends
 * on a_i, and its expansion has terms a_i, a_i^2, a_i^3 ...: spikes with the left vectors a, a^2, a^3.
 * The second outlier is the term a^2. It needs E sigma''' or E sigma'' not to vanish.
 *
 *     cc -O2 04-second-step.c -lm && ./a.out   prints a table, writes 04-second-step.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

static const char *const activation = "shifted-tanh";
static tws_result result;
static double values[4][800], at[4][101], law[4][101]; /* singular values; predicted densities of the bulk */

static tws_status visit(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    (void)user, (void)readout;
    return tws_singular_values(NULL, weights, 800, 800, 800, values[which]);
}

static void fill(plot_spectrum *panel, const char *title, int which, const tws_prediction *p) {
    const tws_spectrum *s = &result.spectrum[which];
    int i;
    for (i = 0; i <= 100; i++) at[which][i] = 0.01 * i * p->edge;
    panel->title = title;
    panel->outliers = s->singular_values, panel->alignments = s->alignments, panel->outlier_count = s->outliers;
    panel->predicted = p->singular_values, panel->predicted_alignments = p->alignments, panel->predicted_count = p->outliers;
    panel->values = values[which], panel->count = 800;
    panel->curve_x = at[which], panel->curve = law[which], panel->curve_count = 101, panel->edge = p->edge;
}

static int draw(const tws_theory_input *input, const tws_prediction *p1, const tws_prediction *p2) {
    plot_spectrum panels[2];
    plot_out out = plot_to_text();
    int bad;
    memset(panels, 0, sizeof panels);
    fill(&panels[0], "W_{1}", TWS_ONE_STEP, p1);
    fill(&panels[1], "W_{2}", TWS_TWO_STEPS_FRESH, p2);
    bad = tws_predict_bulk(NULL, input, at[1], 101, law[1], NULL) != TWS_OK;
    bad |= tws_predict_bulk(NULL, input, at[2], 101, NULL, law[2]) != TWS_OK;
    plot_spectra_svg(&out, "The second step", "line: predicted bulk; height: alignment with the target", panels, 2);
    return plot_write(&out, "04-second-step.svg") != 0 || bad;
}

static void table(const char *name, const tws_spectrum *s, const tws_prediction *p) {
    size_t k;
    for (k = 0; k < s->outliers; k++) {
        const int known = k < p->outliers;
        printf("%-4s%3lu %10.4f %10.4f %15.3f %12.3f\n", name, (unsigned long)(k + 1), s->singular_values[k],
               known ? p->singular_values[k] : 0.0, s->readout_alignments[k], known ? p->readout_square_alignments[k] : 0.0);
    }
}

int main(void) {
    const tws_spectrum *w1 = &result.spectrum[TWS_ONE_STEP], *w2 = &result.spectrum[TWS_TWO_STEPS_FRESH];
    tws_prediction p1, p2;
    tws_config config = tws_default_config();
    tws_theory_input input;
    config.neurons = config.inputs = 800, config.samples = 1600, config.batches = TWS_FRESH;
    config.alpha1 = config.alpha2 = 0.42, config.scale2 = 2.0;
    if (tws_activation_named(activation, &config.activation) != TWS_OK) return 1;
    input = tws_theory_from_config(&config);
    if (tws_run_visit(NULL, &config, 0, visit, NULL, &result) != TWS_OK) return 1;
    if (tws_predict(NULL, &input, &p1, &p2) != TWS_OK) return 1;
    printf("%-4s%3s %10s %10s %15s %12s\n", "", "k", "measured", "theory", "left along a", "a^2 (theory)");
    table("W1", w1, &p1);
    table("W2", w2, &p2);
    printf("edge of the bulk of W2: %.4f\nsecond value of W2: %.2f, holding %.2f of a^2\n", w2->row_edge,
           w2->singular_values[1], p2.readout_square_alignments[1]);
    return draw(&input, &p1, &p2);
}

/* Question: tanh is odd, so that E sigma'' = 0. What becomes of the second outlier?
 * Change  : activation = "shifted-tanh" -> activation = "tanh"
 * Then    : second value of W2: 2.00, holding 0.00 of a^2
 */
