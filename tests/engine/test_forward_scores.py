"""Every score that needs no gradient, against the same quantity computed another way."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from tests.conftest import SPACES, backends, small
from tests.engine.twin import CELLS, double, maps, relu_codes, twin
from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.grams import response_grams
from znas_engine.scores import (
    BATCH,
    CodeSite,
    ForwardScore,
    HostCodes,
    Observation,
    StaticScore,
    get_score,
    get_scores,
)
from znas_engine.scores.codes import unit_patterns
from znas_engine.scores.entropy import Entropy
from znas_engine.scores.isometry import FLOOR, RIDGE, jacobian_gain
from znas_engine.scores.probes import GAUSSIAN, GAUSSIAN_NUDGED, NUDGE, NUDGED, direction
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.spaces.nasbench201.isomorphism import CONSTANT, canonical, classes

NB201 = SPACES["nasbench201"]
SPACE_NAMES = list(SPACES)


def value(
    space: str, score: str, environment: Environment, backend: str = "native", norm: str = "identity"
) -> float:
    """The score of the space's test cell."""
    evaluator = get_backend(backend)(SPACES[space], small(SPACES[space]), norm=norm)
    mask = SPACES[space].mask(CELLS[space])
    scores = evaluator.evaluate(mask[None], score=get_scores(score), environments=[environment])
    return float(scores.values[0, 0])


def environment_of(images: Batch, count: int = 12) -> Environment:
    labels = None if images.labels is None else images.labels[:count]
    return Environment(3, "gaussian", Batch(images.images[:count].copy(), labels))


# --- path norm, parameters, multiply-accumulates ---


@pytest.mark.parametrize("space", SPACE_NAMES)
@pytest.mark.parametrize("init", ["gaussian", "constant"])
def test_path_norm_is_the_flow_of_a_borderless_image_of_ones(space: str, init: str, images: Batch) -> None:
    environment = Environment(3, init, Batch(images.images[:1].copy(), None))
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    ones = torch.ones(1, 3, 16, 16, dtype=torch.float64)

    def flow() -> float:
        with torch.no_grad():
            return float(torch.log1p(network(ones).sum()))

    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0
    with_border = flow()
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.padding_mode = "circular"
    found = value(space, "path_norm", environment)
    assert found == pytest.approx(flow(), rel=1e-9)
    assert found > with_border


class Reweighted(Environment):
    """Every weight times a number of its own, or one for all."""

    factor: Any = None

    def weight(self, node: Any) -> Any:
        weight = super().weight(node)
        return weight * self.factor(weight.shape)


@given(seed=st.integers(0, 2**32))
@hypothesis_settings(max_examples=5)
def test_path_norm_does_not_see_signs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    batch = Batch(np.zeros((1, 3, 16, 16), np.float32), None)

    class Flipped(Reweighted):
        factor = staticmethod(lambda shape: rng.choice(np.array([-1, 1], np.float32), shape))

    assert value("darts", "path_norm", Flipped(1, "gaussian", batch)) == value(
        "darts", "path_norm", Environment(1, "gaussian", batch)
    )


def test_path_norm_cannot_overflow() -> None:
    """A chain of 15 convolutions outweighs its shortcuts: weights of 2^90 to 2^100 add 15 * 10 * log 2, far
    beyond the largest float64."""
    chain = NB201.mask(NB201.parse("|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|nor_conv_3x3~2|"))
    batch = Batch(np.zeros((1, 3, 16, 16), np.float32), None)
    found = []
    for power in (90, 100):

        class Scaled(Reweighted):
            factor = staticmethod(lambda shape, power=power: np.float32(2.0**power))

        graph = NB201.supernet(small(NB201))
        score = get_score("path_norm")
        assert isinstance(score, StaticScore)
        found.append(score.prepare(graph, Scaled(1, "gaussian", batch))(chain))
    assert found[1] - found[0] == pytest.approx(15 * 10 * np.log(2), rel=1e-12)
    assert found[0] > np.log(np.finfo(np.float64).max)


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_sizes_are_those_of_the_architecture(space: str) -> None:
    macro = small(SPACES[space])
    environment = Environment(0, "gaussian", Batch(np.zeros((1, 3, 16, 16), np.float32), None))
    network = SPACES[space].network(CELLS[space], macro)
    assert value(space, "flops", environment) == network.flops
    assert value(space, "params", environment) == network.parameters


