"""Options that verbs share, made from what `znas.request` says of them.

    @asks("space", "data", "data_dir", "images", preset="naswot", images=64)
    def fit(request: Request, out: ...) -> None: ...

gives `fit` the options --space, --data, --data-dir and --images in place of `request`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from znas.cli.console import reporter, told
from znas.meaning import flag
from znas.option import Option
from znas.presets import DEFAULT, ORDINARY, PRESETS
from znas.renamed import RENAMED, renamed
from znas.request import CLUSTER as CLUSTER
from znas.request import OPTIONS, SHIPPED, Request
from znas_engine import paths
from znas_engine.errors import InvalidValueError


def path(value: str) -> Path:
    """What every option that names a file or a folder is read by: `parser=path`."""
    try:
        return paths.named(value, "it")
    except InvalidValueError as error:
        raise typer.BadParameter(str(error)) from error


Verb = Callable[..., None]
_DEFAULTS = {each.name: each.default for each in fields(Request)}


def asks(*names: str, **defaults: Any) -> Callable[[Verb], Verb]:
    """Replaces a verb's parameter `request` by the options of those names.

    defaults: of fields where they are not `Request`'s own; of those that are no option here too.
    """
    assert not set(names) - set(OPTIONS), set(names) - set(OPTIONS)
    older = [old for old, now in RENAMED.items() if now in names]

    def decorate(verb: Verb) -> Verb:
        hints = get_type_hints(verb, include_extras=True)
        parameters: list[inspect.Parameter] = []
        for parameter in inspect.signature(verb).parameters.values():
            if parameter.name == "request":
                parameters += [_parameter(name, defaults, preset="preset" in names) for name in names]
                parameters += [_older(old) for old in older]
            else:
                parameters.append(parameter.replace(annotation=hints[parameter.name]))

        @functools.wraps(verb)
        def asked(**given: Any) -> None:
            read = {name: _read(name, given.pop(name)) for name in names}
            read |= _by_older_names(older, read, given)
            request = Request(**(defaults | read))
            quiet, as_json = given.get("quiet", False), given.get("as_json", False)
            with told(request.on, quiet=quiet, as_json=as_json):
                verb(request=request, **given)

        # Options without a default come first in Python's eyes; typer passes all by name.
        parameters.sort(key=lambda parameter: parameter.default is not inspect.Parameter.empty)
        asked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        asked.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        del asked.__wrapped__
        return asked

    return decorate


def _parameter(name: str, defaults: dict[str, Any], *, preset: bool) -> inspect.Parameter:
    option = OPTIONS[name]
    default = defaults.get(name, _DEFAULTS[name])
    assert default is not MISSING
    help = option.described()
    shown: bool | str = option.absent if default is None and option.absent else True
    if default is None and option.of_preset:
        if preset:
            help += " [of the preset]"
        else:  # of one that the verb has chosen; a space's own values stay open
            common = {**ORDINARY, **PRESETS.get(defaults.get("preset", DEFAULT)).common}
            shown = str(common[name]) if common[name] is not None else True
    flags = [f"--{name.replace('_', '-')}"] if option.kind is bool else []
    parser = path if option.kind is Path else None
    kind = option.kind if default is not None else option.kind | None
    about = typer.Option(
        *flags, help=help, show_default=shown, parser=parser, autocompletion=_completed(option)
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        default=default,
        annotation=Annotated[kind, about],
    )


def _older(name: str) -> inspect.Parameter:
    """The option by the name that it had before, which no help shows."""
    about = typer.Option(flag(name), hidden=True)
    kind = OPTIONS[RENAMED[name]].kind | None
    return inspect.Parameter(
        name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=Annotated[kind, about]
    )


def _by_older_names(older: list[str], read: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Takes out of `given` what came by an older name: by the name of now, with a remark."""
    found = {old: value for old in older if (value := given.pop(old)) is not None}
    now = {RENAMED[old]: read[RENAMED[old]] for old in found if read[RENAMED[old]] is not None}
    report = reporter(quiet=given.get("quiet", False))
    return renamed(now | found, lambda old, new: report(f"{flag(old)} is called {flag(new)} now"))


def _completed(option: Option) -> Callable[[str], list[str]] | None:
    """What a shell may write for the beginning of a value; None where it knows no values."""
    if not option.names():
        return None
    return lambda incomplete: [name for name in option.names() if name.startswith(incomplete)]


def _read(name: str, value: Any) -> Any:
    """What the command line gives as what `Request` takes."""
    if name == "prior" and value not in (None, SHIPPED):
        return str(path(value))
    read = OPTIONS[name].read
    return value if read is None or not isinstance(value, str) else read(value)


def check_read(verb: Verb, unread: str, **given: Any) -> None:
    """InvalidValueError for an option of the verb that has another value than its default, where nothing
    would read it. unread: why, and what to pass instead, in words that follow the option."""
    parameters = inspect.signature(verb).parameters
    for name, value in given.items():
        if value != parameters[name].default:
            said = " ".join(map(str, value)) if isinstance(value, list) else value
            raise InvalidValueError(f"{flag(name)} {said} {unread}, or drop {flag(name)}")


#: Images and where they come from.
DATA = ("data", "data_dir", "channels_in")
#: What runs.
MACHINE = ("backend", "device", "threads")
#: Another size of supernet.
SIZE = ("supernet_channels", "supernet_cells", "supernet_resolution", "resolution")

#: Files of an architecture, in words; see `znas.run_folder`.
ARCHITECTURE = "architecture.py, architecture.untrained.onnx, preprocess.json"

Table = Annotated[
    Path | None,
    typer.Option(parser=path, help="CSV of architectures and their accuracies in percent, or a folder."),
]
Column = Annotated[str | None, typer.Option(help="Column of the table; its first accuracy by default.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no remarks on stderr.")]

SpaceName = Annotated[str, typer.Argument(help="Search space, by name or package.module:Name.")]
#: The size of a trainable network.
Classes = Annotated[int, typer.Option(help="Outputs of the classifier.")]
Resolution = Annotated[int, typer.Option(help="Side of the images in pixels.")]
ChannelsIn = Annotated[int, typer.Option(help="Channels of the images.")]
Width = Annotated[int | None, typer.Option(help="Width; by default that of the community's training.")]
Depth = Annotated[
    int | None, typer.Option(help="Depth, as the space counts; by default that of the training.")
]
