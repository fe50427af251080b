"""Without torchvision: what asks for it says so in one line, everything else does without."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.command import here, refused
from tests.conftest import SPACES, small
from znas.costs.counts import COUNTS
from znas.costs.features import random_masks
from znas.costs.reference import multiply_accumulates
from znas.vision import augmentation, torchvision_network
from znas_engine.errors import MissingDependencyError

ASKED = [
    ["search", "--data", "torchvision:CIFAR10", "--data-dir", "."],
    ["search", "--data", "torchvision:FakeData"],
    ["profile", "torchvision:resnet18"],
    ["profile", "torchvision:resnet18", "--latency", "torch:cpu:1"],
]


@pytest.mark.ours
@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_without_torchvision(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert refused(here(*arguments)).endswith(
        "this needs torchvision, which is not installed: pip install 'znas-engine[torchvision]'"
    )


@pytest.mark.ours
@pytest.mark.parametrize("call", [lambda: torchvision_network("resnet18", 5), lambda: augmentation("AugMix")])
def test_functions_without_torchvision(call: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'znas-engine\[torchvision\]'$"):
        call()


@pytest.mark.ours
@pytest.mark.parametrize("arguments", ASKED, ids=" ".join)
def test_a_torchvision_for_another_torch(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it says when its operators cannot be registered, which is no ImportError."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "torchvision.py").write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")\n', encoding="utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path)
    said = refused(here(*arguments))
    assert "the torchvision that is installed does not fit the torch that is (RuntimeError: operator" in said
    assert said.endswith("pip install 'znas-engine[torchvision]'")


@pytest.mark.parametrize("space", [*SPACES])
def test_what_torch_counts_is_what_graphs_count(space: str) -> None:
    """So a reference and an architecture that was found are counted alike."""
    found = SPACES[space]
    macro = small(found, classes=6)
    mask = random_masks(found, 1, np.random.default_rng(3))[0]
    graph = found.network(found.genotype(mask), macro)
    network = found.to_torch(found.genotype(mask), macro).eval()
    counted = multiply_accumulates(network, torch.zeros(1, 3, macro.resolution, macro.resolution))
    assert counted == COUNTS["flops"].of(graph) > 0
