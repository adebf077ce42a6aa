/* The files of the command: results that are never torn, and which names go together.
 * A part of twostep.c, which includes it after its settings. */

static int file_failed(const char *what, const char *name) {
    fprintf(stderr, "twostep: cannot %s '%s': %s\n", what, name,
            errno != 0 ? strerror(errno) : "unknown error");
    return EXIT_FAILED;
}

static int is_standard_output(const char *name) { return name != NULL && strcmp(name, "-") == 0; }

static char *copy_text(const char *text, size_t room) {
    char *copy = (char *)malloc(strlen(text) + room + 1);
    if (copy != NULL) strcpy(copy, text);
    return copy;
}

#if !defined(_WIN32)
/* How many letters of a name are its folder, the last / included. */
static size_t folder_length(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash != NULL ? (size_t)(slash + 1 - name) : 0;
}
#endif

/* ---- what is no plain file ---- */

/* The number of the open stream that a name stands for, as /dev/stdout does; -1: none. Opened by
   its name, a file that the shell has opened there would be written from its beginning. */
static int descriptor_of(const char *name) {
    int number = 0;
    if (strcmp(name, "/dev/stdout") == 0) return 1;
    if (strcmp(name, "/dev/stderr") == 0) return 2;
    if (strncmp(name, "/dev/fd/", 8) != 0 || name[8] == '\0') return -1;
    for (name += 8; *name != '\0'; name++) {
        if (!isdigit((unsigned char)*name) || number > 99999) return -1;
        number = number * 10 + (*name - '0');
    }
    return number;
}

/* 1 when name takes bytes as they come: standard output, an open stream, a device, a pipe; *stream
   is then open, or NULL with errno set, also for a folder. 0: a plain file, or nothing is there. */
static int open_direct(const char *name, FILE **stream) {
    *stream = NULL;
    errno = 0;
    if (is_standard_output(name)) {
        *stream = stdout;
        return 1;
    }
#if !defined(_WIN32)
    {
        struct stat about;
#if !defined(__wasi__)
        const int descriptor = descriptor_of(name);
        if (descriptor >= 0) {
            const int copy = fflush(stdout) == 0 ? dup(descriptor) : -1;
            if (copy >= 0) *stream = fdopen(copy, "w");
            return 1;
        }
#endif
        if (stat(name, &about) != 0 || S_ISREG(about.st_mode)) return 0;
        if (S_ISDIR(about.st_mode)) errno = EISDIR;
        else *stream = fopen(name, "w");
        return 1;
    }
#else
    (void)descriptor_of;
    return 0;
#endif
}

/* ---- plain files ---- */

/* A file on its way: written beside its place under an unused name and renamed when whole. What is
   there already keeps its permissions, a link keeps pointing to its file, also to one that is not
   there yet, and what is no plain file is written to directly. */
typedef struct result_file {
    const char *name;
    char *place, *partial; /* where it will stand, and meanwhile; NULL when written directly */
    FILE *stream;
} result_file;

/* The place that a name leads to through links; NULL with errno set. */
static char *resolve_links(const char *name) {
    char *place = copy_text(name, 0);
#if !defined(_WIN32)
    int turn;
    for (turn = 0; place != NULL && turn < 40; turn++) {
        char target[4096], *next;
        const ssize_t length = readlink(place, target, sizeof target - 1);
        const size_t folder = length > 0 && target[0] != '/' ? folder_length(place) : 0;
        if (length < 0) return place; /* no link */
        target[length] = '\0';
        next = (char *)malloc(folder + (size_t)length + 1);
        if (next != NULL) {
            memcpy(next, place, folder);
            strcpy(next + folder, target);
        }
        free(place);
        place = next;
    }
    if (place != NULL) errno = ELOOP;
    free(place);
    return NULL;
#else
    return place;
#endif
}

/* Opens the first unused NAME.partialK; NULL with errno set. */
static FILE *open_partial(result_file *file) {
#if !defined(_WIN32)
    struct stat old;
    const int replaces = stat(file->place, &old) == 0;
    const mode_t mode = replaces ? old.st_mode & 0777 : 0666;
#endif
    int k;
    for (k = 0; k < 100; k++) {
        sprintf(file->partial, "%s.partial%d", file->place, k);
#if defined(_WIN32)
        FILE *taken = fopen(file->partial, "rb");
        if (taken == NULL) return fopen(file->partial, "w");
        fclose(taken);
#else
        const int descriptor = open(file->partial, O_WRONLY | O_CREAT | O_EXCL, mode);
#if !defined(__wasi__)
        if (descriptor >= 0 && replaces) (void)fchmod(descriptor, mode); /* umask has taken some */
#endif
        if (descriptor >= 0) return fdopen(descriptor, "w");
        if (errno != EEXIST) return NULL;
#endif
    }
    return NULL;
}

