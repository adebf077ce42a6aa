#!/bin/sh
# The figures of examples/plot.h: written for ordinary, degenerate and hostile data by figures.c,
# read by xmllint, and checked by figures.py, which measures where texts and marks stand.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
. "$tests/jobs.sh"
CC=${CC:-cc}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-figures.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
check() { # STATUS WHAT
    if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "failed: $2"; fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
    exit
}

sanitize=
echo 'int main(void) { return 0; }' >"$tmp/empty.c"
for flags in "-fsanitize=address,undefined -fno-sanitize-recover=all" "-fsanitize=undefined"; do
    [ -n "$sanitize" ] || { $CC $flags -o "$tmp/empty" "$tmp/empty.c" && "$tmp/empty"; } 2>/dev/null && sanitize=$flags
done
$CC -std=c99 -O1 $sanitize -I"$tests/../examples" -I"$tests" -o "$tmp/figures" "$tests/figures.c" -lm
check $? "figures.c compiles"
[ "$failed" -eq 0 ] || finish
(cd "$tmp" && ./figures) >"$tmp/out" 2>&1
check $? "figures.c runs: $(tail -n 3 "$tmp/out")"
# in a locale with a decimal comma, if there is one, every byte is the same
mkdir "$tmp/comma"
(cd "$tmp/comma" && ../figures comma) >"$tmp/out" 2>&1
check $? "figures.c runs with a decimal comma: $(tail -n 3 "$tmp/out")"
for file in "$tmp"/*.svg "$tmp"/*.txt; do
    cmp -s "$file" "$tmp/comma/$(basename "$file")"
    check $? "$(basename "$file"): the locale shows"
done
if has xmllint; then
    for file in "$tmp"/*.svg "$tests"/../examples/figures/*.svg; do
        xmllint --noout "$file" >"$tmp/out" 2>&1
        check $? "xmllint $(basename "$file"): $(head -n 2 "$tmp/out")"
    done
else
    echo "skip: figures-xmllint: no xmllint"
fi
if has python3; then
    python3 "$tests/figures.py" "$tmp" "$tests/../examples/figures" >"$tmp/out" 2>&1
    check $? "figures.py: $(tail -n 5 "$tmp/out")"
    grep '^failed' "$tmp/out"
    counts=$(tail -n 1 "$tmp/out")
    passed=$((passed + ${counts%% *}))
else
    echo "skip: figures-boxes: no python3"
fi
finish
