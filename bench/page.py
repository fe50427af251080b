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
from znas.output.figures import canvas, label, png
from znas_engine import paths

Row = dict[str, Any]
#: A curve's axis, and what a point of it is.
AXES = {"masks": "seconds per call", "images": "seconds per pass", "threads": "seconds per pass"}


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
    rows = [row for row in result["rows"] if row["part"] == "passes"]
    pictures = []
    if rows:
        pictures = [Figure(picture.name, draw(rows), f"Ratios to {BASELINE} and scaling curves")]
    page = document(result, pictures)
    if alone:
        write_file(where, html.render(page).encode())
        return
    for figure in pictures:
        write_file(picture, figure.png)
    write_file(where, markdown.render(page).encode())


def draw(rows: Sequence[Row]) -> bytes:
    """One row of panels per space: how many times faster than the baseline, then a curve per axis."""
    spaces = list(dict.fromkeys(row["space"] for row in rows))
    scaled = [axis for axis in AXES if len({row[axis] for row in rows}) > 1]
    width, height = 6 + 4 * len(scaled), 4.2 * len(spaces)
    figure, panels = canvas(len(spaces), 1 + len(scaled), width=width, height=height)
    for space, line in zip(spaces, panels, strict=True):
        of_space = [row for row in rows if row["space"] == space]
        bars(line[0], of_space)
        for axes, axis in zip(line[1:], scaled, strict=True):
            curve(axes, of_space, axis)
    return png(figure)


def bars(axes: Any, rows: Sequence[Row]) -> None:
    """Ratios of every contender and kind of mask, at the largest thread count and the usual size."""
    usual = usual_size(rows)
    shown = [row for row in rows if all(row[name] == value for name, value in usual.items())]
    kinds = list(dict.fromkeys(row["kind"] for row in shown))
    labels: list[str] = []
    for row in shown:
        ratio = speedup_of(row, rows)
        if ratio is not None:
            errors = [[ratio.median - ratio.low], [ratio.high - ratio.median]]
            colour = f"C{kinds.index(row['kind'])}"
            axes.barh(len(labels), ratio.median - 1, left=1, xerr=errors, color=colour)
            labels.append(label(f"{row['contender']}, {row['kind']}"))
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xlabel(f"times faster than {BASELINE}")
    facts = [f"{value} {name}" for name, value in usual.items()]
    axes.set_title(", ".join([label(rows[0]["space"]), *facts]))


def curve(axes: Any, rows: Sequence[Row], axis: str) -> None:
    """Time against one axis under do-masks, the others as usual."""
    usual = {name: value for name, value in usual_size(rows).items() if name != axis}
    points: dict[str, dict[int, Middle]] = {}
    for row in rows:
        if row["kind"] == "do" and row["seconds"] and all(row[n] == value for n, value in usual.items()):
            per = row["masks"] if axis == "masks" else 1
            time = middle([per * seconds for seconds in row["seconds"]])
            points.setdefault(row["contender"], {})[row[axis]] = time
    for contender, times in points.items():
        xs = sorted(times)
        if len(xs) > 1:
            axes.plot(xs, [times[x].median for x in xs], marker="o", label=label(contender))
            axes.fill_between(xs, [times[x].low for x in xs], [times[x].high for x in xs], alpha=0.2)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel(AXES[axis])
    axes.set_title(f"do, {', '.join(f'{value} {name}' for name, value in usual.items())}")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def usual_size(rows: Sequence[Row]) -> dict[str, int]:
    """The size of the table of passes: that of most rows, on as many threads as were measured."""
    sizes = [(row["images"], row["masks"]) for row in rows]
    images, masks = max(dict.fromkeys(sizes), key=sizes.count)
    return {"images": images, "masks": masks, "threads": max(row["threads"] for row in rows)}


if __name__ == "__main__":
    one_line(main)
