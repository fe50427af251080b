"""Workers of a Ray cluster: they come, hang, die and are replaced, and units are repeated.

The only module that imports Ray.
"""

from __future__ import annotations

import itertools
import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from znas.cluster.account import Account
from znas.cluster.bench import Shared
from znas.cluster.place import Place, U, Units
from znas.cluster.unit import Unit
from znas.cluster.worker import Done, Facts, Worker, difference, facts
from znas.hooks import QUIET, Report
from znas_engine import interrupts
from znas_engine.errors import DeviceError, InvalidValueError, in_short

#: Shared objects that are kept in the cluster's memory for units to come.
SHARED = 256
#: How often a unit is begun, at most: where so many workers were lost at it, it is the unit.
ATTEMPTS = 8
#: Seconds: between two looks at what arrives, between two questions whether a worker still works, without an
#: advance after which it hangs, and until the first worker must be there.
TICK, BEAT, PATIENCE, ARRIVAL = 0.5, 5.0, 300.0, 300.0


@dataclass(slots=True)
class _Slot:
    """A worker. hello: what it says of itself, until it did. flying: what it has to do, first the unit that
    it is at. count, since: of its last advance."""

    name: str
    actor: Any
    hello: Any
    facts: Facts | None = None
    flying: dict[Any, Any] = field(default_factory=dict)
    beat: Any = None
    asked: float = 0.0
    count: int = -1
    since: float = 0.0

    @property
    def host(self) -> str:
        return self.facts.host if self.facts else "?"


