"""An architecture of the chain as a trainable PyTorch network."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

#: Width in units of `channels`, and stride of the first block, of every stage.
STAGES = ((1, 1), (2, 2), (2, 1), (4, 2), (4, 1), (4, 1))


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project; the input is added where shapes allow."""

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = expansion * inputs
        self.residual = stride == 1 and inputs == outputs
        self.body = nn.Sequential(
            nn.Conv2d(inputs, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.residual else y


def operation(name: str, inputs: int, outputs: int, stride: int) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    return InvertedResidual(inputs, outputs, expansion=int(name[1]), kernel=int(name[3]), stride=stride)


def stem(inputs: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()
    )


class Network(nn.Module):
    """images [n, inputs, H, W], H and W multiples of 4 -> logits [n, classes].

    genotype: one operation per stage. channels: width of the first stage. cells: blocks per stage.
    """

    def __init__(
        self,
        genotype: Sequence[str],
        *,
        channels: int = 24,
        cells: int = 3,
        classes: int = 10,
        inputs: int = 3,
    ) -> None:
        super().__init__()
        self.stem = stem(inputs, channels)
        self.stages = nn.ModuleList()
        before = channels
        for name, (width, stride) in zip(genotype, STAGES, strict=True):
            stage = nn.Sequential()
            for block in range(cells):
                made = operation(name, before, width * channels, stride if block == 0 else 1)
                stage.append(nn.Sequential())
                stage[block].add_module(name, made)
                before = width * channels
            self.stages.append(stage)
        self.classifier = nn.Linear(before, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
