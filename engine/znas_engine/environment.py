"""One draw of the latent factor Z: a weight seed, an initialisation family and an input batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import check_between, instance
from znas_engine.data import Batch, Dataset
from znas_engine.graph import Conv, Linear
from znas_engine.supernet.initialisation import check_init, draw_weight

#: Bytes of images of the environments that are not drawn again.
STAYING = 2**27


def derive_seed(seed: int, *path: object) -> int:
    """A 64-bit seed for one named purpose; independent streams for different paths, on every platform."""
    text = "/".join(map(str, (seed, *path)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


@dataclass(frozen=True, slots=True)
class Environment:
    """`seed` already contains the environment's number; `init` is a key of FAMILIES."""

    seed: int
    init: str
    batch: Batch

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_between("seed", self.seed, 0, 2**64 - 1))
        self.check_init()
        instance("batch", self.batch, Batch)

    def check_init(self) -> None:
        """Raises InvalidValueError where no weights can be drawn by `init`."""
        check_init(self.init)

    def weight(self, node: Conv | Linear) -> NDArray[np.float32]:
        """The node's weight, float32 in `node.weight_shape`; a function of (seed, init, node.name) alone,
        so a pruned graph has the weights of the whole one."""
        return draw_weight(self.init, node.weight_shape, node.fan_in, seed=derive_seed(self.seed, node.name))


class _Drawn:
    """Environments of one job by number: drawn once while they fit into STAYING bytes, else each time."""

    def __init__(self, draw: Callable[[int], Environment]) -> None:
        self._draw = draw
        self._staying: dict[int, Environment] = {}
        self._room = STAYING

    def __getitem__(self, number: int) -> Environment:
        if number in self._staying:
            return self._staying[number]
        drawn = self._draw(number)
        size = drawn.batch.images.nbytes
        if size <= self._room or not self._staying:
            self._staying[number] = drawn
            self._room -= size
        return drawn


class Environments(Sequence[Environment]):
    """Environments that are drawn when they are asked for; the k-th is the same whenever that is.

    The first ones stay, as many as fit into STAYING bytes (the very first always), for these and all slices
    of them: a search measures in all of them several times, and an evaluator knows again what it prepared for
    one. The others are drawn each time, so that any number takes bounded memory.
    """

    def __init__(self, draw: Callable[[int], Environment] | _Drawn, numbers: range) -> None:
        self._drawn = draw if isinstance(draw, _Drawn) else _Drawn(draw)
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, k: int) -> Environment: ...

    @overload
    def __getitem__(self, k: slice) -> Environments: ...

    def __getitem__(self, k: int | slice) -> Environment | Environments:
        if isinstance(k, slice):
            return Environments(self._drawn, self._numbers[k])
        return self._drawn[self._numbers[k]]


def draw_environments(
    dataset: Dataset, *, count: int, images: int, init: str, seed: int
) -> Sequence[Environment]:
    """`count` independent environments; the k-th is the same whatever `count` is.

    Only the first is drawn at once, to see that such images are there: see `Environments`.
    """
    count = check_between("envs", count, 1, None)
    seed = check_between("seed", seed, 0, None)
    instance("dataset", dataset, Dataset, ": znas_engine.data.load makes them")

    def draw(k: int) -> Environment:
        return Environment(
            seed=derive_seed(seed, k, "weights"),
            init=init,
            batch=dataset.batch(images, seed=derive_seed(seed, k, "images")),
        )

    found = Environments(draw, range(count))
    _ = found[0]
    return found
