"""Tables 1 and 3: the architectures of their rows trained, one folder each, which later runs read again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from znas.hooks import Hooks
from znas.page import Trained
from znas.reproduce.evaluation import Evaluation
from znas.reproduce.trials import Trial
from znas.request import Request
from znas_engine import paths
from znas_engine.errors import DataError
from znas_engine.progress import duration


@dataclass(frozen=True, slots=True)
class Plan:
    """count: architectures of each row, those of its first seeds. epochs: instead of the recipe's."""

    count: int
    epochs: int | None = None


def train_rows(
    evaluation: Evaluation,
    trials: Mapping[str, Sequence[Trial]],
    request: Request,
    plan: Plan,
    folder: Path,
    hooks: Hooks,
) -> dict[str, list[Trained]]:
    """By row, its first architectures, trained as the community does at the size of the table; what is in
    `folder` is not trained again, and what was begun goes on.

    request: of the searches; its images and device. hooks: told how many are trained, and how far one is.
    """
    wanted = [(row, trial) for row, of_row in trials.items() for trial in of_row[: plan.count]]
    found: dict[str, list[Trained]] = {row: [] for row in trials}
    if wanted:
        left = sum(not _done(folder / f"{row}-{trial.seed}") for row, trial in wanted)
        hooks.report(_what_it_takes(evaluation, wanted[0][1], request, plan, left))
    for number, (row, trial) in enumerate(wanted):
        hooks.progress(number, len(wanted))
        found[row].append(_one(evaluation, trial, request, plan, folder / f"{row}-{trial.seed}", hooks))
    hooks.progress(len(wanted), len(wanted))
    return found


def _done(folder: Path) -> bool:
    return paths.itself(folder, "the trained network") is not None


def _one(
    evaluation: Evaluation, trial: Trial, request: Request, plan: Plan, folder: Path, hooks: Hooks
) -> Trained:
    from znas.training.train import train
    from znas.training.written import read

    if not _done(folder):
        given: dict[str, Any] = {"data": request.data, "data_dir": request.data_dir}
        train(
            trial.arch,
            folder,
            space=evaluation.space,
            resolution=evaluation.resolution,
            recipe=evaluation.recipe,
            epochs=plan.epochs,
            seed=trial.seed,
            threads=request.threads,
            progress=hooks.inner,
            report=hooks.report,
            **given,
        )
    found = read(folder)
    asked = (trial.arch, evaluation.recipe, plan.epochs or evaluation.epochs)
    if [(row.arch, row.recipe, row.epochs) for row in found] != [asked]:
        raise DataError(
            f"the training {folder} is of another architecture, recipe or number of epochs: move it away"
        )
    return found[0]


def _what_it_takes(evaluation: Evaluation, trial: Trial, request: Request, plan: Plan, left: int) -> str:
    """Measured on two steps of the first network."""
    from znas.training.estimate import seconds_of
    from znas_engine import data
    from znas_engine.spaces import get_space

    dataset = data.load(request.data, data_dir=request.data_dir, resolution=evaluation.resolution)
    space = get_space(evaluation.space)
    network = space.to_torch(space.parse(trial.arch), space.evaluation_macro_for(dataset))
    epochs = plan.epochs or evaluation.epochs
    one, device = seconds_of(network, dataset, evaluation.recipe, epochs)
    return (
        f"to train: {left} networks for {epochs} epochs of {dataset.size:,} images, about {duration(one)} "
        f"each on {device}, {duration(left * one)} in all; it goes on where it is stopped"
    )
