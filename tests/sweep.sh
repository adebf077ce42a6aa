#!/bin/sh
# The commands `twostep sweep` and `twostep plot`: the same bytes however a sweep is cut into
# threads, shards and interrupted runs; cells equal to `twostep run`; what is refused. Ends with
# `N passed, N failed`.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-sweep.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
ok() { passed=$((passed + 1)); }
no() { failed=$((failed + 1)); echo "sweep.sh: $*"; }
check() { if [ "$1" -eq 0 ]; then ok; else shift; no "$*"; fi; }
same() { cmp -s "$1" "$2"; check $? "$3: $1 and $2 differ"; }

mkdir "$tmp/examples" && cp "$root/twostep.h" "$tmp" && cp "$(dirname -- "$tests")"/examples/*.[ch] "$tmp/examples"
(cd "$tmp" && ${CC:-cc} -O2 -o twostep examples/twostep.c -lm) || { echo '0 passed, 1 failed'; exit 1; }
cd "$tmp" || exit 2
model='--neurons 170 --inputs 150 --samples 300 --scale2 3 --target step4 --top 5'
grid='--alpha1 0:0.45:4 --alpha2 0.1:0.48:3 --seed 7 --seeds 3'
sweep="./twostep sweep $model $grid --no-theory --quiet"

# ---- one run; threads; standard output; numbers ----

$sweep --out whole.csv || no "a sweep fails"
[ "$(wc -l <whole.csv)" -eq 38 ]; check $? "not 2 + 36 lines: $(wc -l <whole.csv)"
head -n 1 whole.csv | grep -q '^# twostep .* sweep --neurons 170 .*--seed 7 --seeds 3 --top 5 --kernel [a-z0-9]* --no-theory$'
check $? "the first line: $(head -n 1 whole.csv)"
[ "$(sed -n 2p whole.csv)" = alpha1,alpha2,seed,outliers,predicted_outliers,limit_outliers,s1,s2,s3,s4,s5,align1,align2,align3,align4,align5,captured ]
check $? "the names: $(sed -n 2p whole.csv)"
awk -F, 'NR > 2 { n = 0; for (k = 7; k <= 11; k++) n += $k != ""; m = 0; for (k = 12; k <= 16; k++) m += $k != "";
    if (NF != 17 || n != $4 || m != $4 || $17 < 0 || $17 > 1 || (n > 1 && $7 + 0 < $8 + 0)) bad = 1; seen += n
    if ($6 != 1 + int($2 / (0.5 - $1) + 1e-9)) bad = 1 }
    END { exit bad || seen < 40 }' whole.csv
check $? "a row contradicts itself"
for threads in 1 2 7; do
    $sweep --threads $threads >threads.csv
    same whole.csv threads.csv "with $threads threads, to standard output"
done

# To name the kernel that AUTO takes changes no byte, also where AUTO takes another one for small products.
tiny='--neurons 40 --inputs 40 --samples 80 --alpha1 0:0.4:2 --alpha2 0:0.4:2 --threads 1 --quiet'
./twostep sweep $tiny --out tiny.csv
fastest=$(head -n 1 tiny.csv | sed 's/.* --kernel //')
./twostep sweep $tiny --kernel "$fastest" --out named.csv
same tiny.csv named.csv "with --kernel $fastest"
head -n 4 tiny.csv >begun.csv
./twostep sweep --merge begun.csv --resume --out begun-merged.csv --quiet
same tiny.csv begun-merged.csv "a merged part, resumed"

# A file of a kernel that this machine lacks is shown and merged, but not gone on with.
sed '1s/--kernel [a-z0-9]*/--kernel wasm/' tiny.csv >foreign.csv
head -n 5 foreign.csv >foreign-part.csv
./twostep plot foreign.csv --svg foreign.svg && ./twostep plot tiny.csv --svg tiny.svg
same tiny.svg foreign.svg "the figure of a foreign kernel"
./twostep sweep --merge foreign-part.csv foreign.csv --quiet >foreign-merged.csv
same foreign.csv foreign-merged.csv "merging files of a foreign kernel"
./twostep sweep --merge foreign-part.csv --resume --out never.csv 2>err
[ $? -eq 2 ] && grep -q "kernel is 'wasm', this machine" err && [ ! -e never.csv ]
check $? "resuming with a foreign kernel: $(cat err)"

# ---- shards and merging ----

