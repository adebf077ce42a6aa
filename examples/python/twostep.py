"""twostep: what a two-layer network learns in its first two gradient steps.

One file over one C header. The first import compiles twostep.h (a few seconds, once) into a cache
folder; nothing else is needed but NumPy and a C compiler.

    import twostep
    result = twostep.run(target='step4', alpha1=.45, alpha2=.45, scale2=2, samples=5000)
    result                                   # a table; in a notebook a figure as well
    result['two-steps-reuse'].alignments     # NumPy arrays
    twostep.theory(neurons=1e12, inputs=1e12, samples=2e12)
    u, s, vt = twostep.svd(matrix, top=5)
    x = twostep.normal((1000, 500), seed=7)

Every function releases Python's global lock while C works. Arrays of float32 go to the float build
of the header, float64 to the double one (compiled when first needed), both without a copy where
the memory is laid out in rows or in columns. Wrong arguments raise twostep.BadArgument (a
ValueError) with the header's own sentence.

Where the library is kept: $TWOSTEP_CACHE, or twostep/ in $XDG_CACHE_HOME, or ~/.cache/twostep; its
name holds a hash of the sources, so that a changed header is compiled anew. $CC names the compiler.
"""
import ctypes
import hashlib
import math
import os
import platform
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile

try:
    import numpy as np
except ImportError as missing:
    raise ImportError('twostep.py needs NumPy (Debian: python3-numpy)') from missing

__all__ = ['run', 'theory', 'svd', 'singular_values', 'normal', 'data', 'gradient', 'step',
           'bulk_edge', 'version', 'Result', 'Theory', 'Spectrum', 'Prediction', 'Limit',
           'TwostepError', 'BadArgument', 'OutOfMemory', 'NotConverged']


class TwostepError(Exception):
    """The header refused or failed; str() is its sentence, .status its code."""
    status = None


class BadArgument(TwostepError, ValueError):
    """An argument is outside its allowed range."""


class OutOfMemory(TwostepError, MemoryError):
    """The allocator returned no memory."""


class NotConverged(TwostepError):
    """The iteration stopped before every wanted value had converged."""


# ---- the library ----

_GLUE = r'''
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include <stddef.h>
#ifdef TWP_PLOT
#include "plot.h"
#endif
#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT
#endif

/* Structures are read and written from Python by the offsets that the compiler gives here. */
typedef struct twp_field {
    const char *structure, *name, *code;
    size_t offset, size;
} twp_field;
#define FIELD(structure, name, code) {#structure, #name, code, offsetof(structure, name), \
                                      sizeof(((structure *)0)->name)},
#define WHOLE(structure) {#structure, "", "", 0, sizeof(structure)},
static const twp_field fields[] = {
    WHOLE(tws_context) FIELD(tws_context, threads, "I") FIELD(tws_context, kernel, "i")
    FIELD(tws_context, message, "s")
    WHOLE(tws_activation) FIELD(tws_activation, kind, "i") FIELD(tws_activation, value, "P")
    FIELD(tws_activation, slope, "P")
    WHOLE(tws_target) FIELD(tws_target, kind, "i") FIELD(tws_target, directions, "N")
    FIELD(tws_target, function, "P")
    WHOLE(tws_config) FIELD(tws_config, neurons, "N") FIELD(tws_config, inputs, "N")
    FIELD(tws_config, samples, "N") FIELD(tws_config, alpha1, "d") FIELD(tws_config, alpha2, "d")
    FIELD(tws_config, scale1, "d") FIELD(tws_config, scale2, "d")
    FIELD(tws_config, activation, "") FIELD(tws_config, target, "") FIELD(tws_config, noise, "d")
    FIELD(tws_config, batches, "i") FIELD(tws_config, init, "i")
    FIELD(tws_config, output_scale, "d") FIELD(tws_config, seed, "Q") FIELD(tws_config, top, "N")
    WHOLE(tws_theory_input) FIELD(tws_theory_input, neurons, "d")
    FIELD(tws_theory_input, inputs, "d") FIELD(tws_theory_input, samples, "d")
    FIELD(tws_theory_input, batches, "i")
    WHOLE(tws_spectrum) FIELD(tws_spectrum, top, "N") FIELD(tws_spectrum, row_edge, "d")
    FIELD(tws_spectrum, edge, "d") FIELD(tws_spectrum, margin, "d")
    FIELD(tws_spectrum, outliers, "N") FIELD(tws_spectrum, captured, "d")
    FIELD(tws_spectrum, singular_values, "d") FIELD(tws_spectrum, alignments, "d")
    FIELD(tws_spectrum, readout_alignments, "d") FIELD(tws_spectrum, residuals, "d")
    WHOLE(tws_result) FIELD(tws_result, measured, "i") FIELD(tws_result, spectrum, "")
    FIELD(tws_result, loss, "d") FIELD(tws_result, loss_samples, "N") FIELD(tws_result, eta1, "d")
    FIELD(tws_result, eta2, "d") FIELD(tws_result, seconds_total, "d")
    FIELD(tws_result, threads, "I") FIELD(tws_result, kernel, "i")
    WHOLE(tws_prediction) FIELD(tws_prediction, step, "i") FIELD(tws_prediction, edge, "d")
    FIELD(tws_prediction, outliers, "N") FIELD(tws_prediction, singular_values, "d")
    FIELD(tws_prediction, alignments, "d") FIELD(tws_prediction, readout_alignments, "d")
    FIELD(tws_prediction, captured, "d")
    WHOLE(tws_order) FIELD(tws_order, k, "i") FIELD(tws_order, exponent, "d")
    FIELD(tws_order, leading_strength, "d") FIELD(tws_order, sees_target_fresh, "i")
    FIELD(tws_order, sees_target_reuse, "i")
    WHOLE(tws_limit) FIELD(tws_limit, outliers, "N") FIELD(tws_limit, orders, "N")
    FIELD(tws_limit, listed, "N") FIELD(tws_limit, order, "")
    FIELD(tws_limit, information_exponent, "i")
    {"tws_warnings", "sentence", "", 0, sizeof(((tws_warnings *)0)->text[0])},
    WHOLE(tws_warnings) FIELD(tws_warnings, count, "N") FIELD(tws_warnings, text, "s")
    WHOLE(tws_network) FIELD(tws_network, count, "N") FIELD(tws_network, inputs, "N")
    FIELD(tws_network, output_scale, "d") FIELD(tws_network, activation, "")
    FIELD(tws_network, weights, "P") FIELD(tws_network, readout, "P")
    WHOLE(tws_batch) FIELD(tws_batch, samples, "N") FIELD(tws_batch, inputs, "P")
    FIELD(tws_batch, labels, "P")
    WHOLE(tws_svd_options) FIELD(tws_svd_options, top, "N") FIELD(tws_svd_options, tolerance, "d")
    FIELD(tws_svd_options, max_passes, "N") FIELD(tws_svd_options, stop_below, "d")
    FIELD(tws_svd_options, seed, "Q")
    {NULL, NULL, NULL, 0, 0}};

EXPORT const twp_field *twp_fields(void) { return fields; }
EXPORT int twp_kind(int which) {
    return which == 0 ? (int)TWS_CUSTOM_ACTIVATION : (int)TWS_CUSTOM_TARGET;
}
EXPORT void twp_default_context(tws_context *context) { *context = tws_default_context(); }
EXPORT void twp_default_config(tws_config *config) { *config = tws_default_config(); }
EXPORT void twp_default_svd_options(tws_svd_options *options, size_t top) {
    *options = tws_default_svd_options(top);
}
EXPORT void twp_theory_from_config(const tws_config *config, tws_theory_input *input) {
    *input = tws_theory_from_config(config);
}
#ifdef TWP_PLOT
/* One panel of the figure: counts = values, outliers, predicted; then the arrays in this order:
   values, outliers, alignments, predicted values, predicted alignments. */
typedef struct twp_panel {
    const char *title;
    size_t counts[3];
    const double *arrays[5];
    double edge;
} twp_panel;
EXPORT char *twp_spectra(const char *title, const char *note, const twp_panel *panels, size_t count) {
    plot_spectrum drawn[8];
    plot_out out = plot_to_text();
    size_t i;
    memset(drawn, 0, sizeof drawn);
    for (i = 0; i < count && i < 8; i++) {
        drawn[i].title = panels[i].title;
        drawn[i].values = panels[i].counts[0] ? panels[i].arrays[0] : NULL;
        drawn[i].count = panels[i].counts[0];
        drawn[i].outliers = panels[i].arrays[1];
        drawn[i].alignments = panels[i].arrays[2];
        drawn[i].outlier_count = panels[i].counts[1];
        drawn[i].predicted = panels[i].arrays[3];
        drawn[i].predicted_alignments = panels[i].arrays[4];
        drawn[i].predicted_count = panels[i].counts[2];
        drawn[i].edge = panels[i].edge;
    }
    if (plot_spectra_svg(&out, title, note, drawn, i) != 0) {
        plot_free(&out);
        return NULL;
    }
    return out.text;
}
EXPORT void twp_free_text(char *text) {
    plot_out out = plot_to_text();
    out.text = text;
    plot_free(&out);
}
#endif
'''

