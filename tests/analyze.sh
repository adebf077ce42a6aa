#!/bin/sh
# Static analysis of twostep.h and the examples; there must be no finding.
#
#   sh tests/analyze.sh                all (about six minutes on one core)
#   sh tests/analyze.sh -s             what is quick: cppcheck and the checks of clang-tidy that walk
#                                      no paths; the path analyzers on their planted bugs (two minutes)
#   sh tests/analyze.sh -k PATTERN     only TOOL/FILE whose name matches
#
# Tools: gcc -fanalyzer; clang-tidy, in two runs; cppcheck. Files: twostep.h as float and double,
# plain and with all instruction sets, and all .c files in examples. Each tool must first find a bug that is
# planted for it. A finding is suppressed in twostep.h only, in its line and with its reason; the checks
# that are off stand below, each with its own. The last line counts pairs of tool and file.

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$tests")
header=${TWOSTEP_DIR:-$root}
. "$tests/jobs.sh"
pattern=. short=
while [ $# -gt 0 ]; do
    case $1 in
    -s) short=1 ;;
    -k) [ $# -ge 2 ] || { echo "analyze.sh: -k wants a pattern" >&2; exit 2; }
        pattern=$2; shift ;;
    *) echo "usage: sh tests/analyze.sh [-s] [-k PATTERN]; not: $1" >&2; exit 2 ;;
    esac
    shift
done
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-analyze.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/jobs"
: >"$tmp/results"

# ---- the checks of clang-tidy ----

# What walks no paths: seconds. On: all of bugprone and portability (mistakes), and of cert what
# bugprone does not repeat. Off, each for its reason:
#   easily-swappable-parameters         rows and columns stand side by side in all of numerics
#   macro-parentheses                   macros that make types and cases cannot have them
#   implicit-widening-of-multiplication-result   constants and loop bounds below a few hundred
#   branch-clone                        a table reads best with one case a line
#   suspicious-include                  mpi and web are the command with another main
#   cert-err33-c                        wants the result of each printf and fclose; output is
#                                       checked once, by ferror and fclose, before a file is renamed
tidy_checks='-*,bugprone-*,portability-*,cert-dcl*-c,cert-env*-c,cert-err*-c,cert-exp*-c,cert-fio*-c,
cert-flp*-c,cert-int*-c,cert-mem*-c,cert-msc*-c,cert-pos*-c,cert-sig*-c,cert-str*-c,
-bugprone-easily-swappable-parameters,-bugprone-macro-parentheses,
-bugprone-implicit-widening-of-multiplication-result,-bugprone-branch-clone,-bugprone-suspicious-include,
-cert-err33-c'
tidy_checks=$(echo $tidy_checks | tr -d ' ')
# Two names of the C library's own, which a program may define, look reserved.
tidy_options="{CheckOptions: [
 {key: bugprone-reserved-identifier.AllowedIdentifiers, value: '_XOPEN_SOURCE;_DARWIN_C_SOURCE'},
 {key: cert-dcl37-c.AllowedIdentifiers, value: '_XOPEN_SOURCE;_DARWIN_C_SOURCE'}]}"
# What walks paths: minutes. Off:
#   StackAddressEscape   a caller's structure does hold a team or batch of the callee after it
#                        returned; nothing reads it then
#   DeprecatedOrUnsafeBufferHandling   wants the functions of Annex K, which C libraries lack
#   insecureAPI.strcpy   refuses the name strcpy, also where the line above measures the length
path_checks='-*,clang-analyzer-*,-clang-analyzer-core.StackAddressEscape,
-clang-analyzer-security.insecureAPI.DeprecatedOrUnsafeBufferHandling,
-clang-analyzer-security.insecureAPI.strcpy'
path_checks=$(echo $path_checks | tr -d ' ')
# The analyzer passes over functions of headers unless told, and guesses what a large function returns
# once it has met it 32 times: twsi_agree would return anything.
paths='-Xclang -analyzer-opt-analyze-headers -Xclang -analyzer-config
 -Xclang max-times-inline-large=2000,inline-max-stack-depth=8'
paths=$(echo $paths)

# gcc follows so many states of a function: 2 for each of its blocks, where 5 is usual. With 5 it had not
# done twostep.h in six minutes; with 2 it takes one.
bound='--param analyzer-bb-explosion-factor=2'

# ---- the files ----

