"""What contracts share: small supernets, masks of every kind, and how near two passes have to be."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.backends import BACKENDS, can_run
from znas_engine.backends.checks import LOGIT_TOLERANCE, scales
from znas_engine.backends.rounding import rounded, tolerance
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.evaluator import Evaluator
from znas_engine.scores import READS, CodeSite, Observation
from znas_engine.spaces import Macro, Mask, SearchSpace, resize

#: Bits whose pre-activation is within rounding of zero may differ.
CODE_TOLERANCE = 1e-4


def small(space: SearchSpace[Any], *, resolution: int = 16, classes: int = 10) -> Macro:
    """The smallest supernet that has every kind of cell, 4 channels wide."""
    return resize(space.proxy_macro(resolution=resolution, classes=classes), channels=4, cells=None)


def noise(macro: Macro, images: int, *, labelled: bool = True) -> Batch:
    """Gaussian pixels for a network of that size, labels in a fixed order."""
    rng = np.random.default_rng(0)
    size = (images, macro.inputs, macro.resolution, macro.resolution)
    labels = rng.permutation(np.arange(images) % macro.classes)
    return Batch(rng.standard_normal(size, dtype=np.float32), labels if labelled else None)


def runnable() -> list[str]:
    """The backends that this machine can run, each on its default device."""
    return [name for name in BACKENDS.names() if can_run(name)]


def path(space: SearchSpace[Any], chosen: NDArray[np.int64]) -> Mask:
    """int64 [E], an operation per edge -> the one-hot mask; nothing is given up."""
    return np.eye(len(space.operations), dtype=np.float32)[chosen]


def kinds_of_masks(space: SearchSpace[Any]) -> dict[str, Mask]:
    """One of every kind that a search or a game sends, and some that none does."""
    rng = np.random.default_rng(3)
    edges = len(space.edges)
    options = [space.options(e) for e in range(edges)]
    wide = max(range(edges), key=lambda e: len(options[e]))
    choice = path(space, np.array([rng.choice(own) for own in options]))
    uneven = rng.random(space.shape, dtype=np.float32)
    uneven[(rng.random(space.shape) < 0.5) | ~space.mixed] = 0
    found = {
        "mixture": space.mixture(),
        "do": space.do(wide, options[wide][-1]),
        "drop": space.drop(edges // 2),
        "coalition": space.coalition(wide, [options[wide][0], options[wide][-1]]),
        "one-hot": choice,
        "one-hot, edges dropped": choice * (np.arange(edges) % 2 == 0)[:, None],
        "fewest nodes": _fewest_nodes(space),
        "empty": np.zeros(space.shape, np.float32),
        "uneven": uneven,
    }
    idle = np.argwhere(space.mixed & ~space.computing)
    if len(idle):
        found["do nothing"] = space.do(*map(int, idle[-1]))
    return found


def _fewest_nodes(space: SearchSpace[Any]) -> Mask:
    """The same operation on all edges that have it, one that computes on the others: the mask with which
    images pass the fewest nodes."""
    graph = space.supernet(small(space))
    spare = [max(space.options(e), key=space.computing[e].item) for e in range(len(space.edges))]
    found = []
    for operation in range(len(space.operations)):
        chosen = [operation if space.candidates[e, operation] else other for e, other in enumerate(spare)]
        mask = path(space, np.array(chosen))
        if graph.fed(mask)[-1]:
            found.append((sum(graph.live(mask)), operation, mask))
    return min(found, key=lambda each: each[:2])[2]


@contextmanager
def one_line(kind: type[Exception], match: str | None = None) -> Iterator[None]:
    """What is inside raises `kind`, whose message is one line that can be shown to a user."""
    with pytest.raises(kind, match=match) as caught:
        yield
    message = str(caught.value)
    assert message
    assert "\n" not in message
    assert len(message) < 500, message


def assert_conforms(reference: Evaluator, evaluator: Evaluator, environment: Environment) -> None:
    """Under masks of every kind: codes within CODE_TOLERANCE, all else within LOGIT_TOLERANCE of float32,
    counts of correct images equal where the logits decide."""
    kinds = kinds_of_masks(evaluator.space)
    masks = np.stack(list(kinds.values()))
    reads = evaluator.record.reads
    right, seen = (
        reference.observe(masks, environment, reads=READS),
        evaluator.observe(masks, environment, reads=reads),
    )
    logits = scales([each.logits for each in right])
    maps = zip(
        *(scales(of_masks) for of_masks in zip(*(_maps(each, reads) for each in right), strict=True)),
        strict=True,
    )
    for kind, expected, found, scale, largest in zip(kinds, right, seen, logits, maps, strict=True):
        _assert_near(
            expected.logits, found.logits, LOGIT_TOLERANCE["float32"], environment.batch, kind, scale
        )
        assert len(found.features) == len(evaluator.graph.cells), kind
        assert (found.unpooled is not None) == ("unpooled" in reads), kind
        for a, b, unit in zip(_maps(expected, reads), _maps(found, reads), largest, strict=True):
            assert a.shape == b.shape, kind
            assert np.abs(a - b).max() <= LOGIT_TOLERANCE["float32"] * unit, f"{kind}: features"
        if "variances" in reads:
            for a, b in zip(expected.variances, found.variances, strict=True):
                assert np.abs(a - b).max() <= LOGIT_TOLERANCE["float32"] * np.abs(a).max(), (
                    f"{kind}: variances"
                )
        assert [site.modules for site in found.codes] == [site.modules for site in expected.codes], kind
        flipped = sum(
            int(np.abs(gram(a) - gram(b)).sum()) for a, b in zip(expected.codes, found.codes, strict=True)
        )
        total = sum(site.bits for site in expected.codes) * len(environment.batch.images) ** 2
        assert flipped <= CODE_TOLERANCE * total, f"{kind}: {flipped} of {total} bits"


def assert_logits_conform(reference: Evaluator, evaluator: Evaluator, environment: Environment) -> None:
    """Likewise logits and counts alone, within what the evaluator's dtype may change."""
    kinds = kinds_of_masks(evaluator.space)
    masks = np.stack(list(kinds.values()))
    right, seen = (each.observe(masks, environment) for each in (reference, evaluator))
    coarse = reference.observe(masks, rounded(environment, evaluator.dtype))
    logits = [each.logits for each in right]
    most = tolerance(evaluator.dtype, logits, [each.logits for each in coarse])
    for kind, expected, found, scale in zip(kinds, right, seen, scales(logits), strict=True):
        _assert_near(expected.logits, found.logits, most, environment.batch, kind, scale)


