/* Smallest checker that does the job: every macro evaluates its arguments once, counts, fails on
   NaN and works under NDEBUG. A test program ends with `return check_report();`. */
#ifndef CHECK_H
#define CHECK_H
#include <stdio.h>

static long check_passed, check_failed;

static int check_count(int ok, const char *file, int line, const char *what) {
    if (ok) {
        check_passed++;
    } else if (check_failed++ < 20) {
        fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
    }
    return ok;
}

static inline int check_near(double got, double want, double tolerance, const char *file, int line, const char *what) {
    double difference = got > want ? got - want : want - got;
    int ok = difference <= tolerance; /* false for NaN */
    if (!ok && check_failed < 20)
        fprintf(stderr, "%s:%d: got %.17g, want %.17g, difference %.3g > %.3g\n", file, line, got, want, difference,
                tolerance);
    return check_count(ok, file, line, what);
}

#define CHECK(condition) check_count((condition) ? 1 : 0, __FILE__, __LINE__, #condition)
#define CHECK_NEAR(got, want, tolerance) check_near((got), (want), (tolerance), __FILE__, __LINE__, #got " near " #want)

static int check_report(void) {
    printf("%ld passed, %ld failed\n", check_passed, check_failed);
    return check_failed != 0;
}
#endif
