"""Map-style PyTorch data sets, by what they can do: torch itself is not imported."""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.data import torchvision_sets
from znas_engine.data.arrays import Arrays, as_array
from znas_engine.data.pictures import MODES
from znas_engine.errors import DataError, InvalidValueError, briefly

#: Seconds of reading after which somebody who waits is told.
_PATIENCE = 1.0


class MapStyle(Arrays):
    """What `read` has read of `data`."""

    def __init__(self, data: Any, images: NDArray[Any], labels: NDArray[Any] | None, **options: Any) -> None:
        names = torchvision_sets.class_names(data, 0 if labels is None else int(labels.max()) + 1)
        super().__init__(images, labels, name=type(data).__name__, class_names=names, **options)
        self._data = data

    def held_out(self) -> Arrays | None:
        """The test part of a set of torchvision of which this is the part to train on, shown in the same way;
        None where it is no such set, or its test part does not lie beside it. Raises like `read`."""
        other = torchvision_sets.test_part(self._data)
        return None if other is None else read(other, like=self)


def read(
    data: Any,
    *,
    resolution: int | None = None,
    channels_in: int | None = None,
    report: Callable[[str], None] = lambda line: None,
    like: Arrays | None = None,
) -> Arrays:
    """Read every picture of `data` once, in order, and keep them all in memory.

    data: has `len(data)`, and `data[i]` is `(image, label)`, `(image,)` or an image, one and the same way
        for all. An image is a tensor or array [H, W], [C, H, W] or [H, W, C], uint8 or float32, or a Pillow
        picture of up to 8 bits per channel (grey, or made RGB). All have one size, number of channels and
        dtype. A label is a whole number. `classes`, an attribute of torchvision's sets, are their names.
    resolution, channels_in, like: see `Arrays`.
    report: is told how long reading takes, where it takes longer than a second.

    What is random in `data` (augmentation) is drawn once, here; `origin` then differs between processes.
    A set too large for the memory is better served by a `Dataset` of its own.

    Raises:
        InvalidValueError: no map-style data set, or images or labels that `Arrays` refuses.
        DataError: an item that cannot be read, or is unlike the first; the message has its number.
    """
    name = type(data).__name__
    size = _length(data, name)
    pixels: NDArray[Any] | None = None
    labels: list[int] = []
    layout = "auto"
    began, told = time.perf_counter(), False
    for number in range(size):
        here = f"item {number} of {name}"
        picture, label = _item(data, number, here)
        image, kind = _image(picture, here)
        if pixels is None:
            pixels, layout = _room(size, image, name), kind
        if (image.shape, image.dtype, kind) != (pixels.shape[1:], pixels.dtype, layout):
            raise DataError(
                f"{here} is {image.dtype} {list(image.shape)} but the first {pixels.dtype} "
                f"{list(pixels.shape[1:])}: give all one size and kind, for instance in its transform"
            )
        pixels[number] = image
        if label is not None:
            labels.append(label)
        if len(labels) not in (0, number + 1):
            raise DataError(f"{here} has {'no' if label is None else 'a'} label, unlike those before it")
        spent = time.perf_counter() - began
        if spent > _PATIENCE and not told:
            report(f"reading {size:,} items of {name}, about {spent / (number + 1) * size:.0f} seconds")
            told = True
    assert pixels is not None  # size is above zero
    pixels.flags.writeable = False  # nobody else has it: it need not be copied
    shown = {"layout": layout, "resolution": resolution, "channels_in": channels_in, "like": like}
    return MapStyle(data, pixels, np.array(labels) if labels else None, **shown)


def _room(size: int, image: NDArray[Any], name: str) -> NDArray[Any]:
    try:
        return np.empty((size, *image.shape), image.dtype)
    except (MemoryError, ValueError) as error:  # the latter for more than can be addressed
        raise InvalidValueError(
            f"the {size:,} images of {name} do not fit into memory: give fewer, or a Dataset of your own"
        ) from error


def _length(data: Any, name: str) -> int:
    try:
        size = len(data)
    except Exception as error:  # whatever their code raises
        raise InvalidValueError(
            f"{name} has no length: only map-style data sets (`__len__` and `__getitem__`) can be drawn from"
        ) from error
    if size == 0:
        raise InvalidValueError(f"{name} is empty: give it at least one image")
    return size


def _item(data: Any, number: int, here: str) -> tuple[Any, int | None]:
    """The picture and its label, if it has one."""
    try:
        item = data[number]
    except Exception as error:  # whatever their code raises
        first_line = str(error).partition("\n")[0]
        raise DataError(f"{here} cannot be read ({type(error).__name__}: {first_line})") from error
    if not isinstance(item, tuple | list):
        return item, None
    if len(item) not in (1, 2):
        raise DataError(f"{here} has {len(item)} parts: return (image, label), or an image")
    if len(item) == 1:
        return item[0], None
    try:
        return item[0], operator.index(item[1])
    except (TypeError, RuntimeError):
        label = item[1]
        shown = (
            f"{type(label).__name__} {list(label.shape)}" if hasattr(label, "shape") else briefly(label)[:40]
        )
        raise DataError(f"the label of {here} must be a whole number but is {shown}") from None


def _image(picture: Any, here: str) -> tuple[NDArray[Any], str]:
    """An image of three axes, and the layout that such images have together."""
    if hasattr(picture, "convert") and hasattr(picture, "mode"):  # Pillow's
        if picture.mode not in MODES:
            raise DataError(f"{here} has pixels of mode {picture.mode}: give it 8 bits per channel")
        grey = picture.mode in ("1", "L", "LA")
        pixels = np.asarray(picture.convert("L" if grey else "RGB"))
        return (pixels[..., None] if grey else pixels), "NHWC"
    if not hasattr(picture, "__array__"):
        raise DataError(
            f"{here} is {type(picture).__name__}: return (image, label) or an image, which is a tensor, an "
            "array or a Pillow picture"
        )
    tensor = hasattr(picture, "detach")
    image = as_array(picture, here)
    if image.ndim == 2:
        return image[None], "NCHW"
    if image.ndim == 4:
        raise DataError(f"{here} is {list(image.shape)}: give arrays as one array or a pair (images, labels)")
    if image.ndim != 3:
        raise DataError(f"{here} must be [H, W], [C, H, W] or [H, W, C] but is {list(image.shape)}")
    return image, "NCHW" if tensor and image.shape[0] in (1, 3) else "auto"
