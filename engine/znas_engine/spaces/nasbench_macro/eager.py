"""The supernet of NAS-Bench-Macro as NAS code bases write it."""

from __future__ import annotations

from torch import Tensor, nn

from znas_engine.spaces.base import Macro
from znas_engine.spaces.eager import MixedOperation
from znas_engine.spaces.nasbench_macro.genotype import EDGES, FIRST, OPERATIONS
from znas_engine.spaces.nasbench_macro.network import conv_norm, operation


class Supernet(nn.Module):
    """images [n, inputs, H, W], mask [8, 3] -> logits [n, classes]"""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        c, features = macro.channels, 40 * macro.channels
        self.stem = nn.Sequential(*conv_norm(macro.inputs, c, 3), nn.ReLU())
        self.layers = nn.ModuleList()
        for layer in range(len(EDGES)):
            blocks = nn.ModuleList()
            for block in range(macro.cells):
                stride = 2 if layer in FIRST and block == 0 else 1
                blocks.append(
                    MixedOperation({name: operation(name, c, stride * c, stride) for name in OPERATIONS})
                )
                c *= stride
            self.layers.append(blocks)
        self.head = nn.Sequential(*conv_norm(c, features), nn.ReLU())
        self.classifier = nn.Linear(features, macro.classes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        x = self.stem(images)
        for layer, row in zip(self.layers, mask, strict=True):
            for block in layer.children():
                x = block(x, row)
        logits: Tensor = self.classifier(self.head(x).mean((2, 3)))
        return logits
