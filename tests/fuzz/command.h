/* The command in this process, in a folder of its own, on a machine with little memory, so that
   nothing takes long: a block above the limit is refused, and so is the 300th block of a run. In
   nine runs of ten the theory does not fit. Law: status 0, 1 or 2; a failure says why on standard
   error. Files with a slash in their name lead elsewhere and are not opened. */
#ifndef COMMAND_H
#define COMMAND_H
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE 1
#include <stddef.h>
static void *command_allocate(size_t bytes);
#define TWOSTEP_MALLOC(bytes) command_allocate(bytes)
#define TWOSTEP_FREE(pointer) free(pointer)
#define TWOSTEP_NO_SIMD /* one kernel: a third of the time to compile */
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "fuzz.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *said; /* in place of standard error */
static size_t memory_limit, blocks;

static void *command_allocate(size_t bytes) {
    return bytes > memory_limit || ++blocks > 300 ? NULL : malloc(bytes);
}

static FILE *command_fopen(const char *name, const char *mode) {
    if (strchr(name, '/') != NULL) return errno = EACCES, (FILE *)NULL;
    return fopen(name, mode);
}

static int command_open(const char *name, int flags, int mode) {
    const char *slash = strrchr(name, '/');
    char here[4096];
    if (slash != NULL && (getcwd(here, sizeof here) == NULL || strncmp(name, here, (size_t)(slash - name)) != 0 ||
                          strlen(here) != (size_t)(slash - name)))
        return errno = EACCES, -1;
    return open(name, flags, mode);
}

#define fopen command_fopen
#define open command_open
#undef stderr
#define stderr said
#define main twostep_main
#include "../../examples/twostep.c"
#undef main
#undef fopen
#undef open
#undef stderr
#define stderr fuzz_stderr()
static FILE *fuzz_stderr(void) { return fdopen(2, "w"); }

static unsigned long hash_of(const uint8_t *data, size_t size) {
    unsigned long hash = 5381;
    size_t k;
    for (k = 0; k < size; k++) hash = hash * 33 + data[k];
    return hash >> 4;
}

/* A folder below the current one. */
static void command_start(void) {
    static char folder[] = "fuzz.XXXXXX";
    static int ready;
    if (ready) return;
    if (mkdtemp(folder) == NULL || chdir(folder) != 0 || freopen("/dev/null", "w", stdout) == NULL) exit(2);
    ready = 1;
}

/* Runs it; nothing partial may be left of the file called out (NULL: not looked for). */
static int command_run(int count, char **arguments, unsigned long hash) {
    char line[4096] = "";
    int status, lines = 0;
    said = tmpfile();
    if (said == NULL) exit(2);
    memory_limit = hash % 10 == 0 ? 1500000 : 300000;
    blocks = 0;
    status = twostep_main(count, arguments);
    LAW(status == 0 || status == 1 || status == 2);
    fflush(said);
    rewind(said);
    while (fgets(line, sizeof line, said) != NULL) lines++;
    LAW(status == 0 || (lines >= 1 && strncmp(line, "twostep: ", 9) == 0));
    fclose(said);
    return status;
}

static void nothing_partial(const char *name) {
    char partial[400];
    int k;
    if (strlen(name) > 300 || strchr(name, '/') != NULL) return;
    for (k = 0; k < 2; k++) {
        snprintf(partial, sizeof partial, "%s.partial%d", name, k);
        LAW(access(partial, F_OK) != 0);
    }
}
#endif
