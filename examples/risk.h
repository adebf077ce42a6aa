/* The command `twostep risk`: the test error of ridge regression on the features sigma(W x) after
 * no, one and two steps of gradient descent. A part of twostep.c, which includes it after its
 * settings, JSON, result files and tables.
 *
 * Without a setting of its own it shows one page of three settings: where two steps beat one, where a
 * reused batch beats a fresh one, and where neither helps. */

#define RISK_CASES 4
#define RISK_MAX_LAMBDAS 100
#define RISK_MAX_SIZES 8
#define RISK_MAX_ALPHAS 20
#define RISK_KERNEL_SAMPLES 4096 /* beyond them the kernel of the baseline is not made */

/* One setting, all of it: what `risk` computes. */
typedef struct risk_plan {
    const char *title;      /* of a part of the page; NULL: the caller's own setting */
    const char *short_title; /* over its panel of the figure */
    settings *s;
    size_t sizes[RISK_MAX_SIZES], size_count;        /* samples of the regression, increasing */
    double alphas[RISK_MAX_ALPHAS][2];
    size_t alpha_count;
    double lambdas[RISK_MAX_LAMBDAS];
    size_t lambda_count, test, seeds;
} risk_plan;

/* Errors at one lambda, means over seeds. */
typedef struct risk_cell {
    double train, test, loo;
} risk_cell;

/* What the leave-one-out choice gives, mean over seeds and standard error of the mean. */
typedef struct risk_choice {
    double lambda, train, test, loo, error, best; /* lambda: geometric mean; best: test at the best lambda */
    double sum, square, best_sum, last; /* last: test error of the seed under way */
} risk_choice;

typedef struct risk_result {
    risk_cell *cells;     /* alphas x sizes x cases x lambdas */
    risk_choice *choices; /* alphas x sizes x cases */
    risk_choice *gains;   /* alphas x sizes x RISK_GAINS: differences of test errors on the same data */
    risk_choice linear[RISK_MAX_SIZES], kernel[RISK_MAX_SIZES];
    double label_square;  /* of the test labels: the error of predicting 0 */
    double noise;
    double seconds;
} risk_result;

static const int risk_steps[RISK_CASES] = {0, 1, 2, 2};
static const char *const risk_batches[RISK_CASES] = {"reuse", "reuse", "fresh", "reuse"};
static const char *const risk_names[RISK_CASES] = {"no step", "one step", "two steps, fresh batch",
                                                   "two steps, reused batch"};

/* What a second step on a fresh batch adds, and what the reused batch does beside it. */
#define RISK_GAINS 2
static const struct {
    const char *name;
    int less, more; /* cases */
} risk_gains[RISK_GAINS] = {{"fresh minus one step", 2, 1}, {"reused minus fresh", 3, 2}};

static risk_choice *risk_choice_at(const risk_plan *p, const risk_result *r, size_t alpha, size_t size, size_t which) {
    return r->choices + (alpha * p->size_count + size) * RISK_CASES + which;
}

static risk_choice *risk_gain_at(const risk_plan *p, const risk_result *r, size_t alpha, size_t size, size_t gain) {
    return r->gains + (alpha * p->size_count + size) * RISK_GAINS + gain;
}

static risk_cell *risk_cell_at(const risk_plan *p, const risk_result *r, size_t alpha, size_t size, size_t which) {
    return r->cells + ((alpha * p->size_count + size) * RISK_CASES + which) * p->lambda_count;
}

/* ---- settings ---- */

/* LO:HI:COUNT, evenly or, with logarithmic set, evenly in the logarithm. */
static int risk_grid(const char *text, int logarithmic, double low, double high, size_t most, double *values,
                     size_t *count) {
    double from, to, number;
    char copy[96], *middle, *last;
    size_t i;
    if (!keep_name(copy, sizeof copy, text)) return 0;
    middle = strchr(copy, ':');
    last = middle != NULL ? strchr(middle + 1, ':') : NULL;
    if (last == NULL) return 0;
    *middle = *last = '\0';
    if (!parse_real(copy, &from) || !parse_real(middle + 1, &to) || !parse_real(last + 1, &number)) return 0;
    if (!(from >= low && to <= high && from < to && number >= 2 && number <= (double)most && floor(number) >= number))
        return 0;
    *count = (size_t)number;
    for (i = 0; i < *count; i++) {
        const double t = (double)i / (double)(*count - 1);
        values[i] = logarithmic ? exp(log(from) + t * (log(to) - log(from))) : from + t * (to - from);
    }
    return 1;
}

