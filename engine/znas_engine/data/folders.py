"""What lies in a folder of pictures: classes, pictures, and what is neither."""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from znas_engine import paths
from znas_engine.data.base import short
from znas_engine.data.pictures import KINDS, SUFFIXES
from znas_engine.errors import DataError

#: What systems and programs leave beside pictures, besides names that begin with a dot.
_FOREIGN = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "system volume information"),  # Windows
        *("__macosx", "icon\r"),  # macOS
        *("@eadir", "#recycle", "@recycle", "#snapshot", "lost+found", "__pycache__"),  # servers, programs
    )
)
#: Endings of pictures and of arrays of them that are not read.
_UNREAD = frozenset(
    (
        *(".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".jpe", ".jif"),
        *(".mpo", ".apng", ".svg", ".ico", ".pgm", ".pbm", ".pnm", ".pam", ".tga", ".psd", ".xcf", ".exr"),
        *(".hdr", ".dds", ".pcx", ".dib"),
        *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".dcm", ".nii"),
        *(".npy", ".npz", ".mat", ".h5", ".hdf5", ".tfrecord", ".lmdb", ".parquet"),
    )
)
#: Words for the parts of a data set, and what may stand beside them: `training_set`, `train2017`,
#: `seg_train`, `test-images`. In the order of `_TRAIN`, `_VALIDATE`, `_TEST`.
_PARTS = (
    ("train", "training", "trainset", "trainval"),
    ("val", "valid", "validation", "valset", "dev"),
    ("test", "testing", "testset", "holdout"),
    ("unlabeled", "unlabelled"),
)
_TRAIN, _VALIDATE, _TEST = 0, 1, 2
_PART = {word: number for number, words in enumerate(_PARTS) for word in words}
_BESIDE = frozenset(
    (
        *("set", "data", "dataset", "images", "image", "imgs", "img", "pictures", "split", "seg", "part"),
        *("folder", "samples", "cropped", "resized", "extra", "mini", "small", "full", "new"),
    )
)
#: Endings of pictures that programs have changed: x.jpg~, x.png.part, x.jpg_large.
_CHANGED = re.compile(r"\.(png|jpe?g|bmp|webp|ppm)([^a-z0-9].*|\d+)$")
#: Files without an ending that are no pictures.
_TEXTS = frozenset(("license", "licence", "readme", "makefile", "notice", "authors", "copying", "dockerfile"))


class Found(NamedTuple):
    """classes: their names. files: pictures, as paths below the root. labels: of the pictures, int64, None
    where there are no classes. unread: how many files there are of every ending that is not read."""

    classes: list[str]
    files: list[str]
    labels: NDArray[np.int64] | None
    unread: Counter[str]


def find(root: Path) -> Found:
    """Looks through `root`; what it may hold is said by `ImageFolder`.

    Raises DataError, naming the folder or file and a way out that loses nothing.
    """
    layout = f"--data-dir must be a folder of images ({KINDS}), or with one sub-folder of them per class"
    if not paths.is_folder(root, "the folder", DataError):
        raise DataError(f"no folder {short(root)}: {layout}")
    here = _listed(root)
    if here.pictures and here.folders:
        raise DataError(
            f"{short(root)} holds pictures ({here.pictures[0]}) beside sub-folders ({here.folders[0]}): put "
            "every picture into the folder of its class, or the sub-folders elsewhere"
        )
    if here.pictures:
        return Found([], here.pictures, None, here.unread)
    if len(here.folders) < 2:
        raise DataError(_too_few(root, here, layout))
    seen: dict[tuple[int, int], str] = {}
    groups = []
    for name in here.folders:
        other = seen.setdefault(_identity(root / name), name)
        if other != name:
            raise DataError(
                f"the classes {other} and {name} of {short(root)} are one folder, by a link: keep one there"
            )
        groups.append(_pictures_below(root, name, here.unread))
    labels = np.repeat(np.arange(len(groups), dtype=np.int64), [len(group) for group in groups])
    return Found(here.folders, [picture for group in groups for picture in group], labels, here.unread)


class Split(NamedTuple):
    """Sub-folders that are parts of a data set, as paths below its root. train: what a search sees. held_out:
    the validation part, or the test part, or None. others: what is not looked at."""

    train: str
    held_out: str | None
    others: list[str]


def split(root: Path) -> Split | None:
    """The parts of the data set in `root`; None where its sub-folders are classes.

    A part may hold another folder of its own name: train/train/cats.

    Raises DataError where it cannot be told which part to search.
    """
    if not paths.is_folder(root, "the folder", DataError):
        return None
    here = _listed(root)
    parts = _parts(root, here)
    if not parts:
        return None
    train = [part for part in parts if _part(part) == _TRAIN]
    if len(train) != 1:
        raise DataError(
            f"its sub-folders ({', '.join(parts)}) are parts of a data set, not classes: pass --data-dir "
            f"{short(root / parts[0])}"
        )
    held = [part for part in parts if _part(part) in (_VALIDATE, _TEST)]
    used = train[0], held[0] if held else None
    others = [folder for folder in here.folders if folder not in used]
    return Split(_innermost(root, train[0]), None if not held else _innermost(root, held[0]), others)


