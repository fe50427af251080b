"""V_do ~ N(mu, sigma^2): section 3.3 of the paper."""

from __future__ import annotations

import numpy as np

from znas.interventions.base import Belief, Floats, Intervention


class GaussianIntervention(Intervention):
    """The paper's choice, justified there by Gaussian inputs and weights (Lemmas 1 and 2)."""

    name = "gaussian"

    def draw(self, belief: Belief, evidence: list[list[Floats]], rng: np.random.Generator) -> Floats:
        return belief.around(rng.standard_normal(belief.mean.shape))
