from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.znas.worlds import World
from znas.admitted import admitted
from znas.interventions.query import Query, coalition, pair, together
from znas.interventions.scorer import Answer
from znas.selection.aggregate import AGGREGATES, get_aggregate, log_rank, mean, mean_rank, ranks, stability
from znas.selection.criteria import KeepOne, LeaveOneOut, Shapley, is_exact
from znas.selection.finalists import finalists, references
from znas.selection.operations import argmax_random_ties, one_hot
from znas.selection.strategies import AllAtOnce, Interactions, Sequential, best_joint, edge_pairs, joint_value
from znas.selection.topology import (
    contested_edges,
    drop_worths,
    select_edges,
    shapley_worths,
)
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.spaces.darts import Darts
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype
from znas_engine.spaces.nasbench201.isomorphism import canonical

pytestmark = pytest.mark.ours

NB201, DARTS = NasBench201(), Darts()
finite = st.floats(-1e6, 1e6, allow_nan=False)


def asking(value: Callable[[Any], float], environments: int = 2) -> tuple[Any, list[Query]]:
    """An `ask` whose score is a function of the mask, shifted by the environment; and what was asked."""
    seen: list[Query] = []

    def ask(queries: Sequence[Query]) -> list[Answer]:
        seen.extend(queries)
        return [
            Answer(np.array([value(q.mask) + k for k in range(environments)]), intervened=False)
            for q in queries
        ]

    return ask, seen


def additive(weights: Any) -> Callable[[Any], float]:
    return lambda mask: float((mask * weights).sum())


# --- one number per candidate ---


@given(arrays(np.float64, (4, 5), elements=finite))
def test_aggregates_against_plain_loops(values: Any) -> None:
    assert mean(values).tolist() == pytest.approx([sum(c) / 4 for c in values.T])
    bound = get_aggregate("lcb")(values)
    for i, column in enumerate(values.T):
        average = sum(column) / 4
        deviation = math.sqrt(sum((v - average) ** 2 for v in column) / 3)
        assert bound[i] == pytest.approx(average - deviation / 2, abs=1e-6)
    from scipy.stats import rankdata

    expected = np.mean([rankdata(row) - 1 for row in values], axis=0)
    np.testing.assert_allclose(mean_rank(values), expected)


def test_ranks_ignore_a_scale_that_means_do_not() -> None:
    values = np.array([[1.0, 2.0], [1.0, 2.0], [1000.0, 0.0]])
    assert mean(values).argmax() == 0
    assert mean_rank(values).argmax() == 1


def test_lcb_wants_environments() -> None:
    with pytest.raises(InvalidValueError, match="at least 2 environments"):
        AGGREGATES["lcb"](np.zeros((1, 3)))


def test_stability_is_the_share_of_environments_won() -> None:
    values = np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 2.0]])
    assert stability(values, 1) == pytest.approx(2 / 3)


def test_ties_are_broken_evenly() -> None:
    """3,000 draws among three: each within 4.9 standard errors of 1,000."""
    rng = np.random.default_rng(0)
    counts = np.bincount(
        [argmax_random_ties(np.array([1.0, 0, 1, 1]), rng) for _ in range(3000)], minlength=4
    )
    assert counts[1] == 0
    assert (np.abs(counts[[0, 2, 3]] - 1000) < 4.9 * np.sqrt(3000 * 2 / 9)).all()


# --- what an operation is worth ---


