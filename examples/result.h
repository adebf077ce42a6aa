/* result.h - files of results: whole or not at all, and never in the place of a device or a link.
 * SPDX-License-Identifier: MIT OR Unlicense
 *
 *     #define RESULT_PROGRAM "name"      who speaks on standard error
 *     #include "result.h"                before all others: it asks the system for POSIX
 *     result_file file;
 *     if (open_result(&file, "rows.csv") != 0) return 1;
 *     ... fprintf(file.stream, ...) ...
 *     return close_result(&file, 1);
 *
 * Both print a sentence where they fail. "-" is standard output. C99; everything is static. */
#ifndef TWOSTEP_RESULT_H_INCLUDED
#define TWOSTEP_RESULT_H_INCLUDED

#if !defined(_WIN32) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 /* open, fdopen, realpath */
#define _DARWIN_C_SOURCE 1
#endif
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if !defined(_WIN32)
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#endif

#if defined(__GNUC__) || defined(__clang__)
#define RESULT_FN static __attribute__((unused))
#else
#define RESULT_FN static
#endif

#ifndef RESULT_PROGRAM
#define RESULT_PROGRAM "twostep"
#endif

RESULT_FN int file_failed(const char *what, const char *name) {
    fprintf(stderr, RESULT_PROGRAM ": cannot %s '%s': %s\n", what, name,
            errno != 0 ? strerror(errno) : "unknown error");
    return 1;
}

/* A file on its way: written beside its place under an unused name and renamed when whole. What is
   there already and is no plain file (a device, a pipe) is written to directly, and a link keeps
   pointing to its file. */
typedef struct result_file {
    const char *name;
    char *place, *partial; /* where it will stand, and meanwhile; NULL when written directly */
    FILE *stream;
} result_file;

RESULT_FN char *copy_text(const char *text, size_t room) {
    char *copy = (char *)malloc(strlen(text) + room + 1);
    if (copy != NULL) strcpy(copy, text);
    return copy;
}

/* Opens the first unused NAME.partialK; NULL with errno set. */
RESULT_FN FILE *open_partial(result_file *file) {
    int k;
    for (k = 0; k < 100; k++) {
        sprintf(file->partial, "%s.partial%d", file->place, k);
#if defined(_WIN32)
        FILE *taken = fopen(file->partial, "rb");
        if (taken == NULL) return fopen(file->partial, "w");
        fclose(taken);
#else
        const int descriptor = open(file->partial, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (descriptor >= 0) return fdopen(descriptor, "w");
        if (errno != EEXIST) return NULL;
#endif
    }
    return NULL;
}

/* 1 when name is there and is neither a plain file nor missing: to be written directly. A folder
   is an error. */
RESULT_FN int is_special(const char *name, int *is_folder) {
    *is_folder = 0;
#if !defined(_WIN32)
    {
        struct stat about;
        if (stat(name, &about) != 0) return 0;
        *is_folder = S_ISDIR(about.st_mode) ? 1 : 0;
        return !S_ISREG(about.st_mode);
    }
#else
    (void)name;
    return 0;
#endif
}

RESULT_FN int open_result(result_file *file, const char *name) {
    int is_folder;
    memset(file, 0, sizeof *file);
    file->name = name;
    errno = 0;
    if (strcmp(name, "-") == 0) {
        file->stream = stdout;
        file->name = "standard output";
    } else if (is_special(name, &is_folder)) {
        if (is_folder) errno = EISDIR;
        else file->stream = fopen(name, "w");
    } else {
#if !defined(_WIN32)
        file->place = realpath(name, NULL);
#endif
        if (file->place == NULL) file->place = copy_text(name, 0);
        file->partial = file->place != NULL ? copy_text(file->place, 16) : NULL;
        errno = 0;
        if (file->partial != NULL) file->stream = open_partial(file);
        if (file->stream == NULL) {
            free(file->partial);
            free(file->place);
            file->partial = file->place = NULL;
        }
    }
    return file->stream != NULL ? 0 : file_failed("write", name);
}

/* Keeps the file, or drops it when keep is 0 or something went wrong on the way. */
RESULT_FN int close_result(result_file *file, int keep) {
    int bad;
    if (file->stream == NULL) return 0;
    errno = 0;
    bad = ferror(file->stream) != 0;
    bad |= (file->stream == stdout ? fflush(stdout) : fclose(file->stream)) != 0;
    if (file->partial != NULL) {
#ifdef _WIN32
        if (keep && !bad) remove(file->place);
#endif
        if (keep && !bad) bad = rename(file->partial, file->place) != 0;
        if (bad || !keep) {
            const int why = errno;
            remove(file->partial);
            errno = why;
        }
    }
    if (bad && keep) file_failed("write", file->name);
    free(file->partial);
    free(file->place);
    file->stream = NULL;
    file->partial = file->place = NULL;
    return bad && keep ? 1 : 0;
}

#endif
