#!/bin/sh
# The page of examples/web in a headless Chromium: built, loaded from disk, every control changed,
# numbers compared with those of the command built here.
#
#   sh tests/browser.sh
#   CHROMIUM      the browser (chromium, chromium-browser or google-chrome on the path)
#   SCREENSHOTS   a folder for pictures of the page, to look at

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
root=$(dirname -- "$tests")
. "$tests/jobs.sh"

skip() {
    echo "skip: browser: $1"
    echo '0 passed, 0 failed'
    exit 0
}

has python3 || skip 'no python3'
for name in ${CHROMIUM:-chromium chromium-browser google-chrome}; do
    has "$name" && browser=$name && break
done
[ -n "${browser:-}" ] || skip 'no chromium'
has "${CLANG:-clang}" || skip 'no clang'
has wasm-ld || skip 'no wasm-ld (lld)'
tmp=$(mktemp -d "${TMPDIR:-/tmp}/twostep-browser.XXXXXX") || exit 2
trap 'rm -rf "$tmp"' EXIT
echo 'int main(void) { return 0; }' >"$tmp/try.c"
"${CLANG:-clang}" --target=wasm32-wasi -o "$tmp/try.wasm" "$tmp/try.c" >/dev/null 2>&1 ||
    skip 'clang has no wasm32-wasi (wasi-libc, libclang-rt-14-dev-wasm32)'

${CC:-cc} -std=c99 -O2 -o "$tmp/twostep" "$root/examples/twostep.c" -lm -pthread &&
    sh "$root/examples/web/build.sh" "$tmp/twostep.html" >"$tmp/built" 2>&1 || {
    cat "$tmp/built"
    echo 'failed: the page does not build'
    echo '0 passed, 1 failed'
    exit 1
}
python3 -B "$tests/browser/page.py" "$browser" "$tmp/twostep.html" "$tmp/twostep" "$tmp"
