"""Operation selection: Algorithm 1 and equation 10 of the paper."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def argmax_random_ties(values: NDArray[np.float64], rng: np.random.Generator) -> int:
    """Position of the largest value; ties (common for accuracies, which are counts) are broken at random."""
    return int(rng.choice(np.flatnonzero(values == values.max())))


def select_operations(scores: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    """scores float64 [E, O], NaN for operations that may not be selected -> operation per edge, int64 [E].

    for each edge e:
        selected[e] = argmax_o scores[e, o]
    """
    candidates = np.where(np.isnan(scores), -np.inf, scores)
    return np.array([argmax_random_ties(row, rng) for row in candidates], dtype=np.int64)
