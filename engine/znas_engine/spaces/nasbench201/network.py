"""A NAS-Bench-201 architecture as a trainable PyTorch network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Cells = Sequence[Sequence[tuple[str, int] | Sequence[str | int]]]


def relu_conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def operation(name: str, channels: int) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return relu_conv_norm(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name])


class Cell(nn.Module):
    """Node k is the sum of its operations on earlier nodes; node 0 is the input, node 3 the output."""

    def __init__(self, genotype: Cells, channels: int) -> None:
        super().__init__()
        self.nodes = [[(str(name), int(source)) for name, source in node] for node in genotype]
        terms = [term for node in self.nodes for term in node]
        self.edges = nn.ModuleList(
            nn.ModuleDict({} if name == "none" else {name: operation(name, channels)}) for name, _ in terms
        )

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        edge = 0
        for node in self.nodes:
            total = torch.zeros_like(x)
            for name, source in node:
                if name != "none":
                    total = total + self.edges[edge].get_submodule(name)(values[source])
                edge += 1
            values.append(total)
        return values[-1]


class ResidualBlock(nn.Module):
    """Halves the resolution between two stages."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.a = relu_conv_norm(inputs, outputs, 3, stride=2)
        self.b = relu_conv_norm(outputs, outputs, 3)
        self.shortcut = nn.Sequential(nn.AvgPool2d(2, stride=2), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        total: Tensor = self.b(self.a(x)) + self.shortcut(x)
        return total


class Network(nn.Module):
    """images [n, inputs, H, W], H and W multiples of 4 -> logits [n, classes].

    genotype: per node 1 to 3 the (operation, source) pairs. channels: width of the first stage.
    cells: cells per stage (N).
    """

    def __init__(
        self, genotype: Cells, *, channels: int = 16, cells: int = 5, classes: int = 10, inputs: int = 3
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.cells = nn.ModuleList()
        for stage in range(3):
            width = channels << stage
            if stage:
                self.cells.append(ResidualBlock(width // 2, width))
            self.cells.extend(Cell(genotype, width) for _ in range(cells))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits
