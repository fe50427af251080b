"""Rows times seeds, each finished search one entry of a journal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from znas.hooks import QUIET
from znas.method import Method
from znas.reproduce.rows import Row, prior_path
from znas.request import SHIPPED, Request
from znas.result import Seconds
from znas.setup import Setup
from znas_engine import __version__
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal
from znas_engine.progress import Progress
from znas_engine.spaces import SearchSpace


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
    setup: Setup,
    *,
    seeds: int,
    prior: str = SHIPPED,
    work: Path,
    progress: Progress = QUIET.progress,
) -> dict[str, list[Trial]]:
    """Every row with the seeds `setup.seed`, `setup.seed` + 1, ...; what `work` holds is not repeated.

    setup: what all rows share; each asks for more or otherwise.

    Rows and seeds may be added to the same `work` file later; another request is another job. Architectures
    do not depend on the number of threads, seconds do. prior: what the rows were made with.
    """
    if seeds < 1:
        raise InvalidValueError(f"`seeds` must be at least 1 but got {seeds}")
    request = setup.request
    at_hand = setup.at_hand(request)
    for row in rows:  # all are checked before the first search
        asked = row.adapt(at_hand)
        Method.of(asked.settled(), setup.space, Setup(asked).scores)
    found: dict[str, list[Trial]] = {row.name: [] for row in rows}
    with Journal(work, identity(setup) | {"prior": _digest(setup.space, prior)}) as journal:
        total, done = seeds * len(rows), 0
        for seed in range(request.seed, request.seed + seeds):
            for row in rows:
                key = f"{row.name}/{seed}"
                if key not in journal.done:
                    journal.record(key, _search(row, replace(request, seed=seed)))
                value = journal.done[key]
                found[row.name].append(Trial(seed=seed, **(value | {"seconds": Seconds(**value["seconds"])})))
                done += 1
                progress(done, total)
    return found


def identity(setup: Setup) -> dict[str, Any]:
    """What the finished searches of a work file have in common."""
    return {
        "job": "reproduce searches",
        "znas": __version__,
        "data": [setup.dataset.name, setup.dataset.origin],
        "space": setup.space.name,
        "backend": setup.backend,
        "device": ",".join(setup.devices),
        "dtype": setup.dtype,
        "images": setup.images,
        "norm": setup.norm,
        "macro": asdict(setup.macro),
        "threads": setup.threads,
    }


def _digest(space: SearchSpace[Any], prior: str) -> str | None:
    path = prior_path(space, prior)
    return None if path is None else hashlib.sha256(path.read_bytes()).hexdigest()


def _search(row: Row, request: Request) -> dict[str, Any]:
    found = row.search(row.adapt(request))
    return {
        "arch": str(found.genotype),
        "evaluations": found.evaluations,
        "seconds": asdict(found.seconds),
        "device": found.device,
    }
