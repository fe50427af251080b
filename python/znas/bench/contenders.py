"""Who takes part: the engine's backends and what people use instead; one function each, one registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import choice
from znas_engine.backends.passes import BatchedPass, Images, MaskedPass
from znas_engine.devices import TOGETHER, kind_of
from znas_engine.environment import Environment
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.supernet.normalisation import chunks

Logits = NDArray[np.float32]

#: What every other contender's logits are held against, and what ratios are taken to.
REFERENCE = "torch"
BASELINE = "eager"


class Run(Protocol):
    """A prepared contender; one whose threads share masks is called from several at once."""

    def __call__(self, mask: Mask, /) -> Logits:
        """mask float32 [E, O] -> logits [n, classes] of all images of the request."""


@runtime_checkable
class BatchedRun(Run, Protocol):
    """One that takes many masks at once: that is what a timed call of several masks then times."""

    def batch(self, masks: Mask, /) -> Logits:
        """masks float32 [G, E, O] -> logits [G, n, classes]"""


@dataclass(frozen=True, slots=True)
class Request:
    """One supernet in one environment; norm is `calibrated`."""

    space: SearchSpace[Any]
    macro: Macro
    environment: Environment
    dtype: str
    device: str = "cpu"

    def chunks(self) -> list[slice]:
        """The images that go through the network together."""
        return chunks(len(self.environment.batch.images), TOGETHER[kind_of(self.device)])


@dataclass(frozen=True, slots=True)
class Contender:
    """prepare: `module:function` of a (Request) -> Run. backend: the engine's name, None for a baseline.

    shares: what its threads divide among themselves, whole "masks" or the work inside "operations".
    one_hot_only: it differs from another contender only there. ready: the masks of a timed call were run
    before, so that work per mask (sessions of pruned graphs) is not counted. devices: kinds that it runs on.
    forgiven: timed where it fails its check too, and its row says why it failed: a baseline whose numbers are
    nobody's claim.
    """

    prepare: str
    backend: str | None = None
    dtype: str = "float32"
    shares: str = "masks"
    one_hot_only: bool = False
    ready: bool = False
    devices: tuple[str, ...] = ("cpu",)
    forgiven: bool = False

    def prepared(self, request: Request) -> Run:
        """Draw the weights, calibrate, compile: everything that masks share."""
        module, name = self.prepare.split(":")
        run: Run = getattr(import_module(module), name)(request)
        return run


def torch_backend(request: Request) -> Run:
    return _backend("torch", request)


def ort_backend(request: Request) -> Run:
    """As a search runs it: pruned graphs for one-hot masks, each session made when its mask first comes."""
    return _backend("ort", request)


def native_backend(request: Request) -> Run:
    return _backend("native", request)


def trt_backend(request: Request) -> Run:
    return _backend("trt", request)


def ort_whole(request: Request) -> Run:
    """The exported graph with its mask as an input, whatever the mask."""
    from znas_engine.backends.onnxruntime import OnnxRuntime, session

    images, parts = request.environment.batch.images, request.chunks()
    running = session(OnnxRuntime(request.space, request.macro).export(request.environment))

    def run(mask: Mask) -> Logits:
        return np.concatenate(
            [running.run(["logits"], {"images": images[rows], "mask": mask})[0] for rows in parts]
        )

    return run


def _backend(name: str, request: Request) -> Run:
    from znas_engine.backends import get_backend

    evaluator = get_backend(name)(request.space, request.macro, dtype=request.dtype, devices=[request.device])
    masked_pass = evaluator.prepare(
        request.environment, norm=evaluator.norm, reads=frozenset(), device=request.device
    )
    images = request.environment.batch.images
    parts = [images[rows] for rows in request.chunks()]
    together = evaluator.masks_together(frozenset(), len(images))
    if together > 1 and isinstance(masked_pass, BatchedPass):
        return _BatchedPasses(masked_pass, parts, together)
    return _Passes(masked_pass, parts)


class _Passes:
    def __init__(self, masked_pass: MaskedPass, parts: Sequence[Images]) -> None:
        self.masked_pass = masked_pass
        self.parts = parts

    def __call__(self, mask: Mask) -> Logits:
        return np.concatenate([self.masked_pass(mask, images).logits for images in self.parts])


class _BatchedPasses(_Passes):
    """together: how many masks a search gives the backend at once."""

    def __init__(self, masked_pass: BatchedPass, parts: Sequence[Images], together: int) -> None:
        super().__init__(masked_pass, parts)
        self.take = masked_pass.batch
        self.together = together

    def batch(self, masks: Mask) -> Logits:
        starts = range(0, len(masks), self.together)
        return np.concatenate([self._taken(masks[first : first + self.together]) for first in starts])

    def _taken(self, masks: Mask) -> Logits:
        parts = [[seen.logits for seen in self.take(masks, images)] for images in self.parts]
        return np.concatenate([np.stack(part) for part in parts], axis=1)


_BOTH = ("cpu", "cuda")
_GPU = ("cuda",)
CONTENDERS: dict[str, Contender] = {
    "eager": Contender("znas.bench.eager:eager", shares="operations", devices=_BOTH),
    "eager-nhwc": Contender("znas.bench.eager:channels_last", shares="operations", devices=_BOTH),
    # Under masks that outgrow frozen statistics its values leave float16's range, at the speed of others.
    "eager-fp16-nhwc": Contender(
        "znas.bench.eager:channels_last", dtype="float16", shares="operations", devices=_GPU, forgiven=True
    ),
    "compile": Contender("znas.bench.eager:compiled", shares="operations", devices=_BOTH),
    "graph": Contender("znas.bench.eager:cuda_graph", shares="operations", devices=_GPU),
    "ort": Contender("znas.bench.contenders:ort_backend", backend="ort"),
    "ort-ready": Contender("znas.bench.contenders:ort_backend", one_hot_only=True, ready=True),
    "ort-whole": Contender("znas.bench.contenders:ort_whole", one_hot_only=True),
    "torch": Contender("znas.bench.contenders:torch_backend", backend="torch", devices=_BOTH),
    "native": Contender("znas.bench.contenders:native_backend", backend="native", devices=_BOTH),
    "native-bf16": Contender(
        "znas.bench.contenders:native_backend", backend="native", dtype="bfloat16", devices=_BOTH
    ),
    "native-fp16": Contender(
        "znas.bench.contenders:native_backend", backend="native", dtype="float16", devices=_GPU
    ),
    "trt": Contender("znas.bench.contenders:trt_backend", backend="trt", devices=_GPU),
    "trt-bf16": Contender("znas.bench.contenders:trt_backend", backend="trt", dtype="bfloat16", devices=_GPU),
    "trt-fp16": Contender("znas.bench.contenders:trt_backend", backend="trt", dtype="float16", devices=_GPU),
}


def contenders_on(device: str) -> tuple[str, ...]:
    """Who runs on that device."""
    return tuple(name for name, contender in CONTENDERS.items() if kind_of(device) in contender.devices)


def get_contender(name: str) -> Contender:
    """The contender of that name, or InvalidValueError naming the nearest."""
    return CONTENDERS[choice("contender", name, CONTENDERS)]
