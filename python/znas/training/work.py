"""The work folder of a training that lasts: OUT.work, removed once OUT is written."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from znas.files import work_file
from znas_engine import paths
from znas_engine.errors import StorageError

#: Says whose the folder is.
_MARK = ".znas-engine-training"


@contextmanager
def work_folder(out: Path) -> Iterator[Path]:
    """The folder, which nobody else works in meanwhile; it stays where the block raises.

    Raises StorageError: something else is there, it cannot be made, or another process is at work in it.
    """
    folder = work_file(out)
    if not paths.is_folder(folder, "the work folder"):
        _make(folder)
    elif _MARK not in paths.names(folder, "the work folder"):
        raise StorageError(
            f"the work folder {folder} is not of a training: move it away or name another --out"
        )
    try:
        descriptor = os.open(folder / _MARK, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError(f"the work folder {folder} cannot be used ({paths.reason(error)})") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"another process is at work on {folder}; wait for it or name another --out"
            ) from None
        yield folder
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def _make(folder: Path) -> None:
    if paths.itself(folder, "the work folder") is not None:
        raise StorageError(f"the work folder {folder} is a file: move it away or name another --out")
    try:
        folder.mkdir(parents=True)
        paths.write_new(folder / _MARK, b"")
    except OSError as error:
        raise StorageError(f"the work folder {folder} cannot be made ({paths.reason(error)})") from error


def folder_of(work: Path, name: str) -> Path:
    """That of one training in the work folder. StorageError where it cannot be made."""
    folder = work / name
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise StorageError(f"the work folder {folder} cannot be made ({paths.reason(error)})") from error
    return folder
