/* Singular values and vectors: constructed spectra and hard cases against a one-sided Jacobi SVD
   and against what was put in; every kernel and thread count; operators, shared rows, failures. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "spread.h"
#include <stdlib.h>

static uint64_t test_state = 1;

static size_t uniform_below(size_t bound) { return (size_t)(twsi_splitmix64(&test_state) % bound); }

static double test_uniform(void) {
    return (double)(twsi_splitmix64(&test_state) >> 11) / 4503599627370496.0 - 1.0;
}

static double *numbers(size_t count) {
    double *x = (double *)calloc(count + 1, sizeof *x);
    if (x == NULL) exit(2);
    return x;
}

static double dot(const double *x, const double *y, size_t n) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

/* count orthonormal vectors of n entries, one per row */
static double *orthonormal(size_t count, size_t n) {
    double *q = numbers(count * n);
    size_t i, j, k;
    int round;
    for (k = 0; k < count; k++) {
        double *v = q + k * n, norm;
        for (i = 0; i < n; i++) v[i] = test_uniform();
        for (round = 0; round < 3; round++) {
            for (j = 0; j < k; j++) {
                const double c = dot(q + j * n, v, n);
                for (i = 0; i < n; i++) v[i] -= c * q[j * n + i];
            }
            norm = sqrt(dot(v, v, n));
            for (i = 0; i < n; i++) v[i] /= norm;
        }
    }
    return q;
}

/* U diag(s) V^T, rounded to tws_real, rows at distance ld with NaN between them */
static tws_real *constructed(size_t m, size_t n, size_t ld, const double *s, size_t count) {
    double *u = orthonormal(count, m), *v = orthonormal(count, n), *row = numbers(n);
    tws_real *a = (tws_real *)malloc(m * ld * sizeof *a);
    size_t i, j, k;
    if (a == NULL) exit(2);
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) row[j] = 0.0;
        for (k = 0; k < count; k++)
            for (j = 0; j < n; j++) row[j] += u[k * m + i] * s[k] * v[k * n + j];
        for (j = 0; j < ld; j++) a[i * ld + j] = j < n ? (tws_real)row[j] : (tws_real)NAN;
    }
    free(u);
    free(v);
    free(row);
    return a;
}

/* All min(m, n) singular values by one-sided Jacobi in double, decreasing. */
static double *jacobi(const tws_real *a, size_t m, size_t n, size_t ld) {
    const size_t count = m < n ? m : n, length = m < n ? n : m;
    double *c = numbers(count * length), *s = numbers(count);
    size_t i, j, k;
    int sweep, changed = 1;
    for (i = 0; i < count; i++)
        for (k = 0; k < length; k++)
            c[i * length + k] = (double)(m < n ? a[i * ld + k] : a[k * ld + i]);
    for (sweep = 0; sweep < 40 && changed; sweep++) {
        changed = 0;
        for (i = 0; i < count; i++)
            for (j = i + 1; j < count; j++) {
                double *x = c + i * length, *y = c + j * length;
                const double p = dot(x, x, length), q = dot(y, y, length), r = dot(x, y, length);
                double zeta, t, cosine, sine;
                if (!(fabs(r) > 1e-15 * sqrt(p * q)) || p == 0.0 || q == 0.0) continue;
                if (fabs(r) < 1e-40) continue;
                changed = 1;
                zeta = (q - p) / (2.0 * r);
                t = (zeta >= 0.0 ? 1.0 : -1.0) / (fabs(zeta) + sqrt(1.0 + zeta * zeta));
                cosine = 1.0 / sqrt(1.0 + t * t);
                sine = cosine * t;
                for (k = 0; k < length; k++) {
                    const double f = x[k];
                    x[k] = cosine * f - sine * y[k];
                    y[k] = sine * f + cosine * y[k];
                }
            }
    }
    for (i = 0; i < count; i++) s[i] = sqrt(dot(c + i * length, c + i * length, length));
    for (i = 0; i < count; i++)
        for (j = i; j > 0 && s[j] > s[j - 1]; j--) {
            const double x = s[j];
            s[j] = s[j - 1];
            s[j - 1] = x;
        }
    free(c);
    return s;
}

/* largest entry of |Q Q^T - I| */
static double off_orthonormal(const double *q, size_t count, size_t n) {
    double worst = 0.0;
    size_t i, j;
    for (i = 0; i < count; i++)
        for (j = 0; j <= i; j++) {
            const double d = fabs(dot(q + i * n, q + j * n, n) - (i == j ? 1.0 : 0.0));
            if (!(d <= worst)) worst = d;
        }
    return worst;
}

/* largest of |M v - s u|, |M^T u - s v| over all triplets */
static double residual(const tws_real *a, size_t m, size_t n, size_t ld, const double *s,
                       const double *u, const double *v, size_t count) {
    double worst = 0.0, *back = numbers(n);
    size_t i, j, k;
    for (k = 0; k < count; k++) {
        double forth = 0.0, sum = 0.0;
        memset(back, 0, n * sizeof *back);
        for (i = 0; i < m; i++) {
            double p = 0.0;
            for (j = 0; j < n; j++) {
                p += (double)a[i * ld + j] * v[k * n + j];
                back[j] += (double)a[i * ld + j] * u[k * m + i];
            }
            p -= s[k] * u[k * m + i];
            forth += p * p;
        }
        for (j = 0; j < n; j++) {
            const double d = back[j] - s[k] * v[k * n + j];
            sum += d * d;
        }
        if (!(sqrt(forth) <= worst)) worst = sqrt(forth);
        if (!(sqrt(sum) <= worst)) worst = sqrt(sum);
    }
    free(back);
    return worst;
}

typedef struct matrix_operator {
    const tws_real *a;
    size_t m, n, ld;
    long calls, fail_at, poison_at;
} matrix_operator;

static tws_status apply_matrix(void *user, int transposed, const double *x, double *y) {
    matrix_operator *o = (matrix_operator *)user;
    size_t i, j;
    if (++o->calls == o->fail_at) return TWS_BAD_ARGUMENT;
    for (i = 0; i < (transposed ? o->n : o->m); i++) y[i] = 0.0;
    for (i = 0; i < o->m; i++)
        for (j = 0; j < o->n; j++)
            if (transposed)
                y[j] += (double)o->a[i * o->ld + j] * x[i];
            else
                y[i] += (double)o->a[i * o->ld + j] * x[j];
    if (o->calls == o->poison_at) y[0] = NAN;
    return TWS_OK;
}

/* sums and products in single precision */
static tws_status apply_coarsely(void *user, int transposed, const double *x, double *y) {
    const matrix_operator *o = (const matrix_operator *)user;
    const size_t count = transposed ? o->n : o->m, terms = transposed ? o->m : o->n;
    size_t i, j;
    for (i = 0; i < count; i++) {
        float sum = 0.0f;
        for (j = 0; j < terms; j++) {
            /* volatile: the product rounds, and is never fused with the sum */
            const volatile float term = (float)(transposed ? o->a[j * o->ld + i] : o->a[i * o->ld + j]) * (float)x[j];
            sum += term;
        }
        y[i] = (double)sum;
    }
    return TWS_OK;
}

/* a sum of rank products of small whole numbers: its other singular values are exactly zero */
static void low_rank(tws_real *a, size_t m, size_t n, size_t rank) {
    double *x = numbers(m), *y = numbers(n);
    size_t i, j, k;
    for (k = 0; k < rank; k++) {
        for (i = 0; i < m; i++) x[i] = floor(8.0 * test_uniform());
        for (j = 0; j < n; j++) y[j] = floor(8.0 * test_uniform());
        for (i = 0; i < m; i++)
            for (j = 0; j < n; j++)
                a[i * n + j] = (k == 0 ? 0 : a[i * n + j]) + (tws_real)(x[i] * y[j]);
    }
    free(x);
    free(y);
}

/* Solves and checks everything that can be checked; want may be NULL. */
static void check_case(tws_context *context, const tws_real *a, size_t m, size_t n, size_t ld,
                       size_t top, const double *want, tws_svd_result *result) {
    tws_svd_options options = tws_default_svd_options(top);
    double *s = numbers(top), *u = numbers(top * m), *v = numbers(top * n), *r = numbers(top);
    double *reference = want != NULL ? NULL : jacobi(a, m, n, ld);
    size_t k;
    CHECK(tws_svd(context, &options, a, m, n, ld, s, u, v, r, result) == TWS_OK);
    CHECK(result->wanted == top && result->converged == top);
    CHECK(result->passes > 0 && result->products >= result->passes);
    if (want == NULL) want = reference;
    for (k = 0; k < top; k++) {
        CHECK_NEAR(s[k], want[k], 1e-6 * want[0]);
        CHECK(r[k] <= 1e-6);
        CHECK(k == 0 || s[k] <= s[k - 1]);
    }
    CHECK(off_orthonormal(u, top, m) <= 1e-10);
    CHECK(off_orthonormal(v, top, n) <= 1e-10);
    CHECK(residual(a, m, n, ld, s, u, v, top) <= 1.01e-6 * s[0] + 1e-300);
    free(reference);
    free(s);
    free(u);
    free(v);
    free(r);
}

