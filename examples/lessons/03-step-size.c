/* Lesson 3: how big must the step be?
 *
 * A spike of strength theta on a bulk shows only above (N/d)^(1/4): a weaker one is swallowed, and
 * its singular value stays at the edge. So a small first step teaches nothing that one could see.
 *
 *     cc -O2 03-step-size.c -lm && ./a.out  prints a table, writes 03-step-size.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

#define COUNT 10
static const size_t samples = 2000;

static int draw(const double *c, const double *measured, const double *predicted, double edge) {
    plot_series series[2];
    plot_rule rule = {0};
    plot_chart chart = {0};
    plot_out out = plot_to_text();
    memset(series, 0, sizeof series);
    series[0].name = "measured";
    series[0].y = measured;
    series[0].marks = PLOT_POINTS;
    series[1].name = "predicted";
    series[1].y = predicted;
    series[0].x = series[1].x = c;
    series[0].count = series[1].count = COUNT;
    rule.label = "edge of the bulk";
    rule.at = edge;
    rule.horizontal = 1;
    chart.title = "How big must the first step be?";
    chart.x.label = "step size \316\267_{1}";
    chart.y.label = "largest singular value of W_{1}";
    chart.series = series;
    chart.series_count = 2;
    chart.rules = &rule;
    chart.rule_count = 1;
    plot_chart_svg(&out, &chart);
    return plot_write(&out, "03-step-size.svg");
}

int main(void) {
    static tws_result result;
    const tws_spectrum *w1 = &result.spectrum[TWS_ONE_STEP];
    double c[COUNT], measured[COUNT], predicted[COUNT], first = 0.0;
    tws_config config = tws_default_config();
    int k;
    config.neurons = config.inputs = 800;
    config.samples = samples;
    config.alpha1 = 0.0; /* so that the step is scale1 */
    printf("%8s %10s %10s %10s %14s\n", "step", "largest", "theory", "outliers", "in the target");
    for (k = 0; k < COUNT; k++) {
        tws_prediction p;
        tws_theory_input input;
        config.scale1 = c[k] = 0.5 * (k + 1);
        input = tws_theory_from_config(&config);
        if (tws_run(NULL, &config, 1u << TWS_ONE_STEP, &result) != TWS_OK) return 1;
        if (tws_predict(NULL, &input, &p, NULL) != TWS_OK) return 1;
        measured[k] = w1->singular_values[0];
        predicted[k] = p.outliers > 0 ? p.singular_values[0] : p.edge;
        if (w1->outliers > 0 && first <= 0.0) first = c[k];
        printf("%8.2f %10.4f %10.4f %10lu %14.3f\n", c[k], measured[k], predicted[k], (unsigned long)w1->outliers,
               w1->alignments[0]);
    }
    printf("a spike from step %.1f on\n", first);
    return draw(c, measured, predicted, w1->row_edge);
}

/* Question: fewer samples make b = X'y / n noisier and longer. Does the spike come sooner?
 * Change  : samples = 2000 -> samples = 400
 * Then    : a spike from step 1.5 on
 */
