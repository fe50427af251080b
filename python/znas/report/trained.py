"""What a training left: the accuracies in its folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from znas.page import Trained
from znas.plain import mistyped
from znas_engine import paths, strict_json
from znas_engine.errors import DataError

TRAINING = "training.json"


def read(folder: Path) -> Trained:
    """Of a folder's training.json.

    Raises:
        StorageError: it cannot be read. DataError: it is no such file, or says what cannot be.
    """
    path = folder / TRAINING if paths.is_folder(folder, "the training") else folder
    plain = strict_json.parse(paths.read(path, "the training"), f"the training {path}", DataError)
    try:
        values: dict[str, Any] = {field.name: plain[field.name] for field in fields(Trained)}
        values["interval"] = tuple(values["interval"])
        found = Trained(**values)
    except (LookupError, TypeError) as error:
        raise _refused(path, f"{type(error).__name__}: {error}") from error
    hints = get_type_hints(Trained)
    for name, value in values.items():
        if (wrong := mistyped(value, hints[name], name)) is not None:
            raise _refused(path, wrong)
    shares = [
        found.accuracy,
        *found.interval,
        *([] if found.deployed_accuracy is None else [found.deployed_accuracy]),
    ]
    if not all(0 <= share <= 1 for share in shares):
        raise _refused(path, "an accuracy is no share from 0 to 1")
    return found


def _refused(path: Path, why: str) -> DataError:
    return DataError(f"the training {path} is not what a training writes ({why}): train again")
