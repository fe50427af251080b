"""What a searcher is: something that chooses one architecture by asking for scores of masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.admitted import admitted
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.request import Request
from znas.result import SearchResult, Seconds
from znas.selection.criteria import Floats
from znas.setup import Setup
from znas_engine.arguments import instance
from znas_engine.environment import derive_seed
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace

#: Architectures that a searcher is asked for, at most.
MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """What every searcher is given.

    observe: masks float32 [G, E, O] -> scores float64 [R, G], a row per environment and score. aggregate:
    [R, G] -> [G], larger is better; of several scores it combines ranks, so what it returns is comparable
    within one population only. macro: the size at which the selected architecture is trained. rng: the
    searcher's own stream.
    """

    space: SearchSpace[Any]
    macro: Macro
    observe: Callable[[Mask], Floats]
    aggregate: Callable[[Floats], Floats]
    rng: np.random.Generator


class Searcher(ABC):
    """Chooses an architecture."""

    @abstractmethod
    def choose(self, task: Task) -> Mask:
        """path(a) of the chosen architecture, float32 [E, O]."""


@dataclass(frozen=True, slots=True)
class Found:
    """A chosen architecture and what it cost. evaluations: masked passes over the image batch."""

    genotype: Genotype
    evaluations: int
    seconds: Seconds
    device: str

    @staticmethod
    def of(result: SearchResult) -> Found:
        """The same of `znas.search`."""
        return Found(result.genotype, result.evaluations, result.seconds, result.conditions.device)


def run(searcher: Searcher, request: Request, hooks: Hooks = QUIET) -> Found:
    """Runs a searcher on the supernet, images and environments that `znas.search` has for this request.

    `request.score` may name several; `request.aggregate` makes one number of them. Options that say how
    `znas.search` selects are not used.
    """
    instance("searcher", searcher, Searcher, ": SEARCHERS holds those that need no arguments")
    setup = Setup(instance("request", request, Request), instance("hooks", hooks, Hooks))
    method = Method.of(request.settled(), setup.space, setup.scores)
    task = Task(
        space=setup.space,
        macro=setup.trained,
        observe=setup.measure,
        aggregate=method.combine,
        rng=np.random.default_rng(derive_seed(setup.seed, "searcher", type(searcher).__name__)),
    )
    genotype = setup.space.genotype(searcher.choose(task))
    return Found(genotype, setup.evaluations, Seconds.of(setup), setup.conditions().device)


def admitted_path(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    """`space.random_path`, drawn again until the space admits it."""
    return admitted(space, lambda: space.random_path(rng))
