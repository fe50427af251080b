"""`--backend ort`: the supernet exported once, its mask an input, run by ONNX Runtime on the CPU.

Nothing here needs torch, and a warm start needs no onnx either: graphs and statistics come from the cache.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Collection
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort

from znas_engine import __version__, kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.backends.scaling import mask_shape
from znas_engine.environment import Environment
from znas_engine.export import code_output, feature_output
from znas_engine.export.cache import load_or_build
from znas_engine.scores import CodeSite, HostCodes, Observation
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import Statistics, chunks

#: Sessions of discrete architectures kept at a time.
PRUNED_SESSIONS = 32


class OnnxRuntime(Evaluator):
    """One exported graph per environment; discrete architectures get pruned graphs of their own."""

    name = "ort"
    packages = ("onnxruntime",)

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        return _Supernet(self, environment, norm, self._statistics(environment, norm), reads)

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
    ) -> bytes:
        """`export`, for a normalisation whose statistics are already at hand."""

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export

            return export(
                self.graph,
                environment.weight,
                statistics=statistics,
                mask=shape,
                reads=reads,
                dtype=dtype,
                metadata={name: str(value) for name, value in key.items()},
            )

        shape = mask_shape(self.space, self.graph, norm, dtype)
        key = self._key(environment, norm) | {"reads": sorted(reads), "dtype": dtype, "mask": shape}
        if statistics is not None:
            key["statistics"] = hashlib.sha256(statistics.pack().tobytes()).hexdigest()
        return load_or_build("onnx", key, build, report=self.report)

    def _statistics(self, environment: Environment, norm: str) -> Statistics | None:
        """Frozen statistics; the calibrated ones are measured once and kept in the cache."""
        if norm == "batch":
            return None
        if norm == "identity":
            return Statistics.identity(self.graph)

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export_statistics

            model = export_statistics(self.graph, environment.weight, mask=self.space.shape)
            images = environment.batch.images[chunks(len(environment.batch.images))[0]]
            (flat,) = session(model).run(None, {"images": images, "mask": self.space.mixture()})
            file = io.BytesIO()
            np.save(file, flat, allow_pickle=False)
            return file.getvalue()

        key = self._key(environment, norm) | {
            "images": environment.batch.digest(),
            "onnxruntime": ort.__version__,
        }
        flat = np.load(
            io.BytesIO(load_or_build("calibration", key, build, report=self.report)), allow_pickle=False
        )
        return Statistics.unpack(self.graph, flat)

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


class _Supernet:
    """A `MaskedPass`: the whole graph, or a pruned one where every row of the mask has at most one entry."""

    def __init__(
        self,
        backend: OnnxRuntime,
        environment: Environment,
        norm: str,
        statistics: Statistics | None,
        reads: frozenset[str],
    ) -> None:
        self.backend = backend
        self.environment = environment
        self.norm = norm
        self.statistics = statistics
        self.reads = reads
        self.whole: Any = None
        self.pruned: OrderedDict[bytes, Any] = OrderedDict()
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> Observation:
        graph = self.backend.graph
        sites = graph.relu_sites(graph.live(mask)) if "codes" in self.reads else {}
        codes = {code_output(value): value for value, modules in sites.items() if modules}
        cells = graph.cells if "features" in self.reads else ()
        features = [feature_output(position) for position in cells]
        pooled = ["pooled"] if "pooled" in self.reads else []
        names = ["logits", *pooled, *codes, *features]
        if (np.count_nonzero(mask, axis=1) <= 1).all():
            outputs = self._pruned(mask).run(names, {"images": images})
        else:
            outputs = self._whole().run(names, {"images": images, "mask": mask})
        found = dict(zip(names, outputs, strict=True))
        return Observation(
            found["logits"],
            codes=HostCodes(
                CodeSite(kernels.pack_codes(found[name]), found[name][0].size, sites[value])
                for name, value in codes.items()
            ),
            pooled=found.get("pooled"),
            features=tuple(found[name] for name in features),
        )

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


def session(model: bytes) -> Any:
    """A single-threaded session: parallelism is over masks, so sums do not depend on the thread count."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
