"""Which devices and dtypes every backend serves: a table, for checks before a backend is imported."""

from __future__ import annotations

from collections.abc import Sequence

from znas_engine.devices import FIRST, kind_of
from znas_engine.errors import InvalidValueError
from znas_engine.export import GRAPH_DTYPES

#: What backends compute in on a kind of device, where it is not float32 alone.
DTYPES: dict[tuple[str, str], tuple[str, ...]] = {
    ("native", "cpu"): ("float32", "bfloat16"),
    ("native", "cuda"): ("float32", "float16", "bfloat16"),
    ("ort", "cuda"): ("float32", "float16"),
    ("trt", "cuda"): GRAPH_DTYPES,
}


def dtypes_of(backend: str, device: str) -> tuple[str, ...]:
    """What the backend computes in on that device."""
    return DTYPES.get((backend, kind_of(device)), ("float32",))


def check_dtype(backend: str, devices: Sequence[str], dtype: str) -> str:
    """`dtype` itself, or InvalidValueError where that backend cannot compute in it on one of the devices."""
    for device in devices:
        allowed = dtypes_of(backend, device)
        if dtype not in allowed:
            others = [
                f"--backend {name}" for name in DEVICES if dtype in dtypes_of(name, default_device(name))
            ]
            others = others or [
                f"--backend {name} --device {kind}"
                for (name, kind), known in DTYPES.items()
                if dtype in known
            ]
            raise InvalidValueError(
                f"`dtype` must be {' or '.join(allowed)} for the backend {backend} on {device} "
                f"but got {dtype!r}" + (f"; use {' or '.join(others)} for {dtype}" if others else "")
            )
    return dtype


#: Kinds of devices that a backend runs on, its default first.
DEVICES: dict[str, tuple[str, ...]] = {
    "native": ("cpu", "cuda"),
    "ort": ("cpu", "cuda"),
    "torch": ("cpu", "cuda"),
    "trt": ("cuda",),
}


def default_device(backend: str) -> str:
    """Where a backend runs if nobody says where."""
    return FIRST[DEVICES[backend][0]]


def check_devices(backend: str, devices: Sequence[str]) -> tuple[str, ...]:
    """`devices` themselves, or InvalidValueError where that backend does not run on one of them."""
    kinds = DEVICES[backend]
    for device in devices:
        if kind_of(device) not in kinds:
            others = [name for name, served in DEVICES.items() if kind_of(device) in served]
            raise InvalidValueError(
                f"`device` must be {' or '.join(kinds)} for the backend {backend} but got {device}; "
                f"use --backend {' or '.join(others)} for {kind_of(device)}"
            )
    return tuple(devices)
