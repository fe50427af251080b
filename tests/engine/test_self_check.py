"""The check of a GPU's network against the processor, at its first use on a machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import SPACES, small
from znas.cli import main
from znas_engine import gpu as gpu_module
from znas_engine.backends import get_backend, missing, native, self_check
from znas_engine.backends.checks import LOGIT_TOLERANCE, scales
from znas_engine.backends.native_cuda import CudaPass
from znas_engine.backends.native_cuda_stored import CudaCodes, CudaFeatures
from znas_engine.backends.passes import MaskedPass
from znas_engine.data import load
from znas_engine.environment import Environment
from znas_engine.errors import DeviceError
from znas_engine.evaluator import Evaluator
from znas_engine.gpu import Gpu
from znas_engine.scores import Observation
from znas_engine.spaces import Mask

NB201 = SPACES["nasbench201"]
H100 = Gpu("NVIDIA H100", "9.0", "580.95.05")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Gpu], None]:
    """Puts a card into the machine, whose cache is empty."""
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path))

    def put(card: Gpu) -> None:
        monkeypatch.setattr(gpu_module, "gpus", lambda: [card])

    put(H100)
    return put


class Network:
    """The native executor's, on the processor; its logits are what `wrong` makes of the right ones."""

    def __init__(self, wrong: Callable[[Mask, Any], Any] = lambda mask, logits: logits, **size: Any) -> None:
        self.said: list[str] = []
        self.made = 0
        self.wrong = wrong
        self.environment = Environment(3, "gaussian", load("gaussian", resolution=16).batch(20, seed=0))
        macro = replace(small(NB201), **size)
        self.evaluator: Evaluator = get_backend("native")(NB201, macro, report=self.said.append)

    def check(self, subject: str = "a plan", version: str = "1", dtype: str = "float32") -> None:
        self.evaluator.dtype = dtype
        self_check.check_once(
            self.evaluator,
            self._network,
            self.environment,
            norm="calibrated",
            device="cuda:0",
            subject={"plan": subject},
            made_by={"library": version},
        )

    def _network(self) -> MaskedPass:
        self.made += 1
        right = get_backend("native")(NB201, self.evaluator.macro).prepare(
            self.environment, norm="calibrated", reads=frozenset(), device="cpu"
        )

        def run(mask: Mask, images: Any) -> Observation:
            assert len(images) == self_check.IMAGES
            return Observation(self.wrong(mask, right(mask, images).logits))

        return run


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_masks_are_of_every_kind(space: Any) -> None:
    masks = self_check.masks(space)
    assert list(masks) == ["mixture", "do", "drop", "one-hot", "sparse"]
    assert {mask.shape for mask in masks.values()} == {space.shape}
    assert {mask.dtype for mask in masks.values()} == {np.dtype(np.float32)}
    assert (masks["one-hot"].sum(1) == 1).all()
    assert 0 < (masks["sparse"] > 0).mean() < 0.5


def test_rounding_is_at_the_scale_of_the_mixture() -> None:
    """What is a hundredth of it or more stands for itself, larger values too."""
    values = [np.array([value, 0], np.float32) for value in (2, -1800, 0.5, 0.02, 1e-8, 0)]
    assert scales(values) == pytest.approx([2, 1800, 0.5, 0.02, 0.02, 0.02])


@pytest.mark.usefixtures("card")
def test_a_network_that_agrees_is_checked_once() -> None:
    """With a word; another process reads what the first found."""
    first = Network()
    first.check()
    (line,) = first.said
    assert line.startswith(
        "native on cuda:0 (NVIDIA H100, driver 580.95.05) agrees with the CPU, which is checked once: float"
    )
    again = Network()
    again.check()
    assert (first.made, again.made, again.said) == (1, 0, [])


def test_it_runs_again_after_what_could_change_the_answer(card: Callable[[Gpu], None]) -> None:
    """A newer driver or library supersedes what an older one was found to do, and says so."""
    network = Network()
    network.check()
    network.said.clear()
    card(replace(H100, driver="590.44"))
    network.check()
    assert network.made == 2
    assert re.search(r"made by driver 580.95.05, library 1, not driver 590.44, library 1; ", network.said[0])
    network.check(version="2")
    assert network.made == 3
    network.check(version="2")
    assert network.made == 3
    card(replace(H100, name="NVIDIA H200", driver="590.44"))
    for changed, made in (({"version": "2"}, 4), ({"subject": "other"}, 5), ({"dtype": "bfloat16"}, 6)):
        network.check(**changed)
        assert network.made == made
    wider = Network(channels=8)
    wider.check(version="2")
    assert wider.made == 1


