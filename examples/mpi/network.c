/* twostep run with one network spread over the processes of MPI: more neurons than one machine holds.
 *
 *     mpicc -O2 -o network examples/mpi/network.c -lm
 *     mpirun -np 64 ./network --neurons 65536 --inputs 65536 --samples 131072
 *
 * Every rank makes its own rows of W_0 from the seed, and the samples, block by block, as it needs
 * them; it keeps W and G of its rows. Only sums over neurons travel: the outputs of the network (one
 * number per sample and step) and the products of the search for singular values (2 d numbers per
 * pass), counted here beside these formulas. Options, table and JSON are those of `twostep run`, without
 * its pictures and without data of one's own. */
#define TWOSTEP_NO_MAIN
#include "../twostep.c"
#include "help.h"

#include <mpi.h>

#define BLOCK_SAMPLES 4096 /* samples that a rank holds at once, fewer where --memory-budget says so */

/* What the sums cost. */
typedef struct traffic {
    double sums, numbers, seconds;
} traffic;

typedef struct share {
    settings *s;
    tws_result *result;
    size_t first, count, block; /* rows of W, samples held at once */
    tws_real *weights, *gradient, *part, *readout, *directions, *inputs, *labels;
    traffic now; /* since the last stage */
    traffic step[2], spectrum[TWS_CASE_COUNT];
} share;

/* Summed on rank 0 and sent from there: the same bits everywhere, whatever order an Allreduce of
   this MPI would choose, as all ranks must take the same decisions. */
static int sum_over_ranks(void *user, double *values, size_t count) {
    traffic *t = (traffic *)user;
    const double start = MPI_Wtime();
    size_t done;
    int rank, bad = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    for (done = 0; done < count && !bad; done += 1u << 24) {
        const int length = (int)(count - done < 1u << 24 ? count - done : 1u << 24);
        double *at = values + done;
        bad = MPI_Reduce(rank == 0 ? MPI_IN_PLACE : at, at, length, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD) != MPI_SUCCESS ||
              MPI_Bcast(at, length, MPI_DOUBLE, 0, MPI_COMM_WORLD) != MPI_SUCCESS;
    }
    t->sums += 1;
    t->numbers += (double)count;
    t->seconds += MPI_Wtime() - start;
    return bad;
}

static traffic take_traffic(share *h) {
    const traffic t = h->now;
    memset(&h->now, 0, sizeof h->now);
    return t;
}

static tws_real *take_reals(size_t rows, size_t columns) {
    if (rows > SIZE_MAX / sizeof(tws_real) / columns) return NULL;
    return (tws_real *)malloc(rows * columns * sizeof(tws_real));
}

static void release_share(share *h) {
    free(h->weights);
    free(h->gradient);
    free(h->part);
    free(h->readout);
    free(h->directions);
    free(h->inputs);
    free(h->labels);
}

/* The rows of this rank and the samples of a block. --memory-budget is that of one rank: the blocks
   shrink to half of what it leaves, down to 128 samples. All ranks have the same, so the largest share
   of rows counts. */
static int plan_share(share *h, int rank, int ranks) {
    settings *s = h->s;
    const size_t neurons = s->config.neurons, samples = s->config.samples, r = (size_t)rank;
    const size_t less = neurons / (size_t)ranks, more = neurons % (size_t)ranks;
    const double most = (double)(less + (more > 0));
    h->first = r * less + (r < more ? r : more);
    h->count = less + (r < more);
    h->block = samples < BLOCK_SAMPLES ? samples : BLOCK_SAMPLES;
    if (s->memory_budget > 0.0) {
        const double left = (s->memory_budget - BUDGET_SLACK) / (double)sizeof(tws_real) - 3.0 * most * s->inputs;
        const double fitting = fmax(128.0, floor(0.5 * left / s->inputs));
        if (fitting < (double)h->block) h->block = (size_t)fitting;
    }
    return split_budget(s, s->inputs * (most * (h->block < samples ? 3.0 : 2.0) + (double)h->block), most);
}

static tws_status prepare_share(share *h, int rank) {
    const tws_config *c = &h->s->config;
    tws_context *context = &h->s->context;
    tws_status status;
    h->weights = take_reals(h->count, c->inputs);
    h->gradient = take_reals(h->count, c->inputs);
    h->part = h->block < c->samples ? take_reals(h->count, c->inputs) : NULL;
    h->readout = take_reals(h->count, 1);
    h->directions = take_reals(c->target.directions, c->inputs);
    h->inputs = take_reals(h->block, c->inputs);
    h->labels = take_reals(h->block, 1);
    if (h->weights == NULL || h->gradient == NULL || (h->part == NULL && h->block < c->samples) || h->readout == NULL ||
        h->directions == NULL || h->inputs == NULL || h->labels == NULL) {
        snprintf(context->message, sizeof context->message, "no memory for %lu rows of %lu weights on rank %d",
                 (unsigned long)h->count, (unsigned long)c->inputs, rank);
        return TWS_OUT_OF_MEMORY;
    }
    status = tws_make_weights(context, c, h->first, h->count, h->weights);
    if (status == TWS_OK) status = tws_make_readout(context, c, h->first, h->count, h->readout);
    if (status == TWS_OK) status = tws_make_directions(context, c, h->directions);
    return status;
}

