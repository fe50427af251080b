"""What a backend says of itself, before anything of it is imported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from znas_engine.devices import FIRST, kind_of
from znas_engine.errors import InvalidValueError, PluginError, briefly
from znas_engine.graph import NODES, Graph, Node
from znas_engine.promises import Calling, undefined
from znas_engine.registry import Registry, where_is
from znas_engine.scores import READS, ForwardScore, Score


@dataclass(frozen=True)
class Backend:
    """One way to run masked passes.

    evaluator: `module:Class` of its `Evaluator`. dtypes: kinds of devices that it runs on, its default first
    -> what it computes in there. lacks: of a device, what it needs and is not here, with the way out, or
    None. nodes: the kinds of nodes that it has rules for. reads: which of READS its passes hand out.
    """

    name: str
    evaluator: str
    dtypes: Mapping[str, tuple[str, ...]]
    lacks: Callable[[str], str | None]
    nodes: frozenset[type[Node]] = NODES
    reads: frozenset[str] = frozenset(READS)

    @property
    def devices(self) -> tuple[str, ...]:
        """Kinds of devices that it runs on, its default first."""
        return tuple(self.dtypes)

    @property
    def default_device(self) -> str:
        """Where it runs if nobody says where."""
        return FIRST[self.devices[0]]

    def dtypes_on(self, device: str) -> tuple[str, ...]:
        """What it computes in on that device; nothing where it does not run there."""
        return self.dtypes.get(kind_of(device), ())

    def missing(self, device: str | None = None) -> str | None:
        """What it needs and does not find here to run on `device`, with the way out; None if it can run.

        device: its default if None.
        """
        who = f"`lacks` of the backend {self.name!r}, {where_is(self.lacks)},"
        with Calling(who, where_is(self.lacks)):
            reason: object = self.lacks(device or self.default_device)
        if not isinstance(reason, str | None):
            raise PluginError(f"{who} returned {briefly(reason)}, no str and not None")
        return reason

    def supports(self, graph: Graph) -> str | None:
        """Why it cannot run this graph, one sentence that names the node; None if it can."""
        for node in graph.nodes:
            if type(node) not in self.nodes:
                return f"{self.name} has no rule for the {type(node).__name__} node {node.name!r}"
        return None


#: What stands for the first built-in backend that can run.
AUTO = "auto"
_DTYPES = ("float32", "float16", "bfloat16")


def broken_promise(record: Any) -> str | None:
    """What is wrong with a `Backend`, in words that follow its name; None if nothing is."""
    evaluator, dtypes, nodes = record.evaluator, record.dtypes, record.nodes
    if record.name == AUTO:
        return f"is called {AUTO}, which stands for the first built-in backend that can run: rename it"
    if not isinstance(evaluator, str) or not all(evaluator.partition(":")):
        return f"has {briefly(evaluator)} for `evaluator`, no 'module:Class'"
    if (why := undefined(evaluator)) is not None:
        return f"has {briefly(evaluator)} for `evaluator`, but {why}"
    if not isinstance(dtypes, Mapping) or not dtypes or not set(dtypes) <= set(FIRST):
        return f"has {briefly(dtypes)} for `dtypes`, no mapping from {' and '.join(FIRST)} to dtypes"
    for kind, known in dtypes.items():
        if not isinstance(known, tuple) or not known or not set(known) <= set(_DTYPES):
            return f"has {briefly(known)} for `dtypes` on {kind}, no tuple of some of {', '.join(_DTYPES)}"
    if not callable(record.lacks):
        return f"has {briefly(record.lacks)} for `lacks`, no function of a device"
    if not isinstance(nodes, frozenset) or not nodes <= NODES:
        return f"has {briefly(nodes)} for `nodes`, no frozenset of kinds of nodes"
    if not isinstance(record.reads, frozenset) or not record.reads <= {*READS}:
        return f"has {briefly(record.reads)} for `reads`, no frozenset of some of {', '.join(READS)}"
    return None


#: The backend of gradient scores.
GRADIENTS = "torch"
_RECORDS = "znas_engine.backends.records"
#: By name, in order of `auto`'s preference: the fastest first. The last has not been run on a GPU yet
#: (docs/decisions).
BACKENDS: Registry[Backend] = Registry(
    "backend",
    "znas.backends",
    Backend,
    {
        "native": f"{_RECORDS}:NATIVE",
        "ort": f"{_RECORDS}:ORT",
        "torch": f"{_RECORDS}:TORCH",
        "trt": f"{_RECORDS}:TRT",
    },
    check=broken_promise,
)


def built_in() -> list[Backend]:
    """Those that `auto` chooses among and that errors point to: a result does not change because somebody
    installs a package."""
    return [BACKENDS.get(name) for name in BACKENDS.builtin]


def dtypes_of(backend: str | Backend, device: str) -> tuple[str, ...]:
    """What the backend computes in on that device."""
    return BACKENDS.get(backend).dtypes_on(device)


def check_devices(backend: str | Backend, devices: Sequence[str]) -> tuple[str, ...]:
    """`devices` themselves, or InvalidValueError where that backend does not run on one of them."""
    record = BACKENDS.get(backend)
    several = isinstance(devices, Sequence) and not isinstance(devices, str | bytes)
    if not several or not all(isinstance(device, str) for device in devices):
        raise InvalidValueError(
            f"`devices` must be names such as 'cpu' or a list of them but got {briefly(devices)}"
        )
    for device in devices:
        if kind_of(device) not in record.devices:
            others = [other.name for other in built_in() if kind_of(device) in other.devices]
            raise InvalidValueError(
                f"`device` must be {' or '.join(record.devices)} for the backend {record.name} but got "
                f"{device}; use --backend {' or '.join(others)} for {kind_of(device)}"
            )
    return tuple(devices)


def check_dtype(backend: str | Backend, devices: Sequence[str], dtype: str) -> str:
    """`dtype` itself, or InvalidValueError where that backend cannot compute in it on one of the devices."""
    record = BACKENDS.get(backend)
    for device in devices:
        allowed = record.dtypes_on(device)
        if dtype not in allowed:
            others = [
                f"--backend {other.name}"
                for other in built_in()
                if dtype in other.dtypes_on(other.default_device)
            ]
            others = others or [
                f"--backend {other.name} --device {kind}"
                for other in built_in()
                for kind, known in other.dtypes.items()
                if dtype in known
            ]
            raise InvalidValueError(
                f"`dtype` must be {' or '.join(allowed)} for the backend {record.name} on {device} "
                f"but got {dtype!r}" + (f"; use {' or '.join(others)} for {dtype}" if others else "")
            )
    return dtype


def unread(record: Backend, scores: Iterable[Score]) -> str | None:
    """Which score reads what this backend's passes do not hand out, and who can; None if none does."""
    for score in scores:
        wanted = [name for name in READS if isinstance(score, ForwardScore) and name in score.reads]
        for name in wanted:
            if name not in record.reads:
                others = [f"--backend {other.name}" for other in built_in() if name in other.reads]
                return (
                    f"the score {score.name!r} reads {name}, which the backend {record.name} does not hand "
                    f"out; use {' or '.join(others)}"
                )
    return None


def check_graph(backend: str | Backend, graph: Graph) -> Graph:
    """`graph` itself, or InvalidValueError where that backend cannot run it."""
    record = BACKENDS.get(backend)
    if why := record.supports(graph):
        others = [other.name for other in built_in() if other.supports(graph) is None]
        raise InvalidValueError(why + (f"; use --backend {' or '.join(others)}" if others else ""))
    return graph
