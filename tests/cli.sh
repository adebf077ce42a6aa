#!/bin/sh
# The command examples/twostep.c: what it prints, what it refuses, the same numbers for any number
# of threads. Ends with `N passed, N failed`.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-cli.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
ok() { passed=$((passed + 1)); }
no() { failed=$((failed + 1)); echo "cli.sh: $*"; }
check() { if [ "$1" -eq 0 ]; then ok; else shift; no "$*"; fi; }

# The very command of the README: no other flag.
mkdir "$tmp/examples" && cp "$root/twostep.h" "$tmp" && cp "$(dirname -- "$tests")"/examples/*.[ch] "$tmp/examples"
(cd "$tmp" && ${CC:-cc} -O2 -o twostep examples/twostep.c -lm) || { echo '0 passed, 1 failed'; exit 1; }
cd "$tmp" || exit 2
small='--neurons 60 --inputs 50 --samples 90 --top 3'

# ---- refusals: status 2 (1 for failures), one sentence, no file left ----

# refuse STATUS WORD ARGUMENTS...: the sentence must contain WORD
refuse() {
    refuse_status=$1 refuse_word=$2
    shift 2
    ./twostep "$@" --json out.json >out 2>err
    got=$?
    lines=$(wc -l <err)
    if [ "$got" -ne "$refuse_status" ]; then no "twostep $*: status $got, not $refuse_status"
    elif [ "$lines" -ne 1 ]; then no "twostep $*: $lines lines on standard error"; cat err
    elif ! grep -q -e "$refuse_word" err; then no "twostep $*: no '$refuse_word' in: $(cat err)"
    elif [ -s out ]; then no "twostep $*: printed to standard output"
    elif [ -e out.json ] || ls out.json.partial* >/dev/null 2>&1; then no "twostep $*: left a file"; rm -f out.json*
    else ok
    fi
}
refuse 2 "unknown command 'rnu', did you mean 'run'" rnu
refuse 2 "unknown command 'frobnicate'" frobnicate
refuse 2 "unknown option '--neuron', did you mean '--neurons'" run --neuron 10
refuse 2 "unknown option '--xyzzy-plugh'" run --xyzzy-plugh 10
refuse 2 "unexpected argument '10'" run 10
refuse 2 "unknown option '-n'" run -n 10
refuse 2 "neurons is '0', it must be a whole number from 2" run --neurons 0
refuse 2 "neurons is '1'" run --neurons 1
refuse 2 "neurons is '-5'" run --neurons -5
refuse 2 "neurons is '10.5'" run --neurons 10.5
refuse 2 "neurons is 'ten'" run --neurons ten
refuse 2 "neurons is '1e99'" run --neurons 1e99
refuse 2 "neurons is '1e99999'" run --neurons 1e99999
refuse 2 "neurons is '0x20'" run --neurons 0x20
refuse 2 "neurons is ''" run --neurons ''
refuse 2 "neurons is '64 '" run --neurons '64 '
refuse 2 "neurons is 1e+12, it must be a whole number from 2 to 2147483648" run --neurons 1e12
refuse 2 "neurons is '64abc'" run --neurons=64abc
refuse 2 "inputs is '1'" run --inputs 1
refuse 2 "samples is 'nan'" run --samples nan
refuse 2 "samples is 'inf'" run --samples inf
refuse 2 "alpha1 is '0.5', it must be a number at least 0 and below 0.5" run --alpha1 0.5
refuse 2 "alpha1 is '-0.1'" run --alpha1 -0.1
refuse 2 "alpha2 is '0.6'" run --alpha2=0.6
refuse 2 "alpha2 is 'nan'" run --alpha2 nan
refuse 2 "scale1 is '0', it must be a number from 1e-300 to 1e6" run --scale1 0
refuse 2 "scale1 is '1e-310'" run --scale1 1e-310
refuse 2 "scale1 is '1e9'" run --scale1 1e9
refuse 2 "scale2 is '-1'" run --scale2 -1
refuse 2 "scale2 is 'inf'" run --scale2 inf
refuse 2 "activation is 'tanhh', it must be tanh, shifted-tanh" run --activation tanhh
refuse 2 "activation is 'hermite:'" run --activation hermite:
refuse 2 "activation is 'hermite:1,x'" run --activation hermite:1,x
refuse 2 "activation is 'hermite:0,1,2,3,4,5,6,7,8,9'" run --activation hermite:0,1,2,3,4,5,6,7,8,9
refuse 2 "activation is ''" run --activation ''
refuse 2 "target is 'he5', it must be linear" run --target he5
refuse 2 "target is 'hermite:1,'" run --target hermite:1,
refuse 2 "noise is '-0.1'" run --noise -0.1
refuse 2 "noise is '1e7'" run --noise 1e7
refuse 2 "batches is 'both', it must be fresh or reuse" run --batches both
refuse 2 "batches does not apply to 'compare'" compare --batches fresh
refuse 2 "init is 'zeros', it must be sphere or gaussian" run --init zeros
refuse 2 "output-scale is '-1', it must be a number from 0 to 1e6, mean-field or correlation" run --output-scale -1
refuse 2 "output-scale is 'x'" run --output-scale x
refuse 2 "seed is '-1'" run --seed -1
refuse 2 "seed is '18446744073709551616'" run --seed 18446744073709551616
refuse 2 "seed is '1.5'" run --seed 1.5
refuse 2 "seed is ''" run --seed=
refuse 2 "top is '0'" run --top 0
refuse 2 "top is '65'" run --top 65
refuse 2 "top is 10, it must be from 1 to min(64, neurons, inputs) = 8" run --neurons 8 --top 10
refuse 2 "^twostep: --target directions is 3, it must be from 1 to inputs" run --target product3 --inputs 2 --neurons 2 --samples 5 --top 1
refuse 2 "activation is 'hermite:0,1e30', it must be .*|c| <= 1e20" run --activation hermite:0,1e30
refuse 2 "target is 'hermite:0,1e30', it must be .*|c| <= 1e20" run --target hermite:0,1e30
refuse 2 "activation has 603 letters, it may have at most 511" run --activation "hermite:0.$(printf %0593d 1)"
refuse 2 "scale1 is '1e-300', it must be a number from 1e-100 to 1e6" theory --scale1 1e-300
refuse 2 "scale2 is '1e-101', it must be a number from 1e-100 to 1e6" theory --scale2 1e-101
refuse 2 "seeds is 2, --seed and the following ones must stay below 2^64" risk --seed 18446744073709551615 --seeds 2 --neurons 20
refuse 2 "seeds is 4, --seed" risk --seed 18446744073709551613
refuse 2 "seeds is 2, --seed" scale --seed 18446744073709551615 --seeds 2
refuse 2 "neurons is '16:17:3', it must be LO:HI:COUNT with .* all sizes different" scale --neurons 16:17:3 --seeds 1
refuse 2 "neurons is '16:32:100', it must be .* COUNT from 2 to 64" scale --neurons 16:32:100
refuse 2 "neurons is '16.5:32:2', it must be" scale --neurons 16.5:32:2
refuse 2 "inputs is 1e+09 and grows with N to 6.25e+13 at N = 1000000" scale --neurons 16:1e6:2 --inputs 1e9
refuse 2 "threads is '-1'" run --threads -1
refuse 2 "threads is '65'" run --threads 65
refuse 2 "memory-budget is '8GB'" run --memory-budget 8GB
refuse 2 "memory-budget is '-1'" run --memory-budget -1
refuse 2 "memory-budget is '1KiBx'" run --memory-budget 1KiBx
refuse 2 "must be at least 113MiB for these sizes" run --memory-budget 100MiB
refuse 2 "does not apply to 'theory'" theory --memory-budget 1GiB
refuse 2 "kernel is 'sse9'" run --kernel sse9
refuse 2 "kernel is 'wasm', this machine" run --kernel wasm
refuse 2 "quiet takes no value" run --quiet=yes
refuse 2 "seed does not apply to 'theory'" theory --seed 3
refuse 2 "inputs is '1e16'" theory --inputs 1e16
refuse 1 "no memory for the weights" run --neurons 1e6 --inputs 1e6 --samples 1e6 --quiet

./twostep run $small --json >out 2>err; got=$?
[ $got -eq 2 ] && grep -q 'json needs a value' err; check $? "an option without its value: $got $(cat err)"
./twostep run $small --quiet --json no/such/folder/x.json >out 2>err; got=$?
[ $got -eq 1 ] && grep -q "cannot write 'no/such/folder/x.json'" err; check $? "unwritable file: $got $(cat err)"
mkdir folder
for name in folder folder/; do
    # noticed before the work, which would fail for another reason
    ./twostep run --neurons 1e6 --inputs 1e6 --samples 1e6 --quiet --json $name >out 2>err; got=$?
    [ $got -eq 1 ] && grep -q "cannot write '$name'" err; check $? "a folder in the file's place: $got $(cat err)"
done
ln -s real.json link.json; echo old >real.json; echo mine >link.json.partial0
./twostep run $small --quiet --json link.json && [ -L link.json ] && grep -q '"command"' real.json; check $? "a link is replaced, or its file left stale"
[ "$(cat link.json.partial0)" = mine ]; check $? "another file was taken for our own"
if mkfifo pipe.json 2>/dev/null; then
    cat pipe.json >piped & ./twostep run $small --quiet --json pipe.json; got=$?; wait
    [ $got -eq 0 ] && [ -p pipe.json ] && grep -q '"command"' piped; check $? "a pipe is written to, not replaced"
fi
if mknod null.json c 1 3 2>/dev/null; then
    ./twostep run $small --quiet --json null.json && [ -c null.json ]; check $? "a device is written to, not replaced"
fi
ln -s yet.json dangling.json
./twostep theory --quiet --json dangling.json && [ -L dangling.json ] && [ ! -L yet.json ] && grep -q '"command"' yet.json; check $? "a link to a file that is not there yet is replaced"
ln -s folder/../dangling.json twice.json; rm yet.json
./twostep theory --quiet --json twice.json && [ -L dangling.json ] && grep -q '"command"' yet.json; check $? "a link to a link is replaced"
ln -s circle.json circle.json
./twostep theory --quiet --json circle.json 2>err; [ $? -eq 1 ] && grep -q "cannot write 'circle.json'" err; check $? "a circle of links: $(cat err)"
echo secret >mode.json && chmod 600 mode.json
./twostep theory --quiet --json mode.json; case $(ls -l mode.json) in -rw-------*) ok ;; *) no "the permissions of a file change: $(ls -l mode.json)" ;; esac
if [ -e /dev/stdout ] && [ -d /dev/fd ]; then
    (echo a; ./twostep theory --quiet --json /dev/stdout; echo b) >streamed
    [ "$(head -n 1 streamed)" = a ] && [ "$(tail -n 1 streamed)" = b ] && grep -q '"command"' streamed; check $? "/dev/stdout is not a stream"
    (echo a; ./twostep theory --quiet --json /dev/fd/3 3>&1; echo b) >streamed
    [ "$(head -n 1 streamed)" = a ] && [ "$(tail -n 1 streamed)" = b ] && grep -q '"command"' streamed; check $? "/dev/fd/3 is not a stream"
    grid='--neurons 40 --inputs 30 --samples 60 --alpha1 0.3 --alpha2 0.3 --quiet'
    (echo a; ./twostep sweep $grid --out /dev/stdout; echo b) >streamed
    [ "$(head -n 1 streamed)" = a ] && [ "$(tail -n 1 streamed)" = b ] && [ "$(wc -l <streamed)" -eq 5 ]; check $? "a sweep to /dev/stdout"
fi

# ---- one result to a file, none over what is read, one to standard output ----

# apart WORD ARGUMENTS...: refused before anything is computed, printed or written
apart() {
    apart_word=$1
    shift
    ./twostep "$@" >out 2>err
    got=$?
    [ $got -eq 2 ] && [ ! -s out ] && [ "$(wc -l <err)" -eq 1 ] && grep -q -e "$apart_word" err; check $? "twostep $*: $got $(cat err)"
}
cells='--neurons 40 --inputs 30 --samples 60 --alpha1 0.3 --alpha2 0.3:0.4:2'
mkdir apart && cd apart && ln -s ../twostep twostep
both='both the file' stdout='both go to standard output'
apart "--json and --svg are $both 'f'" run --json f --svg f
apart "$both" run --json f --svg ./f
apart "$both" compare --json f --svg f
apart "$both" risk --json f --svg f
apart "$both" scale --json f --out f
apart "$both" scale --svg f --out f
apart "--svg and --out are $both" sweep $cells --out f --svg f
apart "$stdout" run --json - --svg -
apart "$stdout" risk --json - --svg -
apart "$stdout" scale --json - --out -
apart "--json and --out $stdout" sweep $cells --json -
apart "--svg and --out $stdout" sweep $cells --svg -
apart "$stdout" sweep $cells --out f --json - --svg -
rm out err; [ "$(ls)" = twostep ]; check $? "refused, and yet written: $(ls)"
./twostep sweep $cells --out a.csv --quiet && cp a.csv b.csv && ln -s a.csv c.csv
apart "svg is 'a.csv', which is to be read" plot a.csv --svg a.csv
apart "svg is 'c.csv', which is to be read" plot a.csv --svg c.csv
apart "json is 'a.csv', which is to be read" sweep --merge b.csv a.csv --json a.csv --out d.csv
apart "svg is 'a.csv', which is to be read" sweep --merge a.csv --svg a.csv
cmp -s a.csv b.csv; check $? "a refused result costs a file"
./twostep sweep --merge a.csv b.csv --out a.csv --quiet && cmp -s a.csv b.csv; check $? "merging into one of the files"
./twostep run $small --quiet --json /dev/null --svg /dev/null; check $? "two results to /dev/null"
./twostep sweep $cells --out f.csv --json - >out; [ "$(head -c 1 out)" = '{' ] && tail -c 4 out | grep -q '}'; check $? "sweep --json - prints more than JSON"
small_risk='risk --neurons 30 --inputs 20 --samples 40 --test-samples 50 --ridge-samples 30 --lambda 1e-2:1:2'
./twostep $small_risk --svg - >out && [ "$(head -c 4 out)" = '<svg' ]; check $? "risk --svg - prints more than the figure"
rm -f twostep.svg && ./twostep $small --json twostep.svg >out && grep -q '"command"' twostep.svg; check $? "the figure drawn unasked takes the place of a result"
cd ..
echo before >kept.json; ./twostep run --neurons 1e6 --inputs 1e6 --samples 1e6 --quiet --json kept.json 2>err
[ "$(cat kept.json)" = before ]; check $? "a failed run leaves the old file"
ls *.partial[1-9]* >/dev/null 2>&1; [ $? -ne 0 ]; check $? "partial files are left"
if [ -w /dev/full ]; then
    ./twostep run $small >/dev/full 2>err; got=$?
    [ $got -eq 1 ] && grep -q "cannot write 'standard output'" err; check $? "full disk: $got $(cat err)"
    ./twostep run $small --json - >/dev/full 2>err; got=$?
    [ $got -eq 1 ]; check $? "full disk, JSON: $got $(cat err)"
    ./twostep --help >/dev/full 2>err; got=$?
    [ $got -eq 1 ]; check $? "full disk, help: $got"
    ./twostep --version >/dev/full 2>err; got=$?
    [ $got -eq 1 ]; check $? "full disk, version: $got"
fi

# ---- what it says of itself ----

./twostep --version | grep -q '^twostep [0-9]*\.[0-9]*\.[0-9]*$'; check $? --version
for topic in '' run compare theory sweep plot help; do
    ./twostep help $topic >out 2>err && [ -s out ] && [ ! -s err ]; check $? "help $topic"
done
for option in --alpha1 --alpha2 --seeds --out --resume --shard --merge --svg --progress --no-theory; do
    ./twostep help sweep | grep -q -e "^  $option "; check $? "help sweep does not tell of $option"
done
./twostep sweep --neurons 40 --inputs 40 --samples 80 --seeds=1 --alpha1=0.3 --alpha2=0.4:0.4:1 --top 2 >out 2>err
check $? "a small sweep: $(cat err)"
[ "$(wc -l <out)" -eq 3 ] && [ ! -s err ]; check $? "a small sweep prints $(wc -l <out) lines"
./twostep help run >out; ./twostep run --help >err; cmp -s out err; check $? "run --help is not help run"
./twostep --help | grep -q 'arXiv 2605.17767'; check $? --help
awk 'length > 200 {bad = 1} END {exit bad}' out; check $? "help lines too long"
# every option of the help text is understood: a wrong value names it, an unknown name would not
./twostep help run | sed -n 's/^  \(--[a-z0-9-]*\) .*/\1/p' >names
[ "$(wc -l <names)" -ge 18 ]; check $? "options in help: $(wc -l <names)"
while read -r name; do
    ./twostep run "$name=" >out 2>err
    grep -q -e "^twostep: $name " err; check $? "$name of the help text: $(cat err)"
