"""`znas-engine reproduce`: table1, table3, correlation, sets, figures, and where the others are"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from znas import jobs
from znas.cli.console import progress_bar, reporter
from znas.cli.options import Json, Quiet, asks, path
from znas.cli.parts import sharded
from znas.cli.reproduce_ablation import ablation
from znas.cli.reproduce_choose import choose as choose_sets
from znas.cli.reproduce_constrained import constrained
from znas.cli.reproduce_latency import latency
from znas.cli.reproduce_looked_up import table2, table_macro
from znas.cli.reproduce_scores import do_scores, resolutions
from znas.cli.sheets import (
    SEARCHES,
    USUAL,
    Out,
    Prior,
    Rows,
    Seeds,
    TableFile,
    names,
    save,
    show_sheets,
)
from znas.hooks import Hooks
from znas.request import SHIPPED, Request
from znas.setup import Setup
from znas_engine.arguments import check_between, distinct
from znas_engine.errors import InvalidValueError

if TYPE_CHECKING:
    from znas.reproduce.sheet import Sheet
    from znas.reproduce.trained import Plan

reproduce = typer.Typer(
    help="The paper's tables with baselines beside them: repeated over seeds, resumable, with intervals.",
    rich_markup_mode=None,
)

Train = Annotated[
    int,
    typer.Option(help="Architectures of every row to train, those of its first seeds, in OUT/trained."),
]
TrainEpochs = Annotated[
    int | None, typer.Option(help="Instead of the recipe's: quicker, and no longer the paper's test error.")
]


@reproduce.command()
@sharded
@asks(*SEARCHES, **USUAL)
def table1(
    request: Request,
    out: Out,
    table: TableFile = None,
    seeds: Seeds = 10,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    train: Train = 0,
    train_epochs: TrainEpochs = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """DARTS space, CIFAR-10: genotypes, their sizes and what the searches cost; test errors with --train.

    A test error needs 600 epochs of training per genotype; --train 1 trains one of every row and
    says first what that takes here. With --table, genotypes of
    known accuracy, the rank correlation of naswot with it is measured as `reproduce correlation` does.

    \b
    Example:
      znas-engine reproduce table1 --data-dir ~/data \\
        --seeds 3 --out runs/table1
    """

    from znas.reproduce.published import space_of

    request = replace(request, space=space_of("table1"))
    correlate = None
    if table is not None:
        jobs.check_whole("table1 --table is two jobs: give the table to `reproduce correlation --shard`")
        correlate = _correlation(
            request, table, ["naswot", "params", "flops"], None, out, as_json=as_json, quiet=quiet
        )
    plan = _plan(train, train_epochs, seeds)
    first = _sizes("table1", request, rows, prior, seeds, plan, out, as_json=as_json, quiet=quiet)
    show_sheets([first, *([] if correlate is None else [correlate()])], as_json=as_json)


@reproduce.command()
@sharded
@asks(*SEARCHES, **USUAL)
def table3(
    request: Request,
    out: Out,
    seeds: Seeds = 10,
    rows: Rows = None,
    prior: Prior = SHIPPED,
    train: Train = 0,
    train_epochs: TrainEpochs = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """DARTS space, ImageNet: the same at the sizes that are trained on ImageNet; test errors with --train.

    The paper searched on batches of 1,024 ImageNet images: --data imagefolder --images 1024 does, given them.
    On CIFAR-10 images (the default) the genotypes are transferred.

    \b
    Example:
      znas-engine reproduce table3 --data-dir ~/data \\
        --seeds 3 --out runs/table3
    """

    from znas.reproduce.published import space_of

    request = replace(request, space=space_of("table3"))
    plan = _plan(train, train_epochs, seeds)
    sheet = _sizes("table3", request, rows, prior, seeds, plan, out, as_json=as_json, quiet=quiet)
    show_sheets([sheet], as_json=as_json)


@reproduce.command()
@sharded
@asks("space", *SEARCHES, "envs", "norm", **USUAL, norm="calibrated")
def correlation(
    request: Request,
    out: Out,
    table: Annotated[
        Path, typer.Option(parser=path, help="CSV of trained architectures, or a benchmark's folder.")
    ],
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
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Kendall's tau and Spearman's rho of scores with the accuracies of a table, all and unique cells.

    Single architectures are scored in small networks (the space's proxy size, 8 channels) unless
    --supernet-channels and --supernet-cells say otherwise.

    \b
    Examples:
      znas-engine reproduce correlation --data-dir ~/data \\
        --table nasbench201.csv --out runs/correlation
      znas-engine reproduce correlation --data-dir ~/data \\
        --table nasbench201.csv --architectures 500 \\
        --scores naswot,params,naswot+params \\
        --out runs/sample
    """
    measure = _correlation(request, table, names(scores), architectures, out, as_json=as_json, quiet=quiet)
    show_sheets([measure()], as_json=as_json)


