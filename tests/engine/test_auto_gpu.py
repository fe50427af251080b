"""When `--backend auto` takes a GPU by itself, and what is said when it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

from tests.command import SEARCH, apart
from znas import Request, Setup
from znas.cli.doctor import _gpus
from znas.hooks import Hooks
from znas_engine import gpu
from znas_engine.backends import BACKENDS, Choice, choose_backend, missing, records
from znas_engine.errors import InvalidValueError
from znas_engine.gpu import MEASURED, Gpu
from znas_engine.scores import get_scores

H100 = Gpu("NVIDIA H100", "9.0", "580.95.05")
A10 = Gpu("NVIDIA A10", "8.6", "580.95.05")
T4 = Gpu("NVIDIA T4", "7.5", "580.95.05")
ON_GPU = Choice(BACKENDS.get("native"), ("cuda:0",))
ON_CPU = Choice(BACKENDS.get("native"), ("cpu",))


def machine(monkeypatch: pytest.MonkeyPatch, *cards: Gpu, built: bool = True) -> None:
    """One with these cards. built: whether the native backend has its CUDA half."""
    monkeypatch.setattr(gpu, "gpus", lambda: list(cards))
    monkeypatch.setattr("znas.cli.doctor.gpus", lambda: list(cards))
    core = import_module("znas_engine._core")
    if not built:
        monkeypatch.delattr(core, "cuda_device_count", raising=False)
        return
    monkeypatch.setattr(core, "cuda_device_count", lambda: len(cards), raising=False)
    monkeypatch.setattr(
        core, "cuda_capability", lambda number: round(10 * float(cards[number].capability)), raising=False
    )


def test_auto_takes_the_first_gpu_if_its_like_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert H100.capability in MEASURED
    machine(monkeypatch, H100, A10)
    assert choose_backend("auto") == ON_GPU
    for dtype in ("bfloat16", "float16"):
        assert choose_backend("auto", dtype=dtype) == ON_GPU
    remarks: list[str] = []
    setup = Setup(Request(), Hooks(report=remarks.append))
    assert (setup.backend, setup.devices, remarks) == ("native", ("cuda:0",), [])


def test_whoever_names_a_device_or_a_backend_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """`default` is what commands use whose results must not change with the machine."""
    machine(monkeypatch, H100)
    assert choose_backend("auto", device="cpu") == ON_CPU
    assert choose_backend("auto", device="default") == ON_CPU
    assert choose_backend("native") == ON_CPU
    assert choose_backend("native", device="cuda:0") == ON_GPU
    assert choose_backend("auto", get_scores("naswot+snip")) == Choice(BACKENDS.get("torch"), ("cpu",))
    with pytest.raises(InvalidValueError, match=r"`dtype` must be float32 or bfloat16 .* on cpu but got"):
        choose_backend("auto", dtype="float33")


@pytest.mark.parametrize(
    ("card", "built", "why"),
    [
        (
            A10,
            True,
            "no results are committed for compute capability 8.6; --device cuda:0 would use NVIDIA A10",
        ),
        (
            H100,
            False,
            "native cannot run on cuda:0 (NVIDIA H100): znas-engine was built without CUDA: install the CUDA",
        ),
        (A10, False, None),
        (T4, True, None),
    ],
    ids=["not measured", "not built", "neither", "too old"],
)
def test_auto_says_why_it_leaves_a_gpu_alone(
    card: Gpu, built: bool, why: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line where something can be done about it, none where nothing can."""
    machine(monkeypatch, card, built=built)
    choice = choose_backend("auto")
    assert replace(choice, remark=None) == ON_CPU
    if why is None:
        assert choice.remark is None
    else:
        assert (choice.remark or "").startswith(f"--backend auto stays on the CPU: {why}")
    assert choose_backend("auto", device="default").remark is None


def test_a_machine_without_the_native_backend_hears_of_that_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, H100)
    found = records.find_spec
    monkeypatch.setattr(records, "find_spec", lambda name: None if name.endswith("_core") else found(name))
    choice = choose_backend("auto")
    assert choice.backend == "ort"
    assert choice.remark is not None
    assert choice.remark.count("_core is not installed") == 1


def test_doctor_says_of_every_card_whether_auto_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, H100, H100, A10, T4)
    found = [check.detail.partition("driver 580.95.05; ")[2] for check in _gpus()]
    for detail, expected in zip(
        found,
        [
            "--backend auto uses it; its first use compares it with the CPU, once",
            "--backend auto uses cuda:0 alone, --device cuda:0,cuda:1 both",
            "--backend auto leaves it alone, --device cuda:2 uses it",
            "--backend auto leaves it alone: native cannot run on it: its kernels need compute capability",
        ],
        strict=True,
    ):
        assert detail.startswith(expected)


def test_cuda_gets_a_queue_for_every_worker_thread(driver: Path) -> None:
    """Before it is asked anything; whoever has set another number keeps it."""
    code = "import os, znas_engine.gpu as g; g.gpus(); print(os.environ['CUDA_DEVICE_MAX_CONNECTIONS'])"
    there = {"LD_LIBRARY_PATH": str(driver), "GPUS": "1", "CAPABILITY": "90"}
    before = {name: value for name, value in os.environ.items() if name != "CUDA_DEVICE_MAX_CONNECTIONS"}
    for given, expected in (({}, "32"), ({"CUDA_DEVICE_MAX_CONNECTIONS": "8"}, "8")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=before | there | given,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == expected


@pytest.mark.skipif("ZNAS_EMULATED_GPUS" not in os.environ, reason="the GPU is a real one, or there is none")
@pytest.mark.skipif(missing("native", "cuda:0") is not None, reason="no GPU")
def test_a_default_search_says_which_card_it_ran_on(driver: Path) -> None:
    there = {"LD_LIBRARY_PATH": str(driver), "GPUS": "1", "CAPABILITY": "90"}
    tiny = ("--images", "2", "--resolution", "8", "--p", "0.9", "--dtype", "bfloat16")
    done = apart(*SEARCH, *tiny, **there)
    assert done.returncode == 0, done.stderr
    assert "\ndevice      cuda:0 (First)\n" in done.stdout
    assert json.loads(apart(*SEARCH, *tiny, "--json", **there).stdout)["device"] == "cuda:0 (First)"
    assert "\ndevice      cpu\n" in apart(*SEARCH, *tiny, "--device", "cpu", **there).stdout
