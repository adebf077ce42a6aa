/* Shared by the fuzz targets: reading the input as a sequence of choices, and the one way to say
   that a law is broken. Build with -fsanitize=fuzzer, or with -DREPLAY to run files without it. */
#ifndef FUZZ_H
#define FUZZ_H
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

/* The next byte; 0 when there is none left. */
static unsigned take_byte(input *in) {
    if (in->left == 0) return 0;
    in->left--;
    return *in->data++;
}

static void take_bytes(input *in, void *to, size_t size) {
    size_t have = size < in->left ? size : in->left;
    memset(to, 0, size);
    if (have > 0) memcpy(to, in->data, have);
    in->data += have;
    in->left -= have;
}

/* A number of any kind: small, special, or eight bytes as they are. */
static double take_number(input *in) {
    static const double special[] = {0, -0.0, 1, -1, 0.5, 2, 1e-300, 1e300, 1e6, 1e-6, 5e-324, 1e38, 3.5e38, 1e-45, 0.49999999999999994};
    const unsigned kind = take_byte(in);
    double any;
    if (kind < 15) return special[kind];
    if (kind == 15) return (double)NAN;
    if (kind == 16) return (double)INFINITY;
    if (kind == 17) return -(double)INFINITY;
    if (kind < 128) return ((double)take_byte(in) - 128) / (1 + kind % 16);
    if (kind < 192) {
        int power = (int)take_byte(in) - 128;
        return ldexp((double)kind - 160, 8 * power);
    }
    take_bytes(in, &any, sizeof any);
    return any;
}

#define LAW(holds)                                                                         \
    do {                                                                                   \
        if (!(holds)) {                                                                    \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #holds);            \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

#ifdef REPLAY
int main(int count, char **arguments) {
    static uint8_t data[1 << 20];
    int i;
    for (i = 1; i < count; i++) {
        FILE *f = fopen(arguments[i], "rb");
        size_t size;
        if (f == NULL) return 2;
        size = fread(data, 1, sizeof data, f);
        fclose(f);
        LLVMFuzzerTestOneInput(data, size);
    }
    printf("%d inputs\n", count - 1);
    return 0;
}
#endif
#endif
