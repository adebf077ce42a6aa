/* sweep.h - the command `twostep sweep`: a grid of step exponents and seeds, as CSV.
 *
 * Part of examples/twostep.c, included there by name: it uses the settings, the result files and the
 * JSON of that file. examples/mpi/sweep.c runs the same over many processes.
 *
 * A cell is one (alpha1, alpha2, seed), a unit all cells of one (seed, alpha1): they share one matrix
 * product. Cells are numbered seed by seed, alpha1 by alpha1. A file holds
 *   # twostep VERSION sweep --neurons ... the whole configuration, as it would be typed
 *   alpha1,alpha2,seed,outliers,...       the names of the columns
 *   one row per cell, the singular values beyond the outliers left empty
 * and grows by whole units, each one write. A cell is the same bytes wherever it is computed, so a
 * file that was cut short is completed, and parts are merged, to the bytes of one uninterrupted run. */


#define SWEEP_LINE 4096 /* longest row: 6 + 2 x 64 numbers */
#define SWEEP_HEADER (600 + 2 * NAME_ROOM)
#define SWEEP_MOST_CELLS 1e7

enum { SWEEP_UNKNOWN, SWEEP_PREDICTED, SWEEP_REFUSED };

typedef struct sweep_table {
    settings *s;
    size_t rows, columns, seeds, cells; /* alpha1, alpha2, seeds and their product */
    double *alpha1, *alpha2;
    char **line;          /* each finished cell's row of the file, or NULL */
    size_t first, end;    /* the units of this shard */
    size_t wanted, done;  /* cells of this shard; those of them that are finished */
    size_t last;          /* the cell of the file's last row, plus one */
    int ordered;          /* 1: the file's rows are in order so far */
    unsigned char *skip;  /* rows x columns, for the seed in work */
    /* predictions, the same for all seeds: by alpha1, whether they are known; by cell */
    unsigned char *known;
    double *edge;
    size_t *outliers;
    char header[SWEEP_HEADER], names[2048]; /* the first two lines of the file */
} sweep_table;

/* ---- the configuration, as text ---- */

/* The shortest decimal that reads back as the same number. */
static const char *exact_number(double value, char *text, size_t size) {
    int digits;
    for (digits = 9; digits < 17; digits++) {
        snprintf(text, size, "%.*g", digits, value);
        if (!(strtod(text, NULL) < value) && !(strtod(text, NULL) > value)) return text;
    }
    snprintf(text, size, "%.17g", value);
    return text;
}

static void add_word(char *header, size_t size, const char *format, const char *word) {
    const size_t length = strlen(header);
    snprintf(header + length, size - length, format, word);
}

static void add_number(char *header, size_t size, const char *name, double value) {
    char number[40];
    add_word(header, size, " %s", name);
    add_word(header, size, " %s", exact_number(value, number, sizeof number));
}

static void add_range(char *header, size_t size, const char *name, const range *r) {
    char number[40];
    add_word(header, size, " %s", name);
    add_word(header, size, " %s", exact_number(r->low, number, sizeof number));
    add_word(header, size, ":%s", exact_number(r->high, number, sizeof number));
    add_word(header, size, ":%s", exact_number(r->count, number, sizeof number));
}

/* The first line of the file, without the end of line. Every choice that shapes a cell is in it. */
static void sweep_header(const settings *s, char *header, size_t size) {
    const tws_config *c = &s->config;
    char seed[24];
    snprintf(header, size, "# twostep %s%s sweep", TWS_VERSION_TEXT, sizeof(tws_real) > 4 ? " double" : "");
    add_number(header, size, "--neurons", s->neurons);
    add_number(header, size, "--inputs", s->inputs);
    add_number(header, size, "--samples", s->samples);
    add_range(header, size, "--alpha1", &s->alphas1);
    add_range(header, size, "--alpha2", &s->alphas2);
    add_number(header, size, "--scale1", c->scale1);
    add_number(header, size, "--scale2", c->scale2);
    add_word(header, size, " --activation %s", s->activation);
    add_word(header, size, " --target %s", s->target);
    add_number(header, size, "--noise", c->noise);
    add_word(header, size, " --batches %s", c->batches == TWS_FRESH ? "fresh" : "reuse");
    add_word(header, size, " --init %s", c->init == TWS_SPHERE ? "sphere" : "gaussian");
    if (c->output_scale < 0.0) add_word(header, size, " --output-scale %s", "mean-field");
    else add_number(header, size, "--output-scale", c->output_scale);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)c->seed);
    add_word(header, size, " --seed %s", seed);
    add_number(header, size, "--seeds", s->seeds);
    add_number(header, size, "--top", s->top);
    add_word(header, size, " --kernel %s", tws_kernel_name(tws_context_kernel(&s->context)));
    if (s->no_theory) add_word(header, size, "%s", " --no-theory");
}

static void sweep_names(const settings *s, char *names, size_t size) {
    char number[16];
    int k, which;
    snprintf(names, size, "alpha1,alpha2,seed,outliers,predicted_outliers,limit_outliers");
    for (which = 0; which < 2; which++)
        for (k = 1; k <= (int)s->top; k++) {
            snprintf(number, sizeof number, "%d", k);
            add_word(names, size, which ? ",align%s" : ",s%s", number);
        }
    add_word(names, size, "%s", ",captured");
}

