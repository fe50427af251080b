"""A shortlist: in worlds whose truth is known, and as a search of the real engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import stdtr

import znas
from tests.conftest import SMALL
from znas.selection.aggregate import log_rank
from znas.selection.largest import largest
from znas.selection.shortlist import effects, halved, pool
from znas.selection.sure import beats, residuals, student_t
from znas_engine.errors import InvalidValueError, PluginError
from znas_engine.scores.cost import LiveFlops
from znas_engine.spaces import Mask, get_space

SPACE = get_space("nasbench201")


def paths(count: int, seed: int = 0) -> list[Mask]:
    rng = np.random.default_rng(seed)
    return [SPACE.random_path(rng) for _ in range(count)]


def test_effects_are_those_of_an_additive_world() -> None:
    truth = np.random.default_rng(1).normal(size=SPACE.shape)
    masks = np.stack(paths(2000))
    noise = np.random.default_rng(2).normal(0, 0.5, len(masks))
    found = effects(SPACE, masks, (masks * truth).sum((1, 2)) + noise)
    centred = truth - truth.mean(1, keepdims=True)
    assert np.abs(found - found.mean(1, keepdims=True) - centred).max() < 0.15


def test_effects_of_what_no_mask_holds_are_zero() -> None:
    masks = np.stack([mask for mask in paths(300) if mask[0, 0] == 0])
    found = effects(SPACE, masks, masks[:, 0, 1].astype(np.float64))
    assert abs(found[0, 0]) < 1e-9
    assert found[0, 1] == found[0].max()


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(2, 40),
    first=st.integers(1, 40),
    environments=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_halving_measures_half_as_many_and_never_lets_the_fallen_win(
    count: int, first: int, environments: int, seed: int
) -> None:
    masks = paths(count, seed)
    truth = np.random.default_rng(seed).normal(size=(count, environments))
    numbers = {id(mask): i for i, mask in enumerate(masks)}
    always = np.random.default_rng(seed + 1).random(count) < 0.2
    asked: list[int] = []

    def total(some: Any, environment: int) -> Any:
        asked.append(len(some))
        return truth[[numbers[id(mask)] for mask in some], environment]

    found = halved(masks, truth[:, 0], always, first, environments, total, np.random.default_rng(seed))
    assert sorted(numbers[id(mask)] for mask in found.masks) == list(range(count))
    for k, measured in enumerate(asked, 1):
        assert measured <= -(-first // 2**k) + always.sum()
    for mask, row in zip(found.masks, found.totals, strict=True):
        seen = ~np.isnan(row)
        assert np.array_equal(row[seen], truth[numbers[id(mask)]][seen])
    assert not np.isnan(found.totals[0]).any() or environments == 1 or count == 0
    if environments == 1:
        assert numbers[id(found.masks[0])] == truth[:, 0].argmax()


def test_more_environments_find_the_best_more_often() -> None:
    """One is better than the others by half of the noise between environments."""
    masks, truth = paths(32), np.zeros(32)
    truth[7] = 1.0

    def wins(environments: int) -> int:
        won = 0
        for seed in range(200):
            noise = np.random.default_rng(seed).normal(0, 1.0, (32, environments))
            values = truth[:, None] + noise
            found = halved(
                masks,
                values[:, 0],
                np.zeros(32, bool),
                32,
                environments,
                lambda some, k, values=values: values[
                    [next(i for i, m in enumerate(masks) if m is s) for s in some], k
                ],
                np.random.default_rng(seed),
            )
            won += found.masks[0] is masks[7]
        return won

    one, four = wins(1), wins(4)
    assert four > one + 30, (one, four)


def test_equals_win_alike() -> None:
    masks = paths(4)
    winners = {
        id(halved(masks, np.zeros(4), np.zeros(4, bool), 4, 1, None, np.random.default_rng(s)).masks[0])  # type: ignore[arg-type]
        for s in range(40)
    }
    assert len(winners) == 4


def test_the_probability_to_be_above_is_right() -> None:
    """Of pairs of levels from a wide prior, those said to be above with 0.8 are so in 0.8 of the cases."""
    rng = np.random.default_rng(0)
    said, right = [], []
    for _ in range(1500):
        level = rng.normal(0, 1.0, 12)
        totals = level[:, None] + rng.normal(0, 1.0, (12, 3)) + rng.normal(0, 2.0, 3)
        p = beats(totals[0], totals[1], residuals(totals))
        assert p is not None
        said.append(p)
        right.append(level[0] > level[1])
    for low, high in ((0.05, 0.35), (0.35, 0.65), (0.65, 0.95)):
        there = [(p, r) for p, r in zip(said, right, strict=True) if low < p < high]
        mean, share = np.mean(there, axis=0)
        assert abs(mean - share) < 0.1, (mean, share, len(there))


@given(x=st.floats(-60, 60), freedom=st.integers(1, 200))
def test_student_t_is_scipys(x: float, freedom: int) -> None:
    assert student_t(x, freedom) == pytest.approx(float(stdtr(freedom, x)), abs=1e-9)


def test_one_environment_tells_no_probability() -> None:
    totals = np.array([[1.0], [0.0], [2.0]])
    assert beats(totals[0], totals[1], residuals(totals)) is None


def test_a_small_space_is_listed_and_a_large_one_drawn() -> None:
    functions = SPACE.functions()
    assert functions is not None
    assert len(pool(SPACE, None, np.random.default_rng(0))) == len(functions)
    darts = get_space("darts")
    drawn = pool(darts, None, np.random.default_rng(0))
    assert 1900 < len(drawn) <= 2000
    assert all(map(darts.admits, drawn[:50]))


def search(**options: Any) -> znas.SearchResult:
    sizes = SMALL["nasbench201"]
    return znas.search(**{"data": "gaussian", "resolution": 16, "images": 16, **sizes, **options})


def test_the_shortlist_is_what_scores_without_a_pass_rank_first() -> None:
    """A score without a pass alone finds the best by it, and no image is looked at."""
    result = search(score="params")
    assert result.evaluations == 0
    most = largest(SPACE, result.macro, np.random.default_rng(0))
    assert result.params == SPACE.network(SPACE.genotype(most), result.macro).parameters


def test_passes_are_those_of_halving() -> None:
    result = search(score="naswot+flops", finalists=8, envs=3)
    assert result.method["selection"] == "shortlist"
    biggest = result.evaluations - (16 + (4 + 8) + (2 + 8))
    assert -6 <= biggest <= 3  # random ones go on too, and the largest may be one of the shortlist
    assert result.sure is not None
    assert result.sure.random == 8
    assert result.sure.beats_second is not None


def test_the_winner_is_the_best_by_its_own_scores() -> None:
    """In one environment: nothing that was compared ranks higher."""
    result = search(score="naswot+flops", finalists=10, envs=1, seed=4)
    setup = znas.Setup(result.request)
    masks = pool(SPACE, None, np.random.default_rng(0))
    own = SPACE.mask(result.genotype)
    flops = setup.measure(np.stack(masks), scores=setup.scores[1:])
    of_own = setup.measure(own[None], scores=setup.scores[1:])
    assert log_rank(of_own, flops)[0] >= np.sort(log_rank(flops))[-20]


@pytest.mark.parametrize("score", ["naswot", "naswot+isometry", "flops+cell_path_norm"])
def test_any_scores_can_be_searched_by(score: str) -> None:
    result = search(score=score, finalists=4, envs=2)
    assert SPACE.admits(SPACE.mask(result.genotype))
    assert znas.SearchResult.from_dict(result.to_dict()).to_dict() == result.to_dict()


def test_the_same_seed_finds_the_same() -> None:
    first, second = (search(finalists=4, seed=3).to_dict() for _ in range(2))
    for each in (first, second):
        del each["seconds"], each["versions"]
    assert first == second


def test_limits_are_kept_by_all_that_are_compared() -> None:
    result = search(finalists=6, max_params="0.3M", envs=2)
    assert result.params <= 300_000
    with pytest.raises(InvalidValueError, match="smallest there is"):
        search(finalists=6, max_params="10")


def test_limits_of_which_one_leaves_none_for_the_other() -> None:
    """Of some that are asked of together none keeps the first limit: none is left to predict a latency of."""
    result = search(finalists=4, max_params="9%", max_latency="50ms@ort:cpu:1", envs=1)
    assert {limit.cost for limit in result.limits} == {"params", "latency"}
    assert all(limit.value <= limit.most for limit in result.limits)


def test_a_front_comes_with_it() -> None:
    result = search(finalists=30, pareto="params", envs=1)
    costs = [point.cost for point in result.front]
    assert costs == sorted(costs)
    assert len(costs) > 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"p": 0.5}, "drop it, or pass --selection algorithm1"),
        ({"game": "shapley"}, "drop it, or pass --selection algorithm1"),
        ({"criterion": "leave-one-out"}, "drop it, or pass --selection algorithm1"),
        ({"score": "naswot", "aggregate": "lcb"}, "halves from one to the next"),
    ],
)
def test_what_is_of_operations_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidValueError, match=said):
        search(selection="shortlist", **options)


@pytest.mark.parametrize("preset", ["naswot", "paper"])
def test_a_preset_of_interventions_may_be_searched_by_a_shortlist(preset: str) -> None:
    settled = znas.Request(preset=preset, selection="shortlist").settled()
    assert (settled.p, settled.finalists) == (0.0, 30)
    assert znas.Request(preset=preset, selection="shortlist", finalists=4).settled().finalists == 4


def test_a_score_that_overrides_one_mask_is_not_valued_by_its_base() -> None:
    class Mine(LiveFlops):
        name = "mine"

        def prepare(self, graph: Any, environment: Any) -> Any:
            return lambda mask: 7.0

    class Wrong(Mine):
        name = "wrong"

        def prepare_many(self, graph: Any, environment: Any) -> Any:
            return lambda masks: np.zeros(1)

    setup = znas.Setup(znas.Request(data="gaussian", resolution=16, images=4, p=0, **SMALL["nasbench201"]))
    masks = np.stack(paths(5))
    assert setup.measure(masks, scores=[Mine()]).tolist() == [[7.0] * 5]
    with pytest.raises(PluginError, match="no float64 array of as many"):
        setup.measure(masks, scores=[Wrong()])


def test_options_of_interventions_ask_for_them() -> None:
    result = search(score="naswot", p=0)
    assert result.method["selection"] == "algorithm1"
    assert result.conditions.envs == 1
    assert result.sure is None
