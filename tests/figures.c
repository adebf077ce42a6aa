/* Writes figures for tests/figures.sh into the current folder. With an argument: after setting a
   locale with a decimal comma, if the system has one. */
#include "plot.h"

#include <locale.h>

enum { POINTS = 20, VALUES = 400, GRID = 12 };

static int failures;

typedef int (*draw)(plot_out *out, void *data);

/* To a file and to memory: the same bytes. */
static void figure(const char *name, draw function, void *data) {
    char path[64], *copy;
    plot_out out;
    FILE *file;
    size_t length;
    sprintf(path, "%s%s", name, strchr(name, '.') == NULL ? ".svg" : "");
    file = fopen(path, "w+b");
    if (file == NULL) {
        failures++;
        return;
    }
    out = plot_to_file(file);
    failures += function(&out, data) != 0;
    plot_free(&out);
    out = plot_to_text();
    failures += function(&out, data) != 0;
    if (out.text == NULL) plot_put_bytes(&out, "\0", 1), out.length = 0; /* nothing was to be drawn */
    length = out.length;
    copy = (char *)malloc(length + 2);
    rewind(file);
    if (copy == NULL || fread(copy, 1, length + 1, file) != length || memcmp(copy, out.text, length) != 0 ||
        strlen(out.text) != length) {
        failures++;
        printf("%s differs in memory\n", name);
    }
    free(copy);
    plot_free(&out);
    fclose(file);
}

static int draw_chart(plot_out *out, void *data) { return plot_chart_svg(out, (plot_chart *)data); }
static int draw_phase(plot_out *out, void *data) { return plot_phase_svg(out, (plot_phase *)data); }

typedef struct many {
    const char *title, *note;
    void *items;
    size_t count, columns;
    int ascii;
} many;

static int draw_panels(plot_out *out, void *data) {
    many *m = (many *)data;
    return plot_panels_svg(out, m->title, m->note, (plot_chart *)m->items, m->count, m->columns);
}

static int draw_spectra(plot_out *out, void *data) {
    many *m = (many *)data;
    return plot_spectra_svg(out, m->title, m->note, (plot_spectrum *)m->items, m->count);
}

static int draw_terminal(plot_out *out, void *data) {
    many *m = (many *)data;
    return plot_spectra_text(out, (plot_spectrum *)m->items, m->count, m->ascii);
}

static const char *const long_text =
    "A very long sentence that cannot stand on one line of a figure of 700 units and has to be broken "
    "somewhere, and averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryverylongword";
static const char *const evil_text = "<&>\"' ]]> \x01\x1f \xff\xfe \xc3( \xed\xa0\x80 ^{2} _{} ^{ open";

