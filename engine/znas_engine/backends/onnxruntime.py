"""`--backend ort`: the supernet exported once, its mask an input, run by ONNX Runtime on the CPU.

Nothing here needs torch, and a warm start needs no onnx either: graphs and statistics come from the cache.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from znas_engine import __version__, kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.environment import Environment
from znas_engine.export.cache import load_or_build
from znas_engine.scores import CodeSite
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import Statistics, chunks

#: Sessions of discrete architectures kept at a time.
PRUNED_SESSIONS = 32


class OnnxRuntime(Evaluator):
    """One exported graph per environment; discrete architectures get pruned graphs of their own."""

    name = "ort"
    packages = ("onnxruntime",)

    def prepare(self, environment: Environment, *, codes: bool) -> MaskedPass:
        statistics = self._statistics(environment)
        return _Supernet(self, environment, statistics, "codes" if codes else "logits")

    def export(self, environment: Environment, *, codes: bool) -> bytes:
        """The supernet as one ONNX file with `images` and `mask` as inputs, from the cache."""
        return self.whole(environment, self._statistics(environment), "codes" if codes else "logits")

    def whole(self, environment: Environment, statistics: Statistics | None, outputs: str) -> bytes:
        """`export`, for statistics already at hand."""

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export

            return export(
                self.graph,
                environment.weight,
                statistics=statistics,
                mask=self.space.shape,
                outputs=outputs,
                metadata={name: str(value) for name, value in key.items()},
            )

        key = self._key(environment) | {"outputs": outputs}
        if statistics is not None:
            key["statistics"] = hashlib.sha256(statistics.pack().tobytes()).hexdigest()
        return load_or_build("onnx", key, build, report=self.report)

    def _statistics(self, environment: Environment) -> Statistics | None:
        """Frozen statistics; the calibrated ones are measured once and kept in the cache."""
        if self.norm == "batch":
            return None
        if self.norm == "identity":
            return Statistics.identity(self.graph)

        def build() -> bytes:
            from znas_engine.export.onnx_graph import export

            model = export(
                self.graph,
                environment.weight,
                statistics=None,
                mask=self.space.shape,
                outputs="statistics",
            )
            images = environment.batch.images[chunks(len(environment.batch.images))[0]]
            (flat,) = session(model).run(None, {"images": images, "mask": self.space.mixture()})
            file = io.BytesIO()
            np.save(file, flat, allow_pickle=False)
            return file.getvalue()

        key = self._key(environment) | {"images": environment.batch.digest(), "onnxruntime": ort.__version__}
        flat = np.load(
            io.BytesIO(load_or_build("calibration", key, build, report=self.report)), allow_pickle=False
        )
        return Statistics.unpack(self.graph, flat)

    def _key(self, environment: Environment) -> dict[str, object]:
        return {
            "znas": __version__,
            "space": self.space.name,
            "macro": repr(self.macro),
            "graph": hashlib.sha256(repr(self.graph).encode()).hexdigest(),
            "norm": self.norm,
            "init": environment.init,
            "seed": environment.seed,
        }


class _Supernet:
    """A `MaskedPass`: the whole graph, or a pruned one where every row of the mask has at most one entry."""

    def __init__(
        self, backend: OnnxRuntime, environment: Environment, statistics: Statistics | None, outputs: str
    ) -> None:
        self.backend = backend
        self.environment = environment
        self.statistics = statistics
        self.outputs = outputs
        self.whole: Any = None
        self.pruned: OrderedDict[bytes, Any] = OrderedDict()
        self.lock = Lock()

    def __call__(self, mask: Mask, images: Images) -> tuple[NDArray[np.float32], Sequence[CodeSite]]:
        graph = self.backend.graph
        sites = graph.relu_sites(graph.live(mask)) if self.outputs == "codes" else {}
        wanted = [value for value, modules in sites.items() if modules]
        names = ["logits", *(f"codes_{value}" for value in wanted)]
        if (np.count_nonzero(mask, axis=1) <= 1).all():
            logits, *codes = self._pruned(mask).run(names, {"images": images})
        else:
            logits, *codes = self._whole().run(names, {"images": images, "mask": mask})
        found = [
            CodeSite(kernels.pack_codes(code), code[0].size, sites[value])
            for value, code in zip(wanted, codes, strict=True)
        ]
        return logits, found

    def _whole(self) -> Any:
        with self.lock:
            if self.whole is None:
                self.whole = session(self.backend.whole(self.environment, self.statistics, self.outputs))
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
                outputs=self.outputs,
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
