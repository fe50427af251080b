"""Phi: how strongly the last features answer to a nudge of a Gaussian image (Lin et al., ICCV 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.probes import GAUSSIAN, GAUSSIAN_NUDGED, NUDGE


class Phi(ForwardScore):
    """log(1 + E |f(x + a e) - f(x)| / a), x and e standard normal images, f the output of the last cell
    without normalisation, | | the Frobenius norm over an image's features.

    The Phi score of the paper, of the environment's weights and of the last cell. `zen` is the form that its
    authors search with, which cannot overflow: batch normalisation is kept and the logarithms of its
    deviations are added. The two agree where layers form a chain; beside skip connections only the former
    means what it says. The 1 keeps networks that pass nothing on finite, and the order as it is.
    """

    name = "phi"
    reads = ("features",)
    probes = (GAUSSIAN, GAUSSIAN_NUDGED)
    max_images = FEATURE_IMAGES
    differences = True

    def __call__(self, observations: Sequence[Observation]) -> float:
        difference = observations[1].features[-1] - observations[0].features[-1]
        lengths = np.sqrt(np.square(difference).sum((1, 2, 3), dtype=np.float64))
        return float(np.log1p(lengths.mean() / float(NUDGE)))
