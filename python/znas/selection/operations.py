"""Equation 10: the operation of an edge is the one with the largest score."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from znas_engine.spaces import Mask


def argmax_random_ties(values: NDArray[np.float64], rng: np.random.Generator) -> int:
    """Position of the largest value; ties (common for accuracies, which are counts) are broken at random."""
    return int(rng.choice(np.flatnonzero(values == values.max())))


def one_hot(selected: NDArray[np.int64], operations: int) -> Mask:
    """operation per edge, int64 [E] -> mask float32 [E, O]"""
    return np.eye(operations, dtype=np.float32)[selected]
