"""What is said of an option, once: its help, its choices, what it reads and what of that is right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from znas.costs.quantities import EXAMPLES, limits
from znas.costs.sizes import span
from znas.presets import PRESETS, Preset
from znas_engine.arguments import check_between, number, truth
from znas_engine.backends import BACKENDS, Backend
from znas_engine.errors import InvalidValueError, briefly, unknown_choice
from znas_engine.paths import named
from znas_engine.registry import Registry, where_is


@dataclass(frozen=True, slots=True)
class Option:
    """What is said of a field. help: without its choices. choices: the names that are known here, after those
    of `also`. kind: what the command line reads, `read` what it makes of that. of_preset: None stands for the
    preset's value. absent: for what else. low, high: of a whole number, or of a range of them as text.
    domain: of another. limit: the cost that it limits."""

    help: str
    kind: type
    choices: Registry[Any] | Callable[[], Iterable[str]] = tuple
    also: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    of_preset: bool = False
    absent: str = ""
    low: int | None = None
    high: int | None = None
    domain: Callable[[str, Any], float] = number
    limit: str | None = None

    def names(self, *, installed: bool = True) -> list[str]:
        """Its choices. installed: with those that packages bring."""
        names = self.choices
        if isinstance(names, Registry):
            known: Iterable[str] = names.names() if installed else names.builtin
        else:
            known = names()
        return [*self.also, *known]

    def described(self, *, installed: bool = True) -> str:
        """Help and choices. installed: as for `names`."""
        choices = self.names(installed=installed)
        return f"{self.help}: {' | '.join(choices)}." if choices else f"{self.help}."


def option(default: Any, help: str, kind: type = str, **facts: Any) -> Any:
    """A field with what is said of it."""
    return field(default=default, metadata={"option": Option(help, kind, **facts)})


def limit_of(cost: str, help: str) -> Any:
    """A field that limits a cost."""
    return option(None, f"{help}: {EXAMPLES[cost]}", limit=cost)


def typed(name: str, option: Option, value: Any, default: Any) -> Any:
    """The value as its field has it; InvalidValueError for another type."""
    if value is None and default is None:
        return None
    if option.limit is not None:
        asked = limits(option.limit, value)
        return value if isinstance(value, str) else f"{asked[0].most:.17g}"
    if option.kind is str and option.low is not None and option.high is not None:
        first, last = span(name, value, option.low, option.high)
        return f"{first}" if first == last else f"{first}-{last}"
    if option.kind is int:
        return check_between(name, value, option.low, option.high)
    if option.kind is float:
        return option.domain(name, value)
    if option.kind is bool:
        return truth(name, value)
    if option.kind is Path:
        return named(value, f"`{name}`")
    if option.kind is str and isinstance(value, str):
        return value
    if name == "prior" and isinstance(value, os.PathLike):
        return os.fspath(value)
    choices = () if isinstance(option.choices, Registry) else tuple(option.choices())
    if choices:
        raise unknown_choice(name.replace("_", " "), value, [*option.also, *choices])
    raise InvalidValueError(f"`{name}` must be text but got {briefly(value)}: {option.help}")


#: How a preset or backend that has no place begins where a request is written down.
OBJECT = "(object "


def plainly(value: Any) -> Any:
    """The value of a field as plain JSON: an object is where its class is found, or what it is called."""
    if isinstance(value, list | tuple):
        return [plainly(each) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Preset | Backend):
        known: Registry[Any] = PRESETS if isinstance(value, Preset) else BACKENDS
        found = value.name in known and known.get(value.name) == value
        return value.name if found else f"{OBJECT}{value.name})"
    return str(value) if isinstance(value, Path) else where_is(value)
