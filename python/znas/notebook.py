"""How far a long job is, in a notebook, where nobody asked to be told in another way."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

from znas_engine.progress import Progress, duration, unheard

#: Seconds after which a job is worth a line, and between two changes of it.
FIRST, BETWEEN = 0.5, 0.2


@contextmanager
def shown(what: str, progress: Progress) -> Iterator[Progress]:
    """`progress`, if the caller gave one, and everywhere but in a notebook. There it is a line below the cell
    that changes as the job goes on, and stays: a bar, how much is done, how long the rest takes.

    what: is counted, such as "masked passes". `progress=lambda done, total: None` shows nothing.
    """
    if progress is not unheard or not in_notebook():
        yield progress
        return
    line = _Line(what)
    yield line
    line.end()


def in_notebook() -> bool:
    """Whether a kernel runs this whose front end shows HTML; a terminal's IPython is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


class _Line:
    """Called with (done, total)."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._began = self._said = time.monotonic()
        self._first: tuple[float, int] | None = None
        self._last: tuple[int, int] | None = None
        self._display: Any = None

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        self._last = done, total
        waited = now - self._began if self._display is None else now - self._said
        if waited >= (FIRST if self._display is None else BETWEEN):
            self._said = now
            self._show(self._left(now))

    def end(self) -> None:
        """What it took, of a job that was shown."""
        if self._display is not None:
            self._show(f"in {duration(time.monotonic() - self._began)}")

    def _left(self, now: float) -> str:
        assert self._first is not None
        assert self._last is not None
        (began, before), (done, total) = self._first, self._last
        if done <= before or done >= total:
            return ""
        return f"about {duration((now - began) / (done - before) * (total - done))} left"

    def _show(self, more: str) -> None:
        from IPython import display

        assert self._last is not None
        done, total = self._last
        words = f"{self._what}: {done:,} of {total:,}" + (f", {more}" if more else "")
        bar = f'<progress value="{done}" max="{max(total, 1)}"></progress>'
        seen = {"text/plain": words, "text/html": f"<div>{bar} {escape(words)}</div>"}
        if self._display is None:
            show: Any = display.display
            self._display = show(seen, raw=True, display_id=True)
        else:
            self._display.update(seen, raw=True)
