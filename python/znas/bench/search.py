"""Whole searches, each the user's own command in a fresh process: where their seconds go."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from znas.bench.contenders import Contender, get_contender
from znas.bench.passes import Arena, Row
from znas.bench.plan import Group
from znas.bench.process import WorkerFailed, scratch, timed_process

PHASES = ("setup", "evaluate", "select")


def searchers(names: Sequence[str]) -> tuple[str, ...]:
    """The contenders that are backends of the engine as a search runs them."""
    found = {name: get_contender(name) for name in names}
    return tuple(name for name, c in found.items() if c.backend and not (c.one_hot_only or c.ready))


def measure(
    group: Group,
    names: Sequence[str],
    probabilities: Sequence[float],
    repeats: int,
    cache: Path,
    progress: Callable[[], None],
) -> list[Row]:
    """One row per backend and p: `znas-engine search`, seed 0, 1, ... in turns, each with an empty cache.

    seconds: of the whole process. phases: `SearchResult.seconds`. architectures: what was selected, for the
    agreement between backends.
    """
    with Arena(group.supernet, group.threads, names, cache) as arena:
        checked = arena.checked("search", group)
    rows: list[Row] = [
        row | {"p": p, "seconds": [], "phases": {phase: [] for phase in PHASES}, "architectures": []}
        for p in probabilities
        for row in checked
    ]
    for seed in range(repeats):
        for row in rows:
            if row["passed"]:
                try:
                    _search(row, group, seed)
                except WorkerFailed as failure:
                    row |= {"passed": False, "why": str(failure), "seconds": [], "architectures": []}
            progress()
    return rows


def command(group: Group, contender: Contender, p: float, seed: int) -> list[str]:
    """The search as a user would type it."""
    supernet = group.supernet
    given: dict[str, Any] = {
        "space": supernet.space,
        "backend": contender.backend,
        "dtype": contender.dtype,
        "device": supernet.device,
        "p": p,
        "seed": seed,
        "images": supernet.images,
        "threads": group.threads,
        "data": supernet.data,
        "data-dir": supernet.data_dir,
        "channels": supernet.channels,
        "cells": supernet.cells,
        "resolution": supernet.resolution,
    }
    pairs = [(f"--{name}", str(value)) for name, value in given.items() if value is not None]
    return ["search", "--preset", "naswot", "--json", "--quiet", *(word for pair in pairs for word in pair)]


def _search(row: Row, group: Group, seed: int) -> None:
    contender = get_contender(row["contender"])
    with scratch() as folder:
        arguments = ["-m", "znas", *command(group, contender, row["p"], seed)]
        seconds, printed = timed_process(arguments, folder)
    result = json.loads(printed)
    row["seconds"].append(seconds)
    row["architectures"].append(result["arch"])
    for phase in PHASES:
        row["phases"][phase].append(result["seconds"][phase])
