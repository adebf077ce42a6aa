/* Prints what the machine can do: fused multiply-adds in registers and reading from memory.
 *   cc -O2 -I.. machine.c -o machine -lm && ./machine [--peak | --kernel] */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"

#include "machine.h"

int main(int count, char **argument) {
    static const tws_kernel kernels[] = {TWS_KERNEL_AVX512, TWS_KERNEL_AVX2, TWS_KERNEL_SSE2,
                                         TWS_KERNEL_NEON};
    tws_context context = tws_default_context();
    const unsigned all = tws_context_threads(&context);
    unsigned threads;
    int i;
    if (count > 1 && strcmp(argument[1], "--peak") == 0) {
        printf("%.1f\n", measure_peak(&context, all, 9));
        return 0;
    }
    if (count > 1 && strcmp(argument[1], "--kernel") == 0) {
        printf("%s\n", tws_kernel_name(tws_context_kernel(&context)));
        return 0;
    }
    for (threads = 1; threads <= all; threads = threads < all ? all : all + 1) {
        for (i = 0; i < 4; i++) {
            if (!tws_kernel_available(kernels[i])) continue;
            context.kernel = kernels[i];
            printf("%s peak, %u thread%s: %.1f GFLOP/s\n", tws_kernel_name(kernels[i]), threads,
                   threads > 1 ? "s" : "", measure_peak(&context, threads, 25));
        }
        printf("reading memory, %u thread%s: %.1f GB/s\n", threads, threads > 1 ? "s" : "",
               measure_bandwidth(&context, threads, 9));
    }
    return 0;
}