static void charts(void) {
    double x[POINTS], y[POINTS], z[POINTS], error[POINTS], gap[POINTS];
    plot_series series[40];
    plot_rule rules[8];
    plot_chart chart, panels[6];
    many m;
    size_t i, k;
    memset(series, 0, sizeof series);
    for (i = 0; i < POINTS; i++) {
        x[i] = pow(10.0, 1.0 + 0.3 * (double)i);
        y[i] = 3.0 * pow(x[i], 0.4);
        z[i] = 0.5 * pow(x[i], 0.2);
        error[i] = i % 3 == 0 ? 2.0 * y[i] : 0.1 * y[i];
        gap[i] = i == 0 || i == 7 ? HUGE_VAL - HUGE_VAL : i == 9 ? HUGE_VAL : i == 11 ? -1.0 : z[i];
    }
    for (i = 0; i < 40; i++) {
        series[i].name = i == 2 ? evil_text : i == 3 ? long_text : "order k, measured over seeds";
        series[i].x = x;
        series[i].y = i % 2 ? z : y;
        series[i].count = POINTS;
        series[i].marks = i % 3 == 0 ? PLOT_POINTS : PLOT_LINE | PLOT_POINTS;
    }
    memset(&chart, 0, sizeof chart);
    figure("chart-empty", draw_chart, &chart);
    chart.title = "Strength of the orders, \316\261_{1} = 0.3";
    chart.note = "A note.";
    chart.x.label = "N";
    chart.y.label = "strength";
    chart.x.log = chart.y.log = 1;
    chart.series = series;
    chart.series_count = 1;
    series[0].error = error;
    figure("chart-log", draw_chart, &chart); /* 20 circles, and one in the legend */
    chart.x.log = chart.y.log = 0;
    figure("chart-linear", draw_chart, &chart);
    series[0].error = NULL;
    series[0].count = 1;
    figure("chart-one", draw_chart, &chart);
    series[0].count = POINTS;
    chart.series_count = 40;
    figure("chart-forty", draw_chart, &chart);
    chart.title = chart.note = chart.x.label = chart.y.label = long_text;
    chart.series_count = 4;
    figure("chart-long", draw_chart, &chart);
    chart.title = chart.note = chart.x.label = chart.y.label = evil_text;
    figure("chart-evil", draw_chart, &chart);
    chart.title = "Gaps";
    chart.note = chart.x.label = chart.y.label = NULL;
    series[1].y = gap;
    series[1].error = gap;
    series[1].marks = PLOT_LINE | PLOT_POINTS | PLOT_BAND;
    chart.series = series + 1;
    chart.series_count = 1;
    for (k = 0; k < 4; k++) {
        char name[32];
        chart.x.log = (int)(k & 1);
        chart.y.log = (int)(k >> 1);
        sprintf(name, "chart-gaps%d", (int)k);
        figure(name, draw_chart, &chart);
    }
    for (i = 0; i < POINTS; i++) gap[i] = HUGE_VAL - HUGE_VAL;
    figure("chart-nothing", draw_chart, &chart);
    for (i = 0; i < POINTS; i++) gap[i] = i % 2 ? 1e280 : -1e280;
    chart.y.log = 0;
    figure("chart-huge", draw_chart, &chart);
    for (i = 0; i < POINTS; i++) gap[i] = 1e-280 * (double)(i + 1);
    figure("chart-tiny", draw_chart, &chart);
    for (i = 0; i < POINTS; i++) gap[i] = pow(10.0, -250.0 + 25.0 * (double)i);
    chart.y.log = 1;
    figure("chart-decades", draw_chart, &chart);
    for (i = 0; i < POINTS; i++) gap[i] = 123456789.0;
    chart.y.log = 0;
    figure("chart-flat", draw_chart, &chart);
    for (i = 0; i < POINTS; i++) gap[i] = 1.0 + 1e-15 * (double)i;
    figure("chart-flatter", draw_chart, &chart);
    for (i = 0; i < 8; i++) {
        rules[i].label = i == 5 ? long_text : "some edge";
        rules[i].at = 1000.0 * (1.0 + 0.1 * (double)i);
        rules[i].horizontal = i % 2;
    }
    chart.series = series;
    series[1].y = z;
    series[1].error = NULL;
    chart.series_count = 2;
    chart.x.log = chart.y.log = 1;
    chart.rules = rules;
    chart.rule_count = 8;
    figure("chart-rules", draw_chart, &chart);
    chart.x.low = 1.0, chart.x.high = 1e4, chart.y.low = 5.0, chart.y.high = 50.0;
    chart.title = "Cut at the frame";
    figure("chart-cut", draw_chart, &chart);
    memset(&chart.x, 0, sizeof chart.x);
    memset(&chart.y, 0, sizeof chart.y);
    chart.x.label = "N";
    chart.y.label = "strength";
    chart.x.log = chart.y.log = 1;
    for (i = 0; i < 6; i++) {
        panels[i] = chart;
        panels[i].title = i == 4 ? long_text : "Panel";
        panels[i].rule_count = i;
    }
    m.title = "Small multiples";
    m.note = long_text;
    m.items = panels;
    for (i = 0; i <= 6; i++) {
        char name[32];
        m.count = i;
        m.columns = i < 3 ? 1 : i < 5 ? 2 : 3;
        sprintf(name, "panels%d", (int)i);
        figure(name, draw_panels, &m);
    }
}

