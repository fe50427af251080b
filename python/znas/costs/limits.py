"""Limits of a search, resolved for a space and a size of network: those on sums over edges, and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.counts import COUNTS
from znas.costs.features import random_masks
from znas.costs.latencies import Latencies
from znas.costs.quantities import Limit
from znas_engine.graph import Graph
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: How far above a limit the prediction of what is still measured may be, in median errors of held-out ones:
#: two deviations, as the median of a normal error is 0.67 of its deviation.
UNSURE = 3.0
#: Random architectures on which costs are seen to add up, and among which the largest of those that do not
#: is looked for.
CHECKED, LOOKED = 16, 200


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


@dataclass(frozen=True, eq=False)
class Counted:
    """A cost that is counted on the graph.

    per_operation: where it is a sum, what every operation adds on its edge, float64 [E, O], -inf where it is
    no candidate, and the rest; None where it is none.
    """

    space: SearchSpace[Any]
    macro: Macro
    count: Callable[[Graph], int]
    #: Of masks that were counted, where the cost is no sum.
    _known: dict[bytes, float] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def named(cls, cost: str, space: SearchSpace[Any], macro: Macro) -> Counted:
        """One of COUNTS."""
        return cls(space, macro, COUNTS[cost].of)

    def of(self, genotype: Genotype) -> float:
        """Of one architecture."""
        return float(self.count(self.space.network(genotype, self.macro)))

    def of_masks(self, masks: Mask) -> Floats:
        """Of masks [n, E, O], float64 [n]."""
        if self.per_operation is not None:
            costs, rest = self.per_operation
            return rest + sums_over(costs, masks)
        return np.array([self._once(mask) for mask in masks])

    def _once(self, mask: Mask) -> float:
        key = mask.tobytes()
        if key not in self._known:
            self._known[key] = self.of(self.space.genotype(mask))
        return self._known[key]

    @cached_property
    def per_operation(self) -> tuple[Floats, float] | None:
        costs = self.space.costs(self.macro, self.count)
        masks = random_masks(self.space, CHECKED, np.random.default_rng(0))
        rests = [self.of(self.space.genotype(mask)) for mask in masks] - sums_over(costs, masks)
        return None if np.ptp(rests) > 0.5 + 1e-6 * np.abs(rests).max() else (costs, float(rests[0]))

    @property
    def relaxed(self) -> tuple[Floats, float] | None:
        return self.per_operation


@dataclass(frozen=True, eq=False)
class Bound:
    """One limit. most: in its unit. cost: of networks of the size that it is for."""

    limit: Limit
    most: float
    cost: Counted | Latencies

    @cached_property
    def relaxed(self) -> Additive | None:
        """Over edges: the limit itself where the cost is a sum; one that what may keep it keeps, or nearly
        all of that, where there is one."""
        if self.cost.relaxed is None:
            return None
        costs, rest = self.cost.relaxed
        return Additive(np.where(np.isfinite(costs), costs, 0.0), self._most(-UNSURE) - rest)

    def within(self, masks: Mask, sure: float) -> Bools:
        """masks [n, E, O] -> which are within the limit, bool [n]: by what is counted, or is predicted so
        many median errors under it, or over it where `sure` is below 0."""
        kept: Bools = self.cost.of_masks(masks) <= self._most(sure) + 1e-9 * self.most
        return kept

    def _most(self, sure: float) -> float:
        error = self.cost.model.error.median if isinstance(self.cost, Latencies) else 0.0
        return self.most * (1 - sure * error)


@dataclass(frozen=True, eq=False)
class Budget:
    """All limits of one search. macro: the size of network that they are for."""

    space: SearchSpace[Any]
    macro: Macro
    bounds: tuple[Bound, ...]

    @classmethod
    def of(
        cls,
        limits: Sequence[Limit],
        space: SearchSpace[Any],
        macro: Macro,
        latencies: Callable[[str], Latencies],
    ) -> Budget:
        """Resolves shares of the largest. latencies: of a target."""
        bounds = []
        for limit in limits:
            cost = (
                Counted.named(limit.cost, space, macro) if limit.target is None else latencies(limit.target)
            )
            most = limit.most * largest(space, cost) if limit.share else limit.most
            bounds.append(Bound(limit, most, cost))
        return cls(space, macro, tuple(bounds))

    @property
    def relaxed(self) -> list[Additive]:
        """Limits on sums over edges which all that may keep the others keep, or nearly all."""
        return [bound.relaxed for bound in self.bounds if bound.relaxed is not None]

    def keeps(self, masks: Mask) -> Bools:
        """masks [n, E, O] -> which are within all limits, by what is counted or predicted, bool [n]."""
        return self.within(masks, 0.0)

    def may_keep(self, masks: Mask) -> Bools:
        """The same, with those whose predictions may be wrong by that much: what is worth to be measured."""
        return self.within(masks, -UNSURE)

    def within(self, masks: Mask, sure: float) -> Bools:
        """Which are within all limits, bool [n]; see `Bound.within`."""
        kept = np.ones(len(masks), dtype=np.bool_)
        for bound in self.bounds:
            if kept.any():  # what predicts latencies reads one mask at least
                kept[kept] = bound.within(masks[kept], sure)
        return kept

    def measurable(self, mask: Mask) -> bool:
        """Whether what is predicted of an architecture can be measured."""
        costs = [bound.cost for bound in self.bounds if isinstance(bound.cost, Latencies)]
        return all(cost.measurable(self.space.genotype(mask)) for cost in costs)


def largest(space: SearchSpace[Any], cost: Counted | Latencies) -> float:
    """Of all architectures where the cost is a sum, otherwise of `LOOKED` random ones."""
    if cost.per_operation is None:
        return float(cost.of_masks(random_masks(space, LOOKED, np.random.default_rng(0))).max())
    costs, rest = cost.per_operation
    for into in space.nodes():
        best = sorted((float(costs[e].max()) for e in into), reverse=True)
        rest += sum(best[: space.in_edges])
    return rest


def sums_over(costs: Floats, masks: Mask) -> Floats:
    """costs float64 [E, O], masks [n, E, O] of architectures -> what their operations add, float64 [n]."""
    found: Floats = np.where(masks > 0, masks * np.where(np.isfinite(costs), costs, 0.0), 0.0).sum((1, 2))
    return found
