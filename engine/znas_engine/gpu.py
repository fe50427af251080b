"""The NVIDIA GPUs of this machine, asked of the driver itself: no framework and no toolkit is needed."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from znas_engine.devices import number_of
from znas_engine.errors import MissingDependencyError

#: CUdevice_attribute values of cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """name: as the driver gives it. capability: compute capability, such as "8.6". driver: its version."""

    name: str
    capability: str
    driver: str


def gpus() -> list[Gpu]:
    """All GPUs that CUDA shows this process, at least one, in CUDA's order.

    Raises:
        MissingDependencyError: there is no driver, or it shows no GPU; the message says which.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        management = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        raise MissingDependencyError(f"no NVIDIA driver is installed ({error})") from error
    count = ctypes.c_int(0)
    if (code := cuda.cuInit(0)) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count.value:
        raise MissingDependencyError(f"the NVIDIA driver shows no GPU (cuInit gave {code})")
    driver = _driver(management)
    return [_describe(cuda, index, driver) for index in range(count.value)]


def gpu(device: str) -> Gpu:
    """The one that CUDA calls `device`, such as "cuda:1"; MissingDependencyError where there is none."""
    found = gpus()
    if number_of(device) >= len(found):
        names = ", ".join(f"cuda:{number}" for number in range(len(found)))
        raise MissingDependencyError(f"this machine has {names}")
    return found[number_of(device)]


def _describe(cuda: ctypes.CDLL, index: int, driver: str) -> Gpu:
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor, device = ctypes.c_int(0), ctypes.c_int(0), ctypes.c_int(0)
    cuda.cuDeviceGet(ctypes.byref(device), index)
    cuda.cuDeviceGetName(name, _NAME_BYTES, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device)
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}", driver)


def _driver(management: ctypes.CDLL) -> str:
    text = ctypes.create_string_buffer(_NAME_BYTES)
    if management.nvmlInit_v2() != 0 or management.nvmlSystemGetDriverVersion(text, _NAME_BYTES) != 0:
        raise MissingDependencyError("the NVIDIA driver does not tell its version (libnvidia-ml.so.1)")
    management.nvmlShutdown()
    return text.value.decode()
