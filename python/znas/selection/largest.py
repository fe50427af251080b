"""The largest architecture of a space: what any score must beat to be worth its cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from znas.selection.in_order import in_order
from znas.selection.operations import one_hot
from znas_engine.graph import Graph
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.spaces.base import parameters

#: Of the largest sums, so many are looked at for one that the space admits.
LOOKS = 1_000


def largest(
    space: SearchSpace[Any],
    macro: Macro,
    rng: np.random.Generator,
    of: Callable[[Graph], float] = parameters,
) -> Mask:
    """The path with most parameters, or most of another cost that is a sum over a cell's (edge, operation)
    pairs, float32 [E, O]; ties at random. Exact, but that edges are chosen before the space is asked whether
    it admits one. Where it admits none of the `LOOKS` largest, the largest of all.
    """
    weights = space.costs(macro, of)
    mask = np.zeros(space.shape, dtype=np.float32)
    for into in space.nodes():
        best = {e: weights[e].max() for e in into}
        order = sorted(rng.permutation(into).tolist(), key=lambda e: -best[e])
        for e in order[: space.in_edges]:
            mask[e, rng.choice(np.flatnonzero(weights[e] == best[e]))] = 1
    if space.admits(mask):
        return mask
    kept = np.flatnonzero(mask.any(1))
    for _, columns in islice(in_order(-weights[kept]), LOOKS):
        next_ = np.zeros_like(mask)
        next_[kept] = one_hot(columns, len(space.operations))
        if space.admits(next_):
            return next_
    return mask