for i in 1 2 3 4 5; do $sweep --shard $i/5 --out part$i.csv || no "shard $i of 5 fails"; done
./twostep sweep --merge part4.csv part1.csv part5.csv part3.csv part2.csv --out merged.csv --quiet
same whole.csv merged.csv "5 shards"
./twostep sweep --quiet --merge part1.csv part2.csv part3.csv part4.csv part5.csv part2.csv merged.csv >merged2.csv
same whole.csv merged2.csv "shards twice, to standard output"
$sweep --shard 12/100 --out empty.csv
[ "$(wc -l <empty.csv)" -eq 2 ]; check $? "a shard of nothing has rows"

# ---- interrupted runs ----

size=$(wc -c <whole.csv) at=0
while [ "$at" -lt "$size" ]; do
    head -c "$at" whole.csv >cut.csv
    $sweep --resume --out cut.csv
    if cmp -s whole.csv cut.csv; then ok; else no "cut after $at bytes, then --resume: other bytes"; fi
    at=$((at + 97 + size / 11))
done
for lost in 3 20; do # a file with a hole: computed, and put in order again
    sed "${lost}d" whole.csv >hole.csv
    $sweep --resume --out hole.csv
    same whole.csv hole.csv "line $lost lost"
done
{ cat part2.csv; printf '0,0.29,7,1,,1,2.5\n'; } >torn.csv
cp part2.csv nul.csv && printf '\0\0\0\0\0\0' >>nul.csv
for file in torn nul; do
    $sweep --resume --out $file.csv
    check $? "$file.csv is not resumed"
    same whole.csv $file.csv "a torn last row"
done
$sweep --resume --out new.csv
same whole.csv new.csv "--resume without a file"
cp whole.csv done.csv && $sweep --resume --out done.csv
same whole.csv done.csv "--resume of what is complete"

# Killed at any moment, again and again: no finished row is lost.
slow="./twostep sweep --neurons 300 --inputs 300 --samples 900 --top 3 --alpha1 0:0.48:40 --alpha2 0:0.48:4 --no-theory --quiet"
$slow --out slow.csv
kills=0 round=0
while [ $round -lt 12 ]; do
    round=$((round + 1))
    before=0; [ ! -f killed.csv ] || before=$(wc -l <killed.csv)
    $slow --resume --out killed.csv 2>/dev/null &
    job=$!
    sleep "0.0$((round % 5 + 2))"
    kill -9 $job 2>/dev/null && kills=$((kills + 1))
    wait $job 2>/dev/null
    after=0; [ ! -f killed.csv ] || after=$(wc -l <killed.csv)
    [ "$after" -ge "$before" ] || no "rows are lost: $before, then $after lines"
    head -n "$after" slow.csv >begun.csv
    head -n "$after" killed.csv 2>/dev/null | cmp -s - begun.csv || no "a killed run wrote other rows"
done
$slow --resume --out killed.csv
same slow.csv killed.csv "killed $kills times"
[ $kills -gt 3 ]; check $? "only $kills of 12 runs were killed under way"

# ---- cells are those of `run` ----

cells='--alpha1 0.2:0.47:3 --alpha2 0.1:0.48:3'
./twostep sweep $model $cells --seed 3 --out cells.csv --json cells.json --quiet
tail -n +3 cells.csv | while IFS=, read -r a1 a2 seed rest; do
    ./twostep run $model --alpha1 "$a1" --alpha2 "$a2" --seed "$seed" --json - | tr -d '\n' |
        awk -v row="$rest" 'BEGIN { split(row, f, ",") }
        function list(name, text) { match(text, "\"" name "\": \\[[^]]*"); return substr(text, RSTART + length(name) + 5, RLENGTH - length(name) - 5) }
        function number(name, text) { match(text, "\"" name "\": [^,} ]*"); return substr(text, RSTART + length(name) + 4, RLENGTH - length(name) - 4) + 0 }
        { n = split($0, part, "\"measured\""); m = split(part[2], step, "\"step\""); text = step[4]
          p = split($0, foreseen, "\"predicted\""); split(foreseen[2], q, "\"step\"")
          outliers = number("outliers", text)
          if (outliers != f[1] || number("outliers", q[3]) != f[2]) bad = 1
          split(list("singular_values", text), s, ", "); split(list("alignments", text), v, ", ")
          for (k = 1; k <= outliers; k++) {
              if ((f[3 + k] - s[k]) ^ 2 > 1e-10 * s[1] ^ 2 || (f[8 + k] - v[k]) ^ 2 > 1e-8) bad = 1
          }
          if (outliers == 0 || (number("captured", text) - f[14]) ^ 2 > 1e-8) bad = outliers > 0 || bad
          exit bad + 0 }' || echo "$a1 $a2"
