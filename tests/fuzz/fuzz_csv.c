/* Readers of the sweep's CSV: the input is a file that someone has spoilt, read by `sweep --resume`,
   `sweep --merge` and `plot`. A line PREFIX of the input stands for what a real sweep has written, so
   that mutations reach the rows. Laws: those of command.h; a file that is refused stays as it was,
   and one that is accepted is read again as itself. */
#include "command.h"

static char whole[8192]; /* a real sweep of two by two cells */
static size_t whole_length;

static int run(const char *line, unsigned long hash) {
    char text[512], *arguments[40], *word;
    int count = 0;
    snprintf(text, sizeof text, "%s", line);
    for (word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) arguments[count++] = word;
    arguments[count] = NULL;
    return command_run(count, arguments, hash);
}

static size_t read_back(const char *name, char *to, size_t room) {
    FILE *f = fopen(name, "rb");
    size_t size = 0;
    if (f != NULL) {
        size = fread(to, 1, room, f);
        fclose(f);
    }
    return size;
}

static void write_all(const char *name, const char *text, size_t size) {
    FILE *f = fopen(name, "wb");
    if (f == NULL || (size > 0 && fwrite(text, size, 1, f) != 1) || fclose(f) != 0) exit(2);
}

#define GRID "--neurons 16 --inputs 12 --samples 24 --alpha1 0:0.4:2 --alpha2 0.1:0.3:2 --seeds 1 --top 3"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char text[20000], after[40000];
    const unsigned long hash = hash_of(data, size) | 1; /* little memory: no cell is computed for long */
    size_t i, length = 0, left;
    int status;
    command_start();
    if (whole_length == 0) {
        LAW(run("twostep sweep " GRID " --out whole.csv --quiet", 0) == 0);
        whole_length = read_back("whole.csv", whole, sizeof whole);
        LAW(whole_length > 100 && whole_length < sizeof whole);
    }
    for (i = 0; i < size && length + whole_length + 2 < sizeof text; i++) {
        /* bytes 1 to 31 but the line feed: that line of the real file, 1 being the first; 0: itself */
        if (data[i] > 0 && data[i] < 32 && data[i] != '\n' && data[i] != '\r') {
            size_t line = data[i], at = 0;
            while (line > 1 && at < whole_length) line -= whole[at++] == '\n';
            while (at < whole_length && whole[at] != '\n') text[length++] = whole[at++];
            text[length++] = '\n';
        } else {
            text[length++] = (char)data[i];
        }
    }
    write_all("t.csv", text, length);
    status = run("twostep plot t.csv --svg t.svg", hash);
    LAW(status != 0 || read_back("t.svg", after, sizeof after) > 0);
    LAW(read_back("t.csv", after, sizeof after) == length && memcmp(after, text, length) == 0);
    remove("t.svg");
    status = run("twostep sweep --merge t.csv --out m.csv --quiet", hash);
    LAW(read_back("t.csv", after, sizeof after) == length && memcmp(after, text, length) == 0);
    if (status == 0) LAW(run("twostep sweep --merge m.csv --out m2.csv --quiet", hash) == 0);
    status = run("twostep sweep " GRID " --out t.csv --resume --quiet", hash);
    left = read_back("t.csv", after, sizeof after);
    if (status != 0) /* only a torn last row may be gone, and cells may have been added */
        LAW(left > 0 || length == 0 || memchr(text, '\n', length) == NULL);
    else LAW(left == whole_length && memcmp(after, whole, left) == 0);
    nothing_partial("t.csv");
    nothing_partial("m.csv");
    nothing_partial("t.svg");
    remove("t.csv");
    remove("m.csv");
    remove("m2.csv");
    return 0;
}