@pytest.mark.parametrize("space", SPACE_NAMES)
@pytest.mark.parametrize("score", ["params", "flops"])
def test_size_of_a_mixture_is_the_expected_size(space: str, score: str) -> None:
    """It is linear in the mask: what every operation adds by itself, as much as it stands in the mixture."""
    searched = SPACES[space]
    environment = Environment(0, "gaussian", Batch(np.zeros((1, 3, 16, 16), np.float32), None))
    alone = np.zeros((int(searched.mixed.sum()), *searched.shape), np.float32)
    alone[np.arange(len(alone)), *np.nonzero(searched.mixed)] = 1
    evaluator = get_backend("native")(searched, small(searched))
    masks = np.concatenate([searched.mixture()[None], np.zeros_like(alone[:1]), alone])
    scores = evaluator.evaluate(masks, score=get_score(score), environments=[environment])
    assert scores.evaluations == 0
    mixture, nothing, *each = scores.values[0]
    added = searched.mixture()[searched.mixed] @ (np.array(each) - nothing)
    assert mixture == pytest.approx(nothing + added, rel=1e-6)


@pytest.mark.parametrize("space", SPACE_NAMES)
@pytest.mark.parametrize("score", ["cell_path_norm", "live_flops"])
def test_many_masks_at_once_have_the_values_of_each_to_the_last_bit(space: str, score: str) -> None:
    """However they are cut: by threads, by batches, by the workers of a cluster. Ranks see one bit."""
    searched, rng = SPACES[space], np.random.default_rng(0)
    macro = small(searched)
    static = get_score(score)
    assert isinstance(static, StaticScore)
    environment = Environment(0, "gaussian", Batch(np.zeros((1, 3, 16, 16), np.float32), None))
    many = static.prepare_many(searched.supernet(macro), environment)
    assert many is not None
    masks = np.stack([searched.random_path(rng) for _ in range(200)])
    whole = many(masks)
    for size in (1, 2, 3, 7, 64):
        parts = [many(masks[first : first + size]) for first in range(0, len(masks), size)]
        assert np.array_equal(np.concatenate(parts), whole)


@given(st.data())
@hypothesis_settings(max_examples=25)
def test_live_flops_are_a_function_of_the_function(data: st.DataObject) -> None:
    """Equal for all cells of one function: those of the leanest, unless a convolution reads nothing."""
    members = data.draw(st.sampled_from(classes()))
    macro = small(NB201)
    environment = Environment(0, "gaussian", Batch(np.zeros((1, 3, 16, 16), np.float32), None))
    score = get_score("live_flops")
    assert isinstance(score, StaticScore)
    live = score.prepare(NB201.supernet(macro), environment)
    found = {live(NB201.mask(cell)) for cell in members}
    assert len(found) == 1
    leanest = min(NB201.network(cell, macro).flops for cell in members)
    reads_nothing = any(name == CONSTANT for name, _ in canonical(members[0]).convolutions)
    if reads_nothing or not NB201.admits(NB201.mask(members[0])):
        assert found.pop() < leanest
    else:
        assert found.pop() == leanest


def test_live_flops_of_the_mixture_are_flops() -> None:
    macro = small(NB201)
    environment = Environment(0, "gaussian", Batch(np.zeros((1, 3, 16, 16), np.float32), None))
    both = [get_score(name) for name in ("live_flops", "flops")]
    a, b = (s.prepare(NB201.supernet(macro), environment)(NB201.mixture()) for s in both)  # type: ignore[attr-defined]
    assert a == pytest.approx(b)


# --- features ---


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_entropy_and_its_growth_by_numpy_covariance(space: str, images: Batch) -> None:
    environment = environment_of(images)
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    with torch.no_grad():
        outputs = maps(network, double(environment.batch.images))
    entropies = []
    for output in outputs[1:]:
        samples = output.permute(1, 0, 2, 3).flatten(1).numpy()
        shares = np.linalg.eigvalsh(np.cov(samples, bias=True))
        shares = shares[shares > 1e-9 * shares.sum()] / shares.sum()
        entropies.append(-(shares * np.log(shares)).sum())
    assert value(space, "entropy", environment) == pytest.approx(sum(entropies), rel=1e-4)
    steps = [after - before for before, after in itertools.pairwise(entropies)]
    assert value(space, "entropy_growth", environment) == pytest.approx(min(steps), rel=1e-3, abs=1e-4)


def spectrum_entropy(x: NDArray[np.float32]) -> float:
    return Entropy()([Observation(features=(x, x))])


