"""What every exported graph is written with: operators, constants in the graph's dtype, the checked model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from znas_engine.errors import InvalidValueError
from znas_engine.graph import Conv, Graph, Pool
from znas_engine.halves import nearest

#: Of our own operators.
DOMAIN = "nas"
ONNX_DTYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "bfloat16": TensorProto.BFLOAT16,
}


@dataclass(slots=True)
class Writer:
    """Appends operators; every constant is written once, by its name.

    dtype: of weights and activations. opset: of ONNX's operators.
    """

    graph: Graph
    dtype: str
    opset: int
    nodes: list[Any] = field(init=False, default_factory=list)
    outputs: list[Any] = field(init=False, default_factory=list)
    initializers: list[Any] = field(init=False, default_factory=list)
    _constants: dict[str, str] = field(init=False, default_factory=dict)

    def conv(self, node: Conv, inputs: list[str]) -> str:
        """inputs: the value, the weight and perhaps a bias."""
        return self.node(
            "Conv",
            inputs,
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
            dilations=[node.dilation] * 2,
            group=node.groups,
        )

    def pool(self, node: Pool, x: str) -> str:
        attributes: dict[str, Any] = {} if node.mode == "max" else {"count_include_pad": 0}
        return self.node(
            "MaxPool" if node.mode == "max" else "AveragePool",
            [x],
            kernel_shape=[node.kernel] * 2,
            strides=[node.stride] * 2,
            pads=[node.padding] * 4,
            **attributes,
        )

    def shift(self, x: str) -> str:
        starts = self.constant("shift_starts", np.array([1, 1], np.int64))
        ends = self.constant("shift_ends", np.array([2**31, 2**31], np.int64))
        axes = self.constant("shift_axes", np.array([2, 3], np.int64))
        return self.node("Slice", [x, starts, ends, axes])

    def global_average(self, x: str) -> str:
        """[n, C, H, W] -> float32 [n, C]"""
        return self.node("Flatten", [self.node("GlobalAveragePool", [self.cast(x, "float32")])])

    def scaled(self, name: str, x: str, scale: NDArray[np.float64], shift: NDArray[np.float64]) -> str:
        """x * scale + shift per channel; the constants begin with `name`."""
        product = self.node("Mul", [x, self.channels(f"{name}.scale", scale)])
        return self.node("Add", [product, self.channels(f"{name}.shift", shift)])

    def channels(self, name: str, values: NDArray[np.float64]) -> str:
        """A constant [1, C, 1, 1]."""
        return self.weight(name, values.astype(np.float32)[None, :, None, None])

    def output(self, name: str, value: str, shape: Sequence[int], *, kind: int = TensorProto.FLOAT) -> None:
        """Hands `value`, of that shape per image, out under a name."""
        self.node("Identity", [value], output=name)
        whole: list[str | int | None] = ["n", *shape]
        self.outputs.append(helper.make_tensor_value_info(name, kind, whole))

    def node(self, kind: str, inputs: list[str], *, output: str | None = None, **attributes: Any) -> str:
        name = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name=f"{kind}_{name}", **attributes))
        return name

    def cast(self, value: str, dtype: str) -> str:
        """`value` in another dtype; itself where the whole graph is float32."""
        if self.dtype == "float32":
            return value
        name = f"{value}_{dtype}"
        if name not in self._constants:
            self._constants[name] = self.node("Cast", [value], output=name, to=ONNX_DTYPES[dtype])
        return self._constants[name]

    def weight(self, name: str, value: NDArray[np.float32]) -> str:
        """A constant in the graph's dtype."""
        if name not in self._constants:
            self.initializers.append(rounded(name, np.asarray(value), self.dtype))
            self._constants[name] = name
        return name

    def constant(self, name: str, value: NDArray[Any]) -> str:
        if name not in self._constants:
            self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
            self._constants[name] = name
        return name

    def model(
        self,
        inputs: Mapping[str, Sequence[str | int | None]],
        metadata: Mapping[str, str],
        *,
        ir_version: int,
        functions: Sequence[Any] = (),
        domains: Sequence[str] = (),
    ) -> bytes:
        """Checked and serialised. inputs: float32, their shapes by name. domains: besides ONNX's own."""
        graph = helper.make_graph(
            self.nodes,
            "znas",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
                for name, shape in inputs.items()
            ],
            self.outputs,
            self.initializers,
        )
        made = helper.make_model(
            graph,
            functions=list(functions),
            opset_imports=[
                helper.make_opsetid("", self.opset),
                *(helper.make_opsetid(domain, 1) for domain in domains),
            ],
            ir_version=ir_version,
            producer_name="znas-engine",
        )
        helper.set_model_props(made, {"opset": str(self.opset), **metadata})
        onnx.checker.check_model(made, full_check=True)
        return bytes(made.SerializeToString(deterministic=True))


def rounded(name: str, value: NDArray[np.float32], dtype: str) -> Any:
    """`value` as an initializer of that dtype, rounded to nearest, ties to even."""
    stored, back = nearest(value, dtype)
    if not np.isfinite(back).all():
        largest = float(np.abs(value).max())
        raise InvalidValueError(
            f"{name} must be finite in {dtype} but its largest entry is {largest:.3g}; use float32"
        )
    return helper.make_tensor(name, ONNX_DTYPES[dtype], value.shape, stored.tobytes(), raw=True)
