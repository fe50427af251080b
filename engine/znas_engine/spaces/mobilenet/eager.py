"""The supernet of `mobilenet` as NAS code bases write it."""

from __future__ import annotations

from torch import Tensor, nn

from znas_engine.spaces.base import Macro
from znas_engine.spaces.eager import MixedOperation
from znas_engine.spaces.mobilenet.genotype import FIRST, OPERATIONS
from znas_engine.spaces.mobilenet.network import (
    STAGES,
    InvertedResidual,
    conv_norm,
    operation,
    strides,
    widths,
)


class Supernet(nn.Module):
    """images [n, inputs, H, W], mask [21, 7] -> logits [n, classes]"""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        (narrow, wide, features), (first, further) = widths(macro.channels), strides(macro.resolution)
        self.stem = nn.Sequential(*conv_norm(macro.inputs, macro.channels, 3, first), nn.ReLU())
        self.first = InvertedResidual(macro.channels, narrow, expansion=1, kernel=3, stride=1)
        self.layers, inside = nn.ModuleList(), narrow
        for (_, _, layers), outside, stage_stride in zip(STAGES, wide, further, strict=True):
            for layer in range(layers):
                blocks = nn.ModuleList()
                for block in range(macro.cells):
                    stride = stage_stride if layer == block == 0 else 1
                    names = OPERATIONS if layer else OPERATIONS[1:]
                    blocks.append(
                        MixedOperation({name: operation(name, inside, outside, stride) for name in names})
                    )
                    inside = outside
                self.layers.append(blocks)
        self.head = nn.Sequential(*conv_norm(inside, features), nn.ReLU())
        self.classifier = nn.Linear(features, macro.classes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        x = self.first(self.stem(images))
        for number, (layer, row) in enumerate(zip(self.layers, mask, strict=True)):
            weights = row[1:] if number in FIRST else row
            for block in layer.children():
                x = block(x, weights)
        logits: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return logits
