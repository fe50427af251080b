"""The one-shot supernet: trained as PyTorch would, resumed after a kill, validated by any backend."""

from __future__ import annotations

import itertools
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from torch import nn

from tests.command import here
from tests.conftest import SPACES, small
from znas import priors
from znas.priors.one_shot import TRAININGS, fit_one_shot
from znas_engine.backends import get_backend
from znas_engine.data import Batch, load
from znas_engine.environment import Environment, derive_seed
from znas_engine.errors import InvalidValueError, NonFiniteScoreError, StorageError, ZnasError
from znas_engine.scores import get_score
from znas_engine.supernet import training
from znas_engine.supernet.checkpoint import Checkpoint
from znas_engine.supernet.training import Schedule, Trained, augment, split, train

NB201 = SPACES["nasbench201"]
SCHEDULE = Schedule(epochs=2, batch=16, learning_rate=0.05)


def start(images: Batch, count: int = 48) -> Environment:
    assert images.labels is not None
    return Environment(5, "gaussian", Batch(images.images[:count], images.labels[:count]))


def fit(images: Batch, checkpoint: Path, space: Any = NB201, **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "draw_mask": space.random_path,
        "threads": 1,
        "identity": {"job": "test"},
        "checkpoint": checkpoint,
    }
    schedule = changes.pop("schedule", SCHEDULE)
    return train(space.supernet(small(space)), start(images), schedule, **(arguments | changes))


def test_steps_are_those_of_torch(images: Batch, tmp_path: Path) -> None:
    """Against torch modules, torch.optim.SGD and clip_grad_norm_, on one architecture."""
    genotype = NB201.parse(
        "|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_3x3~2|"
    )
    macro = small(NB201)
    environment = start(images)
    found = fit(images, tmp_path / "c", draw_mask=lambda rng: NB201.mask(genotype))

    network = NB201.to_torch(genotype, macro)
    parameters = {}
    graph = {node.name: node for node in NB201.network(genotype, macro).nodes}
    with torch.no_grad():
        for name, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.affine = False
                module.weight.requires_grad_(False)
                module.bias.requires_grad_(False)
            elif isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.copy_(torch.from_numpy(environment.weight(graph[name])))  # type: ignore[arg-type]
                parameters[name] = module.weight
    network.classifier.bias.data.zero_()  # type: ignore[union-attr]
    network.classifier.bias.requires_grad_(False)  # type: ignore[union-attr]
    network.train()
    optimiser = torch.optim.SGD(
        parameters.values(),
        lr=SCHEDULE.learning_rate,
        momentum=training.MOMENTUM,
        weight_decay=training.WEIGHT_DECAY,
    )
    rates = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=6)
    assert environment.batch.labels is not None
    for step in range(6):
        epoch, k = divmod(step, 3)
        order = np.random.default_rng(derive_seed(5, "epoch", epoch)).permutation(48)[16 * k : 16 * k + 16]
        batch = augment(environment.batch.images[order], np.random.default_rng(derive_seed(5, "step", step)))
        loss = F.cross_entropy(
            network(torch.from_numpy(batch)), torch.from_numpy(environment.batch.labels[order])
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), training.CLIP)
        optimiser.step()
        rates.step()
    moved = 0.0
    for name, weight in parameters.items():
        np.testing.assert_allclose(found[name], weight.detach().numpy(), rtol=2e-3, atol=2e-4, err_msg=name)
        moved += float(np.abs(found[name] - environment.weight(graph[name])).sum())  # type: ignore[arg-type]
    assert moved > 1


@pytest.mark.parametrize("kind", TRAININGS)
def test_weights_that_a_mask_leaves_out_stay(kind: str, images: Batch, tmp_path: Path) -> None:
    """Under one path, only its operations learn; under the mixture, all do."""
    path = np.tile(np.eye(5, dtype=np.float32)[3], (6, 1))
    masks = {"paths": lambda rng: path, "mixture": lambda rng: NB201.mixture()}
    found = fit(images, tmp_path / "c", draw_mask=masks[kind])
    environment = start(images)
    for node in NB201.supernet(small(NB201)).nodes:
        if node.name in found and "nor_conv_1x1" in node.name:
            same = np.array_equal(found[node.name], environment.weight(node))  # type: ignore[arg-type]
            assert same == (kind == "paths"), node.name


