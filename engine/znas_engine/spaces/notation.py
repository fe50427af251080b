"""Reads what people write for architectures: Python literals, calls and JSON, without executing anything."""

from __future__ import annotations

import ast
import reprlib
import string
from collections.abc import Mapping, Sequence
from typing import Any

#: Characters of a notation, at most.
LONGEST = 10_000


class Malformed(ValueError):
    """Says why a text is no literal; a space says what it is not."""


def read(text: str, call: str | None = None, fields: Sequence[str] = ()) -> Any:
    """The lists, tuples, dictionaries, strings and integers that a text denotes.

    A name before it (`X = ...`) is dropped; `range(a, b)`, `list(...)`, `tuple(...)` and `[*...]` are what
    they are in Python, and `np.int64(1)`, as NumPy prints it, is 1.
    call: the class by whose call (also as `module.Class`) it may be written, then with exactly these fields,
    by position or name; it becomes a dictionary. JSON is read as the Python it looks like.

    Raises Malformed for anything else, and for more than `LONGEST` characters.
    """
    if len(text) > LONGEST:
        raise Malformed(f"it is longer than {LONGEST:,} characters")
    try:
        statements = ast.parse(text.strip("\ufeff" + string.whitespace)).body
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
        case ast.Call(func=func, args=[ast.Constant(value=int() as value)], keywords=[]):
            if ast.unparse(func) in ("np.int64", "np.int32"):
                return value
    raise Malformed("its fields are not literals")


def _items(node: ast.expr) -> list[Any] | tuple[Any, ...]:
    items = _literal(node)
    if isinstance(items, list | tuple):
        return items
    raise Malformed("its fields are not literals")


def plain(written: Any, depth: int = 4) -> Any:
    """The same with Python's lists and integers in place of NumPy's, `depth` levels down."""
    if hasattr(written, "tolist"):
        return written.tolist()
    if depth and isinstance(written, list | tuple):
        items = [plain(item, depth - 1) for item in written]
        return items if isinstance(written, list) else tuple(items)
    if depth and isinstance(written, Mapping):
        return {name: plain(value, depth - 1) for name, value in written.items()}
    return written


def shown(written: Any, length: int) -> str:
    """One short line that shows what was written."""
    return repr(written[:length]) if isinstance(written, str) else reprlib.repr(written)[:length]


def is_pair(value: Any) -> bool:
    """Whether it is (operation, source) with the types that these have."""
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and isinstance(value[0], str)
        and len(value[0]) <= 64
        and type(value[1]) is int
    )
