"""From a table's text to its rows: separators, quotes, comments, headers, each row with its line."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from znas_engine.errors import DataError, briefly

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


@dataclass(frozen=True, slots=True)
class Rows:
    """names: of the columns, "" where there is none. cells: per row as many. lines: where a row begins in the
    file, from 1. separator: between cells."""

    names: list[str]
    cells: list[list[str]]
    lines: list[int]
    separator: str


def rows_of(path: Path, text: str) -> Rows:
    """Cells are stripped. Empty lines, and lines that begin with # (but not with a name `#`), are no rows.

    Raises DataError, with the line: another number of cells than the header's, quotes that do not close,
    a name twice, no rows; also where a file can be read with two separators.
    """
    first, _, rest = text.partition("\n")
    said = re.fullmatch(r"sep=([,;\t])", first.strip('" '))  # as Excel writes it
    if said:
        text = "\n" + rest
    header = next((line for line in text.split("\n") if line.strip() and not _is_comment(line)), "")
    found: list[Rows] = []
    wrong: list[DataError] = []
    for separator in said[1] if said else [each for each in SEPARATORS if each in header] or ",":
        try:
            found.append(_read(path, text, separator))
        except DataError as error:
            wrong.append(error)
    if len(found) > 1:
        both = " or ".join(SEPARATORS[rows.separator] for rows in found)
        raise DataError(f"the table {path} could be separated by {both}: quote its cells")
    if not found:
        raise wrong[0]
    return found[0]


def lines_of(text: str) -> list[tuple[int, str]]:
    """(number from 1, line) of everything that is neither empty nor a comment."""
    lines = enumerate(text.split("\n"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip() and not _is_comment(line)]


#: What a spreadsheet writes where a formula has no value: #N/A, #DIV/0!, #REF!; a gap, not a comment.
_GAP = re.compile(r"#(N/?A|NV|DIV/0!|[^\W\d_]+[!?])[ \"]*([,;\t]|$)")


def _is_comment(line: str) -> bool:
    return line.startswith("#") and line[1:2] not in SEPARATORS and not _GAP.match(line)


def _read(path: Path, text: str, separator: str) -> Rows:
    records = _records(path, text, separator)
    header = next(records, None)
    if header is None:
        raise DataError(f"the table {path} has no rows: it is empty")
    names = header[1]
    while len(names) > 1 and not names[-1]:  # a separator at the end of the line
        names = names[:-1]
    for k, name in enumerate(names):
        if name and name in names[:k]:
            raise DataError(
                f"the table {path}, line {header[0]}: two columns are called {briefly(name)}: rename one"
            )
    cells: list[list[str]] = []
    lines: list[int] = []
    for line, record in records:
        if len(record) < len(names) or any(record[len(names) :]):
            raise DataError(
                f"the table {path}, line {line}: {len(record)} cells where its header has {len(names)}: "
                f"quote cells that hold {SEPARATORS[separator]}"
            )
        cells.append(record[: len(names)])
        lines.append(line)
    if not cells:
        raise DataError(f"the table {path} has no rows below its header")
    return Rows(names, cells, lines, separator)


def _records(path: Path, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """(line, cells) of everything that is neither empty nor a comment."""
    number = begun = 0
    within = False  # whether a quoted cell goes on in the next line

    def lines() -> Iterator[str]:
        nonlocal number, begun, within
        for line in text.split("\n"):
            number += 1
            if not within:
                if _is_comment(line) or not line.strip():
                    continue
                within, begun = True, number
            yield line + "\n"

    reader = csv.reader(lines(), delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    while True:
        within = False
        try:
            record = next(reader, None)
        except csv.Error as error:
            raise DataError(f"the table {path}, line {begun}: {_in_words(error)}") from error
        if record is None:
            return
        record = [cell.strip() for cell in record]
        if any(record):
            yield begun, record


def _in_words(error: csv.Error) -> str:
    said = str(error)
    return "its quotes do not close" if "unexpected end" in said else f"no CSV ({said})"
