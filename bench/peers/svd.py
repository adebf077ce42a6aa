"""Leading singular triplets of a spiked n x n float matrix, ours beside SciPy, PyTorch and PRIMME.

svd.py OURS.so [n]     Noise with bulk edge 2 and four outliers; ten triplets to a residual of 1e-5.
"""
import contextlib
import os
import sys
import time

import numpy as np

os.environ['SCIPY_USE_PROPACK'] = '1'  # SciPy 1.10 hides this solver otherwise
from scipy.sparse.linalg import svds

from common import open_ours, optional, take_turns

TOP, TOLERANCE, ROUNDS, THREADS = 10, 1e-5, 5, os.cpu_count()
n = int(sys.argv[2]) if len(sys.argv) > 2 else 4096
ours = open_ours(sys.argv[1])
torch = optional('torch')
primme = optional('primme')
answers = {}


def spiked(n):
    rng = np.random.default_rng(7)
    w = rng.standard_normal((n, n), dtype=np.float32) / np.float32(np.sqrt(n))
    for strength in (6, 4, 3, 2.2):
        u, v = rng.standard_normal((2, n)) / np.sqrt(n)
        w += np.outer(np.float32(strength) * u.astype(np.float32), v.astype(np.float32))
    return w


def residual(u, s, vt):
    """Largest of |W v - s u| and |W' u - s v| over the triplets, relative to the largest s."""
    u, s, v = u.astype(float), s.astype(float), vt.T.astype(float)
    right, left = wide @ v - u * s, wide.T @ u - v * s
    return max(np.linalg.norm(right, axis=0).max(), np.linalg.norm(left, axis=0).max()) / s.max()


def run_ours(name, stop_below):
    values, left, right = np.zeros(TOP), np.zeros((TOP, n)), np.zeros((TOP, n))
    counts = np.zeros(3, np.uintp)
    if ours.ours_svd(w, n, TOP, TOLERANCE, stop_below, THREADS, values, left, right, counts):
        raise SystemExit('ours did not converge')
    found = int(counts[0])
    answers[name] = (left[:found].T, values[:found], right[:found]), int(counts[2])


@contextlib.contextmanager
def silence():
    """PROPACK writes a warning per product to standard error."""
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def keep(name, work):
    def run():
        with silence():
            answers[name] = work(), 0
    return run


def lowrank(q, niter):
    u, s, v = torch.svd_lowrank(torch.from_numpy(w), q=q, niter=niter)
    return u.numpy()[:, :TOP], s.numpy()[:TOP], v.numpy().T[:TOP]


w = spiked(n)
wide = w.astype(float)
contenders = {
    'ours, top 10': lambda: run_ours('ours, top 10', 0),
    'ours, outliers alone': lambda: run_ours('ours, outliers alone', ours.ours_edge(n)),
    'svds (arpack)': keep('svds (arpack)', lambda: svds(w, k=TOP)),
    'svds (arpack, tol 1e-5)': keep('svds (arpack, tol 1e-5)', lambda: svds(w, k=TOP, tol=1e-5)),
    'svds (propack)': keep('svds (propack)', lambda: svds(w, k=TOP, solver='propack', maxiter=400,
                                                         random_state=1)),
}
if torch:
    torch.set_num_threads(THREADS)
    contenders['svd_lowrank (defaults)'] = keep('svd_lowrank (defaults)', lambda: lowrank(TOP, 2))
    contenders['svd_lowrank (q 40, niter 64)'] = keep('svd_lowrank (q 40, niter 64)', lambda: lowrank(40, 64))
if primme:
    contenders['primme.svds (tol 1e-5)'] = keep('primme.svds (tol 1e-5)', lambda: primme.svds(w, TOP, tol=1e-5))

once = {}  # seconds of those that are too slow to be timed again
for name, work in list(contenders.items()):  # warm up, and drop who cannot
    start = time.perf_counter()
    try:
        work()
    except Exception as error:
        print('%s: skipped, %s' % (name, str(error).strip()))
        del contenders[name]
        continue
    once[name] = time.perf_counter() - start
limit = 3 * once['svds (arpack)']
once = {name: seconds for name, seconds in once.items() if seconds > limit}
for name in once:
    del contenders[name]
fused = min(ours.ours_pass(w, n, THREADS, 20) for _ in range(3))
seconds = dict(take_turns(contenders, ROUNDS), **once)
base, alone = seconds['ours, top 10'], seconds['ours, outliers alone']
print('n = %d, %d threads, median of %d' % (n, THREADS, ROUNDS))
print('%-30s %9s %10s %8s %14s' % ('', 's', 'residual', 'found', 'over ours'))
for name, value in seconds.items():
    (u, s, vt), _ = answers[name]
    print('%-30s %9.4f %10.1e %8d %14.2f%s' % (name, value, residual(u, s, vt), len(s), value / base,
                                               ' (timed once)' if name in once else ''))
good = [(seconds[name], name) for name in seconds if not name.startswith('ours') and 'arpack' not in name
        and residual(*answers[name][0]) <= 1.5 * TOLERANCE]  # PROPACK stops just there
print('svds over ours %.2f; outliers alone: svds over ours %.1f' % (
    seconds['svds (arpack)'] / base, seconds['svds (arpack)'] / alone))
if good:
    print('best other that reaches %g: %s, over ours %.2f' % (TOLERANCE, min(good)[1], min(good)[0] / base))
passes = answers['ours, top 10'][1]
print('one fused pass W\'(W v): %.2f ms = %.1f GB/s, reading alone %.1f GB/s' % (
    1e3 * fused, 4e-9 * n * n / fused, ours.ours_bandwidth(THREADS)))
print('ours: %d passes, time over passes x fused pass %.2f; outliers alone: %d passes' % (
    passes, base / passes / fused, answers['ours, outliers alone'][1]))
