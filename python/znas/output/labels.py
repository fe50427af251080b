"""Names beside the points of a drawing, where there is room for them, and whether texts overlap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.output.palette import QUIET

Floats = NDArray[np.float64]
#: Size of a name, and room around it and around a point, in points of 1/72 inch.
SIZE, PAD, POINT = 7.0, 1.5, 4.0
#: From a point to its name: where names are tried, in points; a line leads to those beyond LEADER.
GAPS = (2.0, 5.0, 9.0, 14.0, 20.0, 28.0, 38.0, 50.0, 66.0, 86.0, 110.0, 140.0)
LEADER = 7.0
#: First to the right, then left, above, below and between.
TURNS = np.array([0, 8, 4, 12, 2, 14, 6, 10, 1, 15, 7, 9, 3, 13, 5, 11]) * np.pi / 8
#: What a line that crosses a name costs, in points of distance.
CROSSING = 150.0
#: Steps at which names are tried anywhere in the axes, if no place near the point is free.
GRID = 48


def place_labels(
    axes: Any,
    points: Sequence[tuple[float, float]],
    texts: Sequence[str],
    *,
    avoid: Sequence[tuple[float, float]] = (),
) -> list[str]:
    """Writes `texts` beside `points` (data coordinates) so that none covers another, a point, a legend, a
    text that is there already, or the border of the axes; a thin line leads to a name far from its point.
    avoid: further points that none may cover.

    Called last, when nothing else moves the axes. Returns the texts for which there was no room, which are
    not written; those of points outside of the axes are among them.
    """
    figure = axes.figure
    figure.draw_without_rendering()
    unit = figure.dpi / 72
    inside = axes.get_window_extent()
    frame = np.array([inside.x0, inside.y0, inside.x1, inside.y1])
    where: Floats = axes.transData.transform(np.array(points, np.float64).reshape(-1, 2))
    there = np.isfinite(where) & (where >= frame[:2] - 1) & (where <= frame[2:] + 1)
    seen: NDArray[np.bool_] = np.all(there, axis=1)
    sizes = [_size(figure, text) + 2 * PAD * unit for text in texts]
    reach = POINT * unit
    kept = axes.transData.transform(np.array(avoid, np.float64).reshape(-1, 2))
    dots = [np.array([x - reach, y - reach, x + reach, y + reach]) for x, y in [*where[seen], *kept]]
    boxes = [*dots, *_taken(axes)]
    leaders: list[Floats] = []
    missing = [text for text, shown in zip(texts, seen, strict=True) if not shown]
    full = np.full(2, np.inf)
    for i in _crowded_first(where, seen, 40 * unit):
        room = not (sizes[i] >= full).all()
        found = _free(where[i], sizes[i], frame, np.array(boxes), leaders, unit) if room else None
        if found is None:
            missing.append(texts[i])
            full = np.minimum(full, sizes[i])  # of what is no smaller than a text that found none
            continue
        box, far = found
        boxes.append(box)
        if far:
            leaders.append(_line(where[i], box))
        _write(axes, points[i], texts[i], (_middle(box) - where[i]) / unit, far)
    return missing


def _size(figure: Any, text: str) -> Floats:
    """Width and height in pixels."""
    probe = figure.text(0, 0, text, fontsize=SIZE)
    box = probe.get_window_extent()
    probe.remove()
    return np.array([box.width, box.height])


def _taken(axes: Any) -> list[Floats]:
    """The legend, and texts within the axes."""
    legend = axes.get_legend()
    others = [*axes.texts, *([] if legend is None else [legend])]
    found = [each.get_window_extent() for each in others]
    return [np.array([box.x0, box.y0, box.x1, box.y1]) for box in found]


def _crowded_first(where: Floats, seen: NDArray[np.bool_], near: float) -> list[int]:
    """Those of `seen`, from the one with most neighbours on."""
    shown = np.flatnonzero(seen)
    apart = np.abs(where[shown, None] - where[None, shown]).max(-1)
    return [int(i) for i in shown[np.argsort(-(apart < near).sum(1), kind="stable")]]


def _free(
    point: Floats, size: Floats, frame: Floats, boxes: Floats, leaders: Sequence[Floats], unit: float
) -> tuple[Floats, bool] | None:
    """(box, whether it is far from its point) of the nearest free place."""
    directions = np.stack([np.cos(TURNS), np.sin(TURNS)], 1)
    near = np.concatenate([point + directions * (size / 2 + gap * unit) for gap in GAPS])
    for middles in (near, np.concatenate([_beside(boxes, size), _everywhere(frame)])):
        tried = np.concatenate([middles - size / 2, middles + size / 2], 1)
        tried = tried[np.all((tried[:, :2] >= frame[:2]) & (tried[:, 2:] <= frame[2:]), axis=1)]
        apart = (tried[:, None, :2] >= boxes[None, :, 2:]) | (tried[:, None, 2:] <= boxes[None, :, :2])
        tried = tried[np.all(apart.any(-1), axis=1)]
        if len(tried):
            gap = np.hypot(*(np.clip(point, tried[:, :2], tried[:, 2:]) - point).T) / unit
            costs = gap + CROSSING * _crossings(point, tried, boxes, leaders)
            best = int(costs.argmin())
            return tried[best], bool(gap[best] > LEADER)
    return None


def _beside(boxes: Floats, size: Floats) -> Floats:
    """Middles of a box of this size that touches one of `boxes`: lists of names waste no room."""
    low, high = boxes[:, :2], boxes[:, 2:]
    above = np.stack([low[:, 0] + size[0] / 2, high[:, 1] + size[1] / 2], 1)
    below = np.stack([low[:, 0] + size[0] / 2, low[:, 1] - size[1] / 2], 1)
    right = np.stack([high[:, 0] + size[0] / 2, high[:, 1] - size[1] / 2], 1)
    left = np.stack([low[:, 0] - size[0] / 2, high[:, 1] - size[1] / 2], 1)
    return np.concatenate([above, below, right, left])


def _everywhere(frame: Floats) -> Floats:
    steps = [np.linspace(frame[k], frame[k + 2], GRID) for k in (0, 1)]
    return np.stack(np.meshgrid(*steps), -1).reshape(-1, 2)


def _crossings(point: Floats, tried: Floats, boxes: Floats, leaders: Sequence[Floats]) -> Floats:
    """Of each box that is tried: boxes that the line to it would cross, and lines that would cross it."""
    ends = np.clip(point, tried[:, :2], tried[:, 2:])
    steps = np.linspace(0.15, 0.95, 9)[:, None, None]
    line = point + steps * (ends - point)[None]
    other = boxes[~_within(point, boxes)]
    found: Floats = _within(line, other).any(0).sum(-1).astype(np.float64)
    if leaders:
        drawn = np.concatenate(leaders)
        found += _within(drawn, tried).sum(0)
    return found


def _within(points: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """[..., boxes]: whether points [..., 2] lie in boxes [n, 4]."""
    points = points[..., None, :]
    within: NDArray[np.bool_] = np.all((points > boxes[:, :2]) & (points < boxes[:, 2:]), axis=-1)
    return within


def _line(point: Floats, box: Floats) -> Floats:
    """Points on the line from a point to its name."""
    end = np.clip(point, box[:2], box[2:])
    steps: Floats = np.linspace(0.1, 0.95, 9)[:, None]
    return point + steps * (end - point)


def _middle(box: Floats) -> Floats:
    middle: Floats = (box[:2] + box[2:]) / 2
    return middle


def _write(axes: Any, point: tuple[float, float], text: str, offset: Floats, far: bool) -> None:
    line = {"arrowstyle": "-", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2, "color": QUIET}
    note = axes.annotate(
        text,
        point,
        xytext=tuple(offset),
        textcoords="offset points",
        fontsize=SIZE,
        ha="center",
        va="center",
        arrowprops=line if far else None,
    )
    note.set_in_layout(False)


def overlaps(drawn: Any) -> list[tuple[str, str]]:
    """Pairs of texts of a figure of which one covers a part of the other, and (text, "the figure's edge") of
    those that leave it. For tests."""
    drawn.draw_without_rendering()
    found = []
    turned = [(text.get_text(), _corners(text)) for text in _texts(drawn)]
    edge = drawn.bbox
    for words, corners in turned:
        low, high = corners.min(0), corners.max(0)
        if (low < (edge.x0 - 1, edge.y0 - 1)).any() or (high > (edge.x1 + 1, edge.y1 + 1)).any():
            found.append((words, "the figure's edge"))
    for (one, box), (other, another) in combinations(turned, 2):
        if _touch(box, another):
            found.append((one, other))
    return found


def _texts(drawn: Any) -> Iterator[Any]:
    """What is written, without the ticks beyond an axis."""
    from matplotlib.text import Text

    hidden = set()
    for axes in drawn.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
                if not low - slack <= tick.get_loc() <= high + slack:
                    hidden |= {tick.label1, tick.label2}
    for text in drawn.findobj(Text):
        if text not in hidden and text.get_visible() and text.get_text().strip():
            yield text


def _corners(text: Any) -> Floats:
    """[4, 2]: of the box around a text, turned as the text is."""
    from matplotlib.text import Text

    turn = text.get_rotation()
    box = Text.get_window_extent(text)  # of an annotation without its line
    middle = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    text.set_rotation(0)
    flat = Text.get_window_extent(text)
    text.set_rotation(turn)
    sides = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (flat.width / 2, flat.height / 2)
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    corners: Floats = middle + sides @ np.array([[c, s], [-s, c]])
    return corners


def _touch(one: Floats, other: Floats) -> bool:
    """Whether two rectangles overlap by more than half a pixel: no side's direction parts them."""
    for box in (one, other):
        for side in (box[1] - box[0], box[3] - box[0]):
            length = np.hypot(*side)
            if length == 0:
                return False
            a, b = one @ side / length, other @ side / length
            if a.max() <= b.min() + 0.5 or b.max() <= a.min() + 0.5:
                return False
    return True
