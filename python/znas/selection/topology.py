"""Which edges a cell keeps: ensemble selection (section 3.4, Corollary 2.1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.games import get_game
from znas.interventions.query import drop
from znas.interventions.scorer import Answer
from znas.selection.criteria import Ask, Floats
from znas_engine.spaces import Mask, SearchSpace


def contested_edges(space: SearchSpace[Any]) -> list[int]:
    """The edges that compete for a place; only they need an ensemble score."""
    return [e for into in space.contested_nodes() for e in into]


@dataclass(frozen=True, slots=True)
class EnsembleWorth:
    """How much a cell needs an edge: float64 [K], larger is more. intervened: whether V(drop(e)) was drawn
    (None where a game mixed measured and drawn coalitions)."""

    values: Floats
    intervened: bool | None


def drop_worths(ask: Ask, space: SearchSpace[Any], base: Mask) -> dict[int, EnsembleWorth]:
    """-V(drop(e)): V(mixture) - V(drop(e)) but for a constant that all edges share."""
    edges = contested_edges(space)
    answers = ask([drop(base, [e]) for e in edges])
    return {e: EnsembleWorth(-a.values, a.intervened) for e, a in zip(edges, answers, strict=True)}


def shapley_worths(
    ask: Ask, space: SearchSpace[Any], base: Mask, rng: np.random.Generator
) -> dict[int, EnsembleWorth]:
    """Shapley values of a node's in-edges; v(S) is the score with only S of them left. Exact."""
    nodes = space.contested_nodes()
    subsets = [list(product((False, True), repeat=len(into))) for into in nodes]
    answers = iter(
        ask(
            [
                drop(base, [e for e, stays in zip(into, subset, strict=True) if not stays])
                for into, choices in zip(nodes, subsets, strict=True)
                for subset in choices
            ]
        )
    )
    worths: dict[int, EnsembleWorth] = {}
    for into, choices in zip(nodes, subsets, strict=True):
        values = _solve(choices, [next(answers) for _ in choices], len(into), rng)
        worths |= {e: EnsembleWorth(column, None) for e, column in zip(into, values.T, strict=True)}
    return worths


def _solve(
    choices: Sequence[tuple[bool, ...]], answers: list[Answer], players: int, rng: np.random.Generator
) -> Floats:
    """Shapley values in every environment, float64 [K, players]."""
    rows = []
    for k in range(len(answers[0].values)):
        known = {choice: a.values[k] for choice, a in zip(choices, answers, strict=True)}

        def value(coalitions: NDArray[np.bool_], known: dict[tuple[bool, ...], float] = known) -> Floats:
            return np.array([known[tuple(c.tolist())] for c in coalitions])

        rows.append(get_game("exact").estimate(value, players, rng=rng).values)
    return np.stack(rows)


def select_edges(
    space: SearchSpace[Any], worth: dict[int, float], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [E]: per node the `space.in_edges` edges of largest worth, ties broken at random; all where the
    space keeps all."""
    kept = np.ones(len(space.edges), dtype=bool)
    for into in space.contested_nodes():
        order = rng.permutation(into)
        kept[sorted(order, key=lambda e: -worth[e])[space.in_edges :]] = False
    return kept
