"""`Dataset.identity` follows the content that batches are made of, and nothing else."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from znas_engine.data import Batch, Dataset, imagefolder, load

image_module = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def folder(root: Path) -> Path:
    for number, name in enumerate(("a/0.png", "a/1.png", "b/0.png", "b/1.png")):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        image_module.new("RGB", (4, 4), (number, 9, 9)).save(root / name)
    return root


def cifar(root: Path, **changes: Any) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    content = {"data": pixels, "labels": [number % 10 for number in range(20)]} | changes
    (root / "cifar-10-batches-py").mkdir(parents=True, exist_ok=True)
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(pickle.dumps(content, protocol=4))
    return root


MAKERS = pytest.mark.parametrize(("name", "make"), [("imagefolder", folder), ("cifar10", cifar)])


@MAKERS
def test_another_place_spelling_and_time_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, make: Any
) -> None:
    here = make(tmp_path / "here")
    first = load(name, data_dir=here).identity
    shutil.copytree(here, tmp_path / "there")
    for path in (tmp_path / "there").rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "link").symlink_to(here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    for spelt in (tmp_path / "there", tmp_path / "link", ".", "../here/", "~/here", f"{here}/../here//"):
        assert load(name, data_dir=spelt).identity == first
    assert str(tmp_path) not in first


def test_the_same_size_and_time_with_another_content_is_another(tmp_path: Path) -> None:
    root = folder(tmp_path)
    path = root / "b" / "1.png"
    before, status, raw = load("imagefolder", data_dir=root).identity, path.stat(), path.read_bytes()
    path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert load("imagefolder", data_dir=root, resolution=4).identity != before
    path.write_bytes(raw)
    assert load("imagefolder", data_dir=root).identity == before


def test_pictures_that_change_places_are_others(tmp_path: Path) -> None:
    root = folder(tmp_path)
    before = load("imagefolder", data_dir=root).identity
    for first, second in (("a/0.png", "a/1.png"), ("a/0.png", "b/0.png")):
        (root / first).rename(root / "x")
        (root / second).rename(root / first)
        (root / "x").rename(root / second)
        assert load("imagefolder", data_dir=root, resolution=4).identity != before
        shutil.rmtree(root)
        folder(root)


def test_names_that_decide_nothing_do_not_matter(tmp_path: Path) -> None:
    root = folder(tmp_path)
    dataset = load("imagefolder", data_dir=root)
    before, drawn = dataset.identity, dataset.batch(4, seed=1).digest()
    (root / "b").rename(root / "c")
    (root / "a" / "1.png").rename(root / "a" / "7.png")
    (root / "notes.txt").write_text("beside")
    other = load("imagefolder", data_dir=root)
    assert other.identity == before
    assert other.batch(4, seed=1).digest() == drawn


def test_labels_and_flat_folders_are_told_apart(tmp_path: Path) -> None:
    root = folder(tmp_path / "nested")
    (root / "a" / "1.png").rename(root / "b" / ".keep")
    (root / "b" / ".keep").rename(root / "b" / "-.png")  # the first of class b now, the order as before
    moved = load("imagefolder", data_dir=root).identity
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, path in enumerate(sorted(folder(tmp_path / "other").rglob("*.png"))):
        shutil.copy(path, flat / f"{number}.png")
    identities = {moved, load("imagefolder", data_dir=flat).identity}
    identities.add(load("imagefolder", data_dir=tmp_path / "other").identity)
    assert len(identities) == 3


@MAKERS
def test_resolution_and_channels_are_part_of_it(tmp_path: Path, name: str, make: Any) -> None:
    root = make(tmp_path)
    options: list[dict[str, int]] = [{}, {"resolution": 16}, {"channels_in": 1}]
    assert len({load(name, data_dir=root, **each).identity for each in options}) == 3


@pytest.mark.parametrize("resolution", [None, 16])
def test_cifar_follows_pixels_and_labels(tmp_path: Path, resolution: int | None) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3072), dtype=np.uint8)
    pixels[3, 5] ^= 1
    labels = [number % 10 for number in range(20)]
    roots = [
        cifar(tmp_path / "0"),
        cifar(tmp_path / "1", data=pixels),
        cifar(tmp_path / "2", labels=[*labels[:-2], labels[-1], labels[-2]]),
    ]
    assert len({load("cifar10", data_dir=root, resolution=resolution).identity for root in roots}) == 3


def test_how_cifar_was_stored_does_not_matter(tmp_path: Path) -> None:
    one, other = cifar(tmp_path / "1"), cifar(tmp_path / "2", labels=np.arange(20) % 10, extra="x")
    assert load("cifar10", data_dir=one).identity == load("cifar10", data_dir=other).identity


def test_arrays_and_noise() -> None:
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), dtype=np.uint8)
    same = [load(images).identity, load(images.copy()).identity, load(list(images)).identity]
    assert len(set(same)) == 1
    others = {
        load(images, resolution=4).identity,
        load(images, channels_in=1).identity,
        load(images[::-1]).identity,
    }
    assert len(others | set(same)) == 4
    noise = [load("gaussian", **each).identity for each in ({}, {"resolution": 8}, {"channels_in": 1})]  # type: ignore[arg-type]
    assert len(set(noise)) == 3


def test_of_others_it_is_their_origin_unless_they_say_better() -> None:
    class Theirs(Dataset):
        name, classes, labelled, size, origin, resolution = "theirs", 2, False, 9, "from afar", 4

        def _draw(self, images: int, seed: int) -> Batch:
            return Batch(np.zeros((images, 3, 4, 4), np.float32), None)

    dataset = load(Theirs)
    assert dataset.identity == "from afar"
    said = Theirs()
    said.identity = "digest"
    assert load(said).identity == "digest"


def test_a_large_folder_says_that_it_takes_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(tmp_path)
    monkeypatch.setattr(imagefolder, "_MOST_FILES", 3)
    monkeypatch.setattr(imagefolder, "_SAMPLE", 2)
    said: list[str] = []
    dataset = load("imagefolder", data_dir=root, resolution=4, report=said.append)
    assert not said  # nothing is read before it is asked for
    before = dataset.identity
    assert len(said) == 1
    assert said[0].startswith(
        "4 pictures of 0.0 GB are told from others by their names, sizes and the content of 2:"
    )
    (root / "a" / "1.png").write_bytes(b"longer than it was" * 99)  # its size is seen
    assert load("imagefolder", data_dir=root, resolution=4).identity != before
