"""Names become objects once, at the edge: what is built in, what packages bring, and objects themselves.

    SCORES = Registry("score", "znas.scores", Score, {"naswot": "znas_engine.scores.naswot:Naswot"})
    SCORES.get("naswot")                  # built in
    SCORES.get("theirs")                  # an entry point of the group `znas.scores`
    SCORES.get("package.module:Theirs")   # anything that can be imported
    SCORES.get(Theirs())                  # an object, or the class that makes it

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

from znas_engine.errors import InvalidValueError, PluginError, briefly, in_short, unknown_choice

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
    arguments; False where classes and functions are themselves what is registered. check: what is wrong with
    an object that is not built in, in words that follow its name; None if nothing is.
    """

    def __init__(
        self,
        what: str,
        group: str,
        contract: type[T] | None,
        builtin: Mapping[str, str],
        *,
        make: bool = True,
        check: Callable[[T], str | None] = lambda made: None,
    ) -> None:
        self.what = what
        self.group = group
        self.contract = contract
        self.builtin = dict(builtin)
        self.make = make
        self.check = check
        self._made: dict[Any, T] = {}  # by name or class

    def names(self) -> tuple[str, ...]:
        """The built-in ones in their order, then those of installed packages."""
        return (*self.builtin, *(name for name in self._points if name not in self.builtin))

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in self._points

    def get(self, asked: str | T | type[T]) -> T:
        """The object of that name or at `package.module:Name`, what that class makes, or `asked` itself, held
        to the contract.

        Raises:
            InvalidValueError: an unknown name (the message names the nearest), or no object of this kind.
            PluginError: a package that breaks the contract, or two that claim one name; the message names it.
        """
        named: Any = asked
        if isinstance(named, str) or (self.make and inspect.isclass(named)):
            if named not in self._made:
                self._made[named] = self._found(named)
            return self._made[named]
        return self._checked(named, called(self.what, named), InvalidValueError)

    def outside(self) -> list[Outside]:
        """What installed packages bring, also what could not be used."""
        return [
            Outside(name, _where(point), _package(point))
            for name, points in self._points.items()
            for point in points
        ]

    def _found(self, name: str | type[object]) -> T:
        if not isinstance(name, str):
            return self._made_by(f"the {self.what} {where_is(name)}", lambda: name, InvalidValueError)
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
            where = _where(claims[0])
            who = f"the package {claimants[0]} brings the {self.what} {name!r} as {where}, which"
            return self._made_by(who, lambda: _load(where), PluginError, name)
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
        except (Exception, SystemExit) as error:  # some modules are programs
            raise wrong(f"{who} cannot be made ({in_short(error)})") from error
        checked = self._checked(made, who, wrong)
        own = getattr(checked, "name", name) if self.make else name
        if name is not None and own != name:
            raise wrong(f"{who} calls itself {own!r}: give both one name")
        return checked

    def _object(self, found: Any) -> Any:
        return found() if self.make and inspect.isclass(found) else found

    def _checked(self, made: Any, who: str, wrong: type[Exception]) -> T:
        hold_to(self._broken, made, who, wrong)
        checked: T = made
        return checked

    def _broken(self, made: Any) -> str | None:
        """What is wrong with it, in words that follow its name."""
        if self.contract is None or not self.make:
            return None
        if not isinstance(made, self.contract):
            return f"is {type(made).__name__}, no {self.contract.__module__}.{self.contract.__qualname__}"
        for name in _promised(self.contract):
            if not hasattr(made, name):
                return f"has no attribute `{name}`, which every {self.what} has"
        return _bad_name(getattr(made, "name", self.what)) or self.check(made)

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


def hold_to(check: Callable[[Any], str | None], made: Any, who: str, wrong: type[Exception]) -> None:
    """Raises, in one line that `who` begins, what `check` finds wrong with an object, or what its attributes
    raise when they are read."""
    try:
        broken = check(made)
    except (Exception, SystemExit) as error:
        raise wrong(f"{who} cannot be read ({in_short(error)})") from error
    if broken is not None:
        raise wrong(f"{who} {broken}")


def called(what: str, thing: Any) -> str:
    """`the score 'spread' (their.module:Spread)`, whatever the thing is; without a class of ours."""
    if type(thing).__module__ == "builtins" and not callable(thing):
        return f"the {what} {briefly(thing)}"
    name, where = name_of(thing), where_is(thing)
    if name is None:
        return f"the {what} {where}"
    return f"the {what} {name!r}" if is_ours(where) else f"the {what} {name!r} ({where})"


def name_of(thing: Any) -> str | None:
    """Its attribute `name`; None where that is no text, or cannot be read."""
    try:
        name = getattr(thing, "name", None)
    except Exception:  # noqa: BLE001 - this only words what is wrong with the thing
        return None
    return name if isinstance(name, str) else None


def where_is(thing: Any) -> str:
    """`module:Name` of a class, or of an object's class: what a `Registry` finds it by."""
    kind = thing if inspect.isclass(thing) or inspect.isfunction(thing) else type(thing)
    return f"{kind.__module__}:{kind.__qualname__}"


def is_ours(where: str) -> bool:
    """Of `module` or `module:Name`."""
    return where.partition(":")[0].partition(".")[0] in ("znas", "znas_engine")


def _bad_name(name: Any) -> str | None:
    """What keeps a name from being asked for, in words that follow whose it is."""
    if not isinstance(name, str) or not name or not name.isprintable() or set(name) & set("+:"):
        return f"has {briefly(name)} for `name`, no line of text without '+' and ':'"
    return None


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


def _where(point: EntryPoint) -> str:
    """`module:Name`, without the extras that may follow it."""
    return "".join(point.value.partition("[")[0].split())
