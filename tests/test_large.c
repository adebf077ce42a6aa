/* float only: the same index arithmetic in either precision.
   Offsets beyond 2^31 elements: arrays with few rows that stand 2^31 elements and more apart, in
   address space of which only the pages that hold a row are ever touched. A gradient with
   46341 x 46341 > 2^31 pre-activations, which a budget cuts into blocks: four seconds, so not with
   -DTEST_TINY. With the argument `full` also a product whose result has so many entries (8.6 GB). */
#if defined(__unix__) || defined(__APPLE__)
#define _DEFAULT_SOURCE 1
#define _DARWIN_C_SOURCE 1
#include <sys/mman.h>
#include <unistd.h>
#endif
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"

enum { ROWS = 5, COLUMNS = 7, MOST = 4, SIDE = 46341 }; /* SIDE^2 = 2^31 + 4633 */

#if defined(MAP_ANONYMOUS) && defined(MAP_NORESERVE) && SIZE_MAX > 0xffffffffu

static const size_t far_apart = ((size_t)1 << 31) + 11; /* elements from row to row */

static tws_real *far_rows(size_t rows) {
    void *at = mmap(NULL, ((rows - 1) * far_apart + 4096) * sizeof(tws_real), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : (tws_real *)at;
}

static void far_end(tws_real *a, size_t rows) { munmap(a, ((rows - 1) * far_apart + 4096) * sizeof *a); }

/* The rows of near (ld COLUMNS) far apart. */
static tws_real *spread(const tws_real *near_rows) {
    tws_real *a = far_rows(ROWS);
    size_t i;
    for (i = 0; a != NULL && i < ROWS; i++) memcpy(a + i * far_apart, near_rows + i * COLUMNS, COLUMNS * sizeof *a);
    return a;
}

static int same_rows(const tws_real *a, size_t lda, const tws_real *b, size_t ldb, size_t rows, size_t columns) {
    size_t i;
    for (i = 0; i < rows; i++)
        if (memcmp(a + i * lda, b + i * ldb, columns * sizeof *a) != 0) return 0;
    return 1;
}

/* Every function with a leading dimension gives the same bits as on the close rows. */
static int far_leading_dimensions(tws_context *context) {
    tws_real near_a[ROWS * COLUMNS], near_c[ROWS * ROWS], labels[ROWS], x[3 * COLUMNS], weights[ROWS * COLUMNS];
    double want[MOST * COLUMNS], got[MOST * COLUMNS], lambda = 0.3;
    tws_svd_options options = tws_default_svd_options(3);
    tws_real *a, *c;
    tws_network network;
    tws_batch batch;
    size_t i;
    CHECK(tws_random_matrix(context, 1, TWS_FOR_USER, 0, ROWS, COLUMNS, near_a, COLUMNS) == TWS_OK);
    CHECK(tws_random_matrix(context, 2, TWS_FOR_USER, 0, ROWS, COLUMNS, weights, COLUMNS) == TWS_OK);
    for (i = 0; i < ROWS; i++) labels[i] = (tws_real)i - 2;
    for (i = 0; i < 3 * COLUMNS; i++) x[i] = (tws_real)(i % 5) - 2;
    a = spread(near_a);
    c = far_rows(ROWS);
    if (a == NULL || c == NULL) return 0;
    CHECK(tws_random_matrix(context, 1, TWS_FOR_USER, 0, ROWS, COLUMNS, c, far_apart) == TWS_OK);
    CHECK(same_rows(c, far_apart, near_a, COLUMNS, ROWS, COLUMNS));
    for (i = 0; i < 4; i++) { /* A A' and A' A, with A and C far or near */
        const int tall = i % 2 == 0;
        const tws_transpose first = tall ? TWS_NO_TRANSPOSE : TWS_TRANSPOSE, second = tall ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
        const size_t m = tall ? ROWS : MOST, k = tall ? COLUMNS : ROWS, ldc = i < 2 ? far_apart : (size_t)ROWS;
        tws_real *to = i < 2 ? c : near_c, want_c[ROWS * ROWS];
        CHECK(tws_gemm(context, first, second, m, m, k, 1, near_a, COLUMNS, near_a, COLUMNS, 0, want_c, ROWS) == TWS_OK);
        CHECK(tws_gemm(context, first, second, m, m, k, 1, a, far_apart, a, far_apart, 0, to, ldc) == TWS_OK);
        CHECK(same_rows(to, ldc, want_c, ROWS, m, m));
        CHECK(tws_gemm(context, first, second, m, m, k, 1, a, far_apart, a, far_apart, 1, to, ldc) == TWS_OK);
        CHECK(to[(m - 1) * ldc + m - 1] == 2 * want_c[(m - 1) * ROWS + m - 1]);
    }
    CHECK(tws_svd(context, &options, near_a, ROWS, COLUMNS, COLUMNS, want, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(tws_svd(context, &options, a, ROWS, COLUMNS, far_apart, got, NULL, NULL, NULL, NULL) == TWS_OK);
    CHECK(memcmp(want, got, 3 * sizeof *got) == 0);
    CHECK(tws_svd_pencil(context, &options, near_a, COLUMNS, near_a, COLUMNS, ROWS, COLUMNS, &lambda, 1, NULL, want, NULL, NULL,
                         NULL, NULL) == TWS_OK);
    CHECK(tws_svd_pencil(context, &options, a, far_apart, a, far_apart, ROWS, COLUMNS, &lambda, 1, NULL, got, NULL, NULL, NULL,
                         NULL) == TWS_OK);
    CHECK(memcmp(want, got, 3 * sizeof *got) == 0);
    CHECK(tws_singular_values(context, near_a, ROWS, COLUMNS, COLUMNS, want) == TWS_OK);
    CHECK(tws_singular_values(context, a, ROWS, COLUMNS, far_apart, got) == TWS_OK);
    CHECK(memcmp(want, got, ROWS * sizeof *got) == 0);
    CHECK(tws_ridge(context, near_a, ROWS, COLUMNS, COLUMNS, labels, lambda, want, NULL) == TWS_OK);
    CHECK(tws_ridge(context, a, ROWS, COLUMNS, far_apart, labels, lambda, got, NULL) == TWS_OK);
    CHECK(memcmp(want, got, COLUMNS * sizeof *got) == 0);
    CHECK(tws_ridge_path(context, near_a, ROWS, COLUMNS, COLUMNS, labels, &lambda, 1, want, NULL, NULL) == TWS_OK);
    CHECK(tws_ridge_path(context, a, ROWS, COLUMNS, far_apart, labels, &lambda, 1, got, NULL, NULL) == TWS_OK);
    CHECK(memcmp(want, got, COLUMNS * sizeof *got) == 0);
    for (i = 0; i < COLUMNS; i++) want[i] = (double)i;
    CHECK(tws_readout_outputs(context, near_a, ROWS, COLUMNS, COLUMNS, want, 1, want + COLUMNS) == TWS_OK);
    CHECK(tws_readout_outputs(context, a, ROWS, COLUMNS, far_apart, want, 1, got) == TWS_OK);
    CHECK(memcmp(want + COLUMNS, got, ROWS * sizeof *got) == 0);
    memset(&network, 0, sizeof network);
    memset(&batch, 0, sizeof batch);
    network.count = ROWS;
    network.inputs = COLUMNS;
    network.activation.kind = TWS_TANH;
    network.readout = weights;
    network.weights = weights;
    batch.samples = 3;
    batch.inputs = x;
    CHECK(tws_features(context, &network, &batch, near_c, ROWS) == TWS_OK);
    CHECK(tws_features(context, &network, &batch, c, far_apart) == TWS_OK);
    CHECK(same_rows(c, far_apart, near_c, ROWS, 3, ROWS));
    far_end(a, ROWS);
    far_end(c, ROWS);
    return 1;
}

/* One row longer than 2^31 elements would take that memory; a column of rows far apart does not. */
static int far_random_rows(tws_context *context) {
    const uint64_t first = (uint64_t)-3; /* the rows of a stream are counted in 64 bits, around the end too */
    tws_real *c = far_rows(ROWS), one[COLUMNS];
    size_t i;
    if (c == NULL) return 0;
    CHECK(tws_random_matrix(context, 5, TWS_FOR_USER, first, ROWS, COLUMNS, c, far_apart) == TWS_OK);
    for (i = 0; i < ROWS; i++) {
        CHECK(tws_random_matrix(context, 5, TWS_FOR_USER, first + i, 1, COLUMNS, one, COLUMNS) == TWS_OK);
        CHECK(memcmp(one, c + i * far_apart, sizeof one) == 0);
    }
    far_end(c, ROWS);
    return 1;
}

/* C = A B with 46341^2 entries; entry (i, j) = 2 i - j in whole numbers that float holds. */
static int full(tws_context *context) {
    const size_t entries = (size_t)SIDE * SIDE;
    tws_real *a = (tws_real *)malloc(2 * SIDE * sizeof *a), *b = (tws_real *)malloc(2 * SIDE * sizeof *b), *c;
    size_t i, bad = 0;
    c = (tws_real *)malloc(entries * sizeof *c);
    if (a == NULL || b == NULL || c == NULL) return 0;
    for (i = 0; i < SIDE; i++) a[2 * i] = (tws_real)i, a[2 * i + 1] = -1, b[i] = 2, b[SIDE + i] = (tws_real)i;
    CHECK(tws_gemm(context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, SIDE, SIDE, 2, 1, a, 2, b, SIDE, 0, c, SIDE) == TWS_OK);
    for (i = 0; i < entries; i++) bad += c[i] < (tws_real)(2 * (double)(i / SIDE) - (double)(i % SIDE)) || c[i] > (tws_real)(2 * (double)(i / SIDE) - (double)(i % SIDE));
    CHECK(bad == 0);
    free(a);
    free(b);
    free(c);
    return 1;
}

#ifndef TEST_TINY
static void *watched_allocate(void *user, size_t bytes) {
    size_t *largest = (size_t *)user;
    if (bytes > *largest) *largest = bytes;
    return malloc(bytes);
}

static void watched_release(void *user, void *pointer) {
    (void)user;
    free(pointer);
}

/* One of 65536 numbers in [-1/2, 1/2) that single precision holds; all different for an odd factor. */
static double scattered(size_t i, size_t factor) { return (double)(i * factor % 65536) / 65536 - 0.5; }

/* G and loss with few different rows in W, in no order, so that plain sums over the samples for each of
   them are all that it takes. Their entries are multiples of 1/8: it is exact which samples ReLU lets pass. */
static void large_gradient(void) {
    enum { D = 2, KINDS = 11 };
    tws_context context = tws_default_context();
    tws_real *w = (tws_real *)malloc(D * SIDE * sizeof *w), *x = (tws_real *)malloc(D * SIDE * sizeof *x);
    tws_real *a = (tws_real *)malloc(SIDE * sizeof *a), *y = (tws_real *)malloc(SIDE * sizeof *y);
    tws_real *gradient = (tws_real *)malloc(D * SIDE * sizeof *gradient);
    double row[KINDS][D], readout[KINDS] = {0}, sum[KINDS][D] = {{0}}, want = 0, loss, worst = 0, size = 0;
    tws_network network;
    tws_batch batch;
    size_t largest = 0, i, j, k;
    if (!CHECK(w != NULL && x != NULL && a != NULL && y != NULL && gradient != NULL)) return;
    for (k = 0; k < KINDS; k++) row[k][0] = (double)(k % 4) / 4 - 0.375, row[k][1] = (double)(k / 4) / 2 - 0.625;
    for (i = 0; i < SIDE; i++) {
        k = i * 7919 % 65537 % KINDS;
        w[D * i] = (tws_real)row[k][0], w[D * i + 1] = (tws_real)row[k][1];
        x[D * i] = (tws_real)scattered(i, 40503), x[D * i + 1] = (tws_real)scattered(i, 25931);
        a[i] = (tws_real)(scattered(i, 12721) + 0.375);
        y[i] = (tws_real)(x[D * i] + 0.25);
        readout[k] += (double)a[i];
    }
    context.memory_budget = (size_t)16 << 20;
    context.allocator.allocate = watched_allocate;
    context.allocator.release = watched_release;
    context.allocator.user = &largest;
    memset(&network, 0, sizeof network);
    memset(&batch, 0, sizeof batch);
    network.count = batch.samples = SIDE;
    network.inputs = D;
    network.output_scale = 1.0 / SIDE;
    network.activation.kind = TWS_RELU;
    network.weights = w;
    network.readout = a;
    batch.inputs = x;
    batch.labels = y;
    CHECK(tws_gradient(&context, &network, &batch, gradient, &loss) == TWS_OK);
    CHECK(largest > 0 && largest < (size_t)64 << 20);
    for (j = 0; j < SIDE; j++) {
        const double u = (double)x[D * j], v = (double)x[D * j + 1];
        double residual = (double)y[j];
        for (k = 0; k < KINDS; k++) residual -= readout[k] * fmax(0, row[k][0] * u + row[k][1] * v) / SIDE;
        want += 0.5 * residual * residual / SIDE;
        for (k = 0; k < KINDS; k++)
            if (row[k][0] * u + row[k][1] * v > 0) sum[k][0] += residual * u, sum[k][1] += residual * v;
    }
    CHECK_NEAR(loss, want, 1e-6 * want);
    for (i = 0; i < SIDE; i++)
        for (k = 0; k < D; k++) {
            const double entry = (double)a[i] * sum[i * 7919 % 65537 % KINDS][k] / SIDE;
            worst = fmax(worst, fabs((double)gradient[D * i + k] - entry));
            size = fmax(size, fabs(entry));
        }
    CHECK(size > 0.01);
    CHECK_NEAR(worst, 0, 1e-5 * size);
    free(w);
    free(x);
    free(a);
    free(y);
    free(gradient);
}
#endif

static double free_memory(void) {
#if defined(_SC_AVPHYS_PAGES)
    return (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
#else
    return 0;
#endif
}

int main(int count, char **arguments) {
    tws_context context = tws_default_context();
    int kernel;
    for (kernel = 1; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        context.kernel = (tws_kernel)kernel;
        if (!far_leading_dimensions(&context) || !far_random_rows(&context)) {
            puts("skip: test_large: no address space of 80 GB");
            break;
        }
    }
#ifndef TEST_TINY
    large_gradient();
#endif
    if (count > 1 && strcmp(arguments[1], "full") == 0 && (free_memory() < 10e9 || !full(&context)))
        puts("skip: test_large: 46341 x 46341 numbers want 10 GB of free memory");
    return check_report();
}

#else
int main(void) {
    puts("skip: test_large: 32 bits, or no sparse memory");
    return check_report();
}
#endif
