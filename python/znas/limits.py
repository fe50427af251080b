"""The end of a search under limits: what is handed over keeps them, latencies as they are measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from znas.costs.latencies import Latencies
from znas.costs.latency import Latency
from znas.costs.limits import UNSURE, Bound, Budget
from znas.costs.quantities import in_words
from znas.hooks import Report
from znas.result import LimitReport
from znas.selection.in_order import duals
from znas_engine.errors import InvalidValueError
from znas_engine.progress import unheard
from znas_engine.spaces import Genotype, Mask

Floats = NDArray[np.float64]
#: How sure it has to be that an architecture keeps its limits for it to be measured (see `Bound.within`), at
#: first, then, and at last; and so many are measured each time before a limit of latency is given up.
SURE, MEASURED = (-UNSURE, 0.0, UNSURE), 20
#: What a sum of floats may be over its limit, which is such a sum too where it is a share.
ROUNDING = 1e-9


def settled(
    masks: list[Mask], losses: Floats, budget: Budget | None, report: Report = unheard
) -> tuple[Mask, tuple[LimitReport, ...], list[str]]:
    """The first of the architectures that keeps the limits of latency when it is measured, what it has of its
    limits, and notes. losses: float64 [E, O], of every operation behind its edge's best. report: told of each
    that does not, as a measurement takes seconds.

    Raises:
        InvalidValueError: none of those that are measured does; it names the nearest.
    """
    if budget is None:
        return masks[0], (), []
    nearest: tuple[float, str] | None = None
    tried = 0
    for tried, mask in enumerate(_in_turn(masks, budget), 1):
        limits, remarks = reports(budget, mask, losses)
        over = max((limit.value / limit.most for limit in limits), default=0.0)
        if over <= 1 + ROUNDING:
            if tried > 1:
                remarks.append(f"{tried - 1} architectures before this one were over a limit when measured")
            return mask, limits, remarks
        worst = max(limits, key=lambda limit: limit.value / limit.most)
        said = in_words(worst.cost, worst.value) + (f" on {worst.target}" if worst.target else "")
        report(f"over its limit of {in_words(worst.cost, worst.most)}, as measured: {said}")
        if nearest is None or over < nearest[0]:
            nearest = over, said
    smaller = "or a smaller network, --network-channels or --network-cells"
    if nearest is None:
        raise InvalidValueError(
            f"of {len(masks)} architectures none is predicted within the limits: allow more of one, {smaller}"
        )
    raise InvalidValueError(
        f"of {tried} architectures that were predicted within the limits, or nearly, none was when measured: "
        f"the nearest has {nearest[1]}; allow that, {smaller}"
    )


def _in_turn(masks: list[Mask], budget: Budget) -> Iterator[Mask]:
    """Those that are measured until one keeps the limits: a prediction may be wrong, and so may the hope be
    that it is, most of all where many are tried."""
    together = np.stack(masks)
    predicted = budget.keeps(together)
    left = [i for i, mask in enumerate(masks) if predicted[i] or budget.measurable(mask)]
    for sure in SURE:
        within = budget.within(together, sure)
        now = [i for i in left if within[i]][:MEASURED]
        left = [i for i in left if i not in now]
        yield from (masks[i] for i in now)


def reports(budget: Budget, mask: Mask, losses: Floats) -> tuple[tuple[LimitReport, ...], list[str]]:
    """What a network has of its limits, latencies measured, and what has to be known of that."""
    rows = np.flatnonzero(mask.any(1))
    prices = duals(losses[rows], [limit.of(rows) for limit in budget.relaxed])
    each = iter([] if prices is None else prices.tolist())
    genotype = budget.space.genotype(mask)
    made: list[LimitReport] = []
    remarks: list[str] = []
    for bound in budget.bounds:
        price = None if bound.relaxed is None else next(each, 0.0) * bound.most / 100
        report, said = _report(bound, genotype, price)
        made.append(report)
        remarks += said
    return tuple(made), remarks


def _report(bound: Bound, genotype: Genotype, price: float | None) -> tuple[LimitReport, list[str]]:
    limit, cost, remarks = bound.limit, bound.cost, []
    value, predicted, quartiles, target = cost.of(genotype), None, None, None
    if isinstance(cost, Latencies):
        target, predicted, measured = cost.target, value, cost.measure(genotype)
        if isinstance(measured, Latency):
            value, quartiles = measured.median_ms, (measured.low_ms, measured.high_ms)
            remarks = [f"latency on {measured.target}: {remark}" for remark in measured.remarks]
        elif measured is not None:
            value = measured
        else:
            remarks = [f"latency on {target}: predicted; --latency-table has no row for {genotype}"]
    return (
        LimitReport(limit.cost, limit.asked, bound.most, value, target, price, predicted, quartiles),
        remarks,
    )
