"""Equation 8: V = V_do with probability p, V_obs otherwise.

    B ~ Bernoulli(p) per neuron
    V = V_do if B else V_obs

B is drawn first, so that a neuron that will be replaced is never evaluated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray


def draw_replaced(count: int, p: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """bool [count]: which neurons are intervened; all at p = 1, none at p = 0."""
    return rng.random(count) < p


class Intervention(ABC):
    """The distribution V_do is drawn from."""

    @abstractmethod
    def draw(
        self, observed: NDArray[np.float64], replaced: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """observed float64 [K, n], NaN where replaced [n] -> float64 [K, number replaced]."""

    def apply(
        self, observed: NDArray[np.float64], replaced: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """observed float64 [K, n] -> V float64 [K, n]: every replaced column is a draw."""
        values = observed.copy()
        if replaced.any():
            values[:, replaced] = self.draw(observed, replaced, rng)
        return values
