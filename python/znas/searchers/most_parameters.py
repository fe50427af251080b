"""The largest network of the space: what any score must beat to be worth its cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.searchers.base import Searcher, Task
from znas.selection.criteria import Floats, selectable
from znas_engine.spaces import Macro, Mask, SearchSpace


@dataclass(frozen=True, slots=True)
class MostParameters(Searcher):
    """Exact, because parameters are a sum over a cell's (edge, operation) pairs; ties at random."""

    def choose(self, task: Task) -> Mask:
        space = task.space
        weights = parameters(space, task.macro)
        mask = np.zeros(space.shape, dtype=np.float32)
        for into in space.nodes():
            best = {e: weights[e].max() for e in into}
            order = sorted(task.rng.permutation(into).tolist(), key=lambda e: -best[e])
            for e in order[: space.in_edges]:
                mask[e, task.rng.choice(np.flatnonzero(weights[e] == best[e]))] = 1
        return mask


def parameters(space: SearchSpace[Any], macro: Macro) -> Floats:
    """Parameters that an operation adds on an edge, float64 [E, O], up to one constant per node; -inf where
    it may not be selected.

    A node keeps k in-edges (or all of them): the network in which it holds the operation k times (once)
    against one in which every node holds a base.
    """
    first = selectable(space)[0]
    base = np.zeros(space.shape, dtype=np.float32)
    copies = space.in_edges or 1
    for into in space.nodes():
        base[into[: space.in_edges], first] = 1
    weights = np.full(space.shape, -np.inf)
    for into in space.nodes():
        for e in into:
            for o in selectable(space):
                mask = base.copy()
                mask[into if space.in_edges else [e]] = 0
                mask[e, o] = copies
                weights[e, o] = space.network(space.genotype(mask), macro).parameters / copies
    return weights
