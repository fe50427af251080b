"""What a data set is: something that hands out reproducible batches of normalised images."""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import check_between, whole
from znas_engine.data.preprocess import Preprocess
from znas_engine.errors import InvalidValueError, PluginError, briefly
from znas_engine.promises import calling
from znas_engine.registry import called

#: Outputs of the classifier that looks at images without labels, unless one is told otherwise.
UNLABELLED_CLASSES = 10


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Images and, where the data set has them, their labels.

    images: float32 [N, C, H, W], one channel or more, C-contiguous, normalised per channel (about zero mean,
        unit variance).
    labels: int64 [N] in [0, classes), or None for an unlabelled data set.

    Raises InvalidValueError for arrays of another shape, dtype or layout.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1] < 1:
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
    origin: one readable line that says where they come from, for people.
    identity: one line that says what every batch is made of besides the number of images and the seed: by it
        a work file knows whether it goes on with the same data. It is `origin` unless a subclass says better.
    channels: of an image.
    labels_from: what gives such images labels, in words that follow "have none; ".
    preprocess: what was done to a picture before it was handed out, and the names of the classes; None where
        the data set does not say.
    """

    name: str
    classes: int
    resolution: int
    labelled: bool
    size: int
    origin: str
    channels: int = 3
    labels_from: str = "use --data cifar10 --data-dir FOLDER"
    preprocess: Preprocess | None = None

    @cached_property
    def identity(self) -> str:
        """The same wherever the data lie, however their path is spelt and whenever they were written; another
        one as soon as a pixel, a label, their order, the resolution or the channels are others.

        May read all of the data when it is asked for first. Raises DataError for what cannot be read.
        """
        return self.origin

    def preprocessing(self) -> Preprocess:
        """`preprocess`; where there is none, what can be said without it."""
        note = f"{self.name} does not say how its images are made of pictures"
        return self.preprocess or Preprocess(size=self.resolution, note=note)

    @property
    def listed(self) -> bool:
        """Whether its images have numbers, so that each can be read: not where they are only drawn."""
        return type(self).at is not Dataset.at

    def at(self, rows: NDArray[np.int64]) -> Batch:
        """The images of these numbers, int64 [n] from 0 to size - 1, in their order. Raises as `batch`, and
        InvalidValueError for a data set that only draws."""
        raise InvalidValueError(f"{self.name} draws images and has no list of them: `at` cannot read one")

    def labels(self) -> NDArray[np.int64] | None:
        """Of all images by their numbers, int64 [size], read without the pictures where that can be; None
        without labels. Raises as `at`."""
        if not self.labelled:
            return None
        found = [self.at(np.arange(i, min(i + 512, self.size))).labels for i in range(0, self.size, 512)]
        return np.concatenate([each for each in found if each is not None])

    def every(self, at_once: int) -> Iterator[Batch]:
        """All images once, by their numbers, in batches of at most so many; a data set that only draws gives
        one batch. Raises as `batch`."""
        if not self.listed:
            yield self.batch(min(self.size, at_once), seed=0)
            return
        for first in range(0, self.size, at_once):
            yield self.at(np.arange(first, min(first + at_once, self.size)))

    def batch(self, images: int, *, seed: int) -> Batch:
        """Draw `images` images without replacement; a function of (`images`, `seed`) and the files alone.

        Labelled sets are drawn class-balanced: class counts differ by at most one, the seed decides which
        classes get the extra image, and the order is shuffled. At one seed, the images of every class in
        a small batch are also in a larger one. Unlabelled sets are shuffled. The same arguments give the
        same batch in every process.

        Raises InvalidValueError if `images` is outside [1, size], if a class has too few of them, or if
        `seed` is negative; DataError if a file that the batch needs cannot be decoded; PluginError, naming
        the class, if it is not ours and `_draw` raises, or drew what its attributes do not promise.
        """
        limits = f"between 1 and {self.size:,} for {self.name}"
        count = whole("images", images, limits)
        if not 1 <= count <= self.size:
            raise InvalidValueError(f"`images` must be {limits} but got {count:,}")
        number = check_between("seed", seed, 0, None)
        side = self.resolution
        too_large = InvalidValueError(
            f"{count:,} images of {side} x {side} pixels do not fit into memory: ask for fewer, --images, or "
            "smaller ones, --resolution"
        )
        if 4 * count * self.channels * side * side > sys.maxsize:
            raise too_large
        try:
            with calling("data set", self):
                batch = self._draw(count, number)
        except MemoryError as error:
            raise too_large from error
        self._check(batch, count)
        return batch

    def held_out(self) -> Dataset | None:
        """Other images of the same classes, to judge a trained network by, where they lie beside these."""
        return None

    @abstractmethod
    def _draw(self, images: int, seed: int) -> Batch:
        """The batch, for arguments that `batch` has checked."""

    def _check(self, batch: Any, images: int) -> None:
        """Hold what was drawn to what the attributes say."""
        promised = (images, self.channels, self.resolution, self.resolution)
        labels = getattr(batch, "labels", None)
        wrong = None
        if not isinstance(batch, Batch):
            wrong = f"{type(batch).__name__}, no Batch"
        elif batch.images.shape != promised:
            wrong = f"images {list(batch.images.shape)}, not {list(promised)}"
        elif (labels is not None) != self.labelled:
            wrong = f"{'no ' if labels is None else ''}labels, but `labelled` is {self.labelled}"
        elif labels is not None and not 0 <= labels.min() <= labels.max() < self.classes:
            wrong = f"labels from {labels.min()} to {labels.max()}, not from 0 to {self.classes - 1}"
        if wrong is not None:
            raise PluginError(f"{called('data set', self)} drew {wrong}")


def broken_promise(dataset: Dataset) -> str | None:
    """What is wrong with the attributes, in words that follow the data set's name; None if nothing is."""
    for name, kind in (("name", str), ("origin", str), ("labels_from", str), ("labelled", bool)):
        value = getattr(dataset, name, None)
        if not isinstance(value, kind):
            return f"has {briefly(value)} for `{name}`, no {kind.__name__}"
        if "\n" in str(value):
            return f"has {briefly(value)} for `{name}`, more than one line"
    for name, least in (("classes", 2), ("resolution", 1), ("size", 1), ("channels", 1)):
        value = getattr(dataset, name, None)
        if type(value) is not int or value < least:
            return f"has {briefly(value)} for `{name}`, no int of {least} or more"
    told: Any = dataset.preprocess
    if told is None:
        return None
    if not isinstance(told, Preprocess):
        return f"has {briefly(told)} for `preprocess`, no Preprocess"
    wrong = told.unlike(size=dataset.resolution, channels=dataset.channels, classes=dataset.classes)
    return None if wrong is None else f"contradicts itself: {wrong}"


def checked_resolution(resolution: int) -> int:
    """`resolution` as an int; raises InvalidValueError unless it is a whole number above zero."""
    return check_between("resolution", resolution, 1, None)


def checked_channels(channels_in: int | None, name: str) -> int:
    """`channels_in` of a data set of colours: 1 for grey or 3; None means 3."""
    if channels_in is None:
        return 3
    channels = whole("channels_in", channels_in, "1 or 3")
    if channels not in (1, 3):
        raise InvalidValueError(f"`channels_in` must be 1 (grey) or 3 for {name} but got {channels}")
    return channels


def required_folder(name: str, data_dir: Path | None, what: str) -> Path:
    """`data_dir`, or the error that says what it must be."""
    if data_dir is None:
        raise InvalidValueError(f"`data_dir` is required for {name}: pass --data-dir with {what}")
    return data_dir


def short(path: Path) -> str:
    """A path in a message: its end, where it is so long that no room is left for the way out."""
    text = str(path)
    return text if len(text) <= 120 else f"...{text[-117:]}"
