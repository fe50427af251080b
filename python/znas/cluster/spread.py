"""An evaluator whose passes happen on a cluster."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.cluster.bench import Shared, Supernet
from znas.cluster.cutting import Cutter, Work
from znas.cluster.place import Place
from znas_engine.backends import BACKENDS, Backend
from znas_engine.backends.checks import as_environments, as_masks, as_rows, check_environment, check_score
from znas_engine.backends.passes import MaskedPass, count_passes
from znas_engine.devices import kind_of
from znas_engine.environment import Environment
from znas_engine.evaluator import ALL, Evaluator, Scores
from znas_engine.progress import Progress, unheard
from znas_engine.scores import BATCH, Observation, Probe, Score, ScoreNames, get_scores
from znas_engine.spaces import Mask


@dataclass(frozen=True, slots=True)
class Asked:
    """One call of `Evaluator.evaluate`."""

    masks: Mask
    score: ScoreNames
    environments: Environment | Iterable[Environment]
    rows: slice


class Spread(Evaluator):
    """What `here` would compute, computed by the workers of a place; a single mask is still looked at here.

    Values are those of `here`, to the bit, on workers with the same arithmetic, which a place sees to.
    """

    def __init__(self, here: Evaluator, place: Place) -> None:
        self.here = here
        self.place = place
        self.space, self.macro, self.norm = here.space, here.macro, here.norm
        self.dtype, self.devices, self.threads = here.dtype, here.devices, here.threads
        self.report, self.graph = here.report, here.graph
        record = here.record
        named = record.name if record.name in BACKENDS.names() else record
        kind = kind_of(here.devices[0])
        made = Supernet(here.space, here.macro, here.norm, here.dtype, named, kind)
        self._supernet = place.share(made)
        self._scores: dict[tuple[int, ...], tuple[Sequence[Score], Shared]] = {}

    @property
    def record(self) -> Backend:  # type: ignore[override]
        """The backend's."""
        return self.here.record

    @property
    def packages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Distributions whose versions a result depends on."""
        return self.here.packages

    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        return self.here.prepare(environment, norm=norm, reads=reads, device=device)

    def evaluate(
        self,
        masks: Mask,
        *,
        score: ScoreNames,
        environments: Environment | Iterable[Environment],
        rows: slice = ALL,
        progress: Progress = unheard,
    ) -> Scores:
        ((_, found),) = self.each([Asked(masks, score, environments, rows)], progress)
        return found

    def each(self, asked: Iterable[Asked], progress: Progress = unheard) -> Iterator[tuple[int, Scores]]:
        """What `evaluate` gives of every one of them, with its number, as they become whole.

        progress: told of passes, of those that have been asked for so far.
        """
        done, total = 0, 0
        empty: list[tuple[int, Asked]] = []

        def works() -> Iterator[Work]:
            nonlocal total
            for number, each in enumerate(asked):
                if not len(each.masks):
                    empty.append((number, each))
                scores = get_scores(each.score)
                work = self._work(each, scores)
                total += len(work.masks) * len(work.environments) * count_passes(scores, self.norm)
                yield work

        started = time.perf_counter()
        cutter = Cutter(works(), self._supernet, self.here.neighbours, lambda: self.place.lanes)
        for unit, values in self.place.run(cutter):
            done += sum(found.evaluations for found in values)
            if done:
                progress(done, max(total, done))
            for number, found in cutter.put(unit, values):
                # Seconds that passed here: those of workers overlap.
                spent, started = time.perf_counter() - started, time.perf_counter()
                yield number, Scores(found.values, found.evaluations, found.images, 0.0, spent)
        for number, each in empty:
            yield number, self._nothing(each)

    def observe(
        self, masks: Mask, environment: Environment, *, reads: Collection[str] = (), probe: Probe = BATCH
    ) -> list[Observation]:
        return self.here.observe(masks, environment, reads=reads, probe=probe)

    def in_float32(self) -> Evaluator | None:
        return self.here.in_float32()

    def network(self, environment: Environment, norm: str, device: str) -> Any:
        return self.here.network(environment, norm, device)

    def masks_together(self, reads: frozenset[str], images: int) -> int:
        return self.here.masks_together(reads, images)

    def neighbours(self, masks: Mask) -> NDArray[np.intp]:
        return self.here.neighbours(masks)

    def _work(self, asked: Asked, scores: Sequence[Score]) -> Work:
        """Checked here, so that what is wrong is said before anything is sent."""
        masks = as_masks(asked.masks, self.space)
        for score in scores:
            check_score(score, self.record, self.dtype)
        environments = as_environments(asked.environments)
        check_environment(environments[0], self.graph)
        as_rows(asked.rows, len(environments[0].batch.images))
        key = tuple(map(id, scores))
        if key not in self._scores:
            self._scores[key] = (scores, self.place.share(scores))
        return Work(masks, environments, self._scores[key][1], asked.rows, self.place.share)

    def _nothing(self, asked: Asked) -> Scores:
        """What is found of no masks."""
        return self.here.evaluate(
            asked.masks, score=asked.score, environments=asked.environments, rows=asked.rows
        )


def beneath(evaluator: Evaluator) -> Evaluator:
    """What computes, wherever that is."""
    return evaluator.here if isinstance(evaluator, Spread) else evaluator


def each_of(
    evaluator: Evaluator, asked: Iterable[Asked], progress: Progress = unheard
) -> Iterator[tuple[int, Scores]]:
    """What the evaluator gives of every one of them, with its number: one after another here, as they become
    whole from a cluster."""
    if isinstance(evaluator, Spread):
        yield from evaluator.each(asked, progress)
        return
    before = 0
    for number, each in enumerate(asked):

        def told(done: int, total: int, before: int = before) -> None:
            progress(before + done, before + total)

        found = evaluator.evaluate(
            each.masks, score=each.score, environments=each.environments, rows=each.rows, progress=told
        )
        before += found.evaluations
        yield number, found
