"""`znas-engine doctor`"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version

import typer

from znas.cli import options
from znas.settings import available_threads
from znas_engine import __version__, kernels
from znas_engine.backends import BACKENDS, can_run, choose_backend
from znas_engine.export.cache import cache_root


@dataclass(frozen=True, slots=True)
class Check:
    """One line: `state` is "ok", "missing" (an optional part) or "broken" (searches will fail)."""

    name: str
    state: str
    detail: str


def doctor(as_json: options.Json = False) -> None:
    """Say what this machine can run and what is missing, one line each.

    Exits with 1 if no backend can run or the cache cannot be written.
    """
    checks = list(_checks())
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        for check in checks:
            typer.echo(f"{check.state:<8}{check.name:<14}{check.detail}")
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    yield Check(
        "znas-engine",
        "ok",
        f"{__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{available_threads()} cores",
    )
    if kernels.compiled():
        yield Check(
            "kernels", "ok", f"C++, {kernels.available_isas()[-1]} of {', '.join(kernels.available_isas())}"
        )
    else:
        yield Check(
            "kernels", "missing", "numpy stands in; install a C++20 compiler and reinstall znas-engine"
        )
    for name, (*_, package, remedy) in BACKENDS.items():
        if can_run(name):
            found = "compiled" if package == "znas_engine._core" else _version(package) or "(unknown version)"
            yield Check(f"backend {name}", "ok", f"{package} {found}")
        else:
            yield Check(f"backend {name}", "missing", remedy)
    if any(can_run(name) for name in BACKENDS):
        yield Check("auto", "ok", f"--backend auto runs {choose_backend('auto')}")
    else:
        yield Check("auto", "broken", "no backend can run: pip install onnxruntime, or pip install torch")
    yield _package("onnx", "writes exported graphs", "pip install onnx")
    yield _package("pillow", "reads image folders", "pip install 'znas-engine[vision]'")
    yield _package("tensorrt", "no backend of this version uses it", "pip install 'znas-engine[trt]'")
    yield _package(
        "tensorrt-rtx-cu13-bindings",
        "no backend of this version uses it",
        "pip install 'znas-engine[trt-rtx]'",
    )
    nvcc = shutil.which("nvcc")
    yield (
        Check("nvcc", "ok", nvcc) if nvcc else Check("nvcc", "missing", "the CUDA toolkit is not on the PATH")
    )
    yield _gpu()
    yield _cache()


def _version(package: str) -> str | None:
    for distribution in (package, f"{package}-gpu"):
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _package(package: str, use: str, remedy: str) -> Check:
    name = package.removesuffix("-cu13-bindings")
    found = _version(package)
    if found is None:
        return Check(name, "missing", f"{remedy} ({use})")
    return Check(name, "ok", f"{found} ({use})")


def _gpu() -> Check:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Check("gpu", "missing", "no NVIDIA driver (libcuda.so.1) on this machine")
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0 or count.value == 0:
        return Check("gpu", "missing", "an NVIDIA driver, but no usable device")
    return Check("gpu", "ok", f"{count.value} CUDA device(s); no backend of this version uses them")


def _cache() -> Check:
    root = cache_root()
    place = next(folder for folder in (root, *root.absolute().parents) if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Check("cache", "broken", f"{root} cannot be written; set ZNAS_CACHE to a folder that can")
    return Check("cache", "ok", str(root))
