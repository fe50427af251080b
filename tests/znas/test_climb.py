"""A final round under limits goes on to neighbours; what a prediction may be wrong about is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from znas.costs.latencies import Latencies
from znas.costs.latency_table import LatencyTable
from znas.costs.limits import UNSURE, Bound, Budget, Counted
from znas.costs.quantities import Limit
from znas.limits import MEASURED, settled
from znas.selection.climb import WIDTH, climb, neighbours
from znas.selection.finalists import functions
from znas.selection.members import members
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
SIZE = NB201.evaluation_macro(resolution=32, classes=10)
SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
@given(seed=SEEDS)
def test_a_neighbour_differs_in_one_edge_and_keeps_as_many(space: SearchSpace[Any], seed: int) -> None:
    mask = space.random_path(np.random.default_rng(seed))
    found = [each.tobytes() for each in neighbours(space, mask)]
    assert len(set(found)) == len(found)
    into = [edges for edges in space.contested_nodes() if edges]
    for each in neighbours(space, mask):
        gone, new = np.flatnonzero((mask - each).max(1)), np.flatnonzero((each - mask).max(1))
        assert (len(gone), len(new)) == (1, 1)
        assert gone[0] == new[0] or any({gone[0], new[0]} <= set(edges) for edges in into)
        assert each.sum() == mask.sum()
        assert all(each[edges].sum() == space.in_edges for edges in into)
        assert space.candidates[new[0]][each[new[0]].argmax()]


def test_numbers_of_neighbours() -> None:
    assert len(list(neighbours(NB201, NB201.random_path(np.random.default_rng(0))))) == 6 * 4
    # Two cells; nodes of 2, 3, 4 and 5 in-edges keep 2, on which 6 other operations; or 7 on each other one.
    assert len(list(neighbours(DARTS, DARTS.random_path(np.random.default_rng(0))))) == 2 * 2 * (
        4 * 6 + (0 + 1 + 2 + 3) * 7
    )


def score(masks: Mask) -> Any:
    """What no sum over edges is."""
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    weights = np.random.default_rng(5).normal(size=(flat.shape[1], 12))
    return np.sin(flat @ weights).sum(1)


def exact(cost: str, most: float) -> Budget:
    limit = Limit(cost, most, False, None, str(most))
    return Budget(NB201, SIZE, (Bound(limit, most, Counted.named(cost, NB201, SIZE)),))


@settings(max_examples=15)
@given(seed=SEEDS)
def test_it_ends_where_all_neighbours_of_the_best_were_compared(seed: int) -> None:
    rng = np.random.default_rng(seed)
    budget = exact("params", float(rng.uniform(2e5, 1e6)))
    drawn = np.stack([NB201.random_path(rng) for _ in range(60)])
    start = list(drawn[budget.keeps(drawn)])[:8]
    if not start:
        return
    calls: list[int] = []

    def counted(masks: Mask) -> Any:
        calls.append(len(masks))
        return score(masks)

    found, scores = climb(budget, start, score(np.stack(start)), counted, 10**6)
    assert sum(calls) == len(found) == len(scores)
    known = start + found
    assert len(functions(NB201, found)) == len(found)
    assert not functions(NB201, found) & functions(NB201, start)
    if found:
        assert budget.keeps(np.stack(found)).all()
        assert np.array_equal(scores, score(np.stack(found)))
    taken = functions(NB201, known)
    for best in np.argsort(-score(np.stack(known)), kind="stable")[:WIDTH]:
        for each in neighbours(NB201, known[best]):
            if NB201.admits(each) and budget.keeps(each[None])[0]:
                assert NB201.function_of(NB201.genotype(each)) in taken
    few, _ = climb(budget, start, score(np.stack(start)), score, 5)
    assert [mask.tobytes() for mask in few] == [mask.tobytes() for mask in found[:5]]


def test_it_finds_what_sums_do_not() -> None:
    """From the best of 20 random cells nearly to the best of all."""
    budget = exact("flops", 80e6)
    every = np.stack([mask for mask in members(NB201) if NB201.admits(mask)])
    every = every[budget.keeps(every)]
    rng = np.random.default_rng(1)
    start = list(every[rng.choice(len(every), 20, replace=False)])
    _, scores = climb(budget, start, score(np.stack(start)), score, 1000)
    reached = max(scores.max(), score(np.stack(start)).max())
    assert (score(every) > reached).mean() < 0.001 < (score(every) > score(np.stack(start)).max()).mean()


# --- latencies that a prediction is wrong about ---


def convolutions(mask: Mask) -> float:
    return 1 + float(mask[:, 3].sum()) + 0.5 * float(mask[:, 2].sum())


def budget_of(tmp_path: Path, most: float, slower: float, known: int) -> Budget:
    """Of a device on which cells with a skip on the last edge take `slower` times as long; no row of the fit
    has one."""
    rng = np.random.default_rng(0)
    lines = ["arch,phone_ms"]
    for mask in members(NB201):
        if mask[5, 1] == 0 and len(lines) <= known and NB201.admits(mask) and rng.random() < 0.02:
            noise = 1 + 0.03 * rng.standard_normal()
            lines.append(f"{NB201.genotype(mask)},{convolutions(mask) * noise}")
    cost_rows = len(lines)
    path = tmp_path / "phone.csv"
    path.write_text("\n".join(lines))
    fitted = Latencies(NB201, SIZE, "phone", LatencyTable.read(path, NB201), measured=cost_rows)
    assert fitted.model.error.median > 0
    for mask in members(NB201):
        if mask[5, 1] == 1 and mask[:5, :2].sum() == 0 and NB201.admits(mask):
            lines.append(f"{NB201.genotype(mask)},{slower * convolutions(mask)}")
    path.write_text("\n".join(lines))
    fitted.table = LatencyTable.read(path, NB201)
    limit = Limit("latency", most, False, "phone", f"{most}ms@phone")
    return Budget(NB201, SIZE, (Bound(limit, most, fitted),))


def cells(budget: Budget, last: int) -> list[Mask]:
    """Within the limit as predicted, with the operation `last` on the last edge, without `none` and skips on
    others."""
    every = [m for m in members(NB201) if m[5, last] == 1 and m[:5, :2].sum() == 0 and NB201.admits(m)]
    return [mask for mask, kept in zip(every, budget.keeps(np.stack(every)), strict=True) if kept]


def test_what_is_over_its_limit_when_measured_gives_way(tmp_path: Path) -> None:
    budget = budget_of(tmp_path, 4.2, slower=3.0, known=60)
    slow, others = cells(budget, 1), cells(budget, 2)
    assert len(slow) >= 5
    said: list[str] = []
    mask, (limit,), notes = settled([*slow[:5], *others], np.zeros((6, 5)), budget, said.append)
    assert mask is others[0]
    assert len(said) == 5
    assert all(line.startswith("over its limit of 4.2 ms, as measured: ") for line in said)
    assert limit.value <= limit.most
    assert "5 architectures before this one were over a limit when measured" in notes
    with pytest.raises(
        InvalidValueError, match=r"of 5 architectures that were predicted within .* nearest has"
    ):
        settled(slow[:5], np.zeros((6, 5)), budget)


def test_of_many_that_are_over_only_some_are_measured(tmp_path: Path) -> None:
    """And then those that are predicted within, be they far behind."""
    budget = budget_of(tmp_path, 4.2, slower=3.0, known=60)
    slow, others = cells(budget, 1), cells(budget, 2)
    many = [slow[i % len(slow)] for i in range(MEASURED + 7)]
    mask, _, notes = settled([*many, *others], np.zeros((6, 5)), budget)
    assert mask is others[0]
    assert f"{MEASURED + 7} architectures before this one were over a limit when measured" in notes


def test_what_may_keep_a_limit_is_worth_a_measurement_where_there_can_be_one(tmp_path: Path) -> None:
    budget = budget_of(tmp_path, 4.35, slower=1.0, known=60)
    (bound,) = budget.bounds
    assert isinstance(bound.cost, Latencies)
    every = np.stack([mask for mask in members(NB201) if NB201.admits(mask)])[::5]
    predicted, error = bound.cost.of_masks(every), bound.cost.model.error.median
    unsure = budget.may_keep(every) & ~budget.keeps(every)
    assert unsure.any()
    assert predicted[unsure].min() > bound.most
    assert predicted[unsure].max() <= bound.most * (1 + UNSURE * error) * (1 + 1e-9)
    assert not budget.may_keep(every)[predicted > 1.001 * bound.most * (1 + UNSURE * error)].any()
    absent = next(mask for mask in every[unsure] if not budget.measurable(mask))
    there = next(mask for mask in every[budget.keeps(every)] if budget.measurable(mask))
    mask, _, notes = settled([absent, there], np.zeros((6, 5)), budget)
    assert mask is there
    assert not any("before this one" in note for note in notes)
    with pytest.raises(InvalidValueError, match="of 1 architectures none is predicted within the limits"):
        settled([absent], np.zeros((6, 5)), budget)
