"""Powers of two that keep float16 in range where nothing normalises."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx.reference import ReferenceEvaluator

from tests.conftest import SPACES, small
from znas_engine.backends import get_backend
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.onnxruntime import session
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import Evaluator
from znas_engine.export import feature_output
from znas_engine.export.onnx_graph import export
from znas_engine.graph import Builder, Graph
from znas_engine.scores import READS
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.supernet.normalisation import Statistics
from znas_engine.supernet.rescale import Rescale, unscaled
from znas_engine.testing.agreement import kinds_of_masks

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]


def extreme_masks(space: SearchSpace[Any]) -> dict[str, Mask]:
    """Masks under which values grow as fast as they can."""
    alone = {
        name: np.tile(np.eye(len(space.operations), dtype=np.float32)[o], (len(space.edges), 1))
        for o, name in enumerate(space.operations)
    }
    alone |= {"all": np.ones(space.shape, np.float32)}
    return {name: mask * space.mixed for name, mask in alone.items()}


def every_kind(space: SearchSpace[Any]) -> dict[str, Mask]:
    return kinds_of_masks(space) | extreme_masks(space)


def made(space: SearchSpace[Any], macro: Macro, images: Batch) -> tuple[Evaluator, Environment, Rescale]:
    """The reference, an environment of few of the images, and the scales that it gives."""
    images = images[:8]
    environment = Environment(11, "gaussian", images)
    reference: Any = get_backend("torch")(space, macro, norm="identity")
    powers = reference.powers(environment, images.images[:4])
    return reference, environment, Rescale(reference.graph, space.mixture(), powers)


def bad_graph(kind: str) -> Graph:
    """A stem, a cell with two masked sums of its output, and one node that has no single scale."""
    b = Builder()
    shape = (4, 8, 8)
    stem = b.cell(b.conv("stem", b.input(3, 8), 4, 3, padding=1))
    left = b.mixed("left", [(stem, (0, 0))], shape)
    if kind == "constant":
        left = b.mixed("both", [(left, (1, 0)), (stem, None)], shape)
    elif kind == "slot":
        left = b.mixed("again", [(left, (0, 0))], shape)
    elif kind == "join":
        left = b.concat("join", [left, stem])
    if kind != "cell":
        b.cell(left)
    b.linear("classifier", b.global_average("pool", left), 10)
    return b.graph()


@pytest.mark.parametrize(
    ("kind", "why"),
    {
        "constant": "Mixed 'both' adds a constant term to masked ones",
        "slot": "Mixed 'again' reads a slot of its cell's mask for values of another cell than "
        "a node before it",
        "join": "Concat 'join' joins values of different cells",
        "cell": "Mixed 'left' comes after the last cell",
    }.items(),
)
def test_a_graph_without_places_for_scales_is_refused(kind: str, why: str) -> None:
    with pytest.raises(InvalidValueError, match=re.escape(f"no place for: {why}; pass --dtype float32")):
        Rescale(bad_graph(kind), np.ones((2, 1), np.float32), {})


def per_cell(mask: Mask, cells: int) -> Mask:
    return np.tile(mask, (cells, 1, 1))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_scaling_is_exact(space: SearchSpace[Any], images: Batch) -> None:
    """In float32 the scaled graph gives, to the bit, what it gives unscaled: logits, pooled and features."""
    reference, environment, rescale = made(space, small(space), images)
    graph = reference.graph
    run = session(
        export(
            graph,
            environment.weight,
            statistics=Statistics.identity(graph),
            mask=(len(graph.cells), *space.shape),
            reads=READS,
        )
    )
    last = (*graph.cells, graph.unpooled)
    at = {"logits": -1, "pooled": graph.penultimate} | {feature_output(i): i for i in last}
    for kind, mask in every_kind(space).items():
        scaled = rescale(mask)
        assert scaled.mask.shape == (len(graph.cells), *space.shape)
        assert scaled.mask.dtype == np.float32
        plain, found = (
            run.run(list(at), {"images": environment.batch.images, "mask": each})
            for each in (per_cell(mask, len(graph.cells)), scaled.mask)
        )
        for name, expected, value in zip(at, plain, found, strict=True):
            assert np.array_equal(np.ldexp(value, scaled.exponents[at[name]]), expected), f"{kind}: {name}"


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_cells_are_of_the_order_of_one(space: SearchSpace[Any], images: Batch) -> None:
    """Under masks by which values grow a million times, scaled cells stay within 2^-8 and 2^8 of 1. Behind
    60 layers they would leave float32."""
    cells = 3 if len(space.supernet(small(space)).cells) < 20 else 1
    reference, environment, rescale = made(space, replace(small(space), cells=cells), images)
    kinds = every_kind(space)
    seen = reference.observe(np.stack(list(kinds.values())), environment, reads=["features"])
    growth = []
    for kind, mask, observed in zip(kinds, kinds.values(), seen, strict=True):
        exponents = rescale(mask).exponents
        for position, feature in zip(reference.graph.cells, observed.features, strict=True):
            size = float(np.sqrt(np.mean(np.square(feature, dtype=np.float64))))
            growth.append(size)
            if size:
                assert 2**-8 < size * 2.0 ** -exponents[position] < 2**8, kind
    assert max(growth) > 1e5


def float16_logits(run: Any, images: NDArray[np.float32], mask: Mask) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):
        (logits,) = run.run(["logits"], {"images": images, "mask": mask})
    found: NDArray[np.float32] = logits
    return found


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")  # it takes NaN for padding
def test_float16_arithmetic_overflows_without_scales_and_not_with_them(images: Batch) -> None:
    """NAS-Bench-201 as ONNX's own reference computes it, every value rounded to float16."""
    macro = replace(small(NB201), cells=2)
    batch = images[:2]
    reference, environment, rescale = made(NB201, macro, batch)
    run = ReferenceEvaluator(
        get_backend("ort")(NB201, macro, norm="identity").export(environment, dtype="float16")
    )
    masks = np.stack([np.ones(NB201.shape, np.float32), NB201.do(1, 3)])
    overflown = []
    for mask, expected in zip(masks, reference.observe(masks, environment), strict=True):
        plain = per_cell(mask, len(reference.graph.cells))
        overflown.append(not np.isfinite(float16_logits(run, batch.images, plain)).all())
        scaled = rescale(mask)
        found = np.ldexp(float16_logits(run, batch.images, scaled.mask), scaled.exponents[-1])
        largest = np.abs(expected.logits).max()
        assert np.abs(found - expected.logits).max() <= LOGIT_TOLERANCE["float16"] * largest
    assert overflown == [True, False]


