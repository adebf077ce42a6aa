#!/bin/sh
# Compilers, dialects, optimisation and machines: every row builds tests with one compiler command
# under the strict flags and -Werror, runs them natively or emulated, and compares two hashes.
#
#   sh tests/matrix.sh                all rows, the whole suite on native ones (about an hour)
#   sh tests/matrix.sh -q             all rows, one quick program each, the others compiled for
#                                     warnings where a full run would run them (about ten minutes)
#   sh tests/matrix.sh -s             the short list that covers every target (three minutes)
#   sh tests/matrix.sh -k PATTERN     only rows whose name matches, with any of these
#
# One line per row: its name, how many checks passed, the hashes that test_tour prints of the random
# data and of the results of the plain kernel, seconds. The data must have the same hash in
# every row; the results too, where arithmetic rounds to its type (all rows but s390x-c99). The last
# line counts rows. A row whose compiler or emulator is missing is skipped by name.
#
# Rows: gcc and clang with -std=c99 gnu99 c11 c17 gnu2x, each at -O0 -O2 -O3 and -O3 -march=native;
# g++ and clang++ with c++11 and c++20; tcc; musl-gcc; 32-bit x86 with SSE2 arithmetic; aarch64,
# riscv64 and s390x (big endian) under qemu-user; mingw-w64, run by wine where it is installed; wasm32
# with and without vectors, run by node. x87 arithmetic is not here: it does not round to the type.

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$tests")
header=${TWOSTEP_DIR:-$root}
. "$tests/jobs.sh"

strict='-pedantic -Wall -Wextra -Wconversion -Wshadow -Werror'
# The tests, but for the tour, are C, and as C++ speak with an accent: enumerators in real arithmetic,
# wrong enumerators on purpose, initializers cut short.
of_c='-Wno-shadow -Wno-conversion -Wno-missing-field-initializers -Wno-enum-float-conversion
 -Wno-deprecated-enum-float-conversion -Wno-unknown-warning-option'
of_c=$(echo $of_c)
pattern=. list=all programs=whole
while [ $# -gt 0 ]; do
    case $1 in
    -s) list=short programs=quick ;;
    -q) programs=quick ;;
    -k) [ $# -ge 2 ] || { echo "matrix.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2; shift ;;
    *) echo "usage: sh tests/matrix.sh [-q | -s] [-k PATTERN]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-matrix.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/rows"
: >"$tmp/results"

# row LIST NAME PROGRAMS RUNNER COMPILER...: PROGRAMS is `suite` (all of it on a full run), `kernel`
# (a vector kernel that only this machine has: the tests of kernels too) or `quick`; RUNNER is `-` for
# programs that start by themselves, with %s for the blanks between its words. Emulated machines run
# the tour, which calls every part of the header; NEON, of which no other row has a kernel, the suite.
row() {
    [ "$list" = all ] || [ "$1" = short ] || return 0
    printf '%s\n' "$2" | grep -Eq -- "$pattern" || return 0
    shift
    echo "$*" >>"$tmp/rows"
}

emulated() { # emulated LIST NAME PROGRAMS EMULATOR COMPILER...: skipped unless both are there
    emulated_list=$1 emulated_name=$2 emulated_programs=$3 emulated_by=$4
    shift 4
    if ! has "$1"; then
        echo "skip: $emulated_name: no $1" >>"$tmp/skips"
    elif ! has "${emulated_by%%%s*}"; then
        echo "skip: $emulated_name: no ${emulated_by%%%s*}" >>"$tmp/skips"
    else
        row "$emulated_list" "$emulated_name" "$emulated_programs" "$emulated_by" "$@"
        return
    fi
    # Only a row that was asked for counts as skipped.
    { [ "$list" = all ] || [ "$emulated_list" = short ]; } &&
        printf '%s\n' "$emulated_name" | grep -Eq -- "$pattern" ||
        sed -i '$d' "$tmp/skips"
}
native() { # native LIST NAME PROGRAMS COMPILER...
    native_list=$1 native_name=$2 native_programs=$3
    shift 3
    emulated "$native_list" "$native_name" "$native_programs" env "$@"
}

# Kernels of most systems run 32-bit programs themselves; an emulator is ten times as slow.
i386=qemu-i386
echo 'int main(void) { return 0; }' >"$tmp/plain.c"
if gcc -m32 -static -o "$tmp/plain" "$tmp/plain.c" 2>/dev/null && "$tmp/plain"; then i386=env; fi

