"""Where output goes: results to stdout, progress and remarks to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

Progress = Callable[[int, int], None]


def remark(line: str) -> None:
    """One line for the user that is not part of the result."""
    print(f"znas-engine: {line}", file=sys.stderr)


def bold(text: str) -> str:
    """`text`, emphasised where a person reads it; files and pipes get it as it is."""
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, marked: str = "") -> str:
    """Aligned columns under a rule, the first one to the left and numbers to the right.

    A cell that ends in `marked` is bold.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = [cells[0].ljust(widths[0]), *map(str.rjust, cells[1:], widths[1:])]
        return "  ".join(
            bold(text) if marked and cell.endswith(marked) else text
            for cell, text in zip(cells, aligned, strict=True)
        ).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([line(headings), rule, *map(line, rows)])


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[Progress]:
    """A callback (done, total) that draws a bar on stderr; it appears with the first call and goes when all
    is done, so that the bar of a next phase can follow."""
    with ExitStack() as stack:
        bar: Progress | None = None

        def progress(done: int, total: int) -> None:
            nonlocal bar
            if bar is None:
                bar = stack.enter_context(_bar(what))
            bar(done, total)
            if done == total:
                stack.close()
                bar = None

        yield _no_progress if quiet else progress


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


def _no_progress(done: int, total: int) -> None:
    """--quiet"""


def silent(line: str) -> None:
    """A `report` that --quiet leaves unsaid."""
