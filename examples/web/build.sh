#!/bin/sh
# Builds the page: one file, twostep.html, that opens from disk and runs the header in the browser.
#
#   sh examples/web/build.sh [OUTPUT]      (default: twostep.html beside this script)
#
# Needs clang, wasm-ld, wasi-libc and clang's wasm32 runtime (Debian: clang lld wasi-libc
# libclang-rt-14-dev-wasm32). CLANG names another clang.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
output=${1:-$here/twostep.html}
clang=${CLANG:-clang}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-web.XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# program NAME FLAGS...: one build of the command, as a line of base64. Linking goes without -O, as
# clang would call wasm-opt with it, which may be too old for SIMD. The vector loops are as fast with
# -Os, and half the code is half of what the browser has to compile; the plain ones need -O2.
program() {
    name=$1
    shift
    "$clang" --target=wasm32-wasi -std=c99 "$@" -c "$here/web.c" -o "$tmp/$name.o"
    "$clang" --target=wasm32-wasi -Wl,--strip-all -Wl,-z,stack-size=1048576 "$tmp/$name.o" -lm -o "$tmp/$name.wasm"
    base64 <"$tmp/$name.wasm" | tr -d '\n' >"$tmp/$name.base64"
}
program simd -Os -msimd128 &
first=$!
program plain -O2
wait "$first"

# Each line `@FILE@` of page.html becomes that file.
while IFS= read -r line; do
    case $line in
    @simd@ | @plain@) name=${line#@} && cat "$tmp/${name%@}.base64" && echo ;;
    @*.js@ | @*.css@) name=${line#@} && cat "$here/${name%@}" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/page.html" >"$tmp/page"
cp "$tmp/page" "$output.partial"
mv "$output.partial" "$output"
echo "$output: $(wc -c <"$output") bytes"
