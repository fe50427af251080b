"""The folder that several tables share, with the work files that make it go on."""

from __future__ import annotations

from pathlib import Path

from znas.files import Album
from znas.output.figures import require_matplotlib

#: The finished searches of a folder, and its measured scores.
SEARCHES, SCORES = "searches.work", "scores.work"


def ready(out: Path, *, drawn: bool = True) -> None:
    """Asked before hours of work: may results be added to this folder, can they be drawn?

    Raises StorageError and MissingDependencyError.
    """
    Album(out, (SEARCHES, SCORES))
    if drawn:
        require_matplotlib()
