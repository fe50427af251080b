"""Does one part of a job: its pieces go into a work file of its own, beside a record of what the job is."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from znas import jobs
from znas.files import check_new
from znas.shape import Shape
from znas.shards.record import FILE, Command, Record, Work
from znas.shards.shard import Shard
from znas_engine import paths, strict_json
from znas_engine.errors import InvalidValueError
from znas_engine.journal import Journal


class PartDone(Exception):
    """No error: it ends a command that did its part and has nothing more to do.

    pieces: how many it has. of: how many the job has, without those that follow from others.
    """

    def __init__(self, folder: Path, pieces: int, of: int) -> None:
        super().__init__(str(folder))
        self.folder, self.pieces, self.of = folder, pieces, of


def work_name(identity: Mapping[str, Any]) -> str:
    """What the work file of that job is called in the folder of a part, whatever the output's name is."""
    return f"{re.sub(r'[^a-z]+', '-', str(identity['job']))}.work"


def plain(identity: Mapping[str, Any]) -> dict[str, Any]:
    """As it is once it was JSON."""
    found: dict[str, Any] = strict_json.parse(json.dumps(identity), "the identity")
    return found


class Part:
    """One part of what a command does for `out`, in a folder beside it.

        part = Part(command, Shard.parse("3/16"), Path("all.csv"))
        with jobs.opened_by(part.open):
            ...  # ends with PartDone

    Started again it goes on.

    Raises:
        StorageError: the folder's name is taken by something else.
        InvalidValueError: the folder holds a part of another command, or one of another version.
    """

    def __init__(self, command: Command, shard: Shard, out: Path) -> None:
        self.command, self.shard = command, shard
        self.folder = shard.folder(out)
        self._works: dict[str, Work] = {}
        self._done = 0
        file = self.folder / FILE
        if paths.is_file(file, "the part"):
            self._check(Record.read(self.folder))
            return
        there = paths.names(self.folder, "the part") if paths.is_folder(self.folder, "the part") else None
        if there is None or {*there} - {path.name for path in paths.leftovers(file)}:
            check_new(self.folder)

    def _check(self, found: Record) -> None:
        wrong = self.command.difference(found.command)
        if wrong is not None:
            raise InvalidValueError(
                f"{self.folder} holds a part of another job, {wrong}: move it away or name another --out"
            )

    @contextmanager
    def open(self, work: Path, identity: Mapping[str, Any]) -> Iterator[jobs.Kept]:
        """`jobs.Opener`. work: where one process would keep the pieces."""
        if not paths.is_file(self.folder / FILE, "the part"):
            self._write(finished=False)
        name = work_name(identity)
        with Journal(self.folder / name, identity) as journal:
            self._works[name] = Work(plain(identity), [])
            yield _OfPart(self, journal, self._works[name].pieces)

    def mine(self, pieces: list[str], more: list[str]) -> list[str]:
        """Its own of `more` pieces, which are added to those of the job."""
        found = self.shard.of(more, len(pieces))
        pieces += more
        self._done += len(found)
        self._write(finished=False)
        return found

    def finish(self) -> None:
        """Raises PartDone."""
        self._write(finished=True)
        raise PartDone(self.folder, self._done, sum(len(work.pieces) for work in self._works.values()))

    def _write(self, *, finished: bool) -> None:
        Record(self.command, self.shard, self._works, finished).write(self.folder)


@dataclass(frozen=True, slots=True)
class _OfPart:
    """`Kept` in the part's own work file."""

    part: Part
    journal: Journal
    pieces: list[str] = field(default_factory=list)

    def mine(self, keys: Iterable[str]) -> list[str]:
        return self.part.mine(self.pieces, list(keys))

    def has(self, key: str) -> bool:
        return key in self.journal.done

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        return jobs.piece(self.journal, key, shape, work)

    def whole(self) -> None:
        self.part.finish()

    def discard(self) -> None:
        raise AssertionError("a part puts nothing together")
