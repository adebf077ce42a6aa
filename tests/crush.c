/* TestU01 (L'Ecuyer and Simard 2007) on the sequences of random_quality.c; crush.sh builds and runs it.
 *
 *   crush SEQUENCE small              the battery SmallCrush, 15 p-values, some ten seconds
 *   crush SEQUENCE crush FIRST LAST   those of Crush from one number to another, 1 to 96; all of them
 *                                     have 144 p-values and take about an hour
 *
 * A p-value below 1e-6 or above 1 - 1e-6 is a failure, as in random_quality.c: the seeds are fixed. */
#define main quality_main
#include "random_quality.c"
#undef main
#include <testu01/bbattery.h>
#include <testu01/swrite.h>
#include <testu01/unif01.h>

static const source *judged;

static unsigned int next_word(void) { return judged->next(); }

int main(int count, char **arguments) {
    enum { TESTS = 96 };
    int wanted[TESTS + 1] = {0}, first = 1, last = TESTS, i;
    char name[] = "twostep.h";
    unif01_Gen *generator;
    const int small = count == 3 && strcmp(arguments[2], "small") == 0;
    if (count == 5) first = atoi(arguments[3]), last = atoi(arguments[4]);
    if (!small && (count != 5 || strcmp(arguments[2], "crush") != 0 || first < 1 || last > TESTS || first > last)) {
        fprintf(stderr, "usage: crush SEQUENCE small | crush SEQUENCE crush FIRST LAST\n");
        return 2;
    }
    judged = source_named(arguments[1]);
    stream = tws_random_stream(1, TWS_FOR_INPUTS, (uint64_t)first - 1); /* forward and reversed: words of its own for each part */
    generator = unif01_CreateExternGenBits(name, next_word);
    swrite_Basic = FALSE;
    for (i = first; i <= last; i++) wanted[i] = 1;
    if (freopen("/dev/null", "w", stdout) == NULL) return 2; /* its own report; ours goes to standard error */
    if (small) bbattery_SmallCrush(generator);
    else bbattery_RepeatCrush(generator, wanted);
    for (i = 0; i < bbattery_NTests; i++) {
        const double p = bbattery_pVal[i];
        const int good = p >= 1e-6 && p <= 1 - 1e-6;
        good ? passed++ : failed++;
        fprintf(stderr, "  %-44s p = %-12.6g%s\n", bbattery_TestNames[i], p, good ? "" : "  FAILED");
    }
    unif01_DeleteExternGenBits(generator);
    fprintf(stderr, "%ld passed, %ld failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