_HERE = os.path.dirname(os.path.abspath(__file__))


def _find(name, folders):
    for folder in folders:
        path = os.path.join(_HERE, folder, name)
        if os.path.isfile(path):
            return os.path.normpath(path)
    return None


def _compiler():
    named = os.environ.get('CC')
    if named:
        words = shlex.split(named)
        if words and shutil.which(words[0]):
            return words
        raise ImportError('twostep.py cannot compile twostep.h: CC is %r, and there is no such program'
                          % named)
    for name in ('cc', 'gcc', 'clang'):
        if shutil.which(name):
            return [name]
    raise ImportError('twostep.py needs a C compiler to build twostep.h and found none of cc, gcc and '
                      'clang; install one (Debian: apt install gcc) or set CC')


def _cache():
    """The folder of the libraries; a private temporary one where none can be made."""
    folder = os.environ.get('TWOSTEP_CACHE')
    if not folder:
        base = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
        folder = os.path.join(base, 'twostep')
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError:
        return tempfile.mkdtemp(prefix='twostep-')


def _read(path):
    with open(path, 'rb') as file:
        return file.read()


def _compile(compiler, flags, folders, target):
    """Builds in a folder of its own and renames the result, so that two processes which do this at
    once, or one that is killed, never leave a broken library."""
    with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as scratch:
        source, built = os.path.join(scratch, 'glue.c'), os.path.join(scratch, 'built')
        with open(source, 'w', encoding='utf-8') as file:
            file.write(_GLUE)
        command = (compiler + flags + ['-I' + folder for folder in folders] +
                   ['-o', built, source, '-lm'])
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        if done.returncode != 0:
            raise ImportError('twostep.py could not compile twostep.h:\n  %s\n%s' %
                              (' '.join(command), '\n'.join(done.stdout.splitlines()[:20])))
        os.replace(built, target)


class _Field(ctypes.Structure):
    _fields_ = [('structure', ctypes.c_char_p), ('name', ctypes.c_char_p), ('code', ctypes.c_char_p),
                ('offset', ctypes.c_size_t), ('size', ctypes.c_size_t)]


class _Panel(ctypes.Structure):
    _fields_ = [('title', ctypes.c_char_p), ('counts', ctypes.c_size_t * 3),
                ('arrays', ctypes.c_void_p * 5), ('edge', ctypes.c_double)]


