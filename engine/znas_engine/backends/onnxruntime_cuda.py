"""ONNX Runtime's CUDA provider: what it lacks here, its sessions, and passes whose inputs lie on a device.

Only `cuda_session` and what `lacking` asks of a GPU need one, and neither has been run on one yet; the
rest runs on the CPU as well, where it is tested.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine import silent
from znas_engine.devices import kind_of, number_of
from znas_engine.errors import DeviceError, DeviceMemoryError, MissingDependencyError

ort = silent.load("onnxruntime")
state = silent.load("onnxruntime.capi.onnxruntime_pybind11_state")

PROVIDER = "CUDAExecutionProvider"
#: float32 means float32, and no algorithm is chosen by a stopwatch: a seed gives the same scores again.
OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
#: The two distributions are one folder of files: whichever was installed last has overwritten the other.
HOW_TO_GET = (
    "pip uninstall onnxruntime onnxruntime-gpu, then pip install 'onnxruntime-gpu[cuda,cudnn]' "
    "(it runs on the CPU too)"
)
#: What ONNX Runtime raises of a device; its exceptions have no base of their own.
ERRORS = (RuntimeError, state.Fail, state.EPFail, state.EngineError, state.RuntimeException)
#: The words of its arena, of CUDA, and of cuDNN and cuBLAS.
FULL = ("Failed to allocate memory", "out of memory", "STATUS_ALLOC_FAILED")


def distribution() -> str:
    """Which of the two is installed, or was last."""
    return "onnxruntime-gpu" if PROVIDER in ort.get_available_providers() else "onnxruntime"


def lacking(device: str, *, gpu: bool = True) -> str | None:
    """What keeps the installed ONNX Runtime from a GPU, with the way out; None if nothing does.

    gpu: whether there is one, on which it can be tried.
    """
    if PROVIDER not in ort.get_available_providers():
        return f"the installed onnxruntime {ort.__version__} is the one for CPUs: {HOW_TO_GET}"
    if not gpu:
        return None
    absent = libraries()
    ort.set_default_logger_severity(4)  # it would print what is said below
    try:
        ort.OrtValue.ortvalue_from_shape_and_type([1], np.float32, "cuda", number_of(device))
    except ERRORS as error:
        return _unloaded(absent or _line(error))
    finally:
        ort.set_default_logger_severity(2)
    return None


@cache
def libraries() -> str:
    """Loads NVIDIA's libraries from where pip or the system put them; says which are not there."""
    said = io.StringIO()
    with redirect_stdout(said):
        ort.preload_dlls()
    return ", ".join(re.findall(r"^Failed to load (\S+?):", said.getvalue(), re.MULTILINE))


def cuda_session(model: bytes, device: str, options: Any) -> Any:
    """A session all of whose nodes run on that GPU.

    Raises MissingDependencyError where ONNX Runtime would use the CPU instead, for all or for some of them.
    """
    absent = libraries()
    options.use_deterministic_compute = True
    options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        made = ort.InferenceSession(
            model,
            options,
            providers=[(PROVIDER, {"device_id": str(number_of(device)), **OPTIONS})],
            enable_fallback=0,
        )
    except ERRORS as error:
        raise MissingDependencyError(_unloaded(absent or _line(error))) from error
    if made.get_providers()[0] != PROVIDER:
        raise MissingDependencyError(_unloaded(absent or f"it chose {made.get_providers()[0]}"))
    return made


class Bound:
    """A session with its inputs in buffers of a device that stay where they are; one pass at a time.

    device: that of the session.
    """

    def __init__(self, session: Any, device: str) -> None:
        self.session = session
        self.place = (kind_of(device), 0 if kind_of(device) == "cpu" else number_of(device))
        self.buffers: dict[tuple[str, tuple[int, ...]], Any] = {}
        self.lock = Lock()

    def run(self, names: Sequence[str], inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[Any]]:
        """The outputs of those names, on the host.

        Raises DeviceMemoryError where the device has no room for them, DeviceError where it fails otherwise.
        """
        with self.lock, device_errors():
            binding = self.session.io_binding()
            for name, value in inputs.items():
                binding.bind_ortvalue_input(name, self._buffer(name, value))
            for name in names:
                binding.bind_output(name)
            self.session.run_with_iobinding(binding)
            found: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
            return found

    def _buffer(self, name: str, value: NDArray[np.float32]) -> Any:
        """The buffer of an input of that shape, with `value` in it."""
        key = (name, value.shape)
        if key not in self.buffers:
            self.buffers[key] = ort.OrtValue.ortvalue_from_shape_and_type(
                value.shape, np.float32, *self.place
            )
        self.buffers[key].update_inplace(np.ascontiguousarray(value))
        return self.buffers[key]


@contextmanager
def device_errors() -> Iterator[None]:
    """DeviceMemoryError where a device's memory is full, DeviceError where ONNX Runtime fails otherwise."""
    try:
        yield
    except ERRORS as error:
        if any(words in str(error) for words in FULL):
            raise DeviceMemoryError(
                f"the GPU's memory is full ({_line(error)}); free some, or take a smaller --supernet-channels"
            ) from error
        raise DeviceError(f"ONNX Runtime failed on the GPU ({_line(error)})") from error


def _unloaded(why: str) -> str:
    return f"ONNX Runtime {ort.__version__} cannot use its CUDA provider ({why}): {HOW_TO_GET}"


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
