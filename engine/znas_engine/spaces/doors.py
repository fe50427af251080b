"""What the methods of a search space take, whoever wrote it, and what those of somebody else's return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, get_args

import numpy as np

from znas_engine.arguments import check_between, instance
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.spaces.parts import Genotype, Macro

#: Of a space and an argument: the same as the method takes it, or InvalidValueError.
Door = Callable[[Any, Any], Any]

#: Of any network: what a machine can hold is far below.
_MOST = 2**20


def stand_at(kind: type, doors: Mapping[str, Mapping[str, Door]]) -> None:
    """Puts the doors of its arguments before every method that the class itself defines."""
    for name, arguments in doors.items():
        method = vars(kind).get(name)
        if inspect.isfunction(method):
            setattr(kind, name, _behind(method, arguments))


def _behind(method: Callable[..., Any], doors: Mapping[str, Door]) -> Callable[..., Any]:
    names = list(inspect.signature(method).parameters)[1:]

    @wraps(method)
    def checked(self: Any, *given: Any, **named: Any) -> Any:
        found = [
            doors[name](self, value) if name in doors else value
            for name, value in zip(names, given, strict=False)
        ]
        found += given[len(names) :]  # Python says that there are too many
        return method(self, *found, **{k: doors[k](self, v) if k in doors else v for k, v in named.items()})

    return checked


def a_genotype(space: Any, found: Any) -> Any:
    """Of this space."""
    kind = next(
        (
            kind
            for base in getattr(type(space), "__orig_bases__", ())
            for kind in get_args(base)
            if inspect.isclass(kind) and issubclass(kind, Genotype)
        ),
        Genotype,
    )
    if not isinstance(found, kind):
        raise InvalidValueError(
            f"`genotype` must be a {kind.__name__} of the space {space.name} but got {briefly(found)}: "
            "its `parse` reads what is written"
        )
    return found


def a_macro(space: Any, found: Any) -> Any:
    return instance("macro", found, Macro, ": the space's search_macro makes one")


def a_size(name: str, least: int) -> Door:
    return lambda space, found: check_between(name, found, least, _MOST)


def a_mask(space: Any, found: Any) -> Any:
    """Numbers in the shape of the space; whether they are an architecture the space says."""
    edges, operations = space.shape
    try:
        mask = np.asarray(found)
    except (TypeError, ValueError, RuntimeError):
        mask = np.empty(0, dtype=object)
    if mask.dtype.kind not in "biuf" or mask.shape != space.shape:
        got = f"{mask.dtype} {list(mask.shape)}" if mask.dtype != object else briefly(found)
        raise InvalidValueError(
            f"`mask` must be numbers [{edges}, {operations}] for the space {space.name} but got {got}"
        )
    return mask


def no_kind(kind: Any, space: Any, found: object) -> str | None:
    return None if isinstance(found, kind) else f"{briefly(found)}, no {getattr(kind, '__name__', kind)}"


def no_mask(space: Any, found: object) -> str | None:
    if isinstance(found, np.ndarray) and found.dtype == np.float32 and found.shape == space.shape:
        return None
    return f"{briefly(found)}, no mask: float32 {list(space.shape)}"


def no_selection(space: Any, found: object) -> str | None:
    shaped = isinstance(found, np.ndarray) and found.dtype == np.int64 and found.shape == space.shape[:1]
    if shaped and all(
        0 <= o < space.shape[1] and space.candidates[e, o] for e, o in enumerate(np.asarray(found).tolist())
    ):
        return None
    return f"{briefly(found)}, no selection: int64 [{len(space.edges)}], a candidate per edge"
