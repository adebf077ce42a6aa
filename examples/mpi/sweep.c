/* twostep sweep over the processes of MPI: the options and the file of `twostep sweep`.
 *
 *     mpicc -O2 -o sweep examples/mpi/sweep.c -lm -pthread
 *     mpirun -np 16 ./sweep --alpha1 0:0.45:10 --alpha2 0:0.45:10 --seeds 8 --out phase.csv --resume
 *
 * Every rank computes, one thread each unless --threads says otherwise. Rank 0 also owns the file: a
 * second thread of it hands out the units (all cells of one alpha1 and seed) one by one and appends
 * what comes back, so fast ranks get more of them. A rank keeps its seed as long as there is work
 * for it, and with it the data; rows of the theory are shared out before. The file is the same bytes as that of one process. When a rank dies,
 * mpirun ends the others; every unit that was finished is in the file, and --resume does the rest. */
#define TWOSTEP_NO_MAIN
#include "../twostep.c"
#include "help.h"

#include <mpi.h>
#include <pthread.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

enum { TAG_ASK = 1, TAG_UNIT, TAG_ROWS, TAG_FAILED };
enum { NO_UNIT = -1 };

/* What rank 0 hands out from and collects in. */
typedef struct counter {
    pthread_mutex_t mutex;
    sweep_table *table;
    sweep_file *file;
    sweep_clock clock;
    unsigned char *taken; /* by unit */
    int ranks, status;
} counter;

/* What every rank knows. */
typedef struct worker {
    sweep_table table;
    counter *home;      /* rank 0; NULL elsewhere */
    long long unit;     /* in hand, not yet begun; NO_UNIT */
    size_t seed;        /* whose data are made */
    int over;           /* 1: no unit is left */
    unsigned char *needed; /* by row: 1 where units are left */
} worker;

/* ---- rank 0: units and rows ---- */

/* A unit that nobody has: of this seed if there is one, else of the seed with most of them left. */
static long long take_unit(counter *home, long long seed) {
    const sweep_table *t = home->table;
    size_t s, row, most = 0, best = 0;
    for (s = 0; s < t->seeds; s++) {
        size_t left = 0;
        for (row = 0; row < t->rows; row++) left += !home->taken[s * t->rows + row];
        if (left > 0 && (long long)s == seed) left = t->rows + 1;
        if (left > most) {
            most = left;
            best = s;
        }
    }
    if (most == 0) return NO_UNIT;
    for (row = 0; home->taken[best * t->rows + row]; row++) {
    }
    home->taken[best * t->rows + row] = 1;
    return (long long)best * (long long)t->rows + (long long)row;
}

/* Appends the rows that are not there yet; text is cut up. */
static int store_new_rows(counter *home, char *text) {
    sweep_table *t = home->table;
    char *line, *end, *fresh = (char *)malloc(strlen(text) + 1), *place = fresh;
    int status;
    if (fresh == NULL) return no_memory();
    for (line = text; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        size_t cell;
        *end = '\0';
        cell = cell_of(t, line);
        if (cell == t->cells || t->line[cell] != NULL) continue;
        place += sprintf(place, "%s\n", line);
    }
    *place = '\0';
    status = store_unit(t, home->file, fresh);
    free(fresh);
    tell_progress(&home->clock, t->done);
    return status;
}

static void give_up(int status) {
    fflush(NULL);
    MPI_Abort(MPI_COMM_WORLD, status);
    exit(status);
}

/* The thread that serves the other ranks until all of them know that nothing is left. */
static void *serve(void *data) {
    counter *home = (counter *)data;
    int waiting = home->ranks - 1;
    while (waiting > 0) {
        MPI_Status about;
        int there = 0, length = 0;
        char *text;
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &there, &about);
        if (!there) { /* a blocking call would keep a core busy */
            struct timespec pause = {0, 300000};
            nanosleep(&pause, NULL);
            continue;
        }
        MPI_Get_count(&about, MPI_CHAR, &length);
        text = (char *)malloc((size_t)length + 1);
        if (text == NULL) give_up(no_memory());
        MPI_Recv(text, length, MPI_CHAR, about.MPI_SOURCE, about.MPI_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        text[length] = '\0';
        pthread_mutex_lock(&home->mutex);
        if (about.MPI_TAG == TAG_ASK) {
            const long long unit = take_unit(home, strtoll(text, NULL, 10));
            MPI_Send(&unit, 1, MPI_LONG_LONG, about.MPI_SOURCE, TAG_UNIT, MPI_COMM_WORLD);
            waiting -= unit == NO_UNIT;
        } else if (about.MPI_TAG == TAG_ROWS) {
            home->status = store_new_rows(home, text);
        } else {
            fprintf(stderr, "twostep: rank %d: %s\n", about.MPI_SOURCE, text);
            home->status = EXIT_FAILED;
        }
        if (home->status != 0) give_up(home->status);
        pthread_mutex_unlock(&home->mutex);
        free(text);
    }
    return NULL;
}

