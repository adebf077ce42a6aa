/* Prediction against simulation: 26 configurations at N = 1500 (or d = 1500 where N/d differs), 8 seeds each.
 *
 *     cc -O2 -o theory bench/theory.c -lm && ./theory [SEEDS [N]] > table.md
 *
 * prints a table in Markdown: for W_2, the first and the second outlier (where the second is at
 * least 10 % above the edge), the alignments of outliers at least 15 % above the edge, the edge
 * (largest value of the bulk beside the edge displaced by the Tracy-Widom mean), and the surrogate
 * (prediction from each run's own data): error of its first outlier, and the angle between its
 * first right vector and the measured one. Nothing is fitted. */
#define TWOSTEP_IMPLEMENTATION
#include "../twostep.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct setting {
    const char *activation, *target;
    double alpha1, alpha2, scale1, scale2, noise, ratio, samples; /* ratio N/d, samples n/d */
    tws_batches batches;
} setting;

static const setting settings[] = {
    {"shifted-tanh", "linear", .30, .40, 1, 2, 0, 1, 2, TWS_FRESH},
    {"shifted-tanh", "linear", .30, .40, 1, 2, 0, 1, 2, TWS_REUSE},
    {"shifted-tanh", "tanh", .35, .45, 1, 2, .5, 1, 2, TWS_REUSE},
    {"shifted-tanh", "sign", .30, .45, 1, 2, 0, .5, 2, TWS_FRESH},
    {"shifted-tanh", "sign", .30, .45, 1, 2, 0, 2, 2, TWS_REUSE},
    {"shifted-tanh", "relu", .30, .45, 1, 2, 0, 2, 4, TWS_REUSE},
    {"shifted-tanh", "step4", .45, .45, 1, 2, 0, 1, 4, TWS_REUSE},
    {"shifted-tanh", "step4", .45, .45, 1, 2, 0, 1, 4, TWS_FRESH},
    {"shifted-tanh", "step3", .40, .45, 1.5, 2, 0, 1, 4, TWS_REUSE},
    {"tanh", "linear", .40, .45, 1.5, 2, 0, 1, 2, TWS_REUSE},
    {"tanh", "tanh", .35, .40, 1, 2, .3, .5, 2, TWS_FRESH},
    {"erf", "linear", .40, .45, 1.5, 1.5, 0, 1, 2, TWS_REUSE},
    {"erf", "sign", .35, .45, 1, 1, 0, 2, 2, TWS_FRESH},
    {"softplus", "tanh", .35, .45, 1, 1.5, .5, 1, 2, TWS_REUSE},
    {"softplus", "linear", .30, .40, 1, 2, 0, .5, 2, TWS_FRESH},
    {"softplus", "sign", .40, .45, 1, 2, 0, 2, 2, TWS_REUSE},
    {"sigmoid", "linear", .40, .45, 2, 3, 0, 1, 2, TWS_REUSE},
    {"shifted-sigmoid", "sign", .42, .45, 2, 4, 0, 1, 2, TWS_FRESH},
    {"shifted-sigmoid", "tanh", .40, .45, 2, 4, .2, 2, 3, TWS_REUSE},
    {"gelu", "tanh", .30, .40, 1, 1, 0, 1, 2, TWS_FRESH},
    {"gelu", "linear", .30, .40, 1, 1, 0, 1, 4, TWS_REUSE},
    {"silu", "sign", .35, .45, 1, 1, 0, 1, 2, TWS_FRESH},
    {"silu", "linear", .30, .40, 1, 2, .5, .5, 2, TWS_REUSE},
    {"relu", "sign", .40, .40, 1, 1, 0, 1, 2, TWS_FRESH},
    {"sine", "tanh", .35, .40, 1, 1, 0, .5, 2, TWS_REUSE},
    {"shifted-tanh", "staircase", .40, .45, 1, 1.5, 0, 1, 4, TWS_REUSE},
};
enum { SETTINGS = sizeof settings / sizeof settings[0] };

typedef struct errors {
    double value[8 * SETTINGS];
    size_t count;
} errors;

