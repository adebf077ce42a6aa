#!/bin/sh
# examples/mpi on three ranks of one machine: a sweep with the bytes of one process, also after a
# rank has died; one network over the ranks with the numbers of `twostep run`, and what travels.
# Ends with `N passed, N failed`. MPICC, MPIRUN: another MPI than the mpicc and mpirun of the path.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
MPICC=${MPICC:-mpicc} MPIRUN=${MPIRUN:-mpirun}
for tool in "$MPICC" "$MPIRUN" python3; do
    command -v "$tool" >/dev/null || { echo "skip: mpi: no $tool"; echo '0 passed, 0 failed'; exit 0; }
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-mpi.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
passed=0 failed=0
ok() { passed=$((passed + 1)); }
no() { failed=$((failed + 1)); echo "mpi.sh: $*"; }
check() { if [ "$1" -eq 0 ]; then ok; else shift; no "$*"; fi; }

# Open MPI: allowed as root, more ranks than cores, no spinning on those, no network.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader OMPI_MCA_hwloc_base_binding_policy=none
# ranks COUNT PROGRAM ARGUMENTS...
ranks() {
    ranks_count=$1
    shift
    timeout 60 "$MPIRUN" -np "$ranks_count" "$@"
}

cp -r "$(dirname -- "$tests")/examples" "$tmp/examples" && cp "$root/twostep.h" "$tmp" && cd "$tmp" || exit 2
strict='-std=c99 -pedantic -Wall -Wextra -Wconversion -Wshadow -Werror'
$MPICC $strict -O1 -o sweep examples/mpi/sweep.c -lm -pthread >sweep.txt 2>&1 &
$MPICC $strict -O1 -o network examples/mpi/network.c -lm >network.txt 2>&1
check $? "network.c does not compile without a warning: $(head -n 5 network.txt)"
wait $!
check $? "sweep.c does not compile without a warning: $(head -n 5 sweep.txt)"
${CC:-cc} -O1 -o twostep examples/twostep.c -lm || { echo '0 passed, 1 failed'; exit 1; }

# ---- a sweep ----

model='--neurons 150 --inputs 170 --samples 300 --scale2 3 --target step4 --top 4 --no-theory'
grid='--alpha1 0:0.45:4 --alpha2 0.1:0.48:3 --seed 5 --seeds 3'
./twostep sweep $model $grid --out whole.csv --quiet
for count in 1 2 3; do
    ranks $count ./sweep $model $grid --out ranks.csv --quiet >out 2>&1
    check $? "a sweep on $count ranks: $(head -n 3 out)"
    cmp -s whole.csv ranks.csv; check $? "$count ranks write other bytes than one process"
    rm -f ranks.csv
done
head -c 1400 whole.csv >cut.csv
ranks 3 ./sweep $model $grid --out cut.csv --resume --quiet --json cut.json >out 2>&1
cmp -s whole.csv cut.csv; check $? "resumed on 3 ranks: $(head -n 3 out)"
grep -q '"cells"' cut.json; check $? "no JSON"

# A rank that dies loses no finished row.
long='--neurons 300 --inputs 300 --samples 900 --top 3 --alpha1 0:0.48:60 --alpha2 0:0.48:4 --no-theory --quiet'
./twostep sweep $long --out long.csv
timeout 60 "$MPIRUN" -np 3 ./sweep $long --out dies.csv >out 2>&1 &
job=$!
turn=0
while [ $turn -lt 200 ] && { [ ! -f dies.csv ] || [ "$(wc -l <dies.csv)" -lt 12 ]; }; do sleep 0.05; turn=$((turn + 1)); done
victim=$(ps -o pid= -o args= -C sweep 2>/dev/null | grep -F dies.csv | awk '{ print $1 }' | sort -n | tail -n 1)
if [ -n "$victim" ] && kill -9 "$victim" 2>/dev/null; then
    wait $job
    check $((!$?)) "a job with a dead rank ended with status 0"
    lines=$(wc -l <dies.csv)
    [ "$lines" -ge 12 ] && [ "$lines" -lt 242 ]; check $? "$lines lines after the death of a rank"
else
    wait $job
    no "no rank could be killed under way"
fi
ranks 3 ./sweep $long --out dies.csv --resume >out 2>&1
check $? "resumed after the death of a rank: $(head -n 3 out)"
cmp -s long.csv dies.csv; check $? "other bytes after the death of a rank"

# refuse STATUS WORD PROGRAM ARGUMENTS...
refuse() {
    refuse_status=$1 refuse_word=$2
    shift 2
    ranks 3 "$@" >out 2>err
    got=$?
    [ $got -eq "$refuse_status" ] && [ "$(grep -c '^twostep: ' err)" -eq 1 ] && grep -q -e "$refuse_word" err
    check $? "$*: status $got, $(head -n 3 err)"
}
refuse 2 "is there already" ./sweep $model $grid --out whole.csv
refuse 2 "was made with --top 4, here it is 3" ./sweep $model $grid --top 3 --resume --out whole.csv
refuse 2 "neurons is '1'" ./sweep --neurons 1
refuse 2 "here all ranks share the work" ./sweep --shard 1/2
refuse 2 "unknown option '--neuron'" ./network --neuron 4
refuse 2 "more ranks than neurons" ./network --neurons 2 --top 2
for option in '--inputs-file X.npy' '--labels-file y.npy' '--directions-file B.npy' '--save folder' '--svg o.svg' --ascii; do
    refuse 2 "${option%% *} is for 'twostep run' alone" ./network --neurons 9 --inputs 9 --samples 9 $option --json o.json
    [ ! -e o.json ] && [ ! -e o.svg ] && [ ! -e folder ]; check $? "$option: a file is left"
