"""Digests of what data hold: the same wherever they lie and however they were stored."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def digest(images: NDArray[np.generic], labels: NDArray[np.int64] | None) -> str:
    """SHA-256 in hex that tells images [N, ...] with their labels from others, and from another order."""
    found = hashlib.sha256(f"{images.dtype.name}{list(images.shape)};{labels is not None}".encode())
    little = images.dtype.newbyteorder("<")
    together = max(1, _TOGETHER // max(1, images[0].size))
    for first in range(0, len(images), together):
        chunk = np.ascontiguousarray(images[first : first + together], dtype=little)
        found.update(chunk.reshape(-1).data)
    if labels is not None:
        found.update(labels.astype("<i8").data)
    return found.hexdigest()


#: Numbers that are copied at a time.
_TOGETHER = 1 << 20
