"""What the Python benches share: taking turns, medians, and our library through ctypes."""
import ctypes
import statistics
import time

import numpy as np

CALM = 0.05  # seconds: threads of OpenMP and OpenBLAS spin for a while after their work


def open_ours(path):
    ours = ctypes.CDLL(path)
    size, real = ctypes.c_size_t, ctypes.c_double
    floats = np.ctypeslib.ndpointer(np.float32, flags='C')
    doubles = np.ctypeslib.ndpointer(np.float64, flags='C')
    ours.ours_peak.restype = ours.ours_bandwidth.restype = ours.ours_edge.restype = ours.ours_pass.restype = real
    ours.ours_edge.argtypes = [size]
    ours.ours_normals.argtypes = [floats, size, ctypes.c_uint64]
    ours.ours_svd.argtypes = [floats, size, size, real, real, ctypes.c_uint, doubles, doubles, doubles,
                              np.ctypeslib.ndpointer(np.uintp)]
    ours.ours_pass.argtypes = [floats, size, ctypes.c_uint, ctypes.c_int]
    return ours


def take_turns(contenders, rounds=5, calm=CALM):
    """Median seconds of each contender, a dict of name: function; every round times each once."""
    seconds = {name: [] for name in contenders}
    for turn in range(rounds):
        for name, work in contenders.items():
            time.sleep(calm)
            start = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def optional(name):
    """The module, or None and a line that says so."""
    try:
        return __import__(name)
    except ImportError:
        print('%s: skipped, the Python module is not installed' % name)
        return None