class _Library:
    """One build of the header, float or double."""

    def __init__(self, double):
        header = _find('twostep.h', ('.', '..', '../..'))
        if header is None:
            raise ImportError('twostep.py looks for twostep.h beside itself and up to two folders '
                              'above; it is not there')
        plot = _find('plot.h', ('.', '..'))
        compiler = _compiler()
        flags = ['-std=c99', '-O2', '-shared', '-fPIC', '-pthread']
        flags += ['-DTWOSTEP_DOUBLE'] if double else []
        flags += ['-DTWP_PLOT'] if plot else []
        key = hashlib.sha256('\0'.join(compiler + flags + [platform.machine(), sys.platform]).encode())
        for piece in (_GLUE.encode(), _read(header), _read(plot) if plot else b''):
            key.update(hashlib.sha256(piece).digest())
        self.path = os.path.join(_cache(), 'twostep-%s-%s%s' % (
            'double' if double else 'float', key.hexdigest()[:20],
            '.dll' if sys.platform == 'win32' else '.so'))
        if not os.path.exists(self.path):
            folders = [os.path.dirname(header)] + ([os.path.dirname(plot)] if plot else [])
            _compile(compiler, flags, folders, self.path)
        self.c = ctypes.CDLL(self.path)
        self.real = np.dtype(np.float64 if double else np.float32)
        self.can_plot = plot is not None
        self.layout = {}
        self.c.twp_fields.restype = ctypes.POINTER(_Field)
        for row in self.c.twp_fields():
            if not row.structure:
                break
            self.layout[row.structure.decode(), row.name.decode()] = (row.code.decode(), row.offset,
                                                                      row.size)
        for name in ('tws_status_text', 'tws_kernel_name', 'tws_activation_name', 'tws_target_name'):
            getattr(self.c, name).restype = ctypes.c_char_p

    def new(self, structure):
        return _Struct(self, structure, ctypes.create_string_buffer(self.layout[structure, ''][2]), 0)

    def context(self, threads, kernel):
        context = self.new('tws_context')
        self.c.twp_default_context(context.pointer)
        context['threads'] = _whole('threads', threads, 0, 64)
        for number in range(64):
            name = self.c.tws_kernel_name(number).decode()
            if name == kernel:
                context['kernel'] = number
                return context
            if name == '?':
                break
        raise BadArgument('kernel is %r, it must be auto, plain, sse2, avx2, avx512, neon, wasm or amx' % kernel)


_libraries = {}


def _library(double=False):
    if double not in _libraries:
        _libraries[double] = _Library(double)
    return _libraries[double]


class _Struct:
    """A C structure in a buffer, its fields by name: context['threads'] = 2."""

    def __init__(self, library, structure, buffer, start):
        self._library, self._structure, self._buffer, self._start = library, structure, buffer, start

    def _place(self, name):
        code, offset, size = self._library.layout[self._structure, name]
        return code, self._start + offset, size

    @property
    def pointer(self):
        return ctypes.c_void_p(ctypes.addressof(self._buffer) + self._start)

    def part(self, name, structure, index=0):
        """A structure inside this one, or entry `index` of an array of them."""
        start = self._place(name)[1] + index * self._library.layout[structure, ''][2]
        return _Struct(self._library, structure, self._buffer, start)

    def __setitem__(self, name, value):
        code, start, size = self._place(name)
        struct.pack_into('@' + code, self._buffer, start, value)

    def __getitem__(self, name):
        code, start, size = self._place(name)
        if code == 's':
            return bytes(self._buffer[start:start + size])
        count = size // struct.calcsize('@' + code)
        values = struct.unpack_from('@%d%s' % (count, code), self._buffer, start)
        return values[0] if count == 1 else np.array(values)


def _text(raw):
    return raw.split(b'\0', 1)[0].decode('utf-8', 'replace')


def _check(library, context, status, failure=None, allowed=()):
    """Raises what a status says; an exception of a callback goes first."""
    if failure:
        raise failure[0]
    if status == 0 or status in allowed:
        return
    names = {1: BadArgument, 3: OutOfMemory, 5: NotConverged}
    sentence = _text(context['message']) or library.c.tws_status_text(status).decode()
    error = names.get(status, TwostepError)(sentence)
    error.status = status
    raise error


# ---- arguments ----

_SIZE_MAX = 2 ** (8 * ctypes.sizeof(ctypes.c_size_t)) - 1


def _whole(name, value, low, high):
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        number = None
    if number is None or number != value or not low <= number <= high:
        raise BadArgument('%s is %r, it must be a whole number from %d to %d' % (name, value, low, high))
    return number


def _float(value):
    """NumPy would turn a complex number into its real part."""
    if np.iscomplexobj(value):
        raise TypeError('%r is no real number' % (value,))
    return float(value)


def _real(name, value):
    try:
        return _float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadArgument('%s is %r, it must be a number' % (name, value)) from None


_DEFAULTS = dict(neurons=1024, inputs=1024, samples=2048, alpha1=.3, alpha2=.4, scale1=1., scale2=1.,
                 activation='shifted-tanh', target='linear', noise=0., batches='reuse', init='sphere',
                 output_scale='mean-field', seed=1, top=10)

_ONE = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_double)
_MANY = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.POINTER(ctypes.c_double))


class _Callbacks:
    """Functions of the caller, kept alive for one call; the first exception is raised after it."""

    def __init__(self):
        self.kept, self.failure = [], []

    def wrap(self, kind, function, convert):
        def call(user, x):
            if self.failure:
                return math.nan
            try:
                return _float(function(convert(x)))
            except BaseException as error:
                self.failure.append(error)
                return math.nan
        self.kept.append(kind(call))
        return ctypes.cast(self.kept[-1], ctypes.c_void_p).value