@given(seed=st.integers(0, 2**32), channels=st.integers(1, 9))
def test_entropy_does_not_see_rotations_of_channels_nor_constants(seed: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, channels, 4, 5))
    rotation = np.linalg.qr(rng.standard_normal((channels, channels)))[0]
    moved = np.einsum("ab,nbhw->nahw", rotation, x) * 3 + rng.standard_normal((channels, 1, 1))
    expected = spectrum_entropy(x.astype(np.float32))
    assert spectrum_entropy(moved.astype(np.float32)) == pytest.approx(expected, abs=1e-4)
    assert 0 <= expected <= np.log(channels) + 1e-6
    assert spectrum_entropy(np.full((3, channels, 4, 5), 0.7, np.float32)) == 0


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_isometry_by_automatic_differentiation(space: str, images: Batch) -> None:
    """The fit to float32 differences against least squares in double precision: on the same differences, and,
    as far as a nudge crosses kinks of ReLUs, on Jacobian-vector products."""
    environment = environment_of(images)
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    x, v = double(environment.batch.images), double(direction(environment))
    _, tangents = torch.autograd.functional.jvp(lambda images: maps(network, images), x, v)
    tangent = [least_squares_gain(a.detach(), b.detach()) for a, b in itertools.pairwise(tangents)]
    with torch.no_grad():
        ends = zip(maps(network, x), maps(network, double(NUDGED.images(environment))), strict=True)
        expected = [least_squares_gain(a, b) for a, b in itertools.pairwise([b - a for a, b in ends])]

    evaluator = get_backend("native")(SPACES[space], small(SPACES[space]), norm="identity")
    mask = SPACES[space].mask(CELLS[space])[None]
    features = [
        evaluator.observe(mask, environment, reads=["features"], probe=probe)[0].features
        for probe in (BATCH, NUDGED)
    ]
    found = [jacobian_gain(energy, cross) for energy, cross in response_grams(*features)]
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    np.testing.assert_allclose(found, tangent, rtol=0.15)


def least_squares_gain(before: torch.Tensor, after: torch.Tensor) -> float:
    """The root mean square of the singular values of the least-squares map from channels to channels."""
    factor = before.shape[2] // after.shape[2]
    before = torch.nn.functional.avg_pool2d(before, factor) if factor > 1 else before
    x, y = (d.permute(0, 2, 3, 1).reshape(-1, d.shape[1]) for d in (before, after))
    ridge = (RIDGE * x.square().sum() / x.shape[1]).sqrt() * torch.eye(x.shape[1], dtype=x.dtype)
    padded = torch.cat([y, torch.zeros(x.shape[1], y.shape[1], dtype=y.dtype)])
    fit = torch.linalg.lstsq(torch.cat([x, ridge]), padded).solution
    return float(torch.linalg.svdvals(fit).square().mean().sqrt())


@given(seed=st.integers(0, 2**32), inputs=st.integers(1, 6), outputs=st.integers(1, 6), halved=st.booleans())
def test_the_gain_of_a_linear_map_is_its_own(seed: int, inputs: int, outputs: int, halved: bool) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((inputs, outputs))
    d = rng.standard_normal((4, inputs, 16, 16)).astype(np.float32)
    seen = d.reshape(4, inputs, 8, 2, 8, 2).mean((3, 5)) if halved else d
    after = np.einsum("nchw,co->nohw", seen, matrix).astype(np.float32)
    expected = np.sqrt(np.square(np.linalg.svd(matrix, compute_uv=False)).mean())
    assert gain(d, after) == pytest.approx(max(expected, FLOOR), rel=0.01)
    assert gain(np.zeros_like(d), after) == FLOOR
    assert gain(d, np.zeros_like(after)) == FLOOR


