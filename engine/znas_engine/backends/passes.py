"""Masked passes, and what all of them together show of the masks that a score reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.backends.chunked import Chunked
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, NonFiniteScoreError, PluginError, briefly
from znas_engine.graph import Graph
from znas_engine.promises import Calling, calling
from znas_engine.registry import called, where_is
from znas_engine.scores import ForwardScore, GradientScore, Observation, Probe, Score, StaticScore
from znas_engine.scores import codes as code_sites
from znas_engine.scores import features as maps
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.supernet.normalisation import chunks

Images = NDArray[np.float32]
Labels = NDArray[np.int64]
#: How a score comes about, from a mask and what all probes show of it.
Rule = Callable[[Mask, Mapping[Probe, Observation]], float]


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
        """masks float32 [G, E, O], images float32 [n, C, H, W], labels int64 [n] -> what single passes would
        give, `correct` and `finite` in the place of logits.

        Raises DeviceMemoryError like a single pass, InvalidValueError for a label that is no class.
        """


@dataclass(frozen=True, slots=True)
class View:
    """What a probe shows of masks [G, E, O].

    run: a pass of `space` under `norm` in `dtype`. reads: what is asked for, members of READS and ANSWERS.
    images float32 [n, C, H, W], labels int64 [n]: the probe's. classes: of the logits. chunked: how many
    images go through together.
    """

    run: MaskedPass
    reads: frozenset[str]
    images: Images
    labels: Labels | None
    classes: int
    space: SearchSpace[Any]
    norm: str
    dtype: str
    chunked: Chunked

    def __call__(self, masks: Mask) -> list[Observation]:
        def see(part: slice) -> list[Observation]:
            return self._see(masks, part)

        count = len(self.images)
        # Chunks are part of the definition of batch statistics.
        parts = [see(part) for part in chunks(count)] if self.norm == "batch" else self.chunked(see, count)
        return [self._joined(mask, seen) for mask, seen in zip(masks, zip(*parts, strict=True), strict=True)]

    def _see(self, masks: Mask, part: slice) -> list[Observation]:
        images, labels = self.images[part], self._asked
        with Calling(f"the pass {where_is(self.run)}", where_is(self.run)):
            if labels is not None and "logits" not in self.reads and isinstance(self.run, CountingPass):
                seen = self.run.count(masks, images, labels[part])
            elif isinstance(self.run, BatchedPass):
                seen = self.run.batch(masks, images)
            else:
                seen = [self.run(mask, images) for mask in masks]
        if len(images) == len(self.images):
            return seen
        # Or a device would hold the codes and features of all images, however few go through together.
        return [replace(each, codes=each.codes.on_host(), features=tuple(each.features)) for each in seen]

    @property
    def _asked(self) -> Labels | None:
        """The labels whose correct images are to be counted."""
        return self.labels if "correct" in self.reads else None

    def _joined(self, mask: Mask, parts: Sequence[Observation]) -> Observation:
        """What was seen of one mask in all chunks of images; what a pass did not count is counted here."""
        logits = np.concatenate([part.logits for part in parts])
        if not (all(part.finite for part in parts) and np.isfinite(logits).all()):
            raise NonFiniteScoreError(
                f"the logits are not finite under the mask {self.space.describe(mask)}; "
                + ("norm=calibrated" if self.dtype != "float16" else "dtype=bfloat16")
                + " keeps activations in range"
            )
        codes = code_sites.joined([part.codes for part in parts])
        pooled = [part.pooled for part in parts if part.pooled is not None]
        unpooled = [part.unpooled for part in parts if part.unpooled is not None]
        variances = tuple(
            np.stack(of_one).mean(0) for of_one in zip(*(part.variances for part in parts), strict=True)
        )
        counts = [part.correct for part in parts if part.correct is not None]
        if self._asked is not None and not counts:
            counts = kernels.count_correct(logits[None], self._asked).tolist()
        return Observation(
            logits,
            labels=self.labels,
            codes=codes,
            pooled=np.concatenate(pooled) if pooled else None,
            unpooled=np.concatenate(unpooled) if unpooled else None,
            features=maps.joined([part.features for part in parts]),
            variances=variances,
            classes=self.classes,
            correct=sum(counts) if counts else None,
        )


@dataclass(frozen=True, slots=True)
class Measure:
    """All scores of masks [G, E, O], each pass run once.

    views: what every probe shows. calling: around each score, and rules: of each, in their order.
    """

    scores: Sequence[Score]
    calling: Sequence[Calling]
    views: Mapping[Probe, View]
    rules: Sequence[Rule]
    space: SearchSpace[Any]

    def __call__(self, masks: Mask) -> list[list[float]]:
        seen = {probe: view(masks) for probe, view in self.views.items()}
        ahead = [
            self._ahead(rule, foreign, masks) for rule, foreign in zip(self.rules, self.calling, strict=True)
        ]
        return [
            self._column(
                mask,
                {probe: found[g] for probe, found in seen.items()},
                [None if values is None else values[g] for values in ahead],
            )
            for g, mask in enumerate(masks)
        ]

    def _ahead(self, rule: Rule, foreign: Calling, masks: Mask) -> list[float] | None:
        """All values of a rule that values many masks at once."""
        if not isinstance(rule, StaticRule) or rule.many is None:
            return None
        with foreign:
            found: Any = rule.many(masks)
        if not isinstance(found, np.ndarray) or found.dtype != np.float64 or found.shape != (len(masks),):
            raise PluginError(
                f"`prepare_many` of a score returned {briefly(found)} for {len(masks)} masks, no float64 "
                "array of as many"
            )
        values: list[float] = found.tolist()
        return values

    def _column(
        self, mask: Mask, seen: Mapping[Probe, Observation], ahead: Sequence[float | None]
    ) -> list[float]:
        """All scores of one mask. ahead: those that are known already."""
        found: list[Any] = []  # a score may be anybody's
        for score, foreign, rule, known in zip(self.scores, self.calling, self.rules, ahead, strict=True):
            value: Any = known
            if known is None:
                with foreign:
                    value = rule(mask, seen)
            found.append(value)
            if known is None and not isinstance(value, Real):
                raise InvalidValueError(
                    f"{called('score', score)} must return a number but returned {briefly(value)}, "
                    f"{type(value).__name__}"
                )
            if not math.isfinite(value):
                raise NonFiniteScoreError(
                    f"{score.name} is {value} under the mask {self.space.describe(mask)}"
                )
        return found


@dataclass(frozen=True, slots=True)
class ForwardRule:
    """probes: of the score, under the evaluator's normalisation."""

    score: ForwardScore
    probes: Sequence[Probe]

    def __call__(self, mask: Mask, seen: Mapping[Probe, Observation]) -> float:
        return self.score([seen[probe] for probe in self.probes])


