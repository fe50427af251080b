"""The latency suite: who is timed, what the samples say, and how two results are held together."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.modules.module import register_module_forward_hook

from tests.conftest import SMALL, SPACES, small
from znas.bench import contenders, eager, peak
from znas.bench.contenders import CONTENDERS, Contender, Request, torch_backend
from znas.bench.machine import result_path, short
from znas.bench.passes import Arena, check
from znas.bench.plan import MASK_KINDS, Group, Plan, Supernet, mask_at, masks_at
from znas.bench.reading import PARTS, ROW
from znas.bench.statistics import gflops_of, identity, middle, peak_of, percentiles, speedup_of
from znas.bench.suite import run
from znas.bench.tables import summary
from znas.cli.console import show
from znas.meaning import flag
from znas.shape import misshapen
from znas_engine import __version__, kernels
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.rounding import rounded, tolerance
from znas_engine.cores import available_cores
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.scores import Observation
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.darts.eager import Supernet as DartsSupernet
from znas_engine.testing.agreement import noise

pytestmark = pytest.mark.ours

ROOT = Path(__file__).parents[2]
TINY = Supernet("nasbench201", images=5, resolution=16, channels=4, cells=1)
EVERY_SPACE = pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)


# --- who is timed ---


@EVERY_SPACE
@pytest.mark.parametrize("layout", ["eager", "channels_last"])
def test_the_eager_baseline_is_the_reference(layout: str, space: SearchSpace[Any], images: Batch) -> None:
    assert images.labels is not None
    images = Batch(images.images[:12].copy(), images.labels[:12].copy())
    request = Request(space, small(space), Environment(11, "gaussian", images), "float32")
    reference, baseline = torch_backend(request), getattr(eager, layout)(request)
    for kind in MASK_KINDS:
        masks = masks_at(space, kind, 0, 2)
        expected, found = (np.stack([run(mask) for mask in masks]) for run in (reference, baseline))
        result = check(expected, found, LOGIT_TOLERANCE["float32"], images.labels)
        assert result["passed"], (kind, result)


@EVERY_SPACE
def test_the_eager_baseline_in_half_precision(space: SearchSpace[Any]) -> None:
    """Half precision in every convolution, and the reference's logits within the tolerance of it: without
    that the check of a GPU would be of something else. The last cell has 4 x 4 pixels."""
    last = space.supernet(small(space)).cells[-1]
    side = 4 * 16 // space.supernet(small(space)).nodes[last].shape[1]
    macro = replace(small(space), resolution=side)
    images = noise(macro, 12)
    environment = Environment(11, "gaussian", images)
    request = Request(space, macro, environment, "float16")
    reference, coarse = (
        torch_backend(replace(request, dtype="float32", environment=drawn))
        for drawn in (environment, rounded(environment, "float16"))
    )
    dtypes = set()
    with register_module_forward_hook(lambda module, _, found: dtypes.add((type(module), found.dtype))):
        baseline = eager.channels_last(request)
        dtypes.clear()  # of the calibration
        for kind in MASK_KINDS:
            masks = masks_at(space, kind, 0, 2)
            expected, near, found = (
                np.stack([run(mask) for mask in masks]) for run in (reference, coarse, baseline)
            )
            most = 2 * tolerance("float16", list(expected), list(near))  # every module's output is rounded
            result = check(expected, found, most, images.labels)
            if not np.isfinite(found).all():  # a chain of one path under the mixture's statistics grows
                assert np.abs(expected).max() > 1e3, (kind, "nothing left the range of float16")
                continue
            assert result["passed"], (kind, result)
            assert result["error"] > LOGIT_TOLERANCE["float32"], (kind, result)
    assert {dtype for _, dtype in dtypes} == {torch.float16}


def test_the_eager_baseline_refuses_the_imagenet_stem() -> None:
    macro = SPACES["darts"].search_macro(resolution=224, classes=10)
    with pytest.raises(InvalidValueError, match="no imagenet stem"):
        DartsSupernet(macro)


def test_only_checked_contenders_are_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    for name in ("other_weights", "no_start", "dies_when_timed"):
        monkeypatch.setitem(CONTENDERS, name, Contender(f"tests.znas.bench_contenders:{name}"))
    forgiven = Contender("tests.znas.bench_contenders:other_weights", forgiven=True)
    monkeypatch.setitem(CONTENDERS, "forgiven", forgiven)
    names = ("native", "other_weights", "no_start", "dies_when_timed", "forgiven")
    group = Group(TINY, threads=2, kind="do", masks=2)
    calls = []
    with Arena(TINY, 2, names, tmp_path) as arena:
        rows = {row["contender"]: row for row in arena.measure(group, 2, lambda: calls.append(1))}
    assert list(rows) == list(names)

    native = rows.pop("native")
    assert native["passed"]
    assert len(native["seconds"]) == 2
    assert len(native["latencies"]) == 4
    assert min(native["seconds"] + native["latencies"]) > 0
    assert native["argmax_agreement"] == 1
    wrong = rows.pop("forgiven")
    assert (wrong["passed"], wrong["why"]) == (False, rows["other_weights"]["why"])
    assert len(wrong["seconds"]) == 2
    for row in rows.values():
        assert not row["passed"]
        assert row["seconds"] == row["latencies"] == row["gmac"] == []
    assert "above 0.0002" in rows["other_weights"]["why"]
    assert rows["no_start"]["why"] == "RuntimeError: no C++ compiler was found"
    assert rows["dies_when_timed"]["why"] == "MemoryError: no room for another mask"


def test_the_reference_is_asked_once_per_precision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With all cores where it is not timed itself: on DARTS a GPU waited for minutes."""
    asked: list[tuple[str, int, str, str | None]] = []

    class Fake:
        prepare_seconds, batched = 0.1, False

        def __init__(self, contender: Contender, supernet: Supernet, threads: int, cache: Path) -> None:
            self.facts = (contender.shares, threads, supernet.device, supernet.rounded)

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *_: object) -> None: ...

        def logits(self, masks: Mask, timed: int = 0) -> Any:
            if self.facts[2] == "cpu":
                asked.append(self.facts)
            return np.ones((len(masks), 5, 10), np.float32)

    monkeypatch.setattr("znas.bench.passes.Worker", Fake)
    names = ("eager", "eager-fp16-nhwc", "native-fp16", "native-bf16", "native")
    supernet = replace(TINY, device="cuda:0")
    with Arena(supernet, 1, names, tmp_path) as arena:
        rows = arena.checked("passes", Group(supernet, threads=1, kind="do", masks=2))
    assert [row["contender"] for row in rows if row["passed"]] == list(names)
    of_all_cores = ("operations", available_cores(), "cpu")
    assert asked == [(*of_all_cores, None), (*of_all_cores, "float16"), (*of_all_cores, "bfloat16")]


