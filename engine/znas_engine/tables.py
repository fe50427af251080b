"""Tables of results: architectures with their measured accuracies, as CSV or a benchmark's own folder."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
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
    """genotypes [n] and per column an accuracy in percent, float64 [n]."""

    path: Path
    genotypes: list[Genotype]
    columns: Columns

    def column(self, name: str | None) -> tuple[str, NDArray[np.float64]]:
        """The named column, or the first one."""
        chosen = next(iter(self.columns)) if name is None else name
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
) -> Table:
    """A CSV with a header; its first text column is the architecture, every numeric column but an index an
    accuracy in percent. A folder is read as the space reads its benchmark's.

    Raises DataError: missing or empty file, no column that holds architectures of `space`, no accuracy.
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
    try:
        genotypes = [space.parse(row[text[0]] or "") for row in rows]
    except InvalidValueError as error:
        raise DataError(f"the table {path}, column {text[0]!r}: {error}") from error
    columns = {
        name: np.array([float(row[name]) for row in rows])
        for name in names
        if name not in (text[0], "index") and all(_is_number(row[name]) for row in rows)
    }
    if not columns:
        raise DataError(f"the table {path} has no numeric column beside {text[0]!r}")
    return Table(path, genotypes, columns)


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and math.isfinite(float(text))
    except ValueError:
        return False
