"""Which backend runs, and where."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING

from znas_engine.backends.record import (
    AUTO,
    BACKENDS,
    GRADIENTS,
    Backend,
    built_in,
    check_devices,
    check_dtype,
    check_graph,
    unread,
)
from znas_engine.devices import FIRST, kind_of, parse_devices
from znas_engine.errors import MissingDependencyError, PluginError, one_line, unknown_choice
from znas_engine.gpu import MEASURED, gpu, lacking_gpu
from znas_engine.graph import Graph
from znas_engine.promises import Calling
from znas_engine.registry import is_ours
from znas_engine.scores import GradientScore, Score

if TYPE_CHECKING:
    from znas_engine.evaluator import Evaluator

#: Characters of what one of all backends lacks: together they are one message.
_REASON = 60


def missing(backend: str | Backend, device: str | None = None) -> str | None:
    """What the backend needs and does not find here to run on `device`, with the way out; None if it can run.

    device: the backend's default if None.
    """
    return _named(backend).missing(device)


def can_run(backend: str | Backend, device: str | None = None, *, raise_error: bool = False) -> bool:
    """Whether this machine can run the backend; with `raise_error`, say what is missing instead of False."""
    record = _named(backend)
    reason = record.missing(device)
    if reason is not None and raise_error:
        where = "" if device is None else f" on {device}"
        raise MissingDependencyError(f"--backend {record.name} cannot run{where} here: {reason}")
    return reason is None


@dataclass(frozen=True, slots=True)
class Choice:
    """What will run, and where. remark: what a faster one lacks here that `auto` would have taken, or why it
    leaves a GPU alone, if any."""

    record: Backend
    devices: tuple[str, ...]
    remark: str | None = None

    @property
    def backend(self) -> str:
        return self.record.name


def choose_backend(
    backend: str | Backend,
    scores: Sequence[Score] = (),
    device: str = "auto",
    dtype: str = "float32",
    graph: Graph | None = None,
) -> Choice:
    """`auto` -> the first built-in backend that can run the scores on the device in that dtype, and the
    graph, if one is given; any other is checked.

    backend: a name, `package.module:Name`, or a `Backend`. device: as `parse_devices` reads it; `default`, a
    backend's own; or `auto`, which is the same but for the backend `auto`: that takes the first GPU if it is
    one of MEASURED.

    Raises:
        InvalidValueError: an unknown backend, device or dtype, or one that does not serve the others; a graph
            that the backend, or with `auto` every one, does not support.
        MissingDependencyError: the backend, or with `auto` every one, lacks something here.
    """
    if backend == AUTO and any(isinstance(score, GradientScore) for score in scores):
        backend = GRADIENTS
    record = None if backend == AUTO else _named(backend)
    devices = () if device in ("auto", "default") else parse_devices(device)
    if record is not None:
        check_devices(record, devices)
    for each in devices:
        if kind_of(each) == "cuda" and (absent := lacking_gpu(each)):
            raise MissingDependencyError(f"--device {each} is not here: {absent}; use --device cpu")
    if record is None:
        if device == "auto":
            return _choose_everywhere(scores, dtype, graph)
        return _choose(devices, scores, dtype, graph)
    served = devices or (record.default_device,)
    check_dtype(record, served, dtype)
    if graph is not None:
        check_graph(record, graph)
    if not devices:
        can_run(record, raise_error=True)
    for each in devices:
        can_run(record, each, raise_error=True)
    return Choice(record, served)


def _named(backend: str | Backend) -> Backend:
    if isinstance(backend, str) and ":" not in backend and backend not in BACKENDS.names():
        raise unknown_choice("backend", backend, [AUTO, *BACKENDS.names()])
    return BACKENDS.get(backend)


def _choose_everywhere(scores: Sequence[Score], dtype: str, graph: Graph | None) -> Choice:
    """`auto` on `auto`: native on the first GPU if it is one of MEASURED, else what runs by default."""
    device, native = FIRST["cuda"], BACKENDS.get("native")
    try:
        card = gpu(device)
    except MissingDependencyError:
        return _choose((), scores, dtype, graph)
    measured, absent = card.capability in MEASURED, missing(native, device)
    supported = graph is None or native.supports(graph) is None
    if measured and absent is None and supported and dtype in native.dtypes_on(device):
        return Choice(native, (device,))
    choice = _choose((), scores, dtype, graph)
    if choice.record is not native or not (measured or absent is None):
        return choice
    if measured:
        why = f"native cannot run on {device} ({card.name}): {absent}"
    else:
        why = (
            f"no results are committed for compute capability {card.capability}; "
            f"--device {device} would use {card.name}"
        )
    return replace(choice, remark=f"--backend auto stays on the CPU: {why}")


def _choose(devices: tuple[str, ...], scores: Sequence[Score], dtype: str, graph: Graph | None) -> Choice:
    """`auto`: the first built-in one that serves the devices, or has its default, supports the graph, hands
    out what the scores read, and lacks nothing."""
    lacking: list[str] = []
    for record in built_in():
        served = devices or (record.default_device,)
        if not all(kind_of(device) in record.devices for device in served):
            continue
        if not all(dtype in record.dtypes_on(device) for device in served):
            others = [FIRST[kind] for kind, known in record.dtypes.items() if dtype in known]
            if others and not devices:
                lacking.append(f"{record.name} needs --device {others[0]} for {dtype}")
            continue
        if graph is not None and (why := record.supports(graph)):
            lacking.append(why)
            continue
        if why := unread(record, scores):
            lacking.append(why)
            continue
        reason = next((reason for device in served if (reason := missing(record, device))), None)
        if reason is None:
            remark = f"--backend auto runs {record.name} on {', '.join(served)}; {'; '.join(lacking)}"
            return Choice(record, served, remark if lacking else None)
        lacking.append(f"{record.name} cannot: {reason}")
    if not lacking:
        first = built_in()[0]
        check_dtype(first, devices or (first.default_device,), dtype)
    reasons = "; ".join(one_line(each, _REASON) for each in lacking)
    raise MissingDependencyError(f"no backend can run {dtype} here; {reasons}")


def get_backend(backend: str | Backend) -> type[Evaluator]:
    """The evaluator class of a backend that can run here on its default device, or of `auto`."""
    return evaluator_of(choose_backend(backend).record)


def evaluator_of(record: Backend) -> type[Evaluator]:
    """Its evaluator, imported, whether or not it can run here. PluginError where there is none."""
    module, _, name = record.evaluator.partition(":")
    who = f"the evaluator {record.evaluator} of the backend {record.name!r}"
    with Calling(who, module):
        found: type[Evaluator] = getattr(import_module(module), name)
    if not is_ours(module):
        from znas_engine.evaluator import Evaluator as Contract

        if not (inspect.isclass(found) and issubclass(found, Contract)):
            raise PluginError(f"{who} is no subclass of {Contract.__module__}.{Contract.__qualname__}")
    return found