@pytest.mark.ours
def test_training_learns(images: Batch, tmp_path: Path) -> None:
    """Images told apart by brightness: the trained mixture classifies them, the untrained one cannot."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 10
    pixels = rng.standard_normal((64, 3, 16, 16), dtype=np.float32) * 0.1
    pixels += np.linspace(-2, 2, 10, dtype=np.float32)[labels][:, None, None, None]
    environment = Environment(3, "gaussian", Batch(pixels, labels.astype(np.int64)))
    weights = train(
        NB201.supernet(small(NB201)),
        environment,
        Schedule(epochs=60, batch=32, learning_rate=0.1),
        draw_mask=lambda rng: NB201.mixture(),
        threads=1,
        identity={},
        checkpoint=tmp_path / "c",
    )
    backend = get_backend("torch")(NB201, small(NB201), norm="batch")
    values = backend.evaluate(
        NB201.mixture()[None],
        score=get_score("accuracy"),
        environments=[environment, Trained(3, "trained", environment.batch, weights)],
    ).values
    assert values[0, 0] < 0.4
    assert values[1, 0] > 0.6


def test_an_interrupted_training_resumes_to_the_same_weights(
    images: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    whole = fit(images, tmp_path / "whole")

    def interrupt(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    steps: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        fit(images, tmp_path / "part", progress=interrupt)
    resumed = fit(images, tmp_path / "part", progress=lambda done, total: steps.append(done))
    assert steps[0] == 3
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(InvalidValueError, match="belongs to another job; remove it or name another"):
        fit(images, tmp_path / "part", identity={"job": "other"})


@pytest.mark.parametrize(
    "what", ["text", "empty", "safetensors", "folder", "link", "link to nothing", "pipe"]
)
def test_what_is_no_checkpoint_is_refused_before_the_training(
    what: str, images: Batch, tmp_path: Path
) -> None:
    path, elsewhere = tmp_path / "checkpoint", tmp_path / "elsewhere"
    match what:
        case "text":
            path.write_text("my notes, which are longer than eight bytes")
        case "empty":
            path.write_bytes(b"")
        case "safetensors":
            path.write_bytes(
                save({"weight/stem": torch.zeros(3)}, {"identity": '{"job": "test"}', "step": "1"})
            )
        case "folder":
            path.mkdir()
        case "link":
            fit(images, elsewhere)
            path.symlink_to(elsewhere)
        case "link to nothing":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
    before = (path.lstat(), elsewhere.read_bytes() if elsewhere.exists() else None)

    def unreached(done: int, total: int) -> None:
        raise AssertionError("training has begun")

    with pytest.raises(
        StorageError, match=r"is no checkpoint of this version .* left as it is; move it away"
    ):
        fit(images, path, progress=unreached)
    after = path.lstat()
    assert (after.st_ino, after.st_mtime_ns, after.st_size) == (
        before[0].st_ino,
        before[0].st_mtime_ns,
        before[0].st_size,
    )
    assert (elsewhere.read_bytes() if elsewhere.exists() else None) == before[1]


def test_what_takes_the_place_of_a_checkpoint_is_left_alone(
    images: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Notes that somebody saves under its name while the training runs; one that is removed is made again."""
    monkeypatch.setattr(training, "CHECKPOINT_EVERY", 0.0)
    path = tmp_path / "checkpoint"
    for first, anew in itertools.product((1, 3), (True, False)):

        def plant(done: int, total: int, first: int = first, anew: bool = anew) -> None:
            if done == first:
                if anew:
                    path.unlink(missing_ok=True)
                path.write_text("my notes")  # in a file with the same number, too

        with pytest.raises(StorageError, match="left as it is"):
            fit(images, path, progress=plant)
        assert path.read_text() == "my notes"
        path.unlink()
    whole = fit(images, tmp_path / "whole")
    again = fit(images, path, progress=lambda done, total: path.unlink(missing_ok=True) if done < 5 else None)
    assert path.is_file()
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


