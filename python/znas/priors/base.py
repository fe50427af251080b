"""A prior: mean and variance of a score per (edge, operation), as a small versioned JSON file."""

from __future__ import annotations

import json
import math
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas.files import write_file
from znas.shape import COUNT, Number, misshapen
from znas_engine import paths, strict_json
from znas_engine.arguments import instance
from znas_engine.errors import InvalidValueError, StorageError, briefly
from znas_engine.scores import SCORES
from znas_engine.spaces import SPACES, Mask, SearchSpace, get_space

FORMAT = "znas-prior"
VERSION = 1
_RANK = Number(-1 - 1e-9, 1 + 1e-9)  # rounded
#: What is said of a check; `passed` is what `better_than_chance` makes of the rest.
_CHECK = {
    "truth": str,
    "architectures": COUNT,
    "spearman": _RANK,
    "kendall": _RANK,
    "p_value": Number(0, 1),
    "passed": bool,
}
_FIELDS = (
    *("format", "version", "space", "score", "edges", "operations", "mean", "variance"),
    *("drop_mean", "drop_variance", "provenance", "check"),
)
#: One-sided probability under which a positive rank correlation counts as better than chance.
LEVEL = 0.01
#: The score of a prior that was fitted to measured accuracies.
TABLE_SCORE = "accuracy"


@dataclass(frozen=True, eq=False, kw_only=True)
class Prior:
    """mean, variance: float64 [E, O], NaN for operations that are no candidates.

    drop_mean, drop_variance: of the score under drop(e), float64 [E] (NaN for edges without competition), or
    None where the source does not know it. provenance: where it comes from, plain JSON. check: how it
    ranked held-out architectures (the fields of `RankCheck` and `passed`), or None if it never was checked.
    """

    space: SearchSpace[Any]
    score: str
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    drop_mean: NDArray[np.float64] | None
    drop_variance: NDArray[np.float64] | None
    provenance: dict[str, Any]
    check: dict[str, Any] | None = None

    def __repr__(self) -> str:
        known = int(np.isfinite(self.mean).sum())
        return f"<Prior of {self.score}: {known} neurons of {self.space.name}>"

    def __post_init__(self) -> None:
        space = instance("space", self.space, SearchSpace, ": znas_engine.spaces.get_space gives it")
        instance("score", self.score, str)
        instance("provenance", self.provenance, dict)
        edges = (len(space.edges),)
        shapes = {"mean": space.shape, "variance": space.shape, "drop_mean": edges, "drop_variance": edges}
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None or not name.startswith("drop"):
                object.__setattr__(self, name, _floats(name, value, shape))

    def predict(self, masks: Mask) -> NDArray[np.float64]:
        """masks [n, E, O] of architectures -> the mean of the prior over their neurons, float64 [n]."""
        masks = np.asarray(_floats("masks", masks, (-1, *self.space.shape)))
        known = np.where(np.isnan(self.mean), 0.0, self.mean)
        counted = np.where(np.isnan(self.mean), 0.0, masks)
        total: NDArray[np.float64] = (counted * known).sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1)
        return total

    def to_dict(self) -> dict[str, Any]:
        """The file's content."""
        space = self.space
        return {
            "format": FORMAT,
            "version": VERSION,
            "space": space.name,
            "score": self.score,
            "edges": [edge.label for edge in space.edges],
            "operations": list(space.operations),
            "mean": [_row(row) for row in self.mean],
            "variance": [_row(row) for row in self.variance],
            "drop_mean": None if self.drop_mean is None else _row(self.drop_mean),
            "drop_variance": None if self.drop_variance is None else _row(self.drop_variance),
            "provenance": self.provenance,
            "check": self.check,
        }


def better_than_chance(spearman: float, p_value: float) -> bool:
    """A positive Spearman correlation at LEVEL, one-sided."""
    return spearman > 0 and p_value < LEVEL


def save(prior: Prior, path: str | Path) -> None:
    """All of a new file or none of it; StorageError where one is there or it cannot be written,
    InvalidValueError for what `load` would refuse."""
    where = paths.named(path, "the output")
    write_file(where, _content(instance("prior", prior, Prior)))


def record(prior: Prior, path: str | Path, before: Prior) -> None:
    """Replaces the file that `before` was loaded from. StorageError where it is a link or another one by
    now, or cannot be written."""
    path = paths.named(path, "the prior")
    content = _content(instance("prior", prior, Prior))
    about = paths.itself(path, "the prior")
    if about is None or not stat.S_ISREG(about.st_mode):
        raise StorageError(f"the prior {path} is a link: --record writes into a file; name that")
    if load(path, prior.space).to_dict() != before.to_dict():
        raise StorageError(f"the prior {path} has changed since it was read: check it again")
    try:
        paths.replace(path, content)
        path.chmod(stat.S_IMODE(about.st_mode))
    except OSError as error:
        raise StorageError(f"the prior {path} cannot be written ({paths.reason(error)})") from error


