"""The supernet as an ONNX file."""

from __future__ import annotations

#: What weights and activations of an exported graph may be.
GRAPH_DTYPES = ("float32", "float16", "bfloat16")
#: A version of ONNX's operators that ONNX Runtime's CUDA provider has all kernels for; pools of version 22 it
#: leaves to the CPU. bfloat16 needs version 22.
CUDA_OPSET = 18


def code_output(value: int) -> str:
    """Name of the bool output that holds value > 0, for a value of `Graph.relu_sites`."""
    return f"codes_{value}"


def feature_output(position: int) -> str:
    """Name of the float output that holds a value of `Graph.cells`."""
    return f"features_{position}"
