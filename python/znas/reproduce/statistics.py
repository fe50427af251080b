"""Mean, spread, intervals and tests of repeated searches, and rank correlations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas.selection.criteria import Floats

CONFIDENCE = 0.95
#: The distribution over all 2^n sign vectors is computed up to this many pairs; beyond, so many are drawn.
EXACT_PAIRS, DRAWS = 200, 9_999
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of paired repeats: the mean of first - second, above 0 where the first are larger, and `paired_p`."""

    difference: float
    p: float


def compared(first: Floats, second: Floats) -> Comparison:
    """float64 [n] each."""
    return Comparison(float((first - second).mean()), paired_p(first, second))


def paired_p(first: Floats, second: Floats) -> float:
    """Two-sided Wilcoxon signed-rank test of paired repeats, float64 [n] each.

        W = sum of sign(d) * rank(|d|), d = first - second without zeros, ties sharing the mean rank
        p = share of all 2^n sign vectors whose |W| is at least the observed one

    Beyond `EXACT_PAIRS`, (hits + 1) / (draws + 1) of random ones: the observed vector is one of them, and p
    never 0 (Phipson and Smyth 2010). 1 where every pair is equal. The smallest value that n pairs can give is
    2 / 2^n. Not corrected for the number of comparisons.
    """
    difference = first - second
    difference = difference[difference != 0]
    n = len(difference)
    if n == 0:
        return 1.0
    from scipy.stats import rankdata

    twice = (2 * rankdata(np.abs(difference))).astype(np.int64)  # shared ranks are halves
    observed = abs(int((np.sign(difference) * twice).sum()))
    if n <= EXACT_PAIRS:
        return _tail(twice, observed)
    rng = np.random.default_rng(0)
    hits = sum(abs(int(rng.choice((-1, 1), n) @ twice)) >= observed for _ in range(DRAWS))
    return (hits + 1) / (DRAWS + 1)


def _tail(steps: NDArray[np.int64], least: int) -> float:
    """P(|sum of random sign * step| >= least), exact. steps: positive whole numbers, int64 [n].

    Step by step, the distribution of the sum over positive signs, which is (total + signed sum) / 2.
    """
    total = int(steps.sum())
    shares = np.zeros(total + 1)
    shares[0] = 1.0
    for step in steps:
        shares[step:] += shares[: total + 1 - step].copy()
        shares /= 2
    signed = 2 * np.arange(total + 1) - total
    return float(min(1.0, shares[np.abs(signed) >= least].sum()))


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation and the percentile bootstrap interval of what was drawn again."""

    value: float
    low: float
    high: float


#: A score and an accuracy of some architectures, float64 [m] each.
Ranked = tuple[Floats, Floats]


def rank_correlations(ranked: Ranked, again: Iterable[Ranked]) -> tuple[Correlation, Correlation]:
    """Kendall's tau-b and Spearman's rho; 0 where score or accuracy is constant. again: see below."""
    values = np.array([_both(*ranked), *(_both(*each) for each in again)])
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values[1:], [tail, 100 - tail], axis=0)
    kendall, spearman = (
        Correlation(float(values[0, i]), float(low[i]), float(high[i])) for i in range(values.shape[1])
    )
    return kendall, spearman


def over_functions(ranked: Ranked, which: NDArray[np.int64], seed: int) -> Iterator[Ranked]:
    """Other architectures might have been drawn: those of one function, which have one score, are drawn
    together, as they say no more than one. which: of which function each is, int64 [n]."""
    rng, functions = np.random.default_rng(seed), int(which.max()) + 1
    for _ in range(RESAMPLES):
        times = np.bincount(rng.integers(0, functions, functions), minlength=functions)
        rows = np.repeat(np.arange(len(which)), times[which])
        yield ranked[0][rows], ranked[1][rows]


def over_environments(
    scores: Floats, accuracies: Floats, combine: Callable[[Floats], Floats], seed: int
) -> Iterator[Ranked]:
    """Other weights and images might have been drawn; the architectures stay. scores: float64 [S, K, n], of
    whose means over K environments, [S, n], `combine` makes one."""
    rng, environments = np.random.default_rng(seed), scores.shape[1]
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, environments, environments)
        yield combine(scores[:, drawn].mean(1)), accuracies


def kendall(scores: Floats, accuracies: Floats) -> float:
    """tau-b, 0 where score or accuracy is constant."""
    from scipy.stats import kendalltau

    if np.ptp(scores) == 0 or np.ptp(accuracies) == 0:
        return 0.0
    return float(kendalltau(scores, accuracies).statistic)


def _both(scores: Floats, accuracies: Floats) -> tuple[float, float]:
    from scipy.stats import spearmanr

    if np.ptp(scores) == 0 or np.ptp(accuracies) == 0:
        return 0.0, 0.0
    return kendall(scores, accuracies), float(spearmanr(scores, accuracies).statistic)
