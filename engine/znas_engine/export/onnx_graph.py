"""Writes a graph as ONNX: images and mask in, logits out; once for all masks.

The mask multiplies activations, not weights: constant weights keep ONNX Runtime's blocked layout, which is
1.6 times faster than weights computed at run time. Normalisation with frozen statistics is folded into the
convolution before it.

An edge under a mask that is an input is a node `nas::MaskedSum`. The model holds its body as a function that
takes its place where the model is read; TensorRT prefers a plugin of that name.

In float16 and bfloat16 graphs, inputs and outputs stay float32 and are cast at the border. The moments of a
batch, the global average and the classifier stay float32 too: they cost little, and rounding would add up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from znas_engine.arguments import choice
from znas_engine.export import GRAPH_DTYPES, code_output, feature_output
from znas_engine.export.writer import DOMAIN, Writer
from znas_engine.graph import (
    Concat,
    Conv,
    GlobalAverage,
    Graph,
    Input,
    Linear,
    Mixed,
    Node,
    Norm,
    Pool,
    Relu,
    Shift,
    live_inputs,
)
from znas_engine.spaces.base import Mask
from znas_engine.supernet.normalisation import EPSILON, Statistics
from znas_engine.supernet.rescale import cell_of

OPSET = 22  # the first that allows bfloat16 convolutions
IR_VERSION = 10
Weights = Callable[[Conv | Linear], NDArray[np.float32]]


def export(
    graph: Graph,
    weights: Weights,
    *,
    statistics: Statistics | None,
    mask: Mask | tuple[int, ...],
    reads: Collection[str] = (),
    dtype: str = "float32",
    opset: int | None = None,
    metadata: Mapping[str, str] = {},
) -> bytes:
    """`graph` as a checked ONNX model, serialised.

    statistics: frozen ones, or None for those of the images in hand.
    mask: the shape (edges, operations) of a mask that is an input of the model, or (cells, edges, operations)
        where each of `graph.cells` has its own (see `rescale`); or a mask [edges, operations] to compile in
        (zero terms and dead nodes are left out).
    reads: what the model gives besides logits. "codes": one bool output `code_output(v)` per value of
        `graph.relu_sites`; "features": one `feature_output(v)` per value of `graph.cells`; "pooled": what
        the classifier reads; "unpooled": `feature_output(graph.unpooled)`, what that is the mean of.
    dtype: one of GRAPH_DTYPES, of weights and of activations up to the global average.
    opset: OPSET if None; at least 18, and OPSET for bfloat16.

    The model's `logits` are float32 [n, classes] for `images` float32 [n, channels, height, width], any n.
    Whatever `dtype` is, all inputs and outputs but codes are float32.

    Raises:
        InvalidValueError: an unknown dtype; a weight that is not finite in it.
    """
    choice("dtype", dtype, GRAPH_DTYPES)
    fixed = mask if isinstance(mask, np.ndarray) else None
    roots = graph.cells if "features" in reads else ()
    per_cell = isinstance(mask, tuple) and len(mask) == 3
    writer = _Supernet(graph, dtype, opset or OPSET, weights, statistics, fixed, roots, per_cell)
    names = writer.write()
    writer.output("logits", names[len(graph.nodes) - 1], [graph.classes])
    if "pooled" in reads:
        writer.output("pooled", names[graph.penultimate], [graph.nodes[graph.penultimate].shape[0]])
    last = [graph.unpooled] if "unpooled" in reads else []
    for position in dict.fromkeys([*writer.roots, *last]):
        feature = writer.cast(names[position], "float32")
        writer.output(feature_output(position), feature, graph.nodes[position].shape)
    if "codes" in reads:
        zero = writer.weight("zero", np.zeros((), np.float32))
        for value, modules in graph.relu_sites(graph.live(fixed)).items():
            if modules:
                positive = writer.node("Greater", [names[value], zero])
                shape = graph.nodes[value].shape
                writer.output(code_output(value), positive, shape, kind=TensorProto.BOOL)
    return _serialised(writer, mask, metadata)


def export_statistics(graph: Graph, weights: Weights, *, mask: tuple[int, int]) -> bytes:
    """A model whose only output is `statistics` of the images in hand (see `Statistics.unpack`)."""
    writer = _Supernet(graph, "float32", OPSET, weights, None, None, (), per_cell=False)
    writer.write()
    writer.statistics_output()
    return _serialised(writer, mask, {})


def structure(model: bytes) -> bytes:
    """`model` without weights and metadata: what the graphs of different environments have in common."""
    found = onnx.load_from_string(model)
    for constant in found.graph.initializer:
        if constant.data_type != TensorProto.INT64:
            constant.ClearField("raw_data")
    found.ClearField("metadata_props")
    return bytes(found.SerializeToString(deterministic=True))


def _serialised(writer: _Supernet, mask: Mask | tuple[int, ...], metadata: Mapping[str, str]) -> bytes:
    inputs: dict[str, Sequence[str | int | None]] = {"images": ["n", *writer.graph.nodes[0].shape]}
    if isinstance(mask, tuple):
        inputs["mask"] = list(mask)
    functions = [*writer.masked_sums.values()]
    return writer.model(inputs, metadata, ir_version=IR_VERSION, functions=functions, domains=[DOMAIN])


@dataclass(slots=True)
class _Supernet(Writer):
    weights: Weights
    statistics: Statistics | None
    mask: Mask | None
    roots: tuple[int, ...]
    per_cell: bool
    live: list[bool] = field(init=False)
    masked_sums: dict[int, Any] = field(init=False, default_factory=dict)  # by their number of terms
    _relus: dict[int, str] = field(init=False, default_factory=dict)
    _measured: list[tuple[str, str]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.live = self.graph.live(self.mask, self.roots)

    def write(self) -> dict[int, str]:
        """Emits every live node; returns the name of each value."""
        nodes = self.graph.nodes
        folded = self._folded()
        names: dict[int, str] = {}
        for i, node in enumerate(nodes):
            if not self.live[i]:
                continue
            if isinstance(node, Norm) and node.inputs[0] in folded:
                names[i] = names[node.inputs[0]]
            else:
                names[i] = self._emit(i, node, names, folded.get(i))
        return names

    def _folded(self) -> dict[int, int]:
        """Convolution -> the normalisation that is all that its value is for, if statistics are frozen."""
        if self.statistics is None:
            return {}
        readers: dict[int, list[int]] = {}
        for i, node in enumerate(self.graph.nodes):
            for j in node.inputs:
                readers.setdefault(j, []).append(i)
        return {
            j: found[0]
            for j, found in readers.items()
            if isinstance(self.graph.nodes[j], Conv)
            and j not in self.roots
            and len(found) == 1
            and isinstance(self.graph.nodes[found[0]], Norm)
        }

    def _emit(self, i: int, node: Node, names: dict[int, str], norm: int | None) -> str:
        inputs = [names[j] for j in live_inputs(node, self.mask)]
        match node:
            case Input():
                return self.cast("images", self.dtype)
            case Conv():
                return self._conv(node, inputs[0], norm)
            case Norm():
                return self._norm(i, node, inputs[0])
            case Relu():
                if node.inputs[0] not in self._relus:
                    self._relus[node.inputs[0]] = self.node("Relu", inputs)
                return self._relus[node.inputs[0]]
            case Pool():
                return self.pool(node, inputs[0])
            case Shift():
                return self.shift(inputs[0])
            case Concat():
                return self.node("Concat", inputs, axis=1)
            case Mixed():
                return self._mixed(i, node, names)
            case GlobalAverage():
                return self.global_average(inputs[0])
            case Linear():
                weight = self.constant(f"{node.name}.weight", self.weights(node).T.copy())
                return self.node("MatMul", [inputs[0], weight])
            case _:
                raise AssertionError(f"no rule for {type(node).__name__}")

    def _conv(self, node: Conv, x: str, norm: int | None) -> str:
        weight = self.weights(node)
        inputs = [x]
        if norm is None or self.statistics is None:
            inputs.append(self.weight(f"{node.name}.weight", weight))
        else:
            scale = 1 / np.sqrt(self.statistics.variance[norm].astype(np.float64) + EPSILON)
            bias = -self.statistics.mean[norm] * scale
            folded = (weight * scale[:, None, None, None]).astype(np.float32)
            inputs.append(self.weight(f"{node.name}.weight", folded))
            inputs.append(self.weight(f"{node.name}.bias", bias.astype(np.float32)))
        return self.conv(node, inputs)

    def _norm(self, i: int, node: Norm, x: str) -> str:
        if self.statistics is not None:
            scale = 1 / np.sqrt(self.statistics.variance[i].astype(np.float64) + EPSILON)
            shift = -self.statistics.mean[i] * scale
            return self.scaled(node.name, x, scale, shift)
        x = self.cast(x, "float32")
        axes = self.constant("per_channel", np.array([0, 2, 3], np.int64))
        mean = self.node("ReduceMean", [x, axes], keepdims=1)
        centred = self.node("Sub", [x, mean])
        variance = self.node("ReduceMean", [self.node("Mul", [centred, centred]), axes], keepdims=1)
        self._measured.append((mean, variance))
        epsilon = self.constant("epsilon", np.array(EPSILON, np.float32))
        deviation = self.node("Sqrt", [self.node("Add", [variance, epsilon])])
        return self.cast(self.node("Div", [centred, deviation]), self.dtype)

    def _mixed(self, i: int, node: Mixed, names: dict[int, str]) -> str:
        terms: list[str] = []
        for edge, members in groupby(
            zip(node.inputs, node.slots, strict=True), lambda pair: pair[1] and pair[1][0]
        ):
            if edge is not None and self.mask is None:
                place = (cell_of(self.graph, i), edge) if self.per_cell else (edge,)
                values = [((*place, slot[1]), names[j]) for j, slot in members if slot]
                terms.append(self._masked_sum(values))
                continue
            for j, slot in members:
                if slot is None or (self.mask is not None and self.mask[slot] == 1):
                    terms.append(names[j])
                elif self.mask is not None and self.mask[slot] != 0:
                    weight = self.weight(f"mask_{slot[0]}_{slot[1]}", self.mask[slot])
                    terms.append(self.node("Mul", [names[j], weight]))
        if not terms:
            axes = self.constant("all_but_batch", np.array([1, 2, 3], np.int64))
            anchor = self.node("ReduceMean", ["images", axes], keepdims=1)
            zeros = self.constant(f"{node.name}.zeros", np.zeros((1, *node.shape), np.float32))
            return self.cast(self.node("Mul", [anchor, zeros]), self.dtype)
        total = terms[0]
        for term in terms[1:]:
            total = self.node("Add", [total, term])
        return total

    def _masked_sum(self, values: Sequence[tuple[tuple[int, ...], str]]) -> str:
        """An edge: values with their places in the mask, a row of it that all cells share unless each has its
        own."""
        places = np.array([place for place, _ in values], np.int64)
        row = "_".join(map(str, ("mask", *places[0, :-1], *places[:, -1])))
        if row not in self._constants:
            at = self.constant(f"{row}_at", places)
            self._constants[row] = self.node("GatherND", [self.cast("mask", self.dtype), at], output=row)
        if len(values) not in self.masked_sums:
            # A name of its own instead of ONNX's overloads, which ONNX Runtime 1.22 takes for one another.
            name = f"MaskedSum{len(values)}" if self.masked_sums else "MaskedSum"
            self.masked_sums[len(values)] = _masked_sum(name, len(values), self.opset)
        inputs = [row, *(name for _, name in values)]
        # TensorRT looks for a plugin only where this attribute names its namespace.
        return self.node(self.masked_sums[len(values)].name, inputs, domain=DOMAIN, plugin_namespace=DOMAIN)

    def statistics_output(self) -> None:
        """All measured means, then all variances: float32 [2, sum of channels]."""
        flat = self.constant("flat", np.array([1, -1], np.int64))
        rows = [
            self.node("Reshape", [self.node("Concat", list(parts), axis=1), flat])
            for parts in zip(*self._measured, strict=True)
        ]
        self.node("Concat", rows, output="statistics", axis=0)
        self.outputs.append(helper.make_tensor_value_info("statistics", TensorProto.FLOAT, [2, None]))


def _masked_sum(name: str, terms: int, opset: int) -> Any:
    """A function of the domain `nas`: weights [terms], as many values of one shape -> their weighted sum."""
    weights, values, products = (
        [f"{kind}_{i}" for i in range(terms)] for kind in ("weight", "value", "product")
    )
    nodes = [
        helper.make_node("Split", ["weights"], weights, axis=0, num_outputs=terms),
        *(
            helper.make_node("Mul", pair[:2], pair[2:])
            for pair in zip(values, weights, products, strict=True)
        ),
        helper.make_node("Sum", products, ["sum"]),
    ]
    opsets = [helper.make_opsetid("", opset)]
    inputs = ["weights", *values]
    return helper.make_function(DOMAIN, name, inputs, ["sum"], nodes, opsets)
