"""What a search found, as a document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from znas.costs.quantities import in_words
from znas.front import figure, table
from znas.output import Code, Document, Facts, Notes, Part, Table
from znas.result import EdgeReport, LimitReport, RaceReport, ScoreReport, SearchResult
from znas.selection.strategies import SHORTLIST
from znas.selection.sure import Sure
from znas_engine.data.preprocess import Preprocess
from znas_engine.spaces import Macro


def document(result: SearchResult, *, pictures: bool = False) -> Document:
    """The architecture, what it costs and what finding it cost, and the worth of every operation. pictures:
    with that of a front."""
    parts: list[Part] = [Code(result.arch), Facts(list(facts(result))), worths(result)]
    asked = result.request.pareto
    if result.front and asked is not None:
        parts.append(table(result.front, asked, result.arch))
        parts += [figure(result.front, asked, result.arch)] if pictures else []
    if result.notes:
        parts.append(Notes(result.notes))
    return Document(f"An architecture of the space {result.space.name}", parts, result.to_dict())


def records(result: SearchResult) -> list[dict[str, Any]]:
    """A flat dictionary per operation of an edge and per edge (operation empty): its worth in every
    environment, and by every score if there are several. What scores.csv and the data frame hold."""
    c = result.conditions
    single = len(c.scores) == 1
    columns = [f"environment_{k}" if single else f"{score}_environment_{k}" for k, score in c.rows]
    found = []
    for edge in result.edges:
        reports = [(name, report, name == edge.selected) for name, report in edge.operations.items()]
        if edge.ensemble is not None:
            reports.append(("", edge.ensemble, edge.kept))
        for name, report, selected in reports:
            unmixed = "estimated" if result.method["selection"] == SHORTLIST else "game"
            source = {True: "intervened", False: "observed", None: unmixed}[report.intervened]
            own = {"edge": edge.edge, "operation": name, "source": source, "selected": selected}
            worth = {"aggregate": report.aggregate, "mean": report.mean, "std": report.std}
            found.append(own | worth | dict(zip(columns, report.values, strict=True)))
    return found


def size_in_words(macro: Macro, params: int, flops: int) -> str:
    """What a network of that size costs."""
    return (
        f"{params:,} parameters, {flops / 1e6:.1f} M multiply-accumulates (C={macro.channels}, "
        f"{macro.cells} cells, {macro.resolution} x {macro.resolution} pixels, {macro.classes} classes)"
    )


def facts(result: SearchResult) -> Iterator[tuple[str, str]]:
    """(label, value) of what was found and of what that took."""
    c = result.conditions
    yield "network", size_in_words(result.macro, result.params, result.flops)
    if result.limits:
        yield "limits", "; ".join(map(_limit, result.limits))
    shown = c.images if result.race is None else c.images // result.race.chunks
    if result.sure is None:
        neurons = f"{result.observed} observed, {result.intervened} intervened ({_p(result)})"
        yield "neurons", f"{neurons}; {result.evaluations} masked passes over {shown} images"
    else:
        yield "passes", f"{result.evaluations} over {shown} images in {c.envs} environment{_s(c.envs)}"
        if said := sure_in_words(result.sure):
            yield "sure", said
    if result.race is not None:
        yield "race", _race(result, result.race)
    if result.ensembles_observed + result.ensembles_intervened:
        yield (
            "ensembles",
            f"{result.ensembles_observed} observed, {result.ensembles_intervened} intervened",
        )
    yield "images", c.origin
    if result.supernet.resolution != result.macro.resolution:
        yield "proxy", f"scored at {result.supernet.resolution} of {result.macro.resolution} pixels"
    if result.preprocess is not None and result.preprocess.known:
        yield "input", how_fed(result.preprocess)
    if c.agreement is not None:
        yield "precision", f"{c.dtype}; {c.agreement:.1%} of the images keep float32's class (mixture)"
    yield "device", c.device
    t = result.seconds
    phases = f"{t.setup:.2f} set-up + {t.evaluate:.2f} evaluation + {t.select:.3f} selection"
    yield "seconds", f"{t.total:.2f} = {phases} ({c.backend}, {c.threads} threads)"


def sure_in_words(sure: Sure) -> str:
    """What is known of the answer beside others; empty where nothing is."""
    parts = []
    if sure.better_than is not None:
        parts.append(f"above {sure.better_than:.0%} of {sure.random} random architectures")
    if sure.beats_second is not None:
        parts.append(f"above the runner-up with probability {sure.beats_second:.2f}")
    if sure.beats_largest is not None:
        parts.append(f"above the one with most parameters with {sure.beats_largest:.2f}")
    return f"{', '.join(parts)}; by these scores, which are no accuracy" if parts else ""


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _limit(limit: LimitReport) -> str:
    most = in_words(limit.cost, limit.most)
    where = f" on {limit.target}" if limit.target else ""
    return f"{limit.cost} {in_words(limit.cost, limit.value)} of at most {most}{where}"


def how_fed(preprocess: Preprocess, whole: str = "preprocess.json") -> str:
    """How an image is made, as far as it fits on a line; whole: where all of it is."""
    p = preprocess
    mean, std = (", ".join(f"{each:g}" for each in values or ()) for values in (p.mean, p.std))
    scale = "" if p.scale == 1 else f" of {p.scale:g}"
    return f"{p.size} x {p.size} {p.channels}, mean {mean} and deviation {std}{scale} ({whole})"


def _race(result: SearchResult, race: RaceReport) -> str:
    total = race.measured + race.saved
    heats = [edge.race for edge in result.edges if edge.race is not None]
    early = sum(heat.error is not None for heat in heats)
    return (
        f"{early} of {len(heats)} edges decided early at confidence {race.confidence:g}, which saved "
        f"{race.saved} of {total} chunks ({race.saved / max(total, 1):.0%})"
    )


def _p(result: SearchResult) -> str:
    if result.auto is not None:
        auto = result.auto
        observed = f"{auto.mu_observed:.4g} ± {auto.variance_observed**0.5:.2g}"
        true = f"{auto.mu_true:.4g} ± {auto.variance_true**0.5:.2g}"
        return f"p = {result.p:.3g} by Proposition 1: scores of {observed} observed, {true} true"
    if isinstance(result.p, tuple):
        return f"p = {min(result.p):g} to {max(result.p):g} by edge"
    return f"p = {result.p:g}"


def score_in_words(result: SearchResult) -> str:
    """What one number of an architecture is: `naswot`, `log_rank of naswot+flops`."""
    c = result.conditions
    return c.score if len(c.scores) == 1 else f"{result.method['aggregate']} of {c.score}"


def _worth_in_words(result: SearchResult) -> str:
    score = score_in_words(result)
    if result.method["selection"] == SHORTLIST:
        return f"what an operation adds to {score}, estimated from the architectures that were measured"
    if result.method["game"] == "shapley":
        return f"Shapley values of {score} on every edge"
    keep = result.method["criterion"] == "keep"
    return f"{score} under do(edge, operation)" if keep else f"minus {score} without it"


def worths(result: SearchResult) -> Table:
    """The worth of every operation on every edge, with those that were selected marked."""
    names = list(dict.fromkeys(name for edge in result.edges for name in edge.operations))
    with_ensembles = any(edge.ensemble is not None for edge in result.edges)
    return Table(
        ["edge", *names, *(["edge worth"] if with_ensembles else [])],
        [_row(edge, names, with_ensembles=with_ensembles) for edge in result.edges],
        caption=f"{_worth_in_words(result)}; * selected, ~ drawn, (edge) not kept",
        marked={(row, 1 + names.index(edge.selected)) for row, edge in enumerate(result.edges)},
    )


def _row(edge: EdgeReport, names: list[str], *, with_ensembles: bool) -> list[str]:
    cells = [edge.edge if edge.kept else f"({edge.edge})"]
    cells += [_cell(edge.operations[name]) if name in edge.operations else "" for name in names]
    if with_ensembles:
        cells.append("" if edge.ensemble is None else _cell(edge.ensemble))
    return cells


def _cell(report: ScoreReport) -> str:
    spread = "" if report.std is None else f" ± {report.std:.2g}"
    return f"{'~' if report.intervened else ''}{worth_of(report):.4g}{spread}"


def worth_of(report: ScoreReport) -> float:
    """The number that is shown of a worth."""
    return report.aggregate if report.mean is None else report.mean
