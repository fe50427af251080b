"""Trained weights: as their file holds them, and as a graph names them."""

from __future__ import annotations

import io
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from znas_engine import paths
from znas_engine.errors import DataError, briefly, in_short

#: Bytes of a file, at most.
_LIMIT = 4 << 30
#: Where training loops put the state dictionary among other things.
_NESTED = ("state_dict", "model_state_dict", "model")
#: What a normalisation counts and no pass reads.
_UNREAD = "num_batches_tracked"
_OURS = (
    "they must be the state dictionary of build() in architecture.py; of another size of it, say --channels "
    "and --cells"
)
_SAVE = "save them with torch.save(network.state_dict(), ...)"

Report = Callable[[str], None]


def read(source: str | Path | Mapping[str, Any], report: Report) -> tuple[str, dict[str, Tensor]]:
    """What the weights are called in messages, and the tensors of a state dictionary.

    source: a file of `torch.save` that holds tensors and no code (also those of training loops, with the
    state dictionary in `state_dict`, `model_state_dict` or `model`), a `.safetensors` file, or the
    dictionary. report: is told which of the things in a file is taken.

    Raises:
        StorageError: the file cannot be read. DataError: it holds something else.
    """
    if isinstance(source, Mapping):
        return "`weights`", _tensors(source, "`weights`", report)
    path = paths.named(source, "`weights`")
    data, what = paths.read(path, "the weights", limit=_LIMIT), f"the weights {path}"
    try:
        if data[8:9] == b"{":  # 8 bytes of length, then JSON
            from safetensors.torch import load

            return what, load(data)
        # The arguments in timm's checkpoints: a class that runs nothing when it is read.
        with torch.serialization.safe_globals([Namespace]):
            loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes the readers raise
        raise DataError(f"{what} are no file of tensors alone ({in_short(error)}): {_SAVE}") from error
    return what, _tensors(loaded, what, report)


def _tensors(found: Any, what: str, report: Report) -> dict[str, Tensor]:
    if isinstance(found, Mapping):
        for name in _NESTED:
            inner = found.get(name)
            if isinstance(inner, Mapping):
                report(f"{what} hold more than weights: `{name}` is taken")
                found = inner
                break
        if found and all(isinstance(each, str) and isinstance(found[each], Tensor) for each in found):
            return dict(found)
        others = [each for each in found if not isinstance(found[each], Tensor)]
        held = f"{briefly(others[0])} beside tensors" if others and len(others) < len(found) else "no tensors"
        raise DataError(f"{what} hold {held}: {_SAVE}")
    raise DataError(f"{what} hold {briefly(found)}, no state dictionary: {_SAVE}")


def without_prefix(
    found: Mapping[str, Tensor], wanted: Mapping[str, Any], what: str, report: Report
) -> dict[str, Tensor]:
    """The tensors by the keys that are wanted: `module.stem.0.weight`, as wrappers of training loops call it,
    is `stem.0.weight`. report: is told of a prefix and of what does not begin with it.

    Raises:
        DataError: several prefixes give a whole network.
    """
    counts: Counter[str] = Counter()
    for key in found:
        for at in (0, *(i + 1 for i, letter in enumerate(key) if letter == ".")):
            counts[key[:at]] += key[at:] in wanted
    whole = sorted(prefix for prefix, count in counts.items() if count == len(wanted))
    if "" in whole:
        return dict(found)
    if len(whole) > 1:
        raise DataError(
            f"{what} hold several networks, those of {' and '.join(map(repr, whole[:3]))}: save one of them"
        )
    prefix = whole[0] if whole else max(sorted(counts), key=counts.__getitem__, default="")
    inner = {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}
    if prefix:
        rest = len(found) - len(inner)
        left = f"; {rest} that do not are left out" if rest else ""
        report(f"the names in {what} begin with {prefix!r}{left}")
    return inner


def fitted(
    found: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]], what: str
) -> dict[str, NDArray[np.float32]]:
    """The weights of a graph with these keys and shapes, in float32.

    Raises:
        DataError: one is missing, unknown, of another shape or kind, or not finite; it is named.
    """
    missing = [name for name in shapes if name not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise DataError(f"{what} lack `{missing[0]}`{more}: {_OURS}")
    for name in found:
        if name not in shapes and not name.endswith(_UNREAD):
            raise DataError(f"{what} hold `{name}`, which the network does not have: {_OURS}")
    return {name: _array(name, found[name], shape, what) for name, shape in shapes.items()}


def _array(name: str, tensor: Tensor, shape: tuple[int, ...], what: str) -> NDArray[np.float32]:
    if tuple(tensor.shape) != shape:
        raise DataError(f"`{name}` of {what} must be {list(shape)} but is {list(tensor.shape)}: {_OURS}")
    plain = tensor.layout is torch.strided and not tensor.is_meta
    if not plain or not tensor.is_floating_point() or tensor.is_quantized:
        raise DataError(f"`{name}` of {what} must hold floats but is {tensor.dtype}, {tensor.layout}")
    array: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).contiguous().numpy()
    if not np.isfinite(array).all():
        raise DataError(f"`{name}` of {what} holds NaN or infinity: the training has diverged")
    if name.endswith("running_var") and (array < 0).any():
        raise DataError(f"`{name}` of {what} holds a negative variance: it is damaged")
    return array
