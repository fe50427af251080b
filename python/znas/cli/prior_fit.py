"""`znas-engine prior fit`"""

from __future__ import annotations

from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from znas import priors
from znas.cli import options
from znas.cli.console import progress_bar, remark
from znas.priors.check import RankCheck, checked, rank_check
from znas.priors.one_shot import TRAININGS, fit_one_shot
from znas.priors.random import fit_random
from znas.priors.table import fit_table
from znas.settings import SearchSettings, available_threads
from znas.tables import Table, read_table
from znas_engine import __version__, kernels
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.errors import InvalidValueError, StorageError, unknown_choice
from znas_engine.scores import get_score
from znas_engine.spaces import SearchSpace, get_space

SOURCES = ("random", "one-shot", "table")


def fit(
    out: Annotated[Path, typer.Option(help="The JSON file to write; an existing one is refused.")],
    source: Annotated[
        str,
        typer.Option(
            help="random (scores of random supernets over many environments) | one-shot (a supernet trained "
            "by weight sharing, validated on held-out images) | table (your results)."
        ),
    ] = "random",
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "default",
    score: Annotated[
        str | None, typer.Option(help="Score function; naswot for random, accuracy for one-shot supernets.")
    ] = None,
    envs: Annotated[
        int, typer.Option(help="Environments: random supernets, or validation batches of the one-shot one.")
    ] = 16,
    images: options.Images = 64,
    norm: Annotated[
        str | None,
        typer.Option(
            help="calibrated | batch | identity; calibrated for random, batch for one-shot supernets."
        ),
    ] = None,
    init: options.Init = "gaussian",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    training: Annotated[
        str, typer.Option(help=f"Masks of the one-shot training: {' | '.join(TRAININGS)}.")
    ] = "paths",
    epochs: Annotated[int, typer.Option(help="Of the one-shot training.")] = 50,
    batch: Annotated[int, typer.Option(help="Images per step of the one-shot training.")] = 64,
    learning_rate: Annotated[
        float, typer.Option(help="At the start of the one-shot training; it ends at 0.")
    ] = 0.025,
    train_images: Annotated[
        int, typer.Option(help="Images of the one-shot supernet: one half trains, the other validates.")
    ] = 8192,
    table: options.Table = None,
    column: options.Column = None,
    quiet: options.Quiet = False,
) -> None:
    """Learn mean and variance of every neuron's score.

    A killed fit goes on where it stopped when the same command is given again. With --table, a random or
    one-shot prior is checked against its accuracies (which never enter it); a table prior is fitted to one
    half of the table, chosen by the seed, and checked on the other.

    \b
    Examples:
      znas-engine prior fit --out prior.json --envs 32 --table nasbench201.csv
      znas-engine prior fit --source one-shot --data cifar10 --data-dir ~/data --cells 1 --out one-shot.json
      znas-engine prior fit --source table --table results.csv --out prior.json
    """
    if source not in SOURCES:
        raise unknown_choice("source", source, SOURCES)
    if out.exists():
        raise StorageError(f"the output file {out} exists already; name another one or remove it")
    searched = get_space(space)
    truth = None if table is None else read_table(table, searched)
    facts: dict[str, Any] = {
        "source": source,
        "znas": __version__,
        "commit": kernels.commit(),
        "created": date.today().isoformat(),
        "seed": seed,
    }
    if source == "table":
        found, check = _fit_table(searched, truth, column, seed, facts)
        leftovers: list[Path] = []
    else:
        trained = source == "one-shot"
        settings = SearchSettings(
            space=space,
            data=data,
            data_dir=data_dir,
            backend=backend,
            device=device,
            score=score or ("accuracy" if trained else "naswot"),
            images=images,
            norm=norm or ("batch" if trained else "calibrated"),
            init=init,
            seed=seed,
            threads=available_threads() if threads is None else threads,
        )
        if "+" in settings.score:
            raise InvalidValueError(f"a prior is of one score but got {settings.score!r}: fit one for each")
        if settings.remark is not None:
            remark(settings.remark)
        dataset = load(data, data_dir=data_dir, resolution=resolution)
        macro = searched.macro_for(dataset, channels=channels, cells=cells)
        kind = get_backend(settings.backend)
        evaluator = kind(
            searched,
            macro,
            norm=settings.norm,
            devices=settings.devices,
            threads=settings.threads,
            report=remark,
        )
        facts |= {
            "data": dataset.origin,
            "images": images,
            "environments": envs,
            "norm": settings.norm,
            "init": init,
            "backend": kind.record.name,
            "device": settings.device,
            "supernet": {"channels": macro.channels, "cells": macro.cells, "resolution": macro.resolution},
        }
        work = out.with_suffix(out.suffix + ".work")
        leftovers = [work]
        with ExitStack() as bars:
            common: dict[str, Any] = {
                "score": get_score(settings.score),
                "environments": envs,
                "images": images,
                "init": init,
                "seed": seed,
                "work": work,
            }
            if trained:
                from znas_engine.supernet.training import Schedule

                checkpoint = out.with_suffix(out.suffix + ".checkpoint")
                leftovers.append(checkpoint)
                facts |= {
                    "training": training,
                    "epochs": epochs,
                    "batch": batch,
                    "learning_rate": learning_rate,
                    "train_images": train_images,
                    "threads": settings.threads,
                }
                found = fit_one_shot(
                    evaluator,
                    dataset,
                    training=training,
                    train_images=train_images,
                    schedule=Schedule(epochs=epochs, batch=batch, learning_rate=learning_rate),
                    provenance=facts,
                    checkpoint=checkpoint,
                    train_progress=bars.enter_context(progress_bar("training steps", quiet=quiet)),
                    progress=bars.enter_context(progress_bar("masked passes", quiet=quiet)),
                    **common,
                )
            else:
                progress = bars.enter_context(progress_bar("masked passes", quiet=quiet))
                found = fit_random(evaluator, dataset, provenance=facts, progress=progress, **common)
        check = None
        if truth is not None:
            name, accuracies = truth.column(column)
            check = rank_check(found, truth.masks(searched), accuracies, truth=f"table:{name}")
    if check is not None:
        found = checked(found, check)
    priors.save(found, out)
    for file in leftovers:
        file.unlink(missing_ok=True)
    typer.echo(f"{out}: prior of {found.score} for {found.space} ({source})")
    typer.echo(verdict_line(found))


