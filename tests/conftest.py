"""Shared by all tests: real images where they are at hand, and a cache of the session's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from znas_engine import silent
from znas_engine.backends import BACKENDS, missing
from znas_engine.data import Batch, load
from znas_engine.devices import FIRST
from znas_engine.spaces import SPACES as REGISTRY
from znas_engine.spaces import Macro, SearchSpace, get_space, resize

silent.quieten(os.environ)  # some tests import onnxruntime themselves
# No test asserts a time: a busy machine must not fail one.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")

#: Its packages are of the extra `train`, which the oldest dependencies are tested without.
collect_ignore = [] if find_spec("lightning") else ["znas/test_training.py", "znas/test_training_parts.py"]

#: Parameters that numbers depend on, but not which calls of a dependency are made. Norms, backends, types and
#: formats are none, nor are spaces where the engine is tested: they decide what operators a graph has.
SIZES = {"classes", "envs", "images", "init", "isa", "players", "resolution", "samples", "shape", "threads"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--versions",
        action="store_true",
        help="what asks about versions of dependencies, where all pass with the newest: none marked `ours`, "
        "of those that differ in sizes and weights alone the first, every other parameter's values once, of "
        "drawn examples a tenth",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--versions"):
        hypothesis_settings.register_profile(
            "few", hypothesis_settings.get_profile("untimed"), max_examples=10
        )
        hypothesis_settings.load_profile("few")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--versions"):
        return
    kept: list[pytest.Item] = []
    seen: dict[str, set[tuple[str, int]]] = {}
    for item in items:
        # What is skipped here must not stand for what would run.
        if item.get_closest_marker("ours") or any(mark.args[0] for mark in item.iter_markers("skipif")):
            continue
        sizes = SIZES if item.path.is_relative_to(config.rootpath / "tests" / "engine") else SIZES | {"space"}
        called = getattr(item, "callspec", None)
        params = {} if called is None else called.params
        values = {(name, id(value)) for name, value in params.items() if name not in sizes}
        test = item.nodeid.partition("[")[0]
        if test not in seen or values - seen[test]:
            kept.append(item)
            seen.setdefault(test, set()).update(values)
    chosen = set(kept)
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = kept


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("ZNAS_CACHE")
    os.environ["ZNAS_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["ZNAS_CACHE"]
    else:
        os.environ["ZNAS_CACHE"] = before


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder named by ZNAS_TEST_DATA: CIFAR-10 and the benchmark tables."""
    named = os.environ.get("ZNAS_TEST_DATA")
    if not named or not Path(named).is_dir():
        pytest.skip("ZNAS_TEST_DATA does not name a folder with cifar-10-batches-py and the tables")
    return Path(named).resolve()


@pytest.fixture(scope="session")
def cifar(test_data: Path) -> Batch:
    """70 real images, 16x16: two chunks of unequal content."""
    return load("cifar10", data_dir=test_data, resolution=16).batch(70, seed=0)


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest) -> Batch:
    """Real images if there are any, labelled noise otherwise."""
    if os.environ.get("ZNAS_TEST_DATA"):
        batch: Batch = request.getfixturevalue("cifar")
        return batch
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((70, 3, 16, 16), dtype=np.float32)
    return Batch(pixels, rng.permutation(np.arange(70) % 10))


DRIVER = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = atoi(getenv("GPUS")); return 0; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
    strncpy(name, device == 40 ? "First" : "Second", size);
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int capability = atoi(getenv("CAPABILITY")) + 10 * (device - 40);
    *value = attribute == 75 ? capability / 10 : attribute == 76 ? capability % 10 : -1;
    return 0;
}
"""
MANAGEMENT = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.95.05", size); return 0; }
"""


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for NVIDIA's driver: $GPUS of them, the first of compute capability $CAPABILITY / 10."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a stand-in for the driver with")
    folder = tmp_path_factory.mktemp("driver")
    for name, source in (("libcuda.so.1", DRIVER), ("libnvidia-ml.so.1", MANAGEMENT)):
        subprocess.run(
            [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", folder / name],
            input=source,
            text=True,
            check=True,
        )
    return folder


def backends(*, but: str = "") -> list[Any]:
    """Every backend, as a parameter of a test; `trt` is skipped where it cannot run, which says why."""
    why = missing("trt")
    skip = pytest.mark.skipif(why is not None, reason=f"--backend trt: {why}")
    return [pytest.param(name, marks=[skip] * (name == "trt")) for name in BACKENDS.names() if name != but]


def targets(*, but: tuple[str, str] = ("", "")) -> list[Any]:
    """Every backend on the first device of every kind that it serves, skipped where that cannot run."""
    found = []
    for name in BACKENDS.names():
        for kind in BACKENDS.get(name).devices:
            why = missing(name, FIRST[kind])
            skip = pytest.mark.skipif(why is not None, reason=f"--backend {name} --device {kind}: {why}")
            if (name, kind) != but:
                found.append(pytest.param(name, FIRST[kind], marks=skip, id=f"{name}-{kind}"))
    return found


SPACES: dict[str, SearchSpace[Any]] = {name: get_space(name) for name in REGISTRY.builtin}
SMALL = {
    name: {"supernet_channels": 4, "supernet_cells": space.proxy_macro(resolution=16, classes=10).cells}
    for name, space in SPACES.items()
}


def small(space: SearchSpace[Any], classes: int = 10) -> Macro:
    """The smallest supernet that has every kind of cell."""
    return resize(space.proxy_macro(resolution=16, classes=classes), channels=4, cells=None)
