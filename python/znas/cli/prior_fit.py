"""`znas-engine prior fit`"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from znas import jobs, priors
from znas.cli.console import progress_bar, reporter
from znas.cli.options import CLUSTER, DATA, MACHINE, SIZE, Column, Quiet, Table, asks, check_read, path
from znas.cli.parts import sharded
from znas.files import check_new, work_file
from znas.hooks import Hooks, Report
from znas.priors.check import FEWEST, RankCheck, checked, rank_check
from znas.priors.document import verdict
from znas.priors.environments import Store
from znas.priors.one_shot import TRAININGS, begun_with, fit_one_shot
from znas.priors.random import fit_random
from znas.priors.table import fit_table
from znas.request import Request
from znas.setup import Setup
from znas_engine import __version__, kernels, paths
from znas_engine.arguments import check_between, choice
from znas_engine.errors import InvalidValueError, StorageError
from znas_engine.spaces import SearchSpace, get_space
from znas_engine.tables import Table as TrainedTable
from znas_engine.tables import read_table

SOURCES = ("random", "one-shot", "table")

Out = Annotated[Path, typer.Option(parser=path, help="The JSON file to write; an existing one is refused.")]
Source = Annotated[
    str,
    typer.Option(
        help="random (naswot of random supernets over many environments, unless --score is given) | one-shot "
        "(accuracy of a supernet trained by weight sharing, on held-out images, under batch norm) | table "
        "(your results)."
    ),
]
Training = Annotated[str, typer.Option(help=f"Masks of the one-shot training: {' | '.join(TRAININGS)}.")]
Epochs = Annotated[int, typer.Option(help="Of the one-shot training.")]
Images = Annotated[int, typer.Option(help="Images per step of the one-shot training.")]
Rate = Annotated[float, typer.Option(help="At the start of the one-shot training; it ends at 0.")]
TrainImages = Annotated[
    int, typer.Option(help="Images of the one-shot supernet: one half trains, the other validates.")
]


#: Of supernets, of which a table has none.
SUPERNET = (*DATA, *MACHINE, *CLUSTER, "score", "envs", "images", "norm", "init", *SIZE)


@sharded
@asks(
    "space",
    *SUPERNET,
    "seed",
    preset="naswot",
    device="default",
    envs=16,
    images=64,
)
def fit(
    request: Request,
    out: Out,
    source: Source = "random",
    training: Training = "paths",
    epochs: Epochs = 50,
    batch: Images = 64,
    learning_rate: Rate = 0.025,
    train_images: TrainImages = 8192,
    table: Table = None,
    column: Column = None,
    quiet: Quiet = False,
) -> None:
    """Learn mean and variance of every neuron's score.

    A killed fit goes on where it stopped when the same command is given again. With --table, a random or
    one-shot prior is checked against its accuracies (which never enter it); a table prior is fitted to one
    half of the table, chosen by the seed, and checked on the other.

    \b
    Examples:
      znas-engine prior fit --out prior.json --table nb201.csv
      znas-engine prior fit --source one-shot --data cifar10 \\
        --data-dir ~/data --supernet-cells 1 --out one.json
      znas-engine prior fit --source table \\
        --table results.csv --out prior.json
    """
    choice("source", source, SOURCES)
    training_of = OneShot(training, epochs, batch, learning_rate, train_images)
    _check_read(request, source, training_of, column, of_table=table is not None)
    check_new(out)
    space = get_space(request.space)
    report = reporter(quiet=quiet)
    truth = None if table is None else _truth(table, space, column, report)
    facts: dict[str, Any] = {
        "source": source,
        "znas": __version__,
        "commit": kernels.commit(),
        "created": date.today().isoformat(),
        "seed": request.seed,
    }
    if source == "table":
        _store(*_fit_table(space, truth, column, request.seed, facts), out, report)
        return
    if truth is not None and len(truth.column(column)[1]) < FEWEST:
        raise InvalidValueError(
            f"a prior is checked on at least {FEWEST} architectures but {truth.path} has "
            f"{len(truth.genotypes)}"
        )

    def store(found: priors.Prior) -> None:
        check = None
        if truth is not None:
            name, accuracies = truth.column(column)
            check = rank_check(found, truth.masks(space), accuracies, truth=f"table:{name}")
        _store(found, check, out, report)

    _fit_supernets(
        request, training_of if source == "one-shot" else None, facts, out, store=store, quiet=quiet
    )


def _truth(file: Path, space: SearchSpace[Any], column: str | None, report: Report) -> TrainedTable:
    """The table, whose column is refused before the passes."""
    found = read_table(file, space, report=report)
    found.column(column)
    return found


def _check_read(
    request: Request, source: str, training: OneShot, column: str | None, *, of_table: bool
) -> None:
    """InvalidValueError for an option that this source does not read."""
    if source != "random":
        jobs.check_whole(f"--source {source} is of one process: leave --shard out")
    if source != "one-shot":
        check_read(fit, "is of a training: pass --source one-shot", **asdict(training))
    if source == "table":
        measured = {name: getattr(request, name) for name in SUPERNET}
        check_read(fit, "is of supernets, and a table is fitted alone: pass --source random", **measured)
    if not of_table:
        check_read(fit, "is of a table: pass --table FILE too", column=column)


def _store(found: priors.Prior, check: RankCheck | None, out: Path, report: Report) -> None:
    """Writes it and says so; what cannot be written is said all the same."""
    found = found if check is None else checked(found, check)
    said = f"prior of {found.score} for {found.space.name} ({found.provenance['source']})\n{verdict(found)}"
    try:
        priors.save(found, out)
    except StorageError:
        typer.echo(said)
        if paths.is_file(work_file(out)):
            report(
                f"the finished pieces stay in {work_file(out)}: the same command needs no pass again once "
                f"{out} can be written"
            )
        raise
    typer.echo(f"{out}: {said}")


@dataclass(frozen=True, slots=True)
class OneShot:
    """How a one-shot supernet is trained; the options of the same names."""

    training: str
    epochs: int
    batch: int
    learning_rate: float
    train_images: int

    def __post_init__(self) -> None:
        check_between("epochs", self.epochs, 1, 100_000)
        check_between("batch", self.batch, 1, 1_000_000)
        check_between("train_images", self.train_images, 2, 10_000_000)


def _fit_supernets(
    request: Request, one_shot: OneShot | None, facts: dict[str, Any], out: Path, *, store: Store, quiet: bool
) -> None:
    """store: is given the prior while its finished pieces still lie beside `out`."""
    usual = ("naswot", "calibrated") if one_shot is None else ("accuracy", "batch")
    request = replace(request, score=request.score or usual[0], norm=request.norm or usual[1])
    setup = Setup(request, Hooks(report=reporter(quiet=quiet)))
    if len(setup.scores) > 1:
        names = "+".join(score.name for score in setup.scores)
        raise InvalidValueError(f"a prior is of one score but got {names!r}: fit one for each")
    macro = setup.macro
    facts = facts | {
        "data": setup.dataset.origin,
        "images": setup.images,
        "environments": setup.envs,
        "norm": setup.norm,
        "init": setup.init,
        "backend": setup.backend,
        "device": ",".join(setup.devices),
        "supernet": {"channels": macro.channels, "cells": macro.cells, "resolution": macro.resolution},
    }
    common: dict[str, Any] = {
        "score": setup.scores[0],
        "environments": setup.envs,
        "images": setup.images,
        "init": setup.init,
        "seed": setup.seed,
        "work": work_file(out),
        "store": store,
    }
    with ExitStack() as bars:
        if one_shot is None:
            progress = bars.enter_context(progress_bar("masked passes", quiet=quiet))
            fit_random(setup.evaluator, setup.dataset, provenance=facts, progress=progress, **common)
            return
        from znas_engine.supernet.training import Schedule

        checkpoint = out.with_name(f"{out.name}.checkpoint")
        threads = request.threads or begun_with(checkpoint) or setup.threads
        fit_one_shot(
            setup.evaluator,
            setup.dataset,
            training=one_shot.training,
            train_images=one_shot.train_images,
            schedule=Schedule(
                epochs=one_shot.epochs, batch=one_shot.batch, learning_rate=one_shot.learning_rate
            ),
            provenance=facts | asdict(one_shot) | {"threads": threads},
            threads=threads,
            checkpoint=checkpoint,
            train_progress=bars.enter_context(progress_bar("training steps", quiet=quiet)),
            progress=bars.enter_context(progress_bar("masked passes", quiet=quiet)),
            **common,
        )


def _fit_table(
    space: SearchSpace[Any], truth: TrainedTable | None, column: str | None, seed: int, facts: dict[str, Any]
) -> tuple[priors.Prior, RankCheck]:
    """One half of the table is learnt, the other judges."""
    if truth is None:
        raise InvalidValueError("--source table needs --table FILE")
    name, accuracies = truth.column(column)
    order = np.random.default_rng(seed).permutation(len(accuracies))
    fitted, held_out = np.array_split(order, 2)
    masks = truth.masks(space)
    facts = facts | {"table": truth.path.name, "column": name, "architectures": len(fitted)}
    facts["content"] = truth.digest(name)
    found = fit_table(space, masks[fitted], accuracies[fitted], provenance=facts)
    return found, rank_check(
        found, masks[held_out], accuracies[held_out], truth=f"table:{name}, held-out half"
    )
