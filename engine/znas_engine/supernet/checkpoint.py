"""The checkpoint of a training: a safetensors file every bit of which is accounted for."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from znas_engine import interrupts, paths, strict_json
from znas_engine.errors import InvalidValueError, StorageError

#: What the metadata of ours begin with.
_FORMAT = "znas-engine checkpoint 2"
#: Bytes, at most: the largest supernets have a hundred million weights, each with its velocity.
_LIMIT = 2 << 30

_Tensors = dict[str, Tensor]


def identity_of(path: Path) -> dict[str, Any] | None:
    """The identity of the job whose checkpoint this is; None where nothing is.

    Raises StorageError for what is no checkpoint: it is left as it is.
    """
    if _there(path) is None:
        return None
    notes = _notes(path, paths.read(path, "the checkpoint", limit=_LIMIT))
    found = strict_json.parse(notes["identity"], f"the identity of the checkpoint {path}")
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


class Checkpoint:
    """Weights, velocities and the steps behind them, by one training job.

    identity: what the job is; the checkpoint of another one is refused. The metadata hold it, the steps, and
    a SHA-256 of these and of every tensor's name, shape and bytes. What is no checkpoint of ours is refused
    before the training, and left as it is; so is what appears in its place later.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._identity = json.dumps(identity, sort_keys=True)
        #: The file that was read or written last.
        self._known: tuple[int, ...] | None = None

    def resume(self, weights: _Tensors, velocity: _Tensors, total: int) -> int:
        """Loads the checkpoint, if there is one, and returns the steps that it has behind it.

        total: the steps of the whole training.

        Raises:
            InvalidValueError: it belongs to another job.
            StorageError: it is damaged, is none, or cannot be read.
        """
        there = _there(self.path)
        if there is None:
            return 0
        notes, found = self._read(weights, velocity, total)
        if notes["identity"] != self._identity:
            raise InvalidValueError(
                f"the checkpoint {self.path} belongs to another job; remove it or name another --out"
            )
        with torch.no_grad():
            for name, tensor in _named(weights, velocity).items():
                tensor.copy_(found[name])
        self._known = there
        self._keeps(step := int(notes["step"]))
        return step

    def save(self, weights: _Tensors, velocity: _Tensors, step: int) -> None:
        """All of the new checkpoint, or what was there before. Raises StorageError."""
        from safetensors.torch import save

        tensors = _named(weights, velocity)
        notes = {"format": _FORMAT, "identity": self._identity, "step": str(step)}
        data = save(tensors, notes | {"sha256": digest_of(notes, tensors)})
        there = _there(self.path)
        if there != self._known and there is not None:
            raise _foreign(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if there is None:
                paths.write_new(self.path, data)
            else:
                paths.replace(self.path, data)
        except FileExistsError as error:
            raise _foreign(self.path) from error
        except OSError as error:
            raise StorageError(
                f"the checkpoint {self.path} cannot be written ({paths.reason(error)})"
            ) from error
        self._known = _there(self.path)
        self._keeps(step)

    def _keeps(self, step: int) -> None:
        """What is said of it where the command is interrupted."""
        interrupts.keeps(self.path, f"{step} training steps")

    def _read(self, weights: _Tensors, velocity: _Tensors, total: int) -> tuple[dict[str, str], _Tensors]:
        """Metadata and tensors of a whole file; the tensors are this job's if the identity is."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        data = paths.read(self.path, "the checkpoint", limit=_LIMIT)
        notes = _notes(self.path, data)
        try:
            found = load(data)
        except (SafetensorError, ValueError, KeyError, RuntimeError, TypeError) as error:
            raise _damaged(self.path) from error
        digest = notes.pop("sha256", None)
        if digest != digest_of(notes, found):
            raise _damaged(self.path)
        expected = {name: tensor.shape for name, tensor in _named(weights, velocity).items()}
        if notes.get("identity") == self._identity:
            steps = notes.get("step", "")
            right = {name: tensor.shape for name, tensor in found.items()} == expected
            right &= all(tensor.dtype == torch.float32 for tensor in found.values())
            if not (right and steps.isascii() and steps.isdigit() and int(steps) <= total):
                raise _damaged(self.path)
        return notes, found


def _there(path: Path) -> tuple[int, ...] | None:
    """What tells the file of that name from another; StorageError for a link, a folder, a pipe.

    Its number alone does not: a new file may get that of one that was removed, and ours may be written into.
    """
    about = paths.itself(path, "the checkpoint")
    if about is None:
        return None
    if not stat.S_ISREG(about.st_mode):
        raise _foreign(path)
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def _notes(path: Path, data: bytes) -> dict[str, str]:
    """The metadata of safetensors: 8 bytes of length, then JSON whose `__metadata__` they are."""
    length = int.from_bytes(data[:8], "little")
    if _FORMAT.encode() not in data[: 8 + min(length, len(data))]:
        raise _foreign(path)
    try:
        notes = strict_json.parse(data[8 : 8 + length], "the checkpoint")["__metadata__"]
    except (StorageError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    texts = isinstance(notes, dict) and all(isinstance(each, str) for each in notes.values())
    if not texts or notes.get("format") != _FORMAT or "identity" not in notes:
        raise _damaged(path)
    return dict(notes)


def _damaged(path: Path) -> StorageError:
    return StorageError(f"the checkpoint {path} is damaged; remove it to start again")


def _foreign(path: Path) -> StorageError:
    return StorageError(
        f"{path} is no checkpoint of this version of znas-engine and is left as it is; move it away or name "
        "another --out"
    )


def _named(weights: _Tensors, velocity: _Tensors) -> _Tensors:
    """As a file calls them."""
    tensors = {f"weight/{name}": weight.detach() for name, weight in weights.items()}
    return tensors | {f"velocity/{name}": value for name, value in velocity.items()}


def digest_of(notes: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of all that a safetensors file says: its other metadata, and every tensor's name, type, shape
    and bytes."""
    found = hashlib.sha256(json.dumps(dict(notes), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
