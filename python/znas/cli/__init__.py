"""The `znas-engine` command: one file per verb; parse, call the public API, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from znas.cli.bench import bench
from znas.cli.doctor import doctor
from znas.cli.export import export
from znas.cli.prior import prior
from znas.cli.search import search
from znas_engine import __version__
from znas_engine.errors import ZnasError

app = typer.Typer(
    name="znas-engine",
    help="Zero-shot neural architecture search by interventions on a randomly initialised supernet.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(search)
app.command()(export)
app.add_typer(prior, name="prior")
app.command()(bench)
app.command()(doctor)

#: What the parser raises for bad options; typer has its own copy of click since 0.16.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

_INTERRUPTED = 130


def _version(value: bool) -> None:
    if value:
        typer.echo(f"znas-engine {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Zero-shot neural architecture search by interventions on a randomly initialised supernet."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one verb and exits: 0 done, 1 the answer is no, 2 a mistake the user can mend, 130 interrupted.

    A mistake is one line on stderr; ZNAS_DEBUG=1 shows the traceback too.
    """
    command = typer.main.get_command(app)
    given = list(arguments or sys.argv[1:]) or ["--help"]
    try:
        code: int = command.main(args=given, prog_name="znas-engine", standalone_mode=False) or 0
    except (ZnasError, _UsageError) as error:
        if os.environ.get("ZNAS_DEBUG"):
            raise
        message = error.format_message() if hasattr(error, "format_message") else str(error)
        print(f"znas-engine: error: {' '.join(message.split())}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        print("znas-engine: interrupted; nothing was written", file=sys.stderr)
    sys.exit(code)
