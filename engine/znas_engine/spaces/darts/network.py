"""A DARTS architecture as a trainable PyTorch network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def relu_conv_norm(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))


def separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]


class FactorizedReduce(nn.Module):
    """Halves the resolution with two strided 1x1 convolutions, one of them shifted by a pixel."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        y: Tensor = self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))
        return y


def operation(name: str, channels: int, stride: int) -> nn.Module:
    match name:
        case "skip_connect":
            return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels)
        case "max_pool_3x3":
            return nn.MaxPool2d(3, stride, padding=1)
        case "avg_pool_3x3":
            return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
        case "sep_conv_3x3" | "sep_conv_5x5":
            kernel = int(name[-1])
            return nn.Sequential(*separable(channels, kernel, stride), *separable(channels, kernel, 1))
        case "dil_conv_3x3" | "dil_conv_5x5":
            return nn.Sequential(*separable(channels, int(name[-1]), stride, dilation=2))
        case _:
            raise ValueError(f"unknown operation {name!r}")


class Cell(nn.Module):
    """Nodes 0 and 1 are the outputs of the two cells before; nodes 2 to 5 sum two operations each."""

    def __init__(
        self,
        terms: Sequence[Any],
        before: int,
        last: int,
        channels: int,
        *,
        reduction: bool,
        reduced_before: bool,
    ) -> None:
        super().__init__()
        self.preprocess0 = (
            FactorizedReduce(before, channels) if reduced_before else relu_conv_norm(before, channels)
        )
        self.preprocess1 = relu_conv_norm(last, channels)
        self.scale = 2 if reduction else 1
        edges = [nn.ModuleDict() for _ in range(14)]
        self.nodes: list[list[tuple[int, int, str]]] = []  # per node (edge, source, module)
        for target in range(2, 6):
            node = []
            for name, source in terms[2 * (target - 2) : 2 * (target - 1)]:
                edge = target * (target - 1) // 2 - 1 + int(source)
                if name == "none":
                    continue
                key = f"{name}_again" if name in edges[edge] else str(name)
                edges[edge].add_module(key, operation(name, channels, self.scale if source < 2 else 1))
                node.append((edge, int(source), key))
            self.nodes.append(node)
        self.edges = nn.ModuleList(edges)

    def forward(self, before: Tensor, last: Tensor) -> Tensor:
        values = [self.preprocess0(before), self.preprocess1(last)]
        empty = values[1][:, :, :: self.scale, :: self.scale]
        for node in self.nodes:
            terms = [self.edges[edge].get_submodule(key)(values[source]) for edge, source, key in node]
            values.append(sum(terms[1:], terms[0]) if terms else torch.zeros_like(empty))
        return torch.cat(values[2:], 1)


class Network(nn.Module):
    """images [n, inputs, H, W] -> logits [n, classes]; H and W multiples of 4 (stem "cifar") or 32
    ("imagenet").

    genotype: {"normal": [(operation, source), ...], "reduce": [...]}, two pairs per node. channels: width
    of the first cells. cells: their number; those at one and two thirds of the depth halve the resolution.
    """

    def __init__(
        self,
        genotype: Mapping[str, Any],
        *,
        channels: int = 36,
        cells: int = 20,
        classes: int = 10,
        stem: str = "cifar",
        inputs: int = 3,
    ) -> None:
        super().__init__()
        self.is_imagenet = stem == "imagenet"
        if self.is_imagenet:
            self.stem0 = nn.Sequential(
                nn.Conv2d(inputs, channels // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels // 2),
                nn.ReLU(),
                nn.Conv2d(channels // 2, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            self.stem1 = nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(channels),
            )
            before = last = channels
        else:
            self.stem = nn.Sequential(
                nn.Conv2d(inputs, 3 * channels, 3, padding=1, bias=False), nn.BatchNorm2d(3 * channels)
            )
            before = last = 3 * channels
        self.cells = nn.ModuleList()
        reduced_before = self.is_imagenet
        for number in range(cells):
            reduction = number in (cells // 3, 2 * cells // 3)
            channels *= 2 if reduction else 1
            terms = genotype["reduce" if reduction else "normal"]
            self.cells.append(
                Cell(terms, before, last, channels, reduction=reduction, reduced_before=reduced_before)
            )
            before, last = last, 4 * channels
            reduced_before = reduction
        self.classifier = nn.Linear(last, classes)

    def forward(self, images: Tensor) -> Tensor:
        if self.is_imagenet:
            before = self.stem0(images)
            last = self.stem1(before)
        else:
            before = last = self.stem(images)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits
