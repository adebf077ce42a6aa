#!/usr/bin/env python3
"""The house rules of twostep.h that a machine can check.

    python3 tests/structure.py [HEADER]     (default: twostep.h in $TWOSTEP_DIR or the folder above)

Prints each breach as FILE:LINE: what is wrong, and `N passed, N failed` at the end: one count per rule.
"""
import os
import re
import subprocess
import sys
import tempfile

TESTS = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(TESTS)
HEADER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.environ.get('TWOSTEP_DIR') or ROOT, 'twostep.h')
WIDTH = 100
SHOWN = 12  # breaches of one rule that are printed

passed = failed = 0


def rule(name, breaches):
    """Counts one rule; breaches is a list of (line number or None, sentence) or of sentences."""
    global passed, failed
    if not breaches:
        passed += 1
        return
    failed += 1
    print('failed: %s' % name)
    for breach in breaches[:SHOWN]:
        print('    ' + (breach if isinstance(breach, str) else '%s:%s: %s' % ((os.path.basename(HEADER),) + breach)))
    if len(breaches) > SHOWN:
        print('    ... and %d more' % (len(breaches) - SHOWN))


def blanked(text):
    """text with the insides of comments and literals blanked, all line breaks kept."""
    def blank(match):
        piece = match.group(0)
        if piece[0] in '"\'':
            return piece[0] + ' ' * (len(piece) - 2) + piece[0]
        return re.sub(r'[^\n]', ' ', piece)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


# ---- what the file consists of ----

class Item:
    """A function at file scope: where it starts, its name, its head and its body ('' if only declared)."""
    def __init__(self, line, name, head, body, body_line):
        self.line, self.name, self.head, self.body, self.body_line = line, name, head, body, body_line


LANE = re.compile(r'TWSI_LANE\(\s*(\w+)\s*\)')
NOISE = re.compile(r'__attribute__\s*\(\(.*?\)\)|TWSI_FORMAT\([^)]*\)')


def function_name(head):
    """The function that a head declares: 'f', or 'LANE:f' for TWSI_LANE(f); None if it is none."""
    head = LANE.sub(r'LANE_\1', NOISE.sub(' ', head))
    if '=' in head or re.match(r'\s*(typedef|struct\b[^()]*$|enum\b[^()]*$|union\b[^()]*$|extern\s*$)', head):
        return None
    match = re.search(r'\b(\w+)\s*\(', head)
    if not match or not re.search(r'\w[\s*]+$', head[:match.start()] + ' '):
        return None
    name = match.group(1)
    return 'LANE:' + name[5:] if name.startswith('LANE_') else name


def functions(code):
    """All Items of blanked code. House style: a definition starts and ends in column 0."""
    lines = code.split('\n')
    found, at = [], 0
    while at < len(lines):
        if not re.match(r'[A-Za-z_]', lines[at]) or lines[at].startswith('extern "'):
            if lines[at].startswith('#'):
                while lines[at].endswith('\\'):
                    at += 1
            at += 1
            continue
        start, head = at, lines[at]
        while not re.search(r'[{;]', head) and at + 1 < len(lines) and not lines[at + 1].startswith('#'):
            at += 1
            head += '\n' + lines[at]
        cut = re.search(r'[{;]', head)
        if not cut:  # a lone macro call
            at += 1
            continue
        name = function_name(head[:cut.start()])
        body, body_line = '', at
        if cut.group(0) == '{':
            body = head[cut.start():]
            body_line = start + head[:cut.start()].count('\n')
            if body.count('{') != body.count('}'):
                while at + 1 < len(lines):
                    at += 1
                    body += '\n' + lines[at]
                    if lines[at].startswith('}'):
                        break
        if name:
            found.append(Item(start + 1, name, head[:cut.start()], body, body_line + 1))
        at += 1
    return found


