#!/bin/sh
# The one test command:  sh tests/run.sh [-a] [-v] [-k PATTERN] [-K KERNEL]
#
#   -a           in full, which takes hours: fuzz, matrix, sanitize, analyze, and test_large with an
#                array of 8.6 GB; without it, a short form of each. Also coverage, and -K all
#   -k PATTERN   only the parts whose name matches the extended regular expression (test_gemm,
#                test_gemm-double, compile, structure, narrow, readout, npy, cli, mutants ...)
#   -K KERNEL    only the test programs, with plain, sse2, avx2, avx512, neon or amx where they would
#                take the fastest kernel; all: once with each that this machine has (test_gemm@avx2 ...)
#   -v           all that the parts print, not only their failures
#   CC           the C compiler, `cc` by default: all that the test programs need
#   TWOSTEP_TEST_NO_SKIP=1   a part that cannot run here is a failure
#   TWOSTEP_TEST_JOBS=1      one thing at a time; as a rule there are two
#   TWOSTEP_TEST_WITHOUT=P   leaves the script P out, and says so
#   TWOSTEP_DIR  the folder of the twostep.h to test, the one above this by default
#
# Parts: each tests/test_*.c (and once more in double, unless one of its first three lines says
# `float only`), then the scripts: compile.sh, structure.py, cli.sh and so on. A part prints
# `skip: NAME: why` for what it cannot do here and ends with `N passed, N failed`. A crash, a timeout or a missing
# result line is one failure. Everything is built in a temporary folder. The last line is the sum.

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$tests")
CC=${CC:-cc}
TWOSTEP_DIR=${TWOSTEP_DIR:-$root}
export CC TWOSTEP_DIR
. "$tests/jobs.sh"

pattern=. verbose= long= kernel=
while [ $# -gt 0 ]; do
    case $1 in
    -a) long=1 ;;
    -v) verbose=1 ;;
    -k) [ $# -ge 2 ] || { echo "run.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2; shift ;;
    -K) [ $# -ge 2 ] || { echo "run.sh: -K wants a kernel, or all" >&2; exit 2; }
        kernel=$2; shift ;;
    *) echo "usage: sh tests/run.sh [-a] [-v] [-k PATTERN] [-K KERNEL]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
has "${CC%% *}" || { echo "run.sh: no C compiler: $CC (set CC)" >&2; exit 2; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-tests.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/sums"
start=$(date +%s)

# tell NAME STATUS SECONDS OUTPUT: one line about a part that has run, and its numbers to $tmp/sums.
tell() {
    tell_line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$4" | tail -n 1)
    tell_skipped=$(grep -c '^skip: ' "$4")
    tell_passed=0 tell_failed=0 tell_why=
    if [ -n "$tell_line" ]; then
        tell_passed=${tell_line%% *}
        tell_failed=${tell_line#*, }
        tell_failed=${tell_failed%% *}
    fi
    if [ "$2" -eq 124 ] || [ "$2" -eq 137 ]; then
        tell_why=' (timed out)'
        tell_failed=$((tell_failed + 1))
    elif [ -z "$tell_line" ]; then
        tell_why=" (no result line, exit status $2)"
        tell_failed=$((tell_failed + 1))
    elif [ "$2" -ne 0 ] && [ "$tell_failed" -eq 0 ]; then
        tell_why=" (exit status $2)"
        tell_failed=1
    elif [ "$tell_passed" -eq 0 ] && [ "$tell_failed" -eq 0 ] && [ "$tell_skipped" -eq 0 ]; then
        tell_why=' (nothing was checked)'
        tell_failed=1
    fi
    if [ -n "$TWOSTEP_TEST_NO_SKIP" ] && [ "$TWOSTEP_TEST_NO_SKIP" != 0 ]; then
        tell_failed=$((tell_failed + tell_skipped))
        [ "$tell_skipped" -eq 0 ] || tell_why="$tell_why ($tell_skipped not to be skipped)"
        tell_skipped=0
    fi
    echo "$tell_passed $tell_failed $tell_skipped" >>"$tmp/sums"
    {
        if [ -n "$verbose" ]; then
            sed 's/^/    /' "$4"
        elif [ "$tell_failed" -ne 0 ]; then
            grep -v '^[0-9]* passed, [0-9]* failed' "$4" | tail -n 40 | sed 's/^/    /'
        else
            grep '^skip: ' "$4"
        fi
        printf '%-26s %7d passed, %d failed%s  %d s\n' "$1:" "$tell_passed" "$tell_failed" \
            "$tell_why" "$3"
    } >"$4.told"
    cat "$4.told"
}

# build NUMBER "PROGRAM FILE FLAGS": what the compiler says goes to PROGRAM.log.
build() {
    set -- $2
    build_program=$tmp/$1 build_file=$2
    shift 2
    $CC -std=c99 -O2 -I"$TWOSTEP_DIR" -I"$tests" "$@" -o "$build_program" "$tests/$build_file" -lm \
        >"$build_program.log" 2>&1 || echo "$build_file does not compile" >>"$build_program.log"
}

# program NUMBER "NAME TEST PROGRAM": runs one test.
program() {
    program_start=$(date +%s)
    set -- $2
    program_out=$tmp/$1.out program_limit=300 program_words=$2
    case $1 in
    *-full) program_limit=1200 program_words=full ;;
    *@*) program_limit=1200 ;; # without vectors one takes nine minutes
    esac
    cat "$tmp/$3.log" >"$program_out"
    program_status=1
    if [ -x "$tmp/$3" ]; then
        (cd "$tests" && limited $program_limit "$tmp/$3" $program_words) >>"$program_out" 2>&1
        program_status=$?
    fi
    tell "$1" "$program_status" $(($(date +%s) - program_start)) "$program_out"
}

