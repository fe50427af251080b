"""Condition number of the neural tangent kernel (TE-NAS: Chen et al., ICLR 2021)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from znas_engine.data import Batch
from znas_engine.scores.base import GradientScore
from znas_engine.scores.gradients import jacobian_alone, jacobian_together
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import chunks

if TYPE_CHECKING:
    from znas_engine.supernet.network import Network

#: Rounding of float32.
RESOLUTION = 2.0**-23


class Ntk(GradientScore):
    """- largest / smallest eigenvalue of J J^T, J[n] = d sum of logits of image n / d weights.

    An eigenvalue below RESOLUTION of the largest counts as that: the kernel is singular to float32.
    """

    name = "ntk"
    min_images = 2
    #: The Jacobian of a supernet of NAS-Bench-201 takes 9 MB per image and thread.
    max_images = 64

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        import torch

        images = torch.from_numpy(batch.images)
        # Frozen statistics see each image alone; those of a batch need all of it.
        each = jacobian_alone if network.statistics else jacobian_together
        stacked = torch.cat([each(network, mask, images[rows]) for rows in chunks(len(images))])
        eigenvalues = np.linalg.eigvalsh((stacked @ stacked.T).double().cpu().numpy())
        share = eigenvalues[0] / eigenvalues[-1] if eigenvalues[-1] > 0 else 0.0
        return -1 / max(float(share), RESOLUTION)
