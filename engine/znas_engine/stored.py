"""What lies in the cache: entries by kind, what killed processes left of them, and what is not ours."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from znas_engine import paths
from znas_engine.errors import StorageError
from znas_engine.storage import MAGIC, cache_root

#: Names that `storage` gives: an entry, its lock, and a file that gets an entry's name once it is whole.
_ENTRY = re.compile(r"[0-9a-f]{32}")
_LOCK = re.compile(r"[0-9a-f]{32}\.lock")
_UNFINISHED = re.compile(r"\.[0-9a-f]{32}\.[0-9a-f]{16}\.tmp")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file of the cache. kind: of its entry. bytes: on disk. made: seconds since 1970. entry: False for a
    lock and for what was never finished."""

    path: Path
    kind: str
    bytes: int
    made: float
    entry: bool


@dataclass(frozen=True, slots=True)
class Contents:
    """root: the cache folder. ours: what `storage` put there. others: how many files are not ours."""

    root: Path
    ours: Sequence[Stored]
    others: int


def contents() -> Contents:
    """Of the cache. Raises StorageError where it cannot be looked into."""
    root = cache_root()
    if paths.kind(root, "the cache") == "nothing":
        return Contents(root, (), 0)
    ours, others = [], 0
    for name in paths.names(root, "the cache"):
        kind = root / name
        if not _is(kind, stat.S_ISDIR):
            others += 1
            continue
        for path in (kind / each for each in paths.names(kind, "the cache folder")):
            if (found := _stored(path)) is None:
                others += 1
            else:
                ours.append(found)
    return Contents(root, ours, others)


def clean(found: Contents, *, before: float | None = None) -> Iterator[Stored]:
    """Removes what is ours, and folders that are empty then; gives what was removed.

    before: leaves what was made later, in seconds since 1970. What has become another file meanwhile stays; a
    process that uses an entry makes it again. Raises StorageError for what cannot be removed.
    """
    for stored in found.ours:
        if before is not None and stored.made >= before:
            continue
        if _stored(stored.path) != stored:
            continue
        try:
            stored.path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"the cache entry {stored.path} cannot be removed ({paths.reason(error)})"
            ) from error
        yield stored
    for folder in sorted({stored.path.parent for stored in found.ours}):
        with suppress(OSError):  # not empty
            folder.rmdir()


def _stored(path: Path) -> Stored | None:
    """None for what is not ours: told by its name, and by its beginning where it has one."""
    if not _is(path, stat.S_ISREG):
        return None
    about = paths.itself(path, "the cache entry")
    named = path.name
    entry, lock = _ENTRY.fullmatch(named) is not None, _LOCK.fullmatch(named) is not None
    if about is None or not (entry or lock or _UNFINISHED.fullmatch(named)):
        return None
    if about.st_size and (lock or not _begins_like_one(path)):
        return None
    return Stored(path, path.parent.name, about.st_size, about.st_mtime, entry)


def _begins_like_one(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return MAGIC.startswith(os.pread(descriptor, len(MAGIC), 0))
    except OSError:
        return False
    finally:
        os.close(descriptor)


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """A link is neither a file nor a folder."""
    about = paths.itself(path, "the cache entry")
    return about is not None and kind(about.st_mode)
