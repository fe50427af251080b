"""Latencies that were measured elsewhere: a CSV with a column of architectures and columns `*_ms`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import DataError, InvalidValueError, briefly, unknown_choice
from znas_engine.spaces import Genotype, SearchSpace
from znas_engine.tables import read_table

#: What names of columns of milliseconds end in.
SUFFIX = "_ms"


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """genotypes [n]; columns: by name, without `_ms`, milliseconds of each, float64 [n], all positive."""

    path: Path
    space: SearchSpace[Any]
    genotypes: list[Genotype]
    columns: dict[str, NDArray[np.float64]]
    _rows: dict[bytes, int]

    def __repr__(self) -> str:
        columns = ", ".join(self.columns)
        return f"<LatencyTable {self.path}: {len(self.genotypes):,} of {self.space.name}; {columns}>"

    @classmethod
    def read(cls, path: Path | str, space: SearchSpace[Any]) -> LatencyTable:
        """The table of a file, as `znas_engine.tables` reads it.

        Raises:
            DataError: no column that ends in `_ms`; a cell of one that is empty, no number or not above 0; an
                architecture with two latencies; and as `read_table`.
        """
        table = read_table(path, space)
        named = [name for name in (*table.raw, *table.refused) if name.lower().endswith(SUFFIX)]
        if not named:
            others = ", ".join(map(briefly, list(table.left)[:8])) or "none"
            raise DataError(
                f"the table {table.path} has no column of milliseconds: name one such as phone{SUFFIX}; "
                f"others: {others}"
            )
        for name in named:
            if name in table.refused:
                raise DataError(f"the table {table.path}, column {briefly(name)}, {table.refused[name]}")
            if not (table.raw[name] > 0).all():
                worst = int(table.raw[name].argmin())
                raise DataError(
                    f"the table {table.path}, column {briefly(name)}: {table.raw[name][worst]:g} ms for "
                    f"{table.genotypes[worst]}: a latency is above 0"
                )
        columns = {name[: -len(SUFFIX)]: table.raw[name] for name in dict.fromkeys(named)}
        rows = {space.mask(genotype).tobytes(): k for k, genotype in enumerate(table.genotypes)}
        return cls(table.path, space, table.genotypes, columns, rows)

    @cached_property
    def admitted(self) -> list[int]:
        """The rows whose architecture the space admits."""
        return [i for i, each in enumerate(self.genotypes) if self.space.admits(self.space.mask(each))]

    def column(self, name: str | None = None) -> NDArray[np.float64]:
        """Milliseconds of every architecture, float64 [n]; None: of the only column.

        Raises InvalidValueError: no such column, or none named of several.
        """
        if name is None:
            if len(self.columns) > 1:
                raise InvalidValueError(
                    f"the table {self.path} has {len(self.columns)} columns of milliseconds: name one of "
                    f"{', '.join(self.columns)}"
                )
            return next(iter(self.columns.values()))
        found = name.removesuffix(SUFFIX)
        if found not in self.columns:
            raise unknown_choice(f"column of {self.path}", name, self.columns)
        return self.columns[found]

    def find(self, genotype: Genotype, name: str | None = None) -> float | None:
        """Milliseconds of one architecture, None where the table has none. Raises as `column`."""
        values = self.column(name)
        row = self._rows.get(self.space.mask(genotype).tobytes())
        return None if row is None else float(values[row])

    def of(self, genotype: Genotype, name: str | None = None) -> float:
        """The same. Raises DataError where the table has none."""
        found = self.find(genotype, name)
        if found is None:
            raise DataError(
                f"the table {self.path} has no row for {genotype}: add one, or measure it with --max-latency "
                "...@ort:cpu:1"
            )
        return found
