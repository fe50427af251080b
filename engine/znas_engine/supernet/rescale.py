"""Powers of two that keep half precision in range where nothing normalises (norm=identity).

There a supernet has no biases and is positively homogeneous: a value may be scaled at a node and the logits
scaled back, exactly if by a power of two. How values grow depends on the mask, so scales enter with it: every
cell gets a mask of its own.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Graph, Mixed, Node, Slot
from znas_engine.spaces.base import Mask


def cell_of(graph: Graph, position: int) -> int:
    """Which of `graph.cells` a node belongs to: the first that does not come before it."""
    return bisect_left(graph.cells, position)


@dataclass(frozen=True, slots=True)
class Scaled:
    """mask: float32, what the graph takes. exponents: per node of the graph k, where the graph under `mask`
    holds 2^-k times the node's value."""

    mask: Mask
    exponents: tuple[int, ...]


class Rescale:
    """Masks [E, O] -> `Scaled`, under which the largest node of every cell has a power of about 1.

    powers: what one float32 pass under `mixture` shows of the terms of every `Mixed` and `Concat` node, by
    its position: float64 [terms, terms], the mean of the product of two terms. From them, and from how its
    sources grow, follows the power of a node under any mask, as far as the terms keep their correlations. A
    forecast may be wrong by a factor of a thousand before float16 overflows.

    Raises InvalidValueError where one mask per cell cannot carry the scales, see `_check`.
    """

    def __init__(self, graph: Graph, mixture: Mask, powers: Mapping[int, NDArray[np.float64]]) -> None:
        _check(graph)
        self.graph = graph
        self.powers = powers
        self.usual = {i: _power(power, _weights(graph.nodes[i], mixture)) for i, power in powers.items()}

    def __call__(self, mask: Mask) -> Scaled:
        cells = [0.0] * len(self.graph.cells)
        for i, power in self._forecast(mask).items():
            if _is_masked(self.graph.nodes[i]):
                cell = cell_of(self.graph, i)
                cells[cell] = max(cells[cell], math.sqrt(power))
        per_cell = np.zeros((len(cells), *mask.shape), np.float32)
        exponents: list[int] = []
        for i, node in enumerate(self.graph.nodes):
            if isinstance(node, Mixed) and _is_masked(node):
                cell = cell_of(self.graph, i)
                _, exponent = math.frexp(cells[cell])
                for j, slot in zip(node.inputs, node.slots, strict=True):
                    per_cell[cell][slot] = math.ldexp(mask[slot], exponents[j] - exponent)
                exponents.append(exponent)
            else:
                exponents.append(exponents[node.inputs[0]] if node.inputs else 0)
        return Scaled(per_cell, tuple(exponents))

    def _forecast(self, mask: Mask) -> dict[int, float]:
        """The mean square of every `Mixed` and `Concat` node under a mask."""
        growth: list[float] = []  # against the mixture, of every node's root mean square
        found: dict[int, float] = {}
        for i, node in enumerate(self.graph.nodes):
            if i not in self.powers:
                growth.append(growth[node.inputs[0]] if node.inputs else 1.0)
                continue
            weights = _weights(node, mask) * [growth[j] for j in node.inputs]
            found[i] = _power(self.powers[i], weights)
            growth.append(math.sqrt(found[i] / self.usual[i]) if self.usual[i] else 0.0)
        return found


def _check(graph: Graph) -> None:
    """Scales enter at masked sums, one per cell and slot: whatever else joins values must get them from one
    cell, and so must the terms that share a slot of a cell's mask."""
    origins: list[int] = []  # per node the cell whose scale its values have; -1: the images'
    read: dict[tuple[int, Slot], int] = {}  # whose values a slot of a cell's mask is for
    for i, node in enumerate(graph.nodes):
        cell, found = cell_of(graph, i), {origins[j] for j in node.inputs}
        terms = zip(node.inputs, node.slots, strict=True) if isinstance(node, Mixed) else ()
        slots = [(j, slot) for j, slot in terms if slot is not None]
        origins.append(cell if _is_masked(node) else next(iter(found), -1))
        why = None
        if slots and not _is_masked(node):
            why = "adds a constant term to masked ones"
        elif slots and cell == len(graph.cells):
            why = "comes after the last cell"
        elif any(read.setdefault((cell, slot), origins[j]) != origins[j] for j, slot in slots):
            why = "reads a slot of its cell's mask for values of another cell than a node before it"
        elif not _is_masked(node) and len(found) > 1:
            why = "joins values of different cells"
        if why:
            raise InvalidValueError(
                f"float16 without normalisation needs scales, which this graph has no place for: "
                f"{type(node).__name__} {node.name!r} {why}; pass --dtype float32 or another --norm"
            )


def _power(power: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """The mean square of a sum of terms; rounding may not make it negative."""
    return max(float(weights @ power @ weights), 0.0)


def _weights(node: Node, mask: Mask) -> NDArray[np.float64]:
    """What every input of a node is multiplied with."""
    slots = node.slots if isinstance(node, Mixed) else [None] * len(node.inputs)
    return np.array([1.0 if slot is None else mask[slot] for slot in slots], np.float64)


def unscaled(graph: Graph) -> Callable[[Mask], Scaled]:
    """Masks [E, O] as they are, for a graph whose cells share them."""
    exponents = (0,) * len(graph.nodes)
    return lambda mask: Scaled(mask, exponents)


def restored(values: NDArray[np.float32], exponent: int) -> NDArray[np.float32]:
    """A node's values from those that a pass gave under a scaled mask."""
    return np.ldexp(values, exponent) if exponent else values


def _is_masked(node: Node) -> bool:
    return isinstance(node, Mixed) and None not in node.slots
