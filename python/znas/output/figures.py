"""Drawings as PNG bytes: the only place that knows matplotlib, an optional package."""

from __future__ import annotations

import io
import warnings
from typing import Any

from znas_engine.errors import MissingDependencyError, one_line

DPI = 120
NO_PICTURES = "matplotlib is not installed: pictures are left out (pip install 'znas-engine[plots]')"
#: Characters of a label, at most.
LONGEST = 80


def drawable() -> bool:
    """Whether pictures can be drawn here; a page that also has tables leaves them out where not."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def require_matplotlib() -> None:
    """MissingDependencyError where it is absent, for what is nothing but a picture."""
    if not drawable():
        raise MissingDependencyError("pictures need matplotlib: pip install 'znas-engine[plots]'")


def canvas(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, Any]:
    """(figure, axes [rows, columns]) of `width` x `height` inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


def png(drawn: Any) -> bytes:
    data = io.BytesIO()
    with warnings.catch_warnings():  # letters that its font lacks are drawn as boxes
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        drawn.savefig(data, format="png", dpi=DPI)
    return data.getvalue()


def label(text: str) -> str:
    """A name of a file's as it stands there, not as a formula, on one short line."""
    return one_line(text, LONGEST).replace("$", r"\$")
