"""A reproduced table as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from znas_engine.errors import StorageError
from znas_engine.storage import write_atomically


@dataclass(frozen=True, slots=True)
class Sheet:
    """title, headings and cells as text; notes are sentences that belong to the numbers. data: the same
    numbers in full, plain JSON. records: one flat row per number, for the CSV."""

    title: str
    headings: list[str]
    cells: list[list[str]]
    notes: list[str]
    records: list[dict[str, Any]]
    data: dict[str, Any]

    def markdown(self) -> str:
        lines = [f"# {self.title}", "", _line(self.headings), _line(["---"] * len(self.headings))]
        lines += [_line(row) for row in self.cells]
        lines += ["", *(f"* {note}" for note in self.notes)]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        text = io.StringIO()
        names = list(dict.fromkeys(name for record in self.records for name in record))
        writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.records)
        return text.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """The content of NAME.json."""
        return self.data | {"notes": self.notes}

    def save(self, folder: Path, name: str) -> None:
        """NAME.md, NAME.csv and NAME.json, each whole or as it was before."""
        for suffix, text in (
            ("md", self.markdown()),
            ("csv", self.csv()),
            ("json", json.dumps(self.to_dict(), indent=1) + "\n"),
        ):
            save_bytes(folder / f"{name}.{suffix}", text.encode())


def save_bytes(path: Path, data: bytes) -> None:
    """All of the file or none of it; StorageError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise StorageError(f"the file {path} cannot be written ({error.strerror or error})") from error


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(text.replace('|', '&#124;') for text in cells)} |"
