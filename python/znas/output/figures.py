"""Drawings as PNG bytes and as SVG for a page: the only place that knows Matplotlib.

    @style()
    def draw(values):
        drawn, axes = canvas(1, 1, width=6, height=4)
        axes[0, 0].plot(values)
        return png(drawn)  # or svg(drawn, title="Values", description="One line that rises from 0 to 3.")

Colours are those of this module: `svg` makes variables of the page's style of them, so that one picture is
right on a light page and on a dark one. docs/decisions/0016-figures.md says why it is so.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from znas.output import svg_text
from znas.output.labels import overlaps, place_labels
from znas.output.palette import LINE, PAGE, QUIET, SERIES, TEXT, VARIABLES
from znas_engine.errors import one_line

__all__ = [
    "DPI",
    "LINE",
    "PAGE",
    "QUIET",
    "SERIES",
    "TEXT",
    "canvas",
    "label",
    "legend",
    "overlaps",
    "place_labels",
    "png",
    "style",
    "svg",
]

DPI = 120
#: Characters of a label, at most.
LONGEST = 80
#: Likewise of what is said of a picture.
SAID = 5000
_SETTINGS: dict[str, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.titlecolor"), TEXT),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), TEXT),
    **dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), QUIET),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 8.0),
    **dict.fromkeys(("font.size", "axes.labelsize"), 9.0),
    **{"axes.titlesize": 10.0, "axes.titlelocation": "left", "axes.axisbelow": True},
    **{"axes.facecolor": "none", "figure.facecolor": PAGE, "savefig.facecolor": "auto", "figure.dpi": DPI},
    **{"grid.color": LINE, "patch.edgecolor": TEXT, "hatch.color": TEXT, "lines.color": SERIES[0]},
    **{
        "legend.facecolor": PAGE,
        "legend.edgecolor": LINE,
        "legend.framealpha": 1.0,
        "legend.fancybox": False,
    },
    **{"svg.fonttype": "none", "svg.hashsalt": "znas", "image.cmap": "viridis"},
}


@contextmanager
def style() -> Iterator[None]:
    """What is drawn within it looks as ours do, whatever the user's own settings say, which stay as they are.
    As a decorator, of a function that draws."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)  # where there is no home, its cache of fonts has a temporary folder
    try:
        with warnings.catch_warnings():  # letters that its font lacks are drawn as boxes
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            from cycler import cycler
            from matplotlib.style import context

            with context(["default", _SETTINGS | {"axes.prop_cycle": cycler(color=SERIES)}]):
                yield
    finally:
        log.setLevel(level)


@style()
def canvas(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, Any]:
    """(figure, axes [rows, columns]) of `width` x `height` inches. What fills them is within `style` too."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawn)  # which knows how large letters are
    return drawn, drawn.subplots(rows, columns, squeeze=False)


@style()
def png(drawn: Any) -> bytes:
    """On white. The same drawing gives the same bytes."""
    data = io.BytesIO()
    drawn.savefig(data, format="png", dpi=DPI, metadata={"Software": None})
    return data.getvalue()


@style()
def svg(drawn: Any, *, title: str, description: str) -> str:
    """One <svg> element for within a page, as wide as what holds it, on the page's own background.

    title: what it is, description: what is to be seen, for those who do not see it. Letters stay letters,
    each colour of VARIABLES is `var(--name, colour)`, and ids are of this picture alone. The same drawing,
    title and description give the same text.
    """
    data = io.StringIO()
    drawn.savefig(data, format="svg", facecolor="none", metadata={"Date": None, "Creator": None})
    title, description = one_line(title, SAID), one_line(description, SAID)
    return svg_text.inline(data.getvalue(), title, description, VARIABLES)


def label(text: str, longest: int = LONGEST) -> str:
    """A name of a file's as it stands there, not as a formula, on one short line."""
    return one_line(text, longest).replace("$", r"\$")


def legend(drawn: Any, columns: int = 4) -> None:
    """Above all panels, each entry once: what is drawn is never under it."""
    named: dict[str, Any] = {}
    for axes in drawn.axes:
        handles, labels = axes.get_legend_handles_labels()
        named = dict(zip(labels, handles, strict=True)) | named
    if named:
        drawn.legend(named.values(), named.keys(), loc="outside upper left", ncols=columns, frameon=False)
