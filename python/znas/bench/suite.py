"""All measurements of a plan in order, each finished piece kept in a journal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, groupby
from pathlib import Path
from typing import Any

from znas import jobs
from znas.bench import instant, peak, search, start
from znas.bench.machine import load_average, machine, suite_version, versions
from znas.bench.passes import Arena, Row
from znas.bench.plan import Group, Plan
from znas.bench.process import scratch
from znas.bench.reading import ROW
from znas.shape import Many
from znas_engine import kernels, paths
from znas_engine.data import load as load_data
from znas_engine.journal import Journal
from znas_engine.progress import Progress, unheard


def run(
    plan: Plan,
    work: Path,
    *,
    store: Callable[[dict[str, Any]], None] | None = None,
    progress: Progress = unheard,
) -> dict[str, Any]:
    """Measures every row of the plan.

    work: the file that keeps finished pieces: a killed run of the same plan, code and machine goes on where
    it stopped. store: is given the result, and `work` is removed when it returns; without, it stays.
    progress: (steps done, all steps), a step being a timed call, a start or a search.

    Returns the result as JSON holds it: `version` (hash of the suite's code), `commit`, `machine`,
    `versions`, `plan`, `command`, `load` (load average when this process began) and `rows` with their raw
    samples. A row that failed its check has no samples and says `why`.
    """
    facts = {
        "suite": "znas-engine bench",
        "version": suite_version(),
        "commit": kernels.commit(),
        "machine": machine(plan.device),
        "versions": versions(),
        "plan": asdict(plan),
    }
    load = load_average()
    with (
        scratch() as cache,
        Journal(work, _identity(plan, facts)) as journal,
    ):
        rows = _rows(plan, journal, cache, progress)
        result = facts | {"command": ["znas-engine", *sys.argv[1:]], "load": load, "rows": rows}
        if store is not None:
            store(result)
            journal.discard()
    return result


def _identity(plan: Plan, facts: dict[str, Any]) -> dict[str, Any]:
    """Facts, with the content of a folder of images in the place of its path."""
    data = None
    if plan.data_dir is not None:
        folder = paths.named(plan.data_dir, "the data folder")
        data = jobs.images(load_data(plan.data, data_dir=folder, resolution=plan.resolution))
    return {"job": "bench", **facts, "plan": facts["plan"] | {"data_dir": data}}


def _rows(plan: Plan, journal: Journal, cache: Path, progress: Progress) -> list[Row]:
    total = sum(piece.steps for piece in _pieces(plan, cache))
    rows: list[Row] = []
    finished = 0

    def advance(taken: Iterator[int]) -> None:
        progress(next(taken), total)

    for piece in _pieces(plan, cache):
        measure = partial(piece.measure, partial(advance, count(finished + 1)))
        rows += jobs.piece(journal, piece.key, Many(ROW), measure)
        finished += piece.steps  # a contender that failed took fewer
        progress(finished, total)
    return rows


@dataclass(frozen=True, slots=True)
class _Piece:
    """What is done in one go. measure: is given what to call after each of its `steps`."""

    key: str
    steps: int
    measure: Callable[[Callable[[], None]], list[Row]]


def _pieces(plan: Plan, cache: Path) -> Iterator[_Piece]:
    """Nothing is started before a piece's `measure` is called."""
    if "peak" in plan.parts:
        for threads in plan.threads:
            yield _Piece(f"peak, {threads} threads", 1, partial(_peak, threads, plan.device, cache))
    together = groupby(plan.groups(), lambda pair: (pair[0].supernet, pair[0].threads, pair[1]))
    for (supernet, threads, names), found in together:
        with Arena(supernet, threads, names, cache) as arena:
            for group, _ in found:
                steps = plan.rounds * len(arena.entrants(group))
                yield _Piece(_key("passes", group), steps, partial(arena.measure, group, plan.rounds))
    for space in plan.spaces:
        group = Group(plan.supernet(space, plan.images[0]), max(plan.threads), "do", 1)
        if "start" in plan.parts:
            names = start.starters(plan.contenders)
            steps = plan.repeats * len(names) * len(start.CACHES)
            yield _Piece(
                _key("start", group), steps, partial(start.measure, group, names, plan.repeats, cache)
            )
        if "search" in plan.parts:
            names = search.searchers(plan.contenders)
            steps = plan.repeats * len(names) * len(plan.probabilities)
            measure = partial(search.measure, group, names, plan.probabilities, plan.repeats, cache)
            yield _Piece(_key("search", group), steps, measure)
        if "instant" in plan.parts:
            yield _Piece(
                f"instant, space {space}",
                plan.rounds + 1,
                partial(instant.measure, group, plan.rounds, cache),
            )


def _peak(threads: int, device: str, cache: Path, progress: Callable[[], None]) -> list[Row]:
    return peak.measure(threads, device, cache)


def _key(part: str, group: Group) -> str:
    return f"{part}, {', '.join(f'{name} {value}' for name, value in group.facts.items())}"
