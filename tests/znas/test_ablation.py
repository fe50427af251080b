"""`reproduce ablation`: what ways to spend passes find in worlds whose truth is known, and the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.command import here, refused, supernet
from tests.znas.worlds import World
from znas.interventions.query import Query
from znas.interventions.scorer import Answer
from znas.method import Method
from znas.reproduce.ablation import ADDS, Point, choose, curves, differences
from znas.reproduce.lookups import Known, Supernet
from znas.reproduce.spending import WAYS, Found
from znas.request import Request
from znas.selection.criteria import Floats
from znas_engine.scores import get_scores
from znas_engine.spaces import Mask
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench201.genotype import OPERATIONS

pytestmark = pytest.mark.ours
SPACE = NasBench201()
SPEND = {way.name: way.spend for way in WAYS}


@dataclass
class Setting:
    """What of a setup is asked here: which scores there are."""

    scores: Any


@dataclass
class Shown:
    """A supernet whose masks have the world's scores, in every environment and by every score."""

    world: World
    setup: Setting
    asked: int = 0

    def values(self, masks: Sequence[Mask], environment: int) -> Floats:
        self.asked += len(masks)
        true = [self.world.true(mask) for mask in masks]
        return np.array([true] * len(self.setup.scores))

    def ask(self, environments: int, queries: Sequence[Query]) -> list[Answer]:
        values = np.concatenate([self.values([q.mask for q in queries], k) for k in range(environments)])
        return [Answer(column, intervened=False) for column in values.T]


def known(
    seed: int = 0,
    *,
    interacting: float = 0.0,
    noise: float = 0.0,
    environments: int = 2,
    free: Callable[[Floats], Floats] | None = None,
) -> Known:
    """All architectures without `none` and of one value each, whose scores are the world's and so are their
    accuracies. free: what a score without a pass makes of the truth."""
    world = World(SPACE, seed=seed, interacting=(0.0, interacting))
    rng = np.random.default_rng([seed, 9])
    everyone = np.eye(5, dtype=np.float32)[list(product(range(1, 5), repeat=6))]
    flat = everyone.reshape(len(everyone), -1).astype(np.float64)
    truth = flat @ world.single.ravel() + ((flat @ world.pairs) * flat).sum(1)
    assert truth[7] == pytest.approx(world.true(everyone[7]))
    scores = get_scores("naswot" if free is None else "naswot+params")
    request = Request(preset="naswot", score=scores, p=0, seed=seed).settled()
    return Known(
        method=Method.of(request, SPACE, scores),
        space=SPACE,
        everyone=everyone,
        which=np.arange(len(everyone)),
        pool=everyone,
        archs=[str(SPACE.genotype(mask)) for mask in everyone],
        accuracy=truth,
        free=np.empty((0, len(truth))) if free is None else free(truth)[None],
        paid=truth + noise * rng.normal(size=(environments, 1, len(truth))),
        passes=1,
        supernet=cast(Supernet, Shown(world, Setting(scores))),
    )


def share(world: Known, found: Found | None) -> float:
    """Of all architectures, those that are better than what was found."""
    assert found is not None
    return float((world.accuracy > world.accuracy[found.row]).mean())


def mean_share(name: str, masks: int, **world: Any) -> float:
    worlds = [known(seed, **world) for seed in range(5)]
    return float(np.mean([share(each, SPEND[name](each, masks)) for each in worlds]))


def test_do_scores_find_the_best_where_operations_add_up() -> None:
    for name, masks in (("do", 30), ("do-finalists", 80), ("shapley", 400), ("interactions", 900)):
        assert mean_share(name, masks) == 0, name
    assert mean_share("do-permuted", 80) > 0.01


def test_interactions_are_found_by_those_who_measure_them() -> None:
    assert mean_share("interactions", 900, interacting=1.0) == 0
    assert mean_share("do", 900, interacting=1.0) > 0


def test_a_free_score_that_is_right_is_enough_and_one_that_is_noise_is_chance() -> None:
    rng = np.random.default_rng(0)
    assert mean_share("shortlist", 20, free=lambda truth: truth) == 0
    noise = mean_share("shortlist", 60, free=lambda truth: rng.normal(size=len(truth)))
    assert 0.001 < noise < 0.2


def test_a_model_that_chooses_finds_more_than_chance() -> None:
    random = mean_share("random", 120, interacting=0.7, noise=0.5)
    for name in ("active", "active-do"):
        assert mean_share(name, 120, interacting=0.7, noise=0.5) < 0.6 * random, name


def test_random_ones_are_the_best_of_those_that_were_measured() -> None:
    world = known(environments=1)
    found = SPEND["random"](world, 50)
    measured = [*world.shuffled[:25], *world.shuffled[-25:]]
    assert found == Found(max(measured, key=lambda row: world.accuracy[row]), 50)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 500), st.integers(1, 3))
def test_no_way_spends_more_than_it_may(masks: int, environments: int) -> None:
    world = known(environments=environments, free=lambda truth: truth**2)
    for way in WAYS:
        if not way.name.startswith("active") and way.there(world):
            found = way.spend(world, masks)
            assert found is None or 0 < found.masks <= masks, way.name
            if found is not None and way.name == "random":
                assert found.masks > 0.6 * masks - 10


