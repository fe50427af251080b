"""From a table's file to its text: compression, what is no table, encodings. By content, not by name."""

from __future__ import annotations

import bz2
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from znas_engine import paths
from znas_engine.errors import DataError

#: What a compressed table unfolds into, at most; a file that is not compressed has the same limit.
LIMIT = paths.TEXT_LIMIT

#: For the window of xz, whose strongest setting takes 65 MiB.
_MEMORY = 128 << 20

_DECOMPRESSORS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=_MEMORY)),
)
_ZIP = b"PK\x03\x04"
#: How files begin that people have in place of a CSV.
_FOREIGN = (
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"SQLite format 3", "an SQLite file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself"),
)
#: Members of a zip by which its kind is known.
_ZIPS = (
    ("xl/", "an Excel file"),
    ("content.xml", "an OpenDocument file"),
    ("data.pkl", "a PyTorch file"),
)
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1b\x7f-\x9f]")


def text_of(path: Path) -> tuple[str, str | None]:
    """All of a table's text with lines that end in "\\n", and a remark on how it was read, if there is one.

    gzip, bzip2, xz and a zip of one file are unpacked. UTF-8, UTF-16 or UTF-32 with a mark, else Latin-1,
    which is remarked on. DataError names the file and what it is instead.
    """
    data = paths.read(path, "the table", limit=LIMIT, error=DataError)
    data = _refuse_foreign(path, _unpacked(path, data))
    text, remark = _decoded(path, data)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    wrong = _CONTROL.search(text)
    if wrong is not None:
        line = text.count("\n", 0, wrong.start()) + 1
        raise DataError(f"the table {path}, line {line}: {wrong[0]!r} is in no text: pass a CSV")
    begin = text.lstrip()[:200]
    if begin.startswith(("{", "[{", "[[")) or path.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        raise _no_csv(path, "JSON")
    if re.match(r"<!doctype|<html|<\?xml", begin, re.IGNORECASE):
        raise _no_csv(path, "a web page or XML")
    return text, remark


def _no_csv(path: Path, what: str) -> DataError:
    return DataError(f"the table {path} is {what}: save it as CSV, one architecture per line below a header")


def _unpacked(path: Path, data: bytes) -> bytes:
    if data.startswith(_ZIP):
        return _unzipped(path, data)
    for mark, decompressor in _DECOMPRESSORS:
        if data.startswith(mark):
            try:
                return _decompressed(path, data, mark, decompressor)
            except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
                raise DataError(f"the table {path} cannot be unpacked ({error})") from error
    return data


def _decompressed(path: Path, data: bytes, mark: bytes, decompressor: Callable[[], Any]) -> bytes:
    """All streams of a file, one after the other."""
    parts: list[bytes] = []
    left = LIMIT
    while data:
        if not data.startswith(mark):
            raise ValueError("something follows its compressed data")
        stream = decompressor()
        parts.append(stream.decompress(data, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise _too_long(path)
        if not stream.eof:
            raise ValueError("it is truncated")
        data = stream.unused_data.lstrip(b"\0")
    return b"".join(parts)


def _too_long(path: Path) -> DataError:
    return DataError(f"the table {path} unfolds into more than {LIMIT:,} bytes")


def _unzipped(path: Path, data: bytes) -> bytes:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            for part, what in _ZIPS:
                if any(name.startswith(part) or name.endswith(f"/{part}") for name in names):
                    raise _no_csv(path, what)
            members = [
                each
                for each in archive.infolist()
                if not each.is_dir() and not re.search(r"(^|/)(__MACOSX/|\.)", each.filename)
            ]
            if len(members) != 1:
                raise DataError(
                    f"the table {path} is a zip of {len(members):,} files: unpack it and name one"
                )
            with archive.open(members[0]) as file:
                found = file.read(LIMIT + 1)
    except (
        OSError,
        EOFError,
        ValueError,
        RuntimeError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
    ) as error:
        raise DataError(f"the table {path} cannot be unpacked ({error})") from error
    if len(found) > LIMIT:
        raise _too_long(path)
    return found


def _refuse_foreign(path: Path, data: bytes) -> bytes:
    for begin, what in _FOREIGN:
        if data.startswith(begin):
            raise _no_csv(path, what)
    if data.startswith((_ZIP, *(mark for mark, _ in _DECOMPRESSORS))):
        raise DataError(f"the table {path} is packed twice: unpack it")
    if data[257:262] == b"ustar":
        raise DataError(f"the table {path} is a tar archive: unpack it and name one file")
    if re.match(rb"\x80[\x02-\x05]", data):
        raise _no_csv(path, "a pickle")
    return data


def _decoded(path: Path, data: bytes) -> tuple[str, str | None]:
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding), None
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"the table {path} cannot be read as {encoding} ({error.reason})") from error
    return data.decode("latin-1"), f"{path} is not UTF-8: read as Latin-1"
