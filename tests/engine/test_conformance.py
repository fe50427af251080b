"""Every backend against the torch reference: logits within a named tolerance, counts where they must be."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.conftest import SPACES, small
from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.backends import native as native_module
from znas_engine.backends.checks import scales
from znas_engine.backends.rounding import rounded, tolerance
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError
from znas_engine.spaces import SearchSpace
from znas_engine.supernet.normalisation import NORMS
from znas_engine.testing import BackendContract
from znas_engine.testing.agreement import kinds_of_masks, noise

#: Images for a processor that plays the GPU, which takes seconds for each.
FEW = 4


class OnRealImages(BackendContract):
    @pytest.fixture
    def images(self, images: Batch) -> Batch:
        """Real ones if there are any."""
        return images


@pytest.mark.ours
class TestNativeCpu(OnRealImages):
    backend = "native"


class TestNativeCuda(OnRealImages):
    backend = "native"
    device = "cuda:0"

    @pytest.fixture
    def images(self, request: pytest.FixtureRequest, images: Batch) -> Batch:
        """On a processor that plays the GPU all of them only where chunks of images are merged, in the
        statistics of each batch, and there for one space: how they are shared out is no matter of spaces."""
        called = getattr(request.node, "callspec", None)
        asked = {} if called is None else called.params
        merged = request.function.__name__ == "test_it_computes_what_torch_does" and (
            asked["space"].name == "nasbench201" and asked["norm"] == "batch"
        )
        return images if merged or "ZNAS_EMULATED_GPUS" not in os.environ else images[:FEW]


class TestOrtCpu(OnRealImages):
    backend = "ort"


class TestOrtCuda(OnRealImages):
    backend = "ort"
    device = "cuda:0"


@pytest.mark.ours  # torch is the newest everywhere
class TestTorchCpu(OnRealImages):
    backend = "torch"


class TestTorchCuda(OnRealImages):
    backend = "torch"
    device = "cuda:0"


class TestTrt(OnRealImages):
    backend = "trt"


def test_ort_has_no_bfloat16() -> None:
    space = SPACES["nasbench201"]
    with pytest.raises(
        InvalidValueError, match=r"`dtype` must be float32 for the backend ort on cpu .*use --backend native"
    ):
        get_backend("ort")(space, small(space), dtype="bfloat16")


@pytest.mark.ours
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_native_on_every_instruction_set(
    dtype: str, norm: str, space: SearchSpace[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain and the AVX2 executors agree with the fastest one, on odd widths and channel counts too: the
    last cell has 3 x 3 pixels."""
    last = space.supernet(small(space)).cells[-1]
    side = 3 * 16 // space.supernet(small(space)).nodes[last].shape[1]
    macro = replace(small(space), resolution=side, channels=6)
    environment = Environment(7, "gaussian", noise(macro, 9, labelled=False))
    masks = np.stack(list(kinds_of_masks(space).values()))
    found = []
    for isa in [isa for isa in kernels.available_isas() if isa != "numpy"]:
        monkeypatch.setattr(native_module, "fastest_isa", lambda isa=isa: isa)
        found.append(get_backend("native")(space, macro, norm=norm, dtype=dtype).observe(masks, environment))
    torch = get_backend("torch")(space, macro, norm=norm)
    reference, coarse = (
        [each.logits for each in torch.observe(masks, drawn)]
        for drawn in (environment, rounded(environment, dtype))
    )
    largest, most = scales(reference), tolerance(dtype, reference, coarse)
    for observations in found:
        for expected, observed, scale in zip(reference, observations, largest, strict=True):
            assert np.abs(observed.logits - expected).max() <= most * scale
