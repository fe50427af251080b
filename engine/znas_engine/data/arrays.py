"""Images that are in memory already, as NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import choice, whole
from znas_engine.data.base import (
    UNLABELLED_CLASSES,
    Batch,
    Dataset,
    checked_channels,
    checked_resolution,
)
from znas_engine.data.content import digest
from znas_engine.data.pixels import centre_square, luminance, resize
from znas_engine.data.preprocess import CENTRE_SQUARE, LUMINANCE, Preprocess, names_of_classes
from znas_engine.data.sampling import draw_any, draw_balanced
from znas_engine.errors import InvalidValueError

_Floats = NDArray[np.float64]
_LAYOUTS = ("auto", "NCHW", "NHWC")
_CHANNELS = (1, 3)
_TOGETHER = 512  # images of 32 x 32 pixels in float64 at a time, fewer of larger ones
_SAY_LAYOUT = 'say which it is: znas_engine.data.arrays.Arrays(images, labels, layout="NCHW")'


class Arrays(Dataset):
    """Images from an array, normalised per channel by their own mean and standard deviation.

    images: uint8 or float32, [N, C, H, W] or [N, H, W, C] with 1 or 3 channels. Copied, unless it and what
        it is a view of are read-only: `np.load(file, mmap_mode="r")` stays where it is, and only what a batch
        draws is read again. The centre square of an image (its whole shorter side) is used.
    labels: integers or booleans [N] from 0, or None for images without.
    classes: None means the largest label + 1, all of which must occur, or 10 without labels. Where it is
        told, classes may have no image: batches are then balanced among those that have.
    layout: "NCHW", "NHWC", or "auto": the one axis that is 1 or 3 long is the channels'.
    resolution: side in pixels; None means that of the centre square. Resized by the antialiased bilinear
        filter of image folders, but not rounded to 8 bits.
    channels_in: 3 (None means that; one channel is repeated) or 1 (colours become their luminance).
    name: what messages call it.
    class_names: of the classes from 0, which are as many where `classes` is not told.
    like: images of the same kind, whose size, channels, classes, mean and standard deviation these have; None
        means their own.

    Mean and standard deviation are those of all centre squares before they are resized, so the range of
    the values does not matter. A channel that has one value everywhere becomes zero.

    Raises InvalidValueError for other dtypes, shapes and labels, for NaN or infinity, which it locates, and
    for images that are all of one colour.
    """

    labels_from = "give each image its label: (images, labels), or (image, label) from a PyTorch data set"

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        *,
        classes: int | None = None,
        layout: str = "auto",
        resolution: int | None = None,
        channels_in: int | None = None,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        like: Arrays | None = None,
    ) -> None:
        if like is not None:
            resolution, channels_in, classes = like.resolution, like.channels, like.classes
        self.name = name
        self._class_names = None if class_names is None else names_of_classes(class_names)
        if self._class_names is not None and classes is None:
            classes = len(self._class_names)
        stored = _channels_first(as_array(images, "`images`"), layout)
        if _may_change(stored):
            stored = stored.copy()
        self._squares = centre_square(stored)
        self._together = _together(self._squares)
        self.size = len(stored)
        self.resolution = self._squares.shape[-1] if resolution is None else checked_resolution(resolution)
        self.channels = checked_channels(channels_in, name)
        self._labels = None if labels is None else _checked_labels(as_array(labels, "`labels`"), self.size)
        self.labelled = self._labels is not None
        self.classes = _checked_classes(self._labels, classes)
        self._mean: _Floats
        self._std: _Floats
        self._mean, self._std = self._statistics() if like is None else (like._mean, like._std)
        self.preprocess = like.preprocess if like is not None else self._facts(stored)
        channels, height, width = stored.shape[1:]
        what = f"{self.size:,} images" + (f" of {self.classes} classes" if self.labelled else ", unlabelled")
        self.origin = (
            f"{what}, {stored.dtype.name} {channels} x {height} x {width}, in memory "
            f"({digest(stored, self._labels)[:12]})"
        )

    def _facts(self, images: NDArray[Any]) -> Preprocess:
        """images: [N, C, H, W], as they are stored."""
        stored, scale = images.shape[1], 255.0 if images.dtype == np.uint8 else 1.0
        side, grey = self._squares.shape[-1], self.channels < stored
        mean, std = (
            np.broadcast_to(v.reshape(-1) / scale, self.channels).tolist() for v in (self._mean, self._std)
        )
        repeated = "; the one channel is repeated" if stored < self.channels else ""
        as_grey = f"; then {LUMINANCE}" if grey else ""
        resized = "none" if side == self.resolution else "bilinear with antialiasing (Pillow's), not rounded"
        return Preprocess(
            size=self.resolution,
            channels="grey" if grey or stored == self.channels == 1 else "as given",
            crop=f"{CENTRE_SQUARE}{as_grey}",
            resize=f"{resized}{repeated}",
            scale=scale,
            mean=tuple(mean),
            std=tuple(std),
            classes=self._class_names,
            note="mean and std are those of the images that were searched with",
        )

    @cached_property
    def identity(self) -> str:
        return f"{self.origin} as {self.channels} x {self.resolution} x {self.resolution}"

    def _draw(self, images: int, seed: int) -> Batch:
        if self._labels is None:
            index = draw_any(self.size, images, seed=seed)
        else:
            present, among = np.unique(self._labels, return_inverse=True)
            index = draw_balanced(
                among, images, seed=seed, name=self.name, class_names=[str(label) for label in present]
            )
        return self.at(index)

    def labels(self) -> NDArray[np.int64] | None:
        return self._labels

    def at(self, rows: NDArray[np.int64]) -> Batch:
        drawn = np.empty((len(rows), self.channels, self.resolution, self.resolution), np.float32)
        for first in range(0, len(rows), self._together):
            part = slice(first, first + self._together)
            # One channel is repeated where three are asked for: assignment does that.
            drawn[part] = (resize(self._values(rows[part]), self.resolution) - self._mean) / self._std
        return Batch(drawn, None if self._labels is None else self._labels[rows])

    def _values(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Of some centre squares; of one channel where colours become grey."""
        values: NDArray[np.float64] = self._squares[rows].astype(np.float64)
        return luminance(values) if self.channels < values.shape[1] else values

    def _chunks(self) -> Iterator[NDArray[np.float64]]:
        for first in range(0, self.size, self._together):
            yield self._values(slice(first, first + self._together))

    def _statistics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation [C, 1, 1]; the latter is 1 for a channel of one value."""
        axes = (0, 2, 3)
        sums, lowest, highest = [], [], []
        for number, values in enumerate(self._chunks()):
            finite = np.isfinite(values).all(axis=(1, 2, 3))
            if not finite.all():
                first = number * self._together + int(finite.argmin())
                raise InvalidValueError(f"`images` must be finite but image {first} holds NaN or infinity")
            sums.append(values.sum(axis=axes))
            lowest.append(values.min(axis=axes))
            highest.append(values.max(axis=axes))
        constant = np.min(lowest, axis=0) == np.max(highest, axis=0)
        if constant.all():
            raise InvalidValueError("`images` must differ in something but all their pixels are alike")
        pixels = self.size * self._squares.shape[-1] ** 2
        mean = (np.sum(sums, axis=0) / pixels).reshape(-1, 1, 1)
        mean[constant] = np.min(lowest, axis=0).reshape(-1, 1, 1)[constant]
        squares = [np.square(values - mean).sum(axis=axes) for values in self._chunks()]
        std = np.sqrt(np.sum(squares, axis=0) / pixels).reshape(-1, 1, 1)
        std[constant] = 1.0
        return mean, std


def as_array(values: Any, name: str) -> NDArray[Any]:
    """A NumPy array of what is one, or can be seen as one without torch's help, as tensors can."""
    if not hasattr(values, "__array__"):
        raise InvalidValueError(f"{name} must be a NumPy array but got {type(values).__name__}")
    if isinstance(values, np.ma.MaskedArray):
        raise InvalidValueError(f"{name} must have no mask: fill the masked array with .filled(0)")
    try:
        return np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    except MemoryError:
        raise
    except Exception as error:  # their code: bfloat16, which NumPy does not have; no storage
        first_line = str(error).partition("\n")[0]
        raise InvalidValueError(f"{name} cannot be read as a NumPy array ({first_line})") from error


