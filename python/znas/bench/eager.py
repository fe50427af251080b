"""The contenders that run a space's eager supernet, see `znas_engine.spaces.eager`. Importing this file loads
torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from znas.bench.contenders import Request, Run
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Linear
from znas_engine.spaces import Mask
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
                network(part, weights)  # allocates and tunes, which a capture must not
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=stream):
                logits = network(part, weights)
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
        logits = torch.cat([network(part, weights) for part in parts])
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
    if request.space.eager is None:
        raise InvalidValueError(
            f"the space {request.space.name} brings no eager supernet: name contenders that are backends"
        )
    module, _, name = request.space.eager.partition(":")
    network: nn.Module = getattr(import_module(module), name)(request.macro)
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
    network(torch.from_numpy(images[chunks(len(images))[0]]), torch.from_numpy(request.space.mixture()))
    for hook in hooks:
        hook.remove()
