"""Writes one discrete architecture as ONNX, with the weights of its trainable network: images in, logits out.

What the images do not reach is not computed: a value that is the same in every pixel is a number per channel,
added where something reads it. Zeros are left out. Only where such a value meets a padded convolution, whose
border differs, it is spread out and convolved for one image; runtimes fold that when they load the model.
Batch normalisation is folded into the convolution before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from znas_engine.arguments import check_between, choice
from znas_engine.errors import InvalidValueError
from znas_engine.export import GRAPH_DTYPES
from znas_engine.export.writer import Writer
from znas_engine.graph import (
    Concat,
    Conv,
    GlobalAverage,
    Graph,
    Linear,
    Mixed,
    Node,
    Norm,
    Pool,
    Relu,
    Shift,
)
from znas_engine.supernet.normalisation import EPSILON

#: Versions of ONNX's operators: the oldest that is written, which every runtime reads, and the first with
#: convolutions in bfloat16.
OLDEST, OLDEST_BFLOAT16 = 17, 22

#: By the keys of the trainable network's state dictionary.
Tensors = Mapping[str, NDArray[np.float32]]
_Floats = NDArray[np.float64]


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    """What is learnt of a network, by the keys of its state dictionary."""
    found: dict[str, tuple[int, ...]] = {}
    for node in graph.nodes:
        if isinstance(node, Conv | Linear):
            found[f"{node.name}.weight"] = node.weight_shape
        if isinstance(node, Linear):
            found[f"{node.name}.bias"] = node.shape[:1]
        if isinstance(node, Norm):
            for part in ("weight", "bias", "running_mean", "running_var"):
                found[f"{node.name}.{part}"] = node.shape[:1]
    return found


def untrained(graph: Graph, draw: Callable[[Conv | Linear], NDArray[np.float32]]) -> Tensors:
    """Drawn weights, no bias, and normalisation that has seen nothing."""
    ones = ("running_var", "weight")
    drawn = {f"{node.name}.weight": draw(node) for node in graph.nodes if isinstance(node, Conv | Linear)}
    return {
        name: drawn[name]
        if name in drawn
        else np.full(shape, name.rpartition(".")[2] in ones, dtype=np.float32)
        for name, shape in shapes(graph).items()
    }


def newest() -> int:
    """Of the versions of operators that the onnx at hand writes."""
    return int(onnx.defs.onnx_opset_version())


def check_opset(opset: int | None, dtype: str) -> int:
    """`opset`, or the oldest that does if None; InvalidValueError for one that there is not."""
    least = OLDEST_BFLOAT16 if dtype == "bfloat16" else OLDEST
    if opset is None:
        return least
    why = f": {least} is the oldest with all operators of {dtype}, {newest()} the newest of onnx"
    try:
        return check_between("opset", opset, least, newest())
    except InvalidValueError as error:
        raise InvalidValueError(f"{error}{why} {onnx.__version__}") from error


def export(
    graph: Graph,
    tensors: Tensors,
    *,
    dtype: str = "float32",
    opset: int | None = None,
    metadata: Mapping[str, str] = {},
) -> bytes:
    """`graph` without a mask as a checked ONNX model, serialised; `tensors` have the keys and `shapes` of it.

    dtype: one of GRAPH_DTYPES, of weights and of activations up to the global average. opset: see
    `check_opset`. The model's `logits` are float32 [n, classes] for `images` float32 [n, channels, height,
    width], any n.

    Raises:
        InvalidValueError: an unknown dtype or opset; a weight that is not finite in the dtype.
    """
    choice("dtype", dtype, GRAPH_DTYPES)
    writer = _Network(graph, dtype, check_opset(opset, dtype), tensors)
    writer.write()
    version = helper.find_min_ir_version_for([helper.make_opsetid("", writer.opset)])
    return writer.model({"images": ["n", *graph.nodes[0].shape]}, metadata, ir_version=version)


@dataclass(slots=True)
class _Network(Writer):
    """Every live value is one of two: `names[i]`, written, or `flat[i]`, one number per channel, float64 [C].

    What `fed` says no of has one image instead of n.
    """

    tensors: Tensors
    names: dict[int, str] = field(init=False, default_factory=dict)
    flat: dict[int, _Floats] = field(init=False, default_factory=dict)
    fed: list[bool] = field(init=False)

    def write(self) -> None:
        nodes = self.graph.nodes
        self.fed = self.graph.fed(None)
        live = self.graph.live(None)
        folded = self._folded(live)
        if live[0]:
            self.names[0] = self.cast("images", self.dtype)
        for i, node in enumerate(nodes[1:], 1):
            if not live[i]:
                continue
            if not self.fed[i] and (values := self._same_everywhere(node)) is not None:
                self.flat[i] = values
            elif isinstance(node, Norm) and node.inputs[0] in folded:
                self.names[i] = self.names[node.inputs[0]]
            else:
                self.names[i] = self._written(i, node, folded.get(i))
        last = len(nodes) - 1
        if not self.fed[last]:
            self.names[last] = self._for_every_image(last)
        self.output("logits", self.names[last], [self.graph.classes])

    def _folded(self, live: Sequence[bool]) -> dict[int, Norm]:
        """Convolution -> the normalisation that is all that its value is for."""
        readers: dict[int, list[Node]] = {}
        for node, alive in zip(self.graph.nodes, live, strict=True):
            for j in node.inputs if alive else ():
                readers.setdefault(j, []).append(node)
        found: dict[int, Norm] = {}
        for j, (first, *others) in readers.items():
            if isinstance(self.graph.nodes[j], Conv) and isinstance(first, Norm) and not others:
                found[j] = first
        return found

    # --- what the images do not reach ----------------------------------------------------------------

    def _same_everywhere(self, node: Node) -> _Floats | None:
        """The value of a node that reads no images, float64 [C]; None where pixels differ."""
        reads = [self.flat.get(j) for j in node.inputs]
        if any(values is None for values in reads):
            return None
        values = [each for each in reads if each is not None]
        match node:
            case Mixed():
                return sum(values, np.zeros(node.shape[0]))
            case Concat():
                return np.concatenate(values)
            case Relu():
                return np.maximum(values[0], 0)
            case Norm():
                scale, shift = self._affine(node)
                return values[0] * scale + shift
            case Conv():
                if node.padding and values[0].any():
                    return None
                taps = self.tensors[f"{node.name}.weight"].astype(np.float64).sum((2, 3))
                grouped = np.repeat(values[0].reshape(node.groups, -1), node.shape[0] // node.groups, axis=0)
                return np.asarray((taps * grouped).sum(1))
            case Linear():
                weight = self.tensors[f"{node.name}.weight"].astype(np.float64)
                return np.asarray(weight @ values[0] + self.tensors[f"{node.name}.bias"])
        return values[0]  # pools, shifts and averages of equal pixels

    def _spread(self, i: int) -> str:
        """A value as one image, all pixels of it where it is flat."""
        if i not in self.flat:
            return self.names[i]
        node = self.graph.nodes[i]
        shape = self.constant(f"{node.name}.shape", np.array([1, *node.shape], np.int64))
        return self.node("Expand", [self.channels(f"{node.name}.value", self.flat[i]), shape])

    def _for_every_image(self, i: int) -> str:
        """A value that reads no images, once for each of them."""
        node = self.graph.nodes[i]
        sizes = node.shape[:1] if isinstance(node, Linear) else node.shape
        if i not in self.flat:
            x = self.names[i]
        elif isinstance(node, Linear):
            x = self.constant(f"{node.name}.value", self.flat[i].astype(np.float32))
        else:
            x = self.channels(f"{node.name}.value", self.flat[i])
        images = self.node("Shape", ["images"], start=0, end=1)
        rest = self.constant("_".join(map(str, ("sizes", *sizes))), np.array(sizes, np.int64))
        return self.node("Expand", [x, self.node("Concat", [images, rest], axis=0)])

    # --- operators -----------------------------------------------------------------------------------

    def _written(self, i: int, node: Node, norm: Norm | None) -> str:
        match node:
            case Mixed():
                return self._sum(node)
            case Concat():
                alike = len({self.fed[j] for j in node.inputs}) == 1
                parts = [
                    self._spread(j) if alike or self.fed[j] else self._for_every_image(j) for j in node.inputs
                ]
                return self.node("Concat", parts, axis=1)
        x = self._spread(node.inputs[0])
        match node:
            case Conv():
                return self._conv(node, x, norm)
            case Norm():
                return self.scaled(node.name, x, *self._affine(node))
            case Relu():
                return self._once("Relu", x)
            case Pool():
                return self.pool(node, x)
            case Shift():
                return self.shift(x)
            case GlobalAverage():
                return self.global_average(x)
            case Linear():
                names = [f"{node.name}.weight", f"{node.name}.bias"]
                return self.node(
                    "Gemm", [x, *(self.constant(name, self.tensors[name]) for name in names)], transB=1
                )
            case _:
                raise AssertionError(f"no rule for {type(node).__name__}")

    def _once(self, kind: str, x: str) -> str:
        """An operator without attributes, written once for every value that it reads."""
        key = f"{kind}({x})"
        if key not in self._constants:
            self._constants[key] = self.node(kind, [x])
        return self._constants[key]

    def _sum(self, node: Mixed) -> str:
        """Of the terms that images reach; what is known of the others is one number per channel."""
        known = sum((self.flat[j] for j in node.inputs if j in self.flat), np.zeros(node.shape[0]))
        terms = [self.names[j] for j in node.inputs if j in self.names]
        if known.any():
            terms.append(self.channels(f"{node.name}.known", known))
        total = terms[0]
        for term in terms[1:]:
            total = self.node("Add", [total, term])
        return total

    def _conv(self, node: Conv, x: str, norm: Norm | None) -> str:
        name = f"{node.name}.weight"
        weight = self.tensors[name]
        if norm is None:
            return self.conv(node, [x, self.weight(name, weight)])
        scale, shift = self._affine(norm)
        folded = (weight * scale[:, None, None, None]).astype(np.float32)
        bias = self.weight(f"{node.name}.bias", shift.astype(np.float32))
        return self.conv(node, [x, self.weight(name, folded), bias])

    def _affine(self, node: Norm) -> tuple[_Floats, _Floats]:
        """Scale and shift per channel of a normalisation with its running statistics."""
        weight, bias, mean, variance = (
            self.tensors[f"{node.name}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + EPSILON)
        return scale, bias - mean * scale
