"""Where what a search found stands among random architectures: measured anew by the scores of the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from znas import summary
from znas.hooks import Report
from znas.page import Placed, Run, Standing
from znas.request import Request
from znas.result import SearchResult
from znas.score import Scoring
from znas.scoring import asked
from znas.scoring.standing import intervals, percentiles
from znas.scoring.table import ScoreRow, ScoreTable
from znas.selection.aggregate import get_aggregate
from znas.selection.largest import largest as most_parameters
from znas_engine.environment import derive_seed
from znas_engine.errors import ZnasError
from znas_engine.progress import Progress
from znas_engine.spaces import SearchSpace

#: Random architectures, and draws of weights and images, unless told otherwise: some seconds.
RANDOM, ENVS = 100, 4
#: Costs that a row of a table has.
COUNTED = ("params", "flops")
#: What the searches' own seeds are not.
SEEDS = 2**31


def measured(
    runs: Sequence[Run], random: int, envs: int, data_dir: Path | None, progress: Progress, report: Report
) -> list[Run]:
    """The same runs with their standing; random ones are the same for all of one space."""
    drawn = [_drawn(run.result.space, random, report) for run in runs]
    rivals = [_rivals(run.result, each) for run, each in zip(runs, drawn, strict=True)]
    # All are set up before the first is measured: what cannot be is refused first.
    scorings = [_scoring(run, named, envs, data_dir) for run, named in zip(runs, rivals, strict=True)]
    found, before, total = [], 0, sum(map(len, rivals))
    for run, named, chosen, scoring in zip(runs, rivals, drawn, scorings, strict=True):

        def counted(now: int, _: int, before: int = before) -> None:
            progress(before + now, total)

        with scoring.pieces(None) as pieces:
            table = scoring.table(pieces, counted)
        found.append(replace(run, standing=_standing(run.result, table, named, chosen)))
        before += len(named)
    return found


def _scoring(run: Run, named: dict[str, str], envs: int, data_dir: Path | None) -> Scoring:
    try:
        return Scoring(_request(run.result, envs, data_dir), architectures=list(named.values()), references=0)
    except ZnasError as error:
        raise type(error)(
            f"{run.where} cannot be placed among random architectures ({error}): say where its images lie "
            "now, --data-dir, or leave that out, --random 0"
        ) from error


def _drawn(space: SearchSpace[Any], random: int, report: Report) -> list[str]:
    rng = np.random.default_rng(derive_seed(0, "report"))
    return [str(each) for each in asked.drawn(space, random, rng, report)]


def _rivals(result: SearchResult, drawn: Sequence[str]) -> dict[str, str]:
    """By name what stands in the table, and by notation the random ones; each once."""
    rng = np.random.default_rng(derive_seed(0, "most parameters"))
    largest = str(result.space.genotype(most_parameters(result.space, result.macro, rng)))
    named = {"found": result.arch, "most parameters": largest}
    if largest == result.arch:
        named = {"found, which has most parameters": largest}
    return named | {arch: arch for arch in drawn if arch not in named.values()}


def _request(result: SearchResult, envs: int, data_dir: Path | None) -> Request:
    """The search's own, but for its draws: what won on those of the search was lucky on them, too."""
    other = derive_seed(result.conditions.seed, "report") % SEEDS
    request = replace(result.request, seed=other, envs=envs)
    return request if data_dir is None else replace(request, data_dir=data_dir)


def _standing(
    result: SearchResult, table: ScoreTable, named: dict[str, str], drawn: Sequence[str]
) -> Standing:
    rows = {row.arch: row for row in table.rows}
    chosen = [rows[arch] for arch in drawn]
    among = _values(chosen)
    combine, scores = get_aggregate(table.aggregate), len(table.conditions.scores)
    shown = {name: rows[arch] for name, arch in named.items() if arch not in drawn or name != arch}
    of_random = combine(among)
    best = int(np.argmax(of_random))
    shown[f"best of {len(chosen)} random"] = chosen[best]
    values = _values(list(shown.values()))
    own, shares = combine(values, among), percentiles(values, among, combine)
    rng = np.random.default_rng(derive_seed(0, "intervals"))
    ends = intervals(values, among, combine, scores, rng)
    kept = np.array([_keeps(row, result) for row in chosen])
    within = percentiles(values, among[:, kept], combine) if result.limits and kept.any() else None
    placed = [
        Placed(
            name,
            row.arch,
            row.params,
            row.flops,
            float(own[i]),
            float(shares[i]),
            None if ends is None else float(ends[0][i]),
            None if ends is None else float(ends[1][i]),
            None if within is None else float(within[i]),
        )
        for i, (name, row) in enumerate(shown.items())
    ]
    points = tuple((row.params, float(value)) for row, value in zip(chosen, of_random, strict=True))
    c = table.conditions
    words = summary.score_in_words(result)
    return Standing(tuple(placed), points, int(kept.sum()), words, c.seed, c.envs, c.images, table.seconds)


def _keeps(row: ScoreRow, result: SearchResult) -> bool:
    """Limits of what is counted of every architecture here; others are not asked."""
    return all(getattr(row, limit.cost) <= limit.most for limit in result.limits if limit.cost in COUNTED)


def _values(rows: Sequence[ScoreRow]) -> Any:
    """float64 [K * S, n]: rows of environments, and scores within them."""
    by_row = [np.array(list(row.values.values())).T.ravel() for row in rows]
    return np.array(by_row).T
