"""`load`: names, packages, classes, functions and objects, and what each may not do; labels and channels."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from znas_engine.data import DATASETS, Batch, Dataset, load
from znas_engine.data.arrays import Arrays
from znas_engine.data.gaussian import Gaussian
from znas_engine.errors import DataError, InvalidValueError, PluginError
from znas_engine.scores import get_scores
from znas_engine.scores.labels import check_labels

PIXELS = np.random.default_rng(0).random((12, 3, 4, 4), dtype=np.float32)


class Stripes(Dataset):
    """A data set of somebody's own; keywords change its attributes."""

    name = "stripes"
    classes = 2
    labelled = True
    size = 50
    origin = "stripes"

    def __init__(self, resolution: int = 6, **changes: Any) -> None:
        self.resolution = resolution
        for name, value in changes.items():
            setattr(self, name, value)

    def _draw(self, images: int, seed: int) -> Batch:
        rng = np.random.default_rng(seed)
        pixels = rng.standard_normal((images, 3, self.resolution, self.resolution), dtype=np.float32)
        return Batch(pixels, np.arange(images) % 2)


class Fixed(Dataset):
    """Takes nothing."""

    name, classes, labelled, size, origin, resolution = "fixed", 2, False, 9, "fixed", 4

    def _draw(self, images: int, seed: int) -> Batch:
        return Batch(np.zeros((images, 3, 4, 4), np.float32), None)


class Abstract(Dataset):
    """Forgot `_draw`."""


def folder_of(*, data_dir: Path, resolution: int) -> Dataset:
    """Cannot do without a folder."""
    return Stripes(resolution or 7, origin=str(data_dir))


def deaf(*, channels_in: int = 3, resolution: int = 6) -> Dataset:
    """Takes what it does not heed."""
    return Stripes()


def options_of(**options: Any) -> Dataset:
    return Stripes(origin=repr(options))


# --------------------------------------------------------------------------- what may be asked for


def test_classes_functions_and_objects() -> None:
    assert load(Stripes).resolution == 6
    assert load(Stripes, resolution=9).resolution == 9
    assert load(partial(Stripes, classes=5)).classes == 5
    made = Stripes()
    assert load(made) is made
    assert load(Gaussian, resolution=5, channels_in=2).batch(3, seed=0).images.shape == (3, 2, 5, 5)


def test_a_maker_gets_what_it_takes_and_what_is_given(tmp_path: Path) -> None:
    assert load(folder_of, data_dir=str(tmp_path)).origin == str(tmp_path)
    assert load(folder_of, data_dir=tmp_path, resolution=3).resolution == 3
    assert load(options_of).origin == "{}"
    assert load(options_of, data_dir=tmp_path, channels_in=3).origin == repr(
        {"data_dir": tmp_path, "channels_in": 3}
    )
    with pytest.raises(InvalidValueError, match=r"`data_dir` is required for \S+:folder_of: pass --data-dir"):
        load(folder_of)


def test_a_maker_may_return_pictures() -> None:
    dataset = load(lambda resolution: (PIXELS, np.arange(12) % 3), resolution=4)
    assert (dataset.classes, dataset.labelled) == (3, True)

    def grey(channels_in: int = 3, resolution: int = 4) -> Any:
        return PIXELS[:, :channels_in]

    assert load(grey, channels_in=1, resolution=8).batch(2, seed=0).images.shape == (2, 1, 8, 8)
    assert load(lambda: PIXELS, resolution=2, channels_in=1).batch(2, seed=0).images.shape == (2, 1, 2, 2)


