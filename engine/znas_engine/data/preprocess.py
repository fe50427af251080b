"""How a picture becomes what a network reads: the facts that a run folder hands over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from znas_engine.arguments import check_between, number, positive
from znas_engine.data.pixels import luminance
from znas_engine.errors import InvalidValueError, briefly

#: Of what `Preprocess.to_dict` writes; a reader refuses what it does not know.
FORMAT = 1
LAYOUT = "NCHW, float32"
FORMULA = "(pixel - scale * mean) / (scale * std), per channel, in float32"
#: What `channels` may be.
CHANNELS = ("RGB", "grey", "as given")
#: Of a data set of pictures, what is cut out of them.
CENTRE_SQUARE = "the centre square, whose side is the shorter one of the picture"
#: What makes colours grey.
LUMINANCE = "grey = (299 red + 587 green + 114 blue) / 1000, not rounded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """From a picture to float32 [1, C, size, size]: crop, resize, then `FORMULA`.

    size: side of the square images in pixels. channels: RGB, grey (the luminance of RGB) or "as given", their
    order in what was searched with. crop, resize: what is done in that order, in words. scale: the largest
    value of a pixel, 255 where it has 8 bits; mean and std, per channel, are in units of it. classes: their
    names in the order of the logits; None where they are numbers. note: what else is to be known.

    What a data set does not say is None, never a guess.

    Raises:
        InvalidValueError: a field of another type, or outside its domain.
    """

    size: int
    channels: str | None = None
    crop: str | None = None
    resize: str | None = None
    scale: float | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    classes: tuple[str, ...] | None = None
    note: str | None = None

    def __post_init__(self) -> None:
        keep: dict[str, Any] = {"size": check_between("size", self.size, 1, None)}
        for name in ("channels", "crop", "resize", "note"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or not text.isprintable()):
                raise InvalidValueError(f"`{name}` must be a line of text or None but got {briefly(text)}")
        if self.channels is not None and self.channels not in CHANNELS:
            raise InvalidValueError(
                f"`channels` must be one of {', '.join(CHANNELS)} but got {self.channels!r}"
            )
        if self.scale is not None:
            keep["scale"] = positive("scale", self.scale)
        for name, read in (("mean", number), ("std", positive)):
            values = getattr(self, name)
            if values is not None:
                keep[name] = tuple(read(name, value) for value in _several(name, values))
        if self.classes is not None:
            keep["classes"] = names_of_classes(self.classes)
        for name, value in keep.items():
            object.__setattr__(self, name, value)
        known = [value is not None for value in (self.channels, self.scale, self.mean, self.std)]
        if any(known) and not all(known):
            raise InvalidValueError("`channels`, `scale`, `mean` and `std` must be given all or none")
        if self.mean is not None and self.std is not None and len(self.mean) != len(self.std):
            raise InvalidValueError(
                f"`mean` and `std` must have one number per channel but have {len(self.mean)} and "
                f"{len(self.std)}"
            )

    @property
    def known(self) -> bool:
        """Whether it says how pixels become numbers."""
        return self.mean is not None

    def unlike(self, *, size: int, channels: int, classes: int) -> str | None:
        """Why it is not of images and classes of these numbers, in words; None if it may be."""
        for name, found, wanted in (
            ("size", self.size, size),
            ("mean", channels if self.mean is None else len(self.mean), channels),
            ("classes", classes if self.classes is None else len(self.classes), classes),
        ):
            if found != wanted:
                what = "pixels" if name == "size" else "numbers" if name == "mean" else "names"
                return f"`preprocess.{name}` has {found} {what}, not {wanted}"
        return None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the keys are stable."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return {"format": FORMAT, "layout": LAYOUT, "formula": FORMULA} | plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Preprocess:
        """The inverse of `to_dict`.

        Raises:
            InvalidValueError: values that there are not, or another format. TypeError: other fields.
        """
        for name, value in (("format", FORMAT), ("layout", LAYOUT), ("formula", FORMULA)):
            if plain[name] != value:
                raise InvalidValueError(f"`preprocess.{name}` must be {value!r} but is {plain[name]!r}")
        return cls(**{name: plain[name] for name in plain if name not in ("format", "layout", "formula")})


def of_8_bits(
    *,
    size: int,
    channels: int,
    crop: str,
    resize: str,
    mean: Sequence[float],
    std: Sequence[float],
    classes: Sequence[str] | None,
    note: str,
) -> Preprocess:
    """Of pictures in RGB that `pixels.normalise` has normalised; channels: 1 for their luminance, or 3."""
    if channels == 1:
        resize = f"{resize}; then {LUMINANCE}"
        mean, std = (_grey(values) for values in (mean, std))
    return Preprocess(
        size=size,
        channels="grey" if channels == 1 else "RGB",
        crop=crop,
        resize=resize,
        scale=255.0,
        mean=tuple(mean),
        std=tuple(std),
        classes=None if classes is None else tuple(classes),
        note=note,
    )


def readable(name: str) -> str:
    """The name of a folder as text that any file and terminal holds: what no letter is, is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in name
    )


def names_of_classes(names: Sequence[str]) -> tuple[str, ...]:
    """`names`, one line each; InvalidValueError for other things and for a name that is there twice."""
    found = tuple(_several("classes", names))
    for k, name in enumerate(found):
        if not isinstance(name, str) or not name or not name.isprintable():
            raise InvalidValueError(f"`classes` must be names of one line but got {briefly(name)}")
        if name in found[:k]:
            raise InvalidValueError(f"`classes` must differ but {briefly(name)} is there twice")
    return found


def _several(name: str, values: Any) -> Sequence[Any]:
    if isinstance(values, str) or not isinstance(values, Sequence) or not values:
        raise InvalidValueError(f"`{name}` must be several values but got {briefly(values)}")
    return values


def _grey(values: Sequence[float]) -> tuple[float, ...]:
    """The luminance that `normalise` uses, in the fewest digits that are that float32."""
    grey = luminance(np.asarray(values, dtype=np.float32).reshape(-1, 1, 1))
    return (float(str(grey.reshape(-1)[0])),)
