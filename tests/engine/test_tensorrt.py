"""Plans, with the real builder: TensorRT-RTX builds for a compute capability that is named, without a GPU.

Skipped where TensorRT is missing; `make test-tensorrt` installs it and fails instead (ZNAS_REQUIRE_TENSORRT).
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.command import apart, refused, supernet
from tests.conftest import SPACES, small
from tests.engine.twin import CELLS
from znas_engine import kernels
from znas_engine.backends import get_backend
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.backends.onnxruntime import session
from znas_engine.backends.scaling import scaling_of
from znas_engine.data import Batch
from znas_engine.environment import Environment
from znas_engine.errors import InvalidValueError, MissingDependencyError, TensorRTError
from znas_engine.export import GRAPH_DTYPES
from znas_engine.export.network import export, untrained
from znas_engine.gpu import Gpu, gpus
from znas_engine.scores import READS, HostCodes
from znas_engine.spaces import Macro, Mask, SearchSpace
from znas_engine.tensorrt.flavours import FLAVOURS

try:
    from znas_engine.backends.tensorrt import TensorRt, _Pass, agreements_of, pack_bits
    from znas_engine.tensorrt import library
    from znas_engine.tensorrt.plans import IMAGES, Target, build_alone, plan, target
except MissingDependencyError as error:
    if os.environ.get("ZNAS_REQUIRE_TENSORRT"):
        raise
    pytest.skip(f"{error}; or run `make test-tensorrt`", allow_module_level=True)
if not library.BUILDS_AHEAD:
    pytest.skip(f"{library.FLAVOUR} does not build ahead for other GPUs", allow_module_level=True)

NB201 = SPACES["nasbench201"]
AMPERE, BLACKWELL = "8.6", "12.0"


def model(
    space: SearchSpace[Any], macro: Macro, *, norm: str = "identity", dtype: str = "float32", seed: int = 1
) -> bytes:
    pixels = np.random.default_rng(0).standard_normal((8, 3, macro.resolution, macro.resolution))
    environment = Environment(seed, "gaussian", Batch(pixels.astype(np.float32), None))
    return get_backend("ort")(space, macro, norm=norm).export(environment, reads=["codes"], dtype=dtype)


@pytest.fixture(scope="module")
def tiny() -> bytes:
    """Builds in about a second."""
    return model(NB201, small(NB201))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZNAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(root: Path, kind: str = "plan") -> list[Path]:
    return [path for path in (root / kind).iterdir() if not path.suffix]


@pytest.mark.parametrize(
    ("space", "dtype", "capability"),
    [
        *(("nasbench201", *both) for both in product(GRAPH_DTYPES, (AMPERE, BLACKWELL))),
        # Half a minute each: in the types that ask more of a builder than float32 does.
        ("darts", "float16", AMPERE),
        ("darts", "bfloat16", BLACKWELL),
        # Depthwise convolutions with strides, and sums of six and of seven operations.
        ("mobilenet", "float16", AMPERE),
    ],
)
def test_graphs_of_all_dtypes_build(space: str, dtype: str, capability: str) -> None:
    graph = model(SPACES[space], small(SPACES[space]), norm="calibrated", dtype=dtype)
    assert len(library.build(graph, images=IMAGES, capability=capability).plan) > len(graph)


@pytest.mark.parametrize("dtype", GRAPH_DTYPES)
def test_graphs_that_normalise_each_batch_build(dtype: str) -> None:
    graph = model(NB201, small(NB201), norm="batch", dtype=dtype)
    assert library.build(graph, images=IMAGES, capability=AMPERE).plan


@pytest.mark.parametrize("capability", [AMPERE, BLACKWELL])
def test_graphs_whose_cells_have_masks_of_their_own_build(capability: str) -> None:
    graph = model(NB201, small(NB201), norm="identity", dtype="float16")
    assert onnx.load_from_string(graph).graph.input[1].type.tensor_type.shape.dim[0].dim_value == 6
    assert library.build(graph, images=IMAGES, capability=capability).plan


@pytest.mark.parametrize("dtype", GRAPH_DTYPES)
def test_a_discrete_network_builds_without_the_cache(dtype: str, root: Path) -> None:
    """A plan of the cache may hold other weights: what is deployed is built anew."""
    graph, place = NB201.network(CELLS["nasbench201"], small(NB201)), target(AMPERE)

    def built(value: float) -> bytes:
        tensors = untrained(graph, lambda node: np.full(node.weight_shape, value, np.float32))
        return build_alone(export(graph, tensors, dtype=dtype), place, lambda line: None)

    one, other = built(0.1), built(0.2)
    assert one != other
    assert not root.exists()


def test_graphs_of_full_size_build() -> None:
    graph = model(NB201, NB201.search_macro(resolution=32, classes=10))
    assert library.build(graph, images=IMAGES, capability=AMPERE).plan


def test_what_the_library_refuses_is_told_in_its_words(tiny: bytes) -> None:
    with pytest.raises(TensorRTError, match=r"TensorRT-RTX .* cannot read the exported graph: .*parse"):
        library.build(b"no graph", images=IMAGES, capability=AMPERE)
    for absent in ("9.0", "86", None):
        with pytest.raises(InvalidValueError, match=rf"must be one of .*8\.6.* but got {absent}; TensorRT"):
            library.build(tiny, images=IMAGES, capability=absent)


def test_a_plan_is_built_once_and_again_when_it_is_stale_or_damaged(root: Path, tiny: bytes) -> None:
    said: list[str] = []

    def make(place: Target) -> int:
        """When the plan in the cache was written."""
        made = plan(tiny, dtype="float32", target=place, report=said.append)
        assert made == entries(root)[0].read_bytes().split(b"\n", 2)[2]
        (entry,) = entries(root)
        return entry.stat().st_mtime_ns

    now = target(AMPERE)
    building = (
        f"building a plan for compute capability 8.6 with TensorRT-RTX {library.VERSION}; once, it takes"
    )
    first = make(now)
    assert said.pop().startswith(building)
    assert make(now) == first
    assert said == []
    second = make(replace(now, version="9.9"))
    assert second > first
    assert f"was made by TensorRT-RTX {library.VERSION}, not TensorRT-RTX 9.9; building" in said[0]
    third = make(now)
    assert third > second
    assert "was made by TensorRT-RTX 9.9" in said[2]
    (entry,) = entries(root)
    entry.write_bytes(entry.read_bytes()[:-1])
    assert make(now) > third
    assert "damaged; building it again" in said[4]
    assert said[5].startswith(building)
    assert len(said) == 6


def test_plans_of_two_compute_capabilities_lie_side_by_side(root: Path, tiny: bytes) -> None:
    for capability in (AMPERE, BLACKWELL):
        plan(tiny, dtype="float32", target=target(capability), report=lambda line: None)
    assert len(entries(root)) == 2


KILLED = """
import sys
from pathlib import Path
from znas_engine.tensorrt.plans import build_alone, plan, target
plan(Path(sys.argv[1]).read_bytes(), dtype="float32", target=target(sys.argv[2]), report=print)
"""


def test_a_killed_build_leaves_no_lock_and_no_half_plan(root: Path, tiny: bytes, tmp_path: Path) -> None:
    (tmp_path / "graph").write_bytes(tiny)
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "graph", AMPERE])
    while not list(root.glob("plan/*.lock")):  # held from here until the plan is written
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert {path.suffix for path in (root / "plan").iterdir()} == {".lock"}
    said: list[str] = []
    assert plan(tiny, dtype="float32", target=target(AMPERE), report=said.append)
    assert [line.split(" for ")[0] for line in said] == ["building a plan"]


names = st.sampled_from(["NVIDIA H100 80GB HBM3", "NVIDIA RTX A6000", "NVIDIA GeForce RTX 5090"])
versions = st.sampled_from(["10.13.0.35", "11.4.0.106", "580.95.05", "590.1"])
targets = st.builds(
    Target,
    flavour=st.sampled_from(FLAVOURS[:2]),
    version=versions,
    capability=st.sampled_from(["8.6", "9.0", "12.0"]),
    gpu=st.none() | st.builds(Gpu, name=names, capability=st.just("9.0"), driver=versions),
)
wanted = st.tuples(targets, st.sampled_from([b"one", b"two"]), st.sampled_from(GRAPH_DTYPES))


@pytest.mark.parametrize("dtype", GRAPH_DTYPES)
def test_plans_whose_weights_can_be_replaced_are_shared(
    dtype: str, times: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Environments share a plan, graphs of another structure do not; without refitting, nothing is shared."""
    macro = small(NB201)
    one, other = (model(NB201, macro, norm="calibrated", dtype=dtype, seed=seed) for seed in (1, 2))
    unlike = [
        model(NB201, macro, norm="batch", dtype=dtype),
        model(NB201, replace(macro, channels=6), norm="calibrated", dtype=dtype),
        model(SPACES["darts"], small(SPACES["darts"]), norm="calibrated", dtype=dtype),
    ]
    assert times.key(one, dtype) != times.key(other, dtype)
    monkeypatch.setattr(library, "REFITS", True)
    keys = [times.key(graph, dtype) for graph in (one, other, *unlike)]
    assert keys[0] == keys[1]
    assert len({str(key) for key in keys}) == 4


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_tensorrt_rtx_needs_a_gpu_for_plans_that_it_can_refit(
    tiny: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `REFITS` is false for it: such plans could not be built ahead."""
    monkeypatch.setattr(library, "REFITS", True)
    with pytest.raises(TensorRTError, match=r"cannot build a plan: .*CUDA"):
        library.build(tiny, images=IMAGES, capability=AMPERE)


@given(one=wanted, other=wanted)
def test_plans_are_shared_by_equals_alone(
    one: tuple[Target, bytes, str], other: tuple[Target, bytes, str]
) -> None:
    found = [(place.key(graph, dtype), place.made_by()) for place, graph, dtype in (one, other)]
    assert (found[0] == found[1]) == (one == other)


@given(one=targets, version=versions, driver=versions)
def test_versions_supersede_and_do_not_pile_up(one: Target, version: str, driver: str) -> None:
    gpu = None if one.gpu is None else replace(one.gpu, driver=driver)
    later = replace(one, version=version, gpu=gpu)
    assert later.key(b"", "float32") == one.key(b"", "float32")
    assert later.timing_key() == one.timing_key()
    assert (later.made_by() == one.made_by()) == (later == one)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Target:
    """The real builder on the path of TensorRT: no capability is named, and timings are kept."""
    monkeypatch.setattr(library, "BUILDS_AHEAD", False)
    return Target(FLAVOURS[0], "11.4", AMPERE, Gpu("NVIDIA RTX A6000", AMPERE, "580.95.05"))


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_timings_of_one_build_serve_the_next(root: Path, tiny: bytes, times: Target) -> None:
    said: list[str] = []
    plan(tiny, dtype="float32", target=times, report=said.append)
    (timings,) = entries(root, "timings")
    kept = timings.read_bytes()
    assert kept
    plan(model(NB201, small(NB201), dtype="float16"), dtype="float16", target=times, report=said.append)
    assert [line.split(",")[0] for line in said] == ["building a plan for NVIDIA RTX A6000"] * 2
    timings.write_bytes(kept[:-1])
    plan(model(NB201, small(NB201), dtype="bfloat16"), dtype="bfloat16", target=times, report=said.append)
    assert len(said) == 4
    assert f"{timings} is damaged" in said[3]
    assert timings.read_bytes() == kept


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_without_a_gpu_tensorrt_says_how_to_build_ahead(times: Target) -> None:
    with pytest.raises(
        MissingDependencyError, match=r"builds on the GPU at hand: no NVIDIA driver .*znas-engine\[trt-rtx\]"
    ):
        target(AMPERE)


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_without_a_gpu_the_backend_is_refused_and_auto_goes_on() -> None:
    message = refused(apart("search", "--backend", "trt"))
    assert "--backend trt cannot run here: no NVIDIA driver" in message
    with pytest.raises(MissingDependencyError, match="no NVIDIA driver"):
        gpus()
    checks = apart("doctor").stdout
    assert f"ok      tensorrt        {library.FLAVOUR} builds plans for 7.5, 8.0, 8.6" in checks
    assert "--backend auto runs native" in checks


@pytest.mark.parametrize(
    ("capability", "why"),
    [
        ("90", "TensorRT-RTX .* does not serve the compute capability 9.0 .* pip install 'znas-engine.trt.'"),
        ("86", "PyTorch .* finds no CUDA: install its CUDA build"),
    ],
)
def test_a_gpu_alone_is_not_enough(capability: str, why: str, driver: Path) -> None:
    place = {"LD_LIBRARY_PATH": str(driver), "GPUS": "1", "CAPABILITY": capability}
    message = refused(apart("search", "--backend", "trt", **place))
    assert re.search(f"--backend trt cannot run here: {why}", message)


def test_export_builds_a_plan_ahead(root: Path, tmp_path: Path) -> None:
    size = [*supernet(4, 1, 16), "--dtype", "float16", "--codes"]
    files = [tmp_path / "one.plan", tmp_path / "two.plan"]
    for file, remarks in zip(files, (1, 0), strict=True):
        done = apart("export", *size, "--compute-capability", BLACKWELL, "--out", file)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("building a plan") == len(done.stderr.splitlines()) == remarks
        assert f"float16; {library.FLAVOUR}, compute capability {BLACKWELL}" in done.stdout
    (entry,) = entries(root)
    assert {file.read_bytes() for file in files} == {entry.read_bytes().split(b"\n", 2)[2]}
    message = refused(apart("export", *size, "--compute-capability", "9.0", "--out", tmp_path / "three"))
    assert "but got 9.0" in message
    assert not (tmp_path / "three").exists()


class Hosted:
    """A `_Run` without a GPU: ONNX Runtime passes the graph, and packs codes as the device would."""

    def __init__(self, model: bytes) -> None:
        self.session = session(model)

    def __call__(
        self, mask: Mask, images: Any, names: Iterable[str], codes: Iterable[str]
    ) -> tuple[dict[str, Any], list[torch.Tensor]]:
        seen = {"images": images, "mask": mask}
        found = {name: self.session.run([name], seen)[0] for name in names}
        return found, [pack_bits(torch.from_numpy(self.session.run([name], seen)[0])) for name in codes]

    def logits(self, masks: Mask, images: Any) -> Any:
        return np.stack([self(mask, images, ["logits"], [])[0]["logits"] for mask in masks])


@pytest.mark.parametrize("norm", ["identity", "calibrated"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_surrounds_a_pass(dtype: str, norm: str, images: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks scaled and values scaled back, outputs by name, codes packed, batches: all but the GPU."""
    batch = images[:6]
    environment = Environment(3, "gaussian", batch)
    backend = TensorRt(NB201, small(NB201), norm=norm, dtype=dtype)
    monkeypatch.setattr(_Pass, "_run", lambda self, images: nullcontext(self.hosted))
    found = _Pass.__new__(_Pass)
    found.graph, found.reads = backend.graph, frozenset()
    found.scaling = scaling_of(backend, environment, norm)
    found.hosted = Hosted(backend.exporter.export(environment, reads=READS, dtype=dtype))  # type: ignore[attr-defined]
    masks = np.stack([NB201.mixture(), NB201.do(1, 3), np.ones(NB201.shape, np.float32)])
    reference = get_backend("torch")(NB201, small(NB201), norm=norm)
    together = found.batch(masks, batch.images)  # nothing but logits is read: the host waits once
    found.reads = frozenset(READS)
    for alone, mask, expected in zip(
        together, masks, reference.observe(masks, environment, reads=READS), strict=True
    ):
        seen = found(mask, batch.images)
        assert np.array_equal(seen.logits, alone.logits)
        assert seen.pooled is not None
        assert expected.pooled is not None
        for a, b in zip(
            (expected.logits, expected.pooled, expected.unpooled, *expected.features),
            (seen.logits, seen.pooled, seen.unpooled, *seen.features),
            strict=True,
        ):
            assert b.dtype == np.float32
            assert np.abs(a - b).max() <= LOGIT_TOLERANCE[dtype] * np.abs(a).max()
        assert [(s.bits, s.modules, s.packed.shape) for s in seen.codes] == [
            (s.bits, s.modules, s.packed.shape) for s in expected.codes
        ]
        assert np.array_equal(seen.codes.agreements(), HostCodes(seen.codes).agreements())


@given(units=st.integers(1, 200), images=st.integers(1, 4), seed=st.integers(0, 100))
def test_packed_bits_are_those_of_the_kernels(units: int, images: int, seed: int) -> None:
    active = np.random.default_rng(seed).random((images, units)) < 0.5
    found = pack_bits(torch.from_numpy(active)).numpy().view(np.uint64)
    assert np.array_equal(found, kernels.pack_codes(active))


@given(units=st.integers(1, 200), images=st.integers(1, 9), seed=st.integers(0, 100))
def test_agreements_are_those_of_the_kernels(units: int, images: int, seed: int) -> None:
    active = np.random.default_rng(seed).random((images, units)) < 0.5
    found = agreements_of(pack_bits(torch.from_numpy(active)), units).numpy()
    assert np.array_equal(found, kernels.code_gram(kernels.pack_codes(active), units))


def test_the_stubs_name_what_the_library_has() -> None:
    """Every class and member of stubs/tensorrt.pyi, which mypy checks the adapter against, exists."""
    stubs = ast.parse((Path(__file__).parents[2] / "stubs" / "tensorrt.pyi").read_text())
    seen = 0

    def check(owner: Any, body: list[ast.stmt]) -> None:
        nonlocal seen
        for node in body:
            match node:
                case ast.ClassDef():
                    check(getattr(owner, node.name), node.body)
                case ast.FunctionDef() if node.name != "__buffer__":  # no attribute before Python 3.12
                    assert hasattr(owner, node.name), f"{owner}.{node.name}"
                case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                    assert hasattr(owner, name), f"{owner}.{name}"
            seen += 1

    check(library.trt, stubs.body)
    assert seen > 50
