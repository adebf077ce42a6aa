/* Thread counts for tests, and a parallel_for that leaves nothing to chance: of so many workers number w
   runs the pieces w, w + threads, w + 2 threads, ..., each on a thread of its own where there are any. The
   library's own workers take the pieces as they come, so that one of them may do all of a small product. */
#ifndef SPREAD_H
#define SPREAD_H
#include "twostep.h"

enum { SPREAD_MOST = 16 };
#if defined(TEST_QUICK) || defined(TEST_TINY)
static const unsigned spread_counts[] = {1, 2, 3, 5, 8, SPREAD_MOST};
#else
static const unsigned spread_counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, SPREAD_MOST};
#endif
enum { SPREAD_COUNTS = sizeof spread_counts / sizeof *spread_counts };

typedef struct spread {
    unsigned threads;
    size_t busy; /* most workers that had a piece of the same job */
    size_t full; /* jobs that had a piece for each of them */
} spread;

typedef struct spread_worker {
    size_t first, step, count;
    tws_task task;
    void *data;
} spread_worker;

static void *spread_work(void *of) {
    const spread_worker *w = (const spread_worker *)of;
    size_t i;
    for (i = w->first; i < w->count; i += w->step) w->task(w->data, i, w->first);
    return NULL;
}

static inline void spread_for(void *user, size_t count, tws_task task, void *data) {
    spread *s = (spread *)user;
    spread_worker workers[SPREAD_MOST];
    const size_t many = count < s->threads ? count : s->threads;
    size_t busy = many > 0, w;
#ifdef TWSI_PTHREADS
    pthread_t threads[SPREAD_MOST];
    int started[SPREAD_MOST];
#endif
    for (w = 0; w < many; w++) {
        workers[w].first = w;
        workers[w].step = s->threads;
        workers[w].count = count;
        workers[w].task = task;
        workers[w].data = data;
    }
    for (w = 1; w < many; w++) {
#ifdef TWSI_PTHREADS
        started[w] = pthread_create(&threads[w], NULL, spread_work, &workers[w]) == 0;
        busy += started[w] != 0;
        if (!started[w]) spread_work(&workers[w]);
#else
        spread_work(&workers[w]); /* in its slot, if not at the same time */
        busy++;
#endif
    }
    if (many > 0) spread_work(&workers[0]);
#ifdef TWSI_PTHREADS
    for (w = 1; w < many; w++)
        if (started[w]) pthread_join(threads[w], NULL);
#endif
    if (busy > s->busy) s->busy = busy;
    s->full += busy == s->threads;
}

/* The context calls these workers from now on. */
static inline void spread_over(tws_context *context, spread *s, unsigned threads) {
    s->threads = threads;
    s->busy = s->full = 0;
    context->threads = threads;
    context->parallel_for = spread_for;
    context->parallel_user = s;
}
#endif
