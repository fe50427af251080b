"""Half-precision numbers in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nearest(value: NDArray[np.float32], dtype: str) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """float32 -> as float16 or bfloat16 stores it (bits, uint16, of the latter) and what that is, float32;
    rounded to nearest, ties to even, inf where it overflows."""
    with np.errstate(over="ignore"):
        if dtype != "bfloat16":
            stored: NDArray[Any] = value.astype(dtype)
            return stored, stored.astype(np.float32)
        word = value.view(np.uint32)  # numpy has none: the upper half of a float32
        stored = ((word + np.uint32(0x7FFF) + (word >> 16 & 1)) >> 16).astype(np.uint16)
        return stored, (stored.astype(np.uint32) << 16).view(np.float32)
