"""Where output goes: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from znas.hooks import QUIET, Report
from znas.output import Document, Facts, text
from znas_engine import interrupts
from znas_engine.progress import Progress


def reporter(*, quiet: bool) -> Report:
    """What is told remarks: `remark`, or nobody."""
    return QUIET.report if quiet else remark


def remark(line: str) -> None:
    """One line for the user that is not part of the result."""
    print(f"znas-engine: {line}", file=sys.stderr)


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


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[Progress]:
    """A callback (done, total) that draws a bar on stderr; it appears with the first call and goes when all
    is done, so that the bar of a next phase can follow."""
    with ExitStack() as stack:
        bar: Progress | None = None

        def progress(done: int, total: int) -> None:
            nonlocal bar
            interrupts.check()
            if bar is None:
                bar = stack.enter_context(_bar(what))
            bar(done, total)
            if done == total:
                stack.close()
                bar = None

        yield progress if not quiet and sys.stderr.isatty() else _unseen


@contextmanager
def _bar(what: str) -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _unseen(done: int, total: int) -> None:
    """--quiet, and where nobody watches: a bar that does not move is an empty line in a log."""
    interrupts.check()
