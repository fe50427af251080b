"""From what was found to a file that classifies: real trainings by Lightning on real pictures, small."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import znas
from tests.command import here, refused, supernet
from znas.checked import runtime
from znas.costs.reference import multiply_accumulates
from znas.training.baselines import BASELINES, baseline, to_onnx
from znas.training.fit import augmentation, fit
from znas.training.images import split
from znas.training.recipe import Recipe, recipe
from znas.training.result import interval
from znas.training.task import Machine, Task
from znas.training.train import FILES
from znas_engine.data import load
from znas_engine.errors import DeviceError, DivergedError, InvalidValueError, StorageError, ZnasError
from znas_engine.spaces import SPACES

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "examples" / "five-classes"
ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
#: With edges that reach no logits.
DEAD = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
#: Of a training that takes a second.
SMALL: dict[str, Any] = {
    "space": "nasbench201",
    "data_dir": PICTURES,
    "resolution": 8,
    "channels": 4,
    "cells": 1,
}
QUICK: dict[str, Any] = SMALL | {"epochs": 3, "batch": 60, "threads": 1}
ARGUMENTS = (
    *("train", ARCH, "--space", "nasbench201", "--data-dir", PICTURES, "--resolution", "8"),
    *("--channels", "4", "--cells", "1", "--epochs", "3", "--batch", "60", "--threads", "1"),
)


# --- trainings --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One training that others are compared with."""
    out: Path = tmp_path_factory.mktemp("whole") / "trained"
    znas.train(ARCH, out, **QUICK, tensorboard=True)
    return out


