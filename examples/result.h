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
 * Both print a sentence where they fail. "-" is standard output; /dev/stdout and its like are the
 * open streams. C99; everything is static. */
#ifndef TWOSTEP_RESULT_H_INCLUDED
#define TWOSTEP_RESULT_H_INCLUDED

#if !defined(_WIN32) && !defined(_XOPEN_SOURCE)
#define _XOPEN_SOURCE 700 /* open, fdopen, readlink, fchmod */
#define _DARWIN_C_SOURCE 1
#endif
#include <ctype.h>
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

RESULT_FN int is_standard_output(const char *name) { return name != NULL && strcmp(name, "-") == 0; }

RESULT_FN char *copy_text(const char *text, size_t room) {
    char *copy = (char *)malloc(strlen(text) + room + 1);
    if (copy != NULL) strcpy(copy, text);
    return copy;
}

#if !defined(_WIN32)
/* How many letters of a name are its folder, the last / included. */
RESULT_FN size_t folder_length(const char *name) {
    const char *slash = strrchr(name, '/');
    return slash != NULL ? (size_t)(slash + 1 - name) : 0;
}
#endif

/* ---- what is no plain file ---- */

/* The number of the open stream that a name stands for, as /dev/stdout does; -1: none. Opened by
   its name, a file that the shell has opened there would be written from its beginning. */
RESULT_FN int descriptor_of(const char *name) {
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
RESULT_FN int open_direct(const char *name, FILE **stream) {
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
RESULT_FN char *resolve_links(const char *name) {
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
RESULT_FN FILE *open_partial(result_file *file) {
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

RESULT_FN int open_result(result_file *file, const char *name) {
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
RESULT_FN int end_writing(result_file *file) {
    int bad = ferror(file->stream) != 0;
    if (!bad) errno = 0; /* else it tells why */
    bad |= (file->stream == stdout ? fflush(stdout) : fclose(file->stream)) != 0;
    file->stream = NULL;
    return bad;
}

/* Puts what was written in its place, or drops it. */
RESULT_FN int place_result(result_file *file, int keep) {
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
    return bad ? 1 : 0;
}

/* Keeps the file, or drops it when keep is 0 or something went wrong on the way. */
RESULT_FN int close_result(result_file *file, int keep) {
    int bad;
    if (file->stream == NULL) return 0;
    bad = end_writing(file);
    if (bad && keep) file_failed("write", file->name);
    if (place_result(file, keep && !bad) != 0) bad = 1;
    return bad && keep ? 1 : 0;
}

#endif
