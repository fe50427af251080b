"""Tables of results: architectures with their measured accuracies, as CSV or a benchmark's own folder.

How a file becomes a table, each step in a module of its own:

1. `files`: bytes to text (gzip, bzip2, xz, zip; UTF-8, UTF-16, UTF-32, Latin-1).
2. `rows`: text to named cells (commas, semicolons or tabs; quotes; comments; lines).
3. The one column that the space reads holds the architectures, wherever it stands and whatever it is called.
4. `meaning`: what a column's **name** means decides whether it is an accuracy. A name that does not say
   counts only if no other column is an accuracy and no second such column could be one.
5. `cells`: an accuracy is a number in percent in every row, 0 to 100. A column of which that is not true is
   refused when it is asked for, with its first line; it never gives way to the next column.
6. One architecture twice with equal accuracies is one; with two accuracies it is refused.

`read_table` reports in one line what it took, what it left, and why.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import paths
from znas_engine.errors import DataError, InvalidValueError, briefly, one_line, unknown_choice
from znas_engine.progress import Progress, unheard
from znas_engine.spaces import Genotype, Mask, SearchSpace
from znas_engine.spaces.base import Columns
from znas_engine.tables import cells as of_cells
from znas_engine.tables.files import text_of
from znas_engine.tables.meaning import Kind, meaning
from znas_engine.tables.rows import Rows, lines_of, rows_of

#: Rows that are tried for the column of architectures, and columns or lines that a remark names, at most.
TRIED, NAMED = 20, 8
_ROWS = "numbers or ranks of rows teach nothing: if they are accuracies, rename it"


@dataclass(frozen=True, eq=False)
class Table:
    """genotypes [n]; columns: by name a number of every architecture, float64 [n], in the file's order; row
    numbers are none.

    first: the accuracy that stands first in the file, None where there is none. left: why a column is no
    accuracy, in words. refused: why a column can not be had, in words; it is none of `columns`. raw: every
    column with a number in every row, refused or not.
    """

    path: Path
    genotypes: list[Genotype]
    columns: Columns
    first: str | None = None
    left: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    raw: Columns = field(default_factory=dict)

    def accuracies(self) -> Columns:
        """Those of `columns` that are accuracies in percent, not none of them; DataError where the first of
        the file is refused, or there is none."""
        self._of(None)
        return {name: values for name, values in self.columns.items() if name not in self.left}

    def column(self, name: str | None) -> tuple[str, NDArray[np.float64]]:
        """The first accuracy, or the named one of `columns`, whatever it means.

        Raises InvalidValueError for an unknown name, DataError for a column that is refused, and where none
        is named and there is no accuracy, or all are equal.
        """
        if name is not None and not isinstance(name, str):
            raise InvalidValueError(f"`column` must be a name or None but got {briefly(name)}")
        chosen, values = self._of(name)
        if name is None and len(values) > 1 and np.ptp(values) == 0:
            raise DataError(
                f"the table {self.path}, column {briefly(chosen)}: every value is {values[0]:g}, which ranks "
                "nothing: name another with --column"
            )
        return chosen, values

    def _of(self, name: str | None) -> tuple[str, NDArray[np.float64]]:
        chosen = self.first if name is None else name
        if chosen is None:
            raise DataError(
                f"the table {self.path} has no accuracy by the names of its columns: {_listed(self.left)}; "
                "name one with --column, or call it accuracy"
            )
        if chosen in self.refused:
            raise DataError(f"the table {self.path}, column {briefly(chosen)}, {self.refused[chosen]}")
        if chosen not in self.columns:
            raise unknown_choice(f"column of {self.path}", chosen[:80], self.columns)
        return chosen, self.columns[chosen]

    def digest(self, name: str) -> str:
        """Of one of `columns` with its architectures: the same in any order of lines, in any file."""
        lines = sorted(f"{a} {v!r}" for a, v in zip(self.genotypes, self.columns[name].tolist(), strict=True))
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def masks(self, space: SearchSpace[Any]) -> Mask:
        """path(a) of every architecture, float32 [n, E, O]. InvalidValueError for what is not its space."""
        _require_space(space)
        for genotype in self.genotypes[:1]:
            space.parse(str(genotype))
        return np.stack([space.mask(genotype) for genotype in self.genotypes])


def read_table(
    path: Path | str,
    space: SearchSpace[Any],
    progress: Progress = unheard,
    report: Callable[[str], None] = unheard,
) -> Table:
    """A CSV with a header, read as this module says; a folder as the space reads its benchmark's.

    report: is told in one line what was taken and what was left, and of doubles.

    Raises DataError, with the line and the column: no file, no table, no column with architectures of
    `space`, an architecture that it does not read, no numeric column.
    """
    _require_space(space)
    path = paths.named(path, "the table")
    if paths.is_folder(path, "the table", DataError):
        genotypes, columns = space.read_folder(path, progress, report)
        return Table(path, genotypes, columns, first=next(iter(columns), None), raw=columns)
    text, remark = text_of(path)
    if remark:
        report(remark)
    rows = rows_of(path, text)
    where, genotypes = _architectures(path, rows, space)
    _say_numbers(path, space, rows.cells[0][where], genotypes[0], report)
    found = _columns(rows, where)
    if all(one.values is None and not one.refused for one in found):
        others = _listed({one.name: one.why for one in found})
        raise DataError(
            f"the table {path} has no numeric column beside {briefly(rows.names[where])}; others: {others}"
        )
    _accept_unsaid(found)
    kept = _merged(path, rows, genotypes, found, report)
    table = _table(path, [genotypes[k] for k in kept], found, kept)
    taken = [name for name in table.columns if name not in table.left]
    guessed = [one.name for one in found if one.guessed and one.name in taken]
    doubt = ", though its name does not say so" if guessed else ""
    report(
        one_line(f"{path}: accuracies in percent: {_names(taken)}{doubt}; left out: {_listed(table.left)}")
    )
    return table


def read_architectures(
    path: Path | str,
    space: SearchSpace[Any],
    progress: Progress = unheard,
    report: Callable[[str], None] = unheard,
) -> list[Genotype]:
    """Those of a table in the order of its lines, whatever its columns are; of a folder that the space reads;
    or of a file that has one architecture per line and nothing else.

    report: is told how it was read where there is doubt. Raises DataError, with the line: no file, an
    architecture that the space does not read.
    """
    _require_space(space)
    path = paths.named(path, "the table")
    if paths.is_folder(path, "the table", DataError):
        return space.read_folder(path, progress, report)[0]
    text, remark = text_of(path)
    if remark:
        report(remark)
    lines = lines_of(text)
    if lines and _reads(space, lines[0][1]):
        written = lines[0][1]
        genotypes = [_parsed(path, space, line, number, "") for number, line in lines]
    else:
        rows = rows_of(path, text)
        where, genotypes = _architectures(path, rows, space)
        written = rows.cells[0][where]
    _say_numbers(path, space, written, genotypes[0], report)
    return genotypes


def _say_numbers(
    path: Path, space: SearchSpace[Any], written: str, genotype: Genotype, report: Callable[[str], None]
) -> None:
    """How an architecture was read that is written without the names of its operations."""
    if _numbered(written) and not _numbered(str(genotype)):
        numbers = ", ".join(f"{k} {name}" for k, name in enumerate(space.operations))
        report(one_line(f"{path}: its architectures are numbers, which are read as {numbers}: others differ"))


def _numbered(written: str) -> bool:
    """Whether an architecture is written without the names of its operations."""
    return not any(letter.isalpha() for letter in written)


def _names(names: Sequence[str]) -> str:
    return _few([briefly(name) for name in names[:NAMED]], len(names))


def _listed(left: dict[str, str]) -> str:
    """Columns and why they are left out."""
    return _few([f"{briefly(name)} ({why})" for name, why in [*left.items()][:NAMED]], len(left))


def _few(parts: list[str], count: int) -> str:
    """The first of so many."""
    more = [f"and {count - NAMED:,} more"] if count > NAMED else []
    return ", ".join([*parts, *more]) or "none"


@dataclass(slots=True, eq=False)
class _Column:
    """values: float64 [n], None where not every cell is a number; refused: why, in words, or why these
    numbers are no accuracies. why: it is no accuracy, "" for one. guessed: its name does not say so."""

    name: str
    kind: Kind
    why: str
    cells: list[str]
    lines: list[int]
    values: NDArray[np.float64] | None
    refused: str = ""
    guessed: bool = False

    def accept(self) -> None:
        """Takes it for an accuracy."""
        self.guessed = self.kind == "unsaid"
        self.kind, self.why = "accuracy", ""
        if self.values is not None:
            self.refused = of_cells.against(self.values, self.cells, self.lines)


def _require_space(space: object) -> None:
    if not isinstance(space, SearchSpace):
        raise InvalidValueError(f"`space` must be a search space (get_space(NAME)) but got {briefly(space)}")


def _architectures(path: Path, rows: Rows, space: SearchSpace[Any]) -> tuple[int, list[Genotype]]:
    """The column that the space reads, and what it reads there."""
    name_of = [briefly(name) if name else f"number {k + 1}" for k, name in enumerate(rows.names)]
    if any(_reads(space, name) for name in rows.names):
        begin = briefly(", ".join(rows.names))
        raise DataError(
            f"the table {path} has no header but begins with {begin}: add a first line such as arch,accuracy "
            "(a line that begins with # is a comment)"
        )
    few = rows.cells[:TRIED]
    able = [k for k in range(len(rows.names)) if any(_reads(space, row[k]) for row in few)]
    if not able:
        able = [k for k in range(len(rows.names)) if of_cells.is_text([row[k] for row in few])][:1]
    if not able:
        raise DataError(f"the table {path} has no text column with architectures of {space.name}")
    readings: dict[int, list[Genotype]] = {}
    problem: DataError | None = None
    for k in able:
        try:
            readings[k] = [_parsed(path, space, row[k], line, name_of[k]) for row, line in _each(rows)]
        except DataError as error:
            problem = problem or error
    if not readings and problem is not None:
        raise problem
    (where, first), *others = readings.items()
    for k, other in others:
        line = next((line for a, b, line in zip(first, other, rows.lines, strict=True) if a != b), None)
        if line is not None:
            raise DataError(
                f"the table {path}, line {line}: columns {name_of[where]} and {name_of[k]} hold different "
                "architectures: delete one"
            )
    return where, first


def _each(rows: Rows) -> Sequence[tuple[list[str], int]]:
    return list(zip(rows.cells, rows.lines, strict=True))


def _parsed(path: Path, space: SearchSpace[Any], cell: str, line: int, name: str) -> Genotype:
    try:
        found: Genotype = space.parse(cell)
    except InvalidValueError as error:
        where = f", column {name}" if name else ""
        raise DataError(f"the table {path}, line {line}{where}: {error}") from error
    return found


def _reads(space: SearchSpace[Any], text: str) -> bool:
    try:
        space.parse(text)
    except InvalidValueError:
        return False
    return True


def _columns(rows: Rows, architectures: int) -> list[_Column]:
    """All but the architectures, in the file's order."""
    found: list[_Column] = []
    for k, name in enumerate(rows.names):
        if k == architectures:
            continue
        cells = [row[k] for row in rows.cells]
        kind, why = meaning(name)
        one = _Column(name or f"column {k + 1}", kind, why, cells, rows.lines, None)
        if of_cells.is_text(cells) and not (kind == "accuracy" and of_cells.has_numbers(cells)):
            one.kind, one.why = "other", "text"
        elif kind != "rows" or any(cells):
            one.values, one.refused = of_cells.numbers(cells, rows.lines, commas=rows.separator != ",")
            if kind == "loss":
                one.refused = one.refused or "smaller is better there: give 100 - error instead"
            elif kind == "rows":
                one.refused = _ROWS
            elif kind == "accuracy" and of_cells.is_flags(cells):
                one.kind, one.why = "other", "yes or no"
            elif kind == "accuracy":
                one.accept()
        found.append(one)
    return found


