"""`znas-engine score`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas.cli.console import finish, progress_bar, reporter
from znas.cli.options import Json, Quiet, asks, path
from znas.cli.parts import sharded
from znas.request import Request
from znas.score import READ, REFERENCES, Scoring
from znas.scoring.table import ScoreTable, check_output

Archs = Annotated[list[str] | None, typer.Argument(help="Architectures, each as its community writes it.")]
File = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        help="File of more: one per line, or a CSV in which they are a column, accuracies or not.",
    ),
]
Random = Annotated[int, typer.Option(help="So many random ones, admitted, of different functions.")]
All = Annotated[bool, typer.Option("--all", help="All architectures of a small space.")]
References = Annotated[
    int,
    typer.Option(
        help="Random architectures among which percentiles, and ranks of an aggregate, are taken; 0: ranks "
        "are taken among those given, and percentiles are not."
    ),
]
Out = Annotated[
    Path | None, typer.Option(parser=path, help="New file for all rows, .csv or .json by its name.")
]


@sharded
@asks(*READ)
def score(
    request: Request,
    arch: Archs = None,
    file: File = None,
    random: Random = 0,
    everything: All = False,
    references: References = REFERENCES,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score any architectures as themselves, as the final round of a search does.

    A percentile is among random architectures of the space, so that it does not depend on what else is
    given; with several --envs its 95 % interval is of environments drawn again from those measured.
    Parameters and multiply-accumulates are of the size at which the community trains.

    With --out a killed command goes on where it stopped when it is given again. With --shard several
    processes share the work.

    \b
    Examples:
      znas-engine score '[3, 3, 3, 1, 2, 3]' --envs 8
      znas-engine score --file mine.txt --score naswot+zen
      znas-engine score --all --out all.csv
      znas-engine score --all --out all.csv --shard 2/8
      znas-engine merge all.csv.*-of-8 --out all.csv
    """
    if out is not None:
        check_output(out)
    scoring = Scoring(
        request,
        architectures=arch or (),
        file=file,
        random=random,
        everything=everything,
        references=references,
        report=reporter(quiet=quiet),
    )
    with scoring.pieces(out) as pieces, progress_bar("architectures", quiet=quiet) as progress:
        table: ScoreTable = scoring.table(pieces, progress)

        def write() -> None:
            assert out is not None
            table.save(out)
            pieces.discard()

        finish(table.to_json() if as_json else table.document(), None if out is None else write, out)
