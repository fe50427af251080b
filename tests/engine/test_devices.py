"""Where passes run: names of devices, which backend serves which, and masks shared out among several."""

from __future__ import annotations

import re
import threading
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.command import SEARCH, apart, refused
from tests.conftest import SPACES, small
from znas_engine.backends import BACKENDS, Choice, choose, choose_backend, get_backend, missing, records
from znas_engine.backends.chunked import Chunked
from znas_engine.backends.passes import BatchedPass
from znas_engine.backends.torch_errors import device_errors
from znas_engine.data import Batch
from znas_engine.devices import parse_devices
from znas_engine.environment import Environment
from znas_engine.errors import (
    DeviceError,
    DeviceMemoryError,
    InvalidValueError,
    MissingDependencyError,
    NonFiniteScoreError,
)
from znas_engine.scores import Observation, get_scores
from znas_engine.spaces import Mask

NB201 = SPACES["nasbench201"]
without_gpu = pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("cpu", ("cpu",)),
        ("cuda", ("cuda:0",)),
        ("cuda:12", ("cuda:12",)),
        ("cuda:1, cuda:0", ("cuda:1", "cuda:0")),
    ],
)
def test_names_of_devices(text: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text) == devices
    assert parse_devices(",".join(devices)) == devices


@pytest.mark.parametrize(
    "text",
    [
        "",
        "gpu",
        "CPU",
        "cpu:0",
        "cuda:",
        "cuda:-1",
        "cuda:01",
        "cuda:1000",
        "cuda:0,cuda",
        "cpu,cuda:0",
        "cpu,cpu",
    ],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"`device` must be cpu, cuda:N, or .* but got '{text}'"):
        choose_backend("native", device=text)


@pytest.mark.parametrize("name", BACKENDS.names())
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_backend_refuses_devices_that_it_does_not_serve(name: str, device: str) -> None:
    kind = device.partition(":")[0]
    if kind in BACKENDS.get(name).devices:
        assert missing(name, device) is None or kind == "cuda"
    else:
        others = " or ".join(other for other in BACKENDS.names() if kind in BACKENDS.get(other).devices)
        with pytest.raises(
            InvalidValueError,
            match=rf"for the backend {name} but got {device}; use --backend {others} for {kind}",
        ):
            choose_backend(name, device=device)


