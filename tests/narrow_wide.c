/* Two steps of a wide network by tws_step, on a fresh (argument 0) or reused (1) batch, for
 * narrow.py: the overlap of each neuron with the direction, which examples/narrow.c must give too. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include <stdlib.h>

enum { P = 300, D = 200, SAMPLES = 600 };

int main(int count, char **arguments) {
    static tws_real weights[P * D], readout[P], direction[D], inputs[SAMPLES * D], labels[SAMPLES];
    const int reuse = count > 1 && arguments[1][0] == '1';
    tws_config config = tws_default_config();
    tws_network network;
    tws_batch batch;
    double loss;
    int t, i, k, ok;
    config.neurons = P;
    config.inputs = D;
    config.samples = SAMPLES;
    config.seed = 7;
    ok = tws_make_weights(NULL, &config, 0, P, weights) == TWS_OK && tws_make_readout(NULL, &config, 0, P, readout) == TWS_OK &&
         tws_make_directions(NULL, &config, direction) == TWS_OK;
    network = tws_network_from_config(&config, weights, readout);
    batch.samples = SAMPLES;
    batch.inputs = inputs;
    batch.labels = labels;
    for (t = 0; ok && t < 2; t++) {
        if (t == 0 || !reuse) ok = tws_make_batch(NULL, &config, direction, (size_t)t, inputs, labels) == TWS_OK;
        if (ok) ok = tws_step(NULL, &network, &batch, 10.0, weights, &loss) == TWS_OK;
    }
    for (i = 0; ok && i < P; i++) {
        double overlap = 0.0;
        for (k = 0; k < D; k++) overlap += (double)weights[i * D + k] * (double)direction[k];
        printf("%.9g\n", overlap);
    }
    return ok ? 0 : 1;
}
