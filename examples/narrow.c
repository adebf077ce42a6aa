/* narrow: many steps of gradient descent on networks of any width, fresh batches against one that
 * is reused.
 *
 *     cc -O2 -o narrow examples/narrow.c -lm && ./narrow
 *
 * follows the overlap of the neurons with each direction of the target; --help lists the options.
 * The setting is that of Dandi et al., "The benefits of reusing batches for gradient descent in
 * two-layer networks" (2024), and, with --constraint and --extragradient, of Arnaboldi et al.,
 * "Repetita iuvant" (2024); with as many neurons as inputs, a Gaussian readout and two steps it is
 * the experiment of twostep.c.
 *
 * The loop, in one line: tws_gradient gives G, the negative gradient of 1/(2n) sum (y - f)^2 over the
 * output scale s, so a step of learning rate R is W <- W + R s G. All else here is bookkeeping. */
#define RESULT_PROGRAM "narrow"
#include "result.h" /* the first: it asks for POSIX */
#define TWOSTEP_IMPLEMENTATION
#include "../twostep.h"

#include <ctype.h>
#include <signal.h>

enum { EXIT_FAILED = 1, EXIT_MISUSE = 2 };
enum { FRESH, REUSE, BOTH };
enum { FREE_NORM, SPHERE, TANGENT };

typedef struct settings {
    double width, inputs, samples, steps, seeds, first_seed, threads;
    double rate, power, decay, look; /* look: length of the look-ahead, 0: none */
    double noise, scale;             /* scale < 0: mean field */
    int batches, signs, orthonormal, sum, constraint, quiet;
    tws_activation activation;
    tws_target target;
    const char *activation_name, *target_name; /* as typed */
    const char *csv, *qcsv;
} settings;

/* ---- options ---- */

typedef struct option {
    const char *name;
    char kind; /* c: a whole number, r: a real one, w: one of words, f: a file, q: a flag */
    size_t offset;
    double low, high;
    const char *words, *help;
} option;

#define FIELD(member) offsetof(settings, member)

static const option options[] = {
    {"--width", 'c', FIELD(width), 1, 1e7, NULL, "neurons P (8)"},
    {"--inputs", 'c', FIELD(inputs), 2, 1e7, NULL, "input dimension d (256)"},
    {"--samples", 'c', FIELD(samples), 1, 1e8, NULL, "samples of a batch n (2048)"},
    {"--steps", 'c', FIELD(steps), 0, 1e6, NULL, "steps T (10)"},
    {"--rate", 'r', FIELD(rate), -1e12, 1e12, NULL, "learning rate R: W <- W - R times the gradient of the loss (100)"},
    {"--power", 'r', FIELD(power), 0, 10, NULL, "schedule: step t = 1, 2, ... uses R t^-POWER (0)"},
    {"--weight-decay", 'r', FIELD(decay), 0, 1e6, NULL, "L: W also loses R_t L W in each step (0)"},
    {"--constraint", 'w', FIELD(constraint), 0, 0, "none sphere tangent",
     "rows as they come, rescaled to length 1 after each step, or that with the gradient projected first (none)"},
    {"--extragradient", 'r', FIELD(look), -1e12, 1e12, NULL,
     "R0: the gradient is taken at W - R0 times the gradient, on the same batch; negative as in SAM (0)"},
    {"--activation", 'w', FIELD(activation), 0, 0, NULL, "of the neurons (shifted-tanh)"},
    {"--target", 'w', FIELD(target), 0, 0, NULL, "of the teacher (step3)"},
    {"--noise", 'r', FIELD(noise), 0, 1e6, NULL, "standard deviation of the label noise (0)"},
    {"--batches", 'w', FIELD(batches), 0, 0, "fresh reuse both", "a new batch for each step, the first one, or both in turn (both)"},
    {"--readout", 'w', FIELD(signs), 0, 0, "gaussian signs", "a_i ~ N(0, 1/P) as in twostep, or +1 and -1 in turn (signs)"},
    {"--init", 'w', FIELD(orthonormal), 0, 0, "sphere orthonormal", "rows of W0 on the unit sphere, also orthogonal (orthonormal if P <= d)"},
    {"--output-scale", 'w', FIELD(scale), 0, 1e6, NULL,
     "s in f = s sum a_i sigma(w_i x): a number; mean-field: P^(-1/2), with signs 1/P; correlation: the loss is\n"
     "                  -mean(y f) with s = 1 (mean-field)"},
    {"--loss", 'w', FIELD(sum), 0, 0, "mean sum", "1/(2n) sum (y - f)^2, or without the 1/n (mean)"},
    {"--seeds", 'c', FIELD(seeds), 1, 1e6, NULL, "runs (6)"},
    {"--seed", 'c', FIELD(first_seed), 0, 9007199254740992.0, NULL, "seed of the first run (1)"},
    {"--threads", 'c', FIELD(threads), 0, 64, NULL, "workers; 0: all cores (0)"},
    {"--csv", 'f', FIELD(csv), 0, 0, NULL, "FILE: writes seed,step,neuron,direction,overlap: <w_i, b_l>; - is standard output; wants --batches fresh or reuse"},
    {"--qcsv", 'f', FIELD(qcsv), 0, 0, NULL, "FILE: writes seed,step,neuron,other,product: <w_i, w_j> for i <= j; the same"},
    {"--quiet", 'q', FIELD(quiet), 0, 0, NULL, "no table"},
};
#define OPTION_TOTAL (sizeof options / sizeof options[0])

