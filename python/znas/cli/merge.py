"""`znas-engine merge`"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from znas import jobs
from znas.cli.options import Json, Quiet, path
from znas.shards.parts import Parts
from znas_engine.errors import InvalidValueError

Folders = Annotated[
    list[Path], typer.Argument(parser=path, help="The folders of all parts, in any order.", metavar="DIR...")
]
Out = Annotated[Path, typer.Option(parser=path, help="What the command without --shard writes.")]


def merge(folders: Folders, out: Out, as_json: Json = False, quiet: Quiet = False) -> None:
    """Join the parts that --shard left, to what one process would have written.

    Says what is missing, and then writes nothing. Nothing is measured: the command that the parts were given
    runs once more, with their pieces; where it names files by relative paths, give `merge` in the same
    folder. Only seconds that were measured differ from those of one process.

    \b
    Examples:
      znas-engine score --all --out all.csv --shard 3/16
      znas-engine merge all.csv.*-of-16 --out all.csv
      znas-engine reproduce table2 --data-dir ~/data \\
        --out runs/table2 --shard 3/16
      znas-engine merge runs/table2.*-of-16 \\
        --out runs/table2
    """
    from znas.cli import app

    parts = Parts(folders)
    own = [*(["--json"] if as_json else []), *(["--quiet"] if quiet else [])]
    command: Any = typer.main.get_command(app)
    _check(command, parts.command.verb)
    with jobs.opened_by(parts.open):
        code = command.main(
            args=parts.command.words(out, *own), prog_name="znas-engine", standalone_mode=False
        )
    if code:
        raise typer.Exit(code)


def _check(command: Any, verb: Sequence[str]) -> None:
    """InvalidValueError where a folder names what has no parts: nothing else is run for it."""
    context = command.make_context("znas-engine", ["merge"], resilient_parsing=True)
    for word in verb:
        command = command.get_command(context, word) if hasattr(command, "get_command") else None
    if not any(each.name == "shard" for each in getattr(command, "params", ())):
        raise InvalidValueError(
            f"the parts are of {' '.join(verb)!r}, which has no --shard: name folders that --shard left"
        )
