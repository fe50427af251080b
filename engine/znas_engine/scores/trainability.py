"""Trainability: whether cells hand gradients back without blowing up or dying (AZ-NAS: Lee & Ham, CVPR
2024)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from znas_engine.data import Batch
from znas_engine.environment import derive_seed
from znas_engine.scores.base import GradientScore
from znas_engine.scores.probes import GAUSSIAN_HE
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

    from znas_engine.supernet.network import Network

#: Added to a gain before it divides.
EPSILON = 1e-6


class Trainability(GradientScore):
    """mean over cells of 2 - s - 1 / (s + 1e-6), s the largest singular value of the cell's mean Jacobian.

        h = random signs in the shape of the output of cell i                  (cell 0 is the stem)
        g = gradient of the sum of h * output of cell i by the output of cell i - 1
        M[i] = mean over images and pixels of the outer product of g and h      (channels by channels)

    As published: Gaussian images, of which the authors take 64, He weights, batch statistics, through which
    gradients pass. Where a cell halves the resolution, the pixels that become one are channels of g. A cell
    that hands back the very signs (a skip connection alone) makes the published score minus infinity; here
    it counts like one that hands nothing back, the least that a cell can have. The signs are a function of
    the images. A cell of DARTS is judged against the cell before alone, although it reads two.
    """

    name = "trainability"
    probe = GAUSSIAN_HE
    max_images = CHUNK

    def __call__(self, network: Network, mask: Mask, batch: Batch) -> float:
        import torch

        outputs: dict[int, Tensor] = {}
        cells = network.graph.cells
        images = torch.from_numpy(batch.images).requires_grad_()

        def watch(i: int, value: Tensor) -> None:
            if i in cells:
                outputs[i] = value

        network(mask, images, watch=watch, roots=cells)
        key = derive_seed(0, "signs", Batch(batch.images, None).digest())
        rng = np.random.Generator(np.random.Philox(key=key))
        gains = []
        for before, after in pairwise(outputs[i] for i in cells):
            drawn = rng.choice(np.array([-1, 1], np.float32), tuple(after.shape))
            signs = torch.from_numpy(drawn).to(after.device)
            back = None
            if before.requires_grad and after.requires_grad:  # or the images do not reach it
                (back,) = torch.autograd.grad(after, before, signs, retain_graph=True, allow_unused=True)
            gains.append(0.0 if back is None else gain(back, signs))
        return float(np.mean([2 - s - 1 / (s + EPSILON) for s in gains]))


def gain(back: Tensor, signs: Tensor) -> float:
    """s of a cell from its g [n, C, H * f, W * f] and its h [n, C', H, W]; 0 where they are equal."""
    import torch
    import torch.nn.functional as F

    if back.shape == signs.shape and torch.equal(back, signs):
        return 0.0
    factor = -(-back.shape[2] // signs.shape[2])
    missing = factor * signs.shape[2] - back.shape[2]
    back = F.pixel_unshuffle(F.pad(back, (0, missing, 0, missing)), factor)
    rows, columns = (t.permute(0, 2, 3, 1).flatten(0, 2) for t in (back, signs))
    return float(torch.linalg.svdvals(rows.T @ columns / len(columns))[0])
