"""A final round: the architectures with the best sums of scores, compared as themselves."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.selection.criteria import Floats
from znas.selection.operations import one_hot
from znas_engine.spaces import Mask, SearchSpace

#: Random architectures that are looked at for each that is wanted.
DRAWS = 20
#: Of the best sums, so many are looked at for each that is wanted: of a space that admits few, most are not.
LOOKS = 100


def finalists(
    space: SearchSpace[Any],
    scores: Floats,
    kept: NDArray[np.bool_],
    count: int,
    first: NDArray[np.int64],
) -> list[Mask]:
    """`first` and the next best architectures by their sum of scores, as one-hot masks: `count`, or
    fewer where the best sums hold no more that the space admits.

    Of architectures that compute the same function only the best is among them.

    scores: float64 [E, O], -inf where an operation is no candidate. kept: bool [E], the edges that stay.
    first: int64 [E], the selection so far. Every score is taken relative to its edge's best, in deviations
    of the edge's scores, so that no edge dominates.
    """
    edges = np.flatnonzero(kept)
    finite = np.where(np.isfinite(scores), scores, np.nan)
    spread = np.nanstd(finite, axis=1, keepdims=True)
    loss = (np.nanmax(finite, axis=1, keepdims=True) - finite) / np.where(spread == 0, 1, spread)
    order = [[int(o) for o in np.argsort(loss[e]) if np.isfinite(loss[e, o])] for e in edges]

    def total(ranks: tuple[int, ...]) -> float:
        return float(sum(loss[e, order[i][r]] for i, (e, r) in enumerate(zip(edges, ranks, strict=True))))

    masks = [one_hot(first, len(space.operations)) * kept[:, None]]
    functions = {space.function_of(space.genotype(masks[0]))}
    start = (0,) * len(edges)
    queue = [(total(start), start)]
    seen = {start}
    for _ in range(LOOKS * count):
        if not queue or len(masks) == count:
            break
        _, ranks = heapq.heappop(queue)
        choice = first.copy()
        choice[edges] = [order[i][r] for i, r in enumerate(ranks)]
        mask = one_hot(choice, len(space.operations)) * kept[:, None]
        function = space.function_of(space.genotype(mask))
        if function not in functions and space.admits(mask):
            functions.add(function)
            masks.append(mask)
        for i in range(len(edges)):
            if ranks[i] + 1 < len(order[i]):
                following = (*ranks[:i], ranks[i] + 1, *ranks[i + 1 :])
                if following not in seen:
                    seen.add(following)
                    heapq.heappush(queue, (total(following), following))
    return masks


def references(
    space: SearchSpace[Any], count: int, finalists: Sequence[Mask], rng: np.random.Generator
) -> list[Mask]:
    """Random architectures among which finalists are ranked, as one-hot masks: `count`, or fewer in a space
    that has no more.

    Admitted, of different functions, and none of the finalists'. Ranks among the finalists themselves would
    exaggerate: all are good by what made them finalists, so their ranks by it say little, and yet a low one
    of them would weigh as much as being among the worst of the space.
    """
    functions = {space.function_of(space.genotype(mask)) for mask in finalists}
    masks: list[Mask] = []
    for _ in range(DRAWS * count):
        mask = space.random_path(rng)
        function = space.function_of(space.genotype(mask))
        if function not in functions and space.admits(mask):
            functions.add(function)
            masks.append(mask)
            if len(masks) == count:
                break
    return masks
