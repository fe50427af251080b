"""`znas-engine search`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from znas import api
from znas.cli import options
from znas.cli.console import progress_bar, remark, show
from znas.games import GAMES
from znas.interventions import INTERVENTIONS
from znas.interventions.probability import parse_p
from znas.presets import DEFAULT, PRESETS, settings_from
from znas.selection.aggregate import AGGREGATES
from znas.selection.strategies import ORDERS
from znas.settings import GAME_CHOICES, available_threads
from znas_engine import kernels


def search(
    space: options.Space = "nasbench201",
    data: options.Data = "gaussian",
    data_dir: options.DataDir = None,
    backend: options.Backend = "auto",
    device: options.Device = "auto",
    preset: Annotated[
        str,
        typer.Option(
            help=f"{' | '.join(PRESETS)}: what score, p, finalists, images, norm and cells are where they "
            "are not given."
        ),
    ] = DEFAULT,
    score: Annotated[str | None, options.SCORE] = None,
    p: Annotated[
        str | None,
        typer.Option(
            help="Probability that a score is drawn instead of measured: a number, 'auto' (Proposition 1), "
            "or one number per edge separated by commas."
        ),
    ] = None,
    intervention: Annotated[
        str, typer.Option(help=f"What is drawn: {' | '.join(INTERVENTIONS)}.")
    ] = "gaussian",
    prior: Annotated[
        str | None,
        typer.Option(
            help="What is believed of a score: a file of `prior fit`, or 'shipped'; neutral if absent."
        ),
    ] = None,
    force_prior: Annotated[
        bool, typer.Option("--force-prior", help="Use a prior that does not rank better than chance.")
    ] = False,
    prior_scale: Annotated[
        str, typer.Option(help="aligned (to what is observed) | raw (as it was fitted).")
    ] = "aligned",
    game: Annotated[
        str, typer.Option(help=f"{' | '.join(GAME_CHOICES)} (pairs of operations on different edges).")
    ] = "none",
    estimator: Annotated[str, typer.Option(help=f"Of Shapley values: {' | '.join(GAMES)}.")] = "auto",
    precision: Annotated[
        float | None, typer.Option(help="Stop a sampled game once every standard error is at most this.")
    ] = None,
    max_evaluations: Annotated[
        int | None, typer.Option(help="Coalitions of a sampled game, at most, per edge.")
    ] = None,
    selection: Annotated[
        str, typer.Option(help="algorithm1 (all edges at once) | sequential (decide, fix, go on).")
    ] = "algorithm1",
    order: Annotated[str, typer.Option(help=f"Of a sequential selection: {' | '.join(ORDERS)}.")] = "random",
    criterion: Annotated[
        str, typer.Option(help="keep (an operation alone on its edge) | leave-one-out (all but it).")
    ] = "keep",
    aggregate: Annotated[
        str,
        typer.Option(
            help=f"Over environments and scores: auto | {' | '.join(AGGREGATES)}; auto is mean for one "
            "score and log_rank for several."
        ),
    ] = "auto",
    finalists: Annotated[
        int | None,
        typer.Option(help="Compare this many of the best architectures as themselves at the end."),
    ] = None,
    race: Annotated[
        float | None,
        typer.Option(
            help="Measure images in chunks, and stop an edge when its winner is decided at this confidence "
            "(0.5 to below 1)."
        ),
    ] = None,
    envs: options.Envs = 1,
    images: Annotated[int | None, options.IMAGES] = None,
    norm: Annotated[str | None, options.NORM] = None,
    dtype: options.Dtype = "float32",
    init: options.Init = "gaussian",
    seed: options.Seed = 0,
    threads: options.Threads = None,
    channels: options.Channels = None,
    cells: options.Cells = None,
    resolution: options.Resolution = None,
    out: Annotated[
        Path | None,
        typer.Option(help="New folder for result.json, scores.csv, architecture.py and architecture.onnx."),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Select an architecture from a random supernet, without training anything.

    \b
    Examples:
      znas-engine search
      znas-engine search --space darts --data cifar10 --data-dir ~/data --out runs/darts
      znas-engine search --preset paper --data cifar10 --data-dir ~/data --p 0 --envs 8 --json
      znas-engine search --preset naswot --prior shipped --p auto --intervention bayesian
      znas-engine search --preset naswot --game shapley --selection sequential --order confidence
      znas-engine search --preset naswot --data cifar10 --data-dir ~/data --p 0 --images 256 --race 0.95
    """
    settings = settings_from(
        preset,
        space=space,
        data=data,
        data_dir=data_dir,
        backend=backend,
        device=device,
        score=score,
        p=None if p is None else parse_p(p),
        intervention=intervention,
        prior=prior,
        force_prior=force_prior,
        prior_scale=prior_scale,
        game=game,
        estimator=estimator,
        precision=precision,
        max_evaluations=max_evaluations,
        selection=selection,
        order=order,
        criterion=criterion,
        aggregate=aggregate,
        finalists=finalists,
        race=race,
        envs=envs,
        images=images,
        norm=norm,
        dtype=dtype,
        init=init,
        seed=seed,
        threads=available_threads() if threads is None else threads,
        channels=channels,
        cells=cells,
        resolution=resolution,
    )
    if out is not None:
        from znas.files import check_new

        check_new(out)
    if not quiet and not kernels.compiled():
        remark("the C++ kernels are not installed (no compiler was found); numpy does their work, slower")
    with progress_bar("masked passes", quiet=quiet) as progress:
        result = api.search(settings, progress=progress, report=_silent if quiet else remark)
    if out is not None:
        result.save(out)
    if as_json:
        typer.echo(result.to_json())
    else:
        show(result.document(), out, "result.json, scores.csv, architecture.py, architecture.onnx")


def _silent(line: str) -> None:
    """--quiet"""
