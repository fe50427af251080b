"""Fields of `znas.request.Request` that had another name before, and what is said where one is given."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

from znas_engine.errors import InvalidValueError
from znas_engine.progress import unheard

#: By the older name; commands and functions still take that, with a remark.
RENAMED = {"channels": "supernet_channels", "cells": "supernet_cells"}


def renamed(options: Mapping[str, Any], told: Callable[[str, str], None] = unheard) -> dict[str, Any]:
    """Options by the names that they have now. told: of each that had its older name, both names.

    InvalidValueError for one that is given by both names.
    """
    found = {name: value for name, value in options.items() if name not in RENAMED}
    for name, value in options.items():
        if (now := RENAMED.get(name)) is None:
            continue
        if now in found:
            raise InvalidValueError(f"`{name}` is called `{now}` now, and both were given: drop `{name}`")
        told(name, now)
        found[now] = value
    return found


def warn(old: str, now: str) -> None:
    """Of an argument of a public function, whose caller's caller wrote it."""
    warnings.warn(f"`{old}` is called `{now}` now", FutureWarning, stacklevel=5)
