"""`--backend ort`: the supernet exported once, its mask an input, run by ONNX Runtime.

Nothing here needs torch, and a warm start needs no onnx either: graphs and statistics come from the cache.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Collection, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import __version__, kernels, silent
from znas_engine.backends.onnxruntime_cuda import Bound, cuda_session, distribution
from znas_engine.backends.passes import Images, MaskedPass
from znas_engine.backends.records import ORT
from znas_engine.backends.scaling import Scaling, mask_shape, scaling_of
from znas_engine.devices import kind_of
from znas_engine.environment import Environment
from znas_engine.evaluator import Evaluator
from znas_engine.export import CUDA_OPSET, code_output, feature_output
from znas_engine.graph import Graph
from znas_engine.scores import CodeSite, HostCodes, Observation
from znas_engine.spaces import Mask
from znas_engine.storage import load_or_build
from znas_engine.supernet.normalisation import Statistics, chunks
from znas_engine.supernet.rescale import restored, unscaled

ort = silent.load("onnxruntime")

#: Sessions of discrete architectures kept at a time.
PRUNED_SESSIONS = 32


class OnnxRuntime(Evaluator):
    """One exported graph per environment; on a CPU, discrete architectures get pruned graphs of their own.

    Weights and statistics are the same on every device, bit for bit.
    """

    record = ORT
    packages = (distribution(),)

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        statistics = self._statistics(environment, norm)
        if kind_of(device) == "cpu":
            return _OnCpu(self, environment, norm, statistics, reads)
        return OnDevice(self, environment, norm, statistics, reads, device)

    def export(
        self,
        environment: Environment,
        *,
        norm: str | None = None,
        reads: Collection[str] = (),
        dtype: str = "float32",
    ) -> bytes:
        """The supernet as one ONNX file with `images` and `mask` as inputs, from the cache.

        norm: the evaluator's own if None. reads, dtype: see `onnx_graph.export`.
        """
        norm = self.norm if norm is None else norm
        return self.whole(environment, norm, self._statistics(environment, norm), reads, dtype)

    def whole(
        self,
        environment: Environment,
        norm: str,
        statistics: Statistics | None,
        reads: Collection[str],
        dtype: str = "float32",
        opset: int | None = None,
    ) -> bytes:
        """`export`, for a normalisation whose statistics are already at hand.

        opset: of ONNX's operators, the exporter's own if None.
        """

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export

            return export(
                self.graph,
                environment.weight,
                statistics=statistics,
                mask=shape,
                reads=reads,
                dtype=dtype,
                opset=opset,
                metadata={name: str(value) for name, value in key.items()},
            )

        shape = mask_shape(self.space, self.graph, norm, dtype)
        key = self._key(environment, norm) | {"reads": sorted(reads), "dtype": dtype, "mask": shape}
        if statistics is not None:
            key["statistics"] = hashlib.sha256(statistics.pack().tobytes()).hexdigest()
        if opset is not None:
            key["opset"] = opset
        return load_or_build("onnx", key, build, report=self.report)

    def _statistics(self, environment: Environment, norm: str) -> Statistics | None:
        """Frozen statistics; the calibrated ones are measured once and kept in the cache."""
        if norm == "batch":
            return None
        live = self.graph.live(None)
        if norm == "identity" or not any(live[i] for i in self.graph.norms()):
            return Statistics.identity(self.graph)

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export_statistics

            model = export_statistics(self.graph, environment.weight, mask=self.space.shape)
            images = environment.batch.images[chunks(len(environment.batch.images))[0]]
            (flat,) = session(model).run(None, {"images": images, "mask": self.space.mixture()})
            return bytes(flat.astype("<f4").tobytes())

        def statistics(data: bytes) -> Statistics:
            """ValueError for data of another graph, or of none."""
            flat = np.frombuffer(data, "<f4").astype(np.float32).reshape(2, -1)
            return Statistics.unpack(self.graph, flat, self.space.mixture())

        key = self._key(environment, norm) | {
            "images": environment.batch.digest(),
            "onnxruntime": ort.__version__,
        }
        return statistics(load_or_build("calibration", key, build, report=self.report, check=statistics))

    def _key(self, environment: Environment, norm: str) -> dict[str, object]:
        return {
            "znas": __version__,
            "space": self.space.name,
            "macro": repr(self.macro),
            "graph": hashlib.sha256(repr(self.graph).encode()).hexdigest(),
            "norm": norm,
            "init": environment.init,
            "seed": environment.seed,
        }


class _Pass(ABC):
    """A `MaskedPass`: what to ask of a graph, and what its outputs are."""

    def __init__(self, graph: Graph, reads: frozenset[str], scaling: Scaling) -> None:
        self.graph = graph
        self.reads = reads
        self.scaling = scaling

    def __call__(self, mask: Mask, images: Images) -> Observation:
        graph = self.graph
        sites = graph.relu_sites(graph.live(mask)) if "codes" in self.reads else {}
        codes = {code_output(value): value for value, modules in sites.items() if modules}
        values = {"logits": -1}
        if "pooled" in self.reads:
            values["pooled"] = graph.penultimate
        cells = graph.cells if "features" in self.reads else ()
        last = [graph.unpooled] if "unpooled" in self.reads else []
        values |= {feature_output(position): position for position in (*cells, *last)}
        scaled = self.scaling(mask)
        names = [*values, *codes]
        found = dict(zip(names, self._run(names, scaled.mask, images), strict=True))
        for name, position in values.items():
            found[name] = restored(found[name], scaled.exponents[position])
        return Observation(
            found["logits"],
            codes=HostCodes(
                CodeSite(kernels.pack_codes(found[name]), found[name][0].size, sites[value])
                for name, value in codes.items()
            ),
            pooled=found.get("pooled"),
            unpooled=found[feature_output(graph.unpooled)] if last else None,
            features=tuple(found[feature_output(position)] for position in cells),
        )

    @abstractmethod
    def _run(self, names: Sequence[str], mask: Mask, images: Images) -> list[NDArray[Any]]:
        """The outputs of those names. mask: as the graph takes it."""


class _OnCpu(_Pass):
    """The whole graph, or a pruned one where every row of the mask has at most one entry."""

    def __init__(
        self,
        backend: OnnxRuntime,
        environment: Environment,
        norm: str,
        statistics: Statistics | None,
        reads: frozenset[str],
    ) -> None:
        super().__init__(backend.graph, reads, unscaled(backend.graph))
        self.backend = backend
        self.environment = environment
        self.norm = norm
        self.statistics = statistics
        self.whole: Any = None
        self.pruned: OrderedDict[bytes, Any] = OrderedDict()
        self.lock = Lock()

    def _run(self, names: Sequence[str], mask: Mask, images: Images) -> list[NDArray[Any]]:
        found: list[NDArray[Any]]
        if (np.count_nonzero(mask, axis=1) <= 1).all():
            found = self._pruned(mask).run(names, {"images": images})
        else:
            found = self._whole().run(names, {"images": images, "mask": mask})
        return found

    def _whole(self) -> Any:
        with self.lock:
            if self.whole is None:
                self.whole = session(
                    self.backend.whole(self.environment, self.norm, self.statistics, self.reads)
                )
            return self.whole

    def _pruned(self, mask: Mask) -> Any:
        with self.lock:
            if (found := self.pruned.get(mask.tobytes())) is not None:
                self.pruned.move_to_end(mask.tobytes())
                return found
        from znas_engine.export.onnx_graph import export

        made = session(
            export(
                self.backend.graph,
                self.environment.weight,
                statistics=self.statistics,
                mask=mask,
                reads=self.reads,
            )
        )
        with self.lock:
            self.pruned[mask.tobytes()] = made
            while len(self.pruned) > PRUNED_SESSIONS:
                self.pruned.popitem(last=False)
        return made


class OnDevice(_Pass):
    """The whole graph for every mask: a pruned session takes longer to make than a GPU takes for a pass."""

    def __init__(
        self,
        backend: OnnxRuntime,
        environment: Environment,
        norm: str,
        statistics: Statistics | None,
        reads: frozenset[str],
        device: str,
    ) -> None:
        super().__init__(backend.graph, reads, scaling_of(backend, environment, norm))
        model = backend.whole(environment, norm, statistics, reads, backend.dtype, CUDA_OPSET)
        self.bound = Bound(session(model, device), device)

    def _run(self, names: Sequence[str], mask: Mask, images: Images) -> list[NDArray[Any]]:
        return self.bound.run(names, {"images": images, "mask": mask})


def session(model: bytes, device: str = "cpu") -> Any:
    """A single-threaded session: parallelism is over masks, so sums do not depend on the thread count."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if kind_of(device) == "cpu":
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return cuda_session(model, device, options)
