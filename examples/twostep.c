/* twostep: the experiment of two gradient steps from the command line.
 *
 *     cc -O2 -o twostep examples/twostep.c -lm && ./twostep
 *
 * prints what the weights of a two-layer network have learned after no, one and two steps of
 * gradient descent. `twostep help` lists the commands and options. */
#include "result.h" /* the first: it asks for POSIX */
#define TWOSTEP_IMPLEMENTATION
#include "../twostep.h"
#include "plot.h"
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#if defined(_WIN32)
#include <io.h>
#endif
#if !defined(__wasi__) /* has no signals, and says so with an #error */
#include <signal.h>
#endif

enum { EXIT_FAILED = 1, EXIT_MISUSE = 2 };

/* ---- settings ---- */

typedef enum command_id {
    COMMAND_MAIN,
    COMMAND_RUN,
    COMMAND_THEORY,
    COMMAND_COMPARE,
    COMMAND_SWEEP,
    COMMAND_PLOT,
    COMMAND_RISK,
    COMMAND_SCALE,
    COMMAND_HELP
} command_id;

#define NAME_ROOM 512 /* for nine numbers of 50 letters */
#define LADDER_MOST 64 /* sizes of scale */

/* LO:HI:COUNT */
typedef struct range {
    double low, high, count;
} range;

typedef struct settings {
    command_id command;
    double neurons, inputs, samples; /* may exceed any memory: the theory takes them */
    double threads, top;
    double memory_budget; /* bytes of the whole run; 0: none was given */
    tws_config config;
    tws_context context;
    char activation[NAME_ROOM], target[NAME_ROOM]; /* as typed, for the report */
    const char *json, *svg, *batches;
    int quiet, progress, ascii;
    range alphas1, alphas2; /* of a sweep */
    range ladder;           /* of scale: sizes N; neurons, inputs and samples are those of the first */
    double seeds, shard, shards;
    const char *out;
    int resume, no_theory;
    const char *lambda, *alphas, *ridge_samples; /* of risk */
    double test_samples;
    const char *inputs_file, *labels_file, *directions_file, *save; /* of run */
    char **files; /* of --merge or plot; into the command line */
    size_t file_count;
    unsigned char given[64]; /* 1 for options that were on the command line, by place in options[] */
} settings;

static int misuse(const char *format, const char *a, const char *b, const char *c) {
    fputs("twostep: ", stderr);
    fprintf(stderr, format, a, b, c);
    fputc('\n', stderr);
    return EXIT_MISUSE;
}

/* Seconds since some moment. */
static double seconds_now(void) {
#if !defined(_WIN32)
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#else
    return (double)clock() / CLOCKS_PER_SEC;
#endif
}

static double real_dot(const tws_real *a, const tws_real *b, size_t count) {
    double sum = 0.0;
    size_t i;
    for (i = 0; i < count; i++) sum += (double)a[i] * (double)b[i];
    return sum;
}

#include "files.h"

/* ---- options ---- */

typedef enum option_kind {
    OPTION_COUNT, /* a whole number, also as 1e4, stored as double */
    OPTION_REAL,
    OPTION_BYTES, /* a number, or one with KiB, MiB, GiB or TiB behind it */
    OPTION_SEED,
    OPTION_NAME, /* a word that a function understands */
    OPTION_TEXT,
    OPTION_RANGE, /* LO:HI:COUNT */
    OPTION_LADDER, /* the same, of sizes */
    OPTION_SHARD, /* I/M */
    OPTION_FILES, /* all words up to the next option */
    OPTION_FLAG
} option_kind;

#define BIT(command) (1u << (command))
#define HISTOGRAM (BIT(COMMAND_MAIN) | BIT(COMMAND_RUN))
#define SWEEP BIT(COMMAND_SWEEP)
#define RISK BIT(COMMAND_RISK)
#define SCALE BIT(COMMAND_SCALE)
#define DATA_COMMANDS (BIT(COMMAND_MAIN) | BIT(COMMAND_RUN) | BIT(COMMAND_COMPARE) | SWEEP | RISK | SCALE)
#define MODEL_COMMANDS (DATA_COMMANDS | BIT(COMMAND_THEORY))
#define ONE_RUN (MODEL_COMMANDS & ~(BIT(COMMAND_COMPARE) | RISK))
#define ONE_CELL (MODEL_COMMANDS & ~SWEEP)

typedef struct option {
    const char *name;
    option_kind kind;
    size_t offset; /* into settings */
    double low, high;
    unsigned commands;
    const char *argument, *allowed, *help;
} option;

#define FIELD(member) offsetof(settings, member)

