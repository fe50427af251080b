"""D(Z) as the paper has it: the accuracies of a one-shot supernet, trained once for the folder of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from znas import priors
from znas.files import work_file
from znas.hooks import Hooks
from znas.priors.base import TABLE_SCORE
from znas.priors.check import RankCheck, rank_check
from znas.priors.one_shot import fit_one_shot
from znas.reproduce.folder import ONE_SHOT, checkpoint
from znas.reproduce.rows import prior_path, proxied
from znas.request import SHIPPED
from znas.setup import Setup
from znas_engine import paths
from znas_engine.data import Dataset
from znas_engine.errors import InvalidValueError
from znas_engine.progress import Progress, unheard
from znas_engine.spaces import SearchSpace
from znas_engine.tables import Table


@dataclass(frozen=True, slots=True)
class Training:
    """A few minutes on one core.

    images: at most, balanced; one half trains, the other validates. pixels: of a side, at most. batches,
    validated: how many batches of how many images the accuracies are of.
    """

    images: int = 9000
    pixels: int = 16
    epochs: int = 30
    batch: int = 64
    learning_rate: float = 0.1
    masks: str = "paths"
    batches: int = 8
    validated: int = 512


def place(out: Path, space: SearchSpace[Any], prior: str) -> Path:
    """The file of the one-shot prior: `prior` if that is one of accuracy, the folder's own otherwise."""
    given = None if prior == SHIPPED else prior_path(space, prior)
    if given is not None and priors.load(given, space).score == TABLE_SCORE:
        return given
    return out / ONE_SHOT


def found(setup: Setup, path: Path, out: Path, progress: Progress) -> priors.Prior:
    """The prior of that `place`; the folder's own is trained where it is not there."""
    own = path == out / ONE_SHOT
    return trained(setup, path, progress=progress) if own else priors.load(path, setup.space)


def trained(
    setup: Setup, path: Path, training: Training | None = None, progress: Progress = unheard
) -> priors.Prior:
    """The folder's own prior: what is there, or what is trained now, on one thread, and saved.

    setup: what all rows share. A killed training goes on. InvalidValueError where what is there was trained
    otherwise, or where images have no labels; StorageError.
    """
    training = training or Training()
    small = _small(setup, training)
    count = min(training.images, _balanced(small.dataset))
    facts = {
        **{"source": "one-shot", "seed": setup.seed, "data": small.dataset.identity},
        **{"supernet": asdict(small.macro), "training": asdict(training) | {"images": count}},
    }
    if paths.is_file(path):
        found = priors.load(path, setup.space)
        for name, value in facts.items():
            if (there := found.provenance.get(name)) != value:
                raise InvalidValueError(
                    f"{path} is of another training: its {name} is {there}, not {value}; pass another --out, "
                    "or --prior with that file"
                )
        return found
    from znas_engine.supernet.training import Schedule

    return fit_one_shot(
        small.evaluator,
        small.dataset,
        score=small.scores[0],
        environments=training.batches,
        images=min(training.validated, count // 2),
        init=small.init,
        seed=setup.seed,
        training=training.masks,
        train_images=count,
        schedule=Schedule(
            epochs=training.epochs,
            batch=min(training.batch, count // 2),
            learning_rate=training.learning_rate,
        ),
        provenance=facts,
        work=work_file(path),
        checkpoint=checkpoint(path),
        threads=1,
        store=lambda found: priors.save(found, path),
        train_progress=progress,
    )


def remark(prior: priors.Prior, table: Table | None) -> str:
    """What the rows with this prior are worth: how it ranks the architectures of the table, by its first
    accuracy column."""
    how = prior.provenance.get("training")
    of = "" if not isinstance(how, dict) else f", {how['epochs']} epochs of {how['images'] // 2:,} images"
    if table is None:
        return f"one-shot prior{of}: not checked, without a table"
    found = check(prior, table)
    verdict = (
        "better than chance" if found.passed else "NO better than chance: its rows show no one-shot prior"
    )
    return (
        f"one-shot prior{of}: Spearman {found.spearman:.3f}, Kendall {found.kendall:.3f} over "
        f"{found.architectures:,} architectures of {found.truth}, {verdict}"
    )


def check(prior: priors.Prior, table: Table) -> RankCheck:
    """How it ranks the architectures of the table."""
    name, accuracies = table.column(None)
    return rank_check(prior, table.masks(prior.space), accuracies, truth=f"table:{name}")


def _small(setup: Setup, training: Training) -> Setup:
    """The supernet of single architectures, small images, and the accuracy under the batch's statistics."""
    pixels = min(training.pixels, setup.dataset.resolution)
    request = replace(
        proxied(setup.request), score="accuracy", norm="batch", resolution=pixels, supernet_resolution=pixels
    )
    return Setup(request, Hooks(alone=False))


def _balanced(dataset: Dataset) -> int:
    """How many images can be drawn with every class as often."""
    labels = dataset.labels()
    assert labels is not None  # the score asks for them
    return int(np.bincount(labels, minlength=dataset.classes).min()) * dataset.classes
