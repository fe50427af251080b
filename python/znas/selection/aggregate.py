"""From one score per environment to one number per candidate."""

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


def mean_rank(values: Floats) -> Floats:
    """The average over environments of the candidate's rank, ties sharing theirs; free of any scale."""
    below = (values[:, :, None] > values[:, None, :]).sum(2)
    equal = (values[:, :, None] == values[:, None, :]).sum(2)
    ranks: Floats = (below + (equal - 1) / 2).mean(0)
    return ranks


AGGREGATES: dict[str, Callable[[Floats], Floats]] = {
    "mean": mean,
    "lcb": lower_confidence_bound,
    "rank": mean_rank,
}


def get_aggregate(name: str) -> Callable[[Floats], Floats]:
    """The aggregate of that name, or InvalidValueError naming the nearest."""
    if name not in AGGREGATES:
        raise unknown_choice("aggregate", name, AGGREGATES)
    return AGGREGATES[name]


def stability(values: Floats, chosen: int) -> float:
    """The share of environments in which `chosen` alone would have won, ties counting as wins."""
    return float((values[:, chosen] == values.max(1)).mean())
