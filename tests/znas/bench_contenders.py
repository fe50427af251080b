"""Contenders that must not be believed, for workers of the latency suite to import."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from znas.bench.contenders import Request, Run, native_backend
from znas_engine.spaces import Mask


def other_weights(request: Request) -> Run:
    """A correct engine on the wrong network."""
    environment = replace(request.environment, seed=request.environment.seed + 1)
    return native_backend(replace(request, environment=environment))


def no_start(request: Request) -> Run:
    raise RuntimeError("no C++ compiler was found")


def dies_when_timed(request: Request) -> Run:
    """Passes its check, then fails at a mask that it has not seen there."""
    run = native_backend(request)
    seen: list[bytes] = []

    def once(mask: Mask) -> np.ndarray:
        if len(seen) >= 3:
            raise MemoryError("no room for another mask")
        seen.append(mask.tobytes())
        return run(mask)

    return once
