/* Lesson 1: the random initial bulk.
 *
 * Before any learning the rows of W are random unit vectors. The singular values of such a matrix
 * fill an interval that ends at 1 + sqrt(N/d), the edge of the bulk, and none lies beyond. What
 * stands out later has been learned.
 *
 *     cc -O2 01-bulk.c -lm && ./a.out       prints a table, writes 01-bulk.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"
#include <stdlib.h>

static const double shape = 1.0; /* N / d */

/* All singular values of W0 with d inputs; returns how many there are, 0 on failure. */
static size_t spectrum(size_t d, double *values) {
    tws_config config = tws_default_config();
    tws_real *weights;
    tws_status status;
    config.neurons = (size_t)(shape * (double)d);
    config.inputs = d;
    weights = (tws_real *)malloc(config.neurons * d * sizeof(tws_real));
    if (weights == NULL) return 0;
    status = tws_make_weights(NULL, &config, 0, config.neurons, weights);
    if (status == TWS_OK) status = tws_singular_values(NULL, weights, config.neurons, d, d, values);
    free(weights);
    return status == TWS_OK ? (config.neurons < d ? config.neurons : d) : 0;
}

/* The law of Marchenko and Pastur: the density of the singular values at s. */
static double law(double s) {
    const double low = fabs(1.0 - sqrt(shape)), high = tws_bulk_edge(shape, 1.0);
    if (s <= low || s >= high) return 0.0;
    return sqrt((high * high - s * s) * (s * s - low * low)) / (3.14159265358979 * s * (shape < 1.0 ? shape : 1.0));
}

static int draw(const double *values, size_t count, double edge) {
    static double x[201], density[201];
    plot_spectrum panel = {0};
    plot_out out = plot_to_text();
    int i;
    for (i = 0; i <= 200; i++) density[i] = law(x[i] = edge * i / 200.0);
    panel.title = "W_{0}: 800 inputs";
    panel.values = values;
    panel.count = count;
    panel.curve_x = x;
    panel.curve = density;
    panel.curve_count = 201;
    panel.edge = edge;
    plot_spectra_svg(&out, "The random initial bulk", "N/d as in the table", &panel, 1);
    return plot_write(&out, "01-bulk.svg");
}

int main(void) {
    static double values[800];
    const double edge = tws_bulk_edge(shape, 1.0);
    size_t d, count = 0;
    printf("%8s %8s %10s %10s %12s\n", "N", "d", "largest", "edge", "difference");
    for (d = 100; d <= 800; d *= 2) {
        count = spectrum(d, values);
        if (count == 0) return 1;
        printf("%8.0f %8lu %10.4f %10.4f %12.4f\n", shape * (double)d, (unsigned long)d, values[0], edge, values[0] - edge);
    }
    printf("the bulk ends at %.2f\n", edge);
    return draw(values, count, edge);
}

/* Question: where does the bulk end with four times as many neurons as inputs?
 * Change  : shape = 1.0 -> shape = 4.0
 * Then    : the bulk ends at 3.00
 */