static const option options[] = {
    {"--neurons", OPTION_COUNT, FIELD(neurons), 2, 1e15, MODEL_COMMANDS & ~SCALE, "N",
     "a whole number from 2 to 1e15 (2147483648 when simulated)", "hidden units (1024)"},
    {"--neurons", OPTION_LADDER, FIELD(ladder), 16.0, 1e6, SCALE, "L:H:C",
     "LO:HI:COUNT with whole numbers 16 <= LO < HI <= 1e6 and COUNT from 2 to 64, all sizes different, or one number",
     "sizes N, evenly in the logarithm (200:1600:4)"},
    {"--inputs", OPTION_COUNT, FIELD(inputs), 2, 1e15, MODEL_COMMANDS, "d",
     "a whole number from 2 to 1e15 (2147483648 when simulated)", "input dimension (1024)"},
    {"--samples", OPTION_COUNT, FIELD(samples), 2, 1e15, MODEL_COMMANDS, "n",
     "a whole number from 2 to 1e15 (2147483648 when simulated)", "samples per batch (2048)"},
    {"--alpha1", OPTION_REAL, FIELD(config.alpha1), 0.0, 0.49999999999999994, ONE_CELL, "A",
     "a number at least 0 and below 0.5", "exponent of step one, eta1 = scale1 N^A (0.3)"},
    {"--alpha2", OPTION_REAL, FIELD(config.alpha2), 0.0, 0.49999999999999994, ONE_CELL, "A",
     "a number at least 0 and below 0.5", "exponent of step two (0.4)"},
    {"--alpha1", OPTION_RANGE, FIELD(alphas1), 0.0, 0.49999999999999994, SWEEP, "L:H:C",
     "LO:HI:COUNT with 0 <= LO <= HI < 0.5 and COUNT from 1 to 1001 (1 where LO is HI), or one number",
     "exponents of step one: C numbers from L to H (0:0.45:10)"},
    {"--alpha2", OPTION_RANGE, FIELD(alphas2), 0.0, 0.49999999999999994, SWEEP, "L:H:C",
     "LO:HI:COUNT with 0 <= LO <= HI < 0.5 and COUNT from 1 to 1001 (1 where LO is HI), or one number",
     "exponents of step two (0:0.45:10)"},
    {"--scale1", OPTION_REAL, FIELD(config.scale1), 1e-300, 1e6, DATA_COMMANDS, "C",
     "a number from 1e-300 to 1e6", "factor of step one (1)"},
    {"--scale1", OPTION_REAL, FIELD(config.scale1), 1e-100, 1e6, BIT(COMMAND_THEORY), "C",
     "a number from 1e-100 to 1e6", "factor of step one (1)"},
    {"--scale2", OPTION_REAL, FIELD(config.scale2), 1e-300, 1e6, DATA_COMMANDS, "C",
     "a number from 1e-300 to 1e6", "factor of step two (1)"},
    {"--scale2", OPTION_REAL, FIELD(config.scale2), 1e-100, 1e6, BIT(COMMAND_THEORY), "C",
     "a number from 1e-100 to 1e6", "factor of step two (1)"},
    {"--activation", OPTION_NAME, FIELD(activation), 0, 0, MODEL_COMMANDS, "NAME",
     "tanh, shifted-tanh, erf, sigmoid, shifted-sigmoid, softplus, gelu, silu, relu, sine, cubic "
     "or hermite:c0,c1,... (1 to 9 numbers, |c| <= 1e20, not all 0 beyond c0)",
     "of the student (shifted-tanh)"},
    {"--target", OPTION_NAME, FIELD(target), 0, 0, MODEL_COMMANDS, "NAME",
     "linear, he2, he3, he4, sign, tanh, sin, relu, square, wave, step3, step4, "
     "product2, product3, sign-product3, staircase, he4-sign-product3 or hermite:c0,c1,... "
     "(|c| <= 1e20)",
     "of the teacher (linear)"},
    {"--noise", OPTION_REAL, FIELD(config.noise), 0.0, 1e6, MODEL_COMMANDS, "D",
     "a number from 0 to 1e6", "standard deviation of the label noise (0)"},
    {"--batches", OPTION_NAME, FIELD(batches), 0, 0, ONE_RUN, "WHICH", "fresh or reuse",
     "what step two sees (reuse)"},
    {"--init", OPTION_NAME, FIELD(config.init), 0, 0, MODEL_COMMANDS, "LAW", "sphere or gaussian",
     "law of the rows of W0 (sphere)"},
    {"--output-scale", OPTION_NAME, FIELD(config.output_scale), 0.0, 1e6, MODEL_COMMANDS, "S",
     "a number from 0 to 1e6, mean-field or correlation", "factor of the output (mean-field)"},
    {"--seed", OPTION_SEED, FIELD(config.seed), 0, 0, DATA_COMMANDS, "S",
     "a whole number from 0 to 18446744073709551615", "of all random numbers (1)"},
    {"--seeds", OPTION_COUNT, FIELD(seeds), 1, 1e6, SWEEP | RISK | SCALE, "COUNT",
     "a whole number from 1 to 1000000", "how many seeds, from --seed on (1; scale: 4)"},
    {"--top", OPTION_COUNT, FIELD(top), 1, TWS_MAX_TOP, DATA_COMMANDS & ~(RISK | SCALE), "K",
     "a whole number from 1 to 64", "singular values to measure (10, or all)"},
    {"--threads", OPTION_COUNT, FIELD(threads), 0, 64, MODEL_COMMANDS, "T",
     "a whole number from 0 to 64", "workers; 0: all cores (0)"},
    {"--memory-budget", OPTION_BYTES, FIELD(memory_budget), 1, 1e18, BIT(COMMAND_RUN) | BIT(COMMAND_COMPARE),
     "BYTES", "a number of bytes from 1 to 1e18, as 8e9, 8GiB or 512MiB", "memory that the run may take (no limit)"},
    {"--kernel", OPTION_NAME, FIELD(context.kernel), 0, 0, DATA_COMMANDS, "NAME",
     "auto, plain, sse2, avx2, avx512, neon, wasm or amx", "inner loops (auto)"},
    {"--no-theory", OPTION_FLAG, FIELD(no_theory), 0, 0, SWEEP, "", "",
     "no predicted_outliers; edges from the rows alone"},
    {"--out", OPTION_TEXT, FIELD(out), 0, 0, SWEEP | SCALE, "FILE",
     "a file name, or - for standard output", "the rows, as CSV (sweep: -)"},
    {"--resume", OPTION_FLAG, FIELD(resume), 0, 0, SWEEP, "", "", "go on with the file of --out, if there is one"},
    {"--shard", OPTION_SHARD, FIELD(shard), 0, 0, SWEEP, "I/M",
     "I/M with whole numbers 1 <= I <= M <= 1000000", "only the I-th of M parts, to be merged later"},
    {"--merge", OPTION_FILES, FIELD(files), 0, 0, SWEEP, "FILES", "one or more file names",
     "join files of one sweep, in place of computing"},
    {"--inputs-file", OPTION_TEXT, FIELD(inputs_file), 0, 0, BIT(COMMAND_RUN), "X.npy",
     "the name of a .npy file", "samples of your own, a row each; with fresh batches half of them for each step"},
    {"--labels-file", OPTION_TEXT, FIELD(labels_file), 0, 0, BIT(COMMAND_RUN), "y.npy",
     "the name of a .npy file", "their labels"},
    {"--directions-file", OPTION_TEXT, FIELD(directions_file), 0, 0, BIT(COMMAND_RUN), "B.npy",
     "the name of a .npy file", "orthonormal rows to align with (X'y of the first batch)"},
    {"--save", OPTION_TEXT, FIELD(save), 0, 0, BIT(COMMAND_RUN), "DIR",
     "the name of a folder", "write W0, W1, W2, G1, G2, S0, U0, V0, ... as .npy files"},
    {"--ridge-samples", OPTION_TEXT, FIELD(ridge_samples), 0, 0, RISK, "LIST",
     "one to 8 whole numbers from 2 to 1e7, increasing, with commas between", "new samples for the readout (--samples)"},
    {"--test-samples", OPTION_COUNT, FIELD(test_samples), 2, 1e7, RISK, "COUNT",
     "a whole number from 2 to 1e7", "samples of the test error (2000)"},
    {"--lambda", OPTION_TEXT, FIELD(lambda), 0, 0, RISK, "L:H:C",
     "LO:HI:COUNT with 1e-12 <= LO < HI <= 1e6 and COUNT from 2 to 100", "ridges, evenly in the logarithm (1e-6:1:13)"},
    {"--alphas", OPTION_TEXT, FIELD(alphas), 0, 0, RISK, "L:H:C",
     "LO:HI:COUNT with 0 <= LO < HI < 0.5 and COUNT from 2 to 20", "both exponents, in place of --alpha1 and --alpha2"},
    {"--json", OPTION_TEXT, FIELD(json), 0, 0, MODEL_COMMANDS, "FILE",
     "a file name, or - for standard output", "write the result as JSON"},
    {"--svg", OPTION_TEXT, FIELD(svg), 0, 0, DATA_COMMANDS | BIT(COMMAND_PLOT), "FILE",
     "a file name, or - for standard output", "draw the result"},
    {"--ascii", OPTION_FLAG, FIELD(ascii), 0, 0, HISTOGRAM, "", "", "draw the histogram in plain characters"},
    {"--progress", OPTION_FLAG, FIELD(progress), 0, 0, SWEEP, "", "",
     "rate and time left on standard error (a terminal shows them anyway)"},
    {"--quiet", OPTION_FLAG, FIELD(quiet), 0, 0, MODEL_COMMANDS, "", "", "print no table"},
};
#define OPTION_TOTAL (sizeof options / sizeof options[0])

typedef struct command {
    const char *name;
    command_id id;
    const char *help;
} command;

static const command commands[] = {
    {"run", COMMAND_RUN, "one experiment: W0, one step, two steps"},
    {"compare", COMMAND_COMPARE, "W0, one step, two steps on a fresh and on a reused batch, side by side"},
    {"theory", COMMAND_THEORY, "the prediction alone, at any size up to 1e15"},
    {"sweep", COMMAND_SWEEP, "a grid of both exponents, and seeds: the phase diagram, as CSV"},
    {"plot", COMMAND_PLOT, "the figure of a CSV file of sweep: twostep plot FILE.csv --svg FILE.svg"},
    {"scale", COMMAND_SCALE, "a ladder of N: measured exponents of the learned directions beside those of the limit"},
    {"risk", COMMAND_RISK, "what the features are worth: test error of a ridge regression on them"},
    {"help", COMMAND_HELP, "this text, or that of one command"},
};
#define COMMAND_TOTAL (sizeof commands / sizeof commands[0])

