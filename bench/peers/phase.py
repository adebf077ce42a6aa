"""Phase diagram of 11 x 11 cells at N = d = 1024, n = 2048 in turns: phase.py TWOSTEP [SIZE COUNT]

Ours is `twostep sweep` with one seed, timed from start to end; it looks for the outliers of each cell
alone. Without the theory it does what the scripts do; by default it predicts each cell too. The scripts ask for ten values, and one of them for four, which only who knows how many outliers
there are can ask for. The script that runs each cell anew is timed on two of its rows in each round
and multiplied: its cells all cost the same.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS, ROWS = 5, 2
HERE = os.path.dirname(os.path.abspath(__file__))
twostep = sys.argv[1]
size, count = (int(word) for word in sys.argv[2:4]) if len(sys.argv) > 3 else (1024, 11)
folder = tempfile.TemporaryDirectory()
table = os.path.join(folder.name, 'sweep.csv')


def run_ours(*options):
    if os.path.exists(table):
        os.remove(table)
    grid = '0.05:0.45:%d' % count
    start = time.perf_counter()
    done = subprocess.run([twostep, 'sweep', '--neurons', str(size), '--inputs', str(size), '--samples', str(2 * size),
                           '--alpha1', grid, '--alpha2', grid, '--seeds', '1', '--quiet', '--out', table, *options],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    with open(table) if done.returncode == 0 else open(os.devnull) as rows:
        cells = [row.split(',')[3] for row in rows if row[:1] in '0123456789']
    return (seconds, cells) if len(cells) == count * count else None


def run_script(name, rows, top=10):
    done = subprocess.run([sys.executable, os.path.join(HERE, name), str(size), str(count), str(rows), str(top)],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    if done.returncode:
        return None
    seconds, cells = done.stdout.split('\n')[:2]
    return float(seconds) * count / rows, cells.split()


contenders = {'ours': lambda: run_ours('--no-theory'),
              'ours, and predictions': run_ours,
              'numpy, each cell anew': lambda: run_script('phase_rerun.py', min(ROWS, count)),
              'numpy, parts reused': lambda: run_script('phase_reuse.py', count),
              'the same, four values': lambda: run_script('phase_reuse.py', count, 4)}
runs = {name: [] for name in contenders}
for turn in range(ROUNDS):
    for name, work in contenders.items():
        if None not in runs[name]:
            runs[name].append(work())
why = dict.fromkeys(('ours', 'ours, and predictions'), '`twostep sweep` is not there or failed')
ours = None
print('%d x %d cells, N = d = %d, n = %d, median of %d' % (count, count, size, 2 * size, ROUNDS))
for name, answers in runs.items():
    if None in answers:
        print('%-22s skipped: %s' % (name, why.get(name, 'NumPy or SciPy is not installed')))
        continue
    seconds = statistics.median(answer[0] for answer in answers)
    if name == 'ours':
        ours = seconds
    cells = answers[0][1]
    print('%-22s %8.2f s %s  outliers along the first row: %s' % (
        name, seconds, '%6.1f x ours' % (seconds / ours) if ours else '', ' '.join(cells[:count])))
