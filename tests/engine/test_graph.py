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


def average_by_another_name(b: Builder, x: int) -> None:
    b.pool("p", x, "avg", 3)


def no_stride(b: Builder, x: int) -> None:
    b.conv("c", x, 4, 3, stride=0)


def half_a_channel(b: Builder, x: int) -> None:
    b.conv("c", x, 4.5, 3)  # type: ignore[arg-type]


def negative_padding(b: Builder, x: int) -> None:
    b.pool("p", x, "max", 3, padding=-1)


def nothing_to_join(b: Builder, x: int) -> None:
    b.concat("k", [])


def nothing_to_add(b: Builder, x: int) -> None:
    b.add("a", [])


def sum_of_two_sizes(b: Builder, x: int) -> None:
    b.add("a", [x, b.shift("s", x)])


def what_is_not_there(b: Builder, x: int) -> None:
    b.relu("r", x + 1)


def counted_from_the_end(b: Builder, x: int) -> None:
    b.relu("r", -1)


def cell_of_nothing(b: Builder, x: int) -> None:
    b.cell(7)


def two_of_one_name(b: Builder, x: int) -> None:
    b.conv("c", b.conv("c", x, 3, 3), 3, 3)


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
        (average_by_another_name, "Pool 'p' has the mode 'avg', which must be average or max"),
        (no_stride, "`stride` of 'c' must be a whole number, 1 or more, but is 0"),
        (half_a_channel, "`channels` of 'c' must be a whole number, 1 or more, but is 4.5"),
        (negative_padding, "`padding` of 'p' must be a whole number, 0 or more, but is -1"),
        (nothing_to_join, "`values` of 'k' must be a whole number, 1 or more, but is 0"),
        (nothing_to_add, "`values` of 'a' must be a whole number, 1 or more, but is 0"),
        (sum_of_two_sizes, r"Mixed 'a' must add values \[3, 8, 8\] but got \[\[3, 8, 8\], \[3, 7, 7\]\]"),
        (what_is_not_there, "no node has the position 1: read what the builder's methods return"),
        (counted_from_the_end, "no node has the position -1: read"),
        (cell_of_nothing, "no node has the position 7: read"),
        (two_of_one_name, "Conv 'c' has the name of a node before it: weights are drawn by name"),
        (images_again, "Input 'images' must be the first node, and the only one"),
        (no_classifier, "the last node must be Linear but is 'images'"),
    ],
)
def test_what_is_no_network_is_refused_by_its_name(build: Callable[[Builder, int], None], why: str) -> None:
    b = Builder()
    with pytest.raises(InvalidValueError, match=f"^{why}"):
        build(b, b.input(3, 8))
