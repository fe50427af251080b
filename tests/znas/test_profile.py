"""What a space offers and what an architecture costs, against the networks themselves."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import znas
from tests.ragged import Ragged, Uneven
from znas.cli import main
from znas.costs.counts import COUNTS
from znas.costs.latency import measure_latency
from znas.output import text
from znas.profile import ArchitectureProfile, SpaceProfile, depth
from znas.searchers import MostParameters, Task
from znas.selection.aggregate import mean
from znas.selection.members import members
from znas_engine.errors import InvalidValueError, ZnasError
from znas_engine.graph import Builder, Graph
from znas_engine.spaces import Macro, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
TINY: dict[str, Any] = {"channels": 4, "cells": 1, "resolution": 8}
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def of_space(space: Any, **options: Any) -> SpaceProfile:
    found = znas.profile(space, **TINY | options)
    assert isinstance(found, SpaceProfile)
    return found


def networks(space: SearchSpace[Any], macro: Macro) -> list[Graph]:
    """Of all that are admitted."""
    return [space.network(space.genotype(mask), macro) for mask in members(space) if space.admits(mask)]


@pytest.mark.parametrize("space", [Ragged(), Uneven()], ids=["sums", "no sums"])
def test_a_listed_space_against_all_of_its_networks(space: Ragged) -> None:
    found = of_space(space, samples=60)
    graphs = networks(space, found.macro)
    assert (found.architectures, found.functions, len(graphs)) == (6, None, 5)
    for name in ("params", "flops"):
        counts = [COUNTS[name].of(graph) for graph in graphs]
        spread = found.costs[name]
        assert (spread.smallest, spread.largest) == (min(counts), max(counts))
        if not isinstance(space, Uneven):
            assert spread.exact
            assert spread.median == np.median(counts)
            assert spread.of == "all 5 that are admitted"
        else:
            assert not spread.exact
            assert spread.of == "60 random"


def test_a_space_whose_members_are_listed() -> None:
    found = of_space(NB201, samples=20)
    assert "15,625 architectures, 5,227 functions" in text.render(found.document().parts)
    assert found.architectures == 15625
    assert found.functions == len(NB201.functions())
    assert found.costs["params"].of == "all 15,284 that are admitted"
    full = NB201.network(NB201.parse([3] * 6), found.macro)
    least = NB201.network(NB201.parse([0, 0, 0, 1, 0, 0]), found.macro)
    for name in ("params", "flops"):
        assert found.costs[name].exact
        assert found.costs[name].largest == COUNTS[name].of(full)
        assert found.costs[name].smallest == COUNTS[name].of(least)
    assert not found.costs["memory"].exact
    assert found.costs["memory"].smallest <= COUNTS["memory"].of(least)


def test_a_space_that_is_too_large_to_list() -> None:
    """The ends are exact, node by node, and the median is of a sample."""
    found = of_space(DARTS, samples=10, cells=3)
    largest = MostParameters().choose(
        Task(DARTS, found.macro, lambda masks: masks[:, 0], mean, np.random.default_rng(0))
    )
    assert found.costs["params"].largest == DARTS.network(DARTS.genotype(largest), found.macro).parameters
    free = DARTS.parse(
        {
            "normal": [("skip_connect", 0), ("skip_connect", 1)] * 4,
            "normal_concat": range(2, 6),
            "reduce": [("max_pool_3x3", 0), ("max_pool_3x3", 1)] * 4,
            "reduce_concat": range(2, 6),
        }
    )
    assert found.costs["params"].smallest == DARTS.network(free, found.macro).parameters
    for name in ("params", "flops"):
        spread = found.costs[name]
        assert (spread.exact, spread.of) == (True, "10 random")
        assert spread.smallest < spread.median < spread.largest
    assert found.functions is None


def test_the_same_seed_draws_the_same_sample() -> None:
    one, again, other = (of_space(Uneven(), samples=5, seed=seed) for seed in (1, 1, 2))
    assert one.to_dict() == again.to_dict() != other.to_dict()


def test_an_architecture_is_counted_with_what_is_dead() -> None:
    """Both convolutions lie on a way through the identity between nodes 1 and 2."""
    found = znas.profile("nasbench201", CELL, classes=5, **TINY)
    assert isinstance(found, ArchitectureProfile)
    graph = NB201.network(NB201.parse(CELL), found.macro)
    assert found.costs == {name: cost.of(graph) for name, cost in COUNTS.items()}
    assert found.live == {"params": found.costs["params"], "flops": found.costs["flops"]}
    assert found.macro == Macro(channels=4, cells=1, resolution=8, classes=5)
    # stem, 2 layers in each of 3 cells, 2 in each of 2 residual blocks, classifier
    assert found.depth == 1 + 3 * 2 + 2 * 2 + 1
    dead = znas.profile("nasbench201", CELL.replace("skip_connect~1", "none~1"), classes=5, **TINY)
    assert isinstance(dead, ArchitectureProfile)
    assert dead.costs["params"] == found.costs["params"]
    assert dead.live["params"] < dead.costs["params"]
    assert dead.live["flops"] < dead.costs["flops"]
    assert dead.depth == found.depth - 3 * 2


def test_depth_is_of_the_longest_way() -> None:
    b = Builder()
    images = b.input(3, 8)
    short = b.conv("short", images, 4, 1)
    long = b.conv("long.1", b.relu("r", b.conv("long.0", images, 4, 1)), 4, 1)
    b.linear("classifier", b.global_average("pool", b.add("sum", [short, long])), 2)
    assert depth(b.graph()) == 3


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main(["profile", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    size = [f"--{name}={value}" for name, value in TINY.items()]
    code, said, err = command(capsys, "tests.ragged:Ragged", "--samples", "5", *size)
    assert (code, err) == (0, "")
    assert "ragged: 6 architectures\n" in said
    assert "smallest: what a limit can be at least" in said
    for name in COUNTS:
        assert f"\n{name} (" in said
    code, said, _ = command(capsys, "tests.ragged:Ragged", "--samples", "5", "--json", *size)
    assert json.loads(said) == of_space(Ragged(), samples=5).to_dict()
    code, said, _ = command(capsys, "nasbench201", CELL, *size)
    assert said.startswith(CELL)
    assert "depth       12 layers with weights" in said
    code, said, _ = command(capsys, "nasbench201", CELL, "--json", *size)
    assert json.loads(said)["arch"] == CELL


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (["nasbench"], "unknown search space 'nasbench'"),
        (["nasbench201", "x"], "not a NAS-Bench-201 architecture: 'x'"),
        (["nasbench201", "--resolution", "31"], "must be a multiple of 4 pixels"),
        (["nasbench201", "--samples", "0"], "`samples` must be between 1 and 100,000"),
        (["nasbench201", "--channels", "1"], "`channels` must be between 2 and 512"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = command(capsys, *arguments)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert wrong in err


def test_numbers_of_another_kind_are_refused() -> None:
    for wrong in ({"samples": 1.5}, {"seed": -1}, {"progress": 3}):
        with pytest.raises(InvalidValueError):
            znas.profile("nasbench201", **TINY | wrong)


# --- latency ---


def test_latency_of_an_architecture_and_of_a_space(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured of the one; of the other predicted from a few that were measured, and the error is said."""
    monkeypatch.setattr(sys.modules["znas.profile"], "measure_latency", partial(measure_latency, seconds=0.2))
    monkeypatch.setattr("znas.costs.latencies.TEACHING", 0.2)
    found = znas.profile("nasbench201", CELL, latency="native:cpu", **TINY)
    assert isinstance(found, ArchitectureProfile)
    assert found.latency is not None
    assert 0 < found.latency.low_ms <= found.latency.median_ms <= found.latency.high_ms
    assert json.loads(json.dumps(found.to_dict()))["latency"]["target"] == "native:cpu:1"
    space = of_space(NB201, samples=3, latency="native:cpu", measured=6)
    assert space.latency is not None
    assert space.latency.measured == 6
    spread = space.latency.spread
    assert 0 < spread.smallest <= spread.median <= spread.largest
    assert spread.of == "15,284 architectures, predicted"
    document = text.render(space.document().parts)
    assert "latency on native:cpu:1" in document
    assert "held out: median error" in document


def test_targets_that_are_not_here_are_refused_first() -> None:
    for target, wrong in (("ort:tpu", "`target` must be ort:cpu"), ("torch:cuda:0", "is not here")):
        with pytest.raises(ZnasError, match=wrong):
            znas.profile("nasbench201", latency=target, progress=unreached, **TINY)
    with pytest.raises(InvalidValueError, match="`measured` must be between 6 and 5"):
        of_space(Ragged(), latency="native:cpu", progress=unreached)
    with pytest.raises(InvalidValueError, match="`measured` must be between 6"):
        znas.profile("nasbench201", latency="native:cpu", measured=5, progress=unreached, **TINY)


def unreached(done: int, total: int) -> None:
    raise AssertionError("work has begun")
