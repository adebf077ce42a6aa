#!/bin/sh
# Installs every peer that Debian 12 has. Each is optional: the bench names and skips what is missing.
# PRIMME is not in Debian; with the Python module `primme` installed the svd part measures it too.
set -e
root=
[ "$(id -u)" -eq 0 ] || root=sudo
$root apt-get update -q
$root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    libopenblas-dev libblis-dev libdnnl-dev python3-numpy python3-scipy python3-torch
