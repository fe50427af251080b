"""Selection under limits: finalists that keep them all, or in one line what could be met instead."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence, Set
from itertools import combinations, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.costs.counts import COUNTS
from znas.costs.features import random_masks
from znas.costs.latencies import Latencies
from znas.costs.limits import Additive, Bound, Budget, sums_over
from znas.costs.quantities import in_words
from znas.selection.criteria import Floats
from znas.selection.finalists import TOGETHER, best_sums, different
from znas.selection.in_order import in_order, under
from znas.selection.operations import one_hot
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace

#: Choices of operations that are looked at for each set of kept edges, and sets of these.
LOOKS, TOPOLOGIES = 200_000, 100
#: Architectures that keep the limits on sums and break another one, before it is given up; and random ones
#: among which the least of a cost that is no sum is looked for.
TRIED, SAMPLE = 1000, 200


def within(
    budget: Budget,
    scores: Floats,
    worth_of_edge: dict[int, float],
    kept: NDArray[np.bool_],
    count: int,
) -> list[Mask]:
    """The best architectures by their sum of scores that keep every limit, as one-hot masks: `count`, or
    fewer if there are no more, of different functions. With the edges `kept`, or the nearest to them that
    allow it.

    scores: float64 [E, O], -inf where an operation is no candidate. worth_of_edge: of those that compete.

    Raises:
        InvalidValueError: none was found; the message names the least that can be met.
    """
    found = fitting(budget, scores, worth_of_edge, kept, count)
    if not found:
        raise unmet(budget)
    return found


def fitting(
    budget: Budget,
    scores: Floats,
    worth_of_edge: dict[int, float],
    kept: NDArray[np.bool_],
    count: int,
    taken: Set[Hashable] = frozenset(),
) -> list[Mask]:
    """As `within`, of other functions than are `taken`; empty where none was found."""
    space, failed = budget.space, 0
    for edges in topologies(space, worth_of_edge, kept):
        found: list[Mask] = []
        masks = different(space, best_sums(space, scores, edges, LOOKS, budget.relaxed), set(taken))
        together = min(count, TOGETHER)  # to look for more than are wanted may take long
        while len(found) < count and failed < TRIED and (some := list(islice(masks, together))):
            together = min(2 * together, TOGETHER)
            keeps = budget.may_keep(np.stack(some))
            found += [mask for mask, kept_all in zip(some, keeps, strict=True) if kept_all]
            failed += int((~keeps).sum())
        if found:
            return found[:count]
        if failed:  # the edges are not what keeps the limits from being met
            break
    return []


def check_can_be_met(budget: Budget) -> None:
    """InvalidValueError, as `within` raises it, where a cost that is a sum is over its limit in every
    architecture: asked before the first pass. What predicts latencies is learnt here."""
    for bound in budget.bounds:
        if isinstance(bound.cost, Latencies):
            _ = bound.cost.model
        elif bound.cost.per_operation is not None:
            least, _ = _least(budget, bound, [])
            if least is not None and least > bound.most:
                raise unmet(budget)


def topologies(
    space: SearchSpace[Any], worth_of_edge: dict[int, float], kept: NDArray[np.bool_]
) -> Iterator[NDArray[np.bool_]]:
    """bool [E]: `kept`, and then other sets of as many in-edges per node, by what their edges are worth."""
    yield kept
    nodes = [list(combinations(into, space.in_edges or 0)) for into in space.contested_nodes()]
    if not nodes:
        return
    losses = np.full((len(nodes), max(map(len, nodes))), np.inf)
    for row, choices in zip(losses, nodes, strict=True):
        row[: len(choices)] = [-sum(worth_of_edge.get(e, 0.0) for e in choice) for choice in choices]
    for _, columns in islice(in_order(losses), TOPOLOGIES):
        found = kept.copy()
        for into, choices, column in zip(space.contested_nodes(), nodes, columns, strict=True):
            found[into] = False
            found[list(choices[column])] = True
        if not np.array_equal(found, kept):
            yield found


def unmet(budget: Budget) -> InvalidValueError:
    """Why no architecture keeps the limits, with the least that can be met."""
    size = f"{budget.space.name} with C={budget.macro.channels} and {budget.macro.cells} cells"
    smaller = "or a smaller network, --network-channels or --network-cells"
    for others in ([], list(budget.bounds)):
        for bound in budget.bounds:
            least, exact = _least(budget, bound, [other for other in others if other is not bound])
            if least is None or least <= bound.most:
                continue
            said = in_words(bound.limit.cost, least)
            target = f"@{bound.limit.target}" if bound.limit.target else ""
            return InvalidValueError(
                f"no architecture of {size} has {_words(bound)}"
                f"{' beside the other limits' if others else ''}: the smallest "
                f"{'there is' if exact else f'of {SAMPLE} random ones'} has {said}; pass --max-"
                f"{bound.limit.cost} {_option(bound.limit.cost, least)}{target} {smaller}"
            )
    listed = ", ".join(map(_words, budget.bounds))
    return InvalidValueError(
        f"no architecture of {size} was found that keeps {listed} together: allow more of one, {smaller}"
    )


def _words(bound: Bound) -> str:
    noun = COUNTS[bound.limit.cost].noun if bound.limit.cost in COUNTS else f"on {bound.limit.target}"
    return f"at most {in_words(bound.limit.cost, bound.most)} {noun}"


def _option(cost: str, least: float) -> str:
    """A number, not below `least`, as the option reads it."""
    return f"{int(np.ceil(least))}" if cost != "latency" else f"{np.ceil(100 * least) / 100:g}ms"


def _least(budget: Budget, bound: Bound, others: Sequence[Bound]) -> tuple[float | None, bool]:
    """The least of one cost among architectures that keep the other limits, and whether it is exact; None
    where none of them was found."""
    space = budget.space
    if bound.cost.per_operation is None:
        masks = random_masks(space, SAMPLE, np.random.default_rng(0))
        for other in others:
            masks = masks[other.within(masks, 0.0)]
        return (float(bound.cost.of_masks(masks).min()) if len(masks) else None), False
    costs, rest = bound.cost.per_operation
    cheapest = {e: -float(row[np.isfinite(row)].min()) for e, row in enumerate(costs)}
    kept = np.ones(len(space.edges), dtype=np.bool_)
    for into in space.contested_nodes():
        kept[sorted(into, key=lambda e: -cheapest[e])[space.in_edges :]] = False
    edges = np.flatnonzero(kept)
    sums: list[Additive] = [other.relaxed.of(edges) for other in others if other.relaxed is not None]
    finite = np.where(np.isfinite(costs), costs, np.inf)[edges]
    for _, columns in under(finite, sums, LOOKS):
        choice = np.zeros(len(space.edges), dtype=np.int64)
        choice[edges] = columns
        mask = one_hot(choice, len(space.operations)) * kept[:, None]
        if space.admits(mask):
            return rest + float(sums_over(costs, mask[None])[0]), True
    return None, True
