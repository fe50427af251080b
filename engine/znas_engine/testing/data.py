"""What every data set keeps."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from znas_engine.data import Batch, Dataset, load
from znas_engine.errors import InvalidValueError
from znas_engine.registry import where_is
from znas_engine.testing.agreement import one_line

_ELSEWHERE = """
import json, sys
from znas_engine.data import load
asked, options, images = json.loads(sys.argv[1])
dataset = load(asked, **options)
print(json.dumps([dataset.identity, dataset.batch(images, seed=3).digest()]))
"""


class DataContract:
    """data: its name, `package.module:Name`, or the class or function that makes it. The fixture `options`
    gives what `load` takes besides, a folder for instance."""

    data: ClassVar[Any]

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {}

    @pytest.fixture
    def dataset(self, options: dict[str, Any]) -> Dataset:
        return self.made(options)

    def made(self, options: dict[str, Any]) -> Dataset:
        """A new one."""
        return load(self.asked, **options)

    @property
    def asked(self) -> Any:
        """`data`: a function that a class holds is no method of it."""
        return inspect.getattr_static(self, "data")

    def test_what_it_says_of_itself(self, dataset: Dataset) -> None:
        for text in (dataset.name, dataset.origin, dataset.identity, dataset.labels_from):
            assert text
            assert "\n" not in text
        assert min(dataset.classes - 1, dataset.resolution, dataset.channels, dataset.size) >= 1

    def test_batches_are_what_it_says(self, dataset: Dataset) -> None:
        for images in (1, self.some(dataset)):
            batch = dataset.batch(images, seed=0)
            side = dataset.resolution
            assert batch.images.shape == (images, dataset.channels, side, side)
            assert batch.images.dtype == np.float32
            assert np.isfinite(batch.images).all()
            assert (batch.labels is not None) == dataset.labelled

    def test_it_says_how_its_images_are_made(self, dataset: Dataset) -> None:
        """Or that it does not; of this size, and of these channels and classes."""
        told = dataset.preprocessing()
        sizes = {"size": dataset.resolution, "channels": dataset.channels, "classes": dataset.classes}
        assert told.unlike(**sizes) is None
        assert told.known or told.note

    def test_walking_shows_images_as_they_are_drawn(self, dataset: Dataset) -> None:
        batch = next(dataset.every(2))
        assert 1 <= len(batch.images) <= 2
        assert batch.images.shape[1:] == dataset.batch(1, seed=0).images.shape[1:]
        assert (batch.labels is not None) == dataset.labelled

    def test_pixels_are_normalised(self, dataset: Dataset) -> None:
        """About zero mean and unit variance per channel; 0 to 255 is not."""
        images = dataset.batch(self.some(dataset), seed=0).images
        assert (np.abs(images.mean((0, 2, 3))) < 3).all()
        assert (images.std((0, 2, 3)) < 5).all()

    def test_classes_are_balanced(self, dataset: Dataset) -> None:
        if not dataset.labelled:
            return
        labels = dataset.batch(self.some(dataset), seed=1).labels
        assert labels is not None
        assert labels.min() >= 0
        assert labels.max() < dataset.classes
        counts = np.unique(labels, return_counts=True)[1]
        assert counts.max() - counts.min() <= 1

    def test_the_seed_decides(self, dataset: Dataset, options: dict[str, Any]) -> None:
        images = self.some(dataset)
        batches = [dataset.batch(images, seed=seed) for seed in (3, 3, 4)]
        first, again, other = map(Batch.digest, batches)
        assert first == again == self.made(options).batch(images, seed=3).digest()
        assert first != other

    def test_the_same_in_another_process(self, dataset: Dataset, options: dict[str, Any]) -> None:
        images = self.some(dataset)
        asked = self.asked if isinstance(self.asked, str) else where_is(self.asked)
        done = subprocess.run(
            [sys.executable, "-c", _ELSEWHERE, json.dumps([asked, options, images], default=str)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": "7"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [dataset.identity, dataset.batch(images, seed=3).digest()]

    def test_its_identity_does_not_follow_the_place(
        self, dataset: Dataset, options: dict[str, Any], tmp_path: Path
    ) -> None:
        """Nor the time: what lies in a folder is the same data anywhere."""
        if options.get("data_dir") is None:
            return
        shutil.copytree(options["data_dir"], tmp_path / "copy")
        for path in (tmp_path / "copy").rglob("*"):
            os.utime(path, (1, 1))
        assert self.made(options | {"data_dir": tmp_path / "copy"}).identity == dataset.identity

    @pytest.mark.parametrize("seed", [np.int64(1), np.uint8(1), np.array(1)])
    def test_a_seed_of_another_type_is_the_same_seed(self, dataset: Dataset, seed: Any) -> None:
        assert dataset.batch(1, seed=seed).digest() == dataset.batch(1, seed=1).digest()

    @pytest.mark.parametrize("images", [0, -1, 1.5, "8", None, "all"])
    def test_numbers_of_images_that_are_refused(self, images: Any, dataset: Dataset) -> None:
        asked = dataset.size + 1 if images == "all" else images
        with one_line(InvalidValueError, match="`images` must be"):
            dataset.batch(asked, seed=0)

    def test_seeds_that_are_refused(self, dataset: Dataset) -> None:
        seed: Any
        for seed in (-1, 1.0, True, "1", None, [1]):
            with one_line(InvalidValueError, match="`seed` must be"):
                dataset.batch(1, seed=seed)

    def some(self, dataset: Dataset) -> int:
        """A number of images that every class has its share of."""
        return min(2 * dataset.classes + 1, dataset.size)
