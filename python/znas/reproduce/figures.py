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
from znas.output.figures import canvas, label, png
from znas.reproduce.folder import SCORES, SEARCHES
from znas.reproduce.published import column_key
from znas.reproduce.trials import MOST
from znas.selection.criteria import Floats
from znas.shape import Each, Either, Many, Number, Shape, misshapen
from znas_engine import paths, strict_json
from znas_engine.errors import DataError, InvalidValueError, in_short

SECONDS = "search, seconds (circles: this machine; diamonds: published, each on its own GPU)"
SCORES_FILE = "correlation-scores.csv"
#: What a picture can show: rows, columns, and their numbers.
ROWS, COLUMNS = 200, 20
LARGEST = 1e200
_VALUE, _TIME, _TAU = Number(-1e12, 1e12), Number(0, 1e12), Number(-1 - 1e-9, 1 + 1e-9)
_PUBLISHED = {
    "method": str,
    "accuracy": Each(Many(Either(_VALUE), 2, 2)),
    "seconds": Either(_TIME),
}
#: What is drawn of table2.json and of correlation.json.
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
    "rows": Many(
        {
            **dict.fromkeys(("score", "protocol", "column"), str),
            "kendall": dict.fromkeys(("value", "low", "high"), _TAU),
            "published_kendall": Either(_TAU),
        },
        1,
        ROWS * COLUMNS,
    )
}


def figures(folder: Path) -> list[Path]:
    """The figures of everything that `folder` holds; returns the files written.

    Raises InvalidValueError where it holds neither table 2 nor a correlation; DataError where they are not
    as `reproduce` writes them; StorageError.
    """
    drawings: dict[str, Callable[[], Figure]] = {}
    album = Album(folder, (SEARCHES, SCORES))
    if paths.is_file(folder / "table2.json"):
        data = load(folder / "table2.json", TABLE2)
        columns = {tuple(row["accuracy"]) for row in data["rows"]}
        if len(columns) != 1 or len(next(iter(columns))) > COLUMNS:
            raise _damaged(folder / "table2.json", f"its rows have not the same up to {COLUMNS} columns")
        if any(columns.pop()):
            drawings["table2.png"] = partial(draw_accuracies, data)
            drawings["figure-cost.png"] = partial(draw_cost, data)
    if paths.is_file(folder / "correlation.json"):
        data = load(folder / "correlation.json", CORRELATION)
        if len({row["column"] for row in data["rows"]}) > COLUMNS or len(scores_of(data)) > 2 * COLUMNS:
            raise _damaged(folder / "correlation.json", f"it has more than {COLUMNS} columns")
        drawings["correlation.png"] = partial(draw_correlations, data)
        if paths.is_file(folder / SCORES_FILE):
            drawings["figure-scatter.png"] = partial(draw_scatter, folder, data)
    if not drawings:
        raise InvalidValueError(
            f"{folder} holds no accuracies to draw: run znas-engine reproduce table2 or correlation with "
            "--table and the same --out first"
        )
    album.check(*drawings)
    drawn = [draw() for draw in drawings.values()]  # all of them, or none is written
    return [album.write(figure.name, figure.png) for figure in drawn]


def draw_accuracies(data: dict[str, Any]) -> Figure:
    """table2.png: per accuracy column, each row's seeds, mean and interval, and what was published."""
    rows = data["rows"]
    columns = list(rows[0]["accuracy"])
    figure, axes = _axes(len(columns), 1 + 0.3 * len(rows))
    for axis, column in zip(axes, columns, strict=True):
        for y, row in enumerate(rows):
            found = row["accuracy"][column]
            axis.plot(found["values"], [y] * len(found["values"]), ".", color="0.7", zorder=1)
            if found["low"] is not None:
                axis.plot([found["low"], found["high"]], [y, y], color="C0", zorder=2)
            axis.plot(found["mean"], y, "o", color="C0", label="mean, 95 % interval" if y == 0 else None)
            reported = (row["published"] or {"accuracy": {}})["accuracy"].get(column_key(column))
            if reported:
                axis.plot(reported[0], y, "D", color="C3", fillstyle="none", zorder=3)
        axis.plot([], [], "D", color="C3", fillstyle="none", label="published")
        axis.set_xlabel(label(f"{column} (%)"))
        axis.set_yticks(range(len(rows)), [label(row["row"]) for row in rows])
        axis.legend(fontsize=8)
    axes[0].invert_yaxis()
    return Figure("table2.png", png(figure), "Accuracies over seeds, and published ones")


