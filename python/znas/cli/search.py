"""`znas-engine search`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import znas
from znas.cli.console import finish, progress_bar, remark, reporter
from znas.cli.options import ARCHITECTURE, Json, Quiet, asks, path
from znas.front import file_names
from znas.request import OPTIONS, Request
from znas_engine import kernels

FILES = f"result.json, scores.csv, report.html, {ARCHITECTURE}"


@asks(*OPTIONS)
def search(
    request: Request,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=path,
            help=f"New folder for {FILES}.",
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Select an architecture from a random supernet, without training anything.

    \b
    Examples:
      znas-engine search
      znas-engine search --space darts --data cifar10 \\
        --data-dir ~/data --out runs/darts
      znas-engine search --data-dir ~/pictures --resolution 64
      znas-engine search --max-params 300k \\
        --pareto latency@native:cpu --out runs/front
      znas-engine search --preset paper --data cifar10 \\
        --data-dir ~/data --p 0 --envs 8 --json
      znas-engine search --preset naswot --prior shipped \\
        --p auto --prior-scale raw --envs 2
      znas-engine search --preset naswot --game shapley \\
        --selection sequential --order confidence
      znas-engine search --preset naswot --data cifar10 \\
        --data-dir ~/data --p 0 --images 256 --race 0.95
      znas-engine search --space my_package.spaces:MySpace \\
        --score naswot+my_package.scores:MyScore
    """
    if out is not None:
        from znas.run_folder import check_folder

        check_folder(out)
    if not quiet and not kernels.compiled():
        remark("the C++ kernels are not installed (no compiler was found); numpy does their work, slower")
    with progress_bar("masked passes", quiet=quiet) as progress:
        result = znas.search(request, progress=progress, report=reporter(quiet=quiet))
    finish(
        result.to_json() if as_json else result.document(),
        None if out is None else lambda: result.save(out),
        out,
        ", ".join([FILES, *file_names(result.front, request.pareto)]),
    )
