"""`--backend ort` on a device: its passes with the CPU as one, and what it says where no GPU can be used."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from importlib.metadata import version
from threading import Thread
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from tests.conftest import SPACES, small
from znas_engine.backends import get_backend, missing, onnxruntime_cuda
from znas_engine.backends.onnxruntime import OnDevice, OnnxRuntime, session
from znas_engine.backends.onnxruntime_cuda import HOW_TO_GET, PROVIDER, Bound, cuda_session, device_errors
from znas_engine.backends.records import ORT
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import DeviceError, DeviceMemoryError, MissingDependencyError
from znas_engine.export import CUDA_OPSET
from znas_engine.scores import READS
from znas_engine.spaces import SearchSpace
from znas_engine.supernet.normalisation import NORMS
from znas_engine.testing.agreement import assert_conforms, assert_logits_conform

NB201 = SPACES["nasbench201"]
cpu_wheel = pytest.mark.skipif(
    PROVIDER in onnxruntime.get_available_providers(), reason="onnxruntime-gpu is installed"
)


#: Versions of operators that the CUDA provider has float and float16 kernels for, as far as ours reach:
#: docs/OperatorKernels.md of ONNX Runtime, commit 001d12d. A kernel "13+" serves version 13 alone.
KERNELS = {
    "Add": range(14, 15),
    "AveragePool": range(11, 23),
    "Cast": range(13, 24),
    "Concat": range(13, 14),
    "Conv": range(11, 23),
    "Div": range(14, 15),
    "Flatten": range(13, 14),
    "GatherND": range(13, 14),
    "GlobalAveragePool": range(1, 2),
    "Greater": range(13, 14),
    "Identity": range(14, 20),
    "MatMul": range(13, 14),
    "MaxPool": range(12, 13),
    "Mul": range(14, 15),
    "ReduceMean": range(18, 19),
    "Relu": range(14, 15),
    "Slice": range(13, 14),
    "Split": range(18, 19),
    "Sqrt": range(13, 14),
    "Sub": range(14, 15),
    "Sum": range(13, 14),
}


class Buffered(OnnxRuntime):
    """What runs on a GPU, on the CPU."""

    def prepare(self, environment: Environment, *, norm: str, reads: frozenset[str], device: str) -> Any:
        return OnDevice(self, environment, norm, self._statistics(environment, norm), reads, device)


@pytest.mark.parametrize(
    ("name", "norm"), [*(("nasbench201", norm) for norm in NORMS), ("darts", "calibrated")]
)
def test_passes_on_a_device_conform(name: str, norm: str, images: Batch) -> None:
    """How buffers are lent and chunks merged is no matter of spaces; operators are."""
    space = SPACES[name]
    assert_conforms(
        get_backend("torch")(space, small(space), norm=norm),
        Buffered(space, small(space), norm=norm, threads=2),
        Environment(11, "gaussian", images),
    )


@pytest.mark.parametrize("norm", NORMS)
def test_float16_passes_on_a_device_conform(norm: str, images: Batch) -> None:
    class Half(Buffered):
        record = replace(ORT, dtypes={"cpu": ("float32", "float16")})

    assert_logits_conform(
        get_backend("torch")(NB201, small(NB201), norm=norm),
        Half(NB201, small(NB201), norm=norm, dtype="float16", threads=2),
        Environment(11, "gaussian", images),
    )


def test_graphs_of_a_device_have_its_opset(images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or pools and convolutions would run on the CPU; other graphs keep theirs."""
    seen = []

    def watched(model: bytes, device: str) -> Any:
        seen.append(onnx.load_from_string(model))
        return session(model, device)

    monkeypatch.setattr("znas_engine.backends.onnxruntime.session", watched)
    environment = Environment(11, "gaussian", images)
    backend = Buffered(NB201, small(NB201), norm="identity")
    backend.observe(NB201.mixture()[None], environment)
    models = [*seen, onnx.load_from_string(backend.export(environment))]
    assert [{each.domain: each.version for each in model.opset_import}[""] for model in models] == [
        CUDA_OPSET,
        22,
    ]
    for model in models:
        (opset,) = {each.version for f in model.functions for each in f.opset_import}
        assert opset == model.opset_import[0].version
    assert models[0].graph.node == models[1].graph.node


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("norm", NORMS)
def test_every_operator_has_a_kernel_for_cuda(norm: str, space: SearchSpace[Any], images: Batch) -> None:
    backend = OnnxRuntime(space, small(space), norm=norm)
    environment = Environment(11, "gaussian", images)
    statistics = backend._statistics(environment, norm)
    model = onnx.load_from_string(backend.whole(environment, norm, statistics, READS, "float16", CUDA_OPSET))
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    kinds = {node.op_type for node in nodes if not node.domain}
    lacking = [
        {kind for kind in kinds if onnx.defs.get_schema(kind, opset).since_version not in KERNELS[kind]}
        for opset in (CUDA_OPSET, 22)
    ]
    assert lacking[0] == set()
    assert {"Flatten", "GlobalAveragePool"} <= lacking[1]


