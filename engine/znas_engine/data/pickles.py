"""Reading the pickles of CIFAR and NATS-Bench without ever running what a pickle asks for.

Plain Python values come out as they are and numpy arrays come out as `StoredArray`. Every global is looked
up in one allow-list whose values are inert stand-ins of ours; they accept the calls that numpy's own pickles
make, check every argument, and have no state that a pickle could alter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from znas_engine.data.opcodes import RESULTS, RefusedPickle, Stored, read
from znas_engine.errors import briefly

__all__ = ["RefusedPickle", "StoredArray", "unpickle", "unpickle_results"]


def unpickle(raw: bytes) -> object:
    """The object in `raw`, of protocols 0 to 5; strings written by Python 2 come out as bytes.

    Raises RefusedPickle, whose text completes the sentence "<file> is refused: ...", for everything that is
    not a plain container of numbers, strings and integer arrays. Nothing from `raw` is imported or called.
    """
    return _load(raw, _globals(raw))


def unpickle_results(raw: bytes) -> object:
    """The same for tables of results: floats, sets and ordered dictionaries (as plain ones) too."""
    allowed = _globals(raw)
    allowed["collections"] = {"OrderedDict": _Dictionary()}
    allowed["numpy"]["dtype"] = _DTypeGlobal(_NumberDType)
    return _load(raw, allowed, RESULTS)


def _load(raw: bytes, allowed: _Globals, more: Collection[int] = ()) -> object:
    def find(module: str, name: str) -> object:
        found = allowed.get(module, {}).get(name)
        if found is None:
            asked = briefly(f"{module}.{name}")
            raise RefusedPickle(f"it asks to run {asked}, which no file of images needs")
        return found

    try:
        return read(raw, find, more)
    except (RefusedPickle, MemoryError):
        raise
    except Exception as error:  # a damaged stream leads anywhere: bad UTF-8, an index that is not there
        raise RefusedPickle(f"it is damaged ({type(error).__name__})") from error


class _Inert(Stored):
    """A stand-in: BUILD, the opcode that sets attributes, is refused."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise RefusedPickle("it tries to alter a global")


_Globals = dict[str, dict[str, _Inert]]


class _DType(Stored):
    """An integer dtype: the call makes it from a name such as 'u1', BUILD adds the byte order."""

    __slots__ = ("dtype",)

    names = r"[iu][1248]"
    read = "integers"

    def __init__(self, name: object) -> None:
        text = _text(name)
        if not re.fullmatch(self.names, text):
            raise RefusedPickle(f"it holds an array of dtype {briefly(text)}; only {self.read} are read")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: object) -> None:
        order = _text(state[1]) if isinstance(state, tuple) and len(state) > 1 else ""
        if order not in ("<", ">", "=", "|"):  # "|" is the order of single bytes
            raise RefusedPickle(f"it holds an array of byte order {briefly(order)}")
        self.dtype = np.dtype(f"{order}{self.dtype.kind}{self.dtype.itemsize}")


class _NumberDType(_DType):
    """An integer or floating-point dtype."""

    __slots__ = ()

    names = r"[iu][1248]|f[48]"
    read = "numbers"


class StoredArray(Stored):
    """An integer array as a pickle carries it. `values` is None until the pickle has filled it in.

    The array is a view of the pickle's own bytes: nothing is copied.
    """

    __slots__ = ("values",)

    values: NDArray[np.integer] | None

    def __init__(self) -> None:
        self.values = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedPickle("it holds an array of unknown form")
        _version, shape, dtype, fortran, data = state
        self.fill(data, dtype, shape, fortran=bool(fortran))

    def fill(self, data: object, dtype: object, shape: object, *, fortran: bool) -> None:
        if not isinstance(dtype, _DType):
            raise RefusedPickle("it holds an array without a dtype")
        if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape[:3]):
            raise RefusedPickle("it holds an array without a valid shape")
        if not isinstance(data, bytes):
            raise RefusedPickle("it holds an array whose elements are not plain bytes")
        if len(shape) > 2:
            raise RefusedPickle(f"it holds an array of {len(shape):,} dimensions")
        expected = math.prod(shape) * dtype.dtype.itemsize
        if len(data) != expected:
            raise RefusedPickle(f"it holds {len(data):,} bytes for an array that needs {expected:,}")
        flat = np.frombuffer(data, dtype=dtype.dtype)
        self.values = flat.reshape(shape, order="F" if fortran else "C")


class _NDArray(_Inert):
    """`numpy.ndarray`, only ever passed on to `_reconstruct`."""

    __slots__ = ()


class _DTypeGlobal(_Inert):
    """`numpy.dtype(name, align, copy)`."""

    __slots__ = ("_kind",)

    def __init__(self, kind: type[_DType]) -> None:
        self._kind = kind

    def __call__(self, name: object, align: object = False, copy: object = True) -> _DType:
        return self._kind(name)


class _Reconstruct(_Inert):
    """`numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")`: an array that BUILD fills in."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, typecode: object) -> StoredArray:
        if not isinstance(kind, _NDArray):
            raise RefusedPickle("it holds an array of unknown form")
        return StoredArray()


class _FromBuffer(_Inert):
    """`numpy.core.numeric._frombuffer(data, dtype, shape, order)`: how protocol 5 carries an array."""

    __slots__ = ()

    def __call__(self, data: object, dtype: object, shape: object, order: object) -> StoredArray:
        if order not in ("C", "F"):
            raise RefusedPickle("it holds an array of unknown form")
        array = StoredArray()
        array.fill(data, dtype, shape, fortran=order == "F")
        return array


class _Scalar(_Inert):
    """`numpy.core.multiarray.scalar(dtype, data)`: a numpy number, which comes out as Python's."""

    __slots__ = ()

    def __call__(self, dtype: object, data: object) -> int | float:
        array = StoredArray()
        array.fill(data, dtype, (1,), fortran=False)
        assert array.values is not None
        number: int | float = array.values[0].item()
        return number


class _Dictionary(_Inert):
    """`collections.OrderedDict()`: a plain dictionary, which the pickle then fills."""

    __slots__ = ()

    def __call__(self) -> dict[object, object]:
        return {}


class _Encode(_Inert):
    """`_codecs.encode(text, "latin1")`: how Python 3 writes bytes in protocols 0 to 2.

    One text may be encoded again and again, so the bytes made are counted against the file's own size.
    """

    __slots__ = ("_left",)

    def __init__(self, budget: int) -> None:
        self._left = budget

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise RefusedPickle("it encodes text in a way that no file of images needs")
        self._left -= len(text)
        if self._left < 0:
            raise RefusedPickle("it unfolds into more bytes than it has")
        return text.encode("latin-1")


def _globals(raw: bytes) -> _Globals:
    """The allow-list for one file: module -> name -> stand-in."""
    arrays: dict[str, _Inert] = {"_reconstruct": _Reconstruct(), "scalar": _Scalar()}
    return {
        "_codecs": {"encode": _Encode(len(raw))},
        "numpy": {"ndarray": _NDArray(), "dtype": _DTypeGlobal(_DType)},
        "numpy.core.multiarray": arrays,
        "numpy._core.multiarray": arrays,
        "numpy.core.numeric": {"_frombuffer": _FromBuffer()},
        "numpy._core.numeric": {"_frombuffer": _FromBuffer()},
    }


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise RefusedPickle("it holds an array without a valid dtype")
