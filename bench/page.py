"""A result of `znas-engine bench` as a page: tables, ratios and scaling curves in one picture.

python bench/page.py RESULT.json PAGE.md        writes PAGE.md and PAGE.png beside it, both new
python bench/page.py RESULT.json PAGE.html      all in one file
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from znas.bench.contenders import BASELINE
from znas.bench.reading import one_line, read
from znas.bench.statistics import Middle, middle, speedup_of
from znas.bench.tables import document
from znas.files import check_new, write_file
from znas.output import Figure, html, markdown
from znas.output.figures import QUIET, SERIES, canvas, label, legend, png, style
from znas.output.scales import decades, plain_logarithmic
from znas_engine import paths

Row = dict[str, Any]
#: A curve's axis, and what a point of it is.
AXES = {"masks": "seconds per call", "images": "seconds per pass", "threads": "seconds per pass"}
#: Characters of a name.
NAME = 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("result", type=Path)
    parser.add_argument("page", type=Path)
    arguments = parser.parse_args()
    where = paths.named(arguments.page, "the page")
    alone = where.suffix == ".html"
    result = read(arguments.result)
    check_new(where)
    picture = where.with_name(f"{where.stem}.png")
    if not alone:
        check_new(picture)
    rows = passes(result)
    pictures = [draw(rows, picture.name)] if rows else []
    page = document(result, pictures)
    if alone:
        write_file(where, html.render(page).encode())
        return
    for figure in pictures:
        write_file(picture, figure.png)
    write_file(where, markdown.render(page).encode())


def passes(result: dict[str, Any]) -> list[Row]:
    """Of a result, what is drawn."""
    return [row for row in result["rows"] if row["part"] == "passes"]


def draw(rows: Sequence[Row], name: str) -> Figure:
    return Figure(name, png(drawing(rows)), f"Ratios to {BASELINE} and scaling curves")


@style()
def drawing(rows: Sequence[Row]) -> Any:
    """One row of panels per space: how many times faster than the baseline, then a curve per axis."""
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    scaled = [axis for axis in AXES if len({row[axis] for row in rows}) > 1]
    kinds, contenders = ([*dict.fromkeys(row[name] for row in rows)] for name in ("kind", "contender"))
    tallest = max(len(ratios([row for row in rows if row["space"] == space])) for space in spaces)
    width, height = 7 + 4.5 * len(scaled), 0.6 + max(1.2 + 0.26 * tallest, 3.4 if scaled else 0) * len(spaces)
    drawn, panels = canvas(len(spaces), 1 + len(scaled), width=width, height=height)
    for space, line in zip(spaces, panels, strict=True):
        of_space = [row for row in rows if row["space"] == space]
        dots(line[0], of_space, kinds)
        for axes, axis in zip(line[1:], scaled, strict=True):
            curve(axes, of_space, axis, contenders)
    legend(drawn)
    return drawn


def ratios(rows: Sequence[Row]) -> list[tuple[Row, Middle]]:
    """Of every contender and kind of mask, at the largest thread count and the usual size."""
    usual = usual_size(rows)
    shown = [row for row in rows if all(row[name] == value for name, value in usual.items())]
    found = [(row, speedup_of(row, rows)) for row in shown if row["contender"] != BASELINE]
    return [(row, ratio) for row, ratio in found if ratio is not None]


def dots(axes: Any, rows: Sequence[Row], kinds: Sequence[str]) -> None:
    """Ratios to the baseline with their intervals, and their numbers."""
    found = ratios(rows)
    for y, (row, ratio) in enumerate(found):
        place = kinds.index(row["kind"])
        look = {"color": SERIES[place % len(SERIES)], "label": label(f"{row['kind']} masks", NAME)}
        axes.plot([ratio.low, ratio.high], [y, y], color=look["color"])
        axes.plot(ratio.median, y, "os^Dv"[place % 5], **look)
    ends = [1.0, *(end for _, ratio in found for end in (ratio.low, ratio.median, ratio.high))]
    plain_logarithmic(axes, "x", *decades(ends, 1e-6))
    names = [f"{label(row['contender'], NAME)}  {ratio.median:.3g}" for row, ratio in found]
    axes.set_yticks(range(len(found)), names)
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.axvline(1, color=QUIET, linewidth=0.8)
    axes.grid(axis="y")
    axes.set_xlabel(f"times as fast as {BASELINE} (the line at 1)")
    facts = [f"{value} {name}" for name, value in usual_size(rows).items()]
    axes.set_title(", ".join([label(rows[0]["space"], NAME), *facts]))


def curve(axes: Any, rows: Sequence[Row], axis: str, contenders: Sequence[str]) -> None:
    """Time against one axis under do-masks, the others as usual."""
    usual = {name: value for name, value in usual_size(rows).items() if name != axis}
    points: dict[str, dict[int, Middle]] = {}
    for row in rows:
        if row["kind"] == "do" and row["seconds"] and all(row[n] == value for n, value in usual.items()):
            per = row["masks"] if axis == "masks" else 1
            time = middle([per * seconds for seconds in row["seconds"]])
            points.setdefault(row["contender"], {})[row[axis]] = time
    known = [(x, end) for times in points.values() for x, t in times.items() for end in (t.low, t.high)]
    for contender, times in points.items():
        xs = sorted(times)
        if len(xs) > 1:
            place = contenders.index(contender)
            colour = SERIES[place % len(SERIES)]
            look = {"color": colour, "marker": "osv^<>Dp"[place % 8], "label": label(contender, NAME)}
            axes.plot(xs, [times[x].median for x in xs], **look)
            axes.fill_between(
                xs, [times[x].low for x in xs], [times[x].high for x in xs], alpha=0.2, color=colour
            )
    plain_logarithmic(axes, "x", *decades([x for x, _ in known] or [1], 1e-6))
    plain_logarithmic(axes, "y", *decades([end for _, end in known] or [1], 1e-9))
    axes.set(xlabel=axis, ylabel=AXES[axis])
    axes.set_title(f"do masks, {', '.join(f'{value} {name}' for name, value in usual.items())}")


def usual_size(rows: Sequence[Row]) -> dict[str, int]:
    """The size of the table of passes: that of most rows, on as many threads as were measured."""
    sizes = [(row["images"], row["masks"]) for row in rows]
    images, masks = max(dict.fromkeys(sizes), key=sizes.count)
    return {"images": images, "masks": masks, "threads": max(row["threads"] for row in rows)}


if __name__ == "__main__":
    one_line(main)
