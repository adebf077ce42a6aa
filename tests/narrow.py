#!/usr/bin/env python3
"""examples/narrow.c: steps against formulas, updates against each other, refusals.

    python3 tests/narrow.py        ($CC and $TWOSTEP_DIR as in run.sh)

Ends with `N passed, N failed`."""
import csv
import math
import os
import stat
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
HEADER = os.environ.get('TWOSTEP_DIR') or os.path.dirname(TESTS)
EXAMPLES = os.path.join(os.path.dirname(TESTS), 'examples')
CC = (os.environ.get('CC') or 'cc').split()
passed = failed = 0
folder = tempfile.TemporaryDirectory()
NARROW = os.path.join(folder.name, 'narrow')


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print('narrow.py: ' + what)


def near(got, want, tolerance, what):
    check(abs(got - want) <= tolerance, '%s: got %.6g, want %.6g +- %.2g' % (what, got, want, tolerance))


def build(name, source):
    text = open(source).read().replace('"../twostep.h"', '"%s/twostep.h"' % HEADER)
    copy = os.path.join(folder.name, os.path.basename(source))
    with open(copy, 'w') as file:
        file.write(text)
    subprocess.run(CC + ['-std=c99', '-O1', '-I' + HEADER, '-I' + EXAMPLES, '-o', os.path.join(folder.name, name), copy,
                         '-lm'], check=True)


def run(*options):
    """{(seed, step, neuron, direction): overlap} and {(seed, step, i, j): product}."""
    files = [os.path.join(folder.name, name) for name in ('m.csv', 'q.csv')]
    subprocess.run([NARROW, '--quiet', '--csv', files[0], '--qcsv', files[1]] + [str(o) for o in options], check=True)
    tables = []
    for name, head in zip(files, ('seed,step,neuron,direction,overlap', 'seed,step,neuron,other,product')):
        with open(name) as file:
            check(file.readline().strip() == head, 'head of the CSV')
            tables.append({tuple(map(int, row[:4])): float(row[4]) for row in csv.reader(file)})
    return tables


def grid(low, high, count):
    """Nodes and weights of the normal law by equal steps (exponentially accurate)."""
    x = [low + (high - low) * i / (count - 1) for i in range(count)]
    w = [math.exp(-t * t / 2) for t in x]
    return [(t, v / sum(w)) for t, v in zip(x, w)]


def slope(h):  # of tanh
    return 1 - math.tanh(h) ** 2


def one_step():
    """<G_i, b> = a_i E[u y sigma'(w x)], with u given h = w x normal: here y = u."""
    before = run('--width', 4, '--inputs', 40, '--samples', 40000, '--steps', 1, '--rate', 2, '--activation', 'tanh',
                 '--target', 'linear', '--batches', 'fresh', '--output-scale', 'correlation', '--seeds', 3)[0]
    nodes = grid(-8, 8, 161)
    for seed in (1, 2, 3):
        for i in range(4):
            m = before[seed, 0, i, 0]
            want = 2 * (-1) ** i * sum(w * slope(h) * (1 + m * m * (h * h - 1)) for h, w in nodes)
            near(before[seed, 1, i, 0] - m, want, 0.04, 'one step, neuron %d' % i)


def two_steps():
    """A target of information exponent three: blind on fresh batches; on a reused one the sample's own part
    of the first step, kappa y sigma'(z), lets step two see E[u y sigma'(z + kappa y sigma'(z) + noise)]."""
    d, n, rate = 600, 6000, 10.0
    options = ('--width', 8, '--inputs', d, '--samples', n, '--steps', 2, '--rate', rate, '--activation', 'tanh', '--target',
               'he3', '--output-scale', 'correlation', '--seeds', 4)
    normal, rho = grid(-5, 5, 33), d / n
    second = sum(w * slope(h) ** 2 for h, w in normal)
    noise = rate * math.sqrt(rho * second)
    want = rate * sum(wu * wz * wg * u * y * slope(z + rate * rho * y * slope(z) + noise * g)
                      for u, wu in grid(-6, 6, 49) for y in [(u ** 3 - 3 * u) / math.sqrt(6)]
                      for z, wz in normal for g, wg in normal)
    for batches, target in (('fresh', 0.0), ('reuse', want)):
        overlaps = run(*(options + ('--batches', batches)))[0]
        gains = [(-1) ** i * (overlaps[s, 2, i, 0] - overlaps[s, 1, i, 0]) for s in (1, 2, 3, 4) for i in range(8)]
        mean = sum(gains) / len(gains)
        near(mean, target, 0.2 * abs(want), 'two steps, %s batch (formula for reuse %.3f)' % (batches, want))
    check(abs(want) > 0.1, 'the formula says something: %.3f' % want)