static int misuse(const char *name, const char *value, const char *allowed) {
    fprintf(stderr, "narrow: %s is '%s', it must be %s\n", name, value, allowed);
    return EXIT_MISUSE;
}

static int parse_number(const char *text, double *value) {
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-' && text[0] != '+' && text[0] != '.') return 0;
    *value = strtod(text, &end);
    return *end == '\0' && *value - *value <= 0.0 && strpbrk(text, "xXnN") == NULL;
}

/* Place of value in a list of words with blanks between, or -1. */
static int word_index(const char *words, const char *value) {
    const size_t length = strlen(value);
    int index;
    for (index = 0; *words != '\0'; index++) {
        const size_t word = strcspn(words, " ");
        if (word == length && memcmp(words, value, length) == 0) return index;
        words += word + (words[word] == ' ');
    }
    return -1;
}

/* What --activation or --target may be. */
static const char *names_of(const option *o) {
    static char text[320];
    const int activation = strcmp(o->name, "--activation") == 0;
    const int custom = activation ? (int)TWS_CUSTOM_ACTIVATION : (int)TWS_CUSTOM_TARGET;
    const int last = activation ? (int)TWS_ACTIVATION_COUNT : (int)TWS_TARGET_COUNT;
    size_t length = 0;
    int k;
    for (k = 0; k < last; k++) {
        const char *name = activation ? tws_activation_name((tws_activation_kind)k) : tws_target_name((tws_target_kind)k);
        if (k != custom)
            length += (size_t)sprintf(text + length, "%s%s%s", length > 0 ? ", " : "", name,
                                      strcmp(name, "hermite") == 0 ? ":c0,c1,..." : "");
    }
    return text;
}

static int apply_name(settings *s, const option *o, const char *value) {
    double number = 0.0;
    if (strcmp(o->name, "--activation") == 0) {
        if (tws_activation_named(value, &s->activation) != TWS_OK)
            return misuse(o->name, value, names_of(o));
        s->activation_name = value;
        return 0;
    }
    if (strcmp(o->name, "--target") == 0) {
        if (tws_target_named(value, &s->target) != TWS_OK)
            return misuse(o->name, value, names_of(o));
        s->target_name = value;
        return 0;
    }
    if (strcmp(value, "mean-field") == 0) number = TWS_MEAN_FIELD;
    else if (strcmp(value, "correlation") == 0) number = TWS_CORRELATION;
    else if (!parse_number(value, &number) || !(number > 0.0 && number <= 1e6))
        return misuse(o->name, value, "a number above 0 and up to 1e6, mean-field or correlation");
    s->scale = number;
    return 0;
}

