"""The evaluator: masks in, scores out. A backend only says how one masked pass is run."""

from __future__ import annotations

import itertools
import math
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.backends.chunked import Chunked
from znas_engine.backends.served import check_devices, check_dtype, default_device
from znas_engine.backends.workers import Workers
from znas_engine.devices import TOGETHER, kind_of
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.graph import Graph
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
from znas_engine.scores.codes import joined
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.supernet.normalisation import check_norm, chunks

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
Progress = Callable[[int, int], None]
T = TypeVar("T")

#: How far a backend's logits may be from the torch reference's, relative to the reference's largest.
#: bfloat16: four standard deviations of what rounding weights to 8 bits does in a row of 50 convolutions,
#: the longest of the NAS-Bench-201 supernet (docs/decisions/0006-native-executor.md).
LOGIT_TOLERANCE = {"float32": 2e-4, "float16": 5e-3, "bfloat16": 4.7e-2}
#: The rows of a batch: all of them.
ALL = slice(None)
#: Passes, static scores and networks (one environment each) that are kept between calls, per device.
PREPARED = 16
#: The backend of gradient scores.
GRADIENTS = "torch"


class MaskedPass(Protocol):
    """One environment's network, ready to run; safe to call from several threads at once."""

    def __call__(self, mask: Mask, images: Images) -> Observation:
        """mask float32 [E, O], images float32 [n, 3, H, W] -> what was asked for when the pass was prepared.

        The codes are those of `graph.relu_sites`, in its order, for every chunk of images alike. The order
        of units within a site is the backend's own, the same for every image.

        Raises DeviceMemoryError where that many images do not fit into the device's memory.
        """


@runtime_checkable
class BatchedPass(MaskedPass, Protocol):
    """A pass on a device that takes many masks before the host waits for it."""

    def batch(self, masks: Mask, images: Images) -> list[Observation]:
        """masks float32 [G, E, O], images float32 [n, 3, H, W] -> what single passes would give.

        Raises DeviceMemoryError like a single pass.
        """


