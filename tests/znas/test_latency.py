"""Latency as it is measured: what is timed, in a process of its own, and how; tables of other devices."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import znas
from tests.conftest import SPACES, small
from znas.costs import timing
from znas.costs.latency import DEVICES, MORE, PROCESSES, TIGHT, Meter, Target, targets_here
from znas.costs.latency_table import LatencyTable
from znas.costs.live import decoded, encoded, live
from znas.worker_process import WorkerFailed
from znas_engine.backends import missing
from znas_engine.cores import available_cores
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import DataError, InvalidValueError, MissingDependencyError
from znas_engine.scores import get_score
from znas_engine.scores.base import StaticScore
from znas_engine.spaces import SearchSpace
from znas_engine.spaces.nasbench201 import NasBench201

NB201 = NasBench201()
MACRO = small(NB201)
CELL = NB201.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|nor_conv_1x1~1|skip_connect~2|")
#: Node 1 has no input, and what reads it does not reach the output; node 2 reaches it.
DEAD = NB201.parse("|none~0|+|nor_conv_1x1~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|")


#: Backends that time networks on this processor, the quickest to start first.
HERE = [name for name in ("native", "ort", "torch") if missing(name, "cpu") is None]


# --- targets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ort:cpu", "ort:cpu:1"),
        (" ort:cpu:2 ", "ort:cpu:2"),
        ("native:cpu", "native:cpu:1"),
        ("native:cpu:1", "native:cpu:1"),
        ("torch:cpu:16", "torch:cpu:16"),
        ("ort:cuda", "ort:cuda:0"),
        ("torch:cuda:3", "torch:cuda:3"),
        ("trt:cuda:0", "trt:cuda:0"),
    ],
)
def test_a_target_is_read_and_written(written: str, canonical: str) -> None:
    found = Target.parse(written)
    assert str(found) == canonical
    assert Target.parse(canonical) == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("tflite:cpu", "unknown backend of a latency target 'tflite'.*choose one of ort, native, torch, trt"),
        ("ort", "must be ort:cpu or ort:cuda:0 for ort but got 'ort'"),
        ("ort:gpu:0", "must be ort:cpu or ort:cuda:0"),
        ("native:cuda:0", "must be native:cpu for native"),
        ("trt:cpu", "must be trt:cuda:0 for trt"),
        ("ort:cpu:0", "must end in a number of threads, as in ort:cpu:1"),
        ("ort:cpu:", "must end in a number of threads"),
        ("ort:cpu:1.5", "must end in a number of threads"),
        ("ort:cpu:-1", "must end in a number of threads"),
        ("ort:cpu:²", "must end in a number of threads"),
        ("torch:cpu:99999999999", "must end in a number of threads"),
        ("native:cpu:2", "runs a network on one thread"),
        ("ort:cuda:x", "must be cpu, cuda:N"),
        ("ort:cuda:0,cuda:1", "must be one device but got"),
        (7, "must be a text such as 'ort:cpu:1' but got 7"),
    ],
)
def test_what_is_no_target_is_refused(written: Any, said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        Target.parse(written)


@given(st.lists(st.sampled_from([*DEVICES, "cpu", "cuda", "0", "1", "-2", "x,"]), max_size=5).map(":".join))
@settings(max_examples=40)
def test_any_text_is_a_target_or_refused(written: str) -> None:
    try:
        found = Target.parse(written)
    except InvalidValueError:
        return
    assert Target.parse(str(found)) == found


def test_a_device_that_is_not_here_is_one_line_that_names_those_that_are() -> None:
    here = targets_here()
    assert "torch:cpu" in here
    with pytest.raises(MissingDependencyError, match=r"the target ort:cuda:61 is not here .*ort:cpu"):
        Target.parse("ort:cuda:61").check()
    cores = available_cores()
    with pytest.raises(InvalidValueError, match=f"process may use {cores}: ask for torch:cpu:{cores}"):
        Target("torch", "cpu", cores + 1).check()


# --- what is timed -----------------------------------------------------------------------------------


def drawn(space: SearchSpace[Any], seed: int) -> Any:
    return space.genotype(space.random_path(np.random.default_rng(seed)))


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32))
@settings(max_examples=15)
def test_what_is_left_is_what_images_pass_on_their_way_to_the_logits(name: str, seed: int) -> None:
    space = SPACES[name]
    macro = small(space)
    genotype = drawn(space, seed)
    whole = space.network(genotype, macro)
    left = live(whole)
    assert all(left.live(None)[1:])
    mask = space.mask(genotype)
    if space.admits(mask):
        score = get_score("live_flops")
        assert isinstance(score, StaticScore)
        batch = Batch(np.zeros((1, 3, 16, 16), np.float32), np.zeros(1, np.int64))
        count = score.prepare(space.supernet(macro), Environment(0, "gaussian", batch))
        assert left.flops == count(mask)
    assert live(left).nodes == left.nodes
    assert decoded(json.loads(json.dumps(encoded(left)))).nodes == left.nodes


def test_dead_operations_are_not_timed() -> None:
    alone = NB201.parse("|none~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert encoded(live(NB201.network(DEAD, MACRO))) == encoded(live(NB201.network(alone, MACRO)))
    assert len(live(NB201.network(DEAD, MACRO)).nodes) < len(NB201.network(DEAD, MACRO).nodes)


@pytest.mark.skipif(missing("native") is not None, reason="no compiled kernels")
@pytest.mark.parametrize("name", SPACES)
def test_every_backend_times_the_same_network(name: str) -> None:
    space = SPACES[name]
    macro = small(space)
    asked = {"graph": encoded(live(space.network(drawn(space, 3), macro)))}
    given_ = {"device": "cpu", "threads": 1, "batch": 2, "seed": 5}
    ort: Any = timing.prepared(given_ | {"backend": "ort"}, asked)()
    (native,) = timing.prepared(given_ | {"backend": "native"}, asked)()
    assert ort[0].shape == (2, 10)
    np.testing.assert_allclose(native.logits, ort[0], rtol=2e-3, atol=2e-3 * np.abs(ort[0]).max())


# --- how it is timed ---------------------------------------------------------------------------------


def test_repeats_end_when_the_time_is_over_but_a_median_needs_a_few() -> None:
    found = timing.timed(lambda: time.sleep(1e-3), seconds=1e-9, tight=0.0, cores=[])
    assert len(found["milliseconds"]) == timing.LEAST
    assert all(each >= 1 for each in found["milliseconds"])
    assert found["others"] is None


def test_repeats_end_when_the_median_is_known() -> None:
    found = timing.timed(lambda: time.sleep(1e-3), seconds=60.0, tight=math.inf, cores=[])
    assert sum(found["milliseconds"]) < 30_000
    assert len(found["milliseconds"]) >= 2 * timing.LEAST


@pytest.mark.ours
def test_on_one_core_repeats_that_others_had_are_left_out() -> None:
    calls = iter(range(10_000))

    def run() -> None:
        """Works for a millisecond; sometimes something else has the core meanwhile."""
        end = time.thread_time() + 1e-3
        while time.thread_time() < end:
            pass
        if next(calls) % 4 == 0:
            time.sleep(0.05)

    alone = timing.timed(run, seconds=1.0, tight=0.0, cores=[0])
    assert alone["left_out"] >= 2
    assert not any(each > 50 for each in alone["milliseconds"])
    shared = timing.timed(run, seconds=1.0, tight=0.0, cores=[0, 1])
    assert shared["left_out"] == 0
    assert any(each > 50 for each in shared["milliseconds"])
    # With too few of them all count.
    asleep = timing.timed(lambda: time.sleep(1e-3), seconds=1e-9, tight=0.0, cores=[0])
    assert (len(asleep["milliseconds"]), asleep["left_out"]) == (timing.LEAST, 0)


def test_the_error_of_a_median_is_half_of_its_interval() -> None:
    # Of six samples the interval is their range.
    assert timing.error_of([9, 10, 10, 10, 10, 11]) == pytest.approx(0.1)
    assert timing.error_of([10.0] * 1000) == 0


def test_other_work_is_what_cores_did_beyond_our_own() -> None:
    before, after = {0: 10.0, 1: 20.0}, {0: 11.5, 1: 21.0}
    # Of 2 s on core 0 we had 1, others 0.5; both cores together did 2.5 s of 4.
    assert timing.others_of(before, after, 2.0, 1.0, [0]) == (0.25, 0.375)
    assert timing.others_of(before, before, 2.0, 1.0, [0]) == (0.0, 0.0)
    assert timing.others_of(None, after, 2.0, 1.0, [0]) is None
    assert timing.others_of(before, after, 2.0, 1.0, [7]) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system does not pin")
def test_the_measuring_process_is_pinned() -> None:
    program = (
        "import os; from znas.costs import timing; print(timing._pinned(1), sorted(os.sched_getaffinity(0)))"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pinned, affinity = said.stdout.strip().split("] ")
    assert pinned + "]" == affinity
    assert json.loads(affinity)[0] in os.sched_getaffinity(0)


@pytest.mark.ours
@pytest.mark.parametrize("backend", HERE)
def test_a_meter_measures_one_architecture_after_another(backend: str) -> None:
    with Meter(NB201, MACRO, Target.parse(f"{backend}:cpu"), batch=2, seconds=0.4) as meter:
        found = [meter.measure(CELL), meter.measure(DEAD)]
        (child,) = (process._process for process in meter._started)
    assert child.poll() is not None  # it ended with the block
    for each in found:
        assert 0 < each.low_ms <= each.median_ms <= each.high_ms
        assert each.repeats >= timing.LEAST
        assert (each.batch, each.threads, each.resolution) == (2, 1, 16)
        assert str(each).endswith(f"on {backend}:cpu:1, batch 2, 16 x 16 pixels, {each.repeats:,} repeats")


@pytest.mark.parametrize("backend", HERE[:1])
def test_a_process_that_dies_is_one_line_and_the_next_network_is_measured(backend: str) -> None:
    with Meter(NB201, MACRO, Target.parse(f"{backend}:cpu"), seconds=0.2) as meter:
        meter.measure(CELL)
        meter._started[0]._process.kill()
        with pytest.raises(WorkerFailed, match=f"on {backend}:cpu:1 was not measured: ended with status -9"):
            meter.measure(CELL)
        assert meter.measure(CELL).median_ms > 0


@pytest.mark.ours
def test_what_goes_wrong_in_the_process_is_said() -> None:
    class Broken(NasBench201):
        def network_arguments(self, macro: Any) -> dict[str, Any]:
            return super().network_arguments(macro) | {"colour": "red"}

    with (
        Meter(Broken(), MACRO, Target.parse("torch:cpu"), seconds=0.2) as meter,
        pytest.raises(WorkerFailed, match=r"on torch:cpu:1 was not measured: .*colour"),
    ):
        meter.measure(CELL)


def test_a_loose_or_disturbed_measurement_says_so() -> None:
    meter = Meter(NB201, MACRO, Target.parse("torch:cpu"), seconds=3)
    answer = {
        "milliseconds": [1.0, 2.0, 3.0],
        "error": 0.5,
        "left_out": 12,
        "cores": [1],
        "others": (0.4, 0.7),
    }
    loose, left_out, others = meter._latency([answer], 8).remarks
    assert loose == "the median is known within 50 % after 3 s"
    assert left_out == "repeats left out, in which other work had the core: 12"
    assert others.startswith("other work had 40 % of the cores that it ran on, and 70 % of the machine")
    quiet = answer | {"error": TIGHT, "left_out": 0, "others": (0.0, 0.02)}
    assert meter._latency([quiet], 8).remarks == ()
    unknown = meter._latency([quiet, quiet | {"cores": [], "others": None}], 8).remarks
    assert [each.partition(":")[0] for each in unknown] == [
        "the process was not pinned to cores",
        "whether other work ran meanwhile is not known",
    ]


def test_several_processes_are_one_latency() -> None:
    quiet: dict[str, Any] = {"error": 0.0, "left_out": 2, "cores": [0], "others": (0.0, 0.0)}
    times = [[1.0, 2.0, 3.0], [2.0, 2.1, 2.2, 2.3, 2.4], [1.9, 2.0, 2.1]]
    meter = Meter(NB201, MACRO, Target.parse("torch:cpu"), processes=3)
    found = meter._latency([quiet | {"milliseconds": each} for each in times], 8)
    assert (found.low_ms, found.median_ms, found.high_ms) == pytest.approx((1.95, 2.0, 2.3))
    assert found.by_process == pytest.approx((2.0, 2.2, 2.0))
    assert found.repeats == 11
    assert str(found).endswith("11 repeats in 3 processes, 2 to 2.2 ms")
    apart, left_out = found.remarks
    assert apart == "of 3 processes even the middle three are 10 % apart"
    assert left_out.endswith("the core: 6")


def test_processes_that_do_not_agree_get_help(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet: dict[str, Any] = {"error": 0.0, "left_out": 0, "cores": [0], "others": (0.0, 0.0)}
    asked: list[int] = []

    def measured(medians: list[float], processes: int = PROCESSES) -> znas.Latency:
        def answer(self: Meter, number: int, question: dict[str, Any]) -> dict[str, Any]:
            asked.append(number)
            return quiet | {"milliseconds": [medians[number]] * 3}

        monkeypatch.setattr(Meter, "_asked", answer)
        asked.clear()
        return Meter(NB201, MACRO, Target.parse("torch:cpu"), processes=processes).measure(CELL)

    assert measured([1.0, 1.02, 0.99]).by_process == (1.0, 1.02, 0.99)
    disturbed = measured([0.99, 1.3, 1.4, 1.0, 1.01, 1.02, 9.0])
    assert disturbed.by_process == (0.99, 1.3, 1.4, 1.0, 1.01, 1.02, 9.0)
    assert (disturbed.median_ms, len(disturbed.remarks)) == (1.02, 1)
    assert measured([1.0, 1.3, 1.01, 1.0, 1.0]).by_process == (1.0, 1.3, 1.01, 1.0, 1.0)
    assert measured([1.0], processes=1).by_process == (1.0,)
    assert asked == [0]


@pytest.mark.parametrize("backend", HERE[:1])
def test_the_short_way_takes_a_text(backend: str) -> None:
    found = znas.measure_latency("nasbench201", str(CELL), MACRO, f"{backend}:cpu:1", seconds=0.1)
    assert isinstance(found, znas.Latency)
    assert found.target == Target(backend, "cpu", 1)
    assert PROCESSES <= len(found.by_process) <= PROCESSES + MORE
    assert found.repeats >= PROCESSES * timing.LEAST


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch": 0}, "`batch` must be between 1 and"),
        ({"seconds": 0}, "`seconds` must be finite and above 0"),
        ({"seed": -1}, "`seed` must be at least 0"),
        ({"processes": 0}, "`processes` must be between 1 and 100"),
    ],
)
def test_what_makes_no_meter_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        Meter(NB201, MACRO, Target.parse("torch:cpu"), **options)


# --- tables of devices that are elsewhere ------------------------------------------------------------


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "latency.csv"
    path.write_text(text)
    return path


def test_a_table_gives_milliseconds_by_column_and_architecture(tmp_path: Path) -> None:
    path = written(tmp_path, f"arch,phone_ms,phone_mj,board_MS\n{CELL},1.5,7,20\n{DEAD},0.5,3,10\n")
    table = LatencyTable.read(path, NB201)
    assert list(table.columns) == ["phone", "board"]
    assert table.of(CELL, "phone") == table.of(CELL, "phone_ms") == 1.5
    assert table.column("board").tolist() == [20, 10]
    with pytest.raises(InvalidValueError, match=r"has 2 columns of milliseconds: name one of phone, board"):
        table.of(CELL)
    with pytest.raises(InvalidValueError, match=r"unknown column of .*'fone'.*did you mean 'phone'"):
        table.column("fone")
    with pytest.raises(DataError, match=r"has no row for .none~0."):
        table.of(NB201.parse(str(DEAD).replace("nor_conv_1x1", "nor_conv_3x3")), "phone")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("arch,accuracy\nA,90\nB,91\n", "has no column of milliseconds: name one such as phone_ms"),
        ("arch,phone_ms\nA,1.5\nB,\n", "column 'phone_ms', line 3: '' is no number"),
        ("arch,phone_ms\nA,1.5\nB,-2\n", "column 'phone_ms': -2 ms for .*a latency is above 0"),
        ("arch,phone_ms\nA,0\nB,1\n", "0 ms for .*a latency is above 0"),
        ("arch,phone_ms\nA,1.5\nB,nan\n", "line 3: 'nan' is no number"),
        ("arch,phone_ms\nA,1.5\nB,2\nA,2.5\n", "lines 2 and 4 give one architecture 1.5 and 2.5"),
    ],
)
def test_a_table_with_gaps_is_refused_in_one_line(tmp_path: Path, rows: str, said: str) -> None:
    text = rows.replace("\nA", f"\n{CELL}").replace("\nB", f"\n{DEAD}")
    with pytest.raises(DataError, match=said):
        LatencyTable.read(written(tmp_path, text), NB201)