/* Text of a file for a sentence: without what would move the cursor. */
static const char *tame(char *text) {
    char *at;
    for (at = text; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f) *at = '?';
    return text;
}

/* Another system's editor may have changed the line ends. */
static int check_line_end(const char *name, const char *line, size_t length) {
    if (length == 0 || line[length - 1] != '\r') return 0;
    return misuse("'%s' has line ends of CR LF, those of 'twostep sweep' are plain LF%s%s", name, "", "");
}

/* Says where two headers differ. */
static int other_configuration(const char *name, const char *theirs, const char *ours) {
    char option_name[NAME_ROOM] = "", a[NAME_ROOM], b[NAME_ROOM];
    for (;;) {
        const size_t la = strcspn(theirs, " "), lb = strcspn(ours, " ");
        snprintf(a, sizeof a, "%.*s", (int)la, theirs);
        snprintf(b, sizeof b, "%.*s", (int)lb, ours);
        if (strcmp(a, b) != 0) break;
        snprintf(option_name, sizeof option_name, "%s", a);
        if (theirs[la] == '\0' || ours[lb] == '\0') break;
        theirs += la + 1;
        ours += lb + 1;
    }
    if (strcmp(a, "double") == 0 && strcmp(b, "sweep") == 0)
        fprintf(stderr, "twostep: '%s' was made with numbers of double, this build has float: compile with "
                        "-DTWOSTEP_DOUBLE\n", name);
    else if (strcmp(a, "sweep") == 0 && strcmp(b, "double") == 0)
        fprintf(stderr, "twostep: '%s' was made with numbers of float, this build has double: compile without "
                        "-DTWOSTEP_DOUBLE\n", name);
    else if (strncmp(option_name, "--", 2) != 0)
        fprintf(stderr, "twostep: '%s' was not made by 'twostep sweep' of version %s, which alone can go on with it\n",
                name, TWS_VERSION_TEXT);
    else
        fprintf(stderr, "twostep: '%s' was made with %s %s, here it is %s; both must be the same sweep\n", name,
                option_name, tame(a), b);
    return EXIT_MISUSE;
}

/* Reads the settings back from the first line of a file; words is cut up and must outlive them. */
static int settings_from_header(settings *s, const char *name, char *words) {
    char *word[64], **arguments = word, *place;
    int count = 0, status;
    char *options_start = strstr(words, " --");
    if (strncmp(words, "# twostep ", 10) != 0 || options_start == NULL) {
        fprintf(stderr, "twostep: '%s' is no file of 'twostep sweep': its first line must begin with '# twostep'\n", name);
        return EXIT_MISUSE;
    }
    for (place = strtok(options_start, " "); place != NULL && count < 64; place = strtok(NULL, " ")) word[count++] = place;
    default_settings(s, COMMAND_SWEEP);
    status = parse_options(s, count, arguments);
    return status == 0 ? settle_settings(s) : status;
}

/* ---- the table ---- */

static double range_value(const range *r, size_t k) {
    return r->count < 2 ? r->low : r->low + (r->high - r->low) * ((double)k / (r->count - 1.0));
}

static void close_table(sweep_table *t) {
    size_t i;
    for (i = 0; t->line != NULL && i < t->cells; i++) free(t->line[i]);
    free(t->line);
    free(t->alpha1);
    free(t->alpha2);
    free(t->skip);
    free(t->known);
    free(t->edge);
    free(t->outliers);
    memset(t, 0, sizeof *t);
}

/* The grid alone: who computes it says in which order, and hears of the cells. */
static tws_sweep_plan plan_of(const sweep_table *t) {
    tws_sweep_plan plan;
    memset(&plan, 0, sizeof plan);
    plan.alpha1 = t->alpha1;
    plan.rows = t->rows;
    plan.alpha2 = t->alpha2;
    plan.columns = t->columns;
    return plan;
}

static int no_memory(void) {
    fprintf(stderr, "twostep: out of memory\n");
    return EXIT_FAILED;
}

/* Units of shard I of M: contiguous, so that a seed's data are made by few shards. */
static void choose_shard(sweep_table *t, double shard, double shards) {
    const double units = (double)(t->seeds * t->rows);
    t->first = (size_t)floor(units * (shard - 1.0) / shards);
    t->end = (size_t)floor(units * shard / shards);
    t->wanted = (t->end - t->first) * t->columns;
}

