"""One draw of the latent factor Z: a weight seed, an initialisation family and an input batch."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas_engine.data import Batch, Dataset
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Linear
from znas_engine.supernet.initialisation import draw_weight


def derive_seed(seed: int, *path: object) -> int:
    """A 64-bit seed for one named purpose; independent streams for different paths, on every platform."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class Environment:
    """`seed` already contains the environment's number; `init` is a key of INITIALISATIONS."""

    seed: int
    init: str
    batch: Batch

    def weight(self, node: Conv | Linear) -> NDArray[np.float32]:
        """The node's weight, float32 in `node.weight_shape`; a function of (seed, init, node.name) alone,
        so a pruned graph has the weights of the whole one."""
        return draw_weight(self.init, node.weight_shape, node.fan_in, seed=derive_seed(self.seed, node.name))


def draw_environments(
    dataset: Dataset, *, count: int, images: int, init: str, seed: int
) -> Sequence[Environment]:
    """`count` independent environments; the k-th is the same whatever `count` is."""
    if count < 1:
        raise InvalidValueError(f"`envs` must be at least 1 but got {count}")
    return [
        Environment(
            seed=derive_seed(seed, k, "weights"),
            init=init,
            batch=dataset.batch(images, seed=derive_seed(seed, k, "images")),
        )
        for k in range(count)
    ]
