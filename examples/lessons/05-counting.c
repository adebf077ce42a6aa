/* Lesson 5: counting outliers.
 *
 * Order k of the second step grows like N^(alpha2 - k (1/2 - alpha1)). In the limit all orders with
 * a positive exponent are seen: 1 + floor(alpha2 / (1/2 - alpha1)) outliers. At a size that one can
 * simulate the constants in front decide as well, and they are small.
 *
 *     cc -O2 05-counting.c -lm && ./a.out   prints a table, writes 05-counting.svg
 */
#define TWOSTEP_IMPLEMENTATION
#include "../../twostep.h"
#include "../plot.h"

#define GRID 6
static const double scale2 = 1.0;
static double alpha[GRID], measured[GRID * GRID], limit[GRID * GRID];

static int draw(void) {
    plot_map maps[2];
    plot_phase phase = {0};
    plot_out out = plot_to_text();
    memset(maps, 0, sizeof maps);
    maps[0].title = "measured at N = 400";
    maps[0].values = measured;
    maps[1].title = "limit of large N";
    maps[1].values = limit;
    maps[0].whole = maps[1].whole = 1;
    maps[0].low = maps[1].low = 1.0, maps[0].high = maps[1].high = 6.0;
    phase.title = "Outliers of W_{2}";
    phase.alpha1 = phase.alpha2 = alpha;
    phase.alpha1_count = phase.alpha2_count = GRID;
    phase.maps = maps;
    phase.map_count = 2;
    plot_phase_svg(&out, &phase);
    return plot_write(&out, "05-counting.svg");
}

int main(void) {
    static tws_result result;
    tws_spectrum *w2 = &result.spectrum[TWS_TWO_STEPS_FRESH];
    tws_theory_input input;
    tws_prediction p;
    tws_config config = tws_default_config();
    int i, j, fewer = 0;
    config.neurons = config.inputs = 400;
    config.samples = 800;
    config.scale2 = scale2, config.batches = TWS_FRESH;
    for (i = 0; i < GRID; i++) alpha[i] = 0.12 + 0.07 * i;
    printf("outliers of W2, measured (in the limit)\nalpha2   alpha1 =");
    for (i = 0; i < GRID; i++) printf(" %.2f  ", alpha[i]);
    printf("\n");
    for (j = GRID - 1; j >= 0; j--) {
        printf("%.2f             ", alpha[j]);
        for (i = 0; i < GRID; i++) {
            const int at = j * GRID + i;
            config.alpha1 = alpha[i];
            config.alpha2 = alpha[j];
            input = tws_theory_from_config(&config);
            if (tws_predict(NULL, &input, NULL, &p) != TWS_OK) return 1; /* for the edge */
            if (tws_run(NULL, &config, 1u << TWS_TWO_STEPS_FRESH, &result) != TWS_OK) return 1;
            tws_count_outliers(w2, p.edge);
            measured[at] = (double)w2->outliers;
            limit[at] = 1.0 + floor(alpha[j] / (0.5 - alpha[i]) + 1e-9);
            if (limit[at] > 6.0) limit[at] = 6.0; /* six and more */
            fewer += measured[at] < limit[at];
            printf(" %.0f (%.0f)", measured[at], limit[at]);
        }
        printf("\n");
    }
    printf("fewer than in the limit: at %d of %d places\n", fewer, GRID * GRID);
    return draw();
}

/* Question: the exponents do not know C2. Does a larger second step show more?
 * Change  : scale2 = 1.0 -> scale2 = 2.0
 * Then    : fewer than in the limit: at 24 of 36 places
 */
