"""What each part of a search adds: the accuracy of what is found against masked passes, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from znas.hooks import QUIET, Hooks
from znas.reproduce.lookups import Known, check_scores, known, supernet_journal
from znas.reproduce.sheet import Sheet
from znas.reproduce.spending import WAYS, Way
from znas.reproduce.statistics import Summary, summary
from znas.reproduce.trials import check_seeds
from znas.selection.criteria import Floats
from znas.setup import Setup
from znas_engine.arguments import check_between, distinct
from znas_engine.errors import InvalidValueError, unknown_choice
from znas_engine.tables import Table

#: Masked passes unless told, and at most.
BUDGETS, MOST = (50, 100, 200, 400, 1_000, 2_000, 4_000), 100_000
#: What is compared at equal passes: the first less the second shows what a part adds.
ADDS = (
    ("do-finalists", "do-permuted", "do-scores, to the same masks that mean nothing"),
    ("do-finalists", "random", "do-scores, to architectures at random"),
    ("prior", "do-permuted", "the shipped prior, to do-scores that mean nothing"),
    ("shapley", "do-finalists", "Shapley values, to do-scores"),
    ("interactions", "do-finalists", "interactions, to do-scores"),
    ("active-do", "active", "do-scores, to a model that chooses"),
    ("shortlist", "random", "scores without a pass, to architectures at random"),
    ("active", "shortlist", "a model that chooses, to scores without a pass"),
)
NOTES = (
    "accuracy in percent: mean ± half of its 95 % t-interval over seeds (lowest); passes at most",
    (
        "finalists are compared among as many random architectures and halved over environments, as a search "
        "by a shortlist does; its architecture with most parameters is left out"
    ),
    (
        "half of the passes is for scores of operations, in one environment at least, and half for the "
        "finalists; a blank is too few passes, or more than can be spent"
    ),
    "all ways see the same weights, images and random architectures of a seed, and the same scores",
)
ADDED = (
    "points of accuracy: mean difference over seeds ± half of its 95 % t-interval; not corrected for the "
    "number of comparisons"
)


@dataclass(frozen=True, slots=True)
class Point:
    """What one way found with one seed and so many passes at most. spent: passes."""

    way: str
    budget: int
    seed: int
    arch: str
    accuracy: float
    spent: int


def choose(names: Sequence[str] | None) -> list[Way]:
    """The named ways in printing order, or all; InvalidValueError naming the nearest for an unknown one."""
    available = {way.name: way for way in WAYS}
    distinct("`ways`", names or ())
    for name in names or ():
        if name not in available:
            raise unknown_choice("way", name, available)
    return [way for way in WAYS if names is None or way.name in names]


def budgets(texts: Sequence[str] | None) -> list[int]:
    """Numbers of passes in ascending order; InvalidValueError for what is none."""
    if texts is None:
        return list(BUDGETS)
    distinct("`passes`", texts)
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            raise InvalidValueError(f"`passes` must be whole numbers such as 100,400 but got {text!r}")
    return sorted(check_between("passes", int(text), 2, MOST) for text in texts)


def ablation(
    setup: Setup,
    table: Table,
    column: str,
    ways: Sequence[Way],
    passes: Sequence[int],
    *,
    seeds: int,
    architectures: int | None,
    folder: Path,
    hooks: Hooks = QUIET,
) -> list[Point]:
    """Every way with every budget and the seeds `setup.seed`, `setup.seed` + 1, ...

    What is measured lies in `folder`, a folder for every seed, and is not measured again; what is found is
    looked up. architectures: a sample of the table of so many, another one for every seed. A way that cannot
    be asked of the space and the scores is left out, and so is a budget of which no more is spent than of
    the one before.
    """
    check_seeds(setup.seed, seeds, 1)
    check_scores(setup)
    request = setup.at_hand(setup.request)
    found: list[Point] = []
    for number in range(seeds):
        hooks.progress(number, seeds)
        seed = setup.seed + number
        one, own = Setup(replace(request, seed=seed)), folder / f"seed-{seed}"
        with supernet_journal(one, own) as journal:
            values = known(
                one, table, column, architectures=architectures, folder=own, journal=journal, hooks=hooks
            )
            for way in ways:
                found += _curve(values, way, passes)
    hooks.progress(seeds, seeds)
    return found


def _curve(values: Known, way: Way, passes: Sequence[int]) -> Iterator[Point]:
    if not way.there(values):
        return
    before = 0
    for budget in passes:
        found = way.spend(values, budget // values.passes)
        if found is not None and found.masks > before:
            before = found.masks
            arch, accuracy = values.archs[found.row], float(values.accuracy[found.row])
            yield Point(way.name, budget, values.method.seed, arch, accuracy, found.masks * values.passes)


def curves(
    ways: Sequence[Way], points: Sequence[Point], passes: Sequence[int], notes: Sequence[str]
) -> Sheet:
    """Accuracies by way and budget."""
    entries = [entry for way in ways if (entry := _entry(way, points, passes))["budgets"]]
    return Sheet(
        title=f"Accuracy against masked passes, {len({p.seed for p in points})} seeds",
        headings=["way", *(f"{budget:,}" for budget in passes)],
        cells=[
            [entry["way"], *_row(entry["budgets"], passes, lambda f: f"{_mean(f)} ({f['lowest']:.2f})")]
            for entry in entries
        ],
        notes=[*NOTES, *(f"{entry['way']}: {entry['what']}" for entry in entries), *notes],
        records=[
            {"way": entry["way"]} | {n: v for n, v in at.items() if n not in ("values", "architectures")}
            for entry in entries
            for at in entry["budgets"]
        ],
        data={"table": "ablation", "passes": list(passes), "rows": entries},
    )


def _entry(way: Way, points: Sequence[Point], passes: Sequence[int]) -> dict[str, Any]:
    found = []
    for budget in passes:
        here = [point for point in points if (point.way, point.budget) == (way.name, budget)]
        if here:
            values = np.array([point.accuracy for point in here])
            found.append(
                {"budget": budget, "passes": float(np.mean([point.spent for point in here]))}
                | _facts(values)
                | {"lowest": float(values.min()), "architectures": [point.arch for point in here]}
            )
    return {"way": way.name, "what": way.what, "budgets": found}


def differences(points: Sequence[Point], passes: Sequence[int]) -> Sheet:
    """What each part adds at equal passes: differences of the same seed."""
    entries = [entry for pair in ADDS if (entry := _difference(pair, points, passes))["budgets"]]
    return Sheet(
        title="What each adds at equal passes",
        headings=["first", "less", *(f"{budget:,}" for budget in passes), "what is added"],
        cells=[
            [entry["first"], entry["second"], *_row(entry["budgets"], passes, _signed), entry["what"]]
            for entry in entries
        ],
        notes=[ADDED],
        records=[
            {name: entry[name] for name in ("first", "second", "what")}
            | {name: value for name, value in at.items() if name != "values"}
            for entry in entries
            for at in entry["budgets"]
        ],
        data={"table": "ablation-differences", "passes": list(passes), "rows": entries},
        left=(0, 1, 2 + len(passes)),
    )


def _difference(pair: tuple[str, str, str], points: Sequence[Point], passes: Sequence[int]) -> dict[str, Any]:
    """Of the seeds in which both were there."""
    first, second, what = pair
    there = {(p.way, p.budget, p.seed): p.accuracy for p in points}
    seeds = list(dict.fromkeys(p.seed for p in points))
    found = []
    for budget in passes:
        both = [
            (there[first, budget, seed], there[second, budget, seed])
            for seed in seeds
            if (first, budget, seed) in there and (second, budget, seed) in there
        ]
        if both:
            found.append({"budget": budget} | _facts(np.array([one - other for one, other in both])))
    return {"first": first, "second": second, "what": what, "budgets": found}


def about(setup: Setup, table: Table, column: str, architectures: int | None) -> list[str]:
    """What was measured, as notes."""
    sample = f"{architectures:,} of the" if architectures is not None else "all"
    scores = "+".join(score.name for score in setup.scores)
    size = f"{setup.macro.channels} channels, {setup.macro.cells} cell(s), norm {setup.norm}"
    return [
        (
            f"{column} of {table.path.name}, {sample} {len(table.genotypes):,} architectures; those of one "
            "function have the accuracy of the first"
        ),
        f"{scores}, {setup.images} images of {setup.dataset.name}, {setup.envs} environments, {size}",
    ]


def _facts(values: Floats) -> dict[str, Any]:
    return asdict(summary(values)) | {"values": values.tolist()}


def _row(
    found: list[dict[str, Any]], passes: Sequence[int], text: Callable[[dict[str, Any]], str]
) -> Iterator[str]:
    """A cell per budget."""
    by_budget = {at["budget"]: at for at in found}
    return (text(by_budget[budget]) if budget in by_budget else "" for budget in passes)


def _mean(found: dict[str, Any], form: str = ".2f") -> str:
    """mean ± half of the interval"""
    s = Summary(*(found[name] for name in ("n", "mean", "std", "low", "high")))
    return f"{s.mean:{form}}" + ("" if s.high is None else f" ± {s.high - s.mean:.2f}")


def _signed(found: dict[str, Any]) -> str:
    return _mean(found, "+.2f")
