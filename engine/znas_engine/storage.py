"""`$ZNAS_CACHE`: files named by what they were made from, safe to share and safe to delete at any moment.

An entry is one file `<kind>/<name>`: a line that says what it is, a line of JSON that holds its key, its
makers, its length and its SHA-256, then its bytes. It is put in place in one step and every byte of it is
checked before every use, so reading needs no lock. A lock saves work, no more: one process builds, others
wait a while. Whatever is wrong with the cache, work goes on without it and one line says so.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from platformdirs import user_cache_path

from znas_engine import paths, strict_json
from znas_engine.errors import StorageError

MAGIC = b"znas-engine cache entry 2\n"
#: Bytes of an entry and of its line of JSON, at most.
_LIMIT, _HEADER = 1 << 31, 1 << 16
#: Seconds after which a wait is said, and after which it ends.
SAID_AFTER, PATIENCE = 5.0, 600.0
#: How often an entry is put in place where its folder vanishes meanwhile.
_ATTEMPTS = 5
#: What the process has said of its cache folder: once, though many entries meet it.
_said: set[str] = set()


def cache_root() -> Path:
    """`$ZNAS_CACHE`, or the platform's user cache folder; a private temporary one where there is no home."""
    if named := os.environ.get("ZNAS_CACHE"):
        return paths.named(named, "ZNAS_CACHE")
    try:
        usual = user_cache_path("znas-engine", appauthor=False)
    except (RuntimeError, KeyError, OSError):  # no HOME, and a user whom the system does not know
        return _without_home()
    return usual if usual.is_absolute() else _without_home()


def load_or_build(
    kind: str,
    key: Mapping[str, object],
    build: Callable[[], bytes],
    *,
    report: Callable[[str], None],
    made_by: Mapping[str, object] = {},
    check: Callable[[bytes], object] = len,
    executed: bool = False,
) -> bytes:
    """The entry's bytes; `build` runs once, however many processes ask at the same time.

    made_by: versions that supersede one another. An entry of this key that other versions made is stale.
    check: raises ValueError for bytes that cannot be what the key names.
    executed: reading such an entry can run code that somebody put into it.

    A damaged or stale entry is built again, and what is no entry is left alone; `report` is told, as it is
    of a cache that cannot be written, that others can write to, or whose lock another process holds.

    Raises StorageError where the entry is `executed` and others can write to the cache.
    """
    entry = _Entry(kind, key, made_by, report, check, executed=executed)
    if (data := entry.read()) is None:
        with entry.lock():
            if (data := entry.read()) is None:
                data = build()
                entry.write(data)
    return data


def load(
    kind: str,
    key: Mapping[str, object],
    *,
    report: Callable[[str], None],
    made_by: Mapping[str, object] = {},
    executed: bool = False,
) -> bytes | None:
    """What `store` kept under this key; None if it is absent or, which `report` is told, damaged or stale.

    Raises StorageError like `load_or_build`.
    """
    return _Entry(kind, key, made_by, report, executed=executed).read()


def store(
    kind: str,
    key: Mapping[str, object],
    data: bytes,
    *,
    report: Callable[[str], None],
    made_by: Mapping[str, object] = {},
) -> None:
    """Keeps `data` under this key in place of what was there, if that can be; else `report` is told."""
    _Entry(kind, key, made_by, report).write(data)