def _may_change(array: NDArray[Any]) -> bool:
    """Whether anybody can write to it through what it is a view of."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return True
        part = part.base
    return False


def _channels_first(images: NDArray[Any], layout: str) -> NDArray[Any]:
    """A view [N, C, H, W] of images that can be used."""
    choice("layout", layout, _LAYOUTS)
    if images.dtype.newbyteorder("=") not in (np.uint8, np.float32):
        raise InvalidValueError(
            f"`images` must be uint8 or float32 but got {images.dtype}: convert them, for instance with "
            "images.astype(np.float32)"
        )
    shape = list(images.shape)
    if images.ndim == 3:
        raise InvalidValueError(
            f"`images` must be [N, C, H, W] or [N, H, W, C] but got {shape}: pass images[:, None] if they "
            "are grey"
        )
    if images.ndim != 4 or images.size == 0:
        raise InvalidValueError(
            f"`images` must be [N, C, H, W] or [N, H, W, C], none of them 0, but got {shape}"
        )
    first, last = (shape[axis] in _CHANNELS for axis in (1, 3))
    if layout == "auto":
        if first and last:
            raise InvalidValueError(f"`images` {shape} may be NCHW or NHWC: {_SAY_LAYOUT}")
        layout = "NHWC" if last else "NCHW"
    if not (first if layout == "NCHW" else last):
        raise InvalidValueError(
            f"`images` must be [N, C, H, W] or [N, H, W, C] with 1 or 3 channels C but got {shape}"
        )
    return images if layout == "NCHW" else images.transpose(0, 3, 1, 2)


def _checked_labels(labels: NDArray[Any], size: int) -> NDArray[np.int64]:
    if labels.dtype.kind not in "biu" or labels.shape != (size,):
        way_out = ""
        if labels.ndim == 2:  # argmax of a single column is 0 whatever stands in it
            way = "labels[:, 0]" if labels.shape[1] == 1 else "labels.argmax(1)"
            way_out = f": give the class of each image, {way}"
        if labels.shape == (size,):
            way_out = ": convert them, labels.astype(np.int64)"
        raise InvalidValueError(
            f"`labels` must be integers [{size}] but got {labels.dtype} {list(labels.shape)}{way_out}"
        )
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= 2**31:
        worst = lowest if lowest < 0 else highest
        raise InvalidValueError(f"`labels` must be between 0 and 2**31 - 1 but got {worst}")
    return labels.astype(np.int64)


def _checked_classes(labels: NDArray[np.int64] | None, told: int | None) -> int:
    classes = None if told is None else whole("classes", told, "2 or more")
    if labels is None:
        classes = UNLABELLED_CLASSES if classes is None else classes
    else:
        present = np.unique(labels)
        highest = int(present[-1])
        if classes is None and len(present) == 1:
            raise InvalidValueError(
                f"`labels` must name 2 classes or more but all are {highest}: drop them, data=images"
            )
        if classes is None and len(present) <= highest:
            absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
            raise InvalidValueError(
                f"`labels` reach {highest} but none is {absent}: number the classes from 0 without a gap, or "
                f"tell their number: znas_engine.data.arrays.Arrays(images, labels, classes={highest + 1})"
            )
        classes = highest + 1 if classes is None else classes
        if classes <= highest:
            raise InvalidValueError(f"`classes` must be {highest + 1} or more, as labels are, but got {told}")
    if classes < 2:
        raise InvalidValueError(f"`classes` must be 2 or more but got {classes}")
    return classes


def _together(images: NDArray[Any]) -> int:
    """How many of the images [N, C, H, W] are looked at at a time."""
    height, width = (int(side) for side in images.shape[2:])
    return max(1, min(_TOGETHER, _TOGETHER * 32 * 32 // (height * width)))
