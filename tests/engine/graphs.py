"""Graphs of all kinds of nodes, drawn at random through the Builder, and the space that one of them makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from znas_engine.graph import Builder, Graph, Shape, Slot
from znas_engine.spaces import Macro, SearchSpace
from znas_engine.spaces.base import Edge

EDGES, OPERATIONS = 3, 4
MACRO = Macro(channels=4, cells=1, resolution=8, classes=3)


class OneGraph(SearchSpace[Any]):
    """A space that is a graph whose slots lie in a mask [EDGES, OPERATIONS]."""

    name = "one graph"
    operations = tuple(f"operation {k}" for k in range(OPERATIONS))
    edges = tuple(Edge("cell", k, k + 1) for k in range(EDGES))

    def __init__(self, graph: Graph, part: np.ndarray[Any, np.dtype[np.bool_]] | None = None) -> None:
        self.graph = graph
        #: Of the operations, all of which may be kept, those in the mixture.
        self.part = np.ones(self.shape, bool) if part is None else part

    def mixture(self) -> Any:
        part = self.part.astype(np.float32)
        return part / np.maximum(part.sum(1, keepdims=True), 1)

    def supernet(self, macro: Macro) -> Graph:
        return self.graph

    def genotype(self, mask: Any) -> Any:
        raise NotImplementedError

    network = parse = mask = search_macro = proxy_macro = evaluation_macro = genotype


class _Drawing:
    """A graph under construction: every method appends a node of its kind if one fits."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.builder = Builder()

    def one_of(self, values: Any) -> Any:
        return self.draw(st.sampled_from(values))

    def name(self, kind: str) -> str:
        return f"{kind}_{len(self.builder.nodes)}"

    def read(self) -> int:
        """A value; what was made last is read most often, so that graphs grow deep."""
        count = len(self.builder.nodes)
        return count - 1 if self.draw(st.booleans()) else self.draw(st.integers(0, count - 1))

    def alike(self, of: Callable[[Shape], Any]) -> list[int]:
        """A value and those that share something of its shape."""
        wanted = of(self.builder.shape(self.read()))
        return [x for x in range(len(self.builder.nodes)) if of(self.builder.shape(x)) == wanted]

    def conv(self) -> None:
        x = self.read()
        channels, size, _ = self.builder.shape(x)
        groups = self.one_of([g for g in (1, 2, 3, channels) if channels % g == 0])
        kernel, dilation = self.one_of([1, 1, 2, 3, 3, 5, 7]), self.one_of([1, 1, 2, 3])
        reach = dilation * (kernel - 1)
        padding = self.one_of([reach // 2, reach // 2, 0, 1])
        if size + 2 * padding > reach:
            self.builder.conv(
                self.name("conv"),
                x,
                groups * self.one_of([1, 2]) if groups > 1 else self.one_of([1, 2, 4, 6, 17]),
                kernel,
                stride=self.one_of([1, 1, 1, 2, 3]),
                padding=padding,
                dilation=dilation,
                groups=groups,
            )

    def depthwise(self) -> None:
        x = self.read()
        channels = self.builder.shape(x)[0]
        kernel = self.one_of([3, 5, 7])
        stride = self.one_of([1, 2])
        self.builder.conv(
            self.name("depthwise"), x, channels, kernel, stride=stride, padding=kernel // 2, groups=channels
        )

    def norm(self) -> None:
        self.builder.norm(self.name("norm"), self.read())

    def relu(self) -> None:
        self.builder.relu(self.name("relu"), self.read())

    def pool(self) -> None:
        x = self.read()
        kernel = self.one_of([2, 3, 3, 3])
        padding = self.one_of([kernel // 2, kernel // 2, 0])
        if self.builder.shape(x)[1] + 2 * padding >= kernel:
            mode, stride = self.one_of(["average", "max"]), self.one_of([1, 1, 2, 3])
            self.builder.pool(self.name(mode), x, mode, kernel, stride=stride, padding=padding)

    def shift(self) -> None:
        x = self.read()
        if self.builder.shape(x)[1] > 1:
            self.builder.shift(self.name("shift"), x)

    def concat(self) -> None:
        parts = self.draw(
            st.lists(st.sampled_from(self.alike(lambda shape: shape[1:])), min_size=1, max_size=3)
        )
        if sum(self.builder.shape(x)[0] for x in parts) <= 40:
            self.builder.concat(self.name("concat"), parts)

    def mixed(self) -> None:
        values = self.alike(lambda shape: shape)
        slots: st.SearchStrategy[Slot | None] = st.none() | st.tuples(
            st.integers(0, EDGES - 1), st.integers(0, OPERATIONS - 1)
        )
        terms = self.draw(st.lists(st.tuples(st.sampled_from(values), slots), max_size=5))
        self.builder.mixed(self.name("mixed"), terms, self.builder.shape(values[0]))

    def cell(self) -> None:
        self.builder.cell(self.read())


#: What is drawn; twice what networks have most of.
KINDS = 2 * ("conv", "norm", "relu", "mixed") + ("depthwise", "pool", "shift", "concat", "cell")


@st.composite
def graphs(draw: Any) -> Graph:
    """Up to 14 nodes over 8 x 8 images of 1, 3 or 5 channels, in any order that has shapes."""
    made = _Drawing(draw)
    made.builder.input(draw(st.sampled_from([1, 3, 5])), 8)
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=14)):
        getattr(made, kind)()
    read = made.read()
    made.builder.linear("classifier", made.builder.global_average("pool", read), MACRO.classes)
    return made.builder.graph()