def tags(lines):
    """The tokens of the contents list and those of the banners, each as (line, token), in order."""
    listed, banners, inside = [], [], False
    for number, line in enumerate(lines, 1):
        banner = re.match(r' \* @@([A-Z0-9-]+)', line)
        if banner and lines[number - 2].startswith('/* ==='):
            banners.append((number, banner.group(1)))
        if '@@CONTENTS' in line and not listed:
            inside = True
        elif inside and (entry := re.match(r' \*   @@([A-Z0-9-]+)', line)):
            listed.append((number, entry.group(1)))
        # The banner of the list may close before the list itself is opened.
        if inside and '*/' in line and listed:
            inside = False
    return [t for t in listed if t[1] != 'CONTENTS'], [t for t in banners if t[1] != 'CONTENTS']


# ---- the rules ----

def check_contents(lines):
    listed, banners = tags(lines)
    if not listed:
        rule('the contents list (@@CONTENTS) exists', ['no line ` *   @@TOKEN` after @@CONTENTS'])
        return
    names, tokens = [t for _, t in listed], [t for _, t in banners]
    breaches = [(n, '@@%s is listed, but no banner has it' % t) for n, t in listed if t not in tokens]
    breaches += [(n, '@@%s is not in the contents list' % t) for n, t in banners if t not in names]
    breaches += [(n, '@@%s is there twice' % t) for i, (n, t) in enumerate(banners) if t in tokens[:i]]
    breaches += [(n, '@@%s is listed twice' % t) for i, (n, t) in enumerate(listed) if t in names[:i]]
    if not breaches and names != tokens:
        breaches = [(n, '@@%s stands where the list has @@%s' % (t, want))
                    for (n, t), want in zip(banners, names) if t != want][:1]
    rule('contents list and banners agree, in set and order', breaches)


def static_words(code):
    """`static` and the macros that begin with it; TWS_API is static only on request."""
    words = ['static']
    for name, first in re.findall(r'^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(\w+)', code, re.M):
        if first in words and name not in words and name != 'TWS_API':
            words.append(name)
    return words


def check_bottom_up(code, items):
    # `#define twsi_load TWSI_LANE(load)` gives a function of the passes a second name.
    alias = dict((name, 'LANE:' + lane) for name, lane in
                 re.findall(r'^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+TWSI_LANE\((\w+)\)[ \t]*$', code, re.M))
    where = {}
    for item in items:
        item.name = alias.get(item.name, item.name)
        if item.body:
            where.setdefault(item.name, item.line)
    static = re.compile(r'\s*(%s)\b' % '|'.join(static_words(code)))
    rule('no static function is declared before its definition',
         [(i.line, '%s is only declared here' % i.name) for i in items if not i.body and static.match(i.head)])

    upward, recursive = [], []
    for item in items:
        for match in re.finditer(r'TWSI_LANE\(\s*(\w+)\s*\)|(?<![.>\w])([A-Za-z_]\w*)', item.body):
            used = 'LANE:' + match.group(1) if match.group(1) else match.group(2)
            used = alias.get(used, used)
            line = item.body_line + item.body[:match.start()].count('\n')
            if used == item.name:
                recursive.append((line, '%s uses itself' % item.name))
            elif where.get(used, 0) > item.line:
                upward.append((line, '%s uses %s, which is defined below it, at line %d' %
                               (item.name, used, where[used])))
    rule('a function uses only what stands above it', upward)
    rule('no function uses itself', recursive)
    rule('functions were found at all', [] if len(where) >= 10 else ['only %d definitions' % len(where)])


