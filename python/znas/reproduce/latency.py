"""Latencies of a table predicted from a few of them, beside the usual: a least-squares sum of operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from znas.costs.features import Features, Floats, Reader
from znas.costs.latency_table import LatencyTable
from znas.costs.predictor import LEAST, LatencyModel, sample_of
from znas.reproduce.sheet import Sheet
from znas_engine.arguments import check_between
from znas_engine.environment import derive_seed
from znas_engine.errors import DataError, InvalidValueError, briefly
from znas_engine.progress import Progress
from znas_engine.spaces import Macro

#: By method, in words: (how the architectures are chosen, what is fitted).
METHODS = {
    "table of all": "random; least squares per (edge, operation) on all operations",
    "table of live": "random; least squares per (edge, operation) on live operations",
    "predictor, random": "random; the predictor",
    "predictor": "chosen by the predictor's `sample`; the predictor",
}
HEADINGS = [
    "device",
    "measured",
    "method",
    "Spearman",
    "Kendall",
    "within 10 %",
    "within 5 %",
    "median error",
]


def counts(written: Sequence[str]) -> list[int]:
    """Numbers of architectures as a user writes them; InvalidValueError for what is none."""
    for text in written:
        if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) < LEAST:
            raise InvalidValueError(
                f"--measured must be numbers from {LEAST} on, separated by commas, but got {briefly(text)}"
            )
    return [int(text) for text in written]


def predicted(
    table: LatencyTable,
    macro: Macro,
    *,
    counts: Sequence[int],
    seeds: int,
    seed: int,
    developed_on: Sequence[str],
    progress: Progress,
) -> Sheet:
    """Per device, number of measured architectures and method, the mean over `seeds` draws of them: errors on
    all other architectures of the table that the space admits.

    developed_on: columns that the predictor's author looked at.

    Raises:
        InvalidValueError: an unknown column. DataError: fewer architectures than are to be measured.
    """
    check_between("seeds", seeds, 1, None)
    for name in developed_on:
        table.column(name)
    space = table.space
    reader = Reader(space, macro)
    masks = reader.masks(table.genotypes)
    kept = np.flatnonzero([space.admits(mask) for mask in masks])
    if len(kept) <= max(counts):
        raise DataError(
            f"the table {table.path} has {len(kept)} architectures that {space.name} admits: ask for fewer "
            "than that with --measured"
        )
    masks = masks[kept]
    features = reader.read(masks)
    records: list[dict[str, Any]] = []
    total = len(table.columns) * len(counts) * seeds
    for device, column in table.columns.items():
        for count in counts:
            of_seeds = []
            for k in range(seeds):
                rng = np.random.default_rng(derive_seed(seed, k, "latency", count))
                of_seeds.append(_measured(reader, masks, features, column[kept], count, rng))
                progress(len(records) // len(METHODS) * seeds + k + 1, total)
            records += [_record(device, count, method, of_seeds, developed_on) for method in METHODS]
    return _sheet(records, table, macro, len(kept), seeds, developed_on)


def _measured(
    reader: Reader,
    masks: Any,
    features: dict[str, Features],
    ms: Floats,
    count: int,
    rng: np.random.Generator,
) -> dict[str, dict[str, Any]]:
    """Of one draw, by method."""
    random = rng.choice(len(ms), count, replace=False)
    chosen = sample_of(features, count, rng)
    found = {
        "table of all": _compared(_least_squares(masks, random, ms), ms, random),
        "table of live": _compared(_least_squares(features["live"].operations, random, ms), ms, random),
    }
    for method, rows in (("predictor, random", random), ("predictor", chosen)):
        model = LatencyModel.of_features(
            reader, {name: each[rows] for name, each in features.items()}, ms[rows]
        )
        values = model.of_read(features[model.scope])
        own = {"own median error": 100 * model.error.median, "form": model.form}
        found[method] = _compared(values, ms, rows) | own
    return found


def _least_squares(operations: Any, rows: Any, ms: Floats) -> Floats:
    """The additive table as it is usually made: no shrinkage; never below the tenth of the least."""
    x = np.column_stack([np.ones(len(ms)), np.reshape(operations, (len(ms), -1))])
    weights = np.linalg.lstsq(x[rows], ms[rows], rcond=None)[0]
    found: Floats = np.maximum(x @ weights, ms[rows].min() / 10)
    return found


def _compared(predicted: Floats, ms: Floats, fitted: Any) -> dict[str, Any]:
    """On what was not fitted."""
    from scipy.stats import kendalltau, spearmanr

    others = np.setdiff1d(np.arange(len(ms)), fitted)
    p, y = predicted[others], ms[others]
    error = np.abs(p / y - 1)
    return {
        "spearman": float(spearmanr(p, y).statistic),
        "kendall": float(kendalltau(p, y).statistic),
        "within 10 %": 100 * float((error <= 0.1).mean()),
        "within 5 %": 100 * float((error <= 0.05).mean()),
        "median error": 100 * float(np.median(error)),
    }


def _record(
    device: str,
    count: int,
    method: str,
    of_seeds: Sequence[dict[str, dict[str, Any]]],
    developed_on: Sequence[str],
) -> dict[str, Any]:
    found = [each[method] for each in of_seeds]
    numbers = [name for name in found[0] if name != "form"]
    record: dict[str, Any] = {"device": device, "measured": count, "method": method}
    for name in numbers:
        values = np.array([each[name] for each in found])
        record[name] = float(values.mean())
        record[f"{name}, deviation"] = float(values.std(ddof=1)) if len(values) > 1 else None
    if "form" in found[0]:
        forms = Counter(each["form"] for each in found)
        record["forms"] = "; ".join(f"{times} x {form}" for form, times in forms.most_common())
    return record


def _sheet(
    records: list[dict[str, Any]],
    table: LatencyTable,
    macro: Macro,
    count: int,
    seeds: int,
    developed_on: Sequence[str],
) -> Sheet:
    cells = [
        [
            record["device"],
            str(record["measured"]),
            record["method"],
            f"{record['spearman']:.3f}",
            f"{record['kendall']:.3f}",
            f"{record['within 10 %']:.1f} %",
            f"{record['within 5 %']:.1f} %",
            f"{record['median error']:.1f} %"
            + (f" (own {record['own median error']:.1f} %)" if "own median error" in record else ""),
        ]
        for record in records
    ]
    notes = [
        f"means over {seeds} draws; errors on the others of {count:,} architectures that the space admits",
        f"network of C={macro.channels}, {macro.cells} cells, {macro.resolution} x {macro.resolution} pixels",
        *(f"{name}: {words}" for name, words in METHODS.items()),
        "own: what the predictor says of itself, held out among the measured architectures alone",
    ]
    if developed_on:
        said = ", ".join(name for name in table.columns if name in developed_on)
        rest = ", ".join(name for name in table.columns if name not in developed_on) or "others"
        notes.append(f"the predictor was developed on {said}, not on {rest}")
    for record in records:
        if record["method"] == "predictor":
            notes.append(f"{record['device']}, {record['measured']} measured: {record['forms']}")
    return Sheet(
        title=f"Latency of {table.space.name} predicted from a few measured architectures",
        headings=HEADINGS,
        cells=cells,
        notes=notes,
        records=records,
        data={"table": "latency", "space": table.space.name, "architectures": count, "rows": records},
        left=(0, 2),
    )
