"""`znas.train`: from what was found to a file that classifies, beside networks that everybody knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from znas import jobs
from znas.files import check_new, write_folder
from znas.hooks import QUIET, Report
from znas.notebook import shown
from znas.result import SearchResult
from znas.run_folder import source_files
from znas.training.result import RESULT, Row, TrainingResult
from znas.training.settings import Asked, Settings, on_images
from znas.vision import is_reference
from znas_engine import __version__, paths
from znas_engine.environment import derive_seed
from znas_engine.progress import Progress
from znas_engine.spaces import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor, nn

    from znas.training.entrants import Entrant, Packed
    from znas.training.fit import Fitted
    from znas.training.images import Split
    from znas.training.subject import Subject
    from znas.training.task import Task

#: The comparison, an epoch a row, the weights, the file that classifies, and how it is fed; of each baseline
#: NAME.onnx and NAME.safetensors.
FILES = (RESULT, "metrics.csv", "weights.safetensors", "model.onnx", "architecture.py", "preprocess.json")


def train(
    what: str | Path | SearchResult,
    out: str | Path,
    *,
    space: str | SearchSpace[Any] | None = None,
    data: Any = None,
    data_dir: str | Path | None = None,
    val_dir: str | Path | None = None,
    resolution: int | None = None,
    channels: int | None = None,
    cells: int | None = None,
    progress: Progress = QUIET.progress,
    report: Report = QUIET.report,
    **asked: Unpack[Asked],
) -> TrainingResult:
    """Trains what a search found; writes a new folder with the weights, the deployed file and a comparison.

        znas.train("runs/first", "runs/first-trained", data_dir="data", baselines=["resnet20"])

    what: a run folder, its result, or (with `space`) an architecture as its community writes it. out: a new
    folder, `FILES`; while it lasts, checkpoints lie in OUT.work, and the same call goes on from the last one,
    on a CPU to the weights of an unbroken training. space: of an architecture; of a run, see `znas.load`.
    data, data_dir, resolution: the images, as for a search; by default those of the run. val_dir: a folder of
    images to judge by; by default what lies beside the others and is kept from searches, else a tenth of
    them. channels, cells: another size of network. progress: called with (batches done, all of them), of all
    trainings. asked: see `Asked`.

    Raises:
        MissingDependencyError: without lightning (pip install 'znas-engine[train]').
        ZnasError: anything that does not fit, before the first step; a loss that is no number, a full disk:
            the last checkpoint is kept then.
    """
    folder = paths.named(out, "`out`")
    check_new(folder)
    settings = Settings.of(asked)
    from znas.training.subject import subject

    place: dict[str, Any] = {"data_dir": data_dir, "val_dir": val_dir}
    size: dict[str, Any] = {"resolution": resolution, "channels": channels, "cells": cells}
    about = subject(what, space, data, **place, **size, report=report)
    with shown("batches", progress) as told:
        return _Trainings(about, settings, settings.facts(), told, report).run(folder)


@dataclass(slots=True)
class _Trainings:
    """All trainings that were asked for, one after another."""

    about: Subject
    settings: Settings
    facts: dict[str, Any]  # of the settings, before anything of them was called
    progress: Progress
    report: Report
    notes: list[str] = field(default_factory=list)

    def run(self, out: Path) -> TrainingResult:
        """Trains, packs, writes."""
        from znas.training.entrants import entrants, of_space
        from znas.training.work import work_folder

        about, settings = self.about, self.settings
        preprocess = about.dataset.preprocessing()
        first = of_space("found", about.space, about.genotype, about.macro, preprocess)
        all_ = entrants(
            first,
            list(settings.baselines),
            space=about.space,
            macro=about.macro,
            preprocess=preprocess,
            seed=settings.seeds[0],
        )
        split = self._split()
        rows: list[Row] = []
        files: dict[str, bytes] = {}
        with work_folder(out) as work, _threads(settings.threads):
            for number, entrant in enumerate(all_):
                for seed in settings.seeds:
                    done = number * len(settings.seeds) + seed - settings.seeds[0]
                    total = len(all_) * len(settings.seeds)
                    row, made = self._one(entrant, seed, split, work, done, total)
                    rows.append(row)
                    if seed == settings.seeds[0]:
                        files |= made
            found = self._result(out, rows, split)
            files[RESULT] = (found.to_json() + "\n").encode()
            files |= self._logs(work)
            write_folder(out, files)
        return found

    def _split(self) -> Split:
        from znas.training.images import split
        from znas.training.subject import check_classes

        found = split(
            self.about.dataset,
            self.about.judging,
            early=self.settings.patience is not None,
            seed=self.settings.seeds[0],
            note=self._note,
        )
        check_classes(found.judging, self.about.macro.classes)
        return found

    def _note(self, line: str) -> None:
        self.notes.append(line)
        self.report(line)

    def _one(
        self, entrant: Entrant, seed: int, split: Split, work: Path, done: int, total: int
    ) -> tuple[Row, dict[str, bytes]]:
        """One training of one network: what came of it, and its files. done, total: trainings."""
        from znas.training.fit import fit
        from znas.training.subject import judged

        task = self._task(entrant, seed, split, work, done, total)
        fitted = fit(task)
        packed = entrant.pack(fitted.network, judged(split.judging, split.judging.dataset.origin))
        if not done:
            self.notes += packed.notes
        check = packed.check
        assert check.torch is not None
        assert check.onnx is not None
        row = Row(
            name=entrant.name,
            arch=entrant.arch,
            params=entrant.params,
            flops=entrant.flops,
            seed=seed,
            epochs=fitted.epochs,
            seconds=fitted.seconds,
            right=round(check.torch * check.images),
            images=check.images,
            deployed=round(check.onnx * check.images),
        )
        return row, self._files(entrant, fitted, packed)

    def _task(self, entrant: Entrant, seed: int, split: Split, work: Path, done: int, total: int) -> Task:
        import torch

        from znas.training.fit import augmentation
        from znas.training.task import Machine, Task
        from znas.training.work import folder_of

        settings, recipe = self.settings, self.settings.recipe
        preprocess = self.about.dataset.preprocessing()
        shown = augmentation(recipe, preprocess)
        torch.manual_seed(derive_seed(seed, "train", "weights") & ((1 << 63) - 1))
        return Task(
            folder=folder_of(work, f"{entrant.name}-{seed}"),
            job=self._job(entrant, seed),
            network=entrant.make(),
            recipe=recipe,
            split=split,
            outputs=self.about.macro.classes,
            augment=shown,
            machine=Machine(settings.devices, settings.precision, settings.threads),
            seed=seed,
            weights=_alike(split) if settings.class_weights else None,
            theirs=on_images(settings, shown, preprocess.scale),
            patience=settings.patience,
            tensorboard=settings.tensorboard,
            name="" if total == 1 else f"{entrant.name}, seed {seed}, ",
            progress=lambda batches, all_: self.progress(done * all_ + batches, total * all_),
            report=self.report,
        )

    def _job(self, entrant: Entrant, seed: int) -> dict[str, Any]:
        """What the weights depend on."""
        about, judging = self.about, self.about.judging
        packages = ["torch", "lightning", *(["torchvision"] if is_reference(entrant.name) else [])]
        return {
            "architecture": entrant.arch,
            "space": [about.space.name, *jobs.settings(about.space)],
            "size": asdict(about.macro),
            "images": jobs.images(about.dataset),
            "images to judge by": None if judging is None else jobs.images(judging.dataset),
            "seed": seed,
            "seed of what is set apart": self.settings.seeds[0],
            "code": jobs.code(about.space, about.dataset, self.settings.augment, packages=packages),
            **self.facts,
        }

    def _files(self, entrant: Entrant, fitted: Fitted, packed: Packed) -> dict[str, bytes]:
        from znas.training.fit import METRICS, table

        weights = _safetensors(fitted.network)
        if entrant.name != "found":
            return {f"{entrant.name}.onnx": packed.model, f"{entrant.name}.safetensors": weights}
        about = self.about
        return {
            METRICS: table(fitted.history),
            "weights.safetensors": weights,
            "model.onnx": packed.model,
        } | source_files(about.space, about.genotype, about.macro, about.dataset.preprocessing())

    def _logs(self, work: Path) -> dict[str, bytes]:
        """What TensorBoard reads, a folder per training."""
        return {
            f"tensorboard/{folder}/{name}": paths.read(work / folder / name, "the log", limit=1 << 30)
            for folder in paths.names(work, "the work folder")
            if paths.is_folder(work / folder, "the work folder")
            for name in paths.names(work / folder, "the work folder")
            if "tfevents" in name
        }

    def _result(self, out: Path, rows: list[Row], split: Split) -> TrainingResult:
        settings = self.settings
        learned = f"{len(split.training.rows):,} images of {self.about.dataset.origin}"
        return TrainingResult(
            out=out,
            recipe=settings.recipe,
            rows=tuple(rows),
            data=learned,
            learned=len(split.training.rows),
            judged=f"{len(split.judging.rows):,} images of {split.judging.dataset.origin}",
            machine={
                "devices": list(settings.devices),
                "precision": settings.precision,
                "threads": settings.threads,
            },
            notes=tuple(self.notes),
            versions={"znas-engine": __version__} | {name: version(name) for name in ("torch", "lightning")},
        )


def _alike(split: Split) -> Tensor:
    """Weights of the classes, float32 [classes], with which all count alike; 0 for one without images."""
    import torch

    counts = split.counts
    shares = counts.sum() / (np.count_nonzero(counts) * np.maximum(counts, 1)) * (counts > 0)
    return torch.from_numpy(shares.astype(np.float32))


def _safetensors(network: nn.Module) -> bytes:
    from safetensors.torch import save

    return save({name: each.contiguous() for name, each in network.state_dict().items()})


@contextmanager
def _threads(count: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
