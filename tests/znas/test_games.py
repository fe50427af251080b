"""Shapley values and interactions: axioms, closed forms, brute force, and honest standard errors.

Statistical tests fail for a correct estimator with probability 1e-4 each over their seeds, which are fixed.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, f

from tests.znas.games_examples import (
    DividendGame,
    Recorder,
    additive_game,
    brute_interactions,
    brute_shapley,
    dividend_game,
    glove_game,
    majority_game,
    max_game,
    random_game,
    table_game,
)
from znas.games import (
    GAMES,
    INTERACTIONS,
    Auto,
    Bandit,
    Estimate,
    Estimator,
    Exact,
    ExactInteractions,
    Game,
    Permutation,
    SampledInteractions,
    Stratified,
    TopEstimate,
    Value,
    get_game,
    get_interactions,
)
from znas.games.interaction import zigzags
from znas.games.moments import Moments
from znas.games.walks import Walks
from znas_engine.errors import InvalidValueError, NonFiniteScoreError

ERROR_RATE = 1e-4
PLENTY = 10**9

SAMPLERS: dict[str, Callable[..., Any]] = {
    "permutation": Permutation,
    "plain permutation": lambda **options: Permutation(antithetic=False, **options),
    "truncated": lambda **options: Permutation(truncation=0.3, **options),
    "stratified": Stratified,
    "bandit": Bandit,
    "interactions": SampledInteractions,
}
EVERY: dict[str, Callable[[], Estimator]] = {
    "exact": Exact,
    "exact interactions": ExactInteractions,
    **SAMPLERS,
}
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
every_estimator = pytest.mark.parametrize("estimator", EVERY.values(), ids=EVERY)


def run(
    estimator: Estimator,
    value: Value,
    players: int,
    *,
    seed: int = 0,
    precision: float | None = None,
    max_evaluations: int | None = PLENTY,
) -> Estimate:
    return estimator.estimate(
        value,
        players,
        rng=np.random.default_rng(seed),
        precision=precision,
        max_evaluations=max_evaluations,
    )


def exact(value: Value, players: int) -> NDArray[np.float64]:
    return run(Exact(), value, players).values


def ends(value: Value, players: int) -> float:
    """v(all) - v(nobody)"""
    nobody, everybody = value(np.array([[False] * players, [True] * players]))
    return float(everybody - nobody)


def with_null(value: Value, null: int) -> Value:
    """The same game, in which player `null` makes no difference."""

    def ignoring(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        kept = coalitions.copy()
        kept[:, null] = False
        return value(kept)

    return ignoring


def symmetrised(value: Value) -> Value:
    """The same game with players 0 and 1 made interchangeable."""

    def both_ways(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        swapped = coalitions.copy()
        swapped[:, [0, 1]] = coalitions[:, [1, 0]]
        return value(coalitions) + value(swapped)

    return both_ways


# --- brute force, closed forms ---


@pytest.mark.parametrize("players", [1, 2, 3, 4, 5])
def test_exact_is_the_mean_over_all_orders(players: int) -> None:
    value = random_game(players, seed=players)
    np.testing.assert_allclose(exact(value, players), brute_shapley(value, players), atol=1e-12)


@pytest.mark.parametrize("players", [2, 3, 4, 5])
def test_exact_interactions_are_differences_of_shapley_values(players: int) -> None:
    value = random_game(players, seed=players)
    found = run(ExactInteractions(), value, players).values
    np.testing.assert_allclose(found, brute_interactions(value, players), atol=1e-12)


@pytest.mark.parametrize("players", [2, 5, 8])
def test_shapiq_agrees(players: int) -> None:
    shapiq = pytest.importorskip("shapiq")
    value = random_game(players, seed=players)
    computer = shapiq.ExactComputer(lambda coalitions: value(coalitions.astype(np.bool_)), n_players=players)
    shapley = computer("SV", order=1).dict_values
    np.testing.assert_allclose(exact(value, players), [shapley[(i,)] for i in range(players)], atol=1e-10)
    index = computer("SII", order=2).dict_values
    found = run(ExactInteractions(), value, players).values
    for i, j in permutations(range(players), 2):
        assert found[i, j] == pytest.approx(index[tuple(sorted((i, j)))], abs=1e-10)


def test_closed_form_of_dividends() -> None:
    game = dividend_game(8, np.random.default_rng(3), groups=20)
    np.testing.assert_allclose(exact(game, 8), game.shapley, atol=1e-12)
    np.testing.assert_allclose(run(ExactInteractions(), game, 8).values, game.interactions, atol=1e-12)


@pytest.mark.parametrize("estimator", [Exact(), *(make(max_rounds=2) for make in SAMPLERS.values())])
def test_additive_game(estimator: Estimator) -> None:
    """Nothing to sample: everyone is worth the same in any company, and no two players interact."""
    worth = np.array([3.0, -1.0, 0.0, 0.5, 2.0, 7.0])
    found = run(estimator, additive_game(worth), 6)
    truncated = isinstance(estimator, Permutation) and estimator.truncation > 0
    if not truncated:
        expected = np.zeros((6, 6)) if isinstance(estimator, SampledInteractions) else worth
        np.testing.assert_allclose(found.values, expected, atol=1e-12)
        np.testing.assert_allclose(found.standard_errors, 0, atol=1e-12)


def test_glove_game() -> None:
    """One left glove among two right ones (Shapley's market)."""
    np.testing.assert_allclose(exact(glove_game(1, 2), 3), [2 / 3, 1 / 6, 1 / 6])
    # left and right make a pair where no other right is there: helps in half of the coalitions;
    # two right gloves only compete
    np.testing.assert_allclose(
        run(ExactInteractions(), glove_game(1, 2), 3).values,
        [[0, 0.5, 0.5], [0.5, 0, -0.5], [0.5, -0.5, 0]],
    )


def test_a_skip_beside_convolutions() -> None:
    """Why interactions: a skip that is worth something only beside a convolution.

    The skip alone scores nothing, so do(e, skip) cannot find it. Its Shapley value (0.2) says that it is
    worth something, and ranks it below both convolutions, of which the second is worth nothing beside the
    first. The interactions say which pair to keep: skip with a convolution (0.15 > 0), not two convolutions
    (-0.75 < 0).
    """
    skip, conv3, conv1 = range(3)

    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        convolved = coalitions[:, conv3] | coalitions[:, conv1]
        return 0.6 * convolved + 0.3 * (convolved & coalitions[:, skip])

    alone = value(np.eye(3, dtype=np.bool_))
    shapley = run(GAMES["auto"], value, 3).values
    interactions = run(INTERACTIONS["auto"], value, 3).values
    assert alone[skip] == 0
    np.testing.assert_allclose(shapley, [0.2, 0.35, 0.35])
    np.testing.assert_allclose(interactions[skip], [0, 0.15, 0.15], atol=1e-12)
    assert interactions[conv3, conv1] == pytest.approx(-0.75)


# --- axioms ---

games = st.builds(
    lambda players, seed, scale: (players, table_game(_table(players, seed, scale))),
    st.integers(2, 6),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1e-6, 1.0, 1e6]),
)


