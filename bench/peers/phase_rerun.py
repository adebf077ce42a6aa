"""Phase diagram the direct way: each cell of the grid is an experiment of its own.

phase_rerun.py SIZE COUNT [ROWS [TOP]]     N = d = SIZE, n = 2 SIZE, COUNT x COUNT values of alpha
from 0.05 to 0.45; ROWS < COUNT does only the first values of alpha1; TOP singular values of each
cell (10). Prints the seconds and the outliers.
"""
import sys
import time

import numpy as np
from scipy.sparse.linalg import svds

N = d = int(sys.argv[1])
n = 2 * N
alphas = np.linspace(0.05, 0.45, int(sys.argv[2]))
rows = int(sys.argv[3]) if len(sys.argv) > 3 else len(alphas)
top = int(sys.argv[4]) if len(sys.argv) > 4 else 10
f32 = np.float32


def gradient(W, a, X, y):
    T = np.tanh(W @ X.T + f32(0.7))
    r = y - (a @ T) / f32(np.sqrt(N))
    return (a[:, None] * (1 - T ** 2) * r) @ X / f32(n)


def cell(alpha1, alpha2):
    rng = np.random.default_rng(1)
    W = rng.standard_normal((N, d), dtype=f32)
    W /= np.linalg.norm(W, axis=1, keepdims=True)
    a = rng.standard_normal(N, dtype=f32) / f32(np.sqrt(N))
    beta = rng.standard_normal(d, dtype=f32)
    beta /= np.linalg.norm(beta)
    X = rng.standard_normal((n, d), dtype=f32)
    y = X @ beta
    W += f32(N ** alpha1) * gradient(W, a, X, y)
    W += f32(N ** alpha2) * gradient(W, a, X, y)
    u, s, vt = svds(W, k=top)
    return s[::-1], abs(vt[::-1] @ beta)


start = time.perf_counter()
results = [[cell(alpha1, alpha2) for alpha2 in alphas] for alpha1 in alphas[:rows]]
print('%.4f' % (time.perf_counter() - start))
print(' '.join(str(int((s > 2.1).sum())) for row in results for s, _ in row))
