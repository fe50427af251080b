"""How many masks a processor takes at once: as many as share work, in bounded memory.

Masks of one call share every value on which they agree (`csrc/src/native/parts.cpp`). In a chain of layers
those that differ in one layer agree on all layers before it; in a network of equal cells an edge of the
first cell is one of all of them, and what is shared is what lies before it in that cell: a third of DARTS's
work, a twentieth of NAS-Bench-201's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from znas_engine.graph import Graph, Mixed
from znas_engine.spaces import Mask

#: Masks of a call, at most: further neighbours of one network save a thirtieth of its work each.
TOGETHER = 16
#: The part of a pass that must be shared for masks to be run together.
WORTHWHILE = 0.1
#: Bytes of codes and features that a call hands out, at most.
HANDED_OUT = 2**27
#: Multiply-accumulates of a call, about: some seconds of one thread, which reports nothing meanwhile. Fewer
#: masks than FEWEST would share too little.
WORK, FEWEST = 2**40, 4
#: Masks among which those that agree are brought together.
SORTED = 4096


def shared(graph: Graph) -> float:
    """The part of a pass that two masks share which differ in one edge, on average over edges."""
    behind, apart, edges = [0] * len(graph.nodes), 0, 0  # behind: of every node the edges that it depends on
    for i, node in enumerate(graph.nodes):
        for j in node.inputs:
            behind[i] |= behind[j]
        if isinstance(node, Mixed):
            for slot in node.slots:
                behind[i] |= 0 if slot is None else 1 << slot[0]
        edges |= behind[i]
        apart += node.flops * behind[i].bit_count()
    return 1 - apart / max(1, graph.flops * edges.bit_count())


def masks_together(graph: Graph, reads: frozenset[str], images: int) -> int:
    """Masks that a call takes, of which that is read on so many images, where they share work."""
    each = 0
    if "codes" in reads:
        each += sum(_numbers(graph, value) for value in graph.relu_sites([True] * len(graph.nodes))) // 8
    if "features" in reads:
        each += 4 * sum(_numbers(graph, value) for value in graph.cells)
    if "unpooled" in reads:
        each += 4 * _numbers(graph, graph.unpooled)
    in_bounds = min(TOGETHER, max(FEWEST, WORK // max(1, graph.flops * images)))
    return max(1, min(in_bounds, HANDED_OUT // max(1, each * images)))


def neighbours(masks: Mask) -> NDArray[np.intp]:
    """masks [G, E, O] -> their numbers: those that agree on the most edges, from the first on, lie together.

    Masks that leave what the first of them is early come first: they are the ones that take long, and threads
    end together.
    """
    parts = [_neighbours(masks[first : first + SORTED]) + first for first in range(0, len(masks), SORTED)]
    return np.concatenate([np.empty(0, np.intp), *parts])


def _neighbours(masks: Mask) -> NDArray[np.intp]:
    entries = []
    for column in masks.reshape(len(masks), -1).T:
        _, first, which = np.unique(column, return_index=True, return_inverse=True)
        entries.append(np.argsort(np.argsort(first))[which])  # a number for every entry, as they appear
    return np.lexsort(entries[::-1])[::-1]


def _numbers(graph: Graph, value: int) -> int:
    return math.prod(graph.nodes[value].shape)
