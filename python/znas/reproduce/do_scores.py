"""What do-scores of operations say of architectures: their sums and those of every edge, against accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from znas.reproduce.correlation import Scored, entry_of, functions, in_brackets, interval_in_words
from znas.reproduce.rows import cells_in_words
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Correlation
from znas.request import Request
from znas.selection.criteria import Floats
from znas.selection.shortlist import effects
from znas.setup import Setup
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.tables import Table

#: The part that is all edges, that which compares operations, and what accuracy itself says of them.
SUM, OPERATIONS, TRUTH = "sum over edges", "operations", "(accuracy's own effects)"


def do_scores(setup: Setup) -> dict[str, Floats]:
    """V under do(edge, operation), by score, float64 [K, E, O]; NaN where an operation is no candidate."""
    space, neurons = setup.space, setup.space.neurons()
    found = setup.measure(np.stack([space.do(e, o) for e, o in neurons]))
    values = found.reshape(setup.envs, len(setup.scores), len(neurons))
    shown: dict[str, Floats] = {}
    for s, score in enumerate(setup.scores):
        shown[score.name] = np.full((setup.envs, *space.shape), np.nan)
        for i, (e, o) in enumerate(neurons):
            shown[score.name][:, e, o] = values[:, s, i]
    return shown


def against_accuracy(
    setup: Setup, shown: dict[str, Floats], sets: Sequence[str], table: Table, request: Request
) -> Sheet:
    """Of every part, the sum over edges and each edge alone: the tau with each accuracy of what the do-scores
    of an architecture's operations are there; and the tau of do-scores with what operations add to accuracy.
    shown: of `do_scores`. sets: scores, or `a+b`."""
    space, masks = setup.space, table.masks(setup.space)
    truths = table.accuracies()
    _, which = functions(space, table.genotypes)
    again = "environments" if setup.envs > 1 else "functions"
    entries = []
    for column, truth in truths.items():
        own = effects(space, masks, truth)[None]
        for part, edges in _parts(space).items():
            values = {n: of_architectures(masks, v, edges) for n, v in (*shown.items(), (TRUTH, own))}
            scored = Scored(table.genotypes, values, {column: truth}, {}, {})
            for name in (*sets, TRUTH):
                how = "functions" if name == TRUTH else again
                entries.append(entry_of(scored, which, part, name, column, request, how))
        if setup.envs > 1:
            scored = _operations(space, shown, own[0], column)
            neurons = np.arange(len(space.neurons()))
            entries += [entry_of(scored, neurons, OPERATIONS, n, column, request, again) for n in sets]
    return Sheet(
        title=f"Do-scores against accuracy, {len(table.genotypes):,} architectures of {table.path.name}",
        headings=["score", "edges", "column", f"Kendall tau [{again}]", f"Spearman rho [{again}]"],
        cells=[_cells(entry) for entry in entries],
        notes=[
            interval_in_words(again, setup.envs, whole=False),
            (
                f"{SUM}: of V[e, o] over the operations of an architecture, V the mean over {setup.envs} "
                "environment(s) of the supernet's score under do(e, o), all else the mixture; an edge: V of "
                "the operation that stands there, which leaves most pairs of architectures tied"
            ),
            "a+b: sum over scores of log(rank / n) in this population",
            (
                f"{TRUTH}: what operations add to accuracy, by least squares over the same architectures: "
                "what a sum over edges can reach, and an edge alone [over functions]"
            ),
            (
                f"{OPERATIONS}: not of architectures but of the {len(space.neurons())} operations, every one "
                "relative to the mean of its edge: V against what it adds to accuracy"
            ),
            (
                f"{setup.dataset.name}, {setup.images} images of {setup.dataset.resolution} pixels, norm "
                f"{setup.norm}, {setup.macro.channels} channels, {cells_in_words(space, setup.macro.cells)}, "
                f"seed {setup.seed}"
            ),
        ],
        records=[_record(entry) for entry in entries],
        data={
            "table": "do-scores",
            "space": space.name,
            "accuracies": table.path.name,
            "values": {name: _plain(space, v.mean(0)) for name, v in shown.items()},
            "rows": entries,
        },
        left=(0, 1, 2),
    )


def _plain(space: SearchSpace[Any], values: Floats) -> list[list[float | None]]:
    """values float64 [E, O], None where an operation is no candidate."""
    return [
        [float(v) if there else None for v, there in zip(*row, strict=True)]
        for row in zip(values, space.candidates, strict=True)
    ]


def _parts(space: SearchSpace[Any]) -> dict[str, list[int]]:
    """By name the edges of every part."""
    every = list(range(len(space.edges)))
    return {SUM: every} | {space.edges[e].label: [e] for e in every}


def of_architectures(masks: Mask, values: Floats, edges: Sequence[int]) -> Floats:
    """Sums over edges of what stands there: masks [n, E, O], values float64 [K, E, O] -> float64 [K, n]."""
    held = masks[:, edges]
    found: Floats = np.where(held > 0, held * values[:, None, edges], 0.0).sum((2, 3))
    return found


def _operations(space: SearchSpace[Any], shown: dict[str, Floats], own: Floats, column: str) -> Scored:
    """Do-scores of operations, and what these add to accuracy, all relative to the mean of their edge."""

    def relative(values: Floats) -> Floats:
        there = np.where(space.candidates, values, np.nan)
        found: Floats = (there - np.nanmean(there, axis=-1, keepdims=True))[..., space.candidates]
        return found

    values = {name: relative(each) for name, each in shown.items()}
    return Scored([], values, {column: relative(own)}, {}, {})


def _cells(entry: dict[str, Any]) -> list[str]:
    taus = (in_brackets(Correlation(**entry[name])) for name in ("kendall", "spearman"))
    return [entry["score"], entry["protocol"], entry["column"], *taus]


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {"score": entry["score"], "edges": entry["protocol"], "column": entry["column"]}
    for name in ("kendall", "spearman"):
        flat |= {f"{name}_{part}": value for part, value in entry[name].items()}
    return flat
