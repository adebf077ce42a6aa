/* Spectra in pictures, for `twostep`, `twostep run` and `twostep compare`: the histogram in the
 * terminal and the SVG of --svg. A part of twostep.c, which includes it after its results.
 *
 * All singular values are computed where that takes seconds, or for a figure half a minute; of larger
 * matrices a density, by Lanczos quadrature. */

#define SHOW_EXACT 2048  /* min(N, d) up to which all singular values are computed */
#define SHOW_DRAWN 4096  /* the same for a figure */
#define SHOW_CURVE 160   /* points of a predicted density */
#define SHOW_DENSITY 200 /* points of a measured one */
#define SHOW_STARTS 8    /* random vectors of the quadrature */
#define SHOW_STEPS 64    /* its steps */

/* What is drawn of one case. */
typedef struct show_case {
    double *values; /* all singular values, or NULL */
    size_t count;
    double density_x[SHOW_DENSITY], density[SHOW_DENSITY];
    size_t density_count;
    double curve_x[SHOW_CURVE], curve[SHOW_CURVE];
    size_t curve_count;
} show_case;

/* The pictures of one run, collected while it goes on. */
typedef struct show {
    settings *s;
    size_t exact; /* min(N, d) up to which all singular values are computed */
    show_case cases[TWS_CASE_COUNT];
} show;

/* ---- a density by Lanczos quadrature ----
 *
 * k steps of the bidiagonalisation of Golub and Kahan (1965) from a random unit vector v give
 * W V = U B; the singular values of B with the squared first entries of its right singular vectors
 * are the nodes and weights of a quadrature for the spectral measure of v. The mean over some v,
 * smoothed over the distance of the nodes, is the density. */

typedef struct show_lanczos {
    size_t rows, columns, steps; /* of W or, if that is wide, of its transpose: no zeros are counted */
    int transposed;
    const tws_real *weights;
    tws_real *v, *u;                       /* starts x columns, starts x rows: the last vectors */
    tws_real *basis_v, *basis_u;           /* steps of them */
    double alpha[SHOW_STARTS][SHOW_STEPS]; /* diagonal of B */
    double beta[SHOW_STARTS][SHOW_STEPS];  /* above it */
} show_lanczos;

/* Takes the parts along earlier vectors out of x, twice; returns what length is left, and makes x a
   unit vector. */
static double show_orthogonalise(tws_real *x, const tws_real *basis, size_t kept, size_t stride, size_t length) {
    double norm;
    size_t turn, k, i;
    for (turn = 0; turn < 2; turn++)
        for (k = 0; k < kept; k++) {
            const tws_real *b = basis + k * stride;
            const double dot = real_dot(b, x, length);
            for (i = 0; i < length; i++) x[i] = (tws_real)((double)x[i] - dot * (double)b[i]);
        }
    norm = sqrt(real_dot(x, x, length));
    for (i = 0; i < length && norm > 0.0; i++) x[i] = (tws_real)((double)x[i] / norm);
    return norm;
}

