"""Every face of every kernel against plain NumPy, and the boundary they share.

Tolerances: none. The kernels promise identical bits (see znas_engine.kernels).
"""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from znas_engine import kernels
from znas_engine.errors import InvalidValueError
from znas_engine.kernels import ISAS, available_isas, code_gram, count_correct, pack_codes

SIZES = (1, 7, 63, 64, 65, 127, 128, 4097)  # around vectors and words, and past a block of neither

needs_compiler = pytest.mark.skipif(not kernels.compiled(), reason="the C++ kernels were not built")


def _faces(*names: str) -> list[Any]:
    missing = [isa for isa in names if isa not in available_isas()]
    skip = pytest.mark.skip(reason="not built, or not for this processor")
    return [pytest.param(isa, marks=skip if isa in missing else ()) for isa in names]


every_isa = pytest.mark.parametrize("isa", _faces(*ISAS))
compiled_isa = pytest.mark.parametrize("isa", _faces(*ISAS[1:]))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20)


def _floats(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return rng.standard_normal(shape, dtype=np.float32)


# --- count_correct ---


@every_isa
@pytest.mark.parametrize("classes", [1, 2, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 100, 120, 1000])
@pytest.mark.parametrize("levels", [2, 5, 1000])  # few levels make ties
def test_count_correct_is_exact(rng: np.random.Generator, isa: str, classes: int, levels: int) -> None:
    logits = rng.integers(0, levels, (5, 61, classes)).astype(np.float32)
    labels = rng.integers(0, classes, 61)
    labels[:40] = logits[0, :40].argmax(1)  # correct at every position of the label, not by luck alone
    counts = count_correct(logits, labels, isa=isa)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, (logits.argmax(2) == labels).sum(1))


@every_isa
@pytest.mark.parametrize("classes", [3, 16, 40])
def test_the_lowest_class_wins_a_tie(isa: str, classes: int) -> None:
    logits = np.zeros((1, classes, classes), np.float32)  # image n: classes n.. tie at the top
    for n in range(classes):
        logits[0, n, :n] = -1
    labels = np.arange(classes)
    assert count_correct(logits, labels, isa=isa) == [classes]
    assert count_correct(logits, np.minimum(labels + 1, classes - 1), isa=isa) == [1]


@every_isa
def test_infinite_logits_have_an_order(isa: str) -> None:
    logits = np.array([[[-np.inf, -np.inf], [0, np.inf], [np.inf, np.inf]]], np.float32)
    assert count_correct(logits, np.array([0, 1, 0]), isa=isa) == [3]
    assert count_correct(logits, np.array([1, 0, 1]), isa=isa) == [0]


@every_isa
@given(data=st.data())
def test_count_correct_on_any_logits(isa: str, data: st.DataObject) -> None:
    masks, images, classes = data.draw(st.tuples(st.integers(0, 4), st.integers(0, 9), st.integers(1, 40)))
    logits = data.draw(
        hnp.arrays(
            np.float32, (masks, images, classes), elements=st.floats(-4, 4, width=16), fill=st.nothing()
        )
    )
    labels = data.draw(hnp.arrays(np.int64, images, elements=st.integers(0, classes - 1)))
    expected = (logits.argmax(2) == labels).sum(1)
    np.testing.assert_array_equal(count_correct(logits, labels, isa=isa), expected)


@every_isa
def test_no_images_means_none_correct(isa: str) -> None:
    for classes in (0, 10):
        counts = count_correct(np.empty((3, 0, classes), np.float32), np.empty(0, np.int64), isa=isa)
        np.testing.assert_array_equal(counts, np.zeros(3, np.int64))


# --- pack_codes ---


