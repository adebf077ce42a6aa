#!/bin/sh
# How much of twostep.h do the tests run?   sh tests/coverage.sh [-l] [-k PATTERN] [-o FILE]
#
#   -l           also the lines and branches that no test runs
#   -k PATTERN   only the test programs whose name matches (test_gemm, test_gemm-double, ...)
#   -o FILE      the counts as JSON: {"lines": {"12": 3, ...}, "branches": {"12": [3, 0], ...}}
#
# Every tests/test_*.c, in float and in double, is built by gcc with --coverage and run; gcov counts.
# The counts are added over programs and over kernels: the header includes itself once for each
# instruction set, and a line is run when any of these passes runs it. Fails below 95 % of the lines
# or 90 % of the branches; no bar with -k. Ends with `N passed, N failed`: programs and the two bars.

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
header=${TWOSTEP_DIR:-$(dirname -- "$tests")}
. "$tests/jobs.sh"
pattern=. bars=1
list= out=
while [ $# -gt 0 ]; do
    case $1 in
    -l) list=-l ;;
    -k) [ $# -ge 2 ] || { echo "coverage.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2 bars=; shift ;;
    -o) [ $# -ge 2 ] || { echo "coverage.sh: -o wants a file" >&2; exit 2; }
        out=$2; shift ;;
    *) echo "usage: sh tests/coverage.sh [-l] [-k PATTERN] [-o FILE]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
for tool in gcc gcov python3; do
    has $tool && continue
    echo "skip: coverage: no $tool"
    echo '0 passed, 0 failed'
    exit 0
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-coverage.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/jobs"
: >"$tmp/results"

for file in "$tests"/test_*.c; do
    name=$(basename "$file" .c)
    echo "$name $name"
    head -n 3 "$file" | grep -q 'float only' || echo "$name-double $name -DTWOSTEP_DOUBLE"
done | while read -r name rest; do
    printf '%s\n' "$name" | grep -Eq -- "$pattern" && echo "$name $rest"
done >"$tmp/jobs"

# Counters are atomic: threads share them. Each program has a folder for what it counts.
count_one() {
    set -- $2
    one_name=$1 one_test=$2 one_flag=$3
    one_out=$tmp/$one_name.out one_start=$(date +%s)
    mkdir "$tmp/$one_name"
    if (cd "$tmp/$one_name" && gcc -std=c99 -O1 --coverage -fprofile-update=atomic $one_flag \
        -DTEST_QUICK -DTEST_TINY -I"$header" -I"$tests" -o program "$tests/$one_test.c" -lm) >"$one_out" 2>&1 &&
        (cd "$tests" && limited 1200 "$tmp/$one_name/program") >>"$one_out" 2>&1; then
        one_word=passed
    else
        one_word=failed
    fi
    echo $one_word >>"$tmp/results"
    printf '%-26s %s  %d s\n' "$one_name" $one_word $(($(date +%s) - one_start))
    [ $one_word = passed ] || head -n 30 "$one_out" | sed 's/^/    /'
    (cd "$tmp/$one_name" && rm -f program && gcov -b --json-format --stdout ./*.gcda) \
        >"$tmp/$one_name.json" 2>/dev/null
}
two_at_a_time "$tmp/jobs" count_one "$tmp"

passed=$(grep -c passed "$tmp/results")
failed=$(($(wc -l <"$tmp/jobs") - passed))
python3 "$tests/coverage.py" $list ${out:+-o "$out"} ${bars:+-b} "$tmp"/*.json >"$tmp/told"
below=$?
cat "$tmp/told"
if [ -n "$bars" ]; then
    passed=$((passed + 2 - below)) failed=$((failed + below))
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
