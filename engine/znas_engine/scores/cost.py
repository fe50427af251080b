"""Size as a score: parameters and FLOPs, the baselines that every zero-shot score has to beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from znas_engine.environment import Environment
from znas_engine.graph import Graph, Mixed, Node, Slot
from znas_engine.scores.base import StaticScore
from znas_engine.spaces.base import Mask


class Cost(StaticScore):
    """constant + sum over (e, o) of mask[e, o] * cost of operation o on edge e in all cells.

    For a one-hot mask it is the cost of that architecture at the supernet's size; for a mixture the expected
    cost when every edge draws its operation with the probabilities of the mask. An operation costs the same
    whether or not its output reaches the logits.
    """

    reads_environment = False

    @abstractmethod
    def cost(self, node: Node) -> int:
        """Of one node."""

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        constant = 0
        of_slot: dict[Slot, int] = {}
        for node, slot in zip(graph.nodes, operation_of(graph), strict=True):
            if slot is None:
                constant += self.cost(node)
            else:
                of_slot[slot] = of_slot.get(slot, 0) + self.cost(node)

        def value(mask: Mask) -> float:
            return constant + sum(float(mask[slot]) * cost for slot, cost in of_slot.items())

        return value


class Params(Cost):
    """Trainable parameters; more is taken for better."""

    name = "params"

    def cost(self, node: Node) -> int:
        return node.parameters


class Flops(Cost):
    """Multiply-accumulates per image; more is taken for better. The complexity of AZ-NAS (Lee & Ham,
    CVPR 2024)."""

    name = "flops"

    def cost(self, node: Node) -> int:
        return node.flops


class LiveFlops(StaticScore):
    """`flops` of what the images pass on their way to the logits.

    Operations that nothing reaches, or that reach nothing, compute nothing: architectures of one function
    then cost the same, which they do not by the count of their operations.
    """

    name = "live_flops"
    reads_environment = False

    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        costs = [
            (i, node.flops, slot)
            for i, (node, slot) in enumerate(zip(graph.nodes, operation_of(graph), strict=True))
            if node.flops
        ]

        def value(mask: Mask) -> float:
            live, fed = graph.live(mask), graph.fed(mask)
            return sum(
                flops * (1.0 if slot is None else float(mask[slot]))
                for i, flops, slot in costs
                if live[i] and fed[i]
            )

        return value


def operation_of(graph: Graph) -> list[Slot | None]:
    """Per node the (edge, operation) that it is part of, sums inside it too; None for what several share."""
    readers: list[set[Slot | None]] = [set() for _ in graph.nodes]
    for node, own in zip(reversed(graph.nodes), reversed(readers), strict=True):
        slots = node.slots if isinstance(node, Mixed) else [None] * len(node.inputs)
        for j, slot in zip(node.inputs, slots, strict=True):
            readers[j] |= {slot} if slot is not None or not own else own
    return [next(iter(own)) if len(own) == 1 else None for own in readers]
