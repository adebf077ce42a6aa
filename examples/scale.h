/* The command `twostep scale`: how the strengths of the learned directions grow with N, over a ladder
 * of sizes at fixed d/N and n/N. A part of twostep.c, which includes it after its settings, JSON and
 * result files.
 *
 * Row i of W_2 - W_0 has the mean a_i V_0 + a_i^2 V_1 + ..., one spike with left vector a^(k+1) for
 * each order k (see tws_limit_theory), and noise that is independent between rows. Their sum is a
 * matrix of low rank; its singular values are the strengths, measured here and predicted by
 * tws_predict (`strengths`). Orthonormal polynomials of a of degree 1 to 4 project the spikes out: the
 * eigenvalues of the Gram matrix of the four projections are the squared strengths. The noise would
 * add to it. So it is taken between the neurons with even and those with odd numbers, whose noises
 * have nothing to do with each other: each entry is then right on average.
 *
 * Which orders are there? The Gram matrix of the spikes is triangular in k. The pivot of order k, what
 * it has beyond the orders before it, is right on average and may be negative where it is small;
 * ordered eigenvalues of noise are not. So an order counts as resolved where its pivot is three
 * standard errors above zero, and eigenvalues are those of the rows and columns of resolved orders. */

#define SCALE_ORDERS 4
#define SCALE_RUNGS LADDER_MOST
#define SCALE_CURVE 32   /* points of the predicted curves */
#define SCALE_FAR 1e10   /* where they end */

/* One size: means over the seeds. */
typedef struct scale_rung {
    size_t neurons, inputs, samples;
    int resolved[SCALE_ORDERS];  /* 1 where the order stands out of the noise */
    double square[SCALE_ORDERS]; /* mean of the squared strength or, where not resolved, pivot */
    double error[SCALE_ORDERS];  /* its standard error; 0 with one seed */
    double predicted[SCALE_ORDERS]; /* strengths of the theory; 0: none */
    tws_limit limit;
    int limited; /* 1 when the theory has given it */
} scale_rung;

/* The straight line through the logarithms of one order. */
typedef struct scale_fit {
    size_t rungs; /* sizes where the order stands out of its noise; a line takes two */
    double slope, slope_error;
} scale_fit;

typedef struct scale_result {
    scale_rung rungs[SCALE_RUNGS];
    size_t count, seeds;
    double *squares; /* rungs x seeds x SCALE_ORDERS */
    double *grams;   /* seeds x SCALE_ORDERS^2, of the size in hand */
    scale_fit fits[SCALE_ORDERS];
    double curve_neurons[SCALE_CURVE], curves[SCALE_CURVE][SCALE_ORDERS]; /* predicted; 0: none */
    double seconds;
} scale_result;

/* The arrays of one run. */
typedef struct scale_data {
    tws_real *initial, *weights, *readout, *directions, *inputs, *labels;
    double *basis;     /* SCALE_ORDERS x N / 2 */
    double *projected; /* two halves of SCALE_ORDERS x d */
} scale_data;

static void scale_free(scale_data *d) {
    free(d->initial);
    free(d->weights);
    free(d->readout);
    free(d->directions);
    free(d->inputs);
    free(d->labels);
    free(d->basis);
    free(d->projected);
    memset(d, 0, sizeof *d);
}

static int scale_allocate(scale_data *d, const tws_config *c) {
    const size_t real = sizeof(tws_real);
    memset(d, 0, sizeof *d);
    if (c->inputs > SIZE_MAX / 64 / c->neurons || c->inputs > SIZE_MAX / 64 / c->samples) return 0;
    d->initial = (tws_real *)malloc(c->neurons * c->inputs * real);
    d->weights = (tws_real *)malloc(c->neurons * c->inputs * real);
    d->readout = (tws_real *)malloc(c->neurons * real);
    d->directions = (tws_real *)malloc(c->target.directions * c->inputs * real);
    d->inputs = (tws_real *)malloc(c->samples * c->inputs * real);
    d->labels = (tws_real *)malloc(c->samples * real);
    d->basis = (double *)malloc(SCALE_ORDERS * (c->neurons / 2 + 1) * sizeof(double));
    d->projected = (double *)malloc(2 * SCALE_ORDERS * c->inputs * sizeof(double));
    return d->initial != NULL && d->weights != NULL && d->readout != NULL && d->directions != NULL &&
           d->inputs != NULL && d->labels != NULL && d->basis != NULL && d->projected != NULL;
}

