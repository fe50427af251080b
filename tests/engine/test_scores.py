from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.conftest import backends, small, targets
from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.scores import ForwardScore, Observation, Score, get_score
from znas_engine.scores.accuracy import Accuracy
from znas_engine.spaces import Macro, Mask
from znas_engine.spaces.nasbench201 import NasBench201, NasBench201Genotype

NB201 = NasBench201()
MIXED_CELL = NasBench201Genotype(
    ("nor_conv_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_3x3", "avg_pool_3x3", "nor_conv_1x1")
)


@pytest.mark.parametrize("name", backends())
def test_naswot_is_log_det_of_hooked_relu_codes(name: str, images: Batch) -> None:
    """The published procedure on the PyTorch network: a hook on every nn.ReLU, codes as 0/1 matrices."""
    macro = small(NB201)
    environment = Environment(3, "gaussian", images)
    backend = get_backend(name)(NB201, macro, norm="identity")
    value = backend.evaluate(
        NB201.mask(MIXED_CELL)[None], score=get_score("naswot"), environments=[environment]
    ).values[0, 0]

    network = NB201.to_torch(MIXED_CELL, macro).eval()
    weights = {node.name: node for node in backend.graph.nodes if hasattr(node, "weight_shape")}
    state = {
        key: torch.from_numpy(environment.weight(weights[key.removesuffix(".weight")]))
        for key, tensor in network.state_dict().items()
        if tensor.dim() in (2, 4)
    }
    network.load_state_dict(state, strict=False)
    n = len(images.images)
    kernel = np.eye(n)

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        code = (output.reshape(n, -1) > 0).double().numpy()
        nonlocal kernel
        kernel = kernel + code @ code.T + (1 - code) @ (1 - code).T

    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(hook)
    with torch.no_grad():
        network(torch.from_numpy(images.images))
    assert value == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-6)


def test_naswot_of_indistinguishable_images_is_finite_and_low(images: Batch) -> None:
    same = Batch(np.repeat(images.images[:1], 8, axis=0), None)
    different = Batch(images.images[:8], None)
    backend = get_backend("torch")(NB201, small(NB201))
    low, high = (
        backend.evaluate(
            NB201.mixture()[None], score=get_score("naswot"), environments=[Environment(0, "gaussian", batch)]
        ).values[0, 0]
        for batch in (same, different)
    )
    assert math.isfinite(low)
    assert low < high


HEADS = 4000
CLASSES = 10


def head_logits(mask: Mask, environment: Environment) -> np.ndarray:
    """Logits of HEADS independent random classifiers on one supernet: float32 [HEADS, N, CLASSES]."""
    macro = small(NB201)
    wide = Macro(macro.channels, macro.cells, macro.resolution, HEADS * CLASSES)
    (seen,) = get_backend("torch")(NB201, wide).observe(mask[None], environment)
    stacked = seen.logits.reshape(len(seen.logits), HEADS, CLASSES).transpose(1, 0, 2)
    return np.ascontiguousarray(stacked)


@pytest.mark.parametrize(
    "mask",
    [NB201.mixture(), NB201.mask(MIXED_CELL), NB201.mask(NasBench201Genotype(("skip_connect",) * 6))],
    ids=["mixture", "mixed cell", "all skip"],
)
def test_expected_accuracy_of_a_random_head_is_one_over_classes(mask: Mask, images: Batch) -> None:
    """The exchangeability theorem: over i.i.d. zero-bias heads every architecture has mean 1/classes.

    The heads are independent given the features, so the mean of their accuracies is normal about 0.1; a
    two-sided test at 4.42 standard errors fails once in 100,000 runs if the theorem holds. Accuracies
    spread by several percent here, so a shift of half a percent would be seen.
    """
    logits = head_logits(mask, Environment(21, "gaussian", images))
    assert images.labels is not None
    accuracy = kernels.count_correct(logits, images.labels) / len(images.labels)
    error = accuracy.std(ddof=1) / math.sqrt(HEADS)
    assert abs(accuracy.mean() - 1 / CLASSES) < 4.42 * error
    assert error < 0.005 / 4.42


def test_permuting_class_names_spreads_accuracy_evenly(images: Batch) -> None:
    """Over the cyclic renamings of the labels every image is right exactly once: the mean is exactly 1/10."""
    logits = head_logits(NB201.mixture(), Environment(22, "gaussian", images))[:50]
    assert images.labels is not None
    counts = sum(kernels.count_correct(logits, (images.labels + shift) % CLASSES) for shift in range(CLASSES))
    assert (counts == len(images.labels)).all()


def test_spread_of_accuracy_does_depend_on_the_architecture(images: Batch) -> None:
    """What is left of the signal: the heads' variance differs from the binomial one, because random
    features make images agree. An F-ratio over 4,000 heads far outside [0.9, 1.1]."""
    assert images.labels is not None
    spreads = []
    for genotype in (MIXED_CELL, NasBench201Genotype(("skip_connect",) * 6)):
        logits = head_logits(NB201.mask(genotype), Environment(23, "gaussian", images))
        spreads.append(kernels.count_correct(logits, images.labels).var())
    binomial = len(images.labels) * 0.1 * 0.9
    assert any(abs(spread / binomial - 1) > 0.1 for spread in spreads)


