"""`znas-engine search`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import znas
from znas.cli.console import progress_bar, remark, silent, table
from znas.cli.options import Json, Quiet, asks
from znas.request import OPTIONS, Request
from znas.result import EdgeReport, RaceReport, ScoreReport, SearchResult
from znas_engine import kernels


@asks(*OPTIONS)
def search(
    request: Request,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for result.json, scores.csv, architecture.py and architecture.onnx."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Select an architecture from a random supernet, without training anything.

    \b
    Examples:
      znas-engine search
      znas-engine search --space darts --data cifar10 --data-dir ~/data --out runs/darts
      znas-engine search --data imagefolder --data-dir ~/pictures --resolution 64
      znas-engine search --preset paper --data cifar10 --data-dir ~/data --p 0 --envs 8 --json
      znas-engine search --preset naswot --prior shipped --p auto --intervention bayesian
      znas-engine search --preset naswot --game shapley --selection sequential --order confidence
      znas-engine search --preset naswot --data cifar10 --data-dir ~/data --p 0 --images 256 --race 0.95
      znas-engine search --space my_package.spaces:MySpace --score naswot+my_package.scores:MyScore
    """
    if out is not None:
        from znas.run_folder import check_folder

        check_folder(out)
    if not quiet and not kernels.compiled():
        remark("the C++ kernels are not installed (no compiler was found); numpy does their work, slower")
    with progress_bar("masked passes", quiet=quiet) as progress:
        result = znas.search(request, progress=progress, report=silent if quiet else remark)
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json())
    else:
        _print(result, out)


def _print(result: SearchResult, out: Path | None) -> None:
    s = result.conditions
    typer.echo(result.arch)
    typer.echo("")
    size = result.macro
    typer.echo(
        f"network     {result.params:,} parameters, {result.flops / 1e6:.1f} M multiply-accumulates "
        f"(C={size.channels}, {size.cells} cells, {size.resolution} x {size.resolution} pixels, "
        f"{size.classes} classes)"
    )
    images = s.images if result.race is None else s.images // result.race.chunks
    typer.echo(
        f"neurons     {result.observed} observed, {result.intervened} intervened ({_p(result)}); "
        f"{result.evaluations} masked passes over {images} images"
    )
    if result.race is not None:
        typer.echo(f"race        {_race(result, result.race)}")
    if result.ensembles_observed + result.ensembles_intervened:
        typer.echo(
            f"ensembles   {result.ensembles_observed} observed, {result.ensembles_intervened} intervened"
        )
    typer.echo(f"images      {s.origin}")
    if s.agreement is not None:
        typer.echo(f"precision   {s.dtype}; {s.agreement:.1%} of the images keep float32's class (mixture)")
    typer.echo(f"device      {s.device}")
    t = result.seconds
    typer.echo(
        f"seconds     {t.total:.2f} = {t.setup:.2f} set-up + {t.evaluate:.2f} evaluation "
        f"+ {t.select:.3f} selection ({s.backend}, {s.threads} threads)"
    )
    typer.echo("")
    typer.echo(f"{_what(result)}; * selected, ~ drawn, (edge) not kept")
    names = list(dict.fromkeys(name for edge in result.edges for name in edge.operations))
    with_ensembles = any(edge.ensemble is not None for edge in result.edges)
    headings = ["edge", *names, "edge worth"] if with_ensembles else ["edge", *names]
    rows = [_row(edge, names, with_ensembles=with_ensembles) for edge in result.edges]
    typer.echo(table(headings, rows, marked=" *"))
    typer.echo("")
    for note in result.notes:
        typer.echo(f"note        {note}")
    if out is not None:
        typer.echo(f"written     {out}/ (result.json, scores.csv, architecture.py, architecture.onnx)")


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
        return f"p = {result.p:.3g}, Proposition 1 estimated {result.auto.estimate:.3g}"
    if isinstance(result.p, tuple):
        return f"p = {min(result.p):g} to {max(result.p):g} by edge"
    return f"p = {result.p:g}"


def _what(result: SearchResult) -> str:
    """What the table's numbers are."""
    s = result.conditions
    m = result.method
    score = s.score if len(s.scores) == 1 else f"{m['aggregate']} of {s.score}"
    if m["game"] == "shapley":
        return f"Shapley values of {score} on every edge"
    return f"{score} under do(edge, operation)" if m["criterion"] == "keep" else f"minus {score} without it"


def _row(edge: EdgeReport, names: list[str], *, with_ensembles: bool) -> list[str]:
    cells = [edge.edge if edge.kept else f"({edge.edge})"]
    for name in names:
        if name not in edge.operations:
            cells.append("")
            continue
        text = _cell(edge.operations[name])
        cells.append(f"{text} *" if name == edge.selected else f"{text}  ")
    if with_ensembles:
        cells.append("" if edge.ensemble is None else _cell(edge.ensemble))
    return cells


def _cell(report: ScoreReport) -> str:
    spread = "" if report.std is None else f" ± {report.std:.2g}"
    value = report.aggregate if report.mean is None else report.mean
    return f"{'~' if report.intervened else ''}{value:.4g}{spread}"
