/* An allocator for tests: call number fail_at returns no memory, and what is out is counted. */
#ifndef FAILING_H
#define FAILING_H
#include <stdlib.h>

typedef struct failing {
    long calls, fail_at, out;
} failing;

static void *failing_allocate(void *user, size_t bytes) {
    failing *f = (failing *)user;
    if (f->calls++ == f->fail_at) return NULL;
    f->out++;
    return malloc(bytes);
}

static void failing_release(void *user, void *pointer) {
    ((failing *)user)->out--;
    free(pointer);
}

#endif