def check_public(lines, code, items):
    """The public part ends with the include guard; the code of the implementation follows."""
    end = next((n for n, line in enumerate(lines, 1) if re.match(r'#endif.*TWOSTEP_H_INCLUDED', line)), None)
    if end is None:
        rule('the public part ends with `#endif /* TWOSTEP_H_INCLUDED */`', ['no such line'])
        return
    public = [i for i in items if i.line < end and i.head.startswith('TWS_API')]
    breaches, comment = [], ''
    for index, item in enumerate(public):
        above = item.line - 2
        if lines[above].rstrip().endswith('*/'):
            first = above
            while first > 0 and '/*' not in lines[first]:
                first -= 1
            comment = '\n'.join(lines[first:above + 1])
            if '====' in comment:
                breaches.append((item.line, '%s has a banner above it but no comment' % item.name))
        else:
            # Sisters may share the comment of the first if it names them.
            last = public[index - 1] if index else None
            touching = last and not lines[last.line - 1:item.line - 1].count('')
            if not touching or not re.search(r'\b%s\b' % item.name, comment):
                breaches.append((item.line, '%s has no comment directly above it' % item.name))
    rule('every public function has its comment', breaches)

    part = '\n'.join(code.split('\n')[:end])
    names = [(m.start(1), m.group(1)) for m in re.finditer(r'^[ \t]*#[ \t]*define[ \t]+(\w+)', part, re.M)]
    names += [(m.start(1), m.group(1)) for m in re.finditer(r'\b(?:struct|enum|union)[ \t]+(\w+)', part)]
    names += [(m.start(1), m.group(1)) for m in re.finditer(r'^}[ \t]*(\w+)[ \t]*;', part, re.M)]
    names += [(m.start(1), m.group(1)) for m in
              re.finditer(r'^typedef[^;{(]*?(\w+)[ \t]*;', part, re.M)]
    names += [(m.start(1), m.group(1)) for m in re.finditer(r'^typedef[^;{]*?\(\*?[ \t]*(\w+)\)', part, re.M)]
    for body in re.finditer(r'\benum\b[^{;]*\{(.*?)\}', part, re.S):
        names += [(body.start(1) + m.start(1), m.group(1)) for m in
                  re.finditer(r'(?:^|,)\s*(?:#[^\n]*\n\s*)*([A-Za-z_]\w*)\s*(?=[,=]|$)', body.group(1))]
    breaches = [(part[:at].count('\n') + 1, '%s is visible to users' % name) for at, name in names
                if not re.match(r'tws_|TWS_|TWOSTEP_|TWSI_|twsi_', name)]
    breaches += [(i.line, '%s is visible to users' % i.name) for i in public if not i.name.startswith('tws_')]
    rule('public names start with tws_, TWS_ or TWOSTEP_', breaches)

    rest = '\n'.join(code.split('\n')[end:])
    platform = ('WIN32_LEAN_AND_MEAN', 'NOMINMAX')
    breaches = [(end + rest[:m.start()].count('\n') + 1, '%s is a macro without our prefix' % m.group(1)) for m in
                re.finditer(r'^[ \t]*#[ \t]*define[ \t]+(\w+)', rest, re.M)
                if not re.match(r'TWSI_|twsi_|TWOSTEP_|TWS_', m.group(1)) and m.group(1) not in platform]
    breaches += [(i.line, '%s is a function without our prefix' % i.name) for i in items
                 if i.line > end and not re.match(r'twsi_|tws_|LANE:', i.name)]
    rule('internal names start with twsi_ or TWSI_', breaches)
    static = r'\s*(%s)\b' % '|'.join(static_words(code))
    rule('public functions carry TWS_API and internal ones are static',
         [(i.line, i.name) for i in items if 'TWSI_LIBC' not in i.head and not re.match(
             r'\s*TWS_API\b' if i.name.startswith('tws_') else static, i.head)])


# ---- what the comment of a public function says ----

FIELDS = ('Errors', 'Memory', 'Threads', 'Determinism', 'Cost')
FIELD = re.compile(r'\b(%s)(?::| {2,})' % '|'.join(FIELDS))
ARRAY = re.compile(r'\b(const )?(?:tws_real|double|float|uint32_t) \*\s*(\w+)')


def plain(comment):
    """A comment without its stars, in one line."""
    return ' '.join(re.sub(r'^\s*(/\*+|\*+/|\*)?', '', line).replace('*/', '').strip() for line in comment.split('\n'))


