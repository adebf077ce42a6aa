/* `twostep run` on data of the caller's own (--inputs-file, --labels-file, --directions-file), and
 * with its matrices saved (--save): all as .npy files. A part of twostep.c.
 *
 * Batch 1 is the file; with --batches fresh it is the first half and batch 2 the second. The target
 * is not known, so the prediction is tws_surrogate's, from the data themselves, and diagnose() says in
 * sentences where its assumptions (independent entries of mean 0 and variance 1, light labels) fail.
 * Without directions the alignments are those with X'y, the direction of the best linear fit. */

#if defined(_WIN32)
#include <direct.h>
#include <fcntl.h>
#include <io.h>
#endif

/* The files of --save. */
static const char *const own_names[4][4] = {{"W0", "S0", "U0", "V0"},
                                            {"W1", "S1", "U1", "V1"},
                                            {"W2", "S2", "U2", "V2"},
                                            {"G1", "G2", "readout", "directions"}};
#define OWN_NAMES 16

typedef struct own_data {
    tws_real *inputs, *labels, *directions, *readout, *weights[3], *gradients[2];
    size_t rows; /* samples in the file; n of each batch is in the configuration */
    result_file saved[OWN_NAMES]; /* written, not yet in their places */
    size_t saved_count;
} own_data;

static int own_given(const settings *s) {
    return s->inputs_file != NULL || s->labels_file != NULL || s->directions_file != NULL || s->save != NULL;
}

static int own_refuse(const char *format, const char *name, unsigned long a, unsigned long b) {
    fputs("twostep: ", stderr);
    fprintf(stderr, format, name, a, b);
    fputc('\n', stderr);
    return EXIT_MISUSE;
}

/* ---- reading ---- */

static int own_complain(const char *option_name, const char *message, int result) {
    fprintf(stderr, "twostep: %s: %s\n", option_name, message);
    return result == 1 ? EXIT_FAILED : EXIT_MISUSE;
}

/* The sizes of a file, which stays open. */
static int own_open(const char *option_name, const char *name, npy_array *array) {
    char message[240];
    const int result = npy_open(name, array, message, sizeof message);
    return result == 0 ? 0 : own_complain(option_name, message, result);
}

/* The numbers of an open file as tws_real; NULL after a sentence. */
static tws_real *own_take(const char *option_name, const char *name, npy_array *array, int *result) {
    const double most = sizeof(tws_real) > 4 ? DBL_MAX : (double)FLT_MAX;
    char message[240];
    tws_real *x;
    size_t i;
    *result = npy_take(name, array, message, sizeof message);
    if (*result != 0) {
        *result = own_complain(option_name, message, *result);
        return NULL;
    }
    x = (tws_real *)malloc(array->rows * array->columns * sizeof *x);
    if (x == NULL) *result = own_complain(option_name, "no memory for its numbers", 1);
    for (i = 0; x != NULL && i < array->rows * array->columns; i++) {
        x[i] = (tws_real)array->data[i];
        if (!(x[i] - x[i] <= 0)) {
            fprintf(stderr, "twostep: %s: '%s' holds %g in row %lu, column %lu; every entry must be finite, "
                            "and at most %.3g in size\n", option_name, name, array->data[i], (unsigned long)(i / array->columns),
                    (unsigned long)(i % array->columns), most);
            free(x);
            x = NULL;
            *result = EXIT_MISUSE;
        }
    }
    npy_free(array);
    return x;
}

/* What the target of a file is worth at a point: nobody knows, and nobody asks. */
static double own_unknown(void *user, const double *u) {
    (void)user;
    (void)u;
    return 0.0;
}

/* The rows of the directions must be orthonormal. */
static int own_directions(settings *s, own_data *d) {
    npy_array array;
    const size_t inputs = s->config.inputs;
    size_t i, j;
    int result;
    result = own_open("--directions-file", s->directions_file, &array);
    if (result != 0) return result;
    d->directions = own_take("--directions-file", s->directions_file, &array, &result);
    if (result != 0) return result;
    if (array.dimensions == 1) { /* one direction */
        array.columns = array.rows;
        array.rows = 1;
    }
    if (array.columns != inputs)
        return own_refuse("--directions-file '%s' has %lu columns, it must have as many as the inputs: %lu",
                          s->directions_file, (unsigned long)array.columns, (unsigned long)inputs);
    if (array.rows > TWS_MAX_DIRECTIONS)
        return own_refuse("--directions-file '%s' has %lu rows, it must have from 1 to %lu", s->directions_file,
                          (unsigned long)array.rows, TWS_MAX_DIRECTIONS);
    for (i = 0; i < array.rows; i++)
        for (j = 0; j <= i; j++) {
            const double product = real_dot(d->directions + i * inputs, d->directions + j * inputs, inputs);
            if (fabs(product - (i == j ? 1.0 : 0.0)) > 1e-3)
                return own_refuse("--directions-file '%s': its rows %lu and %lu are not orthonormal",
                                  s->directions_file, (unsigned long)j, (unsigned long)i);
        }
    s->config.target = tws_custom_target(own_unknown, array.rows, NULL);
    return 0;
}

