"""Equation 8: V = V_do with probability p, V_obs otherwise; and what V_do may be drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Belief:
    """D(Z) of n queries in K environments: mean and variance, each float64 [K, n].

    together: float64 [K, K], a root T of the correlation T T' of one query's scores between environments;
    None where they are independent.
    """

    mean: Floats
    variance: Floats
    together: Floats | None = None

    def correlated(self, noise: Floats) -> Floats:
        """Independent noise of variance 1, float64 [K, n], with the correlation of the environments."""
        return noise if self.together is None else self.together @ noise

    def around(self, noise: Floats) -> Floats:
        """mean + deviation * correlated noise, float64 [K, n]"""
        return self.mean + np.sqrt(self.variance) * self.correlated(noise)


class Intervention(ABC):
    """A family of distributions with the mean and (co)variance of a belief."""

    name: str

    @abstractmethod
    def draw(self, belief: Belief, evidence: list[list[Floats]], rng: np.random.Generator) -> Floats:
        """V_do, float64 [K, n].

        evidence[k][i]: scores that environment k has observed for neurons of the same operation as query
        i (possibly none, and as many in every environment).
        """