@runtime_checkable
class CountingPass(MaskedPass, Protocol):
    """A pass that counts where its logits are: only counts leave."""

    def count(self, masks: Mask, images: Images, labels: Labels) -> list[Observation]:
        """masks float32 [G, E, O], images float32 [n, 3, H, W], labels int64 [n] -> what single passes would
        give, `correct` and `finite` in the place of logits.

        Raises DeviceMemoryError like a single pass, InvalidValueError for a label that is no class.
        """


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
    """

    name: ClassVar[str]
    #: Distributions whose versions a result depends on.
    packages: ClassVar[tuple[str, ...]]

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
        self.devices = check_devices(self.name, devices or [default_device(self.name)])
        self.dtype = check_dtype(self.name, self.devices, dtype)
        self.threads = threads
        self.report = report
        self.graph: Graph = space.supernet(macro)
        self._made: OrderedDict[Hashable, Any] = OrderedDict()
        self._chunked = Chunked(min(TOGETHER[kind_of(device)] for device in self.devices), report)

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
        progress: Progress = lambda done, total: None,
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
                measure = self._shared_out(
                    workers, partial(self._measure, workers, environment, scores, rows)
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
            view = self._shared_out(
                workers, partial(self._view, workers, environment, probe, frozenset({"logits", *reads}), ALL)
            )
            return [seen for (seen,) in workers.map(view, masks[:, None])]

    def in_float32(self) -> Evaluator:
        """What tells how much half precision changes: the same supernets in float32."""
        from znas_engine.backends import get_backend

        return get_backend("auto")(self.space, self.macro, norm=self.norm, threads=self.threads)

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

    def _shared_out(
        self, workers: Workers, make: Callable[[int], Callable[[Mask], T]]
    ) -> Callable[[Mask], T]:
        """What `make` makes for every device, each worker thread calling its own device's."""
        made = [make(place) for place in range(len(self.devices))]
        return lambda mask: made[workers.place](mask)

    def _measure(
        self,
        workers: Workers,
        environment: Environment,
        scores: Sequence[Score],
        rows: slice,
        place: int,
    ) -> Callable[[Mask], list[list[float]]]:
        """The function from masks [G, E, O] to all scores of each, each pass run once, on the device
        `devices[place]`."""
        views = {
            probe: self._view(workers, environment, probe, reads, rows, place)
            for probe, reads in probes_of(scores, self.norm).items()
        }
        rules = [self._rule(workers, environment, score, rows, place) for score in scores]

        def measure(masks: Mask) -> list[list[float]]:
            seen = {probe: view(masks) for probe, view in views.items()}
            return [
                self._column(scores, rules, mask, {probe: found[g] for probe, found in seen.items()})
                for g, mask in enumerate(masks)
            ]

        return measure

    def _column(
        self,
        scores: Sequence[Score],
        rules: Sequence[Callable[[Mask, Mapping[Probe, Observation]], float]],
        mask: Mask,
        seen: Mapping[Probe, Observation],
    ) -> list[float]:
        """All scores of one mask."""
        found = [rule(mask, seen) for rule in rules]
        for score, value in zip(scores, found, strict=True):
            if not math.isfinite(value):
                raise NonFiniteScoreError(
                    f"{score.name} is {value} under the mask {self.space.describe(mask)}"
                )
        return found

    def _rule(
        self, workers: Workers, environment: Environment, score: Score, rows: slice, place: int
    ) -> Callable[[Mask, Mapping[Probe, Observation]], float]:
        """How a score comes about, from a mask and what all probes show of it."""
        match score:
            case ForwardScore():
                probes = [probe.under(self.norm) for probe in score.probes]
                return lambda mask, seen: score([seen[probe] for probe in probes])
            case StaticScore():
                key = (environment, score.name)
                value = self._kept(workers, key, lambda: score.prepare(self.graph, environment))
                return lambda mask, seen: value(mask)
            case GradientScore():
                norm = score.norm or self.norm
                network = self._kept(
                    workers,
                    (place, environment, "network", norm),
                    lambda: self.network(environment, norm, self.devices[place]),
                )
                batch = environment.batch[rows]
                return lambda mask, seen: score(network, mask, batch)
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
    ) -> Callable[[Mask], list[Observation]]:
        """The function from masks [G, E, O] to what a probe shows of each, on some of its images."""
        norm = probe.norm or self.norm
        inner = reads.intersection(READS)
        run: MaskedPass = self._kept(
            workers,
            (place, environment, norm, inner),
            lambda: self.prepare(environment, norm=norm, reads=inner, device=self.devices[place]),
        )
        images = probe.images(environment)[rows]
        labels = environment.batch[rows].labels
        asked = labels if "correct" in reads else None

        def view(masks: Mask) -> list[Observation]:
            def see(part: slice) -> list[Observation]:
                if asked is not None and "logits" not in reads and isinstance(run, CountingPass):
                    seen = run.count(masks, images[part], asked[part])
                elif isinstance(run, BatchedPass):
                    seen = run.batch(masks, images[part])
                else:
                    seen = [run(mask, images[part]) for mask in masks]
                if part.stop - part.start == len(images):
                    return seen
                # Or a device would hold the codes of all images, however few go through together.
                return [replace(each, codes=each.codes.on_host()) for each in seen]

            # Chunks are part of the definition of batch statistics.
            if norm == "batch":
                parts = [see(part) for part in chunks(len(images))]
            else:
                parts = self._chunked(see, len(images))
            return [
                replace(self._joined(mask, seen, asked), labels=labels)
                for mask, seen in zip(masks, zip(*parts, strict=True), strict=True)
            ]

        return view

    def _kept(self, workers: Workers, key: Hashable, make: Callable[[], Any]) -> Any:
        """What was made under that key, made once for all calls."""
        if key not in self._made:
            self._made[key] = workers.submit(make).result()
            while len(self._made) > PREPARED * len(self.devices):
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def _workers(self) -> Workers:
        """All of a backend's arithmetic happens in these threads."""
        return Workers(self.threads, places=len(self.devices))

    def _joined(self, mask: Mask, parts: Sequence[Observation], asked: Labels | None) -> Observation:
        """What was seen of one mask in all chunks of images. asked: labels whose correct images are counted
        here, unless the pass has."""
        logits = np.concatenate([part.logits for part in parts])
        if not (all(part.finite for part in parts) and np.isfinite(logits).all()):
            raise NonFiniteScoreError(
                f"the logits are not finite under the mask {self.space.describe(mask)}; "
                + ("norm=calibrated" if self.dtype != "float16" else "dtype=bfloat16")
                + " keeps activations in range"
            )
        codes = joined([part.codes for part in parts])
        pooled = [part.pooled for part in parts if part.pooled is not None]
        features = tuple(
            np.concatenate(maps) if len(maps) > 1 else maps[0]
            for maps in zip(*(part.features for part in parts), strict=True)
        )
        counts = [part.correct for part in parts if part.correct is not None]
        if asked is not None and not counts:
            counts = kernels.count_correct(logits[None], asked).tolist()
        return Observation(
            logits,
            codes=codes,
            pooled=np.concatenate(pooled) if pooled else None,
            features=features,
            classes=self.graph.classes,
            correct=sum(counts) if counts else None,
        )


