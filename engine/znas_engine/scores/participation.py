"""Participation: how many directions the features of a cell take part in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.grams import channel_gram
from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation


class Participation(ForwardScore):
    """sum over cells of log((trace S)^2 / trace S^2), S the covariance of the channels of the cell's output.

    The participation ratio (Gao et al., A theory of multineuronal dimensionality, dynamics and measurement,
    2017) is 1 where all variance lies in one direction and the number of channels where it is spread evenly;
    `entropy` measures the same spread by eigenvalues. Constant features count as ratio 1.
    """

    name = "participation"
    reads = ("features",)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        return float(sum(np.log(participation_ratio(x)) for x in seen.features[1:]))


def participation_ratio(x: NDArray[np.float32]) -> float:
    """x float32 [N, C, H, W] -> (trace S)^2 / trace S^2, S the covariance of the channels over all pixels."""
    _, products = channel_gram(x)
    squares = np.square(products).sum()
    return float(np.trace(products) ** 2 / squares) if squares > 0 else 1.0
