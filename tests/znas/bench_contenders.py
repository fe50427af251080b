"""Contenders that must not be believed, for workers of the latency suite to import."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from znas.bench.contenders import Logits, Request, Run, native_backend
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


class InBatches:
    """Takes many masks at once; `wrong`: where a batch is longer than one, its last mask gets the first's."""

    def __init__(self, request: Request, *, wrong: bool = False) -> None:
        self.run = native_backend(request)
        self.wrong = wrong

    def __call__(self, mask: Mask) -> Logits:
        return self.run(mask)

    def batch(self, masks: Mask) -> Logits:
        time.sleep(0.05)  # single passes do not
        found = np.stack([self.run(mask) for mask in masks])
        if self.wrong:
            found[-1] = found[0]
        return found


def wrong_in_batches(request: Request) -> Run:
    return InBatches(request, wrong=True)
