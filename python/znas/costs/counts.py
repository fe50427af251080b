"""What of a network's cost is counted, not measured: parameters, multiply-accumulates, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from znas_engine.graph import Graph, Mixed, Node, Norm, Relu

#: Bytes of a number of an activation, float32.
FLOAT = 4


def params(graph: Graph) -> int:
    """Trainable parameters, as the communities count them: those of dead operations too."""
    return graph.parameters


def flops(graph: Graph) -> int:
    """Multiply-accumulates of one image, as the communities count them: those of dead operations too."""
    return graph.flops


def memory(graph: Graph) -> int:
    """Bytes of the activations that are alive at once, at their peak: one image, float32.

    Nodes are computed in their order. A value lives from the node that makes it to the last that reads it.
    Normalisation, ReLU and sums write over what they read where nobody reads it later; a sum of one value is
    that value. What does not reach the logits, or does not depend on the images, is not computed. Weights are
    not counted.
    """
    computed = [live and fed for live, fed in zip(graph.live(None), graph.fed(None), strict=True)]
    inputs = [
        [j for j in node.inputs if computed[j]] if here else []
        for node, here in zip(graph.nodes, computed, strict=True)
    ]
    place = _places(graph.nodes, inputs)
    last = {place[j]: i for i, reads in enumerate(inputs) for j in reads}
    alive: dict[int, int] = {}
    total = peak = 0
    for i, node in enumerate(graph.nodes):
        if not computed[i] or place[i] != i:
            continue
        done = [j for j in {place[j] for j in inputs[i]} if last[j] == i]
        if done and isinstance(node, Norm | Relu | Mixed):
            total -= alive.pop(done.pop())
        alive[i] = FLOAT * prod(node.shape)
        total += alive[i]
        peak = max(peak, total)
        total -= sum(alive.pop(j) for j in done)
    return peak


def _places(nodes: tuple[Node, ...], inputs: list[list[int]]) -> list[int]:
    """Per node the one whose value it is: its own, but for sums of one value."""
    place: list[int] = []
    for i, (node, reads) in enumerate(zip(nodes, inputs, strict=True)):
        alone = isinstance(node, Mixed) and len(reads) == 1
        place.append(place[reads[0]] if alone else i)
    return place


@dataclass(frozen=True, slots=True)
class Count:
    """noun: what follows the number, in words. of: how it is counted."""

    noun: str
    of: Callable[[Graph], int]


#: By the name of the cost.
COUNTS: dict[str, Count] = {
    "params": Count("parameters", params),
    "flops": Count("multiply-accumulates", flops),
    "memory": Count("of activations", memory),
}
