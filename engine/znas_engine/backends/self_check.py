"""The first use of a network on a GPU: does it compute what the processor computes?

No test that we can run knows the card and the driver of every machine. So a few logits are compared where
they are computed, before a search relies on them; the cache remembers what was found right.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from znas_engine.backends.checks import LOGIT_TOLERANCE, scales
from znas_engine.backends.passes import BatchedPass, Images, MaskedPass
from znas_engine.backends.rounding import rounded, tolerance
from znas_engine.data import load
from znas_engine.environment import Environment, derive_seed
from znas_engine.errors import DeviceError
from znas_engine.evaluator import Evaluator
from znas_engine.gpu import gpu
from znas_engine.scores import DeviceCodes, DeviceFeatures, Observation
from znas_engine.scores.features import channel_products, image_products
from znas_engine.spaces import Macro, Mask, SearchSpace, resize
from znas_engine.storage import load_or_build

Logits = NDArray[np.float32]
#: Images that are compared.
IMAGES = 8
#: By how much a product of features may be off, relative to their lengths.
SUMS = 1e-4
TINY = float(np.finfo(np.float64).tiny)
#: The supernet that stands for all of a space: as wide as those that are searched, with every kind of cell.
#: Half precision errs more the fewer pixels there are: where 16 are halved three times, by the tolerance.
CHANNELS, RESOLUTION = 16, 32


def check_once(
    evaluator: Evaluator,
    network: Callable[[], MaskedPass],
    environment: Environment,
    *,
    norm: str,
    device: str,
    subject: Mapping[str, object],
    made_by: Mapping[str, object],
) -> None:
    """Compares a network of `evaluator` on `device` with the same one on the processor, unless that was done
    before on such a card with this driver.

    network: called only if it is to be compared. subject: what it is made of, if not of the key below.
    made_by: versions that its answer depends on; newer ones supersede what was found with older ones.

    Raises:
        DeviceError: logits differ by more than `rounding.tolerance`, or what the device makes of codes and
            features that it keeps is not what the processor makes of them; nothing is remembered.
    """
    card = gpu(device)
    key = {
        "backend": evaluator.name,
        "space": evaluator.space.name,
        "supernet": asdict(evaluator.macro),
        "norm": norm,
        "dtype": evaluator.dtype,
        "gpu": card.name,
        "capability": card.capability,
        **subject,
    }

    def measure() -> bytes:
        images = environment.batch.images[:IMAGES]
        who = f"{evaluator.name} on {device} ({card.name}, driver {card.driver})"
        kinds, dtype = masks(evaluator.space), evaluator.dtype
        right = _on_processor(evaluator, environment, norm, kinds, images)
        most = LOGIT_TOLERANCE[dtype]
        if dtype != "float32":
            coarse = _on_processor(evaluator, rounded(environment, dtype), norm, kinds, images)
            most = tolerance(dtype, right, coarse)
        worst = _compare(right, network(), images, kinds, dtype, most, who)
        evaluator.report(
            f"{who} agrees with the CPU, which is checked once: {dtype} logits differ by up to "
            f"{worst:.1e} of the largest, {most:.2g} are allowed"
        )
        return json.dumps(worst).encode()

    load_or_build(
        "self-check", key, measure, report=evaluator.report, made_by={"driver": card.driver, **made_by}
    )


def smallest(space: SearchSpace[Any]) -> tuple[Macro, Environment]:
    """A supernet that stands for all of a space, and weights and images for it."""
    macro = space.proxy_macro(resolution=RESOLUTION, classes=10)
    images = load("gaussian", resolution=RESOLUTION).batch(IMAGES, seed=0)
    return (
        resize(macro, channels=CHANNELS, cells=None),
        Environment(derive_seed(0, "self-check"), "gaussian", images),
    )


def masks(space: SearchSpace[Any]) -> dict[str, Mask]:
    """One of every kind that a search sends, and one that is mostly zero."""
    edges, operations = space.shape
    computing = [np.flatnonzero(row) for row in space.candidates & space.computing]
    choice = [options[e % len(options)] for e, options in enumerate(computing)]
    edge = 1 % edges
    rng = np.random.default_rng(0)
    sparse = rng.random(space.shape, dtype=np.float32)
    sparse[(rng.random(space.shape) < 0.7) | ~space.mixed] = 0
    return {
        "mixture": space.mixture(),
        "do": space.do(edge, int(computing[edge][2 % len(computing[edge])])),
        "drop": space.drop(edges // 2),
        "one-hot": np.eye(operations, dtype=np.float32)[choice],
        "sparse": sparse,
    }


def _on_processor(
    evaluator: Evaluator, environment: Environment, norm: str, kinds: Mapping[str, Mask], images: Images
) -> list[Logits]:
    """Logits by mask of the same supernet in float32: the native executor's, or PyTorch's where that was not
    compiled."""
    from znas_engine.backends import can_run, get_backend

    kind = get_backend("native" if can_run("native", "cpu") else "torch")
    there = kind(evaluator.space, evaluator.macro, norm=norm)
    run = there.prepare(environment, norm=norm, reads=frozenset(), device="cpu")
    return [run(mask, images).logits for mask in kinds.values()]


def _compare(
    right: Sequence[Logits],
    network: MaskedPass,
    images: Images,
    kinds: Mapping[str, Mask],
    dtype: str,
    most: float,
    who: str,
) -> float:
    """The largest error of a logit, relative to its mask's `scales`; DeviceError above `most`, or where codes
    are counted wrong."""
    worst = 0.0
    seen = _seen(network, np.stack([*kinds.values()]), images)
    for kind, there, expected, scale in zip(kinds, seen, right, scales(right), strict=True):
        error = float(np.abs(there.logits - expected).max())
        if not error <= most * scale:  # NaN is an error too
            raise DeviceError(
                f"{who} computes something else than the CPU: a {dtype} logit under the mask {kind!r} "
                f"is wrong by {error:.2e} where the largest is {scale:.2e}, "
                f"{most:.2g} of that are allowed; use --device cpu"
            )
        if isinstance(there.codes, DeviceCodes) and not _counts_right(there.codes):
            raise DeviceError(
                f"{who} counts activation codes otherwise than the CPU: images under the mask {kind!r} do "
                "not agree as often as their codes do, or units make other patterns; use --device cpu"
            )
        if isinstance(there.features, DeviceFeatures) and not (
            (off := _error_of_sums(there.features)) <= SUMS
        ):
            raise DeviceError(
                f"{who} multiplies features otherwise than the CPU: a product under the mask {kind!r} is "
                f"wrong by {off:.2e} of its factors, {SUMS:.2g} of that are allowed; use --device cpu"
            )
        worst = max(worst, error / scale if scale else 0.0)
    return worst


def _seen(network: MaskedPass, masks: Mask, images: Images) -> list[Observation]:
    """Of all masks at once where the pass takes many, as in a search."""
    if isinstance(network, BatchedPass):
        return network.batch(masks, images)
    return [network(mask, images) for mask in masks]


def _counts_right(codes: DeviceCodes) -> bool:
    here = codes.on_host()
    alike = np.array_equal(codes.agreements_there(), here.agreements())
    return alike and codes.patterns() == here.patterns()


def _error_of_sums(features: DeviceFeatures) -> float:
    """The largest error of a product of two channels or images, relative to their lengths."""
    here = tuple(features)
    images = zip(features.image_products(), image_products(here), strict=True)
    channels = zip(features.channel_products(), channel_products(here), strict=True)
    errors = []
    for x, of_images, (found, right) in zip(here, images, channels, strict=True):
        squares = np.square(x, dtype=np.float64)
        for a, b, axes in ((*of_images, (1, 2, 3)), (found.gram, right.gram, (0, 2, 3))):
            lengths = np.sqrt(squares.sum(axes))
            errors.append((np.abs(a - b) / np.maximum(np.outer(lengths, lengths), TINY)).max())
    return float(np.max(errors))