/* X'y / |X'y| over batch 1. */
static int own_fit_direction(settings *s, own_data *d) {
    const size_t inputs = s->config.inputs;
    double *sum = (double *)calloc(inputs, sizeof *sum), square = 0.0;
    size_t i, j;
    d->directions = (tws_real *)malloc(inputs * sizeof *d->directions);
    if (sum == NULL || d->directions == NULL) {
        free(sum);
        fprintf(stderr, "twostep: no memory for a direction of %lu numbers\n", (unsigned long)inputs);
        return EXIT_FAILED;
    }
    for (i = 0; i < s->config.samples; i++)
        for (j = 0; j < inputs; j++) sum[j] += (double)d->labels[i] * (double)d->inputs[i * inputs + j];
    for (j = 0; j < inputs; j++) square += sum[j] * sum[j];
    for (j = 0; j < inputs; j++) d->directions[j] = (tws_real)(square > 0.0 ? sum[j] / sqrt(square) : j == 0 ? 1.0 : 0.0);
    free(sum);
    s->config.target = tws_custom_target(own_unknown, 1, NULL);
    return 0;
}

/* --memory-budget by the sizes of the file: two copies of its numbers while it is read, when the slack
   is not yet needed, or later what the run holds and the surrogate needs. */
static int own_budget(settings *s, const npy_array *x) {
    const double entries = (double)x->rows * (double)x->columns, real = (double)sizeof(tws_real);
    const double surrogate = 2800.0 * s->samples + 500.0 * s->inputs + 2700.0 * s->neurons; /* bytes */
    const double run = own_held(s) + entries + surrogate / real;
    const double bytes = entries * (8.0 + (x->header.fortran ? 8.0 : real));
    const double reading = (bytes - 0.9 * BUDGET_SLACK) / real;
    return split_budget(s, run > reading ? run : reading, s->neurons);
}

static int own_sizes(settings *s, const npy_array *x, const npy_array *y) {
    const size_t batch = x->rows / (s->config.batches == TWS_FRESH ? 2 : 1); /* rows for each step */
    char message[240];
    size_t k;
    if (x->dimensions != 2)
        return own_refuse("--inputs-file '%s' is a vector, it must be a matrix with a row for each sample%.0lu%.0lu",
                          s->inputs_file, 0, 0);
    if (y->columns != 1 || y->rows != x->rows)
        return own_refuse("--labels-file '%s' has %lu numbers, it must have one for each of the %lu rows of the inputs",
                          s->labels_file, (unsigned long)(y->rows * y->columns), (unsigned long)x->rows);
    for (k = 0; k < OPTION_TOTAL; k++) {
        const int inputs = strcmp(options[k].name, "--inputs") == 0, samples = strcmp(options[k].name, "--samples") == 0;
        if (s->given[k] && ((inputs && s->inputs != (double)x->columns) ||
                            (samples && s->samples != (double)batch)))
            return own_refuse("%s is not what the files say: leave it out, or make it %lu%.0lu", options[k].name,
                              (unsigned long)(inputs ? x->columns : batch), 0);
    }
    s->config.inputs = x->columns;
    s->config.samples = batch;
    s->inputs = (double)s->config.inputs;
    s->samples = (double)s->config.samples;
    settle_top(s);
    if (tws_check(&s->config, message, sizeof message) == TWS_OK) return own_budget(s, x);
    fprintf(stderr, "twostep: with these files %s\n", message);
    return EXIT_MISUSE;
}

/* Options that make labels have no say where these come from a file. */
static int own_refuse_labels(const settings *s) {
    size_t k;
    for (k = 0; k < OPTION_TOTAL; k++)
        if (s->given[k] && (strcmp(options[k].name, "--target") == 0 || strcmp(options[k].name, "--noise") == 0))
            return misuse("%s does not go with --labels-file: the labels are those of the file%s%s",
                          options[k].name, "", "");
    return 0;
}

