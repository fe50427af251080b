"""`$ZNAS_CACHE`: files named by what they were made from, safe to share and safe to delete.

An entry is `<kind>/<key>` beside `<kind>/<key>.json`, which holds its length and SHA-256 and says what it
was made from. It is written under a lock, moved into place in one step, and checked before every use.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from platformdirs import user_cache_path

from znas_engine import paths
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
    made_by: Mapping[str, object] = {},
) -> bytes:
    """The entry's bytes; `build` runs once, however many processes ask at the same time.

    made_by: versions that supersede one another. An entry of this key that other versions made is stale.

    A damaged or stale entry is built again and `report` is told. Raises StorageError where the folder cannot
    be used.
    """
    with _locked(kind, key) as entry:
        if (data := entry.read(made_by, report)) is None:
            data = build()
            entry.write(data, made_by)
        return data


def load(
    kind: str,
    key: Mapping[str, object],
    *,
    report: Callable[[str], None],
    made_by: Mapping[str, object] = {},
) -> bytes | None:
    """What `store` kept under this key; None if it is absent or, which `report` is told, damaged or stale."""
    with _locked(kind, key) as entry:
        return entry.read(made_by, report)


def store(kind: str, key: Mapping[str, object], data: bytes, *, made_by: Mapping[str, object] = {}) -> None:
    """Keeps `data` under this key in place of what was there. Raises StorageError like `load_or_build`."""
    with _locked(kind, key) as entry:
        entry.write(data, made_by)


@contextmanager
def _locked(kind: str, key: Mapping[str, object]) -> Iterator[_Entry]:
    """An entry that no other process reads or writes meanwhile; the lock dies with the process."""
    folder = cache_root() / kind
    entry = _Entry(folder, dict(key))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(entry.path.with_suffix(".lock")):
            yield entry
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"the cache folder {folder} cannot be used ({error.strerror or error}); set ZNAS_CACHE to another"
        ) from error


class _Entry:
    """One file and its note."""

    def __init__(self, folder: Path, key: dict[str, object]) -> None:
        self.key = key
        described = json.dumps(key, sort_keys=True)
        self.path = folder / hashlib.sha256(described.encode()).hexdigest()[:32]
        self.note = self.path.with_suffix(".json")

    def read(self, made_by: Mapping[str, object], report: Callable[[str], None]) -> bytes | None:
        """The entry if it is whole and made by these versions, else None."""
        try:
            data = self.path.read_bytes()
            facts = json.loads(self.note.read_bytes())
            whole = facts["sha256"] == hashlib.sha256(data).hexdigest()
            makers = facts.get("made_by", {})
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            whole = False
        if not whole:
            if self.path.exists() or self.note.exists():
                report(f"the cache entry {self.path} is damaged; building it again")
            return None
        if makers != dict(made_by):
            report(
                f"the cache entry {self.path} was made by {_versions(makers)}, not {_versions(made_by)}; "
                "building it again"
            )
            return None
        return data

    def write(self, data: bytes, made_by: Mapping[str, object]) -> None:
        for left in self.path.parent.glob(f".{self.path.name}.*"):  # of a process that was killed here
            left.unlink()
        facts = {
            "sha256": hashlib.sha256(data).hexdigest(),
            "bytes": len(data),
            "key": self.key,
            "made_by": dict(made_by),
        }
        paths.replace(self.path, data)
        paths.replace(self.note, json.dumps(facts, indent=1, sort_keys=True).encode())


def _versions(made_by: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(made_by.items())) or "another version"
