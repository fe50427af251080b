"""Seeded drawing of image indices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError

# Keeps this stream apart from the ones that draw weights or interventions from the same user seed.
_STREAM = 0x64617461  # "data" in ASCII


def seed_sequence(seed: int) -> np.random.SeedSequence:
    """The random stream that belongs to the images of `seed` (>= 0)."""
    return np.random.SeedSequence(entropy=seed, spawn_key=(_STREAM,))


def draw_balanced(
    labels: NDArray[np.int64], images: int, *, seed: int, name: str, class_names: Sequence[str]
) -> NDArray[np.int64]:
    """Indices int64 [images] into `labels` (int64 [size], every value in [0, len(class_names))).

    Every class gets `images // classes` indices and `images % classes` of them get one more, drawn by the
    seed among the classes that have it. No index occurs twice; their order is shuffled.

    Raises InvalidValueError, naming `name` and the smallest class, if a class has too few images.
    """
    classes = len(class_names)
    counts = np.bincount(labels, minlength=classes)
    most = int(counts.min()) * classes + int((counts > counts.min()).sum())
    if images > most:
        smallest = int(counts.argmin())
        raise InvalidValueError(
            f"`images` must be at most {most:,} for balanced classes but got {images:,}: "
            f"class {class_names[smallest]} of {name} has only {counts[smallest]:,} images"
        )

    # Sorting raw words, not Generator.permutation: NumPy promises that the former never change.
    words = np.random.PCG64(seed_sequence(seed)).random_raw(classes + 2 * labels.size)
    class_keys, member_keys, order_keys = np.split(words, [classes, classes + labels.size])

    quota = np.full(classes, images // classes)
    has_one_more = np.flatnonzero(counts > quota)
    lucky = has_one_more[np.argsort(class_keys[has_one_more], kind="stable")][: images % classes]
    quota[lucky] += 1

    by_class = np.lexsort((member_keys, labels))  # grouped by class, in random order within each
    first = np.cumsum(counts) - counts
    rank = np.empty(labels.size, dtype=np.int64)
    rank[by_class] = np.arange(labels.size) - first[labels[by_class]]

    chosen = np.flatnonzero(rank < quota[labels])
    return chosen[np.argsort(order_keys[chosen], kind="stable")].astype(np.int64)


def draw_any(size: int, images: int, *, seed: int) -> NDArray[np.int64]:
    """Indices int64 [images] below `size`, shuffled; no one twice, a smaller draw begins a larger one."""
    words = np.random.PCG64(seed_sequence(seed)).random_raw(size)
    return np.argsort(words, kind="stable")[:images].astype(np.int64)
