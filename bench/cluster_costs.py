"""What Ray and the driver of `--on ray` cost on this machine, a unit, a reference and a byte at a time.

Read by bench/cluster_simulation.py, whose `--measure` calls it. Needs the extra `cluster`.
"""

from __future__ import annotations

import itertools
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ray

from znas.bench.machine import load_average, machine, versions
from znas.bench.plan import masks_at
from znas.cluster.bench import Shared
from znas.cluster.cutting import Cutter, Work
from znas.cluster.on_ray import OnRay, _Job, _Slot
from znas.cluster.place import Listed, Place, U, Units
from znas.cluster.spread import Asked, Spread
from znas.cluster.unit import Call
from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.environment import draw_environments
from znas_engine.evaluator import ALL, Scores
from znas_engine.scores import get_scores
from znas_engine.spaces import get_space

#: Workers of which the driver's bookkeeping is timed, references that are waited for, units that do nothing.
WORKERS, REFERENCES, UNITS = (500, 5000), (200, 2000, 20000), 2000
#: Bytes that are put, and how often something short is done.
BYTES, OFTEN = (10**4, 10**6, 10**7), 20
#: The run that the simulation is compared with: masks of a group, groups, environments, images.
GROUP, GROUPS, ENVIRONMENTS, IMAGES = 64, 4, 4, 16


def measured(space: str) -> dict[str, Any]:
    """Plain: seconds of everything, and the runs of one and of two workers that a simulation must give."""
    found: dict[str, Any] = {
        "machine": machine(),
        "versions": versions() | {"ray": ray.__version__},
        "commit": kernels.commit(),
        "space": space,
    }
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # or whatever else runs here comes first
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    started = time.perf_counter()
    one = OnRay("ray", None, actors=1, threads=1)
    _call(one, 1)
    found["start_seconds"] = time.perf_counter() - started
    say(f"a worker is there after {found['start_seconds']:.1f} s")
    place = OnRay("ray", None, actors=2, threads=1)
    _call(place, 2)
    found["unit_seconds"] = _of_unit(place)
    found["cutting_seconds"] = _of_cutting()
    say(f"a unit {1e6 * found['unit_seconds']:.0f} us, its cutting {1e6 * found['cutting_seconds']:.0f} us")
    found["beat_seconds"] = _of_beat(place)
    found["worker_seconds"] = _slope({count: _of_slots(place, count) for count in WORKERS})
    found["put_seconds"] = {str(size): _of_put(size) for size in BYTES}
    found["reference_seconds"] = _slope({count: _of_wait(place, count) for count in REFERENCES})
    say("runs of one and of two workers")
    found["runs"] = [_run(space, each) for each in (one, place)]
    return found | {"load": load_average()}


def _of_unit(place: OnRay) -> float:
    """Seconds of the driver's process that a unit takes, from handing out to taking in."""
    before = time.process_time()
    _call(place, UNITS)
    return (time.process_time() - before) / UNITS


def _call(place: OnRay, count: int) -> None:
    """So many units that do nothing. A function without a name of its own travels with them."""
    for _ in place.run(
        Listed([Call(f"nothing {k}", lambda threads, progress: None, ()) for k in range(count)])
    ):
        pass


def _of_cutting() -> float:
    """Seconds that the driver takes to cut a unit and to put its values together."""
    rng = np.random.default_rng(0)
    shared = Shared("shared", None)
    masks = rng.random((GROUP, 6, 5), dtype=np.float32)
    work = Work(masks, range(100), shared, ALL, lambda environment: shared)  # type: ignore[arg-type]
    cutter = Cutter(itertools.repeat(work), shared, lambda masks: np.arange(len(masks)), lambda: 1000)
    cutter.timed(0, 16 * UNITS, 5.0 * UNITS)
    started = time.perf_counter()
    for _ in range(UNITS):
        unit = cutter.take(0)
        assert unit is not None
        found = [Scores(np.zeros((1, len(cell.masks))), len(cell.masks), 1, 0.0, 0.0) for cell in unit.cells]
        for _ in cutter.put(unit, found):
            pass
    return (time.perf_counter() - started) / UNITS


