"""Draws until the space admits what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace

#: Draws in a row of which one must be admitted.
TRIES = 10_000


def admitted(space: SearchSpace[Any], draw: Callable[[], Mask]) -> Mask:
    """The first of what `draw` gives that `space` admits; InvalidValueError where `TRIES` are not."""
    for _ in range(TRIES):
        mask = draw()
        if space.admits(mask):
            return mask
    raise InvalidValueError(
        f"the search space {space.name} admits none of {TRIES:,} random architectures: let its `admits` "
        "refuse fewer"
    )
