"""Entropy: how evenly features of the images spread over their channels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.grams import channel_gram
from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation


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
    return np.array([spectrum_entropy(x) for x in observation.features[1:]])


def spectrum_entropy(x: NDArray[np.float32]) -> float:
    """x float32 [N, C, H, W] -> the entropy, in nats, of its normalised principal component variances."""
    shares = variance_shares(x)
    return float(-(shares * np.log(shares)).sum())


def variance_shares(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """x float32 [N, C, H, W] -> the variances of its principal components as shares of their sum, those that
    are not 0; none for constant features."""
    mean, gram = channel_gram(x)
    covariance = gram * (mean.size / x.size)
    variances = np.maximum(np.linalg.eigvalsh(covariance), 0)
    # Below this, differences from the mean are rounding.
    variances[variances <= np.finfo(np.float32).eps * (covariance.trace() + np.square(mean).sum())] = 0
    variances = variances[variances > 0]
    found: NDArray[np.float64] = variances / variances.sum()
    return found