/* n1,n2,...: whole numbers, increasing. */
static int risk_list(const char *text, size_t *values, size_t *count) {
    char copy[160], *at = copy;
    if (!keep_name(copy, sizeof copy, text)) return 0;
    for (*count = 0; at != NULL; (*count)++) {
        char *comma = strchr(at, ',');
        double number;
        if (comma != NULL) *comma++ = '\0';
        if (*count == RISK_MAX_SIZES || !parse_real(at, &number) || !(number >= 2 && number <= 1e7) ||
            floor(number) < number)
            return 0;
        values[*count] = (size_t)number;
        if (*count > 0 && values[*count] <= values[*count - 1]) return 0;
        at = comma;
    }
    return 1;
}

static const option *risk_option(const char *name) {
    size_t i;
    for (i = 0; i + 1 < OPTION_TOTAL; i++)
        if (strcmp(options[i].name, name) == 0 && (options[i].commands & RISK) != 0) break;
    return options + i;
}

static int risk_given(const settings *s, const char *name) { return s->given[risk_option(name) - options]; }

/* Whether the caller has a setting of his own, and wants no page. */
static int risk_chosen(const settings *s) {
    static const char *const names[] = {"--neurons", "--inputs", "--samples", "--alpha1", "--alpha2", "--scale1",
                                        "--scale2", "--activation", "--target", "--noise", "--init",
                                        "--output-scale", "--ridge-samples", "--alphas"};
    size_t i;
    for (i = 0; i < sizeof names / sizeof names[0]; i++)
        if (risk_given(s, names[i])) return 1;
    return 0;
}

/* 0, or the exit status after a sentence. */
static int risk_make_plan(risk_plan *p, settings *s, const char *title, const char *short_title) {
    double alphas[RISK_MAX_ALPHAS];
    size_t i;
    memset(p, 0, sizeof *p);
    p->title = title;
    p->short_title = short_title;
    p->s = s;
    p->test = (size_t)s->test_samples;
    p->seeds = (size_t)s->seeds;
    p->sizes[0] = s->config.samples;
    p->size_count = p->alpha_count = 1;
    p->alphas[0][0] = s->config.alpha1;
    p->alphas[0][1] = s->config.alpha2;
    if (!risk_grid(s->lambda, 1, 1e-12, 1e6, RISK_MAX_LAMBDAS, p->lambdas, &p->lambda_count))
        return bad_value(risk_option("--lambda"), s->lambda);
    if (s->ridge_samples != NULL && !risk_list(s->ridge_samples, p->sizes, &p->size_count))
        return bad_value(risk_option("--ridge-samples"), s->ridge_samples);
    if (s->alphas == NULL) return 0;
    if (!risk_grid(s->alphas, 0, 0.0, 0.49999999999999994, RISK_MAX_ALPHAS, alphas, &p->alpha_count))
        return bad_value(risk_option("--alphas"), s->alphas);
    for (i = 0; i < p->alpha_count; i++) p->alphas[i][0] = p->alphas[i][1] = alphas[i];
    return 0;
}

/* ---- one seed ---- */

typedef struct risk_data {
    tws_real *start, *first, *weights, *readout, *directions;
    tws_real *inputs[4], *labels[4]; /* the batches of the steps, the samples of the regression, the test */
    tws_real *features, *test_features;
    double *coefficients, *outputs, *train, *loo, *kernel;
} risk_data;

/* One block for everything would be simpler, but this one names what is short. */
static void *risk_take(size_t count, size_t each, size_t size, int *failed) {
    void *p = NULL;
    if (each == 0 || count <= (size_t)-1 / each / size) p = malloc(count * each * size + 1);
    if (p == NULL) *failed = 1;
    return p;
}

