"""The trainable network of `tests.ragged.Ragged`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Network(nn.Module):
    def __init__(
        self, names: list[str], *, channels: int = 4, cells: int = 1, classes: int = 10, inputs: int = 3
    ) -> None:
        super().__init__()
        self.names = names
        self.stem = nn.Conv2d(inputs, channels, 3, padding=1, bias=False)
        self.cells = nn.ModuleList(nn.ModuleList(conv(n, channels) for n in names) for _ in range(cells))
        self.classifier = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        for edges in self.cells:
            both = zip(edges, self.names, strict=True)
            first, second, third = (e if n != "none" else torch.zeros_like for e, n in both)
            middle = first(x)
            x = second(x) + third(middle)
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def conv(name: str, channels: int) -> nn.Module:
    if not name.startswith("conv"):
        return nn.Identity()
    kernel = int(name[-1])
    return nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, kernel, padding=kernel // 2, bias=False))