/* W_0 and W_2 of one seed. */
static tws_status scale_train(tws_context *context, const tws_config *c, scale_data *d) {
    tws_network network;
    tws_batch batch;
    tws_status status = tws_make_weights(context, c, 0, c->neurons, d->initial);
    if (status == TWS_OK) status = tws_make_readout(context, c, 0, c->neurons, d->readout);
    if (status == TWS_OK) status = tws_make_directions(context, c, d->directions);
    if (status == TWS_OK) status = tws_make_batch(context, c, d->directions, 0, d->inputs, d->labels);
    if (status != TWS_OK) return status;
    memcpy(d->weights, d->initial, c->neurons * c->inputs * sizeof *d->weights);
    network = tws_network_from_config(c, d->weights, d->readout);
    batch.samples = c->samples;
    batch.inputs = d->inputs;
    batch.labels = d->labels;
    status = tws_step(context, &network, &batch, tws_step_size(c, 1), d->weights, NULL);
    if (status == TWS_OK && c->batches == TWS_FRESH)
        status = tws_make_batch(context, c, d->directions, 1, d->inputs, d->labels);
    if (status == TWS_OK) status = tws_step(context, &network, &batch, tws_step_size(c, 2), d->weights, NULL);
    return status;
}

/* Orthonormal polynomials of degree 1, 2, ... of the readout of every other neuron, leading
   coefficients positive; returns how many neurons that are. */
static size_t scale_polynomials(const tws_config *c, const scale_data *d, size_t half) {
    const size_t count = (c->neurons + 1 - half) / 2;
    const double root = sqrt((double)c->neurons);
    size_t k, l, i, turn;
    for (i = 0; i < count; i++) {
        const double a = root * (double)d->readout[2 * i + half];
        for (k = 0; k < SCALE_ORDERS; k++) d->basis[k * count + i] = k == 0 ? a : a * d->basis[(k - 1) * count + i];
    }
    for (k = 0; k < SCALE_ORDERS; k++) {
        double *p = d->basis + k * count, norm = 0.0;
        for (turn = 0; turn < 2; turn++)
            for (l = 0; l < k; l++) {
                const double *q = d->basis + l * count;
                double dot = 0.0;
                for (i = 0; i < count; i++) dot += p[i] * q[i];
                for (i = 0; i < count; i++) p[i] -= dot * q[i];
            }
        for (i = 0; i < count; i++) norm += p[i] * p[i];
        for (i = 0; i < count && norm > 0.0; i++) p[i] /= sqrt(norm);
    }
    return count;
}

/* The projections of W_2 - W_0 from one half of the neurons. */
static void scale_project(const tws_config *c, const scale_data *d, size_t half) {
    double *out = d->projected + half * SCALE_ORDERS * c->inputs;
    const size_t count = scale_polynomials(c, d, half);
    size_t i, j, k;
    memset(out, 0, SCALE_ORDERS * c->inputs * sizeof *out);
    for (i = 0; i < count; i++) {
        const tws_real *after = d->weights + (2 * i + half) * c->inputs;
        const tws_real *before = d->initial + (2 * i + half) * c->inputs;
        for (k = 0; k < SCALE_ORDERS; k++) {
            const double p = d->basis[k * count + i];
            double *row = out + k * c->inputs;
            for (j = 0; j < c->inputs; j++) row[j] += p * ((double)after[j] - (double)before[j]);
        }
    }
}

