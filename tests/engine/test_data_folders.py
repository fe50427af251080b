"""Folders of pictures: nested, flat, mixed, linked in circles, and grey."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from znas_engine.data import implied, load
from znas_engine.data.imagefolder import ImageFolder
from znas_engine.errors import DataError, InvalidValueError

image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def picture(path: Path, value: int = 0) -> Path:
    """A picture 4 x 4 of one colour, told apart by its red value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.new("RGB", (4, 4), (value, 100, 50)).save(path)
    return path


def fill(root: Path, *names: str) -> Path:
    for value, name in enumerate(names):
        picture(root / name, value)
    return root


def reds(root: Path) -> dict[int | None, set[int]]:
    """The red values of every picture, by label."""
    dataset = load("imagefolder", data_dir=root, resolution=4)
    found: dict[int | None, set[int]] = {}
    if dataset.labelled:
        least = min(np.bincount(dataset._labels))  # type: ignore[attr-defined]
        batches = [dataset.batch(least * dataset.classes, seed=seed) for seed in range(30)]
    else:
        batches = [dataset.batch(dataset.size, seed=0)]
    for batch in batches:
        values = np.rint((batch.images[:, 0, 0, 0] * 0.229 + 0.485) * 255).astype(int)
        labels = [None] * len(values) if batch.labels is None else batch.labels.tolist()
        for label, value in zip(labels, values.tolist(), strict=True):
            found.setdefault(label, set()).add(value)
    return found


# --------------------------------------------------------------------------- nested


def test_pictures_at_every_depth_belong_to_their_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png", "a/x/1.png", "a/x/y/z/2.png", "b/3.png", "b/deep/4.jpg", "b/deep/5.png")
    dataset = load("imagefolder", data_dir=root, resolution=4)
    assert (dataset.classes, dataset.size, dataset.labelled) == (2, 6, True)
    assert re.fullmatch(rf"6 images of 2 classes in {re.escape(str(root))}", dataset.origin)
    assert reds(root) == {0: {0, 1, 2}, 1: {3, 4, 5}}


