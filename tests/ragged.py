"""A search space from outside: other operations than ours, and other candidates on every edge."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder, Graph, Slot
from znas_engine.spaces.base import Bools, Edge, Genotype, Macro, Mask, SearchSpace

OPERATIONS = ("conv_1", "identity", "none", "conv_3")
EDGES = (Edge("cell", 0, 1), Edge("cell", 0, 2), Edge("cell", 1, 2))
Terms = list[list[tuple[str, Slot | None]]]


@dataclass(frozen=True, slots=True)
class RaggedGenotype(Genotype):
    names: tuple[str, ...]

    def __str__(self) -> str:
        return "-".join(self.names)

    def structure(self) -> list[str]:
        return list(self.names)


class Ragged(SearchSpace[RaggedGenotype]):
    """Two nodes; the first edge has two candidates, the second three, the last one a single one."""

    name = "ragged"
    operations = OPERATIONS
    edges = EDGES
    trainable = "tests.ragged_network"

    @cached_property
    def candidates(self) -> Bools:
        return np.array([[1, 0, 0, 1], [0, 1, 1, 1], [0, 0, 0, 1]], dtype=np.bool_)

    @cached_property
    def mixed(self) -> Bools:
        return self.candidates | np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 1, 0]], dtype=np.bool_)

    def search_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=8, cells=2, resolution=resolution, classes=classes)

    def proxy_macro(self, *, resolution: int, classes: int) -> Macro:
        return Macro(channels=4, cells=1, resolution=resolution, classes=classes)

    evaluation_macro = search_macro

    def admits(self, mask: Mask) -> bool:
        """A rule of its own: not both, an identity and a wide convolution."""
        return self.genotype(mask).names[:2] != ("conv_3", "identity")

    def repair(self, scores: Any, selected: Any) -> Any:
        if self.admits(np.eye(4, dtype=np.float32)[selected]):
            return selected
        return np.array([0, *selected[1:]])

    def supernet(self, macro: Macro) -> Graph:
        return _build(
            macro,
            [[(OPERATIONS[o], (e, o)) for o in np.flatnonzero(row)] for e, row in enumerate(self.mixed)],
        )

    def network(self, genotype: RaggedGenotype, macro: Macro) -> Graph:
        return _build(macro, [[(name, None)] for name in genotype.names])

    def parse(self, written: Any) -> RaggedGenotype:
        names = tuple(written.split("-")) if isinstance(written, str) else tuple(written)
        if len(names) != len(EDGES) or not set(names) <= set(OPERATIONS):
            raise InvalidValueError(f"not a ragged architecture: {written!r}")
        return RaggedGenotype(names)

    def mask(self, genotype: RaggedGenotype) -> Mask:
        return np.eye(4, dtype=np.float32)[[OPERATIONS.index(name) for name in genotype.names]]

    def genotype(self, mask: Mask) -> RaggedGenotype:
        if mask.shape != self.shape or not (((mask == 0) | (mask == 1)).all() and (mask.sum(1) == 1).all()):
            raise InvalidValueError("a ragged architecture has rows that are one-hot")
        return RaggedGenotype(tuple(OPERATIONS[o] for o in mask.argmax(1)))


class Uneven(Ragged):
    """Pairs of operations cost something too: its counts are no sums over operations."""

    name = "uneven"

    def network(self, genotype: RaggedGenotype, macro: Macro) -> Graph:
        pair = genotype.names[0] == "conv_3" and genotype.names[1] == "conv_3"
        return super().network(genotype, replace(macro, classes=macro.classes + pair))


def _build(macro: Macro, candidates: Terms) -> Graph:
    b = Builder()
    x = b.cell(b.conv("stem", b.input(macro.inputs, macro.resolution), macro.channels, 3, padding=1))
    for cell in range(macro.cells):
        nodes = [x]
        for target in (1, 2):
            terms = [
                (_operation(b, f"cells.{cell}.{e}", name, nodes[edge.source]), slot)
                for e, edge in enumerate(EDGES)
                if edge.target == target
                for name, slot in candidates[e]
                if name != "none"
            ]
            nodes.append(b.mixed(f"cells.{cell}.node{target}", terms, b.shape(x)))
        x = b.cell(nodes[-1])
    b.linear("classifier", b.global_average("pool", x), macro.classes)
    return b.graph()


def _operation(b: Builder, path: str, name: str, x: int) -> int:
    if name == "identity":
        return x
    kernel = int(name[-1])
    path = f"{path}.{name}"
    return b.conv(f"{path}.1", b.relu(f"{path}.0", x), b.shape(x)[0], kernel, padding=kernel // 2)
