"""The best of N random architectures (Mellor et al., ICML 2021, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from znas.searchers.base import MOST, Searcher, Task, admitted_path
from znas.selection.operations import argmax_random_ties
from znas_engine.arguments import check_between
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class Naswot(Searcher):
    """Every one of `samples` random architectures is scored as itself, a one-hot mask.

        best = argmax_{a in N random} score(path(a))

    Drawn with replacement, from those that let images through. With the score `naswot` it is NASWOT; any
    other score gives the same searcher on that score. Cost is proportional to `samples`.
    """

    samples: int = 100

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", check_between("samples", self.samples, 1, MOST))

    def choose(self, task: Task) -> Mask:
        masks = np.stack([admitted_path(task.space, task.rng) for _ in range(self.samples)])
        best: Mask = masks[argmax_random_ties(task.aggregate(task.observe(masks)), task.rng)]
        return best
