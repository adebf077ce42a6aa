/* npy.h - reads and writes NumPy's .npy files of real numbers, without NumPy.
 * SPDX-License-Identifier: MIT OR Unlicense
 *
 *     npy_array x;
 *     char message[200];
 *     if (npy_read("X.npy", &x, message, sizeof message) != 0) puts(message);
 *     ... x.data[i * x.columns + j], i < x.rows, j < x.columns ...
 *     npy_free(&x);
 *
 * or in two steps, with the sizes known before there is memory for the numbers: npy_open, npy_take.
 *
 * Reads format versions 1, 2 and 3, float32 and float64 of either byte order, C and Fortran order,
 * one or two dimensions (a vector is a matrix of one column). Writes version 1, little-endian, C
 * order. Format: numpy.lib.format of the NumPy manual. C99, also C++11; everything is static. */
#ifndef TWOSTEP_NPY_H_INCLUDED
#define TWOSTEP_NPY_H_INCLUDED

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define NPY_FN static __attribute__((unused))
#else
#define NPY_FN static
#endif

static const char npy_no_memory[] = "there is no memory for its numbers";

#define NPY_MAX_HEADER 65536 /* of a real array it has about 80 bytes */

typedef struct npy_header {
    size_t size; /* of one number: 4 or 8 */
    int big, fortran, dimensions;
    size_t shape[2];
} npy_header;

typedef struct npy_array {
    size_t rows, columns;
    int dimensions; /* 1 or 2 in the file */
    double *data;   /* row major, whatever the file had; npy_free releases it */
    FILE *stream;   /* between npy_open and npy_take, at the numbers */
    npy_header header;
} npy_array;

/* Also of an array whose numbers were never taken. */
NPY_FN void npy_free(npy_array *array) {
    free(array->data);
    array->data = NULL;
    if (array->stream != NULL) fclose(array->stream);
    array->stream = NULL;
}

/* ---- the header: a Python dictionary with three known keys ---- */

/* Where the value of a key begins, or NULL. */
NPY_FN const char *npy_value(const char *header, const char *key) {
    const char *at = strstr(header, key);
    if (at == NULL) return NULL;
    at += strlen(key);
    while (*at == ' ') at++;
    if (*at++ != ':') return NULL;
    while (*at == ' ') at++;
    return at;
}

/* A whole number that fits in size_t; NULL if there is none. */
NPY_FN const char *npy_count(const char *at, size_t *count) {
    *count = 0;
    if (*at < '0' || *at > '9') return NULL;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (*count > ((size_t)-1 - 9) / 10) return NULL;
        *count = *count * 10 + (size_t)(*at - '0');
    }
    while (*at == ' ' || *at == 'L') at++;
    return at;
}

/* 0, or a clause that says what is wrong. */
NPY_FN const char *npy_parse(const char *text, npy_header *h) {
    const char *type = npy_value(text, "'descr'"), *order = npy_value(text, "'fortran_order'");
    const char *shape = npy_value(text, "'shape'");
    if (type == NULL || order == NULL || shape == NULL) return "its header lacks descr, fortran_order or shape";
    if (*type++ != '\'' || strchr("<>=|", *type) == NULL || *type == '\0' || type[1] != 'f' ||
        (type[2] != '4' && type[2] != '8') || type[3] != '\'')
        return "its numbers are not float32 or float64";
    h->size = type[2] == '4' ? 4 : 8;
    h->big = *type == '>';
    if (*type == '=') { /* of the machine that wrote it, which is taken to be this one */
        const uint16_t one = 1;
        h->big = *(const unsigned char *)&one == 0;
    }
    if (strncmp(order, "True", 4) != 0 && strncmp(order, "False", 5) != 0) return "its fortran_order is neither True nor False";
    h->fortran = *order == 'T';
    if (*shape++ != '(') return "its shape is no tuple";
    h->shape[0] = h->shape[1] = 1;
    for (h->dimensions = 0;;) {
        while (*shape == ' ') shape++;
        if (*shape == ')') break;
        if (h->dimensions == 2) return "it has more than two dimensions";
        shape = npy_count(shape, &h->shape[h->dimensions]);
        if (shape == NULL) return "its shape cannot be read";
        h->dimensions++;
        if (*shape == ',') shape++;
        else if (*shape != ')') return "its shape cannot be read";
    }
    if (h->dimensions == 0) return "it is a single number, not a vector or a matrix";
    if (h->shape[0] == 0 || h->shape[1] == 0) return "it is empty";
    if (h->shape[0] > (size_t)-1 / 16 / h->shape[1]) return "its shape does not fit in memory";
    return NULL;
}

/* ---- reading ---- */

