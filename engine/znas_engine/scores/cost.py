"""Size as a score: parameters and FLOPs, the baselines that every zero-shot score has to beat."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment
from znas_engine.graph import Graph, Mixed, Node, Slot
from znas_engine.scores.base import StaticScore
from znas_engine.spaces.base import Mask

Floats = NDArray[np.float64]


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
        many = self.prepare_many(graph, environment)
        return lambda mask: float(many(mask[None])[0])

    def prepare_many(self, graph: Graph, environment: Environment) -> Callable[[Mask], Floats]:
        costs = [
            (i, node.flops, slot)
            for i, (node, slot) in enumerate(zip(graph.nodes, operation_of(graph), strict=True))
            if node.flops
        ]

        def values(masks: Mask) -> Floats:
            there = passed(graph, masks)
            found = np.zeros(len(masks))
            for i, flops, slot in costs:
                weight = 1.0 if slot is None else masks[:, slot[0], slot[1]].astype(np.float64)
                found += np.where(there[i], flops * weight, 0.0)
            return found

        return values


def passed(graph: Graph, masks: Mask) -> list[NDArray[np.bool_]]:
    """Per node, under which of the masks [G, E, O] images reach it and it reaches the logits, bool [G]."""
    every = np.ones(len(masks), dtype=np.bool_)
    left = masks != 0
    open_ = [
        [every if slot is None else left[:, slot[0], slot[1]] for slot in node.slots]
        if isinstance(node, Mixed)
        else [every] * len(node.inputs)
        for node in graph.nodes
    ]
    fed = [every if not node.inputs and not isinstance(node, Mixed) else ~every for node in graph.nodes]
    for i, node in enumerate(graph.nodes):
        for j, is_open in zip(node.inputs, open_[i], strict=True):
            fed[i] = fed[i] | (fed[j] & is_open)
    live = [~every for _ in graph.nodes]
    live[-1] = every
    for i in range(len(graph.nodes) - 1, -1, -1):
        for j, is_open in zip(graph.nodes[i].inputs, open_[i], strict=True):
            live[j] = live[j] | (live[i] & is_open)
    return [a & b for a, b in zip(fed, live, strict=True)]


def operation_of(graph: Graph) -> list[Slot | None]:
    """Per node the (edge, operation) that it is part of, sums inside it too; None for what several share."""
    readers: list[set[Slot | None]] = [set() for _ in graph.nodes]
    for node, own in zip(reversed(graph.nodes), reversed(readers), strict=True):
        slots = node.slots if isinstance(node, Mixed) else [None] * len(node.inputs)
        for j, slot in zip(node.inputs, slots, strict=True):
            readers[j] |= {slot} if slot is not None or not own else own
    return [next(iter(own)) if len(own) == 1 else None for own in readers]
