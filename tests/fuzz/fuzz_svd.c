/* tws_svd, its sisters for operators and pencils, and tws_singular_values, on matrices of any numbers
   under any options: they end, refuse what is documented and nothing else, what they claim holds when
   it is measured afresh, and they agree with each other. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "fuzz.h"

enum { MOST = 24 };

static double length_of(const double *x, size_t n) {
    double most = 0, sum = 0;
    size_t i;
    for (i = 0; i < n; i++)
        if (fabs(x[i]) > most) most = fabs(x[i]);
    for (i = 0; i < n && most > 0; i++) sum += x[i] / most * (x[i] / most);
    return most * sqrt(sum);
}

/* |M v - s u| and |M' u - s v|, the larger of them. */
static double residual(const tws_real *m, size_t rows, size_t columns, size_t ld, double s, const double *u, const double *v) {
    double y[MOST], x[MOST], first;
    size_t i, j;
    for (i = 0; i < rows; i++)
        for (y[i] = -s * u[i], j = 0; j < columns; j++) y[i] += (double)m[i * ld + j] * v[j];
    for (j = 0; j < columns; j++)
        for (x[j] = -s * v[j], i = 0; i < rows; i++) x[j] += (double)m[i * ld + j] * u[i];
    first = length_of(y, rows);
    return first > length_of(x, columns) ? first : length_of(x, columns);
}

static void orthonormal(const double *vectors, size_t count, size_t n, double tolerance) {
    size_t i, j, k;
    for (i = 0; i < count; i++)
        for (j = 0; j <= i; j++) {
            double sum = 0;
            for (k = 0; k < n; k++) sum += vectors[i * n + k] * vectors[j * n + k];
            LAW(fabs(sum - (i == j)) <= tolerance);
        }
}

typedef struct matrix {
    const tws_real *at;
    size_t rows, columns, ld;
} matrix;

static tws_status product(void *user, int transposed, const double *x, double *y) {
    const matrix *m = (const matrix *)user;
    size_t i, j;
    for (i = 0; i < (transposed ? m->columns : m->rows); i++) y[i] = 0;
    for (i = 0; i < m->rows; i++)
        for (j = 0; j < m->columns; j++)
            y[transposed ? j : i] += (double)m->at[i * m->ld + j] * x[transposed ? i : j];
    return TWS_OK;
}

static int all_finite(const matrix *m) {
    size_t i, j;
    for (i = 0; i < m->rows; i++)
        for (j = 0; j < m->columns; j++)
            if (!(fabs((double)m->at[i * m->ld + j]) <= 3.4028235e38)) return 0;
    return 1;
}

static int refused(const tws_svd_options *o, size_t rows, size_t columns) {
    return o->top == 0 || o->top > rows || o->top > columns || !(o->tolerance >= 1e-12 && o->tolerance <= 0.1) ||
           o->max_passes == 0 || !(o->stop_below >= 0 && o->stop_below - o->stop_below == 0) ||
           (o->max_basis != 0 && o->max_basis < columns && o->max_basis < o->top + 16);
}

