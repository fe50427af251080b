"""Gaussian pixels: the input that the paper's analysis assumes. Needs no files."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from znas_engine.arguments import check_between
from znas_engine.data.base import UNLABELLED_CLASSES, Batch, Dataset, checked_resolution
from znas_engine.data.preprocess import Preprocess
from znas_engine.data.sampling import seed_sequence


class Gaussian(Dataset):
    """Independent N(0, 1) pixels without labels; up to 65,536 images per batch.

    resolution: side in pixels, 1 or more; None means 32.
    channels_in: channels that are drawn, 1 or more; None means 3.
    classes: outputs of the classifier that will look at them, 2 or more; nothing is drawn from it.

    A larger batch begins with the smaller one of the same seed.
    Raises InvalidValueError for a resolution or a number of channels or classes outside its domain.
    """

    name = "gaussian"
    labelled = False
    size = 65_536

    def __init__(
        self,
        *,
        resolution: int | None = None,
        channels_in: int | None = None,
        classes: int = UNLABELLED_CLASSES,
    ) -> None:
        self.classes = check_between("classes", classes, 2, None)
        self.resolution = 32 if resolution is None else checked_resolution(resolution)
        self.channels = 3 if channels_in is None else check_between("channels_in", channels_in, 1, None)
        self.preprocess = Preprocess(
            size=self.resolution,
            note="the images were noise of mean 0 and deviation 1: normalise pictures to that per channel",
        )
        self.origin = f"Gaussian pixels N(0, 1) at {self.resolution} x {self.resolution}, no files"

    @cached_property
    def identity(self) -> str:
        return f"{self.origin}, {self.channels} channels"

    def _draw(self, images: int, seed: int) -> Batch:
        generator = np.random.Generator(np.random.PCG64(seed_sequence(seed)))
        pixels = np.empty((images, self.channels, self.resolution, self.resolution), dtype=np.float32)
        for image in pixels:
            # Rounding from float64 hides the last bit in which the C libraries' log and exp differ.
            image[...] = generator.standard_normal(image.shape)
        return Batch(images=pixels, labels=None)
