"""A result as tables of text, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from znas.bench.contenders import BASELINE
from znas.bench.instant import IMPORT
from znas.bench.machine import short
from znas.bench.statistics import Middle, gflops_of, middle, peak_of, percentiles, speedup_of

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Table:
    """notes: lines below it, among them why a row has no time."""

    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: Sequence[str] = ()


def header(document: dict[str, Any]) -> str:
    """Where and what was measured, in one line."""
    found = document["machine"]
    load = document.get("load")
    busy = "" if load is None else f", load {load:.1f} before the first row"
    packages = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    at = short(document["commit"]) or "not in a checkout"
    card = f"{found['gpu']['name']}; " if "gpu" in found else ""
    return (
        f"{card}{found['model']}, {found['cores']} cores, {', '.join(found['isas'])}{busy}; "
        f"commit {at}, suite {document['version']}; {packages}"
    )


def tables(document: dict[str, Any]) -> Iterator[Table]:
    """One table per part that was measured."""
    rows: Sequence[Row] = document["rows"]
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["part"], []).append(row)
    if peak := parts.get("peak"):
        yield Table(
            "Matrix product of the machine's libraries: best of all sizes and products",
            ("threads", "dtype", "GFLOP/s", "library"),
            [(str(r["threads"]), r["dtype"], f"{r['gflops']:.0f}", r["contender"]) for r in peak],
        )
    if bandwidth := parts.get("bandwidth"):
        yield Table(
            "Memory of the GPU: best copy, bytes read and written",
            ("threads", "GB/s", "copy"),
            [(str(r["threads"]), f"{r['gbytes']:.0f}", r["contender"]) for r in bandwidth],
        )
    if passes := parts.get("passes"):
        yield Table(
            f"Masked passes: median [interval], with * of batches; latencies of single passes; "
            f"x {BASELINE} pair by pair",
            (
                "space",
                "masks",
                "images",
                "per call",
                "threads",
                "contender",
                "ms/pass",
                "passes/s",
                "p50 p90 p99 ms",
                "GFLOP/s (of peak)",
                f"x {BASELINE}",
                "argmax",
                "prepare s",
            ),
            [_pass_cells(row, rows) for row in passes],
            _reasons(passes),
        )
    if start := parts.get("start"):
        yield Table(
            "From nothing to the first logits, in a fresh process: median [interval]",
            ("space", "contender", "cache", "s", "import + prepare + run", "peak MB"),
            [_start_cells(row, start) for row in start],
            _reasons(start),
        )
    if search := parts.get("search"):
        yield Table(
            "Whole searches, naswot, cache empty: median [interval] of the process; phases of the search; "
            "architectures equal to those of --backend torch",
            ("space p", "contender", "s", "setup + evaluate + select", "same as torch"),
            [_search_cells(row, search) for row in search],
            _reasons(search),
        )
    if instant := parts.get("instant"):
        yield Table(
            "Whole processes, files and caches warm, in turns: median [interval]; ratios pair by pair",
            ("space", "process", "s", f"x {IMPORT}"),
            [_instant_cells(row, instant) for row in instant],
        )


def _where(row: Row) -> tuple[str, ...]:
    masks = f"{row['masks']}{'*' if row.get('batched') else ''}"
    return (row["space"], row["kind"], str(row["images"]), masks, str(row["threads"]))


def _pass_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    agreement = f"{row['argmax_agreement']:.3f}" if "argmax_agreement" in row else ""
    prepare = f"{row['prepare_seconds']:.1f}" if "prepare_seconds" in row else ""
    if not row["seconds"]:
        return (*_where(row), row["contender"], _why(row, rows), "", "", "", "", agreement, prepare)
    time = middle(row["seconds"])
    speed = gflops_of(row)
    peak = peak_of(row, rows)
    ratio = speedup_of(row, rows)
    latencies = " ".join(_short(1e3 * p) for p in percentiles(row["latencies"])) if row["latencies"] else ""
    return (
        *_where(row),
        row["contender"],
        _interval(time, 1e3),
        _short(1 / time.median),
        latencies,
        _short(speed) + ("" if peak is None else f" ({100 * speed / peak:.0f} %)"),
        "" if ratio is None else _interval(ratio),
        agreement,
        prepare,
    )


def _start_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    if not row["seconds"]:
        return (row["space"], row["contender"], row["cache"], _why(row, rows), "", "")
    peaks = [peak for peak in row["peak_bytes"] if peak is not None]
    return (
        row["space"],
        row["contender"],
        row["cache"],
        _interval(middle(row["seconds"])),
        _phases(row),
        f"{max(peaks) / 1e6:.0f}" if peaks else "",
    )


def _search_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    where = f"{row['space']} p={row['p']:g}"
    if not row["seconds"]:
        return (where, row["contender"], _why(row, rows), "", "")
    torch = [
        other["architectures"]
        for other in rows
        if (other["space"], other["p"], other["contender"]) == (row["space"], row["p"], "torch")
    ]
    same = [a == b for expected in torch for a, b in zip(expected, row["architectures"], strict=False)]
    return (
        where,
        row["contender"],
        _interval(middle(row["seconds"])),
        _phases(row),
        f"{sum(same)} of {len(same)}" if same else "",
    )


def _instant_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    (beside,) = (
        other["seconds"] for other in rows if (other["space"], other["contender"]) == (row["space"], IMPORT)
    )
    ratio = middle([a / b for a, b in zip(row["seconds"], beside, strict=True)])
    return (row["space"], row["contender"], _interval(middle(row["seconds"])), _interval(ratio))


def _why(row: Row, rows: Sequence[Row]) -> str:
    """Instead of a time: the number of the reason among those of the row's table."""
    return f"no time ({_failures(rows, row['part']).index(_failure(row)) + 1})"


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Each on one line, however long and in however many lines it was worded."""
    failures = _failures(rows, rows[0]["part"])
    return [f"({number}) {contender}: {why}" for number, (contender, why) in enumerate(failures, 1)]


def _failures(rows: Sequence[Row], part: str) -> list[tuple[str, str]]:
    """Who has no time and why, the same once, in the order of the rows."""
    failed = [_failure(row) for row in rows if row["part"] == part and not row["seconds"]]
    return list(dict.fromkeys(failed))


def _failure(row: Row) -> tuple[str, str]:
    return row["contender"], " ".join(row.get("why", "not measured").split())


def _phases(row: Row) -> str:
    return " + ".join(_short(float(np.median(samples))) for samples in row["phases"].values())


def _interval(found: Middle, scale: float = 1) -> str:
    low, mid, high = (_short(scale * value) for value in (found.low, found.median, found.high))
    return f"{mid} [{low}, {high}]"


def _short(value: float) -> str:
    """Three significant digits without an exponent."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