def in_words(unread: Counter[str]) -> str:
    """`12 gif, 3 tiff, 1 without an ending`, the most frequent first."""
    kinds = sorted(unread.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} {suffix[1:] or 'without an ending'}" for suffix, count in kinds[:6])


@dataclass
class _Listing:
    """Names in one folder, each sorted."""

    folders: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)


def _parts(root: Path, here: _Listing) -> list[str]:
    """The sub-folders that are parts of a data set (train, val), not its classes; first what a search may see
    first."""
    parts = sorted((f for f in here.folders if _part(f) is not None), key=lambda f: (_part(f), f))
    if here.pictures or not parts or (len(parts) == 1 and not _listed(root / parts[0]).folders):
        return []
    others = [folder for folder in here.folders if folder not in parts]
    if any(_listed(root / folder).pictures for folder in others):
        return []  # more classes are beside them: such a name may be a class, too
    return [] if len(parts) == 1 and others else parts


def _innermost(root: Path, part: str) -> str:
    """The folder itself, or the one of its name that is all it holds."""
    inner = _listed(root / part)
    name = Path(part).name
    return f"{part}/{name}" if inner.folders == [name] and not inner.pictures else part


def _part(folder: str) -> int | None:
    """Which of `_PARTS` a name stands for; None for another name."""
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", folder).lower())
    found = [_PART[word] for word in words if word in _PART]
    return found[0] if found and {*words} <= _BESIDE | {*_PART} else None


def _too_few(root: Path, here: _Listing, layout: str) -> str:
    if here.folders:
        inner = short(root / here.folders[0])
        has = "must hold at least 2 class folders but has 1: if the images are in that"
        return f"{short(root)} {has}, pass --data-dir {inner}"
    unread = f"; it holds {in_words(here.unread)}, which are not read" if here.unread else ""
    return f"{short(root)} holds no images{unread}: {layout}"


def _pictures_below(root: Path, name: str, unread: Counter[str]) -> list[str]:
    """Every picture in the folder `root / name` and below it, as a path below `root`, sorted."""
    seen = {_identity(root)}
    found: list[str] = []
    left: Counter[str] = Counter()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        identity = _identity(root / here)
        if identity in seen:
            continue
        seen.add(identity)
        listing = _listed(root / here)
        left += listing.unread
        found += [f"{here}/{picture}" for picture in listing.pictures]
        waiting += [f"{here}/{folder}" for folder in reversed(listing.folders)]
    if not found:
        kinds = f"{KINDS}; it has {in_words(left)}" if left else KINDS
        raise DataError(
            f"class folder {short(root / name)} holds no images ({kinds}): add some, or move it out of there"
        )
    unread += left
    return sorted(found)


def _identity(folder: Path) -> tuple[int, int]:
    """What a folder is called by the file system, however it was reached."""
    status = paths.status(folder, "the folder", DataError)
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> _Listing:
    found = _Listing()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith(".") and entry.name.lower() not in _FOREIGN:
                    _sort_in(entry, found)
    except OSError as error:
        raise DataError(f"the folder {short(folder)} cannot be listed ({paths.reason(error)})") from error
    found.folders.sort()
    found.pictures.sort()
    return found


def _sort_in(entry: os.DirEntry[str], found: _Listing) -> None:
    picture = entry.name.lower().endswith(SUFFIXES)
    kind = _kind(entry)
    if kind == "folder":
        found.folders.append(entry.name)
    elif kind == "file":
        suffix = Path(entry.name).suffix.lower()
        if picture:
            found.pictures.append(entry.name)
        elif suffix in _UNREAD or _CHANGED.search(entry.name.lower()):
            found.unread[suffix] += 1
        elif not suffix and entry.name.lower() not in _TEXTS:
            found.unread[""] += 1
    elif picture:
        path = short(Path(entry.path))
        if kind == "nothing":
            raise DataError(f"{path} is a link that leads nowhere: mend it or move it elsewhere")
        raise DataError(f"{path} is a pipe or a device, no picture: move it elsewhere")


def _kind(entry: os.DirEntry[str]) -> paths.Kind:
    """What it is, links followed; a link that leads to itself is nothing."""
    if not entry.is_symlink():
        return "folder" if entry.is_dir() else "file" if entry.is_file() else "other"
    try:
        return paths.kind(Path(entry.path), "the link", DataError)
    except DataError as problem:
        if getattr(problem.__cause__, "errno", None) == errno.ELOOP:
            return "nothing"
        raise
