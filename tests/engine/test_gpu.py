"""What a driver tells. It is a stand-in, libraries of the same names (see `driver`): no GPU is needed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from znas_engine.errors import MissingDependencyError
from znas_engine.gpu import MEASURED, gpus

pytestmark = pytest.mark.ours


def asked(code: str, driver: Path, count: int) -> str:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"LD_LIBRARY_PATH": str(driver), "GPUS": str(count), "CAPABILITY": "90"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_what_auto_takes_was_measured() -> None:
    """The folders of bench/results are named as bench/run_gpu.sh names them, by the whole name of a card."""
    folders = [folder.name for folder in (Path(__file__).parents[2] / "bench" / "results").iterdir()]
    for card in MEASURED.values():
        short = re.sub("[^a-z0-9]+", "-", card.lower())
        assert any(name.startswith(short) for name in folders), card


def test_gpus_are_named_in_order(driver: Path) -> None:
    found = asked("from znas_engine.gpu import gpus; print(*gpus(), sep='\\n')", driver, 2).splitlines()
    assert found == [
        "Gpu(name='First', capability='9.0', driver='580.95.05')",
        "Gpu(name='Second', capability='10.0', driver='580.95.05')",
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
    done = asked("from znas.cli import main; main(['doctor', '--json'])", driver, 2)
    checks = {check["name"]: check for check in json.loads(done)}
    assert checks["cuda:0"]["detail"].startswith(
        "First, compute capability 9.0 (results committed), driver 580.95.05; --backend auto "
    )
    assert checks["cuda:1"]["detail"].startswith("Second, compute capability 10.0 (results not committed), ")


def test_no_driver_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        found = gpus()
    except MissingDependencyError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert "NVIDIA driver" in str(error)  # noqa: PT017
    else:
        assert found