def test_a_class_may_have_pictures_only_further_down(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/x/y/0.png", "b/1.png")
    assert reds(root) == {0: {0}, 1: {1}}


def test_hidden_names_and_other_files_are_left_out_at_every_depth(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png", "a/.cache/1.png", "a/x/._2.png", "b/3.png", ".git/4.png", ".5.png")
    (root / "a" / "x" / "notes.txt").write_text("not a picture")
    (root / "b" / "folder.png").mkdir()
    assert reds(root) == {0: {0}, 1: {3}}


def test_a_nested_folder_without_pictures_is_no_class(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png")
    (root / "b" / "x" / "y").mkdir(parents=True)
    with pytest.raises(DataError, match=r"class folder \S*/b holds no images \(png, jpg, .*\): add some, or"):
        load("imagefolder", data_dir=root)


def test_the_same_pictures_give_the_same_batch_wherever_the_folder_lies(tmp_path: Path) -> None:
    names = ("a/0.png", "a/x/1.png", "b/2.png", "b/y/3.png")
    there, here = fill(tmp_path / "there", *names), tmp_path / "here"
    for value, name in reversed(list(enumerate(names))):  # another order of creation
        picture(here / name, value)
    for count in (1, 2, 4):
        batches = [load("imagefolder", data_dir=root).batch(count, seed=3).digest() for root in (here, there)]
        assert batches[0] == batches[1]


# --------------------------------------------------------------------------- links


def test_links_that_lead_back_add_nothing(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png", "a/x/1.png", "b/2.png")
    (root / "a" / "x" / "up").symlink_to(root / "a")
    (root / "a" / "top").symlink_to(root)
    (root / "b" / "itself").symlink_to(root / "b")
    (root / "b" / "nowhere").symlink_to(root / "b" / "nowhere")
    assert load("imagefolder", data_dir=root).size == 3
    assert reds(root) == {0: {0, 1}, 1: {2}}


def test_a_folder_that_is_linked_twice_counts_once(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path / "elsewhere", "0.png", "x/1.png")
    root = fill(tmp_path / "root", "b/0.png")
    (root / "a").mkdir()
    for name in ("first", "second"):
        (root / "a" / name).symlink_to(elsewhere)
    assert load("imagefolder", data_dir=root).size == 3


def test_a_broken_link_further_down_is_named(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/x/0.png", "b/1.png")
    (root / "a" / "x" / "z.png").symlink_to(root / "absent.png")
    with pytest.raises(DataError, match=r"a/x/z\.png is a link that leads nowhere: mend it or move it"):
        load("imagefolder", data_dir=root)


# --------------------------------------------------------------------------- flat


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    root = fill(tmp_path, *(f"{number}.png" for number in range(12)))
    dataset = load("imagefolder", data_dir=root, resolution=4)
    assert (dataset.labelled, dataset.classes, dataset.size) == (False, 10, 12)
    assert re.fullmatch(rf"12 images, unlabelled, in {re.escape(str(root))}", dataset.origin)
    assert reds(root) == {None: set(range(12))}
    whole = dataset.batch(12, seed=5)
    assert whole.labels is None
    np.testing.assert_array_equal(dataset.batch(5, seed=5).images, whole.images[:5])


def test_hidden_folders_do_not_make_a_flat_folder_mixed(tmp_path: Path) -> None:
    root = fill(tmp_path, "0.png", "1.png", ".thumbnails/2.png")
    assert reds(root) == {None: {0, 1}}


def test_pictures_beside_sub_folders_are_refused(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png", "b/1.png", "stray.png")
    message = (
        f"{root} holds pictures (stray.png) beside sub-folders (a): put every picture into the folder of its "
        "class, or the sub-folders elsewhere"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        load("imagefolder", data_dir=root)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), r"holds no images: --data-dir must be a folder of images \(png, .*\), or with one sub-folder"),
        (
            ("a/0.png",),
            "at least 2 class folders but has 1: if the images are .*, pass --data-dir .*/a$",
        ),
        (("images/0.png", "images/1.png"), "pass --data-dir .*/images$"),
    ],
)
def test_too_few_classes(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load("imagefolder", data_dir=fill(tmp_path, *names))


# --------------------------------------------------------------------------- grey


@pytest.mark.parametrize("nested", [True, False])
def test_one_channel_is_the_luminance_of_pixels_and_statistics(tmp_path: Path, nested: bool) -> None:
    rng = np.random.default_rng(0)
    pixels: dict[str, Any] = {}
    for name in ("a/0.png", "b/1.png") if nested else ("0.png", "1.png"):
        pixels[name] = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        (tmp_path / name).parent.mkdir(exist_ok=True)
        image_module.fromarray(pixels[name]).save(tmp_path / name)
    dataset = load("imagefolder", data_dir=tmp_path, resolution=6, channels_in=1)
    assert dataset.channels == 1
    images = dataset.batch(2, seed=0).images
    assert images.shape == (2, 1, 6, 6)
    weights = np.array([0.299, 0.587, 0.114])
    mean, std = weights @ [0.485, 0.456, 0.406], weights @ [0.229, 0.224, 0.225]
    expected = [((rgb / 255) @ weights - mean) / std for rgb in pixels.values()]
    for image in images[:, 0]:
        assert min(np.abs(image - wanted).max() for wanted in expected) < 1e-5


def test_a_grey_picture_keeps_its_values_and_pillow_agrees(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image_module.fromarray(grey).save(tmp_path / "0.png")
    batch = load("imagefolder", data_dir=tmp_path, resolution=16, channels_in=1).batch(1, seed=0)
    mean, std = 0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406, 0.299 * 0.229 + 0.587 * 0.224 + 0.114 * 0.225
    np.testing.assert_allclose((batch.images[0, 0] * std + mean) * 255, grey, atol=1e-3)


def test_three_channels_stay_as_they_were(tmp_path: Path) -> None:
    root = fill(tmp_path, "a/0.png", "b/1.png")
    default = load("imagefolder", data_dir=root, resolution=4).batch(2, seed=0)
    told = load("imagefolder", data_dir=root, resolution=4, channels_in=3).batch(2, seed=0)
    assert default.digest() == told.digest()
    with pytest.raises(InvalidValueError, match=r"must be 1 \(grey\) or 3 for imagefolder but got 2"):
        load("imagefolder", data_dir=root, channels_in=2)


# ------------------------------------------------------------------- parts and what is left out


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("train", "val"),
        ("training_set", "test_set"),
        ("train2017", "val2017"),
        ("seg_train", "seg_test"),
        ("TrainImages", "TestImages"),
        ("train-images", "dev-images"),
        ("Training Data", "holdout"),
    ],
)
def test_of_parts_of_a_data_set_only_that_of_training_is_searched(
    tmp_path: Path, first: str, second: str
) -> None:
    fill(tmp_path, *(f"{part}/{label}/1.png" for part in (first, second) for label in ("cats", "dogs")))
    lines: list[str] = []
    dataset = load("imagefolder", data_dir=tmp_path, resolution=4, report=lines.append)
    assert lines == [f"only {tmp_path / first} is searched; {second} is left to be judged on"]
    assert (dataset.classes, dataset.size) == (2, 2)
    assert dataset.origin == f"2 images of 2 classes in {tmp_path / first}"
    inside = load("imagefolder", data_dir=tmp_path / first, resolution=4)
    assert dataset.identity == inside.identity
    assert (dataset.held_out() is None, inside.held_out()) == (False, None)


@pytest.mark.parametrize(
    ("names", "passed"),
    [
        (("val/a/1.png", "val/b/1.png", "test/a/1.png"), "val"),
        (("train/a/1.png", "training/b/1.png", "val/a/1.png"), "train"),
        (("test/a/1.png", "test/b/1.png"), "test"),
    ],
)
def test_parts_of_which_none_or_several_are_to_train_on(
    tmp_path: Path, names: tuple[str, ...], passed: str
) -> None:
    fill(tmp_path, *names)
    with pytest.raises(DataError, match=rf"parts of a data set, not classes: pass --data-dir \S*/{passed}$"):
        load("imagefolder", data_dir=tmp_path)


def test_what_is_held_out_has_the_classes_of_what_is_searched(tmp_path: Path) -> None:
    """A class more in train/ moves the numbers of val/, and no picture of val/ is searched."""
    fill(tmp_path, "train/a/0.png", "train/b/1.png", "train/c/2.png", "train/c/3.png")
    picture(tmp_path / "val/b/x.png", 201)
    picture(tmp_path / "val/c/y.png", 202)
    picture(tmp_path / "test/a/z.png", 203)
    lines: list[str] = []
    dataset = load("imagefolder", data_dir=tmp_path, resolution=4, channels_in=1, report=lines.append)
    assert lines == [f"only {tmp_path}/train is searched; val is left to be judged on; not looked at: test"]
    held = dataset.held_out()
    assert isinstance(held, ImageFolder)
    assert (held.classes, held.size, held.resolution, held.channels) == (3, 2, 4, 1)
    (batch,) = held.every(5)
    assert batch.labels is not None
    assert batch.labels.tolist() == [1, 2]
    assert reds(tmp_path) == {0: {0}, 1: {1}, 2: {2, 3}}
    batches = list(load("imagefolder", data_dir=tmp_path / "train", resolution=4).every(3))  # type: ignore[attr-defined]
    assert [len(each.images) for each in batches] == [3, 1]
    values = [np.rint((each.images[:, 0, 0, 0] * 0.229 + 0.485) * 255).astype(int) for each in batches]
    assert np.concatenate(values).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("val/a/1.png", "val/d/1.png"), r"val has a class d that \S*train lacks: move it away"),
        (("val/1.png", "val/2.png"), "must both have class folders, or neither"),
        (("val/a/1.png",), "must hold at least 2 class folders"),
    ],
)
def test_a_held_out_part_that_does_not_fit(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    fill(tmp_path, "train/a/0.png", "train/b/1.png", *names)
    dataset = load("imagefolder", data_dir=tmp_path, resolution=4)
    with pytest.raises(DataError, match=message):
        dataset.held_out()


def test_parts_that_hold_a_folder_of_their_own_name(tmp_path: Path) -> None:
    fill(tmp_path, *(f"seg_{p}/seg_{p}/{c}/1.png" for p in ("train", "test") for c in ("sea", "street")))
    dataset = load("imagefolder", data_dir=tmp_path, resolution=4)
    assert dataset.origin.endswith("seg_train/seg_train")
    held = dataset.held_out()
    assert held is not None
    assert held.origin.endswith("seg_test/seg_test")


def test_parts_without_classes(tmp_path: Path) -> None:
    fill(tmp_path, "train/x/1.png", "train/y/1.png")
    assert load("imagefolder", data_dir=tmp_path, resolution=4).held_out() is None
    flat = fill(tmp_path / "flat", "train/1.png", "train/2.png", "val/3.png")
    dataset = load("imagefolder", data_dir=flat, resolution=4)
    held = dataset.held_out()
    assert held is not None
    assert (dataset.labelled, dataset.size, held.labelled, held.size) == (False, 2, False, 1)


# ------------------------------------------------------------------- resolution


@pytest.mark.parametrize(
    ("sizes", "side", "said"),
    [
        ([(64, 64)] * 3, 64, None),
        ([(36, 36)] * 3, 32, "pictures are resized to 32 x 32 (their median is 36 x 36)"),
        ([(5, 5)] * 3, 8, "pictures are resized to 8 x 8 (their median is 5 x 5)"),
        (
            [(500, 375)] * 3,
            224,
            "cropped to their centre squares and resized to 224 x 224 (their median is 500 x",
        ),
        ([(40, 24), (24, 40)], 24, "pictures are cropped to their centre squares (their median is 32 x 32)"),
        ([(16, 16), (64, 64), (64, 64)], 64, "pictures are resized to 64 x 64"),
    ],
)
def test_the_side_is_the_pictures_own(
    tmp_path: Path, sizes: list[tuple[int, int]], side: int, said: str | None
) -> None:
    for number, size in enumerate(sizes):
        image_module.new("RGB", size).save(tmp_path / f"{number}.png")
    lines: list[str] = []
    assert load("imagefolder", data_dir=tmp_path, report=lines.append).resolution == side
    assert len(lines) == (said is not None)
    assert said is None or said in lines[0]
    lines.clear()
    assert load("imagefolder", data_dir=tmp_path, resolution=12, report=lines.append).resolution == 12
    assert "resized to 12 x 12" in lines[0]


def test_pictures_that_cannot_be_read_do_not_count_and_are_named_when_drawn(tmp_path: Path) -> None:
    fill(tmp_path, "a.png")
    for name in ("b.png", "c.jpg"):
        (tmp_path / name).write_bytes(b"no picture")
    dataset = load("imagefolder", data_dir=tmp_path)
    assert dataset.resolution == 8
    with pytest.raises(DataError, match=r"[bc]\.(png|jpg)"):
        dataset.batch(3, seed=0)
    (tmp_path / "a.png").unlink()
    assert load("imagefolder", data_dir=tmp_path).resolution == 224


# ------------------------------------------------------------------- no name


def test_a_folder_says_what_it_is(tmp_path: Path) -> None:
    fill(tmp_path / "pictures", "a/0.png", "b/1.png")
    lines: list[str] = []
    found = load(None, data_dir=tmp_path / "pictures", resolution=4, report=lines.append)
    assert (found.name, lines) == ("imagefolder", [f"{tmp_path}/pictures was taken for --data imagefolder"])
    assert (load(None).name, load(None, resolution=16, channels_in=1).channels) == ("gaussian", 1)
    for name, folder in (("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")):
        (tmp_path / name / folder).mkdir(parents=True)
        assert implied(tmp_path / name) == name
        with pytest.raises(DataError, match="no training batch"):
            load(None, data_dir=tmp_path / name)
    (tmp_path / "cifar10" / "cifar-100-python").mkdir()
    with pytest.raises(InvalidValueError, match="holds cifar10 and cifar100: pass --data with one of them"):
        load(None, data_dir=tmp_path / "cifar10")
    with pytest.raises(DataError, match="no folder"):
        load(None, data_dir=tmp_path / "absent", report=lines.append)
    assert len(lines) == 1


@pytest.mark.parametrize("name", ["train", "test", "training_set", "valid", "freight train", "trainers"])
def test_beside_other_classes_such_a_name_is_a_class(tmp_path: Path, name: str) -> None:
    fill(tmp_path, f"{name}/1.png", "ship/1.png", "car/1.png")
    assert load("imagefolder", data_dir=tmp_path).classes == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x", "1 without an ending"),
        ("0123456789abcdef", "1 without an ending"),
        ("x.jpe", "1 jpe"),
        ("x.png.part", "1 part"),
        ("x.jpg~", "1 jpg~"),
        ("x.jpg_large", "1 jpg_large"),
        ("x.jpg.1", "1 1"),
        ("x.JPG (copy)", "1 jpg (copy)"),
    ],
)
def test_what_may_be_a_picture_and_is_not_read_is_said(tmp_path: Path, name: str, said: str) -> None:
    fill(tmp_path, "a/1.png", "b/1.png")
    (tmp_path / "a" / name).write_bytes(b"x")
    for text in ("README", "LICENSE", "notes.txt", "labels.csv", ".hidden"):
        (tmp_path / "a" / text).write_bytes(b"x")
    lines: list[str] = []
    assert load("imagefolder", data_dir=tmp_path, resolution=4, report=lines.append).size == 2
    assert [line.partition(": ")[2].partition(";")[0] for line in lines] == [said]
