"""What a graph says of itself under masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine.spaces import SearchSpace


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 70), density=st.floats(0, 1))
def test_modules_of_many_masks_are_those_of_each(
    space: SearchSpace[Any], seed: int, count: int, density: float
) -> None:
    graph = space.supernet(small(space))
    masks = np.random.default_rng(seed).random((count, *space.shape), np.float32)
    masks[np.random.default_rng(seed + 1).random(masks.shape) > density] = 0
    values, counts = graph.modules(masks)
    assert counts.shape == (len(values), count)
    for mask, modules in zip(masks[-3:], counts.T[-3:], strict=True):
        assert dict(zip(values, modules, strict=True)) == graph.relu_sites(graph.live(mask))
