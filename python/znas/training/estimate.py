"""How long a training takes here: measured on a few of its steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from znas.training.recipe import recipe
from znas_engine.data import Dataset

if TYPE_CHECKING:
    from torch import nn

#: Steps of which the last is timed: the first prepares kernels.
_STEPS = 2


def seconds_of(network: nn.Module, dataset: Dataset, name: str, epochs: int) -> tuple[float, str]:
    """(seconds, device) of so many epochs of all images by a recipe, without judging; the device is the first
    GPU, else cpu."""
    import torch

    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    batch = min(recipe(name).batch, dataset.size)
    drawn = dataset.at(np.arange(batch)) if dataset.listed else dataset.batch(batch, seed=0)
    images = torch.from_numpy(drawn.images).to(device, memory_format=torch.channels_last)
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    took = 0.0
    for _ in range(_STEPS):
        began = time.perf_counter()
        network.zero_grad()
        loss = network(images).float().square().mean()
        loss.backward()
        loss.detach().item()  # waits for the device
        took = time.perf_counter() - began
    return took * epochs * -(-dataset.size // batch), device
