"""What gradient scores share: derivatives of the supernet under a mask. Imports torch when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from znas_engine.data import Batch
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import chunks

if TYPE_CHECKING:
    from torch import Tensor

    from znas_engine.backends.torch_reference import Network


def leaves(network: Network, mask: Mask) -> dict[int, Tensor]:
    """The weights that reach the logits, by position in the graph, as variables to differentiate by."""
    live = network.graph.live(mask)
    return {i: weight.detach().requires_grad_() for i, weight in network.weights.items() if live[i]}


def loss_gradients(network: Network, mask: Mask, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    """(weight, d loss / d weight) per live layer; the loss is the mean cross-entropy over the batch."""
    import torch
    import torch.nn.functional as F

    assert batch.labels is not None
    weights = leaves(network, mask)
    total: Any = [torch.zeros_like(weight) for weight in weights.values()]
    for rows in chunks(len(batch.images)):
        logits = network(mask, torch.from_numpy(batch.images[rows]), weights=weights)
        loss = F.cross_entropy(logits, torch.from_numpy(batch.labels[rows]), reduction="sum")
        for sum_, part in zip(total, torch.autograd.grad(loss, list(weights.values())), strict=True):
            sum_ += part
    return [(w.detach(), g / len(batch.images)) for w, g in zip(weights.values(), total, strict=True)]


def halves(batch: Batch) -> tuple[Batch, Batch]:
    """The first and the second half of a labelled batch."""
    assert batch.labels is not None
    middle = len(batch.images) // 2
    first, second = (
        Batch(np.ascontiguousarray(images), labels)
        for images, labels in zip(
            np.split(batch.images, [middle]), np.split(batch.labels, [middle]), strict=True
        )
    )
    return first, second
