"""Limits as people write them: `300k`, `60M`, `2 MB`, `60%`, `1ms@ort:cpu:1`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from znas_engine.arguments import number
from znas_engine.errors import InvalidValueError, briefly

_THOUSANDS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_COUNTED = _THOUSANDS | {
    f"{prefix}{noun}": by for prefix, by in _THOUSANDS.items() for noun in ("FLOPs", "MACs")
}
_BYTES = _THOUSANDS | {f"{prefix}B": by for prefix, by in _THOUSANDS.items()}
_BYTES |= {f"{prefix}iB": 1024.0**power for power, prefix in enumerate("KMG", start=1)}
#: In milliseconds.
_TIMES = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
#: By cost, what its units are worth.
UNITS: dict[str, dict[str, float]] = {
    "params": _THOUSANDS,
    "flops": _COUNTED,
    "memory": _BYTES,
    "latency": _TIMES,
}
#: By cost, how a limit of it may be written.
EXAMPLES = {
    "params": "300k, 1.2M or 60% of the largest",
    "flops": "60M, 1.2G or 60% of the largest",
    "memory": "2M, 512KiB or 60% of the largest",
    "latency": "3ms@ort:cpu:1, 60%@native:cpu or 20ms@COLUMN with --latency-table",
}
#: What a front of scores may be against, as it is written, and where a latency is measured unless told.
FRONTS = ("params", "flops", "memory", "latency", "latency@TARGET")
USUAL = "ort:cpu:1"
_WRITTEN = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*(?:@\s*(\S+)\s*)?")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so much of a cost.

    cost: params | flops | memory | latency. most: in parameters, multiply-accumulates, bytes or milliseconds;
    where `share`, the share of the largest, above 0 and at most 1. target: where a latency is measured.
    asked: as it was written.
    """

    cost: str
    most: float
    share: bool
    target: str | None
    asked: str


def limits(cost: str, given: Any) -> tuple[Limit, ...]:
    """What `max_params=300_000` or `--max-latency 1ms@ort:cpu:1,3ms@native:cpu` asks for; None: nothing.

    Raises:
        InvalidValueError: another unit, no number, a latency without a target.
    """
    if given is None:
        return ()
    if isinstance(given, str):
        return tuple(_limit(cost, each) for each in given.split(","))
    if cost == "latency":
        raise _refused(cost, given, "")
    return (_limit(cost, f"{number(f'max_{cost}', given):.17g}"),)


def against(given: str) -> tuple[str, str | None]:
    """What `--pareto latency@native:cpu` asks for: the cost, and where it is measured.

    Raises:
        InvalidValueError: another cost, a target of what is the same on every device.
    """
    cost, at, target = given.strip().partition("@")
    if cost not in UNITS or (at and not target):
        raise InvalidValueError(
            f"`pareto` must be one of {', '.join(FRONTS)} but got {briefly(given)}: pass --pareto params, or "
            f"latency@{USUAL}"
        )
    if cost != "latency" and at:
        raise InvalidValueError(
            f"`pareto` got {briefly(given)}, and {cost} are the same on every device: pass --pareto {cost}"
        )
    return cost, (target or USUAL) if cost == "latency" else None


def in_words(cost: str, value: float) -> str:
    """300,000 | 60 M | 2.1 MB | 0.913 ms"""
    if cost == "latency":
        return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"
    if cost == "params":
        return f"{math.floor(value):,}"
    unit = "B" if cost == "memory" else ""
    for by, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= by:
            return f"{value / by:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}".rstrip()


def _limit(cost: str, text: str) -> Limit:
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise _refused(cost, text, "")
    value, unit, target = float(found[1]), found[2], found[3]
    share, units = unit == "%", UNITS[cost]
    if cost == "latency" and target is None:
        raise _refused(cost, text, ", which does not say where it is measured")
    if cost != "latency" and target is not None:
        raise _refused(cost, text, f" and {cost} are the same on every device")
    if not share and unit not in units:
        others = [other for other, known in UNITS.items() if unit in known]
        hint = f", and {unit} is of --max-{others[0]}" if unit and others else ""
        raise _refused(cost, text, hint)
    most = value / 100 if share else value * units[unit]
    if not (math.isfinite(most) and most > 0) or (share and most > 1):
        raise _refused(cost, text, ", and it must be above 0 and at most 100%")
    return Limit(cost, most, share, target, text.strip())


def _refused(cost: str, given: Any, why: str) -> InvalidValueError:
    return InvalidValueError(
        f"`max_{cost}` must be a limit such as {EXAMPLES[cost]} but got {briefly(given)}{why}: pass "
        f"--max-{cost} {EXAMPLES[cost].partition(',')[0]}"
    )