@pytest.mark.parametrize("masks", [5, 40, 77, 200])
def test_a_model_that_chooses_spends_all_and_no_more(masks: int) -> None:
    world = known(noise=0.2)
    for name, least in (("active", 8), ("active-do", 38)):
        found = SPEND[name](world, masks)
        assert (found is None) if masks < least else (found is not None and found.masks == masks)


def test_ways_without_what_they_need_are_left_out() -> None:
    there = {way.name for way in WAYS if way.there(known())}
    assert "shortlist" not in there
    assert "prior" in there


def points(name: str, accuracies: dict[int, list[float]]) -> list[Point]:
    return [
        Point(name, budget, seed, "a", accuracy, budget)
        for budget, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


def test_what_is_added_is_of_the_same_seed_and_has_students_interval() -> None:
    found = points("do-finalists", {100: [3.0, 5.0, 7.0], 200: [1.0, 2.0, 3.0]})
    found += points("do-permuted", {100: [2.0, 3.0, 4.0]})
    data = differences(found, [100, 200]).data
    (row,) = data["rows"]
    (at,) = row["budgets"]
    assert (row["first"], row["second"], at["budget"]) == ("do-finalists", "do-permuted", 100)
    assert at["values"] == [1.0, 2.0, 3.0]
    half = 4.302652729911275 / 3**0.5  # t with 2 degrees of freedom, deviation 1
    assert (at["mean"], at["low"], at["high"]) == pytest.approx((2.0, 2 - half, 2 + half))
    sheet = curves(choose(None), found, [100, 200], [])
    assert sheet.cells[0] == ["do-finalists", "5.00 ± 4.97 (3.00)", "2.00 ± 2.48 (1.00)"]


def test_all_that_is_compared_is_a_way() -> None:
    assert {name for first, second, _ in ADDS for name in (first, second)} <= set(SPEND)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells, accurate by their convolutions."""
    path = tmp_path_factory.mktemp("tables") / "cells.csv"
    with path.open("w") as file:
        file.write("arch,cifar10_test\n")
        for operations in product(OPERATIONS, repeat=6):
            accuracy = 50 + 6 * operations.count("nor_conv_3x3") + operations.count("nor_conv_1x1")
            file.write(f"{NasBench201Genotype(operations)},{accuracy}\n")
    return path


def given_(table: Path, out: Path) -> list[str]:
    small = [*("--data", "gaussian"), *supernet(2, 1, 8, 8), "--envs", "2", "--architectures", "40"]
    return ["reproduce", "ablation", "--table", str(table), "--out", str(out), *small, "-q"]


def test_the_command_looks_up_and_goes_on(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = here(*given_(table, out), "--seeds", "1", "--passes", "60,100", "--json")
    assert first.returncode == 0, first.stderr
    before = {path: path.read_bytes() for path in (out / "ablation").rglob("*.work")}
    assert {path.name for path in before} == {"scores.work", "supernet.work"}
    again = here(*given_(table, out), "--seeds", "2", "--passes", "100,60", "--json")
    assert again.returncode == 0, again.stderr
    assert {path: path.read_bytes() for path in before} == before
    one, two = json.loads(first.stdout), json.loads(again.stdout)
    for row, longer in zip(one["rows"], two["rows"], strict=True):
        for at, more in zip(row["budgets"], longer["budgets"], strict=True):
            assert more["values"][:1] == at["values"]
            assert more["passes"] <= more["budget"]
            assert more["values"] == [
                50 + 6 * arch.count("conv_3x3") + arch.count("conv_1x1") for arch in more["architectures"]
            ]
    written = json.loads((out / "ablation.json").read_text())
    assert two.pop("ablation-differences") == json.loads((out / "ablation-differences.json").read_text())
    assert two == written
    assert (out / "ablation.png").read_bytes().startswith(b"\x89PNG")
    with (out / "ablation.csv").open(newline="") as file:
        assert {row["way"] for row in csv.DictReader(file)} == {row["way"] for row in written["rows"]}


def test_scores_are_those_of_a_correlation_in_the_folder_of_the_seed(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = out / "ablation" / "seed-0"
    options = [*given_(table, folder), "--scores", "cell_path_norm,live_flops,naswot,isometry"]
    options[1] = "correlation"
    assert here(*options, "--norm", "batch").returncode == 0
    before = (folder / "scores.work").read_bytes()
    done = here(*given_(table, out), "--seeds", "1", "--passes", "60", "--ways", "random,shortlist")
    assert done.returncode == 0, done.stderr
    assert (folder / "scores.work").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ways", "rndom"], "random"),
        (["--passes", "many"], "`passes` must be whole numbers such as 100,400 but got 'many'"),
        (["--passes", "1"], "`passes` must be between 2"),
        (["--score", "params+flops"], "--score params+flops needs no pass"),
        (["--seeds", "0"], "seeds"),
        (["--architectures", "1"], "`architectures` must be between 2"),
    ],
)
def test_mistakes_are_one_line(options: list[str], said: str, table: Path, tmp_path: Path) -> None:
    assert said in refused(here(*given_(table, tmp_path / "out"), *options))
