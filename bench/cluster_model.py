"""A discrete-event simulation of `--on ray`: what the driver hands out, workers do, and faults repeat.

Units are cut by the real `Cutter`. The driver is one server: it takes in all results that are there, which
costs it so much per look, per worker and per unit, and hands out as many units. A worker has two of them
before it, keeps a few prepared environments, and fetches one once per node over the driver's link. Nothing
here knows Ray or measures anything: times come from bench/cluster_costs.py and `znas-engine bench`.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from znas.cluster import cutting
from znas.cluster.bench import Shared
from znas.cluster.cutting import Cutter, Work
from znas.cluster.unit import Measurement
from znas_engine.evaluator import ALL, Scores

#: As in `znas.cluster.on_ray`, which cannot be imported without Ray; a test compares them.
BEAT, PATIENCE = 20.0, 300.0
#: Of a longer job so many units per worker are simulated, or until so many nodes were lost, and so many units
#: at least.
LONG, FAULTS, LEAST = 40, 10, 4000
#: Between these shares of the passes is the steady part.
STEADY = (0.25, 0.75)


@dataclass(frozen=True, slots=True)
class Job:
    """masks in every one of so many environments. group: masks that a caller asks for at once.

    pass_seconds: of a masked pass on one thread. prepare_seconds: of an environment, on any number. kept:
    environments that a worker keeps prepared. unit_seconds: `cutting.USUAL`. *_bytes: of what travels.
    """

    masks: int
    environments: int
    group: int
    pass_seconds: float
    prepare_seconds: float
    kept: int
    unit_seconds: float = cutting.USUAL
    mask_bytes: float = 0.0
    value_bytes: float = 0.0
    environment_bytes: float = 0.0

    @property
    def passes(self) -> int:
        return self.masks * self.environments


@dataclass(frozen=True, slots=True)
class Fleet:
    """workers of so many threads each, so many per node. slow: share of nodes that take `slowness` times.

    worker_life, node_life: mean seconds until one is lost; hangs: share of lost workers that hang instead.
    start_seconds: until a new worker is there; a node that is lost comes back after node_seconds. hires:
    workers that can be started per second.
    """

    workers: int
    threads: int = 1
    per_node: int = 16
    slow: float = 0.0
    slowness: float = 2.0
    worker_life: float = float("inf")
    node_life: float = float("inf")
    hangs: float = 0.0
    start_seconds: float = 0.0
    node_seconds: float = 0.0
    hires: float = float("inf")


@dataclass(frozen=True, slots=True)
class Driver:
    """Seconds of the driver: per unit, per look, per look and worker, per question whether a worker works.

    all_at_once: whether a look takes in everything that is there. link: bytes per second of its node.
    """

    unit: float = 0.0
    look: float = 0.0
    worker: float = 0.0
    beat: float = 0.0
    all_at_once: bool = True
    link: float = float("inf")


@dataclass(slots=True)
class Outcome:
    """Of a job: seconds from its first moment to its last value, and of what worker-seconds were spent.

    simulated: share of the passes that were simulated; the steady part stands for the rest.
    """

    seconds: float = 0.0
    units: float = 0.0
    ideal: float = 0.0
    preparing: float = 0.0
    lost: float = 0.0
    repeated: float = 0.0
    driver_busy: float = 0.0
    messages: float = 0.0
    moved: dict[str, float] = field(default_factory=dict)
    simulated: float = 1.0

    def efficiency(self, workers: int) -> float:
        """Share of the workers' seconds that went into passes which counted."""
        return self.ideal / (self.seconds * workers)