@pytest.mark.parametrize("space", [NB201, DARTS], ids=["nasbench201", "darts"])
def test_every_criterion_finds_the_additive_optimum(space: SearchSpace[Any]) -> None:
    """In an additive game all readings of an operation's worth agree on the best one."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=space.shape)
    players = space.options(0)
    best = np.array(players)[weights[:, players].argmax(1)]
    shapley = Shapley("auto", None, None, rng)
    for criterion in (KeepOne(), LeaveOneOut(), shapley):
        ask, seen = asking(additive(weights))
        decision = AllAtOnce(criterion).decide(ask, space, mean, rng)
        assert np.array_equal(decision.selected, best), type(criterion).__name__
        per_edge = {KeepOne: len(players), LeaveOneOut: len(players), Shapley: 2 ** len(players)}
        assert len(seen) == len(space.edges) * per_edge[type(criterion)]


def test_keep_one_asks_for_the_neurons_of_algorithm_1() -> None:
    ask, seen = asking(lambda mask: 0.0)
    KeepOne().worths(ask, NB201, NB201.mixture(), [2])
    assert [q.mask.tolist() for q in seen] == [NB201.do(2, o).tolist() for o in range(5)]


def test_shapley_of_an_edge_against_all_orders() -> None:
    rng = np.random.default_rng(1)
    table = {s: rng.normal() for s in itertools.product((False, True), repeat=5)}
    ask, _ = asking(lambda mask: table[tuple((mask[0] > 0).tolist())])
    (worth,) = Shapley("exact", None, None, rng).worths(ask, NB201, NB201.mixture(), [0])
    expected = np.zeros(5)
    for order in itertools.permutations(range(5)):
        inside = [False] * 5
        for player in order:
            before = table[tuple(inside)]
            inside[player] = True
            expected[player] += (table[tuple(inside)] - before) / math.factorial(5)
    for row in worth.values:  # the shift of an environment is no player's merit
        np.testing.assert_allclose(row, expected)


def test_sampled_shapley_reports_its_error_and_stays_in_its_budget() -> None:
    weights = np.random.default_rng(2).normal(size=NB201.shape)
    ask, seen = asking(lambda mask: additive(weights)(mask) ** 2)
    criterion = Shapley("permutation", None, 24, np.random.default_rng(0))
    (worth,) = criterion.worths(ask, NB201, NB201.mixture(), [3])
    assert len(seen) <= 24
    assert worth.standard_errors is not None
    assert worth.values.shape == (1, 5)


def test_which_estimators_are_exact() -> None:
    assert is_exact("exact", 5)
    assert is_exact("auto", 8)
    assert not is_exact("auto", 9)
    assert not is_exact("permutation", 3)


# --- the order of decisions ---


@pytest.mark.parametrize("order", ["random", "node", "confidence"])
def test_sequential_decisions_see_the_ones_before(order: str) -> None:
    """Edge 5's best operation depends on what edge 0 became; deciding it later finds that."""

    def value(mask: Any) -> float:
        wanted = 2 if mask[0, 1] == 1 else 3
        return float(mask[:, 1].sum() + 5 * mask[5, wanted])

    ask, seen = asking(value, environments=1)
    strategy = Sequential(KeepOne(), order, np.random.default_rng(0))
    decision = strategy.decide(ask, NB201, mean, np.random.default_rng(0))
    assert np.array_equal(decision.base, one_hot(decision.selected, 5))
    assert sorted(q.edges[0] for q in seen[-30::5]) == list(range(6))
    if order == "node":
        assert decision.selected.tolist() == [1, 1, 1, 1, 1, 2]
        fixed = [int((q.mask == 1).any(1).sum()) for q in seen]
        assert fixed == [e + 1 for e in range(6) for _ in range(5)]
    if order == "confidence":
        assert len(seen) == 60


def test_confidence_goes_first_where_the_lead_is_largest() -> None:
    weights = np.zeros(NB201.shape)
    weights[:, 1] = [1, 1, 1, 1, 1, 1]
    weights[:, 2] = [0.9, 0.5, 0.99, 0.0, 0.95, 0.7]
    ask, seen = asking(additive(weights), environments=1)
    Sequential(KeepOne(), "confidence", np.random.default_rng(0)).decide(
        ask, NB201, mean, np.random.default_rng(0)
    )
    assert [q.edges[0] for q in seen[30::5]] == [3, 1, 5, 0, 4, 2]


# --- pairs ---