def updates():
    options = ('--width', 5, '--inputs', 30, '--samples', 80, '--target', 'staircase', '--activation', 'softplus', '--batches',
               'reuse', '--seeds', 1, '--rate', 0.7)
    plain, q = run(*(options + ('--steps', 2)))
    for i in range(5):
        for j in range(i, 5):
            near(q[1, 0, i, j], 1.0 if i == j else 0.0, 1e-5, 'orthonormal start')
    decayed = run(*(options + ('--steps', 1, '--weight-decay', 0.3)))[0]
    summed = run(*(options[:-1] + (0.7 / 80, '--steps', 2, '--loss', 'sum')))[0]
    ahead = run(*(options + ('--steps', 1, '--extragradient', 0.7)))[0]
    slower = run(*(options + ('--steps', 2, '--power', 1)))[0]
    sphere, q_sphere = run(*(options + ('--steps', 2, '--constraint', 'sphere')))
    tangent, q_tangent = run(*(options + ('--steps', 2, '--constraint', 'tangent')))
    for i in range(5):
        near(q_sphere[1, 2, i, i], 1.0, 1e-5, 'length on the sphere')
        near(q_tangent[1, 2, i, i], 1.0, 1e-5, 'length after projected steps')
        for l in range(2):
            start, first, two = (plain[1, t, i, l] for t in (0, 1, 2))
            near(decayed[1, 1, i, l], first - 0.7 * 0.3 * start, 1e-5, 'weight decay')
            near(summed[1, 2, i, l], two, 2e-4 * max(1, abs(two)), 'sum against mean')
            near(ahead[1, 1, i, l], two - first + start, 1e-4, 'extragradient is the second step from the start')
            near(slower[1, 2, i, l] - first, 0.5 * (two - first), 1e-4, 'schedule')
            near(sphere[1, 1, i, l], first / math.sqrt(q[1, 1, i, i]), 1e-5, 'sphere')


def wide():
    """With P of the order of d it is the experiment of the paper: eta = rate times s."""
    for batches in ('fresh', 'reuse'):
        lines = subprocess.run([os.path.join(folder.name, 'wide'), str(int(batches == 'reuse'))], check=True,
                               stdout=subprocess.PIPE, universal_newlines=True).stdout.split()
        overlaps = run('--width', 300, '--inputs', 200, '--samples', 600, '--steps', 2, '--rate', 10 * math.sqrt(300),
                       '--activation', 'shifted-tanh', '--target', 'linear', '--batches', batches, '--readout', 'gaussian',
                       '--init', 'sphere', '--seeds', 1, '--seed', 7)[0]
        worst = max(abs(float(line) - overlaps[7, 2, i, 0]) for i, line in enumerate(lines))
        near(worst, 0.0, 2e-5, 'a wide network, ' + batches)
        check(len(lines) == 300, 'all neurons')


def files():
    """What is no plain file is written to, not replaced; what the user has beside the file stays."""
    def path(name):
        return os.path.join(folder.name, 'files', name)

    def ask(*options):
        return subprocess.run((NARROW, '--width', '4', '--inputs', '8', '--samples', '16', '--steps', '1', '--seeds', '1',
                               '--batches', 'reuse') + options, cwd=path(''), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)

    def read(name):
        with open(path(name)) as file:
            return file.read()
    os.mkdir(path(''))
    with open(path('m.csv.partial'), 'w') as file:
        file.write('mine')
    with open(path('old.csv'), 'w') as file:
        file.write('old')
    os.symlink('old.csv', path('link.csv'))
    done = ask('--quiet', '--csv', 'm.csv', '--qcsv', 'link.csv')
    whole, products = read('m.csv'), read('old.csv')
    check(done.returncode == 0 and whole.startswith('seed,step,neuron,direction') and
          products.startswith('seed,step,neuron,other'), 'two files: %r' % done.stderr)
    check(os.path.islink(path('link.csv')), 'a link is still one')
    check(read('m.csv.partial') == 'mine', 'a file of the user stays as it was')
    done = ask('--csv', '-')
    check(done.returncode == 0 and done.stdout == whole, 'standard output: %r' % done.stdout[:80])
    os.mkfifo(path('fifo'))
    reader = subprocess.Popen(['cat', path('fifo')], stdout=subprocess.PIPE, universal_newlines=True)
    done = ask('--quiet', '--csv', 'fifo')
    if not stat.S_ISFIFO(os.stat(path('fifo')).st_mode):
        reader.kill()
    check(done.returncode == 0 and reader.communicate()[0] == whole, 'a FIFO is written to: %r' % done.stderr)
    if os.path.exists('/dev/full'):
        os.symlink('/dev/full', path('full'))
        done = ask('--quiet', '--qcsv', 'full')
        check(done.returncode == 1 and done.stderr.startswith("narrow: cannot write 'full': ") and
              done.stderr.count('\n') == 1, 'a full device: %d, %r' % (done.returncode, done.stderr))
        check(os.path.islink(path('full')), 'a link to a device is still one')
        os.remove(path('full'))
    for name in ('same.csv', '-'):
        done = ask('--csv', name, '--qcsv', name)
        check(done.returncode == 2 and not done.stdout and
              done.stderr == "narrow: --qcsv is '%s', it must be another file than --csv\n" % name,
              'one file for both: %d, %r' % (done.returncode, done.stderr))
    left = sorted(os.listdir(path('')))
    check(left == ['fifo', 'link.csv', 'm.csv', 'm.csv.partial', 'old.csv'], 'nothing else is left: %s' % left)