static int open_result(result_file *file, const char *name) {
    memset(file, 0, sizeof *file);
    file->name = is_standard_output(name) ? "standard output" : name;
    if (!open_direct(name, &file->stream)) {
        errno = 0;
        file->place = resolve_links(name);
        file->partial = file->place != NULL ? copy_text(file->place, 16) : NULL;
        if (file->partial != NULL) {
            errno = 0;
            file->stream = open_partial(file);
        }
        if (file->stream == NULL) {
            free(file->partial);
            free(file->place);
            file->partial = file->place = NULL;
        }
    }
    return file->stream != NULL ? 0 : file_failed("write", name);
}

/* Closes the stream; 1, with errno set, when not all could be written. */
static int end_writing(result_file *file) {
    int bad = ferror(file->stream) != 0;
    if (!bad) errno = 0; /* else it tells why */
    bad |= (file->stream == stdout ? fflush(stdout) : fclose(file->stream)) != 0;
    file->stream = NULL;
    return bad;
}

/* Puts what was written in its place, or drops it. */
static int place_result(result_file *file, int keep) {
    int bad = 0;
    if (file->partial == NULL) return 0;
    errno = 0;
#ifdef _WIN32
    if (keep) remove(file->place);
#endif
    if (keep) bad = rename(file->partial, file->place) != 0;
    if (bad) file_failed("write", file->place);
    if (bad || !keep) remove(file->partial);
    free(file->partial);
    free(file->place);
    file->partial = file->place = NULL;
    return bad ? EXIT_FAILED : 0;
}

/* Keeps the file, or drops it when keep is 0 or something went wrong on the way. */
static int close_result(result_file *file, int keep) {
    int bad;
    if (file->stream == NULL) return 0;
    bad = end_writing(file);
    if (bad && keep) file_failed("write", file->name);
    if (place_result(file, keep && !bad) != 0) bad = 1;
    return bad && keep ? EXIT_FAILED : 0;
}

/* ---- which names go together ---- */

/* 1 when two names are one plain file, also one that is not there yet. */
static int same_file(const char *a, const char *b) {
#if !defined(_WIN32)
    struct stat of_a, of_b;
    const int there = stat(a, &of_a) == 0;
    if (there != (stat(b, &of_b) == 0)) return 0;
    if (!there) { /* the same last part in the same folder */
        const size_t length_a = folder_length(a), length_b = folder_length(b);
        char folder_a[1024], folder_b[1024];
        if (strcmp(a + length_a, b + length_b) != 0) return 0;
        if (length_a >= sizeof folder_a || length_b >= sizeof folder_b) return strcmp(a, b) == 0;
        snprintf(folder_a, sizeof folder_a, "%.*s.", (int)length_a, a);
        snprintf(folder_b, sizeof folder_b, "%.*s.", (int)length_b, b);
        if (stat(folder_a, &of_a) != 0 || stat(folder_b, &of_b) != 0) return 0;
    }
    if (there && !S_ISREG(of_a.st_mode)) return 0; /* many may write to one device */
    return of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
#else
    return strcmp(a, b) == 0;
#endif
}

typedef struct named_file {
    const char *option_name, *name; /* name NULL: not given */
} named_file;

static int refuse_outputs(const named_file *a, const named_file *b) {
    if (a->name == NULL || b->name == NULL) return 0;
    if (is_standard_output(a->name) && is_standard_output(b->name))
        return misuse("%s and %s both go to standard output, only one can%s", a->option_name,
                      b->option_name, "");
    if (!is_standard_output(a->name) && !is_standard_output(b->name) && same_file(a->name, b->name))
        return misuse("%s and %s are both the file '%s', each needs one of its own", a->option_name,
                      b->option_name, b->name);
    return 0;
}

static int refuse_overwriting(const named_file *output, const char *input) {
    if (output->name == NULL || is_standard_output(output->name)) return 0;
    if (!same_file(output->name, input)) return 0;
    return misuse("%s is '%s', which is to be read: it would be lost%s", output->option_name,
                  output->name, "");
}

/* Every result needs a file of its own, and none may take the place of what is read. */
static int check_outputs(const settings *s) {
    named_file output[3] = {{"--json", NULL}, {"--svg", NULL}, {"--out", NULL}};
    const char *input[3];
    size_t i, k;
    int status = 0;
    output[0].name = s->json, output[1].name = s->svg, output[2].name = s->out;
    if (s->command == COMMAND_SWEEP && s->out == NULL) output[2].name = "-";
    input[0] = s->inputs_file, input[1] = s->labels_file, input[2] = s->directions_file;
    for (i = 0; i < 3; i++)
        for (k = i + 1; k < 3 && status == 0; k++) status = refuse_outputs(&output[i], &output[k]);
    for (i = 0; i < 3; i++)
        for (k = 0; k < 3 && status == 0; k++)
            if (input[k] != NULL) status = refuse_overwriting(&output[i], input[k]);
    for (i = 0; i < 2; i++) /* --out of --merge may be one of them: it then holds the rows of all */
        for (k = 0; k < s->file_count && status == 0; k++)
            status = refuse_overwriting(&output[i], s->files[k]);
    return status;
}

/* 1 when a table is to be printed: standard output is not that of a result. */
static int wants_report(const settings *s) {
    return !s->quiet && !is_standard_output(s->json) && !is_standard_output(s->svg) &&
           !is_standard_output(s->out);
}
