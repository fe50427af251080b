"""The built-in backends: what each runs on, and what it needs of a machine. Importing this is cheap."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from znas_engine.backends.record import Backend
from znas_engine.devices import kind_of, number_of
from znas_engine.errors import MissingDependencyError
from znas_engine.export import GRAPH_DTYPES
from znas_engine.gpu import before_cuda, gpu, lacking_gpu
from znas_engine.scores import READS

#: The least compute capability, ten times, that the kernels of `native` are built for.
OLDEST = 80


def _package(name: str, remedy: str) -> str | None:
    return None if find_spec(name) is not None else f"the package {name} is not installed: {remedy}"


def _native(device: str) -> str | None:
    absent = _package("znas_engine._core", "install a C++20 compiler, then reinstall znas-engine")
    if absent or kind_of(device) == "cpu":
        return absent
    core = import_module("znas_engine._core")
    before_cuda()
    if not hasattr(core, "cuda_device_count"):
        return "znas-engine was built without CUDA: install the CUDA toolkit, then reinstall znas-engine"
    if number_of(device) >= core.cuda_device_count():
        return lacking_gpu(device) or (
            "the NVIDIA driver is too old for the CUDA that znas-engine was built with: update it"
        )
    capability = core.cuda_capability(number_of(device))
    if capability < OLDEST:
        return (
            f"its kernels need compute capability {OLDEST / 10} and this GPU has {capability / 10}: "
            "use --backend torch"
        )
    return None


def _onnxruntime(device: str) -> str | None:
    absent = _package("onnxruntime", "pip install onnxruntime")
    if absent or kind_of(device) == "cpu":
        return absent
    from znas_engine.backends.onnxruntime_cuda import lacking

    absent = lacking_gpu(device)
    return "; ".join(filter(None, (absent, lacking(device, gpu=absent is None)))) or None


def _torch(device: str) -> str | None:
    absent = _package("torch", "pip install torch")
    if absent or kind_of(device) == "cpu":
        return absent
    return lacking_gpu(device) or _torch_cuda()


def _tensorrt(device: str) -> str | None:
    absent = []
    try:
        capability = gpu(device).capability
    except MissingDependencyError as error:
        absent.append(str(error))
    try:
        from znas_engine.tensorrt import library
    except MissingDependencyError as error:
        absent.append(str(error))
    if absent:
        return "; ".join(absent)
    if library.BUILDS_AHEAD and capability not in library.capabilities():
        return (
            f"{library.FLAVOUR} does not serve the compute capability {capability} of this GPU: "
            "pip install 'znas-engine[trt]' and uninstall TensorRT-RTX"
        )
    return _torch_cuda()


def _torch_cuda() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} finds no CUDA: install its CUDA build from pytorch.org"
    return None


#: What exported graphs hand out: moments stay inside.
_EXPORTED = frozenset(READS) - {"variances"}
NATIVE = Backend(
    "native",
    "znas_engine.backends.native:Native",
    {"cpu": ("float32", "bfloat16"), "cuda": ("float32", "float16", "bfloat16")},
    _native,
)
ORT = Backend(
    "ort",
    "znas_engine.backends.onnxruntime:OnnxRuntime",
    {"cpu": ("float32",), "cuda": ("float32", "float16")},
    _onnxruntime,
    reads=_EXPORTED,
)
TORCH = Backend(
    "torch",
    "znas_engine.backends.torch_reference:TorchReference",
    {"cpu": ("float32",), "cuda": ("float32",)},
    _torch,
)
TRT = Backend(
    "trt",
    "znas_engine.backends.tensorrt:TensorRt",
    {"cuda": GRAPH_DTYPES},
    _tensorrt,
    reads=_EXPORTED,
)
