"""Any folder of pictures: root/class_name/picture.png."""

from __future__ import annotations

import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from znas_engine.data.base import Batch, Dataset, checked_resolution
from znas_engine.data.pixels import normalise
from znas_engine.data.sampling import draw_balanced
from znas_engine.errors import DataError, MissingDependencyError

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm")
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "PPM")  # the only decoders that Pillow may try
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")  # 8 bits or fewer per channel

# ImageNet's published statistics, the usual choice for photographs.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)


class ImageFolder(Dataset):
    """Pictures in `root`, one sub-folder per class; only those that a batch draws are decoded.

    root: its sub-folders are the classes, numbered in the order of their names (by code point); names that
        begin with a dot are skipped. In each, every png, jpg, jpeg, bmp, webp or ppm file is an image;
        other files and deeper folders are not looked at. Links to files and folders are followed.
    resolution: side in pixels; None means 224. The centre square of a picture (its whole shorter side) is
        resized to it with an antialiased bilinear filter.

    Colours become RGB, transparency is dropped, and the pixels are normalised by ImageNet's mean and
    standard deviation.

    Raises MissingDependencyError without Pillow and InvalidValueError for a resolution below 1. Raises
    DataError, naming the folder or file: at once for a missing root, fewer than two classes, a class without
    images or a broken link; from `batch` for a picture that is damaged, too large to be safe (about 89
    million pixels), or has more than 8 bits per channel.
    """

    name = "imagefolder"
    labelled = True

    def __init__(self, root: Path, *, resolution: int | None = None) -> None:
        self.resolution = 224 if resolution is None else checked_resolution(resolution)
        _pillow()  # fail now rather than at the first batch
        self._root = root
        self._class_names = _class_folders(root)
        files = [_image_files(root / folder) for folder in self._class_names]
        self._files = [file for group in files for file in group]
        self._labels = np.repeat(np.arange(len(files), dtype=np.int64), [len(group) for group in files])
        self.classes = len(files)
        self.size = len(self._files)
        self.origin = f"{self.size:,} images of {self.classes} classes in {root}"

    def _draw(self, images: int, seed: int) -> Batch:
        index = draw_balanced(
            self._labels, images, seed=seed, name=str(self._root), class_names=self._class_names
        )
        labels = self._labels[index]
        paths = [
            self._root / self._class_names[label] / self._files[file]
            for label, file in zip(labels, index, strict=True)
        ]
        return Batch(images=normalise(self._decode(paths), mean=_MEAN, std=_STD), labels=labels)

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


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingDependencyError(
            "image folders need Pillow: pip install 'znas-engine[vision]'"
        ) from error
    return PIL.Image


def _class_folders(root: Path) -> list[str]:
    layout = "--data-dir must be a folder with one sub-folder of images per class"
    if not root.is_dir():
        raise DataError(f"no folder {root}: {layout}")
    try:
        folders = [path.name for path in root.iterdir() if path.is_dir()]
    except OSError as error:
        raise DataError(f"cannot list {root} ({error.strerror}): make it readable") from error
    names = sorted(name for name in folders if not name.startswith("."))
    if len(names) < 2:
        raise DataError(f"{root} must hold at least 2 class folders but has {len(names)}: {layout}")
    return names


def _image_files(folder: Path) -> list[str]:
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.lower().endswith(_SUFFIXES):
                    continue
                if entry.is_file(follow_symlinks=False):
                    names.append(entry.name)
                elif entry.is_symlink():
                    # Path, because DirEntry raises for a link that leads to itself.
                    target = Path(entry.path)
                    if target.is_file():
                        names.append(entry.name)
                    elif not target.is_dir():
                        raise DataError(f"{entry.path} is a link that leads nowhere: delete it or mend it")
    except OSError as error:
        raise DataError(f"cannot list {folder} ({error.strerror}): make it readable") from error
    if not names:
        kinds = ", ".join(suffix[1:] for suffix in _SUFFIXES)
        raise DataError(f"class folder {folder} holds no images ({kinds}): add some or delete it")
    return sorted(names)


def _decode_one(image_module: ModuleType, path: Path, side: int) -> NDArray[np.uint8]:
    """uint8 [3, side, side]: the centre square of the picture at `path`."""
    try:
        with image_module.open(path, formats=_FORMATS) as picture:
            if picture.mode not in _MODES:
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
