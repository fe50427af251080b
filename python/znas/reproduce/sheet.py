"""A reproduced table, and the files of it in a folder that several share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from znas.files import Album
from znas.output import Document, Figure, Notes, Table, html, markdown
from znas.output.records import as_csv


@dataclass(frozen=True, slots=True)
class Sheet:
    """title, headings and cells as text; notes are sentences that belong to the numbers. data: the same
    numbers in full, plain JSON. records: one flat row per number, for the CSV. left: columns of words."""

    title: str
    headings: list[str]
    cells: list[list[str]]
    notes: list[str]
    records: list[dict[str, Any]]
    data: dict[str, Any]
    left: tuple[int, ...] = (0,)

    def document(self, pictures: Sequence[Figure] = ()) -> Document:
        table = Table(self.headings, self.cells, left=self.left)
        return Document(self.title, [table, Notes(self.notes), *pictures], self.data | {"notes": self.notes})

    def save(self, album: Album, name: str, draw: Callable[[dict[str, Any]], Figure] | None = None) -> None:
        """NAME.md, .html, .csv, .json and the picture of `data`, each whole or as it was before."""
        page = self.document([draw(self.data)] if draw is not None else [])
        for suffix, text in (
            ("csv", as_csv(self.records)),
            ("json", page.json()),
            ("md", markdown.render(page)),
            ("html", html.render(page)),
        ):
            album.write(f"{name}.{suffix}", text.encode())
        for file, data in page.figures().items():
            album.write(file, data)