/* The Gram matrix between the halves. Each has half of |a|^2, so that twice their product counts. */
static void scale_gram(const tws_config *c, const scale_data *d, double *gram) {
    const double *even = d->projected, *odd = d->projected + SCALE_ORDERS * c->inputs;
    size_t i, j, k;
    for (i = 0; i < SCALE_ORDERS; i++)
        for (k = 0; k < SCALE_ORDERS; k++) {
            double sum = 0.0;
            for (j = 0; j < c->inputs; j++)
                sum += even[i * c->inputs + j] * odd[k * c->inputs + j] +
                       even[k * c->inputs + j] * odd[i * c->inputs + j];
            gram[i * SCALE_ORDERS + k] = sum;
        }
}

static void scale_pivots(const double *gram, double *squares) {
    double left[SCALE_ORDERS][SCALE_ORDERS];
    size_t i, j, k;
    memcpy(left, gram, sizeof left);
    for (k = 0; k < SCALE_ORDERS; k++) {
        squares[k] = left[k][k];
        if (!(left[k][k] > 0.0)) continue; /* nothing there that later orders could contain */
        for (i = k + 1; i < SCALE_ORDERS; i++)
            for (j = k + 1; j < SCALE_ORDERS; j++) left[i][j] -= left[i][k] * left[k][j] / left[k][k];
    }
}

/* Eigenvalues of a symmetric matrix, by rotations of Jacobi; they end on its diagonal. */
static void scale_jacobi(double (*m)[SCALE_ORDERS], size_t n) {
    size_t turn, p, q, i;
    for (turn = 0; turn < 20; turn++)
        for (p = 0; p < n; p++)
            for (q = p + 1; q < n; q++) {
                const double off = m[p][q], gap = 0.5 * (m[q][q] - m[p][p]);
                double t, c, s;
                if (!(fabs(off) > 1e-300)) continue;
                t = off / (fabs(gap) + sqrt(gap * gap + off * off));
                if (gap < 0.0) t = -t;
                c = 1.0 / sqrt(1.0 + t * t);
                s = t * c;
                for (i = 0; i < n; i++) { /* columns, then rows */
                    const double x = m[i][p], y = m[i][q];
                    m[i][p] = c * x - s * y;
                    m[i][q] = s * x + c * y;
                }
                for (i = 0; i < n; i++) {
                    const double x = m[p][i], y = m[q][i];
                    m[p][i] = c * x - s * y;
                    m[q][i] = s * x + c * y;
                }
            }
}

/* Eigenvalues of the part of the Gram matrix that is resolved, in decreasing order over its orders. */
static void scale_values(const double *gram, const int *resolved, double *squares) {
    double m[SCALE_ORDERS][SCALE_ORDERS];
    size_t at[SCALE_ORDERS] = {0}, n = 0, i, k;
    for (k = 0; k < SCALE_ORDERS; k++)
        if (resolved[k]) at[n++] = k;
    for (i = 0; i < n; i++)
        for (k = 0; k < n; k++) m[i][k] = gram[at[i] * SCALE_ORDERS + at[k]];
    scale_jacobi(m, n);
    for (i = 0; i < n; i++) {
        double value = m[i][i];
        for (k = i + 1; k < n; k++)
            if (m[k][k] > value) {
                const double larger = m[k][k];
                m[k][k] = value;
                value = larger;
            }
        squares[at[i]] = value;
    }
}

/* Means over the seeds and their standard errors. */
static void scale_means(scale_rung *at, const double *squares, size_t seeds) {
    size_t seed, k;
    for (k = 0; k < SCALE_ORDERS; k++) {
        double sum = 0.0, spread = 0.0;
        for (seed = 0; seed < seeds; seed++) sum += squares[seed * SCALE_ORDERS + k];
        at->square[k] = sum / (double)seeds;
        for (seed = 0; seed < seeds; seed++) {
            const double miss = squares[seed * SCALE_ORDERS + k] - at->square[k];
            spread += miss * miss;
        }
        at->error[k] = seeds > 1 ? sqrt(spread / ((double)seeds * ((double)seeds - 1.0))) : 0.0;
    }
}

