"""SynFlow: how much flow the weights carry, without data (Tanaka et al., NeurIPS 2020)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from znas_engine.data import Batch
from znas_engine.scores.base import BATCH, GradientScore
from znas_engine.scores.gradients import leaves
from znas_engine.spaces.base import Mask

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network


class Synflow(GradientScore):
    """log(1 + sum over weights of |w| dR / d|w|), R the sum of the logits of an image of ones under the
    absolute weights, normalisation off.

    The published score is the sum, which spans many powers of ten; the logarithm keeps the order. In float64.
    `path_norm` is log(1 + R), without gradients.
    """

    name = "synflow"
    probe = BATCH.under("identity")

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        import torch

        weights = {i: w.detach().double().abs().requires_grad_() for i, w in leaves(network, mask).items()}
        ones = torch.ones(1, *batch.images.shape[1:], dtype=torch.float64)
        flow = network(mask, ones, weights=weights).sum()
        gradients = torch.autograd.grad(flow, list(weights.values()))
        terms = zip(weights.values(), gradients, strict=True)
        return math.log1p(sum(float((w.detach() * gradient).sum()) for w, gradient in terms))
