from __future__ import annotations

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import SPACES, backends, small
from znas_engine.backends import BACKENDS, can_run, choose_backend, get_backend
from znas_engine.backends.checks import supernet_of
from znas_engine.data import Batch, load
from znas_engine.environment import Environment, draw_environments
from znas_engine.errors import InvalidValueError
from znas_engine.scores import get_score
from znas_engine.supernet.normalisation import CHUNK, chunks

NB201 = SPACES["nasbench201"]


@pytest.mark.parametrize("name", backends())
@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (np.zeros((6, 5), np.float32), r"shape \[G, 6, 5\] for nasbench201 but got \[6, 5\]"),
        (np.zeros((1, 5, 6), np.float32), r"shape \[G, 6, 5\] for nasbench201 but got \[1, 5, 6\]"),
        (np.zeros((1, 6, 5)), "float32 but got float64"),
        (np.zeros((1, 6, 5), np.int32), "float32 but got int32"),
        (np.full((1, 6, 5), np.nan, np.float32), "finite but got NaN"),
        (np.full((1, 6, 5), np.inf, np.float32), "finite but got NaN or infinity"),
        (np.full((1, 6, 5), -0.5, np.float32), "not be negative but got -0.5"),
    ],
)
def test_bad_masks(name: str, masks: Any, message: str, images: Batch) -> None:
    backend = get_backend(name)(NB201, small(NB201))
    environment = Environment(0, "gaussian", images)
    with pytest.raises(InvalidValueError, match=message):
        backend.evaluate(masks, score=get_score("accuracy"), environments=[environment])


def test_labels_are_needed_for_accuracy() -> None:
    (environment,) = draw_environments(
        load("gaussian", resolution=16), count=1, images=4, init="gaussian", seed=0
    )
    backend = get_backend("torch")(NB201, small(NB201))
    with pytest.raises(InvalidValueError, match="'accuracy' needs labels"):
        backend.evaluate(NB201.mixture()[None], score=get_score("accuracy"), environments=[environment])


def test_naswot_refuses_more_images_than_it_can_compare() -> None:
    batch = Batch(np.zeros((1025, 3, 16, 16), np.float32), None)
    backend = get_backend("torch")(NB201, small(NB201))
    with pytest.raises(InvalidValueError, match="at most 1024 for the score 'naswot' but got 1025"):
        backend.evaluate(
            NB201.mixture()[None], score=get_score("naswot"), environments=[Environment(0, "gaussian", batch)]
        )


def test_no_masks_are_no_work(images: Batch) -> None:
    backend = get_backend("torch")(NB201, small(NB201))
    scores = backend.evaluate(
        np.empty((0, 6, 5), np.float32),
        score=get_score("naswot"),
        environments=[Environment(0, "gaussian", images)],
    )
    assert scores.values.shape == (1, 0)
    assert scores.evaluations == 0


@pytest.mark.parametrize("images", [1, 63, 64, 65, 128, 1000])
def test_chunks_cover_evenly(images: int) -> None:
    found = chunks(images)
    sizes = [part.stop - part.start for part in found]
    assert sum(sizes) == images
    assert found[0].start == 0
    assert all(a.stop == b.start for a, b in itertools.pairwise(found))
    assert max(sizes) <= CHUNK
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("name", backends())
def test_progress_counts_every_pass_and_threads_change_nothing(name: str, images: Batch) -> None:
    masks = np.stack([NB201.do(0, o) for o in range(5)])
    environments = [Environment(k, "gaussian", images) for k in range(2)]
    values = []
    for threads in (1, 2):
        seen: list[tuple[int, int]] = []
        scores = get_backend(name)(NB201, small(NB201), threads=threads).evaluate(
            masks,
            score=get_score("naswot"),
            environments=environments,
            progress=lambda done, total, seen=seen: seen.append((done, total)),  # type: ignore[misc]
        )
        assert seen == [(k, 10) for k in range(1, 11)]
        assert scores.evaluations == 10
        values.append(scores.values)
    assert np.array_equal(*values)


