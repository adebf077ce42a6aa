"""The experiment as one writes it in NumPy: two steps on one batch, ten triplets of W_0, W_1, W_2.

experiment_numpy.py SIZE      N = d = SIZE, n = 2 SIZE. Prints the seconds, then the values of W_2.
"""
import sys
import time

import numpy as np
from scipy.sparse.linalg import svds

N = d = int(sys.argv[1])
n = 2 * N
eta1, eta2 = N ** 0.3, N ** 0.4
f32 = np.float32


def gradient(W, a, X, y):
    T = np.tanh(W @ X.T + f32(0.7))
    r = y - (a @ T) / f32(np.sqrt(N))
    return (a[:, None] * (1 - T ** 2) * r) @ X / f32(n)


def spectrum(W, a, beta):
    u, s, vt = svds(W, k=10)
    order = np.argsort(-s)
    return s[order], abs(vt[order] @ beta), abs(u[:, order].T @ a) / np.linalg.norm(a)


def loss(W, a, X, y):
    return np.mean((y - a @ np.tanh(W @ X.T + f32(0.7)) / f32(np.sqrt(N))) ** 2) / 2


start = time.perf_counter()
rng = np.random.default_rng(1)
W = rng.standard_normal((N, d), dtype=f32)
W /= np.linalg.norm(W, axis=1, keepdims=True)
a = rng.standard_normal(N, dtype=f32) / f32(np.sqrt(N))
beta = rng.standard_normal(d, dtype=f32)
beta /= np.linalg.norm(beta)
X = rng.standard_normal((n, d), dtype=f32)
y = X @ beta

results = [(spectrum(W, a, beta), loss(W, a, X[:512], y[:512]))]
for eta in (eta1, eta2):
    W += f32(eta) * gradient(W, a, X, y)
    results.append((spectrum(W, a, beta), loss(W, a, X[:512], y[:512])))
print('%.4f' % (time.perf_counter() - start))
print(' '.join('%.4f' % s for s in results[2][0][0]))
