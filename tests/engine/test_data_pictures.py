"""Picture folders as people have them: what viewers show is what is read, and nothing is left out unsaid."""

from __future__ import annotations

import os
import pickle
import re
import struct
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from znas_engine import paths
from znas_engine.data import load, pictures
from znas_engine.errors import DataError, InvalidValueError

image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
image_ops = pytest.importorskip("PIL.ImageOps")

MEAN, STD = (np.reshape(values, (3, 1, 1)) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def save(path: Path, picture: Any = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image_module.fromarray(noise(6, 6, 3, seed=len(str(path)))) if picture is None else picture).save(
        path, **options
    )
    return path


def classes(root: Path, *names: str) -> Path:
    for name in names:
        save(root / name / "0.png")
    return root


def shown(folder: Path, side: int = 8) -> np.ndarray:
    """uint8-valued [3, side, side]: the only picture of a flat folder."""
    image = load("imagefolder", data_dir=folder, resolution=side).batch(1, seed=0).images[0]
    return np.rint((image * STD + MEAN) * 255).astype(np.uint8)


def as_planes(picture: Any, side: int = 8) -> np.ndarray:
    square = min(picture.size)
    left, top = (picture.width - square) / 2, (picture.height - square) / 2
    box = (left, top, left + square, top + square)
    return np.asarray(picture.resize((side, side), image_module.Resampling.BILINEAR, box)).transpose(2, 0, 1)


def refused(folder: Path, match: str, *, draw: bool = False) -> None:
    def attempt() -> None:
        dataset = load("imagefolder", data_dir=folder, resolution=4)
        if draw:
            dataset.batch(dataset.size, seed=0)

    with pytest.raises(DataError, match=match) as caught:
        attempt()
    assert "delete" not in str(caught.value)
    assert len(str(caught.value)) <= 300


# --------------------------------------------------------------------------- as viewers show them


def exif(orientation: int) -> Any:
    found = image_module.Exif()
    found[0x0112] = orientation
    return found


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("mode", "suffix"), [("RGB", "png"), ("L", "png"), ("P", "png"), ("RGB", "webp")])
def test_a_picture_is_turned_as_its_exif_says(
    tmp_path: Path, orientation: int, mode: str, suffix: str
) -> None:
    picture = image_module.fromarray(noise(24, 16, 3)).convert(mode)
    options = {"lossless": True} if suffix == "webp" else {}
    save(tmp_path / f"0.{suffix}", picture, exif=exif(orientation), **options)
    with image_module.open(tmp_path / f"0.{suffix}") as stored:
        upright = image_ops.exif_transpose(stored).convert("RGB")
    np.testing.assert_array_equal(shown(tmp_path), as_planes(upright))


@pytest.mark.parametrize("orientation", [3, 6])
def test_cmyk_is_turned_too(tmp_path: Path, orientation: int) -> None:
    save(tmp_path / "0.jpg", image_module.fromarray(noise(24, 16, 4), "CMYK"), exif=exif(orientation))
    with image_module.open(tmp_path / "0.jpg") as stored:
        upright = image_ops.exif_transpose(stored).convert("RGB")
    np.testing.assert_array_equal(shown(tmp_path), as_planes(upright))


