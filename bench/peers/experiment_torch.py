"""The experiment in PyTorch, tuned: blocks of samples, work in place, no array made twice.

experiment_torch.py SIZE      N = d = SIZE, n = 2 SIZE. Prints the seconds, then the values of W_2.
"""
import os
import sys
import time

import torch
from scipy.sparse.linalg import svds

N = d = int(sys.argv[1])
n = 2 * N
BLOCK = 2048
eta1, eta2 = N ** 0.3, N ** 0.4
torch.set_num_threads(os.cpu_count())
torch.manual_seed(1)


def add_step(W, a, X, y, eta):
    """W <- W + eta G."""
    bare = torch.zeros(N, d)
    H = torch.empty(N, BLOCK)
    for first in range(0, n, BLOCK):
        Xb = X[first:first + BLOCK]
        Hb = H[:, :len(Xb)]
        torch.mm(W, Xb.T, out=Hb)
        Hb.add_(0.7).tanh_()
        r = y[first:first + BLOCK] - (a @ Hb) / N ** 0.5
        Hb.square_().neg_().add_(1)
        bare.addmm_(Hb, Xb * r[:, None])
    W.addcmul_(bare, a[:, None], value=eta / n)


def spectrum(W, a, beta):
    u, s, vt = (torch.from_numpy(x.copy()) for x in svds(W.numpy(), k=10, tol=1e-5))
    order = torch.argsort(s, descending=True)
    return s[order], (vt[order] @ beta).abs(), (u[:, order].T @ a).abs() / a.norm()


def loss(W, a, X, y):
    return (y - a @ torch.mm(W, X.T).add_(0.7).tanh_() / N ** 0.5).square().mean() / 2


start = time.perf_counter()
with torch.no_grad():
    W = torch.randn(N, d)
    W /= W.norm(dim=1, keepdim=True)
    a = torch.randn(N) / N ** 0.5
    beta = torch.randn(d)
    beta /= beta.norm()
    X = torch.randn(n, d)
    y = X @ beta
    results = [(spectrum(W, a, beta), loss(W, a, X[:512], y[:512]))]
    for eta in (eta1, eta2):
        add_step(W, a, X, y, eta)
        results.append((spectrum(W, a, beta), loss(W, a, X[:512], y[:512])))
print('%.4f' % (time.perf_counter() - start))
print(' '.join('%.4f' % s for s in results[2][0][0]))
