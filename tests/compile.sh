#!/bin/sh
# Clean compile: twostep.h and the examples under gcc, clang, g++, clang++, tcc and musl-gcc, with
# the strict flags and -Werror, in every way the header can be included. Objects are made where
# the optimiser, the frame sizes or the symbols matter; elsewhere the syntax is enough.
#
#   sh tests/compile.sh      prints what fails, and `N passed, N failed` at the end

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$tests")
header=${TWOSTEP_DIR:-$root}
. "$tests/jobs.sh"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-compile.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
: >"$tmp/results"

# what C must be clean under, and C++
strict="-pedantic -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wundef
 -Wstrict-prototypes -Wmissing-prototypes -Wdouble-promotion -Wcast-qual -Wvla
 -Wframe-larger-than=8192 -Werror"
strict=$(echo $strict)
room='-I"$header"' # expanded when the job runs, so that a path may hold spaces
cplusplus="-x c++ -Wall -Wextra -Wshadow -Wundef -Werror"

# ---- the small programs ----

cat >"$tmp/implement.c" <<'END'
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
END
cat >"$tmp/static.c" <<'END'
#define TWOSTEP_STATIC
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
extern int answer(void);
int answer(void) { return tws_version() != TWS_VERSION; }
END
cat >"$tmp/unused.c" <<'END'
#define TWOSTEP_STATIC
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
extern int answer;
int answer = 0;
END
cat >"$tmp/twice.c" <<'END'
#include "twostep.h"
#include "twostep.h"
extern int answer(void);
int answer(void) { return tws_version() != TWS_VERSION; }
END
cat >"$tmp/later.c" <<'END'
#include "twostep.h"
extern int answer(void);
int answer(void) { return tws_version() != TWS_VERSION; }
#define TWOSTEP_IMPLEMENTATION
#include "twostep.h"
#include "twostep.h"
END
cat >"$tmp/user.c" <<'END'
#include <stdio.h>
#include "twostep.h"
int main(void) {
    tws_context context = tws_default_context();
    int bad = tws_version() != TWS_VERSION || tws_context_threads(&context) < 1 ||
              !tws_kernel_available(tws_context_kernel(&context)) ||
              tws_status_text(TWS_OK)[0] == 0;
    printf("%s\n", bad ? "wrong" : "right");
    return bad;
}
END

# ---- the list: a line is `name : command`, run in the folder of the small programs ----

job() {
    job_name=$1
    shift
    echo "$job_name : $*" >>"$tmp/jobs"
}

# all_symbols OBJECT: an implementing object shows exactly the functions that the header declares.
all_symbols() {
    $1 -E -P -I"$header" twice.c | tr '\n' ' ' | tr ';{}' '\n\n\n' | grep 'extern ' |
        sed -n 's/.*[ *]\(tws_[a-z0-9_]*\) *(.*/\1/p' | sort -u >"$2.declared"
    nm -g --defined-only "$2" | awk '{ print $NF }' | sort -u >"$2.defined"
    [ -s "$2.declared" ] && diff "$2.declared" "$2.defined" | sed -n \
        -e 's/^< /declared but not defined: /p' -e 's/^> /defined but not declared: /p' >"$2.diff"
    cat "$2.diff"
    [ ! -s "$2.diff" ]
}

# no_symbols OBJECT: with TWOSTEP_STATIC only the user's own name remains.
no_symbols() {
    nm -g --defined-only "$1" | awk '$NF != "answer" { print "defined: " $NF; bad = 1 } END { exit bad }'
}

