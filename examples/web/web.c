/* The page's program: the command of ../twostep.c as WebAssembly, and its parts as commands, so that
 * several workers can share the work. COMMAND is run or compare, options are those of it.
 *
 *     twostep simulate COMMAND yes|no [options]    the experiment: {"result": "HEX"}; with yes then
 *                                                  all singular values, a line for each matrix
 *                                                  after a step: {"name": "one-step", "values": [...]}
 *     twostep bare COMMAND [options]               the same line for W0, which needs no experiment
 *     twostep foresee COMMAND [options]            the theory: {"outcome": "HEX", "edges": {"one-step": 2.0, ...}}
 *     twostep report COMMAND RESULT OUTCOME [options]    from both the JSON of COMMAND
 *     twostep law EDGE1 EDGE2 [options of theory]  the predicted density of the bulk of W1 and of
 *                                                  W2, from 0 to these edges, a line each:
 *                                                  {"name": "one-step", "s": [...], "density": [...]}
 *                                                  edge 0: not wanted
 *
 * HEX is the memory of a structure, for the same program alone. */
#define _XOPEN_SOURCE 700 /* as ../twostep.c, before the first include */
#include <fcntl.h>
/* No files here: what ../twostep.c uses of them and WASI lacks. */
#ifndef F_SETLK
#define F_WRLCK 1
#define F_SETLK 6
#endif
static char *realpath(const char *name, char *resolved) {
    (void)name;
    return resolved;
}
#define main twostep_main
#include "../twostep.c"
#undef main

/* ---- structures on their way from one worker to another ---- */

static void print_hex(const char *name, const void *from, size_t size) {
    const unsigned char *bytes = (const unsigned char *)from;
    size_t i;
    printf("{\"%s\": \"", name);
    for (i = 0; i < size; i++) printf("%02x", bytes[i]);
    printf("\"");
}

static void end_line(void) {
    printf("}\n");
    fflush(stdout);
}

static int read_hex(const char *text, void *to, size_t size) {
    static const char digits[] = "0123456789abcdef";
    unsigned char *bytes = (unsigned char *)to;
    size_t i;
    if (strlen(text) != 2 * size) return 0;
    for (i = 0; i < size; i++) {
        const char *high = strchr(digits, text[2 * i]), *low = strchr(digits, text[2 * i + 1]);
        if (high == NULL || low == NULL) return 0;
        bytes[i] = (unsigned char)((high - digits) * 16 + (low - digits));
    }
    return 1;
}

/* ---- the parts ---- */

/* The weights of every case, kept until the result is on its way. */
typedef struct kept {
    size_t size;
    tws_real *weights[TWS_CASE_COUNT];
} kept;

static tws_status keep(void *user, tws_case which, const tws_real *weights, const tws_real *readout) {
    kept *k = (kept *)user;
    (void)readout;
    if (which == TWS_INITIAL) return TWS_OK; /* run_bare has it */
    k->weights[which] = (tws_real *)malloc(k->size * sizeof(tws_real));
    if (k->weights[which] == NULL) return TWS_OUT_OF_MEMORY;
    memcpy(k->weights[which], weights, k->size * sizeof(tws_real));
    return TWS_OK;
}

/* One matrix: its line of the output. */
static tws_status print_bulk(settings *s, const char *name, const tws_real *weights) {
    const size_t rows = s->config.neurons, columns = s->config.inputs;
    const size_t count = rows < columns ? rows : columns;
    double *values = (double *)malloc(count * sizeof *values);
    tws_status status = TWS_OUT_OF_MEMORY;
    size_t i;
    if (values != NULL) status = tws_singular_values(&s->context, weights, rows, columns, columns, values);
    if (status != TWS_OK) return status;
    printf("{\"name\": \"%s\", \"values\": [", name);
    for (i = 0; i < count; i++) printf("%s%.6g", i ? "," : "", values[i]);
    printf("]");
    end_line();
    return TWS_OK;
}

/* The command and its options; what stands before them are the words of a part. */
static int open_part(settings *s, int words, int count, char **arguments) {
    int result;
    if (count < words) return misuse("too few words%s%s%s", "", "", "");
    default_settings(s, strcmp(arguments[0], "compare") == 0 ? COMMAND_COMPARE : COMMAND_RUN);
    result = parse_options(s, count - words, arguments + words);
    return result == 0 ? finish_settings(s) : result;
}

/* The program ends after this: nothing is released. */
static int run_simulate(int count, char **arguments) {
    static settings s;
    static tws_result r;
    static kept k;
    const int result = open_part(&s, 2, count, arguments);
    const int bulk = result == 0 && strcmp(arguments[1], "yes") == 0;
    tws_status status;
    int which;
    if (result != 0) return result;
    k.size = s.config.neurons * s.config.inputs;
    status = tws_run_visit(&s.context, &s.config, s.command == COMMAND_COMPARE ? TWS_ALL_CASES : 0,
                           bulk ? keep : NULL, &k, &r);
    if (status != TWS_OK && status != TWS_NOT_CONVERGED) return explain(&s, status);
    print_hex("result", &r, sizeof r);
    end_line();
    if (!bulk) return 0;
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        status = k.weights[which] != NULL ? print_bulk(&s, case_name[which], k.weights[which]) : TWS_OK;
        if (status != TWS_OK) return explain(&s, status);
    }
    return 0;
}

