"""The tests of the page: python3 page.py CHROMIUM PAGE COMMAND SCRATCH; run by tests/browser.sh."""
import json
import os
import subprocess
import sys
import time
import traceback
import xml.dom.minidom

import chromium

BROWSER, PAGE, COMMAND, SCRATCH = sys.argv[1:5]
URL = 'file://' + os.path.abspath(PAGE)
passed = failed = 0


def check(name, good, detail=''):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print('failed: %s %s' % (name, detail), flush=True)


def native(command, words):
    done = subprocess.run([COMMAND, command, '--json', '-'] + words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return json.loads(done.stdout)


def differs(a, b, bound, path=''):
    """The first place where two JSON values differ: numbers by more than bound, relative above 1."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return '%s: keys %s and %s' % (path, list(a), list(b))
        return next(filter(None, (differs(a[k], b[k], bound, path + '.' + k) for k in a
                                  if k not in ('seconds', 'threads', 'kernel', 'residuals'))), None)
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return '%s: %d and %d entries' % (path, len(a), len(b))
        return next(filter(None, (differs(x, y, bound, '%s[%d]' % (path, i)) for i, (x, y) in enumerate(zip(a, b)))), None)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)) and not isinstance(a, bool):
        if '.overlaps' in path: # the sign of a singular vector is free
            a, b = abs(a), abs(b)
        return None if abs(a - b) <= bound * max(1, abs(b)) else '%s: %r and %r' % (path, a, b)
    return None if a == b else '%s: %r and %r' % (path, a, b)


STATUS = 'document.getElementById("status").textContent'
SMALL = 'neurons=120&inputs=100&samples=300&batches=reuse'


def settle(b, seconds=90):
    b.wait('/^(Done|Not comp|Cancelled)/.test(%s) && document.getElementById("cancel").disabled' % STATUS, seconds)


def opened(b, fragment):
    """Loads the page anew; a change of the fragment alone would not."""
    b.open('about:blank')
    b.open(URL + '#' + fragment)
    settle(b)


def result(b):
    """The texts of JSON that the page would save."""
    return [json.loads(t) for t in b.js('twostep.result().texts')]


def press(b, name):
    b.js('document.getElementById(%r).click()' % name)


def change(b, name, value):
    b.js('(() => { const e = document.getElementById(%r); e.value = %r; '
         'e.dispatchEvent(new Event("input", {bubbles: true})); })()' % (name, value))
    time.sleep(.25)
    if b.js(STATUS).startswith('Press Run'): # it would take long, says the page; the command has the last word
        press(b, 'run')
    settle(b)


def quiet(b, name):
    b.js('1')
    check(name + ': no error in the console', not b.errors, b.errors[:3])
    b.errors.clear()


def test_load(b):
    opened(b, '')
    check('it answers', b.js(STATUS).startswith('Done'), b.js(STATUS))
    outside = [u for u in b.requests if not u.startswith(('file:', 'blob:', 'data:', 'about:', 'chrome:'))]
    check('nothing is fetched', not outside, outside)
    check('four panels and their bars', b.js('document.querySelectorAll("#spectra svg .law").length') == 4 and
          b.js('document.querySelectorAll("#bars svg .ring").length') >= 3)
    check('histograms', b.js('twostep.result().cases.every(c => c.values && c.values.length === 512)'))
    check('their largest value is the measured one', b.js(
        'twostep.result().cases.every(c => Math.abs(c.values[0] / c.measured.singular_values[0] - 1) < 1e-4)'))
    check('a predicted density in each panel, of integral one', b.js(
        'twostep.result().cases.slice(1).every(c => { const l = c.law; let sum = 0;'
        ' for (let i = 1; i < l.s.length; i++) sum += (l.s[i] - l.s[i - 1]) * (l.density[i] + l.density[i - 1]) / 2;'
        ' return Math.abs(sum - 1) < 5e-3 && Math.abs(l.s[l.s.length - 1] / c.predicted.edge - 1) < 1e-5; })'))
    check('the densities of W1 and W2 differ from that of W0', b.js(
        'twostep.result().cases.slice(1).every(c => Math.abs(c.law.density[0] * Math.PI - 1) > 1e-3)'))
    check('the verdict', 'directions' in b.js('document.getElementById("verdict").textContent'))
    print('N = d = 512, n = 1024: %s' % b.js(STATUS)) # seconds are told, not judged
    check('SIMD is used', b.js('twostep.result().answers[0].kernel') == 'wasm', b.js('twostep.result().answers[0].kernel'))
    quiet(b, 'load')


def test_numbers(b):
    """The same JSON as the command built here, with the plain kernel on both sides and with SIMD."""
    words = ['--neurons=200', '--inputs=150', '--samples=500', '--alpha1=0.35', '--alpha2=0.45', '--scale1=1.5',
             '--scale2=2', '--noise=0.2', '--init=gaussian', '--seed=18446744073709551615', '--output-scale=correlation']
    base = '&'.join(w[2:].replace('output-scale', 'output') for w in words)
    for activation, target in (('softplus', 'linear'), ('hermite:0,1,0.5,0.2', 'step4'), ('sine', 'sign-product3')):
        theirs = native('compare', words + ['--kernel=plain', '--activation=' + activation, '--target=' + target])
        split = ('&activation=' + activation) if ':' not in activation else \
            '&activation=hermite&activationc=' + activation.split(':')[1]
        for build, bound in (('plain', 1e-7), ('auto', 2e-5)):
            opened(b, base + split + '&target=' + target + '&build=' + build)
            if not b.js('!!twostep.result()'):
                check('numbers %s %s' % (activation, build), False, b.js('document.getElementById("error").textContent'))
                continue
            ours = result(b)[0]
            check('kernel of the %s build' % build, ours['kernel'] == ('plain' if build == 'plain' else 'wasm'))
            wrong = differs(ours, theirs, bound)
            check('numbers of %s, %s, %s' % (activation, target, build), not wrong, wrong)
    opened(b, 'neurons=1e12&inputs=1e12&samples=2e12&what=theory&alpha1=0.3')
    for mode, ours in zip(('fresh', 'reuse'), result(b)):
        theirs = native('theory', ['--neurons=1e12', '--inputs=1e12', '--samples=2e12', '--alpha1=0.3', '--alpha2=0.4',
                                   '--scale2=2', '--batches=' + mode])
        wrong = differs(ours, theirs, 2e-3) # at this size the last vectors hang on libm's last bits
        check('theory at 1e12, ' + mode, not wrong, wrong)
    quiet(b, 'numbers')


def test_controls(b):
    opened(b, SMALL)
    for name, value, key, want in (
            ('neurons', '110', 'neurons', 110), ('inputs', '90', 'inputs', 90), ('samples', '2.5e2', 'samples', 250),
            ('alpha1', '0.2', 'alpha1', .2), ('alpha2', '.3', 'alpha2', .3), ('scale1', '2', 'scale1', 2),
            ('scale2', '3', 'scale2', 3), ('activation', 'erf', 'activation', 'erf'), ('target', 'he3', 'target', 'he3'),
            ('activation', 'hermite', 'activation', 'hermite:0,1,0.5'),
            ('activationc', '0,1,1', 'activation', 'hermite:0,1,1'), ('target', 'hermite', 'target', 'hermite:0,0,1'),
            ('targetc', '0,1', 'target', 'hermite:0,1'), ('noise', '0.5', 'noise', .5),
            ('init', 'gaussian', 'init', 'gaussian'), ('output', 'correlation', 'output_scale', 0), ('seed', '77', 'seed', 77)):
        change(b, name, value)
        config = result(b)[0]['config']
        check('control %s' % name, config[key] == want, config.get(key))
        check('%s stands in the address' % name, name + '=' in b.js('location.hash'), b.js('location.hash'))
    change(b, 'batches', 'fresh')
    check('a fresh batch alone', [c['name'] for c in b.js('twostep.result().cases')] ==
          ['initial', 'one-step', 'two-steps-fresh'])
    change(b, 'batches', 'reuse')
    check('a reused batch alone', result(b)[0]['config']['batches'] == 'reuse')
    change(b, 'what', 'theory')
    check('theory alone', result(b)[0]['command'] == 'theory' and 'measured' not in result(b)[0])
    change(b, 'what', 'all')
    change(b, 'build', 'plain')
    check('plain loops', result(b)[0]['kernel'] == 'plain')
    before = result(b)
    fragment = b.js('location.hash')[1:]
    opened(b, fragment)
    check('the address brings everything back', not differs(result(b), before, 0))
    check('and the fields', b.js('document.getElementById("targetc").value') == '0,1' and
          b.js('document.getElementById("seed").value') == '77')
    b.js('document.querySelector("[data-preset=limit]").click()')
    time.sleep(.2)
    settle(b)
    check('the preset', result(b)[0]['config']['neurons'] == 1e12)
    quiet(b, 'controls')


def test_refusals(b):
    opened(b, SMALL)
    for name, value, words in (('alpha1', '0.7', ['alpha1', '0.7', '0.5']), ('neurons', 'many', ['neurons', 'many']),
                               ('neurons', '', ['neurons']), ('samples', '1', ['samples', "'1'"]),
                               ('noise', '-1', ['noise', '-1']), ('seed', '-3', ['seed', '-3']),
                               ('scale2', '1e9', ['scale2', '1e6']), ('inputs', '1e40', ['inputs', '1e40'])):
        old = b.js('document.getElementById(%r).value' % name)
        change(b, name, value)
        sentence = b.js('document.getElementById("error").textContent')
        check('%s = %r is refused in one sentence' % (name, value), not b.js('document.getElementById("error").hidden') and
              all(w in sentence for w in words) and '\n' not in sentence, sentence)
        check('the field %s is marked' % name, b.js('document.getElementById(%r).getAttribute("aria-invalid")' % name) == 'true')
        change(b, name, old)
        check('and %s recovers' % name, b.js('document.getElementById("error").hidden') and b.js(STATUS).startswith('Done'))
    opened(b, SMALL + '&activation=hermite&activationc=1,2,x')
    check('bad coefficients', 'activation' in b.js('document.getElementById("error").textContent') and
          b.js('document.getElementById("activationc").getAttribute("aria-invalid")') == 'true')
    opened(b, 'neurons=60000&inputs=60000&samples=60000')
    # Larger than a 32-bit memory: the command says so, and the page lives on.
    sentence = b.js('document.getElementById("error").textContent')
    check('too large for memory', 'memory' in sentence or 'address' in sentence, sentence)
    opened(b, SMALL + '&target=no-such-thing&%00=1&init=<b>')
    check('a strange address is harmless', b.js(STATUS).startswith('Done'), b.js(STATUS))
    quiet(b, 'refusals')


def test_cancel(b):
    opened(b, SMALL)
    b.js('document.getElementById("live").checked = false')
    for name, value in (('neurons', '2000'), ('inputs', '2000'), ('samples', '10000')):
        b.js('document.getElementById(%r).value = %r' % (name, value))
    press(b, 'run')
    b.wait('!document.getElementById("cancel").disabled')
    time.sleep(1.5)
    start = time.monotonic()
    for _ in range(5):
        b.js('new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)))')
    check('the page stays awake', time.monotonic() - start < 20)
    check('progress is shown', b.js('document.getElementById("progress").value') > 0 and
          not b.js('document.getElementById("progress").classList.contains("idle")'), b.js(STATUS))
    press(b, 'cancel')
    check('cancelled', b.js(STATUS) == 'Cancelled.' and b.js('document.getElementById("cancel").disabled'), b.js(STATUS))
    for name, value in (('neurons', '120'), ('inputs', '100'), ('samples', '300')):
        b.js('document.getElementById(%r).value = %r' % (name, value))
    press(b, 'run')
    time.sleep(.2)
    settle(b)
    check('and runs again', b.js(STATUS).startswith('Done'), b.js(STATUS))
    quiet(b, 'cancel')


def test_map(b):
    opened(b, SMALL + '&alpha1=0.2&alpha2=0.2')
    box = b.js('(r => [r.x + r.width / 2, r.y + r.height / 2])(document.getElementById("handle").getBoundingClientRect())')
    scale = b.js('document.getElementById("map").getBoundingClientRect().width') / 280
    b.mouse('mousePressed', *box, buttons=1)
    b.mouse('mouseMoved', box[0] + 46 * scale, box[1] - 46 * scale, buttons=1)
    b.mouse('mouseReleased', box[0] + 46 * scale, box[1] - 46 * scale)
    time.sleep(.3)
    settle(b)
    check('dragging the point', abs(float(b.js('document.getElementById("alpha1").value')) - .3) < .011 and
          abs(float(b.js('document.getElementById("alpha2").value')) - .3) < .011, b.js('location.hash'))
    config = result(b)[0]['config']
    check('and it is computed', str(config['alpha1']) == b.js('document.getElementById("alpha1").value'))
    b.js('document.getElementById("handle").focus()')
    before = [float(b.js('document.getElementById("alpha%d").value' % k)) for k in (1, 2)]
    b.key('ArrowRight')
    b.key('ArrowUp')
    b.key('ArrowUp')
    time.sleep(.3)
    settle(b)
    after = [float(b.js('document.getElementById("alpha%d").value' % k)) for k in (1, 2)]
    check('arrow keys', abs(after[0] - before[0] - .01) < 1e-9 and abs(after[1] - before[1] - .02) < 1e-9, (before, after))
    spoken = b.js('document.getElementById("handle").getAttribute("aria-valuetext")')
    check('the point speaks', 'alpha 1' in spoken and 'learned direction' in spoken, spoken)
    change(b, 'alpha1', '0.4')
    change(b, 'alpha2', '0.3')
    check('four directions at (0.4, 0.3)', ': 4 learned' in b.js('document.getElementById("handle").getAttribute("aria-valuetext")') and
          result(b)[0]['limit']['outliers'] == 4)
    quiet(b, 'map')


def test_access(b):
    opened(b, SMALL)
    wanted = b.js('[...document.querySelectorAll("main input, main select, main button, #handle, summary")]'
                  '.filter(e => e.offsetParent !== null || e.id === "handle").filter(e => !e.disabled).map(e => e.id || e.textContent)')
    b.js('document.body.focus(), document.activeElement.blur()')
    reached = []
    for _ in range(len(wanted) + 8):
        b.key('Tab', windowsVirtualKeyCode=9)
        reached.append(b.js('document.activeElement.id || document.activeElement.textContent'))
    check('Tab reaches everything', not set(wanted) - set(reached), sorted(set(wanted) - set(reached)))
    names = b.names()
    nameless = [role for role, name in names if role in ('textbox', 'combobox', 'button', 'slider', 'checkbox', 'progressbar',
                                                         'image', 'img') and not name.strip()]
    check('everything has a name', not nameless, nameless)
    roles = [role for role, name in names]
    check('the picture is described', any(role in ('image', 'img') and 'alignment' in name for role, name in names))
    check('landmarks', 'main' in roles and 'contentinfo' in roles and ('region' in roles) and 'form' in roles, sorted(set(roles)))
    quiet(b, 'access')


def test_widths(b):
    opened(b, 'target=step4&alpha1=0.45&alpha2=0.45')
    for name, width, mobile, theme in (('desktop', 1200, False, 'light'), ('desktop-dark', 1200, False, 'dark'),
                                       ('phone', 360, True, 'light'), ('phone-dark', 360, True, 'dark')):
        b.theme(theme)
        b.size(width, 800, mobile)
        time.sleep(.3)
        inside = b.js('document.documentElement.scrollWidth')
        check('%s: nothing is cut at the side' % name, inside <= width, inside)
        paper = b.js('getComputedStyle(document.body).backgroundColor')
        check('%s: its own paper' % name, (paper == 'rgb(255, 255, 255)') == (theme == 'light'), paper)
        if os.environ.get('SCREENSHOTS'):
            b.size(width, b.js('document.documentElement.scrollHeight'), mobile)
            time.sleep(.3)
            b.screenshot(os.path.join(os.environ['SCREENSHOTS'], name + '.png'))
    b.theme('light')
    b.size(1200, 900)
    quiet(b, 'widths')


def saved(name):
    path, end = os.path.join(SCRATCH, name), time.monotonic() + 30
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(.1)
    time.sleep(.1)
    with open(path, encoding='utf-8') as file:
        return file.read()


def test_saving(b):
    opened(b, SMALL)
    press(b, 'json')
    check('the saved JSON', json.loads(saved('twostep.json')) == result(b)[0])
    press(b, 'svg')
    text = saved('twostep.svg')
    xml.dom.minidom.parseString(text)
    check('the saved SVG', text.startswith('<svg') and text.count('class="law"') == 3 and 'W₀' in text and 'NaN' not in text and
          'var(' not in text and 'undefined' not in text)
    if os.environ.get('SCREENSHOTS'):
        with open(os.path.join(os.environ['SCREENSHOTS'], 'saved.svg'), 'w', encoding='utf-8') as file:
            file.write(text)
    press(b, 'link')
    b.wait('/link/.test(%s)' % STATUS)
    check('copy link', 'neurons=120' in b.js('location.hash'))
    quiet(b, 'saving')


def main():
    browser = None
    try:
        browser = chromium.Browser(BROWSER, downloads=SCRATCH)
        browser.size(1200, 900)
        for test in (test_load, test_numbers, test_controls, test_refusals, test_cancel, test_map, test_access,
                     test_widths, test_saving):
            test(browser)
    except Exception:
        check('the tests run to their end', False, traceback.format_exc())
    finally:
        if browser:
            browser.close()
    print('%d passed, %d failed' % (passed, failed))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
