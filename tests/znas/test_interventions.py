from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.conftest import SPACES
from tests.znas.worlds import World
from znas.interventions import INTERVENTIONS, Belief, get_intervention
from znas.interventions.bayesian import posterior_predictive
from znas.interventions.cdf_difference import CdfDifference, density
from znas.interventions.gaussian import GaussianIntervention
from znas.interventions.knowledge import FromPrior, Neutral, Observed, level
from znas.interventions.probability import (
    Latent,
    check_p,
    draw_replaced,
    latent_factor,
    p_per_edge,
    parse_p,
    proposition_1,
)
from znas.interventions.query import Query, coalition, drop, together
from znas.interventions.scorer import IntervenedScorer
from znas.priors import Prior
from znas_engine.errors import InvalidValueError

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
numbers = st.floats(-1e3, 1e3, allow_nan=False)
NONE: list[list[Any]] = [[np.empty(0)] * 20_000]


def belief(mean: float, variance: float, n: int = 20_000) -> Belief:
    return Belief(np.full((1, n), mean), np.full((1, n), variance))


# --- equation 8: how often ---


def test_share_replaced_is_binomial() -> None:
    """20,000 draws at p = 0.3: within 4.42 standard errors, an error rate of 1e-5."""
    replaced = draw_replaced(np.full(20_000, 0.3), np.random.default_rng(0))
    assert abs(replaced.mean() - 0.3) < 4.42 * math.sqrt(0.3 * 0.7 / 20_000)


@given(st.integers(0, 2**32))
def test_none_at_zero_and_all_at_one(seed: int) -> None:
    assert not draw_replaced(np.zeros(50), np.random.default_rng(seed)).any()
    assert draw_replaced(np.ones(50), np.random.default_rng(seed)).all()


