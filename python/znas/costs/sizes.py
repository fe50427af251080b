"""Width and depth of a network: given, or chosen from ranges by what limits allow."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from znas.costs.features import random_masks
from znas.costs.limits import Budget
from znas_engine.arguments import check_between
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.spaces import Macro, SearchSpace

#: Widths, and depths, of a range, at most; what the widths between its ends are multiples of.
MOST, MULTIPLE = 8, 4
#: A size is chosen if this share of so many random architectures keep the limits.
FREE, LOOKED = 0.5, 200

_SPAN = re.compile(r"\s*([0-9]{1,9})\s*(?:-\s*([0-9]{1,9})\s*)?")


def span(name: str, given: Any, low: int, high: int) -> tuple[int, int]:
    """What `16`, "16" or "8-32" asks for, its ends. InvalidValueError for anything else, or beyond low to
    high."""
    found = _SPAN.fullmatch(given) if isinstance(given, str) else None
    if isinstance(given, str) and found is None:
        raise InvalidValueError(
            f"`{name}` must be a number or a range such as {low * 4}-{low * 16} but got {briefly(given)}"
        )
    ends = (given, given) if found is None else (int(found[1]), int(found[2] or found[1]))
    first, last = (check_between(name, end, low, high) for end in ends)
    if first > last:
        raise InvalidValueError(
            f"`{name}` must begin with the smaller number, {last}-{first}, but got {given}"
        )
    return first, last


def sizes(
    space: SearchSpace[Any], usual: Macro, channels: tuple[int, int] | None, cells: tuple[int, int] | None
) -> list[Macro]:
    """Of every width and depth asked for, those of `usual` where they are None; what computes least first."""
    widths = [usual.channels] if channels is None else _some(channels, MULTIPLE)
    depths = [usual.cells] if cells is None else _some(cells, 1)
    found = [replace(usual, channels=c, cells=n) for c, n in product(widths, depths)]
    return found if len(found) == 1 else sorted(found, key=lambda macro: space.supernet(macro).flops)


def largest_that_leaves_room(
    space: SearchSpace[Any],
    asked: Sequence[Macro],
    budget: Callable[[Macro], Budget],
    report: Callable[[str], None],
) -> Macro:
    """The largest size of which FREE of LOOKED random architectures keep the limits, found by halving; the
    smallest where there is none.

    asked: what computes least first. A smaller size leaves of the limits what could be used; of a larger one
    only architectures that compute little keep them.
    """
    masks = random_masks(space, LOOKED, np.random.default_rng(0))
    low, high = 0, len(asked)  # asked[low] is taken if no larger one is
    while high - low > 1:
        middle = (low + high) // 2
        if budget(asked[middle]).keeps(masks).mean() >= FREE:
            low = middle
        else:
            high = middle
    chosen = asked[low]
    report(
        f"network: C={chosen.channels}, {chosen.cells} {space.cells_are}, the largest of {len(asked)} sizes "
        f"of which {FREE:.0%} of {LOOKED} random architectures keep the limits"
    )
    return chosen


def _some(ends: tuple[int, int], multiple: int) -> list[int]:
    """Both ends and what is between them, `MOST` at most."""
    first, last = ends
    between = range(first + multiple - first % multiple, last, multiple)
    found = sorted({first, *between, last})
    if len(found) <= MOST:
        return found
    return [found[round(i)] for i in np.linspace(0, len(found) - 1, MOST)]
