"""Every gradient score against its definition on the architecture's own modules, in double precision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import SPACES, backends, small
from tests.engine.twin import CELLS, double, twin
from znas_engine.backends import choose_backend, get_backend
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.scores import SCORES, GradientScore, get_score, get_scores
from znas_engine.spaces.nasbench201 import NasBench201Genotype
from znas_engine.supernet.normalisation import CHUNK

pytestmark = pytest.mark.ours  # torch is the newest everywhere

NB201 = SPACES["nasbench201"]
GRADIENT_SCORES = [name for name in SCORES.builtin if isinstance(get_score(name), GradientScore)]


def labelled(images: Batch, count: int) -> Environment:
    assert images.labels is not None
    return Environment(3, "gaussian", Batch(images.images[:count].copy(), images.labels[:count]))


def weights(network: nn.Module) -> list[Any]:
    """Convolutions and the classifier."""
    return [p for p in network.parameters() if p.dim() in (2, 4)]


def gradients(network: nn.Module, batch: Batch) -> list[Tensor]:
    network.zero_grad()
    assert batch.labels is not None
    F.cross_entropy(network(double(batch.images)), torch.from_numpy(batch.labels)).backward()
    return [w.grad.clone() for w in weights(network)]


def grad_norm(network: nn.Module, batch: Batch) -> float:
    return sum(float(g.norm()) for g in gradients(network, batch))


def snip(network: nn.Module, batch: Batch) -> float:
    return sum(
        float((w.detach() * g).abs().sum())
        for w, g in zip(weights(network), gradients(network, batch), strict=True)
    )


def zico(network: nn.Module, batch: Batch) -> float:
    assert batch.labels is not None
    middle = len(batch.images) // 2
    layers = zip(
        *(
            gradients(network, Batch(batch.images[rows].copy(), batch.labels[rows]))
            for rows in (slice(0, middle), slice(middle, None))
        ),
        strict=True,
    )
    total = 0.0
    for pair in layers:
        stacked = np.stack([g.numpy().ravel() for g in pair])
        deviation = stacked.std(0)
        used = deviation > 0
        total += np.log((np.abs(stacked).mean(0)[used] / deviation[used]).sum())
    return total


def synflow(network: nn.Module, batch: Batch) -> float:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()
    network.zero_grad()
    network(torch.ones(1, *batch.images.shape[1:], dtype=torch.float64)).sum().backward()
    return float(np.log1p(sum(float((w.detach() * w.grad).sum()) for w in weights(network))))


def jacob_cov(network: nn.Module, batch: Batch) -> float:
    rows = []
    for image in double(batch.images):
        image = image[None].clone().requires_grad_()
        network(image).sum().backward()
        assert image.grad is not None
        rows.append(image.grad.numpy().ravel())
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(np.stack(rows)))
    return float(-(np.log(eigenvalues + 1e-5) + 1 / (eigenvalues + 1e-5)).sum())


def ntk(network: nn.Module, batch: Batch) -> float:
    rows = []
    for image in double(batch.images):
        network.zero_grad()
        network(image[None]).sum().backward()
        rows.append(torch.cat([w.grad.flatten() for w in weights(network)]).numpy())
    return float(-(np.linalg.cond(np.stack(rows)) ** 2))


DEFINITIONS: dict[str, Callable[[nn.Module, Batch], float]] = {
    f.__name__: f for f in (grad_norm, snip, zico, synflow, jacob_cov, ntk)
}


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("name", [name for name in GRADIENT_SCORES if name != "trainability"])
def test_is_its_definition(name: str, space: str, images: Batch) -> None:
    environment = labelled(images, 10)
    mask = SPACES[space].mask(CELLS[space])[None]
    evaluator = get_backend("torch")(SPACES[space], small(SPACES[space]), norm="identity", threads=2)
    found = evaluator.evaluate(mask, score=get_score(name), environments=[environment])
    network = twin(space, CELLS[space], small(SPACES[space]), environment)
    assert found.values[0, 0] == pytest.approx(DEFINITIONS[name](network, environment.batch), rel=5e-3)
    assert found.evaluations == 1


@pytest.mark.parametrize("name", ["grad_norm", "snip", "jacob_cov"])
def test_chunks_of_images_are_summed(name: str, images: Batch) -> None:
    """70 images are two chunks; under frozen normalisation the order of images does not matter."""
    assert len(images.images) > CHUNK
    environment = labelled(images, len(images.images))
    network = twin("nasbench201", CELLS["nasbench201"], small(NB201), environment)
    evaluator = get_backend("torch")(NB201, small(NB201), norm="identity")
    found = evaluator.evaluate(
        NB201.mask(CELLS["nasbench201"])[None], score=get_score(name), environments=[environment]
    )
    assert found.values[0, 0] == pytest.approx(DEFINITIONS[name](network, environment.batch), rel=5e-3)


@pytest.mark.parametrize("norm", ["calibrated", "batch"])
def test_every_gradient_score_of_every_kind_of_mask(norm: str, images: Batch) -> None:
    """Finite for mixtures, interventions and a disconnected cell, and no different beside other scores."""
    environment = labelled(images, 8)
    nothing = NB201.mask(NasBench201Genotype(("none",) * 6))
    masks = np.stack([NB201.mixture(), NB201.do(1, 3), NB201.drop(2), nothing])
    names = ["naswot", *GRADIENT_SCORES]
    evaluator = get_backend("torch")(NB201, small(NB201), norm=norm, threads=2)
    together = evaluator.evaluate(masks, score=get_scores("+".join(names)), environments=[environment])
    assert np.isfinite(together.values).all()
    assert together.evaluations == len(masks) * len(names)
    for row, name in zip(together.values, names, strict=True):
        alone = evaluator.evaluate(masks, score=get_score(name), environments=[environment]).values[0]
        np.testing.assert_allclose(row, alone, rtol=1e-6, err_msg=name)
    for name in ("synflow", "jacob_cov", "ntk"):
        row = together.values[names.index(name)]
        assert row[3] == row.min()


@pytest.mark.parametrize("backend", backends(but="torch"))
@pytest.mark.parametrize("name", GRADIENT_SCORES)
def test_other_backends_refuse(name: str, backend: str, images: Batch) -> None:
    with pytest.raises(InvalidValueError, match=f"'{name}' needs gradients, .* {backend} .*--backend torch"):
        get_backend(backend)(NB201, small(NB201)).evaluate(
            NB201.mixture()[None], score=get_score(name), environments=[labelled(images, 4)]
        )


def test_auto_is_a_backend_that_can() -> None:
    assert choose_backend("auto", get_scores("naswot+snip")).backend == "torch"
    assert choose_backend("auto", get_scores("naswot+isometry+flops")) == choose_backend("auto")


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("zico", 1, "at least 2 for the score 'zico' but got 1"),
        ("ntk", 65, "at most 64 for the score 'ntk' but got 65"),
    ],
)
def test_image_counts(name: str, count: int, message: str, images: Batch) -> None:
    with pytest.raises(InvalidValueError, match=message):
        get_backend("torch")(NB201, small(NB201)).evaluate(
            NB201.mixture()[None], score=get_score(name), environments=[labelled(images, count)]
        )
