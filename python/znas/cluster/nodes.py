"""The machines of a Ray cluster, as far as they can be used: what is not the same there is not used."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorUnschedulableError,
    NodeDiedError,
    RayError,
    RayTaskError,
    TaskUnschedulableError,
)
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from znas.cluster.news import News, remark, tell
from znas.cluster.worker import Facts, difference, facts
from znas_engine import paths
from znas_engine.errors import InvalidValueError, StorageError, in_short

#: Seconds between two looks at which machines there are.
LOOK = 5.0
#: What Ray says of a machine that it has lost.
GONE = (ActorUnschedulableError, NodeDiedError, TaskUnschedulableError)
#: How often a machine is asked what it is where its answer was lost.
QUESTIONS = 3


@dataclass(slots=True)
class Node:
    """A machine. hello: what it will say of itself. seats: how many workers it has room for, 0 until it
    answered; threads: of each. late: workers that did not come."""

    id: str
    host: str
    cores: int
    gpus: int
    hello: Any
    asked: int = 1
    seats: int = 0
    threads: int = 1
    late: int = 0


@dataclass(slots=True)
class Nodes:
    """on: as the user wrote it. threads: of a worker; by default all cores of a NUMA node, or those that
    there are for a GPU. seats: workers that a machine has room for: by its cores, or one for each of its GPUs
    where the cluster has any."""

    on: str
    threads: int | None
    known: dict[str, Node] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    _ours: Facts = field(default_factory=facts)
    _looked: float = -LOOK

    @property
    def usable(self) -> list[Node]:
        """Those with room for a worker."""
        return [node for node in self.known.values() if node.seats]

    @property
    def gpus(self) -> bool:
        """Whether workers have a GPU each."""
        return any(node.gpus for node in self.known.values())

    def waiting(self) -> dict[Any, str]:
        """What machines will say of themselves, and which: for `greet`."""
        return {node.hello: node.id for node in self.known.values() if node.hello is not None}

    def look(self) -> None:
        """Machines come and go. InvalidValueError where none that is there can be used, nor will be."""
        if time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        there = {each["NodeID"]: each for each in ray.nodes() if each["Alive"]}
        for gone in self.known.keys() - there.keys():
            del self.known[gone]
        for new in there.keys() - self.known.keys() - self.refused.keys():
            has = there[new]["Resources"]
            if has.get("CPU", 0) >= 1:
                host = there[new]["NodeManagerHostname"]
                self.known[new] = Node(new, host, int(has["CPU"]), int(has.get("GPU", 0)), _asked(new))
        self._check()

    def greet(self, id_: str) -> None:
        """A machine has answered, or has not."""
        node = self.known.get(id_)
        if node is None:  # refused, just now
            return
        hello, node.hello = node.hello, None
        try:
            parts, found = ray.get(hello)
        except RayTaskError as error:  # it cannot import what is asked
            self.refuse(node, in_short(error.cause or error))
            return
        except GONE:
            self.forget(node)
            return
        except RayError as error:
            if node.asked >= QUESTIONS:
                self.refuse(node, in_short(error))
            else:
                node.asked, node.hello = node.asked + 1, _asked(id_)
            return
        if self.accepts(node, found):
            self._seat(node, parts)

    def accepts(self, node: Node, found: Facts) -> bool:
        """Whether what one of its processes says of itself is the same as here; else it is refused."""
        wrong = difference(self._ours, found)
        if wrong is not None:
            self.refuse(node, wrong)
        return wrong is None

    def forget(self, node: Node) -> None:
        """It is gone; while Ray still counts it among those that are there, it is asked again."""
        self.known.pop(node.id, None)

    def refuse(self, node: Node, why: str) -> None:
        """It is not used any more."""
        self.refused[node.id] = f"{node.host}: {why}"
        self.known.pop(node.id, None)
        tell(News(kind="refused", host=node.host, text=why))
        self._check()
        remark(f"a machine is not used: {self.refused[node.id]}")

    def _seat(self, node: Node, parts: int) -> None:
        node.threads = self.threads or max(1, node.cores // (node.gpus or parts))
        node.seats = node.cores // node.threads
        if self.gpus:
            node.seats = min(node.seats, node.gpus)
        self._check()

    def _check(self) -> None:
        if any(node.seats or node.hello is not None for node in self.known.values()):
            return
        if self.refused:
            why = next(reversed(self.refused.values()))
            raise InvalidValueError(
                f"--on {self.on}: no machine can be used ({why}): install the same znas-engine and packages "
                "on all of them"
            )
        if self.known:
            most = max(node.cores for node in self.known.values())
            raise InvalidValueError(
                f"--on {self.on}: a worker wants {self.threads} cores and no machine has more than {most}: "
                "lower --threads-per-actor"
            )


def freest(nodes: Iterable[Node], taken: dict[str, int]) -> Node | None:
    """The one where workers come and fewest of its seats are taken; None where all are."""
    free = [node for node in nodes if taken.get(node.id, 0) < node.seats]
    return min(free, key=lambda node: (node.late, taken.get(node.id, 0) / node.seats), default=None)


def on_node(id_: str) -> NodeAffinitySchedulingStrategy:
    """There and nowhere else."""
    return NodeAffinitySchedulingStrategy(id_, soft=False)


def _asked(id_: str) -> Any:
    """What a machine is and how many NUMA nodes it has, when it has answered."""
    return _described.options(scheduling_strategy=on_node(id_)).remote()


@ray.remote(num_cpus=0)  # type: ignore[untyped-decorator,unused-ignore]
def _described() -> tuple[int, Facts]:
    return domains(), facts()


def domains() -> int:
    """NUMA nodes of this machine; 1 where the system does not say."""
    try:
        there = paths.names(Path("/sys/devices/system/node"), "a folder of the system")
    except StorageError:
        return 1
    return max(1, sum(re.fullmatch("node[0-9]+", name) is not None for name in there))