def test_interactions_select_a_pair_that_single_scores_miss() -> None:
    """skip on edge 3 is worthless alone and wins beside a 3x3 convolution on edge 5."""

    def value(mask: Any) -> float:
        single = mask[:, 2].sum() + 0.5 * mask[5, 3]
        return float(single + 9 * (mask[3, 1] == 1) * (mask[5, 3] == 1))

    ask, _ = asking(value)
    rng = np.random.default_rng(0)
    alone = AllAtOnce(KeepOne()).decide(ask, NB201, mean, rng)
    assert alone.selected.tolist() == [2] * 6
    together = Interactions(rng).decide(ask, NB201, mean, rng)
    assert together.selected.tolist() == [2, 2, 2, 1, 2, 3]


def test_interactions_of_an_additive_score_are_zero() -> None:
    weights = np.random.default_rng(3).normal(size=DARTS.shape)
    ask, seen = asking(additive(weights), environments=1)
    rng = np.random.default_rng(0)
    decision = Interactions(rng).decide(ask, DARTS, mean, rng)
    assert np.array_equal(decision.selected, weights[:, 1:].argmax(1) + 1)
    assert len(edge_pairs(DARTS)) == 40
    assert len(seen) == 28 * 7 + 1 + 40 * 49


def _sum_of(single: Any, pairs: Any, c: Any, k: int) -> float:
    alone = sum(single[e, c[e]] for e in range(len(c)))
    return float(alone + sum(t[k, c[e], c[f]] for (e, f), t in pairs.items()))


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_best_joint_is_the_maximum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    single = rng.normal(size=(3, 4, 3))
    pairs = {(e, f): rng.normal(size=(3, 3, 3)) for e, f in itertools.combinations(range(4), 2)}
    choices = np.array(list(itertools.product(range(3), repeat=4)))
    slow = np.array([[_sum_of(single[k], pairs, c, k) for c in choices] for k in range(3)])
    for aggregate in (mean, get_aggregate("lcb")):
        best = best_joint(single, pairs, aggregate, rng)
        value = aggregate(joint_value(single, pairs, best[None]))[0]
        assert value == pytest.approx(max(aggregate(slow)))


def test_large_joint_problems_end_in_a_local_maximum() -> None:
    rng = np.random.default_rng(4)
    single = rng.normal(size=(1, 12, 4))
    pairs = {(e, e + 1): rng.normal(size=(1, 4, 4)) for e in range(11)}
    best = best_joint(single, pairs, mean, rng)
    value = joint_value(single, pairs, best[None])[0, 0]
    for e, o in itertools.product(range(12), range(4)):
        neighbour = best.copy()
        neighbour[e] = o
        assert joint_value(single, pairs, neighbour[None])[0, 0] <= value + 1e-12


@pytest.mark.parametrize("edges", [4, 12])
def test_joint_ties_are_broken_at_random(edges: int) -> None:
    """Exactly and by ascent; the first operation, `none` in both communities' lists, is not preferred."""
    single = np.zeros((1, edges, 4))
    single[0, 0, 3] = -np.inf
    found = [best_joint(single, {}, mean, np.random.default_rng(seed)) for seed in range(30)]
    assert max(choice[0] for choice in found) == 2
    assert {int(choice[1]) for choice in found} == {0, 1, 2, 3}


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9, 1.0])
def test_in_an_additive_world_pairs_change_nothing(p: float) -> None:
    """All measured interactions are 0, so those of drawn pairs are, and single scores decide: drawn ones too,
    of which all are equal after a single observation."""
    for seed in range(8):
        world, rng = World(NB201, seed, environments=2), np.random.default_rng(seed)
        alone = AllAtOnce(KeepOne()).decide(world.scorer(p, seed), NB201, mean, rng)
        jointly = Interactions(rng).decide(world.scorer(p, seed), NB201, mean, rng)
        best = sum(worth.values.mean(0).max() for worth in alone.worths)
        assert jointly.joint is not None
        assert jointly.joint(jointly.selected[None]) == pytest.approx(best)
        assert jointly.joint(alone.selected[None]) == pytest.approx(best)


