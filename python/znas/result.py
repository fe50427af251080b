"""What a search found, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from znas.front import FrontPoint
from znas.interventions.probability import AutoP
from znas.method import MethodFacts
from znas.network import read
from znas.request import Request
from znas.selection.aggregate import stability
from znas.selection.criteria import Worth
from znas.selection.race import Heat
from znas.selection.sure import Sure
from znas.selection.topology import EnsembleWorth
from znas.setup import Conditions, Setup
from znas_engine import paths
from znas_engine.arguments import check_between
from znas_engine.data.preprocess import Preprocess
from znas_engine.errors import one_line
from znas_engine.spaces import Genotype, Macro, SearchSpace, get_space, resize
from znas_engine.spaces.parts import MOST_CLASSES

if TYPE_CHECKING:
    from torch import nn

    from znas.output import Document


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """The worth of one operation or one edge, larger is better.

    values: in the order of `Conditions.rows` (environments, and scores within them), with their mean and
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

    def __repr__(self) -> str:
        return f"<EdgeReport {self.edge}: {self.selected} of {', '.join(self.operations)}>"


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
class LimitReport:
    """A limit that the network keeps.

    cost: params | flops | memory | latency. asked: as it was written. most, value: the limit and what the
    network has, in parameters, multiply-accumulates, bytes or milliseconds: the median of a latency.
    target: where a latency was measured. price: what the sum of scores, in deviations, would gain by one
    percent more of the limit (the dual of the linear relaxation); None where there is no such sum.
    predicted, quartiles: of a latency.
    """

    cost: str
    asked: str
    most: float
    value: float
    target: str | None
    price: float | None
    predicted: float | None
    quartiles: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where the time went. setup: weights, calibration, export, sessions. evaluate: masked passes and scores.
    select: everything else (images, interventions, games, selection)."""

    total: float
    setup: float
    evaluate: float
    select: float

    @classmethod
    def of(cls, setup: Setup) -> Seconds:
        """Since it was made."""
        total = time.perf_counter() - setup.started
        rest = total - setup.setup_seconds - setup.evaluate_seconds
        return cls(total, setup.setup_seconds, setup.evaluate_seconds, rest)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The answer of `znas.search`; `znas.load` gives it back from the folder that `save` wrote.

    request: what was asked. space, conditions, method: what that resolved to.
    genotype: in the notation of the space's community (`arch` is its string). params, flops: of that
    architecture at the size at which the community trains it (`macro`); flops are multiply-accumulates.
    supernet: the size that was searched.
    p: in use (what was asked, or what Proposition 1 gave: see auto).
    observed, intervened: neurons (and coalitions of a game) whose score was measured, and those whose score
        was drawn; likewise ensembles_observed and ensembles_intervened for dropped edges.
    evaluations: masked passes over the image batch, or with `race` over one chunk of it.
    race: what racing saved, None without.
    sure: how sure the answer is, None without a shortlist.
    limits: those that were asked for.
    front: with `pareto`, what none beats in both score and cost, from the cheapest on; empty without.
    preprocess: how pictures became images, None in results of versions that did not say.
    """

    request: Request
    space: SearchSpace[Any]
    conditions: Conditions
    method: MethodFacts
    genotype: Genotype
    supernet: Macro
    macro: Macro
    params: int
    flops: int
    p: float | tuple[float, ...]
    auto: AutoP | None
    observed: int
    intervened: int
    ensembles_observed: int
    ensembles_intervened: int
    evaluations: int
    race: RaceReport | None
    sure: Sure | None
    limits: tuple[LimitReport, ...]
    front: tuple[FrontPoint, ...]
    preprocess: Preprocess | None
    edges: tuple[EdgeReport, ...]
    seconds: Seconds
    notes: tuple[str, ...]
    versions: dict[str, str]

    def __repr__(self) -> str:
        size = f"{self.params:,} parameters, {self.flops / 1e6:.1f} M multiply-accumulates"
        cost = f"{self.evaluations:,} masked passes, {self.seconds.total:.3g} s"
        return f"<SearchResult {self.space.name} {one_line(self.arch, 100)}: {size}; {cost}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the head of a page."""
        from znas.output import html
        from znas.page import head

        return html.fragment(head(self))

    @property
    def arch(self) -> str:
        """The community's string."""
        return str(self.genotype)

    def to_torch(
        self, *, classes: int | None = None, channels: int | None = None, cells: int | None = None
    ) -> nn.Module:
        """A trainable network, freshly initialised; sizes default to `macro`. Imports torch."""
        macro = resize(self.macro, channels=channels, cells=cells)
        if classes is not None:
            macro = replace(macro, classes=check_between("classes", classes, 1, MOST_CLASSES))
        return self.space.to_torch(self.genotype, macro)

    def save(self, folder: str | Path) -> Path:
        """Writes the run folder, whole or not at all; StorageError if it exists or cannot be written."""
        from znas.run_folder import write

        return write(self, paths.named(folder, "the output"))

    def document(self) -> Document:
        """What the command prints, for any renderer of `znas.output`."""
        from znas.summary import document

        return document(self)

    def to_frame(self) -> Any:
        """A pandas.DataFrame, one row per edge and operation, as in scores.csv; MissingDependencyError
        without pandas."""
        from znas.output.records import as_frame
        from znas.summary import records

        return as_frame([record for record in records(self) if record["operation"]])

    def to_json(self) -> str:
        """One object; the keys are stable, the same seed and backend give the same text but for seconds."""
        return json.dumps(self.to_dict(), indent=1)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dictionaries, lists, strings and numbers."""
        c = self.conditions
        return {
            "space": self.space.name,
            "genotype": self.genotype.structure(),
            "arch": self.arch,
            "params": self.params,
            "flops": self.flops,
            "score": c.score,
            "rows": [{"environment": k, "score": score} for k, score in c.rows],
            "p": self.p,
            "seed": c.seed,
            "backend": c.backend,
            "device": c.device,
            "threads": c.threads,
            "agreement": c.agreement,
            "observed": self.observed,
            "intervened": self.intervened,
            "ensembles": {"observed": self.ensembles_observed, "intervened": self.ensembles_intervened},
            "evaluations": self.evaluations,
            "race": None if self.race is None else asdict(self.race),
            "sure": None if self.sure is None else asdict(self.sure),
            "images": c.images,
            "envs": c.envs,
            "data": {"name": c.data, "origin": c.origin},
            "preprocess": None if self.preprocess is None else self.preprocess.to_dict(),
            "method": self.method | {"auto": None if self.auto is None else asdict(self.auto)},
            "norm": c.norm,
            "dtype": c.dtype,
            "init": c.init,
            "supernet": asdict(self.supernet),
            "network": asdict(self.macro),
            "limits": [asdict(limit) for limit in self.limits],
            "front": [point.to_dict() for point in self.front],
            "seconds": asdict(self.seconds),
            "edges": [asdict(edge) for edge in self.edges],
            "notes": list(self.notes),
            "versions": self.versions,
            "request": self.request.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any], space: str | SearchSpace[Any] | None = None) -> SearchResult:
        """The inverse of `to_dict`; whether what is in it can be true, `znas.run_folder.load` checks.

        space: instead of the one that the request names.

        Raises:
            ZnasError: a space that is not here, a request or an architecture that there is not.
            LookupError, TypeError, AttributeError, ValueError, RecursionError: no such dictionary.
        """
        request = Request.from_dict(plain["request"])
        request = request if space is None else replace(request, space=space)
        space = get_space(request.space)
        method = {name: value for name, value in plain["method"].items() if name != "auto"}
        auto = plain["method"]["auto"]
        p, preprocess = plain["p"], plain.get("preprocess")
        return cls(
            request=request,
            space=space,
            conditions=_conditions(plain),
            method=cast("MethodFacts", method),
            genotype=read(space, plain["arch"]),
            supernet=Macro(**plain["supernet"]),
            macro=Macro(**plain["network"]),
            p=tuple(p) if isinstance(p, list) else p,
            auto=None if auto is None else AutoP(**auto),
            ensembles_observed=plain["ensembles"]["observed"],
            ensembles_intervened=plain["ensembles"]["intervened"],
            race=None if plain["race"] is None else RaceReport(**plain["race"]),
            sure=None if plain.get("sure") is None else Sure(**plain["sure"]),
            limits=tuple(map(_limit, plain.get("limits", ()))),
            front=tuple(FrontPoint.from_dict(p, read(space, p["arch"])) for p in plain.get("front", ())),
            preprocess=None if preprocess is None else Preprocess.from_dict(preprocess),
            edges=tuple(map(_edge, plain["edges"])),
            seconds=Seconds(**plain["seconds"]),
            notes=tuple(plain["notes"]),
            versions=plain["versions"],
            **{name: plain[name] for name in ("params", "flops", "observed", "intervened", "evaluations")},
        )


def _conditions(plain: Mapping[str, Any]) -> Conditions:
    names = ("backend", "device", "dtype", "norm", "init", "seed", "envs", "images", "threads", "agreement")
    return Conditions(
        scores=tuple(plain["score"].split("+")),
        data=plain["data"]["name"],
        origin=plain["data"]["origin"],
        **{name: plain[name] for name in names},
    )


def _edge(plain: Mapping[str, Any]) -> EdgeReport:
    operations = {name: _score(report) for name, report in plain["operations"].items()}
    ensemble = None if plain["ensemble"] is None else _score(plain["ensemble"])
    race = None if plain["race"] is None else Heat(**plain["race"])
    return EdgeReport(**{**plain, "operations": operations, "ensemble": ensemble, "race": race})


def _limit(plain: Mapping[str, Any]) -> LimitReport:
    quartiles = plain["quartiles"]
    return LimitReport(**{**plain, "quartiles": None if quartiles is None else tuple(quartiles)})


def _score(plain: Mapping[str, Any]) -> ScoreReport:
    return ScoreReport(**{**plain, "values": tuple(plain["values"])})


def edge_reports(
    space: SearchSpace[Any],
    selected: NDArray[np.int64],
    kept: NDArray[np.bool_],
    worths: list[Worth],
    scores: NDArray[np.float64],
    ensembles: dict[int, EnsembleWorth],
    worth_of_edge: dict[int, float],
    heats: dict[int, Heat],
    *,
    comparable: bool,
) -> tuple[EdgeReport, ...]:
    """scores: float64 [E, O], what `worths` were aggregated to; worth_of_edge: likewise of `ensembles`.
    comparable: whether all values are of one score, so that they have a mean."""
    reports = []
    for e, (edge, worth) in enumerate(zip(space.edges, worths, strict=True)):
        candidates = space.options(e)
        operations = {
            space.operations[o]: _report(
                worth.values[:, i],
                float(scores[e, o]),
                None if worth.intervened is None else worth.intervened[i],
                None if worth.standard_errors is None else float(worth.standard_errors[i]),
                comparable=comparable,
            )
            for i, o in enumerate(candidates)
        }
        ensemble = None
        if (drop := ensembles.get(e)) is not None:
            ensemble = _report(drop.values, worth_of_edge[e], drop.intervened, None, comparable=comparable)
        reports.append(
            EdgeReport(
                edge=edge.label,
                selected=space.operations[selected[e]],
                kept=bool(kept[e]),
                stability=stability(worth.values, candidates.index(int(selected[e]))),
                operations=operations,
                ensemble=ensemble,
                race=heats.get(e),
            )
        )
    return tuple(reports)


def _report(
    values: NDArray[np.float64],
    aggregate: float,
    intervened: bool | None,
    sampling_error: float | None,
    *,
    comparable: bool,
) -> ScoreReport:
    return ScoreReport(
        values=tuple(values.tolist()),
        aggregate=aggregate,
        mean=float(values.mean()) if comparable else None,
        std=float(values.std(ddof=1)) if comparable and len(values) > 1 else None,
        intervened=intervened,
        sampling_error=sampling_error,
    )
