"""Devices by name: `cpu`, or GPUs as CUDA counts them, `cuda:0`, `cuda:1`, ..."""

from __future__ import annotations

import re

from znas_engine.errors import InvalidValueError

#: The first device of every kind.
FIRST = {"cpu": "cpu", "cuda": "cuda:0"}
#: Images that go through a network together where statistics are frozen and results do not depend on it.
TOGETHER = {"cpu": 64, "cuda": 256}


def parse_devices(text: str) -> tuple[str, ...]:
    """`cpu`, `cuda` (the first GPU), `cuda:1`, or several GPUs joined by commas; else InvalidValueError."""
    devices = tuple(FIRST.get(part.strip(), part.strip()) for part in text.split(","))
    gpus = all(re.fullmatch(r"cuda:(0|[1-9]\d{0,2})", device) for device in devices)
    if devices != ("cpu",) and not (gpus and len(set(devices)) == len(devices)):
        raise InvalidValueError(
            f"`device` must be cpu, cuda:N, or several GPUs as in cuda:0,cuda:1 but got {text!r}"
        )
    return devices


def kind_of(device: str) -> str:
    """cuda:1 -> cuda"""
    return device.partition(":")[0]


def number_of(device: str) -> int:
    """cuda:1 -> 1"""
    return int(device.partition(":")[2])
