#!/bin/sh
# Can the tests fail? Breaks twostep.h in each of the ways listed in mutants.txt and sees whether the
# test named there notices.   sh tests/mutants.sh [-s] [-v] [-k PATTERN]
# -s tries every eighth one, and of the others only whether their text is still there.
tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
if ! command -v python3 >/dev/null 2>&1; then
    echo "skip: mutants: no python3"
    echo "0 passed, 0 failed"
    exit 0
fi
exec python3 "$tests/mutants.py" "$@"
