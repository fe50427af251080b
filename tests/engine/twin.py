"""The oracle of score tests: an architecture's own PyTorch network, in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.conftest import SPACES
from znas_engine.environment import Environment
from znas_engine.spaces import Genotype, Macro
from znas_engine.spaces.darts import DartsGenotype

_DARTS_CELL = (
    *(("sep_conv_3x3", 0), ("skip_connect", 1), ("dil_conv_5x5", 0), ("sep_conv_3x3", 2)),
    *(("dil_conv_3x3", 1), ("sep_conv_5x5", 3), ("skip_connect", 0), ("sep_conv_3x3", 1)),
)
#: Cells with skips, convolutions and (but for DARTS, whose supernet normalises them) pools.
CELLS: dict[str, Genotype] = {
    "nasbench201": SPACES["nasbench201"].parse(
        "|nor_conv_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_3x3~0|avg_pool_3x3~1|nor_conv_1x1~2|"
    ),
    "darts": DartsGenotype(_DARTS_CELL, _DARTS_CELL),
    "nasbench_macro": SPACES["nasbench_macro"].parse("10201120"),
    "mobilenet": SPACES["mobilenet"].parse(
        "6x3,-,3x5,-/3x7,6x5,-,6x7/6x3,-,-,-/3x3,3x3,3x5,6x7/6x5,-,6x3,3x7/3x3"
    ),
}


def twin(space: str, genotype: Genotype, macro: Macro, environment: Environment) -> nn.Module:
    """With the environment's weights and untrained normalisation (mean 0, variance 1)."""
    network = SPACES[space].to_torch(genotype, macro)
    supernet = {node.name: node for node in SPACES[space].supernet(macro).nodes if hasattr(node, "fan_in")}
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() in (2, 4):
                node: Any = supernet[name.removesuffix(".weight")]
                parameter.copy_(torch.from_numpy(environment.weight(node)))
        network.get_submodule("classifier").bias.zero_()
    return network.double().eval()


def maps(network: Any, images: Tensor) -> tuple[Tensor, ...]:
    """The outputs of the stem and of all cells."""
    found = [network.stem(images)]
    pair = [found[0], found[0]]
    ahead = [network.first] if hasattr(network, "first") else []
    for cell in [*ahead, *(network.cells if hasattr(network, "cells") else network.layers)]:
        found.append(cell(*pair) if hasattr(network, "is_imagenet") else cell(pair[1]))
        pair = [pair[1], found[-1]]
    return tuple(found)


def relu_codes(network: nn.Module, images: Tensor) -> NDArray[np.bool_]:
    """bool [N, units]: which units of which nn.ReLU are positive."""
    found: list[NDArray[np.bool_]] = []
    hooks = [
        module.register_forward_hook(lambda m, i, out: found.append((out > 0).flatten(1).numpy()))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return np.hstack(found)


def double(images: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(images.astype(np.float64))