def public_blocks(lines, code):
    """(line, name, head, comment) of each public function; sisters share the comment of the first."""
    end = next((n for n, line in enumerate(lines, 1) if re.match(r'#endif.*TWOSTEP_H_INCLUDED', line)), 0)
    blocks, comment = [], ''
    for item in functions(code):
        if item.line >= end or not item.head.startswith('TWS_API'):
            continue
        above = item.line - 2
        if lines[above].rstrip().endswith('*/'):
            first = above
            while first > 0 and '/*' not in lines[first]:
                first -= 1
            comment = plain('\n'.join(lines[first:above + 1]))
        blocks.append((item.line, item.name, ' '.join(item.head.split()), comment))
    return blocks


def classes_promised(lines):
    """{pattern: class} from the PROMISE room: lines ` *   D0  tws_a, tws_b_*`, with continuations."""
    found, current = {}, None
    for line in lines:
        start = re.match(r' \*     (D[012]|--)  (.*)', line)
        more = re.match(r' \*         (\S.*)', line)
        if start:
            current = start.group(1)
        elif not more:
            current = None
        if current:
            for name in re.findall(r'tws_[a-z0-9_]+\*?', (start or more).group(start and 2 or 1)):
                found[name] = current
        if 'ifndef TWOSTEP_H_INCLUDED' in line:
            break
    return found


def class_of(name, promised):
    """The classes that the room gives a function; an exact name beats a pattern."""
    if name in promised:
        return [promised[name]]
    return [c for pattern, c in promised.items() if pattern.endswith('*') and name.startswith(pattern[:-1])]


def check_blocks(lines, code):
    """A function that can fail says how, what it takes, and how reproducible it is; `as tws_other` hands on what
    the other one says. Every array and every size among the parameters is named. Each function has one class in
    the PROMISE room, and its comment agrees."""
    blocks, promised = public_blocks(lines, code), classes_promised(lines)
    said, missing, silent, classes = {}, [], [], []
    for line, name, head, comment in blocks:
        fields = set(FIELD.findall(comment))
        text = comment
        for other in re.findall(r'\b[Aa]s (?:in )?(tws_\w+)', comment):
            if other != name and other in said:
                fields |= said[other][0]
                text += ' ' + said[other][1]
        said[name] = (fields, text)
        parameters = head[head.index('(', head.index(name)) + 1:]
        arrays = ARRAY.findall(parameters)
        wanted = []
        if re.search(r'\btws_status ' + name, head):
            wanted.append('Errors')
            if 'tws_context *context' in head:
                wanted += ['Memory', 'Threads', 'Determinism']
                if len(arrays) > 1:
                    wanted.append('Cost')
        missing += [(line, '%s: no field %s' % (name, field)) for field in wanted if field not in fields]
        words = [w for _, w in arrays] + re.findall(r'size_t (\w+)', parameters)
        silent += [(line, '%s: the comment does not say what %s is' % (name, word)) for word in words
                   if not re.search(r'\b%s\b' % word, text)]
        mine = class_of(name, promised)
        stated = re.findall(r'Determinism(?::| {2,})\s*(D[012])', comment)
        if len(mine) != 1:
            classes.append((line, '%s has %d classes in the PROMISE room' % (name, len(mine))))
        elif stated and stated[0] != mine[0]:
            classes.append((line, '%s is %s here and %s in the PROMISE room' % (name, stated[0], mine[0])))
    names = [name for _, name, _, _ in blocks]
    classes += [(1, '%s in the PROMISE room is no public function' % p) for p in promised
                if not any(n == p or (p.endswith('*') and n.startswith(p[:-1])) for n in names)]
    rule('the comment of a function that can fail has its fields', missing)
    rule('the comment names every array and every size', silent)
    rule('every public function has one class of determinism', classes)


def check_hostile(lines, code):
    """Every public function meets failing memory, wild numbers or wild names."""
    path = os.path.join(TESTS, 'test_hostile.c')
    if not os.path.exists(path):
        return
    with open(path, encoding='utf-8') as file:
        called = set(re.findall(r'\b(tws_\w+)\(', blanked(file.read())))
    rule('test_hostile.c calls every public function',
         [(line, '%s is not called there' % name) for line, name, _, _ in public_blocks(lines, code) if name not in called])


