"""Networks of grey images; what every space's networks must be is in `znas_engine.testing.SpaceContract`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import SPACES, small
from znas_engine.data.gaussian import Gaussian
from znas_engine.spaces import SearchSpace


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_grey_images_go_through_every_network(space: SearchSpace[Any]) -> None:
    """Graph, trainable network, its file and the eager supernet read as many channels as the data set has."""
    dataset = Gaussian(resolution=16)
    dataset.channels = 1
    macro = space.macro_for(dataset, channels=4, cells=small(space).cells)
    assert space.evaluation_macro_for(dataset).inputs == macro.inputs == 1
    genotype = space.genotype(space.random_path(np.random.default_rng(0)))
    images = torch.randn(2, 1, 16, 16)
    graph = space.network(genotype, macro)
    network = space.to_torch(genotype, macro)
    assert sum(p.numel() for p in network.parameters()) == graph.parameters
    scope: dict[str, Any] = {"__name__": "architecture"}
    exec(compile(space.source(genotype, macro), "architecture.py", "exec"), scope)
    assert space.eager is not None
    module, _, name = space.eager.partition(":")
    eager = getattr(import_module(module), name)(macro)
    for logits in (
        network(images),
        scope["build"]()(images),
        eager(images, torch.from_numpy(space.mixture())),
    ):
        assert logits.shape == (2, 10)
