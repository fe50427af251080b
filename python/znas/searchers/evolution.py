"""Regularised evolution (Real et al., AAAI 2019, algorithm 1), on a zero-shot score."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.admitted import admitted
from znas.searchers.base import MOST, Searcher, Task, admitted_path, remembered
from znas.selection.operations import argmax_random_ties
from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace


@dataclass(frozen=True, slots=True)
class Evolution(Searcher):
    """A population that loses its oldest member, not its worst, at every cycle.

        population = `population` random architectures
        until `budget` architectures were made:
            parent = best of `tournament` members, drawn with replacement
            population gains mutate(parent) and loses its oldest
        answer: the best of all that were made

    An architecture that comes up again is not scored again but counts against the budget. A larger
    tournament is greedier, a larger population explores longer.
    """

    budget: int = 200
    population: int = 25
    tournament: int = 5

    def __post_init__(self) -> None:
        for name, low in (("budget", 1), ("population", 2), ("tournament", 1)):
            object.__setattr__(self, name, check_between(name, getattr(self, name), low, MOST))
        if self.budget < self.population:
            raise InvalidValueError(
                f"`budget` must be at least the population, {self.population}, but got {self.budget}"
            )

    def choose(self, task: Task) -> Mask:
        made = [admitted_path(task.space, task.rng) for _ in range(self.population)]
        observe = remembered(task.observe)
        values = list(observe(np.stack(made)).T)
        population = deque(range(self.population))
        while len(made) < self.budget:
            members = task.rng.choice(np.array(population), self.tournament)
            fitness = task.aggregate(np.stack([values[i] for i in population], axis=1))
            fitness_of = dict(zip(population, fitness, strict=True))
            parent = members[argmax_random_ties(np.array([fitness_of[i] for i in members]), task.rng)]
            child = mutate(task.space, made[parent], task.rng)
            values += list(observe(child[None]).T)
            population.append(len(made))
            made.append(child)
            population.popleft()
        return made[argmax_random_ties(task.aggregate(np.stack(values, axis=1)), task.rng)]


def mutate(space: SearchSpace[Any], mask: Mask, rng: np.random.Generator) -> Mask:
    """Another operation on one edge or, with even chances where edges compete, the same operation on another
    free edge into its node; drawn again until the space admits it."""

    def drawn() -> Mask:
        while (child := _changed(space, mask, rng)) is None:
            pass
        return child

    return admitted(space, drawn)


def _changed(space: SearchSpace[Any], mask: Mask, rng: np.random.Generator) -> Mask | None:
    """One change of an edge that is drawn, admitted or not; None where that edge has no other."""
    child = mask.copy()
    edge = int(rng.choice(np.flatnonzero(mask.any(1))))
    (operation,) = np.flatnonzero(mask[edge])
    into = next(node for node in space.nodes() if edge in node)
    free = [e for e in into if not mask[e].any() and space.candidates[e, operation]]
    others = [o for o in space.options(edge) if o != operation]
    child[edge] = 0
    if free and rng.random() < 0.5:
        child[rng.choice(free), operation] = 1
    elif others:
        child[edge, rng.choice(others)] = 1
    else:
        return None
    return child