@pytest.mark.parametrize(
    ("asked", "options", "message"),
    [
        (
            Fixed,
            {"data_dir": "x"},
            "`data_dir` is not used by tests.engine.test_data_load:Fixed but got x: dr",
        ),
        (Fixed, {"resolution": 8}, "`resolution` is not used by tests.engine.test_data_load:Fixed but got 8"),
        (Stripes(), {"data_dir": "x"}, "`data_dir` is not used by stripes but got x: drop --data-dir"),
        (Stripes(), {"resolution": 6}, "`resolution` is not used by stripes but got 6: drop --resolution"),
        (Stripes(), {"channels_in": 1}, "`channels_in` must be 3 for stripes but got 1: drop --channels-in"),
        (
            Fixed,
            {"channels_in": 1},
            "`channels_in` must be 3 for tests.engine.test_data_load:Fixed but got 1",
        ),
        (PIXELS, {"data_dir": "x"}, "`data_dir` is not used by ndarray but got x: drop --data-dir"),
        ((PIXELS, None), {"data_dir": "x"}, "`data_dir` is not used by tuple but got x: drop --data-dir"),
        (deaf, {"channels_in": 1}, "deaf but got 1: drop --channels-in"),
        (deaf, {"resolution": 9}, "deaf but got 9: drop --resolution"),
        ("(in memory)", {}, "the images of this request were in memory: give them again, as `data`"),
        ("gaussian", {"channels_in": 0}, "`channels_in` must be at least 1 but got 0"),
        ("gaussian", {"channels_in": 1.5}, "`channels_in` must be a whole number but got 1.5"),
        (3, {}, "the data set int is no data set but int: give a Dataset or what makes one, arrays"),
        ({"a": 1}, {}, "the data set dict is no data set but dict: give"),
        ((PIXELS,), {}, "the data set tuple is no data set but tuple: give"),
        (lambda: 3, {}, "<lambda> is no data set but int: give"),
        ("json:dumps", {}, "the data set json:dumps cannot be made (TypeError: dumps() missing 1 required"),
        ("builtins:int", {}, "the data set builtins:int is no data set but int: give"),
        (Abstract, {}, "test_data_load:Abstract cannot be made (TypeError: Can't instantiate abstract class"),
        ("absent_package:Name", {}, "the data set absent_package:Name cannot be made (ModuleNotFoundError"),
    ],
)
def test_what_is_refused(asked: Any, options: dict[str, Any], message: str) -> None:
    message = message.replace("tests.engine.test_data_load", __name__)
    with pytest.raises(InvalidValueError, match=re.escape(message)) as caught:
        load(asked, **options)
    assert "\n" not in str(caught.value)


def test_more_pixels_than_there_is_memory_for() -> None:
    message = (
        "9 images of 1000000 x 1000000 pixels do not fit into memory: ask for fewer, --images, or smaller"
    )
    with pytest.raises(InvalidValueError, match=message):
        load("gaussian", resolution=10**6).batch(9, seed=0)


def test_their_own_errors_are_theirs() -> None:
    def refuse(data_dir: Path) -> Dataset:
        raise DataError(f"no stripes in {data_dir}: look elsewhere")

    with pytest.raises(DataError, match=r"^no stripes in here: look elsewhere$"):
        load(refuse, data_dir="here")


# --------------------------------------------------------------------------- promises


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 1}, "has 1 for `classes`, no int of 2 or more"),
        ({"size": 0}, "has 0 for `size`, no int of 1 or more"),
        ({"classes": np.int64(3)}, "has np.int64(3) for `classes`, no int of 2 or more"),
        ({"labelled": None}, "has None for `labelled`, no bool"),
        ({"origin": "two\nlines"}, "has 'two\\nlines' for `origin`, more than one line"),
        ({"channels": 0}, "has 0 for `channels`, no int of 1 or more"),
        ({"name": 3}, "has 3 for `name`, no str"),
    ],
)
def test_attributes_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(f"{__name__}:Stripes {message}")):
        load(Stripes(**changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 1}, "drew images [4, 3, 6, 6], not [4, 1, 6, 6]"),
        ({"labelled": False}, "drew labels, but `labelled` is False"),
        ({"_draw": lambda images, seed: None}, "drew NoneType, no Batch"),
        (
            {"_draw": lambda n, s: Batch(np.zeros((n, 3, 6, 6), np.float32), np.full(n, 2))},
            "drew labels from 2 to 2, not from 0 to 1",
        ),
        (
            {"_draw": lambda n, s: Batch(np.zeros((n, 3, 6, 6), np.float32), None)},
            "drew no labels, but `labelled` is True",
        ),
        (
            {"_draw": lambda n, s: Batch(np.zeros((1, 3, 6, 6), np.float32), np.zeros(1, np.int64))},
            "drew images [1, 3, 6, 6], not [4, 3, 6, 6]",
        ),
    ],
)
def test_batches_are_checked(changes: dict[str, Any], message: str) -> None:
    dataset = load(Stripes(**changes))
    with pytest.raises(
        PluginError, match=re.escape(f"the data set 'stripes' ({__name__}:Stripes) {message}")
    ):
        dataset.batch(4, seed=0)


