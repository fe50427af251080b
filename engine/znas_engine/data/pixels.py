"""Arithmetic on pixels, shared by the data sets that read files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def normalise(
    pixels: NDArray[np.uint8] | NDArray[np.float32], *, mean: Sequence[float], std: Sequence[float]
) -> NDArray[np.float32]:
    """(pixels / 255 - mean) / std per channel: [N, C, H, W] in [0, 255] -> float32, C-contiguous, a copy."""
    images: NDArray[np.float32] = pixels.astype(np.float32, order="C")
    images -= np.float32(255.0) * np.asarray(mean, dtype=np.float32).reshape(-1, 1, 1)
    images /= np.float32(255.0) * np.asarray(std, dtype=np.float32).reshape(-1, 1, 1)
    return images


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