/* Number of single-letter edits between two words. */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[64], columns = strlen(b), i, j;
    if (columns >= sizeof row / sizeof row[0]) return 1000;
    for (j = 0; j <= columns; j++) row[j] = j;
    for (i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (j = 0; j < columns; j++) {
            size_t best = diagonal + (a[i] != b[j]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j + 1] + 1 < best) best = row[j + 1] + 1;
            diagonal = row[j + 1];
            row[j + 1] = best;
        }
    }
    return row[columns];
}

/* Refuses an unknown word and offers the nearest known one, if any is near. */
static int unknown(const char *what, const char *word, int is_option) {
    const char *nearest = NULL;
    size_t best = 4, i, total = is_option ? OPTION_TOTAL : COMMAND_TOTAL;
    for (i = 0; i < total; i++) {
        const char *name = is_option ? options[i].name : commands[i].name;
        const size_t distance = edit_distance(word, name);
        if (distance < best) {
            best = distance;
            nearest = name;
        }
    }
    if (nearest != NULL) return misuse("unknown %s '%s', did you mean '%s'?", what, word, nearest);
    return misuse("unknown %s '%s', 'twostep help' lists what is allowed%s", what, word, "");
}

static int bad_value(const option *o, const char *value) {
    return misuse("%s is '%s', it must be %s", o->name, value, o->allowed);
}

/* The whole text as a finite number. */
static int parse_real(const char *text, double *value) {
    char *end;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-' && text[0] != '+' && text[0] != '.') return 0;
    *value = strtod(text, &end);
    return *end == '\0' && end != text && *value - *value <= 0.0 && strpbrk(text, "xXnN") == NULL;
}

static int parse_seed(const char *text, uint64_t *seed) {
    uint64_t value = 0;
    if (*text == '\0') return 0;
    for (; *text != '\0'; text++) {
        const unsigned digit = (unsigned)(*text - '0');
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) return 0;
        value = value * 10 + digit;
    }
    *seed = value;
    return 1;
}

static int parse_kernel(const char *text, tws_kernel *kernel) {
    int k;
    for (k = 0; k < (int)TWS_KERNEL_COUNT; k++)
        if (strcmp(text, tws_kernel_name((tws_kernel)k)) == 0) {
            *kernel = (tws_kernel)k;
            return 1;
        }
    return 0;
}

static int parse_bytes(const char *text, double *bytes) {
    static const char units[] = "KMGT";
    char number[40];
    const size_t digits = strspn(text, "0123456789.eE+");
    const char *unit = strchr(units, text[digits]);
    if (digits == 0 || digits >= sizeof number) return 0;
    memcpy(number, text, digits);
    number[digits] = '\0';
    if (!parse_real(number, bytes)) return 0;
    if (text[digits] == '\0') return 1;
    if (unit == NULL || strcmp(text + digits + 1, "iB") != 0) return 0;
    *bytes = ldexp(*bytes, 10 * (int)(unit - units + 1));
    return 1;
}

/* LO:HI:COUNT, or one number for itself alone. */
static int parse_range(const char *text, const option *o, range *r) {
    char part[3][40] = {"", "", "1"};
    const char *from = text;
    int parts = 0;
    for (;;) {
        const size_t length = strcspn(from, ":");
        if (parts == 3 || length == 0 || length >= sizeof part[0]) return 0;
        memcpy(part[parts], from, length);
        part[parts++][length] = '\0';
        if (from[length] == '\0') break;
        from += length + 1;
    }
    if (parts == 2 || !parse_real(part[0], &r->low) || !parse_real(part[parts == 1 ? 0 : 1], &r->high) ||
        !parse_real(part[2], &r->count))
        return 0;
    if (!(r->low >= o->low && r->low <= r->high && r->high <= o->high)) return 0;
    if (!(r->count >= 1 && r->count <= 1001) || floor(r->count) < r->count) return 0;
    /* neighbours must differ in the nine digits of the CSV */
    return r->count < 2 ? r->low >= r->high : (r->high - r->low) / (r->count - 1) >= 1e-7;
}

/* Sizes even in the logarithm. */
static double ladder_size(const range *r, size_t k) {
    const double share = r->count > 1 ? (double)k / (r->count - 1.0) : 0.0;
    return floor(r->low * pow(r->high / r->low, share) + 0.5);
}

static int parse_ladder(const char *text, const option *o, range *r) {
    size_t k;
    if (!parse_range(text, o, r) || r->count > LADDER_MOST) return 0;
    if (floor(r->low) < r->low || floor(r->high) < r->high) return 0;
    for (k = 1; k < (size_t)r->count; k++)
        if (!(ladder_size(r, k) > ladder_size(r, k - 1))) return 0;
    return 1;
}

static int parse_shard(const char *text, double *shard) {
    char first[20];
    const size_t length = strcspn(text, "/");
    if (text[length] == '\0' || length >= sizeof first) return 0;
    memcpy(first, text, length);
    first[length] = '\0';
    return parse_real(first, &shard[0]) && parse_real(text + length + 1, &shard[1]) && shard[0] >= 1 &&
           shard[0] <= shard[1] && shard[1] <= 1e6 && !(floor(shard[0]) < shard[0]) &&
           !(floor(shard[1]) < shard[1]);
}

static int keep_name(char *to, size_t size, const char *value) {
    if (strlen(value) >= size) return 0;
    strcpy(to, value);
    return 1;
}

static int parse_name(settings *s, const option *o, const char *value) {
    tws_config *c = &s->config;
    double number;
    if (strcmp(o->name, "--activation") == 0)
        return tws_activation_named(value, &c->activation) == TWS_OK &&
               keep_name(s->activation, sizeof s->activation, value);
    if (strcmp(o->name, "--target") == 0)
        return tws_target_named(value, &c->target) == TWS_OK &&
               keep_name(s->target, sizeof s->target, value);
    if (strcmp(o->name, "--kernel") == 0) return parse_kernel(value, &s->context.kernel);
    if (strcmp(o->name, "--batches") == 0) {
        c->batches = strcmp(value, "fresh") == 0 ? TWS_FRESH : TWS_REUSE;
        return strcmp(value, "fresh") == 0 || strcmp(value, "reuse") == 0;
    }
    if (strcmp(o->name, "--init") == 0) {
        c->init = strcmp(value, "gaussian") == 0 ? TWS_GAUSSIAN : TWS_SPHERE;
        return strcmp(value, "gaussian") == 0 || strcmp(value, "sphere") == 0;
    }
    if (strcmp(value, "mean-field") == 0) number = TWS_MEAN_FIELD;
    else if (strcmp(value, "correlation") == 0) number = TWS_CORRELATION;
    else if (!parse_real(value, &number) || !(number >= o->low && number <= o->high)) return 0;
    c->output_scale = number;
    return 1;
}

/* Stores one option; value is NULL for a flag. */
static int apply_option(settings *s, const option *o, const char *value) {
    char *field = (char *)s + o->offset;
    double number;
    switch (o->kind) {
    case OPTION_COUNT:
    case OPTION_REAL:
        if (!parse_real(value, &number) || !(number >= o->low && number <= o->high) ||
            (o->kind == OPTION_COUNT && floor(number) < number))
            return bad_value(o, value);
        memcpy(field, &number, sizeof number);
        return 0;
    case OPTION_BYTES:
        if (!parse_bytes(value, &number) || !(number >= o->low && number <= o->high)) return bad_value(o, value);
        memcpy(field, &number, sizeof number);
        return 0;
    case OPTION_SEED: return parse_seed(value, &s->config.seed) ? 0 : bad_value(o, value);
    case OPTION_NAME:
        if (strlen(value) >= NAME_ROOM) {
            char length[24];
            snprintf(length, sizeof length, "%lu", (unsigned long)strlen(value));
            return misuse("%s has %s letters, it may have at most 511%s", o->name, length, "");
        }
        return parse_name(s, o, value) ? 0 : bad_value(o, value);
    case OPTION_TEXT:
        if (*value == '\0') return bad_value(o, value);
        memcpy(field, &value, sizeof value);
        return 0;
    case OPTION_RANGE: return parse_range(value, o, (range *)(void *)field) ? 0 : bad_value(o, value);
    case OPTION_LADDER: return parse_ladder(value, o, (range *)(void *)field) ? 0 : bad_value(o, value);
    case OPTION_SHARD: return parse_shard(value, &s->shard) ? 0 : bad_value(o, value);
    default: *(int *)(void *)field = 1; return 0;
    }
}

