"""What a prior says is best: its argmax, with nothing measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from znas.priors import Prior
from znas.searchers.base import Searcher, Task
from znas.selection.operations import argmax_random_ties, one_hot
from znas.selection.topology import contested_edges, select_edges
from znas_engine.arguments import instance
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class OfPrior(Searcher):
    """argmax_o of the prior's means on every edge, and the edges without which its mean is lowest.

    What any search with this prior must beat to be worth its draws and passes. Ties at random, edges too
    where the prior holds nothing of them. InvalidValueError for a prior of another space.
    """

    prior: Prior

    def __post_init__(self) -> None:
        instance("prior", self.prior, Prior, ": znas.priors.load reads one")

    def choose(self, task: Task) -> Mask:
        space, rng, prior = task.space, task.rng, self.prior
        if prior.space.name != space.name:
            raise InvalidValueError(f"the prior is for {prior.space.name}, not for {space.name}")
        means = np.where(space.candidates, prior.mean, -np.inf)
        best = np.array([argmax_random_ties(row, rng) for row in means])
        without = np.zeros(len(means)) if prior.drop_mean is None else prior.drop_mean
        kept = select_edges(space, {e: -float(without[e]) for e in contested_edges(space)}, rng)
        mask: Mask = one_hot(space.repair(means, best), len(space.operations)) * kept[:, None]
        return mask