static void fill_spectrum(double *s, size_t count, int kind) {
    size_t i;
    for (i = 0; i < count; i++) {
        const double x = (double)i;
        switch (kind) {
        case 0: s[i] = 1.0 / (1.0 + x); break;                             /* decay */
        case 1: s[i] = pow(1e-12, x / (double)(count - 1)); break;        /* ratio 1e-12 */
        case 2: s[i] = i < 3 ? 3.0 : i < 5 ? 2.0 : 1.0 / (1.0 + x); break; /* exact repeats */
        case 3: s[i] = i < 4 ? 1.0 - 1e-9 * x : i < 8 ? 0.5 - 1e-7 * x : 0.4 / x; break;
        case 4: s[i] = i < 7 ? 7.0 - x : 0.0; break;                       /* rank 7 */
        case 5: s[i] = 1.0; break;                                         /* orthogonal */
        case 6: s[i] = i < 20 ? 2.0 : 1.0 - 0.9 * x / (double)count; break; /* 20 copies */
        default: s[i] = i == 0 ? 1.0 : 1e-9 / x; break;                    /* one giant */
        }
    }
}

static void test_spectra(tws_context *context, int heavy) {
    static const size_t shape[][2] = {{60, 60}, {90, 40}, {40, 90}, {1, 50}, {50, 1},
                                      {1, 1},   {2, 3},   {7, 300}, {300, 7}};
    double s[100];
    size_t i;
    int kind;
    for (i = 0; i < (heavy ? 9u : 3u); i++)
        for (kind = 0; kind < 8; kind++) {
            const size_t m = shape[i][0], n = shape[i][1], least = m < n ? m : n, ld = n + 3;
            const size_t tops[4] = {1, least < 10 ? least : 10, least < 30 ? least : 30, least};
            tws_svd_result result;
            tws_real *a;
            double *reference;
            size_t k;
            if (kind == 1 && least < 2) continue;
            fill_spectrum(s, least, kind);
            a = constructed(m, n, ld, s, least);
            reference = jacobi(a, m, n, ld);
            for (k = 0; k < 4; k++) check_case(context, a, m, n, ld, tops[k], reference, &result);
            for (k = 0; k < least; k++) CHECK_NEAR(reference[k], s[k], 1e-6 * s[0]);
            free(a);
            free(reference);
        }
}

/* Small values beside a large one: squared they drown in the rounding of products in tws_real, and
   what tells them apart is measured. Few of many such matrices show it: an order that rounding has
   made (two small values, one wanted), and residuals that grow when u is cleaned of larger ones. */
static void test_small_values(tws_context *context, int heavy) {
    const int count = heavy ? 6000 : 600;
    double values[8], residuals[8];
    tws_svd_result result;
    int trial, i;
    for (trial = 0; trial < count; trial++) {
        const int two = trial % 2;
        const size_t m = two ? 4 + (size_t)trial / 2 % 5 : 5 + (size_t)trial / 2 % 3;
        const size_t n = two ? 3 : 8 + (size_t)trial / 2 % 5, least = m < n ? m : n;
        tws_svd_options options = tws_default_svd_options(least - 1);
        double spectrum[8], *all;
        tws_real *a;
        for (i = 0; i < (int)least; i++) spectrum[i] = i == 0 ? 1.0 : pow(10.0, -6.0 * fabs(test_uniform()));
        if (two) {
            spectrum[1] = 2e-5 + 1e-5 * test_uniform();
            spectrum[2] = 0.3 * spectrum[1];
        }
        a = constructed(m, n, n, spectrum, least);
        all = jacobi(a, m, n, n);
        options.seed = (uint64_t)trial;
        if (trial % 4 == 2) options.tolerance = 1e-7;
        CHECK(tws_svd(context, &options, a, m, n, n, values, NULL, NULL, residuals, &result) == TWS_OK);
        CHECK(result.converged == least - 1);
        for (i = 0; i < (int)least - 1; i++) {
            CHECK(fabs(values[i] - all[i]) <= (10.0 * options.tolerance + 1e-8) * all[0]);
            CHECK(residuals[i] <= options.tolerance);
        }
        free(a);
        free(all);
    }
}

/* A tolerance below what products of M^T M can reach for small values: the call ends soon, says why,
   and what it reports is as good as rounding allows; max_passes is kept on the way there. */
static void test_out_of_reach(tws_context *context) {
    enum { M = 34, N = 22, TOP = 21 };
    tws_svd_options options = tws_default_svd_options(TOP);
    double spectrum[N], values[TOP], residuals[TOP];
    tws_svd_result result;
    size_t i, given, kept = 0;
    tws_real *a;
    for (i = 0; i < N; i++) spectrum[i] = pow(0.5, (double)i);
    a = constructed(M, N, N, spectrum, N);
    options.tolerance = 1e-12;
    CHECK(tws_svd(context, &options, a, M, N, N, values, NULL, NULL, residuals, &result) == TWS_NOT_CONVERGED);
    CHECK(strstr(context->message, "rounding allows no less") != NULL);
    CHECK(result.converged >= 4 && result.converged < TOP && result.passes <= 40);
    for (i = 0; i < TOP; i++) CHECK(residuals[i] * values[i] <= 1e-13 * values[0]);
    options.tolerance = 1e-8;
    for (given = 1; given < 40; given++) {
        options.max_passes = given;
        if (tws_svd(context, &options, a, M, N, N, values, NULL, NULL, residuals, &result) == TWS_NOT_CONVERGED) {
            CHECK(strstr(context->message, "rounding allows no less") == NULL);
            kept++;
        } else {
            CHECK(result.converged == TOP);
        }
        CHECK(result.passes <= given + 2 * 3);
    }
    CHECK(kept >= 4 && kept < 30);
    free(a);
}

/* Every copy of every value, down to where products in tws_real see nothing: diagonals in random order,
   powers of two, each some times over. */
static void test_copies(tws_context *context, int heavy) {
    const int count = heavy ? 1500 : 150;
    double spectrum[40], values[40];
    tws_real *a = (tws_real *)malloc(40 * 40 * sizeof *a);
    tws_svd_result result;
    int trial;
    if (a == NULL) exit(2);
    for (trial = 0; trial < count; trial++) {
        const size_t n = 4 + uniform_below(37);
        tws_svd_options options = tws_default_svd_options(1 + uniform_below(n));
        const double unit = trial % 3 == 0 ? ldexp(1.0, -110) : 1.0;
        size_t places[40], i, wanted, filled = 0;
        int exponent = 0;
        while (filled < n) {
            const size_t copies = 1 + uniform_below(8);
            for (i = 0; i < copies && filled < n; i++)
                spectrum[filled++] = exponent < 25 ? ldexp(unit, -exponent) : 0.0;
            exponent += 1 + (int)uniform_below(9);
        }
        for (i = 0; i < n; i++) { /* a random order, made as it grows */
            const size_t k = uniform_below(i + 1);
            places[i] = places[k];
            places[k] = i;
        }
        for (i = 0; i < n * n; i++) a[i] = 0;
        for (i = 0; i < n; i++) a[i * n + places[i]] = (tws_real)spectrum[i];
        if (trial % 2 == 1) options.stop_below = 0.7 * spectrum[uniform_below(n)];
        if (trial % 4 == 1 && !(options.stop_below > 0.0)) options.stop_below = 1e-12 * unit;
        options.seed = (uint64_t)trial;
        CHECK(tws_svd(context, &options, a, n, n, n, values, NULL, NULL, NULL, &result) == TWS_OK);
        for (wanted = 0; wanted < options.top; wanted++)
            if (options.stop_below > 0 && !(spectrum[wanted] > options.stop_below + 1e-5 * spectrum[0])) break;
        CHECK(result.wanted >= wanted && (options.stop_below > 0 || result.wanted == options.top));
        for (i = 0; i < result.wanted; i++) CHECK(fabs(values[i] - spectrum[i]) <= 1e-5 * spectrum[0]);
    }
    free(a);
}

/* n x n, reflected from both sides by random vectors: other singular vectors, same values */
static void reflected(double *d, size_t n) {
    double *v = numbers(n), *p = numbers(n), *q = numbers(n), norm;
    size_t i, j;
    for (i = 0; i < n; i++) v[i] = test_uniform();
    norm = sqrt(dot(v, v, n));
    for (i = 0; i < n; i++) v[i] /= norm;
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) p[j] += v[i] * d[i * n + j];
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) d[i * n + j] -= 2.0 * v[i] * p[j];
    for (i = 0; i < n; i++) q[i] = dot(d + i * n, v, n);
    for (i = 0; i < n; i++)
        for (j = 0; j < n; j++) d[i * n + j] -= 2.0 * q[i] * v[j];
    free(v);
    free(p);
    free(q);
}

/* What is good stays good: zeros among the wanted values leave their order in doubt, which costs passes
   where there are some left, and nothing else. A call that cannot get better ends, and says why. */
