"""The option --shard: one of several processes does a part of a command."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from znas import jobs
from znas.cli.console import finish
from znas.cli.options import CLUSTER
from znas.shards.part import Part, PartDone
from znas.shards.record import Command
from znas.shards.shard import Shard
from znas_engine.errors import InvalidValueError

Which = Annotated[
    str | None,
    typer.Option(
        help="Do one of several parts, as in 2/8: every 8th piece of the work, into a folder beside --out; "
        "`merge` joins them."
    ),
]
#: Options of which results do not depend, beside paths.
BESIDE = ("threads",)
#: Those that are of one process; joining needs no cluster.
_OWN = ("shard", "out", "as_json", "quiet", *CLUSTER)

Verb = Callable[..., None]


def sharded(verb: Verb) -> Verb:
    """Adds --shard to a verb whose pieces are kept by `jobs.opened`."""
    parameters = list(inspect.signature(verb).parameters.values())
    last = next(i for i, each in enumerate(parameters) if each.name in ("as_json", "quiet"))
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters.insert(last, inspect.Parameter("shard", kind, default=None, annotation=Which))
    parameters.insert(0, inspect.Parameter("context", kind, annotation=typer.Context))

    @functools.wraps(verb)
    def asked(context: typer.Context, shard: str | None, **given: Any) -> None:
        if shard is None:
            verb(**given)
            return
        which, out = Shard.parse(shard), given["out"]
        if out is None:
            raise InvalidValueError(f"--shard {which} leaves its part beside --out: pass --out FILE too")
        part = Part(_command(context), which, out)
        try:
            with jobs.opened_by(part.open):
                verb(**given)
        except PartDone as done:
            finish(_said(which, done, out, as_json=given.get("as_json", False)))
            return
        raise AssertionError(f"{context.command_path} has no pieces")

    asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    asked.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del asked.__wrapped__
    return asked


def _said(shard: Shard, done: PartDone, out: Path, *, as_json: bool) -> str:
    if as_json:
        about = {"shard": str(shard), "pieces": done.pieces, "of": done.of, "folder": str(done.folder)}
        return json.dumps(about, indent=1)
    return (
        f"part {shard}: {done.pieces:,} of {done.of:,} pieces are done, in {done.folder}; once all parts "
        f"are: znas-engine merge {out}.*-of-{shard.count} --out {out}"
    )


def _command(context: typer.Context) -> Command:
    """What was given on the command line."""
    verb: list[str] = []
    here = context
    while here.parent is not None:
        verb.insert(0, str(here.info_name))
        here = here.parent  # type: ignore[assignment]
    decides: list[str] = []
    beside: list[str] = []
    arguments: list[str] = []
    for parameter in context.command.params:
        name, value = str(parameter.name), context.params.get(str(parameter.name))
        source = context.get_parameter_source(name)
        if name in _OWN or source is None or source.name != "COMMANDLINE":
            continue
        words = list(_words(parameter, value))
        if parameter.param_type_name == "argument":
            arguments += words
        else:
            (beside if name in BESIDE or isinstance(value, Path) else decides).extend(words)
    return Command(tuple(verb), tuple(arguments), tuple(decides), tuple(beside))


def _words(parameter: Any, value: Any) -> Iterator[str]:
    """An option or an argument as the command line takes it."""
    if parameter.param_type_name == "argument":
        yield from map(str, value if isinstance(value, list | tuple) else [value])
    elif isinstance(value, bool):
        yield parameter.opts[0] if value else parameter.secondary_opts[0]
    else:
        yield from (parameter.opts[0], str(value))
