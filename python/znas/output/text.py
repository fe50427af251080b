"""A document on the terminal: aligned columns, and bold where a person reads it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from znas.output.document import (
    Code,
    Facts,
    Figure,
    Heading,
    Notes,
    Paragraph,
    Part,
    Pictures,
    Table,
    one_line,
    visible,
)

#: Columns of a label; longer ones make room for themselves.
LABEL = 12


def render(parts: Sequence[Part], *, emphasis: bool | None = None) -> str:
    """The parts with an empty line between them, none below a heading.

    emphasis: bold cells that are marked; None, where stdout is a terminal. A title is not repeated below the
    command that was asked for it.
    """
    if emphasis is None:
        emphasis = sys.stdout.isatty()
    text, gap = "", ""
    for part in parts:
        text += gap + _part(part, emphasis)
        gap = "\n" if isinstance(part, Heading) else "\n\n"
    return text


def _part(part: Part, emphasis: bool) -> str:
    match part:
        case Heading(text) | Paragraph(text):
            return one_line(text)
        case Code(text):
            return visible(text)
        case Notes(lines):
            return _labelled([("note", line) for line in lines])
        case Facts(pairs):
            return _labelled(pairs)
        case Figure(name, _, caption):
            return _labelled([("figure", f"{caption} ({name})")])
        case Pictures(pictures):
            return _labelled([("picture", each.caption) for each in pictures])
        case Table():
            return _table(part, emphasis)


def _labelled(pairs: Sequence[tuple[str, str]]) -> str:
    lines = [(one_line(label), one_line(value)) for label, value in pairs]
    width = max([LABEL, *(len(label) + 2 for label, _ in lines)])
    return "\n".join(f"{label:<{width}}{value}".rstrip() for label, value in lines)


def _table(table: Table, emphasis: bool) -> str:
    """Columns under a rule. Where a column has marks, its other cells leave room for them."""
    rows = table.cells()
    for column in {column for _, column in table.marked}:
        for number, row in enumerate(rows):
            if (number, column) not in table.marked:
                row[column] += "  "
    headings = [one_line(heading) for heading in table.headings]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str], number: int | None = None) -> str:
        shown = []
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            text = cell.ljust(width) if column in table.left else cell.rjust(width)
            shown.append(f"\033[1m{text}\033[0m" if emphasis and (number, column) in table.marked else text)
        return "  ".join(shown).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [line(headings), rule, *(line(row, number) for number, row in enumerate(rows))]
    return "\n".join([one_line(table.caption), *lines] if table.caption else lines)