static int open_table(sweep_table *t, settings *s) {
    char number[32];
    size_t i;
    memset(t, 0, sizeof *t);
    t->s = s;
    /* AUTO may take another kernel for small products. Its answer in a header must mean what AUTO
       does, so to name that kernel is to ask for AUTO: one header, one set of bytes. */
    if (s->context.kernel == tws_context_kernel(NULL)) s->context.kernel = TWS_KERNEL_AUTO;
    t->rows = (size_t)s->alphas1.count;
    t->columns = (size_t)s->alphas2.count;
    t->seeds = (size_t)s->seeds;
    t->ordered = 1;
    if (s->alphas1.count * s->alphas2.count * s->seeds > SWEEP_MOST_CELLS) {
        snprintf(number, sizeof number, "%.9g", s->alphas1.count * s->alphas2.count * s->seeds);
        return misuse("--alpha1, --alpha2 and --seeds make %s cells, they may make at most 1e7%s%s", number, "", "");
    }
    t->cells = t->rows * t->columns * t->seeds;
    t->line = (char **)calloc(t->cells, sizeof *t->line);
    t->alpha1 = (double *)calloc(t->rows, sizeof(double));
    t->alpha2 = (double *)calloc(t->columns, sizeof(double));
    t->skip = (unsigned char *)calloc(t->rows, t->columns);
    t->known = (unsigned char *)calloc(t->rows, 1);
    t->edge = (double *)calloc(t->rows * t->columns, sizeof(double));
    t->outliers = (size_t *)calloc(t->rows * t->columns, sizeof(size_t));
    if (t->line == NULL || t->alpha1 == NULL || t->alpha2 == NULL || t->skip == NULL || t->known == NULL ||
        t->edge == NULL || t->outliers == NULL) {
        close_table(t);
        return no_memory();
    }
    for (i = 0; i < t->rows; i++) t->alpha1[i] = range_value(&s->alphas1, i);
    for (i = 0; i < t->columns; i++) t->alpha2[i] = range_value(&s->alphas2, i);
    choose_shard(t, s->shard, s->shards);
    sweep_header(s, t->header, sizeof t->header);
    sweep_names(s, t->names, sizeof t->names);
    return 0;
}

/* ---- rows as text ---- */

static size_t field_count(const sweep_table *t) { return 7 + 2 * (size_t)t->s->top; }

/* Field number index of a row: a copy in field; its length, or -1 where there is none. */
static int row_field(const char *line, size_t index, char *field, size_t size) {
    size_t length;
    for (; index > 0; index--) {
        line = strchr(line, ',');
        if (line == NULL) return -1;
        line++;
    }
    length = strcspn(line, ",");
    if (length >= size) return -1;
    memcpy(field, line, length);
    field[length] = '\0';
    return (int)length;
}

/* Field number index as a number; NaN where it is empty. */
static double row_number(const char *line, size_t index) {
    char field[40];
    double value;
    if (row_field(line, index, field, sizeof field) <= 0 || !parse_real(field, &value)) return (double)NAN;
    return value;
}

/* The place of a number in a list of increasing ones, by its nine digits; count if it is not there. */
static size_t place_of(const double *list, size_t count, const char *text) {
    char own[40];
    size_t i;
    for (i = 0; i < count; i++) {
        snprintf(own, sizeof own, "%.9g", list[i]);
        if (strcmp(own, text) == 0) return i;
    }
    return count;
}

/* A number as JSON has it, which is how rows write them. */
static int is_json_number(const char *text) {
    text += *text == '-';
    if (!isdigit((unsigned char)*text) || (text[0] == '0' && isdigit((unsigned char)text[1]))) return 0;
    text += strspn(text, "0123456789");
    if (*text == '.') {
        if (!isdigit((unsigned char)*++text)) return 0;
        text += strspn(text, "0123456789");
    }
    if (*text == 'e' || *text == 'E') {
        text += text[1] == '-' || text[1] == '+' ? 2 : 1;
        if (!isdigit((unsigned char)*text)) return 0;
        text += strspn(text, "0123456789");
    }
    return *text == '\0';
}

/* The cell that a row is about; t->cells if it is no whole row of this sweep. */
static size_t cell_of(const sweep_table *t, const char *line) {
    const size_t fields = field_count(t);
    char text[40];
    size_t row, column, i;
    uint64_t seed;
    if (row_field(line, 0, text, sizeof text) <= 0) return t->cells;
    row = place_of(t->alpha1, t->rows, text);
    if (row_field(line, 1, text, sizeof text) <= 0) return t->cells;
    column = place_of(t->alpha2, t->columns, text);
    if (row_field(line, 2, text, sizeof text) <= 0 || !is_json_number(text) || !parse_seed(text, &seed))
        return t->cells;
    if (row == t->rows || column == t->columns || seed < t->s->config.seed ||
        seed - t->s->config.seed >= t->seeds)
        return t->cells;
    for (i = 3; i < fields; i++) {
        double value;
        const int length = row_field(line, i, text, sizeof text);
        if (length < 0 || (length > 0 && (!is_json_number(text) || !parse_real(text, &value)))) return t->cells;
        if (i < 6 && strspn(text, "0123456789") < (size_t)length) return t->cells; /* counts */
        if (length == 0 && (i == 3 || i + 1 == fields)) return t->cells;
    }
    if (row_field(line, fields, text, sizeof text) >= 0) return t->cells;
    return ((size_t)(seed - t->s->config.seed) * t->rows + row) * t->columns + column;
}

/* Adds a row; 0, or the sentence's exit status. The row that is there already must be the same. */
static int keep_row(sweep_table *t, const char *name, size_t cell, const char *line) {
    const size_t unit = cell / t->columns;
    if (t->line[cell] != NULL) {
        if (strcmp(t->line[cell], line) == 0) {
            t->ordered = 0;
            return 0;
        }
        fprintf(stderr, "twostep: '%s' has another row than was there for the same cell, '%.40s...'\n", name, line);
        return EXIT_FAILED;
    }
    t->line[cell] = copy_text(line, 0);
    if (t->line[cell] == NULL) return no_memory();
    if (cell + 1 <= t->last) t->ordered = 0;
    t->last = cell + 1;
    if (unit >= t->first && unit < t->end) t->done++;
    return 0;
}

