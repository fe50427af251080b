"""Who is told how far a long job is, and what the user should know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from znas_engine.progress import Progress, unheard

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """progress: called with (masked passes done, those known to be needed). report: called with one-line
    remarks worth showing. unwritten: called with what was found where it cannot be written."""

    progress: Progress = unheard
    report: Report = unheard
    unwritten: Callable[[Any], None] = unheard


QUIET = Hooks()
