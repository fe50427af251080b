"""Every architecture of NAS-Bench-201."""

from __future__ import annotations

import numpy as np

from znas.searchers.base import Searcher, Task
from znas.selection.operations import argmax_random_ties
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask
from znas_engine.spaces.isomorphism import classes


class Exhaustive(Searcher):
    """Scores each function once: one cell of every class of `isomorphism.classes` that lets images through.

    Says what a score can do at best on this space: whatever another searcher with the same score finds
    beyond it is luck. InvalidValueError for spaces that cannot be enumerated.
    """

    def choose(self, task: Task) -> Mask:
        if task.space.name != "nasbench201":
            raise InvalidValueError(
                f"an exhaustive search needs a small space, nasbench201, not {task.space.name}"
            )
        cells = [members[0] for members in classes() if task.space.connected(members[0])]
        masks = np.stack([task.space.mask(cell) for cell in cells])
        best: Mask = masks[argmax_random_ties(task.aggregate(task.observe(masks)), task.rng)]
        return best
