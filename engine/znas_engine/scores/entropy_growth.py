"""Entropy growth: whether `entropy` grows with depth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores.base import FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.entropy import cell_entropies


class EntropyGrowth(ForwardScore):
    """min over cells but the first of entropy(cell) - entropy(cell before), as `Entropy` defines it;
    `progressivity` is the same of Gaussian images, from the stem on."""

    name = "entropy_growth"
    reads = ("features",)
    max_images = FEATURE_IMAGES

    def __call__(self, observations: Sequence[Observation]) -> float:
        return float(np.diff(observations[0].once(cell_entropies)).min())
