"""Progressivity: whether expressivity grows with depth (AZ-NAS: Lee & Ham, CVPR 2024)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.expressivity import cell_entropies


class Progressivity(ForwardScore):
    """min over cells but the first of entropy(cell) - entropy(cell before), as `Expressivity` defines it."""

    name = "progressivity"
    reads = ("features",)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(np.diff(cell_entropies(observations[0])).min())