static int apply(settings *s, const option *o, const char *value) {
    void *field = (char *)s + o->offset; /* of the type that the kind tells */
    char allowed[160];
    double number;
    int index;
    switch (o->kind) {
    case 'c':
    case 'r':
        snprintf(allowed, sizeof allowed, "a %snumber from %.9g to %.9g", o->kind == 'c' ? "whole " : "", o->low, o->high);
        if (!parse_number(value, &number) || !(number >= o->low && number <= o->high) ||
            (o->kind == 'c' && floor(number) < number))
            return misuse(o->name, value, allowed);
        memcpy(field, &number, sizeof number);
        return 0;
    case 'w':
        if (o->words == NULL) return apply_name(s, o, value);
        index = word_index(o->words, value);
        snprintf(allowed, sizeof allowed, "one of: %s", o->words);
        if (index < 0) return misuse(o->name, value, allowed);
        *(int *)field = index;
        return 0;
    default:
        if (*value == '\0') return misuse(o->name, value, "a file name, or - for standard output");
        memcpy(field, &value, sizeof value);
        return 0;
    }
}

static void print_help(void) {
    size_t i;
    printf("narrow: many steps of gradient descent, fresh batches against a reused one\n\n"
           "options (--name value or --name=value; defaults in brackets)\n");
    for (i = 0; i < OPTION_TOTAL; i++) {
        const option *o = &options[i];
        const int named = strcmp(o->name, "--activation") == 0 || strcmp(o->name, "--target") == 0;
        printf("  %-16s%s\n", o->name, o->help);
        if (o->words != NULL || named) printf("  %-16s%s\n", "", named ? names_of(o) : o->words);
    }
}

static int parse(settings *s, int count, char **arguments) {
    int i, status;
    size_t k;
    for (i = 1; i < count; i++) {
        const char *equals = strchr(arguments[i], '=');
        const size_t length = equals != NULL ? (size_t)(equals - arguments[i]) : strlen(arguments[i]);
        const option *o = NULL;
        for (k = 0; k < OPTION_TOTAL; k++)
            if (strlen(options[k].name) == length && memcmp(arguments[i], options[k].name, length) == 0) o = &options[k];
        if (o == NULL) {
            fprintf(stderr, "narrow: unknown option '%s', 'narrow --help' lists what is allowed\n", arguments[i]);
            return EXIT_MISUSE;
        }
        if (o->kind == 'q') {
            if (equals != NULL) {
                fprintf(stderr, "narrow: %s takes no value, '%s' was given\n", o->name, equals + 1);
                return EXIT_MISUSE;
            }
            s->quiet = 1;
            continue;
        }
        if (equals == NULL && i + 1 >= count) {
            fprintf(stderr, "narrow: %s needs a value\n", o->name);
            return EXIT_MISUSE;
        }
        status = apply(s, o, equals != NULL ? equals + 1 : arguments[++i]);
        if (status != 0) return status;
    }
    if (s->orthonormal < 0) s->orthonormal = s->width <= s->inputs;
    if (s->orthonormal && s->width > s->inputs) return misuse("--init", "orthonormal", "sphere where --width exceeds --inputs");
    if ((double)s->target.directions > s->inputs) return misuse("--target", s->target_name, "one with at most --inputs directions");
    if (s->batches == BOTH && (s->csv != NULL || s->qcsv != NULL))
        return misuse("--batches", "both", "fresh or reuse where --csv or --qcsv is given, as their rows do not tell");
    if (s->csv != NULL && s->qcsv != NULL && strcmp(s->csv, s->qcsv) == 0)
        return misuse("--qcsv", s->qcsv, "another file than --csv");
    return 0;
}

/* ---- one run ---- */

typedef struct run {
    const settings *s;
    tws_context context;
    tws_config config;
    size_t P, d, n, p;
    tws_real *weights, *probe, *gradient, *readout, *directions, *inputs, *labels;
    result_file csv, qcsv; /* without a stream where none is wanted */
    double *best; /* 2 modes x seeds x (steps + 1) x p: the largest |cosine| among the neurons */
} run;

static double inner(const tws_real *x, const tws_real *y, size_t count) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < count; i++) sum += (double)x[i] * (double)y[i];
    return sum;
}

/* Gram and Schmidt, each row twice. */
static void orthonormalise(tws_real *w, size_t rows, size_t d) {
    size_t i, j, k;
    int pass;
    for (i = 0; i < rows; i++)
        for (pass = 0; pass < 2; pass++) {
            double length;
            for (j = 0; j < i; j++) {
                const double along = inner(w + i * d, w + j * d, d);
                for (k = 0; k < d; k++) w[i * d + k] = (tws_real)((double)w[i * d + k] - along * (double)w[j * d + k]);
            }
            length = sqrt(inner(w + i * d, w + i * d, d));
            for (k = 0; k < d; k++) w[i * d + k] = (tws_real)((double)w[i * d + k] / length);
        }
}