@dataclass(frozen=True, slots=True)
class StaticRule:
    """value: what the score makes of a mask in one environment. many: of masks [G, E, O] at once."""

    value: Callable[[Mask], float]
    many: Callable[[Mask], NDArray[np.float64]] | None = None

    def __call__(self, mask: Mask, seen: Mapping[Probe, Observation]) -> float:
        return self.value(mask)


@dataclass(frozen=True, slots=True)
class GradientRule:
    """network, batch: what the score differentiates, and on which images."""

    score: GradientScore
    network: Any
    batch: Batch

    def __call__(self, mask: Mask, seen: Mapping[Probe, Observation]) -> float:
        return self.score(self.network, mask, self.batch)


def prepared(score: StaticScore, graph: Graph, environment: Environment) -> StaticRule:
    """The rule of a score without a pass in one environment."""
    with calling("score", score):
        value: Any = score.prepare(graph, environment)
        many: Any = score.prepare_many(graph, environment) if _knows_many(score) else None
    if not callable(value):
        raise PluginError(
            f"`prepare` of {called('score', score)} returned {briefly(value)}, no function of masks"
        )
    if many is not None and not callable(many):
        raise PluginError(
            f"`prepare_many` of {called('score', score)} returned {briefly(many)}, neither None nor a "
            "function of masks"
        )
    return StaticRule(value, many)


def _knows_many(score: StaticScore) -> bool:
    """Whether its `prepare_many` is of the class that says what one mask is worth, or of one below it."""
    one, many = (
        next(each for each in type(score).__mro__ if name in vars(each))
        for name in ("prepare", "prepare_many")
    )
    return issubclass(many, one)


def shown(probe: Probe, environment: Environment) -> Images:
    """What a probe shows, as large as the environment's own images."""
    who = f"`images` of the probe {probe.name!r}, {where_is(probe.images)},"
    with Calling(who, where_is(probe.images)):
        images: Any = probe.images(environment)
    shape = environment.batch.images.shape
    if not isinstance(images, np.ndarray) or images.dtype != np.float32 or images.shape != shape:
        raise PluginError(f"{who} returned {briefly(images)}, no float32 array {list(shape)}")
    return images


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
