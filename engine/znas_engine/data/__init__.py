"""Images for the search, as numpy batches. Importing it loads numpy only.

    dataset = load("cifar10", data_dir=Path("~/data").expanduser())
    batch = dataset.batch(256, seed=0)  # images float32 [256, 3, 32, 32], labels int64 [256]

`DATASETS` is the whole registry; a new data set is one file beside this one and one line in it. The
readers of files are imported when their data set is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from znas_engine.data.base import Batch, Dataset
from znas_engine.data.gaussian import Gaussian
from znas_engine.errors import InvalidValueError, unknown_choice

__all__ = ["DATASETS", "Batch", "Dataset", "Gaussian", "load"]


def load(name: str, *, data_dir: Path | None = None, resolution: int | None = None) -> Dataset:
    """Open the data set `name`, one of `DATASETS`.

    data_dir: the folder that holds `cifar-10-batches-py` or `cifar-100-python`, or the root of an image
        folder; required by these, refused by `gaussian`.
    resolution: side of the square images in pixels; None means the data set's own (32 for CIFAR and
        gaussian, 224 for image folders).

    Raises InvalidValueError (unknown name, data_dir missing or superfluous, resolution), DataError (files
    absent, damaged or malicious) and MissingDependencyError (image folders without Pillow).
    """
    if name not in DATASETS:
        raise unknown_choice("data set", name, DATASETS)
    return DATASETS[name](data_dir, resolution)


def _cifar10(data_dir: Path | None, resolution: int | None) -> Dataset:
    from znas_engine.data.cifar import CIFAR10, Cifar

    folder = _required("cifar10", data_dir, f"the folder that holds {CIFAR10.folder}")
    return Cifar(folder, layout=CIFAR10, resolution=resolution)


def _cifar100(data_dir: Path | None, resolution: int | None) -> Dataset:
    from znas_engine.data.cifar import CIFAR100, Cifar

    folder = _required("cifar100", data_dir, f"the folder that holds {CIFAR100.folder}")
    return Cifar(folder, layout=CIFAR100, resolution=resolution)


def _imagefolder(data_dir: Path | None, resolution: int | None) -> Dataset:
    from znas_engine.data.imagefolder import ImageFolder

    folder = _required("imagefolder", data_dir, "a folder with one sub-folder of images per class")
    return ImageFolder(folder, resolution=resolution)


def _gaussian(data_dir: Path | None, resolution: int | None) -> Dataset:
    if data_dir is not None:
        raise InvalidValueError(f"`data_dir` is not used by gaussian but got {data_dir}: drop --data-dir")
    return Gaussian(resolution=resolution)


def _required(name: str, data_dir: Path | None, what: str) -> Path:
    if data_dir is None:
        raise InvalidValueError(f"`data_dir` is required for {name}: pass --data-dir with {what}")
    return Path(data_dir)


DATASETS: dict[str, Callable[[Path | None, int | None], Dataset]] = {
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "imagefolder": _imagefolder,
    "gaussian": _gaussian,
}
