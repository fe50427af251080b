"""Patterns: how many different patterns units make over the images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import ForwardScore, Observation
from znas_engine.scores.codes import CodeSite


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
        if not seen.codes:
            return 0.0
        patterns = np.concatenate([unit_patterns(site) for site in seen.codes])
        if patterns.dtype != np.uint64:
            return float(len(np.unique(patterns)))
        patterns.sort()  # ten times as fast as np.unique, which hashes
        return float(1 + np.count_nonzero(patterns[1:] != patterns[:-1]))


def unit_patterns(site: CodeSite) -> NDArray[Any]:
    """One item per unit of a site: its bits over the images, uint64 for up to 64 images."""
    little = site.packed.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(little, axis=1, count=site.bits, bitorder="little")
    of_units = np.packbits(np.ascontiguousarray(bits.T), axis=1)
    words = -(-of_units.shape[1] // 8)
    padded = np.zeros((site.bits, 8 * words), np.uint8)
    padded[:, : of_units.shape[1]] = of_units
    return padded.view(np.uint64 if words == 1 else np.dtype((np.void, 8 * words)))[:, 0]
