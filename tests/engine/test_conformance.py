"""Every backend against the torch reference: logits within a named tolerance, counts where they must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.conftest import SPACES, small, targets
from znas_engine import kernels
from znas_engine.backends import dtypes_of, get_backend
from znas_engine.backends import native as native_module
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import Evaluator
from znas_engine.scores import READS, CodeSite
from znas_engine.spaces import Mask, SearchSpace
from znas_engine.supernet.initialisation import INITIALISATIONS
from znas_engine.supernet.normalisation import NORMS

#: (backend, device, dtype) of all that compute in something else than float32.
HALVES = [
    pytest.param(*target.values, dtype, marks=target.marks, id=f"{target.id}-{dtype}")
    for target in targets()
    for dtype in dtypes_of(*target.values)
    if dtype != "float32"
]


def named_masks(space: SearchSpace[Any]) -> dict[str, Mask]:
    """One of every kind that a search or a game sends."""
    edges, operations = space.shape
    rng = np.random.default_rng(3)
    choice = np.eye(operations, dtype=np.float32)[rng.integers(1, operations, edges)]
    sparse = rng.random(space.shape, dtype=np.float32)
    sparse[rng.random(space.shape) < 0.5] = 0
    return {
        "mixture": space.mixture(),
        "do": space.do(1, 3),
        "do none": space.do(edges - 1, 0),
        "drop": space.drop(edges // 2),
        "coalition": space.coalition(2, [1, operations - 1]),
        "one-hot": choice,
        "one-hot, edges dropped": choice * (np.arange(edges) % 2 == 0)[:, None],
        "all skip": np.tile(
            np.eye(operations, dtype=np.float32)[space.operations.index("skip_connect")], (edges, 1)
        ),
        "empty": np.zeros(space.shape, np.float32),
        "uneven": sparse,
    }


def supernets(space: SearchSpace[Any], norm: str, name: str, device: str) -> tuple[Evaluator, Evaluator]:
    macro = small(space)
    return get_backend("torch")(space, macro, norm=norm), get_backend(name)(
        space, macro, norm=norm, devices=[device], threads=2
    )


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("init", INITIALISATIONS)
@pytest.mark.parametrize(("name", "device"), targets(but=("torch", "cpu")))
def test_logits_counts_codes_and_features(
    name: str, device: str, init: str, norm: str, space: SearchSpace[Any], images: Batch
) -> None:
    assert_conforms(*supernets(space, norm, name, device), Environment(11, init, images))


def assert_conforms(reference: Evaluator, backend: Evaluator, environment: Environment) -> None:
    images = environment.batch
    kinds = named_masks(backend.space)
    masks = np.stack(list(kinds.values()))
    for kind, expected, found in zip(
        kinds,
        reference.observe(masks, environment, reads=READS),
        backend.observe(masks, environment, reads=READS),
        strict=True,
    ):
        scale = np.abs(expected.logits).max()
        tolerance = LOGIT_TOLERANCE["float32"] * scale
        error = np.abs(found.logits - expected.logits).max()
        assert error <= tolerance, f"{kind}: {error:.2e} at scale {scale:.2e}"

        assert_counts_equal(expected.logits, found.logits, tolerance, images, kind)
        assert found.pooled is not None
        assert expected.pooled is not None
        assert len(found.features) == len(backend.graph.cells)
        for a, b in zip((expected.pooled, *expected.features), (found.pooled, *found.features), strict=True):
            assert a.shape == b.shape
            bound = LOGIT_TOLERANCE["float32"] * np.abs(a).max()
            assert np.abs(a - b).max() <= bound, f"{kind}: features"

        assert [site.modules for site in found.codes] == [site.modules for site in expected.codes], kind
        flipped = sum(
            int(np.abs(gram(a) - gram(b)).sum()) for a, b in zip(expected.codes, found.codes, strict=True)
        )
        total = sum(site.bits for site in expected.codes) * len(images.images) ** 2
        assert flipped <= CODE_TOLERANCE * total, f"{kind}: {flipped} of {total} bits"


def assert_counts_equal(
    expected: NDArray[np.float32], found: NDArray[np.float32], tolerance: float, images: Batch, kind: str
) -> None:
    """Of the images whose two best classes are further apart than errors reach, as many are correct."""
    assert images.labels is not None
    two_best = np.sort(expected, axis=1)[:, -2:]
    certain = two_best[:, 1] - two_best[:, 0] > 2 * tolerance
    if certain.any():
        counts = [
            kernels.count_correct(np.ascontiguousarray(logits[certain])[None], images.labels[certain])
            for logits in (expected, found)
        ]
        assert np.array_equal(*counts), kind


#: Bits whose pre-activation is within rounding of zero may differ.
CODE_TOLERANCE = 1e-4


def gram(site: CodeSite) -> np.ndarray[Any, np.dtype[np.int64]]:
    """What a score makes of a code: it does not depend on the order of the units."""
    return kernels.code_gram(site.packed, site.bits)


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("name", "device", "dtype"), HALVES)
def test_half_precision(
    name: str, device: str, dtype: str, norm: str, space: SearchSpace[Any], images: Batch
) -> None:
    """Logits within the named tolerance of the float32 reference, and equal counts where it decides."""
    assert_half_conforms(
        get_backend("torch")(space, small(space), norm=norm),
        get_backend(name)(space, small(space), norm=norm, dtype=dtype, devices=[device], threads=2),
        Environment(11, "gaussian", images),
    )


def assert_half_conforms(reference: Evaluator, backend: Evaluator, environment: Environment) -> None:
    images, dtype = environment.batch, backend.dtype
    kinds = named_masks(backend.space)
    masks = np.stack(list(kinds.values()))
    for kind, expected, found in zip(
        kinds, reference.observe(masks, environment), backend.observe(masks, environment), strict=True
    ):
        tolerance = LOGIT_TOLERANCE[dtype] * np.abs(expected.logits).max()
        assert np.abs(found.logits - expected.logits).max() <= tolerance, kind
        assert_counts_equal(expected.logits, found.logits, tolerance, images, kind)


def test_ort_has_no_bfloat16() -> None:
    space = SPACES["nasbench201"]
    with pytest.raises(
        InvalidValueError, match=r"`dtype` must be float32 for the backend ort on cpu .*use --backend native"
    ):
        get_backend("ort")(space, small(space), dtype="bfloat16")


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_native_on_every_instruction_set(
    dtype: str, norm: str, space: SearchSpace[Any], images: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain and the AVX2 executors agree with the fastest one, on odd widths and channel counts too."""
    environment = Environment(7, "gaussian", Batch(images.images[:9, :, :12, :12].copy(), None))
    macro = replace(small(space), resolution=12, channels=6)
    masks = np.stack(list(named_masks(space).values()))
    found = []
    for isa in [isa for isa in kernels.available_isas() if isa != "numpy"]:
        monkeypatch.setattr(native_module, "fastest_isa", lambda isa=isa: isa)
        found.append(get_backend("native")(space, macro, norm=norm, dtype=dtype).observe(masks, environment))
    reference = get_backend("torch")(space, macro, norm=norm).observe(masks, environment)
    for observations in found:
        for expected, observed in zip(reference, observations, strict=True):
            tolerance = LOGIT_TOLERANCE[dtype] * np.abs(expected.logits).max()
            assert np.abs(observed.logits - expected.logits).max() <= tolerance