def _accept_unsaid(columns: list[_Column]) -> None:
    """Takes the one column whose name does not say what it is, where no other could be meant."""
    unsaid = [one for one in columns if one.kind == "unsaid"]
    for one in unsaid:
        if one.values is not None and of_cells.is_count(one.values):
            one.kind, one.why = "rows", "whole numbers one after the other, as rows are numbered"
            one.refused = _ROWS
    unsaid = [one for one in unsaid if one.kind == "unsaid"]
    if len(unsaid) == 1 and not any(one.kind == "accuracy" for one in columns):
        unsaid[0].accept()


def _merged(
    path: Path, rows: Rows, genotypes: list[Genotype], columns: list[_Column], report: Callable[[str], None]
) -> list[int]:
    """The first row of every architecture. A column that gives one architecture two values is refused."""
    first: dict[str, int] = {}
    doubles = [(first.setdefault(str(genotype), k), k) for k, genotype in enumerate(genotypes)]
    doubles = [(a, b) for a, b in doubles if a != b]
    for one in columns:
        for a, b in doubles if one.values is not None and one.kind != "rows" else ():
            assert one.values is not None
            if one.values[a] != one.values[b] and not one.refused:
                one.refused = (
                    f"lines {rows.lines[a]} and {rows.lines[b]} give one architecture {one.cells[a]:.40} and "
                    f"{one.cells[b]:.40}: keep one line of each, or their mean"
                )
    if doubles:
        a, b = doubles[0]
        report(
            f"{path}: {len(doubles):,} lines repeat an architecture and do not count: line {rows.lines[b]} "
            f"that of line {rows.lines[a]}{', and others' if len(doubles) > 1 else ''}"
        )
    return list(first.values())


def _table(path: Path, genotypes: list[Genotype], columns: list[_Column], kept: list[int]) -> Table:
    raw = {one.name: one.values[kept] for one in columns if one.values is not None}
    refused = {one.name: one.refused for one in columns if one.refused}
    accuracies = [one.name for one in columns if one.kind == "accuracy"]
    return Table(
        path,
        genotypes,
        columns={name: values for name, values in raw.items() if name not in refused},
        first=next(iter(accuracies), None),
        left={one.name: one.why or one.refused for one in columns if one.why or one.refused},
        refused=refused,
        raw=raw,
    )
