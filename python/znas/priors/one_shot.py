"""A prior from a one-shot supernet: trained by weight sharing, then validated under interventions.

"The mean and variance coefficients [...] are derived by sampling validation accuracy of one-shot prior"
(section 3.3): half of the drawn images train the supernet, the other half gives as many validation batches as
environments are asked for, and the moments are those over the batches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from znas import jobs
from znas.priors.base import Prior
from znas.priors.environments import Store, check_environments, fit_environments
from znas_engine.arguments import choice
from znas_engine.data import Batch, Dataset
from znas_engine.environment import Environment, derive_seed
from znas_engine.errors import InvalidValueError
from znas_engine.evaluator import Evaluator
from znas_engine.progress import Progress, unheard
from znas_engine.scores import Score
from znas_engine.spaces import Mask, SearchSpace

if TYPE_CHECKING:
    from znas_engine.supernet.training import Schedule


def _random_path(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    """path(a) of an architecture drawn uniformly."""
    return space.random_path(rng)


def _mixture(space: SearchSpace[Any], rng: np.random.Generator) -> Mask:
    return space.mixture()


#: How the weights are shared: the mask of one training step.
TRAININGS: dict[str, Callable[[SearchSpace[Any], np.random.Generator], Mask]] = {
    "paths": _random_path,
    "mixture": _mixture,
}


def fit_one_shot(
    evaluator: Evaluator,
    dataset: Dataset,
    *,
    score: Score,
    environments: int,
    images: int,
    init: str,
    seed: int,
    training: str,
    train_images: int,
    schedule: Schedule,
    provenance: dict[str, Any],
    work: Path,
    checkpoint: Path,
    threads: int | None = None,
    store: Store | None = None,
    train_progress: Progress = unheard,
    progress: Progress = unheard,
) -> Prior:
    """Trains on half of `train_images` balanced images, then observes every neuron on the other half.

    images: of one validation batch. training: "paths" or "mixture". The job is resumable, training through
    `checkpoint`, validation through `work`; with `store` (see `fit_environments`) both are removed in the
    end. threads: of training, on which weights depend; None for those of the run that began it.

    Raises InvalidValueError for a data set without labels, batches larger than half of `train_images`, fewer
    than 2 environments, or files of another job; StorageError for a `checkpoint` that is none.
    """
    from znas_engine.supernet.training import split, train

    _check(training, images, train_images, environments, work)
    begun = begun_with(checkpoint)  # looked at whatever was asked for
    fitted, held_out = split(dataset.batch(train_images, seed=derive_seed(seed, "one-shot", "images")))
    start = Environment(derive_seed(seed, "one-shot", "weights"), init, fitted)
    identity = _images(dataset, train_images) | {"init": init, "seed": seed, "training": training}
    identity |= {"schedule": asdict(schedule), "threads": (threads := threads or begun or evaluator.threads)}
    weights = train(
        *(evaluator.graph, start, schedule),
        draw_mask=lambda rng: TRAININGS[training](evaluator.space, rng),
        identity=identity | _network(evaluator),
        threads=threads,
        checkpoint=checkpoint,
        progress=train_progress,
    )
    found = fit_environments(
        evaluator,
        _trained(start, weights, (_validation(held_out, images, seed, k) for k in range(environments))),
        score=score,
        identity=identity | {"images": images, "weights": _digest(weights)},
        provenance=provenance,
        work=work,
        store=store,
        progress=progress,
    )
    if store is not None:
        _remove(checkpoint)
    return found


def _remove(checkpoint: Path) -> None:
    """If it is one."""
    from znas_engine.supernet.checkpoint import identity_of

    if identity_of(checkpoint) is not None:
        checkpoint.unlink()


def _digest(weights: Mapping[str, NDArray[np.float32]]) -> str:
    return hashlib.sha256(b"".join(weights[name].tobytes() for name in sorted(weights))).hexdigest()


def begun_with(checkpoint: Path) -> int | None:
    """The number of threads of the training whose checkpoint this is; None where there is none.

    Raises StorageError for what is there and is no checkpoint: it is left as it is.
    """
    from znas_engine.supernet.checkpoint import identity_of

    threads = (identity_of(checkpoint) or {}).get("threads")
    return threads if isinstance(threads, int) and threads > 0 else None  # else `train` says what is wrong


def _images(dataset: Dataset, count: int) -> dict[str, Any]:
    """Which are trained and validated on."""
    return {
        "source": "one-shot",
        "data": jobs.images(dataset),
        "data_code": jobs.code(dataset),
        "train_images": count,
    }


def _network(evaluator: Evaluator) -> dict[str, Any]:
    """What is trained, beside images and settings."""
    space = evaluator.space
    return {
        "space": space.name,
        "macro": asdict(evaluator.macro),
        "network": jobs.network(evaluator.graph),
        "code": jobs.code(space, packages=["torch"]),
    }


def _check(training: str, images: int, train_images: int, environments: int, work: Path) -> None:
    check_environments(environments)
    jobs.check_work(work)
    choice("training", training, TRAININGS)
    if images > train_images // 2:
        raise InvalidValueError(
            f"`images` must be at most half of the {train_images} `train_images` but got {images}"
        )


def _trained(
    start: Environment, weights: Mapping[str, NDArray[np.float32]], batches: Iterator[Batch]
) -> list[Environment]:
    from znas_engine.supernet.training import Trained

    init = f"trained-{_digest(weights)[:32]}"
    return [Trained(start.seed, init, batch, weights) for batch in batches]


def _validation(held_out: Batch, images: int, seed: int, number: int) -> Batch:
    """One of the validation batches."""
    rows = np.random.default_rng(derive_seed(seed, "one-shot", "validation", number))
    index = np.sort(rows.permutation(len(held_out.images))[:images])
    labels = None if held_out.labels is None else held_out.labels[index]
    return Batch(np.ascontiguousarray(held_out.images[index]), labels)