/* A file that is read must not be one that is saved. */
static int own_refuse_overwriting(const settings *s) {
    const char *input[3];
    char path[1200];
    size_t i, k;
    input[0] = s->inputs_file, input[1] = s->labels_file, input[2] = s->directions_file;
    for (i = 0; s->save != NULL && i < OWN_NAMES; i++) {
        const named_file output = {"--save", path};
        snprintf(path, sizeof path, "%s/%s.npy", s->save, own_names[i / 4][i % 4]);
        for (k = 0; k < 3; k++) {
            const int status = input[k] != NULL ? refuse_overwriting(&output, input[k]) : 0;
            if (status != 0) return status;
        }
    }
    return 0;
}

static int own_read_all(settings *s, own_data *d) {
    npy_array x, y;
    int result;
    if (s->inputs_file == NULL || s->labels_file == NULL)
        return misuse("%s needs %s beside it%s", s->inputs_file != NULL ? "--inputs-file" : s->labels_file != NULL ? "--labels-file" : "--directions-file",
                      s->inputs_file != NULL ? "--labels-file" : "--inputs-file", "");
    result = own_refuse_labels(s);
    if (result == 0) result = own_refuse_overwriting(s);
    if (result != 0) return result;
    memset(&y, 0, sizeof y);
    result = own_open("--inputs-file", s->inputs_file, &x);
    if (result == 0) result = own_open("--labels-file", s->labels_file, &y);
    if (result == 0) result = own_sizes(s, &x, &y);
    if (result == 0) d->inputs = own_take("--inputs-file", s->inputs_file, &x, &result);
    if (result == 0) d->labels = own_take("--labels-file", s->labels_file, &y, &result);
    npy_free(&x);
    npy_free(&y);
    if (result == 0) result = s->directions_file != NULL ? own_directions(s, d) : own_fit_direction(s, d);
    if (result == 0) strcpy(s->target, "file");
    return result;
}

/* The data of the seed, where no files are given. */
static tws_status own_make_all(settings *s, own_data *d) {
    const tws_config *c = &s->config;
    const size_t batches = c->batches == TWS_FRESH ? 2 : 1;
    tws_status status = TWS_OUT_OF_MEMORY;
    size_t b;
    d->inputs = (tws_real *)malloc(batches * c->samples * c->inputs * sizeof *d->inputs);
    d->labels = (tws_real *)malloc(batches * c->samples * sizeof *d->labels);
    d->directions = (tws_real *)malloc(c->target.directions * c->inputs * sizeof *d->directions);
    if (d->inputs != NULL && d->labels != NULL && d->directions != NULL)
        status = tws_make_directions(&s->context, c, d->directions);
    for (b = 0; status == TWS_OK && b < batches; b++)
        status = tws_make_batch(&s->context, c, d->directions, b, d->inputs + b * c->samples * c->inputs,
                                d->labels + b * c->samples);
    return status;
}

/* ---- what the theory assumes of inputs and labels, measured ---- */

static void own_say(outcome *o, const char *format, double a, double b) {
    if (o->warnings.count < TWS_MAX_WARNINGS)
        snprintf(o->warnings.text[o->warnings.count++], sizeof o->warnings.text[0], format, a, b);
}

