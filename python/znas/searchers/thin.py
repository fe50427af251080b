"""The network in which TE-NAS counts linear regions: one so small that images share them."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from znas_engine.graph import Builder, Graph, Mixed
from znas_engine.spaces import Macro, SearchSpace


def thin(space: SearchSpace[Any]) -> SearchSpace[Any]:
    """The space with a supernet of one channel that ends with the cell by which every operation was there.

    In a network of the usual size every image has an activation code of its own, and the number of codes is
    that of the images, whatever the architecture.
    """
    kind: Any = type(space)

    class Thin(kind):  # type: ignore[misc]
        def search_macro(self, *, resolution: int, classes: int) -> Macro:
            macro: Macro = self.proxy_macro(resolution=resolution, classes=classes)
            return replace(macro, channels=1)

        def supernet(self, macro: Macro) -> Graph:
            return beginning(super().supernet(macro))

    found: SearchSpace[Any] = copy(space)
    found.__class__ = Thin
    return found


def beginning(graph: Graph) -> Graph:
    """The nodes up to the end of the cell by which every slot was there, and a classifier."""
    slots = [set(node.slots) - {None} if isinstance(node, Mixed) else set() for node in graph.nodes]
    every = set().union(*slots)
    end = next(cell for cell in graph.cells if set().union(*slots[: cell + 1]) == every)
    built = Builder(list(graph.nodes[: end + 1]), [cell for cell in graph.cells if cell <= end])
    built.linear("classifier", built.global_average("pool", end), graph.classes)
    return built.graph()
