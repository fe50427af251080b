"""Input edges: how many operations of a cell read what enters it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from znas_engine.environment import Environment
from znas_engine.graph import Graph, Mixed, Slot
from znas_engine.scores.base import StaticScore
from znas_engine.spaces.base import Mask


class InputEdges(StaticScore):
    """sum of mask[e, o] over the operations that read a cell's inputs and no node of the cell.

    For a path the number of its edges that do, of every kind of cell once; for a mixture the expected number.
    Many mean a wide and shallow cell, few a deep and narrow one, which trains more slowly (Shu et al., ICLR
    2020, Understanding architectures learnt by cell-based NAS). What adds nothing, like `none`, does not
    count.
    """

    name = "input_edges"
    reads_environment = False

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        direct = sorted(slots_at_inputs(graph))
        return lambda mask: float(sum(mask[slot] for slot in direct))


def slots_at_inputs(graph: Graph) -> set[Slot]:
    """(edge, operation) of all operations that read what enters their cell, however it is preprocessed."""
    cell = [bisect_left(graph.cells, i) for i in range(len(graph.nodes))]
    # Whether a node depends on a masked sum of its own cell.
    inner = [False] * len(graph.nodes)
    found: set[Slot] = set()
    for i, node in enumerate(graph.nodes):
        if isinstance(node, Mixed):
            for j, slot in zip(node.inputs, node.slots, strict=True):
                if slot is not None and not (inner[j] and cell[j] == cell[i]):
                    found.add(slot)
        masked = isinstance(node, Mixed) and any(slot is not None for slot in node.slots)
        inner[i] = masked or any(inner[j] and cell[j] == cell[i] for j in node.inputs)
    return found
