"""Limits on what a network costs: how they are written, what is counted, and that the best of those that keep
them is selected."""

from __future__ import annotations

import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

import znas
from znas.costs import latencies
from znas.costs.counts import COUNTS, memory
from znas.costs.features import random_masks
from znas.costs.limits import Additive, Budget
from znas.costs.quantities import in_words, limits
from znas.limits import settled
from znas.selection.finalists import losses
from znas.selection.in_order import in_order, under
from znas.selection.limited import topologies, within
from znas_engine.errors import InvalidValueError, ZnasError
from znas_engine.graph import Builder
from znas_engine.spaces import Macro, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
NB201_SIZE = NB201.evaluation_macro(resolution=32, classes=10)
DARTS_SIZE = Macro(channels=4, cells=3, resolution=16, classes=10)
SMALL: dict[str, Any] = {
    **{"supernet_channels": 4, "supernet_cells": 1, "resolution": 16, "images": 8},
    **{"network_channels": 4, "network_cells": 1},
}


# --- how they are written ---


@pytest.mark.parametrize(
    ("cost", "written", "most"),
    [
        ("params", "300k", 300e3),
        ("params", " 1.2M ", 1.2e6),
        ("params", 300_000, 300e3),
        ("params", np.int64(7), 7),
        ("flops", "60M", 60e6),
        ("flops", "1.5 GFLOPs", 1.5e9),
        ("flops", "5e6", 5e6),
        ("memory", "2M", 2e6),
        ("memory", "512 KiB", 512 * 1024),
        ("memory", "1MB", 1e6),
        ("latency", "3ms@ort:cpu:1", 3),
        ("latency", "250 us @ native:cpu", 0.25),
        ("latency", "1s@raspi4_ms", 1000),
    ],
)
def test_a_limit_is_read_with_its_unit(cost: str, written: Any, most: float) -> None:
    (limit,) = limits(cost, written)
    assert (limit.cost, limit.share) == (cost, False)
    assert limit.most == pytest.approx(most, rel=1e-12)


def test_shares_and_several_latencies() -> None:
    (share,) = limits("params", "60%")
    assert (share.share, share.most) == (True, 0.6)
    first, second = limits("latency", "1ms@ort:cpu:1,60%@native:cpu")
    assert (first.target, second.target, second.share) == ("ort:cpu:1", "native:cpu", True)


@pytest.mark.parametrize(
    ("cost", "written", "said"),
    [
        ("params", "3ms", "'3ms', and ms is of --max-latency: pass --max-params 300k"),
        ("params", "300", None),
        ("params", "1KiB", "and KiB is of --max-memory"),
        ("flops", "1KiB", "and KiB is of --max-memory"),
        ("flops", "many", "such as 60M, 1.2G or 60% of the largest but got 'many'"),
        ("memory", "-3", "'-3'"),
        ("memory", "0", "must be above 0"),
        ("params", "140%", "at most 100%"),
        ("params", "1e999", "must be above 0"),
        ("params", float("nan"), "a finite number"),
        ("params", True, "a finite number"),
        ("latency", "3ms", "does not say where it is measured: pass --max-latency 3ms@ort:cpu:1"),
        ("latency", 3, "such as 3ms@ort:cpu:1"),
        ("latency", "300k@ort:cpu", "and k is of --max-params"),
        ("flops", "60M@ort:cpu", "flops are the same on every device"),
        ("params", "300k,", "but got ''"),
    ],
)
def test_mixed_units_are_one_line(cost: str, written: Any, said: str | None) -> None:
    if said is None:
        assert limits(cost, written)[0].most == 300
        return
    with pytest.raises(InvalidValueError, match=re.escape(said)) as error:
        limits(cost, written)
    assert "\n" not in str(error.value)


@given(st.floats(1, 1e12), st.sampled_from(["params", "flops", "memory"]))
def test_what_is_said_of_a_quantity_is_what_it_is(value: float, cost: str) -> None:
    text = in_words(cost, value).replace(",", "")
    assert limits(cost, text)[0].most == pytest.approx(value, rel=5e-4, abs=1)


# --- what is counted ---


