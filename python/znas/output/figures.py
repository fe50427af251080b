"""Drawings as PNG bytes: the only place that knows matplotlib, an optional package."""

from __future__ import annotations

import io
from typing import Any

from znas_engine.errors import MissingDependencyError

DPI = 120


def require_matplotlib() -> None:
    """MissingDependencyError where it is absent: asked before a long run, not after it."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("pictures need matplotlib: pip install 'znas-engine[plots]'") from error


def canvas(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, Any]:
    """(figure, axes [rows, columns]) of `width` x `height` inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(width, height), layout="constrained")
    return drawn, drawn.subplots(rows, columns, squeeze=False)


def png(drawn: Any) -> bytes:
    data = io.BytesIO()
    drawn.savefig(data, format="png", dpi=DPI)
    return data.getvalue()