/* Pivots tell which orders are there, eigenvalues how strong they are. */
static void scale_strengths(scale_rung *at, const double *grams, double *squares, size_t seeds) {
    size_t seed, k;
    for (seed = 0; seed < seeds; seed++)
        scale_pivots(grams + seed * SCALE_ORDERS * SCALE_ORDERS, squares + seed * SCALE_ORDERS);
    scale_means(at, squares, seeds);
    for (k = 0; k < SCALE_ORDERS; k++)
        at->resolved[k] = at->square[k] > 0.0 && at->square[k] > 3.0 * at->error[k];
    for (seed = 0; seed < seeds; seed++)
        scale_values(grams + seed * SCALE_ORDERS * SCALE_ORDERS, at->resolved, squares + seed * SCALE_ORDERS);
    scale_means(at, squares, seeds);
}

/* All seeds of one size. */
static tws_status scale_measure(settings *s, scale_result *r, size_t rung) {
    scale_rung *at = &r->rungs[rung];
    tws_config c = s->config;
    scale_data d;
    tws_status status = TWS_OUT_OF_MEMORY;
    size_t seed;
    c.neurons = at->neurons;
    c.inputs = at->inputs;
    c.samples = at->samples;
    if (scale_allocate(&d, &c)) status = TWS_OK;
    else snprintf(s->context.message, sizeof s->context.message, "no memory for %lu neurons", (unsigned long)c.neurons);
    for (seed = 0; seed < r->seeds && status == TWS_OK; seed++) {
        c.seed = s->config.seed + seed;
        status = scale_train(&s->context, &c, &d);
        if (status != TWS_OK) break;
        scale_project(&c, &d, 0);
        scale_project(&c, &d, 1);
        scale_gram(&c, &d, r->grams + seed * SCALE_ORDERS * SCALE_ORDERS);
    }
    scale_free(&d);
    if (status == TWS_OK) scale_strengths(at, r->grams, r->squares + rung * r->seeds * SCALE_ORDERS, r->seeds);
    return status;
}

static int scale_resolved(const scale_rung *at, size_t k) { return at->resolved[k] && at->square[k] > 0.0; }

static double scale_strength(const scale_rung *at, size_t k) { return sqrt(at->square[k] > 0.0 ? at->square[k] : 0.0); }

/* Standard error of the strength, by the first order of the root. */
static double scale_strength_error(const scale_rung *at, size_t k) {
    return at->square[k] > 0.0 ? 0.5 * at->error[k] / sqrt(at->square[k]) : 0.0;
}

/* Least squares in the logarithms, each size weighted by its error where several seeds tell it. The
   error of the slope is from these errors, or from the scatter about the line if that is larger. */
static void scale_fit_line(scale_result *r, size_t k) {
    double sum = 0.0, x_mean = 0.0, y_mean = 0.0, spread = 0.0, product = 0.0, miss = 0.0;
    double x[SCALE_RUNGS], y[SCALE_RUNGS], w[SCALE_RUNGS];
    scale_fit *fit = &r->fits[k];
    size_t i, count = 0;
    for (i = 0; i < r->count; i++) {
        const scale_rung *at = &r->rungs[i];
        const double error = 0.5 * at->error[k] / (at->square[k] > 0.0 ? at->square[k] : 1.0);
        if (!scale_resolved(at, k)) continue;
        x[count] = log((double)at->neurons);
        y[count] = 0.5 * log(at->square[k]);
        w[count] = error > 1e-6 ? 1.0 / (error * error) : r->seeds > 1 ? 1e12 : 1.0;
        sum += w[count];
        x_mean += w[count] * x[count];
        y_mean += w[count] * y[count];
        count++;
    }
    memset(fit, 0, sizeof *fit);
    fit->rungs = count;
    if (count < 2) return;
    x_mean /= sum;
    y_mean /= sum;
    for (i = 0; i < count; i++) {
        spread += w[i] * (x[i] - x_mean) * (x[i] - x_mean);
        product += w[i] * (x[i] - x_mean) * (y[i] - y_mean);
    }
    fit->slope = product / spread;
    for (i = 0; i < count; i++) {
        const double off = y[i] - y_mean - fit->slope * (x[i] - x_mean);
        miss += w[i] * off * off;
    }
    miss = count > 2 ? miss / ((double)count - 2.0) : 0.0;
    fit->slope_error = sqrt((r->seeds > 1 && miss < 1.0 ? 1.0 : miss) / spread);
}