class Constant(ForwardScore):
    """Returns what it was made with."""

    name = "constant"

    def __init__(self, value: Any, reads: Any = ("logits",)) -> None:
        self.value = value
        self.reads = reads

    def __call__(self, observations: Sequence[Observation]) -> float:
        return self.value


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_non_finite_scores_name_the_mask(value: float, images: Batch) -> None:
    backend = get_backend("torch")(NB201, small(NB201))
    environments = [Environment(0, "gaussian", images)]
    with pytest.raises(NonFiniteScoreError, match=r"constant is (nan|inf) under the mask do\(cell:0->2, "):
        backend.evaluate(NB201.do(1, 3)[None], score=Constant(value), environments=environments)


class Kindless(Score):
    name = "kindless"


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (Constant("high"), r"'constant' \(\S+:Constant\) must return a number but returned 'high', str$"),
        (Constant(None), r"'constant' \(\S+:Constant\) must return a number but returned None, NoneType$"),
        (
            Constant(np.ones(1)),
            r"'constant' \(\S+\) must return a number but returned array\(\[1.\]\), ndarray$",
        ),
        (
            Constant(1.0, ("pooled", "soul")),
            r"'constant' \(\S+:Constant\) reads \('pooled', 'soul'\), but `reads` must be a tuple",
        ),
        (
            Constant(1.0, "pooled"),
            r"'constant' \(\S+:Constant\) reads 'pooled', but `reads` must be a tuple of some of logits, ",
        ),
        (
            Kindless(),
            r"'kindless' \(\S+\) is none of ForwardScore, StaticScore, GradientScore: subclass one",
        ),
    ],
)
def test_a_score_that_breaks_its_contract_is_named(score: Score, message: str, images: Batch) -> None:
    backend = get_backend("torch")(NB201, small(NB201))
    environments = [Environment(0, "gaussian", images)]
    with pytest.raises(InvalidValueError, match=message):
        backend.evaluate(NB201.do(1, 3)[None], score=score, environments=environments)


#: Choices that classify the images differently, random ones as well as real ones.
SPREAD = ((0, 1), (1, 0), (3, 3), (5, 4))


class Watching(ForwardScore):
    """Accuracy, of whose observations the logits are kept."""

    name = "watching"
    needs_labels = True
    reads = ("correct",)

    def __init__(self) -> None:
        self.logits: list[NDArray[np.float32]] = []

    def __call__(self, observations: Sequence[Observation]) -> float:
        (seen,) = observations
        self.logits.append(seen.logits)
        return Accuracy()(observations)


@pytest.mark.parametrize("norm", ["calibrated", "batch"])
@pytest.mark.parametrize(("name", "device"), targets())
def test_counts_are_made_where_the_logits_are(name: str, device: str, norm: str, images: Batch) -> None:
    """The native executor hands out counts alone, those of its logits, added up over chunks of images; no
    score that reads logits changes them."""
    assert images.labels is not None
    images = Batch(images.images[:12].copy(), images.labels[:12].copy())
    masks = np.stack([NB201.mixture(), *(NB201.do(edge, operation) for edge, operation in SPREAD)])
    environment = Environment(4, "gaussian", images)
    backend = get_backend(name)(NB201, small(NB201), norm=norm, devices=[device])
    watching = Watching()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend._chunked, "size", 5)
        alone = backend.evaluate(masks, score=watching, environments=[environment]).values
        beside = backend.evaluate(
            masks, score=[get_score("accuracy"), Constant(1)], environments=[environment]
        )
        seen = backend.observe(masks, environment)
    assert images.labels is not None
    logits = np.stack([each.logits for each in seen])
    expected = kernels.count_correct(logits, images.labels) / len(images.images)
    assert len(set(expected)) > 1
    assert np.array_equal(alone[0], expected)
    assert np.array_equal(beside.values[0], expected)
    assert {each.size > 0 for each in watching.logits} == {name != "native"}


@pytest.mark.parametrize("name", backends())
def test_a_label_that_is_no_class_is_refused(name: str, images: Batch) -> None:
    wrong = Batch(images.images[:3].copy(), np.array([0, 10, 1]))
    with pytest.raises(InvalidValueError, match=r"`labels` must lie in \[0, 10\) but got 10"):
        get_backend(name)(NB201, small(NB201)).evaluate(
            NB201.mixture()[None],
            score=get_score("accuracy"),
            environments=[Environment(0, "gaussian", wrong)],
        )


@pytest.mark.parametrize("name", backends())
def test_non_finite_logits_name_the_mask(name: str, images: Batch) -> None:
    backend = get_backend(name)(NB201, small(NB201), norm="identity")
    huge = np.full(NB201.shape, 1e30, np.float32)
    huge[0] = [1, 0, 0, 0, 0]
    environments = [Environment(0, "gaussian", images)]
    for masks in (huge[None], np.stack([NB201.mixture(), huge])):
        with pytest.raises(NonFiniteScoreError, match=r"logits are not finite under the mask \[\["):
            backend.evaluate(masks, score=get_score("accuracy"), environments=environments)


def test_unknown_scores_name_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match=r"unknown score 'naswott': .*did you mean 'naswot'"):
        get_score("naswott")
