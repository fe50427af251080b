"""What a worker keeps from one unit to the next: supernets, images and compiled programs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from znas_engine.backends import Backend, get_backend
from znas_engine.evaluator import Evaluator
from znas_engine.spaces import Macro, SearchSpace

#: Shared objects that a worker keeps: those of the environments that an evaluator keeps, and some.
KEPT = 64


@dataclass(frozen=True, slots=True)
class Shared:
    """What many units read, sent to a node once. key: names it. held: what leads a worker to it."""

    key: str
    held: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Supernet:
    """What an evaluator is made of."""

    space: SearchSpace[Any]
    macro: Macro
    norm: str
    dtype: str
    backend: str | Backend
    kind: str

    def evaluator(self, threads: int) -> Evaluator:
        """On this machine; a worker sees no GPU but its own."""
        device = "cuda:0" if self.kind == "cuda" else self.kind
        return get_backend(self.backend)(
            self.space, self.macro, norm=self.norm, dtype=self.dtype, devices=[device], threads=threads
        )


class Bench:
    """Of one worker. threads: that it may use. fetch: from `Shared.held` to the object.

    count: advances while a unit is being done; one that stands still hangs.
    """

    def __init__(self, threads: int, fetch: Callable[[Any], Any]) -> None:
        self.threads = threads
        self.count = 0
        self._fetch = fetch
        self._shared: OrderedDict[str, Any] = OrderedDict()
        self._evaluators: dict[str, Evaluator] = {}

    def advance(self, *_: object) -> None:
        """Something was done."""
        self.count += 1

    def get(self, shared: Shared) -> Any:
        """The same object each time, while it is kept: evaluators know environments by identity."""
        if shared.key not in self._shared:
            self._shared[shared.key] = self._fetch(shared.held)
            self.advance()
            while len(self._shared) > KEPT:
                self._shared.popitem(last=False)
        self._shared.move_to_end(shared.key)
        return self._shared[shared.key]

    def evaluator(self, supernet: Shared) -> Evaluator:
        """Of that supernet; the last one is kept, with what it compiled."""
        if supernet.key not in self._evaluators:
            self._evaluators = {supernet.key: self.get(supernet).evaluator(self.threads)}
        return self._evaluators[supernet.key]
