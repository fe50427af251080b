"""Patterns: how many different patterns units make over the images."""

from __future__ import annotations

from collections.abc import Sequence

from znas_engine.scores.base import ForwardScore, Observation


class Patterns(ForwardScore):
    """|{pattern of u over the images: u a ReLU unit}|, the pattern of a unit being one bit per image.

    What `swap` counts, of the environment's weights under the evaluator's normalisation. NASWOT compares the
    columns of the same table.
    """

    name = "patterns"
    reads = ("codes",)
    max_images = 1024

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        return float(seen.codes.patterns()) if seen.codes else 0.0
