"""A fresh process up to its first logits, with an empty and with a full cache, and the memory it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from znas.bench.contenders import get_contender
from znas.bench.passes import Arena, Row, check, empty_row
from znas.bench.plan import Group
from znas.bench.process import Worker, WorkerFailed, scratch

CACHES = ("empty", "full")


def starters(names: Sequence[str]) -> tuple[str, ...]:
    """The contenders that differ from one another in a fresh process."""
    return tuple(name for name in names if not get_contender(name).one_hot_only)


def measure(
    group: Group, names: Sequence[str], repeats: int, cache: Path, progress: Callable[[], None]
) -> list[Row]:
    """Two rows per contender, `cache` "empty" and "full".

    seconds: from asking for the process to the logits of the first masks, those of the check, which every
    process that is timed has to pass. phases: of those seconds; "import" is everything before the contender
    is asked to prepare. peak_bytes: largest resident set after one more call of `threads` masks.
    """
    with Arena(group.supernet, group.threads, (), cache) as arena:
        masks, expected = arena.expected(group.kind)
        labels = arena.labels
        most = {name: arena.tolerance(group.kind, get_contender(name).dtype) for name in names}
    rows = {
        (name, state): empty_row("start", group, name)
        | {
            "cache": state,
            "passed": True,
            "peak_bytes": [],
            "phases": {"import": [], "prepare": [], "run": []},
        }
        for name in names
        for state in CACHES
    }
    for _ in range(repeats):
        for name in names:
            with scratch() as folder:
                for state in CACHES:
                    row = rows[name, state]
                    if row["passed"]:
                        _start(row, group, name, folder, masks, expected, most[name], labels)
                    progress()
    return list(rows.values())


def _start(
    row: Row, group: Group, name: str, cache: Path, masks: Any, expected: Any, most: float, labels: Any
) -> None:
    contender = get_contender(name)
    try:
        with Worker(contender, group.supernet, group.threads, cache) as worker:
            prepared = time.perf_counter()
            logits = worker.logits(masks)
            done = time.perf_counter()
            row |= check(expected, logits, most, labels)
            worker.time(masks[: group.threads].repeat(-(-group.threads // len(masks)), axis=0))
            peak = worker.peak_bytes
    except WorkerFailed as failure:
        row |= {"passed": False, "why": str(failure)}
    if not row["passed"]:
        row |= {"seconds": [], "peak_bytes": [], "phases": {}}
        return
    row["seconds"].append(done - worker.started)
    row["peak_bytes"].append(peak)
    for phase, seconds in {
        "import": prepared - worker.started - worker.prepare_seconds,
        "prepare": worker.prepare_seconds,
        "run": done - prepared,
    }.items():
        row["phases"][phase].append(seconds)
