"""Writes a graph as ONNX: images and mask in, logits out; once for all masks.

The mask multiplies activations, not weights: constant weights keep ONNX Runtime's blocked layout, which is
1.6 times faster than weights computed at run time. Normalisation with frozen statistics is folded into the
convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from znas_engine.export import code_output, feature_output
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

OPSET = 22  # the first that allows bfloat16 convolutions
IR_VERSION = 10
Weights = Callable[[Conv | Linear], NDArray[np.float32]]


def export(
    graph: Graph,
    weights: Weights,
    *,
    statistics: Statistics | None,
    mask: Mask | tuple[int, int] | None = None,
    reads: Collection[str] = (),
    metadata: Mapping[str, str] = {},
) -> bytes:
    """`graph` as a checked ONNX model, serialised.

    statistics: frozen ones, or None for those of the images in hand.
    mask: the shape (edges, operations) of a mask that is an input of the model, or a mask to compile in
        (zero terms and dead nodes are left out), or None for a discrete architecture's own graph.
    reads: what the model gives besides logits. "codes": one bool output `code_output(v)` per value of
        `graph.relu_sites`; "features": one `feature_output(v)` per value of `graph.cells`; "pooled": what
        the classifier reads.

    The model's `logits` are float32 [n, classes] for `images` float32 [n, channels, height, width], any n.
    """
    fixed = mask if isinstance(mask, np.ndarray) else None
    writer = _Writer(graph, weights, statistics, fixed, graph.cells if "features" in reads else ())
    names = writer.write()
    writer.output("logits", names[len(graph.nodes) - 1], [graph.classes])
    if "pooled" in reads:
        writer.output("pooled", names[graph.penultimate], [graph.nodes[graph.penultimate].shape[0]])
    for position in writer.roots:
        writer.output(feature_output(position), names[position], graph.nodes[position].shape)
    if "codes" in reads:
        zero = writer.constant("zero", np.zeros((), np.float32))
        for value, modules in graph.relu_sites(graph.live(fixed)).items():
            if modules:
                positive = writer.node("Greater", [names[value], zero])
                shape = graph.nodes[value].shape
                writer.output(code_output(value), positive, shape, kind=TensorProto.BOOL)
    return _serialised(writer, mask, metadata)


def export_statistics(graph: Graph, weights: Weights, *, mask: tuple[int, int]) -> bytes:
    """A model whose only output is the packed `statistics` of the images in hand (see `Statistics.pack`)."""
    writer = _Writer(graph, weights, None, None, ())
    writer.write()
    writer.statistics_output()
    return _serialised(writer, mask, {})


def _serialised(writer: _Writer, mask: Mask | tuple[int, int] | None, metadata: Mapping[str, str]) -> bytes:
    image_shape: list[str | int | None] = ["n", *writer.graph.nodes[0].shape]
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, image_shape)]
    if isinstance(mask, tuple):
        inputs.append(helper.make_tensor_value_info("mask", TensorProto.FLOAT, list(mask)))
    model = helper.make_model(
        helper.make_graph(writer.nodes, "znas", inputs, writer.outputs, writer.initializers),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="znas-engine",
    )
    helper.set_model_props(model, {"opset": str(OPSET), **metadata})
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))


@dataclass(slots=True)
class _Writer:
    graph: Graph
    weights: Weights
    statistics: Statistics | None
    mask: Mask | None
    roots: tuple[int, ...]
    nodes: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    live: list[bool] = field(init=False)
    _constants: dict[str, str] = field(default_factory=dict)
    _relus: dict[int, str] = field(default_factory=dict)
    _measured: list[tuple[str, str]] = field(default_factory=list)

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
        """Convolution -> the normalisation that is its only reader, if statistics are frozen."""
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
            and len(found) == 1
            and isinstance(self.graph.nodes[found[0]], Norm)
        }

    def _emit(self, i: int, node: Node, names: dict[int, str], norm: int | None) -> str:
        inputs = [names[j] for j in live_inputs(node, self.mask)]
        match node:
            case Input():
                return "images"
            case Conv():
                return self._conv(node, inputs[0], norm)
            case Norm():
                return self._norm(i, node, inputs[0])
            case Relu():
                if node.inputs[0] not in self._relus:
                    self._relus[node.inputs[0]] = self.node("Relu", inputs)
                return self._relus[node.inputs[0]]
            case Pool():
                attributes: dict[str, Any] = {} if node.mode == "max" else {"count_include_pad": 0}
                return self.node(
                    "MaxPool" if node.mode == "max" else "AveragePool",
                    inputs,
                    kernel_shape=[node.kernel] * 2,
                    strides=[node.stride] * 2,
                    pads=[node.padding] * 4,
                    **attributes,
                )
            case Shift():
                starts = self.constant("shift_starts", np.array([1, 1], np.int64))
                ends = self.constant("shift_ends", np.array([2**31, 2**31], np.int64))
                axes = self.constant("shift_axes", np.array([2, 3], np.int64))
                return self.node("Slice", [*inputs, starts, ends, axes])
            case Concat():
                return self.node("Concat", inputs, axis=1)
            case Mixed():
                return self._mixed(node, names)
            case GlobalAverage():
                return self.node("Flatten", [self.node("GlobalAveragePool", inputs)])
            case Linear():
                weight = self.constant(f"{node.name}.weight", self.weights(node).T.copy())
                return self.node("MatMul", [inputs[0], weight])
            case _:
                raise AssertionError(f"no rule for {type(node).__name__}")

    def _conv(self, node: Conv, x: str, norm: int | None) -> str:
        weight = self.weights(node)
        inputs = [x]
        if norm is None or self.statistics is None:
            inputs.append(self.constant(f"{node.name}.weight", weight))
        else:
            scale = 1 / np.sqrt(self.statistics.variance[norm].astype(np.float64) + EPSILON)
            bias = -self.statistics.mean[norm] * scale
            folded = (weight * scale[:, None, None, None]).astype(np.float32)
            inputs.append(self.constant(f"{node.name}.weight", folded))
            inputs.append(self.constant(f"{node.name}.bias", bias.astype(np.float32)))
        return self.node(
            "Conv",
            inputs,
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
            dilations=[node.dilation] * 2,
            group=node.groups,
        )

    def _norm(self, i: int, node: Norm, x: str) -> str:
        if self.statistics is not None:
            scale = 1 / np.sqrt(self.statistics.variance[i].astype(np.float64) + EPSILON)
            shift = -self.statistics.mean[i] * scale
            scaled = self.node("Mul", [x, self._channels(f"{node.name}.scale", scale)])
            return self.node("Add", [scaled, self._channels(f"{node.name}.shift", shift)])
        axes = self.constant("per_channel", np.array([0, 2, 3], np.int64))
        mean = self.node("ReduceMean", [x, axes], keepdims=1)
        centred = self.node("Sub", [x, mean])
        variance = self.node("ReduceMean", [self.node("Mul", [centred, centred]), axes], keepdims=1)
        self._measured.append((mean, variance))
        epsilon = self.constant("epsilon", np.array(EPSILON, np.float32))
        return self.node("Div", [centred, self.node("Sqrt", [self.node("Add", [variance, epsilon])])])

    def _channels(self, name: str, values: NDArray[np.float64]) -> str:
        return self.constant(name, values.astype(np.float32)[None, :, None, None])

    def _mixed(self, node: Mixed, names: dict[int, str]) -> str:
        terms: list[str] = []
        for j, slot in zip(node.inputs, node.slots, strict=True):
            if slot is None or (self.mask is not None and self.mask[slot] == 1):
                terms.append(names[j])
            elif self.mask is None or self.mask[slot] != 0:
                terms.append(self.node("Mul", [names[j], self._coefficient(slot)]))
        if not terms:
            axes = self.constant("all_but_batch", np.array([1, 2, 3], np.int64))
            anchor = self.node("ReduceMean", ["images", axes], keepdims=1)
            zeros = self.constant(f"{node.name}.zeros", np.zeros((1, *node.shape), np.float32))
            return self.node("Mul", [anchor, zeros])
        total = terms[0]
        for term in terms[1:]:
            total = self.node("Add", [total, term])
        return total

    def _coefficient(self, slot: tuple[int, int]) -> str:
        """The mask's entry as a scalar; one node per slot, shared by all cells."""
        name = f"mask_{slot[0]}_{slot[1]}"
        if self.mask is not None:
            return self.constant(name, self.mask[slot])
        if name not in self._constants:
            index = self.constant(f"{name}_at", np.array(slot, np.int64))
            self._constants[name] = self.node("GatherND", ["mask", index], output=name)
        return self._constants[name]

    def statistics_output(self) -> None:
        """All measured means, then all variances: float32 [2, sum of channels]."""
        flat = self.constant("flat", np.array([1, -1], np.int64))
        rows = [
            self.node("Reshape", [self.node("Concat", list(parts), axis=1), flat])
            for parts in zip(*self._measured, strict=True)
        ]
        self.node("Concat", rows, output="statistics", axis=0)
        self.outputs.append(helper.make_tensor_value_info("statistics", TensorProto.FLOAT, [2, None]))

    def output(self, name: str, value: str, shape: Sequence[int], *, kind: int = TensorProto.FLOAT) -> None:
        """Hands `value`, of that shape per image, out under a name."""
        self.node("Identity", [value], output=name)
        whole: list[str | int | None] = ["n", *shape]
        self.outputs.append(helper.make_tensor_value_info(name, kind, whole))

    def node(self, kind: str, inputs: list[str], *, output: str | None = None, **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{name}", **attributes))
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._constants:
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
            self._constants[name] = name
        return name
