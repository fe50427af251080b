"""SNIP: how much the loss would feel the loss of a weight (Lee et al., ICLR 2019; summed by Abdelfattah et
al., ICLR 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from znas_engine.data import Batch
from znas_engine.scores.base import GradientScore
from znas_engine.scores.gradients import loss_gradients
from znas_engine.spaces.base import Mask

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network


class Snip(GradientScore):
    """sum over weights of |w * d loss / d w|, of the cross-entropy of the batch."""

    name = "snip"
    needs_labels = True

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        return sum(float((w * gradient).abs().sum()) for w, gradient in loss_gradients(network, mask, batch))
