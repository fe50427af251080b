"""Numbers and other arguments as people pass them: converted exactly, or refused in one line.

What is 7 to Python is 7 here: NumPy's scalars, arrays without a dimension, `Fraction(7)`. True is no number,
1.0 is no whole one, and a decimal fraction that binary numbers do not have is not rounded in silence.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, TypeVar

import numpy as np

from znas_engine.errors import InvalidValueError, briefly, unknown_choice

T = TypeVar("T")

#: Of a whole number: those beyond cannot even be printed.
_MOST_BITS = 4096
#: Digits of a whole number that is quoted.
_LONGEST = 40


def check_between(name: str, value: Any, low: int | None, high: int | None) -> int:
    """`value` as an int; InvalidValueError unless it is a whole number from low to high; None: no limit."""
    found = whole(name, value)
    if (low is not None and found < low) or (high is not None and found > high):
        raise InvalidValueError(f"`{name}` must be {_domain(low, high)} but got {_written(found)}")
    return found


def whole(name: str, value: Any, limits: str = "") -> int:
    """`value` as an int; InvalidValueError, naming the limits, unless it is a whole number."""
    found = _index(value)
    if found is None:
        wanted = f"a whole number, {limits}," if limits else "a whole number"
        raise InvalidValueError(f"`{name}` must be {wanted} but got {briefly(value)}")
    if found.bit_length() > _MOST_BITS:
        wanted = f"{limits} " if limits else "a smaller number "
        raise InvalidValueError(f"`{name}` must be {wanted}but got one of {found.bit_length():,} bits")
    return found


def number(name: str, value: Any, wanted: str = "a finite number") -> float:
    """`value` as a float that equals it; InvalidValueError, saying what was `wanted`, for anything else."""
    plain = _plain(value)
    if not isinstance(plain, bool) and isinstance(plain, Real | Decimal):
        try:
            found = float(plain)
            finite, same = math.isfinite(found), found == plain
        except (OverflowError, ValueError):  # beyond float64; Decimal's signalling NaN
            finite, same = False, True
        if finite and same:
            return found
        if not same and finite:
            raise InvalidValueError(
                f"`{name}` must be {wanted} but got {briefly(value)}, which no float is: pass float(...)"
            )
    raise InvalidValueError(f"`{name}` must be {wanted} but got {briefly(value)}")


def positive(name: str, value: Any) -> float:
    """`value` as a float; InvalidValueError unless it is finite and above 0."""
    wanted = "finite and above 0"
    found = number(name, value, wanted)
    if not found > 0:
        raise InvalidValueError(f"`{name}` must be {wanted} but got {found!r}")
    return found


def fraction(name: str, value: Any) -> float:
    """`value` as a float; InvalidValueError unless it is between 0 and 1, neither of them."""
    wanted = "between 0 and 1"
    found = number(name, value, wanted)
    if not 0 < found < 1:
        raise InvalidValueError(f"`{name}` must be {wanted} but got {found!r}")
    return found


def truth(name: str, value: Any) -> bool:
    """`value` as a bool; InvalidValueError for anything but True and False."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise InvalidValueError(f"`{name}` must be True or False but got {briefly(value)}")


def function(name: str, value: Any) -> Callable[..., Any]:
    """`value` itself; InvalidValueError for what cannot be called."""
    if not callable(value):
        raise InvalidValueError(f"`{name}` must be a function but got {briefly(value)}")
    found: Callable[..., Any] = value
    return found


def instance(name: str, value: Any, kind: type, way_out: str = "") -> Any:
    """`value` itself; InvalidValueError unless it is a `kind`. way_out: in words that end the sentence."""
    if isinstance(value, kind):
        return value
    wanted = f"{kind.__module__.partition('.')[0]}.{kind.__name__}"
    raise InvalidValueError(f"`{name}` must be a {wanted} but got {briefly(value)}{way_out}")


def generator(name: str, value: Any) -> np.random.Generator:
    """`value` itself; InvalidValueError for what is no stream of random numbers."""
    if isinstance(value, np.random.Generator):
        return value
    raise InvalidValueError(f"`{name}` must be a numpy.random.Generator but got {briefly(value)}")


def choice(what: str, value: Any, choices: Iterable[str]) -> str:
    """`value` itself; InvalidValueError, naming the nearest, unless it is one of the choices."""
    names = list(choices)
    if isinstance(value, str) and value in names:
        return value
    raise unknown_choice(what, value, names)


def distinct(what: str, values: Sequence[T]) -> list[T]:
    """The same; InvalidValueError where one of them is there twice."""
    for i, value in enumerate(values):
        if value in values[:i]:
            raise InvalidValueError(f"{what} names {briefly(value)} twice: name it once")
    return list(values)


def _plain(value: Any) -> Any:
    """What a NumPy scalar, or an array without a dimension, holds."""
    if isinstance(value, np.generic | np.ndarray) and value.ndim == 0 and value.dtype.kind in "biuf":
        return value.item()
    return value


def _index(value: Any) -> int | None:
    if "bool" in str(getattr(value, "dtype", "")):
        return None
    plain = _plain(value)
    if isinstance(plain, bool):
        return None
    try:
        return operator.index(plain)
    except Exception:  # noqa: BLE001 - an array or tensor of several; whatever a stranger's own `__index__` raises
        return None


def _domain(low: int | None, high: int | None) -> str:
    if low is None:
        return ""
    return f"at least {low:,}" if high is None else f"between {low:,} and {high:,}"


def _written(value: int) -> str:
    return f"{value:,}" if abs(value) < 10**_LONGEST else f"one of more than {_LONGEST} digits"
