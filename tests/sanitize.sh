#!/bin/sh
# Memory errors, undefined behaviour, leaks, uninitialised reads and races: the tests under the
# sanitizers of gcc and clang, and under valgrind with the plain kernel.
#
#   sh tests/sanitize.sh                all tests under each tool (about forty minutes)
#   sh tests/sanitize.sh -s             the tour once for each kind of error, kernels too for one (two minutes)
#   sh tests/sanitize.sh -k PATTERN     only TOOL/TEST whose name matches
#
# Tools: gcc-address, clang-address and, for the tests in double, double-address (AddressSanitizer,
# LeakSanitizer, UndefinedBehaviorSanitizer: signed overflow, division by zero, alignment, bounds,
# shifts, null), clang-memory (MemorySanitizer), gcc-thread and clang-thread (ThreadSanitizer), valgrind
# (memcheck; it knows no AVX-512, so plain).
# No suppression anywhere. Any report ends the program with an error. Each tool must first find a bug
# that is planted for it (TOOL/planted). The last line counts programs.

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
header=${TWOSTEP_DIR:-$(dirname -- "$tests")}
. "$tests/jobs.sh"

# The compiler costs more than a short test: optimise only where the tests are long.
pattern=. list=all level=-O1
while [ $# -gt 0 ]; do
    case $1 in
    -s) list=short level=-O0 ;;
    -k) [ $# -ge 2 ] || { echo "sanitize.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2; shift ;;
    *) echo "usage: sh tests/sanitize.sh [-s] [-k PATTERN]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-sanitize.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/jobs"
: >"$tmp/programs"
: >"$tmp/results"

all=$(cd "$tests" && ls test_*.c | sed 's/\.c$//')
memory='-fsanitize=address,undefined -fno-sanitize-recover=all'

# tool NAME SHORT-TESTS RUNNER COMPILER...: RUNNER is one word, `valgrind` or `-`.
tool() {
    tool_name=$1 tool_short=$2 tool_by=$3
    shift 3
    case $tool_by in -) tool_needs=$1 ;; *) tool_needs=$tool_by ;; esac
    if ! has "$1" || ! has "$tool_needs"; then
        echo "skip: $tool_name: no $1 or no $tool_needs"
        return
    fi
    [ "$list" = short ] || tool_short=$all
    for tool_test in planted $tool_short; do
        case $tool_name/$tool_test in
        double-address/test_*) ! head -n 3 "$tests/$tool_test.c" | grep -q 'float only' || continue ;;
        esac
        printf '%s\n' "$tool_name/$tool_test" | grep -Eq -- "$pattern" || continue
        echo "$tool_name $tool_test $tool_by" >>"$tmp/jobs"
        case $tool_test in
        planted) echo "$tool_name planted $*" ;;
        *) echo "$tool_name $(program_of "$tool_test") $*" ;;
        esac >>"$tmp/programs"
    done
}

tool valgrind test_tour valgrind gcc -g -O1 -DTWOSTEP_NO_SIMD
tool clang-thread test_tour - clang -g $level -fsanitize=thread
tool gcc-thread '' - gcc -g $level -fsanitize=thread
tool clang-memory test_tour - clang -g $level -fsanitize=memory -fsanitize-memory-track-origins \
    -fno-sanitize-recover=all
tool clang-address test_tour - clang -g $level $memory -fsanitize=local-bounds
tool double-address '' - gcc -g $level $memory -fsanitize=bounds-strict -DTWOSTEP_DOUBLE
tool gcc-address 'test_tour test_gemm test_steps' - gcc -g $level $memory -fsanitize=bounds-strict

cat >"$tmp/planted.c" <<'END2'
#include <pthread.h>
#include <stdlib.h>
static int shared;
static void *race(void *unused) {
    shared++;
    return unused;
}
int main(int count, char **arguments) {
    int *x = (int *)malloc(4 * sizeof *x); /* uninitialised, read past its end */
    pthread_t thread;
    (void)arguments;
    if (x == NULL || pthread_create(&thread, NULL, race, NULL) != 0) return 0;
    shared++; /* at the same time as the other thread */
    pthread_join(thread, NULL);
    if (x[count] > 3) shared++;
    shared += x[count + 3];
    free(x);
    return shared == 12345;
}
END2

# build NUMBER "TOOL FILE COMPILER...": the program TOOL-FILE, and what the compiler said.
build() {
    set -- $2
    build_program=$tmp/$1-$2 build_file=$tests/$2.c
    [ "$2" != planted ] || build_file=$tmp/planted.c
    shift 2
    "$@" -std=c99 -DTEST_QUICK -DTEST_TINY -I"$header" -I"$tests" -o "$build_program" "$build_file" \
        -lm -pthread >"$build_program.log" 2>&1
}

# A tool that finds nothing in what is planted proves nothing elsewhere.
planted() {
    [ -x "$1" ] && ! limited 100 $one_by "$1" >>"$one_out" 2>&1 && return 0
    echo "the planted bug is not found" >>"$one_out"
    return 1
}
tested() {
    [ -x "$1" ] && (cd "$tests" && limited 3600 $one_by "$@") >>"$one_out" 2>&1 &&
        ! grep -Eq 'runtime error|ERROR: |WARNING: |== *[0-9]+ (bytes|errors)' "$one_out"
}

one() {
    one_out=$tmp/out.$1 one_start=$(date +%s)
    set -- $2
    case $3 in
    valgrind) one_by='valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=all' ;;
    *) one_by= ;;
    esac
    one_how=tested one_program=$tmp/$1-$(program_of "$2")
    [ "$2" != planted ] || one_how=planted one_program=$tmp/$1-planted
    cat "$one_program.log" >"$one_out"
    one_word=failed
    $one_how "$one_program" "$2" && one_word=passed
    told "$one_out" $one_word $one_start "$(printf '%-14s %-18s' "$1" "$2")"
}
sort -u "$tmp/programs" >"$tmp/builds"
two_at_a_time "$tmp/builds" build "$tmp"
two_at_a_time "$tmp/jobs" one "$tmp"
told_sum
