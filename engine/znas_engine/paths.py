"""Paths and files: the one place that asks the system about a path, reads a file and puts one in its place.

What a user names may be anything: a folder without permission, a name that is too long, a pipe that never
ends, a disk image of 40 GB, a link. Nothing here waits for a pipe, reads more than a limit, follows a planted
link to write, or replaces what it was not told to replace.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from znas_engine.errors import InvalidValueError, StorageError, ZnasError, briefly
from znas_engine.interrupts import held

Kind = Literal["nothing", "file", "folder", "other"]

#: Bytes of a file of text (a prior, a result, a table), at most.
TEXT_LIMIT = 256 << 20


def named(value: object, what: str) -> Path:
    """The path that a user named, `~` being the home folder; InvalidValueError for what names none.

    what: of what, in words: "the output".
    """
    try:
        text = os.fspath(value)  # type: ignore[call-overload]
    except TypeError:
        text = None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InvalidValueError(f"{what} must be a path but got {briefly(value)}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidValueError(
            f"{what} {briefly(text)} has no home folder here: name it without ~"
        ) from error


def absolute(path: Path) -> Path:
    """From the root; StorageError where the working folder is gone."""
    try:
        return path.absolute()
    except OSError as error:
        raise StorageError(f"the working folder is gone ({reason(error)}): change to another") from error


def kind(path: Path, what: str = "the path", error: type[ZnasError] = StorageError) -> Kind:
    """What is there, links followed; "other" is a pipe, a socket or a device.

    Raises `error` where the system does not say, for want of a permission or because of the name.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except (OSError, ValueError) as problem:
        raise error(f"{what} {path} cannot be used ({reason(problem)})") from problem
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "other"


def is_file(path: Path, what: str = "the path", error: type[ZnasError] = StorageError) -> bool:
    return kind(path, what, error) == "file"


def is_folder(path: Path, what: str = "the path", error: type[ZnasError] = StorageError) -> bool:
    return kind(path, what, error) == "folder"


def itself(
    path: Path, what: str = "the path", error: type[ZnasError] = StorageError
) -> os.stat_result | None:
    """What the system knows of the name, a link not followed; None where nothing has it.

    Raises `error` where the system does not say.
    """
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as problem:
        raise error(f"{what} {path} cannot be used ({reason(problem)})") from problem


def names(folder: Path, what: str, error: type[ZnasError] = StorageError) -> list[str]:
    """Of everything in a folder, sorted; `error` where it cannot be looked into."""
    try:
        return sorted(each.name for each in folder.iterdir())
    except (OSError, ValueError) as problem:
        raise error(f"{what} {folder} cannot be read ({reason(problem)})") from problem


def status(path: Path, what: str = "the path", error: type[ZnasError] = StorageError) -> os.stat_result:
    """What the system knows of what is there, links followed; `error` where nothing is."""
    try:
        return path.stat()
    except (OSError, ValueError) as problem:
        raise error(f"{what} {path} cannot be used ({reason(problem)})") from problem


def read(path: Path, what: str, *, limit: int = TEXT_LIMIT, error: type[ZnasError] = StorageError) -> bytes:
    """All of a file; `error` for what is no file, holds more than `limit` bytes or cannot be read."""
    try:
        # Without O_NONBLOCK the opening of a pipe waits for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as problem:
        raise error(f"{what} {path} cannot be read ({reason(problem)})") from problem
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            there = "a folder" if stat.S_ISDIR(about.st_mode) else "a pipe or a device"
            raise error(f"{what} {path} cannot be read (it is {there}, not a file)")
        with os.fdopen(descriptor, "rb", closefd=False) as file:  # refuses a folder's descriptor itself
            data = file.read(limit + 1) if about.st_size <= limit else None
    except ZnasError:
        raise
    except OSError as problem:
        raise error(f"{what} {path} cannot be read ({reason(problem)})") from problem
    finally:
        os.close(descriptor)
    if data is None or len(data) > limit:
        raise error(f"{what} {path} cannot be read (it has more than {limit:,} bytes)")
    return data


def write_new(path: Path, data: bytes) -> None:
    """All of a file that was not there, or none of it. OSError: FileExistsError where something is there."""
    with held(), _neighbour(path, data) as temporary:
        try:
            os.link(temporary, path)
        except OSError as problem:
            if problem.errno not in _NO_LINKS:
                raise
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC))  # claims the name
            temporary.replace(path)


def replace(path: Path, data: bytes, mode: int = 0o666) -> None:
    """All of the file or what was there before; for files of ours. A link is not followed. OSError.

    mode: the most that the file permits; the umask takes away from it.
    """
    with held(), _neighbour(path, data, mode) as temporary:
        temporary.replace(path)


def hidden(path: Path) -> Path:
    """A name beside it that nobody has, for what gets its own name once it is whole."""
    return path.with_name(f"{_before(path)}{secrets.token_hex(_TOKEN)}.tmp")


def leftovers(path: Path) -> Iterator[Path]:
    """What has a name that `hidden` gave to something beside this path."""
    return path.parent.glob(f"{glob.escape(_before(path))}{'[0-9a-f]' * 2 * _TOKEN}.tmp")


def reason(error: BaseException) -> str:
    """The system's words for it: "Permission denied"."""
    return getattr(error, "strerror", None) or str(error)


#: What file systems without hard links answer.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EOPNOTSUPP)


#: Bytes of a hidden name that are drawn, and those that it takes from the name beside it: systems allow 255.
_TOKEN, _TAKEN = 8, 200


def _before(path: Path) -> str:
    return f".{os.fsencode(path.name)[:_TAKEN].decode(errors='ignore')}."


@contextmanager
def _neighbour(path: Path, data: bytes, mode: int = 0o666) -> Iterator[Path]:
    """A file beside `path` with these bytes, flushed to disk; gone afterwards unless it was renamed."""
    temporary = hidden(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
