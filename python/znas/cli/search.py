"""`znas-engine search`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas import api
from znas.cli import options
from znas.cli.console import progress_bar, remark
from znas.result import EdgeReport, ScoreReport, SearchResult
from znas.settings import SearchSettings, available_threads
from znas_engine import kernels


def search(
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    score: options.Score = "naswot",
    p: Annotated[
        float, typer.Option(help="Probability that a neuron's score is drawn instead of measured.")
    ] = 0.5,
    envs: options.Envs = 1,
    images: options.Images = 64,
    norm: options.Norm = "calibrated",
    init: options.Init = "gaussian",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for result.json, scores.csv, architecture.py and architecture.onnx."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Select an architecture from a random supernet, without training anything.

    \b
    Examples:
      znas-engine search
      znas-engine search --space darts --data cifar10 --data-dir ~/data --out runs/darts
      znas-engine search --data cifar10 --data-dir ~/data --score accuracy --p 0 --envs 8 --json
    """
    settings = SearchSettings(
        space=space,
        data=data,
        data_dir=data_dir,
        backend=backend,
        score=score,
        p=p,
        envs=envs,
        images=images,
        norm=norm,
        init=init,
        seed=seed,
        threads=available_threads() if threads is None else threads,
        channels=channels,
        cells=cells,
        resolution=resolution,
    )
    if out is not None:
        from znas.run_folder import check_folder

        check_folder(out)
    if not quiet and not kernels.compiled():
        remark("the C++ kernels are not installed (no compiler was found); numpy does their work, slower")
    with progress_bar("masked passes", quiet=quiet) as progress:
        result = api.search(settings, progress=progress, report=_silent if quiet else remark)
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json())
    else:
        _print(result, out)


def _silent(line: str) -> None:
    """--quiet"""


def _print(result: SearchResult, out: Path | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    s = result.settings
    console = Console(width=None if Console().is_terminal else 132, highlight=False)
    console.print(result.arch, markup=False, soft_wrap=True)
    console.print()
    size = result.macro
    console.print(
        f"network     {result.params:,} parameters, {result.flops / 1e6:.1f} M multiply-accumulates "
        f"(C={size.channels}, {size.cells} cells, {size.resolution} x {size.resolution} pixels, "
        f"{size.classes} classes)"
    )
    console.print(
        f"neurons     {result.observed} observed, {result.intervened} intervened (p = {s.p:g}); "
        f"{result.evaluations} masked passes over {s.images} images"
    )
    if result.ensembles_observed + result.ensembles_intervened:
        console.print(
            f"ensembles   {result.ensembles_observed} observed, {result.ensembles_intervened} intervened"
        )
    console.print(f"images      {result.origin}", markup=False, soft_wrap=True)
    t = result.seconds
    console.print(
        f"seconds     {t.total:.2f} = {t.setup:.2f} set-up + {t.evaluate:.2f} evaluation "
        f"+ {t.select:.3f} selection ({s.backend}, {result.device}, {s.threads} threads)"
    )
    console.print()
    console.print(f"{s.score} under do(edge, operation); * selected, ~ drawn, (edge) not kept")
    names = list(result.edges[0].operations)
    with_drop = any(edge.drop is not None for edge in result.edges)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("edge", no_wrap=True)
    for heading in (*names, "drop") if with_drop else names:
        table.add_column(heading, justify="right", overflow="fold")
    for edge in result.edges:
        table.add_row(*_row(edge, names, with_drop=with_drop))
    console.print(table)
    for note in result.notes:
        console.print(f"note        {note}", markup=False, soft_wrap=True)
    if out is not None:
        console.print(
            f"written     {out}/ (result.json, scores.csv, architecture.py, architecture.onnx)",
            soft_wrap=True,
        )


def _row(edge: EdgeReport, names: list[str], *, with_drop: bool) -> list[str]:
    cells = [edge.edge if edge.kept else f"({edge.edge})"]
    for name in names:
        text = _cell(edge.operations[name])
        cells.append(f"[bold]{text} *[/bold]" if name == edge.selected else f"{text}  ")
    if with_drop:
        cells.append("" if edge.drop is None else _cell(edge.drop))
    return cells


def _cell(report: ScoreReport) -> str:
    spread = "" if report.std is None else f" ± {report.std:.2g}"
    return f"{'~' if report.intervened else ''}{report.mean:.4g}{spread}"
