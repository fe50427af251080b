"""What a training gave: networks beside one another, each with what it cost and how often it is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from znas.output import Document, Facts, Notes, Part, Table
from znas.output.notebook import Shown
from znas.training.recipe import Recipe
from znas_engine.progress import duration

RESULT = "training.json"
#: Of an interval of a share.
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One training of one network.

    name: found, or of the baseline. arch: as its community writes it, or what it is. seed: of its weights,
    order and augmentation. epochs: that its weights are of. seconds: of training. right: of `images`, none of
    which it was trained on; deployed: likewise of its file in ONNX Runtime. interval: see `interval`.
    """

    name: str
    arch: str
    params: int
    flops: int
    seed: int
    epochs: int
    seconds: float
    right: int
    images: int
    deployed: int

    @property
    def accuracy(self) -> float:
        """Share of the images whose class is right."""
        return self.right / self.images

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "arch": self.arch,
            "params": self.params,
            "flops": self.flops,
            "seed": self.seed,
            "epochs": self.epochs,
            "seconds": self.seconds,
            "accuracy": self.accuracy,
            "interval": list(interval(self.right, self.images)),
            "images": self.images,
            "deployed_accuracy": self.deployed / self.images,
        }


def interval(right: int, images: int) -> tuple[float, float]:
    """Of a share, by the images that it was counted on: Wilson's at `CONFIDENCE`. It says nothing about other
    seeds.

    E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference, 1927.
    """
    from scipy.stats import binomtest

    found = binomtest(right, images).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult(Shown):
    """The answer of `znas.train`.

    out: the folder, see `znas.training.train.FILES`. rows: by network, then by seed; the first is what was
    asked for. data, judged: in words; learned: images that were learned from. machine: devices, precision,
    threads.
    """

    out: Path
    recipe: Recipe
    rows: tuple[Row, ...]
    data: str
    learned: int
    judged: str
    machine: Mapping[str, Any]
    notes: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def accuracy(self) -> float:
        """Of what was asked for, by its first seed: that of `model.onnx` before it was deployed."""
        return self.rows[0].accuracy

    def __repr__(self) -> str:
        first = self.rows[0]
        return (
            f"<TrainingResult {first.name}: {first.accuracy:.2%} of {first.images:,} images after "
            f"{first.epochs} epochs, {len(self.rows)} trainings, {self.out}>"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the keys are stable."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "recipe": self.recipe.to_dict(),
            "data": self.data,
            "learned_from": self.learned,
            "judged_on": self.judged,
            "machine": dict(self.machine),
            "notes": list(self.notes),
            "versions": dict(self.versions),
        }

    def to_json(self) -> str:
        """One object."""
        return json.dumps(self.to_dict(), indent=1)

    def document(self) -> Document:
        """What the command prints."""
        names = list(dict.fromkeys(row.name for row in self.rows))
        lines = [_line([row for row in self.rows if row.name == name]) for name in names]
        recipe = self.recipe
        facts = [
            ("recipe", f"{recipe.name}: {recipe.epochs} epochs, batches of {recipe.batch}, {recipe.title}"),
            ("data", self.data),
            ("judged on", self.judged),
        ]
        if recipe.differs:
            facts.append(("not as its source", recipe.differs))
        parts: list[Part] = [
            Table(
                [
                    *("network", "parameters", "FLOPs", "epochs", "seconds"),
                    *("accuracy", "95 % interval", "ONNX Runtime"),
                ],
                lines,
            ),
            Facts(facts),
        ]
        if self.notes:
            parts.append(Notes(self.notes))
        return Document("Trained networks", parts, self.to_dict())


def _line(rows: Sequence[Row]) -> list[str]:
    """One network; of several seeds the means, and from the lowest accuracy to the highest."""
    first = rows[0]
    mean = float(np.mean([row.accuracy for row in rows]))
    deployed = float(np.mean([row.deployed / row.images for row in rows]))
    if len(rows) == 1:
        low, high = interval(first.right, first.images)
        about = f"{low:.2%} to {high:.2%}"
    else:
        of_all = [row.accuracy for row in rows]
        about = f"{min(of_all):.2%} to {max(of_all):.2%}, {len(rows)} seeds"
    return [
        first.name,
        f"{first.params:,}",
        f"{first.flops / 1e6:.1f} M",
        f"{first.epochs}",
        duration(float(np.mean([row.seconds for row in rows]))),
        f"{mean:.2%}",
        about,
        f"{deployed:.2%}",
    ]