NPY_FN double npy_number(const unsigned char *bytes, size_t size, int big) {
    uint64_t bits = 0;
    double wide;
    size_t i;
    for (i = 0; i < size; i++) bits = bits << 8 | bytes[big ? i : size - 1 - i];
    if (size == 4) {
        const uint32_t half = (uint32_t)bits;
        float narrow;
        memcpy(&narrow, &half, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}

/* The numbers, a block at a time. Memory is asked for only once the file has been seen to be long
   enough, so that a header that lies costs nothing. */
NPY_FN const char *npy_numbers(FILE *f, const npy_header *h, npy_array *array) {
    const size_t rows = h->shape[0], columns = h->shape[1], count = rows * columns;
    unsigned char block[4096];
    size_t done = 0, room = 0, got, i;
    double *data = NULL;
    while (done < count) {
        size_t want = sizeof block / h->size;
        if (want > count - done) want = count - done;
        got = fread(block, h->size, want, f);
        if (got < want) {
            free(data);
            return "it is cut short: fewer numbers than its shape says";
        }
        if (done + got > room) {
            double *more;
            room = room < count / 2 ? 2 * room + 4096 : count;
            if (room < done + got) room = done + got;
            more = (double *)realloc(data, room * sizeof *data);
            if (more == NULL) {
                free(data);
                return npy_no_memory;
            }
            data = more;
        }
        for (i = 0; i < got; i++) data[done + i] = npy_number(block + i * h->size, h->size, h->big);
        done += got;
    }
    if (h->fortran && rows > 1 && columns > 1) {
        double *turned = (double *)malloc(count * sizeof *turned);
        size_t j;
        if (turned == NULL) {
            free(data);
            return npy_no_memory;
        }
        for (i = 0; i < rows; i++)
            for (j = 0; j < columns; j++) turned[i * columns + j] = data[j * rows + i];
        free(data);
        data = turned;
    }
    array->data = data;
    return NULL;
}

NPY_FN const char *npy_read_header(FILE *f, npy_array *array) {
    unsigned char start[12];
    size_t length, prefix;
    char *text;
    const char *wrong;
    if (fread(start, 1, 10, f) < 10 || memcmp(start, "\x93NUMPY", 6) != 0) return "it is no .npy file";
    if (start[6] < 1 || start[6] > 3) return "its format is none of the versions 1, 2 and 3";
    prefix = start[6] == 1 ? 10 : 12;
    if (prefix == 12 && fread(start + 10, 1, 2, f) < 2) return "it is cut short within its header";
    length = (size_t)start[8] | (size_t)start[9] << 8;
    if (prefix == 12) length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    if (length > NPY_MAX_HEADER) return "its header is longer than 65536 bytes";
    text = (char *)malloc(length + 1);
    if (text == NULL) return npy_no_memory;
    if (fread(text, 1, length, f) < length) {
        free(text);
        return "it is cut short within its header";
    }
    text[length] = '\0';
    wrong = npy_parse(text, &array->header);
    free(text);
    if (wrong != NULL) return wrong;
    array->rows = array->header.shape[0];
    array->columns = array->header.shape[1];
    array->dimensions = array->header.dimensions;
    return NULL;
}

/* From a stream, which stays open; NULL, or a clause that says what is wrong. */
NPY_FN const char *npy_read_stream(FILE *f, npy_array *array) {
    const char *wrong;
    memset(array, 0, sizeof *array);
    wrong = npy_read_header(f, array);
    return wrong != NULL ? wrong : npy_numbers(f, &array->header, array);
}

/* Says why a file is of no use, and closes it: 1 where reading failed, 2 where what it holds is
   wrong. */
NPY_FN int npy_refuse(const char *name, npy_array *array, const char *wrong, char *message,
                      size_t size) {
    const int unread = array->stream == NULL || ferror(array->stream);
    if (unread) wrong = errno ? strerror(errno) : "unknown error";
    if (unread) snprintf(message, size, "cannot read '%.150s': %s", name, wrong);
    else snprintf(message, size, "cannot use '%.150s': %s", name, wrong);
    npy_free(array);
    return unread || wrong == npy_no_memory ? 1 : 2;
}

/* Sizes and dimensions: 0, or 1 or 2 (see npy_refuse) with a sentence in message. npy_free, unless
   npy_take comes after it. */
NPY_FN int npy_open(const char *name, npy_array *array, char *message, size_t size) {
    const char *wrong = NULL;
    memset(array, 0, sizeof *array);
    errno = 0;
    array->stream = fopen(name, "rb");
    if (array->stream != NULL) wrong = npy_read_header(array->stream, array);
    return array->stream != NULL && wrong == NULL ? 0 : npy_refuse(name, array, wrong, message, size);
}

/* The numbers of an open file: 0, or as npy_open. */
NPY_FN int npy_take(const char *name, npy_array *array, char *message, size_t size) {
    const char *wrong;
    errno = 0;
    wrong = npy_numbers(array->stream, &array->header, array);
    if (wrong != NULL) return npy_refuse(name, array, wrong, message, size);
    fclose(array->stream);
    array->stream = NULL;
    return 0;
}

/* Both; array->data is NULL unless 0 is returned. */
NPY_FN int npy_read(const char *name, npy_array *array, char *message, size_t size) {
    const int result = npy_open(name, array, message, size);
    return result != 0 ? result : npy_take(name, array, message, size);
}

/* ---- writing ---- */

/* A matrix, or with columns == 0 a vector, of numbers of 4 or 8 bytes (size) in C order; the stream
   must be binary. 0, or 1 when writing failed. */
NPY_FN int npy_write(FILE *f, const void *data, size_t size, size_t rows, size_t columns) {
    const uint16_t one = 1;
    const int big = *(const unsigned char *)&one == 0;
    const size_t count = rows * (columns > 0 ? columns : 1);
    char shape[64], text[192];
    size_t length;
    if (columns > 0) snprintf(shape, sizeof shape, "(%lu, %lu)", (unsigned long)rows, (unsigned long)columns);
    else snprintf(shape, sizeof shape, "(%lu,)", (unsigned long)rows);
    snprintf(text, sizeof text, "{'descr': '%sf%d', 'fortran_order': False, 'shape': %s, }", big ? ">" : "<", (int)size, shape);
    length = strlen(text);
    while ((10 + length + 1) % 64 != 0) text[length++] = ' '; /* the numbers start at a multiple of 64 */
    text[length++] = '\n';
    fwrite("\x93NUMPY\1\0", 1, 8, f);
    fputc((int)(length & 255), f);
    fputc((int)(length >> 8), f);
    fwrite(text, 1, length, f);
    fwrite(data, size, count, f);
    return ferror(f) != 0;
}

#endif
