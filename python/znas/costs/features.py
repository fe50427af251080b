"""What a network's latency may depend on, read off its supernet's graph for many architectures at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.admitted import admitted
from znas_engine.graph import Conv, Graph, Mixed, Node, Relu, Slot
from znas_engine.scores.cost import operation_of
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
#: Which operations a device executes: all that are there; those whose output reaches the logits (graph
#: exporters cut the others); those of them that images reach (optimisers that fold constants).
SCOPES = ("present", "needed", "live")
#: Masks whose graphs are walked together.
TOGETHER = 512
#: Random architectures that say how much a feature varies.
REFERENCE = 256


@dataclass(frozen=True, slots=True)
class Features:
    """Of n architectures under one scope. operations: how often each stands on each edge, dead ones not
    counted, float64 [n, E * O]; kinds: the same by operation and kind of cell, with what they multiply and
    what they write, [n, K]; shape: of the graph, how its operations meet, [n, S]."""

    operations: Floats
    kinds: Floats
    shape: Floats

    def __getitem__(self, rows: Any) -> Features:
        return Features(self.operations[rows], self.kinds[rows], self.shape[rows])


class Reader:
    """Reads architectures of one space at one size."""

    def __init__(self, space: SearchSpace[Any], macro: Macro) -> None:
        self.space = space
        self.graph: Graph = space.supernet(macro)
        self.slots = operation_of(self.graph)
        self.readers = _readers(self.graph)
        self.terms = np.zeros(space.shape)
        self.work = np.zeros((2, *space.shape))
        for node, slot in zip(self.graph.nodes, self.slots, strict=True):
            if slot is not None:
                self.work[0][slot] += node.flops
                self.work[1][slot] += prod(node.shape)
            for own in node.slots if isinstance(node, Mixed) else ():
                if own is not None:
                    self.terms[own] += 1
        cells = list(dict.fromkeys(edge.cell for edge in space.edges))
        #: [cells, E]: which edges belong to a kind of cell.
        self.cells = np.array([[edge.cell == cell for edge in space.edges] for cell in cells], float)

    @cached_property
    def reference(self) -> dict[str, Features]:
        """Of REFERENCE random architectures, by scope: how much a feature varies."""
        return self.read(random_masks(self.space, REFERENCE, np.random.default_rng(0)))

    def masks(self, genotypes: Sequence[Genotype]) -> Mask:
        """[n, E, O]"""
        return np.stack([self.space.mask(genotype) for genotype in genotypes])

    def _works(self) -> tuple[Floats, ...]:
        """What `Features.kinds` sums up of an operation: itself, its work, its activations, each [E, O]."""
        return (np.ones(self.space.shape), *self.work)

    def read(self, masks: Mask) -> dict[str, Features]:
        """masks [n, E, O] -> by scope."""
        parts = [self._read(masks[k : k + TOGETHER]) for k in range(0, len(masks), TOGETHER)]
        return {
            scope: Features(
                *(np.concatenate([getattr(part[scope], name) for part in parts]) for name in _NAMES)
            )
            for scope in SCOPES
        }

    def _read(self, masks: Mask) -> dict[str, Features]:
        there = {slot: masks[:, slot[0], slot[1]] > 0 for slot in np.ndindex(self.space.shape)}
        always = np.ones(len(masks), np.bool_)
        need, fed = self._need(there, always), self._fed(there, always)
        placed = [always if slot is None else there[slot] for slot in self.slots]
        everywhere = [always] * len(placed)
        return {
            "present": self._seen(masks, there, placed, everywhere),
            "needed": self._seen(masks, there, need, everywhere),
            "live": self._seen(masks, there, [n & f for n, f in zip(need, fed, strict=True)], fed),
        }

    def _need(self, there: dict[Slot, Bools], always: Bools) -> list[Bools]:
        """Per node, bool [n]: whether it reaches the logits."""
        need = [~always for _ in self.graph.nodes]
        need[-1] = always
        for i in range(len(need) - 1, -1, -1):
            for j, slot in _inputs(self.graph.nodes[i]):
                need[j] = need[j] | (need[i] if slot is None else need[i] & there[slot])
        return need

    def _fed(self, there: dict[Slot, Bools], always: Bools) -> list[Bools]:
        """Per node, bool [n]: whether images reach it."""
        fed: list[Bools] = []
        for node in self.graph.nodes:
            own = ~always if node.inputs else always
            for j, slot in _inputs(node):
                own = own | (fed[j] if slot is None else fed[j] & there[slot])
            fed.append(own)
        return fed

    def _seen(self, masks: Mask, there: dict[Slot, Bools], alive: list[Bools], fed: list[Bools]) -> Features:
        """alive, fed: per node, bool [n]: whether it is executed, and whether a sum reads it."""
        count = len(masks)
        share = np.zeros((count, *self.space.shape))
        sums = np.zeros((count, 2))  # additions, and the numbers that they add
        depth: list[Floats] = []
        for i, node in enumerate(self.graph.nodes):
            terms = np.zeros(count)
            deepest = np.zeros(count)
            for j, slot in _inputs(node):
                read = alive[i] & fed[j] if isinstance(node, Mixed) else alive[i]
                if slot is not None:
                    read = read & there[slot]
                    share[:, slot[0], slot[1]] += read / self.terms[slot]
                terms += read
                deepest = np.maximum(deepest, np.where(read, depth[j], 0))
            if isinstance(node, Mixed):
                added = np.maximum(terms - 1, 0)
                sums += added[:, None] * np.array([1, prod(node.shape)])
            depth.append(deepest + (alive[i] if isinstance(node, Conv) else 0))
        x = share * masks
        by_kind = [np.einsum("neo,ce->nco", x * work, self.cells) for work in self._works()]
        kinds = np.concatenate([part.reshape(count, -1) for part in by_kind], axis=1)
        shape = np.column_stack([self._values(there, alive, fed), sums, depth[-1]])
        return Features(x.reshape(count, -1), kinds, shape)

    def _values(self, there: dict[Slot, Bools], alive: list[Bools], fed: list[Bools]) -> Floats:
        """How many values are read by ReLUs alone, by other things alone, and by both, [n, 3]: a ReLU joins
        what makes its value where nothing else reads that."""
        found = np.zeros((len(alive[0]), 3))
        for value, readers in self.readers.items():
            rectified = other = ~np.ones_like(alive[0])
            for i, slot in readers:
                read = alive[i] & fed[value] if slot is None else alive[i] & fed[value] & there[slot]
                if isinstance(self.graph.nodes[i], Relu):
                    rectified = rectified | read
                else:
                    other = other | read
            found += np.column_stack([rectified & ~other, other & ~rectified, rectified & other])
        return found


def random_masks(space: SearchSpace[Any], count: int, rng: np.random.Generator) -> Mask:
    """path(a) of random admitted architectures, float32 [count, E, O]."""
    return np.stack([admitted(space, lambda: space.random_path(rng)) for _ in range(count)])


_NAMES = ("operations", "kinds", "shape")


def _inputs(node: Node) -> list[tuple[int, Slot | None]]:
    slots: Sequence[Slot | None] = node.slots if isinstance(node, Mixed) else [None] * len(node.inputs)
    return list(zip(node.inputs, slots, strict=True))


def _readers(graph: Graph) -> dict[int, list[tuple[int, Slot | None]]]:
    """Of every value that a ReLU reads, who reads it, and by which term."""
    rectified = {node.inputs[0] for node in graph.nodes if isinstance(node, Relu)}
    found: dict[int, list[tuple[int, Slot | None]]] = {value: [] for value in sorted(rectified)}
    for i, node in enumerate(graph.nodes):
        for j, slot in _inputs(node):
            if j in found:
                found[j].append((i, slot))
    return found
