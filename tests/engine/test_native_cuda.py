"""`--backend native` on GPUs: what the conformance test does not see. Skipped without a GPU; `make cuda` runs
it on a processor that plays one."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command import SEARCH, apart, refused
from tests.conftest import SPACES, small
from znas_engine.backends import get_backend, missing
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.native_cuda import make_ready
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import DeviceError, DeviceMemoryError
from znas_engine.scores import READS, DeviceCodes, DeviceFeatures, ForwardScore, HostCodes, get_scores
from znas_engine.spaces import SearchSpace

NB201, DARTS = SPACES["nasbench201"], SPACES["darts"]
pytestmark = pytest.mark.skipif(
    missing("native", "cuda:0") is not None, reason=f"no GPU: {missing('native', 'cuda:0')}"
)


def evaluate(
    images: Batch, *, count: int = 6, changes: int = 4, score: str = "naswot+accuracy", **options: Any
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Scores under so many masks of so many images: few, as a processor that plays the GPU takes seconds."""
    masks = np.stack([NB201.do(edge, 1 + edge % 4) for edge in range(changes)])
    environments = [Environment(seed, "gaussian", images[:count]) for seed in (3, 4)]
    evaluator = get_backend("native")(NB201, small(NB201), **options)
    return evaluator.evaluate(masks, score=get_scores(score), environments=environments).values


@pytest.mark.parametrize("count", [64, 65])
def test_what_is_made_of_codes_on_the_gpu_is_what_is_made_of_them_here(count: int, images: Batch) -> None:
    """Against the host's count of the same codes, those of every ReLU module counted. Patterns of more images
    than a word has bits are counted on the host."""
    backend = get_backend("native")(NB201, small(NB201), devices=["cuda:0"])
    masks = np.stack([NB201.mixture(), NB201.do(1, 3), np.zeros(NB201.shape, np.float32)])
    twice = Batch(np.concatenate([images.images] * 3)[:count], None)  # more images than there are
    observed = backend.observe(masks, Environment(3, "gaussian", twice), reads=["codes"])
    assert any(site.modules > 1 for seen in observed for site in seen.codes)
    for seen in observed:
        assert isinstance(seen.codes, DeviceCodes)
        on_host = HostCodes(seen.codes)
        assert np.array_equal(seen.codes.agreements(), on_host.agreements())
        assert seen.codes.patterns() == on_host.patterns()
        assert seen.codes.regions() == on_host.regions()
    assert observed[0].codes.regions() == min(count, len(images.images))


@pytest.mark.parametrize(
    ("space", "names"), [(NB201, "isometry+log_det+participation+curvature"), (DARTS, "isometry")]
)
def test_products_of_features_on_the_gpu_are_those_of_its_features(
    space: SearchSpace[Any], names: str, images: Batch
) -> None:
    """Features stay there, and what scores make of them there is what they make of them on the host."""
    scores = [score for score in get_scores(names) if isinstance(score, ForwardScore)]
    backend = get_backend("native")(space, replace(small(space), cells=2), norm="batch", devices=["cuda:0"])
    masks = np.stack([space.mixture(), space.do(1, 3)])
    environment = Environment(3, "gaussian", images[:4])
    seen = {
        probe: backend.observe(masks, environment, reads=["features"], probe=probe.under("batch"))
        for score in scores
        for probe in score.probes
    }
    found = []
    for score in scores:
        for of_mask in zip(*(seen[probe] for probe in score.probes), strict=True):
            assert all(isinstance(each.features, DeviceFeatures) for each in of_mask)
            found.append(score(of_mask))
            on_host = [replace(each, features=tuple(each.features)) for each in of_mask]
            assert found[-1] == pytest.approx(score(on_host), rel=1e-3, abs=1e-3), score.name
    together = backend.evaluate(masks, score=scores, environments=[environment]).values
    assert together.ravel().tolist() == found


