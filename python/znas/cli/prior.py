"""`znas-engine prior`: fit, show, check"""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from znas import priors
from znas.cli import options
from znas.cli.console import progress_bar, remark
from znas.priors.check import checked, rank_check
from znas.priors.random import fit_random
from znas.priors.table import fit_table
from znas.settings import SearchSettings, available_threads
from znas.tables import read_table
from znas_engine import __version__
from znas_engine.backends import get_backend
from znas_engine.data import load
from znas_engine.errors import InvalidValueError, StorageError, unknown_choice
from znas_engine.scores import get_score
from znas_engine.spaces import get_space, resize

prior = typer.Typer(help="D(Z): fit, show and check what is known of every neuron.", rich_markup_mode=None)

SOURCES = ("random", "table")
Table = Annotated[
    Path | None, typer.Option(help="CSV of architectures and accuracies: what to fit, or to check against.")
]
Column = Annotated[str | None, typer.Option(help="Column of the table; its first numeric one by default.")]


@prior.command()
def fit(
    out: Annotated[Path, typer.Option(help="The JSON file to write; an existing one is refused.")],
    source: Annotated[
        str,
        typer.Option(
            help="random (scores of random supernets over many environments) | table (your results)."
        ),
    ] = "random",
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    score: options.Score = "naswot",
    envs: options.Envs = 16,
    images: options.Images = 64,
    norm: options.Norm = "calibrated",
    init: options.Init = "gaussian",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    table: Table = None,
    column: Column = None,
    quiet: options.Quiet = False,
) -> None:
    """Learn mean and variance of every neuron's score.

    A killed random fit goes on where it stopped when the same command is given again. With --table, a random
    prior is checked against its accuracies (which never enter it); a table prior is fitted to one half of the
    table, chosen by the seed, and checked on the other.

    \b
    Examples:
      znas-engine prior fit --out prior.json --envs 32 --table nasbench201.csv
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
        "created": date.today().isoformat(),
        "seed": seed,
    }
    if source == "table":
        if truth is None:
            raise InvalidValueError("--source table needs --table FILE")
        name, accuracies = truth.column(column)
        order = np.random.default_rng(seed).permutation(len(accuracies))
        fitted, held_out = np.array_split(order, 2)
        masks = truth.masks(searched)
        facts |= {"table": truth.path.name, "column": name, "architectures": len(fitted)}
        found = fit_table(searched, masks[fitted], accuracies[fitted], provenance=facts)
        check = rank_check(found, masks[held_out], accuracies[held_out], truth=f"table:{name}, held-out half")
    else:
        settings = SearchSettings(
            space=space,
            data=data,
            data_dir=data_dir,
            backend=backend,
            score=score,
            images=images,
            norm=norm,
            init=init,
            seed=seed,
            threads=available_threads() if threads is None else threads,
        )
        dataset = load(data, data_dir=data_dir, resolution=resolution)
        macro = resize(
            searched.search_macro(resolution=dataset.resolution, classes=dataset.classes),
            channels=channels,
            cells=cells,
        )
        kind = get_backend(settings.backend)
        facts |= {
            "data": dataset.origin,
            "images": images,
            "environments": envs,
            "norm": norm,
            "init": init,
            "backend": kind.name,
            "supernet": {"channels": macro.channels, "cells": macro.cells, "resolution": macro.resolution},
        }
        work = out.with_suffix(out.suffix + ".work")
        with progress_bar("masked passes", quiet=quiet) as progress:
            found = fit_random(
                kind(searched, macro, norm=norm, threads=settings.threads, report=remark),
                dataset,
                score=get_score(score),
                environments=envs,
                images=images,
                init=init,
                seed=seed,
                provenance=facts,
                work=work,
                progress=progress,
            )
        if truth is None:
            check = None
        else:
            name, accuracies = truth.column(column)
            check = rank_check(found, truth.masks(searched), accuracies, truth=f"table:{name}")
    if check is not None:
        found = checked(found, check)
    priors.save(found, out)
    if source == "random":
        work.unlink(missing_ok=True)
    typer.echo(f"{out}: prior of {found.score} for {found.space} ({source})")
    typer.echo(_verdict(found))


@prior.command()
def show(
    file: Annotated[str, typer.Argument(help="A prior file, or 'shipped'.")],
    space: options.Space = "nasbench201",
    plot: Annotated[Path | None, typer.Option(help="Write a picture of it, PNG.")] = None,
    as_json: options.Json = False,
) -> None:
    """Print a prior: mean and deviation of every neuron, where it comes from, how it ranks."""
    found = priors.load(_file(file, space))
    if plot is not None:
        from znas.priors.plot import plot as draw

        draw(found, plot)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=1))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table as RichTable

    searched = get_space(found.space)
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    rows = RichTable("edge", *searched.operations, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for e, edge in enumerate(searched.edges):
        cells = [
            "" if np.isnan(mean) else f"{mean:.4g} ± {np.sqrt(variance):.2g}"
            for mean, variance in zip(found.mean[e], found.variance[e], strict=True)
        ]
        rows.add_row(edge.label, *cells)
    console.print(
        f"{found.score} on {found.space}: {json.dumps(found.provenance)}", markup=False, soft_wrap=True
    )
    console.print(rows)
    console.print(_verdict(found))


@prior.command()
def check(
    file: Annotated[str, typer.Argument(help="A prior file, or 'shipped'.")],
    table: Annotated[Path, typer.Option(help="CSV of held-out architectures and accuracies.")],
    space: options.Space = "nasbench201",
    column: Column = None,
    record: Annotated[bool, typer.Option("--record", help="Write the verdict into the file.")] = False,
    as_json: options.Json = False,
) -> None:
    """Say whether a prior ranks architectures better than chance; exits with 1 if it does not.

    A prior fitted to a table is not checked again on the same one: half of it was what it learnt.
    """
    path = _file(file, space)
    found = priors.load(path)
    truth = read_table(table, get_space(found.space))
    if found.provenance.get("source") == "table" and found.provenance.get("table") == truth.path.name:
        raise InvalidValueError(
            f"the prior {path} was fitted to {truth.path.name}: check it on another table"
        )
    name, accuracies = truth.column(column)
    verdict = rank_check(found, truth.masks(get_space(found.space)), accuracies, truth=f"table:{name}")
    found = checked(found, verdict)
    if record:
        priors.save(found, Path(path))
    typer.echo(json.dumps(found.check, indent=1) if as_json else _verdict(found))
    if not verdict.passed:
        raise typer.Exit(1)


def _file(file: str, space: str) -> str | Path:
    if file != "shipped":
        return file
    path = priors.shipped(get_space(space).name)
    if path is None:
        raise InvalidValueError(f"no prior is shipped for {space}")
    return path


def _verdict(found: priors.Prior) -> str:
    if found.check is None:
        return "never checked on held-out architectures: search will refuse it unless forced"
    word = "ranks better than chance" if found.check["passed"] else "does NOT rank better than chance"
    return (
        f"{word}: Spearman {found.check['spearman']:.3f}, Kendall {found.check['kendall']:.3f}, "
        f"one-sided p {found.check['p_value']:.2g} over {found.check['architectures']:,} architectures "
        f"({found.check['truth']})"
    )
