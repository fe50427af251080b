"""What a reader makes of raw samples: medians with intervals, percentiles, ratios pair by pair, speeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from znas.bench.contenders import BASELINE
from znas.middle import Middle as Middle
from znas.middle import middle as middle

#: Fields that tell rows apart.
IDENTITY = (
    "part",
    "space",
    "kind",
    "images",
    "masks",
    "threads",
    "device",
    "contender",
    "dtype",
    "cache",
    "p",
)


def percentiles(latencies: Sequence[float]) -> tuple[float, float, float]:
    """p50, p90 and p99, linear between order statistics (with few samples p99 is close to the maximum)."""
    p50, p90, p99 = np.percentile(latencies, [50, 90, 99])
    return float(p50), float(p90), float(p99)


def speedups(baseline: Sequence[float], samples: Sequence[float]) -> list[float]:
    """baseline[i] / samples[i]: sample i of both was taken in the same round, on the same masks."""
    return [b / s for b, s in zip(baseline, samples, strict=True)]


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What must be equal for two rows to be the same measurement; rows that name no device are of the CPU."""
    known = {"device": "cpu"} | row
    return tuple(known.get(name) for name in IDENTITY)


def baseline_of(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The timed row of `BASELINE` that took turns with a row of passes."""
    wanted = identity(row | {"contender": BASELINE, "dtype": "float32"})
    return next((other for other in rows if identity(other) == wanted and other["seconds"]), None)


def speedup_of(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> Middle | None:
    """How many times faster than the baseline a row of passes is; None where either has no time."""
    baseline = baseline_of(row, rows)
    if baseline is None or not row["seconds"]:
        return None
    return middle(speedups(baseline["seconds"], row["seconds"]))


def gflops_of(row: dict[str, Any]) -> float:
    """Median GFLOP/s of a row of passes: 2 x the multiply-accumulates that its masks leave alive."""
    return float(
        np.median([2 * g * row["images"] / s for g, s in zip(row["gmac"], row["seconds"], strict=True)])
    )


def peak_of(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> float | None:
    """GFLOP/s of the machine's own matrix product, same dtype and threads; None if not measured."""
    found = [
        other["gflops"]
        for other in rows
        if other["part"] == "peak"
        and other["seconds"]
        and (other["threads"], other["dtype"]) == (row["threads"], row["dtype"])
    ]
    return max(found, default=None)
