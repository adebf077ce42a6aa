#!/bin/sh
# The one bench command:  sh bench/run.sh [PART ...]    parts: gemm functions svd experiment theory
#
# Builds the programs of this folder with plain `cc -O2`, runs them one after the other on this
# machine and rewrites the section of each part in bench/RESULTS.md. Every figure is a ratio within
# one run or comes with the run's own peak. Takes about six minutes on two cores.
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$here")
CC=${CC:-cc}
results=$here/RESULTS.md
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-bench.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

build() { $CC -O2 -I"$root" -o "$tmp/$1" "$2" -lm || exit 1; }

machine() {
    model=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)
    echo "$(uname -sm), ${model:-unknown processor}, $(getconf _NPROCESSORS_ONLN) cores, $($CC --version | head -n 1)"
}

# The whole experiment beside the time that its 8 N d n operations take at the FMA peak.
experiment() {
    build twostep "$root/examples/twostep.c"
    build gemm "$here/gemm.c"
    peak=$("$tmp/gemm" | awk '$3 ~ /^2048x/ { print $4; exit }')
    echo "FMA peak in this run: $peak GFLOP/s on all threads. Median of 5."
    echo
    echo "N = d, n | total s | steps s | 8Ndn / peak s | total ratio"
    for size in '1024 2048' '2048 4096' '4096 8192'; do
        set -- $size
        for turn in 1 2 3 4 5; do
            "$tmp/twostep" run --neurons "$1" --inputs "$1" --samples "$2" --quiet --json - |
                sed -n 's/.*"step1": \([0-9.]*\), "step2": \([0-9.]*\), .*"total": \([0-9.]*\).*/\1 \2 \3/p'
        done | sort -n -k 3 | awk -v n="$1" -v m="$2" -v peak="$peak" 'NR == 3 {
            floor = 8 * n * n * m / peak / 1e9
            printf "%d, %d | %.2f | %.2f | %.2f | %.2f\n", n, m, $3, $1 + $2, floor, $3 / floor }'
    done
}

# section NAME TITLE COMMAND...: what the command prints becomes the section of that name.
section() {
    name=$1 title=$2
    shift 2
    echo "bench: $name" >&2
    "$@" >"$tmp/$name.txt" || exit 1
    {
        echo "<!-- $name -->"
        echo "## $title"
        echo
        echo "$(machine). \`sh bench/run.sh $name\`"
        echo
        case $name in theory) cat "$tmp/$name.txt" ;; *) echo '```'; cat "$tmp/$name.txt"; echo '```' ;; esac
        echo "<!-- end $name -->"
    } >"$tmp/section"
    [ -f "$results" ] || printf '# Measured by `sh bench/run.sh`\n\nGenerated, never edited by hand.\n' >"$results"
    awk -v name="$name" -v new="$tmp/section" '
        function put() { while ((getline line < new) > 0) print line; done = 1 }
        $0 == "<!-- " name " -->" { put(); skip = 1 }
        !skip { print }
        $0 == "<!-- end " name " -->" { skip = 0 }
        END { if (!done) { print ""; put() } }' "$results" >"$tmp/results" && cp "$tmp/results" "$results"
}

[ $# -gt 0 ] || set -- gemm functions svd experiment theory
for part in "$@"; do
    case $part in
    gemm) build gemm "$here/gemm.c"; section gemm 'Matrix product' "$tmp/gemm" ;;
    functions) build functions "$here/functions.c"; section functions 'Activations' "$tmp/functions" ;;
    svd) build svd "$here/svd.c"; section svd 'Leading singular triplets' "$tmp/svd" ;;
    experiment) section experiment 'The whole experiment' experiment ;;
    theory) build theory "$here/theory.c"; section theory 'Prediction against simulation' "$tmp/theory" ;;
    *) echo "run.sh: unknown part '$part', parts are gemm functions svd experiment theory" >&2; exit 2 ;;
    esac
done