static void test_ends(tws_context *context) {
    enum { M = 300, N = 280, TOP = 5, WIDE = 700 };
    tws_svd_options options = tws_default_svd_options(TOP);
    double spectrum[N], values[100], residuals[100];
    tws_real *a = constructed(M, N, N, NULL, 0);
    tws_svd_result result;
    matrix_operator o;
    const tws_kernel kernel = context->kernel;
    size_t i, good = 0;
    int kind;
    low_rank(a, M, N, 3);
    for (options.max_passes = 4; options.max_passes < 12; options.max_passes++) {
        const tws_status status = tws_svd(context, &options, a, M, N, N, values, NULL, NULL, residuals, &result);
        CHECK(status == TWS_OK || good == 0);
        good += status == TWS_OK;
        CHECK(result.passes <= options.max_passes + 2 && (good == 0 || result.converged == TOP));
    }
    CHECK(good >= 3);
    free(a);
    for (i = 0; i < N; i++) spectrum[i] = i == 0 ? 1.0 : 2e-3 * (1.0 - (double)i / N);
    a = constructed(M, N, N, spectrum, N);
    options.max_passes = 10000;
    options.tolerance = 1e-10; /* the bound added to a residual may not be what misses it */
    CHECK(tws_svd(context, &options, a, M, N, N, values, NULL, NULL, residuals, &result) == TWS_OK);
    memset(&o, 0, sizeof o);
    o.a = a;
    o.m = M;
    o.n = o.ld = N;
    options.tolerance = 1e-8; /* products are not as good */
    options.max_basis = 60;
    CHECK(tws_svd_operator(context, &options, apply_coarsely, &o, M, N, values, NULL, NULL, residuals, &result) == TWS_NOT_CONVERGED);
    CHECK(result.converged < TOP && result.passes < 2000 && strstr(context->message, "rounding") != NULL);
    free(a);
    for (kind = 0; kind < 2; kind++) { /* more copies than a space in double can look for anew */
        double *d = numbers(WIDE * WIDE), *s = numbers(WIDE);
        for (i = 0; i < WIDE; i++) {
            const double x = (double)i;
            s[i] = kind == 0 ? i < 100 ? pow(1e-5, (double)(i / 2) / 50.0) : 3e-6 * pow(0.99, x - 100.0)
                             : i < 30 ? 1.0 : i < 46 ? pow(1e-5, (x - 29.0) / 16.0) : 3e-6 * pow(0.99, x - 46.0);
            d[i * 37 % WIDE * WIDE + i] = s[i];
        }
        reflected(d, WIDE);
        reflected(d, WIDE);
        a = (tws_real *)malloc(WIDE * WIDE * sizeof *a);
        if (a == NULL) exit(2);
        for (i = 0; i < WIDE * WIDE; i++) a[i] = (tws_real)d[i];
        options = tws_default_svd_options(kind == 0 ? 98 : 40);
        context->kernel = TWS_KERNEL_PLAIN;
        CHECK(tws_svd(context, &options, a, WIDE, WIDE, WIDE, values, NULL, NULL, residuals, &result) == TWS_OK);
        /* those it starts from need not be looked for: 106 passes with the plain kernel, not 114 */
        CHECK(result.passes < (kind == 0 ? 200 : sizeof(tws_real) == sizeof(double) ? 130 : 110));
        context->kernel = kernel;
        for (i = 0; i < options.top; i++) CHECK_NEAR(values[i], s[i], 1e-5);
        free(a);
        free(d);
        free(s);
    }
    for (i = 0; i < N; i++) spectrum[i] = pow(1e-5, (double)(i / 2) / 50);
    options = tws_default_svd_options(10); /* a small basis: a copy at the end counts as one more */
    options.max_basis = 50;
    a = constructed(N, N, N, spectrum, N);
    CHECK(tws_svd(context, &options, a, N, N, N, values, NULL, NULL, residuals, &result) == TWS_OK);
    CHECK(result.passes < 200);
    free(a);
    for (i = 0; i < 64; i++) spectrum[i] = i < 12 ? 1.0 : i < 20 ? 0.5 : pow(0.8, (double)i);
    a = constructed(64, 64, 64, spectrum, 64); /* a block and a basis that make up the whole space */
    options = tws_default_svd_options(23);
    options.max_basis = 61;
    options.max_passes = 2000;
    for (options.seed = 1; options.seed <= 8; options.seed++) {
        CHECK(tws_svd(context, &options, a, 64, 64, 64, values, NULL, NULL, residuals, &result) == TWS_OK);
        CHECK(result.passes < 300);
    }
    free(a);
    for (i = 0; i < N; i++) spectrum[i] = i < 90 ? 1.0 : 0.5;
    a = constructed(N, N, N, spectrum, 0);
    for (i = 0; i < N; i++) a[i * N + i] = (tws_real)spectrum[i];
    options = tws_default_svd_options(100);
    options.max_basis = 180; /* blocks of 20, and 90 equal values */
    if (sizeof(tws_real) == sizeof(double)) { /* runs dry, and fresh directions show the copies */
        CHECK(tws_svd(context, &options, a, N, N, N, values, NULL, NULL, residuals, &result) == TWS_OK);
        for (i = 0; i < 100; i++) CHECK_NEAR(values[i], spectrum[i], 1e-6);
    } else {
        CHECK(tws_svd(context, &options, a, N, N, N, values, NULL, NULL, residuals, &result) == TWS_NOT_CONVERGED);
        CHECK(result.passes < 1000 && strstr(context->message, "repeat too often") != NULL);
    }
    free(a);
}

static void test_zero(tws_context *context) {
    static const tws_real a[35] = {0};
    const double zero[5] = {0, 0, 0, 0, 0};
    tws_svd_result result;
    double all[5];
    size_t k;
    check_case(context, a, 5, 7, 7, 5, zero, &result);
    check_case(context, a, 7, 5, 5, 5, zero, &result);
    CHECK(tws_singular_values(context, a, 5, 7, 7, all) == TWS_OK);
    for (k = 0; k < 5; k++) CHECK(all[k] == 0.0);
}

/* more exact copies than the block is wide, in a diagonal matrix: no rounding splits them */
static void test_diagonal(tws_context *context) {
    const size_t n = 400, top = 12;
    tws_real *a = (tws_real *)calloc(n * n, sizeof *a);
    double want[12];
    tws_svd_result result;
    size_t i, copies;
    if (a == NULL) exit(2);
    for (copies = 1; copies <= 11; copies++) {
        for (i = 0; i < n; i++)
            a[i * n + i] = (tws_real)(i < copies ? 4.0 : 2.0 - 1.75 * (double)i / (double)n);
        for (i = 0; i < top; i++) want[i] = (double)a[i * n + i];
        check_case(context, a, n, n, n, top, want, &result);
    }
    free(a);
}

static void test_restart(tws_context *context) {
    const size_t m = 150, n = 120, top = 4;
    tws_svd_options options = tws_default_svd_options(top);
    double s[120], got[4], residuals[4], *reference;
    tws_svd_result result;
    tws_real *a;
    size_t i;
    for (i = 0; i < n; i++) s[i] = 2.0 - 1.9 * pow((double)i / (double)n, 0.6);
    a = constructed(m, n, n, s, n);
    reference = jacobi(a, m, n, n);
    options.max_basis = top + 16;
    CHECK(tws_svd(context, &options, a, m, n, n, got, NULL, NULL, residuals, &result) == TWS_OK);
    CHECK(result.converged == top && result.products > options.max_basis);
    for (i = 0; i < top; i++) CHECK_NEAR(got[i], reference[i], 1e-6 * reference[0]);
    /* an honest failure: best estimates, fewer converged */
    options.max_passes = 5;
    CHECK(tws_svd(context, &options, a, m, n, n, got, NULL, NULL, residuals, &result) ==
          TWS_NOT_CONVERGED);
    CHECK(result.converged < top && result.wanted == top && result.passes <= 5 + 2);
    for (i = 0; i < top; i++)
        CHECK(got[i] > 1.0 && got[i] <= reference[i] * (1 + 1e-9) && residuals[i] <= 1.0);
    options.max_passes = 1;
    CHECK(tws_svd(context, &options, a, m, n, n, got, NULL, NULL, residuals, &result) ==
          TWS_NOT_CONVERGED);
    CHECK(result.converged == 0);
    free(a);
    free(reference);
}

/* max_passes bounds the passes of the space, also where repeated values widen its blocks; measuring adds
   two for every 8 values, of an operator for every 2. What has not converged by then has residuals as
   they are, not bounds. */
static void test_max_passes(tws_context *context) {
    enum { M = 150, N = 120, TOP = 12 };
    tws_svd_options options = tws_default_svd_options(TOP);
    double s[TOP], *u = numbers(TOP * M), *v = numbers(TOP * N), r[TOP], spectrum[N];
    size_t i, kind, given, failures = 0;
    for (kind = 0; kind < 4; kind++) {
        tws_svd_result result;
        tws_real *a;
        matrix_operator o;
        for (i = 0; i < N; i++) {
            spectrum[i] = kind == 2 ? 1.0 : pow(0.97, (double)i);
            if (kind == 1 && i < 40) spectrum[i] = 1.0;
        }
        if (kind == 3) options.tolerance = 1e-9; /* out of reach of single precision */
        a = constructed(M, N, N, spectrum, N);
        memset(&o, 0, sizeof o);
        o.a = a;
        o.m = M;
        o.n = o.ld = N;
        for (given = 1; given < 40; given += given < 12 ? 1 : 5) {
            tws_status status;
            options.max_passes = given;
            status = tws_svd(context, &options, a, M, N, N, s, u, v, r, &result);
            CHECK(status == TWS_OK || status == TWS_NOT_CONVERGED);
            CHECK(result.passes <= given + 2 * 2);
            failures += status != TWS_OK;
            for (i = 0; i < TOP && status != TWS_OK; i++)
                CHECK_NEAR(r[i] * s[0], residual(a, M, N, N, s + i, u + i * M, v + i * N, 1),
                           1e-12);
            status = tws_svd_operator(context, &options, apply_matrix, &o, M, N, s, u, v, r,
                                      &result);
            CHECK(status == TWS_OK || status == TWS_NOT_CONVERGED);
            CHECK(result.passes <= given + 2 * TOP / 2);
        }
        free(a);
    }
    CHECK(failures >= 8);
    free(u);
    free(v);
}

