"""`znas-engine reproduce do-scores` and `resolutions`: what scores say under other questions and images"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import progress_bar, reporter
from znas.cli.options import CLUSTER, DATA, MACHINE, SIZE, Json, Quiet, asks, path
from znas.cli.sheets import Out, TableFile, names, save, show_sheets
from znas.hooks import Hooks
from znas.request import Request
from znas.selection.criteria import Floats
from znas.setup import Setup

#: What is measured: as a search would.
MEASURED = ("preset", "score", "envs", "images", "norm", "seed")


@asks("space", *DATA, *MACHINE, *CLUSTER, *MEASURED, *SIZE, data="cifar10")
def do_scores(
    request: Request,
    out: Annotated[Path, typer.Option(parser=path, help="Folder for Markdown, CSV, JSON and PNG.")],
    table: Annotated[Path, typer.Option(parser=path, help="CSV of architectures and their accuracies.")],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """What the scores of single operations under do(edge, operation) say of whole architectures.

    Kendall's tau and Spearman's rho with a table's accuracies: of the sum over an architecture's operations,
    and of every edge (a layer of a chain) alone, beside what such a sum can reach.

    \b
    Example:
      znas-engine reproduce do-scores --data-dir ~/data \\
        --space nasbench_macro --table nasbench_macro.csv \\
        --envs 8 --out runs/do
    """
    from znas.reproduce import do_scores as measure
    from znas.reproduce import folder
    from znas_engine.tables import read_table

    album = folder.opened(out, "do-scores")
    report = reporter(quiet=quiet)
    with progress_bar("masked passes", quiet=quiet) as bar:
        setup = Setup(request, Hooks(bar, report))
        truth = read_table(table, setup.space, report=report)
        truth.accuracies()
        shown = measure.do_scores(setup)
    sheet = measure.against_accuracy(setup, shown, _sets(list(shown)), truth, request)
    save(sheet, album, "do-scores", as_json=as_json)
    show_sheets([sheet], as_json=as_json)


@asks(
    "space",
    *DATA,
    *MACHINE,
    *CLUSTER,
    *MEASURED,
    *(name for name in SIZE if not name.endswith("resolution")),
    data="gaussian",
)
def resolutions(
    request: Request,
    out: Out,
    sides: Annotated[
        str, typer.Option("--resolutions", help="Sides of the images in pixels, separated by commas.")
    ] = "32,64,96",
    table: TableFile = None,
    architectures: Annotated[
        int | None, typer.Option(help="Random ones, or a sample of the table; 50, or all of it, by default.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Whether scores rank architectures alike on small and on large images: Kendall's tau between both.

    Each score of --score and all of them together, at every two resolutions, against themselves with other
    weights and images, and against the accuracies of a table if there is one.

    \b
    Examples:
      znas-engine reproduce resolutions --space mobilenet \\
        --resolutions 32,64,96 --out runs/resolutions
      znas-engine reproduce resolutions --data cifar10 \\
        --data-dir ~/data --space nasbench_macro \\
        --table nasbench_macro.csv \\
        --resolutions 16,24,32 --out runs/macro
    """
    from znas.reproduce import folder
    from znas.reproduce import resolutions as measure
    from znas.reproduce.correlation import sampled
    from znas_engine.tables import read_table

    wanted = measure.sides(names(sides) or [])
    report = reporter(quiet=quiet)
    album = folder.opened(out, "resolutions")
    setups = [Setup(measure.at(request, side), Hooks(report=report)) for side in wanted]
    setup = setups[-1]
    accuracies: dict[str, Floats] = {}
    if table is None:
        genotypes = measure.drawn(request, 50 if architectures is None else architectures)
        source = f"random architectures of {setup.space.name}"
    else:
        truth = read_table(table, setup.space, report=report)
        genotypes, accuracies = sampled(truth, request, architectures)
        source = f"architectures of {truth.path.name}"
    with progress_bar("scores", quiet=quiet) as progress:
        found = measure.at_resolutions(
            genotypes,
            accuracies,
            setup.scores,
            request,
            wanted,
            folder=out / folder.RESOLUTIONS,
            progress=progress,
        )
    single = [score.name for score in setup.scores]
    sheet = measure.resolutions(found, _sets(single), request, source, setup)
    save(sheet, album, "resolutions", as_json=as_json)
    show_sheets([sheet], as_json=as_json)


def _sets(names: list[str]) -> list[str]:
    """Each score, and all together."""
    return names if len(names) == 1 else [*names, "+".join(names)]
