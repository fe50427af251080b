"""A document as a page of Markdown (CommonMark with tables), its pictures in files beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from znas.output.document import (
    CODE,
    Code,
    Document,
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

#: What would begin emphasis, a link's end, a tag, an entity or an escape, outside of code. Nothing else is
#: escaped, so that the page is readable as it is.
_SPECIAL = re.compile(
    rf"(?P<code>{CODE.pattern})|[\\`*]|~(?=\S)|(?<![^\W_])_(?=\S)|\](?=\()|<(?=[A-Za-z/!?])|&(?=#?\w+;)"
)
#: What would begin another block than a paragraph; in a numbered item it is the point.
_BLOCK = re.compile(r"^(\d{0,9})(?=[.)](?:\s|$)|(?<!\d)(?:[#>\[]|[-+](?:\s|$|-)))")


def render(document: Document) -> str:
    blocks = [f"# {_heading(document.title)}", *map(_part, document.parts)]
    return "\n\n".join(blocks) + "\n"


def _part(part: Part) -> str:
    match part:
        case Heading(text, level):
            return f"{'#' * level} {_heading(text)}"
        case Paragraph(text):
            return _block(text)
        case Code(raw):
            text = visible(raw)
            longest = max(map(len, re.findall("`+", text)), default=0)
            fence = "`" * max(3, longest + 1)
            return f"{fence}\n{text}\n{fence}"
        case Notes(lines):
            return "\n".join(f"* {_block(line)}" for line in lines)
        case Facts(pairs):
            return "\n".join(f"* {_block(label)}: {_inline(value)}" for label, value in pairs)
        case Figure(name, _, caption):
            return f"![{_brackets(_inline(caption))}]({quote(name)})"
        case Pictures(pictures):
            return "\n".join(f"* {_block(each.caption)}" for each in pictures)
        case Table():
            return _table(part)


def _table(table: Table) -> str:
    rules = ["---" if column in table.left else "---:" for column in range(len(table.headings))]
    lines = [_row(map(_inline, table.headings)), _row(rules)]
    for number, cells in enumerate(table.cells()):
        lines.append(
            _row(
                f"**{text}**" if (number, column) in table.marked else text
                for column, text in enumerate(map(_inline, cells))
            )
        )
    grid = "\n".join(lines)
    return f"{_block(table.caption)}\n\n{grid}" if table.caption else grid


def _row(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", r"\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _inline(text: str) -> str:
    return _SPECIAL.sub(lambda found: found[0] if found["code"] else f"\\{found[0]}", one_line(text))


def _block(text: str) -> str:
    """The beginning of a paragraph or of an item."""
    return _BLOCK.sub(r"\1\\", _inline(text))


def _heading(text: str) -> str:
    """Number signs at its end would be part of its frame."""
    return _inline(text).replace("#", r"\#")


def _brackets(text: str) -> str:
    return re.sub(r"[\[\]]", r"\\\g<0>", text)
