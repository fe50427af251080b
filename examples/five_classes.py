"""Five classes of CIFAR-10 as small pictures, one folder per class: what the quickstart and a test train on.

    python examples/five_classes.py --data-dir data --out examples/five-classes

`train/` holds the first training images of each class, `val/` the first test images, in the order of their
files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from znas_engine.data import Dataset, load

CLASSES = ("airplane", "automobile", "cat", "frog", "ship")


def pictures(dataset: Dataset, each: int) -> dict[str, list[np.ndarray]]:
    """uint8 [32, 32, 3] of every class, the first `each` of them: the pixels that `preprocess` began with."""
    facts = dataset.preprocessing()
    names, mean, std = facts.classes, np.array(facts.mean), np.array(facts.std)
    found = {name: [] for name in CLASSES}
    for batch in dataset.every(at_once=1000):
        pixels = batch.images.transpose(0, 2, 3, 1) * (facts.scale * std) + facts.scale * mean
        for image, label in zip(pixels.round().astype(np.uint8), batch.labels, strict=True):
            if len(found.get(names[label], range(each))) < each:
                found[names[label]].append(image)
    return found


def write(out: Path, data_dir: Path, train: int, val: int) -> None:
    """A new folder `out` with `train/<class>/<number>.png` and `val/<class>/<number>.png`."""
    cifar10 = load("cifar10", data_dir=data_dir)
    for part, dataset, each in (("train", cifar10, train), ("val", cifar10.held_out(), val)):
        for name, images in pictures(dataset, each).items():
            folder = out / part / name
            folder.mkdir(parents=True)
            for number, image in enumerate(images):
                Image.fromarray(image).save(folder / f"{number:03}.png", optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="holds cifar-10-batches-py")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    parser.add_argument("--train", type=int, default=60, help="training pictures of every class")
    parser.add_argument("--val", type=int, default=20, help="validation pictures of every class")
    asked = parser.parse_args()
    write(asked.out, asked.data_dir, asked.train, asked.val)
