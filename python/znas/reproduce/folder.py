"""The folder that several tables share, with the work files that make it go on."""

from __future__ import annotations

from pathlib import Path

from znas.files import Album, work_file

#: The finished searches of a folder, those under limits, its measured scores, and what sets of them found.
SEARCHES, LIMITED, SCORES, CHOICES = "searches.work", "limited.work", "scores.work", "choices.work"
#: The prior of its own one-shot supernet.
ONE_SHOT = "one-shot.json"
#: The folder of its trained networks, a folder each.
TRAINED = "trained"
#: Of every table NAME the files NAME.SUFFIX.
SUFFIXES = ("csv", "json", "md", "html")


def opened(out: Path, name: str, *others: str) -> Album:
    """Asked before hours of work: may NAME.csv, ... and the other files be written to this folder?

    Raises StorageError.
    """
    prior = out / ONE_SHOT
    works = (SEARCHES, LIMITED, SCORES, CHOICES)
    album = Album(out, (*works, TRAINED, ONE_SHOT, work_file(prior).name, checkpoint(prior).name))
    album.check(*(f"{name}.{suffix}" for suffix in SUFFIXES), *others)
    return album


def checkpoint(prior: Path) -> Path:
    """Of the training of a prior that is to be this file."""
    return prior.with_name(f"{prior.name}.checkpoint")
