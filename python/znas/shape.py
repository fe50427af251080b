"""The shape of a document that came from elsewhere: other people's JSON, pieces of another version's job.

    RESULT = {"version": str, "rows": Many({"part": str, "seconds": Many(Number(low=0)), "why?": str})}
    misshapen({"version": 3}, RESULT)  # "`version` must be text but is 3"

A shape is `str`, `bool`, `dict`, None, a `Number`, `Many` (a list), `Each` (an object with any names),
`Either`, or a dictionary: an object with these fields, those whose names end in `?` may be absent, others
are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from znas_engine.errors import briefly

Shape = Any


@dataclass(frozen=True, slots=True)
class Number:
    """Finite, from low to high. Sums and squares of them stay finite where the limits are the usual ones."""

    low: float = -1e100
    high: float = 1e100
    whole: bool = False

    def wrong(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return True
        return not self.low <= value <= self.high  # nan too

    def __str__(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        if (self.low, self.high) == (-1e100, 1e100):
            return kind
        high = "" if self.high == 1e100 else f" to {self.high:,g}"
        return f"{kind} from {self.low:,g}{high}"


@dataclass(frozen=True, slots=True)
class Many:
    """A list of `of`, from `least` to `most` of them."""

    of: Shape
    least: int = 0
    most: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Each:
    """An object whose fields, whatever their names, are all `of`."""

    of: Shape


@dataclass(frozen=True, slots=True)
class Either:
    """The first of these kinds that fits."""

    first: Shape
    second: Shape = None


COUNT = Number(0, 2**53, whole=True)
SECONDS = Number(0, 1e12)


def misshapen(value: Any, shape: Shape, at: str = "") -> str | None:
    """The first part of `value` that is not of this shape, in words with its place; None if all of it is."""
    if isinstance(shape, Either):
        found = misshapen(value, shape.first, at)
        return found and misshapen(value, shape.second, at) and found
    if isinstance(shape, Mapping | Each):
        return (
            _first(_fields(value, shape, at)) if isinstance(value, dict) else _wrong(value, "an object", at)
        )
    if isinstance(shape, Many):
        return _first(_items(value, shape, at)) if isinstance(value, list) else _wrong(value, "a list", at)
    if isinstance(shape, Number):
        return _wrong(value, str(shape), at) if shape.wrong(value) else None
    if shape is str:
        return None if isinstance(value, str) and plain(value) else _wrong(value, "text", at)
    if shape is None:
        return None if value is None else _wrong(value, "null", at)
    words = {bool: "true or false", dict: "an object"}
    return None if isinstance(value, shape) else _wrong(value, words[shape], at)


def plain(text: str) -> bool:
    """Nothing that moves a terminal's cursor; lines and tabs may be."""
    return text.replace("\n", " ").replace("\t", " ").isprintable() or not text


def _fields(value: dict[str, Any], shape: Mapping[str, Shape] | Each, at: str) -> Iterator[str | None]:
    before = f"{at}." if at else ""
    if isinstance(shape, Each):
        for name, each in value.items():
            yield None if plain(name) else _wrong(name, "text", f"{at}, a name,")
            yield misshapen(each, shape.of, f"{before}{name}")
        return
    for wanted, of in shape.items():
        name = wanted.removesuffix("?")
        if name in value:
            yield misshapen(value[name], of, f"{before}{name}")
        elif name == wanted:
            yield f"`{before}{name}` is missing"


def _items(value: list[Any], shape: Many, at: str) -> Iterator[str | None]:
    if not shape.least <= len(value) <= shape.most:
        many = f"{shape.least:,}" if shape.least == shape.most else f"{shape.least:,} to {shape.most:,}"
        yield f"`{at}` must have {many} entries but has {len(value):,}"
    for i, each in enumerate(value):
        yield misshapen(each, shape.of, f"{at}[{i}]")


def _first(found: Iterator[str | None]) -> str | None:
    return next((each for each in found if each is not None), None)


def _wrong(value: Any, wanted: str, at: str) -> str:
    return f"`{at[:100]}` must be {wanted} but is {briefly(value)}"
