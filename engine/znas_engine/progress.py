"""Who is told how far a long job is."""

from __future__ import annotations

from collections.abc import Callable

#: Called with how much is done and how much is known to be needed, in what the job counts.
Progress = Callable[[int, int], None]


def unheard(*_: object) -> None:
    """Nobody listens."""


def duration(seconds: float) -> str:
    """`20 s`, `3 min`, `2 h 5 min`: as exact as a guess is."""
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if left and hours < 10 else f"{round(minutes / 60)} h"
