"""A result as a document, for the terminal and for a page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from znas.bench.contenders import BASELINE
from znas.bench.instant import IMPORT
from znas.bench.machine import short
from znas.bench.statistics import Middle, gflops_of, middle, peak_of, percentiles, speedup_of
from znas.output import Code, Document, Figure, Heading, Paragraph, Part, Table

Row = dict[str, Any]


def document(result: dict[str, Any], pictures: Sequence[Figure] = ()) -> Document:
    """The whole page: what was measured and how, then what the command prints."""
    timed_all_the_same = any(row["seconds"] and "why" in row for row in result["rows"])
    method = (
        "Every row first passed its check against the torch reference; a row that fails has no time"
        + (", but for baselines, of which the table says what was wrong. " if timed_all_the_same else ". ")
        + "Contenders took turns, round by round. Intervals are order statistics of the median (95 %, or the "
        "whole range of fewer than six samples). GFLOP/s count the multiply-accumulates, times two, that a "
        "mask leaves alive before anything is merged."
    )
    first, *numbers = summary(result).parts
    parts = [first, Code(" ".join(result["command"])), Paragraph(method), *pictures, *numbers]
    return Document("Latency", parts, result)


def summary(result: dict[str, Any]) -> Document:
    """Where it was measured, and one table per part."""
    return Document("Latency", [Paragraph(header(result)), *_tables(result["rows"])], result)


def header(result: dict[str, Any]) -> str:
    """Where and what was measured, in one line."""
    found = result["machine"]
    load = result.get("load")
    busy = "" if load is None else f", load {load:.1f} before the first row"
    packages = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    at = short(result["commit"]) or "not in a checkout"
    card = f"{found['gpu']['name']}; " if "gpu" in found else ""
    return (
        f"{card}{found['model']}, {found['cores']} cores, {', '.join(found['isas'])}{busy}; "
        f"commit {at}, suite {result['version']}; {packages}"
    )


def _tables(rows: Sequence[Row]) -> Iterator[Part]:
    """A heading and a table per part that was measured, and below it what was wrong with a row."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["part"], []).append(row)
    for part, layout in LAYOUTS.items():
        found = parts.get(part, [])
        if found:
            beside = rows if part == "passes" else found  # whose peaks their speeds are held against
            yield Heading(layout.title)
            yield Table(layout.headings, [layout.cells(row, beside) for row in found], left=layout.left)
            yield from map(Paragraph, _reasons(found))


class Layout(NamedTuple):
    """Of one part. left: columns of words. cells: of a row, given the rows beside it."""

    title: str
    headings: Sequence[str]
    left: Collection[int]
    cells: Callable[[Row, Sequence[Row]], Sequence[str]]


def _peak_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    speed = f"{row['gflops']:.0f}" if row["seconds"] else _why(row, rows)
    return (str(row["threads"]), row["dtype"], speed, row["contender"])


def _bandwidth_cells(row: Row, _: Sequence[Row]) -> tuple[str, ...]:
    return (str(row["threads"]), f"{row['gbytes']:.0f}", row["contender"])


def _where(row: Row) -> tuple[str, ...]:
    masks = f"{row['masks']}{'*' if row.get('batched') else ''}"
    return (row["space"], row["kind"], str(row["images"]), masks, str(row["threads"]))


def _pass_cells(row: Row, rows: Sequence[Row]) -> tuple[str, ...]:
    agreement = f"{row['argmax_agreement']:.3f}" if "argmax_agreement" in row else ""
    if row["seconds"] and "why" in row:
        agreement += f" ({_number(row, rows)})"
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


LAYOUTS = {
    "peak": Layout(
        "Matrix product of the machine's libraries: best of all sizes and products",
        ("threads", "dtype", "GFLOP/s", "library"),
        (1, 3),
        _peak_cells,
    ),
    "bandwidth": Layout(
        "Memory of the GPU: best copy, bytes read and written",
        ("threads", "GB/s", "copy"),
        (2,),
        _bandwidth_cells,
    ),
    "passes": Layout(
        f"Masked passes: median [interval], with * of batches; latencies of single passes; x {BASELINE} "
        "pair by pair",
        (
            *("space", "masks", "images", "per call", "threads", "contender"),
            *("ms/pass", "passes/s", "p50 p90 p99 ms", "GFLOP/s (of peak)"),
            *(f"x {BASELINE}", "argmax", "prepare s"),
        ),
        (0, 1, 5),
        _pass_cells,
    ),
    "start": Layout(
        "From nothing to the first logits, in a fresh process: median [interval]",
        ("space", "contender", "cache", "s", "import + prepare + run", "peak MB"),
        (0, 1, 2),
        _start_cells,
    ),
    "search": Layout(
        "Whole searches, naswot, cache empty: median [interval] of the process; phases of the search; "
        "architectures equal to those of --backend torch",
        ("space p", "contender", "s", "setup + evaluate + select", "same as torch"),
        (0, 1),
        _search_cells,
    ),
    "instant": Layout(
        "Whole processes, files and caches warm, in turns: median [interval]; ratios pair by pair",
        ("space", "process", "s", f"x {IMPORT}"),
        (0, 1),
        _instant_cells,
    ),
}


def _why(row: Row, rows: Sequence[Row]) -> str:
    """Instead of a time."""
    return f"no time ({_number(row, rows)})"


def _number(row: Row, rows: Sequence[Row]) -> int:
    """That of what is wrong with the row among those of its table."""
    return _failures(rows, row["part"]).index(_failure(row)) + 1


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Each on one line, however long and in however many lines it was worded."""
    failures = _failures(rows, rows[0]["part"])
    return [f"({number}) {contender}: {why}" for number, (contender, why) in enumerate(failures, 1)]


def _failures(rows: Sequence[Row], part: str) -> list[tuple[str, str]]:
    """Who has no time, or one all the same, and what was wrong; the same once, in the order of the rows."""
    failed = [_failure(row) for row in rows if row["part"] == part and ("why" in row or not row["seconds"])]
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
