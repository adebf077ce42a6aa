#include <stdio.h>
#define TWOSTEP_IMPLEMENTATION
#include "../twostep.h"
int main(void) {
    tws_config config = tws_default_config(); /* N = d = 1024, n = 2048, reused batch */
    static tws_result result; /* about 14 KB */
    const tws_spectrum *w2 = &result.spectrum[TWS_TWO_STEPS_REUSE];
    if (tws_run(NULL, &config, 0, &result) != TWS_OK) return 1;
    printf("%zu outlier above the bulk edge %.3f: s = %.3f, alignment with the target %.3f\n",
           w2->outliers, w2->edge, w2->singular_values[0], w2->alignments[0]);
    return 0;
}
