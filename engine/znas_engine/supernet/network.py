"""The supernet as a function in PyTorch, node by node: for the reference, for gradients, for training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from znas_engine import graph as kinds
from znas_engine.graph import Graph, Mixed, Node, live_inputs
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import EPSILON, Statistics

Watch = Callable[[int, Tensor], None]


class Network:
    """Walks the graph on the device of its weights; statistics None means those of the images in hand.

    A plain function of images and weights: differentiable in both, and safe to call from several threads.
    """

    def __init__(self, graph: Graph, weights: dict[int, Tensor], statistics: Statistics | None) -> None:
        self.graph = graph
        self.weights = weights
        self.device = next(iter(weights.values())).device
        self.statistics: dict[int, tuple[Tensor, Tensor]] = {}
        if statistics is not None:
            for i, mean in statistics.mean.items():
                both = torch.from_numpy(np.stack([mean, statistics.variance[i]])).to(self.device)
                self.statistics[i] = (both[0, :, None, None], both[1, :, None, None])

    def __call__(
        self,
        mask: Mask,
        images: Tensor,
        *,
        weights: Mapping[int, Tensor] | None = None,
        watch: Watch = lambda i, value: None,
        roots: Iterable[int] = (),
        divided: Watch = lambda i, variance: None,
    ) -> Tensor:
        """mask float32 [E, O], images [n, 3, H, W] -> logits [n, classes] on the device of the images.

        weights: by position in the graph; None means the environment's own. watch: sees every live value,
        and those that `roots` need. divided: sees the variance [C, 1, 1] of every normalisation that is run.
        """
        nodes = self.graph.nodes
        weights = self.weights if weights is None else weights
        live = self.graph.live(mask, roots)
        last_use = {j: i for i in range(len(nodes)) if live[i] for j in live_inputs(nodes[i], mask)}
        values: dict[int, Tensor] = {}
        here = images.to(self.device)
        for i, node in enumerate(nodes):
            if not live[i]:
                continue
            x = (
                here
                if isinstance(node, kinds.Input)
                else self._value(i, node, values, mask, here, weights, divided)
            )
            values[i] = x
            watch(i, x)
            for j in {j for j in live_inputs(node, mask) if last_use[j] == i}:
                del values[j]
        return values[len(nodes) - 1].to(images.device)

    def _value(
        self,
        i: int,
        node: Node,
        values: dict[int, Tensor],
        mask: Mask,
        images: Tensor,
        weights: Mapping[int, Tensor],
        divided: Watch,
    ) -> Tensor:
        if isinstance(node, Mixed):
            total = images.new_zeros(len(images), *node.shape)
            for j, slot in zip(node.inputs, node.slots, strict=True):
                weight = 1.0 if slot is None else float(mask[slot])
                if weight != 0:
                    total.add_(values[j], alpha=weight)
            return total
        x = values[node.inputs[0]]
        match node:
            case kinds.Conv():
                return F.conv2d(x, weights[i], None, node.stride, node.padding, node.dilation, node.groups)
            case kinds.Norm():
                mean, variance = self.statistics[i] if self.statistics else _batch_statistics(x)
                divided(i, variance)
                return (x - mean) * torch.rsqrt(variance + EPSILON)
            case kinds.Relu():
                return F.relu(x)
            case kinds.Pool(mode="max"):
                return F.max_pool2d(x, node.kernel, node.stride, node.padding)
            case kinds.Pool():
                return F.avg_pool2d(x, node.kernel, node.stride, node.padding, count_include_pad=False)
            case kinds.Shift():
                return x[:, :, 1:, 1:]
            case kinds.Concat():
                return torch.cat([values[j] for j in node.inputs], 1)
            case kinds.GlobalAverage():
                return x.mean((2, 3))
            case kinds.Linear():
                return F.linear(x, weights[i])
            case _:
                raise AssertionError(f"no rule for {type(node).__name__}")


def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    return mean[0], variance[0]