@pytest.mark.parametrize("threads", [1, 2])
def test_a_batch_is_checked_and_timed_as_one(
    threads: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A contender that is right mask by mask and wrong in batches gets no time."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    names = ("InBatches", "wrong_in_batches")
    for name in names:
        monkeypatch.setitem(CONTENDERS, name, Contender(f"tests.znas.bench_contenders:{name}"))
    group = Group(TINY, threads=threads, kind="do", masks=5)
    with Arena(TINY, threads, names, tmp_path) as arena:
        right, wrong = arena.measure(group, 3, lambda: None)
    assert right["passed"]
    assert right["batched"]
    assert len(right["seconds"]) == 3
    assert len(right["latencies"]) == 15
    assert all(seconds * 5 > 0.05 for seconds in right["seconds"])  # batches sleep
    assert not wrong["passed"]
    assert wrong["seconds"] == []
    assert "above 0.0002" in wrong["why"]


def test_a_backend_takes_as_many_masks_at_once_as_in_a_search() -> None:
    sizes = []

    class Taking:
        def __call__(self, mask: Mask, images: Any) -> Observation:
            return self.batch(mask[None], images)[0]

        def batch(self, masks: Mask, images: Any) -> list[Observation]:
            sizes.append(len(masks))
            return [Observation(mask[0, 0] * images[:, :1]) for mask in masks]

    parts = [np.full((n, 3), n, np.float32) for n in (2, 3)]
    masks = np.arange(5, dtype=np.float32).reshape(5, 1, 1)
    run = contenders._BatchedPasses(Taking(), parts, 2)
    found = run.batch(masks)
    np.testing.assert_array_equal(found, np.stack([run(mask) for mask in masks]))
    np.testing.assert_array_equal(found[:, :, 0], masks[:, 0] * [[2, 2, 3, 3, 3]])
    assert sizes[:6] == [2, 2, 2, 2, 1, 1]


@given(data=st.data())
@pytest.mark.parametrize("dtype", LOGIT_TOLERANCE)
def test_check_is_the_named_tolerance(dtype: str, data: st.DataObject) -> None:
    seed = data.draw(st.integers(0, 2**32 - 1))
    factor = data.draw(st.floats(0, 0.9) | st.floats(1.1, 5))
    rng = np.random.default_rng(seed)
    expected = rng.standard_normal((2, 7, 10), dtype=np.float32)
    expected[:, 0, 0] = 10  # the largest of each mask
    found = expected.copy()
    where = tuple(rng.integers(expected.shape))
    found[where] += rng.choice([-1, 1]) * factor * LOGIT_TOLERANCE[dtype] * 10
    labels = data.draw(st.sampled_from([None, rng.integers(0, 10, 7)]))
    result = check(expected, found, LOGIT_TOLERANCE[dtype], labels)
    assert result["passed"] == (factor < 1)
    assert ("why" in result) == (factor > 1)
    assert result["argmax_agreement"] == np.mean(expected.argmax(2) == found.argmax(2))


@pytest.mark.parametrize("found", [np.full((1, 2, 3), np.nan, np.float32), np.ones((1, 2, 4), np.float32)])
def test_check_refuses_what_is_no_logits(found: Any) -> None:
    result = check(np.ones((1, 2, 3), np.float32), found, LOGIT_TOLERANCE["float32"], None)
    assert not result["passed"]
    assert result["why"]


# --- with which masks ---


@EVERY_SPACE
@pytest.mark.parametrize("kind", MASK_KINDS)
def test_masks(kind: str, space: SearchSpace[Any]) -> None:
    masks = masks_at(space, kind, 0, 300)
    assert masks.dtype == np.float32
    if kind == "do":
        neurons = {space.describe(mask) for mask in masks}
        assert len(neurons) == len(space.neurons())
        assert all(name.startswith("do(") for name in neurons)
    elif kind == "one-hot":
        assert ((masks == 0) | (masks == 1)).all()
        assert (masks.sum(2) == 1).all()
        assert not masks[:, ~space.computing].any()
    else:
        assert not masks[:, ~space.mixed].any()
        assert np.abs(masks[:, space.mixed] / space.mixture()[space.mixed] - 1).max() <= 0.0101
    # What a backend keeps of its last masks does not serve the next one (two random paths may be equal).
    recent = 8
    again = sum(
        any(np.array_equal(masks[i], earlier) for earlier in masks[i - recent : i])
        for i in range(recent, 300)
    )
    assert again <= (1 if kind == "one-hot" else 0)
    np.testing.assert_array_equal(mask_at(space, kind, 7), masks[7])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"contenders": ("nativ",)}, "unknown contender 'nativ'.*did you mean 'native'"),
        ({"device": "cuda:0,cuda:1"}, "`device` must be one device here but got 'cuda:0,cuda:1'"),
        (
            {"device": "cuda", "contenders": ("ort",)},
            "the contender 'ort' does not run on cuda:0: choose one of",
        ),
        ({"kinds": ("one_hot",)}, "unknown kind of mask 'one_hot'.*did you mean 'one-hot'"),
        ({"parts": ("passs",)}, "unknown part 'passs'.*did you mean 'passes'"),
        ({"threads": (0,)}, "`threads` must be at least 1 but got 0"),
        ({"masks": 0}, "`masks` must be at least 1 but got 0"),
        ({"rounds": 0}, "`rounds` must be at least 1 but got 0"),
        ({"cells": 0}, "`cells` must be between 1 and 64 but got 0"),
        ({"data": "cifar10"}, "`data_dir` is required for cifar10"),
    ],
)
def test_a_plan_is_checked_before_work_starts(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        Plan(**wrong)


# --- what the samples say ---


@pytest.mark.parametrize("n", range(1, 15))
def test_the_interval_encloses_the_median_as_often_as_it_says(n: int) -> None:
    """Brute force over which samples lie below the true median: each does with probability 1/2."""
    found = middle([float(i) for i in range(1, n + 1)])
    k = int(found.low)
    assert found.high == n + 1 - k
    assert found.median == (n + 1) / 2

    def coverage(k: int) -> float:
        below = [sum(signs) for signs in itertools.product((0, 1), repeat=n)]
        return sum(k <= b <= n - k for b in below) / 2**n

    if n >= 6:
        assert coverage(k) >= 0.95 > coverage(k + 1)
    else:
        assert k == 1


def test_percentiles() -> None:
    assert percentiles([float(i) for i in np.random.default_rng(0).permutation(101)]) == (50, 90, 99)


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=9),
    st.floats(0.01, 100),
)
def test_ratios_are_taken_pair_by_pair(pairs: list[tuple[float, float]], slowdown: float) -> None:
    """A round in which the machine was slow for everybody changes no ratio."""
    row = {"part": "passes", "dtype": "float32", "images": 10, "gmac": [0.5] * len(pairs)}

    def ratio(factors: list[float]) -> float:
        baseline, other = (
            row
            | {"contender": name, "seconds": [f * pair[i] for f, pair in zip(factors, pairs, strict=True)]}
            for i, name in enumerate(("eager", "native"))
        )
        found = speedup_of(other, [baseline, other])
        assert found is not None
        return found.median

    steady = ratio([1.0] * len(pairs))
    assert math.isclose(steady, float(np.median([a / b for a, b in pairs])))
    assert math.isclose(ratio([slowdown, *[1.0] * (len(pairs) - 1)]), steady)