static int risk_allocate(const risk_plan *p, risk_data *d) {
    const tws_config *c = &p->s->config;
    const size_t row = sizeof(tws_real), most = p->sizes[p->size_count - 1];
    const size_t longest = most > c->neurons ? most : c->neurons;
    int failed = 0, b;
    memset(d, 0, sizeof *d);
    d->start = (tws_real *)risk_take(c->neurons, c->inputs, row, &failed);
    d->first = (tws_real *)risk_take(c->neurons, c->inputs, row, &failed);
    d->weights = (tws_real *)risk_take(c->neurons, c->inputs, row, &failed);
    d->readout = (tws_real *)risk_take(c->neurons, 1, row, &failed);
    d->directions = (tws_real *)risk_take(c->target.directions, c->inputs, row, &failed);
    for (b = 0; b < 4; b++) {
        const size_t samples = b < 2 ? c->samples : b == 2 ? most : p->test;
        d->inputs[b] = (tws_real *)risk_take(samples, c->inputs, row, &failed);
        d->labels[b] = (tws_real *)risk_take(samples, 1, row, &failed);
    }
    d->features = (tws_real *)risk_take(most, (c->neurons > c->inputs ? c->neurons : c->inputs + 1), row, &failed);
    d->test_features = (tws_real *)risk_take(p->test, (c->neurons > c->inputs ? c->neurons : c->inputs + 1), row, &failed);
    d->coefficients = (double *)risk_take(p->lambda_count, longest + c->inputs + 1, sizeof(double), &failed);
    d->outputs = (double *)risk_take(p->lambda_count, p->test, sizeof(double), &failed);
    d->train = (double *)risk_take(p->lambda_count, 1, sizeof(double), &failed);
    d->loo = (double *)risk_take(p->lambda_count, 1, sizeof(double), &failed);
    if (most <= RISK_KERNEL_SAMPLES)
        d->kernel = (double *)risk_take(most, most > p->test ? most : p->test, sizeof(double), &failed);
    return failed;
}

static void risk_free(risk_data *d) {
    int b;
    free(d->start);
    free(d->first);
    free(d->weights);
    free(d->readout);
    free(d->directions);
    for (b = 0; b < 4; b++) {
        free(d->inputs[b]);
        free(d->labels[b]);
    }
    free(d->features);
    free(d->test_features);
    free(d->coefficients);
    free(d->outputs);
    free(d->train);
    free(d->loo);
    free(d->kernel);
}

static double risk_error(const double *output, const tws_real *labels, size_t count) {
    double sum = 0.0;
    size_t j;
    for (j = 0; j < count; j++) {
        const double miss = output[j] - (double)labels[j];
        sum += miss * miss;
    }
    return sum / (double)count;
}

/* Adds the number of one seed. */
static void risk_tally(risk_choice *choice, double value) {
    choice->last = value;
    choice->sum += value;
    choice->square += value * value;
}

/* Adds the errors of one fit to the means; cells may be NULL. The outputs on the test samples stand in d. */
static void risk_add(const risk_plan *p, const risk_data *d, risk_cell *cells, risk_choice *choice) {
    const double share = 1.0 / (double)p->seeds;
    double best = HUGE_VAL, at = 0.0;
    size_t c, chosen = 0;
    for (c = 0; c < p->lambda_count; c++)
        if (d->loo[c] < d->loo[chosen]) chosen = c;
    for (c = 0; c < p->lambda_count; c++) {
        const double test = risk_error(d->outputs + c * p->test, d->labels[3], p->test);
        if (test < best) best = test;
        if (c == chosen) at = test;
        if (cells == NULL) continue;
        cells[c].train += share * d->train[c];
        cells[c].test += share * test;
        cells[c].loo += share * d->loo[c];
    }
    choice->lambda += share * log(p->lambdas[chosen]);
    choice->train += share * d->train[chosen];
    choice->loo += share * d->loo[chosen];
    risk_tally(choice, at);
    choice->best_sum += best;
}

static tws_status risk_fit(const risk_plan *p, risk_data *d, size_t width, size_t samples, risk_cell *cells,
                           risk_choice *choice) {
    tws_context *x = &p->s->context;
    tws_status status = tws_ridge_path(x, d->features, samples, width, width, d->labels[2], p->lambdas,
                                       p->lambda_count, d->coefficients, d->train, d->loo);
    if (status == TWS_OK)
        status = tws_readout_outputs(x, d->test_features, p->test, width, width, d->coefficients, p->lambda_count,
                                     d->outputs);
    if (status == TWS_OK) risk_add(p, d, cells, choice);
    return status;
}

