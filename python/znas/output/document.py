"""What a result says, before it is text, Markdown or HTML: plain data."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: Code within a text; a backtick that has no partner is itself.
CODE = re.compile(r"(?<!`)`([^`\s](?:[^`]*[^`\s])?)`(?!`)")
#: Control characters that break no line, and halves of surrogate pairs.
UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Heading:
    """level: 2 below the title, 3 below that."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """Shown letter by letter: a command, an architecture."""

    text: str


@dataclass(frozen=True, slots=True)
class Notes:
    """Sentences that belong to what stands above."""

    lines: Sequence[str]


@dataclass(frozen=True, slots=True)
class Facts:
    """(label, value) pairs. large: the few numbers that a reader came for."""

    pairs: Sequence[tuple[str, str]]
    large: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """rows: as long as `headings`. caption: what its numbers are. left: columns of words, the others are
    aligned to the right. marked: (row, column) of cells that stand out; they end in ' *' and are bold.
    shades: of cells, how dark a page shows them, from 0 to 1: a heat map.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    left: Collection[int] = (0,)
    marked: Collection[tuple[int, int]] = ()
    shades: Mapping[tuple[int, int], float] = field(default_factory=dict)

    def cells(self) -> list[list[str]]:
        """The rows as they are shown, one line per cell, marks included."""
        return [
            [
                f"{one_line(cell)} *".lstrip() if (r, c) in self.marked else one_line(cell)
                for c, cell in enumerate(row)
            ]
            for r, row in enumerate(self.rows)
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture. name: its file beside a page. png: its bytes."""

    name: str
    png: bytes = field(repr=False)
    caption: str


@dataclass(frozen=True, slots=True)
class Picture:
    """svg: one element that needs nothing beside it, and says in words what it shows. width: in inches, as it
    was drawn."""

    svg: str = field(repr=False)
    caption: str
    width: float


@dataclass(frozen=True, slots=True)
class Pictures:
    """Beside one another where there is room for that. Where nothing is drawn there is the caption alone."""

    pictures: Sequence[Picture]


Part: TypeAlias = Heading | Paragraph | Code | Notes | Facts | Table | Figure | Pictures


@dataclass(frozen=True, slots=True)
class Document:
    """title: of the page. data: the same in full, plain JSON."""

    title: str
    parts: Sequence[Part]
    data: Mapping[str, Any] = field(default_factory=dict)

    def figures(self) -> dict[str, bytes]:
        """File name -> PNG: what a page needs beside it."""
        return {part.name: part.png for part in self.parts if isinstance(part, Figure)}

    def json(self) -> str:
        """`data` as the content of a file."""
        return json.dumps(self.data, indent=1) + "\n"


def visible(text: str) -> str:
    """With what steers terminals, and half characters, which names of files may hold, written out."""
    return UNSEEN.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def one_line(text: str) -> str:
    return visible(" ".join(line.strip() for line in text.splitlines()))


def pieces(text: str) -> Iterator[tuple[str, bool]]:
    """(piece, whether it is code) from left to right, on one line."""
    text = one_line(text)
    end = 0
    for match in CODE.finditer(text):
        if match.start() > end:
            yield text[end : match.start()], False
        yield match[1], True
        end = match.end()
    if end < len(text):
        yield text[end:], False