# beside NAME SECONDS INTERPRETER FILE: puts down a part that needs one core, to be run beside others.
beside() {
    printf '%s\n' "$1" | grep -Eq -- "$pattern" || return 0
    if ! has "$3"; then
        printf 'skip: %s: no %s\n0 passed, 0 failed\n' "$1" "$3" >"$tmp/$1.out"
        tell "$1" 0 0 "$tmp/$1.out"
        return
    fi
    echo "$*" >>"$tmp/beside"
}
beside_one() {
    set -- $2
    beside_start=$(date +%s)
    limited "$2" "$3" "$tests/$4" >"$tmp/$1.out" 2>&1 </dev/null
    tell "$1" $? $(($(date +%s) - beside_start)) "$tmp/$1.out"
}

# script NAME SECONDS COMMAND...: runs one of the other parts, alone.
script() {
    script_name=$1 script_limit=$2
    shift 2
    printf '%s\n' "$script_name" | grep -Eq -- "$pattern" || return 0
    if [ "$script_name" = "${TWOSTEP_TEST_WITHOUT:-}" ]; then
        echo "$script_name: left out, as TWOSTEP_TEST_WITHOUT says"
        return 0
    fi
    script_start=$(date +%s)
    limited "$script_limit" "$@" >"$tmp/$script_name.out" 2>&1 </dev/null
    tell "$script_name" $? $(($(date +%s) - script_start)) "$tmp/$script_name.out"
}

cat >"$tmp/machine.c" <<'END'
#include <stdio.h>
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
int main(void) {
    int k;
    printf("twostep.h %s, %u threads, kernels:", TWS_VERSION_TEXT, tws_context_threads(NULL));
    for (k = 1; k < (int)TWS_KERNEL_COUNT; k++)
        if (tws_kernel_available((tws_kernel)k)) printf(" %s", tws_kernel_name((tws_kernel)k));
    printf(", fastest %s\n", tws_kernel_name(tws_context_kernel(NULL)));
    return 0;
}
END
if $CC -O0 -I"$TWOSTEP_DIR" -o "$tmp/machine" "$tmp/machine.c" -lm 2>/dev/null; then
    "$tmp/machine"
fi

# kernel_flags KERNEL: what makes it the one that a context takes by itself; nothing: unknown.
kernel_flags() {
    case $1 in
    plain) echo -DTWOSTEP_NO_SIMD ;;
    sse2 | avx2 | avx512 | neon | amx) echo "-DTWSI_AUTO_LAST=TWS_KERNEL_$(echo "$1" | tr a-z A-Z)" ;;
    esac
}
# has_kernel KERNEL: asks a program that is built like the tests.
has_kernel() {
    [ -n "$(kernel_flags "$1")" ] &&
        $CC -O0 -I"$TWOSTEP_DIR" $(kernel_flags "$1") -o "$tmp/machine" "$tmp/machine.c" -lm &&
        "$tmp/machine" | grep -q " fastest $1\$"
}
kernels=$kernel
if [ "$kernel" = all ]; then
    kernels=
    for name in plain sse2 avx2 avx512 neon amx; do
        if has_kernel $name; then kernels="$kernels $name"; fi
    done
