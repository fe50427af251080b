"""All parts of a job as one: they are checked, and the job's command finds all its pieces in them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from znas import jobs
from znas.shape import Shape
from znas.shards.part import plain, work_name
from znas.shards.record import Record, Work
from znas_engine import interrupts, paths
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal, difference

#: What is missing is named, so much of it.
NAMED = 3


class Parts:
    """All parts of one job, whatever their order.

        parts = Parts(folders)
        with jobs.opened_by(parts.open):
            ...  # runs parts.command, which measures nothing

    Raises, before anything is written:
        StorageError: a folder is no part, or damaged.
        InvalidValueError: they are of several jobs or of another version, one is given twice, something is
            missing, another process is at work on one.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._records = {folder: Record.read(folder) for folder in folders}
        if len(self._records) < len(folders):
            twice = next(folder for folder in folders if list(folders).count(folder) > 1)
            raise InvalidValueError(f"the part {twice} is given twice: name every folder once")
        parts = sorted(self._records.items(), key=lambda part: part[1].shard.number)
        for part in parts[1:]:
            _check_alike(parts[0], part)
        for (first, one), (second, other) in pairwise(parts):
            if one.shard == other.shard:
                raise InvalidValueError(
                    f"part {one.shard} is given twice, as {first} and as {second}: name one of them"
                )
        self.command = parts[0][1].command
        #: Of the whole job; of a part that is not finished some may be missing.
        self._works = {
            name: max((record.works[name] for _, record in parts if name in record.works), key=_size)
            for name in dict.fromkeys(name for _, record in parts for name in record.works)
        }
        self._pool: dict[str, dict[str, Any]] = {name: {} for name in self._works}
        missing = _not_given([record for _, record in parts])
        missing += [said for folder, record in parts if (said := self._taken(folder, record))]
        if missing:
            raise InvalidValueError(f"not all is there: {'; '.join(missing)}")

    def _taken(self, folder: Path, record: Record) -> str | None:
        """Takes all pieces of a part; what it lacks, in words."""
        lacking: list[str] = []
        total = 0
        for name, work in self._works.items():
            done = _read(folder / name, work)
            own = record.shard.of(work.pieces)
            lacking += [key for key in own if key not in done]
            total += len(own)
            for key, value in done.items():
                if self._pool[name].setdefault(key, value) != value:
                    raise InvalidValueError(
                        f"the piece {key!r} has another value in {folder} than in another part: do one of "
                        "them again"
                    )
        if lacking:
            return f"part {record.shard} lacks {len(lacking)} of {total} pieces, {_some(map(repr, lacking))}"
        return None if record.finished else f"part {record.shard} is not finished: give its command again"

    @contextmanager
    def open(self, work: Path, identity: Mapping[str, Any]) -> Iterator[jobs.Kept]:
        """`jobs.Opener`. work: where all pieces go, as if one process had done them; what it has already
        stays."""
        name = work_name(identity)
        if name not in self._works:
            raise InvalidValueError(f"the parts hold nothing of the job {identity['job']!r}")
        there, here = self._works[name].identity, plain(identity)
        if there != here:
            raise InvalidValueError(
                "the parts are of another job than their command is here: join them where they were done"
                f"{difference(there, here)}"
            )
        with ExitStack() as stack:
            opening = partial(_opened, stack, work, identity)
            yield _Joined(self._works[name].pieces, self._pool[name], opening)


@dataclass(slots=True)
class _Joined:
    """`Kept` in one work file, which appears once it is known that no piece is missing. asked: pieces of the
    command so far."""

    pieces: list[str]
    pool: dict[str, Any]
    opening: Callable[[], Journal]
    asked: int = 0
    journal: Journal | None = field(default=None)

    def mine(self, keys: Iterable[str]) -> list[str]:
        found = list(keys)
        known = self.pieces[self.asked : self.asked + len(found)]
        self.asked += len(found)
        for here, there in zip(found, [*known, *[None] * (len(found) - len(known))], strict=True):
            if here != there:
                raise InvalidValueError(
                    f"the command's piece {here!r} is in none of the parts: join them where they were done"
                )
        return found

    def has(self, key: str) -> bool:
        return key in self.pool

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        if key not in self.pool:
            raise InvalidValueError(f"the piece {key!r} is in none of the parts: do those again that lack it")
        self.journal = journal = self.journal or self.opening()
        return jobs.piece(journal, key, shape, partial(self.pool.__getitem__, key))

    def whole(self) -> None:
        if self.asked != len(self.pieces):
            raise InvalidValueError(
                f"the command has {self.asked} pieces here, and its parts {len(self.pieces)}: join them "
                "where they were done"
            )

    def discard(self) -> None:
        if self.journal is not None:
            self.journal.discard()


def _opened(stack: ExitStack, work: Path, identity: Mapping[str, Any]) -> Journal:
    return stack.enter_context(Journal(work, identity))


def _read(path: Path, work: Work) -> dict[str, Any]:
    """The finished pieces of a part; none where it has not begun."""
    if not paths.is_file(path, "the work file"):
        return {}
    with Journal(path, work.identity) as journal:
        interrupts.keeps(path, "")  # nothing is done there now
        return journal.done


def _size(work: Work) -> int:
    return len(work.pieces)


def _check_alike(first: tuple[Path, Record], second: tuple[Path, Record]) -> None:
    """InvalidValueError unless they are parts of one job."""
    (one, ours), (other, theirs) = first, second
    wrong = ours.command.difference(theirs.command)
    if wrong is None and ours.shard.count != theirs.shard.count:
        wrong = f"it is part {theirs.shard}, not one of {ours.shard.count}"
    for name in ours.works.keys() & theirs.works.keys():
        mine, its = ours.works[name], theirs.works[name]
        if mine.identity != its.identity:
            wrong = wrong or f"in {name}{difference(its.identity, mine.identity)}"
        elif any(a != b for a, b in zip(mine.pieces, its.pieces, strict=False)):
            wrong = wrong or f"in {name} it has other pieces"
    if wrong is None and ours.finished and theirs.finished:
        sizes = [sorted((name, _size(work)) for name, work in each.works.items()) for each in (ours, theirs)]
        wrong = None if sizes[0] == sizes[1] else "it has other pieces"
    if wrong is not None:
        raise InvalidValueError(f"{other} is of another job than {one}: {wrong}")


def _not_given(records: Sequence[Record]) -> list[str]:
    """What is missing of the parts themselves, in words."""
    count = records[0].shard.count
    given = {record.shard.number for record in records}
    absent = [f"{number}/{count}" for number in range(1, count + 1) if number not in given]
    return [f"{len(absent)} of {count} parts are not given, {_some(absent)}"] if absent else []


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:NAMED]) + (", ..." if len(listed) > NAMED else "")