/* Sentences for what departs from independent normals by far more than chance. */
static tws_status diagnose(settings *s, const own_data *d, outcome *o) {
    const size_t n = s->config.samples, inputs = s->config.inputs, count = n * inputs;
    const double size = (double)count, aspect = sqrt((double)inputs / (double)n);
    double mean = 0.0, square = 0.0, fourth = 0.0, lengths = 0.0, y2 = 0.0, y4 = 0.0, kurtosis, spread, top;
    tws_svd_options svd = tws_default_svd_options(1);
    tws_status status;
    size_t i, j;
    for (i = 0; i < n; i++) {
        double row = 0.0;
        const double y = (double)d->labels[i] * (double)d->labels[i];
        for (j = 0; j < inputs; j++) {
            const double x = (double)d->inputs[i * inputs + j];
            mean += x / size;
            row += x * x;
            fourth += x * x * x * x / size;
        }
        square += row / size;
        lengths += row * row / (double)n;
        y2 += y / (double)n;
        y4 += y * y / (double)n;
    }
    if (!(square > 0.0 && y2 > 0.0)) {
        own_say(o, "the inputs or the labels are all 0: nothing can be learned", 0, 0);
        return TWS_OK;
    }
    if (fabs(square - 1.0) > 0.02 + 6.0 * sqrt(2.0 / size))
        own_say(o, "inputs have mean square %.4g, the theory assumes 1: rescale them", square, 0);
    if (fabs(mean) > 6.0 * sqrt(square / size) + 0.01)
        own_say(o, "inputs have mean %.3g, the theory assumes 0: subtract it", mean, 0);
    kurtosis = fourth / (square * square);
    if (kurtosis > 4.0 || kurtosis < 2.0)
        own_say(o, "inputs are not normal (E x^4 = %.3g (E x^2)^2, not 3): projections w x are only nearly so", kurtosis, 0);
    spread = lengths / (square * square * (double)inputs * (double)inputs) - 1.0;
    if (spread > 3.0 * 2.0 / (double)inputs + 6.0 * sqrt(2.0 / (double)n) * 2.0 / (double)inputs)
        own_say(o, "squared lengths of the samples vary by %.3g (variance over mean square), for normals by %.3g: long "
                   "samples weigh more", spread, 2.0 / (double)inputs);
    svd.tolerance = 1e-4;
    status = tws_svd(&s->context, &svd, d->inputs, n, inputs, inputs, &top, NULL, NULL, NULL, NULL);
    if (status != TWS_OK && status != TWS_NOT_CONVERGED) return status;
    top /= sqrt((double)n * square);
    if (top > (1.0 + aspect) * 1.1)
        own_say(o, "inputs are anisotropic: the largest singular value of X/sqrt n is %.3g of their rms, for independent "
                   "entries %.3g; the surrogate assumes covariance I", top, 1.0 + aspect);
    if (y4 > 3.3 * y2 * y2)
        own_say(o, "labels are heavy tailed (E y^4 = %.3g (E y^2)^2, above 3): second outliers may be off by 11 %%", y4 / (y2 * y2), 0);
    return TWS_OK;
}

/* ---- saving ---- */

/* Writes a matrix beside its place, where place_result puts it when all of them are whole. */
static int own_save(const settings *s, own_data *d, const char *name, const void *data, size_t size, size_t rows,
                    size_t columns) {
    char path[1200];
    result_file *file = &d->saved[d->saved_count];
    if ((size_t)snprintf(path, sizeof path, "%s/%s.npy", s->save, name) >= sizeof path) {
        fprintf(stderr, "twostep: the name of --save is too long\n");
        return EXIT_FAILED;
    }
    if (open_result(file, path) != 0) return EXIT_FAILED;
    d->saved_count++;
#if defined(_WIN32)
    _setmode(_fileno(file->stream), _O_BINARY);
#endif
    npy_write(file->stream, data, size, rows, columns);
    return end_writing(file) ? file_failed("write", path) : 0;
}

static void remove_folder(const char *name) {
#if defined(_WIN32)
    _rmdir(name);
#else
    rmdir(name);
#endif
}

/* *made: 1 when it was not there before. */
static int own_make_folder(const char *name, int *made) {
    errno = 0;
#if defined(_WIN32)
    *made = _mkdir(name) == 0;
#else
    *made = mkdir(name, 0777) == 0;
#endif
    return *made || errno == EEXIST ? 0 : file_failed("make the folder", name);
}

/* Singular values and vectors of one matrix. */
static int own_save_svd(settings *s, own_data *d, int which) {
    const tws_config *c = &s->config;
    const size_t top = c->top;
    tws_svd_options svd = tws_default_svd_options(top);
    double *values = (double *)malloc(top * sizeof(double)), *left = (double *)malloc(top * c->neurons * sizeof(double));
    double *right = (double *)malloc(top * c->inputs * sizeof(double));
    int result = EXIT_FAILED;
    tws_status status = TWS_OUT_OF_MEMORY;
    svd.seed = c->seed;
    if (values != NULL && left != NULL && right != NULL)
        status = tws_svd(&s->context, &svd, d->weights[which], c->neurons, c->inputs, c->inputs, values, left, right, NULL, NULL);
    if (status == TWS_OK || status == TWS_NOT_CONVERGED) {
        result = own_save(s, d, own_names[which][1], values, sizeof(double), top, 0);
        if (result == 0) result = own_save(s, d, own_names[which][2], left, sizeof(double), top, c->neurons);
        if (result == 0) result = own_save(s, d, own_names[which][3], right, sizeof(double), top, c->inputs);
    } else {
        result = explain(s, status);
    }
    free(values);
    free(left);
    free(right);
    return result;
}

