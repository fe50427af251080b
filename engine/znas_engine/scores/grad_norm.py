"""Gradient norm at initialisation (Abdelfattah et al., ICLR 2021, Zero-Cost Proxies)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from znas_engine.data import Batch
from znas_engine.scores.base import GradientScore
from znas_engine.scores.gradients import loss_gradients
from znas_engine.spaces.base import Mask

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network


class GradNorm(GradientScore):
    """sum over layers of |d loss / d W|, the Euclidean norm, of the cross-entropy of the batch."""

    name = "grad_norm"
    needs_labels = True

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        return sum(float(gradient.norm()) for _, gradient in loss_gradients(network, mask, batch))