static const char *command_name(command_id id) {
    size_t i;
    for (i = 0; i < COMMAND_TOTAL; i++)
        if (commands[i].id == id) return commands[i].name;
    return "twostep";
}

/* Reads arguments from first on: --name value or --name=value. */
static int parse_options(settings *s, int count, char **arguments) {
    int i;
    for (i = 0; i < count; i++) {
        char name[64];
        const char *word = arguments[i], *equals = strchr(word, '=');
        const size_t length = equals != NULL ? (size_t)(equals - word) : strlen(word);
        const option *found = NULL;
        const char *value = equals != NULL ? equals + 1 : NULL;
        size_t k;
        int status;
        if (word[0] != '-' && s->command == COMMAND_PLOT && s->file_count == 0) {
            s->files = arguments + i;
            s->file_count = 1;
            continue;
        }
        if (word[0] != '-') return misuse("unexpected argument '%s', options start with --%s%s", word, "", "");
        if (length >= sizeof name) return misuse("unknown option '%s'%s%s", word, "", "");
        memcpy(name, word, length);
        name[length] = '\0';
        for (k = 0; k < OPTION_TOTAL; k++)
            if (strcmp(name, options[k].name) == 0 &&
                (found == NULL || (options[k].commands & BIT(s->command)) != 0))
                found = &options[k];
        if (found == NULL) return unknown("option", name, 1);
        if ((found->commands & BIT(s->command)) == 0)
            return misuse("%s does not apply to '%s', 'twostep help %s' lists what does", found->name,
                          command_name(s->command), command_name(s->command));
        if (found->kind == OPTION_FLAG && value != NULL)
            return misuse("%s takes no value, '%s' was given%s", found->name, value, "");
        if (found->kind != OPTION_FLAG && value == NULL) {
            if (i + 1 >= count) return misuse("%s needs a value: %s%s", found->name, found->allowed, "");
            value = arguments[++i];
        }
        s->given[found - options] = 1;
        if (found->kind == OPTION_FILES) { /* value is the first word, in place or behind = */
            if (s->file_count > 0 || equals != NULL || *value == '\0')
                return misuse("%s needs %s behind it, once%s", found->name, found->allowed, "");
            for (s->files = arguments + i; i < count && arguments[i][0] != '-'; i++) s->file_count++;
            if (s->file_count == 0) return misuse("%s needs a value: %s%s", found->name, found->allowed, "");
            i--;
            continue;
        }
        status = apply_option(s, found, value);
        if (status != 0) return status;
    }
    return 0;
}

#define BUDGET_SLACK (96.0 * 1048576.0) /* panels of the product, vectors, the program itself */

/* What is left of the budget beside `held` numbers goes to the blocks of a step, which want at least
   128 samples of `neurons` neurons. */
static int split_budget(settings *s, double held, double neurons) {
    const double real = (double)sizeof(tws_real), throughout = real * held + BUDGET_SLACK;
    const double least = 128.0 * real * (neurons + s->inputs);
    char given[32], needed[32];
    if (!(s->memory_budget > 0)) return 0;
    if (s->memory_budget >= throughout + least) {
        const double rest = s->memory_budget - throughout;
        s->context.memory_budget = (size_t)(rest < 268435456.0 ? rest : 268435456.0);
        return 0;
    }
    snprintf(given, sizeof given, "%.9g", s->memory_budget);
    snprintf(needed, sizeof needed, "%.0f", ceil((throughout + least) / 1048576.0));
    return misuse("--memory-budget is %s bytes, it must be at least %sMiB for these sizes%s", given, needed, "");
}

/* Numbers of the matrices of a run on files or with --save: all three W, G, and G1 and G2 to save. */
static double own_held(const settings *s) { return s->inputs * s->neurons * (s->save != NULL ? 6.0 : 4.0); }

/* The budget of a run that holds W, G and its batches throughout. */
static int share_budget(settings *s) {
    const int both = s->command == COMMAND_COMPARE, fresh = both || s->config.batches == TWS_FRESH;
    const double matrices = s->save != NULL ? own_held(s) : s->inputs * s->neurons * (both ? 3.0 : 2.0);
    if (s->inputs_file != NULL) return 0; /* by the sizes of the file, which are not known yet */
    return split_budget(s, matrices + s->inputs * s->samples * (fresh ? 2.0 : 1.0), s->neurons);
}

/* Unless asked for, no more singular values than there are. */
static void settle_top(settings *s) {
    int asked = 0;
    size_t i;
    for (i = 0; i < OPTION_TOTAL; i++) asked |= s->given[i] && options[i].offset == FIELD(top);
    if (!asked) s->top = fmin(10.0, fmin(s->neurons, s->inputs));
    s->config.top = (size_t)s->top;
}

static int check_kernel(const settings *s) {
    if (tws_kernel_available(s->context.kernel)) return 0;
    return misuse("--kernel is '%s', this machine or build does not have it%s%s",
                  tws_kernel_name(s->context.kernel), "", "");
}

/* Seeds count up from --seed. */
static int check_seeds(const settings *s) {
    char number[32];
    if (s->config.seed <= UINT64_MAX - (uint64_t)(s->seeds - 1.0)) return 0;
    snprintf(number, sizeof number, "%.9g", s->seeds);
    return misuse("--seeds is %s, --seed and the following ones must stay below 2^64%s%s", number, "", "");
}

/* The settings as a configuration of the library; its own sentence where they do not fit together.
   The kernel may be that of another machine: enough to show results, not to compute. */
static int settle_settings(settings *s) {
    char message[240], *c;
    const double most = 2147483648.0;
    size_t first;
    int status = check_seeds(s);
    if (status != 0) return status;
    if (s->command == COMMAND_SCALE) {
        s->neurons = s->ladder.low;
        if (s->inputs < 2.0) s->inputs = s->neurons;
        if (s->samples < 2.0) s->samples = 2.0 * s->neurons;
    }
    s->context.threads = (unsigned)s->threads;
    settle_top(s);
    if (s->command == COMMAND_THEORY || s->command == COMMAND_PLOT) return 0;
    if (s->neurons > most || s->inputs > most || s->samples > most) {
        const double value = s->neurons > most ? s->neurons : s->inputs > most ? s->inputs : s->samples;
        char number[32];
        snprintf(number, sizeof number, "%.9g", value);
        return misuse("--%s is %s, it must be a whole number from 2 to 2147483648%s",
                      s->neurons > most ? "neurons" : s->inputs > most ? "inputs" : "samples", number,
                      " to be simulated ('twostep theory' predicts larger ones)");
    }
    s->config.neurons = (size_t)s->neurons;
    s->config.inputs = (size_t)s->inputs;
    s->config.samples = (size_t)s->samples;
    if (tws_check(&s->config, message, sizeof message) == TWS_OK) return share_budget(s);
    first = strcspn(message, " :");
    for (c = message; c < message + first; c++)
        if (*c == '_') *c = '-';
    /* "target directions is 3" is about --target */
    return misuse("--%s%s%s", message, "", "");
}

