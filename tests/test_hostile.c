/* Every public function that takes an array or memory, called in one small world:
   - each of its allocations fails in turn: TWS_OUT_OF_MEMORY, nothing leaked, inputs untouched, the
     outputs too where the header promises it, and once none fails the same bits as before;
   - NaN, infinity, the largest and the smallest numbers in each of its inputs: a status, a sentence
     that names the array, and finite outputs wherever the status is TWS_OK;
   - sizes whose products pass SIZE_MAX: refused, nothing touched;
   and those that take only numbers, names or plain structures: every combination of wild ones gives
   what the header says, and no crash; and all of that once more in a thread with a small stack.
   structure.py holds that no public function is left out. */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "check.h"
#include "failing.h"
#include "small_stack.h"

enum { N = 12, D = 10, S = 14, P = 1, TOP = 3, LAMBDAS = 2 };

/* What the calls read, and what they write. */
typedef struct given {
    tws_real W[N * D], a[N], X[S * D], y[S], X2[S * D], y2[S], B[P * D], F[S * N];
    double factors[2], lambdas[LAMBDAS], coefficients[LAMBDAS * N], kernel[S * S], labels[S], levels[2], exponents[LAMBDAS];
} given;

typedef struct outputs {
    tws_real C[S * S], W[N * D];
    double x[4096];
    tws_result result;
    tws_limit limit, limits[2];
    tws_prediction one, two;
    tws_spectrum spectrum;
    tws_svd_result counts[2];
} outputs;

static given in, original;
static outputs out, expected, blank;
static tws_context context;
static tws_config config;
static tws_theory_input theory;

static tws_network network(void) {
    tws_network n;
    memset(&n, 0, sizeof n);
    n.count = N;
    n.inputs = D;
    n.output_scale = 0.3;
    n.activation = config.activation;
    n.weights = in.W;
    n.readout = in.a;
    return n;
}

static tws_batch batch(void) {
    tws_batch b;
    memset(&b, 0, sizeof b);
    b.samples = S;
    b.inputs = in.X;
    b.labels = in.y;
    return b;
}

static tws_status product(void *user, int transposed, const double *x, double *y) {
    size_t i, j;
    (void)user;
    for (i = 0; i < (size_t)(transposed ? N : S); i++) y[i] = 0;
    for (i = 0; i < S; i++)
        for (j = 0; j < N; j++) y[transposed ? j : i] += (double)in.F[i * N + j] * x[transposed ? i : j];
    return TWS_OK;
}

/* ---- the calls ---- */

static tws_status call_gemm(void) {
    return tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, S, N, D, 1, in.X, D, in.W, D, (tws_real)0.5, out.C, S);
}
static tws_status call_strassen(void) {
    return tws_gemm_strassen(&context, 2, TWS_NO_TRANSPOSE, TWS_TRANSPOSE, S, N, D, in.X, D, in.W, D, out.C, S);
}
static tws_status call_normals(void) {
    tws_random r = tws_random_stream(1, TWS_FOR_USER, 2);
    return tws_random_normals(&context, &r, out.C, 77);
}
static tws_status call_matrix(void) { return tws_random_matrix(&context, 1, TWS_FOR_USER, 3, 5, 11, out.C, 12); }
static tws_status call_activate(void) { return tws_activate(&context, &config.activation, in.X, out.C, out.W, N * D); }
static tws_status call_svd(void) {
    tws_svd_options o = tws_default_svd_options(TOP);
    return tws_svd(&context, &o, in.W, N, D, D, out.x, out.x + 100, out.x + 200, out.x + 300, out.counts);
}
static tws_status call_svd_operator(void) {
    tws_svd_options o = tws_default_svd_options(TOP);
    return tws_svd_operator(&context, &o, product, NULL, S, N, out.x, out.x + 100, out.x + 200, out.x + 300, out.counts);
}
static tws_status call_pencil(void) {
    tws_svd_options o = tws_default_svd_options(TOP);
    return tws_svd_pencil(&context, &o, in.W, D, in.X, D, N, D, in.factors, 2, in.levels, out.x, out.x + 100, out.x + 300,
                          out.x + 500, out.counts);
}
static tws_status call_singular_values(void) { return tws_singular_values(&context, in.W, N, D, D, out.x); }
static tws_status call_weights(void) { return tws_make_weights(&context, &config, 0, N, out.W); }
static tws_status call_readout(void) { return tws_make_readout(&context, &config, 0, N, out.C); }
static tws_status call_directions(void) { return tws_make_directions(&context, &config, out.C); }
static tws_status call_batch(void) { return tws_make_batch(&context, &config, in.B, 1, out.C, out.W); }
static tws_status call_samples(void) { return tws_make_samples(&context, &config, in.B, 1, 3, 5, out.C, out.W); }
static tws_status call_forward(void) {
    const tws_network n = network();
    const tws_batch b = batch();
    return tws_forward(&context, &n, &b, out.x);
}
static tws_status call_loss(void) {
    const tws_network n = network();
    const tws_batch b = batch();
    return tws_loss(&context, &n, &b, out.x);
}
static tws_status call_gradient(void) {
    const tws_network n = network();
    const tws_batch b = batch();
    return tws_gradient(&context, &n, &b, out.W, out.x);
}
static tws_status call_step(void) {
    tws_network n = network();
    const tws_batch b = batch();
    tws_status status;
    tws_real before[N * D];
    n.weights = before;
    memcpy(before, in.W, sizeof before);
    status = tws_step(&context, &n, &b, 0.7, before, out.x);
    if (status == TWS_OK) memcpy(out.W, before, sizeof before);
    else CHECK(memcmp(before, in.W, sizeof before) == 0);
    return status;
}
static tws_status call_measure(void) { return tws_measure(&context, in.W, N, D, in.a, in.B, P, TOP, 1, &out.spectrum); }
static tws_status call_hermite(void) { return tws_hermite_coefficients(&context, &config.activation, out.x, 12); }
static tws_status call_limit(void) { return tws_limit_theory(&context, &theory, &out.limit); }
static tws_status call_both(void) { return tws_limit_theory_both(&context, &theory, &out.limits[0], &out.limits[1]); }
static tws_status call_predict(void) { return tws_predict(&context, &theory, &out.one, &out.two); }
static tws_status call_bulk(void) { return tws_predict_bulk(&context, &theory, in.lambdas, LAMBDAS, out.x, out.x + 10); }
static tws_status call_counts(void) {
    size_t outliers[LAMBDAS], k;
    const tws_status status = tws_predict_counts(&context, &theory, in.exponents, LAMBDAS, out.x, outliers);
    for (k = 0; k < LAMBDAS && status == TWS_OK; k++) out.x[LAMBDAS + k] = (double)outliers[k];
    return status;
}
static tws_status call_surrogate(void) {
    return tws_surrogate(&context, &theory, in.X, in.y, in.X2, in.y2, in.a, in.B, &out.two, out.x, out.x + 1000);
}
static tws_status call_features(void) {
    const tws_network n = network();
    const tws_batch b = batch();
    return tws_features(&context, &n, &b, out.C, N);
}
static tws_status call_ridge(void) { return tws_ridge(&context, in.F, S, N, N, in.y, in.lambdas[0], out.x, NULL); }
static tws_status call_ridge_path(void) {
    return tws_ridge_path(&context, in.F, S, N, N, in.y, in.lambdas, LAMBDAS, out.x, out.x + 100, out.x + 200);
}
static tws_status call_kernel_path(void) {
    return tws_kernel_path(&context, in.kernel, S, in.y, in.lambdas, LAMBDAS, out.x, out.x + 100, out.x + 200);
}
static tws_status call_ridge_operator(void) {
    return tws_ridge_operator(&context, product, NULL, S, N, in.labels, in.lambdas[0], 1e-9, 100, out.x, NULL);
}
static tws_status call_outputs(void) {
    return tws_readout_outputs(&context, in.F, S, N, N, in.coefficients, LAMBDAS, out.x);
}
static tws_status call_limit_kernel(void) {
    return tws_limit_kernel(&context, &config.activation, D, in.X, S, in.X2, S, out.x);
}
static tws_status call_run(void) {
    const tws_status status = tws_run(&context, &config, TWS_ALL_CASES, &out.result);
    out.result.seconds_data = out.result.seconds_step1 = out.result.seconds_step2 = 0;
    out.result.seconds_spectrum = out.result.seconds_total = 0;
    return status;
}
static tws_status see(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    (void)user;
    out.x[which] = (double)weights[3] + (double)readout[N - 1];
    return TWS_OK;
}
static tws_status call_visit(void) {
    const tws_status status = tws_run_visit(&context, &config, 0, see, NULL, &out.result);
    out.result.seconds_data = out.result.seconds_step1 = out.result.seconds_step2 = 0;
    out.result.seconds_spectrum = out.result.seconds_total = 0;
    return status;
}
static int hear(void *user, size_t row, const tws_spectrum *cells) {
    (void)user;
    out.x[row] = cells[0].edge + cells[1].edge;
    return 0;
}
static tws_status call_sweep(void) {
    static const double alpha1[2] = {0, 0.3}, alpha2[2] = {0.1, 0.4};
    tws_sweep_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.alpha1 = alpha1;
    plan.rows = 2;
    plan.alpha2 = alpha2;
    plan.columns = 2;
    plan.report = hear;
    return tws_sweep(&context, &config, &plan);
}

