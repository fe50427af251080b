"""Log-determinant: how far apart cells keep the images, by what units say and not by their signs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.features import image_products

#: Added to the diagonal of a correlation matrix: images that a cell cannot tell apart give finite values.
RIDGE = 1e-3


class LogDet(ForwardScore):
    """sum over cells k = 1..K of k / K * log det(R[k] + 1e-3 I).

    R[k] [N, N] holds the correlations of the images' features: of every two images, over all units of the
    output of cell k. NASWOT (Mellor et al., ICML 2021) takes the log-determinant of a kernel of ReLUs' signs
    over the whole network. Weights grow with depth because the classifier reads the last cell, and what the
    first cells tell apart need not reach it. An image whose features are constant is taken to be like every
    other such image and unlike the rest.
    """

    name = "log_det"
    reads = ("features",)
    min_images = 2
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        cells = image_products(seen.features[1:])
        parts = [k * log_determinant(products) for k, products in enumerate(cells, 1)]
        return float(sum(parts) / len(cells))


def log_determinant(products: NDArray[np.float64]) -> float:
    """products [N, N] of images -> log det of their correlation matrix plus RIDGE on the diagonal."""
    lengths = np.sqrt(np.diagonal(products))
    constant = lengths == 0
    lengths = np.where(constant, 1, lengths)
    correlations = products / np.outer(lengths, lengths) + np.outer(constant, constant)
    return float(np.linalg.slogdet(correlations + RIDGE * np.eye(len(products)))[1])