static int finish_settings(settings *s) {
    int status = check_kernel(s);
    if (status == 0) status = check_outputs(s);
    return status != 0 ? status : settle_settings(s);
}

static void default_settings(settings *s, command_id id) {
    memset(s, 0, sizeof *s);
    s->command = id;
    s->config = tws_default_config();
    s->context = tws_default_context();
    s->neurons = s->inputs = 1024;
    s->samples = 2048;
    s->seeds = s->shard = s->shards = 1;
    s->lambda = "1e-6:1:13";
    s->test_samples = 2000;
    if (id == COMMAND_SCALE) {
        s->inputs = s->samples = 0.0; /* N and 2 N */
        s->ladder.low = 200.0;
        s->ladder.high = 1600.0;
        s->ladder.count = s->seeds = 4.0;
        s->config.alpha1 = 0.35;
        s->config.alpha2 = 0.45;
    }
    s->alphas1.high = s->alphas2.high = 0.45;
    s->alphas1.count = s->alphas2.count = 10;
    strcpy(s->activation, "shifted-tanh");
    strcpy(s->target, "linear");
    if (id == COMMAND_COMPARE) {
        /* the settings that tell a fresh batch from a reused one most clearly */
        s->neurons = s->inputs = 1000;
        s->samples = 5000;
        s->config.alpha1 = s->config.alpha2 = 0.45;
        s->config.scale2 = 2.0;
        strcpy(s->target, "step4");
    }
    tws_activation_named(s->activation, &s->config.activation);
    tws_target_named(s->target, &s->config.target);
}

/* ---- results ---- */

typedef struct outcome {
    tws_result measured;
    int predicted; /* 1 when the theory has spoken */
    tws_limit limit;
    tws_prediction step1, fresh, reuse; /* predictions of W1 and of W2 under either batch mode */
    tws_warnings warnings;
} outcome;

static const char *const case_name[] = {"initial", "one-step", "two-steps-fresh", "two-steps-reuse"};
static const char *const case_title[] = {"W0", "W1, one step", "W2, two steps, fresh batch",
                                         "W2, two steps, reused batch"};

static const tws_prediction *prediction_of(const outcome *o, int which) {
    if (!o->predicted || which == TWS_INITIAL || (which == TWS_ONE_STEP && o->step1.step == 0)) return NULL;
    return which == TWS_ONE_STEP ? &o->step1 : which == TWS_TWO_STEPS_FRESH ? &o->fresh : &o->reuse;
}

static int is_said(const tws_warnings *w, const char *sentence) {
    size_t k;
    for (k = 0; k < w->count; k++)
        if (strcmp(w->text[k], sentence) == 0) return 1;
    return 0;
}

/* Adds the sentences that are new, with the batch mode in front where the other mode does not say
   the same; other may be NULL. */
static void add_warnings(tws_warnings *all, const tws_warnings *some, const tws_warnings *other, const char *mode) {
    size_t i;
    for (i = 0; i < some->count && all->count < TWS_MAX_WARNINGS; i++) {
        const int common = other == NULL || is_said(other, some->text[i]);
        if (!is_said(all, some->text[i]))
            snprintf(all->text[all->count++], sizeof all->text[0], "%s%.180s", common ? "" : mode, some->text[i]);
    }
}

/* first: the prediction of W1, which is the same under either mode; NULL where it is known. */
static tws_status predict_mode(settings *s, outcome *o, tws_theory_input *input, tws_batches batches,
                               const tws_limit *limit, tws_prediction *first, tws_warnings *warnings) {
    tws_prediction *step2 = batches == TWS_FRESH ? &o->fresh : &o->reuse;
    tws_status status;
    input->batches = batches;
    status = tws_predict(&s->context, input, first, step2);
    if (status == TWS_OK) status = tws_theory_warnings(&s->context, input, limit, step2, warnings);
    return status;
}

/* Theory for the wanted batch mode or for both. */
static tws_status predict(settings *s, outcome *o) {
    static tws_warnings fresh, reuse;
    tws_theory_input input = tws_theory_from_config(&s->config);
    const int both = s->command == COMMAND_COMPARE, reused = both || s->config.batches == TWS_REUSE;
    tws_limit of_fresh;
    tws_status status;
    input.neurons = s->neurons;
    input.inputs = s->inputs;
    input.samples = s->samples;
    status = tws_limit_theory_both(&s->context, &input, both || !reused ? &of_fresh : NULL, reused ? &o->limit : NULL);
    if (status == TWS_OK && !reused) o->limit = of_fresh;
    if (status == TWS_OK && (both || !reused))
        status = predict_mode(s, o, &input, TWS_FRESH, &of_fresh, both ? NULL : &o->step1, &fresh);
    if (status == TWS_OK && reused) status = predict_mode(s, o, &input, TWS_REUSE, &o->limit, &o->step1, &reuse);
    add_warnings(&o->warnings, &fresh, both ? &reuse : NULL, "fresh batch: ");
    add_warnings(&o->warnings, &reuse, both ? &fresh : NULL, "reused batch: ");
    o->predicted = status == TWS_OK;
    return status;
}

/* ---- JSON ---- */

static void json_text(FILE *f, const char *text) {
    fputc('"', f);
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') fputc('\\', f);
        if ((unsigned char)*text >= 0x20) fputc(*text, f);
    }
    fputc('"', f);
}

static void json_list(FILE *f, const char *name, const double *values, size_t count) {
    size_t i;
    fprintf(f, ", \"%s\": [", name);
    for (i = 0; i < count; i++) fprintf(f, "%s%.9g", i ? ", " : "", values[i]);
    fputc(']', f);
}

static void json_config(FILE *f, const settings *s) {
    const tws_config *c = &s->config;
    fprintf(f, "  \"config\": { \"neurons\": %.17g, \"inputs\": %.17g, \"samples\": %.17g,\n", s->neurons, s->inputs,
            s->samples);
    fprintf(f, "    \"alpha1\": %.9g, \"alpha2\": %.9g, \"scale1\": %.9g, \"scale2\": %.9g,\n    \"activation\": ",
            c->alpha1, c->alpha2, c->scale1, c->scale2);
    json_text(f, s->activation);
    fputs(", \"target\": ", f);
    json_text(f, s->target);
    fprintf(f, ", \"directions\": %lu, \"noise\": %.9g,\n    ", (unsigned long)c->target.directions, c->noise);
    if (s->command != COMMAND_COMPARE)
        fprintf(f, "\"batches\": \"%s\", ", c->batches == TWS_FRESH ? "fresh" : "reuse");
    fprintf(f, "\"init\": \"%s\", \"output_scale\": %.9g, \"seed\": %llu, \"top\": %lu }",
            c->init == TWS_SPHERE ? "sphere" : "gaussian",
            c->output_scale < 0.0 ? 1.0 / sqrt(s->neurons) : c->output_scale, (unsigned long long)c->seed,
            (unsigned long)c->top);
}

/* The parts of the outliers' right vectors along each direction, and the principal cosines. */
static void json_overlaps(FILE *f, const double (*overlaps)[TWS_MAX_DIRECTIONS], size_t count, size_t p,
                          const double *principal) {
    size_t k, l;
    fputs(", \"overlaps\": [", f);
    for (k = 0; k < count && k < TWS_MAX_OVERLAPS; k++) {
        fputs(k ? ", [" : "[", f);
        for (l = 0; l < p; l++) fprintf(f, "%s%.9g", l ? ", " : "", overlaps[k][l]);
        fputc(']', f);
    }
    fputc(']', f);
    json_list(f, "principal_cosines", principal, p);
}