/* Ridge regression on the inputs themselves, with a constant: the best linear predictor of these data. */
static tws_status risk_linear(const risk_plan *p, risk_data *d, risk_result *r) {
    const size_t inputs = p->s->config.inputs, width = inputs + 1;
    const double factor = 1.0 / sqrt((double)inputs);
    tws_status status = TWS_OK;
    size_t i, j, size;
    int b;
    for (b = 2; b < 4; b++) {
        tws_real *to = b == 2 ? d->features : d->test_features;
        const size_t rows = b == 2 ? p->sizes[p->size_count - 1] : p->test;
        for (i = 0; i < rows; i++) {
            for (j = 0; j < inputs; j++)
                to[i * width + j] = (tws_real)(factor * (double)d->inputs[b][i * inputs + j]);
            to[i * width + inputs] = 1;
        }
    }
    for (size = 0; status == TWS_OK && size < p->size_count; size++)
        status = risk_fit(p, d, width, p->sizes[size], NULL, &r->linear[size]);
    return status;
}

/* Regression with the kernel of infinitely many neurons before any step. */
static tws_status risk_kernel(const risk_plan *p, risk_data *d, risk_result *r) {
    const tws_config *c = &p->s->config;
    tws_context *x = &p->s->context;
    tws_status status = TWS_OK;
    size_t size, l, i, j;
    for (size = 0; status == TWS_OK && size < p->size_count && d->kernel != NULL; size++) {
        const size_t n = p->sizes[size];
        status = tws_limit_kernel(x, &c->activation, c->inputs, d->inputs[2], n, NULL, 0, d->kernel);
        if (status == TWS_OK)
            status = tws_kernel_path(x, d->kernel, n, d->labels[2], p->lambdas, p->lambda_count, d->coefficients,
                                     d->train, d->loo);
        if (status == TWS_OK)
            status = tws_limit_kernel(x, &c->activation, c->inputs, d->inputs[3], p->test, d->inputs[2], n, d->kernel);
        for (l = 0; status == TWS_OK && l < p->lambda_count; l++)
            for (i = 0; i < p->test; i++) {
                double sum = 0.0;
                for (j = 0; j < n; j++) sum += d->kernel[i * n + j] * d->coefficients[l * n + j];
                d->outputs[l * p->test + i] = sum;
            }
        if (status == TWS_OK) risk_add(p, d, NULL, &r->kernel[size]);
    }
    return status;
}

static tws_status risk_make_data(const risk_plan *p, risk_data *d, const tws_config *c) {
    tws_context *x = &p->s->context;
    tws_config other = *c;
    tws_status status = tws_make_weights(x, c, 0, c->neurons, d->start);
    if (status == TWS_OK) status = tws_make_readout(x, c, 0, c->neurons, d->readout);
    if (status == TWS_OK) status = tws_make_directions(x, c, d->directions);
    if (status == TWS_OK) status = tws_make_batch(x, c, d->directions, 0, d->inputs[0], d->labels[0]);
    if (status == TWS_OK) status = tws_make_batch(x, c, d->directions, 1, d->inputs[1], d->labels[1]);
    other.samples = p->sizes[p->size_count - 1];
    if (status == TWS_OK) status = tws_make_batch(x, &other, d->directions, 2, d->inputs[2], d->labels[2]);
    other.samples = p->test;
    if (status == TWS_OK) status = tws_make_batch(x, &other, d->directions, 3, d->inputs[3], d->labels[3]);
    return status;
}

/* The weights of one case: from W0, or from W1 of the same alphas. */
static tws_status risk_weights(const risk_plan *p, risk_data *d, const tws_config *c, tws_network *network,
                               size_t which) {
    const size_t bytes = c->neurons * c->inputs * sizeof(tws_real);
    tws_context *x = &p->s->context;
    tws_batch batch;
    tws_status status = TWS_OK;
    const int second = which == 2;
    batch.samples = c->samples;
    batch.inputs = d->inputs[second];
    batch.labels = d->labels[second];
    memcpy(d->weights, which < 2 ? d->start : d->first, bytes);
    network->weights = d->weights;
    if (which > 0 && which < RISK_CASES)
        status = tws_step(x, network, &batch, tws_step_size(c, risk_steps[which]), d->weights, NULL);
    if (status == TWS_OK && which == 1) memcpy(d->first, d->weights, bytes);
    return status;
}

static tws_status risk_features(const risk_plan *p, risk_data *d, const tws_network *network) {
    tws_context *x = &p->s->context;
    tws_batch batch;
    tws_status status;
    batch.samples = p->sizes[p->size_count - 1];
    batch.inputs = d->inputs[2];
    batch.labels = NULL;
    status = tws_features(x, network, &batch, d->features, network->count);
    batch.samples = p->test;
    batch.inputs = d->inputs[3];
    if (status == TWS_OK) status = tws_features(x, network, &batch, d->test_features, network->count);
    return status;
}