def test_the_folder_is_a_network_in_use(trained: Path) -> None:
    """Its file, its weights and its table agree, and TensorBoard reads what it logged."""
    assert {path.name for path in trained.iterdir()} == {*FILES, "tensorboard"}
    (row,) = json.loads((trained / "training.json").read_text())["rows"]
    judging = load("imagefolder", data_dir=PICTURES / "val", resolution=8)
    batch = next(judging.every(100))
    assert row["images"] == 100
    run = runtime((trained / "model.onnx").read_bytes(), 17)
    right = (run(batch.images).argmax(1) == batch.labels).mean()
    assert row["deployed_accuracy"] == pytest.approx(right)
    assert row["interval"][0] < row["accuracy"] < row["interval"][1]
    space: dict[str, Any] = {}
    exec((trained / "architecture.py").read_text(), space)
    network = space["build"]().eval()
    network.load_state_dict(load_file(trained / "weights.safetensors"))
    with torch.inference_mode():
        assert np.allclose(network(torch.from_numpy(batch.images)).numpy(), run(batch.images), atol=1e-4)
    lines = (trained / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,loss,training_accuracy,lr,seconds,accuracy"
    assert len(lines) == 4

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tensorboard" / "found-0"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 2, 3]


def test_it_learns(tmp_path: Path) -> None:
    """Better than one class of five by far more than chance."""
    found = znas.train(ARCH, tmp_path / "t", **QUICK | {"epochs": 15, "channels": 8, "batch": 30})
    low, _ = interval(found.rows[0].right, found.rows[0].images)
    assert low > 0.22
    assert found.accuracy == found.rows[0].accuracy
    assert "found" in repr(found)
    assert "\n" not in repr(found)


def test_seeds_and_baselines_get_the_same(tmp_path: Path) -> None:
    asked = QUICK | {"epochs": 1, "seeds": 2, "baselines": ["most-parameters", "random", "resnet20"]}
    found = znas.train(ARCH, tmp_path / "t", **asked)
    assert [row.name for row in found.rows][::2] == ["found", "most-parameters", "random", "resnet20"]
    assert {row.epochs for row in found.rows} == {1}
    assert {row.images for row in found.rows} == {100}
    sizes = {row.name: row.params for row in found.rows}
    assert sizes["most-parameters"] >= max(sizes["found"], sizes["random"])
    assert abs(sizes["resnet20"] - 270_000) < 1_000  # of the paper's table 6
    for row in found.rows:
        assert abs(row.right - row.deployed) <= 1
    assert {"resnet20.onnx", "random.safetensors"} <= {path.name for path in (tmp_path / "t").iterdir()}
    assert "2 seeds" in json.dumps(
        [list(part.rows) for part in found.document().parts if hasattr(part, "rows")]
    )


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_are_written_as_they_are(name: str) -> None:
    torch.manual_seed(0)
    network = baseline(name, classes=7, inputs=1).eval()
    images = torch.rand(3, 1, 32, 32)
    run = runtime(to_onnx(network, images[:1], {"arch": name}), 18)
    with torch.inference_mode():
        assert np.allclose(run(images.numpy()), network(images).numpy(), atol=1e-4)


def test_resnet20_costs_what_its_paper_says() -> None:
    """41 million multiply-accumulates, of which the paper's table counts all but the classifier's."""
    counted = multiply_accumulates(baseline("resnet20", classes=10, inputs=3), torch.rand(1, 3, 32, 32))
    assert counted == pytest.approx(40.55e6, rel=0.01)


def test_a_training_of_cells_with_everything(tmp_path: Path) -> None:
    """Dropped paths, a second classifier, cutout, clipped gradients, smoothed labels, jitter."""
    space = SPACES.get("darts")
    arch = str(space.genotype(space.random_path(np.random.default_rng(1))))
    images: Any = {"flip": True, "crop": 0.1, "cutout": 0.3, "resized_crop": 0.5, "jitter": 0.2}
    network: Any = {"drop_path": 0.3, "auxiliary": 0.4, "label_smoothing": 0.1}
    steps: Any = {"epochs": 2, "batch": 100, "lr": 0.02, "momentum": 0.9, "clip": 1.0, "schedule": "cosine"}
    all_ = Recipe(name="all", title="all", source="here", **images, **network, **steps)
    size: dict[str, Any] = {"space": "darts", "data_dir": PICTURES, "channels": 2, "cells": 3}
    found = znas.train(arch, tmp_path / "t", **size, recipe=all_, threads=1)
    assert abs(found.rows[0].right - found.rows[0].deployed) <= 1


def test_it_ends_early_with_the_best(tmp_path: Path) -> None:
    found = znas.train(ARCH, tmp_path / "t", **QUICK | {"epochs": 40, "lr": 1e-6, "patience": 2})
    lines = (tmp_path / "t" / "metrics.csv").read_text().splitlines()
    assert len(lines) - 1 < 40
    accuracies = [float(line.split(",")[-1]) for line in lines[1:]]
    assert found.rows[0].epochs == 1 + int(np.argmax(accuracies))


def test_classes_can_count_alike(tmp_path: Path) -> None:
    """Of pictures that are nearly all of one class, the others' are found more often."""
    few = tmp_path / "few"
    shutil.copytree(PICTURES, few)
    for name in ("automobile", "cat", "frog", "ship"):
        for file in sorted((few / "train" / name).iterdir())[6:]:
            file.unlink()
    said: list[str] = []
    asked = QUICK | {"data_dir": few, "epochs": 6, "batch": 20}
    plain = znas.train(ARCH, tmp_path / "a", **asked, report=said.append)
    alike = znas.train(ARCH, tmp_path / "b", **asked, class_weights=True)
    assert any("classes have 6 to 60 images: --class-weights" in line for line in said)
    assert (tmp_path / "a" / "weights.safetensors").read_bytes() != (
        tmp_path / "b" / "weights.safetensors"
    ).read_bytes()
    assert plain.rows[0].images == alike.rows[0].images == 100


def test_the_same_seed_is_the_same_training(trained: Path, tmp_path: Path) -> None:
    znas.train(ARCH, tmp_path / "again", **QUICK)
    znas.train(ARCH, tmp_path / "other", **QUICK, seed=1)
    weights = [folder / "weights.safetensors" for folder in (trained, tmp_path / "again", tmp_path / "other")]
    first, again, other = (path.read_bytes() for path in weights)
    assert first == again
    assert first != other


def killed(
    arguments: tuple[Any, ...], lines: int, number: int = signal.SIGKILL
) -> subprocess.CompletedProcess[str]:
    """A command that gets a signal once it has said that many epochs are done."""
    command = [sys.executable, "-m", "znas", *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        lines -= "epoch" in line
        if not lines:
            process.send_signal(number)
            break
    out, rest = process.communicate(timeout=120)
    return subprocess.CompletedProcess(command, process.returncode, out, "".join(said) + rest)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_training_goes_on_to_the_same_weights(trained: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "out"
    done = killed((*ARGUMENTS, "--out", out), random.Random(number).randint(1, 2), number)
    assert done.returncode == (-number if number == signal.SIGKILL else 128 + number), done.stderr
    assert not out.exists()
    assert (tmp_path / "out.work" / "found-0" / "checkpoint.safetensors").is_file()
    if number != signal.SIGKILL:
        assert "epoch" in done.stderr.splitlines()[-1], done.stderr
    done = here(*ARGUMENTS, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "epoch 1 of 3" not in done.stderr
    assert (out / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()
    assert not (tmp_path / "out.work").exists()


# --- several devices --------------------------------------------------------------------------------------


class Flat(nn.Module):
    """Without statistics of a batch, which each device has its own of."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 5))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)
        return logits


def killed_by_itself(images: Tensor) -> Tensor:
    os.kill(os.getpid(), signal.SIGKILL)
    return images


def task(folder: Path, devices: int, **changes: Any) -> Task:
    """Two epochs of 270 real pictures in even batches, nothing drawn but their order."""
    folder.mkdir(exist_ok=True)
    quick = replace(recipe("quick"), epochs=2, batch=90, lr=0.02, flip=False, crop=0.0)
    dataset = load("imagefolder", data_dir=PICTURES, resolution=8)
    torch.manual_seed(0)
    return Task(
        folder=folder,
        job={"of": "a test"},
        network=changes.pop("network", None) or Flat(),
        recipe=changes.pop("recipe", quick),
        split=split(dataset, None, early=False, seed=0, note=lambda line: None),
        outputs=5,
        augment=augmentation(quick, dataset.preprocessing()),
        machine=Machine(("cpu",) * devices, "32", devices),
        seed=0,
        **changes,
    )


def test_two_devices_learn_what_one_learns(tmp_path: Path) -> None:
    said: list[str] = []
    done: list[tuple[int, int]] = []
    kept: list[str] = []
    one = fit(task(tmp_path / "one", 1))
    two = fit(
        task(
            tmp_path / "two",
            2,
            report=said.append,
            progress=lambda *at: done.append(at),
            kept=lambda path, what: kept.append(what),
        )
    )
    for name, weight in one.network.state_dict().items():
        torch.testing.assert_close(two.network.state_dict()[name], weight, rtol=1e-4, atol=1e-6)
    for a, b in zip(one.history, two.history, strict=True):
        assert {name: value for name, value in b.items() if name != "seconds"} == pytest.approx(
            {name: value for name, value in a.items() if name != "seconds"}, rel=1e-4
        )
    assert [line.partition(":")[0] for line in said] == ["epoch 1 of 2", "epoch 2 of 2"]
    assert done[-1][0] == done[-1][1] == len(done)
    assert kept == ["1 epochs", "2 epochs"]


def test_what_a_device_says_is_said_once(tmp_path: Path) -> None:
    """And no process is left. What reaches no logits is no hindrance."""
    network = znas.network("nasbench201", DEAD, classes=5, resolution=8, channels=4, cells=1)
    asked = {"recipe": replace(recipe("quick"), lr=1e30, batch=90, epochs=2), "network": network}
    with pytest.raises(DivergedError, match="the loss became NaN or infinite in epoch 1"):
        fit(task(tmp_path / "out", 2, **asked))
    assert not multiprocessing.active_children()
    with pytest.raises(InvalidValueError, match="classes and functions of a module"):
        fit(task(tmp_path / "out", 2, theirs=lambda images: images))
    with pytest.raises(DeviceError, match="the process of cpu ended by SIGKILL: the same command goes on"):
        fit(task(tmp_path / "killed", 2, theirs=killed_by_itself))
    assert not multiprocessing.active_children()


# --- what cannot be done ------------------------------------------------------------------------------------


def attempt(tmp_path: Path, **asked: Any) -> str:
    """The one line; nothing is left behind."""
    before = set(tmp_path.iterdir())
    with pytest.raises(ZnasError) as error:
        znas.train(asked.pop("what", ARCH), tmp_path / "out", **QUICK | asked)
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "out.work"}
    shutil.rmtree(tmp_path / "out.work", ignore_errors=True)
    return str(error.value)


def raises(images: Tensor) -> Tensor:
    raise RuntimeError("not today")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"recipe": "quik"}, "quick"),
        ({"baselines": ["resnet200"]}, "resnet20"),
        ({"baselines": ["random", "random"]}, "random"),
        ({"precision": "16"}, "32 or bf16 on a CPU"),
        ({"precision": "64"}, "64"),
        ({"device": "cuda:7"}, "cuda:7 is not here"),
        ({"device": "tpu"}, "`device` must be"),
        ({"space": None}, "an architecture needs --space too"),
        ({"what": "|nor_conv~0|"}, "nor_conv"),
        ({"epochs": 0}, "`epochs` must be"),
        ({"patience": 0}, "`patience` must be"),
        ({"seeds": 0}, "`seeds` must be"),
        ({"lr": -1.0}, "`lr` must be"),
        ({"data": "gaussian", "data_dir": None}, "have no labels to learn"),
        ({"val_dir": PICTURES / "nowhere"}, "nowhere"),
        ({"resolution": 6}, "`resolution` must be"),
        ({"recipe": "darts-cifar", "resolution": 8}, "7 x 7 or more"),
        ({"augment": raises}, "not today"),
        ({"augment": "tests.znas.nowhere:f"}, "nowhere"),
        ({"augment": "torchvision:RandomCrop"}, "torchvision"),  # with it, what that transform takes
        ({"baselines": ["torchvision:resnet19"]}, "torchvision"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, asked: dict[str, Any], said: str) -> None:
    assert said in attempt(tmp_path, **asked)


def folder(tmp_path: Path, counts: dict[str, dict[str, int]]) -> Path:
    """Of the example's pictures, so many of each class and part."""
    for part, of_part in counts.items():
        for name, count in of_part.items():
            made = tmp_path / "pictures" / part / name
            made.mkdir(parents=True)
            for file in sorted((PICTURES / part / name).iterdir())[:count]:
                shutil.copy(file, made)
    return tmp_path / "pictures"


def test_one_class_is_refused(tmp_path: Path) -> None:
    pictures = folder(tmp_path, {"train": {"cat": 4}})
    assert "class" in attempt(tmp_path, data_dir=pictures)
    assert "class" in attempt(
        tmp_path,
        data=(np.zeros((4, 3, 8, 8), np.uint8) + np.arange(8, dtype=np.uint8), np.zeros(4, int)),
        data_dir=None,
    )


def test_an_empty_validation_set_is_refused(tmp_path: Path) -> None:
    pictures = folder(tmp_path, {"train": {"cat": 4, "ship": 4}, "val": {"cat": 0, "ship": 0}})
    assert str(pictures / "val") in attempt(tmp_path, data_dir=pictures)


def test_classes_that_were_not_learned_are_refused(tmp_path: Path) -> None:
    pictures = folder(tmp_path, {"train": {"cat": 4, "ship": 4}, "val": {"cat": 2, "ship": 2, "frog": 2}})
    assert "frog" in attempt(tmp_path, data_dir=pictures)
    assert "frog" in attempt(tmp_path, data_dir=pictures / "train", val_dir=pictures / "val")


def test_labels_are_those_of_the_training_whatever_their_order(tmp_path: Path) -> None:
    """A folder to judge by that lacks a class has other numbers; the accuracy is of the same classes."""
    pictures = folder(
        tmp_path, {"train": dict.fromkeys(("airplane", "cat", "ship"), 8), "val": {"cat": 8, "ship": 8}}
    )
    asked = QUICK | {"data_dir": pictures / "train", "epochs": 30, "batch": 8, "lr": 0.05}
    found = znas.train(ARCH, tmp_path / "out", **asked, val_dir=pictures / "val")
    network: dict[str, Any] = {}
    exec((tmp_path / "out" / "architecture.py").read_text(), network)
    assert network["CLASSES"] == ("airplane", "cat", "ship")
    assert network["build"]().classifier.out_features == 3
    assert found.rows[0].images == 16


def test_a_loss_that_is_no_number(tmp_path: Path) -> None:
    """The epochs before it are kept."""
    with pytest.raises(DivergedError, match="NaN or infinite in epoch 1, by step") as error:
        znas.train(ARCH, tmp_path / "out", **QUICK | {"lr": 1e30})
    assert "smaller --lr than 1e+30" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("room", [0, 20_000, 60_000])
def test_a_full_disk_keeps_the_last_checkpoint(trained: Path, tmp_path: Path, room: int) -> None:
    out = tmp_path / "out"
    program = "from znas.cli import main; main()"
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); {program}"
    done = subprocess.run(
        [sys.executable, "-c", limit, *map(str, ARGUMENTS), "--out", str(out)], capture_output=True, text=True
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "File too large" in last or "No usable temporary directory" in last
    assert not out.exists()
    done = here(*ARGUMENTS, "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "weights.safetensors").read_bytes() == (trained / "weights.safetensors").read_bytes()


@pytest.fixture
def begun(tmp_path: Path) -> Path:
    """A work folder with the checkpoint of a first epoch."""
    out = tmp_path / "begun"
    killed((*ARGUMENTS, "--out", out), 1)
    return out


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--lr", "0.01"), "its recipe differs in differs, lr"),
        (("--class-weights",), "its class_weights is False, not True"),
        (("--precision", "bf16"), "its precision is 32, not bf16"),
    ],
)
def test_another_training_does_not_go_on_with_it(begun: Path, more: tuple[str, ...], said: str) -> None:
    work = begun.with_name("begun.work") / "found-0" / "checkpoint.safetensors"
    before = work.read_bytes()
    line = here(*ARGUMENTS, *more, "--out", begun, "-q").stderr
    assert said in line
    assert "name another --out" in line
    assert work.read_bytes() == before


def test_an_augmentation_that_was_edited_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "their_augmentation.py"
    source.write_text("def turned(images):\n    return images.flip(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    command = (*ARGUMENTS, "--augment", "their_augmentation:turned", "--out", tmp_path / "out")
    assert killed(command, 1).returncode == -signal.SIGKILL
    source.write_text("def turned(images):\n    return images.flip(2)\n")
    assert "is of another training: its code differs in their_augmentation;" in refused(here(*command, "-q"))
    source.write_text("def turned(images):\n    return images.flip(3)\n")
    assert here(*command, "-q").returncode == 0


def test_a_damaged_checkpoint_is_said(begun: Path) -> None:
    work = begun.with_name("begun.work") / "found-0" / "checkpoint.safetensors"
    work.write_bytes(work.read_bytes()[:-10])
    assert "is damaged" in refused(here(*ARGUMENTS, "--out", begun, "-q"))


def test_a_work_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out.work").mkdir()
    (tmp_path / "out.work" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="is not of a training"):
        znas.train(ARCH, tmp_path / "out", **QUICK)
    assert [path.name for path in (tmp_path / "out.work").iterdir()] == ["notes.txt"]


def test_an_output_that_exists_is_left_alone(trained: Path) -> None:
    assert "exists already" in refused(here(*ARGUMENTS, "--out", trained, "-q"))


def test_without_lightning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning", None)
    monkeypatch.delitem(sys.modules, "lightning.pytorch", raising=False)
    line = refused(here(*ARGUMENTS, "--out", tmp_path / "out", "-q"))
    assert "pip install 'znas-engine[train]'" in line


def test_a_run_is_trained_as_it_was_searched(tmp_path: Path) -> None:
    run, images = tmp_path / "run", ("--data-dir", PICTURES, *supernet(4, 1, 8, 20))
    done = here("search", "--preset", "naswot", *images, "--out", run, "-q")
    assert done.returncode == 0, done.stderr
    small = ("--epochs", "1", "--channels", "4", "--cells", "1")
    done = here("train", run, *small, "--json", "-q", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["arch"] == znas.load(run).arch
    assert row["images"] == 100
    assert done.stderr == ""
