#!/bin/sh
# Are the random numbers random?   sh tests/random_quality.sh [-f] [-d SEQUENCES]
#
#   -f            the full run, two hours and more: every test at fifty times the size, and all tests
#                 of dieharder
#   -d SEQUENCES  those that dieharder sees, by default "forward rows starts"
#
# Three parts: our own battery on the words of random_quality.c (one stream, its bits reversed,
# neighbouring rows, seeds and batches taken in turn, and the beginnings of many rows), which must
# also reject four generators that are known to be bad; the law and the independence of the
# normals, which must also reject spoiled ones; dieharder (R. G. Brown; Debian package dieharder),
# an independent judge: it fails where dieharder says FAILED, and reports what it calls WEAK, which
# a good generator is in one of a hundred tests. Two of the jobs run at a time.
#
# tests/data/random_quality.txt is a report:  sh tests/random_quality.sh >tests/data/random_quality.txt
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
. "$tests/jobs.sh"
full= judged='forward rows starts' size=1
while [ $# -gt 0 ]; do
    case $1 in
    -f) full=1 size=50 ;;
    -d) [ $# -ge 2 ] || exit 2; judged=$2; shift ;;
    *) echo "usage: sh tests/random_quality.sh [-f] [-d SEQUENCES]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-random.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
CC=${CC:-cc}
for real in float double; do
    flag=
    [ $real = float ] || flag=-DTWOSTEP_DOUBLE
    $CC -std=c99 -O2 $flag -I"$root" -o "$tmp/$real" "$tests/random_quality.c" -lm || {
        echo '0 passed, 1 failed'
        exit 1
    }
done
version=$(sed -n 's/^#define TWS_VERSION_TEXT "\(.*\)"/\1/p' "$root/twostep.h")
echo "random_quality.sh${full:+ -f}: twostep.h $version, $(uname -m), $($CC --version | head -n 1)"

# ---- the jobs: each writes a report whose last line is `N passed, N failed` ----

# reject WHAT COMMAND...: at least one test must fail
reject() {
    reject_name=$1
    shift
    if "$@" >"$job_out.all" 2>&1 || ! grep -q FAILED "$job_out.all"; then
        echo "$reject_name: NOT REJECTED"
        echo '0 passed, 1 failed'
    else
        echo "$reject_name: rejected by $(grep -c FAILED "$job_out.all") tests"
        echo '1 passed, 0 failed'
    fi
}
# battery NAME: a bad generator is rejected at size 1
battery() {
    battery_about=$("$tmp/float" list | awk -F '\t' -v name="$1" '$1 == name { print $2 }')
    case $1 in
    bad-*) reject "battery: $1 ($battery_about)" "$tmp/float" battery "$1" 1 ;;
    *) echo "battery: $1 ($battery_about), size $size"; "$tmp/float" battery "$1" "$size" ;;
    esac
}
# normals WHICH: float, double, or spoiled ones
normals() {
    case $1 in
    wide) reject 'normals: 0.2 % too wide' "$tmp/float" normals-wide 1e7 1e6 ;;
    shared) reject 'normals: neighbouring rows share 4 %' "$tmp/float" normals-shared 1e7 1e6 ;;
    *) echo "normals: $1, 1e7 of them"; "$tmp/$1" normals 1e7 "$tail_count" ;;
    esac
}
# dieharder_on NAME: only the lines of its tests are kept.
dieharder_on() {
    echo "dieharder: $1"
    if [ -n "$full" ]; then
        "$tmp/float" words "$1" | dieharder -a -g 200 -k 2 -Y 1 >"$job_out.all" 2>&1
    else
        for d in 0 1 3 8 15 16 100; do
            "$tmp/float" words "$1" | dieharder -d $d -g 200 -p 25 -Y 1
        done >"$job_out.all" 2>&1
    fi
    grep -E 'PASSED|WEAK|FAILED' "$job_out.all" | { [ -n "$full" ] && cat || grep -v PASSED; }
    bad=$(grep -c FAILED "$job_out.all") good=$(grep -cE 'PASSED|WEAK' "$job_out.all")
    [ "$good" -gt 0 ] || bad=$((bad + 1))
    echo "  $good of $((good + bad)) passed, of which $(grep -c WEAK "$job_out.all") weak"
    echo "$good passed, $bad failed"
}
quality_one() {
    job_out=$tmp/report.${2% *}.${2#* }
    "${2% *}" "${2#* }" >"$job_out" 2>&1
}

# The longest first. They are told in another order: as they are listed last.
tail_count=1e8
[ -z "$full" ] || tail_count=5e10
batteries=$("$tmp/float" list | cut -f 1)
if has dieharder; then
    for name in $judged; do echo "dieharder_on $name"; done
fi >"$tmp/jobs"
for name in float double wide shared; do echo "normals $name"; done >>"$tmp/jobs"
for name in $batteries; do echo "battery $name"; done >>"$tmp/jobs"
two_at_a_time "$tmp/jobs" quality_one "$tmp"

{ grep '^battery' "$tmp/jobs"; grep '^normals' "$tmp/jobs"; grep '^dieharder' "$tmp/jobs"; } >"$tmp/order"
passed=0 failed=0
while read -r name which; do
    report=$tmp/report.$name.$which
    grep -v '^[0-9]* passed, ' "$report"
    line=$(grep '^[0-9]* passed, ' "$report") || line='0 passed, 1 failed'
    line_failed=${line#*, }
    passed=$((passed + ${line%% *})) failed=$((failed + ${line_failed%% *}))
done <"$tmp/order"
has dieharder || echo "skip: random_quality: no dieharder"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
