"""From a graph to a program of fused steps for the compiled executor.

Only what several readers or a non-linear reader need is a value of the program; everything else is a term
of the sum that reads it. Frozen normalisation becomes a scale and a constant of such terms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
    Shift,
    Slot,
)
from znas_engine.supernet.normalisation import EPSILON, Statistics
from znas_engine.supernet.rescale import cell_of

Vector = NDArray[np.float32]
NO_SLOT = -1
#: Operations that one sum adds up under batch normalisation.
TOGETHER = 4


@dataclass(frozen=True, slots=True)
class _Term:
    """What a virtual node adds to the sum that reads it."""

    kind: str  # "linear" | "average_pool" | "product" | "constant": the builder's method
    source: int
    values: NDArray[np.float32]
    slot: int = NO_SLOT
    arguments: dict[str, Any] = field(default_factory=dict)

    def scaled(self, scale: Vector) -> _Term:
        return replace(self, values=self.values * scale.reshape(-1, *[1] * (self.values.ndim - 1)))


class Lowering:
    """Fills `builder`. sites: graph position of a value that ReLUs read -> number of the program's site.
    features: likewise the sites of `graph.cells`, in order.

    norms: graph position of a `Norm` -> number of its moments, in order, where statistics is None (batch).
    masks: the shape of those that the program takes, [E, O] or [cells, E, O].
    """

    def __init__(
        self,
        graph: Graph,
        weight: Callable[[Any], NDArray[np.float32]],
        statistics: Statistics | None,
        masks: tuple[int, ...],
        builder: Any,
    ) -> None:
        self.graph = graph
        self.weight = weight
        self.statistics = statistics
        self.masks = masks
        self.builder = builder
        self.made: dict[int, int] = {}
        self.norms: list[int] = []
        self.sites: dict[int, int] = {}
        #: Of every node, those that read it.
        self.readers: list[list[Any]] = [[] for _ in graph.nodes]
        for node in graph.nodes:
            for j in set(node.inputs):
                self.readers[j].append(node)
        read_by_relu = {n.inputs[0] for n in graph.nodes if isinstance(n, Relu)}
        # A value is made where it is first read: what an edge needs is not kept while those before it run.
        for position, node in enumerate(graph.nodes):
            if isinstance(node, Input | Mixed):
                self.value(position)
        for position in sorted(read_by_relu):
            self.sites[position] = self._site(position)
        self.features = [
            self.sites[position] if position in self.sites else self._site(position)
            for position in graph.cells
        ]
        self._head(graph.nodes[-1])

    def value(self, position: int) -> int:
        """The program's value that holds a node, made on first use."""
        if position in self.made:
            return self.made[position]
        node = self.graph.nodes[position]
        if isinstance(node, Input):
            made = self.builder.images(node.shape)
        elif self._is_depthwise(position):
            assert isinstance(node, Conv)
            source, rectified = self._read(node.inputs[0])
            made = self.builder.depthwise(
                node.shape,
                source,
                self.weight(node),
                rectified,
                node.kernel,
                node.stride,
                node.padding,
                node.dilation,
            )
        elif isinstance(node, Pool) and node.mode == "max":
            source = self.value(node.inputs[0])
            made = self.builder.max_pool(node.shape, source, node.kernel, node.stride, node.padding)
        elif isinstance(node, Mixed) and self.statistics is None:
            made = self._few_by_few(position, node)
        else:
            made = self._sum(node.shape, self.terms(position), moments=False)
        self.made[position] = made
        return self.made[position]

    def parts(self, position: int) -> list[tuple[int, int]]:
        """(value, channels) of a node that may be a concatenation."""
        node = self.graph.nodes[position]
        if isinstance(node, Concat):
            return [part for j in node.inputs for part in self.parts(j)]
        return [(self.value(position), node.shape[0])]

    def terms(self, position: int) -> list[_Term]:
        """The node as a sum of terms."""
        node = self.graph.nodes[position]
        match node:
            case Mixed():
                return self._mixed(position, zip(node.inputs, node.slots, strict=True))
            case Norm():
                return self._normalised(position, node)
            case Conv():
                return self._convolution(node, self.weight(node))
            case Concat():
                return self._concatenation(node)
            case Pool(mode="average"):
                ones = np.ones(node.shape[0], np.float32)
                geometry = {"kernel": node.kernel, "stride": node.stride, "padding": node.padding}
                return [_Term("average_pool", self.value(node.inputs[0]), ones, arguments=geometry)]
            case _:
                return [self._identity(position)]

    def _mixed(self, position: int, inputs: Iterable[tuple[int, Slot | None]]) -> list[_Term]:
        """Some of a node's inputs, each with its mask entry."""
        found = []
        for j, slot in inputs:
            for term in [self._identity(j)] if j in self.made else self._operand(j):
                if slot is not None:
                    assert term.slot == NO_SLOT
                    term = replace(term, slot=self._slot(position, slot))
                found.append(term)
        return found

    def _few_by_few(self, position: int, node: Mixed) -> int:
        """The node as a chain of sums, of `TOGETHER` operations of one edge at most.

        Batch normalisation needs every operation's output whole, of all images; this way only those of one
        sum have to be kept.
        """
        inputs = zip(node.inputs, node.slots, strict=True)
        before: list[_Term] = []
        for edge in (list(pairs) for _, pairs in groupby(inputs, key=lambda pair: pair[1] and pair[1][0])):
            for first in range(0, len(edge), TOGETHER):
                few = self._mixed(position, edge[first : first + TOGETHER])
                made = self._sum(node.shape, [*before, *few], moments=False)
                before = [self._plain(made, node.shape[0])]
        return made

    def _operand(self, position: int) -> list[_Term]:
        """A term list for a node that a sum reads; values stay values."""
        node = self.graph.nodes[position]
        if isinstance(node, Mixed | Input) or (isinstance(node, Pool) and node.mode == "max"):
            return [self._identity(position)]
        if isinstance(node, Norm) and self._shared(position):
            return [self._identity(position)]
        return self.terms(position)

    def _shared(self, position: int) -> bool:
        """Whether something other than one sum reads the node, so that it is worth a value."""
        readers = self.readers[position]
        return len(readers) > 1 or not isinstance(readers[0], Mixed)

    def _identity(self, position: int) -> _Term:
        return self._plain(self.value(position), self.graph.nodes[position].shape[0])

    def _plain(self, value: int, channels: int) -> _Term:
        return _Term("linear", value, np.ones(channels, np.float32), arguments={"normalised": False})

    def _normalised(self, position: int, node: Norm) -> list[_Term]:
        read = node.inputs[0]
        if self.statistics is None:
            moments = self._sum(node.shape, self._operand(read), moments=True)
            self.norms.append(position)
            ones = np.ones(node.shape[0], np.float32)
            return [_Term("linear", moments, ones, arguments={"normalised": True})]
        scale = 1 / np.sqrt(self.statistics.variance[position] + np.float32(EPSILON))
        found = [term.scaled(scale) for term in self._operand(read)]
        return [*found, _Term("constant", -1, -self.statistics.mean[position] * scale)]

    def _convolution(self, node: Conv, weight: NDArray[np.float32]) -> list[_Term]:
        read = node.inputs[0]
        shift = 0
        if isinstance(self.graph.nodes[read], Shift):
            shift, read = 1, self.graph.nodes[read].inputs[0]
        rectified = isinstance(self.graph.nodes[read], Relu)
        if rectified:
            read = self.graph.nodes[read].inputs[0]
        geometry = {
            "rectified": rectified,
            "kernel": node.kernel,
            "stride": node.stride,
            "padding": node.padding,
            "dilation": node.dilation,
            "shift": shift,
        }
        found, begin = [], 0
        for value, channels in self.parts(read):
            part = np.ascontiguousarray(weight[:, begin : begin + channels])
            found.append(_Term("product", value, part, arguments=geometry))
            begin += channels
        return found

    def _concatenation(self, node: Concat) -> list[_Term]:
        """Convolutions side by side: each gives its own output channels, zero for the others."""
        found, begin = [], 0
        for j in node.inputs:
            part = self.graph.nodes[j]
            assert isinstance(part, Conv)
            whole = np.zeros((node.shape[0], *part.weight_shape[1:]), np.float32)
            whole[begin : begin + part.shape[0]] = self.weight(part)
            found += self._convolution(part, whole)
            begin += part.shape[0]
        return found

    def _site(self, position: int) -> int:
        made: int = self.builder.site([value for value, _ in self.parts(position)])
        return made

    def _read(self, position: int) -> tuple[int, bool]:
        node = self.graph.nodes[position]
        if isinstance(node, Relu):
            return self.value(node.inputs[0]), True
        return self.value(position), False

    def _sum(self, shape: tuple[int, int, int], terms: list[_Term], *, moments: bool) -> int:
        made: int = self.builder.sum(shape, moments)
        for term in terms:
            match term.kind:
                case "constant":
                    self.builder.constant(made, term.values, term.slot)
                case kind:
                    add = getattr(self.builder, kind)
                    add(made, term.source, term.values, term.slot, **term.arguments)
        return made

    def _head(self, node: Any) -> None:
        assert isinstance(node, Linear)
        pool = self.graph.nodes[node.inputs[0]]
        assert isinstance(pool, GlobalAverage)
        read = pool.inputs[0]
        rectified = isinstance(self.graph.nodes[read], Relu)
        if rectified:
            read = self.graph.nodes[read].inputs[0]
        self.builder.head([value for value, _ in self.parts(read)], rectified, self.weight(node))

    def _slot(self, position: int, slot: Slot) -> int:
        """The place in a flat mask."""
        cell = (cell_of(self.graph, position),) if len(self.masks) == 3 else ()
        return int(np.ravel_multi_index((*cell, *slot), self.masks))

    def _is_depthwise(self, position: int) -> bool:
        node = self.graph.nodes[position]
        return isinstance(node, Conv) and node.groups > 1
