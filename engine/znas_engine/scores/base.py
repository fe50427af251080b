"""What a score function sees of a network under a mask, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import briefly
from znas_engine.graph import Graph
from znas_engine.scores.codes import Codes, HostCodes
from znas_engine.scores.features import Features
from znas_engine.supernet.initialisation import FAMILIES
from znas_engine.supernet.normalisation import NORMS

if TYPE_CHECKING:
    from znas_engine.spaces import Mask
    from znas_engine.supernet.network import Network

T = TypeVar("T")

#: What a pass can be prepared to hand out besides its answers. codes: of all ReLUs. pooled: what the
#: classifier reads. unpooled: what that is the mean of, over height and width. features: the outputs of the
#: stem and of all cells. variances: what live normalisations divide by.
READS = ("codes", "pooled", "unpooled", "features", "variances")
#: What any pass says of the images. logits: of every class. correct: on how many images the label has the
#: largest, which a pass that can counts where its logits are; they stay there if nothing reads them.
ANSWERS = ("logits", "correct")
#: Of a pass whose logits stayed where they were counted.
NO_LOGITS = np.empty((0, 0), np.float32)
#: Features of so many images fit into memory: about 1 MB per image, probe and thread.
FEATURE_IMAGES = 128


@dataclass(frozen=True, slots=True)
class Observation:
    """One mask, one probe, one environment; what the score does not read is empty.

    logits: float32 [N, classes], or NO_LOGITS. labels: int64 [N] or None. codes: per site. pooled: float32
    [N, C]. unpooled: float32 [N, C, H, W]. features: per position in `Graph.cells` float32 [N, C, H, W], also
    where no logit depends on it, wherever they lie. variances: float32 [C] per normalisation that reaches the
    logits, in the order of `Graph.norms`; of images in hand their mean over chunks. classes: of the
    classifier. correct: images whose label has the largest logit, the lowest class winning ties. finite:
    whether all logits are that stayed; the evaluator refuses others.
    """

    logits: NDArray[np.float32] = field(default_factory=lambda: NO_LOGITS)
    labels: NDArray[np.int64] | None = None
    codes: Codes = field(default_factory=HostCodes)
    pooled: NDArray[np.float32] | None = None
    unpooled: NDArray[np.float32] | None = None
    features: Features = ()
    variances: tuple[NDArray[np.float32], ...] = ()
    classes: int = 0
    correct: int | None = None
    finite: bool = True
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def once(self, statistic: Callable[[Observation], T]) -> T:
        """statistic(self), computed once, however many scores read it."""
        if statistic not in self._known:
            self._known[statistic] = statistic(self)
        found: T = self._known[statistic]
        return found


@dataclass(frozen=True, slots=True)
class Probe:
    """What an environment's network is shown: images float32 [N, C, H, W] made from the environment alone,
    under the evaluator's normalisation and with the environment's weights, or with some of its own: a
    member of NORMS, a key of FAMILIES."""

    name: str
    images: Callable[[Environment], NDArray[np.float32]]
    norm: str | None = None
    init: str | None = None

    def under(self, norm: str) -> Probe:
        """The probe with `norm` as its own, unless it has one: equal probes are one pass."""
        return self if self.norm else replace(self, norm=norm)

    def as_published(self, init: str) -> Probe:
        """The probe under batch statistics with weights of its own, whatever is asked of others."""
        return replace(self, norm="batch", init=init)

    def drawn(self, environment: Environment) -> Environment:
        """The environment itself, or one of the same seed and images with the probe's weights."""
        if self.init is None or self.init == environment.init:
            return environment
        return replace(environment, init=self.init)


BATCH = Probe("batch", lambda environment: environment.batch.images)


class Score(ABC):
    """A score function F; larger is better. A non-finite value is refused by the evaluator."""

    name: str
    needs_labels: bool = False
    min_images: int = 1
    #: Above this many images the score's own cost (memory or time) is out of proportion.
    max_images: int | None = None


class ForwardScore(Score):
    """Needs only forward passes, so every backend can run it. Scores that share a probe share its pass."""

    #: Members of READS and ANSWERS; nothing else is seen.
    reads: tuple[str, ...] = ("logits",)
    probes: tuple[Probe, ...] = (BATCH,)
    #: Takes differences of passes, which bfloat16 rounds away.
    differences: bool = False

    @abstractmethod
    def __call__(self, observations: Sequence[Observation]) -> float:
        """The value for one mask from one observation per probe."""


class StaticScore(Score):
    """Needs no pass: a function of graph, weights and mask."""

    #: Whether it looks at weights or images; the size of a network is the same in every environment.
    reads_environment: bool = True

    @abstractmethod
    def prepare(self, graph: Graph, environment: Environment) -> Callable[[Mask], float]:
        """Everything that masks share; the value for one mask float32 [E, O] is then a call."""

    def prepare_many(
        self, graph: Graph, environment: Environment
    ) -> Callable[[Mask], NDArray[np.float64]] | None:
        """Likewise for masks [G, E, O] at once, values float64 [G]: the same as one by one, which is what is
        done where this is None. For scores that thousands of architectures are shortlisted by."""
        return None


class GradientScore(Score):
    """Needs automatic differentiation, which only the backend torch has."""

    #: What `batch` shows, and to which network.
    probe: Probe = BATCH

    @abstractmethod
    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        """The value for one mask; `network` is differentiable in its images and weights."""


KINDS = (ForwardScore, StaticScore, GradientScore)


def broken_promise(score: Any) -> str | None:
    """What is wrong with the attributes of a `Score`, in words that follow its name; None if nothing is."""
    if not issubclass(type(score), KINDS):
        return f"is none of {', '.join(kind.__name__ for kind in KINDS)}: subclass one"
    if not isinstance(score.needs_labels, bool):
        return f"has {briefly(score.needs_labels)} for `needs_labels`, no bool"
    least, most = score.min_images, score.max_images
    if type(least) is not int or least < 1:
        return f"has {briefly(least)} for `min_images`, no int of 1 or more"
    if most is not None and (type(most) is not int or most < least):
        return f"has {briefly(most)} for `max_images`, no int of {least} or more and not None"
    if isinstance(score, GradientScore):
        return _broken_probe(score.probe)
    return _broken_passes(score) if isinstance(score, ForwardScore) else None


def _broken_probe(probe: Any) -> str | None:
    if not isinstance(probe, Probe):
        return f"has {briefly(probe)} for `probe`, no Probe"
    if probe.norm not in (None, *NORMS):
        return f"has a probe whose norm is {briefly(probe.norm)}, not None and none of {', '.join(NORMS)}"
    if probe.init not in (None, *FAMILIES):
        return f"has a probe whose init is {briefly(probe.init)}, not None and none of {', '.join(FAMILIES)}"
    return None


def _broken_passes(score: Any) -> str | None:
    known, reads, probes = (*ANSWERS, *READS), score.reads, score.probes
    if not isinstance(reads, tuple) or not set(reads) <= set(known):
        return f"reads {briefly(reads)}, but `reads` must be a tuple of some of {', '.join(known)}"
    if not isinstance(probes, tuple) or not probes or not all(isinstance(each, Probe) for each in probes):
        return f"has {briefly(probes)} for `probes`, no tuple of Probe"
    if not isinstance(score.differences, bool):
        return f"has {briefly(score.differences)} for `differences`, no bool"
    return next(filter(None, map(_broken_probe, probes)), None)
