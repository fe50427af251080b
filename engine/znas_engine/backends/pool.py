"""The threads of an evaluator, and what is made once for all of its calls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Generic, TypeVar

from znas_engine.backends.workers import Workers
from znas_engine.spaces import Mask

T = TypeVar("T")

#: Passes, static scores and networks (one environment each) that are kept between calls, per device.
PREPARED = 16


class Kept:
    """What was made under a key, made once; the oldest goes where there are more than PREPARED per device."""

    def __init__(self, devices: int) -> None:
        self.most = PREPARED * devices
        self.made: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self.made:
            self.made[key] = make()
            while len(self.made) > self.most:
                self.made.popitem(last=False)
        self.made.move_to_end(key)
        return self.made[key]


class SharedOut(Generic[T]):
    """A function of masks, of which every device has its own: a worker thread calls that of its device."""

    def __init__(self, workers: Workers, functions: Sequence[Callable[[Mask], T]]) -> None:
        self.workers = workers
        self.functions = functions

    def __call__(self, mask: Mask) -> T:
        return self.functions[self.workers.place](mask)