def test_float16_graphs_of_darts_stay_finite(images: Batch) -> None:
    """As ONNX Runtime computes them on a CPU: convolutions read float16, some sums are kept in float32.

    The bound is four standard deviations of rounding weights to bfloat16, for 3 bits more, for activations
    that are rounded too, and for a row of 8 x (1 + 4 x 4) convolutions.
    """
    macro = replace(DARTS.search_macro(resolution=16, classes=10), channels=4)
    reference, environment, rescale = made(DARTS, macro, images)
    batch = environment.batch.images
    run = session(get_backend("ort")(DARTS, macro, norm="identity").export(environment, dtype="float16"))
    kinds = extreme_masks(DARTS)
    overflown = 0
    bound = 4 * 1.66e-3 / 2**3 * np.sqrt(2 * 8 * (1 + 4 * 4))
    observed = reference.observe(np.stack(list(kinds.values())), environment)
    for kind, mask, expected in zip(kinds, kinds.values(), observed, strict=True):
        plain = float16_logits(run, batch, per_cell(mask, len(reference.graph.cells)))
        overflown += not np.isfinite(plain).all()
        scaled = rescale(mask)
        found = np.ldexp(float16_logits(run, batch, scaled.mask), scaled.exponents[-1])
        largest = np.abs(expected.logits).max()
        assert np.abs(found - expected.logits).max() <= bound * largest, kind
    assert overflown >= 2


def test_masks_that_cells_share_are_left_alone() -> None:
    graph = NB201.supernet(small(NB201))
    scaled = unscaled(graph)(NB201.mixture())
    assert np.array_equal(scaled.mask, NB201.mixture())
    assert set(scaled.exponents) == {0}
