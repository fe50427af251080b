"""The inner loops of the engine: compiled where a compiler was at hand, in NumPy everywhere.

Three operations, each with the same four faces (`isa=`):

* ``numpy``: what an install without a compiler runs;
* ``reference``: plain C++, the loop that defines the operation;
* ``avx2``, ``avx512``: the same on vectors, chosen at run time by what the processor can do.

All faces return identical bits for identical inputs, whatever `threads` is: all results are integers.

Arrays are read where they lie, in host memory. Anything with the buffer protocol or DLPack will do
(NumPy, memoryview, PyTorch, ...), as long as it is C-contiguous.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from znas_engine.errors import InvalidValueError, unknown_choice

try:
    import znas_engine._core as _core
except ModuleNotFoundError:  # installed without a compiler; one that fails to load is a defect, and raises
    _COMPILED = False
else:
    _COMPILED = True

__all__ = [
    "ISAS",
    "ArrayLike",
    "available_isas",
    "borrow",
    "chosen_isa",
    "code_gram",
    "commit",
    "compiled",
    "count_correct",
    "pack_codes",
    "refusals",
    "require_axes",
]

ISAS = ("numpy", "reference", "avx2", "avx512")


class _SupportsDLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

    def __dlpack_device__(self) -> tuple[Any, Any]: ...


ArrayLike: TypeAlias = NDArray[Any] | memoryview | _SupportsDLPack


def compiled() -> bool:
    """Whether this install has the C++ kernels."""
    return _COMPILED


def commit() -> str | None:
    """The git commit that the kernels were compiled from ("-dirty" appended where files had been changed);
    None outside a checkout, and without kernels."""
    return (_core.commit or None) if _COMPILED else None


def available_isas() -> tuple[str, ...]:
    """The members of `ISAS` that this machine can run, slowest first; ``isa="auto"`` means the last."""
    return ("numpy", *_core.available_isas()) if _COMPILED else ("numpy",)


def count_correct(
    logits: ArrayLike, labels: ArrayLike, *, threads: int = 1, isa: str = "auto"
) -> NDArray[np.int64]:
    """How many images each mask classifies correctly.

    Args:
        logits: float32 [masks, images, classes], without NaN. A NaN has no order, so the caller refuses
            it (`NonFiniteScoreError` names the mask); here its row may count either way.
        labels: int64 [images], each in [0, classes).
        threads: how many threads may work, at least 1.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        int64 [masks]: ``counts[g] = sum(argmax(logits[g, n]) == labels[n] for n in range(images))``,
        where the lowest class wins a tie.

    Raises:
        InvalidValueError: for anything that is not as described above.
    """
    chosen = chosen_isa(isa, threads)
    if chosen == "numpy":
        return _count_correct(logits, labels)
    with refusals():
        return _core.count_correct(logits, labels, threads, chosen)


def pack_codes(activations: ArrayLike, *, threads: int = 1, isa: str = "auto") -> NDArray[np.uint64]:
    """The activation code of each image: one bit per unit, set where the unit is active.

    Args:
        activations: float32 or bool [images, ...]; the trailing axes hold M units in C order.
        threads: how many threads may work, at least 1.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        uint64 [images, ceil(M / 64)]: bit j of word w is ``activations[n].flat[64 * w + j] > 0``, and the
        bits beyond the last unit are zero. Zero, -0.0 and NaN are not active.

    Raises:
        InvalidValueError: for anything that is not as described above.
    """
    chosen = chosen_isa(isa, threads)
    if chosen == "numpy":
        return _pack_codes(activations)
    with refusals():
        return _core.pack_codes(activations, threads, chosen)


def code_gram(codes: ArrayLike, bits: int, *, threads: int = 1, isa: str = "auto") -> NDArray[np.int64]:
    """In how many units each pair of images agrees: the kernel matrix of NASWOT.

    Args:
        codes: uint64 [images, ceil(bits / 64)] as `pack_codes` makes them; bits beyond `bits` are zero.
        bits: the number of units M, at least 0.
        threads: how many threads may work, at least 1.
        isa: a member of `ISAS`, or "auto" for the fastest that this machine can run.

    Returns:
        int64 [images, images], symmetric: ``gram[i, j] = bits - popcount(codes[i] ^ codes[j])``.

    Raises:
        InvalidValueError: for anything that is not as described above.
    """
    chosen = chosen_isa(isa, threads)
    if bits < 0:
        raise InvalidValueError(f"`bits` must be at least 0 but got {bits}")
    if chosen == "numpy":
        return _code_gram(codes, bits)
    with refusals():
        return _core.code_gram(codes, bits, threads, chosen)


def chosen_isa(isa: str, threads: int = 1) -> str:
    """The member of `ISAS` that `isa`, or "auto", asks for; InvalidValueError where it is not to be had."""
    if threads < 1:
        raise InvalidValueError(f"`threads` must be at least 1 but got {threads}")
    available = available_isas()
    if isa == "auto":
        return available[-1]
    if isa not in ISAS:
        raise unknown_choice("isa", isa, ("auto", *ISAS))
    if isa not in available:
        why = "this processor cannot run it" if _COMPILED else "the C++ kernels are not installed"
        raise InvalidValueError(
            f"`isa` {isa!r} is not available ({why}): choose one of {', '.join(available)}"
        )
    return isa


@contextmanager
def refusals() -> Iterator[None]:
    """What the compiled half refuses is a user's mistake, in our own type."""
    try:
        yield
    except ValueError as error:
        raise InvalidValueError(str(error)) from None


