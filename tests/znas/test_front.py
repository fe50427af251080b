"""The front of score against cost: complete and not beaten, within the limits, and the same when it is read
again."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import znas
from tests.command import here
from znas.costs import latencies
from znas.costs.counts import COUNTS
from znas.costs.predictor import LEAST
from znas.front import FINALISTS, SHOWN, Axis, FrontPoint, figure, files, table, undominated
from znas.hooks import Hooks
from znas.output import Table, text
from znas_engine.errors import DataError, ZnasError
from znas_engine.spaces import Mask
from znas_engine.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.ours

NB201 = NasBench201()
SMALL: dict[str, Any] = {
    **{
        "supernet_channels": 4,
        "supernet_cells": 1,
        "resolution": 16,
        "images": 4,
        "score": "naswot+live_flops",
    },
    **{"network_channels": 4, "network_cells": 1, "finalists": FINALISTS},
}
PNG = b"\x89PNG"


class Watched(Axis):
    """Keeps what was compared."""

    seen: dict[str, Any]

    def ladder(self, *given: Any, **named: Any) -> list[Mask]:
        self.seen["ladder"] = super().ladder(*given, **named)
        return list(self.seen["ladder"])

    def front(
        self, masks: Sequence[Mask], scores: Any, *given: Any
    ) -> tuple[tuple[FrontPoint, ...], list[str]]:
        self.seen["masks"], self.seen["scores"] = masks, scores
        return super().front(masks, scores, *given)


@cache
def searched(**asked: Any) -> tuple[znas.SearchResult, dict[str, Any]]:
    """What was found, and what was compared."""
    request = znas.Request(**SMALL | asked)
    told: list[tuple[int, int]] = []
    setup = znas.Setup(request, Hooks(progress=lambda done, total: told.append((done, total))))
    assert setup.pareto is not None
    watched = Watched(setup.pareto.name, setup.pareto.target, setup.pareto.cost)
    object.__setattr__(watched, "seen", {"told": told})
    setup.pareto = watched
    method = znas.Method.of(request.settled(), setup.space, setup.scores)
    return znas.select(setup, method), watched.seen


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    result, _ = searched(pareto="params", max_flops="80%")
    return result.save(tmp_path_factory.mktemp("front") / "run")


# --- what a front is ---


def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    """a, b: (score, cost)"""
    return a[0] >= b[0] and a[1] <= b[1] and a != b


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=12))
def test_what_none_beats_is_that_of_brute_force(points: list[tuple[int, int]]) -> None:
    scores, costs = np.array(points, float).reshape(-1, 2).T
    expected = {b for b in points if not any(beats(a, b) for a in points)}
    found = undominated(scores, costs)
    assert [points[i] for i in found] == sorted(expected, key=lambda point: point[1])
    assert found == [points.index(points[i]) for i in found]


# --- searches ---


@pytest.mark.parametrize(
    ("pareto", "limit"), [("params", {"max_flops": "80%"}), ("memory", {"max_params": "9k"}), ("flops", {})]
)
def test_the_front_is_that_of_brute_force_over_what_was_compared(pareto: str, limit: dict[str, str]) -> None:
    result, seen = searched(pareto=pareto, **limit)
    networks = [NB201.network(NB201.genotype(mask), result.macro) for mask in seen["masks"]]
    cost, scores = [COUNTS[pareto].of(network) for network in networks], seen["scores"].tolist()
    points = list(zip(scores, cost, strict=True))
    expected = {b for b in points if not any(beats(a, b) for a in points)}
    assert [(p.score, p.cost) for p in result.front] == sorted(expected, key=lambda point: point[1])
    for point in result.front:
        network = NB201.network(point.genotype, result.macro)
        assert (point.params, point.flops) == (network.parameters, network.flops)
        assert point.cost == COUNTS[pareto].of(network)
        assert (point.predicted, point.quartiles) == (None, None)
    functions = {NB201.function_of(NB201.genotype(mask)) for mask in seen["masks"]}
    assert len(functions) == len(seen["masks"])
    for name, most in limit.items():
        (bound,) = result.limits
        counted = COUNTS[name.removeprefix("max_")]
        assert all(counted.of(network) <= bound.most for network in networks), most
    assert max(scores) == scores[0]
    assert result.genotype == NB201.genotype(seen["masks"][0])


def test_what_is_compared_is_of_every_cost() -> None:
    """Of every share of the space's costs; and without those that were added for the front the best is what a
    search without one hands over."""
    result, seen = searched(pareto="flops")
    size, rng = result.macro, np.random.default_rng(1)
    random = [NB201.network(NB201.genotype(NB201.random_path(rng)), size).flops for _ in range(300)]
    costs = [NB201.network(NB201.genotype(mask), size).flops for mask in seen["ladder"]]
    borders = np.quantile(random, [0, 0.25, 0.5, 0.75])  # above are the finalists
    assert all(np.histogram(costs, borders)[0] >= 4)
    assert FINALISTS // 2 <= len(costs) <= FINALISTS
    apart = {mask.tobytes() for mask in seen["ladder"]}
    usual = [mask for mask in seen["masks"] if mask.tobytes() not in apart]
    free = znas.search(**SMALL)
    assert free.front == ()
    assert NB201.genotype(usual[0]) == free.genotype
    assert any(" for the front" in note for note in result.notes)
    assert max(total for _, total in seen["told"]) == seen["told"][0][1] >= result.evaluations


def test_limits_that_few_random_architectures_keep() -> None:
    result, _ = searched(pareto="flops", max_params="5k")
    assert result.front
    assert all(point.params <= 5000 for point in result.front)


# --- latency ---


def milliseconds(arch: str) -> float:
    """More for every convolution, and what no model of it knows."""
    convolutions = arch.count("nor_conv_3x3") + 0.5 * arch.count("nor_conv_1x1")
    return 1 + convolutions + np.random.default_rng(sum(arch.encode())).uniform(0, 2)


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Latencies of a tenth of all cells."""
    rng = np.random.default_rng(0)
    rows = sorted({str(NB201.genotype(NB201.random_path(rng))) for _ in range(1600)})
    path = tmp_path_factory.mktemp("latency") / "phone.csv"
    path.write_text("\n".join(["arch,phone_ms", *(f"{arch},{milliseconds(arch)}" for arch in rows)]))
    return path


