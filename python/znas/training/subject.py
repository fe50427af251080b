"""What a training is about: an architecture at a size, its images, and those that it is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from znas.checked import Images, dataset_of, numbers_of_classes
from znas.hooks import Report
from znas.network import read
from znas.result import SearchResult
from znas.run_folder import load
from znas.training.images import TOGETHER, Part
from znas_engine import data, paths
from znas_engine.data import Batch, Dataset
from znas_engine.errors import DataError, InvalidValueError, StorageError
from znas_engine.spaces import Genotype, Macro, SearchSpace, get_space, resize


@dataclass(frozen=True, slots=True)
class Subject:
    """dataset: to learn from. judging: to judge by; None where nothing lies beside the others. macro: the
    network's size, with the classes and channels of the images."""

    space: SearchSpace[Any]
    genotype: Genotype
    macro: Macro
    dataset: Dataset
    judging: Part | None


def subject(
    what: str | Path | SearchResult,
    space: str | SearchSpace[Any] | None,
    asked: Any,
    *,
    data_dir: str | Path | None,
    val_dir: str | Path | None,
    resolution: int | None,
    channels: int | None,
    cells: int | None,
    report: Report,
) -> Subject:
    """See `znas.train`.

    Raises ZnasError: no such run or architecture, images that do not fit.
    """
    run = _run(what, space)
    if run is not None and asked is None and resolution is None:
        found, genotype = run.space, run.genotype
        dataset = dataset_of(run, run.macro, data_dir)
    else:
        if run is None and space is None:
            raise InvalidValueError(f"there is no run folder {what!s:.80}: an architecture needs --space too")
        found = get_space(space) if run is None and space is not None else _space_of(run)
        genotype = read(found, what) if run is None else run.genotype
        dataset = data.load(asked, data_dir=data_dir, resolution=resolution, report=report)
    macro = found.evaluation_macro_for(dataset) if run is None else _sized(run.macro, dataset)
    macro = resize(macro, channels=channels, cells=cells)
    if run is not None and run.preprocess is not None:
        _compare(run, dataset, report)
    return Subject(found, genotype, macro, dataset, _judging(dataset, macro, asked, val_dir))


def _run(what: str | Path | SearchResult, space: str | SearchSpace[Any] | None) -> SearchResult | None:
    """The run, where it is one; beside a space, a text that names no file is an architecture."""
    if isinstance(what, SearchResult):
        return what
    if isinstance(what, Path) or _there(what, alone=space is None):
        return load(what, space=space)
    return None


def _there(text: str, *, alone: bool) -> bool:
    try:
        return paths.itself(paths.named(text, "`what`"), "the run") is not None
    except (StorageError, InvalidValueError):  # a notation that is too long for a name, say
        if alone:
            raise
        return False


def _space_of(run: SearchResult | None) -> SearchSpace[Any]:
    assert run is not None
    return run.space


def _sized(macro: Macro, dataset: Dataset) -> Macro:
    return replace(macro, resolution=dataset.resolution, inputs=dataset.channels, classes=dataset.classes)


def _compare(run: SearchResult, dataset: Dataset, report: Report) -> None:
    """Says where the images have other classes than those that were searched with."""
    before = run.macro.classes
    if dataset.labelled and dataset.classes != before:
        report(f"the search had {before} classes and these images have {dataset.classes}: so has the network")


def _judging(dataset: Dataset, macro: Macro, asked: Any, val_dir: str | Path | None) -> Part | None:
    """The images to judge by, with the labels that the network knows."""
    if val_dir is None:
        held_out = dataset.held_out()
        return None if held_out is None else Part.whole(held_out)
    name = asked if isinstance(asked, str) else dataset.name
    folder = paths.named(val_dir, "`val_dir`")
    channels = None if dataset.channels == 3 else dataset.channels
    beside = data.load(name, data_dir=folder, resolution=dataset.resolution, channels_in=channels)
    numbers = numbers_of_classes(beside, macro, dataset.preprocessing())
    part = Part.whole(beside)
    assert numbers is not None
    return replace(part, labels=numbers[part.labels])


def judged(part: Part, source: str) -> Images:
    """The images to judge by, for `znas.checked.compared`."""

    def batches() -> Iterator[Batch]:
        for first in range(0, len(part.rows), TOGETHER):
            here = slice(first, first + TOGETHER)
            yield Batch(part.dataset.at(part.rows[here]).images, part.labels[here])

    top = int(part.labels.max()) + 1
    return Images(batches(), len(part.rows), np.arange(top), source)


def check_classes(part: Part, classes: int) -> None:
    """DataError where images have labels that the network does not know."""
    if len(part.labels) and part.labels.max() >= classes:
        raise DataError(
            f"{part.dataset.origin} have a class {int(part.labels.max())}, and the network's are 0 to "
            f"{classes - 1}"
        )
