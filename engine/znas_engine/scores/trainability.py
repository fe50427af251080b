"""Trainability: whether cells pass on what reaches them without blowing up or dying (after AZ-NAS)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.scores.base import BATCH, FEATURE_IMAGES, ForwardScore, Observation
from znas_engine.scores.probes import NUDGED

#: Energy that every output is given, relative to the stem's: a cell that passes nothing on has gain 1e-3.
FLOOR = 1e-6


class Trainability(ForwardScore):
    """mean over cells of 2 - g - 1 / g, g the gain of the cell for a nudge of the images; at most 0.

        d[i] = output of cell i for the nudged images - output of cell i        (cell 0 is the stem)
        g[i] = rms(d[i]) / rms(d[i - 1])

    AZ-NAS (Lee & Ham, CVPR 2024) takes for g the spectral norm of a cell's Jacobian, estimated from
    gradients. A network of convolutions, ReLUs and pools is linear around an image, so that d is the
    Jacobian applied to one random direction: g is the cell's gain for the directions that really arrive, and
    needs no gradient. It is not a spectral norm, and a cell of DARTS is judged against the cell before alone
    although it reads two.
    """

    name = "trainability"
    reads = ("features",)
    probes = (BATCH, NUDGED)
    max_images = FEATURE_IMAGES
    differences = True

    def __call__(self, observations: Sequence[Observation]) -> float:
        batch, nudged = observations
        gains = cell_gains(batch.features, nudged.features)
        return float((2 - gains - 1 / gains).mean())


def cell_gains(
    features: Sequence[NDArray[np.float32]], nudged: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """g per cell, float64 [cells]."""
    energies = np.array([mean_square(b - a) for a, b in zip(features, nudged, strict=True)])
    energies += FLOOR * energies[0]
    gains: NDArray[np.float64] = np.sqrt(energies[1:] / energies[:-1])
    return gains


def mean_square(x: NDArray[np.float32]) -> float:
    return float(np.mean(np.square(x), dtype=np.float64))
