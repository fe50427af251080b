"""Participation, log-determinant, curvature, input edges and trainability in worlds whose truth is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.conftest import SPACES, small
from tests.engine.twin import CELLS, double, maps, twin
from znas_engine.backends import get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment, derive_seed
from znas_engine.scores import Observation, StaticScore, get_score
from znas_engine.scores.curvature import Curvature, angles
from znas_engine.scores.features import answer_products
from znas_engine.scores.log_det import RIDGE, LogDet
from znas_engine.scores.participation import Participation
from znas_engine.scores.probes import GAUSSIAN_HE
from znas_engine.scores.trainability import EPSILON, gain
from znas_engine.spaces import Mask
from znas_engine.spaces.darts import DartsGenotype

SPACE_NAMES = list(SPACES)
NB201 = SPACES["nasbench201"]


def environment_of(images: Batch, count: int = 8) -> Environment:
    return Environment(3, "gaussian", Batch(images.images[:count].copy(), None))


def value(space: str, score: str, environment: Environment, backend: str = "native") -> float:
    """The score of the space's test cell without normalisation, unless the score has its own."""
    evaluator = get_backend(backend)(SPACES[space], small(SPACES[space]), norm="identity")
    mask = SPACES[space].mask(CELLS[space])
    return float(evaluator.evaluate(mask[None], score=score, environments=[environment]).values[0, 0])


# --- participation ---


def participation_ratio(x: NDArray[np.float32]) -> float:
    return float(np.exp(Participation()([Observation(features=(x, x))])))


@given(seed=st.integers(0, 2**32), channels=st.integers(2, 9))
def test_participation_by_the_eigenvalues(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((3, channels, 4, 5)) * rng.exponential(size=(channels, 1, 1)) + 7).astype("f4")
    variances = np.linalg.eigvalsh(np.cov(x.transpose(1, 0, 2, 3).reshape(channels, -1), bias=True))
    expected = variances.sum() ** 2 / np.square(variances).sum()
    assert participation_ratio(x) == pytest.approx(expected, rel=1e-3)


def test_participation_of_one_direction_of_all_and_of_none() -> None:
    rng = np.random.default_rng(0)
    line = rng.standard_normal((4, 1, 8, 8)) * rng.standard_normal((1, 6, 1, 1))
    assert participation_ratio(line.astype(np.float32)) == pytest.approx(1, rel=1e-5)
    q, _ = np.linalg.qr(np.hstack([np.ones((256, 1)), rng.standard_normal((256, 6))]))  # columns of mean 0
    even = q[:, 1:7].reshape(4, 8, 8, 6).transpose(0, 3, 1, 2)
    assert participation_ratio(even.astype(np.float32)) == pytest.approx(6, rel=1e-4)
    assert participation_ratio(np.full((4, 6, 8, 8), 0.7, np.float32)) == 1


# --- log-determinant ---


def log_determinant(x: NDArray[np.float32]) -> float:
    return LogDet()([Observation(features=(x, x))])


@given(seed=st.integers(0, 2**32), images=st.integers(2, 8))
def test_log_determinant_by_numpy_correlations(seed: int, images: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, 3, 4, 4)).astype(np.float32)
    matrix = np.corrcoef(x.reshape(images, -1)) + RIDGE * np.eye(images)
    expected = np.log(np.linalg.eigvalsh(matrix)).sum()
    assert log_determinant(x) == pytest.approx(expected, abs=1e-6)
    assert log_determinant(3 * x + 5) == pytest.approx(expected, abs=1e-3)


def test_log_determinant_of_images_that_look_alike() -> None:
    """All equal, constant or not: a matrix of ones."""
    expected = np.log(5 + RIDGE) + 4 * np.log(RIDGE)
    same = np.tile(np.random.default_rng(0).standard_normal((1, 3, 4, 4)), (5, 1, 1, 1)).astype(np.float32)
    assert log_determinant(same) == pytest.approx(expected, rel=1e-6)
    assert log_determinant(np.zeros((5, 3, 4, 4), np.float32)) == pytest.approx(expected, rel=1e-9)


def test_log_det_weighs_deep_cells_more() -> None:
    rng = np.random.default_rng(0)
    apart = rng.standard_normal((4, 2, 5, 5)).astype(np.float32)
    alike = np.zeros_like(apart)
    stem, far, near = apart, log_determinant(apart), log_determinant(alike)
    early, late = (
        LogDet()([Observation(features=(stem, *cells))]) for cells in ((apart, alike), (alike, apart))
    )
    assert early == pytest.approx((far + 2 * near) / 2)
    assert late == pytest.approx((near + 2 * far) / 2)
    assert late > early


# --- curvature ---


