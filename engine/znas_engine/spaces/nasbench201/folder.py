"""What NATS-Bench's own folder holds, read some files at a time; what was read is kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from znas_engine import paths, strict_json
from znas_engine.errors import DataError, InvalidValueError
from znas_engine.progress import Progress, unheard
from znas_engine.spaces.base import Columns
from znas_engine.spaces.nasbench201 import nats_bench
from znas_engine.spaces.nasbench201.genotype import NasBench201Genotype, parse
from znas_engine.storage import load_or_build

#: Files per entry of the cache.
BATCH = 128


def read_folder(
    folder: Path, progress: Progress, report: Callable[[str], None] = unheard
) -> tuple[list[NasBench201Genotype], Columns]:
    """`NATS-tss-v1_0-*-simple`, or a folder with some of its files and its `meta.pickle.pbz2`.

    Memory holds BATCH compressed files and the accuracies so far. Reading all 15,625 takes minutes, so the
    accuracies of every BATCH files are a cache entry, keyed by what the files hold: a second reading takes
    the seconds in which files are read and hashed, a killed one goes on, many may read at once.

    report: is told what is wrong with the cache.

    Raises DataError: files missing, refused, or laid out otherwise.
    """
    if not paths.is_file(folder / nats_bench.META, "the table", DataError):
        raise DataError(f"the folder {folder} has no {nats_bench.META}: name one that ends in -simple")
    archs = nats_bench.architectures(folder)
    files = nats_bench.numbered_files(folder)
    if not files or max(files) >= len(archs):
        raise DataError(
            f"the folder {folder} has results of {len(files):,} architectures, numbered up to "
            f"{max(files, default=0)}, where {nats_bench.META} lists {len(archs):,}"
        )
    numbers = list(files)
    rows: list[dict[str, float]] = []
    for start in range(0, len(numbers), BATCH):
        rows += _accuracies([files[number] for number in numbers[start : start + BATCH]], report)
        progress(len(rows), len(numbers))
    for number, row in zip(numbers, rows, strict=True):
        if row.keys() != rows[0].keys():
            raise DataError(f"{files[number]} was trained for other numbers of epochs than the first file")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    try:
        return [parse(archs[number]) for number in numbers], columns
    except InvalidValueError as error:
        raise DataError(f"{folder / nats_bench.META} lists other architectures: {error}") from error


def _accuracies(files: Sequence[Path], report: Callable[[str], None]) -> list[dict[str, float]]:
    """One row per file, in order.

    The key is the files' content, not their names and times: hashing all 15,625 takes 4 s where reading them
    anew takes minutes, and other content under an old time (`cp -p`, `rsync -t`) never gives old accuracies.
    """
    contents = [nats_bench.content(path) for path in files]

    def build() -> bytes:
        found = map(nats_bench.accuracies, files, contents)
        return json.dumps([list(row.items()) for row in found]).encode()

    def rows(data: bytes) -> list[dict[str, float]]:
        """What `build` has written; ValueError for anything else."""
        try:
            plain = strict_json.parse(data, "the entry", InvalidValueError)
            found = [{str(name): float(percent) for name, percent in row} for row in plain]
        except TypeError as error:
            raise ValueError(str(error)) from error
        if len(found) != len(files):
            raise ValueError("other rows")
        return found

    key = {"job": "NATS-Bench 1", "files": [hashlib.sha256(content).hexdigest() for content in contents]}
    return rows(load_or_build("tables", key, build, report=report, check=rows))
