"""The threads of an evaluator, and what is made once for all of its calls."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from znas_engine.backends.workers import Workers
from znas_engine.environment import Environment
from znas_engine.spaces import Mask

T = TypeVar("T")

#: Passes, static scores and networks that are kept between calls, per device.
PREPARED = 16
#: Bytes that these take, about, with the images of their environments.
ROOM = 3 * 2**26
#: Of the weights of a supernet, what a prepared pass takes: merged and packed, they are there three times.
COPIES = 3
#: Calls that wait or run, per thread: enough that none is ever without one.
WAITING = 64


class Kept:
    """What was made of an environment under a key, made once.

    Whole environments go, the oldest first and the newest never, where there is more than PREPARED per device
    or than ROOM. each: bytes of what is made under one key.
    """

    def __init__(self, devices: int, each: int) -> None:
        self.most = PREPARED * devices
        self.each = each
        self.made: OrderedDict[Environment, dict[Hashable, Any]] = OrderedDict()

    def get(self, environment: Environment, key: Hashable, make: Callable[[], Any]) -> Any:
        own = self.made.setdefault(environment, {})
        self.made.move_to_end(environment)
        if key not in own:
            own[key] = make()
            while len(self.made) > 1 and (len(self) > self.most or self._bytes() > ROOM):
                self.made.popitem(last=False)
        return own[key]

    def __len__(self) -> int:
        return sum(map(len, self.made.values()))

    def _bytes(self) -> int:
        return len(self) * self.each + sum(each.batch.images.nbytes for each in self.made)


def in_turn(
    workers: Workers, threads: int, function: Callable[[Mask], T], batches: Iterable[Mask]
) -> Iterator[T]:
    """What `function` returns for every batch, in their order, called in the workers' threads.

    Batches are taken as threads come to need them: memory does not depend on how many there are.
    """
    running: deque[Future[T]] = deque()
    for batch in batches:
        running.append(workers.submit(function, batch))
        if len(running) >= threads * WAITING:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


class SharedOut(Generic[T]):
    """A function of masks, of which every device has its own: a worker thread calls that of its device."""

    def __init__(self, workers: Workers, functions: Sequence[Callable[[Mask], T]]) -> None:
        self.workers = workers
        self.functions = functions

    def __call__(self, mask: Mask) -> T:
        return self.functions[self.workers.place](mask)