static tws_theory_input scale_input(const settings *s, double neurons) {
    tws_theory_input input = tws_theory_from_config(&s->config);
    input.neurons = neurons;
    input.inputs = floor(s->inputs / s->neurons * neurons + 0.5);
    input.samples = floor(s->samples / s->neurons * neurons + 0.5);
    return input;
}

/* The strengths of tws_predict. They are in decreasing order; those of orders that vanish in the limit
   are not among them. */
static void scale_predict(settings *s, const scale_result *r, const tws_theory_input *input, double *strengths) {
    const tws_limit *limit = &r->rungs[0].limit;
    tws_prediction two;
    size_t k, next = 0;
    if (!r->rungs[0].limited || tws_predict(&s->context, input, NULL, &two) != TWS_OK) return;
    for (k = 0; k < SCALE_ORDERS && k < limit->listed; k++)
        if (limit->order[k].leading_strength > 0.0 && next < two.spikes) strengths[k] = two.strengths[next++];
}

/* Curves from the smallest size to SCALE_FAR. */
static void scale_curves(settings *s, scale_result *r) {
    const double first = (double)r->rungs[0].neurons;
    size_t i;
    for (i = 0; i < SCALE_CURVE; i++) {
        const double share = (double)i / (SCALE_CURVE - 1);
        const tws_theory_input input = scale_input(s, floor(first * pow(SCALE_FAR / first, share) + 0.5));
        r->curve_neurons[i] = input.neurons;
        scale_predict(s, r, &input, r->curves[i]);
    }
}

/* ---- report ---- */

/* alpha2 - k (1/2 - alpha1), the larger alpha for order 0, which both steps share. */
static double scale_exponent(const settings *s, size_t k) {
    const tws_config *c = &s->config;
    const double exponent = c->alpha2 - (double)k * (0.5 - c->alpha1);
    if (k == 0 && c->alpha1 > c->alpha2) return c->alpha1;
    return fabs(exponent) < 1e-12 ? 0.0 : exponent;
}

/* 1 when the theory says that this order is not there. */
static int scale_vanishes(const scale_result *r, size_t k) {
    return r->rungs[0].limited && !(r->rungs[0].limit.order[k].leading_strength > 0.0);
}

static void scale_print(const settings *s, const scale_result *r) {
    size_t i, k;
    printf("strengths (singular values of the spikes) in W2 - W0, mean over %lu seed%s, activation %s, target %s, %s batch\n",
           (unsigned long)r->seeds, r->seeds == 1 ? "" : "s", s->activation, s->target,
           s->config.batches == TWS_FRESH ? "fresh" : "reused");
    printf("step sizes %.4g N^%.3g and %.4g N^%.3g, d = %.4g N, n = %.4g N\n\n%12s", s->config.scale1, s->config.alpha1,
           s->config.scale2, s->config.alpha2, s->inputs / s->neurons, s->samples / s->neurons, "N");
    for (k = 0; k < SCALE_ORDERS; k++) printf("%14s %lu   ", "k =", (unsigned long)k);
    printf("\n");
    for (i = 0; i < r->count; i++) {
        const scale_rung *at = &r->rungs[i];
        printf("%12lu", (unsigned long)at->neurons);
        for (k = 0; k < SCALE_ORDERS; k++) {
            if (!scale_resolved(at, k)) printf("%11s        ", "noise");
            else if (r->seeds > 1) printf("%11.4g +-%6.2g", scale_strength(at, k), scale_strength_error(at, k));
            else printf("%11.4g        ", scale_strength(at, k));
        }
        printf("\n%12s", "predicted");
        for (k = 0; k < SCALE_ORDERS; k++) {
            if (at->predicted[k] > 0.0) printf("%11.4g        ", at->predicted[k]);
            else printf("%11s        ", "-");
        }
        printf("\n");
    }
    printf("%12s", "slope");
    for (k = 0; k < SCALE_ORDERS; k++) {
        if (r->fits[k].rungs < 2) printf("%11s        ", "-");
        else printf("%11.3f +-%6.2g", r->fits[k].slope, r->fits[k].slope_error);
    }
    printf("\n%12s", "limit");
    for (k = 0; k < SCALE_ORDERS; k++) {
        if (scale_vanishes(r, k)) printf("%11s        ", "vanishes");
        else printf("%11.3f        ", scale_exponent(s, k));
    }
    printf("\n%.2f s on %u threads\n", r->seconds, tws_context_threads(&s->context));
}

