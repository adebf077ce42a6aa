/* The page's program: the command of ../twostep.c as WebAssembly, and two commands more.
 *
 *     twostep bulk [options of run]        twostep bulk-both [options of run but --batches]
 *
 * print all singular values of W0, W1 and W2, one line of JSON for each matrix as soon as it is
 * known: {"name": "initial", "values": [...]}. The page draws its histograms from them. */
#define _XOPEN_SOURCE 700 /* as ../twostep.c, before the first include */
#include <fcntl.h>
/* No files here: what ../twostep.c uses of them and WASI lacks. */
#ifndef F_SETLK
#define F_WRLCK 1
#define F_SETLK 6
#endif
static char *realpath(const char *name, char *resolved) {
    (void)name;
    return resolved;
}
#define main twostep_main
#include "../twostep.c"
#undef main

/* One matrix: its line of the output. */
static tws_status print_bulk(settings *s, const char *name, const tws_real *weights, double *values) {
    const size_t rows = s->config.neurons, columns = s->config.inputs;
    const size_t count = rows < columns ? rows : columns;
    const tws_status status = tws_singular_values(&s->context, weights, rows, columns, columns, values);
    size_t i;
    if (status != TWS_OK) return status;
    printf("{\"name\": \"%s\", \"values\": [", name);
    for (i = 0; i < count; i++) printf("%s%.6g", i ? "," : "", values[i]);
    printf("]}\n");
    fflush(stdout);
    return TWS_OK;
}

/* The arrays of one experiment, all in one block. */
typedef struct arrays {
    tws_real *weights, *kept, *readout, *directions, *inputs, *labels;
    double *values;
} arrays;

static int make_arrays(const settings *s, arrays *a) {
    const size_t count = s->config.neurons, d = s->config.inputs, n = s->config.samples;
    a->weights = (tws_real *)malloc(count * d * sizeof(tws_real));
    a->kept = (tws_real *)malloc(count * d * sizeof(tws_real));
    a->readout = (tws_real *)malloc(count * sizeof(tws_real));
    a->directions = (tws_real *)malloc(s->config.target.directions * d * sizeof(tws_real));
    a->inputs = (tws_real *)malloc(n * d * sizeof(tws_real));
    a->labels = (tws_real *)malloc(n * sizeof(tws_real));
    a->values = (double *)malloc((count < d ? count : d) * sizeof(double));
    return a->weights && a->kept && a->readout && a->directions && a->inputs && a->labels && a->values;
}

/* One step on the batch with this number. */
static tws_status take_step(settings *s, arrays *a, size_t batch_number, int step) {
    tws_network network;
    tws_batch batch;
    tws_status status;
    network.count = s->config.neurons;
    network.inputs = s->config.inputs;
    network.output_scale = tws_output_scale(&s->config);
    network.activation = s->config.activation;
    network.weights = a->weights;
    network.readout = a->readout;
    batch.samples = s->config.samples;
    batch.inputs = a->inputs;
    batch.labels = a->labels;
    status = tws_make_batch(&s->context, &s->config, a->directions, batch_number, a->inputs, a->labels);
    if (status != TWS_OK) return status;
    return tws_step(&s->context, &network, &batch, tws_step_size(&s->config, step), a->weights, NULL);
}

static tws_status print_bulks(settings *s, arrays *a, int fresh, int reuse) {
    const size_t bytes = s->config.neurons * s->config.inputs * sizeof(tws_real);
    tws_status status = tws_make_weights(&s->context, &s->config, 0, s->config.neurons, a->weights);
    if (status == TWS_OK) status = tws_make_readout(&s->context, &s->config, 0, s->config.neurons, a->readout);
    if (status == TWS_OK) status = tws_make_directions(&s->context, &s->config, a->directions);
    if (status == TWS_OK) status = print_bulk(s, "initial", a->weights, a->values);
    if (status == TWS_OK) status = take_step(s, a, 0, 1);
    if (status == TWS_OK) status = print_bulk(s, "one-step", a->weights, a->values);
    memcpy(a->kept, a->weights, bytes);
    if (status == TWS_OK && reuse) status = take_step(s, a, 0, 2);
    if (status == TWS_OK && reuse) status = print_bulk(s, "two-steps-reuse", a->weights, a->values);
    memcpy(a->weights, a->kept, bytes);
    if (status == TWS_OK && fresh) status = take_step(s, a, 1, 2);
    if (status == TWS_OK && fresh) status = print_bulk(s, "two-steps-fresh", a->weights, a->values);
    return status;
}

/* The program ends after this: nothing is released. */
static int run_bulk(int count, char **arguments, int both) {
    static settings s;
    arrays a;
    tws_status status;
    int result;
    default_settings(&s, COMMAND_RUN);
    result = parse_options(&s, count, arguments);
    if (result == 0) result = finish_settings(&s);
    if (result != 0) return result;
    if (!make_arrays(&s, &a)) return explain(&s, TWS_OUT_OF_MEMORY);
    status = print_bulks(&s, &a, both || s.config.batches == TWS_FRESH, both || s.config.batches == TWS_REUSE);
    return status == TWS_OK ? 0 : explain(&s, status);
}

int main(int count, char **arguments) {
    if (count > 1 && strcmp(arguments[1], "bulk") == 0) return run_bulk(count - 2, arguments + 2, 0);
    if (count > 1 && strcmp(arguments[1], "bulk-both") == 0) return run_bulk(count - 2, arguments + 2, 1);
    return twostep_main(count, arguments);
}
