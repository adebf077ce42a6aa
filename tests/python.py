"""The tests of examples/python/twostep.py; run by tests/python.sh."""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.dom.minidom

import numpy as np
import scipy.sparse.linalg

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
MODULE = os.path.join(ROOT, 'examples', 'python')
HEADER = os.path.join(os.environ.get('TWOSTEP_DIR') or ROOT, 'twostep.h')
scratch = tempfile.mkdtemp(prefix='twostep-python.')
os.environ['TWOSTEP_CACHE'] = os.path.join(scratch, 'cache')
passed = failed = 0


def check(name, good, detail=''):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print('failed: %s %s' % (name, detail))


def near(name, a, b, bound):
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    worst = np.max(np.abs(a - b)) if a.shape == b.shape else np.inf
    check(name, worst <= bound, 'differs by %g, allowed %g' % (worst, bound))


def refused(name, error, words, function, *arguments, **options):
    """The call must raise this class with all the words in its sentence."""
    try:
        function(*arguments, **options)
    except error as caught:
        missing = [w for w in words if w not in str(caught)]
        check(name, not missing, 'says %r, without %r' % (str(caught), missing))
    except BaseException as caught:
        check(name, False, 'raised %r' % caught)
    else:
        check(name, False, 'was accepted')


def python(code, **environment):
    """Runs code with a copy of the module in sys.path; (exit status, output)."""
    done = subprocess.run([sys.executable, '-B', '-c', code], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True, timeout=240,
                          env=dict(os.environ, **environment))
    return done.returncode, done.stdout


