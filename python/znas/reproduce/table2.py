"""Table 2: what each search finds, looked up in a table of trained cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from znas.reproduce.published import apart, beside, column_key, methods, published
from znas.reproduce.rows import LARGEST, RANDOM, Row
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Comparison, Summary, compared, summary
from znas.reproduce.trials import Trial
from znas.selection.criteria import Floats
from znas.setup import Conditions
from znas_engine.errors import DataError
from znas_engine.tables import Table

NOTES = (
    "mean ± standard deviation over seeds [95 % t-interval of the mean], percent; published in parentheses",
    (
        f"against {RANDOM} and {LARGEST}, first accuracy column: mean difference over the seeds, above 0 "
        "where this row is better; p: two-sided Wilcoxon signed-rank test, exact up to 200 seeds, not "
        "corrected for the number of rows"
    ),
    (
        "seconds: mean over seeds = set-up + evaluation + the rest, on this machine; published in "
        "parentheses, on the device named"
    ),
)


def table2(
    rows: Sequence[Row],
    trials: dict[str, list[Trial]],
    table: Table | None,
    conditions: Conditions,
    remarks: Sequence[str] = (),
) -> Sheet:
    """table: trained cells with their accuracies, every column reported; None reports costs alone. remarks:
    what belongs to some of the rows.

    Raises DataError where a found cell is not in the table.
    """
    columns = {} if table is None else {c: _accuracies(trials, table, c) for c in table.accuracies()}
    entries = [_entry(row, trials[row.name], columns) for row in rows]
    others = apart("table2", [row.name for row in rows])
    return Sheet(
        title=f"{published()['tables']['table2']['title']}, {len(trials[rows[0].name])} seeds",
        headings=[
            "row",
            *(f"{c}{' (published)' if column_key(c) else ''}" for c in columns),
            *(["against random", "against most parameters"] if columns else []),
            "passes",
            "seconds (published)",
        ],
        cells=[_cells(e, list(columns)) for e in entries] + [_other(e, list(columns)) for e in others],
        notes=[*NOTES, *(f"{row.name}: {row.what}" for row in rows), *remarks],
        records=[_record(e, c) for e in entries for c in (columns or {"": {}})],
        data={
            "table": "table2",
            "seeds": [t.seed for t in trials[rows[0].name]],
            "accuracies": None if table is None else table.path.name,
            "settings": {n: getattr(conditions, n) for n in ("data", "backend", "images", "norm", "threads")},
            "rows": entries,
            "published": methods("table2"),
        },
    )


def _accuracies(trials: dict[str, list[Trial]], table: Table, column: str) -> dict[str, Floats]:
    """Per row float64 [seeds], by the cell's string."""
    known = {str(g): float(a) for g, a in zip(table.genotypes, table.columns[column], strict=True)}
    for row in trials.values():
        for trial in row:
            if trial.arch not in known:
                raise DataError(f"the table {table.path} does not have the cell {trial.arch}")
    return {name: np.array([known[t.arch] for t in row]) for name, row in trials.items()}


def _entry(row: Row, trials: list[Trial], columns: dict[str, dict[str, Floats]]) -> dict[str, Any]:
    accuracies: dict[str, Any] = {}
    for column, values in columns.items():
        own = values[row.name]
        against = {
            name: asdict(compared(own, values[name]))
            for name in (RANDOM, LARGEST)
            if name in values and name != row.name
        }
        accuracies[column] = asdict(summary(own)) | {"values": own.tolist(), "against": against}
    reported = beside("table2", row.name)
    return {
        "row": row.name,
        "what": row.what,
        "accuracy": accuracies,
        "evaluations": float(np.mean([t.evaluations for t in trials])),
        "seconds": phases(trials),
        "device": trials[0].device,
        "architectures": [t.arch for t in trials],
        "published": reported,
    }


def phases(trials: list[Trial]) -> dict[str, Any]:
    """Seconds by phase, each a `Summary` as a dictionary."""
    return {
        phase: asdict(summary(np.array([getattr(t.seconds, phase) for t in trials])))
        for phase in ("total", "setup", "evaluate", "select")
    }


def _cells(entry: dict[str, Any], columns: list[str]) -> list[str]:
    cells = [entry["row"]]
    for column in columns:
        found = entry["accuracy"][column]
        s = Summary(*(found[n] for n in ("n", "mean", "std", "low", "high")))
        cells.append(" ".join(filter(None, (spread(s), _reported(entry["published"], column)))))
    if columns:
        against = entry["accuracy"][columns[0]]["against"]
        cells += [
            versus(Comparison(**against[name])) if name in against else "" for name in (RANDOM, LARGEST)
        ]
    cells.append(f"{entry['evaluations']:,.0f}")
    cells.append(f"{seconds(entry['seconds'])}{_reported_seconds(entry['published'])}")
    return cells


def _other(entry: dict[str, Any], columns: list[str]) -> list[str]:
    """A method that is only published."""
    blank = ["", ""] if columns else []
    return [
        f"({entry['method']})",
        *(_reported(entry, column) for column in columns),
        *blank,
        "",
        _reported_seconds(entry).strip(),
    ]


def spread(s: Summary) -> str:
    """mean ± std [low, high]"""
    if s.std is None:
        return f"{s.mean:.2f}"
    return f"{s.mean:.2f} ± {s.std:.2f} [{s.low:.2f}, {s.high:.2f}]"


def versus(found: Comparison) -> str:
    """+0.53, p = 0.002"""
    return f"{found.difference:+.2f}, p {'< 0.001' if found.p < 0.001 else f'= {found.p:.3f}'}"


def seconds(phases: dict[str, Any]) -> str:
    """total = set-up + evaluation + rest"""
    total, setup, evaluate, rest = (phases[n]["mean"] for n in ("total", "setup", "evaluate", "select"))
    return f"{total:.2f} = {setup:.2f} + {evaluate:.2f} + {rest:.2f}"


def _reported(entry: dict[str, Any] | None, column: str) -> str:
    found = None if entry is None else entry["accuracy"].get(column_key(column))
    if not found:
        return ""
    return f"({found[0]:.2f})" if found[1] is None else f"({found[0]:.2f} ± {found[1]:.2f})"


def _reported_seconds(entry: dict[str, Any] | None) -> str:
    if entry is None or entry["seconds"] is None:
        return ""
    return f" ({entry['seconds']:g}{', ' + entry['device'] if entry['device'] else ''})"


def _record(entry: dict[str, Any], column: str) -> dict[str, Any]:
    record: dict[str, Any] = {"row": entry["row"], "column": column}
    if column:
        found = entry["accuracy"][column]
        record |= {name: found[name] for name in ("n", "mean", "std", "low", "high")}
        for name, against in found["against"].items():
            record |= {f"difference_from_{name}": against["difference"], f"p_against_{name}": against["p"]}
        reported = (entry["published"] or {"accuracy": {}})["accuracy"].get(column_key(column))
        record |= {"published_mean": reported[0], "published_std": reported[1]} if reported else {}
    record["evaluations"] = entry["evaluations"]
    record |= {f"seconds_{phase}": s["mean"] for phase, s in entry["seconds"].items()}
    record["device"] = entry["device"]
    record["published_seconds"] = None if entry["published"] is None else entry["published"]["seconds"]
    return record
