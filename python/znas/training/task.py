"""What one training is: the network, the images, the recipe, and where it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from znas.hooks import QUIET, Report
from znas.training.augment import Augment
from znas.training.images import Split
from znas.training.recipe import Recipe
from znas_engine import interrupts
from znas_engine.progress import Progress


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a training runs. devices: names such as cpu, or cuda:0 and cuda:1, a process each. precision: one
    of `settings.PRECISIONS`. workers: processes that read pictures."""

    devices: tuple[str, ...]
    precision: str
    workers: int

    def trainer(self) -> dict[str, Any]:
        """What Lightning calls that."""
        cuda = self.devices[0] != "cpu"
        return {
            "accelerator": "gpu" if cuda else "cpu",
            "devices": [int(name.partition(":")[2]) for name in self.devices] if cuda else len(self.devices),
            # A cell may have branches that reach no logits.
            "strategy": "ddp_find_unused_parameters_true" if len(self.devices) > 1 else "auto",
            "precision": "32-true" if self.precision == "32" else f"{self.precision}-mixed",
            # Where GPUs add numbers in another order each time, Lightning would refuse some operations.
            "deterministic": not cuda,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be trained. folder: holds its checkpoint, its metrics and what `tensorboard` writes. job:
    all that the weights depend on, plain JSON. weights: of the classes in the loss. theirs: see `Learner`.
    patience: epochs without a better accuracy of `split.stopping` after which it ends. name: said before what
    is said of an epoch. progress: called with (batches done, all of them). kept: with a checkpoint and
    what it keeps."""

    folder: Path
    job: Mapping[str, Any]
    network: nn.Module
    recipe: Recipe
    split: Split
    outputs: int
    augment: Augment
    machine: Machine
    seed: int
    weights: Tensor | None = None
    theirs: Callable[[Tensor], Tensor] | None = None
    patience: int | None = None
    tensorboard: bool = False
    name: str = ""
    progress: Progress = QUIET.progress
    report: Report = QUIET.report
    kept: Callable[[Path, str], None] = interrupts.keeps
