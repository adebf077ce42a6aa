/* All test programs but test_large in one: a compiler that takes its time over twostep.h takes it once.
   `suite test_gemm` runs that one. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"
#include "random_data.h"
#include "ranks.h"
#include <locale.h>
#include <stdlib.h>

/* Names that two of them have for things of their own; TEST is the file that is read. */
#define JOINED(test, name) test##_##name
#define JOIN(test, name) JOINED(test, name)
#define OWN(name) JOIN(TEST, name)
#define main OWN(main)
#define against_definition OWN(against_definition)
#define configurations OWN(configurations)
#define cube OWN(cube)
#define cube_slope OWN(cube_slope)
#define from_a_small_stack OWN(from_a_small_stack)
#define last_slot OWN(last_slot)
#define make OWN(make)
#define numbers OWN(numbers)
#define overflows OWN(overflows)
#define product OWN(product)
#define refusals OWN(refusals)
#define same_bits OWN(same_bits)
#define small_config OWN(small_config)
#define take OWN(take)
#define test_blocks OWN(test_blocks)
#define test_memory OWN(test_memory)
#define test_not_finite OWN(test_not_finite)
#define test_operator OWN(test_operator)
#define test_threads OWN(test_threads)
#define theory OWN(theory)
#define COLUMNS OWN(COLUMNS)
#define D OWN(D)
#define LAMBDAS OWN(LAMBDAS)
#define N OWN(N)
#define ROWS OWN(ROWS)
#define SAMPLES OWN(SAMPLES)
#define TOP OWN(TOP)
#define TEST test_tour
#include "test_tour.c"
#undef TEST
#undef LENGTH
#undef SANITIZED
#define TEST test_experiment
#include "test_experiment.c"
#undef TEST
#define TEST test_functions
#include "test_functions.c"
#undef TEST
#undef LENGTH
#undef EPS
#undef TINY
#define TEST test_hostile
#include "test_hostile.c"
#undef TEST
#undef REFUSED
#define TEST test_random
#include "test_random.c"
#undef TEST
#undef COUNT
#define TEST test_readout
#include "test_readout.c"
#undef TEST
#define TEST test_steps
#include "test_steps.c"
#undef TEST
#define TEST test_svd
#include "test_svd.c"
#undef TEST
#undef REFUSED
#undef SOLVE
#undef OPTION
#define TEST test_sweep
#include "test_sweep.c"
#undef TEST
#define TEST test_theory
#include "test_theory.c"
#undef TEST
#undef N /* this one means a transpose, and comes last */
#define TEST test_gemm
#include "test_gemm.c"
#undef TEST
#undef main

int main(int count, char **arguments) {
    const char *name = count > 1 ? arguments[1] : "";
    if (strcmp(name, "test_experiment") == 0) return test_experiment_main();
    if (strcmp(name, "test_functions") == 0) return test_functions_main();
    if (strcmp(name, "test_gemm") == 0) return test_gemm_main();
    if (strcmp(name, "test_hostile") == 0) return test_hostile_main(count - 1, arguments + 1);
    if (strcmp(name, "test_random") == 0) return test_random_main();
    if (strcmp(name, "test_readout") == 0) return test_readout_main();
    if (strcmp(name, "test_steps") == 0) return test_steps_main();
    if (strcmp(name, "test_svd") == 0) return test_svd_main();
    if (strcmp(name, "test_sweep") == 0) return test_sweep_main();
    if (strcmp(name, "test_theory") == 0) return test_theory_main(count - 1, arguments + 1);
    if (strcmp(name, "test_tour") == 0) return test_tour_main(count - 1, arguments + 1);
    fprintf(stderr, "suite: '%s' is none of its tests\n", name);
    return 2;
}
