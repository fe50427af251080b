"""`znas-engine reproduce`: table1, table2, table3, correlation, sets, figures"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from znas.cli import options
from znas.cli.console import progress_bar, remark, show
from znas.settings import SHIPPED, SearchSettings, available_threads

if TYPE_CHECKING:
    from znas.reproduce.darts_tables import Evaluation
    from znas.reproduce.sheet import Sheet

reproduce = typer.Typer(
    help="The paper's tables with baselines beside them: repeated over seeds, resumable, with intervals.",
    rich_markup_mode=None,
)

Out = Annotated[
    Path,
    typer.Option(
        help="Folder for Markdown, CSV, JSON, PNG and the work file; give it again to resume or to add to it."
    ),
]
TableFile = Annotated[
    Path | None,
    typer.Option(
        help="CSV of trained architectures: a column of architectures, any number of accuracies; or the "
        "folder of NATS-Bench that ends in -simple."
    ),
]
Seeds = Annotated[int, typer.Option(help="Repeats, each with its own weights, images and draws.")]
FirstSeed = Annotated[int, typer.Option("--seed", help="The first seed.")]
Rows = Annotated[str | None, typer.Option(help="Rows to run, separated by commas; all by default.")]
Prior = Annotated[
    str, typer.Option(help="Prior of the rows that use one: a file of `prior fit`, or 'shipped'.")
]
Data = Annotated[str, typer.Option(help="Images; the paper's score needs labelled ones.")]


@reproduce.command()
def table1(
    out: Out,
    table: TableFile = None,
    seeds: Seeds = 10,
    seed: FirstSeed = 0,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    data: Data = "cifar10",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "default",
    images: options.Images = 64,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """DARTS space, CIFAR-10: genotypes, their sizes and what the searches cost; no test errors.

    A test error needs 600 epochs of training per genotype and is not measured. With --table, genotypes of
    known accuracy, the rank correlation of naswot with it is measured as `reproduce correlation` does.

    \b
    Example:
      znas-engine reproduce table1 --data-dir ~/data --seeds 3 --out runs/table1
    """
    from znas.reproduce.darts_tables import TABLE1

    settings = _settings(
        "darts", data, data_dir, backend, device, images, seed, threads, channels, cells, resolution, quiet
    )
    sheets = [_darts_table(TABLE1, settings, rows, prior, seeds, out, quiet=quiet)]
    if table is not None:
        sheets.append(
            _correlate(settings, backend, table, ["naswot", "params", "flops"], None, out, quiet=quiet)
        )
    _show(sheets, as_json=as_json)


@reproduce.command()
def table3(
    out: Out,
    seeds: Seeds = 10,
    seed: FirstSeed = 0,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    data: Data = "cifar10",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "default",
    images: options.Images = 64,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """DARTS space, ImageNet: the same at the sizes that are trained on ImageNet; no test errors.

    The paper searched on batches of 1,024 ImageNet images: --data imagefolder --images 1024 does, given them.
    On CIFAR-10 images (the default) the genotypes are transferred.

    \b
    Example:
      znas-engine reproduce table3 --data-dir ~/data --seeds 3 --out runs/table3
    """
    from znas.reproduce.darts_tables import TABLE3

    settings = _settings(
        "darts", data, data_dir, backend, device, images, seed, threads, channels, cells, resolution, quiet
    )
    _show([_darts_table(TABLE3, settings, rows, prior, seeds, out, quiet=quiet)], as_json=as_json)


@reproduce.command()
def table2(
    out: Out,
    table: TableFile = None,
    seeds: Seeds = 10,
    seed: FirstSeed = 0,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    data: Data = "cifar10",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "default",
    images: options.Images = 64,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """NAS-Bench-201: the paper as written, the default search, and baselines, by the cells they find.

    \b
    Examples:
      znas-engine reproduce table2 --data-dir ~/data --table nasbench201.csv --out runs/table2
      znas-engine reproduce table2 --data-dir ~/data --rows random,default --seeds 3 --out runs/quick
    """
    from znas.reproduce import figures, folder
    from znas.reproduce.rows import choose
    from znas.reproduce.table2 import table2 as tabulate
    from znas.reproduce.trials import run_trials
    from znas.tables import read_table
    from znas_engine.spaces import get_space

    settings = _settings(
        "nasbench201",
        data,
        data_dir,
        backend,
        device,
        images,
        seed,
        threads,
        channels,
        cells,
        resolution,
        quiet,
    )
    folder.ready(out, drawn=table is not None)
    chosen = choose(settings.space, _names(rows), prior)
    with progress_bar("files of the table", quiet=quiet) as progress:
        truth = None if table is None else read_table(table, get_space(settings.space), progress)
    with progress_bar("searches", quiet=quiet) as progress:
        trials = run_trials(
            chosen, settings, seeds=seeds, prior=prior, work=out / folder.SEARCHES, progress=progress
        )
    sheet = tabulate(chosen, trials, truth, settings)
    sheet.save(out, "table2", [] if truth is None else [figures.draw_accuracies(sheet.data)])
    _show([sheet], as_json=as_json)


@reproduce.command()
def correlation(
    out: Out,
    table: Annotated[Path, typer.Option(help="CSV of trained architectures, or NATS-Bench's folder.")],
    scores: Annotated[
        str | None,
        typer.Option(
            help="Scores separated by commas; a+b+c sums the logarithms of their ranks. All single ones by "
            "default, of which those that need gradients take hours over a whole table."
        ),
    ] = None,
    architectures: Annotated[
        int | None, typer.Option(help="A sample of so many, drawn by the seed; all by default.")
    ] = None,
    space: options.Space = "nasbench201",
    data: Data = "cifar10",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "default",
    envs: options.Envs = 1,
    images: options.Images = 64,
    norm: options.Norm = "calibrated",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Kendall's tau and Spearman's rho of scores with the accuracies of a table, all and unique cells.

    Single architectures are scored in networks of 8 channels (nasbench201: 1 cell per stage, darts: 3 cells)
    unless --channels and --cells say otherwise.

    \b
    Examples:
      znas-engine reproduce correlation --data-dir ~/data --table nasbench201.csv --out runs/correlation
      znas-engine reproduce correlation --data-dir ~/data --table nasbench201.csv --architectures 500 \\
        --scores naswot,params,naswot+params --out runs/sample
    """
    settings = _settings(
        space, data, data_dir, backend, device, images, seed, threads, channels, cells, resolution, quiet
    )
    found = _correlate(
        replace(settings, envs=envs, norm=norm),
        backend,
        table,
        _names(scores),
        architectures,
        out,
        quiet=quiet,
    )
    _show([found], as_json=as_json)