done

# One rank prints the help.
for program in network sweep; do
    ranks 3 ./$program --help >out 2>err
    check $? "$program --help: $(head -n 3 err)"
    [ ! -s err ] && [ "$(grep -c '^mpirun -np RANKS' out)" -eq 1 ] && [ "$(grep -c -e '^  --neurons ' out)" -eq 1 ]
    check $? "$program --help prints $(wc -l <out) lines, $(grep -c -e '^  --neurons' out) of them --neurons"
done

# ---- one network ----

# compare ARGUMENTS...: three ranks against one process
compare() {
    ./twostep run "$@" --json one.json --quiet && ranks 3 ./network "$@" --json many.json >table 2>err
    check $? "a network over 3 ranks, $*: $(head -n 3 err)"
    python3 - "$*" <<'END'
import json, sys
one, many = json.load(open('one.json')), json.load(open('many.json'))
worst = 0
assert one['config'] == many['config'] and len(one['measured']) == len(many['measured']) == 3
for a, b in zip(one['measured'], many['measured']):
    assert a['outliers'] == b['outliers'], (a['outliers'], b['outliers'])
    near = [a[k] - b[k] for k in ('edge', 'row_edge', 'margin', 'captured')] + [a['loss'] / b['loss'] - 1]
    near += [x / y - 1 for x, y in zip(a['singular_values'], b['singular_values'])]
    k = a['outliers']
    near += [x - y for name in ('alignments', 'readout_alignments') for x, y in zip(a[name][:k], b[name][:k])]
    worst = max([worst] + [abs(x) for x in near])
assert one['measured'][2]['outliers'] > 0
if worst > 1e-6:
    sys.exit('%s: differs by %g' % (sys.argv[1], worst))
END
    check $? "three ranks and one process differ: $*"
}
compare --neurons 200 --inputs 161 --samples 5000 --scale2 3 --noise 0.1 --top 4
compare --neurons 160 --inputs 200 --samples 400 --batches fresh --target step4 --alpha1 0.45 --alpha2 0.45 --top 3
compare --neurons 151 --inputs 150 --samples 300 --output-scale correlation --init gaussian --target product2 --top 3
grep -q '^3 ranks with 51 rows each' table; check $? "not 3 ranks: $(grep rows table)"

# What the theory cannot do is a note, as in one process.
tiny='--neurons 40 --inputs 40 --samples 80 --scale1 1e-300'
./twostep run $tiny --json one.json >out && ranks 2 ./network $tiny --json many.json >table 2>err
check $? "steps of no size: $(head -n 3 err)"
python3 -c "
import json
one, many = (json.load(open(name))['warnings'] for name in ('one.json', 'many.json'))
assert one == many and one[0].startswith('no prediction: '), (one, many)"
check $? "other warnings than those of one process"
grep -q '^note: no prediction: ' table; check $? "no note in the table"

# What travels: n numbers a step and 2 d a pass, and little more.
ranks 2 ./network --neurons 300 --inputs 300 --samples 6000 --top 4 >table 2>err
awk '/^step (one|two)/ { steps++; if ($4 != 6000 || $3 < $4 || $3 > $4 + 40) bad = 1 }
     /^spectrum of/ { spectra++; if ($4 < $5 || $4 > 1.15 * $5) bad = 1 }
     END { exit bad || steps != 2 || spectra != 3 }' table
check $? "other numbers travel: $(grep -e '^step' -e '^spectrum' table)"

# A budget is that of a rank: it shrinks the blocks, to other roundings but the same network.
budget='--neurons 300 --inputs 4000 --samples 3000 --top 2'
ranks 3 ./network $budget --json whole.json --quiet >out 2>&1 &&
    ranks 3 ./network $budget --memory-budget 110MiB --json less.json >table 2>err
check $? "a budget: $(head -n 3 err)"
awk '/^step one/ { exit !($6 > 15) }' table; check $? "the budget makes no smaller blocks: $(grep '^step' table)"
python3 - <<'END'
import json
whole, less = json.load(open('whole.json')), json.load(open('less.json'))
for a, b in zip(whole['measured'], less['measured']):
    assert all(abs(x / y - 1) < 1e-6 for x, y in zip(a['singular_values'], b['singular_values'])), (a, b)
END
check $? "other numbers with a budget"
refuse 2 "memory-budget is 94371840 bytes, it must be at least" ./network $budget --memory-budget 90MiB

echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
