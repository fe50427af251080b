"""Tables of results: architectures with their measured accuracies, as CSV or a benchmark's own folder."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import DataError, InvalidValueError, unknown_choice
from znas_engine.progress import Progress, unheard
from znas_engine.spaces import Genotype, Mask, SearchSpace
from znas_engine.spaces.base import Columns


@dataclass(frozen=True, eq=False)
class Table:
    """genotypes [n] and per column an accuracy in percent, float64 [n]. incomplete: where a column that is
    numeric elsewhere is not, in words; it is none of `columns`."""

    path: Path
    genotypes: list[Genotype]
    columns: Columns
    incomplete: dict[str, str] = field(default_factory=dict)

    def column(self, name: str | None) -> tuple[str, NDArray[np.float64]]:
        """The named column, or the first one."""
        chosen = next(iter(self.columns)) if name is None else name
        if chosen in self.incomplete:
            raise DataError(f"the table {self.path}, column {chosen!r}, {self.incomplete[chosen]}")
        if chosen not in self.columns:
            raise unknown_choice(f"column of {self.path}", chosen, self.columns)
        return chosen, self.columns[chosen]

    def masks(self, space: SearchSpace[Any]) -> Mask:
        """path(a) of every architecture, float32 [n, E, O]."""
        return np.stack([space.mask(genotype) for genotype in self.genotypes])


def read_table(
    path: Path,
    space: SearchSpace[Any],
    progress: Progress = unheard,
    report: Callable[[str], None] = unheard,
) -> Table:
    """A CSV with a header; its first text column is the architecture, every numeric column but an index an
    accuracy in percent. A folder is read as the space reads its benchmark's. report: is told of columns that
    hold a number in some rows only.

    Raises DataError: missing or empty file, no header, no column that holds architectures of `space`, no
    accuracy.
    """
    if path.is_dir():
        return Table(path, *space.read_folder(path, progress))
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {path} cannot be read ({error})") from error
    if not rows:
        raise DataError(f"the table {path} has no rows below its header")
    names = [name for name in rows[0] if name is not None]
    text = [name for name in names if not _is_number(rows[0][name])]
    if not text:
        raise DataError(f"the table {path} has no text column with architectures of {space.name}")
    if _reads(space, text[0]):
        raise DataError(f"the table {path} has no header but begins with {', '.join(names)[:80]!r}")
    try:
        genotypes = [space.parse(row[text[0]] or "") for row in rows]
    except InvalidValueError as error:
        raise DataError(f"the table {path}, column {text[0]!r}: {error}") from error
    columns: Columns = {}
    incomplete: dict[str, str] = {}
    for name in names:
        wrong = [k for k, row in enumerate(rows) if not _is_number(row[name])]
        if name in (text[0], "index") or len(wrong) == len(rows):
            continue
        if wrong:
            incomplete[name] = f"row {wrong[0] + 1}: {rows[wrong[0]][name] or ''!r} is no number"
        else:
            columns[name] = np.array([float(row[name]) for row in rows])
    if not columns:
        why = "".join(f"; column {name!r}, {where}" for name, where in incomplete.items())
        raise DataError(f"the table {path} has no numeric column beside {text[0]!r}{why}")
    for name, where in incomplete.items():
        report(f"{path}, column {name!r} is left out: {where}")
    return Table(path, genotypes, columns, incomplete)


def _reads(space: SearchSpace[Any], text: str) -> bool:
    try:
        space.parse(text)
    except InvalidValueError:
        return False
    return True


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
