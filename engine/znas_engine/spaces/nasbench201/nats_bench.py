"""NATS-Bench's own files: one bzip2-compressed pickle per architecture (Dong et al., TPAMI 2021).

A folder `NATS-tss-v1_0-*-simple` holds `meta.pickle.pbz2`, whose `meta_archs` lists every architecture, and
`000000.pickle.pbz2`, ... with the results of the architecture of that number:

    {"12": state, "200": state}                     training for so many epochs
    state["dataset_seed"][dataset] = [seed, ...]
    state["all_results"][dataset, seed] = {"epochs": 200, "eval_acc1es": {"x-test@199": percent, ...}, ...}

Nothing in them is executed; see `znas_engine.data.pickles`.
"""

from __future__ import annotations

import bz2
import re
from pathlib import Path
from typing import Any

from znas_engine import paths
from znas_engine.data.pickles import RefusedPickle, unpickle_results
from znas_engine.errors import DataError

_NUMBERED = re.compile(r"[0-9]{6}\.pickle\.pbz2")
META = "meta.pickle.pbz2"
#: A file of results unfolds to a few hundred kB, the list of architectures to 2 MB.
MAX_BYTES = 32_000_000
#: (dataset and split as in a table's columns, the benchmark's dataset, its evaluation set at the last epoch).
SETS = (
    ("cifar10_test", "cifar10", "ori-test"),
    ("cifar100_test", "cifar100", "x-test"),
    ("imagenet16_test", "ImageNet16-120", "x-test"),
    ("cifar10_val", "cifar10-valid", "x-valid"),
    ("cifar100_val", "cifar100", "x-valid"),
    ("imagenet16_val", "ImageNet16-120", "x-valid"),
)


def architectures(folder: Path) -> list[str]:
    """The benchmark's list of architectures; DataError where `folder` has no readable `META`."""
    meta = _read(folder / META, content(folder / META))
    names = meta.get("meta_archs") if isinstance(meta, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{folder / META} does not list architectures under `meta_archs`")
    return names


def numbered_files(folder: Path) -> dict[int, Path]:
    """Number of an architecture -> its file, in order."""
    names = paths.names(folder, "the folder", DataError)
    return {int(name[:6]): folder / name for name in names if _NUMBERED.fullmatch(name)}


def content(path: Path) -> bytes:
    """The compressed bytes of a file; DataError for what is no file, too large or cannot be read."""
    return paths.read(path, "the table's file", limit=MAX_BYTES, error=DataError)


def accuracies(path: Path, compressed: bytes) -> dict[str, float]:
    """`cifar10_test_200ep`, ... -> percent after the last epoch, the mean over the training seeds there are.

    Longer trainings first; a training without one of the sets is an error. compressed: the file's content.

    Raises DataError naming the file and what it lacks.
    """
    data = _read(path, compressed)
    try:
        trainings = {int(epochs): state for epochs, state in data.items()}
        if len(trainings) < len(data) or min(trainings) < 1:
            raise ValueError("numbers of epochs are not distinct and at least 1")
        return {
            f"{name}_{epochs}ep": _mean(trainings[epochs], dataset, split)
            for epochs in sorted(trainings, reverse=True)
            for name, dataset, split in SETS
        }
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DataError(
            f"{path} is not laid out like results of NATS-Bench ({type(error).__name__}: {error})"
        ) from error


def _mean(state: Any, dataset: str, split: str) -> float:
    values = []
    for seed in state["dataset_seed"][dataset]:
        result = state["all_results"][dataset, seed]
        value = result["eval_acc1es"][f"{split}@{result['epochs'] - 1}"]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{dataset} {split} is of type {type(value).__name__}, not a percentage")
        if not 0 <= value <= 100:
            raise ValueError(f"{dataset} {split} is {float(value):.6g}, not a percentage")
        values.append(float(value))
    return sum(values) / len(values)


def _read(path: Path, compressed: bytes) -> Any:
    unpacker = bz2.BZ2Decompressor()
    try:
        raw = unpacker.decompress(compressed, max_length=MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error})") from error
    if len(raw) > MAX_BYTES:
        raise DataError(
            f"{path} is refused: it unfolds into more than {MAX_BYTES:,} bytes; "
            "use the folder that ends in -simple, which has no weights"
        )
    if not unpacker.eof:
        raise DataError(f"{path} is truncated; download it again")
    try:
        return unpickle_results(raw)
    except RefusedPickle as error:
        raise DataError(f"{path} is refused: {error}") from error
