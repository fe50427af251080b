"""`pip install .` where no compiler works: the Python half is installed, and says what is lost."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.command import supernet

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pure(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds when the compilers named by CC and CXX do not exist, unpacked."""
    folder = tmp_path_factory.mktemp("pure")
    pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-v"]
    built = subprocess.run(
        [*pip, "-C", f"build-dir={folder / 'build'}", "-w", folder, ROOT],
        env=os.environ | {"CC": "/no/such/cc", "CXX": "/no/such/c++"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WITHOUT its C++ kernels" in built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".so")]
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.parametrize("backend", ["torch", "ort", "auto"])
def test_a_search_needs_no_compiler(backend: str, pure: Path) -> None:
    size = [*supernet(4, 1, 16, 8)]
    done = subprocess.run(
        [sys.executable, "-m", "znas", "search", "--finalists", "3", "--backend", backend, *size],
        env=os.environ | {"PYTHONPATH": str(pure)},
        cwd=pure,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("|")
    assert "the C++ kernels are not installed" in done.stderr
    fallen_back = (
        "--backend auto runs ort on cpu; native cannot: the package znas_engine._core is not installed"
    )
    assert (fallen_back in done.stderr) == (backend == "auto")
