"""What a recipe adds to a network while it is trained, and what is no part of it afterwards.

Both look for what spaces of cells have in common: a list `cells` of modules, each with `edges`, a list of
dictionaries of operations. A network without them is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from znas_engine.errors import InvalidValueError


class DropPath:
    """Leaves the output of an operation out of an image with probability `rate`, and divides what stays by
    1 - rate; identities stay. Larsson, Maire and Shakhnarovich, FractalNet, ICLR 2017.

    Raises InvalidValueError: a network without operations on edges.
    """

    def __init__(self, network: nn.Module) -> None:
        self.rate = 0.0
        found = [
            operation
            for cell in _cells(network, "drops paths")
            for edge in getattr(cell, "edges", ())
            for operation in (edge.values() if isinstance(edge, nn.ModuleDict) else ())
        ]
        if not found:
            raise _without("drops paths", "`cells[i].edges[j]`")
        for operation in found:
            if not isinstance(operation, nn.Identity):
                operation.register_forward_hook(self._dropped)

    def _dropped(self, operation: nn.Module, _: Any, output: Tensor) -> Tensor:
        if not operation.training or self.rate == 0:
            return output
        shape = (len(output), 1, 1, 1)
        kept = torch.rand(shape, device=output.device) >= self.rate
        return output * kept.to(output.dtype) / (1 - self.rate)


class Auxiliary(nn.Module):
    """A second classifier on the cell at two thirds of the depth, whose loss helps what lies before it.

    Szegedy et al., Going Deeper with Convolutions, CVPR 2015; of this form in Liu et al., DARTS, ICLR 2019.
    logits: float32 [n, classes] of the last images that went through the network in training; None before.

    images: float32 [2, C, H, W], by which the shape at that cell becomes known.

    Raises InvalidValueError: a network without cells, or of too low a resolution there.
    """

    def __init__(self, network: nn.Module, images: Tensor, classes: int) -> None:
        super().__init__()
        self.logits: Tensor | None = None
        cells = _cells(network, "has an auxiliary classifier")
        seen: list[Tensor] = []
        cell = cells[2 * len(cells) // 3]
        handle = cell.register_forward_hook(lambda module, given, output: seen.append(output))
        with torch.no_grad():
            was = network.training
            network.eval()(images)
            network.train(was)
        handle.remove()
        _, width, side, _ = seen[0].shape
        if side < 7:
            raise InvalidValueError(
                f"the recipe has an auxiliary classifier, which needs maps of 7 x 7 or more at two thirds of "
                f"the depth, and here are {side} x {side}: raise --resolution, or pass --recipe quick"
            )
        self.head = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3 if side >= 8 else 2),
            nn.Conv2d(width, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)
        cell.register_forward_hook(self._seen)

    def _seen(self, cell: nn.Module, _: Any, output: Tensor) -> None:
        self.logits = self.classifier(self.head(output).mean((2, 3))) if cell.training else None


def _cells(network: nn.Module, does: str) -> nn.ModuleList:
    cells = getattr(network, "cells", None)
    if not isinstance(cells, nn.ModuleList) or not len(cells):
        raise _without(does, "`cells`")
    return cells


def _without(does: str, what: str) -> InvalidValueError:
    return InvalidValueError(f"the recipe {does}, and this network has no {what}: pass --recipe quick")