def long_names():
    name = 'hermite:0,' + ','.join('0.1234567890123456' for _ in range(8))
    done = subprocess.run([NARROW, '--activation', name, '--target', name, '--width', '4', '--inputs', '8', '--samples', '16',
                           '--steps', '1', '--seeds', '1'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    check(done.returncode == 0 and '%s learns %s, rate' % (name, name) in done.stdout, 'a long name: %r' % done.stderr)


def refusals():
    for options, status, word in ((('--width', '0'), 2, '--width is'), (('--width', '2.5'), 2, 'whole number'),
                                  (('--steps', '-1'), 2, '--steps'), (('--rate', 'nan'), 2, '--rate'),
                                  (('--rate',), 2, 'needs a value'), (('--target', 'he33'), 2, 'linear, he2'),
                                  (('--activation=tanhh',), 2, 'tanh, shifted-tanh'), (('--quiet=1',), 2, 'takes no value'),
                                  (('--steps=x',), 2, "--steps is 'x'"), (('--rate=',), 2, "--rate is ''"),
                                  (('--frob', '1'), 2, 'unknown option'), (('--loss', 'max'), 2, 'mean sum'),
                                  (('--output-scale', '0'), 2, '--output-scale'),
                                  (('--width', '9', '--inputs', '8', '--init', 'orthonormal'), 2, '--init'),
                                  (('--inputs', '2', '--target', 'product3'), 2, '--target'),
                                  (('--rate', '1e12', '--activation', 'cubic', '--batches', 'reuse'), 1, 'range|finite|overflows')):
        name = os.path.join(folder.name, 'refused.csv')
        done = subprocess.run((NARROW, '--csv', name, '--batches', 'reuse') + options, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, universal_newlines=True)
        said = done.stderr.strip()
        check(done.returncode == status and any(w in said for w in word.split('|')) and '\n' not in said and
              not done.stdout and not os.path.exists(name) and not os.path.exists(name + '.partial'),
              '%s: status %d, %r' % (' '.join(options), done.returncode, said))
    for options in (('--width', '0'), ('--inputs', '1'), ('--samples', '1.5'), ('--steps', '1e7'), ('--rate', '1e13'),
                    ('--power', '-1'), ('--weight-decay', '-1'), ('--extragradient', 'x'), ('--noise', '-1'), ('--seeds', '0'),
                    ('--seed', '-1'), ('--threads', '65'), ('--constraint', 'ball'), ('--batches', 'old'), ('--readout', 'ones'),
                    ('--init', 'zero'), ('--loss', 'hinge'), ('--output-scale', '-1'), ('--activation', ''), ('--target', ''),
                    ('--csv', ''), ('--qcsv', '')):
        done = subprocess.run((NARROW,) + options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        check(done.returncode == 2 and done.stderr.startswith("narrow: %s is '%s', it must be " % options) and
              done.stderr.count('\n') == 1 and not done.stdout, '%s %s: %r' % (options + (done.stderr,)))
    done = subprocess.run((NARROW, '--csv', '/nonexistent/x.csv', '--batches', 'reuse'), stderr=subprocess.PIPE)
    check(done.returncode == 1 and b'cannot write' in done.stderr, 'a folder that is not there')
    done = subprocess.run((NARROW, '--csv', 'x.csv'), stderr=subprocess.PIPE, cwd=folder.name)
    check(done.returncode == 2 and b'fresh or reuse' in done.stderr, 'CSV of both modes')
    # A reader that has gone, with SIGPIPE as it is by default (Popen restores that), and a full device.
    for words in (['--help'], ['--steps', '1', '--seeds', '1', '--samples', '64']):
        reader, writer = os.pipe()
        os.close(reader)
        outputs = [('a closed pipe', os.fdopen(writer, 'w'))]
        if os.path.exists('/dev/full'):
            outputs.append(('a full device', open('/dev/full', 'w')))
        for name, output in outputs:
            done = subprocess.run([NARROW] + words, stdout=output, stderr=subprocess.PIPE, universal_newlines=True)
            output.close()
            check(done.returncode == 1 and done.stderr.startswith("narrow: cannot write 'standard output': ") and
                  done.stderr.count('\n') == 1, '%s into %s: status %d, %r' % (words[0], name, done.returncode, done.stderr))


build('narrow', os.path.join(EXAMPLES, 'narrow.c'))
build('wide', os.path.join(TESTS, 'narrow_wide.c'))
one_step()
two_steps()
updates()
wide()
files()
long_names()
refusals()
print('%d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
