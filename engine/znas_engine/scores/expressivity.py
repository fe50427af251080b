"""Expressivity: how evenly features spread over their channels (AZ-NAS: Lee & Ham, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.entropy import variance_shares
from znas_engine.scores.features import channel_products
from znas_engine.scores.probes import GAUSSIAN_HE

#: Added to a share before its logarithm.
EPSILON = 1e-8


class Expressivity(ForwardScore):
    """sum over the stem and all cells of the entropy of the principal components of the output.

        for x in outputs, as samples [N * H * W, C]:
            score += - sum_c p_c log(p_c + 1e-8),  p = eigenvalues of cov(x) / their sum

    As published: Gaussian images, of which the authors take 64, He weights, batch statistics. Constant
    features have no components: they count as entropy 0 here and make the published score minus infinity.
    """

    name = "expressivity"
    reads = ("features",)
    probes = (GAUSSIAN_HE,)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(observations[0].once(entropies).sum())


def entropies(observation: Observation) -> NDArray[np.float64]:
    """Of the outputs of the stem and of every cell, in nats, float64 [1 + cells]."""
    shares = map(variance_shares, channel_products(observation.features))
    return np.array([-(p * np.log(p + EPSILON)).sum() for p in shares])