cat >"$tmp/implement.c" <<'END'
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
END
cat >"$tmp/planted.c" <<'END'
#include <stdlib.h>
extern int planted(int x);
int planted(int x) {
    int *p = (int *)malloc(4 * sizeof *p);
    int value[2] = {1, 2};
    if (x > 5 && x < 3 && x == x + 1) return 0;
    if (p == NULL) return value[0];
    free(p);
    if (x > 3) p[0] = x; /* after its release */
    return value[2];     /* and past an end */
}
extern double planted_loop(void);
double planted_loop(void) {
    double sum = 0;
    int k;
    for (k = 0; k < 3; k++) sum += k / 2; /* loses its half */
    return sum;
}
END

# job TOOL FILE FLAGS...
job() { printf '%s\n' "$1/$2" | grep -Eq -- "$pattern" && echo "$*" >>"$tmp/jobs"; }

# files TOOL: the same for each tool; a path analyzer takes the plain kernel, for the others are made of
# intrinsics that it does not know. The examples are examined without the functions of twostep.h, whose
# turn has been. The path analyzers leave out twostep.c, and mpi and web, which include it: its arrays
# are filled by one function and read by another, and both take them for unfilled. clang walks the paths
# of the first lesson alone: most of them lead through plot.h, half a minute each time.
files() {
    job "$1" planted
    case $1 in gcc | clang-paths) [ -z "$short" ] || return ;; esac
    job "$1" plain -DTWOSTEP_NO_SIMD
    job "$1" plain-double -DTWOSTEP_NO_SIMD -DTWOSTEP_DOUBLE
    case $1 in
    gcc | clang-paths) ;;
    *)  job "$1" simd
        job "$1" simd-double -DTWOSTEP_DOUBLE ;;
    esac
    for file in "$root"/examples/*.c "$root"/examples/*/*.c; do
        name=${file#"$root"/examples/} flags=-DTWOSTEP_IMPLEMENTATION_DONE
        case $1/$name in
        gcc/twostep.c | gcc/mpi/* | gcc/web/*) continue ;;
        clang-paths/twostep.c | clang-paths/mpi/* | clang-paths/web/*) continue ;;
        clang-paths/lessons/0[!1]*) continue ;;
        cppcheck/mpi/*) ;; # mpi.h is none of ours
        */mpi/*)
            if ! has mpicc; then
                echo "skip: $1/$name: no mpicc"
                continue
            fi
            flags="$flags $(mpicc --showme:compile | sed 's/-I */-isystem/g')" ;;
        esac
        job "$1" "$name" $flags
    done
}
tool() {
    if has "$2"; then
        files "$1"
    else
        echo "skip: $1: no $2"
    fi
}
tool gcc gcc
tool clang-paths clang-tidy
tool clang-tidy clang-tidy
tool cppcheck cppcheck

# ---- run them ----

# examine TOOL FILE FLAGS...: fails if there is a finding.
examine() {
    examine_tool=$1 examine_name=$2
    shift 2
    case $examine_name in
    planted) examine_file=$tmp/planted.c ;;
    *.c) examine_file=$root/examples/$examine_name ;;
    *) examine_file=$tmp/implement.c ;;
    esac
    case $examine_tool in
    gcc)
        gcc -std=c99 -O0 "$@" -include math.h -I"$header" $bound -fanalyzer -Werror -c -o "$one_out.o" "$examine_file" ;;
    clang-tidy)
        clang-tidy --quiet --checks="$tidy_checks" --config="$tidy_options" --header-filter='.*' \
            --warnings-as-errors='*' "$examine_file" -- -std=c99 "$@" -I"$header" ;;
    clang-paths)
        clang-tidy --quiet --checks="$path_checks" --header-filter='.*' --warnings-as-errors='*' \
            "$examine_file" -- -std=c99 "$@" -include math.h -I"$header" $paths ;;
    cppcheck)
        cppcheck --quiet --std=c99 --enable=warning,performance,portability --inline-suppr \
            --error-exitcode=3 --max-configs=1 -D__GNUC__=12 -D__x86_64__=1 -D__linux__=1 \
            -D__STDC_VERSION__=199901L -D__STDC_IEC_559__=1 -I"$header" "$@" "$examine_file" ;;
    esac
}
one() {
    one_out=$tmp/out.$1 one_start=$(date +%s)
    set -- $2
    examine "$@" >"$one_out" 2>&1
    one_status=$?
    if [ "$2" = planted ]; then
        one_status=$((one_status == 0))
        [ $one_status -eq 0 ] || echo 'the planted bug is not found' >>"$one_out"
    fi
    if [ $one_status -eq 0 ]; then one_word=passed; else one_word=failed; fi
    told "$one_out" $one_word $one_start "$(printf '%-12s %-30s' "$1" "$2")"
}
two_at_a_time "$tmp/jobs" one "$tmp"
told_sum
