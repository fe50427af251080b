"""Equation 8: V = V_do with probability p, V_obs otherwise; and what V_do may be drawn from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Belief:
    """D(Z) of n queries in K environments: mean and variance, each float64 [K, n]."""

    mean: Floats
    variance: Floats


class Intervention(ABC):
    """A family of distributions with the mean and variance of a belief."""

    name: str

    @abstractmethod
    def draw(self, belief: Belief, evidence: list[list[Floats]], rng: np.random.Generator) -> Floats:
        """V_do, float64 [K, n].

        evidence[k][i]: scores that environment k has observed for neurons of the same operation as query
        i (possibly none).
        """
