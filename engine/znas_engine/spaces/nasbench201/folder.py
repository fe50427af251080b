"""What NATS-Bench's own folder holds, read a file at a time; what was read is kept in the cache."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from znas_engine.errors import DataError
from znas_engine.journal import Journal
from znas_engine.progress import Progress
from znas_engine.spaces.base import Columns
from znas_engine.spaces.nasbench201 import nats_bench
from znas_engine.spaces.nasbench201.genotype import NasBench201Genotype, parse
from znas_engine.storage import cache_root

#: Files per entry of the journal.
BATCH = 64


def read_folder(folder: Path, progress: Progress) -> tuple[list[NasBench201Genotype], Columns]:
    """`NATS-tss-v1_0-*-simple`, or a folder with some of its files and its `meta.pickle.pbz2`.

    Memory holds one file and the accuracies so far. Reading all 15,625 takes minutes, so accuracies are
    journaled in the cache, keyed by the names, sizes and times of the files: a second reading is immediate, a
    killed one goes on.

    Raises DataError: files missing, refused, or laid out otherwise.
    """
    if not (folder / nats_bench.META).is_file():
        raise DataError(f"the folder {folder} has no {nats_bench.META}: name one that ends in -simple")
    archs = nats_bench.architectures(folder)
    files = nats_bench.numbered_files(folder)
    if not files or max(files) >= len(archs):
        raise DataError(
            f"the folder {folder} has results of {len(files):,} architectures, numbered up to "
            f"{max(files, default=0)}, where {nats_bench.META} lists {len(archs):,}"
        )
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files.values()]
    digest = hashlib.sha256(repr((facts, archs)).encode()).hexdigest()
    numbers = list(files)
    rows: list[dict[str, float]] = []
    kept = cache_root() / "tables" / f"{digest[:32]}.work"
    with Journal(kept, {"job": "NATS-Bench", "of": digest}) as journal:
        for start in range(0, len(numbers), BATCH):
            key = str(start)
            if key not in journal.done:
                batch = numbers[start : start + BATCH]
                journal.record(key, [nats_bench.accuracies(files[number]) for number in batch])
            rows += journal.done[key]
            progress(len(rows), len(numbers))
    for number, row in zip(numbers, rows, strict=True):
        if row.keys() != rows[0].keys():
            raise DataError(f"{files[number]} was trained for other numbers of epochs than the first file")
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return [parse(archs[number]) for number in numbers], columns
