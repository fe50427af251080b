"""Backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec

from znas_engine.backends.base import (
    DTYPES,
    GRADIENTS,
    Evaluator,
    MaskedPass,
    Scores,
    check_dtype,
    check_score,
)
from znas_engine.errors import MissingDependencyError, unknown_choice
from znas_engine.scores import GradientScore, Score

__all__ = [
    "BACKENDS",
    "DTYPES",
    "Evaluator",
    "MaskedPass",
    "Scores",
    "can_run",
    "check_dtype",
    "check_score",
    "choose_backend",
    "get_backend",
    "missing",
]


@dataclass(frozen=True, slots=True)
class Backend:
    """Where an evaluator is, and `missing`: what it needs and does not find here, with the way out."""

    module: str
    evaluator: str
    missing: Callable[[], str | None]


def _package(name: str, remedy: str) -> str | None:
    return None if find_spec(name) is not None else f"the package {name} is not installed: {remedy}"


def _tensorrt() -> str | None:
    from znas_engine.gpu import gpus

    absent = []
    try:
        capability = gpus()[0].capability
    except MissingDependencyError as error:
        absent.append(str(error))
    try:
        from znas_engine.tensorrt import library
    except MissingDependencyError as error:
        absent.append(str(error))
    if absent:
        return "; ".join(absent)
    if library.BUILDS_AHEAD and capability not in library.capabilities():
        return (
            f"{library.FLAVOUR} does not serve the compute capability {capability} of this GPU: "
            "pip install 'znas-engine[trt]' and uninstall TensorRT-RTX"
        )
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} finds no CUDA: install its CUDA build from pytorch.org"
    return None


#: By name, in order of `auto`'s preference.
BACKENDS: dict[str, Backend] = {
    "native": Backend(
        "znas_engine.backends.native",
        "Native",
        partial(_package, "znas_engine._core", "install a C++20 compiler, then reinstall znas-engine"),
    ),
    "ort": Backend(
        "znas_engine.backends.onnxruntime",
        "OnnxRuntime",
        partial(_package, "onnxruntime", "pip install onnxruntime"),
    ),
    "torch": Backend(
        "znas_engine.backends.torch_reference",
        "TorchReference",
        partial(_package, "torch", "pip install torch"),
    ),
    # Last: its passes have not been run on a GPU yet (docs/decisions).
    "trt": Backend("znas_engine.backends.tensorrt", "TensorRt", _tensorrt),
}


def missing(name: str) -> str | None:
    """What the backend needs and does not find on this machine, with the way out; None if it can run."""
    if name not in BACKENDS:
        raise unknown_choice("backend", name, ["auto", *BACKENDS])
    return BACKENDS[name].missing()


def can_run(name: str, *, raise_error: bool = False) -> bool:
    """Whether this machine can run the backend; with `raise_error`, say what is missing instead of False."""
    reason = missing(name)
    if reason is not None and raise_error:
        raise MissingDependencyError(f"--backend {name} cannot run here: {reason}")
    return reason is None


def choose_backend(name: str, scores: Sequence[Score] = ()) -> str:
    """`auto` -> the first backend that can run here and run the scores; any other name is checked against
    this machine and returned."""
    if name == "auto" and any(isinstance(score, GradientScore) for score in scores):
        name = GRADIENTS
    if name == "auto":
        for candidate in BACKENDS:
            if can_run(candidate):
                return candidate
        raise MissingDependencyError("no backend can run here: pip install onnxruntime, or pip install torch")
    can_run(name, raise_error=True)
    return name


def get_backend(name: str) -> type[Evaluator]:
    """The evaluator class of a backend that can run here."""
    backend = BACKENDS[choose_backend(name)]
    found: type[Evaluator] = getattr(import_module(backend.module), backend.evaluator)
    return found
