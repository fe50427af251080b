"""A network as data: one list of nodes that every backend walks.

A search space emits a `Graph`; the torch reference interprets it, the exporter writes it as ONNX, and
parameter and FLOP counts are sums over it. Nodes are in topological order and refer to one another by
position. Shapes are per image: (channels, height, width).

The mask enters in exactly one kind of node: `Mixed`, whose value is

    for value, slot in zip(inputs, slots):
        out += mask[slot] * value        # slot = (edge, operation); None stands for the constant 1

so a node of a cell (the sum over all its edges of their mixed operations) is a single `Mixed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError

Shape = tuple[int, int, int]
Slot = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the network. `name` is the path of the equivalent module of the trainable network."""

    name: str
    inputs: tuple[int, ...]
    shape: Shape

    @property
    def flops(self) -> int:
        """Multiply-accumulates for one image (convolutions and the classifier; everything else is 0)."""
        return 0

    @property
    def parameters(self) -> int:
        """Trainable parameters of the node in the network that is trained after the search."""
        return 0


@dataclass(frozen=True, slots=True)
class Input(Node):
    """The images."""


@dataclass(frozen=True, slots=True)
class Conv(Node):
    """Bias-free 2-D convolution, square kernel, zero padding."""

    in_channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[out, in / groups, kernel, kernel]"""
        return (self.shape[0], self.in_channels // self.groups, self.kernel, self.kernel)

    @property
    def fan_in(self) -> int:
        return self.in_channels // self.groups * self.kernel * self.kernel

    @property
    def flops(self) -> int:
        channels, height, width = self.shape
        return channels * height * width * self.fan_in

    @property
    def parameters(self) -> int:
        return self.shape[0] * self.fan_in


@dataclass(frozen=True, slots=True)
class Norm(Node):
    """Batch normalisation; what its statistics are is decided by `norm=` when the graph is run."""

    @property
    def parameters(self) -> int:
        return 2 * self.shape[0]


@dataclass(frozen=True, slots=True)
class Relu(Node):
    """max(x, 0). Every ReLU module of the network is one node, also where several read the same value."""


#: Modes of pooling.
POOLS = ("average", "max")


@dataclass(frozen=True, slots=True)
class Pool(Node):
    """Average (padding excluded from the mean) or maximum pooling."""

    mode: str  # one of POOLS
    kernel: int
    stride: int = 1
    padding: int = 0


@dataclass(frozen=True, slots=True)
class Shift(Node):
    """x[:, :, 1:, 1:]: the second path of DARTS's factorised reduction."""


@dataclass(frozen=True, slots=True)
class Concat(Node):
    """Concatenation along channels."""