@pytest.mark.parametrize(("name", "device"), targets())
@pytest.mark.parametrize("norm", ["calibrated", "identity"])
def test_frozen_norms_see_each_image_alone(name: str, device: str, norm: str, images: Batch) -> None:
    """Under frozen statistics a pass is per image: logits and features of a permuted batch are permuted."""
    space = SPACES["nasbench201"]
    macro = small(space)
    backend = get_backend(name)(space, macro, norm=norm, devices=[device])
    environment = Environment(5, "gaussian", images)
    run = backend.prepare(environment, norm=norm, reads=frozenset(READS), device=device)
    order = np.random.default_rng(0).permutation(20)
    straight = run(space.mixture(), images.images[:20])
    permuted = run(space.mixture(), np.ascontiguousarray(images.images[:20][order]))
    np.testing.assert_allclose(permuted.logits, straight.logits[order], rtol=1e-5, atol=1e-6)
    for a, b in zip(straight.features, permuted.features, strict=True):
        np.testing.assert_allclose(b, a[order], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("name", "device"), targets())
def test_zero_masked_operations_cannot_matter(name: str, device: str, images: Batch) -> None:
    """A path's logits do not change when the other operations' weights do."""
    space = SPACES["nasbench201"]
    path = space.mask(space.parse("|skip_connect~0|+|none~0|skip_connect~1|+|none~0|none~1|skip_connect~2|"))

    class OtherConvolutions(Environment):
        def weight(self, node: Any) -> Any:
            weight = super().weight(node)
            return weight * 100 if "nor_conv" in node.name else weight

    logits = [
        get_backend(name)(space, small(space), norm="identity", devices=[device])
        .observe(path[None], kind(5, "gaussian", images))[0]
        .logits
        for kind in (Environment, OtherConvolutions)
    ]
    assert np.array_equal(*logits)