/* noise with bulk edge 2 and four outliers */
static tws_real *spiked(size_t n) {
    const double strength[4] = {6.0, 4.0, 3.0, 2.2};
    tws_real *w = (tws_real *)malloc(n * n * sizeof *w);
    double *u = numbers(n), *v = numbers(n);
    size_t i, j, k;
    if (w == NULL) exit(2);
    for (i = 0; i < n * n; i++) w[i] = (tws_real)(test_uniform() * sqrt(3.0 / (double)n));
    for (k = 0; k < 4; k++) {
        for (i = 0; i < n; i++) u[i] = test_uniform() * sqrt(3.0 / (double)n);
        for (i = 0; i < n; i++) v[i] = test_uniform() * sqrt(3.0 / (double)n);
        for (i = 0; i < n; i++)
            for (j = 0; j < n; j++) w[i * n + j] += (tws_real)(strength[k] * u[i] * v[j]);
    }
    free(u);
    free(v);
    return w;
}

static void test_spiked(tws_context *context) {
    const size_t n = 2048, top = 10;
    tws_real *a = spiked(n);
    tws_svd_options options = tws_default_svd_options(top);
    double s[10], fine[10], few[10], residuals[10];
    double *u = numbers(n * top), *v = numbers(n * top);
    tws_svd_result result, outliers;
    size_t k;
    options.tolerance = 1e-11;
    CHECK(tws_svd(context, &options, a, n, n, n, fine, NULL, NULL, NULL, &result) == TWS_OK);
    options.tolerance = 1e-5;
    CHECK(tws_svd(context, &options, a, n, n, n, s, u, v, residuals, &result) == TWS_OK);
    CHECK(result.converged == top && result.passes <= 140);
    for (k = 0; k < top; k++) {
        CHECK_NEAR(s[k], fine[k], 1e-6 * fine[0]);
        CHECK(residuals[k] <= 1e-5);
    }
    CHECK(residual(a, n, n, n, s, u, v, top) <= 1.01e-5 * s[0]);
    CHECK(off_orthonormal(u, top, n) <= 1e-10 && off_orthonormal(v, top, n) <= 1e-10);
    options.stop_below = 2.1;
    CHECK(tws_svd(context, &options, a, n, n, n, few, u, v, residuals, &outliers) == TWS_OK);
    CHECK(outliers.wanted == 4 && outliers.converged == 4);
    CHECK(outliers.passes < result.passes / 2);
    for (k = 0; k < 4; k++) CHECK_NEAR(few[k], fine[k], 1e-6 * fine[0]);
    CHECK(few[4] < 2.1 && residuals[3] <= 1e-5);
    options.stop_below = 100.0; /* nothing is above */
    CHECK(tws_svd(context, &options, a, n, n, n, few, NULL, NULL, NULL, &outliers) == TWS_OK);
    CHECK(outliers.wanted == 0);
    free(a);
    free(u);
    free(v);
}

static void test_kernels_and_threads(void) {
    static const unsigned threads[4] = {1, 2, 3, 7};
    const size_t m = 1500, n = 1003, top = 5;
    tws_real *a = (tws_real *)malloc(m * n * sizeof *a);
    double *u = numbers(top * m), *v = numbers(top * n), *u1 = numbers(top * m);
    double *v1 = numbers(top * n), s[5], s1[5], first[5], *all = numbers(n), *all1 = numbers(n);
    size_t i;
    int kernel, t;
    if (a == NULL) exit(2);
    for (i = 0; i < m * n; i++)
        a[i] = (tws_real)(test_uniform() * (i % n < 6 ? 12.0 - (double)(i % n) : 1.0));
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        for (t = 0; t < 4; t++) {
            tws_context context = tws_default_context();
            tws_svd_options options = tws_default_svd_options(top);
            tws_svd_result result, exact;
            context.threads = threads[t];
            context.kernel = (tws_kernel)kernel;
            CHECK(tws_svd(&context, &options, a, m, n, n, s, u, v, NULL, &result) == TWS_OK);
            CHECK(tws_singular_values(&context, a, 200, 150, n, all) == TWS_OK);
            if (t == 0) {
                memcpy(s1, s, sizeof s);
                memcpy(u1, u, top * m * sizeof *u);
                memcpy(v1, v, top * n * sizeof *v);
                memcpy(all1, all, 150 * sizeof *all);
                /* products in tws_real are good enough: nothing is done again in double */
                options.tolerance = 0.9e-6;
                CHECK(tws_svd(&context, &options, a, m, n, n, s, u, v, NULL, &exact) == TWS_OK);
                CHECK(result.passes <= exact.passes);
                memcpy(s, s1, sizeof s);
                memcpy(u, u1, top * m * sizeof *u);
                memcpy(v, v1, top * n * sizeof *v);
            }
            CHECK(memcmp(s1, s, sizeof s) == 0);
            CHECK(memcmp(u1, u, top * m * sizeof *u) == 0);
            CHECK(memcmp(v1, v, top * n * sizeof *v) == 0);
            CHECK(memcmp(all1, all, 150 * sizeof *all) == 0);
        }
        if (kernel == 1) memcpy(first, s, sizeof s);
        for (i = 0; i < top; i++) CHECK_NEAR(s[i], first[i], 1e-9 * first[0]);
    }
    free(a);
    free(u);
    free(v);
    free(u1);
    free(v1);
    free(all);
    free(all1);
}

/* Two matrices with 17 parts, so that 16 workers have one each, and a smaller one for all values. */
enum { TALL = 2050, NARROW = 131, DENSE = 800, SIDE = 164 };

typedef struct solved {
    double values[3], left[3 * TALL], right[3 * NARROW], all[SIDE];
    double pencil[2 * 3], pencil_left[2 * 3 * TALL], pencil_right[2 * 3 * NARROW];
} solved;

/* Where the workers are those of spread.h, each of them has a piece of each pass. */
static void solve_all(tws_context *context, spread *s, const tws_real *a, const tws_real *b, solved *out) {
    const double factors[2] = {0.25, 1};
    const size_t passes = 5, parts = sizeof(tws_real) == sizeof(float) ? SPREAD_MOST : SIDE / 20;
    tws_svd_options options = tws_default_svd_options(3);
    tws_svd_result result[2];
    memset(out, 0, sizeof *out);
    CHECK(tws_svd(context, &options, a, TALL, NARROW, NARROW, out->values, out->left, out->right, NULL, result) == TWS_OK);
    CHECK(result->passes >= passes);
    if (s != NULL) {
        CHECK(s->full >= passes);
        s->full = 0;
    }
    CHECK(tws_svd_pencil(context, &options, a, NARROW, b, NARROW, TALL, NARROW, factors, 2, NULL, out->pencil,
                         out->pencil_left, out->pencil_right, NULL, result) == TWS_OK);
    CHECK(result[0].passes >= passes && result[1].passes >= passes);
    if (s != NULL) {
        CHECK(s->full >= passes);
        s->busy = 0;
    }
    CHECK(tws_singular_values(context, a, DENSE, SIDE, SIDE, out->all) == TWS_OK);
    if (s != NULL) CHECK(s->busy == twsi_min(s->threads, parts));
}

/* The same bits for 1 to 16 threads on each kernel. */
static void test_threads(void) {
    static solved first, now;
    tws_real *a = (tws_real *)malloc(TALL * NARROW * sizeof *a), *b = (tws_real *)malloc(TALL * NARROW * sizeof *b);
    size_t i;
    int kernel;
    if (a == NULL || b == NULL) exit(2);
    for (i = 0; i < TALL * NARROW; i++) {
        a[i] = (tws_real)(test_uniform() * (i % NARROW < 4 ? 12.0 - (double)(i % NARROW) : 1.0));
        b[i] = (tws_real)test_uniform();
    }
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        for (i = 0; i < SPREAD_COUNTS; i++) {
            tws_context context = tws_default_context();
            spread workers;
            context.kernel = (tws_kernel)kernel;
            context.threads = spread_counts[i];
            solve_all(&context, NULL, a, b, i == 0 ? &first : &now);
            CHECK(i == 0 || memcmp(&first, &now, sizeof now) == 0);
            if (i == 0) continue;
            spread_over(&context, &workers, spread_counts[i]);
            solve_all(&context, &workers, a, b, &now);
            CHECK(memcmp(&first, &now, sizeof now) == 0);
        }
    }
    free(a);
    free(b);
}