/* ---- the theory, once ---- */

/* Every rank predicts its share of the rows where units are left, and tells the others; else each
   would predict all rows itself. needed: by row, known on rank 0. */
static void share_predictions(sweep_table *t, unsigned char *needed) {
    int rank, ranks;
    size_t row, turn = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    MPI_Bcast(needed, (int)t->rows, MPI_UNSIGNED_CHAR, 0, MPI_COMM_WORLD);
    for (row = 0; row < t->rows; row++)
        if (needed[row] && turn++ % (size_t)ranks == (size_t)rank) {
            const int status = predict_row(t, row);
            if (status != 0) give_up(status);
        }
    for (row = turn = 0; row < t->rows; row++)
        if (needed[row]) {
            const int owner = (int)(turn++ % (size_t)ranks), size = (int)(t->columns * sizeof(size_t));
            MPI_Bcast(&t->known[row], (int)sizeof t->known[row], MPI_BYTE, owner, MPI_COMM_WORLD);
            MPI_Bcast(t->edge + row * t->columns, (int)t->columns, MPI_DOUBLE, owner, MPI_COMM_WORLD);
            MPI_Bcast(t->outliers + row * t->columns, size, MPI_BYTE, owner, MPI_COMM_WORLD);
        }
}

/* ---- every rank: asking and computing ---- */

