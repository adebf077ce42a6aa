/* Lesson 2: one step is one spike.
 *
 * The first gradient is almost a matrix of rank one, c1 a b': every neuron moves in the same
 * direction b = X'y / n, by its own weight a_i in the readout. So W1 is the old bulk and one
 * singular value outside it, whose left vector is a and whose right vector is b.
 *
 *     cc -O2 02-spike.c -lm && ./a.out      prints a table, writes 02-spike.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

static const char *const target = "linear";
static double values[2][800];          /* all singular values of W0 and W1 */
static double at[2][101], law[2][101]; /* predicted densities of the bulk, lesson 1 */

static tws_status visit(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    (void)user, (void)readout;
    return tws_singular_values(NULL, weights, 800, 800, 800, values[which]);
}

static void fill(plot_spectrum *panel, const char *title, int which, const tws_spectrum *s, const tws_prediction *p) {
    panel->title = title;
    panel->outliers = s->singular_values, panel->alignments = s->alignments;
    panel->outlier_count = s->outliers;
    panel->edge = s->edge;
    panel->values = values[which], panel->count = 800;
    panel->curve_x = at[which], panel->curve = law[which], panel->curve_count = 101;
    if (p == NULL) return;
    panel->predicted = p->singular_values, panel->predicted_alignments = p->alignments;
    panel->predicted_count = p->outliers;
}

static int draw(const tws_result *r, const tws_theory_input *input, const tws_prediction *p) {
    plot_spectrum panels[2];
    plot_out out = plot_to_text();
    int i;
    memset(panels, 0, sizeof panels);
    for (i = 0; i <= 100; i++) at[0][i] = 0.02 * i, at[1][i] = 0.01 * i * p->edge;
    for (i = 0; i <= 100; i++) law[0][i] = tws_bulk_density(800, 800, at[0][i]);
    tws_predict_bulk(NULL, input, at[1], 101, law[1], NULL);
    fill(&panels[0], "W_{0}", 0, &r->spectrum[TWS_INITIAL], NULL);
    fill(&panels[1], "W_{1}", 1, &r->spectrum[TWS_ONE_STEP], p);
    plot_spectra_svg(&out, "One step is one spike", "line: predicted bulk; height: alignment with the target", panels, 2);
    return plot_write(&out, "02-spike.svg");
}

int main(void) {
    static tws_result result;
    tws_prediction predicted;
    tws_config config = tws_default_config();
    tws_theory_input input;
    const tws_spectrum *before = &result.spectrum[TWS_INITIAL], *after = &result.spectrum[TWS_ONE_STEP];
    int k;
    config.neurons = config.inputs = 800;
    config.samples = 1600;
    config.alpha1 = 0.35;
    if (tws_target_named(target, &config.target) != TWS_OK) return 1;
    input = tws_theory_from_config(&config);
    if (tws_run_visit(NULL, &config, 3u, visit, NULL, &result) != TWS_OK) return 1; /* W0 and W1 */
    if (tws_predict(NULL, &input, &predicted, NULL) != TWS_OK) return 1;
    printf("%3s %10s %10s %10s %14s %14s\n", "k", "W0", "W1", "theory", "along readout", "in the target");
    for (k = 0; k < 4; k++) {
        printf("%3d %10.4f %10.4f ", k + 1, before->singular_values[k], after->singular_values[k]);
        if ((size_t)k < predicted.outliers) printf("%10.4f", predicted.singular_values[k]);
        else printf("%10s", "bulk");
        printf(" %14.3f %14.3f\n", after->readout_alignments[k], after->alignments[k]);
    }
    printf("%lu spike, and it %s the target\n", (unsigned long)after->outliers,
           after->alignments[0] > 0.3 ? "sees" : "is blind to");
    return draw(&result, &input, &predicted);
}

/* Question: is the spike there when y does not depend on x linearly, so that E[u y] = 0?
 * Change  : target = "linear" -> target = "he2"
 * Then    : 1 spike, and it is blind to the target
 */
