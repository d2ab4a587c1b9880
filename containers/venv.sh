#!/bin/sh
# venv.sh LOCK...: /opt/venv of Debian's Python, with the packages of hashed lock files. For a build stage, in the folder
# where it lies: /build. A site behind a proxy, a mirror or a CA of its own puts site.env (`export NAME=VALUE` lines; paths
# as in /build/ca.crt) and ca.crt beside it; neither leaves this stage.
set -eu
umask 022
cd /build
[ ! -f site.env ] || . ./site.env
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_CACHE_DIR=/build/cache

apt-get update -qq
apt-get install -qq --no-install-recommends python3 python3-venv ca-certificates

python3 -m venv uv
uv/bin/pip install -q --disable-pip-version-check --no-cache-dir --require-hashes -r core/uv.txt

python3 -m venv --without-pip /opt/venv
for lock; do shift; set -- "$@" -r "$lock"; done
# Bytecode that is valid whatever the files' times are: an image's code does not change, and its copies have other times.
PYC_INVALIDATION_MODE=UNCHECKED_HASH \
  uv/bin/uv pip install --python /opt/venv/bin/python --require-hashes --compile-bytecode "$@"
rm -rf cache /opt/venv/.lock