static tws_status risk_seed(const risk_plan *p, risk_data *d, risk_result *r, size_t seed) {
    tws_config c = p->s->config;
    tws_network network;
    tws_status status;
    size_t alpha, which, size, i;
    c.seed += seed;
    network = tws_network_from_config(&c, d->weights, d->readout);
    status = risk_make_data(p, d, &c);
    for (i = 0; status == TWS_OK && i < p->test; i++)
        r->label_square += (double)d->labels[3][i] * (double)d->labels[3][i] / (double)(p->test * p->seeds);
    if (status == TWS_OK) status = risk_linear(p, d, r);
    if (status == TWS_OK) status = risk_kernel(p, d, r);
    for (alpha = 0; status == TWS_OK && alpha < p->alpha_count; alpha++) {
        c.alpha1 = p->alphas[alpha][0];
        c.alpha2 = p->alphas[alpha][1];
        for (which = 0; status == TWS_OK && which < RISK_CASES; which++) {
            status = risk_weights(p, d, &c, &network, which);
            if (status == TWS_OK) status = risk_features(p, d, &network);
            for (size = 0; status == TWS_OK && size < p->size_count; size++)
                status = risk_fit(p, d, c.neurons, p->sizes[size], risk_cell_at(p, r, alpha, size, which),
                                  risk_choice_at(p, r, alpha, size, which));
        }
        for (size = 0; status == TWS_OK && size < p->size_count; size++)
            for (i = 0; i < RISK_GAINS; i++)
                risk_tally(risk_gain_at(p, r, alpha, size, i),
                           risk_choice_at(p, r, alpha, size, (size_t)risk_gains[i].less)->last -
                               risk_choice_at(p, r, alpha, size, (size_t)risk_gains[i].more)->last);
    }
    return status;
}

static void risk_close_choice(risk_choice *c, size_t seeds) {
    const double n = (double)seeds;
    c->test = c->sum / n;
    c->best = c->best_sum / n;
    c->lambda = exp(c->lambda);
    c->error = seeds > 1 ? sqrt(fmax(0.0, c->square / n - c->test * c->test) / (n - 1.0)) : 0.0;
}

static void risk_release(risk_result *r) {
    free(r->cells);
    free(r->choices);
    free(r->gains);
}

/* Everything of one plan; risk_release is the caller's part, also after a failure. */
static tws_status risk_compute(const risk_plan *p, risk_result *r) {
    const size_t settings_count = p->alpha_count * p->size_count, places = settings_count * RISK_CASES;
    tws_context *x = &p->s->context;
    const double start = seconds_now();
    tws_status status = TWS_OK;
    risk_data d;
    size_t i;
    memset(r, 0, sizeof *r);
    r->noise = p->s->config.noise * p->s->config.noise;
    r->cells = (risk_cell *)calloc(places * p->lambda_count, sizeof *r->cells);
    r->choices = (risk_choice *)calloc(places, sizeof *r->choices);
    r->gains = (risk_choice *)calloc(settings_count * RISK_GAINS, sizeof *r->gains);
    if (risk_allocate(p, &d) || r->cells == NULL || r->choices == NULL || r->gains == NULL) {
        snprintf(x->message, sizeof x->message,
                 "no memory for the features of %lu + %lu samples; make --ridge-samples smaller",
                 (unsigned long)p->sizes[p->size_count - 1], (unsigned long)p->test);
        status = TWS_OUT_OF_MEMORY;
    }
    for (i = 0; status == TWS_OK && i < p->seeds; i++) status = risk_seed(p, &d, r, i);
    for (i = 0; status == TWS_OK && i < places; i++) risk_close_choice(&r->choices[i], p->seeds);
    for (i = 0; status == TWS_OK && i < settings_count * RISK_GAINS; i++) risk_close_choice(&r->gains[i], p->seeds);
    for (i = 0; i < p->size_count; i++) {
        risk_close_choice(&r->linear[i], p->seeds);
        risk_close_choice(&r->kernel[i], p->seeds);
    }
    risk_free(&d);
    r->seconds = seconds_now() - start;
    return status;
}

/* ---- report ---- */

/* Errors as shares of that of predicting 0, as in the figure. */
static void risk_print_line(const char *name, const risk_choice *h, double unit, int spread) {
    char cell[24] = "";
    if (spread) snprintf(cell, sizeof cell, "+- %.3f", h->error / unit);
    printf("  %-26s%8.3f%11s", name, h->test / unit, cell);
}