def check_options(lines, code):
    """The OPTIONS room lists exactly the macros that the header asks for."""
    asked = set(re.findall(r'\bTWOSTEP_[A-Z_]+\b', code)) - {'TWOSTEP_H_INCLUDED', 'TWOSTEP_IMPLEMENTATION_DONE'}
    listed = set(re.findall(r'^ \*   (TWOSTEP_[A-Z_]+)', '\n'.join(lines), re.M))
    rule('the options listed are the options used',
         ['%s is used but not listed' % n for n in sorted(asked - listed)] +
         ['%s is listed but not used' % n for n in sorted(listed - asked)])


def words_of(path, pattern):
    with open(path, encoding='utf-8') as file:
        return set(re.findall(pattern, file.read()))


def check_names_in_texts(code):
    """What README.md and the examples call or define exists in the header."""
    known = set(re.findall(r'\b(?:tws|TWS|TWOSTEP)_\w+', code))
    breaches = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith('.git') and f not in ('node_modules', 'data')]
        for name in files:
            path = os.path.join(folder, name)
            if name == 'README.md' or (name.endswith(('.c', '.h')) and 'examples' in path):
                breaches += ['%s: %s is not in twostep.h' % (os.path.relpath(path, ROOT), word)
                             for word in sorted(words_of(path, r'\b(?:tws|TWS)_\w+') - known)
                             if not word.endswith('_')]
    rule('README.md and the examples use names of the header', breaches)


def check_page(lines, code):
    """examples/README.md is the C API on one page: all of it."""
    with open(os.path.join(ROOT, 'examples', 'README.md'), encoding='utf-8') as file:
        named = set(re.findall(r'\btws_\w+', file.read()))
    rule('every public function stands in examples/README.md',
         [(line, '%s does not' % name) for line, name, _, _ in public_blocks(lines, code) if name not in named])


def check_examples():
    """The examples show the public part alone: what they need and it lacks is missing there."""
    breaches = []
    for folder, folders, files in os.walk(os.path.join(ROOT, 'examples')):
        folders[:] = [f for f in folders if f not in ('node_modules', '__pycache__')]
        for name in files:
            path = os.path.join(folder, name)
            with open(path, encoding='utf-8', errors='replace') as file:
                breaches += ['%s:%d: uses %s' % (os.path.relpath(path, ROOT), number, word)
                             for number, line in enumerate(file, 1)
                             for word in re.findall(r'\b(?:twsi|TWSI)_\w*', line)]
    rule('the examples use no internal name', breaches)