def interactions(world: World, p: float, seed: int) -> tuple[Any, Any]:
    """Means over environments of the interactions of two edges, [m] each: of drawn pairs and of measured."""
    ask, base = world.scorer(p, seed), together(NB201.mixture(), [])
    one, other = ([coalition(base.mask, e, [o]) for o in range(5)] for e in (0, 1))
    pairs = [pair(i, j, base) for i, j in itertools.product(one, other)]
    drawn, values = [], []
    for query, both in zip(pairs, ask(pairs), strict=True):
        i, j, empty = ask(query.parts)
        assert both.intervened or not (i.intervened or j.intervened or empty.intervened)
        drawn.append(both.intervened)
        values.append((both.values - i.values - j.values + empty.values).mean())
    return np.array(values)[drawn], np.array(values)[~np.array(drawn)]


@pytest.mark.parametrize(("environments", "noise"), [(1, 0.0), (4, 0.5)])
def test_replaced_pairs_are_worth_what_measured_ones_are(environments: int, noise: float) -> None:
    """No pair is the sum of its parts here, as interactions have mean 2 and deviation 1. Replaced ones are
    worth the mean: no neuron is punished for its pairs."""
    seen = 0
    for seed in range(10):
        drawn, measured = interactions(World(NB201, seed, environments, noise, (2.0, 1.0)), 0.25, seed)
        if len(measured):
            assert drawn == pytest.approx(measured.mean())
            seen += len(drawn)
    assert seen > 50


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_in_an_interacting_world_pairs_pay_although_some_are_drawn(noise: float) -> None:
    """The true score of what is selected, over 16 worlds, against Algorithm 1 with the same draws."""
    gains = []
    for seed in range(16):
        world = World(NB201, seed, 2, noise, interacting=(0.0, 1.0))
        pairs, alone = (
            strategy.decide(world.scorer(0.25, seed), NB201, mean, np.random.default_rng(seed)).selected
            for strategy in (Interactions(np.random.default_rng(seed)), AllAtOnce(KeepOne()))
        )
        gains.append(world.of(pairs) - world.of(alone))
    assert np.mean(gains) > 3 * np.std(gains) / np.sqrt(len(gains))


# --- topology ---


def test_only_darts_edges_with_competition_are_contested() -> None:
    assert contested_edges(NB201) == []
    contested = contested_edges(DARTS)
    assert len(contested) == 24
    assert {DARTS.edges[e].target for e in contested} == {3, 4, 5}


@pytest.mark.parametrize("worths_of", ["drop", "shapley"])
def test_the_edges_that_matter_are_kept(worths_of: str) -> None:
    """In an additive score both readings keep, per node, the two in-edges of largest weight."""
    rng = np.random.default_rng(5)
    weight = rng.normal(size=28)
    ask, seen = asking(lambda mask: float((mask.any(1) * weight).sum()))
    if worths_of == "drop":
        worths = drop_worths(ask, DARTS, DARTS.mixture())
        assert len(seen) == 24
    else:
        worths = shapley_worths(ask, DARTS, DARTS.mixture(), rng)
        assert len(seen) == 2 * (8 + 16 + 32)
        for e, worth in worths.items():
            np.testing.assert_allclose(worth.values, weight[e])
    kept = select_edges(DARTS, {e: worth.values.mean() for e, worth in worths.items()}, rng)
    for cell, target in itertools.product(("normal", "reduce"), (2, 3, 4, 5)):
        into = [e for e, edge in enumerate(DARTS.edges) if (edge.cell, edge.target) == (cell, target)]
        assert {e for e in into if kept[e]} == set(sorted(into, key=lambda e: -weight[e])[:2])


