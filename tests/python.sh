#!/bin/sh
# examples/python/twostep.py against NumPy and SciPy.
#
#   sh tests/python.sh
#   PYTHON   an interpreter that has NumPy and SciPy; python3 and /usr/bin/python3 are tried

tests=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 2
for python in ${PYTHON:-python3 /usr/bin/python3}; do
    if "$python" -c 'import numpy, scipy' 2>/dev/null; then
        exec "$python" -B "$tests/python.py"
    fi
done
echo 'skip: python: no interpreter with numpy and scipy (python3-numpy, python3-scipy)'
echo '0 passed, 0 failed'
