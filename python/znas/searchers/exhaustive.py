"""Every function of a small space."""

from __future__ import annotations

import numpy as np

from znas.searchers.base import Searcher, Task
from znas.selection.operations import argmax_random_ties
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask


class Exhaustive(Searcher):
    """Scores each function once: the architectures of `SearchSpace.functions`.

    Says what a score can do at best on this space: whatever another searcher with the same score finds
    beyond it is luck. InvalidValueError for spaces that cannot be enumerated.
    """

    def choose(self, task: Task) -> Mask:
        functions = task.space.functions()
        if functions is None:
            raise InvalidValueError(
                f"an exhaustive search needs a small space, one that lists its functions; {task.space.name} "
                "does not"
            )
        masks = np.stack([task.space.mask(genotype) for genotype in functions])
        best: Mask = masks[argmax_random_ties(task.aggregate(task.observe(masks)), task.rng)]
        return best
