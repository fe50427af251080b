"""The native executor on a GPU: one program for all masks, many masks per launch."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import Lock, Thread

import numpy as np
from numpy.typing import NDArray

from znas_engine import _core, kernels
from znas_engine.backends.native_lowering import Lowering
from znas_engine.backends.native_maps import Maps, variances
from znas_engine.backends.passes import Images, Labels
from znas_engine.devices import number_of
from znas_engine.errors import DeviceError, DeviceMemoryError
from znas_engine.gpu import before_cuda
from znas_engine.graph import Graph
from znas_engine.scores import NO_LOGITS, DeviceCodes, HostCodes, Observation
from znas_engine.spaces import Mask

#: Chunks of images that are kept on a GPU: masks follow one another.
SHOWN = 16
#: Masks that a call takes at most, and masks times images where activation codes or features come back: codes
#: are 320 kB an image on DARTS, features 1 MB.
TOGETHER, CODED, FEATURED = 64, 2048, 256


def masks_together(reads: frozenset[str], images: int) -> int:
    """Masks that a call takes."""
    units = FEATURED if reads & {"features", "unpooled"} else CODED if "codes" in reads else TOGETHER * images
    return max(1, min(TOGETHER, units // max(images, 1)))


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


def make_ready(device: str) -> None:
    """Makes a GPU ready in a thread of its own. Where that fails the first use says so."""

    def begin() -> None:
        with suppress(DeviceError), device_errors():
            _core.cuda_make_ready(number_of(device))

    before_cuda()
    Thread(target=begin, name="znas-gpu").start()


class CudaPass:
    """A `BatchedPass` and `CountingPass` on one GPU.

    lowering, program: of a supernet whose target is "cuda". reads: members of READS.
    """

    def __init__(
        self,
        graph: Graph,
        lowering: Lowering,
        program: _core.Program,
        reads: frozenset[str],
        number: int,
    ) -> None:
        self.graph = graph
        self.reads = reads
        self.norms = lowering.norms
        self.sites = lowering.sites
        self.lowering = lowering
        self.maps = Maps.of(graph, lowering, reads)
        self.site_count = 1 + max([*lowering.sites.values(), *lowering.features, lowering.unpooled])
        #: (address, images) -> the images there, and here, so that the address stays theirs.
        self.shown: OrderedDict[tuple[int, int], tuple[_core.CudaImages, Images]] = OrderedDict()
        self.lock = Lock()
        with device_errors():
            self.network = _core.cuda_network(program, self.maps.sites, number)

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
        codes = [HostCodes()] * len(masks) if made.codes is None else self._codes(masks, made.codes)
        maps = [
            found.reshape(len(masks), len(images), *self.graph.nodes[position].shape)
            for position, found in zip(self.maps.positions, made.features, strict=True)
        ]
        return [
            Observation(
                NO_LOGITS if made.logits is None else made.logits[g],
                codes=codes[g],
                pooled=made.pooled[g] if "pooled" in self.reads else None,
                variances=variances(self.graph, self.lowering, masks[g], made.variances[g])
                if "variances" in self.reads
                else (),
                **self.maps.named([found[g] for found in maps]),
                correct=made.counted[g].correct if made.counted else None,
                finite=not made.counted or made.counted[g].finite,
            )
            for g in range(len(masks))
        ]

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

    def _codes(self, masks: Mask, made: _core.CudaCodes) -> list[HostCodes | CudaCodes]:
        """Of every mask, the codes of the sites that a live ReLU module reads."""
        values, counts = self.graph.modules(masks)
        sites = np.array([self.sites[value] for value in values], np.int64)
        bits = np.array([math.prod(self.graph.nodes[value].shape) for value in values], np.int64)
        times = np.zeros((len(masks), self.site_count), np.int64)
        times[:, sites] = counts.T
        batch = _CodesOfBatch(made, times)
        found: list[HostCodes | CudaCodes] = []
        for g, modules in enumerate(counts.T):
            live = modules > 0
            codes = CudaCodes(batch, g, sites[live].tolist(), bits[live].tolist())
            found.append(codes if live.any() else HostCodes())
        return found


class _CodesOfBatch:
    """The codes of several masks in the memory of a GPU. times: int64 [masks, sites], their live modules."""

    def __init__(self, made: _core.CudaCodes, times: NDArray[np.int64]) -> None:
        self.made = made
        self.times = times

    @cached_property
    def agreements(self) -> NDArray[np.int64]:
        """[masks, images, images]"""
        return self.made.agreements(self.times.tolist())


class CudaCodes(DeviceCodes):
    """The codes of one mask of a batch, in the memory of the GPU that made them."""

    def __init__(self, batch: _CodesOfBatch, mask: int, sites: Sequence[int], bits: Sequence[int]) -> None:
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
