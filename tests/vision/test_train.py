"""torchvision's networks and transforms in a training, and its data sets to learn from."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import znas
from tests.command import here
from znas.training.augment import OnBytes
from znas.vision import augmentation

PICTURES = Path(__file__).parents[2] / "examples" / "five-classes"
ARCH = "|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|"
TRAIN = (
    "train",
    ARCH,
    "--space",
    "nasbench201",
    "--channels",
    "4",
    "--cells",
    "1",
    "--epochs",
    "2",
    "--threads",
    "1",
)
FOLDER = ("--data-dir", PICTURES, "--resolution", "32")


def test_baselines_and_a_transform(tmp_path: Path) -> None:
    names = "torchvision:shufflenet_v2_x1_0,torchvision:mobilenet_v2"
    more = (
        "--baseline",
        names,
        "--augment",
        "torchvision:TrivialAugmentWide",
        "--out",
        tmp_path / "out",
        "--json",
    )
    done = here(*TRAIN, *FOLDER, *more)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    rows = {row["name"]: row for row in found["rows"]}
    for name in names.split(","):
        alone = znas.profile(name, classes=5, resolution=32).to_dict()
        assert [rows[name][each] for each in ("params", "flops")] == [
            alone[each] for each in ("params", "flops")
        ]
        assert rows[name]["images"] == 100
        assert rows[name]["accuracy"] == rows[name]["deployed_accuracy"]
    plain = here(*TRAIN, *FOLDER, "--out", tmp_path / "plain")
    assert plain.returncode == 0, plain.stderr
    losses = []
    for each in ("out", "plain"):
        with (tmp_path / each / "metrics.csv").open() as file:
            losses.append([row["loss"] for row in csv.DictReader(file)])
    assert len(losses[0]) == len(losses[1]) == 2
    assert losses[0] != losses[1]


def test_a_transform_of_pictures_on_images_that_are_normalised() -> None:
    pixels = torch.randint(0, 256, (4, 3, 16, 16), generator=torch.Generator().manual_seed(0)).byte()
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in ((0.4, 0.5, 0.6), (0.2, 0.3, 0.1)))
    images = (pixels / 255 - mean) / std
    same = OnBytes(augmentation("Identity"), mean, std)(images)
    torch.testing.assert_close(same, images)
    turned = OnBytes(augmentation("RandomInvert", p=1.0), mean, std)(images)
    torch.testing.assert_close(turned, ((255 - pixels) / 255 - mean) / std)
    torch.manual_seed(0)
    drawn = OnBytes(augmentation("RandomHorizontalFlip"), mean, std)(images.repeat(8, 1, 1, 1))
    flips = {bool(torch.equal(a, b)) for a, b in zip(drawn, same.repeat(8, 1, 1, 1), strict=True)}
    assert flips == {True, False}  # each of them for itself


def test_one_of_its_data_sets_is_learned_and_its_test_part_judges(tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    data = ImageFolder(PICTURES / "train", transform=v2.Compose([v2.ToImage(), v2.Resize(16)]))
    size: dict[str, Any] = {"space": "nasbench201", "channels": 4, "cells": 1, "epochs": 2, "threads": 1}
    found = znas.train(ARCH, tmp_path / "out", data=data, augment="torchvision:RandAugment", **size)
    assert found.rows[0].images == 30  # a tenth: there is no other part
    floats = ImageFolder(
        PICTURES / "train", transform=v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    )
    with pytest.raises(
        ValueError, match="torchvision:RandAugment changes pictures of 8 bits, and the data set does"
    ):
        znas.train(ARCH, tmp_path / "other", data=floats, augment="torchvision:RandAugment", **size)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--baseline", "torchvision:resnet19"), "torchvision has no network 'resnet19'"),
        (
            ("--baseline", "torchvision:vit_b_16"),
            "torchvision:vit_b_16 does not take images of 32 x 32 pixels",
        ),
        (("--augment", "torchvision:TrivialAugment"), "torchvision has no transform 'TrivialAugment'"),
        (("--augment", "torchvision:RandomCrop"), "torchvision's RandomCrop cannot be made of {}"),
    ],
)
def test_one_line(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = here(*TRAIN, *FOLDER, *arguments, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())
