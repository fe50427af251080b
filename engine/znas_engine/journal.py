"""The work file of a long job: its finished pieces, so that a killed job goes on where it stopped."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from znas_engine import interrupts, paths
from znas_engine.errors import InvalidValueError, StorageError, briefly

#: What the digest of a first line begins with: files of other tools and of other versions are not ours.
_FORMAT = "znas-engine work file 2"
_DIGITS = 32
_LIMIT = 1 << 30


class Journal:
    """Key -> value of every finished piece, on disk as one line each.

        with Journal(path, {"job": "prior fit", "seed": 0}) as journal:
            for key in pieces:
                if key not in journal.done:
                    journal.record(key, work(key))
            ...
            journal.discard()

    identity: what the job is, as JSON; a file of another job is refused. Its first line holds it. A line is
    a digest, of the digest before it and the JSON behind it, so that no change, loss or exchange of lines
    goes unnoticed. A piece is on disk before `record` returns. A line that a kill cut short is dropped, so
    its piece is done again. One process at a time. A file that is not ours is refused and left as it is.

    Raises:
        InvalidValueError: the file belongs to another job, or another process is at work on it.
        StorageError: it cannot be read or written (a full disk leaves what was recorded before), is damaged,
            or is no work file.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        self._identity = json.loads(json.dumps(identity))
        self._digest = _FORMAT
        try:
            self._file = self._opened()
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._read()
        except BaseException:
            os.close(self._file)
            raise
        self._keeps()

    def record(self, key: str, value: Any) -> None:
        """Adds one finished piece; `value` is anything that JSON holds."""
        line, digest = _line(self._digest, {"key": key, "value": value})
        with interrupts.held():
            end = os.lseek(self._file, 0, os.SEEK_END)
            try:
                written = 0
                while written < len(line):
                    written += os.write(self._file, line[written:])
                os.fsync(self._file)
            except OSError as error:
                os.ftruncate(self._file, end)
                raise self._unusable(error) from error
            self._digest = digest
            self.done[key] = value
            self._keeps()

    def discard(self) -> None:
        """Removes the file: the job is done and its result lies elsewhere."""
        if self._is_ours():
            self.path.unlink()
        interrupts.keeps(self.path, "")

    def _keeps(self) -> None:
        """What is said of it where the command is interrupted."""
        count = len(self.done)
        interrupts.keeps(self.path, f"{count:,} finished piece{'s' * (count > 1)}" if count else "")

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _opened(self) -> int:
        """A descriptor of the file, ours alone; where there is none, one with the first line appears."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            if not os.path.lexists(self.path):
                with suppress(FileExistsError):  # of another process, just now
                    paths.write_new(self.path, _line(_FORMAT, {"identity": self._identity})[0])
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                self._file = os.open(self.path, flags)
            except FileNotFoundError:
                continue
            try:
                if not stat.S_ISREG(os.fstat(self._file).st_mode):
                    raise self._foreign()
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_ours():
                    return self._file
            except BlockingIOError:
                os.close(self._file)
                raise InvalidValueError(
                    f"another process is at work on {self.path}; wait for it or name another file"
                ) from None
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # the process that had it has finished its job and removed it

    def _is_ours(self) -> bool:
        """Whether the path still leads to the file that is open."""
        try:
            there = self.path.lstat()
        except FileNotFoundError:
            return False
        here = os.fstat(self._file)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _read(self) -> None:
        """Validates everything before anything is cut."""
        data = paths.read(self.path, "the work file", limit=_LIMIT)
        lines = data.splitlines(keepends=True)
        cut = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if not lines:
            raise self._foreign()
        header = self._entry(lines[0])
        if header is None or header.keys() != {"identity"}:
            raise self._foreign()
        if header["identity"] != self._identity:
            raise InvalidValueError(
                f"the work file {self.path} belongs to another job; remove it or name another"
                f"{difference(header['identity'], self._identity)}"
            )
        for line in lines[1:]:
            entry = self._entry(line)
            if entry is None or entry.keys() != {"key", "value"} or entry["key"] in self.done:
                raise StorageError(f"the work file {self.path} is damaged; remove it to start again")
            self.done[entry["key"]] = entry["value"]
        if cut:
            os.ftruncate(self._file, len(data) - len(cut))

    def _entry(self, line: bytes) -> dict[str, Any] | None:
        """What the next line holds; None where its digest is not that of what it follows and holds."""
        digest, _, content = line[:-1].partition(b" ")
        if digest != _digest(self._digest, content).encode():
            return None
        self._digest = digest.decode()
        entry: dict[str, Any] = json.loads(content)  # ours: somebody who makes digests could make results
        return entry

    def _foreign(self) -> StorageError:
        return StorageError(
            f"{self.path} is no work file of this version of znas-engine and is left as it is; move it away "
            "or name another output"
        )

    def _unusable(self, error: OSError) -> StorageError:
        return StorageError(f"the work file {self.path} cannot be used ({paths.reason(error)})")


def _line(before: str, entry: Mapping[str, Any]) -> tuple[bytes, str]:
    content = json.dumps(entry).encode()
    digest = _digest(before, content)
    return f"{digest} ".encode() + content + b"\n", digest


def _digest(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + content).hexdigest()[:_DIGITS]


def difference(found: Any, wanted: Any) -> str:
    """What to add to a message of identities that are not the same: the first field that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in wanted:
            if found.get(name) != wanted[name]:
                return f" (its {name} is {briefly(found.get(name))}, not {briefly(wanted[name])})"
    return ""
