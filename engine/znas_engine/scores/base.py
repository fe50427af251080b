"""What a score function sees of one masked pass, and what it returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class CodeSite:
    """The activation codes at one value that ReLUs read: which of its entries are positive.

    packed: uint64 [N, ceil(bits / 64)]. modules: how many live ReLU modules read the value, so that
    counting each of them (as hooks on nn.ReLU would) costs one code.
    """

    packed: NDArray[np.uint64]
    bits: int
    modules: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One mask in one environment: logits float32 [N, classes], labels int64 [N] or None, and the codes
    (empty unless the score needs them)."""

    logits: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    codes: tuple[CodeSite, ...]


class Score(ABC):
    """A score function F; larger is better."""

    name: str
    needs_labels: bool = False
    needs_codes: bool = False
    #: Above this many images the score's own cost (memory or time) is out of proportion.
    max_images: int | None = None

    @abstractmethod
    def __call__(self, observation: Observation) -> float:
        """The value for one mask; a non-finite one is refused by the evaluator."""
