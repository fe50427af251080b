"""Choices, one of every row, in the order of what they lose; under limits too.

A loss that is a sum over rows has its choices in order by a queue: after each come three others at most.
Under limits on sums of costs the queue is one of losses to which every cost is added at its price, the dual
of its limit in the linear relaxation: what a choice loses at these prices is never more than what it loses
(Lagrange), so a choice that keeps the limits is next as soon as no price is below its loss.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from znas.costs.limits import Additive
from znas_engine.errors import InvalidValueError

Floats = NDArray[np.float64]
#: Per row the column that is chosen, int64 [rows].
Choice = NDArray[np.int64]
#: What sums of losses differ by without being different.
_ROUNDING = 1e-9


def in_order(losses: Floats) -> Iterator[tuple[float, Choice]]:
    """Every choice with its loss, the smallest first. losses: float64 [rows, columns], inf: no choice."""
    order = [[int(o) for o in np.argsort(row) if np.isfinite(row[o])] for row in losses]
    ordered = [row[columns].tolist() for row, columns in zip(losses, order, strict=True)]

    def total(ranks: tuple[int, ...]) -> float:
        return float(sum(values[rank] for values, rank in zip(ordered, ranks, strict=True)))

    # Rows by what their second best loses. A choice is reached in one way only: its last row, in this order,
    # goes on to its next best, or hands on to the row behind it, which leaves it as it is or, if it was at
    # its second best, sets it back. Each loses no less than what it comes of, and none need be remembered.
    rows = sorted((i for i in range(len(order)) if len(order[i]) > 1), key=lambda i: _gap(ordered[i]))
    start = (0,) * len(losses)
    queue = [(total(start), start, -1)]
    while queue:
        loss, ranks, last = heapq.heappop(queue)
        yield loss, np.array([o[rank] for o, rank in zip(order, ranks, strict=True)], dtype=np.int64)
        following = []
        if last >= 0 and (rank := ranks[rows[last]]) + 1 < len(order[rows[last]]):
            following.append((_changed(ranks, rows[last], rank + 1), last))
        if last + 1 < len(rows):
            onward = _changed(ranks, rows[last + 1], 1)
            following.append((onward, last + 1))
            if last >= 0 and ranks[rows[last]] == 1:
                following.append((_changed(onward, rows[last], 0), last + 1))
        for found, place in following:
            heapq.heappush(queue, (total(found), found, place))


def _gap(values: list[float]) -> float:
    return values[1] - values[0]


def _changed(ranks: tuple[int, ...], row: int, rank: int) -> tuple[int, ...]:
    return (*ranks[:row], rank, *ranks[row + 1 :])


def under(losses: Floats, limits: Sequence[Additive], looks: int) -> Iterator[tuple[float, Choice]]:
    """As `in_order`, of choices that keep all limits; none where the relaxation shows that none does.

    looks: choices that are looked at, at most. What was found by then is in order among itself.
    """
    if not limits:
        yield from islice(in_order(losses), looks)
        return
    prices = duals(losses, limits)
    if prices is None:
        return
    priced = losses.copy()
    for price, limit in zip(prices, limits, strict=True):
        priced += price * limit.costs
    offset = sum(price * limit.most for price, limit in zip(prices, limits, strict=True))
    rows = np.arange(len(losses))
    found: list[tuple[float, int, Choice]] = []
    for number, (bound, choice) in enumerate(islice(in_order(priced), looks)):
        while found and found[0][0] <= bound - offset + _ROUNDING:
            yield found[0][0], heapq.heappop(found)[2]
        if all(limit.keeps(choice) for limit in limits):
            heapq.heappush(found, (float(losses[rows, choice].sum()), number, choice))
    while found:
        yield found[0][0], heapq.heappop(found)[2]


def duals(losses: Floats, limits: Sequence[Additive]) -> Floats | None:
    """What one unit more of every limit would save, in loss, float64 [limits], at least 0: of the linear
    relaxation, in which a row may choose a mixture. None where even that cannot keep the limits."""
    from scipy.optimize import linprog

    where = np.argwhere(np.isfinite(losses))
    rows, columns = where.T
    costs = np.stack([limit.costs[rows, columns] for limit in limits])
    unit = np.abs(costs).max(axis=1, initial=0.0) + 1e-300  # a solver's tolerances are absolute
    found = linprog(
        losses[rows, columns],
        A_ub=costs / unit[:, None],
        b_ub=np.array([limit.most for limit in limits]) / unit,
        A_eq=(rows == np.arange(len(losses))[:, None]).astype(float),
        b_eq=np.ones(len(losses)),
        method="highs",
    )
    if found.status == 2:
        return None
    if found.status != 0:
        raise InvalidValueError(f"the limits cannot be solved ({found.message}): give others")
    prices: Floats = np.maximum(-found.ineqlin.marginals, 0.0) / unit
    return prices
