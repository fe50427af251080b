"""What passes leave in a GPU's memory: the activation codes and the features of all masks of a call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from znas_engine import _core, kernels
from znas_engine.errors import DeviceError, DeviceMemoryError
from znas_engine.scores import ChannelProducts, DeviceCodes, DeviceFeatures, Features

T = TypeVar("T")

#: A pattern of a unit over the images is a word of the GPU's, with a bit for each.
MOST_PATTERN_IMAGES = 64


@contextmanager
def device_errors() -> Iterator[None]:
    """DeviceMemoryError where a GPU's memory is full, DeviceError where the GPU fails otherwise."""
    if not hasattr(_core, "CudaError"):
        yield
        return
    try:
        yield
    except _core.CudaMemoryError as error:
        raise DeviceMemoryError(
            f"the GPU's memory is full ({error}); take a smaller --supernet-channels"
        ) from error
    except _core.CudaError as error:
        raise DeviceError(f"the GPU failed ({error}); nvidia-smi shows its state") from error


class CodesOfBatch:
    """The codes of several masks in the memory of a GPU.

    times: int64 [masks, sites], their live modules. images: N.
    """

    def __init__(self, made: _core.CudaCodes, times: NDArray[np.int64], images: int) -> None:
        self.made = made
        self.times = times
        self.images = images

    @cached_property
    def agreements(self) -> NDArray[np.int64]:
        """[masks, images, images]"""
        return self.made.agreements(self.times.tolist())

    @cached_property
    def patterns(self) -> list[int]:
        """Of every mask."""
        return self.made.patterns(self.times.tolist())


class CudaCodes(DeviceCodes):
    """The codes of one mask of a batch, in the memory of the GPU that made them."""

    def __init__(self, batch: CodesOfBatch, mask: int, sites: Sequence[int], bits: Sequence[int]) -> None:
        super().__init__(bits, batch.times[mask, list(sites)].tolist())
        self.batch = batch
        self.mask = mask
        self.sites = tuple(sites)

    def packed(self) -> Sequence[NDArray[np.uint64]]:
        with device_errors():
            return [self.batch.made.packed(self.mask, site) for site in self.sites]

    def agreements_there(self) -> NDArray[np.int64]:
        with device_errors():
            found: NDArray[np.int64] = self.batch.agreements[self.mask]
            return found

    def patterns(self) -> int:
        if self.batch.images > MOST_PATTERN_IMAGES:
            return super().patterns()
        try:
            with device_errors():
                return self.batch.patterns[self.mask]
        except DeviceMemoryError:
            return super().patterns()


class FeaturesOfBatch:
    """The kept values of several masks in the memory of a GPU: what is made of them is made of all masks at
    once, when the first of them is asked for.

    shapes: of every kept value (C, H, W). images: N. number: of the GPU.
    """

    def __init__(
        self,
        made: _core.CudaFeatures,
        shapes: Sequence[tuple[int, ...]],
        masks: int,
        images: int,
        number: int,
    ) -> None:
        self.made = made
        self.shapes = tuple(shapes)
        self.masks = masks
        self.images = images
        self.number = number
        self._known: dict[Hashable, Any] = {}

    def map(self, site: int) -> NDArray[np.float32]:
        """[masks, N, C, H, W], on the host."""
        found: NDArray[np.float32] = self.once(("map", site), lambda: self.made.map(site))
        return found.reshape(self.masks, self.images, *self.shapes[site])

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """make(), whose result is remembered; `key` names it among all that are made of these features."""
        if key not in self._known:
            with device_errors(), kernels.refusals():
                self._known[key] = make()
        found: T = self._known[key]
        return found


class CudaFeatures(DeviceFeatures):
    """The features of one mask of a batch, in the memory of the GPU that made them.

    sites: which of the kept values they are.
    """

    def __init__(self, batch: FeaturesOfBatch, mask: int, sites: range) -> None:
        self.batch = batch
        self.mask = mask
        self.sites = sites

    def __len__(self) -> int:
        return len(self.sites)

    def part(self, positions: range) -> CudaFeatures:
        return CudaFeatures(
            self.batch, self.mask, self.sites[positions.start : positions.stop : positions.step]
        )

    def map(self, position: int) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.batch.map(self.sites[position])[self.mask]
        return found

    def beside(self, other: Features) -> bool:
        return isinstance(other, CudaFeatures) and self._place == other._place

    def channel_products(self) -> list[ChannelProducts]:
        found = self.batch.once(
            ("channels", self.sites), lambda: self.batch.made.channel_grams([*self.sites])
        )
        return [
            ChannelProducts(means[self.mask], grams[self.mask], self.batch.images * height * width)
            for (means, grams), (_, height, width) in zip(found, self._shapes, strict=True)
        ]

    def image_products(self) -> list[NDArray[np.float64]]:
        found = self.batch.once(("images", self.sites), lambda: self.batch.made.image_grams([*self.sites]))
        return [grams[self.mask] for grams in found]

    def response_products(
        self, nudged: DeviceFeatures
    ) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        (other,) = self._others(nudged)
        found = self.batch.once(
            ("responses", self.sites, other),
            lambda: self.batch.made.response_grams(other.made, [*self.sites]),
        )
        return [(energy[self.mask], cross[self.mask]) for energy, cross in found]

    def answer_products(
        self, nudged: DeviceFeatures, middle: DeviceFeatures, moved: DeviceFeatures
    ) -> list[NDArray[np.float64]]:
        b, c, d = self._others(nudged, middle, moved)
        found = self.batch.once(
            ("answers", self.sites, b, c, d),
            lambda: self.batch.made.answer_products(b.made, c.made, d.made, [*self.sites]),
        )
        return [products[self.mask] for products in found]

    @property
    def _place(self) -> tuple[Any, ...]:
        batch = self.batch
        return batch.number, batch.masks, self.mask, batch.images, self.sites, self._shapes

    @property
    def _shapes(self) -> tuple[tuple[int, ...], ...]:
        return tuple(self.batch.shapes[site] for site in self.sites)

    def _others(self, *features: DeviceFeatures) -> tuple[FeaturesOfBatch, ...]:
        """The batches of features that lie beside these."""
        assert all(map(self.beside, features))
        return tuple(other.batch for other in features if isinstance(other, CudaFeatures))