done <names

# ---- long names ----

long=hermite:0.1234567890123456,0.1234567890123456
for k in 1 2 3 4 5 6; do long=$long,-0.01234567890123456; done
./twostep run $small --activation $long --target $long --quiet --json long.json --svg long.svg 2>err; check $? "a long name: $(cat err)"
[ "$(grep -c -e "$long" long.json)" -ge 1 ]; check $? "a long name in JSON"
./twostep sweep $small --activation $long --target $long --alpha1 0.3 --alpha2 0.3:0.4:2 --out long.csv --quiet &&
    ./twostep sweep --merge long.csv --quiet | cmp -s - long.csv; check $? "a long name in a sweep"
./twostep sweep $small --activation ${long}1 --target $long --alpha1 0.3 --alpha2 0.3:0.4:2 --out long.csv --resume 2>err
[ $? -eq 2 ] && grep -q -e '--activation .* here it is' err; check $? "two long names that differ at the end: $(cat err)"

# ---- what it draws ----

mkdir drawing && cd drawing || exit 1
ln -s ../twostep twostep
./twostep $small >out 2>err; check $? "the main job: $(cat err)"
[ -s twostep.svg ] && [ "$(ls | wc -l)" -eq 4 ]; check $? "the main job writes twostep.svg alone: $(ls)"
LC_ALL=C ./twostep $small --svg other.svg >ascii; LC_ALL=C.UTF-8 ./twostep run $small >unicode
cmp -s twostep.svg other.svg; check $? "--svg draws the same picture"
LC_ALL=C.UTF-8 ./twostep run $small --ascii >forced
bars='###'; LC_ALL=C grep -q "$bars" ascii && LC_ALL=C grep -q "$bars" forced; check $? "the histogram in ASCII"
[ "$(LC_ALL=C tr -d '\n -~' <ascii | wc -c)" -eq 0 ] && [ "$(LC_ALL=C tr -d '\n -~' <forced | wc -c)" -eq 0 ]
check $? "plain characters only"
grep -q "$(printf '\342\226\210\342\226\210')" unicode; check $? "the histogram in blocks"
[ "$(grep -c '^W[012],' ascii)" -ge 3 ]; check $? "three histograms"
rm -f twostep.svg
./twostep $small --quiet >out; [ ! -s out ] && [ ! -e twostep.svg ]; check $? "--quiet draws nothing unasked"
./twostep run $small --quiet --svg run.svg; cmp -s run.svg other.svg; check $? "run --svg"
./twostep compare $small --svg - >compare.svg 2>err; check $? "compare --svg -: $(cat err)"
[ "$(grep -c '^<text .*W<tspan' compare.svg)" -eq 4 ] && head -n 1 compare.svg | grep -q '^<svg ' && tail -n 1 compare.svg | grep -q '^</svg>$'
check $? "compare.svg has four panels and nothing else"
for threads in 1 3; do ./twostep compare $small --threads $threads --quiet --svg t$threads.svg; cmp -s t$threads.svg compare.svg; check $? "--threads $threads draws another picture"; done
./twostep run $small --json - --svg - >out 2>err; [ $? -eq 2 ] && [ ! -s out ]; check $? "two results to standard output: $(cat err)"
./twostep run $small --svg no/such.svg >out 2>err; [ $? -eq 1 ] && grep -q "cannot write 'no/such.svg'" err; check $? "no folder: $(cat err)"
./twostep run $small --json a.json --svg no/such.svg >out 2>err; [ ! -e a.json ]; check $? "a JSON file without its run"
./twostep theory --ascii >out 2>err; [ $? -eq 2 ]; check $? "theory --ascii"
# what the theory refuses is drawn without a prediction
./twostep run $small --scale1 1e-200 --quiet --svg bare.svg 2>err
[ $? -eq 0 ] && grep -q 'singular values, measured' bare.svg && ! grep -q 'outlier, predicted' bare.svg; check $? "a picture without prediction: $(cat err)"
cd ..