static tws_network network_of(const share *h) {
    tws_network network = tws_network_from_config(&h->s->config, h->weights, h->readout);
    network.count = h->count; /* of all neurons */
    return network;
}

/* Samples start and following of one batch, at most count of them. */
static tws_status make_block(share *h, size_t number, size_t start, size_t count, tws_batch *batch) {
    const size_t left = h->s->config.samples - start;
    batch->samples = left < count ? left : count;
    batch->inputs = h->inputs;
    batch->labels = h->labels;
    return tws_make_samples(&h->s->context, &h->s->config, h->directions, number, start, batch->samples, h->inputs, h->labels);
}

/* W <- W + eta G: the gradient is the mean of those of the blocks, weighted by their lengths. */
static tws_status take_step(share *h, size_t number, double eta) {
    const size_t samples = h->s->config.samples, size = h->count * h->s->config.inputs;
    const tws_network network = network_of(h);
    size_t start, i;
    for (start = 0; start < samples; start += h->block) {
        tws_real *to = start == 0 ? h->gradient : h->part;
        tws_batch batch;
        double weight;
        tws_status status = make_block(h, number, start, h->block, &batch);
        if (status == TWS_OK) status = tws_gradient(&h->s->context, &network, &batch, to, NULL);
        if (status != TWS_OK) return status;
        weight = (double)batch.samples / (double)samples;
        if (start > 0)
            for (i = 0; i < size; i++) h->gradient[i] += (tws_real)weight * h->part[i];
        else if (weight < 1.0)
            for (i = 0; i < size; i++) h->gradient[i] *= (tws_real)weight;
    }
    for (i = 0; i < size; i++) h->weights[i] += (tws_real)eta * h->gradient[i];
    return TWS_OK;
}

/* Spectrum and loss of the present weights, as in tws_run. */
static tws_status measure_case(share *h, tws_case which) {
    const tws_config *c = &h->s->config;
    const tws_network network = network_of(h);
    tws_batch batch;
    tws_status measured, status;
    take_traffic(h);
    measured = tws_measure(&h->s->context, h->weights, h->count, c->inputs, h->readout, h->directions,
                           c->target.directions, c->top, c->seed, &h->result->spectrum[which]);
    h->spectrum[which] = take_traffic(h);
    if (measured != TWS_OK && measured != TWS_NOT_CONVERGED) return measured;
    status = make_block(h, 0, 0, h->result->loss_samples, &batch);
    if (status == TWS_OK) status = tws_loss(&h->s->context, &network, &batch, &h->result->loss[which]);
    h->result->measured[which] = 1;
    return status == TWS_OK ? measured : status;
}

static tws_status run_share(share *h, int rank, int ranks) {
    const tws_config *c = &h->s->config;
    const int fresh = c->batches == TWS_FRESH;
    tws_result *r = h->result;
    const double start = MPI_Wtime();
    double mark;
    tws_status worst = TWS_OK, status = prepare_share(h, rank);
    int step;
    /* one rank without memory ends all */
    double failed = status != TWS_OK;
    if (sum_over_ranks(&h->now, &failed, 1) != 0 || (failed > 0.0 && status == TWS_OK)) {
        snprintf(h->s->context.message, sizeof h->s->context.message, "another rank could not begin");
        status = TWS_CALLBACK_FAILED;
    }
    if (status != TWS_OK) return status;
    r->eta1 = tws_step_size(c, 1);
    r->eta2 = tws_step_size(c, 2);
    r->loss_samples = c->samples < 512 ? c->samples : 512;
    if (r->loss_samples > h->block) r->loss_samples = h->block;
    r->threads = tws_context_threads(&h->s->context) * (unsigned)ranks;
    r->kernel = tws_context_kernel(&h->s->context);
    r->seconds_data = MPI_Wtime() - start;
    for (step = 0; step <= 2; step++) {
        const tws_case which = step == 0 ? TWS_INITIAL : step == 1 ? TWS_ONE_STEP : fresh ? TWS_TWO_STEPS_FRESH : TWS_TWO_STEPS_REUSE;
        if (step > 0) {
            mark = MPI_Wtime();
            take_traffic(h);
            status = take_step(h, step == 2 && fresh, step == 1 ? r->eta1 : r->eta2);
            h->step[step - 1] = take_traffic(h);
            if (status != TWS_OK) return status;
            *(step == 1 ? &r->seconds_step1 : &r->seconds_step2) = MPI_Wtime() - mark;
        }
        mark = MPI_Wtime();
        status = measure_case(h, which);
        if (status == TWS_NOT_CONVERGED) worst = status;
        else if (status != TWS_OK) return status;
        r->seconds_spectrum += MPI_Wtime() - mark;
    }
    r->seconds_total = MPI_Wtime() - start;
    return worst;
}

