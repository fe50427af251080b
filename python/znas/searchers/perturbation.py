"""Perturbation-based selection: what an edge or an operation is worth is what the score loses without it.

The rule of DARTS+PT (Wang et al., ICLR 2021, arXiv:2108.04392), which Zero-Cost-PT applies to a supernet that
nobody trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest
from typing import Any

import numpy as np

from znas.searchers.base import MOST, Searcher, Task, remembered
from znas.selection.criteria import Floats
from znas.selection.operations import argmax_random_ties, one_hot
from znas_engine.arguments import check_between
from znas_engine.spaces import Mask, SearchSpace


@dataclass(frozen=True, slots=True)
class ZeroCostPT(Searcher):
    """Zero-Cost-PT (Xiang et al., AAAI 2023, arXiv:2106.06799) on the score.

        repeat `iterations` times:
            found = perturb(supernet)
        answer: the found architecture with the best score of its own (one iteration needs none)

    Cost is proportional to `iterations`; a mask that comes up again, and an architecture that is found again,
    cost nothing.

    Unlike the original, which takes a new batch of images at every step and validates on 100 of them, all
    are the request's, whose environments are averaged; and a cell that lets no image through is repaired.
    """

    iterations: int = 10

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", check_between("iterations", self.iterations, 1, MOST))

    def choose(self, task: Task) -> Mask:
        task = replace(task, observe=remembered(task.observe))
        every = {mask.tobytes(): mask for mask in (perturb(task) for _ in range(self.iterations))}
        found = np.stack(list(every.values()))
        values = task.aggregate(task.observe(found)) if len(found) > 1 else np.zeros(1)
        best: Mask = found[argmax_random_ties(values, task.rng)]
        return best


def perturb(task: Task) -> Mask:
    """One projection, an architecture.

    mask = the mixture
    for each edge, in random order, cells in turn:
        keep the operation without which, its weight 0 and all others as they are, the score is lowest
    for each node that keeps some of its edges, in random order, cells in turn:
        keep the edges without which, one at a time, the score is lowest
    """
    space, rng = task.space, task.rng
    mask = space.mixture()
    selected = np.zeros(len(space.edges), dtype=np.int64)
    left = np.full(space.shape, -np.inf)  # of operations, the score without them, negated
    for (e,) in _in_turn([[e] for e in range(len(space.edges))], space, rng):
        options = space.options(e)
        left[e, options] = -_scores(task, [_zeroed(mask, e, o) for o in options])
        selected[e] = argmax_random_ties(left[e], rng)
        mask[e] = one_hot(selected[e : e + 1], len(space.operations))[0]
    mask = one_hot(space.repair(left, selected), len(space.operations))
    for into in _in_turn(space.contested_nodes(), space, rng):
        worth = -_scores(task, [_zeroed(mask, e) for e in into])
        order = sorted(rng.permutation(len(into)).tolist(), key=lambda i: -worth[i])
        mask[[into[i] for i in order[space.in_edges :]]] = 0
    return mask


def _scores(task: Task, masks: list[Mask]) -> Floats:
    """Comparable among themselves, float64 [n]."""
    return task.aggregate(task.observe(np.stack(masks)))


def _zeroed(mask: Mask, edge: int, operation: int | slice = slice(None)) -> Mask:
    """Without an operation, or without the edge; every other weight stays."""
    rest = mask.copy()
    rest[edge, operation] = 0
    return rest


def _in_turn(
    groups: Sequence[list[int]], space: SearchSpace[Any], rng: np.random.Generator
) -> list[list[int]]:
    """Groups of edges in random order, one of every kind of cell in turn."""
    of_cell: dict[str, list[list[int]]] = {}
    for i in rng.permutation(len(groups)):
        of_cell.setdefault(space.edges[groups[i][0]].cell, []).append(groups[i])
    return [each for each in chain.from_iterable(zip_longest(*of_cell.values())) if each]