/* All starts go forward together, so that the matrix is read once for all of them. */
static tws_status show_bidiagonalise(show_lanczos *l, tws_context *context, const tws_config *config) {
    const size_t n = l->rows, d = l->columns, wide = SHOW_STARTS * d, tall = SHOW_STARTS * n;
    const size_t width = l->transposed ? n : d; /* of W as it stands in memory */
    const tws_transpose forth = l->transposed ? TWS_NO_TRANSPOSE : TWS_TRANSPOSE;
    const tws_transpose back = l->transposed ? TWS_TRANSPOSE : TWS_NO_TRANSPOSE;
    size_t step, q;
    tws_status status = tws_random_matrix(context, config->seed ^ 0x5e9c, 77, 0, SHOW_STARTS, d, l->v, d);
    for (step = 0; status == TWS_OK && step < l->steps; step++) {
        for (q = 0; q < SHOW_STARTS; q++) {
            const double beta = show_orthogonalise(l->v + q * d, l->basis_v + q * d, step, wide, d);
            if (step > 0) l->beta[q][step - 1] = beta;
        }
        memcpy(l->basis_v + step * wide, l->v, wide * sizeof *l->v);
        status = tws_gemm(context, TWS_NO_TRANSPOSE, forth, SHOW_STARTS, n, d, 1, l->v, d, l->weights, width, 0,
                          l->u, n);
        for (q = 0; q < SHOW_STARTS && status == TWS_OK; q++)
            l->alpha[q][step] = show_orthogonalise(l->u + q * n, l->basis_u + q * n, step, tall, n);
        memcpy(l->basis_u + step * tall, l->u, tall * sizeof *l->u);
        if (status == TWS_OK)
            status = tws_gemm(context, TWS_NO_TRANSPOSE, back, SHOW_STARTS, d, n, 1, l->u, n, l->weights, width, 0, l->v,
                              d);
    }
    return status;
}

/* Adds the smoothed nodes of one start. */
static tws_status show_smooth(const show_lanczos *l, size_t start, tws_context *context, double width, show_case *c) {
    static tws_real b[SHOW_STEPS * SHOW_STEPS];
    static double values[SHOW_STEPS], right[SHOW_STEPS * SHOW_STEPS];
    const size_t steps = l->steps;
    tws_svd_options find = tws_default_svd_options(steps);
    tws_status status;
    size_t i, k;
    memset(b, 0, sizeof b);
    for (k = 0; k < steps; k++) {
        b[k * steps + k] = (tws_real)l->alpha[start][k];
        if (k + 1 < steps) b[k * steps + k + 1] = (tws_real)l->beta[start][k];
    }
    find.tolerance = 1e-4;
    status = tws_svd(context, &find, b, steps, steps, steps, values, NULL, right, NULL, NULL);
    for (k = 0; k < steps && status == TWS_OK; k++) {
        const double first = right[k * steps], mass = first * first / SHOW_STARTS;
        for (i = 0; i < c->density_count; i++) {
            const double z = (c->density_x[i] - values[k]) / width, mirror = (c->density_x[i] + values[k]) / width;
            c->density[i] += mass * (exp(-0.5 * z * z) + exp(-0.5 * mirror * mirror)) / (width * 2.5066282746310002);
        }
    }
    return status;
}

static tws_status show_quadrature(show *w, const tws_real *weights, double top, show_case *c) {
    static show_lanczos l; /* 8 KB */
    const tws_config *config = &w->s->config;
    size_t i;
    tws_status status = TWS_OUT_OF_MEMORY;
    memset(&l, 0, sizeof l);
    l.transposed = config->neurons < config->inputs;
    l.rows = l.transposed ? config->inputs : config->neurons;
    l.columns = l.transposed ? config->neurons : config->inputs;
    l.steps = SHOW_STEPS;
    l.weights = weights;
    l.v = (tws_real *)malloc(SHOW_STARTS * l.columns * sizeof *l.v);
    l.u = (tws_real *)malloc(SHOW_STARTS * l.rows * sizeof *l.u);
    l.basis_v = (tws_real *)malloc(SHOW_STARTS * SHOW_STEPS * l.columns * sizeof *l.v);
    l.basis_u = (tws_real *)malloc(SHOW_STARTS * SHOW_STEPS * l.rows * sizeof *l.u);
    c->density_count = SHOW_DENSITY;
    for (i = 0; i < SHOW_DENSITY; i++) c->density_x[i] = 1.1 * top * (double)i / (SHOW_DENSITY - 1);
    if (l.v != NULL && l.u != NULL && l.basis_v != NULL && l.basis_u != NULL)
        status = show_bidiagonalise(&l, &w->s->context, config);
    for (i = 0; i < SHOW_STARTS && status == TWS_OK; i++)
        status = show_smooth(&l, i, &w->s->context, 0.9 * top / SHOW_STEPS, c);
    free(l.v);
    free(l.u);
    free(l.basis_v);
    free(l.basis_u);
    return status;
}