def test_inputs_keep_their_buffers(images: Batch) -> None:
    """One per number of images and one for the mask, whoever calls; every pass sees its own inputs."""
    environment = Environment(11, "gaussian", images)
    backend = Buffered(NB201, small(NB201))
    run = backend.prepare(environment, norm="calibrated", reads=frozenset(), device="cpu")
    masks = [NB201.do(0, operation) for operation in range(5)]
    parts = [images.images[:7], images.images[7:14], images.images[14:17]]
    expected = {
        (m, p): run(mask, part).logits for m, mask in enumerate(masks) for p, part in enumerate(parts)
    }
    places = {key: buffer.data_ptr() for key, buffer in run.bound.buffers.items()}
    assert Counter(name for name, _ in places) == {"images": 2, "mask": 1}
    found: dict[tuple[int, int], Any] = {}

    def passes(m: int) -> None:
        for p, part in enumerate(parts):
            found[m, p] = run(masks[m], part).logits

    threads = [Thread(target=passes, args=(m,)) for m in range(len(masks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[key], logits) for key, logits in expected.items())
    assert {key: buffer.data_ptr() for key, buffer in run.bound.buffers.items()} == places


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        (
            onnxruntime_cuda.state.RuntimeException(
                "[ONNXRuntimeError] : 6 : BFCArena::AllocateRawInternal Failed to allocate memory for "
                "requested buffer of size 64\nmore"
            ),
            DeviceMemoryError,
            "memory is full .*buffer of size 64",
        ),
        (RuntimeError("CUDA failure 2: out of memory ; GPU=0"), DeviceMemoryError, "memory is full"),
        (
            onnxruntime_cuda.state.Fail("CUDNN failure 4: CUDNN_STATUS_ALLOC_FAILED"),
            DeviceMemoryError,
            "is full",
        ),
        (
            onnxruntime_cuda.state.Fail("CUDA failure 700: illegal\nmore"),
            DeviceError,
            "GPU .CUDA failure 700",
        ),
    ],
)
def test_what_a_device_says_is_one_line(error: Exception, kind: type[DeviceError], line: str) -> None:
    with pytest.raises(kind, match=line) as caught, device_errors():
        raise error
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


def test_what_is_wrong_with_a_pass_comes_through(images: Batch) -> None:
    environment = Environment(11, "gaussian", images)
    model = OnnxRuntime(NB201, small(NB201)).export(environment)
    with pytest.raises(DeviceError, match="ONNX Runtime failed on the GPU"):
        Bound(session(model), "cpu").run(["logits"], {"images": images.images[:4]})


@cpu_wheel
def test_a_wheel_for_cpus_is_named() -> None:
    why = missing("ort", "cuda:0")
    assert why is not None
    assert f"the installed onnxruntime {version('onnxruntime')} is the one for CPUs: {HOW_TO_GET}" in why
    assert OnnxRuntime.packages == ("onnxruntime",)


@cpu_wheel
@pytest.mark.filterwarnings("ignore:Specified provider 'CUDAExecutionProvider':UserWarning")
def test_no_session_falls_back_to_the_cpu(images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where ONNX Runtime says so nor where it does not."""
    model = OnnxRuntime(NB201, small(NB201)).export(Environment(11, "gaussian", images))
    with pytest.raises(MissingDependencyError, match=r"cannot use its CUDA provider .*pip uninstall") as said:
        session(model, "cuda:0")
    assert "\n" not in str(said.value)

    class Silent(onnxruntime.SessionOptions):  # type: ignore[misc]
        def add_session_config_entry(self, key: str, value: str) -> None:
            assert (key, value) == ("session.disable_cpu_ep_fallback", "1")

    with pytest.raises(MissingDependencyError, match=r"provider \(it chose CPUExecutionProvider\)"):
        cuda_session(model, "cuda:0", Silent())


def test_libraries_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By name where ONNX Runtime gives names, in its own words elsewhere; nothing of it reaches stdout."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDER])
    monkeypatch.setattr(onnxruntime_cuda, "libraries", lambda: "")

    def unloaded(*arguments: Any) -> None:
        raise RuntimeError("provider_bridge_ort.cc: CUDA Provider not available\nmore")

    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", unloaded)
    assert onnxruntime_cuda.lacking("cuda:0", gpu=False) is None
    reason = f"ONNX Runtime {onnxruntime.__version__} cannot use its CUDA provider ({{}}): {HOW_TO_GET}"
    assert onnxruntime_cuda.lacking("cuda:0") == reason.format(
        "provider_bridge_ort.cc: CUDA Provider not available"
    )
    monkeypatch.setattr(onnxruntime_cuda, "libraries", lambda: "libcublas.so.13, libcurand.so.10")
    assert onnxruntime_cuda.lacking("cuda:0") == reason.format("libcublas.so.13, libcurand.so.10")
    monkeypatch.setattr(onnxruntime.OrtValue, "ortvalue_from_shape_and_type", lambda *arguments: None)
    assert onnxruntime_cuda.lacking("cuda:0") is None
    assert onnxruntime_cuda.distribution() == "onnxruntime-gpu"


def test_names_of_libraries_are_read_from_what_is_printed() -> None:
    code = """
import onnxruntime
from znas_engine.backends.onnxruntime_cuda import libraries
def preload():
    print("Failed to load libcublas.so.13: libcublas.so.13: cannot open shared object file")
    print("Failed to load libcurand.so.10: no\\nPlease follow https://onnxruntime.ai")
onnxruntime.preload_dlls = preload
print(libraries(), libraries(), sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "|".join(["libcublas.so.13, libcurand.so.10"] * 2) + "\n"