static void risk_print(const risk_plan *p, const risk_result *r) {
    const settings *s = p->s;
    const tws_config *c = &s->config;
    const double unit = r->label_square > 0.0 ? r->label_square : 1.0;
    const int spread = p->seeds > 1;
    size_t alpha, size, which;
    if (p->title != NULL) printf("%s\n", p->title);
    printf("N = %lu, d = %lu, n = %lu, %s learns %s", (unsigned long)c->neurons, (unsigned long)c->inputs,
           (unsigned long)c->samples, s->activation, s->target);
    if (c->noise > 0.0) printf(" + noise %.3g", c->noise);
    printf("; %lu seed%s; errors as shares of E y^2 = %.4g\n", (unsigned long)p->seeds, p->seeds == 1 ? "" : "s", unit);
    for (alpha = 0; alpha < p->alpha_count; alpha++)
        for (size = 0; size < p->size_count; size++) {
            printf("steps %.3g N^%.3g and %.3g N^%.3g, readout fitted to %lu new samples\n", c->scale1,
                   p->alphas[alpha][0], c->scale2, p->alphas[alpha][1], (unsigned long)p->sizes[size]);
            printf("  %-26s%8s%11s%9s%9s%9s\n", "", "test", "", "train", "l-o-o", "lambda");
            for (which = 0; which < RISK_CASES; which++) {
                const risk_choice *h = risk_choice_at(p, r, alpha, size, which);
                risk_print_line(risk_names[which], h, unit, spread);
                printf("%9.3f%9.3f%9.1e\n", h->train / unit, h->loo / unit, h->lambda);
            }
            for (which = 0; which < RISK_GAINS; which++) {
                risk_print_line(risk_gains[which].name, risk_gain_at(p, r, alpha, size, which), unit, spread);
                printf("\n");
            }
            risk_print_line("linear in x, same data", &r->linear[size], unit, spread);
            printf("\n");
            if (p->sizes[size] <= RISK_KERNEL_SAMPLES) {
                risk_print_line("kernel, N to infinity", &r->kernel[size], unit, spread);
                printf("\n");
            }
            printf("  %-26s%8.3f\n", "noise floor", r->noise / unit);
        }
}

static void risk_json_rows(FILE *f, const risk_plan *p, const risk_result *r) {
    const char *between = "\n";
    size_t alpha, size, which, l;
    fputs(",\n  \"rows\": [", f);
    for (alpha = 0; alpha < p->alpha_count; alpha++)
        for (size = 0; size < p->size_count; size++)
            for (which = 0; which < RISK_CASES; which++)
                for (l = 0; l < p->lambda_count; l++) {
                    const risk_cell *c = risk_cell_at(p, r, alpha, size, which) + l;
                    fprintf(f,
                            "%s    { \"steps\": %d, \"batches\": \"%s\", \"samples\": %lu, \"lambda\": %.9g, "
                            "\"train\": %.9g, \"test\": %.9g, \"loo\": %.9g, \"alpha1\": %.9g, \"alpha2\": %.9g }",
                            between, risk_steps[which], risk_batches[which], (unsigned long)p->sizes[size],
                            p->lambdas[l], c->train, c->test, c->loo, p->alphas[alpha][0], p->alphas[alpha][1]);
                    between = ",\n";
                }
    fputs(" ],\n  \"choices\": [", f);
    between = "\n";
    for (alpha = 0; alpha < p->alpha_count; alpha++)
        for (size = 0; size < p->size_count; size++)
            for (which = 0; which < RISK_CASES; which++) {
                const risk_choice *c = risk_choice_at(p, r, alpha, size, which);
                fprintf(f,
                        "%s    { \"steps\": %d, \"batches\": \"%s\", \"samples\": %lu, \"lambda\": %.9g, \"train\": "
                        "%.9g, \"test\": %.9g, \"test_error\": %.9g, \"best_test\": %.9g, \"loo\": %.9g, \"alpha1\": "
                        "%.9g, \"alpha2\": %.9g }",
                        between, risk_steps[which], risk_batches[which], (unsigned long)p->sizes[size], c->lambda,
                        c->train, c->test, c->error, c->best, c->loo, p->alphas[alpha][0], p->alphas[alpha][1]);
                between = ",\n";
            }
    fputs(" ],\n  \"gains\": [", f);
    between = "\n";
    for (alpha = 0; alpha < p->alpha_count; alpha++)
        for (size = 0; size < p->size_count; size++)
            for (which = 0; which < RISK_GAINS; which++) {
                const risk_choice *c = risk_gain_at(p, r, alpha, size, which);
                fprintf(f, "%s    { \"name\": \"%s\", \"samples\": %lu, \"test\": %.9g, \"test_error\": %.9g, "
                           "\"alpha1\": %.9g, \"alpha2\": %.9g }",
                        between, risk_gains[which].name, (unsigned long)p->sizes[size], c->test, c->error,
                        p->alphas[alpha][0], p->alphas[alpha][1]);
                between = ",\n";
            }
    fputs(" ]", f);
}

