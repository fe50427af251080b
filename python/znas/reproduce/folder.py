"""The folder that several tables share, with the work files that make it go on."""

from __future__ import annotations

from pathlib import Path

from znas.files import Album

#: The finished searches of a folder, those under limits, and its measured scores.
SEARCHES, LIMITED, SCORES = "searches.work", "limited.work", "scores.work"
#: The folder of its trained networks, a folder each.
TRAINED = "trained"
#: Of every table NAME the files NAME.SUFFIX.
SUFFIXES = ("csv", "json", "md", "html")


def opened(out: Path, name: str, *others: str) -> Album:
    """Asked before hours of work: may NAME.csv, ... and the other files be written to this folder?

    Raises StorageError.
    """
    album = Album(out, (SEARCHES, LIMITED, SCORES, TRAINED))
    album.check(*(f"{name}.{suffix}" for suffix in SUFFIXES), *others)
    return album