def _set_activation(library, place, activation, callbacks):
    if isinstance(activation, str):
        if library.c.tws_activation_named(activation.encode(), place.pointer) != 0:
            raise BadArgument(
                'activation is %r, it must be tanh, shifted-tanh, erf, sigmoid, shifted-sigmoid, '
                'softplus, gelu, silu, relu, sine, cubic, hermite:c0,c1,... or a pair of functions '
                '(value, slope)' % activation)
        return
    try:
        value, slope = activation
        assert callable(value) and callable(slope)
    except (TypeError, ValueError, AssertionError):
        raise BadArgument('activation must be a name or a pair of functions (value, slope)') from None
    place['kind'] = library.c.twp_kind(0)
    place['value'] = callbacks.wrap(_ONE, value, float)
    place['slope'] = callbacks.wrap(_ONE, slope, float)


def _set_target(library, place, target, callbacks):
    if isinstance(target, str):
        if library.c.tws_target_named(target.encode(), place.pointer) != 0:
            raise BadArgument(
                'target is %r, it must be linear, he2, he3, he4, sign, tanh, sin, relu, square, wave, '
                'step3, step4, hermite:c0,c1,..., product2, product3, sign-product3, staircase, '
                'he4-sign-product3 or a pair (function of u, number of directions)' % target)
        return
    try:
        function, directions = target
        assert callable(function)
    except (TypeError, ValueError, AssertionError):
        raise BadArgument('target must be a name or a pair (function of u, number of directions)') from None
    count = _whole('target directions', directions, 1, 8)
    place['kind'] = library.c.twp_kind(1)
    place['directions'] = count
    place['function'] = callbacks.wrap(_MANY, function, lambda u: np.array(u[:count]))


def _output_scale(value):
    named = {'mean-field': -1., 'correlation': 0.}
    if isinstance(value, str):
        if value not in named:
            raise BadArgument('output_scale is %r, it must be a number from 0 to 1e6, mean-field or '
                              'correlation' % value)
        return named[value]
    number = _real('output_scale', value)
    if number < 0:
        raise BadArgument('output_scale is %r, it must be a number from 0 to 1e6, mean-field or '
                          'correlation' % value)
    return number


def _config(library, options, callbacks, sizes=True):
    """A tws_config from keywords; with sizes=False N, d and n may exceed what a machine can count."""
    unknown = sorted(set(options) - set(_DEFAULTS))
    if unknown:
        raise TypeError('twostep has no option %r; it has %s' % (unknown[0], ', '.join(_DEFAULTS)))
    given = dict(_DEFAULTS, **options)
    config = library.new('tws_config')
    library.c.twp_default_config(config.pointer)
    for name in ('neurons', 'inputs', 'samples') if sizes else ():
        config[name] = _whole(name, given[name], 2, 2 ** 31)
    if sizes and 'top' not in options:
        given['top'] = min(given['top'], config['neurons'], config['inputs'])
    config['top'] = _whole('top', given['top'], 1, 64)
    config['seed'] = _whole('seed', given['seed'], 0, 2 ** 64 - 1)
    for name in ('alpha1', 'alpha2', 'scale1', 'scale2', 'noise'):
        config[name] = _real(name, given[name])
    config['output_scale'] = _output_scale(given['output_scale'])
    for name, words in (('batches', ('fresh', 'reuse')), ('init', ('sphere', 'gaussian'))):
        if given[name] not in words:
            raise BadArgument('%s is %r, it must be %s or %s' % ((name, given[name]) + words))
        config[name] = words.index(given[name])
    _set_activation(library, config.part('activation', 'tws_activation'), given['activation'], callbacks)
    _set_target(library, config.part('target', 'tws_target'), given['target'], callbacks)
    if sizes:
        message = ctypes.create_string_buffer(400)
        status = library.c.tws_check(config.pointer, message, ctypes.c_size_t(len(message)))
        if status != 0:
            error = BadArgument(_text(message.raw))
            error.status = status
            raise error
    return config, given


# ---- results ----

class _Record:
    """Named values that print themselves."""

    def __repr__(self):
        return '%s(%s)' % (type(self).__name__.lstrip('_'),
                           ', '.join('%s=%r' % item for item in vars(self).items()))


class Spectrum(_Record):
    """Measured top of the spectrum of one weight matrix. Arrays have `top` entries, decreasing:
    singular_values, alignments (|B* v_k|), readout_alignments, residuals. Scalars: outliers, edge,
    margin, captured, loss; predicted is a Prediction or None."""


class Prediction(_Record):
    """Predicted spectrum after one step. Arrays have `outliers` entries: singular_values, alignments,
    readout_alignments. Scalars: step, edge, outliers, captured."""


class Limit(_Record):
    """The limit of large N: outliers (that leave the bulk), orders (the formula
    1 + floor(alpha2 / (1/2 - alpha1))), information_exponent, order (a list with k, exponent,
    leading_strength, sees_target_fresh, sees_target_reuse each)."""


class Order(_Record):
    """One order of the limit."""


def _prediction(raw):
    p = Prediction()
    p.step, p.edge, p.outliers, p.captured = raw['step'], raw['edge'], raw['outliers'], raw['captured']
    for name in ('singular_values', 'alignments', 'readout_alignments'):
        setattr(p, name, raw[name][:p.outliers])
    return p


def _limit(raw):
    limit = Limit()
    limit.outliers, limit.orders = raw['outliers'], raw['orders']
    limit.information_exponent = raw['information_exponent']
    limit.order = []
    for k in range(raw['listed']):
        one, order = raw.part('order', 'tws_order', k), Order()
        order.k, order.exponent = one['k'], one['exponent']
        order.leading_strength = one['leading_strength']
        order.sees_target_fresh = bool(one['sees_target_fresh'])
        order.sees_target_reuse = bool(one['sees_target_reuse'])
        limit.order.append(order)
    return limit


