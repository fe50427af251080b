"""Gaussian pixels: the input that the paper's analysis assumes. Needs no files."""

from __future__ import annotations

import numpy as np

from znas_engine.data.base import Batch, Dataset, checked_resolution
from znas_engine.data.sampling import seed_sequence
from znas_engine.errors import InvalidValueError


class Gaussian(Dataset):
    """Independent N(0, 1) pixels without labels; up to 65,536 images per batch.

    resolution: side in pixels, 1 or more; None means 32.
    classes: outputs of the classifier that will look at them, 2 or more; nothing is drawn from it.

    A larger batch begins with the smaller one of the same seed.
    Raises InvalidValueError for a resolution or a number of classes outside its domain.
    """

    name = "gaussian"
    labelled = False
    size = 65_536

    def __init__(self, *, resolution: int | None = None, classes: int = 10) -> None:
        if classes < 2:
            raise InvalidValueError(f"`classes` must be 2 or more but got {classes}")
        self.classes = classes
        self.resolution = 32 if resolution is None else checked_resolution(resolution)
        self.origin = f"Gaussian pixels N(0, 1) at {self.resolution} x {self.resolution}, no files"

    def _draw(self, images: int, seed: int) -> Batch:
        generator = np.random.Generator(np.random.PCG64(seed_sequence(seed)))
        pixels = np.empty((images, 3, self.resolution, self.resolution), dtype=np.float32)
        for image in pixels:
            # Rounding from float64 hides the last bit in which the C libraries' log and exp differ.
            image[...] = generator.standard_normal(image.shape)
        return Batch(images=pixels, labels=None)
