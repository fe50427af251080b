"""The supernet on our own executor: linear pieces merged per mask, activations kept in cache.

A processor compiles a program of fused steps per mask and runs it image by image. A GPU runs many masks at a
time: see `native_cuda`.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Hashable
from functools import cached_property
from pathlib import Path
from threading import local
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import __version__, _core, kernels
from znas_engine.backends import native_cuda, sharing
from znas_engine.backends.native_cuda import CudaPass
from znas_engine.backends.native_lowering import Lowering
from znas_engine.backends.native_maps import Maps, variances
from znas_engine.backends.passes import Images, Labels, MaskedPass
from znas_engine.backends.records import NATIVE
from znas_engine.devices import kind_of, number_of
from znas_engine.environment import Environment
from znas_engine.errors import MissingDependencyError
from znas_engine.evaluator import Evaluator
from znas_engine.gpu import gpu
from znas_engine.graph import Graph
from znas_engine.scores import NO_LOGITS, CodeSite, HostCodes, Observation
from znas_engine.scores.codes import Agreements
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import Statistics, chunks

#: A node of the graph -> its weight.
Weight = Callable[[Any], NDArray[np.float32]]


def fastest_isa() -> str:
    """The instruction set that the steps run on."""
    return kernels.available_isas()[-1]


class Native(Evaluator):
    """`--backend native`: needs the compiled kernels."""

    record = NATIVE
    packages = ()

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        #: Of the environment that was prepared last: its passes are prepared one after another.
        self._made: list[_Made] = []
        #: (norm, device) of which this process knows that the GPU computes them right.
        self._checked: set[tuple[str, str]] = set()

    def in_float32(self) -> Native:
        """The same supernets on the same devices in float32, drawn, calibrated and lowered once for both."""
        whole = Native(
            self.space,
            self.macro,
            norm=self.norm,
            devices=self.devices,
            threads=self.threads,
            report=self.report,
        )
        whole._made = self._made
        return whole

    def begin(self) -> None:
        for device in self.devices:
            if kind_of(device) == "cuda":
                native_cuda.make_ready(device)

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        if kind_of(device) == "cuda" and (norm, device) not in self._checked:
            self._check(norm, device)
            self._checked.add((norm, device))
        return self._network(environment, norm, reads, device)

    def _check(self, norm: str, device: str) -> None:
        """Of a small supernet of this space, at the first use on a machine: see `self_check`."""
        try:
            gpu(device)
        except MissingDependencyError:
            return  # no driver: a processor plays the GPU, and the conformance test is what checks that
        from znas_engine.backends.self_check import check_once, smallest  # the CPU needs no cache

        macro, environment = smallest(self.space)
        small = Native(self.space, macro, norm=norm, dtype=self.dtype, devices=[device], report=self.report)
        check_once(
            small,
            lambda: small._network(environment, norm, frozenset({"codes", "features"}), device),
            environment,
            norm=norm,
            device=device,
            subject={},
            made_by={"znas-engine": __version__, "compiled": _compiled_digest()},
        )

    def _network(self, environment: Environment, norm: str, reads: frozenset[str], device: str) -> MaskedPass:
        if not (self._made and self._made[0].environment is environment):
            self._made[:] = [_Made(environment)]
        (made,) = self._made
        if kind_of(device) == "cuda":
            return self._on_gpu(made, norm, self.dtype, reads, device)
        lowering, program = self._lowered(made, norm, self.dtype, device)
        return CpuPass(self.graph, lowering, program, reads)

    def masks_together(self, reads: frozenset[str], images: int) -> int:
        if kind_of(self.devices[0]) == "cuda":
            return native_cuda.masks_together(reads, images)
        return sharing.masks_together(self.graph, reads, images) if self._shares else 1

    @property
    def fewest(self) -> int:
        return native_cuda.FEWEST if kind_of(self.devices[0]) == "cuda" else 1

    def neighbours(self, masks: Mask) -> NDArray[np.intp]:
        return sharing.neighbours(masks) if self._shares else super().neighbours(masks)

    @cached_property
    def _shares(self) -> bool:
        """Whether masks of one call share work worth the company."""
        return kind_of(self.devices[0]) == "cpu" and sharing.shared(self.graph) >= sharing.WORTHWHILE

    def _lowered(self, made: _Made, norm: str, dtype: str, device: str) -> tuple[Lowering, _core.Program]:
        """The program of an environment, and how its values relate to the graph's."""
        if norm not in made.lowered:
            statistics, builder = self._statistics(made, norm, device), _core.ProgramBuilder()
            lowering = Lowering(self.graph, made.weight, statistics, self.space.shape, builder)
            made.lowered[norm] = lowering, builder
        lowering, builder = made.lowered[norm]
        key = (norm, dtype, "cuda" if kind_of(device) == "cuda" else fastest_isa())
        if key not in made.programs:
            made.programs[key] = builder.build(precision=dtype, target=key[2])
        return lowering, made.programs[key]

    def _statistics(self, made: _Made, norm: str, device: str) -> Statistics | None:
        """Those that are frozen; measured in float32 whatever the dtype: a pass rounds merged weights,
        calibration would round others and add an error of its own."""
        if norm == "batch":
            return None
        if norm == "identity":
            return Statistics.identity(self.graph)
        return self._measured(made, device)

    def _measured(self, made: _Made, device: str) -> Statistics:
        """Of the mixture on the first chunk of images."""
        images = made.environment.batch.images
        images = images[chunks(len(images))[0]]
        if kind_of(device) == "cuda":
            there = self._on_gpu(made, "batch", "float32", frozenset(), device)
            norms, moments = there.norms, there.statistics(self.space.mixture(), images)
        else:
            lowering, program = self._lowered(made, "batch", "float32", device)
            (found,) = program.compile(self.space.mixture()[None], []).run(images, [[]])
            norms, moments = lowering.norms, (found.means, found.variances)
        mixture = self.graph.live(self.space.mixture())
        statistics = Statistics.identity(self.graph)
        for position, mean, variance in zip(norms, *moments, strict=True):
            if mixture[position]:
                statistics.mean[position] = np.array(mean, np.float32)
                statistics.variance[position] = np.array(variance, np.float32)
        return statistics

    def _on_gpu(self, made: _Made, norm: str, dtype: str, reads: frozenset[str], device: str) -> CudaPass:
        lowering, program = self._lowered(made, norm, dtype, device)
        maps = Maps.of(self.graph, lowering, reads)
        key = (norm, dtype, device, *maps.sites)
        if key not in made.networks:
            made.networks[key] = native_cuda.network(program, maps, device)
        return CudaPass(self.graph, lowering, maps, made.networks[key], reads, number_of(device))


