"""Backends: what each says of itself, and which one runs. Each is imported only when it is asked for."""

from __future__ import annotations

from znas_engine.backends.choose import (
    Choice,
    can_run,
    choose_backend,
    evaluator_of,
    get_backend,
    missing,
)
from znas_engine.backends.record import (
    BACKENDS,
    GRADIENTS,
    Backend,
    built_in,
    check_devices,
    check_dtype,
    check_graph,
    dtypes_of,
)

__all__ = [
    "BACKENDS",
    "GRADIENTS",
    "Backend",
    "Choice",
    "built_in",
    "can_run",
    "check_devices",
    "check_dtype",
    "check_graph",
    "choose_backend",
    "dtypes_of",
    "evaluator_of",
    "get_backend",
    "missing",
]
