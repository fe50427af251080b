"""Pruning a supernet by the importance of its operations (TE-NAS: Chen, Gong & Wang, ICLR 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.searchers.base import Searcher, Task
from znas.selection.operations import argmax_random_ties
from znas_engine.spaces import Mask, SearchSpace

Members = NDArray[np.bool_]


class TeNas(Searcher):
    """From all operations down to one per edge.

        members = all candidates of every edge
        until every edge has one:
            score the network without o, for every edge and every o left on it
            rank all of these together; drop, on every edge, the o whose loss ranks best
        DARTS: the same with the in-edges of every node, until two are left

    The scores are several whose ranks are combined; the published pair is the condition number of the neural
    tangent kernel and the number of linear regions. An edge weighs its operations evenly, and the supernet's
    normalisation stays as it was measured under the whole mixture.
    """

    def choose(self, task: Task) -> Mask:
        space, rng = task.space, task.rng
        members = space.candidates.copy()
        most = int(members.sum(1).max())
        fallen = np.full(space.shape, -np.inf)  # when an operation was dropped: the later, the better
        for step in range(most - 1):
            undecided = members & (members.sum(1, keepdims=True) > 1)
            candidates = [(e, o) for e, o in np.argwhere(undecided).tolist()]
            values = task.aggregate(task.observe(np.stack([_without(members, e, o) for e, o in candidates])))
            for e in np.flatnonzero(undecided.any(1)):
                own = [i for i, (edge, _) in enumerate(candidates) if edge == e]
                dropped = candidates[own[argmax_random_ties(values[own], rng)]]
                members[dropped] = False
                fallen[dropped] = step
        fallen[members] = most
        chosen = space.repair(fallen, members.argmax(1))
        members = np.arange(len(space.operations)) == chosen[:, None]
        _prune_edges(space, members, task)
        return _mask(members)


def _prune_edges(space: SearchSpace[Any], members: Members, task: Task) -> None:
    """Per node, the in-edge whose loss ranks best goes, until `space.in_edges` are left."""
    while True:
        crowded = [
            [e for e in into if members[e].any()]
            for into in space.contested_nodes()
            if sum(members[e].any() for e in into) > (space.in_edges or 0)
        ]
        if not crowded:
            return
        edges = [e for into in crowded for e in into]
        values = task.aggregate(task.observe(np.stack([_mask(_without_edge(members, e)) for e in edges])))
        value_of = dict(zip(edges, values, strict=True))
        for into in crowded:
            worth = np.array([value_of[e] for e in into])
            members[into[argmax_random_ties(worth, task.rng)]] = False


def _mask(members: Members) -> Mask:
    """Even weights on what is left of every edge."""
    mask: Mask = (members / np.maximum(members.sum(1, keepdims=True), 1)).astype(np.float32)
    return mask


def _without(members: Members, edge: int, operation: int) -> Mask:
    rest = members.copy()
    rest[edge, operation] = False
    return _mask(rest)


def _without_edge(members: Members, edge: int) -> Members:
    rest = members.copy()
    rest[edge] = False
    return rest
