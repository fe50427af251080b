"""A model of masks that chooses what is observed next, in worlds in which the truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.znas.worlds import World
from znas.selection.active import WIDE, Belief, Seen, Weights, explore, kernels, learn, variances
from znas.selection.criteria import Floats
from znas_engine.spaces import Mask
from znas_engine.spaces.nasbench201 import NasBench201

SPACE = NasBench201()
DO = np.stack([SPACE.do(e, o) for e, o in SPACE.neurons()])


def paths(count: int, seed: int = 0) -> Mask:
    """Different architectures."""
    rng = np.random.default_rng(seed)
    return np.unique(np.stack([SPACE.random_path(rng) for _ in range(count)]), axis=0)


def features(masks: Mask) -> tuple[Floats, Floats]:
    """What a[e, o] and I[e, o, f, q] are multiplied by."""
    flat = masks.reshape(len(masks), -1).astype(np.float64)
    edge = np.arange(flat.shape[1]) // masks.shape[2]
    one, other = np.nonzero(edge[:, None] < edge[None])
    return flat, flat[:, one] * flat[:, other]


def seen(masks: Mask, values: Floats, *, whole: bool = True, ahead: Floats | None = None) -> Seen:
    return Seen.of(masks, values, np.zeros(len(masks)) if ahead is None else ahead, whole=whole)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_kernels_are_those_of_effects_and_of_pairs(seed: int) -> None:
    """Of the supernet's masks too, whose rows are mixtures."""
    masks = np.concatenate([paths(5, seed), DO[:4]])
    one, two = kernels(masks, masks)
    single, pairs = features(masks)
    np.testing.assert_allclose(one, single @ single.T / 6, atol=1e-6)
    np.testing.assert_allclose(two, pairs @ pairs.T / 15, atol=1e-6)
    for kernel, own in zip((one, two), variances(masks), strict=True):
        np.testing.assert_allclose(np.diag(kernel), own, atol=1e-6)


def test_a_belief_is_the_posterior_of_the_linear_model() -> None:
    """By normal equations over effects and interactions, where kernels are never formed."""
    rng = np.random.default_rng(0)
    masks, ahead = paths(40), rng.normal(size=40)
    masks = masks[:40]
    values = rng.normal(50, 2, (40, 3))
    values[rng.random((40, 3)) < 0.4] = np.nan
    values[:, 0] = rng.normal(50, 2, 40)
    shown = rng.normal(3, 1, (len(DO), 2))
    weights = Weights(2.0, 3.0, 0.7, 0.5)
    both = seen(masks, values, ahead=ahead).beside(seen(DO, shown, whole=False))
    new, new_ahead = paths(20, seed=1), rng.normal(size=20)
    mean, deviation = Belief.after(both, weights).of(new, new_ahead[: len(new)])

    def columns(of: Mask, ahead: Floats, *, whole: bool) -> Floats:
        single, pairs = features(of)
        scale = 1.0 if whole else weights.shown
        basis = np.tile([1.0, 0.0, 0.0] if whole else [0.0, 0.0, 1.0], (len(of), 1))
        basis[:, 1] = ahead
        return np.hstack([scale * single / 6**0.5, scale * pairs / 15**0.5, basis])

    x = np.vstack([columns(masks, ahead, whole=True), columns(DO, np.zeros(30), whole=False)])
    unit, centre = both.values.std(), both.values.mean()
    before = np.repeat([2.0, 3.0, WIDE * unit**2], [30, x.shape[1] - 33, 3])
    counts = np.concatenate([(~np.isnan(values)).sum(1), np.full(30, 2)])
    y = np.concatenate([np.nanmean(values, 1), shown.mean(1)]) - centre
    precision = x.T @ (x * counts[:, None] / 0.5) + np.diag(1 / before)
    effects = np.linalg.solve(precision, x.T @ (y * counts / 0.5))
    at = columns(new, new_ahead[: len(new)], whole=True)
    np.testing.assert_allclose(mean, at @ effects + centre, rtol=1e-4)
    spread = np.sqrt(np.einsum("ij,jk,ik->i", at, np.linalg.inv(precision), at))
    np.testing.assert_allclose(deviation, spread, rtol=1e-3)


@pytest.mark.parametrize("noise", [0.3, 1.5])
def test_noise_is_learnt_from_repeated_observations(noise: float) -> None:
    rng = np.random.default_rng(1)
    world, masks = World(SPACE, seed=3), paths(60)
    values = np.array([[world.true(mask)] for mask in masks]) + noise * rng.normal(size=(len(masks), 3))
    assert learn(seen(masks, values), rng).noise == pytest.approx(noise**2, rel=0.4)