# ---- the ladder of N ----

ladder='--neurons 60:240:3 --seeds 3 --alpha1 0.3 --alpha2 0.4'
./twostep scale $ladder --json scale.json --svg scale.svg --out scale.csv >out 2>err; check $? "scale: $(cat err)"
[ "$(wc -l <scale.csv)" -eq 10 ] && grep -q '^240,240,480,3,' scale.csv; check $? "scale.csv"
grep -q '^ *slope ' out && grep -q '^ *limit *0.400 *0.200 *0.000 *-0.200' out; check $? "the table of scale: $(cat out)"
[ "$(grep -c "^<circle class='f1'" scale.svg)" -eq 4 ]; check $? "three points and the legend in scale.svg"
./twostep scale $ladder --threads 1 --quiet --out one.csv; ./twostep scale $ladder --threads 3 --quiet --out - >three.csv
cmp -s one.csv scale.csv && cmp -s three.csv scale.csv; check $? "scale: threads change numbers"
./twostep scale --neurons 100:50:2 2>err; [ $? -eq 2 ] && grep -q '^twostep: --neurons ' err; check $? "scale 100:50:2: $(cat err)"
./twostep scale $ladder --json - --out - >out 2>err; [ $? -eq 2 ] && [ ! -s out ]; check $? "scale, twice to standard output"
./twostep scale --neurons 64 --seeds 1 --json - >one.json 2>err; check $? "scale of one size: $(cat err)"
grep -q '"slope": null' one.json && ! grep -qiw -e nan -e inf one.json; check $? "one size has no slope"