# --- the same in NumPy: refusals are worded as in csrc/bindings, and the tests hold the two together ---


def _count_correct(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.int64]:
    scores = borrow("logits", logits, "float32")
    require_axes("logits", scores, "masks", "images", "classes")
    truth = borrow("labels", labels, "int64")
    require_axes("labels", truth, "images")
    masks, images, classes = scores.shape
    if truth.shape != (images,):
        raise InvalidValueError(
            f"`labels` must have shape [{images}], one per image of `logits`, but got {list(truth.shape)}"
        )
    outside = truth[(truth < 0) | (truth >= classes)]
    if outside.size:
        raise InvalidValueError(f"`labels` must lie in [0, {classes}) but got {outside[0]}")
    if images == 0:
        return np.zeros(masks, np.int64)  # there may be no class to take a maximum over
    return np.asarray((scores.argmax(axis=2) == truth).sum(axis=1), dtype=np.int64)


def _pack_codes(activations: ArrayLike) -> NDArray[np.uint64]:
    units = borrow("activations", activations, "float32", "bool")
    if units.ndim == 0:
        raise InvalidValueError("`activations` must have shape [images, ...] but got []")
    active = (units > 0).reshape(len(units), int(np.prod(units.shape[1:])))
    packed = np.packbits(active, axis=1, bitorder="little")
    codes = np.zeros((len(units), -(-active.shape[1] // 64) * 8), np.uint8)
    codes[:, : packed.shape[1]] = packed
    return codes.view("<u8").astype(np.uint64, copy=False)


def _code_gram(codes: ArrayLike, bits: int) -> NDArray[np.int64]:
    rows = borrow("codes", codes, "uint64")
    require_axes("codes", rows, "images", "words")
    images, words = rows.shape
    if words != -(-bits // 64):
        raise InvalidValueError(
            f"`codes` must have {-(-bits // 64)} words per image for {bits} bits but got {words}"
        )
    if bits % 64:
        dirty = np.flatnonzero(rows[:, -1] >> np.uint64(bits % 64))
        if dirty.size:
            raise InvalidValueError(f"`codes` must be zero beyond bit {bits} but image {dirty[0]} is not")
    gram = np.empty((images, images), np.int64)
    for i, row in enumerate(rows):
        gram[i, i:] = gram[i:, i] = bits - np.bitwise_count(rows[i:] ^ row).sum(axis=1, dtype=np.int64)
    return gram


def borrow(name: str, array: Any, *dtypes: str) -> NDArray[Any]:
    """A NumPy view of `array`, never a copy."""
    if isinstance(array, np.ndarray):
        view = array
    elif hasattr(array, "__dlpack__"):
        view = _from_dlpack(name, array)
    else:
        try:
            view = np.asarray(memoryview(array))
        except TypeError:
            raise InvalidValueError(
                f"`{name}` must be an array (buffer protocol or DLPack) but got {type(array).__name__}"
            ) from None
    if view.dtype not in dtypes:
        raise InvalidValueError(f"`{name}` must have dtype {' or '.join(dtypes)} but got {view.dtype}")
    if not view.flags.c_contiguous:
        raise InvalidValueError(f"`{name}` must be C-contiguous; pass a contiguous copy")
    return view


def _from_dlpack(name: str, array: Any) -> NDArray[Any]:
    device = int(array.__dlpack_device__()[0])
    if device not in (1, 3):  # the host's memory, pageable or pinned
        raise InvalidValueError(f"`{name}` must live in CPU memory but got DLPack device type {device}")
    try:
        return np.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:  # each library says no in its own way
        raise InvalidValueError(f"`{name}` cannot be borrowed: {error}") from None


def require_axes(name: str, array: NDArray[Any], *axes: str) -> None:
    """InvalidValueError unless there is one axis per name."""
    if array.ndim != len(axes):
        raise InvalidValueError(f"`{name}` must have shape [{', '.join(axes)}] but got {list(array.shape)}")
