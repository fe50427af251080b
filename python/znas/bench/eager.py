"""The supernet as NAS code bases write it: one module per operation, `sum(w * op(x))` on every edge.

Every operation is computed, also where its weight is zero. These are baselines, not a backend: they are made
of the trainable modules of `znas_engine.networks` and share nothing with the engine's own passes. Importing
this file loads torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from znas.bench.contenders import Request, Run
from znas_engine.graph import Conv, Linear
from znas_engine.networks import darts, nasbench201
from znas_engine.spaces import SPACES, Macro, Mask
from znas_engine.supernet.normalisation import chunks

Network = Callable[[Tensor, Tensor], Tensor]


def eager(request: Request) -> Run:
    """NCHW, float32."""
    return _run(request, _supernet(request), torch.contiguous_format)


def channels_last(request: Request) -> Run:
    """The same modules with weights and images in NHWC.

    In float16 it is what a careful user of PyTorch runs on a GPU: images, weights of convolutions and
    classifier, masks and all activations in half precision, for tensor cores; the statistics of
    normalisations stay float32, as under autocast.
    """
    network = _supernet(request)
    if request.dtype != "float32":
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(_dtype(request))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _run(request, network, torch.channels_last)


def compiled(request: Request) -> Run:
    """`torch.compile` of the NCHW supernet; compiled here, for the chunks of this batch of images."""
    network: Network = torch.compile(_supernet(request), dynamic=False)
    run = _run(request, network, torch.contiguous_format)
    run(request.space.mixture())
    return run


def cuda_graph(request: Request) -> Run:
    """The NCHW supernet's kernels, launched as one CUDA graph per chunk of images."""
    network = _supernet(request)
    weights = torch.from_numpy(request.space.mixture()).to(request.device)
    graphs = []
    with torch.inference_mode():
        for part in _parts(request, torch.contiguous_format):
            stream = torch.cuda.Stream(request.device)  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                network(weights, part)  # allocates and tunes, which a capture must not
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                logits = network(weights, part)
            graphs.append((graph, logits))

    def run(mask: Mask) -> NDArray[np.float32]:
        weights.copy_(torch.from_numpy(mask))
        for graph, _ in graphs:
            graph.replay()
        found: NDArray[np.float32] = torch.cat([logits for _, logits in graphs]).cpu().numpy()
        return found

    return run


def _run(request: Request, network: Network, layout: torch.memory_format) -> Run:
    parts = _parts(request, layout)

    @torch.inference_mode()
    def run(mask: Mask) -> NDArray[np.float32]:
        weights = torch.from_numpy(mask).to(request.device, _dtype(request))
        logits = torch.cat([network(weights, part) for part in parts])
        found: NDArray[np.float32] = logits.float().cpu().numpy()
        return found

    return run


def _parts(request: Request, layout: torch.memory_format) -> list[Tensor]:
    """The images on the device, those that go together in one tensor."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # float32 is float32
    torch.backends.cudnn.benchmark = True  # as those code bases set it: cuDNN keeps its fastest algorithms
    images = torch.from_numpy(request.environment.batch.images).to(request.device, _dtype(request))
    return [images[rows].contiguous(memory_format=layout) for rows in request.chunks()]


def _dtype(request: Request) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, request.dtype)
    return dtype


def _supernet(request: Request) -> nn.Module:
    """The modules with the environment's weights and calibrated statistics, in eval mode."""
    network = _NETWORKS[request.space.name](request.macro)
    with torch.no_grad():
        for node in request.space.supernet(request.macro).nodes:
            if isinstance(node, Conv | Linear):
                weight = torch.from_numpy(request.environment.weight(node))
                network.get_parameter(f"{node.name}.weight").copy_(weight)
        network.get_parameter("classifier.bias").zero_()
        _calibrate(network, request)
    return network.eval().to(request.device)


