"""How far apart the classifier sees different images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from znas_engine.scores import ForwardScore, Observation


class Spread(ForwardScore):
    """log(1 + mean over the channels of the standard deviation over images), of what the classifier reads.

    Zero where no image reaches the logits.
    """

    name = "spread"
    reads = ("pooled",)
    min_images = 2

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        assert seen.pooled is not None  # `reads` asks for it
        return float(np.log1p(seen.pooled.std(0, dtype=np.float64).mean()))