# The slow rows first, so that the two workers end together.
emulated short s390x-gnu99 quick qemu-s390x s390x-linux-gnu-gcc -static -std=gnu99 -O2
emulated all s390x-c99 quick qemu-s390x s390x-linux-gnu-gcc -static -std=c99 -O2
emulated short riscv64 quick qemu-riscv64 riscv64-linux-gnu-gcc -static -std=c11 -O2
emulated short aarch64 suite qemu-aarch64 aarch64-linux-gnu-gcc -static -std=c99 -O2
emulated all aarch64-clang quick qemu-aarch64 clang --target=aarch64-linux-gnu -fuse-ld=lld -static \
    -std=c17 -O2
emulated short m32-sse2 suite $i386 gcc -m32 -msse2 -mfpmath=sse -static \
    -idirafter /usr/include/x86_64-linux-gnu -std=c99 -O2
emulated short nehalem quick qemu-x86_64%s-cpu%sNehalem gcc -static -std=c99 -O2
wine=/usr/lib/wine/wine64
if [ -x $wine ]; then
    export WINEPREFIX="$tmp/wine" WINEDEBUG=-all WINEDLLOVERRIDES="mscoree,mshtml="
else
    wine=true # compile and link
fi
emulated short mingw quick $wine x86_64-w64-mingw32-gcc -static -std=c99 -O2
# On one thread: with its parallel garbage collection Node.js 20 crashes at the end of one long program
# in three, all tests passed.
node="node%s--no-warnings%s--single-threaded%s$tests/wasi.mjs"
emulated short wasm32-simd kernel "$node" clang --target=wasm32-wasi -msimd128 -std=c99 -O2
emulated short wasm32 quick "$node" clang --target=wasm32-wasi -std=c99 -O2
native short musl suite musl-gcc -static -std=c99 -O2
native short tcc suite tcc -std=c99
native short g++-c++20 suite g++ -x c++ -std=c++20 -O2
native short clang++-c++11 suite clang++ -x c++ -std=c++11 -O2
native all g++-c++11 suite g++ -x c++ -std=c++11 -O2
native all clang++-c++20 suite clang++ -x c++ -std=c++20 -O2
for cc in gcc clang; do
    for std in c99 gnu99 c11 c17 gnu2x; do
        for level in -O0 -O2 -O3 '-O3 -march=native'; do
            name=$cc-$std$(echo "$level" | tr -d ' ' | sed 's/-march=/-/')
            case $name in
            gcc-gnu2x-O3-native | clang-gnu99-O3-native) kind=short ;;
            *) kind=all ;;
            esac
            native $kind "$name" suite $cc -std=$std $level
        done
    done
done

# build ROW-NUMBER FILE COMPILER-AND-FLAGS...: the row's program from tests/FILE.c; fails with the reason
# in the row's log.
build() {
    build_log=$tmp/$1.log build_program=$tmp/$1.exe build_out=$tmp/$1.out build_file=$2
    shift 2
    case $1-$build_file in
    tcc-*) build_strict='-Wall -Werror' ;; # it knows no more
    *++-suite) build_strict="$strict $of_c" ;;
    *-suite) build_strict="$strict -Wno-shadow" ;; # what one test calls x, another may have for all
    *) build_strict=$strict ;;
    esac
    "$@" $build_strict -DTEST_QUICK -DTEST_TINY -I"$header" -I"$tests" -o "$build_program" \
        "$tests/$build_file.c" -lm >"$build_out" 2>&1 && [ ! -s "$build_out" ] && return 0
    { echo "$build_file does not compile without a word:"; head -n 12 "$build_out"; } >>"$build_log"
    return 1
}

# run ROW-NUMBER RUNNER NAME ARGUMENT...: runs that program for the test NAME; adds to the row's sums.
run() {
    run_row=$1 run_by=$2 run_name=$3 run_out=$tmp/$1.out
    shift 3
    [ "$run_by" != true ] || return 0 # linked, and nothing to run it
    (cd "$tests" && limited 900 $run_by "$tmp/$run_row.exe" "$@") >"$run_out" 2>&1
    run_status=$?
    if [ $run_status -ne 0 ] || ! grep -q '^[0-9]* passed, 0 failed' "$run_out"; then
        { echo "$run_name fails with status $run_status:"; tail -n 12 "$run_out"; } >>"$tmp/$run_row.log"
        return 1
    fi
    grep '^skip: ' "$run_out" >>"$tmp/$run_row.skips"
    tr -d '\r' <"$run_out" | sed -n 's/^\([0-9]*\) passed.*/\1/p' >>"$tmp/$run_row.sum"
}

