"""The largest architecture of a space: what any score must beat to be worth its cost."""

from __future__ import annotations

from typing import Any

import numpy as np

from znas_engine.spaces import Macro, Mask, SearchSpace


def largest(space: SearchSpace[Any], macro: Macro, rng: np.random.Generator) -> Mask:
    """The path with most parameters, float32 [E, O]; ties at random. Exact, because parameters are a sum over
    a cell's (edge, operation) pairs."""
    weights = space.costs(macro)
    mask = np.zeros(space.shape, dtype=np.float32)
    for into in space.nodes():
        best = {e: weights[e].max() for e in into}
        order = sorted(rng.permutation(into).tolist(), key=lambda e: -best[e])
        for e in order[: space.in_edges]:
            mask[e, rng.choice(np.flatnonzero(weights[e] == best[e]))] = 1
    return mask
