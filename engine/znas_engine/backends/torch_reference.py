"""The supernet in plain PyTorch: slow, obvious, and what every other backend is checked against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from znas_engine import kernels
from znas_engine.backends.base import Evaluator, Images, MaskedPass
from znas_engine.environment import Environment
from znas_engine.graph import (
    Concat,
    Conv,
    GlobalAverage,
    Graph,
    Input,
    Linear,
    Mixed,
    Node,
    Norm,
    Pool,
    Relu,
    Shift,
    live_inputs,
)
from znas_engine.scores import CodeSite
from znas_engine.spaces import Mask
from znas_engine.supernet.normalisation import EPSILON, Statistics, chunks

Watch = Callable[[int, Tensor], None]


class TorchReference(Evaluator):
    """`--backend torch`: needs neither a compiler nor ONNX."""

    name = "torch"
    packages = ("torch",)

    def prepare(self, environment: Environment, *, codes: bool) -> MaskedPass:
        weights = {
            i: torch.from_numpy(environment.weight(node))
            for i, node in enumerate(self.graph.nodes)
            if isinstance(node, Conv | Linear)
        }
        network = Network(self.graph, weights, self._statistics(environment, weights))

        def run(mask: Mask, images: Images) -> tuple[NDArray[np.float32], Sequence[CodeSite]]:
            sites = self.graph.relu_sites(self.graph.live(mask)) if codes else {}
            found: dict[int, CodeSite] = {}

            def watch(i: int, value: Tensor) -> None:
                if sites.get(i):
                    packed = kernels.pack_codes(value.flatten(1))
                    found[i] = CodeSite(packed, value[0].numel(), sites[i])

            logits = network(torch.from_numpy(mask), torch.from_numpy(images), watch)
            return logits.numpy(), [found[i] for i in sites if sites[i]]

        return run

    def _statistics(self, environment: Environment, weights: dict[int, Tensor]) -> Statistics | None:
        if self.norm == "batch":
            return None
        statistics = Statistics.identity(self.graph)
        if self.norm == "calibrated":
            inputs = {self.graph.nodes[i].inputs[0]: i for i in self.graph.norms()}

            def measure(i: int, value: Tensor) -> None:
                if i in inputs:
                    variance, mean = torch.var_mean(value, (0, 2, 3), correction=0)
                    statistics.mean[inputs[i]] = mean.numpy()
                    statistics.variance[inputs[i]] = variance.numpy()

            images = environment.batch.images[chunks(len(environment.batch.images))[0]]
            mixture = torch.from_numpy(self.space.mixture())
            Network(self.graph, weights, None)(mixture, torch.from_numpy(images), measure)
        return statistics

    def _workers(self) -> ThreadPoolExecutor:
        # One pass, one core: the sums inside a pass are then the same for every number of threads.
        return ThreadPoolExecutor(
            self.threads, thread_name_prefix="znas", initializer=torch.set_num_threads, initargs=(1,)
        )


class Network:
    """Walks the graph; statistics None means those of the images in hand."""

    def __init__(self, graph: Graph, weights: dict[int, Tensor], statistics: Statistics | None) -> None:
        self.graph = graph
        self.weights = weights
        self.statistics: dict[int, tuple[Tensor, Tensor]] = {}
        if statistics is not None:
            for i, mean in statistics.mean.items():
                variance = torch.from_numpy(statistics.variance[i])
                self.statistics[i] = (torch.from_numpy(mean)[:, None, None], variance[:, None, None])

    @torch.inference_mode()
    def __call__(self, mask: Tensor, images: Tensor, watch: Watch) -> Tensor:
        """mask [E, O], images [n, 3, H, W] -> logits [n, classes]; `watch` sees every live value."""
        return self.forward(mask, images, watch)

    def forward(self, mask: Tensor, images: Tensor, watch: Watch = lambda i, value: None) -> Tensor:
        """The same, differentiable with respect to weights and images."""
        nodes = self.graph.nodes
        weight = mask.numpy()
        live = self.graph.live(weight)
        last_use = {j: i for i in range(len(nodes)) if live[i] for j in live_inputs(nodes[i], weight)}
        values: dict[int, Tensor] = {}
        for i, node in enumerate(nodes):
            if not live[i]:
                continue
            values[i] = images if isinstance(node, Input) else self._value(i, node, values, mask, len(images))
            watch(i, values[i])
            for j in {j for j in live_inputs(node, weight) if last_use[j] == i}:
                del values[j]
        return values[len(nodes) - 1]

    def _value(self, i: int, node: Node, values: dict[int, Tensor], mask: Tensor, batch: int) -> Tensor:
        if isinstance(node, Mixed):
            total = torch.zeros(batch, *node.shape)
            for j, slot in zip(node.inputs, node.slots, strict=True):
                weight = 1.0 if slot is None else mask[slot].item()
                if weight != 0:
                    total.add_(values[j], alpha=weight)
            return total
        x = values[node.inputs[0]]
        match node:
            case Conv():
                return F.conv2d(
                    x, self.weights[i], None, node.stride, node.padding, node.dilation, node.groups
                )
            case Norm():
                mean, variance = self.statistics[i] if self.statistics else _batch_statistics(x)
                return (x - mean) * torch.rsqrt(variance + EPSILON)
            case Relu():
                return F.relu(x)
            case Pool(mode="max"):
                return F.max_pool2d(x, node.kernel, node.stride, node.padding)
            case Pool():
                return F.avg_pool2d(x, node.kernel, node.stride, node.padding, count_include_pad=False)
            case Shift():
                return x[:, :, 1:, 1:]
            case Concat():
                return torch.cat([values[j] for j in node.inputs], 1)
            case GlobalAverage():
                return x.mean((2, 3))
            case Linear():
                return F.linear(x, self.weights[i])
            case _:
                raise AssertionError(f"no rule for {type(node).__name__}")


def _batch_statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    return mean[0], variance[0]
