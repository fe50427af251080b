"""The work file of a long job: its finished pieces, so that a killed job goes on where it stopped."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from znas_engine.errors import InvalidValueError, StorageError


class Journal:
    """Key -> value of every finished piece, on disk as one JSON line each.

        with Journal(path, {"job": "prior fit", "seed": 0}) as journal:
            for key in pieces:
                if key not in journal.done:
                    journal.record(key, work(key))

    identity: what the job is, as JSON; a file of another job is refused. Its first line holds it. A piece
    is on disk before `record` returns. A line that a kill cut short is dropped, so its piece is done again.
    One process at a time.

    Raises:
        InvalidValueError: the file belongs to another job, or another process is at work on it.
        StorageError: it cannot be read or written (a full disk leaves what was recorded before).
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        self._identity = json.loads(json.dumps(identity))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            self._open()
        except BaseException:
            os.close(self._file)
            raise

    def record(self, key: str, value: Any) -> None:
        """Adds one finished piece; `value` is anything that JSON holds."""
        self._append({"key": key, "value": value})
        self.done[key] = value

    def discard(self) -> None:
        """Removes the file: the job is done and its result lies elsewhere."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def _open(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidValueError(
                f"another process is at work on {self.path}; wait for it or name another file"
            ) from None
        try:
            data = self.path.read_bytes()
            lines = data.splitlines(keepends=True)
            if lines and not lines[-1].endswith(b"\n"):
                os.ftruncate(self._file, len(data) - len(lines.pop()))
            os.lseek(self._file, 0, os.SEEK_END)
        except OSError as error:
            raise self._unusable(error) from error
        if not lines:
            self._append({"identity": self._identity})
            return
        try:
            header, *entries = map(json.loads, lines)
            identity = header["identity"]
            self.done = {entry["key"]: entry["value"] for entry in entries}
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"the work file {self.path} is damaged; remove it to start again") from error
        if identity != self._identity:
            raise InvalidValueError(
                f"the work file {self.path} belongs to another job; remove it or name another"
                f"{_difference(identity, self._identity)}"
            )

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        end = os.lseek(self._file, 0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, end)
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> StorageError:
        return StorageError(f"the work file {self.path} cannot be used ({error.strerror or error})")


def _difference(found: Any, wanted: Any) -> str:
    """What to add to the message: the first field that differs."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in wanted:
            if found.get(name) != wanted[name]:
                return f" (its {name} is {found.get(name)!r}, not {wanted[name]!r})"
    return ""