/* ---- what is measured ---- */

/* Called with the weights of every case while they are there. */
static tws_status show_visit(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    show *w = (show *)user;
    const tws_config *c = &w->s->config;
    const size_t count = c->neurons < c->inputs ? c->neurons : c->inputs;
    show_case *out = &w->cases[which];
    (void)readout;
    if (count > w->exact)
        return show_quadrature(w, weights, tws_bulk_edge((double)c->neurons, (double)c->inputs) * 1.3, out);
    out->values = (double *)malloc(count * sizeof *out->values);
    if (out->values == NULL) return TWS_OUT_OF_MEMORY;
    out->count = count;
    return tws_singular_values(&w->s->context, weights, c->neurons, c->inputs, c->inputs, out->values);
}

static void show_free(show *w) {
    int which;
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        free(w->cases[which].values);
        w->cases[which].values = NULL;
    }
}

/* ---- what is predicted ---- */

static double show_edge(const show *w, const outcome *o, int which) {
    const tws_prediction *p = prediction_of(o, which);
    if (p != NULL && p->edge > 0.0) return p->edge;
    return which == TWS_INITIAL ? tws_bulk_edge(w->s->neurons, w->s->inputs) : o->measured.spectrum[which].edge;
}

/* Points that crowd at the edge, where the density falls like a root. */
static void show_grid(show_case *c, double edge) {
    size_t i;
    c->curve_count = SHOW_CURVE;
    for (i = 0; i < SHOW_CURVE; i++) c->curve_x[i] = edge * sin(0.5 * 3.14159265358979 * (double)i / (SHOW_CURVE - 1));
}

static tws_status show_predict(show *w, const outcome *o, int first, int second, tws_batches batches) {
    static double values[2 * SHOW_CURVE], density[2][2 * SHOW_CURVE];
    tws_theory_input input = tws_theory_from_config(&w->s->config);
    show_case *one = &w->cases[TWS_ONE_STEP], *two = &w->cases[second];
    tws_status status;
    input.batches = batches;
    show_grid(two, show_edge(w, o, second));
    if (first) show_grid(one, show_edge(w, o, TWS_ONE_STEP));
    memcpy(values, one->curve_x, sizeof one->curve_x);
    memcpy(values + SHOW_CURVE, two->curve_x, sizeof two->curve_x);
    status = tws_predict_bulk(&w->s->context, &input, values, 2 * SHOW_CURVE, first ? density[0] : NULL, density[1]);
    if (status != TWS_OK) {
        two->curve_count = 0;
        if (first) one->curve_count = 0;
        return status;
    }
    memcpy(two->curve, density[1] + SHOW_CURVE, sizeof two->curve);
    if (first) memcpy(one->curve, density[0], sizeof one->curve);
    return status;
}

/* The predicted bulks of all cases that were measured; after the steps only where the configuration
   is all that the data come from. */
static void show_curves(show *w, const outcome *o, int known) {
    show_case *bare = &w->cases[TWS_INITIAL];
    size_t i;
    show_grid(bare, tws_bulk_edge(w->s->neurons, w->s->inputs));
    for (i = 0; i < SHOW_CURVE; i++)
        bare->curve[i] = tws_bulk_density(w->s->neurons, w->s->inputs, bare->curve_x[i]);
    if (!o->predicted || !known) return;
    if (o->measured.measured[TWS_TWO_STEPS_FRESH]) show_predict(w, o, 1, TWS_TWO_STEPS_FRESH, TWS_FRESH);
    if (o->measured.measured[TWS_TWO_STEPS_REUSE])
        show_predict(w, o, !o->measured.measured[TWS_TWO_STEPS_FRESH], TWS_TWO_STEPS_REUSE, TWS_REUSE);
}

/* ---- pictures ---- */

