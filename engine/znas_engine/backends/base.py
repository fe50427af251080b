"""The evaluator: masks in, scores out. A backend only says how one masked pass is run."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.graph import Graph
from znas_engine.scores import CodeSite, Observation, Score
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.supernet.normalisation import check_norm, chunks

Images = NDArray[np.float32]
Progress = Callable[[int, int], None]

#: How far a backend's logits may be from the torch reference's, relative to the reference's largest.
LOGIT_TOLERANCE = {"float32": 2e-4, "bfloat16": 3e-2}
#: Environments whose weights, statistics and sessions are kept between calls.
PREPARED = 16


#: Backends that compute in something else than float32 too.
DTYPES: dict[str, tuple[str, ...]] = {"native": ("float32", "bfloat16")}


def check_dtype(backend: str, dtype: str) -> str:
    """`dtype` itself, or InvalidValueError where that backend cannot compute in it."""
    allowed = DTYPES.get(backend, ("float32",))
    if dtype not in allowed:
        raise InvalidValueError(
            f"`dtype` must be {' or '.join(allowed)} for the backend {backend} but got {dtype!r}"
            + ("" if "bfloat16" in allowed else "; --backend native has bfloat16 too")
        )
    return dtype


class MaskedPass(Protocol):
    """One environment's network, ready to run; safe to call from several threads at once."""

    def __call__(self, mask: Mask, images: Images) -> tuple[NDArray[np.float32], Sequence[CodeSite]]:
        """mask float32 [E, O], images float32 [n, 3, H, W] -> logits float32 [n, classes] and codes.

        The codes are those of `graph.relu_sites`, in its order, for every chunk of images alike; empty
        unless they were asked for when the pass was prepared. The order of units within a site is the
        backend's own, the same for every image.
        """


@dataclass(frozen=True, slots=True)
class Scores:
    """What `Evaluator.evaluate` returns.

    values: float64 [K, G], one row per environment. images: per pass. setup_seconds: weights, calibration,
    export, sessions. evaluate_seconds: masked passes and scores.
    """

    values: NDArray[np.float64]
    images: int
    setup_seconds: float
    evaluate_seconds: float

    @property
    def evaluations(self) -> int:
        """Masked passes over the image batch."""
        return self.values.size


class Evaluator(ABC):
    """Runs batches of masks through the supernet of one space.

    space, macro: which supernet. norm: one of NORMS. dtype: what products
    read; sums are float32. threads: worker threads; each pass runs on one of
    them, start to end, so results do not depend on their number. report: receives one-line remarks
    (a cache entry rebuilt, for instance) that the user should see.
    """

    name: ClassVar[str]
    #: Distributions whose versions a result depends on.
    packages: ClassVar[tuple[str, ...]]
    device: ClassVar[str] = "cpu"

    def __init__(
        self,
        space: SearchSpace[Any],
        macro: Macro,
        *,
        norm: str = "calibrated",
        dtype: str = "float32",
        threads: int = 1,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        if threads < 1:
            raise InvalidValueError(f"`threads` must be at least 1 but got {threads}")
        self.space = space
        self.macro = macro
        self.norm = check_norm(norm)
        self.dtype = check_dtype(self.name, dtype)
        self.threads = threads
        self.report = report
        self.graph: Graph = space.supernet(macro)
        self._passes: OrderedDict[tuple[Environment, bool], MaskedPass] = OrderedDict()

    @abstractmethod
    def prepare(self, environment: Environment, *, codes: bool) -> MaskedPass:
        """Draw the weights, calibrate, compile: everything that masks share."""

    def evaluate(
        self,
        masks: Mask,
        *,
        score: Score,
        environments: Sequence[Environment],
        progress: Progress = lambda done, total: None,
    ) -> Scores:
        """masks float32 [G, E, O], >= 0 -> the score of every mask in every environment.

        Memory is bounded whatever G and the image count: a thread holds one mask and one chunk of images.

        Raises:
            InvalidValueError: masks of another shape or dtype, negative or not finite; a score that needs
                labels on images that have none; more images than the score can take.
            NonFiniteScoreError: logits or a score that are not finite; the message names the mask.
        """
        check_masks(masks, self.space)
        values = np.empty((len(environments), len(masks)))
        setup = evaluate = 0.0
        total = values.size
        done = 0
        with self._workers() as workers:
            for k, environment in enumerate(environments):
                check_batch(score, environment)
                started = time.perf_counter()
                run = self._prepared(workers, environment, codes=score.needs_codes)
                prepared = time.perf_counter()
                score_one = partial(self._score, run=run, environment=environment, score=score)
                for g, value in enumerate(workers.map(score_one, masks)):
                    values[k, g] = value
                    done += 1
                    progress(done, total)
                setup += prepared - started
                evaluate += time.perf_counter() - prepared
        images = len(environments[0].batch.images) if environments else 0
        return Scores(values, images, setup, evaluate)

    def observe(self, masks: Mask, environment: Environment, *, codes: bool = False) -> list[Observation]:
        """The logits (and codes) of every mask [G, E, O]; `evaluate` is the same followed by the score."""
        check_masks(masks, self.space)
        with self._workers() as workers:
            run = self._prepared(workers, environment, codes=codes)
            return list(workers.map(partial(self._observe, run=run, environment=environment), masks))

    def _prepared(self, workers: ThreadPoolExecutor, environment: Environment, *, codes: bool) -> MaskedPass:
        """`prepare`, once for all calls that ask for the same environment."""
        key = (environment, codes)
        if key not in self._passes:
            self._passes[key] = workers.submit(self.prepare, environment, codes=codes).result()
            while len(self._passes) > PREPARED:
                self._passes.popitem(last=False)
        self._passes.move_to_end(key)
        return self._passes[key]

    def _workers(self) -> ThreadPoolExecutor:
        """All of a backend's arithmetic happens in these threads."""
        return ThreadPoolExecutor(self.threads, thread_name_prefix="znas")

    def _observe(self, mask: Mask, run: MaskedPass, environment: Environment) -> Observation:
        batch = environment.batch
        parts = [run(mask, batch.images[rows]) for rows in chunks(len(batch.images))]
        logits = np.concatenate([logits for logits, _ in parts])
        if not np.isfinite(logits).all():
            raise NonFiniteScoreError(
                f"the logits are not finite under the mask {self.space.describe(mask)}; "
                "norm=calibrated keeps activations in range"
            )
        codes = tuple(
            CodeSite(np.concatenate([site.packed for site in sites]), sites[0].bits, sites[0].modules)
            for sites in zip(*(codes for _, codes in parts), strict=True)
        )
        return Observation(logits, batch.labels, codes)

    def _score(self, mask: Mask, run: MaskedPass, environment: Environment, score: Score) -> float:
        value = score(self._observe(mask, run, environment))
        if not math.isfinite(value):
            raise NonFiniteScoreError(f"{score.name} is {value} under the mask {self.space.describe(mask)}")
        return value


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


def check_batch(score: Score, environment: Environment) -> None:
    """Refuse images that this score cannot use."""
    images = len(environment.batch.images)
    if score.needs_labels and environment.batch.labels is None:
        raise InvalidValueError(
            f"the score {score.name!r} needs labels and these images have none; "
            "use --data cifar10 --data-dir FOLDER, or --score naswot"
        )
    if score.max_images is not None and images > score.max_images:
        raise InvalidValueError(
            f"`images` must be at most {score.max_images} for the score {score.name!r} but got {images}"
        )
