"""Which edges a cell keeps: ensemble selection (Corollary 2.1) and the rules of each space."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.spaces import Mask, SearchSpace


def contested_edges(space: SearchSpace[Any]) -> list[int]:
    """Edges whose target has more in-edges than a genotype keeps: only they need a drop(e) score."""
    into = [(edge.cell, edge.target) for edge in space.edges]
    return [e for e, node in enumerate(into) if space.in_edges and into.count(node) > space.in_edges]


def select_edges(
    space: SearchSpace[Any], dropped: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Per node the `space.in_edges` edges whose loss hurts most (all, where that is None).

    dropped: float64 [E], the score under drop(e); NaN for edges without competition. Returns bool [E].
    Ties are broken at random.

        importance(e) = F(mixture) - F(drop(e)); F(mixture) is the same for all, so the lowest F(drop) stay
    """
    kept = np.ones(len(space.edges), dtype=bool)
    contested = [e for e in rng.permutation(len(space.edges)) if e in contested_edges(space)]
    for node in {(space.edges[e].cell, space.edges[e].target) for e in contested}:
        into = [e for e in contested if (space.edges[e].cell, space.edges[e].target) == node]
        kept[sorted(into, key=lambda e: dropped[e])[space.in_edges :]] = False
    return kept


def connect(
    space: SearchSpace[Any], scores: NDArray[np.float64], selected: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The rule where `none` may be selected: it may win any edge, as long as images still reach the logits.

    scores: float64 [E, O]. selected: int64 [E]. Where the winners disconnect the cell, the cheapest set
    of edges gives their `none` up for the edge's best other operation; the loss is the sum of score
    differences.
    """
    none = space.operations.index("none")
    others = np.where(np.arange(len(space.operations)) == none, -np.inf, scores).argmax(1)
    edges = np.arange(len(selected))
    loss = scores[edges, selected] - scores[edges, others]
    candidates = []
    given_up = [e for e in edges if selected[e] == none]
    for size in range(len(given_up) + 1):
        for change in map(list, combinations(given_up, size)):
            repaired = selected.copy()
            repaired[change] = others[change]
            if space.connected(space.genotype(one_hot(repaired, len(space.operations)))):
                candidates.append((float(loss[change].sum()), size, change, repaired))
    return min(candidates, key=lambda c: c[:3])[3]


def one_hot(selected: NDArray[np.int64], operations: int) -> Mask:
    """operation per edge, int64 [E] -> mask float32 [E, O]"""
    return np.eye(operations, dtype=np.float32)[selected]