def _calibrate(network: nn.Module, request: Request) -> None:
    """Freezes the moments that each normalisation sees under the mixture on the first chunk of images."""

    def measure(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        variance, mean = torch.var_mean(inputs[0], (0, 2, 3), correction=0)
        norm.get_buffer("running_mean").copy_(mean)
        norm.get_buffer("running_var").copy_(variance)

    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 0.0  # a pass in training mode leaves the statistics as `measure` wrote them
    hooks = [norm.register_forward_pre_hook(measure) for norm in norms]
    images = request.environment.batch.images
    network.train()
    network(torch.from_numpy(request.space.mixture()), torch.from_numpy(images[chunks(len(images))[0]]))
    for hook in hooks:
        hook.remove()


class Zero(nn.Module):
    """`none`."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride] * 0.0


class MixedOperation(nn.ModuleDict):
    """One edge: every candidate operation, weighted by its row of the mask."""

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        total: Tensor = sum(w * op(x) for w, op in zip(weights, self.values(), strict=True))
        return total


class NasBench201Cell(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        space = SPACES["nasbench201"]
        self.targets = [(edge.source, edge.target) for edge in space.edges]
        self.edges = nn.ModuleList(
            MixedOperation(
                {
                    name: Zero(1) if name == "none" else nasbench201.operation(name, channels)
                    for name in space.operations
                }
            )
            for _ in space.edges
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        values = [x]
        for node in (1, 2, 3):
            terms = [
                edge(values[source], weights)
                for edge, weights, (source, target) in zip(self.edges, mask, self.targets, strict=True)
                if target == node
            ]
            values.append(sum(terms))
        return values[-1]


class NasBench201Supernet(nn.Module):
    """mask [6, 5], images [n, 3, H, W] -> logits [n, classes]"""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        c = macro.channels
        self.stem = nn.Sequential(nn.Conv2d(3, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))
        self.cells = nn.ModuleList()
        for stage in range(3):
            width = c << stage
            if stage:
                self.cells.append(nasbench201.ResidualBlock(width // 2, width))
            self.cells.extend(NasBench201Cell(width) for _ in range(macro.cells))
        self.last = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Linear(width, macro.classes)

    def forward(self, mask: Tensor, images: Tensor) -> Tensor:
        x = self.stem(images)
        for cell in self.cells:
            x = cell(x, mask) if isinstance(cell, NasBench201Cell) else cell(x)
        logits: Tensor = self.classifier(self.last(x).mean((2, 3)))
        return logits


class DartsCell(nn.Module):
    def __init__(
        self, before: int, last: int, channels: int, *, reduction: bool, reduced_before: bool
    ) -> None:
        super().__init__()
        self.preprocess0 = (
            darts.FactorizedReduce(before, channels)
            if reduced_before
            else darts.relu_conv_norm(before, channels)
        )
        self.preprocess1 = darts.relu_conv_norm(last, channels)
        self.edges = nn.ModuleList(
            MixedOperation(
                {
                    name: _darts_operation(name, channels, 2 if reduction and source < 2 else 1)
                    for name in SPACES["darts"].operations
                }
            )
            for target in (2, 3, 4, 5)
            for source in range(target)
        )

    def forward(self, before: Tensor, last: Tensor, rows: Sequence[Tensor]) -> Tensor:
        values = [self.preprocess0(before), self.preprocess1(last)]
        first = 0
        for _ in range(4):
            terms = [self.edges[first + k](value, rows[first + k]) for k, value in enumerate(values)]
            first += len(values)
            values.append(sum(terms))
        return torch.cat(values[2:], 1)


def _darts_operation(name: str, channels: int, stride: int) -> nn.Module:
    if name == "none":
        return Zero(stride)
    module = darts.operation(name, channels, stride)
    return nn.Sequential(module, nn.BatchNorm2d(channels)) if "pool" in name else module


class DartsSupernet(nn.Module):
    """mask [28, 8], images [n, 3, H, W] -> logits [n, classes]; rows 0 to 13 are the normal cell's."""

    def __init__(self, macro: Macro) -> None:
        super().__init__()
        if macro.stem != "cifar":
            raise ValueError(f"this baseline has no {macro.stem} stem: pass a resolution of at most 64")
        c = macro.channels
        before = last = 3 * c
        self.stem = nn.Sequential(nn.Conv2d(3, last, 3, padding=1, bias=False), nn.BatchNorm2d(last))
        self.cells = nn.ModuleList()
        self.reductions = (macro.cells // 3, 2 * macro.cells // 3)
        for number in range(macro.cells):
            reduction = number in self.reductions
            c *= 2 if reduction else 1
            cell = DartsCell(
                before, last, c, reduction=reduction, reduced_before=number - 1 in self.reductions
            )
            self.cells.append(cell)
            before, last = last, 4 * c
        self.classifier = nn.Linear(last, macro.classes)

    def forward(self, mask: Tensor, images: Tensor) -> Tensor:
        before = last = self.stem(images)
        for number, cell in enumerate(self.cells):
            rows = mask[14:] if number in self.reductions else mask[:14]
            before, last = last, cell(before, last, rows)
        logits: Tensor = self.classifier(last.mean((2, 3)))
        return logits


_NETWORKS = {"nasbench201": NasBench201Supernet, "darts": DartsSupernet}
