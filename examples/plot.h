/* plot.h - the figures of twostep: SVG and terminal, without any library.
 * SPDX-License-Identifier: MIT OR Unlicense
 *
 *     plot_out out = plot_to_file(stdout);
 *     plot_series line = {"measured", x, y, NULL, 10, PLOT_LINE | PLOT_POINTS, 0};
 *     plot_chart chart;
 *     memset(&chart, 0, sizeof chart);
 *     chart.title = "Risk";
 *     chart.series = &line;
 *     chart.series_count = 1;
 *     plot_chart_svg(&out, &chart);
 *
 * C99 (or C++11) and libm. Everything is static: include it where it is used. The SVG is 700 units
 * wide, uses the reader's sans-serif font, and follows light and dark backgrounds through
 * prefers-color-scheme. Colours are told apart by colour-blind readers, and shapes differ too.
 *
 * Texts are UTF-8; ^{..} and _{..} in them are super- and subscripts. Any text is escaped, any
 * number may be NaN or infinite (it is then a gap). A member that is 0 or NULL means "none" or
 * "choose for me". Functions that draw return 0, or 1 when memory ran out or writing failed.
 *
 *   @@OUT        where a figure goes
 *   @@API        charts, small multiples, spectra, phase diagrams, terminal
 *   @@TEXT       escapes, markup, widths, lines
 *   @@STYLE      fonts and colours, light and dark
 *   @@AXES       ranges, ticks, places
 *   @@FRAME      grid, lines, points, bars
 *   @@CHART      title, legend, rules, note around a frame
 *   @@SPECTRA    histograms with outliers
 *   @@TERMINAL   the same in characters
 *   @@PHASE      heat maps over (alpha_1, alpha_2)
 */
#ifndef TWOSTEP_PLOT_H_INCLUDED
#define TWOSTEP_PLOT_H_INCLUDED

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__) || defined(__clang__)
#define PLOT_FN static __attribute__((unused))
#else
#define PLOT_FN static
#endif

/* ==========================================================================
 * @@OUT: where a figure goes
 * ========================================================================== */

typedef enum plot_theme { PLOT_AUTO, PLOT_LIGHT, PLOT_DARK } plot_theme; /* AUTO: as the reader */

typedef struct plot_out {
    FILE *file;           /* written to; NULL: collected in text */
    char *text;           /* zero-terminated once anything was written; plot_free releases it */
    size_t length, room;
    int failed;           /* 1 after the first failure; nothing is written from then on */
    plot_theme theme;
} plot_out;

PLOT_FN plot_out plot_to_file(FILE *file) {
    plot_out out;
    memset(&out, 0, sizeof out);
    out.file = file;
    return out;
}

PLOT_FN plot_out plot_to_text(void) { return plot_to_file(NULL); }

PLOT_FN void plot_free(plot_out *out) {
    free(out->text);
    out->text = NULL;
    out->length = out->room = 0;
}

/* Writes what plot_to_text has collected to a file and releases it. 0; or 1, after a sentence on
   standard error. */
PLOT_FN int plot_write(plot_out *out, const char *path) {
    FILE *file = out->failed ? NULL : fopen(path, "w");
    int bad = file == NULL || fwrite(out->text, 1, out->length, file) != out->length;
    if (file != NULL && fclose(file) != 0) bad = 1;
    if (bad)
        fprintf(stderr, "cannot write '%s': %s\n", path,
                out->failed ? "no memory for the figure" : strerror(errno));
    plot_free(out);
    return bad;
}

/* ==========================================================================
 * @@API: charts, small multiples, spectra, phase diagrams, terminal
 * ========================================================================== */

/* How a series is drawn; combine with |. */
enum {
    PLOT_LINE = 1,
    PLOT_POINTS = 2,
    PLOT_DASHED = 4, /* with PLOT_LINE */
    PLOT_BAND = 8    /* errors as a band, not as bars */
};

typedef struct plot_series {
    const char *name;    /* in the legend; NULL: not listed */
    const double *x, *y; /* count entries each */
    const double *error; /* half lengths of error bars, or NULL */
    size_t count;
    unsigned marks;      /* 0: PLOT_LINE */
    int color;           /* 1 to 8, and the shape of points; 0: the next one */
} plot_series;

typedef struct plot_axis {
    const char *label; /* with the unit */
    int log;           /* 1: logarithmic; what is not positive is a gap */
    double low, high;  /* low < high: this range; else from the data */
    int whole;         /* 1: what is counted; ticks at whole numbers alone */
} plot_axis;

/* A thin dashed line across the frame, vertical at x = at or horizontal at y = at. */
typedef struct plot_rule {
    const char *label;
    double at;
    int horizontal;
} plot_rule;

typedef struct plot_chart {
    const char *title, *note; /* note: small print below */
    plot_axis x, y;
    const plot_series *series;
    size_t series_count;
    const plot_rule *rules;
    size_t rule_count;
} plot_chart;

/* The spectrum of one weight matrix. */
typedef struct plot_spectrum {
    const char *title;
    const double *values; /* all singular values, in any order */
    size_t count;
    const double *density_x, *density; /* without values: a measured density, by increasing x */
    size_t density_count;
    const double *curve_x, *curve; /* the predicted density of the bulk, by increasing x */
    size_t curve_count;
    double edge;                         /* of the bulk; 0: not drawn */
    const double *outliers, *alignments; /* measured, with |B* v_k| from 0 to 1 */
    size_t outlier_count;
    const double *predicted, *predicted_alignments;
    size_t predicted_count;
} plot_spectrum;

typedef struct plot_map {
    const char *title;
    const double *values; /* at (alpha1[i], alpha2[j]): values[j alpha1_count + i]; NaN: unknown */
    int whole;            /* 1: whole numbers, one colour each */
    double low, high;     /* low < high: the range of the colours; else from the data */
} plot_map;

typedef struct plot_phase {
    const char *title, *note;
    const double *alpha1, *alpha2; /* increasing */
    size_t alpha1_count, alpha2_count;
    const plot_map *maps; /* side by side, three in a row */
    size_t map_count;
} plot_phase;

PLOT_FN int plot_chart_svg(plot_out *out, const plot_chart *chart);

/* Small multiples: charts of one size on the axes of the first, logarithmic or not, with one legend.
   A range that is not given covers the data of all. */
PLOT_FN int plot_panels_svg(plot_out *out, const char *title, const char *note,
                            const plot_chart *charts, size_t count, size_t columns);

/* Histograms one below the other on one scale, predicted bulks, outliers as dots whose height is
   their alignment. Beyond the bulk the scale is broken and goes on as a logarithm. */
PLOT_FN int plot_spectra_svg(plot_out *out, const char *title, const char *note,
                             const plot_spectrum *panels, size_t count);

/* The same for a terminal of 79 columns, in block characters or in ASCII. */
PLOT_FN int plot_spectra_text(plot_out *out, const plot_spectrum *panels, size_t count, int ascii);

/* Heat maps over (alpha_1, alpha_2) with the lines alpha_2 = k (1/2 - alpha_1) on which order k
   leaves the bulk. */
PLOT_FN int plot_phase_svg(plot_out *out, const plot_phase *phase);

/* ==========================================================================
 * @@TEXT: escapes, markup, widths, lines
 * ========================================================================== */

PLOT_FN void plot_put_bytes(plot_out *out, const char *bytes, size_t count) {
    if (out->failed || count == 0) return;
    if (out->file != NULL) {
        out->failed = fwrite(bytes, 1, count, out->file) != count;
        return;
    }
    if (out->room - out->length <= count) {
        const size_t room = 2 * out->room + count + 4096;
        char *text = (char *)realloc(out->text, room);
        if (text == NULL) {
            out->failed = 1;
            return;
        }
        out->text = text;
        out->room = room;
    }
    memcpy(out->text + out->length, bytes, count);
    out->length += count;
    out->text[out->length] = '\0';
}

PLOT_FN void plot_put(plot_out *out, const char *text) { plot_put_bytes(out, text, strlen(text)); }

/* A coordinate with at most two decimals. Digit by digit: the decimal point is a point in every
   locale. What is not finite becomes 0. */
PLOT_FN void plot_put_number(plot_out *out, double value) {
    char digits[40];
    long hundredths;
    if (!(fabs(value) < 1e7)) value = value - value <= 0.0 ? (value < 0.0 ? -1e7 : 1e7) : 0.0;
    hundredths = (long)floor(fabs(value) * 100.0 + 0.5);
    sprintf(digits, "%s%ld", value < 0.0 && hundredths > 0 ? "-" : "", hundredths / 100);
    plot_put(out, digits);
    if (hundredths % 100 == 0) return;
    sprintf(digits, hundredths % 10 != 0 ? ".%02ld" : ".%ld",
            hundredths % 10 != 0 ? hundredths % 100 : hundredths % 100 / 10);
    plot_put(out, digits);
}

/* The code point at *text, which moves on; bytes that are no UTF-8, and characters that XML does
   not allow, come out as U+FFFD. 0 at the end. */
PLOT_FN unsigned long plot_next(const char **text) {
    const unsigned char *p = (const unsigned char *)*text;
    unsigned long code = p[0], least = 0;
    int more = 0, k;
    if (code == 0) return 0;
    if (code >= 0xF0 && code < 0xF8) more = 3, code &= 0x07, least = 0x10000;
    else if (code >= 0xE0) more = 2, code &= 0x0F, least = 0x800;
    else if (code >= 0xC0) more = 1, code &= 0x1F, least = 0x80;
    else if (code >= 0x80) least = 0x110000;
    if (p[0] >= 0xF8) more = 0, least = 0x110000;
    for (k = 1; k <= more; k++) {
        if ((p[k] & 0xC0) != 0x80) {
            *text += k;
            return 0xFFFD;
        }
        code = code << 6 | (p[k] & 0x3F);
    }
    *text += more + 1;
    if (code < 0x20) return ' ';
    if (code < least || code == 0x7F || (code >= 0xD800 && code < 0xE000) || code > 0x10FFFF ||
        code == 0xFFFE || code == 0xFFFF)
        return 0xFFFD;
    return code;
}

