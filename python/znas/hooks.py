"""Who is told how far a long job is, and what the user should know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[int, int], None]
Report = Callable[[str], None]


def _unheard(*_: object) -> None:
    """Nobody listens."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """progress: called with (masked passes done, those known to be needed). report: called with one-line
    remarks worth showing."""

    progress: Progress = _unheard
    report: Report = _unheard


QUIET = Hooks()
