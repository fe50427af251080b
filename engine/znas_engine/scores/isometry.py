"""Isometry: whether cells pass on what reaches them without blowing up or dying."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import BATCH, FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.features import response_products
from znas_engine.scores.probes import NUDGED

#: Added to every channel's energy, relative to the mean: channels that say the same do not blow up the fit.
RIDGE = 1e-3
#: The least gain: a cell that passes nothing on, or a cell that nothing reaches.
FLOOR = 1e-3


class Isometry(ForwardScore):
    """mean over cells of 2 - g - 1 / g, g the gain of the cell's mean Jacobian; at most 0.

        d[i] = output of cell i for the nudged images - output of cell i        (cell 0 is the stem)
        J[i] = argmin_J sum over images and pixels of |d[i] - J d[i - 1]|^2     (channels by channels)
        g[i] = sqrt(mean of the squared singular values of J[i])

    Dynamical isometry (Pennington et al., NeurIPS 2017) asks for singular values near 1. The shape of the
    score is that of `trainability`, which takes the largest singular value of another mean Jacobian; the
    root mean square of this one was kept because it did better on NAS-Bench-201's CIFAR-10 accuracies
    (docs/evidence.md). A network of convolutions, ReLUs and pools is
    linear around an image, so that d is its Jacobian applied to one random direction, J is a linear
    regression, and no gradient is needed. Where a cell halves the resolution, d[i - 1] is averaged over the
    pixels that become one; a cell of DARTS is judged against the cell before alone, although it reads two.
    Normalisation uses the statistics of the images in hand.
    """

    name = "isometry"
    reads = ("features",)
    probes = (BATCH.under("batch"), NUDGED.under("batch"))
    max_images = FEATURE_IMAGES
    differences = True

    def __call__(self, observations: Sequence[Observation]) -> float:
        batch, nudged = observations
        grams = response_products(batch.features, nudged.features)
        gains = np.array([jacobian_gain(energy, cross) for energy, cross in grams])
        return float((2 - gains - 1 / gains).mean())


def jacobian_gain(energy: NDArray[np.float64], cross: NDArray[np.float64]) -> float:
    """g of a cell from the products of its d[i - 1] with itself [C, C], and with its d[i] [C, C']; FLOOR at
    least."""
    channels = len(energy)
    mean = np.trace(energy) / channels
    if mean == 0:
        return FLOOR
    jacobian = np.linalg.solve(energy + RIDGE * mean * np.eye(channels), cross)
    rank = min(jacobian.shape)
    return max(float(np.sqrt(np.square(jacobian).sum() / rank)), FLOOR)
