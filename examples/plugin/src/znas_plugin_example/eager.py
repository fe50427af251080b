"""The chain's supernet as NAS code bases write it: what `znas-engine bench` compares with."""

from __future__ import annotations

from torch import Tensor, nn

from znas_engine.spaces import Macro
from znas_engine.spaces.eager import MixedOperation
from znas_plugin_example.network import STAGES, operation, stem
from znas_plugin_example.space import OPERATIONS, Chain


class Supernet(nn.Module):
    """images [n, inputs, H, W], mask [6, 5] -> logits [n, classes]"""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        self.stem = stem(macro.inputs, macro.channels)
        self.options = [Chain().options(e) for e in range(len(STAGES))]
        self.stages = nn.ModuleList()
        before = macro.channels
        for options, (width, stride) in zip(self.options, STAGES, strict=True):
            stage = nn.ModuleList()
            for block in range(macro.cells):
                sizes = (before, width * macro.channels, stride if block == 0 else 1)
                names = [OPERATIONS[o] for o in options]
                stage.append(MixedOperation({name: operation(name, *sizes) for name in names}))
                before = width * macro.channels
            self.stages.append(stage)
        self.classifier = nn.Linear(before, macro.classes)

    def forward(self, images: Tensor, mask: Tensor) -> Tensor:
        x = self.stem(images)
        for stage, options, row in zip(self.stages, self.options, mask, strict=True):
            for block in stage.children():
                x = block(x, row[options])
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits
