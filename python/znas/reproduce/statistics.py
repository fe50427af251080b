"""Mean, spread, intervals and tests of repeated searches, and rank correlations."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from znas.selection.criteria import Floats

CONFIDENCE = 0.95
#: All 2^n sign vectors are tried up to this many pairs; beyond, as many random ones.
EXACT_PAIRS = 16
#: Bootstrap resamples of a rank correlation.
RESAMPLES = 300


@dataclass(frozen=True, slots=True)
class Summary:
    """n repeats: their mean, standard deviation (n - 1) and t-interval of the mean; None for one repeat."""

    n: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


def summary(values: Floats) -> Summary:
    """float64 [n], n >= 1."""
    n, mean = len(values), float(values.mean())
    if n == 1:
        return Summary(n, mean, None, None, None)
    from scipy.stats import t

    std = float(values.std(ddof=1))
    half = float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) * std / n**0.5
    return Summary(n, mean, std, mean - half, mean + half)


def paired_p(first: Floats, second: Floats) -> float:
    """Two-sided Wilcoxon signed-rank test of paired repeats, float64 [n] each.

        W = sum of sign(d) * rank(|d|), d = first - second without zeros, ties sharing the mean rank
        p = share of all 2^n sign vectors whose |W| is at least the observed one

    1 where every pair is equal. The smallest value that n pairs can give is 2 / 2^n. Not corrected for the
    number of comparisons.
    """
    difference = first - second
    difference = difference[difference != 0]
    n = len(difference)
    if n == 0:
        return 1.0
    from scipy.stats import rankdata

    ranks = rankdata(np.abs(difference))
    if n <= EXACT_PAIRS:
        signs = np.array(list(product((-1.0, 1.0), repeat=n)))
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), (2**EXACT_PAIRS, n))
    observed = abs(float((np.sign(difference) * ranks).sum()))
    return float((np.abs(signs @ ranks) >= observed - 1e-9).mean())


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation and its percentile bootstrap interval over architectures."""

    value: float
    low: float
    high: float


def rank_correlations(scores: Floats, accuracies: Floats, *, seed: int) -> tuple[Correlation, Correlation]:
    """Kendall's tau-b and Spearman's rho, float64 [n] each; 0 where either is constant."""
    rng = np.random.default_rng(seed)
    n = len(scores)
    found = [_both(scores, accuracies)]
    for _ in range(RESAMPLES):
        rows = rng.integers(0, n, n)
        found.append(_both(scores[rows], accuracies[rows]))
    values = np.array(found)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[1:], [tail, 100 - tail], axis=0)
    kendall, spearman = (
        Correlation(float(values[0, i]), float(low[i]), float(high[i])) for i in range(values.shape[1])
    )
    return kendall, spearman


def _both(scores: Floats, accuracies: Floats) -> tuple[float, float]:
    from scipy.stats import kendalltau, spearmanr

    if np.ptp(scores) == 0 or np.ptp(accuracies) == 0:
        return 0.0, 0.0
    tau = kendalltau(scores, accuracies).statistic
    return float(tau), float(spearmanr(scores, accuracies).statistic)
