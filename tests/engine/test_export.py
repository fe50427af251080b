"""Exported graphs in half precision: what their arithmetic gives, and how constants are rounded."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from tests.conftest import SPACES, small
from znas_engine.backends import get_backend
from znas_engine.backends.checks import scales
from znas_engine.backends.onnxruntime import session
from znas_engine.backends.rounding import rounded as rounded_weights
from znas_engine.backends.rounding import tolerance
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.export.onnx_graph import export
from znas_engine.export.writer import ONNX_DTYPES, rounded
from znas_engine.graph import Mixed
from znas_engine.scores import READS
from znas_engine.spaces import SearchSpace
from znas_engine.supernet.normalisation import NORMS, Statistics
from znas_engine.supernet.rescale import Rescale, unscaled

NB201 = SPACES["nasbench201"]
HALVES = ("float16", "bfloat16")


def exported(space: SearchSpace[Any], norm: str, dtype: str, environment: Environment) -> bytes:
    return get_backend("ort")(space, small(space), norm=norm).export(environment, reads=READS, dtype=dtype)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", HALVES)
def test_half_precision_changes_no_interface(
    dtype: str, norm: str, space: SearchSpace[Any], images: Batch
) -> None:
    """Inputs and outputs are those of the float32 graph; every convolution is half."""
    environment = Environment(11, "gaussian", images)
    half, whole = (
        onnx.load_from_string(exported(space, norm, kind, environment)) for kind in (dtype, "float32")
    )
    scaled = dtype == "float16" and norm == "identity"  # its mask has a row per cell, see test_rescale
    inputs = slice(1 if scaled else 2)
    assert list(half.graph.input[inputs]) == list(whole.graph.input[inputs])
    assert list(half.graph.output) == list(whole.graph.output)
    weights = {each.name: each.data_type for each in half.graph.initializer}
    for node in half.graph.node:
        if node.op_type == "Conv":
            assert {weights[name] for name in node.input[1:]} == {ONNX_DTYPES[dtype]}
        if node.op_type in ("MatMul", "GlobalAveragePool", "ReduceMean"):
            assert {weights.get(name, TensorProto.FLOAT) for name in node.input[:1]} == {TensorProto.FLOAT}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
def test_float16_logits(norm: str, space: SearchSpace[Any], images: Batch) -> None:
    """As ONNX Runtime computes them on a CPU, which rounds what every node puts out where our kernels round
    what products read: hence twice of what the format may change of the float32 reference."""
    environment = Environment(11, "gaussian", images)
    batch = images.images[:20]
    reference = get_backend("torch")(space, small(space), norm=norm)
    run = session(exported(space, norm, "float16", environment))
    expected, coarse = (
        reference.prepare(drawn, norm=norm, reads=frozenset(), device="cpu")
        for drawn in (environment, rounded_weights(environment, "float16"))
    )
    scaling: Any = unscaled(reference.graph)
    if norm == "identity":
        scaling = Rescale(reference.graph, space.mixture(), reference.powers(environment, batch[:4]))
    do = space.do(1, space.options(1)[-2])
    masks = (space.mixture(), do, space.drop(2), np.zeros(space.shape, np.float32))
    right, near = ([each(mask, batch).logits for mask in masks] for each in (expected, coarse))
    most = 2 * tolerance("float16", right, near)
    for mask, logits, scale in zip(masks, right, scales(right), strict=True):
        scaled = scaling(mask)
        (found,) = run.run(["logits"], {"images": batch, "mask": scaled.mask})
        found = np.ldexp(found, scaled.exponents[-1])
        assert np.abs(found - logits).max() <= most * scale, space.describe(mask)


@pytest.mark.skipif(
    tuple(map(int, onnx.__version__.split(".")[:2])) < (1, 19), reason="onnx before 1.19 only stores bfloat16"
)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
def test_bfloat16_logits(norm: str, space: SearchSpace[Any], images: Batch) -> None:
    """As ONNX's own reference computes them. It rounds every partial sum, which a GPU does not: hence twice
    of what the format may change."""
    environment = Environment(11, "gaussian", images)
    batch = images.images[:2]
    run = ReferenceEvaluator(exported(space, norm, "bfloat16", environment))
    reference = get_backend("torch")(space, small(space), norm=norm)
    logits, near = (
        reference.prepare(drawn, norm=norm, reads=frozenset(), device="cpu")(space.mixture(), batch).logits
        for drawn in (environment, rounded_weights(environment, "bfloat16"))
    )
    most = 2 * tolerance("bfloat16", [logits], [near])
    (found,) = run.run(["logits"], {"images": batch, "mask": space.mixture()})
    assert np.abs(found - logits).max() <= most * np.abs(logits).max()


def values_of(stored: TensorProto) -> Any:
    """An initializer as NumPy; a bfloat16 is the upper half of a float32."""
    if stored.data_type != TensorProto.BFLOAT16:
        return numpy_helper.to_array(stored).astype(np.float32)
    words = np.frombuffer(stored.raw_data, np.uint16).astype(np.uint32) << 16
    return words.view(np.float32).reshape(tuple(stored.dims))


finite = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-6e4, max_value=6e4)


@given(values=st.lists(finite, min_size=1, max_size=50), dtype=st.sampled_from(HALVES))
def test_constants_are_rounded_as_pytorch_rounds(values: list[float], dtype: str) -> None:
    array = np.array(values, np.float32)
    stored = rounded("w", array, dtype)
    found = values_of(stored)
    expected = torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy()
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(("dtype", "value"), [("float16", 1e5), ("bfloat16", 3.4e38)])
def test_a_weight_that_overflows_is_named(dtype: str, value: float) -> None:
    def weights(node: Any) -> Any:
        return np.full(node.weight_shape, value, np.float32)

    graph = NB201.supernet(small(NB201))
    with pytest.raises(InvalidValueError, match=rf"must be finite in {dtype} but its largest .* use float32"):
        export(graph, weights, statistics=None, mask=NB201.shape, dtype=dtype)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_every_masked_edge_is_one_function(space: SearchSpace[Any], images: Batch) -> None:
    """`nas::MaskedSum`, whose body is in the model and whose attribute lets a TensorRT plugin take it over;
    one more for edges with another number of operations; a mask that is compiled in leaves none."""
    environment = Environment(0, "gaussian", images)
    model = onnx.load_from_string(exported(space, "identity", "float32", environment))
    functions = {(each.domain, each.name): each for each in model.functions}
    assert ("nas", "MaskedSum") in functions
    assert len(functions) == len(model.functions) == len({len(each.input) for each in functions.values()})
    edges = [node for node in model.graph.node if node.domain == "nas"]
    assert {(edge.domain, edge.op_type) for edge in edges} == set(functions)
    assert {(each.name, each.s) for edge in edges for each in edge.attribute} == {
        ("plugin_namespace", b"nas")
    }
    graph = space.supernet(small(space))
    slots = [
        slot for node in graph.nodes if isinstance(node, Mixed) for slot in node.slots if slot is not None
    ]
    assert len(slots) == sum(len(edge.input) - 1 for edge in edges)
    assert all(len(edge.input) == len(functions["nas", edge.op_type].input) for edge in edges)
    fixed = onnx.load_from_string(
        export(graph, environment.weight, statistics=Statistics.identity(graph), mask=space.mixture())
    )
    assert not fixed.functions
    assert {node.domain for node in fixed.graph.node} == {""}


def test_an_unknown_dtype_names_the_nearest(images: Batch) -> None:
    with pytest.raises(InvalidValueError, match=r"unknown dtype 'float': .*did you mean 'float32'"):
        exported(NB201, "identity", "float", Environment(0, "gaussian", images))


def test_float32_graphs_are_free_of_casts(images: Batch) -> None:
    model = onnx.load_from_string(exported(NB201, "batch", "float32", Environment(0, "gaussian", images)))
    assert "Cast" not in {node.op_type for node in model.graph.node}
    assert onnxruntime.InferenceSession(model.SerializeToString())


def test_statistics_of_a_half_graph_are_those_of_the_float32_one(images: Batch) -> None:
    """Calibration runs in float32 whatever the graph's dtype is, so that all backends share it."""
    environment = Environment(3, "gaussian", images)
    backend = get_backend("ort")(NB201, small(NB201))
    statistics = backend._statistics(environment, "calibrated")
    assert isinstance(statistics, Statistics)
    model = onnx.load_from_string(backend.export(environment, dtype="bfloat16"))
    weights = {each.name: values_of(each) for each in model.graph.initializer}
    whole = onnx.load_from_string(backend.export(environment))
    for each in whole.graph.initializer:
        if each.data_type == TensorProto.FLOAT:
            np.testing.assert_allclose(weights[each.name], numpy_helper.to_array(each), rtol=2**-8)