def _content(prior: Prior) -> bytes:
    """What `load` will take: a score that is an object is known to whoever made it alone."""
    plain = prior.to_dict()
    try:
        text = json.dumps(plain, indent=1, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidValueError(f"`provenance` and `check` must be plain JSON ({error})") from error
    _Reader("to be written", plain | {"score": TABLE_SCORE}, prior.space).prior()
    return (text + "\n").encode()


def _floats(name: str, value: Any, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """float64 of that shape (-1: any), NaN for what is not there; a copy where it was something else."""
    wanted = f"`{name}` must be numbers {[n if n >= 0 else 'n' for n in shape]}".replace("'", "")
    try:
        found = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "biuf" or len(found.shape) != len(shape):
        raise InvalidValueError(f"{wanted} but got {briefly(value)}")
    if any(n not in (m, -1) for m, n in zip(found.shape, shape, strict=True)) or np.isinf(found).any():
        raise InvalidValueError(f"{wanted} and none infinite but got {briefly(value)}")
    return found.astype(np.float64, copy=False)


def load(path: str | Path, space: str | SearchSpace[Any] | None = None) -> Prior:
    """Reads a prior and validates every field.

    space: which is meant where the file names it; one that is not registered has to be given.

    Raises StorageError (unreadable file) and InvalidValueError naming the field and what was expected.
    """
    where = paths.named(path, "the prior")
    space = None if space is None else get_space(space)
    data = strict_json.parse(paths.read(where, "the prior"), f"the prior {where}", InvalidValueError)
    return _Reader(str(where), data, space).prior()


@dataclass(frozen=True, slots=True)
class _Reader:
    path: str
    data: Any
    given: SearchSpace[Any] | None

    def prior(self) -> Prior:
        if not isinstance(self.data, dict) or self.data.get("format") != FORMAT:
            raise self._wrong("format", f"{FORMAT!r}")
        if self.data.get("version") != VERSION or isinstance(self.data["version"], bool):
            raise self._wrong("version", f"{VERSION}; fit the prior again")
        for name in self.data:
            if name not in _FIELDS:
                raise self._wrong(name[:40], "absent: a prior has no such field")
        space = self._space()
        name = space.name
        score = self._one_of("score", list(SCORES.names()))
        if self.data.get("edges") != [edge.label for edge in space.edges]:
            raise self._wrong("edges", f"the {len(space.edges)} edges of {name}")
        if self.data.get("operations") != list(space.operations):
            raise self._wrong("operations", f"the {len(space.operations)} operations of {name}")
        if not isinstance(self.data.get("provenance"), dict):
            raise self._wrong("provenance", "an object")
        mean = self._numbers("mean", space.shape, space.candidates)
        variance = self._positive("variance", space.shape, space.candidates)
        drop_mean = drop_variance = None
        if (self.data.get("drop_mean") is None) != (self.data.get("drop_variance") is None):
            raise self._wrong("drop_variance", "there exactly if `drop_mean` is")
        if self.data.get("drop_mean") is not None:
            shape = (len(space.edges),)
            drop_mean = self._numbers("drop_mean", shape, None)
            drop_variance = self._positive("drop_variance", shape, ~np.isnan(drop_mean))
        return Prior(
            space=space,
            score=score,
            mean=mean,
            variance=variance,
            drop_mean=drop_mean,
            drop_variance=drop_variance,
            provenance=self.data["provenance"],
            check=self._check(),
        )

    def _space(self) -> SearchSpace[Any]:
        named = self.data.get("space")
        if self.given is not None and named == self.given.name:
            return self.given
        try:
            return get_space(named if isinstance(named, str) else repr(named))
        except InvalidValueError as error:
            raise self._wrong("space", f"one of {', '.join(SPACES.names())}") from error

    def _one_of(self, field: str, names: list[str]) -> str:
        value = self.data.get(field)
        if value not in names:
            raise self._wrong(field, f"one of {', '.join(names)}")
        return str(value)

    def _check(self) -> dict[str, Any] | None:
        check = self.data.get("check")
        if check is None:
            return None
        wrong = misshapen(check, _CHECK, "check")
        if wrong is not None or check.keys() != _CHECK.keys():
            raise self._wrong("check", f"null or an object with {', '.join(sorted(_CHECK))} ({wrong})")
        if check["passed"] != better_than_chance(check["spearman"], check["p_value"]):
            raise self._wrong(
                "check.passed",
                f"{str(not check['passed']).lower()} for a correlation of {check['spearman']:.3g} with p "
                f"{check['p_value']:.3g}: better than chance is above 0 with p below {LEVEL}; check it again",
            )
        found: dict[str, Any] = check
        return found

    def _numbers(
        self, field: str, shape: tuple[int, ...], present: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """The field as float64; null is NaN and must stand exactly where `present` is False."""
        rows = self.data.get(field)
        nested = len(shape) == 2
        if not isinstance(rows, list) or (nested and not all(isinstance(row, list) for row in rows)):
            raise self._wrong(field, f"a list of shape {list(shape)}")
        lengths = {len(row) for row in rows} if nested else {shape[-1]}
        flat = [value for row in rows for value in row] if nested else rows
        numbers = all(value is None or _is_number(value) for value in flat)
        if len(rows) != shape[0] or lengths != {shape[-1]} or not numbers:
            raise self._wrong(field, f"finite numbers (or null) of shape {list(shape)}")
        values = np.array([np.nan if v is None else v for v in flat], dtype=np.float64).reshape(shape)
        if present is not None and not np.array_equal(np.isnan(values), ~present):
            raise self._wrong(field, "a number for what may be selected and null for what may not")
        return values

    def _positive(
        self, field: str, shape: tuple[int, ...], present: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        values = self._numbers(field, shape, present)
        wrong = np.argwhere(present & ~(np.nan_to_num(values) > 0))
        if len(wrong):
            at = wrong[0].tolist()
            raise self._wrong(field, f"above 0, but at {at} it is {values[tuple(wrong[0])]}")
        return values

    def _wrong(self, field: str, expected: str) -> InvalidValueError:
        return InvalidValueError(f"the prior {self.path}: `{field}` must be {expected}")


def _is_number(value: Any) -> bool:
    return not Number().wrong(value)


def _row(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(v) else v for v in values.tolist()]
