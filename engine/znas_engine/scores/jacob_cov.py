"""Jacobian covariance: whether images pull the network in different directions (Mellor et al., 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from znas_engine.data import Batch
from znas_engine.scores.base import GradientScore
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import chunks

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network

#: Keeps the logarithm of an eigenvalue finite; the published constant.
K = 1e-5


class JacobCov(GradientScore):
    """- sum_i log(v_i + k) + 1 / (v_i + k), v the eigenvalues of the images' correlation matrix.

        J[n] = d sum of logits / d image n,   correlations over the entries of the rows of J

    The score of the first version of "Neural Architecture Search without Training" (arXiv:2006.04647v1);
    `naswot` is that of the second. A Jacobian of zeros counts as an eigenvalue of 0, the worst.
    """

    name = "jacob_cov"
    max_images = 1024

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        import torch

        parts = []
        for rows in chunks(len(batch.images)):
            images = torch.from_numpy(batch.images[rows]).requires_grad_()
            total = network(mask, images).sum()
            # An architecture without a path from image to logit has no graph to differentiate.
            connected = network.graph.live(mask)[0]
            part = torch.autograd.grad(total, images)[0] if connected else torch.zeros_like(images)
            parts.append(part.flatten(1).numpy())
        jacobian = np.concatenate(parts).astype(np.float64)
        jacobian -= jacobian.mean(1, keepdims=True)
        lengths = np.linalg.norm(jacobian, axis=1, keepdims=True)
        jacobian = np.divide(jacobian, lengths, out=np.zeros_like(jacobian), where=lengths > 0)
        eigenvalues = np.maximum(np.linalg.eigvalsh(jacobian @ jacobian.T), 0)
        return float(-(np.log(eigenvalues + K) + 1 / (eigenvalues + K)).sum())
