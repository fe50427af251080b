"""Checkpoints that hold tensors and JSON and nothing that can execute: Lightning's own, as safetensors, every
bit of them accounted for.

What Lightning wants to go on with is a tree of dictionaries, lists, numbers and tensors. The tensors lie in
the file by their numbers; the tree is JSON in its metadata, in which a tensor is {"tensor": number}, a
dictionary {"pairs": [[key, value], ...]} and a tuple {"tuple": [...]}, so that keys keep their types.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from torch import Tensor

from znas_engine import paths, strict_json
from znas_engine.errors import DataError, StorageError, in_short
from znas_engine.supernet.checkpoint import digest_of

#: In the metadata of a file: which form it has, the tree, what training it is of, and a digest of all.
FORMAT, _TREE, _JOB, _DIGEST = "znas-engine training 2", "tree", "job", "sha256"


class Safetensors(CheckpointIO):
    """Writes and reads such files for Lightning, whole or not at all: what was there stays until the next one
    is on the disk.

    job: what training they are of, plain JSON; kept beside the tree.

    Raises StorageError: a file cannot be written (what was there is still whole), or cannot be read.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        self._job = dict(job)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write(Path(path), checkpoint, self._job)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        found: dict[str, Any] = read(Path(path))[1]
        return found

    def remove_checkpoint(self, path: Any) -> None:
        raise NotImplementedError("each checkpoint replaces the one before it")


def write(path: Path, tree: Any, job: Mapping[str, Any]) -> None:
    """Replaces the file by one of this tree, or leaves what was there. StorageError where it cannot."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    plain = _plain(tree, tensors)
    about = {"format": FORMAT, _TREE: json.dumps(plain), _JOB: json.dumps(job)}
    data = save(tensors, metadata=about | {_DIGEST: digest_of(about, tensors)})
    try:
        paths.replace(path, data)
    except OSError as error:
        raise StorageError(
            f"the checkpoint {path} cannot be written ({paths.reason(error)}): the one before it is kept, "
            "and the same command goes on from there"
        ) from error


def read(path: Path) -> tuple[dict[str, Any], Any]:
    """(job, tree).

    Raises StorageError: the file cannot be read. DataError: it is no checkpoint of this kind, or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = paths.read(path, "the checkpoint", limit=paths.status(path, "the checkpoint").st_size)
    try:
        length = int.from_bytes(data[:8], "little")
        about = strict_json.parse(data[8 : 8 + length], "its header", DataError)["__metadata__"]
        if about["format"] != FORMAT:
            raise ValueError(f"it is {about['format']!r:.60}")
        tensors = load(data)
        if about.pop(_DIGEST) != digest_of(about, tensors):
            raise ValueError("its digest is of other content")
        job: dict[str, Any] = strict_json.parse(about[_JOB], "its job", DataError)
        return job, _tree(strict_json.parse(about[_TREE], "its tree", DataError), tensors)
    except (DataError, SafetensorError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise DataError(
            f"the checkpoint {path} is damaged, or not one of znas-engine's ({in_short(error)}): move it away"
        ) from error


def _plain(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The tree as JSON; its tensors go into `tensors`. TypeError for what is neither."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, Mapping):
        return {"pairs": [[_key(key), _plain(each, tensors)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_plain(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_plain(each, tensors) for each in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint holds no {type(value).__name__}: {value!r:.80}")


def _key(key: Any) -> str | int:
    if isinstance(key, str | int):
        return key
    raise TypeError(f"a checkpoint holds no key {key!r:.80}")


def _tree(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(plain, list):
        return [_tree(each, tensors) for each in plain]
    if not isinstance(plain, dict):
        return plain
    ((kind, inner),) = plain.items()
    match kind:
        case "tensor":
            return tensors[inner]
        case "tuple":
            return tuple(_tree(each, tensors) for each in inner)
        case "pairs":
            return {key: _tree(each, tensors) for key, each in inner}
    raise ValueError(f"a node {kind!r:.60}")


def weights(path: Path) -> dict[str, torch.Tensor]:
    """The state dictionary of the module that a checkpoint is of."""
    found: dict[str, torch.Tensor] = read(path)[1]["state_dict"]
    return found