static void note(errors *e, double value) {
    if (e->count < sizeof e->value / sizeof e->value[0]) e->value[e->count++] = fabs(value);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void summary(const char *name, errors *e, double factor, const char *unit) {
    qsort(e->value, e->count, sizeof e->value[0], compare_doubles);
    printf("| %s | %lu | %.3g%s | %.3g%s |\n", name, (unsigned long)e->count,
           e->count ? factor * e->value[e->count / 2] : 0, unit, e->count ? factor * e->value[e->count - 1] : 0, unit);
}

static void stop(tws_context *context, const char *where) {
    fprintf(stderr, "%s: %s\n", where, context->message);
    exit(1);
}

typedef struct run {
    double s[3], align[3], bulk, first_error, cosine_error;
} run;

/* One seed: simulated spectrum of W_2, and the surrogate that knows the data but not W_0. */
static run simulate(const tws_config *c, size_t outliers) {
    const size_t N = c->neurons, d = c->inputs, n = c->samples, p = c->target.directions;
    tws_context context = tws_default_context();
    tws_real *w = (tws_real *)malloc((N * d + N + p * d) * sizeof *w), *x = (tws_real *)malloc((n * d + n) * 2 * sizeof *x);
    tws_real *a = w + N * d, *b = a + N, *y1 = x + n * d, *x2 = y1 + n, *y2 = x2 + n * d;
    double *right = (double *)malloc(TWS_MAX_OUTLIERS * d * sizeof *right), values[6], *vectors = (double *)malloc(6 * d * sizeof *vectors);
    const tws_theory_input input = tws_theory_from_config(c);
    tws_svd_options options = tws_default_svd_options(6);
    tws_prediction own;
    tws_network network;
    tws_batch batch;
    run result;
    double cosine = 0;
    size_t k, i;
    if (w == NULL || x == NULL || right == NULL || vectors == NULL) exit(1);
    if (tws_make_weights(&context, c, 0, N, w) || tws_make_readout(&context, c, 0, N, a) ||
        tws_make_directions(&context, c, b) || tws_make_batch(&context, c, b, 0, x, y1))
        stop(&context, "data");
    if (c->batches == TWS_REUSE) x2 = x, y2 = y1;
    else if (tws_make_batch(&context, c, b, 1, x2, y2)) stop(&context, "data");
    network.count = N;
    network.inputs = d;
    network.output_scale = tws_output_scale(c);
    network.activation = c->activation;
    network.weights = w;
    network.readout = a;
    batch.samples = n;
    batch.inputs = x;
    batch.labels = y1;
    if (tws_step(&context, &network, &batch, tws_step_size(c, 1), w, NULL)) stop(&context, "step one");
    batch.inputs = x2;
    batch.labels = y2;
    if (tws_step(&context, &network, &batch, tws_step_size(c, 2), w, NULL)) stop(&context, "step two");
    if (tws_svd(&context, &options, w, N, d, d, values, NULL, vectors, NULL, NULL)) stop(&context, "spectrum");
    for (k = 0; k < 3; k++) {
        double sum = 0;
        size_t l;
        for (l = 0; l < p; l++) {
            double overlap = 0;
            for (i = 0; i < d; i++) overlap += vectors[k * d + i] * (double)b[l * d + i];
            sum += overlap * overlap;
        }
        result.s[k] = values[k];
        result.align[k] = sqrt(sum);
    }
    result.bulk = values[outliers < 5 ? outliers : 5];
    if (tws_surrogate(&context, &input, x, y1, x2, y2, a, b, &own, right, NULL)) stop(&context, "surrogate");
    for (i = 0; i < d; i++) cosine += right[i] * vectors[i];
    result.first_error = own.singular_values[0] / values[0] - 1;
    result.cosine_error = fabs(cosine) - own.right_norms[0];
    free(w);
    free(x);
    free(right);
    free(vectors);
    return result;
}

int main(int count, char **arguments) {
    const int seeds = count > 1 ? atoi(arguments[1]) : 8;
    const size_t size = count > 2 ? (size_t)atoi(arguments[2]) : 1500;
    static errors first, second, align, edge, own, angle;
    size_t k;
    if (seeds < 1 || size < 100) return fprintf(stderr, "usage: theory [SEEDS [N]], N at least 100\n"), 2;
    printf("| activation | target | batch | N/d | n/d | noise | s1 simulated | predicted | s2 simulated | predicted | "
           "alignments simulated | predicted | surrogate s1 | angle |\n|");
    for (k = 0; k < 14; k++) printf(" --- |");
    printf("\n");
    for (k = 0; k < SETTINGS; k++) {
        const setting *t = &settings[k];
        tws_context context = tws_default_context();
        tws_config c = tws_default_config();
        tws_theory_input input;
        tws_prediction step1, step2;
        double s[3] = {0, 0, 0}, a[3] = {0, 0, 0}, bulk = 0, own_error = 0, cosine_error = 0, displaced;
        int seed;
        size_t o;
        c.neurons = t->ratio < 1 ? size / 2 : size;
        c.inputs = t->ratio > 1 ? size / 2 : size;
        c.samples = (size_t)(t->samples * (double)c.inputs);
        c.alpha1 = t->alpha1;
        c.alpha2 = t->alpha2;
        c.scale1 = t->scale1;
        c.scale2 = t->scale2;
        c.noise = t->noise;
        c.batches = t->batches;
        if (tws_activation_named(t->activation, &c.activation) || tws_target_named(t->target, &c.target)) return 1;
        input = tws_theory_from_config(&c);
        if (tws_predict(&context, &input, &step1, &step2)) stop(&context, "theory");
        for (seed = 1; seed <= seeds; seed++) {
            run r;
            c.seed = (uint64_t)(100 * k) + (uint64_t)seed; /* no two runs share their data */
            r = simulate(&c, step2.outliers);
            for (o = 0; o < 3; o++) {
                s[o] += r.s[o] / seeds;
                a[o] += r.align[o] / seeds;
            }
            bulk += r.bulk / seeds;
            own_error += fabs(r.first_error) / seeds;
            cosine_error += fabs(r.cosine_error) / seeds;
            note(&own, r.first_error);
            note(&angle, r.cosine_error);
        }
        displaced = step2.edge - 1.2065 * tws_edge_scale((double)c.neurons, (double)c.inputs);
        note(&first, step2.singular_values[0] / s[0] - 1);
        if (step2.outliers > 1 && step2.singular_values[1] > 1.1 * step2.edge) note(&second, step2.singular_values[1] / s[1] - 1);
        for (o = 0; o < 2 && o < step2.outliers; o++)
            if (step2.singular_values[o] > 1.15 * step2.edge && step2.alignments[o] > 0.05)
                note(&align, step2.alignments[o] - a[o]);
        note(&edge, displaced - bulk);
        printf("| %s | %s | %s | %g | %g | %g | %.3f | %.3f | %.3f | ", t->activation, t->target,
               t->batches == TWS_FRESH ? "fresh" : "reused", t->ratio, t->samples, t->noise, s[0], step2.singular_values[0],
               s[1]);
        if (step2.outliers > 1) printf("%.3f", step2.singular_values[1]);
        else printf("bulk %.3f", step2.edge);
        printf(" | %.3f, %.3f | %.3f, %.3f | %.2f %% | %.4f |\n", a[0], a[1], step2.alignments[0], step2.alignments[1],
               100 * own_error, cosine_error);
        fflush(stdout);
    }
    printf("\n| error of | cases | median | largest |\n| --- | --- | --- | --- |\n");
    summary("first outlier, mean over seeds", &first, 100, " %");
    summary("second outlier, 10 % above the edge", &second, 100, " %");
    summary("alignments, outlier 15 % above the edge", &align, 1, "");
    summary("edge", &edge, 1, "");
    summary("surrogate, first outlier, run by run", &own, 100, " %");
    summary("surrogate, cosine with the measured first right vector against its own", &angle, 1, "");
    return 0;
}