# The tests of the row that suite.c holds, one after the other, but the tour, which has been; and all.
run_suite() {
    for run_test in $row_tests; do
        [ "$(program_of "$run_test")" = suite ] && [ "$run_test" != test_tour ] || continue
        run "$row_number" "$row_by" "$run_test" "$run_test" || return 1
    done
}
run_row() {
    build "$row_number" test_tour "$@" && run "$row_number" "$row_by" test_tour || return 1
    tr -d '\r' <"$tmp/$row_number.out" | sed -n 's/^hash of the data: 0x//p' >"$tmp/$row_number.data"
    tr -d '\r' <"$tmp/$row_number.out" | sed -n 's/^results on plain: //p' >"$tmp/$row_number.plain"
    if [ "$programs" = quick ]; then # the other programs are read by the row's compiler, no more
        [ -z "$row_tests" ] || build "$row_number" suite "$@" -fsyntax-only -Wno-unused-command-line-argument
        return
    fi
    if [ -n "$row_tests" ]; then
        build "$row_number" suite "$@" && run_suite || return 1
    fi
    case $row_tests in
    *test_large*) build "$row_number" test_large "$@" && run "$row_number" "$row_by" test_large || return 1 ;;
    esac
    build "$row_number" test_tour "$@" -DTWOSTEP_DOUBLE && run "$row_number" "$row_by" test_tour-double
}

one_row() {
    row_number=$1 row_start=$(date +%s)
    set -- $2
    row_name=$1 row_programs=$2 row_by=$(echo "$3" | sed 's/%s/ /g')
    shift 3
    [ "$row_by" != env ] || row_by=
    : >"$tmp/$row_number.log"
    : >"$tmp/$row_number.sum"
    : >"$tmp/$row_number.skips"
    case $row_programs in
    suite) row_tests=$(cd "$tests" && ls test_*.c | sed 's/\.c$//') ;;
    kernel) row_tests='test_random test_functions test_gemm test_svd' ;;
    *) row_tests= ;;
    esac
    run_row "$@"
    row_data=$(cat "$tmp/$row_number.data" 2>/dev/null) row_plain=$(cat "$tmp/$row_number.plain" 2>/dev/null)
    row_word=passed
    if [ -s "$tmp/$row_number.log" ]; then
        row_word=failed
    elif [ "$row_by" = true ]; then
        row_word=linked
        echo "skip: $row_name: no wine64, compiled and linked only"
    fi
    {
        printf '%-22s %s %7d checks  data %s  plain %s  %d s\n' "$row_name" $row_word \
            "$(awk '{ n += $1 } END { print n + 0 }' "$tmp/$row_number.sum")" "${row_data:--}" \
            "${row_plain:--}" $(($(date +%s) - row_start))
        sed 's/^/    /' "$tmp/$row_number.log"
        cat "$tmp/$row_number.skips"
    } >"$tmp/$row_number.told"
    cat "$tmp/$row_number.told"
    rm -f "$tmp/$row_number.exe"
    echo "$row_name $row_word ${row_data:--} ${row_plain:--}" >>"$tmp/results"
}

[ ! -f "$tmp/skips" ] || cat "$tmp/skips"
two_at_a_time "$tmp/rows" one_row "$tmp"

# One hash of the data everywhere, one of the plain kernel's results where arithmetic rounds.
awk -v rows="$(wc -l <"$tmp/rows")" -v skipped="$(cat "$tmp/skips" 2>/dev/null | wc -l)" '
    $2 == "failed" { failed++; next }
    { passed++ }
    $3 != "-" { data[$3] = data[$3] " " $1 }
    $4 != "-" && $1 != "s390x-c99" { plain[$4] = plain[$4] " " $1 }
    function alike(hashes, what,   hash, kinds) {
        for (hash in hashes) kinds++
        if (kinds < 2) return
        failed++
        print "failed: the hash of the " what " is not the same in all rows:"
        for (hash in hashes) print "    " hash ":" hashes[hash]
    }
    END {
        alike(data, "data")
        alike(plain, "results")
        if (passed + failed == 0 && skipped == 0) { print "no row matches"; failed = 1 }
        if (passed + failed < rows) failed += rows - passed - failed
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0
    }' "$tmp/results"