class Theory(_Record):
    """step1, step2: Predictions of W_1 and W_2; limit: a Limit; warnings: sentences."""

    def __repr__(self):
        lines = []
        for p in (self.step1, self.step2):
            lines.append('W%d: edge of the bulk %.4f, %d outlier%s' %
                         (p.step, p.edge, p.outliers, '' if p.outliers == 1 else 's'))
            lines += ['    s = %-10.5g in target space %.3f' % pair
                      for pair in zip(p.singular_values, p.alignments)]
        lines.append('in the limit of large N: %d learned directions' % self.limit.orders)
        return '\n'.join(lines + ['note: ' + w for w in self.warnings])


def _theory(library, context, config, given, batches, callbacks):
    raw = library.new('tws_theory_input')
    library.c.twp_theory_from_config(config.pointer, raw.pointer)
    for name in ('neurons', 'inputs', 'samples'):
        raw[name] = _real(name, given[name])
    raw['batches'] = ('fresh', 'reuse').index(batches)
    limit, step1, step2 = (library.new(n) for n in ('tws_limit', 'tws_prediction', 'tws_prediction'))
    warnings = library.new('tws_warnings')
    calls = ((library.c.tws_limit_theory, (raw, limit)), (library.c.tws_predict, (raw, step1, step2)),
             (library.c.tws_theory_warnings, (raw, limit, step2, warnings)))
    for function, arguments in calls:
        status = function(context.pointer, *[a.pointer for a in arguments])
        _check(library, context, status, callbacks.failure)
    result = Theory()
    result.step1, result.step2, result.limit = _prediction(step1), _prediction(step2), _limit(limit)
    text, count = warnings['text'], warnings['count']
    width = library.layout['tws_warnings', 'sentence'][2]
    result.warnings = [_text(text[k * width:(k + 1) * width]) for k in range(count)]
    return result


def theory(threads=0, **options):
    """The prediction alone, without simulation, at any size from 2 to 1e15.

    Options as in run(); neurons, inputs and samples may be 1e12. Returns a Theory:
    theory(neurons=1e12, inputs=1e12, samples=2e12).step2.singular_values has step2.outliers entries.
    Source: arXiv 2605.17767 and the header's @@THEORY."""
    library, callbacks = _library(), _Callbacks()
    context = library.context(threads, 'auto')
    config, given = _config(library, options, callbacks, sizes=False)
    return _theory(library, context, config, given, given['batches'], callbacks)


CASES = ('initial', 'one-step', 'two-steps-fresh', 'two-steps-reuse')


class Result:
    """What run() returns: a mapping from the name of a case ('initial', 'one-step',
    'two-steps-fresh', 'two-steps-reuse') to its Spectrum, with config (the options), eta (two step
    sizes), limit, warnings, seconds, threads, kernel and double. In a notebook it shows a figure."""

    def __init__(self, config, double=False):
        self.config, self.cases, self.limit, self.warnings = config, {}, None, []
        self.double = double

    def __getitem__(self, name):
        return self.cases[name]

    def __iter__(self):
        return iter(self.cases)

    def __len__(self):
        return len(self.cases)

    def keys(self):
        return self.cases.keys()

    def items(self):
        return self.cases.items()

    def __repr__(self):
        c = self.config
        lines = ['N = %d, d = %d, n = %d, activation %s, target %s, step sizes %.4g and %.4g' % (
            c['neurons'], c['inputs'], c['samples'], _name(c['activation']), _name(c['target']),
            self.eta[0], self.eta[1])]
        lines.append('%-18s%3s%12s%12s%14s%9s' % ('', 'k', 'measured', 'predicted', 'target space',
                                                  'theory'))
        for name, s in self.items():
            p = s.predicted
            known = p.outliers if p else 0
            for k in range(max(s.outliers, known)):
                lines.append('%-18s%3d%12s%12s%14s%9s' % (
                    name if k == 0 else '', k + 1,
                    '%.4f' % s.singular_values[k] if k < s.top else '',
                    '%.4f' % p.singular_values[k] if k < known else '',
                    '%.3f' % s.alignments[k] if k < s.top else '',
                    '%.3f' % p.alignments[k] if k < known else ''))
            lines.append('%-18s    edge of the bulk %.4f%s' % (
                name if max(s.outliers, known) == 0 else '', s.edge,
                ', predicted %.4f' % p.edge if p else ''))
        if self.limit:
            lines.append('in the limit of large N: %d learned directions' % self.limit.orders)
        return '\n'.join(lines + ['note: ' + w for w in self.warnings])

    def bulk(self, name):
        """All min(neurons, inputs) singular values of the weights of a case, decreasing. The data are
        made again from the seed and the steps taken again: about the time of the run."""
        if name not in CASES:
            raise BadArgument('case is %r, it must be one of %s' % (name, ', '.join(CASES)))
        d = data(double=self.double, **self.config)
        weights = d.weights
        taken = () if name == 'initial' else (0,) if name == 'one-step' else \
            (0, 1) if name == 'two-steps-fresh' else (0, 0)
        for number, batch in enumerate(taken):
            step(weights, d.readout, d.inputs[batch], d.labels[batch], self.eta[number],
                 activation=self.config['activation'], output_scale=self.config['output_scale'])
        return singular_values(weights)

    def svg(self, histogram=None):
        """The figure as SVG text: the spectrum of each case, measured beside predicted. histogram:
        draw the bulk (all singular values are computed again); None: up to 1500 of them."""
        library = _library()
        if not library.can_plot:
            raise TwostepError('the figure needs plot.h beside twostep.py or one folder above')
        if histogram is None:
            histogram = min(self.config['neurons'], self.config['inputs']) <= 1500
        titles = {'initial': 'W₀', 'one-step': 'W₁: one step',
                  'two-steps-fresh': 'W₂: fresh batch', 'two-steps-reuse': 'W₂: reused batch'}
        panels, kept = (_Panel * len(self))(), []

        def pointer(values):
            kept.append(np.ascontiguousarray(values, dtype=np.float64))
            return kept[-1].ctypes.data
        for panel, (name, s) in zip(panels, self.items()):
            p = s.predicted
            bulk = self.bulk(name) if histogram else np.zeros(0)
            arrays = (bulk, s.singular_values[:s.outliers], s.alignments[:s.outliers],
                      p.singular_values if p else np.zeros(0), p.alignments if p else np.zeros(0))
            panel.title = titles[name].encode()
            panel.counts[:] = [len(bulk), s.outliers, p.outliers if p else 0]
            panel.arrays[:] = [pointer(a) for a in arrays]
            panel.edge = p.edge if p else s.edge
        c = self.config
        title = 'activation %s, target %s' % (_name(c['activation']), _name(c['target']))
        note = 'N = %d, d = %d, n = %d, step sizes %.4g and %.4g, seed %d' % (
            c['neurons'], c['inputs'], c['samples'], self.eta[0], self.eta[1], c['seed'])
        library.c.twp_spectra.restype = ctypes.c_void_p
        text = library.c.twp_spectra(title.encode(), note.encode(), panels, ctypes.c_size_t(len(panels)))
        if not text:
            raise OutOfMemory('no memory for the figure')
        try:
            return ctypes.string_at(text).decode('utf-8')
        finally:
            library.c.twp_free_text(ctypes.c_void_p(text))

    def _repr_svg_(self):
        return self.svg() if _library().can_plot else None


