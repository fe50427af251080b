"""A result of `znas-engine bench` as it is read again: its shape, and that its rows fit one another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from znas.bench.instant import IMPORT
from znas.bench.statistics import identity
from znas.shape import COUNT, Each, Either, Many, Number, misshapen
from znas_engine import paths, strict_json
from znas_engine.errors import DataError, ZnasError

_SECONDS = Number(1e-9, 1e9)
_SAMPLES = Many(_SECONDS)
_ONE = Number(1, 2**31, whole=True)
_SIZE = Either(COUNT)
#: What every row may say, and says in this shape.
ROW = {
    "part": str,
    "contender": str,
    "seconds": _SAMPLES,
    "why?": str,
    **dict.fromkeys(("space?", "kind?", "device?", "dtype?", "cache?"), str),
    **dict.fromkeys(("images?", "masks?", "threads?"), _ONE),
    "p?": Number(0, 1),
}
#: What those of a part have to say.
PARTS: dict[str, dict[str, Any]] = {
    "peak": {"threads": _ONE, "dtype": str, "gflops": Number(0, 1e15)},
    "bandwidth": {"threads": _ONE, "gbytes": Number(0, 1e15)},
    "passes": {
        **dict.fromkeys(("space", "kind", "dtype"), str),
        **dict.fromkeys(("images", "masks", "threads"), _ONE),
        "latencies": _SAMPLES,
        "gmac": Many(Number(0, 1e15)),
        "argmax_agreement?": Number(0, 1),
        "prepare_seconds?": Number(0, 1e9),
        "batched?": bool,
    },
    "start": {
        **dict.fromkeys(("space", "cache"), str),
        "peak_bytes": Many(Either(COUNT)),
        "phases": Each(Many(Number(0, 1e9))),
    },
    "search": {
        "space": str,
        "p": Number(0, 1),
        "architectures": Many(str),
        "phases": Each(Many(Number(0, 1e9))),
    },
    "instant": {"space": str},
}
#: What a comparison looks at, and what a page shows besides.
COMPARED = {
    "version": str,
    "machine": dict,
    "plan": {"data": str, "channels": _SIZE, "cells": _SIZE, "resolution": _SIZE},
    "rows": Many(ROW, 0, 5000),
}
RESULT = COMPARED | {
    "commit": Either(str),
    "machine": {"model": str, "cores": COUNT, "isas": Many(str), "gpu?": {"name": str}},
    "versions": Each(str),
    "command": Many(str),
    "load?": Either(Number(0, 1e9)),
}
#: Spaces that a page can show.
SPACES = 20


def read(path: Path, *, shown: bool = True) -> dict[str, Any]:
    """The result; DataError of one line for what is none, or cannot be read.

    shown: whether all of it will be, not only the times of its rows compared.
    """
    data = paths.read(paths.named(path, "the result"), "the result", error=DataError)
    result: dict[str, Any] = strict_json.parse(data, f"the result {path}", DataError, nan=True)
    wrong = misshapen(result, RESULT if shown else COMPARED)
    if wrong is None and shown:
        wrong = next(_contradictions(result["rows"]), None)
    if wrong is not None:
        raise DataError(f"{path} is not a result of znas-engine bench ({wrong})")
    return result


def _contradictions(rows: list[dict[str, Any]]) -> Iterator[str]:
    """What rows need of themselves and of those that they are held against."""
    rounds: dict[Any, int] = {}
    imports = {row.get("space"): row for row in rows if _is_import(row)}
    for i, row in enumerate(rows):
        part, count, at = row["part"], len(row["seconds"]), f"rows[{i}]"
        if (wrong := misshapen(row, PARTS.get(part, {}), at)) is not None:
            yield wrong
        if not count and part != "instant":
            continue
        if part == "passes":
            group = identity(row | {"contender": "", "dtype": ""})
            if len(row["gmac"]) != count or rounds.setdefault(group, count) != count:
                yield f"`{at}` has other numbers of `seconds` than of `gmac`, or than the rows beside it"
        if part in ("start", "search") and not all(row["phases"].values()):
            yield f"`{at}.phases` has no samples"
        beside = imports.get(row.get("space"), {}).get("seconds", ())
        if part == "instant" and (not count or len(beside) != count):
            yield f"`{at}` has no samples, or no {IMPORT!r} beside it with as many"
    if sum(map(_is_import, rows)) > len(imports):
        yield f"`rows` has {IMPORT!r} of a space twice"
    if len({row.get("space") for row in rows}) > SPACES + 1:
        yield f"`rows` are of more than {SPACES} spaces"


def _is_import(row: dict[str, Any]) -> bool:
    return bool(row["part"] == "instant" and row["contender"] == IMPORT)


def one_line(main: Callable[[], None]) -> None:
    """Runs a script: a mistake of its user is one line and exit code 2."""
    try:
        main()
    except ZnasError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