class OnRay(Place):
    """See `znas.cluster.where`. patience: seconds without an advance after which a worker hangs."""

    def __init__(
        self,
        on: str,
        address: str | None,
        *,
        actors: int | None = None,
        threads: int | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._on = on
        self._patience, self._beat = patience, min(BEAT, patience / 4)
        self.report: Report = QUIET.report
        self._connect(address)
        self._shared: OrderedDict[int, tuple[Any, Shared]] = OrderedDict()
        self._names, self._keys = itertools.count(), itertools.count()
        self._ours = facts()
        self._lost_at: dict[str, int] = {}
        self._present = 0.0
        self.account = Account()
        self._gpus, self._threads, self._wanted = self._planned(actors, threads)
        self._slots = [self._hired() for _ in range(self._wanted)]

    # ---- workers

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for a network call
        if ray.is_initialized():
            return
        options: dict[str, Any] = {"configure_logging": False, "log_to_driver": False}
        if address is None:
            options["include_dashboard"] = False
        try:
            ray.init(address or os.environ.get("RAY_ADDRESS"), logging_level=logging.ERROR, **options)
        except (ConnectionError, RuntimeError, ValueError, RayError) as error:
            raise InvalidValueError(
                f"--on {self._on}: there is no Ray cluster ({in_short(error)}): start one with `ray start "
                "--head`, or pass --on ray"
            ) from error

    def _planned(self, actors: int | None, threads: int | None) -> tuple[float, int, int]:
        """GPUs of a worker, its threads, and how many there are to be."""
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        gpus = int(sum(each.get("GPU", 0) for each in alive))
        cores = [int(each.get("CPU", 0)) for each in alive]
        if gpus:
            each_ = threads or max(1, int(sum(cores)) // gpus)
            return 1.0, each_, actors or gpus
        domains = ray.get([self._domains_of(node["NodeID"]) for node in ray.nodes() if node["Alive"]])
        each_ = threads or max(
            1, min(c // d for c, d in zip(cores, domains, strict=True) if c) if any(cores) else 1
        )
        return 0.0, each_, actors or max(1, sum(c // each_ for c in cores))

    @staticmethod
    def _domains_of(node: str) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        asked = ray.remote(_domains).options(
            num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
        )
        return asked.remote()

    def _hired(self) -> _Slot:
        made = ray.remote(concurrency_groups={"beat": 1})(Worker).options(
            num_cpus=self._threads, num_gpus=self._gpus, scheduling_strategy="SPREAD", max_restarts=0
        )
        actor = made.remote(self._threads, _fetched)
        return _Slot(f"worker {next(self._names)}", actor, actor.facts.remote(), since=time.monotonic())

    @property
    def lanes(self) -> int:
        return max(1, sum(slot.facts is not None for slot in self._slots))

    def share(self, what: Any) -> Shared:
        if id(what) not in self._shared:
            self._shared[id(what)] = what, Shared(f"shared {next(self._keys)}", [ray.put(what)])
            while len(self._shared) > SHARED:
                self._shared.popitem(last=False)
        self._shared.move_to_end(id(what))
        return self._shared[id(what)][1]

    # ---- units

    def run(self, units: Units[U]) -> Iterator[tuple[U, Any]]:
        again: deque[U] = deque()
        self._lost_at.clear()
        self._present = time.monotonic()
        try:
            while True:
                interrupts.check()
                more = self._hand_out(units, again)
                flying = {ref: slot for slot in self._slots for ref in slot.flying}
                if not more and not flying and not again:
                    return
                for ref in self._arrived(flying):
                    slot = flying[ref]
                    if ref in slot.flying:  # else lost with its worker, just now
                        yield from self._taken_in(units, slot, ref, again)
                self._look_after(again)
        finally:
            for slot in self._slots:
                for ref in slot.flying:
                    ray.cancel(ref)
                slot.flying = {}

    def _hand_out(self, units: Units[U], again: deque[U]) -> bool:
        """Fills all workers, each with its first unit before one has a second; False where there are no more
        units."""
        for depth in range(units.ahead):
            for slot in self._slots:
                if slot.facts is None or len(slot.flying) > depth:
                    continue
                unit = again.popleft() if again else units.take(slot.name)
                if unit is None:
                    return False
                if not slot.flying:
                    slot.since = time.monotonic()
                slot.flying[slot.actor.run.remote(unit)] = unit
        return True

    def _arrived(self, flying: dict[Any, _Slot]) -> list[Any]:
        """Results that are there; greets workers that are."""
        waiting = {slot.hello: slot for slot in self._slots if slot.facts is None}
        refs = [*flying, *waiting]
        ready, _ = ray.wait(refs, num_returns=1, timeout=TICK)
        if ready:  # all that are there: looking at thousands of references takes as long for one
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            if ref in waiting:
                self._greet(waiting[ref])
        if any(slot.facts for slot in self._slots):
            self._present = time.monotonic()
        elif time.monotonic() - self._present > ARRIVAL:
            raise DeviceError(
                f"--on {self._on}: no worker came within {ARRIVAL:.0f} s (each wants {self._threads} cores"
                f"{' and a GPU' if self._gpus else ''}): `ray status` shows what the cluster has"
            )
        return [ref for ref in ready if ref in flying]

    def _taken_in(self, units: Units[U], slot: _Slot, ref: Any, again: deque[U]) -> Iterator[tuple[U, Any]]:
        """The value that came; nothing where the worker was lost at it."""
        try:
            done: Done = ray.get(ref)
        except RayTaskError as error:  # no error of ours: of the machine, perhaps
            unit = slot.flying.pop(ref)
            self._repeat(unit, f"{slot.name} on {slot.host} failed: {in_short(error.cause)}")
            again.append(unit)
            return
        except RayError as error:
            self._replace(slot, f"was lost ({in_short(error)})", again)
            return
        unit = slot.flying.pop(ref)
        slot.since = time.monotonic()
        if done.error is not None:
            raise done.error
        units.timed(slot.name, unit.masks, done.seconds)
        self.account.did(slot.host, slot.name, unit.masks, done.seconds)
        yield unit, done.value

    # ---- faults

    def _greet(self, slot: _Slot) -> None:
        """What is not the same there is not used; a worker that died on its way is replaced."""
        try:
            found: Facts = ray.get(slot.hello)
        except RayActorError as error:
            if not getattr(error, "actor_init_failed", False):
                self._replace(slot, "was lost on its way", deque())
                return
            self._refuse(slot, in_short(error))
            return
        except RayError as error:
            self._refuse(slot, in_short(error))
            return
        wrong = difference(self._ours, found)
        if wrong is None:
            slot.facts = found
            return
        self._refuse(slot, f"{found.host}: {wrong}")

    def _refuse(self, slot: _Slot, why: str) -> None:
        self._dismiss(slot)
        self._slots.remove(slot)
        if not self._slots:
            raise InvalidValueError(
                f"--on {self._on}: no worker can be used ({why}): install the same znas-engine and packages "
                "on all nodes"
            )
        self.report(f"a worker is not used: {why}")

    def _replace(self, slot: _Slot, why: str, again: deque[U]) -> None:
        """Another worker in place of that one; what it had to do is done elsewhere."""
        self._dismiss(slot)
        lost: list[Any] = list(slot.flying.values())
        again.extendleft(reversed(lost))
        self._slots[self._slots.index(slot)] = self._hired()
        self.account.lost(slot.host, len(lost))
        said = f"{slot.name} on {slot.host} {why}"
        if lost:
            self._repeat(lost[0], said)
        else:
            self.report(f"{said}; another takes its place")

    def _repeat(self, unit: Unit, why: str) -> None:
        """Says that the unit is done again; ends the job where that has been too often."""
        times = self._lost_at[unit.key] = self._lost_at.get(unit.key, 0) + 1
        if times >= ATTEMPTS:
            raise DeviceError(f"{unit.key} failed on {times} workers, last: {why}")
        self.report(f"{why}; {unit.key} is done again")

    def _dismiss(self, slot: _Slot) -> None:
        with suppress(RayError, ValueError):
            ray.kill(slot.actor)

    def _look_after(self, again: deque[U]) -> None:
        """Asks workers whether they work; one that does not move any more is replaced."""
        now = time.monotonic()
        for slot in list(self._slots):
            if not slot.flying:
                continue
            if slot.beat is None:
                if now - max(slot.asked, slot.since) > self._beat:  # who delivers need not be asked
                    slot.asked = now
                    slot.beat = slot.actor.beat.options(concurrency_group="beat").remote()
            elif ray.wait([slot.beat], timeout=0)[0]:
                with suppress(RayError):  # its units will say that it is lost
                    count = ray.get(slot.beat)
                    if count != slot.count:
                        slot.count, slot.since = count, now
                slot.beat = None
            if now - slot.since > self._patience:
                self._replace(slot, f"has not moved for {self._patience:.0f} s", again)


def _fetched(held: Any) -> Any:
    """On a worker: what was shared, from the memory of its node."""
    return ray.get(held[0])


def _domains() -> int:
    """NUMA nodes of this machine."""
    return max(1, len(list(Path("/sys/devices/system/node").glob("node[0-9]*"))))