# --------------------------------------------------------------------------- packages

THEIRS = """
import numpy as np
from znas_engine.data import Dataset
from znas_engine.data.gaussian import Gaussian

class Noise(Gaussian):
    name = "noise"

def arrays(resolution=None):
    return np.random.default_rng(0).random((9, 3, 4, 4), dtype=np.float32)

def broken():
    made = Gaussian()
    made.classes = 1
    return made

def failing():
    raise KeyError("oh")

READY = Noise(resolution=5)
"""
POINTS = """[znas.data]
noise = theirs:Noise
pixels = theirs:arrays
ready = theirs:READY
broken = theirs:broken
failing = theirs:failing
absent = theirs:Absent
nothing = theirs:THREE
gaussian = theirs:Noise
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed package that brings data sets."""
    root = tmp_path_factory.mktemp("site")
    (root / "theirs.py").write_text(THEIRS + "THREE = 3\n")
    facts = root / "theirs-1.2.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.2\n")
    (facts / "entry_points.txt").write_text(POINTS)
    return root


def ask(package: Path, name: str, options: str = "") -> str:
    """What a process that has the package says of that data set."""
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r})\n"
        "from znas_engine.data import load\n"
        f"try: d = load({name!r}, {options})\n"
        "except Exception as error: print(type(error).__name__, error)\n"
        "else: print(d.name, d.resolution, d.channels, d.batch(3, seed=0).images.shape)"
    )
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


BRINGS = "PluginError the package theirs 1.2 brings the data set {!r} as theirs:{}, which "


@pytest.mark.ours
@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("noise", "", "noise 32 3 (3, 3, 32, 32)"),
        ("noise", "resolution=7, channels_in=1", "noise 7 1 (3, 1, 7, 7)"),
        ("theirs:Noise", "resolution=7", "noise 7 3 (3, 3, 7, 7)"),
        ("pixels", "channels_in=1", "arrays 4 1 (3, 1, 4, 4)"),
        ("ready", "", "noise 5 3 (3, 3, 5, 5)"),
        ("ready", "resolution=6", "InvalidValueError `resolution` is not used by ready but got 6: drop"),
        ("noise", "data_dir='x'", "InvalidValueError `data_dir` is not used by noise but got x: drop"),
        ("broken", "", BRINGS.format("broken", "broken") + "has 1 for `classes`, no int of 2 or more"),
        ("failing", "", BRINGS.format("failing", "failing") + "cannot be made (KeyError: 'oh')"),
        ("absent", "", BRINGS.format("absent", "Absent") + "cannot be made (AttributeError: "),
        ("nothing", "", BRINGS.format("nothing", "THREE") + "is no data set but int: give a Dataset"),
        ("gaussian", "", "PluginError the data set 'gaussian' is claimed by znas-engine and by theirs 1.2"),
        (
            "nois",
            "",
            "InvalidValueError unknown data set 'nois': choose one of cifar10, cifar100, imagefolder",
        ),
    ],
)
def test_what_a_package_brings(package: Path, name: str, options: str, says: str) -> None:
    said = ask(package, name, options)
    assert said.startswith(says)
    assert said.count("\n") == 1


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys; from znas_engine.data import DATASETS, load; load('gaussian').batch(2, seed=0)\n"
        "loaded = {m for m in sys.modules if m.startswith('znas_engine.data.')}\n"
        "print(*sorted(m.rpartition('.')[2] for m in loaded))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["base", "gaussian", "pixels", "preprocess", "sampling"]
    assert list(DATASETS.builtin) == ["cifar10", "cifar100", "imagefolder", "gaussian"]


