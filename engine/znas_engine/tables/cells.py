"""From the cells of a column to its numbers, and what speaks against their being accuracies in percent."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import briefly

Floats = NDArray[np.float64]

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?%?", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"([+-]?\d+),(\d+%?)", re.ASCII)
#: What stands where a number is missing.
_MISSING = re.compile(
    r"|-+|–|—|\?|\.|n\.?/?a\.?n?|<na>|none|null|nil|missing|tbd|#n/?a!?|[+-]?inf(inity)?", re.IGNORECASE
)


#: A number in other clothes: tensor(93.1), [93.1], ="93.1"; not that of cifar10 or ImageNet16-120.
_CLOTHED = re.compile(r"(?<![\w.-])\d+([.,]\d+)?(?![\w-])", re.ASCII)


def has_numbers(cells: Sequence[str]) -> bool:
    """Whether cells that are text hold numbers, written in another way."""
    return any(_CLOTHED.search(cell[:1000]) for cell in cells)


def is_flags(cells: Sequence[str]) -> bool:
    """Whether they say yes or no, by 0 and 1: `valid` is often such a column."""
    return all(cell in ("0", "1") for cell in cells)


def is_text(cells: Sequence[str]) -> bool:
    """Whether a column was never meant to hold numbers: no cell begins with one, some cell has words."""
    return not any(re.match(r"[+-]?\.?\d", cell) for cell in cells) and not all(
        _MISSING.fullmatch(cell) for cell in cells
    )


def numbers(cells: Sequence[str], lines: Sequence[int], *, commas: bool) -> tuple[Floats | None, str]:
    """float64 [n], or None and in words the first cell that is no number.

    commas: whether `93,1` is 93.1; not in a column that has points too. `93.1%` is 93.1, if all have it.
    """
    cells = [re.sub(r"\s%$", "%", cell) for cell in cells]
    decimal = commas and any(_COMMA.fullmatch(cell) for cell in cells)
    signs = sum(cell.endswith("%") for cell in cells)
    values: list[float] = []
    for cell, line in zip(cells, lines, strict=True):
        plain = cell
        if decimal:
            plain = _COMMA.sub(r"\1.\2", cell) if "." not in cell else ""
        value = float(plain.rstrip("%")) if len(cell) <= 64 and _NUMBER.fullmatch(plain) else math.nan
        if not math.isfinite(value):
            return None, f"line {line}: {_why(cell, decimal=decimal)}"
        if signs not in (0, len(cells)) and cell.endswith("%") != cells[0].endswith("%"):
            return None, f"line {line}: {cell[:40]!r} and {cells[0][:40]!r} differ in their percent sign"
        values.append(value)
    return np.array(values), ""


def _why(cell: str, *, decimal: bool) -> str:
    if _MISSING.fullmatch(cell):
        return f"{cell!r} is no number: fill it in or delete the line"
    if "±" in cell or "+-" in cell or "+/-" in cell:
        return f"{briefly(cell)} is no number: write the mean alone"
    if "," in cell:
        what = "has a comma where others have, or it has, a point" if decimal else "has a comma"
        return f"{briefly(cell)} is no number: it {what}; write 1234.5"
    return f"{briefly(cell)} is no number: write one like 93.1"


def against(values: Floats, cells: Sequence[str], lines: Sequence[int]) -> str:
    """Why these are no accuracies in percent, with the line; "" if nothing speaks against it."""
    outside = np.flatnonzero((values < 0) | (values > 100))
    if len(outside):
        k = int(outside[0])
        return f"line {lines[k]}: {cells[k][:40]!r} is no accuracy in percent, which lies between 0 and 100"
    small = (values > 0) & (values <= 1)
    if not small.any() or cells[0].endswith("%"):
        return ""
    k = int(np.flatnonzero(small)[0])
    if values.max() <= 1:
        return (
            f"line {lines[k]}: {cells[k][:40]!r}, and no value is above 1: these are shares, not percent: "
            "multiply by 100"
        )
    # Chance among many classes is below 1 %, and far from what trained networks reach.
    large = values[values > 1]
    if np.quantile(large, 0.05) <= np.median(values[small]) * 100 <= large.max():
        return f"line {lines[k]}: {cells[k][:40]!r} looks like a share among percent: multiply it by 100"
    return ""


def is_count(values: Floats) -> bool:
    """Whether they are whole numbers one after the other, in any order, from 0 or 1: row numbers."""
    start = values.min()
    return bool(start in (0, 1) and np.array_equal(np.sort(values), start + np.arange(len(values))))
