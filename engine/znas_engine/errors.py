"""What can go wrong, as types.

Every message is one line that names the offending value, what was expected and the way out.
The command line prints it and exits with 2; a traceback means a defect of ours.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable

#: Characters of a message, at most: what a stranger's file or argument holds is quoted, never poured out.
LONGEST = 300
#: Characters of a value that is quoted, unless a notation needs more, and levels of what it holds.
_QUOTED, _LEVELS = 80, 3


class ZnasError(Exception):
    """Base of every error that a user can mend. Its message is one line that a terminal can bear."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


class InvalidValueError(ZnasError, ValueError):
    """An argument outside its domain."""


class PluginError(ZnasError):
    """Code that is not ours and does not keep its contract; the message names it, and its package if that is
    installed."""


class DataError(ZnasError):
    """Missing, truncated or malicious image files."""


class MissingDependencyError(ZnasError, ImportError):
    """An optional package that this request needs is not installed."""


class NonFiniteScoreError(ZnasError, ArithmeticError):
    """A pass produced NaN or infinity; the message carries the mask that caused it."""


class DivergedError(ZnasError, ArithmeticError):
    """A training produced NaN or infinity."""


class StorageError(ZnasError, OSError):
    """The cache or a run folder cannot be read or written."""


class DeviceError(ZnasError):
    """A GPU fails while it works."""


class DeviceMemoryError(DeviceError):
    """The memory of a GPU is full."""


class TensorRTError(ZnasError):
    """TensorRT refuses a graph, a plan or a pass; the message holds its own words."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Printable characters only, runs of white space as one space, the middle cut where it is too long.

    Its beginning says what is wrong with what, its end the way out.
    """
    if len(text) > 100 * longest:
        text = f"{text[: 50 * longest]} {text[-50 * longest :]}"
    line = "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in " ".join(text.split())
    )
    if len(line) <= longest:
        return line
    head = longest * 3 // 5
    return f"{line[:head]} ... {line[head + 5 - longest :]}"


def in_short(error: BaseException) -> str:
    """`KeyError: 'oh'`: its type and the first line of what it says."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


class _Quote(reprlib.Repr):
    def repr_instance(self, x: object, level: int) -> str:
        """Of what is no container of Python: its base names an address where that fails."""
        try:
            return one_line(repr(x), self.maxother)
        except Exception:  # noqa: BLE001 - this only words what is wrong with the value
            return f"an object of {type(x).__name__}"


def briefly(value: object, longest: int = _QUOTED) -> str:
    """Its repr in one short line, whatever it is: a stranger's may fail, or fill memory."""
    quote = _Quote()
    quote.maxstring = quote.maxother = quote.maxlong = longest
    quote.maxlevel = _LEVELS
    try:
        return " ".join(quote.repr(value).split())[:longest]
    except Exception:  # noqa: BLE001 - this only words what is wrong with the value
        return f"an object of {type(value).__name__}"


def unknown_choice(what: str, value: object, choices: Iterable[str]) -> InvalidValueError:
    """The error for a name that is not in a registry; it names the nearest valid one."""
    names = list(choices)
    asked = str(value)[:80].lower() if isinstance(value, str) else briefly(value)
    near = difflib.get_close_matches(asked, names, n=1, cutoff=0.0)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InvalidValueError(f"unknown {what} {briefly(value)}: choose one of {', '.join(names)}{hint}")
