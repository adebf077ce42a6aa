#!/bin/sh
# Are the random numbers random?   sh tests/random_quality.sh [-f] [-d SEQUENCES]
#
#   -f            the full run, two hours and more: every test at fifty times the size, and
#                 all tests of dieharder
#   -d SEQUENCES  those that dieharder sees, by default "forward rows starts"
#
# Three parts: our own battery on the words of random_quality.c (one stream, its bits reversed,
# neighbouring rows, seeds and batches taken in turn, and the beginnings of many rows), which must
# also reject four generators that are known to be bad; the law and the independence of the
# normals, which must also reject spoiled ones; dieharder (R. G. Brown; Debian package dieharder),
# an independent judge: it fails where dieharder says FAILED, and reports what it calls WEAK, which
# a good generator is in one of a hundred tests.
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
passed=0 failed=0
count() { passed=$((passed + $1)) failed=$((failed + $2)); }
${CC:-cc} -std=c99 -O2 -I"$root" -o "$tmp/quality" "$tests/random_quality.c" -lm || { echo '0 passed, 1 failed'; exit 1; }

# part COMMAND...: prints what it says, adds up its last line
part() {
    "$@" >"$tmp/out" 2>&1
    grep -v '^[0-9]* passed' "$tmp/out"
    line=$(grep '^[0-9]* passed' "$tmp/out") || line='0 passed, 1 failed'
    line_failed=${line#*, }
    count "${line%% *}" "${line_failed%% *}"
}
# reject WHAT COMMAND...: at least one test must fail
reject() {
    reject_name=$1
    shift
    if "$@" >"$tmp/out" 2>&1 || ! grep -q FAILED "$tmp/out"; then
        echo "$reject_name: NOT REJECTED"
        count 0 1
    else
        echo "$reject_name: rejected by $(grep -c FAILED "$tmp/out") tests"
        count 1 0
    fi
}

"$tmp/quality" list >"$tmp/list"
while IFS="$(printf '\t')" read -r name about; do
    case $name in
    bad-*) reject "battery: $name ($about)" "$tmp/quality" battery "$name" 1 </dev/null ;;
    *) echo "battery: $name ($about), size $size"; part "$tmp/quality" battery "$name" "$size" </dev/null ;;
    esac
done <"$tmp/list"
tail_count=1e8
[ -z "$full" ] || tail_count=5e10
for real in float double; do
    flag=
    [ $real = float ] || flag=-DTWOSTEP_DOUBLE
    ${CC:-cc} -std=c99 -O2 $flag -I"$root" -o "$tmp/$real" "$tests/random_quality.c" -lm || { count 0 1; continue; }
    echo "normals: $real, 1e7 of them"
    part "$tmp/$real" normals 1e7 $tail_count
done
reject 'normals: 0.2 % too wide' "$tmp/quality" normals-wide 1e7 1e6
reject 'normals: neighbouring rows share 4 %' "$tmp/quality" normals-shared 1e7 1e6

if has dieharder; then
    for name in $judged; do
        if [ -n "$full" ]; then set -- -a; else set --; fi
        echo "dieharder: $name"
        if [ -n "$full" ]; then
            "$tmp/quality" words "$name" | dieharder -a -g 200 -k 2 -Y 1 >"$tmp/out" 2>&1
        else
            for d in 0 1 3 8 15 16 100; do
                "$tmp/quality" words "$name" | dieharder -d $d -g 200 -p 25 -Y 1
            done >"$tmp/out" 2>&1
        fi
        grep -E 'PASSED|WEAK|FAILED' "$tmp/out" | { [ -n "$full" ] && cat || grep -v PASSED; }
        bad=$(grep -c FAILED "$tmp/out") good=$(grep -cE 'PASSED|WEAK' "$tmp/out")
        [ "$good" -gt 0 ] || bad=$((bad + 1))
        count "$good" "$bad"
        echo "  $good of $((good + bad)) passed, of which $(grep -c WEAK "$tmp/out") weak"
    done
else
    echo "skip: random_quality: no dieharder"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
