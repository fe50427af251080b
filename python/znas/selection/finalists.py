"""A final round: the architectures with the best sums of scores, compared as themselves."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.limits import Additive, Budget
from znas.selection.criteria import Floats
from znas.selection.in_order import under
from znas.selection.operations import one_hot
from znas_engine.spaces import Mask, SearchSpace

#: Random architectures that are looked at for each that is wanted.
DRAWS = 20
#: Of the best sums, so many are looked at for each that is wanted: of a space that admits few, most are not.
LOOKS = 100
#: Architectures whose costs are asked for at once.
TOGETHER = 256


def finalists(
    space: SearchSpace[Any],
    scores: Floats,
    kept: NDArray[np.bool_],
    count: int,
    first: NDArray[np.int64],
) -> list[Mask]:
    """`first` and the next best architectures by their sum of scores, as one-hot masks: `count`, or
    fewer where the best sums hold no more that the space admits.

    scores: float64 [E, O], -inf where an operation is no candidate. kept: bool [E], the edges that stay.
    first: int64 [E], the selection so far.
    """
    mask = one_hot(first, len(space.operations)) * kept[:, None]
    if count == 1:
        return [mask]
    sums = best_sums(space, scores, kept, LOOKS * count)
    others = different(space, sums, functions(space, [mask]))
    return [mask, *islice(others, count - 1)]


def best_sums(
    space: SearchSpace[Any],
    scores: Floats,
    kept: NDArray[np.bool_],
    looks: int,
    limits: Sequence[Additive] = (),
) -> Iterator[Mask]:
    """Architectures by their sum of scores, those within `limits` on sums over edges, as one-hot masks,
    whether or not they are admitted. looks: see `under`.

    Every score is taken relative to its edge's best, in deviations of the edge's scores, so that no edge
    dominates.
    """
    edges = np.flatnonzero(kept)
    choice = np.zeros(len(kept), dtype=np.int64)
    for _, columns in under(losses(scores)[edges], [limit.of(edges) for limit in limits], looks):
        choice[edges] = columns
        yield one_hot(choice, len(space.operations)) * kept[:, None]


def different(space: SearchSpace[Any], masks: Iterable[Mask], taken: set[Hashable]) -> Iterator[Mask]:
    """Those that the space admits; of architectures that compute the same function the first. taken:
    functions that are not wanted, to which theirs are added."""
    for mask in masks:
        function = space.function_of(space.genotype(mask))
        if function not in taken and space.admits(mask):
            taken.add(function)
            yield mask


def functions(space: SearchSpace[Any], masks: Iterable[Mask]) -> set[Hashable]:
    """What architectures compute."""
    return {space.function_of(space.genotype(mask)) for mask in masks}


def losses(scores: Floats) -> Floats:
    """What every operation is behind the best of its edge, in deviations of the edge's scores, float64
    [E, O]; inf where it is no candidate."""
    finite = np.where(np.isfinite(scores), scores, np.nan)
    spread = np.nanstd(finite, axis=1, keepdims=True)
    loss = (np.nanmax(finite, axis=1, keepdims=True) - finite) / np.where(spread == 0, 1, spread)
    found: Floats = np.where(np.isnan(loss), np.inf, loss)
    return found


def references(
    space: SearchSpace[Any],
    count: int,
    finalists: Sequence[Mask],
    rng: np.random.Generator,
    budget: Budget | None = None,
) -> list[Mask]:
    """Random architectures among which finalists are ranked, as one-hot masks: `count`, or fewer in a space
    that has no more; all of them may keep the budget, if there is one.

    Admitted, of different functions, and none of the finalists'. Ranks among the finalists themselves would
    exaggerate: all are good by what made them finalists, so their ranks by it say little, and yet a low one
    of them would weigh as much as being among the worst of the space.
    """
    drawn: Iterator[Mask] = (space.random_path(rng) for _ in range(DRAWS * count))
    if budget is not None:
        drawn = kept_by(budget, drawn)
    return list(islice(different(space, drawn, functions(space, finalists)), count))


def kept_by(budget: Budget, masks: Iterator[Mask]) -> Iterator[Mask]:
    """Those that may be within the budget, which is asked of some together."""
    while some := list(islice(masks, TOGETHER)):
        together = np.stack(some)
        yield from together[budget.may_keep(together)]
