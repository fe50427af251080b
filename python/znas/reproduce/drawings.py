"""Pictures of what the tables measured: each function takes the plain data that a table wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from znas.output import Figure
from znas.output.figures import (
    QUIET,
    SERIES,
    TEXT,
    canvas,
    label,
    legend,
    place_labels,
    png,
    style,
)
from znas.output.scales import beyond, decades, focus, in_digits, plain_logarithmic
from znas.reproduce.published import column_key
from znas.selection.criteria import Floats

#: Characters of a name in a picture, and seconds below which a search is drawn as fast as that.
NAME, FASTEST = 40, 0.01
#: Inches of a picture, at least and at most, where it is as high as what is in it.
LOW, HIGH = 2.4, 9.0
#: Panels beside one another, where there may be many.
WIDE = 4
HERE, ELSEWHERE = SERIES[0], SERIES[1]
_OPEN = {"marker": "D", "color": ELSEWHERE, "fillstyle": "none", "linestyle": "none"}


def draw_accuracies(data: Mapping[str, Any], name: str = "table2.png") -> Figure:
    """table2.png, table-macro.png"""
    return Figure(name, png(accuracies(data)), "Accuracies over seeds, and published ones")


@style()
def accuracies(data: Mapping[str, Any]) -> Any:
    """Per accuracy column, each row's seeds, mean and interval, and what was published. A seed far below the
    rest is at the border, with its accuracy."""
    rows = data["rows"]
    columns = list(rows[0]["accuracy"])
    drawn, panels = canvas(1, len(columns), width=7 * len(columns), height=max(LOW, 1.4 + 0.27 * len(rows)))
    for axes, column in zip(panels[0], columns, strict=True):
        found = [row["accuracy"][column] for row in rows]
        published = [(row["published"] or {"accuracy": {}})["accuracy"] for row in rows]
        reported = [each.get(column_key(column)) for each in published]
        seeds = [value for each in found for value in each["values"]]
        means = [each["mean"] for each in found] + [each[0] for each in reported if each]
        low, high = focus(seeds, keep=means, least=0, most=100)
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.4, -0.6), xlabel=label(f"{column} (%)"))
        axes.set_yticks(range(len(rows)), [label(row["row"], NAME) for row in rows])
        axes.grid(axis="y")
        for y, each in enumerate(found):
            ends = _ends(each, low, high)
            axes.plot(ends, [y, y], color=HERE)
            shown = [value for value in each["values"] if low <= value <= high]
            if shown:
                axes.plot(shown, [y] * len(shown), ".", color=QUIET, label="a seed", clip_on=False)
            axes.plot(each["mean"], y, "o", color=HERE, label=_MEAN, clip_on=False)
            if reported[y]:
                axes.plot(reported[y][0], y, **_OPEN, label="published", clip_on=False)
    legend(drawn)
    for axes, column in zip(panels[0], columns, strict=True):
        _outside(axes, [row["accuracy"][column] for row in rows])
    return drawn


_MEAN = "mean, 95 % interval over seeds"


def _ends(found: Mapping[str, Any], low: float, high: float) -> list[float]:
    """Of an interval, as far as the axis goes."""
    ends = (found["low"], found["high"]) if found["low"] is not None else (found["mean"],) * 2
    return [min(max(end, low), high) for end in ends]


def _outside(axes: Any, found: Sequence[Mapping[str, Any]]) -> None:
    """Triangles at the border, with the values that lie behind it."""
    low, high = axes.get_xlim()
    points, texts, avoid = [], [], []
    for y, each in enumerate(found):
        start, end = _ends(each, low, high)
        avoid += [(x, float(y)) for x in (*np.linspace(start, end, 12), *each["values"]) if low <= x <= high]
        for border, mark in ((low, "<"), (high, ">")):
            out = sorted(value for value in each["values"] if beyond(value, low, high) == (border, mark))
            if out:
                axes.plot(border, y, mark, color=QUIET, clip_on=False)
                more = f" and {len(out) - 3} more" if len(out) > 3 else ""
                points.append((border, float(y)))
                texts.append(", ".join(f"{value:.1f}" for value in out[:3]) + more)
    place_labels(axes, points, texts, avoid=avoid)


def draw_cost(data: Mapping[str, Any], name: str = "figure-cost.png") -> Figure:
    """figure-cost.png: accuracy against seconds of search, measured here and published elsewhere."""
    columns = list(data["rows"][0]["accuracy"])
    panels = []
    for column in columns:
        here = [
            (r["row"], r["seconds"]["total"]["mean"], r["accuracy"][column]["mean"]) for r in data["rows"]
        ]
        reported = [(e, e["accuracy"].get(column_key(column))) for e in data["published"]]
        known = [(e["method"], e["seconds"], value[0]) for e, value in reported if value and e["seconds"]]
        panels.append((f"{column} (%)", here, known))
    drawn, missing = against_seconds(panels, most=100)
    return Figure(name, png(drawn), f"Accuracy against seconds of search{_unnamed(missing)}")


def draw_sizes(data: Mapping[str, Any]) -> Figure:
    """table1.png, table3.png: parameters of what was found against seconds of search."""
    here = [(r["row"], r["seconds"]["total"]["mean"], r["params"]["mean"] / 1e6) for r in data["rows"]]
    known = [(e["method"], e["seconds"], e["params_millions"]) for e in data["published"]]
    known = [each for each in known if None not in each]
    drawn, missing = against_seconds([("parameters of the trained network (M)", here, known)])
    return Figure(
        f"{data['table']}.png", png(drawn), f"Parameters against seconds of search{_unnamed(missing)}"
    )


def _unnamed(missing: int) -> str:
    return f"; {missing} names had no room" if missing else ""


Named = Sequence[tuple[str, float, float]]


@style()
def against_seconds(
    panels: Sequence[tuple[str, Named, Named]], *, most: float | None = None
) -> tuple[Any, int]:
    """(drawing, names for which there was no room). panels: (what is drawn, measured, published), each of
    (name, seconds, value). most: what a value cannot exceed."""
    count = max(len(here) + len(known) for _, here, known in panels)
    drawn, row = canvas(
        1, len(panels), width=7.5 * len(panels), height=min(max(5.0, 1.5 + 0.17 * count), HIGH)
    )
    for axes, (what, here, known) in zip(row[0], panels, strict=True):
        low, high = focus([value for _, _, value in (*here, *known)], least=0, most=most)
        seconds = decades([time for _, time, _ in (*here, *known)], FASTEST)
        plain_logarithmic(axes, "x", *seconds)
        axes.set(ylim=(low, high), xlabel="search, seconds", ylabel=label(what))
        axes.grid()
        filled = {"marker": "o", "color": HERE, "linestyle": "none"}
        for points, look, name in ((here, filled, _HERE), (known, _OPEN, _ELSEWHERE)):
            for _, time, value in points:
                y, mark = beyond(value, low, high)
                shape = look | ({"marker": "v" if mark == "<" else "^"} if mark else {})
                axes.plot(max(time, FASTEST), y, **shape, label=None if mark else name, clip_on=False)
    legend(drawn)
    missing = 0
    for axes, (_, here, known) in zip(row[0], panels, strict=True):
        low, high = axes.get_ylim()
        places, texts = [], []
        for name, time, value in (*here, *known):
            y, mark = beyond(value, low, high)
            places.append((max(time, FASTEST), y))
            texts.append(label(name, NAME) + (f" ({in_digits(round(value, 2))})" if mark else ""))
        missing += len(place_labels(axes, places, texts))
    return drawn, missing


_HERE, _ELSEWHERE = "this machine", "published, each on its own GPU"


def draw_correlations(data: Mapping[str, Any], name: str = "correlation.png") -> Figure:
    """correlation.png"""
    caption = "Kendall's tau with its interval, and published ones"
    return Figure(name, png(correlations(data)), caption)


@style()
def correlations(data: Mapping[str, Any]) -> Any:
    """Kendall's tau of every score with its interval, one colour per population, and the published one."""
    columns = list(dict.fromkeys(entry["column"] for entry in data["rows"]))
    scores = list(dict.fromkeys(entry["score"] for entry in data["rows"]))
    protocols = list(dict.fromkeys(entry["protocol"] for entry in data["rows"]))
    taus = [entry["kendall"][end] for entry in data["rows"] for end in ("low", "high")]
    published = [t for entry in data["rows"] if (t := entry["published_kendall"]) is not None]
    ends = focus([], keep=[0.0, *taus, *published], least=-1, most=1)
    height = max(LOW, 1.4 + (0.12 + 0.13 * len(protocols)) * len(scores))
    drawn, panels = canvas(1, len(columns), width=7.5 * len(columns), height=height)
    for axes, column in zip(panels[0], columns, strict=True):
        axes.set(xlim=ends, ylim=(len(scores) - 0.4, -0.6), xlabel=label(f"Kendall's tau with {column}"))
        axes.set_yticks(range(len(scores)), [label(score, NAME) for score in scores])
        axes.grid(axis="y")
        axes.axvline(0, color=QUIET, linewidth=0.8)
        places = []
        for entry in (entry for entry in data["rows"] if entry["column"] == column):
            place = protocols.index(entry["protocol"])
            colour = _PROTOCOLS[place % len(_PROTOCOLS)]
            y = scores.index(entry["score"]) + 0.5 * (place + 0.5 - len(protocols) / 2) / len(protocols)
            places.append((entry, y))
            tau = entry["kendall"]
            axes.plot([tau["low"], tau["high"]], [y, y], color=colour)
            shape = _SHAPES[place % len(_SHAPES)]
            own = f"{label(entry['protocol'], NAME)} architectures"
            axes.plot(tau["value"], y, shape, color=colour, label=own, markersize=5, clip_on=False)
        for entry, y in places:
            if entry["published_kendall"] is not None:
                axes.plot(entry["published_kendall"], y, **_OPEN, label="published", clip_on=False)
    legend(drawn)
    return drawn


