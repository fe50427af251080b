"""Where results go: the one place that says "the output ... exists already" and "... cannot be written".

Wherever results are written, `--out` names what does not exist yet; a finished result is never replaced. A
long job keeps its finished pieces in a work file beside it (`work_file`) until the result is written whole,
and the same command goes on from there. `reproduce` adds results to a folder, so its work files lie in it: a
folder that holds one goes on. A work file of another job is refused (`znas_engine.journal`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from znas_engine.errors import StorageError
from znas_engine.storage import write_atomically


def check_new(out: Path) -> None:
    """StorageError where `out` exists or nothing can be made there: asked before a job, not after it.

    Leaves nothing behind: folders on the way to `out` are made by what writes it, so that a command that is
    refused after this makes none.
    """
    if os.path.lexists(out):
        raise StorageError(f"the output {out} exists already; name another one or remove it")
    nearest = next(folder for folder in out.absolute().parents if os.path.lexists(folder))
    try:
        with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{out.name}."):
            pass
    except OSError as error:
        raise _cannot_write(out, error) from error


def check_added_to(folder: Path, works: Iterable[str]) -> None:
    """The same for a folder that results are added to; one that holds nothing, or a work file of these names,
    goes on."""
    goes_on = folder.is_dir() and (
        not any(folder.iterdir()) or any((folder / name).is_file() for name in works)
    )
    if not goes_on:
        check_new(folder)


def work_file(out: Path) -> Path:
    """Where the finished pieces of `out` lie until it is written."""
    return out.with_name(f"{out.name}.work")


def write_file(path: Path, data: bytes) -> Path:
    """All of the file or what was there before; StorageError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError as error:
        raise _cannot_write(path, error) from error
    return path


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> Path:
    """A new folder with these files: all of them or none; StorageError where it cannot be made."""
    check_new(folder)
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.absolute().parent, prefix=f".{folder.name}."))
        for name, data in contents.items():
            (staging / name).write_bytes(data)
        staging.chmod(0o755)
        staging.rename(folder)
    except OSError as error:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        raise _cannot_write(folder, error) from error
    return folder


def _cannot_write(path: Path, error: OSError) -> StorageError:
    return StorageError(f"the output {path} cannot be written ({error.strerror or error})")
