"""The chains of `mobilenet`: how they are written, their sizes, and that MobileNetV2 is one of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.conftest import small
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv
from znas_engine.spaces import Macro, resize
from znas_engine.spaces.mobilenet import MobileNet, MobileNetGenotype, network
from znas_engine.spaces.mobilenet import space as graphs
from znas_engine.spaces.mobilenet.genotype import EDGES, FIRST, OPERATIONS, STAGES, canonical, stages
from znas_engine.testing import SpaceContract

pytestmark = pytest.mark.ours

SPACE = MobileNet()
V2 = "6x3,6x3,-,-/6x3,6x3,6x3,-/6x3,6x3,6x3,6x3/6x3,6x3,6x3,-/6x3,6x3,6x3,-/6x3"

genotypes = st.tuples(
    *[st.sampled_from(OPERATIONS[1:] if layer in FIRST else OPERATIONS) for layer in range(len(EDGES))]
).map(MobileNetGenotype)
#: Of what builds networks.
few = hypothesis_settings(max_examples=8, deadline=None)


class TestMobileNet(SpaceContract):
    space = SPACE
    resolutions = (16, 37)  # 37, 19, 10, 5, 3 pixels
    test_every_backend_agrees_or_says_what_it_lacks = None  # test_conformance.py asks it


# --- notation ---


def nested(g: MobileNetGenotype) -> list[list[str]]:
    return [list(stage) for stage in stages(g.operations)]


def shorthand(g: MobileNetGenotype) -> list[str]:
    return str(g).replace("/", ",").split(",")


WRITTEN: dict[str, Callable[[MobileNetGenotype], Any]] = {
    "its string": str,
    "its structure": lambda g: g.structure(),
    "JSON": lambda g: json.dumps(g.structure()),
    "indented JSON": lambda g: json.dumps(nested(g), indent=1),
    "names": lambda g: list(g.operations),
    "names as a tuple": lambda g: g.operations,
    "names' text": lambda g: repr(g.operations),
    "an array": lambda g: np.array(g.operations),
    "a list per stage": nested,
    "tuples": lambda g: tuple(map(tuple, nested(g))),
    "tuples' text": lambda g: repr(tuple(map(tuple, nested(g)))),
    "in short": shorthand,
    "in short, as text": lambda g: repr(shorthand(g)),
    "quoted": lambda g: f" '{g}'\n",
    "assigned": lambda g: f'arch = "{g}"',
    "a name": lambda g: f"layers = {nested(g)}",
    "spread over lines": lambda g: f"\n  {g}  \n",
    "byte order mark": lambda g: f"\ufeff{g}",
}


@pytest.mark.parametrize("way", WRITTEN)
@given(genotype=genotypes)
def test_every_way_in_which_it_is_written(way: str, genotype: MobileNetGenotype) -> None:
    assert SPACE.parse(WRITTEN[way](genotype)) == genotype


@given(genotype=genotypes)
def test_a_chain_survives_its_mask(genotype: MobileNetGenotype) -> None:
    mask = SPACE.mask(genotype)
    assert mask.sum() == len(EDGES)
    assert SPACE.genotype(mask) == genotype


PARTS = V2.split("/")


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "not a mobilenet architecture: ''; expected 6 stages of 4, 4, 4, 4, 4, 1 layers, as in 6x3,6x3"),
        ("/".join(PARTS[:5]), "expected 6 stages"),
        ("/".join([*PARTS, "6x3"]), "expected 6 stages"),
        (V2.replace("/6x3,6x3,6x3,6x3/", "/6x3,6x3,6x3/"), "not a mobilenet architecture"),
        (V2.replace("/", ","), "not a mobilenet architecture"),
        (
            V2.replace("6x3", "6x9", 1),
            r"unknown mobilenet operation '6x9': choose one of identity, mb3_k3, .*",
        ),
        (V2.replace("6x3", "4x3", 1), "unknown mobilenet operation '4x3'"),
        (V2.replace("6x3", "", 1), "unknown mobilenet operation ''"),
        ("-" + V2[3:], r"layer 1 of .* is the first of its stage and cannot be an identity: "),
        (["mb6_k3"] * 20 + ["identity"], "layer 21 of a mobilenet architecture is the first of its stage"),
        (["mb6_k3"] * 20, "or 21 operations"),
        (["mb6_k3"] * 20 + ["mb6_k33"], "did you mean 'mb6_k3'"),
        (["mb6_k3"] * 20 + [3], "not a mobilenet architecture"),
        ([["mb6_k3"] * 4] * 6, "not a mobilenet architecture"),
        ({"stages": PARTS}, "not a mobilenet architecture"),
        (None, "not a mobilenet architecture: None"),
    ],
)
def test_malformed_chains(written: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message) as refused:
        SPACE.parse(written)
    assert "\n" not in str(refused.value)


@given(text=st.text("-36x5,7/ ", max_size=120) | st.lists(st.sampled_from(PARTS)).map("/".join))
def test_what_looks_like_one_is_one_or_a_line(text: str) -> None:
    found: Any
    try:
        found = SPACE.parse(text)
    except InvalidValueError as error:
        found = str(error)
    if isinstance(found, str):
        assert found.isprintable()
        assert len(found) <= 400
    else:
        assert SPACE.parse(str(found)) == found


def test_a_mask_says_which_layer_is_wrong() -> None:
    mask = SPACE.mask(SPACE.parse(V2))
    mask[[4, 9]] = 0
    with pytest.raises(InvalidValueError, match=r"rows are one-hot, .*; layer 5 has \[0.0, 0.0, 0.0, 0.0, 0"):
        SPACE.genotype(mask)
    mask = SPACE.mask(SPACE.parse(V2))
    mask[4] = [1, 0, 0, 0, 0, 0, 0]
    with pytest.raises(InvalidValueError, match=r"no identity where a stage begins; layer 5 has \[1.0, 0.0"):
        SPACE.genotype(mask)


# --- equal functions ---


@given(genotype=genotypes, seed=st.integers(0, 2**32))
def test_identities_behind_the_first_layer_of_a_stage_commute(genotype: MobileNetGenotype, seed: int) -> None:
    rng, moved = np.random.default_rng(seed), list[str]()
    for first, *behind in stages(genotype.operations):
        inner = iter([name for name in behind if name != "identity"])
        stays = rng.permutation([name != "identity" for name in behind])
        moved += [first, *(next(inner) if stay else "identity" for stay in stays)]
    other = MobileNetGenotype(tuple(moved))
    assert SPACE.function_of(other) == SPACE.function_of(genotype)
    assert SPACE.representative(other) == SPACE.representative(genotype) == canonical(genotype)


@given(one=genotypes, other=genotypes)
def test_other_layers_are_another_function(one: MobileNetGenotype, other: MobileNetGenotype) -> None:
    layers = [
        [[name for name in stage if name != "identity"] for stage in stages(g.operations)]
        for g in (one, other)
    ]
    assert (SPACE.function_of(one) == SPACE.function_of(other)) == (layers[0] == layers[1])


# --- sizes ---


def test_mobilenetv2_is_among_them() -> None:
    """torchvision's mobilenet_v2 has 3,504,872 parameters; the paper says 3.4 M and 300 M multiplications."""
    built = SPACE.network(SPACE.parse(V2), SPACE.evaluation_macro(resolution=224, classes=1000))
    assert (built.parameters, built.flops) == (3_504_872, 300_775_272)


