"""Searches of chains of 21 layers whose first of every stage have other candidates: limits, fronts, games."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, LinearConstraint, milp

import znas
from znas.cli import run
from znas.costs import latencies
from znas.costs.features import random_masks
from znas.costs.limits import Budget
from znas.costs.predictor import LatencyModel
from znas.costs.quantities import limits
from znas.selection.climb import neighbours
from znas.selection.finalists import losses
from znas.selection.limited import within
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Macro, get_space

pytestmark = pytest.mark.ours

SPACE = get_space("mobilenet")
SIZE = Macro(channels=8, cells=1, resolution=32, classes=10)
SMALL: dict[str, Any] = {
    **{"space": "mobilenet", "resolution": 32, "images": 4, "finalists": 4, "envs": 1},
    **{"supernet_resolution": 16, "supernet_channels": 4, "network_channels": 8},
}


@pytest.mark.parametrize(
    "method",
    [
        {},
        {"preset": "naswot", "p": 0.5},
        {"preset": "naswot", "p": 0.9, "game": "shapley", "max_evaluations": 40, "estimator": "permutation"},
        {"preset": "naswot", "p": 0.9, "selection": "sequential"},
        {"preset": "naswot", "p": 0.9, "prior": "prior.json"},
    ],
    ids=["default", "naswot", "shapley", "sequential", "prior"],
)
def test_every_method_keeps_the_limits(
    method: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "prior" in method:
        fit = "prior fit --space mobilenet --envs 2 --images 4 --resolution 16 --supernet-channels 4 --quiet"
        assert run([*fit.split(), "--backend", "native", "--out", "prior.json"]) == 0
        method = method | {"force_prior": True}
    limits_ = {"max_flops": "50%"} if method else {"max_flops": "50%", "max_params": "80%"}
    result = znas.search(**SMALL | method | limits_)
    kept = {limit.cost: limit for limit in result.limits}
    assert kept["flops"].value == result.flops <= kept["flops"].most
    assert "params" not in kept or kept["params"].value == result.params <= kept["params"].most
    assert (result.supernet.resolution, result.macro.resolution) == (16, 32)


def test_a_front_of_every_cost() -> None:
    result = znas.search(**SMALL | {"finalists": 30}, max_params="70%", pareto="flops")
    flops = [SPACE.network(point.genotype, result.macro).flops for point in result.front]
    assert len(flops) > 2
    assert flops == sorted(flops) == [point.cost for point in result.front]
    scores = [point.score for point in result.front]
    assert scores == sorted(scores)


@pytest.mark.parametrize("seed", range(3))
def test_the_best_sum_within_limits_is_that_of_a_milp(seed: int) -> None:
    rng = np.random.default_rng(seed)
    asked = (*limits("flops", f"{rng.uniform(45, 70):.4f}%"), *limits("params", "75%"))
    budget = Budget.of(asked, SPACE, SIZE, lambda target: latencies.Latencies(SPACE, SIZE, target))
    scores = np.where(SPACE.candidates, rng.normal(size=SPACE.shape), -np.inf)
    masks = within(budget, scores, {}, np.ones(21, bool), 50)
    loss = losses(scores)
    where = np.argwhere(np.isfinite(loss))
    one = (where[:, 0] == np.arange(21)[:, None]).astype(float)
    solved = milp(
        loss[tuple(where.T)],
        constraints=[LinearConstraint(one, 1, 1)]
        + [LinearConstraint(s.costs[tuple(where.T)][None] / s.most, -np.inf, 1) for s in budget.relaxed],
        integrality=np.ones(len(where)),
        bounds=Bounds(0, 1),
        options={"mip_rel_gap": 0},
    )
    assert solved.success
    found = [loss[np.arange(21), mask.argmax(1)].sum() for mask in masks]
    assert found[0] == pytest.approx(solved.fun, abs=1e-6)
    assert found == pytest.approx(sorted(found))
    assert len({SPACE.function_of(SPACE.genotype(mask)) for mask in masks}) == 50
    assert budget.keeps(np.stack(masks)).all()


def test_neighbours_have_the_candidates_of_their_layer() -> None:
    mask = SPACE.random_path(np.random.default_rng(0))
    found = list(neighbours(SPACE, mask))
    assert len(found) == SPACE.candidates.sum() - 21
    assert all((SPACE.candidates | (each == 0)).all() for each in found)
    assert len({each.tobytes() for each in found} | {mask.tobytes()}) == len(found) + 1


def test_what_cannot_be_met_names_the_smallest_chain() -> None:
    smallest = ["mb3_k3" if layer in (0, 4, 8, 12, 16, 20) else "identity" for layer in range(21)]
    least = SPACE.network(SPACE.parse(smallest), SIZE).flops
    with pytest.raises(InvalidValueError, match=f"pass --max-flops {least} or a smaller network"):
        znas.search(**SMALL, max_flops="1k")


def test_latencies_of_chains_are_predicted_from_a_few() -> None:
    """Of a device whose times are known: a sum over layers, with a cost of its own for each."""
    rng = np.random.default_rng(0)
    layer = SPACE.costs(SIZE, lambda graph: graph.flops)
    layer = np.where(SPACE.candidates, layer - np.where(SPACE.candidates, layer, np.inf).min(1)[:, None], 0)
    masks = random_masks(SPACE, 130, rng)
    ms = 1 + (masks * (0.3 + layer / layer.max())).sum((1, 2))
    genotypes = [SPACE.genotype(mask) for mask in masks]
    model = LatencyModel.fit(SPACE, SIZE, genotypes[:30], ms[:30])
    wrong = np.abs(model.of_masks(masks[30:]) / ms[30:] - 1)
    assert np.median(wrong) < 0.03


def test_a_measured_latency_is_under_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latencies, "TEACHING", 0.02)
    monkeypatch.setattr(latencies, "MEASURED", 8)
    monkeypatch.setattr(latencies, "PROCESSES", 1)
    result = znas.search(**SMALL, max_latency="10s@ort:cpu:1,10s@native:cpu:1")
    assert [limit.target for limit in result.limits] == ["ort:cpu:1", "native:cpu:1"]
    assert all(0 < limit.value <= limit.most for limit in result.limits)
