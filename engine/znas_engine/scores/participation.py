"""Participation: how many directions the features of a cell take part in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.features import channel_products


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
        cells = channel_products(seen.features[1:])
        return float(sum(np.log(participation_ratio(products)) for _, products, _ in cells))


def participation_ratio(products: NDArray[np.float64]) -> float:
    """products [C, C] of channels less their means -> (trace S)^2 / trace S^2, S their covariance."""
    squares = np.square(products).sum()
    return float(np.trace(products) ** 2 / squares) if squares > 0 else 1.0
