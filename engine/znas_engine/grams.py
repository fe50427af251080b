"""Sums of products of features: how channels, images and cells vary together.

Three operations with the four faces of `znas_engine.kernels` (`isa=`), on the caller's thread. They sum
floats, so faces agree to rounding: the product of two rows to within 1e-5 of the product of their lengths.
Arrays that are C-contiguous are read where they lie.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError
from znas_engine.kernels import borrow, chosen_isa, compiled, refusals, require_axes

if compiled():
    import znas_engine._core as _core

Floats = NDArray[np.float32]
Sums = NDArray[np.float64]

AXES = ("images", "channels", "height", "width")


def channel_gram(x: Floats, *, isa: str = "auto") -> tuple[Sums, Sums]:
    """The mean of every channel, and the products of every two over all images and pixels.

    Args:
        x: float32 [images, channels, height, width], not empty.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        mean float64 [channels], and gram float64 [channels, channels]:
        ``gram[c, d] = sum((x[n, c, p] - mean[c]) * (x[n, d, p] - mean[d]) for n for p)``.

    Raises:
        InvalidValueError: for anything that is not as described above; so do the others.
    """
    chosen = chosen_isa(isa)
    if chosen == "numpy":
        return _channel_gram(x)
    with refusals():
        return _core.channel_gram(np.ascontiguousarray(x), chosen)


def image_gram(x: Floats, *, isa: str = "auto") -> Sums:
    """The products of every two images over all units.

    Args:
        x: float32 [images, ...], not empty; the trailing axes hold the units.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        float64 [images, images], with ``y[n] = x[n] - x[n].mean()``: ``gram[n, m] = (y[n] * y[m]).sum()``.
    """
    chosen = chosen_isa(isa)
    if chosen == "numpy":
        return _image_gram(x)
    with refusals():
        return _core.image_gram(np.ascontiguousarray(x), chosen)


def response_grams(
    still: Sequence[Floats], nudged: Sequence[Floats], *, isa: str = "auto"
) -> list[tuple[Sums, Sums]]:
    """What regressions of every cell's answer to a nudge on the answer of the cell before read.

    Args:
        still, nudged: features of the same images before and after, float32 [images, channels, height, width]
            each, not empty. Height and width are those of the features before over one whole number.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        of every features but the first (energy, cross), float64 [channels before, channels before] and
        [channels before, channels]: with ``after = nudged - still`` and ``before`` the same of the features
        before, averaged over the pixels that become one, the sums over images and pixels of
        ``outer(before, before)`` and ``outer(before, after)``.
    """
    chosen = chosen_isa(isa)
    if chosen == "numpy":
        return _response_grams(still, nudged)
    with refusals():
        return _core.response_grams(
            [*map(np.ascontiguousarray, still)], [*map(np.ascontiguousarray, nudged)], chosen
        )


# --- the same in NumPy: refusals are worded as in csrc/bindings, and the tests hold the two together ---


def _channel_gram(x: Floats) -> tuple[Sums, Sums]:
    maps = _features("x", x)
    require_axes("x", maps, *AXES)
    _require_some("x", maps)
    pixels = maps.reshape(*maps.shape[:2], -1)
    mean = pixels.mean((0, 2), dtype=np.float64)
    centred = pixels - mean[:, None].astype(np.float32)
    return mean, np.matmul(centred, centred.transpose(0, 2, 1)).sum(0, dtype=np.float64)


def _image_gram(x: Floats) -> Sums:
    units = _features("x", x)
    if units.ndim == 0:
        raise InvalidValueError("`x` must have shape [images, ...] but got []")
    _require_some("x", units)
    rows = units.reshape(len(units), -1).astype(np.float64)
    rows -= rows.mean(1, keepdims=True)
    return rows @ rows.T


def _response_grams(still: Sequence[Floats], nudged: Sequence[Floats]) -> list[tuple[Sums, Sums]]:
    if len(still) != len(nudged):
        raise InvalidValueError(
            f"`nudged` must have {len(still)} features, like `still`, but has {len(nudged)}"
        )
    answers: list[Floats] = []
    for k, pair in enumerate(zip(still, nudged, strict=True)):
        a, b = (_features(f"{name}[{k}]", x) for name, x in zip(("still", "nudged"), pair, strict=True))
        require_axes(f"still[{k}]", a, *AXES)
        _require_some(f"still[{k}]", a)
        if a.shape != b.shape:
            raise InvalidValueError(f"`nudged[{k}]` must have shape {list(a.shape)} but got {list(b.shape)}")
        answers.append(b - a)
        if k and not _fit(answers[k - 1], a):
            raise InvalidValueError(
                f"`still[{k}]` must have {len(answers[0])} images and pixels that those before are a whole "
                f"multiple of but has shape {list(a.shape)}"
            )
    return [_regression(_averaged(before, after), after) for before, after in pairwise(answers)]


def _fit(before: Floats, after: Floats) -> bool:
    height, width = after.shape[2:]
    factor = before.shape[2] // height
    return len(before) == len(after) and before.shape[2:] == (factor * height, factor * width)


def _averaged(before: Floats, after: Floats) -> Floats:
    """`before` at the resolution of `after`."""
    n, channels, height, width = *before.shape[:2], *after.shape[2:]
    factor = before.shape[2] // height
    if factor == 1:
        return before
    found: Floats = before.reshape(n, channels, height, factor, width, factor).mean((3, 5))
    return found


def _regression(before: Floats, after: Floats) -> tuple[Sums, Sums]:
    x, y = (d.transpose(0, 2, 3, 1).reshape(-1, d.shape[1]) for d in (before, after))
    return (x.T @ x).astype(np.float64), (x.T @ y).astype(np.float64)


def _features(name: str, x: Floats) -> Floats:
    return borrow(name, np.ascontiguousarray(x), "float32")


def _require_some(name: str, x: Floats) -> None:
    if x.size == 0:
        raise InvalidValueError(f"`{name}` must not be empty but has shape {list(x.shape)}")
