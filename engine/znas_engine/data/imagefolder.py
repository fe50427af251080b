"""Any folder of pictures: root/class_name/**/picture.png, or root/picture.png without classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from znas_engine import paths
from znas_engine.data import folders
from znas_engine.data.base import (
    UNLABELLED_CLASSES,
    Batch,
    Dataset,
    checked_channels,
    checked_resolution,
    required_folder,
    short,
)
from znas_engine.data.pictures import KINDS, LONGEST_FILE, decode, pillow
from znas_engine.data.pixels import normalise
from znas_engine.data.preprocess import CENTRE_SQUARE, Preprocess, of_8_bits, readable
from znas_engine.data.sampling import draw_any, draw_balanced
from znas_engine.errors import DataError, one_line

# Up to here `identity` reads every picture, which takes seconds; beyond, some of them.
_MOST_FILES, _MOST_BYTES = 100_000, 2_000_000_000
_SAMPLE = 1_000

# ImageNet's published statistics, the usual choice for photographs.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ImageFolder(Dataset):
    """Pictures in `root`, one sub-folder per class; only those that a batch draws are decoded.

    root: its sub-folders are the classes, numbered in the order of their names (by code point). In each and
        in the folders below it, every png, jpg, jpeg, bmp, webp or ppm file is an image, by whatever of these
        formats it has inside. Names that begin with a dot and what systems leave behind (`Thumbs.db`,
        `__MACOSX`, `@eaDir`) are not looked at. Links to files and folders are followed, but no folder is
        looked at twice for one class, so a link that leads back up adds nothing.
        A root without sub-folders, of pictures alone, has no labels and counts as 10 classes.
        A root that holds pictures beside sub-folders, or parts of a data set (`train`, `val`) in place of
        classes, is refused: the message names the folder to pass.
    resolution: side in pixels; None means 224. The centre square of a picture (its whole shorter side) is
        resized to it with an antialiased bilinear filter.
    channels_in: 3 (None means that), or 1 for grey: the luminance of pixels and of ImageNet's statistics.
    report: is told, in a line, what pictures of other formats are left out, and of reading that takes long.

    A picture is what viewers show: turned as its EXIF data say, the first frame where it is animated, on
    white where it is transparent. Colours become RGB and are normalised by ImageNet's mean and standard
    deviation. All threads of the process together decode within about 1 GB of memory.

    Raises MissingDependencyError without Pillow and InvalidValueError for a resolution below 1 or another
    number of channels. Raises DataError, naming the folder or file: at once for a missing root, fewer than
    two classes, a class without images, a class that is another's, a pipe or a broken link; from `batch` for
    a picture that cannot be read, is damaged, too large to be safe (about 89 million pixels), or has more
    than 8 bits per channel.
    """

    name = "imagefolder"
    labels_from = "sort the pictures into one sub-folder per class"

    def __init__(
        self,
        root: Path,
        *,
        resolution: int | None = None,
        channels_in: int | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.resolution = 224 if resolution is None else checked_resolution(resolution)
        self.channels = checked_channels(channels_in, self.name)
        pillow()  # fail now rather than at the first batch
        self._root = paths.named(root, "the data folder")
        self._report = report
        self._class_names, self._files, self._labels, unread = folders.find(self._root)
        self.labelled = self._labels is not None
        self.classes = len(self._class_names) if self.labelled else UNLABELLED_CLASSES
        self.size = len(self._files)
        what = f" of {self.classes} classes" if self.labelled else ", unlabelled,"
        self.origin = one_line(f"{self.size:,} images{what} in {self._root}")
        if unread:
            left = folders.in_words(unread)
            report(one_line(f"left out of {short(self._root)}: {left}; only {KINDS} are read"))

    def every(self, at_once: int) -> Iterator[Batch]:
        """All pictures once, in the order of their names within classes, in batches of at most so many."""
        for first in range(0, self.size, at_once):
            yield self._batch(np.arange(first, min(first + at_once, self.size)))

    def preprocessing(self) -> Preprocess:
        return of_8_bits(
            size=self.resolution,
            channels=self.channels,
            crop="the picture as viewers show it, in RGB: turned as EXIF says, on white where it is "
            f"transparent; of that {CENTRE_SQUARE}",
            resize="bilinear with antialiasing, rounded to 8 bits: Pillow's resize(BILINEAR, box=crop)",
            mean=_MEAN,
            std=_STD,
            classes=[readable(name) for name in self._class_names] if self.labelled else None,
            note="mean and std are those of ImageNet, whatever the pictures are",
        )

    @cached_property
    def identity(self) -> str:
        """Digests the content of the pictures in their order, and their labels. Of more than 100,000
        pictures or 2 GB it takes the content of 1,000 and of the others the names and sizes, and says so."""
        sizes = [paths.status(self._root / file, "the picture", DataError).st_size for file in self._files]
        total = sum(sizes)
        whole = self.size <= _MOST_FILES and total <= _MOST_BYTES
        if not whole:
            self._report(
                f"{self.size:,} pictures of {total / 1e9:.1f} GB are told from others by their names, sizes "
                f"and the content of {_SAMPLE:,}: a work file does not notice when others change in place"
            )
        elif total > _MOST_BYTES // 8:
            self._report(f"reading {total / 1e9:.1f} GB of pictures, to know them again")
        step = 1 if whole else max(1, self.size // _SAMPLE)
        found = hashlib.sha256(f"{self.size} {self.classes}".encode())
        for number, (file, size) in enumerate(zip(self._files, sizes, strict=True)):
            label = None if self._labels is None else int(self._labels[number])
            if not whole:
                found.update(f"{file}\0{size} ".encode("utf-8", "surrogateescape"))
            if number % step == 0:
                raw = paths.read(self._root / file, "the picture", limit=LONGEST_FILE, error=DataError)
                found.update(hashlib.sha256(raw).digest())
            found.update(f"{label}\n".encode())
        return f"pictures {self.channels} x {self.resolution} x {self.resolution} {found.hexdigest()}"

    def _draw(self, images: int, seed: int) -> Batch:
        if self._labels is None:
            index = draw_any(self.size, images, seed=seed)
        else:
            index = draw_balanced(
                self._labels, images, seed=seed, name=short(self._root), class_names=self._class_names
            )
        return self._batch(index)

    def _batch(self, index: NDArray[np.int64]) -> Batch:
        """Of the pictures of these numbers."""
        pixels = decode([self._root / self._files[file] for file in index], self.resolution)
        return Batch(
            images=normalise(pixels, mean=_MEAN, std=_STD, channels=self.channels),
            labels=None if self._labels is None else self._labels[index],
        )


def imagefolder(
    *,
    data_dir: Path | None = None,
    resolution: int | None = None,
    channels_in: int | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> ImageFolder:
    """A folder of pictures, see `ImageFolder`."""
    root = required_folder("imagefolder", data_dir, "a folder with one sub-folder of images per class")
    return ImageFolder(root, resolution=resolution, channels_in=channels_in, report=report)
