#!/usr/bin/env python3
"""Recursion and stack of a compiled file, from gcc's call graph.

    gcc -O0 -fcallgraph-info=su -c file.c && python3 tests/callgraph.py file.ci

Fails, and names the functions, if a function can reach itself by direct calls, if a frame is above
8 KiB or has no fixed size, or if a call can need 64 KiB of stack. A call through a pointer may reach
every internal function that nothing calls directly; up to three such calls are taken to be nested: a task of a
thread, a kernel in it, a function of the user's there.
"""
import re
import sys

FRAME, STACK, NESTED = 8192, 65536, 3
POINTER = '__indirect_call'


def short(name):
    return name.rsplit(':', 1)[-1]


def read(path):
    """({function: (bytes, fixed?)}, {function: the functions it calls})."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    frames, calls = {}, {}
    for title, size, kind in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes \(([^"]*)\)', text):
        frames[title] = (int(size), 'static' in kind or 'bounded' in kind)
        calls[title] = set()
    for caller, callee in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
        calls.setdefault(caller, set()).add(callee)
    return frames, calls


def cycle(calls):
    """A list of functions that call each other in a ring, or None."""
    done = set()
    for root in calls:
        path, trail = [root], [iter(sorted(calls[root]))]
        while trail:
            callee = next(trail[-1], None)
            if callee is None:
                done.add(path.pop())
                trail.pop()
            elif callee in path:
                return path[path.index(callee):] + [callee]
            elif callee in calls and callee not in done:
                path.append(callee)
                trail.append(iter(sorted(calls[callee])))
    return None


def deepest(frames, calls):
    """(bytes, chain) of the call that needs most, without those of the C library; calls has no ring."""
    called = {callee for callees in calls.values() for callee in callees}
    targets = [name for name in frames if name not in called and not short(name).startswith('tws_')]
    known = {}

    def depth(name, nested):
        if (name, nested) not in known:
            below = [depth(c, nested) for c in calls.get(name, ()) if c in frames]
            if POINTER in calls.get(name, ()) and nested > 0:
                below += [depth(t, nested - 1) for t in targets if t != name]
            size, chain = max(below, default=(0, []))
            known[name, nested] = (frames[name][0] + size, [name] + chain)
        return known[name, nested]
    return max((depth(name, NESTED) for name in frames), default=(0, []))


def main():
    frames, calls = read(sys.argv[1])
    wrong = []
    if len(frames) < 2:
        wrong.append('%s holds %d functions' % (sys.argv[1], len(frames)))
    for name, (size, fixed) in sorted(frames.items()):
        if size > FRAME:
            wrong.append('%s has a frame of %d bytes' % (short(name), size))
        if not fixed:
            wrong.append('%s has a frame of no fixed size' % short(name))
    ring = cycle(calls)
    if ring:
        wrong.append('recursion: ' + ' -> '.join(map(short, ring)))
    else:
        size, chain = deepest(frames, calls)
        told = 'at most %d bytes of stack: %s' % (size, ' -> '.join(map(short, chain)))
        print(told)
        if size > STACK:
            wrong.append(told)
    for sentence in wrong:
        print('failed: ' + sentence)
    return len(wrong) > 0


if __name__ == '__main__':
    sys.exit(main())