_PROTOCOLS, _SHAPES = (HERE, *SERIES[3:]), "osv^<>"


def scores_of(data: Mapping[str, Any]) -> list[str]:
    """The single scores of a correlation."""
    return list(dict.fromkeys(n for entry in data["rows"] for n in entry["score"].split("+")))


def draw_scatter(values: Mapping[str, Floats], names: Sequence[str], column: str) -> Figure:
    """figure-scatter.png"""
    drawn = scatter(values, names, column)
    return Figure("figure-scatter.png", png(drawn), "Accuracy against each score, a point per architecture")


@style()
def scatter(values: Mapping[str, Floats], names: Sequence[str], column: str) -> Any:
    """Accuracy against each score, one point per architecture. values: by name of score and column."""
    wide = min(len(names), WIDE)
    tall = -(-len(names) // wide)
    drawn, panels = canvas(tall, wide, width=3.4 * wide, height=0.4 + 3 * tall)
    low, high = focus(values[column], least=0, most=100)
    for place, axes in enumerate(panels.ravel()):
        if place >= len(names):
            axes.set_axis_off()
            continue
        name, x = names[place], values[names[place]]
        left, right = focus(x)
        out = int(np.sum((x < left) | (x > right) | (values[column] < low) | (values[column] > high)))
        axes.plot(x, values[column], ".", color=HERE, markersize=2, alpha=0.3)
        axes.set(xlim=(left, right), ylim=(low, high), xlabel=label(name, NAME))
        axes.locator_params(axis="x", nbins=4)
        axes.xaxis.set_major_formatter("{x:.4g}")
        if place % wide == 0:
            axes.set_ylabel(label(f"{column} (%)", NAME))
        if out:
            axes.set_title(f"{out:,} of {len(x):,} beyond the axes", fontsize=7, color=TEXT)
    return drawn


def draw_curves(data: Mapping[str, Any]) -> Figure:
    """ablation.png"""
    return Figure("ablation.png", png(curves(data)), "Accuracy of what is found against masked passes")


#: What the right panel shows; the left one shows the other ways, and both those at random.
_OF_ARCHITECTURES, _AT_RANDOM = ("shortlist", "active", "active-do"), "random"
#: Of curves: without the greys, which are those at random.
_COLOURS = tuple(colour for colour in (*SERIES, TEXT) if colour != SERIES[4])


@style()
def curves(data: Mapping[str, Any]) -> Any:
    """Mean accuracy against passes with its interval as a band, as far as the axis goes, which is that of the
    seeds: ways that score operations, and ways that score architectures, both beside architectures at
    random."""
    rows = data["rows"]
    found = [at for row in rows for at in row["budgets"]]
    seeds = [value for at in found for value in at["values"]]
    limits = focus(seeds, keep=[at["mean"] for at in found], least=0, most=100)
    names = [row["way"] for row in rows if row["way"] != _AT_RANDOM]
    drawn, panels = canvas(1, 2, width=13, height=5)
    for axes, right in zip(panels[0], (False, True), strict=True):
        plain_logarithmic(axes, "x", *decades(data["passes"], 1))
        axes.set(ylim=limits, xlabel="masked passes, at most", ylabel="accuracy (%)")
        axes.grid()
        for row in rows:
            if row["way"] == _AT_RANDOM:
                _curve(axes, row, QUIET, "x")
            elif (row["way"] in _OF_ARCHITECTURES) == right:
                place = names.index(row["way"])
                _curve(axes, row, _COLOURS[place % len(_COLOURS)], _MARKS[place % len(_MARKS)])
    legend(drawn, columns=5)
    return drawn


_MARKS = "osv^<>DPX"


def _curve(axes: Any, row: Mapping[str, Any], colour: str, mark: str) -> None:
    x = [at["budget"] for at in row["budgets"]]
    if all(at["low"] is not None for at in row["budgets"]):
        low, high = ([at[end] for at in row["budgets"]] for end in ("low", "high"))
        axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
    means = [at["mean"] for at in row["budgets"]]
    axes.plot(x, means, color=colour, marker=mark, markersize=5, linewidth=1.4, label=label(row["way"], NAME))
