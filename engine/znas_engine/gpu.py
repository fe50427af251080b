"""The NVIDIA GPUs of this machine, asked of the driver itself: no framework and no toolkit is needed."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from functools import cache

from znas_engine.devices import kind_of, number_of
from znas_engine.errors import MissingDependencyError

#: Compute capabilities whose results are committed (bench/results), and the card that gave them: `auto` uses
#: a GPU of one of these and no other.
MEASURED = {"9.0": "NVIDIA H100"}
#: CUdevice_attribute values of cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True, slots=True)
class Gpu:
    """name: as the driver gives it. capability: compute capability, such as "8.6". driver: its version."""

    name: str
    capability: str
    driver: str


def before_cuda() -> None:
    """Called before CUDA is for the first time, which is when it reads the environment."""
    # By default 8 queues serve all streams, and each worker thread has one: masks would wait for one another.
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")


@cache
def gpus() -> tuple[Gpu, ...]:
    """All GPUs that CUDA shows this process, at least one, in CUDA's order.

    Asked for once: CUDA shows the same ones to the end, and to tell its version the driver opens every card.

    Raises:
        MissingDependencyError: there is no driver, or it shows no GPU; the message says which.
    """
    before_cuda()
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        management = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        raise MissingDependencyError(f"no NVIDIA driver is installed ({error})") from error
    count = ctypes.c_int(0)
    if (code := cuda.cuInit(0)) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0 or not count.value:
        raise MissingDependencyError(f"the NVIDIA driver shows no GPU (cuInit gave {code})")
    driver = _driver(management)
    return tuple(_describe(cuda, index, driver) for index in range(count.value))


def gpu(device: str) -> Gpu:
    """The one that CUDA calls `device`, such as "cuda:1"; MissingDependencyError where there is none."""
    found = gpus()
    if number_of(device) >= len(found):
        names = ", ".join(f"cuda:{number}" for number in range(len(found)))
        raise MissingDependencyError(f"this machine has {names}")
    return found[number_of(device)]


def lacking_gpu(device: str) -> str | None:
    """Why this machine has no GPU of that name; None if it has."""
    try:
        gpu(device)
    except MissingDependencyError as error:
        return str(error)
    return None


def with_card(device: str) -> str:
    """What results call a device: "cpu", "cuda:0 (NVIDIA H100 80GB HBM3)"."""
    return device if kind_of(device) == "cpu" else f"{device} ({gpu(device).name})"


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
