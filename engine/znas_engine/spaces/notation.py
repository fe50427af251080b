"""Reads what people write for architectures: Python literals, calls and JSON, without executing anything."""

from __future__ import annotations

import ast
import math
import string
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

#: Characters of a notation, and entries of its lists, at most.
LONGEST, MOST = 10_000, 1000


class Malformed(ValueError):
    """Says why a text is no literal; a space says what it is not."""


def read(text: str, call: str | None = None, fields: Sequence[str] = ()) -> Any:
    """The lists, tuples, dictionaries, strings and integers that a text denotes.

    A name before it (`X = ...`) is dropped; `range(a, b)`, `list(...)`, `tuple(...)` and `[*...]` are what
    they are in Python, and `np.int64(1)`, as NumPy prints it, is 1.
    call: the class by whose call (also as `module.Class`) it may be written, then with exactly these fields,
    by position or name; it becomes a dictionary. JSON is read as the Python it looks like.

    Raises Malformed for anything else, for a field twice, for what is not ASCII (Python takes a letter for
    another that looks like it), and for more than `LONGEST` characters.
    """
    text = bounded(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a stranger's syntax, on our stderr
            statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Malformed("it is not Python syntax") from error
    value = statements[0].value if len(statements) == 1 and isinstance(statements[0], _VALUED) else None
    if value is None:
        raise Malformed("it is not one value")
    if isinstance(value, ast.Call) and call is not None:
        if _called(value) != call:
            raise Malformed(f"it is not a call of {call}")
        return _arguments(value, fields)
    return _literal(value)


def bounded(text: str) -> str:
    """The text without white space around it; Malformed where it is too long or not ASCII."""
    if len(text) > LONGEST:
        raise Malformed(f"it is longer than {LONGEST:,} characters")
    text = text.strip("\ufeff" + string.whitespace)
    if not text.isascii():
        raise Malformed(f"{next(each for each in text if not each.isascii())!a} is not ASCII")
    return text


_VALUED = ast.Expr | ast.Assign | ast.AnnAssign


def _called(call: ast.Call) -> str | None:
    """The last name of `a.b.Name(...)`."""
    names, part = [], call.func
    while isinstance(part, ast.Attribute):
        names.append(part.attr)
        part = part.value
    return [*names, part.id][0] if isinstance(part, ast.Name) else None


def _arguments(call: ast.Call, fields: Sequence[str]) -> dict[str, Any]:
    given = [*zip(fields, call.args, strict=False), *((word.arg, word.value) for word in call.keywords)]
    names = [name for name, _ in given]
    _require_once(names)
    if len(given) != len(call.args) + len(call.keywords) or sorted(map(str, names)) != sorted(fields):
        raise Malformed(f"its fields are not {', '.join(fields)}")
    return {str(name): _literal(value) for name, value in given}


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | int() as value):
            return value
        case ast.List(elts=[ast.Starred(value=item)]):
            return list(_items(item))
        case ast.List(elts=items):
            return [_literal(item) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item) for item in items)
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            names = [key.value for key in keys if isinstance(key, ast.Constant)]
            _require_once(names)
            return {name: _literal(value) for name, value in zip(names, values, strict=True)}
        case ast.Call(func=ast.Name(id="range"), args=arguments, keywords=[]):
            bounds = [_literal(argument) for argument in arguments]
            small = all(type(bound) is int and 0 <= bound <= 64 for bound in bounds)
            if small and (len(bounds) == 2 or bounds[2:] == [1]):
                return list(range(*bounds))
            raise Malformed("range() takes two small integers")
        case ast.Call(func=ast.Name(id="list"), args=[argument], keywords=[]):
            return list(_items(argument))
        case ast.Call(func=ast.Name(id="tuple"), args=[argument], keywords=[]):
            return tuple(_items(argument))
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id="np"), attr="int64" | "int32"),
            args=[ast.Constant(value=int() as value)],
            keywords=[],
        ):
            return value
    raise Malformed("its fields are not literals")


def _require_once(names: Sequence[Any]) -> None:
    """Python and JSON let the last of two fields win."""
    for k, name in enumerate(names):
        if name in names[:k]:
            raise Malformed(f"{str(name)[:40]} is given twice")


def _items(node: ast.expr) -> list[Any] | tuple[Any, ...]:
    items = _literal(node)
    if isinstance(items, list | tuple):
        return items
    raise Malformed("its fields are not literals")


def plain(written: Any) -> Any:
    """The same with Python's lists and integers in place of NumPy's, four levels down; None for more than
    `MOST` entries, which no notation has."""
    try:
        return _plain(written, 4, iter(range(MOST)))
    except StopIteration:
        return None


def _plain(written: Any, depth: int, left: Iterator[int]) -> Any:
    """left: as many entries as may still come; one list may stand in many places."""
    next(left)
    if hasattr(written, "tolist") and hasattr(written, "shape"):  # NumPy's, torch's
        if math.prod(written.shape) > MOST:
            raise StopIteration
        return written.tolist()
    if depth and isinstance(written, list | tuple):
        items = [_plain(item, depth - 1, left) for item in written]
        return items if isinstance(written, list) else tuple(items)
    if depth and isinstance(written, Mapping):
        return {name: _plain(value, depth - 1, left) for name, value in written.items()}
    return written


def is_pair(value: Any) -> bool:
    """Whether it is (operation, source) with the types that these have."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and len(value[0]) <= 64
        and type(value[1]) is int
        and abs(value[1]) < 1 << 16
    )