# --------------------------------------------------------------------------- labels


def test_scores_that_need_labels_refuse_sets_without() -> None:
    needs, free = get_scores("naswot+accuracy"), get_scores("naswot")
    check_labels(needs, Stripes())
    check_labels(free, load("gaussian"))
    for dataset, way_out in (
        (load("gaussian"), "gaussian images have none; use --data cifar10 --data-dir FOLDER, or --score nas"),
        (load(PIXELS), "arrays images have none; give each image its label: (images, labels), or "),
    ):
        with pytest.raises(
            InvalidValueError, match=re.escape(f"the score 'accuracy' needs labels and {way_out}")
        ):
            check_labels(needs, dataset)


def test_a_flat_folder_says_how_it_gets_labels(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    image_module.new("RGB", (4, 4)).save(tmp_path / "0.png")
    message = (
        "imagefolder images have none; sort the pictures into one sub-folder per class, or --score naswot"
    )
    with pytest.raises(InvalidValueError, match=message):
        check_labels(get_scores("accuracy"), load("imagefolder", data_dir=tmp_path))


# --------------------------------------------------------------------------- one channel


def test_gaussian_draws_the_channels_that_are_asked_for() -> None:
    default = load("gaussian", resolution=8).batch(4, seed=0)
    assert load("gaussian", resolution=8, channels_in=3).batch(4, seed=0).digest() == default.digest()
    one = load("gaussian", resolution=64, channels_in=1)
    assert one.channels == 1
    values = one.batch(32, seed=0).images.astype(np.float64)
    assert values.shape == (32, 1, 64, 64)
    assert abs(values.mean()) < 5 / np.sqrt(values.size)
    assert abs((values**2).mean() - 1) < 5 * np.sqrt(2 / values.size)


@pytest.mark.parametrize("resolution", [32, 16])
def test_grey_cifar_is_the_luminance_of_its_colours(test_data: Path, resolution: int) -> None:
    colours = load("cifar10", data_dir=test_data, resolution=resolution).batch(500, seed=0)
    dataset = load("cifar10", data_dir=test_data, resolution=resolution, channels_in=1)
    grey = dataset.batch(500, seed=0)
    assert grey.images.shape == (500, 1, resolution, resolution)
    np.testing.assert_array_equal(grey.labels, colours.labels)
    weights = np.array([0.299, 0.587, 0.114])
    mean, std = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2470, 0.2435, 0.2616])
    pixels = np.einsum("nchw,c->nhw", colours.images * std[:, None, None] + mean[:, None, None], weights)
    np.testing.assert_allclose(grey.images[:, 0], (pixels - weights @ mean) / (weights @ std), atol=1e-5)
    if resolution == 32:  # about zero mean and unit variance, as every batch has
        assert abs(grey.images.mean()) < 0.1
        assert abs(grey.images.std() - 1) < 0.1


def test_cifar_has_one_channel_or_three(test_data: Path) -> None:
    with pytest.raises(
        InvalidValueError, match=r"`channels_in` must be 1 \(grey\) or 3 for cifar10 but got 2"
    ):
        load("cifar10", data_dir=test_data, channels_in=2)


def test_real_images_as_arrays_are_drawn_like_the_files(test_data: Path) -> None:
    """The same images and labels in the same order: one draw, whichever way they come in."""
    files = load("cifar10", data_dir=test_data)
    pixels = files._pixels.reshape(-1, 3, 32, 32)  # type: ignore[attr-defined]
    arrays = Arrays(pixels, files._labels)  # type: ignore[attr-defined]
    theirs, ours = files.batch(64, seed=7), arrays.batch(64, seed=7)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_allclose(ours.images, theirs.images, atol=0.1)
