"""`znas-engine cache`: show, clean"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any

import typer

from znas.cli.console import finish
from znas.cli.options import Json
from znas.output import Document, Facts, Table
from znas_engine.arguments import number
from znas_engine.errors import InvalidValueError, one_line
from znas_engine.stored import Contents, Stored, contents
from znas_engine.stored import clean as remove

cache = typer.Typer(
    help="What is kept between runs: exported graphs, calibrations, plans. It may be deleted at any time.",
    rich_markup_mode=None,
)

Days = Annotated[float | None, typer.Option(help="Leave what was made in the last so many days.")]
DAY = 24 * 60 * 60


@cache.command()
def show(as_json: Json = False) -> None:
    """Say where the cache is, and what each kind of entry takes.

    \b
    Examples:
      znas-engine cache show
      ZNAS_CACHE=/scratch/me znas-engine cache show --json
    """
    found = contents()
    facts = _facts(found)
    finish(json.dumps(facts, indent=1) if as_json else _document(found, facts))


@cache.command()
def clean(older_than: Days = None, as_json: Json = False) -> None:
    """Remove the entries of the cache; what is not znas-engine's stays.

    A search that needs one of them makes it again.

    \b
    Examples:
      znas-engine cache clean
      znas-engine cache clean --older-than 30
    """
    before = None
    if older_than is not None:
        if number("older-than", older_than, "a number of days, 0 or more") < 0:
            raise InvalidValueError(
                f"`older-than` must be a number of days, 0 or more, but got {older_than:g}"
            )
        before = time.time() - older_than * DAY
    found = contents()
    removed = list(remove(found, before=before))
    entries = [stored for stored in removed if stored.entry]
    facts = {
        "folder": str(found.root),
        "entries": len(entries),
        "bytes": sum(stored.bytes for stored in removed),
        "left": len(found.ours) - len(removed),
        "others": found.others,
    }
    pairs = [("removed", f"{_counted(entries, removed)} from {one_line(str(found.root))}")]
    finish(json.dumps(facts, indent=1) if as_json else Document("The cache", [Facts(pairs + _others(found))]))


def _facts(found: Contents) -> dict[str, Any]:
    """Plain JSON."""
    kinds: dict[str, list[Stored]] = {}
    for stored in found.ours:
        kinds.setdefault(stored.kind, []).append(stored)
    return {
        "folder": str(found.root),
        "entries": sum(stored.entry for stored in found.ours),
        "bytes": sum(stored.bytes for stored in found.ours),
        "kinds": {
            kind: {
                "entries": sum(each.entry for each in stored),
                "bytes": sum(each.bytes for each in stored),
                "oldest": _day(min(each.made for each in stored)),
                "newest": _day(max(each.made for each in stored)),
            }
            for kind, stored in sorted(kinds.items())
        },
        "others": found.others,
    }


def _document(found: Contents, facts: dict[str, Any]) -> Document:
    entries = [stored for stored in found.ours if stored.entry]
    pairs = [
        ("cache", one_line(str(found.root))),
        ("holds", _counted(entries, found.ours)),
        *_others(found),
    ]
    rows = [
        [kind, f"{of['entries']:,}", size(of["bytes"]), of["oldest"], of["newest"]]
        for kind, of in facts["kinds"].items()
    ]
    tables = [Table(["kind", "entries", "size", "oldest", "newest"], rows)] if rows else []
    return Document("The cache", [Facts(pairs), *tables], facts)


def _counted(entries: Sequence[Stored], files: Sequence[Stored]) -> str:
    count = len(entries)
    return f"{count:,} {'entry' if count == 1 else 'entries'}, {size(sum(each.bytes for each in files))}"


def _others(found: Contents) -> list[tuple[str, str]]:
    """What is left alone."""
    if not found.others:
        return []
    return [("left", f"{found.others:,} file{'s' * (found.others > 1)} that znas-engine did not make")]


def size(count: int) -> str:
    """`512 B`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5:
            return f"{value:.3g} {unit}"
    return f"{value:,.0f} TB"


def _day(seconds: float) -> str:
    return date.fromtimestamp(seconds).isoformat()
