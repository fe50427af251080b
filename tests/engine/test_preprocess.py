"""What a data set says of its images is what it does: its facts alone give the pixels that it hands out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.engine.test_data_load import Stripes
from znas_engine.data import Dataset, load
from znas_engine.data.preprocess import Preprocess
from znas_engine.errors import InvalidValueError, PluginError

GREY = np.array([299, 587, 114], np.float32).reshape(3, 1, 1) / np.float32(1000)


def fed(pixels: Any, facts: dict[str, Any]) -> Any:
    """FORMULA, for pixels [..., C, H, W] that are cropped and resized."""
    scale = np.float32(facts["scale"])
    mean, std = (np.array(facts[name], np.float32).reshape(-1, 1, 1) for name in ("mean", "std"))
    return (pixels.astype(np.float32) - scale * mean) / (scale * std)


def facts_of(dataset: Dataset) -> dict[str, Any]:
    """As preprocess.json has them."""
    found: dict[str, Any] = json.loads(json.dumps(dataset.preprocessing().to_dict()))
    assert Preprocess.from_dict(found) == dataset.preprocessing()
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes; of 40 x 30 pixels, in colour and with transparency."""
    rng = np.random.default_rng(0)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        for number in range(2):
            pixels = rng.integers(0, 256, (30, 40, 3 + number), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_a_folder(channels: int, pictures: Path) -> None:
    dataset = load("imagefolder", data_dir=pictures, resolution=16, channels_in=channels)
    facts = facts_of(dataset)
    assert (facts["classes"], facts["size"]) == (["a", "b"], 16)
    (batch,) = dataset.every(4)
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 0, 1, 1]
    for image, file in zip(batch.images, sorted(pictures.glob("*/*.png")), strict=True):
        picture = Image.open(file)
        shown = Image.new("RGB", picture.size, "white")
        shown.paste(picture, mask=picture.getchannel("A") if picture.mode == "RGBA" else None)
        square = shown.resize((16, 16), Image.Resampling.BILINEAR, box=(5, 0, 35, 30))
        pixels = np.asarray(square, np.float32).transpose(2, 0, 1)
        if facts["channels"] == "grey":
            pixels = (pixels * GREY).sum(0, keepdims=True)
        np.testing.assert_allclose(image, fed(pixels, facts), atol=2e-6)


@pytest.mark.parametrize(("stored", "channels"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_arrays(stored: int, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, stored, 8, 10), np.uint8)
    dataset = load((pixels, np.arange(6) % 2), channels_in=channels)
    facts = facts_of(dataset)
    assert facts["classes"] is None
    assert facts["channels"] == ("as given" if channels == 3 else "grey")
    (batch,) = dataset.every(6)
    square = pixels[..., 1:9].astype(np.float32)
    square = (square * GREY).sum(1, keepdims=True) if channels < stored else square
    expected = np.broadcast_to(fed(square, facts), batch.images.shape)
    np.testing.assert_allclose(batch.images, expected, atol=1e-5)


@pytest.mark.parametrize(("resolution", "channels"), [(32, 3), (16, 1)])
def test_cifar(resolution: int, channels: int, test_data: Path) -> None:
    dataset = load("cifar10", data_dir=test_data, resolution=resolution, channels_in=channels)
    facts = facts_of(dataset)
    assert facts["classes"][:3] == ["airplane", "automobile", "bird"]
    stored = dataset._pixels[:5].reshape(5, 3, resolution, 32 // resolution, resolution, -1)  # type: ignore[attr-defined]
    pixels = stored.mean((3, 5))
    pixels = (pixels * GREY).sum(1, keepdims=True) if channels == 1 else pixels
    np.testing.assert_allclose(next(dataset.every(5)).images, fed(pixels, facts), atol=1e-5)
    held_out = dataset.held_out()
    assert held_out is not None
    assert held_out.preprocessing() == dataset.preprocessing()
    assert held_out.origin == "10,000 CIFAR-10 test images in test_batch"
    assert next(held_out.every(8)).images.shape == (8, channels, resolution, resolution)
    assert sum(len(batch.images) for batch in dataset.every(4096)) == dataset.size


def test_what_is_not_said_is_null() -> None:
    """Never invented: a plug-in's data set, and noise."""
    for dataset, note in ((Stripes(), "stripes does not say how"), (load("gaussian"), "noise of mean 0")):
        facts = facts_of(dataset)
        assert facts["size"] == dataset.resolution
        assert {facts[name] for name in ("channels", "scale", "mean", "std", "crop")} == {None}
        assert note in facts["note"]


KNOWN: dict[str, Any] = {"size": 6, "channels": "RGB", "scale": 255, "mean": (0.5,) * 3, "std": (0.2,) * 3}


@pytest.mark.parametrize(
    ("told", "wrong"),
    [
        ("x", "has 'x' for `preprocess`, no Preprocess"),
        (Preprocess(**KNOWN | {"size": 5}), "`preprocess.size` has 5 pixels, not 6"),
        (Preprocess(**KNOWN | {"mean": (1,), "std": (1,)}), "`preprocess.mean` has 1 numbers, not 3"),
        (Preprocess(**KNOWN, classes=("a", "b", "c")), "`preprocess.classes` has 3 names, not 2"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(told: Any, wrong: str) -> None:
    with pytest.raises((InvalidValueError, PluginError), match=wrong):
        load(Stripes(preprocess=told))
    assert load(Stripes(preprocess=Preprocess(**KNOWN))).preprocessing().known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 0}, "`size` must be at least 1 but got 0"),
        ({"channels": "BGR"}, "`channels` must be one of RGB, grey, as given but got 'BGR'"),
        ({"std": (0.2, 0, 0.2)}, "`std` must be finite and above 0 but got 0"),
        ({"mean": (0.2, float("nan"), 0.2)}, "`mean` must be a finite number"),
        ({"mean": (0.5,)}, "must have one number per channel but have 1 and 3"),
        ({"mean": None}, "must be given all or none"),
        ({"mean": 0.5}, "`mean` must be several values but got 0.5"),
        ({"classes": "ab"}, "`classes` must be several values but got 'ab'"),
        ({"classes": ("a", "a")}, "`classes` must differ but 'a' is there twice"),
        ({"classes": ("a\n", "b")}, "`classes` must be names of one line"),
        ({"note": "a\nb"}, "`note` must be a line of text"),
    ],
)
def test_what_it_cannot_be_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Preprocess(**KNOWN | changes)


names = st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1, unique=True)
floats = st.floats(-1e6, 1e6)


@given(classes=names, mean=floats, std=st.floats(1e-6, 1e6), scale=st.floats(1e-6, 1e6))
def test_it_is_the_same_after_json(classes: list[str], mean: float, std: float, scale: float) -> None:
    facts = Preprocess(size=8, channels="grey", scale=scale, mean=(mean,), std=(std,), classes=tuple(classes))
    assert Preprocess.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