@pytest.mark.parametrize(
    ("text", "p"), [("0.5", 0.5), ("1", 1.0), ("auto", "auto"), ("0,0.5,1", (0, 0.5, 1))]
)
def test_p_is_read(text: str, p: Any) -> None:
    assert parse_p(text) == p


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (1.5, "`p` must be between 0 and 1 but got 1.5"),
        (math.nan, "`p` must be a number in .* but got nan"),
        ((0.5, -1), "`p` must be between 0 and 1 but got -1"),
        (True, "`p` must be a number"),
        ("half", "`p` must be a number"),
    ],
)
def test_p_is_checked(p: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        check_p(p)


def test_p_per_edge_wants_one_number_per_edge() -> None:
    assert p_per_edge(0.25, 6).tolist() == [0.25] * 6
    with pytest.raises(InvalidValueError, match="each of the 6 edges but got 2"):
        p_per_edge((0.5, 0.5), 6)


# --- Proposition 1 ---


@given(numbers, numbers, numbers)
def test_proposition_1_makes_the_intervened_mean_the_true_mean(
    mu_z: float, mu_obs: float, mu_do: float
) -> None:
    if abs(mu_obs - mu_do) < 1e-6:
        return
    auto = proposition_1(Latent(mu_z, mu_obs, mu_do, 1.0, 2.0))
    p = auto.estimate
    assert (1 - p) * mu_obs + p * mu_do == pytest.approx(mu_obs - mu_z, abs=1e-6, rel=1e-6)
    assert auto.p == min(max(p, 0), 1)


def test_proposition_1_has_no_solution_for_equal_means() -> None:
    with pytest.raises(InvalidValueError, match="the observed and the interventional mean are equal"):
        proposition_1(Latent(1.0, 3.0, 3.0, 1.0, 2.0))


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_the_mean_is_weighed_by_noise_and_not_by_how_neurons_differ(noise: float, variance_do: float) -> None:
    half = math.sqrt(noise / 2)
    observed = np.array([[4 - half, 6 - half], [4 + half, 6 + half]])  # means 4 and 6 of two neurons
    true = (5 / noise + 2 / variance_do) / (1 / noise + 1 / variance_do)
    found = latent_factor(observed, 2, variance_do)
    assert (found.mu_observed, found.mu_do) == (pytest.approx(5), 2)
    assert found.mu_true == pytest.approx(true)
    assert found.variance_z == pytest.approx(noise)
    assert found.variance_true == pytest.approx(2)  # of 4 and 6


def test_a_score_without_noise_is_believed() -> None:
    found = latent_factor(np.array([[4.0, 6.0], [4.0, 6.0]]), 2, 0.0)
    assert (found.mu_z, found.variance_z, found.variance_observed) == (0, 0, 2)


def test_equation_3_in_a_world_whose_moments_are_known() -> None:
    """Scores: a neuron's own (variance 4), what an environment adds to all (variance 1) and to each (2). Over
    300 worlds of 12 neurons and 5 environments, the first is what is left of the others."""
    rng = np.random.default_rng(0)
    own, shared = 2 * rng.normal(size=(300, 1, 12)), rng.normal(size=(300, 5, 1))
    worlds = 100 + own + shared + math.sqrt(2) * rng.normal(size=(300, 5, 12))
    found = [latent_factor(world, 90, 1) for world in worlds]
    for values, expected in (
        ([f.variance_z for f in found], 3),
        ([f.variance_observed for f in found], 7),
        ([f.variance_true for f in found], 4),
    ):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / math.sqrt(len(values))


def latent_world(seed: int) -> tuple[World, FromPrior, float]:
    """Observations whose true mean is shifted by a latent factor of variance 16 in all environments alike, a
    prior that is wrong by one of variance 4, and the true mean. Noise has these variances too."""
    rng = np.random.default_rng([seed, 7])
    world = World(NB201, seed, 8, noise=4.0)
    truth = np.array([[world.true(NB201.do(e, o)) for o in range(5)] for e in range(6)])
    world.single += rng.normal(0, 4) / 6
    prior = Prior(
        space=NB201,
        score="any",
        mean=truth + rng.normal(0, 2),
        variance=np.full((6, 5), 4.0),
        drop_mean=None,
        drop_variance=None,
        provenance={},
    )
    return world, FromPrior(prior, aligned=False), float(truth.mean())


def test_with_p_auto_the_intervened_mean_is_nearer_to_the_true_mean_than_either() -> None:
    """Of 200 worlds: p is 16 / (16 + 4) but for the noise of its estimate, the intervened mean misses the
    estimate of the true mean by chance alone, and the truth by the variance 1 / (1/16 + 1/4) = 3.2, where the
    observed mean misses it by 16 and the prior by 4."""
    p, off, errors = [], [], []
    for seed in range(200):
        world, knowledge, truth = latent_world(seed)
        scores = world.scorer("auto", seed, knowledge=knowledge)
        answers = scores(neurons())
        auto = scores.auto
        assert auto is not None
        mean = np.mean([answer.values for answer in answers])
        p.append(auto.p)
        off.append(mean - auto.mu_true)
        errors.append([mean - truth, auto.mu_observed - truth, auto.mu_do - truth])
    assert np.mean(p) == pytest.approx(0.8, abs=0.02)
    assert abs(np.mean(off)) < 4 * np.std(off) / math.sqrt(len(off))
    intervened, observed, prior = np.mean(np.square(errors), axis=0)
    assert intervened < prior < observed
    assert intervened == pytest.approx(3.2, rel=0.4)


def test_neurons_of_the_pilot_are_replaced_like_others() -> None:
    """Else the pilot, here all that there is, would stay at the observed mean."""
    shares = []
    for seed in range(60):
        world, knowledge, _ = latent_world(seed)
        scores = world.scorer("auto", seed, knowledge=knowledge)
        answers = scores(neurons()[:8])
        assert scores.auto is not None
        assert scores.auto.pilot == 8
        shares.append(np.mean([answer.intervened for answer in answers]) - scores.auto.p)
    assert abs(np.mean(shares)) < 4 * np.std(shares) / math.sqrt(len(shares))


# --- what is drawn ---


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_draws_have_the_mean_and_variance_of_the_belief(name: str) -> None:
    """20,000 draws; without evidence the Bayesian predictive is a t with 4 degrees of freedom and the
    belief's scale: b (k + 1) / (a k) = variance."""
    draws = get_intervention(name).draw(belief(7, 4), NONE, np.random.default_rng(3))[0]
    assert abs(draws.mean() - 7) < 4.42 * draws.std() / math.sqrt(len(draws))
    if name == "bayesian":
        freedom, location, scale = posterior_predictive(7, 4, np.empty(0))
        assert (freedom, location, scale) == (4, 7, pytest.approx(2))
        assert stats.kstest(draws, stats.t(4, 7, 2).cdf).pvalue > 1e-4
    else:
        assert draws.var() == pytest.approx(4, rel=0.06)


def test_gaussian_draws_are_gaussian() -> None:
    draws = GaussianIntervention().draw(belief(-1, 9), NONE, np.random.default_rng(4))[0]
    assert stats.kstest(draws, stats.norm(-1, 3).cdf).pvalue > 1e-4


def test_cdf_difference_draws_follow_the_difference_of_two_gaussian_cdfs() -> None:
    """Kolmogorov-Smirnov against the integral of the closed-form density, at an error rate of 1e-4."""
    grid = np.linspace(-20, 26, 20_001)
    pdf = density(grid, 3, 4)
    cdf = np.cumsum(pdf) * (grid[1] - grid[0])
    assert cdf[-1] == pytest.approx(1, abs=1e-6)
    assert (grid * pdf).sum() * (grid[1] - grid[0]) == pytest.approx(3, abs=1e-6)
    assert ((grid - 3) ** 2 * pdf).sum() * (grid[1] - grid[0]) == pytest.approx(4, rel=1e-6)
    draws = CdfDifference().draw(belief(3, 4), NONE, np.random.default_rng(5))[0]
    assert stats.kstest(draws, lambda x: np.interp(x, grid, cdf)).pvalue > 1e-4
    # Half of the variance is uniform, so the excess kurtosis is -1.2 / 4 = -0.3, nine standard errors from 0.
    assert stats.kurtosis(draws) == pytest.approx(-0.3, abs=0.15)


@given(st.lists(st.floats(-5, 5), max_size=12), st.floats(-3, 3), st.floats(0.1, 5))
def test_posterior_predictive_is_the_conjugate_update_one_score_at_a_time(
    scores: list[float], mean: float, variance: float
) -> None:
    """Against the recursive form of the normal-inverse-gamma update."""
    m, k, a, b = mean, 1.0, 2.0, variance
    for x in scores:
        b += k * (x - m) ** 2 / (2 * (k + 1))
        m = (k * m + x) / (k + 1)
        k, a = k + 1, a + 0.5
    found = posterior_predictive(mean, variance, np.array(scores))
    assert found == pytest.approx((2 * a, m, math.sqrt(b * (k + 1) / (a * k))))


def test_unknown_interventions_name_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match=r"unknown intervention 'bayes': .*did you mean 'bayesian'"):
        get_intervention("bayes")


