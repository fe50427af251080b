"""From one row of values per environment and score to one number per candidate."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError, unknown_choice

Floats = NDArray[np.float64]


class Aggregate(Protocol):
    def __call__(self, values: Floats, among: Floats | None = None) -> Floats:
        """values float64 [R, n] -> [n]; larger is better.

        among: float64 [R, m], the values of those among which ranks are taken; the candidates themselves by
        default. Averages do not depend on it.
        """


def mean(values: Floats, among: Floats | None = None) -> Floats:
    """float64 [K, n] -> [n]: the average over environments (common random numbers: all saw the same)."""
    average: Floats = values.mean(0)
    return average


def lower_confidence_bound(values: Floats, among: Floats | None = None) -> Floats:
    """The mean less one standard error: a candidate that is good in some environments only pays for it."""
    if len(values) < 2:
        raise InvalidValueError(
            "--aggregate lcb needs at least 2 environments but got 1: pass --envs 2 or more"
        )
    bound: Floats = values.mean(0) - values.std(0, ddof=1) / np.sqrt(len(values))
    return bound


def ranks(values: Floats, among: Floats | None = None) -> Floats:
    """float64 [R, n] -> the rank of every candidate in its row, 1 (smallest) to n; ties share their mean.

    among [R, m]: the rank that the candidate has where it is one of these, and otherwise the place between
    two of them, 1/2 to m + 1/2.
    """
    found = np.empty(values.shape)
    for row, others, out in zip(values, values if among is None else among, found, strict=True):
        ordered = np.sort(others)
        out[:] = (np.searchsorted(ordered, row, "left") + np.searchsorted(ordered, row, "right") + 1) / 2
    return found


def mean_rank(values: Floats, among: Floats | None = None) -> Floats:
    """The average over rows of the number of candidates that are worse; free of any scale."""
    average: Floats = ranks(values, among).mean(0) - 1
    return average


def log_rank(values: Floats, among: Floats | None = None) -> Floats:
    """sum over rows of log(rank / n): a candidate that is bad by one score cannot make up for it by the
    others (AZ-NAS: Lee & Ham, CVPR 2024)."""
    count = (values if among is None else among).shape[1]
    total: Floats = np.log(ranks(values, among) / count).sum(0)
    return total


AGGREGATES: dict[str, Aggregate] = {
    "mean": mean,
    "lcb": lower_confidence_bound,
    "rank": mean_rank,
    "log_rank": log_rank,
}
#: Those that average values, which only those of one score allow.
OF_ONE_SCORE = ("mean", "lcb")


def get_aggregate(name: str) -> Aggregate:
    """The aggregate of that name, or InvalidValueError naming the nearest."""
    if not isinstance(name, str) or name not in AGGREGATES:
        raise unknown_choice("aggregate", name, ["auto", *AGGREGATES])
    return AGGREGATES[name]


def stability(values: Floats, chosen: int) -> float:
    """The share of rows (environments and scores) in which `chosen` alone would have won, ties counting as
    wins."""
    return float((values[:, chosen] == values.max(1)).mean())
