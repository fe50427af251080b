"""The supernet on our own executor: linear pieces merged per mask, activations kept in cache."""

from __future__ import annotations

from collections import OrderedDict
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np

from znas_engine import kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.backends.native_lowering import Lowering
from znas_engine.environment import Environment
from znas_engine.scores import CodeSite, Observation
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import Statistics, chunks

_core: Any = import_module("znas_engine._core")

#: Masks whose merged weights are kept at a time: chunks of one mask follow one another.
COMPILED = 8


def fastest_isa() -> str:
    """The instruction set that the steps run on."""
    return kernels.available_isas()[-1]


class Native(Evaluator):
    """`--backend native`: needs the compiled kernels."""

    name = "native"
    packages = ()

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        return _Supernet(self, environment, self._statistics(environment, norm), reads)

    def lower(
        self, environment: Environment, statistics: Statistics | None, *, dtype: str
    ) -> tuple[Lowering, Any]:
        """The program of one environment, and how its values relate to the graph's."""
        builder = _core.ProgramBuilder()
        lowering = Lowering(self.graph, environment.weight, statistics, self.space.shape[1], builder)
        return lowering, builder.build(dtype, fastest_isa())

    def _statistics(self, environment: Environment, norm: str) -> Statistics | None:
        """Measured in float32 whatever the dtype: a pass rounds merged weights, calibration would round
        others and add an error of its own."""
        if norm == "batch":
            return None
        if norm == "identity":
            return Statistics.identity(self.graph)
        lowering, program = self.lower(environment, None, dtype="float32")
        images = environment.batch.images[chunks(len(environment.batch.images))[0]]
        *_, means, variances = program.compile(self.space.mixture(), []).run(images, [])
        mean, variance = (
            {position: np.array(row, np.float32) for position, row in zip(lowering.norms, rows, strict=True)}
            for rows in (means, variances)
        )
        return Statistics(mean, variance)


class _Supernet:
    """A `MaskedPass`."""

    def __init__(
        self,
        backend: Native,
        environment: Environment,
        statistics: Statistics | None,
        reads: frozenset[str],
    ) -> None:
        self.graph = backend.graph
        lowering, self.program = backend.lower(environment, statistics, dtype=backend.dtype)
        self.sites = lowering.sites
        self.reads = reads
        self.cells, self.features = self.graph.cells, lowering.features
        if "features" not in reads:
            self.cells, self.features = (), []
        self.compiled: OrderedDict[bytes, Any] = OrderedDict()
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        nodes = self.graph.nodes
        sites = self.graph.relu_sites(self.graph.live(mask)) if "codes" in self.reads else {}
        wanted = [value for value, modules in sites.items() if modules]
        logits, packed, pooled, features, _, _ = self._compiled(mask).run(
            images, [self.sites[value] for value in wanted]
        )
        return Observation(
            logits,
            codes=tuple(
                CodeSite(code, int(np.prod(nodes[value].shape)), sites[value])
                for value, code in zip(wanted, packed, strict=True)
            ),
            pooled=pooled if "pooled" in self.reads else None,
            features=tuple(
                flat.reshape(len(images), *nodes[position].shape)
                for position, flat in zip(self.cells, features, strict=True)
            ),
        )

    def _compiled(self, mask: Mask) -> Any:
        key = mask.tobytes()
        with self.lock:
            if key in self.compiled:
                self.compiled.move_to_end(key)
                return self.compiled[key]
        made = self.program.compile(mask, self.features)
        with self.lock:
            self.compiled[key] = made
            while len(self.compiled) > COMPILED:
                self.compiled.popitem(last=False)
        return made
