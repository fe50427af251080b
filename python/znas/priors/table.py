"""A prior from a table of results that the user already has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.priors.base import TABLE_SCORE, Prior
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace


def fit_table(
    space: SearchSpace[Any], masks: Mask, accuracies: NDArray[np.float64], *, provenance: dict[str, Any]
) -> Prior:
    """Mean and variance of the accuracy (a share, not percent) of the architectures that have each neuron.

    masks: path(a), float32 [n, E, O]. accuracies: percent, float64 [n].

    Raises InvalidValueError where a neuron is in fewer than two architectures, or all of them tie.
    """
    mean = np.full(space.shape, np.nan)
    variance = np.full(space.shape, np.nan)
    for e, o in space.neurons():
        values = accuracies[masks[:, e, o] > 0] / 100
        name = f"({space.edges[e].label}, {space.operations[o]})"
        if len(values) < 2:
            raise InvalidValueError(
                f"the table has {len(values)} architectures with {name}; at least 2 are needed"
            )
        mean[e, o], variance[e, o] = values.mean(), values.var(ddof=1)
        if variance[e, o] == 0:
            raise InvalidValueError(
                f"all architectures of the table with {name} have one accuracy: no variance"
            )
    return Prior(
        space=space,
        score=TABLE_SCORE,
        mean=mean,
        variance=variance,
        drop_mean=None,
        drop_variance=None,
        provenance=provenance,
    )
