"""What becomes of a job on a real Ray cluster of three machines when its parts fail: nothing, but for time.

Values are those of one process, to the bit.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import znas
import znas_engine
from tests.cluster import ENVIRONMENT, Cluster
from tests.command import Done, apart, refused
from znas.cluster import cutting
from znas.cluster.account import job
from znas.cluster.place import Listed
from znas.cluster.unit import Call
from znas.hooks import Hooks
from znas.request import Request
from znas.scoring import asked
from znas.setup import Setup
from znas_engine.errors import DeviceError, InvalidValueError
from znas_engine.spaces import Mask

ray = pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")

from znas.cluster import nodes, on_ray  # noqa: E402 - they import Ray
from znas.cluster.on_ray import OnRay  # noqa: E402

#: Seconds without an advance after which a worker hangs: one that computes advances many times in one.
PATIENCE = 8.0
#: Distinct architectures of a job, and of a group of it.
DISTINCT, GROUP = 64, 8


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    ray.shutdown()  # what another module left in this process
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        found = Cluster(others=2)
        yield found
        ray.shutdown()
        found.close()


@pytest.fixture(scope="module")
def place(cluster: Cluster) -> OnRay:
    return OnRay(f"ray:{cluster.address}", cluster.address, threads=1, patience=PATIENCE)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of a fraction of a second, so that faults meet many."""
    monkeypatch.setattr(cutting, "USUAL", 0.2)
    monkeypatch.setattr(cutting, "LEAST", 0.02)
    monkeypatch.setattr(nodes, "LOOK", 0.5)


def setup(on: Any, said: list[str] | None = None) -> Setup:
    request = Request(
        space="nasbench201",
        data="gaussian",
        score="naswot",
        envs=2,
        images=16,
        supernet_channels=4,
        supernet_cells=1,
        on=on,
    )
    return Setup(request, Hooks(report=(lambda line: None) if said is None else said.append))


@pytest.fixture(scope="module")
def groups() -> list[Mask]:
    space = setup("local").space
    drawn = asked.drawn(space, DISTINCT, np.random.default_rng(0), lambda _: None)
    masks = np.stack([space.mask(genotype) for genotype in drawn])
    return np.split(masks, DISTINCT // GROUP)


@pytest.fixture(scope="module")
def expected(groups: list[Mask]) -> list[NDArray[np.float64]]:
    """Of every group, in this process."""
    here = setup("local")
    return [here.measure(group) for group in groups]


class Run:
    """A job that lasts until it is told to end: the same groups again and again. said: remarks."""

    def __init__(self, place: OnRay, groups: list[Mask], expected: list[NDArray[np.float64]]) -> None:
        self.said: list[str] = []
        self.asked = self.came = 0
        self.over = False
        self._groups, self._expected = groups, expected
        self._setup = setup(place, self.said)

    def endless(self) -> Iterator[Mask]:
        while not self.over:
            yield self._groups[self.asked % len(self._groups)]
            self.asked += 1

    def values(self) -> Iterator[int]:
        """How many groups are there now. Asserts that each comes once and is what it is here."""
        seen = set()
        with job(self.said.append):
            for number, values in self._setup.measure_each(self.endless()):
                assert number not in seen
                seen.add(number)
                np.testing.assert_array_equal(values, self._expected[number % len(self._groups)])
                self.came = len(seen)
                yield self.came
        assert seen == set(range(self.asked))

    def until(self, end: Callable[[], bool], seconds: float = 60.0) -> str:
        """Works until that is so, then to its end; what was said."""
        patience = time.monotonic() + seconds
        for _ in self.values():
            self.over = self.over or end() or time.monotonic() > patience
        assert end(), self.said
        return "\n".join(self.said)


def kill_one(workers: list[int], chance: random.Random, number: int = signal.SIGKILL) -> int:
    """Of what is there one gets a signal; its process, 0 where there is none."""
    for pid in chance.sample(sorted(workers), len(workers)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            return pid
    return 0


def test_a_worker_that_is_killed_is_replaced(
    cluster: Cluster, place: OnRay, groups: list[Mask], expected: list[NDArray[np.float64]]
) -> None:
    run = Run(place, groups, expected)
    killed = 0

    def end() -> bool:
        nonlocal killed
        if not killed and run.came > 4:
            killed = kill_one(cluster.workers(".run"), random.Random(0))
        return "was lost" in " ".join(run.said) and place.lanes == 3

    said = run.until(end)
    assert re.search(r"worker \d+ on \S+ was lost \(ActorDiedError.*; (unit \d+ is done again|another)", said)
    assert "1 lost" in said


def test_a_worker_that_hangs_is_replaced(
    cluster: Cluster, place: OnRay, groups: list[Mask], expected: list[NDArray[np.float64]]
) -> None:
    run = Run(place, groups, expected)
    stopped = 0

    def end() -> bool:
        nonlocal stopped
        if not stopped and run.came > 4:
            stopped = kill_one(cluster.workers(".run"), random.Random(1), signal.SIGSTOP)
        return "has not moved for" in " ".join(run.said) and place.lanes == 3

    try:
        assert re.search(r"has not moved for 8 s; (unit \d+ is done again|another)", run.until(end))
    finally:
        with suppress(ProcessLookupError):
            os.kill(stopped, signal.SIGKILL)
    assert stopped not in cluster.workers()


def test_machines_die_and_come(
    cluster: Cluster, place: OnRay, groups: list[Mask], expected: list[NDArray[np.float64]]
) -> None:
    run = Run(place, groups, expected)
    state = "whole"

    def end() -> bool:
        nonlocal state
        if state == "whole" and run.came > 4 and cluster.machines[1].workers(".run"):
            cluster.kill(cluster.machines[1])
            state = "one less"
        elif state == "one less" and place.lanes == 2:
            cluster.begin()
            state = "begun"
        return state == "begun" and place.lanes == 3

    assert "was lost" in run.until(end)
    cluster.machines[-1].wait()
