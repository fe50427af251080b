"""A table of numbers as colours, each number in its cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.output.figures import LINE, label
from znas.output.scales import focus

Floats = NDArray[np.float64]
#: Characters of a name, and inches of a row and a column, of names and of the scale of colours beside them.
NAME = 28
ROW, COLUMN, BESIDE, BELOW = 0.25, 0.62, 2.4, 1.9
#: The luminance on which black and white letters stand out alike.
EVEN = 0.179


def size(rows: int, columns: int) -> tuple[float, float]:
    """Width and height in inches at which every number and name can be read."""
    return BESIDE + COLUMN * columns, BELOW + ROW * rows


def heat_map(
    drawn: Any,
    axes: Any,
    values: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    digits: int = 3,
    limits: tuple[float, float] | None = None,
) -> None:
    """values: float64 [rows, columns], NaN where there is none, whose cell is grey. digits: significant ones
    of each number. limits: of the colours; without them outliers have the colour of the nearest end, so that
    the rest has all the colours, and the scale has a tip there.
    """
    known = values[np.isfinite(values)]
    low, high = limits or _colours(known)
    axes.set_facecolor(LINE)
    image = axes.imshow(
        np.ma.masked_invalid(values), aspect="auto", vmin=low, vmax=high, interpolation="nearest"
    )
    tips = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = drawn.colorbar(image, ax=axes, extend=tips[bool((known < low).any()), bool((known > high).any())])
    bar.outline.set_visible(False)
    axes.set_xticks(range(len(columns)), [label(name, NAME) for name in columns], rotation=90)
    axes.set_yticks(range(len(rows)), [label(name, NAME) for name in rows])
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "black" if _luminance(image.cmap(image.norm(value))) > EVEN else "white"
            look = {"color": colour, "fontsize": 6.5, "ha": "center", "va": "center"}
            axes.text(column, row, f"{value:.{digits}g}", **look)


def _luminance(colour: Sequence[float]) -> float:
    """WCAG's, of red, green and blue from 0 to 1."""
    values: Floats = np.array(colour[:3])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def _colours(known: Floats) -> tuple[float, float]:
    if not len(known):
        return 0.0, 1.0
    low, high = focus(known)
    low, high = max(low, float(known.min())), min(high, float(known.max()))
    return (low, high) if high > low else (low - 0.5, high + 0.5)
