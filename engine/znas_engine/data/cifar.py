"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in the python-pickle layout of their authors.

    <data_dir>/cifar-10-batches-py/data_batch_1 ... data_batch_5
    <data_dir>/cifar-100-python/train

The search sees training images only. The test images (`test_batch`, `test`), which judge what it found, are
read by `Cifar.held_out` alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from znas_engine import paths
from znas_engine.data.base import (
    Batch,
    Dataset,
    checked_channels,
    checked_resolution,
    required_folder,
    short,
)
from znas_engine.data.content import digest
from znas_engine.data.pickles import RefusedPickle, StoredArray, unpickle
from znas_engine.data.pixels import box_reduce, normalise
from znas_engine.data.preprocess import of_8_bits
from znas_engine.data.sampling import draw_balanced
from znas_engine.errors import DataError, InvalidValueError

_SIDE = 32
_RESOLUTIONS = (32, 16, 8, 4, 2, 1)
_PIXELS = 3 * _SIDE * _SIDE
_MAX_FILE_BYTES = 256 * 2**20  # the largest original, CIFAR-100's train, has 155 MB


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one of the two data sets lies, how its labels are called, and its published pixel statistics."""

    name: str
    title: str
    folder: str
    files: tuple[str, ...]
    test: str
    labels: str
    names: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    archive: str
    part: str = "training"

    @property
    def classes(self) -> int:
        return len(self.names)


CIFAR10 = Layout(
    name="cifar10",
    title="CIFAR-10",
    folder="cifar-10-batches-py",
    files=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test="test_batch",
    labels="labels",
    names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    archive="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
)

#: The fine labels of CIFAR-100, as its `meta` numbers them.
_FINE = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile "
    "cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp "
    "lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom "
    "oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine "
    "possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake "
    "spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor "
    "train trout tulip turtle wardrobe whale willow_tree wolf woman worm"
)

CIFAR100 = Layout(
    name="cifar100",
    title="CIFAR-100",
    folder="cifar-100-python",
    files=("train",),
    test="test",
    labels="fine_labels",
    names=tuple(_FINE.split()),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    archive="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
)


class Cifar(Dataset):
    """The training images of `layout` found under `data_dir`, kept in memory as uint8.

    data_dir: the folder that holds `layout.folder`, or that folder itself. Some training batches are
        enough; `origin` says which were found.
    layout: CIFAR10 or CIFAR100.
    resolution: 32 (None means that), or 16, 8, 4, 2, 1, made by averaging boxes of pixels.
    channels_in: 3 (None means that), or 1 for grey: the luminance of pixels and of the published statistics.

    Raises InvalidValueError for another resolution or number of channels, and DataError, naming the file
    and the way out, for a folder or file that is missing, unreadable, damaged, malicious, too large, or not
    CIFAR.
    """

    labelled = True

    def __init__(
        self,
        data_dir: Path,
        *,
        layout: Layout,
        resolution: int | None = None,
        channels_in: int | None = None,
    ) -> None:
        self.name = layout.name
        self.channels = checked_channels(channels_in, layout.name)
        self.classes = layout.classes
        self.resolution = _SIDE if resolution is None else checked_resolution(resolution)
        if self.resolution not in _RESOLUTIONS:
            allowed = ", ".join(str(side) for side in _RESOLUTIONS)
            raise InvalidValueError(
                f"`resolution` must be one of {allowed} for {layout.name} but got {resolution}"
            )
        self._layout = layout
        self._class_names = [str(index) for index in range(layout.classes)]

        self._folder = paths.named(data_dir, "the data folder")
        found = _training_files(self._folder, layout)
        parts = [_read(path, layout) for path in found]
        self._pixels = parts[0][0] if len(parts) == 1 else np.concatenate([pixels for pixels, _ in parts])
        self._labels = np.concatenate([labels for _, labels in parts])
        self.size = len(self._labels)
        self.origin = _origin(self.size, found, layout)
        factor = _SIDE // self.resolution
        self.preprocess = of_8_bits(
            size=self.resolution,
            channels=self.channels,
            crop=f"none, the pictures are {_SIDE} x {_SIDE}",
            resize="none" if factor == 1 else f"the mean of {factor} x {factor} pixels, not rounded",
            mean=layout.mean,
            std=layout.std,
            classes=layout.names,
            note=f"mean and std are those published for {layout.title}",
        )

    @cached_property
    def identity(self) -> str:
        shown = f"{self.channels} x {self.resolution} x {self.resolution}"
        return f"{self._layout.title} {shown} {digest(self._pixels, self._labels)}"

    def held_out(self) -> Cifar | None:
        """The test images, if their file is there."""
        layout = replace(self._layout, files=(self._layout.test,), part="test")
        there = (self._folder / layout.folder / layout.test, self._folder / layout.test)
        if not any(paths.is_file(file, "the batch", DataError) for file in there):
            return None
        return Cifar(self._folder, layout=layout, resolution=self.resolution, channels_in=self.channels)

    def _draw(self, images: int, seed: int) -> Batch:
        return self.at(
            draw_balanced(
                self._labels, images, seed=seed, name=self._layout.name, class_names=self._class_names
            )
        )

    def labels(self) -> NDArray[np.int64]:
        return self._labels

    def at(self, rows: NDArray[np.int64]) -> Batch:
        layout = self._layout
        pixels = self._pixels[rows].reshape(len(rows), 3, _SIDE, _SIDE)
        factor = _SIDE // self.resolution
        return Batch(
            images=normalise(
                pixels if factor == 1 else box_reduce(pixels, factor),
                mean=layout.mean,
                std=layout.std,
                channels=self.channels,
            ),
            labels=self._labels[rows],
        )


def cifar10(
    *, data_dir: Path | None = None, resolution: int | None = None, channels_in: int | None = None
) -> Cifar:
    """CIFAR-10, see `Cifar`."""
    return _opened(CIFAR10, data_dir, resolution, channels_in)


def cifar100(
    *, data_dir: Path | None = None, resolution: int | None = None, channels_in: int | None = None
) -> Cifar:
    """CIFAR-100 with its 100 fine labels, see `Cifar`."""
    return _opened(CIFAR100, data_dir, resolution, channels_in)


def lies_in(folder: Path) -> list[str]:
    """The names of the data sets whose files lie in the folder, or are it."""
    return [
        layout.name
        for layout in (CIFAR10, CIFAR100)
        if _found(folder, layout) or paths.is_folder(folder / layout.folder, "the folder", DataError)
    ]


def _found(data_dir: Path, layout: Layout) -> list[Path]:
    """The training batches that exist, in their numbered order."""
    for folder in (data_dir / layout.folder, data_dir):
        found = [
            folder / file for file in layout.files if paths.is_file(folder / file, "the batch", DataError)
        ]
        if found:
            return found
    return []


def _opened(layout: Layout, data_dir: Path | None, resolution: int | None, channels_in: int | None) -> Cifar:
    folder = required_folder(layout.name, data_dir, f"the folder that holds {layout.folder}")
    return Cifar(folder, layout=layout, resolution=resolution, channels_in=channels_in)


def _training_files(data_dir: Path, layout: Layout) -> list[Path]:
    """The training batches that exist, in their numbered order; DataError where there are none."""
    if found := _found(data_dir, layout):
        return found
    way_out = f"unpack {layout.archive} and pass --data-dir with the folder that holds {layout.folder}"
    if paths.is_folder(data_dir / layout.folder, "the folder", DataError):
        files = layout.files[0] if len(layout.files) == 1 else f"{layout.files[0]}, ..."
        raise DataError(f"no training batch ({files}) in {short(data_dir / layout.folder)}: {way_out}")
    raise DataError(f"no {layout.folder} in {short(data_dir)}: {way_out}")


def _origin(size: int, found: Sequence[Path], layout: Layout) -> str:
    absent = len(layout.files) - len(found)
    if absent:
        names = ", ".join(path.name for path in found)
        where = f"{names} ({absent} of {len(layout.files)} batches absent)"
    else:
        where = f"{len(found)} batches" if len(found) > 1 else found[0].name
    return f"{size:,} {layout.title} {layout.part} images in {where}"


def _read(path: Path, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels uint8 [n, 3072] (red, green, blue planes, row by row) and labels int64 [n] of one file."""
    raw = paths.read(path, "the batch", limit=_MAX_FILE_BYTES, error=DataError)
    try:
        return _fields(unpickle(raw), layout)
    except RefusedPickle as error:
        raise DataError(f"{short(path)} is refused: {error}; unpack {layout.archive} again") from error


