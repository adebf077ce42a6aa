#!/bin/sh
# TestU01 on the random bits.   sh tests/crush.sh [-f] [-k PATTERN]
#
#   -f           Crush on "forward", "reversed" and "rows" (what they are: random_quality.c), some
#                three hours of work for one core, in twelve parts each; without it, SmallCrush on
#                every sequence, a minute; the generators that are known to be bad must fail it
#   -k PATTERN   only the jobs whose name matches (small.forward, crush.rows.1-8, ...)
#
# TestU01 (L'Ecuyer and Simard 2007) is in no part of Debian that is on by default: its licence forbids
# sale. Packages libtestu01-0-dev and those it draws in, from the section non-free. random_quality.sh
# has a battery of its own, and dieharder. -f ends with the p-values of each part, the rest only with
# their number; what -f has printed stands in data/crush.txt.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
. "$tests/jobs.sh"
full= pattern=.
while [ $# -gt 0 ]; do
    case $1 in
    -f) full=1 ;;
    -k) [ $# -ge 2 ] || { echo "crush.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2; shift ;;
    *) echo "usage: sh tests/crush.sh [-f] [-k PATTERN]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-crush.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/jobs"
: >"$tmp/results"
if ! ${CC:-cc} -std=c99 -O2 -I"$root" -I"$tests" -o "$tmp/crush" "$tests/crush.c" \
    -ltestu01 -ltestu01probdist -ltestu01mylib -lm >"$tmp/log" 2>&1; then
    if grep -q 'testu01/.*No such file\|testu01.*not found' "$tmp/log"; then
        echo 'skip: crush: no TestU01 (libtestu01-0-dev)'
        echo '0 passed, 0 failed'
        exit 0
    fi
    cat "$tmp/log"
    echo '0 passed, 1 failed'
    exit 1
fi

job() { printf '%s\n' "$1" | grep -Eq -- "$pattern" && echo "$*" >>"$tmp/jobs"; }
if [ -n "$full" ]; then
    for sequence in forward reversed rows; do
        first=1
        while [ $first -lt 96 ]; do
            job "crush.$sequence.$first-$((first + 7))" $sequence crush $first $((first + 7))
            first=$((first + 8))
        done
    done
else
    for sequence in forward reversed rows seeds batches starts bad-congruence bad-linear bad-twins bad-bias; do
        job "small.$sequence" $sequence small
    done
fi
[ -s "$tmp/jobs" ] || { echo "crush.sh: no job matches: $pattern" >&2; exit 2; }

one() {
    one_out=$tmp/out.$1 one_start=$(date +%s) one_word=failed
    set -- $2
    one_name=$1
    shift
    "$tmp/crush" "$@" >"$one_out" 2>&1
    one_status=$?
    one_sum=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$one_out")
    case $1-$one_status in
    bad-*-1) # rejected, as it must be
        grep -q FAILED "$one_out" && one_word=passed
        one_sum="rejected by $(grep -c FAILED "$one_out") tests" ;;
    bad-*) one_sum='not rejected' ;;
    *-0) one_word=passed ;;
    esac
    told "$one_out" $one_word $one_start "$one_name: ${one_sum:-no result}:"
    [ -z "$full" ] || [ $one_word = failed ] || grep ' p = ' "$one_out"
}
two_at_a_time "$tmp/jobs" one "$tmp"
told_sum