def test_widths_and_strides_of_graphs_and_networks_are_one() -> None:
    """The file of the trainable network stands alone, so both say them."""
    for channels in range(2, 201):
        assert graphs._widths(channels) == network.widths(channels)
    for resolution in range(1, 257):
        assert tuple(graphs._strides(resolution)) == (
            network.strides(resolution)[0],
            *network.strides(resolution)[1],
        )
    assert tuple(zip(graphs.WIDTHS, graphs.STRIDES, STAGES, strict=True)) == network.STAGES


def test_strides_leave_three_pixels_or_more() -> None:
    """All five from 96 pixels on; of fewer pixels the last are kept, so that most layers see few of them."""
    left = {}
    for resolution in range(3, 257):
        first, further = network.strides(resolution)
        side = resolution
        for stride in (first, *further):
            side = -(-side // stride)
        left[resolution] = (side, first * int(np.prod(further)))
    assert min(side for side, _ in left.values()) >= 3
    assert all(by == 32 for resolution, (_, by) in left.items() if resolution >= 96)
    assert (left[32], left[64], left[95]) == ((4, 8), (4, 16), (6, 16))


@few
@given(
    genotype=genotypes,
    channels=st.integers(2, 12),
    cells=st.integers(1, 2),
    resolution=st.integers(1, 64),
    inputs=st.sampled_from([1, 3]),
)
def test_the_trainable_network_has_the_graphs_sizes(
    genotype: MobileNetGenotype, channels: int, cells: int, resolution: int, inputs: int
) -> None:
    macro = Macro(channels=channels, cells=cells, resolution=resolution, classes=7, inputs=inputs)
    graph, module = SPACE.network(genotype, macro), SPACE.to_torch(genotype, macro).eval()
    assert sum(p.numel() for p in module.parameters()) == graph.parameters
    with torch.no_grad():
        assert module(torch.zeros(1, inputs, resolution, resolution)).shape == (1, 7)
    sides: list[int] = []
    for each in module.modules():
        if isinstance(each, torch.nn.Conv2d):
            each.register_forward_hook(lambda m, i, out: sides.append(out.shape[-1]))
    with torch.no_grad():
        module(torch.zeros(1, inputs, resolution, resolution))
    assert sides == [node.shape[1] for node in graph.nodes if isinstance(node, Conv)]


@few
@given(genotype=genotypes, cells=st.integers(1, 2))
def test_equal_functions_cost_the_same(genotype: MobileNetGenotype, cells: int) -> None:
    macro = resize(small(SPACE), channels=None, cells=cells)
    one, other = (SPACE.network(g, macro) for g in (genotype, canonical(genotype)))
    assert (one.parameters, one.flops) == (other.parameters, other.flops)


def test_blocks_behind_the_first_of_a_layer_keep_shape() -> None:
    """Two blocks per layer: the second adds its input, an identity is two of them."""
    macro = replace(small(SPACE), cells=2)
    one, two = (SPACE.network(SPACE.parse(V2), replace(macro, cells=cells)) for cells in (1, 2))
    assert len(two.cells) == len(one.cells) + len(EDGES)
    assert [node.shape for node in two.nodes][-2:] == [node.shape for node in one.nodes][-2:]


def test_the_recipe_of_its_community_is_read() -> None:
    from znas.training.recipe import recipe

    found = recipe("mobilenet-imagenet")
    assert (found.epochs, found.batch, found.lr, found.weight_decay) == (150, 256, 0.05, 4e-5)
    assert isinstance(SPACE.recipes, Path)
    assert [path.stem for path in SPACE.recipes.iterdir()] == ["mobilenet-imagenet"]
