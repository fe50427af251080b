"""Every face of sums of products of features against plain NumPy in double precision, and what they refuse.

Tolerance: 1e-5 of the product of the lengths of the rows that are multiplied (see znas_engine.grams).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.engine.test_kernels import every_isa
from znas_engine.errors import InvalidValueError
from znas_engine.grams import channel_gram, image_gram, response_grams
from znas_engine.kernels import available_isas
from znas_engine.scores import Observation

#: Around vectors, and past the columns that are summed in single precision.
SIDES = st.sampled_from([1, 3, 4, 5, 8, 23, 32])
COUNTS = st.integers(1, 9)
SEEDS = st.integers(0, 2**32)
examples = hypothesis_settings(max_examples=20, deadline=None)


def drawn(seed: int, *shape: int) -> NDArray[np.float32]:
    """Channels of all scales, far from zero."""
    rng = np.random.default_rng(seed)
    scale = rng.exponential(size=(shape[1], 1, 1))
    return (scale * (rng.standard_normal(shape) + 5)).astype(np.float32)


def assert_products(
    found: NDArray[np.float64], left: NDArray[np.floating[Any]], right: NDArray[np.floating[Any]]
) -> None:
    """found: of every row of `left` with every row of `right`."""
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    assert found.dtype == np.float64
    assert found.shape == lengths.shape
    assert (np.abs(found - left @ right.T) <= 1e-5 * lengths + 1e-30).all()


def centred(rows: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    return rows - rows.mean(1, keepdims=True, dtype=np.float64)


@every_isa
@given(seed=SEEDS, images=COUNTS, channels=st.integers(1, 35), height=SIDES, width=SIDES)
@examples
def test_channels(isa: str, seed: int, images: int, channels: int, height: int, width: int) -> None:
    x = drawn(seed, images, channels, height, width)
    mean, gram = channel_gram(x, isa=isa)
    rows = x.transpose(1, 0, 2, 3).reshape(channels, -1)
    np.testing.assert_allclose(mean, rows.mean(1, dtype=np.float64), rtol=1e-12)
    np.testing.assert_array_equal(gram, gram.T)
    if rows.shape[1] > 1:
        assert_products(gram, centred(rows), centred(rows))


@every_isa
@given(seed=SEEDS, images=st.integers(1, 35), channels=COUNTS, side=SIDES)
@examples
def test_images(isa: str, seed: int, images: int, channels: int, side: int) -> None:
    x = drawn(seed, images, channels, side, side)
    rows = x.reshape(images, -1)
    gram = image_gram(x, isa=isa)
    np.testing.assert_array_equal(gram, gram.T)
    np.testing.assert_array_equal(gram, image_gram(rows, isa=isa))
    if rows.shape[1] > 1:
        assert_products(gram, centred(rows), centred(rows))


@every_isa
@given(
    seed=SEEDS,
    images=COUNTS,
    cells=st.lists(st.tuples(st.integers(1, 18), st.sampled_from([1, 1, 2, 3])), min_size=1, max_size=4),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
)
@examples
def test_responses(
    isa: str, seed: int, images: int, cells: list[tuple[int, int]], height: int, width: int
) -> None:
    """Cells of so many channels, each dividing the resolution by its own factor."""
    shapes = []
    for channels, factor in reversed(cells):
        shapes.append((images, channels, height, width))
        height, width = height * factor, width * factor
    shapes.reverse()
    rng = np.random.default_rng(seed)
    still, nudged = ([rng.standard_normal(s, dtype=np.float32) for s in shapes] for _ in range(2))
    found = response_grams(still, nudged, isa=isa)
    assert len(found) == len(cells) - 1
    moved = [b.astype(np.float64) - a for a, b in zip(still, nudged, strict=True)]
    for (energy, cross), (before, after) in zip(found, pairwise(moved), strict=True):
        n, channels, high, wide = (*before.shape[:2], *after.shape[2:])
        blocks = before.reshape(n, channels, high, before.shape[2] // high, wide, before.shape[3] // wide)
        x, y = (d.swapaxes(0, 1).reshape(d.shape[1], -1) for d in (blocks.mean((3, 5)), after))
        assert_products(energy, x, x)
        assert_products(cross, x, y)
        np.testing.assert_array_equal(energy, energy.T)


@every_isa
def test_constants_have_no_products(isa: str) -> None:
    """Exactly: a score asks whether there are any."""
    x = np.full((5, 3, 7, 9), 0.7, np.float32)
    mean, gram = channel_gram(x, isa=isa)
    assert set(mean) == {np.float64(np.float32(0.7))}
    assert not gram.any()
    assert not image_gram(x, isa=isa).any()
    ((energy, cross),) = response_grams([x, x], [x, x], isa=isa)
    assert not energy.any()
    assert not cross.any()


@every_isa
def test_strides_do_not_matter(isa: str) -> None:
    x = drawn(1, 4, 6, 8, 8)
    turned = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(channel_gram(turned, isa=isa)[1], channel_gram(x, isa=isa)[1])
    np.testing.assert_array_equal(image_gram(turned, isa=isa), image_gram(x, isa=isa))
    pairs = response_grams([turned] * 2, [x + 1] * 2, isa=isa)
    np.testing.assert_array_equal(pairs[0][1], response_grams([x] * 2, [x + 1] * 2, isa=isa)[0][1])


FOUR, TWO, THREE = (np.zeros((2, 3, side, side), np.float32) for side in (4, 2, 3))
WRONG: dict[str, Callable[[str], Any]] = {
    "`x` must have dtype float32 but got float64": lambda isa: channel_gram(FOUR.astype("f8"), isa=isa),  # type: ignore[arg-type]
    "`x` must have shape [images, channels, height, width] but got [2, 3]": lambda isa: channel_gram(
        FOUR[:, :, 0, 0], isa=isa
    ),
    "`x` must not be empty but has shape [0, 3, 4, 4]": lambda isa: channel_gram(FOUR[:0], isa=isa),
    "`x` must not be empty but has shape [2, 0]": lambda isa: image_gram(np.zeros((2, 0), "f4"), isa=isa),
    "`nudged` must have 2 features, like `still`, but has 1": lambda isa: response_grams(
        [FOUR, TWO], [FOUR], isa=isa
    ),
    "`nudged[1]` must have shape [2, 3, 2, 2] but got [2, 3, 4, 4]": lambda isa: response_grams(
        [FOUR, TWO], [FOUR, FOUR], isa=isa
    ),
    "`still[1]` must have 2 images and pixels that those before are a whole multiple of but has shape "
    "[2, 3, 3, 3]": lambda isa: response_grams([FOUR, THREE], [FOUR, THREE], isa=isa),
    "`still[1]` must have 2 images and pixels that those before are a whole multiple of but has shape "
    "[2, 3, 4, 4]": lambda isa: response_grams([TWO, FOUR], [TWO, FOUR], isa=isa),
    "`still[1]` must have 2 images and pixels that those before are a whole multiple of but has shape "
    "[1, 3, 4, 4]": lambda isa: response_grams([FOUR, FOUR[:1]], [FOUR, FOUR[:1]], isa=isa),
    "`still[0]` must not be empty but has shape [0, 3, 4, 4]": lambda isa: response_grams(
        [FOUR[:0]], [FOUR[:0]], isa=isa
    ),
}


@every_isa
@pytest.mark.parametrize("message", WRONG)
def test_refusals_in_the_same_words(isa: str, message: str) -> None:
    with pytest.raises(InvalidValueError) as refused:
        WRONG[message](isa)
    assert str(refused.value) == message


def test_an_unknown_instruction_set_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="unknown isa 'mmx'"):
        channel_gram(FOUR, isa="mmx")
    assert channel_gram(FOUR)[0].shape == channel_gram(FOUR, isa=available_isas()[-1])[0].shape


def test_what_scores_share_is_computed_once_per_observation() -> None:
    asked: list[Observation] = []

    def statistic(seen: Observation) -> int:
        asked.append(seen)
        return seen.classes

    one, other = Observation(classes=1), Observation(classes=2)
    assert [one.once(statistic), other.once(statistic), one.once(statistic)] == [1, 2, 1]
    assert [seen.classes for seen in asked] == [1, 2]
