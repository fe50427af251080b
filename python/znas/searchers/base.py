"""What a searcher is: something that chooses one architecture by asking for scores of masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.admitted import admitted
from znas.hooks import QUIET, Hooks
from znas.method import Method
from znas.request import Request
from znas.result import SearchResult, Seconds
from znas.selection.aggregate import Aggregate
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
    within one population only, or among another's [R, M]. macro: the size at which the selected architecture
    is trained. rng: the searcher's own stream.
    """

    space: SearchSpace[Any]
    macro: Macro
    observe: Callable[[Mask], Floats]
    aggregate: Aggregate
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


def run(
    searcher: Searcher, request: Request, hooks: Hooks = QUIET, *, beside: Sequence[Request] = ()
) -> Found:
    """Runs a searcher on the supernet, images and environments that `znas.search` has for this request.

    `request.score` may name several; `request.aggregate` makes one number of them. Options that say how
    `znas.search` selects are not used. beside: other scores, in supernets and on images of their own; their
    rows are aggregated with those of `request`.
    """
    instance("searcher", searcher, Searcher, ": SEARCHERS holds those that need no arguments")
    setup = Setup(instance("request", request, Request), instance("hooks", hooks, Hooks))
    setups = [setup, *(Setup(each, hooks) for each in beside)]
    method = Method.of(request.settled(), setup.space, tuple(s for each in setups for s in each.scores))
    task = Task(
        space=setup.space,
        macro=setup.trained,
        observe=lambda masks: np.concatenate([each.measure(masks) for each in setups]),
        aggregate=method.combine,
        rng=np.random.default_rng(derive_seed(setup.seed, "searcher", type(searcher).__name__)),
    )
    genotype = setup.space.genotype(searcher.choose(task))
    evaluations = sum(each.evaluations for each in setups)
    return Found(genotype, evaluations, _seconds(setups), setup.conditions().device)


def _seconds(setups: Sequence[Setup]) -> Seconds:
    """Since the first was made."""
    total = Seconds.of(setups[0]).total
    ahead = sum(each.setup_seconds for each in setups)
    evaluate = sum(each.evaluate_seconds for each in setups)
    return Seconds(total, ahead, evaluate, total - ahead - evaluate)


def remembered(observe: Callable[[Mask], Floats]) -> Callable[[Mask], Floats]:
    """`observe`, but a mask that comes up again is not measured again."""
    known: dict[bytes, Floats] = {}

    def recalled(masks: Mask) -> Floats:
        keys = [mask.tobytes() for mask in masks]
        new = {key: mask for key, mask in zip(keys, masks, strict=True) if key not in known}
        if new:
            known.update(zip(new, observe(np.stack(list(new.values()))).T, strict=True))
        return np.stack([known[key] for key in keys], axis=1)

    return recalled


def admitted_path(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    """`space.random_path`, drawn again until the space admits it."""
    return admitted(space, lambda: space.random_path(rng))