def angles_between(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    (products,) = answer_products([0 * a], [a], [0 * b], [b])
    return angles(products)


@given(degrees=st.floats(0, 180), seed=st.integers(0, 2**32))
def test_angles(degrees: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.standard_normal((12, 2)))
    turn = np.radians(degrees)
    a, b = 3 * q[:, 0], 0.1 * (np.cos(turn) * q[:, 0] + np.sin(turn) * q[:, 1])
    found = angles_between(a.reshape(1, 3, 2, 2).astype("f4"), b.reshape(1, 3, 2, 2).astype("f4"))
    assert found[0] == pytest.approx(turn, abs=2e-3)
    assert angles_between(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))[0] == 0


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_curvature_by_automatic_differentiation(space: str, images: Batch) -> None:
    """Angles of tangents, as far as a nudge crosses kinks of ReLUs."""
    environment = environment_of(images)
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    x = double(environment.batch.images)
    step = x.roll(-1, 0) - x
    tangents = [
        torch.autograd.functional.jvp(lambda images: maps(network, images), at, step)[1][1:]
        for at in (x, x + step / 2)
    ]
    expected = np.mean(
        [angles_between(a.detach().numpy(), b.detach().numpy()) for a, b in zip(*tangents, strict=True)]
    )
    assert value(space, "curvature", environment) == pytest.approx(float(expected), rel=0.03)


def test_a_line_that_stays_straight_has_no_curvature() -> None:
    """Affine features of the four probes' images: the angle is 0; of their squares it is not."""
    environment = Environment(
        0, "gaussian", Batch(np.random.default_rng(0).random((6, 3, 4, 4), np.float32), None)
    )
    shown = [probe.images(environment) for probe in Curvature.probes]
    for bend, low, high in ((lambda x: 2 * x + 1, 0, 5e-3), (np.square, 0.05, np.pi)):
        found = Curvature()([Observation(features=(x, bend(x))) for x in shown])
        assert low <= found <= high


# --- input edges ---


def input_edges(space: str, mask: Mask) -> float:
    searched = SPACES[space]
    macro = small(searched)
    score = get_score("input_edges")
    assert isinstance(score, StaticScore)
    batch = Batch(np.zeros((1, macro.inputs, macro.resolution, macro.resolution), np.float32), None)
    return score.prepare(searched.supernet(macro), Environment(0, "gaussian", batch))(mask)


@pytest.mark.parametrize("space", SPACE_NAMES)
@given(seed=st.integers(0, 2**32))
@hypothesis_settings(max_examples=15, deadline=None)
def test_input_edges_of_a_path_are_counted(space: str, seed: int) -> None:
    """By the genotype: what stands on edges from the cell's inputs and is not `none`."""
    searched = SPACES[space]
    mask = searched.random_path(np.random.default_rng(seed))
    # Every layer of a chain is a cell of its own.
    chains = {name: set(range(len(SPACES[name].edges))) for name in ("nasbench_macro", "mobilenet")}
    first = ({"nasbench201": {0}, "darts": {0, 1}} | chains)[space]
    adds = [name != "none" for name in searched.operations]
    expected = sum(
        float(mask[e, adds].sum()) for e, edge in enumerate(searched.edges) if edge.source in first
    )
    assert input_edges(space, mask) == expected


def test_input_edges_of_mixtures_and_of_cells_that_differ() -> None:
    """Sums of weights; each of the two cells of DARTS once, however often it is repeated."""
    assert input_edges("nasbench201", NB201.mixture()) == pytest.approx(3 * 4 / 5)
    darts = SPACES["darts"]
    assert input_edges("darts", darts.mixture()) == pytest.approx(2 * 8 * 7 / 8)
    skip = tuple(("skip_connect", source) for _ in range(4) for source in (0, 1))
    chain = tuple(("skip_connect", s) for s in (0, 1, 0, 2, 2, 3, 3, 4))
    assert input_edges("darts", darts.mask(DartsGenotype(skip, chain))) == 8 + 3


# --- trainability ---


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_trainability_by_the_modules(space: str, images: Batch) -> None:
    """Cell by cell in double precision, the outer products summed pixel by pixel."""
    environment = environment_of(images)
    network = twin(space, CELLS[space], small(SPACES[space]), environment).train()
    shown = GAUSSIAN_HE.images(environment)
    rng = np.random.Generator(np.random.Philox(key=derive_seed(0, "signs", Batch(shown, None).digest())))
    outputs = maps(network, double(shown).requires_grad_())
    terms = []
    for before, after in pairwise(outputs):
        signs = double(rng.choice(np.array([-1, 1], np.float32), tuple(after.shape)))
        (back,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        n, channels, height, width = after.shape
        f = back.shape[2] // height
        pixels = back.reshape(n, -1, height, f, width, f)
        jacobian = torch.einsum("nchfwg,nohw->cfgo", pixels, signs).reshape(-1, channels) / (
            n * height * width
        )
        passed_on = torch.equal(back, signs)  # by a cell that adds nothing, which counts as one that dies
        s = 0.0 if passed_on else float(torch.linalg.matrix_norm(jacobian, 2))
        terms.append(2 - s - 1 / (s + EPSILON))
    assert value(space, "trainability", environment, "torch") == pytest.approx(np.mean(terms), rel=1e-3)


@given(seed=st.integers(0, 2**32), channels=st.integers(1, 5))
@hypothesis_settings(deadline=None)
def test_the_gain_of_a_rotation_is_its_scale(seed: int, channels: int) -> None:
    """Up to the noise of the mean over signs; the very signs are a cell that adds nothing."""
    rng = np.random.default_rng(seed)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (16, channels, 32, 32)))
    rotation = torch.from_numpy(np.linalg.qr(rng.standard_normal((channels, channels)))[0])
    assert gain(1.5 * torch.einsum("ij,njhw->nihw", rotation, signs), signs) == pytest.approx(1.5, rel=0.05)
    assert gain(signs, signs) == 0