class _Entry:
    """One file, read and written whole."""

    def __init__(
        self,
        kind: str,
        key: Mapping[str, object],
        made_by: Mapping[str, object],
        report: Callable[[str], None],
        check: Callable[[bytes], object] = len,
        *,
        executed: bool = False,
    ) -> None:
        self.root = cache_root()
        self.folder = self.root / kind
        described = MAGIC + json.dumps(dict(key), sort_keys=True).encode()
        self.path = self.folder / hashlib.sha256(described).hexdigest()[:32]
        self.kind = kind
        self.key = dict(key)
        self.made_by = dict(made_by)
        self.executed = executed
        self._check = check
        self._report = report
        self._remarks: set[str] = set()
        if _without_home.cache_info().currsize and self.root == _without_home():
            self._once(f"there is no home folder here: the cache is {self.root}; set ZNAS_CACHE to another")

    def read(self) -> bytes | None:
        """The entry if it is whole and made by these versions, else None."""
        self._distrust_folders()
        whole = self._whole()
        if whole is None:
            return None
        line, data = whole
        if line == self._header(self.made_by, data):
            with suppress(ValueError):
                self._check(data)
                return data
        makers = self._makers(line, data)
        if makers is None or makers == self.made_by:
            self._remark(f"the cache entry {self.path} is damaged; building it again")
        else:
            found, wanted = _versions(makers), _versions(self.made_by)
            self._remark(f"the cache entry {self.path} was made by {found}, not {wanted}; building it again")
        return None

    def write(self, data: bytes) -> None:
        """Puts the entry in place, or says why it cannot be kept."""
        if len(data) > _LIMIT:
            self._remark(f"{len(data):,} bytes are too many for the cache entry {self.path}: it is not kept")
            return
        packed = self._header(self.made_by, data) + data
        for attempt in range(_ATTEMPTS):
            try:
                self._make_folders()
                if not self._is_ours():
                    return
                if attempt == 0:
                    self._sweep()
                paths.replace(self.path, packed, 0o644)  # whatever the umask is, others do not write
                return
            except OSError as error:  # somebody may be deleting the cache at this moment
                problem = error
                if not isinstance(error, FileNotFoundError | FileExistsError | NotADirectoryError):
                    break
        self._once(
            f"the cache folder {self.root} cannot be written ({paths.reason(problem)}): going on without it; "
            "set ZNAS_CACHE to another"
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Ours alone if that can be had in bounded time; it dies with the process."""
        descriptor = self._lock_file()
        try:
            if descriptor is not None:
                self._wait(descriptor)
            yield
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _lock_file(self) -> int | None:
        """Nothing is written to it; None where there cannot be one, or something else is in its place."""
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._make_folders()
            descriptor = os.open(self.path.with_suffix(".lock"), flags, 0o644)
        except OSError:
            return None  # what keeps the lock away keeps the entry away too, and `write` says so
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        return None

    def _wait(self, descriptor: int) -> None:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < PATIENCE:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(0.05)
            except OSError:  # a file system without locks
                return
            if waited > SAID_AFTER:
                self._remark(
                    f"process {os.getpid()} waits for another one, which makes the cache entry {self.path}; "
                    f"after {PATIENCE:.0f} s it makes the entry itself"
                )

    def _make_folders(self) -> None:
        self.root.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o755, exist_ok=True)

    def _whole(self) -> tuple[bytes, bytes] | None:
        """The lines above the data, and the data; None, and a remark, if no entry of ours is there."""
        found = self._open()
        if found is None:
            return None
        with os.fdopen(found, "rb") as file:
            self._distrust(self.path, os.fstat(found), sticky=False)
            try:
                lines = file.readline(len(MAGIC)) + file.readline(_HEADER)
                return lines, file.read(_LIMIT)
            except OSError as error:
                self._remark(f"the cache entry {self.path} cannot be read ({paths.reason(error)})")
                return None

    def _open(self) -> int | None:
        """A descriptor of the file, at its beginning; None where nothing or, with a remark, no entry is.

        An empty file and the beginning of `MAGIC` are entries, cut short: there is nothing in them to lose.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            link = error.errno == errno.ELOOP
            self._leave("is a link" if link else f"cannot be read ({paths.reason(error)})")
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                self._leave("is no file")
            elif not MAGIC.startswith(os.pread(descriptor, len(MAGIC), 0)):
                self._leave("is not znas-engine's")
            else:
                return descriptor
        except OSError as error:
            self._leave(f"cannot be read ({paths.reason(error)})")
        os.close(descriptor)
        return None

    def _is_ours(self) -> bool:
        """Whether the name is free, or an entry's that may be replaced."""
        found = self._open()
        if found is not None:
            os.close(found)
        return found is not None or not os.path.lexists(self.path)

    def _leave(self, what: str) -> None:
        self._remark(
            f"{self.path}, where a cache entry belongs, {what}: left as it is, nothing is kept there"
        )

    def _sweep(self) -> None:
        """Removes what processes that were killed in `write` have left, known by its beginning."""
        for left in paths.leftovers(self.path):
            with suppress(OSError):
                descriptor = os.open(left, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    ours = os.pread(descriptor, len(MAGIC), 0) == MAGIC
                finally:
                    os.close(descriptor)
                if ours:
                    left.unlink()

    def _header(self, made_by: object, data: bytes) -> bytes:
        """The lines above the data."""
        digest = hashlib.sha256(data).hexdigest()
        facts = {"key": self.key, "made_by": made_by, "bytes": len(data), "sha256": digest}
        return MAGIC + json.dumps(facts, sort_keys=True).encode() + b"\n"

    def _makers(self, lines: bytes, data: bytes) -> dict[str, object] | None:
        """The versions that made an entry of this key; None if it is not whole."""
        try:
            makers = strict_json.parse(lines[len(MAGIC) :], "the entry")["made_by"]
        except (StorageError, KeyError, TypeError):
            return None
        return makers if isinstance(makers, dict) and lines == self._header(makers, data) else None

    def _distrust_folders(self) -> None:
        for folder, sticky in ((self.root, True), (self.folder, False)):
            try:
                about = folder.stat()
            except OSError:
                continue  # nothing is read there either
            if stat.S_ISDIR(about.st_mode):
                self._distrust(folder, about, sticky=sticky)

    def _distrust(self, path: Path, about: os.stat_result, *, sticky: bool) -> None:
        """Refuses or remarks what others could have written. sticky: such a folder, like /tmp, is fine: what
        is in it is checked too."""
        if about.st_uid not in (os.geteuid(), 0):
            why = f"belongs to another user (number {about.st_uid})"
        elif about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not (sticky and about.st_mode & stat.S_ISVTX):
            why = "can be written by others"
        else:
            return
        mine = "chown it and " if "another" in why else ""
        remedy = f"{mine}chmod go-w {path}, or set ZNAS_CACHE to a folder of your own"
        if self.executed:
            raise StorageError(f"the cache {why}, and a {self.kind} from it would be executed: {remedy}")
        self._once(f"the cache {why} and is used nevertheless: {remedy}")

    def _remark(self, text: str) -> None:
        if text not in self._remarks:
            self._remarks.add(text)
            self._report(text)

    def _once(self, text: str) -> None:
        if text not in _said:
            _said.add(text)
            self._report(text)


@cache
def _without_home() -> Path:
    """A temporary folder that nobody else can write to."""
    try:
        usual = Path(tempfile.gettempdir()) / f"znas-engine-{os.geteuid()}"
        with suppress(FileExistsError):
            usual.mkdir(mode=0o700)
        about = usual.lstat()
        others = about.st_uid != os.geteuid() or about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if stat.S_ISDIR(about.st_mode) and not others:
            return usual
        return Path(tempfile.mkdtemp(prefix="znas-engine-"))  # somebody has planted the usual one
    except OSError:
        return Path(os.devnull) / "znas-engine"  # nothing can be made there, and the first entry says so


def _versions(made_by: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(made_by.items())) or "another version"