def _name(value):
    return value if isinstance(value, str) else 'custom'


def run(compare=False, predict=True, threads=0, kernel='auto', double=False, **options):
    """One experiment: W_0, one gradient step, two gradient steps, and what each has learned.

    Options and their defaults: neurons=1024 (N), inputs=1024 (d), samples=2048 (n), alpha1=0.3,
    alpha2=0.4, scale1=1, scale2=1 (step sizes scale_t N^alpha_t, alpha below 1/2),
    activation='shifted-tanh' (a name, or a pair of functions (value, slope) of one float),
    target='linear' (a name, or a pair (function of an array u of p entries, p)), noise=0,
    batches='reuse' or 'fresh', init='sphere' or 'gaussian',
    output_scale='mean-field', 'correlation' or a number, seed=1, top=10 or all (values to measure).

    compare: both batch modes side by side. predict: add the theory where it applies. threads: 0 for
    all cores. double: compute in double precision. Functions of your own are called once per number
    and hold Python's lock: keep neurons x samples below a few millions.
    Returns a Result. The same options give the same numbers, for any number of threads."""
    library, callbacks = _library(bool(double)), _Callbacks()
    context = library.context(threads, kernel)
    config, given = _config(library, options, callbacks)
    raw = library.new('tws_result')
    status = library.c.tws_run(context.pointer, config.pointer, 15 if compare else 0, raw.pointer)
    _check(library, context, status, callbacks.failure, allowed=(5,))
    result = Result(given, bool(double))
    if status == 5:
        result.warnings.append(_text(context['message']))
    result.eta = (raw['eta1'], raw['eta2'])
    result.seconds, result.threads = raw['seconds_total'], raw['threads']
    result.kernel = library.c.tws_kernel_name(raw['kernel']).decode()
    predicted = {}
    if predict:
        for mode in ('fresh', 'reuse') if compare else (given['batches'],):
            try:
                t = _theory(library, context, config, given, mode, callbacks)
            except TwostepError as error:
                result.warnings.append('no prediction: %s' % error)
                break
            predicted['one-step'], predicted['two-steps-' + mode] = t.step1, t.step2
            result.limit = t.limit
            result.warnings += [w for w in t.warnings if w not in result.warnings]
    measured, loss = raw['measured'], raw['loss']
    for number, name in enumerate(CASES):
        if not measured[number]:
            continue
        one, s = raw.part('spectrum', 'tws_spectrum', number), Spectrum()
        s.predicted = predicted.get(name)
        if s.predicted is not None:
            library.c.tws_count_outliers(one.pointer, ctypes.c_double(s.predicted.edge))
        for field in ('top', 'outliers', 'edge', 'row_edge', 'margin', 'captured'):
            setattr(s, field, one[field])
        for field in ('singular_values', 'alignments', 'readout_alignments', 'residuals'):
            setattr(s, field, one[field][:s.top])
        s.loss = loss[number]
        result.cases[name] = s
    return result


# ---- arrays ----

def _cast(name, array, real):
    """The entries of an array in this type."""
    a = np.asarray(array)
    try:
        if a.dtype.kind != 'c':
            return a.astype(real, copy=False)
    except (TypeError, ValueError):
        pass
    raise BadArgument('%s must hold real numbers' % name)


def _rows(name, array, real=None):
    """(array, leading dimension) of a matrix whose rows lie whole in memory; a copy only if need be."""
    a = np.asarray(array)
    if a.ndim != 2:
        raise BadArgument('%s has %d dimensions, it must be a matrix' % (name, a.ndim))
    if a.dtype != (real or a.dtype) or a.dtype not in (np.float32, np.float64) or \
            not a.dtype.isnative:
        a = _cast(name, a, real or (np.float32 if a.dtype == np.float16 else np.float64))
    size = a.dtype.itemsize
    whole = a.flags.aligned and (a.shape[1] <= 1 or a.strides[1] == size)
    if not whole or (a.shape[0] > 1 and (a.strides[0] % size or a.strides[0] < size * a.shape[1])):
        a = np.ascontiguousarray(a)
    return a, a.strides[0] // size if a.shape[0] > 1 else max(a.shape[1], 1)


