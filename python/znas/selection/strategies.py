"""In which order edges are decided: all at once (Algorithm 1), one after another, or jointly by pairs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.interventions.query import coalition, pair, together
from znas.selection.criteria import Ask, Criterion, Floats, KeepOne, Worth, spread
from znas.selection.operations import argmax_random_ties
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.base import draw

Aggregate = Callable[[Floats], Floats]

#: Whose worth is compared, in which order edges are decided, and what the score of an operation is of.
GAME_CHOICES = ("none", "shapley", "interaction")
SHORTLIST = "shortlist"
SELECTIONS = ("algorithm1", "sequential", SHORTLIST)
CRITERIA = ("keep", "leave-one-out")


@dataclass(frozen=True, slots=True)
class Decision:
    """selected: the operation of every edge, int64 [E]. worths: per edge, as they were when it was decided.
    base: the mask under which the topology is to be judged. joint: of choices, int64 [m, E], what they are
    worth, float64 [m], where that is no sum of worths."""

    selected: NDArray[np.int64]
    worths: list[Worth]
    base: Mask
    joint: Callable[[NDArray[np.int64]], Floats] | None = None


class Strategy(ABC):
    """Decides an operation for every edge."""

    @abstractmethod
    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        """`ask` answers queries, `aggregate` turns [K, n] into [n], `ties` breaks ties."""


def pick(options: list[int], worth: Worth, aggregate: Aggregate, ties: np.random.Generator) -> int:
    """argmax over the candidates of one edge (equation 10)."""
    return options[argmax_random_ties(aggregate(worth.values), ties)]


@dataclass(frozen=True, slots=True)
class AllAtOnce(Strategy):
    """Algorithm 1: every edge is judged in the untouched supernet."""

    criterion: Criterion

    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        worths = self.criterion.worths(ask, space, space.mixture(), range(len(space.edges)))
        selected = np.array([pick(space.options(e), w, aggregate, ties) for e, w in enumerate(worths)])
        return Decision(selected, worths, space.mixture())


Order = Callable[["Sequential", Ask, SearchSpace[Any], Aggregate], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Sequential(Strategy):
    """Decide one edge, fix it, go on: what DARTS+PT and Zero-Cost-PT do.

        for e in order:
            selected[e] = argmax_o worth of o on e, the edges decided before fixed to their operations

    order: "random", "node" (as the cell computes), or "confidence" (largest lead of the best operation over
    the second, in deviations, first; costs one round of Algorithm 1 on top).
    """

    criterion: Criterion
    order: str
    rng: np.random.Generator

    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        base = space.mixture()
        selected = np.zeros(len(space.edges), dtype=np.int64)
        worths: dict[int, Worth] = {}
        for e in ORDERS[self.order](self, ask, space, aggregate):
            (worths[e],) = self.criterion.worths(ask, space, base, [e])
            selected[e] = pick(space.options(e), worths[e], aggregate, ties)
            base[e] = 0
            base[e, selected[e]] = 1
        return Decision(selected, [worths[e] for e in range(len(space.edges))], base)


def _random(strategy: Sequential, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate) -> Sequence[int]:
    order: list[int] = strategy.rng.permutation(len(space.edges)).tolist()
    return order


def _by_node(strategy: Sequential, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate) -> Sequence[int]:
    return range(len(space.edges))


def _by_confidence(
    strategy: Sequential, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate
) -> Sequence[int]:
    leads = []
    for worth in strategy.criterion.worths(ask, space, space.mixture(), range(len(space.edges))):
        values = np.sort(aggregate(worth.values))
        lead = values[-1] - values[-2] if len(values) > 1 else np.inf
        leads.append(lead / (values.std() or 1.0))
    order: list[int] = np.argsort(-np.array(leads), kind="stable").tolist()
    return order


ORDERS: dict[str, Order] = {"random": _random, "node": _by_node, "confidence": _by_confidence}


@dataclass(frozen=True, slots=True)
class Interactions(Strategy):
    """Operations that need each other: a skip connection is worth having only beside convolutions.

    For neurons i and j on two edges, the pairwise Shapley interaction of the two-player game at the mixture,

        I(i, j) = V(i and j) - V(i) - V(j) + V(mixture)

    and the selection is jointly the best of  sum_e V(do(e, o_e)) + sum_{e < f} I((e, o_e), (f, o_f)),
    summed in every environment and aggregated then. I of pairs that were replaced is the mean of the others
    (`IntervenedScorer`). Pairs are all pairs of edges where a cell has at most six edges, and the pairs that
    enter one node otherwise. The maximum is exact for up to 100,000 architectures; beyond, coordinate ascent
    from the argmax of the single scores and from 32 random starts.
    """

    rng: np.random.Generator

    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        worths = KeepOne().worths(ask, space, space.mixture(), range(len(space.edges)))
        rows = zip(*(worth.values for worth in worths), strict=True)
        single = np.stack([spread(space, row) for row in rows])
        interaction = _interactions(ask, space, single)

        def joint(choices: NDArray[np.int64]) -> Floats:
            return aggregate(joint_value(single, interaction, choices))

        selected = best_joint(single, interaction, aggregate, self.rng)
        return Decision(selected, worths, space.mixture(), joint)


def _interactions(ask: Ask, space: SearchSpace[Any], single: Floats) -> dict[tuple[int, int], Floats]:
    """Per pair of edges float64 [K, O, O], 0 where not both are candidates. single: float64 [K, E, O]."""
    base = together(space.mixture(), [])
    neurons = {(e, o): coalition(base.mask, e, [o]) for e, o in np.argwhere(space.candidates).tolist()}
    pairs = [
        ((e, o), (f, q)) for e, f in edge_pairs(space) for o, q in product(space.options(e), space.options(f))
    ]
    answers = ask([base, *(pair(neurons[i], neurons[j], base) for i, j in pairs)])
    empty, rest = answers[0].values, answers[1:]
    shape = (len(single), len(space.operations), len(space.operations))
    found = {edges: np.zeros(shape) for edges in edge_pairs(space)}
    for ((e, o), (f, q)), both in zip(pairs, rest, strict=True):
        found[e, f][:, o, q] = both.values - single[:, e, o] - single[:, f, q] + empty
    return found


def edge_pairs(space: SearchSpace[Any]) -> list[tuple[int, int]]:
    """The pairs of edges whose interactions are measured."""
    node = [(edge.cell, edge.target) for edge in space.edges]
    every = list(combinations(range(len(space.edges)), 2))
    return every if len(space.edges) <= 6 else [(e, f) for e, f in every if node[e] == node[f]]


def best_joint(
    single: Floats,
    interaction: dict[tuple[int, int], Floats],
    aggregate: Aggregate,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """argmax_c of the aggregate of `joint_value`, int64 [E]; ties are broken at random.

    single: float64 [K, E, O], -inf where an operation is no candidate.
    """
    allowed = np.isfinite(single[0])
    if prod(allowed.sum(1).tolist()) <= 100_000:
        ends = np.array(list(product(*map(np.flatnonzero, allowed))), dtype=np.int64)
    else:
        alone = [o[aggregate(single[:, e, o]).argmax()] for e, o in enumerate(map(np.flatnonzero, allowed))]
        starts = [np.array(alone), *(draw(allowed, rng) for _ in range(32))]
        ends = np.stack([_ascend(single, interaction, aggregate, allowed, start) for start in starts])
    best: NDArray[np.int64] = ends[argmax_random_ties(aggregate(joint_value(single, interaction, ends)), rng)]
    return best


def joint_value(
    single: Floats, interaction: dict[tuple[int, int], Floats], choices: NDArray[np.int64]
) -> Floats:
    """sum_e single[e, c_e] + sum_(e,f) interaction[e, f][c_e, c_f] in every environment; choices int64 [m, E]
    -> float64 [K, m]"""
    total: Floats = single[:, np.arange(single.shape[1]), choices].sum(2)
    for (e, f), table in interaction.items():
        total += table[:, choices[:, e], choices[:, f]]
    return total


def _ascend(
    single: Floats,
    interaction: dict[tuple[int, int], Floats],
    aggregate: Aggregate,
    allowed: NDArray[np.bool_],
    start: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Change one edge at a time for the better until none can be."""
    choice = start.copy()
    while True:
        before = choice.copy()
        for e, candidates in enumerate(map(np.flatnonzero, allowed)):
            options = np.tile(choice, (len(candidates), 1))
            options[:, e] = candidates
            values = aggregate(joint_value(single, interaction, options))
            if values.max() > values[candidates == choice[e]]:
                choice = options[values.argmax()]
        if np.array_equal(choice, before):
            return choice