def test_latencies_of_a_front_are_those_of_the_table(
    phone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latencies, "MOST_ROWS", 40)
    asked = {"pareto": "latency@phone", "latency_table": phone}
    result, _ = searched(**asked)
    known = {line.partition(",")[0] for line in phone.read_text().splitlines()}
    for point in result.front:
        assert point.predicted is not None
        assert point.quartiles is None
        assert point.cost == (milliseconds(point.arch) if point.arch in known else point.predicted)
    points = [(point.score, point.cost) for point in result.front]
    assert points == sorted(points)
    assert len(set(points)) == len(points) == len({cost for _, cost in points})
    absent = sum(point.arch not in known for point in result.front)
    assert absent
    assert f"front: {absent} latencies are predicted; --latency-table has no row for them" in result.notes
    assert any("were beaten when measured" in note for note in result.notes)
    assert znas.load(result.save(tmp_path / "run")) == result


def test_the_front_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(latencies, "TEACHING", 0.01)
    monkeypatch.setattr(latencies, "MEASURED", LEAST)
    monkeypatch.setattr(latencies, "Meter", partial(latencies.Meter, seconds=0.2))
    said: list[str] = []
    request = znas.Request(**SMALL, pareto="latency", max_latency="1s@ort:cpu:1")
    setup = znas.Setup(request, Hooks(report=said.append))
    axis = setup.pareto
    assert axis is not None
    assert axis.target == "ort:cpu:1"
    masks = [np.eye(5, dtype=np.float32)[[o] * 6] for o in (3, 1)]
    front, _ = axis.front(masks, np.array([3.0, 1.0]), None, masks[0], said.append)
    assert said[0].startswith("--pareto latency is of ort:cpu:1")
    assert str(front[-1].genotype) == str(NB201.genotype(masks[0]))
    for point in front:
        assert point.predicted is not None
        assert point.quartiles is not None
        assert 0 < point.quartiles[0] <= point.cost <= point.quartiles[1]
    costs = [point.cost for point in front]
    assert costs == sorted(costs)
    assert setup.budget is not None
    assert setup.budget.bounds[0].cost is axis.cost  # what was learnt of a target is of its limits too
    assert files(front, "latency", "")["front.png"].startswith(PNG)


