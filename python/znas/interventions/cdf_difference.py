"""V_do when weights are uniform or constant: section 3.5 and Corollary 2.2 of the paper.

A uniform variable on [mu - h, mu + h] plus N(0, sigma^2) has the density

    (Phi((x - mu + h) / sigma) - Phi((x - mu - h) / sigma)) / 2h

a difference of Gaussian distribution functions, which is how we read the paper's sentence. The paper names
neither h nor sigma; we give the uniform part and the Gaussian part half of the variance each:

    h^2 / 3 = sigma^2 = variance / 2
"""

from __future__ import annotations

import numpy as np

from znas.interventions.base import Belief, Floats, Intervention


def half_width_and_sigma(variance: Floats) -> tuple[Floats, Floats]:
    """(h, sigma) of the family for a total variance."""
    sigma = np.sqrt(variance / 2)
    return np.sqrt(3) * sigma, sigma


def density(x: Floats, mean: float, variance: float) -> Floats:
    """The density above, float64 like x."""
    from scipy.special import ndtr

    h, sigma = half_width_and_sigma(np.asarray(variance, dtype=np.float64))
    value: Floats = (ndtr((x - mean + h) / sigma) - ndtr((x - mean - h) / sigma)) / (2 * h)
    return value


class CdfDifference(Intervention):
    """Exact sampling: the sum of the two parts. Where environments are correlated each has its variance, and
    sums of several such variables for its shape."""

    name = "cdf_difference"

    def draw(self, belief: Belief, evidence: list[list[Floats]], rng: np.random.Generator) -> Floats:
        h, sigma = half_width_and_sigma(np.ones(()))
        uniform = rng.uniform(-1, 1, belief.mean.shape)
        return belief.around(h * uniform + sigma * rng.standard_normal(belief.mean.shape))