def check_help():
    """`twostep help` of every command, README.md and the command's own parser tell the same options."""
    source = os.path.join(ROOT, 'examples', 'twostep.c')
    if not os.path.exists(source):
        return
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, 'twostep')
        command = os.environ.get('CC', 'cc').split() + ['-std=c99', '-O0', '-DTWOSTEP_NO_SIMD', '-o', program, source, '-lm']
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        if done.returncode:
            rule('the command compiles', done.stdout.split('\n')[:8])
            return

        def ask(*words):
            return subprocess.run([program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  universal_newlines=True, cwd=folder)
        text = ask('help').stdout
        commands = re.findall(r'^  (?:twostep )?([a-z]+)  ', text, re.M)
        pages = {name: ask('help', name) for name in commands}
        breaches = ['`twostep help %s` exits with %d' % (n, p.returncode) for n, p in pages.items() if p.returncode]
        if len(commands) < 3:
            breaches.append('`twostep help` lists %d commands' % len(commands))
        told = set(re.findall(r'--[a-z][a-z0-9-]+', text + ''.join(p.stdout for p in pages.values())))
        # A wrong option ends each try before anything is computed: the first, after a flag, the value
        # of others or what follows it. An unknown option is named as such before.
        for option in sorted(told - {'--help', '--version'}):
            if not any("unknown option '%s'" % option not in ask(name, option, '--wrong', '--wrong').stdout
                       for name in commands):
                breaches.append('%s is in the help, but no command knows it' % option)
    rule('the options in the help are known to a command', breaches)
    readme = os.path.join(ROOT, 'README.md')
    if os.path.exists(readme):
        with open(readme, encoding='utf-8') as file:
            shell = ''.join(re.findall(r'^```(?:sh)?\n(.*?)^```', file.read(), re.M | re.S))
        used = [line for line in shell.split('\n') if re.match(r'\s*(\$ )?(\./)?twostep ', line)]
        unknown = sorted({o for line in used for o in re.findall(r'--[a-z][a-z0-9-]+', line)} - told - {'--help', '--version'})
        rule('the options in README.md are in the help', ['%s is not in the help' % o for o in unknown])


UNFINISHED = re.compile(r'\b(TO' + r'DO|FIX' + r'ME|XX' + r'X|HA' + r'CK)\b')


def check_text(lines, text):
    rule('no line is longer than %d columns' % WIDTH,
         [(n, '%d columns' % len(line)) for n, line in enumerate(lines, 1) if len(line) > WIDTH])
    rule('no tabs', [(n, 'a tab') for n, line in enumerate(lines, 1) if '\t' in line])
    rule('no trailing blanks', [(n, 'blanks at the end') for n, line in enumerate(lines, 1) if line != line.rstrip()])
    rule('nothing is left to do', [(n, line.strip()) for n, line in enumerate(lines, 1) if UNFINISHED.search(line)])
    rule('plain line ends, one at the end', [] if text.endswith('\n') and not text.endswith('\n\n') and
         '\r' not in text else ['CR, or no line end or several at the end of the file'])


def check_other_files():
    breaches = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith('.git') and f not in ('node_modules', 'data')]
        for name in files:
            if not name.endswith(('.c', '.h', '.sh', '.py')) or name == 'twostep.h':
                continue
            path = os.path.join(folder, name)
            shown = os.path.relpath(path, ROOT)
            with open(path, encoding='utf-8', errors='replace', newline='') as file:
                for number, line in enumerate(file.read().split('\n'), 1):
                    if '\t' in line or '\r' in line or line != line.rstrip() or UNFINISHED.search(line):
                        breaches.append('%s:%d: tab, trailing blank or unfinished work: %s' %
                                        (shown, number, line.strip()[:60]))
    rule('the other sources are tidy', breaches)


def check_readme():
    readme, hello = os.path.join(ROOT, 'README.md'), os.path.join(ROOT, 'examples', 'hello.c')
    if not (os.path.exists(readme) and os.path.exists(hello)):
        return
    with open(readme, encoding='utf-8') as file:
        block = re.search(r'^```c\n(.*?)^```', file.read(), re.M | re.S)
    with open(hello, encoding='utf-8') as file:
        program = file.read().replace('"../twostep.h"', '"twostep.h"') # README.md tells to copy the header
    rule('the first C program of README.md is examples/hello.c',
         [] if block and block.group(1) == program else ['they differ, or README.md has no ```c block'])
    if not block:
        return
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, 'readme.c')
        with open(source, 'w', encoding='utf-8') as file:
            file.write(block.group(1))
        command = os.environ.get('CC', 'cc').split() + [
            '-std=c99', '-O0', '-I' + os.path.dirname(os.path.abspath(HEADER)), '-o',
            os.path.join(folder, 'readme'), source, '-lm']
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    rule('the first C program of README.md compiles', done.stdout.split('\n')[:8] if done.returncode else [])


def main():
    with open(HEADER, encoding='utf-8', newline='') as file:
        text = file.read()
    lines = text.rstrip('\n').split('\n')
    code = blanked(text)
    items = functions(code)
    check_contents(lines)
    check_bottom_up(code, items)
    check_public(lines, code, items)
    check_blocks(lines, code)
    check_hostile(lines, code)
    check_options(lines, code)
    check_names_in_texts(code)
    check_examples()
    check_page(lines, code)
    check_text(lines, text)
    check_other_files()
    check_readme()
    check_help()
    print('%d passed, %d failed' % (passed, failed))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
