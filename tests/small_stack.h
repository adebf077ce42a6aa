/* Runs a function in a thread whose stack is as large as the header says a call needs at most. */
#ifndef SMALL_STACK_H
#define SMALL_STACK_H
#include "check.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SMALL_STACK_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || __has_feature(thread_sanitizer)
#define SMALL_STACK_SANITIZED 1
#endif
#endif

/* Not under sanitizers, whose frames are larger, and not on aarch64, where no thread can have so small a
   stack: other rows and machines run it, so neither counts as skipped. */
#if defined(TWSI_PTHREADS) && !defined(SMALL_STACK_SANITIZED)
static void *small_stack_main(void *run) {
    (*(void (**)(void))run)();
    return NULL;
}

static inline void small_stack(void (*run)(void)) {
    pthread_attr_t attributes;
    pthread_t thread;
    CHECK(pthread_attr_init(&attributes) == 0);
    /* what is too large for the stack is not to step over its end into other memory */
    CHECK(pthread_attr_setguardsize(&attributes, 1 << 20) == 0);
    if (pthread_attr_setstacksize(&attributes, 65536) != 0)
        printf("no stack is as small as 64 KiB here\n");
    else if (CHECK(pthread_create(&thread, &attributes, small_stack_main, &run) == 0))
        CHECK(pthread_join(thread, NULL) == 0);
    pthread_attr_destroy(&attributes);
}
#else
static inline void small_stack(void (*run)(void)) { (void)run; }
#endif
#endif
