"""Two results of `znas-engine bench` side by side, row by row.

    python bench/compare.py BEFORE.json AFTER.json [--factor 1.05]

Times are medians in seconds, the ratio is after / before. The mark of a row:

    +    slower: the ratio is above the factor and the two intervals are disjoint
    -    faster, likewise
    ~    no significant difference
    x    not comparable: another suite, machine or supernet (the reason is printed first)
    n/a  no time on one side: the row is missing there, or failed its check
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from znas.bench.reading import one_line, read
from znas.bench.statistics import IDENTITY, Middle, identity, middle
from znas_engine.errors import briefly

#: Fields of a plan that change what a row measures, beside those of the row.
SIZES = ("data", "channels", "cells", "resolution")


def incomparable(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """Why no time of one result may be held against the other's; None if they may."""
    if before["version"] != after["version"]:
        return f"the suite differs: version {before['version']} and {after['version']}"
    for fact in sorted(before["machine"].keys() | after["machine"].keys()):
        if before["machine"].get(fact) != after["machine"].get(fact):
            values = [briefly(side["machine"].get(fact)) for side in (before, after)]
            return f"the machine differs: {briefly(fact)} {' and '.join(values)}"
    for size in SIZES:
        if before["plan"][size] != after["plan"][size]:
            return f"the supernet differs: {size} {before['plan'][size]} and {after['plan'][size]}"
    return None


def mark(before: Middle | None, after: Middle | None, *, comparable: bool, factor: float) -> str:
    """One of + - ~ x n/a."""
    if before is None or after is None:
        return "n/a"
    if not comparable:
        return "x"
    ratio = after.median / before.median
    if ratio > factor and after.low > before.high:
        return "+"
    if ratio < 1 / factor and after.high < before.low:
        return "-"
    return "~"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--factor", type=float, default=1.05, help="smaller changes are never marked")
    arguments = parser.parse_args()
    if not 1 <= arguments.factor < math.inf:
        parser.error(f"--factor must be at least 1 but got {arguments.factor}")
    before, after = (read(path, shown=False) for path in (arguments.before, arguments.after))
    reason = incomparable(before, after)
    if reason is not None:
        print(f"not comparable: {reason}")
    sides = [{identity(row): row for row in document["rows"]} for document in (before, after)]
    print(f"{'':4}{'before':>10}{'after':>10}{'ratio':>8}  row")
    for key in dict.fromkeys([*sides[0], *sides[1]]):
        found = [side.get(key) for side in sides]
        times = [middle(row["seconds"]) if row and row["seconds"] else None for row in found]
        first, second = times
        ratio = f"{second.median / first.median:.2f}" if first and second else "n/a"
        cells = "".join(f"{_time(row, time):>10}" for row, time in zip(found, times, strict=True))
        sign = mark(first, second, comparable=reason is None, factor=arguments.factor)
        print(f"{sign:4}{cells}{ratio:>8}  {_name(key)}")


def _time(row: dict[str, Any] | None, time: Middle | None) -> str:
    if row is None:
        return "missing"
    return "failed" if time is None else f"{time.median:.4g}"


def _name(key: tuple[Any, ...]) -> str:
    facts = dict(zip(IDENTITY, key, strict=True))
    units = {"images": "images", "masks": "masks", "threads": "threads"}
    words = [
        f"{value} {units[fact]}" if fact in units else f"p={value:g}" if fact == "p" else str(value)
        for fact, value in facts.items()
        if value is not None
    ]
    return " ".join(words)


if __name__ == "__main__":
    one_line(main)