/* The directions whose bit is set, counted from 1. */
static void json_bits(FILE *f, const char *name, unsigned bits) {
    const char *between = "";
    int l;
    fprintf(f, ", \"%s\": [", name);
    for (l = 0; l < TWS_MAX_DIRECTIONS; l++)
        if (bits >> l & 1u) {
            fprintf(f, "%s%d", between, l + 1);
            between = ", ";
        }
    fputc(']', f);
}

static void json_prediction(FILE *f, const settings *s, const tws_prediction *p) {
    fprintf(f, "{ \"step\": %d, \"edge\": %.9g, \"outliers\": %lu", p->step, p->edge, (unsigned long)p->outliers);
    json_list(f, "singular_values", p->singular_values, p->outliers);
    json_list(f, "alignments", p->alignments, p->outliers);
    json_list(f, "readout_alignments", p->readout_alignments, p->outliers);
    fprintf(f, ", \"captured\": %.9g", p->captured);
    json_overlaps(f, p->overlaps, p->outliers, s->config.target.directions, p->principal);
    fputs(" }", f);
}

/* W0 is a bare bulk. */
static void json_initial(FILE *f, const settings *s) {
    fprintf(f, "{ \"step\": 0, \"edge\": %.9g, \"outliers\": 0, \"singular_values\": [], \"alignments\": [], "
               "\"readout_alignments\": [], \"captured\": 0 }",
            tws_bulk_edge(s->neurons, s->inputs));
}

static void json_measured(FILE *f, const tws_result *r, int which) {
    const tws_spectrum *m = &r->spectrum[which];
    fprintf(f, "{ \"step\": %d, \"edge\": %.9g, \"row_edge\": %.9g, \"margin\": %.9g, \"outliers\": %lu",
            which < TWS_TWO_STEPS_FRESH ? which : 2, m->edge, m->row_edge, m->margin, (unsigned long)m->outliers);
    json_list(f, "singular_values", m->singular_values, m->top);
    json_list(f, "alignments", m->alignments, m->top);
    json_list(f, "readout_alignments", m->readout_alignments, m->top);
    json_list(f, "residuals", m->residuals, m->top);
    fprintf(f, ", \"captured\": %.9g, \"loss\": %.9g", m->captured, r->loss[which]);
    json_overlaps(f, m->overlaps, m->outliers, m->directions, m->principal);
    fputs(" }", f);
}

/* 1 + floor(alpha2 / (1/2 - alpha1)), also where the theory gives no numbers. */
static double limit_count(const settings *s, const outcome *o) {
    const double ratio = s->config.alpha2 / (0.5 - s->config.alpha1);
    return o->predicted && o->limit.orders > 0 ? (double)o->limit.orders : 1.0 + floor(ratio * (1.0 + 1e-12) + 1e-12);
}

static void json_limit(FILE *f, const settings *s, const outcome *o) {
    const tws_limit *l = &o->limit;
    size_t i;
    fprintf(f, ",\n  \"limit\": { \"outliers\": %.0f, \"orders\": [", limit_count(s, o));
    for (i = 0; i < l->listed; i++) {
        fprintf(f, "%s\n    { \"k\": %d, \"exponent\": %.9g, \"leading_strength\": %.9g, \"sees_target_fresh\": %s, "
                   "\"sees_target_reuse\": %s",
                i ? "," : "", l->order[i].k, l->order[i].exponent, l->order[i].leading_strength,
                l->order[i].sees_target_fresh ? "true" : "false", l->order[i].sees_target_reuse ? "true" : "false");
        json_bits(f, "directions_fresh", l->order[i].directions_fresh);
        json_bits(f, "directions_reuse", l->order[i].directions_reuse);
        fputs(" }", f);
    }
    fputs(" ] },\n  \"warnings\": [", f);
    for (i = 0; i < o->warnings.count; i++) {
        fputs(i ? ", " : "", f);
        json_text(f, o->warnings.text[i]);
    }
    fputc(']', f);
}

static void json_cases(FILE *f, const settings *s, const outcome *o) {
    int which;
    fputs(",\n  \"cases\": [", f);
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        const tws_prediction *p = prediction_of(o, which);
        fprintf(f, "%s\n    { \"name\": \"%s\",\n      \"predicted\": ", which ? "," : "", case_name[which]);
        if (p != NULL) json_prediction(f, s, p);
        else if (which == TWS_INITIAL) json_initial(f, s);
        else fputs("null", f);
        fputs(",\n      \"measured\": ", f);
        json_measured(f, &o->measured, which);
        fputs(" }", f);
    }
    fputs(" ]", f);
}

static void json_steps(FILE *f, const settings *s, const outcome *o) {
    const char *separator = "\n    ";
    int which;
    fputs(",\n  \"predicted\": [", f);
    if (o->predicted) {
        fputs("\n    ", f);
        if (o->step1.step == 1) json_prediction(f, s, &o->step1); /* not there for data of the caller's own */
        if (o->step1.step == 1) fputs(",\n    ", f);
        json_prediction(f, s, s->config.batches == TWS_FRESH ? &o->fresh : &o->reuse);
    }
    fputs(" ]", f);
    if (s->command == COMMAND_THEORY) return;
    fputs(",\n  \"measured\": [", f);
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        if (!o->measured.measured[which]) continue;
        fputs(separator, f);
        json_measured(f, &o->measured, which);
        separator = ",\n    ";
    }
    fputs(" ]", f);
}

static void json_report(FILE *f, const settings *s, const outcome *o) {
    const tws_result *r = &o->measured;
    fprintf(f, "{ \"version\": \"%s\", \"command\": \"%s\",\n", TWS_VERSION_TEXT,
            s->command == COMMAND_MAIN ? "run" : command_name(s->command));
    json_config(f, s);
    fprintf(f, ",\n  \"eta\": [%.9g, %.9g]", s->config.scale1 * pow(s->neurons, s->config.alpha1),
            s->config.scale2 * pow(s->neurons, s->config.alpha2));
    json_limit(f, s, o);
    if (s->command == COMMAND_COMPARE) json_cases(f, s, o);
    else json_steps(f, s, o);
    if (s->command != COMMAND_THEORY)
        fprintf(f, ",\n  \"loss_samples\": %lu,\n  \"seconds\": { \"data\": %.3f, \"step1\": %.3f, \"step2\": %.3f, "
                   "\"spectrum\": %.3f, \"total\": %.3f },\n  \"threads\": %u, \"kernel\": \"%s\"",
                (unsigned long)r->loss_samples, r->seconds_data, r->seconds_step1, r->seconds_step2,
                r->seconds_spectrum, r->seconds_total, r->threads, tws_kernel_name(r->kernel));
    fputs(" }\n", f);
}

/* ---- tables ---- */

static void print_header(const settings *s) {
    const tws_config *c = &s->config;
    printf("N = %.9g neurons, d = %.9g inputs, n = %.9g samples, activation %s, target %s", s->neurons, s->inputs,
           s->samples, s->activation, s->target);
    if (c->noise > 0.0) printf(" + noise %.3g", c->noise);
    if (s->command == COMMAND_SWEEP) {
        printf("\nscales %.4g and %.4g, second batch %s\n", c->scale1, c->scale2,
               c->batches == TWS_FRESH ? "fresh" : "the same as the first");
        return;
    }
    printf("\nstep sizes %.4g N^%.3g = %.4g and %.4g N^%.3g = %.4g", c->scale1, c->alpha1,
           c->scale1 * pow(s->neurons, c->alpha1), c->scale2, c->alpha2, c->scale2 * pow(s->neurons, c->alpha2));
    if (s->command != COMMAND_COMPARE)
        printf(", second batch %s", c->batches == TWS_FRESH ? "fresh" : "the same as the first");
    printf("\n");
}