static int run_bare(int count, char **arguments) {
    static settings s;
    const int result = open_part(&s, 1, count, arguments);
    const size_t size = s.config.neurons * s.config.inputs;
    tws_real *weights;
    tws_status status = TWS_OUT_OF_MEMORY;
    if (result != 0) return result;
    weights = (tws_real *)malloc(size * sizeof *weights);
    if (weights != NULL)
        status = tws_make_weights(&s.context, &s.config, 0, s.config.neurons, weights);
    if (status == TWS_OK) status = print_bulk(&s, case_name[TWS_INITIAL], weights);
    return status == TWS_OK ? 0 : explain(&s, status);
}

static int run_foresee(int count, char **arguments) {
    static settings s;
    static outcome o;
    const char *between = "";
    int result = open_part(&s, 1, count, arguments), which;
    if (result == 0) result = foresee(&s, &o);
    if (result != 0) return result;
    print_hex("outcome", &o, sizeof o);
    printf(", \"edges\": {");
    for (which = TWS_ONE_STEP; which < (int)TWS_CASE_COUNT; which++) {
        const tws_prediction *p = prediction_of(&o, which);
        if (p == NULL || p->step == 0) continue; /* of the batch mode that was not asked for */
        printf("%s\"%s\": %.9g", between, case_name[which], p->edge);
        between = ", ";
    }
    printf("}");
    end_line();
    return 0;
}

static int run_report(int count, char **arguments) {
    static settings s;
    static tws_result r;
    static outcome o;
    const int result = open_part(&s, 3, count, arguments);
    if (result != 0) return result;
    if (!read_hex(arguments[1], &r, sizeof r) || !read_hex(arguments[2], &o, sizeof o))
        return misuse("not a result and an outcome of this program%s%s%s", "", "", "");
    o.measured = r;
    raise_edges(&o);
    json_report(stdout, &s, &o);
    return 0;
}

#define LAW_POINTS 120 /* of a predicted density */

/* Points that crowd at the edge, where the density falls like a root. */
static void law_grid(double edge, double *values) {
    size_t i;
    for (i = 0; i < LAW_POINTS; i++) values[i] = edge * sin(1.5707963267948966 * (double)i / (LAW_POINTS - 1));
}

static void print_law(const char *name, const double *values, const double *density) {
    size_t i;
    printf("{\"name\": \"%s\", \"s\": [", name);
    for (i = 0; i < LAW_POINTS; i++) printf("%s%.6g", i ? "," : "", values[i]);
    printf("], \"density\": [");
    for (i = 0; i < LAW_POINTS; i++) printf("%s%.6g", i ? "," : "", density[i]);
    printf("]}\n");
}

static int run_law(int count, char **arguments) {
    static settings s;
    static double values[2 * LAW_POINTS], density[2][2 * LAW_POINTS];
    double edge[2];
    tws_theory_input input;
    tws_status status;
    int result, k;
    for (k = 0; k < 2; k++) {
        edge[k] = count > k ? strtod(arguments[k], NULL) : -1.0;
        if (!(edge[k] >= 0.0 && edge[k] < 1e6)) return misuse("law needs two edges from 0 to 1e6%s%s%s", "", "", "");
        law_grid(edge[k], values + k * LAW_POINTS);
    }
    default_settings(&s, COMMAND_THEORY);
    result = parse_options(&s, count - 2, arguments + 2);
    if (result == 0) result = finish_settings(&s);
    if (result != 0) return result;
    input = tws_theory_from_config(&s.config);
    input.neurons = s.neurons;
    input.inputs = s.inputs;
    input.samples = s.samples;
    input.batches = s.config.batches;
    status = tws_predict_bulk(&s.context, &input, edge[0] > 0.0 ? values : values + LAW_POINTS,
                              edge[0] > 0.0 && edge[1] > 0.0 ? 2 * LAW_POINTS : LAW_POINTS,
                              edge[0] > 0.0 ? density[0] : NULL, edge[1] > 0.0 ? density[1] : NULL);
    if (status != TWS_OK) return explain(&s, status);
    if (edge[0] > 0.0) print_law("one-step", values, density[0]);
    if (edge[1] > 0.0)
        print_law(s.config.batches == TWS_FRESH ? "two-steps-fresh" : "two-steps-reuse", values + LAW_POINTS,
                  density[1] + (edge[0] > 0.0 ? LAW_POINTS : 0));
    return 0;
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        int (*run)(int count, char **arguments);
    } parts[] = {{"simulate", run_simulate}, {"bare", run_bare}, {"foresee", run_foresee}, {"report", run_report}, {"law", run_law}};
    size_t i;
    for (i = 0; count > 1 && i < sizeof parts / sizeof parts[0]; i++)
        if (strcmp(arguments[1], parts[i].name) == 0) return parts[i].run(count - 2, arguments + 2);
    return twostep_main(count, arguments);
}
