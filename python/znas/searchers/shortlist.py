"""A shortlist that costs nothing: the architectures that compute most, ranked by a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from znas.costs.counts import flops
from znas.costs.live import live
from znas.searchers.base import MOST, Searcher, Task
from znas.selection.finalists import references
from znas.selection.operations import argmax_random_ties
from znas.selection.shortlist import pool
from znas_engine.arguments import check_between
from znas_engine.graph import Graph
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class Shortlist(Searcher):
    """The best of `first` architectures and `others` random ones by their ranks among the random ones.

        first: those with most FLOPs on the way from the images to the logits, of all functions of the space,
               or of POOL random ones where there are too many
        answer: argmax of the scores, whose ranks are taken among the random ones, which may win too

    What a search pays for and this does not is how its finalists were found.
    """

    first: int = 25
    others: int = 25

    def __post_init__(self) -> None:
        for name in ("first", "others"):
            object.__setattr__(self, name, check_between(name, getattr(self, name), 1, MOST))

    def choose(self, task: Task) -> Mask:
        most = self._most(task)
        others = references(task.space, self.others, most, task.rng)
        everyone = np.stack(most + others)
        values = task.observe(everyone)
        among = values[:, len(most) :] if others else values
        best: Mask = everyone[argmax_random_ties(task.aggregate(values, among), task.rng)]
        return best

    def _most(self, task: Task) -> list[Mask]:
        """The first ones. FLOPs that images pass are at most all FLOPs, which are a sum over operations: from
        the largest sum on, until no other can be among the first."""
        space = task.space

        def network(mask: Mask) -> Graph:
            return space.network(space.genotype(mask), task.macro)

        weights = space.costs(task.macro, flops)
        everyone = pool(space, None, task.rng)
        sums = [float((mask[mask > 0] * weights[mask > 0]).sum()) for mask in everyone]
        rest = flops(network(everyone[0])) - sums[0]
        found: list[tuple[int, int]] = []
        for i in np.argsort(-np.array(sums), kind="stable").tolist():
            if len(found) == self.first and found[-1][0] >= rest + sums[i]:
                break
            found = sorted([*found, (flops(live(network(everyone[i]))), -i)], reverse=True)[: self.first]
        return [everyone[-i] for _, i in found]
