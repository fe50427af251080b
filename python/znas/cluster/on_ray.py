"""Workers of a Ray cluster: they come, hang, die and are replaced, and units are repeated.

With `nodes.py` and `joining.py` the only module that imports Ray.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from znas.cluster.bench import Shared
from znas.cluster.joining import join, name
from znas.cluster.news import News, remark, tell
from znas.cluster.nodes import GONE, Node, Nodes, freest, on_node
from znas.cluster.place import Place, U, Units
from znas.cluster.unit import Unit
from znas.cluster.worker import Done, Facts, Worker
from znas_engine import interrupts
from znas_engine.errors import DeviceError, InvalidValueError, ZnasError, in_short

#: Shared objects that are kept in the cluster's memory for units to come.
SHARED = 256
#: How often a unit is begun, at most: where so many workers were lost at it, it is the unit.
ATTEMPTS = 8
#: Seconds: between two looks at the workers, between two questions whether a worker still works, without an
#: advance after which it hangs, and until a worker must be there.
TICK, BEAT, PATIENCE, ARRIVAL = 0.5, 20.0, 300.0, 300.0


class RayWorker(Worker):
    """A worker that answers while it is at a unit."""

    @ray.method(concurrency_group="beat")  # type: ignore[untyped-decorator,unused-ignore]
    def beat(self) -> int:
        return super().beat()


_worker = ray.remote(concurrency_groups={"beat": 1})(RayWorker)


@dataclass(slots=True)
class _Job:
    """One call of `run`; another may begin before it ends. again: units to be done once more. came: those
    that are done, with their values. lost_at: how often each was lost. wrong: what ends all."""

    units: Units[Any]
    again: deque[Any] = field(default_factory=deque)
    came: deque[tuple[Any, Any]] = field(default_factory=deque)
    lost_at: Counter[str] = field(default_factory=Counter)
    wrong: ZnasError | None = None


@dataclass(slots=True)
class _Slot:
    """A worker. hello: what it says of itself, until it did. flying: what it has to do and for which job,
    first the unit that it is at. beat: its answer to whether it works, asked: when it was asked. count: its
    advances; still: seconds since the last in which it was looked at."""

    name: str
    node: Node
    actor: Any
    hello: Any
    flying: dict[Any, tuple[_Job, Any]] = field(default_factory=dict)
    beat: Any = None
    asked: float = 0.0
    count: int = -1
    still: float = 0.0

    @property
    def here(self) -> bool:
        """Whether it came."""
        return self.hello is None


class OnRay(Place):
    """See `znas.cluster.where`. patience: seconds without an advance after which a worker hangs; arrival:
    seconds in which a worker must come. A machine dies in its network too: whatever Ray knows not yet, a
    worker that answers nothing is replaced after that.

    What masked passes see is the driver's: images travel with the environment through Ray's object store, of
    which no object ever changes, and a worker reads none of its own. So other data cannot be there.
    """

    #: Whose workers have the cluster's cores.
    _at_work: ClassVar[OnRay | None] = None

    def __init__(
        self,
        on: str,
        address: str | None,
        *,
        actors: int | None = None,
        threads: int | None = None,
        patience: float = PATIENCE,
        arrival: float = ARRIVAL,
    ) -> None:
        self._on, self._actors = on, actors
        self._patience, self._beat, self._arrival = patience, min(BEAT, patience / 4), arrival
        self._connection = join(on, address)
        self._shared: OrderedDict[int, tuple[Any, Shared]] = OrderedDict()
        self._names, self._keys = itertools.count(), itertools.count()
        self._slots: list[_Slot] = []
        self._looked = self._present = time.monotonic()
        self._said_room = False
        self._nodes = Nodes(on, threads)
        with self._reached():
            self._nodes.look()  # machines are asked while the job is still being prepared here

    @property
    def connected(self) -> bool:
        """Whether this is still a place; not after `ray.shutdown`."""
        return name() == self._connection

    @property
    def lanes(self) -> int:
        return max(1, sum(slot.here for slot in self._slots))

    def share(self, what: Any) -> Shared:
        if id(what) not in self._shared:
            with self._reached():
                held = [self._put(what)]
            self._shared[id(what)] = what, Shared(f"shared {next(self._keys)}", held)
            while len(self._shared) > SHARED:
                self._shared.popitem(last=False)
        self._shared.move_to_end(id(what))
        return self._shared[id(what)][1]

    def _put(self, what: Any) -> Any:
        try:
            return ray.put(what)
        except (RayError, ConnectionError):
            raise
        except Exception as error:  # whatever a class of somebody else's raises when it is pickled
            raise InvalidValueError(
                f"--on {self._on}: a score, space or data set of this job cannot be sent to workers "
                f"({in_short(error.__cause__ or error)}): let it pickle, or leave --on out"
            ) from error

    def run(self, units: Units[U]) -> Iterator[tuple[U, Any]]:
        job = _Job(units)
        first = units.take("the first")  # there may be nothing to do, for which no worker is waited for
        if first is None:
            return
        job.again.append(first)
        self._present = self._looked = time.monotonic()
        try:
            while True:
                interrupts.check()
                while job.came:
                    yield job.came.popleft()
                if job.wrong is not None:
                    raise job.wrong
                with self._reached():
                    self._staff()
                    if not self._hand_out(job) and not self._is_flying(job):
                        return
                    self._hear()
                    self._look_after()
        finally:
            self._forget(job)

    # ---- workers

    def _staff(self) -> None:
        """As many workers as were asked for, or as there is room for."""
        if OnRay._at_work is not self:
            if OnRay._at_work is not None and OnRay._at_work.connected:
                OnRay._at_work.rest()
            OnRay._at_work = self
        self._nodes.look()
        room = sum(node.seats for node in self._nodes.usable)
        if (self._actors or 0) > room and not self._nodes.waiting() and not self._said_room:
            self._said_room = True
            remark(f"{self._actors} workers were asked for, and the cluster has room for {room}")
        while len(self._slots) < (self._actors or room):
            node = freest(self._nodes.usable, Counter(slot.node.id for slot in self._slots))
            if node is None:
                break
            self._slots.append(self._hired(node))

    def _hired(self, node: Node) -> _Slot:
        # Where it is, is decided here: so it is known what failed where, and a refused machine gets no other.
        made = _worker.options(
            num_cpus=node.threads,
            num_gpus=int(node.gpus > 0),
            scheduling_strategy=on_node(node.id),
            max_restarts=0,
        )
        actor = made.remote(node.threads, _fetched)
        return _Slot(f"worker {next(self._names)}", node, actor, actor.facts.remote())

    def rest(self) -> None:
        """Lets all workers go; the next `run` has new ones."""
        for slot in list(self._slots):
            self._let_go(slot)

    def _let_go(self, slot: _Slot) -> list[tuple[_Job, Any]]:
        """The units that it had, which are to be done again."""
        with suppress(RayError, OSError, RuntimeError, ValueError):
            ray.kill(slot.actor)
        self._slots.remove(slot)
        lost, slot.flying = list(slot.flying.values()), {}
        for job, unit in reversed(lost):
            job.again.appendleft(unit)
        return lost

    # ---- units

    def _hand_out(self, job: _Job) -> bool:
        """Fills all workers, each with its first unit before one has a second; False where there are no more
        units."""
        for depth in range(job.units.ahead):
            for slot in self._slots:
                if not slot.here or len(slot.flying) > depth:
                    continue
                unit = job.again.popleft() if job.again else job.units.take(slot.name)
                if unit is None:
                    return False
                if not slot.flying:
                    slot.still = 0.0
                slot.flying[slot.actor.run.remote(unit)] = job, unit
        return True

    def _is_flying(self, job: _Job) -> bool:
        return any(its is job for slot in self._slots for its, _ in slot.flying.values())

    def _hear(self) -> None:
        """Waits for what arrives next, and takes all that is there."""
        flying = {ref: slot for slot in self._slots for ref in slot.flying}
        hellos = {slot.hello: slot for slot in self._slots if not slot.here}
        beats = {slot.beat: slot for slot in self._slots if slot.beat is not None}
        nodes = self._nodes.waiting()
        asked = [*flying, *hellos, *beats, *nodes]
        if not asked:
            time.sleep(TICK)
            return
        ready, _ = ray.wait(asked, num_returns=1, timeout=TICK)
        if ready:
            ready, _ = ray.wait(asked, num_returns=len(asked), timeout=0)
        for ref in ready:
            if ref in nodes:
                self._nodes.greet(nodes[ref])
            elif ref in hellos:
                self._greet(hellos[ref])
            elif ref in beats:
                self._felt(beats[ref])
            elif ref in flying[ref].flying:  # else lost with its worker, just now
                self._take_in(flying[ref], ref)

    def _take_in(self, slot: _Slot, ref: Any) -> None:
        """The value that came, or that the worker was lost at it."""
        try:
            done: Done = ray.get(ref)
        except RayTaskError as error:  # no error of ours: of the machine, perhaps
            job, unit = slot.flying.pop(ref)
            job.again.append(unit)
            tell(News(kind="repeated", host=slot.node.host, worker=slot.name, units=1))
            why = in_short(error.cause or error)
            self._repeat(job, unit, f"{slot.name} on {slot.node.host} failed: {why}")
            return
        except RayError as error:
            self._replace(slot, f"was lost ({in_short(error)})")
            return
        job, unit = slot.flying.pop(ref)
        slot.still = 0.0
        if done.error is not None:
            job.wrong = job.wrong or done.error
            return
        job.units.timed(slot.name, unit.masks, done.seconds)
        tell(News(kind="unit", host=slot.node.host, worker=slot.name, masks=unit.masks, seconds=done.seconds))
        job.came.append((unit, done.value))

    def _forget(self, job: _Job) -> None:
        """What it still had before it is not waited for: a worker is at one unit of it, at most."""
        for slot in self._slots:
            for ref in [ref for ref, (its, _) in slot.flying.items() if its is job]:
                del slot.flying[ref]
                with suppress(RayError, OSError, RuntimeError, ValueError):  # the cluster may be what is lost
                    ray.cancel(ref)

    # ---- faults

    def _greet(self, slot: _Slot) -> None:
        """A worker that came, unless it is not the same any more or died on its way."""
        try:
            found: Facts = ray.get(slot.hello)
        except GONE:
            self._let_go(slot)
            self._nodes.forget(slot.node)
            return
        except RayError as error:
            if isinstance(error, RayActorError) and not error.actor_init_failed:
                slot.node.late += 1
                self._replace(slot, f"was lost on its way ({in_short(error)})")
            else:
                self._let_go(slot)
                self._nodes.refuse(slot.node, in_short(error))
            return
        slot.hello, slot.still = None, 0.0
        if self._nodes.accepts(slot.node, found):
            tell(News(kind="worker", host=slot.node.host, worker=slot.name))
        else:
            self._let_go(slot)

    def _replace(self, slot: _Slot, why: str) -> None:
        """Another worker takes its place, there or elsewhere; what it had to do is done by others."""
        lost = self._let_go(slot)
        tell(News(kind="lost", host=slot.node.host, worker=slot.name, units=len(lost)))
        said = f"{slot.name} on {slot.node.host} {why}"
        if lost:
            self._repeat(*lost[0], said)
        else:
            remark(f"{said}; another takes its place")

    def _repeat(self, job: _Job, unit: Unit, why: str) -> None:
        """Says that the unit is done again; ends the job where that has been too often."""
        job.lost_at[unit.key] += 1
        if job.lost_at[unit.key] < ATTEMPTS:
            remark(f"{why}; {unit.key} is done again")
        else:
            job.wrong = job.wrong or DeviceError(f"{unit.key} failed {ATTEMPTS} times, last: {why}")

    def _felt(self, slot: _Slot) -> None:
        """The answer to whether it works."""
        with suppress(RayError):  # its units will say that it is lost
            count = ray.get(slot.beat)
            if count != slot.count:
                slot.count, slot.still = count, 0.0
        slot.beat = None

    def _look_after(self) -> None:
        """Asks workers whether they work; one that does not move any more, or does not come, is replaced."""
        now = time.monotonic()
        # A caller that took long with a value, or a machine that slept, is no worker's fault.
        passed = min(now - self._looked, 2 * TICK)
        if passed < TICK / 2:
            return
        self._looked = now
        for slot in list(self._slots):
            if slot.node.id not in self._nodes.known:
                self._replace(slot, "has no machine any more")
                continue
            if slot.here and not slot.flying:
                continue
            slot.still += passed
            asked = min(slot.still, now - slot.asked)  # who delivers need not be asked
            if slot.here and slot.beat is None and asked > self._beat:
                slot.asked, slot.beat = now, slot.actor.beat.remote()
            if slot.here and slot.still > self._patience:
                self._replace(slot, f"has not moved for {self._patience:.0f} s")
            elif not slot.here and slot.still > self._arrival:
                slot.node.late += 1
                self._replace(slot, f"did not come within {self._arrival:.0f} s")
        if any(slot.here for slot in self._slots):
            self._present = now
        elif now - self._present > self._arrival:
            raise DeviceError(
                f"--on {self._on}: no worker came within {self._arrival:.0f} s: `ray status` shows what the "
                "cluster has, and what others use of it"
            )

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """What Ray raises here, and not for a worker, in our words."""
        try:
            yield
        except (RayError, ConnectionError) as error:
            raise DeviceError(
                f"--on {self._on}: the cluster is lost ({in_short(error)}): once it is back the same command "
                "goes on from what is kept"
            ) from error


def _fetched(held: Any) -> Any:
    """On a worker: what was shared, from the memory of its node."""
    return ray.get(held[0])
