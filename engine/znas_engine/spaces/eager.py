"""Pieces of supernets as NAS code bases write them: one module per operation, `sum(w * op(x))` on every edge.

Every operation is computed, also where its weight is zero. These are baselines of `bench`, not a backend:
they are made of the trainable modules of the spaces and share nothing with the engine's own passes. Importing
this file loads torch.
"""

from __future__ import annotations

from torch import Tensor, nn


class Zero(nn.Module):
    """`none`."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class MixedOperation(nn.ModuleDict):
    """One edge: every candidate operation, weighted by its row of the mask."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        total: Tensor = sum(w * op(x) for w, op in zip(weights, self.values(), strict=True))
        return total
