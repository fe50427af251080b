"""Names become objects once, at the edge: what is built in, what packages bring, and objects themselves.

    SCORES = Registry("score", "znas.scores", Score, {"naswot": "znas_engine.scores.naswot:Naswot"})
    SCORES.get("naswot")                  # built in
    SCORES.get("theirs")                  # an entry point of the group `znas.scores`
    SCORES.get("package.module:Theirs")   # anything that can be imported
    SCORES.get(Theirs())                  # an object

Nothing is imported before it is asked for.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from pathlib import Path
from typing import Any, Generic, TypeVar

from znas_engine.errors import InvalidValueError, PluginError, unknown_choice

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outside:
    """A name that an installed package brings. where: `module:Name`. package: its name and version."""

    name: str
    where: str
    package: str


class Registry(Generic[T]):
    """Everything of one kind, by name.

    what: the kind, in words. group: of entry points. contract: the class that every object is an instance
    of. builtin: name -> `module:Name`. make: whether a class stands for an object, made by calling it without
    arguments; False where classes and functions are themselves what is registered.
    """

    def __init__(
        self,
        what: str,
        group: str,
        contract: type[T] | None,
        builtin: Mapping[str, str],
        *,
        make: bool = True,
    ) -> None:
        self.what = what
        self.group = group
        self.contract = contract
        self.builtin = dict(builtin)
        self.make = make
        self._made: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """The built-in ones in their order, then those of installed packages."""
        return (*self.builtin, *(name for name in self._points if name not in self.builtin))

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._points

    def get(self, asked: str | T) -> T:
        """The object of that name or at `package.module:Name`, or `asked` itself, held to the contract.

        Raises:
            InvalidValueError: an unknown name (the message names the nearest), or no object of this kind.
            PluginError: a package that breaks the contract, or two that claim one name; the message names it.
        """
        if not isinstance(asked, str):
            return self._checked(asked, f"the {self.what} {type(asked).__name__}", InvalidValueError)
        if asked not in self._made:
            self._made[asked] = self._found(asked)
        return self._made[asked]

    def outside(self) -> list[Outside]:
        """What installed packages bring, also what could not be used."""
        return [
            Outside(name, point.value, _package(point))
            for name, points in self._points.items()
            for point in points
        ]

    def _found(self, name: str) -> T:
        claims = self._points.get(name, [])
        claimants = [*(["znas-engine"] if name in self.builtin else []), *map(_package, claims)]
        if len(claimants) > 1:
            raise PluginError(
                f"the {self.what} {name!r} is claimed by {' and by '.join(claimants)}: uninstall one, or "
                "name it as package.module:Name"
            )
        if name in self.builtin:
            made: T = self._object(_load(self.builtin[name]))
            return made
        if claims:
            who = f"the package {claimants[0]} brings the {self.what} {name!r} as {claims[0].value}, which"
            return self._made_by(who, lambda: _load(claims[0].value), PluginError, name)
        if ":" in name:
            who = f"the {self.what} {name}"
            return self._made_by(who, lambda: _load(name, Path.cwd()), InvalidValueError)
        raise unknown_choice(self.what, name, self.names())

    def _made_by(
        self, who: str, load: Callable[[], Any], wrong: type[Exception], name: str | None = None
    ) -> T:
        """What is at a place that is not ours: whatever goes wrong there is one line that says where."""
        try:
            made = self._object(load())
        except Exception as error:
            raise wrong(f"{who} cannot be made ({type(error).__name__}: {_first_line(error)})") from error
        checked = self._checked(made, who, wrong)
        if name is not None and self.make and getattr(checked, "name", name) != name:
            raise wrong(f"{who} calls itself {getattr(checked, 'name', None)!r}: give both one name")
        return checked

    def _object(self, found: Any) -> Any:
        return found() if self.make and inspect.isclass(found) else found

    def _checked(self, made: Any, who: str, wrong: type[Exception]) -> T:
        if self.contract is None:
            found: T = made
            return found
        if self.make and not isinstance(made, self.contract):
            kind = self.contract
            raise wrong(f"{who} is {type(made).__name__}, no {kind.__module__}.{kind.__qualname__}")
        if self.make:
            for name in _promised(self.contract):
                if not hasattr(made, name):
                    raise wrong(f"{who} has no attribute `{name}`, which every {self.what} has")
        checked: T = made
        return checked

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for point in sorted(_entry_points().select(group=self.group), key=lambda point: point.name):
            known = found.setdefault(point.name, [])
            if all(_package(point) != _package(other) for other in known):  # one that lies on the path twice
                known.append(point)
        return found


@lru_cache(maxsize=1)
def _entry_points() -> EntryPoints:
    """Of all installed packages: reading them takes milliseconds, once."""
    return entry_points()  # type: ignore[return-value]  # "SelectableGroups" of Python 3.9


def where_is(thing: Any) -> str:
    """`module:Name` of a class, or of an object's class: what a `Registry` finds it by."""
    kind = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    return f"{kind.__module__}:{kind.__qualname__}"


def _promised(contract: type) -> list[str]:
    """The public attributes that the contract declares and gives no value."""
    declared = (name for kind in contract.__mro__ for name in inspect.get_annotations(kind))
    return [name for name in declared if not name.startswith("_") and not hasattr(contract, name)]


def _load(where: str, folder: Path | None = None) -> Any:
    """The object at `module:Name`. folder: looked into where the module is not installed."""
    module, _, name = where.partition(":")
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        if folder is None or error.name != module.partition(".")[0]:
            raise
        sys.path.insert(0, str(folder))
        try:
            found = import_module(module)
        finally:
            sys.path.remove(str(folder))
    for part in name.split("."):
        found = getattr(found, part)
    return found


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
