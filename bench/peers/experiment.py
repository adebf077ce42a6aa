"""The whole experiment in turns: ours, ours in AVX-512 where tile registers are the default, a plain
NumPy script, a tuned PyTorch script.

experiment.py TWOSTEP MACHINE [SIZE ...]     TWOSTEP: the command, MACHINE: the program machine

N = d = SIZE, n = 2 SIZE; every script makes the data, takes two steps on one batch and measures ten
triplets of W_0, W_1 and W_2. Seconds are the scripts' own, without start and imports. The floor is
8 N d n operations at the peak of this run. Memory is the largest resident size of a process.
"""
import json
import os
import statistics
import subprocess
import sys
import time

ROUNDS = 5
HERE = os.path.dirname(os.path.abspath(__file__))
twostep, machine = sys.argv[1:3]
sizes = [int(word) for word in sys.argv[3:]] or [1024, 2048, 4096]


def finish(command):
    """Standard output, largest resident bytes; None, None when the command fails."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return (text, usage.ru_maxrss * 1024) if process.returncode == 0 else (None, None)


def run_ours(size, kernel='auto'):
    text, memory = finish([twostep, 'run', '--neurons', str(size), '--inputs', str(size), '--samples',
                           str(2 * size), '--kernel', kernel, '--quiet', '--json', '-'])
    if text is None:
        raise SystemExit('twostep run failed')
    answer = json.loads(text)
    seconds = answer['seconds']
    return seconds['total'], seconds['step1'] + seconds['step2'], memory, answer['measured'][2]['singular_values'][:2]


def run_script(name, size):
    text, memory = finish([sys.executable, os.path.join(HERE, name), str(size)])
    if text is None:
        return None
    seconds, values = text.split('\n')[:2]
    return float(seconds), None, memory, [float(word) for word in values.split()[:2]]


peers = {'numpy': 'experiment_numpy.py', 'torch': 'experiment_torch.py'}
for name in list(peers):
    if subprocess.run([sys.executable, '-c', 'import scipy, ' + name], stderr=subprocess.DEVNULL).returncode:
        print('%s: skipped, the Python module or SciPy is not installed' % name)
        del peers[name]
text, _ = finish([twostep, 'run', '--neurons', '64', '--inputs', '64', '--samples', '64', '--quiet', '--json', '-'])
has_amx = text is not None and json.loads(text)['kernel'] == 'amx'
totals = {}
print('%-6s %-6s %8s %8s %8s %8s %9s %9s  %s' % (
    'N = d', 'who', 'total s', 'steps s', '/ floor', 'over us', 'MiB', '/ arrays', 's_1, s_2 of W_2'))
for size in sizes:
    answers = {name: [] for name in ['ours'] + ['avx512'] * has_amx + list(peers)}
    peaks = []
    for turn in range(ROUNDS):
        time.sleep(0.05)
        peaks.append(float(subprocess.run([machine, '--peak'], stdout=subprocess.PIPE, text=True).stdout))
        answers['ours'].append(run_ours(size))
        if has_amx:
            answers['avx512'].append(run_ours(size, 'avx512'))
        for name, script in peers.items():
            answers[name].append(run_script(script, size))
    peak = statistics.median(peaks)
    floor = 16.0 * size ** 3 / (peak * 1e9)
    block = min(2048, 2 * size)
    arrays = 4.0 * (2 * size * size + 2 * size * size + 2 * block * size)  # W, G, X, and two blocks
    ours = totals[size] = statistics.median(answer[0] for answer in answers['ours'])
    for name, runs in answers.items():
        if None in runs:
            print('%-6d %-6s failed' % (size, name))
            continue
        total = statistics.median(run[0] for run in runs)
        steps = '' if runs[0][1] is None else '%.3f' % statistics.median(run[1] for run in runs)
        memory = statistics.median(run[2] for run in runs)
        print('%-6d %-6s %8.3f %8s %8.2f %8.2f %9.0f %9.2f  %.3f, %.3f' % (
            size, name, total, steps, total / floor, total / ours, memory / 2**20, memory / arrays,
            *runs[0][3]), flush=True)
    print('%-6d floor  %8.3f at a peak of %.1f GFLOP/s; arrays %.0f MiB' % (size, floor, peak, arrays / 2**20))
for small, large in zip(sizes, sizes[1:]):
    print('growth from %d to %d: time x %.2f, N^3 is x %.0f, ratio %.3f' % (
        small, large, totals[large] / totals[small], (large / small) ** 3,
        totals[large] / totals[small] / (large / small) ** 3))
