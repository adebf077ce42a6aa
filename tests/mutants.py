#!/usr/bin/env python3
"""Mutation check; mutants.txt explains the list, mutants.sh is how to start it.

First every test program that the list names must pass on the header as it is, built the same way:
otherwise its failure would prove nothing. Then each mutant is applied to a copy of the header. It is
caught if the test program, built with the copy, fails, crashes or does not end. A mutant whose text
does not occur as often as stated, or that does not compile, is a failure of the list.
"""
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

TESTS = os.path.dirname(os.path.abspath(__file__))
HEADER = os.path.join(os.environ.get('TWOSTEP_DIR') or os.path.dirname(TESTS), 'twostep.h')
LIST = os.environ.get('TWOSTEP_MUTANTS') or os.path.join(TESTS, 'mutants.txt')
CC = os.environ.get('CC', 'cc').split()
try:
    with open('/proc/cpuinfo', encoding='utf-8') as cpuinfo:
        HAS_AMX = 'amx_bf16' in cpuinfo.read()
except OSError:
    HAS_AMX = False
JOBS = 1 if os.environ.get('TWOSTEP_TEST_JOBS') == '1' else 2


class Mutant:
    def __init__(self, name, test, options, line):
        self.name, self.test, self.line, self.old, self.new = name, test, line, [], []
        self.count, self.flags, self.wrong = 1, [], None
        for option in options:
            if re.match(r'x[0-9]+$', option):
                self.count = int(option[1:])
            elif option == 'double':
                self.flags.append('-DTWOSTEP_DOUBLE')
            elif option not in ('simd', 'amx'):
                self.wrong = 'unknown option: ' + option
        self.here = 'amx' not in options or HAS_AMX
        if 'simd' not in options and 'amx' not in options:
            self.flags.append('-DTWOSTEP_NO_SIMD')

    def build(self):
        return self.test, tuple(self.flags)

    def apply(self, text):
        """The mutated text; None, with self.wrong set, if the record does not fit the header."""
        old, new = '\n'.join(self.old), '\n'.join(self.new)
        if self.wrong is None:
            found = text.count(old) if old else 0
            if not old or old == new:
                self.wrong = 'the record changes nothing'
            elif found != self.count:
                self.wrong = 'its text occurs %d times in twostep.h, not %d' % (found, self.count)
        return text.replace(old, new) if self.wrong is None else None


def read_list(path):
    mutants = []
    with open(path, encoding='utf-8') as file:
        for number, line in enumerate(file.read().split('\n'), 1):
            if line.startswith('== '):
                fields = [field.strip() for field in line[3:].split('|')]
                if len(fields) < 2:
                    sys.exit('%s:%d: want `== name | test`' % (path, number))
                mutants.append(Mutant(fields[0], fields[1], ' '.join(fields[2:]).split(), number))
            elif line[:2] == '--' and mutants:
                mutants[-1].old.append(line[3:])
            elif line[:2] == '++' and mutants:
                mutants[-1].new.append(line[3:])
            elif line.strip() and not line.startswith('#'):
                sys.exit('%s:%d: a line starts with ==, --, ++ or #; not: %s' % (path, number, line))
    return mutants


def run(command, seconds, folder=None, stop=None):
    """(exit status, or None when the time ran out; output). Nothing of it outlives the call. A line
    of output that matches stop ends it early; the status is then 1."""
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, start_new_session=True)
    late = []

    def end():
        late.append(True)
        kill()

    def kill():
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    timer = threading.Timer(seconds, end)
    timer.start()
    lines, stopped = [], False
    for line in process.stdout:
        lines.append(line.decode('utf-8', 'replace'))
        if stop and stop.match(lines[-1]):
            stopped = True
            kill()
            break
    process.stdout.close()
    status = process.wait()
    timer.cancel()
    return (1 if stopped else None if late else status), ''.join(lines)


