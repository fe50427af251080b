"""What the driver tells, read from a stand-in for it: a library of the same names that knows one GPU."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from znas_engine.errors import MissingDependencyError
from znas_engine.gpu import gpus

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
    *value = attribute == 75 ? (device == 40 ? 9 : 12) : attribute == 76 ? device - 40 : -1;
    return 0;
}
"""
MANAGEMENT = """
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { strncpy(text, "580.95.05", size); return 0; }
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1 and libnvidia-ml.so.1."""
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


def asked(code: str, driver: Path, count: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_LIBRARY_PATH": str(driver), "GPUS": str(count)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_gpus_are_named_in_order(driver: Path) -> None:
    found = asked("from znas_engine.gpu import gpus; print(*gpus(), sep='\\n')", driver, 2).splitlines()
    assert found == [
        "Gpu(name='First', capability='9.0', driver='580.95.05')",
        "Gpu(name='Second', capability='12.1', driver='580.95.05')",
    ]


def test_a_driver_without_a_gpu_is_one_clear_line(driver: Path) -> None:
    code = """
from znas_engine.errors import MissingDependencyError
from znas_engine.gpu import gpus
try:
    gpus()
except MissingDependencyError as error:
    print(error)
"""
    assert asked(code, driver, 0) == "the NVIDIA driver shows no GPU (cuInit gave 0)\n"


def test_doctor_tells_driver_and_compute_capability(driver: Path) -> None:
    done = asked("from znas.cli import main; main(['doctor', '--json'])", driver, 1)
    checks = {check["name"]: check for check in json.loads(done)}
    assert checks["gpu"]["detail"] == "First (compute capability 9.0); driver 580.95.05"


def test_no_driver_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        found = gpus()
    except MissingDependencyError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "NVIDIA driver" in str(error)  # noqa: PT017
    else:
        assert found
