"""Where output goes: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from znas.cli import events
from znas.cluster.account import Account, job
from znas.cluster.news import News, heard
from znas.cluster.place import Place
from znas.cluster.where import LOCAL
from znas.hooks import QUIET, Report
from znas.output import Document, Facts, text
from znas_engine import interrupts
from znas_engine.progress import Progress, duration, unheard


def reporter(*, quiet: bool) -> Report:
    """What is told remarks: `remark`, or nobody."""
    return QUIET.report if quiet else remark


def remark(line: str) -> None:
    """One line for the user that is not part of the result."""
    if events.written():
        events.write("remark", text=line)
    else:
        print(f"znas-engine: {line}", file=sys.stderr)


@contextmanager
def told(on: str | Place, *, quiet: bool, as_json: bool) -> Iterator[None]:
    """What a verb does within is one job: a cluster's remarks and who did how much are said on stderr, or,
    with --json, written as events."""
    if not as_json or quiet or on == LOCAL:
        with job(reporter(quiet=quiet)):
            yield
        return
    with events.events(), job(remark, lambda account: events.write("done", **account.facts())):
        yield


def show(document: Document, out: Path | None = None, files: str = "") -> None:
    """The document on stdout, and that it was written: to a file, or these files of a folder."""
    parts = list(document.parts)
    if out is not None:
        parts.append(Facts([("written", f"{out}/ ({files})" if files else str(out))]))
    typer.echo(text.render(parts))


def finish(
    found: Document | str,
    write: Callable[[], object] | None = None,
    out: Path | None = None,
    files: str = "",
) -> None:
    """What a verb found, written where the user wants it and printed; found: text (JSON) or a document.

    What cannot be written (a full disk, a name that somebody took meanwhile) is printed first, so that no
    finished work is lost, and raised then. out, files: as for `show`.
    """
    interrupts.check()
    lost: Exception | None = None
    if write is not None:
        try:
            write()
        except Exception as error:  # noqa: BLE001 - raised below
            lost = error
    if isinstance(found, str):
        typer.echo(found)
    else:
        show(found, None if lost else out, files)
    if lost is not None:
        raise lost


#: Seconds between two changes of the line below a bar.
BELOW = 0.5
#: Seconds between two lines of progress where no bar can be drawn; and at the start of a job, in which what a
#: work file kept comes, which says nothing about the time that the rest takes.
EVERY, KEPT = 10.0, 1.0


class Bar:
    """Called with (done, total) of a job; `inner` likewise, of the piece of it that is being done. This one
    shows nothing."""

    def __call__(self, done: int, total: int) -> None:
        interrupts.check()

    def inner(self, done: int, total: int) -> None:
        """Of one piece."""
        interrupts.check()

    def hear(self, news: News) -> None:
        """Of a cluster that does it."""


@contextmanager
def progress_bar(what: str, inner: str = "", *, quiet: bool) -> Iterator[Bar]:
    """What shows on stderr how much of a job is done: a bar, or a line every `EVERY` seconds where stderr is
    no terminal or one that draws nothing.

    what, inner: what is counted of the job, and of the piece of it that is being done. A bar appears with the
    first call and goes when all is done, so that the one of a next phase can follow. On a cluster it also
    says how fast which machine is. Where stderr is events, both counts are.
    """
    with ExitStack() as stack:
        bar = Bar()
        if events.written():
            bar = _Events(what, inner)
        elif not quiet:
            bar = _Drawn(stack, what, inner) if _draws() else _Lines(what, inner)
        with heard(bar.hear):
            yield bar


def _draws() -> bool:
    return sys.stderr.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class _Drawn(Bar):
    def __init__(self, stack: ExitStack, what: str, inner: str) -> None:
        self._stack = stack
        self._what = what
        self._of_piece = inner
        self._shown: dict[str, Progress] = {}
        self._below: Callable[[str], None] = unheard
        self._account = Account()
        self._said = 0.0

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        self._show(self._what, done, total)
        if self._of_piece:  # the next one
            self._show(self._of_piece, 0, 0)
        if done == total:
            self._stack.close()
            self._shown, self._below = {}, unheard

    def inner(self, done: int, total: int) -> None:
        super().inner(done, total)
        self._show(self._of_piece, done, total)

    def hear(self, news: News) -> None:
        self._account.hear(news)
        if (now := time.monotonic()) - self._said > BELOW:
            self._said = now
            self._below(self._account.speeds())

    def _show(self, what: str, done: int, total: int) -> None:
        if not self._shown:
            names = [self._what, *([self._of_piece] if self._of_piece else [])]
            self._shown, self._below = self._stack.enter_context(_bars(names))
        self._shown[what](done, total)


@contextmanager
def _bars(names: Sequence[str]) -> Iterator[tuple[dict[str, Progress], Callable[[str], None]]]:
    """What is told of each; and what is told the line below them."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class Bars(Progress):
        line = ""

        def get_renderables(self) -> Iterable[RenderableType]:
            yield from super().get_renderables()
            if self.line:
                yield Text(self.line, style="dim", no_wrap=True, overflow="ellipsis")

    bars = Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )

    def shows(name: str) -> Callable[[int, int], None]:
        task = bars.add_task(name, total=None)
        return lambda done, total: bars.update(task, completed=done, total=total or None)

    def below(line: str) -> None:
        bars.line = line

    with bars:
        yield {name: shows(name) for name in names}, below


class _Events(Bar):
    """Every count as an event."""

    def __init__(self, what: str, inner: str) -> None:
        self._what = what
        self._of_piece = inner

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        events.write("progress", what=self._what, done=done, total=total)

    def inner(self, done: int, total: int) -> None:
        super().inner(done, total)
        events.write("progress", what=self._of_piece, done=done, total=total)


class _Lines(Bar):
    """`searches: 3 of 40; masked passes: 120 of 2,060; about 6 min left; vm-1 120 masks/s`."""

    def __init__(self, what: str, inner: str) -> None:
        self._what = what
        self._of_piece = inner
        self._done: tuple[int, int] | None = None
        self._piece: tuple[int, int] | None = None
        self._began: float | None = None
        self._first: tuple[float, int] | None = None
        self._said = time.monotonic()
        self._account = Account()

    def __call__(self, done: int, total: int) -> None:
        super().__call__(done, total)
        self._done, self._piece = (done, total), None
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if self._first is None or now - self._began < KEPT:
            self._first = now, done
        self._say()

    def inner(self, done: int, total: int) -> None:
        super().inner(done, total)
        self._piece = done, total
        self._say()

    def hear(self, news: News) -> None:
        self._account.hear(news)
        if self._done is not None or self._piece is not None:
            self._say()

    def _say(self) -> None:
        now = time.monotonic()
        if now - self._said < EVERY:
            return
        self._said = now
        counts = [(self._what, self._done), (self._of_piece, self._piece)]
        parts = [f"{what}: {count[0]:,} of {count[1]:,}" for what, count in counts if count is not None]
        if self._done is not None and self._first is not None and self._done[0] > self._first[1]:
            (done, total), (began, before) = self._done, self._first
            parts.append(f"about {duration((now - began) / (done - before) * (total - done))} left")
        remark("; ".join(filter(None, [*parts, self._account.speeds()])))
