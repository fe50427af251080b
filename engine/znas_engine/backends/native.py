"""The supernet on our own executor: linear pieces merged per mask, activations kept in cache."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from importlib import import_module
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.backends.native_lowering import Lowering
from znas_engine.environment import Environment
from znas_engine.scores import CodeSite
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

    def prepare(self, environment: Environment, *, codes: bool) -> MaskedPass:
        return _Supernet(self, environment, self._statistics(environment), codes)

    def lower(self, environment: Environment, statistics: Statistics | None) -> tuple[Lowering, Any]:
        """The program of one environment, and how its values relate to the graph's."""
        builder = _core.ProgramBuilder()
        lowering = Lowering(self.graph, environment.weight, statistics, self.space.shape[1], builder)
        return lowering, builder.build(self.dtype, fastest_isa())

    def _statistics(self, environment: Environment) -> Statistics | None:
        if self.norm == "batch":
            return None
        if self.norm == "identity":
            return Statistics.identity(self.graph)
        lowering, program = self.lower(environment, None)
        images = environment.batch.images[chunks(len(environment.batch.images))[0]]
        _, _, means, variances = program.compile(self.space.mixture()).run(images, [])
        mean, variance = (
            {position: np.array(row, np.float32) for position, row in zip(lowering.norms, rows, strict=True)}
            for rows in (means, variances)
        )
        return Statistics(mean, variance)


class _Supernet:
    """A `MaskedPass`."""

    def __init__(
        self, backend: Native, environment: Environment, statistics: Statistics | None, codes: bool
    ) -> None:
        self.graph = backend.graph
        lowering, self.program = backend.lower(environment, statistics)
        self.sites = lowering.sites
        self.codes = codes
        self.compiled: OrderedDict[bytes, Any] = OrderedDict()
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> tuple[NDArray[np.float32], Sequence[CodeSite]]:
        sites = self.graph.relu_sites(self.graph.live(mask)) if self.codes else {}
        wanted = [value for value, modules in sites.items() if modules]
        logits, packed, _, _ = self._compiled(mask).run(images, [self.sites[value] for value in wanted])
        found = [
            CodeSite(code, int(np.prod(self.graph.nodes[value].shape)), sites[value])
            for value, code in zip(wanted, packed, strict=True)
        ]
        return logits, found

    def _compiled(self, mask: Mask) -> Any:
        key = mask.tobytes()
        with self.lock:
            if key in self.compiled:
                self.compiled.move_to_end(key)
                return self.compiled[key]
        made = self.program.compile(mask)
        with self.lock:
            self.compiled[key] = made
            while len(self.compiled) > COMPILED:
                self.compiled.popitem(last=False)
        return made