def _vector(name, array, real, count):
    a = np.ascontiguousarray(_cast(name, array, real))
    if a.shape != (count,):
        raise BadArgument('%s has the shape %s, it must have %d entries' % (name, a.shape, count))
    return a


def _pointer(array):
    return ctypes.c_void_p(array.ctypes.data)


_OPERATOR = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int,
                             ctypes.POINTER(ctypes.c_double), ctypes.POINTER(ctypes.c_double))


def _operator(linear, rows, columns, failure):
    """A C callback over an object with matvec and rmatvec, like SciPy's LinearOperator."""
    def apply(user, transposed, x, y):
        try:
            inside, outside = (rows, columns) if transposed else (columns, rows)
            given = np.ctypeslib.as_array(x, (inside,)).copy()
            product = linear.rmatvec(given) if transposed else linear.matvec(given)
            np.ctypeslib.as_array(y, (outside,))[:] = _cast('a product', product, float).reshape(outside)
            return 0
        except BaseException as error:
            failure.append(error)
            return 1
    return _OPERATOR(apply)


def svd(matrix, top=None, tolerance=1e-6, vectors=True, stop_below=0., max_passes=10000, seed=1,
        threads=0):
    """The largest singular values of a matrix, with their vectors.

    matrix: m x n, float32 or float64 in rows or in columns (not copied), anything else is copied; or
    an object with shape, matvec and rmatvec (SciPy's LinearOperator). top: how many, 10 by default.
    tolerance: residual relative to the largest value. stop_below: only values above it are wanted.
    Returns u (m x k), s (k, decreasing), vt (k x n) with matrix @ vt.T = u * s, in float64; k = top,
    or with stop_below the values found above it. With vectors=False returns s alone.
    Raises NotConverged after max_passes readings of the matrix."""
    failure, flipped, a, ld = [], False, None, 0
    if hasattr(matrix, 'matvec') and hasattr(matrix, 'rmatvec'):
        library, (m, n) = _library(), matrix.shape
    else:
        given = np.asarray(matrix)
        flipped = given.ndim == 2 and given.flags.f_contiguous and not given.flags.c_contiguous
        a, ld = _rows('matrix', given.T if flipped else given)
        library, (m, n) = _library(a.dtype == np.float64), a.shape
    if m < 1 or n < 1:
        raise BadArgument('matrix has the shape (%d, %d), it must have entries' % (m, n))
    top = _whole('top', min(10, m, n) if top is None else top, 1, min(m, n))
    options = library.new('tws_svd_options')
    library.c.twp_default_svd_options(options.pointer, ctypes.c_size_t(top))
    options['tolerance'], options['stop_below'] = _real('tolerance', tolerance), _real('stop_below', stop_below)
    options['max_passes'] = _whole('max_passes', max_passes, 0, _SIZE_MAX)
    options['seed'] = _whole('seed', seed, 0, 2 ** 64 - 1)
    values, residuals = np.empty(top), np.empty(top)
    left = np.empty((top, m)) if vectors else None
    right = np.empty((top, n)) if vectors else None
    counts = (ctypes.c_size_t * 8)()
    context = library.context(threads, 'auto')
    sizes = [ctypes.c_size_t(m), ctypes.c_size_t(n)]
    rest = [_pointer(values)] + [_pointer(v) if vectors else None for v in (left, right)]
    rest += [_pointer(residuals), ctypes.byref(counts)]
    if a is None:
        callback = _operator(matrix, m, n, failure)
        status = library.c.tws_svd_operator(context.pointer, options.pointer, callback, None,
                                            *(sizes + rest))
    else:
        status = library.c.tws_svd(context.pointer, options.pointer, _pointer(a),
                                   *(sizes + [ctypes.c_size_t(ld)] + rest))
    _check(library, context, status, failure)
    k = counts[0]
    if not vectors:
        return values[:k]
    if flipped:
        left, right = right, left
    return left[:k].T, values[:k], right[:k]


def singular_values(matrix, threads=0):
    """All min(m, n) singular values of an m x n matrix (at most 4096 of them), decreasing, float64."""
    a, ld = _rows('matrix', matrix)
    library = _library(a.dtype == np.float64)
    values, context = np.empty(min(a.shape)), library.context(threads, 'auto')
    status = library.c.tws_singular_values(context.pointer, _pointer(a), ctypes.c_size_t(a.shape[0]),
                                           ctypes.c_size_t(a.shape[1]), ctypes.c_size_t(ld),
                                           _pointer(values))
    _check(library, context, status)
    return values


def normal(shape, seed=1, purpose=128, first=0, dtype=np.float32, out=None, threads=0):
    """A rows x columns matrix of independent N(0, 1), the same bits on every machine.

    shape: (rows, columns). Row i is the beginning of the stream (seed, purpose, first + i), so blocks
    of rows made apart fit together. purpose: 128 to 255 are yours. dtype: float32 or float64 (two
    different sequences). out: a writable matrix of this shape and dtype with whole rows, filled in
    place; it is also returned."""
    try:
        rows, columns = (_whole('shape', s, 0, _SIZE_MAX) for s in shape)
    except (TypeError, ValueError) as error:
        raise BadArgument('shape is %r, it must be (rows, columns), whole numbers from 0 on' % (shape,)) \
            from error
    if out is None:
        if np.dtype(dtype) not in (np.float32, np.float64):
            raise BadArgument('dtype is %s, it must be float32 or float64' % np.dtype(dtype))
        out = np.empty((rows, columns), dtype=dtype)
    filled, ld = _rows('out', out)
    if filled is not out or out.shape != (rows, columns) or not out.flags.writeable:
        raise BadArgument('out must be a writable %d x %d matrix of float32 or float64 with whole rows' %
                          (rows, columns))
    library = _library(out.dtype == np.float64)
    context = library.context(threads, 'auto')
    status = library.c.tws_random_matrix(
        context.pointer, ctypes.c_uint64(_whole('seed', seed, 0, 2 ** 64 - 1)),
        ctypes.c_uint32(_whole('purpose', purpose, 0, 2 ** 32 - 1)),
        ctypes.c_uint64(_whole('first', first, 0, 2 ** 64 - 1)), ctypes.c_size_t(rows),
        ctypes.c_size_t(columns), _pointer(out), ctypes.c_size_t(ld))
    _check(library, context, status)
    return out