@pytest.mark.parametrize(
    "damage", [b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0", b"nonsense"]
)
def test_damaged_exif_leaves_a_picture_as_it_is_stored(tmp_path: Path, damage: bytes) -> None:
    picture = image_module.fromarray(noise(16, 16, 3))
    save(tmp_path / "0.png", picture, exif=b"Exif\0\0" + damage)
    np.testing.assert_array_equal(shown(tmp_path), as_planes(picture))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_transparency_is_shown_on_white(tmp_path: Path, mode: str) -> None:
    """The left half is a colour that nobody sees, the right half black."""
    hidden = image_module.new("RGB", (8, 8), "black")
    hidden.paste((90, 90, 90), (0, 0, 4, 8))
    options: dict[str, Any] = {}
    if mode in ("RGBA", "LA"):
        picture = hidden.convert(mode)
        alpha = image_module.new("L", (8, 8), 255)
        alpha.paste(0, (0, 0, 4, 8))
        picture.putalpha(alpha)
    else:
        picture = hidden.quantize(4) if mode == "P" else hidden.convert(mode)
        options = {"transparency": picture.getpixel((0, 0))}
    save(tmp_path / "0.png", picture, **options)
    found = shown(tmp_path)
    assert (found[:, :, :4] == 255).all()
    assert (found[:, :, 4:] == 0).all()


def test_half_transparent_is_half_white(tmp_path: Path) -> None:
    save(tmp_path / "0.png", image_module.new("RGBA", (8, 8), (0, 0, 0, 127)))
    assert (shown(tmp_path) == 128).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_opaque_stays_bit_for_bit(tmp_path: Path, mode: str) -> None:
    picture = image_module.fromarray(noise(16, 16, 3)).convert(mode)
    save(tmp_path / "0.png", picture)
    np.testing.assert_array_equal(shown(tmp_path), as_planes(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("content", "suffix"), [("png", "jpg"), ("bmp", "png"), ("webp", "jpeg"), ("ppm", "bmp")]
)
def test_the_content_decides_not_the_ending(tmp_path: Path, content: str, suffix: str) -> None:
    picture = image_module.fromarray(noise(8, 8, 3))
    options = {"lossless": True} if content == "webp" else {}
    save(tmp_path / f"0.{suffix}", picture, format=content, **options)
    np.testing.assert_array_equal(shown(tmp_path), as_planes(picture))


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_the_first_frame_of_what_moves(tmp_path: Path, suffix: str) -> None:
    first, second = (image_module.fromarray(noise(8, 8, 3, seed=seed)) for seed in (1, 2))
    save(tmp_path / f"0.{suffix}", first, save_all=True, append_images=[second], lossless=True)
    np.testing.assert_array_equal(shown(tmp_path), as_planes(first))


# --------------------------------------------------------------------------- what lies beside pictures

FOREIGN = ["._0.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a/._0.png", "@eaDir/0.png/thumb.jpg"]
FOREIGN += [".ipynb_checkpoints/0-checkpoint.png", "$RECYCLE.BIN/0.png", "lost+found/1.png", "#recycle/2.png"]


@pytest.mark.parametrize("below", ["", "a", "a/images"])
def test_what_systems_leave_behind_is_no_picture_and_no_class(tmp_path: Path, below: str) -> None:
    root = classes(tmp_path, "a", "b")
    save(root / "a/images/1.png")
    before = load("imagefolder", data_dir=root)
    for name in FOREIGN:
        path = root / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"of another system")
    after = load("imagefolder", data_dir=root)
    assert (after.size, after.classes, after.identity) == (3, 2, before.identity)


@pytest.mark.parametrize(
    ("names", "part"),
    [
        (["train/a", "train/b", "val/a", "val/b"], "train"),
        (["Train/a", "Train/b", "TEST/a"], "Train"),
        (["training/a", "training/b", "validation/a"], "training"),
        (["train/a", "train/b"], "train"),
        (["train", "test"], "train"),
        (["train/a", "train/b", "val/a", "docs/x/y/z"], "train"),
    ],
)
def test_parts_of_a_data_set_are_no_classes(tmp_path: Path, names: list[str], part: str) -> None:
    root = classes(tmp_path, *names)
    found, inside = (load("imagefolder", data_dir=folder, resolution=4) for folder in (root, root / part))
    assert (found.size, found.classes) == (inside.size, inside.classes)
    assert found.identity == inside.identity
    assert found.origin == inside.origin


def test_without_a_part_to_train_on_one_must_be_named(tmp_path: Path) -> None:
    root = classes(tmp_path, "valid/a", "test/a")
    refused(root, rf"are parts of a data set, not classes: pass --data-dir {root}/valid$")


def test_tiny_imagenet(tmp_path: Path) -> None:
    root = tmp_path / "tiny-imagenet-200"
    for name in ("n01443537", "n01629819"):
        save(root / "train" / name / "images" / f"{name}_0.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text("0")
    save(root / "val/images/val_0.JPEG")
    save(root / "test/images/test_0.JPEG")
    (root / "wnids.txt").write_text("n01443537")
    said: list[str] = []
    dataset = load("imagefolder", data_dir=root, resolution=4, report=said.append)
    assert "train is searched; val is left to be judged on; not looked at: test" in said[0]
    with pytest.raises(DataError, match=r"pass --data-dir .*/val/images$"):
        dataset.held_out()
    refused(tmp_path, "pass --data-dir .*/tiny-imagenet-200$")
    refused(root / "val", "pass --data-dir .*/val/images$")
    assert dataset.classes == 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert load("imagefolder", data_dir=classes(tmp_path, "bus", "car", "train")).classes == 3


def test_other_formats_are_said_once_with_their_number(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    for name in ("a/1.gif", "a/2.GIF", "b/x/3.gif", "b/4.tiff", "a/5.heic", "b/notes.txt"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    said: list[str] = []
    dataset = load("imagefolder", data_dir=root, resolution=6, report=said.append)
    dataset.batch(2, seed=0)
    kinds = "3 gif, 1 heic, 1 tiff; only png, jpg, jpeg, bmp, webp, ppm are read"
    assert said == [f"left out of {root}: {kinds}"]
    (root / "a" / "0.png").unlink()
    refused(root, r"class folder \S*/a holds no images \(.*; it has 2 gif, 1 heic\): add some, or move it")


def test_nothing_is_said_where_nothing_is_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    root = classes(tmp_path, "a", "b")
    load("imagefolder", data_dir=root, resolution=6, report=said.append).batch(2, seed=0)
    assert not said


def test_one_folder_is_one_class(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    (root / "c").symlink_to(root / "a")
    refused(root, "the classes a and c of .* are one folder, by a link: keep one there")


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    save(root / "a" / "1.png").rename(os.fsdecode(os.fsencode(root / "a") + b"/\xff\xfe.PNG"))
    dataset = load("imagefolder", data_dir=root, resolution=4)
    assert dataset.size == 3
    dataset.batch(2, seed=0)
    dataset.identity.encode()
    for path in (root / "a").iterdir():
        path.write_bytes(b"broken")
    refused(root, r"cannot decode \S+\.(PNG|png)", draw=True)


# --------------------------------------------------------------------------- no files, reasons


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    os.mkfifo(root / "a" / "1.png")
    refused(root, r"a/1\.png is a pipe or a device, no picture: move it elsewhere$")


def test_a_link_to_a_device_is_no_picture(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    (root / "a" / "1.png").symlink_to("/dev/zero")
    refused(root, r"a/1\.png is a pipe or a device, no picture")


def test_what_becomes_a_pipe_afterwards(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    dataset = load("imagefolder", data_dir=root, resolution=4)
    (root / "a" / "0.png").unlink()
    os.mkfifo(root / "a" / "0.png")
    with pytest.raises(DataError, match=r"0\.png cannot be read \(it is a pipe or a device, not a file\)"):
        dataset.batch(2, seed=0)


def test_a_file_as_large_as_a_disk(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    with (root / "a" / "0.png").open("r+b") as file:
        file.truncate(100 << 30)  # sparse: takes no room
    refused(root, r"0\.png cannot be read \(it has more than 402,653,184 bytes\)", draw=True)


@pytest.mark.parametrize("number", [13, 24, 5])  # EACCES, EMFILE, EIO
def test_the_systems_reason_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    root = classes(tmp_path, "a", "b")
    dataset = load("imagefolder", data_dir=root, resolution=4)

    def fail(path: Any, flags: int) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(os, "open", fail)
    message = rf"^the picture \S+0\.png cannot be read \({re.escape(os.strerror(number))}\)$"
    with pytest.raises(DataError, match=message):
        dataset.batch(2, seed=0)


def test_no_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = classes(tmp_path, "a", "b")

    def fail(picture: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(pictures, "as_shown", fail)
    refused(root, r"there is not enough memory to decode \S+0\.png: make it smaller", draw=True)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "it is empty"),
        (b"GIF89a" + bytes(20), "it is a GIF"),
        (b"II*\0" + bytes(20), "it is a TIFF"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "it is a HEIC"),
        (b"\x93NUMPY" + bytes(20), "it is a NumPy array"),
        (b"<html>404", "it is text, such as an error page or an SVG"),
        (b"RIFF\0\0\0\0WEBPVP8X", "[a-zA-Z]+Error"),
        (bytes(64), "UnidentifiedImageError"),
    ],
)
def test_content_that_is_no_picture_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    root = classes(tmp_path, "a", "b")
    (root / "a" / "0.png").write_bytes(content)
    refused(root, rf"cannot decode \S+a/0\.png \({what}\): ", draw=True)


def test_a_webp_that_claims_too_much_is_not_opened(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    head = b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + struct.pack("<I", 16_382)[:3]
    (root / "a" / "0.png").write_bytes(head + struct.pack("<I", 16_382)[:3] + bytes(99))
    refused(root, "is refused: it unfolds into more than 89,478,485 pixels; make it smaller", draw=True)


# --------------------------------------------------------------------------- memory


def test_decoders_share_one_budget() -> None:
    budget = pictures._Budget(10)
    at_once, most, lock = 0, 0, threading.Lock()

    def work(amount: int) -> None:
        nonlocal at_once, most
        for _ in range(50):
            with budget.take(amount):
                with lock:
                    at_once += min(amount, 10)
                    most = max(most, at_once)
                with lock:
                    at_once -= min(amount, 10)

    threads = [threading.Thread(target=work, args=(amount,)) for amount in (3, 4, 7, 10, 99, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 10
    assert budget._left == 10


def test_the_budget_is_whole_after_failures(tmp_path: Path) -> None:
    root = classes(tmp_path, "a", "b")
    raw = (root / "a" / "0.png").read_bytes()
    (root / "a" / "0.png").write_bytes(raw[: len(raw) // 2])
    refused(root, "cannot decode", draw=True)
    assert pictures._MEMORY._left == pictures._MEMORY.total


# --------------------------------------------------------------------------- paths


def test_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    classes(tmp_path / "pictures", "a", "b")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load("imagefolder", data_dir="~/pictures").size == 2
    assert load("imagefolder", data_dir="~/pictures///").size == 2


@pytest.mark.parametrize("name", ["imagefolder", "cifar10", "cifar100"])
@pytest.mark.parametrize("path", ["x" * 300, "/".join(["x" * 200] * 30), "a\0b", "", 3, b"x"])
def test_paths_that_name_nothing_are_one_line(name: str, path: Any) -> None:
    with pytest.raises((DataError, InvalidValueError)) as caught:
        load(name, data_dir=path)
    assert len(str(caught.value)) <= 300


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    for name in ("imagefolder", "cifar10"):
        with pytest.raises(DataError, match="no "):
            load(name, data_dir=".")


def test_a_folder_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = classes(tmp_path, "a", "b")

    def fail(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", fail)
    refused(root, r"the folder \S+ cannot be listed \(Permission denied\)")
    assert paths.kind(root) == "folder"


def test_a_folder_goes_to_another_process(tmp_path: Path) -> None:
    """Whoever is told of it, which no other process can be."""
    root = classes(tmp_path, "a", "b")
    here = load("imagefolder", data_dir=root, resolution=8, report=lambda line: None)
    there = pickle.loads(pickle.dumps(here))
    np.testing.assert_array_equal(there.batch(2, seed=1).images, here.batch(2, seed=1).images)
    assert there.identity == here.identity
