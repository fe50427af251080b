"""What hands units of work to workers, whoever these are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from znas.cluster.bench import Bench, Shared
from znas.cluster.unit import Call, Unit

U = TypeVar("U", bound=Unit)
U_co = TypeVar("U_co", bound=Unit, covariant=True)


class Units(Protocol[U_co]):
    """Where units come from, one at a time and as workers come free. ahead: how many a worker has at a time,
    the one that it is at among them."""

    @property
    def ahead(self) -> int: ...

    def take(self, worker: Hashable) -> U_co | None:
        """The next one for that worker; None when there are no more."""

    def timed(self, worker: Hashable, masks: int, seconds: float) -> None:
        """How long a worker took for a unit of so many masks."""


class Listed:
    """Units that are there already, each long: another that waits behind one would wait for nothing."""

    ahead = 1

    def __init__(self, units: Iterable[Call]) -> None:
        self._units = iter(units)

    def take(self, worker: Hashable) -> Call | None:
        return next(self._units, None)

    def timed(self, worker: Hashable, masks: int, seconds: float) -> None:
        """All are as large as they are."""


class Place(ABC):
    """Does units of work."""

    @property
    @abstractmethod
    def lanes(self) -> int:
        """How many workers there are now, at least 1."""

    @abstractmethod
    def share(self, what: Any) -> Shared:
        """What many units read, made known to all workers once: the same object is the same `Shared`."""

    @abstractmethod
    def run(self, units: Units[U]) -> Iterator[tuple[U, Any]]:
        """Every unit with its value, in the order in which they are done. Each is done once, or repeated
        where its worker is lost; what it raises of ours ends all."""


class Here(Place):
    """This process, one unit after another."""

    def __init__(self, threads: int) -> None:
        self._bench = Bench(threads, lambda held: held)

    @property
    def lanes(self) -> int:
        return 1

    def share(self, what: Any) -> Shared:
        return Shared(str(id(what)), what)

    def run(self, units: Units[U]) -> Iterator[tuple[U, Any]]:
        while (unit := units.take(0)) is not None:
            yield unit, unit.run(self._bench)
