"""What a training left: the accuracies in its folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from znas.page import Trained
from znas.plain import mistyped
from znas.training.result import RESULT
from znas_engine import paths, strict_json
from znas_engine.errors import DataError


def read(folder: Path) -> list[Trained]:
    """The rows of a folder that `train` wrote, or of its training.json.

    Raises:
        StorageError: it cannot be read. DataError: it is no such file, or says what cannot be.
    """
    path = folder / RESULT if paths.is_folder(folder, "the training") else folder
    plain = strict_json.parse(paths.read(path, "the training"), f"the training {path}", DataError)
    try:
        shared = {"recipe": plain["recipe"]["name"], "learned": plain["learned_from"]}
        shared |= {"judged": plain["judged_on"]}
        rows = [_row(row | shared) for row in plain["rows"]]
    except (LookupError, TypeError, AttributeError) as error:
        raise _refused(path, f"{type(error).__name__}: {error}") from error
    if not rows:
        raise _refused(path, "it has no row")
    for number, row in enumerate(rows):
        if (wrong := mistyped(row, Trained, f"rows[{number}]") or _beyond(row)) is not None:
            raise _refused(path, wrong)
    return rows


def _row(plain: dict[str, Any]) -> Trained:
    values = {field.name: plain[field.name] for field in fields(Trained)}
    return Trained(**values | {"interval": tuple(values["interval"])})


def _beyond(row: Trained) -> str | None:
    shares = (row.accuracy, row.deployed_accuracy, *row.interval)
    if len(row.interval) != 2 or not all(0 <= share <= 1 for share in shares):
        return f"the accuracies of {row.name} are no shares from 0 to 1"
    return None


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"the training {path} is not what `train` writes ({why}): train again")