@reproduce.command()
def sets(
    out: Annotated[Path, typer.Option(help="The folder in which correlation left its scores.")],
    by: Annotated[
        str, typer.Option(help="tau (Kendall's), or top (mean accuracy of those that a set puts first).")
    ] = "tau",
    largest: Annotated[
        int | None, typer.Option(help="Scores per set, at most; 6, or all that were measured, by default.")
    ] = None,
    top: Annotated[int, typer.Option(help="How many of the first architectures are averaged.")] = 10,
    show: Annotated[int, typer.Option(help="Sets shown; sets.csv holds all.")] = 10,
    column: Annotated[
        str | None, typer.Option(help="Accuracy column of the table; the first by default.")
    ] = None,
    space: options.Space = "nasbench201",
    as_json: options.Json = False,
) -> None:
    """Every set of the scores that `correlation` measured: how it ranks, and what it puts first.

    \b
    Example:
      znas-engine reproduce correlation --data-dir ~/data --table nasbench201.csv --out runs/correlation
      znas-engine reproduce sets --out runs/correlation --by top
    """
    from znas.reproduce import sets as measure
    from znas_engine.spaces import get_space

    sheet = measure.sets(out, get_space(space), largest=largest, top=top, by=by, show=show, column=column)
    sheet.save(out, "sets")
    _show([sheet], as_json=as_json)


