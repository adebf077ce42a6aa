/* The reader of .npy files on any bytes: it refuses with a sentence or gives numbers, which written
   and read again are the same. */
#define _XOPEN_SOURCE 700
#define _DARWIN_C_SOURCE 1
#include "../../examples/npy.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    npy_array x, y;
    const char *wrong;
    FILE *f;
    size_t count;
    if (size == 0) return 0;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    f = fmemopen((void *)data, size, "rb");
    if (f == NULL) exit(2);
    wrong = npy_read_stream(f, &x);
    fclose(f);
    if (wrong != NULL) {
        LAW(wrong[0] != '\0' && x.data == NULL);
        return 0;
    }
    LAW(x.rows > 0 && x.columns > 0 && (x.dimensions == 1 || x.dimensions == 2));
    count = x.rows * x.columns;
    LAW(count <= size / 4);
    f = tmpfile();
    if (f == NULL) exit(2);
    LAW(npy_write(f, x.data, 8, x.rows, x.dimensions == 1 ? 0 : x.columns) == 0);
    rewind(f);
    LAW(npy_read_stream(f, &y) == NULL);
    LAW(y.rows == x.rows && y.columns == x.columns && y.dimensions == x.dimensions);
    LAW(memcmp(x.data, y.data, count * sizeof *x.data) == 0);
    fclose(f);
    npy_free(&x);
    npy_free(&y);
    return 0;
}
