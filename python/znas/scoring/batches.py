"""Scores of many architectures as themselves: in batches, each of which is a piece of a work file."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.files import work_file
from znas.setup import Setup
from znas.shape import SECONDS, Many, Number, Shape
from znas_engine import paths
from znas_engine.arguments import check_between
from znas_engine.backends import get_backend
from znas_engine.errors import InvalidValueError, briefly
from znas_engine.journal import Journal
from znas_engine.scores import Score
from znas_engine.spaces import Genotype

#: Architectures per piece.
BATCH = 64
#: Shards, at most.
MOST = 1_000_000

_SHARD = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", re.ASCII)
_VALUE = Number(-sys.float_info.max, sys.float_info.max)


@dataclass(frozen=True, slots=True)
class Shard:
    """The part `number` of `count`, from 1: every count-th batch."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`2/8`; InvalidValueError for anything else."""
        found = _SHARD.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidValueError(
                f"`shard` must be a part and how many there are, such as 2/8, but got {briefly(text)}"
            )
        count = check_between("shards", int(found[2]), 1, MOST)
        return cls(check_between("shard", int(found[1]), 1, count), count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def has(self, batch: int) -> bool:
        return batch % self.count == self.number - 1

    def size(self, architectures: int) -> int:
        """How many of so many are in its batches."""
        starts = range(BATCH * (self.number - 1), architectures, BATCH * self.count)
        return sum(min(BATCH, architectures - start) for start in starts)

    def work_file(self, out: Path) -> Path:
        """Where its finished pieces lie until `out` is written."""
        return work_file(out.with_name(f"{out.name}.{self.number}-of-{self.count}"))


#: The whole.
WHOLE = Shard(1, 1)


@dataclass(frozen=True, slots=True)
class Batch:
    """values: float64 [K * S, n], as `Setup.measure` has them. seconds: that it cost when it was measured."""

    values: NDArray[np.float64]
    seconds: float


def in_batches(
    setup: Setup, genotypes: Sequence[Genotype], kept: jobs.Kept, prefix: str, shard: Shard = WHOLE
) -> Iterator[Batch]:
    """The scores of every architecture, `BATCH` at a time and in order; those of the shard's batches.

    kept: the finished pieces. prefix: of their keys: what tells these values from others in the same work
    file. Raises what `Setup.measure` raises.
    """
    rows = setup.envs * len(setup.scores)
    batches = {
        f"{prefix}/{start}": genotypes[start : start + BATCH]
        for number, start in enumerate(range(0, len(genotypes), BATCH))
        if shard.has(number)
    }
    shapes: dict[str, Shape] = {
        key: {"values": Many(Many(_VALUE, len(batch), len(batch)), rows, rows), "seconds": SECONDS}
        for key, batch in batches.items()
    }

    def measured(keys: Sequence[str]) -> Iterator[tuple[str, Any]]:
        masks = (np.stack([setup.space.mask(genotype) for genotype in batches[key]]) for key in keys)
        before = setup.setup_seconds + setup.evaluate_seconds
        for number, values in setup.measure_each(masks):
            now = setup.setup_seconds + setup.evaluate_seconds
            yield keys[number], {"values": values.tolist(), "seconds": now - before}
            before = now

    for found in jobs.each_piece(kept, shapes, measured):
        yield Batch(np.array(found["values"]), found["seconds"])


def identity(setup: Setup, scores: Sequence[Score] = (), **facts: Any) -> dict[str, Any]:
    """What measured values depend on, of a job with these facts and scores."""
    return jobs.measured(
        dataset=setup.dataset,
        space=setup.space,
        macro=setup.macro,
        evaluator=get_backend(setup.record),
        scores=scores,
        facts=facts
        | {
            "backend": setup.backend,
            "device": ",".join(setup.devices),
            "dtype": setup.dtype,
            "images": setup.images,
            "norm": setup.norm,
        },
    )


class Pieces:
    """The finished pieces of a job that writes `out`, in its own work file and in those of its shards.

        with Pieces(out, identity) as pieces:
            ... pieces.keep(key, shape, work)
            pieces.discard()  # once `out` is written

    shard: that alone, which writes nothing but its own work file. Whatever the others left there is taken,
    whether or not they are done. out: None keeps nothing.

    Raises as `znas_engine.journal.Journal`: a work file of another job, damaged, or at which another process
    is at work.
    """

    def __init__(self, out: Path | None, identity: Mapping[str, Any], shard: Shard = WHOLE) -> None:
        self._stack = ExitStack()
        with ExitStack() as opening:
            files = [] if out is None else _files(out, shard)
            self._journals = [opening.enter_context(Journal(file, identity)) for file in files]
            self._stack = opening.pop_all()

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def has(self, key: str) -> bool:
        """Whether the piece of that key is finished."""
        return any(key in each.done for each in self._journals)

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        """The finished piece of that key wherever it lies, or what `work` gives, recorded."""
        if not self._journals:
            return work()
        there = next((each for each in self._journals if key in each.done), self._journals[0])
        return jobs.piece(there, key, shape, work)

    def discard(self) -> None:
        """Removes the work files: the result lies elsewhere."""
        for journal in self._journals:
            journal.discard()


def _files(out: Path, shard: Shard) -> list[Path]:
    if shard != WHOLE:
        return [shard.work_file(out)]
    folder = out.parent
    there = paths.names(folder, "the output") if paths.is_folder(folder, "the output") else []
    of_shard = re.compile(rf"{re.escape(out.name)}\.\d+-of-\d+\.work", re.ASCII)
    return [work_file(out), *(folder / name for name in there if of_shard.fullmatch(name))]
