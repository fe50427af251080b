"""JSON of strangers: read so that what comes back can be compared, printed and counted.

Python's parser takes more than JSON and more than a reader can bear: NaN, numbers beyond float64, a field
twice (the last wins), thousands of brackets, half a surrogate pair that no terminal prints.
"""

from __future__ import annotations

import json
import math
from typing import Any

from znas_engine.errors import StorageError, ZnasError, briefly

#: Lists and objects within one another, at most; our own files have six.
DEPTH = 32


def parse(data: bytes | str, what: str, error: type[ZnasError] = StorageError, *, nan: bool = False) -> Any:
    """The value; `error` of one line that begins with `what` for everything that is not plain JSON.

    Numbers are finite, integers below 2**64; no object has a field twice; texts are whole.
    nan: whether NaN may stand where a number may, as in results of ours that were measured.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_nan if nan else _refused,
            parse_float=_float,
            parse_int=_integer,
        )
        _check(value, DEPTH)
    except (ValueError, RecursionError) as problem:
        why = "it is nested too deeply" if isinstance(problem, RecursionError) else str(problem)
        raise error(f"{what} is not JSON ({why})") from problem
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {briefly(twice)} occurs twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _nan(name: str) -> float:
    return math.nan if name == "NaN" else float(_refused(name))


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:40]} is beyond 64 bits")
    return value


def _integer(text: str) -> int:
    value = int(text) if len(text) <= 21 else 1 << 64
    if not -(1 << 64) < value < 1 << 64:
        raise ValueError(f"the number {text[:40]} is beyond 64 bits")
    return value


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        value.encode()  # half a surrogate pair: UnicodeEncodeError, which is a ValueError
    elif isinstance(value, list | dict):
        if depth == 0:
            raise RecursionError
        for each in value:
            _check(each, depth - 1)
            if isinstance(value, dict):
                _check(value[each], depth - 1)
