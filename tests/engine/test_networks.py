"""The graph against an independent network: the PyTorch modules that architecture.py is made of."""

from __future__ import annotations

import random
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from tests.conftest import SPACES, small
from znas_engine.data import Gaussian
from znas_engine.export.onnx_graph import export
from znas_engine.graph import Conv, Linear
from znas_engine.spaces import Genotype, SearchSpace, resize
from znas_engine.spaces.darts import Darts, DartsGenotype
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.supernet.normalisation import Statistics

NB201, DARTS = NasBench201(), Darts()


def random_genotypes(count: int) -> list[tuple[SearchSpace[Any], Genotype, int]]:
    rng = random.Random(0)
    cases: list[tuple[SearchSpace[Any], Genotype, int]] = []
    for k in range(count):
        nb201 = NasBench201Genotype(tuple(rng.choice(NB201.operations) for _ in range(6)))
        cases.append((NB201, nb201, 16 if k % 2 else 32))
        cell = [
            tuple(
                (rng.choice(DARTS.operations), rng.randrange(target))
                for target in (2, 3, 4, 5)
                for _ in range(2)
            )
            for _ in range(2)
        ]
        cases.append((DARTS, DartsGenotype(*cell), 32 if k % 2 else 96))
    twice = (("sep_conv_3x3", 0), ("sep_conv_3x3", 0)) + (("none", 1), ("none", 1)) * 3
    cases.append((DARTS, DartsGenotype(twice, twice), 32))
    return cases


@pytest.mark.parametrize(("space", "genotype", "resolution"), random_genotypes(6))
def test_graph_and_modules_agree(space: SearchSpace[Any], genotype: Genotype, resolution: int) -> None:
    """Same parameter count, same weight names, same logits."""
    macro = resize(space.evaluation_macro(resolution=resolution, classes=7), channels=8, cells=3)
    graph = space.network(genotype, macro)
    torch.manual_seed(0)
    network = space.to_torch(genotype, macro).eval()
    with torch.no_grad():
        network.get_submodule("classifier").bias.zero_()
    state = network.state_dict()
    assert sum(p.numel() for p in network.parameters()) == graph.parameters
    used = {node.name + ".weight" for node in graph.nodes if isinstance(node, Conv | Linear)}
    assert used == {name for name, value in state.items() if value.dim() in (2, 4)}

    def weights(node: Conv | Linear) -> Any:
        return state[f"{node.name}.weight"].numpy()

    model = export(graph, weights, statistics=Statistics.identity(graph))
    images = torch.randn(3, 3, resolution, resolution, generator=torch.Generator().manual_seed(1))
    (logits,) = onnxruntime.InferenceSession(model).run(None, {"images": images.numpy()})
    expected = network(images).detach().numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("space", "genotype", "resolution"), random_genotypes(1))
def test_source_is_self_contained_and_trains(
    space: SearchSpace[Any], genotype: Genotype, resolution: int, tmp_path: Path
) -> None:
    macro = resize(space.evaluation_macro(resolution=resolution, classes=10), channels=4, cells=3)
    text = space.source(genotype, macro)
    imported = {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported <= {"__future__", "collections", "typing", "torch"}
    scope: dict[str, Any] = {"__name__": "architecture"}
    exec(compile(text, "architecture.py", "exec"), scope)
    network = scope["build"](num_classes=5)
    assert sum(p.numel() for p in network.parameters()) > 0
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    before = [p.detach().clone() for p in network.parameters()]
    loss = torch.nn.functional.cross_entropy(
        network(torch.randn(4, 3, resolution, resolution)), torch.arange(4) % 5
    )
    loss.backward()
    optimiser.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


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
