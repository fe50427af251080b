"""What is wrong with the attributes of a space that somebody else wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from znas_engine.errors import briefly
from znas_engine.promises import undefined
from znas_engine.spaces.base import Edge
from znas_engine.spaces.trainable import unusable


def broken_promise(space: Any) -> str | None:
    """Of a `SearchSpace`, in words that follow its name; None if nothing is. Builds
    nothing and imports no framework."""
    operations, edges = space.operations, space.edges
    if not _are(operations, str) or len(set(operations)) < len(operations):
        return f"has {briefly(operations)} for `operations`, no tuple of different names"
    if not _are(edges, Edge):
        return f"has {briefly(edges)} for `edges`, no tuple of Edge"
    for name in ("candidates", "mixed"):
        value = getattr(space, name)
        if not isinstance(value, np.ndarray) or value.dtype != np.bool_ or value.shape != space.shape:
            got = f"{value.dtype} {list(value.shape)}" if isinstance(value, np.ndarray) else briefly(value)
            return f"has {got} for `{name}`, no bool array {list(space.shape)}"
    for edge, candidates, mixed in zip(edges, space.candidates, space.mixed, strict=True):
        if not candidates.any():
            return f"has no candidate on the edge {edge.label}: `candidates` must keep one in every row"
        if (candidates & ~mixed).any():
            absent = operations[int((candidates & ~mixed).argmax())]
            return f"has the candidate {absent} on the edge {edge.label}, which is not in `mixed`"
    if (why := unusable(space.trainable)) is not None:
        return f"has {briefly(space.trainable)} for `trainable`, but {why}"
    return _broken_extras(space)


def _broken_extras(space: Any) -> str | None:
    """Of what a space need not say."""
    in_edges, presets, eager = space.in_edges, space.presets, space.eager
    if in_edges is not None and (type(in_edges) is not int or in_edges < 1):
        return f"has {briefly(in_edges)} for `in_edges`, no int of 1 or more and not None"
    targets = [edge.target for edge in space.edges]
    if not isinstance(space.joined, tuple) or not all(node in targets for node in space.joined):
        return f"has {briefly(space.joined)} for `joined`, no tuple of nodes into which edges lead"
    if not isinstance(space.cells_are, str):
        return f"has {briefly(space.cells_are)} for `cells_are`, no str"
    if not isinstance(presets, Mapping) or not all(isinstance(own, Mapping) for own in presets.values()):
        return f"has {briefly(presets)} for `presets`, no mapping from presets to fields and their values"
    if not isinstance(space.prior, Path | None):
        return f"has {briefly(space.prior)} for `prior`, no Path and not None"
    if eager is None:
        return None
    if not isinstance(eager, str) or not all(eager.partition(":")):
        return f"has {briefly(eager)} for `eager`, no 'module:Class' and not None"
    return f"has {briefly(eager)} for `eager`, but {why}" if (why := undefined(eager)) is not None else None


def _are(values: Any, kind: type) -> bool:
    """Whether it is a tuple of at least one."""
    return isinstance(values, tuple) and bool(values) and all(isinstance(value, kind) for value in values)