# The long jobs first, so that the two workers end together.
for cc in gcc clang; do
    if ! has $cc; then
        echo "skip: $cc: not installed"
        continue
    fi
    c="$cc -std=c99 $strict $room"
    nm_float=: nm_static=:
    if has nm; then
        nm_float="all_symbols $cc $cc.o" nm_static="no_symbols $cc-static.o"
    fi
    if [ -f "$root/examples/twostep.c" ]; then
        job "$cc twostep.c -O2" $cc -std=c99 $strict -O2 -c -o $cc-command.o \
            '"$root"/examples/twostep.c'
    fi
    job "$cc -O2, symbols, two files" $c -O2 -c -o $cc.o implement.c '&&' "$nm_float" '&&' \
        $c -O2 -o $cc-two user.c $cc.o -lm '&&' ./$cc-two
    job "$cc -O2 double" $c -O2 -DTWOSTEP_DOUBLE -c -o $cc-double.o implement.c
    graph= walk=: walk_double=:
    if [ $cc = gcc ] && has python3; then
        graph=-fcallgraph-info=su
        walk='python3 "$tests"/callgraph.py gcc-O0.ci'
        walk_double='python3 "$tests"/callgraph.py gcc-double-O0.ci'
    fi
    job "$cc -O0${graph:+, call graph}" $c -O0 $graph -c -o $cc-O0.o implement.c '&&' "$walk"
    job "$cc -O0 double${graph:+, call graph}" $c -O0 $graph -DTWOSTEP_DOUBLE -c \
        -o $cc-double-O0.o implement.c '&&' "$walk_double"
    # Each of these adds little to what the other compiler says, and takes as long as any.
    case $cc in
    gcc) job "$cc -O1" $c -O1 -c -o $cc-O1.o implement.c ;;
    clang) job "$cc -O2 TWOSTEP_NO_AMX" $c -O2 -DTWOSTEP_NO_AMX -c -o $cc-no-amx.o implement.c ;;
    esac
    job "$cc -O3 TWOSTEP_NO_SIMD double" $c -O3 -DTWOSTEP_NO_SIMD -DTWOSTEP_DOUBLE -c \
        -o $cc-O3.o implement.c
    job "$cc -O2 TWOSTEP_NO_SIMD" $c -O2 -DTWOSTEP_NO_SIMD -c -o $cc-plain.o implement.c
    job "$cc -O0 TWOSTEP_NO_THREADS" $c -O0 -DTWOSTEP_NO_THREADS -DTWOSTEP_NO_SIMD -c \
        -o $cc-alone.o implement.c
    job "$cc -O0 TWOSTEP_STATIC" $c -O0 -c -o $cc-unused-O0.o unused.c
    job "$cc -O2 TWOSTEP_STATIC, no symbols" $c -O2 -c -o $cc-static.o static.c '&&' "$nm_static"
done
for cc in gcc clang; do
    has $cc || continue
    for std in c99 c17 gnu99; do
        c="$cc -std=$std $strict -O2 -fsyntax-only $room"
        for real in '' -DTWOSTEP_DOUBLE; do
            [ $std = c99 ] || job "$cc $std $real" $c $real implement.c
            job "$cc $std $real TWOSTEP_STATIC" $c $real unused.c
            job "$cc $std $real TWOSTEP_NO_SIMD" $c $real -DTWOSTEP_NO_SIMD implement.c
            job "$cc $std $real TWOSTEP_NO_THREADS" $c $real -DTWOSTEP_NO_THREADS implement.c
            job "$cc $std $real included twice" $c $real twice.c
        done
        job "$cc $std header first, then implementation" $c later.c
        job "$cc $std plain and alone" $c -DTWOSTEP_NO_SIMD -DTWOSTEP_NO_THREADS unused.c
        for file in "$root"/examples/*.c; do
            [ -f "$file" ] && job "$cc $std $(basename "$file")" $c "\"\$root\"/examples/$(basename "$file")"
        done
    done
    for file in "$header/twostep.h" "$root"/examples/*.h; do
        [ -f "$file" ] || continue
        grep -qE "[Pp]art of (examples/)?twostep.c" "$file" && continue # read where twostep.c includes it
        name=$(basename "$file" .h)
        printf '#include "%s"\nextern int answer;\nint answer = 0;\n' "$file" >"$tmp/alone-$name.c"
        job "$cc $name.h alone" $cc -std=c99 $strict -fsyntax-only alone-$name.c
    done
done
# The examples on Windows: its headers take words like far, and it has no fcntl.
windows=x86_64-w64-mingw32-gcc
if has $windows; then
    for name in twostep narrow hello lessons/01-bulk; do
        job "$windows $name.c" $windows -std=c99 $strict -O0 -o windows-${name##*/}.exe \
            "\"\$root\"/examples/$name.c" -lm
    done
else
    echo "skip: $windows: not installed"
