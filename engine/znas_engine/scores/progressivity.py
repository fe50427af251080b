"""Progressivity: whether expressivity grows with depth (AZ-NAS: Lee & Ham, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.expressivity import entropies
from znas_engine.scores.probes import GAUSSIAN_HE


class Progressivity(ForwardScore):
    """min over cells of entropy(cell) - entropy(cell or stem before), as `Expressivity` defines it.

    As published, like that.
    """

    name = "progressivity"
    reads = ("features",)
    probes = (GAUSSIAN_HE,)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(np.diff(observations[0].once(entropies)).min())