/* The row of a cell from its spectrum, whose edge is raised to the predicted one as in `run`. */
static void write_row(const sweep_table *t, size_t cell, const tws_spectrum *measured, char *line, size_t size) {
    const size_t column = cell % t->columns, row = cell / t->columns % t->rows, top = (size_t)t->s->top;
    const size_t seed = cell / t->columns / t->rows, place = row * t->columns + column;
    const int known = t->known[row] == SWEEP_PREDICTED;
    tws_theory_input input = tws_theory_from_config(&t->s->config);
    tws_spectrum m = *measured;
    size_t length, k;
    input.alpha1 = t->alpha1[row];
    input.alpha2 = t->alpha2[column];
    if (known) tws_count_outliers(&m, t->edge[place]);
    length = (size_t)snprintf(line, size, "%.9g,%.9g,%llu,%lu,", input.alpha1, input.alpha2,
                              (unsigned long long)t->s->config.seed + seed, (unsigned long)m.outliers);
    if (known) length += (size_t)snprintf(line + length, size - length, "%lu", (unsigned long)t->outliers[place]);
    length += (size_t)snprintf(line + length, size - length, ",%lu", (unsigned long)tws_limit_orders(&input));
    for (k = 0; k < 2 * top; k++) {
        const size_t i = k < top ? k : k - top;
        line[length++] = ',';
        line[length] = '\0';
        if (i < m.outliers)
            length += (size_t)snprintf(line + length, size - length, "%.9g",
                                       k < top ? m.singular_values[i] : m.alignments[i]);
    }
    snprintf(line + length, size - length, ",%.9g", m.captured);
}

/* ---- predictions ---- */

/* Edges and counts of one row of the grid, unless they are known. What only the theory cannot do
   leaves the column empty. */
static int predict_row(sweep_table *t, size_t row) {
    settings *s = t->s;
    tws_theory_input input = tws_theory_from_config(&s->config);
    tws_status status;
    if (t->known[row] != SWEEP_UNKNOWN || s->no_theory) return 0;
    input.alpha1 = t->alpha1[row];
    status = tws_predict_counts(&s->context, &input, t->alpha2, t->columns, t->edge + row * t->columns,
                                t->outliers + row * t->columns);
    if (status == TWS_OUT_OF_MEMORY) return explain(s, status);
    t->known[row] = status == TWS_OK ? SWEEP_PREDICTED : SWEEP_REFUSED;
    if (status != TWS_OK && t->s->progress)
        fprintf(stderr, "twostep: no prediction: %s\n", s->context.message);
    return 0;
}

/* ---- progress ---- */

typedef struct sweep_clock {
    double start, told;
    size_t before, wanted; /* cells that were there at the start; cells of all */
    int terminal, on;
} sweep_clock;

static void start_clock(sweep_clock *c, const settings *s, size_t before, size_t wanted) {
    memset(c, 0, sizeof *c);
#if !defined(_WIN32)
    c->terminal = isatty(2);
#endif
    c->on = (c->terminal && !s->quiet) || s->progress;
    c->start = c->told = seconds_now();
    c->before = before;
    c->wanted = wanted;
}

/* A line that overwrites itself on a terminal; elsewhere at most one a second. */
static void tell_progress(sweep_clock *c, size_t done) {
    const double now = seconds_now(), spent = now - c->start;
    const double rate = spent > 0.0 ? (double)(done - c->before) / spent : 0.0;
    const int last = done == c->wanted;
    if (!c->on || (!last && now - c->told < (c->terminal ? 0.1 : 1.0))) return;
    c->told = now;
    fprintf(stderr, "%s%lu of %lu cells, %.3g a second", c->terminal ? "\r" : "", (unsigned long)done,
            (unsigned long)c->wanted, rate);
    if (last) fprintf(stderr, ", %.1f s in all%s\n", spent, c->terminal ? "      " : "");
    else if (rate > 0.0) fprintf(stderr, ", %.0f s left%s", (double)(c->wanted - done) / rate, c->terminal ? "    " : "\n");
    fflush(stderr);
}

/* ---- the file ---- */

typedef struct sweep_file {
    const char *name;
    FILE *stream;
    int plain; /* 1: a file of its own, synchronised to the disk after every unit */
} sweep_file;

/* The whole of a stream, zero-terminated; NULL with errno set. */
static char *read_all(FILE *f, size_t *length) {
    size_t room = 65536, got;
    char *text = (char *)malloc(room);
    *length = 0;
    while (text != NULL && (got = fread(text + *length, 1, room - *length - 1, f)) > 0) {
        *length += got;
        if (room - *length < 32768) {
            char *more = (char *)realloc(text, room *= 2);
            if (more == NULL) free(text);
            text = more;
        }
    }
    if (text != NULL && ferror(f)) {
        free(text);
        return NULL;
    }
    if (text != NULL) text[*length] = '\0';
    return text;
}

static char *read_file(const char *name, size_t *length) {
    FILE *f;
    char *text;
    errno = 0;
    f = fopen(name, "rb");
    text = f != NULL ? read_all(f, length) : NULL;
    if (f != NULL) fclose(f);
    if (text == NULL) file_failed("read", name);
    return text;
}

