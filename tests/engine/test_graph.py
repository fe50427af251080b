"""What a graph says of itself under masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine.errors import InvalidValueError
from znas_engine.graph import Builder
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


def no_pixels(b: Builder, x: int) -> None:
    b.conv("c", x, 4, 9)


def uneven_groups(b: Builder, x: int) -> None:
    b.conv("c", x, 4, 1, groups=2)


def wide_padding(b: Builder, x: int) -> None:
    b.pool("p", x, "max", 3, padding=2)


def two_sizes(b: Builder, x: int) -> None:
    b.concat("k", [x, b.shift("s", x)])


def classifier_of_pixels(b: Builder, x: int) -> None:
    b.linear("fc", x, 10)


def beyond_the_mean(b: Builder, x: int) -> None:
    b.relu("r", b.global_average("mean", x))


def images_again(b: Builder, x: int) -> None:
    b.input(3, 8)


def no_classifier(b: Builder, x: int) -> None:
    b.graph()


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (no_pixels, "Conv 'c' must have a pixel and a channel but has the shape .4, 0, 0"),
        (uneven_groups, "Conv 'c' has 2 groups, which do not divide 3 and 4 channels"),
        (wide_padding, "Pool 'p' has the padding 2, which is more than half of its kernel 3"),
        (two_sizes, "Concat 'k' must read values of one size but got .*3, 8, 8.*3, 7, 7"),
        (classifier_of_pixels, "Linear 'fc' reads 'images': Linear reads a GlobalAverage"),
        (beyond_the_mean, "Relu 'r' reads 'mean': Linear reads a GlobalAverage, and nothing else does"),
        (images_again, "Input 'images' must be the first node, and the only one"),
        (no_classifier, "the last node must be Linear but is 'images'"),
    ],
)
def test_what_is_no_network_is_refused_by_its_name(build: Callable[[Builder, int], None], why: str) -> None:
    b = Builder()
    with pytest.raises(InvalidValueError, match=f"^{why}"):
        build(b, b.input(3, 8))