def simulate(job: Job, fleet: Fleet, driver: Driver, *, whole: bool = False, seed: int = 0) -> Outcome:
    """What becomes of a job. whole: simulates all of its units, however many they are."""
    nodes = -(-fleet.workers // fleet.per_node)
    faults = FAULTS * fleet.node_life / nodes if fleet.node_life < float("inf") else 0.0
    shown = max(LONG * job.unit_seconds, faults, 2 * fleet.node_seconds)
    units = max(shown / job.unit_seconds * fleet.workers, LEAST)
    per_unit = job.unit_seconds * fleet.threads / job.pass_seconds
    groups = max(2, round(units * per_unit / (job.group * job.environments)))
    part = job if whole else replace(job, masks=min(job.masks, groups * job.group))
    run = _Run(part, fleet, driver, seed)
    with _units_of(job.unit_seconds):
        found = run.outcome()
    return found if part.masks == job.masks else _longer(found, job, part, run)


@contextmanager
def _units_of(seconds: float) -> Iterator[None]:
    before, cutting.USUAL = cutting.USUAL, seconds
    try:
        yield
    finally:
        cutting.USUAL = before


def _longer(found: Outcome, job: Job, shown: Job, run: _Run) -> Outcome:
    """The outcome of all of a job: what was not simulated goes as the steady part went."""
    (first, done), (last, later) = run.marks
    rest = job.passes - shown.passes
    times = job.passes / shown.passes
    return replace(
        found,
        seconds=found.seconds + rest * (last - first) / (later - done),
        **{
            name: getattr(found, name) * times for name in ("units", "ideal", "preparing", "lost", "repeated")
        },
        moved={name: value * (1 if name == "environments" else times) for name, value in found.moved.items()},
        simulated=shown.passes / job.passes,
    )


@dataclass(slots=True)
class _Worker:
    """place: of its node. life: tells it from those that stood there before it."""

    place: int
    slowness: float
    life: int = 0
    there: bool = False
    at: Measurement | None = None
    since: float = 0.0
    ahead: deque[Measurement] = field(default_factory=deque)
    prepared: OrderedDict[str, None] = field(default_factory=OrderedDict)

    @property
    def room(self) -> bool:
        return self.there and (self.at is not None) + len(self.ahead) < Cutter.ahead


class _Run:
    """One simulation. Events are (when, number, kind, worker, its life)."""

    def __init__(self, job: Job, fleet: Fleet, driver: Driver, seed: int) -> None:
        self.job, self.fleet, self.driver = job, fleet, driver
        self._rng = np.random.default_rng(seed)
        self._numbers = itertools.count()
        self._events: list[tuple[float, int, str, int, int]] = []
        nodes = -(-fleet.workers // fleet.per_node)
        slow = self._rng.random(nodes) < fleet.slow
        self._workers = [
            _Worker(k // fleet.per_node, fleet.slowness if slow[k // fleet.per_node] else 1.0)
            for k in range(fleet.workers)
        ]
        self._fetched: list[set[str]] = [set() for _ in range(nodes)]
        self._link_free = 0.0
        self._arrived: deque[tuple[int, int, Measurement | None, float]] = deque()
        self._taken: list[tuple[int, int, Measurement | None, float]] = []
        self._again: deque[Measurement] = deque()
        self._lost: dict[int, list[Measurement]] = {}
        self._hungry: OrderedDict[int, None] = OrderedDict()
        self._looking, self._there, self._done = False, 0, 0
        self._busy: list[tuple[float, float]] = []
        self._now = 0.0
        self.marks: list[tuple[float, int]] = []
        self._found = Outcome(ideal=job.passes * job.pass_seconds / fleet.threads)
        self._moved = {"masks": 0.0, "values": 0.0, "environments": 0.0}
        self._cutter = self._cut()

    def _cut(self) -> Cutter:
        job, scores = self.job, Shared("scores", None)
        environments = [Shared(f"{k}", None) for k in range(job.environments)]
        masks = np.zeros((job.group, 1, 1), np.float32)
        work = Work(masks, range(job.environments), scores, ALL, environments.__getitem__)  # type: ignore[arg-type]
        works = itertools.repeat(work, job.masks // job.group)
        rest = job.masks % job.group
        if rest:
            works = itertools.chain(works, [replace(work, masks=masks[:rest])])  # type: ignore[assignment]
        order = np.arange(job.group)
        return Cutter(works, scores, lambda masks: order[: len(masks)], lambda: max(1, self._there))

    # ---- events

    def outcome(self) -> Outcome:
        fleet = self.fleet
        for k in range(fleet.workers):
            self._push(fleet.start_seconds + k / fleet.hires, "there", k)
        self._next_fault("worker lost", fleet.worker_life, fleet.workers)
        self._next_fault("node lost", fleet.node_life, len(self._fetched))
        while self._done < self.job.passes:
            self._now, _, kind, worker, life = heapq.heappop(self._events)
            if kind == "done":
                self._finish(worker, life)
            elif kind == "looked":
                self._take_in()
            elif kind == "there":
                self._greet(worker, life)
            elif kind == "noticed":
                self._again.extend(self._lost.pop(worker))
                self._hand_out()
            else:
                self._fault(kind)
        return self._summed()

    def _push(self, when: float, kind: str, worker: int = 0, life: int = 0) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), kind, worker, life))

    def _greet(self, number: int, life: int) -> None:
        worker = self._workers[number]
        if worker.life == life:
            worker.there = True
            self._there += 1
            self._arrive(number, life, None, 0.0)

    def _finish(self, number: int, life: int) -> None:
        worker = self._workers[number]
        if worker.life != life:
            return
        unit, worker.at = worker.at, None
        self._arrive(number, life, unit, self._now - worker.since)
        self._begin(number)

    def _begin(self, number: int) -> None:
        """The worker's next unit, if it has one and is free."""
        worker = self._workers[number]
        if worker.at is None and worker.ahead:
            worker.at, worker.since = worker.ahead.popleft(), self._now
            self._push(self._now + self._takes(worker), "done", number, worker.life)

    def _takes(self, worker: _Worker) -> float:
        """Seconds of the unit at which a worker is: fetching, preparing, passes."""
        job, prepared = self.job, worker.prepared
        assert worker.at is not None
        waits = preparing = 0.0
        for cell in worker.at.cells:
            key = cell.environment.key
            if key not in prepared:
                waits = max(waits, self._fetch(worker.place, key))
                preparing += job.prepare_seconds * worker.slowness
                prepared[key] = None
                if len(prepared) > job.kept:
                    prepared.popitem(last=False)
            prepared.move_to_end(key)
        self._found.preparing += preparing
        return waits + preparing + worker.at.masks * job.pass_seconds * worker.slowness / self.fleet.threads

    def _fetch(self, place: int, key: str) -> float:
        """Seconds until an environment is on a node: the driver's link serves one node after another."""
        if key in self._fetched[place]:
            return 0.0
        self._fetched[place].add(key)
        self._moved["environments"] += self.job.environment_bytes
        self._link_free = max(self._link_free, self._now) + self.job.environment_bytes / self.driver.link
        return self._link_free - self._now

    # ---- the driver

    def _arrive(self, number: int, life: int, unit: Measurement | None, seconds: float) -> None:
        self._arrived.append((number, life, unit, seconds))
        if not self._looking:
            self._look()

    def _look(self) -> None:
        """The driver begins to take in what is there; it is done, and units are handed out, later."""
        driver, count = self.driver, len(self._arrived) if self.driver.all_at_once else 1
        self._taken = [self._arrived.popleft() for _ in range(count)]
        beats = sum(int(seconds / BEAT) for *_, seconds in self._taken)
        spent = driver.look + driver.worker * len(self._workers) + driver.unit * count + driver.beat * beats
        self._found.messages += 2 * (count + beats)
        self._looking = True
        self._busy.append((self._now, spent))
        self._push(self._now + spent, "looked")

    def _take_in(self) -> None:
        for number, life, unit, seconds in self._taken:
            worker = self._workers[number]
            if unit is not None:  # it came, whatever has become of its worker
                self._value(number, life, unit, seconds)
            if worker.life == life and worker.room:
                self._hungry[number] = None
        self._hand_out()
        self._looking = False
        if self._arrived:
            self._look()

    def _value(self, number: int, life: int, unit: Measurement, seconds: float) -> None:
        masks = unit.masks
        self._cutter.timed((number, life), masks, seconds)
        for _ in self._cutter.put(unit, [Scores(np.zeros((1, 1)), 1, 1, 0.0, 0.0) for _ in unit.cells]):
            pass
        self._done += masks
        self._found.units += 1
        self._moved["values"] += masks * self.job.value_bytes
        if len(self.marks) < len(STEADY) and self._done >= STEADY[len(self.marks)] * self.job.passes:
            self.marks.append((self._now, self._done))

    def _hand_out(self) -> None:
        """Every worker with room its first unit before one has a second."""
        for _ in range(Cutter.ahead):
            for number in list(self._hungry):
                worker = self._workers[number]
                unit = self._next((number, worker.life)) if worker.room else None
                if unit is not None:
                    self._moved["masks"] += unit.masks * self.job.mask_bytes
                    worker.ahead.append(unit)
                    self._begin(number)
                elif worker.room:
                    return
                if not worker.room:
                    del self._hungry[number]

    def _next(self, name: tuple[int, int]) -> Measurement | None:
        return self._again.popleft() if self._again else self._cutter.take(name)

    # ---- faults

    def _next_fault(self, kind: str, life: float, count: int) -> None:
        if life < float("inf"):
            self._push(self._now + self._rng.exponential(life / count), kind)

    def _fault(self, kind: str) -> None:
        fleet = self.fleet
        if kind == "worker lost":
            number = int(self._rng.integers(len(self._workers)))
            hung = PATIENCE if self._rng.random() < fleet.hangs else 0.0
            self._lose(number, hung, hung + fleet.start_seconds)
            self._next_fault(kind, fleet.worker_life, len(self._workers))
            return
        place = int(self._rng.integers(len(self._fetched)))
        self._fetched[place].clear()
        for number in range(place * fleet.per_node, min((place + 1) * fleet.per_node, fleet.workers)):
            self._lose(number, 0.0, fleet.node_seconds + fleet.start_seconds)
        self._next_fault(kind, fleet.node_life, len(self._fetched))

    def _lose(self, number: int, noticed: float, back: float) -> None:
        """A worker is lost: its units come back once that is noticed, and another takes its place."""
        worker = self._workers[number]
        units = [*([worker.at] if worker.at else []), *worker.ahead]
        if worker.at:
            self._found.lost += self._now - worker.since
        self._found.repeated += len(units)
        self._there -= worker.there
        self._workers[number] = _Worker(worker.place, worker.slowness, worker.life + 1)
        self._hungry.pop(number, None)
        self._push(self._now + back, "there", number, worker.life + 1)
        if units:
            self._lost[next(self._numbers)] = units
            self._push(self._now + noticed, "noticed", max(self._lost))

    def _summed(self) -> Outcome:
        """What was found; the driver's load and messages are those of the steady part."""
        found, marks = self._found, self.marks
        (first, _), (last, _) = marks
        length = max(last - first, 1e-9)
        found.seconds = self._now
        busy = sum(spent for when, spent in self._busy if first <= when < last)
        found.driver_busy = min(1.0, busy / length)
        found.messages /= max(self._now, 1e-9)
        found.moved = self._moved
        return found
