#!/usr/bin/env bash
# What only a machine with an NVIDIA GPU can check, in one command of at most ten minutes:
#
#   bench/run_gpu.sh [FOLDER OF CIFAR-10]
#
# STAGES are some of these, all by default:
#   build        the extension and the C++ tests, with nvcc, for the GPUs of this machine alone (into build/gpu)
#   test         the C++ tests; every backend of the GPU against the reference on the processor
#   sanitize     wrong and racing memory accesses, reads of what nobody wrote, barriers: compute-sanitizer
#   nb201 darts  masked passes in batches of MASKS (16), beside eager PyTorch in float32 and float16
#   search       whole searches
#   ncu          what the kernels that take most of a pass spend, in one pass of 8 masks: Nsight Compute
#
# A stage that fails or takes too long stops no other one; a table says at the end how each one ended, and all of
# them together take at most LIMIT (560) seconds. Everything is written to OUT, by default a fresh folder
# bench/results/GPU/COMMIT. Without `build`, the last build or else the installed package is run: build/gpu/python
# and build/gpu/tests can be made on a machine without a GPU, by the commands of that stage.
#
# Needs the CUDA toolkit, and a Python (PYTHON, python3 by default) with a CUDA build of PyTorch and what
# pyproject.toml lists under `dependencies` and, for the tests, `dev`. DEVICE is cuda:0 by default, WORKERS of pytest
# are 6.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
PYTHON=${PYTHON:-python3} DEVICE=${DEVICE:-cuda:0} MASKS=${MASKS:-16} WORKERS=${WORKERS:-6} LIMIT=${LIMIT:-560}
all="build test sanitize nb201 search darts ncu"
STAGES=${STAGES:-$all}
for name in $STAGES; do
    if [[ " $all " != *" $name "* ]]; then
        echo "$0: STAGES are some of $all but got $name" >&2
        exit 2
    fi
done
number=${DEVICE##*[!0-9]}
if ! gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader --id="${number:-0}"); then
    echo "$0: nvidia-smi, which comes with the NVIDIA driver, shows no such GPU as $DEVICE" >&2
    exit 2
fi
# Asked before anything starts: what all stages need, they would lack one after the other.
if ! lacking=$("$PYTHON" - "$STAGES" 2>&1 << 'END'
import re, sys, tomllib
from importlib.metadata import PackageNotFoundError, version

with open("pyproject.toml", "rb") as file:
    wanted = tomllib.load(file)["project"]["dependencies"]
for stage, packages in (("build", ["pybind11"]), ("test", ["hypothesis", "pytest", "pytest-xdist"])):
    wanted += packages if stage in sys.argv[1].split() else []
lacking = []
for each in wanted:
    name = re.match(r"[\w-]+", each)[0]
    try:
        version(name)
    except PackageNotFoundError:
        lacking.append(name)
sys.exit(f"it lacks {', '.join(lacking)}" if lacking else None)
END
); then
    echo "$0: PYTHON=$PYTHON cannot run the stages: ${lacking##*$'\n'}" >&2
    exit 2
fi
data=(--data gaussian)
if [ $# -gt 0 ]; then data=(--data cifar10 --data-dir "$1"); fi

if [ -z "${OUT:-}" ]; then
    commit=$(git describe --always --dirty --abbrev=7 '--exclude=*' 2> /dev/null || echo no-commit)
    folder=bench/results/$(tr '[:upper:]' '[:lower:]' <<< "$gpu" | tr -cs 'a-z0-9\n' -)/$commit
    OUT=$folder
    for ((again = 2; ; again++)); do
        [ -e "$OUT" ] || break
        OUT=$folder-$again
    done
fi
mkdir -p "$OUT" || exit 2
OUT=$(cd "$OUT" && pwd)
scratch=$(mktemp -d)
export PYTHONUNBUFFERED=1 ZNAS_CACHE=$scratch/cache

has() { [[ " $STAGES " == *" $1 "* ]]; }

# stage NAME SECONDS COMMAND...: what it prints goes to the log.
stage() {
    local name=$1 bound=$2 began=$SECONDS status=skipped
    shift 2
    if ((bound > LIMIT - SECONDS)); then bound=$((LIMIT - SECONDS)); fi
    if ((bound > 0)); then
        timeout --kill-after=3 "$bound" "$@" > "$scratch/$name.out" 2> "$scratch/$name.err" &
        running=$!
        wait "$running"
        status=$?
    else
        touch "$scratch/$name.out" "$scratch/$name.err"
    fi
    (echo "== $name: $*" && cat "$scratch/$name.out" "$scratch/$name.err") > "$scratch/$name.log"
    cat "$scratch/$name.log" >> "$OUT/log"
    printf '%-32s%8s%8s\n' "$name" "$status" "$((SECONDS - began))" | tee -a "$scratch/stages"
    case $status in 0 | 77 | skipped) ;; *) tail -n 12 "$scratch/$name.log" ;; esac
}

