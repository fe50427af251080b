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
    """From all operations but `none` down to one per edge.

        members = the candidates of every edge that compute something
        until every edge has one:
            score the network without o, for every edge and every o left on it
            rank all of these together; drop, on every edge, the o whose loss ranks best
        where a node keeps some of its edges, node by node:
            score the network without e, for every edge into the node; keep those whose loss ranks worst

    The published scores are the condition number of the neural tangent kernel and the number of linear
    regions, each in a network of its own (`run(..., beside=)`), and the sum of their ranks decides. An edge
    weighs its operations evenly, as a softmax over those left does.

    Unlike the original, a network without o is ranked by its scores, not by their relative change, which
    orders one draw of weights alike; ranks of several draws are averaged, not their changes. On DARTS the
    original drops three operations of an edge at a time.
    """

    def choose(self, task: Task) -> Mask:
        space, rng = task.space, task.rng
        members = space.candidates & space.computing
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
    """Per node, in order, `space.in_edges` edges are left: those whose loss ranks worst."""
    for into in space.contested_nodes():
        values = task.aggregate(task.observe(np.stack([_mask(_without_edge(members, e)) for e in into])))
        order = task.rng.permutation(len(into))
        worst = sorted(order.tolist(), key=lambda i: values[i])
        members[[into[i] for i in worst[space.in_edges :]]] = False


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
