"""Code that is not ours, held to its contract: whatever goes wrong in it is one line that names it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from znas_engine.errors import PluginError, ZnasError, in_short
from znas_engine.registry import called, is_ours, where_is

#: Of an object and what its method returned: what is wrong, in words that follow "returned", or None.
Wrong = Callable[[Any, Any], str | None]


@dataclass(frozen=True, slots=True)
class Calling:
    """Around calls of code at `where` (`module:Name`): what it raises becomes a PluginError of one line.

        with calling("score", score):
            value = score(observations)

    Errors that a user can mend, those of our own code and a machine's full memory stay what they are. One
    object may stand around any number of calls, in any thread.
    """

    who: str
    where: str

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, ZnasError | MemoryError):
            return
        if not is_ours(self.where):
            raise PluginError(f"{self.who} raised {in_short(error)}") from error


def calling(what: str, thing: Any) -> Calling:
    """Around calls of an object, by its class."""
    return Calling(called(what, thing), where_is(thing))


def hold(kind: type, what: str, returns: Mapping[str, Wrong]) -> None:
    """Puts a check around those methods that a class which is not ours defines itself: PluginError for what
    they raise, and for what they return that is wrong.

    what: the kind, in words. returns: by method, what is wrong with what it returned.
    """
    if not is_ours(where_is(kind)):
        for name, wrong in returns.items():
            method = vars(kind).get(name)
            if inspect.isfunction(method):
                setattr(kind, name, _held(name, method, what, wrong))


def _held(name: str, method: Callable[..., Any], what: str, wrong: Wrong) -> Callable[..., Any]:
    @wraps(method)
    def held(self: Any, *arguments: Any, **named: Any) -> Any:
        who = f"`{name}` of {called(what, self)}"
        with Calling(who, where_is(method)):
            found = method(self, *arguments, **named)
        if (broken := wrong(self, found)) is not None:
            raise PluginError(f"{who} returned {broken}")
        return found

    return held


def undefined(where: str) -> str | None:
    """Why there is no `module:Name`, seen without importing the module; None if there is, or nobody knows."""
    module, _, name = where.partition(":")
    first = name.partition(".")[0]
    if is_ours(where):
        return None
    if module in sys.modules:
        there = hasattr(sys.modules[module], first)
    else:
        try:
            spec = find_spec(module)
        except (ModuleNotFoundError, ValueError):
            spec = None
        if spec is None:
            return f"there is no module {module!r}"
        text = _text(spec.origin)
        there = text is None or re.search(rf"\b{re.escape(first)}\b|import \*|__getattr__", text) is not None
    return None if there else f"the module {module!r} has no `{name}`"


def _text(origin: str | None) -> str | None:
    """Of a module that is a file of Python."""
    if origin is None or not origin.endswith(".py"):
        return None
    return Path(origin).read_text(encoding="utf-8")
