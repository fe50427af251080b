"""The native executor on a GPU: one program for all masks, many masks per launch."""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import suppress
from threading import Lock, Thread
from typing import Any

import numpy as np

from znas_engine import _core, kernels
from znas_engine.backends.native_cuda_stored import (
    CodesOfBatch,
    CudaCodes,
    CudaFeatures,
    FeaturesOfBatch,
    device_errors,
)
from znas_engine.backends.native_lowering import Lowering
from znas_engine.backends.native_maps import Maps, variances
from znas_engine.backends.passes import Images, Labels
from znas_engine.devices import number_of
from znas_engine.errors import DeviceError
from znas_engine.gpu import before_cuda
from znas_engine.graph import Graph
from znas_engine.scores import NO_LOGITS, HostCodes, Observation
from znas_engine.spaces import Mask

#: Chunks of images that are kept on a GPU: masks follow one another.
SHOWN = 16
#: Masks that a call takes at most, and masks times images where activation codes or features stay on the GPU:
#: codes are 320 kB an image on DARTS, features 1 MB.
TOGETHER, CODED, FEATURED = 64, 2048, 512
#: Masks of a call at least, however many threads wait for some: on an H100 eight threads that took one each
#: were a fifth slower than with four each (bench/results/nvidia-h100-80gb-hbm3/125e4c3-passes.txt).
FEWEST = 4


def masks_together(reads: frozenset[str], images: int) -> int:
    """Masks that a call takes."""
    units = FEATURED if reads & {"features", "unpooled"} else CODED if "codes" in reads else TOGETHER * images
    return max(1, min(TOGETHER, units // max(images, 1)))


def make_ready(device: str) -> None:
    """Makes a GPU ready in a thread of its own. Where that fails the first use says so."""

    def begin() -> None:
        with suppress(DeviceError), device_errors():
            _core.cuda_make_ready(number_of(device))

    before_cuda()
    Thread(target=begin, name="znas-gpu").start()


def network(program: _core.Program, maps: Maps, device: str) -> _core.CudaNetwork:
    """A program whose target is "cuda" in a GPU's memory: all passes that hand out these maps may have it."""
    with device_errors():
        return _core.cuda_network(program, maps.sites, number_of(device))


class CudaPass:
    """A `BatchedPass` and `CountingPass` on one GPU.

    network: of `lowering`, with these maps, on the GPU of that number. reads: members of READS.
    """

    def __init__(
        self,
        graph: Graph,
        lowering: Lowering,
        maps: Maps,
        network: _core.CudaNetwork,
        reads: frozenset[str],
        number: int,
    ) -> None:
        self.graph = graph
        self.reads = reads
        self.norms = lowering.norms
        self.sites = lowering.sites
        self.lowering = lowering
        self.number = number
        self.maps = maps
        self.network = network
        self.site_count = 1 + max([*lowering.sites.values(), *lowering.features, lowering.unpooled])
        #: (address, images) -> the images there, and here, so that the address stays theirs.
        self.shown: OrderedDict[tuple[int, int], tuple[_core.CudaImages, Images]] = OrderedDict()
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        return self.batch(mask[None], images)[0]

    def batch(self, masks: Mask, images: Images) -> list[Observation]:
        return self._seen(masks, images, None)

    def count(self, masks: Mask, images: Images, labels: Labels) -> list[Observation]:
        return self._seen(masks, images, labels)

    def _seen(self, masks: Mask, images: Images, labels: Labels | None) -> list[Observation]:
        with device_errors(), kernels.refusals():
            made = self.network.run(
                self._show(images),
                masks.reshape(len(masks), -1),
                codes="codes" in self.reads,
                labels=labels,
            )
        codes = (
            [HostCodes()] * len(masks) if made.codes is None else self._codes(masks, made.codes, len(images))
        )
        kept = [self.graph.nodes[position].shape for position in self.maps.positions]
        stored = None
        if made.features is not None:
            stored = FeaturesOfBatch(made.features, kept, len(masks), len(images), self.number)
        return [
            Observation(
                NO_LOGITS if made.logits is None else made.logits[g],
                codes=codes[g],
                pooled=made.pooled[g] if "pooled" in self.reads else None,
                variances=variances(self.graph, self.lowering, masks[g], made.variances[g])
                if "variances" in self.reads
                else (),
                **self._maps(stored, g),
                correct=made.counted[g].correct if made.counted else None,
                finite=not made.counted or made.counted[g].finite,
            )
            for g in range(len(masks))
        ]

    def _maps(self, stored: FeaturesOfBatch | None, g: int) -> dict[str, Any]:
        """Whole values under one mask, as `Observation` has them."""
        if stored is None:
            return {}
        features = CudaFeatures(stored, g, range(self.maps.features)) if self.maps.features else ()
        last = None if self.maps.unpooled is None else self.maps.rectify(stored.map(self.maps.unpooled)[g])
        return {"features": features, "unpooled": last}

    def statistics(self, mask: Mask, images: Images) -> tuple[list[list[float]], list[list[float]]]:
        """Mean and variance of every value with moments, under one mask; a program under batch norm."""
        with device_errors():
            made = self.network.run(self._show(images), mask.reshape(1, -1), codes=False)
        return made.means[0], made.variances[0]

    def _show(self, images: Images) -> _core.CudaImages:
        """Images are copied once for all masks: they must not change."""
        key = (images.ctypes.data, len(images))
        with self.lock:
            if key not in self.shown:
                self.shown[key] = (self.network.upload(images), images)
                while len(self.shown) > SHOWN:
                    self.shown.popitem(last=False)
            self.shown.move_to_end(key)
            return self.shown[key][0]

    def _codes(self, masks: Mask, made: _core.CudaCodes, images: int) -> list[HostCodes | CudaCodes]:
        """Of every mask, the codes of the sites that a live ReLU module reads."""
        values, counts = self.graph.modules(masks)
        sites = np.array([self.sites[value] for value in values], np.int64)
        bits = np.array([math.prod(self.graph.nodes[value].shape) for value in values], np.int64)
        times = np.zeros((len(masks), self.site_count), np.int64)
        times[:, sites] = counts.T
        batch = CodesOfBatch(made, times, images)
        found: list[HostCodes | CudaCodes] = []
        for g, modules in enumerate(counts.T):
            live = modules > 0
            codes = CudaCodes(batch, g, sites[live].tolist(), bits[live].tolist())
            found.append(codes if live.any() else HostCodes())
        return found
