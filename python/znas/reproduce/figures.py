"""Pictures of what the tables measured, drawn from the files that they wrote."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from znas.files import Album
from znas.output import Figure
from znas.reproduce.drawings import (
    draw_accuracies,
    draw_correlations,
    draw_cost,
    draw_scatter,
    scores_of,
)
from znas.reproduce.folder import SCORES, SEARCHES
from znas.reproduce.trials import MOST
from znas.selection.criteria import Floats
from znas.shape import Each, Either, Many, Number, Shape, misshapen
from znas_engine import paths, strict_json
from znas_engine.errors import DataError, InvalidValueError, in_short

SCORES_FILE, ENVIRONMENTS_FILE = "correlation-scores.csv", "correlation-environments.csv"
#: What a picture can show: rows, columns, and their numbers.
ROWS, COLUMNS = 200, 20
LARGEST = 1e200
_VALUE, _TIME, _TAU = Number(-1e12, 1e12), Number(0, 1e12), Number(-1 - 1e-9, 1 + 1e-9)
_PUBLISHED = {
    "method": str,
    "accuracy": Each(Many(Either(_VALUE), 2, 2)),
    "seconds": Either(_TIME),
}
#: Tables of what searches found, and their pictures of accuracy against cost.
FOUND = {"table2": "figure-cost.png", "table-macro": "figure-cost-macro.png"}
#: What is drawn of these and of correlation.json.
TABLE2 = {
    "rows": Many(
        {
            "row": str,
            "accuracy": Each(
                {
                    "values": Many(_VALUE, 1, MOST),
                    "mean": _VALUE,
                    **dict.fromkeys(("std", "low", "high"), Either(_VALUE)),
                }
            ),
            "seconds": {"total": {"mean": _TIME}},
            "published": Either(_PUBLISHED),
        },
        1,
        ROWS,
    ),
    "published": Many(_PUBLISHED, 0, ROWS),
}
CORRELATION = {
    "space?": str,
    "accuracies?": str,
    "rows": Many(
        {
            **dict.fromkeys(("score", "protocol", "column"), str),
            "kendall": dict.fromkeys(("value", "low", "high"), _TAU),
            "published_kendall": Either(_TAU),
        },
        1,
        ROWS * COLUMNS,
    ),
}


def figures(folder: Path) -> list[Path]:
    """The figures of everything that `folder` holds; returns the files written.

    Raises InvalidValueError where it holds neither table 2 nor a correlation; DataError where they are not
    as `reproduce` writes them; StorageError.
    """
    drawings: dict[str, Callable[[], Figure]] = {}
    album = Album(folder, (SEARCHES, SCORES))
    for name, cost in FOUND.items():
        path = folder / f"{name}.json"
        if not paths.is_file(path):
            continue
        data = load(path, TABLE2)
        columns = {tuple(row["accuracy"]) for row in data["rows"]}
        if len(columns) != 1 or len(next(iter(columns))) > COLUMNS:
            raise _damaged(path, f"its rows have not the same up to {COLUMNS} columns")
        if any(columns.pop()):
            drawings[f"{name}.png"] = partial(draw_accuracies, data, f"{name}.png")
            drawings[cost] = partial(draw_cost, data, cost)
    if paths.is_file(folder / "correlation.json"):
        data = load(folder / "correlation.json", CORRELATION)
        if len({row["column"] for row in data["rows"]}) > COLUMNS or len(scores_of(data)) > 2 * COLUMNS:
            raise _damaged(folder / "correlation.json", f"it has more than {COLUMNS} columns")
        drawings["correlation.png"] = partial(draw_correlations, data)
        if paths.is_file(folder / SCORES_FILE):
            drawings["figure-scatter.png"] = partial(_scatter, folder, data)
    if not drawings:
        raise InvalidValueError(
            f"{folder} holds no accuracies to draw: run znas-engine reproduce table2, table-macro or "
            "correlation with --table and the same --out first"
        )
    album.check(*drawings)
    drawn = [draw() for draw in drawings.values()]  # all of them, or none is written
    return [album.write(figure.name, figure.png) for figure in drawn]


def _columns(path: Path, names: list[str]) -> dict[str, Floats]:
    try:
        text = paths.read(path, "the scores", error=DataError).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
        return {name: np.array([_number(row[name]) for row in rows]) for name in names}
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(path, in_short(error)) from error


def _number(text: str) -> float:
    """Finite, and such that a picture can show it."""
    value = float(text)
    if not math.isfinite(value) or abs(value) > LARGEST:
        raise ValueError(f"{text[:40]!r} is no number to draw")
    return value


def _scatter(folder: Path, data: Mapping[str, Any]) -> Figure:
    """Of the first accuracy column."""
    names, column = scores_of(data), data["rows"][0]["column"]
    return draw_scatter(_columns(folder / SCORES_FILE, [*names, column]), names, column)


def load(path: Path, shape: Shape) -> dict[str, Any]:
    found = strict_json.parse(paths.read(path, "the result", error=DataError), str(path), DataError)
    if (wrong := misshapen(found, shape)) is not None:
        raise _damaged(path, wrong)
    data: dict[str, Any] = found
    return data


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged ({why}); run reproduce again")
