"""Activation codes: which units of a network are active on an image, one bit per unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.errors import DeviceMemoryError


@dataclass(frozen=True, slots=True)
class CodeSite:
    """The activation codes at one value that ReLUs read: which of its entries are positive.

    packed: uint64 [N, ceil(bits / 64)]. modules: how many live ReLU modules read the value, so that
    counting each of them (as hooks on nn.ReLU would) costs one code.
    """

    packed: NDArray[np.uint64]
    bits: int
    modules: int


class Codes(ABC):
    """The codes of N images at all sites, wherever they lie; looking at a site brings them to the host."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of sites."""

    @abstractmethod
    def __iter__(self) -> Iterator[CodeSite]: ...

    @abstractmethod
    def agreements(self) -> NDArray[np.int64]:
        """int64 [N, N], of one site at least: how many units images i and j switch alike, those of every
        live ReLU module counted."""

    @abstractmethod
    def patterns(self) -> int:
        """Of one site at least: how many different patterns units make over the images."""

    @abstractmethod
    def regions(self) -> int:
        """Of one site at least: how many different codes images have."""

    @abstractmethod
    def on_host(self) -> HostCodes:
        """The same in the host's memory."""


class Agreements:
    """Of images in the codes of a site. of_several: codes that several masks have, counted once."""

    def __init__(self, of_several: Iterable[NDArray[np.uint64]] = ()) -> None:
        self._of_several = {id(packed): packed for packed in of_several}
        self._counted: dict[int, NDArray[np.int64]] = {}

    def of(self, site: CodeSite) -> NDArray[np.int64]:
        """int64 [N, N], of one ReLU module."""
        key = id(site.packed)
        found = self._counted.get(key)
        if found is None:
            found = kernels.code_gram(site.packed, site.bits)
            if key in self._of_several:
                self._counted[key] = found
        return found


class HostCodes(Codes):
    """Codes in the host's memory. known: what masks of one call have in common."""

    def __init__(self, sites: Iterable[CodeSite] = (), known: Agreements | None = None) -> None:
        self._sites = tuple(sites)
        self._known = known or Agreements()

    def __len__(self) -> int:
        return len(self._sites)

    def __iter__(self) -> Iterator[CodeSite]:
        return iter(self._sites)

    def on_host(self) -> HostCodes:
        return self

    def agreements(self) -> NDArray[np.int64]:
        images = len(self._sites[0].packed)
        total = np.zeros((images, images), np.int64)
        for site in self._sites:
            total += site.modules * self._known.of(site)
        return total

    def patterns(self) -> int:
        patterns = np.concatenate([unit_patterns(site) for site in self])
        if patterns.dtype != np.uint64:
            return len(np.unique(patterns))
        patterns.sort()  # ten times as fast as np.unique, which hashes
        return 1 + int(np.count_nonzero(patterns[1:] != patterns[:-1]))

    def regions(self) -> int:
        return len(np.unique(np.hstack([site.packed for site in self]), axis=0))


class DeviceCodes(Codes):
    """Codes in a device's memory. They are many times the size of their agreements, which are made there, or
    on the host where the device has no room for them."""

    def __init__(self, bits: Sequence[int], modules: Sequence[int]) -> None:
        self.bits = tuple(bits)
        self.modules = tuple(modules)

    @abstractmethod
    def packed(self) -> Sequence[NDArray[np.uint64]]:
        """`CodeSite.packed` of every site."""

    @abstractmethod
    def agreements_there(self) -> NDArray[np.int64]:
        """`agreements`, or DeviceMemoryError."""

    def __len__(self) -> int:
        return len(self.bits)

    def __iter__(self) -> Iterator[CodeSite]:
        return map(CodeSite, self.packed(), self.bits, self.modules)

    def on_host(self) -> HostCodes:
        return HostCodes(self)

    def agreements(self) -> NDArray[np.int64]:
        try:
            return self.agreements_there()
        except DeviceMemoryError:
            return self.on_host().agreements()

    def patterns(self) -> int:
        return self.on_host().patterns()

    def regions(self) -> int:
        """Images agree with each other in as many units as with themselves, or else they differ."""
        agreements = self.agreements()
        alike = agreements == np.diagonal(agreements)
        return int((alike.argmax(1) == np.arange(len(alike))).sum())


def unit_patterns(site: CodeSite) -> NDArray[Any]:
    """One item per unit of a site: its bits over the images, uint64 for up to 64 images."""
    little = site.packed.astype("<u8", copy=False).view(np.uint8)
    bits = np.unpackbits(little, axis=1, count=site.bits, bitorder="little")
    of_units = np.packbits(np.ascontiguousarray(bits.T), axis=1)
    words = -(-of_units.shape[1] // 8)
    padded = np.zeros((site.bits, 8 * words), np.uint8)
    padded[:, : of_units.shape[1]] = of_units
    return padded.view(np.uint64 if words == 1 else np.dtype((np.void, 8 * words)))[:, 0]


def joined(parts: Sequence[Codes]) -> Codes:
    """The codes of consecutive chunks of images as those of all, which a single chunk is already."""
    if len(parts) == 1:
        return parts[0]
    return HostCodes(
        CodeSite(np.concatenate([site.packed for site in sites]), sites[0].bits, sites[0].modules)
        for sites in zip(*parts, strict=True)
    )