@given(arrays(np.float64, 28, elements=finite), st.integers(0, 2**32))
@settings(max_examples=50)
def test_selected_darts_masks_are_genotypes(worth: Any, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = one_hot(rng.integers(1, 8, 28), 8)
    mask[~select_edges(DARTS, dict(enumerate(worth)), rng)] = 0
    genotype = DARTS.genotype(mask)
    assert DARTS.parse(str(genotype)) == genotype


@given(arrays(np.float64, (6, 5), elements=finite))
def test_disconnected_winners_are_repaired_at_the_least_loss(scores: Any) -> None:
    """Against brute force over the cells that differ from the winners only where those are none."""
    selected = scores.argmax(1)
    found = NB201.repair(scores, selected)
    best = scores[:, 1:].argmax(1) + 1

    def admitted(choice: Any) -> bool:
        return NB201.admits(one_hot(np.array(choice), 5))

    def loss(choice: Any) -> float:
        return float(sum(scores[e, selected[e]] - scores[e, o] for e, o in enumerate(choice)))

    assert admitted(found)
    options = [(s, b) if s == 0 else (s,) for s, b in zip(selected, best, strict=True)]
    connected = [c for c in itertools.product(*options) if admitted(c)]
    assert loss(found) == pytest.approx(min(map(loss, connected)))
    if admitted(selected):
        assert np.array_equal(found, selected)


def test_all_none_is_repaired_by_its_cheapest_path() -> None:
    scores = np.zeros((6, 5))
    scores[:, 0] = 10
    scores[3, 2] = 9  # edge 0 -> 3 loses one point, every other path at least twenty
    repaired = NB201.repair(scores, scores.argmax(1))
    assert repaired.tolist() == [0, 0, 0, 2, 0, 0]


# --- the final round ---


@given(st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_finalists_are_the_best_sums_in_order(seed: int) -> None:
    """Against all 15,625 cells sorted by their standardised loss: the first of every connected function."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(6, 5)) * rng.uniform(0.1, 10, (6, 1))
    first = scores.argmax(1)
    if not NB201.admits(one_hot(first, 5)):
        return
    masks = finalists(NB201, scores, np.ones(6, bool), 60, first)
    loss = (scores.max(1, keepdims=True) - scores) / scores.std(1, keepdims=True)
    cells = np.array(list(itertools.product(range(5), repeat=6)))
    order = loss[np.arange(6), cells].sum(1).argsort(kind="stable")
    expected, functions = [], set()
    for cell in cells[order[:500]]:
        genotype = NasBench201Genotype(tuple(NB201.operations[o] for o in cell))
        if NB201.admits(one_hot(cell, 5)) and canonical(genotype) not in functions:
            functions.add(canonical(genotype))
            expected.append(one_hot(cell, 5).tolist())
    assert [mask.tolist() for mask in masks] == expected[:60]


def test_darts_finalists_keep_the_topology() -> None:
    rng = np.random.default_rng(6)
    scores = np.full(DARTS.shape, -np.inf)
    scores[:, 1:] = rng.normal(size=(28, 7))
    kept = select_edges(DARTS, dict(enumerate(rng.normal(size=28))), rng)
    masks = finalists(DARTS, scores, kept, 20, scores.argmax(1))
    assert len({mask.tobytes() for mask in masks}) == 20
    for mask in masks:
        assert np.array_equal(mask.any(1), kept)
        DARTS.genotype(mask)


class Homogeneous(NasBench201):
    """Admits four cells of 15,625: one operation everywhere."""

    def admits(self, mask: Mask) -> bool:
        return super().admits(mask) and bool((mask == mask[0]).all())


class Narrow(NasBench201):
    """Draws three edges of a cell, which are two ways to its output, and leaves out the others."""

    @staticmethod
    def path(operations: Sequence[int]) -> Mask:
        chosen = np.zeros(6, int)
        chosen[[1, 3, 5]] = operations
        return one_hot(chosen, 5)

    def random_path(self, rng: np.random.Generator) -> Mask:
        return self.path(rng.integers(5, size=3))

    @classmethod
    def cells(cls) -> list[tuple[Any, bool]]:
        paths = map(cls.path, itertools.product(range(5), repeat=3))
        return [(NB201.function_of(NB201.genotype(mask)), NB201.admits(mask)) for mask in paths]


class Nothing(NasBench201):
    def admits(self, mask: Mask) -> bool:
        return False


def test_a_space_that_admits_few_has_few_finalists() -> None:
    space, scores = Homogeneous(), np.random.default_rng(0).normal(size=NB201.shape)
    masks = finalists(space, scores, np.ones(6, bool), 300, np.full(6, 3))
    assert sorted(int(mask[0].argmax()) for mask in masks) == [1, 2, 3, 4]
    assert len(finalists(space, scores, np.ones(6, bool), 3, np.full(6, 3))) <= 3


def test_a_space_that_admits_nothing_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidValueError, match="nasbench201 admits none of 10,000 random architectures"):
        admitted(Nothing(), lambda: NB201.random_path(rng))


def test_references_are_random_functions_beside_the_finalists() -> None:
    """Connected, all different, none a finalist; at most what the space has; decided by the generator."""
    scores = np.random.default_rng(1).normal(size=NB201.shape)
    masks = finalists(NB201, scores, np.ones(6, bool), 50, scores.argmax(1))
    found = references(NB201, 400, masks, np.random.default_rng(0))
    again = references(NB201, 400, masks, np.random.default_rng(0))
    assert np.array_equal(np.stack(found), np.stack(again))
    genotypes = [NB201.genotype(mask) for mask in masks + found]
    assert len({NB201.function_of(genotype) for genotype in genotypes}) == 450
    assert all(NB201.admits(NB201.mask(genotype)) for genotype in genotypes)
    every = {function for function, admitted in Narrow.cells() if admitted}
    assert len(references(Narrow(), 2 * len(every), [], np.random.default_rng(0))) == len(every)


# --- ranks over scores and environments ---

tables = st.tuples(st.integers(1, 4), st.integers(1, 40), st.integers(0, 2**32)).map(
    lambda t: np.random.default_rng(t[2]).integers(0, 9, (t[0], t[1])).astype(float)
)


@given(values=tables)
def test_ranks_are_those_of_scipy(values: Any) -> None:
    assert np.array_equal(ranks(values), scipy.stats.rankdata(values, axis=1))
    assert np.allclose(mean_rank(values), (scipy.stats.rankdata(values, axis=1) - 1).mean(0))


@given(values=tables, seed=st.integers(0, 2**32))
def test_ranks_among_others(values: Any, seed: int) -> None:
    """Halfway between strictly below and not above, counted one by one; among itself it is the usual rank."""
    among = np.random.default_rng(seed).integers(0, 9, (len(values), 7)).astype(float)
    expected = [
        [(sum(v < x for v in others) + sum(v <= x for v in others) + 1) / 2 for x in row]
        for row, others in zip(values, among, strict=True)
    ]
    assert np.array_equal(ranks(values, among), expected)
    assert np.array_equal(ranks(values, values), ranks(values))
    assert np.allclose(log_rank(values, among), np.log(np.array(expected) / 7).sum(0))
    assert np.allclose(mean_rank(values, among), np.mean(expected, 0) - 1)


@given(values=tables)
def test_log_rank_is_a_sum_of_logarithms_and_sees_only_order(values: Any) -> None:
    expected = [
        sum(math.log(r / len(row)) for r, row in zip(column, values, strict=True))
        for column in scipy.stats.rankdata(values, axis=1).T
    ]
    assert np.allclose(log_rank(values), expected)
    assert np.allclose(log_rank(np.exp(values) * 7 - 3), expected)


def test_log_rank_punishes_being_bad_at_one_thing() -> None:
    """Second by both beats best by one and last by the other, which the mean of ranks has tied."""
    values = np.array([[4.0, 3.0, 2.0, 1.0], [1.0, 3.0, 2.0, 4.0]])[:, [0, 1, 3]]
    assert np.ptp(mean_rank(values)) == 0
    assert log_rank(values).argmax() == 1