static void spectra(void) {
    static double values[VALUES], outliers[12], shares[12], curve_x[50], curve[50];
    plot_spectrum panels[4];
    many m;
    size_t i;
    memset(panels, 0, sizeof panels);
    memset(&m, 0, sizeof m);
    for (i = 0; i < VALUES; i++) values[i] = 2.0 * ((double)i + 0.5) / VALUES;
    for (i = 0; i < 12; i++) {
        outliers[i] = 2.2 * pow(1.35, 11.0 - (double)i);
        shares[i] = (double)i / 11.0;
    }
    for (i = 0; i < 50; i++) {
        curve_x[i] = 2.0 * (double)i / 49.0;
        curve[i] = sqrt(4.0 - curve_x[i] * curve_x[i]) / 3.141592653589793;
    }
    m.items = panels;
    figure("spectra-none", draw_spectra, &m);
    figure("terminal-none.txt", draw_terminal, &m);
    m.title = "Spectra";
    m.note = "N = 400";
    m.count = 1;
    figure("spectra-empty", draw_spectra, &m);
    figure("terminal-empty.txt", draw_terminal, &m);
    panels[0].values = outliers;
    panels[0].count = 1;
    panels[0].title = "One value";
    figure("spectra-one", draw_spectra, &m);
    figure("terminal-one.txt", draw_terminal, &m);
    for (i = 0; i < 4; i++) {
        panels[i].title = i == 3 ? long_text : "W_{2}, two steps";
        panels[i].values = values;
        panels[i].count = VALUES;
        panels[i].curve_x = curve_x;
        panels[i].curve = curve;
        panels[i].curve_count = 50;
        panels[i].edge = 2.0;
    }
    m.count = 4;
    figure("spectra-bulk", draw_spectra, &m);
    figure("terminal-bulk.txt", draw_terminal, &m);
    for (i = 0; i < 4; i++) {
        panels[i].outliers = outliers;
        panels[i].alignments = i == 2 ? NULL : shares;
        panels[i].outlier_count = 4 * i; /* 0, 4, 8, 12 dots, and one in the legend */
        panels[i].predicted = outliers + 1;
        panels[i].predicted_alignments = shares;
        panels[i].predicted_count = i;
    }
    figure("spectra-many", draw_spectra, &m);
    figure("terminal-many.txt", draw_terminal, &m);
    m.ascii = 1;
    figure("terminal-ascii.txt", draw_terminal, &m);
    for (i = 0; i < 12; i++) outliers[i] = pow(10.0, 280.0 - 20.0 * (double)i);
    figure("spectra-far", draw_spectra, &m);
    figure("terminal-far.txt", draw_terminal, &m);
    for (i = 0; i < VALUES; i++) values[i] = 0.0;
    for (i = 0; i < 12; i++) outliers[i] = i % 2 ? HUGE_VAL : HUGE_VAL - HUGE_VAL, shares[i] = outliers[i];
    panels[0].edge = HUGE_VAL;
    figure("spectra-zero", draw_spectra, &m);
    figure("terminal-zero.txt", draw_terminal, &m);
    memset(panels, 0, sizeof panels);
    panels[0].density_x = curve_x;
    panels[0].density = curve;
    panels[0].density_count = 50;
    m.count = 1;
    figure("spectra-density", draw_spectra, &m);
}

static void phases(void) {
    static double alpha1[GRID], alpha2[GRID], count[GRID * GRID], share[GRID * GRID];
    plot_map maps[4];
    plot_phase phase;
    size_t i, j;
    memset(maps, 0, sizeof maps);
    memset(&phase, 0, sizeof phase);
    for (i = 0; i < GRID; i++) alpha1[i] = alpha2[i] = 0.04 * (double)i;
    for (j = 0; j < GRID; j++)
        for (i = 0; i < GRID; i++) {
            count[j * GRID + i] = 1.0 + floor(alpha2[j] / (0.5 - alpha1[i]));
            share[j * GRID + i] = i == 3 ? HUGE_VAL - HUGE_VAL : alpha1[i] + alpha2[j];
        }
    figure("phase-empty", draw_phase, &phase);
    phase.title = "Phase diagram";
    phase.note = long_text;
    phase.alpha1 = alpha1;
    phase.alpha2 = alpha2;
    phase.maps = maps;
    for (i = 0; i < 4; i++) {
        maps[i].title = i == 3 ? long_text : "outliers, measured";
        maps[i].values = i % 2 ? share : count;
        maps[i].whole = i % 2 == 0;
    }
    phase.map_count = 3;
    phase.alpha1_count = phase.alpha2_count = GRID; /* 144 + 132 + 144 cells */
    figure("phase", draw_phase, &phase);
    phase.map_count = 4;
    figure("phase-four", draw_phase, &phase);
    phase.map_count = 1;
    figure("phase-map", draw_phase, &phase);
    phase.alpha1_count = phase.alpha2_count = 1;
    figure("phase-cell", draw_phase, &phase);
    phase.alpha2_count = 5;
    figure("phase-column", draw_phase, &phase);
    for (i = 0; i < GRID * GRID; i++) count[i] = HUGE_VAL - HUGE_VAL;
    figure("phase-unknown", draw_phase, &phase);
    for (i = 0; i < GRID * GRID; i++) count[i] = 1e9 * (double)i;
    phase.alpha1_count = GRID;
    figure("phase-large", draw_phase, &phase);
    alpha1[2] = alpha1[1];
    figure("phase-bad-grid", draw_phase, &phase);
}

/* The labels of an axis of what is counted are whole numbers, the others' need not be. */
static void counted(void) {
    static const double x[] = {1, 2, 3, 4}, y[] = {0.1, 0.2, 0.3, 0.25};
    plot_series series;
    plot_chart chart;
    int whole;
    memset(&series, 0, sizeof series);
    series.x = x, series.y = y, series.count = 4;
    for (whole = 0; whole < 2; whole++) {
        plot_out out = plot_to_text();
        memset(&chart, 0, sizeof chart);
        chart.x.whole = whole;
        chart.series = &series, chart.series_count = 1;
        if (plot_chart_svg(&out, &chart) != 0 || (strstr(out.text, ">2<") != NULL) != whole ||
            (strstr(out.text, ">2.5<") == NULL) != whole) {
            failures++;
            printf("an axis of %s numbers has other labels\n", whole ? "whole" : "all");
        }
        plot_free(&out);
    }
}

