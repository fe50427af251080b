"""Where results go: the one place that says "the output ... exists already" and "... cannot be written".

Nothing is replaced that this tool did not write. Wherever results are written, `--out` names what does not
exist yet. A long job keeps its finished pieces in a work file beside it (`work_file`) until the result is
written whole, and the same command goes on from there; a work file of another job, or of no job, is refused
(`znas_engine.journal`). `reproduce` adds results to a folder: an `Album`, which knows its own files.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from znas_engine import paths, strict_json
from znas_engine.errors import StorageError
from znas_engine.interrupts import held


def check_new(out: Path) -> None:
    """StorageError where `out` exists or nothing can be made there: asked before a job, not after it.

    Leaves nothing behind: folders on the way to `out` are made by what writes it, so that a command that is
    refused after this makes none.
    """
    if _there(out):
        raise _exists(out)
    nearest = next(folder for folder in paths.absolute(out).parents if _there(folder))
    try:
        probe = nearest / paths.hidden(out).name
        with held():
            probe.mkdir()
            probe.rmdir()
    except OSError as error:
        raise _cannot_write(out, error) from error


def work_file(out: Path) -> Path:
    """Where the finished pieces of `out` lie until it is written."""
    return out.with_name(f"{out.name}.work")


def write_file(path: Path, data: bytes) -> Path:
    """All of a new file or none; StorageError where one is there or it cannot be written."""
    with held():
        return _write_file(path, data)


def _write_file(path: Path, data: bytes) -> Path:
    made = _make(path.parent)
    try:
        paths.write_new(path, data)
    except BaseException as error:
        _unmake(made)
        if isinstance(error, FileExistsError):
            raise _exists(path) from error
        if isinstance(error, OSError):
            raise _cannot_write(path, error) from error
        raise
    return path


def rewrite_file(path: Path, data: bytes) -> Path:
    """All of a file of ours, which may be there, or what was before; StorageError where it cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.replace(path, data)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """A new folder with these files, which may lie in folders of it: all of them or none; StorageError where
    it cannot be made."""
    with held():
        return _write_folder(folder, contents)


def _write_folder(folder: Path, contents: Mapping[str, bytes]) -> Path:
    check_new(folder)
    made = _make(folder.parent)
    staging = paths.hidden(folder)
    try:
        staging.mkdir()
        for name, data in contents.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            paths.write_new(staging / name, data)
        folder.mkdir()  # claims the name; renaming replaces an empty folder, and only that
        made.append(folder)
        staging.rename(folder)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        _unmake(made)
        if isinstance(error, FileExistsError):
            raise _exists(folder) from error
        if isinstance(error, OSError):
            raise _cannot_write(folder, error) from error
        raise
    return folder


class Album:
    """A folder that results are added to: what it wrote it writes anew, everything else is a stranger's.

    works: names of work files, which belong to it. A new or empty folder, or one that was one before.

    Raises StorageError: the folder holds other things, or cannot be used.
    """

    INDEX = ".znas-engine.json"

    def __init__(self, folder: Path, works: tuple[str, ...] = ()) -> None:
        self.folder = folder
        #: Of every file written here, the digests of what it was and becomes: a kill leaves either.
        self._written: dict[str, list[str]] = {}
        if not paths.is_folder(folder, "the output"):
            check_new(folder)
            return
        names = paths.names(folder, "the output")
        if self.INDEX in names:
            self._written = self._index()
        elif any(name not in works for name in names):
            raise _exists(folder)

    def check(self, *names: str) -> None:
        """StorageError where one of these files is there and not as it was written."""
        for name in names:
            self._digest_of(self.folder / name)

    def write(self, name: str, data: bytes) -> Path:
        """All of the file or what was there before; StorageError as `check`, or a full disk."""
        path = self.folder / name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder):
                self._add(path, data)
        except StorageError:
            raise
        except OSError as error:
            raise _cannot_write(path, error) from error
        return path

    def _add(self, path: Path, data: bytes) -> None:
        if _there(self.folder / self.INDEX):  # another command may have added a table meanwhile
            self._written |= self._index()
        before = self._digest_of(path)
        self._written[path.name] = [*([] if before is None else [before]), _digest(data)]
        index = {"format": _ALBUM, "written": self._written}
        with held():
            paths.replace(self.folder / self.INDEX, json.dumps(index, indent=1).encode())
            paths.replace(path, data)

    def _digest_of(self, path: Path) -> str | None:
        """Of a file that is as it was written here; None where nothing is; StorageError for anything else."""
        about = paths.itself(path, "the output")
        if about is None:
            return None
        known = self._written.get(path.name)
        if known and stat.S_ISREG(about.st_mode):
            found = _digest(paths.read(path, "the output", limit=_LARGEST))
            if found in known:
                return found
        raise StorageError(
            f"the output {path} is not as znas-engine wrote it; move it away or name another folder"
        )

    def _index(self) -> dict[str, list[str]]:
        path = self.folder / self.INDEX
        about = paths.itself(path, "the index")
        if about is not None and stat.S_ISLNK(about.st_mode):
            raise _exists(path)
        found = strict_json.parse(paths.read(path, "the index"), f"the index {path}")
        written = found.get("written") if isinstance(found, dict) and found.get("format") == _ALBUM else None
        if not isinstance(written, dict) or not all(isinstance(each, list) for each in written.values()):
            raise _exists(self.folder)
        return written


_ALBUM = "znas-engine album 1"
#: Bytes of a file of an album, at most.
_LARGEST = 1 << 30


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process is in such a block with this folder, where its file system has locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _there(path: Path) -> bool:
    """Whether anything is there, a link to nothing too; StorageError where the system does not say."""
    return paths.itself(path, "the output") is not None


def _make(folder: Path) -> list[Path]:
    """Makes a folder and those above it; which of them are new, the uppermost first."""
    absent = []
    here = paths.absolute(folder)
    while not _there(here):
        absent.append(here)
        here = here.parent
    absent.reverse()
    made: list[Path] = []
    try:
        for each in absent:
            each.mkdir(exist_ok=True)
            made.append(each)
    except OSError as error:
        _unmake(made)
        raise _cannot_write(folder, error) from error
    return made


def _unmake(made: list[Path]) -> None:
    """Removes new folders again; one that somebody has put something into stays."""
    for folder in reversed(made):
        with suppress(OSError):
            folder.rmdir()


def _exists(path: Path) -> StorageError:
    return StorageError(f"the output {path} exists already; name another one or move it away")


def _cannot_write(path: Path, error: Exception) -> StorageError:
    return StorageError(f"the output {path} cannot be written ({paths.reason(error)})")
