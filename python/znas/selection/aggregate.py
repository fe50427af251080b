"""From one row of values per environment and score to one number per candidate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError, unknown_choice

Floats = NDArray[np.float64]


def mean(values: Floats) -> Floats:
    """float64 [K, n] -> [n]: the average over environments (common random numbers: all saw the same)."""
    average: Floats = values.mean(0)
    return average


def lower_confidence_bound(values: Floats) -> Floats:
    """The mean less one standard error: a candidate that is good in some environments only pays for it."""
    if len(values) < 2:
        raise InvalidValueError(
            "--aggregate lcb needs at least 2 environments but got 1: pass --envs 2 or more"
        )
    bound: Floats = values.mean(0) - values.std(0, ddof=1) / np.sqrt(len(values))
    return bound


def ranks(values: Floats) -> Floats:
    """float64 [R, n] -> the rank of every candidate in its row, 1 (smallest) to n; ties share their mean."""
    found = np.empty(values.shape)
    for row, out in zip(values, found, strict=True):
        _, inverse, counts = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return found


def mean_rank(values: Floats) -> Floats:
    """The average over rows of the number of candidates that are worse; free of any scale."""
    average: Floats = ranks(values).mean(0) - 1
    return average


def log_rank(values: Floats) -> Floats:
    """sum over rows of log(rank / n), at most 0: a candidate that is bad by one score cannot make up for it
    by the others (AZ-NAS: Lee & Ham, CVPR 2024)."""
    total: Floats = np.log(ranks(values) / values.shape[1]).sum(0)
    return total


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "lcb": lower_confidence_bound,
    "rank": mean_rank,
    "log_rank": log_rank,
}
#: Those that average values, which only those of one score allow.
OF_ONE_SCORE = ("mean", "lcb")


def get_aggregate(name: str) -> Callable[[Floats], Floats]:
    """The aggregate of that name, or InvalidValueError naming the nearest."""
    if name not in AGGREGATES:
        raise unknown_choice("aggregate", name, ["auto", *AGGREGATES])
    return AGGREGATES[name]


def stability(values: Floats, chosen: int) -> float:
    """The share of rows (environments and scores) in which `chosen` alone would have won, ties counting as
    wins."""
    return float((values[:, chosen] == values.max(1)).mean())
