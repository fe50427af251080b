"""stdout and stderr as a command needs them: results are written whole or it is said, remarks never fail.

The one place that decides about encodings. What stdout cannot take (a full disk, a closed pipe) is a
StorageError of whoever prints; what stderr cannot take is lost, since there is nobody to tell.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from znas_engine import paths
from znas_engine.errors import StorageError

#: What stands for a character that the encoding of a terminal lacks; others are written as Python escapes.
LOOK_ALIKES = {
    "─": "-", "━": "-", "│": "|", "±": "+-", "×": "x", "·": ".", "→": "->", "←": "<-", "…": "...",
    "–": "-", "—": "-", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "≤": "<=", "≥": ">=",
    "≠": "!=", "≈": "~", "µ": "u", "μ": "u", "²": "^2", "³": "^3", "°": " deg", "✓": "yes", "✗": "no",
    "\N{NO-BREAK SPACE}": " ", "\N{NARROW NO-BREAK SPACE}": " ",
}  # fmt: skip
_ERRORS, _PLAIN = "znas-look-alikes", "znas_ascii"


def look_alike(error: UnicodeError) -> tuple[str, int]:
    """The handler of codecs: what stands for the characters that could not be encoded, and where to go on."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_written, error.object[error.start : error.end])), error.end


def _written(character: str) -> str:
    escaped = character.encode("unicode_escape", "surrogatepass").decode()
    return LOOK_ALIKES.get(character, escaped)


codecs.register_error(_ERRORS, look_alike)


def _plain(name: str) -> codecs.CodecInfo | None:
    """ASCII under another name: the library of the command line takes ASCII for a mistake of the system's and
    writes UTF-8 in its place."""
    ascii = codecs.lookup("ascii")
    if name != _PLAIN:
        return None
    return codecs.CodecInfo(ascii.encode, ascii.decode, None, None, ascii.incrementalencoder, None, name)


codecs.register(_plain)


@contextmanager
def streams() -> Iterator[None]:
    """stdout and stderr are such streams within; what is no stream of a file (a test's) stays as it is."""
    before = sys.stdout, sys.stderr
    _occupy()
    sys.stderr = _wrapped(sys.stderr, 2, None)
    if sys.stdout is not None:
        sys.stdout = _wrapped(sys.stdout, 1, "stdout")
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):  # it was said, or there is nobody to tell
                    stream.flush()
        sys.stdout, sys.stderr = before


def check_stdout() -> None:
    """StorageError where stdout is closed: asked before the work."""
    if sys.stdout is None:
        raise StorageError("stdout is closed: let it lead to a file, a pipe or /dev/null")


def _occupy() -> None:
    """Takes the descriptors 0, 1 and 2 where they are closed: else the next file that is opened gets one,
    and what a library prints is written into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def _wrapped(stream: TextIO | None, descriptor: int, what: str | None) -> TextIO:
    if stream is None:
        return _text(descriptor, what, "utf-8")
    try:
        if stream.fileno() != descriptor or not isinstance(stream, io.TextIOWrapper):
            return stream
    except (OSError, ValueError, AttributeError):
        return stream
    with suppress(OSError, ValueError):
        stream.flush()
    return _text(descriptor, what, stream.encoding)


def _text(descriptor: int, what: str | None, encoding: str) -> TextIO:
    if codecs.lookup(encoding).name == "ascii":
        encoding = _PLAIN
    raw = io.BufferedWriter(_Descriptor(descriptor, what))
    return io.TextIOWrapper(raw, encoding, _ERRORS, line_buffering=what is None or raw.isatty())


class _Descriptor(io.RawIOBase):
    """Writes to a descriptor that it does not close. what: its name in an error; None drops what cannot be
    written, as does everything after the first error."""

    def __init__(self, descriptor: int, what: str | None) -> None:
        self._descriptor = descriptor
        self._what = what

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        written = 0
        while written < len(view) and self._descriptor >= 0:
            try:
                written += os.write(self._descriptor, view[written:])
            except BlockingIOError:
                _until_writable(self._descriptor)
            except OSError as error:
                what, self._what = self._what, None
                if what is not None:
                    self._descriptor = -1
                    raise StorageError(
                        f"the result cannot be written to {what} ({paths.reason(error)})"
                    ) from error
                break
        return len(view)


def _until_writable(descriptor: int) -> None:
    """Waits for the reader of a pipe that somebody made not to block."""
    import select

    select.select([], [descriptor], [])
