"""torchvision's own data sets as `data=`: real classes of it, reading files in their formats."""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Subset

import znas
from tests.command import SMALL, here, refused
from tests.no_network import SKIPPED
from znas_engine.data import Batch, Dataset, load
from znas_engine.data.arrays import Arrays
from znas_engine.errors import DataError, InvalidValueError

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "five-classes"
NAMES = ["airplane", "automobile", "cat", "frog", "ship"]

Pixels = NDArray[np.uint8]


def pictures(part: str) -> tuple[Pixels, NDArray[np.int64]]:
    """The committed pictures, uint8 [n, 32, 32, 3], and their labels."""
    files = [(file, k) for k, name in enumerate(NAMES) for file in sorted((PICTURES / part / name).iterdir())]
    images = []
    for file, _ in files:
        with Image.open(file) as picture:
            images.append(np.asarray(picture.convert("RGB")))
    return np.stack(images), np.array([k for _, k in files])


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """(class, folder): torchvision's CIFAR10 of other files, with the committed pictures."""
    from torchvision.datasets import CIFAR10

    root = tmp_path_factory.mktemp("cifar")
    folder = root / CIFAR10.base_folder
    folder.mkdir()
    sums = {}
    for name, part in (("data_batch_1", "train"), ("test_batch", "val"), ("batches.meta", None)):
        held: dict[str, Any] = {"label_names": NAMES}
        if part is not None:
            images, labels = pictures(part)
            held = {"data": images.transpose(0, 3, 1, 2).reshape(len(images), -1), "labels": labels.tolist()}
        data = pickle.dumps(held)
        (folder / name).write_bytes(data)
        sums[name] = hashlib.md5(data).hexdigest()
    body: dict[str, Any] = {
        "train_list": [["data_batch_1", sums["data_batch_1"]]],
        "test_list": [["test_batch", sums["test_batch"]]],
        "meta": {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]},
    }
    return type("Small", (CIFAR10,), body), root


def everything(dataset: Dataset) -> Batch:
    (batch,) = dataset.every(dataset.size)
    return batch


def test_a_set_is_its_pictures(cifar: Any) -> None:
    kind, root = cifar
    dataset = load(kind(root))
    expected = load(pictures("train"))
    assert dataset.batch(60, seed=3).digest() == expected.batch(60, seed=3).digest()
    assert dataset.preprocessing().classes == tuple(NAMES)
    assert dataset.preprocessing().scale == 255
    result = znas.search(data=kind(root), images=16, supernet_channels=4, supernet_cells=1, finalists=3)
    assert (result.macro.classes, result.preprocess.classes) == (5, tuple(NAMES))  # type: ignore[union-attr]


def test_what_is_held_out_is_the_test_part_shown_as_the_training_part(cifar: Any) -> None:
    kind, root = cifar
    dataset = load(kind(root), resolution=16)
    held = dataset.held_out()
    assert held is not None
    assert held.preprocessing() == dataset.preprocessing()
    test = pictures("val")
    found = everything(held)
    np.testing.assert_array_equal(found.labels, test[1])
    own = Arrays(*test, resolution=16)  # by its own mean and deviation
    facts = [each.preprocessing() for each in (own, dataset)]
    (mean, std), (wanted, by) = [
        [np.reshape(v, (-1, 1, 1)) for v in (each.mean, each.std) if v is not None] for each in facts
    ]
    np.testing.assert_allclose(found.images, (everything(own).images * std + mean - wanted) / by, atol=1e-4)
    assert load(kind(root, train=False)).held_out() is None


def test_transforms_are_the_sets_own(cifar: Any) -> None:
    """Whatever gives the same pixels gives the same batches, and the test part has the same transforms."""
    from torchvision import transforms
    from torchvision.transforms import v2

    kind, root = cifar
    whole = load(kind(root)).batch(50, seed=1).digest()
    for transform in (transforms.PILToTensor(), v2.ToImage(), v2.Compose([v2.ToImage(), v2.ToPureTensor()])):
        assert load(kind(root, transform=transform)).batch(50, seed=1).digest() == whole
    to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    for transform in (transforms.ToTensor(), to_float):  # both round to float32, not alike
        floats = load(kind(root, transform=transform)).batch(50, seed=1).images
        np.testing.assert_allclose(floats, load(kind(root)).batch(50, seed=1).images, atol=1e-5)
    small = v2.Compose([v2.ToImage(), v2.Resize(12), v2.Grayscale()])
    held = load(kind(root, transform=small), channels_in=1).held_out()
    assert held is not None
    assert everything(held).images.shape == (100, 1, 12, 12)
    with pytest.raises(InvalidValueError, match="must be uint8 or float32 but got float16"):
        load(kind(root, transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float16, scale=True)])))