finish() {
    local status=$?
    trap - EXIT
    kill "${running:-}" 2> /dev/null
    (echo "$gpu: how the stages ended (124: out of time, 77: not for this machine), and their seconds" &&
        cat "$scratch/stages") > "$OUT/stages" 2> /dev/null
    printf '\n' && cat "$OUT/stages"
    echo "written to $OUT after $SECONDS s"
    rm -rf "$scratch"
    if awk 'NR > 1 && $2 != 0 && $2 != 77 { failed = 1 } END { exit !failed }' "$OUT/stages"; then exit 1; fi
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

if has build; then
    capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d . | sort -u | sed 's/$/-real/')
    stage configure 60 cmake -S . -B build/gpu -DCMAKE_BUILD_TYPE=Release -DZNAS_BUILD_TESTS=ON \
        -DZNAS_BUILD_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=${capabilities//$'\n'/;}" \
        "-DPython_EXECUTABLE=$(command -v "$PYTHON")" "-Dpybind11_DIR=$("$PYTHON" -m pybind11 --cmakedir)"
    stage compile 240 cmake --build build/gpu --parallel
    rm -rf build/gpu/python
    stage install 20 cmake --install build/gpu --prefix build/gpu/python
fi
# After a build that failed there are no kernels here, and what needs them says so: an older build is not measured.
if has build || [ -d build/gpu/python ]; then
    mkdir -p build/gpu/python/znas_engine
    for file in engine/znas_engine/*; do
        case $file in *.so) ;; *) cp -R "$file" build/gpu/python/znas_engine/ ;; esac
    done
    export PYTHONPATH=$PWD/build/gpu/python:$PWD/python${PYTHONPATH:+:$PYTHONPATH}
fi
stage doctor 30 "$PYTHON" -m znas doctor

# Nothing here is timed: side by side.
tests=build/gpu/tests/cpp
if has test; then
    for name in test_kernels test_native test_cuda; do stage $name 60 $tests/$name & done
    wait
    # pytest-benchmark, where it is installed, warns under xdist, and warnings are errors here. What these files
    # ask of no GPU is asked elsewhere.
    stage conformance 200 "$PYTHON" -m pytest -n "$WORKERS" --dist worksteal -q -p no:cacheprovider -p no:benchmark \
        --durations 10 -k "cuda or core_stub" tests/engine/test_conformance.py tests/engine/test_native_cuda.py \
        tests/engine/test_self_check.py tests/engine/test_random_graphs.py tests/engine/test_scores.py \
        tests/engine/test_core_stub.py &
fi
if has sanitize; then
    # `few` networks: everything takes many times as long. test_cuda has no such choice and reads none.
    sanitize() { # TOOL TEST [OPTION...]
        stage "$1-$2" 150 compute-sanitizer --tool "$1" "${@:3}" --print-limit 20 --error-exitcode 9 "$tests/$2" few
    }
    for name in test_native test_cuda; do
        sanitize memcheck $name --track-stream-ordered-races all &
        for tool in initcheck racecheck synccheck; do sanitize $tool $name & done
    done
fi
wait

passes() { # NAME SPACE SECONDS
    stage "$1" "$3" "$PYTHON" -m znas bench --device "$DEVICE" --space "$2" --images 256 "${data[@]}" --threads 1 \
        --masks "do" --masks-per-call "$MASKS" --rounds 7 --part peak --part passes --quiet --out "$OUT/$1.json" \
        --backend eager --backend eager-fp16-nhwc --backend native-fp16 --backend native-bf16 --backend native
    cat "$scratch/$1.out"
}
search() { # NAME SECONDS OPTION...: a line of search.jsonl
    stage "search-$1" "$2" "$PYTHON" -m znas search --device "$DEVICE" "${data[@]}" --json --quiet "${@:3}"
    if [ -s "$scratch/search-$1.out" ]; then
        "$PYTHON" -m json.tool --compact "$scratch/search-$1.out" >> "$OUT/search.jsonl"
    fi
}
naswot=(--preset naswot --images 256 --dtype float16)
if has nb201; then passes nb201 nasbench201 120; fi
if has search; then
    search nb201-p0 45 --space nasbench201 --p 0 "${naswot[@]}"
    search darts-p0.5 60 --space darts --p 0.5 "${naswot[@]}"
    search nb201-default 60 --space nasbench201
fi
if has darts; then passes darts darts 200; fi
if has ncu; then
    # The first kernels in float16 are those of the first masks: what checks the card is remembered from the stage
    # before, and calibration is in other types. So many launches hold a pass of the space (bench/roofline.py).
    metrics=gpu__time_duration.sum,sm__inst_executed.sum,sm__inst_executed.avg.per_cycle_active,dram__bytes.sum
    metrics+=,sm__throughput.avg.pct_of_peak_sustained_elapsed,sm__warps_active.avg.pct_of_peak_sustained_active
    profile() { # SPACE LAUNCHES OPTION...
        local run=("$PYTHON" -m znas search --device "$DEVICE" --space "$1" "${naswot[@]}" --threads 1 --quiet)
        stage "before-ncu-$1" 30 "${run[@]}" --p 0.95
        stage "ncu-$1" 60 ncu --clock-control none --csv --page raw --log-file "$OUT/ncu-$1.csv" --metrics $metrics \
            --section WarpStateStats --kernel-name-base demangled --kernel-name 'regex:[ :<]Float16[,>]' \
            --launch-count "$2" "${run[@]}" "${@:3}"
    }
    profile nasbench201 60 --p 0
    profile darts 100 --p 0.5
fi