def draw_cost(data: dict[str, Any]) -> Figure:
    """figure-cost.png: accuracy against seconds of search, measured here and published elsewhere."""
    columns = list(data["rows"][0]["accuracy"])
    figure, axes = _axes(len(columns), 5)
    for axis, column in zip(axes, columns, strict=True):
        for row in data["rows"]:
            x, y = row["seconds"]["total"]["mean"], row["accuracy"][column]["mean"]
            axis.plot(x, y, "o", color="C0")
            _label(axis, row["row"], x, y, "C0")
        for entry in data["published"]:
            reported = entry["accuracy"].get(column_key(column))
            if reported and entry["seconds"]:
                axis.plot(entry["seconds"], reported[0], "D", color="C3", fillstyle="none")
                _label(axis, entry["method"], entry["seconds"], reported[0], "C3")
        axis.set_xscale("log")
        axis.set_xlabel(SECONDS)
        axis.set_ylabel(label(f"{column} (%)"))
    return Figure("figure-cost.png", png(figure), "Accuracy against seconds of search")


def draw_sizes(data: dict[str, Any]) -> Figure:
    """table1.png, table3.png: parameters of what was found against seconds of search."""
    figure, (axis,) = _axes(1, 5)
    measured = [(r["row"], r["seconds"]["total"]["mean"], r["params"]["mean"] / 1e6) for r in data["rows"]]
    reported = [(e["method"], e["seconds"], e["params_millions"]) for e in data["published"]]
    for points, marker, colour in ((measured, "o", "C0"), (reported, "D", "C3")):
        for name, x, y in points:
            if y is not None:
                axis.plot(x, y, marker, color=colour, fillstyle="none" if marker == "D" else "full")
                _label(axis, name, x, y, colour)
    axis.set_xscale("log")
    axis.set_xlabel(SECONDS)
    axis.set_ylabel("parameters of the trained network (M)")
    return Figure(f"{data['table']}.png", png(figure), "Parameters against seconds of search")


def draw_correlations(data: dict[str, Any]) -> Figure:
    """correlation.png: Kendall's tau of every score with its interval, and the published one."""
    columns = list(dict.fromkeys(entry["column"] for entry in data["rows"]))
    figure, axes = _axes(len(columns), 4)
    for axis, column in zip(axes, columns, strict=True):
        own = [entry for entry in data["rows"] if entry["column"] == column]
        for y, entry in enumerate(own):
            tau = entry["kendall"]
            axis.plot([tau["low"], tau["high"]], [y, y], color="C0")
            axis.plot(tau["value"], y, "o", color="C0")
            if entry["published_kendall"] is not None:
                axis.plot(entry["published_kendall"], y, "D", color="C3", fillstyle="none")
        axis.set_yticks(range(len(own)), [label(f"{e['score']} ({e['protocol']})") for e in own])
        axis.invert_yaxis()
        axis.set_xlabel(label(f"Kendall tau with {column} (diamonds: published)"))
    return Figure("correlation.png", png(figure), "Kendall's tau with its interval, and published ones")


def scores_of(data: Mapping[str, Any]) -> list[str]:
    """The single scores of a correlation."""
    return list(dict.fromkeys(n for entry in data["rows"] for n in entry["score"].split("+")))


def draw_scatter(folder: Path, data: dict[str, Any]) -> Figure:
    """figure-scatter.png: accuracy against each score, one point per architecture, first accuracy column."""
    names = scores_of(data)
    column = data["rows"][0]["column"]
    values = _columns(folder / SCORES_FILE, [*names, column])
    figure, axes = _axes(len(names), 4, width=4)
    for axis, name in zip(axes, names, strict=True):
        axis.plot(values[name], values[column], ".", markersize=2, alpha=0.3)
        axis.set_xlabel(label(name))
        axis.set_ylabel(label(f"{column} (%)"))
    return Figure("figure-scatter.png", png(figure), "Accuracy against each score")


def _label(axis: Any, text: str, x: float, y: float, colour: str) -> None:
    axis.annotate(label(text), (x, y), fontsize=6, color=colour, xytext=(3, 3), textcoords="offset points")


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


def load(path: Path, shape: Shape) -> dict[str, Any]:
    found = strict_json.parse(paths.read(path, "the result", error=DataError), str(path), DataError)
    if (wrong := misshapen(found, shape)) is not None:
        raise _damaged(path, wrong)
    data: dict[str, Any] = found
    return data


def _damaged(path: Path, why: str) -> DataError:
    return DataError(f"{path} is damaged ({why}); run reproduce again")


def _axes(count: int, height: float, width: float = 7) -> tuple[Any, list[Any]]:
    """(figure, panels side by side), in inches per panel."""
    drawn, axes = canvas(1, count, width=width * count, height=height)
    return drawn, list(axes[0])