static const char *const show_titles[] = {"W_{0}, no step", "W_{1}, one step", "W_{2}, two steps, fresh batch",
                                          "W_{2}, two steps, reused batch"};

/* The measured cases as panels; returns how many. titles: TWS_CASE_COUNT of 100 bytes. */
static size_t show_panels(const show *w, const outcome *o, plot_spectrum *panels, char titles[][100]) {
    const double directions = (double)w->s->config.target.directions;
    char whole[24] = "";
    size_t count = 0;
    int which;
    if (directions > 1.0) snprintf(whole, sizeof whole, " (of %.2f)", sqrt(directions));
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        const show_case *c = &w->cases[which];
        const tws_spectrum *m = &o->measured.spectrum[which];
        const tws_prediction *p = prediction_of(o, which);
        plot_spectrum *panel = &panels[count];
        if (!o->measured.measured[which]) continue;
        memset(panel, 0, sizeof *panel);
        panel->title = titles[count];
        if (which == TWS_INITIAL || m->outliers == 0)
            snprintf(titles[count], 100, "%s", show_titles[which]);
        else
            snprintf(titles[count], 100, "%s: the outlier%s hold%s %.2f of the target%s", show_titles[which],
                     m->outliers == 1 ? "" : "s", m->outliers == 1 ? "s" : "", m->captured, whole);
        panel->values = c->values;
        panel->count = c->count;
        panel->density_x = c->density_x;
        panel->density = c->density;
        panel->density_count = c->density_count;
        panel->curve_x = c->curve_x;
        panel->curve = c->curve;
        panel->curve_count = c->curve_count;
        panel->edge = show_edge(w, o, which);
        panel->outliers = m->singular_values;
        panel->alignments = m->alignments;
        panel->outlier_count = m->outliers;
        if (p != NULL) {
            panel->predicted = p->singular_values;
            panel->predicted_alignments = p->alignments;
            panel->predicted_count = p->outliers;
        }
        count++;
    }
    return count;
}

static int show_svg(FILE *f, const show *w, const outcome *o) {
    static char titles[TWS_CASE_COUNT][100];
    static plot_spectrum panels[TWS_CASE_COUNT];
    plot_out out = plot_to_file(f);
    const settings *s = w->s;
    const tws_config *c = &s->config;
    const size_t count = show_panels(w, o, panels, titles);
    static char note[400 + 2 * NAME_ROOM];
    snprintf(note, sizeof note,
             "N = %.9g, d = %.9g, n = %.9g, %s student, %s target, steps %.3g N^{%.3g} = %.3g and %.3g N^{%.3g} = %.3g, "
             "seed %llu. A dot is as high as the outlier's right singular vector is aligned with the target.",
             s->neurons, s->inputs, s->samples, s->activation, s->target, c->scale1, c->alpha1, o->measured.eta1,
             c->scale2, c->alpha2, o->measured.eta2, (unsigned long long)c->seed);
    return plot_spectra_svg(&out,
                            s->command == COMMAND_COMPARE ? "One step or two, a fresh batch or the same again"
                                                          : "What the weights have learned",
                            note, panels, count);
}

/* 1 when the reader's terminal wants UTF-8, as far as the environment tells. */
static int show_unicode(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    size_t i;
    for (i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL || *value == '\0') continue;
        return strstr(value, "UTF-8") != NULL || strstr(value, "utf8") != NULL || strstr(value, "UTF8") != NULL ||
               strstr(value, "utf-8") != NULL;
    }
    return 0;
}

static void show_text(const show *w, const outcome *o) {
    static char titles[TWS_CASE_COUNT][100];
    plot_spectrum panels[TWS_CASE_COUNT];
    plot_out out = plot_to_file(stdout);
    size_t i, count = show_panels(w, o, panels, titles);
    printf("\n");
    for (i = 0; i < count; i++) titles[i][strcspn(titles[i], ":")] = '\0';
    plot_spectra_text(&out, panels, count, w->s->ascii || !show_unicode());
}
