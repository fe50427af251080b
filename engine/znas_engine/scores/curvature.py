"""Curvature: how much straight lines of images bend on their way through the cells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment
from znas_engine.scores.base import BATCH, FEATURE_IMAGES, ForwardScore, Observation, Probe
from znas_engine.scores.features import answer_products
from znas_engine.scores.probes import NUDGE


def along(share: float) -> Probe:
    """Every image moved so far along the straight line to the next one, the last to the first."""

    def images(environment: Environment) -> NDArray[np.float32]:
        here = environment.batch.images
        return here + np.float32(share) * (np.roll(here, -1, 0) - here)

    return Probe(f"{share:g} along", images)


class Curvature(ForwardScore):
    """mean over cells and images of the angle, in radians, between a cell's answers to a nudge at two places.

        x, y = an image, the next one;  m = (x + y) / 2
        a = output(x + 0.01 (y - x)) - output(x);  b = output(m + 0.01 (y - x)) - output(m)
        angle = arccos(a . b / (|a| |b|))

    A nudge along the line gives the direction of the curve that the line becomes, and the angle is how far
    that direction turns from one end of half the line to the other: the extrinsic curvature of Poole et al.
    (NeurIPS 2016), summed up. A linear network has 0. So has a cell that does not answer at either place.
    """

    name = "curvature"
    reads = ("features",)
    probes = (BATCH, along(float(NUDGE)), along(0.5), along(0.5 + float(NUDGE)))
    min_images = 2
    max_images = FEATURE_IMAGES
    differences = True

    def __call__(self, observations: Sequence[Observation]) -> float:
        products = answer_products(*(seen.features[1:] for seen in observations))
        return float(np.mean([angles(of_cell).mean() for of_cell in products]))


def angles(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """products [N, 3]: a . a, b . b and a . b -> per row the angle between a and b in [0, pi]; 0 where one of
    them is 0."""
    lengths = np.sqrt(products[:, 0]) * np.sqrt(products[:, 1])
    cosines = np.where(lengths > 0, products[:, 2], 1) / np.where(lengths > 0, lengths, 1)
    found: NDArray[np.float64] = np.arccos(np.clip(cosines, -1, 1))
    return found