/* All files or, where one of them fails, none. */
static int own_save_all(settings *s, own_data *d) {
    const tws_config *c = &s->config;
    int made, result = own_make_folder(s->save, &made), placed = 0, k;
    size_t i;
    for (k = 0; result == 0 && k < 3; k++) {
        result = own_save(s, d, own_names[k][0], d->weights[k], sizeof(tws_real), c->neurons, c->inputs);
        if (result == 0) result = own_save_svd(s, d, k);
    }
    for (k = 0; result == 0 && k < 2; k++)
        result = own_save(s, d, own_names[3][k], d->gradients[k], sizeof(tws_real), c->neurons, c->inputs);
    if (result == 0) result = own_save(s, d, own_names[3][2], d->readout, sizeof(tws_real), c->neurons, 0);
    if (result == 0)
        result = own_save(s, d, own_names[3][3], d->directions, sizeof(tws_real), c->target.directions, c->inputs);
    for (i = 0; i < d->saved_count; i++) {
        if (place_result(&d->saved[i], result == 0) != 0) result = EXIT_FAILED;
        placed |= result == 0;
    }
    if (made && !placed) remove_folder(s->save);
    return result;
}

/* ---- the run ---- */

static tws_batch own_batch(const settings *s, const own_data *d, int second) {
    const size_t skip = second && s->config.batches == TWS_FRESH ? s->config.samples : 0;
    tws_batch batch;
    batch.samples = s->config.samples;
    batch.inputs = d->inputs + skip * s->config.inputs;
    batch.labels = d->labels + skip;
    return batch;
}

/* Step t = 1, 2 from weights[t - 1] to weights[t]; G is kept where it will be saved. */
static tws_status own_step(settings *s, own_data *d, int t, double *seconds) {
    const tws_config *c = &s->config;
    const double begin = seconds_now();
    const tws_batch batch = own_batch(s, d, t == 2);
    tws_network network = tws_network_from_config(c, d->weights[t - 1], d->readout);
    tws_status status = TWS_OK;
    if (s->save != NULL) status = tws_gradient(&s->context, &network, &batch, d->gradients[t - 1], NULL);
    memcpy(d->weights[t], d->weights[t - 1], c->neurons * c->inputs * sizeof(tws_real));
    network.weights = d->weights[t];
    if (status == TWS_OK) status = tws_step(&s->context, &network, &batch, tws_step_size(c, t), d->weights[t], NULL);
    *seconds = seconds_now() - begin;
    return status;
}

static tws_status own_measure(settings *s, const own_data *d, outcome *o) {
    const tws_config *c = &s->config;
    const double begin = seconds_now();
    tws_result *r = &o->measured;
    tws_batch batch = own_batch(s, d, 0);
    tws_status status = TWS_OK, worst = TWS_OK;
    int k;
    r->loss_samples = batch.samples = c->samples < 512 ? c->samples : 512;
    for (k = 0; k < 3 && (status == TWS_OK || status == TWS_NOT_CONVERGED); k++) {
        const int which = k < 2 ? k : c->batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
        const tws_network network = tws_network_from_config(c, d->weights[k], d->readout);
        status = tws_measure(&s->context, d->weights[k], c->neurons, c->inputs, d->readout, d->directions,
                             c->target.directions, c->top, c->seed, &r->spectrum[which]);
        if (status == TWS_NOT_CONVERGED) worst = status;
        else if (status != TWS_OK) break;
        status = tws_loss(&s->context, &network, &batch, &r->loss[which]);
        r->measured[which] = status == TWS_OK;
    }
    r->seconds_spectrum = seconds_now() - begin;
    return status == TWS_OK ? worst : status;
}

/* The surrogate's prediction of W2, and a check by angle of its first direction. */
static tws_status own_predict(settings *s, const own_data *d, outcome *o) {
    const tws_config *c = &s->config;
    const tws_batch first = own_batch(s, d, 0), second = own_batch(s, d, 1);
    tws_theory_input input = tws_theory_from_config(c);
    tws_prediction *step2 = c->batches == TWS_FRESH ? &o->fresh : &o->reuse;
    const tws_spectrum *m = &o->measured.spectrum[c->batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE];
    tws_status status = tws_surrogate(&s->context, &input, first.inputs, first.labels, second.inputs, second.labels,
                                      d->readout, d->directions, step2, NULL, NULL);
    o->predicted = status == TWS_OK;
    if (status != TWS_OK || step2->outliers == 0) return status;
    if (fabs(step2->singular_values[0] / m->singular_values[0] - 1.0) > 0.05)
        own_say(o, "the surrogate misses the first outlier of W2 (%.4g, measured %.4g): do not trust it on these data",
                step2->singular_values[0], m->singular_values[0]);
    return status;
}

