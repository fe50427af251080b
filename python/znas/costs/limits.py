"""Limits of a search, resolved for a space and a size of network: those on sums over edges, and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from znas.costs.counts import COUNTS, Count
from znas.costs.quantities import Limit
from znas_engine.graph import Graph
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

Floats = NDArray[np.float64]
#: Random architectures on which costs are seen to add up, and among which the largest of those that do not
#: is looked for.
CHECKED, LOOKED = 4, 200


@dataclass(frozen=True, slots=True)
class Additive:
    """At most `most` for the sum of one cost over the rows. costs: float64 [rows, columns]."""

    costs: Floats
    most: float

    def keeps(self, choice: NDArray[np.int64]) -> bool:
        """choice: per row the column that is chosen, int64 [rows]."""
        total = self.costs[np.arange(len(choice)), choice].sum()
        return bool(total <= self.most + 1e-9 * abs(self.most))

    def of(self, rows: NDArray[np.int64]) -> Additive:
        """The same over some of the rows."""
        return Additive(self.costs[rows], self.most)


class Cost(Protocol):
    """One cost of the networks of one size."""

    @property
    def per_operation(self) -> tuple[Floats, float] | None:
        """Where it is a sum: what every operation adds on its edge, float64 [E, O], -inf where it is no
        candidate, and the rest. None where it is no sum."""

    def of(self, genotype: Genotype) -> float:
        """Of one architecture; of what is predicted, the prediction."""


@dataclass(frozen=True, eq=False)
class Counted:
    """A cost that is counted on the graph."""

    space: SearchSpace[Any]
    macro: Macro
    count: Callable[[Graph], int]

    def of(self, genotype: Genotype) -> float:
        return float(self.count(self.space.network(genotype, self.macro)))

    @cached_property
    def per_operation(self) -> tuple[Floats, float] | None:
        costs = self.space.costs(self.macro, self.count)
        rng = np.random.default_rng(0)
        masks = [self.space.random_path(rng) for _ in range(CHECKED)]
        rests = [self.of(self.space.genotype(mask)) - sum_over(costs, mask) for mask in masks]
        return None if np.ptp(rests) > 1e-6 * max(map(abs, rests), default=0.0) + 0.5 else (costs, rests[0])


@dataclass(frozen=True, eq=False)
class Bound:
    """One limit. most: in its unit. cost: of networks of the size that it is for."""

    limit: Limit
    most: float
    cost: Cost

    @cached_property
    def additive(self) -> Additive | None:
        """Over edges; None where the cost is no sum."""
        if self.cost.per_operation is None:
            return None
        costs, rest = self.cost.per_operation
        return Additive(np.where(np.isfinite(costs), costs, 0.0), self.most - rest)

    def keeps(self, mask: Mask, genotype: Callable[[], Genotype]) -> bool:
        """Whether an architecture is within the limit."""
        if self.additive is not None:
            return sum_over(self.additive.costs, mask) <= self.additive.most + 1e-9 * abs(self.additive.most)
        return self.cost.of(genotype()) <= self.most


@dataclass(frozen=True, eq=False)
class Budget:
    """All limits of one search. macro: the size of network that they are for."""

    space: SearchSpace[Any]
    macro: Macro
    bounds: tuple[Bound, ...]

    @classmethod
    def of(cls, limits: Sequence[Limit], space: SearchSpace[Any], macro: Macro) -> Budget:
        """Resolves shares of the largest."""
        bounds = []
        for limit in limits:
            count: Count = COUNTS[limit.cost]
            cost = Counted(space, macro, count.of)
            most = limit.most * largest(space, cost) if limit.share else limit.most
            bounds.append(Bound(limit, most, cost))
        return cls(space, macro, tuple(bounds))

    @property
    def additive(self) -> list[Additive]:
        """Those over sums."""
        return [bound.additive for bound in self.bounds if bound.additive is not None]

    def keeps(self, mask: Mask) -> bool:
        """Whether an architecture is within all limits, by what is counted and predicted."""
        return all(bound.keeps(mask, lambda: self.space.genotype(mask)) for bound in self.bounds)


def largest(space: SearchSpace[Any], cost: Cost) -> float:
    """Of all architectures where the cost is a sum, otherwise of `LOOKED` random ones."""
    if cost.per_operation is None:
        rng = np.random.default_rng(0)
        return max(cost.of(space.genotype(space.random_path(rng))) for _ in range(LOOKED))
    costs, rest = cost.per_operation
    for into in space.nodes():
        best = sorted((float(costs[e].max()) for e in into), reverse=True)
        rest += sum(best[: space.in_edges])
    return rest


def sum_over(costs: Floats, mask: Mask) -> float:
    """costs float64 [E, O], mask [E, O] of an architecture -> what its operations add."""
    live = mask > 0
    return float((costs[live] * mask[live]).sum())
