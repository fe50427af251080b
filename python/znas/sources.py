"""Which code an object runs and what it was made with, as far as a job's identity needs it.

Of ours and of installed packages the version says it. All else is source that somebody may be editing: the
modules of an object's classes and every module that these import, wherever in them they do, without running
or importing any. A class of a notebook has no file; there its bytecode stands for it.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from enum import Enum
from functools import cache, partial
from importlib.machinery import BuiltinImporter, ModuleSpec, PathFinder
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import CellType, CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from znas_engine import paths

OURS = ("builtins", "znas", "znas_engine")
#: Modules that are followed from one object, at most.
_MOST = 2000
#: Levels of objects within objects.
_DEEPEST = 4
Plain = tuple[type, ...]


def code(kinds: Sequence[type | FunctionType]) -> dict[str, str]:
    """By package its version, by module a digest: of what classes and functions are made of and what that
    imports."""
    found: dict[str, str] = {}
    bases = [base for kind in kinds for base in getattr(kind, "__mro__", (kind,))]
    for base in bases:
        module = base.__module__
        root = module.partition(".")[0]
        if root in OURS or root in sys.stdlib_module_names:
            continue
        file = getattr(sys.modules.get(module), "__file__", None)
        if file is None:
            found[f"{module}.{base.__qualname__}"] = _hash(repr(_of_class(base)).encode())
        elif _is_installed(file):
            found |= {name: version(name) for name in _distributions().get(root, ())}
            found[module] = _of_file(module, file)
        else:
            package = getattr(sys.modules[module], "__package__", None) or ""
            _follow(module, file, package, found)
    return found


def settings(thing: Any, kinds: Plain = (str, int, float), deepest: int = _DEEPEST) -> list[str]:
    """What an object of somebody else's class was made with: `k=3`.

    kinds: of plain values, which count under any name; a data set's texts are places, and what lies there is
    its identity. Where texts are among them, arrays, tables, functions and objects count too under the names
    of the arguments that make it, `weights` or `_weights`: under other names they may be what it has
    computed.
    """
    if isinstance(thing, partial):
        return [*settings(thing.func, kinds, deepest), _told([thing.args, thing.keywords], kinds, deepest)]
    if isinstance(thing, MethodType):
        return [thing.__func__.__qualname__, *settings(thing.__self__, kinds, deepest)]
    if isinstance(thing, FunctionType):
        return [_told(_given(thing), kinds, deepest)]
    if type(thing).__module__.partition(".")[0] in OURS:
        return []
    told = {}
    for name, value in sorted(_attributes(thing).items()):
        value = value.item() if isinstance(value, np.generic) else value
        if _is_plain(value, kinds):
            told[name] = repr(value)
        elif str in kinds and name.lstrip("_") in _parameters(type(thing)):
            told[name] = _told(value, kinds, deepest)
    return [f"{name}={value}" for name, value in told.items()]


def made_of(thing: Any) -> type | FunctionType:
    """Of which code an object is, or a class, a function, a method, a function with some of its arguments."""
    if isinstance(thing, partial):
        return made_of(thing.func)
    if isinstance(thing, MethodType):
        return made_of(thing.__self__)
    return thing if isinstance(thing, type | FunctionType) else type(thing)


def _given(function: FunctionType) -> list[Any]:
    """What a function was made with: values of arguments that need not be given, and what it encloses."""
    cells = [_inside(cell) for cell in function.__closure__ or ()]
    return [function.__defaults__, function.__kwdefaults__, cells]


def _inside(cell: CellType) -> Any:
    """None of a name that has no value yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _attributes(thing: Any) -> dict[str, Any]:
    """With those of __slots__."""
    found = {}
    for kind in type(thing).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            with suppress(AttributeError):
                found[name] = getattr(thing, name)
    return found | getattr(thing, "__dict__", {})


def _parameters(kind: type) -> Set[str]:
    try:
        return inspect.signature(kind).parameters.keys()
    except (TypeError, ValueError):
        return frozenset()


def _told(value: Any, kinds: Plain, deepest: int) -> str:
    """A text that differs where the value does, and is the same in every process."""
    if isinstance(value, np.generic):
        value = value.item()
    if _is_plain(value, kinds) or isinstance(value, complex) or deepest == 0:
        return repr(value) if deepest else type(value).__qualname__
    if isinstance(value, bytes | bytearray):
        return _hash(bytes(value))
    if isinstance(value, Enum | type):
        return str(value)
    if hasattr(value, "__array__") and hasattr(value, "shape"):
        return _of_array(value)
    if isinstance(value, Mapping):
        entries = [
            f"{_told(k, kinds, deepest - 1)}: {_told(v, kinds, deepest - 1)}" for k, v in value.items()
        ]
        return f"{{{', '.join(sorted(entries))}}}"
    if isinstance(value, Set):
        return f"{{{', '.join(sorted(_told(each, kinds, deepest - 1) for each in value))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_told(each, kinds, deepest - 1) for each in value)}]"
    if isinstance(body := getattr(value, "__code__", None), CodeType):
        given = _told(_given(value), kinds, deepest - 1) if isinstance(value, FunctionType) else ""
        return f"{value.__qualname__} {_hash(repr(_of_code(body)).encode())} {given}".rstrip()
    return f"{type(value).__qualname__}({', '.join(settings(value, kinds, deepest - 1))})"