/* Squared strengths; pivots where an order is not resolved. */
static void scale_csv(FILE *f, const settings *s, const scale_result *r) {
    size_t i, j, k;
    fputs("neurons,inputs,samples,seed,square0,square1,square2,square3\n", f);
    for (i = 0; i < r->count; i++)
        for (j = 0; j < r->seeds; j++) {
            const scale_rung *at = &r->rungs[i];
            fprintf(f, "%lu,%lu,%lu,%llu", (unsigned long)at->neurons, (unsigned long)at->inputs,
                    (unsigned long)at->samples, (unsigned long long)s->config.seed + j);
            for (k = 0; k < SCALE_ORDERS; k++) fprintf(f, ",%.9g", r->squares[(i * r->seeds + j) * SCALE_ORDERS + k]);
            fputc('\n', f);
        }
}

/* A strength that is not resolved is null. */
static void scale_json_rung(FILE *f, const scale_rung *at) {
    size_t k;
    fprintf(f, "\n    { \"neurons\": %lu, \"inputs\": %lu, \"samples\": %lu, \"strengths\": [",
            (unsigned long)at->neurons, (unsigned long)at->inputs, (unsigned long)at->samples);
    for (k = 0; k < SCALE_ORDERS; k++) {
        fputs(k ? ", " : "", f);
        if (scale_resolved(at, k)) fprintf(f, "%.9g", scale_strength(at, k));
        else fputs("null", f);
    }
    fputc(']', f);
    json_list(f, "predicted", at->predicted, SCALE_ORDERS);
    json_list(f, "squares", at->square, SCALE_ORDERS);
    json_list(f, "errors_of_squares", at->error, SCALE_ORDERS);
    fputs(" }", f);
}

static void scale_json(FILE *f, const settings *s, const scale_result *r) {
    size_t i, k;
    fprintf(f, "{ \"version\": \"%s\", \"command\": \"scale\",\n", TWS_VERSION_TEXT);
    json_config(f, s);
    fprintf(f, ",\n  \"seeds\": %lu,\n  \"rows\": [", (unsigned long)r->seeds);
    for (i = 0; i < r->count; i++) {
        fputs(i ? "," : "", f);
        scale_json_rung(f, &r->rungs[i]);
    }
    fputs(" ],\n  \"orders\": [", f);
    for (k = 0; k < SCALE_ORDERS; k++) {
        const scale_fit *fit = &r->fits[k];
        fprintf(f, "%s\n    { \"k\": %lu, \"exponent\": %.9g, \"vanishes\": %s, \"resolved\": %lu", k ? "," : "",
                (unsigned long)k, scale_exponent(s, k),
                scale_vanishes(r, k) ? "true" : "false",
                (unsigned long)fit->rungs);
        if (fit->rungs > 1) fprintf(f, ", \"slope\": %.9g, \"slope_error\": %.9g }", fit->slope, fit->slope_error);
        else fputs(", \"slope\": null, \"slope_error\": null }", f);
    }
    fputs(" ],\n  \"predicted\": [", f);
    for (i = 0; i < SCALE_CURVE; i++) {
        fprintf(f, "%s\n    { \"neurons\": %.9g", i ? "," : "", r->curve_neurons[i]);
        json_list(f, "strengths", r->curves[i], SCALE_ORDERS);
        fputs(" }", f);
    }
    fprintf(f, " ],\n  \"seconds\": %.3f, \"threads\": %u }\n", r->seconds, tws_context_threads(&s->context));
}