# ---- what it prints ----

./twostep run $small --json a.json >out 2>err; check $? "run: $(cat err)"
[ -s out ] && [ ! -s err ] && [ ! -e a.json.partial0 ]; check $? "run prints a table, no error"
grep -q 'bulk edge' out; check $? "table"
./twostep run $small --json - >b.json; check $? "run --json -"
./twostep run $small --quiet --json c.json >out; [ ! -s out ]; check $? "--quiet is quiet"
timeless() { sed -e 's/"seconds": {[^}]*}//' -e 's/"threads": [0-9]*//' "$1"; }
timeless a.json >a; timeless b.json >b; cmp -s a b; check $? "JSON to a file and to standard output differ"
for threads in 1 2 3 7; do
    for command in "run --batches reuse" "run --batches fresh" compare; do
        ./twostep $command $small --neurons 200 --samples 500 --threads $threads --quiet --json t.json; check $? "--threads $threads"
        timeless t.json >"t$threads"
        [ $threads -eq 1 ] && cp t1 "first-$(echo $command | tr -d ' -')"
        cmp -s "t$threads" "first-$(echo $command | tr -d ' -')"; check $? "$command: --threads $threads gives other numbers"
    done
done
grep -c '"threads": 7' t.json >/dev/null; check $? "threads in JSON"
# what only the theory cannot do is a note; the experiment is run
./twostep run $small --scale1 1e-200 --json n.json >out 2>err; got=$?
[ $got -eq 0 ] && grep -q 'note: no prediction' out && grep -q '"predicted": \[ \]' n.json; check $? "run where the theory refuses: $got $(cat err)"
./twostep run $small --seed 1 --quiet --json a.json; ./twostep run $small --seed 2 --quiet --json b.json
timeless a.json >a; timeless b.json >b; cmp -s a b; [ $? -eq 1 ]; check $? "two seeds give the same numbers"
# without --top as many values as there are, at most ten
./twostep run --neurons 3 --inputs 40 --samples 60 --json - --quiet >out 2>err; check $? "run of three neurons: $(cat err)"
grep -q '"top": 3' out; check $? "three neurons have three singular values"
./twostep run --neurons 40 --inputs 60 --samples 60 --json - --quiet | grep -q '"top": 10'; check $? "ten of forty singular values"
./twostep sweep --neurons 2 --inputs 40 --samples 60 --alpha1 0:0.4:2 --alpha2 0:0.4:2 --seeds 1 >out 2>err && grep -q 's2,align1' out && ! grep -q s3 out; check $? "sweep of two neurons: $(cat err)"
./twostep theory --neurons 1e12 --inputs 1e12 --samples 2e12 --json - >out 2>err; check $? "theory at 1e12: $(cat err)"
grep -q '"neurons": 1000000000000,' out && ! grep -qi -e nan -e inf[^o] out; check $? "theory JSON"

