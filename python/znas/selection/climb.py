"""A final round that goes on: to the neighbours of its best, and on to the neighbours of the best of those.

Best-first search with the score of the final round itself. It is for limits: sums of scores say which
operations are good one by one, and within limits it matters more what goes together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from znas.costs.limits import Budget
from znas.selection.criteria import Floats
from znas.selection.finalists import different, functions, kept_by
from znas_engine.spaces import Mask, SearchSpace

#: Of the best, so many are to have all neighbours measured; and so many get them at once.
WIDTH, TOGETHER = 10, 5


def climb(
    budget: Budget,
    masks: Sequence[Mask],
    scores: Floats,
    score: Callable[[Mask], Floats],
    most: int,
) -> tuple[list[Mask], Floats]:
    """Other architectures that were compared, at most `most`, as one-hot masks; their scores, float64 [n].

    It ends when all neighbours of the `WIDTH` best were compared. All may keep the budget, and are of other
    functions than `masks`, whose scores are `scores`. score: of masks [n, E, O], float64 [n], the same
    whichever others are asked for with them.
    """
    space = budget.space
    known, values = list(masks), scores.tolist()
    taken = functions(space, known)
    left: set[int] = set(range(len(known)))
    while len(known) - len(masks) < most:
        best = sorted(range(len(known)), key=lambda i: -values[i])[:WIDTH]
        next_ = [i for i in best if i in left][:TOGETHER]
        if not next_:
            break
        left -= set(next_)
        around = chain.from_iterable(neighbours(space, known[i]) for i in next_)
        fresh = different(space, kept_by(budget, around), taken)
        new = list(islice(fresh, most - (len(known) - len(masks))))
        if new:
            left |= set(range(len(known), len(known) + len(new)))
            known += new
            values += score(np.stack(new)).tolist()
    return known[len(masks) :], np.array(values[len(masks) :])


def neighbours(space: SearchSpace[Any], mask: Mask) -> Iterator[Mask]:
    """Architectures that differ from a one-hot mask in one edge, whether or not they are admitted: by another
    operation, or, at a node that keeps some of its edges, by another edge instead."""
    rivals = {e: into for into in space.contested_nodes() for e in into}
    for edge in np.flatnonzero(mask.any(1)).tolist():
        others = [other for other in rivals.get(edge, ()) if not mask[other].any()]
        for place in (edge, *others):
            for option in space.options(place):
                if not mask[place, option]:
                    found = mask.copy()
                    found[edge] = 0
                    found[place, option] = 1
                    yield found