def test_interactions_are_believed_where_there_are_some() -> None:
    rng = np.random.default_rng(2)
    masks = paths(120)
    found = {}
    for interacting in (0.0, 1.0):
        world = World(SPACE, seed=4, interacting=(0.0, interacting))
        values = np.array([[world.true(mask)] for mask in masks])
        values += 0.1 * rng.normal(size=values.shape)
        found[interacting] = learn(seen(masks, values), rng)
    assert found[0.0].pairs < 0.05 * found[0.0].single
    assert found[1.0].pairs > 0.5 * found[1.0].single


def test_the_supernet_teaches_as_much_as_it_has_to_do_with_architectures() -> None:
    """do() in its own world at half the scale and another level, and do() of another world."""
    rng = np.random.default_rng(3)
    world, other, masks = World(SPACE, seed=5), World(SPACE, seed=6), paths(400)
    truth = np.array([world.true(mask) for mask in masks])
    few = seen(masks[:12], truth[:12, None] + 0.2 * rng.normal(size=(12, 2)))
    corrected = {}
    for name, by in (("own", world), ("other", other)):
        shown = 0.5 * np.array([[by.true(mask)] for mask in DO]) + 0.05 * rng.normal(size=(30, 2)) + 7
        both = few.beside(seen(DO, shown, whole=False))
        mean, _ = Belief.after(both, learn(both, rng)).of(masks, np.zeros(len(masks)))
        corrected[name] = np.corrcoef(mean, truth)[0, 1]
    mean, _ = Belief.after(few, learn(few, rng)).of(masks, np.zeros(len(masks)))
    alone = np.corrcoef(mean, truth)[0, 1]
    assert corrected["own"] > 0.97
    assert corrected["own"] > alone + 0.1
    assert corrected["other"] < alone + 0.1


def shares(noise: float, interacting: float, observations: int, *, actively: bool) -> list[float]:
    """Of the pool's architectures, those that are better than what is found with so many observations, half
    of them at random; in two environments each where the model chooses."""
    found = []
    for seed in range(6):
        world, masks = World(SPACE, seed=seed, interacting=(0.0, interacting)), paths(600, seed)
        rng = np.random.default_rng([seed, 1])
        truth = np.array([world.true(mask) for mask in masks])
        values = truth[:, None] + noise * rng.normal(size=(len(masks), 2))
        order = rng.permutation(len(masks))
        if actively:
            known = np.full_like(values, np.nan)
            known[order[: observations // 4]] = values[order[: observations // 4]]
            left = observations - 2 * (observations // 4)
            asked = []

            def observe(rows: Any, k: int, values: Floats = values, asked: list[int] = asked) -> Floats:
                asked.extend(rows)
                return np.asarray(values[rows, k])

            best = explore(masks, np.zeros(len(masks)), known, observe, left, rng).argmax()
            assert len(asked) == left
            assert int((~np.isnan(known)).sum()) == observations
        else:
            first = order[:observations]
            best = first[values[first, 0].argmax()]
        found.append(float((truth > truth[best]).mean()))
    return found


@pytest.mark.parametrize(("noise", "interacting"), [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_it_finds_better_ones_than_chance_with_as_many_observations(noise: float, interacting: float) -> None:
    chosen = shares(noise, interacting, 60, actively=True)
    random = shares(noise, interacting, 60, actively=False)
    assert np.mean(chosen) < 0.5 * np.mean(random)


def test_it_ends_where_all_is_known() -> None:
    masks = paths(30)
    world = World(SPACE, seed=0)
    truth = np.array([world.true(mask) for mask in masks])
    known = np.full((len(masks), 1), np.nan)
    known[:4, 0] = truth[:4]
    mean = explore(
        masks, np.zeros(len(masks)), known, lambda rows, k: truth[rows], 10**6, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(known[:, 0], truth)
    assert mean.argmax() == truth.argmax()


def test_what_scores_without_a_pass_say_is_believed_as_far_as_it_holds() -> None:
    rng = np.random.default_rng(5)
    masks = paths(300)
    ahead = rng.normal(size=len(masks))
    few = slice(0, 25)
    for slope in (0.0, 3.0):
        truth = 10 + slope * ahead
        values = truth[few, None] + 0.1 * rng.normal(size=(25, 2))
        part = seen(masks[few], values, ahead=ahead[few])
        mean, _ = Belief.after(part, learn(part, rng)).of(masks, ahead)
        assert np.polyfit(ahead, mean, 1)[0] == pytest.approx(slope, abs=0.15)