python=
for p in /usr/bin/python3 python3; do
    if command -v $p >/dev/null 2>&1; then python=$p; break; fi
done
if [ -z "$python" ]; then
    echo "skip: cli-json: no python3"
else
    ./twostep run $small --json run.json --quiet && ./twostep compare $small --json compare.json --quiet &&
        ./twostep theory --json theory.json --quiet; check $? "files for the JSON check"
    $python - <<'END' ; check $? "JSON contract"
import json, math
def strict(name):
    def no(x): raise ValueError(x)
    return json.load(open(name), parse_constant=no)
def spectrum(m, step, top):
    assert m["step"] == step
    for key in ("singular_values", "alignments", "readout_alignments", "residuals"):
        assert len(m[key]) == top, key
    s = m["singular_values"]
    assert all(a >= b > 0 for a, b in zip(s, s[1:]))
    assert all(0 <= x <= 1.0001 for x in m["alignments"] + m["readout_alignments"])
    assert all(x <= 1e-5 for x in m["residuals"])
    assert m["outliers"] == sum(x > m["edge"] + m["margin"] for x in s)
    assert m["loss"] > 0
def prediction(p, step):
    assert p["step"] == step and p["edge"] > 0
    assert len(p["singular_values"]) == len(p["alignments"]) == len(p["readout_alignments"]) == p["outliers"]