PLOT_FN size_t plot_encode(unsigned long code, char *bytes) {
    if (code < 0x80) {
        bytes[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        bytes[0] = (char)(0xC0 | code >> 6);
        bytes[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        bytes[0] = (char)(0xE0 | code >> 12);
        bytes[1] = (char)(0x80 | (code >> 6 & 0x3F));
        bytes[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    bytes[0] = (char)(0xF0 | code >> 18);
    bytes[1] = (char)(0x80 | (code >> 12 & 0x3F));
    bytes[2] = (char)(0x80 | (code >> 6 & 0x3F));
    bytes[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

PLOT_FN void plot_put_code(plot_out *out, unsigned long code) {
    char bytes[4];
    switch (code) {
    case '&': plot_put(out, "&amp;"); break;
    case '<': plot_put(out, "&lt;"); break;
    case '>': plot_put(out, "&gt;"); break;
    case '\'': plot_put(out, "&#39;"); break;
    case '"': plot_put(out, "&quot;"); break;
    default: plot_put_bytes(out, bytes, plot_encode(code, bytes));
    }
}

/* One step through a text with markup: the next visible character with its level (0 line, 1 super-,
   -1 subscript), 0 at the end. */
PLOT_FN unsigned long plot_step_text(const char **text, int *level) {
    if (*level != 0 && **text == '}') {
        *level = 0;
        (*text)++;
    }
    if (*level == 0 && ((*text)[0] == '^' || (*text)[0] == '_') && (*text)[1] == '{') {
        *level = (*text)[0] == '^' ? 1 : -1;
        *text += 2;
        if (**text == '}') return plot_step_text(text, level);
    }
    return plot_next(text);
}

/* Escaped, without markup: for titles that no reader sees as a line of text. */
PLOT_FN void plot_put_plain(plot_out *out, const char *text) {
    unsigned long code;
    int level = 0;
    while ((code = plot_step_text(&text, &level)) != 0) plot_put_code(out, code);
}

/* Writes format with # for a number (double), @ for a text as it is, ~ for one to be escaped. */
PLOT_FN void plot_print(plot_out *out, const char *format, ...) {
    va_list list;
    va_start(list, format);
    for (; *format != '\0'; format++) {
        if (*format == '#') plot_put_number(out, va_arg(list, double));
        else if (*format == '@') plot_put(out, va_arg(list, const char *));
        else if (*format == '~') plot_put_plain(out, va_arg(list, const char *));
        else plot_put_bytes(out, format, 1);
    }
    va_end(list);
}

/* Advance of a character in hundredths of the font size: wide sans-serif fonts (DejaVu, Verdana),
   so that what is laid out here never runs into its neighbour in a narrower one. */
PLOT_FN double plot_advance(unsigned long code) {
    static const unsigned char wide[] = {
        32, 40,  46,  84, 64, 95, 78,  28, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64,
        64, 64,  64,  64, 64, 64, 34,  34, 84, 84, 84, 53, 100, 69, 69, 70, 77, 63, 58, 78,
        75, 30,  30,  66, 56, 86, 75,  79, 60, 79, 70, 64, 61, 73, 69, 99, 69, 61, 69, 39,
        34, 39,  84,  50, 50, 61, 64,  55, 64, 62, 35, 64, 63, 28, 28, 58, 28, 98, 63, 61,
        64, 64,  41,  52, 39, 63, 59,  82, 59, 59, 53, 64, 34, 64, 84};
    if (code >= 32 && code < 127) return 0.01 * wide[code - 32];
    return code >= 0x1100 ? 1.0 : 0.72;
}

PLOT_FN double plot_text_width(const char *text, double size) {
    double width = 0.0;
    unsigned long code;
    int level = 0;
    if (text == NULL) return 0.0;
    while ((code = plot_step_text(&text, &level)) != 0)
        width += plot_advance(code) * (level != 0 ? 0.75 : 1.0);
    return width * size;
}

#define PLOT_TITLE 16.0
#define PLOT_LABEL 12.5
#define PLOT_SMALL 11.5

/* Writes text with its markup as the content of a text element. */
PLOT_FN void plot_put_marked(plot_out *out, const char *text, double size) {
    unsigned long code;
    int level = 0, now = 0, open = 0;
    while ((code = plot_step_text(&text, &level)) != 0) {
        if (level != now) {
            const double from = now == 1 ? 0.36 : now == -1 ? -0.2 : 0.0;
            const double to = level == 1 ? 0.36 : level == -1 ? -0.2 : 0.0;
            if (open) plot_put(out, "</tspan>");
            if (code == ' ') plot_put(out, " "); /* inside, at the border, it would be dropped */
            plot_print(out, "<tspan dy='#'", (from - to) * size);
            if (level != 0) plot_print(out, " font-size='#'", 0.75 * size);
            plot_put(out, ">");
            open = 1;
            now = level;
            if (code == ' ') continue;
        }
        plot_put_code(out, code);
    }
    if (open) plot_put(out, "</tspan>");
}

/* anchor: 0 start, 1 middle, 2 end. turned: read from below to above. */
PLOT_FN void plot_text(plot_out *out, double x, double y, int anchor, int turned, const char *style,
                       double size, const char *text) {
    static const char *const anchors[] = {"", " text-anchor='middle'", " text-anchor='end'"};
    if (text == NULL || *text == '\0') return;
    plot_print(out, "<text class='@' x='#' y='#' font-size='#'@", style, x, y, size,
               anchors[anchor]);
    if (turned) plot_print(out, " transform='rotate(-90 # #)'", x, y);
    plot_put(out, ">");
    plot_put_marked(out, text, size);
    plot_put(out, "</text>\n");
}

#define PLOT_LINE_BYTES 400

/* As much of text as fits into width, with an ellipsis where it is cut. */
PLOT_FN const char *plot_fit(const char *text, double size, double width, char *line) {
    const char *p = text, *good = text;
    double used = 0.0;
    int level = 0, good_level = 0;
    if (text == NULL) return "";
    while (plot_text_width(text, size) > width || strlen(text) >= PLOT_LINE_BYTES - 8) {
        const unsigned long code = plot_step_text(&p, &level);
        if (code == 0) return text;
        used += plot_advance(code) * size * (level != 0 ? 0.75 : 1.0);
        if (used + size > width || p - text >= PLOT_LINE_BYTES - 8) {
            const size_t kept = (size_t)(good - text);
            memcpy(line, text, kept);
            strcpy(line + kept, good_level != 0 ? "}\342\200\246" : "\342\200\246");
            return line;
        }
        good = p;
        good_level = level;
    }
    return text;
}

/* Takes the next line of at most width from *text into line; 0 when nothing is left. A word that is
   too long for a line of its own is cut short. */
PLOT_FN int plot_take_line(const char **text, double size, double width, char *line) {
    char word[PLOT_LINE_BYTES], fitted[PLOT_LINE_BYTES];
    size_t length = 0;
    line[0] = '\0';
    while (**text == ' ') (*text)++;
    while (**text != '\0') {
        const size_t whole = strcspn(*text, " ");
        const size_t part = whole < sizeof word - 1 ? whole : sizeof word - 1;
        const char *shown;
        double used;
        memcpy(word, *text, part);
        word[part] = '\0';
        used = plot_text_width(line, size) + plot_text_width(word, size) + 0.32 * size;
        if (length > 0 && (length + part + 2 > PLOT_LINE_BYTES || used > width)) break;
        shown = plot_fit(word, size, width, fitted);
        if (length > 0) line[length++] = ' ';
        strcpy(line + length, shown);
        length += strlen(shown);
        *text += whole;
        while (**text == ' ') (*text)++;
    }
    return length > 0;
}

PLOT_FN size_t plot_count_lines(const char *text, double size, double width) {
    char line[PLOT_LINE_BYTES];
    size_t lines = 0;
    if (text != NULL)
        while (plot_take_line(&text, size, width, line)) lines++;
    return lines;
}

/* Lines of text below each other; returns the height used. */
PLOT_FN double plot_paragraph(plot_out *out, double x, double y, double width, double leading,
                              const char *style, double size, const char *text) {
    char line[PLOT_LINE_BYTES];
    double used = 0.0;
    /* bold letters are about a tenth wider */
    const double fit = strcmp(style, "t") == 0 ? width / 1.1 : width;
    if (text == NULL) return 0.0;
    while (plot_take_line(&text, size, fit, line)) {
        plot_text(out, x, y + used + size, 0, 0, style, size, line);
        used += leading;
    }
    return used;
}

/* ==========================================================================
 * @@STYLE: fonts and colours, light and dark
 * ========================================================================== */

#define PLOT_WIDTH 700.0
#define PLOT_COLORS 8

/* Okabe and Ito's colours, darkened or lightened until they stand out from their background. */
static const char *const plot_light[PLOT_COLORS] = {"#0072b2", "#d55e00", "#00875f", "#b0498a",
                                                    "#8a6d00", "#3a9bd9", "#5a5a5a", "#6a51a3"};
static const char *const plot_dark[PLOT_COLORS] = {"#56b4e9", "#ff8c42", "#2fc79a", "#e59ac6",
                                                   "#f0c244", "#8cc6ff", "#b8b8b8", "#b9a5ea"};

/* A ramp from dark to light that stays ordered for every kind of colour vision and in grey. */
static const unsigned char plot_ramp[10][3] = {
    {68, 1, 84},    {72, 40, 120},  {62, 73, 137},   {49, 104, 142}, {38, 130, 142},
    {31, 158, 137}, {53, 183, 121}, {110, 206, 88}, {181, 222, 43}, {253, 231, 37}};

PLOT_FN void plot_rule_of(plot_out *out, const char *name, const char *what, const char *value) {
    plot_print(out, ".tws-plot .@{@:@}", name, what, value);
}

PLOT_FN void plot_colors(plot_out *out, int dark) {
    const char *const *colors = dark ? plot_dark : plot_light;
    const char *paper = dark ? "#0d1117" : "#ffffff", *ink = dark ? "#e6edf3" : "#1f2328";
    char name[8];
    int k;
    plot_rule_of(out, "p", "fill", paper);
    plot_rule_of(out, "t", "fill", ink);
    plot_rule_of(out, "l", "fill", ink);
    plot_rule_of(out, "m", "fill", dark ? "#9198a1" : "#59636e");
    plot_rule_of(out, "g", "stroke", dark ? "#262c36" : "#e4e7eb");
    plot_rule_of(out, "a", "stroke", dark ? "#7d8590" : "#6e7781");
    plot_rule_of(out, "r", "stroke", dark ? "#9198a1" : "#59636e");
    plot_rule_of(out, "b", "fill", dark ? "#3d5a78" : "#b3cde3");
    plot_rule_of(out, "n", "fill", dark ? "#21262d" : "#eaeef2");
    plot_rule_of(out, "o", "stroke", paper);
    plot_rule_of(out, "k", "stroke", ink);
    plot_put(out, "\n");
    for (k = 0; k < PLOT_COLORS; k++) {
        sprintf(name, "f%d", k + 1);
        plot_rule_of(out, name, "fill", colors[k]);
        sprintf(name, "s%d", k + 1);
        plot_rule_of(out, name, "stroke", colors[k]);
        sprintf(name, "h%d", k + 1); /* hollow: the paper shows through, the rim is coloured */
        plot_print(out, ".tws-plot .@{fill:@;stroke:@}\n", name, paper, colors[k]);
    }
}

/* The head of a figure. Selectors start with .tws-plot, so that a page around it keeps its own. */
PLOT_FN void plot_open(plot_out *out, double height, const char *title, const char *describe) {
    plot_print(out,
               "<svg xmlns='http://www.w3.org/2000/svg' class='tws-plot' role='img' width='#' "
               "height='#' viewBox='0 0 # #'>\n<title>~</title>\n",
               PLOT_WIDTH, height, PLOT_WIDTH, height, title != NULL ? title : "figure");
    if (describe != NULL && *describe != '\0') plot_print(out, "<desc>~</desc>\n", describe);
    plot_put(out, "<style>\n.tws-plot text{font-family:system-ui,sans-serif}"
                  ".tws-plot .t{font-weight:600}"
                  ".tws-plot .g,.tws-plot .a,.tws-plot .r,.tws-plot .w{fill:none}"
                  ".tws-plot .g,.tws-plot .a{stroke-width:1}"
                  ".tws-plot .r{stroke-width:1;stroke-dasharray:3 3}"
                  ".tws-plot .w{stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
                  ".tws-plot .d{stroke-dasharray:6 5}"
                  ".tws-plot .e{stroke-width:1.2}"
                  ".tws-plot .q{fill-opacity:.18}"
                  ".tws-plot .v{stroke-width:1.6}"
                  ".tws-plot .o{stroke-width:3.4;stroke-opacity:.75}"
                  ".tws-plot .k{stroke-width:1.3}\n");
    if (out->theme != PLOT_AUTO) {
        plot_colors(out, out->theme == PLOT_DARK);
    } else {
        plot_colors(out, 0);
        plot_put(out, "@media(prefers-color-scheme:dark){\n");
        plot_colors(out, 1);
        plot_put(out, "}\n");
    }
    plot_print(out, "</style>\n<rect class='p' width='#' height='#'/>\n", PLOT_WIDTH, height);
}

PLOT_FN int plot_close(plot_out *out) {
    plot_put(out, "</svg>\n");
    return out->failed;
}

/* The colour at share (0 to 1) of the ramp, as #rrggbb. */
PLOT_FN void plot_ramp_color(double share, char *color) {
    const double place = 9.0 * (share > 0.0 ? (share < 1.0 ? share : 1.0) : 0.0);
    const int below = (int)fmin(place, 8.0);
    int k, part[3];
    for (k = 0; k < 3; k++) {
        const double a = plot_ramp[below][k], b = plot_ramp[below + 1][k];
        part[k] = (int)(a + (b - a) * (place - below) + 0.5);
    }
    sprintf(color, "#%02x%02x%02x", (unsigned)part[0] & 255u, (unsigned)part[1] & 255u,
            (unsigned)part[2] & 255u);
}

/* ==========================================================================
 * @@AXES: ranges, ticks, places
 * ========================================================================== */

#define PLOT_MAX_TICKS 24
#define PLOT_MAX_MINOR 100

/* From numbers to places: low at from, high at to. */
typedef struct plot_span {
    int log;
    double low, high, from, to;
} plot_span;

typedef struct plot_ticks {
    size_t count, minor_count;
    double at[PLOT_MAX_TICKS], minor[PLOT_MAX_MINOR];
    char label[PLOT_MAX_TICKS][40];
} plot_ticks;

/* 1 for a number that can be drawn on this axis. */
PLOT_FN int plot_usable(double value, int log_axis) {
    return fabs(value) < 1e290 && (!log_axis || value > 1e-290);
}

PLOT_FN double plot_share(const plot_span *span, double value) {
    if (!span->log) return (value - span->low) / (span->high - span->low);
    if (!(value > 0.0)) return -50.0; /* far below: plot_place */
    return (log(value) - log(span->low)) / (log(span->high) - log(span->low));
}

/* Where value lies; far outside is cut, so that no coordinate overflows. */
PLOT_FN double plot_place(const plot_span *span, double value) {
    double share = plot_share(span, value);
    share = share < 50.0 ? (share > -50.0 ? share : -50.0) : 50.0;
    return span->from + share * (span->to - span->from);
}

PLOT_FN int plot_inside(const plot_span *span, double value) {
    const double share = plot_share(span, value);
    return share >= -1e-9 && share <= 1.0 + 1e-9;
}

/* The least 1, 2 or 5 times a power of ten that is at least value. */
PLOT_FN double plot_round_up(double value) {
    const double power = pow(10.0, floor(log10(value)));
    const double share = value / power * (1.0 - 1e-9);
    return power * (share <= 1.0 ? 1.0 : share <= 2.0 ? 2.0 : share <= 5.0 ? 5.0 : 10.0);
}

PLOT_FN double plot_round_down(double value) {
    const double power = pow(10.0, floor(log10(value)));
    const double share = value / power * (1.0 + 1e-9);
    return power * (share >= 5.0 ? 5.0 : share >= 2.0 ? 2.0 : 1.0);
}

/* A decimal number with a point, whatever the locale prints. */
PLOT_FN void plot_decimal(char *label, size_t size, double value, int decimals) {
    char *c;
    snprintf(label, size, "%.*f", decimals, value);
    if (decimals > 0)
        for (c = label; *c != '\0'; c++)
            if ((*c < '0' || *c > '9') && *c != '-') *c = '.';
}

/* Puts a proper minus sign in front. */
PLOT_FN void plot_minus(char *label, size_t size) {
    static const char sign[] = {'\342', '\210', '\222'};
    size_t k = strlen(label);
    if (label[0] != '-' || k + sizeof sign > size) return;
    for (; k > 0; k--) label[k + sizeof sign - 1] = label[k];
    memcpy(label, sign, sizeof sign);
}

/* The label of a tick that is a multiple of step, in a range up to largest. */
PLOT_FN void plot_linear_label(char *label, size_t size, double value, double step,
                               double largest) {
    int exponent = (int)floor(log10(step) + 1e-9), power = 0;
    if (largest >= 1e5 || largest < 1e-3) power = (int)floor(log10(largest) + 1e-9);
    if (fabs(value) < 1e-9 * step) {
        snprintf(label, size, "0");
        return;
    }
    exponent = power - exponent;
    if (exponent < 0) exponent = 0;
    if (exponent > 12) exponent = 12;
    plot_decimal(label, 24, value / pow(10.0, power), exponent);
    if (power != 0) {
        const size_t length = strlen(label);
        snprintf(label + length, size - length, "\303\22710^{%s%d}",
                 power < 0 ? "\342\210\222" : "", abs(power));
    }
    plot_minus(label, size);
}

PLOT_FN void plot_linear_ticks(plot_ticks *ticks, double low, double high, double step) {
    const double first = ceil(low / step - 1e-6), last = floor(high / step + 1e-6);
    const double largest = fmax(fabs(low), fabs(high));
    ticks->count = ticks->minor_count = 0;
    if (!(step > 0.0 && last - first < PLOT_MAX_TICKS)) return;
    while (first + (double)ticks->count <= last) {
        const double k = first + (double)ticks->count;
        ticks->at[ticks->count] = k * step;
        plot_linear_label(ticks->label[ticks->count], sizeof ticks->label[0], k * step, step,
                          largest);
        ticks->count++;
    }
}

PLOT_FN void plot_power_label(char *label, size_t size, int mantissa, int exponent, int plain) {
    if (plain) {
        plot_decimal(label, size, mantissa * pow(10.0, exponent), exponent < 0 ? -exponent : 0);
        return;
    }
    snprintf(label, size, mantissa == 1 ? "%s10^{%s%d}" : "%s\303\22710^{%s%d}",
             mantissa == 1 ? "" : mantissa == 2 ? "2" : "5", exponent < 0 ? "\342\210\222" : "",
             abs(exponent));
}

/* The decade of a positive number. */
PLOT_FN int plot_decade(double value) { return (int)floor(log10(value) + 1e-9); }

/* Decades, every stride-th with a label; or within few decades also 2 and 5 times them. None where
   a logarithm has no such range. */
PLOT_FN void plot_log_ticks(plot_ticks *ticks, double low, double high, int stride, int dense) {
    static const int mantissas[] = {1, 2, 5};
    int first, last, plain, e, k;
    ticks->count = ticks->minor_count = 0;
    if (!(low > 0.0 && high < HUGE_VAL)) return;
    first = plot_decade(low);
    last = plot_decade(high);
    plain = first >= -3 && last <= 3;
    for (e = first; e <= last; e++) {
        for (k = 0; k < (dense ? 3 : 1); k++) {
            const double value = mantissas[k] * pow(10.0, e);
            if (value < low * (1 - 1e-9) || value > high * (1 + 1e-9)) continue;
            if (e % stride != 0) {
                if (ticks->minor_count < PLOT_MAX_MINOR) ticks->minor[ticks->minor_count++] = value;
            } else if (ticks->count < PLOT_MAX_TICKS) {
                plot_power_label(ticks->label[ticks->count], sizeof ticks->label[0], mantissas[k],
                                 e, plain);
                ticks->at[ticks->count++] = value;
            }
        }
        for (k = 2; k <= 9 && stride == 1 && last - first <= 8; k++) {
            const double value = k * pow(10.0, e);
            if (value >= low && value <= high && ticks->minor_count < PLOT_MAX_MINOR)
                ticks->minor[ticks->minor_count++] = value;
        }
    }
}

/* 1 when the labels stand clear of each other along the axis. */
PLOT_FN int plot_ticks_clear(const plot_ticks *ticks, const plot_span *span, int sideways) {
    size_t k;
    for (k = 0; k + 1 < ticks->count; k++) {
        const double here = plot_place(span, ticks->at[k]);
        const double room = fabs(plot_place(span, ticks->at[k + 1]) - here);
        const double a = plot_text_width(ticks->label[k], PLOT_LABEL);
        const double b = plot_text_width(ticks->label[k + 1], PLOT_LABEL);
        if (room < (sideways ? 0.5 * (a + b) + 10.0 : PLOT_LABEL + 4.0)) return 0;
    }
    return 1;
}

/* The step of about count ticks in a range. */
PLOT_FN double plot_tick_step(double low, double high, double count) {
    const double step = plot_round_up((high - low) / count);
    return step > 0.0 ? step : high - low;
}

/* The most ticks, up to a pleasant number, whose labels do not touch; on a linear axis at least
   `least` apart. */
PLOT_FN void plot_choose_ticks_apart(plot_ticks *ticks, const plot_span *span, double least,
                                     int sideways) {
    const double length = fabs(span->to - span->from);
    double count = floor(length / (sideways ? 60.0 : 36.0));
    int stride;
    if (count > 10.0) count = 10.0;
    if (span->log) {
        const double decades = (log10(span->high) - log10(span->low));
        if (decades < 2.5) {
            plot_log_ticks(ticks, span->low, span->high, 1, 1);
            if (ticks->count >= 3 && plot_ticks_clear(ticks, span, sideways)) return;
        }
        for (stride = 1; decades >= 1.0 && stride < 700; stride++) {
            plot_log_ticks(ticks, span->low, span->high, stride, 0);
            if (ticks->count >= 2 && (double)ticks->count <= count + 2.0 &&
                plot_ticks_clear(ticks, span, sideways))
                return;
            if (ticks->count < 2) break;
        }
    }
    while (count >= 1.0) {
        plot_linear_ticks(ticks, span->low, span->high,
                          fmax(least, plot_tick_step(span->low, span->high, count)));
        if (ticks->count > 0 && plot_ticks_clear(ticks, span, sideways)) return;
        count -= 1.0;
    }
    ticks->count = ticks->minor_count = 0;
}

PLOT_FN void plot_choose_ticks(plot_ticks *ticks, const plot_span *span, int sideways) {
    plot_choose_ticks_apart(ticks, span, 0.0, sideways);
}

/* What the data of an axis span, collected number by number. */
typedef struct plot_range {
    double low, high;
    int any;
} plot_range;

PLOT_FN void plot_include(plot_range *range, double value, int log_axis) {
    if (!plot_usable(value, log_axis)) return;
    if (!range->any || value < range->low) range->low = value;
    if (!range->any || value > range->high) range->high = value;
    range->any = 1;
}

/* Moves the ends of an axis away from data that would sit on them. An axis may begin at 0. */
PLOT_FN void plot_pad_span(plot_span *span, double low, double high) {
    const double below = plot_share(span, low), above = 1.0 - plot_share(span, high), pad = 0.025;
    const double width = span->log ? (log(span->high) - log(span->low)) : span->high - span->low;
    const double down = below < 0.015 ? (pad - below) * width : 0.0;
    const double up = above < 0.015 ? (pad - above) * width : 0.0;
    if (span->log) {
        span->low *= exp(-down);
        span->high *= exp(up);
    } else {
        if (low < 0.0 || low > 0.0) span->low -= down;
        if (high < 0.0 || high > 0.0) span->high += up;
    }
}

/* Where a linear axis begins and ends: at ticks, unless that wastes room along x. */
PLOT_FN void plot_round_linear(plot_span *span, double low, double high, int tight) {
    const double step = plot_tick_step(low, high, tight ? 8.0 : 5.0);
    span->low = step * floor(low / step + 1e-6);
    span->high = step * ceil(high / step - 1e-6);
    if (!tight || span->high - span->low < 1.12 * (high - low)) return;
    span->low = low;
    span->high = high;
}

/* Rounds a range outwards to where a person would let an axis end. tight: along x. */
PLOT_FN void plot_round_range(plot_span *span, plot_range range, int tight) {
    double low = range.low, high = range.high;
    if (!range.any) low = span->log ? 1.0 : 0.0, high = span->log ? 10.0 : 1.0;
    if (span->log) {
        if (!(high > low * (1.0 + 1e-9))) low /= 2.0, high *= 2.0;
        span->low = plot_round_down(low);
        span->high = plot_round_up(high);
        if (tight &&
            log(span->high) - log(span->low) > 1.12 * (log(high) - log(low)))
            span->low = low, span->high = high;
    } else {
        if (!(high - low > 1e-9 * fmax(fabs(low), fabs(high)))) {
            const double pad = low < 0.0 || low > 0.0 ? 0.5 * fabs(low) : 1.0;
            high = low + pad;
            low -= pad;
        }
        if (low > 0.0 && low < 0.3 * high) low = 0.0;
        plot_round_linear(span, low, high, tight);
    }
    if (range.any) plot_pad_span(span, low, high);
}

/* The range of an axis: the one asked for, or the one of the data. */
PLOT_FN void plot_set_span(plot_span *span, const plot_axis *axis, plot_range range, int tight) {
    span->log = axis->log;
    span->low = axis->low;
    span->high = axis->high;
    if (!(axis->low < axis->high) || !plot_usable(axis->low, axis->log) ||
        !plot_usable(axis->high, axis->log))
        plot_round_range(span, range, tight);
}

/* ==========================================================================
 * @@FRAME: grid, lines, points, bars
 * ========================================================================== */

typedef struct plot_frame {
    plot_span x, y; /* x.from is left, y.from is the bottom */
    plot_ticks tx, ty;
} plot_frame;

PLOT_FN double plot_widest(const plot_ticks *ticks) {
    double widest = 0.0;
    size_t k;
    for (k = 0; k < ticks->count; k++)
        widest = fmax(widest, plot_text_width(ticks->label[k], PLOT_LABEL));
    return widest;
}

PLOT_FN void plot_line(plot_out *out, const char *style, double x1, double y1, double x2,
                       double y2) {
    plot_print(out, "<line class='@' x1='#' y1='#' x2='#' y2='#'/>\n", style, x1, y1, x2, y2);
}

PLOT_FN void plot_box(plot_out *out, const char *style, double x, double y, double width,
                      double height) {
    if (width > 0.0 && height > 0.0)
        plot_print(out, "<rect class='@' x='#' y='#' width='#' height='#'/>\n", style, x, y, width,
                   height);
}

/* Grid and axes; labels only where wanted: 1 below, 2 on the left. */
PLOT_FN void plot_axes(plot_out *out, const plot_frame *f, int labels) {
    const double left = f->x.from, right = f->x.to, bottom = f->y.from, top = f->y.to;
    size_t k;
    for (k = 0; k < f->ty.count; k++) {
        const double y = plot_place(&f->y, f->ty.at[k]);
        plot_line(out, "g", left, y, right, y);
        if (labels & 2)
            plot_text(out, left - 7.0, y + 0.36 * PLOT_LABEL, 2, 0, "m", PLOT_LABEL,
                      f->ty.label[k]);
    }
    for (k = 0; k < f->tx.count; k++) {
        const double x = plot_place(&f->x, f->tx.at[k]);
        plot_line(out, "g", x, top, x, bottom);
        plot_line(out, "a", x, bottom, x, bottom + 4.0);
        if (labels & 1)
            plot_text(out, x, bottom + 6.0 + PLOT_LABEL, 1, 0, "m", PLOT_LABEL, f->tx.label[k]);
    }
    for (k = 0; k < f->tx.minor_count; k++) {
        const double x = plot_place(&f->x, f->tx.minor[k]);
        plot_line(out, "a", x, bottom, x, bottom + 2.5);
    }
    for (k = 0; k < f->ty.minor_count; k++) {
        const double y = plot_place(&f->y, f->ty.minor[k]);
        plot_line(out, "a", left - 2.5, y, left, y);
    }
    plot_line(out, "a", left, bottom, right, bottom);
    plot_line(out, "a", left, top, left, bottom);
}

/* Shortens a segment to the part within [low, high] in one coordinate; 0 when none is. */
PLOT_FN int plot_clip(double low, double high, double *a1, double *b1, double *a2, double *b2) {
    int end;
    for (end = 0; end < 2; end++) {
        double *a = end ? a2 : a1, *b = end ? b2 : b1;
        const double other_a = end ? *a1 : *a2, other_b = end ? *b1 : *b2;
        const double limit = *a < low ? low : *a > high ? high : *a;
        if (fabs(limit - *a) <= 0.0) continue;
        if (*a < low ? other_a < low : other_a > high) return 0;
        if (fabs(other_a - *a) > 0.0) *b += (other_b - *b) * (limit - *a) / (other_a - *a);
        *a = limit;
    }
    return 1;
}

/* A polyline through the usable points, cut at the frame. */
PLOT_FN void plot_curve(plot_out *out, const plot_frame *f, const char *style, const double *x,
                        const double *y, size_t count) {
    double px = 0.0, py = 0.0, last_x = 0.0, last_y = 0.0;
    int pen = 0, drawn = 0, before = 0;
    size_t k;
    for (k = 0; k < count; k++) {
        double qx, qy, x1 = px, y1 = py, x2, y2;
        if (!plot_usable(x[k], f->x.log) || !plot_usable(y[k], f->y.log)) {
            before = 0;
            continue;
        }
        qx = x2 = plot_place(&f->x, x[k]);
        qy = y2 = plot_place(&f->y, y[k]);
        if (before && plot_clip(f->x.from, f->x.to, &x1, &y1, &x2, &y2) &&
            plot_clip(f->y.to, f->y.from, &y1, &x1, &y2, &x2)) {
            if (!drawn) plot_print(out, "<path class='@' d='", style);
            if (!pen || fabs(x1 - last_x) + fabs(y1 - last_y) > 0.01)
                plot_print(out, "M# #", x1, y1);
            plot_print(out, "L# #", x2, y2);
            last_x = x2;
            last_y = y2;
            drawn = pen = 1;
        } else {
            pen = 0;
        }
        px = qx;
        py = qy;
        before = 1;
    }
    if (drawn) plot_put(out, "'/>\n");
}

/* The point shape of colour 1 to 8, centred, about 8 units across. */
PLOT_FN void plot_shape(plot_out *out, const char *style, int color, double x, double y) {
    static const char *const shapes[PLOT_COLORS] = {
        NULL,
        "m-3.6-3.6h7.2v7.2h-7.2z",
        "m0-4.8l4.5 7.8h-9z",
        "m0-5l5 5l-5 5l-5-5z",
        "m0 4.8l4.5-7.8h-9z",
        "m-1.5-4.6h3v3.1h3.1v3h-3.1v3.1h-3v-3.1h-3.1v-3h3.1z",
        "m0-4.8l4.6 3.3l-1.8 5.4h-5.6l-1.8-5.4z",
        "m-3-3.9l3 2.6l3-2.6l1.4 1.4l-2.8 2.6l2.8 2.6l-1.4 1.4l-3-2.6l-3 2.6l-1.4-1.4l2.8-2.6l-2.8-2.6z"};
    if (shapes[color - 1] == NULL)
        plot_print(out, "<circle class='@' cx='#' cy='#' r='4'/>\n", style, x, y);
    else plot_print(out, "<path class='@' d='M# #@'/>\n", style, x, y, shapes[color - 1]);
}

PLOT_FN int plot_color_of(const plot_series *series, size_t index) {
    const int asked = series->color;
    return asked > 0 ? (asked - 1) % PLOT_COLORS + 1 : (int)(index % PLOT_COLORS) + 1;
}

/* Where an error bar ends, inside the frame. */
PLOT_FN double plot_bar_end(const plot_frame *f, double value) {
    double place;
    if (f->y.log && !(value > 1e-290)) return f->y.from;
    place = plot_place(&f->y, value);
    return place > f->y.from ? f->y.from : place < f->y.to ? f->y.to : place;
}

PLOT_FN void plot_errors(plot_out *out, const plot_frame *f, const plot_series *s, int color) {
    char style[16];
    size_t k;
    sprintf(style, "e s%d", color);
    for (k = 0; k < s->count; k++) {
        double x, low, high;
        if (!plot_usable(s->x[k], f->x.log) || !plot_usable(s->y[k], f->y.log) ||
            !(s->error[k] > 0.0) || !plot_usable(s->error[k], 0) || !plot_inside(&f->x, s->x[k]))
            continue;
        x = plot_place(&f->x, s->x[k]);
        low = plot_bar_end(f, s->y[k] - s->error[k]);
        high = plot_bar_end(f, s->y[k] + s->error[k]);
        if (low - high < 0.01) continue;
        plot_line(out, style, x, low, x, high);
        plot_line(out, style, x - 3.0, low, x + 3.0, low);
        plot_line(out, style, x - 3.0, high, x + 3.0, high);
    }
}

/* The error as a band between y - error and y + error, in runs without gaps. */
PLOT_FN void plot_band(plot_out *out, const plot_frame *f, const plot_series *s, int color) {
    char style[16];
    size_t first, end, k;
    sprintf(style, "q f%d", color);
    for (first = 0; first < s->count; first = end + 1) {
        for (end = first; end < s->count && plot_usable(s->x[end], f->x.log) &&
                          plot_usable(s->y[end], f->y.log) && plot_usable(s->error[end], 0) &&
                          plot_inside(&f->x, s->x[end]);
             end++) {}
        if (end - first < 2) continue;
        plot_print(out, "<path class='@' d='", style);
        for (k = first; k < end; k++)
            plot_print(out, k == first ? "M# #" : "L# #", plot_place(&f->x, s->x[k]),
                       plot_bar_end(f, s->y[k] + fabs(s->error[k])));
        for (k = end; k-- > first;)
            plot_print(out, "L# #", plot_place(&f->x, s->x[k]),
                       plot_bar_end(f, s->y[k] - fabs(s->error[k])));
        plot_put(out, "z'/>\n");
    }
}

PLOT_FN void plot_draw_series(plot_out *out, const plot_frame *f, const plot_series *s, int color) {
    const unsigned marks = s->marks != 0 ? s->marks : (unsigned)PLOT_LINE;
    char style[16];
    size_t k;
    if (s->error != NULL && (marks & PLOT_BAND)) plot_band(out, f, s, color);
    sprintf(style, marks & PLOT_DASHED ? "w d s%d" : "w s%d", color);
    if (marks & (PLOT_LINE | PLOT_DASHED)) plot_curve(out, f, style, s->x, s->y, s->count);
    if (s->error != NULL && !(marks & PLOT_BAND)) plot_errors(out, f, s, color);
    sprintf(style, "f%d", color);
    for (k = 0; k < s->count && (marks & PLOT_POINTS); k++)
        if (plot_usable(s->x[k], f->x.log) && plot_usable(s->y[k], f->y.log) &&
            plot_inside(&f->x, s->x[k]) && plot_inside(&f->y, s->y[k]))
            plot_shape(out, style, color, plot_place(&f->x, s->x[k]), plot_place(&f->y, s->y[k]));
}

/* ==========================================================================
 * @@CHART: title, legend, rules, note around a frame
 * ========================================================================== */

#define PLOT_MARGIN 14.0
#define PLOT_TITLE_LEADING 21.0
#define PLOT_ROW 18.0

/* One entry of a legend. shape: 0 a series with its marks, 1 a bar, 2 a dot, 3 a hollow diamond. */
typedef struct plot_key {
    const char *name;
    unsigned marks;
    int color, shape;
} plot_key;

PLOT_FN double plot_key_width(const plot_key *key, char *line) {
    const double most = PLOT_WIDTH - 2 * PLOT_MARGIN - 36.0;
    return 32.0 + plot_text_width(plot_fit(key->name, PLOT_LABEL, most, line), PLOT_LABEL);
}

PLOT_FN void plot_draw_key(plot_out *out, const plot_key *key, double x, double y, char *line) {
    const double middle = y + 9.0, most = PLOT_WIDTH - 2 * PLOT_MARGIN - 36.0;
    char style[16];
    sprintf(style, key->marks & PLOT_DASHED ? "w d s%d" : "w s%d", key->color);
    if (key->shape == 0 && (key->marks & (PLOT_LINE | PLOT_DASHED)))
        plot_line(out, style, x, middle, x + 24.0, middle);
    sprintf(style, "f%d", key->color);
    if (key->shape == 0 && (key->marks & PLOT_POINTS))
        plot_shape(out, style, key->color, x + 12.0, middle);
    if (key->shape == 1) plot_box(out, "b", x + 4.0, middle - 6.0, 18.0, 12.0);
    if (key->shape == 2)
        plot_print(out, "<circle class='@' cx='#' cy='#' r='4.5'/>\n", style, x + 14.0, middle);
    sprintf(style, "v h%d", key->color);
    if (key->shape == 3) plot_shape(out, style, 4, x + 14.0, middle);
    plot_text(out, x + 29.0, y + 13.2, 0, 0, "l", PLOT_LABEL,
              plot_fit(key->name, PLOT_LABEL, most, line));
}

/* Entries in rows; draws nothing when out is NULL. Returns the height. */
PLOT_FN double plot_legend(plot_out *out, double y, const plot_key *keys, size_t count) {
    char line[PLOT_LINE_BYTES];
    double x = PLOT_MARGIN;
    size_t k;
    if (count == 0) return 0.0;
    for (k = 0; k < count; k++) {
        const double width = plot_key_width(&keys[k], line);
        if (x > PLOT_MARGIN && x + width > PLOT_WIDTH - PLOT_MARGIN) {
            x = PLOT_MARGIN;
            y += PLOT_ROW;
        }
        if (out != NULL) plot_draw_key(out, &keys[k], x, y, line);
        x += width + 16.0;
    }
    return out != NULL ? 0.0 : y + PLOT_ROW;
}

#define PLOT_MAX_KEYS 40

/* Adds what a chart's legend says and is not said yet. */
PLOT_FN size_t plot_collect_keys(const plot_chart *chart, plot_key *keys, size_t count) {
    size_t i, k;
    for (i = 0; i < chart->series_count; i++) {
        const plot_series *s = &chart->series[i];
        const int color = plot_color_of(s, i);
        if (s->name == NULL || *s->name == '\0' || count == PLOT_MAX_KEYS) continue;
        for (k = 0; k < count; k++)
            if (strcmp(keys[k].name, s->name) == 0 && keys[k].color == color) break;
        if (k < count) continue;
        keys[count].name = s->name;
        keys[count].marks = s->marks != 0 ? s->marks : (unsigned)PLOT_LINE;
        keys[count].color = color;
        keys[count].shape = 0;
        count++;
    }
    return count;
}

/* What the series and rules of a chart span on axes like these, error bars included. */
PLOT_FN void plot_chart_range(const plot_chart *chart, int log_x, int log_y, plot_range *x,
                              plot_range *y) {
    size_t i, k;
    for (i = 0; i < chart->series_count; i++) {
        const plot_series *s = &chart->series[i];
        for (k = 0; k < s->count; k++) {
            if (!plot_usable(s->x[k], log_x) || !plot_usable(s->y[k], log_y)) continue;
            plot_include(x, s->x[k], log_x);
            plot_include(y, s->y[k], log_y);
            if (s->error == NULL || !plot_usable(s->error[k], 0)) continue;
            /* on a logarithm a bar that reaches 0 must not open ten decades */
            if (!log_y || s->y[k] - fabs(s->error[k]) > 0.3 * s->y[k])
                plot_include(y, s->y[k] - fabs(s->error[k]), log_y);
            plot_include(y, s->y[k] + fabs(s->error[k]), log_y);
        }
    }
    for (i = 0; i < chart->rule_count; i++)
        plot_include(chart->rules[i].horizontal ? y : x, chart->rules[i].at,
                     chart->rules[i].horizontal ? log_y : log_x);
}

PLOT_FN int plot_rule_shown(const plot_frame *f, const plot_rule *rule) {
    const plot_span *span = rule->horizontal ? &f->y : &f->x;
    return plot_usable(rule->at, span->log) && plot_inside(span, rule->at);
}

/* Room for labels of horizontal rules on the right. */
PLOT_FN double plot_rule_margin(const plot_chart *chart) {
    double widest = 0.0;
    size_t k;
    for (k = 0; k < chart->rule_count; k++)
        if (chart->rules[k].horizontal)
            widest = fmax(widest, plot_text_width(chart->rules[k].label, PLOT_SMALL));
    return widest > 170.0 ? 170.0 : widest;
}

/* Labels of vertical rules above the frame, in as many rows as keep them apart; draws nothing when
   out is NULL. Returns the number of rows. */
PLOT_FN int plot_rule_labels(plot_out *out, const plot_chart *chart, const plot_frame *f) {
    double end[6];
    char line[PLOT_LINE_BYTES];
    int rows = 0, row;
    size_t k;
    for (k = 0; k < chart->rule_count; k++) {
        const plot_rule *rule = &chart->rules[k];
        const double most = f->x.to - f->x.from;
        double width, x;
        const char *label;
        if (rule->horizontal || rule->label == NULL || !plot_rule_shown(f, rule)) continue;
        label = plot_fit(rule->label, PLOT_SMALL, most, line);
        width = plot_text_width(label, PLOT_SMALL);
        x = plot_place(&f->x, rule->at) - 0.5 * width;
        if (x + width > f->x.to) x = f->x.to - width;
        if (x < f->x.from) x = f->x.from;
        for (row = 0; row < rows && end[row] + 8.0 > x; row++) {}
        if (row == 6) continue;
        if (row == rows) rows++;
        end[row] = x + width;
        if (out != NULL)
            plot_text(out, x, f->y.to - 5.0 - 14.0 * row, 0, 0, "m", PLOT_SMALL, label);
    }
    return rows;
}

/* Labels of horizontal rules to the right of the frame, pushed apart. */
PLOT_FN void plot_rule_sides(plot_out *out, const plot_chart *chart, const plot_frame *f) {
    double last = f->y.to - 100.0;
    char line[PLOT_LINE_BYTES];
    double above = -1e9;
    size_t k, turn;
    for (turn = 0; turn < chart->rule_count && turn < 20; turn++) {
        const plot_rule *next = NULL;
        double best = 1e9, y;
        for (k = 0; k < chart->rule_count; k++) {
            const plot_rule *rule = &chart->rules[k];
            double place;
            if (!rule->horizontal || !plot_rule_shown(f, rule)) continue;
            place = plot_place(&f->y, rule->at) + 1e-6 * (double)k;
            if (place > above && place < best) best = place, next = rule;
        }
        if (next == NULL) break;
        above = best;
        y = best + 0.36 * PLOT_SMALL;
        if (y < last + 14.0) y = last + 14.0;
        plot_text(out, f->x.to + 5.0, y, 0, 0, "m", PLOT_SMALL,
                  plot_fit(next->label, PLOT_SMALL, 170.0, line));
        last = y;
    }
}

PLOT_FN void plot_draw_rules(plot_out *out, const plot_chart *chart, const plot_frame *f) {
    size_t k;
    for (k = 0; k < chart->rule_count; k++) {
        const plot_rule *rule = &chart->rules[k];
        double place;
        if (!plot_rule_shown(f, rule)) continue;
        place = plot_place(rule->horizontal ? &f->y : &f->x, rule->at);
        if (rule->horizontal) plot_line(out, "r", f->x.from, place, f->x.to, place);
        else plot_line(out, "r", place, f->y.to, place, f->y.from);
    }
}

PLOT_FN void plot_no_data(plot_out *out, const plot_frame *f) {
    plot_text(out, 0.5 * (f->x.from + f->x.to), 0.5 * (f->y.from + f->y.to) + 4.0, 1, 0, "m",
              PLOT_LABEL, "no data");
}

PLOT_FN void plot_draw_chart(plot_out *out, const plot_chart *chart, const plot_frame *f,
                             int labels) {
    plot_range x, y;
    size_t k;
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    plot_chart_range(chart, f->x.log, f->y.log, &x, &y);
    plot_axes(out, f, labels);
    if (!x.any || !y.any) plot_no_data(out, f);
    plot_draw_rules(out, chart, f);
    plot_rule_labels(out, chart, f);
    for (k = 0; k < chart->series_count; k++)
        plot_draw_series(out, f, &chart->series[k], plot_color_of(&chart->series[k], k));
}

/* Heights of what stands around the frames of a figure. */
typedef struct plot_around {
    double title, legend, note;
} plot_around;

PLOT_FN plot_around plot_measure_around(const char *title, const char *note, const plot_key *keys,
                                        size_t key_count) {
    plot_around around;
    const double width = PLOT_WIDTH - 2 * PLOT_MARGIN;
    around.title = PLOT_TITLE_LEADING *
                   (double)plot_count_lines(title, PLOT_TITLE, width / 1.1);
    if (around.title > 0.0) around.title += 5.0;
    around.legend = plot_legend(NULL, 0.0, keys, key_count);
    if (around.legend > 0.0) around.legend += 4.0;
    around.note = 15.0 * (double)plot_count_lines(note, PLOT_SMALL, width);
    if (around.note > 0.0) around.note += 10.0;
    return around;
}

/* Opens a figure of this height with its title and legend on top and its note below. */
PLOT_FN void plot_draw_around(plot_out *out, double height, const plot_around *around,
                              const char *title, const char *note, const plot_key *keys,
                              size_t key_count) {
    const double width = PLOT_WIDTH - 2 * PLOT_MARGIN;
    plot_open(out, height, title, note);
    plot_paragraph(out, PLOT_MARGIN, 10.0, width, PLOT_TITLE_LEADING, "t", PLOT_TITLE, title);
    plot_legend(out, 10.0 + around->title, keys, key_count);
    plot_paragraph(out, PLOT_MARGIN, height - around->note, width, 15.0, "m", PLOT_SMALL,
                   note);
}

PLOT_FN int plot_panels_svg(plot_out *out, const char *title, const char *note,
                            const plot_chart *charts, size_t count, size_t columns) {
    plot_chart nothing;
    plot_key keys[PLOT_MAX_KEYS];
    plot_frame f;
    plot_range x, y;
    plot_around around;
    const int single = count == 1 && charts[0].title == title; /* the figure's title is its own */
    double top, cell, frame_height, head, left, gap, right, foot, height;
    size_t key_count = 0, rows, k;
    char line[PLOT_LINE_BYTES];
    int bands = 0;
    memset(&nothing, 0, sizeof nothing);
    if (count == 0) charts = &nothing, count = 1;
    if (columns < 1) columns = 1;
    if (columns > count) columns = count;
    if (columns > 4) columns = 4;
    rows = (count + columns - 1) / columns;
    memset(&f, 0, sizeof f);
    memset(&x, 0, sizeof x);
    memset(&y, 0, sizeof y);
    for (k = 0; k < count; k++) {
        plot_chart_range(&charts[k], charts[0].x.log, charts[0].y.log, &x, &y);
        key_count = plot_collect_keys(&charts[k], keys, key_count);
    }
    around = plot_measure_around(title, note, keys, key_count);
    frame_height = single ? 300.0 : columns == 1 ? 190.0 : columns == 2 ? 180.0 : 140.0;
    plot_set_span(&f.x, &charts[0].x, x, 1);
    plot_set_span(&f.y, &charts[0].y, y, 0);
    f.y.from = frame_height;
    f.y.to = 0.0;
    plot_choose_ticks_apart(&f.ty, &f.y, charts[0].y.whole ? 1.0 : 0.0, 0);
    left = PLOT_MARGIN + plot_widest(&f.ty) + 9.0 + (charts[0].y.label != NULL ? 20.0 : 0.0);
    right = PLOT_WIDTH - PLOT_MARGIN - 8.0;
    if (plot_rule_margin(&charts[0]) > 0.0 && columns == 1)
        right -= plot_rule_margin(&charts[0]) + 2.0;
    gap = 26.0;
    for (k = 0; k < 3; k++) { /* the gap depends on the labels, and these on the width */
        cell = (right - left - gap * (double)(columns - 1)) / (double)columns;
        f.x.from = left;
        f.x.to = left + cell;
        plot_choose_ticks_apart(&f.tx, &f.x, charts[0].x.whole ? 1.0 : 0.0, 1);
        gap = fmax(gap, plot_widest(&f.tx) + 10.0);
    }
    if (!x.any && !(charts[0].x.low < charts[0].x.high)) f.tx.count = f.tx.minor_count = 0;
    if (!y.any && !(charts[0].y.low < charts[0].y.high)) f.ty.count = f.ty.minor_count = 0;
    cell = f.x.to - f.x.from;
    gap = columns > 1 ? (right - left - cell * (double)columns) / (double)(columns - 1) : 0.0;
    for (k = 0; k < count; k++) {
        const int rule_rows = plot_rule_labels(NULL, &charts[k], &f);
        if (rule_rows > bands) bands = rule_rows;
    }
    head = (single ? 6.0 : 24.0) + 14.0 * bands;
    foot = 26.0;
    top = 10.0 + around.title + around.legend;
    height = top + (double)rows * (head + frame_height + foot) +
             (charts[0].x.label != NULL ? 20.0 : 0.0) + around.note + 6.0;
    plot_draw_around(out, height, &around, title, note, keys, key_count);
    for (k = 0; k < count; k++) {
        const size_t row = k / columns, column = k % columns;
        const int labels = (column == 0 ? 2 : 0) | (k + columns >= count ? 1 : 0);
        f.x.from = left + (double)column * (cell + gap);
        f.x.to = f.x.from + cell;
        f.y.to = top + (double)row * (head + frame_height + foot) + head;
        f.y.from = f.y.to + frame_height;
        if (!single)
            plot_text(out, f.x.from, f.y.to - 8.0 - 14.0 * bands, 0, 0, "t", 13.0,
                      plot_fit(charts[k].title, 13.0 * 1.1, cell, line));
        plot_draw_chart(out, &charts[k], &f, labels);
        if (columns == 1) plot_rule_sides(out, &charts[k], &f);
    }
    plot_text(out, 0.5 * (left + right), height - around.note - 10.0, 1, 0, "l", PLOT_LABEL,
              plot_fit(charts[0].x.label, PLOT_LABEL, right - left, line));
    plot_text(out, PLOT_MARGIN + 10.0,
              top + head + 0.5 * ((double)rows * (head + frame_height + foot) - head - foot), 1, 1,
              "l", PLOT_LABEL,
              plot_fit(charts[0].y.label, PLOT_LABEL, (double)rows * (frame_height + head), line));
    return plot_close(out);
}

PLOT_FN int plot_chart_svg(plot_out *out, const plot_chart *chart) {
    return plot_panels_svg(out, chart->title, chart->note, chart, 1, 1);
}

/* ==========================================================================
 * @@SPECTRA: histograms with outliers
 * ========================================================================== */

/* One scale for all panels: linear over the bulk, and beyond it, after a break, a logarithm. */
typedef struct plot_broken {
    plot_span bulk, beyond; /* beyond.from == beyond.to: there is none */
    int bins;
    double top; /* of the density */
} plot_broken;

PLOT_FN double plot_broken_place(const plot_broken *b, double value) {
    const int beyond = value > b->bulk.high && b->beyond.to > b->beyond.from;
    return plot_place(beyond ? &b->beyond : &b->bulk, value);
}

PLOT_FN int plot_broken_inside(const plot_broken *b, double value) {
    if (!plot_usable(value, 0)) return 0;
    if (plot_inside(&b->bulk, value)) return 1;
    return b->beyond.to > b->beyond.from && plot_inside(&b->beyond, value);
}

/* Where the bulks of the panels end, as far as anything tells. */
PLOT_FN double plot_bulk_end(const plot_spectrum *panels, size_t count) {
    plot_range range;
    size_t i, k;
    memset(&range, 0, sizeof range);
    for (i = 0; i < count; i++) {
        const plot_spectrum *p = &panels[i];
        if (p->edge > 0.0) plot_include(&range, p->edge, 0);
        for (k = 0; k < p->curve_count; k++)
            if (p->curve[k] > 0.0) plot_include(&range, p->curve_x[k], 0);
    }
    for (i = 0; i < count && !range.any; i++) {
        for (k = 0; k < panels[i].count; k++) plot_include(&range, panels[i].values[k], 0);
        for (k = 0; k < panels[i].density_count; k++)
            plot_include(&range, panels[i].density_x[k], 0);
    }
    return range.any && range.high > 0.0 ? range.high : 1.0;
}

PLOT_FN double plot_farthest(const plot_spectrum *panels, size_t count) {
    plot_range range;
    size_t i, k;
    memset(&range, 0, sizeof range);
    for (i = 0; i < count; i++) {
        const plot_spectrum *p = &panels[i];
        for (k = 0; k < p->outlier_count; k++) plot_include(&range, p->outliers[k], 0);
        for (k = 0; k < p->predicted_count; k++) plot_include(&range, p->predicted[k], 0);
        for (k = 0; k < p->count; k++) plot_include(&range, p->values[k], 0);
    }
    return range.any ? range.high : 0.0;
}

/* How many of the values lie in each bin of the bulk's range, as a density. */
PLOT_FN void plot_bin(const plot_broken *b, const plot_spectrum *p, double *bins) {
    const double width = (b->bulk.high - b->bulk.low) / b->bins;
    size_t k;
    int i;
    for (i = 0; i < b->bins; i++) bins[i] = 0.0;
    for (k = 0; k < p->count; k++) {
        if (!plot_usable(p->values[k], 0) || p->values[k] < b->bulk.low) continue;
        i = (int)fmin((p->values[k] - b->bulk.low) / width, b->bins);
        if (i < b->bins) bins[i] += 1.0 / ((double)p->count * width);
    }
}

#define PLOT_MAX_BINS 60

/* Sets ranges and bins; places run over [from, to]. */
PLOT_FN void plot_break_scale(plot_broken *b, const plot_spectrum *panels, size_t count,
                              double from, double to, double gap) {
    const double end = plot_bulk_end(panels, count), farthest = plot_farthest(panels, count);
    double bins[PLOT_MAX_BINS], most = 0.0;
    size_t values = 0, i, k;
    int n;
    memset(b, 0, sizeof *b);
    b->bulk.low = 0.0;
    b->bulk.high = 1.25 * end;
    b->bulk.from = from;
    b->bulk.to = to;
    if (farthest > b->bulk.high) {
        if (farthest < 1.7 * end) {
            b->bulk.high = 1.05 * farthest;
        } else {
            b->bulk.to = from + 0.62 * (to - from);
            b->beyond.log = 1;
            b->beyond.low = b->bulk.high;
            b->beyond.high = fmax(1.15 * farthest, 1.6 * b->bulk.high);
            b->beyond.from = b->bulk.to + gap;
            b->beyond.to = to;
        }
    }
    for (i = 0; i < count; i++)
        if (panels[i].count > values) values = panels[i].count;
    n = (int)fmin(1.5 * sqrt((double)values), PLOT_MAX_BINS);
    b->bins = n < 8 ? 8 : n;
    for (i = 0; i < count; i++) {
        plot_bin(b, &panels[i], bins);
        for (n = 0; n < b->bins; n++) most = fmax(most, bins[n]);
        for (k = 0; k < panels[i].density_count; k++)
            if (plot_usable(panels[i].density[k], 0)) most = fmax(most, panels[i].density[k]);
        /* a density may have a pole at 0: it must not flatten all the rest */
        for (k = 0; k < panels[i].curve_count; k++)
            if (plot_usable(panels[i].curve[k], 0) && values == 0 && panels[i].density_count == 0)
                most = fmax(most, panels[i].curve[k]);
    }
    b->top = most > 0.0 ? 1.1 * most : 1.0;
}

/* The frames of one panel: the bulk's, and one for alignments. */
typedef struct plot_spectrum_frame {
    plot_frame bulk;
    plot_span alignment;
    const plot_broken *scale;
    double right;
} plot_spectrum_frame;

PLOT_FN void plot_draw_bulk(plot_out *out, const plot_spectrum_frame *f, const plot_spectrum *p) {
    double bins[PLOT_MAX_BINS];
    const plot_broken *b = f->scale;
    const double width = (b->bulk.high - b->bulk.low) / b->bins;
    size_t k;
    int i;
    plot_bin(b, p, bins);
    for (i = 0; i < b->bins; i++) {
        const double x = plot_place(&b->bulk, b->bulk.low + width * i);
        const double next = plot_place(&b->bulk, b->bulk.low + width * (i + 1));
        const double y = fmax(plot_place(&f->bulk.y, bins[i]), f->bulk.y.to);
        plot_box(out, "b", x, y, next - x - 0.6, f->bulk.y.from - y);
    }
    if (p->count == 0 && p->density_count > 1) {
        double x = 0.0;
        int open = 0;
        for (k = 0; k < p->density_count; k++) {
            if (!plot_usable(p->density[k], 0) || !plot_usable(p->density_x[k], 0) ||
                !plot_inside(&b->bulk, p->density_x[k]))
                continue;
            x = plot_place(&b->bulk, p->density_x[k]);
            if (!open) plot_print(out, "<path class='b' d='M# #", x, f->bulk.y.from);
            plot_print(out, "L# #", x, fmax(plot_place(&f->bulk.y, p->density[k]), f->bulk.y.to));
            open = 1;
        }
        if (open) plot_print(out, "L# #z'/>\n", x, f->bulk.y.from);
    }
    plot_curve(out, &f->bulk, "w s1", p->curve_x, p->curve, p->curve_count);
}

PLOT_FN double plot_alignment_place(const plot_spectrum_frame *f, const double *alignments,
                                    size_t k) {
    const double share = alignments != NULL && alignments[k] > 0.0 ? alignments[k] : 0.0;
    return plot_place(&f->alignment, share < 1.0 ? share : 1.0);
}

PLOT_FN void plot_draw_outliers(plot_out *out, const plot_spectrum_frame *f,
                                const plot_spectrum *p) {
    size_t k;
    for (k = 0; k < p->predicted_count; k++) {
        double x, y;
        if (!plot_broken_inside(f->scale, p->predicted[k])) continue;
        x = plot_broken_place(f->scale, p->predicted[k]);
        y = plot_alignment_place(f, p->predicted_alignments, k);
        plot_line(out, "e d s2", x, f->bulk.y.from, x, y);
    }
    for (k = 0; k < p->outlier_count; k++) {
        double x, y;
        if (!plot_broken_inside(f->scale, p->outliers[k])) continue;
        x = plot_broken_place(f->scale, p->outliers[k]);
        y = plot_alignment_place(f, p->alignments, k);
        plot_line(out, "w s2", x, f->bulk.y.from, x, y);
        plot_print(out, "<circle class='f2' cx='#' cy='#' r='4.5'/>\n", x, y);
    }
    for (k = 0; k < p->predicted_count; k++) {
        if (!plot_broken_inside(f->scale, p->predicted[k])) continue;
        plot_shape(out, "v h2", 4, plot_broken_place(f->scale, p->predicted[k]),
                   plot_alignment_place(f, p->predicted_alignments, k));
    }
}

/* The edge and the measured outliers by name above the frame; what would touch is left out. */
PLOT_FN void plot_name_outliers(plot_out *out, const plot_spectrum_frame *f,
                                const plot_spectrum *p) {
    const double y = f->bulk.y.to - 6.0;
    char label[40];
    double busy[2 * 24];
    size_t taken = 0, i, k;
    if (p->edge > 0.0 && plot_broken_inside(f->scale, p->edge)) {
        const double x = plot_broken_place(f->scale, p->edge);
        strcpy(label, "edge ");
        plot_decimal(label + 5, sizeof label - 5, p->edge, 2);
        plot_line(out, "r", x, f->bulk.y.to, x, f->bulk.y.from);
        plot_text(out, x + 2.0, y, 2, 0, "m", PLOT_SMALL, label);
        busy[0] = x + 2.0 - plot_text_width(label, PLOT_SMALL);
        busy[1] = x + 2.0;
        taken = 1;
    }
    for (k = 0; k < p->outlier_count && taken < 24; k++) {
        double x, width, from;
        int free_place = 0, turn;
        if (!plot_broken_inside(f->scale, p->outliers[k])) continue;
        x = plot_broken_place(f->scale, p->outliers[k]);
        plot_decimal(label, 30, p->outliers[k], p->outliers[k] < 1000.0 ? 2 : 0);
        width = plot_text_width(label, PLOT_SMALL);
        for (turn = 0; turn < 2 && !free_place; turn++) { /* centred, or else to the right */
            from = turn == 0 ? x - 0.5 * width : x - 2.0;
            free_place = from + width < PLOT_WIDTH - 2.0;
            for (i = 0; i < taken && free_place; i++)
                if (from < busy[2 * i + 1] + 5.0 && from + width + 5.0 > busy[2 * i])
                    free_place = 0;
            if (!free_place) continue;
            plot_text(out, from, y, 0, 0, "f2", PLOT_SMALL, label);
            busy[2 * taken] = from;
            busy[2 * taken + 1] = from + width;
            taken++;
        }
    }
}

PLOT_FN void plot_spectrum_axes(plot_out *out, const plot_spectrum_frame *f, int labelled,
                                int aligned) {
    static const char *const shares[] = {"0", "0.5", "1"};
    const plot_broken *b = f->scale;
    const double bottom = f->bulk.y.from, top = f->bulk.y.to;
    plot_ticks ticks;
    size_t k;
    int i;
    plot_axes(out, &f->bulk, 2 | (labelled ? 1 : 0));
    if (b->beyond.to > b->beyond.from) {
        plot_choose_ticks(&ticks, &b->beyond, 1);
        for (k = 0; k < ticks.count; k++) {
            const double x = plot_place(&b->beyond, ticks.at[k]);
            plot_line(out, "g", x, top, x, bottom);
            plot_line(out, "a", x, bottom, x, bottom + 4.0);
            /* next to the break there may be no room beside the last label of the bulk */
            if (labelled && x - b->beyond.from > 12.0)
                plot_text(out, x, bottom + 6.0 + PLOT_LABEL, 1, 0, "m", PLOT_LABEL, ticks.label[k]);
        }
        for (k = 0; k < ticks.minor_count; k++) {
            const double x = plot_place(&b->beyond, ticks.minor[k]);
            plot_line(out, "a", x, bottom, x, bottom + 2.5);
        }
        plot_line(out, "a", b->beyond.from, bottom, b->beyond.to, bottom);
        for (i = 0; i < 2; i++) {
            const double x = i == 0 ? b->bulk.to : b->beyond.from;
            plot_line(out, "a", x - 3.0, bottom + 5.0, x + 3.0, bottom - 5.0);
        }
    }
    for (i = 0; i < 3 && aligned; i++) {
        const double y = plot_place(&f->alignment, 0.5 * i);
        plot_line(out, "s2", f->right, y, f->right + 4.0, y);
        plot_text(out, f->right + 7.0, y + 0.36 * PLOT_LABEL, 0, 0, "f2", PLOT_LABEL, shares[i]);
    }
    if (aligned) plot_line(out, "s2", f->right, top, f->right, bottom);
}

/* What the legend has to explain. */
PLOT_FN size_t plot_spectrum_keys(const plot_spectrum *panels, size_t count, plot_key *keys) {
    static const char *const names[] = {"singular values, measured", "bulk, predicted",
                                        "outlier, measured", "outlier, predicted"};
    static const int shapes[] = {1, 0, 2, 3}, colors[] = {1, 1, 2, 2};
    int used[4] = {0, 0, 0, 0};
    size_t i, total = 0;
    for (i = 0; i < count; i++) {
        used[0] |= panels[i].count > 0 || panels[i].density_count > 0;
        used[1] |= panels[i].curve_count > 0;
        used[2] |= panels[i].outlier_count > 0;
        used[3] |= panels[i].predicted_count > 0;
    }
    for (i = 0; i < 4; i++) {
        if (!used[i]) continue;
        keys[total].name = names[i];
        keys[total].marks = PLOT_LINE;
        keys[total].color = colors[i];
        keys[total++].shape = shapes[i];
    }
    return total;
}

PLOT_FN int plot_spectra_svg(plot_out *out, const char *title, const char *note,
                             const plot_spectrum *panels, size_t count) {
    plot_spectrum nothing;
    plot_key keys[4];
    plot_broken scale;
    plot_spectrum_frame f;
    plot_around around;
    size_t key_count, k;
    int aligned;
    double frame_height, top, height, left, right;
    const double head = 38.0, foot = 14.0;
    char line[PLOT_LINE_BYTES];
    memset(&nothing, 0, sizeof nothing);
    if (count == 0) panels = &nothing, count = 1;
    frame_height = count == 1 ? 250.0 : count == 2 ? 170.0 : count == 3 ? 130.0 : 105.0;
    key_count = plot_spectrum_keys(panels, count, keys);
    aligned = key_count > 0 && keys[key_count - 1].color == 2;
    around = plot_measure_around(title, note, keys, key_count);
    right = PLOT_WIDTH - PLOT_MARGIN - (aligned ? 52.0 : 6.0);
    memset(&f, 0, sizeof f);
    plot_break_scale(&scale, panels, count, 0.0, right, 10.0);
    f.bulk.y.low = 0.0;
    f.bulk.y.high = scale.top;
    f.bulk.y.from = frame_height;
    plot_choose_ticks(&f.bulk.ty, &f.bulk.y, 0);
    left = PLOT_MARGIN + 20.0 + plot_widest(&f.bulk.ty) + 9.0;
    plot_break_scale(&scale, panels, count, left, right, 10.0);
    f.bulk.x = scale.bulk;
    f.scale = &scale;
    f.right = right;
    plot_choose_ticks(&f.bulk.tx, &f.bulk.x, 1);
    top = 10.0 + around.title + around.legend;
    height = top + (double)count * (head + frame_height + foot) + 36.0 + around.note;
    plot_draw_around(out, height, &around, title, note, keys, key_count);
    for (k = 0; k < count; k++) {
        const plot_spectrum *p = &panels[k];
        f.bulk.y.to = top + (double)k * (head + frame_height + foot) + head;
        f.bulk.y.from = f.bulk.y.to + frame_height;
        f.alignment.low = 0.0;
        f.alignment.high = 1.0;
        f.alignment.from = f.bulk.y.from;
        f.alignment.to = f.bulk.y.to + 6.0;
        plot_text(out, left, f.bulk.y.to - 22.0, 0, 0, "t", 13.0,
                  plot_fit(p->title, 13.0 * 1.1, right - left, line));
        plot_spectrum_axes(out, &f, k + 1 == count, aligned);
        if (p->count == 0 && p->density_count == 0 && p->curve_count == 0 && p->outlier_count == 0)
            plot_no_data(out, &f.bulk);
        plot_draw_bulk(out, &f, p);
        plot_name_outliers(out, &f, p);
        plot_draw_outliers(out, &f, p);
    }
    height -= around.note;
    plot_text(out, 0.5 * (left + right), height - 6.0, 1, 0, "l", PLOT_LABEL, "singular value");
    plot_text(out, PLOT_MARGIN + 10.0, 0.5 * (top + height - 36.0), 1, 1, "l", PLOT_LABEL,
              "density");
    if (aligned)
        plot_text(out, PLOT_WIDTH - PLOT_MARGIN - 2.0, 0.5 * (top + height - 36.0), 1, 1, "f2",
                  PLOT_LABEL, "alignment with the target");
    return plot_close(out);
}

/* ==========================================================================
 * @@TERMINAL: the same in characters
 * ========================================================================== */

#define PLOT_COLUMNS 79
#define PLOT_ROWS 4

/* The character for a column that fills eighths (0 to 8) of this cell. */
PLOT_FN void plot_put_block(plot_out *out, int eighths, int ascii) {
    char block[4] = "\342\226\201";
    if (eighths <= 0) {
        plot_put(out, " ");
        return;
    }
    if (eighths > 8) eighths = 8;
    if (ascii) {
        plot_put_bytes(out, &"..::||###"[eighths], 1);
        return;
    }
    block[2] = (char)(0x80 + eighths);
    plot_put(out, block);
}

/* Writes label centred at column into a line of blanks, if it touches nothing there. */
PLOT_FN void plot_stamp(char *line, int column, const char *label) {
    const int length = (int)strlen(label);
    int from = column - length / 2, k;
    if (from + length > PLOT_COLUMNS) from = PLOT_COLUMNS - length;
    if (from < 0) from = 0;
    for (k = from > 0 ? from - 1 : 0; k < from + length + 1 && k < PLOT_COLUMNS; k++)
        if (line[k] != ' ') return;
    memcpy(line + from, label, (size_t)length);
}

PLOT_FN void plot_put_trimmed(plot_out *out, char *line) {
    int end = PLOT_COLUMNS;
    while (end > 0 && line[end - 1] == ' ') end--;
    plot_put_bytes(out, line, (size_t)end);
    plot_put(out, "\n");
}

PLOT_FN int plot_column(const plot_broken *b, double value) {
    const int column = (int)floor(plot_broken_place(b, value));
    return column < 0 ? 0 : column >= PLOT_COLUMNS ? PLOT_COLUMNS - 1 : column;
}

/* The rows of blocks of one panel. kind: per column 0 bulk, 1 edge, 2 outlier. */
PLOT_FN void plot_put_rows(plot_out *out, const int *height, const char *kind, int ascii) {
    int row, column;
    for (row = PLOT_ROWS - 1; row >= 0; row--) {
        int end = PLOT_COLUMNS;
        for (; end > 0 && height[end - 1] <= 8 * row && kind[end - 1] == 0; end--) {}
        for (column = 0; column < end; column++) {
            if (kind[column] == 2) plot_put(out, ascii ? "!" : "\342\224\203");
            else if (height[column] > 8 * row) plot_put_block(out, height[column] - 8 * row, ascii);
            else if (kind[column] == 1) plot_put(out, ascii ? ":" : "\342\224\212");
            else plot_put(out, " ");
        }
        plot_put(out, "\n");
    }
}

/* Puts the title into the line of numbers above a panel, or, where they touch, on its own. */
PLOT_FN void plot_text_title(plot_out *out, const char *title, char *above) {
    char line[4 * PLOT_COLUMNS];
    size_t length = 0;
    unsigned long code;
    int level = 0, letters = 0, column = 0, wide = 0;
    if (title == NULL) title = "";
    while (letters < PLOT_COLUMNS - 2 && (code = plot_step_text(&title, &level)) != 0) {
        length += plot_encode(code, line + length);
        wide |= code >= 0x80;
        letters++;
    }
    while (column < letters + 2 && above[column] == ' ') column++;
    if (column < letters + 2 || wide) {
        plot_put_bytes(out, line, length);
        plot_put(out, "\n");
    } else {
        memcpy(above, line, length);
    }
}

PLOT_FN void plot_text_panel(plot_out *out, const plot_broken *b, const plot_spectrum *p,
                             int ascii) {
    double bins[PLOT_MAX_BINS];
    int height[PLOT_COLUMNS], column, columns = (int)b->bulk.to;
    char kind[PLOT_COLUMNS], above[PLOT_COLUMNS + 1], label[40];
    size_t k;
    memset(height, 0, sizeof height);
    memset(kind, 0, sizeof kind);
    memset(above, ' ', sizeof above);
    plot_bin(b, p, bins);
    for (column = 0; column < columns && column < PLOT_COLUMNS; column++) {
        const double share = bins[(2 * column + 1) * b->bins / (2 * columns)] / b->top;
        if (share > 0.0) height[column] = (int)fmax(1.0, floor(8.0 * PLOT_ROWS * share + 0.5));
    }
    if (p->edge > 0.0 && plot_broken_inside(b, p->edge)) {
        kind[plot_column(b, p->edge)] = 1;
    }
    for (k = 0; k < p->outlier_count; k++) {
        if (!plot_broken_inside(b, p->outliers[k])) continue;
        column = plot_column(b, p->outliers[k]);
        kind[column] = 2;
        plot_decimal(label, sizeof label, p->outliers[k], p->outliers[k] < 1000.0 ? 2 : 0);
        plot_stamp(above, column, label);
    }
    plot_text_title(out, p->title, above);
    plot_put_trimmed(out, above);
    plot_put_rows(out, height, kind, ascii);
}

/* The common axis: a rule with ticks, and a line of numbers. */
PLOT_FN void plot_text_axis(plot_out *out, const plot_broken *b, int ascii) {
    const int broken = b->beyond.to > b->beyond.from;
    const int end = (int)(broken ? b->beyond.to : b->bulk.to);
    char ticked[PLOT_COLUMNS + 1], below[PLOT_COLUMNS + 1];
    plot_ticks ticks;
    plot_span wide;
    int part, column;
    size_t k;
    memset(ticked, '-', sizeof ticked);
    memset(below, ' ', sizeof below);
    for (part = 0; part < 1 + broken; part++) {
        const plot_span *span = part ? &b->beyond : &b->bulk;
        wide = *span; /* a column is about eight units wide */
        wide.from *= 8.0;
        wide.to *= 8.0;
        plot_choose_ticks(&ticks, &wide, 1);
        for (k = 0; k < ticks.count; k++) {
            if (strpbrk(ticks.label[k], "{\303") != NULL)
                snprintf(ticks.label[k], sizeof ticks.label[k], "%.0e", ticks.at[k]);
            column = plot_column(b, ticks.at[k]);
            ticked[column] = '+';
            plot_stamp(below, column, ticks.label[k]);
        }
    }
    for (column = 0; column < end; column++) {
        const int gap = broken && column >= (int)b->bulk.to && column < (int)b->beyond.from;
        if (gap) plot_put(out, ascii ? "/" : "\342\225\261");
        else if (ascii) plot_put_bytes(out, &ticked[column], 1);
        else plot_put(out, ticked[column] == '+' ? "\342\224\264" : "\342\224\200");
    }
    plot_put(out, "\n");
    plot_put_trimmed(out, below);
}

PLOT_FN int plot_spectra_text(plot_out *out, const plot_spectrum *panels, size_t count, int ascii) {
    plot_broken b;
    size_t k;
    if (count == 0) return out->failed;
    plot_break_scale(&b, panels, count, 0.0, PLOT_COLUMNS - 1.0, 2.0);
    b.bulk.to = floor(b.beyond.to > b.beyond.from ? b.bulk.to : 60.0);
    if (b.beyond.to > b.beyond.from) b.beyond.from = b.bulk.to + 2.0;
    if (3 * b.bins > 2 * (int)b.bulk.to) b.bins = (int)b.bulk.to; /* else wider than a column */
    b.top = 0.0;
    for (k = 0; k < count; k++) {
        double bins[PLOT_MAX_BINS];
        int i;
        plot_bin(&b, &panels[k], bins);
        for (i = 0; i < b.bins; i++) b.top = fmax(b.top, bins[i]);
    }
    if (!(b.top > 0.0)) b.top = 1.0;
    for (k = 0; k < count; k++) plot_text_panel(out, &b, &panels[k], ascii);
    plot_text_axis(out, &b, ascii);
    return out->failed;
}

/* ==========================================================================
 * @@PHASE: heat maps over (alpha_1, alpha_2)
 * ========================================================================== */

/* Where cell k of a grid of count places begins: half way between neighbours. */
PLOT_FN double plot_cell_start(const double *at, size_t count, size_t k) {
    if (count == 1) return at[0] + (k == 0 ? -0.025 : 0.025);
    if (k == 0) return at[0] - 0.5 * (at[1] - at[0]);
    if (k == count) return at[count - 1] + 0.5 * (at[count - 1] - at[count - 2]);
    return 0.5 * (at[k - 1] + at[k]);
}

PLOT_FN int plot_is_grid(const double *at, size_t count) {
    size_t k;
    for (k = 0; k < count; k++)
        if (!plot_usable(at[k], 0) || (k > 0 && !(at[k] > at[k - 1]))) return 0;
    return count > 0;
}

/* The colours of one map. */
typedef struct plot_scale {
    double low, high;
    int any, whole;
} plot_scale;

PLOT_FN plot_scale plot_map_scale(const plot_map *map, size_t cells) {
    plot_scale scale;
    plot_range range;
    size_t k;
    memset(&range, 0, sizeof range);
    for (k = 0; map->values != NULL && k < cells; k++) plot_include(&range, map->values[k], 0);
    scale.any = range.any;
    scale.low = range.low;
    scale.high = range.high;
    if (map->low < map->high && plot_usable(map->low, 0) && plot_usable(map->high, 0)) {
        scale.low = map->low;
        scale.high = map->high;
    }
    scale.whole = map->whole && scale.high - scale.low < 40.0;
    if (scale.whole) {
        scale.low = floor(scale.low + 0.5);
        scale.high = floor(scale.high + 0.5);
    } else if (!(scale.high - scale.low > 1e-9 * fabs(scale.high))) {
        scale.low -= scale.low != 0.0 ? 0.5 * fabs(scale.low) : 0.5;
        scale.high += scale.high != 0.0 ? 0.5 * fabs(scale.high) : 0.5;
    }
    return scale;
}

PLOT_FN void plot_scale_color(const plot_scale *scale, double value, char *color) {
    const double width = scale->high - scale->low;
    if (scale->whole) value = floor(value + 0.5);
    plot_ramp_color(width > 0.0 ? (value - scale->low) / width : 0.5, color);
}

PLOT_FN void plot_filled(plot_out *out, const char *color, double x, double y, double width,
                         double height) {
    plot_print(out, "<rect fill='@' x='#' y='#' width='#' height='#'/>\n", color, x, y, width,
               height);
}

/* The cells. Neighbours overlap by half a unit, so that no paper shines through between them. */
PLOT_FN void plot_cells(plot_out *out, const plot_frame *f, const plot_phase *phase,
                        const plot_map *map, const plot_scale *scale) {
    const size_t nx = phase->alpha1_count, ny = phase->alpha2_count;
    size_t i, j;
    char color[8];
    plot_put(out, "<g shape-rendering='crispEdges'>\n");
    for (j = 0; j < ny; j++) {
        const double low = plot_place(&f->y, plot_cell_start(phase->alpha2, ny, j));
        const double high = plot_place(&f->y, plot_cell_start(phase->alpha2, ny, j + 1));
        for (i = 0; i < nx; i++) {
            const double value = map->values[j * nx + i];
            const double left = plot_place(&f->x, plot_cell_start(phase->alpha1, nx, i));
            const double right = plot_place(&f->x, plot_cell_start(phase->alpha1, nx, i + 1));
            const double more_x = i + 1 < nx ? 0.5 : 0.0, more_y = j > 0 ? 0.5 : 0.0;
            if (!plot_usable(value, 0)) continue;
            plot_scale_color(scale, value, color);
            plot_filled(out, color, left, high, right - left + more_x, low - high + more_y);
        }
    }
    plot_put(out, "</g>\n");
}

/* The lines alpha_2 = k (1/2 - alpha_1), as many as can be told apart, with their k above. */
PLOT_FN void plot_orders(plot_out *out, const plot_frame *f) {
    char label[16];
    double busy = f->x.from - 100.0;
    int k, named = 0;
    for (k = 1; k <= 30; k++) {
        double x1 = plot_place(&f->x, 0.5 - f->y.high / k), y1 = f->y.to;
        double x2 = plot_place(&f->x, 0.5 - f->y.low / k), y2 = f->y.from;
        double top, width;
        const int from_top = x1 >= f->x.from && x1 <= f->x.to;
        sprintf(label, named ? "%d" : "k = %d", k);
        width = plot_text_width(label, PLOT_SMALL);
        top = fmax(x1 - 0.5 * width, f->x.from - 8.0);
        if (from_top && (top < busy + 6.0 || top + width > f->x.to + 8.0)) return;
        if (!plot_clip(f->x.from, f->x.to, &x1, &y1, &x2, &y2) ||
            !plot_clip(f->y.to, f->y.from, &y1, &x1, &y2, &x2))
            continue;
        plot_line(out, "o", x1, y1, x2, y2);
        plot_line(out, "k", x1, y1, x2, y2);
        if (!from_top) continue;
        plot_text(out, top, f->y.to - 5.0, 0, 0, "m", PLOT_SMALL, label);
        busy = top + width;
        named = 1;
    }
}

/* What the colours mean, below a map. */
PLOT_FN void plot_color_bar(plot_out *out, const plot_scale *scale, double left, double right,
                            double y) {
    const double height = 10.0;
    char color[8], label[24];
    plot_span span;
    plot_ticks ticks;
    double busy = left - 100.0;
    size_t k;
    int i;
    if (!scale->any) return;
    if (scale->whole) {
        const int count = (int)(scale->high - scale->low) + 1;
        const double most = (right - left) / count, width = most < 34.0 ? most : 34.0;
        for (i = 0; i < count; i++) {
            const double middle = left + width * (i + 0.5);
            plot_scale_color(scale, scale->low + i, color);
            plot_filled(out, color, left + width * i, y, width - 1.0, height);
            plot_decimal(label, sizeof label, scale->low + i, 0);
            if (middle - 0.5 * plot_text_width(label, PLOT_SMALL) < busy + 4.0) continue;
            plot_text(out, middle, y + height + 3.0 + PLOT_SMALL, 1, 0, "m", PLOT_SMALL, label);
            busy = middle + 0.5 * plot_text_width(label, PLOT_SMALL);
        }
        return;
    }
    for (i = 0; i < 40; i++) {
        const double width = (right - left) / 40.0;
        plot_ramp_color((i + 0.5) / 40.0, color);
        plot_filled(out, color, left + width * i, y, width + (i < 39 ? 0.5 : 0.0), height);
    }
    memset(&span, 0, sizeof span);
    span.low = scale->low;
    span.high = scale->high;
    span.from = left;
    span.to = right;
    plot_choose_ticks(&ticks, &span, 1);
    for (k = 0; k < ticks.count; k++) {
        const double x = plot_place(&span, ticks.at[k]);
        plot_line(out, "a", x, y + height, x, y + height + 3.0);
        plot_text(out, x, y + height + 5.0 + PLOT_SMALL, 1, 0, "m", PLOT_SMALL, ticks.label[k]);
    }
}

/* The frame over the whole grid. */
PLOT_FN int plot_phase_frame(plot_frame *f, const plot_phase *phase) {
    const int good = plot_is_grid(phase->alpha1, phase->alpha1_count) &&
                     plot_is_grid(phase->alpha2, phase->alpha2_count);
    memset(f, 0, sizeof *f);
    f->x.high = f->y.high = 0.5;
    if (!good) return 0;
    f->x.low = plot_cell_start(phase->alpha1, phase->alpha1_count, 0);
    f->x.high = plot_cell_start(phase->alpha1, phase->alpha1_count, phase->alpha1_count);
    f->y.low = plot_cell_start(phase->alpha2, phase->alpha2_count, 0);
    f->y.high = plot_cell_start(phase->alpha2, phase->alpha2_count, phase->alpha2_count);
    return 1;
}

PLOT_FN int plot_phase_svg(plot_out *out, const plot_phase *phase) {
    plot_map nothing;
    const plot_map *maps = phase->maps;
    const size_t count = phase->map_count > 0 ? phase->map_count : 1;
    const size_t columns = count < 3 ? count : 3, rows = (count + columns - 1) / columns;
    const double left = PLOT_MARGIN + 56.0, right = PLOT_WIDTH - PLOT_MARGIN - 6.0, gap = 26.0;
    const double head = 42.0, foot = 84.0;
    double side = (right - left - gap * ((double)columns - 1.0)) / (double)columns, top, height;
    plot_around around = plot_measure_around(phase->title, phase->note, NULL, 0);
    plot_frame f;
    size_t k;
    char line[PLOT_LINE_BYTES];
    const int good = plot_phase_frame(&f, phase);
    memset(&nothing, 0, sizeof nothing);
    if (phase->map_count == 0) maps = &nothing;
    if (side > 330.0) side = 330.0;
    top = 10.0 + around.title;
    height = top + (double)rows * (head + side + foot) + around.note + 2.0;
    f.x.to = side;
    f.y.from = side;
    plot_choose_ticks(&f.tx, &f.x, 1);
    plot_choose_ticks(&f.ty, &f.y, 0);
    plot_draw_around(out, height, &around, phase->title, phase->note, NULL, 0);
    for (k = 0; k < count; k++) {
        const size_t row = k / columns, column = k % columns;
        plot_scale scale;
        f.x.from = left + (double)column * (side + gap);
        f.x.to = f.x.from + side;
        f.y.to = top + (double)row * (head + side + foot) + head;
        f.y.from = f.y.to + side;
        plot_text(out, f.x.from, f.y.to - 24.0, 0, 0, "t", 13.0,
                  plot_fit(maps[k].title, 13.0 * 1.1, side + 10.0, line));
        plot_box(out, "n", f.x.from, f.y.to, side, side);
        memset(&scale, 0, sizeof scale);
        if (good) scale = plot_map_scale(&maps[k], phase->alpha1_count * phase->alpha2_count);
        plot_axes(out, &f, column == 0 ? 3 : 1);
        if (scale.any) plot_cells(out, &f, phase, &maps[k], &scale);
        else plot_no_data(out, &f);
        plot_orders(out, &f);
        plot_text(out, 0.5 * (f.x.from + f.x.to), f.y.from + 36.0, 1, 0, "l", PLOT_LABEL,
                  "\316\261_{1}");
        if (column == 0)
            plot_text(out, PLOT_MARGIN + 10.0, 0.5 * (f.y.from + f.y.to), 1, 1, "l", PLOT_LABEL,
                      "\316\261_{2}");
        plot_color_bar(out, &scale, f.x.from, f.x.to, f.y.from + 46.0);
    }
    return plot_close(out);
}

#endif /* TWOSTEP_PLOT_H_INCLUDED */
