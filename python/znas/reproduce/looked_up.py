"""Tables of searches whose finds were all trained: what each finds, looked up."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from znas.costs.counts import flops
from znas.reproduce.evaluation import counted
from znas.reproduce.published import apart, beside, column_key, methods, published
from znas.reproduce.rows import BUSIEST, LARGEST, RANDOM, Row
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import Comparison, Summary, compared, summary
from znas.reproduce.trials import Trial
from znas.selection.criteria import Floats
from znas.setup import Conditions
from znas_engine.errors import DataError
from znas_engine.spaces import SearchSpace, get_space
from znas_engine.tables import Table

#: What every other row is tested against, and how that is headed.
BASELINES = {RANDOM: "random", LARGEST: "most parameters", BUSIEST: "most FLOPs"}
NOTES = (
    (
        "mean ± standard deviation over seeds [95 % t-interval of the mean], lowest, percent; published in "
        "parentheses"
    ),
    (
        "against others, first accuracy column: mean difference over the seeds, above 0 where this row is "
        "better; p: two-sided Wilcoxon signed-rank test, exact up to 200 seeds, not corrected for the number "
        "of rows"
    ),
    (
        "seconds: mean over seeds = set-up + evaluation + the rest, on this machine; published in "
        "parentheses, on the device named"
    ),
)


@dataclass(frozen=True, slots=True)
class Finds:
    """What a row's seeds found, looked up. accuracies: by column, float64 [seeds]; better: of the first
    column, the share of the table's architectures that are better, float64 [seeds]. absent: seeds for which
    another architecture stands. flops: of the trained networks that were looked up, float64 [seeds]."""

    accuracies: dict[str, Floats]
    better: Floats
    absent: list[int]
    flops: Floats


def looked_up(
    name: str,
    rows: Sequence[Row],
    trials: dict[str, list[Trial]],
    table: Table | None,
    conditions: Conditions,
    remarks: Sequence[str] = (),
) -> Sheet:
    """name: of the table in `published.json`. table: trained architectures with their accuracies, every
    column reported; None reports costs alone. remarks: what belongs to some of the rows.

    An architecture that is not in the table has the mean accuracy of those that compute the same; one of
    which the table has none, that of what stands for it (`Trial.instead`). DataError where that is missing.
    """
    space = get_space(published()["tables"][name]["space"])
    finds = {} if table is None else _finds(name, space, trials, table)
    entries = [_entry(name, row, trials[row.name], finds) for row in rows]
    columns = list(entries[0]["accuracy"])
    others = apart(name, [row.name for row in rows])
    return Sheet(
        title=f"{published()['tables'][name]['title']}, {len(trials[rows[0].name])} seeds",
        headings=[
            "row",
            *(f"{c}{' (published)' if column_key(c) else ''}" for c in columns),
            *(["better, %", "FLOPs, M", "absent"] if columns else []),
            *([f"against {words}" for words in BASELINES.values()] if columns else []),
            *("passes", "seconds (published)"),
        ],
        cells=[_cells(e, columns) for e in entries] + [_other(e, columns) for e in others],
        notes=[
            *NOTES,
            *([] if table is None else _lookups(name, space, table, entries)),
            *(f"{row.name}: {row.what}" for row in rows),
            *remarks,
        ],
        records=[_record(e, c) for e in entries for c in (columns or [""])],
        data={
            "table": name,
            "seeds": [t.seed for t in trials[rows[0].name]],
            "accuracies": None if table is None else table.path.name,
            "settings": {n: getattr(conditions, n) for n in ("data", "backend", "images", "norm", "threads")},
            "rows": entries,
            "published": methods(name),
        },
    )


def _finds(
    name: str, space: SearchSpace[Any], trials: dict[str, list[Trial]], table: Table
) -> dict[str, Finds]:
    """By row."""
    row_of = {str(genotype): i for i, genotype in enumerate(table.genotypes)}
    same: dict[Hashable, list[int]] = {}
    for i, genotype in enumerate(table.genotypes):
        same.setdefault(space.function_of(genotype), []).append(i)
    columns, macro = table.accuracies(), counted(name)
    first = np.sort(next(iter(columns.values())))

    def lines(row: str, arch: str) -> list[int]:
        found = [row_of[arch]] if arch in row_of else same.get(space.function_of(space.parse(arch)))
        if found is None:
            raise DataError(
                f"the table {table.path} does not have the architecture {arch}, which {row} found: leave "
                f"{row} out of --rows"
            )
        return found

    finds = {}
    for row, found in trials.items():
        archs = [trial.instead or trial.arch for trial in found]
        where = [lines(row, arch) for arch in archs]
        accuracies = {n: np.array([column[i].mean() for i in where]) for n, column in columns.items()}
        of_first = next(iter(accuracies.values()))
        better = 1 - np.searchsorted(first, of_first, side="right") / len(first)
        absent = [i for i, trial in enumerate(found) if trial.instead is not None]
        counts = [flops(space.network(space.parse(arch), macro)) for arch in archs]
        finds[row] = Finds(accuracies, better, absent, np.array(counts, dtype=np.float64))
    return finds


def _lookups(name: str, space: SearchSpace[Any], table: Table, entries: list[dict[str, Any]]) -> list[str]:
    """How finds were looked up, of the table as a whole."""
    known = {space.function_of(genotype) for genotype in table.genotypes}
    listed = space.functions()
    of = "" if listed is None else f" of {len(listed):,}"
    searches = sum(len(entry["architectures"]) for entry in entries)
    absent = sum(len(entry["absent"]) for entry in entries)
    macro = counted(name)
    return [
        (
            f"better: of the {len(table.genotypes):,} architectures of {table.path.name}, mean over seeds; "
            f"it has {len(known):,}{of} functions. An architecture that is not there has the mean accuracy "
            "of those that compute the same"
        ),
        (
            "absent: searches, of all seeds, whose find has no such accuracy; for it stands what the same "
            "search, with the same seed, finds where the space admits nothing but what the table has (a "
            "selection of operations gives way to the best sum of its scores that is there). "
            f"{absent} of {searches} searches here; passes and seconds are of the first search"
        ),
        (
            "FLOPs: multiply-accumulates of what was looked up, mean over seeds, in the network that is "
            f"trained, {macro.channels} channels, {macro.resolution} x {macro.resolution} pixels"
        ),
    ]


def _entry(name: str, row: Row, trials: list[Trial], finds: dict[str, Finds]) -> dict[str, Any]:
    accuracies: dict[str, Any] = {}
    found = finds.get(row.name)
    for column, own in ({} if found is None else found.accuracies).items():
        against = {
            other: asdict(compared(own, finds[other].accuracies[column]))
            for other in BASELINES
            if other in finds and other != row.name
        }
        accuracies[column] = asdict(summary(own)) | {
            "lowest": float(own.min()),
            "values": own.tolist(),
            "against": against,
        }
    return {
        "row": row.name,
        "what": row.what,
        "accuracy": accuracies,
        "better": None if found is None else float(found.better.mean()),
        "flops": None if found is None else asdict(summary(found.flops)),
        "absent": [] if found is None else found.absent,
        "instead": [trial.instead for trial in trials],
        "evaluations": float(np.mean([t.evaluations for t in trials])),
        "seconds": phases(trials),
        "device": trials[0].device,
        "architectures": [t.arch for t in trials],
        "published": beside(name, row.name),
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
        own = f"{spread(s)}, {found['lowest']:.2f}"
        cells.append(" ".join(filter(None, (own, _reported(entry["published"], column)))))
    if columns:
        against = entry["accuracy"][columns[0]]["against"]
        cells += [
            f"{100 * entry['better']:.2f}",
            f"{entry['flops']['mean'] / 1e6:.1f}",
            f"{len(entry['absent'])} of {len(entry['architectures'])}",
            *(versus(Comparison(**against[name])) if name in against else "" for name in BASELINES),
        ]
    cells.append(f"{entry['evaluations']:,.0f}")
    cells.append(f"{seconds(entry['seconds'])}{_reported_seconds(entry['published'])}")
    return cells


def _other(entry: dict[str, Any], columns: list[str]) -> list[str]:
    """A method that is only published."""
    blank = [""] * (3 + len(BASELINES)) if columns else []
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
        record |= {name: found[name] for name in ("n", "mean", "std", "low", "high", "lowest")}
        there = [v for i, v in enumerate(found["values"]) if i not in entry["absent"]]
        record |= {"absent": len(entry["absent"]), "mean_of_present": np.mean(there) if there else None}
        record |= {"better": entry["better"], "flops": entry["flops"]["mean"]}
        for name, against in found["against"].items():
            record |= {f"difference_from_{name}": against["difference"], f"p_against_{name}": against["p"]}
        reported = (entry["published"] or {"accuracy": {}})["accuracy"].get(column_key(column))
        record |= {"published_mean": reported[0], "published_std": reported[1]} if reported else {}
    record["evaluations"] = entry["evaluations"]
    record |= {f"seconds_{phase}": s["mean"] for phase, s in entry["seconds"].items()}
    record["device"] = entry["device"]
    record["published_seconds"] = None if entry["published"] is None else entry["published"]["seconds"]
    return record