class Watched(get_backend("torch")):  # type: ignore[misc]
    """Counts what is prepared, and which thread runs which pass."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.prepared: list[str] = []
        self.passes: Counter[tuple[int, int]] = Counter()

    def prepare(self, environment: Environment, *, device: str, **named: Any) -> Any:
        number = len(self.prepared)
        self.prepared.append(device)
        run = super().prepare(environment, device=device, **named)

        def watched(mask: Mask, images: Any) -> Observation:
            self.passes[number, threading.get_ident()] += 1
            found: Observation = run(mask, images)
            return found

        return watched


@pytest.mark.ours
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_masks_shared_out_among_devices_score_alike(threads: int, images: Batch) -> None:
    """To the bit and in order; each thread keeps to its own device, each device prepares once."""
    rng = np.random.default_rng(0)
    masks = rng.random((10, *NB201.shape), dtype=np.float32)
    environment = Environment(3, "gaussian", images[:12])
    scores = get_scores("naswot+flops+snip")
    one = Watched(NB201, small(NB201), devices=["cpu"])
    two = Watched(NB201, small(NB201), devices=["cpu", "cpu"], threads=threads)
    expected, found = (
        backend.evaluate(masks, score=scores, environments=[environment]).values for backend in (one, two)
    )
    assert np.array_equal(expected, found)
    assert two.prepared == ["cpu", "cpu"]
    ran = list(two.passes)
    assert {number for number, _ in ran} == {0, 1}
    assert len({thread for _, thread in ran}) == len(ran) <= max(threads, 2)
    again = two.evaluate(masks[::-1].copy(), score=scores, environments=[environment]).values
    assert np.array_equal(again, expected[:, ::-1])
    assert two.prepared == ["cpu", "cpu"]


def test_observations_are_shared_out_too(images: Batch) -> None:
    masks = np.stack([NB201.do(0, o) for o in range(5)])
    found = [
        get_backend("native")(NB201, small(NB201), devices=["cpu"] * count).observe(
            masks, Environment(3, "gaussian", images), reads=["codes"]
        )
        for count in (1, 3)
    ]
    for a, b in zip(*found, strict=True):
        assert np.array_equal(a.logits, b.logits)
        for one, other in zip(a.codes, b.codes, strict=True):
            assert np.array_equal(one.packed, other.packed)


class Batching(get_backend("torch")):  # type: ignore[misc]
    """The reference, its passes batched where logits alone are read; `fits` images go through at once."""

    fits = 64

    def masks_together(self, reads: frozenset[str], images: int) -> int:
        return 1 if reads else 4

    def prepare(self, environment: Environment, **named: Any) -> BatchedPass:
        single = super().prepare(environment, **named)
        self.sizes: list[tuple[int, int]] = []

        class Pass:
            def __call__(_, mask: Mask, images: Any) -> Observation:
                raise AssertionError("it has batches")

            def batch(_, masks: Mask, images: Any) -> list[Observation]:
                if len(images) > self.fits:
                    raise DeviceMemoryError("full")
                self.sizes.append((len(masks), len(images)))
                return [single(mask, images) for mask in masks]

        return Pass()


@pytest.mark.ours
@pytest.mark.parametrize("places", [1, 2])
def test_batched_passes_score_alike(places: int, images: Batch) -> None:
    """In order, and in batches of the size that the backend has for what scores read."""
    masks = np.random.default_rng(0).random((11, *NB201.shape), dtype=np.float32)
    environment = Environment(3, "gaussian", images)
    single = get_backend("torch")(NB201, small(NB201))
    batching = Batching(NB201, small(NB201), devices=["cpu"] * places)
    seen = []
    for names in ("accuracy+flops", "accuracy+naswot"):
        done: list[int] = []
        expected, found = (
            backend.evaluate(
                masks,
                score=get_scores(names),
                environments=[environment],
                progress=lambda step, total, done=done: done.append(step),  # type: ignore[misc]
            ).values
            for backend in (single, batching)
        )
        assert np.array_equal(expected, found)
        assert done == [*range(1, 12), *range(1, 12)]
        seen.append({count for count, _ in batching.sizes})
    assert seen == [{3, 4} if places == 1 else {2, 3}, {1}]  # as many batches for every device


@pytest.mark.ours
@pytest.mark.parametrize(
    ("places", "count", "sizes"),
    [(1, 11, {3, 2}), (1, 2, {2}), (2, 4, {2}), (3, 4, {2}), (4, 4, {1}), (1, 40, {3, 1})],
)
def test_threads_leave_masks_together(places: int, count: int, sizes: set[int], images: Batch) -> None:
    """Though threads get none for it; every device has some."""

    class Company(Batching):
        fewest = 3

    evaluator = Company(NB201, small(NB201), devices=["cpu"] * places, threads=8)
    masks = np.random.default_rng(0).random((count, *NB201.shape), dtype=np.float32)
    evaluator.evaluate(masks, score="accuracy", environments=[Environment(3, "gaussian", images[:2])])
    assert {size for size, _ in evaluator.sizes} == sizes


def test_a_batched_pass_names_the_mask_that_overflows(images: Batch) -> None:
    masks = np.stack([NB201.mixture(), NB201.mixture() * np.float32(1e30)])
    with pytest.raises(NonFiniteScoreError, match=r"not finite under the mask \[\[2\.0+\d*e\+29"):
        Batching(NB201, small(NB201), norm="identity").evaluate(
            masks, score=get_scores("accuracy"), environments=[Environment(3, "gaussian", images)]
        )


def test_a_full_device_gets_fewer_images(images: Batch) -> None:
    """Halved with a word, and the scores of frozen statistics stay; those of a batch are not redefined."""
    environment = Environment(3, "gaussian", images)
    masks = NB201.mixture()[None]
    said: list[str] = []
    for norm in ("identity", "batch"):
        backend = Batching(NB201, small(NB201), norm=norm, report=said.append)
        backend.fits = 20
        arguments: Any = {"score": get_scores("accuracy"), "environments": [environment]}
        if norm == "batch":
            with pytest.raises(DeviceMemoryError, match="full"):
                backend.evaluate(masks, **arguments)
            continue
        found = backend.evaluate(masks, **arguments).values
        expected = get_backend("torch")(NB201, small(NB201), norm=norm).evaluate(masks, **arguments).values
        assert np.array_equal(found, expected)
        assert {size for _, size in backend.sizes} == {14}  # 70 images in 5 chunks of at most 16
    assert said == [f"the GPU's memory is full: {size} images at a time from here on" for size in (32, 16)]


@given(images=st.integers(1, 300), fits=st.integers(0, 70))
def test_chunks_shrink_until_they_fit(images: int, fits: int) -> None:
    said: list[str] = []
    chunked = Chunked(64, said.append)

    def run(rows: slice) -> int:
        if rows.stop - rows.start > fits:
            raise DeviceMemoryError("full")
        return rows.stop - rows.start

    if fits == 0:
        with pytest.raises(DeviceMemoryError):
            chunked(run, images)
        return
    sizes = chunked(run, images)
    assert sum(sizes) == images
    assert max(sizes) <= fits
    assert len(said) == 6 - chunked.size.bit_length() + 1
    assert chunked(run, images) == sizes


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB\nmore"),
            DeviceMemoryError,
            "memory is full .*2 GiB",
        ),
        (
            torch.AcceleratorError("CUDA error: launch failure\nmore"),
            DeviceError,
            "GPU failed .CUDA error: launch",
        ),
    ],
)
def test_a_full_or_lost_gpu_is_one_line(error: Exception, kind: type[DeviceError], line: str) -> None:
    with pytest.raises(kind, match=line) as caught, device_errors():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.ours
@without_gpu
@pytest.mark.parametrize("backend", ["native", "ort", "torch", "trt", "auto"])
def test_without_a_gpu_its_name_is_refused(backend: str) -> None:
    message = refused(apart(*SEARCH, "--backend", backend, "--device", "cuda:0"))
    assert "--device cuda:0 is not here: no NVIDIA driver is installed" in message
    assert message.endswith("; use --device cpu")


@pytest.mark.ours
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "cuda:2"], "--device cuda:2 is not here: this machine has cuda:0, cuda:1; use"),
        (
            ["--device", "cuda:0,cuda:7", "--backend", "torch"],
            "--device cuda:7 is not here: this machine has",
        ),
        (
            ["--device", "cuda:1", "--backend", "torch"],
            "torch cannot run on cuda:1 here: PyTorch .* no CUDA: install",
        ),
        (
            ["--device", "cuda:1", "--backend", "ort"],
            r"ort cannot run on cuda:1 here: the installed onnxruntime [\d.]+ is the one for CPUs: pip unin",
        ),
        (
            ["--device", "cuda:0"],
            "can run float32 here; native cannot: .*; ort cannot: .*; torch cannot: .*; trt cannot",
        ),
    ],
)
def test_a_gpu_that_cannot_be_used_is_one_line(options: list[str], message: str, driver: Path) -> None:
    place = {"LD_LIBRARY_PATH": str(driver), "GPUS": "2", "CAPABILITY": "86"}
    assert re.search(message, refused(apart(*SEARCH, *options, **place)))


@pytest.mark.parametrize(
    ("count", "line"),
    [(None, "was built without CUDA: install the CUDA toolkit"), (0, "driver is too old"), (1, None)],
)
def test_what_the_native_backend_needs_for_a_gpu(
    count: int | None, line: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = import_module("znas_engine._core")
    monkeypatch.setattr(records, "lacking_gpu", lambda device: None)
    if count is None:
        monkeypatch.delattr(core, "cuda_device_count", raising=False)
    else:
        monkeypatch.setattr(core, "cuda_device_count", lambda: count, raising=False)
        monkeypatch.setattr(core, "cuda_capability", lambda number: 80, raising=False)
    reason = missing("native", "cuda:0")
    assert (reason is None) if line is None else (reason is not None and line in reason)


def test_auto_says_what_a_faster_backend_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_backend("auto", device="default") == Choice(BACKENDS.get("native"), ("cpu",))
    found = records.find_spec
    monkeypatch.setattr(records, "find_spec", lambda name: None if name.endswith("_core") else found(name))
    choice = choose_backend("auto")
    assert (choice.backend, choice.devices) == ("ort", ("cpu",))
    assert choice.remark == (
        "--backend auto runs ort on cpu; native cannot: the package znas_engine._core is not installed: "
        "install a C++20 compiler, then reinstall znas-engine"
    )
    assert choose_backend("ort").remark is None
    monkeypatch.setattr(records, "find_spec", lambda name: None)
    with pytest.raises(
        MissingDependencyError, match=r"no backend can run float32 here; native cannot: .*; trt cannot: "
    ):
        choose_backend("auto")


def test_auto_keeps_to_the_dtype(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that cannot compute in it is not considered, and never taken in another dtype instead."""
    assert choose_backend("auto", dtype="bfloat16").backend == "native"
    monkeypatch.setattr(
        choose, "missing", lambda record, device: "no" if record.name in ("native", "trt") else None
    )
    with pytest.raises(
        MissingDependencyError, match=r"^no backend can run bfloat16 here; native cannot: no; trt cannot: no$"
    ):
        choose_backend("auto", dtype="bfloat16")
    for dtype, device, expected in (
        ("float16", "cpu", r"float32 or bfloat16 for the backend native on cpu but got 'float16'"),
        ("float33", "auto", r"float32 or bfloat16 for the backend native on cpu but got 'float33'"),
    ):
        with pytest.raises(InvalidValueError, match=f"^`dtype` must be {expected}"):
            choose_backend("auto", device=device, dtype=dtype)


def test_auto_keeps_to_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes before the first that can run there is named."""
    monkeypatch.setattr(choose, "lacking_gpu", lambda device: None)
    monkeypatch.setattr(choose, "missing", lambda record, device: None if record.name == "torch" else "no")
    choice = choose_backend("auto", device="cuda:0,cuda:1")
    assert choice == Choice(
        BACKENDS.get("torch"),
        ("cuda:0", "cuda:1"),
        "--backend auto runs torch on cuda:0, cuda:1; native cannot: no; ort cannot: no",
    )
