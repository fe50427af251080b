"""What `strict_json` has read, held to the dataclasses that it became and to what they would write."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from znas_engine.errors import briefly

#: Integers of a file fit into 64 bits, so that whatever is computed from them fits into a float.
_INTEGERS = range(-(2**63), 2**63)


def mistyped(value: Any, hint: Any, at: str) -> str | None:
    """The first part of `value` that is not of the annotated type, as a sentence with its path; else None.

    hint: Any, a plain type (a float may be an int; a bool is neither), a union, a tuple, a list or a
    dictionary of such, a TypedDict, or a class; of a dataclass every field is looked at.
    """
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Any:
        return None
    if origin in (Union, UnionType):
        found = [mistyped(value, each, at) for each in arguments]
        return None if None in found else _wrong(value, " or ".join(map(_word, arguments)), at)
    if is_typeddict(origin):
        for name in _hints(origin).keys() ^ value.keys():
            return f"`{_short(f'{at}.{name}')}` is {'unknown' if name in value else 'missing'}"
        return _first(mistyped(value[name], each, f"{at}.{name}") for name, each in _hints(origin).items())
    if not _is(value, origin):
        return _wrong(value, _word(hint), at)
    if origin is dict:
        return _first(mistyped(each, arguments[1], f"{at}.{name}") for name, each in value.items())
    if origin in (tuple, list):
        return _first(mistyped(each, arguments[0], f"{at}[{i}]") for i, each in enumerate(value))
    if isinstance(origin, type) and is_dataclass(origin):
        path = f"{at}." if at else ""
        hints = _hints(origin)
        return _first(mistyped(getattr(value, f.name), hints[f.name], path + f.name) for f in fields(origin))
    return None


def difference(file: Any, now: Any, at: str = "") -> str | None:
    """Where what was read says otherwise than its file, as a sentence with the path; None if nowhere."""
    if isinstance(file, dict) and isinstance(now, Mapping):
        path = f"{at}." if at else ""
        for name in (*file, *now):
            if name not in file or name not in now:
                return f"`{_short(path + name)}` is {'unknown' if name in file else 'missing'}"
        return _first(difference(each, now[name], path + name) for name, each in file.items())
    if isinstance(file, list) and isinstance(now, list | tuple) and len(file) == len(now):
        return _first(difference(*pair, f"{at}[{i}]") for i, pair in enumerate(zip(file, now, strict=True)))
    if _same(file, now):
        return None
    return f"`{_short(at)}` is {briefly(file)}, but the rest makes it {briefly(now)}"


@cache
def _hints(of: Hashable) -> dict[str, Any]:
    return get_type_hints(of)


def _first(found: Iterator[str | None]) -> str | None:
    return next((each for each in found if each is not None), None)


def _is(value: Any, kind: Any) -> bool:
    if isinstance(value, int) and kind in (int, float):
        return not isinstance(value, bool) and value in _INTEGERS
    return isinstance(value, kind)


def _same(file: Any, now: Any) -> bool:
    if isinstance(file, str) and isinstance(now, str):
        return file == now or str(Path(file)) == now  # ./data is data
    return isinstance(file, bool) == isinstance(now, bool) and bool(file == now)


def _wrong(value: Any, wanted: str, at: str) -> str:
    return f"`{_short(at)}` must be {wanted} but is {briefly(value)}"


def _short(path: str) -> str:
    """On one line, whatever the keys are."""
    return repr(path)[1:-1] if len(path) <= 100 else f"{path[:100]!r}..."


def _word(hint: Any) -> str:
    return "None" if hint is type(None) else str(getattr(hint, "__name__", hint))
