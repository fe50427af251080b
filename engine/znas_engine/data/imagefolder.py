"""Any folder of pictures: root/class_name/**/picture.png, or root/picture.png without classes."""

from __future__ import annotations

import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from znas_engine.data.base import (
    UNLABELLED_CLASSES,
    Batch,
    Dataset,
    checked_channels,
    checked_resolution,
    required_folder,
)
from znas_engine.data.pixels import normalise
from znas_engine.data.sampling import draw_any, draw_balanced
from znas_engine.errors import DataError, MissingDependencyError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")  # the only decoders that Pillow may try
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits or fewer per channel

# ImageNet's published statistics, the usual choice for photographs.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ImageFolder(Dataset):
    """Pictures in `root`, one sub-folder per class; only those that a batch draws are decoded.

    root: its sub-folders are the classes, numbered in the order of their names (by code point). In each and
        in the folders below it, every png, jpg, jpeg, bmp, webp or ppm file is an image; other files are not
        looked at, nor is any name that begins with a dot. Links to files and folders are followed, but no
        folder is looked at twice for one class, so a link that leads back up adds nothing.
        A root without sub-folders, of pictures alone, has no labels and counts as 10 classes.
        A root that holds pictures beside sub-folders is refused: it could mean either.
    resolution: side in pixels; None means 224. The centre square of a picture (its whole shorter side) is
        resized to it with an antialiased bilinear filter.
    channels_in: 3 (None means that), or 1 for grey: the luminance of pixels and of ImageNet's statistics.

    Colours become RGB, transparency is dropped, and the pixels are normalised by ImageNet's mean and
    standard deviation.

    Raises MissingDependencyError without Pillow and InvalidValueError for a resolution below 1 or another
    number of channels. Raises DataError, naming the folder or file: at once for a missing root, fewer than
    two classes, a class without images or a broken link; from `batch` for a picture that is damaged, too
    large to be safe (about 89 million pixels), or has more than 8 bits per channel.
    """

    name = "imagefolder"
    labels_from = "sort the pictures into one sub-folder per class"

    def __init__(self, root: Path, *, resolution: int | None = None, channels_in: int | None = None) -> None:
        self.resolution = 224 if resolution is None else checked_resolution(resolution)
        self.channels = checked_channels(channels_in, self.name)
        _pillow()  # fail now rather than at the first batch
        self._root = root
        self._class_names, self._files, self._labels = _found(root)
        self.labelled = self._labels is not None
        self.classes = len(self._class_names) if self.labelled else UNLABELLED_CLASSES
        self.size = len(self._files)
        what = f" of {self.classes} classes" if self.labelled else ", unlabelled,"
        self.origin = f"{self.size:,} images{what} in {root} ({_digest(root, self._files)})"

    def _draw(self, images: int, seed: int) -> Batch:
        if self._labels is None:
            index = draw_any(self.size, images, seed=seed)
        else:
            index = draw_balanced(
                self._labels, images, seed=seed, name=str(self._root), class_names=self._class_names
            )
        pixels = self._decode([self._root / self._files[file] for file in index])
        return Batch(
            images=normalise(pixels, mean=_MEAN, std=_STD, channels=self.channels),
            labels=None if self._labels is None else self._labels[index],
        )

    def _decode(self, paths: list[Path]) -> NDArray[np.uint8]:
        """uint8 [len(paths), 3, resolution, resolution]; Pillow decodes outside the interpreter's lock."""
        image_module = _pillow()
        side = self.resolution
        pixels = np.empty((len(paths), 3, side, side), dtype=np.uint8)
        # Around the threads, not inside them: the warning filters belong to the whole process.
        with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
            warnings.simplefilter("error", image_module.DecompressionBombWarning)
            warnings.filterwarnings("ignore", message="Palette images with Transparency")
            decoded = pool.map(lambda path: _decode_one(image_module, path, side), paths)
            for slot, picture in zip(pixels, decoded, strict=True):
                slot[...] = picture
        return pixels


def imagefolder(
    *, data_dir: Path | None = None, resolution: int | None = None, channels_in: int | None = None
) -> ImageFolder:
    """A folder of pictures, see `ImageFolder`."""
    root = required_folder("imagefolder", data_dir, "a folder with one sub-folder of images per class")
    return ImageFolder(root, resolution=resolution, channels_in=channels_in)


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingDependencyError(
            "image folders need Pillow: pip install 'znas-engine[vision]'"
        ) from error
    return PIL.Image