@dataclass(frozen=True, slots=True)
class Mixed(Node):
    """sum_i mask[slots[i]] * inputs[i]; with no live term it is zero."""

    slots: tuple[Slot | None, ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalAverage(Node):
    """Mean over height and width; shape (channels, 1, 1)."""


@dataclass(frozen=True, slots=True)
class Linear(Node):
    """The classifier: shape (classes, 1, 1), bias zero at initialisation."""

    in_features: int

    @property
    def weight_shape(self) -> tuple[int, int]:
        """[classes, features]"""
        return (self.shape[0], self.in_features)

    @property
    def fan_in(self) -> int:
        return self.in_features

    @property
    def flops(self) -> int:
        return self.shape[0] * (self.in_features + 1)

    @property
    def parameters(self) -> int:
        return self.shape[0] * (self.in_features + 1)


#: All kinds of nodes.
NODES: frozenset[type[Node]] = frozenset(
    (Input, Conv, Norm, Relu, Pool, Shift, Concat, Mixed, GlobalAverage, Linear)
)


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes of one network in topological order; the first is the images, the last the logits.

    cells: positions of the outputs of the stem and of every cell, in order.
    """

    nodes: tuple[Node, ...]
    cells: tuple[int, ...] = ()

    @property
    def flops(self) -> int:
        """Multiply-accumulates of one image, the convention of NAS-Bench-201 and of DARTS."""
        return sum(node.flops for node in self.nodes)

    @property
    def parameters(self) -> int:
        return sum(node.parameters for node in self.nodes)

    @property
    def classes(self) -> int:
        return self.nodes[-1].shape[0]

    @property
    def penultimate(self) -> int:
        """Position of what the classifier reads: the mean over height and width of the last features."""
        return self.nodes[-1].inputs[0]

    @property
    def unpooled(self) -> int:
        """Position of what `penultimate` is the mean of."""
        return self.nodes[self.penultimate].inputs[0]

    def norms(self) -> list[int]:
        """Positions of the `Norm` nodes, the order in which statistics are kept."""
        return [i for i, node in enumerate(self.nodes) if isinstance(node, Norm)]

    def live(self, mask: NDArray[np.float32] | None, roots: Iterable[int] = ()) -> list[bool]:
        """Which nodes reach the logits, or one of `roots`, when terms with a zero mask are cut (None: all
        terms live)."""
        live = [False] * len(self.nodes)
        for root in (len(self.nodes) - 1, *roots):
            live[root] = True
        for i in range(len(self.nodes) - 1, -1, -1):
            if live[i]:
                for j in live_inputs(self.nodes[i], mask):
                    live[j] = True
        return live

    def fed(self, mask: NDArray[np.float32] | None) -> list[bool]:
        """Which nodes depend on the images when terms with a zero mask are cut (None: no term is)."""
        fed = [isinstance(node, Input) for node in self.nodes]
        for i, node in enumerate(self.nodes):
            fed[i] |= any(fed[j] for j in live_inputs(node, mask))
        return fed

    def relu_sites(self, live: Sequence[bool]) -> dict[int, int]:
        """Value that a ReLU reads -> number of live ReLU modules that read it, in order of position."""
        sites: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            if isinstance(node, Relu):
                sites[node.inputs[0]] = sites.get(node.inputs[0], 0) + live[i]
        return dict(sorted(sites.items()))

    def modules(self, masks: NDArray[np.float32]) -> tuple[list[int], NDArray[np.int64]]:
        """masks [G, E, O] -> the values of `relu_sites`, int64 [values, G]: live modules of each."""
        left = _bits_of(masks != 0)
        live = [0] * (len(self.nodes) - 1) + [(1 << len(masks)) - 1]  # one bit per mask
        for i in range(len(self.nodes) - 1, -1, -1):
            node, own = self.nodes[i], live[i]
            if isinstance(node, Mixed):
                for j, slot in zip(node.inputs, node.slots, strict=True):
                    live[j] |= own if slot is None else own & left[slot]
            else:
                for j in node.inputs:
                    live[j] |= own
        modules = [(node.inputs[0], live[i]) for i, node in enumerate(self.nodes) if isinstance(node, Relu)]
        values = sorted({value for value, _ in modules})
        size = (len(masks) + 7) // 8
        packed = b"".join(bits.to_bytes(size, "little") for _, bits in modules)
        rows = np.frombuffer(packed, np.uint8).reshape(len(modules), size)
        counts = np.zeros((len(values), len(masks)), np.int64)
        of_module = np.unpackbits(rows, axis=1, count=len(masks), bitorder="little")
        np.add.at(counts, np.searchsorted(values, [value for value, _ in modules]), of_module)
        return values, counts


def _bits_of(left: NDArray[np.bool_]) -> dict[Slot, int]:
    """left [G, E, O] -> per slot a number whose bit g is left[g]."""
    packed = np.packbits(left.transpose(1, 2, 0), axis=2, bitorder="little")
    return {
        (edge, operation): int.from_bytes(packed[edge, operation].tobytes(), "little")
        for edge in range(left.shape[1])
        for operation in range(left.shape[2])
    }


def live_inputs(node: Node, mask: NDArray[np.float32] | None) -> Iterable[int]:
    """The inputs that `node` reads under `mask`: all, but for `Mixed` terms whose mask is zero."""
    if not isinstance(node, Mixed) or mask is None:
        return node.inputs
    return [j for j, slot in zip(node.inputs, node.slots, strict=True) if slot is None or mask[slot] != 0]


@dataclass(slots=True)
class Builder:
    """Appends nodes and infers their shapes; the only way graphs are made.

    Raises InvalidValueError, naming the node, for one that no network has: see `_refused`.
    """

    nodes: list[Node] = field(default_factory=list)
    cells: list[int] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def _add(self, node: Node) -> int:
        if why := self._refused(node):
            raise InvalidValueError(f"{type(node).__name__} {node.name!r} {why}")
        self.nodes.append(node)
        self.names.add(node.name)
        return len(self.nodes) - 1

    def _refused(self, node: Node) -> str | None:
        """The images come first; the mean over height and width, and the classifier of it, last."""
        reads = [self.nodes[j] for j in node.inputs]
        if isinstance(node, Input) == bool(self.nodes):
            return "must be the first node, and the only one of its kind, as Input always is"
        if node.name in self.names:
            return "has the name of a node before it: weights are drawn by name"
        if min(node.shape) < 1:
            return f"must have a pixel and a channel but has the shape {list(node.shape)}"
        if any(isinstance(each, GlobalAverage) != isinstance(node, Linear) for each in reads):
            return f"reads {reads[0].name!r}: Linear reads a GlobalAverage, and nothing else does"
        if any(isinstance(each, Linear) for each in reads):
            return f"reads the classifier {reads[0].name!r}, which must be the last node"
        if isinstance(node, Conv) and (node.in_channels % node.groups or node.shape[0] % node.groups):
            channels = f"{node.in_channels} and {node.shape[0]} channels"
            return f"has {node.groups} groups, which do not divide {channels}"
        if isinstance(node, Pool) and node.mode not in POOLS:
            return f"has the mode {node.mode!r}, which must be {' or '.join(POOLS)}"
        if isinstance(node, Pool) and 2 * node.padding > node.kernel:
            return f"has the padding {node.padding}, which is more than half of its kernel {node.kernel}"
        if isinstance(node, Concat) and len({each.shape[1:] for each in reads}) != 1:
            return f"must read values of one size but got {[list(each.shape) for each in reads]}"
        if isinstance(node, Mixed) and any(each.shape != node.shape for each in reads):
            return f"must add values {list(node.shape)} but got {[list(each.shape) for each in reads]}"
        return None

    def shape(self, x: int) -> Shape:
        if not 0 <= x < len(self.nodes):
            raise InvalidValueError(f"no node has the position {x}: read what the builder's methods return")
        return self.nodes[x].shape

    def _sides(self, x: int, window: int, stride: int, padding: int) -> tuple[int, int]:
        """Height and width of what a window leaves of a value."""
        _, height, width = self.shape(x)
        return (height + 2 * padding - window) // stride + 1, (width + 2 * padding - window) // stride + 1

    def input(self, channels: int, resolution: int) -> int:
        return self._add(Input("images", (), (channels, resolution, resolution)))

    def conv(
        self,
        name: str,
        x: int,
        channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
    ) -> int:
        _check(name, 1, channels=channels, kernel=kernel, stride=stride, dilation=dilation, groups=groups)
        _check(name, 0, padding=padding)
        in_channels = self.shape(x)[0]
        shape = (channels, *self._sides(x, dilation * (kernel - 1) + 1, stride, padding))
        return self._add(Conv(name, (x,), shape, in_channels, kernel, stride, padding, dilation, groups))

    def norm(self, name: str, x: int) -> int:
        return self._add(Norm(name, (x,), self.shape(x)))

    def relu(self, name: str, x: int) -> int:
        return self._add(Relu(name, (x,), self.shape(x)))

    def pool(self, name: str, x: int, mode: str, kernel: int, *, stride: int = 1, padding: int = 0) -> int:
        _check(name, 1, kernel=kernel, stride=stride)
        _check(name, 0, padding=padding)
        shape = (self.shape(x)[0], *self._sides(x, kernel, stride, padding))
        return self._add(Pool(name, (x,), shape, mode, kernel, stride, padding))

    def shift(self, name: str, x: int) -> int:
        channels, height, width = self.shape(x)
        return self._add(Shift(name, (x,), (channels, height - 1, width - 1)))

    def concat(self, name: str, values: Sequence[int]) -> int:
        _check(name, 1, values=len(values))
        shapes = [self.shape(x) for x in values]
        return self._add(Concat(name, tuple(values), (sum(s[0] for s in shapes), *shapes[0][1:])))

    def mixed(self, name: str, terms: Sequence[tuple[int, Slot | None]], shape: Shape) -> int:
        """`shape` is stated, because a node may have no term at all."""
        values = tuple(x for x, _ in terms)
        for x in values:
            self.shape(x)
        return self._add(Mixed(name, values, shape, tuple(slot for _, slot in terms)))

    def add(self, name: str, values: Sequence[int]) -> int:
        _check(name, 1, values=len(values))
        return self.mixed(name, [(x, None) for x in values], self.shape(values[0]))

    def global_average(self, name: str, x: int) -> int:
        return self._add(GlobalAverage(name, (x,), (self.shape(x)[0], 1, 1)))

    def linear(self, name: str, x: int, classes: int) -> int:
        return self._add(Linear(name, (x,), (classes, 1, 1), self.shape(x)[0]))

    def cell(self, x: int) -> int:
        """Notes that `x` is the output of the stem or of a cell, and returns it."""
        self.shape(x)
        self.cells.append(x)
        return x

    def graph(self) -> Graph:
        last = self.nodes[-1] if self.nodes else None
        if not isinstance(last, Linear):
            raise InvalidValueError(f"the last node must be Linear but is {last and last.name!r}")
        return Graph(tuple(self.nodes), tuple(self.cells))


def _check(name: str, least: int, **sizes: Any) -> None:
    for what, size in sizes.items():
        if not (type(size) is int or isinstance(size, Integral)) or int(size) < least:  # the first is fast
            limits = f"a whole number, {least} or more"
            raise InvalidValueError(f"`{what}` of {name!r} must be {limits}, but is {size!r}")
