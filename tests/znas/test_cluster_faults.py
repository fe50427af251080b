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
PATIENCE = 5.0
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

    def until(self, end: Callable[[], bool], seconds: float = 120.0) -> str:
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
    assert re.search(r"\d lost", said)


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
        assert re.search(r"has not moved for 5 s; (unit \d+ is done again|another)", run.until(end))
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
        return state == "begun" and cluster.whole() and place.lanes == 3

    assert "was lost" in run.until(end)


def test_fifty_workers_killed_during_one_job(
    cluster: Cluster,
    place: OnRay,
    groups: list[Mask],
    expected: list[NDArray[np.float64]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At random; where none is there to be killed, as soon as one is. By chance one unit may be hit often."""
    monkeypatch.setattr(on_ray, "ATTEMPTS", 50)
    run = Run(place, groups, expected)
    chance, killed, stop = random.Random(50), set[int](), threading.Event()

    def kill() -> None:
        while len(killed) < 50 and not stop.wait(chance.uniform(0, 0.3)):
            killed.add(kill_one(cluster.workers(chance.choice(("", ".run"))), chance))
            killed.discard(0)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        said = run.until(lambda: len(killed) == 50, seconds=150)
    finally:
        stop.set()
        killer.join()
    assert said.count("another takes its place") + said.count("is done again") >= 50


def copied(folder: Path, version: str) -> str:
    """What PYTHONPATH must be for another version of everything of ours."""
    for package in (znas, znas_engine):
        found = Path(str(package.__file__)).parent
        shutil.copytree(found, folder / found.name, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "znas_engine" / "__init__.py"
    text = path.read_text(encoding="utf-8")
    assert znas_engine.__version__ in text
    path.write_text(text.replace(znas_engine.__version__, version), encoding="utf-8")
    return str(folder)


SCORE = (
    *("score", "--data", "gaussian", "--envs", "2", "--images", "16", "--supernet-cells", "1"),
    *("--supernet-channels", "4", "--score", "naswot", "--references", "0", "--quiet", "--random", "512"),
)


def score(on: str, out: Path, **environment: str) -> Done:
    return apart(*SCORE, "--on", on, "--out", out, **ENVIRONMENT | environment)


def test_another_version_is_refused_and_the_job_goes_on(
    cluster: Cluster,
    place: OnRay,
    groups: list[Mask],
    expected: list[NDArray[np.float64]],
    tmp_path: Path,
) -> None:
    ours, theirs = znas_engine.__version__, "99.0.1"
    cluster.begin(PYTHONPATH=copied(tmp_path, theirs))
    run = Run(place, groups, expected)
    said = run.until(lambda: cluster.whole() and "not used" in " ".join(run.said))
    assert re.search(rf"a machine is not used: \S+: its znas-engine is {theirs}, not {ours}", said)
    assert not cluster.machines[-1].workers()
    cluster.kill(cluster.machines[-1])
    only = refused(score(f"ray:{cluster.address}", tmp_path / "x.csv", PYTHONPATH=str(tmp_path)))
    assert "no machine can be used" in only
    assert f"its znas-engine is {ours}, not {theirs}" in only


def test_a_unit_that_fails_everywhere_ends_the_job_with_one_line(place: OnRay, tmp_path: Path) -> None:
    """Not before the others are done: each of its tries waits for them, for less than would be hanging."""

    def work(number: int, *_: object) -> int:
        if number == 4:
            end = time.monotonic() + 1
            while len(list(tmp_path.iterdir())) < 7 and time.monotonic() < end:
                time.sleep(0.02)
            raise FloatingPointError("oh")
        (tmp_path / str(number)).touch()
        return number

    said: list[str] = []
    done: list[int] = []
    values = (value for _, value in place.run(Listed(Call(f"piece {k}", work, (k,)) for k in range(8))))
    with job(said.append), pytest.raises(DeviceError) as caught:
        done.extend(values)
    assert sorted(done) == [0, 1, 2, 3, 5, 6, 7]
    found = r"piece 4 failed 8 times, last: worker \d+ on \S+ failed: FloatingPointError: oh"
    assert re.fullmatch(found, str(caught.value))
    assert sum("piece 4 is done again" in line for line in said) == 7


def test_an_error_of_ours_ends_the_job_with_what_it_says(place: OnRay) -> None:
    def work(*_: object) -> None:
        raise InvalidValueError("`this` must be that")

    with pytest.raises(InvalidValueError, match=r"^`this` must be that$"):
        list(place.run(Listed([Call("one", work, ())])))


def test_a_job_that_is_left_does_not_disturb_the_next_nor_one_within_another(place: OnRay) -> None:
    def work(number: int, *_: object) -> int:
        import time

        time.sleep(0.05)
        return number

    def numbers(*wanted: int) -> Iterator[int]:
        for unit, value in place.run(Listed(Call(f"piece {k}", work, (k,)) for k in wanted)):
            assert unit.arguments == (value,)
            yield value

    left = numbers(*range(100))
    next(left)
    left.close()
    assert sorted(numbers(*range(100, 110))) == [*range(100, 110)]
    outer = []
    for value in numbers(*range(10)):
        outer.append(value)
        assert sorted(numbers(20, 21)) == [20, 21]
    assert sorted(outer) == [*range(10)]
    assert list(place.run(Listed([]))) == []


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the command writes on one machine."""
    out = tmp_path_factory.mktemp("whole") / "x.csv"
    done = score("local", out)
    assert done.returncode == 0, done.stderr
    return out.read_bytes()


def test_the_driver_is_interrupted_killed_and_goes_on(
    cluster: Cluster, place: OnRay, whole: bytes, tmp_path: Path
) -> None:
    place.rest()  # whoever works here has the cores
    out, work = tmp_path / "x.csv", tmp_path / "x.csv.work"
    kept = 0
    for number in (signal.SIGTERM, signal.SIGKILL):  # Ray listens to the first as well
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "znas",
                *SCORE,
                "--on",
                f"ray:{cluster.address}",
                "--out",
                out,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        patience = time.monotonic() + 60
        while not work.exists() or len(work.read_bytes().splitlines()) < kept + 3:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < patience
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=15)
        lines = len(work.read_bytes().splitlines())
        assert lines >= kept + 3
        kept = lines - 2  # the first says which job, the last may be cut short
        if number == signal.SIGKILL:
            assert process.returncode == -number
        else:
            assert process.returncode == 128 + number, err
            assert re.fullmatch(r"znas-engine: interrupted \(\w+\): nothing .* finished pieces: .*\n", err)
    done = score(f"ray:{cluster.address}", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_client_of_the_cluster_gets_the_same(
    cluster: Cluster, place: OnRay, whole: bytes, tmp_path: Path
) -> None:
    place.rest()
    done = score(cluster.client, tmp_path / "x.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.csv").read_bytes() == whole


def test_nobody_at_the_address(tmp_path: Path) -> None:
    for on in ("ray:127.0.0.1:1", "ray://127.0.0.1:1", "ray:127.0.0.1:99999"):
        said = refused(score(on, tmp_path / "x.csv"))
        assert f"--on {on}: no Ray cluster answers (" in said
        assert "ray start --head" in said


def test_one_connection_for_a_process(cluster: Cluster, place: OnRay) -> None:
    with pytest.raises(InvalidValueError, match="works on another cluster already"):
        OnRay("ray:127.0.0.1:1", "127.0.0.1:1")
    with pytest.raises(InvalidValueError, match=r"wants 2 cores and no machine has more than 1: lower --thr"):
        list(OnRay(f"ray:{cluster.address}", cluster.address, threads=2).run(Listed([Call("one", int, ())])))


def test_nobody_comes(cluster: Cluster, place: OnRay, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cores are taken: by this place, which does not know of the other."""

    def work(*_: object) -> int:
        return 1

    assert [value for _, value in place.run(Listed([Call("one", work, ())]))] == [1]
    monkeypatch.setattr(on_ray.OnRay, "_at_work", None)
    late = OnRay(f"ray:{cluster.address}", cluster.address, threads=1, arrival=1)
    with pytest.raises(DeviceError, match="no worker came within 1 s"):
        list(late.run(Listed([Call("one", work, ())])))