enum { ALLOCATES = 1, KEEPS = 2, IEEE = 4, SINGULAR = 8, MAY_ALLOCATE = 16 };
/* ALLOCATES: at least once; MAY_ALLOCATE: not at this size on every kernel. KEEPS: an error leaves
   the outputs as they were. IEEE: hostile numbers are no error but follow the arithmetic. SINGULAR:
   extreme numbers may make a system that is refused as not positive definite, or a theory refused as
   overflowing. */

typedef struct call {
    const char *name;
    tws_status (*make)(void);
    int flags;
    const char *reads; /* letters of the inputs below */
    const char *names; /* their names, one for each letter, with | between; the sentence begins with it */
} call;

static const call calls[] = {
    {"tws_gemm", call_gemm, MAY_ALLOCATE | KEEPS | IEEE, "XW", NULL},
    {"tws_gemm_strassen", call_strassen, MAY_ALLOCATE | KEEPS | IEEE, "XW", NULL},
    {"tws_random_normals", call_normals, 0, "", NULL},
    {"tws_random_matrix", call_matrix, 0, "", NULL},
    {"tws_activate", call_activate, IEEE, "X", NULL},
    {"tws_svd", call_svd, ALLOCATES, "W", "matrix"},
    {"tws_svd_operator", call_svd_operator, ALLOCATES, "F", "the output of apply"},
    {"tws_svd_pencil", call_pencil, ALLOCATES, "Wxf", "a|b|factors"},
    {"tws_singular_values", call_singular_values, ALLOCATES, "W", "matrix"},
    {"tws_make_weights", call_weights, 0, "", NULL},
    {"tws_make_readout", call_readout, 0, "", NULL},
    {"tws_make_directions", call_directions, 0, "", NULL},
    {"tws_make_batch", call_batch, 0, "B", "directions"},
    {"tws_make_samples", call_samples, 0, "B", "directions"},
    {"tws_forward", call_forward, ALLOCATES, "WaX", "network.weights|network.readout|batch.inputs"},
    {"tws_loss", call_loss, ALLOCATES, "WaXy", "network.weights|network.readout|batch.inputs|batch.labels"},
    {"tws_gradient", call_gradient, ALLOCATES, "WaXy", "network.weights|network.readout|batch.inputs|batch.labels"},
    {"tws_step", call_step, ALLOCATES, "WaXy", "network.weights|network.readout|batch.inputs|batch.labels"},
    {"tws_measure", call_measure, ALLOCATES, "WaB", "weights|readout|directions"},
    {"tws_hermite_coefficients", call_hermite, 0, "", NULL},
    {"tws_limit_theory", call_limit, ALLOCATES | KEEPS, "", NULL},
    {"tws_limit_theory_both", call_both, ALLOCATES | KEEPS, "", NULL},
    {"tws_predict", call_predict, ALLOCATES | KEEPS, "", NULL},
    {"tws_predict_bulk", call_bulk, ALLOCATES | KEEPS, "l", "values"},
    {"tws_predict_counts", call_counts, ALLOCATES, "e", "alpha2"},
    {"tws_surrogate", call_surrogate, ALLOCATES | SINGULAR, "XyVvaB", "X1|y1|X2|y2|readout|directions"},
    {"tws_features", call_features, ALLOCATES, "WX", "network.weights|batch.inputs"},
    {"tws_ridge", call_ridge, ALLOCATES | SINGULAR, "Fym", "features|labels|lambda"},
    {"tws_ridge_path", call_ridge_path, ALLOCATES | SINGULAR, "Fyl", "features|labels|lambda"},
    {"tws_kernel_path", call_kernel_path, ALLOCATES | SINGULAR, "Kyl", "kernel|labels|lambda"},
    {"tws_ridge_operator", call_ridge_operator, ALLOCATES | SINGULAR, "Lm", "labels|lambda"},
    {"tws_readout_outputs", call_outputs, IEEE, "Fc", NULL},
    {"tws_limit_kernel", call_limit_kernel, ALLOCATES, "XV", "first|second"},
    {"tws_run", call_run, ALLOCATES, "", NULL},
    {"tws_run_visit", call_visit, ALLOCATES, "", NULL},
    {"tws_sweep", call_sweep, ALLOCATES, "", NULL},
};

/* An array of the inputs: of reals, or of doubles. */
typedef struct array { /* K: the first row, m: one lambda, x: the first rows, all that is read */
    char letter;
    tws_real *reals;
    double *doubles;
    size_t count;
} array;

static const array arrays[] = {
    {'W', in.W, NULL, N * D},        {'a', in.a, NULL, N},
    {'X', in.X, NULL, S * D},        {'y', in.y, NULL, S},
    {'V', in.X2, NULL, S * D},       {'v', in.y2, NULL, S},
    {'B', in.B, NULL, P * D},        {'F', in.F, NULL, S * N},
    {'f', NULL, in.factors, 2},      {'l', NULL, in.lambdas, LAMBDAS},
    {'c', NULL, in.coefficients, LAMBDAS * N}, {'K', NULL, in.kernel, S},
    {'L', NULL, in.labels, S},       {'m', NULL, in.lambdas, 1},
    {'x', in.X, NULL, N * D},        {'e', NULL, in.exponents, LAMBDAS},
};

static void world(void) {
    tws_network n;
    tws_batch b;
    size_t i;
    memset(&in, 0, sizeof in);
    memset(&blank, 0x5a, sizeof blank);
    config = tws_default_config();
    config.neurons = N;
    config.inputs = D;
    config.samples = S;
    config.top = TOP;
    config.noise = 0.1;
    theory = tws_theory_from_config(&config);
    theory.batches = TWS_FRESH;
    tws_make_weights(NULL, &config, 0, N, in.W);
    tws_make_readout(NULL, &config, 0, N, in.a);
    tws_make_directions(NULL, &config, in.B);
    tws_make_batch(NULL, &config, in.B, 0, in.X, in.y);
    tws_make_batch(NULL, &config, in.B, 1, in.X2, in.y2);
    n = network();
    b = batch();
    tws_features(NULL, &n, &b, in.F, N);
    tws_limit_kernel(NULL, &config.activation, D, in.X, S, NULL, 0, in.kernel);
    in.factors[1] = 0.5;
    in.lambdas[0] = 0.1;
    in.lambdas[1] = 1;
    in.exponents[0] = 0.1;
    in.exponents[1] = 0.4;
    in.levels[0] = in.levels[1] = 0;
    for (i = 0; i < LAMBDAS * N; i++) in.coefficients[i] = 0.1 * (double)i - 1;
    for (i = 0; i < S; i++) in.labels[i] = (double)in.y[i];
    memcpy(&original, &in, sizeof in);
}

static void start(failing *memory) {
    memset(memory, 0, sizeof *memory);
    memory->fail_at = -1;
    context = tws_default_context();
    context.threads = 2;
    context.allocator.allocate = failing_allocate;
    context.allocator.release = failing_release;
    context.allocator.user = memory;
    memcpy(&out, &blank, sizeof out);
}

static void say(const char *what, const char *name, tws_status status) {
    fprintf(stderr, "%s: %s: %s: %s\n", name, what, tws_status_text(status), context.message);
}

/* ---- failing allocations ---- */

