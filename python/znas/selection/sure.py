"""How sure a comparison over environments is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from znas.selection.criteria import Floats


@dataclass(frozen=True, slots=True)
class Sure:
    """How sure the answer of a shortlist is, under its scores, which are no accuracy.

    better_than: share of `random` random architectures that it was above. beats_second, beats_largest: the
    probability that it is above the runner-up, and above the architecture with most parameters, in the mean
    over all environments; None where too few environments saw both, or where it is that architecture.
    """

    better_than: float | None
    random: int
    beats_second: float | None
    beats_largest: float | None


def beats(best: Floats, other: Floats, residuals: Floats) -> float | None:
    """The probability that `best` is above `other` in the mean over all environments.

    best, other: float64 [K], NaN where one was not measured. residuals: float64 [m, K] of architectures that
    were measured in all, after their means and the environments' were taken away: the noise of a total,
    pooled, since two of few environments tell little. None with fewer than two environments in common.

    The posterior of a paired difference under a flat prior: Student's t.
    """
    both = ~(np.isnan(best) | np.isnan(other))
    count, freedom = int(both.sum()), (len(residuals) - 1) * (residuals.shape[1] - 1)
    if count < 2 or freedom < 1:
        return None
    difference = float((best - other)[both].mean())
    noise = float(np.square(residuals).sum() / freedom)
    if noise == 0:
        return 0.5 if difference == 0 else float(difference > 0)
    return student_t(difference / math.sqrt(2 * noise / count), freedom)


def residuals(totals: Floats) -> Floats:
    """Of the rows that were measured in all environments: what neither they nor the environment explain."""
    whole = totals[~np.isnan(totals).any(1)]
    left = whole - whole.mean(1, keepdims=True)
    found: Floats = left - left.mean(0)
    return found


def student_t(x: float, freedom: int) -> float:
    """P(T <= x) of Student's t with a whole number of degrees of freedom: its finite series (Abramowitz &
    Stegun 26.7.3, 26.7.4), which needs no package that takes a tenth of a search to import."""
    angle = math.atan(x / math.sqrt(freedom))
    cosine = math.cos(angle)
    odd = freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(1, freedom // 2 + 1):
        total += term
        term *= cosine**2 * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    inner = math.sin(angle) * total
    return 0.5 + ((angle + inner) / math.pi if odd else inner / 2)
