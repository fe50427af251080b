"""How far half precision may be off: as far as its numbers alone take a network, the deeper the further."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.backends.checks import LOGIT_TOLERANCE, scales
from znas_engine.environment import Environment
from znas_engine.graph import Conv, Linear
from znas_engine.halves import nearest

#: Errors that are allowed for each that rounding the weights alone makes. What products read is rounded too,
#: and weights once they are merged with their normalisation: native in bfloat16 is off by up to 2.1 times as
#: much, in supernets of 14 to 67 convolutions in a row (docs/decisions/0006-native-executor.md).
SLACK = 3.0


@dataclass(frozen=True, slots=True)
class Rounded(Environment):
    """The same draw, its weights as `dtype` holds them: for a reference that has no cache, since what a cache
    knows of an environment is what it was drawn from."""

    dtype: str

    def weight(self, node: Conv | Linear) -> NDArray[np.float32]:
        """The node's weight, float32, rounded to nearest."""
        return nearest(Environment.weight(self, node), self.dtype)[1]


def rounded(environment: Environment, dtype: str) -> Rounded:
    """`environment` with weights as `dtype` holds them."""
    return Rounded(environment.seed, environment.init, environment.batch, dtype)


def tolerance(dtype: str, exact: Sequence[Any], coarse: Sequence[Any]) -> float:
    """What logits may be off by, relative to the `scales` of their masks: LOGIT_TOLERANCE or, where a network
    is so deep that rounding takes it further, SLACK times the largest error of rounded weights alone.

    exact, coarse: float32 logits by mask, the mixture first, of the reference and of it in `Rounded`.
    """
    if dtype == "float32":
        return LOGIT_TOLERANCE[dtype]
    off = (
        float(np.abs(one - other).max()) / scale
        for one, other, scale in zip(exact, coarse, scales(exact), strict=True)
        if scale
    )
    return max(LOGIT_TOLERANCE[dtype], SLACK * max(off, default=0.0))
