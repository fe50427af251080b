"""What an operation is worth on its edge: the score that Algorithm 1 maximises, in four readings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.games import EXACT_LIMIT, get_game
from znas.interventions.query import Query, coalition
from znas.interventions.scorer import Answer
from znas_engine.spaces import Mask, SearchSpace

Floats = NDArray[np.float64]
Ask = Callable[[Sequence[Query]], list[Answer]]


@dataclass(frozen=True, slots=True)
class Worth:
    """The worth of the candidates of one edge.

    values: float64 [K, n], larger is better. intervened: per operation, whether the score under do(e, o)
    itself was drawn (games mix measured and drawn coalitions: None). standard_errors: of a sampled game.
    """

    values: Floats
    intervened: tuple[bool, ...] | None
    standard_errors: Floats | None = None


class Criterion(ABC):
    """Worths of all operations on some edges, under a base mask whose other rows stay as they are."""

    @abstractmethod
    def worths(self, ask: Ask, space: SearchSpace[Any], base: Mask, edges: Sequence[int]) -> list[Worth]:
        """One `Worth` per edge; everything that can be asked at once is one batch."""


def spread(space: SearchSpace[Any], values: Sequence[Floats]) -> Floats:
    """Per edge one value per candidate -> float64 [E, O], -inf where an operation is no candidate."""
    found = np.full(space.shape, -np.inf)
    found[space.candidates] = np.concatenate(values)
    return found


@dataclass(frozen=True, slots=True)
class KeepOne(Criterion):
    """V(do(e, o)): the paper's neuron representation (section 3.2)."""

    def worths(self, ask: Ask, space: SearchSpace[Any], base: Mask, edges: Sequence[int]) -> list[Worth]:
        groups = [[coalition(base, e, [o]) for o in space.options(e)] for e in edges]
        return [_worth(answers, sign=1) for answers in _ask_groups(ask, groups)]


@dataclass(frozen=True, slots=True)
class LeaveOneOut(Criterion):
    """-V(edge without o): the operation whose loss costs most is worth most (DARTS+PT)."""

    def worths(self, ask: Ask, space: SearchSpace[Any], base: Mask, edges: Sequence[int]) -> list[Worth]:
        mixed = [np.flatnonzero(row).tolist() for row in space.mixed]
        groups = [
            [coalition(base, e, [other for other in mixed[e] if other != o]) for o in space.options(e)]
            for e in edges
        ]
        return [_worth(answers, sign=-1) for answers in _ask_groups(ask, groups)]


@dataclass(frozen=True, slots=True)
class Shapley(Criterion):
    """Equation 11: the Shapley value of o in the game v(S) = V(coalition(e, S)), intervened first.

    Exact games are valued in one batch and solved in every environment; sampled ones use the mean over
    environments.
    """

    estimator: str
    precision: float | None
    max_evaluations: int | None
    rng: np.random.Generator

    def worths(self, ask: Ask, space: SearchSpace[Any], base: Mask, edges: Sequence[int]) -> list[Worth]:
        if not all(is_exact(self.estimator, len(space.options(e))) for e in edges):
            return [self._sample(ask, base, e, space.options(e)) for e in edges]
        subsets = [_subsets(len(space.options(e))) for e in edges]
        groups = [
            [coalition(base, e, _members(space.options(e), s)) for s in own]
            for e, own in zip(edges, subsets, strict=True)
        ]
        return [
            Worth(self._solve(own, np.stack([a.values for a in answers], 1)), None)
            for own, answers in zip(subsets, _ask_groups(ask, groups), strict=True)
        ]

    def _solve(self, subsets: list[NDArray[np.bool_]], values: Floats) -> Floats:
        """values float64 [K, coalitions] -> Shapley values float64 [K, n]."""
        keys = {subset.tobytes(): i for i, subset in enumerate(subsets)}
        rows = []
        for row in values:

            def value(coalitions: NDArray[np.bool_], row: Floats = row) -> Floats:
                return row[[keys[c.tobytes()] for c in coalitions]]

            rows.append(get_game(self.estimator).estimate(value, len(subsets[0]), rng=self.rng).values)
        return np.stack(rows)

    def _sample(self, ask: Ask, base: Mask, edge: int, players: list[int]) -> Worth:
        def value(coalitions: NDArray[np.bool_]) -> Floats:
            answers = ask([coalition(base, edge, _members(players, c)) for c in coalitions])
            return np.array([answer.values.mean() for answer in answers])

        found = get_game(self.estimator).estimate(
            value,
            len(players),
            rng=self.rng,
            precision=self.precision,
            max_evaluations=self.max_evaluations,
        )
        return Worth(found.values[None], None, found.standard_errors)


def is_exact(estimator: str, players: int) -> bool:
    """Whether the estimator of that name values every coalition of so many players."""
    return estimator == "exact" or (estimator == "auto" and players <= EXACT_LIMIT)


def _subsets(players: int) -> list[NDArray[np.bool_]]:
    return [np.array(subset, dtype=bool) for subset in product((False, True), repeat=players)]


def _members(players: list[int], subset: NDArray[np.bool_]) -> list[int]:
    return [o for o, present in zip(players, subset, strict=True) if present]


def _ask_groups(ask: Ask, groups: list[list[Query]]) -> list[list[Answer]]:
    """One batch for all groups."""
    answers = iter(ask([query for group in groups for query in group]))
    return [[next(answers) for _ in group] for group in groups]


def _worth(answers: list[Answer], *, sign: int) -> Worth:
    values = sign * np.stack([answer.values for answer in answers], axis=1)
    return Worth(values, tuple(answer.intervened for answer in answers))