done >unequal
[ ! -s unequal ]; check $? "cells unlike run: $(tr '\n' ';' <unequal)"
[ "$(awk -F, 'NR > 2 && $4 > 1' cells.csv | wc -l)" -gt 1 ]; check $? "no cell has two outliers"
grep -c '"alpha1"' cells.json >/dev/null; check $? "no JSON"
if command -v python3 >/dev/null; then
    python3 - <<'END'
import json
d = json.load(open('cells.json'))
rows = [line.split(',') for line in open('cells.csv').read().split('\n')[2:-1]]
assert d['command'] == 'sweep' and d['alpha2'] == [0.1, 0.29, 0.48] and len(d['cells']) == len(rows) == 9
for cell, row in zip(d['cells'], rows):
    assert [cell['alpha1'], cell['alpha2'], cell['outliers'], cell['predicted_outliers']] == [float(row[0]), float(row[1]), int(row[3]), int(row[4])]
    assert cell['singular_values'] == [float(x) for x in row[6:11] if x] and cell['captured'] == float(row[-1])
END
    check $? "the JSON is not that of the CSV"
fi

# ---- one cell; figures; the table ----

./twostep sweep $model --alpha1 0.3 --alpha2 0.4:0.4:1 --no-theory >one.csv
[ "$(wc -l <one.csv)" -eq 3 ]; check $? "a grid of one cell"
./twostep sweep $model --alpha1 0.3 --alpha2 0.3:0.4:2 --out a.csv --svg a.svg --no-theory >table
grep -q 'outliers of W2' table; check $? "no table"
grep -q '</svg>' a.svg; check $? "no figure"
./twostep plot a.csv --svg b.svg; same a.svg b.svg "plot of the file"
./twostep plot a.csv >c.svg; same a.svg c.svg "plot to standard output"
./twostep plot part2.csv --svg part.svg; check $? "no figure of a part"
$sweep --shard 1/9 --progress --out p.csv 2>progress
grep -q ' of 3 cells, .* a second, .* in all' progress; check $? "progress: $(cat progress)"
$sweep --shard 1/9 --out q.csv 2>progress
[ ! -s progress ]; check $? "progress without a terminal: $(cat progress)"

# ---- refusals: the files stay as they are ----

# refuse STATUS WORD ARGUMENTS...
refuse() {
    refuse_status=$1 refuse_word=$2
    shift 2
    ./twostep "$@" >out 2>err
    got=$?
    if [ $got -ne "$refuse_status" ]; then no "twostep $*: status $got, not $refuse_status"
    elif [ "$(wc -l <err)" -ne 1 ] || ! grep -q -e "$refuse_word" err; then no "twostep $*: no '$refuse_word' in: $(cat err)"
    elif [ -s out ]; then no "twostep $*: printed to standard output"
    else ok
    fi
}
cp whole.csv kept.csv
refuse 2 "is there already: add --resume" sweep $model $grid --no-theory --out whole.csv
refuse 2 "was made with --noise 0, here it is 0.1" sweep $model $grid --no-theory --noise 0.1 --resume --out whole.csv
refuse 2 "was made with --seeds 3, here it is 4" sweep $model --alpha1 0:0.45:4 --alpha2 0.1:0.48:3 --seed 7 --seeds 4 --no-theory --resume --out whole.csv
refuse 2 "was made with --alpha2 0.1:0.48:3, here it is 0.1:0.48:4" sweep $model --alpha1 0:0.45:4 --alpha2 0.1:0.48:4 --seed 7 --seeds 3 --no-theory --resume --out whole.csv
refuse 2 "was made with --kernel .* here it is plain" sweep $model $grid --no-theory --kernel plain --resume --out whole.csv
same whole.csv kept.csv "after refusals"
sed '1s/^\(# twostep [0-9.]*\) /\1 double /' whole.csv >double.csv
refuse 2 "was made with numbers of double, this build has float" plot double.csv
awk '{ printf "%s\r\n", $0 }' whole.csv >windows.csv
refuse 2 "has line ends of CR LF" plot windows.csv
refuse 2 "has line ends of CR LF" sweep $model $grid --no-theory --resume --out windows.csv
for change in '4s/^\([^,]*,[^,]*,\)\([0-9]*\),/\10\2,/' '4s/^\([^,]*,[^,]*,[^,]*,\)\([0-9]*\),/\1+\2,/' \
    '4s/^\([^,]*,[^,]*,[^,]*,\)\([0-9]*\),/\1\2.,/' '4s/^\([^,]*,[^,]*,[^,]*,\)\([0-9]*\),/\1.5,/' \
    '4s/^\([^,]*,[^,]*,[^,]*,\)\([0-9]*\),/\10\2,/' '4s/,[0-9.]*$/,.5/' '4s/,[0-9.]*$/,1e/'; do
    sed "$change" whole.csv >number.csv
    if cmp -s whole.csv number.csv; then no "no change by $change"; fi
    refuse 1 "line 4 of 'number.csv' is not a row" sweep --merge number.csv --json number.json --out number-merged.csv
    [ ! -e number.json ]; check $? "JSON of $(sed -n 4p number.csv)"
