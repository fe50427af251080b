"""No search at all: one uniformly random architecture."""

from __future__ import annotations

from znas.searchers.base import Searcher, Task
from znas_engine.spaces import Mask


class Random(Searcher):
    """Uniform over the whole space, cells that let no image through included."""

    def choose(self, task: Task) -> Mask:
        return task.space.random_path(task.rng)
