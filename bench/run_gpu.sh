#!/usr/bin/env bash
# What only a machine with an NVIDIA GPU can check, in one command:
#
#   bench/run_gpu.sh [FOLDER OF CIFAR-10]
#
# builds with nvcc, holds every backend of the GPU against the CPU reference, looks for wrong memory accesses and
# races in the kernels, then measures masked passes and whole searches; raw samples go to bench/results/GPU/.
# Needs the CUDA toolkit with compute-sanitizer, and a Python (PYTHON, python3 by default) with a CUDA build of
# PyTorch and what pyproject.toml lists under `dependencies` and `dev`. DEVICE is cuda:0 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
DEVICE=${DEVICE:-cuda:0}
for tool in nvcc nvidia-smi compute-sanitizer; do
    if ! command -v $tool > /dev/null; then
        echo "$0: $tool is not on the PATH; it comes with the NVIDIA driver or the CUDA toolkit" >&2
        exit 2
    fi
done
data=(--data gaussian)
if [ $# -gt 0 ]; then data=(--data cifar10 --data-dir "$1"); fi

cmake -S . -B build/gpu -DCMAKE_BUILD_TYPE=Release -DZNAS_BUILD_TESTS=ON -DZNAS_BUILD_CUDA=ON \
    -DPython_EXECUTABLE="$(command -v "$PYTHON")" -Dpybind11_DIR="$("$PYTHON" -m pybind11 --cmakedir)"
cmake --build build/gpu --parallel
rm -rf build/gpu/python
cmake --install build/gpu --prefix build/gpu/python
for file in engine/znas_engine/*; do
    case $file in *.so) ;; *) cp -R "$file" build/gpu/python/znas_engine/ ;; esac
done
export PYTHONPATH=$PWD/build/gpu/python:$PWD/python

nvidia-smi
ctest --test-dir build/gpu --output-on-failure
for tool in memcheck racecheck; do
    for tests in test_native test_cuda; do
        compute-sanitizer --tool $tool --error-exitcode 1 "build/gpu/tests/cpp/$tests"
    done
done
"$PYTHON" -m pytest tests/engine/test_conformance.py tests/engine/test_native_cuda.py -k "cuda"
"$PYTHON" -m znas doctor
"$PYTHON" -m znas bench --device "$DEVICE" --images 256 --masks do --masks one-hot "${data[@]}" \
    --part peak --part passes --part search --out bench/results