@pytest.mark.parametrize(("norm", "weight"), [("identity", 1), ("calibrated", 8)])
def test_float16_stays_in_range(norm: str, weight: float, images: Batch) -> None:
    """Values that float16 does not hold come out as float32's: of a network that nothing normalises, and
    under masks that outgrow frozen statistics, as do-masks of deep networks do."""
    macro = replace(small(NB201), cells=2)
    masks = weight * np.stack([np.ones(NB201.shape, np.float32), NB201.do(1, 3)])
    environment = Environment(11, "gaussian", images[:8])
    expected, found = (
        get_backend(name)(NB201, macro, norm=norm, **options).observe(masks, environment, reads=READS)
        for name, options in (("torch", {}), ("native", {"devices": ["cuda:0"], "dtype": "float16"}))
    )
    largest = []
    for a, b in zip(expected, found, strict=True):
        pairs = zip((a.logits, a.pooled, *a.features), (b.logits, b.pooled, *b.features), strict=True)
        for right, half in pairs:
            largest.append(float(np.abs(right).max()))
            assert np.abs(half - right).max() <= LOGIT_TOLERANCE["float16"] * largest[-1]
    assert max(largest) > float(np.finfo(np.float16).max)


def test_threads_and_gpus_do_not_matter(images: Batch) -> None:
    """Masks are shared out, and results do not depend on who got which."""
    alone = evaluate(images, devices=["cuda:0"])
    assert np.array_equal(alone, evaluate(images, devices=["cuda:0"], threads=4))
    if missing("native", "cuda:1") is None:
        assert np.array_equal(alone, evaluate(images, devices=["cuda:0", "cuda:1"], threads=3))


emulated = pytest.mark.skipif("ZNAS_EMULATED_GPUS" not in os.environ, reason="the GPU is a real one")


@emulated
def test_a_full_memory_halves_the_images(images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images at a time, with a word, and the same scores."""
    asked: dict[str, Any] = {"count": 24, "changes": 2, "devices": ["cuda:0"], "norm": "identity"}
    expected, of_features = evaluate(images, **asked), evaluate(images, score="log_det", **asked)
    said: list[str] = []
    monkeypatch.setenv("ZNAS_EMULATED_GPU_BYTES", str(3 << 20))
    found = evaluate(images, **asked, report=said.append)
    assert np.array_equal(expected, found)
    assert said
    # The host adds up products in another order.
    found = evaluate(images, score="log_det", **asked, report=said.append)
    assert found == pytest.approx(of_features, rel=1e-5)
    assert all("images at a time from here on" in line for line in said)


@emulated
@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"ZNAS_EMULATED_GPU_LAUNCHES": "100"}, r"the GPU failed \(.*\); nvidia-smi shows its state"),
        (
            {"ZNAS_EMULATED_GPU_CAPABILITY": "75"},
            r"native cannot run on cuda:0 here: its kernels need compute capability 8.0 and this GPU has 7.5",
        ),
    ],
    ids=["lost", "too old"],
)
def test_a_gpu_that_fails_is_one_line(
    place: dict[str, str], message: str, driver: Path, tmp_path: Path
) -> None:
    """In the middle of a search, or before it; nothing is left behind."""
    out = tmp_path / "run"
    there = {"LD_LIBRARY_PATH": str(driver), "GPUS": "1", "CAPABILITY": "90"}
    done = apart(*SEARCH, "-q", "--backend", "native", "--device", "cuda:0", "--out", out, **place, **there)
    assert re.search(message, refused(done))
    assert not out.exists()


@emulated
def test_a_memory_too_small_is_one_line(images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZNAS_EMULATED_GPU_BYTES", "100000")
    with pytest.raises(DeviceMemoryError, match=r"^the GPU's memory is full \(.*\); take a smaller"):
        evaluate(images, devices=["cuda:0"])


def test_a_gpu_that_cannot_be_made_ready_says_so_at_its_first_use(images: Batch) -> None:
    make_ready("cuda:99")
    for thread in threading.enumerate():
        if thread.name == "znas-gpu":
            thread.join()
    network = get_backend("native")(NB201, small(NB201), devices=["cuda:99"])
    with pytest.raises(DeviceError, match="cudaSetDevice"):
        network.observe(NB201.mixture()[None], Environment(3, "gaussian", images[:4]))