/* Takes the rows of a file's text, which is cut up, into the table. *good: the length of what is
   whole; a last row without an end, or that is no row, is dropped. */
static int take_rows(sweep_table *t, const char *name, char *text, size_t length, size_t *good) {
    char *line = text, *end = (char *)memchr(text, '\n', length);
    size_t number = 1;
    *good = 0;
    if (end == NULL) { /* not even a whole header: nothing is lost if it is the beginning of ours */
        if (length <= strlen(t->header) && strncmp(text, t->header, length) == 0) return 0;
        return other_configuration(name, text, t->header);
    }
    if (check_line_end(name, text, (size_t)(end - text)) != 0) return EXIT_MISUSE;
    *end = '\0';
    if (strcmp(line, t->header) != 0) return other_configuration(name, line, t->header);
    for (line = end + 1; (end = (char *)memchr(line, '\n', length - (size_t)(line - text))) != NULL; line = end + 1) {
        size_t cell = 0;
        int status;
        number++;
        *end = '\0';
        if (number > 2 ? (cell = cell_of(t, line)) == t->cells : strcmp(line, t->names) != 0) {
            if (end + 1 == text + length) break; /* a torn last row that happens to have an end */
            fprintf(stderr, "twostep: line %lu of '%s' is not a row of this sweep: '%.40s'\n", (unsigned long)number,
                    name, tame(line));
            return EXIT_FAILED;
        }
        *good = (size_t)(end + 1 - text);
        status = number > 2 ? keep_row(t, name, cell, line) : 0;
        if (status != 0) return status;
    }
    return 0;
}

/* One process at a time may write the file. */
static int lock_file(const sweep_file *file) {
#if defined(_WIN32)
    (void)file;
#else
    struct flock lock;
    memset(&lock, 0, sizeof lock);
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (fcntl(fileno(file->stream), F_SETLK, &lock) != 0 && (errno == EACCES || errno == EAGAIN)) {
        fprintf(stderr, "twostep: '%s' is being written by another run\n", file->name);
        return EXIT_FAILED;
    }
#endif
    return 0;
}

static int sync_file(sweep_file *file) {
    errno = 0;
    if (fflush(file->stream) != 0 || ferror(file->stream)) return file_failed("write", file->name);
#if !defined(_WIN32)
    if (file->plain && fsync(fileno(file->stream)) != 0 && errno != EINVAL && errno != EROFS)
        return file_failed("write", file->name);
#endif
    return 0;
}

static int cut_file(sweep_file *file, size_t length) {
    errno = 0;
#if !defined(_WIN32)
    if (ftruncate(fileno(file->stream), (off_t)length) != 0) return file_failed("write", file->name);
#else
    if (_chsize_s(_fileno(file->stream), (long long)length) != 0) return file_failed("write", file->name);
#endif
    if (fseek(file->stream, 0, SEEK_END) != 0) return file_failed("write", file->name);
    return 0;
}

/* Opens the file to append to, with the rows that are in it already. */
static int open_sweep_file(sweep_table *t, sweep_file *file, const char *name) {
    int status = 0;
    size_t length = 0, good = 0;
    char *text = NULL;
    memset(file, 0, sizeof *file);
    if (name == NULL) name = "-";
    file->name = is_standard_output(name) ? "standard output" : name;
    if (!open_direct(name, &file->stream)) {
        errno = 0;
        file->plain = 1;
        file->stream = fopen(name, "ab+"); /* creates it, loses nothing */
    }
    if (file->stream == NULL) return file_failed("write", name);
    if (file->plain) {
        status = lock_file(file);
        if (status == 0) {
            rewind(file->stream);
            text = read_all(file->stream, &length);
            if (text == NULL) status = file_failed("read", name);
        }
        if (status == 0 && length > 0 && !t->s->resume)
            status = misuse("'%s' is there already: add --resume to go on with it, or remove it%s%s", name, "", "");
        if (status == 0 && length > 0) status = take_rows(t, name, text, length, &good);
        if (status == 0) status = cut_file(file, good);
        free(text);
    }
    if (status == 0 && good == 0) {
        fprintf(file->stream, "%s\n%s\n", t->header, t->names);
        status = sync_file(file);
    }
    return status;
}

static int close_sweep_file(sweep_file *file, int status) {
    if (file->stream == NULL) return status;
    if (file->stream != stdout) {
        errno = 0;
        if (fclose(file->stream) != 0 && status == 0) status = file_failed("write", file->name);
    }
    file->stream = NULL;
    return status;
}

/* The whole table in order, in place of the file. */
static int write_table(const sweep_table *t, const char *name) {
    result_file file;
    size_t cell;
    if (open_result(&file, name) != 0) return EXIT_FAILED;
    fprintf(file.stream, "%s\n%s\n", t->header, t->names);
    for (cell = 0; cell < t->cells; cell++)
        if (t->line[cell] != NULL) fprintf(file.stream, "%s\n", t->line[cell]);
    return close_result(&file, 1);
}

/* ---- computing ---- */

typedef struct sweep_work_state {
    sweep_table *table;
    sweep_file *file;
    sweep_clock clock;
    size_t seed, row; /* in work */
    int status;       /* the exit status of a report that failed */
} sweep_work_state;

