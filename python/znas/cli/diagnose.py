"""`znas-engine diagnose`"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from znas.cli import options
from znas.cli.console import progress_bar, remark
from znas.diagnose import Diagnosis
from znas.diagnose.normality import RULE
from znas.diagnose.report import CLAIM_COLUMNS, EQUATION_8_COLUMNS, claim_row, equation_8_row
from znas.interventions.probability import parse_p
from znas.settings import SearchSettings, available_threads
from znas.tables import read_table
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import get_space
from znas_engine.supernet.initialisation import INITIALISATIONS


def diagnose(
    out: Annotated[Path, typer.Option(help="New folder for report.md, diagnose.json and pictures.")],
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    score: options.Score = "naswot",
    inits: Annotated[str, typer.Option(help="Families of weights, separated by commas.")] = ",".join(
        INITIALISATIONS
    ),
    ps: Annotated[str, typer.Option(help="Values of p (equation 8), separated by commas.")] = (
        "0,0.25,0.5,0.75,1"
    ),
    envs: Annotated[int, typer.Option(help="Weight draws: the size of every sample.")] = 100,
    images: Annotated[int, typer.Option(help="Images per weight draw.")] = 16,
    depths: Annotated[int, typer.Option(help="Cells whose neurons are watched, from first to last.")] = 3,
    norm: options.Norm = "calibrated",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    table: Annotated[Path | None, typer.Option(help="CSV of trained architectures, for equation 2.")] = None,
    column: options.Column = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Measure whether outputs and scores of random supernets are Gaussian, as the paper assumes.

    Tests Lemma 1 (first layer), Lemma 2 (any layer), Corollaries 2.1 and 2.2 (ensembles) and equation 2
    (scores), and shows equation 8 (observed against drawn scores), per family of weights. Outputs are watched under
    Gaussian images and under --data. A killed run goes on where it stopped when the same command is given
    again.

    \b
    Examples:
      znas-engine diagnose --out diagnosis --channels 8 --cells 1
      znas-engine diagnose --out diagnosis --data cifar10 --data-dir ~/data --score accuracy --images 64
    """
    settings = SearchSettings(
        space=space,
        data=data,
        data_dir=data_dir,
        backend=backend,
        score=score,
        envs=envs,
        images=images,
        norm=norm,
        seed=seed,
        threads=available_threads() if threads is None else threads,
        channels=channels,
        cells=cells,
        resolution=resolution,
    )
    from znas.diagnose import diagnose as measure

    with progress_bar("samples", quiet=quiet) as progress:
        found = measure(
            settings,
            inits=[name.strip() for name in inits.split(",")],
            ps=_ps(ps),
            depths=depths,
            table=None if table is None else read_table(table, get_space(space)),
            column=column,
            out=out,
            progress=progress,
            report=(lambda line: None) if quiet else remark,
        )
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
    else:
        _print(found, out)


def _ps(text: str) -> tuple[float, ...]:
    value = parse_p(text)
    if isinstance(value, str):
        raise InvalidValueError(f"`ps` must be numbers between 0 and 1 but got {text!r}")
    return value if isinstance(value, tuple) else (value,)


def _print(found: Diagnosis, out: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    for columns, rows in (
        (CLAIM_COLUMNS, [claim_row(c) for c in found.claims if c.outcome != "not tested"]),
        (EQUATION_8_COLUMNS, [equation_8_row(one) for one in found.intervened]),
    ):
        printed = Table(*columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for row in rows:
            printed.add_row(*row)
        console.print(printed)
    console.print(f"{RULE} Corollary 2.2 says not Gaussian, the others Gaussian.", markup=False)
    console.print(f"written     {out}/ (report.md, diagnose.json, pictures)", soft_wrap=True)
