#!/bin/sh
# The lessons of examples/lessons: each compiles under the strict flags, is short, runs, draws a
# figure, and the change that it proposes really gives the answer that it states.
#
#   sh tests/lessons.sh

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
lessons=$(dirname -- "$tests")/examples/lessons
. "$tests/jobs.sh"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-lessons.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/results"
has xmllint || echo 'skip: lessons: no xmllint (libxml2-utils): figures are not checked'

# good NAME: counts a check that has passed; bad NAME WHY: one that has failed.
good() { echo "good $1" >>"$tmp/results"; }
bad() { echo "bad $1: $2" >>"$tmp/results"; }
verdict() { if [ "$2" = 0 ]; then good "$1"; else bad "$1" "$3"; fi; }

# part FIELD FILE: what the closing comment says after FIELD.
part() { sed -n "s/^[ /]\* $1 *: //p" "$2"; }

strict='-std=c99 -pedantic -Wall -Wextra -Wconversion -Wshadow -Werror'

# The header compiled once: all lessons are checked as they are, but only the first is built so.
printf '#define TWOSTEP_IMPLEMENTATION\n#include "%s/../../twostep.h"\n' "$lessons" >"$tmp/header.c"
${CC:-cc} -std=c99 -O2 -c -o "$tmp/header.o" "$tmp/header.c" || exit 1

# build SOURCE PROGRAM: a lesson with the header that is compiled already.
build() {
    sed -e '/define TWOSTEP_IMPLEMENTATION/d' -e "s|\"\\.\\./|\"$lessons/../|" "$1" >"$2.c"
    ${CC:-cc} $strict -O1 -o "$2" "$2.c" "$tmp/header.o" -lm -pthread
}

# lesson NUMBER NAME: all checks of one lesson, in a folder of its own.
lesson() {
    name=$2 file=$lessons/$2.c folder=$tmp/$2
    mkdir "$folder"
    lines=$(wc -l <"$file")
    test "$lines" -le 80
    verdict "$name is short" $? "$lines lines, 80 are allowed"
    awk 'length($0) > 130 { long = 1 } END { exit long }' "$file"
    verdict "$name has short lines" $? 'a line is longer than 130'
    part Question "$file" | grep -q '?'
    verdict "$name ends with a question" $? 'no line `Question: ...?`'

    if [ "$1" = 1 ]; then
        ${CC:-cc} $strict -O1 -o "$folder/run" "$file" -lm -pthread
    else
        ${CC:-cc} $strict -fsyntax-only "$file" && build "$file" "$folder/run"
    fi >"$folder/log" 2>&1
    verdict "$name compiles" $? "$(head -n 3 "$folder/log")"
    (cd "$folder" && limited 120 ./run >before 2>&1)
    verdict "$name runs" $? "exit status other than 0: $(tail -n 2 "$folder/before")"
    test "$(wc -l <"$folder/before")" -ge 4
    verdict "$name prints a table" $? 'fewer than 4 lines'
    ! grep -qiw -e nan -e inf "$folder/before"
    verdict "$name prints numbers" $? 'NaN or infinity'
    test -s "$folder/$name.svg"
    verdict "$name draws $name.svg" $? 'no such file, or empty'
    if has xmllint; then
        xmllint --noout "$folder/$name.svg" >"$folder/log" 2>&1
        verdict "$name draws well-formed XML" $? "$(head -n 2 "$folder/log")"
    fi
    ! grep -qiw -e nan -e inf "$folder/$name.svg"
    verdict "$name draws numbers" $? 'NaN or infinity in the figure'
    test -s "$lessons/$name.svg"
    verdict "$name has its figure in the handout" $? 'no committed figure'

    # A figure that cannot be written is told.
    mkdir -p "$folder/taken/$name.svg"
    (cd "$folder/taken" && limited 120 ../run >../table 2>../said)
    test $? = 1 && cmp -s "$folder/before" "$folder/table" && test "$(wc -l <"$folder/said")" = 1 &&
        grep -q "^cannot write '$name.svg': " "$folder/said"
    verdict "$name tells of a figure it cannot write" $? "it says: $(head -n 2 "$folder/said")"

    # The one-line change, and what it should print.
    change=$(part Change "$file") expected=$(part Then "$file")
    old=${change%% -> *} new=${change#* -> }
    awk -v old="$old" -v new="$new" '!done && (at = index($0, old)) {
        $0 = substr($0, 1, at - 1) new substr($0, at + length(old)); done = 1 } { print }
        END { exit !done }' "$file" >"$folder/changed.c"
    verdict "$name: its line can be changed" $? "no line has \`$old\`"
    test "$(diff "$file" "$folder/changed.c" | grep -c '^>')" = 1
    verdict "$name: one line is changed" $? "$change"
    mv "$folder/changed.c" "$folder/change.c"
    build "$folder/change.c" "$folder/changed" >"$folder/log" 2>&1
    verdict "$name compiles changed" $? "$(head -n 3 "$folder/log")"
    (cd "$folder" && limited 120 ./changed >after 2>&1)
    grep -qxF -e "$expected" "$folder/after"
    verdict "$name: the stated answer comes out" $? "\`$expected\` is not in: $(tail -n 3 "$folder/after")"
    ! grep -qxF -e "$expected" "$folder/before"
    verdict "$name: and not without the change" $? "\`$expected\`"
}

for file in "$lessons"/[0-9]*.c; do basename "$file" .c; done >"$tmp/list"
test "$(wc -l <"$tmp/list")" = 8
verdict 'there are eight lessons' $? "$(wc -l <"$tmp/list")"
two_at_a_time "$tmp/list" lesson "$tmp"
sed -n 's/^bad /failed: /p' "$tmp/results"
echo "$(grep -c '^good ' "$tmp/results") passed, $(grep -c '^bad ' "$tmp/results") failed"
! grep -q '^bad ' "$tmp/results"
