"""The `znas-engine` command: one file per verb; parse, call the public API, print."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from znas.cli.streams import check_stdout, streams
from znas_engine import __version__, interrupts, paths
from znas_engine.errors import InvalidValueError, ZnasError, in_short, one_line, unknown_choice

#: In the order of --help. The verb `search` is the function (or Typer) `search` of `znas.cli.search`.
VERBS = (
    *("search", "show", "report", "score", "profile", "network", "train", "deploy", "export"),
    *("prior", "diagnose", "reproduce", "merge", "bench", "cache", "doctor"),
)
#: What people ask for that is no verb or option -> what does it.
ELSEWHERE = {
    "resume": "the same command goes on where it stopped; only `search` starts anew",
}
#: Of a search, where a misspelt option begins as they do.
LIMITS = ("--max-params", "--max-flops", "--max-latency", "--max-memory")


class _Verbs(TyperGroup):
    """Loads a verb's module only when the verb is asked for, so that none waits for the others' imports."""

    #: Whether a shell completes the name of a verb, for which none is loaded.
    _named_only = False

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self._named_only = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._named_only = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if self._named_only:
            return TyperCommand(cmd_name)
        if cmd_name not in VERBS:
            if ctx.resilient_parsing:  # a shell completes what follows
                return None
            if cmd_name in ELSEWHERE:
                raise InvalidValueError(f"there is no command {cmd_name!r}: {ELSEWHERE[cmd_name]}")
            raise unknown_choice("command", cmd_name, VERBS)
        verb = getattr(import_module(f"znas.cli.{cmd_name}"), cmd_name)
        interrupts.check()
        if isinstance(verb, typer.Typer):
            return typer.main.get_group(verb)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(cmd_name)(verb)
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=_Verbs,
    name="znas-engine",
    help="Zero-shot neural architecture search by interventions on a randomly initialised supernet.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

#: What the parser raises for bad options; typer has its own copy of click since 0.16.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]

INTERRUPTED, DEFECT, MISTAKE = 130, 70, 2
#: The way out where the machine is too small.
SMALLER = "ask for fewer images, a smaller resolution, fewer channels or fewer threads"
REPORT = "the lines above, the command and what `znas-engine doctor` says to its maintainers"
#: What Python, PyTorch, ONNX Runtime and the C++ library say of threads and memory that they did not get.
_TOO_LITTLE = (
    "start new thread",
    "allocate memory",
    "bad allocation",
    "bad_alloc",
    "Failed to allocate",
    "Resource temporarily unavailable",
)


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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """`run` in a process that goes on: raises SystemExit. A signal ends the process at once."""
    code = interrupts.guarded(lambda: run(sys.argv[1:] if arguments is None else arguments))
    if interrupts.interrupted():
        interrupts.leave(code)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one verb and returns the exit code:

    0 done, 1 the answer is no, 2 a mistake that the user can mend or a machine that has too little of
    something, 70 a defect of ours, 130, 143 or 129 a signal (SIGINT, SIGTERM, SIGHUP).

    2 is one line on stderr (ZNAS_DEBUG=1 shows the traceback too), 70 a traceback that ends in where to
    report it.
    """
    with streams():
        try:
            check_stdout()
            command = typer.main.get_command(app)
            given = list(arguments) or ["--help"]
            code: int = command.main(args=given, prog_name="znas-engine", standalone_mode=False) or 0
            sys.stdout.flush()
        except (KeyboardInterrupt, typer.Abort):
            # Where a caller does not let us listen to signals.
            _say(f"interrupted: {interrupts.left()}")
            return INTERRUPTED
        except SystemExit as done:  # a shell's question was answered
            return done.code if isinstance(done.code, int) else 0
        except Exception as error:  # noqa: BLE001 - the last that sees it
            return _answer(error)
        return code


def _answer(error: Exception) -> int:
    """What is said of an error, and its exit code."""
    if interrupts.interrupted():  # an import of C code makes anything of a signal
        raise error
    if os.environ.get("ZNAS_DEBUG"):
        traceback.print_exception(error)
    message = _message(error)
    if message is not None:
        _say(f"error: {message}")
        return MISTAKE
    if not os.environ.get("ZNAS_DEBUG"):
        traceback.print_exception(error)
    _say(f"this is a defect of znas-engine {__version__}, not of yours: please report {REPORT}")
    return DEFECT


def _misused(error: Any) -> str:
    """What the parser says; of an option that there is not, which are like it."""
    option, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if type(error).__name__ != "NoSuchOption" or option is None or context is None:
        return str(error.format_message())
    if (wanted := option.lstrip("-")) in ELSEWHERE:
        return f"there is no option {option}: {ELSEWHERE[wanted]}"
    known = [name for each in context.command.params for name in each.opts if name.startswith("--")]
    limits = [name for name in LIMITS if name in known] if option.startswith("--max-") else []
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.75) or limits
    way_out = f"did you mean {' or '.join(near)}?" if near else f"see {context.command_path} --help"
    return f"there is no option {option}: {way_out}"


def _say(line: str) -> None:
    print(f"znas-engine: {line}", file=sys.stderr)


def _message(error: Exception) -> str | None:
    """One line for what the user or the machine can mend; None for a defect of ours."""
    match error:
        case ZnasError():
            return str(error)
        case MemoryError():
            said = f" ({in_short(error)})" if str(error) else ""
            return one_line(f"the memory of this machine does not suffice{said}: {SMALLER}")
        case RecursionError():
            return "an argument or a file is nested too deeply: write it flatter"
        case UnicodeError():
            return one_line(f"an argument or a file name holds what is no text ({error}): rename it")
        case ImportError() if not (error.name or "").startswith("znas"):
            return one_line(f"a package cannot be imported ({error}): reinstall {error.name or 'it'}")
        case OSError():
            where = f" {error.filename}" if error.filename is not None else ""
            return one_line(f"the system refused{where} ({paths.reason(error)})")
    if isinstance(error, _UsageError):
        return one_line(_misused(error))
    said = str(error)
    if isinstance(error, RuntimeError) and any(words in said for words in _TOO_LITTLE):
        return one_line(f"this machine has too little memory or too few threads ({said}): {SMALLER}")
    return None
