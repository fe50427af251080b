"""Arithmetic on pixels, shared by the data sets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Per mille of red, green and blue in a grey pixel: ITU-R BT.601, which is also Pillow's mode "L".
_LUMINANCE = (299, 587, 114)


def normalise(
    pixels: NDArray[np.uint8] | NDArray[np.float32],
    *,
    mean: Sequence[float],
    std: Sequence[float],
    channels: int = 3,
) -> NDArray[np.float32]:
    """(pixels / 255 - mean) / std per channel: [N, 3, H, W] in [0, 255] -> float32, C-contiguous, a copy.

    channels: 1 makes them grey, [N, 1, H, W]: the luminance of pixels and mean, and of std too, which is
    right where the three channels vary together, as those of photographs nearly do.
    """
    shift, scale = (np.asarray(values, dtype=np.float32).reshape(-1, 1, 1) for values in (mean, std))
    images: NDArray[np.float32] = pixels.astype(np.float32, order="C")
    if channels == 1:
        images, shift, scale = luminance(images), luminance(shift), luminance(scale)
    images -= np.float32(255.0) * shift
    images /= np.float32(255.0) * scale
    return images


def luminance(pixels: NDArray[Any]) -> NDArray[Any]:
    """0.299 red + 0.587 green + 0.114 blue: floats [..., 3, H, W] -> [..., 1, H, W], not rounded to 8 bits.

    Of a grey picture in whole numbers up to 255 it gives exactly the one value that the channels have.
    """
    weights = np.asarray(_LUMINANCE, dtype=pixels.dtype).reshape(3, 1, 1)
    grey: NDArray[Any] = (pixels * weights).sum(axis=-3, keepdims=True) / pixels.dtype.type(1000)
    return grey


def box_reduce(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.float32]:
    """Mean over factor x factor boxes: uint8 [N, C, H, W] -> float32 [N, C, H / factor, W / factor].

    Exact for a factor that is a power of two up to 32: the sums are integers below 2**24. Nothing is
    rounded back to 8 bits.
    """
    n, channels, height, width = pixels.shape
    boxes = pixels.reshape(n, channels, height // factor, factor, width // factor, factor)
    images: NDArray[np.float32] = boxes.sum(axis=(3, 5), dtype=np.uint32).astype(np.float32)
    images /= np.float32(factor * factor)
    return images


def centre_square(pixels: NDArray[Any]) -> NDArray[Any]:
    """The middle of [..., H, W], its whole shorter side wide and high; a view."""
    height, width = pixels.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[..., top : top + side, left : left + side]


def resize(squares: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """[..., S, S] -> [..., side, side] by an antialiased bilinear filter, that of Pillow, unrounded."""
    if squares.shape[-1] == side:
        return squares
    weights = _triangles(squares.shape[-1], side)
    resized: NDArray[np.float64] = weights @ squares @ weights.T
    return resized


def _triangles(size: int, side: int) -> NDArray[np.float64]:
    """[side, size]: every new pixel's share of every old one, falling linearly from the new one's centre."""
    scale = size / side
    centres = (np.arange(side) + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centres[:, None]) / max(scale, 1.0)
    shares = np.maximum(0.0, 1.0 - distance)
    weights: NDArray[np.float64] = shares / shares.sum(axis=1, keepdims=True)
    return weights