# --- the neutral prior ---


def queries(count: int) -> list[Query]:
    """Of one kind, and different."""
    return [coalition(NB201.mixture(), i % 6, [i % 5]) for i in range(count)]


def test_neutral_draws_share_the_scale_of_what_was_observed() -> None:
    rng = np.random.default_rng(1)
    observed = rng.normal([[100.0], [-3.0]], [[5.0], [0.1]], (2, 3000))
    found = Neutral().belief(queries(3), Observed(queries(3000), observed))
    assert found.mean[:, 0] == pytest.approx(observed.mean(1))
    assert found.variance[:, 0] == pytest.approx(observed.var(1, ddof=1))
    single = Neutral().belief(queries(2), Observed(queries(1), observed[:, :1]))
    assert single.mean.tolist() == [[observed[0, 0]] * 2, [observed[1, 0]] * 2]
    assert not single.variance.any()
    nothing = Neutral().belief(queries(2), Observed.nothing(2))
    assert (nothing.mean.tolist(), nothing.variance.tolist()) == ([[0, 0]] * 2, [[1, 1]] * 2)


@pytest.mark.parametrize("name", INTERVENTIONS)
def test_neutral_draws_share_the_covariance_of_environments(name: str) -> None:
    """20,000 draws of five environments, one of which is constant; Student's t is wider by its freedom."""
    rng = np.random.default_rng(2)
    observed = 3 * rng.normal(size=(1, 40)) + rng.normal(size=(5, 40))
    observed[2] = 1.5
    found = Neutral().belief(queries(20_000), Observed(queries(40), observed))
    draws = get_intervention(name).draw(found, NONE * 5, rng)
    wider = 2 if name == "bayesian" else 1
    np.testing.assert_allclose(np.cov(draws) / wider, np.cov(observed), atol=0.8)
    assert np.corrcoef(draws[:2])[0, 1] == pytest.approx(np.corrcoef(observed[:2])[0, 1], abs=0.03)
    assert (draws[2] == 1.5).all()


