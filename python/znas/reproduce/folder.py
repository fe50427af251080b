"""The folder that several tables share, with the work files that make it go on."""

from __future__ import annotations

from pathlib import Path

from znas.files import Album, work_file

#: The finished searches of a folder, those under limits, its measured scores, masks of its supernet, and what
#: sets of scores found.
SEARCHES, LIMITED, SCORES = "searches.work", "limited.work", "scores.work"
SUPERNET, CHOICES = "supernet.work", "choices.work"
#: The prior of its own one-shot supernet.
ONE_SHOT = "one-shot.json"
#: The folder of its trained networks, a folder each.
TRAINED = "trained"
#: The folder of an ablation, in which every seed has one.
ABLATION = "ablation"
#: The folder of a comparison of resolutions, in which every one has a folder.
RESOLUTIONS = "resolutions"
#: Of every table NAME the files NAME.SUFFIX.
SUFFIXES = ("csv", "json", "md", "html")


def opened(out: Path, name: str, *others: str) -> Album:
    """Asked before hours of work: may NAME.csv, ... and the other files be written to this folder?

    Raises StorageError.
    """
    prior = out / ONE_SHOT
    own = (
        *(SEARCHES, LIMITED, SCORES, SUPERNET, CHOICES, TRAINED, ABLATION, RESOLUTIONS),
        *(ONE_SHOT, work_file(prior).name, checkpoint(prior).name),
    )
    album = Album(out, own)
    album.check(*files(name), *others)
    return album


def files(name: str) -> list[str]:
    """Of a table, without its picture."""
    return [f"{name}.{suffix}" for suffix in SUFFIXES]


def checkpoint(prior: Path) -> Path:
    """Of the training of a prior that is to be this file."""
    return prior.with_name(f"{prior.name}.checkpoint")