/* What is claimed of one matrix. late: passes that may come on top of max_passes. */
static void claims(const tws_svd_options *o, const matrix *m, tws_status status, size_t late,
                   const double *values, const double *left, const double *right, const double *residuals,
                   const tws_svd_result *result) {
    const size_t rows = m->rows, columns = m->columns;
    /* what is reported may be a bound, at most so much above what is measured */
    const double above = 0.2 * o->tolerance;
    size_t i;
    LAW(result->converged <= o->top && result->wanted <= o->top);
    LAW(status == TWS_NOT_CONVERGED || result->converged >= result->wanted);
    LAW(result->passes <= o->max_passes + late);
    if (result->passes + 4 < o->max_passes && (o->max_basis == 0 || o->max_basis >= columns))
        for (i = 0; i < result->wanted; i++) /* only rounding is to blame */
            LAW(residuals[i] <= o->tolerance * (1 + 1e-9) + 1e-14 || residuals[i] * values[i] <= 2e-13 * values[0]);
    for (i = 0; i < o->top; i++) LAW(values[i] >= 0 && values[i] - values[i] == 0 && (i == 0 || values[i] <= values[i - 1]));
    LAW(result->wanted == o->top || o->stop_below > 0);
    for (i = 0; i < result->wanted; i++) LAW(!(o->stop_below > 0) || values[i] > o->stop_below);
    for (i = result->wanted; i < o->top; i++) /* below what was asked for: no vectors */
        LAW(residuals[i] >= 1 && residuals[i] <= 1 && length_of(left + i * rows, rows) <= 0 && length_of(right + i * columns, columns) <= 0);
    orthonormal(left, result->wanted, rows, 1e-11);
    orthonormal(right, result->wanted, columns, 1e-11);
    for (i = 0; i < result->wanted; i++) {
        const double measured = residual(m->at, rows, columns, m->ld, values[i], left + i * rows, right + i * columns);
        LAW(residuals[i] >= 0 && residuals[i] - residuals[i] == 0);
        LAW(residuals[i] * values[0] >= measured - 1e-11 * values[0]);
        LAW(residuals[i] * values[0] <= measured + (above + 1e-11) * values[0]);
        if (i < result->converged) LAW(residuals[i] <= o->tolerance * (1 + 1e-9) + 1e-14);
    }
}