static tws_status start(run *r, uint64_t seed) {
    size_t i;
    tws_status status;
    r->config.seed = seed;
    status = tws_make_directions(&r->context, &r->config, r->directions);
    if (status == TWS_OK) status = tws_make_weights(&r->context, &r->config, 0, r->P, r->weights);
    if (status == TWS_OK && r->s->orthonormal) orthonormalise(r->weights, r->P, r->d);
    if (status == TWS_OK) status = tws_make_readout(&r->context, &r->config, 0, r->P, r->readout);
    if (r->s->signs)
        for (i = 0; i < r->P; i++) r->readout[i] = (tws_real)(i % 2 == 0 ? 1 : -1);
    return status;
}

/* Rows to length one. */
static void to_sphere(run *r) {
    size_t i, k;
    for (i = 0; i < r->P; i++) {
        tws_real *w = r->weights + i * r->d;
        const double length = sqrt(inner(w, w, r->d));
        for (k = 0; k < r->d; k++) w[k] = (tws_real)((double)w[k] / length);
    }
}

/* One step with learning rate `rate`: W <- (1 - rate L) W + rate s G(W + R0 s G(W)). */
static tws_status step(run *r, double rate) {
    const settings *s = r->s;
    const double scale = r->config.output_scale; /* 0: correlation */
    const double factor = (scale > 0.0 ? scale : 1.0) * (s->sum ? (double)r->n : 1.0);
    tws_network network = tws_network_from_config(&r->config, r->weights, r->readout);
    tws_batch batch;
    tws_status status;
    size_t i, k;
    network.count = r->P; /* of one neuron the configuration has two */
    batch.samples = r->n;
    batch.inputs = r->inputs;
    batch.labels = r->labels;
    if (s->look > 0.0 || s->look < 0.0) {
        memcpy(r->probe, r->weights, r->P * r->d * sizeof(tws_real));
        network.weights = r->probe;
        status = tws_step(&r->context, &network, &batch, s->look * factor, r->probe, NULL);
        if (status != TWS_OK) return status;
    }
    status = tws_gradient(&r->context, &network, &batch, r->gradient, NULL);
    if (status != TWS_OK) return status;
    for (i = 0; i < r->P; i++) {
        tws_real *w = r->weights + i * r->d, *g = r->gradient + i * r->d;
        const double along = s->constraint == TANGENT ? inner(w, g, r->d) / inner(w, w, r->d) : 0.0;
        for (k = 0; k < r->d; k++)
            w[k] = (tws_real)((double)w[k] * (1.0 - rate * s->decay) +
                              rate * factor * ((double)g[k] - along * (double)w[k]));
    }
    if (s->constraint != FREE_NORM) to_sphere(r);
    for (i = 0; i < r->P * r->d; i++)
        if (!(r->weights[i] - r->weights[i] <= 0)) {
            snprintf(r->context.message, sizeof r->context.message,
                     "the weights left the range of numbers; make --rate smaller, or use --constraint sphere");
            return TWS_NOT_FINITE;
        }
    return TWS_OK;
}

/* Overlaps after step t, for the table and the files. */
static void record(run *r, uint64_t seed, size_t t, double *best) {
    size_t i, j, l;
    for (l = 0; l < r->p; l++) best[l] = 0.0;
    for (i = 0; i < r->P; i++) {
        const tws_real *w = r->weights + i * r->d;
        const double length = sqrt(inner(w, w, r->d));
        for (l = 0; l < r->p; l++) {
            const double overlap = inner(w, r->directions + l * r->d, r->d);
            if (length > 0.0 && fabs(overlap) / length > best[l]) best[l] = fabs(overlap) / length;
            if (r->csv.stream != NULL)
                fprintf(r->csv.stream, "%llu,%lu,%lu,%lu,%.9g\n", (unsigned long long)seed, (unsigned long)t,
                        (unsigned long)i, (unsigned long)l, overlap);
        }
        for (j = i; j < r->P && r->qcsv.stream != NULL; j++)
            fprintf(r->qcsv.stream, "%llu,%lu,%lu,%lu,%.9g\n", (unsigned long long)seed, (unsigned long)t, (unsigned long)i,
                    (unsigned long)j, inner(w, r->weights + j * r->d, r->d));
    }
}

