from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from znas.interventions import GaussianIntervention, draw_replaced


def test_share_replaced_is_binomial() -> None:
    """20,000 draws at p = 0.3: within 4.42 standard errors, an error rate of 1e-5."""
    replaced = draw_replaced(20_000, 0.3, np.random.default_rng(0))
    assert abs(replaced.mean() - 0.3) < 4.42 * math.sqrt(0.3 * 0.7 / 20_000)


@given(st.integers(0, 2**32))
def test_none_at_zero_and_all_at_one(seed: int) -> None:
    assert not draw_replaced(50, 0.0, np.random.default_rng(seed)).any()
    assert draw_replaced(50, 1.0, np.random.default_rng(seed)).all()


def test_observed_scores_pass_through_and_draws_share_their_scale() -> None:
    rng = np.random.default_rng(1)
    observed = rng.normal([[100.0], [-3.0]], [[5.0], [0.1]], (2, 6000))
    replaced = draw_replaced(6000, 0.5, rng)
    observed[:, replaced] = np.nan
    values = GaussianIntervention().apply(observed, replaced, rng)
    assert np.array_equal(values[:, ~replaced], observed[:, ~replaced])
    assert np.isfinite(values).all()
    for k, (mean, deviation) in enumerate(((100, 5), (-3, 0.1))):
        drawn = values[k, replaced]
        assert abs(drawn.mean() - mean) < 6.3 * deviation / math.sqrt(len(drawn))
        assert drawn.std() == pytest.approx(deviation, rel=0.1)


def test_nothing_observed_draws_standard_normals() -> None:
    values = GaussianIntervention().apply(
        np.full((1, 10_000), np.nan), np.ones(10_000, bool), np.random.default_rng(2)
    )
    assert abs(values.mean()) < 4.42 / 100
    assert values.std() == pytest.approx(1, rel=0.05)


def test_a_single_observation_makes_all_tie() -> None:
    replaced = np.array([True, False, True])
    values = GaussianIntervention().apply(
        np.array([[np.nan, 7.0, np.nan]]), replaced, np.random.default_rng(0)
    )
    assert values.tolist() == [[7.0, 7.0, 7.0]]