def _fields(content: object, layout: Layout) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if not isinstance(content, dict):
        raise RefusedPickle("it does not hold a dictionary")
    # Python 2 wrote its keys as bytes, Python 3 writes them as str.
    fields = {key.decode("latin-1") if isinstance(key, bytes) else key: content[key] for key in content}
    if len(fields) != len(content):
        raise RefusedPickle("it has one field twice")
    for key in ("data", layout.labels):
        if key not in fields:
            raise RefusedPickle(f"it has no {key!r}, so it is not a batch of {layout.title}")

    data = fields["data"]
    pixels = data.values if isinstance(data, StoredArray) else None
    if pixels is None or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        got = "no array" if pixels is None else f"{pixels.dtype} {list(pixels.shape)}"
        raise RefusedPickle(f"its 'data' must be uint8 [n, {_PIXELS}] but is {got}")
    if len(pixels) == 0:
        raise RefusedPickle("it holds no images")

    labels = _labels(fields[layout.labels], layout, len(pixels))
    return pixels.view(np.uint8), np.asarray(labels, dtype=np.int64)


def _labels(stored: object, layout: Layout, images: int) -> list[int]:
    if isinstance(stored, StoredArray) and stored.values is not None and stored.values.ndim == 1:
        # No more than the images have: a list takes eight times the room of the file's bytes.
        count, stored = len(stored.values), stored.values[:images].tolist()
    else:
        count = len(stored) if isinstance(stored, list) else 0
    if not isinstance(stored, list) or not all(type(label) is int for label in stored):
        raise RefusedPickle(f"its {layout.labels!r} must be a list of whole numbers")
    if count != images:
        raise RefusedPickle(f"it holds {images:,} images but {count:,} labels")
    for label in stored:
        if not 0 <= label < layout.classes:
            limits = f"between 0 and {layout.classes - 1}"
            raise RefusedPickle(f"its {layout.labels!r} must be {limits} but hold {label}")
    return stored
