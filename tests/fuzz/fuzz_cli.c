/* The command on hostile arguments, one on each line of the input, at most forty. It runs in this
   process in a folder of its own. What would take long is answered in its place: experiments above
   2 million products, and after four of them, fail like a machine without memory; nine inputs in
   ten see a theory that refuses. Law: status 0, 1 or 2; a failure says one line on standard error,
   and says it there alone. */
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE 1
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "fuzz.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *said;         /* in place of standard error */
static unsigned long hash; /* of the input */
static int experiments;

static tws_status fuzz_run(tws_context *context, const tws_config *c, unsigned cases, tws_result *result) {
    const double work = (double)c->neurons * (double)c->inputs * (double)c->samples;
    if (tws_check(c, NULL, 0) == TWS_OK && (work > 2e6 || ++experiments > 4))
        return twsi_fail(context, TWS_OUT_OF_MEMORY, "no memory for the weights");
    return tws_run(context, c, cases, result);
}

static tws_status fuzz_limit_theory(tws_context *context, const tws_theory_input *input, tws_limit *limit) {
    if (hash % 10 != 0) return twsi_fail(context, TWS_BAD_ARGUMENT, "activation is not finite");
    return tws_limit_theory(context, input, limit);
}

static tws_status fuzz_predict(tws_context *context, const tws_theory_input *input, tws_prediction *one, tws_prediction *two) {
    if (hash % 10 != 0) return twsi_fail(context, TWS_BAD_ARGUMENT, "activation is not finite");
    return tws_predict(context, input, one, two);
}

/* Names with a slash lead elsewhere and are not opened. */
static FILE *fuzz_fopen(const char *name, const char *mode) {
    if (strchr(name, '/') != NULL) return errno = EACCES, (FILE *)NULL;
    return fopen(name, mode);
}

static int fuzz_open(const char *name, int flags, int mode) {
    const char *slash = strrchr(name, '/');
    char here[4096];
    if (slash != NULL && (getcwd(here, sizeof here) == NULL || strncmp(name, here, (size_t)(slash - name)) != 0 ||
                          strlen(here) != (size_t)(slash - name)))
        return errno = EACCES, -1;
    return open(name, flags, mode);
}

#define tws_run fuzz_run
#define tws_limit_theory fuzz_limit_theory
#define tws_predict fuzz_predict
#define fopen fuzz_fopen
#define open fuzz_open
#undef stderr
#define stderr said
#define main twostep_main
#include "../../examples/twostep.c"
#undef main
#undef fopen
#undef open

static void clean(const char *name) {
    int k;
    char partial[400];
    remove(name);
    for (k = 0; k < 2; k++) {
        snprintf(partial, sizeof partial, "%s.partial%d", name, k);
        LAW(access(partial, F_OK) != 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[2048], *arguments[44];
    static char folder[] = "/tmp/twostep-fuzz.XXXXXX";
    static int ready;
    char name[] = "twostep", line[4096] = "";
    int count = 1, status, lines = 0, i;
    size_t k;
    if (!ready) {
        if (mkdtemp(folder) == NULL || chdir(folder) != 0 || freopen("/dev/null", "w", stdout) == NULL) exit(2);
        ready = 1;
    }
    if (size >= sizeof text) size = sizeof text - 1;
    if (size > 0) memcpy(text, data, size);
    text[size] = '\0';
    for (hash = 5381, k = 0; k < size; k++) hash = hash * 33 + data[k];
    arguments[0] = name;
    for (k = 0; k < size && count < 40; k++) {
        arguments[count++] = text + k;
        while (k < size && text[k] != '\n') k++;
        text[k] = '\0';
    }
    arguments[count] = NULL;
    said = tmpfile();
    if (said == NULL) exit(2);
    experiments = 0;
    hash >>= 4;
    status = twostep_main(count, arguments);
    LAW(status == 0 || status == 1 || status == 2);
    fflush(said);
    rewind(said);
    while (fgets(line, sizeof line, said) != NULL) lines++;
    LAW(status == 0 || (lines >= 1 && strncmp(line, "twostep: ", 9) == 0));
    fclose(said);
    for (i = 1; i < count; i++) {
        const char *equals = strchr(arguments[i], '=');
        if (strchr(arguments[i], '/') == NULL && strlen(arguments[i]) < 300) clean(arguments[i]);
        if (equals != NULL && strchr(equals, '/') == NULL && strlen(equals) < 300) clean(equals + 1);
    }
    return 0;
}