def _plain_codes(active: NDArray[np.bool_]) -> NDArray[np.uint64]:
    images, units = active.shape
    codes = np.zeros((images, -(-units // 64)), np.uint64)
    for n, unit in zip(*np.nonzero(active), strict=True):
        codes[n, unit // 64] |= np.uint64(1) << np.uint64(unit % 64)
    return codes


@every_isa
@pytest.mark.parametrize("units", [0, *SIZES, 70_001])
def test_pack_codes_sets_the_bits_of_active_units(rng: np.random.Generator, isa: str, units: int) -> None:
    activations = _floats(rng, 3, units)
    activations[activations < -1] = 0.0
    expected = _plain_codes(activations > 0)
    codes = pack_codes(activations, isa=isa)
    assert codes.dtype == np.uint64
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_array_equal(pack_codes(activations > 0, isa=isa), expected)


@every_isa
def test_only_what_exceeds_zero_is_active(isa: str) -> None:
    tiny = np.finfo(np.float32).smallest_subnormal
    activations = np.array([[0.0, -0.0, tiny, -tiny, np.inf, -np.inf, np.nan]], np.float32)
    assert pack_codes(activations, isa=isa) == [[0b0010100]]


@every_isa
def test_pack_codes_flattens_feature_maps(rng: np.random.Generator, isa: str) -> None:
    maps = _floats(rng, 4, 3, 5, 7)
    np.testing.assert_array_equal(pack_codes(maps, isa=isa), pack_codes(maps.reshape(4, -1), isa=isa))
    assert pack_codes(_floats(rng, 6), isa=isa).shape == (6, 1)
    assert pack_codes(np.empty((0, 65), np.float32), isa=isa).shape == (0, 2)


# --- code_gram ---


@every_isa
@pytest.mark.parametrize("bits", [0, *SIZES, 130_001])
@pytest.mark.parametrize("images", [0, 1, 3, 4, 5, 11])
def test_code_gram_counts_agreement(rng: np.random.Generator, isa: str, images: int, bits: int) -> None:
    active = rng.random((images, bits)) < rng.random((images, 1))
    signs = np.where(active, 1, -1)
    gram = code_gram(pack_codes(active), bits, isa=isa)
    assert gram.dtype == np.int64
    np.testing.assert_array_equal(gram, (bits + signs @ signs.T) // 2)


@every_isa
def test_code_gram_at_the_extremes(isa: str) -> None:
    # The longest run of ones that a byte counter could overflow on.
    active = np.zeros((9, 64 * 1500), np.bool_)
    active[::2] = True
    same = np.equal.outer(active[:, 0], active[:, 0])
    gram = code_gram(pack_codes(active), active.shape[1], isa=isa)
    np.testing.assert_array_equal(gram, np.where(same, active.shape[1], 0))


@every_isa
@given(data=st.data())
def test_code_gram_on_any_codes(isa: str, data: st.DataObject) -> None:
    active = data.draw(hnp.arrays(np.bool_, st.tuples(st.integers(1, 20), st.integers(1, 300))))
    expected = (active[:, None, :] == active[None, :, :]).sum(2)
    np.testing.assert_array_equal(code_gram(pack_codes(active), active.shape[1], isa=isa), expected)


# --- threads ---


@every_isa
@pytest.mark.parametrize("threads", [2, 3, 16])
def test_threads_change_nothing(rng: np.random.Generator, isa: str, threads: int) -> None:
    logits, labels = _floats(rng, 7, 4099, 10), rng.integers(0, 10, 4099)
    activations = _floats(rng, 33, 70_001)
    codes = pack_codes(activations)
    runs: list[Callable[[int], NDArray[Any]]] = [
        lambda n: count_correct(logits, labels, threads=n, isa=isa),
        lambda n: pack_codes(activations, threads=n, isa=isa),
        lambda n: code_gram(codes, 70_001, threads=n, isa=isa),
    ]
    for run in runs:
        assert run(1).tobytes() == run(threads).tobytes()


@compiled_isa
def test_the_interpreter_runs_on_while_a_kernel_computes(rng: np.random.Generator, isa: str) -> None:
    codes = pack_codes(_floats(rng, 64, 200_000))
    ticks = 0
    done = False

    def tick() -> None:
        nonlocal ticks
        while not done:
            ticks += 1
            time.sleep(1e-6)  # offers the interpreter to the main thread

    ticker = threading.Thread(target=tick)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(
        1000
    )  # nobody loses the interpreter against his will, so only the kernel can yield it
    ticker.start()
    try:
        progressed = False
        for _ in range(1000):
            before = ticks
            code_gram(codes, 200_000, isa=isa)
            if progressed := ticks > before:
                break
    finally:
        done = True
        sys.setswitchinterval(interval)
        ticker.join()
    assert progressed


# --- whose memory it is ---


class Lender:
    """An array that can only be had through DLPack, in the old form or the versioned one."""

    def __init__(self, array: NDArray[Any], *, versioned: bool, device: int = 1) -> None:
        self._array, self._versioned, self._device = array, versioned, device

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._device, 0

    def __dlpack__(self, **options: Any) -> Any:
        if self._versioned:
            return self._array.__dlpack__(max_version=options.get("max_version"))
        if "max_version" in options:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        return self._array.__dlpack__()


@every_isa
def test_every_kind_of_lender_gives_the_same(rng: np.random.Generator, isa: str) -> None:
    x, logits, labels = _floats(rng, 3, 129), _floats(rng, 2, 9, 17), rng.integers(0, 17, 9)
    codes = pack_codes(x)
    lends: list[Callable[[NDArray[Any]], Any]] = [
        torch.from_numpy,
        lambda array: array.data,
        lambda array: Lender(array, versioned=False),
        lambda array: Lender(array, versioned=True),
    ]
    for lend in lends:
        assert (count_correct(lend(logits), lend(labels), isa=isa) == count_correct(logits, labels)).all()
        assert (pack_codes(lend(x), isa=isa) == codes).all()
        assert (pack_codes(lend(x > 0), isa=isa) == codes).all()
        assert (code_gram(lend(codes), 129, isa=isa) == code_gram(codes, 129)).all()


@every_isa
def test_a_slice_of_a_tensor_starts_where_it_starts(isa: str) -> None:
    x = torch.arange(-100.0, 100.0).reshape(4, 50)
    for part in (x[1:], x[2:3], x[1:1]):
        np.testing.assert_array_equal(pack_codes(part, isa=isa), pack_codes(part.numpy().copy(), isa="numpy"))


@every_isa
def test_a_read_only_array_can_be_read(isa: str) -> None:
    x = np.ones((2, 65), np.float32)
    x.flags.writeable = False
    np.testing.assert_array_equal(pack_codes(x, isa=isa), pack_codes(np.ones((2, 65), np.float32), isa=isa))


@compiled_isa
@pytest.mark.parametrize("lend", [np.asarray, torch.from_numpy])
def test_inputs_are_not_copied(isa: str, lend: Callable[[NDArray[Any]], Any]) -> None:
    x = np.ones((64, 8, 32, 32), np.float32)
    lent = lend(x)
    tracemalloc.start()
    try:
        codes = pack_codes(lent, isa=isa)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codes.nbytes <= peak < x.nbytes // 8


@every_isa
@pytest.mark.parametrize("versioned", [False, True])
def test_what_was_lent_is_given_back(isa: str, versioned: bool) -> None:
    array = np.ones((4, 100), np.float32)
    wrong = np.ones((4, 100), np.float64)
    before = sys.getrefcount(array), sys.getrefcount(wrong)
    for _ in range(500):
        lender = Lender(array, versioned=versioned)
        pack_codes(lender, isa=isa)
        with pytest.raises(InvalidValueError, match="dtype"):
            pack_codes(Lender(wrong, versioned=versioned), isa=isa)
    del lender
    gc.collect()
    # Counted outside the assert, which holds on to what it shows.
    after = sys.getrefcount(array), sys.getrefcount(wrong)
    assert after == before


@every_isa
def test_a_result_outlives_its_inputs(isa: str) -> None:
    codes = pack_codes(torch.ones(4, 640), isa=isa)
    gc.collect()
    assert (codes == np.uint64(2**64 - 1)).all()


# --- refusals: one wording for all faces ---


F32, F64 = np.ones((2, 3), np.float32), np.ones((2, 3), np.float64)
LOGITS, LABELS = np.zeros((2, 3, 4), np.float32), np.zeros(3, np.int64)
CODES = np.zeros((2, 2), np.uint64)

REFUSED: list[tuple[str, Callable[[str], Any], str]] = [
    (
        "foreign byte order",
        lambda isa: pack_codes(F32.astype(F32.dtype.newbyteorder()), isa=isa),
        r"`activations` must have dtype float32 or bool but got [<>]f",
    ),
    ("transposed", lambda isa: pack_codes(F32.T, isa=isa), r"`activations` must be C-contiguous"),
    (
        "transposed tensor",
        lambda isa: pack_codes(torch.ones(2, 3).T, isa=isa),
        r"`activations` must be C-contiguous",
    ),
    (
        "not an array",
        lambda isa: pack_codes([1.0, 2.0], isa=isa),  # type: ignore[arg-type]
        r"`activations` must be an array \(buffer protocol or DLPack\) but got list",
    ),
    (
        "another device",
        lambda isa: pack_codes(Lender(F32, versioned=True, device=2), isa=isa),
        r"`activations` must live in CPU memory but got DLPack device type 2",
    ),
    (
        "a tensor that keeps gradients",
        lambda isa: pack_codes(torch.ones(3, requires_grad=True), isa=isa),
        r"`activations` cannot be borrowed: .*gradient",
    ),
    (
        "logits without masks",
        lambda isa: count_correct(LOGITS[0], LABELS, isa=isa),
        r"`logits` must have shape \[masks, images, classes\] but got \[3, 4\]",
    ),
    (
        "integer logits",
        lambda isa: count_correct(LOGITS.astype(np.int32), LABELS, isa=isa),
        r"`logits` must have dtype float32 but got int32",
    ),
    (
        "short labels",
        lambda isa: count_correct(LOGITS, LABELS.astype(np.int32), isa=isa),
        r"`labels` must have dtype int64 but got int32",
    ),
    (
        "labels in rows",
        lambda isa: count_correct(LOGITS, LABELS[None], isa=isa),
        r"`labels` must have shape \[images\] but got \[1, 3\]",
    ),
    (
        "a label missing",
        lambda isa: count_correct(LOGITS, LABELS[:2], isa=isa),
        r"`labels` must have shape \[3\], one per image of `logits`, but got \[2\]",
    ),
    (
        "a label past the last class",
        lambda isa: count_correct(LOGITS, np.array([0, 4, 5]), isa=isa),
        r"`labels` must lie in \[0, 4\) but got 4",
    ),
    (
        "a negative label",
        lambda isa: count_correct(LOGITS, np.array([0, -1, 0]), isa=isa),
        r"`labels` must lie in \[0, 4\) but got -1",
    ),
    (
        "no classes",
        lambda isa: count_correct(np.zeros((2, 3, 0), np.float32), LABELS, isa=isa),
        r"`labels` must lie in \[0, 0\) but got 0",
    ),
    (
        "double activations",
        lambda isa: pack_codes(F64, isa=isa),
        r"`activations` must have dtype float32 or bool but got float64",
    ),
    (
        "one activation",
        lambda isa: pack_codes(np.array(1, np.float32), isa=isa),
        r"`activations` must have shape \[images, ...\] but got \[\]",
    ),
    (
        "activations in strides",
        lambda isa: pack_codes(F32[:, ::2], isa=isa),
        r"`activations` must be C-contiguous; pass a contiguous copy",
    ),
    (
        "signed codes",
        lambda isa: code_gram(CODES.astype(np.int64), 128, isa=isa),
        r"`codes` must have dtype uint64 but got int64",
    ),
    (
        "one code",
        lambda isa: code_gram(CODES[0], 128, isa=isa),
        r"`codes` must have shape \[images, words\] but got \[2\]",
    ),
    (
        "too few words",
        lambda isa: code_gram(CODES, 129, isa=isa),
        r"`codes` must have 3 words per image for 129 bits but got 2",
    ),
    (
        "bits past the last",
        lambda isa: code_gram(CODES + np.uint64(8), 67, isa=isa),
        r"`codes` must be zero beyond bit 67 but image 0 is not",
    ),
    ("negative bits", lambda isa: code_gram(CODES, -1, isa=isa), r"`bits` must be at least 0 but got -1"),
    (
        "no threads",
        lambda isa: code_gram(CODES, 128, threads=0, isa=isa),
        r"`threads` must be at least 1 but got 0",
    ),
]


@every_isa
@pytest.mark.parametrize(
    ("call", "message"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_refusals_name_the_argument(isa: str, call: Callable[[str], Any], message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        call(isa)


def test_an_unknown_isa_names_the_nearest() -> None:
    with pytest.raises(InvalidValueError, match=r"unknown isa 'avx51': choose one of auto, .*mean 'avx512'"):
        pack_codes(F32, isa="avx51")


def test_an_isa_that_this_machine_lacks_names_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "available_isas", lambda: ("numpy", "reference"))
    with pytest.raises(
        InvalidValueError, match=r"'avx2' is not available \(.*\): choose one of numpy, reference"
    ):
        pack_codes(F32, isa="avx2")


# --- what is there ---


def test_isas_are_listed_from_slow_to_fast() -> None:
    isas = available_isas()
    assert isas[0] == "numpy"
    assert list(isas) == [isa for isa in ISAS if isa in isas]


@needs_compiler
def test_a_compiled_install_has_the_reference() -> None:
    assert "reference" in available_isas()


def test_without_the_extension_numpy_does_it_all() -> None:
    program = """
import sys
sys.modules["znas_engine._core"] = None  # what an import of a missing module finds
import numpy as np
from znas_engine import errors, kernels
assert not kernels.compiled() and kernels.available_isas() == ("numpy",)
assert kernels.pack_codes(np.ones((1, 3), np.float32)) == [[7]]
try:
    kernels.pack_codes(np.ones((1, 3), np.float32), isa="avx2")
except errors.InvalidValueError as error:
    assert "C++ kernels are not installed" in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_importing_the_kernels_loads_no_framework() -> None:
    program = """
import sys
import znas_engine.kernels
heavy = {"torch", "onnx", "onnxruntime", "scipy"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)