@pytest.mark.parametrize("environments", [1, 2, 16])
def test_a_drawn_neuron_wins_as_often_as_an_observed_one(environments: int) -> None:
    """Half is drawn. In 300 searches of six edges the share of edges that a drawn neuron wins is that of
    neurons that are drawn, within four standard errors of 0.01."""
    won = []
    for seed in range(300):
        answers = World(NB201, seed, environments, noise=1.0).scorer(0.5, seed)(neurons())
        values = np.array([answer.values.mean() for answer in answers]).reshape(6, 5)
        drawn = np.array([answer.intervened for answer in answers]).reshape(6, 5)
        won += (drawn[np.arange(6), values.argmax(1)] - drawn.mean(1)).tolist()
    assert abs(np.mean(won)) < 4 * np.std(won) / math.sqrt(len(won))


@pytest.mark.parametrize("aligned", [None, True])
def test_a_draw_is_of_the_level_of_its_kind(aligned: bool | None) -> None:
    """Dropping an edge costs 50, keeping one operation costs nothing, three of them lie between; each kind
    has its own spread. Of what was drawn of a kind, mean and deviation are those of the kind."""
    rng = np.random.default_rng(0)
    kinds = {(1, 0): (50.0, 1.0), (1, 1): (100.0, 5.0), (1, 3): (80.0, 0.2)}
    knowledge = Neutral() if aligned is None else FromPrior(some_prior(rng), aligned=aligned)

    def observe(asked: Any) -> Any:
        return np.array([[rng.normal(*kinds[query.kind]) for query in asked]])

    mixture = DARTS.mixture()
    asked = [drop(mixture, [e]) for e in range(28)]
    asked += [coalition(mixture, e, [o]) for e in range(28) for o in range(1, 8)]
    asked += [coalition(mixture, e, [o, o + 1, o + 2]) for e in range(28) for o in range(1, 6)]
    drawn: dict[Any, list[float]] = {kind: [] for kind in kinds}
    for seed in range(20):
        scores = World(DARTS, seed).scorer(0.5, seed, observe=observe, edges=28, knowledge=knowledge)
        for query, answer in zip(asked, scores(asked), strict=True):
            if answer.intervened:
                drawn[query.kind].append(float(answer.values[0]))
    for kind, (mean, deviation) in kinds.items():
        assert np.mean(drawn[kind]) == pytest.approx(mean, abs=0.25 * deviation)
        assert np.std(drawn[kind]) == pytest.approx(deviation, rel=0.2)


def some_prior(rng: np.random.Generator) -> Prior:
    return Prior(
        space=DARTS,
        score="any",
        mean=rng.normal(7, 2, DARTS.shape),
        variance=rng.uniform(0.5, 1, DARTS.shape),
        drop_mean=rng.normal(3, 1, 28),
        drop_variance=rng.uniform(0.5, 1, 28),
        provenance={},
    )


def test_a_kind_that_was_not_measured_borrows_the_spread_of_the_others_and_not_their_distance() -> None:
    mixture = NB201.mixture()
    seen = [drop(mixture, [e]) for e in range(3)] + queries(3)
    values = np.array([[9.0, 10, 11, 99, 100, 101]])
    found = level(Observed(seen, values), (2, 2))
    assert (found.mean.item(), found.variance.item(), found.freedom) == (55, 1, 4)
    once = level(Observed([*seen, together(mixture, [(0, 1), (1, 1)])], np.append(values, [[7]], 1)), (2, 2))
    assert (once.mean.item(), once.variance.item()) == (7, 1)