/* All values, by which those of a call that has converged are judged: each, and how many are wanted. */
static void judge(tws_context *context, const tws_svd_options *o, const matrix *m, tws_status status,
                  const double *values, const tws_svd_result *result) {
    static double all[MOST], turned_values[MOST];
    static tws_real turned[MOST * MOST];
    const size_t least = m->rows < m->columns ? m->rows : m->columns;
    double squares = 0, entries = 0, most = 0;
    size_t i, j, above = 0;
    if (tws_singular_values(context, m->at, m->rows, m->columns, m->ld, all) != TWS_OK) {
        LAW(!all_finite(m) && strncmp(context->message, "matrix", 6) == 0);
        return;
    }
    LAW(all_finite(m));
    for (i = 0; i < least; i++) LAW(all[i] >= 0 && all[i] - all[i] == 0 && (i == 0 || all[i] <= all[i - 1]));
    for (i = 0; i < m->rows; i++)
        for (j = 0; j < m->columns; j++) {
            turned[j * m->rows + i] = m->at[i * m->ld + j];
            if (fabs((double)m->at[i * m->ld + j]) > most) most = fabs((double)m->at[i * m->ld + j]);
        }
    for (i = 0; i < m->rows && most > 0; i++)
        for (j = 0; j < m->columns; j++)
            entries += (double)m->at[i * m->ld + j] / most * ((double)m->at[i * m->ld + j] / most);
    for (i = 0; i < least && most > 0; i++) squares += all[i] / most * (all[i] / most);
    LAW(fabs(squares - entries) <= 1e-12 * entries);
    LAW(tws_singular_values(context, turned, m->columns, m->rows, m->rows, turned_values) == TWS_OK);
    for (i = 0; i < least; i++) LAW(fabs(all[i] - turned_values[i]) <= 3e-14 * all[0]);
    if (status != TWS_OK) return;
    for (i = 0; i < result->wanted; i++) LAW(fabs(values[i] - all[i]) <= (10 * o->tolerance + 1e-8) * all[0]);
    if (!(o->stop_below > 0)) return;
    for (i = 0; i < o->top; i++) above += all[i] > o->stop_below + (o->tolerance + 1e-5) * all[0];
    LAW(above <= result->wanted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static double values[2 * MOST], left[2 * MOST * MOST], right[2 * MOST * MOST], residuals[2 * MOST];
    static tws_real other[MOST * MOST], sum[MOST * MOST];
    input in = {data, size};
    tws_context context = tws_default_context();
    const size_t rows = 1 + take_byte(&in) % MOST, columns = 1 + take_byte(&in) % MOST, ld = columns + take_byte(&in) % 3;
    const size_t least = rows < columns ? rows : columns, total = (rows - 1) * ld + columns;
    const unsigned kind = take_byte(&in), wild = take_byte(&in), which = kind >> 3 & 7;
    const int by_products = which == 1 || which == 2, pencil = which == 3 || which == 4;
    tws_svd_options options = tws_default_svd_options(1 + take_byte(&in) % least);
    tws_real *m = (tws_real *)malloc(total * sizeof *m);
    double factors[2] = {0, 0};
    matrix all[2];
    tws_svd_result result[2];
    tws_status status;
    size_t i, j, late;
    int finite, huge = 0; /* squares may overflow a float */
    context.kernel = kind & 64 ? TWS_KERNEL_PLAIN : TWS_KERNEL_AUTO;
    context.threads = 1 + (kind >> 7);
    if (wild & 1) options.top = take_byte(&in);
    if (wild & 2) options.tolerance = take_number(&in);
    if (wild & 4) options.max_passes = take_byte(&in);
    if (wild & 8) options.max_basis = take_byte(&in);
    if (wild & 16) options.stop_below = take_number(&in);
    if (wild & 32) options.seed = take_byte(&in);
    if (pencil) factors[1] = (int)(take_byte(&in) % 3) - 1; /* products with it are exact */
    for (i = 0; i < total; i++) m[i] = (tws_real)NAN; /* what lies between the rows is not read */
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++) {
            tws_real *x = m + i * ld + j;
            switch (kind % 8) {
            case 0: *x = (tws_real)take_number(&in); break;
            case 1: *x = (tws_real)((int)take_byte(&in) - 128); break;
            case 2: *x = (tws_real)(i == j ? (int)take_byte(&in) : 0); break;
            case 3: *x = (tws_real)(int)((i + 1) * (j + 1) % 5); break; /* low rank */
            case 4: *x = (tws_real)ldexp((int)(take_byte(&in)) - 128, (int)(take_byte(&in) % 250) - 125); break;
            case 5: *x = (tws_real)(take_byte(&in) & 1 ? 1e-40 : 0); break; /* denormal */
            case 6: *x = (tws_real)((take_byte(&in) & 1) ? 3e38 : -3e38); break;
            default: take_bytes(&in, x, sizeof *x);
            }
            if (!(fabs((double)*x) < 1e17)) huge = 1;
        }
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++) {
            other[i * columns + j] = m[(rows - 1 - i) * ld + columns - 1 - j];
            sum[i * columns + j] = m[i * ld + j] + (tws_real)factors[1] * other[i * columns + j];
        }
    all[0].at = m, all[0].rows = rows, all[0].columns = columns, all[0].ld = ld;
    all[1].at = sum, all[1].rows = rows, all[1].columns = columns, all[1].ld = columns;
    finite = all_finite(all) && (!pencil || all_finite(all + 1));
    if (by_products)
        status = tws_svd_operator(&context, &options, product, all, rows, columns, values, left, right, residuals, result);
    else if (pencil)
        status = tws_svd_pencil(&context, &options, m, ld, other, columns, rows, columns, factors, 2, NULL, values, left,
                                right, residuals, result);
    else
        status = tws_svd(&context, &options, m, rows, columns, ld, values, left, right, residuals, result);
    LAW(status == TWS_OK || context.message[0] != '\0');
    if (refused(&options, rows, columns)) LAW(status == TWS_BAD_ARGUMENT);
    else if (!finite) LAW(status == TWS_NOT_FINITE);
    else LAW(status == TWS_OK || status == TWS_NOT_CONVERGED);
    late = 2 * (by_products ? (options.top + 1) / 2 : (options.top + 7) / 8) + (huge && !by_products); /* to measure */
    for (j = 0; j < (pencil ? 2 : 1); j++) {
        const size_t top = options.top <= least ? options.top : 0;
        if (status == TWS_OK || status == TWS_NOT_CONVERGED)
            claims(&options, all + j, status, late, values + j * top, left + j * top * rows,
                   right + j * top * columns, residuals + j * top, result + j);
        context.message[0] = '\0';
        judge(&context, &options, all + j, status, values + j * top, result + j);
    }
    free(m);
    return 0;
}