static void scale_name(char *name, size_t size, const settings *s, const scale_result *r, size_t k) {
    const scale_fit *fit = &r->fits[k];
    if (scale_vanishes(r, k)) snprintf(name, size, "k = %lu vanishes", (unsigned long)k);
    else if (fit->rungs < 2) snprintf(name, size, "k = %lu: limit N^{%.3g}", (unsigned long)k, scale_exponent(s, k));
    else
        snprintf(name, size, "k = %lu: slope %.2f \302\261 %.2f, limit %.3g", (unsigned long)k, fit->slope,
                 fit->slope_error, scale_exponent(s, k));
}

/* Points measured, solid curves predicted, dashed lines with the exponents of the limit. */
static int scale_svg(FILE *f, const settings *s, const scale_result *r) {
    static double x[SCALE_RUNGS], y[SCALE_ORDERS][SCALE_RUNGS], error[SCALE_ORDERS][SCALE_RUNGS];
    static double curve[SCALE_ORDERS][SCALE_CURVE], line[SCALE_ORDERS][2], ends[2];
    static char names[SCALE_ORDERS][80], note[600 + 2 * NAME_ROOM];
    plot_series series[3 * SCALE_ORDERS];
    plot_chart chart;
    plot_out out = plot_to_file(f);
    size_t i, k, count = 0;
    memset(&chart, 0, sizeof chart);
    memset(series, 0, sizeof series);
    ends[0] = r->curve_neurons[0];
    ends[1] = r->curve_neurons[SCALE_CURVE - 1];
    for (i = 0; i < r->count; i++) x[i] = (double)r->rungs[i].neurons;
    for (k = 0; k < SCALE_ORDERS; k++) {
        const tws_order *order = &r->rungs[0].limit.order[k];
        const int exists = r->rungs[0].limited && order->leading_strength > 0.0;
        for (i = 0; i < r->count; i++) { /* what is not resolved is 0: a gap */
            y[k][i] = scale_resolved(&r->rungs[i], k) ? scale_strength(&r->rungs[i], k) : 0.0;
            error[k][i] = scale_strength_error(&r->rungs[i], k);
        }
        for (i = 0; i < SCALE_CURVE; i++) curve[k][i] = r->curves[i][k];
        for (i = 0; i < 2 && exists; i++)
            line[k][i] = order->leading_strength * pow(ends[i] / x[0], order->exponent);
        series[count].x = ends;
        series[count].y = line[k];
        series[count].count = exists ? 2 : 0;
        series[count].marks = PLOT_LINE | PLOT_DASHED;
        series[count++].color = (int)k + 1;
        series[count].x = r->curve_neurons;
        series[count].y = curve[k];
        series[count].count = exists ? SCALE_CURVE : 0;
        series[count++].color = (int)k + 1;
        scale_name(names[k], sizeof names[0], s, r, k);
        series[count].name = names[k];
        series[count].x = x;
        series[count].y = y[k];
        series[count].error = error[k];
        series[count].count = r->count;
        series[count].marks = PLOT_POINTS;
        series[count++].color = (int)k + 1;
    }
    snprintf(note, sizeof note,
             "Points: measured in W_{2} - W_{0}, mean of %lu seed%s. Solid: predicted at that N. Dashed: the limit. "
             "%s student, %s target, %s batch, d = %.3g N, n = %.3g N, steps %.3g N^{%.3g} and %.3g N^{%.3g}.",
             (unsigned long)r->seeds, r->seeds == 1 ? "" : "s", s->activation, s->target,
             s->config.batches == TWS_FRESH ? "fresh" : "reused", s->inputs / s->neurons, s->samples / s->neurons,
             s->config.scale1, s->config.alpha1, s->config.scale2, s->config.alpha2);
    chart.title = "How the learned directions grow";
    chart.note = note;
    chart.x.label = "N, neurons";
    chart.y.label = "strength of order k";
    chart.x.log = chart.y.log = 1;
    chart.series = series;
    chart.series_count = count;
    return plot_chart_svg(&out, &chart);
}

