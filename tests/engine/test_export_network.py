"""A discrete architecture as ONNX: what PyTorch computes, in every opset, and nothing dead."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from tests.engine.graphs import graphs
from tests.engine.twin import CELLS
from znas_engine.backends.onnxruntime import session
from znas_engine.errors import InvalidValueError
from znas_engine.export.network import OLDEST, check_opset, export, newest, shapes, untrained
from znas_engine.graph import Builder, Conv, Graph, Linear, Mixed
from znas_engine.spaces import Genotype
from znas_engine.supernet.network import Network
from znas_engine.supernet.normalisation import EPSILON, Statistics

NB201 = SPACES["nasbench201"]
#: Nodes that no image reaches: the zero node 1, and in `UNFED` all but the last edge's source.
EMPTY = NB201.parse("|none~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|")
BLIND = NB201.parse("|none~0|+|none~0|nor_conv_1x1~1|+|nor_conv_3x3~0|skip_connect~1|nor_conv_3x3~2|")
NOTHING = NB201.parse("|none~0|+|none~0|nor_conv_3x3~1|+|none~0|skip_connect~1|nor_conv_3x3~2|")


def drawn(graph: Graph, seed: int, *, positive: bool = False) -> dict[str, Any]:
    """As a training leaves them. positive: scales of normalisation, so that `Statistics` can hold them."""
    rng = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name, shape in shapes(graph).items():
        values = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        if name.endswith("running_var"):
            values = values**2 * 2 + 0.2
        elif len(shape) == 1 and name.endswith("weight"):
            values = np.abs(values) + 0.1 if positive else values
        found[name] = values.astype(np.float32)
    return found


def twin(graph: Graph, tensors: dict[str, Any], images: Any) -> Any:
    """The logits of the engine's own network, whose normalisation has no scale: it goes into mean and
    variance."""
    mean, variance = {}, {}
    for i in graph.norms():
        scale, bias, average, spread = (
            tensors[f"{graph.nodes[i].name}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        deviation = np.sqrt(spread + EPSILON) / scale
        mean[i] = (average - bias * deviation).astype(np.float32)
        variance[i] = (deviation**2 - EPSILON).astype(np.float32)
    weights = {
        i: torch.from_numpy(tensors[f"{node.name}.weight"])
        for i, node in enumerate(graph.nodes)
        if isinstance(node, Conv | Linear)
    }
    empty = np.zeros((1, 1), np.float32)
    logits = Network(graph, weights, Statistics(mean, variance))(empty, torch.from_numpy(images))
    return logits.numpy() + tensors[f"{graph.nodes[-1].name}.bias"]


def discrete(graph: Graph) -> Graph:
    """The terms that stand under no mask."""
    return replace(
        graph,
        nodes=tuple(
            replace(
                node,
                inputs=tuple(j for j, slot in zip(node.inputs, node.slots, strict=True) if slot is None),
                slots=tuple(slot for slot in node.slots if slot is None),
            )
            if isinstance(node, Mixed)
            else node
            for node in graph.nodes
        ),
    )


def half_blind() -> Graph:
    """A concatenation of what images reach with a zero, a value per channel and one that differs by pixel."""
    b = Builder()
    x = b.input(3, 8)
    seen = b.norm("seen.norm", b.conv("seen", x, 4, 3, padding=1))
    zero = b.mixed("zero", [], b.shape(seen))
    flat = b.norm("flat", zero)
    edged = b.relu("relu", b.norm("edged.norm", b.conv("edged", flat, 4, 3, padding=1)))
    small_ = b.shift("shift", b.concat("concat", [zero, seen, flat, edged]))
    all_blind = b.pool("pool.flat", b.concat("blind", [flat, edged]), "max", 3, padding=1)
    tail = b.conv("tail", b.concat("both", [small_, b.shift("shift2", all_blind)]), 4, 1)
    b.linear("classifier", b.global_average("pool", tail), 3)
    return b.graph()


def close(found: Any, expected: Any) -> None:
    scale = max(float(np.abs(expected).max()), 1.0)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-4 * scale


@settings(max_examples=60, derandomize=True)
@given(graph=graphs(), seed=st.integers(0, 1000))
@example(graph=half_blind(), seed=0)
def test_any_graph_gives_the_logits_of_the_engine(graph: Graph, seed: int) -> None:
    graph = discrete(graph)
    tensors = drawn(graph, seed, positive=True)
    images = np.random.default_rng(seed).standard_normal((3, *graph.nodes[0].shape), dtype=np.float32)
    (found,) = session(export(graph, tensors)).run(None, {"images": images})
    close(found, twin(graph, tensors, images))


def trained(space: str, genotype: Genotype, tensors: dict[str, Any]) -> Any:
    network = SPACES[space].to_torch(genotype, small(SPACES[space])).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, strict=False)
    return network


@pytest.mark.parametrize(
    ("space", "genotype", "opset"),
    [
        ("nasbench201", CELLS["nasbench201"], None),
        ("darts", CELLS["darts"], 22),
        *(("nasbench201", cell, opset) for cell in (EMPTY, BLIND, NOTHING) for opset in range(17, 23)),
    ],
)
def test_trained_weights_give_the_logits_of_pytorch(
    space: str, genotype: Genotype, opset: int | None
) -> None:
    """Normalisation with scales of either sign and the classifier's bias, also where images reach only a
    part of the network, or nothing."""
    graph = SPACES[space].network(genotype, small(SPACES[space]))
    tensors = drawn(graph, 3)
    network = trained(space, genotype, tensors)
    assert set(network.state_dict()) - set(tensors) == {
        name for name in network.state_dict() if name.endswith("num_batches_tracked")
    }
    images = np.random.default_rng(0).standard_normal((5, *graph.nodes[0].shape), dtype=np.float32)
    model = export(graph, tensors, opset=opset)
    (found,) = session(model).run(None, {"images": images})
    with torch.inference_mode():
        close(found, network(torch.from_numpy(images)).numpy())
    made = onnx.load_from_string(model)
    assert [each.version for each in made.opset_import] == [opset or OLDEST]
    assert "BatchNormalization" not in {node.op_type for node in made.graph.node}


def stored(model: bytes) -> int:
    """Numbers in the file."""
    return sum(int(np.prod(each.dims)) for each in onnx.load_from_string(model).graph.initializer)


def reached(model: bytes) -> None:
    """Every value depends on the images and reaches the logits."""
    graph = onnx.load_from_string(model).graph
    fed, used = {"images"}, {"logits"}
    for node in graph.node:
        assert fed & {*node.input}, node.name
        fed |= {*node.output}
    for node in reversed(graph.node):
        assert used & {*node.output}, node.name
        used |= {*node.input}
    assert {each.name for each in graph.initializer} <= used


@pytest.mark.parametrize("genotype", [CELLS["nasbench201"], EMPTY], ids=["whole", "empty node"])
def test_an_untrained_network_is_as_large_as_what_is_alive(genotype: Genotype) -> None:
    """No stored zeros, however large the images are, and no operation that computes a constant."""
    macro = replace(small(NB201), resolution=64)
    graph = NB201.network(genotype, macro)
    model = export(graph, untrained(graph, lambda node: np.ones(node.weight_shape, np.float32)))
    reached(model)
    alive, fed = graph.live(None), graph.fed(None)
    weights = sum(node.parameters for node, *on in zip(graph.nodes, alive, fed, strict=True) if all(on))
    assert stored(model) <= weights + 32
    assert len(model) < 4 * weights + 250 * len(graph.nodes)


def test_what_is_learnt_of_a_blind_part_is_a_number_per_channel() -> None:
    """EMPTY's convolution of the zero node gives its normalisation's shift: no operation of it is left."""
    graph = NB201.network(EMPTY, small(NB201))
    model = export(graph, drawn(graph, 0))
    reached(model)
    assert not any("edges.2" in each.name for each in onnx.load_from_string(model).graph.initializer)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_the_interface(dtype: str) -> None:
    graph = NB201.network(CELLS["nasbench201"], small(NB201))
    tensors = drawn(graph, 0)
    half, whole = (onnx.load_from_string(export(graph, tensors, dtype=kind)) for kind in (dtype, "float32"))
    assert (half.graph.input, half.graph.output) == (whole.graph.input, whole.graph.output)
    assert len(half.SerializeToString()) < 0.7 * len(whole.SerializeToString())


def test_an_opset_that_there_is_not_is_one_line() -> None:
    opset: Any
    for opset, dtype in ((16, "float32"), (newest() + 1, "float32"), (21, "bfloat16"), ("17", "float32")):
        with pytest.raises(InvalidValueError, match=r"`opset` must be .* is the oldest .* newest of onnx"):
            check_opset(opset, dtype)
    assert check_opset(None, "float32") == 17
