"""The supernet of NAS-Bench-201 as NAS code bases write it."""

from __future__ import annotations

from torch import Tensor, nn

from znas_engine.spaces.base import Macro
from znas_engine.spaces.eager import MixedOperation, Zero
from znas_engine.spaces.nasbench201.genotype import EDGES, OPERATIONS
from znas_engine.spaces.nasbench201.network import ResidualBlock, operation


class Cell(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.targets = [(edge.source, edge.target) for edge in EDGES]
        self.edges = nn.ModuleList(
            MixedOperation(
                {name: Zero(1) if name == "none" else operation(name, channels) for name in OPERATIONS}
            )
            for _ in EDGES
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        values = [x]
        for node in (1, 2, 3):
            terms = [
                edge(values[source], weights)
                for edge, weights, (source, target) in zip(self.edges, mask, self.targets, strict=True)
                if target == node
            ]
            values.append(sum(terms))
        return values[-1]


class Supernet(nn.Module):
    """images [n, inputs, H, W], mask [6, 5] -> logits [n, classes]"""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        c = macro.channels
        self.stem = nn.Sequential(nn.Conv2d(macro.inputs, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))
        self.cells = nn.ModuleList()
        for stage in range(3):
            width = c << stage
            if stage:
                self.cells.append(ResidualBlock(width // 2, width))
            self.cells.extend(Cell(width) for _ in range(macro.cells))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, macro.classes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x, mask) if isinstance(cell, Cell) else cell(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits
