"""Backends by name; each is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec

from znas_engine.backends.base import GRADIENTS, Evaluator, MaskedPass, Scores, check_score
from znas_engine.backends.served import DEVICES, check_devices, check_dtype, default_device, dtypes_of
from znas_engine.devices import FIRST, kind_of, number_of, parse_devices
from znas_engine.errors import MissingDependencyError, unknown_choice
from znas_engine.gpu import MEASURED, before_cuda, gpu
from znas_engine.scores import GradientScore, Score

__all__ = [
    "BACKENDS",
    "DEVICES",
    "Choice",
    "Evaluator",
    "MaskedPass",
    "Scores",
    "can_run",
    "check_score",
    "choose_backend",
    "dtypes_of",
    "get_backend",
    "missing",
]


#: The least compute capability, ten times, that the kernels of `native` are built for.
OLDEST = 80


@dataclass(frozen=True, slots=True)
class Backend:
    """Where an evaluator is, and `missing`: what a device needs and is not here, with the way out."""

    module: str
    evaluator: str
    missing: Callable[[str], str | None]


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
        return _gpu(device) or (
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

    absent = _gpu(device)
    return "; ".join(filter(None, (absent, lacking(device, gpu=absent is None)))) or None


def _torch(device: str) -> str | None:
    absent = _package("torch", "pip install torch")
    if absent or kind_of(device) == "cpu":
        return absent
    return _gpu(device) or _torch_cuda()


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


def _gpu(device: str) -> str | None:
    try:
        gpu(device)
    except MissingDependencyError as error:
        return str(error)
    return None


def _torch_cuda() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return f"PyTorch {torch.__version__} finds no CUDA: install its CUDA build from pytorch.org"
    return None


#: By name, in order of `auto`'s preference: the fastest first.
BACKENDS: dict[str, Backend] = {
    "native": Backend("znas_engine.backends.native", "Native", _native),
    "ort": Backend("znas_engine.backends.onnxruntime", "OnnxRuntime", _onnxruntime),
    "torch": Backend("znas_engine.backends.torch_reference", "TorchReference", _torch),
    # Last: its passes have not been run on a GPU yet (docs/decisions).
    "trt": Backend("znas_engine.backends.tensorrt", "TensorRt", _tensorrt),
}


def missing(name: str, device: str | None = None) -> str | None:
    """What the backend needs and does not find here to run on `device`, with the way out; None if it can run.

    device: the backend's default if None.
    """
    if name not in BACKENDS:
        raise unknown_choice("backend", name, ["auto", *BACKENDS])
    return BACKENDS[name].missing(device or default_device(name))


def can_run(name: str, device: str | None = None, *, raise_error: bool = False) -> bool:
    """Whether this machine can run the backend; with `raise_error`, say what is missing instead of False."""
    reason = missing(name, device)
    if reason is not None and raise_error:
        where = "" if device is None else f" on {device}"
        raise MissingDependencyError(f"--backend {name} cannot run{where} here: {reason}")
    return reason is None


@dataclass(frozen=True, slots=True)
class Choice:
    """What will run, and where. remark: what a faster one lacks here that `auto` would have taken, or why it
    leaves a GPU alone, if any."""

    backend: str
    devices: tuple[str, ...]
    remark: str | None = None


def choose_backend(
    name: str, scores: Sequence[Score] = (), device: str = "auto", dtype: str = "float32"
) -> Choice:
    """`auto` -> the first backend that can run the scores on the device in that dtype; any other name is
    checked.

    device: as `parse_devices` reads it; `default`, a backend's own; or `auto`, which is the same but for the
    backend `auto`: that takes the first GPU if it is one of MEASURED.

    Raises:
        InvalidValueError: an unknown backend, device or dtype, or one that does not serve the others.
        MissingDependencyError: the backend, or with `auto` every one, lacks something here.
    """
    if name not in ("auto", *BACKENDS):
        raise unknown_choice("backend", name, ["auto", *BACKENDS])
    if name == "auto" and any(isinstance(score, GradientScore) for score in scores):
        name = GRADIENTS
    devices = () if device in ("auto", "default") else parse_devices(device)
    if name != "auto":
        check_devices(name, devices)
    for each in devices:
        if kind_of(each) == "cuda" and (absent := _gpu(each)):
            raise MissingDependencyError(f"--device {each} is not here: {absent}; use --device cpu")
    if name == "auto":
        return _choose_everywhere(dtype) if device == "auto" else _choose(devices, dtype)
    check_dtype(name, devices or (default_device(name),), dtype)
    if not devices:
        can_run(name, raise_error=True)
    for each in devices:
        can_run(name, each, raise_error=True)
    return Choice(name, devices or (default_device(name),))


def _choose_everywhere(dtype: str) -> Choice:
    """`auto` on `auto`: native on the first GPU if it is one of MEASURED, else what runs by default."""
    device = FIRST["cuda"]
    try:
        card = gpu(device)
    except MissingDependencyError:
        return _choose((), dtype)
    measured, absent = card.capability in MEASURED, missing("native", device)
    if measured and absent is None and dtype in dtypes_of("native", device):
        return Choice("native", (device,))
    choice = _choose((), dtype)
    if choice.backend != "native" or not (measured or absent is None):
        return choice
    if measured:
        why = f"native cannot run on {device} ({card.name}): {absent}"
    else:
        why = (
            f"no results are committed for compute capability {card.capability}; "
            f"--device {device} would use {card.name}"
        )
    return replace(choice, remark=f"--backend auto stays on the CPU: {why}")


def _choose(devices: tuple[str, ...], dtype: str) -> Choice:
    """`auto`: the first of BACKENDS that serves the devices, or has its default, and lacks nothing."""
    lacking: list[str] = []
    for name in BACKENDS:
        served = devices or (default_device(name),)
        if not all(kind_of(device) in DEVICES[name] for device in served):
            continue
        if not all(dtype in dtypes_of(name, device) for device in served):
            others = [FIRST[kind] for kind in DEVICES[name] if dtype in dtypes_of(name, FIRST[kind])]
            if others and not devices:
                lacking.append(f"{name} needs --device {others[0]} for {dtype}")
            continue
        reason = next((reason for device in served if (reason := missing(name, device))), None)
        if reason is None:
            remark = f"--backend auto runs {name} on {', '.join(served)}; {'; '.join(lacking)}"
            return Choice(name, served, remark if lacking else None)
        lacking.append(f"{name} cannot: {reason}")
    if not lacking:
        first = next(iter(BACKENDS))
        check_dtype(first, devices or (default_device(first),), dtype)
    raise MissingDependencyError(f"no backend can run {dtype} here; {'; '.join(lacking)}")


def get_backend(name: str) -> type[Evaluator]:
    """The evaluator class of a backend that can run here on its default device, or of `auto`."""
    backend = BACKENDS[choose_backend(name).backend]
    found: type[Evaluator] = getattr(import_module(backend.module), backend.evaluator)
    return found