static void allocations(const call *c) {
    failing memory;
    tws_status status;
    long total, k;
    start(&memory);
    status = c->make();
    if (!CHECK(status == TWS_OK)) say("the plain call", c->name, status);
    memcpy(&expected, &out, sizeof out);
    total = memory.calls;
    CHECK(memory.out == 0);
    CHECK((c->flags & MAY_ALLOCATE) || (total > 0) == ((c->flags & ALLOCATES) != 0));
    for (k = 0; k < total; k++) {
        start(&memory);
        memory.fail_at = k;
        status = c->make();
        if (!CHECK(status == TWS_OUT_OF_MEMORY && context.message[0] != '\0')) say("one block less", c->name, status);
        CHECK(memory.out == 0);
        CHECK(memcmp(&in, &original, sizeof in) == 0);
        if (c->flags & KEEPS) CHECK(memcmp(&out, &blank, sizeof out) == 0);
    }
    start(&memory);
    memory.fail_at = total;
    CHECK(c->make() == TWS_OK && memory.out == 0 && memcmp(&out, &expected, sizeof out) == 0);
}

/* ---- workers of the caller's ---- */

/* Backwards, and each piece in the last slot of all. */
static void last_slot(void *user, size_t count, tws_task task, void *data) {
    size_t i;
    for (i = count; i > 0; i--) task(data, i - 1, *(unsigned *)user - 1);
}

static void workers(const call *c) {
    static unsigned threads[] = {1, 3, 64};
    failing memory;
    tws_status status;
    size_t i;
    for (i = 0; i < 3; i++) {
        start(&memory);
        context.threads = threads[i];
        context.parallel_for = last_slot;
        context.parallel_user = threads + i;
        status = c->make();
        if (!CHECK(status == TWS_OK)) say("workers of the caller's", c->name, status);
        if (out.result.threads == threads[i]) out.result.threads = expected.result.threads;
        CHECK(memory.out == 0 && memcmp(&out, &expected, sizeof out) == 0);
    }
    start(&memory);
    status = tws_start_workers(&context);
    CHECK(status == TWS_OK && memory.out == 1 && context.threads >= 1 && context.threads <= 2);
    status = c->make();
    if (!CHECK(status == TWS_OK)) say("workers that are kept", c->name, status);
    tws_stop_workers(&context);
    CHECK(memory.out == 0 && memcmp(&out, &expected, sizeof out) == 0);
}

/* ---- hostile numbers ---- */

static int is_finite(double x) { return x - x == 0; }

/* What the call has written (everything that differs from the blank pattern) is finite. */
static int outputs_finite(void) {
    size_t i;
    for (i = 0; i < S * S; i++)
        if (memcmp(&out.C[i], &blank.C[i], sizeof(tws_real)) != 0 && !is_finite((double)out.C[i])) return 0;
    for (i = 0; i < N * D; i++)
        if (memcmp(&out.W[i], &blank.W[i], sizeof(tws_real)) != 0 && !is_finite((double)out.W[i])) return 0;
    for (i = 0; i < sizeof out.x / sizeof *out.x; i++)
        if (!is_finite(out.x[i])) return 0;
    if (out.spectrum.top <= TWS_MAX_TOP) {
        for (i = 0; i < out.spectrum.top; i++)
            if (!is_finite(out.spectrum.singular_values[i]) || !is_finite(out.spectrum.alignments[i]) ||
                !is_finite(out.spectrum.readout_alignments[i]))
                return 0;
        if (!is_finite(out.spectrum.edge) || !is_finite(out.spectrum.captured)) return 0;
    }
    if (out.two.outliers <= TWS_MAX_OUTLIERS)
        for (i = 0; i < out.two.outliers; i++)
            if (!is_finite(out.two.singular_values[i]) || !is_finite(out.two.alignments[i])) return 0;
    return 1;
}

static void put(const array *at, size_t index, double value) {
    if (at->reals != NULL) at->reals[index] = (tws_real)value;
    else at->doubles[index] = value;
}

/* Whether the sentence begins with name number k of those between the bars. */
static int names_it(const char *names, size_t k) {
    size_t length;
    for (; k > 0; k--) names = strchr(names, '|') + 1;
    length = strcspn(names, "|");
    return strncmp(context.message, names, length) == 0 && strchr(" [", context.message[length]) != NULL;
}

static void numbers(const call *c) {
    static const double wild[] = {1e38, -3e38, 1e308, 5e-324, 1e-45, 1e19, -1e-38, 0};
    const double bad[3] = {(double)NAN, (double)INFINITY, -(double)INFINITY};
    const char *letter;
    failing memory;
    for (letter = c->reads; *letter != '\0'; letter++) {
        const array *at = arrays;
        size_t place, k, i;
        while (at->letter != *letter) at++;
        for (place = 0; place < 4; place++) /* the first, the middle, the last, all of them */
            for (k = 0; k < 3 + sizeof wild / sizeof *wild; k++) {
                const double value = k < 3 ? bad[k] : wild[k - 3];
                const int stored_finite = at->reals != NULL ? is_finite((double)(tws_real)value) : is_finite(value);
                given now;
                tws_status status;
                if (place < 3) put(at, place == 0 ? 0 : place == 1 ? at->count / 2 : at->count - 1, value);
                for (i = 0; place == 3 && i < at->count; i++) put(at, i, value);
                memcpy(&now, &in, sizeof in);
                start(&memory);
                status = c->make();
                if (c->flags & IEEE) {
                    CHECK(status == TWS_OK);
                } else if (!stored_finite) {
                    /* lambdas, factors and exponents are parameters, so out of their range; values asked for
                       where there is no density have density 0 */
                    const int parameter = strchr("lmfe", *letter) != NULL;
                    const int silent = *letter == 'l' && c->make == call_bulk;
                    if (!CHECK(silent ? status == TWS_OK : parameter ? status == TWS_BAD_ARGUMENT : status == TWS_NOT_FINITE)) {
                        fprintf(stderr, "  %g in %c[%d]\n", value, *letter, (int)place);
                        say("not finite", c->name, status);
                    }
                    if (!silent && !CHECK(names_it(c->names, (size_t)(letter - c->reads)))) say("no name", c->name, status);
                } else if (!CHECK(status == TWS_OK || status == TWS_NOT_FINITE || status == TWS_NOT_CONVERGED ||
                                  (status == TWS_BAD_ARGUMENT && (c->flags & SINGULAR || strchr("lmfe", *letter) != NULL)))) {
                    fprintf(stderr, "  %g in %c[%d]\n", value, *letter, (int)place);
                    say("extreme", c->name, status);
                }
                if (status == TWS_OK && !(c->flags & IEEE) && !CHECK(outputs_finite())) {
                    fprintf(stderr, "  %g in %c[%d]\n", value, *letter, (int)place);
                    say("an output is not finite", c->name, status);
                }
                CHECK(status == TWS_OK || context.message[0] != '\0');
                CHECK(memory.out == 0 && memcmp(&in, &now, sizeof in) == 0);
                memcpy(&in, &original, sizeof in);
            }
    }
}

/* Entries are finite, what is asked for is not: s_1 of the first matrix, some a + factor b, |a|. */
static void overflows(void) {
    const tws_real most = sizeof(tws_real) == sizeof(float) ? (tws_real)3e38 : (tws_real)1.7e308;
    const int can = sizeof(tws_real) == sizeof(double);
    failing memory;
    size_t i;
    start(&memory);
    for (i = 0; i < N * D; i++) in.W[i] = in.X[i] = most;
    CHECK(call_svd() == (can ? TWS_NOT_FINITE : TWS_OK));
    CHECK(!can || strncmp(context.message, "matrix has a singular value above", 33) == 0);
    context.message[0] = '\0';
    CHECK(call_singular_values() == (can ? TWS_NOT_FINITE : TWS_OK));
    CHECK(!can || strncmp(context.message, "matrix has a singular value above", 33) == 0);
    CHECK(call_pencil() == TWS_NOT_FINITE && strncmp(context.message, "a + factors[j] b", 16) == 0);
    CHECK(call_limit_kernel() == (can ? TWS_NOT_FINITE : TWS_OK));
    CHECK(!can || strncmp(context.message, "first holds", 11) == 0);
    memcpy(&in, &original, sizeof in);
    for (i = 0; i < S * D; i++) in.X2[i] = most;
    CHECK(call_limit_kernel() == (can ? TWS_NOT_FINITE : TWS_OK));
    CHECK(!can || strncmp(context.message, "second holds", 12) == 0);
    for (i = 0; i < N; i++) in.a[i] = most;
    CHECK(call_measure() == (can ? TWS_NOT_FINITE : TWS_OK));
    CHECK(!can || strncmp(context.message, "readout is so long", 18) == 0);
    CHECK(can || out.spectrum.readout_alignments[0] <= 1);
    memcpy(&in, &original, sizeof in);
}

