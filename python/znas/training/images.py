"""Which images a training sees, in which order, and by which it is judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from znas.hooks import Report
from znas_engine.data import Dataset
from znas_engine.environment import derive_seed
from znas_engine.errors import InvalidValueError

#: Bytes of images that are kept in memory, at most; of larger sets each batch reads its own.
IN_MEMORY = 4 << 30
#: Images that are read together, and judged together.
TOGETHER = 256
#: Share of the images that is set apart where nothing else is there to judge by, or to stop by.
SHARE = 0.1
#: Most and fewest images of a class from which on that is worth a remark.
UNEVEN = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """Some images of a data set. rows: their numbers there, int64 [n]; labels: theirs, int64 [n]."""

    dataset: Dataset
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def whole(cls, dataset: Dataset) -> Part:
        """All images of a labelled data set.

        Raises InvalidValueError: it has no labels, or only draws.
        """
        if not dataset.labelled:
            raise InvalidValueError(f"{dataset.origin} have no labels to learn; {dataset.labels_from}")
        if not dataset.listed:
            raise InvalidValueError(f"{dataset.origin} are drawn, not listed: train on real images")
        labels = dataset.labels()
        assert labels is not None
        return cls(dataset, np.arange(dataset.size), labels)

    def taken(self, chosen: NDArray[np.bool_]) -> Part:
        """Those of them where `chosen`, bool [n], says so."""
        return replace(self, rows=self.rows[chosen], labels=self.labels[chosen])

    def divided(self, share: float, seed: int) -> tuple[Part, Part]:
        """The rest, and that share of every class (one image or more, never all)."""
        chosen = np.zeros(len(self.rows), bool)
        rng = np.random.default_rng(seed)
        for label in np.unique(self.labels):
            of_class = np.flatnonzero(self.labels == label)
            count = min(max(1, round(share * len(of_class))), len(of_class) - 1)
            chosen[rng.permutation(of_class)[:count]] = True
        return self.taken(~chosen), self.taken(chosen)


@dataclass(frozen=True, slots=True)
class Split:
    """training: what is learned from. judging: what the accuracy is of; nothing is chosen by it. stopping: by
    what the training ends early; None where it does not, `judging` itself where nothing else is there."""

    training: Part
    judging: Part
    stopping: Part | None

    @property
    def counts(self) -> NDArray[np.int64]:
        """Images to learn from of every class, int64 [classes]."""
        return np.bincount(self.training.labels, minlength=self.training.dataset.classes)


def split(dataset: Dataset, judging: Part | None, *, early: bool, seed: int, note: Report) -> Split:
    """judging: the images to judge by; None sets some of the others apart. early: whether the training may
    end early.

    Raises InvalidValueError: images without labels, of fewer than two classes, or too few.
    """
    training = Part.whole(dataset)
    counts = np.bincount(training.labels, minlength=dataset.classes)
    if (counts > 0).sum() < 2:
        raise InvalidValueError(
            f"{dataset.origin} are all of one class: training needs images of two or more"
        )
    if judging is None:
        training, judging = training.divided(SHARE, derive_seed(seed, "judging"))
        note(
            f"{len(judging.rows):,} of the images are set apart to judge by: none lie beside them (a folder "
            "`val` beside `train`, or --val-dir)"
        )
    if not len(judging.rows):
        raise InvalidValueError(f"there are no images to judge by beside {dataset.origin}: --val-dir")
    stopping = None
    if early:
        training, stopping = training.divided(SHARE, derive_seed(seed, "stopping"))
    if counts.max() >= UNEVEN * counts[counts > 0].min():
        note(
            f"classes have {counts[counts > 0].min():,} to {counts.max():,} images: --class-weights lets "
            "them count alike"
        )
    return Split(training, judging, stopping)


class _Read(TorchDataset[tuple[Tensor, Tensor]]):
    """Batches by their places in a part: images float32 [n, C, H, W], labels int64 [n]."""

    def __init__(self, part: Part) -> None:
        dataset = part.dataset
        self._part = part
        self._kept: Tensor | None = None
        if 4 * len(part.rows) * dataset.channels * dataset.resolution**2 <= IN_MEMORY:
            self._kept = torch.empty(len(part.rows), dataset.channels, dataset.resolution, dataset.resolution)
            for first in range(0, len(part.rows), TOGETHER):
                here = slice(first, first + TOGETHER)
                self._kept[here] = torch.from_numpy(dataset.at(part.rows[here]).images)
        self.labels = torch.from_numpy(part.labels)

    @property
    def kept(self) -> bool:
        """Whether the images are in memory."""
        return self._kept is not None

    def __getitem__(self, places: list[int]) -> tuple[Tensor, Tensor]:
        if self._kept is not None:
            return self._kept[places], self.labels[places]
        images = self._part.dataset.at(self._part.rows[places]).images
        return torch.from_numpy(images), self.labels[places]


class Order(Sampler[list[int]]):
    """The batches of an epoch, shuffled anew in each: a function of the seed and the epoch alone, so that a
    training that goes on sees what it would have seen. rank, ranks: which of several devices this is; each
    has its share of every batch."""

    def __init__(self, size: int, batch: int, seed: int, rank: int = 0, ranks: int = 1) -> None:
        self.size, self.batch, self.seed = size, max(batch, ranks), seed
        self.rank, self.ranks = rank, ranks
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.default_rng(derive_seed(self.seed, "order", self.epoch)).permutation(self.size)
        for first in range(0, self.size, self.batch):
            batch = order[first : first + self.batch]
            if len(batch) < self.ranks:
                batch = order[-self.ranks :]
            yield batch[self.rank :: self.ranks].tolist()

    def __len__(self) -> int:
        return -(-self.size // self.batch)


def training_batches(part: Part, order: Order, workers: int) -> DataLoader[Any]:
    """The part in that order; workers: processes that read pictures which are not kept in memory."""
    return _loader(part, order, workers)


def judging_batches(part: Part, workers: int) -> DataLoader[Any]:
    """The part once, in order, `TOGETHER` images at a time."""
    places = np.arange(len(part.rows))
    batches = [places[first : first + TOGETHER].tolist() for first in range(0, len(places), TOGETHER)]
    return _loader(part, batches, workers)


def _loader(part: Part, batches: Any, workers: int) -> DataLoader[Any]:
    read = _Read(part)
    return DataLoader(read, batch_size=None, sampler=batches, num_workers=0 if read.kept else workers)