@reproduce.command("figures")
def figures_(
    out: Annotated[Path, typer.Option(help="The folder in which table2 or correlation left their results.")],
    as_json: options.Json = False,
) -> None:
    """Draw accuracy against score, and accuracy against search cost, from what the tables measured."""
    from znas.reproduce.figures import figures

    written = [str(path) for path in figures(out)]
    typer.echo(json.dumps(written) if as_json else "\n".join(written))


def _settings(
    space: str,
    data: str,
    data_dir: Path | None,
    backend: str,
    device: str,
    images: int,
    seed: int,
    threads: int | None,
    channels: int | None,
    cells: int | None,
    resolution: int | None,
    quiet: bool,
) -> SearchSettings:
    settings = SearchSettings(
        space=space,
        data=data,
        data_dir=data_dir,
        backend=backend,
        device=device,
        images=images,
        seed=seed,
        threads=available_threads() if threads is None else threads,
        channels=channels,
        cells=cells,
        resolution=resolution,
    )
    if settings.remark is not None and not quiet:
        remark(settings.remark)
    return settings


def _darts_table(
    evaluation: Evaluation,
    settings: SearchSettings,
    rows: str | None,
    prior: str,
    seeds: int,
    out: Path,
    *,
    quiet: bool,
) -> Sheet:
    from znas.reproduce import figures, folder
    from znas.reproduce.darts_tables import USUAL_ROWS, darts_table
    from znas.reproduce.rows import choose
    from znas.reproduce.trials import run_trials

    folder.ready(out)
    chosen = choose(settings.space, _names(rows) or USUAL_ROWS, prior)
    with progress_bar("searches", quiet=quiet) as progress:
        trials = run_trials(
            chosen, settings, seeds=seeds, prior=prior, work=out / folder.SEARCHES, progress=progress
        )
    sheet = darts_table(evaluation, chosen, trials, settings)
    sheet.save(out, evaluation.name, [figures.draw_sizes(sheet.data)])
    return sheet


def _correlate(
    settings: SearchSettings,
    backend: str,
    table: Path,
    scores: list[str] | None,
    architectures: int | None,
    out: Path,
    *,
    quiet: bool,
) -> Sheet:
    from znas.files import write_file
    from znas.reproduce import correlation as measure
    from znas.reproduce import figures, folder
    from znas.reproduce.rows import proxied
    from znas.tables import read_table
    from znas_engine.scores import SCORES, get_scores
    from znas_engine.spaces import get_space

    folder.ready(out)
    settings = proxied(settings)
    sets = scores or list(SCORES)
    single = dict.fromkeys(score.name for names in sets for score in get_scores(names))
    with progress_bar("files of the table", quiet=quiet) as progress:
        truth = read_table(table, get_space(settings.space), progress)
    with progress_bar("scores", quiet=quiet) as progress:
        scored = measure.score_table(
            truth,
            list(single),
            settings,
            backend=backend,
            architectures=architectures,
            work=out / folder.SCORES,
            progress=progress,
        )
    sheet = measure.correlation(scored, sets, truth, settings)
    write_file(out / figures.SCORES_FILE, measure.scores_csv(scored).encode())
    sheet.save(out, "correlation", [figures.draw_correlations(sheet.data)])
    return sheet


def _show(sheets: list[Sheet], *, as_json: bool) -> None:
    """On the terminal, or as one JSON object in which later sheets are fields of the first."""
    if as_json:
        first, *rest = (dict(sheet.document().data) for sheet in sheets)
        typer.echo(json.dumps(first | {sheet["table"]: sheet for sheet in rest}, indent=1))
        return
    for sheet in sheets:
        typer.echo(f"{sheet.title}\n")
        show(sheet.document())


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