def _table(players: int, seed: int, scale: float) -> NDArray[np.float64]:
    """Some coalitions tie, as counts do, and the empty one is worth something."""
    tenths = np.random.default_rng(seed).integers(-20, 20, size=2**players)
    return np.asarray(scale / 10 * tenths)


def close(
    found: NDArray[np.float64] | float, expected: NDArray[np.float64] | float, value: Value, n: int
) -> None:
    codes = np.arange(2**n)
    size = np.abs(value((codes[:, None] >> np.arange(n) & 1).astype(np.bool_))).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * size)


@settings(deadline=None, max_examples=60)
@given(
    games, st.sampled_from([Exact(), Permutation(max_rounds=2), Permutation(antithetic=False, max_rounds=1)])
)
def test_efficiency(game: tuple[int, Value], estimator: Estimator) -> None:
    """Exact for the estimate from random orders too: each order hands out v(all) - v(nobody)."""
    n, value = game
    close(run(estimator, value, n).values.sum(), ends(value, n), value, n)


@settings(deadline=None, max_examples=60)
@given(games)
def test_efficiency_of_interactions(game: tuple[int, Value]) -> None:
    """The interactions of i sum to how much more i is worth joining last than joining first."""
    n, value = game
    everyone, nobody = np.ones((1, n), dtype=np.bool_), np.zeros((1, n), dtype=np.bool_)
    eye = np.eye(n, dtype=np.bool_)
    last = value(everyone) - value(~eye)
    first = value(eye) - value(nobody)
    interactions = run(ExactInteractions(), value, n).values
    close(interactions.sum(1), last - first, value, n)