/* ---- the command ---- */

/* Inputs and samples grow with N. */
static int scale_ladder(const settings *s, scale_result *r) {
    char first[32], last[64];
    size_t i;
    r->count = (size_t)s->ladder.count;
    for (i = 0; i < r->count; i++) {
        const double n = ladder_size(&s->ladder, i);
        const tws_theory_input input = scale_input(s, n);
        const int inputs = input.inputs > 2147483648.0;
        if (inputs || input.samples > 2147483648.0) {
            snprintf(first, sizeof first, "%.9g", inputs ? s->inputs : s->samples);
            snprintf(last, sizeof last, "%.9g at N = %.9g", inputs ? input.inputs : input.samples, n);
            return misuse("--%s is %s and grows with N to %s, it may grow to 2147483648", inputs ? "inputs" : "samples",
                          first, last);
        }
        r->rungs[i].neurons = (size_t)n;
        r->rungs[i].inputs = (size_t)input.inputs;
        r->rungs[i].samples = (size_t)input.samples;
    }
    return 0;
}

static int scale_compute(settings *s, scale_result *r) {
    const double begin = seconds_now();
    tws_theory_input input = scale_input(s, (double)r->rungs[0].neurons);
    size_t i, k;
    for (i = 0; i < r->count; i++) {
        const tws_status status = scale_measure(s, r, i);
        if (status != TWS_OK) return explain(s, status);
    }
    r->rungs[0].limited = tws_limit_theory(&s->context, &input, &r->rungs[0].limit) == TWS_OK;
    for (k = 0; k < SCALE_ORDERS; k++) scale_fit_line(r, k);
    for (i = 0; i < r->count; i++) {
        input = scale_input(s, (double)r->rungs[i].neurons);
        scale_predict(s, r, &input, r->rungs[i].predicted);
    }
    r->seconds = seconds_now() - begin;
    return 0;
}

static int scale_work(settings *s) {
    static scale_result r;
    result_file files[3];
    const char *names[3];
    int result = scale_ladder(s, &r), k, computed, kept[3];
    if (result != 0) return result;
    r.seeds = (size_t)s->seeds;
    names[0] = s->json, names[1] = s->svg, names[2] = s->out;
    memset(files, 0, sizeof files);
    for (k = 0; k < 3 && result == 0; k++)
        if (names[k] != NULL) result = open_result(&files[k], names[k]);
    r.squares = (double *)calloc(r.count * r.seeds, SCALE_ORDERS * sizeof *r.squares);
    r.grams = (double *)calloc(r.seeds, SCALE_ORDERS * SCALE_ORDERS * sizeof *r.grams);
    if (result == 0 && (r.squares == NULL || r.grams == NULL)) {
        fputs("twostep: no memory for the strengths of all seeds\n", stderr);
        result = EXIT_FAILED;
    }
    if (result == 0) result = scale_compute(s, &r);
    if (result == 0 && (s->json != NULL || s->svg != NULL)) scale_curves(s, &r);
    computed = result == 0;
    if (computed && files[0].stream != NULL) scale_json(files[0].stream, s, &r);
    errno = 0;
    kept[1] = computed && files[1].stream != NULL && scale_svg(files[1].stream, s, &r) == 0;
    if (computed && files[1].stream != NULL && !kept[1]) result = file_failed("write", files[1].name);
    if (computed && files[2].stream != NULL) scale_csv(files[2].stream, s, &r);
    kept[0] = kept[2] = computed;
    for (k = 0; k < 3; k++)
        if (close_result(&files[k], kept[k]) != 0) result = EXIT_FAILED;
    if (computed && wants_report(s)) scale_print(s, &r);
    free(r.squares);
    free(r.grams);
    return result;
}
