"""Is a sample Gaussian? A test, effect sizes, and one stated rule for the verdict on many samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError, NonFiniteScoreError

Floats = NDArray[np.float64]

#: Probability that one true family of Gaussian samples has any rejection (Holm-corrected).
LEVEL = 0.01
#: A Kolmogorov distance up to this above the noise floor is called small: no probability is off by much more.
SMALL_DISTANCE = 0.05
#: Fewer values say nothing about a shape.
FEWEST = 20
#: Deviation below this share of the largest value is rounding (float32), not spread.
ROUNDING = 1e-6

RULE = (
    f"Gaussian: no sample of the family is rejected by the Shapiro-Wilk test at level {LEVEL} after Holm's "
    f"correction. Nearly: some are, none with a Kolmogorov distance above {SMALL_DISTANCE} plus the noise "
    "floor, the distance that a true normal sample of n values has on average, about 0.63 / sqrt(n). "
    "Not Gaussian: a rejected sample is further away. No spread: a sample is one constant. "
    "Not rejected is not proven."
)


@dataclass(frozen=True, slots=True)
class Normality:
    """How a sample compares with the normal distribution of its own mean and deviation.

    n, distinct: values, and how many of them differ (an accuracy has few). skewness, excess_kurtosis: both
    0 for a normal. kolmogorov: the largest difference between the two distribution functions. shapiro_w,
    p_value: the Shapiro-Wilk test, None where the values depend on one another, which it does not allow.
    All but n, distinct, mean and std are None for a sample without spread.
    """

    n: int
    distinct: int
    mean: float
    std: float
    skewness: float | None = None
    excess_kurtosis: float | None = None
    kolmogorov: float | None = None
    shapiro_w: float | None = None
    p_value: float | None = None

    @property
    def spread(self) -> bool:
        """Whether there is a distribution at all."""
        return self.kolmogorov is not None


def normality(sample: Floats, *, independent: bool = True) -> Normality:
    """sample: float64 [n], n >= FEWEST. independent: whether its values are i.i.d. draws.

        kolmogorov = max_i |i / n - Phi((x_i - mean) / std)|      over both sides of every step

    Raises InvalidValueError for fewer values, NonFiniteScoreError for values that are not finite.
    """
    from scipy.special import ndtr
    from scipy.stats import shapiro

    n = len(sample)
    if n < FEWEST:
        raise InvalidValueError(f"normality is judged on at least {FEWEST} values but got {n}")
    if not np.isfinite(sample).all():
        raise NonFiniteScoreError("a sample whose normality is asked for has values that are not finite")
    mean, std = float(sample.mean()), float(sample.std(ddof=1))
    distinct = len(np.unique(sample))
    if distinct == 1 or std <= ROUNDING * float(np.abs(sample).max()):
        return Normality(n, distinct, mean, std)
    ordered = np.sort((sample - mean) / std)
    fitted = ndtr(ordered)
    steps = np.arange(n + 1) / n
    central = (sample - mean) / sample.std()
    # Above 5,000 values the p-value of the test is no longer accurate.
    test = shapiro(((sample - mean) / std)[:5000]) if independent else None
    return Normality(
        n=n,
        distinct=distinct,
        mean=mean,
        std=std,
        skewness=float((central**3).mean()),
        excess_kurtosis=float((central**4).mean() - 3),
        kolmogorov=float(max((steps[1:] - fitted).max(), (fitted - steps[:-1]).max())),
        shapiro_w=None if test is None else float(test.statistic),
        p_value=None if test is None else float(test.pvalue),
    )


def noise_floor(n: int) -> float:
    """The Kolmogorov distance of n values that are normal, to the normal fitted to them, on average.

    0.63 / sqrt(n): the mean of Lilliefors' statistic for large n (tests/znas/test_diagnose.py simulates it).
    """
    return 0.63 / math.sqrt(n)


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """Which hypotheses are rejected so that any false rejection has probability `level` at most (Holm 1979).

    for p in ascending order, m of them left:
        reject while p <= level / m
    """
    rejected = [False] * len(p_values)
    for left, i in zip(range(len(p_values), 0, -1), np.argsort(p_values, kind="stable"), strict=True):
        if p_values[i] > level / left:
            break
        rejected[i] = True
    return rejected


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rule says of a family of samples. word: "Gaussian", "nearly", "not Gaussian", "no spread", or
    "not tested" where the samples allow no test."""

    word: str
    samples: int
    rejected: int
    constant: int


def judge(family: Sequence[Normality]) -> Verdict:
    """RULE, applied to the samples of one claim."""
    constant = sum(not found.spread for found in family)
    tested = [found for found in family if found.p_value is not None]
    flags = holm([found.p_value for found in tested if found.p_value is not None])
    rejected = [found for found, flag in zip(tested, flags, strict=True) if flag]
    if constant:
        word = "no spread"
    elif not tested:
        word = "not tested"
    elif not rejected:
        word = "Gaussian"
    else:
        far = any((found.kolmogorov or 0) > SMALL_DISTANCE + noise_floor(found.n) for found in rejected)
        word = "not Gaussian" if far else "nearly"
    return Verdict(word, len(family), len(rejected), constant)
