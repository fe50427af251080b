"""Features: the outputs of the stem and of all cells, and what scores make of them, wherever they lie."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from znas_engine import grams
from znas_engine.errors import DeviceMemoryError

Map = NDArray[np.float32]
Sums = NDArray[np.float64]
T = TypeVar("T")

#: Of one mask, per position of `Graph.cells` float32 [N, C, H, W]; or of some of these.
Features = Sequence[Map]


class ChannelProducts(NamedTuple):
    """As `grams.channel_gram` gives them. samples: N * H * W."""

    mean: Sums
    gram: Sums
    samples: int


class DeviceFeatures(Sequence[Map]):
    """Features in a device's memory. They are many times the size of the sums below, which are made there, or
    on the host where the device has no room for them; looking at one brings it to the host."""

    @abstractmethod
    def part(self, positions: range) -> DeviceFeatures:
        """Some of them."""

    @abstractmethod
    def map(self, position: int) -> Map:
        """One of them. position: from 0 on."""

    @abstractmethod
    def channel_products(self) -> list[ChannelProducts]:
        """Here and below what the functions of these names give, or DeviceMemoryError."""

    @abstractmethod
    def image_products(self) -> list[Sums]: ...

    @abstractmethod
    def response_products(self, nudged: DeviceFeatures) -> list[tuple[Sums, Sums]]: ...

    @abstractmethod
    def answer_products(
        self, nudged: DeviceFeatures, middle: DeviceFeatures, moved: DeviceFeatures
    ) -> list[Sums]: ...

    @abstractmethod
    def beside(self, other: Features) -> bool:
        """Whether others lie beside these, so that products of both can be made there."""

    @overload
    def __getitem__(self, index: int) -> Map: ...
    @overload
    def __getitem__(self, index: slice) -> DeviceFeatures: ...
    def __getitem__(self, index: int | slice) -> Map | DeviceFeatures:
        chosen = range(len(self))[index]
        return self.map(chosen) if isinstance(chosen, int) else self.part(chosen)


def channel_products(features: Features) -> list[ChannelProducts]:
    """How the channels of every one of the features vary together, over all images and pixels."""

    def here() -> list[ChannelProducts]:
        return [ChannelProducts(*grams.channel_gram(x), x.size // x.shape[1]) for x in features]

    return _there_or(here, lambda one: one.channel_products(), features)


def image_products(features: Features) -> list[Sums]:
    """Of every one of the features float64 [N, N]: `grams.image_gram`."""

    def here() -> list[Sums]:
        return [grams.image_gram(x) for x in features]

    return _there_or(here, lambda one: one.image_products(), features)


def response_products(still: Features, nudged: Features) -> list[tuple[Sums, Sums]]:
    """Of every one of the features but the first: `grams.response_grams`."""

    def here() -> list[tuple[Sums, Sums]]:
        return grams.response_grams(list(still), list(nudged))

    return _there_or(here, lambda one, other: one.response_products(other), still, nudged)


def answer_products(start: Features, nudged: Features, middle: Features, moved: Features) -> list[Sums]:
    """Of every one of the features float64 [N, 3], for every image: with a = nudged - start and
    b = moved - middle the products a . a, b . b and a . b over all units."""

    def here() -> list[Sums]:
        return [_answers(b - a, d - c) for a, b, c, d in zip(start, nudged, middle, moved, strict=True)]

    return _there_or(
        here, lambda first, *others: first.answer_products(*others), start, nudged, middle, moved
    )


def _there_or(here: Callable[[], T], there: Callable[..., T], *all_of: Features) -> T:
    """there(*all_of) where all of them are in the memory of one device that has room for it, or here()."""
    first = all_of[0]
    if isinstance(first, DeviceFeatures) and all(map(first.beside, all_of)):
        try:
            return there(*all_of)
        except DeviceMemoryError:
            pass
    return here()


def joined(parts: Sequence[Features]) -> Features:
    """The features of consecutive chunks of images as those of all, which a single chunk is already."""
    if len(parts) == 1:
        return parts[0]
    return tuple(np.concatenate(maps) for maps in zip(*parts, strict=True))


def _answers(a: Map, b: Map) -> Sums:
    first, second = (x.reshape(len(x), -1).astype(np.float64) for x in (a, b))
    return np.stack([(first * first).sum(1), (second * second).sum(1), (first * second).sum(1)], 1)