/* One number, or blanks. */
static void print_cell(int known, const char *format, double value, int width) {
    char cell[32] = "";
    if (known) snprintf(cell, sizeof cell, format, value);
    printf("%*s", width, cell);
}

static void print_row(const char *title, size_t k, const tws_spectrum *m, const tws_prediction *p) {
    const int measured = m != NULL && k < m->top, predicted = p != NULL && k < p->outliers;
    printf("%-29s%2lu", title, (unsigned long)(k + 1));
    print_cell(measured, "%.4f", measured ? m->singular_values[k] : 0, 11);
    print_cell(predicted, "%.4f", predicted ? p->singular_values[k] : 0, 11);
    print_cell(measured && predicted, "%+.1f%%",
               measured && predicted ? 100.0 * (p->singular_values[k] / m->singular_values[k] - 1.0) : 0, 7);
    print_cell(measured, "%.3f", measured ? m->alignments[k] : 0, 10);
    print_cell(predicted, "%.3f", predicted ? p->alignments[k] : 0, 8);
    print_cell(measured, "%.3f", measured ? m->readout_alignments[k] : 0, 10);
    print_cell(predicted, "%.3f", predicted ? p->readout_alignments[k] : 0, 8);
    printf("\n");
}

/* The outliers of one matrix, measured beside predicted, and where its bulk ends. */
static void print_case(const char *title, const tws_spectrum *m, const tws_prediction *p) {
    const size_t seen = m != NULL ? m->outliers : 0, foreseen = p != NULL ? p->outliers : 0;
    const size_t rows = seen > foreseen ? seen : foreseen;
    size_t k;
    for (k = 0; k < rows; k++) print_row(k == 0 ? title : "", k, m, p);
    printf("%-22s%9s", rows == 0 ? title : "", "bulk edge");
    print_cell(m != NULL, "%.4f", m != NULL ? m->row_edge : 0, 11);
    print_cell(p != NULL, "%.4f", p != NULL ? p->edge : 0, 11);
    if (m != NULL && m->outliers < m->top) printf("         (largest value below: %.4f)", m->singular_values[m->outliers]);
    printf("\n");
}

static void print_tables(const settings *s, const outcome *o) {
    int which;
    print_header(s);
    printf("\n%-31s%22s%7s%18s%18s\n%-29s%2s%11s%11s%7s%10s%8s%10s%8s\n", "", "singular value", "", "in target space",
           "along readout", "", "k", "measured", "predicted", "", "measured", "theory", "measured", "theory");
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        const tws_prediction *p = prediction_of(o, which);
        const int second = s->config.batches == TWS_FRESH ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
        if (s->command != COMMAND_THEORY && o->measured.measured[which])
            print_case(case_title[which], &o->measured.spectrum[which], p);
        if (s->command == COMMAND_THEORY && (which == TWS_ONE_STEP || which == second))
            print_case(case_title[which], NULL, p);
    }
}

/* "yes", of several directions "1 and 2", or "no". */
static const char *seen_directions(unsigned bits, size_t p, char *text) {
    size_t l, length = 0;
    if (bits == 0) return "no";
    if (p == 1) return "yes";
    for (l = 0; l < p; l++)
        if (bits >> l & 1u) length += (size_t)sprintf(text + length, "%s%lu", length ? " and " : "", (unsigned long)l + 1);
    return text;
}

static void print_limit(const settings *s, const outcome *o) {
    const tws_limit *l = &o->limit;
    char seen[2][64];
    size_t i;
    printf("\nin the limit of large N: 1 + floor(alpha2 / (1/2 - alpha1)) = %.0f learned directions\n", limit_count(s, o));
    for (i = 0; i < l->listed && i < 4; i++)
        printf("  order %d grows like N^%-6.3g strength %-10.4g sees the target on a fresh batch: %s, reused: %s\n",
               l->order[i].k, l->order[i].exponent, l->order[i].leading_strength,
               seen_directions(l->order[i].directions_fresh, s->config.target.directions, seen[0]),
               seen_directions(l->order[i].directions_reuse, s->config.target.directions, seen[1]));
    for (i = 0; i < o->warnings.count; i++) printf("note: %s\n", o->warnings.text[i]);
}

/* Of several directions: how much of each lies in the span of the outliers, and the principal cosines. */
static void print_directions(const settings *s, const outcome *o) {
    const size_t p = s->config.target.directions;
    size_t k, l;
    int which;
    printf("\n%-29spart of each direction in the outliers' span%*sprincipal cosines (theory)\n", "", p > 5 ? 8 * (int)p - 38 : 2, "");
    for (which = TWS_ONE_STEP; which < (int)TWS_CASE_COUNT; which++) {
        const tws_spectrum *m = &o->measured.spectrum[which];
        const tws_prediction *t = prediction_of(o, which);
        if (!o->measured.measured[which]) continue;
        printf("%-29s", case_title[which]);
        for (l = 0; l < p; l++) {
            double square = 0.0;
            for (k = 0; k < m->outliers && k < TWS_MAX_OVERLAPS; k++) square += m->overlaps[k][l] * m->overlaps[k][l];
            printf("%.3f   ", sqrt(square));
        }
        printf("%*s", p > 5 ? 0 : 46 - 8 * (int)p, "");
        for (l = 0; l < p; l++) {
            printf("%.3f ", m->principal[l]);
            if (t != NULL) printf("(%.3f)  ", t->principal[l]);
        }
        printf("\n");
    }
}

static void print_verdict(const settings *s, const outcome *o) {
    const tws_result *r = &o->measured;
    const double p = (double)s->config.target.directions;
    char whole[40] = "";
    int which;
    if (p > 1.0) snprintf(whole, sizeof whole, "all of it: %.3f, ", sqrt(p));
    printf("\n");
    for (which = TWS_ONE_STEP; which < (int)TWS_CASE_COUNT; which++)
        if (r->measured[which])
            printf("%-29s%lu outlier%s, capturing %.3f of the target space (%sa random vector: %.3f)\n",
                   case_title[which], (unsigned long)r->spectrum[which].outliers,
                   r->spectrum[which].outliers == 1 ? "" : "s", r->spectrum[which].captured, whole,
                   sqrt(p / s->inputs));
    if (s->config.target.directions > 1) print_directions(s, o);
    printf("%.2f s on %u thread%s (%s): data %.2f, steps %.2f, spectra %.2f\n", r->seconds_total, r->threads,
           r->threads == 1 ? "" : "s", tws_kernel_name(r->kernel), r->seconds_data,
           r->seconds_step1 + r->seconds_step2, r->seconds_spectrum);
}

/* The theory knows one cause of a higher edge that the rows do not show. */
static void raise_edges(outcome *o) {
    int which;
    for (which = TWS_ONE_STEP; o->predicted && which < (int)TWS_CASE_COUNT; which++)
        if (o->measured.measured[which] && prediction_of(o, which) != NULL)
            tws_count_outliers(&o->measured.spectrum[which], prediction_of(o, which)->edge);
}

static int explain(const settings *s, tws_status status) {
    fprintf(stderr, "twostep: %s\n", s->context.message[0] != '\0' ? s->context.message : tws_status_text(status));
    return status == TWS_BAD_ARGUMENT ? EXIT_MISUSE : EXIT_FAILED;
}

#include "show.h"

/* The theory. What it cannot do is a note, but for `twostep theory`: the experiment is run all the
   same. */