def gain(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Of a cell that answers `after` to `before`."""
    nudged = [before, after]
    ((energy, cross),) = response_grams([np.zeros_like(d) for d in nudged], nudged)
    return jacobian_gain(energy, cross)


def get_forward(name: str) -> ForwardScore:
    score = get_score(name)
    assert isinstance(score, ForwardScore)
    return score


@pytest.mark.parametrize("space", SPACE_NAMES)
def test_phi_by_the_modules(space: str, images: Batch) -> None:
    environment = environment_of(images)
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    with torch.no_grad():
        before, after = (
            maps(network, double(probe.images(environment)))[-1] for probe in (GAUSSIAN, GAUSSIAN_NUDGED)
        )
    expected = np.log1p(float((after - before).flatten(1).norm(dim=1).mean()) / float(NUDGE))
    assert value(space, "phi", environment, norm="calibrated") == pytest.approx(expected, rel=1e-3)


def test_probes_are_reproducible_and_of_their_size(images: Batch) -> None:
    environment = environment_of(images)
    for probe in (NUDGED, GAUSSIAN, GAUSSIAN_NUDGED):
        first, again = probe.images(environment), probe.images(environment)
        assert np.array_equal(first, again)
        assert (first.shape, first.dtype) == (environment.batch.images.shape, np.float32)
    other = Environment(4, "gaussian", environment.batch)
    assert not np.array_equal(GAUSSIAN.images(environment), GAUSSIAN.images(other))
    assert np.std(NUDGED.images(environment) - environment.batch.images) == pytest.approx(NUDGE, rel=0.05)


def test_a_disconnected_architecture_has_the_worst_finite_scores(images: Batch) -> None:
    environment = environment_of(images)
    nothing = NB201.mask(NasBench201Genotype(("none",) * 6))
    masks = np.stack([nothing, NB201.mask(CELLS["nasbench201"]), NB201.mixture()])
    scores = get_scores(
        "naswot+swap+patterns+path_norm+zen+phi+expressivity+entropy+progressivity+entropy_growth+isometry"
        "+linear_regions+participation+log_det+curvature+input_edges"
    )
    values = get_backend("native")(NB201, small(NB201)).evaluate(
        masks, score=scores, environments=[environment]
    )
    assert (values.values[:, 0] < values.values[:, 1:].min(1)).all()


# --- activation codes ---


def site_of(bits: NDArray[np.bool_]) -> CodeSite:
    return CodeSite(kernels.pack_codes(np.ascontiguousarray(bits)), bits.shape[1], 1)


bit_tables = st.tuples(
    st.sampled_from([1, 2, 7, 8, 9, 63, 64, 65, 130]), st.integers(1, 200), st.integers(0, 2**32)
).map(lambda t: np.random.default_rng(t[2]).random((t[0], t[1])) < 0.5 ** (1 + t[2] % 6))


@given(tables=st.lists(bit_tables, min_size=1, max_size=3))
def test_swap_and_linear_regions_count_distinct_columns_and_rows(tables: list[NDArray[np.bool_]]) -> None:
    tables = [np.resize(t, (len(tables[0]), t.shape[1])) for t in tables]
    whole = np.hstack(tables)
    seen = Observation(codes=HostCodes(map(site_of, tables)))
    assert get_forward("patterns")([seen]) == len(
        {column.tobytes() for column in np.ascontiguousarray(whole.T)}
    )
    assert get_forward("linear_regions")([seen]) == len({row.tobytes() for row in whole})


@given(table=bit_tables, seed=st.integers(0, 2**32))
def test_code_scores_do_not_see_the_order_of_images_or_units(table: NDArray[np.bool_], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = table[rng.permutation(len(table))][:, rng.permutation(table.shape[1])]
    for name in ("naswot", "patterns", "linear_regions"):
        seen = [Observation(codes=HostCodes([site_of(bits)])) for bits in (table, shuffled)]
        values = [get_forward(name)([each]) for each in seen]
        assert values[0] == pytest.approx(values[1], rel=1e-9), name


def test_unit_patterns_of_64_images_are_words() -> None:
    bits = np.eye(64, 70, dtype=bool)
    assert unit_patterns(site_of(bits)).tolist() == [
        int.from_bytes(np.packbits(column).tobytes(), "little") for column in bits.T
    ]


@pytest.mark.parametrize("backend", backends())
def test_swap_of_hooked_relus(backend: str, images: Batch) -> None:
    """A unit within rounding of zero may differ: a thousandth of the patterns is allowed to."""
    environment = environment_of(images)
    network = twin("nasbench201", CELLS["nasbench201"], small(NB201), environment)
    codes = relu_codes(network, double(environment.batch.images))
    expected = len(np.unique(codes, axis=1).T)
    assert value("nasbench201", "patterns", environment, backend) == pytest.approx(expected, rel=1e-3)


# --- fitted classifiers ---


def brute_force(features: NDArray[np.float64], labels: NDArray[np.int64], classes: int, kind: str) -> float:
    """Refits without every image."""
    n = len(labels)
    centred = features - features.mean(0)
    penalty = (centred**2).sum() / n
    targets = np.eye(classes)[labels] - 1 / classes
    correct = 0
    for i in range(n):
        rest = np.arange(n) != i
        if kind == "ridge":
            x, y = centred[rest], targets[rest]
            weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ y)
            answer = (centred[i] @ weights).argmax()
        else:
            distances = np.full(classes, np.inf)
            for c in set(labels[rest].tolist()):
                distances[c] = np.linalg.norm(features[i] - features[rest & (labels == c)].mean(0))
            answer = distances.argmin()
        correct += int(answer == labels[i])
    return correct / n


@given(seed=st.integers(0, 2**32), n=st.integers(8, 20), width=st.integers(2, 30))
@hypothesis_settings(max_examples=40)
def test_readouts_are_fitted_without_the_image_they_classify(seed: int, n: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 4)
    signal = labels[:, None] * rng.standard_normal(width)
    pooled = (rng.standard_normal((n, width)) + signal).astype(np.float32)
    seen = Observation(labels=labels, pooled=pooled, classes=4)
    for kind in ("ridge", "class_mean"):
        expected = brute_force(pooled.astype(np.float64), labels, 4, kind)
        assert get_forward(kind)([seen]) == pytest.approx(expected), kind


@pytest.mark.parametrize("kind", ["ridge", "class_mean"])
def test_readouts_learn_nothing_from_noise_and_all_from_classes(kind: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 250)
    noise = rng.standard_normal((1000, 50)).astype(np.float32)
    told = noise + 20 * np.eye(4, 50, dtype=np.float32)[labels]
    by_chance = get_forward(kind)([Observation(labels=labels, pooled=noise, classes=4)])
    assert abs(by_chance - 0.25) < 4.42 * np.sqrt(0.25 * 0.75 / 1000)
    assert get_forward(kind)([Observation(labels=labels, pooled=told, classes=4)]) == 1


def test_class_mean_needs_a_class_with_two_images(images: Batch) -> None:
    labels = np.arange(8, dtype=np.int64)
    environment = Environment(0, "gaussian", Batch(images.images[:8].copy(), labels))
    with pytest.raises(InvalidValueError, match="'class_mean' needs two images of some class but got 8"):
        value("nasbench201", "class_mean", environment)


# --- several at once ---


@pytest.mark.parametrize("backend", backends())
def test_scores_together_are_the_scores_alone_and_share_passes(backend: str, images: Batch) -> None:
    environments = [environment_of(images), Environment(9, "gaussian", environment_of(images).batch)]
    masks = np.stack([NB201.mixture(), NB201.mask(CELLS["nasbench201"])])
    names = ["naswot", "isometry", "flops", "ridge", "phi"]
    names = [name for name in names if images.labels is not None or name != "ridge"]
    evaluator = get_backend(backend)(NB201, small(NB201), threads=2)
    seen: list[tuple[int, int]] = []
    together = evaluator.evaluate(
        masks,
        score=get_scores("+".join(names)),
        environments=environments,
        progress=lambda done, total: seen.append((done, total)),
    )
    # batch, the two of isometry and the two of phi, for 2 environments and 2 masks
    assert together.evaluations == 5 * 2 * 2
    assert seen == [(5 * k, 20) for k in range(1, 5)]
    for s, name in enumerate(names):
        alone = evaluator.evaluate(masks, score=get_score(name), environments=environments)
        np.testing.assert_allclose(together.values[s :: len(names)], alone.values, rtol=1e-6, err_msg=name)


def test_bfloat16_is_refused_for_differences(images: Batch) -> None:
    evaluator = get_backend("native")(NB201, small(NB201), dtype="bfloat16")
    for name in ("zen", "phi", "isometry", "curvature"):
        with pytest.raises(InvalidValueError, match=f"'{name}' takes differences of passes, which bfloat16"):
            evaluator.evaluate(
                NB201.mixture()[None], score=get_score(name), environments=[environment_of(images)]
            )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("naswot+", "a name of a score is missing in 'naswot\\+': pass naswot"),
        ("naswot+zenn", "unknown score 'zenn': .*did you mean 'zen'"),
        ("flops+naswot+flops", r"every score once but got 'flops\+naswot\+flops'"),
    ],
)
def test_bad_names(names: str, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        get_scores(names)


class Nothing(ForwardScore):
    """Looks at what it did not ask for."""

    name = "nothing"

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        return float(len(seen.codes) + len(seen.features) + (seen.pooled is not None))


@pytest.mark.parametrize("backend", backends())
def test_what_is_not_read_is_not_made(backend: str, images: Batch) -> None:
    scores = get_backend(backend)(NB201, small(NB201)).evaluate(
        NB201.mixture()[None], score=Nothing(), environments=[environment_of(images)]
    )
    assert scores.values[0, 0] == 0
