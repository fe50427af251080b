"""One training from its first epoch, or the one after its last checkpoint, to its end."""

from __future__ import annotations

import csv
import io
import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from numpy.typing import NDArray
from torch import nn

from znas.training import checkpoint, several
from znas.training.augment import Augment
from znas.training.images import Order, Part, judging_batches, training_batches
from znas.training.learner import Learner
from znas.training.recipe import Recipe
from znas.training.task import Task
from znas_engine import paths
from znas_engine.data.preprocess import Preprocess
from znas_engine.environment import derive_seed
from znas_engine.errors import StorageError

#: Files of a training's folder while it lasts.
CHECKPOINT, BEST, METRICS = "checkpoint.safetensors", "best.safetensors", "metrics.csv"
#: Images that an epoch is judged by, at most: the line that is shown on the way.
GLANCE = 1000


@dataclass(frozen=True, slots=True)
class Fitted:
    """network: trained, in inference mode, on the CPU. history: one dictionary per epoch. epochs: that its
    weights are of. seconds: of training, without what was done before the last checkpoint was lost."""

    network: nn.Module
    history: list[dict[str, float]]
    epochs: int
    seconds: float


def fit(task: Task) -> Fitted:
    """Trains, or goes on, or gives what was trained already.

    Raises:
        StorageError, DataError: a checkpoint of another training, damaged, or that cannot be written.
        DivergedError: the loss is no number any more.
    """
    path = task.folder / CHECKPOINT
    begun = paths.is_file(path, "the checkpoint")
    history = _begun(path, task) if begun else []
    if not (len(history) == task.recipe.epochs or _stops(history, task.patience)):
        before = path if begun else None
        if len(task.machine.devices) == 1:
            _train(task, before)
        else:
            several.train(_train, task, before)
        history = checkpoint.read(path)[1]["history"]
    best = _best(history) if task.patience is not None else len(history) - 1
    source = task.folder / BEST if task.patience is not None else path
    found = checkpoint.weights(source)
    prefix = "network."
    task.network.load_state_dict(
        {name.removeprefix(prefix): each for name, each in found.items() if name.startswith(prefix)}
    )
    seconds = sum(row["seconds"] for row in history)
    return Fitted(task.network.cpu().eval(), history, best + 1, seconds)


def _begun(path: Path, task: Task) -> list[dict[str, float]]:
    """The history of the checkpoint, if it is of this training."""
    job, tree = checkpoint.read(path)
    for name, value in task.job.items():
        if job.get(name) != value:
            raise StorageError(
                f"the checkpoint {path} is of another training: its {name} {_differs(job.get(name), value)}; "
                "name another --out, or move it away"
            )
    found: list[dict[str, float]] = tree["history"]
    return found


def _differs(was: Any, value: Any) -> str:
    """In which entries, or that it is the one and not the other."""
    if isinstance(was, dict) and isinstance(value, dict):
        names = [name for name in {**was, **value} if was.get(name) != value.get(name)]
        return f"differs in {', '.join(names):.60}"
    return f"is {was!s:.40}, not {value!s:.40}"


