"""A mobilenet architecture as a trainable PyTorch network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

#: At a stem of 32 channels: channels and stride of every stage, and its layers.
STAGES = ((24, 2, 4), (32, 2, 4), (64, 2, 4), (96, 1, 4), (160, 2, 4), (320, 1, 1))


def widths(channels: int) -> tuple[int, list[int], int]:
    """Of the block behind the stem, of every stage and of the head, at a stem of `channels`; multiples of 8
    as MobileNetV2 rounds them, and a head of 1,280 or more."""

    def rounded(width: int) -> int:
        wanted = width * channels / 32
        found = max(8, int(wanted + 4) // 8 * 8)
        return found + 8 if found < 0.9 * wanted else found

    return rounded(16), [rounded(width) for width, _, _ in STAGES], max(1280, rounded(1280))


def strides(resolution: int) -> tuple[int, list[int]]:
    """Of the stem and of the first layer of every stage: the last of MobileNetV2's five that leave 3 pixels
    or more of the side, all of them from 96 pixels on."""
    places = [2, *(stride for _, stride, _ in STAGES)]
    left = 0
    while left < 5 and resolution >> (left + 1) >= 3:
        left += 1
    found = []
    for stride in reversed(places):
        found.append(stride if stride == 1 or left > 0 else 1)
        left -= stride == 2
    return found[-1], found[-2::-1]


def conv_norm(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
    return convolution, nn.BatchNorm2d(outputs)


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; the input is added where shape stays."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.is_residual = stride == 1 and inputs == outputs
        expand = (*conv_norm(inputs, wide), nn.ReLU()) if expansion > 1 else ()
        self.body = nn.Sequential(
            *expand,
            *conv_norm(wide, wide, kernel, stride, groups=wide),
            nn.ReLU(),
            *conv_norm(wide, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.is_residual else y


def operation(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    expansion, kernel = int(name[2]), int(name[5])
    return InvertedResidual(inputs, outputs, expansion=expansion, kernel=kernel, stride=stride)


class Network(nn.Module):
    """images [n, inputs, H, W] -> logits [n, classes].

    genotype: one operation per layer. channels: width of the stem; MobileNetV2's is 32. cells: blocks per
    layer, all but the first with stride 1; MobileNetV2's is 1. resolution: of the images; it decides the
    strides.
    """

    def __init__(
        self,
        genotype: Sequence[str],
        *,
        channels: int = 32,
        cells: int = 1,
        classes: int = 1000,
        inputs: int = 3,
        resolution: int = 224,
    ) -> None:
        super().__init__()
        (narrow, wide, features), (first, further) = widths(channels), strides(resolution)
        self.stem = nn.Sequential(*conv_norm(inputs, channels, 3, first), nn.ReLU())
        self.first = InvertedResidual(channels, narrow, expansion=1, kernel=3, stride=1)
        self.layers = nn.ModuleList()
        names, inside = iter(genotype), narrow
        for (_, _, layers), outside, stage_stride in zip(STAGES, wide, further, strict=True):
            for layer in range(layers):
                blocks, name = nn.Sequential(), next(names)
                for block in range(cells):
                    stride = stage_stride if layer == block == 0 else 1
                    made = operation(name, inside, outside, stride)
                    blocks.append(nn.Sequential(OrderedDict([(name, made)])))
                    inside = outside
                self.layers.append(blocks)
        self.head = nn.Sequential(*conv_norm(inside, features), nn.ReLU())
        self.classifier = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.first(self.stem(images))
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return logits