def test_import():
    """On a private copy, so that the header can be changed."""
    folder = os.path.join(scratch, 'copy')
    cache = os.path.join(scratch, 'other')
    os.makedirs(folder)
    shutil.copy(os.path.join(MODULE, 'twostep.py'), folder)
    with open(HEADER, encoding='utf-8') as file:
        text = file.read()
    header = os.path.join(folder, 'twostep.h')
    with open(header, 'w', encoding='utf-8') as file:
        file.write(text)
    # -O0 would be faster, but CC must be what a user has; a wrapper counts the compilations.
    wrapper, log = os.path.join(scratch, 'counting-cc'), os.path.join(scratch, 'log')
    with open(wrapper, 'w') as file:
        file.write('#!/bin/sh\necho once >>"%s"\nexec ${REAL_CC:-cc} "$@" -O0\n' % log)
    os.chmod(wrapper, 0o755)
    code = 'import sys; sys.path.insert(0, %r); import twostep; print(twostep.version())' % folder
    common = dict(TWOSTEP_CACHE=cache, CC=wrapper, REAL_CC=os.environ.get('CC', 'cc'))
    two = [subprocess.Popen([sys.executable, '-B', '-c', code], stdout=subprocess.PIPE, universal_newlines=True,
                            env=dict(os.environ, **common)) for _ in range(2)]
    answers = [p.communicate()[0].strip() for p in two]
    check('two processes import at once', answers[0] == answers[1] and answers[0].isdigit(), answers)
    check('one library is left, and nothing half done', len(os.listdir(cache)) == 1, os.listdir(cache))

    def compiled():
        with open(log) as file:
            return len(file.readlines())
    before = compiled()
    status, output = python(code, **common)
    check('the second import compiles nothing', status == 0 and compiled() == before, output)
    with open(header, 'a', encoding='utf-8') as file:
        file.write('/* changed */\n')
    status, output = python(code, **common)
    check('a changed header is compiled anew', status == 0 and compiled() == before + 1, output)
    with open(header, 'a', encoding='utf-8') as file:
        file.write('#error broken here\n')
    status, output = python(code, **common)
    check('a broken header is explained', status != 0 and 'could not compile' in output and
          'broken here' in output, output[-400:])
    check('a failed compilation leaves nothing', len(os.listdir(cache)) == 2, os.listdir(cache))
    status, output = python(code, TWOSTEP_CACHE=cache, CC='no-such-compiler-here')
    check('a wrong CC is explained', status != 0 and 'no-such-compiler-here' in output.splitlines()[-1], output)
    environment = {k: v for k, v in os.environ.items() if k != 'CC'}
    done = subprocess.run([sys.executable, '-B', '-c', code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True, env=dict(environment, PATH=scratch, TWOSTEP_CACHE=cache))
    check('no compiler is explained', done.returncode != 0 and
          'needs a C compiler' in done.stdout.splitlines()[-1], done.stdout)
    os.remove(header)
    status, output = python(code.replace('import twostep;', 'import twostep;'), **common)
    check('a missing header is explained', status != 0 and 'looks for twostep.h' in output, output)
    shutil.copy(HEADER, header)
    status, output = python(code, CC=wrapper, TWOSTEP_CACHE='/proc/none')
    check('a cache that cannot be made is done without', status == 0, output)


def test_run(twostep, folder):
    """The same numbers as the command's."""
    command = os.path.join(folder, 'twostep')
    built = subprocess.run(os.environ.get('CC', 'cc').split() +
                           ['-std=c99', '-O2', '-o', command, os.path.join(ROOT, 'examples', 'twostep.c'),
                            '-lm', '-pthread'])
    check('the command builds', built.returncode == 0)
    options = dict(neurons=300, inputs=250, samples=700, alpha1=.35, alpha2=.45, scale1=1.5, scale2=2,
                   activation='softplus', target='step4', noise=.1, seed=18446744073709551615, top=7)
    words = [w for k, v in options.items() for w in ('--' + k, str(v))]
    done = json.loads(subprocess.run([command, 'compare', '--json', '-'] + words,
                                     stdout=subprocess.PIPE).stdout)
    result = twostep.run(compare=True, **options)
    check('cases', list(result) == [c['name'] for c in done['cases']])
    for case in done['cases']:
        ours, theirs = result[case['name']], case['measured']
        for field in ('singular_values', 'alignments', 'readout_alignments', 'loss', 'edge', 'captured'):
            near('run: %s of %s' % (field, case['name']), getattr(ours, field), theirs[field], 2e-8)
        check('run: outliers of ' + case['name'], ours.outliers == theirs['outliers'])
        if ours.predicted:
            for field in ('singular_values', 'alignments', 'edge'):
                near('theory: %s of %s' % (field, case['name']), getattr(ours.predicted, field),
                     case['predicted'][field], 2e-8)
    near('eta', result.eta, done['eta'], 1e-6)
    check('orders', result.limit.orders == done['limit']['outliers'])
    check('the table prints', 'two-steps-reuse' in repr(result) and repr(result).count('\n') > 6)
    again = twostep.run(compare=True, threads=1, **options)
    check('any number of threads, the same bits', all(
        np.array_equal(again[n].singular_values, result[n].singular_values) for n in result))
    one = twostep.run(batches='fresh', **options)
    check('one batch mode', list(one) == ['initial', 'one-step', 'two-steps-fresh'] and np.array_equal(
        one['two-steps-fresh'].singular_values, result['two-steps-fresh'].singular_values))

    # By hand, with NumPy alone, from the same data.
    d = twostep.data(**options)
    x, y, w = d.inputs[0].astype(float), d.labels[0].astype(float), d.weights.astype(float)
    z, a = w @ x.T, d.readout.astype(float)
    residual = y - a @ np.logaddexp(0, z) / np.sqrt(300)
    by_hand = ((a[:, None] * residual) / (1 + np.exp(-z))) @ x / 700
    g, loss = twostep.gradient(d.weights, d.readout, d.inputs[0], d.labels[0], activation='softplus')
    near('gradient against NumPy', g, by_hand, 1e-5 * np.abs(by_hand).max())
    near('loss against NumPy', loss, np.mean(residual ** 2) / 2, 1e-6)
    before = d.weights.copy()
    twostep.step(d.weights, d.readout, d.inputs[0], d.labels[0], result.eta[0], activation='softplus')
    near('a step is in place', d.weights, before + result.eta[0] * g, 1e-5)
    near('W1 by hand has the spectrum of run', np.linalg.svd(d.weights.astype(float), compute_uv=False)[:7],
         result['one-step'].singular_values, 1e-4)
    near('bulk()', result.bulk('one-step')[:7], result['one-step'].singular_values, 1e-5)
    near('bulk() of W2', result.bulk('two-steps-reuse')[:7], result['two-steps-reuse'].singular_values, 1e-4)
    if twostep._library().can_plot:
        text = result._repr_svg_()
        xml.dom.minidom.parseString(text)
        check('the figure', text.startswith('<svg') or text.startswith('<?xml'), text[:60])
        check('the figure has four panels', text.count('W₀') >= 1 and 'reused batch' in text)


def test_double(twostep):
    """bulk() is of the same experiment, in either precision."""
    result = twostep.run(compare=True, double=True, neurons=60, inputs=50, samples=120)
    for name in result:
        near('bulk() in double, ' + name, result.bulk(name)[:10], result[name].singular_values, 1e-10)


def test_few_values(twostep):
    """More predicted outliers than measured values; fewer neurons than the default asks for values."""
    result = twostep.run(neurons=300, inputs=300, samples=1500, alpha1=.45, alpha2=.45, scale2=2, target='step4',
                         top=1)
    predicted = result['two-steps-reuse'].predicted
    rows = repr(result).split('two-steps-reuse')[1].splitlines()
    check('more outliers predicted than measured', predicted.outliers > 1 and
          '%.4f' % predicted.singular_values[1] in rows[1] and '%.3f' % predicted.alignments[1] in rows[1], rows)
    small = dict(neurons=6, inputs=5, samples=9)
    check('data of a small network', twostep.data(**small).weights.shape == (6, 5))
    result = twostep.run(predict=False, **small)
    check('a small network has fewer values', all(s.top == 5 for s in result.cases.values()), result)
    near('bulk() of a small network', result.bulk('one-step'), result['one-step'].singular_values, 1e-5)
    refused('more values than there are', twostep.BadArgument, ['top is 10', '5'], twostep.run, top=10, **small)


def test_complex(twostep):
    """No imaginary part is dropped without a word."""
    bad, words = twostep.BadArgument, ['must hold real numbers']
    a = np.random.default_rng(1).standard_normal((9, 7)) * (1 + 1j)
    for kind in (np.complex64, np.complex128, object):
        refused('svd of %s' % kind, bad, words, twostep.svd, a.astype(kind))
        refused('values of %s' % kind, bad, words, twostep.singular_values, a.astype(kind))
        refused('labels of %s' % kind, bad, ['labels'] + words, twostep.gradient, np.ones((4, 7)), np.ones(4), a.real,
                a[:, 0].astype(kind))
        refused('readout of %s' % kind, bad, ['readout'] + words, twostep.gradient, np.ones((9, 7)),
                a[:, 0].astype(kind), a.real, np.ones(9))
        refused('inputs of %s' % kind, bad, ['inputs'] + words, twostep.gradient, np.ones((4, 7)), np.ones(4),
                a.astype(kind), np.ones(9))
    refused('complex products', bad, words, twostep.svd, scipy.sparse.linalg.aslinearoperator(a), top=2)
    refused('complex noise', bad, ['noise'], twostep.run, noise=np.complex128(.1 + 1j))
    refused('a complex target', TypeError, ['real'], twostep.run, neurons=8, inputs=8, samples=9, predict=False,
            target=(lambda u: np.complex128(u[0] + 1j), 1))


def test_theory(twostep):
    t = twostep.theory(neurons=1e12, inputs=1e12, samples=2e12)
    check('theory at 1e12', t.step2.outliers == 2 and t.limit.orders == 3 and t.step2.edge < 2.01, t)
    check('theory arrays', t.step2.singular_values.shape == (2,) and t.step2.alignments.shape == (2,))
    check('theory prints', 'learned directions' in repr(t))
    check('orders see or not', [o.sees_target_reuse for o in twostep.theory(target='step4').limit.order][:2] ==
          [False, True])
    near('bulk edge', twostep.bulk_edge(300, 100), 1 + np.sqrt(3), 1e-15)


def test_svd(twostep):
    rng = np.random.default_rng(5)
    base = rng.standard_normal((400, 300)) @ np.diag(np.linspace(3, .1, 300) ** 3)
    for dtype, bound in ((np.float32, 2e-5), (np.float64, 1e-9)):
        a = base.astype(dtype)
        u, s, vt = twostep.svd(a, top=6, tolerance=1e-9)
        check('svd shapes', u.shape == (400, 6) and s.shape == (6,) and vt.shape == (6, 300))
        theirs = np.sort(scipy.sparse.linalg.svds(a, k=6, return_singular_vectors=False))[::-1]
        near('svd against svds, %s' % a.dtype, s / s[0], theirs / theirs[0], bound)
        near('u is orthonormal', u.T @ u, np.eye(6), 1e-10)
        near('A v = s u', (a.astype(float) @ vt.T - u * s) / s[0], np.zeros((400, 6)), 1e-8)
        near('values alone', twostep.svd(a, top=6, tolerance=1e-9, vectors=False), s, 1e-12 * s[0])
        for name, other in (('columns', np.asfortranarray(a)), ('every other row', a[::2]),
                            ('a window', a[10:, 20:]), ('every other column', a[:, ::2]),
                            ('turned', a[::-1]), ('transposed', a.T)):
            want = np.linalg.svd(other.astype(float))
            u, s, vt = twostep.svd(other, top=3, tolerance=1e-9)
            near('svd of ' + name, s / want[1][0], want[1][:3] / want[1][0], bound)
            check('shapes of ' + name, u.shape == (other.shape[0], 3) and vt.shape == (3, other.shape[1]))
            near('vectors of ' + name, np.abs(np.sum(u * want[0][:, :3], axis=0)), np.ones(3), 1e-4)
        near('all values, %s' % a.dtype, twostep.singular_values(a) / theirs[0],
             np.linalg.svd(a.astype(float), compute_uv=False) / theirs[0], bound)
    # Whole rows and whole columns are read where they lie, at no cost of memory.
    for name, a in (('rows', base.astype(np.float32)), ('a window', base.astype(np.float32)[5:, 7:]),
                    ('columns', np.asfortranarray(base).T)):
        check('no copy of ' + name, twostep._rows('matrix', a)[0] is a)
    u, s, vt = twostep.svd(scipy.sparse.linalg.aslinearoperator(base), top=4)
    near('svd of a LinearOperator', s, np.linalg.svd(base, compute_uv=False)[:4], 1e-6 * s[0])
    near('whole numbers', twostep.svd(np.diag([3, 1, 2]), top=3, vectors=False), [3, 2, 1], 1e-12)
    near('lists', twostep.svd([[2., 0], [0, 1]], top=1, vectors=False), [2], 1e-12)
    u, s, vt = twostep.svd(np.diag([9., 8, 1, .5, .1]), top=4, stop_below=5.)
    check('stop_below', s.shape == (2,) and u.shape == (5, 2) and vt.shape == (2, 5))

    class Broken:
        shape = (50, 40)

        def matvec(self, x):
            raise KeyError('from the callback')
        rmatvec = matvec
    refused('an exception of the operator', KeyError, ['from the callback'], twostep.svd, Broken(), top=2)


def test_normal(twostep):
    a = twostep.normal((300, 400), seed=9)
    check('normal: type and shape', a.dtype == np.float32 and a.shape == (300, 400))
    near('normal: mean and variance', [a.mean(), a.var()], [0, 1], .02)
    check('normal: rows made apart fit together',
          np.array_equal(twostep.normal((100, 400), seed=9, first=200), a[200:]))
    check('normal: seeds and purposes differ', not np.array_equal(a, twostep.normal((300, 400), seed=10)) and
          not np.array_equal(a, twostep.normal((300, 400), seed=9, purpose=129)))
    check('normal: any number of threads', np.array_equal(a, twostep.normal((300, 400), seed=9, threads=1)))
    out = np.full((310, 500), -9, np.float32)
    check('normal: into a window', twostep.normal((300, 400), seed=9, out=out[5:305, 50:450]).base is out and
          np.array_equal(out[5:305, 50:450], a) and (out[:5] == -9).all() and (out[:, :50] == -9).all() and
          (out[:, 450:] == -9).all())
    check('normal: double', twostep.normal((3, 4), dtype=np.float64).dtype == np.float64)
    check('normal: empty', twostep.normal((0, 4)).shape == (0, 4))


def test_own_functions(twostep):
    size = dict(neurons=60, inputs=50, samples=100, predict=False)
    named = twostep.run(activation='tanh', target='square', **size)
    own = twostep.run(activation=(np.tanh, lambda x: 1 - np.tanh(x) ** 2),
                      target=(lambda u: u[0] ** 2, 1), **size)
    for name in named:
        near('functions of your own: ' + name, own[name].singular_values, named[name].singular_values, 1e-5)
    refused('an exception of a function', ZeroDivisionError, [], twostep.run,
            target=(lambda u: 1 / 0, 1), **size)
    twostep.run(target=(lambda u: u[0] * u[1], 2), **size)


def test_refusals(twostep):
    bad = twostep.BadArgument
    check('BadArgument is a ValueError', issubclass(bad, ValueError))
    for options, words in ((dict(alpha1=.7), ['alpha1', '0.7', 'below 0.5']),
                           (dict(neurons=-3), ['neurons', '-3']), (dict(samples=2.5), ['samples', '2.5']),
                           (dict(target='linaer'), ['target', 'linaer', 'staircase']),
                           (dict(activation='x'), ['activation', 'softplus']),
                           (dict(activation=(1, 2)), ['activation', 'pair']),
                           (dict(noise='much'), ['noise', 'much']), (dict(noise=float('nan')), ['noise']),
                           (dict(batches='none'), ['batches', 'fresh']), (dict(top=65), ['top', '65']),
                           (dict(seed=2 ** 64), ['seed']), (dict(output_scale=-2), ['output_scale', '-2']),
                           (dict(threads=65), ['threads', '65']), (dict(kernel='fast'), ['kernel', 'fast'])):
        refused('run(%s)' % options, bad, words, twostep.run, **options)
    refused('an unknown option', TypeError, ['neuron', 'neurons'], twostep.run, neuron=3)
    refused('theory', bad, ['1e+16'], twostep.theory, neurons=1e16)
    refused('svd of NaN', twostep.TwostepError, ['NaN'], twostep.svd, np.full((20, 20), np.nan), top=2)
    refused('svd of a vector', bad, ['1 dimension'], twostep.svd, np.zeros(4))
    refused('svd of nothing', bad, ['(0, 4)'], twostep.svd, np.zeros((0, 4)))
    refused('svd top', bad, ['top'], twostep.svd, np.eye(3), top=4)
    refused('svd tolerance', bad, ['tolerance', '2'], twostep.svd, np.eye(3), top=1, tolerance=2)
    refused('not converged', twostep.NotConverged, [], twostep.svd,
            np.random.default_rng(1).standard_normal((200, 200)), top=20, max_passes=2)
    refused('normal shape', bad, ['shape'], twostep.normal, 5)
    refused('normal dtype', bad, ['dtype'], twostep.normal, (2, 2), dtype=np.int32)
    refused('normal out', bad, ['out'], twostep.normal, (2, 2), out=np.zeros((2, 4), np.float32)[:, ::2])
    frozen = np.zeros((4, 4), np.float32)
    frozen.flags.writeable = False
    refused('a frozen out', bad, ['writable'], twostep.normal, (4, 4), out=frozen)
    refused('gradient shapes', bad, ['labels'], twostep.gradient, np.zeros((4, 3)), np.zeros(4),
            np.zeros((5, 3)), np.zeros(6))
    refused('step of a list', bad, ['weights'], twostep.step, [[1., 2]], [1.], [[1., 2]], [1.], 1)
    refused('bulk', bad, ['third'], twostep.Result({}).bulk, 'third')


def test_lock(twostep):
    """Another thread gets on while C works: it counts through the whole call."""
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(.001)
    thread = threading.Thread(target=count)
    thread.start()
    twostep.svd(twostep.normal((700, 700)), top=30)
    start = counted[0]
    twostep.run(neurons=600, inputs=600, samples=1200, threads=1)
    during = counted[0] - start
    stop.set()
    thread.join()
    check('the lock is released', during >= 10, 'the other thread counted to %d' % during)
    results = []
    workers = [threading.Thread(target=lambda: results.append(
        twostep.run(neurons=200, inputs=200, samples=400)['one-step'].singular_values)) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    check('four threads at once agree', len(results) == 4 and all(np.array_equal(r, results[0]) for r in results))


def main():
    sys.path.insert(0, MODULE)
    try:
        test_import()
        import twostep
        for test in (test_theory, test_svd, test_normal, test_own_functions, test_double,
                     test_few_values, test_complex, test_refusals, test_lock):
            test(twostep)
        test_run(twostep, scratch)
    except Exception:
        check('the tests run to their end', False, traceback.format_exc())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print('%d passed, %d failed' % (passed, failed))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
