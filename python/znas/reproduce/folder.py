"""The folder that several tables share, with the work files that make it go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from znas.files import Album
from znas.output.figures import NO_PICTURES, drawable

#: The finished searches of a folder, those under limits, and its measured scores.
SEARCHES, LIMITED, SCORES = "searches.work", "limited.work", "scores.work"
#: Of every table NAME the files NAME.SUFFIX.
SUFFIXES = ("csv", "json", "md", "html")


def opened(
    out: Path,
    name: str,
    *others: str,
    pictures: Sequence[str] = (),
    report: Callable[[str], None],
) -> Album:
    """Asked before hours of work: may NAME.csv, ..., the other files and pictures be written to this folder?

    report: is told if pictures will be left out. Raises StorageError.
    """
    album = Album(out, (SEARCHES, LIMITED, SCORES))
    if pictures and not drawable():
        report(NO_PICTURES)
        pictures = ()
    album.check(*(f"{name}.{suffix}" for suffix in SUFFIXES), *others, *pictures)
    return album