# What check.h prints for a check that failed: from there on the program can only fail.
FAILED_CHECK = re.compile(r'\S+\.[ch]:\d+: (failed: |got )')


# The compiler costs more than most tests: optimise only where the test costs more than that.
SLOW_TESTS = ('test_theory', 'test_svd')


def try_header(text, test, flags, seconds):
    """Builds and runs a test with a header: ('passes' | 'fails' | 'unbuilt', what was said, seconds)."""
    source = os.path.join(TESTS, test + '.c')
    with tempfile.TemporaryDirectory(prefix='twostep-mutant.') as folder:
        with open(os.path.join(folder, 'twostep.h'), 'w', encoding='utf-8') as file:
            file.write(text)
        program = os.path.join(folder, test)
        level = '-O1' if test in SLOW_TESTS else '-O0'
        status, output = run(CC + ['-std=c99', level, '-w', '-DTEST_QUICK'] + list(flags) +
                             ['-I' + folder, '-I' + TESTS, '-o', program, source, '-lm'], 120)
        if status != 0:
            return 'unbuilt', output, 0
        start = time.monotonic()
        status, output = run([program], seconds, TESTS, FAILED_CHECK)
        took = time.monotonic() - start
    if status is None:
        return 'fails', 'no end after %.0f s' % seconds, took
    if status < 0:
        return 'fails', 'signal %d' % -status, took
    ends = re.findall(r'^(\d+) passed, (\d+) failed', output, re.M)
    if status == 0 and ends and int(ends[-1][0]) > 0 and int(ends[-1][1]) == 0:
        return 'passes', output, took
    return 'fails', output, took


def first_line(output):
    return next((line.strip()[:150] for line in output.split('\n') if line.strip()), '')


def main():
    arguments, verbose, short, pattern = sys.argv[1:], False, False, ''
    while arguments:
        option = arguments.pop(0)
        if option == '-v':
            verbose = True
        elif option == '-s':
            short = True
        elif option == '-k' and arguments:
            pattern = arguments.pop(0)
        else:
            sys.exit('usage: sh tests/mutants.sh [-s] [-v] [-k PATTERN]')
    with open(HEADER, encoding='utf-8') as file:
        text = file.read()
    mutants = [m for m in read_list(LIST) if re.search(pattern, m.name + ' ' + m.test)]
    passed = failed = 0
    tried = [m for m in (mutants[::8] if short else mutants) if m.here]
    for mutant in mutants:
        if mutant not in tried and mutant.apply(text) is None:
            failed += 1
            print('failed: %s: %s' % (mutant.name, mutant.wrong))
    mutants = tried

    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        builds = sorted(set(m.build() for m in mutants))
        sound = {}
        for build, result in zip(builds, pool.map(lambda b: try_header(text, b[0], b[1], 120), builds)):
            sound[build] = result
            if result[0] != 'passes':
                failed += 1
                print('failed: %s %s does not pass on the header as it is: %s' %
                      (build[0], ' '.join(build[1]), first_line(result[1])))

        def judge(mutant):
            mutated = mutant.apply(text)
            if mutated is None:
                return 'wrong', mutant.wrong, 0
            result, _, took = sound[mutant.build()]
            if result != 'passes':
                return 'wrong', 'its test does not pass without it', 0
            return try_header(mutated, mutant.test, mutant.flags, 10 + 5 * took)

        for mutant, (result, output, took) in zip(mutants, pool.map(judge, mutants)):
            if result == 'fails':
                passed += 1
                if verbose:
                    print('caught: %s (%s, %.1f s): %s' % (mutant.name, mutant.test, took, first_line(output)))
                continue
            failed += 1
            why = {'passes': 'not noticed by ' + mutant.test, 'unbuilt': 'does not compile: ' + first_line(output),
                   'wrong': output}[result]
            print('failed: %s:%d: %s: %s' % (os.path.basename(LIST), mutant.line, mutant.name, why))
    print('%d passed, %d failed' % (passed, failed))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
