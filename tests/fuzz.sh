#!/bin/sh
# Hostile input, made by libFuzzer under AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   sh tests/fuzz.sh [-t SECONDS] [-k TARGET] [-m FOLDER]
#
#   -t SECONDS   for each target, two targets at a time (60; 10 in run.sh, 600 in its full run); below
#                300, svd has the plain kernel only, as the compiler takes longer with all of them
#   -k TARGET    only targets whose name matches the extended regular expression
#   -m FOLDER    keep what was found: inputs that break a law, and the corpus grown in FOLDER/TARGET
#
# Targets: tests/fuzz/fuzz_*.c, each starting from the inputs in tests/fuzz/corpus/TARGET and the
# words in tests/fuzz/TARGET.dict. Those inputs were found by longer runs: first each is replayed,
# so that what was once repaired stays so. An input that breaks a law is printed in base64.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=${TWOSTEP_DIR:-$(dirname -- "$tests")}
. "$tests/jobs.sh"
seconds=60 pattern=. keep=
while [ $# -ge 2 ]; do
    case $1 in
    -t) seconds=$2 ;;
    -k) pattern=$2 ;;
    -m) mkdir -p "$2" && keep=$(CDPATH= cd -- "$2" && pwd) || exit 2 ;;
    *) break ;;
    esac
    shift 2
done
[ $# -eq 0 ] || { echo "usage: sh tests/fuzz.sh [-t SECONDS] [-k TARGET] [-m FOLDER]; not: $1" >&2; exit 2; }

tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-fuzz.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
flags='-g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all'
printf '#include <stddef.h>\n#include <stdint.h>\nint LLVMFuzzerTestOneInput(const uint8_t *d, size_t n) { return (void)d, (void)n, 0; }\n' >"$tmp/probe.c"
if ! clang $flags -o "$tmp/probe" "$tmp/probe.c" >"$tmp/probe.log" 2>&1; then
    echo "skip: fuzz: no clang with libFuzzer (clang, libclang-rt-14-dev)"
    echo "0 passed, 0 failed"
    exit 0
fi

# target NUMBER NAME
target() {
    here=$tmp/$2 log=$tmp/$2.log options=
    mkdir -p "$here/grown" "$here/found" "$here/cwd"
    [ ! -d "$keep/$2" ] || [ -z "$keep" ] || cp -r "$keep/$2/." "$here/grown"
    [ ! -d "$tests/fuzz/corpus/$2" ] || options=$tests/fuzz/corpus/$2
    dictionary=
    [ ! -f "$tests/fuzz/$2.dict" ] || dictionary=-dict=$tests/fuzz/$2.dict
    kernels=
    [ "$2" != svd ] || [ "$seconds" -ge 300 ] || kernels=-DTWOSTEP_NO_SIMD
    if ! clang $flags $kernels -I"$root" -I"$tests/fuzz" -o "$here/fuzz" "$tests/fuzz/fuzz_$2.c" -lm -pthread >"$log" 2>&1; then
        cat "$log"
        echo "fuzz: $2 does not compile"
        echo "0 1" >>"$tmp/sums"
        return
    fi
    (cd "$here/cwd" && TMPDIR=$here/cwd ASAN_OPTIONS=allocator_may_return_null=1 \
        limited $((seconds + 120)) "$here/fuzz" -seed=1 -max_total_time="$seconds" -timeout=100 \
        -rss_limit_mb=2500 -max_len=3000 $dictionary -artifact_prefix="$here/found/" "$here/grown" $options) >>"$log" 2>&1
    status=$?
    if [ "$status" -eq 0 ]; then
        echo "fuzz: $2: $(grep -E '^Done [0-9]+ runs' "$log" || echo 'no run')"
        if grep -qE '^Done [1-9][0-9]* runs' "$log"; then echo "1 0" >>"$tmp/sums"; else echo "0 1" >>"$tmp/sums"; fi
    else
        echo "fuzz: $2: exit status $status"
        grep -E 'broken:|ERROR|runtime error|SUMMARY|^    #[0-9] ' "$log" | head -n 14
        for file in "$here"/found/*; do
            [ -f "$file" ] && echo "  $(basename "$file"): $(base64 -w 0 "$file" | head -c 3000)"
        done
        echo "0 1" >>"$tmp/sums"
    fi
    if [ -n "$keep" ]; then
        mkdir -p "$keep/$2" && cp "$here/grown/"* "$keep/$2" 2>/dev/null
        cp "$here/found/"* "$keep" 2>/dev/null
    fi
}

for file in "$tests"/fuzz/fuzz_*.c; do
    name=$(basename "$file" .c)
    printf '%s\n' "${name#fuzz_}"
done | grep -E -- "$pattern" | sort -r >"$tmp/list" # svd takes longest to compile: first
[ -s "$tmp/list" ] || { echo "fuzz: no target matches: $pattern" >&2; exit 2; }
two_at_a_time "$tmp/list" target "$tmp"
awk '{ passed += $1; failed += $2 } END { printf "%d passed, %d failed\n", passed, failed; exit failed > 0 }' "$tmp/sums"
