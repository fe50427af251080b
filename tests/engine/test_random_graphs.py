"""Every backend computes what torch does, for graphs that no space of ours has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.conftest import targets
from tests.engine.graphs import EDGES, MACRO, OPERATIONS, OneGraph, graphs
from znas_engine.backends import BACKENDS, get_backend
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.graph import Builder, Graph, Input, Slot
from znas_engine.spaces import Mask
from znas_engine.spaces.mobile import conv_norm_relu, inverted_residual
from znas_engine.supernet.normalisation import NORMS
from znas_engine.testing.agreement import CODE_TOLERANCE, gram

IMAGES = 5


def masks_of(space: OneGraph, seed: int) -> Mask:
    """Mixture, do, drop, one-hot, sparse, empty."""
    rng = np.random.default_rng(seed)
    one_hot = np.eye(OPERATIONS, dtype=np.float32)[rng.integers(0, OPERATIONS, EDGES)]
    sparse = rng.random(space.shape, dtype=np.float32) * (rng.random(space.shape) < 0.5)
    empty = np.zeros(space.shape, np.float32)
    do = space.do(int(rng.integers(EDGES)), int(rng.integers(OPERATIONS)))
    return np.stack([space.mixture(), do, space.drop(1), one_hot, sparse.astype(np.float32), empty])


def assert_close(found: Any, expected: Any, what: str) -> None:
    """Within the named tolerance of the largest; what is only rounding of larger values is zero."""
    assert found.shape == expected.shape, what
    scale = max(float(np.abs(expected).max()), 1e-3)
    assert np.abs(found - expected).max() <= LOGIT_TOLERANCE["float32"] * scale, what


def read_twice() -> Graph:
    """A normalisation that a sum reads and that is the output of a cell: its statistics are measured once."""
    b = Builder()
    normed = b.cell(b.norm("norm", b.conv("conv", b.input(3, 8), 4, 3)))
    mixed = b.mixed("mixed", [(normed, (0, 1)), (normed, None)], b.shape(normed))
    b.linear("classifier", b.global_average("pool", mixed), MACRO.classes)
    return b.graph()


def one_pixel() -> Graph:
    """A ReLU of a shift that leaves one pixel: a strided view of what was there."""
    b = Builder()
    shifted = b.shift("shift", b.conv("conv", b.input(3, 2), 4, 1))
    b.linear("classifier", b.global_average("pool", b.cell(b.relu("relu", shifted))), MACRO.classes)
    return b.graph()


def inverted_residuals() -> Graph:
    """Blocks that expand, filter and project, under slots, with every kernel and stride; and filters that a
    sum reads as they are, under a slot, beside one that a 1x1 convolution reads."""
    b = Builder()
    x = b.cell(conv_norm_relu(b, "stem", b.input(3, 8), 6, 3))
    for edge, stride in enumerate((1, 2)):
        blocks: list[tuple[int, Slot | None]] = [
            (
                inverted_residual(b, f"{edge}.k{kernel}", x, 6, expansion=3, kernel=kernel, stride=stride),
                (edge, o),
            )
            for o, kernel in enumerate((3, 5, 7))
        ]
        if stride == 1:
            blocks.append((x, (edge, 3)))
        x = b.cell(b.mixed(f"{edge}.sum", blocks, b.shape(blocks[0][0])))
    wide, narrow, read = (
        b.conv(name, x, 6, kernel, padding=kernel // 2, groups=6)
        for name, kernel in (("wide", 7), ("narrow", 3), ("read", 3))
    )
    terms = [(wide, (2, 0)), (narrow, (2, 1)), (b.conv("separable", read, 6, 1), (2, 2)), (x, None)]
    x = b.mixed("filters", terms, b.shape(x))
    b.linear("classifier", b.global_average("pool", b.relu("last", x)), MACRO.classes)
    return b.graph()


@pytest.mark.parametrize(("name", "device"), targets(but=("torch", "cpu")))
@pytest.mark.parametrize("norm", NORMS)
@settings(max_examples=40, derandomize=True)
@given(graph=graphs(), seed=st.integers(0, 1000))
@example(graph=read_twice(), seed=261)
@example(graph=one_pixel(), seed=0)
@example(graph=inverted_residuals(), seed=3)
def test_random_graphs(name: str, device: str, norm: str, graph: Graph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    (shape,) = [node.shape for node in graph.nodes if isinstance(node, Input)]
    images = rng.standard_normal((IMAGES, *shape), dtype=np.float32)
    environment = Environment(seed, "gaussian", Batch(images, None))
    space = OneGraph(graph, part=rng.random((EDGES, OPERATIONS)) < 0.9)
    masks = masks_of(space, seed)
    reads = BACKENDS.get(name).reads
    expected, found = (
        get_backend(backend)(space, MACRO, norm=norm, devices=[there]).observe(
            masks, environment, reads=reads
        )
        for backend, there in (("torch", "cpu"), (name, device))
    )
    for g, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert_close(b.logits, a.logits, f"logits of mask {g}")
        assert a.pooled is not None
        assert_close(b.pooled, a.pooled, f"pooled of mask {g}")
        assert a.unpooled is not None
        assert_close(b.unpooled, a.unpooled, f"unpooled of mask {g}")
        for k, (right, other) in enumerate(zip(a.variances, b.variances, strict=True)):
            assert_close(other, right, f"variances {k} of mask {g}")
        assert len(b.features) == len(graph.cells)
        for k, (right, other) in enumerate(zip(a.features, b.features, strict=True)):
            assert_close(other, right, f"features {k} of mask {g}")
        assert [(site.bits, site.modules) for site in b.codes] == [
            (site.bits, site.modules) for site in a.codes
        ]
        flipped = sum(int(np.abs(gram(x) - gram(y)).sum()) for x, y in zip(a.codes, b.codes, strict=True))
        total = sum(site.bits for site in a.codes) * IMAGES**2
        assert flipped <= CODE_TOLERANCE * total + 2 * IMAGES, f"codes of mask {g}: {flipped} of {total}"