static tws_status own_experiment(settings *s, own_data *d, outcome *o) {
    const tws_config *c = &s->config;
    const size_t entries = c->neurons * c->inputs;
    tws_result *r = &o->measured;
    tws_status status = TWS_OUT_OF_MEMORY;
    int k, memory = 1;
    for (k = 0; k < 3; k++) memory &= (d->weights[k] = (tws_real *)malloc(entries * sizeof(tws_real))) != NULL;
    for (k = 0; k < 2 && s->save != NULL; k++)
        memory &= (d->gradients[k] = (tws_real *)malloc(entries * sizeof(tws_real))) != NULL;
    memory &= (d->readout = (tws_real *)malloc(c->neurons * sizeof(tws_real))) != NULL;
    if (memory) status = tws_make_weights(&s->context, c, 0, c->neurons, d->weights[0]);
    if (status == TWS_OK) status = tws_make_readout(&s->context, c, 0, c->neurons, d->readout);
    if (status == TWS_OK) status = own_step(s, d, 1, &r->seconds_step1);
    if (status == TWS_OK) status = own_step(s, d, 2, &r->seconds_step2);
    if (status == TWS_OK) status = own_measure(s, d, o);
    return status;
}

/* What is drawn of the three matrices. The law of the data of a file is not known, nor the bulk that
   it predicts. */
static int own_show(settings *s, const own_data *d, const outcome *o, show *pictures, int files) {
    int k;
    for (k = 0; k < 3; k++) {
        const int which = k < 2 ? k : s->config.batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
        const tws_status status = o->measured.measured[which]
                                      ? show_visit(pictures, (tws_case)which, d->weights[k], d->readout)
                                      : TWS_OK;
        if (status != TWS_OK) return explain(s, status);
    }
    show_curves(pictures, o, !files);
    return 0;
}

/* `run` with files in or out: fills the outcome as compute() does. */
static int own_compute(settings *s, outcome *o, show *pictures) {
    const double begin = seconds_now();
    const int files = s->inputs_file != NULL || s->labels_file != NULL || s->directions_file != NULL;
    tws_result *r = &o->measured;
    own_data d;
    tws_status status = TWS_OK;
    int result = 0, k;
    memset(&d, 0, sizeof d);
    if (files) result = own_read_all(s, &d);
    else status = own_make_all(s, &d);
    r->seconds_data = seconds_now() - begin;
    r->eta1 = tws_step_size(&s->config, 1);
    r->eta2 = tws_step_size(&s->config, 2);
    r->threads = tws_context_threads(&s->context);
    r->kernel = tws_context_kernel(&s->context);
    if (result == 0 && status == TWS_OK) status = own_experiment(s, &d, o);
    if (result == 0 && (status == TWS_OK || status == TWS_NOT_CONVERGED) && files) {
        status = diagnose(s, &d, o);
        if (status == TWS_OK && own_predict(s, &d, o) != TWS_OK)
            snprintf(o->warnings.text[o->warnings.count++ % TWS_MAX_WARNINGS], sizeof o->warnings.text[0],
                     "no prediction: %.180s", s->context.message);
    } else if (result == 0 && (status == TWS_OK || status == TWS_NOT_CONVERGED) && predict(s, o) != TWS_OK) {
        o->warnings.count = 1;
        snprintf(o->warnings.text[0], sizeof o->warnings.text[0], "no prediction: %.180s", s->context.message);
    }
    if (result == 0 && status != TWS_OK && status != TWS_NOT_CONVERGED) result = explain(s, status);
    if (result == 0 && pictures != NULL) result = own_show(s, &d, o, pictures, files);
    if (result == 0 && s->save != NULL) result = own_save_all(s, &d);
    if (result == 0) raise_edges(o);
    free(d.inputs);
    free(d.labels);
    free(d.directions);
    free(d.readout);
    for (k = 0; k < 3; k++) free(d.weights[k]);
    for (k = 0; k < 2; k++) free(d.gradients[k]);
    r->seconds_total = seconds_now() - begin;
    return result;
}