def test_a_subset_knows_the_classes_of_the_whole(cifar: Any) -> None:
    kind, root = cifar
    some = load(Subset(Subset(kind(root), range(120)), range(100)))  # two classes of five
    assert (some.size, some.classes, some.preprocessing().classes) == (100, 5, tuple(NAMES))
    assert some.held_out() is None


def test_folders_and_noise() -> None:
    from torchvision.datasets import FakeData, ImageFolder

    folder = load(ImageFolder(PICTURES / "train"))
    assert folder.batch(50, seed=0).digest() == load(pictures("train")).batch(50, seed=0).digest()
    assert folder.preprocessing().classes == tuple(NAMES)
    noise = load(FakeData(40, (1, 9, 9), 4))
    assert (noise.size, noise.classes, noise.resolution) == (40, 4, 9)


def test_pictures_of_several_sizes_need_a_transform(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    for k in range(4):
        (tmp_path / "ab"[k % 2]).mkdir(exist_ok=True)
        pixels = np.random.default_rng(k).integers(0, 256, (8 + k, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "ab"[k % 2] / f"{k}.png")
    message = r"item 1 of ImageFolder is uint8 \[10, 9, 3\] but the first .* in its transform$"
    with pytest.raises(DataError, match=message):
        load(ImageFolder(tmp_path))
    assert load(ImageFolder(tmp_path, transform=v2.Resize((6, 6)))).resolution == 6


# --------------------------------------------------------------------------- by name


def write_mnist(folder: Path, images: Pixels, labels: NDArray[np.int64], part: str) -> None:
    """Files of MNIST's format, uint8 [n, side, side]."""
    for name, values in (("images-idx3", images), ("labels-idx1", labels.astype(np.uint8))):
        head = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
        (folder / f"{part}-{name}-ubyte").write_bytes(head + values.tobytes())


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a FashionMNIST whose class k is brighter the larger k is."""
    root = tmp_path_factory.mktemp("mnist")
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, size in (("train", 60), ("t10k", 20)):
        labels = np.arange(size) % 10
        images = rng.integers(0, 20, (size, 28, 28)) + 23 * labels[:, None, None]
        write_mnist(folder, images.astype(np.uint8), labels, part)
    return root


def test_by_name(fashion: Path) -> None:
    from torchvision.datasets import FashionMNIST

    dataset = load("torchvision:FashionMNIST", data_dir=fashion, channels_in=1)
    assert (dataset.size, dataset.classes, dataset.resolution) == (60, 10, 28)
    names = dataset.preprocessing().classes
    assert names is not None
    assert names[9] == "Ankle boot"
    held = dataset.held_out()
    assert held is not None
    test = everything(held)
    assert test.labels is not None
    np.testing.assert_array_equal(test.labels[test.images.mean((1, 2, 3)).argsort()], np.arange(20) // 2)
    for same in ("torchvision.datasets:FashionMNIST", FashionMNIST):
        other = load(same, data_dir=fashion, channels_in=1)
        assert other.batch(20, seed=0).digest() == dataset.batch(20, seed=0).digest()


def test_emnist_keeps_its_split(tmp_path: Path) -> None:
    """Its `split` is a choice of classes; which part it is, its base class is told."""
    from torchvision.datasets import EMNIST

    folder = tmp_path / "EMNIST" / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for part, size in (("train", 94), ("test", 47)):
        images = rng.integers(0, 256, (size, 28, 28)).astype(np.uint8)
        write_mnist(folder, images, np.arange(size) % 47, f"emnist-balanced-{part}")
    dataset = load(EMNIST(tmp_path, split="balanced"))
    held = dataset.held_out()
    assert held is not None
    assert (dataset.size, held.size, held.classes) == (94, 47, 47)


def test_imagenettes_other_part_is_val(tmp_path: Path) -> None:
    """And its classes have several names each."""
    from torchvision.datasets import Imagenette

    images, labels = pictures("val")
    for part, step in (("train", 1), ("val", 2)):
        for k, name in enumerate(Imagenette._WNID_TO_CLASS):
            folder = tmp_path / "imagenette2" / part / name
            folder.mkdir(parents=True)
            for i, image in enumerate(images[labels == k % 5][::step][:4]):
                Image.fromarray(image).save(folder / f"{i}.JPEG", format="PNG")
    dataset = load("torchvision:Imagenette", data_dir=tmp_path)
    names = dataset.preprocessing().classes
    assert names is not None
    assert names[0] == "tench, Tinca tinca"
    held = dataset.held_out()
    assert held is not None
    np.testing.assert_array_equal(everything(held).labels, np.repeat(np.arange(10), 4))


def test_without_its_test_part_nothing_is_held_out(fashion: Path, tmp_path: Path) -> None:
    """MNIST's files are all looked for at once; of CIFAR's kind a file that has vanished."""
    dataset = load("torchvision:FashionMNIST", data_dir=fashion)
    for file in (fashion / "FashionMNIST" / "raw").iterdir():
        if file.name.startswith("t10k"):
            file.rename(tmp_path / file.name)
    assert dataset.held_out() is None
    for file in tmp_path.iterdir():
        file.rename(fashion / "FashionMNIST" / "raw" / file.name)
    assert dataset.held_out() is not None


def test_from_the_search_to_the_accuracy_on_the_test_part(fashion: Path, tmp_path: Path) -> None:
    data = ["--data", "torchvision:FashionMNIST", "--data-dir", fashion, "--channels-in", "1"]
    size = ["--network-channels", "4", "--network-cells", "1"]
    done = here(
        "search", "--preset", "naswot", *SMALL[:4], *data, *size, "--images", "20", "--out", tmp_path / "run"
    )
    assert done.returncode == 0, done.stderr
    assert "60 images of 10 classes" in done.stdout
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert "torchvision" in written["versions"]
    torch.save(znas.load(tmp_path / "run").to_torch().state_dict(), tmp_path / "weights.pt")
    done = here(
        "deploy", tmp_path / "run", "--weights", tmp_path / "weights.pt", "--json", "--out", tmp_path / "x"
    )
    assert done.returncode == 0, done.stderr
    check = json.loads(done.stdout)["check"]
    assert (check["images"], check["agreement"]) == (20, 1)
    assert check["torch"] is not None


# --------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:cifar-10", "no class 'cifar-10'; did you mean torchvision:CIFAR10?"),
        ("torchvision:datasets", "torchvision.datasets has no class 'datasets'"),
        ("torchvision:VisionDataset", None),
        ("torchvision:CIFAR10", "nothing is downloaded here: in Python, CIFAR10(FOLDER, download=True) does"),
        ("torchvision:EMNIST", "torchvision makes no EMNIST"),
    ],
)
def test_one_line(name: str, message: str | None, tmp_path: Path) -> None:
    said = refused(here("search", "--data", name, "--data-dir", tmp_path))
    assert message is None or message in said


def test_a_folder_is_needed() -> None:
    assert refused(here("search", "--data", "torchvision:CIFAR10")).endswith(
        "`data_dir` is required for torchvision:CIFAR10: pass --data-dir FOLDER"
    )


EVERY = """
import sys
from torchvision import datasets
from znas_engine.data import load
from znas_engine.errors import ZnasError
for name in sys.argv[2:]:
    try:
        load("torchvision:" + name, data_dir=sys.argv[1])
    except ZnasError as error:
        assert "nothing is downloaded here" in str(error), error
    else:
        raise AssertionError(name)
print("done")
"""


def test_nothing_is_downloaded(tmp_path: Path) -> None:
    """Of every set that would, some without being asked: a socket is the death of the process."""
    from torchvision import datasets

    names = [
        name
        for name in datasets.__all__
        if inspect.isclass(getattr(datasets, name))
        and "download" in inspect.signature(getattr(datasets, name)).parameters
    ]
    assert {"CIFAR10", "SEMEION", "Food101"} <= {*names}
    command = [
        sys.executable,
        ROOT / "tests" / "no_network.py",
        sys.executable,
        "-c",
        EVERY,
        tmp_path,
        *names,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=ROOT)
    if done.returncode == SKIPPED:
        pytest.skip(done.stdout.strip())
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