class _Made:
    """What was made of an environment, each of it once: passes that hand out other things, and the same
    supernet in another precision, have it in common.

    lowered: by norm. programs: by norm, precision and instruction set, or "cuda". networks: by norm,
    precision, device and sites.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.weight = _drawn_once(environment)
        self.lowered: dict[str, tuple[Lowering, _core.ProgramBuilder]] = {}
        self.programs: dict[tuple[str, str, str], _core.Program] = {}
        self.networks: dict[tuple[Hashable, ...], _core.CudaNetwork] = {}


def _compiled_digest() -> str:
    """Of the module that holds the kernels: a commit does not tell what was changed on top of it."""
    return hashlib.sha256(Path(_core.__file__).read_bytes()).hexdigest()[:12]


def _drawn_once(environment: Environment) -> Weight:
    """The environment's weights; whatever reads them reads the same."""
    drawn: dict[str, NDArray[np.float32]] = {}

    def weight(node: Any) -> NDArray[np.float32]:
        if node.name not in drawn:
            drawn[node.name] = environment.weight(node)
        return drawn[node.name]

    return weight


class CpuPass:
    """A `BatchedPass` and `CountingPass` on this machine's processor: masks of one call share the values on
    which they agree."""

    def __init__(
        self, graph: Graph, lowering: Lowering, program: _core.Program, reads: frozenset[str]
    ) -> None:
        self.graph = graph
        self.program = program
        self.sites = lowering.sites
        self.reads = reads
        self.lowering = lowering
        self.maps = Maps.of(graph, lowering, reads)
        #: Of each thread, the masks that it ran last: chunks of images follow one another.
        self.last = local()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        return self.batch(mask[None], images)[0]

    def batch(self, masks: Mask, images: Images) -> list[Observation]:
        return self._seen(masks, images, None)

    def count(self, masks: Mask, images: Images, labels: Labels) -> list[Observation]:
        return self._seen(masks, images, labels)

    def _seen(self, masks: Mask, images: Images, labels: Labels | None) -> list[Observation]:
        modules = [self._modules(mask) for mask in masks]
        with kernels.refusals():
            made = self._compiled(masks).run(
                images, [[self.sites[value] for value in sites] for sites in modules], labels
            )
        times = Counter(id(packed) for found in made for packed in found.codes)
        known = Agreements(packed for found in made for packed in found.codes if times[id(packed)] > 1)
        return [
            self._observation(mask, sites, found, images, known)
            for mask, sites, found in zip(masks, modules, made, strict=True)
        ]

    def _modules(self, mask: Mask) -> dict[int, int]:
        """Of every value whose codes are wanted, the live ReLU modules that read it."""
        if "codes" not in self.reads:
            return {}
        sites = self.graph.relu_sites(self.graph.live(mask))
        return {value: modules for value, modules in sites.items() if modules}

    def _observation(
        self,
        mask: Mask,
        modules: dict[int, int],
        found: _core.Output,
        images: Images,
        known: Agreements,
    ) -> Observation:
        nodes = self.graph.nodes
        bits = [math.prod(nodes[value].shape) for value in modules]
        return Observation(
            NO_LOGITS if found.logits is None else found.logits,
            codes=HostCodes(map(CodeSite, found.codes, bits, modules.values()), known),
            pooled=found.pooled if "pooled" in self.reads else None,
            variances=variances(self.graph, self.lowering, mask, found.variances)
            if "variances" in self.reads
            else (),
            correct=found.counted.correct if found.counted else None,
            finite=found.counted is None or found.counted.finite,
            **self.maps.named(
                [
                    flat.reshape(len(images), *nodes[position].shape)
                    for position, flat in zip(self.maps.positions, found.features, strict=True)
                ]
            ),
        )

    def _compiled(self, masks: Mask) -> _core.Compiled:
        """The masks' steps."""
        key = masks.tobytes()
        if getattr(self.last, "key", None) != key:
            self.last.made, self.last.key = self.program.compile(masks, self.maps.sites), key
        made: _core.Compiled = self.last.made
        return made
