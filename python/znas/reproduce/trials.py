"""Rows times seeds, each finished search one entry of a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from znas.reproduce.rows import Row, prior_path
from znas.result import Seconds
from znas.settings import SHIPPED, SearchSettings
from znas_engine import __version__
from znas_engine.data import load
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """One finished search of one row with one seed."""

    seed: int
    arch: str
    evaluations: int
    seconds: Seconds
    device: str


def run_trials(
    rows: Sequence[Row],
    settings: SearchSettings,
    *,
    seeds: int,
    prior: str = SHIPPED,
    work: Path,
    progress: Progress = lambda done, total: None,
) -> dict[str, list[Trial]]:
    """Every row with the seeds `settings.seed`, `settings.seed` + 1, ...; what `work` holds is not repeated.

    Rows and seeds may be added to the same `work` file later; other settings are another job. Architectures
    do not depend on the number of threads, seconds do. prior: what the rows were made with.
    """
    if seeds < 1:
        raise InvalidValueError(f"`seeds` must be at least 1 but got {seeds}")
    for row in rows:
        row.adapt(settings)
    found: dict[str, list[Trial]] = {row.name: [] for row in rows}
    with Journal(work, identity(settings) | {"prior": _digest(settings.space, prior)}) as journal:
        total, done = seeds * len(rows), 0
        for seed in range(settings.seed, settings.seed + seeds):
            for row in rows:
                key = f"{row.name}/{seed}"
                if key not in journal.done:
                    journal.record(key, _search(row, replace(settings, seed=seed)))
                value = journal.done[key]
                found[row.name].append(Trial(seed=seed, **(value | {"seconds": Seconds(**value["seconds"])})))
                done += 1
                progress(done, total)
    return found


def identity(settings: SearchSettings) -> dict[str, Any]:
    """What the finished searches of a work file have in common."""
    dataset = load(settings.data, data_dir=settings.data_dir, resolution=settings.resolution)
    names = (
        "space",
        "backend",
        "device",
        "dtype",
        "images",
        "norm",
        "channels",
        "cells",
        "resolution",
        "threads",
    )
    return {
        "job": "reproduce searches",
        "znas": __version__,
        "data": [dataset.name, dataset.origin],
    } | {name: getattr(settings, name) for name in names}


def _digest(space: str, prior: str) -> str | None:
    path = prior_path(space, prior)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _search(row: Row, settings: SearchSettings) -> dict[str, Any]:
    found = row.search(row.adapt(settings))
    return {
        "arch": str(found.genotype),
        "evaluations": found.evaluations,
        "seconds": asdict(found.seconds),
        "device": found.device,
    }