static void risk_json_baselines(FILE *f, const risk_plan *p, const risk_result *r) {
    const size_t last = p->size_count - 1;
    size_t i;
    fprintf(f, ",\n  \"baselines\": { \"linear\": %.9g, \"noise\": %.9g, \"zero\": %.9g", r->linear[last].test, r->noise,
            r->label_square);
    if (p->sizes[last] <= RISK_KERNEL_SAMPLES) fprintf(f, ", \"kernel\": %.9g", r->kernel[last].test);
    fputs(" },\n  \"baseline_rows\": [", f);
    for (i = 0; i < p->size_count; i++) {
        fprintf(f, "%s\n    { \"samples\": %lu, \"linear\": %.9g", i ? "," : "", (unsigned long)p->sizes[i],
                r->linear[i].test);
        if (p->sizes[i] <= RISK_KERNEL_SAMPLES) fprintf(f, ", \"kernel\": %.9g", r->kernel[i].test);
        fputs(" }", f);
    }
    fputs(" ]", f);
}

static void risk_json_body(FILE *f, const risk_plan *p, const risk_result *r) {
    json_config(f, p->s);
    fprintf(f, ",\n  \"seeds\": %lu, \"test_samples\": %lu", (unsigned long)p->seeds, (unsigned long)p->test);
    risk_json_rows(f, p, r);
    risk_json_baselines(f, p, r);
    fprintf(f, ",\n  \"seconds\": { \"total\": %.3f }", r->seconds);
}

/* The object of the contract; of a page, that of its second panel, with all panels in a list beside. */
static void risk_json(FILE *f, const risk_plan *plans, const risk_result *results, size_t count) {
    const size_t own = count > 1 ? 1 : 0;
    size_t i;
    fprintf(f, "{ \"version\": \"%s\", \"command\": \"risk\",\n", TWS_VERSION_TEXT);
    risk_json_body(f, plans + own, results + own);
    if (count > 1) {
        fputs(",\n  \"panels\": [", f);
        for (i = 0; i < count; i++) {
            fputs(i ? ",\n  { \"title\": " : "\n  { \"title\": ", f);
            json_text(f, plans[i].title);
            fputs(",\n", f);
            risk_json_body(f, plans + i, results + i);
            fputs(" }", f);
        }
        fputs(" ]", f);
    }
    fprintf(f, ",\n  \"threads\": %u, \"kernel\": \"%s\" }\n", tws_context_threads(&plans->s->context),
            tws_kernel_name(tws_context_kernel(&plans->s->context)));
}

/* ---- figure ---- */

/* Test error against lambda, one line for each case; a dashed rule for the best linear fit. */
static int risk_svg(FILE *f, const risk_plan *plans, const risk_result *results, size_t count) {
    static double test[3][RISK_CASES][RISK_MAX_LAMBDAS];
    static plot_series lines[3][RISK_CASES];
    static plot_rule rules[3];
    static const char text[] = "On samples that nothing has seen; dashed: the best fit that is linear in x.";
    plot_chart charts[3];
    plot_out out = plot_to_file(f);
    size_t i, which, l;
    memset(charts, 0, sizeof charts);
    memset(lines, 0, sizeof lines);
    for (i = 0; i < count; i++) {
        const risk_plan *p = plans + i;
        const size_t size = p->size_count - 1, alpha = p->alpha_count - 1;
        for (which = 0; which < RISK_CASES; which++) {
            for (l = 0; l < p->lambda_count; l++)
                test[i][which][l] = risk_cell_at(p, results + i, alpha, size, which)[l].test / results[i].label_square;
            lines[i][which].name = risk_names[which];
            lines[i][which].x = p->lambdas;
            lines[i][which].y = test[i][which];
            lines[i][which].count = p->lambda_count;
            lines[i][which].marks = PLOT_LINE | PLOT_POINTS;
        }
        rules[i].label = count > 1 ? NULL : "linear in x";
        rules[i].at = results[i].linear[size].test / results[i].label_square;
        rules[i].horizontal = 1;
        charts[i].title = p->short_title;
        charts[i].x.label = "ridge \316\273";
        charts[i].x.log = 1;
        charts[i].y.label = "test error / label variance";
        charts[i].y.low = 0.0;
        charts[i].y.high = 1.5;
        charts[i].series = lines[i];
        charts[i].series_count = RISK_CASES;
        charts[i].rules = &rules[i];
        charts[i].rule_count = 1;
    }
    if (count == 1) {
        charts[0].title = "What the features are worth";
        return plot_chart_svg(&out, charts);
    }
    return plot_panels_svg(&out, "What the features are worth", text, charts, count, count);
}

