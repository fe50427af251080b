"""What half precision may change: the named tolerance, or more where a network is so deep."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.rounding import SLACK, rounded, tolerance
from znas_engine.environment import Environment
from znas_engine.graph import Conv
from znas_engine.halves import nearest
from znas_engine.testing.agreement import noise

HALVES = ["float16", "bfloat16"]
numbers = st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=30)


@given(values=numbers, dtype=st.sampled_from(HALVES))
def test_numbers_are_rounded_as_pytorch_rounds(values: list[float], dtype: str) -> None:
    array = np.array(values, np.float32)
    _, found = nearest(array, dtype)
    assert np.array_equal(found, torch.from_numpy(array).to(getattr(torch, dtype)).float().numpy())


@pytest.mark.parametrize("dtype", HALVES)
def test_rounded_weights_are_those_of_the_environment(dtype: str) -> None:
    space = SPACES["nasbench201"]
    environment = Environment(3, "gaussian", noise(small(space), 2))
    coarse = rounded(environment, dtype)
    assert coarse.batch is environment.batch
    for node in space.supernet(small(space)).nodes:
        if isinstance(node, Conv):
            exact, found = environment.weight(node), coarse.weight(node)
            assert np.array_equal(found, nearest(exact, dtype)[1])
            assert not np.array_equal(found, exact)


@given(scale=st.floats(0.01, 100), error=st.floats(0, 0.3), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("dtype", LOGIT_TOLERANCE)
def test_the_worst_mask_decides(dtype: str, scale: float, error: float, seed: int) -> None:
    """Relative to the largest logit of that mask; float32 is held to what is named, whatever weights are."""
    logits = np.random.default_rng(seed).uniform(-1, 1, (2, 3, 5)).astype(np.float32)
    logits[:, 0, 0] = 1
    exact = [logits[0], np.float32(scale) * logits[1]]
    coarse = [exact[0], exact[1] + np.float32(error * scale) * np.eye(3, 5, dtype=np.float32)]
    found = tolerance(dtype, exact, coarse)
    if dtype == "float32":
        assert found == LOGIT_TOLERANCE[dtype]
    else:
        assert found == pytest.approx(max(LOGIT_TOLERANCE[dtype], SLACK * error), rel=1e-3)


def test_nothing_is_off_where_all_is_zero() -> None:
    nothing = [np.zeros((2, 3), np.float32)] * 2
    assert tolerance("bfloat16", nothing, nothing) == LOGIT_TOLERANCE["bfloat16"]
