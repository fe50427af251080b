"""A worker: one process of a cluster that does units, one after another. Nothing here knows Ray."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import znas_engine
from znas.cluster.bench import Bench
from znas.cluster.unit import Unit
from znas_engine import kernels, paths
from znas_engine.errors import ZnasError

#: Packages on which values depend, whatever the backend.
PACKAGES = ("numpy", "torch", "scipy", "onnxruntime")


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be the same wherever units are done, name -> value; and where this is."""

    same: dict[str, str]
    host: str
    pid: int


@dataclass(frozen=True, slots=True)
class Done:
    """A unit's value, or an error of ours; seconds that it took."""

    value: Any
    error: ZnasError | None
    seconds: float


def facts() -> Facts:
    """Of this process."""
    same = {
        "znas-engine": znas_engine.__version__,
        "code": _code(),
        "kernels": f"{kernels.available_isas()[-1]} of commit {kernels.commit()}",
        "Python": ".".join(platform.python_version_tuple()[:2]),
    }
    for package in PACKAGES:
        try:
            same[package] = version(package)
        except PackageNotFoundError:
            same[package] = "not installed"
    return Facts(same, socket.gethostname(), os.getpid())


def difference(ours: Facts, theirs: Facts) -> str | None:
    """The first thing that is not the same, in words; None if all is."""
    for name, value in ours.same.items():
        other = theirs.same.get(name, "unknown")
        if other != value:
            return f"its {name} is {other}, not {value}"
    return None


def _code() -> str:
    """Digest of our own Python files, as they lie there."""
    found = hashlib.sha256()
    for folder in (Path(__file__).parents[1], Path(znas_engine.__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            found.update(f"{path.relative_to(folder)}\n".encode() + paths.read(path, "our own file"))
    return found.hexdigest()[:16]


class Worker:
    """threads: that it may use. fetch: from what leads to a shared object to that object."""

    def __init__(self, threads: int, fetch: Callable[[Any], Any]) -> None:
        self._bench = Bench(threads, fetch)

    def facts(self) -> Facts:
        """What must be the same on all workers, before anything is computed."""
        return facts()

    def beat(self) -> int:
        """A number that advances while a unit is being done."""
        return self._bench.count

    def run(self, unit: Unit) -> Done:
        """What the unit gives. What is not ours is raised: the place repeats the unit elsewhere."""
        started = time.perf_counter()
        value, wrong = None, None
        try:
            value = unit.run(self._bench)
        except ZnasError as error:
            wrong = error
        self._bench.advance()
        return Done(value, wrong, time.perf_counter() - started)
