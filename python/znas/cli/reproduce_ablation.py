"""`znas-engine reproduce ablation`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import progress_bar, reporter
from znas.cli.options import CLUSTER, DATA, MACHINE, SIZE, Column, Json, Quiet, asks, path
from znas.cli.sheets import Out, Seeds, names, save, show_sheets
from znas.hooks import Hooks
from znas.request import Request
from znas.setup import Setup

Sample = Annotated[
    int | None,
    typer.Option(help="A sample of so many, drawn by every seed; all by default, which are measured."),
]
Passes = Annotated[
    str | None,
    typer.Option(help="Masked passes that may be spent, separated by commas; 50 to 4,000 by default."),
]
Ways = Annotated[str | None, typer.Option(help="Ways to spend them, separated by commas; all by default.")]


@asks(
    "space",
    *DATA,
    *MACHINE,
    *CLUSTER,
    "preset",
    "score",
    "envs",
    "images",
    "norm",
    *SIZE,
    "seed",
    data="cifar10",
)
def ablation(
    request: Request,
    out: Out,
    table: Annotated[Path, typer.Option(parser=path, help="CSV of architectures and their accuracies.")],
    column: Column = None,
    architectures: Sample = None,
    passes: Passes = None,
    ways: Ways = None,
    seeds: Seeds = 10,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What do-scores, priors, Shapley values, interactions and choosing actively add at equal masked passes.

    All architectures of the table are scored once per seed and environment, in OUT/ablation/seed-N, which is
    the folder of a `reproduce correlation --seed N` too; what a way to search finds with so many passes is
    then looked up.

    \b
    Examples:
      znas-engine reproduce ablation --data-dir ~/data \\
        --table nasbench201.csv --out runs/ablation
      znas-engine reproduce ablation --data-dir ~/data \\
        --table nasbench201.csv --architectures 500 \\
        --seeds 2 --passes 50,100,200,400 --out runs/quick
    """
    from znas.reproduce import ablation as job
    from znas.reproduce import drawings, folder
    from znas.reproduce.correlation import check_sample
    from znas.reproduce.trials import check_seeds
    from znas_engine.tables import read_table

    check_seeds(request.seed, seeds, 1)
    chosen, budgets = job.choose(names(ways)), job.budgets(names(passes))
    album = folder.opened(out, "ablation", "ablation.png", *folder.files("ablation-differences"))
    setup = Setup(request, Hooks(report=reporter(quiet=quiet)))
    truth = read_table(table, setup.space, report=reporter(quiet=quiet))
    name, _ = truth.column(column)
    check_sample(truth, architectures)
    with progress_bar("seeds", "scores", quiet=quiet) as bar:
        points = job.ablation(
            setup,
            truth,
            name,
            chosen,
            budgets,
            seeds=seeds,
            architectures=architectures,
            folder=out / folder.ABLATION,
            hooks=Hooks(bar, inner=bar.inner),
        )
    sheet = job.curves(chosen, points, budgets, job.about(setup, truth, name, architectures))
    save(sheet, album, "ablation", drawings.draw_curves, as_json=as_json)
    adds = job.differences(points, budgets)
    save(adds, album, "ablation-differences", as_json=as_json)
    show_sheets([sheet, adds], as_json=as_json)
