"""Where architectures stand among one another and among random ones, and what of that is chance."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from znas.selection.aggregate import Aggregate

Floats = NDArray[np.float64]

#: Draws of environments that make an interval, and the share of them that it holds.
RESAMPLES, CONFIDENCE = 200, 0.95


def ranks(aggregate: Floats) -> NDArray[np.int64]:
    """[n] -> int64 [n]: one more than there are better ones; equal ones share the best rank."""
    return 1 + len(aggregate) - np.searchsorted(np.sort(aggregate), aggregate, "right")


def percentiles(values: Floats, among: Floats, combine: Aggregate) -> Floats:
    """[R, n] and [R, m], rows of environments and scores -> [n]: the share, in percent, of the m whose
    aggregate is smaller; of those whose aggregate is equal, half."""
    found, others = combine(values, among), np.sort(combine(among))
    places = np.searchsorted(others, found, "left") + np.searchsorted(others, found, "right")
    shares: Floats = 100 * places / (2 * len(others))
    return shares


def intervals(
    values: Floats, among: Floats, combine: Aggregate, scores: int, rng: np.random.Generator
) -> tuple[Floats, Floats] | None:
    """Lower and upper end, [n] each, of where `percentiles` lies if other environments are drawn; None for a
    single one.

    A percentile bootstrap: environments are drawn again from those that were measured, with replacement, and
    all scores of a drawn one with it. What is left to chance of which random architectures were drawn is not
    in it. scores: rows of an environment.
    """
    environments = len(values) // scores
    if environments < 2:
        return None
    drawn = np.stack(list(_drawn(values, among, combine, scores, rng)))
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def _drawn(
    values: Floats, among: Floats, combine: Aggregate, scores: int, rng: np.random.Generator
) -> Iterator[Floats]:
    environments = len(values) // scores
    for _ in range(RESAMPLES):
        chosen = rng.integers(0, environments, environments)
        rows = (chosen[:, None] * scores + np.arange(scores)).ravel()
        yield percentiles(values[rows], among[rows], combine)