static int foresee(settings *s, outcome *o) {
    const tws_status status = predict(s, o);
    if (status == TWS_OK) return 0;
    if (s->command == COMMAND_THEORY || status == TWS_OUT_OF_MEMORY) return explain(s, status);
    o->warnings.count = 1;
    snprintf(o->warnings.text[0], sizeof o->warnings.text[0], "no prediction: %.180s", s->context.message);
    return 0;
}

/* Theory and, but for `twostep theory`, the experiment. pictures: NULL when none are wanted. */
static int compute(settings *s, outcome *o, show *pictures) {
    const unsigned cases = s->command == COMMAND_COMPARE ? TWS_ALL_CASES : 0;
    const int result = foresee(s, o);
    tws_status status;
    if (result != 0) return result;
    if (s->command == COMMAND_THEORY) return 0;
    status = tws_run_visit(&s->context, &s->config, cases, pictures != NULL ? show_visit : NULL, pictures, &o->measured);
    if (status == TWS_NOT_CONVERGED)
        fprintf(stderr, "twostep: %s; the residuals in the JSON tell which\n", s->context.message);
    else if (status != TWS_OK)
        return explain(s, status);
    raise_edges(o);
    if (pictures != NULL) show_curves(pictures, o, 1);
    return 0;
}

#include "sweep.h"
#include "risk.h"
#include "scale.h"
#include "data.h"

static void print_report(const settings *s, const outcome *o, const show *pictures) {
    print_tables(s, o);
    if (pictures != NULL && (BIT(s->command) & HISTOGRAM)) show_text(pictures, o);
    print_limit(s, o);
    if (s->command != COMMAND_THEORY) print_verdict(s, o);
}

/* Opened before the work, so that a wrong name does not cost the run. */
static int open_results(const settings *s, result_file *json, result_file *svg) {
    memset(json, 0, sizeof *json);
    memset(svg, 0, sizeof *svg);
    if (s->json != NULL && open_result(json, s->json) != 0) return EXIT_FAILED;
    if (s->svg != NULL && open_result(svg, s->svg) != 0) {
        close_result(json, 0);
        return EXIT_FAILED;
    }
    /* the main job draws unasked, and does without where it must not write */
    if (s->svg == NULL && s->command == COMMAND_MAIN && !s->quiet &&
        (s->json == NULL || !same_file(s->json, "twostep.svg")))
        open_result(svg, "twostep.svg");
    return 0;
}

static int work(settings *s) {
    static outcome o; /* about 10 KB, too much for a small stack */
    static show pictures;
    result_file json, svg;
    const int report = wants_report(s);
    int result, wanted, computed, drawn;
    if (s->command == COMMAND_SWEEP) return sweep_work(s);
    if (s->command == COMMAND_PLOT) return sweep_plot(s);
    if (s->command == COMMAND_RISK) return risk_work(s);
    if (s->command == COMMAND_SCALE) return scale_work(s);
    result = open_results(s, &json, &svg);
    if (result != 0) return result;
    pictures.s = s;
    pictures.exact = svg.stream != NULL ? SHOW_DRAWN : SHOW_EXACT;
    wanted = svg.stream != NULL || (report && (BIT(s->command) & HISTOGRAM));
    result = own_given(s) ? own_compute(s, &o, wanted ? &pictures : NULL) : compute(s, &o, wanted ? &pictures : NULL);
    computed = result == 0;
    /* each file for itself: a picture that cannot be written costs no numbers */
    if (computed && json.stream != NULL) json_report(json.stream, s, &o);
    if (close_result(&json, computed) != 0) result = EXIT_FAILED;
    errno = 0;
    drawn = computed && svg.stream != NULL && show_svg(svg.stream, &pictures, &o) == 0;
    if (computed && svg.stream != NULL && !drawn) result = file_failed("write", svg.name);
    if (close_result(&svg, drawn) != 0) result = EXIT_FAILED;
    if (computed && report) print_report(s, &o, wanted ? &pictures : NULL);
    show_free(&pictures);
    return result;
}

/* ---- help ---- */

static void print_options(command_id id) {
    size_t i;
    printf("\noptions (--name value or --name=value; defaults in brackets)\n");
    for (i = 0; i < OPTION_TOTAL; i++) {
        const option *o = &options[i];
        if ((o->commands & BIT(id)) == 0) continue;
        printf("  %-16s%-6s%s%s\n", o->name, o->argument, o->help, "");
        if (o->kind == OPTION_NAME || o->kind == OPTION_RANGE || o->kind == OPTION_LADDER ||
            o->kind == OPTION_SHARD || o->kind == OPTION_BYTES)
            printf("  %22s%s\n", "", o->allowed);
    }
}

static int print_help(const char *topic) {
    size_t i;
    if (topic == NULL) {
        printf("twostep %s: what a two-layer network learns in one and two steps of gradient descent\n\n"
               "usage: twostep [options]            the main job: two steps with a reused batch\n"
               "       twostep COMMAND [options]\n\ncommands\n",
               TWS_VERSION_TEXT);
        for (i = 0; i < COMMAND_TOTAL; i++) printf("  %-9s%s\n", commands[i].name, commands[i].help);
        print_options(COMMAND_RUN);
        printf("\nmodel: Moniri and Hassani, arXiv 2605.17767. Exit status: 0 done, 1 failed, 2 misuse.\n");
        return 0;
    }
    for (i = 0; i < COMMAND_TOTAL; i++) {
        if (strcmp(topic, commands[i].name) != 0) continue;
        printf("twostep %s: %s\n", commands[i].name, commands[i].help);
        if (commands[i].id == COMMAND_COMPARE)
            printf("defaults: N = d = 1000, n = 5000, alphas 0.45 and 0.45, scales 1 and 2, target step4\n");
        if (commands[i].id == COMMAND_SCALE)
            printf("defaults: alphas 0.35 and 0.45; --inputs (N) and --samples (2 N) are those of the smallest N "
                   "and grow with it\n");
        if (commands[i].id != COMMAND_HELP) print_options(commands[i].id);
        return 0;
    }
    return unknown("command", topic, 0);
}

static int run_command(int count, char **arguments) {
    static settings s;
    command_id id = COMMAND_MAIN;
    int first = 1, status;
    size_t i;
    if (count > 1 && strcmp(arguments[1], "--version") == 0) {
        printf("twostep %s\n", TWS_VERSION_TEXT);
        return 0;
    }
    for (status = 1; status < count; status++)
        if (strcmp(arguments[status], "--help") == 0 || strcmp(arguments[status], "-h") == 0)
            return print_help(arguments[1][0] != '-' ? arguments[1] : NULL);
    if (count > 1 && arguments[1][0] != '-') {
        for (i = 0; i < COMMAND_TOTAL; i++)
            if (strcmp(arguments[1], commands[i].name) == 0) id = commands[i].id;
        if (id == COMMAND_MAIN) return unknown("command", arguments[1], 0);
        first = 2;
    }
    if (id == COMMAND_HELP && count > 3) return misuse("help takes one command, '%s' is one too many%s%s", arguments[3], "", "");
    if (id == COMMAND_HELP) return print_help(count > 2 ? arguments[2] : NULL);
    default_settings(&s, id);
    status = parse_options(&s, count - first, arguments + first);
    if (status == 0) status = finish_settings(&s);
    return status != 0 ? status : work(&s);
}

#ifndef TWOSTEP_NO_MAIN /* examples/mpi/sweep.c has a main of its own */
int main(int count, char **arguments) {
    int status;
#ifdef SIGPIPE /* a reader that goes away is an error of writing, with its sentence, not the end */
    signal(SIGPIPE, SIG_IGN);
#endif
    status = run_command(count, arguments);
    if (!ferror(stdout)) errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == 0) return file_failed("write", "standard output");
    return status;
}
#endif
