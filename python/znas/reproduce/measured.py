"""What `reproduce correlation` left in a folder, read again: scores and accuracies of every architecture."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from znas.reproduce import correlation
from znas.reproduce.drawings import scores_of
from znas.reproduce.figures import CORRELATION, ENVIRONMENTS_FILE, SCORES_FILE, load
from znas.selection.criteria import Floats
from znas_engine import paths
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.scores import SCORES
from znas_engine.spaces import Genotype, SearchSpace, get_space
from znas_engine.tables import Table, read_table

SAID = "correlation.json"


def measured(folder: Path, space: SearchSpace[Any]) -> tuple[Table, list[str], list[str]]:
    """The table of a correlation, and its columns that are scores, means over environments, and accuracies.

    Which is which, says the correlation itself: a score of somebody's own may have any name.

    Raises InvalidValueError where nothing was measured; DataError: a file without scores or accuracies.
    """
    path, said = folder / SCORES_FILE, folder / SAID
    table = _read(path, space, "pass --space")
    if paths.is_file(said, "the correlation"):
        data = load(said, CORRELATION)
        scores, accuracies = scores_of(data), [*dict.fromkeys(row["column"] for row in data["rows"])]
        if not table.raw.keys() >= {*scores, *accuracies}:
            raise _of_two_runs(path, said)
        return table, scores, accuracies
    scores = [name for name in table.raw if name in SCORES]
    others = [name for name in table.columns if name not in SCORES]
    accuracies = [name for name in others if name not in table.left] or others
    if not scores or not accuracies:
        raise DataError(f"{path} holds no scores or no accuracies: run reproduce correlation again")
    return table, scores, accuracies


@dataclass(frozen=True, eq=False)
class Measured:
    """genotypes [n] of one space; scores: by name, float64 [K, n], a row per environment. accuracy: float64
    [n], the first of the table `table`, which is its `column`."""

    folder: Path
    space: SearchSpace[Any]
    table: str
    column: str
    genotypes: list[Genotype]
    scores: dict[str, Floats]
    accuracy: Floats

    @classmethod
    def of(cls, folder: Path) -> Measured:
        """Raises as `measured`."""
        path, said = folder / ENVIRONMENTS_FILE, folder / SAID
        for file in (said, path):
            _exists(file)
        data = load(said, CORRELATION)
        if "space" not in data or "accuracies" not in data:
            raise DataError(f"{said} does not say its space: run the same reproduce correlation again")
        space = get_space(data["space"])
        table = _read(path, space, "run reproduce correlation again")
        scores = {}
        for name in scores_of(data):
            columns = (correlation.column(name, k) for k in count())
            rows = [table.raw[each] for each in takewhile(table.raw.__contains__, columns)]
            if not rows:
                raise _of_two_runs(path, said)
            scores[name] = np.stack(rows)
        column, accuracy = table.column(data["rows"][0]["column"])
        return cls(folder, space, data["accuracies"], column, table.genotypes, scores, accuracy)


def _exists(path: Path) -> None:
    if paths.kind(path, "the scores") == "nothing":
        raise InvalidValueError(
            f"{path} does not exist: run znas-engine reproduce correlation with this --out"
        )


def _read(path: Path, space: SearchSpace[Any], instead: str) -> Table:
    """instead: what to do where it is of another space."""
    _exists(path)
    try:
        return read_table(path, space)
    except DataError as error:
        raise DataError(f"{error}: was it made with another space than {space.name}? {instead}") from error


def _of_two_runs(path: Path, said: Path) -> DataError:
    return DataError(f"{path} and {said} are of two runs: run reproduce correlation again")
