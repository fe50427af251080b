"""What is left of a network once dead operations are cut: what graph optimisers run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from znas_engine.graph import NODES, Graph, Mixed, Node

#: What JSON makes lists of.
_TUPLES = ("inputs", "shape", "slots")
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in NODES}


def live(graph: Graph) -> Graph:
    """A discrete network without what no image reaches or what does not reach the logits.

    A term that no image reaches adds a constant, which folds into what reads it: it is cut. What is not a sum
    keeps all its inputs.
    """
    fed = graph.fed(None)
    nodes = [_fed(node, fed) for node in graph.nodes]
    kept = [i for i, lives in enumerate(Graph(tuple(nodes)).live(None)) if lives or i == 0]
    place = {i: k for k, i in enumerate(kept)}
    cells = tuple(place[i] for i in graph.cells if i in place)
    found = [replace(nodes[i], inputs=tuple(place[j] for j in nodes[i].inputs)) for i in kept]
    return Graph(tuple(found), cells)


def _fed(node: Node, fed: Sequence[bool]) -> Node:
    if not isinstance(node, Mixed):
        return node
    terms = [(j, slot) for j, slot in zip(node.inputs, node.slots, strict=True) if fed[j]]
    return replace(node, inputs=tuple(j for j, _ in terms), slots=tuple(slot for _, slot in terms))


def encoded(graph: Graph) -> list[Any]:
    """A discrete network as JSON holds it."""
    return [[type(node).__name__, asdict(node)] for node in graph.nodes]


def decoded(written: Sequence[Any]) -> Graph:
    """The inverse of `encoded`; `cells` are not kept."""
    return Graph(
        tuple(
            _KINDS[kind](**{n: tuple(v) if n in _TUPLES else v for n, v in fields.items()})
            for kind, fields in written
        )
    )
