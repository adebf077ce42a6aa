/* Lesson 8: from here to N = 1e12 on paper.
 *
 * The theory needs no weights: it predicts the outliers at the size that can be simulated, where it
 * can be checked, and at any other. On a log scale the lines tend to the slopes of the limit,
 * alpha2 - k (1/2 - alpha1), but slowly.
 *
 *     cc -O2 08-on-paper.c -lm && ./a.out   prints a table, writes 08-on-paper.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

#define SIZES 11
static const double alpha1 = 0.35;
static double n[SIZES], s[4][SIZES], measured[4][2];

static int draw(double edge) {
    static const char *const name[] = {"first", "second", "third", "fourth"};
    plot_series series[8];
    const plot_rule rule = {"edge", edge, 1};
    plot_chart chart = {0};
    plot_out out = plot_to_text();
    int k;
    memset(series, 0, sizeof series);
    for (k = 0; k < 4; k++) {
        series[k].name = name[k];
        series[k].y = s[k], series[k].count = SIZES;
        series[k + 4].y = measured[k], series[k + 4].count = 2;
        series[k + 4].marks = PLOT_POINTS;
        series[k].color = series[k + 4].color = k + 1;
        series[k].x = series[k + 4].x = n;
    }
    chart.title = "Outliers of W_{2}: predicted (lines), measured (points)";
    chart.x.label = "N = d = n/2";
    chart.y.label = "singular value";
    chart.x.log = chart.y.log = 1;
    chart.series = series, chart.series_count = 8;
    chart.rules = &rule;
    chart.rule_count = 1;
    plot_chart_svg(&out, &chart);
    return plot_write(&out, "08-on-paper.svg");
}

int main(void) {
    static tws_result r;
    tws_config config = tws_default_config();
    tws_theory_input input;
    tws_prediction p;
    int i, k;
    config.alpha1 = alpha1, config.alpha2 = 0.45;
    config.scale2 = 2.0, input = tws_theory_from_config(&config);
    printf("%8s %9s   outliers of W2\n", "N", "count");
    for (i = 0; i < SIZES; i++) {
        input.neurons = input.inputs = n[i] = i == 0 ? 300.0 : 1000.0 * pow(10.0, i - 1);
        input.samples = 2.0 * n[i];
        if (tws_predict(NULL, &input, NULL, &p) != TWS_OK) return 1;
        printf("%8.0e %9lu  ", n[i], (unsigned long)p.outliers);
        for (k = 0; k < 4; k++) {
            s[k][i] = (size_t)k < p.outliers ? p.singular_values[k] : NAN; /* a gap in the figure */
            if ((size_t)k < p.outliers) printf("%12.4g", s[k][i]);
        }
        config.neurons = config.inputs = (size_t)n[i];
        config.samples = 2 * config.neurons;
        if (i < 2 && tws_run(NULL, &config, 1u << TWS_TWO_STEPS_REUSE, &r) != TWS_OK) return 1;
        for (k = 0; i < 2 && k < 4; k++)
            measured[k][i] = (size_t)k < r.spectrum[3].outliers ? r.spectrum[3].singular_values[k] : NAN;
        printf(i < 2 ? "  (measured %.4g)\n" : "\n", r.spectrum[3].singular_values[0]);
    }
    printf("at N = 1e12: %lu directions; in the limit: %.0f\n", (unsigned long)p.outliers,
           1.0 + floor(0.45 / (0.5 - alpha1) + 1e-9));
    return draw(p.edge);
}

/* Question: and with a smaller first step?
 * Change  : alpha1 = 0.35 -> alpha1 = 0.30
 * Then    : at N = 1e12: 3 directions; in the limit: 3
 */