/* The axes of the first chart hold for all: what a logarithm cannot show is a gap in the others. */
static void mixed(void) {
    static const double first[] = {1, 10}, second[] = {0, 10}, y[] = {1, 2};
    plot_series series[2];
    plot_chart panels[2];
    many m;
    memset(series, 0, sizeof series);
    memset(panels, 0, sizeof panels);
    memset(&m, 0, sizeof m);
    series[0].x = first, series[1].x = second;
    series[0].y = series[1].y = y;
    series[0].count = series[1].count = 2;
    panels[0].series = series, panels[1].series = series + 1;
    panels[0].series_count = panels[1].series_count = 1;
    m.items = panels;
    m.count = m.columns = 2;
    panels[0].x.log = 1;
    figure("panels-first-log", draw_panels, &m);
    panels[0].x.log = 0, panels[1].x.log = 1;
    figure("panels-second-log", draw_panels, &m);
}

/* A range without an inside, or one that a logarithm cannot show, has no ticks. */
static void no_ticks(void) {
    plot_ticks ticks;
    size_t count;
    plot_linear_ticks(&ticks, 1e18, 1e18, 0.0);
    count = ticks.count;
    plot_log_ticks(&ticks, 0.0, 1.0, 1, 1);
    count += ticks.count;
    plot_log_ticks(&ticks, 1.0, HUGE_VAL, 1, 0);
    if (count + ticks.count + ticks.minor_count > 0) {
        failures++;
        puts("ticks where there is no range");
    }
}

/* A number below limit of a fixed sequence. */
static unsigned pick(unsigned limit) {
    static unsigned long state = 1;
    state = (state * 1103515245 + 12345) & 0x7fffffff;
    return (unsigned)(state >> 12) % limit;
}

static double any_number(void) {
    static const double odd[] = {0, -1, 1e-300, 1e300, 1e290, -1e290, 1e-290, HUGE_VAL, -HUGE_VAL, HUGE_VAL - HUGE_VAL};
    if (pick(4) == 0) return odd[pick(10)];
    return pick(2) ? (double)pick(100) - 50.0 : pow(10.0, (double)pick(60) - 30.0);
}

static void any_axis(plot_axis *axis) {
    memset(axis, 0, sizeof *axis);
    axis->log = (int)pick(2);
    axis->whole = (int)pick(2);
    if (pick(2)) axis->low = any_number(), axis->high = any_number();
}

/* Any numbers on any axes: each figure is drawn, in no time. */
static void random_panels(void) {
    static double numbers[4][3][POINTS];
    static plot_series series[4];
    static plot_chart panels[4];
    static plot_rule rule;
    many m;
    size_t turn, i, j, k;
    memset(&m, 0, sizeof m);
    m.items = panels;
    for (turn = 0; turn < 40; turn++) {
        char name[32];
        rule.at = any_number();
        rule.horizontal = (int)pick(2);
        for (i = 0; i < 4; i++) {
            for (j = 0; j < 3; j++)
                for (k = 0; k < POINTS; k++) numbers[i][j][k] = any_number();
            series[i].x = numbers[i][0];
            series[i].y = numbers[i][1];
            series[i].error = pick(2) ? numbers[i][2] : NULL;
            series[i].count = pick(POINTS);
            series[i].marks = pick(16);
            any_axis(&panels[i].x);
            any_axis(&panels[i].y);
            panels[i].series = series + i;
            panels[i].series_count = 1;
            panels[i].rules = &rule;
            panels[i].rule_count = pick(2);
        }
        m.count = 1 + pick(4);
        m.columns = 1 + pick(4);
        sprintf(name, "random%d", (int)turn);
        figure(name, draw_panels, &m);
    }
}

/* A full disk is reported. */
static void full(void) {
    FILE *file = fopen("/dev/full", "w");
    plot_chart chart;
    plot_out out;
    memset(&chart, 0, sizeof chart);
    if (file == NULL) return;
    setvbuf(file, NULL, _IONBF, 0);
    out = plot_to_file(file);
    if (plot_chart_svg(&out, &chart) != 1) {
        failures++;
        puts("a full disk goes unnoticed");
    }
    fclose(file);
    out = plot_to_text();
    plot_chart_svg(&out, &chart);
    if (plot_write(&out, "/dev/full") != 1 || out.text != NULL) {
        failures++;
        puts("a full disk goes unnoticed at the end");
    }
}

int main(int arguments, char **argument) {
    (void)argument;
    if (arguments > 1 && setlocale(LC_ALL, "de_DE.UTF-8") == NULL) setlocale(LC_ALL, "fr_FR.UTF-8");
    charts();
    spectra();
    phases();
    mixed();
    no_ticks();
    random_panels();
    counted();
    full();
    printf("%d failures\n", failures);
    return failures != 0;
}