done
{ head -n 4 whole.csv; printf 'x\033[2J\n'; tail -n 3 whole.csv; } >escape.csv
./twostep plot escape.csv >out 2>err; LC_ALL=C grep -q "$(printf '\033')" err; check $((!$?)) "control characters are repeated: $(cat -v err)"
echo hello >hello.txt
refuse 2 "was not made by" sweep $model $grid --resume --out hello.txt
[ "$(cat hello.txt)" = hello ]; check $? "a foreign file was changed"
sed '5s/^/x/' whole.csv >bad.csv
refuse 1 "line 5 of 'bad.csv' is not a row" sweep $model $grid --no-theory --resume --out bad.csv
refuse 1 "in none of the files" sweep --merge part1.csv part2.csv
refuse 2 "both must be the same sweep" sweep --merge whole.csv one.csv
sed '5s/,[0-9.]*$/,0.125/' whole.csv >other.csv
refuse 1 "another row" sweep --merge whole.csv other.csv
refuse 2 "does not go with --merge" sweep --noise 1 --merge whole.csv
refuse 1 "cannot read 'none.csv'" sweep --merge none.csv
refuse 2 "is no file of 'twostep sweep'" sweep --merge hello.txt
refuse 2 "needs a value" sweep --merge
refuse 2 "needs --out FILE" sweep --resume
refuse 2 "alpha1 is '0:0.5:3', it must be LO:HI:COUNT" sweep --alpha1 0:0.5:3
refuse 2 "alpha1 is '0.4:0.3:3'" sweep --alpha1 0.4:0.3:3
refuse 2 "alpha1 is '0:0.4'" sweep --alpha1 0:0.4
refuse 2 "alpha1 is '0:0.4:3:1'" sweep --alpha1 0:0.4:3:1
refuse 2 "alpha2 is '0:0.4:1'" sweep --alpha2 0:0.4:1
refuse 2 "alpha2 is '0:0.4:2.5'" sweep --alpha2 0:0.4:2.5
refuse 2 "alpha2 is '0:0.4:9999'" sweep --alpha2 0:0.4:9999
refuse 2 "alpha2 is '0.3:0.3:2'" sweep --alpha2 0.3:0.3:2
refuse 2 "seeds is '0'" sweep --seeds 0
refuse 2 "must stay below 2^64" sweep --seed 18446744073709551615 --seeds 2
refuse 2 "cells, they may make at most" sweep --alpha1 0:0.4:1000 --alpha2 0:0.4:1000 --seeds 11
refuse 2 "shard is '0/3'" sweep --shard 0/3
refuse 2 "shard is '4/3'" sweep --shard 4/3
refuse 2 "shard is '1'" sweep --shard 1
refuse 2 "shard is '1/2/3'" sweep --shard 1/2/3
refuse 2 "does not apply to 'run'" run --seeds 3
refuse 2 "plot needs a file" plot
refuse 1 "cannot read" plot none.csv
refuse 1 "cannot write 'none/x.csv'" sweep --out none/x.csv
mkdir folder
refuse 1 "cannot write 'folder'" sweep --out folder
if [ -e /dev/full ]; then
    ./twostep sweep $model --alpha1 0.3 --alpha2 0.3 --no-theory --out /dev/full 2>err
    [ $? -eq 1 ] && grep -q "cannot write '/dev/full'" err; check $? "a full disk: $(cat err)"
fi
# two runs at once on one file
$slow --out busy.csv &
job=$!
sleep 0.2
if kill -0 $job 2>/dev/null; then
    $slow --resume --out busy.csv 2>err
    got=$?
    if kill -0 $job 2>/dev/null; then
        [ $got -eq 1 ] && grep -q 'is being written by another run' err; check $? "two runs on one file: status $got, $(cat err)"
    fi
fi
wait $job
same slow.csv busy.csv "two runs at once"

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
