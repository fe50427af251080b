"""Plans of exported graphs, built once: what a plan is for, and the cache entry that follows from it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from znas_engine.devices import TOGETHER
from znas_engine.errors import InvalidValueError, MissingDependencyError
from znas_engine.export.onnx_graph import structure
from znas_engine.gpu import Gpu, gpu
from znas_engine.storage import load, load_or_build, store
from znas_engine.tensorrt import library
from znas_engine.tensorrt.flavours import Flavour

#: Images that a plan is tuned for, and the most that it takes: what goes through the network together.
IMAGES = (TOGETHER["cuda"], TOGETHER["cuda"])


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is built for. gpu: None if it is for every GPU of that capability (TensorRT-RTX)."""

    flavour: Flavour
    version: str
    capability: str
    gpu: Gpu | None

    def __str__(self) -> str:
        where = "" if self.gpu is None else f"{self.gpu.name}, "
        return f"{where}compute capability {self.capability} with {self.flavour.name} {self.version}"

    def key(self, model: bytes, dtype: str) -> dict[str, object]:
        """What tells one plan from another: not the weights, where they can be replaced."""
        return {
            "graph": hashlib.sha256(structure(model) if library.REFITS else model).hexdigest(),
            "dtype": dtype,
            "images": [1, *IMAGES],
            **self.timing_key(),
        }

    def timing_key(self) -> dict[str, object]:
        """What tells one device's timings from another's."""
        return {
            "flavour": self.flavour.name,
            "capability": self.capability,
            "gpu": None if self.gpu is None else self.gpu.name,
        }

    def made_by(self) -> dict[str, object]:
        """Versions, of which the newest supersedes the others. A plan of TensorRT-RTX does not depend on the
        driver: its kernels are compiled when it is run."""
        versions: dict[str, object] = {self.flavour.name: self.version}
        return versions if self.gpu is None else versions | {"driver": self.gpu.driver}


def target(capability: str | None = None, *, device: str = "cuda:0") -> Target:
    """Where plans of the installed flavour will run.

    capability: such as "8.6"; None means that of `device`.

    Raises:
        InvalidValueError: the flavour does not build for that compute capability here.
        MissingDependencyError: a GPU is needed and there is none.
    """
    if library.BUILDS_AHEAD:
        named = gpu(device).capability if capability is None else capability
        return Target(library.FLAVOUR, library.VERSION, library.check_capability(named), None)
    ahead = "to build ahead for another, use TensorRT-RTX alone: pip install 'znas-engine[trt-rtx]'"
    try:
        found = gpu(device)
    except MissingDependencyError as error:
        raise MissingDependencyError(
            f"{library.FLAVOUR} builds on the GPU at hand: {error}; {ahead}"
        ) from error
    if capability not in (None, found.capability):
        raise InvalidValueError(
            f"the compute capability must be {found.capability}, that of {found.name}, for {library.FLAVOUR} "
            f"but got {capability}; {ahead}"
        )
    return Target(library.FLAVOUR, library.VERSION, found.capability, found)


def build_alone(model: bytes, target: Target, report: Callable[[str], None]) -> bytes:
    """The plan of an exported graph, not from the cache: one from there may hold other weights.

    Raises as `library.build`.
    """
    report(f"building a plan for {target}; it takes seconds to minutes")
    return library.build(model, images=IMAGES, capability=target.capability).plan


def plan(model: bytes, *, dtype: str, target: Target, report: Callable[[str], None]) -> bytes:
    """The plan of an exported graph, from the cache if it was built before, perhaps with other weights (see
    `library.deserialize`).

    dtype: that of the graph. report: told when a plan is built, and what was wrong with an older one.

    Raises:
        InvalidValueError, TensorRTError: see `library.build`.
        StorageError: others can write to the cache, so that a plan in it may be anybody's code.
    """

    def build() -> bytes:
        report(f"building a plan for {target}; once, it takes seconds to minutes")
        timings = b""
        if target.gpu is not None:
            kept = load("timings", timing_key, report=report, made_by=made_by, executed=True)
            timings = kept or b""
        built = library.build(model, images=IMAGES, capability=target.capability, timings=timings)
        if built.timings not in (b"", timings):
            store("timings", timing_key, built.timings, report=report, made_by=made_by)
        return built.plan

    timing_key, made_by = target.timing_key(), target.made_by()
    # A plan holds machine code and timings choose it: TensorRT checks neither.
    return load_or_build(
        "plan", target.key(model, dtype), build, report=report, made_by=made_by, executed=True
    )