def _maps(seen: Observation, reads: Collection[str]) -> tuple[NDArray[np.float32], ...]:
    """What the classifier reads, before its mean over pixels too, and the outputs of all cells."""
    assert seen.pooled is not None
    if "unpooled" not in reads:
        return (seen.pooled, *seen.features)
    assert seen.unpooled is not None
    return (seen.pooled, seen.unpooled, *seen.features)


def _assert_near(
    expected: NDArray[np.float32],
    found: NDArray[np.float32],
    most: float,
    batch: Batch,
    kind: str,
    scale: float,
) -> None:
    """Logits [n, classes] within `most` of `scale`. Of the images whose two best classes are further apart
    than errors reach, as many are correct."""
    assert found.shape == expected.shape, kind
    error = np.abs(found - expected).max()
    assert error <= most * scale, f"{kind}: {error:.2e} at scale {scale:.2e}, {most:.2e} of it are allowed"
    two_best = np.sort(expected, axis=1)[:, -2:]
    certain = two_best[:, 1] - two_best[:, 0] > 2 * most * scale
    if certain.any() and batch.labels is not None:
        right, counted = (
            kernels.count_correct(np.ascontiguousarray(logits[certain])[None], batch.labels[certain])
            for logits in (expected, found)
        )
        assert np.array_equal(right, counted), kind


def gram(site: CodeSite) -> NDArray[np.int64]:
    """What a score makes of a code: it does not depend on the order of the units."""
    return kernels.code_gram(site.packed, site.bits)