def _train(task: Task, begun: Path | None, rank: int = 0) -> None:
    """rank: of the processes of several devices, this one's number."""
    with _quiet():
        machine, split = task.machine, task.split
        order = Order(
            len(split.training.rows),
            task.recipe.batch,
            derive_seed(task.seed, "images"),
            rank,
            len(machine.devices),
        )
        torch.manual_seed(derive_seed(task.seed, "start") & ((1 << 63) - 1))
        learner = Learner(
            task.network,
            task.recipe,
            steps=len(order),
            classes=task.weights,
            augment=task.augment,
            theirs=task.theirs,
            images=torch.from_numpy(split.training.dataset.at(split.training.rows[:2]).images),
            outputs=task.outputs,
            seed=task.seed,
        )
        trainer = pl.Trainer(
            **machine.trainer(),
            max_epochs=task.recipe.epochs,
            gradient_clip_val=task.recipe.clip,
            callbacks=[_Watch(task, len(order))],
            plugins=[checkpoint.Safetensors(task.job), *_cluster(machine.devices)],
            logger=_loggers(task),
            default_root_dir=str(task.folder),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        batches = training_batches(split.training, order, machine.workers)
        trainer.fit(learner, batches, ckpt_path=None if begun is None else str(begun))


def _cluster(devices: Sequence[str]) -> list[Any]:
    """Of several devices: our own processes, whatever batch system has started us."""
    return [LightningEnvironment()] if len(devices) > 1 else []


def _loggers(task: Task) -> Any:
    if not task.tensorboard:
        return False
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(str(task.folder), name="", version="")


class _Watch(pl.Callback):
    """Between epochs: judges, records, saves; on the way: says how far it is."""

    def __init__(self, task: Task, steps: int) -> None:
        self._task, self._steps = task, steps
        judging = task.split.judging
        chosen = np.random.default_rng(0).permutation(len(judging.rows))[:GLANCE]
        glance = Part(judging.dataset, judging.rows[chosen], judging.labels[chosen])
        workers = task.machine.workers
        self._glance = judging_batches(glance, workers)
        stopping = task.split.stopping
        self._stopping = None if stopping is None else judging_batches(stopping, workers)
        self._since = 0.0

    def on_train_epoch_start(self, trainer: Any, learner: Any) -> None:
        self._since = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, learner: Any, outputs: Any, batch: Any, number: int) -> None:
        done = trainer.current_epoch * self._steps + number + 1
        self._task.progress(done, self._task.recipe.epochs * self._steps)

    def on_train_epoch_end(self, trainer: Any, learner: Any) -> None:
        row: dict[str, float] = {"epoch": trainer.current_epoch + 1} | learner.learned()
        row["seconds"] = time.perf_counter() - self._since
        row["accuracy"] = accuracy(trainer, learner, self._glance)
        if self._stopping is not None:
            row["stopping_accuracy"] = accuracy(trainer, learner, self._stopping)
        row = trainer.strategy.broadcast(row)  # several devices end together
        learner.history.append(row)
        if trainer.is_global_zero:
            self._record(trainer, learner, row)
        trainer.save_checkpoint(str(self._task.folder / CHECKPOINT))
        trainer.should_stop = _stops(learner.history, self._task.patience)
        self._task.kept(self._task.folder / CHECKPOINT, f"{len(learner.history)} epochs")
        if trainer.is_global_zero:
            self._say(row)

    def _record(self, trainer: Any, learner: Any, row: dict[str, float]) -> None:
        task = self._task
        if self._stopping is not None and _best(learner.history) == len(learner.history) - 1:
            checkpoint.write(task.folder / BEST, {"state_dict": learner.state_dict()}, task.job)
        try:
            paths.replace(task.folder / METRICS, table(learner.history))
        except OSError as error:
            raise StorageError(
                f"the metrics {task.folder / METRICS} cannot be written ({paths.reason(error)}): what was "
                "saved before is kept, and the same command goes on from there"
            ) from error
        for logger in trainer.loggers:
            numbers = {name: value for name, value in row.items() if name != "epoch"}
            logger.log_metrics(numbers, step=int(row["epoch"]))

    def _say(self, row: dict[str, float]) -> None:
        task = self._task
        count = min(len(task.split.judging.rows), GLANCE)
        task.report(
            f"{task.name}epoch {int(row['epoch'])} of {task.recipe.epochs}: loss {row['loss']:.3f}, "
            f"{row['accuracy']:.1%} of {count:,} images right"
        )


def accuracy(trainer: pl.Trainer, learner: Learner, batches: Any) -> float:
    """Share of the images of whose class the network is right, at the precision of the training."""
    was = learner.training
    learner.eval()
    right = images = 0
    with torch.inference_mode(), trainer.precision_plugin.forward_context():
        for each, labels in batches:
            found = learner(each.to(learner.device)).argmax(1).cpu()
            right += int((found == labels).sum())
            images += len(labels)
    learner.train(was)
    return right / images


def _best(history: Sequence[Mapping[str, float]]) -> int:
    """The first of the epochs whose stopping accuracy none beats."""
    found: NDArray[np.float64] = np.array([row["stopping_accuracy"] for row in history])
    return int(found.argmax())


def _stops(history: Sequence[Mapping[str, float]], patience: int | None) -> bool:
    return patience is not None and bool(history) and len(history) - 1 - _best(history) >= patience


def table(history: Sequence[Mapping[str, float]]) -> bytes:
    """CSV, a row per epoch."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
    return text.getvalue().encode()


def augmentation(recipe: Recipe, preprocess: Preprocess) -> Augment:
    """What the recipe does to images that were made like that."""
    if preprocess.mean is None or preprocess.std is None:
        return Augment(recipe, None, None)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocess.mean, preprocess.std))
    return Augment(recipe, mean, std)


@contextmanager
def _quiet() -> Iterator[None]:
    """What Lightning says of GPUs, workers and logs is said here already, or is no concern of a user's."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
