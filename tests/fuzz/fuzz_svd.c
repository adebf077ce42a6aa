/* tws_svd and tws_singular_values on matrices of any numbers under any options: they end, what they
   claim holds when it is measured afresh, and they agree with each other. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static double values[MOST], left[MOST * MOST], right[MOST * MOST], residuals[MOST], all[MOST];
    input in = {data, size};
    tws_context context = tws_default_context();
    const size_t rows = 1 + take_byte(&in) % MOST, columns = 1 + take_byte(&in) % MOST, ld = columns + take_byte(&in) % 3;
    const size_t least = rows < columns ? rows : columns, total = (rows - 1) * ld + columns;
    const unsigned kind = take_byte(&in), wild = take_byte(&in);
    tws_svd_options options = tws_default_svd_options(1 + take_byte(&in) % least);
    tws_real *m = (tws_real *)malloc(total * sizeof *m);
    tws_svd_result result;
    tws_status status;
    size_t i, j;
    int finite = 1, huge = 0; /* squares may overflow a float */
    context.kernel = kind & 64 ? TWS_KERNEL_PLAIN : TWS_KERNEL_AUTO;
    context.threads = 1 + (kind >> 7);
    if (wild & 1) options.top = take_byte(&in);
    if (wild & 2) options.tolerance = take_number(&in);
    if (wild & 4) options.max_passes = take_byte(&in);
    if (wild & 8) options.max_basis = take_byte(&in);
    if (wild & 16) options.stop_below = take_number(&in);
    if (wild & 32) options.seed = take_byte(&in);
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++) {
            tws_real *x = m + i * ld + j;
            switch (kind % 8) {
            case 0: *x = (tws_real)take_number(&in); break;
            case 1: *x = (tws_real)(int)(take_byte(&in) - 128); break;
            case 2: *x = (tws_real)(i == j ? (int)take_byte(&in) : 0); break;
            case 3: *x = (tws_real)(int)((i + 1) * (j + 1) % 5); break; /* low rank */
            case 4: *x = (tws_real)ldexp((int)(take_byte(&in)) - 128, (int)(take_byte(&in) % 250) - 125); break;
            case 5: *x = (tws_real)(take_byte(&in) & 1 ? 1e-40 : 0); break; /* denormal */
            case 6: *x = (tws_real)((take_byte(&in) & 1) ? 3e38 : -3e38); break;
            default: take_bytes(&in, x, sizeof *x);
            }
            if (!(*x - *x == 0)) finite = 0;
            if (!(fabs((double)*x) < 1e17)) huge = 1;
        }
    status = tws_svd(&context, &options, m, rows, columns, ld, values, left, right, residuals, &result);
    LAW(status == TWS_OK || context.message[0] != '\0');
    if (status == TWS_OK || status == TWS_NOT_CONVERGED) {
        LAW(finite);
        LAW(result.converged <= options.top && result.wanted <= options.top);
        LAW(status == TWS_NOT_CONVERGED || result.converged >= result.wanted);
        LAW(result.passes <= options.max_passes + 2 * ((options.top + 7) / 8) + huge); /* to measure */
        for (i = 0; i < options.top; i++) LAW(values[i] >= 0 && values[i] - values[i] == 0 && (i == 0 || values[i] <= values[i - 1]));
        LAW(result.wanted == options.top || options.stop_below > 0);
        for (i = result.wanted; i < options.top; i++) /* below what was asked for: no vectors */
            LAW(residuals[i] >= 1 && residuals[i] <= 1 && length_of(left + i * rows, rows) <= 0 && length_of(right + i * columns, columns) <= 0);
        orthonormal(left, result.wanted, rows, 1e-11);
        orthonormal(right, result.wanted, columns, 1e-11);
        for (i = 0; i < result.wanted; i++) {
            const double measured = residual(m, rows, columns, ld, values[i], left + i * rows, right + i * columns);
            /* what is reported may be a bound if all have converged, at most so much above what is measured */
            const double above = status != TWS_OK ? 0 : options.tolerance > 1e-9 ? 0.2 * options.tolerance : 2e-10;
            LAW(residuals[i] >= 0 && residuals[i] - residuals[i] == 0);
            LAW(residuals[i] * values[0] >= measured - 1e-11 * values[0]);
            LAW(residuals[i] * values[0] <= measured + (above + 1e-11) * values[0]);
            if (i < result.converged) LAW(residuals[i] <= options.tolerance * (1 + 1e-9) + 1e-14);
        }
    } else {
        LAW(finite ? status == TWS_BAD_ARGUMENT : status == TWS_NOT_FINITE || status == TWS_BAD_ARGUMENT);
        LAW(status == TWS_NOT_FINITE || (wild & 31) != 0);
    }
    context.message[0] = '\0';
    if (tws_singular_values(&context, m, rows, columns, ld, all) == TWS_OK) {
        double squares = 0, entries = 0, most = 0;
        LAW(finite);
        for (i = 0; i < least; i++) LAW(all[i] >= 0 && all[i] - all[i] == 0 && (i == 0 || all[i] <= all[i - 1]));
        for (i = 0; i < rows; i++)
            for (j = 0; j < columns; j++)
                if (fabs((double)m[i * ld + j]) > most) most = fabs((double)m[i * ld + j]);
        for (i = 0; i < rows && most > 0; i++)
            for (j = 0; j < columns; j++) entries += (double)m[i * ld + j] / most * ((double)m[i * ld + j] / most);
        for (i = 0; i < least && most > 0; i++) squares += all[i] / most * (all[i] / most);
        LAW(fabs(squares - entries) <= 1e-12 * entries);
        if (status == TWS_OK)
            for (i = 0; i < result.wanted; i++) {
                const double away = fabs(values[i] - all[i]);
                LAW(away <= (options.tolerance + 1e-8) * all[0]);
            }
    } else {
        LAW(!finite && strstr(context.message, "matrix") != NULL);
    }
    free(m);
    return 0;
}
