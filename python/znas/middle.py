"""The middle of repeated timings, and how well it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Middle:
    """A median and its interval, in the unit of the samples."""

    median: float
    low: float
    high: float


def middle(samples: Sequence[float]) -> Middle:
    """The median with its order-statistic interval: no assumption on the distribution but independence.

        the k-th smallest and the k-th largest sample enclose the true median with probability
        1 - 2 P(Binomial(n, 1/2) < k); k is the largest for which that is at least 0.95

    Fewer than six samples cannot reach 0.95: the interval is then their whole range, which has
    1 - 2^(1 - n) (0.94 for five, 0.75 for three). At most 1,000 samples, of which 2^-n is a number.
    """
    ordered = sorted(samples)
    n = len(ordered)
    k, below = 1, 2.0**-n  # below: P(Binomial(n, 1/2) < k)
    while 2 * (below + math.comb(n, k) * 2.0**-n) <= 0.05:
        below += math.comb(n, k) * 2.0**-n
        k += 1
    return Middle(float(np.median(ordered)), ordered[k - 1], ordered[n - k])
