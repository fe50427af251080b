# Two commands do all their own set-up on a machine with Python 3.11+, make and a compiler:
#   make search   searches an architecture on embedded Gaussian images, no data to download
#   make test     passes the tests (set ZNAS_TEST_DATA to a folder with CIFAR-10 to run all of them)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := pyproject.toml CMakeLists.txt $(shell find python engine csrc -name '*.py' -o -name '*.json' -o -name '*.txt' -o -name '*.?pp' -o -name '*.inl' -o -name '*.cu' -o -name 'py.typed')
# ON turns compiler warnings into errors.
WERROR ?= OFF
# Whether installs are built for NVIDIA GPUs too: ON, OFF, or AUTO, where nvcc is on the PATH.
CUDA ?= AUTO

# torch of the environments here, which every change is tested with: of the range in pyproject.toml the last whose
# newest release is small where a wheel for the CPU lies at hand. `make test-vision` has the newest.
TORCH ?= torch<2.14

# A worker that has nothing left takes tests over from the others.
WORKERS := -n auto --dist worksteal

.PHONY: search test bench docs pictures screenshots tutorial lint format test-cpp test-sanitized test-minimum test-tensorrt test-vision cuda torture clean

search: $(VENV)/.installed
	$(BIN)/znas-engine search

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(WORKERS)

# Thousands of damaged files, killed runs, full disks and other strangers, in at most 20 minutes: a table of what
# came of them, in which `wrong` must be 0.
torture: $(VENV)/.installed-dev
	$(BIN)/python -m tests.torture

# What masked passes, starts and whole searches cost here, in about two minutes.
bench: $(VENV)/.installed
	$(BIN)/znas-engine bench --quick

# The pages that are made of the program: docs/cli.md.
docs: $(VENV)/.installed
	$(BIN)/python -m znas.cli.reference

# The committed pictures, from the numbers that are committed beside them.
pictures: $(VENV)/.installed
	$(BIN)/python bench/pictures.py

# Report pages of real searches, to be looked at: build/screenshots, and the README's docs/report.png.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python -m tests.screenshots

# The tutorial, with the outputs of a run.
tutorial: $(VENV)/.installed-dev
	$(BIN)/python bench/tutorial.py

# Style, types and layers of everything that is committed.
lint: $(VENV)/.installed-dev
	$(BIN)/ruff check python engine stubs tests bench examples
	$(BIN)/ruff format --check python engine stubs tests bench examples
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/clang-format --dry-run --Werror $$(find csrc tests/cpp -name '*.?pp' -o -name '*.inl' -o -name '*.cu')

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix python engine stubs tests examples
	$(BIN)/ruff format python engine stubs tests examples
	$(BIN)/clang-format -i $$(find csrc tests/cpp -name '*.?pp' -o -name '*.inl' -o -name '*.cu')

# The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer; no Python involved. -O2 takes longer to
# compile than the tests gain by it.
SANITIZED := build/sanitized
CONFIGURE_SANITIZED := cmake -S . -B $(SANITIZED) -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1 -DNDEBUG" -DZNAS_BUILD_TESTS=ON -DZNAS_BUILD_CUDA=OFF -DZNAS_WERROR=ON -DZNAS_SANITIZE=ON
test-cpp:
	$(CONFIGURE_SANITIZED) -DZNAS_BUILD_PYTHON=OFF -DZNAS_EMULATED_GPU=OFF
	cmake --build $(SANITIZED) --parallel
	ctest --test-dir $(SANITIZED) --output-on-failure

