"""`znas-engine reproduce constrained`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import progress_bar, reporter
from znas.cli.options import CLUSTER, DATA, MACHINE, Json, Quiet, asks, path
from znas.cli.sheets import Out, Seeds, names, save, show_sheets
from znas.costs.predictor import LEAST, MEASURED
from znas.hooks import Hooks
from znas.request import Request
from znas.setup import Setup
from znas_engine.arguments import check_between


@asks(
    "space",
    *DATA,
    *MACHINE,
    *CLUSTER,
    "preset",
    "score",
    "finalists",
    "images",
    "norm",
    "supernet_cells",
    "seed",
    data="cifar10",
)
def constrained(
    request: Request,
    out: Out,
    table: Annotated[Path, typer.Option(parser=path, help="CSV of architectures and their accuracies.")],
    latency: Annotated[
        Path, typer.Option(parser=path, help="CSV of the same architectures and latencies, columns *_ms.")
    ],
    column: Annotated[
        str | None, typer.Option(help="Accuracy column of the table; the first by default.")
    ] = None,
    costs: Annotated[
        str | None,
        typer.Option(help="Columns of --latency, params and flops, separated by commas; all by default."),
    ] = None,
    measured: Annotated[int, typer.Option(help="Rows of --latency that each search may see.")] = MEASURED,
    seeds: Seeds = 10,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Searches under limits at the quartiles of every cost: what they find, what could be had, limits broken.

    \b
    Example:
      znas-engine reproduce constrained --data-dir ~/data \\
        --table cifar10.csv --latency latency.csv \\
        --out runs/limits
    """
    from znas.costs.latency_table import LatencyTable
    from znas.reproduce import constrained as job
    from znas.reproduce import folder
    from znas.reproduce.trials import check_seeds
    from znas_engine.tables import read_table

    check_seeds(request.seed, seeds, 1)
    check_between("measured", measured, LEAST, None)
    album = folder.opened(out, "constrained")
    setup = Setup(request, Hooks(report=reporter(quiet=quiet)))
    truth = read_table(table, setup.space, report=reporter(quiet=quiet))
    (name, _), devices = truth.column(column), LatencyTable.read(latency, setup.space)
    known = job.Truth.of(setup, truth, name, devices)
    chosen = job.cases(known, names(costs))
    with progress_bar("searches", quiet=quiet) as progress:
        found = job.constrained(
            request,
            known,
            chosen,
            latency=devices,
            measured=measured,
            seeds=seeds,
            work=out / folder.LIMITED,
            progress=progress,
        )
    asked = request.settled()
    notes = [
        f"{name} of {table.name}, latencies of {latency.name}; {len(known.archs):,} architectures",
        f"{asked.score}, {asked.finalists} finalists, {asked.images} images of {setup.dataset.name}",
        f"latencies are predicted from {measured} rows of the table, others for every seed",
    ]
    save(sheet := job.sheet(known, chosen, found, notes), album, "constrained", as_json=as_json)
    show_sheets([sheet], as_json=as_json)