@pytest.mark.usefixtures("card")
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda mask, logits: logits * np.float32(1 + 3 * LOGIT_TOLERANCE["float32"]),
            r"mask 'mixture' is wrong by \d\.\d\de-\d\d where the largest is \d\.\d\de[+-]\d\d, 0.0002 of",
        ),
        (lambda mask, logits: logits * np.float32(np.nan), r"mask 'mixture' is wrong by nan"),
        (
            lambda mask, logits: logits + np.float32(1) if (mask == 0).mean() > 0.6 else logits,
            r"mask 'one-hot' is wrong by 1\.00e\+00",
        ),
    ],
    ids=["scaled", "NaN", "one mask"],
)
def test_a_network_that_is_wrong_is_refused_with_the_numbers(wrong: Any, message: str) -> None:
    """Every time: only what was right is remembered."""
    network = Network(wrong)
    for made in (1, 2):
        with pytest.raises(DeviceError, match=message) as caught:
            network.check()
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith(
            "native on cuda:0 (NVIDIA H100, driver 580.95.05) computes something"
        )
        assert str(caught.value).endswith("; use --device cpu")
        assert network.made == made
    network.wrong = lambda mask, logits: logits * np.float32(1 + LOGIT_TOLERANCE["float32"] / 3)
    network.check()


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that plays the GPU is slow."""
    monkeypatch.setattr(self_check, "CHANNELS", 4)
    monkeypatch.setattr(self_check, "RESOLUTION", 8)


SEARCH = "search --backend native --device cuda:0 --preset naswot --dtype bfloat16 --norm batch --p 0.9"
SEARCH += " --supernet-channels 4 --supernet-cells 1 --resolution 8 --images 2 --threads 1 --json"


def searched(capfd: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of a search on the GPU."""
    with pytest.raises(SystemExit) as stop:
        main(SEARCH.split())
    out, err = capfd.readouterr()
    return int(stop.value.code or 0), out, err


@pytest.mark.usefixtures("tiny")
class TestNativeCuda:
    pytestmark = pytest.mark.skipif(
        missing("native", "cuda:0") is not None, reason=f"no GPU: {missing('native', 'cuda:0')}"
    )

    def test_a_search_is_preceded_by_one_check(
        self, card: Callable[[Gpu], None], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Per dtype; the float32 pass that half precision is compared with is another network."""
        agrees = (
            "native on cuda:0 (NVIDIA H100, driver 580.95.05) agrees with the CPU, which is checked once: "
        )
        code, out, err = searched(capfd)
        assert code == 0, err
        assert json.loads(out)["device"] == "cuda:0 (NVIDIA H100)"
        assert [err.count(f"{agrees}{dtype} logits") for dtype in ("bfloat16", "float32")] == [1, 1]
        assert "agrees" not in searched(capfd)[2]
        monkeypatch.setattr(native, "__version__", "9.9")
        assert searched(capfd)[2].count("agrees") == 2
        monkeypatch.setattr(native, "_compiled_digest", lambda: "another")
        assert searched(capfd)[2].count("agrees") == 2
        card(replace(H100, driver="590.44"))
        assert searched(capfd)[2].count("agrees") == 2
        assert "agrees" not in searched(capfd)[2]

    @pytest.mark.usefixtures("card")
    def test_a_gpu_that_computes_something_else_ends_the_search(
        self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        right = CudaPass.batch

        def wrong(self: CudaPass, masks: Mask, images: Any) -> list[Observation]:
            return [replace(seen, logits=seen.logits * 2) for seen in right(self, masks, images)]

        monkeypatch.setattr(CudaPass, "batch", wrong)
        code, out, err = searched(capfd)
        assert (code, out) == (2, "")
        (line,) = err.strip().splitlines()
        assert line.startswith(
            "znas-engine: error: native on cuda:0 (NVIDIA H100, driver 580.95.05) computes "
        )
        assert re.search(
            r"a bfloat16 logit .* 'mixture' is wrong by .* where the largest is .*, 0.047 of", line
        )

    @pytest.mark.usefixtures("card")
    @pytest.mark.parametrize(
        ("owner", "method", "wrong", "message"),
        [
            (
                CudaCodes,
                "agreements_there",
                lambda right: right + 1,
                "counts activation codes otherwise than the CPU: images under the mask 'mixture' ",
            ),
            (
                CudaFeatures,
                "image_products",
                lambda right: [x * 1.01 for x in right],
                (
                    r"multiplies features otherwise than the CPU: a product under the mask 'mixture' is "
                    r"wrong by [1-9]\.\d\de-03 of its factors, 0\.0001 of that are allowed; use --device cpu$"
                ),
            ),
        ],
        ids=["codes", "features"],
    )
    def test_a_gpu_that_adds_up_wrong_ends_the_search(
        self,
        owner: type,
        method: str,
        wrong: Callable[[Any], Any],
        message: str,
        capfd: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        right = getattr(owner, method)
        monkeypatch.setattr(owner, method, lambda self: wrong(right(self)))
        code, out, err = searched(capfd)
        assert (code, out) == (2, "")
        (line,) = err.strip().splitlines()
        assert re.search(message, line)
