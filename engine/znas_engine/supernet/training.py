"""A one-shot supernet: the graph's own weights, trained by weight sharing (equation 1 of the paper).

    for each step:
        images, labels = the next batch, shifted by up to 4 pixels and mirrored at random
        mask = paths:   path(a) of a random architecture a   (Guo et al., ECCV 2020, arXiv:1904.00420)
               mixture: 1/O everywhere, alpha fixed at 0      (Wang et al., ICLR 2021, arXiv:2108.04392)
        one step of SGD on the cross-entropy of the logits under that mask

Normalisation uses the statistics of the batch and has no affine parameters; the classifier has no bias: the
network is the one that `search` evaluates. Optimiser: momentum 0.9, weight decay 3e-4, gradients clipped to
norm 5, learning rate on a cosine from `learning_rate` to 0 (DARTS, arXiv:1806.09055, except for the end).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from znas_engine.data import Batch
from znas_engine.environment import Environment, derive_seed
from znas_engine.errors import InvalidValueError, NonFiniteScoreError
from znas_engine.graph import Conv, Graph, Linear
from znas_engine.progress import Progress, unheard
from znas_engine.spaces import Mask
from znas_engine.supernet.checkpoint import Checkpoint
from znas_engine.supernet.network import Network

MOMENTUM, WEIGHT_DECAY, CLIP = 0.9, 3e-4, 5.0
SHIFT = 4  # pixels
#: Seconds of training that a kill may cost. When a checkpoint is written does not change the result.
CHECKPOINT_EVERY = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """epochs over the training images in batches of `batch` (a last partial batch is dropped)."""

    epochs: int
    batch: int
    learning_rate: float

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("batch", self.batch)):
            if value < 1:
                raise InvalidValueError(f"`{name}` must be 1 or more but got {value}")
        if not 0 < self.learning_rate < math.inf:
            raise InvalidValueError(
                f"`learning_rate` must be finite and above 0 but got {self.learning_rate}"
            )


def train(
    graph: Graph,
    environment: Environment,
    schedule: Schedule,
    *,
    draw_mask: Callable[[np.random.Generator], Mask],
    threads: int,
    identity: Mapping[str, Any],
    checkpoint: Path,
    progress: Progress = unheard,
) -> dict[str, NDArray[np.float32]]:
    """Trained weights by node name, float32, starting from the environment's; its batch is the training set.

    Every step is a function of (environment, step) alone, so a run that was killed goes on from its last
    checkpoint to the same weights. identity: what the job is; the checkpoint of another one is refused.

    Raises:
        InvalidValueError: no labels, fewer images than a batch, another job's checkpoint.
        NonFiniteScoreError: the loss is NaN or infinite.
        StorageError: the checkpoint cannot be read or written, is damaged or is none: left as it is.
    """
    images, labels = environment.batch.images, environment.batch.labels
    if labels is None:
        raise InvalidValueError("a one-shot supernet is trained on labels and these images have none")
    per_epoch = len(images) // schedule.batch
    if per_epoch == 0:
        raise InvalidValueError(
            f"`batch` must be at most the {len(images)} training images but got {schedule.batch}"
        )
    total = per_epoch * schedule.epochs
    positions = {node.name: i for i, node in enumerate(graph.nodes) if isinstance(node, Conv | Linear)}
    weights = {
        name: torch.from_numpy(environment.weight(graph.nodes[i])).requires_grad_()  # type: ignore[arg-type]
        for name, i in positions.items()
    }
    velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    begin = (kept := Checkpoint(checkpoint, identity)).resume(weights, velocity, total)
    network = Network(graph, {i: weights[name] for name, i in positions.items()}, None)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    saved = time.monotonic()
    try:
        progress(begin, total)
        for step in range(begin, total):
            epoch, k = divmod(step, per_epoch)
            order = np.random.default_rng(derive_seed(environment.seed, "epoch", epoch))
            index = order.permutation(len(images))[k * schedule.batch : (k + 1) * schedule.batch]
            rng = np.random.default_rng(derive_seed(environment.seed, "step", step))
            logits = network(draw_mask(rng), torch.from_numpy(augment(images[index], rng)))
            loss = F.cross_entropy(logits, torch.from_numpy(labels[index]))
            _check_finite(loss, step, schedule)
            rate = schedule.learning_rate * (1 + math.cos(math.pi * step / total)) / 2
            _descend(loss, weights, velocity, rate)
            progress(step + 1, total)
            if time.monotonic() - saved > CHECKPOINT_EVERY or step + 1 == total:
                kept.save(weights, velocity, step + 1)
                saved = time.monotonic()
    finally:
        torch.set_num_threads(before)
    return {name: weight.detach().numpy() for name, weight in weights.items()}


def _check_finite(loss: Tensor, step: int, schedule: Schedule) -> None:
    if not math.isfinite(loss.item()):
        raise NonFiniteScoreError(
            f"the one-shot loss is {loss.item()} at step {step + 1}: pass a smaller --learning-rate "
            f"than {schedule.learning_rate}"
        )


@dataclass(frozen=True, slots=True)
class Trained(Environment):
    """An environment whose weights were trained instead of drawn. `init` names them by a digest."""

    weights: Mapping[str, NDArray[np.float32]] = field(compare=False)

    def check_init(self) -> None:
        """Nothing is drawn."""

    def weight(self, node: Conv | Linear) -> NDArray[np.float32]:
        return self.weights[node.name]


def augment(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """images [n, 3, H, W], each shifted by up to SHIFT pixels (zeros come in), half of them mirrored."""
    count, _, height, width = images.shape
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    out = np.empty_like(images)
    places = rng.integers(0, 2 * SHIFT + 1, (count, 2))
    mirrored = np.asarray(rng.random(count) < 0.5)
    for i, (y, x) in enumerate(places):
        crop = padded[i, :, y : y + height, x : x + width]
        out[i] = crop[:, :, ::-1] if mirrored[i] else crop
    return out


def split(batch: Batch) -> tuple[Batch, Batch]:
    """The first half, to train on, and the second, to validate on (as DARTS halves CIFAR-10)."""
    middle = len(batch.images) // 2
    parts = []
    for rows in (slice(None, middle), slice(middle, None)):
        labels = None if batch.labels is None else batch.labels[rows]
        parts.append(Batch(batch.images[rows], labels))
    return parts[0], parts[1]


def _descend(loss: Tensor, weights: dict[str, Tensor], velocity: dict[str, Tensor], rate: float) -> None:
    """One step of SGD; weights that the mask left out have no gradient and stay as they are."""
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    gradients = {name: g for name, g in zip(weights, found, strict=True) if g is not None}
    norm = torch.sqrt(sum((g.square().sum() for g in gradients.values()), torch.zeros(()))).item()
    scale = min(1.0, CLIP / (norm + 1e-6))
    with torch.no_grad():
        for name, gradient in gradients.items():
            velocity[name].mul_(MOMENTUM).add_(gradient, alpha=scale).add_(weights[name], alpha=WEIGHT_DECAY)
            weights[name].sub_(velocity[name], alpha=rate)