def _of_array(value: Any) -> str:
    array = np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)
    data = repr(array.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(array).tobytes()
    return f"{array.dtype.str}{list(array.shape)} {_hash(data)}"


def _is_plain(value: Any, kinds: Plain) -> bool:
    if isinstance(value, tuple | list):
        return len(value) <= 1000 and all(_is_plain(each, kinds) for each in value)
    return value is None or (isinstance(value, kinds) and not isinstance(value, Enum | np.generic))


def _follow(module: str, file: str, package: str, found: dict[str, str]) -> None:
    """Digests of a module's file and of the files of all that it imports, packages that are installed left
    out: their version is enough."""
    waiting = [(module, file, package)]
    while waiting and len(found) < _MOST:
        module, file, package = waiting.pop()
        if module in found:
            continue
        found[module] = _of_file(module, file)
        for name in _imports(file, package):
            spec = _spec(name)
            if spec is not None and spec.origin and name not in found:
                inner = name if spec.submodule_search_locations is not None else name.rpartition(".")[0]
                waiting.append((name, spec.origin, inner))


def _imports(file: str, package: str) -> Iterator[str]:
    """Names that may be modules, in every statement that imports."""
    try:
        tree = ast.parse(paths.read(Path(file), "the module")) if file.endswith(".py") else ast.Module([], [])
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:k]) for k in range(1, len(parts) + 1))


def _spec(name: str) -> ModuleSpec | None:
    """Where a module of somebody's own lies; nothing is imported. None for others, and for what is none."""
    if name.partition(".")[0] in (*OURS, *sys.stdlib_module_names) or BuiltinImporter.find_spec(name):
        return None
    found = None
    where: Sequence[str] | None = None
    parts = name.split(".")
    for k in range(1, len(parts) + 1):
        whole = ".".join(parts[:k])
        loaded = getattr(sys.modules.get(whole), "__spec__", None)
        found = loaded or PathFinder.find_spec(whole, where)
        if found is None or (found.origin and _is_installed(found.origin)):
            return None
        where = found.submodule_search_locations
        if where is None and k < len(parts):
            return None
    return found


def _of_class(kind: type | FunctionType) -> list[Any]:
    """Names and code of its methods, or of the function, and of the functions and plain values that they
    name."""
    scope = vars(sys.modules.get(kind.__module__, kind))
    inside = {kind.__name__: kind} if isinstance(kind, FunctionType) else vars(kind)
    members = {name: _function(value) for name, value in inside.items()}
    bodies = {name: body for name, body in members.items() if body is not None}
    plain = (str, int, float, bool)
    values = {n: v for n, v in inside.items() if n not in bodies and _is_plain(v, plain)}
    seen: dict[str, Any] = {}
    waiting = [*bodies.values()]
    while waiting:
        for name in _names(waiting.pop()):
            value = scope.get(name)
            if name in seen or name not in scope:
                continue
            body = _function(value)
            if body is not None:
                waiting.append(body)
            seen[name] = _of_code(body) if body is not None else repr(value) if _is_plain(value, plain) else 0
    made = [[name, _of_code(body)] for name, body in sorted(bodies.items())]
    hidden = ("__module__", "__doc__", "__qualname__", "__firstlineno__", "__static_attributes__")
    return [made, [[n, repr(v)] for n, v in sorted(values.items()) if n not in hidden], sorted(seen.items())]


def _function(value: Any) -> CodeType | None:
    value = getattr(value, "fget", None) or getattr(value, "__func__", None) or value
    body: Callable[..., Any] | None = getattr(value, "__code__", None)
    return body if isinstance(body, CodeType) else None


def _names(body: CodeType) -> list[str]:
    inner = [name for each in body.co_consts if isinstance(each, CodeType) for name in _names(each)]
    return [*body.co_names, *inner]


def _of_code(body: CodeType) -> list[Any]:
    constants = [
        _of_code(each)
        if isinstance(each, CodeType)
        else sorted(map(repr, each))
        if isinstance(each, frozenset)
        else repr(each)
        for each in body.co_consts
    ]
    return [body.co_code.hex(), constants, list(body.co_names), list(body.co_varnames)]


@cache
def _distributions() -> dict[str, list[str]]:
    return {root: list(dict.fromkeys(names)) for root, names in packages_distributions().items()}


@cache
def _installed() -> tuple[Path, ...]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple(Path(place).resolve() for place in places if place)


def _is_installed(file: str) -> bool:
    """Whether it lies where packages are installed: nobody edits it there."""
    path = Path(file)
    if not path.suffix:  # "built-in", "frozen"
        return True
    inside = {"site-packages", "dist-packages"} & {*path.parts}
    return bool(inside) or any(path.is_relative_to(place) for place in _installed())


def _of_file(module: str, file: str) -> str:
    return _hash(paths.read(Path(file), f"the module {module}", limit=1 << 30))


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]
