/* tws_gemm on any sizes, leading dimensions, factors and numbers, NaN and infinity among them,
   beside the sum of products in double. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "fuzz.h"

/* A matrix in memory of exactly its own size, so that one step too far is seen; unused entries
   between the columns and ld hold a mark. */
typedef struct block {
    tws_real *data;
    size_t rows, columns, ld, size;
} block;

#define MARK ((tws_real)12345.5)

static block make(input *in, size_t rows, size_t columns, unsigned kind) {
    block b;
    size_t i, j;
    b.rows = rows;
    b.columns = columns;
    b.ld = columns + take_byte(in) % 4;
    b.size = rows > 0 && columns > 0 ? (rows - 1) * b.ld + columns : 0;
    b.data = (tws_real *)malloc(b.size * sizeof(tws_real));
    for (i = 0; i < b.size; i++) b.data[i] = MARK;
    for (i = 0; i < rows; i++)
        for (j = 0; j < columns; j++)
            b.data[i * b.ld + j] = kind == 0 ? (tws_real)(int)((i * 7 + j * 5) % 11) - 5 : (tws_real)take_number(in);
    return b;
}

/* Puts b into the memory of a, somewhere, where it fits; else leaves it as it is. */
static int share(input *in, block *b, const block *a) {
    if (b->size > a->size) return 0;
    free(b->data);
    b->data = a->data + take_byte(in) % (a->size - b->size + 1);
    return 1;
}

static int is_unused(const block *b, size_t i) { return i / b->ld >= b->rows || i % b->ld >= b->columns; }

static double entry(const block *b, tws_transpose t, size_t i, size_t j) {
    return (double)(t == TWS_TRANSPOSE ? b->data[j * b->ld + i] : b->data[i * b->ld + j]);
}

static const double largest = sizeof(tws_real) == 4 ? 3.4e38 : 1.7e308;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    tws_context context = tws_default_context();
    const size_t m = take_byte(&in) % 70, n = take_byte(&in) % 70, k = take_byte(&in) % 70;
    const unsigned kinds = take_byte(&in);
    const tws_transpose ta = kinds & 1 ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE, tb = kinds & 2 ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
    const tws_real alpha = (tws_real)take_number(&in), beta = (tws_real)take_number(&in);
    const double eps = sizeof(tws_real) == 4 ? 1.2e-7 : 2.3e-16, tiny = sizeof(tws_real) == 4 ? 1.2e-38 : 2.3e-308;
    block a, b, c;
    tws_real *old;
    tws_status status;
    size_t i, j, p;
    int shared;
    context.kernel = (tws_kernel)(take_byte(&in) % 16);
    context.threads = take_byte(&in) % 70;
    a = ta ? make(&in, k, m, kinds & 4) : make(&in, m, k, kinds & 4);
    b = tb ? make(&in, n, k, kinds & 8) : make(&in, k, n, kinds & 8);
    c = make(&in, m, n, kinds & 16);
    shared = kinds & 64 ? share(&in, &b, &a) : 0; /* A and B may overlap */
    old = (tws_real *)malloc((c.size + 1) * sizeof *old);
    if (c.size > 0) memcpy(old, c.data, c.size * sizeof *old);
    if (kinds & 32 && c.ld > 0) c.ld -= take_byte(&in) % 2; /* perhaps too short: refused */
    status = tws_gemm(&context, ta, tb, m, n, k, alpha, a.data, a.ld, b.data, b.ld, beta, c.data, c.ld);
    if (status != TWS_OK) {
        LAW(status == TWS_BAD_ARGUMENT || status == TWS_UNAVAILABLE);
        LAW(context.message[0] != '\0');
        LAW(c.size == 0 || memcmp(old, c.data, c.size * sizeof *old) == 0);
        LAW(context.threads > 64 || !tws_kernel_available(context.kernel) || c.ld < n);
    } else {
        LAW(c.ld >= n || m == 0 || n == 0);
        for (i = 0; i < c.size; i++) LAW(!is_unused(&c, i) || memcmp(c.data + i, old + i, sizeof *old) == 0);
        for (i = 0; i < m; i++)
            for (j = 0; j < n; j++) {
                const double was = (double)old[i * c.ld + j], got = (double)c.data[i * c.ld + j];
                double sum = 0, size_of_sum = 0, most = 0, want, bound;
                for (p = 0; p < k && alpha != 0; p++) {
                    const double term = entry(&a, ta, i, p) * entry(&b, tb, p, j);
                    sum += term;
                    size_of_sum += fabs(term);
                    if (fabs(entry(&a, ta, i, p)) > most) most = fabs(entry(&a, ta, i, p));
                    if (fabs(entry(&b, tb, p, j)) > most) most = fabs(entry(&b, tb, p, j));
                }
                want = (alpha != 0 && k > 0 ? (double)alpha * sum : 0) + (beta != 0 ? (double)beta * was : 0);
                bound = fabs((double)alpha) * size_of_sum + (beta != 0 ? fabs((double)beta * was) : 0);
                if (beta == 0 && (alpha == 0 || k == 0)) LAW(got == 0);
                else if (want - want != 0) LAW(got - got != 0); /* NaN, infinity */
                else if (bound < largest && size_of_sum < largest) /* nothing on the way overflows */
                    LAW(fabs(got - want) <= ((double)k + 4) * (eps * bound + tiny * (1 + fabs((double)alpha))));
            }
    }
    free(a.data);
    if (!shared) free(b.data);
    free(c.data);
    free(old);
    return 0;
}