r = strict("run.json")
assert r["version"].count(".") == 2 and r["command"] == "run"
c = r["config"]
assert set(c) >= {"neurons", "inputs", "samples", "alpha1", "alpha2", "scale1", "scale2", "activation", "target", "directions",
                  "noise", "batches", "init", "output_scale", "seed", "top"}
assert c["neurons"] == 60 and c["inputs"] == 50 and c["samples"] == 90 and c["batches"] == "reuse" and c["seed"] == 1
assert abs(c["output_scale"] - 60 ** -0.5) < 1e-8
assert abs(r["eta"][0] - 60 ** 0.3) < 1e-6 and abs(r["eta"][1] - 60 ** 0.4) < 1e-6
assert [m["step"] for m in r["measured"]] == [0, 1, 2]
for m in r["measured"]: spectrum(m, m["step"], 3)
assert [p["step"] for p in r["predicted"]] == [1, 2]
for p in r["predicted"]: prediction(p, p["step"])
assert r["limit"]["outliers"] == 3 and [o["k"] for o in r["limit"]["orders"]][:3] == [0, 1, 2]
assert set(r["limit"]["orders"][0]) >= {"k", "exponent", "leading_strength", "sees_target_fresh", "sees_target_reuse"}
assert isinstance(r["warnings"], list) and set(r["seconds"]) == {"data", "step1", "step2", "spectrum", "total"}
assert r["threads"] >= 1 and r["kernel"] in ("plain", "sse2", "avx2", "avx512", "neon", "wasm", "amx")
c = strict("compare.json")
assert [x["name"] for x in c["cases"]] == ["initial", "one-step", "two-steps-fresh", "two-steps-reuse"]
for x, step in zip(c["cases"], (0, 1, 2, 2)):
    spectrum(x["measured"], step, 3)
    prediction(x["predicted"], step)
