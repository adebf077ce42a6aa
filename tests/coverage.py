#!/usr/bin/env python3
"""Adds up what gcov counted for twostep.h; tests/coverage.sh calls it.

    python3 tests/coverage.py [-l] [-b] [-o FILE] COUNTS.json ...

-l lists what nothing runs, -b holds the bars, -o writes the sums. The exit status is the number of
missed bars: 95 % of the lines, 90 % of the branches.

A line is run when any pass over it is run: any program, real type or kernel. A branch is one exit of a
condition; gcov numbers those of a line. The same line may have other numbers of them in another pass,
where the compiler knows an answer; a line is judged by the pass that has the most.
"""
import json
import os
import sys

LINES, BRANCHES = 95.0, 90.0


def add(path, lines, branches, owner):
    """The counts of one program, a document of gcov on each line of the file."""
    with open(path, encoding='utf-8') as file:
        documents = [json.loads(text) for text in file if text.strip()]
    for document in documents:
        for source in document['files']:
            if os.path.basename(source['file']) != 'twostep.h':
                continue
            for line in source['lines']:
                number = line['line_number']
                lines[number] = lines.get(number, 0) + line['count']
                owner.setdefault(number, line.get('function_name', ''))
                counts = [branch['count'] for branch in line['branches']]
                if counts:
                    passes = branches.setdefault(number, {})
                    known = passes.setdefault(len(counts), [0] * len(counts))
                    passes[len(counts)] = [a + b for a, b in zip(known, counts)]


def ranges(numbers):
    """[1, 2, 3, 7] as [(1, 3), (7, 7)]."""
    found = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def share(part, whole, name, bar):
    percent = 100.0 * part / whole if whole else 0.0
    print('%s of twostep.h: %d of %d, %.2f %% (bar %.0f %%)' % (name, part, whole, percent, bar))
    return percent < bar


def main():
    words, files, out = sys.argv[1:], [], None
    options = set()
    while words:
        word = words.pop(0)
        if word == '-o':
            out = words.pop(0)
        elif word in ('-l', '-b'):
            options.add(word)
        else:
            files.append(word)
    lines, passes, owner = {}, {}, {}
    for path in files:
        add(path, lines, passes, owner)
    branches = {number: counts[max(counts)] for number, counts in passes.items()}
    if '-l' in options:
        for first, last in ranges(n for n, count in lines.items() if count == 0):
            print('not run: %d-%d in %s' % (first, last, owner[first]))
        for number in sorted(branches):
            counts = branches[number]
            if lines[number] and 0 in counts:
                print('branches: %d in %s: %s' % (number, owner[number], ' '.join(map(str, counts))))
    if out:
        with open(out, 'w', encoding='utf-8') as file:
            json.dump({'lines': lines, 'branches': branches}, file, sort_keys=True)
            file.write('\n')
    every = [count for counts in branches.values() for count in counts]
    missed = share(sum(1 for count in lines.values() if count), len(lines), 'lines', LINES)
    missed += share(sum(1 for count in every if count), len(every), 'branches', BRANCHES)
    return missed if '-b' in options else 0


if __name__ == '__main__':
    sys.exit(main())