def _fit_table(
    space: SearchSpace[Any], truth: Table | None, column: str | None, seed: int, facts: dict[str, Any]
) -> tuple[priors.Prior, RankCheck]:
    """One half of the table is learnt, the other judges."""
    if truth is None:
        raise InvalidValueError("--source table needs --table FILE")
    name, accuracies = truth.column(column)
    order = np.random.default_rng(seed).permutation(len(accuracies))
    fitted, held_out = np.array_split(order, 2)
    masks = truth.masks(space)
    facts = facts | {"table": truth.path.name, "column": name, "architectures": len(fitted)}
    found = fit_table(space, masks[fitted], accuracies[fitted], provenance=facts)
    return found, rank_check(
        found, masks[held_out], accuracies[held_out], truth=f"table:{name}, held-out half"
    )


def verdict_line(found: priors.Prior) -> str:
    """Whether the prior ranks better than chance, in words."""
    if found.check is None:
        return "never checked on held-out architectures: search will refuse it unless forced"
    word = "ranks better than chance" if found.check["passed"] else "does NOT rank better than chance"
    return (
        f"{word}: Spearman {found.check['spearman']:.3f}, Kendall {found.check['kendall']:.3f}, "
        f"one-sided p {found.check['p_value']:.2g} over {found.check['architectures']:,} architectures "
        f"({found.check['truth']})"
    )
