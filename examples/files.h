/* Which files of the command go together.
 * A part of twostep.c, which includes it after its settings. */

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
