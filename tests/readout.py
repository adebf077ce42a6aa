#!/usr/bin/env python3
"""Ridge regression of twostep.h against NumPy in double precision, on the same weights and data.

    python3 tests/readout.py        ($CC and $TWOSTEP_DIR as in run.sh)

Ends with `N passed, N failed`. Without NumPy it says `skip:`."""
import os
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError:
    print('skip: readout: no numpy')
    print('0 passed, 0 failed')
    sys.exit(0)

TESTS = os.path.dirname(os.path.abspath(__file__))
HEADER = os.environ.get('TWOSTEP_DIR') or os.path.dirname(TESTS)
FEW = 40
passed = failed = 0


def check(name, got, want, tolerance):
    """The largest difference in units of the root mean square of want."""
    global passed, failed
    scale = np.sqrt(np.mean(np.square(want)))
    error = np.max(np.abs(np.asarray(got) - want)) / scale
    if error <= tolerance:
        passed += 1
    else:
        failed += 1
        print('readout.py: %s: off by %.3g of the rms, allowed %.3g' % (name, error, tolerance))


def sigma(x):
    return np.tanh(x + 0.7)


def ridge(F, y, shift):
    """Coefficients, by the singular value decomposition: no Gram matrix."""
    u, s, vt = np.linalg.svd(F, full_matrices=False)
    hat = np.einsum('ij,j,ij->i', u, s ** 2 / (s ** 2 + shift), u)
    return vt.T @ (s / (s ** 2 + shift) * (u.T @ y)), hat


def one(program, N, d, n, lam, name):
    raw = np.frombuffer(subprocess.run([program, str(N), str(d), str(n), repr(lam)], check=True,
                                       stdout=subprocess.PIPE).stdout)
    at = [0]

    def take(*shape):
        count = int(np.prod(shape))
        at[0] += count
        return raw[at[0] - count:at[0]].reshape(shape)
    W, X, y, F = take(N, d), take(n, d), take(n), take(n, N)
    single, both, train, loo, outputs = take(N), take(2, N), take(2), take(2), take(2, n)
    kernel, alpha, ktrain, kloo = take(FEW, FEW), take(2, FEW), take(2), take(2)
    assert at[0] == raw.size
    exact = sigma(X @ W.T) / np.sqrt(N)
    check(name + ' features', F, exact, 1e-5)
    for c, penalty in enumerate((lam, 100 * lam)):
        want, hat = ridge(F, y, n * penalty)
        fit = F @ want
        check(name + ' predictions', F @ both[c], fit, 1e-9)
        check(name + ' outputs', outputs[c], fit, 1e-9)
        check(name + ' predictions from exact features', outputs[c], exact @ ridge(exact, y, n * penalty)[0], 1e-5)
        check(name + ' train', train[c], np.mean((y - fit) ** 2), 1e-8)
        if n != N or penalty > 1e-4:
            check(name + ' loo', loo[c], np.mean(((y - fit) / (1 - hat)) ** 2), 1e-7)
        if c == 0:
            check(name + ' single', F @ single, fit, 1e-7)
    check(name + ' new inputs', sigma(X[::-1] * 1.1 @ W.T) @ single, sigma(X[::-1] * 1.1 @ W.T) @ ridge(F, y, n * lam)[0],
          1e-5)
    # leave one out by leaving one out
    j = n // 3
    keep = np.arange(n) != j
    left = y[j] - F[j] @ ridge(F[keep], y[keep], n * 100 * lam)[0]
    fit, hat = ridge(F, y, n * 100 * lam)
    check(name + ' the formula itself', (y[j] - F[j] @ fit) / (1 - hat[j]), left, 1e-6)
    # the kernel by quadrature over two correlated normals
    z, w = np.polynomial.hermite_e.hermegauss(80)
    w = w / w.sum()
    s = np.linalg.norm(X[:FEW], axis=1) / np.sqrt(d)
    want = np.empty((FEW, FEW))
    for i in range(FEW):
        for k in range(FEW):
            rho = min(1.0, X[i] @ X[k] / (d * s[i] * s[k]))
            inner = sigma(s[k] * (rho * z[:, None] + np.sqrt(1 - rho * rho) * z)) @ w
            want[i, k] = w @ (sigma(s[i] * z) * inner)
    check(name + ' kernel', kernel, want, 1e-5)
    for c, penalty in enumerate((lam, 100 * lam)):
        inverse = np.linalg.inv(kernel + FEW * penalty * np.eye(FEW))
        a = inverse @ y[:FEW]
        check(name + ' alpha', alpha[c], a, 1e-8)
        check(name + ' kernel train', ktrain[c], np.mean((FEW * penalty * a) ** 2), 1e-8)
        check(name + ' kernel loo', kloo[c], np.mean((a / np.diag(inverse)) ** 2), 1e-8)


with tempfile.TemporaryDirectory() as folder:
    program = os.path.join(folder, 'dump')
    subprocess.run((os.environ.get('CC') or 'cc').split() + ['-std=c99', '-O1', '-I' + HEADER, '-o', program,
                   os.path.join(TESTS, 'readout_dump.c'), '-lm'], check=True)
    for N, d, n, lam in ((60, 50, 200, 1e-3), (200, 50, 60, 1e-3), (100, 40, 100, 1e-2), (300, 200, 700, 1e-5),
                         (700, 200, 300, 1e-5), (600, 300, 600, 1e-4), (3, 45, 97, 1e-2), (65, 41, 40, 1e-4)):
        one(program, N, d, n, lam, 'N=%d d=%d n=%d lambda=%g' % (N, d, n, lam))
print('%d passed, %d failed' % (passed, failed))
sys.exit(failed > 0)
