"""Backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
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
]

#: name -> (module, class, the package it needs, how to get that). In order of `auto`'s preference.
BACKENDS: dict[str, tuple[str, str, str, str]] = {
    "native": (
        "znas_engine.backends.native",
        "Native",
        "znas_engine._core",
        "install a C++20 compiler, then reinstall znas-engine",
    ),
    "ort": ("znas_engine.backends.onnxruntime", "OnnxRuntime", "onnxruntime", "pip install onnxruntime"),
    "torch": ("znas_engine.backends.torch_reference", "TorchReference", "torch", "pip install torch"),
}


def can_run(name: str, *, raise_error: bool = False) -> bool:
    """Whether this machine can run the backend; with `raise_error`, say what is missing instead of False."""
    if name not in BACKENDS:
        raise unknown_choice("backend", name, ["auto", *BACKENDS])
    *_, package, remedy = BACKENDS[name]
    if find_spec(package) is not None:
        return True
    if raise_error:
        raise MissingDependencyError(f"--backend {name} needs the package {package}: {remedy}")
    return False


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
    module, attribute, *_ = BACKENDS[choose_backend(name)]
    found: type[Evaluator] = getattr(import_module(module), attribute)
    return found