def probes_of(scores: Iterable[Score], norm: str) -> dict[Probe, frozenset[str]]:
    """The probes of all forward scores under an evaluator's normalisation, and what is read of each."""
    found: dict[Probe, frozenset[str]] = {}
    for score in scores:
        if isinstance(score, ForwardScore):
            for probe in score.probes:
                own = probe.under(norm)
                found[own] = found.get(own, frozenset()) | frozenset(score.reads)
    return found


def count_passes(scores: Sequence[Score], norm: str) -> int:
    """Passes over a batch of images per mask and environment; a gradient counts as one."""
    return len(probes_of(scores, norm)) + sum(isinstance(score, GradientScore) for score in scores)


def check_masks(masks: Mask, space: SearchSpace[Any]) -> None:
    """Refuse what is not float32 [G, E, O], finite and >= 0."""
    edges, operations = space.shape
    if masks.ndim != 3 or masks.shape[1:] != (edges, operations):
        raise InvalidValueError(
            f"`masks` must have the shape [G, {edges}, {operations}] for {space.name} "
            f"but got {list(masks.shape)}"
        )
    if masks.dtype != np.float32:
        raise InvalidValueError(f"`masks` must be float32 but got {masks.dtype}")
    if not np.isfinite(masks).all():
        raise InvalidValueError("`masks` must be finite but got NaN or infinity")
    if masks.size and masks.min() < 0:
        raise InvalidValueError(f"`masks` must not be negative but got {masks.min()}")


def check_score(score: Score, backend: str, dtype: str) -> None:
    """Refuse a score that the backend cannot run."""
    if isinstance(score, GradientScore) and backend != GRADIENTS:
        raise InvalidValueError(
            f"the score {score.name!r} needs gradients, which the backend {backend} does not have; "
            f"use --backend {GRADIENTS}"
        )
    if isinstance(score, ForwardScore) and score.differences and dtype != "float32":
        raise InvalidValueError(
            f"the score {score.name!r} takes differences of passes, which {dtype} rounds away; "
            "use --dtype float32"
        )


def check_batch(score: Score, environment: Environment) -> None:
    """Refuse images that this score cannot use."""
    images = len(environment.batch.images)
    if score.needs_labels and environment.batch.labels is None:
        raise InvalidValueError(
            f"the score {score.name!r} needs labels and these images have none; "
            "use --data cifar10 --data-dir FOLDER, or --score naswot"
        )
    if images < score.min_images:
        raise InvalidValueError(
            f"`images` must be at least {score.min_images} for the score {score.name!r} but got {images}"
        )
    if score.max_images is not None and images > score.max_images:
        raise InvalidValueError(
            f"`images` must be at most {score.max_images} for the score {score.name!r} but got {images}"
        )
