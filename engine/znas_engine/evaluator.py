"""The evaluator: masks in, scores out. A backend only says how one masked pass is run."""

from __future__ import annotations

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from znas_engine.arguments import check_between, function, instance
from znas_engine.backends.checks import (
    as_environments,
    as_masks,
    as_reads,
    as_rows,
    check_batch,
    check_environment,
    check_score,
    supernet_of,
)
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
from znas_engine.backends.pool import COPIES, Kept, SharedOut, in_turn
from znas_engine.backends.record import Backend, check_devices, check_dtype, check_graph
from znas_engine.backends.workers import Workers
from znas_engine.data import Batch
from znas_engine.devices import TOGETHER, kind_of, parse_devices
from znas_engine.environment import Environment
from znas_engine.footprint import weight_bytes
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
    ScoreNames,
    StaticScore,
    get_scores,
)
from znas_engine.spaces import Macro, Mask, SearchSpace, get_space
from znas_engine.supernet.normalisation import check_norm

#: The rows of a batch: all of them.
ALL = slice(None)
#: Masks that a thread gets at once where scores need no pass: each is a matter of microseconds.
WITHOUT_PASS = 256


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
        devices: str | Sequence[str] | None = None,
        threads: int = 1,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.space: SearchSpace[Any] = space if isinstance(space, SearchSpace) else get_space(space)
        self.macro: Macro = instance("macro", macro, Macro, ": space.search_macro(...) makes one")
        self.norm = check_norm(norm)
        named = parse_devices(devices) if isinstance(devices, str) else devices
        self.devices = check_devices(self.record, named or [self.record.default_device])
        self.dtype = check_dtype(self.record, self.devices, dtype)
        self.threads = check_between("threads", threads, 1, None)
        self.report = function("report", report)
        self.graph: Graph = check_graph(self.record, supernet_of(self.space, macro))
        self._kept = Kept(len(self.devices), each=COPIES * weight_bytes(self.graph))
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
        score: ScoreNames,
        environments: Environment | Iterable[Environment],
        rows: slice = ALL,
        progress: Progress = unheard,
    ) -> Scores:
        """masks float32 [G, E, O], >= 0 -> every score of every mask in every environment.

        masks: float32 of any layout, or lists of such. score: one or several, by name or as objects.
        environments: one, or any number; see `draw_environments`. rows: the images of every batch that are
        shown, one or more without gaps; weights and calibration stay those of the whole batch.

        Memory is bounded whatever G, the number of environments and the image count: a thread holds
        `masks_together` and one chunk of images, and for scores that read features those of all images, of
        which they allow few. Chunks are smaller where a device's memory is full, unless statistics are those
        of a chunk.

        Raises:
            InvalidValueError: masks of another shape or dtype, negative or not finite; a score that this
                backend cannot run; a score that needs labels on images that have none; too few or too many
                images for a score, images of another size than the supernet's, labels that it has no class
                for; what is none of these at all.
            NonFiniteScoreError: logits or a score that are not finite; the message names the mask.
            DeviceError: a GPU is lost, or one image is too much for its memory.
        """
        masks = as_masks(masks, self.space)
        scores = get_scores(score)
        for each in scores:
            check_score(each, self.record, self.dtype)
        environments = as_environments(environments)
        function("progress", progress)
        values = np.empty((len(environments), len(scores), len(masks)))
        setup = evaluate = 0.0
        passes = count_passes(scores, self.norm)
        images, done, total = 0, 0, len(environments) * len(masks) * passes
        order = self.neighbours(masks) if passes else np.arange(len(masks))
        with self._workers() as workers:
            for k, environment in enumerate(environments):
                part = self._admitted(environment, scores, rows)
                images = images or part.stop - part.start
                started = time.perf_counter()
                places = range(len(self.devices))
                of_place = [self._measure(workers, environment, scores, part, place) for place in places]
                measure = SharedOut(workers, of_place)
                prepared = time.perf_counter()
                batches = self._batches(masks, order, scores, len(environment.batch.images))
                columns = itertools.chain.from_iterable(in_turn(workers, self._lanes, measure, batches))
                for g, column in zip(order, columns, strict=True):
                    values[k, :, g] = column
                    if passes:
                        done += passes
                        progress(done, total)
                setup += prepared - started
                evaluate += time.perf_counter() - prepared
        return Scores(
            values.reshape(len(environments) * len(scores), len(masks)), total, images, setup, evaluate
        )

    def observe(
        self, masks: Mask, environment: Environment, *, reads: Collection[str] = (), probe: Probe = BATCH
    ) -> list[Observation]:
        """What a forward score sees of every mask [G, E, O]; `evaluate` is the same followed by scores.

        reads: what is seen besides logits, members of READS and ANSWERS.
        """
        masks = as_masks(masks, self.space)
        wanted = frozenset({"logits", *as_reads(reads, self.record)})
        instance("probe", probe, Probe)
        check_environment(environment, self.graph)
        with self._workers() as workers:
            views = [
                self._view(workers, environment, probe, wanted, ALL, place)
                for place in range(len(self.devices))
            ]
            view = SharedOut(workers, views)
            return [seen for (seen,) in in_turn(workers, self._lanes, view, masks[:, None])]

    def begin(self) -> None:
        """Passes will follow: what the first would wait for may be done meanwhile. Nothing is, by default."""
        return

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

    @property
    def fewest(self) -> int:
        """Masks that a thread gets at least where every device has some, though other threads have none."""
        return 1

    def neighbours(self, masks: Mask) -> NDArray[np.intp]:
        """The numbers of masks [G, E, O] in the order in which threads get them: a `BatchedPass` may share
        the work of those that come at once."""
        return np.arange(len(masks))

    def _admitted(self, environment: Environment, scores: Sequence[Score], rows: Any) -> slice:
        """`rows` as the first and the last of them, once all scores can use such images."""
        check_environment(environment, self.graph)
        part = as_rows(rows, len(environment.batch.images))
        for score in scores:
            check_batch(score, environment, part)
        return part

    @property
    def _lanes(self) -> int:
        """Worker threads."""
        return max(self.threads, len(self.devices))

    def _batches(
        self, masks: Mask, order: NDArray[np.intp], scores: Sequence[Score], images: int
    ) -> Iterator[Mask]:
        """What a worker thread gets at once: fewer masks than it might where others would be left without
        any, down to `fewest`, or where the codes of several chunks of images wait on the host."""
        reads = frozenset(READS).intersection(itertools.chain(*probes_of(scores, self.norm).values()))
        size = self.masks_together(reads, images) if count_passes(scores, self.norm) else WITHOUT_PASS
        if "codes" in reads and images > self._chunked.size:
            size = 1
        turns = -(-len(masks) // (size * self._lanes))  # of every thread
        fewest = min(size, self.fewest, -(-len(masks) // len(self.devices)))
        size = max(1, fewest, -(-len(masks) // max(1, turns * self._lanes)))
        for first in range(0, len(masks), size):
            yield np.ascontiguousarray(masks[order[first : first + size]])

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
                # The score is kept too: while it lives, no other one has its `id`.
                rule, _ = self._make(
                    workers,
                    environment,
                    ("static", id(score)),
                    lambda: (prepared(score, self.graph, environment), score),
                )
                return cast("StaticRule", rule)
            case GradientScore():
                probe = score.probe.under(self.norm)
                drawn = probe.drawn(environment)
                network = self._make(
                    workers,
                    environment,
                    (place, "network", probe.norm, drawn.init),
                    lambda: self.network(drawn, probe.norm or self.norm, self.devices[place]),
                )
                images = np.ascontiguousarray(shown(probe, environment)[rows])
                return GradientRule(score, network, Batch(images, environment.batch[rows].labels))
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
        drawn = probe.drawn(environment)
        run: MaskedPass = self._make(
            workers,
            environment,
            (place, norm, drawn.init, inner),
            lambda: self.prepare(drawn, norm=norm, reads=inner, device=self.devices[place]),
        )
        images, labels = shown(probe, environment)[rows], environment.batch[rows].labels
        classes = self.graph.classes
        return View(run, reads, images, labels, classes, self.space, norm, self.dtype, self._chunked)

    def _make(
        self, workers: Workers, environment: Environment, key: Hashable, make: Callable[[], Any]
    ) -> Any:
        """Once for all calls, in one of the worker threads."""
        return self._kept.get(environment, key, lambda: workers.submit(make).result())

    def _workers(self) -> Workers:
        """All of a backend's arithmetic happens in these threads."""
        return Workers(self.threads, places=len(self.devices))