/* ---- sizes ---- */

static void refused(const char *what, tws_status status) {
    if (!CHECK(status == TWS_TOO_LARGE || status == TWS_BAD_ARGUMENT || status == TWS_OUT_OF_MEMORY)) say(what, "sizes", status);
    CHECK(context.message[0] != '\0');
    context.message[0] = '\0';
}

/* ... with a sentence that names it. */
static void refused_for(const char *what, tws_status status, const char *name) {
    if (!CHECK(strstr(context.message, name) != NULL)) say(what, name, status);
    refused(what, status);
}

/* The same of what takes no matrix but counts and a configuration. The arrays end with a number out of
   range, so that nothing is read beyond them before the refusal. */
static void other_sizes(size_t r, size_t c) {
    static const double exponents[2] = {0.1, 0.5}, none[1] = {0.5};
    const size_t most = (size_t)-1;
    const int high = (double)r > 2147483648.0, wide = (double)c > 2147483648.0; /* more than any matrix may have */
    const tws_config before = config;
    tws_theory_input t = theory;
    tws_sweep_plan plan;
    size_t outliers[2];
    if (c > most / 64)
        refused_for("bulk", tws_predict_bulk(&context, &theory, in.lambdas, c, out.x, out.x), "count is ");
    refused_for("counts", tws_predict_counts(&context, &theory, exponents, c, out.x, outliers),
                c > most / sizeof(double) ? "count is " : "alpha2 is 0.5");
    t.samples = (double)r, t.inputs = (double)c;
    refused_for("surrogate", tws_surrogate(&context, &t, in.X, in.y, in.X2, in.y2, in.a, in.B, &out.two, NULL, NULL),
                r > c ? "samples " : "inputs ");
    t = theory, t.neurons = (double)twsi_max(r, c);
    if (twsi_max(r, c) > most / 4096)
        refused("surrogate, N", tws_surrogate(&context, &t, in.X, in.y, in.X2, in.y2, in.a, in.B, &out.two, NULL, NULL));
    memset(&plan, 0, sizeof plan);
    plan.alpha1 = plan.alpha2 = none;
    plan.rows = r, plan.columns = c;
    plan.report = hear;
    refused_for("sweep, grid", tws_sweep(&context, &config, &plan), "plan.columns is ");
    plan.rows = most, plan.columns = 1;
    refused_for("sweep, rows", tws_sweep(&context, &config, &plan), "plan.rows is ");
    plan.alpha1 = exponents, plan.rows = 1, plan.columns = c;
    refused("sweep, columns", tws_sweep(&context, &config, &plan));
    plan.columns = 1;
    plan.alpha2 = exponents;
    config.neurons = r, config.inputs = c;
    refused_for("sweep, N d", tws_sweep(&context, &config, &plan), high ? "neurons is" : "inputs ");
    config = before, config.samples = r, config.inputs = c;
    refused_for("sweep, n d", tws_sweep(&context, &config, &plan), wide ? "inputs is" : "samples ");
    config = before, config.neurons = r, config.samples = c;
    refused_for("sweep, N n", tws_sweep(&context, &config, &plan), high ? "neurons is" : "samples ");
    config = before;
}

/* Sizes whose products, in elements or in bytes, do not fit in size_t. */
static void sizes(void) {
    const size_t most = (size_t)-1, half = most / 2, root = (size_t)1 << (4 * sizeof(size_t));
    const size_t pairs[][2] = {{most, 2}, {2, most}, {half, 3}, {3, half}, {root, root}, {most / 4, 8}, {most / 8, 8},
                               {most, most}, {most / sizeof(tws_real), 2}, {root, root / 4}, {root / 2, root / 2}};
    tws_svd_options options = tws_default_svd_options(1);
    failing memory;
    size_t k;
    start(&memory);
    for (k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        const size_t r = pairs[k][0], c = pairs[k][1];
        tws_network n = network();
        tws_batch b = batch();
        size_t iterations;
        refused("gemm", tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, r, c, 1, 1, in.X, 1, in.W, c, 0, out.C, c));
        refused("strassen", tws_gemm_strassen(&context, 1, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, r, c, 1, in.X, 1, in.W, c, out.C, c));
        refused("gemm, A", tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, r, 1, c, 1, in.X, c, in.W, 1, 0, out.C, 1));
        refused("gemm, B", tws_gemm(&context, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, 1, c, r, 1, in.X, r, in.W, c, 0, out.C, c));
        refused("matrix", tws_random_matrix(&context, 1, 1, 0, r, c, out.C, c));
        refused("svd", tws_svd(&context, &options, in.W, r, c, c, out.x, NULL, NULL, NULL, NULL));
        refused("operator", tws_svd_operator(&context, &options, product, NULL, r, c, out.x, out.x, out.x, NULL, NULL));
        refused("pencil", tws_svd_pencil(&context, &options, in.W, c, in.X, c, r, c, in.factors, 2, NULL, out.x, NULL, NULL, NULL, NULL));
        refused("pencil, many", tws_svd_pencil(&context, &options, in.W, c, in.X, c, 4, 4, in.factors, half, NULL, out.x, NULL, NULL, NULL, NULL));
        refused("values", tws_singular_values(&context, in.W, r, c, c, out.x));
        refused("measure", tws_measure(&context, in.W, r, c, NULL, NULL, 0, 1, 1, &out.spectrum));
        n.count = r, n.inputs = c;
        refused("forward, N d", tws_forward(&context, &n, &b, out.x));
        refused("gradient, N d", tws_gradient(&context, &n, &b, out.W, NULL));
        refused("step, N d", tws_step(&context, &n, &b, 1, in.W, NULL));
        refused("features, N d", tws_features(&context, &n, &b, out.C, r));
        n = network(), n.inputs = c, b.samples = r;
        refused("forward, n d", tws_forward(&context, &n, &b, out.x));
        refused("loss, n d", tws_loss(&context, &n, &b, out.x));
        refused("gradient, n d", tws_gradient(&context, &n, &b, out.W, NULL));
        n = network(), b = batch(), b.samples = r;
        refused("features, n N", tws_features(&context, &n, &b, out.C, c));
        refused("ridge", tws_ridge(&context, in.F, r, c, c, in.y, 1, out.x, &iterations));
        refused("path", tws_ridge_path(&context, in.F, r, c, c, in.y, in.lambdas, 2, out.x, out.x, out.x));
        refused("path, many", tws_ridge_path(&context, in.F, S, N, N, in.y, in.lambdas, half, out.x, out.x, out.x));
        refused("kernel path", tws_kernel_path(&context, in.kernel, r, in.y, in.lambdas, c, out.x, out.x, out.x));
        if (r >= half / 8 || c >= half / 8) /* what any memory might hold is taken for granted */
            refused("ridge operator", tws_ridge_operator(&context, product, NULL, r, c, in.labels, 1, 1e-6, 10, out.x, &iterations));
        refused("outputs", tws_readout_outputs(&context, in.F, r, c, c, in.coefficients, 1, out.x));
        refused("kernel", tws_limit_kernel(&context, &config.activation, c, in.X, r, NULL, 0, out.x));
        refused("kernel, pairs", tws_limit_kernel(&context, &config.activation, D, in.X, r, in.X2, c, out.x));
        other_sizes(r, c);
        CHECK(memory.out == 0 && memcmp(&in, &original, sizeof in) == 0);
    }
    for (k = 0; k < 9; k++) { /* N, d, n that the configuration allows and no memory holds */
        const size_t top = sizeof(size_t) > 4 ? (size_t)1 << (sizeof(size_t) > 4 ? 31 : 0) : half;
        config.neurons = k % 3 == 0 ? 2 : top;
        config.inputs = k % 3 == 1 ? 2 : top;
        config.samples = k % 3 == 2 ? 2 : top;
        config.top = 1;
        config.target.directions = 1;
        memory.fail_at = memory.calls + (long)(k / 3); /* in case it is not refused at once */
        refused("run", tws_run(&context, &config, TWS_ALL_CASES, &out.result));
        memory.fail_at = memory.calls + (long)(k / 3);
        refused_for("sweep", call_sweep(), "neurons");
        CHECK(memory.out == 0);
    }
    world();
}

