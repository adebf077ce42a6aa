#!/bin/sh
# Interrupted and starved: a run that is stopped (SIGINT, SIGTERM, SIGKILL) at any moment leaves
# either the old result file or the whole new one, a sweep leaves the first rows of the whole one,
# which --resume completes to the same bytes, and a full disk or a closed pipe ends in exit status 1
# and a sentence.
# Ends with `N passed, N failed`.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-interrupt.XXXXXX") || exit 2
mounted=
trap '[ -z "$mounted" ] || umount "$tmp/disk"; rm -rf "$tmp"' EXIT
passed=0 failed=0
check() { if [ "$1" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); shift; echo "interrupt.sh: $*"; fi; }

mkdir "$tmp/examples" && cp "$root/twostep.h" "$tmp" && cp "$(dirname -- "$tests")"/examples/*.[ch] "$tmp/examples"
(cd "$tmp" && ${CC:-cc} -O1 -DTWOSTEP_NO_SIMD -o twostep examples/twostep.c -lm) || { echo '0 passed, 1 failed'; exit 1; }
cd "$tmp" || exit 2
small='--neurons 150 --inputs 120 --samples 200 --top 3 --threads 1 --quiet'
grid='--neurons 40 --inputs 30 --samples 60 --alpha1 0:0.4:4 --alpha2 0:0.4:4 --seeds 2 --threads 1'

# whole JSON ends with its last brace, whole SVG with its end tag
whole() {
    case $1 in
    *.json) [ "$(head -c 1 "$1")" = '{' ] && [ "$(tail -c 3 "$1")" = ' }' ] ;;
    *.svg) [ "$(tail -n 1 "$1")" = '</svg>' ] ;;
    esac
}

# How long an undisturbed run takes here: the moments of interruption are spread over that.
start=$(date +%s%N)
./twostep run $small --json new.json --svg new.svg; check $? "the plain run"
took=$((($(date +%s%N) - start) / 1000000))
whole new.json && whole new.svg; check $? "the plain run's files: $(tail -c 20 new.json) $(tail -c 20 new.svg)"
echo old >old

# What sh starts with & ignores SIGINT, and SIGPIPE may have been ignored before: $own COMMAND does
# neither.
signals='INT TERM KILL' own='env --default-signal=INT,PIPE'
if ! $own true 2>/dev/null; then
    echo "skip: interrupt: INT: env has no --default-signal (coreutils 8.31)"
    signals='TERM KILL' own=
fi

# stop SIGNAL MILLISECONDS COMMAND...: adds one to $cut if the signal was its end.
stop() {
    stop_signal=$1 stop_after=$2
    shift 2
    $own "$@" >out 2>err &
    stop_id=$!
    sleep "$((stop_after / 1000)).$(printf %03d $((stop_after % 1000)))"
    kill -s "$stop_signal" $stop_id 2>/dev/null
    wait $stop_id 2>/dev/null
    [ $? -le 128 ] || cut=$((cut + 1))
}
for signal in $signals; do
    k=0 cut=0 kept=0
    while [ $k -lt 8 ]; do
        k=$((k + 1))
        cp old a.json && cp old a.svg
        stop $signal $((took * k / 7)) ./twostep run $small --json a.json --svg a.svg
        for file in a.json a.svg; do
            if cmp -s old $file; then kept=$((kept + 1)); check 0
            else whole $file; check $? "$signal after $((took * k / 7)) of $took ms: torn $file: $(tail -c 30 $file)"
            fi
        done
        rm -f a.json.partial* a.svg.partial* # what SIGKILL leaves is not in the way of the next run
    done
    [ $cut -gt 0 ] && [ $kept -gt 0 ]; check $? "$signal stopped $cut of $k runs, and $kept old files were kept"
done

# A sweep: the first rows of the whole one, whatever stopped it, and the same bytes in the end.
./twostep sweep $grid --out want.csv >out 2>err; check $? "the plain sweep: $(cat err)"
start=$(date +%s%N)
./twostep sweep $grid --out time.csv >out 2>err
took=$((($(date +%s%N) - start) / 1000000))
whole_lines=$(wc -l <want.csv)
for signal in $signals; do
    rm -f b.csv
    cut=0 parts=0
    for k in 1 2 3 4 5; do
        stop $signal $((took * k / 5)) ./twostep sweep $grid --out b.csv --resume
        [ -f b.csv ] || continue
        lines=$(wc -l <b.csv)
        head -n "$lines" want.csv | cmp -s - b.csv
        check $? "stopped by $signal, it holds other than the first $lines lines: $(tail -n 1 b.csv)"
        if [ "$lines" -gt 2 ] && [ "$lines" -lt "$whole_lines" ]; then parts=$((parts + 1)); fi
    done
    [ $cut -gt 0 ] && [ $parts -gt 0 ]; check $? "$signal stopped $cut of $k sweeps, $parts with a part of the rows"
    ./twostep sweep $grid --out b.csv --resume >out 2>err; check $? "resumed after $signal: $(cat err)"
    cmp -s want.csv b.csv; check $? "a sweep stopped by $signal and resumed gives other bytes"
done
for cut in 1 7 40; do # a row cut by a crash
    head -c -$cut want.csv >c.csv
    ./twostep sweep $grid --out c.csv --resume >out 2>err && cmp -s want.csv c.csv; check $? "cut by $cut bytes: $(cat err)"
done
./twostep sweep $grid --merge want.csv --out old --quiet >out 2>err; got=$?
{ [ $got -eq 0 ] && cmp -s want.csv old; } || [ "$(cat old)" = old ]; check $? "merge over another file: $got"
echo old >old

# Full disks.
refused() { # STATUS WHAT
    [ "$1" -eq 1 ] && [ "$(grep -c '^twostep: ' err)" -ge 1 ]; check $? "$2: status $1: $(cat err)"
}
if [ -w /dev/full ]; then
    ./twostep run $small --json /dev/full >out 2>err; refused $? "JSON to a full device"
    ./twostep run $small --svg /dev/full >out 2>err; refused $? "SVG to a full device"
    rm -f kept.json
    ./twostep run $small --json kept.json --svg /dev/full >out 2>err; refused $? "SVG to a full device, beside JSON"
    grep -q '"measured"' kept.json; check $? "a picture that cannot be written costs the JSON"
    ./twostep sweep $grid --out /dev/full >out 2>err; refused $? "sweep to a full device"
    ./twostep plot want.csv --svg /dev/full >out 2>err; refused $? "plot to a full device"
    [ "$(wc -l <err)" -eq 1 ] && ! grep -q unknown err; check $? "plot to a full device does not say why: $(cat err)"
    ./twostep run $small --json - >/dev/full 2>err; refused $? "JSON to a full standard output"
    ./twostep sweep $grid >/dev/full 2>err; refused $? "sweep to a full standard output"
else
    echo "skip: interrupt: no /dev/full"
fi
# A file that cannot grow, which needs no rights: cramped COMMAND... may write 2 blocks of 512 bytes
# (of 1024, say some shells), then its disk is full.
cramped() { (trap '' XFSZ; ulimit -f 2; exec "$@"); }
mkdir small disk
for option in json svg; do
    cp old small/a.$option
    cramped ./twostep run $small --$option small/a.$option >out 2>err; refused $? "--$option where there is little room"
    cmp -s old small/a.$option; check $? "the old file is gone where there is little room: $option"
done
[ "$(ls small | wc -l)" -eq 2 ]; check $? "left where there is little room: $(ls small)"
./twostep run $small --save small/whole 2>err && mkdir small/part && cp small/whole/W0.npy small/part
for folder in new part; do # a new folder, and one that is there
    cramped ./twostep run $small --save small/$folder --json small/s.json >out 2>err; refused $? "--save where there is little room"
    [ "$(wc -l <err)" -eq 1 ] && [ ! -e small/s.json ]; check $? "--save where there is little room: $(cat err)"
done
[ ! -e small/new ] && [ "$(ls small/part)" = W0.npy ] && cmp -s small/part/W0.npy small/whole/W0.npy
check $? "--save where there is little room leaves $(ls small/new small/part)"
# begun FILE WHAT: the beginning of the whole sweep, which --resume completes where there is room.
begun() {
    head -c "$(wc -c <"$1")" want.csv | cmp -s - "$1"; check $? "$2 holds other bytes than the whole one"
    cp "$1" b.csv
    ./twostep sweep $grid --out b.csv --resume >out 2>err && cmp -s want.csv b.csv; check $? "$2, resumed: $(cat err)"
}
cramped ./twostep sweep $grid --out small/b.csv >out 2>err; refused $? "sweep where there is little room"
begun small/b.csv "a sweep where there is little room"
# A real disk that is full shows the same once more: no promise is left out where none can be mounted.
if mount -t tmpfs -o size=16k none disk 2>/dev/null; then
    mounted=1
    echo old >disk/a.json
    cp disk/a.json disk/a.svg
    head -c 100000 /dev/zero 2>/dev/null >disk/filler # to the last byte
    for option in json svg; do
        ./twostep run $small --$option disk/a.$option >out 2>err; refused $? "--$option on a full disk"
        cmp -s old disk/a.$option; check $? "the old file is gone from the full disk: $option"
    done
    [ "$(ls disk | wc -l)" -eq 3 ]; check $? "left on the full disk: $(ls disk)"
    rm disk/filler
    head -c 9000 /dev/zero >disk/filler 2>/dev/null
    ./twostep sweep $grid --out disk/b.csv >out 2>err; got=$?
    if [ $got -eq 0 ]; then check 1 "the small disk was not too small for a sweep"
    else
        refused $got "sweep on a disk that fills up"
        begun disk/b.csv "a sweep on a disk that fills up"
    fi
    umount disk && mounted=
fi

# A reader that goes away: the status of the writer is told through a file. Its one sentence is of that.
tiny='--neurons 60 --inputs 50 --samples 90 --top 3'
for command in "run $small --json -" "run $small --svg -" "run $tiny" "compare $tiny --json -" "compare $tiny" \
    "theory --json -" theory "sweep $grid" "plot want.csv" "help run"; do
    rm -f gone status
    { (until [ -e gone ]; do sleep 0.05; done; $own ./twostep $command 2>err; echo $? >status); } |
        { exec <&-; : >gone; }
    [ "$(cat status)" -eq 1 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "^twostep: cannot write 'standard output': " err
    check $? "$command into a closed pipe: status $(cat status): $(cat err)"
done

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
