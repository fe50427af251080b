"""Who is told how far a long job is."""

from __future__ import annotations

from collections.abc import Callable

#: Called with how much is done and how much is known to be needed, in what the job counts.
Progress = Callable[[int, int], None]


def unheard(*_: object) -> None:
    """Nobody listens."""
