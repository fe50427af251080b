"""What scoring found: one row per architecture, as objects, CSV, JSON, a data frame and a page."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from znas.files import check_new, write_file
from znas.output import Document, Facts, Notes, Part, Table
from znas.output.notebook import Shown
from znas.output.records import as_csv, as_frame
from znas.request import Request
from znas.setup import Conditions
from znas_engine.errors import InvalidValueError, one_line
from znas_engine.paths import named
from znas_engine.spaces import Macro, SearchSpace

#: Rows that are shown on a terminal.
SHOWN = 20
#: Characters of an architecture in one line of many.
ARCH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One architecture.

    values: by score its value in every environment. aggregate: one number of them all, larger is better.
    rank: among those given, from 1; equal ones share a rank. percentile: the share, in percent, of the random
    architectures that it is better than, half of those that are equal; None without any. low, high: the
    percentile's interval over environments (`znas.scoring.standing.intervals`); None for one environment.
    admitted: whether a search might choose it: it keeps the rules of the space and lets images through.
    params, flops: at the size at which the community trains it; flops are multiply-accumulates.
    """

    arch: str
    values: dict[str, tuple[float, ...]]
    aggregate: float
    rank: int
    percentile: float | None
    low: float | None
    high: float | None
    admitted: bool
    params: int
    flops: int

    def __repr__(self) -> str:
        among = "" if self.percentile is None else f", percentile {self.percentile:.1f}"
        arch = one_line(self.arch, ARCH)
        return f"<ScoreRow {arch}: {self.aggregate:.6g}, rank {self.rank}{among}>"

    def record(self) -> dict[str, Any]:
        """Flat: by score its mean and, of several environments, its standard deviation."""
        found: dict[str, Any] = {"arch": self.arch}
        for name, values in self.values.items():
            found[name] = float(np.mean(values))
            if len(values) > 1:
                found[f"{name}_std"] = float(np.std(values, ddof=1))
        found |= {"aggregate": self.aggregate, "rank": self.rank}
        if self.percentile is not None:
            found["percentile"] = self.percentile
        if self.low is not None:
            found |= {"percentile_low": self.low, "percentile_high": self.high}
        found["admitted"] = self.admitted
        return found | {"network_params": self.params, "network_flops": self.flops}  # scores have such names


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreTable(Shown):
    """The answer of `znas.score`.

    request: what was asked. space, conditions: what that resolved to. rows: in the order in which the
    architectures were given. aggregate: which number a row's is, by its name. references: the random
    architectures of percentiles, admitted and of different functions; ranks that an aggregate takes are
    taken among them. supernet: the size at which all were scored. macro: that of params and flops.
    seconds: that measuring cost, in whichever process it was done.
    """

    request: Request
    space: SearchSpace[Any]
    conditions: Conditions
    rows: tuple[ScoreRow, ...]
    aggregate: str
    references: tuple[str, ...]
    supernet: Macro
    macro: Macro
    seconds: float
    notes: tuple[str, ...]
    versions: dict[str, str]

    def __repr__(self) -> str:
        c = self.conditions
        return (
            f"<ScoreTable of {self.space.name}: {len(self.rows):,} architectures by {c.score}, "
            f"{len(self.references):,} random ones, {c.envs} environments of {c.images} images>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, strings and numbers: the same whether or not the job was interrupted, so
        without seconds."""
        c = self.conditions
        return {
            "space": self.space.name,
            "score": c.score,
            "scores": list(c.scores),
            "aggregate": self.aggregate,
            "seed": c.seed,
            "envs": c.envs,
            "images": c.images,
            "data": {"name": c.data, "origin": c.origin},
            "backend": c.backend,
            "device": c.device,
            "dtype": c.dtype,
            "norm": c.norm,
            "init": c.init,
            "supernet": asdict(self.supernet),
            "network": asdict(self.macro),
            "references": list(self.references),
            "rows": [asdict(row) for row in self.rows],
            "notes": list(self.notes),
            "versions": self.versions,
            "request": self.request.to_dict(),
        }

    def to_json(self) -> str:
        """One object; the keys are stable."""
        return json.dumps(self.to_dict(), indent=1)

    def records(self) -> list[dict[str, Any]]:
        """A flat dictionary per row: what CSV and data frame hold."""
        return [row.record() for row in self.rows]

    def to_csv(self) -> str:
        """A line of names and one per architecture."""
        return as_csv(self.records())

    def to_frame(self) -> Any:
        """A pandas.DataFrame of `records`; MissingDependencyError without pandas."""
        return as_frame(self.records())

    def save(self, path: str | Path) -> Path:
        """Writes a new file, as CSV or JSON by the end of its name; StorageError where it cannot."""
        where = named(path, "the output")
        return write_file(where, (self.to_csv() if is_csv(where) else f"{self.to_json()}\n").encode())

    def document(self) -> Document:
        """What the command prints."""
        return Document(
            f"Scores of architectures of the space {self.space.name}", list(_parts(self)), self.to_dict()
        )


def is_csv(path: Path) -> bool:
    """Whether a table of that name is CSV, or else JSON; InvalidValueError for another name."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise InvalidValueError(f"the output must be called .csv or .json but got {path}: name it {path}.csv")
    return path.suffix.lower() == ".csv"


def check_output(path: Path) -> None:
    """Asked before the work: InvalidValueError or StorageError where a table cannot be written there."""
    is_csv(path)
    check_new(path)


def _parts(table: ScoreTable) -> Iterator[Part]:
    c, size, network = table.conditions, table.supernet, table.macro
    environments = f"{c.envs} environment{'s' if c.envs > 1 else ''}"
    pixels = f"{size.resolution} x {size.resolution} pixels"
    side = network.resolution
    at = "" if side == size.resolution else f", {side} x {side} pixels"
    yield _table(table)
    facts = [
        ("scored", f"{len(table.rows):,} architectures and {len(table.references):,} random ones"),
        ("supernet", f"C={size.channels}, {size.cells} cells, {pixels}, norm {c.norm}"),
        ("images", f"{c.images} images, {environments}; {c.origin}"),
        ("network", f"C={network.channels}, {network.cells} cells{at}: of that are params and flops"),
    ]
    if c.agreement is not None:
        facts.append(
            ("precision", f"{c.dtype}; {c.agreement:.1%} of the images keep float32's class (mixture)")
        )
    facts.append(("device", c.device))
    facts.append(("seconds", f"{table.seconds:.2f} of evaluation ({c.backend}, {c.threads} threads)"))
    yield Facts(facts)
    if table.notes:
        yield Notes(table.notes)


def _table(table: ScoreTable) -> Table:
    """The best; their notation stands last, as it is long."""
    best = sorted(table.rows, key=lambda row: row.rank)[:SHOWN]
    several = len(table.conditions.scores) > 1
    headings = ["rank", *table.conditions.scores, *([table.aggregate] if several else [])]
    if table.references:
        headings.append("percentile")
    headings += ["network params", "network flops", "architecture"]
    left = len(table.rows) - len(best)
    return Table(
        headings,
        [_cells(row, several=several) for row in best],
        caption=f"the best {SHOWN} of {len(table.rows):,}; --out FILE.csv has all" if left else "",
        left=(len(headings) - 1,),
    )


def _cells(row: ScoreRow, *, several: bool) -> Sequence[str]:
    cells = [f"{row.rank:,}", *map(_mean, row.values.values())]
    if several:
        cells.append(f"{row.aggregate:.4g}")
    if row.percentile is not None:
        interval = "" if row.low is None else f" [{row.low:.1f}, {row.high:.1f}]"
        cells.append(f"{row.percentile:.1f}{interval}")
    flops = f"{row.flops / 1e6:.1f} M"
    return [*cells, f"{row.params:,}", flops, row.arch if row.admitted else f"{row.arch} (not admitted)"]


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.4g}{spread}"