@reproduce.command()
@asks("space")
def sets(
    request: Request,
    out: Annotated[Path, typer.Option(parser=path, help="The folder in which correlation left its scores.")],
    by: Annotated[
        str, typer.Option(help="tau (Kendall's), or top (mean accuracy of those that a set puts first).")
    ] = "tau",
    largest: Annotated[
        int | None, typer.Option(help="Scores per set, at most; 6, or all that were measured, by default.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(help="How many of the first are averaged; 10, or all architectures, by default."),
    ] = None,
    show: Annotated[int, typer.Option(help="Sets shown; sets.csv holds all.")] = 10,
    column: Annotated[
        str | None, typer.Option(help="Accuracy column of the table; the first by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Every set of the scores that `correlation` measured: how it ranks, and what it puts first.

    \b
    Example:
      znas-engine reproduce correlation --data-dir ~/data \\
        --table nasbench201.csv --out runs/correlation
      znas-engine reproduce sets --out runs/correlation \\
        --by top
    """
    from znas.reproduce import folder
    from znas.reproduce import sets as measure
    from znas_engine.spaces import get_space

    album = folder.opened(out, "sets")
    sheet = measure.sets(
        out, get_space(request.space), largest=largest, top=top, by=by, show=show, column=column
    )
    save(sheet, album, "sets", as_json=as_json)
    show_sheets([sheet], as_json=as_json)


@reproduce.command("figures")
def figures_(
    out: Annotated[
        Path,
        typer.Option(
            parser=path, help="The folder in which table2, table-macro or correlation left results."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Draw accuracy against score, and accuracy against search cost, from what the tables measured."""
    from znas.reproduce.figures import figures

    written = [str(path) for path in figures(out)]
    typer.echo(json.dumps(written) if as_json else "\n".join(written))


reproduce.command()(table2)
reproduce.command()(table_macro)
reproduce.command("choose")(choose_sets)
reproduce.command()(do_scores)
reproduce.command()(resolutions)
reproduce.command()(latency)
reproduce.command()(constrained)
reproduce.command()(ablation)


def _setup(request: Request, *, quiet: bool) -> Setup:
    return Setup(request, Hooks(report=reporter(quiet=quiet)))


def _plan(count: int, epochs: int | None, seeds: int) -> Plan:
    """Checked before the searches."""
    from znas.reproduce.trained import Plan
    from znas.training.settings import check_packages

    check_between("train", count, 0, seeds)
    if epochs is not None:
        check_between("train_epochs", epochs, 1, None)
        if not count:
            raise InvalidValueError(
                f"--train-epochs {epochs} is of trainings: pass --train N too, or drop it"
            )
    if count:
        jobs.check_whole(f"--train {count} is of the whole table: merge its parts first, and pass it then")
        check_packages(tensorboard=False)
    return Plan(count, epochs)


def _sizes(
    table: str,
    request: Request,
    rows: str | None,
    prior: str,
    seeds: int,
    plan: Plan,
    out: Path,
    *,
    as_json: bool,
    quiet: bool,
) -> Sheet:
    from znas.reproduce import drawings, folder
    from znas.reproduce.evaluation import Evaluation
    from znas.reproduce.rows import choose
    from znas.reproduce.sizes import sizes
    from znas.reproduce.trained import train_rows
    from znas.reproduce.trials import check_seeds, run_trials

    check_seeds(request.seed, seeds, 1)
    album = folder.opened(out, table, f"{table}.png")
    evaluation = Evaluation.of(table)
    setup = _setup(request, quiet=quiet)
    chosen = choose(setup.space, names(rows) or evaluation.usual_rows, prior)
    with progress_bar("searches", "masked passes", quiet=quiet) as bar:
        hooks = Hooks(bar, inner=bar.inner)
        trials = run_trials(chosen, setup, seeds=seeds, prior=prior, work=out / folder.SEARCHES, hooks=hooks)
    trained = {}
    if plan.count:
        with progress_bar("networks", "batches", quiet=quiet) as bar:
            hooks = Hooks(bar, reporter(quiet=quiet), inner=bar.inner)
            trained = train_rows(evaluation, trials, setup.request, plan, out / folder.TRAINED, hooks)
    sheet = sizes(evaluation, chosen, trials, setup.conditions(), trained)
    save(sheet, album, evaluation.name, drawings.draw_sizes, as_json=as_json)
    return sheet


def _correlation(
    request: Request,
    table: Path,
    scores: list[str] | None,
    architectures: int | None,
    out: Path,
    *,
    as_json: bool,
    quiet: bool,
) -> Callable[[], Sheet]:
    """Asks for all that it needs; what it returns measures."""
    from znas.reproduce import correlation as measure
    from znas.reproduce import drawings, figures, folder
    from znas.reproduce.rows import proxied
    from znas_engine.scores import SCORES, get_scores
    from znas_engine.spaces import get_space
    from znas_engine.tables import read_table

    files = figures.SCORES_FILE, figures.ENVIRONMENTS_FILE
    album = folder.opened(out, "correlation", *files, "correlation.png")
    request = proxied(request)
    distinct("`scores`", scores or ())
    wanted = [get_scores(names) for names in scores or SCORES.names()]
    single = {score.name: score for chosen in wanted for score in chosen}
    with progress_bar("files of the table", quiet=quiet) as progress:
        truth = read_table(table, get_space(request.space), progress, reporter(quiet=quiet))
    names = ["+".join(score.name for score in chosen) for chosen in wanted]

    def correlate() -> Sheet:
        with progress_bar("scores", quiet=quiet) as progress:
            scored = measure.score_table(
                truth,
                list(single.values()),
                request,
                architectures=architectures,
                work=out / folder.SCORES,
                progress=progress,
            )
        sheet = measure.correlation(scored, names, truth, request)
        texts = measure.scores_csv(scored), measure.environments_csv(scored)
        others = {name: text.encode() for name, text in zip(files, texts, strict=True)}
        save(sheet, album, "correlation", drawings.draw_correlations, others, as_json=as_json)
        return sheet

    measure.check_sample(truth, architectures)
    return correlate
