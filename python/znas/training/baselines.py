"""Small networks that everybody knows, for small images: what a found one stands beside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from znas.vision import is_reference, torchvision_network
from znas_engine.errors import MissingDependencyError, in_short, unknown_choice

_WIDTH = 0.5
#: Of MobileNetV2: expansion, channels, blocks and stride of the first one, for images of 32 pixels.
_MOBILE = (
    *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *conv_norm(inputs, outputs, 3, stride), nn.ReLU(), *conv_norm(outputs, outputs, 3)
        )
        self.stride, self.more = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return torch.relu(self.body(x) + shortcut)


class ResNet20(nn.Module):
    """images float32 [n, C, H, W] -> logits [n, classes]; 0.27 million parameters.

    He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition, CVPR 2016, section 4.2: three stages
    of three blocks, shortcuts without parameters.
    """

    def __init__(self, classes: int, inputs: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [*conv_norm(inputs, 16, 3), nn.ReLU()]
        width = 16
        for stage in range(3):
            for block in range(3):
                wider = 16 << stage
                layers.append(_Residual(width, wider, 2 if stage and not block else 1))
                width = wider
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(images).mean((2, 3)))
        return logits


class _Inverted(nn.Module):
    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        expand = [*conv_norm(inputs, inner, 1), nn.ReLU6()] if expansion > 1 else []
        self.body = nn.Sequential(
            *expand, *conv_norm(inner, inner, 3, stride, inner), nn.ReLU6(), *conv_norm(inner, outputs, 1)
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.adds else y


class MobileNet(nn.Module):
    """images float32 [n, C, H, W] -> logits [n, classes]; MobileNetV2 of half the width, for small images.

    Sandler et al., MobileNetV2: Inverted Residuals and Linear Bottlenecks, CVPR 2018, table 2; the stem and
    the second stage, which halve the resolution of pictures of 224 pixels, keep that of these.
    """

    def __init__(self, classes: int, inputs: int = 3) -> None:
        super().__init__()
        width = round(32 * _WIDTH)
        layers: list[nn.Module] = [*conv_norm(inputs, width, 3), nn.ReLU6()]
        for expansion, channels, blocks, stride in _MOBILE:
            for block in range(blocks):
                wider = round(channels * _WIDTH)
                layers.append(_Inverted(width, wider, expansion, 1 if block else stride))
                width = wider
        layers += [*conv_norm(width, 1280, 1), nn.ReLU6()]
        self.body = nn.Sequential(*layers)
        self.classifier = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.body(images).mean((2, 3)))
        return logits


BASELINES: dict[str, Callable[[int, int], nn.Module]] = {"resnet20": ResNet20, "mobilenet": MobileNet}


def baseline(name: str, *, classes: int, inputs: int) -> nn.Module:
    """The network of that name, freshly initialised; torchvision's too. InvalidValueError: there is none."""
    if is_reference(name):
        return torchvision_network(name, classes)
    if name not in BASELINES:
        raise unknown_choice("baseline", name, BASELINES)
    return BASELINES[name](classes, inputs)


def check_onnx() -> None:
    """MissingDependencyError where PyTorch cannot write ONNX."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"baselines are written as ONNX by PyTorch, which needs onnxscript ({in_short(error)}): "
            "pip install 'znas-engine[train]'"
        ) from error


def to_onnx(network: nn.Module, images: Tensor, metadata: dict[str, str]) -> bytes:
    """ONNX of any network in inference mode: `images` [n, C, H, W] -> `logits` [n, classes]."""
    # It says of every operator of torchvision that it is not there.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Two images: of one, the exporter would take the number for a constant.
        program = torch.onnx.export(
            network.eval(),
            (images.expand(2, -1, -1, -1).contiguous(),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
        )
    assert program is not None
    model = program.model_proto
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value)
    return bytes(model.SerializeToString())
