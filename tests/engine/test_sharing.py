"""Masks of one call share what they agree on: to the bit as if each were run alone, in bounded memory."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import SPACES, small
from znas_engine import _core
from znas_engine.backends import get_backend
from znas_engine.backends.sharing import HANDED_OUT, SORTED, TOGETHER, WORTHWHILE, neighbours, shared
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.scores import Observation
from znas_engine.spaces import Mask, SearchSpace

pytestmark = pytest.mark.ours

READS = frozenset({"codes", "features", "pooled", "unpooled", "variances"})
#: Spaces of layers with mask entries of their own.
CHAINS = ("mobilenet", "nasbench_macro")


def passes(space: SearchSpace[Any], images: Batch, norm: str = "calibrated", reads: Any = READS) -> Any:
    """A pass on the processor."""
    evaluator = get_backend("native")(space, small(space), norm=norm)
    return evaluator.prepare(Environment(3, "gaussian", images), norm=norm, reads=reads, device="cpu")


def observations(space: SearchSpace[Any]) -> Mask:
    """The mixture and every do(e, o)."""
    each = [space.do(e, o) for e in range(space.shape[0]) for o in space.options(e)]
    return np.stack([space.mixture(), *each])


@st.composite
def families(draw: st.DrawFn, space: SearchSpace[Any]) -> Mask:
    """A mask and others that differ from it, or from one another, in a few edges; some twice."""
    entries = st.sampled_from([0.0, 0.0, 0.25, 1.0])
    edges, operations = space.shape
    rows = st.lists(entries, min_size=operations, max_size=operations)
    masks = [space.mixture()]
    for _ in range(draw(st.integers(1, 5))):
        mask = masks[draw(st.integers(0, len(masks) - 1))].copy()
        for edge in draw(st.lists(st.integers(0, edges - 1), max_size=2)):
            mask[edge] = draw(rows)
        masks.append(mask)
    return np.stack(masks)


def bits(seen: Observation) -> list[bytes]:
    arrays: list[Any] = [seen.logits, seen.pooled, seen.unpooled, *seen.features, *seen.variances]
    arrays += [part for site in seen.codes for part in (site.packed, np.array([site.bits, site.modules]))]
    return [b"" if array is None else np.ascontiguousarray(array).tobytes() for array in arrays]


@pytest.mark.parametrize("norm", ["calibrated", "batch"])
@pytest.mark.parametrize("space", SPACES)
def test_company_changes_no_bit(space: str, norm: str, images: Batch) -> None:
    run = passes(SPACES[space], images[:5], norm)
    shown = images[:5].images

    @settings(max_examples=8)
    @given(families(SPACES[space]))
    def check(masks: Mask) -> None:
        alone = [run(mask, shown) for mask in masks]
        for one, other in zip(alone, run.batch(masks, shown), strict=True):
            assert bits(one) == bits(other)
            assert one.codes.agreements().tolist() == other.codes.agreements().tolist()

    check()


@pytest.mark.parametrize("norm", ["calibrated", "batch"])
@pytest.mark.parametrize("space", ["nasbench_macro", "darts"])
def test_scores_depend_on_neither_order_nor_threads(space: str, norm: str, images: Batch) -> None:
    """And a pass is a pass, whatever of it was shared."""
    masks = observations(SPACES[space])[:40]
    mixed = np.random.default_rng(0).permutation(len(masks))
    environment = Environment(3, "gaussian", images[:8])
    found = {}
    for threads, order in ((1, np.arange(len(masks))), (2, mixed)):
        evaluator = get_backend("native")(SPACES[space], small(SPACES[space]), norm=norm, threads=threads)
        done: list[int] = []
        scores = evaluator.evaluate(
            masks[order],
            score="naswot+participation+accuracy",
            environments=environment,
            progress=lambda step, total, done=done: done.append(step),  # type: ignore[misc]
        )
        found[threads] = scores.values
        assert scores.evaluations == len(masks) == done[-1]
        assert done == sorted(done)
        assert len(done) == len(masks)
    assert np.array_equal(found[1][:, mixed], found[2])
    alone = evaluator.observe(masks[:3], environment, reads=["codes"])
    run = passes(SPACES[space], images[:8], norm, frozenset({"codes"}))
    for one, other in zip(alone, run.batch(masks[:3], images[:8].images), strict=True):
        assert bits(one) == bits(other)


@pytest.mark.parametrize("space", CHAINS)
def test_what_is_shared_is_handed_out_once(space: str, images: Batch) -> None:
    """The codes before the layer that differs; nobody can write to what belongs to several."""
    run = passes(SPACES[space], images[:2], reads=frozenset({"codes", "features"}))
    last = SPACES[space].shape[0] - 1
    masks = np.stack([SPACES[space].do(last, o) for o in SPACES[space].options(last)])
    first, *others = run.batch(masks, images[:2].images)
    for other in others:
        assert next(iter(first.codes)).packed is next(iter(other.codes)).packed
        assert first.features[0].base is other.features[0].base
        assert not np.array_equal(first.features[-1], other.features[-1])
    assert run.last.made.parts == 1
    with pytest.raises(ValueError, match="read-only"):
        first.features[0][:] = 0


@pytest.mark.parametrize(
    ("space", "norm"), [("mobilenet", "calibrated"), ("nasbench_macro", "batch"), ("darts", "batch")]
)
def test_the_memory_of_a_call_is_bounded(space: str, norm: str, images: Batch) -> None:
    """All do-observations at once take no more than SHARED_BYTES beside the one that takes the most alone;
    in a chain much less: what waits belongs to one layer."""
    searched, shown = SPACES[space], images[:4].images
    run = passes(searched, images[:4], norm, frozenset())
    masks = observations(searched)
    run.batch(masks, shown)
    together, alone = run.last.made.bytes, []
    for mask in (masks[0], *masks[1::10]):
        run(mask, shown)
        alone.append(run.last.made.bytes)
    assert together <= _core.SHARED_BYTES + max(alone)
    if space in CHAINS:
        assert together < 2 * max(alone)


@pytest.mark.parametrize("space", SPACES)
def test_a_call_takes_masks_that_share_work(space: str) -> None:
    """And no more than its codes and features have room for."""
    searched = SPACES[space]
    evaluator = get_backend("native")(searched, searched.search_macro(resolution=32, classes=10))
    logits: frozenset[str] = frozenset()
    if space == "nasbench201":
        assert shared(evaluator.graph) < WORTHWHILE
        assert evaluator.masks_together(logits, 64) == 1
        assert evaluator.neighbours(np.zeros((3, *searched.shape), np.float32)).tolist() == [0, 1, 2]
        return
    assert 0.3 < shared(evaluator.graph) < 0.7
    assert evaluator.masks_together(logits, 64) == TOGETHER
    assert evaluator.masks_together(frozenset({"codes"}), 2**10) < TOGETHER
    assert evaluator.masks_together(frozenset({"features", "unpooled"}), HANDED_OUT) == 1


@given(st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_neighbours_are_all_masks_and_agree(count: int, seed: int) -> None:
    masks = np.random.default_rng(seed).integers(0, 2, (count, 2, 2)).astype(np.float32)
    order = neighbours(masks)
    assert sorted(order.tolist()) == list(range(count))
    rows = [masks[g].tobytes() for g in order]
    firsts = [masks[g, 0].tobytes() for g in order]
    for keys in (rows, firsts):
        changes = sum(a != b for a, b in pairwise(keys))
        assert changes == max(0, len({*keys}) - 1)  # equal ones lie together


def test_neighbours_of_many_masks() -> None:
    masks = np.zeros((SORTED + 3, 1, 2), np.float32)
    assert sorted(neighbours(masks).tolist()) == list(range(len(masks)))
