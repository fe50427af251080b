"""Tables 1 and 3: what each search finds, as far as that is measured without training: its sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import numpy as np

from znas.page import Trained
from znas.reproduce.evaluation import Evaluation
from znas.reproduce.looked_up import phases
from znas.reproduce.published import apart, beside, methods
from znas.reproduce.rows import Row
from znas.reproduce.sheet import Sheet
from znas.reproduce.statistics import summary
from znas.reproduce.trials import Trial
from znas.setup import Conditions
from znas_engine.spaces import get_space


def sizes(
    evaluation: Evaluation,
    rows: Sequence[Row],
    trials: dict[str, list[Trial]],
    conditions: Conditions,
    trained: Mapping[str, Sequence[Trained]] = MappingProxyType({}),
) -> Sheet:
    """Genotypes, their sizes and what finding them cost; the test error of those that were `trained`, by row,
    and else named as not measured."""
    missing = f"needs {evaluation.epochs} epochs of training: not measured"
    entries = [_entry(evaluation, row, trials[row.name], trained.get(row.name, ())) for row in rows]
    others = apart(evaluation.name, [row.name for row in rows])
    macro = evaluation.macro
    return Sheet(
        title=f"{evaluation.title}, {len(trials[rows[0].name])} seeds",
        headings=[
            *("row", "test error, % (published)", "parameters, M (published)"),
            *("multiply-accumulates, M", "passes", "seconds (published)"),
        ],
        cells=[_cells(entry, missing) for entry in entries] + [_other(entry) for entry in others],
        notes=[
            _about_errors(missing, trained),
            (
                f"sizes: of the network that is trained, {macro.channels} channels, {macro.cells} cells, "
                f"{macro.resolution} x {macro.resolution} pixels, {macro.classes} classes; mean ± deviation"
            ),
            f"searched on {conditions.data}; seconds: mean = set-up + evaluation + the rest, on this machine",
            *(f"{row.name}: {row.what}" for row in rows),
        ],
        records=[_record(entry) for entry in entries],
        data={
            "table": evaluation.name,
            "seeds": [t.seed for t in trials[rows[0].name]],
            "settings": {n: getattr(conditions, n) for n in ("data", "backend", "images", "norm", "threads")},
            "test_error": missing if not any(trained.values()) else "measured",
            "network": asdict(macro),
            "rows": entries,
            "published": methods(evaluation.name),
        },
    )


def _about_errors(missing: str, trained: Mapping[str, Sequence[Trained]]) -> str:
    all_ = [each for of_row in trained.values() for each in of_row]
    if not all_:
        return f"test error: {missing}; --train trains, and `znas-engine train` any one of them"
    first = all_[0]
    return (
        f"test error: of {first.images:,} images after {first.epochs} epochs by the recipe {first.recipe} on "
        f"{first.learned:,} images, mean ± deviation over the architectures that were trained; `trained` in "
        "the JSON holds each, with its interval and seconds"
    )


def _entry(
    evaluation: Evaluation, row: Row, trials: list[Trial], trained: Sequence[Trained]
) -> dict[str, Any]:
    space = get_space(evaluation.space)
    networks = [space.network(space.parse(trial.arch), evaluation.macro) for trial in trials]
    return {
        "row": row.name,
        "what": row.what,
        "params": asdict(summary(np.array([n.parameters for n in networks], dtype=np.float64))),
        "flops": asdict(summary(np.array([n.flops for n in networks], dtype=np.float64))),
        "evaluations": float(np.mean([t.evaluations for t in trials])),
        "seconds": phases(trials),
        "device": trials[0].device,
        "architectures": [t.arch for t in trials],
        "trained": [asdict(each) for each in trained],
        "published": beside(evaluation.name, row.name),
    }


def _cells(entry: dict[str, Any], missing: str) -> list[str]:
    error, params, spent = _reported(entry["published"])
    total, setup, evaluate, rest = (
        entry["seconds"][phase]["mean"] for phase in ("total", "setup", "evaluate", "select")
    )
    return [
        entry["row"],
        f"{_measured(entry, missing)} {error}".strip(),
        f"{_millions(entry['params'])} {params}".strip(),
        _millions(entry["flops"]),
        f"{entry['evaluations']:,.0f}",
        f"{total:.2f} = {setup:.2f} + {evaluate:.2f} + {rest:.2f} {spent}".strip(),
    ]


def _measured(entry: dict[str, Any], missing: str) -> str:
    if not entry["trained"]:
        return missing
    found = summary(100 - 100 * np.array([each["accuracy"] for each in entry["trained"]]))
    spread = "" if found.std is None else f" ± {found.std:.2f}"
    return f"{found.mean:.2f}{spread}"


def _other(entry: dict[str, Any]) -> list[str]:
    """A method that is only published."""
    error, params, spent = _reported(entry)
    return [f"({entry['method']})", error, params, "", "", spent]


def _millions(found: dict[str, Any]) -> str:
    spread = "" if found["std"] is None else f" ± {found['std'] / 1e6:.2f}"
    return f"{found['mean'] / 1e6:.2f}{spread}"


def _reported(entry: dict[str, Any] | None) -> tuple[str, str, str]:
    """(error, parameters, seconds) in parentheses; empty where nothing was published."""
    if entry is None:
        return "", "", ""
    mean, std = entry["error"]
    error = f"({mean:.2f})" if std is None else f"({mean:.2f} ± {std:.2f})"
    params = "" if entry["params_millions"] is None else f"({entry['params_millions']:.1f})"
    device = f", {entry['device']}" if entry["device"] else ""
    return error, params, f"({entry['seconds']:,.0f}{device})"


def _record(entry: dict[str, Any]) -> dict[str, Any]:
    record = {"row": entry["row"]}
    for name in ("params", "flops"):
        record |= {f"{name}_{part}": entry[name][part] for part in ("mean", "std")}
    errors = [100 - 100 * each["accuracy"] for each in entry["trained"]]
    record |= {"test_error": float(np.mean(errors)) if errors else "not measured", "trained": len(errors)}
    record |= {"evaluations": entry["evaluations"]}
    record |= {f"seconds_{phase}": s["mean"] for phase, s in entry["seconds"].items()}
    record["device"] = entry["device"]
    if entry["published"] is not None:
        record |= {f"published_{n}": entry["published"][n] for n in ("seconds", "params_millions")}
        record["published_error"] = entry["published"]["error"][0]
    return record
