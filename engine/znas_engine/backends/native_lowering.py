"""From a graph to a program of fused steps for the compiled executor.

Only what several readers or a non-linear reader need is a value of the program; everything else is a term
of the sum that reads it. Frozen normalisation becomes a scale and a constant of such terms. ReLUs, shifts and
concatenations that no convolution reads are 1x1 convolutions with the identity for a weight.

Every value can be read by something: a sum by everything, the images by convolutions alone, a max pool by
sums alone. Where something else reads one of these two, a sum copies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from znas_engine._core import NO_SLOT, ProgramBuilder, TermKind
from znas_engine.graph import (
    Concat,
    Conv,
    GlobalAverage,
    Graph,
    Input,
    Linear,
    Mixed,
    Norm,
    Pool,
    Relu,
    Shape,
    Shift,
    Slot,
)
from znas_engine.supernet.normalisation import EPSILON, Statistics

Vector = NDArray[np.float32]
#: Of a constant, which reads nothing.
NO_SOURCE = -1
#: Operations that one sum adds up under batch normalisation.
TOGETHER = 4


class _Term(NamedTuple):
    """What a virtual node adds to the sum that reads it."""

    kind: TermKind
    values: NDArray[np.float32]
    source: int = NO_SOURCE
    slot: int = NO_SLOT
    rectified: bool = False
    normalised: bool = False
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    shift: int = 0

    def scaled(self, scale: Vector) -> _Term:
        return self._replace(values=self.values * scale.reshape(-1, *[1] * (self.values.ndim - 1)))

    def moved(self, begin: int, channels: int) -> _Term:
        """A product that gives the channels from `begin` on of a sum of so many, nothing for the others."""
        whole = np.zeros((channels, *self.values.shape[1:]), np.float32)
        whole[begin : begin + len(self.values)] = self.values
        return self._replace(values=whole)


class Lowering:
    """Fills `builder`. sites: graph position of a value that ReLUs read -> number of the program's site.
    features: likewise the sites of `graph.cells`, in order; no value belongs to two of them. last, unpooled:
    position and site of what is averaged for the classifier, before its ReLU where `rectified`.

    norms: graph position of a `Norm` -> number of its moments, in order, where statistics is None (batch).
    masks: the shape of those that the program takes, [E, O].
    """

    def __init__(
        self,
        graph: Graph,
        weight: Callable[[Any], NDArray[np.float32]],
        statistics: Statistics | None,
        masks: tuple[int, int],
        builder: ProgramBuilder,
    ) -> None:
        self.graph = graph
        self.weight = weight
        self.statistics = statistics
        self.masks = masks
        self.builder = builder
        self.made: dict[int, int] = {}
        self.copies: dict[int, int] = {}
        self.measured: dict[int, int] = {}
        self.sites: dict[int, int] = {}
        #: Of every node, those that read it.
        self.readers: list[list[Any]] = [[] for _ in graph.nodes]
        for node in graph.nodes:
            for j in node.inputs:
                self.readers[j].append(node)
        read_by_relu = {n.inputs[0] for n in graph.nodes if isinstance(n, Relu)}
        # A value is made where it is first read: what an edge needs is not kept while those before it run.
        for position, node in enumerate(graph.nodes):
            if isinstance(node, Input | Mixed):
                self.value(position)
        for position in sorted(read_by_relu):
            self.sites[position] = self._site(self._sums(position))
        taken: set[int] = set()
        self.features = [self._feature(position, taken) for position in graph.cells]
        self.last, self.rectified = last, _ = self._unrectified(graph.unpooled)
        known = dict(zip(graph.cells, self.features, strict=True))
        self.unpooled = known[last] if last in known else self._feature(last, taken)
        self._head(graph.nodes[-1])
        self.norms = list(self.measured)

    # --- values --------------------------------------------------------------------------------------

    def value(self, position: int) -> int:
        """The program's value that holds a node, made on first use."""
        if position not in self.made:
            self.made[position] = self._value(position)
        return self.made[position]

    def _value(self, position: int) -> int:
        node = self.graph.nodes[position]
        if isinstance(node, Input):
            made = self.builder.images(node.shape)
        elif isinstance(node, Pool) and node.mode == "max":
            source = self.sum(node.inputs[0])
            made = self.builder.max_pool(
                node.shape, source=source, kernel=node.kernel, stride=node.stride, padding=node.padding
            )
        elif isinstance(node, Mixed) and node.inputs and self.statistics is None:
            made = self._few_by_few(node)
        else:
            made = self._sum(node.shape, self.terms(position), moments=False)
        return made

    def sum(self, position: int) -> int:
        """A value that holds a node and that everything can read."""
        if self._is_sum(position):
            return self.value(position)
        if position not in self.copies:
            shape = self.graph.nodes[position].shape
            self.copies[position] = self._sum(shape, self._identity(position), moments=False)
        return self.copies[position]

    def _sums(self, position: int) -> list[int]:
        """Those of a node that may be a concatenation, side by side."""
        return [self.sum(leaf) for leaf in self._leaves(position)]

    def _is_sum(self, position: int) -> bool:
        node = self.graph.nodes[position]
        return not isinstance(node, Input) and not (isinstance(node, Pool) and node.mode == "max")

    def _leaves(self, position: int) -> list[int]:
        """What a node that may be a concatenation consists of."""
        node = self.graph.nodes[position]
        return (
            [leaf for j in node.inputs for leaf in self._leaves(j)]
            if isinstance(node, Concat)
            else [position]
        )

    def _unrectified(self, position: int) -> tuple[int, bool]:
        """What a ReLU reads, and whether the node is one. What ReLUs read has codes: it is never looked
        through."""
        node = self.graph.nodes[position]
        return (node.inputs[0], True) if isinstance(node, Relu) else (position, False)

    # --- terms ---------------------------------------------------------------------------------------

    def terms(self, position: int) -> list[_Term]:
        """The node as a sum of terms."""
        node = self.graph.nodes[position]
        match node:
            case Mixed():
                return self._mixed(zip(node.inputs, node.slots, strict=True))
            case Norm():
                return self._normalised(position, node)
            case Conv() if _is_depthwise(node):
                return self._depthwise(node)
            case Conv():
                return self._convolution(node, _whole(node, self.weight(node)))
            case Concat():
                return self._concatenation(node)
            case Pool(mode="average"):
                ones = np.ones(node.shape[0], np.float32)
                return [
                    _Term(
                        TermKind.average_pool,
                        ones,
                        self.sum(node.inputs[0]),
                        kernel=node.kernel,
                        stride=node.stride,
                        padding=node.padding,
                    )
                ]
            case _:
                return self._copy(position)

    def _operand(self, position: int) -> list[_Term]:
        """What a sum adds that reads the node; values stay values."""
        if position in self.made or not self._is_sum(position) or self._shared(position):
            return self._identity(position)
        return self.terms(position)

    def _shared(self, position: int) -> bool:
        """Whether something other than one sum reads the node, so that it is worth a value."""
        if isinstance(self.graph.nodes[position], Mixed):
            return True
        readers = self.readers[position]
        return len(readers) > 1 or not isinstance(readers[0], Mixed | Norm | Concat)

    def _identity(self, position: int) -> list[_Term]:
        """The value that holds the node, as it is."""
        node = self.graph.nodes[position]
        if isinstance(node, Input):
            return self._copy(position)
        return [_plain(self.value(position), node.shape[0])]

    def _copy(self, position: int) -> list[_Term]:
        """The node as a 1x1 convolution of what it reads, or of itself."""
        node = self.graph.nodes[position]
        one_by_one = Conv(node.name, (position,), node.shape, node.shape[0], kernel=1)
        return self._convolution(one_by_one, np.eye(node.shape[0], dtype=np.float32)[:, :, None, None])

    def _mixed(self, inputs: Iterable[tuple[int, Slot | None]]) -> list[_Term]:
        """Some of a node's inputs, each with its mask entry."""
        found = []
        for j, slot in inputs:
            for term in self._operand(j):
                if slot is not None:
                    assert term.slot == NO_SLOT
                    term = term._replace(slot=slot[0] * self.masks[1] + slot[1])
                found.append(term)
        return found

    def _few_by_few(self, node: Mixed) -> int:
        """The node as a chain of sums, of `TOGETHER` operations of one edge at most.

        Batch normalisation needs every operation's output whole, of all images; this way only those of one
        sum have to be kept.
        """
        inputs = zip(node.inputs, node.slots, strict=True)
        before: list[_Term] = []
        for edge in (list(pairs) for _, pairs in groupby(inputs, key=lambda pair: pair[1] and pair[1][0])):
            for first in range(0, len(edge), TOGETHER):
                few = self._mixed(edge[first : first + TOGETHER])
                made = self._sum(node.shape, [*before, *few], moments=False)
                before = [_plain(made, node.shape[0])]
        return made

    def _normalised(self, position: int, node: Norm) -> list[_Term]:
        read = node.inputs[0]
        if self.statistics is None:
            if position not in self.measured:
                self.measured[position] = self._sum(node.shape, self._operand(read), moments=True)
            ones = np.ones(node.shape[0], np.float32)
            return [_Term(TermKind.linear, ones, self.measured[position], normalised=True)]
        scale = 1 / np.sqrt(self.statistics.variance[position] + np.float32(EPSILON))
        found = [term.scaled(scale) for term in self._operand(read)]
        return [*found, _Term(TermKind.constant, -self.statistics.mean[position] * scale)]

    def _convolution(self, node: Conv, weight: NDArray[np.float32]) -> list[_Term]:
        """weight: [out, in, kernel, kernel]; further output channels belong to whoever reads the terms."""
        read, shift = node.inputs[0], 0
        # Padding surrounds what was shifted; it takes the place of what the shift cut off.
        while isinstance(self.graph.nodes[read], Shift) and node.padding == 0:
            shift, read = shift + 1, self.graph.nodes[read].inputs[0]
        read, rectified = self._unrectified(read)
        found, begin = [], 0
        for leaf in self._leaves(read):
            source = self._convolved(leaf, rectified)
            channels = self.graph.nodes[leaf].shape[0]
            part = np.ascontiguousarray(weight[:, begin : begin + channels])
            found.append(
                _Term(
                    TermKind.product,
                    part,
                    source,
                    rectified=rectified,
                    kernel=node.kernel,
                    stride=node.stride,
                    padding=node.padding,
                    dilation=node.dilation,
                    shift=shift,
                )
            )
            begin += channels
        return found

    def _depthwise(self, node: Conv) -> list[_Term]:
        read, rectified = self._unrectified(node.inputs[0])
        return [
            _Term(
                TermKind.depthwise,
                self.weight(node),
                self._convolved(read, rectified),
                rectified=rectified,
                kernel=node.kernel,
                stride=node.stride,
                padding=node.padding,
                dilation=node.dilation,
            )
        ]

    def _convolved(self, position: int, rectified: bool) -> int:
        """The value that holds what a convolution reads, before a ReLU where `rectified`."""
        images = isinstance(self.graph.nodes[position], Input) and not rectified
        return self.value(position) if images else self.sum(position)

    def _concatenation(self, node: Concat) -> list[_Term]:
        """Convolutions side by side: each gives its own output channels, zero for the others."""
        found: list[_Term] = []
        begin = 0
        for j in node.inputs:
            part = self.graph.nodes[j]
            inlined = isinstance(part, Conv) and not _is_depthwise(part) and not self._shared(j)
            terms = self.terms(j) if inlined else self._copy(j)
            found += [term.moved(begin, node.shape[0]) for term in terms]
            begin += part.shape[0]
        return found

    # --- sums, sites and the head --------------------------------------------------------------------

    def _sum(self, shape: Shape, terms: list[_Term], *, moments: bool) -> int:
        made = self.builder.sum(shape, moments=moments)
        for term in terms:
            self.builder.add(
                made,
                kind=term.kind,
                values=term.values,
                source=term.source,
                slot=term.slot,
                rectified=term.rectified,
                normalised=term.normalised,
                kernel=term.kernel,
                stride=term.stride,
                padding=term.padding,
                dilation=term.dilation,
                shift=term.shift,
            )
        return made

    def _site(self, values: list[int]) -> int:
        return self.builder.site(values)

    def _feature(self, position: int, taken: set[int]) -> int:
        """A site of values that are not `taken`, which they are from then on."""
        values = self._sums(position)
        if position in self.sites and taken.isdisjoint(values) and len({*values}) == len(values):
            found = self.sites[position]
        else:
            for place, leaf in enumerate(self._leaves(position)):
                if values[place] in {*taken, *values[:place]}:
                    shape = self.graph.nodes[leaf].shape
                    values[place] = self._sum(shape, [_plain(values[place], shape[0])], moments=False)
            found = self._site(values)
        taken.update(values)
        return found

    def _head(self, node: Any) -> None:
        assert isinstance(node, Linear)
        pool = self.graph.nodes[node.inputs[0]]
        assert isinstance(pool, GlobalAverage)
        read, rectified = self._unrectified(pool.inputs[0])
        self.builder.head(sources=self._sums(read), rectified=rectified, weights=self.weight(node))


def _plain(value: int, channels: int) -> _Term:
    return _Term(TermKind.linear, np.ones(channels, np.float32), value)


def _is_depthwise(node: Conv) -> bool:
    """Whether the program has it: every channel by its own kernel, of the sizes that its steps know."""
    channels = node.shape[0]
    return (
        1 < node.groups == node.in_channels == channels
        and node.kernel in (3, 5, 7)
        and node.dilation in (1, 2)
        and node.stride in (1, 2)
    )


def _whole(node: Conv, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weight of a convolution of all input channels: zero between groups."""
    if node.groups == 1:
        return weight
    whole = np.zeros(
        (node.groups, node.shape[0] // node.groups, node.in_channels, *weight.shape[2:]), np.float32
    )
    width = weight.shape[1]
    for group, part in enumerate(np.split(weight, node.groups)):
        whole[group, :, group * width : (group + 1) * width] = part
    return whole.reshape(node.shape[0], node.in_channels, *weight.shape[2:])
