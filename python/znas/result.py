"""What a search found, and why."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from znas.interventions.probability import AutoP
from znas.selection.race import Heat
from znas.settings import SearchSettings
from znas_engine.spaces import Genotype, Macro, resize

if TYPE_CHECKING:
    from torch import nn

    from znas.output import Document


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The worth of one operation or one edge, larger is better.

    values: in the order of `SearchSettings.rows` (environments, and scores within them), with their mean and
    standard deviation (None for a single value, and for values of several scores). aggregate: the number
    that was compared. intervened: whether it was drawn; None for a game value, which mixes measured and
    drawn coalitions. sampling_error: standard error of a sampled game, None where nothing was sampled.
    """

    values: tuple[float, ...]
    aggregate: float
    mean: float | None
    std: float | None
    intervened: bool | None
    sampling_error: float | None


@dataclass(frozen=True, slots=True)
class EdgeReport:
    """One paralleled edge.

    stability: share of environments (and scores) in which the selected operation alone would have won.
    race: how its race ended; None without --race, or with fewer than two operations that were measured.
    operations: worth of every operation that may be selected (score under do(edge, operation), or its
    Shapley value, ...).
    ensemble: worth of the edge itself (minus the score under drop(edge), or its Shapley value among the
    in-edges of its node); None where it has no competitor.
    """

    edge: str
    selected: str
    kept: bool
    stability: float
    operations: dict[str, ScoreReport]
    ensemble: ScoreReport | None
    race: Heat | None


@dataclass(frozen=True, slots=True)
class RaceReport:
    """What racing saved (`znas.selection.race`).

    confidence: an edge stopped once its leader was the operation with the largest expected score at this
        probability.
    chunks: equal parts of every batch. measured, saved: scores of one mask in one environment on one chunk.
    """

    confidence: float
    chunks: int
    measured: int
    saved: int


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went. setup: weights, calibration, export, sessions. evaluate: masked passes and scores.
    select: everything else (images, interventions, games, selection)."""

    total: float
    setup: float
    evaluate: float
    select: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer of `znas.search`.

    genotype: in the notation of the space's community (`str` gives its string). params, flops: of that
    architecture at the size at which the community trains it (`macro`); flops are multiply-accumulates.
    supernet: the size that was searched.
    p: in use (settings.p, or what Proposition 1 gave: see auto).
    observed, intervened: neurons (and coalitions of a game) whose score was measured, and those whose score
        was drawn; likewise ensembles_observed and ensembles_intervened for dropped edges.
    device: where passes ran, a GPU with its card's name; the CPU where nothing was measured.
    evaluations: masked passes over the image batch, or with `race` over one chunk of it.
    race: what racing saved, None without.
    agreement: share of the first environment's images whose largest logit under the mixture is that of
        float32; None in float32, and where nothing was measured.
    """

    settings: SearchSettings
    genotype: Genotype
    supernet: Macro
    macro: Macro
    params: int
    flops: int
    device: str
    agreement: float | None
    origin: str
    p: float | tuple[float, ...]
    auto: AutoP | None
    observed: int
    intervened: int
    ensembles_observed: int
    ensembles_intervened: int
    evaluations: int
    race: RaceReport | None
    edges: tuple[EdgeReport, ...]
    seconds: Seconds
    notes: tuple[str, ...]
    versions: dict[str, str]

    @property
    def arch(self) -> str:
        """The community's string."""
        return str(self.genotype)

    def to_torch(
        self, *, num_classes: int | None = None, channels: int | None = None, cells: int | None = None
    ) -> nn.Module:
        """A trainable network, freshly initialised; sizes default to `macro`. Imports torch."""
        from znas_engine.networks import to_torch

        return to_torch(self.settings.space, self.genotype, self._resized(num_classes, channels, cells))

    def save(self, folder: str | Path) -> Path:
        """Writes the run folder, whole or not at all; StorageError if it exists or cannot be written."""
        from znas.run_folder import write

        return write(self, Path(folder))

    def document(self) -> Document:
        """What the command prints, for any renderer of `znas.output`."""
        from znas.summary import document

        return document(self)

    def to_json(self) -> str:
        """One object; the keys are stable, the same seed and backend give the same text but for seconds."""
        return json.dumps(self.to_dict(), indent=1)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, strings and numbers."""
        s = self.settings
        return {
            "space": s.space,
            "genotype": self.genotype.structure(),
            "arch": self.arch,
            "params": self.params,
            "flops": self.flops,
            "score": s.score,
            "rows": [{"environment": k, "score": score} for k, score in s.rows],
            "p": self.p,
            "seed": s.seed,
            "backend": s.backend,
            "device": self.device,
            "agreement": self.agreement,
            "observed": self.observed,
            "intervened": self.intervened,
            "ensembles": {"observed": self.ensembles_observed, "intervened": self.ensembles_intervened},
            "evaluations": self.evaluations,
            "race": None if self.race is None else asdict(self.race),
            "images": s.images,
            "envs": s.envs,
            "data": {"name": s.data, "origin": self.origin},
            "method": {
                "p": s.p,
                "auto": None if self.auto is None else asdict(self.auto),
                "intervention": s.intervention,
                "prior": None if s.prior is None else str(s.prior),
                "prior_scale": s.prior_scale,
                "game": s.game,
                "estimator": s.estimator,
                "selection": s.selection,
                "order": s.order,
                "criterion": s.criterion,
                "aggregate": s.aggregate,
                "finalists": s.finalists,
            },
            "norm": s.norm,
            "dtype": s.dtype,
            "init": s.init,
            "supernet": asdict(self.supernet),
            "network": asdict(self.macro),
            "seconds": asdict(self.seconds),
            "edges": [asdict(edge) for edge in self.edges],
            "notes": list(self.notes),
            "versions": self.versions,
        }

    def _resized(self, classes: int | None, channels: int | None, cells: int | None) -> Macro:
        macro = resize(self.macro, channels=channels, cells=cells)
        return macro if classes is None else replace(macro, classes=classes)
