/* Lesson 6: fresh against reused.
 *
 * The target step4 has E[u y] = 0: one step cannot find its direction. On a fresh batch the second
 * step cannot, either. On the reused batch the network meets samples whose labels it has already
 * moved by: their pre-activations contain rho y_j, the second gradient contains X'y^2, and E[u y^2]
 * is not 0. The second outlier then points at the target.
 *
 *     cc -O2 06-fresh-or-reused.c -lm && ./a.out   writes 06-fresh-or-reused.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

static const double alpha1 = 0.45;
static double values[4][800], at[4][101], law[4][101]; /* singular values; predicted densities of the bulk */
static const char *const title[] = {"W_{0}", "W_{1}", "W_{2}, fresh batch", "W_{2}, reused batch"};
static const char *const name[] = {"W0", "W1, one step", "W2, fresh", "W2, reused"};

static tws_status visit(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    (void)user, (void)readout;
    return tws_singular_values(NULL, weights, 800, 800, 800, values[which]);
}

static int draw(const tws_result *r, const tws_prediction *p) {
    plot_spectrum panels[3];
    plot_out out = plot_to_text();
    int k;
    memset(panels, 0, sizeof panels);
    for (k = 1; k <= 3; k++) {
        plot_spectrum *panel = &panels[k - 1];
        panel->title = title[k], panel->values = values[k], panel->count = 800;
        panel->outliers = r->spectrum[k].singular_values, panel->alignments = r->spectrum[k].alignments;
        panel->outlier_count = r->spectrum[k].outliers, panel->edge = p[k].edge;
        panel->predicted = p[k].singular_values;
        panel->predicted_alignments = p[k].alignments, panel->predicted_count = p[k].outliers;
        panel->curve_x = at[k], panel->curve = law[k], panel->curve_count = 101;
    }
    plot_spectra_svg(&out, "Fresh against reused", "line: predicted bulk; height: alignment with step4", panels, 3);
    return plot_write(&out, "06-fresh-or-reused.svg");
}

int main(void) {
    static tws_result r;
    tws_prediction p[4];
    tws_config config = tws_default_config();
    tws_theory_input input;
    int k;
    config.neurons = config.inputs = 800, config.samples = 4000;
    config.alpha1 = alpha1, config.alpha2 = 0.45, config.scale2 = 2.0;
    if (tws_target_named("step4", &config.target) != TWS_OK) return 1;
    if (tws_run_visit(NULL, &config, TWS_ALL_CASES, visit, NULL, &r) != TWS_OK) return 1;
    input = tws_theory_from_config(&config);
    input.batches = TWS_FRESH;
    if (tws_predict(NULL, &input, &p[1], &p[2]) != TWS_OK) return 1;
    for (k = 0; k <= 100; k++) at[1][k] = 0.01 * k * p[1].edge, at[2][k] = 0.01 * k * p[2].edge;
    if (tws_predict_bulk(NULL, &input, at[1], 101, law[1], NULL) != TWS_OK) return 1;
    if (tws_predict_bulk(NULL, &input, at[2], 101, NULL, law[2]) != TWS_OK) return 1;
    input.batches = TWS_REUSE;
    if (tws_predict(NULL, &input, NULL, &p[3]) != TWS_OK) return 1;
    for (k = 0; k <= 100; k++) at[3][k] = 0.01 * k * p[3].edge;
    if (tws_predict_bulk(NULL, &input, at[3], 101, NULL, law[3]) != TWS_OK) return 1;
    printf("%-14s%9s%12s%12s%18s%9s\n", "", "outliers", "first", "second", "holds of target", "theory");
    for (k = 1; k <= 3; k++) {
        const tws_spectrum *s = &r.spectrum[k];
        tws_count_outliers(&r.spectrum[k], p[k].edge);
        printf("%-14s%9lu%12.4f%12.4f%18.3f%9.3f\n", name[k], (unsigned long)s->outliers, s->singular_values[0],
               s->singular_values[1], s->captured, p[k].captured);
    }
    printf("a random vector would hold %.3f\nreuse sees the target: %s\n", 1.0 / sqrt(800.0),
           r.spectrum[3].captured > 0.3 ? "yes" : "no");
    return draw(&r, p);
}

/* Question: is reuse enough, or must the steps be large, so that the second outlier comes out?
 * Change  : alpha1 = 0.45 -> alpha1 = 0.30
 * Then    : reuse sees the target: no
 */
