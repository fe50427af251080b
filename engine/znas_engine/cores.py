"""The cores that this process may use: its affinity, and the quota of the container that it is in.

Linux bounds the processor time of a container by control groups, a tree of folders: no group may use more
than its own quota or that of a group above it.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from znas_engine import paths
from znas_engine.errors import StorageError

#: Bytes of a file of the system, at most.
_LIMIT = 1 << 20


def available_cores(root: Path = Path("/")) -> int:
    """At least 1. root: where `proc` and `sys` lie."""
    cores = len(allowed_cores()) or os.cpu_count() or 1
    return max(1, min([cores, *map(math.ceil, _quotas(root))]))


def allowed_cores() -> list[int]:
    """Numbers of the cores that this process may run on, in order; none where the system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return [] if affinity is None else sorted(affinity(0))


def _quotas(root: Path) -> Iterator[float]:
    """In cores, of every group that this process is in and that has one; of version 2 and version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if number == "0" and not controllers:
            for folder in _upwards(root / "sys/fs/cgroup", group):
                yield from _ratio(*_text(folder / "cpu.max").split()[:2])
        elif "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu", "cpu,cpuacct")):
                for folder in _upwards(root / "sys/fs/cgroup" / mount, group):
                    quota, period = (_text(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
                    yield from _ratio(quota.strip(), period.strip())


def _upwards(mount: Path, group: str) -> Iterator[Path]:
    """The group's folder and those above it. In a container the mount often is the group itself, and the
    path that the system names lies outside: then the mount alone counts."""
    parts = [part for part in PurePosixPath(group).parts if part not in ("/", "..")]
    for length in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:length])


def _ratio(quota: str = "max", period: str = "100000") -> Iterator[float]:
    """Nothing where it is no bound: "max", -1, and what no kernel writes."""
    if all(re.fullmatch("[0-9]{1,20}", number) and int(number) for number in (quota, period)):
        yield int(quota) / int(period)


def _text(path: Path) -> str:
    """Empty where there is no such file or it cannot be read: then it sets no bound."""
    try:
        return paths.read(path, "a file of the system", limit=_LIMIT).decode(errors="replace")
    except StorageError:
        return ""