def _found(root: Path) -> tuple[list[str], list[str], NDArray[np.int64] | None]:
    """Names of the classes, pictures as paths below `root`, and their labels, None where there are none."""
    kinds = ", ".join(suffix[1:] for suffix in _SUFFIXES)
    layout = (
        f"--data-dir must be a folder with one sub-folder of images ({kinds}) per class, or of unlabelled "
        "images alone"
    )
    if not root.is_dir():
        raise DataError(f"no folder {root}: {layout}")
    folders, pictures = _listed(root)
    if pictures and folders:
        raise DataError(
            f"{root} holds pictures ({pictures[0]}) beside sub-folders ({folders[0]}): put every picture "
            "into the folder of its class, or the sub-folders elsewhere"
        )
    if pictures:
        return [], pictures, None
    if len(folders) < 2:
        raise DataError(f"{root} must hold at least 2 class folders but has {len(folders)}: {layout}")
    groups = [_pictures_below(root, folder) for folder in folders]
    labels = np.repeat(np.arange(len(groups), dtype=np.int64), [len(group) for group in groups])
    return folders, [picture for group in groups for picture in group], labels


def _pictures_below(root: Path, name: str) -> list[str]:
    """Every picture in the folder `root / name` and below it, as a path below `root`, sorted."""
    seen = {_identity(root)}
    found: list[str] = []
    waiting = [name]
    while waiting:
        here = waiting.pop()
        identity = _identity(root / here)
        if identity in seen:
            continue
        seen.add(identity)
        folders, pictures = _listed(root / here)
        found += [f"{here}/{picture}" for picture in pictures]
        waiting += [f"{here}/{folder}" for folder in reversed(folders)]
    if not found:
        kinds = ", ".join(suffix[1:] for suffix in _SUFFIXES)
        raise DataError(f"class folder {root / name} holds no images ({kinds}): add some or delete it")
    return sorted(found)


def _identity(folder: Path) -> tuple[int, int]:
    """What a folder is called by the file system, however it was reached."""
    status = folder.stat()
    return status.st_dev, status.st_ino


def _listed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the sub-folders and of the pictures in `folder`, each sorted."""
    folders, pictures = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # Path follows a link, because DirEntry raises for one that leads to itself.
                target = Path(entry.path) if entry.is_symlink() else entry
                picture = entry.name.lower().endswith(_SUFFIXES)
                if entry.name.startswith("."):
                    continue
                if target.is_dir():
                    folders.append(entry.name)
                elif picture and target.is_file():
                    pictures.append(entry.name)
                elif picture and entry.is_symlink():
                    raise DataError(f"{entry.path} is a link that leads nowhere: delete it or mend it")
    except OSError as error:
        raise DataError(f"cannot list {folder} ({error.strerror}): make it readable") from error
    return sorted(folders), sorted(pictures)


def _digest(root: Path, files: list[str]) -> str:
    """Twelve hexadecimal digits that tell these pictures from others, by names, sizes and times of change."""
    digest = hashlib.sha256()
    for file in files:
        status = (root / file).stat()
        digest.update(f"{file}\0{status.st_size} {status.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


def _decode_one(image_module: ModuleType, path: Path, side: int) -> NDArray[np.uint8]:
    """uint8 [3, side, side]: the centre square of the picture at `path`."""
    try:
        with image_module.open(path, formats=_FORMATS) as picture:
            if picture.mode not in MODES:
                raise DataError(f"{path} has pixels of mode {picture.mode}: save it with 8 bits per channel")
            colours = picture.convert("RGB")
            width, height = colours.size
            square = min(width, height)
            left, top = (width - square) / 2, (height - square) / 2
            # Crop and resize in one step: resizing a 1 x 80,000,000 picture first would not fit in memory.
            resized = colours.resize(
                (side, side),
                resample=image_module.Resampling.BILINEAR,
                box=(left, top, left + square, top + square),
            )
            return np.asarray(resized, dtype=np.uint8).transpose(2, 0, 1)
    except DataError:
        raise
    except (image_module.DecompressionBombWarning, image_module.DecompressionBombError) as error:
        limit = f"{image_module.MAX_IMAGE_PIXELS:,} pixels"
        raise DataError(f"{path} is refused: it unfolds into more than {limit}; delete it") from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ... for damaged files
        raise DataError(f"cannot decode {path} ({type(error).__name__}): replace or delete it") from error
