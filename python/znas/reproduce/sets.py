"""Which scores belong together: every set of a correlation's scores, by its ranking and by its winners."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from znas.reproduce.correlation import unique_rows
from znas.reproduce.measured import measured
from znas.reproduce.sheet import Sheet
from znas.selection.aggregate import ranks
from znas.selection.criteria import Floats
from znas_engine.arguments import choice
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import SearchSpace

#: What the sets can be put in order by.
ORDERS = ("tau", "top")
#: Scores per set unless told: 847 sets of ten scores.
LARGEST = 6
#: Architectures whose accuracy is averaged unless told, where there are so many.
TOP = 10
#: Sets, at most: minutes.
MOST = 100_000


def sets(
    folder: Path,
    space: SearchSpace[Any],
    *,
    largest: int | None,
    top: int | None,
    by: str,
    show: int,
    column: str | None,
) -> Sheet:
    """Every set of 1 to `largest` scores that `reproduce correlation` measured into `folder`, among the first
    architecture of every function: Kendall's tau of its sum of log(rank), and the mean accuracy of the `top`
    architectures that it puts first. The sheet shows the best `show` sets by one of the two and holds all.

    largest, top: None for the usual numbers, `LARGEST` and `TOP`, or all where there are fewer.

    Choosing a set here and reporting it on the same column overstates it; see docs/evidence.md.

    Raises InvalidValueError: numbers outside their domain, nothing measured.
    Raises DataError: a file without scores or accuracies.
    """
    choice("order of sets", by, ORDERS)
    table, scores, accuracies = measured(folder, space)
    name, accuracy = table.column(column or accuracies[0])
    largest = min(LARGEST, len(scores)) if largest is None else largest
    rows = unique_rows(space, table.genotypes)
    top = min(TOP, len(rows)) if top is None else top
    for what, value, most in (
        ("largest", largest, len(scores)),
        ("top", top, len(rows)),
        ("show", show, None),
    ):
        if value < 1 or (most is not None and value > most):
            limit = "at least 1" if most is None else f"between 1 and {most}"
            raise InvalidValueError(f"--{what} must be {limit} but got {value}")
    count = sum(math.comb(len(scores), size) for size in range(1, largest + 1))
    if count > MOST:
        raise InvalidValueError(
            f"--largest {largest} of {len(scores)} scores are {count:,} sets: at most {MOST:,} are tried"
        )
    values = np.stack([table.raw[score][rows] for score in scores])
    found = _every_set(scores, values, accuracy[rows], largest, top)
    found.sort(key=lambda entry: entry[by], reverse=True)
    return Sheet(
        title=f"{len(found):,} sets of up to {largest} of {len(scores)} scores, by {by}, on {name}",
        headings=["scores", "Kendall tau", f"mean of the first {top}"],
        cells=[[e["scores"], f"{e['tau']:.3f}", f"{e['top']:.2f}"] for e in found[:show]],
        notes=[
            f"among the first architecture of every function, {len(rows):,} of {len(table.genotypes):,}",
            "a set sums log(rank / n) of its scores; both numbers are of the column they are chosen on",
        ],
        records=found,
        data={"table": "sets", "column": name, "top": top, "architectures": len(rows), "rows": found},
    )


def _every_set(
    scores: list[str], values: Floats, truth: Floats, largest: int, top: int
) -> list[dict[str, Any]]:
    """values: float64 [scores, n], truth: float64 [n] -> of every set Kendall's tau and its top's mean."""
    from scipy.stats import kendalltau

    logs = np.log(ranks(values) / len(truth))
    found: list[dict[str, Any]] = []
    for size in range(1, largest + 1):
        for members in combinations(range(len(scores)), size):
            total: Floats = logs[list(members)].sum(0)
            found.append(
                {
                    "scores": "+".join(scores[i] for i in members),
                    "tau": float(kendalltau(total, truth).statistic),
                    "top": float(truth[np.argsort(-total, kind="stable")[:top]].mean()),
                }
            )
    return found
