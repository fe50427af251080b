"""The network of the space that computes most: size as engineers count it."""

from __future__ import annotations

from dataclasses import dataclass

from znas.costs.counts import flops
from znas.searchers.base import Searcher, Task
from znas.selection.largest import largest
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class MostFlops(Searcher):
    """As `MostParameters`, by the multiply-accumulates of one image."""

    def choose(self, task: Task) -> Mask:
        return largest(task.space, task.macro, task.rng, flops)