def test_what_is_over_a_limit_when_measured_leaves(tmp_path: Path) -> None:
    masks = [np.eye(5, dtype=np.float32)[[1, 1, 1, 1, *cell]] for cell in ((3, 3), (3, 2), (1, 3), (1, 1))]
    others = [np.eye(5, dtype=np.float32)[[o] * 6] for o in (2, 3, 4)]
    rows = zip(masks + others, (2, 9, 3, 1, 4, 4, 4), strict=True)
    (tmp_path / "phone.csv").write_text(
        "arch,phone_ms\n" + "\n".join(f"{NB201.genotype(m)},{ms}" for m, ms in rows)
    )
    asked: dict[str, Any] = {"max_latency": "5ms@phone", "latency_table": tmp_path / "phone.csv"}
    setup = znas.Setup(znas.Request(**SMALL, **asked, pareto="params"))
    assert setup.pareto is not None
    front, notes = setup.pareto.front(masks, np.array([4.0, 3.0, 2.0, 1.0]), setup.budget, masks[0], print)
    assert [point.score for point in front] == [1, 2, 4]
    assert "front: 1 were over a limit of latency when measured, and left it" in notes


# --- what is written ---


def test_a_front_that_was_saved_is_the_front_again(run: Path, tmp_path: Path) -> None:
    result, _ = searched(pareto="params", max_flops="80%")
    loaded = znas.load(run)
    assert loaded.front == result.front != ()
    assert loaded == result
    again = loaded.save(tmp_path / "again")
    for file in run.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()
    assert sum(
        p.numel() for p in znas.network(NB201, result.front[0].genotype, channels=4, cells=1).parameters()
    )


def test_files_of_a_front(run: Path) -> None:
    front = znas.load(run).front
    rows = list(csv.DictReader(io.StringIO((run / "front.csv").read_text())))
    assert [(row["arch"], float(row["score"]), int(row["params"]), int(row["flops"])) for row in rows] == [
        (point.arch, point.score, point.params, point.flops) for point in front
    ]
    assert (run / "front.png").read_bytes().startswith(PNG)
    shown = here("show", run, "--html", run.with_name("page.html"))
    assert shown.returncode == 0, shown.stderr
    assert "the front: none of those compared" in shown.stdout
    assert front[0].arch in shown.stdout
    assert "data:image/png;base64" in run.with_name("page.html").read_text()


@pytest.mark.parametrize(
    ("asked", "header"),
    [
        ("latency@phone", "arch,score,latency_ms,predicted,low,high,params,flops"),
        ("memory", "arch,score,memory_bytes,params,flops"),
    ],
)
def test_a_long_front_is_shown_in_part(asked: str, header: str) -> None:
    rng = np.random.default_rng(0)
    genotypes = [NB201.genotype(NB201.random_path(rng)) for _ in range(40)]
    quartiles = (0.5, 41.0) if "latency" in asked else None
    front = [FrontPoint(g, float(i), 1.0 + i, 2.0, quartiles, 10, 20) for i, g in enumerate(genotypes)]
    for own in (0, 1, 20, 39):
        shown: Table = table(front, asked, front[own].arch)
        ((row, column),) = shown.marked
        archs = [cells[-1] for cells in shown.rows]
        assert len(set(archs)) == SHOWN
        assert archs[row] == front[own].arch
        assert shown.rows[row][column] == str(own)
        assert (archs[0], archs[-1]) == (front[0].arch, front[-1].arch)
        assert text.render([shown])
    lines = files(front, asked, "")["front.csv"].decode().splitlines()
    assert lines[0] == header
    assert len(lines) == 41
    assert figure(front, asked, front[3].arch).png.startswith(PNG)


