#!/bin/sh
# compile.sh ARCHS WHAT...: what the registry has no wheels of is built and put into /opt/venv, in a build stage after
# venv.sh. WHAT: arguments of `uv pip install`. ARCHS: the GPUs that operators are compiled for, as in
# TORCH_CUDA_ARCH_LIST; with none there are the CPU's only. nvcc is the registry's too (build.txt), in a folder that stays
# in this stage.
set -eu
umask 022
cd /build
[ ! -f site.env ] || . ./site.env
export DEBIAN_FRONTEND=noninteractive UV_PYTHON_DOWNLOADS=never UV_NO_CONFIG=1 UV_CACHE_DIR=/build/cache
export UV_PYTHON=/opt/venv/bin/python
archs=$1
shift
[ ! -d sources/sources ] || mv sources/sources/* sources/ # Apptainer copies a folder, Docker what is in it

apt-get update -qq
apt-get install -qq --no-install-recommends g++ python3-dev

uv/bin/uv pip install --target tools --require-hashes -r compile/build.txt
export PATH=/build/tools/bin:$PATH PYTHONPATH=/build/tools CFLAGS=-g0
if [ -n "$archs" ]; then
  cuda=$(echo /opt/venv/lib/python3*/site-packages/nvidia/cu13)/include # cuBLAS' and others', which come with torch
  export FORCE_CUDA=1 TORCH_CUDA_ARCH_LIST="$archs" CUDA_HOME=/build/tools/nvidia/cu13 CPATH="$cuda"
  ln -sf libcudart.so.13 $CUDA_HOME/lib/libcudart.so
fi
# a compiler at work takes up to 2 GB
rooms=$(awk '/^MemAvailable/ {print int($2 / 2e6) + 1}' /proc/meminfo) cores=$(nproc)
export MAX_JOBS="${MAX_JOBS:-$((rooms < cores ? rooms : cores))}"
PYC_INVALIDATION_MODE=UNCHECKED_HASH uv/bin/uv pip install --no-build-isolation --no-deps --compile-bytecode "$@"
rm -rf cache /opt/venv/.lock
