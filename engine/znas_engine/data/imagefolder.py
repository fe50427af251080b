"""Any folder of pictures: root/class_name/**/picture.png, or root/picture.png without classes; either may lie
in root/train, beside root/val."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

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
from znas_engine.data.pictures import KINDS, LONGEST_FILE, decode, pillow, sizes
from znas_engine.data.pixels import normalise
from znas_engine.data.preprocess import CENTRE_SQUARE, Preprocess, of_8_bits, readable
from znas_engine.data.sampling import draw_any, draw_balanced
from znas_engine.errors import DataError, one_line
from znas_engine.progress import unheard

# Up to here `identity` reads every picture, which takes seconds; beyond, some of them.
_MOST_FILES, _MOST_BYTES = 100_000, 2_000_000_000
_SAMPLE = 1_000
# Of the side in pixels that is chosen where none is given: what every stem here divides, and the usual one.
_STEP, _LARGEST = 8, 224

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
        Where the sub-folders are parts of a data set (`train`, `val`, `test`), that of training is the root
        and the one to validate on is what `held_out` gives. Without one to train on, or with several, they
        are refused, as are pictures beside sub-folders: the message names the folder to pass.
    resolution: side in pixels; None means the median of the pictures' shorter sides, of a sample, rounded
        down to a multiple of 8, from 8 to 224. The centre square of a picture (its whole shorter side) is
        resized to it with an antialiased bilinear filter.
    channels_in: 3 (None means that), or 1 for grey: the luminance of pixels and of ImageNet's statistics.
    report: is told, in a line each, which part is searched, what is cropped and resized, what pictures of
        other formats are left out, and of reading that takes long.

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
        asked = None if resolution is None else checked_resolution(resolution)
        self.channels = checked_channels(channels_in, self.name)
        pillow()  # fail now rather than at the first batch
        self._root = paths.named(root, "the data folder")
        self._report = report
        self._held_out: Path | None = None
        if (split := folders.split(self._root)) is not None:
            self._split(split)
        self._class_names, self._files, self._labels, unread = folders.find(self._root)
        self.labelled = self._labels is not None
        self.classes = len(self._class_names) if self.labelled else UNLABELLED_CLASSES
        self.size = len(self._files)
        what = f" of {self.classes} classes" if self.labelled else ", unlabelled,"
        self.origin = one_line(f"{self.size:,} images{what} in {self._root}")
        if unread:
            left = folders.in_words(unread)
            report(one_line(f"left out of {short(self._root)}: {left}; only {KINDS} are read"))
        self.resolution = self._resized(asked)

    def __getstate__(self) -> dict[str, Any]:
        """Without who is told: in another process nobody is; and without what the pictures were here, as they
        stay here."""
        kept = {name: value for name, value in self.__dict__.items() if name != "identity"}
        return kept | {"_report": unheard}

    def held_out(self) -> ImageFolder | None:
        """The pictures of the part to validate on (else the test part) that lies beside the one that is
        searched, shown in the same way; None where there is none.

        Its classes have the same numbers. Raises DataError for one that has none, and like the class itself.
        """
        if self._held_out is None:
            return None
        found = ImageFolder(self._held_out, resolution=self.resolution, channels_in=self.channels)
        if found.labelled != self.labelled:
            raise DataError(
                f"{short(self._held_out)} and {short(self._root)} must both have class folders, or neither"
            )
        if found._labels is not None:
            unknown = [name for name in found._class_names if name not in self._class_names]
            if unknown:
                raise DataError(
                    f"{short(self._held_out)} has a class {unknown[0]} that {short(self._root)} lacks: "
                    "move it away"
                )
            number = np.array([self._class_names.index(name) for name in found._class_names])
            found._labels = number[found._labels]
        found._class_names, found.classes = self._class_names, self.classes
        return found

    def _split(self, split: folders.Split) -> None:
        """The root is the part to train on."""
        beside = "" if split.held_out is None else f"; {split.held_out} is left to be judged on"
        others = f"; not looked at: {', '.join(split.others)}" if split.others else ""
        self._report(one_line(f"only {short(self._root / split.train)} is searched{beside}{others}"))
        self._held_out = None if split.held_out is None else self._root / split.held_out
        self._root /= split.train

    def _resized(self, asked: int | None) -> int:
        """The side in pixels, and a word where pictures have another size."""
        seen = sizes([self._root / file for file in self._files])
        if not len(seen):
            return asked or _LARGEST
        shorter = int(np.median(seen.min(1)))
        side = asked or min(max(shorter - shorter % _STEP, _STEP), _LARGEST)
        width, height = np.median(seen, axis=0).astype(int).tolist()
        changes = []
        if (seen[:, 0] != seen[:, 1]).any():
            changes.append("cropped to their centre squares")
        if (seen.min(1) != side).any():
            changes.append(f"resized to {side} x {side}")
        if changes:
            self._report(
                f"pictures are {' and '.join(changes)} (their median is {width} x {height}); "
                "--resolution sets the side"
            )
        return side

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
        return self.at(index)

    def labels(self) -> NDArray[np.int64] | None:
        return self._labels

    def at(self, rows: NDArray[np.int64]) -> Batch:
        """Of the pictures of these numbers."""
        pixels = decode([self._root / self._files[file] for file in rows], self.resolution)
        return Batch(
            images=normalise(pixels, mean=_MEAN, std=_STD, channels=self.channels),
            labels=None if self._labels is None else self._labels[rows],
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