def test_peak_memory_of_a_network_by_hand() -> None:
    b = Builder()
    images = b.input(3, 8)  # 192 numbers
    wide = b.relu("relu", b.norm("norm", b.conv("wide", images, 8, 3, padding=1)))  # 512, in one place
    b.conv("dead", wide, 64, 1)  # 4,096 that nobody reads
    half = b.conv("half", wide, 4, 1)  # 256
    other = b.conv("other", wide, 4, 1)  # 256
    same = b.mixed("same", [(half, None)], b.shape(half))  # no copy
    last = b.add("sum", [same, other])  # over one of them
    b.linear("classifier", b.global_average("pool", last), 10)
    graph = b.graph()
    assert memory(graph) == 4 * (512 + 256 + 256)


@pytest.mark.parametrize(
    ("space", "size"), [(NB201, NB201_SIZE), (DARTS, DARTS_SIZE)], ids=["nb201", "darts"]
)
def test_peak_memory_is_between_its_largest_value_and_all_of_them(
    space: SearchSpace[Any], size: Macro
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        graph = space.network(space.genotype(space.random_path(rng)), size)
        live = [i for i, (a, b) in enumerate(zip(graph.live(None), graph.fed(None), strict=True)) if a and b]
        values = [4 * int(np.prod(graph.nodes[i].shape)) for i in live]
        assert max(values) <= memory(graph) <= sum(values)


# --- the best that keeps them ---


@cache
def budget_of(space: SearchSpace[Any], size: Macro, **asked: str) -> Budget:
    found = tuple(each for name, written in asked.items() for each in limits(name, written))
    return Budget.of(found, space, size, lambda target: latencies.Latencies(space, size, target))


def cell_params(operations: tuple[int, ...]) -> int:
    """Of the whole network, from the paper's description: stem, two residual blocks, classifier, 15 cells."""
    rest = 16 * 27 + 32 + 2 * 64 + 64 * 10 + 10
    for c in (32, 64):
        rest += c // 2 * c * 9 + 2 * c + c * c * 9 + 2 * c + c // 2 * c
    each = {2: lambda c: c * c + 2 * c, 3: lambda c: 9 * c * c + 2 * c}
    return rest + sum(5 * each[o](c) for o in operations if o in each for c in (16, 32, 64))


@pytest.mark.parametrize("most", [73_306, 120_000, 300_000, 700_000])
def test_additive_selection_is_that_of_brute_force_over_all_cells(most: int) -> None:
    rng = np.random.default_rng(most)
    budget = budget_of(NB201, NB201_SIZE, params=str(most))
    scores = rng.normal(size=(6, 5))
    (mask,) = within(budget, scores, {}, np.ones(6, bool), 1)
    loss = losses(scores)
    every = [
        (float(loss[np.arange(6), cell].sum()), cell)
        for cell in itertools.product(range(5), repeat=6)
        if cell_params(cell) <= most and NB201.admits(np.eye(5, dtype=np.float32)[list(cell)])
    ]
    best, _ = min(every)
    assert loss[np.arange(6), mask.argmax(1)].sum() == pytest.approx(best)
    assert NB201.network(NB201.genotype(mask), NB201_SIZE).parameters == cell_params(tuple(mask.argmax(1)))
    if most == 120_000:
        ordered = within(budget, scores, {}, np.ones(6, bool), 300)
        cells = [np.eye(5, dtype=np.float32)[list(cell)] for _, cell in every]
        functions = {NB201.function_of(NB201.genotype(cell)) for cell in cells}
        assert len(ordered) == min(300, len(functions))
        assert all(cell_params(tuple(mask.argmax(1))) <= most for mask in ordered)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.9), st.floats(0.02, 0.9))
def test_choices_under_two_limits_come_in_order(seed: int, first: float, second: float) -> None:
    rng = np.random.default_rng(seed)
    loss = rng.exponential(size=(4, 4))
    rows = [rng.integers(0, 50, size=(4, 4)).astype(float) for _ in range(2)]
    bounds = [
        Additive(costs, costs.min(1).sum() + share * (costs.max(1).sum() - costs.min(1).sum()))
        for costs, share in zip(rows, (first, second), strict=True)
    ]
    every = [np.array(c) for c in itertools.product(range(4), repeat=4)]
    expected = sorted(loss[range(4), c].sum() for c in every if all(bound.keeps(c) for bound in bounds))
    found = list(under(loss, bounds, 10**6))
    assert [value for value, _ in found] == pytest.approx(expected)
    assert all(bound.keeps(choice) for _, choice in found for bound in bounds)


