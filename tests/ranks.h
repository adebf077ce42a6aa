/* Processes that share a network, played by threads: each runs the same function with a context
 * whose reduce really sums over all of them, in the order of ranks. Sums of different lengths, and
 * a rank that returns while another still waits for it, are noticed instead of hanging.
 * Include after twostep.h. */
#ifndef RANKS_H
#define RANKS_H
#ifdef TWSI_PTHREADS
#include <stdlib.h>

enum { RANKS_MOST = 4 };

typedef struct ranks {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int total, arrived, gone;
    long round, sums;
    size_t count;
    double *copy[RANKS_MOST];
    int mismatched, abandoned; /* what a test wants to be 0 */
} ranks;

typedef struct rank {
    ranks *all;
    int number;
    tws_context context;
    void (*run)(struct rank *self, void *data);
    void *data;
    pthread_t thread;
} rank;

static int ranks_reduce(void *user, double *values, size_t count) {
    rank *self = (rank *)user;
    ranks *all = self->all;
    double *copy = (double *)malloc(count * sizeof *copy);
    int r, failed;
    size_t i;
    if (copy == NULL) return 1;
    memcpy(copy, values, count * sizeof *copy);
    pthread_mutex_lock(&all->mutex);
    {
        const long round = all->round;
        all->copy[self->number] = copy;
        if (all->arrived == 0) all->count = count;
        else if (all->count != count) all->mismatched = 1;
        if (++all->arrived == all->total) {
            all->round++;
            all->sums++;
            pthread_cond_broadcast(&all->changed);
        }
        while (all->round == round && all->gone == 0) pthread_cond_wait(&all->changed, &all->mutex);
        if (all->round == round) all->abandoned = 1;
        failed = all->round == round || all->mismatched;
    }
    for (i = 0; !failed && i < count; i++)
        for (values[i] = 0, r = 0; r < all->total; r++) values[i] += all->copy[r][i];
    /* the last to leave clears the table for the next sum */
    if (--all->arrived == 0) {
        for (r = 0; r < all->total; r++) {
            free(all->copy[r]);
            all->copy[r] = NULL;
        }
        pthread_cond_broadcast(&all->changed);
    } else {
        while (!failed && all->arrived > 0 && all->copy[self->number] == copy && all->gone == 0)
            pthread_cond_wait(&all->changed, &all->mutex);
    }
    pthread_mutex_unlock(&all->mutex);
    return failed;
}

static void *ranks_main(void *argument) {
    rank *self = (rank *)argument;
    self->run(self, self->data);
    pthread_mutex_lock(&self->all->mutex);
    self->all->gone++;
    pthread_cond_broadcast(&self->all->changed);
    pthread_mutex_unlock(&self->all->mutex);
    return NULL;
}

/* Runs run on total ranks, data[r] for rank r, and returns what was noticed. */
static ranks ranks_run(int total, void (*run)(rank *self, void *data), void *const *data) {
    ranks all;
    rank each[RANKS_MOST];
    int r;
    memset(&all, 0, sizeof all);
    memset(each, 0, sizeof each);
    pthread_mutex_init(&all.mutex, NULL);
    pthread_cond_init(&all.changed, NULL);
    all.total = total;
    for (r = 0; r < total; r++) {
        each[r].all = &all;
        each[r].number = r;
        each[r].context = tws_default_context();
        each[r].context.threads = 1;
        each[r].context.reduce = ranks_reduce;
        each[r].context.reduce_user = &each[r];
        each[r].run = run;
        each[r].data = data[r];
        if (pthread_create(&each[r].thread, NULL, ranks_main, &each[r]) != 0) exit(1);
    }
    for (r = 0; r < total; r++) pthread_join(each[r].thread, NULL);
    for (r = 0; r < total; r++) free(all.copy[r]);
    pthread_cond_destroy(&all.changed);
    pthread_mutex_destroy(&all.mutex);
    return all;
}
#endif
#endif
