"""What a searcher is: something that chooses one architecture by asking for scores of masks."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.observer import Observer
from znas.result import SearchResult, Seconds
from znas.selection.aggregate import get_aggregate
from znas.selection.criteria import Floats
from znas.settings import SearchSettings
from znas_engine.data import load
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Genotype, Macro, Mask, SearchSpace, get_space

Progress = Callable[[int, int], None]
Report = Callable[[str], None]


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
        return Found(result.genotype, result.evaluations, result.seconds, result.device)


def run(
    searcher: Searcher,
    settings: SearchSettings,
    *,
    progress: Progress = lambda done, total: None,
    report: Report = lambda line: None,
) -> Found:
    """Runs a searcher on the supernet, images and environments that `znas.search` has at these settings.

    `settings.score` may name several; `settings.aggregate` makes one number of them. Fields of `settings`
    that say how `znas.search` selects are not used.
    """
    started = time.perf_counter()
    space = get_space(settings.space)
    dataset = load(settings.data, data_dir=settings.data_dir, resolution=settings.resolution)
    macro = space.macro_for(dataset, channels=settings.channels, cells=settings.cells)
    observer = Observer(space, macro, dataset, settings, progress, report)
    task = Task(
        space=space,
        macro=space.evaluation_macro_for(dataset),
        observe=observer,
        aggregate=get_aggregate(settings.aggregate),
        rng=np.random.default_rng(derive_seed(settings.seed, "searcher", type(searcher).__name__)),
    )
    genotype = space.genotype(searcher.choose(task))
    total = time.perf_counter() - started
    working = observer.setup_seconds + observer.evaluate_seconds
    return Found(
        genotype=genotype,
        evaluations=observer.evaluations,
        seconds=Seconds(
            total=total,
            setup=observer.setup_seconds,
            evaluate=observer.evaluate_seconds,
            select=total - working,
        ),
        device=observer.device,
    )


def admitted_path(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    """`space.random_path`, drawn again until the space admits it."""
    while True:
        mask = space.random_path(rng)
        if space.admits(mask):
            return mask


def check_count(name: str, value: int, low: int) -> None:
    """InvalidValueError where a searcher's number is below what it needs."""
    if value < low:
        raise InvalidValueError(f"`{name}` must be at least {low} but got {value}")
