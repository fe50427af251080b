"""What a data set is: something that hands out reproducible batches of normalised images."""

from __future__ import annotations

import hashlib
import operator
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Images and, where the data set has them, their labels.

    images: float32 [N, C, H, W], C-contiguous, normalised per channel (about zero mean, unit variance).
    labels: int64 [N] in [0, classes), or None for an unlabelled data set.

    Raises InvalidValueError for arrays of another shape, dtype or layout.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1] == 0:
            raise InvalidValueError(
                f"`images` must be float32 [N, C, H, W] but got {images.dtype} {list(images.shape)}"
            )
        if not images.flags.c_contiguous:
            raise InvalidValueError("`images` must be C-contiguous but got a strided view")
        if labels is not None and (labels.dtype != np.int64 or labels.shape != images.shape[:1]):
            raise InvalidValueError(
                f"`labels` must be int64 [{images.shape[0]}] but got {labels.dtype} {list(labels.shape)}"
            )

    def __getitem__(self, rows: slice) -> Batch:
        """Some of the images, with their labels."""
        return Batch(self.images[rows], None if self.labels is None else self.labels[rows])

    def digest(self) -> str:
        """SHA-256 in hex over shape, dtype, image bytes and labels; a cache key.

        Two batches have one digest exactly if their arrays are equal bit for bit; the machine's byte
        order does not enter.
        """
        digest = hashlib.sha256()
        for array in (self.images, self.labels):
            if array is None:
                digest.update(b"none;")
                continue
            little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            digest.update(f"{little.dtype.str}{list(little.shape)};".encode())
            digest.update(little.reshape(-1).data)  # hashlib takes one dimension
        return digest.hexdigest()


class Dataset(ABC):
    """A source of batches. Subclasses set the attributes below and implement `_draw`.

    name: its key in the registry.
    classes: number of classes of the classifier that will look at the images.
    resolution: side of the square images in pixels.
    labelled: whether batches carry labels.
    size: number of images found.
    origin: one readable line that says where they come from.
    """

    name: str
    classes: int
    resolution: int
    labelled: bool
    size: int
    origin: str

    def batch(self, images: int, *, seed: int) -> Batch:
        """Draw `images` images without replacement; a function of (`images`, `seed`) and the files alone.

        Labelled sets are drawn class-balanced: class counts differ by at most one, the seed decides which
        classes get the extra image, and the order is shuffled. At one seed, the images of every class in
        a small batch are also in a larger one. The same arguments give the same batch in every process.

        Raises InvalidValueError if `images` is outside [1, size], if a class has too few of them, or if
        `seed` is negative; DataError if a file that the batch needs cannot be decoded.
        """
        limits = f"between 1 and {self.size:,} for {self.name}"
        count = _whole("images", images, limits)
        if not 1 <= count <= self.size:
            raise InvalidValueError(f"`images` must be {limits} but got {images:,}")
        number = _whole("seed", seed, "0 or more")
        if number < 0:
            raise InvalidValueError(f"`seed` must be 0 or more but got {seed}")
        return self._draw(count, number)

    @abstractmethod
    def _draw(self, images: int, seed: int) -> Batch:
        """The batch, for arguments that `batch` has checked."""


def checked_resolution(resolution: int) -> int:
    """`resolution` as an int; raises InvalidValueError unless it is a whole number above zero."""
    pixels = _whole("resolution", resolution, "1 or more")
    if pixels < 1:
        raise InvalidValueError(f"`resolution` must be 1 or more but got {resolution}")
    return pixels


def _whole(name: str, value: int, limits: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise InvalidValueError(f"`{name}` must be a whole number, {limits}, but got {value!r}") from None
