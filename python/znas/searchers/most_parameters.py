"""The largest network of the space: what any score must beat to be worth its cost."""

from __future__ import annotations

from dataclasses import dataclass

from znas.searchers.base import Searcher, Task
from znas.selection.largest import largest
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class MostParameters(Searcher):
    """Exact, because parameters are a sum over a cell's (edge, operation) pairs; ties at random."""

    def choose(self, task: Task) -> Mask:
        return largest(task.space, task.macro, task.rng)