@pytest.mark.parametrize("seed", range(6))
def test_additive_selection_on_darts_is_that_of_a_milp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.3, 0.8)
    budget = budget_of(DARTS, DARTS_SIZE, params=f"{100 * share:.4f}%", flops="70%")
    scores = np.where(DARTS.candidates, rng.normal(size=DARTS.shape), -np.inf)
    worth = dict(enumerate(rng.normal(size=len(DARTS.edges))))
    kept = DARTS.mask(DARTS.genotype(DARTS.random_path(rng))).any(1)
    while kept.sum() < 16:  # a node may have drawn one edge twice
        kept = DARTS.random_path(rng).any(1)
    (mask,) = within(budget, scores, worth, kept, 1)
    edges, loss = np.flatnonzero(kept), losses(scores)[kept]
    where = np.argwhere(np.isfinite(loss))
    one = (where[:, 0] == np.arange(len(edges))[:, None]).astype(float)
    sums = [limit.of(edges) for limit in budget.relaxed]
    solved = milp(
        loss[tuple(where.T)],
        constraints=[LinearConstraint(one, 1, 1)]
        + [LinearConstraint(s.costs[tuple(where.T)][None] / s.most, -np.inf, 1) for s in sums],
        integrality=np.ones(len(where)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert solved.success
    assert losses(scores)[edges, mask[edges].argmax(1)].sum() == pytest.approx(solved.fun, abs=1e-6)
    graph = DARTS.network(DARTS.genotype(mask), DARTS_SIZE)
    assert np.array_equal(mask.any(1), kept)
    assert all(COUNTS[b.limit.cost].of(graph) <= b.most for b in budget.bounds)


def test_other_edges_are_kept_where_those_of_most_worth_cannot() -> None:
    """In the order of what they are worth, each once."""
    worth = dict(enumerate(np.random.default_rng(0).normal(size=len(DARTS.edges))))
    best = np.ones(len(DARTS.edges), bool)
    for into in DARTS.contested_nodes():
        best[sorted(into, key=lambda e: -worth[e])[2:]] = False
    found = list(itertools.islice(topologies(DARTS, worth, best), 40))
    values = [sum(worth[e] for e in np.flatnonzero(kept)) for kept in found]
    assert np.array_equal(found[0], best)
    assert values == pytest.approx(sorted(values, reverse=True))
    assert len({kept.tobytes() for kept in found}) == 40
    assert all(kept[into].sum() == 2 for kept in found for into in DARTS.contested_nodes())


def test_without_limits_the_order_is_that_of_sums() -> None:
    loss = np.array([[0.0, 1.0, np.inf], [0.0, 0.25, 0.5]])
    assert [value for value, _ in in_order(loss)] == [0.0, 0.25, 0.5, 1.0, 1.25, 1.5]


# --- searches ---


@pytest.mark.parametrize(
    "method",
    [
        {},
        {"preset": "naswot"},
        {"preset": "naswot", "p": 1.0},
        {"preset": "naswot", "p": 0.0, "game": "shapley"},
        {"preset": "naswot", "p": 0.0, "game": "interaction"},
        {"preset": "naswot", "selection": "sequential"},
        {"preset": "naswot", "p": 0.0, "race": 0.9, "images": 64},
        {"score": "flops+path_norm", "finalists": 20},
    ],
    ids=["default", "naswot", "drawn", "shapley", "interaction", "sequential", "race", "costs"],
)
def test_every_method_keeps_the_limits(method: dict[str, Any], tmp_path: Path) -> None:
    asked = {"max_params": "9k", "max_flops": "60%", "max_memory": 13_000}
    result = znas.search(**{"finalists": 1, **SMALL, **method, **asked})
    network = NB201.network(result.genotype, result.macro)
    every_conv = NB201.genotype(np.eye(5, dtype=np.float32)[[3] * 6])
    largest = NB201.network(every_conv, result.macro)
    assert result.params <= 9_000
    assert result.flops <= 0.6 * largest.flops
    assert memory(network) <= 13_000
    params, flops, peak = result.limits
    assert (params.value, flops.value, peak.value) == (result.params, result.flops, memory(network))
    assert flops.most == pytest.approx(0.6 * largest.flops)
    assert params.price is not None
    assert params.price >= 0
    assert peak.price is None
    again = znas.load(result.save(tmp_path / "run"))
    assert again.limits == result.limits
    assert again.request.max_memory == "13000"


def test_limits_that_do_not_bind_change_nothing() -> None:
    free = znas.search(preset="naswot", p=0.0, **SMALL)
    limited = znas.search(preset="naswot", p=0.0, max_params="100%", max_flops="100G", **SMALL)
    assert free.arch == limited.arch
    assert [limit.price for limit in limited.limits] == [0, 0]


@pytest.mark.parametrize("cost", ["params", "flops"])
def test_the_largest_keeps_a_limit_of_all_of_it(cost: str) -> None:
    """Its count and the limit are sums of floats in different orders."""
    whole = NB201.mask(NB201.parse([3] * 6))
    for channels in range(3, 40):
        budget = budget_of(NB201, Macro(channels, 1, 16, 10), **{cost: "100%"})
        mask, (limit,), _ = settled([whole], np.zeros((6, 5)), budget)
        assert mask is whole
        assert limit.value == pytest.approx(limit.most)


def test_the_size_of_the_network_is_not_that_of_the_supernet() -> None:
    result = znas.search(preset="naswot", p=1.0, **{**SMALL, "network_channels": 8, "network_cells": 2})
    assert (result.supernet.channels, result.macro.channels, result.macro.cells) == (4, 8, 2)
    assert sum(p.numel() for p in result.to_torch().parameters()) == result.params


@pytest.mark.parametrize(
    ("most", "width"), [("1k", 4), ("9k", 4), ("60k", None), ("100G", 24)], ids=["none", "few", "some", "all"]
)
def test_limits_choose_from_a_range_of_sizes(most: str, width: int | None) -> None:
    """The largest of which half of the architectures keep them: counted here one by one."""
    said: list[str] = []
    asked = {**SMALL, "preset": "naswot", "p": 1.0, "network_channels": "4-24", "max_params": most}
    if most == "1k":
        with pytest.raises(InvalidValueError, match="with C=4 and 1 cells"):
            znas.search(**asked)
        return
    result = znas.search(**asked, report=said.append)
    assert width is None or result.macro.channels == width
    assert f"network: C={result.macro.channels}, 1 cells" in " ".join(said)
    (limit,) = result.limits
    assert limit.value == result.params <= limit.most
    masks = random_masks(NB201, 200, np.random.default_rng(0))
    for channels in range(4, 25, 4):
        size = Macro(channels, 1, 16, 10)
        params = [NB201.network(NB201.genotype(mask), size).parameters for mask in masks[:60]]
        share = np.mean([each <= limit.most for each in params])
        if channels <= result.macro.channels:
            assert share > 0.3
        else:
            assert share < 0.7


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"network_channels": "8-16"}, "limits choose from a range"),
        ({"network_cells": "5-2", "max_params": "1M"}, "must begin with the smaller number, 2-5"),
        ({"network_cells": "many", "max_params": "1M"}, "must be a number or a range"),
        ({"network_channels": "1-8", "max_params": "1M"}, "between 2 and 512"),
        ({"network_channels": 1.5}, "whole number"),
    ],
)
def test_sizes_that_cannot_be_are_one_line(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(said)) as error:
        znas.search(**{**SMALL, "preset": "naswot", "p": 1.0, **asked})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max_params": "1k", "network_channels": 16, "network_cells": 5}, "pass --max-params 73306 or"),
        ({"max_flops": "1k"}, "nasbench201 with C=4 and 1 cells has at most 1 k multiply-accumulates"),
        ({"max_memory": "1k"}, "at most 1 kB of activations: the smallest of 200 random ones"),
    ],
)
def test_what_cannot_be_met_names_what_can(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(said)) as error:
        znas.search(**{**SMALL, "preset": "naswot", "p": 1.0, **asked})
    assert "\n" not in str(error.value)
    assert len(str(error.value)) <= 300