def _of_beat(place: OnRay) -> float:
    """Seconds of the driver's process that it takes to ask a worker whether it still works."""
    slot = place._slots[0]
    before = time.process_time()
    for _ in range(100 * OFTEN):
        asked = slot.actor.beat.options(concurrency_group="beat").remote()
        ray.wait([asked])
        ray.get(asked)
    return (time.process_time() - before) / (100 * OFTEN)


def _of_slots(place: OnRay, count: int) -> float:
    """Seconds that the driver's own loop takes where so many workers have their units, without what Ray
    takes to say that nothing is there."""
    shared = Shared("shared", None)
    job = _Job(Cutter([], shared, lambda masks: np.arange(len(masks)), lambda: count))
    real, wait = place._slots, ray.wait
    node = next(iter(place._nodes.known.values()))
    place._slots = [
        _Slot(f"worker {k}", node, None, None, {(k, 0): (job, None), (k, 1): (job, None)})
        for k in range(count)
    ]

    def loop() -> None:
        place._hand_out(job)
        place._is_flying(job)
        place._hear()

    ray.wait = lambda asked, **options: ([], asked)
    try:
        return _median(loop)
    finally:
        place._slots, ray.wait = real, wait


def _of_wait(place: OnRay, count: int) -> float:
    """Seconds of one look at so many references of which none is there."""
    blocked = place._slots[0].actor
    first = blocked.run.remote(Call("sleeps", lambda threads, progress: time.sleep(20), ()))
    refs = [blocked.beat.remote() for _ in range(count)]
    found = _median(lambda: ray.wait(refs, num_returns=1, timeout=0))
    ray.get([first, *refs])
    return found


def _of_put(size: int) -> float:
    what = np.zeros(size, np.uint8)
    return _median(lambda: ray.put(what))


def _median(call: Callable[[], Any]) -> float:
    """Seconds of a call: the median of `OFTEN`."""
    found = []
    for _ in range(OFTEN):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def _slope(points: dict[int, float]) -> float:
    """Seconds by which one more of them adds, from the least of them to the most."""
    least, most = min(points), max(points)
    return (points[most] - points[least]) / (most - least)


class _Heard(Place):
    """A place that also keeps what its units gave."""

    def __init__(self, place: OnRay) -> None:
        self._place = place
        self.scores: list[Scores] = []

    @property
    def lanes(self) -> int:
        return self._place.lanes

    def share(self, what: Any) -> Shared:
        return self._place.share(what)

    def run(self, units: Units[U]) -> Iterator[tuple[U, Any]]:
        for unit, values in self._place.run(units):
            self.scores += values
            yield unit, values


def _run(space: str, place: OnRay) -> dict[str, Any]:
    """A job on all workers of a place: its seconds, and those of passes and of preparing, as the workers
    took them."""
    made, data = get_space(space), load("gaussian", resolution=32)
    macro = made.macro_for(data, channels=None, cells=None)
    environments = draw_environments(data, count=ENVIRONMENTS, images=IMAGES, init="gaussian", seed=1)
    heard = _Heard(place)
    evaluator = Spread(get_backend("native")(made, macro, threads=1), heard)
    masks = masks_at(made, "one-hot", 0, GROUP * GROUPS)
    groups = (masks[k : k + GROUP] for k in range(0, len(masks), GROUP))
    asked = (Asked(group, get_scores("naswot"), environments, ALL) for group in groups)
    started = time.perf_counter()
    passes = sum(found.evaluations for _, found in evaluator.each(asked))
    seconds = time.perf_counter() - started
    preparing = [found.setup_seconds for found in heard.scores]
    return {
        "workers": place.lanes,
        "masks": len(masks),
        "group": GROUP,
        "environments": ENVIRONMENTS,
        "images": IMAGES,
        "seconds": seconds,
        "pass_seconds": sum(found.evaluate_seconds for found in heard.scores) / passes,
        "prepare_seconds": sum(preparing) / (ENVIRONMENTS * place.lanes),
    }


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
