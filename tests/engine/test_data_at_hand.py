"""Images that were read in another process: the same, or that they are not is said before any is shown."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from znas_engine.data import load
from znas_engine.data.at_hand import AtHand
from znas_engine.errors import DataError


@pytest.fixture(scope="module")
def image_module() -> ModuleType:
    return pytest.importorskip("PIL.Image")


@pytest.fixture
def folder(tmp_path: Path, image_module: ModuleType) -> Path:
    for name, value in (("cats/a.png", 10), ("cats/b.png", 200), ("dogs/a.png", 90)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image_module.new("RGB", (8, 8), (value, 100, 50)).save(tmp_path / name)
    return tmp_path


def sent(folder: Path) -> AtHand:
    """As another process has it."""
    read = AtHand("imagefolder", folder)
    read.keep(8, None, load("imagefolder", data_dir=folder, resolution=8))
    _ = read(8).identity  # known here, of the pictures as they are here
    found: AtHand = pickle.loads(pickle.dumps(read))
    return found


def test_the_same_pictures_are_the_same_batch(folder: Path) -> None:
    here, there = load("imagefolder", data_dir=folder, resolution=8), sent(folder)(8)
    assert there.identity == here.identity
    np.testing.assert_array_equal(there.batch(2, seed=1).images, here.batch(2, seed=1).images)


def test_another_picture_is_said(folder: Path, image_module: ModuleType) -> None:
    found = sent(folder)
    image_module.new("RGB", (8, 8), (11, 100, 50)).save(folder / "cats" / "a.png")
    with pytest.raises(DataError, match=f"on {socket.gethostname()} is not what it is where the command"):
        found(8)


def test_a_picture_that_is_not_there_is_said(folder: Path) -> None:
    found = sent(folder)
    (folder / "dogs" / "a.png").unlink()
    with pytest.raises(DataError, match=rf"on {socket.gethostname()}: .*a\.png"):
        found(8)


def test_arrays_travel_with_it() -> None:
    images = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)
    read = AtHand((images, np.arange(4)), None)
    read.keep(None, None, load((images, np.arange(4))))
    there: AtHand = pickle.loads(pickle.dumps(read))
    np.testing.assert_array_equal(there().batch(4, seed=1).images, read().batch(4, seed=1).images)
