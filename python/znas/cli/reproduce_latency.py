"""`znas-engine reproduce latency`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import progress_bar
from znas.cli.options import Json, Quiet, asks, path
from znas.cli.sheets import Out, Seeds, names, save, show_sheets
from znas.request import Request


@asks("space", "seed", "resolution")
def latency(
    request: Request,
    out: Out,
    table: Annotated[
        Path, typer.Option(parser=path, help="CSV of measured architectures: columns arch and *_ms.")
    ],
    measured: Annotated[
        str, typer.Option(help="Architectures that a fit gets, numbers separated by commas.")
    ] = "30,100",
    seeds: Seeds = 10,
    developed_on: Annotated[
        str | None,
        typer.Option(help="Columns on which the predictor was developed, separated by commas: said beside."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How well latencies are predicted from a few: every device of a table, beside a usual additive table.

    The networks have the size at which the community trains, for 32 x 32 pixels unless --resolution says
    otherwise. What was measured on a device is read from the table; nothing is timed here.

    \b
    Example:
      znas-engine reproduce latency \\
        --table latency.csv --out runs
    """
    from znas.costs.latency_table import LatencyTable
    from znas.reproduce import folder
    from znas.reproduce import latency as measure
    from znas_engine.spaces import get_space

    album = folder.opened(out, "latency-predictor")
    space = get_space(request.space)
    macro = space.evaluation_macro(resolution=request.resolution or 32, classes=10)
    counts = measure.counts(names(measured) or [])
    found = LatencyTable.read(table, space)
    with progress_bar("fits", quiet=quiet) as progress:
        sheet = measure.predicted(
            found,
            macro,
            counts=counts,
            seeds=seeds,
            seed=request.seed,
            developed_on=names(developed_on) or [],
            progress=progress,
        )
    save(sheet, album, "latency-predictor", as_json=as_json)
    show_sheets([sheet], as_json=as_json)