/* ---- arguments one by one ---- */

#define REFUSED(call, word)                                                                                        \
    do {                                                                                                           \
        context.message[0] = '\0';                                                                                 \
        if (!CHECK((call) == TWS_BAD_ARGUMENT && strstr(context.message, word) != NULL)) say(#call, word, TWS_OK); \
    } while (0)

static int sums_nothing(void *user, double *values, size_t count) {
    (void)user, (void)values, (void)count;
    return 0;
}
static int sums_badly(void *user, double *values, size_t count) {
    (void)user, (void)values, (void)count;
    return 1;
}
static tws_status product_fails(void *user, int transposed, const double *x, double *y) {
    (void)user, (void)transposed, (void)x, (void)y;
    return TWS_CALLBACK_FAILED;
}
static tws_status product_nan(void *user, int transposed, const double *x, double *y) {
    const tws_status status = product(user, transposed, x, y);
    y[0] = (double)NAN;
    return status;
}

/* A context that no call can use: the sentence names the member. */
static void bad_contexts(void) {
    failing memory;
    size_t k;
    int kernel = (int)TWS_KERNEL_COUNT;
    while (tws_kernel_available((tws_kernel)kernel)) kernel++;
    for (k = 0; k < sizeof calls / sizeof *calls; k++) {
        const call *c = &calls[k];
        const int alone = c->make == call_hermite || c->make == call_ridge_operator; /* no kernel, no thread */
        start(&memory);
        context.kernel = (tws_kernel)kernel;
        if (!alone) CHECK(c->make() == TWS_UNAVAILABLE && strstr(context.message, "context.kernel") != NULL);
        start(&memory);
        context.threads = 65;
        if (!alone && c->make != call_normals) REFUSED(c->make(), "context.threads");
        start(&memory);
        context.allocator.release = NULL;
        if (c->make != call_hermite && c->make != call_normals) REFUSED(c->make(), "context.allocator");
        CHECK(memory.out == 0 && memcmp(&in, &original, sizeof in) == 0);
    }
}

static void arguments_one_by_one(void) {
    const double exponents[2] = {0.1, 0.5};
    tws_sweep_plan plan;
    tws_network n = network();
    tws_batch b = batch();
    tws_spectrum *const spectrum = &out.spectrum;
    size_t iterations;
    failing memory;
    start(&memory);
    REFUSED(tws_make_weights(&context, &config, N, 1, out.W), "neurons");
    REFUSED(tws_make_weights(&context, &config, N + 1, 0, out.W), "neurons");
    REFUSED(tws_make_weights(&context, &config, 0, N, NULL), "weights");
    REFUSED(tws_make_readout(&context, &config, 0, N, NULL), "readout");
    REFUSED(tws_make_directions(&context, &config, NULL), "directions");
    REFUSED(tws_make_batch(&context, &config, NULL, 0, out.C, out.W), "directions");
    REFUSED(tws_make_batch(&context, &config, in.B, 0, NULL, out.W), "inputs");
    REFUSED(tws_make_batch(&context, &config, in.B, 0, out.C, NULL), "labels");
    REFUSED(tws_make_batch(&context, &config, in.B, 8388608, out.C, out.W), "8388608");
    REFUSED(tws_make_samples(&context, &config, in.B, 0, S, 1, out.C, out.W), "samples");
    REFUSED(tws_measure(&context, in.W, N, D, in.a, in.B, P, TOP, 1, NULL), "spectrum");
    REFUSED(tws_measure(&context, in.W, 0, D, in.a, in.B, P, TOP, 1, spectrum), "count");
    REFUSED(tws_measure(&context, in.W, N, D, in.a, in.B, P, 0, 1, spectrum), "top");
    REFUSED(tws_measure(&context, in.W, N, D, in.a, in.B, P, D + 1, 1, spectrum), "top");
    REFUSED(tws_measure(&context, in.W, N, D, in.a, in.B, TWS_MAX_DIRECTIONS + 1, TOP, 1, spectrum), "p is 9");
    REFUSED(tws_hermite_coefficients(&context, NULL, out.x, 3), "activation");
    REFUSED(tws_hermite_coefficients(&context, &config.activation, NULL, 3), "coefficients");
    REFUSED(tws_hermite_coefficients(&context, &config.activation, out.x, 33), "count is 33");
    REFUSED(tws_forward(&context, NULL, &b, out.x), "network");
    REFUSED(tws_forward(&context, &n, NULL, out.x), "batch");
    REFUSED(tws_forward(&context, &n, &b, NULL), "output");
    n.readout = NULL;
    REFUSED(tws_forward(&context, &n, &b, out.x), "readout");
    n = network(), n.weights = NULL;
    REFUSED(tws_features(&context, &n, &b, out.C, N), "weights");
    n = network(), n.output_scale = -1;
    REFUSED(tws_loss(&context, &n, &b, out.x), "output_scale");
    n = network(), b.labels = NULL;
    REFUSED(tws_loss(&context, &n, &b, out.x), "labels");
    CHECK(tws_forward(&context, &n, &b, out.x) == TWS_OK);
    b = batch(), b.samples = 0;
    REFUSED(tws_gradient(&context, &n, &b, out.W, NULL), "samples");
    b = batch();
    REFUSED(tws_features(&context, &n, &b, NULL, N), "features");
    REFUSED(tws_features(&context, &n, &b, out.C, N - 1), "features");
    REFUSED(tws_ridge(&context, in.F, S, N, N, in.y, -1, out.x, NULL), "lambda");
    REFUSED(tws_ridge(&context, in.F, S, N, N, NULL, 1, out.x, NULL), "labels");
    REFUSED(tws_readout_outputs(&context, in.F, S, N, N, NULL, 1, out.x), "coefficients");
    REFUSED(tws_readout_outputs(&context, in.F, S, N, N, in.coefficients, 1, NULL), "outputs");
    REFUSED(tws_readout_outputs(&context, in.F, S, N, N, in.coefficients, 0, out.x), "count");
    CHECK(tws_readout_outputs(&context, in.F, S, N, N, in.coefficients, (size_t)-1 / 4, out.x) == TWS_TOO_LARGE);
    REFUSED(tws_ridge_operator(&context, NULL, NULL, S, N, in.labels, 1, 1e-9, 9, out.x, NULL), "apply");
    REFUSED(tws_ridge_operator(&context, product, NULL, S, N, NULL, 1, 1e-9, 9, out.x, NULL), "labels");
    REFUSED(tws_ridge_operator(&context, product, NULL, S, N, in.labels, 1, 1e-9, 9, NULL, NULL), "coefficients");
    CHECK(tws_ridge_operator(&context, product_nan, NULL, S, N, in.labels, 1, 1e-9, 9, out.x, NULL) == TWS_NOT_FINITE);
    CHECK(tws_ridge_operator(&context, product_fails, NULL, S, N, in.labels, 1, 1e-9, 9, out.x, NULL) == TWS_CALLBACK_FAILED);
    CHECK(tws_ridge_operator(&context, product, NULL, S, N, in.labels, 1e-6, 1e-14, 1, out.x, &iterations) == TWS_NOT_CONVERGED);
    CHECK(iterations == 1);
    memset(in.F, 0, sizeof in.F); /* without rank, and nothing added */
    REFUSED(tws_ridge(&context, in.F, S, N, N, in.y, 0, out.x, NULL), "lambda");
    memcpy(&in, &original, sizeof in);
    REFUSED(tws_limit_kernel(&context, NULL, D, in.X, S, NULL, 0, out.x), "activation");
    REFUSED(tws_limit_kernel(&context, &config.activation, D, in.X, S, NULL, 0, NULL), "kernel");
    REFUSED(tws_limit_theory(&context, NULL, &out.limit), "input");
    REFUSED(tws_limit_theory(&context, &theory, NULL), "limit");
    REFUSED(tws_limit_theory_both(&context, NULL, &out.limit, NULL), "input");
    REFUSED(tws_predict(&context, NULL, &out.one, &out.two), "input");
    REFUSED(tws_predict_bulk(&context, &theory, NULL, 1, out.x, out.x), "values");
    REFUSED(tws_predict_counts(&context, &theory, NULL, 1, out.x, &iterations), "alpha2");
    REFUSED(tws_surrogate(&context, &theory, NULL, in.y, in.X2, in.y2, in.a, in.B, &out.two, NULL, NULL), "NULL");
    REFUSED(tws_surrogate(&context, &theory, in.X, in.y, in.X2, in.y2, in.a, in.B, NULL, NULL, NULL), "step2");
    memset(in.a, 0, sizeof in.a);
    REFUSED(call_surrogate(), "readout is zero");
    memcpy(&in, &original, sizeof in);
    memset(&plan, 0, sizeof plan);
    REFUSED(tws_sweep(&context, &config, NULL), "plan");
    REFUSED(tws_sweep(&context, &config, &plan), "alpha1");
    plan.alpha1 = exponents;
    REFUSED(tws_sweep(&context, &config, &plan), "alpha2");
    plan.alpha2 = exponents;
    REFUSED(tws_sweep(&context, &config, &plan), "report");
    plan.report = hear;
    REFUSED(tws_sweep(&context, &config, &plan), "rows");
    plan.rows = plan.columns = 2;
    REFUSED(tws_sweep(&context, &config, &plan), "0.5");
    context.reduce = sums_nothing;
    REFUSED(tws_features(&context, &n, &b, out.C, N), "context.reduce");
    REFUSED(tws_sweep(&context, &config, &plan), "context.reduce");
    REFUSED(call_run(), "context.reduce");
    context.reduce = sums_badly;
    CHECK(call_gradient() == TWS_CALLBACK_FAILED && call_loss() == TWS_CALLBACK_FAILED && call_step() == TWS_CALLBACK_FAILED);
    CHECK(call_svd() == TWS_CALLBACK_FAILED && call_measure() == TWS_CALLBACK_FAILED && call_pencil() == TWS_CALLBACK_FAILED);
    CHECK(memory.out == 0 && memcmp(&in, &original, sizeof in) == 0);
}

/* ---- what takes neither arrays nor memory ---- */

static const double wild_numbers[] = {0,    -0.0,  1,     -1,    0.5,  2,     1e-300, -1e-300, 5e-324, 1e300,
                                      -1e300, 1e38, -1e38, 1e19, 710,  -746,  1e-8,  3.5,     40,     -40};
enum { WILD = sizeof wild_numbers / sizeof *wild_numbers };

/* Every activation and target at every wild number: finite where the header says so, NaN for NaN. */
static void functions(void) {
    const double nan = (double)NAN, infinite = (double)INFINITY;
    int k;
    size_t i, j;
    for (k = -2; k < (int)TWS_ACTIVATION_COUNT + 2; k++) {
        tws_activation a;
        const int known = k >= 0 && k < (int)TWS_ACTIVATION_COUNT, polynomial = k == (int)TWS_CUBIC || k == (int)TWS_HERMITE;
        memset(&a, 0, sizeof a);
        a.kind = (tws_activation_kind)k;
        a.hermite[1] = 1, a.hermite[8] = -1e20;
        CHECK(tws_activation_name(a.kind) != NULL && (strcmp(tws_activation_name(a.kind), "?") == 0) == !known);
        if (k == (int)TWS_CUSTOM_ACTIVATION) continue; /* the caller's own, see custom() */
        for (i = 0; i < WILD; i++) {
            const double f = tws_activation_value(&a, wild_numbers[i]), g = tws_activation_slope(&a, wild_numbers[i]);
            CHECK(polynomial ? f == f && g == g : is_finite(f) && is_finite(g));
            CHECK(known || (f == 0 && g == 0));
        }
        if (known) CHECK(tws_activation_value(&a, nan) != tws_activation_value(&a, nan));
        if (known) CHECK(tws_activation_slope(&a, nan) != tws_activation_slope(&a, nan));
        if (known && k != (int)TWS_SINE && k != (int)TWS_HERMITE) {
            CHECK(tws_activation_value(&a, infinite) > 0);
            CHECK(tws_activation_value(&a, -infinite) == tws_activation_value(&a, -infinite));
        }
    }
    for (k = -2; k < (int)TWS_TARGET_COUNT + 2; k++) {
        const int known = k >= 0 && k < (int)TWS_TARGET_COUNT;
        const char *name = tws_target_name((tws_target_kind)k);
        double u[TWS_MAX_DIRECTIONS];
        tws_target t;
        CHECK(name != NULL && (strcmp(name, "?") == 0) == !known);
        memset(&t, 0, sizeof t);
        if (!known || k == (int)TWS_CUSTOM_TARGET) {
            u[0] = 3;
            t.kind = (tws_target_kind)k;
            if (!known) CHECK(tws_target_value(&t, u) == 0);
            continue;
        }
        CHECK(tws_target_named(k == (int)TWS_TARGET_HERMITE ? "hermite:0,1,-1e20" : name, &t) == TWS_OK);
        for (i = 0; i < WILD; i++)
            for (j = 0; j < TWS_MAX_DIRECTIONS; j++) {
                double f;
                size_t l;
                for (l = 0; l < TWS_MAX_DIRECTIONS; l++) u[l] = wild_numbers[(i + l * j) % WILD];
                f = tws_target_value(&t, u);
                if (k == (int)TWS_SIGN || k == (int)TWS_SIGN_PRODUCT3 || k == (int)TWS_STEP3 || k == (int)TWS_STEP4 ||
                    k == (int)TWS_TARGET_TANH || k == (int)TWS_SIN || k == (int)TWS_TARGET_RELU || k == (int)TWS_LINEAR)
                    CHECK(is_finite(f));
            }
        for (i = 0; i < t.directions; i++) {
            for (j = 0; j < TWS_MAX_DIRECTIONS; j++) u[j] = 1;
            u[i] = nan;
            CHECK(tws_target_value(&t, u) != tws_target_value(&t, u));
        }
    }
}

/* Names that are none, and what they would have filled. */
static void names(void) {
    static const char *const bad[] = {
        "",           " ",           "tanh ",       " tanh",         "Tanh",          "tan",          "hermite",      "hermite:",
        "hermite:,",  "hermite:1",   "hermite:0,0", "hermite:1,,2",  "hermite:1,2,",  "hermite:1,nan", "hermite:1,inf", "hermite:0,1e21",
        "hermite:0,x", "hermite:0,1e", "hermite:0,+-1", "hermite:0,1e99999999999999999999", "hermite:0,-", "hermite:0,.",
        "hermite:0,0x1", "hermite:0,1,2,3,4,5,6,7,8,9", "custom", "?", "product4", "sine,", "hermite:0, 1", "hermite;0,1"};
    static char large[100001];
    tws_activation a, a0;
    tws_target t, t0;
    size_t k;
    memset(&a0, 0x5a, sizeof a0);
    memset(&t0, 0x5a, sizeof t0);
    memset(large, '1', sizeof large - 1);
    for (k = 0; k < sizeof bad / sizeof *bad + 3; k++) {
        const size_t last = sizeof bad / sizeof *bad;
        const char *name = k < last ? bad[k] : k == last ? NULL : large;
        if (k == last + 2) memcpy(large, "hermite:", 8); /* of 99,992 digits */
        memcpy(&a, &a0, sizeof a);
        memcpy(&t, &t0, sizeof t);
        CHECK(tws_activation_named(name, &a) == TWS_BAD_ARGUMENT && memcmp(&a, &a0, sizeof a) == 0);
        if (k < last && strcmp(bad[k], "hermite:1") == 0) continue; /* a constant is a target */
        CHECK(tws_target_named(name, &t) == TWS_BAD_ARGUMENT && memcmp(&t, &t0, sizeof t) == 0);
    }
    CHECK(tws_activation_named("tanh", NULL) == TWS_BAD_ARGUMENT);
    CHECK(tws_target_named("linear", NULL) == TWS_BAD_ARGUMENT);
}

/* Callbacks of the caller that are missing, or give NaN. */
static double gives_nan(void *user, double x) {
    (void)user;
    return x - x + (double)NAN;
}
static double gives_no_label(void *user, const double *u) {
    (void)user;
    return u[0] - u[0] + (double)NAN;
}
static void custom(void) {
    const tws_activation none = tws_custom_activation(NULL, NULL, NULL), nan = tws_custom_activation(gives_nan, gives_nan, NULL);
    const tws_config before = config;
    tws_network without = network();
    tws_batch samples = batch();
    failing memory;
    start(&memory);
    config.activation = none;
    CHECK(call_run() == TWS_BAD_ARGUMENT && call_activate() == TWS_BAD_ARGUMENT && call_hermite() == TWS_BAD_ARGUMENT);
    CHECK(call_gradient() == TWS_BAD_ARGUMENT && call_features() == TWS_BAD_ARGUMENT && call_limit_kernel() == TWS_BAD_ARGUMENT);
    config.activation = before.activation;
    without.readout = NULL; /* the features do not rest on it */
    without.output_scale = (double)NAN;
    samples.labels = NULL;
    CHECK(tws_features(&context, &without, &samples, out.C, N) == TWS_OK);
    CHECK(memcmp(out.C, in.F, sizeof in.F) == 0);
    config.activation = nan;
    CHECK(call_hermite() == TWS_BAD_ARGUMENT);
    CHECK(call_run() != TWS_OK && context.message[0] != '\0');
    config = before;
    config.target = tws_custom_target(NULL, 1, NULL);
    CHECK(call_run() == TWS_BAD_ARGUMENT && call_batch() == TWS_BAD_ARGUMENT);
    config.target = tws_custom_target(gives_no_label, 0, NULL);
    CHECK(call_run() == TWS_BAD_ARGUMENT && call_batch() == TWS_BAD_ARGUMENT);
    config.target = tws_custom_target(gives_no_label, TWS_MAX_DIRECTIONS + 1, NULL);
    CHECK(call_run() == TWS_BAD_ARGUMENT && call_batch() == TWS_BAD_ARGUMENT);
    config.target = tws_custom_target(gives_no_label, 1, NULL);
    CHECK(call_batch() == TWS_NOT_FINITE && call_run() == TWS_NOT_FINITE);
    theory.target = config.target;
    CHECK(call_limit() == TWS_BAD_ARGUMENT && call_predict() == TWS_BAD_ARGUMENT);
    world();
}

/* One wild value in each number of a configuration and of the theory's input: refused with a sentence, or
   run with finite outputs. */
static void configurations(void) {
    const double bad[4] = {(double)NAN, (double)INFINITY, -(double)INFINITY, -1e308};
    double *const of_config[] = {&config.alpha1, &config.alpha2, &config.scale1, &config.scale2, &config.noise};
    double *const of_theory[] = {&theory.alpha1, &theory.alpha2, &theory.scale1, &theory.scale2, &theory.noise,
                                 &theory.neurons, &theory.inputs, &theory.samples};
    char message[240];
    failing memory;
    size_t i, k;
    CHECK(tws_check(NULL, message, sizeof message) == TWS_BAD_ARGUMENT && tws_check(NULL, NULL, 0) == TWS_BAD_ARGUMENT);
    for (i = 0; i < sizeof of_config / sizeof *of_config; i++)
        for (k = 0; k < 4 + WILD; k++) {
            const double value = k < 4 ? bad[k] : wild_numbers[k - 4];
            tws_status checked, status;
            char cut[9];
            *of_config[i] = value;
            memset(message, 'x', sizeof message);
            checked = tws_check(&config, message, sizeof message);
            CHECK(checked == TWS_OK || (checked == TWS_BAD_ARGUMENT && memchr(message, '\0', sizeof message) != NULL));
            CHECK(checked == TWS_BAD_ARGUMENT || k >= 4);
            memset(cut, 'x', sizeof cut);
            CHECK(tws_check(&config, cut, 5) == checked && memcmp(cut + 5, "xxxx", 4) == 0);
            CHECK(tws_check(&config, NULL, 0) == checked);
            if (checked == TWS_OK)
                CHECK(is_finite(tws_step_size(&config, 1)) && is_finite(tws_step_size(&config, 2)) &&
                      tws_step_size(&config, 0) == 0 && tws_step_size(&config, 3) == 0);
            start(&memory);
            status = call_run();
            if (!CHECK(checked == TWS_OK ? status == TWS_OK || status == TWS_NOT_FINITE || status == TWS_NOT_CONVERGED
                                         : status == TWS_BAD_ARGUMENT))
                say("run", "configurations", status);
            CHECK(memory.out == 0);
            world();
        }
    for (i = 0; i < sizeof of_theory / sizeof *of_theory; i++)
        for (k = 0; k < 4; k++) {
            *of_theory[i] = bad[k];
            start(&memory);
            CHECK(call_limit() == TWS_BAD_ARGUMENT && context.message[0] != '\0');
            CHECK(call_predict() == TWS_BAD_ARGUMENT && call_bulk() == TWS_BAD_ARGUMENT);
            CHECK((call_counts() == TWS_BAD_ARGUMENT) == (of_theory[i] != &theory.alpha2)); /* has its own */
            CHECK((call_surrogate() == TWS_BAD_ARGUMENT) == (of_theory[i] != &theory.noise)); /* not used there */
            CHECK(memory.out == 0);
            CHECK(tws_limit_orders(&theory) >= 1);
            world();
        }
}

/* Formulas at wild numbers return; in their range they are finite. */
static void formulas(void) {
    tws_warnings warnings;
    tws_random random = tws_random_stream((uint64_t)-1, (uint32_t)-1, (uint64_t)-1);
    uint32_t bound = 1;
    failing memory;
    size_t i, j, k;
    for (i = 0; i < WILD; i++)
        for (j = 0; j < WILD; j++) {
            const double n = wild_numbers[i], d = wild_numbers[j];
            const int range = n >= 1 && d >= 1 && n < 1e20 && d < 1e20;
            const double edge = tws_bulk_edge(n, d), scale = tws_edge_scale(n, d);
            CHECK(!range || (edge > 1 && is_finite(edge) && scale > 0 && is_finite(scale)));
            for (k = 0; k < WILD; k++) {
                const double density = tws_bulk_density(n, d, wild_numbers[k]);
                CHECK(!range || (density >= 0 && is_finite(density)));
            }
        }
    start(&memory);
    CHECK(call_measure() == TWS_OK);
    for (i = 0; i < WILD; i++) {
        tws_count_outliers(&out.spectrum, wild_numbers[i]);
        CHECK(out.spectrum.outliers <= out.spectrum.top && out.spectrum.edge >= out.spectrum.row_edge);
    }
    tws_count_outliers(&out.spectrum, (double)NAN);
    CHECK(out.spectrum.outliers <= out.spectrum.top && out.spectrum.edge == out.spectrum.edge);
    CHECK(call_limit() == TWS_OK && call_predict() == TWS_OK);
    CHECK(tws_theory_warnings(&context, &theory, &out.limit, &out.two, &warnings) == TWS_OK);
    CHECK(warnings.count <= TWS_MAX_WARNINGS);
    theory.neurons = 4 * D; /* far from square */
    if (!CHECK(call_limit() == TWS_OK && call_predict() == TWS_OK)) say("N = 4 d", "theory", TWS_OK);
    CHECK(tws_theory_warnings(&context, &theory, &out.limit, &out.two, &warnings) == TWS_OK);
    for (i = 0; i < warnings.count && strncmp(warnings.text[i], "N/d = 4 ", 8) != 0; i++) continue;
    CHECK(i < warnings.count);
    theory.neurons = N;
    CHECK(tws_theory_warnings(&context, NULL, &out.limit, &out.two, &warnings) == TWS_BAD_ARGUMENT);
    CHECK(tws_theory_warnings(&context, &theory, NULL, &out.two, &warnings) == TWS_BAD_ARGUMENT);
    CHECK(tws_theory_warnings(&context, &theory, &out.limit, NULL, &warnings) == TWS_BAD_ARGUMENT);
    CHECK(tws_theory_warnings(&context, &theory, &out.limit, &out.two, NULL) == TWS_BAD_ARGUMENT);
    config.output_scale = TWS_MEAN_FIELD;
    CHECK(is_finite(tws_output_scale(&config)));
    {
        const tws_network made = tws_network_from_config(&config, in.W, in.a);
        CHECK(made.count == N && made.inputs == D && made.output_scale == tws_output_scale(&config) && made.weights == in.W &&
              made.readout == in.a && made.activation.kind == config.activation.kind);
        CHECK(tws_network_from_config(&config, NULL, NULL).weights == NULL);
    }
    for (i = 0; i < 33; i++, bound *= 2) { /* bound 0 at last */
        const double u = tws_random_uniform(&random);
        const uint32_t below = tws_random_below(&random, bound);
        CHECK(u > 0 && u < 1 && (bound == 0 ? below == 0 : below < bound));
        CHECK(tws_random_below(&random, (uint32_t)-1) < (uint32_t)-1);
        CHECK(tws_random_below(&random, 0x80000001u) < 0x80000001u); /* throws half of the words away */
        (void)tws_random_bits(&random);
    }
    world();
}

/* The context's own numbers. */
static void contexts(void) {
    const tws_context *none = NULL;
    tws_context c = tws_default_context();
    int k;
    CHECK(tws_version() == TWS_VERSION && tws_context_threads(none) >= 1);
    CHECK(tws_kernel_available(tws_context_kernel(none)));
    for (k = -3; k < (int)TWS_KERNEL_COUNT + 3; k++) {
        const int known = k >= 0 && k < (int)TWS_KERNEL_COUNT;
        const char *name = tws_kernel_name((tws_kernel)k);
        CHECK(name != NULL && (strcmp(name, "?") == 0) == !known);
        CHECK(known || !tws_kernel_available((tws_kernel)k));
    }
    for (k = -3; k < (int)TWS_STATUS_COUNT + 3; k++) CHECK(tws_status_text((tws_status)k)[0] != '\0');
    c.threads = (unsigned)-1;
    CHECK(tws_context_threads(&c) >= 1 && tws_context_threads(&c) <= 64);
}

/* Starting workers that are kept: what is refused leaves the context as it was. */
static void kept_workers(void) {
    failing memory;
    int unknown = 99, k;
    CHECK(tws_start_workers(NULL) == TWS_BAD_ARGUMENT);
    tws_stop_workers(NULL);
    for (k = 0; k < 5; k++) {
        static const tws_status expect[] = {TWS_BAD_ARGUMENT, TWS_OUT_OF_MEMORY, TWS_UNAVAILABLE, TWS_BAD_ARGUMENT, TWS_BAD_ARGUMENT};
        static const char *const named[] = {"context.threads is 65", "context.threads", "context.kernel is 99", "context.allocator", "context.parallel_for"};
        tws_context before;
        start(&memory);
        if (k == 0) context.threads = 65;
        if (k == 1) memory.fail_at = 0;
        if (k == 2) context.kernel = (tws_kernel)unknown;
        if (k == 3) context.allocator.release = NULL;
        if (k == 4) context.parallel_for = last_slot;
        before = context;
        CHECK(tws_start_workers(&context) == expect[k] && strstr(context.message, named[k]) != NULL);
        memcpy(context.message, before.message, sizeof context.message);
        CHECK(memory.out == 0 && memcmp(&before, &context, sizeof before) == 0);
        tws_stop_workers(&context);
        CHECK(memory.out == 0 && memcmp(&before, &context, sizeof before) == 0);
    }
}

/* All but what goes through the table of calls. */
static void all_others(void) {
    overflows();
    sizes();
    bad_contexts();
    arguments_one_by_one();
    functions();
    names();
    custom();
    configurations();
    formulas();
    contexts();
    kept_workers();
}

/* ---- a small stack ---- */

/* Products in panels, of Strassen's form, a matrix in parts, ridge regression both ways, a sweep that solves
   pencils: what the small world does not reach. */
static void larger_calls(void) {
    enum { SIDE = 512, ROWS = 150, WIDTH = 130, BOTH = ROWS * WIDTH };
    static tws_real a[SIDE * SIDE], b[SIDE * SIDE], c[SIDE * SIDE];
    static double x[SIDE * SIDE], y[2 * SIDE], left[2 * SIDE * TOP], right[2 * SIDE * TOP];
    const tws_svd_options options = tws_default_svd_options(TOP);
    const tws_config before = config;
    CHECK(tws_random_matrix(&context, 1, TWS_FOR_USER, 0, SIDE, SIDE, a, SIDE) == TWS_OK);
    CHECK(tws_random_matrix(&context, 2, TWS_FOR_USER, 0, SIDE, SIDE, b, SIDE) == TWS_OK);
    CHECK(tws_gemm(&context, TWS_TRANSPOSE, TWS_TRANSPOSE, SIDE, SIDE, SIDE, 1, a, SIDE, b, SIDE, 0, c, SIDE) == TWS_OK);
    CHECK(tws_gemm_strassen(&context, TWS_MAX_STRASSEN, TWS_NO_TRANSPOSE, TWS_NO_TRANSPOSE, SIDE, SIDE, SIDE, a, SIDE, b,
                            SIDE, c, SIDE) == TWS_OK);
    CHECK(tws_activate(&context, &config.activation, a, b, c, SIDE * SIDE) == TWS_OK);
    CHECK(tws_svd(&context, &options, a, SIDE, SIDE, SIDE, y, left, right, NULL, NULL) == TWS_OK);
    CHECK(tws_svd_pencil(&context, &options, a, SIDE, b, SIDE, SIDE, SIDE, in.factors, 2, NULL, y, left, right, NULL,
                         NULL) == TWS_OK);
    CHECK(tws_singular_values(&context, a, ROWS, WIDTH, WIDTH, y) == TWS_OK);
    CHECK(tws_measure(&context, a, SIDE, SIDE, b, NULL, 0, TOP, 1, &out.spectrum) == TWS_OK);
    CHECK(tws_ridge(&context, a, ROWS, WIDTH, WIDTH, b, 1, x, NULL) == TWS_OK);
    CHECK(tws_ridge(&context, a, WIDTH, ROWS, ROWS, b, 1, x, NULL) == TWS_OK);
    CHECK(tws_ridge_path(&context, a, ROWS, WIDTH, WIDTH, b, in.lambdas, LAMBDAS, x, y, y + LAMBDAS) == TWS_OK);
    CHECK(tws_ridge_path(&context, a, WIDTH, ROWS, ROWS, b, in.lambdas, LAMBDAS, x, y, y + LAMBDAS) == TWS_OK);
    CHECK(tws_limit_kernel(&context, &config.activation, WIDTH, a, ROWS, NULL, 0, x) == TWS_OK);
    CHECK(tws_kernel_path(&context, x, ROWS, b, in.lambdas, LAMBDAS, left, y, y + LAMBDAS) == TWS_OK);
    config.neurons = WIDTH;
    config.inputs = config.samples = ROWS;
    CHECK(call_sweep() == TWS_OK);
    CHECK(tws_run(&context, &config, TWS_ALL_CASES, &out.result) == TWS_OK);
    config = before;
}

/* Every kind of activation, several directions, no noise. */
static void other_theories(void) {
    int k;
    for (k = 0; k < (int)TWS_CUSTOM_ACTIVATION; k++) {
        config.activation.kind = (tws_activation_kind)k;
        config.activation.hermite[1] = config.activation.hermite[5] = 1;
        CHECK(call_activate() == TWS_OK && call_hermite() == TWS_OK && call_limit_kernel() == TWS_OK);
    }
    world();
    theory.noise = 0;
    CHECK(call_both() == TWS_OK && call_predict() == TWS_OK);
    CHECK(tws_target_named("product3", &theory.target) == TWS_OK);
    CHECK(call_both() == TWS_OK && call_predict() == TWS_OK);
    world();
}

/* With another worker, as that is started from here, then alone, as that has a stack of its own. */
static void from_a_small_stack(void) {
    failing memory;
    size_t k;
    int kernel;
    for (kernel = 0; kernel < (int)TWS_KERNEL_COUNT; kernel++) {
        if (!tws_kernel_available((tws_kernel)kernel)) continue;
        start(&memory);
        context.kernel = (tws_kernel)kernel;
        context.threads = kernel == (int)TWS_KERNEL_AUTO ? 2 : 1;
        for (k = 0; k < sizeof calls / sizeof *calls; k++) {
            const tws_status status = calls[k].make();
            if (!CHECK(status == TWS_OK)) say("from a small stack", calls[k].name, status);
        }
        larger_calls();
        CHECK(memory.out == 0 && memcmp(&in, &original, sizeof in) == 0);
    }
    start(&memory);
    context.threads = 1;
    other_theories();
    all_others();
}

int main(int count, char **arguments) {
    size_t k;
    world();
    for (k = 0; k < sizeof calls / sizeof *calls; k++) {
        const long before = check_failed;
        if (count > 1 && strstr(calls[k].name, arguments[1]) == NULL) continue;
        allocations(&calls[k]);
        workers(&calls[k]);
        numbers(&calls[k]);
        if (check_failed > before) fprintf(stderr, "%s: %ld failed\n", calls[k].name, check_failed - before);
    }
    if (count == 1) {
        all_others();
        small_stack(from_a_small_stack);
    }
    return check_report();
}
