"""Counts that are a sum over (edge, operation) pairs: of any number of architectures from a few networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.graph import Graph
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

Floats = NDArray[np.float64]

#: Random architectures that show that a count is a sum.
SAMPLE = 16


@dataclass(frozen=True, slots=True)
class Additive:
    """constant + the sum of what stands in a mask. each: float64 [E, O], -inf where nothing may stand."""

    constant: float
    each: Floats

    def of(self, masks: Mask) -> Floats:
        """path(a), float32 [n, E, O] -> float64 [n]; -inf where one has what may not stand."""
        total: Floats = (np.where(masks == 0, 0.0, self.each) * masks).sum((1, 2)) + self.constant
        return total

    def smallest(self, space: SearchSpace[Any]) -> Mask:
        """path(a) of what has the smallest sum, admitted or not."""
        return _extreme(space, np.where(np.isfinite(self.each), -self.each, -np.inf))

    def largest(self, space: SearchSpace[Any]) -> Mask:
        """path(a) of what has the largest sum, admitted or not."""
        return _extreme(space, self.each)


def _extreme(space: SearchSpace[Any], worth: Floats) -> Mask:
    """The in-edges of every node whose best operations are worth most, each with that operation."""
    mask = np.zeros(space.shape, dtype=np.float32)
    for into in space.nodes():
        best = sorted(into, key=lambda e: -worth[e].max())[: space.in_edges]
        mask[best, worth[best].argmax(1)] = 1
    return mask


def additive(
    space: SearchSpace[Any],
    macro: Macro,
    of: Callable[[Graph], float],
    known: Sequence[tuple[Genotype, float]],
) -> Additive | None:
    """The count as a sum, or None where it is none.

    known: architectures whose count was made from their networks, at least one: the sum must give all of them
    exactly. It stands on one network per (edge, operation).
    """
    each = space.costs(macro, of)
    masks = np.stack([space.mask(genotype) for genotype, _ in known])
    wanted = np.array([count for _, count in known])
    rest = wanted - Additive(0.0, each).of(masks)
    return Additive(float(rest[0]), each) if np.isfinite(rest[0]) and np.ptp(rest) == 0 else None


def counted(
    space: SearchSpace[Any], macro: Macro, genotypes: Sequence[Genotype], of: Callable[[Graph], float]
) -> Floats:
    """The count of every architecture at that size, [n].

    Of many it is a sum over (edge, operation), where a sample shows that it is one; otherwise every network
    is built.
    """

    def each(some: Sequence[Genotype]) -> list[float]:
        return [of(space.network(genotype, macro)) for genotype in some]

    if len(genotypes) > 2 * len(space.neurons()):  # a sum needs a network of each
        chosen = np.random.default_rng(0).choice(len(genotypes), min(SAMPLE, len(genotypes)), replace=False)
        sample = [genotypes[i] for i in chosen]
        total = additive(space, macro, of, list(zip(sample, each(sample), strict=True)))
        found = None if total is None else total.of(np.stack([space.mask(one) for one in genotypes]))
        if found is not None and np.isfinite(found).all():
            return found
    return np.array(each(genotypes), dtype=np.float64)