# The kernels and the native executor's conformance under the same sanitizers, in the same build: all kinds of
# masks, all spaces, all norms, both precisions, every instruction set; of the weights, which no address depends
# on, one kind, of DARTS in chunks of images one precision, and on each instruction set one norm. The sanitizers are
# loaded before Python and report to stderr, which pytest must not capture; fresh memory is NaN, so that reading it
# shows.
test-sanitized: $(VENV)/.installed-dev
	$(CONFIGURE_SANITIZED) -DZNAS_BUILD_PYTHON=ON -DZNAS_EMULATED_GPU=OFF $(PYTHON_MODULE)
	cmake --build $(SANITIZED) --parallel --target _core
	rm -rf $(SANITIZED)/python
	cmake --install $(SANITIZED) --prefix $(SANITIZED)/python
	cp -R $$(ls -d engine/znas_engine/* | grep -v '\.so$$') $(SANITIZED)/python/znas_engine
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libstdc++.so)" ASAN_OPTIONS=detect_leaks=0:max_malloc_fill_size=1073741824:malloc_fill_byte=255 \
		PYTHONMALLOC=malloc PYTHONPATH=$(SANITIZED)/python $(BIN)/python -m pytest $(WORKERS) --capture=sys tests/engine/test_kernels.py \
		tests/engine/test_grams.py tests/engine/test_conformance.py -k "not numpy and (test_kernels or test_grams or every_instruction_set or NativeCpu) and not uniform and not constant \
		and not (darts and half_precision) and not (darts and every_instruction_set and (batch or identity))"

# The lowest versions that pyproject.toml allows (torch excepted: its older builds differ by machine), without
# the tests on real images, which ask nothing more of a dependency, and of the others those that ask about
# dependencies at all (tests/conftest.py).
test-minimum: $(VENV)-minimum/.installed
	env -u ZNAS_TEST_DATA $(VENV)-minimum/bin/python -m pytest $(WORKERS) --versions tests/engine tests/znas

# The GPU half, every warning an error, with nvcc: for the newest GPU that CMakeLists.txt names as it is shipped, and
# for the oldest only to see that it takes all of it (no source asks for the GPU that it is compiled for:
# tests/znas/test_ptxas_facts.py; what both take, those between take). It must load without a GPU, and its tests run
# where there is one (ctest skips test_cuda elsewhere). What the compiler makes of the kernels has limits; what the
# host runs is optimised as little as its tests need.
# In the same build the same sources on a processor that plays the GPU: the C++ tests and the conformance test; and
# the C++ tests once more under sanitizers (device memory has its exact size there; in the build of test-cpp, whose
# other half is the same).
PYTHON_MODULE = -DPython_EXECUTABLE=$(abspath $(BIN)/python) -Dpybind11_DIR="$$($(BIN)/python -m pybind11 --cmakedir)"
EMULATED := build/cuda/emulated
cuda: $(VENV)/.installed-dev
	cmake -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG" -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=OFF \
		-DZNAS_BUILD_TESTS=ON -DZNAS_BUILD_CUDA=ON -DZNAS_EMULATED_GPU=ON -DZNAS_WERROR=ON $(PYTHON_MODULE) \
		-DCMAKE_CUDA_ARCHITECTURES=90 "-DCMAKE_CUDA_COMPILER_LAUNCHER=$(abspath $(BIN)/python);$(abspath bench/ptxas_facts.py);--launch"
	cmake --build build/cuda --parallel
	for kernels in csrc/src/cuda/*.cu; do \
		nvcc -std=c++20 --Werror=all-warnings -arch=sm_80 --Ofast-compile=max -Icsrc/include -Icsrc/src/cuda -Icsrc/src/native \
			-cubin -o build/cuda/$$(basename $$kernels).sm_80 $$kernels || exit 1; \
	done
	ctest --test-dir build/cuda --output-on-failure
	cd build/cuda && $(abspath $(BIN)/python) -c 'import _core; print("built for GPUs; here are", _core.cuda_device_count())'
	$(BIN)/python bench/ptxas_facts.py --built build/cuda --arch sm_90 --check
	$(CONFIGURE_SANITIZED) -DZNAS_BUILD_PYTHON=OFF -DZNAS_EMULATED_GPU=ON
	cmake --build $(SANITIZED) --parallel
	ctest --test-dir $(SANITIZED) --output-on-failure --tests-regex emulated
	rm -rf $(EMULATED)
	cmake --install build/cuda --component emulated --prefix $(EMULATED)
	cp -R $$(ls -d engine/znas_engine/* | grep -v '\.so$$') $(EMULATED)/znas_engine
	ZNAS_EMULATED_GPUS=2 PYTHONPATH=$(EMULATED) $(BIN)/python -m pytest $(WORKERS) tests/engine/test_conformance.py \
		tests/engine/test_native_cuda.py tests/engine/test_core_stub.py tests/engine/test_scores.py \
		tests/engine/test_random_graphs.py tests/engine/test_self_check.py tests/engine/test_auto_gpu.py \
		tests/znas/test_roofline.py -k "(test_native_cuda or test_core_stub or native-cuda or which_card or roofline or \
		(NativeCuda and not uniform and not constant and not (half_precision and darts and (batch or identity)))) \
		and not (counts_are_made and calibrated)"

# Plans, with the real TensorRT-RTX builder: its wheels (150 MB) lie in a folder of their own; no GPU is needed.
test-tensorrt: $(VENV)/.installed-dev build/tensorrt/.installed
	PYTHONPATH=$(CURDIR)/build/tensorrt ZNAS_REQUIRE_TENSORRT=1 $(BIN)/python -m pytest $(WORKERS) tests/engine/test_tensorrt.py

# What torchvision and timm do here, and with the newest torch what a version can change, in an environment of its own:
# torchvision can only be imported beside the very torch that it was built with, a download of gigabytes.
test-vision: $(VENV)-vision/.installed
	env -u ZNAS_TEST_DATA ZNAS_REQUIRE_TORCHVISION=1 $(VENV)-vision/bin/python -m pytest $(WORKERS) --versions \
		tests/vision tests/engine tests/znas

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "znas-engine needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# One wheel for every environment: C++ is compiled once. pip keeps an installed one of the same version, hence
# the `uninstall`, which says so where there is none yet.
build/wheel/.built: $(BIN)/python $(SOURCES)
	rm -rf build/wheel
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir build/wheel --config-settings cmake.define.ZNAS_WERROR=$(WERROR) --config-settings cmake.define.ZNAS_BUILD_CUDA=$(CUDA) .
	touch $@

WHEEL = "$$(ls $(CURDIR)/build/wheel/*.whl)"
$(VENV)/.installed: build/wheel/.built
	$(BIN)/pip uninstall --quiet --quiet --yes znas-engine
	$(BIN)/pip install --quiet $(WHEEL) '$(TORCH)'
	touch $@

$(VENV)/.installed-dev: build/wheel/.built
	$(BIN)/pip uninstall --quiet --quiet --yes znas-engine
	$(BIN)/pip install --quiet $(WHEEL)'[dev]' '$(TORCH)'
	touch $@ $(VENV)/.installed

# torch, of which the newest is tested here too, and what it brings are those of $(VENV), by links.
OF_TORCH := torch|functorch|nvidia|cuda|triton|sympy|mpmath|networkx|jinja2|fsspec|filelock
$(VENV)-minimum/.installed: $(VENV)/.installed-dev tests/minimum-versions.txt
	rm -rf $(VENV)-minimum
	$(PYTHON) -m venv $(VENV)-minimum
	find $(abspath $(VENV))/lib/python3*/site-packages -maxdepth 1 -regextype egrep -regex '.*/($(OF_TORCH))[^/]*' \
		-exec ln -s -t $(VENV)-minimum/lib/python3*/site-packages {} +
	$(VENV)-minimum/bin/pip install --quiet -r tests/minimum-versions.txt $(WHEEL)'[testing,vision]'
	touch $@

$(VENV)-vision/.installed: build/wheel/.built
	$(PYTHON) -m venv $(VENV)-vision
	$(VENV)-vision/bin/pip uninstall --quiet --quiet --yes znas-engine
	$(VENV)-vision/bin/pip install --quiet $(WHEEL)'[testing,torchvision,train,vision]' 'torch>=2.14' timm pytest-xdist
	touch $@

build/tensorrt/.installed: pyproject.toml $(BIN)/python
	rm -rf build/tensorrt
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["trt-rtx"])' \
	| xargs $(BIN)/pip install --quiet --no-deps --target build/tensorrt
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-minimum $(VENV)-vision build dist