@settings(deadline=None, max_examples=30)
@given(games, st.sampled_from([ExactInteractions(), SampledInteractions(max_rounds=1)]))
def test_interactions_are_mutual(game: tuple[int, Value], estimator: Estimator) -> None:
    n, value = game
    found = run(estimator, value, n).values
    close(found, found.T, value, n)
    assert (found.diagonal() == 0).all()


@settings(deadline=None, max_examples=60)
@given(games)
def test_symmetry(game: tuple[int, Value]) -> None:
    n, value = game[0], symmetrised(game[1])
    shapley = exact(value, n)
    close(shapley[0], shapley[1], value, n)
    interactions = run(ExactInteractions(), value, n).values
    close(interactions[0, 2:], interactions[1, 2:], value, n)


@settings(deadline=None, max_examples=60)
@given(games, st.sampled_from(list(EVERY)))
def test_null_player(game: tuple[int, Value], name: str) -> None:
    n, null = game[0], game[0] - 1
    value = with_null(game[1], null)
    found = run(_short(name), value, n)
    np.testing.assert_array_equal(found.values[null], 0)
    np.testing.assert_array_equal(found.values[..., null], 0)
    np.testing.assert_array_equal(found.standard_errors[null], 0)


@settings(deadline=None, max_examples=60)
@given(
    games,
    st.integers(0, 1000),
    st.sampled_from([name for name in EVERY if name not in ("truncated", "bandit")]),
)
def test_linearity(game: tuple[int, Value], other: int, name: str) -> None:
    """For samplers, on the same random numbers. (Who is truncated, or undecided, depends on the values.)"""
    n, first = game
    second = random_game(n, other)

    def both(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return 2 * first(coalitions) - second(coalitions)

    a, b, c = (run(_short(name), value, n).values for value in (first, second, both))
    close(c, 2 * a - b, both, n)


def _short(name: str) -> Estimator:
    return EVERY[name](max_rounds=1) if name in SAMPLERS else EVERY[name]()  # type: ignore[call-arg]


# --- standard errors ---

KNOWN: dict[str, tuple[Value, NDArray[np.float64], NDArray[np.float64]]] = {}


def _known(name: str, value: Value, players: int) -> None:
    KNOWN[name] = (value, exact(value, players), run(ExactInteractions(), value, players).values)


_known("random", random_game(6, seed=1), 6)
_known("glove", glove_game(2, 4), 6)
_known("convex", lambda s: (s @ np.arange(1.0, 8.0)) ** 4, 7)
_many = dividend_game(11, np.random.default_rng(5), groups=40)
KNOWN["dividends"] = (_many, _many.shapley, _many.interactions)
every_known = pytest.mark.parametrize("name", KNOWN)


def check_rate(successes: int, trials: int, rate: float) -> None:
    low, high = binom.interval(1 - ERROR_RATE, trials, rate)
    assert low <= successes <= high, f"{successes} of {trials}, expected {rate:.0%}"


@pytest.mark.ours
@every_known
@pytest.mark.parametrize(
    "estimator",
    [
        Permutation(samples_per_round=40, max_rounds=1),
        Permutation(samples_per_round=80, max_rounds=1, antithetic=False),
        Stratified(samples_per_round=24, max_rounds=1),
        SampledInteractions(samples_per_round=24, max_rounds=1),
    ],
    ids=["permutation", "plain permutation", "stratified", "interactions"],
)
def test_the_interval_covers_at_its_rate(estimator: Estimator, name: str) -> None:
    """One value per run, another each time, so that the trials are independent."""
    value, shapley, interactions = KNOWN[name]
    n, trials, rate, hits = len(shapley), 250, 0.9, 0
    truth = interactions if isinstance(estimator, SampledInteractions) else shapley
    where = list(zip(*np.triu_indices(n, 1), strict=True)) if truth.ndim == 2 else [(i,) for i in range(n)]
    shared = Game(value, n)  # only to be quick: the trials draw their own coalitions
    for seed in range(trials):
        low, high = run(estimator, shared, n, seed=seed).interval(rate)
        chosen = where[seed % len(where)]
        hits += bool(low[chosen] - 1e-9 <= truth[chosen] <= high[chosen] + 1e-9)
    check_rate(hits, trials, rate)


@pytest.mark.parametrize("samples", [2, 3, 6])
def test_the_interval_covers_from_few_samples(samples: int) -> None:
    """Student t from pairs: right with two of them where the pairs are Gaussian."""
    rng, hits, trials = np.random.default_rng(0), 0, 2000
    for _ in range(trials):
        moments = Moments((1,))
        moments.add(rng.normal(5, 2, (samples, 1)))
        found = Estimate(moments.mean, moments.standard_error, moments.degrees_of_freedom, 0, 0, False, True)
        low, high = found.interval(0.9)
        hits += bool(low[0] <= 5 <= high[0])
    check_rate(hits, trials, 0.9)


def test_moments_do_not_depend_on_the_rounds() -> None:
    samples = np.random.default_rng(0).normal(1e6, 1, (30, 4))
    moments = Moments((4,))
    for part in np.split(samples, [5, 6, 20, 20]):
        moments.add(part)
    np.testing.assert_allclose(moments.mean, samples.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.standard_error, samples.std(0, ddof=1) / np.sqrt(30), rtol=1e-9)


@pytest.mark.parametrize("sampler", [SAMPLERS[name] for name in SAMPLERS if name != "bandit"])
def test_more_samples_shrink_the_error(sampler: Callable[..., Estimator]) -> None:
    few = run(sampler(max_rounds=2), KNOWN["dividends"][0], 11)
    many = run(sampler(max_rounds=8), KNOWN["dividends"][0], 11)
    ratio = few.standard_errors.max() / many.standard_errors.max()
    assert 1.3 < ratio < 4  # 2, for fixed sample sizes


@every_sampler
def test_stops_at_the_precision(sampler: Callable[..., Estimator]) -> None:
    found = run(sampler(), KNOWN["dividends"][0], 11, precision=0.2, max_evaluations=None)
    assert found.converged
    assert not found.exact
    undecided = ~found.decided if isinstance(found, TopEstimate) else np.True_
    assert (found.standard_errors[undecided] <= 0.2).all()
    unlimited = run(sampler(max_rounds=1), KNOWN["dividends"][0], 11, precision=1e-6)
    assert not unlimited.converged


def _variances(value: Value, players: int, samples: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of a sample of two orders, per player: antithetic, and independent."""
    pairs = run(Permutation(samples_per_round=samples, max_rounds=1), value, players)
    single = run(
        Permutation(samples_per_round=samples, max_rounds=1, antithetic=False), value, players, seed=1
    )
    return pairs.standard_errors**2 * samples, single.standard_errors**2 * samples / 2


@pytest.mark.parametrize(
    "value",
    [lambda s: (s @ np.arange(1.0, 8.0)) ** 3, lambda s: np.sqrt(s @ np.arange(1.0, 8.0))],
    ids=["convex", "concave"],
)
def test_antithetic_pairs_lower_the_variance(value: Value) -> None:
    samples = 600
    antithetic, independent = _variances(value, 7, samples)
    assert (antithetic / independent < f.ppf(ERROR_RATE, samples - 1, samples - 1)).all()


def test_antithetic_pairs_double_the_variance_of_a_majority_vote() -> None:
    """Monotone is not enough: who turns the vote in an order turns it in the reverse."""
    samples = 600
    antithetic, independent = _variances(majority_game(7), 7, samples)
    assert (antithetic / independent > f.ppf(1 - ERROR_RATE, samples - 1, samples - 1)).all()


def test_strata_take_the_spread_between_sizes_out_of_the_error() -> None:
    """Worth by size alone: every stratum is constant, every order is not."""

    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(np.sqrt(coalitions.sum(1)))

    assert run(Stratified(max_rounds=1), value, 9).standard_errors.max() < 1e-12
    assert run(Permutation(max_rounds=1), value, 9).standard_errors.min() > 1e-3


# --- truncation ---


def test_truncation_of_nothing_changes_nothing() -> None:
    value = random_game(7, seed=0)
    plain = run(Permutation(max_rounds=3), value, 7)
    zero = run(Permutation(max_rounds=3, truncation=0.0), value, 7)
    tiny = run(Permutation(max_rounds=3, truncation=1e-300), value, 7)  # walks in lockstep, never stops
    for other in (zero, tiny):
        np.testing.assert_array_equal(plain.values, other.values)
        np.testing.assert_array_equal(plain.standard_errors, other.standard_errors)
        assert plain.evaluations == other.evaluations


def test_truncation_spares_evaluations_at_the_price_of_its_tolerance() -> None:
    """A score that saturates: after some players the rest hardly matter."""

    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.asarray(1 - 0.5 ** coalitions.sum(1))

    full = run(Permutation(max_rounds=4), value, 12)
    cut = run(Permutation(max_rounds=4, truncation=0.05), value, 12)
    assert cut.evaluations < 0.6 * full.evaluations
    assert np.abs(cut.values.sum() - full.values.sum()) < 0.05
    assert np.abs(cut.values - full.values).max() < 0.05


def test_the_empty_prefix_ends_no_walk() -> None:
    """v(all) = v(nobody): players are worth something nevertheless."""
    worth = np.array([1.0, -1.0, 2.0, -2.0])
    found = run(Permutation(truncation=1e-6), additive_game(worth), 4, max_evaluations=16)
    assert np.abs(found.values).min() > 0


# --- cost ---


@every_estimator
@pytest.mark.parametrize("players", [2, 5, 8])
def test_no_coalition_is_valued_twice(estimator: Callable[[], Estimator], players: int) -> None:
    value = Recorder(random_game(players, seed=2))
    found = run(estimator(), value, players, precision=0.05, max_evaluations=None)
    asked = np.concatenate(value.calls)
    assert len(np.unique(asked, axis=0)) == len(asked) == found.evaluations
    assert len(value.calls) == found.rounds
    assert all(call.dtype == np.bool_ and call.shape[1] == players for call in value.calls)


@pytest.mark.parametrize("sampler", [SAMPLERS[s] for s in SAMPLERS if s != "truncated"])
def test_a_round_is_one_call(sampler: Callable[..., Estimator]) -> None:
    for rounds in (1, 3):
        value = Recorder(random_game(14, seed=0))
        assert run(sampler(max_rounds=rounds), value, 14).rounds == len(value.calls) == rounds


def test_a_truncated_round_is_one_call_per_position() -> None:
    value = Recorder(random_game(12, seed=0))
    found = run(Permutation(truncation=1e-9, max_rounds=1), value, 12)
    assert found.rounds == len(value.calls) == 1 + 11
    assert [set(call.sum(1)) for call in value.calls] == [{0, 12}, *({size} for size in range(1, 12))]


def test_exact_is_one_call() -> None:
    for estimator in (Exact(), ExactInteractions()):
        value = Recorder(random_game(5, seed=0))
        found = run(estimator, value, 5)
        assert [len(call) for call in value.calls] == [32]
        assert (found.evaluations, found.rounds, found.exact, found.converged) == (32, 1, True, True)
        assert (found.standard_errors == 0).all()
        np.testing.assert_array_equal(found.interval()[0], found.values)


@every_sampler
@settings(deadline=None, max_examples=15)
@given(players=st.integers(5, 10), extra=st.integers(0, 400))
def test_the_budget_is_never_passed(sampler: Callable[..., Any], players: int, extra: int) -> None:
    estimator = sampler(max_rounds=40)
    budget = min(estimator.two_samples(players), 2**players) + extra
    found = run(estimator, random_game(players, seed=extra), players, precision=1e-9, max_evaluations=budget)
    assert found.evaluations <= budget
    assert np.isfinite(found.standard_errors).all()


@every_sampler
def test_the_end_of_the_budget_is_the_end(sampler: Callable[..., Estimator]) -> None:
    found = run(sampler(max_rounds=10**9), random_game(10, 0), 10, precision=1e-9, max_evaluations=600)
    assert not found.converged


def test_a_budget_does_not_bias_the_orders() -> None:
    """Orders are kept or dropped by cost alone: the mean over many cramped runs is the exact value."""
    value, shapley, _ = KNOWN["random"]
    shared = [run(Permutation(), value, 6, seed=s, max_evaluations=30).values for s in range(800)]
    mean, error = np.mean(shared, 0), np.std(shared, 0, ddof=1) / np.sqrt(800)
    assert (np.abs(mean - shapley) < 4.7 * error).all()  # 1e-4 / (2 * 6 players), two-sided


def test_a_shared_game_is_paid_once() -> None:
    value = Recorder(random_game(6, seed=0))
    game = Game(value, 6)
    run(Exact(), game, 6)
    run(ExactInteractions(), game, 6)
    run(Permutation(), game, 6, precision=0.2)
    assert (game.evaluations, game.rounds, len(value.calls)) == (64, 1, 1)


@every_sampler
def test_the_same_seed_gives_the_same_answer(sampler: Callable[..., Estimator]) -> None:
    first, again, other = (run(sampler(max_rounds=2), random_game(9, 0), 9, seed=s) for s in (7, 7, 8))
    np.testing.assert_array_equal(first.values, again.values)
    assert (first.values != other.values).any()


# --- bandit ---


def _contest(seed: int) -> DividendGame:
    return dividend_game(8, np.random.default_rng(seed), groups=12)


@pytest.mark.ours
@pytest.mark.parametrize("bernstein", [False, True], ids=["student", "bernstein"])
@pytest.mark.parametrize("top", [1, 3])
def test_the_bandit_is_right_at_its_confidence(top: int, bernstein: bool) -> None:
    trials, confidence, wrong, decided = 80, 0.8, 0, 0
    for seed in range(trials):
        game = _contest(seed)
        bandit = Bandit(
            top=top,
            confidence=confidence,
            marginal_range=game.marginal_range if bernstein else None,
            samples_per_round=100 if bernstein else 16,
            max_rounds=25,
        )
        found = run(bandit, game, 8, seed=seed, precision=0.02)
        assert isinstance(found, TopEstimate)
        best = np.isin(np.arange(8), np.argsort(game.shapley)[-top:])
        wrong += bool((found.top != best)[found.decided].any())
        decided += int(found.decided.sum())
        assert found.top.sum() == top
    assert wrong <= binom.ppf(1 - ERROR_RATE, trials, 1 - confidence)
    assert decided > (0.2 if bernstein else 0.7) * 8 * trials


def test_the_bandit_spends_on_the_undecided() -> None:
    """One close race for the first place among fourteen: the others are dropped early."""
    rng = np.random.default_rng(4)
    noise = {tuple(sorted(rng.choice(14, 4, replace=False).tolist())): rng.normal() for _ in range(60)}
    game = DividendGame(14, {(i,): float(worth) for i, worth in enumerate([3, 3] + [0] * 12)} | noise)
    found = run(Bandit(), game, 14, precision=1e-3, max_evaluations=None)
    assert isinstance(found, TopEstimate)
    assert found.decided.all()
    assert found.top[game.shapley.argmax()]
    samples = found.degrees_of_freedom + 1
    assert samples[np.argsort(game.shapley)[-2:]].min() == samples.max()
    assert np.median(samples) < samples.max()
    precise = run(Permutation(), game, 14, precision=found.standard_errors[found.top].max())
    assert found.evaluations < precise.evaluations


def test_walks_value_only_the_prefixes_around_wanted_players() -> None:
    wanted = np.zeros(12, dtype=np.bool_)
    wanted[5] = True
    value = Recorder(random_game(12, seed=0))
    walks = Walks.draw(np.random.default_rng(0), 10, wanted, antithetic=True)
    marginals = walks.marginals(Game(value, 12))[..., 5]
    assert sum(map(len, value.calls)) <= 2 + 2 * 20
    everyone = Walks(walks.orders, np.ones(12, dtype=np.bool_)).marginals(Game(value, 12))
    np.testing.assert_array_equal(marginals, everyone[..., 5])


def test_bernstein_intervals_decide_as_published() -> None:
    """Without variance the bound of Maurer & Pontil (theorem 4) is 7 R ln(2 / delta) / 3 (m - 1) a side."""
    samples, confidence, marginal_range = 50, 0.9, 2.0
    radius = 7 * marginal_range * np.log(4 * (2 * 1 * 2) / (1 - confidence)) / (3 * (samples - 1))
    for gap, decided in ((2.02 * radius, True), (1.98 * radius, False)):
        bandit = Bandit(
            confidence=confidence, marginal_range=marginal_range, samples_per_round=samples, max_rounds=1
        )
        found = run(bandit, additive_game(np.array([0.0, gap])), 2)
        assert isinstance(found, TopEstimate)
        assert (found.decided == decided).all()


def test_the_bandit_leaves_equal_players_undecided() -> None:
    twins = symmetrised(random_game(6, seed=0))
    order = np.argsort(exact(twins, 6))
    place = int(np.flatnonzero(np.isin(order[::-1], [0, 1]))[0]) + 1
    found = run(Bandit(top=place), twins, 6, precision=0.05, max_evaluations=None)
    assert isinstance(found, TopEstimate)
    assert not found.decided[:2].any()
    assert found.converged
    assert (found.standard_errors[:2] <= 0.05).all()


# --- interactions by sampling ---


@pytest.mark.parametrize("players", [2, 3, 6, 9, 14])
def test_every_pair_is_adjacent_twice(players: int) -> None:
    orders = zigzags(players)
    assert (np.sort(orders, axis=1) == np.arange(players)).all()
    meetings = np.zeros((players, players), dtype=int)
    np.add.at(meetings, (orders[:, :-1], orders[:, 1:]), 1)
    np.testing.assert_array_equal(meetings + meetings.T, 2 - 2 * np.eye(players))
    before: dict[frozenset[int], list[set[int]]] = {}
    for order in orders.tolist():
        for k in range(players - 1):
            before.setdefault(frozenset(order[k : k + 2]), []).append(set(order[:k]))
    for pair, (first, second) in before.items():
        assert first | second | pair == set(range(players))
        assert len(first) + len(second) == players - 2


def test_two_and_three_players_interact_exactly() -> None:
    for players in (2, 3):
        value = random_game(players, seed=0)
        found = run(SampledInteractions(samples_per_round=200, max_rounds=10), value, players).values
        expected = brute_interactions(value, players)
        np.testing.assert_allclose(found, expected, atol=1e-12 if players == 2 else 0.1)


# --- the registries, bad input ---


def test_registries() -> None:
    assert list(GAMES) == ["exact", "permutation", "stratified", "bandit", "auto"]
    assert list(INTERACTIONS) == ["exact", "permutation", "auto"]
    assert get_game("exact") is GAMES["exact"]
    assert get_interactions("auto") is INTERACTIONS["auto"]
    with pytest.raises(InvalidValueError, match=r"unknown game estimator 'exat': .* did you mean 'exact'\?"):
        get_game("exat")
    with pytest.raises(
        InvalidValueError, match="unknown interaction estimator 'bandit': choose one of exact, "
    ):
        get_interactions("bandit")


@pytest.mark.parametrize("auto", [GAMES["auto"], INTERACTIONS["auto"]])
def test_auto_is_exact_where_it_can(auto: Auto) -> None:
    assert run(auto, random_game(8, 0), 8).exact
    assert run(auto, random_game(8, 0), 8, max_evaluations=None).exact
    assert not run(auto, random_game(8, 0), 8, max_evaluations=255).exact
    assert not run(auto, random_game(9, 0), 9, precision=0.5).exact


def test_stratified_is_exact_for_four() -> None:
    value = random_game(4, seed=0)
    found = run(Stratified(), value, 4)
    assert (found.exact, found.evaluations, found.rounds) == (True, 16, 1)
    np.testing.assert_array_equal(found.values, exact(value, 4))


def test_twenty_sets_are_not_safe_in_a_max_game() -> None:
    """Of 21 pairs of others one lets the third-weakest of eight count, by 1 of what it is worth: 20 sets miss
    that pair with probability (20 / 21)^20 = 0.38, and the error is then 0 where the value is not exact."""
    value, players = max_game(np.arange(1.0, 9)), 8
    truth = exact(value, players)[2]
    assert truth == pytest.approx(1 / 8 + 1 / 7 + 1 / 6)
    runs = [
        run(Stratified(samples_per_round=20, max_rounds=1), value, players, seed=seed) for seed in range(150)
    ]
    missed = np.array([found.standard_errors[2] == 0 for found in runs])
    q = (20 / 21) ** 20
    assert abs(missed.mean() - q) < 4 * np.sqrt(q * (1 - q) / len(runs))
    for found, exact_by_chance in zip(runs, missed, strict=True):
        if exact_by_chance:
            assert found.values[2] == pytest.approx(truth - 1 / 21 / 8)


TOO_LARGE = (
    "^exact Shapley values take at most 8 players but the game has 14: use permutation, stratified or bandit$"
)


@pytest.mark.parametrize(
    ("estimator", "players", "request_", "message"),
    [
        (
            Exact(),
            14,
            {},
            TOO_LARGE,
        ),
        (
            ExactInteractions(),
            9,
            {},
            "^exact Shapley interactions take at most 8 players but the game has 9: use permutation$",
        ),
        (
            Exact(),
            5,
            {"max_evaluations": 31},
            "`max_evaluations` must be at least 32 for exact Shapley values of 5 players but got 31",
        ),
        (
            Permutation(),
            14,
            {"max_evaluations": 53},
            "`max_evaluations` must be at least 54 for permutation sampling of 14 players but got 53",
        ),
        (
            Stratified(),
            30,
            {"max_evaluations": 9},
            "`max_evaluations` must be at least 4,052 for stratified sampling of 30 players but got 9",
        ),
        (
            SampledInteractions(),
            4,
            {"max_evaluations": 9},
            "`max_evaluations` must be at least 16 for interaction sampling of 4 players but got 9",
        ),
        (Bandit(), 9, {"max_evaluations": 0}, "`max_evaluations` must be at least 1 but got 0"),
        (Bandit(), 9, {"max_evaluations": 1.5}, "`max_evaluations` must be a whole number but got 1.5"),
        (Bandit(top=9), 9, {}, "`top` must be below the number of players, 9, but got 9"),
        (Exact(), 0, {}, "`players` must be between 1 and 1,024 but got 0"),
        (Exact(), True, {}, "`players` must be a whole number but got True"),
        (ExactInteractions(), 1, {}, "`players` must be 2 or more for interactions but got 1"),
        (INTERACTIONS["auto"], 1, {}, "`players` must be 2 or more for interactions but got 1"),
        (Exact(), 3, {"precision": 0.0}, "`precision` must be finite and above 0 but got 0.0"),
        (Exact(), 3, {"precision": float("nan")}, "`precision` must be finite and above 0 but got nan"),
        (Exact(), 3, {"rng": 7}, "`rng` must be a numpy.random.Generator but got 7"),
        (
            Permutation(),
            3,
            {"max_evaluations": None},
            "^sampling needs an end: give `precision`, `max_evaluations` or both$",
        ),
    ],
)
def test_bad_requests(estimator: Estimator, players: int, request_: dict[str, Any], message: str) -> None:
    never = Recorder(random_game(3, seed=0))
    arguments = {"rng": np.random.default_rng(0), "precision": None, "max_evaluations": PLENTY} | request_
    with pytest.raises(InvalidValueError, match=message):
        estimator.estimate(never, players, **arguments)
    assert not never.calls


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Permutation(truncation=-1.0), "`truncation` must be finite and 0 or more but got -1.0"),
        (lambda: Bandit(truncation=float("nan")), "`truncation` must be finite and 0 or more but got nan"),
        (
            lambda: Permutation(samples_per_round=1),
            "`samples_per_round` must be between 2 and 1,000,000",
        ),
        (lambda: Stratified(max_rounds=0), "`max_rounds` must be at least 1 but got 0"),
        (lambda: Bandit(top=0), "`top` must be at least 1 but got 0"),
        (lambda: Bandit(confidence=1.0), "`confidence` must be between 0 and 1 but got 1.0"),
        (lambda: Bandit(marginal_range=0.0), "`marginal_range` must be finite and above 0 but got 0.0"),
        (
            lambda: run(Exact(), random_game(2, 0), 2).interval(0),
            "`confidence` must be between 0 and 1 but got 0",
        ),
    ],
)
def test_bad_options(make: Callable[[], object], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        make()


@every_estimator
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_named(estimator: Callable[[], Estimator], bad: float) -> None:
    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(coalitions.sum(1) == 5, bad, 1.0)

    message = rf"^the value of coalition \{{0, 1, 2, 3, 4\}} of 5 players is {bad}$"
    with pytest.raises(NonFiniteScoreError, match=message):
        run(estimator(), value, 5)


def test_game_refuses_what_it_cannot_use() -> None:
    with pytest.raises(NonFiniteScoreError, match=r"the value of coalition \{\} of 2 players is nan"):
        Game(lambda s: np.full(len(s), np.nan), 2)(np.zeros((1, 2), dtype=np.bool_))
    with pytest.raises(
        InvalidValueError, match=r"`value` must return float64 \[3\] for 3 coalitions but got \[3, 1\]"
    ):
        Game(lambda s: np.zeros((len(s), 1)), 3)(np.eye(3, dtype=np.bool_))
    game = Game(random_game(3, seed=0), 3)
    with pytest.raises(
        InvalidValueError, match=r"`coalitions` must be bool \[..., 3\] but got bool \[1, 4\]"
    ):
        game(np.zeros((1, 4), dtype=np.bool_))
    with pytest.raises(
        InvalidValueError, match=r"`coalitions` must be bool \[..., 3\] but got float64 \[1, 3\]"
    ):
        game(np.zeros((1, 3)))  # type: ignore[arg-type]
    assert game.evaluations == game.rounds == 0


def test_a_failed_batch_is_not_remembered() -> None:
    broken = True

    def value(coalitions: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.where(coalitions.all(1) & broken, np.nan, 1.0)

    game = Game(value, 3)
    with pytest.raises(NonFiniteScoreError):
        run(Exact(), game, 3)
    assert game.evaluations == 0
    broken = False
    np.testing.assert_array_equal(run(Exact(), game, 3).values, 0)
