"""V_do ~ N(mu, sigma^2) with a neutral prior: the same mu and sigma for every neuron."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas.interventions.base import Intervention


class GaussianIntervention(Intervention):
    """Knows nothing about single neurons.

    mu and sigma are the mean and standard deviation of what this environment observed, so that a drawn
    score and an observed one are on the same scale and neither is favoured; N(0, 1) where fewer than two
    neurons were observed. At p = 1 the search is therefore a uniform draw: the causal half of the paper
    needs a prior that knows more.
    """

    def draw(
        self, observed: NDArray[np.float64], replaced: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        noise = rng.standard_normal((len(observed), int(replaced.sum())))
        seen = observed[:, ~replaced]
        if seen.shape[1] < 2:
            return noise
        return seen.mean(1, keepdims=True) + seen.std(1, ddof=1, keepdims=True) * noise