/* ---- the command ---- */

/* The three panels of the page. */
static int risk_page(settings *s, settings *panels, risk_plan *plans) {
    static const char *const titles[] = {
        "1. Two steps beat one: a smooth target of information exponent one",
        "2. A reused batch beats a fresh one: a target of information exponent three",
        "3. Neither helps: He2 of one direction, as no power of an even label is odd"};
    static const char *const panel_titles[] = {"tanh: two steps win", "step3: reuse wins", "he2: neither helps"};
    static const char *const targets[] = {"tanh", "step3", "he2"}, *const activations[] = {"shifted-tanh", "tanh", "tanh"};
    static const double sizes[3][3] = {{300, 300, 1500}, {400, 32, 512}, {400, 32, 512}};
    static const char *const new_samples[] = {"1500", "2000", "2000"};
    static const double scales[3][2] = {{1, 2}, {2, 20}, {2, 20}};
    size_t i;
    int status = 0;
    for (i = 0; status == 0 && i < 3; i++) {
        settings *p = panels + i;
        *p = *s;
        p->neurons = sizes[i][0];
        p->inputs = sizes[i][1];
        p->samples = sizes[i][2];
        p->config.neurons = (size_t)sizes[i][0];
        p->config.inputs = (size_t)sizes[i][1];
        p->config.samples = (size_t)sizes[i][2];
        p->config.alpha1 = p->config.alpha2 = 0.45;
        p->config.scale1 = scales[i][0];
        p->config.scale2 = scales[i][1];
        strcpy(p->activation, activations[i]);
        strcpy(p->target, targets[i]);
        tws_activation_named(p->activation, &p->config.activation);
        tws_target_named(p->target, &p->config.target);
        p->ridge_samples = new_samples[i];
        if (!risk_given(s, "--seeds")) p->seeds = 4;
        status = check_seeds(p);
        if (status == 0) status = risk_make_plan(plans + i, p, titles[i], panel_titles[i]);
    }
    return status;
}

static int risk_work(settings *s) {
    static settings panels[3];
    static risk_plan plans[3];
    static risk_result results[3];
    const size_t count = risk_chosen(s) ? 1 : 3;
    result_file json, svg;
    tws_status status = TWS_OK;
    size_t i;
    int drawn, result = count == 1 ? risk_make_plan(plans, s, NULL, NULL) : risk_page(s, panels, plans);
    if (result != 0) return result;
    memset(&json, 0, sizeof json);
    memset(&svg, 0, sizeof svg);
    if (s->json != NULL && open_result(&json, s->json) != 0) return EXIT_FAILED;
    if (s->svg != NULL && open_result(&svg, s->svg) != 0) {
        close_result(&json, 0);
        return EXIT_FAILED;
    }
    for (i = 0; status == TWS_OK && i < count; i++) {
        status = risk_compute(plans + i, results + i);
        if (status != TWS_OK) result = explain(plans[i].s, status);
        else if (wants_report(s)) {
            if (i > 0) printf("\n");
            risk_print(plans + i, results + i);
        }
    }
    if (result == 0 && json.stream != NULL) risk_json(json.stream, plans, results, count);
    if (json.stream != NULL && close_result(&json, result == 0) != 0) result = EXIT_FAILED;
    errno = 0;
    drawn = status == TWS_OK && svg.stream != NULL && risk_svg(svg.stream, plans, results, count) == 0;
    if (status == TWS_OK && svg.stream != NULL && !drawn) result = file_failed("write", svg.name);
    for (i = 0; i < count; i++) risk_release(&results[i]);
    if (svg.stream != NULL && close_result(&svg, drawn) != 0) result = EXIT_FAILED;
    return result;
}
