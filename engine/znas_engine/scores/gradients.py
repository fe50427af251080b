"""What gradient scores share: derivatives of the supernet under a mask. Imports torch when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from znas_engine.data import Batch
from znas_engine.graph import Conv, Node
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import chunks

if TYPE_CHECKING:
    from torch import Tensor

    from znas_engine.supernet.network import Network


#: Images whose activations are held together for their derivatives: a supernet's take 30 MB each.
ALONE = 8


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


def jacobian_together(network: Network, mask: Mask, images: Tensor) -> Tensor:
    """d sum of the logits of image n / d weights [n, weights], a pass backwards for every image."""
    import torch

    weights = list(leaves(network, mask).items())
    sums = network(mask, images, weights=dict(weights)).sum(1)
    rows = [torch.autograd.grad(each, [w for _, w in weights], retain_graph=True) for each in sums]
    return torch.stack([torch.cat([gradient.flatten() for gradient in row]) for row in rows])


def jacobian_alone(network: Network, mask: Mask, images: Tensor) -> Tensor:
    """The same of images that do not see each other: one pass backwards for `ALONE` of them, down to what
    every layer puts out; from there an image's gradient is the product of that with what the layer reads."""
    import torch

    parts = []
    for some in torch.split(images, ALONE):
        values: dict[int, Tensor] = {}
        weights = leaves(network, mask)
        logits = network(mask, some, weights=weights, watch=values.__setitem__)
        gradients = torch.autograd.grad(logits.sum(), [values[i] for i in weights])
        nodes = network.graph.nodes
        parts.append(
            torch.cat(
                [
                    _weight_gradients(nodes[i], values[nodes[i].inputs[0]].detach(), gradient)
                    for i, gradient in zip(weights, gradients, strict=True)
                ],
                1,
            )
        )
    return torch.cat(parts)


def _weight_gradients(node: Node, x: Tensor, gradient: Tensor) -> Tensor:
    """Per image, from what a layer reads and d / d what it puts out [n, ...] -> [n, weights]."""
    import torch.nn.functional as F

    n, groups = len(x), 1
    if isinstance(node, Conv):
        groups = node.groups
        x = F.unfold(x, node.kernel, node.dilation, node.padding, node.stride)
    x, gradient = (t.reshape(n * groups, -1, t[0, 0].numel()) for t in (x, gradient))
    return (gradient @ x.mT).view(n, -1)


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
