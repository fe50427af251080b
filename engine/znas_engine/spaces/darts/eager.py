"""The supernet of DARTS as NAS code bases write it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from znas_engine.errors import InvalidValueError
from znas_engine.spaces.base import Macro
from znas_engine.spaces.darts.genotype import OPERATIONS, TARGETS
from znas_engine.spaces.darts.network import FactorizedReduce, operation, relu_conv_norm
from znas_engine.spaces.eager import MixedOperation, Zero


class Cell(nn.Module):
    def __init__(
        self, before: int, last: int, channels: int, *, reduction: bool, reduced_before: bool
    ) -> None:
        super().__init__()
        self.preprocess0 = (
            FactorizedReduce(before, channels) if reduced_before else relu_conv_norm(before, channels)
        )
        self.preprocess1 = relu_conv_norm(last, channels)
        self.edges = nn.ModuleList(
            MixedOperation(
                {
                    name: _operation(name, channels, 2 if reduction and source < 2 else 1)
                    for name in OPERATIONS
                }
            )
            for target in TARGETS
            for source in range(target)
        )

    def forward(self, before: Tensor, last: Tensor, rows: Sequence[Tensor]) -> Tensor:
        values = [self.preprocess0(before), self.preprocess1(last)]
        first = 0
        for _ in TARGETS:
            terms = [self.edges[first + k](value, rows[first + k]) for k, value in enumerate(values)]
            first += len(values)
            values.append(sum(terms))
        return torch.cat(values[2:], 1)


def _operation(name: str, channels: int, stride: int) -> nn.Module:
    if name == "none":
        return Zero(stride)
    module = operation(name, channels, stride)
    return nn.Sequential(module, nn.BatchNorm2d(channels)) if "pool" in name else module


class Supernet(nn.Module):
    """images [n, inputs, H, W], mask [28, 8] -> logits [n, classes]; rows 0 to 13 are the normal cell's."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        if macro.stem != "cifar":
            raise InvalidValueError(
                f"this baseline has no {macro.stem} stem: pass a resolution of at most 64"
            )
        c = macro.channels
        before = last = 3 * c
        self.stem = nn.Sequential(
            nn.Conv2d(macro.inputs, last, 3, padding=1, bias=False), nn.BatchNorm2d(last)
        )
        self.cells = nn.ModuleList()
        self.reductions = (macro.cells // 3, 2 * macro.cells // 3)
        for number in range(macro.cells):
            reduction = number in self.reductions
            c *= 2 if reduction else 1
            cell = Cell(before, last, c, reduction=reduction, reduced_before=number - 1 in self.reductions)
            self.cells.append(cell)
            before, last = last, 4 * c
        self.classifier = nn.Linear(last, macro.classes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        before = last = self.stem(images)
        for number, cell in enumerate(self.cells):
            rows = mask[14:] if number in self.reductions else mask[:14]
            before, last = last, cell(before, last, rows)
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits
