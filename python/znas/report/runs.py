"""The runs that a page is about, opened."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from znas.page import Run
from znas.result import SearchResult
from znas.run_folder import DIGESTED, RESULT, load
from znas_engine import paths
from znas_engine.spaces import SearchSpace

Given: TypeAlias = str | Path | SearchResult


def opened(given: Sequence[Given], space: str | SearchSpace[Any] | None) -> list[Run]:
    """As `znas.load` opens them, with names that differ."""
    found = [_opened(each, space) for each in given]
    counts = Counter(run.name for run in found)
    return [
        run if counts[run.name] == 1 else Run(f"{number}. {run.where}", run.where, run.result, run.files)
        for number, run in enumerate(found, 1)
    ]


def _opened(given: Given, space: str | SearchSpace[Any] | None) -> Run:
    if isinstance(given, SearchResult):
        return Run("result", "RUN", given)
    path = paths.named(given, "the run")
    result = load(path, space=space)
    folder = path if paths.is_folder(path, "the run") else path.parent
    there = set(paths.names(folder, "the run"))
    files = {
        name: hashlib.sha256(paths.read(folder / name, "the file")).hexdigest()
        for name in DIGESTED
        if name in there and path.name != RESULT
    }
    return Run(paths.absolute(folder).name or str(folder), str(path), result, files)