def test_no_ratio_without_a_baseline_and_speeds() -> None:
    row = {"part": "passes", "contender": "native", "dtype": "float32", "images": 10}
    row |= {"gmac": [0.5, 0.5, 1.0], "seconds": [1.0, 2.0, 0.5]}
    failed = row | {"contender": "eager", "seconds": []}
    assert speedup_of(row, [row, failed]) is None
    assert speedup_of(failed, [row | {"contender": "eager"}, failed]) is None
    assert gflops_of(row) == 10  # of 10, 5 and 40


def test_a_peak_is_the_best_product() -> None:
    row = peak._best("float32", "numpy", peak._numpy_product)
    assert row["side"] in peak.SIDES
    assert math.isclose(row["gflops"], 2 * row["side"] ** 3 / min(row["seconds"]) / 1e9)


def test_a_peak_that_fails_is_a_row_that_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What takes its time afterwards is measured all the same, and held against no peak."""
    (row,) = peak.measure(1, "cuda:99", tmp_path)
    assert (row["part"], row["seconds"], row["passed"]) == ("peak", [], False)
    timed = {"part": "passes", "threads": 1, "dtype": row["dtype"]}
    assert peak_of(timed, [row]) is None
    assert misshapen(row, ROW | PARTS["peak"]) is None
    result = {"version": "a", "commit": None, "versions": {}, "rows": [row]}
    show(summary(result | {"machine": {"model": "one", "cores": 1, "isas": []}}))
    printed = capsys.readouterr().out
    assert "no time (1)" in printed
    assert f"(1) torch.mm: {row['why']}" in printed


@pytest.mark.parametrize(
    ("full", "named"), [("0" * 40, "0000000"), ("a" * 40 + "-dirty", "aaaaaaa-dirty"), (None, None)]
)
def test_a_result_is_named_by_the_commit_of_the_compiled_code(
    full: str | None, named: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "commit", lambda: full)
    assert short(full) == named
    assert result_path().name == f"{named or __version__}.json"


def test_a_long_reason_stands_below_its_table(capsys: pytest.CaptureFixture[str]) -> None:
    """What a library says of its failure is long; in a cell it pushed every number out of sight."""
    size = {"part": "passes", "space": "nasbench201", "kind": "one-hot", "images": 256, "masks": 16}
    size |= {"threads": 16, "device": "cuda:0", "prepare_seconds": 12.3, "passed": True}
    peak_row = {"part": "peak", "threads": 16, "dtype": "float32", "gflops": 51234.0, "seconds": [1.0]}
    peak_row["contender"] = "torch.mm"
    why = "RuntimeError: " + "cuDNN has no engine\n for this [graph] " * 9
    timed = {"argmax_agreement": 1.0, "latencies": [0.123456, 0.23456, 0.3456], "gmac": [100.0] * 3}
    rows: list[dict[str, Any]] = [peak_row] + [
        size
        | timed
        | {"contender": name, "dtype": "float32", "seconds": [0.12345, 0.23456, 0.34567]}
        | ({"seconds": [], "passed": False, "why": why} if name == "compile" else {})
        | ({"passed": False, "why": "wrong"} if name == "eager-fp16-nhwc" else {})
        | {"batched": name == "native"}
        for name in ("eager", "compile", "native", "eager-fp16-nhwc")
    ]
    rows.append(rows[2] | {"kind": "do"})
    document = {"version": "a", "commit": None, "versions": {}, "rows": rows}
    document["machine"] = {"model": "one", "cores": 16, "isas": ["avx2"], "gpu": {"name": "a GPU"}}
    show(summary(document))
    lines = capsys.readouterr().out.splitlines()
    reason = "(1) compile: RuntimeError: " + " ".join(["cuDNN has no engine for this [graph]"] * 9)
    assert [line for line in lines if line][-2:] == [
        reason,
        "(2) eager-fp16-nhwc: wrong",
    ]  # once for both kinds
    table = [line.strip() for line in lines if line.strip().startswith("nasbench201")]
    assert len(table) == 5
    assert not any("…" in line for line in lines)
    assert ["no time (1)" in line for line in table] == [False, True, False, False, True]
    assert "235 [123, 346]" in table[0]
    assert "(426 %)" in table[0]
    assert "1.000 (2) " in table[3]
    assert " 16* " in table[2]


# --- a run ---


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    plan = Plan(
        parts=("passes",),
        spaces=("nasbench201",),
        contenders=("native",),
        kinds=("do", "one-hot"),
        images=(5,),
        threads=(1,),
        masks=1,
        rounds=2,
        resolution=16,
        channels=4,
        cells=1,
    )
    work = tmp_path / "work"

    def kill(done: int, total: int) -> None:
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(plan, work, progress=kill)
    kept = json.loads(work.read_text().splitlines()[1].partition(" ")[2])["value"]

    steps = []
    document = run(plan, work, progress=lambda done, total: steps.append(done))
    assert [row["kind"] for row in document["rows"]] == ["do", "one-hot"]
    assert document["rows"][:1] == kept
    assert steps[0] == 2
    assert steps[-1] == 4
    with pytest.raises(InvalidValueError, match="another job"):
        run(replace(plan, rounds=3), work)


def test_bench_from_the_command_line(tmp_path: Path) -> None:
    """Passes, starts and a search of one contender; the result is a table, a page, and equal to itself."""
    result, page = tmp_path / "result.json", tmp_path / "page.md"
    size = [f"{flag(name)}={value}" for name, value in (SMALL["nasbench201"] | {"resolution": 16}).items()]
    parts = [f"--part={part}" for part in ("passes", "start", "search", "instant")]
    one = ["--space=nasbench201", "--backend=native", "--masks=do", "--images=4", "--threads=1"]
    printed = called(
        "-m", "znas", "bench", "--quick", "--rounds=1", *parts, *one, *size, "-q", "--out", result
    )
    assert "nasbench201" in printed
    assert not result.with_suffix(".json.work").exists()

    document = json.loads(result.read_text())
    found = {(row["part"], row.get("cache")): row for row in document["rows"]}
    others = {(part, None) for part in ("passes", "search", "instant")}
    assert set(found) == others | {("start", "empty"), ("start", "full")}
    assert all(row["passed"] and row["seconds"] for row in document["rows"])
    start = found["start", "empty"]
    assert math.isclose(sum(phase[0] for phase in start["phases"].values()), start["seconds"][0])
    assert start["peak_bytes"][0] > 1e7
    search = found["search", None]
    assert search["architectures"][0].startswith("|")
    assert sum(phase[0] for phase in search["phases"].values()) < search["seconds"][0]

    called(ROOT / "bench/page.py", result, page)
    assert "| nasbench201 | do | 4 |" in page.read_text()
    assert page.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    processes = {row["contender"]: row["seconds"] for row in document["rows"] if row["part"] == "instant"}
    assert {name: len(seconds) for name, seconds in processes.items()} == {
        "search --p 1": 1,
        "import torch": 1,
    }
    assert "| nasbench201 | import torch |" in page.read_text()
    marks = [line.split()[0] for line in called(ROOT / "bench/compare.py", result, result).splitlines()[1:]]
    assert marks == ["~"] * 6


# --- two runs ---


def test_compare_marks(tmp_path: Path) -> None:
    cases = {  # after, against [1.0, 1.1, 1.2]
        "slower": ([1.5, 1.6, 1.7], "+"),
        "faster": ([0.5, 0.6, 0.7], "-"),
        "overlapping": ([1.15, 1.6, 1.7], "~"),
        "equal": ([1.0, 1.1, 1.2], "~"),
        "failed": ([], "n/a"),
        "missing": (None, "n/a"),
    }
    before = written(tmp_path, "before", {name: [1.0, 1.1, 1.2] for name in cases})
    after = {name: seconds for name, (seconds, _) in cases.items() if seconds is not None} | {"new": [1.0]}
    expected = {name: sign for name, (_, sign) in cases.items()} | {"new": "n/a"}
    assert marks(before, written(tmp_path, "after", after)) == expected
    assert "0.55" in compared(before, written(tmp_path, "after", {"faster": [0.5, 0.6, 0.7]}))

    for other in ({"version": "b"}, {"machine": {"model": "another"}}, {"plan": PLAN | {"cells": 1}}):
        rows = {name: [1.0, 1.1, 1.2] for name in cases} | {"failed": []}
        found = marks(before, written(tmp_path, "other", rows, **other))
        assert found == {name: "n/a" if name == "failed" else "x" for name in cases}


def test_compare_ignores_small_changes(tmp_path: Path) -> None:
    before = written(tmp_path, "before", {"a": [1.0, 1.0, 1.0]})
    after = written(tmp_path, "after", {"a": [1.04, 1.04, 1.04]})
    assert marks(before, after) == {"a": "~"}
    assert marks(before, after, "--factor", "1.01") == {"a": "+"}


def test_committed_results_are_readable(tmp_path: Path) -> None:
    for result in (ROOT / "bench/results").rglob("*.json"):
        page = result.with_suffix(".md")
        called(ROOT / "bench/page.py", result, tmp_path / page.name)
        assert not page.exists() or (tmp_path / page.name).read_text() == page.read_text()
        assert set(marks(result, result).values()) <= {"~", "n/a"}


PLAN = {"data": "gaussian", "channels": None, "cells": None, "resolution": None}


def written(folder: Path, name: str, rows: dict[str, list[float]], **facts: Any) -> Path:
    """A result with one row of passes per contender."""
    document = {"version": "a", "machine": {"model": "one"}, "plan": PLAN} | facts
    document["rows"] = [
        {"part": "passes", "contender": contender, "seconds": seconds} for contender, seconds in rows.items()
    ]
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return path


def marks(*arguments: object) -> dict[str, str]:
    """Contender (the last word of a row's name) -> mark."""
    lines = [line.split() for line in compared(*arguments).splitlines() if " passes " in line]
    return {words[-1]: words[0] for words in lines}


def compared(*arguments: object) -> str:
    return called(ROOT / "bench/compare.py", *arguments)


def called(*arguments: object) -> str:
    """What a Python command prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, *map(str, arguments)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rows_from_before_devices_compare_with_those_of_the_processor() -> None:
    old = {"part": "passes", "space": "darts", "contender": "native"}
    assert identity(old) == identity(old | {"device": "cpu"}) != identity(old | {"device": "cuda:0"})
