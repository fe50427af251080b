"""What a job is: all that its results depend on, and nothing else; and its finished pieces.

The identity of a work file (`znas_engine.journal`) is made of these parts. Two jobs are one if they read the
same content with the same code and settings: paths and their spelling, numbers of threads, times of files
and what is shown on the way are no part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from znas import sources
from znas.shape import Shape, misshapen
from znas.sources import settings as settings
from znas_engine import __version__, paths
from znas_engine.data import Dataset
from znas_engine.errors import InvalidValueError, StorageError
from znas_engine.evaluator import Evaluator
from znas_engine.graph import Graph
from znas_engine.journal import Journal
from znas_engine.scores import Score
from znas_engine.spaces import Macro, SearchSpace


def images(dataset: Dataset) -> list[str]:
    """Which images: name and content of the data set."""
    return [dataset.name, dataset.identity, *settings(dataset, (int, float))]


def measured(
    *,
    dataset: Dataset,
    space: SearchSpace[Any],
    macro: Macro,
    evaluator: type[Evaluator],
    scores: Sequence[Score],
    facts: dict[str, Any],
) -> dict[str, Any]:
    """What masked passes depend on. facts: settings that are plain already: norm, dtype, images, ..."""
    return facts | {
        "data": images(dataset),
        "space": [space.name, *settings(space)],
        "macro": asdict(macro),
        "network": network(space.supernet(macro)),
        "score": [[score.name, *settings(score)] for score in scores],
        "code": code(dataset, space, evaluator, *scores, packages=evaluator.packages),
    }


def file(path: Path, what: str) -> str:
    """Which content: digest of a file. StorageError where it cannot be read."""
    return hashlib.sha256(paths.read(path, what)).hexdigest()


def network(graph: Graph) -> str:
    """Which network: digest of its nodes."""
    return hashlib.sha256(repr(graph.nodes).encode()).hexdigest()[:32]


def code(*objects: Any, packages: Sequence[str] = ()) -> dict[str, str]:
    """Which code makes the values: our version, that of other packages, digests of other modules' files.

    objects: scores, spaces, data sets, backends, functions: what may be somebody else's. packages: that ours
    call.
    """
    found = {"znas-engine": __version__} | {package: version(package) for package in packages}
    return found | sources.code([sources.made_of(each) for each in objects])


def check_work(path: Path) -> None:
    """StorageError where something else than a work file has its name: asked before a phase without one."""
    if paths.itself(path, "the work file") is not None:
        with suppress(InvalidValueError), Journal(path, {}):  # of which job, is asked when it is needed
            pass


def piece(journal: Journal, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
    """The finished piece of that key, or what `work` gives, recorded.

    Raises StorageError where the file holds a piece of another shape: another version wrote it.
    """
    if key not in journal.done:
        journal.record(key, work())
    value = journal.done[key]
    if (wrong := misshapen(value, shape, "value")) is not None:
        raise StorageError(
            f"the work file {journal.path}, piece {key[:60]!r}: {wrong}; another version wrote it: move it "
            "away"
        )
    return value


class Kept(Protocol):
    """Where finished pieces of a job lie."""

    def mine(self, keys: Iterable[str]) -> list[str]:
        """Those of some of the job's pieces that are to be done here, in their order. Pieces that follow from
        others are done where those are, and not asked about."""

    def has(self, key: str) -> bool:
        """Whether the piece of that key is finished."""

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        """The finished piece of that key, or what the work gives, kept."""

    def whole(self) -> None:
        """Called when all that is done here is done, before values are put together: what does a part of the
        job raises."""

    def discard(self) -> None:
        """The result lies elsewhere: nothing is kept any more."""


@dataclass(frozen=True, slots=True)
class InJournal:
    """`Kept` in one work file: all of a job."""

    journal: Journal

    def mine(self, keys: Iterable[str]) -> list[str]:
        return list(keys)

    def has(self, key: str) -> bool:
        return key in self.journal.done

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        return piece(self.journal, key, shape, work)

    def whole(self) -> None:
        pass

    def discard(self) -> None:
        self.journal.discard()


class Unkept:
    """`Kept` nowhere."""

    def mine(self, keys: Iterable[str]) -> list[str]:
        return list(keys)

    def has(self, key: str) -> bool:
        return False

    def keep(self, key: str, shape: Shape, work: Callable[[], Any]) -> Any:
        return work()

    def whole(self) -> None:
        pass

    def discard(self) -> None:
        pass


#: From a work file and the identity of a job to where its pieces are kept.
Opener = Callable[[Path, Mapping[str, Any]], AbstractContextManager[Kept]]


@contextmanager
def _alone(work: Path, identity: Mapping[str, Any]) -> Iterator[Kept]:
    with Journal(work, identity) as journal:
        yield InJournal(journal)


_OPENER: ContextVar[Opener] = ContextVar("who opens work files", default=_alone)


@contextmanager
def opened_by(opener: Opener) -> Iterator[None]:
    """Within, pieces are kept where `opener` says: it does a part of a job, or has all parts of it."""
    before = _OPENER.set(opener)
    try:
        yield
    finally:
        _OPENER.reset(before)


@contextmanager
def opened(work: Path | None, identity: Mapping[str, Any]) -> Iterator[Kept]:
    """Where the pieces of that job are kept: in `work`, where one process does all of it; None is nowhere.

    Raises as `znas_engine.journal.Journal`.
    """
    if work is None:
        yield Unkept()
        return
    with _OPENER.get()(work, identity) as kept:
        yield kept


def check_whole(why: str) -> None:
    """Asked before what is no piece: InvalidValueError, which says why and what to do instead, where this
    process does a part of a job or joins parts."""
    if _OPENER.get() is not _alone:
        raise InvalidValueError(why)


def each_piece(
    kept: Kept, shapes: Mapping[str, Shape], make: Callable[[Sequence[str]], Iterable[tuple[str, Any]]]
) -> Iterator[Any]:
    """The value of every piece, in the order of `shapes`.

    make: of the keys of those that are not finished, their values in any order; each is kept as soon as it
    is there, whichever is waited for.
    """
    missing = [key for key in shapes if not kept.has(key)]
    arriving = iter(make(missing) if missing else ())
    there: dict[str, Any] = {}
    for key, shape in shapes.items():
        while key not in there and not kept.has(key):
            name, value = next(arriving)
            there[name] = kept.keep(name, shapes[name], partial(_itself, value))
        yield there.pop(key) if key in there else kept.keep(key, shape, partial(next, arriving))
    next(arriving, None)  # which may have something to say at its end


def _itself(value: Any) -> Any:
    return value