static void print_line(const char *what, const traffic *t, double formula, const char *how) {
    printf("%-22s%14.0f%14.0f  %-26s%8.0f%10.3f\n", what, t->numbers, formula, how, t->sums, t->seconds);
}

static void print_traffic(const share *h, int ranks) {
    const tws_config *c = &h->s->config;
    const double samples = (double)c->samples, inputs = (double)c->inputs;
    double formula, passes;
    int which;
    printf("\n%d ranks with %lu rows each; numbers (8 bytes) that each rank gives to sums\n"
           "%-22s%14s%14s  %-26s%8s%10s\n", ranks, (unsigned long)h->count, "", "measured", "formula", "", "sums", "seconds");
    formula = c->output_scale > 0.0 || c->output_scale < 0.0 ? samples : 0.0;
    print_line("step one", &h->step[0], formula, "n");
    print_line("step two", &h->step[1], formula, "n");
    for (which = 0; which < (int)TWS_CASE_COUNT; which++) {
        char name[40];
        if (!h->result->measured[which]) continue;
        passes = (double)h->result->spectrum[which].passes;
        snprintf(name, sizeof name, "spectrum of W%d", which < 2 ? which : 2);
        print_line(name, &h->spectrum[which], 2.0 * inputs * passes, "2 d passes");
        printf("%-22s%14.1f%14.0f  %-26s\n", "  each pass", h->spectrum[which].numbers / passes, 2.0 * inputs, "2 d");
    }
}

/* Options of `twostep run` that want the samples, or the weights, in one place. */
static const char *const not_taken[] = {"--inputs-file", "--labels-file", "--directions-file", "--save", "--svg", "--ascii"};
#define NOT_TAKEN (sizeof not_taken / sizeof not_taken[0])

static int refuse_untaken(const settings *s) {
    size_t i, k;
    for (i = 0; i < OPTION_TOTAL; i++)
        for (k = 0; k < NOT_TAKEN; k++)
            if (s->given[i] && strcmp(options[i].name, not_taken[k]) == 0)
                return misuse("%s is for 'twostep run' alone: here every rank has a part of the network, and no "
                              "pictures or data files%s%s", not_taken[k], "", "");
    return 0;
}

static int help(void) {
    size_t k;
    printf("mpirun -np RANKS network [OPTIONS]: one network over the ranks of MPI, with the options of 'twostep run' but\n ");
    for (k = 0; k < NOT_TAKEN; k++) printf(" %s", not_taken[k]);
    printf("\n\n");
    return print_help("run");
}

/* The command line; all ranks read the same. */
static int understand(settings *s, int count, char **arguments) {
    double budget;
    int status;
    default_settings(s, COMMAND_RUN);
    status = parse_options(s, count - 1, arguments + 1);
    if (status == 0) status = refuse_untaken(s);
    budget = s->memory_budget;
    s->memory_budget = 0.0; /* of one rank, not of the whole network */
    if (status == 0) status = finish_settings(s);
    s->memory_budget = budget;
    return status;
}

/* Rank 0: the prediction, the file and the tables. */
static int report(share *h, outcome *o, int ranks) {
    settings *s = h->s;
    result_file json;
    int status = foresee(s, o);
    if (status != 0) return status;
    raise_edges(o);
    memset(&json, 0, sizeof json);
    if (s->json != NULL) status = open_result(&json, s->json);
    if (status == 0 && json.stream != NULL) {
        json_report(json.stream, s, o);
        status = close_result(&json, 1);
    }
    if (s->quiet || (s->json != NULL && strcmp(s->json, "-") == 0)) return status;
    print_report(s, o, NULL);
    print_traffic(h, ranks);
    return status;
}

int main(int count, char **arguments) {
    static settings s;
    static outcome o;
    share h;
    int rank, ranks, status = 0;
    tws_status done;
    (void)run_command; /* the main program of twostep.c is not wanted here */
    MPI_Init(&count, &arguments);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (is_help(count, arguments)) {
        if (rank == 0) status = help();
        MPI_Finalize();
        return status;
    }
    if (rank != 0 && freopen("/dev/null", "w", stderr) == NULL) status = EXIT_FAILED; /* one voice for bad options */
    if (status == 0) status = understand(&s, count, arguments);
    if (status == 0 && (size_t)ranks > s.config.neurons)
        status = misuse("there are more ranks than neurons, each needs one%s%s%s", "", "", "");
    memset(&h, 0, sizeof h);
    h.s = &s;
    h.result = &o.measured;
    if (status == 0) status = plan_share(&h, rank, ranks);
    if (status == 0) {
        if (s.threads < 1 && ranks > 1) s.context.threads = 1;
        s.context.reduce = sum_over_ranks;
        s.context.reduce_user = &h.now;
        done = run_share(&h, rank, ranks);
        s.context.reduce = NULL;
        if (done == TWS_NOT_CONVERGED) fprintf(stderr, "twostep: %s\n", s.context.message);
        else if (done != TWS_OK) status = explain(&s, done);
        s.context.threads = (unsigned)s.threads;
        if (status == 0 && rank == 0) status = report(&h, &o, ranks);
        release_share(&h);
    }
    MPI_Finalize();
    return status;
}