elif [ -n "$kernel" ] && ! has_kernel "$kernel"; then
    echo "run.sh: this machine has no kernel $kernel" >&2
    exit 2
fi

# The tests, the double ones after all the float ones. One program holds them all but test_large, as the
# compiler takes longer over twostep.h than most of them run.
: >"$tmp/builds"
test_of() { # test_of LIST NAME TEST ID FLAGS: NAME runs TEST of the program with these flags
    printf '%s\n' "$2" | grep -Eq -- "$pattern" || return 0
    test_file=$(program_of "$3")
    echo "$2 $3 $test_file$4" >>"$tmp/$1"
    echo "$test_file$4 $test_file.c $5" >>"$tmp/builds"
}
for file in "$tests"/test_*.c; do
    name=$(basename "$file" .c)
    for k in ${kernels:-auto}; do
        at= flags=
        [ $k = auto ] || at=@$k flags=$(kernel_flags $k)
        test_of float $name$at $name "$at" "$flags"
        head -n 3 "$file" | grep -q 'float only' ||
            test_of double $name-double$at $name "-double$at" "-DTWOSTEP_DOUBLE $flags"
        [ "$long$name" != 1test_large ] || test_of double $name$at-full $name "$at" "$flags"
    done
done
sort -u "$tmp/builds" >"$tmp/builds-once"
two_at_a_time "$tmp/builds-once" build "$tmp"
cat "$tmp/float" "$tmp/double" >"$tmp/programs" 2>/dev/null
two_at_a_time "$tmp/programs" program "$tmp"
rm -f "$tmp"/suite* "$tmp"/test_large*

# A python3 that has NumPy, if there is one: the first in the path may lack what the system's has.
numpy=python3
for python in python3 /usr/bin/python3; do
    "$python" -c 'import numpy' 2>/dev/null && { numpy=$python; break; }
done

if [ -z "$kernel" ]; then
    # Those that keep one core busy, the longest first.
    : >"$tmp/beside"
    beside python 900 sh python.sh
    beside cli 900 sh cli.sh
    beside sweep 600 sh sweep.sh
    beside interrupt 900 sh interrupt.sh
    beside narrow 600 python3 narrow.py
    beside figures 600 sh figures.sh
    beside readout 600 "$numpy" readout.py
    beside npy 600 "$numpy" npy.py
    beside structure 300 python3 structure.py
    two_at_a_time "$tmp/beside" beside_one "$tmp"
    # Those that use both.
    script random_quality 900 sh "$tests/random_quality.sh"
    script crush 600 sh "$tests/crush.sh"
    script mpi 300 sh "$tests/mpi.sh"
    script compile 900 sh "$tests/compile.sh"
    script lessons 600 sh "$tests/lessons.sh"
    script browser 600 sh "$tests/browser.sh"
    if [ -n "$long" ]; then
        script kernels 14400 sh "$tests/run.sh" -K all
        script fuzz 7200 sh "$tests/fuzz.sh" -t 600
        script matrix 14400 sh "$tests/matrix.sh"
        script sanitize 14400 sh "$tests/sanitize.sh"
        script analyze 3600 sh "$tests/analyze.sh"
        script mutants 1800 sh "$tests/mutants.sh"
        script coverage 3600 sh "$tests/coverage.sh"
    else
        script fuzz 1800 sh "$tests/fuzz.sh" -t 10
        script matrix 900 sh "$tests/matrix.sh" -s
        script sanitize 900 sh "$tests/sanitize.sh" -s
        script analyze 900 sh "$tests/analyze.sh" -s
        script mutants 900 sh "$tests/mutants.sh" -s
    fi
fi

if [ ! -s "$tmp/sums" ]; then
    echo "no part matches: $pattern" >&2
    exit 2
fi
echo "$(($(date +%s) - start)) s in all"
awk '{ passed += $1; failed += $2; skipped += $3 }
    END {
        printf "%d passed, %d failed", passed, failed
        if (skipped) printf ", %d skipped", skipped
        print ""
        exit failed > 0
    }' "$tmp/sums"