/* What is not to be computed for a seed: cells of other shards, and those that are there. Returns
   the number of cells left. */
static size_t choose_cells(sweep_table *t, size_t seed) {
    size_t row, column, left = 0;
    for (row = 0; row < t->rows; row++)
        for (column = 0; column < t->columns; column++) {
            const size_t unit = seed * t->rows + row;
            const int skip = unit < t->first || unit >= t->end || t->line[unit * t->columns + column] != NULL;
            t->skip[row * t->columns + column] = (unsigned char)skip;
            left += !skip;
        }
    return left;
}

/* The next row with a cell to compute. */
static int next_row(void *user, size_t *row) {
    sweep_work_state *work_state = (sweep_work_state *)user;
    const sweep_table *t = work_state->table;
    for (; work_state->row < t->rows; work_state->row++) {
        size_t column;
        for (column = 0; column < t->columns; column++)
            if (!t->skip[work_state->row * t->columns + column]) {
                *row = work_state->row++;
                return 1;
            }
    }
    return 0;
}

/* The rows of a unit as text, one after the other, cells not wanted left out; NULL: out of memory. */
static char *unit_text(const sweep_table *t, size_t seed, size_t row, const tws_spectrum *cells) {
    char *text = (char *)malloc(t->columns * SWEEP_LINE + 1), *place = text;
    size_t column;
    if (text == NULL) return NULL;
    *text = '\0';
    for (column = 0; column < t->columns; column++) {
        if (t->skip[row * t->columns + column]) continue;
        write_row(t, (seed * t->rows + row) * t->columns + column, &cells[column], place, SWEEP_LINE - 1);
        place += strlen(place);
        *place++ = '\n';
        *place = '\0';
    }
    return text;
}