fi
# The benches see the inside of the header: a name that changes there must change here.
for file in "$root"/bench/*.c "$root"/bench/peers/*.c; do
    [ -f "$file" ] && has gcc || continue
    place=${file#"$root"/}
    job "gcc $place" gcc -std=gnu99 -Wall -Wextra -Werror -O2 -fsyntax-only $room "\"\$root\"/$place"
done
for cc in g++ clang++; do
    if ! has $cc; then
        echo "skip: $cc: not installed"
        continue
    fi
    job "$cc c++11 -O0, two files" $cc -std=c++11 $cplusplus -O0 $room -c -o $cc.o implement.c \
        '&&' $cc -std=c++11 $cplusplus $room -c -o $cc-user.o user.c \
        '&&' $cc -o $cc-two $cc-user.o $cc.o -lm '&&' ./$cc-two
    job "$cc c++11 -O1" $cc -std=c++11 $cplusplus -O1 $room -c -o $cc-O1.o implement.c
    for std in c++11 c++20; do
        c="$cc -std=$std $cplusplus -O2 -fsyntax-only $room"
        job "$cc $std double" $c -DTWOSTEP_DOUBLE implement.c
        job "$cc $std TWOSTEP_STATIC" $c unused.c
        job "$cc $std TWOSTEP_NO_SIMD" $c -DTWOSTEP_NO_SIMD implement.c
        job "$cc $std included twice" $c twice.c
        job "$cc $std header first, then implementation" $c later.c
    done
done
if has gcc && has g++; then
    job "C implementation, C++ user" gcc -std=c99 -O0 -DTWOSTEP_NO_SIMD $room -c -o mixed.o \
        implement.c '&&' g++ -std=c++11 $cplusplus $room -c -o mixed-user.o user.c '&&' \
        g++ -o mixed mixed-user.o mixed.o -lm '&&' ./mixed
fi
if has tcc; then
    job "tcc" tcc -std=c99 -Wall -Werror $room -c -o tcc.o implement.c '&&' \
        tcc -std=c99 -Wall -Werror $room -o tcc-two user.c tcc.o -lm '&&' ./tcc-two
    job "tcc double" tcc -std=c99 -Wall -Werror -DTWOSTEP_DOUBLE $room -c -o tcc-d.o implement.c
else
    echo "skip: tcc: not installed"
fi
if has musl-gcc; then
    job "musl-gcc -static" musl-gcc -static -std=c99 $strict -O1 $room -o musl-two \
        implement.c user.c -lm '&&' ./musl-two
else
    echo "skip: musl-gcc: not installed"
fi
has nm || echo "skip: nm: not installed, symbols not checked"

# What callgraph.py is there to find: a ring, a large frame, a frame without a fixed size, and a
# stack that is deep only through a pointer.
cat >"$tmp/planted-ring.c" <<'END'
extern int a(int), b(int), c(int);
int a(int x) { return x ? b(x - 1) : 0; }
int b(int x) { return x ? c(x - 1) : 1; }
int c(int x) { return x ? a(x - 1) : 2; }
END
cat >"$tmp/planted-frame.c" <<'END'
extern int a(int), b(int);
int a(int x) { volatile char large[9000]; large[x] = 1; return large[x]; }
int b(int x) { return a(x); }
END
cat >"$tmp/planted-open.c" <<'END'
extern int a(int), b(int);
int a(int x) { volatile char open[x]; open[x / 2] = 1; return open[x / 2]; }
int b(int x) { return a(x); }
END
{
    echo 'typedef int (*call)(int);'
    echo 'static int f0(int x) { volatile char some[8000]; some[x] = 1; return some[x]; }'
    for k in 1 2 3 4 5 6 7 8; do
        echo "static int f$k(int x) { volatile char some[8000]; some[x] = 1; return f$((k - 1))(some[x]); }"
    done
    echo 'extern const call deep; const call deep = f8; extern int a(int); int a(int x) { return deep(x); }'
} >"$tmp/planted-deep.c"
if has gcc && has python3; then
    for bug in ring frame open deep; do
        job "call graph: planted $bug" gcc -O0 -fcallgraph-info=su -c -o planted-$bug.o planted-$bug.c '&&' \
            '!' python3 '"$tests"/callgraph.py' planted-$bug.ci
    done
else
    echo "skip: call graph: no gcc or no python3"
fi

# ---- run them ----

compile_one() {
    compile_name=${2%% : *}
    compile_log=$tmp/log.$1
    if (cd "$tmp" && eval "${2#* : }") >"$compile_log" 2>&1 && ! grep -qi 'warning' "$compile_log"; then
        echo pass >>"$tmp/results"
    else
        echo fail >>"$tmp/results"
        { echo "failed: $compile_name"; head -n 12 "$compile_log" | sed 's/^/    /'; } >"$compile_log.told"
        cat "$compile_log.told"
    fi
}
touch "$tmp/jobs"
two_at_a_time "$tmp/jobs" compile_one "$tmp"

passed=$(grep -c pass "$tmp/results")
failed=$(($(wc -l <"$tmp/jobs") - passed))
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
