#!/bin/sh
# The one bench command:  sh bench/run.sh [PART ...]
#
#   machine     peaks of fused multiply-adds, bandwidth of reading
#   gemm        matrix product beside the peak, OpenBLAS, BLIS, oneDNN (= gemm-1 gemm-2 gemm-steps gemm-avx512
#               gemm-avx2; the peak is always that of fused multiply-adds)
#   gemm-small  the same for sizes 1 to 256
#   strassen    matrix product with fewer operations, 4096 and 8192
#   functions   activations; normal numbers beside NumPy and PyTorch
#   svd         leading singular triplets beside SciPy, PyTorch, PRIMME
#   experiment  the whole experiment beside its floor, a NumPy and a PyTorch script; memory; growth
#   phase       a phase diagram beside two NumPy scripts
#   readout     ridge regression beside its floor, one lambda and a grid of 25
#   theory      prediction against simulation
#
# Builds the programs of this folder with plain `cc -O2`, runs them one after the other on this
# machine and rewrites the section of each part and kind of processor in bench/RESULTS.md. All
# contenders take turns in one run, medians are printed, and every figure is a ratio within one run or
# comes with the run's own peak. Peers are optional: `sh bench/peers/install.sh` installs what Debian
# has, a missing one is named and skipped. PYTHON names the interpreter that has NumPy
# (/usr/bin/python3).
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$here")
CC=${CC:-cc}
PYTHON=${PYTHON:-/usr/bin/python3}
results=$here/RESULTS.md
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-bench.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE # they keep OpenBLAS from looking at the machine
export PYTHONDONTWRITEBYTECODE=1

build() { [ -x "$tmp/$1" ] || $CC -O2 -I"$root" -o "$tmp/$1" "$2" -lm -ldl || exit 1; }
build_library() { $CC -O2 -fPIC -shared -I"$root" -o "$tmp/ours.so" "$here/peers/ours.c" -lm || exit 1; }

# The processor and the widest kernel it can take: what a section is known by. Virtual machines hide
# the name, but not the family and the model.
processor() {
    build machine "$here/machine.c"
    field() { sed -n "s/^$1[[:space:]]*: *//p" /proc/cpuinfo 2>/dev/null | head -n 1; }
    name=$(field 'model name')
    family=$(field 'cpu family')
    [ -z "$family" ] || name="$name (family $family, model $(field model))"
    echo "${name:-$(uname -m)}, $("$tmp/machine" --kernel)"
}

# machine PROCESSOR
machine() {
    echo "$(uname -sm), $1, $(getconf _NPROCESSORS_ONLN) cores, $($CC --version | head -n 1)"
}

has_numpy() { "$PYTHON" -c 'import numpy, scipy' 2>/dev/null; }

# Versions of the Python peers, and what the BLAS below NumPy and PyTorch chose for this machine.
versions() {
    "$PYTHON" - <<'PROGRAM' 2>/dev/null || echo "Python peers: NumPy and SciPy are not installed"
import ctypes, sys, numpy, scipy
try:
    import torch
    torch = torch.__version__ + ' (%s)' % torch.backends.cpu.get_cpu_capability() if hasattr(torch.backends, 'cpu') else torch.__version__
except ImportError:
    torch = 'not installed'
try:
    config = ctypes.CDLL('libopenblas.so.0').openblas_get_config
    config.restype = ctypes.c_char_p
    blas = config().decode()
except OSError:
    blas = 'not OpenBLAS'
print('Python %s, NumPy %s, SciPy %s, PyTorch %s; BLAS: %s' % (
    sys.version.split()[0], numpy.__version__, scipy.__version__, torch, blas))
PROGRAM
}

functions() {
    if has_numpy; then "$PYTHON" "$here/peers/normals.py" "$tmp/ours.so" || return 1
    else echo "Normal numbers: NumPy is not installed, skipped"; fi
    echo
    "$tmp/functions"
}

svd() {
    if has_numpy; then "$PYTHON" "$here/peers/svd.py" "$tmp/ours.so" || return 1
    else echo "Peers: SciPy is not installed, skipped"; fi
    echo
    "$tmp/svd"
}

experiment() { "$PYTHON" "$here/peers/experiment.py" "$tmp/twostep" "$tmp/machine"; }
phase() { "$PYTHON" "$here/peers/phase.py" "$tmp/twostep"; }

