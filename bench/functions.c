/* Prints, for every activation and kernel, how many G elements per second one core makes of values,
   of slopes, and of both at once: the median of five runs over an array that stays in cache.
   usage: functions [kernel] */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

enum { COUNT = 4096, RUNS = 5 };
static tws_real x[COUNT], value[COUNT], slope[COUNT];

static double one_run(const twsi_kernels *kernels, const tws_activation *activation, int what) {
    double start = twsi_seconds(), seconds;
    size_t rounds = 0;
    do {
        int i;
        for (i = 0; i < 200; i++)
            kernels->activate(activation, x, what != 1 ? value : NULL, what != 0 ? slope : NULL, COUNT);
        rounds += 200;
        seconds = twsi_seconds() - start;
    } while (seconds < 0.005);
    return (double)rounds * COUNT / seconds * 1e-9;
}

static double median_run(const twsi_kernels *kernels, const tws_activation *activation, int what) {
    double rate[RUNS];
    int i, j;
    for (i = 0; i < RUNS; i++) {
        const double now = one_run(kernels, activation, what);
        for (j = i; j > 0 && rate[j - 1] > now; j--) rate[j] = rate[j - 1];
        rate[j] = now;
    }
    return rate[RUNS / 2];
}

int main(int argc, char **argv) {
    static const char *const names[] = {"tanh",     "shifted-tanh", "erf",  "sigmoid", "shifted-sigmoid",
                                        "softplus", "gelu",         "silu", "relu",    "sine",
                                        "cubic",    "hermite:0,1,0.5,0.2", "hermite:0,1,1,1,1,1,1,1,1"};
    size_t i;
    int kernel;
    for (i = 0; i < COUNT; i++) x[i] = (tws_real)(-4.0 + 8.0 * (double)((i * 1103515245u) % COUNT) / COUNT);
    printf("G elements/s on one core, %s, array of %d, median of %d\n",
           sizeof(tws_real) == 4 ? "float" : "double", COUNT, RUNS);
    printf("%-8s %-28s %8s %8s %8s\n", "kernel", "activation", "value", "slope", "both");
    for (kernel = TWS_KERNEL_PLAIN; kernel < TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        if (argc > 1 && strcmp(argv[1], tws_kernel_name((tws_kernel)kernel)) != 0) continue;
        for (i = 0; i < sizeof names / sizeof *names; i++) {
            const twsi_kernels *kernels = twsi_find_kernels((tws_kernel)kernel);
            tws_activation activation;
            if (tws_activation_named(names[i], &activation) != TWS_OK) return 1;
            printf("%-8s %-28s %8.2f %8.2f %8.2f\n", tws_kernel_name((tws_kernel)kernel), names[i],
                   median_run(kernels, &activation, 0), median_run(kernels, &activation, 1),
                   median_run(kernels, &activation, 2));
        }
    }
    return 0;
}
