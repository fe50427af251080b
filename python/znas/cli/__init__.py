"""The `znas-engine` command: one file per verb; parse, call the public API, print."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from znas_engine import __version__
from znas_engine.errors import ZnasError, unknown_choice

#: In the order of --help. The verb `search` is the function (or Typer) `search` of `znas.cli.search`.
VERBS = ("search", "show", "network", "export", "prior", "diagnose", "reproduce", "bench", "doctor")


class _Verbs(TyperGroup):
    """Loads a verb's module only when the verb is asked for, so that none waits for the others' imports."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            raise unknown_choice("command", cmd_name, VERBS)
        verb = getattr(import_module(f"znas.cli.{cmd_name}"), cmd_name)
        if isinstance(verb, typer.Typer):
            return typer.main.get_group(verb)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(verb)
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Verbs,
    name="znas-engine",
    help="Zero-shot neural architecture search by interventions on a randomly initialised supernet.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
        print("znas-engine: interrupted; no result was written", file=sys.stderr)
    sys.exit(code)