# section NAME TITLE COMMAND...: what the command prints becomes the section of that name and of this
# processor, after those of the same name.
section() {
    name=$1 title=$2
    shift 2
    echo "bench: $name" >&2
    "$@" >"$tmp/$name.txt" || exit 1
    on=$(processor) || exit 1
    {
        echo "<!-- $name: $on -->"
        echo "## $title: $on"
        echo
        echo "$(machine "$on"). $(date -u +%Y-%m-%d). \`sh bench/run.sh $name\`"
        case $name in functions | svd | experiment | phase) echo; versions ;; esac
        echo
        case $name in theory) cat "$tmp/$name.txt" ;; *) echo '```'; cat "$tmp/$name.txt"; echo '```' ;; esac
        echo "<!-- end $name: $on -->"
    } >"$tmp/section"
    [ -f "$results" ] || printf '# Measured by `sh bench/run.sh`\n\nGenerated, never edited by hand.\n' >"$results"
    awk -v name="$name" -v id="$name: $on" -v new="$tmp/section" '
        function put() { while ((getline line < new) > 0) text[++lines] = line; done = 1 }
        $0 == "<!-- " id " -->" { put(); skip = 1 }
        !skip { text[++lines] = $0 }
        $0 == "<!-- end " id " -->" { skip = 0 }
        index($0, "<!-- end " name ": ") == 1 { last = lines }
        END {
            if (!last) last = lines
            for (i = 1; i <= (done ? lines : last); i++) print text[i]
            if (done) exit
            print ""
            while ((getline line < new) > 0) print line
            for (; i <= lines; i++) print text[i]
        }' "$results" >"$tmp/results" && cp "$tmp/results" "$results"
}

part() {
    case $1 in
    machine) build machine "$here/machine.c"; section machine 'The machine' "$tmp/machine" ;;
    gemm) for name in gemm-1 gemm-2 gemm-steps gemm-avx512 gemm-avx2; do part "$name"; done ;;
    gemm-1) build gemm "$here/gemm.c"
        section gemm-1 'Matrix product, one thread' "$tmp/gemm" --threads 1 square ;;
    gemm-2) build gemm "$here/gemm.c"
        section gemm-2 'Matrix product, two threads' "$tmp/gemm" --threads 2 square ;;
    gemm-steps) build gemm "$here/gemm.c"
        section gemm-steps 'Matrix product, the shapes of a step' "$tmp/gemm" --threads 1 pipeline \
            --threads 2 pipeline ;;
    gemm-avx2) build gemm "$here/gemm.c"
        section gemm-avx2 'Matrix product, AVX2 forced' "$tmp/gemm" --no-peers --kernel avx2 --threads 1 1024 2048 \
            --threads 2 2048 ;;
    gemm-avx512) build gemm "$here/gemm.c"
        section gemm-avx512 'Matrix product, AVX-512 forced' "$tmp/gemm" --kernel avx512 --threads 1 square \
            pipeline --threads 2 square pipeline ;;
    gemm-small) build gemm "$here/gemm.c"
        section gemm-small 'Matrix product, small and odd sizes' "$tmp/gemm" --threads 1 small --threads 2 small ;;
    strassen) build strassen "$here/strassen.c"
        section strassen 'Matrix product with fewer operations' sh -c "$tmp/strassen --threads 1 4096 8192 && $tmp/strassen --threads 2 4096 8192 &&
            $tmp/strassen --kernel avx512 --threads 1 8192 --threads 2 8192" ;;
    functions) build functions "$here/functions.c"; build_library
        section functions 'Normal numbers and activations' functions ;;
    svd) build svd "$here/svd.c"; build_library; section svd 'Leading singular triplets' svd ;;
    experiment) build twostep "$root/examples/twostep.c"; build machine "$here/machine.c"
        section experiment 'The whole experiment' experiment ;;
    phase) build twostep "$root/examples/twostep.c"; section phase 'Phase diagram' phase ;;
    readout) build readout "$here/readout.c"; section readout 'Ridge regression on the features' sh -c "$tmp/readout && $tmp/readout --kernel avx512" ;;
    theory) build theory "$here/theory.c"; section theory 'Prediction against simulation' "$tmp/theory" ;;
    *)  echo "run.sh: unknown part '$1', parts are machine gemm gemm-1 gemm-2 gemm-steps gemm-avx512 gemm-avx2 gemm-small strassen functions svd experiment phase readout theory" >&2
        exit 2 ;;
    esac
}

[ $# -gt 0 ] || set -- machine gemm gemm-small strassen functions svd experiment phase readout theory
for name; do part "$name"; done