@pytest.fixture(scope="module")
def kept(images: Batch, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes, dict[str, Any]]:
    """A checkpoint before the last step, and what the training ends with."""
    path = tmp_path_factory.mktemp("kept") / "checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "CHECKPOINT_EVERY", 0.0)

        def interrupt(done: int, total: int) -> None:
            if done == total:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(images, path, progress=interrupt)
    return path, path.read_bytes(), fit(images, path)


@settings(max_examples=150)
@given(data=st.data())
def test_no_flipped_bit_of_a_checkpoint_changes_the_weights(
    data: st.DataObject, images: Batch, kept: tuple[Path, bytes, dict[str, Any]]
) -> None:
    """One line, and the file is left as it is."""
    path, whole, _ = kept
    header = 8 + int.from_bytes(whole[:8], "little")
    place = data.draw(st.integers(0, header - 1) | st.integers(header, len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(flipped)
    with pytest.raises(ZnasError, match=r"is damaged; remove it to start|no checkpoint of this|another job"):
        fit(images, path)
    assert path.read_bytes() == flipped


@pytest.mark.parametrize("change", ["cut", "longer", "steps", "steps of another kind", "shapes", "lacking"])
def test_a_checkpoint_of_another_shape_is_damaged(
    change: str, images: Batch, kept: tuple[Path, bytes, dict[str, Any]]
) -> None:
    """Also where every digest is right."""
    path, whole, expected = kept
    path.write_bytes(whole)
    checkpoint = Checkpoint(path, {"job": "test"})
    tensors = load_tensors(whole)
    weights, velocity = (
        {name.split("/", 1)[1]: t for name, t in tensors.items() if name.startswith(part)}
        for part in ("weight/", "velocity/")
    )
    first = next(iter(weights))
    match change:
        case "cut":
            path.write_bytes(whole[:-1])
        case "longer":
            path.write_bytes(whole + b"0")
        case "shapes":
            weights[first] = weights[first].reshape(1, -1)
        case "lacking":
            del weights[first], velocity[first]
    if not change.startswith(("cut", "longer")):
        path.unlink()
        steps: Any = {"steps": 7, "steps of another kind": "six"}.get(change, 6)
        checkpoint.save(weights, velocity, steps)
    with pytest.raises(StorageError, match="is damaged; remove it to start again"):
        fit(images, path)
    path.write_bytes(whole)
    assert all(np.array_equal(expected[name], weight) for name, weight in fit(images, path).items())


def test_mistakes(images: Batch, tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="`batch` must be at most the 48 training images but got 49"):
        fit(images, tmp_path / "c", schedule=Schedule(epochs=1, batch=49, learning_rate=0.1))
    with pytest.raises(NonFiniteScoreError, match="smaller --learning-rate"):
        fit(images, tmp_path / "c", schedule=Schedule(epochs=9, batch=8, learning_rate=1e30))
    for wrong in ({"epochs": 0}, {"batch": 0}, {"learning_rate": 0.0}, {"learning_rate": math.inf}):
        with pytest.raises(InvalidValueError, match=f"`{next(iter(wrong))}` must be"):
            Schedule(**({"epochs": 1, "batch": 1, "learning_rate": 0.1} | wrong))  # type: ignore[arg-type]


def test_augmentation_only_shifts_and_mirrors() -> None:
    images = np.random.default_rng(0).random((40, 3, 8, 8), dtype=np.float32) + 1
    shifted = augment(images, np.random.default_rng(1))
    mirrored = 0
    for before, after in zip(images, shifted, strict=True):
        padded = np.pad(before, ((0, 0), (4, 4), (4, 4)))
        crops = [padded[:, y : y + 8, x : x + 8] for y in range(9) for x in range(9)]
        straight = any(np.array_equal(after, crop) for crop in crops)
        flipped = any(np.array_equal(after[:, :, ::-1], crop) for crop in crops)
        assert straight or flipped
        mirrored += flipped
    assert 5 < mirrored < 35


@pytest.mark.parametrize(
    ("space", "score", "norm", "environments", "images"),
    [("nasbench201", "accuracy", "batch", 4, 30), ("darts", "naswot", "calibrated", 2, 6)],
)
def test_a_prior_is_the_moments_of_the_trained_supernet(
    space: str, score: str, norm: str, environments: int, images: int, test_data: Path, tmp_path: Path
) -> None:
    """Validation images never trained; what native finds is what torch finds for the same weights."""
    dataset = load("cifar10", data_dir=test_data, resolution=16)
    searched = SPACES[space]
    kept: list[Trained] = []

    class Watching(get_backend("native")):  # type: ignore[misc]
        def prepare(self, environment: Trained, **arguments: Any) -> Any:
            kept.append(environment)
            return super().prepare(environment, **arguments)

    found = fit_one_shot(
        Watching(searched, small(searched), norm=norm),
        dataset,
        score=get_score(score),
        environments=environments,
        images=images,
        init="gaussian",
        seed=2,
        training="paths",
        train_images=200,
        schedule=Schedule(epochs=1, batch=32, learning_rate=0.05),
        provenance={},
        work=tmp_path / "work",
        checkpoint=tmp_path / "checkpoint",
    )
    assert found.score == score
    reference = get_backend("torch")(searched, small(searched), norm=norm)
    masks = np.stack([searched.do(1, 3), searched.do(len(searched.edges) - 1, 4)])
    values = reference.evaluate(masks, score=get_score(score), environments=kept).values
    expected = [found.mean[1, 3], found.mean[-1, 4]]
    np.testing.assert_allclose(values.mean(0), expected, rtol=1e-3, atol=1 / 30 if score == "accuracy" else 0)
    fitted, held_out = split(dataset.batch(200, seed=derive_seed(2, "one-shot", "images")))
    seen = {image.tobytes() for image in fitted.images}
    assert len(fitted.images) == len(held_out.images) == 100
    for environment in kept:
        assert not any(image.tobytes() in seen for image in environment.batch.images)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "znas", "prior", "fit", "--source", "one-shot", *map(str, arguments)]


@pytest.mark.ours
def test_a_killed_fit_resumes_to_the_same_prior(test_data: Path, tmp_path: Path) -> None:
    """SIGKILL in the training, which then goes on from its checkpoint; and SIGKILL in the validation."""
    size = [
        "--data",
        "cifar10",
        "--data-dir",
        str(test_data),
        "--supernet-channels",
        "4",
        "--supernet-cells",
        "1",
    ]
    size += [
        "--resolution",
        "16",
        "--norm",
        "calibrated",
        "--score",
        "naswot",
        "--images",
        "24",
        "--envs",
        "6",
    ]
    size += ["--train-images", "400", "--epochs", "4", "--threads", "1", "-q"]
    whole, broken = tmp_path / "whole.json", tmp_path / "broken.json"
    checkpoint, work = tmp_path / "broken.json.checkpoint", tmp_path / "broken.json.work"
    often = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    (tmp_path / "sitecustomize.py").write_text(
        "from znas_engine.supernet import training\ntraining.CHECKPOINT_EVERY = 0.0\n"
    )

    def kill_once(reached: Any, env: dict[str, str]) -> None:
        process = subprocess.Popen(command("--out", broken, *size), env=env)
        while not reached():
            assert process.poll() is None
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not broken.exists()

    kill_once(checkpoint.exists, often)
    before = checkpoint.stat().st_mtime_ns
    kill_once(lambda: work.exists() and work.read_bytes().count(b"\n") > 1, dict(os.environ))
    assert checkpoint.stat().st_mtime_ns > before
    for out in (broken, whole):
        subprocess.run(command("--out", out, *size), check=True, capture_output=True)
    assert broken.read_bytes() == whole.read_bytes()
    assert not checkpoint.exists()
    assert not work.exists()
    prior = priors.load(broken)
    assert prior.provenance["epochs"] == 4
    assert prior.provenance["training"] == "paths"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "needs labels and gaussian images have none"),
        (["--training", "path"], "unknown training 'path'"),
        (["--images", "300"], "at most half of the 400 `train_images` but got 300"),
        (["--epochs", "0"], "`epochs` must be between 1 and 100,000 but got 0"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, test_data: Path, tmp_path: Path) -> None:
    data = ["--data", "cifar10", "--data-dir", test_data, "--train-images", "400"] if arguments else []
    done = here("prior", "fit", "--source", "one-shot", "--out", tmp_path / "x.json", *data, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