def test_torch_backend_leaves_the_callers_thread_count_alone(images: Batch) -> None:
    before = torch.get_num_threads()
    get_backend("torch")(NB201, small(NB201)).observe(
        NB201.mixture()[None], Environment(0, "gaussian", images)
    )
    assert torch.get_num_threads() == before


def test_environments_nest_and_differ() -> None:
    data = load("gaussian", resolution=16)
    two = draw_environments(data, count=2, images=4, init="gaussian", seed=9)
    three = draw_environments(data, count=3, images=4, init="gaussian", seed=9)
    assert [e.seed for e in two] == [e.seed for e in three[:2]]
    assert np.array_equal(two[1].batch.images, three[1].batch.images)
    assert len({e.seed for e in three}) == 3
    assert not np.array_equal(three[0].batch.images, three[1].batch.images)


@pytest.mark.parametrize("init", ["gaussian", "uniform", "constant"])
def test_initialisations_have_their_moments(init: str) -> None:
    """Over 4,608 weights the variance estimate of a uniform or normal is within 10 % at 4.8 sigma or more."""
    graph = NB201.supernet(small(NB201))
    node = next(n for n in graph.nodes if n.name == "cells.4.edges.0.nor_conv_3x3.1")
    batch = Batch(np.zeros((1, 3, 16, 16), np.float32), None)
    weight = np.concatenate([Environment(s, init, batch).weight(node).ravel() for s in range(4)])  # type: ignore[arg-type]
    fan_in = node.fan_in  # type: ignore[attr-defined]
    if init == "constant":
        assert (weight == np.float32(1 / fan_in)).all()
    else:
        assert abs(weight.mean()) < 0.1 * weight.std()
        assert weight.var() == pytest.approx(2 / fan_in, rel=0.1)
    if init == "uniform":
        assert np.abs(weight).max() <= np.sqrt(6 / fan_in)


def test_unknown_backend_names_the_nearest() -> None:
    with pytest.raises(
        InvalidValueError,
        match=r"unknown backend 'ortt': choose one of auto, native, ort, torch, trt; .*'ort'",
    ):
        choose_backend("ortt")
    assert choose_backend("auto").backend == next(name for name in BACKENDS.names() if can_run(name))


def test_weights_are_the_same_in_another_process() -> None:
    code = (
        "from znas_engine.environment import Environment; from znas_engine.spaces import get_space;"
        "import numpy as np, hashlib; from znas_engine.data import Batch;"
        "s = get_space('darts'); g = s.supernet(s.search_macro(resolution=32, classes=10));"
        "e = Environment(4, 'gaussian', Batch(np.zeros((1, 3, 8, 8), np.float32), None));"
        "n = [x for x in g.nodes if hasattr(x, 'weight_shape')][40];"
        "print(hashlib.sha256(e.weight(n).tobytes()).hexdigest())"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": str(k)},
        ).stdout
        for k in range(2)
    }
    assert len(seen) == 1


def test_a_supernet_is_built_once() -> None:
    macro = small(NB201)
    first = supernet_of(NB201, macro)
    assert supernet_of(NB201, replace(macro)) is first
    other = supernet_of(NB201, replace(macro, channels=8))
    assert other != first
    assert supernet_of(NB201, macro) == first
    assert supernet_of(SPACES["darts"], small(SPACES["darts"])) != first


def test_an_environment_is_lowered_once_by_norm(images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its passes hand out, and in whichever precision: for calibration and under what it found."""
    native, made = pytest.importorskip("znas_engine.backends.native"), []

    def lowering(*arguments: Any) -> Any:
        made.append(arguments)
        return right(*arguments)

    right = native.Lowering
    monkeypatch.setattr(native, "Lowering", lowering)
    backend = native.Native(NB201, small(NB201))
    environments = [Environment(seed, "gaussian", images[:4]) for seed in (3, 4)]
    masks = NB201.mixture()[None]
    for count, environment in enumerate(environments, 1):
        for reads in ("codes", "pooled"):
            backend.observe(masks, environment, reads=[reads])
        backend.in_float32().observe(masks, environment)
        assert len(made) == 2 * count