static tws_status one_run(run *r, int reuse, uint64_t seed, double *best) {
    const size_t steps = (size_t)r->s->steps;
    tws_status status = start(r, seed);
    size_t t;
    if (status == TWS_OK) record(r, seed, 0, best);
    for (t = 1; status == TWS_OK && t <= steps; t++) {
        if (t == 1 || !reuse)
            status = tws_make_batch(&r->context, &r->config, r->directions, t - 1, r->inputs, r->labels);
        if (status == TWS_OK) status = step(r, r->s->rate * pow((double)t, -r->s->power));
        if (status == TWS_OK) record(r, seed, t, best + t * r->p);
    }
    return status;
}

/* ---- report ---- */

/* Mean over seeds and its standard error. */
static void cell(const run *r, int mode, size_t t, size_t l) {
    const size_t seeds = (size_t)r->s->seeds, stride = ((size_t)r->s->steps + 1) * r->p;
    double sum = 0.0, square = 0.0, mean;
    size_t k;
    for (k = 0; k < seeds; k++) {
        const double x = r->best[((size_t)mode * seeds + k) * stride + t * r->p + l];
        sum += x;
        square += x * x;
    }
    mean = sum / (double)seeds;
    printf("   %.3f", mean);
    if (seeds > 1) printf(" +- %.3f", sqrt(fmax(0.0, square / (double)seeds - mean * mean) / (double)(seeds - 1)));
}

static void print_table(const run *r) {
    const settings *s = r->s;
    const size_t steps = (size_t)s->steps;
    size_t t, l;
    int mode;
    printf("P = %lu neurons, d = %lu, n = %lu, %s learns %s, rate %.4g, %lu seed%s\n", (unsigned long)r->P,
           (unsigned long)r->d, (unsigned long)r->n, s->activation_name, s->target_name, s->rate,
           (unsigned long)s->seeds, s->seeds < 2 ? "" : "s");
    printf("largest |cosine| of a neuron with each target direction (random: about %.3f)\n\n step",
           1.0 / sqrt((double)r->d));
    for (mode = 0; mode < 2; mode++)
        for (l = 0; l < r->p && (s->batches == BOTH || s->batches == mode); l++)
            printf("   %s %-9lu", mode == REUSE ? "reused" : " fresh", (unsigned long)(l + 1));
    printf("\n");
    for (t = 0; t <= steps; t++) {
        if (t > 4 && t % (steps / 10 + 1) != 0 && t != steps) continue;
        printf("%5lu", (unsigned long)t);
        for (mode = 0; mode < 2; mode++)
            for (l = 0; l < r->p && (s->batches == BOTH || s->batches == mode); l++) cell(r, mode, t, l);
        printf("\n");
    }
}

/* The CSV files of --csv and --qcsv, with their heads; opened before the work, so that a wrong name
   does not cost it. */
static int open_tables(run *r) {
    const settings *s = r->s;
    if (s->csv != NULL && open_result(&r->csv, s->csv) != 0) return EXIT_FAILED;
    if (s->qcsv != NULL && open_result(&r->qcsv, s->qcsv) != 0) return EXIT_FAILED;
    if (s->csv != NULL) fprintf(r->csv.stream, "seed,step,neuron,direction,overlap\n");
    if (s->qcsv != NULL) fprintf(r->qcsv.stream, "seed,step,neuron,other,product\n");
    return 0;
}

/* 1 when a CSV file has standard output for itself. */
static int is_piped(const run *r) { return r->csv.stream == stdout || r->qcsv.stream == stdout; }

static tws_config config_of(const settings *s) {
    tws_config c = tws_default_config();
    c.neurons = s->width < 2 ? 2 : (size_t)s->width;
    c.inputs = (size_t)s->inputs;
    c.samples = s->samples < 2 ? 2 : (size_t)s->samples;
    c.activation = s->activation;
    c.target = s->target;
    c.noise = s->noise;
    c.output_scale = s->scale >= 0.0 ? s->scale : pow(s->width, s->signs ? -1.0 : -0.5);
    c.top = 1;
    return c;
}

