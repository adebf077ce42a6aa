#!/usr/bin/env python3
"""Files of NumPy in and out of `twostep run`: --inputs-file, --labels-file, --directions-file, --save.

    python3 tests/npy.py        ($CC and $TWOSTEP_DIR as in run.sh)

Ends with `N passed, N failed`. Without NumPy it says `skip:`."""
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from numpy.lib import format as npy
except ImportError:
    print('skip: npy: no numpy')
    print('0 passed, 0 failed')
    sys.exit(0)

TESTS = os.path.dirname(os.path.abspath(__file__))
HEADER = os.environ.get('TWOSTEP_DIR') or os.path.dirname(TESTS)
passed = failed = 0
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)


def check(ok, what):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print('npy.py: ' + what)


def near(got, want, tolerance, what):
    error = np.max(np.abs(np.asarray(got) - np.asarray(want))) if np.shape(got) == np.shape(want) else np.inf
    check(error <= tolerance, '%s: off by %.3g, allowed %.3g' % (what, error, tolerance))


def command(*options):
    return subprocess.run(['./twostep', 'run', '--neurons', '60', '--top', '4', '--scale1', '2'] + list(options),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def run(*options):
    done = command(*(options + ('--json', '-')))
    check(done.returncode == 0, '%s: %s' % (options, done.stderr))
    return json.loads(done.stdout)


def stored(name, array, version):
    with open(name, 'wb') as file:
        npy.write_array(file, array, version=version)


def spectra(result):
    return [m['singular_values'] + m['alignments'] for m in result['measured']]


os.mkdir('examples')
for name in os.listdir(os.path.join(os.path.dirname(TESTS), 'examples')):
    if name.endswith(('.c', '.h')):
        shutil.copy(os.path.join(os.path.dirname(TESTS), 'examples', name), 'examples')
shutil.copy(os.path.join(HEADER, 'twostep.h'), '.')
subprocess.run((os.environ.get('CC') or 'cc').split() + ['-O1', '-o', 'twostep', 'examples/twostep.c', '-lm'], check=True)

rng = np.random.default_rng(1)
X = rng.standard_normal((150, 40)).astype(np.float32)
b = np.zeros(40)
b[3] = 1.0
y = np.tanh(2 * X[:, 3]).astype(np.float32)
np.save('X.npy', X)
np.save('y.npy', y)
np.save('b.npy', b)
files = ('--inputs-file', 'X.npy', '--labels-file', 'y.npy', '--directions-file', 'b.npy')
reference = run(*files)
check(reference['config']['inputs'] == 40 and reference['config']['samples'] == 150, 'sizes come from the file')

# ---- every layout of the same numbers gives the same result, digit for digit ----
for version in ((1, 0), (2, 0), (3, 0)):
    for order in 'CF':
        for kind in ('<f4', '>f4', '<f8', '>f8'):
            stored('x2.npy', np.array(X, dtype=kind, order=order), version)
            stored('y2.npy', y.astype(kind).reshape(-1, 1) if order == 'F' else y.astype(kind), version)
            result = run('--inputs-file', 'x2.npy', '--labels-file', 'y2.npy', '--directions-file', 'b.npy')
            check(spectra(result) == spectra(reference), 'version %s, %s order, %s' % (version, order, kind))

# ---- what is computed from the file ----
for batches in ('reuse', 'fresh'):
    result = run(*(files + ('--batches', batches, '--save', 'out-' + batches)))
    out = {os.path.splitext(name)[0]: np.load(os.path.join('out-' + batches, name)) for name in os.listdir('out-' + batches)}
    check(sorted(out) == sorted('W0 W1 W2 G1 G2 S0 S1 S2 U0 U1 U2 V0 V1 V2 readout directions'.split()), 'files: %s' % sorted(out))
    n = 150 if batches == 'reuse' else 75
    check(result['config']['samples'] == n, 'samples of a batch')
    eta, a, s = result['eta'], out['readout'].astype(float), 60 ** -0.5
    W = out['W0'].astype(float)
    near(np.linalg.norm(W, axis=1), np.ones(60), 1e-5, 'W0 on the sphere')
    for t in (1, 2):
        part = slice(0, n) if t == 1 or batches == 'reuse' else slice(n, 2 * n)
        x, labels = X[part].astype(float), y[part].astype(float)
        h = x @ W.T
        r = labels - s * np.tanh(h + 0.7) @ a
        G = ((1 - np.tanh(h + 0.7) ** 2) * a * r[:, None]).T @ x / n
        near(out['G%d' % t], G, 2e-6, 'G%d, %s' % (t, batches))
        near(out['W%d' % t], W + eta[t - 1] * G, 2e-5, 'W%d, %s' % (t, batches))
        W = out['W%d' % t].astype(float)
    for t in range(3):
        u, sigma, vt = np.linalg.svd(out['W%d' % t].astype(float), full_matrices=False)
        near(out['S%d' % t], sigma[:4], 1e-5, 'S%d' % t)
        near(result['measured'][t]['singular_values'], sigma[:4], 1e-5, 'the same in JSON')
        near(np.abs(np.sum(out['V%d' % t][:1] * vt[:1])), 1.0, 1e-4, 'V%d' % t)
        near(np.abs(np.sum(out['U%d' % t][:1] * u.T[:1])), 1.0, 1e-4, 'U%d' % t)
        near(result['measured'][t]['alignments'], np.abs(out['V%d' % t] @ b), 1e-4, 'alignments')
    check(len(result['predicted']) == 1 and result['predicted'][0]['step'] == 2, 'a surrogate of W2')
result = run('--inputs', '30', '--samples', '50', '--save', 'own')
check(np.load('own/W2.npy').shape == (60, 30) and np.load('own/S1.npy').shape == (4,), 'saving without files')
again = run('--inputs', '30', '--samples', '50')
near(np.load('own/S2.npy'), again['measured'][2]['singular_values'], 1e-6, 'saving changes nothing')
run('--inputs-file', 'X.npy', '--labels-file', 'y.npy', '--save', 'along')
direction = X.T.astype(float) @ y / np.linalg.norm(X.T.astype(float) @ y)
near(np.load('along/directions.npy'), direction[None], 1e-6, 'along X\'y without directions')

# ---- any number of directions, whatever the target ----
several = np.linalg.qr(rng.standard_normal((40, 8)))[0].T
for p in range(1, 9):
    np.save('several.npy', several[:p])
    result = run('--inputs-file', 'X.npy', '--labels-file', 'y.npy', '--directions-file', 'several.npy')
    check(result['config']['directions'] == p and len(result['measured'][2]['principal_cosines']) == p and
          len(result['predicted']) == 1, '%d directions: %s' % (p, result['config']))
for option in (('--target', 'he3'), ('--noise', '2')):
    done = command(*(files + option))
    check(done.returncode == 2 and option[0] + ' does not go with --labels-file' in done.stderr, '%s beside files: %r' % (option[0], done.stderr))

# ---- what the theory assumes, and says when it fails ----
big = rng.standard_normal((800, 200))
target = big[:, 0]


def notes(x, labels):
    np.save('x3.npy', x)
    np.save('y3.npy', labels)
    return '\n'.join(run('--inputs-file', 'x3.npy', '--labels-file', 'y3.npy')['warnings'])


said = notes(big, target)
for word in ('rescale', 'mean ', 'not normal', 'lengths', 'anisotropic', 'heavy'):
    check(word not in said, 'normal inputs: %r' % said)
for x, labels, word in ((3 * big, target, 'rescale'), (big + 0.5, target, 'subtract'), (np.sign(big), target, 'not normal'),
                        (big * rng.uniform(0.3, 1.6, (800, 1)), target, 'lengths'),
                        (big * np.linspace(0.1, 1.7, 200), target, 'anisotropic'), (big, target ** 5, 'heavy')):
    check(word in notes(x, labels), 'no sentence with %r' % word)

# ---- the memory budget is judged by the sizes of the file, and kept ----
done = command(*(files + ('--neurons', '10', '--memory-budget', '100MiB')))
check(done.returncode == 0, 'a budget for a small file: %r' % done.stderr)
np.save('large.npy', rng.standard_normal((3000, 1500)).astype(np.float32))
np.save('many.npy', rng.standard_normal(3000).astype(np.float32))
for order in 'CF':
    for extra in ((), ('--save', 'budget')):
        np.save('large.npy', np.array(np.load('large.npy'), order=order))
        large = ('--inputs-file', 'large.npy', '--labels-file', 'many.npy', '--neurons', '1500', '--quiet') + extra
        done = command(*(large + ('--memory-budget', '97MiB')))
        found = re.search(r'it must be at least (\d+)MiB', done.stderr)
        check(done.returncode == 2 and found is not None, 'a budget that is too small: %d, %r' % (done.returncode, done.stderr))
        least = int(found.group(1)) if found else 400
        program = subprocess.Popen(['./twostep', 'run', '--memory-budget', '%dMiB' % least] + list(large))
        status, used = os.wait4(program.pid, 0)[1:] if hasattr(os, 'wait4') else (program.wait(), None)
        check(status == 0 and (used is None or not sys.platform.startswith('linux') or used.ru_maxrss < least * 1024),
              'a budget of %d MiB: status %s, %s KiB' % (least, status, used.ru_maxrss if used else '?'))

# ---- refusals ----
raw = open('X.npy', 'rb').read()


def refused(content, word, which='--inputs-file', status=2):
    if content is not None:
        with open('bad.npy', 'wb') as file:
            file.write(content)
    names = {'--inputs-file': 'X.npy', '--labels-file': 'y.npy', '--directions-file': 'b.npy', which: 'bad.npy'}
    done = command(*(sum(([k, v] for k, v in names.items()), []) + ['--save', 'never', '--json', 'never.json']))
    check(done.returncode == status and word in done.stderr and done.stderr.count('\n') == 1 and not done.stdout and
          not os.path.exists('never') and not os.path.exists('never.json'),
          'wanted %r: status %d, %r' % (word, done.returncode, done.stderr))


def saved(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


for cut in (0, 5, 9, 60, 130, len(raw) - 1, len(raw) // 2):
    refused(raw[:cut], 'cut short' if cut > 9 else 'no .npy file')
refused(b'x' * 500, 'no .npy file')
refused(raw[:6] + b'\x07' + raw[7:], 'versions 1, 2 and 3')
refused(raw[:8] + b'\xff\xff' + raw[10:], 'cut short')
refused(raw.replace(b"(150, 40)", b"(150,-40)"), 'shape cannot be read')
refused(raw.replace(b"(150, 40), }            ", b"(999999999999, 99999999)}"), 'fit in memory')
refused(raw.replace(b"(150, 40), }    ", b"(150, 400000), }"), 'cut short')
refused(raw.replace(b"(150, 40), }    ", b"(15000, 4000), }"), 'one for each of the 15000 rows')
refused(raw.replace(b"False", b"Fuzzy"), 'fortran_order')
refused(raw.replace(b"'descr'", b"'describe"[:7]), 'lacks')
refused(saved(np.arange(12).reshape(3, 4)), 'float32 or float64')
refused(saved(np.zeros((3, 4), dtype=complex)), 'float32 or float64')
refused(saved(np.zeros((3, 4), dtype=np.float16)), 'float32 or float64')
refused(saved(np.zeros((3, 4, 5))), 'more than two')
refused(saved(np.float64(3.0)), 'single number')
refused(saved(np.zeros((0, 4))), 'empty')
refused(saved(np.zeros(7)), 'vector')
refused(saved(np.where(X > 2, np.nan, X)), 'nan')
refused(saved(np.zeros(149)), 'one for each', '--labels-file')
refused(saved(np.full(150, np.inf)), 'inf', '--labels-file')
refused(saved(np.where(X > 2, 1e300, X)), 'holds 1e+300 in row')
refused(saved(np.where(X > 2, 1e300, X)), 'must be finite, and at most 3.4e+38 in size')
refused(saved(np.ones(39)), 'columns', '--directions-file')
refused(saved(np.ones(40)), 'orthonormal', '--directions-file')
refused(saved(np.eye(40)[:9]), 'has 9 rows, it must have from 1 to 8', '--directions-file')
for options, word in ((('--inputs-file', 'X.npy'), '--labels-file'), (('--labels-file', 'y.npy'), '--inputs-file'),
                      (files + ('--samples', '10'), '--samples'), (files + ('--inputs', '10'), '--inputs')):
    done = command(*options)
    check(done.returncode == 2 and word in done.stderr and done.stderr.count('\n') == 1, '%s: %r' % (options, done.stderr))
for name, why in (('nowhere.npy', 'No such file'), ('examples', 'directory')): # as plot of such a file
    for which in (0, 2, 4):
        names = list(files)
        names[which + 1] = name
        done = command(*names)
        check(done.returncode == 1 and why in done.stderr and done.stderr.count('\n') == 1, '%s: %r' % (names, done.stderr))
done = command(*(files + ('--save', 'X.npy')))
check(done.returncode == 1 and 'twostep: cannot' in done.stderr, 'a file in place of a folder: %r' % done.stderr)
shutil.copytree('out-reuse', 'again')
np.save('again/W0.npy', X)
done = command('--inputs-file', 'again/W0.npy', '--labels-file', 'y.npy', '--save', 'again')
check(done.returncode == 2 and 'which is to be read' in done.stderr and np.array_equal(np.load('again/W0.npy'), X),
      'saved over what is read: %r' % done.stderr)
done = command(*(files + ('--json', 'y.npy')))
check(done.returncode == 2 and 'which is to be read' in done.stderr and np.array_equal(np.load('y.npy'), y),
      'a result over what is read: %r' % done.stderr)
print('%d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