def test_the_least_that_is_named_can_be_met() -> None:
    with pytest.raises(InvalidValueError) as error:
        znas.search(preset="naswot", p=1.0, max_params=1, **SMALL)
    (least,) = re.findall(r"--max-params (\d+)", str(error.value))
    assert znas.search(preset="naswot", p=1.0, max_params=int(least), **SMALL).params == int(least)


# --- latency ---


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 cells with milliseconds that are a function of them: 1, and more for every convolution."""
    rng = np.random.default_rng(0)
    rows = {str(NB201.genotype(NB201.random_path(rng))) for _ in range(120)}
    lines = [f"{arch},{1 + arch.count('nor_conv_3x3') + 0.5 * arch.count('nor_conv_1x1')}" for arch in rows]
    path = tmp_path_factory.mktemp("latency") / "phone.csv"
    path.write_text("\n".join(["arch,phone_ms", *lines]))
    return path


def conv_ms(arch: str) -> float:
    return 1 + arch.count("nor_conv_3x3") + 0.5 * arch.count("nor_conv_1x1")


@pytest.mark.parametrize("written", ["2.6ms@phone", "50%@phone_ms"])
def test_a_device_elsewhere_limits_by_its_table(written: str, table: Path) -> None:
    result = znas.search(preset="naswot", p=0.0, max_latency=written, latency_table=table, **SMALL)
    (limit,) = result.limits
    assert limit.value <= limit.most
    assert limit.predicted is not None
    assert limit.quartiles is None
    there = result.arch in table.read_text()
    assert limit.value == pytest.approx(conv_ms(result.arch) if there else limit.predicted)
    assert there or any("no row" in note for note in result.notes)
    assert conv_ms(result.arch) <= 1.1 * limit.most


def test_a_measured_latency_is_under_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "TEACHING", 0.02)
    monkeypatch.setattr(latencies, "MEASURED", 8)
    said: list[str] = []
    asked = {"max_latency": "10s@ort:cpu:1,10s@native:cpu", "max_params": "60%"}
    result = znas.search(preset="naswot", p=0.0, **SMALL, **asked, report=said.append)
    params, *latencies_ = result.limits
    assert [limit.target for limit in latencies_] == ["ort:cpu:1", "native:cpu:1"]
    for limit in latencies_:
        assert limit.quartiles is not None
        assert 0 < limit.quartiles[0] <= limit.value <= limit.quartiles[1]
        assert limit.value <= limit.most
    assert params.value == result.params
    assert sum("held out" in line for line in said) == 2
    again = znas.load(result.save(tmp_path / "run"))
    assert again.limits == result.limits


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"max_latency": "3ms@phone"}, "or a column of --latency-table FILE, but got 'phone'"),
        ({"max_latency": "3ms@ort:tpu"}, "ort:cpu"),
        ({"max_latency": "3ms@torch:cuda:0"}, "the target torch:cuda:0 is not here"),
        ({"max_latency": "1us@phone", "latency_table": "phone.csv"}, "of 200 random ones has"),
        ({"max_latency": "1ms@fone", "latency_table": "phone.csv"}, "phone"),
        ({"max_latency": "1ms@phone", "latency_table": "gaps.csv"}, "gaps.csv, column 'phone_ms'"),
        ({"max_latency": "1ms@phone", "latency_table": "none.csv"}, "none.csv"),
    ],
)
def test_latencies_that_cannot_be_had_are_one_line(asked: dict[str, str], said: str, table: Path) -> None:
    gaps = table.with_name("gaps.csv")
    gaps.write_text(table.read_text().replace(",1.5\n", ",\n"))
    if "latency_table" in asked:
        asked = asked | {"latency_table": str(table.with_name(asked["latency_table"]))}
    with pytest.raises(ZnasError, match=re.escape(said)) as error:
        znas.search(preset="naswot", p=1.0, **SMALL, **asked)
    assert "\n" not in str(error.value)