static int prepare(run *r, const settings *s) {
    const size_t row = sizeof(tws_real);
    memset(r, 0, sizeof *r);
    r->s = s;
    r->context = tws_default_context();
    r->context.threads = (unsigned)s->threads;
    r->config = config_of(s);
    r->P = (size_t)s->width;
    r->d = (size_t)s->inputs;
    r->n = (size_t)s->samples;
    r->p = s->target.directions;
    r->weights = (tws_real *)malloc(r->config.neurons * r->d * row);
    r->probe = (tws_real *)malloc(r->P * r->d * row);
    r->gradient = (tws_real *)malloc(r->P * r->d * row);
    r->readout = (tws_real *)malloc(r->config.neurons * row);
    r->directions = (tws_real *)malloc(r->p * r->d * row);
    r->inputs = (tws_real *)malloc(r->config.samples * r->d * row);
    r->labels = (tws_real *)malloc(r->config.samples * row);
    r->best = (double *)calloc(2 * (size_t)s->seeds * ((size_t)s->steps + 1) * r->p, sizeof *r->best);
    if (r->weights != NULL && r->probe != NULL && r->gradient != NULL && r->readout != NULL && r->directions != NULL &&
        r->inputs != NULL && r->labels != NULL && r->best != NULL)
        return 0;
    fprintf(stderr, "narrow: no memory for --width %.9g, --inputs %.9g, --samples %.9g\n", s->width, s->inputs, s->samples);
    return EXIT_FAILED;
}

static void release(run *r) {
    free(r->weights);
    free(r->probe);
    free(r->gradient);
    free(r->readout);
    free(r->directions);
    free(r->inputs);
    free(r->labels);
    free(r->best);
}

static int all_runs(run *r) {
    const settings *s = r->s;
    const size_t seeds = (size_t)s->seeds, one = ((size_t)s->steps + 1) * r->p;
    tws_status status = TWS_OK;
    int mode;
    size_t k;
    for (mode = 0; mode < 2; mode++)
        for (k = 0; k < seeds && status == TWS_OK && (s->batches == BOTH || s->batches == mode); k++)
            status = one_run(r, mode, (uint64_t)s->first_seed + k, r->best + ((size_t)mode * seeds + k) * one);
    if (status == TWS_OK) return 0;
    fprintf(stderr, "narrow: %s\n", r->context.message[0] ? r->context.message : tws_status_text(status));
    return status == TWS_BAD_ARGUMENT ? EXIT_MISUSE : EXIT_FAILED;
}

static int work(const settings *s) {
    static run r;
    int result = prepare(&r, s);
    if (result == 0) result = open_tables(&r);
    if (result == 0) result = all_runs(&r);
    if (result == 0 && !s->quiet && !is_piped(&r)) print_table(&r);
    /* each file for itself: one that cannot be written costs the other nothing */
    if (result == 0) {
        result = close_result(&r.csv, 1);
        if (close_result(&r.qcsv, 1) != 0) result = EXIT_FAILED;
    } else {
        close_result(&r.csv, 0);
        close_result(&r.qcsv, 0);
    }
    release(&r);
    return result;
}

/* The status of a command that has ended with this one: what it printed must have arrived. */
static int printed(int status) {
    errno = 0;
    if ((fflush(stdout) == 0 && !ferror(stdout)) || status != 0) return status;
    return file_failed("write", "standard output");
}

int main(int count, char **arguments) {
    static settings s;
    int i, status;
#ifdef SIGPIPE /* a reader that goes away is an error of writing, with its sentence, not the end */
    signal(SIGPIPE, SIG_IGN);
#endif
    s.width = 8;
    s.inputs = 256;
    s.samples = 2048;
    s.steps = 10;
    s.seeds = 6;
    s.first_seed = 1;
    s.rate = 100;
    s.scale = TWS_MEAN_FIELD;
    s.batches = BOTH;
    s.signs = 1;
    s.orthonormal = -1;
    s.activation_name = "shifted-tanh";
    s.target_name = "step3";
    tws_activation_named(s.activation_name, &s.activation);
    tws_target_named(s.target_name, &s.target);
    for (i = 1; i < count; i++)
        if (strcmp(arguments[i], "--help") == 0) {
            print_help();
            return printed(0);
        }
    if (count == 1) { /* the setting of the page: reuse sees what fresh batches do not */
        s.scale = TWS_CORRELATION;
        s.constraint = SPHERE;
        s.rate = 12;
        printf("narrow --output-scale correlation --constraint sphere --rate 12\n\n");
    }
    status = parse(&s, count, arguments);
    if (status == 0) status = work(&s);
    return printed(status);
}