/* Appends the rows of a unit to the file, in one piece, and keeps them; text is cut up. */
static int store_unit(sweep_table *t, sweep_file *file, char *text) {
    char *line, *end;
    int status;
    errno = 0;
    fputs(text, file->stream);
    status = sync_file(file);
    for (line = text; status == 0 && (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        status = keep_row(t, file->name, cell_of(t, line), line);
    }
    return status;
}

static int report_row(void *user, size_t row, const tws_spectrum *cells) {
    sweep_work_state *work_state = (sweep_work_state *)user;
    sweep_table *t = work_state->table;
    char *text;
    work_state->status = predict_row(t, row);
    if (work_state->status != 0) return 1;
    text = unit_text(t, work_state->seed, row, cells);
    work_state->status = text != NULL ? store_unit(t, work_state->file, text) : no_memory();
    free(text);
    if (work_state->status == 0) tell_progress(&work_state->clock, t->done);
    return work_state->status;
}

/* All cells of this shard that are not there yet. */
static int compute_table(sweep_table *t, sweep_file *file) {
    settings *s = t->s;
    sweep_work_state work_state;
    tws_sweep_plan plan;
    size_t seed;
    memset(&work_state, 0, sizeof work_state);
    work_state.table = t;
    work_state.file = file;
    start_clock(&work_state.clock, s, t->done, t->wanted);
    plan = plan_of(t);
    plan.skip = t->skip;
    plan.next = next_row;
    plan.report = report_row;
    plan.user = &work_state;
    for (seed = 0; seed < t->seeds; seed++) {
        tws_config config = s->config;
        tws_status status;
        if (choose_cells(t, seed) == 0) continue;
        config.seed += seed;
        work_state.seed = seed;
        work_state.row = 0;
        status = tws_sweep(&s->context, &config, &plan);
        if (work_state.status != 0) return work_state.status;
        if (status == TWS_NOT_CONVERGED) fprintf(stderr, "twostep: seed %llu: %s\n", (unsigned long long)config.seed, s->context.message);
        else if (status != TWS_OK) return explain(s, status);
    }
    return 0;
}

/* ---- what is made of the table ---- */

/* Mean over the seeds that are there of one field; NaN where there is none. */
static double mean_field(const sweep_table *t, size_t row, size_t column, size_t field) {
    double sum = 0.0;
    size_t seed, count = 0;
    for (seed = 0; seed < t->seeds; seed++) {
        const char *line = t->line[(seed * t->rows + row) * t->columns + column];
        const double value = line != NULL ? row_number(line, field) : (double)NAN;
        if (!(value - value <= 0.0)) continue;
        sum += value;
        count++;
    }
    return count > 0 ? sum / (double)count : (double)NAN;
}

/* Counts that stand side by side have the same colours. */
static void share_colours(plot_map *a, plot_map *b, size_t size) {
    double most = 0.0;
    size_t k;
    for (k = 0; k < size; k++) most = fmax(most, fmax(a->values[k], b->values[k])); /* NaN is passed over */
    a->high = b->high = most;
}

static int draw_table(const sweep_table *t, const char *name) {
    const settings *s = t->s;
    const size_t size = t->rows * t->columns;
    double *values = (double *)calloc(3 * size, sizeof(double));
    char title[256], note[400];
    result_file file;
    plot_map maps[3];
    plot_phase phase;
    plot_out out;
    size_t row, column, k;
    int bad;
    if (values == NULL) return no_memory();
    for (column = 0; column < t->columns; column++)
        for (row = 0; row < t->rows; row++)
            for (k = 0; k < 3; k++)
                values[k * size + column * t->rows + row] =
                    mean_field(t, row, column, k == 0 ? 3 : k == 1 ? 4 : field_count(t) - 1);
    memset(maps, 0, sizeof maps);
    memset(&phase, 0, sizeof phase);
    for (k = 0; k < 3; k++) maps[k].values = values + k * size;
    maps[0].title = t->seeds > 1 ? "outliers, measured, mean" : "outliers, measured";
    maps[1].title = "outliers, predicted";
    maps[2].title = "captured of the target";
    maps[0].whole = t->seeds == 1;
    maps[1].whole = 1;
    share_colours(maps, maps + 1, size);
    maps[2].high = sqrt((double)s->config.target.directions); /* when all of them are captured */
    snprintf(title, sizeof title, "What two steps learn: %.60s target, %.60s, %s batch", s->target, s->activation,
             s->config.batches == TWS_FRESH ? "fresh" : "reused");
    snprintf(note, sizeof note, "N = %.9g, d = %.9g, n = %.9g, scales %.4g and %.4g, %.9g seed%s. Lines: order k leaves the bulk in the limit.",
             s->neurons, s->inputs, s->samples, s->config.scale1, s->config.scale2, s->seeds, s->seeds > 1 ? "s" : "");
    phase.title = title;
    phase.note = note;
    phase.alpha1 = t->alpha1;
    phase.alpha1_count = t->rows;
    phase.alpha2 = t->alpha2;
    phase.alpha2_count = t->columns;
    phase.maps = maps;
    phase.map_count = 3;
    bad = open_result(&file, name);
    if (bad == 0) {
        out = plot_to_file(file.stream);
        errno = 0;
        bad = plot_phase_svg(&out, &phase);
        if (bad != 0) file_failed("write", file.name);
        plot_free(&out);
        if (close_result(&file, bad == 0) != 0) bad = EXIT_FAILED;
    }
    free(values);
    return bad != 0 ? EXIT_FAILED : 0;
}

static void json_numbers(FILE *f, const char *name, const char *line, size_t first, size_t most) {
    size_t k;
    fprintf(f, ", \"%s\": [", name);
    for (k = 0; k < most; k++) {
        const double value = row_number(line, first + k);
        if (!(value - value <= 0.0)) break;
        fprintf(f, "%s%.9g", k ? ", " : "", value);
    }
    fputc(']', f);
}

static int json_table(const sweep_table *t, const char *name) {
    const settings *s = t->s;
    const size_t top = (size_t)s->top;
    const char *separator = "";
    result_file file;
    FILE *f;
    size_t cell, k;
    if (open_result(&file, name) != 0) return EXIT_FAILED;
    f = file.stream;
    fprintf(f, "{ \"version\": \"%s\", \"command\": \"sweep\",\n", TWS_VERSION_TEXT);
    json_config(f, s);
    for (k = 0; k < 2; k++) {
        const double *list = k ? t->alpha2 : t->alpha1;
        const size_t count = k ? t->columns : t->rows;
        size_t i;
        fprintf(f, ",\n  \"alpha%d\": [", k ? 2 : 1);
        for (i = 0; i < count; i++) fprintf(f, "%s%.9g", i ? ", " : "", list[i]);
        fputc(']', f);
    }
    fprintf(f, ",\n  \"seeds\": %lu,\n  \"cells\": [", (unsigned long)t->seeds);
    for (cell = 0; cell < t->cells; cell++) {
        static const char *const field[] = {"alpha1", "alpha2", "seed", "outliers", "predicted_outliers", "limit_outliers"};
        const char *line = t->line[cell];
        char text[40];
        if (line == NULL) continue;
        fprintf(f, "%s\n    { ", separator);
        separator = ",";
        for (k = 0; k < 6; k++)
            fprintf(f, "%s\"%s\": %s", k ? ", " : "", field[k],
                    row_field(line, k, text, sizeof text) > 0 ? text : "null");
        json_numbers(f, "singular_values", line, 6, top);
        json_numbers(f, "alignments", line, 6 + top, top);
        fprintf(f, ", \"captured\": %.9g }", row_number(line, 6 + 2 * top));
    }
    fputs(" ] }\n", f);
    return close_result(&file, 1);
}

/* The count of outliers, measured and predicted, alpha2 upwards and alpha1 to the right. */
static void print_table(const sweep_table *t) {
    size_t row, column, k;
    const size_t width = t->seeds > 1 ? 4 : 2;
    print_header(t->s);
    printf("outliers of W2, measured%s and predicted ('.': not computed)\n\n", t->seeds > 1 ? " (mean over seeds)" : "");
    for (column = t->columns; column-- > 0;) {
        printf("%7.3f |", t->alpha2[column]);
        for (k = 0; k < 2; k++) {
            for (row = 0; row < t->rows; row++) {
                const double value = mean_field(t, row, column, 3 + k);
                if (!(value - value <= 0.0)) printf("%*s", (int)width, ".");
                else printf("%*.*f", (int)width, width > 2 && k == 0 ? 1 : 0, value);
            }
            if (k == 0) printf("   |");
        }
        printf("\n");
    }
    printf(" alpha2  alpha1 from %.3g to %.3g\n", t->alpha1[0], t->alpha1[t->rows - 1]);
}

/* Figure, JSON and table, once all is there. */
static int finish_table(const sweep_table *t) {
    const settings *s = t->s;
    int status = 0;
    if (s->json != NULL) status = json_table(t, s->json);
    if (status == 0 && s->svg != NULL) status = draw_table(t, s->svg);
    if (status == 0 && s->out != NULL && wants_report(s) && t->rows <= 34) print_table(t);
    return status;
}

/* ---- the commands ---- */

/* Options that do not shape a cell: the only ones beside --merge. */
static int merge_options(const settings *s) {
    static const char *const free_options[] = {"--merge", "--out", "--resume", "--threads", "--json", "--svg",
                                               "--progress", "--quiet"};
    size_t i, k;
    for (i = 0; i < OPTION_TOTAL; i++) {
        int free_one = 0;
        for (k = 0; k < sizeof free_options / sizeof free_options[0]; k++)
            free_one |= strcmp(options[i].name, free_options[k]) == 0;
        if (s->given[i] && !free_one)
            return misuse("%s does not go with --merge: the files hold the configuration%s%s", options[i].name, "", "");
    }
    return 0;
}

/* Puts the settings that a file was made with in place of those of s, which keeps its files. */
static int adopt_header(settings *s, const char *name, const char *text) {
    static settings theirs;
    char words[SWEEP_HEADER];
    const size_t length = strcspn(text, "\n");
    int status;
    if (length >= sizeof words) return misuse("'%s' is no file of 'twostep sweep': its first line is too long%s%s", name, "", "");
    memcpy(words, text, length);
    words[length] = '\0';
    status = check_line_end(name, text, length);
    if (status == 0) status = settings_from_header(&theirs, name, words);
    if (status != 0) return status;
    theirs.context.threads = (unsigned)s->threads;
    theirs.json = s->json, theirs.svg = s->svg, theirs.out = s->out;
    theirs.quiet = s->quiet, theirs.progress = s->progress, theirs.resume = s->resume;
    theirs.files = s->files, theirs.file_count = s->file_count;
    *s = theirs;
    return 0;
}

/* Reads files of one sweep into the table, which the first of them opens. */
static int read_tables(sweep_table *t, settings *s) {
    size_t i, length, good;
    int status = 0;
    char **files = s->files;
    const size_t count = s->file_count;
    for (i = 0; i < count && status == 0; i++) {
        char *text = read_file(files[i], &length);
        if (text == NULL) return EXIT_FAILED;
        if (i == 0) {
            status = adopt_header(s, files[i], text);
            if (status == 0) status = open_table(t, s);
        }
        if (status == 0) status = take_rows(t, files[i], text, length, &good);
        free(text);
    }
    return status;
}

static int merge_tables(sweep_table *t, settings *s) {
    int status = merge_options(s);
    if (status == 0) status = read_tables(t, s);
    if (status == 0 && t->done < t->wanted && !s->resume) {
        size_t cell = 0;
        while (t->line[cell] != NULL) cell++;
        fprintf(stderr, "twostep: %lu of %lu cells are in none of the files (the first: alpha1 %.9g, alpha2 %.9g, seed %llu); "
                        "with --resume they are computed\n",
                (unsigned long)(t->wanted - t->done), (unsigned long)t->wanted, t->alpha1[cell / t->columns % t->rows],
                t->alpha2[cell % t->columns], (unsigned long long)(s->config.seed + cell / t->columns / t->rows));
        return EXIT_FAILED;
    }
    return status == 0 && t->done < t->wanted ? check_kernel(s) : status;
}

/* Computes what is missing, into a file that holds the rest. */
static int complete_table(sweep_table *t, settings *s) {
    sweep_file file;
    int status = open_sweep_file(t, &file, s->out);
    if (status == 0) status = compute_table(t, &file);
    status = close_sweep_file(&file, status);
    if (status == 0 && !t->ordered) status = write_table(t, s->out);
    return status;
}

static int sweep_work(settings *s) {
    static sweep_table table;
    sweep_table *t = &table;
    int status;
    if (s->resume && (s->out == NULL || is_standard_output(s->out)))
        return misuse("--resume needs --out FILE, the file to go on with%s%s%s", "", "", "");
    if (s->file_count > 0) {
        status = merge_tables(t, s);
        if (status == 0) status = write_table(t, s->out != NULL ? s->out : "-");
        if (status == 0 && t->done < t->wanted) { /* --resume: once more, from the merged file */
            close_table(t);
            status = open_table(t, s);
            if (status == 0) status = complete_table(t, s);
        }
    } else {
        status = open_table(t, s);
        if (status == 0) status = complete_table(t, s);
    }
    if (status == 0) status = finish_table(t);
    close_table(t);
    return status;
}

static int sweep_plot(settings *s) {
    static sweep_table table;
    int status;
    if (s->file_count == 0) return misuse("plot needs a file: twostep plot FILE.csv --svg FILE.svg%s%s%s", "", "", "");
    status = read_tables(&table, s);
    if (status == 0) status = draw_table(&table, s->svg != NULL ? s->svg : "-");
    close_table(&table);
    return status;
}