static void test_operator(void) {
    const size_t m = 80, n = 50, top = 6;
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(top);
    tws_svd_result result;
    double spectrum[50], s[6], t[6], r[6], *u = numbers(top * m), *v = numbers(top * n);
    matrix_operator o;
    tws_real *a;
    size_t k;
    long at;
    memset(&o, 0, sizeof o);
    fill_spectrum(spectrum, n, 0);
    a = constructed(m, n, n, spectrum, n);
    o.a = a;
    o.m = m;
    o.n = o.ld = n;
    CHECK(tws_svd(&context, &options, a, m, n, n, s, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(tws_svd_operator(&context, &options, apply_matrix, &o, m, n, t, u, v, r, &result) ==
          TWS_OK);
    for (k = 0; k < top; k++) CHECK_NEAR(t[k], s[k], 1e-9 * s[0]);
    CHECK(residual(a, m, n, n, t, u, v, top) <= 1.01e-6 * t[0]);
    for (at = 1; at <= 9; at++) {
        o.calls = 0;
        o.fail_at = at;
        CHECK((at == 1 ? TWS_OK : TWS_CALLBACK_FAILED) ==
              tws_svd_operator(&context, &options, apply_matrix, &o, m, n, t, u, v, r, &result));
        o.calls = 0;
        o.fail_at = 0;
        o.poison_at = at;
        CHECK((at == 1 ? TWS_OK : TWS_NOT_FINITE) ==
              tws_svd_operator(&context, &options, apply_matrix, &o, m, n, t, u, v, r, &result));
        CHECK(at == 1 || strstr(context.message, "apply") != NULL);
        o.poison_at = 0;
    }
    free(a);
    free(u);
    free(v);
}

static void test_not_finite(void) {
    const double bad[3] = {NAN, INFINITY, -INFINITY};
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(3);
    tws_real a[30 * 20];
    double s[20];
    size_t i, k;
    for (k = 0; k < 3; k++)
        for (i = 0; i < 600; i += 37) {
            size_t j;
            for (j = 0; j < 600; j++) a[j] = (tws_real)test_uniform();
            a[i] = (tws_real)bad[k];
            context.message[0] = '\0';
            CHECK(tws_svd(&context, &options, a, 30, 20, 20, s, NULL, NULL, NULL, NULL) ==
                  TWS_NOT_FINITE);
            CHECK(strstr(context.message, "matrix") != NULL);
            context.message[0] = '\0';
            CHECK(tws_singular_values(&context, a, 30, 20, 20, s) == TWS_NOT_FINITE);
            CHECK(strstr(context.message, "matrix") != NULL);
        }
}

static void test_extreme_scale(void) {
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(4);
    const int exponents[6] = {120, 60, -100, sizeof(tws_real) == 8 ? 1000 : 90,
                              sizeof(tws_real) == 8 ? -1000 : -90, 0};
    double spectrum[20], s[4], all[20];
    tws_svd_result result;
    tws_real *a, *b = (tws_real *)malloc(30 * 20 * sizeof *b);
    size_t i, k;
    if (b == NULL) exit(2);
    fill_spectrum(spectrum, 20, 0);
    a = constructed(30, 20, 20, spectrum, 20);
    for (k = 0; k < 6; k++) {
        const double unit = ldexp(1.0, exponents[k]);
        for (i = 0; i < 600; i++) b[i] = (tws_real)ldexp((double)a[i], exponents[k]);
        CHECK(tws_svd(&context, &options, b, 30, 20, 20, s, NULL, NULL, NULL, NULL) == TWS_OK);
        for (i = 0; i < 4; i++) CHECK_NEAR(s[i] / unit, spectrum[i], 1e-6);
        options.stop_below = 0.5 * unit * (spectrum[1] + spectrum[2]); /* squares of 2^-90 vanish in float */
        CHECK(tws_svd(&context, &options, b, 30, 20, 20, s, NULL, NULL, NULL, &result) == TWS_OK);
        CHECK(result.wanted == 2 && result.converged == 2);
        options.stop_below = 0.0;
        for (i = 0; i < 2; i++) CHECK_NEAR(s[i] / unit, spectrum[i], 1e-6);
        CHECK(tws_singular_values(&context, b, 30, 20, 20, all) == TWS_OK);
        for (i = 0; i < 20; i++) CHECK_NEAR(all[i] / unit, spectrum[i], 1e-6);
    }
    free(a);
    free(b);
}

/* A zero value that rounding lifts above a level, but that is measured below, is not wanted. */
static void test_lifted(void) {
    enum { M = 21, N = 19, TOP = 6 };
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(TOP);
    double s[TOP], u[TOP * M], v[TOP * N], residuals[TOP];
    tws_svd_result result;
    tws_real a[M * N];
    uint64_t seed;
    size_t i;
    int kernel;
    for (i = 0; i < M * N; i++) a[i] = (tws_real)-128;
    options.stop_below = 0.25;
    for (kernel = 0; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        context.kernel = (tws_kernel)kernel;
        if (!tws_kernel_available(context.kernel)) continue;
        for (seed = 0; seed < 20; seed++) {
            options.seed = seed;
            CHECK(tws_svd(&context, &options, a, M, N, N, s, u, v, residuals, &result) == TWS_OK);
            CHECK(result.wanted == 1 && result.converged == 1 && residuals[0] <= 1e-6);
            CHECK_NEAR(s[0], 128 * sqrt((double)(M * N)), 1e-6 * s[0]);
            for (i = 1; i < TOP; i++)
                CHECK(residuals[i] == 1 && s[i] <= s[i - 1] && dot(u + i * M, u + i * M, M) == 0 && dot(v + i * N, v + i * N, N) == 0);
        }
    }
}

/* Values whose squares are lost in products of tws_real, but not the values, are above a low level:
   116 + 1/116 and 1/116, about, twice each. */
static void test_lost_in_squares(void) {
    enum { M = 14, N = 4 };
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(N);
    const double large = sqrt(13458.0 / 2 + sqrt(13458.0 * 13458.0 / 4 - 1)); /* squares: sum 116^2 + 2, product 1 */
    double s[N];
    tws_svd_result result;
    tws_real a[M * N] = {0};
    int kernel;
    a[2] = 116, a[3] = 1, a[6] = 1;
    a[12 * N + 1] = -1, a[13 * N] = -1, a[13 * N + 1] = -116;
    for (kernel = 0; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        context.kernel = (tws_kernel)kernel;
        if (!tws_kernel_available(context.kernel)) continue;
        for (options.seed = 0; options.seed < 20; options.seed++) {
            for (options.stop_below = 1e-9; options.stop_below < 0.008; options.stop_below *= 10) {
                CHECK(tws_svd(&context, &options, a, M, N, N, s, NULL, NULL, NULL, &result) == TWS_OK);
                CHECK(result.wanted == 4 && result.converged == 4);
                CHECK_NEAR(s[1], large, 1e-8 * large);
                CHECK_NEAR(s[2], 1 / large, 1e-8 * large);
                CHECK_NEAR(s[3], 1 / large, 1e-8 * large);
            }
            options.stop_below = 0.01;
            CHECK(tws_svd(&context, &options, a, M, N, N, s, NULL, NULL, NULL, &result) == TWS_OK);
            CHECK(result.wanted == 2 && result.converged == 2);
        }
    }
}

/* How many values lie above a low level, when others crowd about it and rounding may lift noise. */
static void test_low_levels(void) {
#ifdef TEST_QUICK
    enum { PROBLEMS = 400, MOST = 16 };
#else
    enum { PROBLEMS = 5000, MOST = 16 };
#endif
    long wrong = 0;
    size_t problem, i;
    for (problem = 0; problem < PROBLEMS; problem++) {
        tws_context context = tws_default_context();
        tws_svd_options options;
        tws_svd_result result;
        const size_t rows = 20 + (size_t)(200 * (0.5 + test_uniform() / 2)), columns = 20 + (size_t)(40 * (0.5 + test_uniform() / 2));
        const size_t rank = 2 + (size_t)((MOST - 2) * (0.5 + test_uniform() / 2));
        const double level = pow(10.0, -4.0 + test_uniform());
        double spectrum[MOST], *all = numbers(rows), s[MOST];
        size_t least = 0, most = 0;
        tws_real *a;
        spectrum[0] = 1;
        for (i = 1; i < rank; i++) /* test_uniform is from -1 to 1 */
            spectrum[i] = level * (test_uniform() < 0 ? 1.001 + 1.5 * (1 + test_uniform()) : 0.45 * (1 + test_uniform()));
        a = constructed(rows, columns, columns, spectrum, rank);
        CHECK(tws_singular_values(&context, a, rows, columns, columns, all) == TWS_OK);
        options = tws_default_svd_options(2 + problem % 4);
        options.stop_below = level;
        options.seed = problem;
        CHECK(tws_svd(&context, &options, a, rows, columns, columns, s, NULL, NULL, NULL, &result) == TWS_OK);
        for (i = 0; i < options.top && i < rows && i < columns; i++) {
            least += all[i] > level + 1.2e-5 * all[0];
            most += all[i] > level - 1e-7 * all[0];
        }
        wrong += result.wanted < least || result.wanted > most;
        free(a);
        free(all);
    }
    CHECK_NEAR((double)wrong, 0, 0);
}

/* Workers of the caller's may have any slot below context.threads, however few pieces there are. */
static void last_slot(void *user, size_t count, tws_task task, void *data) {
    size_t i;
    for (i = 0; i < count; i++) task(data, i, *(unsigned *)user - 1);
}

static void test_last_slot(void) {
    enum { M = 400, N = 150, TOP = 3 };
    static tws_real a[M * N], b[M * N];
    static double s[2][2 * TOP], all[2][N];
    static unsigned threads = 64;
    const double factors[2] = {0.0, 0.5};
    tws_svd_options options = tws_default_svd_options(TOP);
    size_t i;
    for (i = 0; i < M * N; i++) a[i] = (tws_real)test_uniform(), b[i] = (tws_real)test_uniform();
    for (i = 0; i < 2; i++) {
        tws_context context = tws_default_context();
        context.threads = i == 0 ? 1 : threads;
        if (i == 1) context.parallel_for = last_slot;
        context.parallel_user = &threads;
        CHECK(tws_svd_pencil(&context, &options, a, N, b, N, M, N, factors, 2, NULL, s[i], NULL, NULL, NULL, NULL) == TWS_OK);
        CHECK(tws_singular_values(&context, a, M, N, N, all[i]) == TWS_OK);
    }
    CHECK(memcmp(s[0], s[1], sizeof s[0]) == 0 && memcmp(all[0], all[1], sizeof all[0]) == 0);
}

/* Workers of the caller's that are not to be called for from within a task; the last piece first. */
typedef struct strict_workers {
    size_t calls;
    int inside;
} strict_workers;

static void run_backwards(void *user, size_t count, tws_task task, void *data) {
    strict_workers *workers = (strict_workers *)user;
    CHECK(!workers->inside);
    workers->inside = 1;
    workers->calls++;
    while (count-- > 0) task(data, count, count % 2);
    workers->inside = 0;
}

/* A basis of so many vectors of so many columns that several workers clean a vector of it: the same
   bits for any number of them, whether the problem is alone or among others, and V V^T = 1. */
static void test_long_basis(void) {
    enum { M = 300, N = 2048, TOP = 20 };
    tws_real *a = (tws_real *)malloc(M * N * sizeof *a), *zero = (tws_real *)calloc(M * N, sizeof *zero);
    const size_t size = TOP * (1 + M + N);
    double *first = numbers(size), *now = numbers(size), *both = numbers(2 * size);
    const double factors[2] = {0.0, 1.0}, *right = first + TOP * (1 + M);
    tws_svd_options options = tws_default_svd_options(TOP);
    strict_workers workers = {0, 0};
    size_t i, j, k, calls = 0;
    if (a == NULL || zero == NULL) exit(2);
    options.max_passes = 200; /* 95 to 97 are enough */
    for (i = 0; i < M * N; i++) a[i] = (tws_real)test_uniform();
    for (i = 0; i < 4; i++) {
        static const unsigned threads[4] = {1, 2, 7, 2};
        double *out = i == 0 ? first : now;
        tws_context context = tws_default_context();
        tws_svd_result result[2];
        context.threads = threads[i];
        if (i == 3) context.parallel_for = run_backwards, context.parallel_user = &workers;
        CHECK(tws_svd(&context, &options, a, M, N, N, out, out + TOP, out + TOP * (1 + M), NULL, result) == TWS_OK);
        CHECK(result->passes * 2 * N >= 4 * TWSI_SVD_PIECE); /* pieces most of the time */
        CHECK(memcmp(first, out, size * sizeof *out) == 0);
        if (i == 3) calls = workers.calls / result->passes;
        CHECK(tws_svd_pencil(&context, &options, a, N, zero, N, M, N, factors, 2, NULL, both, both + 2 * TOP,
                             both + 2 * TOP * (1 + M), NULL, result) == TWS_OK);
        for (j = 0; j < 2; j++) {
            CHECK(memcmp(both + j * TOP, first, TOP * sizeof *both) == 0);
            CHECK(memcmp(both + 2 * TOP * (1 + M) + j * TOP * N, right, TOP * N * sizeof *both) == 0);
        }
    }
    CHECK(calls == 3); /* two for a product, and two for cleaning as soon as there are pieces */
    for (j = 0; j < TOP; j++)
        for (k = 0; k <= j; k++) {
            double dot = 0.0;
            for (i = 0; i < N; i++) dot += right[j * N + i] * right[k * N + i];
            CHECK_NEAR(dot, j == k, 1e-12);
        }
    free(a);
    free(zero);
    free(first);
    free(now);
    free(both);
}

/* The shared case alone: a reduction that doubles stands for two processes with equal blocks. */
static int reduce_double(void *user, double *values, size_t count) {
    long *calls = (long *)user;
    size_t i;
    if (--*calls == 0) return 5;
    for (i = 0; i < count; i++) values[i] *= 2.0;
    return 0;
}

static void test_reduce_twins(void) {
    const size_t m = 25, n = 40, top = 6;
    tws_context context = tws_default_context(), plain = tws_default_context();
    tws_svd_options options = tws_default_svd_options(top);
    double spectrum[25], s[6], t[6], r[6], *u = numbers(top * m), *v = numbers(top * n);
    tws_real *a;
    size_t i, j;
    long calls = -1, needed;
    fill_spectrum(spectrum, m, 2);
    a = constructed(m, n, n, spectrum, m);
    context.reduce = reduce_double;
    context.reduce_user = &calls;
    CHECK(tws_svd(&plain, &options, a, m, n, n, s, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(tws_svd(&context, &options, a, m, n, n, t, u, v, r, NULL) == TWS_OK);
    for (i = 0; i < top; i++) CHECK_NEAR(t[i], sqrt(2.0) * s[i], 1e-6 * t[0]);
    for (i = 0; i < top; i++)
        for (j = 0; j <= i; j++)
            CHECK_NEAR(2.0 * dot(u + i * m, u + j * m, m), i == j ? 1.0 : 0.0, 1e-10);
    needed = -1 - calls;
    for (i = 1; i <= (size_t)needed; i++) {
        calls = (long)i;
        CHECK(tws_svd(&context, &options, a, m, n, n, t, u, v, r, NULL) == TWS_CALLBACK_FAILED);
    }
    free(a);
    free(u);
    free(v);
}

#if defined(TWSI_PTHREADS)
/* Two threads in the place of two processes, with unequal blocks. */
typedef struct meeting {
    pthread_mutex_t mutex;
    pthread_cond_t both;
    int waiting;
    long round;
    double sum[2][4096]; /* by round: the slower thread may still be reading the last one */
} meeting;

typedef struct half {
    meeting *meet;
    const tws_real *a;
    size_t m, n, top;
    double *s, *u, *v;
    tws_status status;
} half;

static int reduce_pair(void *user, double *values, size_t count) {
    meeting *meet = (meeting *)user;
    double *sum;
    size_t i;
    long round;
    if (count > 4096) return 1;
    pthread_mutex_lock(&meet->mutex);
    round = meet->round;
    sum = meet->sum[round % 2];
    if (meet->waiting++ == 0) {
        memcpy(sum, values, count * sizeof *values);
        while (meet->round == round) pthread_cond_wait(&meet->both, &meet->mutex);
    } else {
        for (i = 0; i < count; i++) sum[i] += values[i];
        meet->waiting = 0;
        meet->round++;
        pthread_cond_broadcast(&meet->both);
    }
    memcpy(values, sum, count * sizeof *values);
    pthread_mutex_unlock(&meet->mutex);
    return 0;
}

static void *solve_half(void *data) {
    half *h = (half *)data;
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(h->top);
    context.threads = 1;
    context.reduce = reduce_pair;
    context.reduce_user = h->meet;
    h->status = tws_svd(&context, &options, h->a, h->m, h->n, h->n, h->s, h->u, h->v, NULL, NULL);
    return NULL;
}

static void test_reduce_pair(size_t m, size_t cut, int kind) {
    const size_t n = 60, top = 8;
    double spectrum[60], *reference, *u = numbers(top * m);
    double s[2][8], *left[2], *right[2];
    tws_real *a;
    meeting meet;
    half part[2];
    pthread_t other;
    size_t i, k;
    memset(&meet, 0, sizeof meet);
    pthread_mutex_init(&meet.mutex, NULL);
    pthread_cond_init(&meet.both, NULL);
    fill_spectrum(spectrum, m < n ? m : n, kind < 0 ? 0 : kind);
    a = constructed(m, n, n, spectrum, m < n ? m : n);
    if (kind < 0) low_rank(a, m, n, (size_t)-kind);
    reference = jacobi(a, m, n, n);
    for (i = 0; i < 2; i++) {
        part[i].meet = &meet;
        part[i].a = i == 0 ? a : a + cut * n;
        part[i].m = i == 0 ? cut : m - cut;
        part[i].n = n;
        part[i].top = top;
        part[i].s = s[i];
        part[i].u = left[i] = numbers(top * part[i].m);
        part[i].v = right[i] = numbers(top * n);
    }
    if (pthread_create(&other, NULL, solve_half, &part[1]) != 0) exit(2);
    solve_half(&part[0]);
    pthread_join(other, NULL);
    CHECK(part[0].status == TWS_OK && part[1].status == TWS_OK);
    CHECK(memcmp(s[0], s[1], sizeof s[0]) == 0);
    CHECK(memcmp(right[0], right[1], top * n * sizeof(double)) == 0);
    for (k = 0; k < top; k++) {
        CHECK_NEAR(s[0][k], reference[k], 1e-6 * reference[0]);
        memcpy(u + k * m, left[0] + k * cut, cut * sizeof *u);
        memcpy(u + k * m + cut, left[1] + k * (m - cut), (m - cut) * sizeof *u);
    }
    CHECK(off_orthonormal(u, top, m) <= 1e-10);
    CHECK(residual(a, m, n, n, s[0], u, right[0], top) <= 1.01e-6 * s[0][0]);
    for (i = 0; i < 2; i++) {
        free(left[i]);
        free(right[i]);
    }
    free(a);
    free(u);
    free(reference);
    pthread_mutex_destroy(&meet.mutex);
    pthread_cond_destroy(&meet.both);
}
#endif

static void test_arguments(void) {
    int unknown = 77;
    tws_context context = tws_default_context();
    tws_svd_options good = tws_default_svd_options(3), bad;
    tws_svd_result result;
    tws_real a[50];
    double s[10], x[1];
    matrix_operator o;
    size_t i;
    for (i = 0; i < 50; i++) a[i] = (tws_real)test_uniform();
    memset(&o, 0, sizeof o);
#define REFUSED(call, word)                                \
    do {                                                   \
        context.message[0] = '\0';                         \
        CHECK((call) == TWS_BAD_ARGUMENT);                 \
        CHECK(strstr(context.message, word) != NULL);      \
    } while (0)
#define SOLVE(options, matrix, m, n, ld, values) \
    tws_svd(&context, options, matrix, m, n, ld, values, NULL, NULL, NULL, &result)
    CHECK(SOLVE(&good, a, 5, 10, 10, s) == TWS_OK);
    REFUSED(SOLVE(&good, NULL, 5, 10, 10, s), "matrix");
    REFUSED(SOLVE(&good, a, 5, 10, 10, NULL), "values");
    REFUSED(SOLVE(&good, a, 0, 10, 10, s), "rows");
    REFUSED(SOLVE(&good, a, 5, 0, 10, s), "columns");
    REFUSED(SOLVE(&good, a, 5, 10, 9, s), "ld");
    REFUSED(SOLVE(&good, a, 2, 10, 10, s), "top");
    REFUSED(SOLVE(&good, a, 10, 2, 5, s), "top");
#define OPTION(field, value, word)                 \
    do {                                           \
        bad = good;                                \
        bad.field = value;                         \
        REFUSED(SOLVE(&bad, a, 5, 10, 10, s), word); \
    } while (0)
    OPTION(top, 0, "top");
    OPTION(top, 6, "top");
    OPTION(tolerance, 0.0, "tolerance");
    OPTION(tolerance, 1.0, "tolerance");
    OPTION(tolerance, NAN, "tolerance");
    OPTION(max_passes, 0, "max_passes");
    OPTION(max_basis, 4, "max_basis");
    OPTION(stop_below, -1.0, "stop_below");
    OPTION(stop_below, NAN, "stop_below");
    OPTION(stop_below, INFINITY, "stop_below");
    REFUSED(tws_svd_operator(&context, &good, NULL, NULL, 5, 10, s, NULL, NULL, NULL, NULL),
            "apply");
    REFUSED(tws_singular_values(&context, NULL, 5, 10, 10, s), "matrix");
    REFUSED(tws_singular_values(&context, a, 5, 10, 10, NULL), "values");
    REFUSED(tws_singular_values(&context, a, 0, 10, 10, s), "0 x 10");
    REFUSED(tws_singular_values(&context, a, 5, 10, 9, s), "ld");
    REFUSED(tws_singular_values(&context, a, 5000, 5000, 5000, s), "4096");
    CHECK(tws_singular_values(&context, a, SIZE_MAX / 4, 10, 10, s) == TWS_TOO_LARGE);
    CHECK(SOLVE(&good, a, SIZE_MAX / 4, 10, 10, s) == TWS_TOO_LARGE);
    CHECK(tws_svd(NULL, &good, a, 5, 10, 10, s, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(tws_svd(NULL, NULL, a, 5, 10, 10, s, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(tws_singular_values(NULL, a, 1, 1, 1, x) == TWS_OK);
    CHECK_NEAR(x[0], fabs((double)a[0]), 1e-14);
    context.kernel = (tws_kernel)unknown;
    CHECK(SOLVE(&good, a, 5, 10, 10, s) == TWS_UNAVAILABLE);
}

typedef struct counter {
    long taken, live, fail_at;
} counter;

static void *counted_allocate(void *user, size_t bytes) {
    counter *c = (counter *)user;
    if (++c->taken == c->fail_at) return NULL;
    c->live++;
    return malloc(bytes);
}

static void counted_release(void *user, void *pointer) {
    ((counter *)user)->live--;
    free(pointer);
}

static void test_memory(void) {
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(3);
    static tws_real a[150 * 130];
    static double s[130];
    counter c;
    long total, i;
    int which;
    for (i = 0; i < 150 * 130; i++) a[i] = (tws_real)test_uniform();
    context.allocator.allocate = counted_allocate;
    context.allocator.release = counted_release;
    context.allocator.user = &c;
    for (which = 0; which < 3; which++) {
        for (i = 0, total = 0; i <= total; i++) {
            tws_status status;
            memset(&c, 0, sizeof c);
            c.fail_at = i;
            status = which == 0
                         ? tws_svd(&context, &options, a, 20, 12, 12, s, NULL, NULL, NULL, NULL)
                     : which == 1 ? tws_singular_values(&context, a, 20, 12, 12, s)
                                  : tws_singular_values(&context, a, 150, 130, 130, s);
            CHECK(status == (i == 0 ? TWS_OK : TWS_OUT_OF_MEMORY));
            CHECK(c.live == 0);
            if (i == 0) total = c.taken;
        }
        CHECK(total > 5);
    }
}

static void test_all_values(tws_context *context) {
    static const size_t shape[][2] = {{1, 1},   {1, 9},    {9, 1},   {2, 2},
                                      {70, 70}, {65, 100}, {130, 33}, {150, 128}, {129, 200}};
    double s[130];
    size_t i, k;
    int kind;
    for (i = 0; i < sizeof shape / sizeof *shape; i++)
        for (kind = 0; kind < 8; kind++) {
            const size_t m = shape[i][0], n = shape[i][1], least = m < n ? m : n, ld = n + 2;
            double *reference, *got;
            tws_real *a;
            if (kind == 1 && least < 2) continue;
            fill_spectrum(s, least, kind);
            a = constructed(m, n, ld, s, least);
            reference = jacobi(a, m, n, ld);
            got = numbers(least);
            CHECK(tws_singular_values(context, a, m, n, ld, got) == TWS_OK);
            for (k = 0; k < least; k++) {
                /* from 128 on with float entries by way of squares */
                const int squared = least >= 128 && sizeof(tws_real) == sizeof(float);
                const double small = fmax(reference[k] / fmax(reference[0], 1e-300), 3e-7);
                CHECK_NEAR(got[k], reference[k], (squared ? 4e-14 / small : 1e-12) * reference[0]);
                CHECK(k == 0 || got[k] <= got[k - 1]);
            }
            free(a);
            free(reference);
            free(got);
        }
}

/* Several matrices A + factor B in one call against each of them formed and solved alone. */
typedef struct pencil {
    size_t m, n, lda, ldb, count, top;
    tws_real *a, *b;
    double *values, *left, *right, *residuals;
    tws_svd_result result[8];
} pencil;

static const double pencil_factors[8] = {0.0, 0.25, 0.5, 1.0, 1.5, 2.0, -1.0, 1e-3};

/* A: noise with bulk edge 2; B: three spikes and less noise */
static void pencil_open(pencil *p, size_t m, size_t n, size_t top) {
    double spike[3] = {4.0, 3.0, 2.5};
    size_t i;
    p->m = m;
    p->n = n;
    p->lda = n + 5;
    p->ldb = n + 2;
    p->count = 8;
    p->top = top;
    p->a = (tws_real *)malloc(m * p->lda * sizeof *p->a);
    if (p->a == NULL) exit(2);
    for (i = 0; i < m * p->lda; i++)
        p->a[i] = (tws_real)(i % p->lda < n ? test_uniform() * sqrt(3.0 / (double)n) : (double)NAN);
    p->b = constructed(m, n, p->ldb, spike, 3);
    for (i = 0; i < m * p->ldb; i++)
        p->b[i] += (tws_real)(0.2 * test_uniform() * sqrt(3.0 / (double)n));
    p->values = numbers(8 * top);
    p->residuals = numbers(8 * top);
    p->left = numbers(8 * top * m);
    p->right = numbers(8 * top * n);
}

static void pencil_close(pencil *p) {
    free(p->a);
    free(p->b);
    free(p->values);
    free(p->residuals);
    free(p->left);
    free(p->right);
}

static tws_status pencil_solve(tws_context *context, const tws_svd_options *options, pencil *p,
                               size_t first, size_t count, const double *below) {
    return tws_svd_pencil(context, options, p->a, p->lda, p->b, p->ldb, p->m, p->n,
                          pencil_factors + first, count, below, p->values, p->left, p->right,
                          p->residuals, p->result);
}

static tws_real *pencil_sum(const pencil *p, size_t j) {
    tws_real *w = (tws_real *)malloc(p->m * p->n * sizeof *w);
    size_t i, k;
    if (w == NULL) exit(2);
    for (i = 0; i < p->m; i++)
        for (k = 0; k < p->n; k++)
            w[i * p->n + k] = p->a[i * p->lda + k] +
                              (tws_real)pencil_factors[j] * p->b[i * p->ldb + k];
    return w;
}

static void test_pencil(tws_context *context, size_t m, size_t n, size_t top, int levels) {
    tws_svd_options options = tws_default_svd_options(top);
    double below[8], *s = numbers(top);
    pencil p;
    size_t j, k;
    pencil_open(&p, m, n, top);
    for (j = 0; j < 8; j++) /* every second matrix wants all of top */
        below[j] = j % 2 == 0 ? 1.08 * (1.0 + sqrt((double)m / (double)n)) : 0.0;
    CHECK(pencil_solve(context, &options, &p, 0, 8, levels ? below : NULL) == TWS_OK);
    for (j = 0; j < 8; j++) {
        tws_real *w = pencil_sum(&p, j);
        const double *got = p.values + j * top, *u = p.left + j * top * m;
        const double *v = p.right + j * top * n;
        const size_t wanted = p.result[j].wanted;
        tws_svd_result alone;
        options.stop_below = levels ? below[j] : 0.0;
        CHECK(tws_svd(context, &options, w, m, n, n, s, NULL, NULL, NULL, &alone) == TWS_OK);
        CHECK(wanted == alone.wanted && p.result[j].converged >= wanted);
        CHECK(levels && j % 2 == 0 ? wanted < top : wanted == top);
        CHECK(p.result[j].passes > 0 && p.result[j].products > 0);
        for (k = 0; k < wanted; k++) {
            CHECK_NEAR(got[k], s[k], 1e-6 * s[0]);
            CHECK(p.residuals[j * top + k] <= 1e-6);
        }
        CHECK(residual(w, m, n, n, got, u, v, wanted) <= 1.05e-6 * s[0]);
        CHECK(off_orthonormal(u, wanted, m) <= 1e-10 && off_orthonormal(v, wanted, n) <= 1e-10);
        free(w);
    }
    pencil_close(&p);
    free(s);
}

/* The same bits for any number of threads and whatever the other factors are. */
static void test_pencil_identity(void) {
    const size_t m = 700, n = 1100, top = 3;
    tws_svd_options options = tws_default_svd_options(top);
    pencil p, q;
    unsigned threads;
    size_t k;
    pencil_open(&p, m, n, top);
    q = p;
    q.values = numbers(8 * top);
    q.left = numbers(8 * top * m);
    q.right = numbers(8 * top * n);
    for (threads = 1; threads <= 5; threads++) {
        tws_context context = tws_default_context();
        context.threads = threads;
        CHECK(pencil_solve(&context, &options, threads == 1 ? &p : &q, 0, 8, NULL) == TWS_OK);
        if (threads == 1) continue;
        CHECK(memcmp(p.values, q.values, 8 * top * sizeof(double)) == 0);
        CHECK(memcmp(p.left, q.left, 8 * top * m * sizeof(double)) == 0);
        CHECK(memcmp(p.right, q.right, 8 * top * n * sizeof(double)) == 0);
    }
    CHECK(pencil_solve(NULL, &options, &q, 3, 2, NULL) == TWS_OK);
    for (k = 0; k < 2 * top; k++) CHECK(q.values[k] == p.values[3 * top + k]);
    CHECK(memcmp(p.right + 3 * top * n, q.right, 2 * top * n * sizeof(double)) == 0);
    free(q.values);
    free(q.left);
    free(q.right);
    pencil_close(&p);
}

static void test_pencil_failures(void) {
    tws_context context = tws_default_context();
    tws_svd_options options = tws_default_svd_options(2);
    double below[8] = {3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0}, factor = 1.0, keep;
    tws_real bad;
    pencil p;
    size_t j;
    pencil_open(&p, 150, 130, 2);
#define PENCIL_REFUSED(call, word)                    \
    do {                                              \
        context.message[0] = '\0';                    \
        CHECK((call) == TWS_BAD_ARGUMENT);            \
        CHECK(strstr(context.message, word) != NULL); \
    } while (0)
#define PENCIL(o, a, lda, b, ldb, m, n, f, count, below, values)                                  \
    tws_svd_pencil(&context, o, a, lda, b, ldb, m, n, f, count, below, values, NULL, NULL, NULL, \
                   NULL)
    CHECK(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 130, &factor, 1, NULL, p.values) == TWS_OK);
    CHECK(tws_svd_pencil(NULL, NULL, p.a, p.lda, p.b, p.ldb, 9, 2, &factor, 1, NULL, p.values, NULL,
                         NULL, NULL, NULL) == TWS_OK);
    PENCIL_REFUSED(PENCIL(&options, NULL, p.lda, p.b, p.ldb, 150, 130, &factor, 1, NULL, p.values),
                   "a is NULL");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, NULL, p.ldb, 150, 130, &factor, 1, NULL, p.values),
                   "b is NULL");
    PENCIL_REFUSED(PENCIL(&options, p.a, 129, p.b, p.ldb, 150, 130, &factor, 1, NULL, p.values),
                   "lda");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, 129, 150, 130, &factor, 1, NULL, p.values),
                   "ldb");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 0, 130, &factor, 1, NULL, p.values),
                   "rows");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 0, &factor, 1, NULL, p.values),
                   "columns");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 130, NULL, 1, NULL, p.values),
                   "factors");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 130, &factor, 0, NULL, p.values),
                   "count");
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 130, &factor, 1, NULL, NULL),
                   "values");
    factor = NAN;
    PENCIL_REFUSED(PENCIL(&options, p.a, p.lda, p.b, p.ldb, 150, 130, &factor, 1, NULL, p.values),
                   "factors[0]");
    below[5] = -1.0;
    PENCIL_REFUSED(pencil_solve(&context, &options, &p, 0, 8, below), "stop_below[5]");
    CHECK(PENCIL(&options, p.a, SIZE_MAX / 4, p.b, p.ldb, 150, 130, pencil_factors, 1, NULL,
                 p.values) == TWS_TOO_LARGE);
    options.top = 0;
    PENCIL_REFUSED(pencil_solve(&context, &options, &p, 0, 8, NULL), "top");
    options.top = 2;
    options.max_passes = 3; /* an honest failure, with estimates for all */
    CHECK(pencil_solve(&context, &options, &p, 0, 8, NULL) == TWS_NOT_CONVERGED);
    for (j = 0; j < 8; j++) {
        CHECK(p.result[j].wanted == 2 && p.result[j].passes > 0);
        CHECK(p.values[2 * j] > 0.5 && p.values[2 * j + 1] <= p.values[2 * j]);
    }
    options.max_passes = 10000;
    bad = p.b[70 * p.ldb + 3];
    p.b[70 * p.ldb + 3] = (tws_real)NAN;
    CHECK(pencil_solve(&context, &options, &p, 0, 8, NULL) == TWS_NOT_FINITE);
    p.b[70 * p.ldb + 3] = bad;
    keep = (double)p.a[0];
    p.a[0] = (tws_real)INFINITY;
    CHECK(pencil_solve(&context, &options, &p, 0, 8, NULL) == TWS_NOT_FINITE);
    p.a[0] = (tws_real)keep;
    CHECK(pencil_solve(&context, &options, &p, 0, 8, NULL) == TWS_OK);
    pencil_close(&p);
}

