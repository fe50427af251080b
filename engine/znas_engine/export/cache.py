"""`$ZNAS_CACHE`: files named by what they were made from, safe to share and safe to delete.

An entry is `<kind>/<key>` beside `<kind>/<key>.json`, which holds its length and SHA-256 and says what it
was made from. It is written under a lock, moved into place in one step, and checked before every use.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from znas_engine.errors import StorageError


def cache_root() -> Path:
    """`$ZNAS_CACHE`, or the platform's user cache folder."""
    named = os.environ.get("ZNAS_CACHE")
    return Path(named) if named else user_cache_path("znas-engine", appauthor=False)


def load_or_build(
    kind: str,
    key: Mapping[str, object],
    build: Callable[[], bytes],
    *,
    report: Callable[[str], None],
) -> bytes:
    """The entry's bytes; `build` runs once, however many processes ask at the same time.

    A damaged entry is built again and `report` is told. Raises StorageError where the folder cannot be
    used.
    """
    described = json.dumps(dict(key), sort_keys=True)
    folder = cache_root() / kind
    path = folder / hashlib.sha256(described.encode()).hexdigest()[:32]
    note = path.with_suffix(".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            found = _read(path, note)
            if found is not None:
                return found
            if path.exists() or note.exists():
                report(f"the cache entry {path} is damaged; building it again")
            data = build()
            facts = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "key": dict(key)}
            write_atomically(path, data)
            write_atomically(note, json.dumps(facts, indent=1, sort_keys=True).encode())
            return data
    except OSError as error:
        raise StorageError(
            f"the cache folder {folder} cannot be used ({error.strerror or error}); set ZNAS_CACHE to another"
        ) from error


def _read(path: Path, note: Path) -> bytes | None:
    """The entry if it is whole, else None."""
    try:
        data = path.read_bytes()
        facts = json.loads(note.read_bytes())
        whole = facts["sha256"] == hashlib.sha256(data).hexdigest()
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return data if whole else None


def write_atomically(path: Path, data: bytes) -> None:
    """All of the file or none of it: a temporary neighbour, flushed to disk, then renamed."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
