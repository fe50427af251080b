"""Entropy: how evenly features of the images spread over their channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.features import ChannelProducts, channel_products


class Entropy(ForwardScore):
    """sum over cells of the entropy of the principal components of the cell's output.

        for x in outputs of the cells, as samples [N * H * W, C]:
            score += - sum_c p_c log p_c,  p = eigenvalues of cov(x) / their sum

    `expressivity` is the same of Gaussian images, and counts the stem. Constant features have no components
    and count as entropy 0.
    """

    name = "entropy"
    reads = ("features",)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(observations[0].once(cell_entropies).sum())


def cell_entropies(observation: Observation) -> NDArray[np.float64]:
    """The entropy of every cell's output, float64 [cells]; the stem is no cell."""
    return np.array([spectrum_entropy(of) for of in channel_products(observation.features[1:])])


def spectrum_entropy(channels: ChannelProducts) -> float:
    """The entropy, in nats, of the normalised variances of the channels' principal components."""
    shares = variance_shares(channels)
    return float(-(shares * np.log(shares)).sum())


def variance_shares(channels: ChannelProducts) -> NDArray[np.float64]:
    """The variances of the channels' principal components as shares of their sum, those that are not 0; none
    for constant features."""
    mean, gram, samples = channels
    covariance = gram * (1 / samples)
    variances = np.maximum(np.linalg.eigvalsh(covariance), 0)
    # Below this, differences from the mean are rounding.
    variances[variances <= np.finfo(np.float32).eps * (covariance.trace() + np.square(mean).sum())] = 0
    variances = variances[variances > 0]
    found: NDArray[np.float64] = variances / variances.sum()
    return found
