"""The largest network of the space: what any score must beat to be worth its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.searchers.base import Searcher, Task
from znas_engine.spaces import Macro, Mask, SearchSpace


@dataclass(frozen=True, slots=True)
class MostParameters(Searcher):
    """Exact, because parameters are a sum over a cell's (edge, operation) pairs; ties at random."""

    def choose(self, task: Task) -> Mask:
        return largest(task.space, task.macro, task.rng)


def largest(space: SearchSpace[Any], macro: Macro, rng: np.random.Generator) -> Mask:
    """Its path, float32 [E, O]; no score is asked for."""
    weights = space.costs(macro)
    mask = np.zeros(space.shape, dtype=np.float32)
    for into in space.nodes():
        best = {e: weights[e].max() for e in into}
        order = sorted(rng.permutation(into).tolist(), key=lambda e: -best[e])
        for e in order[: space.in_edges]:
            mask[e, rng.choice(np.flatnonzero(weights[e] == best[e]))] = 1
    return mask