# --- what is refused ---


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("front", 0, "params"), 5, "`front[0].params` is 5, but its network has"),
        (("front", 0, "flops"), "x", "`front[0].flops` must be int"),
        (("front", 0, "cost"), 1.0, "`front[0].cost` is 1.0, but its network has"),
        (("front", 0, "score"), 1e9, "`front` has members that others beat"),
        (("front", 0, "quartiles"), [1.0, 2.0], "`front[0]` does not fit `request.pareto`, params"),
        (("front", 0, "predicted"), 1.0, "`front[0]` does not fit `request.pareto`, params"),
        (("front", 0, "arch"), "x", "not a NAS-Bench-201 architecture"),
        (("front", 0, "new"), 1, "unexpected keyword argument 'new'"),
        (("front",), 5, "is not what a search of znas-engine"),
        (("request", "pareto"), None, "`front` is there, but `request.pareto` is not"),
        (("request", "pareto"), "speed", "`pareto` must be one of params, flops"),
    ],
    ids=lambda part: str(part)[:30],
)
def test_a_front_that_was_edited_is_refused(
    run: Path, path: tuple[Any, ...], value: Any, said: str, tmp_path: Path
) -> None:
    plain = at = json.loads((run / "result.json").read_text())
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (tmp_path / "result.json").write_text(json.dumps(plain))
    with pytest.raises(ZnasError, match=re.escape(said)) as error:
        znas.load(tmp_path)
    assert "\n" not in str(error.value)


def test_results_of_before_have_no_front(run: Path, tmp_path: Path) -> None:
    plain = json.loads((run / "result.json").read_text())
    del plain["front"], plain["request"]["pareto"]
    (tmp_path / "result.json").write_text(json.dumps(plain))
    assert znas.load(tmp_path).front == ()
    del plain["seconds"]
    (tmp_path / "result.json").write_text(json.dumps(plain))
    with pytest.raises(DataError):
        znas.load(tmp_path)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"pareto": "speed"}, "one of params, flops, memory, latency, latency@TARGET but got 'speed'"),
        ({"pareto": "params@ort:cpu"}, "params are the same on every device: pass --pareto params"),
        ({"pareto": "latency@"}, "but got 'latency@': pass --pareto params, or latency@ort:cpu:1"),
        ({"pareto": "latency@phone"}, "or a column of --latency-table FILE, but got 'phone'"),
        ({"pareto": "latency@torch:cuda:0"}, "the target torch:cuda:0 is not here"),
        ({"pareto": "latency", "latency_table": "t.csv"}, "or --pareto latency@COLUMN too, or drop"),
        ({"pareto": 5}, "`pareto` must be text but got 5"),
        ({"pareto": "params", "finalists": 29}, "--pareto params needs --finalists 30 or more: pass it"),
        ({"pareto": "params", "finalists": None, "preset": "naswot"}, "needs --finalists 30 or more"),
        ({"pareto": "params", "finalists": None, "preset": "paper"}, "needs --finalists 30 or more"),
    ],
)
def test_what_has_no_front_is_one_line_before_the_work(asked: dict[str, Any], said: str) -> None:
    def unreached(done: int, total: int) -> None:
        raise AssertionError

    with pytest.raises(ZnasError, match=re.escape(said)) as error:
        znas.search(**SMALL | asked, progress=unreached)
    assert "\n" not in str(error.value)
