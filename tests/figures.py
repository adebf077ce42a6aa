"""Reads the figures that tests/figures.c wrote: numbers, texts that touch, numbers of marks.

    python3 figures.py FOLDER...

A text is taken to be as wide as in a usual sans-serif font: an independent guess, not the table of
plot.h. Ends with `N passed, M failed`.
"""
import glob
import math
import os
import re
import sys
import unicodedata
import xml.etree.ElementTree as tree

SVG = '{http://www.w3.org/2000/svg}'
passed = failed = 0


def check(good, what):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print('failed:', what)


def width(text, size, bold):
    narrow = sum(c in "ijl.,:;|'!()[] It1f" for c in text)
    capital = sum(c.isupper() or c in 'mw%@' for c in text)
    em = 0.28 * narrow + 0.68 * capital + 0.54 * (len(text) - narrow - capital)
    return em * size * (1.06 if bold else 1.0)


def box(text):
    """left, top, right, bottom of a text element, roughly: the ink, not the line."""
    size, x, y = float(text.get('font-size')), float(text.get('x')), float(text.get('y'))
    length = width(''.join(text.itertext()), size, text.get('class') == 't')
    for raised in text.iter(SVG + 'tspan'):
        if raised.get('font-size'):
            length -= 0.25 * width(raised.text or '', size, False)
    start = x - length * {None: 0.0, 'middle': 0.5, 'end': 1.0}[text.get('text-anchor')]
    if text.get('transform') is None:
        return start, y - 0.72 * size, start + length, y + 0.12 * size
    middle = y + (x - (start + length / 2))  # turned about (x, y): right becomes up
    return x - 0.72 * size, middle - length / 2, x + 0.12 * size, middle + length / 2


def apart(a, b):
    return a[2] <= b[0] + 1 or b[2] <= a[0] + 1 or a[3] <= b[1] + 1 or b[3] <= a[1] + 1


def figure(path):
    name = os.path.basename(path)
    source = open(path, encoding='utf-8').read()
    root = tree.fromstring(source)
    check(root.tag == SVG + 'svg' and root.get('width') == '700', name + ': head')
    tall = float(root.get('height'))
    check(60 < tall < 3000, '%s: height %g' % (name, tall))
    check(root.find(SVG + 'title') is not None and root.find(SVG + 'title').text, name + ': no title')
    check('prefers-color-scheme:dark' in source, name + ': no dark colours')
    check(re.search(r'\b(nan|inf)\b', re.sub(r'<(text|title|desc)[ >].*?</\1>', '', source, flags=re.S), re.I) is None,
          name + ': NaN')
    texts = [t for t in root.iter(SVG + 'text')]
    boxes = [box(t) for t in texts]
    for a in range(len(boxes)):
        word = ''.join(texts[a].itertext())
        check(all(math.isfinite(v) for v in boxes[a]), '%s: %r has no place' % (name, word))
        check(boxes[a][0] > -3 and boxes[a][2] < 703 and boxes[a][1] > -3 and boxes[a][3] < tall + 3,
              '%s: %r leaves the figure: %s' % (name, word, boxes[a]))
        for b in range(a):
            check(apart(boxes[a], boxes[b]),
                  '%s: %r and %r touch' % (name, word, ''.join(texts[b].itertext())))
    for element in root.iter():
        for key in ('x', 'y', 'cx', 'cy', 'x1', 'x2', 'y1', 'y2', 'width', 'height', 'd'):
            for number in re.findall(r'-?\d+\.?\d*', element.get(key, '')):
                check(abs(float(number)) < 3000, '%s: %s of %s is %s' % (name, key, element.tag, number))
        for key in ('width', 'height'):
            if element.get(key) is not None:
                check(float(element.get(key)) > 0, '%s: %s with %s %s' % (name, element.tag, key, element.get(key)))
    return root, texts


def count(root, what, style=None):
    return sum(1 for e in root.iter(SVG + what) if style is None or e.get('class') == style)


def said(texts):
    return [''.join(t.itertext()) for t in texts]


MARKS = {
    'chart-log': lambda r, t: (count(r, 'circle'), 21),
    'chart-one': lambda r, t: (count(r, 'circle'), 2),
    'chart-empty': lambda r, t: (said(t), ['no data']),
    'chart-nothing': lambda r, t: (said(t).count('no data'), 1),
    'chart-gaps3': lambda r, t: (count(r, 'circle'), 17),  # 20 points, 4 of them gaps, and the legend
    'spectra-many': lambda r, t: (count(r, 'circle'), 25),
    'spectra-empty': lambda r, t: (said(t).count('no data'), 1),
    'phase': lambda r, t: (sum(len(g) for g in r.iter(SVG + 'g')), 420),
    'phase-cell': lambda r, t: (sum(len(g) for g in r.iter(SVG + 'g')), 1),
    'phase-unknown': lambda r, t: (said(t).count('no data'), 1),
    'phase-bad-grid': lambda r, t: (said(t).count('no data'), 1),
    'panels6': lambda r, t: (said(t).count('Panel'), 5),
}


def terminal(path):
    name = os.path.basename(path)
    for line in open(path, encoding='utf-8').read().split('\n'):
        wide = sum(2 if unicodedata.east_asian_width(c) == 'W' else 1 for c in line)
        check(wide <= 79, '%s: a line of %d columns' % (name, wide))
        check('ascii' not in name or line.isascii() or 'W' not in line, '%s: not ASCII' % name)
        check(not re.search(r'\b(nan|inf)\b', line), '%s: NaN' % name)
    if name == 'terminal-ascii.txt':
        body = open(path, encoding='utf-8').read()
        check(body.isascii(), 'terminal-ascii.txt is not ASCII')
        check(body.count('#') > 300 and '!' in body, 'terminal-ascii.txt shows no bulk or no outlier')


seen = 0
for folder in sys.argv[1:]:
    for path in sorted(glob.glob(os.path.join(folder, '*.svg'))):
        seen += 1
        root, texts = figure(path)
        name = os.path.basename(path)[:-4]
        if name in MARKS and folder == sys.argv[1]:  # the test's own figures, with known contents
            got, want = MARKS[name](root, texts)
            check(got == want, '%s: %r instead of %r' % (name, got, want))
    for path in sorted(glob.glob(os.path.join(folder, '*.txt'))):
        terminal(path)
check(seen > 40, 'only %d figures' % seen)
print('%d passed, %d failed' % (passed, failed))
sys.exit(failed != 0)