g = strict("scale.json")
assert g["command"] == "scale" and g["seeds"] == 3 and [x["neurons"] for x in g["rows"]] == [60, 120, 240]
assert [x["k"] for x in g["orders"]] == [0, 1, 2, 3] and len(g["predicted"]) == 32
assert [round(x["exponent"], 9) for x in g["orders"]] == [0.4, 0.2, 0, -0.2]
assert abs(g["orders"][0]["slope"] - 0.4) < 0.08 and 0 < g["orders"][0]["slope_error"] < 0.08
rows = [line.split(",") for line in open("scale.csv")][1:]
mean = sum(float(x[4]) for x in rows if x[0] == "240") / 3
assert abs(mean - g["rows"][2]["squares"][0]) < 1e-6 * mean
assert abs(g["rows"][2]["strengths"][0] - mean ** 0.5) < 1e-6 * mean
near = min(g["predicted"], key=lambda x: abs(x["neurons"] - 240))
far = g["predicted"][-1]
for row in g["rows"]: # the same quantity, measured and predicted
    assert abs(row["strengths"][0] / row["predicted"][0] - 1) < 0.1 and abs(row["strengths"][1] / row["predicted"][1] - 1) < 0.2
assert abs(near["strengths"][0] / g["rows"][2]["strengths"][0] - 1) < 0.25 and far["neurons"] == 1e10
t = strict("theory.json")
assert "measured" not in t and "seconds" not in t and len(t["predicted"]) == 2
END
fi

