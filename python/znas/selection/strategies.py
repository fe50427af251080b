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

from znas.games import get_interactions
from znas.interventions.query import together
from znas.selection.criteria import Ask, Criterion, Floats, KeepOne, Worth, spread
from znas.selection.operations import argmax_random_ties
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.base import draw

Aggregate = Callable[[Floats], Floats]

#: Whose worth is compared, in which order edges are decided, and what the score of an operation is of.
GAME_CHOICES = ("none", "shapley", "interaction")
SELECTIONS = ("algorithm1", "sequential")
CRITERIA = ("keep", "leave-one-out")


@dataclass(frozen=True, slots=True)
class Decision:
    """selected: the operation of every edge, int64 [E]. worths: per edge, as they were when it was decided.
    base: the mask under which the topology is to be judged. joint: of a choice, int64 [E], what it is worth
    where that is no sum of worths."""

    selected: NDArray[np.int64]
    worths: list[Worth]
    base: Mask
    joint: Callable[[NDArray[np.int64]], float] | None = None


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

    and the selection is jointly the best of  sum_e V(do(e, o_e)) + sum_{e < f} I((e, o_e), (f, o_f)).
    Pairs are all pairs of edges where a cell has at most six edges, and the pairs that enter one node
    otherwise. The maximum is exact for up to 100,000 architectures; beyond, coordinate ascent from the
    argmax of the single scores and from 32 random starts.
    """

    rng: np.random.Generator

    def decide(
        self, ask: Ask, space: SearchSpace[Any], aggregate: Aggregate, ties: np.random.Generator
    ) -> Decision:
        mixture = space.mixture()
        worths = KeepOne().worths(ask, space, mixture, range(len(space.edges)))
        single = spread(space, [aggregate(worth.values) for worth in worths])
        pairs = edge_pairs(space)
        interaction = self._interactions(ask, space, worths, pairs, aggregate)

        def joint(choice: NDArray[np.int64]) -> float:
            return float(joint_value(single, interaction, choice[None])[0])

        return Decision(best_joint(single, interaction, self.rng), worths, mixture, joint)

    def _interactions(
        self,
        ask: Ask,
        space: SearchSpace[Any],
        worths: list[Worth],
        pairs: Sequence[tuple[int, int]],
        aggregate: Aggregate,
    ) -> dict[tuple[int, int], Floats]:
        """Per pair of edges float64 [O, O], 0 where not both are candidates; the mean over environments."""
        mixture = space.mixture()
        queries = [together(mixture, [])]
        for e, f in pairs:
            for o, q in product(space.options(e), space.options(f)):
                queries.append(together(mixture, [(e, o), (f, q)]))
        answers = [answer.values.mean() for answer in ask(queries)]
        empty, rest = answers[0], iter(answers[1:])
        estimator = get_interactions("exact")
        found: dict[tuple[int, int], Floats] = {}
        for e, f in pairs:
            table = np.zeros((len(space.operations), len(space.operations)))
            for (i, o), (j, q) in product(enumerate(space.options(e)), enumerate(space.options(f))):
                v = {
                    (False, False): empty,
                    (True, False): worths[e].values[:, i].mean(),
                    (False, True): worths[f].values[:, j].mean(),
                    (True, True): next(rest),
                }

                def value(coalitions: NDArray[np.bool_], v: dict[tuple[bool, bool], float] = v) -> Floats:
                    return np.array([v[bool(a), bool(b)] for a, b in coalitions])

                table[o, q] = estimator.estimate(value, 2, rng=self.rng).values[0, 1]
            found[e, f] = table
        return found


def edge_pairs(space: SearchSpace[Any]) -> list[tuple[int, int]]:
    """The pairs of edges whose interactions are measured."""
    node = [(edge.cell, edge.target) for edge in space.edges]
    every = list(combinations(range(len(space.edges)), 2))
    return every if len(space.edges) <= 6 else [(e, f) for e, f in every if node[e] == node[f]]


def best_joint(
    single: Floats, interaction: dict[tuple[int, int], Floats], rng: np.random.Generator
) -> NDArray[np.int64]:
    """argmax_c sum_e single[e, c_e] + sum_(e,f) interaction[e, f][c_e, c_f], int64 [E].

    single: float64 [E, O], -inf where an operation is no candidate.
    """
    allowed = np.isfinite(single)
    if prod(allowed.sum(1).tolist()) <= 100_000:
        ends = np.array(list(product(*map(np.flatnonzero, allowed))), dtype=np.int64)
    else:
        starts = [single.argmax(1), *(draw(allowed, rng) for _ in range(32))]
        ends = np.stack([_ascend(single, interaction, start) for start in starts])
    best: NDArray[np.int64] = ends[joint_value(single, interaction, ends).argmax()]
    return best


def joint_value(
    single: Floats, interaction: dict[tuple[int, int], Floats], choices: NDArray[np.int64]
) -> Floats:
    """choices int64 [m, E] -> float64 [m]"""
    total: Floats = single[np.arange(single.shape[0]), choices].sum(1)
    for (e, f), table in interaction.items():
        total += table[choices[:, e], choices[:, f]]
    return total


def _ascend(
    single: Floats, interaction: dict[tuple[int, int], Floats], start: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Change one edge at a time for the better until none can be."""
    choice = start.copy()
    while True:
        before = choice.copy()
        for e in range(len(choice)):
            options = np.tile(choice, (single.shape[1], 1))
            options[:, e] = np.arange(single.shape[1])
            choice = options[joint_value(single, interaction, options).argmax()]
        if np.array_equal(choice, before):
            return choice
