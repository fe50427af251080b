"""torchvision's networks as references, and its transforms by name, against torchvision itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import znas
from tests.command import here, refused
from znas.costs.reference import ReferenceProfile, multiply_accumulates, write_onnx
from znas.vision import REFERENCES, augmentation, torchvision_network
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import get_space


@pytest.mark.parametrize("name", [*REFERENCES, "efficientnet_b0", "vit_b_16", "swin_t", "googlenet"])
def test_counts_are_those_that_torchvision_publishes(name: str) -> None:
    from torchvision.models import get_model_weights

    found = znas.profile(f"torchvision:{name}", classes=1000, resolution=224)
    assert isinstance(found, ReferenceProfile)
    about: dict[str, Any] = get_model_weights(name).DEFAULT.meta
    assert found.params == about["num_params"]
    assert found.flops / 1e9 == pytest.approx(about["_ops"], rel=5e-3)


def test_the_mobilenetv2_of_the_space_has_the_shapes_of_torchvisions() -> None:
    """Of every weight, in order."""
    space = get_space("mobilenet")
    chain = space.parse("6x3,6x3,-,-/6x3,6x3,6x3,-/6x3,6x3,6x3,6x3/6x3,6x3,6x3,-/6x3,6x3,6x3,-/6x3")
    ours = space.to_torch(chain, space.evaluation_macro(resolution=224, classes=1000))
    theirs = torchvision_network("mobilenet_v2", 1000)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in theirs.parameters()]


def test_counting_leaves_no_trace() -> None:
    network = torchvision_network("shufflenet_v2_x1_0", 7).eval()
    before = torch.backends.mha.get_fastpath_enabled()
    first = multiply_accumulates(network, torch.zeros(1, 3, 32, 32))
    assert multiply_accumulates(network, torch.zeros(1, 3, 32, 32)) == first
    assert torch.backends.mha.get_fastpath_enabled() == before
    assert not any(layer._forward_hooks for layer in network.modules())


@pytest.mark.parametrize("name", REFERENCES)
def test_what_is_timed_is_the_network(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torchvision_network(name, 7).eval()
    write_onnx(network, torch.zeros(1, 3, 64, 64), tmp_path / "x.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    images = torch.randn(3, 3, 64, 64)
    (found,) = session.run(["logits"], {"images": images.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(found, network(images).numpy(), atol=1e-4)


@pytest.mark.parametrize("target", ["ort:cpu:1", "torch:cpu:1"])
def test_a_latency(target: str) -> None:
    found = znas.profile("torchvision:shufflenet_v2_x1_0", classes=5, resolution=48, latency=target)
    assert isinstance(found, ReferenceProfile)
    assert found.latency is not None
    assert str(found.latency.target) == target
    assert (found.latency.resolution, found.latency.batch) == (48, 1)
    assert found.latency.median_ms > 0
    assert "48 x 48 pixels, 5 classes, random weights" in str(found.to_dict() | {"page": found.document()})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["torchvision:resnet19"], "torchvision has no network 'resnet19': name one such as mobilenet_v2,"),
        (["torchvision:vit_b_16"], "torchvision:vit_b_16 does not take images of 32 x 32 pixels ("),
        (["torchvision:alexnet", "--resolution", "8"], "alexnet does not take images of 8 x 8 pixels"),
        (
            ["torchvision:resnet18", "--latency", "native:cpu"],
            "must be of ort, torch or trt for torchvision:",
        ),
        (["torchvision:resnet18", "--latency", "ort:cpu:999"], "the target ort:cpu:999 needs 999 cores"),
        (
            ["torchvision:resnet18", "none"],
            "`architecture` is not used by torchvision:resnet18 but got 'none'",
        ),
        (["torchvision:resnet18", "--cells", "3"], "`cells` is not used by torchvision:resnet18 but got 3"),
        (["torchvision:resnet18", "--channels-in", "1"], "`channels_in` is not used by torchvision:resnet18"),
        (["torchvision:resnet18", "--classes", "0"], "`classes` must be between 1 and 1,000,000 but got 0"),
    ],
)
def test_one_line(arguments: list[str], message: str) -> None:
    assert message in refused(here("profile", *arguments))


@pytest.mark.parametrize("name", REFERENCES)
def test_a_network_trains(name: str) -> None:
    network = torchvision_network(f"torchvision:{name}", 4).train()
    loss = torch.nn.functional.cross_entropy(network(torch.randn(2, 3, 32, 32)), torch.tensor([1, 3]))
    loss.backward()
    assert all(each.grad is not None for each in network.parameters())


# --------------------------------------------------------------------------- transforms


@pytest.mark.parametrize("name", ["TrivialAugmentWide", "RandAugment", "AutoAugment", "AugMix"])
def test_an_augmentation_is_on_bytes_and_repeats(name: str) -> None:
    pictures = torch.randint(0, 256, (20, 3, 24, 24), generator=torch.Generator().manual_seed(1)).byte()
    change = augmentation(name)

    def drawn(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        return [change(each) for each in pictures]

    first, again, other = drawn(0), drawn(0), drawn(1)
    assert {(each.dtype, tuple(each.shape)) for each in first} == {(torch.uint8, (3, 24, 24))}
    assert all(map(torch.equal, first, again))
    assert not all(map(torch.equal, first, other))
    assert change(pictures).shape == pictures.shape


def test_arguments_are_the_transforms() -> None:
    picture = torch.full((3, 8, 8), 255, dtype=torch.uint8)
    erased = augmentation("RandomErasing", p=1.0, scale=(0.5, 0.5), ratio=(1.0, 1.0))(picture)
    assert (erased == 0).sum() == 3 * 6 * 6
    assert augmentation("RandomCrop", size=8, padding=4)(picture).shape == (3, 8, 8)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("TrivialAugment", {}, "no transform 'TrivialAugment': .* did you mean 'TrivialAugmentWide'?"),
        ("Transform", {}, "torchvision has no transform 'Transform'"),
        ("RandomCrop", {}, r"torchvision's RandomCrop cannot be made of \{\} \(TypeError: .*'size'\)"),
        ("RandAugment", {"often": 3}, r"cannot be made of \{'often': 3\} \(TypeError"),
        ("ToTensor", {}, r"cannot be made of \{\} \(UserWarning: .* deprecated"),
    ],
)
def test_no_augmentation(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        augmentation(name, **arguments)
