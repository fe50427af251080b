"""V_do ~ N(mu, sigma^2) with a neutral prior: the same mu and sigma for every neuron."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas.interventions.base import Intervention


class GaussianIntervention(Intervention):
    """Knows nothing about single neurons.

    mu and sigma are the mean and standard deviation of what this environment observed, so that a drawn
    score and an observed one are on the same scale and neither is favoured (after a single observation
    sigma is 0 and all tie). Where nothing was observed, at p = 1, it is N(0, 1) and the search a uniform
    draw: the causal half of the paper needs a prior that knows more.
    """

    def draw(
        self, observed: NDArray[np.float64], replaced: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        noise = rng.standard_normal((len(observed), int(replaced.sum())))
        seen = observed[:, ~replaced]
        if not seen.shape[1]:
            return noise
        sigma = seen.std(1, ddof=1, keepdims=True) if seen.shape[1] > 1 else np.zeros((len(seen), 1))
        draws: NDArray[np.float64] = seen.mean(1, keepdims=True) + sigma * noise
        return draws
