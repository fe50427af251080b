"""An exported network beside the one in PyTorch, on images that the search has not seen if any are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from znas.hooks import Report
from znas.result import SearchResult
from znas_engine import data
from znas_engine.backends.checks import LOGIT_TOLERANCE
from znas_engine.data import Batch, Dataset
from znas_engine.data.preprocess import Preprocess
from znas_engine.errors import DataError, InvalidValueError, PluginError, ZnasError, in_short
from znas_engine.progress import Progress
from znas_engine.spaces import Macro, SearchSpace

if TYPE_CHECKING:
    from torch import nn

#: Images that go through both networks together, and of noise where there are no pictures.
TOGETHER = 128

#: images float32 [n, C, H, W] -> logits float32 [n, classes]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The exported graph in ONNX Runtime beside the network in PyTorch.

    images, source: how many, and which. difference: between two logits, at most. largest: logit of PyTorch,
    by magnitude. agreement: share of the images with the same class. torch, onnx: share of the images whose
    class is right; None without labels.
    """

    images: int
    source: str
    difference: float
    largest: float
    agreement: float
    torch: float | None
    onnx: float | None


@dataclass(frozen=True, slots=True)
class Images:
    """classes: label of a batch -> number of the network's class; None without labels. size: how many there
    are. source: in words."""

    batches: Iterator[Batch]
    size: int
    classes: NDArray[np.int64] | None
    source: str


def images_for(
    result: SearchResult, macro: Macro, preprocess: Preprocess, data_dir: str | Path | None, note: Report
) -> Images:
    """Those of `data_dir`, those that the run's data set keeps from searches, its own, or noise; said which.

    Raises:
        ZnasError: those of `data_dir` cannot be used, or have other classes.
    """
    try:
        dataset = dataset_of(result, macro, data_dir)
        held_out = dataset.held_out()
    except ZnasError as error:
        if data_dir is not None:
            raise
        note(f"checked on noise, the images of the search are not here: {error}")
        return _noise(macro)
    if held_out is None and data_dir is None:
        note("the images of the check are those of the search: pass others of the same kind, --data-dir")
    dataset = held_out or dataset
    try:
        classes = numbers_of_classes(dataset, macro, preprocess)
    except DataError as error:
        if data_dir is not None:
            raise
        note(f"no accuracy: {error}")
        classes = None
    size = dataset.size if dataset.listed else min(dataset.size, TOGETHER)
    return Images(dataset.every(TOGETHER), size, classes, dataset.origin)


def _noise(macro: Macro) -> Images:
    shape = (TOGETHER, macro.inputs, macro.resolution, macro.resolution)
    pixels = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    return Images(iter([Batch(pixels, None)]), TOGETHER, None, "noise")


def dataset_of(result: SearchResult, macro: Macro, data_dir: str | Path | None) -> Dataset:
    """The run's data set, perhaps in another folder, as the network reads it."""
    asked = result.request
    name = result.conditions.data if asked.data is None else asked.data
    where = asked.data_dir if data_dir is None else data_dir

    def at(resolution: int | None) -> Dataset:
        return data.load(name, data_dir=where, resolution=resolution, channels_in=asked.channels_in)

    found = at(asked.resolution)
    return found if found.resolution == macro.resolution else at(macro.resolution)


def numbers_of_classes(dataset: Dataset, macro: Macro, preprocess: Preprocess) -> NDArray[np.int64] | None:
    """The network's number of every class of the data set; None where it has no labels.

    Raises:
        DataError: it has other classes.
    """
    if not dataset.labelled:
        return None
    names, known = dataset.preprocessing().classes, preprocess.classes
    if names is None or known is None:
        if dataset.classes != macro.classes:
            raise DataError(
                f"the images ({dataset.origin}) have {dataset.classes} classes, the weights {macro.classes}"
            )
        return np.arange(macro.classes, dtype=np.int64)
    for name in names:
        if name not in known:
            raise DataError(
                f"the class {name!r} of the images ({dataset.origin}) is none of the network's "
                f"({', '.join(known)}): name these in the order of its logits, --class-names"
            )
    return np.array([known.index(name) for name in names], dtype=np.int64)


def runtime(model: bytes, opset: int) -> Run:
    """ONNX Runtime on a CPU, one thread. InvalidValueError where it does not read the model's opset."""
    from znas_engine.backends.onnxruntime import ort, session

    try:
        made = session(model)
    except Exception as error:  # its own kinds have no common base
        raise InvalidValueError(
            f"ONNX Runtime {ort.__version__} does not read opset {opset} ({in_short(error)}): "
            "ask for an older one, --opset"
        ) from error

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        (logits,) = made.run(["logits"], {"images": images})
        found: NDArray[np.float32] = logits
        return found

    return run


def compared(network: nn.Module, run: Run, images: Images, progress: Progress) -> Check:
    """Both over all images. progress: called with (images done, all of them)."""
    import torch

    total = same = 0
    right = np.zeros(2, np.int64)
    difference = largest = 0.0
    for batch in images.batches:
        with torch.inference_mode():
            expected = network(torch.from_numpy(batch.images)).numpy()
        found = run(batch.images)
        difference = max(difference, _apart(found, expected))
        largest = max(largest, float(np.abs(expected).max()))
        classes = np.stack([expected.argmax(1), found.argmax(1)])
        total += len(found)
        progress(total, images.size)
        same += int((classes[0] == classes[1]).sum())
        if images.classes is not None:
            right += (classes == images.classes[batch.labels]).sum(1)
    shares = (right / total).tolist() if images.classes is not None else (None, None)
    return Check(
        images=total,
        source=images.source,
        difference=difference,
        largest=largest,
        agreement=same / total,
        torch=shares[0],
        onnx=shares[1],
    )


def _apart(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference; infinite where one is NaN."""
    return float(np.nan_to_num(np.abs(found - expected), nan=np.inf).max())


def hold(check: Check, dtype: str, space: SearchSpace[Any]) -> Check:
    """The same.

    Raises:
        PluginError: the graph is not the network. InvalidValueError: half precision overflows.
    """
    near = check.difference <= LOGIT_TOLERANCE["float32"] * max(check.largest, 1.0)
    if dtype == "float32" and not near:
        raise PluginError(
            f"the trainable network of the space {space.name} and its graph differ by {check.difference:.3g} "
            f"in logits of up to {check.largest:.3g}: they must have the same modules"
        )
    if not np.isfinite(check.difference):
        raise InvalidValueError(f"the activations of these weights overflow in {dtype}: pass --dtype float32")
    return check
