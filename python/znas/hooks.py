"""Who is told how far a long job is, and what the user should know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from znas_engine.progress import Progress, unheard

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Hooks:
    """progress: called with (masked passes done, those that will be needed at most). report: called with
    one-line remarks worth showing. unwritten: called with what was found where it cannot be written. inner:
    like `progress`, of the one of many searches that is being made. alone: False for such a one: nobody is
    told how long it takes."""

    progress: Progress = unheard
    report: Report = unheard
    unwritten: Callable[[Any], None] = unheard
    inner: Progress = unheard
    alone: bool = True

    def of_one(self) -> Hooks:
        """Those of one of many searches."""
        return Hooks(self.inner, self.report, alone=False)


QUIET = Hooks()