# --- the scorer ---


class Recorder:
    """A value for every mask (a hash of it), and what was asked."""

    def __init__(self, environments: int = 2) -> None:
        self.asked: list[bytes] = []
        self.calls = 0
        self.environments = environments

    def __call__(self, queries: Any) -> Any:
        masks = np.stack([query.mask for query in queries])
        self.calls += 1
        self.asked += [mask.tobytes() for mask in masks]
        values = masks.reshape(len(masks), -1) @ np.arange(masks[0].size)
        return np.stack([values + k for k in range(self.environments)])


def scorer(p: Any, recorder: Recorder, seed: int = 0, **changes: Any) -> IntervenedScorer:
    return IntervenedScorer(
        **{
            "observe": recorder,
            "rows": recorder.environments,
            "edges": 6,
            "p": p,
            "knowledge": Neutral(),
            "intervention": GaussianIntervention(),
            "rng_replaced": np.random.default_rng(seed),
            "rng_draws": np.random.default_rng(seed + 1),
        }
        | changes
    )


def neurons() -> list[Any]:
    return [coalition(NB201.mixture(), e, [o]) for e in range(6) for o in range(5)]


@given(st.integers(0, 1000))
def test_what_is_replaced_is_never_evaluated_and_the_rest_is_one_batch(seed: int) -> None:
    recorder = Recorder()
    scores = scorer(0.5, recorder, seed)
    answers = scores(neurons())
    observed = [q.mask.tobytes() for q, a in zip(neurons(), answers, strict=True) if not a.intervened]
    assert recorder.asked == observed
    assert recorder.calls == min(1, len(observed))
    assert scores.account.observed == len(observed)
    assert scores.account.observed + scores.account.intervened == 30
    for query, answer in zip(neurons(), answers, strict=True):
        if not answer.intervened:
            assert answer.values.tolist() == Recorder()([query])[:, 0].tolist()


def test_asked_again_a_query_gets_the_same_answer_for_nothing() -> None:
    recorder = Recorder()
    scores = scorer(0.5, recorder)
    first = scores(neurons())
    again = scores(neurons() + neurons())
    assert [a is b for a, b in zip(again, first + first, strict=True)] == [True] * 60
    assert recorder.calls == 1
    assert scores.account.observed + scores.account.intervened == 30


def test_the_extremes_of_p() -> None:
    recorder = Recorder()
    assert all(answer.intervened for answer in scorer(1.0, recorder)(neurons()))
    assert recorder.calls == 0
    assert not any(answer.intervened for answer in scorer(0.0, recorder)(neurons()))
    assert len(recorder.asked) == 30


def test_p_per_edge_decides_edge_by_edge() -> None:
    answers = scorer((0, 1, 0, 1, 0, 1), Recorder())(neurons())
    assert [a.intervened for a in answers] == [e % 2 == 1 for e in range(6) for _ in range(5)]


def test_ensembles_have_their_own_account() -> None:
    scores = scorer(0.0, Recorder())
    mixture = NB201.mixture()
    scores([drop(mixture, [0]), drop(mixture, [1, 2]), together(mixture, [(0, 1), (3, 2)])])
    assert (scores.account.observed, scores.account.ensembles_observed) == (1, 2)


def test_bayesian_evidence_is_the_same_operation_elsewhere() -> None:
    seen: list[Any] = []

    class Spy(GaussianIntervention):
        def draw(self, belief: Belief, evidence: Any, rng: Any) -> Any:
            seen.append(evidence)
            return super().draw(belief, evidence, rng)

    recorder = Recorder(1)
    scores = scorer((0, 0, 1, 1, 1, 1), recorder, intervention=Spy())
    scores(neurons())
    (evidence,) = seen
    expected = [
        sorted(float(Recorder(1)([coalition(NB201.mixture(), e, [o])])[0, 0]) for e in (0, 1))
        for o in range(5)
    ]
    assert [sorted(values.tolist()) for values in evidence[0][:5]] == expected
