"""Which values of the supernet the lemmas speak of, as names of graph nodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Graph, Input, Mixed
from znas_engine.spaces import SearchSpace

FIRST_LAYER, NEURON, ENSEMBLE = "first layer", "neuron", "ensemble"


@dataclass(frozen=True, slots=True)
class Site:
    """node: its name in the graph. role: FIRST_LAYER, NEURON or ENSEMBLE. depth: convolutions on the longest
    way from the images to it. label: what to call it."""

    node: str
    role: str
    depth: int
    label: str


def sites(space: SearchSpace[Any], graph: Graph, depths: int) -> list[Site]:
    """The first convolution; then in `depths` cells, evenly spaced from the first to the last, the neurons of
    one edge (their outputs as they enter the sum) and the ensemble they enter (the sum of the cell's first
    node).

    Raises InvalidValueError unless depths is between 1 and the number of cells.
    """
    depth = convolutions(graph)
    first = next(
        i
        for i, node in enumerate(graph.nodes)
        if isinstance(node, Conv) and isinstance(graph.nodes[node.inputs[0]], Input)
    )
    ensembles: dict[str, int] = {}
    for i, node in enumerate(graph.nodes):
        if isinstance(node, Mixed) and any(slot is not None for slot in node.slots):
            ensembles.setdefault(node.name.rpartition(".")[0], i)
    if not 1 <= depths <= len(ensembles):
        raise InvalidValueError(
            f"`depths` must be between 1 and {len(ensembles)}, the cells of this supernet, but got {depths}"
        )
    found = [Site(graph.nodes[first].name, FIRST_LAYER, 1, "first convolution")]
    cells = list(ensembles.items())
    for c in np.unique(np.linspace(0, len(cells) - 1, depths).round().astype(int)):
        cell, i = cells[c]
        node = graph.nodes[i]
        assert isinstance(node, Mixed)
        edge = next(slot[0] for slot in node.slots if slot is not None)
        for j, slot in zip(node.inputs, node.slots, strict=True):
            if slot is not None and slot[0] == edge:
                label = f"{cell} {space.edges[edge].label} {space.operations[slot[1]]}"
                found.append(Site(graph.nodes[j].name, NEURON, depth[j], label))
        found.append(Site(node.name, ENSEMBLE, depth[i], f"{cell} sum of node {space.edges[edge].target}"))
    return found


def convolutions(graph: Graph) -> list[int]:
    """Per node, how many convolutions the longest way from the images to it passes, itself included."""
    depth: list[int] = []
    for node in graph.nodes:
        depth.append(max((depth[j] for j in node.inputs), default=0) + isinstance(node, Conv))
    return depth
