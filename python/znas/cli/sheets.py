"""What the tables of `reproduce` share: where they go, and how they are saved and shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from znas.cli.console import show
from znas.cli.options import CLUSTER, DATA, MACHINE, SIZE, path
from znas_engine.errors import ZnasError

if TYPE_CHECKING:
    from znas.files import Album
    from znas.output import Figure
    from znas.reproduce.sheet import Sheet

Out = Annotated[
    Path,
    typer.Option(
        parser=path,
        help="Folder for Markdown, CSV, JSON, PNG and work files; give it again to resume or add to it.",
    ),
]
Seeds = Annotated[int, typer.Option(help="Repeats, each with its own weights, images and draws.")]
TableFile = Annotated[
    Path | None,
    typer.Option(
        parser=path,
        help="CSV of trained architectures: a column of architectures, any number of accuracies; or the "
        "folder of a benchmark that the space reads.",
    ),
]
Rows = Annotated[
    str | None,
    typer.Option(help="Rows to run, separated by commas; all, or the usual ones of the table, by default."),
]
#: What every table asks of its searches.
SEARCHES = (*DATA, *MACHINE, *CLUSTER, "images", "seed", *SIZE)
USUAL = {"preset": "naswot", "data": "cifar10", "device": "default", "images": 64}
Prior = Annotated[
    str, typer.Option(help="Prior of the rows that use one: a file of `prior fit`, or 'shipped'.")
]


def save(
    sheet: Sheet,
    album: Album,
    name: str,
    draw: Callable[[dict[str, Any]], Figure] | None = None,
    others: Mapping[str, bytes] = MappingProxyType({}),
    *,
    as_json: bool,
) -> None:
    """Into the folder; what cannot be written is at least printed."""
    try:
        for file, data in others.items():
            album.write(file, data)
        sheet.save(album, name, draw)
    except ZnasError:
        show_sheets([sheet], as_json=as_json)
        raise


def show_sheets(sheets: list[Sheet], *, as_json: bool) -> None:
    """On the terminal, or as one JSON object in which later sheets are fields of the first."""
    if as_json:
        first, *rest = (dict(sheet.document().data) for sheet in sheets)
        typer.echo(json.dumps(first | {sheet["table"]: sheet for sheet in rest}, indent=1))
        return
    for sheet in sheets:
        typer.echo(f"{sheet.title}\n")
        show(sheet.document())


def names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]