# ---- risk ----

risk='risk --neurons 60 --inputs 30 --samples 90 --target tanh --alpha1 0.45 --alpha2 0.45 --scale2 2 --noise 0.3
    --test-samples 200 --ridge-samples 50,150 --lambda 1e-4:1:5 --seeds 2'
refuse 2 "lambda is '1:0:3', it must be LO:HI:COUNT" risk --lambda 1:0:3
refuse 2 "lambda is '0:1:3'" risk --lambda 0:1:3
refuse 2 "lambda is '1e-3:1'" risk --lambda 1e-3:1
refuse 2 "ridge-samples is '50,40', it must be one to 8 whole numbers" risk --ridge-samples 50,40
refuse 2 "ridge-samples is '5,'" risk --ridge-samples 5,
refuse 2 "alphas is '0:0.5:3'" risk --alphas 0:0.5:3
refuse 2 "test-samples is '1'" risk --test-samples 1
refuse 2 "batches does not apply to 'risk'" risk --batches fresh
./twostep $risk --json risk1.json --svg risk.svg --threads 1 >risk.txt && ./twostep $risk --json risk3.json --threads 3 --quiet
check $? "twostep risk"
grep -v seconds risk1.json | sed 's/"threads": [0-9]*//' >risk1 && grep -v seconds risk3.json | sed 's/"threads": [0-9]*//' >risk3
cmp -s risk1 risk3
check $? "risk: other numbers for other threads"
grep -q 'two steps, reused batch' risk.txt && grep -q 'noise floor' risk.txt && grep -q '</svg>' risk.svg
check $? "risk: table and figure"
if command -v python3 >/dev/null 2>&1; then
    python3 - <<'END'
import json
r = json.load(open("risk1.json"))
assert r["command"] == "risk" and r["config"]["neurons"] == 60 and "panels" not in r
assert len(r["rows"]) == 2 * 4 * 5 and len(r["choices"]) == 2 * 4, (len(r["rows"]), len(r["choices"]))
for row in r["rows"]:
    assert row["steps"] in (0, 1, 2) and row["batches"] in ("fresh", "reuse") and row["samples"] in (50, 150)
    assert 0 <= row["train"] < row["loo"] and row["test"] > 0.05
b = r["baselines"]
assert abs(b["noise"] - 0.09) < 1e-9 and b["noise"] < b["kernel"] < b["zero"] and b["linear"] < b["zero"]
chosen = {(c["steps"], c["batches"], c["samples"]): c for c in r["choices"]}
assert chosen[2, "fresh", 150]["test"] < chosen[0, "reuse", 150]["test"], chosen
assert all(c["best_test"] <= c["test"] + 1e-12 and c["loo"] > 0.05 for c in r["choices"])
# differences on the same data: their mean is that of the errors, their spread is less
for gain, less, more in (("fresh minus one step", (2, "fresh"), (1, "reuse")), ("reused minus fresh", (2, "reuse"), (2, "fresh"))):
    for size in (50, 150):
        g, = [g for g in r["gains"] if g["name"] == gain and g["samples"] == size]
        a, b = chosen[less + (size,)], chosen[more + (size,)]
        assert abs(g["test"] - (a["test"] - b["test"])) < 1e-8, (g, a, b)
        assert 0 < g["test_error"] <= a["test_error"] + b["test_error"] + 1e-8
# the loo error is an honest estimate of the test error
assert all(0.6 < c["loo"] / c["test"] < 1.6 for c in r["choices"] if c["samples"] == 150)
END
    check $? "risk: JSON"
fi

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
