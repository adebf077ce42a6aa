"""Phase diagram, reusing what the cells share: the data, G_0 and the preactivations of W_0 and G_0,
and one second gradient for each alpha1. Arguments and output as phase_rerun.py.
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


def gradient(H, a, X, y):
    T = np.tanh(H + f32(0.7))
    r = y - (a @ T) / f32(np.sqrt(N))
    return (a[:, None] * (1 - T ** 2) * r) @ X / f32(n)


start = time.perf_counter()
rng = np.random.default_rng(1)
W0 = rng.standard_normal((N, d), dtype=f32)
W0 /= np.linalg.norm(W0, axis=1, keepdims=True)
a = rng.standard_normal(N, dtype=f32) / f32(np.sqrt(N))
beta = rng.standard_normal(d, dtype=f32)
beta /= np.linalg.norm(beta)
X = rng.standard_normal((n, d), dtype=f32)
y = X @ beta

H0 = W0 @ X.T
G0 = gradient(H0, a, X, y)
K0 = G0 @ X.T
results = []
for alpha1 in alphas[:rows]:
    eta1 = f32(N ** alpha1)
    W1, G1 = W0 + eta1 * G0, gradient(H0 + eta1 * K0, a, X, y)
    for alpha2 in alphas:
        u, s, vt = svds(W1 + f32(N ** alpha2) * G1, k=top)
        results.append((s[::-1], abs(vt[::-1] @ beta)))
print('%.4f' % (time.perf_counter() - start))
print(' '.join(str(int((s > 2.1).sum())) for s, _ in results))
