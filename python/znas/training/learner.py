"""One network in training, as Lightning wants it."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from znas.training.augment import Augment
from znas.training.recipe import Recipe
from znas.training.regularise import Auxiliary, DropPath
from znas_engine.environment import derive_seed
from znas_engine.errors import DivergedError

#: Of torch's seeds.
_LARGEST = (1 << 63) - 1
#: Steps between two looks at the loss, each of which waits for the device.
_LOOK = 20


class Learner(LightningModule):
    """Trains `network` by a recipe; what it saw is in `history`, one dictionary per epoch.

    steps: per epoch. classes: weight of each class in the loss, float32 [classes], or None. augment: what is
    done to images; theirs: a further function of a batch, float32 [n, C, H, W] to the same. images:
    float32 [2, C, H, W], any.

    Everything that is drawn is a function of the seed, the epoch and the step: an epoch does not depend on
    what came before it but for the weights.
    """

    def __init__(
        self,
        network: nn.Module,
        recipe: Recipe,
        *,
        steps: int,
        classes: Tensor | None,
        augment: Augment,
        theirs: Any,
        images: Tensor,
        outputs: int,
        seed: int,
    ) -> None:
        super().__init__()
        # The order in which convolutions of processors and of tensor cores are fastest.
        self.network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.recipe, self.steps, self.seed = recipe, steps, seed
        self.augment, self.theirs = augment, theirs
        self.register_buffer("weights", classes, persistent=False)
        self.auxiliary = Auxiliary(network, images, outputs) if recipe.auxiliary else None
        self.drop_path = DropPath(network) if recipe.drop_path else None
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.contiguous(memory_format=torch.channels_last))
        return logits

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        optimiser = torch.optim.SGD(
            [each for each in self.parameters() if each.requires_grad],
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        factor = schedule(recipe, self.steps)
        plan = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": plan, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        if self.drop_path is not None:
            self.drop_path.rate = self.recipe.drop_path * self.current_epoch / self.recipe.epochs
        self._sums = {name: torch.zeros((), device=self.device) for name in ("loss", "right", "images")}

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        torch.manual_seed(
            derive_seed(self.seed, "step", self.current_epoch, number, self.global_rank) & _LARGEST
        )
        images, labels = batch
        images = self.augment(images)
        if self.theirs is not None:
            images = self.theirs(images)
        logits = self(images)
        loss = self._loss(logits, labels)
        if self.auxiliary is not None:
            assert self.auxiliary.logits is not None
            loss = loss + self.recipe.auxiliary * self._loss(self.auxiliary.logits, labels)
        with torch.no_grad():
            self._sums["loss"] += loss.detach() * len(labels)
            self._sums["right"] += (logits.argmax(1) == labels).sum()
            self._sums["images"] += len(labels)
        if number % _LOOK == 0 or number == self.steps - 1:
            self._look(number)
        return loss

    def _look(self, step: int) -> None:
        if not torch.isfinite(self._sums["loss"]):
            raise DivergedError(
                f"the loss became NaN or infinite in epoch {self.current_epoch + 1}, by step {step + 1} of "
                f"{self.steps}: what was saved before is kept; try a smaller --lr than {self.recipe.lr:g}"
            )

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        weights = self.weights if isinstance(self.weights, Tensor) else None
        return F.cross_entropy(
            logits.float(), labels, weight=weights, label_smoothing=self.recipe.label_smoothing
        )

    def learned(self) -> dict[str, float]:
        """Mean loss and accuracy of the epoch's augmented images, and the learning rate after it."""
        reduce = self.trainer.strategy.reduce  # over all devices
        sums = (reduce(self._sums[name], reduce_op="sum") for name in ("loss", "right", "images"))
        loss, right, images = map(float, sums)
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        return {"loss": loss / images, "training_accuracy": right / images, "lr": rate}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = list(checkpoint["history"])


def schedule(recipe: Recipe, steps: int) -> Any:
    """Step -> factor of the learning rate. steps: per epoch."""
    total = recipe.epochs * steps
    match recipe.schedule:
        case "cosine":
            return lambda step: (1 + math.cos(math.pi * min(step / total, 1.0))) / 2
        case "one-cycle":
            return lambda step: one_cycle(min(step / total, 1.0))
        case "exponential":
            assert recipe.gamma is not None
            base = recipe.gamma
            return lambda step: base ** (step // steps)
        case _:
            return lambda step: 1.0


def one_cycle(at: float, *, peak: float = 0.3, begin: float = 0.04) -> float:
    """Factor at a share of the training: from `begin` straight to 1 at `peak`, then a cosine to 0."""
    if at < peak:
        return begin + (1 - begin) * at / peak
    return (1 + math.cos(math.pi * (at - peak) / (1 - peak))) / 2
