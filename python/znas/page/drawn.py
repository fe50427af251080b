"""The pictures of a page, drawn by Matplotlib as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from znas.output import Picture
from znas.output.figures import LINE, PAGE, QUIET, SERIES, TEXT, canvas, label, style, svg
from znas.page.cell import Cell
from znas.page.layout import Arrow, Box, folded, layered, longest_paths

#: Letters, around a text in its box, and around a picture, in points.
LETTERS, PAD_X, PAD_Y, MARGIN = 9.5, 8.0, 4.5, 5.0
#: Points to the inch.
INCH = 72.0
#: How strongly a box has the colour of its operation.
TINT = 0.16


@style()
def cell(found: Cell, caption: str) -> Picture | None:
    """A cell as a graph: images run from the top to the bottom, operations are boxes, nodes are round. None
    where they run in a circle."""
    try:
        boxes, arrows, texts = _chain(found) if found.is_chain else _graph(found)
    except ValueError:
        return None
    placed = folded(boxes) if found.is_chain else layered(boxes, arrows)
    width, height = placed.width + 2 * MARGIN, placed.height + 2 * MARGIN
    drawn, axes = _board(width, height)
    for (source, target), way in zip(arrows, placed.ways, strict=True):
        _arrow(axes, way, found, source, target)
    for key, box in placed.boxes.items():
        _box(axes, box, found, key, texts[key])
    return Picture(svg(drawn, title=caption, description=found.words()), caption, width / INCH)


def _board(width: float, height: float) -> tuple[Any, Any]:
    """Axes in points from the upper left corner."""
    drawn, panels = canvas(1, 1, width=width / INCH, height=height / INCH)
    drawn.set_layout_engine("none")
    axes = panels[0, 0]
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(-MARGIN, width - MARGIN)
    axes.set_ylim(height - MARGIN, -MARGIN)
    return drawn, axes


Texts = dict[Any, str]


def _graph(found: Cell) -> tuple[list[Box], list[Arrow], Texts]:
    """Nodes in even ranks, operations in odd ones, each in the emptiest that its edge passes."""
    nodes = [("node", node) for node in found.nodes]
    ways = [(("node", term.source), ("node", term.target)) for term in found.terms]
    ranks = longest_paths(nodes, ways)
    texts: Texts = {("node", node): _node_text(found, node) for node in found.nodes}
    boxes = [_sized(key, texts[key], 2 * ranks[key]) for key in nodes]
    last = 2 * max(ranks.values())
    load = [0.0] * (last + 2)
    arrows: list[Arrow] = []
    spans = [ranks[target] - ranks[source] for source, target in ways]
    for i in sorted(range(len(ways)), key=lambda i: (spans[i], i)):
        source, target = ways[i]
        key = ("term", i)
        texts[key] = found.terms[i].operation
        free = range(2 * ranks[source] + 1, 2 * ranks[target], 2)
        middle = ranks[source] + ranks[target]
        rank = min(free, key=lambda rank: (load[rank], abs(rank - middle), rank))
        box = _sized(key, texts[key], rank)
        load[rank] += box.width
        boxes.append(box)
        arrows += [(source, key), (key, target)]
    if found.joined:
        texts["output"] = "output"
        boxes.append(_sized("output", "output", last + 1))
        arrows += [(("node", node), "output") for node in found.outputs]
    return boxes, arrows, texts


def _chain(found: Cell) -> tuple[list[Box], list[Arrow], Texts]:
    """The operations alone: what is between them is one number after another."""
    first, last = found.nodes[0], found.nodes[-1]
    keys: list[Any] = [("node", first), *(("term", i) for i in range(len(found.terms))), ("node", last)]
    texts: Texts = {("node", first): "input", ("node", last): "output"}
    texts |= {("term", i): term.operation for i, term in enumerate(found.terms)}
    boxes = [_sized(key, texts[key]) for key in keys]
    return boxes, list(pairwise(keys)), texts


def _node_text(found: Cell, node: int) -> str:
    if node in found.inputs:
        return f"input {node}" if len(found.inputs) > 1 else "input"
    if node in found.outputs and not found.joined:
        return f"output {node}" if len(found.outputs) > 1 else "output"
    return str(node)


def _sized(key: Any, text: str, rank: int = 0) -> Box:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    font = FontProperties(size=LETTERS)
    wide, _, _ = TextToPath().get_text_width_height_descent(label(text), font, ismath=False)
    height = LETTERS + 2 * PAD_Y + 2
    return Box(key, max(height, wide * 1.04 + 2 * PAD_X), height, rank)


def _term(found: Cell, key: Any) -> Any:
    """The operation of a box or of an arrow's end; None for a node."""
    return found.terms[key[1]] if key[0] == "term" else None


def _arrow(axes: Any, way: Sequence[tuple[float, float]], found: Cell, source: Any, target: Any) -> None:
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    points, codes = [way[0]], [Path.MOVETO]
    straight = found.is_chain
    for (x, y), (to_x, to_y) in pairwise(way):
        if straight or x == to_x:
            points.append((to_x, to_y))
            codes.append(Path.LINETO)
        else:
            half = (to_y - y) / 2
            points += [(x, y + half), (to_x, to_y - half), (to_x, to_y)]
            codes += [Path.CURVE4] * 3
    term = _term(found, target) or _term(found, source)
    dead = term is not None and not term.computes
    head = "-|>" if _term(found, target) is None or straight else "-"
    patch = FancyArrowPatch(
        path=Path(points, codes),
        arrowstyle=head,
        mutation_scale=8,
        color=LINE if dead else QUIET,
        linewidth=1.2,
        linestyle=(0, (3, 3)) if dead else "solid",
        shrinkA=0,
        shrinkB=0,
        zorder=1,
    )
    axes.add_patch(patch)


def _box(axes: Any, box: Box, found: Cell, key: Any, text: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    term = _term(found, key)
    left, top = box.x - box.width / 2, box.y - box.height / 2
    rounding = box.height / 2 - 0.01 if term is None else 4
    colour = SERIES[term.number % len(SERIES)] if term is not None and term.computes else LINE
    round_box = f"round,pad=0,rounding_size={rounding}"
    for face, alpha, edge in ((PAGE, 1.0, "none"), (colour, TINT, "none"), ("none", 1.0, colour)):
        patch = FancyBboxPatch(
            (left, top),
            box.width,
            box.height,
            boxstyle=round_box,
            facecolor=face,
            edgecolor=edge if edge == "none" or term is not None else QUIET,
            alpha=alpha,
            linewidth=1.2,
            linestyle=(0, (3, 3)) if term is not None and not term.computes else "solid",
            zorder=2,
        )
        axes.add_patch(patch)
    quiet = term is not None and not term.computes
    axes.text(
        box.x,
        box.y + 0.5,
        label(text),
        ha="center",
        va="center_baseline",
        fontsize=LETTERS,
        color=QUIET if quiet else TEXT,
        zorder=3,
    )