static long long ask(worker *w, long long seed) {
    long long unit;
    if (w->home != NULL) {
        pthread_mutex_lock(&w->home->mutex);
        unit = take_unit(w->home, seed);
        pthread_mutex_unlock(&w->home->mutex);
    } else {
        char text[32];
        sprintf(text, "%lld", seed);
        MPI_Send(text, (int)strlen(text), MPI_CHAR, 0, TAG_ASK, MPI_COMM_WORLD);
        MPI_Recv(&unit, 1, MPI_LONG_LONG, 0, TAG_UNIT, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    w->over = unit == NO_UNIT;
    return unit;
}

/* The next row of the seed in work; a unit of another seed stays in hand for the next one. */
static int mpi_next(void *user, size_t *row) {
    worker *w = (worker *)user;
    if (w->unit == NO_UNIT && !w->over) w->unit = ask(w, (long long)w->seed);
    if (w->over || (size_t)w->unit / w->table.rows != w->seed) return 0;
    *row = (size_t)w->unit % w->table.rows;
    w->unit = NO_UNIT;
    return 1;
}

static int mpi_report(void *user, size_t row, const tws_spectrum *cells) {
    worker *w = (worker *)user;
    int status = predict_row(&w->table, row);
    char *text = status == 0 ? unit_text(&w->table, w->seed, row, cells) : NULL;
    if (text == NULL) return 1;
    if (w->home != NULL) {
        pthread_mutex_lock(&w->home->mutex);
        status = w->home->status = store_new_rows(w->home, text);
        if (status != 0) give_up(status);
        pthread_mutex_unlock(&w->home->mutex);
    } else {
        MPI_Send(text, (int)strlen(text), MPI_CHAR, 0, TAG_ROWS, MPI_COMM_WORLD);
    }
    free(text);
    return status;
}

static void compute_units(worker *w, settings *s) {
    sweep_table *t = &w->table;
    tws_sweep_plan plan;
    plan = plan_of(t);
    plan.next = mpi_next;
    plan.report = mpi_report;
    plan.user = w;
    w->unit = ask(w, 0);
    while (!w->over) {
        tws_config config = s->config;
        tws_status status;
        w->seed = (size_t)w->unit / t->rows;
        config.seed += w->seed;
        status = tws_sweep(&s->context, &config, &plan);
        if (status == TWS_OK || status == TWS_NOT_CONVERGED) continue;
        if (w->home != NULL) give_up(explain(s, status));
        MPI_Send(s->context.message, (int)strlen(s->context.message), MPI_CHAR, 0, TAG_FAILED, MPI_COMM_WORLD);
        for (;;) pause(); /* rank 0 ends all */
    }
}

/* ---- start and end ---- */

/* A unit takes and frees some hundred megabytes. Freed memory stays with the rank: to hand the pages
   back each time costs a tenth of the run where all cores do it at once. */
static void keep_memory(void) {
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 28);
    mallopt(M_TRIM_THRESHOLD, 1 << 30);
    mallopt(M_TOP_PAD, 1 << 26);
#endif
}

/* The options, understood on every rank and complained about on rank 0. */
static int understand(settings *s, int count, char **arguments, int rank, int ranks) {
    int status = 0;
    if (rank == 0) {
        default_settings(s, COMMAND_SWEEP);
        status = parse_options(s, count - 1, arguments + 1);
        if (status == 0) status = finish_settings(s);
        if (status == 0 && (s->file_count > 0 || s->shards > 1))
            status = misuse("--merge and --shard are of 'twostep sweep', here all ranks share the work%s%s%s", "", "", "");
        if (status == 0 && s->resume && s->out == NULL)
            status = misuse("--resume needs --out FILE, the file to go on with%s%s%s", "", "", "");
    }
    MPI_Bcast(&status, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (status == 0 && rank != 0) {
        default_settings(s, COMMAND_SWEEP);
        status = parse_options(s, count - 1, arguments + 1);
        if (status == 0) status = finish_settings(s);
    }
    if (s->threads < 1 && ranks > 1) s->context.threads = 1;
    return status;
}

/* Rank 0: the file, the thread that serves, its own share of the work, and what is made of it. */
static int lead(worker *w, settings *s, int ranks) {
    sweep_table *t = &w->table;
    sweep_file file;
    static counter home;
    pthread_t server;
    size_t unit, column;
    int status = open_sweep_file(t, &file, s->out);
    MPI_Bcast(&status, 1, MPI_INT, 0, MPI_COMM_WORLD);
    if (status != 0) return close_sweep_file(&file, status);
    pthread_mutex_init(&home.mutex, NULL);
    home.table = t;
    home.file = &file;
    home.ranks = ranks;
    home.taken = (unsigned char *)calloc(t->seeds * t->rows, 1);
    if (home.taken == NULL) give_up(no_memory());
    for (unit = 0; unit < t->seeds * t->rows; unit++) {
        home.taken[unit] = 1;
        for (column = 0; column < t->columns; column++)
            if (t->line[unit * t->columns + column] == NULL) home.taken[unit] = 0;
    }
    start_clock(&home.clock, s, t->done, t->wanted);
    for (unit = 0; unit < t->seeds * t->rows; unit++)
        if (!home.taken[unit]) w->needed[unit % t->rows] = 1;
    share_predictions(t, w->needed);
    w->home = &home;
    if (pthread_create(&server, NULL, serve, &home) != 0) give_up(no_memory());
    compute_units(w, s);
    pthread_join(server, NULL);
    pthread_mutex_destroy(&home.mutex);
    free(home.taken);
    status = close_sweep_file(&file, home.status);
    if (status == 0 && !t->ordered && file.plain) status = write_table(t, s->out);
    return status == 0 ? finish_table(t) : status;
}

static int help(void) {
    printf("mpirun -np RANKS sweep [OPTIONS]: 'twostep sweep' over the ranks of MPI, without --shard and --merge\n\n");
    return print_help("sweep");
}

int main(int count, char **arguments) {
    static settings s;
    static worker w;
    int rank, ranks, level, status;
    keep_memory();
    (void)run_command; /* the main program of twostep.c is not wanted here */
    MPI_Init_thread(&count, &arguments, MPI_THREAD_SERIALIZED, &level);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (is_help(count, arguments)) {
        status = rank == 0 ? help() : 0;
        MPI_Finalize();
        return status;
    }
    status = understand(&s, count, arguments, rank, ranks);
    if (status == 0 && ranks > 1 && level < MPI_THREAD_SERIALIZED) {
        if (rank == 0) fputs("twostep: this MPI does not allow a second thread (MPI_THREAD_SERIALIZED)\n", stderr);
        status = EXIT_FAILED;
    }
    if (status == 0) {
        w.unit = NO_UNIT;
        status = open_table(&w.table, &s);
        if (status != 0) give_up(status);
        w.needed = (unsigned char *)calloc(w.table.rows, 1);
        if (w.needed == NULL) give_up(no_memory());
        if (rank == 0) {
            status = lead(&w, &s, ranks);
        } else {
            MPI_Bcast(&status, 1, MPI_INT, 0, MPI_COMM_WORLD);
            if (status == 0) share_predictions(&w.table, w.needed);
            if (status == 0) compute_units(&w, &s);
        }
        free(w.needed);
        close_table(&w.table);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Finalize();
    return rank == 0 ? status : 0;
}