/* A matrix of equal entries: after its one reflection only rounding errors are left, which shrink from
   column to column until their squares vanish. */
static void test_equal_entries(tws_context *context) {
    enum { MOST = 40 };
    tws_real a[MOST * MOST];
    double s[MOST];
    size_t m, n, k;
    for (k = 0; k < MOST * MOST; k++) a[k] = -128;
    for (m = 1; m <= MOST; m += 3)
        for (n = 1; n <= MOST; n += 3) {
            CHECK(tws_singular_values(context, a, m, n, n, s) == TWS_OK);
            CHECK_NEAR(s[0], 128 * sqrt((double)(m * n)), 1e-10);
            for (k = 1; k < m && k < n; k++) CHECK_NEAR(s[k], 0, 1e-10);
        }
}

int main(void) {
    tws_context context = tws_default_context();
    int kernel;
    test_long_basis(); /* first: without it, others would take minutes to fail */
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        test_spectra(&context, kernel == 1);
        test_zero(&context);
        test_restart(&context);
        test_max_passes(&context);
        test_small_values(&context, kernel == 1);
        test_out_of_reach(&context);
        test_copies(&context, kernel == 1);
        test_all_values(&context);
        test_pencil(&context, 120, 90, 6, 0);
        test_pencil(&context, 200, 300, 9, 1);
        test_equal_entries(&context);
    }
    context.kernel = TWS_KERNEL_AUTO;
    test_ends(&context);
    test_diagonal(&context);
    test_spiked(&context);
    test_kernels_and_threads();
    test_threads();
    test_operator();
    test_not_finite();
    test_extreme_scale();
    test_lifted();
    test_lost_in_squares();
    test_low_levels();
    test_last_slot();
    test_reduce_twins();
#if defined(TWSI_PTHREADS)
    test_reduce_pair(100, 37, 0);
    test_reduce_pair(100, 99, 2);
    test_reduce_pair(50, 20, 4);
    test_reduce_pair(90, 45, 1);
    test_reduce_pair(70, 0, 0);
    test_reduce_pair(41, 21, -2);
    test_reduce_pair(60, 13, -3);
    test_reduce_pair(100, 64, -5);
#endif
    test_pencil(&context, 400, 300, 10, 1);
    test_pencil_identity();
    test_pencil_failures();
    test_arguments();
    test_memory();
    return check_report();
}