# ---- the parts of an experiment ----

class Data(_Record):
    """weights W_0 (N x d), readout a (N), directions B* (p x d), inputs: two batches X (n x d),
    labels: two batches y (n)."""


def data(double=False, threads=0, **options):
    """The random data of run() with the same options, as NumPy arrays (float32, or float64 with
    double): take steps of your own with them. Returns a Data."""
    library, callbacks = _library(bool(double)), _Callbacks()
    context = library.context(threads, 'auto')
    config, given = _config(library, options, callbacks)
    p = config.part('target', 'tws_target')['directions']
    count, d, n = config['neurons'], config['inputs'], config['samples']
    made = Data()
    made.weights = np.empty((count, d), library.real)
    made.readout = np.empty(count, library.real)
    made.directions = np.empty((p, d), library.real)
    zero, all_rows = ctypes.c_size_t(0), ctypes.c_size_t(count)
    c = library.c
    _check(library, context, c.tws_make_weights(context.pointer, config.pointer, zero, all_rows,
                                                _pointer(made.weights)))
    _check(library, context, c.tws_make_readout(context.pointer, config.pointer, zero, all_rows,
                                                _pointer(made.readout)))
    _check(library, context, c.tws_make_directions(context.pointer, config.pointer,
                                                   _pointer(made.directions)))
    made.inputs, made.labels = [], []
    for number in (0, 1):
        x, y = np.empty((n, d), library.real), np.empty(n, library.real)
        status = c.tws_make_batch(context.pointer, config.pointer, _pointer(made.directions),
                                  ctypes.c_size_t(number), _pointer(x), _pointer(y))
        _check(library, context, status, callbacks.failure)
        made.inputs.append(x)
        made.labels.append(y)
    return made


def _network(weights, readout, inputs, labels, activation, output_scale, callbacks):
    w = np.asarray(weights)
    if w.dtype not in (np.float32, np.float64) or w.ndim != 2 or not w.flags.c_contiguous:
        raise BadArgument('weights must be an N x d matrix of float32 or float64 in rows')
    library = _library(w.dtype == np.float64)
    x = np.ascontiguousarray(_cast('inputs', inputs, w.dtype))
    if x.ndim != 2 or x.shape[1] != w.shape[1]:
        raise BadArgument('inputs has the shape %s, it must be n x %d' % (x.shape, w.shape[1]))
    a, y = _vector('readout', readout, w.dtype, w.shape[0]), _vector('labels', labels, w.dtype, x.shape[0])
    network, batch = library.new('tws_network'), library.new('tws_batch')
    scale = _output_scale(output_scale)
    network['count'], network['inputs'] = w.shape
    network['output_scale'] = 1 / math.sqrt(max(w.shape[0], 1)) if scale < 0 else scale
    _set_activation(library, network.part('activation', 'tws_activation'), activation, callbacks)
    network['weights'], network['readout'] = w.ctypes.data, a.ctypes.data
    batch['samples'], batch['inputs'], batch['labels'] = x.shape[0], x.ctypes.data, y.ctypes.data
    return library, network, batch, w, (x, a, y)


def gradient(weights, readout, inputs, labels, activation='shifted-tanh', output_scale='mean-field',
             threads=0):
    """G = (1/n) [(a r') o sigma'(W X')] X with r = y - f_W(X): the negative gradient of half the mean
    squared error, over the output scale. weights N x d, readout N, inputs n x d, labels n.
    Returns (G: N x d, loss before the step). All arrays in the type of weights."""
    callbacks = _Callbacks()
    library, network, batch, w, kept = _network(weights, readout, inputs, labels, activation,
                                                output_scale, callbacks)
    g, loss, context = np.empty_like(w), ctypes.c_double(), library.context(threads, 'auto')
    status = library.c.tws_gradient(context.pointer, network.pointer, batch.pointer, _pointer(g),
                                    ctypes.byref(loss))
    _check(library, context, status, callbacks.failure)
    return g, loss.value


def step(weights, readout, inputs, labels, eta, activation='shifted-tanh', output_scale='mean-field',
         threads=0):
    """weights += eta G, in place, G as in gradient(). Returns the loss before the step."""
    callbacks = _Callbacks()
    library, network, batch, w, kept = _network(weights, readout, inputs, labels, activation,
                                                output_scale, callbacks)
    if w is not weights or not w.flags.writeable:
        raise BadArgument('weights must be a writable array: the step is taken in place')
    loss, context = ctypes.c_double(), library.context(threads, 'auto')
    status = library.c.tws_step(context.pointer, network.pointer, batch.pointer,
                                ctypes.c_double(_real('eta', eta)), _pointer(w), ctypes.byref(loss))
    _check(library, context, status, callbacks.failure)
    return loss.value


def bulk_edge(neurons, inputs):
    """1 + sqrt(N/d): where the bulk of W_0 ends (Marchenko and Pastur 1967)."""
    c = _library().c
    c.tws_bulk_edge.restype = ctypes.c_double
    return c.tws_bulk_edge(ctypes.c_double(neurons), ctypes.c_double(inputs))


def version():
    """The header's version, as 10000 major + 100 minor + patch."""
    return _library().c.tws_version()


_library()
