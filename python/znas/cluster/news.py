"""What is heard of a cluster while a job is done: told by the place that does it, to whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """host, worker: of whom. kind, and what is known of it:

    worker: one came, and may do units. unit: it did one of so many masks (0 where nobody knows), in so many
    seconds. lost: it is gone, and so many units that it had are done again. repeated: so many units failed
    there, and are done again. refused: the machine is not used, text: why. remark: a line for people, which
    may say one of these once more.
    """

    kind: str
    host: str | None = None
    worker: str | None = None
    masks: int | None = None
    seconds: float | None = None
    units: int | None = None
    text: str | None = None

    def facts(self) -> dict[str, Any]:
        """What is known of it, by name; plain JSON."""
        return {name: value for name, value in asdict(self).items() if value is not None}


Listener = Callable[[News], None]
_LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("listeners", default=())


@contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """The listener hears what is told within, by this thread."""
    before = _LISTENERS.set((*_LISTENERS.get(), listener))
    try:
        yield
    finally:
        _LISTENERS.reset(before)


def tell(news: News) -> None:
    """Everybody who listens hears it."""
    for listener in _LISTENERS.get():
        listener(news)


def remark(line: str) -> None:
    """Tells one line for people."""
    tell(News(kind="remark", text=line))
