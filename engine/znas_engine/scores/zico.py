"""ZiCo: gradients that are large and agree between batches (Li et al., ICLR 2023)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from znas_engine.data import Batch
from znas_engine.scores.base import GradientScore
from znas_engine.scores.gradients import halves, loss_gradients
from znas_engine.spaces.base import Mask

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network


class Zico(GradientScore):
    """sum over layers of log(sum over weights of mean|g| / std(g)).

    Mean and (population) standard deviation are over two batches, as in the experiments of the paper: the
    halves of the environment's. Weights whose gradients are equal in both are left out.
    """

    name = "zico"
    needs_labels = True
    min_images = 2

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        total = 0.0
        first, second = (loss_gradients(network, mask, half) for half in halves(batch))
        for (_, a), (_, b) in zip(first, second, strict=True):
            mean, deviation = (a.abs() + b.abs()) / 2, (a - b).abs() / 2
            ratio = float((mean / deviation)[deviation > 0].sum())
            if ratio > 0:
                total += math.log(ratio)
        return total
