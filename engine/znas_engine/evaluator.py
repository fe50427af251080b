"""The evaluator: masks in, scores out. A backend only says how one masked pass is run."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.backends.checks import check_batch, check_masks, check_score, check_slots
from znas_engine.backends.chunked import Chunked
from znas_engine.backends.passes import (
    ForwardRule,
    GradientRule,
    MaskedPass,
    Measure,
    Rule,
    StaticRule,
    View,
    count_passes,
    prepared,
    probes_of,
    shown,
)
from znas_engine.backends.pool import Kept, SharedOut
from znas_engine.backends.record import Backend, check_devices, check_dtype, check_graph
from znas_engine.backends.workers import Workers
from znas_engine.devices import TOGETHER, kind_of
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Graph
from znas_engine.progress import Progress, unheard
from znas_engine.promises import calling, hold
from znas_engine.scores import (
    BATCH,
    READS,
    ForwardScore,
    GradientScore,
    Observation,
    Probe,
    Score,
    StaticScore,
)
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.supernet.normalisation import check_norm

#: The rows of a batch: all of them.
ALL = slice(None)


@dataclass(frozen=True, slots=True)
class Scores:
    """What `Evaluator.evaluate` returns.

    values: float64 [K * S, G], for each environment one row per score. evaluations: passes of a mask over a
    batch of images (probes that scores share count once, scores without a pass not at all). images: per
    pass. setup_seconds: weights, calibration, export, sessions. evaluate_seconds: masked passes and scores.
    """

    values: NDArray[np.float64]
    evaluations: int
    images: int
    setup_seconds: float
    evaluate_seconds: float


class Evaluator(ABC):
    """Runs batches of masks through the supernet of one space.

    space, macro: which supernet. norm: one of NORMS. dtype: what products read; sums are float32. devices:
    where passes run, the backend's default if None; masks are shared out among several. threads: worker
    threads, at least one per device; each pass runs on one of them, start to end, so results do not depend
    on their number. report: receives one-line remarks (a cache entry rebuilt, for instance) that the user
    should see.

    Raises InvalidValueError for what the backend cannot do: a device, a dtype, the space's graph (the message
    names the node).
    """

    #: What the backend says of itself.
    record: ClassVar[Backend]
    #: Distributions whose versions a result depends on.
    packages: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        hold(cls, "evaluator", dict.fromkeys(("__init__", "prepare"), lambda evaluator, found: None))

    def __init__(
        self,
        space: SearchSpace[Any],
        macro: Macro,
        *,
        norm: str = "calibrated",
        dtype: str = "float32",
        devices: Sequence[str] | None = None,
        threads: int = 1,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        if threads < 1:
            raise InvalidValueError(f"`threads` must be at least 1 but got {threads}")
        self.space = space
        self.macro = macro
        self.norm = check_norm(norm)
        self.devices = check_devices(self.record, devices or [self.record.default_device])
        self.dtype = check_dtype(self.record, self.devices, dtype)
        self.threads = threads
        self.report = report
        self.graph: Graph = check_graph(self.record, check_slots(space.supernet(macro), space))
        self._kept = Kept(len(self.devices))
        self._chunked = Chunked(min(TOGETHER[kind_of(device)] for device in self.devices), report)

    @property
    def name(self) -> str:
        """The backend's."""
        return self.record.name

    @abstractmethod
    def prepare(
        self, environment: Environment, *, norm: str, reads: frozenset[str], device: str
    ) -> MaskedPass:
        """Draw the weights, calibrate, compile: everything that masks share on one of `devices`.

        reads: members of READS.
        """

    def evaluate(
        self,
        masks: Mask,
        *,
        score: Score | Sequence[Score],
        environments: Sequence[Environment],
        rows: slice = ALL,
        progress: Progress = unheard,
    ) -> Scores:
        """masks float32 [G, E, O], >= 0 -> every score of every mask in every environment.

        rows: the images of every batch that are shown; weights and calibration stay those of the whole batch.

        Memory is bounded whatever G and the image count: a thread holds `masks_together` and one chunk of
        images, and for scores that read features those of all images, of which they allow few. Chunks are
        smaller where a device's memory is full, unless statistics are those of a chunk.

        Raises:
            InvalidValueError: masks of another shape or dtype, negative or not finite; a score that this
                backend cannot run; a score that needs labels on images that have none; too few or too many
                images for a score.
            NonFiniteScoreError: logits or a score that are not finite; the message names the mask.
            DeviceError: a GPU is lost, or one image is too much for its memory.
        """
        check_masks(masks, self.space)
        scores = (score,) if isinstance(score, Score) else tuple(score)
        for each in scores:
            check_score(each, self.name, self.dtype)
        values = np.empty((len(environments), len(scores), len(masks)))
        setup = evaluate = 0.0
        passes = count_passes(scores, self.norm)
        done, total = 0, len(environments) * len(masks) * passes
        with self._workers() as workers:
            for k, environment in enumerate(environments):
                for each in scores:
                    check_batch(each, environment)
                started = time.perf_counter()
                places = range(len(self.devices))
                measure = SharedOut(
                    workers, [self._measure(workers, environment, scores, rows, place) for place in places]
                )
                prepared = time.perf_counter()
                batches = self._batches(masks, scores, len(environment.batch.images))
                columns = itertools.chain.from_iterable(workers.map(measure, batches))
                for g, column in enumerate(columns):
                    values[k, :, g] = column
                    done += passes
                    progress(done, total)
                setup += prepared - started
                evaluate += time.perf_counter() - prepared
        images = len(environments[0].batch.images[rows]) if environments else 0
        return Scores(
            values.reshape(len(environments) * len(scores), len(masks)), total, images, setup, evaluate
        )

    def observe(
        self, masks: Mask, environment: Environment, *, reads: Collection[str] = (), probe: Probe = BATCH
    ) -> list[Observation]:
        """What a forward score sees of every mask [G, E, O]; `evaluate` is the same followed by scores.

        reads: what is seen besides logits, members of READS and ANSWERS.
        """
        check_masks(masks, self.space)
        with self._workers() as workers:
            views = [
                self._view(workers, environment, probe, frozenset({"logits", *reads}), ALL, place)
                for place in range(len(self.devices))
            ]
            view = SharedOut(workers, views)
            return [seen for (seen,) in workers.map(view, masks[:, None])]

    def in_float32(self) -> Evaluator | None:
        """The same supernets in float32, where this backend has a cheaper way to them; or None."""
        return None

    def network(self, environment: Environment, norm: str, device: str) -> Any:
        """The supernet as a differentiable function, for gradient scores: the backend torch alone has it."""
        raise AssertionError(f"the backend {self.name} has no gradients")

    def masks_together(self, reads: frozenset[str], images: int) -> int:
        """Masks that a worker thread gets at once, of which that is read on so many images: more than one
        for a `BatchedPass`."""
        return 1

    def _batches(self, masks: Mask, scores: Sequence[Score], images: int) -> list[Mask]:
        """What a worker thread gets at once: fewer masks than it might where others would be left without
        any, or where the codes of several chunks of images wait on the host."""
        reads = frozenset(READS).intersection(itertools.chain(*probes_of(scores, self.norm).values()))
        size = self.masks_together(reads, images)
        if "codes" in reads and images > self._chunked.size:
            size = 1
        size = max(1, min(size, -(-len(masks) // max(self.threads, len(self.devices)))))
        return [masks[first : first + size] for first in range(0, len(masks), size)]

    def _measure(
        self,
        workers: Workers,
        environment: Environment,
        scores: Sequence[Score],
        rows: slice,
        place: int,
    ) -> Measure:
        """On the device `devices[place]`."""
        views = {
            probe: self._view(workers, environment, probe, reads, rows, place)
            for probe, reads in probes_of(scores, self.norm).items()
        }
        rules = [self._rule(workers, environment, score, rows, place) for score in scores]
        return Measure(scores, [calling("score", score) for score in scores], views, rules, self.space)

    def _rule(
        self, workers: Workers, environment: Environment, score: Score, rows: slice, place: int
    ) -> Rule:
        match score:
            case ForwardScore():
                return ForwardRule(score, [probe.under(self.norm) for probe in score.probes])
            case StaticScore():
                key = (environment, score.name)
                rule: StaticRule = self._make(workers, key, lambda: prepared(score, self.graph, environment))
                return rule
            case GradientScore():
                norm = score.norm or self.norm
                network = self._make(
                    workers,
                    (place, environment, "network", norm),
                    lambda: self.network(environment, norm, self.devices[place]),
                )
                return GradientRule(score, network, environment.batch[rows])
            case _:
                raise AssertionError(f"{score.name} is no kind of score")

    def _view(
        self,
        workers: Workers,
        environment: Environment,
        probe: Probe,
        reads: frozenset[str],
        rows: slice,
        place: int,
    ) -> View:
        """Of some of the probe's images."""
        norm = probe.norm or self.norm
        inner = reads.intersection(READS)
        run: MaskedPass = self._make(
            workers,
            (place, environment, norm, inner),
            lambda: self.prepare(environment, norm=norm, reads=inner, device=self.devices[place]),
        )
        images, labels = shown(probe, environment)[rows], environment.batch[rows].labels
        classes = self.graph.classes
        return View(run, reads, images, labels, classes, self.space, norm, self.dtype, self._chunked)

    def _make(self, workers: Workers, key: Any, make: Callable[[], Any]) -> Any:
        """Once for all calls, in one of the worker threads."""
        return self._kept.get(key, lambda: workers.submit(make).result())

    def _workers(self) -> Workers:
        """All of a backend's arithmetic happens in these threads."""
        return Workers(self.threads, places=len(self.devices))
