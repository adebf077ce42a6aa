/* Lesson 7: a target with an information exponent above one, of your own.
 *
 * The least k with E[y He_k(u)] not 0 is the information exponent of a target. Here is one of
 * exponent three: y = -sign(u) inside |u| < t, and sign(u) (exp(t^2/2) - 1) outside, which makes
 * E[u y] = 0, and E[u y^2] = 0 as y is odd. Reuse shows y^3 to the second step: E[u y^3] counts.
 *
 *     cc -O2 07-own-target.c -lm && ./a.out   prints a table, writes 07-own-target.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

static const double t = 2.0;

static double teacher(void *user, const double *u) {
    const double sign = u[0] < 0.0 ? -1.0 : 1.0;
    (void)user;
    return fabs(u[0]) < t ? -sign : sign * (exp(t * t / 2.0) - 1.0);
}

/* E[u^a y^b], by a sum */
static double mean(int a, int b) {
    double sum = 0.0;
    int i;
    for (i = 0; i < 16000; i++) {
        const double u = -8.0 + 0.001 * (i + 0.5);
        sum += 0.001 * exp(-u * u / 2.0) / sqrt(6.283185307179586) * pow(u, a) * pow(teacher(NULL, &u), b);
    }
    return sum;
}

static int draw(const double *fresh, const double *reused) {
    static const double k[] = {1, 2, 3, 4};
    plot_series series[2] = {{0}, {0}};
    plot_chart chart = {0};
    plot_out out = plot_to_text();
    series[0].name = "fresh batch", series[0].y = fresh;
    series[1].name = "reused batch", series[1].y = reused;
    series[0].x = series[1].x = k, series[0].count = series[1].count = 4;
    series[0].marks = series[1].marks = PLOT_LINE | PLOT_POINTS;
    chart.title = "A target of information exponent three";
    chart.x.label = "right singular vectors taken together", chart.x.whole = 1;
    chart.y.label = "part of the target that they hold";
    chart.series = series, chart.series_count = 2;
    plot_chart_svg(&out, &chart);
    return plot_write(&out, "07-own-target.svg");
}

int main(void) {
    static tws_result r;
    double held[2][4];
    tws_config config = tws_default_config();
    int k, which;
    config.neurons = config.inputs = 600, config.samples = 3600;
    config.alpha1 = 0.40, config.alpha2 = 0.45;
    config.scale1 = 2.0 / sqrt(mean(0, 2)); /* as if E y^2 were 1 */
    config.scale2 = 3.0 / sqrt(mean(0, 2));
    config.target = tws_custom_target(teacher, 1, NULL);
    if (tws_run(NULL, &config, TWS_ALL_CASES, &r) != TWS_OK) return 1;
    printf("E[u y] = %.2f, E[u y^2] = %.2f, E[u y^3] = %.2f\n", fabs(mean(1, 1)), fabs(mean(1, 2)), mean(1, 3));
    printf("%9s %12s %12s\n", "vectors", "fresh", "reused");
    for (k = 0; k < 4; k++) {
        for (which = 0; which < 2; which++) {
            const double a = r.spectrum[TWS_TWO_STEPS_FRESH + which].alignments[k];
            held[which][k] = k > 0 ? sqrt(held[which][k - 1] * held[which][k - 1] + a * a) : a;
        }
        printf("%9d %12.3f %12.3f\n", k + 1, held[0][k], held[1][k]);
    }
    printf("four vectors of the reused batch hold %s of the target\n", held[1][3] > 0.4 ? "much" : "little");
    return draw(held[0], held[1]);
}

/* Question: labels of one size, +-1, have y^3 = y. What is left to see?
 * Change  : t = 2.0 -> t = 1.17741
 * Then    : four vectors of the reused batch hold little of the target
 */
