/* Ridge regression on the features of one small network, every number to standard output as
 * doubles, for readout.py:
 *
 *   readout_dump N d n LAMBDA   sizes; W, X, y, features, then tws_ridge, tws_ridge_path (LAMBDA and
 *                               100 LAMBDA: coefficients, train, loo), outputs; and the limit kernel
 *                               of 40 inputs with its path */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include <stdlib.h>

static void write_doubles(const double *x, size_t count) { fwrite(x, sizeof *x, count, stdout); }

static void write_reals(const tws_real *x, size_t count) {
    size_t i;
    for (i = 0; i < count; i++) {
        const double wide = (double)x[i];
        write_doubles(&wide, 1);
    }
}

static void *room(size_t bytes) {
    void *p = malloc(bytes);
    if (p == NULL) exit(3);
    return p;
}

static void must(tws_status status, const tws_context *context) {
    if (status == TWS_OK) return;
    fprintf(stderr, "%s: %s\n", tws_status_text(status), context->message);
    exit(1);
}

int main(int count, char **arguments) {
    tws_context context = tws_default_context();
    tws_config config = tws_default_config();
    tws_network network;
    tws_batch batch;
    double lambdas[2], train[2], loo[2], *coefficients, *outputs, *kernel;
    tws_real *weights, *readout, *directions, *inputs, *labels, *features;
    size_t N, d, n;
    const size_t few = 40;
    if (count != 5) return 2;
    N = (size_t)strtoul(arguments[1], NULL, 10);
    d = (size_t)strtoul(arguments[2], NULL, 10);
    n = (size_t)strtoul(arguments[3], NULL, 10);
    lambdas[0] = strtod(arguments[4], NULL);
    lambdas[1] = 100.0 * lambdas[0];
    config.neurons = N;
    config.inputs = d;
    config.samples = n;
    config.top = 1;
    config.noise = 0.5;
    weights = (tws_real *)room(N * d * sizeof *weights);
    readout = (tws_real *)room(N * sizeof *readout);
    directions = (tws_real *)room(d * sizeof *directions);
    inputs = (tws_real *)room(n * d * sizeof *inputs);
    labels = (tws_real *)room(n * sizeof *labels);
    features = (tws_real *)room(n * N * sizeof *features);
    coefficients = (double *)room(2 * (N > few ? N : few) * sizeof *coefficients);
    outputs = (double *)room(2 * n * sizeof *outputs);
    kernel = (double *)room(few * few * sizeof *kernel);
    must(tws_make_weights(&context, &config, 0, N, weights), &context);
    must(tws_make_readout(&context, &config, 0, N, readout), &context);
    must(tws_make_directions(&context, &config, directions), &context);
    must(tws_make_batch(&context, &config, directions, 0, inputs, labels), &context);
    network.count = N;
    network.inputs = d;
    network.output_scale = 1.0;
    network.activation = config.activation;
    network.weights = weights;
    network.readout = readout;
    batch.samples = n;
    batch.inputs = inputs;
    batch.labels = labels;
    must(tws_features(&context, &network, &batch, features, N), &context);
    write_reals(weights, N * d);
    write_reals(inputs, n * d);
    write_reals(labels, n);
    write_reals(features, n * N);
    must(tws_ridge(&context, features, n, N, N, labels, lambdas[0], coefficients, NULL), &context);
    write_doubles(coefficients, N);
    must(tws_ridge_path(&context, features, n, N, N, labels, lambdas, 2, coefficients, train, loo), &context);
    write_doubles(coefficients, 2 * N);
    write_doubles(train, 2);
    write_doubles(loo, 2);
    must(tws_readout_outputs(&context, features, n, N, N, coefficients, 2, outputs), &context);
    write_doubles(outputs, 2 * n);
    must(tws_limit_kernel(&context, &config.activation, d, inputs, few, NULL, 0, kernel), &context);
    write_doubles(kernel, few * few);
    must(tws_kernel_path(&context, kernel, few, labels, lambdas, 2, coefficients, train, loo), &context);
    write_doubles(coefficients, 2 * few);
    write_doubles(train, 2);
    write_doubles(loo, 2);
    return 0;
}
