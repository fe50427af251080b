"""Drawn shapes: a small labelled data set that needs no files."""

from __future__ import annotations

import numpy as np

from znas_engine.data import Dataset
from znas_engine.data.arrays import Arrays

SIDE, PER_CLASS = 32, 100


def shapes(*, resolution: int | None = None, channels_in: int | None = None) -> Dataset:
    """400 noisy images of discs, squares, horizontal and vertical bars; a hundred each, always the same."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), PER_CLASS)
    middle = rng.integers(10, SIDE - 10, (2, len(labels), 1, 1))
    radius = rng.integers(5, 10, (len(labels), 1, 1))
    up, across = (
        np.abs(place - centre) for place, centre in zip(np.mgrid[:SIDE, :SIDE], middle, strict=True)
    )
    filled = np.select(
        [labels[:, None, None] == label for label in range(4)],
        [
            up**2 + across**2 < radius**2,
            np.maximum(up, across) < radius,
            up < radius / 2,
            across < radius / 2,
        ],
    )
    colours = rng.integers(96, 256, (len(labels), 3, 1, 1))
    noise = rng.integers(0, 96, (len(labels), 3, SIDE, SIDE))
    images = np.where(filled[:, None], colours, noise).astype(np.uint8)
    return Arrays(images, labels, resolution=resolution, channels_in=channels_in, name="shapes")
