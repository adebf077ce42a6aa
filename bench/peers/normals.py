"""Normal numbers and activations on one core, ours beside NumPy and PyTorch: normals.py OURS.so"""
import sys

import numpy as np

from common import open_ours, optional, take_turns

COUNT = 1 << 20
ROUNDS = 9

ours = open_ours(sys.argv[1])
torch = optional('torch')
out = np.zeros(COUNT, np.float32)
generator = np.random.default_rng(1)
contenders = {'ours': lambda: ours.ours_normals(out, COUNT, 1),
              'numpy': lambda: generator.standard_normal(dtype=np.float32, out=out)}
if torch:
    torch.set_num_threads(1)
    tensor = torch.zeros(COUNT)
    contenders['torch'] = lambda: torch.randn(COUNT, out=tensor)
take_turns(contenders, 1, 0)
seconds = take_turns(contenders, ROUNDS, 0)
print('%d normal numbers in float on one core, median of %d' % (COUNT, ROUNDS))
for name, value in seconds.items():
    print('%-6s %7.3f G/s   ours is %.1f times as fast' % (name, COUNT / value * 1e-9, value / seconds['ours']))
