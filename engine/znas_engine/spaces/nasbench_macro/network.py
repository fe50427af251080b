"""A NAS-Bench-Macro architecture as a trainable PyTorch network."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

#: The layers that double the channels and halve the resolution.
FIRST = (0, 2, 5)


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
        self.is_residual = stride == 1
        self.body = nn.Sequential(
            *conv_norm(inputs, wide),
            nn.ReLU(),
            *conv_norm(wide, wide, kernel, stride, groups=wide),
            nn.ReLU(),
            *conv_norm(wide, outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.is_residual else y


def operation(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if name == "identity":
        return nn.Identity() if stride == 1 else nn.Sequential(*conv_norm(inputs, outputs, stride=stride))
    expansion, kernel = {"mb3_k3": (3, 3), "mb6_k5": (6, 5)}[name]
    return InvertedResidual(inputs, outputs, expansion=expansion, kernel=kernel, stride=stride)


class Network(nn.Module):
    """images [n, inputs, H, W] -> logits [n, classes].

    genotype: one operation per layer. channels: width of the stem; the benchmark's is 32. cells: blocks per
    layer, all but the first with stride 1; the benchmark's is 1.
    """

    def __init__(
        self,
        genotype: Sequence[str],
        *,
        channels: int = 32,
        cells: int = 1,
        classes: int = 10,
        inputs: int = 3,
    ) -> None:
        super().__init__()
        features = 40 * channels
        self.stem = nn.Sequential(*conv_norm(inputs, channels, 3), nn.ReLU())
        self.layers = nn.ModuleList()
        for layer, name in enumerate(genotype):
            blocks = nn.Sequential()
            for block in range(cells):
                stride = 2 if layer in FIRST and block == 0 else 1
                made = operation(name, channels, stride * channels, stride)
                blocks.append(nn.Sequential(OrderedDict([(name, made)])))
                channels *= stride
            self.layers.append(blocks)
        self.head = nn.Sequential(*conv_norm(channels, features), nn.ReLU())
        self.classifier = nn.Linear(features, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return logits
